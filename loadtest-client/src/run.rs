//! `vestibule-load run`: a scenario against servers, with a live line, and its result.
//!
//! Exit status: 0 if the run was complete and the ledger clean; 1 if the ledger has a violation; 2 if
//! the run could not be made; 3 if it was interrupted (the result is written all the same); 4 if it was
//! complete and clean, but not one exchange was answered.
//!
//! It promises that Ctrl-C ends the run and not the report, and that the verdict on what was the limit
//! names what it was concluded from.

use crate::command::{on_interrupt, server_address};
use crate::engine::{
    Arrivals, CLIENTS_MAX, Engine, EngineError, Live, Outcome, PhasePlan, Plan, SERVERS_MAX,
};
use crate::ledger::LedgerFile;
use crate::machine::{self, ProcessCost, ThreadTime};
use crate::message::Relay;
use crate::report;
use crate::result::{
    Ending, FORMAT, Knee, LedgerVerdict, Limit, Limits, Phase, RunResult, ServerCost, Settings,
    VERSION, ViolationRow,
};
use crate::scenario::{ArrivalsSetting, Ramp, SHIPPED, Scenario, ScenarioError};
use crate::target::is_harmless;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Relays of one run, at most.
const RELAYS_MAX: u32 = 65_536;
/// Lateness of the generator above which it, and not the server, is held to be the limit.
const LATENESS_MAX_MICROSECONDS: u64 = 1000;
/// Part of the time that the generator may wait for a processor before the host is the limit.
const WAITED_MAX: f64 = 0.05;
/// How busy a generator is that cannot do more.
const BUSY_MIN: f64 = 0.95;
/// Receive buffer below which bursts of replies are lost.
const RECEIVE_BUFFER_BYTES_MIN: usize = 4 << 20;
/// Rates that a ramp tries, at most.
const STEPS_MAX: usize = 40;

/// `vestibule-load run`
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario: the name of one in the program (steady, morning, avalanche, batches, churn,
    /// starve, ramp, ceiling), or a TOML file.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// The servers, as ADDRESS or ADDRESS:PORT. Every packet of a relay goes to all of them, as with
    /// the helper addresses of a failover pair.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server_address, required = true,
          value_delimiter = ',')]
    pub server: Vec<SocketAddrV4>,
    /// The address of the first relay on its clients' link. It must be of this host; for many, and for
    /// unicast renewals, give this host the prefix: ip route add local 10.20.0.0/14 dev lo
    #[arg(long, value_name = "ADDRESS")]
    pub giaddr: Ipv4Addr,
    /// How many relays there are.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(RELAYS_MAX)))]
    pub relays: u32,
    /// How far a relay's address is from that of the one before it: 65536 for a /16 each.
    #[arg(long, value_name = "NUMBER", default_value_t = 65_536)]
    pub relay_step: u32,
    /// The relays' UDP port, 0 for any that is free. With another one than 67 the servers are asked to
    /// answer there (RFC 8357).
    #[arg(long, value_name = "PORT", default_value_t = 67)]
    pub relay_port: u16,
    /// The clients' UDP port, for unicast renewals.
    #[arg(long, value_name = "PORT", default_value_t = 68)]
    pub client_port: u16,
    /// Relays that a packet has passed.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(0..=16))]
    pub hops: u8,
    /// Has relays send a circuit identifier for each client (option 82).
    #[arg(long)]
    pub circuit_id: bool,
    /// Has relays send a remote identifier for each client (option 82).
    #[arg(long)]
    pub remote_id: bool,
    /// Has relays name the clients' link apart from their own address (RFC 3527): the first relay's
    /// link; the others' follow in the same steps as the relays.
    #[arg(long, value_name = "ADDRESS")]
    pub link_selection: Option<Ipv4Addr>,
    /// Has relays ask to be named as the server, so that renewals pass them too (RFC 5107).
    #[arg(long)]
    pub server_identifier_override: bool,
    /// Another number of clients than the scenario's.
    #[arg(long, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CLIENTS_MAX)))]
    pub clients: Option<u32>,
    /// Another duration than the scenario's.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u32>,
    /// Number of the first client: their hardware addresses follow from it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub first_client: u32,
    /// Chooses transaction identifiers and waits.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Appends every ACK to this file, for `vestibule-load check` after a restart of the server.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Writes the result to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the result to this file as a page.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// A name for this run, for comparisons.
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// What is known of the server's durability, for comparisons.
    #[arg(long, value_name = "TEXT")]
    pub durability: Option<String>,
    /// The server's process, if it runs on this host: what it costs is in the result.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Loads servers that may be somebody else's: ones with public addresses.
    #[arg(long)]
    pub i_own_this_network: bool,
}

/// Why a run cannot be made.
#[derive(Debug)]
enum RunError {
    /// Operator: a server may be somebody else's.
    NotYours(Ipv4Addr),
    /// Operator: there is no such scenario.
    NoScenario(String, io::Error),
    /// Operator: the scenario makes no sense.
    Scenario(String, ScenarioError),
    /// Operator: too many servers.
    Servers,
    /// Operator: there is no such process.
    NoProcess(u32),
    /// Operator, kernel or disk.
    Engine(EngineError),
    /// Disk: a file cannot be written.
    File(PathBuf, io::Error),
    /// Kernel: there would be no way to end the run with a report.
    Signals(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYours(address) => write!(
                f,
                "{address} is neither of this host nor private: it may be somebody else's server; if it \
                 is yours, say --i-own-this-network"
            ),
            Self::NoScenario(name, error) => {
                let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                write!(f, "scenario {name}: {error}; name a file, or one of: {}", names.join(", "))
            }
            Self::Scenario(name, error) => write!(f, "scenario {name}: {error}"),
            Self::Servers => write!(f, "name at most {SERVERS_MAX} servers"),
            Self::NoProcess(process) => {
                write!(f, "--server-pid {process}: there is no such process on this host")
            }
            Self::Engine(error) => write!(f, "{error}"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Signals(error) => write!(f, "signals cannot be caught: {error}"),
        }
    }
}

/// Does it.
#[must_use]
pub fn run(run: &Run) -> ExitCode {
    match run.play() {
        Ok(result) if result.ledger.violations > 0 => ExitCode::from(1),
        Ok(result) if result.ending == Ending::Interrupted => ExitCode::from(3),
        Ok(result) if result.totals.acknowledgements == 0 && result.totals.offers == 0 => {
            eprintln!("vestibule-load: no server has answered anything");
            ExitCode::from(4)
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule-load: {error}");
            ExitCode::from(2)
        }
    }
}

impl Run {
    fn play(&self) -> Result<RunResult, RunError> {
        let (scenario, scenario_toml) = self.scenario()?;
        let stranger = self.server.iter().find(|server| !is_harmless(*server.ip()));
        if let Some(stranger) = stranger.filter(|_| !self.i_own_this_network) {
            return Err(RunError::NotYours(*stranger.ip()));
        }
        if self.server.len() > SERVERS_MAX {
            return Err(RunError::Servers);
        }
        let process = |process| machine::process_cost(process).ok_or(RunError::NoProcess(process));
        let server_before = self.server_pid.map(process).transpose()?;
        let ledger_file = match &self.ledger {
            Some(path) => Some(
                LedgerFile::append(path).map_err(|error| RunError::File(path.clone(), error))?,
            ),
            None => None,
        };
        let end = on_interrupt().map_err(RunError::Signals)?;
        let mut engine = Engine::new(Plan {
            clients: scenario.clients,
            first_client: self.first_client,
            servers: self.server.clone(),
            relays: self.relays(),
            relay_port: self.relay_port,
            client_port: self.client_port,
            manner: scenario.manner(),
            renewals: scenario.renewals(),
            stay: scenario.stay(),
            returns: scenario.returns(),
            seed: self.seed,
            ledger_file,
        })
        .map_err(RunError::Engine)?;
        let buffer = engine.receive_buffer_bytes();
        if buffer < RECEIVE_BUFFER_BYTES_MIN {
            eprintln!(
                "the kernel queues only {buffer} bytes of replies, bursts may be lost: run as root, or \
                 sysctl -w net.core.rmem_max={}",
                crate::engine::batch::BUFFER_BYTES
            );
        }
        let began_unix_milliseconds = crate::driver::unix_milliseconds();
        let time_before = machine::thread_time();
        let mut screen = Screen::new();
        let knee = match scenario.arrivals {
            ArrivalsSetting::Ramp(ramp) => ramp_up(&mut engine, &ramp, &end, &mut screen),
            _ => engine.play(&phase(&scenario), &end, &mut |live| screen.show(live)).map(|_| None),
        }
        .map_err(RunError::Engine)?;
        screen.end();
        let time = since(time_before);
        let outcome = engine.finish();
        let server = server_before
            .zip(self.server_pid.and_then(machine::process_cost))
            .map(|(before, after)| cost(before, after));
        let settings = self.settings(&scenario, scenario_toml);
        let ending =
            if end.load(Ordering::Relaxed) { Ending::Interrupted } else { Ending::Complete };
        let limits = limits(&outcome, settings.in_flight_max.is_some(), time);
        let result = RunResult {
            format: FORMAT.to_owned(),
            version: VERSION,
            settings,
            machine: machine::machine(),
            began_unix_milliseconds,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            ending,
            totals: outcome.tally.totals,
            timeline: outcome.tally.timeline(),
            latencies: outcome.tally.latencies(),
            errors: outcome.tally.errors(),
            relays: outcome.tally.relays(),
            ledger: verdict(&outcome),
            phases: outcome.phases,
            limits,
            server,
            knee,
        };
        if let Some(path) = &self.json {
            write(path, &result.json())?;
        }
        if let Some(path) = &self.report {
            write(path, &report::html(&result))?;
        }
        print!("{}", report::text(&result));
        Ok(result)
    }

    /// The scenario with the command line's numbers, and its text.
    fn scenario(&self) -> Result<(Scenario, String), RunError> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == self.scenario);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(&self.scenario)
                .map_err(|error| RunError::NoScenario(self.scenario.clone(), error))?,
        };
        let mut scenario = Scenario::parse(&text)
            .map_err(|error| RunError::Scenario(self.scenario.clone(), error))?;
        scenario.clients = self.clients.unwrap_or(scenario.clients);
        scenario.seconds = self.seconds.map(f64::from).or(scenario.seconds);
        Ok((scenario, text))
    }

    fn relays(&self) -> Vec<Relay> {
        let nth = |first: Ipv4Addr, number: u32| {
            Ipv4Addr::from(u32::from(first).wrapping_add(number.wrapping_mul(self.relay_step)))
        };
        (0..self.relays)
            .map(|number| Relay {
                giaddr: nth(self.giaddr, number),
                hops: self.hops,
                circuit_id: self.circuit_id,
                remote_id: self.remote_id,
                link_selection: self.link_selection.map(|first| nth(first, number)),
                server_identifier_override: self.server_identifier_override,
                source_port: self.relay_port != 67,
            })
            .collect()
    }

    fn settings(&self, scenario: &Scenario, scenario_toml: String) -> Settings {
        let names: Vec<String> = self.server.iter().map(ToString::to_string).collect();
        Settings {
            scenario: scenario.name.clone(),
            label: self.label.clone().unwrap_or_else(|| names.join(", ")),
            scenario_toml,
            servers: self.server.clone(),
            clients: u64::from(scenario.clients),
            relays: u64::from(self.relays),
            arrivals_per_second: match scenario.arrivals {
                ArrivalsSetting::PerSecond(rate) => Some(rate),
                _ => None,
            },
            in_flight_max: match scenario.arrivals {
                ArrivalsSetting::InFlight(limit) | ArrivalsSetting::Batches(limit) => {
                    Some(u64::from(limit))
                }
                _ => None,
            },
            seed: self.seed,
            durability: self.durability.clone(),
        }
    }
}

fn phase(scenario: &Scenario) -> PhasePlan {
    PhasePlan {
        name: scenario.name.clone(),
        arrivals: scenario.arrivals(),
        duration: scenario.seconds.map(Duration::from_secs_f64),
        is_drained: false,
    }
}

/// Doubles the rate until it is not borne, then halves the interval between the best good rate and the
/// worst bad one.
fn ramp_up(
    engine: &mut Engine,
    ramp: &Ramp,
    end: &AtomicBool,
    screen: &mut Screen,
) -> Result<Option<Knee>, EngineError> {
    let mut knee = Knee { good_per_second: 0.0, bad_per_second: None };
    let mut rate = ramp.from_per_second;
    for _ in 0..STEPS_MAX {
        let plan = PhasePlan {
            name: format!("rate {rate:.0}"),
            arrivals: Arrivals::Rate(rate),
            duration: Some(Duration::from_secs_f64(ramp.step_seconds)),
            is_drained: true,
        };
        let phase = engine.play(&plan, end, &mut |live| screen.show(live))?;
        if end.load(Ordering::Relaxed) {
            break;
        }
        let is_good = is_borne(&phase, ramp);
        engine.judge_last_phase(is_good);
        if is_good {
            knee.good_per_second = knee.good_per_second.max(rate);
        } else {
            knee.bad_per_second = Some(knee.bad_per_second.map_or(rate, |bad| bad.min(rate)));
        }
        let good = knee.good_per_second;
        rate = match knee.bad_per_second {
            None if rate >= ramp.to_per_second => break,
            None => (rate * 2.0).min(ramp.to_per_second),
            Some(bad) if bad - good <= bad * ramp.precision_percent / 100.0 => break,
            Some(bad) => f64::midpoint(good, bad),
        };
        // Below one arrival in a step there is nothing to be seen.
        if rate * ramp.step_seconds < 1.0 {
            break;
        }
    }
    Ok(Some(knee))
}

#[allow(clippy::cast_precision_loss, reason = "a part of a hundred")]
fn is_borne(phase: &Phase, ramp: &Ramp) -> bool {
    let lost = phase.lost as f64 * 100.0 / (phase.began.max(1)) as f64;
    let p99 = phase.latency.percentile(99.0) as f64 / 1000.0;
    phase.acknowledged > 0 && lost <= ramp.lost_percent && p99 <= ramp.p99_milliseconds
}

fn verdict(outcome: &Outcome) -> LedgerVerdict {
    LedgerVerdict {
        acknowledgements: outcome.tally.totals.acknowledgements,
        held: outcome.ledger.held(crate::driver::unix_milliseconds()).count() as u64,
        violations: outcome.violations,
        shown: outcome.violations_shown.iter().map(ViolationRow::from).collect(),
    }
}

fn since(before: ThreadTime) -> ThreadTime {
    let now = machine::thread_time();
    ThreadTime {
        ran: now.ran.saturating_sub(before.ran),
        waited: now.waited.saturating_sub(before.waited),
    }
}

const fn cost(before: ProcessCost, after: ProcessCost) -> ServerCost {
    ServerCost {
        processor_microseconds: after
            .processor_microseconds
            .saturating_sub(before.processor_microseconds),
        memory_bytes_before: before.memory_bytes,
        memory_bytes_after: after.memory_bytes,
    }
}

/// Whether the generator, the host or the server was the limit.
fn limits(outcome: &Outcome, is_closed_loop: bool, time: ThreadTime) -> Limits {
    let tally = &outcome.tally;
    let elapsed = outcome.elapsed.as_secs_f64().max(1e-6);
    let (busy, waited) = (time.ran.as_secs_f64() / elapsed, time.waited.as_secs_f64() / elapsed);
    let late = tally.lateness.percentile(99.0);
    let lost: u64 = outcome.phases.iter().map(|phase| phase.lost).sum();
    let again = tally.totals.retransmissions;
    let (verdict, reason) = if tally.kernel_drops > 0 {
        let drops = tally.kernel_drops;
        (Limit::Host, format!("the kernel dropped {drops} replies at the generator's sockets"))
    } else if tally.send_errors > 0 {
        let errors = tally.send_errors;
        (Limit::Host, format!("the kernel refused to send {errors} messages"))
    } else if !is_closed_loop && late > LATENESS_MAX_MICROSECONDS && waited > WAITED_MAX {
        let percent = waited * 100.0;
        (
            Limit::Host,
            format!("the generator was late and waited {percent:.0} % of the time for a processor"),
        )
    } else if !is_closed_loop && late > LATENESS_MAX_MICROSECONDS {
        let reason = format!("it was up to {late} µs late with 99 of 100 messages");
        (Limit::Generator, reason)
    } else if lost > 0 || again > 0 {
        let reason =
            format!("{lost} exchanges were lost and {again} messages had to be sent again");
        (Limit::Server, reason)
    } else if is_closed_loop && busy >= BUSY_MIN {
        (Limit::Generator, format!("it was busy {:.0} % of the time", busy * 100.0))
    } else if is_closed_loop && waited > WAITED_MAX {
        let percent = waited * 100.0;
        (Limit::Host, format!("the generator waited {percent:.0} % of the time for a processor"))
    } else if is_closed_loop {
        let percent = busy * 100.0;
        let reason = format!("the generator was busy only {percent:.0} % of the time");
        (Limit::Server, reason)
    } else {
        (Limit::Nothing, "everything was sent when intended and was answered".to_owned())
    };
    Limits {
        verdict,
        reason,
        late: tally.late,
        lateness_p99_microseconds: late,
        lateness_max_microseconds: tally.lateness.max(),
        kernel_drops: tally.kernel_drops,
        send_errors: tally.send_errors,
        processor_microseconds: u64::try_from(time.ran.as_micros()).unwrap_or(u64::MAX),
        busy,
    }
}

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    std::fs::write(path, text).map_err(|error| RunError::File(path.to_owned(), error))
}

/// A line that changes while the run goes on, or, where that cannot be, a line every second.
#[derive(Debug)]
struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar }
    }

    fn show(&mut self, live: &Live<'_>) {
        let line = line(live);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None => eprintln!("{line}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds to be read by people")]
fn line(live: &Live<'_>) -> String {
    let second = &live.second;
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let left = live.left.map_or(String::new(), |left| format!(", {} s left", left.as_secs()));
    let violations = match live.violations {
        0 => String::new(),
        count => format!("VIOLATIONS {count}, "),
    };
    format!(
        "{violations}{} {} s{left}: {} ACK/s, {} in flight, p50 {:.2} ms, p99 {:.2} ms, {} again, {} refused, \
         {} ran out, {} have a lease",
        live.phase,
        live.elapsed.as_secs(),
        second.acknowledged,
        second.in_flight,
        milliseconds(second.p50_microseconds),
        milliseconds(second.p99_microseconds),
        second.retransmitted,
        second.refused,
        second.expired,
        second.bound,
    )
}
