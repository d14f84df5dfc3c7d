//! What a scenario with registration is told: the `[registration]` table, and the options of the command
//! line that stand before it.
//!
//! It promises that everything that is missing is named at once, and that the token is in no message, no
//! result and no debug output.

use super::reach::Reach;
use crate::command::address_with_port;
use clap::Args;
use hyper::header::HeaderValue;
use serde::Deserialize;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Clients on their way at once, at most.
pub const AT_ONCE_MAX: u32 = 4096;
/// Connections from the portal to the API, at most.
pub const PORTAL_CONNECTIONS_MAX: u32 = 256;
/// Port of DNS servers.
const DNS_PORT: u16 = 53;
/// Port of the API, unless another one is given.
const API_PORT: u16 = 8067;
/// Bytes of a token file, at most.
const TOKEN_BYTES_MAX: u64 = 4096;
/// An hour, in seconds: the longest delay or patience.
const SECONDS_MAX: f64 = 3600.0;
/// The longest registration, in seconds: a year.
const EXPIRES_SECONDS_MAX: u64 = 366 * 86_400;

/// `[registration]` of a scenario. What depends on the site may be left to the command line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RegistrationTable {
    /// The API that the portal calls, ADDRESS or ADDRESS:PORT.
    pub api: Option<String>,
    /// The file with its token.
    pub token_file: Option<PathBuf>,
    /// The DNS server that clients ask, ADDRESS or ADDRESS:PORT.
    pub dns_server: Option<String>,
    /// The name that they ask for.
    pub dns_name: Option<String>,
    /// What the answer is before a registration: the portal's address.
    pub lie: Option<Ipv4Addr>,
    /// What it is afterwards.
    pub truth: Option<Ipv4Addr>,
    /// What must be reachable afterwards: ADDRESS:PORT for a TCP connection, or http://ADDRESS:PORT/PATH
    /// for a GET that is answered with 200 to 299.
    pub reach: Option<String>,
    /// How long people take at the portal's page; not counted in any latency.
    pub portal_delay_seconds: f64,
    /// How long each step is tried.
    pub give_up_seconds: f64,
    /// Clients that are on their way at once, 1 to [`AT_ONCE_MAX`].
    pub at_once: u32,
    /// Connections from the portal to the API, 1 to [`PORTAL_CONNECTIONS_MAX`].
    pub portal_connections: u32,
    /// When registrations end by themselves, after the call.
    pub expires_after_seconds: u64,
}

impl Default for RegistrationTable {
    fn default() -> Self {
        Self {
            api: None,
            token_file: None,
            dns_server: None,
            dns_name: None,
            lie: None,
            truth: None,
            reach: None,
            portal_delay_seconds: 0.0,
            give_up_seconds: 10.0,
            at_once: 256,
            portal_connections: 32,
            expires_after_seconds: 3600,
        }
    }
}

/// What the command line says instead of the scenario.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registration (for scenarios with [registration])")]
pub struct RegistrationOptions {
    /// The API that the portal calls.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub api: Option<String>,
    /// The file with the API's token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The DNS server that clients ask.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub dns_server: Option<String>,
    /// The name that they ask for.
    #[arg(long, value_name = "NAME")]
    pub dns_name: Option<String>,
    /// The answer before a registration: the portal's address.
    #[arg(long, value_name = "ADDRESS")]
    pub lie: Option<Ipv4Addr>,
    /// The answer afterwards.
    #[arg(long, value_name = "ADDRESS")]
    pub truth: Option<Ipv4Addr>,
    /// What must be reachable afterwards: ADDRESS:PORT by TCP, or http://ADDRESS:PORT/PATH.
    #[arg(long, value_name = "WHERE")]
    pub reach: Option<String>,
    /// How long people take at the portal's page; not counted in any latency.
    #[arg(long, value_name = "SECONDS")]
    pub portal_delay: Option<f64>,
}

/// What the clients of a run do to be registered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API.
    pub api: SocketAddrV4,
    /// What it is shown.
    pub token: Token,
    /// The DNS server.
    pub dns_server: SocketAddrV4,
    /// The name.
    pub dns_name: String,
    /// The answer before.
    pub lie: Ipv4Addr,
    /// The answer afterwards.
    pub truth: Ipv4Addr,
    /// What must be reachable.
    pub reach: Reach,
    /// How long people take.
    pub portal_delay: Duration,
    /// How long each step is tried.
    pub give_up: Duration,
    /// Clients on their way at once.
    pub at_once: usize,
    /// Connections to the API.
    pub portal_connections: usize,
    /// When registrations end.
    pub expires_after: Duration,
}

/// A token as an `Authorization` header has it; shown nowhere.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

impl Token {
    /// Reads it from its file: one line of visible ASCII.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        use io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)?.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text)?;
        let token = text.trim();
        let is_token = !token.is_empty()
            && text.len() as u64 <= TOKEN_BYTES_MAX
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let (true, Ok(mut value)) = (is_token, value) else {
            let what = "it holds no token: one line of visible ASCII is wanted";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Why clients cannot be registered. The operator's to mend.
#[derive(Debug)]
pub enum SettingsError {
    /// Options are given, but the scenario registers nobody.
    NotAsked,
    /// Nobody said these.
    Missing(Vec<&'static str>),
    /// A value makes no sense.
    Value(&'static str, String),
    /// The token cannot be read.
    TokenFile(PathBuf, io::Error),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => write!(
                f,
                "this scenario registers nobody, so options of the registration make no sense; use the scenario \
                 `registration`, or write a table [registration] in yours"
            ),
            Self::Missing(keys) => {
                let options: Vec<String> = keys.iter().map(|key| format!("--{key}")).collect();
                write!(
                    f,
                    "a registration needs to know more of the site: say {}, or write {} in [registration] of the \
                     scenario",
                    options.join(", "),
                    keys.join(", ")
                )
            }
            Self::Value(key, what) => write!(f, "{key}: {what}"),
            Self::TokenFile(path, error) => {
                write!(f, "the API's token cannot be read from {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for SettingsError {}

impl RegistrationOptions {
    /// Whether any is given.
    #[must_use]
    pub const fn are_given(&self) -> bool {
        self.api.is_some()
            || self.token_file.is_some()
            || self.dns_server.is_some()
            || self.dns_name.is_some()
            || self.lie.is_some()
            || self.truth.is_some()
            || self.reach.is_some()
            || self.portal_delay.is_some()
    }
}

impl RegistrationTable {
    /// What holds: the command line before the scenario. Reads the token.
    ///
    /// # Errors
    /// Something is missing or makes no sense, or the token cannot be read.
    pub fn settings(&self, options: &RegistrationOptions) -> Result<Settings, SettingsError> {
        let api = options.api.as_ref().or(self.api.as_ref());
        let token_file = options.token_file.as_ref().or(self.token_file.as_ref());
        let dns_server = options.dns_server.as_ref().or(self.dns_server.as_ref());
        let dns_name = options.dns_name.as_ref().or(self.dns_name.as_ref());
        let lie = options.lie.or(self.lie);
        let truth = options.truth.or(self.truth);
        let reach = options.reach.as_ref().or(self.reach.as_ref());
        let missing: Vec<&'static str> = [
            ("api", api.is_none()),
            ("token-file", token_file.is_none()),
            ("dns-server", dns_server.is_none()),
            ("dns-name", dns_name.is_none()),
            ("lie", lie.is_none()),
            ("truth", truth.is_none()),
            ("reach", reach.is_none()),
        ]
        .into_iter()
        .filter_map(|(key, is_missing)| is_missing.then_some(key))
        .collect();
        let (
            Some(api),
            Some(token_file),
            Some(dns_server),
            Some(dns_name),
            Some(lie),
            Some(truth),
            Some(reach),
        ) = (api, token_file, dns_server, dns_name, lie, truth, reach)
        else {
            return Err(SettingsError::Missing(missing));
        };
        if lie == truth {
            let what = format!("{lie} is the truth, too: they could not be told apart");
            return Err(SettingsError::Value("lie", what));
        }
        let value =
            |key, found: Result<_, String>| found.map_err(|what| SettingsError::Value(key, what));
        super::lookup::check_name(dns_name)
            .map_err(|what| SettingsError::Value("dns-name", what))?;
        let delay = options.portal_delay.unwrap_or(self.portal_delay_seconds);
        Ok(Settings {
            api: value("api", address_with_port(api, API_PORT))?,
            token: Token::read(token_file)
                .map_err(|error| SettingsError::TokenFile(token_file.clone(), error))?,
            dns_server: value("dns-server", address_with_port(dns_server, DNS_PORT))?,
            dns_name: dns_name.clone(),
            lie,
            truth,
            reach: reach.parse().map_err(|what| SettingsError::Value("reach", what))?,
            portal_delay: seconds("portal-delay-seconds", delay, 0.0)?,
            give_up: seconds("give-up-seconds", self.give_up_seconds, 0.1)?,
            at_once: number("at-once", self.at_once, AT_ONCE_MAX)?,
            portal_connections: number(
                "portal-connections",
                self.portal_connections,
                PORTAL_CONNECTIONS_MAX,
            )?,
            expires_after: match self.expires_after_seconds {
                seconds @ 1..=EXPIRES_SECONDS_MAX => Duration::from_secs(seconds),
                other => {
                    let what = format!("it is {other}; it must be 1 to {EXPIRES_SECONDS_MAX}");
                    return Err(SettingsError::Value("expires-after-seconds", what));
                }
            },
        })
    }
}

fn seconds(key: &'static str, value: f64, least: f64) -> Result<Duration, SettingsError> {
    // Written so that what is no number is out of range.
    if value >= least && value <= SECONDS_MAX {
        return Ok(Duration::from_secs_f64(value));
    }
    let what = format!("it is {value}; it must be {least} to {SECONDS_MAX}");
    Err(SettingsError::Value(key, what))
}

fn number(key: &'static str, value: u32, most: u32) -> Result<usize, SettingsError> {
    if (1..=most).contains(&value) {
        return Ok(usize::try_from(value).unwrap_or(usize::MAX));
    }
    Err(SettingsError::Value(key, format!("it is {value}; it must be 1 to {most}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn whole(token_file: &Path) -> RegistrationTable {
        RegistrationTable {
            api: Some("10.0.0.67".to_owned()),
            token_file: Some(token_file.to_owned()),
            dns_server: Some("203.0.113.53".to_owned()),
            dns_name: Some("www.example.edu".to_owned()),
            lie: Some(Ipv4Addr::new(10, 0, 0, 80)),
            truth: Some(Ipv4Addr::new(203, 0, 113, 10)),
            reach: Some("203.0.113.10:8080".to_owned()),
            ..RegistrationTable::default()
        }
    }

    #[test]
    fn the_command_line_stands_before_the_scenario_and_ports_have_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "a-secret\n").unwrap();
        let table = whole(&token_file);
        let settings = table.settings(&RegistrationOptions::default()).unwrap();
        assert_eq!(settings.api, "10.0.0.67:8067".parse().unwrap());
        assert_eq!(settings.dns_server, "203.0.113.53:53".parse().unwrap());
        assert!(!format!("{settings:?}").contains("a-secret"), "{settings:?}");
        let options = RegistrationOptions {
            api: Some("10.0.0.68:80".to_owned()),
            portal_delay: Some(1.5),
            ..RegistrationOptions::default()
        };
        assert!(options.are_given());
        let settings = table.settings(&options).unwrap();
        assert_eq!(settings.api, "10.0.0.68:80".parse().unwrap());
        assert_eq!(settings.portal_delay, Duration::from_millis(1500));
    }

    #[test]
    fn what_is_missing_is_named_at_once_and_what_makes_no_sense_too() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "a-secret\n").unwrap();
        let refused = |table: RegistrationTable| {
            table.settings(&RegistrationOptions::default()).unwrap_err().to_string()
        };
        let said = refused(RegistrationTable { api: None, truth: None, ..whole(&token_file) });
        assert!(said.contains("--api, --truth"), "{said}");
        let table = whole(&token_file);
        for (expected, table) in [
            ("told apart", RegistrationTable { truth: table.lie, ..table.clone() }),
            ("at-once: it is 0", RegistrationTable { at_once: 0, ..table.clone() }),
            ("NaN", RegistrationTable { give_up_seconds: f64::NAN, ..table.clone() }),
            ("dns-name", RegistrationTable { dns_name: Some("a..b".to_owned()), ..table.clone() }),
            ("reach", RegistrationTable { reach: Some("nowhere".to_owned()), ..table.clone() }),
            ("/no/token", RegistrationTable { token_file: Some("/no/token".into()), ..table }),
        ] {
            let said = refused(table);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for contents in ["", "\n", "two words", "line\nline", &"x".repeat(5000)] {
            std::fs::write(&path, contents).unwrap();
            let said = Token::read(&path).unwrap_err().to_string();
            assert!(said.contains("holds no token") && !said.contains("words"), "{said}");
        }
    }
}
