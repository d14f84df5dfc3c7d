//! `[failover]`: the partner, and how the pair shares its work.
//!
//! It promises a relationship that ISC dhcpd 4.4 can be the other half of: values that its own
//! configuration takes, with its defaults and meanings, and what only the primary says said by the
//! primary only. It never looks whether the address is this host's: the daemon does when it listens.

use crate::agent::{self, AgentServer};
use crate::checked::Failover;
use crate::grammar;
use crate::limits::{
    AUTO_PARTNER_DOWN_SECONDS_MIN, BALANCE_SECONDS_MAX, CA_FILE_DEFAULT, FAILOVER_PORT_DEFAULT,
    LOAD_BALANCE_SECONDS_LIMIT, MAX_BALANCE_SECONDS_DEFAULT, MAX_LEASE_MISBALANCE_PERCENT_DEFAULT,
    MAX_LEASE_OWNERSHIP_PERCENT_DEFAULT, MAX_RESPONSE_DELAY_SECONDS_DEFAULT,
    MAX_RESPONSE_DELAY_SECONDS_MAX, MAX_RESPONSE_DELAY_SECONDS_MIN, MAX_UNACKED_UPDATES_DEFAULT,
    MAX_UNACKED_UPDATES_MAX, MCLT_SECONDS_MAX, MCLT_SECONDS_MIN, MCLT_SECONDS_UNMET,
    MIN_BALANCE_SECONDS_DEFAULT, RELATIONSHIP_LENGTH_MAX, SPLIT_DEFAULT, SPLIT_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Placed, Reader, Table};
use crate::sections::absolute_path;
use crate::value;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use vestibule_core::failover::{BalanceSettings, FailoverConfiguration, HashBuckets, Role};
use vestibule_core::limits::LIFETIME_SECONDS_MAX;

/// What only the primary says: it tells the secondary in each CONNECT.
const SAID_BY_PRIMARY: [&str; 2] = ["mclt", "split"];

/// Reads `[failover]`. `None` if there is none, or a mistake was noted.
pub(crate) fn failover(
    reader: &mut Reader<'_>,
    file: &Table<'_>,
    rapid_commit: bool,
) -> Option<Failover> {
    let table = reader.table_at(file, "failover", &grammar::FAILOVER)?;
    let relationship = reader.parsed(&table, "name", relationship);
    let role = reader.parsed(&table, "role", role);
    let address = reader.parsed(&table, "address", host);
    let peer = reader.parsed(&table, "peer", host);
    for (key, why) in [
        ("name", "what the pair is called on both servers, as in name = \"campus-pair\""),
        ("role", "one of the two is \"primary\", the other one \"secondary\""),
        ("address", "this server's address on the link, as in address = \"10.0.0.67\""),
        ("peer", "the partner's address on the link, as in peer = \"10.0.1.67\""),
    ] {
        if !table.has(key) {
            reader.missing(&table, key, why);
        }
    }
    if let (Some(address), Some(peer)) = (&address, &peer)
        && address.value == peer.value
    {
        let message =
            format!("`{}` is this server's own address: it would be its own partner", peer.value);
        let complaint =
            Complaint::new(message, "give the partner's address, another one than `address`");
        reader.complain_about(&table, "peer", peer.at, complaint);
    }
    let port = reader.number(&table, "port", 1, u32::from(u16::MAX));
    let peer_port = reader.number(&table, "peer-port", 1, u32::from(u16::MAX));
    let mclt = seconds(reader, &table, "mclt", MCLT_SECONDS_MIN, MCLT_SECONDS_MAX);
    let split = reader.number(&table, "split", 0, SPLIT_MAX);
    match role.as_ref().map(|role| role.value) {
        Some(Role::Secondary) => {
            for key in SAID_BY_PRIMARY.into_iter().filter(|key| table.has(key)) {
                let complaint = Complaint::new(
                    "the primary says this, and tells the secondary each time that they connect",
                    "remove it here, and set it in the primary's file",
                );
                reader.complain_about(&table, key, table.place_of(key), complaint);
            }
        }
        Some(Role::Primary) if !table.has("mclt") => {
            let why =
                "how much longer than the partner knows a lease may last, as in mclt = \"30m\"";
            reader.missing(&table, "mclt", why);
        }
        _ => {}
    }
    let unacked = reader.number(&table, "max-unacked-updates", 1, MAX_UNACKED_UPDATES_MAX);
    let (min, max) = (MAX_RESPONSE_DELAY_SECONDS_MIN, MAX_RESPONSE_DELAY_SECONDS_MAX);
    let response_delay = seconds(reader, &table, "max-response-delay", min, max);
    let load_balance =
        reader.number(&table, "load-balance-max-seconds", 0, LOAD_BALANCE_SECONDS_LIMIT);
    let auto_partner_down = seconds(
        reader,
        &table,
        "auto-partner-down",
        AUTO_PARTNER_DOWN_SECONDS_MIN,
        LIFETIME_SECONDS_MAX,
    );
    let percent = |reader: &mut Reader<'_>, key: &str, default: u8| {
        let read = reader.parsed(&table, key, |text| value::percent_within(text, 100));
        read.map_or(default, |percent| percent.value)
    };
    let misbalance_percent =
        percent(reader, "max-lease-misbalance", MAX_LEASE_MISBALANCE_PERCENT_DEFAULT);
    let ownership_percent =
        percent(reader, "max-lease-ownership", MAX_LEASE_OWNERSHIP_PERCENT_DEFAULT);
    let min_balance = seconds(reader, &table, "min-balance", 1, BALANCE_SECONDS_MAX)
        .unwrap_or(MIN_BALANCE_SECONDS_DEFAULT);
    let max_balance = seconds(reader, &table, "max-balance", 1, BALANCE_SECONDS_MAX)
        .unwrap_or(MAX_BALANCE_SECONDS_DEFAULT);
    if min_balance > max_balance {
        let complaint = Complaint::new(
            "the shortest time between two sharings of the pools is longer than the longest",
            "make min-balance at most max-balance",
        );
        let at = table.place_of("min-balance");
        reader.complain_about(&table, "min-balance", at, complaint);
    }
    let registrations = registrations(reader, &table);
    if rapid_commit {
        let complaint = Complaint::new(
            "leases.rapid-commit is on: both servers of a pair would answer a DISCOVER with an ACK",
            "remove leases.rapid-commit; it is for a network with one server",
        );
        reader.complain_about(file, "failover", table.at, complaint);
    }
    let role = role?.value;
    let socket = |address: Placed<Ipv4Addr>, port: Option<u32>| {
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(FAILOVER_PORT_DEFAULT);
        SocketAddrV4::new(address.value, port)
    };
    Some(Failover {
        relationship: relationship?.value,
        role,
        address: socket(address?, port),
        peer: socket(peer?, peer_port),
        mclt_seconds: mclt.filter(|_| role == Role::Primary),
        split: split.and_then(|split| u16::try_from(split).ok()).unwrap_or(SPLIT_DEFAULT),
        unacknowledged_max: unacked.unwrap_or(MAX_UNACKED_UPDATES_DEFAULT),
        receive_timer_seconds: response_delay.unwrap_or(MAX_RESPONSE_DELAY_SECONDS_DEFAULT),
        load_balance_seconds_max: load_balance
            .and_then(|seconds| u16::try_from(seconds).ok())
            .unwrap_or(0),
        auto_partner_down_seconds: auto_partner_down,
        registrations,
        misbalance_percent,
        ownership_percent,
        min_balance_seconds: min_balance,
        max_balance_seconds: max_balance,
    })
}

/// Where registrations are exchanged. `None` if they are not, or a mistake was noted.
fn registrations(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<AgentServer> {
    let place = |text: &str| Ok((Box::<str>::from(text), agent::place(text)?));
    let place = reader.parsed(table, "registrations", place);
    let token_file = reader.parsed(table, "token-file", absolute_path);
    let ca_file = reader.parsed(table, "ca-file", absolute_path);
    if !table.has("registrations") {
        for key in ["token-file", "ca-file"].into_iter().filter(|key| table.has(key)) {
            let complaint = Complaint::new(
                "it is for exchanging registrations with the partner, and `registrations` is missing",
                "say where the partner's API is, as in registrations = \"https://dhcp-b.campus.example:8443\"",
            );
            reader.complain_about(table, key, table.place_of(key), complaint);
        }
        return None;
    }
    if !table.has("token-file") {
        let why = "holds a token of the scope \"partner\" at the partner, as in \
                   token-file = \"/etc/vestibule/partner.token\"";
        reader.missing(table, "token-file", why);
    }
    let (url, place) = place?.value;
    let ca_file = ca_file.map_or_else(|| PathBuf::from(CA_FILE_DEFAULT), |placed| placed.value);
    Some(AgentServer { url, place, token_file: token_file?.value, ca_file })
}

fn seconds(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    min: u32,
    max: u32,
) -> Option<u32> {
    let read = |text: &str| value::duration_within(text, min, max);
    reader.parsed(table, key, read).map(|placed| placed.value)
}

/// A name as ISC dhcpd has it in its `failover peer "…"`: it is compared byte for byte.
fn relationship(text: &str) -> Result<Box<str>, Complaint> {
    let good = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"';
    if text.is_empty() || text.len() > RELATIONSHIP_LENGTH_MAX || !text.bytes().all(good) {
        return Err(Complaint::new(
            format!("{} cannot be the name of a pair", quoted(text)),
            format!(
                "1 to {RELATIONSHIP_LENGTH_MAX} ASCII characters, the same as in the partner's configuration"
            ),
        ));
    }
    Ok(text.into())
}

fn role(text: &str) -> Result<Role, Complaint> {
    match text {
        "primary" => Ok(Role::Primary),
        "secondary" => Ok(Role::Secondary),
        _ => {
            let message = format!("{} is no role", quoted(text));
            Err(Complaint::new(message, "known are \"primary\" and \"secondary\""))
        }
    }
}

fn host(text: &str) -> Result<Ipv4Addr, Complaint> {
    let address = value::address(text)?;
    value::check_host(address)?;
    Ok(address)
}

impl Failover {
    /// What the core works by.
    pub(crate) fn core(&self) -> FailoverConfiguration {
        FailoverConfiguration {
            role: self.role,
            relationship: self.relationship.clone(),
            mclt_seconds: self.mclt_seconds.unwrap_or(MCLT_SECONDS_UNMET),
            hash_buckets: HashBuckets::split(self.split),
            unacknowledged_max: self.unacknowledged_max,
            receive_timer_seconds: self.receive_timer_seconds,
            load_balance_seconds_max: self.load_balance_seconds_max,
            balance: BalanceSettings {
                misbalance_percent: self.misbalance_percent,
                ownership_percent: self.ownership_percent,
            },
            balance_seconds_min: self.min_balance_seconds,
            balance_seconds_max: self.max_balance_seconds,
            auto_partner_down_seconds: self.auto_partner_down_seconds,
            exchanges_registrations: self.registrations.is_some(),
        }
    }
}
