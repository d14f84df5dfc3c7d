//! The sections that stand once: `[server]`, `[leases]`, `[gate]`, `[dns]`. `[api]` and `[captive]` have
//! files of their own.

use crate::checked::{Dns, GardenEntry, Gate, GateMode, Portal, Server};
use crate::grammar;
use crate::limits::{
    CACHE_THRESHOLD_PERCENT_DEFAULT, CACHE_THRESHOLD_PERCENT_MAX,
    DECLINE_QUARANTINE_SECONDS_DEFAULT, DECLINE_QUARANTINE_SECONDS_MIN, DNS_ADDRESSES_MAX,
    DNS_PORT, INTERFACE_NAME_LENGTH_MAX, INTERFACES_MAX, LEASE_LIMIT_MAX, LIE_TTL_SECONDS_DEFAULT,
    LIE_TTL_SECONDS_MAX, LIE_TTL_SECONDS_MIN, LIFETIME_SECONDS_DEFAULT,
    LIFETIME_UNREGISTERED_SECONDS_DEFAULT, PATH_LENGTH_MAX, PRESSURE_PERCENT_MIN,
    RECEIVE_BUFFER_BYTES_DEFAULT, RECEIVE_BUFFER_BYTES_MAX, RECEIVE_BUFFER_BYTES_MIN,
    RELAY_LISTEN_MAX, STATE_DIR_DEFAULT, WALLED_GARDEN_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Placed, Reader, Table};
use crate::value::{self, UrlHost};
use ipnetwork::Ipv4Network;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use vestibule_core::limits::{LIFETIME_SECONDS_MAX, LIFETIME_SECONDS_MIN};
use vestibule_core::{LeaseLimits, Pressure};

/// Reads `[server]`. `None` only if a mistake was noted.
pub(crate) fn server(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Server> {
    if !file.has("server") {
        reader.missing(file, "server", "[server] says by which addresses or interfaces it serves");
        return None;
    }
    let table = reader.table_at(file, "server", &grammar::SERVER)?;
    let name = reader.parsed(&table, "name", value::name);
    if !table.has("name") {
        reader.missing(&table, "name", "it stands in logs and metrics, as in name = \"dhcp-a\"");
    }
    let state_dir = reader.parsed(&table, "state-dir", absolute_path);
    let relay_listen = reader.parsed_list(&table, "relay-listen", RELAY_LISTEN_MAX, listen_address);
    let interfaces = reader.parsed_list(&table, "interfaces", INTERFACES_MAX, interface_name);
    let relay_listen = unique(reader, &table, "relay-listen", relay_listen.unwrap_or_default());
    let interfaces = unique(reader, &table, "interfaces", interfaces.unwrap_or_default());
    if no_entries(&table, "relay-listen") && no_entries(&table, "interfaces") {
        let message = "[server] has neither relay-listen nor interfaces, so no packet can reach it";
        let remedy = "give an address that relays send to, or an attached interface";
        reader.complain(table.at, table.path.clone(), Complaint::new(message, remedy));
    }
    let receive_buffer = reader.parsed(&table, "receive-buffer", |text| {
        let bytes = value::size(text)?;
        if !(RECEIVE_BUFFER_BYTES_MIN..=RECEIVE_BUFFER_BYTES_MAX).contains(&bytes) {
            let min = value::size_in_words(RECEIVE_BUFFER_BYTES_MIN);
            let max = value::size_in_words(RECEIVE_BUFFER_BYTES_MAX);
            let message = format!("{} is not between {min} and {max}", quoted(text));
            return Err(Complaint::plain(message));
        }
        Ok(bytes)
    });
    let receive_buffer = receive_buffer.map_or(RECEIVE_BUFFER_BYTES_DEFAULT, |size| size.value);
    Some(Server {
        name: name?.value,
        state_dir: state_dir.map_or_else(|| PathBuf::from(STATE_DIR_DEFAULT), |path| path.value),
        relay_listen,
        interfaces,
        receive_buffer_bytes: usize::try_from(receive_buffer).ok()?,
    })
}

/// `[leases]`, as it goes into the core's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leases {
    pub(crate) lifetime_seconds: u32,
    pub(crate) lifetime_unregistered_seconds: u32,
    pub(crate) decline_quarantine_seconds: u32,
    pub(crate) cache_threshold_percent: u8,
    pub(crate) rapid_commit: bool,
    pub(crate) pressure: Option<Pressure>,
    pub(crate) limits: LeaseLimits,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            lifetime_seconds: LIFETIME_SECONDS_DEFAULT,
            lifetime_unregistered_seconds: LIFETIME_UNREGISTERED_SECONDS_DEFAULT,
            decline_quarantine_seconds: DECLINE_QUARANTINE_SECONDS_DEFAULT,
            cache_threshold_percent: CACHE_THRESHOLD_PERCENT_DEFAULT,
            rapid_commit: false,
            pressure: None,
            limits: LeaseLimits::default(),
        }
    }
}

/// Reads `[leases]`; everything in it has a default.
pub(crate) fn leases(reader: &mut Reader<'_>, file: &Table<'_>) -> Leases {
    let mut leases = Leases::default();
    let Some(table) = reader.table_at(file, "leases", &grammar::LEASES) else { return leases };
    let seconds = |reader: &mut Reader<'_>, key: &str, min: u32, target: &mut u32| {
        let read = |text: &str| value::duration_within(text, min, LIFETIME_SECONDS_MAX);
        if let Some(placed) = reader.parsed(&table, key, read) {
            *target = placed.value;
        }
    };
    seconds(reader, "lifetime", LIFETIME_SECONDS_MIN, &mut leases.lifetime_seconds);
    let unregistered = &mut leases.lifetime_unregistered_seconds;
    seconds(reader, "lifetime-unregistered", LIFETIME_SECONDS_MIN, unregistered);
    let quarantine = &mut leases.decline_quarantine_seconds;
    seconds(reader, "decline-quarantine", DECLINE_QUARANTINE_SECONDS_MIN, quarantine);
    let percent = |text: &str| value::percent_within(text, CACHE_THRESHOLD_PERCENT_MAX);
    if let Some(placed) = reader.parsed(&table, "cache-threshold", percent) {
        leases.cache_threshold_percent = placed.value;
    }
    leases.rapid_commit = reader.flag(&table, "rapid-commit").unwrap_or(false);
    leases.pressure = pressure(reader, &table);
    leases.limits = LeaseLimits {
        per_circuit: reader.number(&table, "limit-per-circuit", 1, LEASE_LIMIT_MAX),
        per_owner: reader.number(&table, "limit-per-owner", 1, LEASE_LIMIT_MAX),
    };
    leases
}

/// What leases last at most in pools that are nearly full.
fn pressure(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Pressure> {
    let keys = ["pressure-threshold", "lifetime-under-pressure"];
    if let [true, false] | [false, true] = keys.map(|key| table.has(key)) {
        let missing = keys.into_iter().find(|key| !table.has(key))?;
        let why = "pressure-threshold and lifetime-under-pressure go together";
        reader.missing(table, missing, why);
        return None;
    }
    let threshold = reader.parsed(table, "pressure-threshold", |text| {
        let percent = value::percent_within(text, 100)?;
        if percent < PRESSURE_PERCENT_MIN {
            let message = format!("{} is less than {PRESSURE_PERCENT_MIN}%", quoted(text));
            return Err(Complaint::new(message, "shorten leases.lifetime instead"));
        }
        Ok(percent)
    });
    let lifetime = reader.parsed(table, "lifetime-under-pressure", |text| {
        value::duration_within(text, LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX)
    });
    Some(Pressure { threshold_percent: threshold?.value, lifetime_seconds: lifetime?.value })
}

/// Reads `[dns]`. `None` if there is none, or a mistake was noted.
pub(crate) fn dns(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Dns> {
    let table = reader.table_at(file, "dns", &grammar::DNS)?;
    let sockets = |reader: &mut Reader<'_>, key: &str, port: Option<u16>, checked: bool| {
        let read = |text: &str| {
            let socket = value::socket(text, port)?;
            if checked { value::check_target(socket) } else { check_listen(socket) }?;
            Ok(socket)
        };
        let list = reader.parsed_list(&table, key, DNS_ADDRESSES_MAX, read).unwrap_or_default();
        unique(reader, &table, key, list)
    };
    let listen = sockets(reader, "listen", Some(DNS_PORT), false);
    let redirect_listen = sockets(reader, "redirect-listen", None, false);
    let upstream = sockets(reader, "upstream", Some(DNS_PORT), true);
    if no_entries(&table, "listen") {
        reader.missing(&table, "listen", "where it answers, as in listen = [\"10.0.0.54:53\"]");
    }
    if no_entries(&table, "upstream") {
        let why = "the true resolvers, as in upstream = [\"10.0.0.53:53\"]";
        reader.missing(&table, "upstream", why);
    }
    for own in listen.iter().filter(|own| upstream.contains(own)) {
        let message = format!("`{own}` is both in listen and in upstream: it would ask itself");
        let at = table.place_of("upstream");
        reader.complain_about(&table, "upstream", at, Complaint::plain(message));
    }
    let lie_ttl = reader.parsed(&table, "lie-ttl", |text| {
        value::duration_within(text, LIE_TTL_SECONDS_MIN, LIE_TTL_SECONDS_MAX)
    });
    let lie_ttl_seconds = lie_ttl.map_or(LIE_TTL_SECONDS_DEFAULT, |placed| placed.value);
    let metrics_listen = reader.parsed(&table, "metrics-listen", |text| {
        let socket = value::socket(text, None)?;
        check_listen(socket)?;
        Ok(socket)
    });
    let metrics_listen = metrics_listen.map(|placed| placed.value);
    Some(Dns { listen, redirect_listen, upstream, lie_ttl_seconds, metrics_listen })
}

/// Reads `[gate]`. `None` only if a mistake was noted.
pub(crate) fn gate(reader: &mut Reader<'_>, file: &Table<'_>, dns: Option<&Dns>) -> Option<Gate> {
    if !file.has("gate") {
        let why = "choose: mode = \"local\" enforces it on this host, \"feed\" leaves it to those who follow the \
                   feed, \"off\" enforces it nowhere";
        reader.missing(file, "gate", why);
        return None;
    }
    let table = reader.table_at(file, "gate", &grammar::GATE)?;
    let mode = reader.parsed(&table, "mode", gate_mode);
    if !table.has("mode") {
        let why = "choose: \"local\" enforces it on this host, \"feed\" leaves it to those who follow the \
                   feed, \"off\" enforces it nowhere";
        reader.missing(&table, "mode", why);
    }
    let enforced = mode.is_some_and(|mode| mode.value != GateMode::Off);
    let lying_resolver =
        reader.parsed(&table, "lying-resolver", |text| value::target(text, Some(DNS_PORT)));
    if enforced && !table.has("lying-resolver") {
        let why = "where DNS of unregistered hosts is sent, as in lying-resolver = \"10.0.0.54\"";
        reader.missing(&table, "lying-resolver", why);
    }
    let portal = portal(reader, &table);
    if !table.has("portal") && (enforced || file.has("dns")) {
        let why = "the registration page, as in portal = { address = \"10.0.0.80\", url = \
                   \"https://register.campus.example/\" }";
        reader.missing(&table, "portal", why);
    }
    let given = reader.parsed(&table, "redirect", |text| value::target(text, None));
    let redirect = given.map(|placed| placed.value).or_else(|| redirect_of(dns?));
    // A `[dns]` with a mistake in it may have named it: one mistake is then enough.
    if enforced
        && redirect.is_none()
        && !table.has("redirect")
        && (dns.is_some() || !file.has("dns"))
    {
        let why = "where port 80 of unregistered hosts is sent; or give dns.redirect-listen an IPv4 \
                   address and port";
        reader.missing(&table, "redirect", why);
    }
    let garden = reader.parsed_list(&table, "walled-garden", WALLED_GARDEN_MAX, garden_entry);
    let garden = garden.unwrap_or_default();
    let walled_garden = unique_by(reader, &table, "walled-garden", garden, GardenEntry::to_string);
    let garden_socket = reader.parsed(&table, "garden-socket", absolute_path);
    if let Some(socket) = &garden_socket
        && mode.as_ref().is_some_and(|mode| mode.value == GateMode::Off)
    {
        let complaint = Complaint::new(
            "without a gate there is nothing to open for the garden",
            "remove garden-socket, or set gate.mode = \"local\"",
        );
        reader.complain_about(&table, "garden-socket", socket.at, complaint);
    }
    Some(Gate {
        mode: mode?.value,
        lying_resolver: lying_resolver.map(|placed| placed.value),
        redirect,
        portal,
        walled_garden,
        garden_socket: garden_socket.map(|placed| placed.value),
    })
}

fn portal(reader: &mut Reader<'_>, gate: &Table<'_>) -> Option<Portal> {
    let table = reader.table_at(gate, "portal", &grammar::PORTAL)?;
    let address = reader.parsed(&table, "address", |text| {
        let address = value::address(text)?;
        value::check_host(address)?;
        Ok(address)
    });
    let url = reader.parsed(&table, "url", |text| Ok((Box::<str>::from(text), value::url(text)?)));
    for (key, why) in [
        ("address", "what every name leads to, as in address = \"10.0.0.80\""),
        ("url", "where port 80 is led to, as in url = \"https://register.campus.example/\""),
    ] {
        if !table.has(key) {
            reader.missing(&table, key, why);
        }
    }
    let (url, host) = url?.value;
    let host_name = match host {
        UrlHost::Name(name) => Some(name),
        UrlHost::Address(_) => None,
    };
    Some(Portal { address: address?.value, url, host_name })
}

/// The first address of `dns.redirect-listen` that the kernel can send port 80 to.
fn redirect_of(dns: &Dns) -> Option<SocketAddrV4> {
    dns.redirect_listen.iter().find_map(|socket| match socket {
        SocketAddr::V4(socket) if value::check_target(SocketAddr::V4(*socket)).is_ok() => {
            Some(*socket)
        }
        _ => None,
    })
}

fn gate_mode(text: &str) -> Result<GateMode, Complaint> {
    match text {
        "local" => Ok(GateMode::Local),
        "off" => Ok(GateMode::Off),
        "feed" => Ok(GateMode::Feed),
        _ => {
            let message = format!("{} is no mode of the gate", quoted(text));
            Err(Complaint::new(message, "known are \"local\", \"feed\" and \"off\""))
        }
    }
}

fn garden_entry(text: &str) -> Result<GardenEntry, Complaint> {
    if text.contains(':') {
        let message = format!("{} is neither a name nor an IPv4 prefix", quoted(text));
        let remedy = "this version gates IPv4 only; names stand without port or scheme";
        return Err(Complaint::new(message, remedy));
    }
    if text.contains('/') {
        let prefix = value::prefix(text)?;
        if prefix.prefix() == 0 {
            return Err(Complaint::new(
                format!("{} would let unregistered hosts reach everything", quoted(text)),
                "mode = \"off\" is the explicit way to do without a gate",
            ));
        }
        return Ok(GardenEntry::Prefix(prefix));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        value::check_host(address)?;
        return Ok(GardenEntry::Prefix(Ipv4Network::from(address)));
    }
    match text.strip_prefix("*.") {
        Some(below) => value::domain_name(below).map(GardenEntry::Below),
        None => value::domain_name(text).map(GardenEntry::Name),
    }
}

fn listen_address(text: &str) -> Result<Ipv4Addr, Complaint> {
    let address = value::address(text)?;
    if address.is_unspecified() {
        return Err(Complaint::new(
            "`0.0.0.0` cannot be listened at: it could not say which server a reply is from",
            "name each address that relays send to",
        ));
    }
    value::check_host(address)?;
    Ok(address)
}

fn interface_name(text: &str) -> Result<Box<str>, Complaint> {
    let good = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    let length = text.len();
    if length == 0
        || length > INTERFACE_NAME_LENGTH_MAX
        || !text.chars().all(good)
        || [".", ".."].contains(&text)
    {
        return Err(Complaint::new(
            format!("{} cannot be the name of an interface", quoted(text)),
            format!("1 to {INTERFACE_NAME_LENGTH_MAX} characters, as `ip link` shows it"),
        ));
    }
    Ok(text.into())
}

pub(crate) fn check_listen(socket: SocketAddr) -> Result<(), Complaint> {
    let address = socket.ip();
    if address.is_multicast() || address == Ipv4Addr::BROADCAST {
        return Err(Complaint::plain(format!("`{address}` is no address of a single host")));
    }
    Ok(())
}

pub(crate) fn absolute_path(text: &str) -> Result<PathBuf, Complaint> {
    if !text.starts_with('/') || text.len() > PATH_LENGTH_MAX || text.chars().any(char::is_control)
    {
        let message = format!("{} is not an absolute path", quoted(text));
        return Err(Complaint::new(
            message,
            "write it from the root, as in \"/var/lib/vestibule\"",
        ));
    }
    Ok(PathBuf::from(text))
}

/// Whether a list is absent or holds nothing; one with wrong entries, or under a name that was
/// complained about, is not called empty.
pub(crate) fn no_entries(table: &Table<'_>, key: &str) -> bool {
    let Some(value) = table.get(key) else { return !table.meant(key) };
    value.get_ref().as_array().is_some_and(|array| array.is_empty())
}

/// The values, after each that comes a second time was noted as a mistake.
pub(crate) fn unique<T: Display>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    list: Vec<Placed<T>>,
) -> Vec<T> {
    unique_by(reader, table, key, list, T::to_string)
}

pub(crate) fn unique_by<T>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    list: Vec<Placed<T>>,
    shown: impl Fn(&T) -> String,
) -> Vec<T> {
    let mut places = BTreeMap::new();
    for placed in &list {
        let shown = shown(&placed.value);
        if let Some(first) = places.get(&shown).copied() {
            let line = reader.line(first);
            let message = format!("{} stands twice; first on line {line}", quoted(&shown));
            reader.complain_about(table, key, placed.at, Complaint::plain(message));
        } else {
            places.insert(shown, placed.at);
        }
    }
    list.into_iter().map(|placed| placed.value).collect()
}
