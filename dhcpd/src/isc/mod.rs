//! The import of an ISC dhcpd: its configuration and its leases become a `vestibule.toml` and a store.
//!
//! [`translate`] reads and decides, and writes nothing; [`write`] writes. What cannot be taken over is in
//! the [`Report`] with file, line and what to do: nothing is dropped in silence. The text that is written
//! is one that the configuration's own checks take, and the store one that the server itself would have
//! written. A store that is there is never written into.
//!
//! | file | idea |
//! | --- | --- |
//! | `lexer` | words, texts and marks, with their lines |
//! | `syntax` | a configuration as a tree of statements |
//! | `draft` | what the statements say, gathered |
//! | `option_names`, `option_data` | ISC's options: names, types, values as bytes |
//! | `statements` | what is not taken over, and what to do about it |
//! | `plan` | what our configuration will say |
//! | `option_toml`, `toml` | how it is written |
//! | `leases`, `records`, `pair` | the lease file, and leases and what a pair knows of them as our store keeps them |
//! | `write` | the file and the store |
//! | `report` | what came of everything |

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod draft;
mod leases;
mod lexer;
mod option_data;
mod option_names;
mod option_toml;
mod pair;
mod plan;
mod records;
mod report;
mod statements;
mod syntax;
mod toml;
mod write;

pub use plan::Site;
pub use report::{Counts, FINDINGS_MAX, Kind, Report};
pub use syntax::SourceError;
pub use write::{WriteError, write};

use leases::LeaseFile;
use plan::Plan;
use records::Fate;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use syntax::Place;
use vestibule_config::Failover;
use vestibule_core::failover::{FailoverRecord, PairBinding};
use vestibule_core::{Lease, Registration, Timestamp};

/// What an import will write.
#[derive(Debug)]
pub struct Import {
    /// The text of `vestibule.toml`.
    pub configuration: String,
    /// Leases that are held, that are in quarantine, or that have ended; by address.
    pub leases: Vec<Lease>,
    /// Devices that are registered.
    pub registrations: Vec<Registration>,
    /// The states of the failover pair.
    pub pair: Option<FailoverRecord>,
    /// What the pair knows of addresses, in ascending order.
    pub bindings: Vec<PairBinding>,
    /// When it was made.
    pub now: Timestamp,
    /// What came of everything.
    pub report: Report,
}

/// Why nothing can be imported.
#[derive(Debug)]
pub enum ImportError {
    /// A file of the configuration cannot be taken.
    Source(SourceError),
    /// The lease file cannot be read.
    Leases {
        /// The file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// The configuration says nowhere where the server listens.
    NowhereToListen,
    /// What was made is not taken by the configuration's own checks: a mistake of this program.
    NotTaken(String),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Leases { file, error } => write!(f, "{file} cannot be read: {error}"),
            Self::NowhereToListen => f.write_str(
                "the configuration does not say where the server listens: name the address that relays send to with \
                 --relay-listen ADDRESS, or an attached LAN with --interface NAME",
            ),
            Self::NotTaken(mistakes) => write!(
                f,
                "what was made of the configuration is refused by its own checks, which is a mistake of this program: \
                 please report it with these lines\n{mistakes}"
            ),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<SourceError> for ImportError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Reads a configuration, and a lease file if there is one, and says what they become at `now`. Changes
/// nothing.
///
/// # Errors
/// [`ImportError`]; what merely has no equal here is none.
pub fn translate(
    configuration: &Path,
    lease_file: Option<&Path>,
    site: &Site,
    now: Timestamp,
) -> Result<Import, ImportError> {
    let mut draft = draft::Draft::of(&syntax::read(configuration)?);
    let mut leases = LeaseFile::default();
    if let Some(path) = lease_file {
        let name = path.display().to_string();
        let read = File::open(path).and_then(|file| leases::read(file, &name, &mut draft.report));
        leases = read.map_err(|error| ImportError::Leases { file: name, error })?;
    }
    draft.dynamic_hosts(&leases.declared);
    let (plan, mut report) = plan::plan(draft, site);
    if plan.relay_listen.is_empty() && site.interfaces.is_empty() {
        return Err(ImportError::NowhereToListen);
    }
    let text = toml::written(&plan, site);
    let parsed = vestibule_config::parse(&text, "vestibule.toml")
        .map_err(|mistakes| ImportError::NotTaken(mistakes.to_string()))?;
    let served = Served::by(&plan);
    let (pair, bindings) = take_pair(&leases, parsed.failover.as_ref(), &served, &mut report);
    let leases = take_leases(leases, &served, now, &mut report);
    let registrations = plan
        .registered
        .iter()
        .map(|(hardware, note)| Registration {
            note: Some(note.as_str().into()),
            ..Registration::of(*hardware, now)
        })
        .collect();
    Ok(Import { configuration: text, leases, registrations, pair, bindings, now, report })
}

/// The addresses that the plan gives out, or keeps for somebody.
struct Served {
    /// Last address by first.
    ranges: BTreeMap<Ipv4Addr, Ipv4Addr>,
    reserved: BTreeMap<Ipv4Addr, vestibule_core::HardwareAddress>,
}

impl Served {
    fn by(plan: &Plan) -> Self {
        let subnets = || plan.networks.iter().flat_map(|network| &network.subnets);
        let ranges = subnets().flat_map(plan::SubnetPlan::all_pools);
        let reservations = subnets().flat_map(|subnet| &subnet.reservations);
        Self {
            ranges: ranges.map(|range| (range.first, range.last)).collect(),
            reserved: reservations.map(|one| (one.address, one.hardware)).collect(),
        }
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.has_in_pools(address) || self.reserved.contains_key(&address)
    }

    fn has_in_pools(&self, address: Ipv4Addr) -> bool {
        let range = self.ranges.range(..=address).next_back();
        range.is_some_and(|(_, last)| address <= *last)
    }
}

/// What the pair knows, if there is one from now on.
fn take_pair(
    file: &LeaseFile,
    pair: Option<&Failover>,
    served: &Served,
    report: &mut Report,
) -> (Option<FailoverRecord>, Vec<PairBinding>) {
    for peer in &file.peers {
        let what = format!("failover peer \"{}\" state", peer.name);
        if pair.is_none_or(|pair| *pair.relationship != *peer.name) {
            let remedy = "this server is not in this relationship";
            report.add(Kind::NotNeeded, peer.place, what, remedy);
        } else if pair.and_then(|pair| pair::states(peer, pair)).is_none() {
            let remedy = "no server comes back to this state: this one fetches everything from its partner, and serves when \
                          that is done and the maximum client lead time is over";
            report.changed(peer.place, what, remedy);
        }
    }
    let Some(pair) = pair else { return (None, Vec::new()) };
    let states = file.peers.iter().find(|peer| *peer.name == *pair.relationship);
    let pooled = file.leases.values().filter(|isc| served.has_in_pools(isc.address));
    (states.and_then(|peer| pair::states(peer, pair)), pooled.filter_map(pair::binding).collect())
}

/// By value: a lease file of a million addresses is not in memory twice.
fn take_leases(
    file: LeaseFile,
    served: &Served,
    now: Timestamp,
    report: &mut Report,
) -> Vec<Lease> {
    // The lease file was the last to be named.
    let number =
        syntax::FileNumber(u16::try_from(report.files.len().saturating_sub(1)).unwrap_or(0));
    let mut leases = Vec::new();
    for isc in file.leases.into_values() {
        let isc = &isc;
        let place = Place { file: number, line: isc.line };
        let what = || match isc.hardware {
            Some(hardware) => format!("lease {} of {hardware}", isc.address),
            None => format!("lease {}", isc.address),
        };
        let fate = records::fate(isc, now);
        if !served.has(isc.address) {
            match fate {
                Fate::Held(_) => report.left_out(
                    place,
                    what(),
                    "its address lies in no pool that was taken over: its host gets another one when it renews",
                ),
                Fate::Abandoned(_) | Fate::Ended(_) => {
                    let remedy = "its address lies in no pool that was taken over, and nobody holds it";
                    report.add(Kind::NotNeeded, place, what(), remedy);
                }
                Fate::Nobody => {}
            }
            continue;
        }
        let held = matches!(fate, Fate::Held(_));
        if held && records::is_endless(isc) {
            let remedy =
                "it has no end: its address is kept for it until 2038; make a reservation of it";
            report.changed(place, what(), remedy);
        } else if isc.is_reserved {
            let remedy =
                "dhcpd keeps this address for its client for ever: make a reservation of it";
            report.left_out(place, format!("{}, reserved", what()), remedy);
        }
        if held && isc.hardware.is_none() {
            let remedy = "dhcpd does not say which device has it: the address is kept until the lease ends, and cannot be \
                          renewed";
            report.changed(place, what(), remedy);
        }
        if held && isc.is_bootp {
            let remedy = "its client spoke BOOTP, which this server does not answer: the address is kept until the lease ends";
            report.changed(place, what(), remedy);
        }
        let reserved = served.reserved.get(&isc.address);
        if held
            && isc.hardware.is_some()
            && reserved.is_some_and(|other| Some(*other) != isc.hardware)
        {
            let remedy =
                "its address is reserved for another device, which gets it when this lease ends";
            report.changed(place, what(), remedy);
        }
        let (lease, count) = match fate {
            Fate::Nobody => continue,
            Fate::Held(lease) => (lease, &mut report.counts.leases_held),
            Fate::Abandoned(lease) => (lease, &mut report.counts.leases_abandoned),
            Fate::Ended(lease) => (lease, &mut report.counts.leases_ended),
        };
        *count += 1;
        leases.push(lease);
    }
    leases
}
