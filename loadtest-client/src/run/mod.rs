//! `vestibule-load run`: a scenario against servers, with a live line, and its result.
//!
//! Exit status: 0 if the run was complete and the ledger clean; 1 if the ledger has a violation, if a client
//! that was to be registered got no usable network, or not at once, or if the servers stopped answering
//! for good; 2 if the run could not be made; 3 if it was interrupted (the result is written all the same); 4 if it was
//! complete and clean, but not one exchange was answered.
//!
//! It promises that Ctrl-C ends the run and not the report.

mod phases;
mod silence;

use crate::command::{on_interrupt, server_address};
use crate::descriptors;
use crate::engine::{CLIENTS_MAX, Engine, EngineError, Outcome, Plan, SERVERS_MAX};
use crate::ledger::{Ledger, LedgerFile};
use crate::limits::limits;
use crate::machine::{self, ProcessCost, ThreadTime};
use crate::message::Relay;
use crate::registration::{
    self, Door, Registration, RegistrationOptions, SettingsError, StartError,
};
use crate::report;
use crate::restart::{Setup, after_command};
use crate::result::{
    Ending, FORMAT, LedgerVerdict, RunResult, ServerCost, Settings, VERSION, ViolationRow,
};
use crate::scenario::{ArrivalsSetting, SHIPPED, Scenario, ScenarioError, Size, StaySetting};
use crate::screen::Screen;
use crate::target::is_harmless;
use clap::Args;
use phases::{play_phases, ramp_up};
use silence::{Observer, Silence};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Relays of one run, at most.
const RELAYS_MAX: u32 = 65_536;
/// Receive buffer below which bursts of replies are lost.
const RECEIVE_BUFFER_BYTES_MIN: usize = 4 << 20;
/// Leases that are asked for at once after a restart.
const RESTART_IN_FLIGHT: usize = 64;

/// `vestibule-load run`
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario: the name of one in the program (steady, morning, avalanche, batches, churn,
    /// misbehaving, starve, ramp, registration, ceiling), or a TOML file.
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
    /// Another duration than the scenario's: a curve and a power cut are stretched to it. Of a ramp, how
    /// long each rate is kept.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Another rate than the scenario's, in arrivals a second: the highest of a curve, and the highest
    /// that a ramp tries.
    #[arg(long, value_name = "NUMBER")]
    pub per_second: Option<f64>,
    /// Number of the first client: their hardware addresses follow from it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub first_client: u32,
    /// Chooses transaction identifiers and waits.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Appends every ACK to this file, for `vestibule-load check` after a restart of the server. Leases
    /// in it that are not over count as held.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// At the end, runs this command in a shell, which restarts the server, and then asks for every lease
    /// that is not over. Each that is gone is a violation.
    #[arg(long, value_name = "COMMAND")]
    pub restart_check: Option<String>,
    /// How long clients ask for their leases after the restart.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub restart_check_seconds: u64,
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
    /// Where clients are registered, and what they must see.
    #[command(flatten)]
    pub registration: RegistrationOptions,
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
    /// Operator: clients cannot be registered as they should.
    Registration(SettingsError),
    /// Operator or kernel: nobody can be registered.
    Start(StartError),
    /// Operator: too few file descriptors.
    Descriptors(descriptors::TooFew),
    /// Operator, kernel or disk.
    Engine(EngineError),
    /// Operator: the command that restarts the server failed, or the leases cannot be asked for.
    Restart(String),
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
            Self::Registration(error) => write!(f, "{error}"),
            Self::Start(error) => write!(f, "{error}"),
            Self::Descriptors(error) => write!(f, "{error}"),
            Self::Engine(error) => write!(f, "{error}"),
            Self::Restart(why) => write!(f, "--restart-check: {why}"),
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
        Ok(result) if result.ending == Ending::Unanswered => {
            eprintln!("vestibule-load: the servers stopped answering, so the run was ended early");
            ExitCode::from(1)
        }
        Ok(result) if result.registration.is_some_and(|verdict| !verdict.is_good()) => {
            ExitCode::from(1)
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
        let registration = self.registration(&scenario)?;
        let (ledger, ledger_file) = self.ledger()?;
        let end = on_interrupt().map_err(RunError::Signals)?;
        let mut engine = Engine::new(Plan {
            clients: scenario.clients,
            first_client: self.first_client,
            servers: self.server.clone(),
            relays: self.relays(),
            relay_port: self.relay_port,
            client_port: self.client_port,
            manner: scenario.manner(),
            mix: scenario.mix(),
            renewals: scenario.renewals(),
            stay: scenario.stay(),
            returns: scenario.returns(),
            seed: self.seed,
            ledger,
            ledger_file,
            newcomers: registration.as_ref().map(|(door, _)| door.clone()),
        })
        .map_err(RunError::Engine)?;
        if let Some(caution) = small_buffer(engine.receive_buffer_bytes()) {
            eprintln!("{caution}");
        }
        let began_unix_milliseconds = crate::driver::unix_milliseconds();
        let time_before = machine::thread_time();
        // The engine has the only door now: its end is the end of clients to register.
        let registration = registration.map(|(_, registration)| registration);
        let screen = Screen::on_standard_error();
        let mut observer = Observer::new(screen, Silence::new(scenario.manner()), Arc::clone(&end));
        let knee = match scenario.arrivals {
            ArrivalsSetting::Ramp(ramp) => ramp_up(&mut engine, &ramp, &end, &mut observer),
            _ => play_phases(&mut engine, &scenario, &end, &mut observer).map(|()| None),
        }
        .map_err(RunError::Engine)?;
        let silence = observer.end();
        let time = since(time_before);
        let mut outcome = engine.finish();
        let is_interrupted = silence.is_none() && end.load(Ordering::Relaxed);
        // Clients that stay idle are in no exchange once they have a lease.
        let without_a_lease = match scenario.stay {
            StaySetting::Idle => outcome.tally.totals.open_at_end,
            _ => 0,
        };
        let registered =
            registration.map(|registration| registration.finish(is_interrupted, without_a_lease));
        let server = server_before
            .zip(self.server_pid.and_then(machine::process_cost))
            .map(|(before, after)| cost(before, after));
        let settings = self.settings(&scenario, scenario_toml);
        let ending = match silence {
            Some(_) => Ending::Unanswered,
            None if is_interrupted => Ending::Interrupted,
            None => Ending::Complete,
        };
        let limits = limits(&outcome, settings.in_flight_max.is_some(), time);
        let (restart_check, restart_failed) = match &self.restart_check {
            Some(command) if ending == Ending::Complete => {
                match after_command(command, &mut outcome, &self.setup(&scenario), &end) {
                    Ok(check) => (Some(check), None),
                    Err(error) => (None, Some(RunError::Restart(error.to_string()))),
                }
            }
            _ => (None, None),
        };
        let mut result = RunResult {
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
            conducts: outcome.tally.conducts(),
            ledger: verdict(&outcome),
            restart_check,
            stories: outcome.stories,
            phases: outcome.phases,
            limits,
            server,
            knee,
            registration: registered.as_ref().map(|registered| registered.verdict),
        };
        if let Some(registered) = registered {
            result.latencies.extend(registered.latencies);
            result.errors.extend(registered.errors);
        }
        result.errors.extend(silence.map(|silence| silence.error(&self.server, self.giaddr)));
        result.errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        if let Some(path) = &self.json {
            write(path, &result.json())?;
        }
        if let Some(path) = &self.report {
            write(path, &report::html(&result))?;
        }
        print!("{}", report::text(&result));
        restart_failed.map_or(Ok(result), Err)
    }

    /// What is known of leases before, and where ACKs are written.
    fn ledger(&self) -> Result<(Ledger, Option<LedgerFile>), RunError> {
        let Some(path) = &self.ledger else { return Ok((Ledger::default(), None)) };
        let failed = |error| RunError::File(path.clone(), error);
        let (ledger, earlier) = Ledger::open(path).map_err(failed)?;
        if !earlier.is_empty() {
            let count = earlier.len();
            eprintln!("{}: earlier runs left {count} violations in it", path.display());
        }
        Ok((ledger, Some(LedgerFile::append(path).map_err(failed)?)))
    }

    /// How leases are asked for after a restart.
    fn setup(&self, scenario: &Scenario) -> Setup {
        let relays = self.relays();
        Setup {
            servers: self.server.clone(),
            template: relays.first().copied().unwrap_or(Relay::new(self.giaddr)),
            relays,
            relay_port: self.relay_port,
            in_flight_max: RESTART_IN_FLIGHT,
            duration: Duration::from_secs(self.restart_check_seconds),
            manner: scenario.manner(),
            rebind: false,
            seed: self.seed,
        }
    }

    /// The scenario with the command line's numbers, and its text.
    fn scenario(&self) -> Result<(Scenario, String), RunError> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == self.scenario);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(&self.scenario)
                .map_err(|error| RunError::NoScenario(self.scenario.clone(), error))?,
        };
        let size =
            Size { clients: self.clients, seconds: self.seconds, per_second: self.per_second };
        let scenario = Scenario::parse(&text)
            .and_then(|scenario| scenario.resized(size))
            .map_err(|error| RunError::Scenario(self.scenario.clone(), error))?;
        Ok((scenario, text))
    }

    /// What registers clients, if the scenario has it.
    fn registration(&self, scenario: &Scenario) -> Result<Option<(Door, Registration)>, RunError> {
        let Some(table) = &scenario.registration else {
            if self.registration.are_given() {
                return Err(RunError::Registration(SettingsError::NotAsked));
            }
            return Ok(None);
        };
        let settings = table.settings(&self.registration).map_err(RunError::Registration)?;
        descriptors::have(registration::descriptors(&settings)).map_err(RunError::Descriptors)?;
        registration::start(settings).map(Some).map_err(RunError::Start)
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

/// What to say if the kernel queues too little.
fn small_buffer(bytes: usize) -> Option<String> {
    let wanted = crate::engine::batch::BUFFER_BYTES;
    (bytes < RECEIVE_BUFFER_BYTES_MIN).then(|| {
        format!(
            "the kernel queues only {bytes} bytes of replies, bursts may be lost: run as root, or sysctl -w \
             net.core.rmem_max={wanted}"
        )
    })
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

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    std::fs::write(path, text).map_err(|error| RunError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_said_with_the_setting_that_mends_it() {
        let said = small_buffer(425_984).unwrap_or_default();
        assert!(said.contains("425984 bytes") && said.contains("net.core.rmem_max=67108864"));
        assert_eq!(small_buffer(RECEIVE_BUFFER_BYTES_MIN), None);
    }
}
