//! `vestibule-dhcpd`: the DHCP server.

use clap::Parser as _;
use std::process::ExitCode;
use vestibule_dhcpd::daemon::{self, Arguments, Command};
use vestibule_dhcpd::store::index;

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
