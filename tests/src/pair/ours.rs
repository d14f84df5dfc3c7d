//! Our server as a half: its configuration, its operator's tool.

use super::{CLIENTS, CLIENTS_PREFIX, POOL_FIRST, PairPlan, RELATIONSHIP, RELAY, Role, SeenLease};
use crate::lab::{Host, LabError, Process, TOKEN_FILE, program};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::Timestamp;
use vestibule_dhcpd::api::{parse_time, time_text};

/// Where its store is, on its host.
pub(super) const FOLDER: &str = "/run/vestibule";
const CONFIGURATION: &str = "/etc/vestibule/vestibule.toml";

pub(super) fn start(host: &Host, role: Role, plan: PairPlan) -> Result<Process, LabError> {
    program("vestibule-dhcpd")?;
    host.write(TOKEN_FILE, "a-token-for-one-lab-only-0123456789abcdef\n")?;
    host.write(CONFIGURATION, &configuration(role, plan))?;
    host.ok(&format!("chmod 600 {TOKEN_FILE}; mkdir -p {FOLDER}"))?;
    let mut process =
        host.start("vestibule", &format!("vestibule-dhcpd --config {CONFIGURATION}"))?;
    process.wait_line(" ready ")?;
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
        Role::Primary => format!("mclt = \"{mclt}s\"\nsplit = 128\n"),
        Role::Secondary => String::new(),
    };
    let (own, partner) = (role.address(), role.other().address());
    format!(
        "[server]\nname = \"{name}\"\nstate-dir = \"{FOLDER}\"\nrelay-listen = [\"{own}\"]\n\
         [leases]\nlifetime = \"{lifetime}s\"\nlifetime-unregistered = \"{lifetime}s\"\ncache-threshold = \"0%\"\n\
         [api]\ntoken-file = \"{TOKEN_FILE}\"\n[gate]\nmode = \"off\"\n\
         [failover]\nname = \"{RELATIONSHIP}\"\nrole = \"{name}\"\naddress = \"{own}\"\npeer = \"{partner}\"\n\
         max-response-delay = \"{delay}s\"\nmax-unacked-updates = {unacknowledged}\n\
         load-balance-max-seconds = {seconds}\nmin-balance = \"5s\"\nmax-balance = \"10s\"\n{of_the_primary}\
         [[network]]\nname = \"halls\"\ngated = false\n[[network.subnet]]\nprefix = \"{CLIENTS}/{length}\"\n\
         pools = [\"{POOL_FIRST}-{last}\"]\n\
         options = {{ routers = [\"{RELAY}\"], domain-name-servers = [\"10.0.0.53\"] }}\n",
        name = role.name(),
        length = CLIENTS_PREFIX.0,
        last = plan.pool_last(),
    )
}

fn ask(host: &Host, arguments: &str) -> Result<Value, LabError> {
    let text = host.ok(&format!("vestibule {arguments} --json --config {CONFIGURATION}"))?;
    serde_json::from_str(&text).map_err(|error| LabError::Command {
        command: format!("vestibule {arguments}"),
        status: error.to_string(),
        output: text,
    })
}

pub(super) fn states(host: &Host) -> Result<(String, String), LabError> {
    let status = ask(host, "failover status")?;
    let word = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    Ok((word("state"), word("partner-state")))
}

pub(super) fn free_addresses(host: &Host) -> Result<(u64, u64), LabError> {
    let status = ask(host, "failover status")?;
    let number = |key: &str| status["networks"][0][key].as_u64().unwrap_or_default();
    Ok((number("free"), number("backup")))
}

pub(super) fn leases(host: &Host) -> Result<BTreeMap<Ipv4Addr, SeenLease>, LabError> {
    let page = ask(host, "leases --all")?;
    let mut leases = BTreeMap::new();
    for lease in page["leases"].as_array().into_iter().flatten() {
        let word = |key: &str| lease[key].as_str().unwrap_or_default().to_owned();
        let Ok(address) = word("ip").parse::<Ipv4Addr>() else { continue };
        let is_active = word("state") == "active";
        leases.insert(address, SeenLease::new(is_active, word("mac"), ends(&word("ends"))));
    }
    Ok(leases)
}

/// `2026-11-21T21:00:42.120Z` as ISC dhcpd has it, in whole seconds that are not earlier: what a partner is told.
fn ends(text: &str) -> String {
    let Some(time) = parse_time(text) else { return "never".to_owned() };
    let whole = Timestamp::from_seconds(time.milliseconds().div_ceil(1000));
    let text = time_text(whole).unwrap_or_default();
    text.split('.').next().unwrap_or_default().replace('-', "/").replace('T', " ")
}

pub(super) fn partner_down(host: &Host) -> Result<(), LabError> {
    host.ok(&format!("vestibule failover partner-down --yes --config {CONFIGURATION}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_isc_dhcpd_writes_them() {
        assert_eq!(ends("2026-11-21T21:00:42.120Z"), "2026/11/21 21:00:43");
        assert_eq!(ends("2026-11-21T21:00:43.000Z"), "2026/11/21 21:00:43");
    }
}
