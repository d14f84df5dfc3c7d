//! Which lease ends next.
//!
//! Entries that wait for their end stand in lists, one for each second; only those whose second has
//! come are put in order, a bounded number at a time. So a renewal costs the same with a million
//! leases as with a few, and a hundred thousand ends in one second are no step's burden.

use super::table::{SlotId, Table};
use crate::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The first entry of each second's list.
    seconds: BTreeMap<u64, SlotId>,
    /// Entries whose second has come, by their end and address.
    near: BTreeSet<(Timestamp, u32)>,
}

impl Ends {
    /// Takes an entry in; its end does not change while it is in.
    pub(super) fn insert(&mut self, table: &mut Table, id: SlotId) {
        let first = self.seconds.insert(table.get(id).ends().seconds(), id);
        let first = first.unwrap_or(SlotId::NONE);
        let entry = table.get_mut(id);
        entry.queue_before = SlotId::NONE;
        entry.queue_after = first;
        if let Some(first) = first.some() {
            table.get_mut(first).queue_before = id;
        }
    }

    /// Takes an entry out, which is in.
    pub(super) fn remove(&mut self, table: &mut Table, id: SlotId) {
        let entry = table.get(id);
        if !self.near.is_empty() && self.near.remove(&(entry.ends(), entry.address().into())) {
            return;
        }
        let (before, after) = (entry.queue_before, entry.queue_after);
        let second = entry.ends().seconds();
        match (before.some(), after.some()) {
            (Some(before), _) => table.get_mut(before).queue_after = after,
            (None, Some(after)) => {
                self.seconds.insert(second, after);
            }
            (None, None) => {
                self.seconds.remove(&second);
            }
        }
        if let Some(after) = after.some() {
            table.get_mut(after).queue_before = before;
        }
    }

    /// Puts entries in order whose second has come, `count_max` at most.
    pub(super) fn come_near(&mut self, table: &mut Table, now: Timestamp, count_max: usize) {
        for _ in 0..count_max {
            let Some(mut first) = self.seconds.first_entry() else { return };
            if *first.key() > now.seconds() {
                return;
            }
            let id = *first.get();
            let entry = table.get(id);
            self.near.insert((entry.ends(), entry.address().into()));
            match entry.queue_after.some() {
                Some(after) => {
                    first.insert(after);
                    table.get_mut(after).queue_before = SlotId::NONE;
                }
                None => {
                    first.remove();
                }
            }
        }
    }

    /// The first end of those that are in order.
    pub(super) fn first_near(&self) -> Option<(Timestamp, u32)> {
        self.near.first().copied()
    }

    /// Nothing ends before this time: the first end, or the beginning of its second.
    pub(super) fn not_before(&self) -> Option<Timestamp> {
        let near = self.near.first().map(|(end, _)| *end);
        let second = self.seconds.first_key_value();
        near.into_iter().chain(second.map(|(second, _)| Timestamp::from_seconds(*second))).min()
    }
}
