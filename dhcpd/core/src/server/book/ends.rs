//! Which lease ends next.
//!
//! Entries that wait for their end stand in lists, one for each second; only those whose second has
//! come are put in order, a bounded number at a time. So a renewal costs the same with a million
//! leases as with a few, and a hundred thousand ends in one second are no step's burden.
//!
//! A renewal moves an end to a later second, and leaves the entry where it is: it goes on to its new
//! second when the old one has come. So neither a renewal nor a RELEASE touches the two neighbours in
//! the list, which are hardly ever in the processor's cache.

use super::table::{SlotId, Table};
use crate::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Where an entry waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// Nowhere.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// Among those whose second has come.
    const NEAR: Self = Self(u32::MAX - 1);

    /// The list of the last second: everything that ends in it or after it, in the year 2106.
    const LAST: u32 = u32::MAX - 2;

    /// The list of an end.
    fn of(end: Timestamp) -> Self {
        Self(u32::try_from(end.seconds()).unwrap_or(Self::LAST).min(Self::LAST))
    }

    /// The beginning of the list's second.
    fn begins(self) -> Timestamp {
        Timestamp::from_seconds(self.0.into())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The first entry of each second's list.
    seconds: BTreeMap<u32, SlotId>,
    /// Entries whose second has come, by their end and address.
    near: BTreeSet<(Timestamp, u32)>,
}

impl Ends {
    /// Sees to it that an entry is found when its end has come.
    pub(super) fn insert(&mut self, table: &mut Table, id: SlotId) {
        let slot = table.slot(id);
        let (waits, wanted) = (slot.queued, Place::of(slot.ends()));
        if waits != Place::NONE {
            if waits.0 <= wanted.0 {
                return;
            }
            self.remove(table, id);
        }
        self.put_into_list(table, id, wanted);
    }

    /// To be called before the end of an entry changes.
    pub(super) fn let_change(&mut self, table: &mut Table, id: SlotId) {
        // Those near are in order of their ends.
        if table.slot(id).queued == Place::NEAR {
            self.remove(table, id);
        }
    }

    /// Takes an entry out, if it is in.
    pub(super) fn remove(&mut self, table: &mut Table, id: SlotId) {
        let slot = table.slot(id);
        let (before, after) = (slot.queue_before, slot.queue_after);
        match slot.queued {
            Place::NONE => return,
            Place::NEAR => {
                self.near.remove(&(slot.ends(), slot.address().into()));
            }
            Place(second) => {
                match (before.some(), after.some()) {
                    (Some(before), _) => table.slot_mut(before).queue_after = after,
                    (None, Some(after)) => {
                        self.seconds.insert(second, after);
                    }
                    (None, None) => {
                        self.seconds.remove(&second);
                    }
                }
                if let Some(after) = after.some() {
                    table.slot_mut(after).queue_before = before;
                }
            }
        }
        table.slot_mut(id).queued = Place::NONE;
    }

    /// Looks at entries whose second has come, `count_max` at most, and puts in order what ends in it.
    pub(super) fn come_near(&mut self, table: &mut Table, now: Timestamp, count_max: usize) {
        for _ in 0..count_max {
            let Some((second, first)) = self.seconds.first_key_value() else { return };
            let (place, id) = (Place(*second), *first);
            if place.begins() > now {
                return;
            }
            self.remove(table, id);
            let slot = table.slot(id);
            if !slot.waits_for_its_end() {
                continue;
            }
            let wanted = Place::of(slot.ends());
            if wanted.0 > place.0 {
                self.put_into_list(table, id, wanted);
            } else {
                self.near.insert((slot.ends(), slot.address().into()));
                table.slot_mut(id).queued = Place::NEAR;
            }
        }
    }

    /// The first end of those that are in order.
    pub(super) fn first_near(&self) -> Option<(Timestamp, u32)> {
        self.near.first().copied()
    }

    /// Nothing ends before this time: the first end, or the beginning of the first second.
    pub(super) fn not_before(&self) -> Option<Timestamp> {
        let near = self.near.first().map(|(end, _)| *end);
        let second = self.seconds.first_key_value().map(|(second, _)| Place(*second).begins());
        near.into_iter().chain(second).min()
    }

    fn put_into_list(&mut self, table: &mut Table, id: SlotId, place: Place) {
        let first = self.seconds.insert(place.0, id).unwrap_or(SlotId::NONE);
        let slot = table.slot_mut(id);
        slot.queued = place;
        slot.queue_before = SlotId::NONE;
        slot.queue_after = first;
        if let Some(first) = first.some() {
            table.slot_mut(first).queue_before = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;
    use crate::{BindingState, ClientIdentifier, HardwareAddress, Lease};
    use proptest::prelude::*;

    fn lease(address: u32, ends: u64) -> Lease {
        let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]);
        Lease {
            address: address.into(),
            client: ClientIdentifier::Hardware(hardware),
            hardware,
            state: BindingState::Active,
            started: Timestamp::ZERO,
            changed: Timestamp::ZERO,
            ends: Timestamp::from_milliseconds(ends),
            relay: None,
            relay_agent: None,
            host_name: None,
        }
    }

    #[derive(Clone, Debug)]
    enum Change {
        Ends(u32, u64),
        Released(u32),
        Forgotten(u32),
        Passes(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        let far = (u64::from(u32::MAX) - 3) * 1000;
        let end = prop_oneof![9 => 0..9000_u64, 1 => far..far + 9000];
        prop_oneof![
            6 => (0..12_u32, end).prop_map(|(address, end)| Change::Ends(address, end)),
            2 => (0..12_u32).prop_map(Change::Released),
            1 => (0..12_u32).prop_map(Change::Forgotten),
            4 => (0..900_u64).prop_map(Change::Passes),
        ]
    }

    proptest! {
        /// Against a plain ordered set.
        #[test]
        fn everything_ends_in_order_and_in_time(
            changes in prop::collection::vec(change(), 1..200), count_max in 1..6_usize,
        ) {
            let mut table = Table::default();
            let mut ends = Ends::default();
            let mut expected: BTreeSet<(u64, u32)> = BTreeSet::new();
            let mut now = 0;
            for change in changes.into_iter().chain([Change::Passes(5_000_000_000_000)]) {
                match change {
                    Change::Ends(address, end) => {
                        let id = if let Some(id) = table.find(address) {
                            ends.let_change(&mut table, id);
                            table.replace(id, &lease(address, end));
                            id
                        } else {
                            table.insert(&lease(address, end))
                        };
                        table.slot_mut(id).set_standing(Standing::Held(None));
                        ends.insert(&mut table, id);
                        expected.retain(|(_, other)| *other != address);
                        expected.insert((end, address));
                    }
                    Change::Released(address) => {
                        let Some(id) = table.find(address) else { continue };
                        ends.let_change(&mut table, id);
                        table.slot_mut(id).set_standing(Standing::Ended);
                        expected.retain(|(_, other)| *other != address);
                    }
                    Change::Forgotten(address) => {
                        let Some(id) = table.find(address) else { continue };
                        ends.remove(&mut table, id);
                        table.remove(address);
                        expected.retain(|(_, other)| *other != address);
                    }
                    Change::Passes(milliseconds) => {
                        now += milliseconds;
                        let now = Timestamp::from_milliseconds(now);
                        let mut ended = Vec::new();
                        while ends.not_before().is_some_and(|next| next <= now) {
                            ends.come_near(&mut table, now, count_max);
                            let Some((end, address)) = ends.first_near() else { continue };
                            if end > now {
                                continue;
                            }
                            let id = table.find(address).unwrap();
                            ends.let_change(&mut table, id);
                            table.slot_mut(id).set_standing(Standing::Ended);
                            ended.push(address);
                        }
                        let due = expected.iter().filter(|(end, _)| *end <= now.milliseconds());
                        let mut due: Vec<u32> = due.map(|(_, address)| *address).collect();
                        expected.retain(|(end, _)| *end > now.milliseconds());
                        due.sort_unstable();
                        ended.sort_unstable();
                        prop_assert_eq!(ended, due);
                    }
                }
            }
        }
    }
}
