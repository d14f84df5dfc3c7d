//! ISC dhcpd as a half: its configuration, its lease file, its control by OMAPI.

use super::{CLIENTS, CLIENTS_PREFIX, POOL_FIRST, PairPlan, RELATIONSHIP, RELAY, Role, SeenLease};
use crate::lab::{Host, LabError, Process, peer};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Where its store is, on its host.
pub(super) const FOLDER: &str = "/run/isc";
const CONFIGURATION: &str = "/etc/servers/dhcpd.conf";
/// Where it takes an operator's word.
const OMAPI_PORT: u16 = 7911;

pub(super) fn program() -> Result<PathBuf, LabError> {
    peer("usr/sbin/dhcpd")
}

pub(super) fn start(host: &Host, role: Role, plan: PairPlan) -> Result<Process, LabError> {
    let dhcpd = program()?;
    host.write(CONFIGURATION, &configuration(role, plan))?;
    host.ok(&format!("mkdir -p {FOLDER}; test -e {FOLDER}/leases || : >{FOLDER}/leases"))?;
    let mut process = host.start(
        "isc",
        &format!(
            "'{}' -4 -d -f -cf {CONFIGURATION} -lf {FOLDER}/leases --no-pid wire",
            dhcpd.display()
        ),
    )?;
    process.wait_line("Server starting service.")?;
    Ok(process)
}

fn configuration(role: Role, plan: PairPlan) -> String {
    let PairPlan {
        lifetime_seconds: lifetime,
        mclt_seconds: mclt,
        response_delay_seconds: delay,
        unacknowledged_max: unacknowledged,
        load_balance_seconds_max: seconds,
        ..
    } = plan;
    let of_the_primary = match role {
        Role::Primary => format!("mclt {mclt}; split 128;"),
        Role::Secondary => String::new(),
    };
    let (own, partner) = (role.address(), role.other().address());
    format!(
        "authoritative;\nping-check off;\nddns-update-style none;\nomapi-port {OMAPI_PORT};\n\
         default-lease-time {lifetime};\nmin-lease-time {lifetime};\nmax-lease-time {lifetime};\ndhcp-cache-threshold 0;\n\
         failover peer \"{RELATIONSHIP}\" {{\n  {};\n  address {own};\n  peer address {partner};\n\
         max-response-delay {delay};\n  max-unacked-updates {unacknowledged};\n\
         load balance max seconds {seconds};\n  min-balance 5;\n  max-balance 10;\n  {of_the_primary}\n}}\n\
         subnet 10.0.0.0 netmask 255.255.255.0 {{ }}\n\
         subnet {CLIENTS} netmask {} {{\n  option routers {RELAY};\n\
         pool {{ failover peer \"{RELATIONSHIP}\"; range {POOL_FIRST} {}; }}\n}}\n",
        role.name(),
        CLIENTS_PREFIX.1,
        plan.pool_last(),
    )
}

pub(super) fn states(host: &Host) -> Result<(String, String), LabError> {
    let file = host.read(&format!("{FOLDER}/leases"))?;
    let newest = |key: &str| {
        let line = file.lines().rev().find_map(|line| line.trim().strip_prefix(key))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    Ok((newest("my state ").unwrap_or_default(), newest("partner state ").unwrap_or_default()))
}

pub(super) fn leases(host: &Host) -> Result<BTreeMap<Ipv4Addr, SeenLease>, LabError> {
    Ok(parse(&host.read(&format!("{FOLDER}/leases"))?))
}

/// The newest word on every address that has a hardware address.
fn parse(file: &str) -> BTreeMap<Ipv4Addr, SeenLease> {
    let mut leases = BTreeMap::new();
    let mut blocks = file.split("\nlease ");
    blocks.next();
    for block in blocks {
        let Some((address, rest)) = block.split_once(" {") else { continue };
        let Ok(address) = address.parse::<Ipv4Addr>() else { continue };
        // A block that is being written has no end yet.
        let Some((body, _)) = rest.split_once("\n}") else { continue };
        let field = |key: &str| {
            let line = body.lines().find_map(|line| line.trim().strip_prefix(key))?;
            line.strip_suffix(';').map(str::to_owned)
        };
        let Some(mac) = field("hardware ethernet ") else {
            leases.remove(&address);
            continue;
        };
        let is_active = field("binding state ").as_deref() == Some("active");
        // `ends 4 2026/11/21 21:00:43`: the day of the week stands first.
        let ends = field("ends ").unwrap_or_default();
        let ends = ends.split_once(' ').map_or("never", |(_, ends)| ends).to_owned();
        leases.insert(address, SeenLease::new(is_active, mac, ends));
    }
    leases
}

pub(super) fn partner_down(host: &Host, role: Role) -> Result<(), LabError> {
    let omshell = peer("usr/bin/omshell")?;
    let script = format!(
        "server {}\nport {OMAPI_PORT}\nconnect\nnew failover-state\nset name = \"{RELATIONSHIP}\"\nopen\n\
         set local-state = 4\nupdate\n",
        role.address()
    );
    host.write("/run/partner-down", &script)?;
    host.ok(&format!("'{}' </run/partner-down", omshell.display())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_on_an_address_counts() {
        let file = "authoring-byte-order little-endian;\n\nlease 10.32.0.16 {\n  starts 6 2026/11/21 20:00:00;\n  \
            ends 6 2026/11/21 20:10:00;\n  binding state active;\n  hardware ethernet 02:56:00:00:00:01;\n}\n\
            lease 10.32.0.17 {\n  binding state free;\n}\nlease 10.32.0.16 {\n  ends 6 2026/11/21 20:05:00;\n  \
            binding state free;\n  hardware ethernet 02:56:00:00:00:01;\n}\nlease 10.32.0.18 {\n  ends 6";
        let leases = parse(file);
        assert_eq!(leases.len(), 1);
        let lease = &leases[&Ipv4Addr::new(10, 32, 0, 16)];
        assert_eq!((lease.state.as_str(), lease.is_active()), ("free", false));
    }
}
