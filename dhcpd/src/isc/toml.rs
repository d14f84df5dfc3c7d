//! The plan as the text of a `vestibule.toml`.

use super::option_toml::{duration, text};
use super::plan::{NetworkPlan, Plan, Site, SubnetPlan};
use std::fmt::{self, Write as _};
use vestibule_core::AddressRange;

/// The file.
pub(super) fn written(plan: &Plan, site: &Site) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let result = write_all(&mut out, plan, site);
    debug_assert!(result.is_ok());
    out
}

fn write_all(out: &mut String, plan: &Plan, site: &Site) -> fmt::Result {
    writeln!(
        out,
        "# Written by `vestibule import-isc` from the configuration of an ISC dhcpd. What it could not take over"
    )?;
    writeln!(out, "# is in its report. docs/migration.md says how to go on.\n")?;
    writeln!(out, "[server]")?;
    writeln!(out, "name = {}", text(&site.name))?;
    writeln!(out, "state-dir = {}", text(&site.state_dir))?;
    if !plan.relay_listen.is_empty() {
        let addresses: Vec<String> = plan.relay_listen.iter().map(ToString::to_string).collect();
        writeln!(out, "relay-listen = {}", texts(&addresses))?;
    }
    if !site.interfaces.is_empty() {
        writeln!(out, "interfaces = {}", texts(&site.interfaces))?;
    }
    writeln!(out, "\n[leases]")?;
    writeln!(out, "lifetime = {}", text(&duration(plan.lifetime_seconds)))?;
    if let Some(seconds) = plan.lifetime_unregistered_seconds {
        writeln!(out, "lifetime-unregistered = {}", text(&duration(seconds)))?;
    }
    if let Some(seconds) = plan.decline_quarantine_seconds {
        writeln!(out, "decline-quarantine = {}", text(&duration(seconds)))?;
    }
    if let Some(percent) = plan.cache_threshold_percent {
        writeln!(out, "cache-threshold = \"{percent}%\"")?;
    }
    writeln!(out, "\n[gate]\nmode = \"off\"")?;
    if !plan.failover.is_empty() {
        writeln!(out, "\n[failover]")?;
        for line in &plan.failover {
            writeln!(out, "{line}")?;
        }
    }
    plan.networks.iter().try_for_each(|planned| network(out, planned))
}

fn network(out: &mut String, network: &NetworkPlan) -> fmt::Result {
    writeln!(out, "\n[[network]]")?;
    writeln!(out, "name = {}", text(&network.name))?;
    writeln!(out, "gated = {}", network.is_gated)?;
    if network.is_gated {
        writeln!(out, "gate-by = [\"pools\"]")?;
    }
    options(out, "options", &network.options)?;
    network.subnets.iter().try_for_each(|planned| subnet(out, planned))
}

fn subnet(out: &mut String, subnet: &SubnetPlan) -> fmt::Result {
    writeln!(out, "\n[[network.subnet]]")?;
    writeln!(out, "prefix = \"{}\"", subnet.prefix)?;
    ranges(out, "pools", &subnet.pools)?;
    ranges(out, "pools-registered", &subnet.pools_registered)?;
    ranges(out, "pools-unregistered", &subnet.pools_unregistered)?;
    options(out, "options", &subnet.options)?;
    options(out, "options-registered", &subnet.options_registered)?;
    options(out, "options-unregistered", &subnet.options_unregistered)?;
    if subnet.reservations.is_empty() {
        return Ok(());
    }
    writeln!(out, "reservation = [")?;
    for reservation in &subnet.reservations {
        let (mac, address) = (reservation.hardware, reservation.address);
        write!(out, "    {{ mac = \"{mac}\", address = \"{address}\"")?;
        if !reservation.options.is_empty() {
            write!(out, ", options = {{ {} }}", reservation.options.join(", "))?;
        }
        writeln!(out, " }},")?;
    }
    writeln!(out, "]")
}

fn ranges(out: &mut String, key: &str, ranges: &[AddressRange]) -> fmt::Result {
    if ranges.is_empty() {
        return Ok(());
    }
    let words = |range: &AddressRange| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    };
    writeln!(out, "{key} = {}", texts(&ranges.iter().map(words).collect::<Vec<_>>()))
}

/// A table on several lines, which TOML 1.1 takes, is for readers; an older tool takes one line.
fn options(out: &mut String, key: &str, entries: &[String]) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(out, "{key} = {{ {} }}", entries.join(", "))
}

fn texts(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|entry| text(entry)).collect::<Vec<_>>().join(", "))
}
