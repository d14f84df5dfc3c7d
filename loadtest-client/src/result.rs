//! What a run led to, as it is written with `--json`, compared and reported.
//!
//! One JSON object in a versioned format. It promises that a reader of this version reads every file
//! of this version, that a file of another version is refused by name, and that nothing in it is
//! computed twice: percentiles come from the histograms, rates from the timeline. It never holds more
//! than [`SECONDS_MAX`] seconds and [`RELAYS_MAX`] relays; what goes beyond is counted in the totals.
//!
//! Times of day are milliseconds since the Unix epoch, latencies are microseconds, and both say so in
//! their names.

use crate::conduct::ConductRow;
use crate::histogram::Histogram;
use crate::ledger::Violation;
use crate::restart::RestartCheck;
use crate::story::Stories;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// What [`RunResult::format`] says, so that another JSON file is told from one of ours.
pub const FORMAT: &str = "vestibule-load-result";
/// The version that this program reads and writes.
pub const VERSION: u32 = 1;
/// Seconds in [`RunResult::timeline`] at most: a day.
pub const SECONDS_MAX: usize = 86_400;
/// Rows in [`RunResult::relays`] at most.
pub const RELAYS_MAX: usize = 4096;
/// Violations that are written out; all are counted.
pub const VIOLATIONS_MAX: usize = 100;
/// Bytes of the longest file that is read.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// What the run was told.
    pub settings: Settings,
    /// Where it ran.
    pub machine: Machine,
    /// When it began.
    pub began_unix_milliseconds: u64,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// How it ended.
    pub ending: Ending,
    /// Counts over the whole run.
    pub totals: Totals,
    /// Its phases in their order. A `ramp` has one for each rate that it tried.
    pub phases: Vec<Phase>,
    /// What happened in each second, from the first; at most [`SECONDS_MAX`].
    pub timeline: Vec<Second>,
    /// How long each kind of exchange took; pairs that did not happen are absent.
    pub latencies: Vec<PairLatency>,
    /// What went wrong, by kind, the most frequent first; kinds that did not happen are absent.
    pub errors: Vec<ErrorCount>,
    /// What each relay saw; at most [`RELAYS_MAX`].
    pub relays: Vec<RelayRow>,
    /// What the kinds of clients did and got; absent in files of versions before it.
    #[serde(default)]
    pub conducts: Vec<ConductRow>,
    /// What the ledger says.
    pub ledger: LedgerVerdict,
    /// What became of the leases when the server was restarted at the end; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_check: Option<RestartCheck>,
    /// What clients went through that did not get what they should have.
    #[serde(default)]
    pub stories: Stories,
    /// What kept the run from being faster.
    pub limits: Limits,
    /// What the run cost the server; absent if its process could not be seen from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerCost>,
    /// The highest rate that the server bore; only of a `ramp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
    /// How many got a usable network; only of a scenario with registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationVerdict>,
}

/// How far clients without a registration got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationVerdict {
    /// Clients that got their first lease.
    pub newcomers: u64,
    /// Clients that were still without one at the end.
    pub without_a_lease: u64,
    /// Of them, those that got a usable network in the end.
    pub usable: u64,
    /// Of them, those whose resolver still lied after the API had said that the way is open.
    pub lied_to_after_registration: u64,
}

impl RegistrationVerdict {
    /// Whether everybody got a usable network, and at once.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.newcomers > 0
            && self.without_a_lease == 0
            && self.usable == self.newcomers
            && self.lied_to_after_registration == 0
    }
}

/// What a run was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The scenario's name: `steady`, `morning` and so on.
    pub scenario: String,
    /// A name that the operator gave this run (`--label`), for comparisons; the servers' addresses if
    /// none was given.
    pub label: String,
    /// The scenario as it was read, in TOML.
    pub scenario_toml: String,
    /// The servers that every packet went to.
    pub servers: Vec<SocketAddrV4>,
    /// Clients.
    pub clients: u64,
    /// Relays.
    pub relays: u64,
    /// Arrivals per second that were intended; absent if the number in flight was limited instead
    /// (a closed loop), or if the scenario has a curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<f64>,
    /// Exchanges that were open at once at most; absent in an open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<u64>,
    /// The seed of every random choice.
    pub seed: u64,
    /// What the operator says of the server's durability (`--durability`), for the table: such as
    /// "synced before every ACK".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
}

/// The machine of the generator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// The processor's name, as the kernel gives it; empty if it gives none.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// This program's version.
    pub program: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// As the scenario has it.
    Complete,
    /// By Ctrl-C or SIGTERM; the figures are those until then.
    Interrupted,
    /// Early, because no server answered, or none any more; the figures are those until then.
    Unanswered,
}

/// Counts of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    /// DISCOVERs sent, retransmissions included. One message counts once, also if it went to two servers.
    pub discovers: u64,
    /// REQUESTs sent, of every kind, retransmissions included.
    pub requests: u64,
    /// RELEASEs sent.
    pub releases: u64,
    /// DECLINEs sent.
    #[serde(default)]
    pub declines: u64,
    /// INFORMs sent, retransmissions included.
    #[serde(default)]
    pub informs: u64,
    /// Messages among those above that were sent again because no reply had come.
    pub retransmissions: u64,
    /// OFFERs that a client waited for.
    pub offers: u64,
    /// ACKs that a client waited for.
    pub acknowledgements: u64,
    /// NAKs that a client waited for; not those of clients that misbehave.
    pub refusals: u64,
    /// Leases that ended because no renewal succeeded; not those of clients that never renew.
    pub expiries: u64,
    /// Whole DORAs: from DISCOVER to ACK.
    pub doras: u64,
    /// Exchanges that were open when the run ended.
    pub open_at_end: u64,
    /// Clients with a lease when the run ended.
    pub bound_at_end: u64,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Phase {
    /// What it is: such as `arrivals`, `renewals`, `rate 12000`.
    pub name: String,
    /// Its beginning, in seconds since the run's.
    pub began_seconds: f64,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// Arrivals per second that were intended, if there was a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<f64>,
    /// Exchanges that began in it.
    pub began: u64,
    /// Exchanges that ended with an ACK in it.
    pub acknowledged: u64,
    /// Exchanges that ended otherwise in it, or were open at its end.
    pub lost: u64,
    /// How long the exchanges that ended with an ACK took, from their intended beginning.
    pub latency: Histogram,
    /// Whether it stayed within the scenario's limits; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_limits: Option<bool>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Second {
    /// Exchanges that should have begun in it.
    pub intended: u64,
    /// Exchanges that began in it.
    pub began: u64,
    /// Exchanges that ended with an ACK in it.
    pub acknowledged: u64,
    /// NAKs in it.
    pub refused: u64,
    /// Leases that ran out in it.
    pub expired: u64,
    /// Messages that were sent again in it.
    pub retransmitted: u64,
    /// Exchanges that were open at its end.
    pub in_flight: u64,
    /// Clients with a lease at its end.
    pub bound: u64,
    /// Median of the exchanges that ended with an ACK in it, from their intended beginning, in
    /// microseconds; 0 if there were none.
    pub p50_microseconds: u64,
    /// The 99th percentile of the same.
    pub p99_microseconds: u64,
    /// The slowest of the same.
    pub max_microseconds: u64,
    /// How late the generator was at most, in microseconds, behind what it meant to send.
    pub lateness_microseconds: u64,
    /// Packets that the kernel dropped at the generator's sockets in it.
    pub kernel_drops: u64,
}

/// Two messages of which the second answers the first, or a whole exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pair {
    /// From the intended DISCOVER to the OFFER.
    DiscoverOffer,
    /// From the REQUEST of an offer to its ACK.
    RequestAck,
    /// From the intended DISCOVER to the ACK.
    Dora,
    /// From the intended unicast RENEW to its ACK.
    RenewAck,
    /// From the broadcast REBIND to its ACK.
    RebindAck,
    /// From the intended REQUEST in INIT-REBOOT to its ACK.
    RebootAck,
    /// From the INFORM to its ACK.
    InformAck,
    /// From the first lease to the resolver's lie.
    Lie,
    /// From the portal's call to the API's answer.
    Registration,
    /// From that answer to the true DNS answer, from the port of the lie and from another one.
    Truth,
    /// From that to something beyond the gate reached.
    Reach,
    /// From the intended DISCOVER to a network that is usable: all of the steps above, without the time
    /// of a person at the portal's page.
    UsableNetwork,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiscoverOffer => "DISCOVER to OFFER",
            Self::RequestAck => "REQUEST to ACK",
            Self::Dora => "DISCOVER to ACK",
            Self::RenewAck => "RENEW to ACK",
            Self::RebindAck => "REBIND to ACK",
            Self::RebootAck => "INIT-REBOOT to ACK",
            Self::InformAck => "INFORM to ACK",
            Self::Lie => "lease to DNS lie",
            Self::Registration => "portal's call to permit",
            Self::Truth => "permit to DNS truth",
            Self::Reach => "truth to outside reached",
            Self::UsableNetwork => "DISCOVER to usable network",
        })
    }
}

/// How long a kind of exchange took. Percentiles: [`Histogram::percentile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PairLatency {
    /// Which.
    pub pair: Pair,
    /// In microseconds.
    pub histogram: Histogram,
}

/// A kind of error and how often it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorCount {
    /// What went wrong, in a fixed wording for each kind, such as `send: EPERM`, `reply: malformed`,
    /// `exchange: no answer`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// An example, or what it means and what to do; may be empty.
    pub remark: String,
}

/// What a relay saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RelayRow {
    /// Its address on the clients' link.
    pub giaddr: Ipv4Addr,
    /// Clients behind it.
    pub clients: u64,
    /// Messages that it passed on.
    pub sent: u64,
    /// Replies that came to it.
    pub received: u64,
    /// Exchanges that ended with an ACK.
    pub acknowledged: u64,
    /// NAKs.
    pub refused: u64,
    /// Messages that were sent again.
    pub retransmitted: u64,
    /// Median of its exchanges that ended with an ACK, in microseconds; 0 if there were none.
    pub p50_microseconds: u64,
    /// The 99th percentile of the same.
    pub p99_microseconds: u64,
}

/// What the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LedgerVerdict {
    /// ACKs that it checked.
    pub acknowledgements: u64,
    /// Leases that it holds for not over at the end.
    pub held: u64,
    /// Violations, all of them. Anything but 0 is a failed run.
    pub violations: u64,
    /// The first [`VIOLATIONS_MAX`] of them.
    pub shown: Vec<ViolationRow>,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ViolationRow {
    /// Its rule: see [`Violation::rule`].
    pub rule: String,
    /// What happened, in a sentence.
    pub story: String,
}

impl From<&Violation> for ViolationRow {
    fn from(violation: &Violation) -> Self {
        Self { rule: violation.rule().to_owned(), story: violation.to_string() }
    }
}

/// What limited a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Nothing: every exchange began when intended and was answered.
    Nothing,
    /// This program: it was late with what it meant to send.
    Generator,
    /// The host: the kernel dropped packets at the generator's sockets or refused to send.
    Host,
    /// The server: exchanges were not answered, or it answered no faster with what was in flight.
    Server,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Generator => "the generator",
            Self::Host => "the host",
            Self::Server => "the server",
        })
    }
}

/// What limited a run, and what that is concluded from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// The verdict.
    pub verdict: Limit,
    /// Why, in a sentence.
    pub reason: String,
    /// Messages that the generator sent later than intended by more than a millisecond.
    pub late: u64,
    /// The 99th percentile of its lateness, in microseconds.
    pub lateness_p99_microseconds: u64,
    /// Its greatest lateness, in microseconds.
    pub lateness_max_microseconds: u64,
    /// Packets that the kernel dropped at the generator's sockets because their buffer was full.
    pub kernel_drops: u64,
    /// Messages that the kernel refused to send.
    pub send_errors: u64,
    /// Processor time of the generator, in microseconds.
    pub processor_microseconds: u64,
    /// How much of one processor the generator's busiest thread used, from 0 to 1.
    pub busy: f64,
}

/// What a run cost the server's process, as the kernel counted it from the beginning of the run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerCost {
    /// Its processor time, in microseconds.
    pub processor_microseconds: u64,
    /// The memory that it had in use at the beginning.
    pub memory_bytes_before: u64,
    /// The same at the end.
    pub memory_bytes_after: u64,
}

/// Where a server breaks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Knee {
    /// The highest rate, in exchanges per second, that stayed within the limits; 0 if none did.
    pub good_per_second: f64,
    /// The lowest that did not; absent if every rate tried was borne.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_per_second: Option<f64>,
}

impl RunResult {
    /// The histogram of a pair, if there was any such exchange.
    #[must_use]
    pub fn latency(&self, pair: Pair) -> Option<&Histogram> {
        self.latencies.iter().find(|latency| latency.pair == pair).map(|found| &found.histogram)
    }

    /// Whole DORAs per second over the whole run; 0 of a run that took no time.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    pub fn doras_per_second(&self) -> f64 {
        if self.elapsed_seconds > 0.0 {
            self.totals.doras as f64 / self.elapsed_seconds
        } else {
            0.0
        }
    }

    /// The server's processor time for each ACK, in microseconds, if it is known.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a figure to be read by people")]
    pub fn server_microseconds_per_acknowledgement(&self) -> Option<f64> {
        let server = self.server.filter(|_| self.totals.acknowledgements > 0)?;
        Some(server.processor_microseconds as f64 / self.totals.acknowledgements as f64)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is longer than [`FILE_BYTES_MAX`], is no result, or one of another version.
    pub fn read(path: &Path) -> Result<Self, ResultError> {
        use std::io::Read as _;
        let unreadable = |error| ResultError::Unreadable(path.display().to_string(), error);
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ResultError::TooLong(path.display().to_string()));
        }
        Self::parse(&text).map_err(|error| error.of(path))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// It is no result, or one of another version.
    pub fn parse(text: &str) -> Result<Self, ResultError> {
        let here = String::from("the result");
        // The head alone first: a file of another version is to be refused as such.
        let head: Head = serde_json::from_str(text)
            .map_err(|error| ResultError::NoResult(here.clone(), error.to_string()))?;
        if head.format != FORMAT {
            return Err(ResultError::NoResult(here, format!("its format is '{}'", head.format)));
        }
        if head.version != VERSION {
            return Err(ResultError::OtherVersion(here, head.version));
        }
        serde_json::from_str(text).map_err(|error| ResultError::NoResult(here, error.to_string()))
    }

    /// Its JSON, with a line for each item.
    #[must_use]
    pub fn json(&self) -> String {
        // The model has no map with keys other than strings and no fallible serializer, and a float
        // that is no number becomes null.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// Why a file is not read. All are the operator's to mend; each names the file first.
#[derive(Debug)]
pub enum ResultError {
    /// It cannot be read.
    Unreadable(String, std::io::Error),
    /// It is longer than [`FILE_BYTES_MAX`].
    TooLong(String),
    /// It is something else.
    NoResult(String, String),
    /// It was written by another version of this program.
    OtherVersion(String, u32),
}

impl ResultError {
    fn of(self, path: &Path) -> Self {
        let name = path.display().to_string();
        match self {
            Self::Unreadable(_, error) => Self::Unreadable(name, error),
            Self::TooLong(_) => Self::TooLong(name),
            Self::NoResult(_, why) => Self::NoResult(name, why),
            Self::OtherVersion(_, version) => Self::OtherVersion(name, version),
        }
    }
}

impl fmt::Display for ResultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(name, error) => write!(f, "{name}: {error}"),
            Self::TooLong(name) => {
                write!(f, "{name} is longer than {FILE_BYTES_MAX} bytes; is it a result?")
            }
            Self::NoResult(name, why) => {
                write!(f, "{name} is not what `vestibule-load run --json` writes: {why}")
            }
            Self::OtherVersion(name, version) => write!(
                f,
                "{name} has version {version} of the format, this program reads {VERSION}; \
                 use the program that wrote it, or run again"
            ),
        }
    }
}

impl std::error::Error for ResultError {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn result() -> RunResult {
        let mut histogram = Histogram::default();
        [100, 200, 90_000].iter().for_each(|microseconds| histogram.record(*microseconds));
        RunResult {
            format: FORMAT.to_owned(),
            version: VERSION,
            settings: Settings {
                scenario: "steady".to_owned(),
                label: "a".to_owned(),
                scenario_toml: "clients = 3\n".to_owned(),
                servers: vec![SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 67), 67)],
                clients: 3,
                relays: 1,
                arrivals_per_second: None,
                in_flight_max: Some(1),
                seed: 1,
                durability: None,
            },
            machine: Machine {
                processor: String::new(),
                processors: 2,
                memory_bytes: 1 << 30,
                kernel: "6.1".to_owned(),
                program: "0.1.0".to_owned(),
            },
            began_unix_milliseconds: 1,
            elapsed_seconds: 1.5,
            ending: Ending::Complete,
            totals: Totals { doras: 3, acknowledgements: 3, ..Totals::default() },
            phases: Vec::new(),
            timeline: vec![Second::default()],
            latencies: vec![PairLatency { pair: Pair::Dora, histogram }],
            errors: Vec::new(),
            relays: Vec::new(),
            conducts: Vec::new(),
            ledger: LedgerVerdict::default(),
            restart_check: None,
            stories: Stories::default(),
            limits: Limits {
                verdict: Limit::Nothing,
                reason: String::new(),
                late: 0,
                lateness_p99_microseconds: 0,
                lateness_max_microseconds: 0,
                kernel_drops: 0,
                send_errors: 0,
                processor_microseconds: 0,
                busy: 0.5,
            },
            server: None,
            knee: None,
            registration: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let result = result();
        assert_eq!(RunResult::parse(&result.json()).unwrap(), result);
        assert_eq!(result.latency(Pair::Dora).unwrap().count(), 3);
        assert_eq!(result.latency(Pair::RenewAck), None);
        assert!((result.doras_per_second() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for (text, expected) in [
            (String::from("{}"), "is not what"),
            (result().json().replace(FORMAT, "other"), "its format is 'other'"),
            (result().json().replace("\"version\": 1", "\"version\": 9"), "has version 9"),
            (result().json().replace("\"elapsed-seconds\"", "\"elapsed\""), "elapsed-seconds"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = RunResult::read(&path).unwrap_err().to_string();
            assert!(error.contains("a.json") && error.contains(expected), "{error}");
        }
    }
}
