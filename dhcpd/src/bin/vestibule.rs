//! `vestibule`: asks a Vestibule DHCP server, and tells it who may pass. All of it is in
//! [`vestibule_dhcpd::cli`].

use std::io::{BufWriter, stderr, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = BufWriter::new(stdout().lock());
    ExitCode::from(vestibule_dhcpd::cli::run(std::env::args_os(), &mut out, &mut stderr().lock()))
}
