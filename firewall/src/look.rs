//! Looks at what the gate's table holds, without making or changing one.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::sets::SetName;
use crate::{FirewallError, existing};
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use vestibule_core::Side;

/// Times that a set is read because it changes meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// How long it may take: for some hundred thousand elements. A million would take most of a minute.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

/// An element: its address, its side, the milliseconds left to it.
pub type Held = (Ipv4Addr, Side, u64);

/// What is in the two sets of a table, in the order of the addresses.
/// `None`: there is no such table, or it is no gate's. The time it takes grows with the square of the number of
/// elements, and what takes longer than two seconds is given up.
///
/// # Errors
/// [`FirewallError`].
pub fn contents_of(table: &str) -> Result<Option<Vec<Held>>, FirewallError> {
    let mut socket = Socket::open(0).map_err(failed)?;
    socket.give_up_at(Instant::now() + READ_TIME_MAX);
    let mut contents = Vec::new();
    for (name, side) in
        [(SetName::Unregistered, Side::Unregistered), (SetName::Registered, Side::Registered)]
    {
        let Some(elements) = elements(&mut socket, table, name)? else { return Ok(None) };
        contents.extend(elements.into_iter().map(|(address, life)| (address, side, life)));
    }
    contents.sort_unstable();
    Ok(Some(contents))
}

fn elements(
    socket: &mut Socket,
    table: &str,
    name: SetName,
) -> Result<Option<Vec<(Ipv4Addr, u64)>>, FirewallError> {
    for _ in 0..ATTEMPTS_MAX {
        match existing::elements(socket, table, name) {
            Ok(None) => {}
            Ok(Some(elements)) => return Ok(Some(elements)),
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT) => Ok(None),
                    Some(libc::EPERM) => Err(FirewallError::CapabilityMissing),
                    // There is no such subsystem.
                    Some(libc::EINVAL) => Err(FirewallError::KernelLacks {
                        feature: "nf_tables for the family inet (CONFIG_NF_TABLES_INET)".into(),
                    }),
                    _ => Err(failed(error)),
                };
            }
        }
    }
    Err(FirewallError::Unsteady)
}

fn failed(source: io::Error) -> FirewallError {
    FirewallError::Netlink { operation: "reading the sets", source }
}
