//! `vestibule-load`: see [`vestibule_load::command`].

use clap::Parser as _;
use std::process::ExitCode;
use vestibule_load::command::{CommandLine, run};

fn main() -> ExitCode {
    run(CommandLine::parse())
}
