//! `vestibule`, the operator's tool: what it takes, and what it says.
//!
//! It asks a running server through its API, and checks configuration files. It promises that what
//! strangers chose (host names, owners) cannot act on the terminal, that `--json` is for programs and
//! stays stable, that an error says what to do, and that the exit status tells what kind of error it
//! was: [`OK`], [`REFUSED`], [`USAGE`], [`UNREACHABLE`]. It changes no file that is there but in a
//! salvage of a store, and never shows the token.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod access;
mod check;
mod check_store;
mod client;
mod commands;
mod events;
mod explain_client;
mod failover;
mod import;
mod import_isc;
mod portable;
mod registrations;
mod show;
mod trace;
mod vouchers;
mod who;
mod zone;

use access::Access;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use client::Client;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use vestibule_core::{HardwareAddress, VoucherId};

pub use show::shown;

/// Exit status: done.
pub const OK: u8 = 0;
/// Exit status: the server refused, or what was asked for does not exist, or the file has mistakes, or
/// the store is not as it was written.
pub const REFUSED: u8 = 1;
/// Exit status: the command line, or what it names, cannot be used.
pub const USAGE: u8 = 2;
/// Exit status: no server answered.
pub const UNREACHABLE: u8 = 3;

const EXIT_STATUSES: &str = "Exit status: 0 done; 1 refused, not found, or what is checked has mistakes or damage, \
                             or an import is not whole; \
                             2 wrong usage; 3 the server cannot be reached.";

#[derive(Debug, Parser)]
#[command(name = "vestibule", version, about = "The operator's tool: asks a Vestibule DHCP server, and tells it who may pass", after_help = EXIT_STATUSES)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The configuration: it names the API's address and token file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/vestibule/vestibule.toml"
    )]
    config: PathBuf,
    /// The API's address, instead of the configuration's: http://HOST:PORT or unix:PATH
    #[arg(long, global = true, value_name = "URL")]
    api: Option<String>,
    /// The token file, instead of the configuration's
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the server is
    Status,
    /// Show who holds which address
    Leases(LeasesArguments),
    /// Show who held an address at a time, or what a device, an owner, a circuit held
    Who(who::WhoArguments),
    /// Show why a client got what it got, or nothing: the last decisions, then every one as it comes
    Trace(trace::TraceArguments),
    /// Register a device: it may pass the gate
    Register(RegisterArguments),
    /// End a device's registration
    Unregister {
        /// Its hardware address
        mac: HardwareAddress,
    },
    /// Show what happened, and with --follow what happens
    Events(EventsArguments),
    /// Show how webhooks go, or try one
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Hold a registered device back until it is resumed
    Suspend {
        /// Its hardware address
        mac: HardwareAddress,
        /// Why, in words for its owner
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a suspended device pass again
    Resume {
        /// Its hardware address
        mac: HardwareAddress,
    },
    /// List registrations, write them into a file, or read them from one
    #[command(subcommand)]
    Registrations(RegistrationsCommand),
    /// Show how the failover pair is, or say that the partner is down
    #[command(subcommand)]
    Failover(FailoverCommand),
    /// Make codes that let devices in, list them, or take them back
    #[command(subcommand, visible_alias = "voucher")]
    Vouchers(VouchersCommand),
    /// Have the server read its configuration again, and say what changed
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Say whether a store that no server is using is sound, and what would be lost if not; asks no server
    CheckStore(CheckStoreArguments),
    /// Reads a copy of an index in a process of its own, because it may die of it: check-store calls it
    #[command(hide = true)]
    CheckIndex {
        /// The copy.
        copy: PathBuf,
        /// The store that it was made from.
        state_dir: PathBuf,
    },
    /// Make a configuration and a store of those of an ISC dhcpd; asks no server
    ImportIsc(import_isc::ImportIscArguments),
    /// Say what a configuration means, or every mistake in it; asks no server
    Check {
        /// The configuration
        file: PathBuf,
        #[command(flatten)]
        wanted: Box<explain_client::ExplainArguments>,
    },
}

#[derive(Args, Debug)]
struct LeasesArguments {
    /// Only of this network
    #[arg(long)]
    network: Option<String>,
    /// Only of this hardware address
    #[arg(long)]
    mac: Option<HardwareAddress>,
    /// Ended ones too
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
struct EventsArguments {
    /// Go on as events come, until interrupted
    #[arg(long)]
    follow: bool,
    /// Begin after this event; `oldest`: with the oldest that is kept
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Only of these kinds, separated by commas; docs/events.md has them
    #[arg(long = "type", value_name = "KINDS")]
    kinds: Option<String>,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// Show how each of them goes
    Status,
    /// Send a `test` to the receiver of one of them, and say what came of it
    Test {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum FailoverCommand {
    /// Show the states of both halves, and whose the free addresses are
    Status,
    /// Say that the partner is down, so that this server serves alone with all addresses
    PartnerDown {
        /// Do not ask whether it is
        #[arg(long)]
        yes: bool,
        /// Also if this server has lost its leases, and will give addresses that are held to others
        #[arg(long)]
        leases_lost: bool,
    },
}

#[derive(Args, Debug)]
struct CheckStoreArguments {
    /// The state directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Make a store that a start refuses fit to be opened again, with what can be read of it
    #[arg(long)]
    salvage: bool,
}

#[derive(Args, Debug)]
struct RegisterArguments {
    /// The device: its hardware address, or the address that it holds a lease for
    #[arg(value_name = "MAC|IP")]
    device: Device,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// When the registration ends, as in 2027-02-28T22:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Its role, one of the configuration's
    #[arg(long)]
    role: Option<String>,
    /// Who vouches for it
    #[arg(long)]
    sponsor: Option<String>,
    /// What is to be remembered of it
    #[arg(long)]
    note: Option<String>,
    /// The device whose place it takes, and whose registration ends; auto: the owner's randomised one that
    /// was seen least recently
    #[arg(long, value_name = "MAC|auto")]
    replaces: Option<String>,
}

#[derive(Debug, Subcommand)]
enum RegistrationsCommand {
    /// Show who is registered
    List {
        /// Only devices of this owner
        #[arg(long)]
        owner: Option<String>,
    },
    /// Write every registration into a file, or as JSON to standard output
    Export(ExportArguments),
    /// Put the registrations of a file in: all of them, or with a bad line none
    Import(ImportArguments),
}

#[derive(Args, Debug)]
struct ExportArguments {
    /// The file; without it, JSON goes to standard output
    file: Option<PathBuf>,
    /// How they are written; without it, as the file's name ends
    #[arg(long, value_enum)]
    format: Option<portable::Format>,
}

#[derive(Args, Debug)]
struct ImportArguments {
    /// The file
    file: PathBuf,
    /// How they are written; without it, as the file's name ends
    #[arg(long, value_enum)]
    format: Option<portable::Format>,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
    /// Leave bad lines out, and import the rest
    #[arg(long)]
    keep_going: bool,
}

#[derive(Debug, Subcommand)]
enum VouchersCommand {
    /// Make vouchers, and print their codes: this once, and never again
    Create(CreateVouchersArguments),
    /// Show which vouchers there are
    List,
    /// Show one voucher, and who uses it
    Show {
        /// Its id, as `list` shows it
        id: VoucherId,
    },
    /// Take vouchers back: nobody can use them any more
    Revoke {
        /// Their ids, as `list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<VoucherId>,
        /// End the registrations that were made with them, too
        #[arg(long)]
        end_registrations: bool,
    },
}

#[derive(Args, Debug)]
struct CreateVouchersArguments {
    /// How many
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    count: usize,
    /// The role of the devices that they let in, one of the configuration's
    #[arg(long)]
    role: Option<String>,
    /// How long each device is let in, from its first use on, as in 3d; without it, as the portal, the role
    /// or the configuration says
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    lifetime: Option<u32>,
    /// How many devices may use each [default: 1]
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u16>,
    /// Until when they can be used, as in 2027-02-28T22:00:00Z [default: for a year]
    #[arg(long, value_name = "TIME", conflicts_with = "usable")]
    expires: Option<String>,
    /// For how long they can be used, as in 90d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    usable: Option<u32>,
    /// What is to be remembered of them
    #[arg(long)]
    note: Option<String>,
    /// Print them as comma-separated values, with a line of headings
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Seconds, as in `1h30m`.
fn duration(text: &str) -> Result<u32, String> {
    vestibule_config::parse_duration(text)
}

/// How a device is named.
#[derive(Clone, Copy, Debug)]
enum Device {
    Address(Ipv4Addr),
    Hardware(HardwareAddress),
}

impl std::str::FromStr for Device {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        text.parse()
            .map(Self::Hardware)
            .map_err(|_| "neither an IPv4 address nor a hardware address such as 02:00:5e:00:53:01")
    }
}

/// Why a command ended without doing what it should.
#[derive(Debug)]
enum Failure {
    /// The server says no, or the file has mistakes. Already worded.
    Refused(String),
    /// What the command line names cannot be used.
    Usage(String),
    /// No server answers.
    Unreachable(String),
    /// Whoever reads our output went away, or it cannot be written.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The command line, for its manual page and for the completion of shells.
#[must_use]
pub fn command_line() -> clap::Command {
    Arguments::command()
}

/// Runs the tool: `arguments` begin with its name; it writes to `out` and complains to `complaints`.
/// Returns the exit status.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and go where they were asked for.
            return if error.use_stderr() {
                let _ = write!(complaints, "{error}");
                USAGE
            } else {
                let _ = write!(out, "{error}");
                OK
            };
        }
    };
    match execute(arguments, out, complaints).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => OK,
        // As with `vestibule leases | head`: the reader has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        Err(failure) => {
            let _ = writeln!(complaints, "vestibule: {failure}");
            match failure {
                Failure::Refused(_) | Failure::Output(_) => REFUSED,
                Failure::Usage(_) => USAGE,
                Failure::Unreachable(_) => UNREACHABLE,
            }
        }
    }
}

fn execute(
    arguments: Arguments,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    let json = global.json;
    match command {
        Command::Check { file, wanted } => check::check(&file, &wanted, json, out, complaints),
        Command::ImportIsc(wanted) => import_isc::import_isc(&wanted, json, out),
        Command::CheckStore(wanted) => check_store::check_store(&global.config, &wanted, json, out),
        Command::CheckIndex { copy, state_dir } => check_store::check_index(&copy, &state_dir, out),
        Command::Status => commands::status(&client(&global)?, json, out),
        Command::Events(wanted) => {
            events::events(&client(&global)?, &wanted, json, out, complaints)
        }
        Command::Webhooks(wanted) => events::webhooks(&client(&global)?, &wanted, json, out),
        Command::Leases(wanted) => commands::leases(&client(&global)?, &wanted, json, out),
        Command::Who(wanted) => who::who(&global, &wanted, json, out, complaints),
        Command::Trace(wanted) => trace::trace(&client(&global)?, &wanted, json, out, complaints),
        Command::Register(wanted) => commands::register(&client(&global)?, &wanted, json, out),
        Command::Suspend { mac, reason } => {
            registrations::suspend(&client(&global)?, mac, reason.as_deref(), json, out)
        }
        Command::Resume { mac } => registrations::resume(&client(&global)?, mac, json, out),
        Command::Registrations(RegistrationsCommand::List { owner }) => {
            registrations::show(&client(&global)?, owner.as_deref(), json, out)
        }
        Command::Registrations(RegistrationsCommand::Export(wanted)) => {
            registrations::export(&client(&global)?, &wanted, out, complaints)
        }
        Command::Registrations(RegistrationsCommand::Import(wanted)) => {
            import::import(&client(&global)?, &wanted, json, out, complaints)
        }
        Command::Failover(wanted) => failover::failover(&client(&global)?, &wanted, json, out),
        Command::Vouchers(wanted) => vouchers::vouchers(&client(&global)?, &wanted, json, out),
        Command::Reload { dry_run } => commands::reload(&client(&global)?, dry_run, json, out),
        Command::Unregister { mac } => commands::unregister(&client(&global)?, mac, json, out),
    }
}

fn client(global: &Global) -> Result<Client, Failure> {
    Client::new(Access::find(&global.config, global.api.as_deref(), global.token_file.as_deref())?)
}
