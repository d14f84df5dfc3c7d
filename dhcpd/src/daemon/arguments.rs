//! What `vestibule-dhcpd` takes on its command line. Its help and its manual page come from here.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The Vestibule DHCP server: no ACK leaves before its lease is durable and the kernel gate is right.
///
/// It reads one file, serves until it gets SIGTERM or SIGINT, and ends cleanly. Ask it with `vestibule
/// status`; check a file without a server with `vestibule check FILE`. RUST_LOG=debug has it say more.
///
/// Exit status: 0 ended by a signal; 1 could not start, by the file or the system; 70 a fault of the
/// server; 74 the disk failed while serving.
#[derive(Debug, Parser)]
#[command(name = "vestibule-dhcpd", version)]
pub struct Arguments {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/vestibule/vestibule.toml",
        global = true
    )]
    pub config: PathBuf,

    /// Nothing, for an operator.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the server calls itself for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tries in a process of its own whether the index can be opened, because a damaged one can end
    /// the process that opens it. The server calls this itself.
    #[command(hide = true)]
    IndexProbe {
        /// Where the index lies.
        directory: PathBuf,
    },
}
