//! All of the history: the table of what is open, what has come since the last archive, the archives.
//!
//! One thread changes it (see `worker`), and others look things up meanwhile. What changes it in memory
//! is here; what is written is in the log before anybody relies on it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::{Archive, Kind};
use super::fold::{Change, Fold};
use super::handle::Networks;
use super::interval::{Ended, GrantedBy, Interval, Ownership, Place, subject_of};
use super::log::Changes;
use super::policy::Policy;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use vestibule_core::exchange::ExchangeRecord;
use vestibule_core::{HardwareAddress, Record, Registration, Timestamp};

/// What is between the log and the archives.
#[derive(Debug)]
pub(super) struct State {
    pub(super) policy: Policy,
    pub(super) fold: Fold,
    /// The newest version of everything that is in the log and in no archive.
    pub(super) recent: BTreeMap<Place, Interval>,
    pub(super) archives: Vec<Arc<Archive>>,
    /// Networks by the first and last address of their subnets.
    pub(super) networks: Networks,
    /// The newest time that the journal has told.
    pub(super) newest: Timestamp,
    /// Intervals whose beginning could not be found when they ended.
    pub(super) unknown: u64,
}

impl State {
    /// Takes a record of the journal in. `now`: what time it is, if the record was written just now; the
    /// end of a registration has no time of its own.
    pub(super) fn record(&mut self, record: &Record, now: Option<Timestamp>, log: &mut Changes) {
        let mut changes = Vec::new();
        let time = self.newest.max(now.unwrap_or_default());
        match record {
            Record::Lease(lease) => {
                self.newest = self.newest.max(lease.changed);
                self.fold.lease(lease, &mut changes);
            }
            Record::LeaseForgotten(address) => self.fold.forgotten(*address, time, &mut changes),
            Record::PairBinding(binding) => self.fold.pair(binding, &mut changes),
            Record::Registration(registration) => {
                self.fold.other();
                self.registered(registration, time, log);
            }
            Record::RegistrationRemoved(hardware) => {
                self.fold.other();
                self.unregistered(*hardware, time, log);
            }
            Record::Exchange(ExchangeRecord::Registration { registration, taken, .. }) => {
                self.fold.other();
                self.registered(registration, time.max(*taken), log);
            }
            Record::Exchange(ExchangeRecord::Ended { hardware, taken, .. }) => {
                self.fold.other();
                self.unregistered(*hardware, time.max(*taken), log);
            }
            Record::Time(time) => self.newest = self.newest.max(*time),
            Record::HoldOff(_)
            | Record::Exchange(_)
            | Record::Failover(_)
            | Record::Voucher(_)
            | Record::VoucherRemoved(_) => self.fold.other(),
        }
        self.take(changes, log);
    }

    /// Takes in what the fold has found.
    pub(super) fn take(&mut self, changes: Vec<Change>, log: &mut Changes) {
        for change in changes {
            match change {
                Change::Began(mut holding) => {
                    holding.network = self.network_of(holding.address);
                    self.put(Interval::Holding(holding), log);
                }
                Change::Ended { address, from, until, ended } => {
                    self.amend(address, from, log, |interval| {
                        if let Interval::Holding(holding) = interval {
                            (holding.until, holding.ended) = (until, Some(ended));
                        }
                    });
                }
                Change::Partners { address, from } => self.amend(address, from, log, |interval| {
                    if let Interval::Holding(holding) = interval {
                        holding.granted_by = GrantedBy::Partner;
                    }
                }),
            }
        }
        for address in std::mem::take(&mut self.fold.touched) {
            log.entry(address, self.fold.table.get(address));
        }
    }

    fn amend(
        &mut self,
        address: Ipv4Addr,
        from: Timestamp,
        log: &mut Changes,
        how: impl FnOnce(&mut Interval),
    ) {
        let place = Place { subject: u32::from(address).into(), from: from.milliseconds() };
        match self.at(place) {
            Some(mut interval) => {
                how(&mut interval);
                self.put(interval, log);
            }
            None => self.unknown += 1,
        }
    }

    fn put(&mut self, mut interval: Interval, log: &mut Changes) {
        if self.policy.strip(&mut interval) {
            log.put(&interval);
            self.recent.insert(interval.place(), interval);
        }
    }

    /// The newest version of what stands at this place.
    pub(super) fn at(&self, place: Place) -> Option<Interval> {
        if let Some(interval) = self.recent.get(&place) {
            return Some(interval.clone());
        }
        let mut newest: Option<Interval> = None;
        for archive in self.archives.iter().rev() {
            let found = archive.at(place);
            if let Some(found) = found
                && newest.as_ref().is_none_or(|newest| found.is_newer_than(newest))
            {
                newest = Some(found);
            }
        }
        newest
    }

    /// What is known of a device's registrations: every version of every interval, newest last.
    pub(super) fn ownerships_of(&self, hardware: HardwareAddress) -> Vec<Ownership> {
        ownerships_of(&self.recent, &self.archives, hardware)
    }

    fn registered(&mut self, registration: &Registration, now: Timestamp, log: &mut Changes) {
        let Registration { hardware, owner, role, registered, expires, .. } = registration;
        let before = self.ownerships_of(*hardware).pop();
        let until = expires.unwrap_or(Timestamp::FOREVER);
        let mut from = *registered;
        if let Some(before) = before {
            let is_open = before.ended.is_none() && before.until > *registered;
            let is_same = (&before.owner, &before.role) == (owner, role);
            let is_known = self.knows(&before, owner.as_deref(), role.as_deref());
            if is_open && (is_same || is_known) {
                if before.until != until {
                    self.put(Interval::Ownership(Ownership { until, ..before }), log);
                }
                return;
            }
            if is_open {
                let at = now.max(next(before.from));
                from = at;
                let ended = Some(Ended::Changed);
                self.put(Interval::Ownership(Ownership { until: at, ended, ..before }), log);
            } else {
                from = from.max(if before.ended.is_some() { before.until } else { from });
                from = from.max(next(before.from));
            }
        }
        let ownership = Ownership {
            hardware: *hardware,
            from,
            until,
            ended: None,
            owner: owner.clone(),
            role: role.clone(),
        };
        self.put(Interval::Ownership(ownership), log);
    }

    /// Whether an interval would be the same if what is dropped were dropped of these, too.
    fn knows(&self, before: &Ownership, owner: Option<&str>, role: Option<&str>) -> bool {
        let mut wanted = Interval::Ownership(Ownership {
            owner: owner.map(Into::into),
            role: role.map(Into::into),
            ..before.clone()
        });
        let _is_something = self.policy.strip(&mut wanted);
        wanted == Interval::Ownership(before.clone())
    }

    fn unregistered(&mut self, hardware: HardwareAddress, now: Timestamp, log: &mut Changes) {
        let Some(before) = self.ownerships_of(hardware).pop() else { return };
        if before.ended.is_some() {
            return;
        }
        let is_over = before.until <= now;
        let ended = Some(if is_over { Ended::Expired } else { Ended::Removed });
        let until = if is_over { before.until } else { now }.max(next(before.from));
        self.put(Interval::Ownership(Ownership { until, ended, ..before }), log);
    }

    fn network_of(&self, address: Ipv4Addr) -> Option<Box<str>> {
        self.networks.name_of(address)
    }
}

/// The intervals of a device's registrations, each in its newest version, oldest first.
pub(super) fn ownerships_of(
    recent: &BTreeMap<Place, Interval>,
    archives: &[Arc<Archive>],
    hardware: HardwareAddress,
) -> Vec<Ownership> {
    let subject = subject_of(hardware);
    let first = Place { subject, from: 0 };
    let mut found: BTreeMap<u64, Ownership> = BTreeMap::new();
    let mut take = |interval: Interval| {
        let place = interval.place();
        let is_newer = match found.get(&place.from) {
            Some(known) => interval.is_newer_than(&Interval::Ownership(known.clone())),
            None => true,
        };
        if place.subject == subject
            && is_newer
            && let Interval::Ownership(ownership) = interval
            && ownership.hardware == hardware
        {
            found.insert(place.from, ownership);
        }
    };
    for archive in archives.iter().filter(|archive| archive.kind == Kind::Owners) {
        for block in archive.blocks_of(first) {
            archive.block(block).into_iter().for_each(&mut take);
        }
    }
    let last = Place { subject, from: u64::MAX };
    recent.range(first..=last).map(|(_, interval)| interval.clone()).for_each(&mut take);
    found.into_values().collect()
}

fn next(from: Timestamp) -> Timestamp {
    Timestamp::from_milliseconds(from.milliseconds().saturating_add(1))
}
