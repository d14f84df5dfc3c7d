//! `vestibule import-isc`: what an ISC dhcpd has written becomes a configuration and a store of ours.
//!
//! It promises that it writes nothing over, and that what could not be taken over as it was makes the exit
//! status 1, even though everything else is written then: a script cannot overlook it.

use super::{Failure, show};
use crate::api::json_text;
use crate::isc::{self, Kind, Site};
use clap::Args;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use vestibule_config::limits::NAME_LENGTH_MAX;
use vestibule_core::Timestamp;

/// The configuration's name in the folder that is written.
const CONFIGURATION: &str = "vestibule.toml";
/// The store's name in it.
const STATE: &str = "state";

#[derive(Args, Debug)]
pub(super) struct ImportIscArguments {
    /// dhcpd.conf; what it includes is found from its folder
    #[arg(long, value_name = "FILE")]
    conf: PathBuf,
    /// dhcpd.leases, of a server that is stopped; without it no leases are taken over
    #[arg(long, value_name = "FILE")]
    leases: Option<PathBuf>,
    /// The folder for vestibule.toml, and for the store if --state-dir names no other
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the store is made, and server.state-dir
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// server.name; without it, this host's name
    #[arg(long)]
    name: Option<String>,
    /// server.relay-listen, once for each address; without it and --interface, what dhcpd.conf says of its own
    #[arg(long, value_name = "ADDRESS")]
    relay_listen: Vec<Ipv4Addr>,
    /// server.interfaces, once for each attached LAN
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    /// Leave the failover partner out: this server is to run alone
    #[arg(long)]
    standalone: bool,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
    /// The time that leases are judged by, for tests
    #[arg(long, hide = true, value_name = "TIME")]
    now: Option<String>,
}

/// `vestibule import-isc`
pub(super) fn import_isc(
    wanted: &ImportIscArguments,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let folder = absolute(&wanted.out)?;
    let state_dir = wanted.state_dir.as_deref().map_or_else(|| Ok(folder.join(STATE)), absolute)?;
    let configuration = folder.join(CONFIGURATION);
    let state_dir_text = state_dir.to_str().ok_or_else(|| {
        Failure::Usage(
            "the state directory's name is not UTF-8, which the configuration has to be".to_owned(),
        )
    })?;
    let site = Site {
        name: wanted.name.clone().unwrap_or_else(own_name),
        state_dir: state_dir_text.to_owned(),
        relay_listen: wanted.relay_listen.clone(),
        interfaces: wanted.interface.clone(),
        is_standalone: wanted.standalone,
    };
    let now = match &wanted.now {
        Some(text) => crate::api::parse_time(text).ok_or_else(|| {
            Failure::Usage("--now takes a time as 2027-02-28T22:00:00Z".to_owned())
        })?,
        None => now(),
    };
    let import = isc::translate(&wanted.conf, wanted.leases.as_deref(), &site, now)
        .map_err(|error| Failure::Usage(show::shown(&error.to_string())))?;
    if !wanted.dry_run {
        isc::write(&import, &configuration, &state_dir)
            .map_err(|error| Failure::Usage(show::shown(&error.to_string())))?;
    }
    let report = &import.report;
    if json {
        let mut answer = report.json();
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("written".to_owned(), (!wanted.dry_run).into());
            answer.insert("configuration".to_owned(), path_text(&configuration).into());
            answer.insert("state-dir".to_owned(), state_dir_text.into());
        }
        writeln!(out, "{}", json_text(&answer))?;
    } else {
        out.write_all(report.text().as_bytes())?;
        let (configuration, state_dir) =
            (show::shown(&path_text(&configuration)), show::shown(state_dir_text));
        if wanted.dry_run {
            writeln!(
                out,
                "nothing is written; without --dry-run: {configuration} and {state_dir}"
            )?;
        } else {
            writeln!(out, "written: {configuration} and {state_dir}")?;
            writeln!(out, "look at it: vestibule check {configuration}")?;
        }
    }
    out.flush()?;
    let (left_out, changed) = (report.found(Kind::LeftOut), report.found(Kind::Changed));
    if left_out == 0 && changed == 0 {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "not everything could be taken over as it was: {left_out} left out, {changed} changed; decide about each"
    )))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::Usage(format!("{} names no place: {error}", path_text(path))))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// This host's name, as far as it can be a server's.
fn own_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let good = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let name: String = name.chars().filter(good).take(NAME_LENGTH_MAX).collect();
    if name.is_empty() { "dhcp".to_owned() } else { name }
}
