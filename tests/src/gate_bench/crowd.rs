//! Power returns, and a crowd of unregistered phones is there at once: what registered hosts notice of it.
//!
//! ```text
//!   load host                                  server
//!   residents: registered, behind relays 4-7   vestibule-dhcpd, kernel sets, vestibule-dns
//!   crowd:     unregistered, behind 0-3
//! ```
//!
//! The residents come and go all the while, at a steady rate; once alone, and once with the crowd beside
//! them. The crowd gets its leases, and each phone then probes DNS and HTTP until the end.

use super::calls::CallFigures;
use super::phones::PhoneFigures;
use super::play::PROGRAM;
use crate::lab::{LabError, Process, TOKEN_FILE, program, until_ok};
use crate::servers::{CONFIGURATION, Ground, Networks, RELAY_STEP, RELAYS_MAX, SERVER, Server};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;
use std::time::Duration;
use vestibule_load::result::{Pair, RunResult};

/// Relays of the crowd; the residents have the others.
pub const CROWD_RELAYS: u32 = RELAYS_MAX / 2;
/// How long leases last: longer than any run.
const LIFETIME_SECONDS: u32 = 3600;
/// The residents' first number, far from the crowd's.
const RESIDENTS_FIRST: u32 = 2_000_000;
/// A resolver outside, which the gate keeps the crowd from.
const RESOLVER: &str = "203.0.113.53:53";
/// What it is told instead: the portal's address.
const LIE: &str = "10.0.0.80";
/// Between two rounds of a phone's probes, in seconds.
const AGAIN_SECONDS: u32 = 15;

/// The port of the crowd's unicast messages, of which it sends none: ports 67 and 68 are the residents' on
/// the host that both share. The crowd's relays have a port of their own, which the server answers to
/// (RFC 8357).
const CROWD_CLIENT_PORT: u16 = 1068;
/// Between two looks whether a program has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Phones.
    pub phones: u32,
    /// How many of them come in a second.
    pub phones_per_second: u32,
    /// How long they probe, in seconds.
    pub seconds: u32,
    /// Registered hosts.
    pub residents: u32,
    /// How many of them begin an exchange in a second.
    pub residents_per_second: u32,
}

/// What the residents notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResidentFigures {
    /// Whole exchanges from DISCOVER to ACK.
    pub doras: u64,
    /// Exchanges that were lost, and messages that were sent again.
    pub lost_or_again: u64,
    /// Median, in microseconds.
    pub p50_microseconds: u64,
    /// Of a hundred exchanges, 99 were faster.
    pub p99_microseconds: u64,
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CrowdFigures {
    /// Phones that got a lease.
    pub leases: u64,
    /// Exchanges of phones that were lost, and messages that they sent again.
    pub lost_or_again: u64,
    /// What phones found by their probes.
    pub probes: PhoneFigures,
    /// Residents without a crowd.
    pub alone: ResidentFigures,
    /// Residents with it.
    pub beside: ResidentFigures,
}

impl Crowd {
    /// Plays it; `state` is an empty folder for the server's files, and `say` is told what goes on.
    ///
    /// # Errors
    /// [`LabError`] if it could not be played.
    pub fn play(self, state: &Path, say: &mut dyn FnMut(&str)) -> Result<CrowdFigures, LabError> {
        program(PROGRAM)?;
        program("vestibule-dns")?;
        let ground = Ground::new()?;
        let most = self.phones.max(self.residents).div_ceil(CROWD_RELAYS);
        let networks =
            Networks { relays: RELAYS_MAX, pool: most + 2, lifetime_seconds: LIFETIME_SECONDS };
        let _dhcpd = ground.start(Server::VestibuleGated, networks, state, "")?;
        ground.load.ip(&format!("route add default via {SERVER}"))?;
        // To the resolver and the portal: what the gate leads elsewhere has to have a way first.
        ground.server.ip("address add 10.0.0.53/32 dev lo\naddress add 203.0.113.53/32 dev lo\naddress add 10.0.0.80/32 dev lo")?;
        let dns = ground.server.start("dns", &format!("vestibule-dns --config {CONFIGURATION}"))?;
        until_ok("vestibule-dns answers", || {
            let dig = format!("dig +short +tries=1 +time=1 @{SERVER} any.example");
            match ground.server.run(&dig) {
                Ok(answer) if answer.stdout.trim() == LIE => Ok(Ok(())),
                Ok(answer) => Err(format!("{}{}", answer.both(), dns.log())),
                Err(error) => Ok(Err(error)),
            }
        })??;
        say(&format!("{} residents are registered", self.residents));
        let registered: CallFigures = read(&ground.server.ok(&format!(
            "{PROGRAM} call --api 127.0.0.1:8067 --token-file {TOKEN_FILE} --calls {} --per-second 2000 \
             --connections 16 --devices-from {RESIDENTS_FIRST}",
            self.residents
        ))?)?;
        if registered.created != u64::from(self.residents) {
            return Err(LabError::Deadline {
                what: "every resident is registered".to_owned(),
                seen: format!("{registered:?}"),
            });
        }
        say(&format!("residents alone, {} seconds", self.seconds));
        let alone = self.residents(&ground, "alone")?;
        say(&format!("residents beside {} phones, {} seconds", self.phones, self.seconds));
        let mut crowd = ground.load.start("crowd", &self.crowd())?;
        let mut phones = ground.load.start(
            "phones",
            &format!(
                "{PROGRAM} probe --phones {} --per-second {} --seconds {} --again {AGAIN_SECONDS} \
                 --dns-server {RESOLVER} --lie {LIE}",
                self.phones, self.phones_per_second, self.seconds
            ),
        )?;
        let beside = self.residents(&ground, "beside")?;
        ended(&mut crowd);
        ended(&mut phones);
        let leased: RunResult = read(&ground.load.read("/run/crowd.json")?)?;
        let log = phones.log();
        let probes = log.lines().rfind(|line| line.starts_with('{')).unwrap_or(&log);
        Ok(CrowdFigures {
            leases: leased.totals.doras,
            lost_or_again: lost_or_again(&leased),
            probes: read(probes)?,
            alone,
            beside,
        })
    }

    /// The crowd's leases, as a command line.
    fn crowd(self) -> String {
        format!(
            "vestibule-load run crowd --clients {} --per-second {} --seconds {} --server {SERVER} --giaddr {} \
             --relays {CROWD_RELAYS} --relay-step {RELAY_STEP} --relay-port 0 --client-port {CROWD_CLIENT_PORT} \
             --json /run/crowd.json",
            self.phones,
            self.phones_per_second,
            self.seconds,
            Networks::relay(0)
        )
    }

    /// Lets the residents come and go.
    fn residents(self, ground: &Ground, name: &str) -> Result<ResidentFigures, LabError> {
        let scenario = format!(
            "name = \"residents\"\ndescription = \"Registered hosts come and go\"\nclients = {}\n\
             arrivals = {{ per-second = {}.0 }}\nseconds = {}.0\nreturns = \"same\"\n\
             stay = {{ releases-after-seconds = 1.0 }}\n",
            self.residents, self.residents_per_second, self.seconds
        );
        ground.load.write("/run/residents.toml", &scenario)?;
        let mut run = ground.load.start(
            name,
            &format!(
                "vestibule-load run /run/residents.toml --server {SERVER} --giaddr {} --relays {CROWD_RELAYS} \
                 --relay-step {RELAY_STEP} --first-client {RESIDENTS_FIRST} --json /run/{name}.json",
                Networks::relay(CROWD_RELAYS)
            ),
        )?;
        ended(&mut run);
        let json = format!("/run/{name}.json");
        let text = ground.load.read(&json).map_err(|_| LabError::Deadline {
            what: format!("{json} is written"),
            seen: run.log(),
        })?;
        let result: RunResult = read(&text)?;
        let percentile = |percent| result.latency(Pair::Dora).map(|dora| dora.percentile(percent));
        Ok(ResidentFigures {
            doras: result.totals.doras,
            lost_or_again: lost_or_again(&result),
            p50_microseconds: percentile(50.0).unwrap_or_default(),
            p99_microseconds: percentile(99.0).unwrap_or_default(),
        })
    }
}

/// Waits until a program that has an end of its own has come to it.
fn ended(process: &mut Process) {
    while process.ended().is_none() {
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn lost_or_again(result: &RunResult) -> u64 {
    let lost = result.phases.iter().map(|phase| phase.lost).sum::<u64>();
    (result.totals.retransmissions + lost).saturating_sub(result.totals.open_at_end)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, LabError> {
    serde_json::from_str(text).map_err(|error| LabError::Deadline {
        what: format!("a result that can be read ({error})"),
        seen: text.to_owned(),
    })
}
