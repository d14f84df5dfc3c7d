//! One socket and one transaction at a time: how the table is changed.
//!
//! It promises that a change is in the kernel when [`Channel::commit`] says so, that a refused one has no
//! effect, and that it never waits for anything but the kernel's work inside `send`. What is changed is
//! its callers' business.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::message::{Elements, Key, Subject, Transaction};
use crate::netlink::Socket;
use crate::sets::SetName;
use crate::{FirewallError, Ruleset, existing, wire};
use std::ffi::CString;
use std::io;
use std::net::Ipv4Addr;

/// Bytes that the send buffer holds at least, if the kernel grants them.
const SEND_BUFFER_BYTES_MIN: usize = 16 << 20;
/// Bytes of a transaction for each element of a replacement.
const ELEMENT_BYTES: usize = 40;
/// An address that no host has: what the kernel's abilities are tried with.
const PROBE_ADDRESS: Ipv4Addr = Ipv4Addr::BROADCAST;

/// What happens to one set.
pub(crate) struct SetChanges<K = Ipv4Addr> {
    pub(crate) put: Vec<(K, u64)>,
    pub(crate) take: Vec<(K, u64)>,
}

impl<K> Default for SetChanges<K> {
    fn default() -> Self {
        Self { put: Vec::new(), take: Vec::new() }
    }
}

/// What the kernel can do with elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Takes an element out if it is there (Linux 6.3).
    destroys: bool,
    /// Putting in an element that is there gives it the new lifetime (Linux 6.12).
    restarts: bool,
}

/// The way to the kernel, and what it can do.
pub(crate) struct Channel {
    pub(crate) socket: Socket,
    pub(crate) transaction: Transaction,
    pub(crate) abilities: Abilities,
    /// The longest transaction that the kernel takes.
    pub(crate) bytes_max: usize,
    /// Transactions that are in the kernel.
    pub(crate) transactions: u32,
    table: Box<str>,
    elements_max: u32,
}

impl Channel {
    /// Opens a way to change the table of `ruleset`, with room for `elements` in one transaction.
    pub(crate) fn open(ruleset: &Ruleset, elements: u32) -> Result<Self, FirewallError> {
        let table = CString::new(ruleset.table.as_str()).map_err(|_| {
            FirewallError::RulesetInvalid { reason: "the table's name has a zero byte" }
        })?;
        let socket = Socket::open(0).map_err(|source| match source.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => FirewallError::KernelLacks {
                feature: "nfnetlink (CONFIG_NETFILTER_NETLINK)".into(),
            },
            _ => FirewallError::Netlink { operation: "opening the socket", source },
        })?;
        let elements = usize::try_from(elements).unwrap_or(usize::MAX);
        let wanted = elements.saturating_mul(ELEMENT_BYTES + 8).max(SEND_BUFFER_BYTES_MIN);
        let bytes_max = socket.grow_send_buffer(wanted).map_err(|source| {
            FirewallError::Netlink { operation: "sizing the send buffer", source }
        })?;
        Ok(Self {
            transaction: Transaction::new(&table),
            abilities: Abilities::default(),
            transactions: 0,
            table: ruleset.table.as_str().into(),
            elements_max: ruleset.elements_max,
            socket,
            bytes_max,
        })
    }

    /// Begins a transaction that names this many elements at most.
    pub(crate) fn begin(&mut self, elements: usize) {
        let sequence = self.socket.reserve_sequence(Transaction::messages_max(elements));
        self.transaction.begin(sequence);
    }

    /// Adds changes of one set.
    pub(crate) fn change<K: Into<Key> + Copy>(&mut self, name: SetName, changes: &SetChanges<K>) {
        let SetChanges { put, take } = changes;
        let transaction = &mut self.transaction;
        if self.abilities.destroys {
            transaction.elements(name, Elements::TakeIfThere, take);
        } else {
            // After the first message it is certainly there.
            transaction.elements(name, Elements::Put, take);
            transaction.elements(name, Elements::Take, take);
        }
        if self.abilities.restarts {
            transaction.elements(name, Elements::Put, put);
        } else {
            if self.abilities.destroys {
                transaction.elements(name, Elements::TakeIfThere, put);
            } else {
                transaction.elements(name, Elements::Put, put);
                transaction.elements(name, Elements::Take, put);
            }
            transaction.elements(name, Elements::PutNew, put);
        }
    }

    /// Sends the transaction; it is in the kernel when this returns without an error.
    pub(crate) fn commit(&mut self) -> Result<(), FirewallError> {
        let bytes_max = self.bytes_max;
        let failed = |operation| move |source| FirewallError::Netlink { operation, source };
        self.socket.discard().map_err(failed("receiving"))?;
        let bytes = self.transaction.end();
        if bytes.len() > bytes_max {
            return Err(FirewallError::BatchTooLarge { bytes: bytes.len(), bytes_max });
        }
        let sent = self.socket.send(bytes);
        self.transaction.shrink();
        sent.map_err(failed("sending a transaction"))?;
        let mut acknowledged = false;
        let mut refused = None;
        loop {
            let received = match self.socket.receive() {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(FirewallError::OutcomeUnknown);
                }
                Err(source) => return Err(failed("receiving")(source)),
            };
            for message in wire::messages(received) {
                match (message.error_number(), self.transaction.subject(message.sequence)) {
                    (Some(0), Some(_)) => acknowledged = true,
                    (Some(number), Some(subject)) if refused.is_none() => {
                        refused = Some((number, subject));
                    }
                    _ => {}
                }
            }
        }
        match refused {
            Some((number, subject)) => Err(self.refusal(number, subject)),
            None if acknowledged => {
                self.transactions += 1;
                Ok(())
            }
            None => Err(FirewallError::OutcomeUnknown),
        }
    }

    /// Tries out what the kernel understands, with an element that no packet has.
    pub(crate) fn probe(&mut self) -> Result<(), FirewallError> {
        const FIRST_MILLISECONDS: u64 = 60_000;
        const SECOND_MILLISECONDS: u64 = 600_000;
        let put = |channel: &mut Self, milliseconds| {
            channel.begin(1);
            let element = [(PROBE_ADDRESS, milliseconds)];
            channel.transaction.elements(SetName::Unregistered, Elements::Put, &element);
            channel.commit()
        };
        put(self, FIRST_MILLISECONDS)?;
        put(self, SECOND_MILLISECONDS)?;
        let name = SetName::Unregistered;
        let life = existing::element(&mut self.socket, &self.table, name, PROBE_ADDRESS)
            .map_err(|source| self.unread(Subject::Elements(name), &source))?;
        let restarts = life.is_some_and(|life| life > FIRST_MILLISECONDS);
        self.begin(1);
        let element = [(PROBE_ADDRESS, 0)];
        self.transaction.elements(SetName::Unregistered, Elements::TakeIfThere, &element);
        let destroys = match self.commit() {
            Ok(()) => true,
            Err(FirewallError::Refused { source, .. })
                if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) =>
            {
                self.begin(1);
                self.transaction.elements(SetName::Unregistered, Elements::Take, &element);
                self.commit()?;
                false
            }
            Err(error) => return Err(error),
        };
        self.abilities = Abilities { destroys, restarts };
        Ok(())
    }

    /// What the kernel's error number means for a message about `subject`.
    pub(crate) fn refusal(&self, number: i32, subject: Subject) -> FirewallError {
        match (number, subject) {
            (libc::ERESTART, Subject::Batch) => FirewallError::Unsteady,
            (libc::EPERM, Subject::Batch) => FirewallError::CapabilityMissing,
            (libc::EPERM, _) => FirewallError::TableOwned { table: self.table.to_string() },
            (libc::EOPNOTSUPP, Subject::Batch | Subject::Table) | (libc::EAFNOSUPPORT, _) => {
                FirewallError::KernelLacks {
                    feature: "nf_tables for the family inet (CONFIG_NF_TABLES_INET)".into(),
                }
            }
            (
                libc::ENOENT | libc::EOPNOTSUPP,
                Subject::Rule(_) | Subject::Chain(_) | Subject::Set(_),
            ) => {
                FirewallError::KernelLacks { feature: format!("what {subject} needs of nf_tables") }
            }
            (libc::ENFILE, Subject::Elements(_)) => {
                FirewallError::SetFull { elements_max: self.elements_max }
            }
            (libc::ENOENT, Subject::Elements(_)) => FirewallError::TableMissing,
            _ => FirewallError::Refused {
                subject: subject.to_string(),
                source: io::Error::from_raw_os_error(number),
            },
        }
    }

    /// What an error of reading means.
    pub(crate) fn unread(&self, subject: Subject, source: &io::Error) -> FirewallError {
        match source.raw_os_error() {
            Some(number) => self.refusal(number, subject),
            None => FirewallError::AnswerMalformed,
        }
    }
}
