//! What one half says of an address and the other does not take: when it is offered again, and addresses that are in
//! the pools of one half only, by name.
//!
//! It never changes what either knows of an address.

use super::Failover;
use crate::failover::{BindingUpdate, FailoverNotice, PoolMismatch, Reject};
use crate::server::{Server, Step};
use crate::{AddressRange, Effect, Notice, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};

/// How long after the partner refused an update it is told again, in seconds. It refuses one while another
/// counts more, or while its clock says otherwise: both pass. Each time takes twice as long as the one before.
const REFUSED_AGAIN_SECONDS_MIN: u64 = 30;

/// The longest time between two offers of what the partner refuses, in seconds.
const REFUSED_AGAIN_SECONDS_MAX: u64 = 3600;

/// How long after the first address that is in the pools of one half only the operator is told, in seconds:
/// others follow. And how long after that again, if there were more.
const SAID_AFTER_SECONDS: u64 = 5;
const SAID_AGAIN_SECONDS: u64 = 60;

/// An update that the partner refused.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    times: u8,
    /// When it is offered again; `None`: it waits to be, or is under way.
    again_at: Option<Timestamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Disagreement {
    /// By address: of which the partner refused to be told what is so. No more than the pools have.
    refused: BTreeMap<u32, Refusal>,
    /// When which of them comes next.
    again: BTreeSet<(Timestamp, u32)>,
    /// Updates of this life that the partner refused, and that it was refused.
    pub(super) refused_by_partner: u64,
    pub(super) refused_here: u64,
    /// Addresses of the pools here that the partner says are in none of its, and the other way round. Of
    /// this connection; each at most [`limits::PAIR_MISMATCHED_ADDRESSES_MAX`].
    only_here: BTreeSet<u32>,
    only_there: BTreeSet<u32>,
    /// When the operator is to be told of them.
    say_at: Option<Timestamp>,
    said_at: Option<Timestamp>,
}

impl Disagreement {
    /// The partner refused what it was told of an address; it is told again if `is_so` still.
    pub(super) fn refused(&mut self, address: u32, reject: Reject, is_so: bool, now: Timestamp) {
        self.refused_by_partner += 1;
        if is_so {
            let times = self.refused.get(&address).map_or(0, |refusal| refusal.times);
            let seconds = REFUSED_AGAIN_SECONDS_MIN << times.min(7);
            let again_at = now.plus_seconds(seconds.min(REFUSED_AGAIN_SECONDS_MAX));
            let again_at = Some(again_at);
            let old =
                self.refused.insert(address, Refusal { times: times.saturating_add(1), again_at });
            self.again.extend(again_at.map(|at| (at, address)));
            if let Some(at) = old.and_then(|old| old.again_at) {
                self.again.remove(&(at, address));
            }
        }
        if reject == Reject::IllegalAddress {
            let is_new = Self::note(&mut self.only_here, address);
            self.say_soon(is_new, now);
        }
    }

    /// An update of the partner's was refused.
    pub(super) fn refused_here(&mut self, address: u32, reject: Reject, now: Timestamp) {
        self.refused_here += 1;
        if reject == Reject::IllegalAddress {
            let is_new = Self::note(&mut self.only_there, address);
            self.say_soon(is_new, now);
        }
    }

    fn note(addresses: &mut BTreeSet<u32>, address: u32) -> bool {
        addresses.len() < limits::PAIR_MISMATCHED_ADDRESSES_MAX && addresses.insert(address)
    }

    fn say_soon(&mut self, is_new: bool, now: Timestamp) {
        if is_new && self.say_at.is_none() {
            let soon = now.plus_seconds(SAID_AFTER_SECONDS);
            let rest = self.said_at.map(|said| said.plus_seconds(SAID_AGAIN_SECONDS));
            self.say_at = Some(rest.map_or(soon, |rest| rest.max(soon)));
        }
    }

    /// The partner took what it was told of an address, or something else has become of it.
    pub(super) fn settled(&mut self, address: u32) {
        let refusal = self.refused.remove(&address);
        if let Some(at) = refusal.and_then(|refusal| refusal.again_at) {
            self.again.remove(&(at, address));
        }
    }

    /// The partner took an address for one of its pools'.
    pub(super) fn taken(&mut self, address: u32) {
        self.settled(address);
        self.only_here.remove(&address);
    }

    /// Another connection: what was configured may have changed.
    pub(super) fn met(&mut self) {
        self.only_here.clear();
        self.only_there.clear();
        self.say_at = None;
    }

    /// How many addresses the partner refuses to be told of.
    pub(super) fn open(&self) -> u64 {
        self.refused.len() as u64
    }

    /// The pools that are not the same.
    pub(super) fn mismatch(&self) -> PoolMismatch {
        PoolMismatch {
            only_here: ranges(&self.only_here),
            only_here_count: self.only_here.len() as u64,
            only_there: ranges(&self.only_there),
            only_there_count: self.only_there.len() as u64,
        }
    }

    /// When something is due.
    pub(super) fn wakes(&self) -> Option<Timestamp> {
        let again = self.again.first().map(|(at, _)| *at);
        [again, self.say_at].into_iter().flatten().min()
    }

    /// Those that are to be offered again now: those that are due, or `all`.
    fn take_due(&mut self, all: bool, now: Timestamp) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some((at, address)) = self.again.first().copied()
            && (all || at <= now)
        {
            self.again.pop_first();
            if let Some(refusal) = self.refused.get_mut(&address) {
                refusal.again_at = None;
            }
            due.push(address);
        }
        due
    }
}

/// The ranges that addresses make up, as many as are named.
fn ranges(addresses: &BTreeSet<u32>) -> Vec<AddressRange> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for address in addresses.iter().copied() {
        if let Some((_, last)) = ranges.last_mut()
            && last.checked_add(1) == Some(address)
        {
            *last = address;
        } else if ranges.len() < limits::PAIR_MISMATCHED_RANGES_MAX {
            ranges.push((address, address));
        } else {
            break;
        }
    }
    ranges
        .into_iter()
        .map(|(first, last)| AddressRange { first: first.into(), last: last.into() })
        .collect()
}

impl Failover {
    /// What the partner refused is offered to it again: what is due, or `all` of it.
    pub(super) fn requeue_refused(&mut self, all: bool, now: Timestamp) {
        for address in self.disagreement.take_due(all, now) {
            let mut binding = self.pair.get(address);
            if !binding.is_acknowledged() && !binding.is_waiting() {
                binding.set_waiting(true);
                self.waiting.push_back(address);
                self.pair.set(address, binding);
            }
        }
    }
}

impl Server {
    /// Offers the partner again what it refused, and tells the operator of pools that differ, when it is time.
    pub(super) fn tend_disagreement(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        failover.requeue_refused(false, now);
        if failover.disagreement.say_at.is_some_and(|at| at <= now) {
            failover.disagreement.say_at = None;
            failover.disagreement.said_at = Some(now);
            let notice = FailoverNotice::PoolsDiffer(failover.disagreement.mismatch());
            step.effects.push(Effect::Notice(Notice::Failover(notice)));
        }
    }

    /// An update of the partner's is refused.
    pub(super) fn refuse_update(
        &mut self,
        update: &BindingUpdate,
        reject: Reject,
        step: &mut Step<'_>,
    ) {
        let now = self.now;
        let BindingUpdate { address, status, .. } = *update;
        if let Some(failover) = self.failover.as_deref_mut() {
            failover.disagreement.refused_here(address.into(), reject, now);
        }
        let notice = FailoverNotice::UpdateRefused { address, status, reject };
        step.effects.push(Effect::Notice(Notice::Failover(notice)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    #[test]
    fn each_refusal_takes_twice_as_long_as_the_one_before_up_to_an_hour() {
        let mut all = Disagreement::default();
        let mut now = NOW;
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
            all.refused(1, Reject::FatalConflict, true, now);
            assert_eq!(all.wakes(), Some(now.plus_seconds(seconds)));
            now = now.plus_seconds(seconds);
            assert_eq!(all.take_due(false, Timestamp::from_seconds(now.seconds() - 1)), []);
            assert_eq!(all.take_due(false, now), [1]);
            assert_eq!(all.wakes(), None);
        }
        assert_eq!((all.open(), all.refused_by_partner), (1, 10));
        // A comparison does not wait, and what has changed begins anew.
        all.refused(1, Reject::FatalConflict, true, now);
        assert_eq!(all.take_due(true, now), [1]);
        all.settled(1);
        all.refused(1, Reject::FatalConflict, true, now);
        assert_eq!(all.wakes(), Some(now.plus_seconds(30)));
        all.settled(1);
        assert_eq!((all.open(), all.wakes()), (0, None));
    }

    #[test]
    fn addresses_are_named_in_ranges_and_no_more_than_may_be() {
        let mut all = Disagreement::default();
        for address in [10, 11, 12, 20] {
            all.refused(address, Reject::IllegalAddress, false, NOW);
        }
        let range = |first: u32, last: u32| AddressRange { first: first.into(), last: last.into() };
        let mismatch = all.mismatch();
        assert_eq!(mismatch.only_here, [range(10, 12), range(20, 20)]);
        assert_eq!((mismatch.only_here_count, mismatch.only_there_count), (4, 0));
        all.taken(11);
        assert_eq!(all.mismatch().only_here, [range(10, 10), range(12, 12), range(20, 20)]);
        for address in 0..2 * limits::PAIR_MISMATCHED_ADDRESSES_MAX {
            all.refused_here(2 * u32::try_from(address).unwrap(), Reject::IllegalAddress, NOW);
        }
        let mismatch = all.mismatch();
        assert_eq!(mismatch.only_there.len(), limits::PAIR_MISMATCHED_RANGES_MAX);
        assert_eq!(mismatch.only_there_count, limits::PAIR_MISMATCHED_ADDRESSES_MAX as u64);
        all.met();
        assert_eq!(all.mismatch(), PoolMismatch::default());
    }
}
