//! `[captive]`: option 114 and the API of RFC 8908.
//!
//! It promises that the URL in option 114 can be one that devices follow (https, short enough), that
//! a listener is either whole (certificate and key) or meant for a proxy that is named, and that every
//! gated network tells its hosts the same URL unless its own options say otherwise.

use crate::checked::{Captive, Gate, ProxyHeader, Tls};
use crate::grammar;
use crate::limits::{CAPTIVE_URL_LENGTH_MAX, TRUSTED_PROXIES_MAX};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::{absolute_path, unique_by};
use crate::value::{self, UrlHost};
use ipnetwork::IpNetwork;
use vestibule_core::Network;
use vestibule_core::lease_token::LEASE_TOKEN_PARAMETER_LENGTH;

/// The option that carries the URL; a test holds it to the table of names.
pub(crate) const CAPTIVE_PORTAL: u8 = 114;

/// The path at which the server answers the API.
const PATH: &str = "/captive";

/// Reads `[captive]`. `None` if there is none, or a mistake was noted.
pub(crate) fn captive(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Captive> {
    let table = reader.table_at(file, "captive", &grammar::CAPTIVE)?;
    let url = reader.parsed(&table, "url", captive_url);
    if !table.has("url") {
        let why =
            "the API's URL for devices, as in url = \"https://register.campus.example/captive\"";
        reader.missing(&table, "url", why);
    }
    let listen = reader.parsed(&table, "listen", |text| value::target(text, None));
    let tls = tls(reader, &table);
    let proxies = reader.parsed_list(&table, "trusted-proxies", TRUSTED_PROXIES_MAX, proxy);
    let proxies = proxies.unwrap_or_default();
    let trusted_proxies =
        unique_by(reader, &table, "trusted-proxies", proxies, IpNetwork::to_string);
    let proxy_header = reader.parsed(&table, "proxy-header", proxy_header);
    let lease_token = reader.flag(&table, "lease-token").unwrap_or(false);
    let can_extend_session = reader.flag(&table, "can-extend-session").unwrap_or(false);
    let venue_info_url = reader.parsed(&table, "venue-info-url", |text| {
        https_url(text)?;
        Ok(Box::<str>::from(text))
    });
    if table.has("listen") && !has_tls_keys(&table) && !table.has("trusted-proxies") {
        let message = "captive.listen speaks plain HTTP, and devices follow https only";
        let remedy = "give tls-certificate and tls-key, or the web server that asks for devices in \
                      trusted-proxies";
        let complaint = Complaint::new(message, remedy);
        reader.complain_about(&table, "listen", table.place_of("listen"), complaint);
    }
    if has_tls_keys(&table) && !table.has("listen") {
        reader.missing(&table, "listen", "where it speaks TLS, as in listen = \"10.0.0.67:443\"");
    }
    let url = url?;
    if lease_token {
        check_room_for_token(reader, &table, &url.value.0, url.at);
    }
    let (url_text, host, path) = url.value;
    if has_tls_keys(&table) && &*path != PATH {
        let message = format!("{} has another path than {PATH}", quoted(&url_text));
        let remedy = format!("captive.listen answers at {PATH} only");
        reader.complain_about(&table, "url", url.at, Complaint::new(message, remedy));
    }
    Some(Captive {
        url: url_text,
        host_name: match host {
            UrlHost::Name(name) => Some(name),
            UrlHost::Address(_) => None,
        },
        listen: listen.map(|placed| placed.value),
        tls,
        trusted_proxies,
        proxy_header: proxy_header.map_or(ProxyHeader::XForwardedFor, |placed| placed.value),
        lease_token,
        can_extend_session,
        venue_info_url: venue_info_url.map(|placed| placed.value),
    })
}

/// A token is put behind the URL's query, and has to fit into option 114 with it.
fn check_room_for_token(reader: &mut Reader<'_>, table: &Table<'_>, url: &str, at: usize) {
    let room = CAPTIVE_URL_LENGTH_MAX - LEASE_TOKEN_PARAMETER_LENGTH;
    if url.len() > room || url.contains('#') {
        let message = format!("{} leaves no room for a lease token", quoted(url));
        let remedy = format!("at most {room} bytes and no `#`, or no lease-token");
        reader.complain_about(table, "url", at, Complaint::new(message, remedy));
    }
}

/// Puts the URL into the options of gated networks that have no such option of their own, if there is
/// something that holds their hosts back: elsewhere nobody is captive.
pub(crate) fn tell_gated_networks(captive: &Captive, gate: &Gate, networks: &mut [Network]) {
    for network in networks.iter_mut().filter(|network| gate.holds_back(network)) {
        if network.options.get(CAPTIVE_PORTAL).is_none() {
            network.options.insert(CAPTIVE_PORTAL, captive.url.as_bytes());
        }
    }
}

pub(crate) fn has_tls_keys(table: &Table<'_>) -> bool {
    table.has("tls-certificate") || table.has("tls-key")
}

/// Both files or none.
pub(crate) fn tls(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Tls> {
    let certificate = reader.parsed(table, "tls-certificate", absolute_path);
    let key = reader.parsed(table, "tls-key", absolute_path);
    for (given, needed, what) in [
        ("tls-certificate", "tls-key", "the certificate's private key in PEM"),
        ("tls-key", "tls-certificate", "the key's certificate in PEM, and those above it"),
    ] {
        if table.has(given) && !table.has(needed) {
            reader.missing(table, needed, what);
        }
    }
    Some(Tls { certificate: certificate?.value, key: key?.value })
}

fn https_url(text: &str) -> Result<UrlHost, Complaint> {
    let host = value::url(text)?;
    if !text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        let message = format!("{} is not https", quoted(text));
        return Err(Complaint::new(message, "devices follow nothing else here (RFC 8908)"));
    }
    Ok(host)
}

/// The URL, its host and its path.
fn captive_url(text: &str) -> Result<(Box<str>, UrlHost, Box<str>), Complaint> {
    let host = https_url(text)?;
    if text.len() > CAPTIVE_URL_LENGTH_MAX {
        return Err(Complaint::plain(format!(
            "{} is longer than {CAPTIVE_URL_LENGTH_MAX} bytes, the most that DHCP option 114 holds",
            quoted(text)
        )));
    }
    let after_scheme = text.get(8..).unwrap_or_default();
    let path = after_scheme.find(['/', '?', '#']).and_then(|at| after_scheme.get(at..));
    let path = path.unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
    Ok((text.into(), host, path.into()))
}

fn proxy(text: &str) -> Result<IpNetwork, Complaint> {
    let wrong = || {
        let message = format!("{} is neither an address nor a prefix", quoted(text));
        Complaint::new(message, "write \"10.0.0.80\" or \"10.0.0.80/30\"")
    };
    let network: IpNetwork = text.parse().map_err(|_| wrong())?;
    if network.prefix() == 0 {
        return Err(Complaint::plain(format!(
            "{} would let every caller say who is asking",
            quoted(text)
        )));
    }
    if network.network() != network.ip() {
        let message = format!("{} has host bits set", quoted(text));
        let prefix = format!("the prefix is {}/{}", network.network(), network.prefix());
        return Err(Complaint::new(message, prefix));
    }
    Ok(network)
}

fn proxy_header(text: &str) -> Result<ProxyHeader, Complaint> {
    [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded]
        .into_iter()
        .find(|header| header.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let message = format!("{} is no header that says for whom a proxy asks", quoted(text));
            Complaint::new(message, "known are \"x-forwarded-for\" and \"forwarded\"")
        })
}
