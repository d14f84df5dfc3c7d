//! The gate: one table, changed in whole transactions.
//!
//! It promises that each call either has its whole effect on the sets or none (except where the error
//! says that nobody knows), that it never waits for anything but the kernel's work inside `send`, and
//! that dropping a [`Gate`] changes nothing: permits end with their leases, not with the daemon.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::existing::{self, Existing};
use crate::flows::Flows;
use crate::message::{Elements, Subject, Transaction};
use crate::netlink::Socket;
use crate::ruleset::SetName;
use crate::{FirewallError, Ruleset, Watch, wire};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::Ipv4Addr;
use vestibule_core::{GateChange, Side};

/// Bytes that the send buffer holds at least, if the kernel grants them.
const SEND_BUFFER_BYTES_MIN: usize = 16 << 20;
/// Bytes of a transaction for each element of a replacement.
const ELEMENT_BYTES: usize = 40;
/// Times that a read or a replacement is tried because somebody changes something meanwhile.
const ATTEMPTS_MAX: usize = 16;
/// An address that no host has: what the kernel's abilities are tried with.
const PROBE_ADDRESS: Ipv4Addr = Ipv4Addr::BROADCAST;

/// Which messages are used for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The best that this kernel understands, tried out when the gate is opened.
    Probed,
    /// Only what every kernel since 5.2 understands.
    Portable,
}

/// What the kernel can do with elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Abilities {
    /// Takes an element out if it is there (Linux 6.3).
    destroys: bool,
    /// Putting in an element that is there gives it the new lifetime (Linux 6.12).
    restarts: bool,
}

/// The table, and the socket it is changed through.
pub struct Gate {
    ruleset: Ruleset,
    socket: Socket,
    /// The longest transaction that the kernel takes.
    bytes_max: usize,
    transaction: Transaction,
    abilities: Abilities,
    flows: Flows,
}

impl Gate {
    /// Makes the table with these contents (address, side, milliseconds of life), in one transaction.
    /// Whatever a table of this name held before is gone with it; other tables are not touched. An
    /// address that is named twice is on the side of its last mention.
    ///
    /// # Errors
    /// [`FirewallError`]; then the table is as it was, except if the error comes from trying out the
    /// kernel's abilities afterwards.
    pub fn open(
        ruleset: Ruleset,
        contents: &[(Ipv4Addr, Side, u64)],
    ) -> Result<Self, FirewallError> {
        Self::open_with(ruleset, contents, Dialect::Probed)
    }

    /// As [`Gate::open`], with a choice of messages.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub fn open_with(
        ruleset: Ruleset,
        contents: &[(Ipv4Addr, Side, u64)],
        dialect: Dialect,
    ) -> Result<Self, FirewallError> {
        let mut gate = Self::prepare(ruleset)?;
        gate.start(contents, dialect)?;
        Ok(gate)
    }

    /// As [`Gate::open`], with a [`Watch`] that misses nothing from the first transaction on.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub fn open_watched(
        ruleset: Ruleset,
        contents: &[(Ipv4Addr, Side, u64)],
    ) -> Result<(Self, Watch), FirewallError> {
        let mut gate = Self::prepare(ruleset)?;
        let watch = Watch::open(&gate.ruleset.table, gate.socket.port_id())?;
        gate.start(contents, Dialect::Probed)?;
        Ok((gate, watch))
    }

    fn prepare(ruleset: Ruleset) -> Result<Self, FirewallError> {
        ruleset.check()?;
        let table = CString::new(ruleset.table.as_str()).map_err(|_| {
            FirewallError::RulesetInvalid { reason: "the table's name has a zero byte" }
        })?;
        let socket = Socket::open(0).map_err(|source| match source.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => FirewallError::KernelLacks {
                feature: "nfnetlink (CONFIG_NETFILTER_NETLINK)".into(),
            },
            _ => FirewallError::Netlink { operation: "opening the socket", source },
        })?;
        let elements = usize::try_from(ruleset.elements_max).unwrap_or(usize::MAX);
        let wanted = elements.saturating_mul(ELEMENT_BYTES + 8).max(SEND_BUFFER_BYTES_MIN);
        let bytes_max = socket.grow_send_buffer(wanted).map_err(|source| {
            FirewallError::Netlink { operation: "sizing the send buffer", source }
        })?;
        Ok(Self {
            transaction: Transaction::new(&table),
            abilities: Abilities { destroys: false, restarts: false },
            flows: Flows::default(),
            ruleset,
            socket,
            bytes_max,
        })
    }

    fn start(
        &mut self,
        contents: &[(Ipv4Addr, Side, u64)],
        dialect: Dialect,
    ) -> Result<(), FirewallError> {
        self.replace(contents)?;
        if dialect == Dialect::Probed {
            self.abilities = self.probe()?;
            self.flows.probe(&mut self.socket)?;
        }
        Ok(())
    }

    /// Changes sets and then deletes tracked flows, as the changes say. All changes of the sets are in
    /// one transaction. Of several changes of one address the last counts, and its flows are forgotten
    /// if any of them says so. Applying the same change again restarts the element's lifetime and has no
    /// other effect.
    ///
    /// # Errors
    /// [`FirewallError`]. [`FirewallError::Flows`] means that the sets are changed.
    pub fn apply(&mut self, changes: &[GateChange]) -> Result<(), FirewallError> {
        let mut last: BTreeMap<Ipv4Addr, GateChange> = BTreeMap::new();
        for change in changes {
            last.entry(change.address)
                .and_modify(|known| {
                    *known = GateChange {
                        forget_flows: known.forget_flows || change.forget_flows,
                        ..*change
                    };
                })
                .or_insert(*change);
        }
        if last.is_empty() {
            return Ok(());
        }
        let mut registered = SetChanges::default();
        let mut unregistered = SetChanges::default();
        let mut forgotten = Vec::new();
        for change in last.values() {
            match change.side {
                Some((Side::Registered, life)) => {
                    registered.put.push((change.address, life));
                    unregistered.take.push((change.address, 0));
                }
                Some((Side::Unregistered, life)) => {
                    unregistered.put.push((change.address, life));
                    registered.take.push((change.address, 0));
                }
                None => {
                    registered.take.push((change.address, 0));
                    unregistered.take.push((change.address, 0));
                }
            }
            if change.forget_flows {
                forgotten.push(change.address);
            }
        }
        self.begin(4 * last.len());
        self.change(SetName::Registered, &registered);
        self.change(SetName::Unregistered, &unregistered);
        let committed = self.commit();
        let forgot = match committed {
            Ok(()) => self.flows.forget(&mut self.socket, &forgotten),
            Err(_) => Ok(()),
        };
        // Also after an error: nobody may know whether the change is in.
        let put = registered.put.iter().chain(&unregistered.put);
        self.flows.expect(put.map(|(address, _)| *address));
        committed?;
        forgot.map_err(|source| FirewallError::Flows { source })
    }

    /// Makes the whole table right with these contents, in one transaction, whatever became of it. There
    /// is no moment in which packets meet less than the former or the new gate, with one exception: if
    /// the gated prefixes or the garden are others than the table had, some kernels let packets meet
    /// empty ones until the commit is over (for 100,000 addresses some milliseconds). An
    /// address that is named twice is on the side of its last mention. Tracked flows are left alone.
    ///
    /// # Errors
    /// [`FirewallError`]; then the table is as it was, except that [`FirewallError::Flows`] means that
    /// the table is right.
    pub fn replace(&mut self, contents: &[(Ipv4Addr, Side, u64)]) -> Result<(), FirewallError> {
        let last: BTreeMap<Ipv4Addr, (Side, u64)> =
            contents.iter().map(|&(address, side, life)| (address, (side, life))).collect();
        let elements_max = self.ruleset.elements_max;
        if u32::try_from(last.len()).map_or(true, |count| count > elements_max) {
            return Err(FirewallError::SetFull { elements_max });
        }
        let on = |wanted: Side| -> Vec<(Ipv4Addr, u64)> {
            last.iter()
                .filter(|(_, (side, _))| *side == wanted)
                .map(|(&address, &(_, life))| (address, life))
                .collect()
        };
        let (registered, unregistered) = (on(Side::Registered), on(Side::Unregistered));
        let mut attempts = 0;
        loop {
            let existing = self.existing()?;
            let besides = existing.chains_foreign.len() + existing.sets.len();
            self.begin(last.len().saturating_add(besides));
            self.transaction.only_if_generation_is(existing.generation);
            self.transaction.add_table();
            self.transaction.clear(&existing);
            self.transaction.add_ruleset(&self.ruleset, &existing.sets_kept);
            self.transaction.elements(SetName::Registered, Elements::Put, &registered);
            self.transaction.elements(SetName::Unregistered, Elements::Put, &unregistered);
            attempts += 1;
            match self.commit() {
                // Somebody changed something, perhaps in our table, after we read it.
                Err(FirewallError::Unsteady) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // After the commit: the chains that it made are what loads tracking into the kernel.
        Flows::check(&mut self.socket)?;
        let learned = self.flows.learn(&mut self.socket);
        self.flows.expect(last.into_keys());
        learned.map_err(|source| FirewallError::Flows { source })
    }

    /// What is in the two sets: address, side, milliseconds left; in the order of the addresses. For
    /// diagnostics: the time it takes grows with the square of the number of elements.
    ///
    /// # Errors
    /// [`FirewallError`].
    pub fn contents(&mut self) -> Result<Vec<(Ipv4Addr, Side, u64)>, FirewallError> {
        let mut contents = Vec::new();
        for (name, side) in
            [(SetName::Unregistered, Side::Unregistered), (SetName::Registered, Side::Registered)]
        {
            for (address, life) in self.dump(name)? {
                contents.push((address, side, life));
            }
        }
        contents.sort_unstable();
        Ok(contents)
    }

    /// Deletes the table: from now on nothing is gated. Not for the end of a daemon.
    ///
    /// # Errors
    /// [`FirewallError`]; then the table is as it was.
    pub fn remove(mut self) -> Result<(), FirewallError> {
        self.begin(0);
        self.transaction.add_table();
        self.transaction.delete_table();
        self.commit()
    }

    /// What the table was made from.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// The most bytes that one transaction may have, as the kernel granted. A
    /// [`replace`](Self::replace) takes 40 for each address and about 16,000 more.
    #[must_use]
    pub fn transaction_bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn begin(&mut self, elements: usize) {
        let sequence = self.socket.reserve_sequence(Transaction::messages_max(elements));
        self.transaction.begin(sequence);
    }

    fn change(&mut self, name: SetName, changes: &SetChanges) {
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

    fn commit(&mut self) -> Result<(), FirewallError> {
        let bytes_max = self.bytes_max;
        let failed = |operation| move |source| FirewallError::Netlink { operation, source };
        self.socket.discard().map_err(failed("receiving"))?;
        let bytes = self.transaction.end();
        if bytes.len() > bytes_max {
            return Err(FirewallError::BatchTooLarge { bytes: bytes.len(), bytes_max });
        }
        self.socket.send(bytes).map_err(failed("sending a transaction"))?;
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
            Some((number, subject)) => Err(refusal(&self.ruleset, number, subject)),
            None if acknowledged => Ok(()),
            None => Err(FirewallError::OutcomeUnknown),
        }
    }

    /// Tries out what the kernel understands, with an element that no packet has.
    fn probe(&mut self) -> Result<Abilities, FirewallError> {
        const FIRST_MILLISECONDS: u64 = 60_000;
        const SECOND_MILLISECONDS: u64 = 600_000;
        let put = |gate: &mut Self, milliseconds| {
            gate.begin(1);
            let element = [(PROBE_ADDRESS, milliseconds)];
            gate.transaction.elements(SetName::Unregistered, Elements::Put, &element);
            gate.commit()
        };
        put(self, FIRST_MILLISECONDS)?;
        put(self, SECOND_MILLISECONDS)?;
        let name = SetName::Unregistered;
        let life = existing::element(&mut self.socket, &self.ruleset.table, name, PROBE_ADDRESS)
            .map_err(|source| self.unread(Subject::Elements(name), source))?;
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
        Ok(Abilities { destroys, restarts })
    }

    fn dump(&mut self, set: SetName) -> Result<Vec<(Ipv4Addr, u64)>, FirewallError> {
        for _ in 0..ATTEMPTS_MAX {
            let read = existing::elements(&mut self.socket, &self.ruleset.table, set)
                .map_err(|source| self.unread(Subject::Elements(set), source))?;
            if let Some(elements) = read {
                return Ok(elements);
            }
        }
        Err(FirewallError::Unsteady)
    }

    fn existing(&mut self) -> Result<Existing, FirewallError> {
        Existing::read(&mut self.socket, &self.ruleset).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::EPERM) => FirewallError::CapabilityMissing,
                // There is no such subsystem.
                Some(libc::EINVAL) => refusal(&self.ruleset, libc::EOPNOTSUPP, Subject::Batch),
                _ => self.unread(Subject::Table, source),
            }
        })
    }

    fn unread(&self, subject: Subject, source: io::Error) -> FirewallError {
        match source.raw_os_error() {
            Some(number) => refusal(&self.ruleset, number, subject),
            None => FirewallError::AnswerMalformed,
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("ruleset", &self.ruleset).finish_non_exhaustive()
    }
}

/// What happens to one set.
#[derive(Default)]
struct SetChanges {
    put: Vec<(Ipv4Addr, u64)>,
    take: Vec<(Ipv4Addr, u64)>,
}

/// What the kernel's error number means for a message about `subject`.
fn refusal(ruleset: &Ruleset, number: i32, subject: Subject) -> FirewallError {
    match (number, subject) {
        (libc::ERESTART, Subject::Batch) => FirewallError::Unsteady,
        (libc::EPERM, Subject::Batch) => FirewallError::CapabilityMissing,
        (libc::EPERM, _) => FirewallError::TableOwned { table: ruleset.table.clone() },
        (libc::EOPNOTSUPP, Subject::Batch | Subject::Table) | (libc::EAFNOSUPPORT, _) => {
            FirewallError::KernelLacks {
                feature: "nf_tables for the family inet (CONFIG_NF_TABLES_INET)".into(),
            }
        }
        (
            libc::ENOENT | libc::EOPNOTSUPP,
            Subject::Rule(_) | Subject::Chain(_) | Subject::Set(_),
        ) => FirewallError::KernelLacks { feature: format!("what {subject} needs of nf_tables") },
        (libc::ENFILE, Subject::Elements(_)) => {
            FirewallError::SetFull { elements_max: ruleset.elements_max }
        }
        (libc::ENOENT, Subject::Elements(_)) => FirewallError::TableMissing,
        _ => FirewallError::Refused {
            subject: subject.to_string(),
            source: io::Error::from_raw_os_error(number),
        },
    }
}
