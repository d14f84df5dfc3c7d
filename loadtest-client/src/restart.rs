//! Whether a server still knows what it promised: every lease of a ledger that is not over is asked for
//! again, by its client, through its relay.
//!
//! It promises that a lease counts as known only if its own client was acknowledged the same address when
//! it asked for that, and never because a DISCOVER happened to get it again; and that each lease that is
//! gone is a violation. A lease that could end while it is asked for is not.

use crate::client::{Lease, Manner};
use crate::driver::{self, Asking, Clients, Participant, Run, Summary, relay_socket};
use crate::engine::Outcome;
use crate::ledger::{Ledger, Lost, Violation};
use crate::message::Relay;
use crate::result::VIOLATIONS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestartCheck {
    /// The command that restarted the server; empty if somebody else did.
    pub command: String,
    /// Leases that were asked for.
    pub asked: u64,
    /// Of them, those that were acknowledged again.
    pub known: u64,
    /// Of them, those that were refused, not acknowledged, or for which the client got another address.
    pub gone: u64,
    /// Leases that were too close to their end to be asked for.
    pub too_old: u64,
}

/// How leases are asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The servers; every message goes to all of them.
    pub servers: Vec<SocketAddrV4>,
    /// The relays that are known, with what they add. The first one is that of leases of which the ledger
    /// does not say it.
    pub relays: Vec<Relay>,
    /// What a relay adds that is not known, but named by the ledger.
    pub template: Relay,
    /// The relays' UDP port; 0 for any that is free.
    pub relay_port: u16,
    /// Exchanges that are open at once.
    pub in_flight_max: usize,
    /// How long it may take.
    pub duration: Duration,
    /// How clients ask again.
    pub manner: Manner,
    /// Whether they ask as in REBINDING and not in INIT-REBOOT.
    pub rebind: bool,
    /// Chooses transaction identifiers and waits.
    pub seed: u64,
}

/// Everything that came of it.
#[derive(Debug)]
pub struct Asked {
    /// The counts.
    pub check: RestartCheck,
    /// Every lease that is gone, and what else was violated.
    pub violations: Vec<Violation>,
    /// What the clients did.
    pub summary: Summary,
}

/// Why it cannot be asked.
#[derive(Debug)]
pub enum RestartError {
    /// Operator: a ledger of an earlier version does not say which relay this lease came by.
    NoRelay(Ipv4Addr),
    /// Operator: a relay is not of this host, or its port is taken.
    Relay(u16, io::Error),
    /// Kernel: the socket cannot be read.
    Io(io::Error),
    /// Operator: the command that should restart the server did not succeed.
    Command(String, String),
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRelay(address) => write!(
                f,
                "the ledger does not say by which relay {address} was given; name one with --giaddr"
            ),
            Self::Relay(port, error) => write!(
                f,
                "cannot be the leases' relays, at UDP port {port}: {error}; their addresses must be of \
                 this host (ip route add local PREFIX dev lo), and ports below 1024 need root"
            ),
            Self::Command(command, why) => {
                write!(
                    f,
                    "`{command}` {why}; it must end with status 0 when the server serves again"
                )
            }
            Self::Io(error) => write!(f, "the leases cannot be asked for: {error}"),
        }
    }
}

impl std::error::Error for RestartError {}

/// Asks for every lease of a ledger.
///
/// # Errors
/// The relay of a lease is not known or not of this host, or the socket fails.
pub fn ask_again(ledger: &Ledger, setup: &Setup, end: &AtomicBool) -> Result<Asked, RestartError> {
    let now = driver::unix_milliseconds();
    let milliseconds = u64::try_from(setup.duration.as_millis()).unwrap_or(u64::MAX);
    let mut relays = setup.relays.clone();
    let mut places: BTreeMap<Ipv4Addr, usize> =
        relays.iter().enumerate().map(|(place, relay)| (relay.giaddr, place)).collect();
    let (mut clients, mut expected) = (Clients::new(), BTreeMap::new());
    for (address, holding) in ledger.held(now.saturating_add(milliseconds)) {
        let Some(number) = holding.client.client() else { continue };
        let relay = match (holding.giaddr, setup.relays.is_empty()) {
            (Some(giaddr), _) => *places.entry(giaddr).or_insert_with(|| {
                relays.push(Relay { giaddr, ..setup.template });
                relays.len() - 1
            }),
            (None, false) => 0,
            (None, true) => return Err(RestartError::NoRelay(address)),
        };
        let ends = holding.ends.saturating_sub(now);
        let lease =
            Lease { address, server: holding.server, renew_at: ends, rebind_at: ends, ends };
        let asking = if setup.rebind { Asking::Rebind } else { Asking::InitReboot };
        clients.insert(number, Participant { asking, lease: Some(lease), relay });
        expected.insert(number, (address, holding));
    }
    let too_old = ledger.held(now).count().saturating_sub(expected.len()) as u64;
    let mut check = RestartCheck { asked: expected.len() as u64, too_old, ..Default::default() };
    if expected.is_empty() {
        return Ok(Asked { check, violations: Vec::new(), summary: Summary::default() });
    }
    let socket = relay_socket(&relays, setup.relay_port)
        .map_err(|error| RestartError::Relay(setup.relay_port, error))?;
    let run = Run {
        socket,
        servers: setup.servers.clone(),
        relays,
        in_flight_max: setup.in_flight_max,
        duration: Some(setup.duration),
        keep_leases: false,
        asks_once: true,
        ledger_file: None,
    };
    let (mut summary, _) =
        driver::play(run, &clients, setup.manner, setup.seed, ledger.clone(), end)
            .map_err(RestartError::Io)?;
    let at = driver::unix_milliseconds();
    let mut violations = std::mem::take(&mut summary.violations_shown);
    for (number, (address, holding)) in &expected {
        let how = match summary.answers.get(number) {
            Some(Some(answer)) if answer == address => {
                check.known += 1;
                continue;
            }
            Some(Some(other)) => Some(Lost::OtherOffered(*other)),
            // The driver's ledger has found that already.
            Some(None) => None,
            None => Some(Lost::Unconfirmed),
        };
        check.gone += 1;
        violations.extend(how.map(|how| holding.lost(*address, at, how)));
    }
    Ok(Asked { check, violations, summary })
}

/// Runs a command in a shell, which restarts the server, and asks for every lease that a run left. What
/// is gone is added to the run's violations.
///
/// # Errors
/// The command fails, or the leases cannot be asked for.
pub fn after_command(
    command: &str,
    outcome: &mut Outcome,
    setup: &Setup,
    end: &AtomicBool,
) -> Result<RestartCheck, RestartError> {
    let failed = |why| RestartError::Command(command.to_owned(), why);
    // What it prints is no part of the result.
    let status = std::process::Command::new("sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    let Asked { check, violations, .. } = ask_again(&outcome.ledger, setup, end)?;
    outcome.violations += violations.len() as u64;
    let room = VIOLATIONS_MAX.saturating_sub(outcome.violations_shown.len());
    outcome.violations_shown.extend(violations.into_iter().take(room));
    Ok(RestartCheck { command: command.to_owned(), ..check })
}
