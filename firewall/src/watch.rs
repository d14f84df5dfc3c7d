//! Tells when somebody else changes the gate's table.
//!
//! A second socket, subscribed to the kernel's notifications about nf_tables. Changes made through the
//! gate's own socket never get into its queue, so it cannot be flooded by them. Elements that end by
//! themselves make no notification. It never changes anything: the owner calls
//! [`Gate::replace`](crate::Gate::replace).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::{FirewallError, Garden, wire};
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};

/// The mask of the group of notifications about nf_tables (`NFNLGRP_NFTABLES`, 7).
const GROUP_NFTABLES: u32 = 1 << (7 - 1);
/// Bytes of notifications that are queued at most.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Why the table may not be what the gate made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interference {
    /// Somebody else changed the table or something in it.
    Changed {
        /// The program and its process id, as the kernel names them; `None` on a kernel that does not.
        program: Option<(String, u32)>,
    },
    /// Notifications were lost: nobody knows.
    Unknown,
}

impl fmt::Display for Interference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { program: Some((name, process_id)) } => {
                write!(f, "{name} (process {process_id}) changed the gate's table")
            }
            Self::Changed { program: None } => f.write_str("somebody changed the gate's table"),
            Self::Unknown => f.write_str("notifications about changes of the firewall were lost"),
        }
    }
}

/// A subscription. Its descriptor is readable when [`Watch::poll`] has something to read; poll it once
/// before the first wait, because something may have happened before it began.
pub struct Watch {
    socket: Socket,
    table: Box<[u8]>,
    /// Whose changes are our own.
    own_port_ids: Vec<u32>,
    /// The table was touched by a transaction whose end has not been read yet.
    touched: bool,
}

impl Watch {
    /// Subscribes to changes of the table by anybody but `own_port_id`.
    pub(crate) fn open(table: &str, own_port_id: u32) -> Result<Self, FirewallError> {
        let failed = |operation| move |source| FirewallError::Netlink { operation, source };
        let socket = Socket::open(GROUP_NFTABLES).map_err(|source| {
            if source.raw_os_error() == Some(libc::EPERM) {
                FirewallError::CapabilityMissing
            } else {
                FirewallError::Netlink { operation: "subscribing to notifications", source }
            }
        })?;
        socket.ignore_changes_of(&[own_port_id]).map_err(failed("filtering notifications"))?;
        socket.grow_receive_buffer(RECEIVE_BUFFER_BYTES).map_err(failed("sizing the buffer"))?;
        Ok(Self {
            socket,
            table: table.as_bytes().into(),
            own_port_ids: vec![own_port_id],
            touched: false,
        })
    }

    /// Somebody may have changed the table before this watch began.
    pub(crate) fn suspect(&mut self) {
        self.touched = true;
    }

    /// From now on, changes by `garden` are no interference.
    ///
    /// # Errors
    /// [`FirewallError::Netlink`] if the socket failed.
    pub fn ignore(&mut self, garden: &Garden) -> Result<(), FirewallError> {
        self.own_port_ids.push(garden.port_id());
        let operation = "filtering notifications";
        let filtered = self.socket.ignore_changes_of(&self.own_port_ids);
        filtered.map_err(|source| FirewallError::Netlink { operation, source })
    }

    /// Reads all that is there, without waiting. `None`: as far as the kernel told, the table is what
    /// the gate made it.
    ///
    /// # Errors
    /// [`FirewallError::Netlink`] if the socket failed.
    pub fn poll(&mut self) -> Result<Option<Interference>, FirewallError> {
        let mut found = None;
        loop {
            let received = match self.socket.receive() {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    found = Some(Interference::Unknown);
                    continue;
                }
                Err(source) => {
                    let operation = "reading notifications";
                    return Err(FirewallError::Netlink { operation, source });
                }
            };
            for message in wire::messages(received) {
                if self.own_port_ids.contains(&message.port_id) {
                    continue;
                }
                if is_end_of_transaction(&message) {
                    if std::mem::take(&mut self.touched) && found.is_none() {
                        found = Some(Interference::Changed { program: program(&message) });
                    }
                } else {
                    self.touched |= concerns(&message, &self.table);
                }
            }
        }
        if std::mem::take(&mut self.touched) && found.is_none() {
            // The end of the transaction, which names the program, was lost or is still to come.
            found = Some(Interference::Changed { program: None });
        }
        Ok(found)
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("own_port_ids", &self.own_port_ids).finish_non_exhaustive()
    }
}

/// `NFT_MSG_NEWGEN`: the last notification of each transaction.
fn is_end_of_transaction(message: &wire::Message<'_>) -> bool {
    const NEW_GENERATION: u8 = 15;
    message.message_type == u16::from_be_bytes([wire::SUBSYSTEM_NFTABLES, NEW_GENERATION])
}

/// Whether a notification is about the table. In all of them attribute 1 is the table's name.
fn concerns(message: &wire::Message<'_>, table: &[u8]) -> bool {
    const TABLE: u16 = 1;
    let [subsystem, _] = message.message_type.to_be_bytes();
    subsystem == wire::SUBSYSTEM_NFTABLES
        && message.family().map(i32::from) == Some(libc::NFPROTO_INET)
        && message
            .attributes()
            .any(|attribute| attribute.number == TABLE && attribute.text() == table)
}

/// Who made a transaction.
fn program(end: &wire::Message<'_>) -> Option<(String, u32)> {
    /// `NFTA_GEN_PROC_PID`
    const PROCESS_ID: u16 = 2;
    /// `NFTA_GEN_PROC_NAME`
    const NAME: u16 = 3;
    let find = |number| end.attributes().find(|attribute| attribute.number == number);
    let name = String::from_utf8_lossy(find(NAME)?.text()).into_owned();
    Some((name, find(PROCESS_ID)?.u32()?))
}
