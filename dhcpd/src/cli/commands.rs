//! The commands that ask a server, and how their answers look.

use super::client::{Client, path_with_query};
use super::show::{or_dash, percent_encoded, shown};
use super::{Device, Failure, LeasesArguments, RegisterArguments, registrations};
use crate::api::{
    LeaseView, NetworkView, PAGE_ENTRIES_MAX, ReloadView, StatusView, UnregisteredView, json_text,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, RegistrationState};

/// Over the columns of `vestibule leases`.
const HEADINGS: [&str; 8] =
    ["IP", "MAC", "STATE", "ENDS", "REGISTERED", "NETWORK", "HOST NAME", "OWNER"];

/// `vestibule status`
pub(super) fn status(client: &Client, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = client.get("/v1/status")?;
    if json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let status: StatusView = understood(answer)?;
    writeln!(
        out,
        "{}  vestibule-dhcpd {}, up {}, since {}",
        shown(&status.server),
        shown(&status.version),
        duration(status.uptime_seconds),
        or_dash(status.started.as_deref())
    )?;
    if status.everything_well {
        writeln!(out, "everything is well")?;
    }
    for complaint in &status.not_well {
        writeln!(out, "NOT WELL: {}", shown(complaint))?;
    }
    writeln!(
        out,
        "gate {}; {} registrations; {} offers open; {} leases known",
        shown(&status.gate.mode),
        status.registrations,
        status.offers,
        status.leases_known
    )?;
    writeln!(
        out,
        "{} records committed in {} groups; kernel dropped {} packets; {} replies could not be sent",
        status.storage.records_committed,
        status.storage.groups_committed,
        status.kernel_drops,
        status.send_errors
    )?;
    let by_sets_alone =
        |network: &NetworkView| network.gated && !network.gate_by.iter().any(|by| by == "pools");
    if status.gate.mode == "off" && status.networks.iter().any(by_sets_alone) {
        writeln!(out, "gate off: unregistered hosts of gated networks have the whole network")?;
    }
    writeln!(out)?;
    let width = status.networks.iter().map(|network| shown(&network.name).chars().count()).max();
    let width = width.unwrap_or(0).max("NETWORK".len());
    writeln!(
        out,
        "{:width$} {:>5} {:>9} {:>9} {:>9} {:>9} {:>10} {:>12}",
        "NETWORK", "GATED", "POOL", "FREE", "HELD", "DECLINED", "REGISTERED", "UNREGISTERED"
    )?;
    for network in &status.networks {
        writeln!(
            out,
            "{:width$} {:>5} {:>9} {:>9} {:>9} {:>9} {:>10} {:>12}",
            shown(&network.name),
            if network.gated { "yes" } else { "no" },
            network.pool_size,
            network.free,
            network.held,
            network.declined,
            network.registered,
            network.unregistered
        )?;
        for pools in &network.class_pools {
            write!(
                out,
                "{:width$}       {:>9} {:>9} {:>9} for {} hosts",
                "", pools.size, pools.free, pools.held, pools.class
            )?;
            if pools.misplaced > 0 {
                write!(out, ", {} of the other class", pools.misplaced)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// `vestibule leases`: page after page, so that memory does not grow with the campus.
pub(super) fn leases(
    client: &Client,
    wanted: &LeasesArguments,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let limit = PAGE_ENTRIES_MAX.to_string();
    let mac = wanted.mac.map(|mac| mac.to_string());
    let mut after: Option<Ipv4Addr> = None;
    let mut shown_before = false;
    loop {
        let after_text = after.map(|address| address.to_string());
        let mut page = client.get(&path_with_query(
            "/v1/leases",
            &[
                ("limit", Some(&limit)),
                ("after", after_text.as_deref()),
                ("mac", mac.as_deref()),
                ("network", wanted.network.as_deref()),
                ("all", wanted.all.then_some("true")),
            ],
        ))?;
        // Only now: a server that refuses gets no half an answer printed.
        if after.is_none() {
            if json {
                write!(out, "{{\"leases\":[")?;
            } else {
                lease_row(out, HEADINGS.map(str::to_owned))?;
            }
        }
        let next: Option<Ipv4Addr> =
            understood(page.get_mut("next").map(Value::take).unwrap_or_default())?;
        let entries: Vec<Value> =
            understood(page.get_mut("leases").map(Value::take).unwrap_or_default())?;
        for entry in entries {
            if json {
                let separator = if shown_before { "," } else { "" };
                write!(out, "{separator}\n{}", json_text(&entry))?;
            } else {
                let lease: LeaseView = understood(entry)?;
                lease_row(out, columns(&lease))?;
            }
            shown_before = true;
        }
        match next {
            // Addresses ascend; a server that does not keep to it would be asked for ever.
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => return Err(not_understood("the pages of its answer do not come to an end")),
            None => break,
        }
    }
    if json {
        writeln!(out, "\n]}}")?;
    }
    Ok(())
}

/// `vestibule register`
pub(super) fn register(
    client: &Client,
    wanted: &RegisterArguments,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (field, device) = match wanted.device {
        Device::Address(address) => ("ip", address.to_string()),
        Device::Hardware(mac) => ("mac", mac.to_string()),
    };
    let mut body = Map::new();
    body.insert(field.to_owned(), device.into());
    let mut insert = |field: &str, value: Option<String>| {
        if let Some(value) = value {
            body.insert(field.to_owned(), value.into());
        }
    };
    insert("owner", wanted.owner.clone());
    insert("role", wanted.role.clone());
    insert("sponsor", wanted.sponsor.clone());
    insert("note", wanted.note.clone());
    insert("expires", wanted.expires.clone());
    insert("replaces", wanted.replaces.clone());
    let answer = client.post("/v1/registrations", &body.into())?;
    registrations::changed(answer, json, out)
}

/// `vestibule unregister`
pub(super) fn unregister(
    client: &Client,
    mac: HardwareAddress,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let path = format!("/v1/registrations/{}", percent_encoded(&mac.to_string()));
    let answer = client.delete(&path)?;
    if json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let UnregisteredView { mac, addresses } = understood(answer)?;
    write!(out, "{mac} is not registered any more")?;
    match addresses.as_slice() {
        [] => writeln!(out, "; it holds no address in a gated network now")?,
        addresses => writeln!(out, "; the gate is closed for {}", list(addresses))?,
    }
    Ok(())
}

/// `vestibule reload`
pub(super) fn reload(
    client: &Client,
    dry_run: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let answer = client.post("/v1/reload", &serde_json::json!({ "dry-run": dry_run }))?;
    if json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let ReloadView { applied, changes, stranded } = understood(answer)?;
    for change in &changes {
        writeln!(out, "  {}", shown(change))?;
    }
    let count = changes.len();
    match (applied, count) {
        (true, 0) => writeln!(out, "reloaded: nothing was different")?,
        (true, _) => writeln!(out, "reloaded: {count} changes")?,
        (false, 0) => writeln!(out, "nothing is different")?,
        (false, _) => writeln!(out, "{count} changes; nothing was done")?,
    }
    if stranded > 0 {
        writeln!(
            out,
            "{stranded} held leases are of no pool and no reservation then: they stay until they end, and are not renewed"
        )?;
    }
    Ok(())
}

fn columns(lease: &LeaseView) -> [String; 8] {
    [
        lease.ip.to_string(),
        lease.mac.to_string(),
        shown(&lease.state),
        lease.ends.as_deref().map_or_else(|| "never".to_owned(), shown),
        registered(lease).to_owned(),
        or_dash(lease.network.as_deref()),
        or_dash(lease.host_name.as_deref()),
        or_dash(lease.owner.as_deref()),
    ]
}

const fn registered(lease: &LeaseView) -> &'static str {
    match lease.registration_state {
        Some(RegistrationState::Active) => "yes",
        Some(RegistrationState::Suspended) => "suspended",
        Some(RegistrationState::Quarantined) => "quarantine",
        None => "no",
    }
}

fn lease_row(out: &mut dyn Write, columns: [String; 8]) -> io::Result<()> {
    let [ip, mac, state, ends, registered, network, host_name, owner] = columns;
    let row = format!(
        "{ip:15} {mac:17} {state:8} {ends:24} {registered:10} {network:16} {host_name:24} {owner}"
    );
    writeln!(out, "{}", row.trim_end())
}

pub(super) fn list(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whole units only: nobody needs the seconds of a day.
fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

pub(super) fn understood<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| not_understood(&error.to_string()))
}

pub(super) fn not_understood(why: &str) -> Failure {
    Failure::Refused(format!(
        "the server's answer cannot be understood: {}; are server and tool of the same version?",
        shown(why)
    ))
}
