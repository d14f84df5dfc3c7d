//! From leases to intervals: what a lease that has become durable means for who holds its address.
//!
//! It is pure: it keeps the [`Table`] of what is open, is told each record in the order of the journal,
//! and says what began, what went on and what ended. It promises that the intervals of one address never
//! overlap, whatever clocks did, that each begins before or when it ends, and that telling it a record
//! again changes nothing.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::interval::{Ended, GrantedBy, Holding};
use super::table::{DigestKey, Open, Table, digests};
use std::net::Ipv4Addr;
use vestibule_core::failover::{BindingStatus, PairBinding};
use vestibule_core::{BindingState, ClientIdentifier, Lease, Timestamp};

/// What follows from a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A client has got an address. Its network is not filled in.
    Began(Holding),
    /// The interval that began then is over.
    Ended { address: Ipv4Addr, from: Timestamp, until: Timestamp, ended: Ended },
    /// It was the partner that granted the interval that began then.
    Partners { address: Ipv4Addr, from: Timestamp },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) key: DigestKey,
    pub(super) table: Table,
    /// Addresses whose entries have changed since they were last taken.
    pub(super) touched: Vec<Ipv4Addr>,
    /// What comes may be older than what is known: leases were taken from the book meanwhile.
    pub(super) is_catching_up: bool,
    /// The address of the lease that came just before: a pair's record of it says who granted it.
    granted: Option<Ipv4Addr>,
}

impl Fold {
    pub(super) fn new(key: DigestKey, table: Table) -> Self {
        Self { key, table, touched: Vec::new(), is_catching_up: false, granted: None }
    }

    /// The newest image of an address's lease.
    pub(super) fn lease(&mut self, lease: &Lease, changes: &mut Vec<Change>) {
        self.granted = None;
        let known = self.table.get(lease.address);
        if self.is_catching_up && known.is_some_and(|known| lease.changed < known.from) {
            return;
        }
        let open = known.filter(|known| !known.is_over);
        let (holder, place) = digests(&self.key, lease);
        let same = open.filter(|open| open.holder == holder);
        match lease.state {
            BindingState::Active if lease.ends > lease.started.max(lease.changed) => {
                match same.filter(|open| lease.started <= open.from && lease.changed <= open.ends) {
                    Some(open) if open.place == place => self.go_on(lease, open),
                    Some(open) => {
                        self.end(lease.address, open, lease.changed, Ended::Moved, changes);
                        self.begin(lease, lease.changed, changes);
                    }
                    None => {
                        if let Some(open) = open {
                            let is_over = open.ends <= lease.started;
                            let how = if is_over { Ended::Expired } else { Ended::Superseded };
                            self.end(lease.address, open, lease.started, how, changes);
                        }
                        self.begin(lease, lease.started, changes);
                    }
                }
            }
            // It is over already, as a partner says it.
            BindingState::Active => {
                self.over(lease, open, same, lease.ends, Ended::Expired, changes);
            }
            BindingState::Released => {
                self.over(lease, open, same, lease.ends, Ended::Released, changes);
            }
            BindingState::Declined => {
                self.over(lease, open, same, lease.changed, Ended::Declined, changes);
            }
        }
    }

    /// What the pair knows of an address: whose grant the lease just before was.
    pub(super) fn pair(&mut self, binding: &PairBinding, changes: &mut Vec<Change>) {
        let is_partners = self.granted.take() == Some(binding.address)
            && binding.status == BindingStatus::Active
            && binding.is_acknowledged;
        if is_partners && let Some(open) = self.table.open(binding.address) {
            self.set(binding.address, Some(Open { granted_by: GrantedBy::Partner, ..open }));
            changes.push(Change::Partners { address: binding.address, from: open.from });
        }
    }

    /// A record that is about something else.
    pub(super) fn other(&mut self) {
        self.granted = None;
    }

    /// Nobody knows anything of the address any more.
    pub(super) fn forgotten(
        &mut self,
        address: Ipv4Addr,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        self.granted = None;
        let Some(open) = self.table.open(address) else { return };
        let how = if open.ends <= now { Ended::Expired } else { Ended::Forgotten };
        self.end(address, open, now, how, changes);
    }

    /// Ends what ran out before `before`, `count_max` at most, from an address on. Where to go on; `None`:
    /// nothing is left.
    pub(super) fn sweep(
        &mut self,
        from: u32,
        before: Timestamp,
        count_max: usize,
        changes: &mut Vec<Change>,
    ) -> Option<u32> {
        let over: Vec<(Ipv4Addr, Open)> = self
            .table
            .open_from(from)
            .filter(|(_, open)| open.ends < before)
            .take(count_max)
            .collect();
        let is_all = over.len() < count_max;
        let last = over.last().map(|(address, _)| u32::from(*address));
        for (address, open) in over {
            self.end(address, open, open.ends, Ended::Expired, changes);
        }
        if is_all { None } else { last.and_then(|last| last.checked_add(1)) }
    }

    fn go_on(&mut self, lease: &Lease, open: Open) {
        let ends = Open::new(&self.key, lease, open.from).ends;
        if ends != open.ends {
            self.set(lease.address, Some(Open { ends, ..open }));
        }
    }

    fn over(
        &mut self,
        lease: &Lease,
        open: Option<Open>,
        same: Option<Open>,
        at: Timestamp,
        how: Ended,
        changes: &mut Vec<Change>,
    ) {
        let Some(open) = open else { return };
        let how = if open.ends <= at.min(lease.changed) {
            Ended::Expired
        } else if same.is_some() {
            how
        } else {
            Ended::Superseded
        };
        self.end(lease.address, open, at, how, changes);
    }

    fn begin(&mut self, lease: &Lease, from: Timestamp, changes: &mut Vec<Change>) {
        // Not before the one before it ended, whatever clocks did.
        let ended = self.table.get(lease.address).map_or(Timestamp::ZERO, |before| before.from);
        let from = from.max(ended);
        let open = Open::new(&self.key, lease, from);
        self.set(lease.address, Some(open));
        self.granted = Some(lease.address);
        changes.push(Change::Began(Holding {
            address: lease.address,
            from,
            until: open.ends.max(next(from)),
            ended: None,
            granted_by: GrantedBy::ThisServer,
            hardware: lease.hardware,
            client_identifier: match &lease.client {
                ClientIdentifier::Option61(bytes) => Some(bytes.clone()),
                ClientIdentifier::Hardware(_) => None,
            },
            host_name: lease.host_name.clone(),
            relay: lease.relay,
            relay_agent: lease.relay_agent.clone(),
            network: None,
        }));
    }

    fn end(
        &mut self,
        address: Ipv4Addr,
        open: Open,
        at: Timestamp,
        ended: Ended,
        changes: &mut Vec<Change>,
    ) {
        // Each has a length, so that no two begin at once.
        let until = at.min(open.ends).max(next(open.from));
        self.set(address, Some(Open { from: until, ends: until, is_over: true, ..open }));
        changes.push(Change::Ended { address, from: open.from, until, ended });
    }

    fn set(&mut self, address: Ipv4Addr, open: Option<Open>) {
        self.table.set(address, open);
        self.touched.push(address);
    }
}

/// The earliest end of an interval that began then.
fn next(from: Timestamp) -> Timestamp {
    Timestamp::from_milliseconds(from.milliseconds().saturating_add(1))
}

#[cfg(test)]
mod tests;
