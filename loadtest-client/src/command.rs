//! The command line: what `vestibule-load` can be asked to do, and what it answers.
//!
//! Exit status: 0 if everything was as it should be, 1 if it was not (a client without a lease, a
//! violation, a lease that is gone), 2 if the run could not be made at all. `run` has more: see
//! [`crate::run`].

use crate::client::Manner;
use crate::driver::{self, Asking, Clients, Participant, Run as DriverRun, Summary, relay_socket};
use crate::ledger::{Ledger, LedgerFile, Lost, Violation};
use crate::machine;
use crate::message::Relay;
use crate::null_server::NullServer;
use crate::report;
use crate::restart::{self, Asked, RestartError, Setup};
use crate::run::{self, Run};
use crate::steer::{self, Steer, SteerError};
use crate::target::is_harmless;
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// UDP port of DHCP servers and relays.
const SERVER_PORT: u16 = 67;

/// Clients in one run.
const CLIENTS_MAX: u32 = 2_000_000;

/// A campus of DHCP clients behind a relay, with a ledger of every ACK.
#[derive(Debug, Parser)]
#[command(name = "vestibule-load", version, about, max_term_width = 100)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Has many clients get a lease: DISCOVER, OFFER, REQUEST, ACK.
    Dora(Dora),
    /// Plays a scenario: how clients arrive, stay and leave, behind many relays.
    Run(Box<Run>),
    /// Answers every client from nothing, to measure this host and the load client with. No DHCP server:
    /// keep real clients away from it.
    NullServer(NullServerTask),
    /// Prints nftables rules for the DHCP server, that bring its replies to relays and renewing clients to
    /// the load host where no route does. Without connection tracking.
    Steer(Steer),
    /// Asks for every lease in a ledger that is not over, and reports each that is gone.
    Check(Check),
    /// Shows the result of a run again, as text and as a page.
    Report(report::command::Report),
    /// Puts the results of runs side by side, as text and as a page.
    Compare(report::command::Compare),
}

/// Where the clients are, and whom they ask.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The servers, as ADDRESS or ADDRESS:PORT. Every message goes to all of them.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server_address, required = true,
          value_delimiter = ',')]
    pub server: Vec<SocketAddrV4>,
    /// The relay's UDP port, 0 for any that is free. With another one than 67 the server is asked to
    /// answer there (RFC 8357).
    #[arg(long, value_name = "PORT", default_value_t = SERVER_PORT)]
    pub relay_port: u16,
    /// Exchanges that are open at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Has the relay send option 82 with a circuit for each client.
    #[arg(long)]
    pub circuit_id: bool,
    /// Milliseconds until a client asks again for the first time; doubled each time.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 4000,
          value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub first_wait: u64,
    /// Chooses transaction identifiers and waits; the same seed repeats a run.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Loads a server that may be somebody else's: one with a public address.
    #[arg(long)]
    pub i_own_this_network: bool,
}

/// `vestibule-load dora`
#[derive(Debug, Args)]
pub struct Dora {
    /// Where, and whom.
    #[command(flatten)]
    pub place: Place,
    /// The relays' addresses on their clients' links; clients are dealt out to them in turn. They must
    /// be addresses of this host, because replies come back to them.
    #[arg(long, value_name = "ADDRESS", required = true, value_delimiter = ',')]
    pub giaddr: Vec<Ipv4Addr>,
    /// How many clients.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(CLIENTS_MAX)))]
    pub clients: u32,
    /// Number of the first client: their hardware addresses follow from it.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub first_client: u32,
    /// Appends every ACK to this file, a line each.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Goes on for so long: clients renew their leases. Without it, the run ends when every client
    /// has one.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// `vestibule-load check`
#[derive(Debug, Args)]
pub struct Check {
    /// Where, and whom.
    #[command(flatten)]
    pub place: Place,
    /// The relay of leases of which the ledger does not say it, as ledgers of earlier versions do not.
    /// The others are asked for through the relay that they came by.
    #[arg(long, value_name = "ADDRESS")]
    pub giaddr: Option<Ipv4Addr>,
    /// The ledger that `run` or `dora` wrote.
    #[arg(long, value_name = "FILE")]
    pub ledger: PathBuf,
    /// Asks as a client in REBINDING does, instead of INIT-REBOOT.
    #[arg(long)]
    pub rebind: bool,
    /// Gives up after so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub seconds: u64,
}

/// `vestibule-load null-server`
#[derive(Debug, Args)]
pub struct NullServerTask {
    /// Where it listens; port 0 for any that is free.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server_address)]
    pub listen: SocketAddrV4,
    /// The first of the addresses that it gives; a client's number is added to it.
    #[arg(long, value_name = "ADDRESS", default_value = "10.128.0.0")]
    pub first_address: Ipv4Addr,
    /// How long its leases last.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub lifetime: u32,
}

/// Why a run could not be made.
#[derive(Debug)]
enum CommandError {
    /// The rules would not do what they should.
    Steer(SteerError),
    /// The null server's socket cannot be had or read.
    NullServer(SocketAddrV4, io::Error),
    /// The server may be somebody else's.
    NotYours(Ipv4Addr),
    /// The relay's socket cannot be had.
    Relay(Vec<Ipv4Addr>, u16, io::Error),
    /// The leases cannot be asked for.
    Restart(RestartError),
    /// A ledger cannot be read or written.
    Ledger(PathBuf, io::Error),
    /// The run broke off.
    Run(io::Error),
    /// There would be no way to end the run with a summary.
    Signals(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYours(address) => write!(
                f,
                "{address} is neither of this host nor private: it may be somebody else's server; if it is \
                 yours, say --i-own-this-network"
            ),
            Self::Relay(relays, port, error) => {
                let relays: Vec<String> = relays.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "cannot be the relay {} at UDP port {port}: {error}; --giaddr must be an address of this \
                     host, and ports below 1024 need root",
                    relays.join(", ")
                )
            }
            Self::Restart(error) => write!(f, "{error}"),
            Self::Ledger(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Steer(error) => write!(f, "{error}"),
            Self::NullServer(listen, error) => {
                write!(
                    f,
                    "cannot serve {listen}: {error}; --listen must be a free address of this host"
                )
            }
            Self::Run(error) => write!(f, "the run broke off: {error}"),
            Self::Signals(error) => write!(f, "signals cannot be caught: {error}"),
        }
    }
}

/// Does what the command line says.
#[must_use]
pub fn run(command_line: CommandLine) -> ExitCode {
    let done = match command_line.task {
        Task::Run(task) => return run::run(&task),
        Task::Steer(steer) => run_steer(&steer),
        Task::NullServer(task) => run_null_server(&task),
        Task::Dora(dora) => run_dora(&dora),
        Task::Check(check) => run_check(&check),
        Task::Report(report) => return report::command::report(&report),
        Task::Compare(compare) => return report::command::compare(&compare),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vestibule-load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_dora(dora: &Dora) -> Result<bool, CommandError> {
    let relays: Vec<Relay> = dora.giaddr.iter().map(|giaddr| dora.place.relay(*giaddr)).collect();
    dora.place.check_servers()?;
    let (ledger, ledger_file) = match &dora.ledger {
        Some(path) => {
            let failed = |error| CommandError::Ledger(path.clone(), error);
            let (known, _) = Ledger::open(path).map_err(failed)?;
            (known, Some(LedgerFile::append(path).map_err(failed)?))
        }
        None => (Ledger::default(), None),
    };
    let clients: Clients = (0..dora.clients)
        .map(|number| {
            let relay = usize::try_from(number).unwrap_or(0) % relays.len().max(1);
            let client = Participant { asking: Asking::Discover, lease: None, relay };
            (dora.first_client.wrapping_add(number), client)
        })
        .collect();
    let duration = dora.seconds.map(Duration::from_secs);
    let port = dora.place.relay_port;
    let run = DriverRun {
        socket: relay_socket(&relays, port)
            .map_err(|error| CommandError::Relay(dora.giaddr.clone(), port, error))?,
        servers: dora.place.server.clone(),
        relays,
        in_flight_max: dora.place.in_flight_max(),
        duration,
        keep_leases: duration.is_some(),
        asks_once: false,
        ledger_file,
    };
    let end = on_interrupt().map_err(CommandError::Signals)?;
    let (summary, _) =
        driver::play(run, &clients, dora.place.manner(), dora.place.seed, ledger, &end)
            .map_err(CommandError::Run)?;
    for violation in &summary.violations_shown {
        println!("violation: {violation}");
    }
    print(&summary);
    let more = summary.violations.saturating_sub(summary.violations_shown.len() as u64);
    let more = if more > 0 { format!(", and {more} of them are not shown") } else { String::new() };
    println!("violations: {}{more}", summary.violations);
    Ok(summary.bound == summary.clients && summary.violations == 0)
}

fn run_steer(steer: &Steer) -> Result<bool, CommandError> {
    print!("{}", steer::rules(steer).map_err(CommandError::Steer)?);
    Ok(true)
}

fn run_null_server(task: &NullServerTask) -> Result<bool, CommandError> {
    let failed = |error| CommandError::NullServer(task.listen, error);
    let server = NullServer {
        listen: task.listen,
        first_address: task.first_address,
        lifetime_seconds: task.lifetime,
    };
    let end = on_interrupt().map_err(CommandError::Signals)?;
    let listening = server.bind().map_err(failed)?;
    println!("listening at {}", listening.address().map_err(failed)?);
    let before = machine::thread_time();
    let served = listening.serve(&end).map_err(failed)?;
    let ran = machine::thread_time().ran.saturating_sub(before.ran);
    println!(
        "received: {}, sent: {}, dropped by the kernel: {}, processor time: {:.3} s",
        served.received,
        served.sent,
        served.kernel_drops,
        ran.as_secs_f64()
    );
    Ok(true)
}

fn run_check(check: &Check) -> Result<bool, CommandError> {
    check.place.check_servers()?;
    let (ledger, earlier) = Ledger::read(&check.ledger)
        .map_err(|error| CommandError::Ledger(check.ledger.clone(), error))?;
    let setup = Setup {
        servers: check.place.server.clone(),
        relays: check.giaddr.iter().map(|giaddr| check.place.relay(*giaddr)).collect(),
        relay_port: check.place.relay_port,
        in_flight_max: check.place.in_flight_max(),
        duration: Duration::from_secs(check.seconds),
        manner: check.place.manner(),
        rebind: check.rebind,
        seed: check.place.seed,
        template: check.place.relay(Ipv4Addr::UNSPECIFIED),
    };
    let end = on_interrupt().map_err(CommandError::Signals)?;
    let Asked { check, violations, summary } =
        restart::ask_again(&ledger, &setup, &end).map_err(CommandError::Restart)?;
    for violation in &earlier {
        println!("violation in the ledger: {violation}");
    }
    for violation in &violations {
        match violation {
            Violation::LeaseLost { client, address, how, .. } => {
                let more = match how {
                    Lost::Unconfirmed => String::new(),
                    Lost::Refused => ", but refused".to_owned(),
                    Lost::OtherOffered(other) => format!(", but {other}"),
                };
                println!("gone: {address} of {client} was not acknowledged again{more}");
            }
            other => println!("violation: {other}"),
        }
    }
    print(&summary);
    if check.too_old > 0 {
        println!("not asked for, because they end too soon: {}", check.too_old);
    }
    println!("checked {} leases: {} gone", check.asked, check.gone);
    Ok(check.gone == 0 && earlier.is_empty() && violations.is_empty())
}

impl Place {
    fn check_servers(&self) -> Result<(), CommandError> {
        let stranger = self.server.iter().find(|server| !is_harmless(*server.ip()));
        match stranger.filter(|_| !self.i_own_this_network) {
            Some(stranger) => Err(CommandError::NotYours(*stranger.ip())),
            None => Ok(()),
        }
    }

    fn relay(&self, giaddr: Ipv4Addr) -> Relay {
        Relay {
            circuit_id: self.circuit_id,
            source_port: self.relay_port != SERVER_PORT,
            ..Relay::new(giaddr)
        }
    }

    fn in_flight_max(&self) -> usize {
        usize::try_from(self.in_flight).unwrap_or(usize::MAX)
    }

    fn manner(&self) -> Manner {
        Manner { first_wait_milliseconds: self.first_wait, ..Manner::default() }
    }
}

/// A flag that Ctrl-C and SIGTERM set.
pub(crate) fn on_interrupt() -> io::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}

fn print(summary: &Summary) {
    let seconds = summary.elapsed.as_secs_f64();
    let took = |percent: usize| {
        let sorted = &summary.took_milliseconds;
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or(0)
    };
    println!("clients: {}, with a lease: {}", summary.clients, summary.bound);
    println!(
        "ACKs: {}, refused or run out: {}, sent again: {}, in {seconds:.2} s",
        summary.acknowledged, summary.refused, summary.retransmitted
    );
    println!(
        "milliseconds an exchange: median {}, 99 of 100 {}, longest {}",
        took(50),
        took(99),
        took(100)
    );
    if let Some(error) = &summary.send_error_last {
        println!("messages that could not be sent: {}, the last one: {error}", summary.send_errors);
    }
}

pub(crate) fn server_address(text: &str) -> Result<SocketAddrV4, String> {
    address_with_port(text, SERVER_PORT)
}

/// An IPv4 address with a port that may be left out.
pub(crate) fn address_with_port(text: &str, port: u16) -> Result<SocketAddrV4, String> {
    let with_port = if text.contains(':') { text.to_owned() } else { format!("{text}:{port}") };
    with_port.parse().map_err(|_| format!("write it as 10.0.0.67 or 10.0.0.67:{port}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_server_may_have_a_port() {
        assert_eq!(server_address("10.0.0.67").unwrap().port(), 67);
        assert_eq!(server_address("10.0.0.67:6767").unwrap().port(), 6767);
        assert!(server_address("a.server").is_err());
    }
}
