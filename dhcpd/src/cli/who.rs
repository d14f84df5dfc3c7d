//! `vestibule who`: who held an address, and what a device, an owner, a circuit held.
//!
//! It asks the running server, or with `--state-dir` reads what a stopped one has left. Times are the
//! caller's local ones, and the answer says which zone that is.

use super::client::{Client, path_with_query};
use super::commands::understood;
use super::show::or_dash;
use super::{Failure, Global, shown, zone};
use crate::api::{
    HistoryPage, HoldingView, OwnershipView, PAGE_ENTRIES_MAX, circuit_bytes, holding_view,
    json_text, parse_time, time_text,
};
use crate::history::{By, Offline, OfflineError, Policy, Question, networks};
use crate::store::StoreError;
use clap::Args;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;
use vestibule_core::{HardwareAddress, Timestamp};

#[derive(Args, Debug)]
#[group(id = "by", required = true, multiple = false)]
struct ByArguments {
    /// Who held this address
    ip: Option<Ipv4Addr>,
    /// What this device held
    #[arg(long)]
    mac: Option<HardwareAddress>,
    /// What the devices of this owner held while they were this owner's
    #[arg(long)]
    owner: Option<String>,
    /// What was held behind this circuit ID: text, or hex: and hexadecimal digits
    #[arg(long)]
    circuit: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct WhoArguments {
    #[command(flatten)]
    by: ByArguments,
    /// At this moment, as in "2026-11-03 14:05" (local time) or 2026-11-03T13:05:00Z
    #[arg(long, value_name = "TIME", value_parser = zone::parse, conflicts_with_all = ["from", "until"])]
    at: Option<Timestamp>,
    /// From this moment on
    #[arg(long, value_name = "TIME", value_parser = zone::parse)]
    from: Option<Timestamp>,
    /// Up to this moment
    #[arg(long, value_name = "TIME", value_parser = zone::parse)]
    until: Option<Timestamp>,
    /// Print comma-separated values, with a line of headings; times are in UTC
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Read the state directory of a stopped server instead of asking a running one
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Gives the page after a cursor.
type Ask<'a> = dyn FnMut(Option<&str>) -> Result<HistoryPage, Failure> + 'a;

/// `vestibule who`
pub(super) fn who(
    global: &Global,
    wanted: &WhoArguments,
    json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    match &wanted.state_dir {
        Some(directory) => {
            let configuration = vestibule_config::load(&global.config)
                .map_err(|mistakes| Failure::Usage(mistakes.to_string()))?;
            let policy = Policy::new(&configuration.history);
            let offline = Offline::open(directory, policy, networks(&configuration.core))
                .map_err(unusable)?;
            if offline.has_gap() {
                writeln!(
                    complaints,
                    "vestibule: the newest part of the journal cannot be read; what was in it is missing"
                )?;
            }
            let mut ask = |after: Option<&str>| {
                let after = after.and_then(|text| text.parse().ok());
                let page = offline.ask(&question(wanted, after)?, wall_clock());
                Ok(HistoryPage {
                    intervals: page.told.iter().map(holding_view).collect(),
                    next: page.next.map(|next| next.to_string()),
                    damaged: page.damaged,
                })
            };
            tell(wanted, json, &mut ask, out, complaints)
        }
        None => {
            let client = super::client(global)?;
            let mut ask = |after: Option<&str>| ask_server(&client, wanted, after);
            tell(wanted, json, &mut ask, out, complaints)
        }
    }
}

fn unusable(error: OfflineError) -> Failure {
    match error {
        OfflineError::Store(StoreError::Locked { .. }) => {
            Failure::Usage(format!("{error}; ask that server: leave out --state-dir"))
        }
        error => Failure::Usage(error.to_string()),
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_seconds(since.map_or(0, |since| since.as_secs()))
}

fn question(
    wanted: &WhoArguments,
    after: Option<crate::history::Cursor>,
) -> Result<Question, Failure> {
    let ByArguments { ip, mac, owner, circuit } = &wanted.by;
    let circuit = match circuit.as_deref() {
        Some(text) => Some(circuit_bytes(text).ok_or_else(|| {
            Failure::Usage("--circuit: `hex:` takes an even number of hexadecimal digits".into())
        })?),
        None => None,
    };
    let by = ip
        .map(By::Address)
        .or(mac.map(By::Hardware))
        .or(owner.as_deref().map(|owner| By::Owner(owner.into())))
        .or(circuit.map(By::Circuit))
        .ok_or_else(|| Failure::Usage("name an address, --mac, --owner or --circuit".into()))?;
    let next = |at: Timestamp| Timestamp::from_milliseconds(at.milliseconds().saturating_add(1));
    Ok(Question {
        by,
        from: wanted.at.or(wanted.from).unwrap_or(Timestamp::ZERO),
        until: wanted.at.map(next).or(wanted.until).unwrap_or(Timestamp::FOREVER),
        after,
        limit: PAGE_ENTRIES_MAX,
    })
}

fn ask_server(
    client: &Client,
    wanted: &WhoArguments,
    after: Option<&str>,
) -> Result<HistoryPage, Failure> {
    let ByArguments { ip, mac, owner, circuit } = &wanted.by;
    let (ip, mac) = (ip.map(|ip| ip.to_string()), mac.map(|mac| mac.to_string()));
    let time = |time: Option<Timestamp>| time.and_then(time_text);
    let (at, from, until) = (time(wanted.at), time(wanted.from), time(wanted.until));
    let limit = PAGE_ENTRIES_MAX.to_string();
    understood(client.get(&path_with_query(
        "/v1/history",
        &[
            ("ip", ip.as_deref()),
            ("mac", mac.as_deref()),
            ("owner", owner.as_deref()),
            ("circuit", circuit.as_deref()),
            ("at", at.as_deref()),
            ("from", from.as_deref()),
            ("until", until.as_deref()),
            ("after", after),
            ("limit", Some(&limit)),
        ],
    ))?)
}

/// Page after page, so that memory does not grow with the past.
fn tell(
    wanted: &WhoArguments,
    json: bool,
    ask: &mut Ask<'_>,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    if let (Some(from), Some(until)) = (wanted.from, wanted.until)
        && until <= from
    {
        return Err(Failure::Usage("--until is not later than --from".into()));
    }
    let mut page = ask(None)?;
    let mut count = 0_u64;
    if !json && !wanted.csv {
        heading(wanted, out)?;
    }
    if wanted.csv {
        csv_row(out, HEADINGS.map(str::to_owned))?;
    }
    loop {
        for interval in &page.intervals {
            count += 1;
            if json {
                writeln!(out, "{}", json_text(interval))?;
            } else if wanted.csv {
                csv_rows(interval, out)?;
            } else {
                rows(interval, out)?;
            }
        }
        let Some(next) = page.next.take() else { break };
        let following = ask(Some(&next))?;
        if following.next.as_deref() == Some(&next) {
            return Err(Failure::Unreachable(
                "the pages of the answer do not come to an end".into(),
            ));
        }
        page = following;
    }
    if page.damaged > 0 {
        writeln!(
            complaints,
            "vestibule: {} parts of the history cannot be read; what was in them is missing",
            page.damaged
        )?;
    }
    if count == 0 {
        return Err(Failure::Refused("nothing of that is known for this time".into()));
    }
    Ok(())
}

fn heading(wanted: &WhoArguments, out: &mut dyn Write) -> Result<(), Failure> {
    let moment = wanted.at.or(wanted.from).unwrap_or_else(wall_clock);
    match (zone::local(moment), wanted.at) {
        (Some(local), Some(_)) => {
            writeln!(out, "at {} ({}); times are local", local.text, shown(&local.zone))?;
        }
        (Some(local), None) => writeln!(out, "times are local ({})", shown(&local.zone))?,
        (None, _) => writeln!(out, "times are in UTC")?,
    }
    Ok(())
}

/// A time of the API as the caller's clocks show it.
fn local(text: Option<&str>) -> String {
    let time = text.and_then(parse_time);
    let local = time.and_then(zone::local).map(|local| local.text);
    local.or_else(|| text.map(shown)).unwrap_or_else(|| "-".to_owned())
}

fn rows(interval: &HoldingView, out: &mut dyn Write) -> Result<(), Failure> {
    let until = match interval.ended.as_deref() {
        Some(ended) => format!("until {} ({})", local(interval.until.as_deref()), shown(ended)),
        None => format!("still held, until {}", local(interval.until.as_deref())),
    };
    writeln!(
        out,
        "\n{}  {}  from {}  {until}",
        interval.ip,
        interval.mac,
        local(interval.from.as_deref())
    )?;
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.push(format!("{name} {value}"));
        }
    };
    fact("network", interval.network.as_deref().map(shown));
    fact("host name", interval.host_name.as_deref().map(|name| or_dash(Some(name))));
    fact("client id", interval.client_id.clone());
    fact("relay", interval.relay.map(|relay| relay.to_string()));
    let either = |text: &Option<String>, hex: &Option<String>| {
        text.as_deref().map(shown).or_else(|| hex.as_ref().map(|hex| format!("hex:{hex}")))
    };
    fact("circuit", either(&interval.circuit_id, &interval.circuit_id_hex));
    fact("remote", either(&interval.remote_id, &interval.remote_id_hex));
    if interval.granted_by != "this-server" {
        fact("granted by the", Some(shown(&interval.granted_by)));
    }
    if !facts.is_empty() {
        writeln!(out, "    {}", facts.join(", "))?;
    }
    for OwnershipView { owner, role, from, until, ended } in &interval.registrations {
        let role = role.as_deref().map(|role| format!(" ({})", shown(role))).unwrap_or_default();
        let until = match (until, ended) {
            (None, _) => String::new(),
            (Some(until), Some(ended)) => {
                format!(" until {} ({})", local(Some(until)), shown(ended))
            }
            (Some(until), None) => format!(", valid until {}", local(Some(until))),
        };
        let owner = or_dash(owner.as_deref());
        writeln!(out, "    owner {owner}{role} from {}{until}", local(from.as_deref()))?;
    }
    Ok(())
}

const HEADINGS: [&str; 16] = [
    "ip",
    "mac",
    "from",
    "until",
    "ended",
    "owner",
    "role",
    "owner-from",
    "owner-until",
    "host-name",
    "client-id",
    "network",
    "relay",
    "circuit-id",
    "remote-id",
    "granted-by",
];

/// A row for each owner, or one without.
fn csv_rows(interval: &HoldingView, out: &mut dyn Write) -> Result<(), Failure> {
    let none = OwnershipView { owner: None, role: None, from: None, until: None, ended: None };
    let owners = if interval.registrations.is_empty() {
        std::slice::from_ref(&none)
    } else {
        interval.registrations.as_slice()
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let either = |text: &Option<String>, hex: &Option<String>| {
        text.clone().or_else(|| hex.as_ref().map(|hex| format!("hex:{hex}"))).unwrap_or_default()
    };
    for owner in owners {
        csv_row(
            out,
            [
                interval.ip.to_string(),
                interval.mac.to_string(),
                text(&interval.from),
                text(&interval.until),
                text(&interval.ended),
                text(&owner.owner),
                text(&owner.role),
                text(&owner.from),
                text(&owner.until),
                text(&interval.host_name),
                text(&interval.client_id),
                text(&interval.network),
                interval.relay.map(|relay| relay.to_string()).unwrap_or_default(),
                either(&interval.circuit_id, &interval.circuit_id_hex),
                either(&interval.remote_id, &interval.remote_id_hex),
                interval.granted_by.clone(),
            ],
        )?;
    }
    Ok(())
}

fn csv_row(out: &mut dyn Write, fields: [String; 16]) -> Result<(), Failure> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let written = writer.write_record(fields.map(|field| harmless(&field)));
    written.map_err(|error| Failure::Output(std::io::Error::other(error)))?;
    let bytes = writer.into_inner().map_err(|error| Failure::Output(error.into_error()))?;
    Ok(out.write_all(&bytes)?)
}

/// Text that no spreadsheet takes for a formula (a host name may be `=HYPERLINK(…)`), and that acts on no
/// terminal.
fn harmless(text: &str) -> String {
    let shown = shown(text);
    let is_formula = shown.trim_start().starts_with(['=', '+', '-', '@']);
    if is_formula { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_runs_nothing_that_a_stranger_wrote() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1"] {
            let text = harmless(formula);
            assert!(text.starts_with(['\'', '\\']), "{text}");
        }
        assert_eq!(harmless("laptop-7"), "laptop-7");
        let mut out = Vec::new();
        let mut fields = HEADINGS.map(str::to_owned);
        fields[9] = "=cmd|' /C calc'!A0,\"x\"\n".to_owned();
        assert!(csv_row(&mut out, fields).is_ok());
        let line = String::from_utf8_lossy(&out);
        assert!(line.contains(",\"'=cmd|' /C calc'!A0,\"\"x\"\"\\u{a}\","), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
