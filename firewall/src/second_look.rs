//! Asks the kernel about one address, as a second opinion: for tests and measurements, which must not take
//! the gate's word for what the gate did.
//!
//! It promises that it changes nothing, and that asking costs the kernel one search, however large the
//! set is.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::sets::SetName;
use crate::{FirewallError, existing};
use std::fmt;
use std::net::Ipv4Addr;
use vestibule_core::Side;

/// A way to ask.
pub struct Look {
    socket: Socket,
    table: Box<str>,
}

impl Look {
    /// Opens a way to ask about a table.
    ///
    /// # Errors
    /// [`FirewallError::Netlink`] if there is no socket.
    pub fn open(table: &str) -> Result<Self, FirewallError> {
        let operation = "opening the socket";
        let socket =
            Socket::open(0).map_err(|source| FirewallError::Netlink { operation, source })?;
        Ok(Self { socket, table: table.into() })
    }

    /// The milliseconds that are left to an address in one of the two sets; `None` if it is not there.
    ///
    /// # Errors
    /// [`FirewallError::Netlink`] if the kernel does not say.
    pub fn milliseconds_left(
        &mut self,
        side: Side,
        address: Ipv4Addr,
    ) -> Result<Option<u64>, FirewallError> {
        let set = match side {
            Side::Registered => SetName::Registered,
            Side::Unregistered => SetName::Unregistered,
        };
        match existing::element(&mut self.socket, &self.table, set, address) {
            Err(source) if source.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => {
                Err(FirewallError::Netlink { operation: "asking for an element", source })
            }
            Ok(left) => Ok(left),
        }
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look").field("table", &self.table).finish_non_exhaustive()
    }
}
