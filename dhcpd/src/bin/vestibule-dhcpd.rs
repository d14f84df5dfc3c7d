//! `vestibule-dhcpd`: the DHCP server.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use vestibule_dhcpd::{daemon, store::index};

/// The Vestibule DHCP server: no ACK leaves before its lease is durable and the kernel gate is right.
///
/// It reads one file, serves until it gets SIGTERM or SIGINT, and ends cleanly. Ask it with `vestibule
/// status`; check a file without a server with `vestibule check FILE`. RUST_LOG=debug has it say more.
///
/// Exit status: 0 ended by a signal; 1 could not start, by the file or the system; 70 a fault of the
/// server; 74 the disk failed while serving.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/vestibule/vestibule.toml",
        global = true
    )]
    config: PathBuf,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tries in a process of its own whether the index can be opened, because a damaged one can end
    /// the process that opens it. The server calls this itself.
    #[command(hide = true)]
    IndexProbe {
        /// Where the index lies.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::IndexProbe { directory }) = arguments.command {
        return index::probe_main(&directory);
    }
    daemon::log_to_standard_error();
    match daemon::run(&arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To the log as well as to whoever started it: both are standard error.
            for line in error.to_string().lines() {
                tracing::error!("{line}");
            }
            error.exit_code()
        }
    }
}
