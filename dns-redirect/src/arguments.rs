//! What `vestibule-dns` takes on its command line. Its help and its manual page come from here.

use clap::Parser;
use std::path::PathBuf;

/// The lying resolver of Vestibule, and the port-80 redirect beside it.
///
/// It reads the sections [gate] and [dns] of the file, serves until it gets SIGTERM or SIGINT, and ends
/// cleanly. RUST_LOG=debug has it say more.
#[derive(Debug, Parser)]
#[command(name = "vestibule-dns", version)]
pub struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/vestibule/vestibule.toml")]
    pub config: PathBuf,
}
