//! The gate: one table, changed in whole transactions.
//!
//! It promises that each call either has its whole effect on the sets or none (except where the error
//! says that nobody knows), that it never waits for anything but the kernel's work inside `send`, and
//! that dropping a [`Gate`] changes nothing: permits end with their leases, not with the daemon.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::channel::{Channel, SetChanges};
use crate::existing::{self, Existing};
use crate::flows::Flows;
use crate::garden::{self, Garden, Learnt};
use crate::holders::Holders;
use crate::message::{Elements, Subject};
use crate::sets::SetName;
use crate::{FirewallError, Ruleset, Watch, neighbours, tracking};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use vestibule_core::{EthernetAddress, GateChange, GateContents, Side};

/// Times that a read or a replacement is tried because somebody changes something meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// Elements in one transaction at most where there is no table yet: 2.6 MB.
const ELEMENTS_AT_ONCE_MAX: usize = 65_536;

/// Which messages are used for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The best that this kernel understands, tried out when the gate is opened.
    Probed,
    /// Only what every kernel since 5.2 understands.
    Portable,
}

/// The table, and the socket it is changed through.
pub struct Gate {
    ruleset: Ruleset,
    channel: Channel,
    flows: Flows,
    /// Who is let through by an Ethernet address.
    holders: Holders,
    /// What names in the garden lead to, shared with the [`Garden`] that learns it.
    learnt: Arc<Mutex<Learnt>>,
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
        gate.start(contents, &[], dialect)?;
        Ok(gate)
    }

    /// As [`Gate::open`], with a [`Watch`] that misses nothing from the first transaction on.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub fn open_watched(
        ruleset: Ruleset,
        contents: &GateContents,
    ) -> Result<(Self, Watch), FirewallError> {
        let mut gate = Self::prepare(ruleset)?;
        // Nobody listens while the sets are filled: for every listener the kernel makes a message of each
        // element, which takes it longer than the elements.
        let GateContents { elements, holders } = contents;
        let generation = gate.start(elements, holders, Dialect::Probed)?;
        let mut watch = Watch::open(&gate.ruleset.table, gate.channel.socket.port_id())?;
        if gate.existing()?.generation != generation {
            watch.suspect();
        }
        Ok((gate, watch))
    }

    fn prepare(ruleset: Ruleset) -> Result<Self, FirewallError> {
        ruleset.check()?;
        let channel = Channel::open(&ruleset, ruleset.elements_max)?;
        Ok(Self {
            ruleset,
            channel,
            flows: Flows::new(),
            holders: Holders::default(),
            learnt: Arc::default(),
        })
    }

    /// The kernel's generation if nobody else changed anything since the table was read.
    fn start(
        &mut self,
        contents: &[(Ipv4Addr, Side, u64)],
        holders: &[(Ipv4Addr, EthernetAddress)],
        dialect: Dialect,
    ) -> Result<u32, FirewallError> {
        self.take_over_the_garden()?;
        let generation = self.make(contents, holders)?;
        let made = self.channel.transactions;
        if dialect == Dialect::Probed {
            self.channel.probe()?;
            self.flows.probe(&mut self.channel.socket)?;
        }
        self.flows.start()?;
        let probed = self.channel.transactions.wrapping_sub(made);
        Ok((0..probed).fold(generation, |generation, _| after(generation)))
    }

    /// Changes sets, all in one transaction, and sees to it that nobody inherits a tracked flow: those of an
    /// address that has left the sets are deleted a few seconds later, or, if it is put in for another
    /// holder before that, when this returns. Of several changes of one address the last counts, and its
    /// holder is another one if any of them says so. Applying the same change again restarts the element's
    /// lifetime and has no other effect.
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
        }
        let put = registered.put.iter().chain(&unregistered.put);
        let forgotten = self.flows.enter(put.map(|(address, _)| {
            (*address, last.get(address).is_some_and(|change| change.forget_flows))
        }));
        let held = last.values().map(|change| (change.address, held(change)));
        let hardware = self.holders.change(held, Instant::now());
        self.channel.begin(4 * last.len() + 4 * (hardware.put.len() + hardware.take.len()));
        self.channel.change(SetName::Registered, &registered);
        self.channel.change(SetName::Unregistered, &unregistered);
        self.channel.change(SetName::RegisteredHardware, &hardware);
        self.channel.commit()?;
        let put = registered.put.iter().chain(&unregistered.put).copied();
        let taken = last.values().filter(|change| change.side.is_none());
        self.flows.changed(put, taken.map(|change| change.address));
        let forgot = self.flows.forget(&mut self.channel.socket, &forgotten);
        let forgot = forgot.and_then(|()| self.forget_ipv6());
        forgot.map_err(|source| FirewallError::Flows { source })
    }

    /// Makes the whole table right with these contents, in one transaction, whatever became of it (where
    /// there is none yet, many contents go before its rules, in several). There
    /// is no moment in which packets meet less than the former or the new gate, with one exception: if
    /// the gated prefixes or the garden are others than the table had, some kernels let packets meet
    /// empty ones until the commit is over (for 100,000 addresses some milliseconds). An
    /// address that is named twice is on the side of its last mention. Tracked flows of gated addresses
    /// that are not named are deleted, and those of holders that were let through by their Ethernet address before
    /// and are not any more; those of the others are left alone.
    ///
    /// # Errors
    /// [`FirewallError`]; then the table is as it was, except that [`FirewallError::Flows`] means that
    /// the table is right.
    pub fn replace(&mut self, contents: &[(Ipv4Addr, Side, u64)]) -> Result<(), FirewallError> {
        self.make(contents, &[]).map(drop)
    }

    /// As [`Gate::replace`], with holders that are let through by their Ethernet address.
    ///
    /// # Errors
    /// As [`Gate::replace`].
    pub fn replace_all(&mut self, contents: &GateContents) -> Result<(), FirewallError> {
        self.make(&contents.elements, &contents.holders).map(drop)
    }

    /// As [`Gate::replace`]; gives the kernel's generation after it.
    fn make(
        &mut self,
        contents: &[(Ipv4Addr, Side, u64)],
        holders: &[(Ipv4Addr, EthernetAddress)],
    ) -> Result<u32, FirewallError> {
        let contents = last_mentions(contents);
        let elements_max = self.ruleset.elements_max;
        if u32::try_from(contents.len()).map_or(true, |count| count > elements_max) {
            return Err(FirewallError::SetFull { elements_max });
        }
        let held = holders.iter().filter_map(|(address, holder)| {
            let found = contents.binary_search_by_key(address, |(address, ..)| *address).ok()?;
            match contents.get(found) {
                Some((_, Side::Registered, life)) => Some((*address, *holder, *life)),
                _ => None,
            }
        });
        let hardware = self.holders.replace(held, Instant::now());
        let mut attempts = 0;
        let generation = loop {
            let existing = self.existing()?;
            let made = if existing.is_nothing() && contents.len() > ELEMENTS_AT_ONCE_MAX {
                self.make_in_pieces(&existing, &contents, &hardware)
            } else {
                self.make_at_once(&existing, &contents, &hardware)
            };
            attempts += 1;
            match made {
                // Somebody changed something, perhaps in our table, after we read it.
                Err(FirewallError::Unsteady) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
                Ok(generation) => break generation,
            }
        };
        // After the commit: the chains that it made are what loads tracking into the kernel.
        tracking::check(&mut self.channel.socket)?;
        let held = contents.iter().map(|(address, _, life)| (*address, *life));
        let reset = self.flows.reset(&mut self.channel.socket, &self.ruleset, held);
        let forgot = reset.and_then(|()| self.forget_ipv6());
        forgot.map_err(|source| FirewallError::Flows { source })?;
        Ok(generation)
    }

    /// Deletes the flows of those that are let through by their Ethernet address no more.
    fn forget_ipv6(&mut self) -> io::Result<()> {
        neighbours::forget(&self.flows, &mut self.channel.socket, self.holders.owed())?;
        self.holders.paid();
        Ok(())
    }

    fn make_at_once(
        &mut self,
        existing: &Existing,
        contents: &[(Ipv4Addr, Side, u64)],
        hardware: &[(EthernetAddress, u64)],
    ) -> Result<u32, FirewallError> {
        let registered = on(Side::Registered, contents);
        let unregistered = on(Side::Unregistered, contents);
        // After what is: whatever is learnt from here on is noticed as a change.
        let names = garden::elements(&self.learnt, Instant::now());
        let besides = existing.chains_foreign.len() + existing.sets.len() + names.len();
        self.channel.begin(contents.len().saturating_add(hardware.len()).saturating_add(besides));
        let transaction = &mut self.channel.transaction;
        transaction.only_if_generation_is(existing.generation);
        transaction.add_table();
        transaction.clear(existing);
        transaction.add_sets(&self.ruleset, &existing.sets_kept);
        transaction.add_rules(&self.ruleset);
        transaction.elements(SetName::Registered, Elements::Put, &registered);
        transaction.elements(SetName::Unregistered, Elements::Put, &unregistered);
        transaction.elements(SetName::RegisteredHardware, Elements::Put, hardware);
        transaction.elements(SetName::GardenNames, Elements::Put, &names);
        self.channel.commit()?;
        Ok(after(existing.generation))
    }

    /// Where there is no table yet: sets first, piece by piece, which no packet meets, so that no
    /// transaction has to hold them all; the rules with the last piece. Cut off before that, it leaves
    /// sets without rules, which the next start takes for what they are.
    fn make_in_pieces(
        &mut self,
        existing: &Existing,
        contents: &[(Ipv4Addr, Side, u64)],
        hardware: &[(EthernetAddress, u64)],
    ) -> Result<u32, FirewallError> {
        let names = garden::elements(&self.learnt, Instant::now());
        // Each holds an address at least, so there are no more pieces of them.
        let mut hardware = hardware.chunks(ELEMENTS_AT_ONCE_MAX);
        let mut generation = existing.generation;
        let pieces = contents.chunks(ELEMENTS_AT_ONCE_MAX);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.enumerate() {
            let registered = on(Side::Registered, piece);
            let unregistered = on(Side::Unregistered, piece);
            let hardware = hardware.next().unwrap_or_default();
            self.channel.begin(piece.len() + hardware.len() + names.len());
            let transaction = &mut self.channel.transaction;
            transaction.only_if_generation_is(generation);
            if number == 0 {
                transaction.add_table();
                transaction.add_sets(&self.ruleset, &existing.sets_kept);
            }
            transaction.elements(SetName::Registered, Elements::Put, &registered);
            transaction.elements(SetName::Unregistered, Elements::Put, &unregistered);
            transaction.elements(SetName::RegisteredHardware, Elements::Put, hardware);
            if number == last {
                // There may be chains of ours, with rules by somebody else.
                transaction.clear(existing);
                transaction.add_rules(&self.ruleset);
                transaction.elements(SetName::GardenNames, Elements::Put, &names);
            }
            self.channel.commit()?;
            generation = after(generation);
        }
        Ok(generation)
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
        self.channel.begin(0);
        self.channel.transaction.add_table();
        self.channel.transaction.delete_table();
        self.channel.commit()
    }

    /// The way for addresses that names in the garden lead to. What it learns is in the set as long as
    /// this gate makes the table, whatever becomes of the table meanwhile.
    ///
    /// # Errors
    /// [`FirewallError`] if there is no socket.
    pub fn garden(&self) -> Result<Garden, FirewallError> {
        Garden::open(&self.ruleset, self.channel.abilities, Arc::clone(&self.learnt))
    }

    /// Keeps in mind what a former daemon had learnt, as far as this one would have learnt it: hosts use
    /// the answers that they have got.
    fn take_over_the_garden(&mut self) -> Result<(), FirewallError> {
        let name = SetName::GardenNames.name().to_bytes_with_nul();
        if !self.existing()?.sets.iter().any(|set| **set == *name) {
            return Ok(());
        }
        let found = self.dump(SetName::GardenNames)?;
        garden::take_over(&self.learnt, &self.ruleset, &found, Instant::now());
        Ok(())
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
        self.channel.bytes_max
    }

    fn dump(&mut self, set: SetName) -> Result<Vec<(Ipv4Addr, u64)>, FirewallError> {
        for _ in 0..ATTEMPTS_MAX {
            let read = existing::elements(&mut self.channel.socket, &self.ruleset.table, set)
                .map_err(|source| self.channel.unread(Subject::Elements(set), &source))?;
            if let Some(elements) = read {
                return Ok(elements);
            }
        }
        Err(FirewallError::Unsteady)
    }

    fn existing(&mut self) -> Result<Existing, FirewallError> {
        Existing::read(&mut self.channel.socket, &self.ruleset).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::EPERM) => FirewallError::CapabilityMissing,
                // There is no such subsystem.
                Some(libc::EINVAL) => self.channel.refusal(libc::EOPNOTSUPP, Subject::Batch),
                _ => self.channel.unread(Subject::Table, &source),
            }
        })
    }
}

/// Who holds an address that is let through by an Ethernet address, and for how many milliseconds.
fn held(change: &GateChange) -> Option<(EthernetAddress, u64)> {
    match (change.side, change.holder) {
        (Some((Side::Registered, life)), Some(holder)) => Some((holder, life)),
        _ => None,
    }
}

/// The kernel's generation after one more transaction.
fn after(generation: u32) -> u32 {
    // It passes over 0.
    generation.wrapping_add(1).max(1)
}

/// In ascending order of the addresses, each on the side of its last mention.
fn last_mentions(contents: &[(Ipv4Addr, Side, u64)]) -> Cow<'_, [(Ipv4Addr, Side, u64)]> {
    if contents.is_sorted_by(|(one, ..), (next, ..)| one < next) {
        return Cow::Borrowed(contents);
    }
    let mut contents = contents.to_vec();
    contents.sort_by_key(|(address, ..)| *address);
    // What is kept of equal ones is the first, so the last has to come first.
    contents.reverse();
    contents.dedup_by_key(|(address, ..)| *address);
    contents.reverse();
    Cow::Owned(contents)
}

/// The elements of one of the two sets.
fn on(wanted: Side, contents: &[(Ipv4Addr, Side, u64)]) -> Vec<(Ipv4Addr, u64)> {
    let on = contents.iter().filter(|(_, side, _)| *side == wanted);
    on.map(|&(address, _, life)| (address, life)).collect()
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("ruleset", &self.ruleset).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_named_twice_is_on_the_side_of_its_last_mention() {
        let element = |number, side, life| (Ipv4Addr::from_bits(number), side, life);
        let (registered, unregistered) = (Side::Registered, Side::Unregistered);
        let ascending = [element(1, registered, 5), element(2, unregistered, 7)];
        assert!(matches!(last_mentions(&ascending), Cow::Borrowed(same) if same == ascending));
        let twice = [
            element(2, registered, 1),
            element(1, unregistered, 2),
            element(2, unregistered, 3),
            element(1, registered, 4),
            element(2, unregistered, 7),
            element(1, registered, 5),
        ];
        assert_eq!(*last_mentions(&twice), ascending);
    }
}
