//! `[agent]` and `[[agent.server]]`: `vestibule-firewall agent`, which enforces the gate on a host that is
//! no DHCP server.
//!
//! It promises that a token is sent only where it can be kept: by TLS, to a loopback address or to a Unix
//! socket. It reads no token: [`Agent::read_tokens`](crate::Agent::read_tokens) does.

use crate::api::unix_socket;
use crate::grammar;
use crate::limits::{
    AGENT_SERVERS_MAX, AGENT_STATUS_LISTEN_DEFAULT, CA_FILE_DEFAULT, SILENT_AFTER_SECONDS_DEFAULT,
    SILENT_AFTER_SECONDS_MAX, SILENT_AFTER_SECONDS_MIN,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::{absolute_path, check_listen, no_entries};
use crate::value::{self, UrlHost};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::de::DeTable;

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Whose feeds it follows: one or two, in the order of the file.
    pub servers: Vec<AgentServer>,
    /// What becomes of permits when every feed is silent.
    pub when_silent: WhenSilent,
    /// Seconds without a word of any server after which the agent counts as left alone.
    pub silent_after_seconds: u32,
    /// Where `/status` and `/metrics` are answered.
    pub status_listen: SocketAddr,
}

/// A server whose feed is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentServer {
    /// As it is written in the file: names it in logs and metrics.
    pub url: Box<str>,
    /// Where it is.
    pub place: AgentPlace,
    /// The file that holds the bearer token.
    pub token_file: PathBuf,
    /// Certificates of the authorities that the server's certificate leads to, in PEM; read for TLS only.
    pub ca_file: PathBuf,
}

/// Where a server's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentPlace {
    /// Reached by TLS.
    Tls {
        /// A name, or an address without brackets: what the certificate has to be for.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// Reached by plain HTTP: a loopback address.
    Plain(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What an agent does when it hears of no server any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSilent {
    /// Permits stay until their leases end.
    Hold,
    /// Permits are taken away.
    Close,
}

impl WhenSilent {
    /// As it is written in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Close => "close",
        }
    }
}

/// As it is written in the file.
impl fmt::Display for WhenSilent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads `[agent]`. `None` if there is none, or a mistake was noted.
pub(crate) fn agent(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Agent> {
    let table = reader.table_at(file, "agent", &grammar::AGENT)?;
    let servers = servers(reader, &table);
    let when_silent = reader.parsed(&table, "when-silent", when_silent);
    let silent_after = reader.parsed(&table, "silent-after", |text| {
        value::duration_within(text, SILENT_AFTER_SECONDS_MIN, SILENT_AFTER_SECONDS_MAX)
    });
    let status_listen = reader.parsed(&table, "status-listen", |text| {
        let socket = value::socket(text, None)?;
        check_listen(socket)?;
        Ok(socket)
    });
    Some(Agent {
        servers,
        when_silent: when_silent.map_or(WhenSilent::Hold, |placed| placed.value),
        silent_after_seconds: silent_after
            .map_or(SILENT_AFTER_SECONDS_DEFAULT, |placed| placed.value),
        status_listen: status_listen.map_or(AGENT_STATUS_LISTEN_DEFAULT, |placed| placed.value),
    })
}

fn servers(reader: &mut Reader<'_>, agent: &Table<'_>) -> Vec<AgentServer> {
    if no_entries(agent, "server") {
        let why = "whose feed it follows, as [[agent.server]] with url and token-file";
        reader.missing(agent, "server", why);
    }
    let tables = reader.tables(agent, "server", &grammar::AGENT_SERVER);
    if tables.len() > AGENT_SERVERS_MAX {
        let message = format!("{} servers; the limit is {AGENT_SERVERS_MAX}", tables.len());
        let at = agent.place_of("server");
        reader.complain_about(agent, "server", at, Complaint::plain(message));
        return Vec::new();
    }
    let mut places = BTreeMap::new();
    let mut servers = Vec::new();
    for table in tables {
        let place = reader.parsed(&table, "url", |text| Ok((Box::<str>::from(text), place(text)?)));
        let token_file = reader.parsed(&table, "token-file", absolute_path);
        let ca_file = reader.parsed(&table, "ca-file", absolute_path);
        for (key, why) in [
            ("url", "where its API is, as in url = \"https://dhcp-a.campus.example:8443\""),
            (
                "token-file",
                "holds a token of the scope \"gate\", as in token-file = \"/etc/vestibule/agent.token\"",
            ),
        ] {
            if !table.has(key) {
                reader.missing(&table, key, why);
            }
        }
        if let Some(place) = &place
            && let Some(first) = places.insert(format!("{:?}", place.value.1), place.at)
        {
            let line = reader.line(first);
            let message = format!("{} stands twice; first on line {line}", quoted(&place.value.0));
            reader.complain_about(&table, "url", place.at, Complaint::plain(message));
        }
        if let (Some(place), Some(token_file)) = (place, token_file) {
            let (url, place) = place.value;
            servers.push(AgentServer {
                url,
                place,
                token_file: token_file.value,
                ca_file: ca_file
                    .map_or_else(|| PathBuf::from(CA_FILE_DEFAULT), |placed| placed.value),
            });
        }
    }
    servers
}

/// Where the API of a server is that a token is shown to.
pub(crate) fn place(text: &str) -> Result<AgentPlace, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_socket(path).map(AgentPlace::Unix);
    }
    let host = value::url(text)?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !["", "/"].contains(&path) {
        let message = format!("{} has a path or a query", quoted(text));
        return Err(Complaint::new(
            message,
            "name the server only, as in https://dhcp-a.campus.example:8443",
        ));
    }
    // A checked URL: what stands after the last colon outside of brackets is a port.
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    let port = after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    if scheme.eq_ignore_ascii_case("https") {
        let host = match host {
            UrlHost::Name(name) => name,
            UrlHost::Address(address) => address.to_string().into(),
        };
        return Ok(AgentPlace::Tls { host, port: port.unwrap_or(443) });
    }
    match host {
        UrlHost::Address(address) if address.is_loopback() => {
            Ok(AgentPlace::Plain(SocketAddr::new(address, port.unwrap_or(80))))
        }
        _ => {
            let message = format!("{} would show the token to the network", quoted(text));
            let remedy = "use https, which the server speaks at its api.tls-listen; plain http goes to a \
                          loopback address only, and \"unix:/run/vestibule/api\" to a socket of this host";
            Err(Complaint::new(message, remedy))
        }
    }
}

fn when_silent(text: &str) -> Result<WhenSilent, Complaint> {
    [WhenSilent::Hold, WhenSilent::Close].into_iter().find(|known| known.name() == text).ok_or_else(
        || {
            let message = format!("{} is nothing that an agent can do", quoted(text));
            let remedy = "\"hold\" keeps permits until their leases end, \"close\" takes them away";
            Complaint::new(message, remedy)
        },
    )
}

/// Where a text names the token file of the `number`th server; if there is none, its end.
pub(crate) fn token_file_place(text: &str, number: usize) -> usize {
    let (document, _) = DeTable::parse_recoverable(text);
    let server = document.get_ref().get("agent").and_then(|agent| {
        agent.get_ref().as_table()?.get("server")?.get_ref().as_array()?.get(number)
    });
    let file = server.and_then(|server| server.get_ref().as_table()?.get("token-file"));
    file.or(server).map_or(text.len(), |value| value.span().start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let tls = |host: &str, port| Ok(AgentPlace::Tls { host: host.into(), port });
        let plain = |socket: &str| Ok(AgentPlace::Plain(socket.parse().unwrap()));
        for (text, expected) in [
            ("https://DHCP-A.campus.example:8443/", tls("dhcp-a.campus.example", 8443)),
            ("https://dhcp-a.campus.example", tls("dhcp-a.campus.example", 443)),
            ("https://[2001:db8::1]", tls("2001:db8::1", 443)),
            ("https://[2001:db8::1]:1", tls("2001:db8::1", 1)),
            ("http://127.0.0.1:8067", plain("127.0.0.1:8067")),
            ("http://[::1]", plain("[::1]:80")),
            ("unix:/run/vestibule/api", Ok(AgentPlace::Unix("/run/vestibule/api".into()))),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
        for text in [
            "http://dhcp-a.campus.example",
            "http://10.0.0.67:8067",
            "http://localhost",
            "https://dhcp-a.campus.example/v1/gate",
            "https://dhcp-a.campus.example?x",
            "https://dhcp-a.campus.example:0",
            "dhcp-a.campus.example",
            "unix:run/vestibule/api",
            "/run/vestibule/api",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
