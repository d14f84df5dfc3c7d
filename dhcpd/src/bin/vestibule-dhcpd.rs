//! `vestibule-dhcpd`: the DHCP server.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use vestibule_dhcpd::daemon;

/// The Vestibule DHCP server: no ACK leaves before its lease is durable and the kernel gate is right.
///
/// It reads one file, serves until it gets SIGTERM or SIGINT, and ends cleanly. Ask it with `vestibule
/// status`; check a file without a server with `vestibule check FILE`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/vestibule/vestibule.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
