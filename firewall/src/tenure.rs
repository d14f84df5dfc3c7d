//! Until when addresses are in a set, and whose flows are still to be deleted. Pure: no clock, no IO.
//!
//! An address that is in no set carries no packets, so what is tracked of its last holder does no harm
//! until it enters a set again. So the deletion may come late, and once for many addresses; but no other
//! holder may come before it. Times are whole seconds since the gate was opened, rounded up with a second of
//! grace: the kernel lets an element live some milliseconds longer than it was told, and a packet that met
//! the former sets may still be on its way to being tracked.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// A second since the gate was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Second(u32);

impl Second {
    /// Of an address that is being put in a set, or was put with an outcome that nobody knows.
    const NEVER: Self = Self(u32::MAX);

    /// The one that is under way.
    pub(crate) fn under_way(milliseconds: u64) -> Self {
        Self(u32::try_from(milliseconds / 1000).unwrap_or(u32::MAX - 1))
    }

    /// From when on a reading of the flows finds all that began until then.
    fn after(milliseconds: u64) -> Self {
        Self(Self::under_way(milliseconds).0.saturating_add(2).min(u32::MAX - 1))
    }

    /// Milliseconds from the opening of the gate to its beginning.
    pub(crate) fn begins(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

/// See the module. It holds no more addresses than were ever put into a set since it was made.
#[derive(Debug, Default)]
pub(crate) struct Tenures {
    /// When an address leaves, or left.
    ends: HashMap<Ipv4Addr, Second>,
    /// How many leave in a second, of those whose flows are still there.
    leaving: BTreeMap<Second, u32>,
    /// The flows of all who left until then are deleted.
    deleted: Second,
}

impl Tenures {
    /// All flows but those of these addresses are deleted: address, and milliseconds of life.
    pub(crate) fn reset(&mut self, held: impl Iterator<Item = (Ipv4Addr, u64)>, now: u64) {
        self.ends.clear();
        self.leaving.clear();
        self.deleted = Second::under_way(now);
        for (address, life) in held {
            self.stays(address, life, now);
        }
    }

    /// An address is about to be put in a set. Whether there may be flows of it.
    pub(crate) fn enters(&mut self, address: Ipv4Addr) -> bool {
        self.set(address, Second::NEVER).is_some_and(|ended| ended > self.deleted)
    }

    /// An address was put in a set for so many milliseconds.
    pub(crate) fn stays(&mut self, address: Ipv4Addr, life: u64, now: u64) {
        self.set(address, Second::after(now.saturating_add(life)));
    }

    /// An address was taken out.
    pub(crate) fn leaves(&mut self, address: Ipv4Addr, now: u64) {
        // One that is long gone does not leave again.
        let has_flows = self.ends.get(&address).is_some_and(|ended| *ended > self.deleted);
        let second = Second::after(now);
        if has_flows && self.ends.get(&address).is_some_and(|ended| *ended > second) {
            self.set(address, second);
        }
    }

    /// Whether the flows of an address are to be deleted in a turn that began in a second.
    pub(crate) fn is_over(&self, address: Ipv4Addr, by: Second) -> bool {
        self.ends.get(&address).is_some_and(|ended| (self.deleted < *ended) && *ended <= by)
    }

    /// Whether anything is known of an address.
    pub(crate) fn knows(&self, address: Ipv4Addr) -> bool {
        self.ends.contains_key(&address)
    }

    /// The second in which the flows of somebody are to be deleted next.
    pub(crate) fn next(&self) -> Option<Second> {
        self.leaving.first_key_value().map(|(second, _)| *second)
    }

    /// The flows of all who left until then are deleted.
    pub(crate) fn deleted(&mut self, by: Second) {
        if by > self.deleted {
            self.deleted = by;
            self.leaving = self.leaving.split_off(&Second(by.0 + 1));
        }
    }

    fn set(&mut self, address: Ipv4Addr, second: Second) -> Option<Second> {
        let before = self.ends.insert(address, second);
        if before != Some(second) {
            if let Some(before) = before
                && let Some(count) = self.leaving.get_mut(&before)
            {
                *count -= 1;
                if *count == 0 {
                    self.leaving.remove(&before);
                }
            }
            if second != Second::NEVER && second > self.deleted {
                *self.leaving.entry(second).or_default() += 1;
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);

    #[test]
    fn who_leaves_owes_its_flows_until_they_are_deleted() {
        let mut tenures = Tenures::default();
        tenures.reset(std::iter::empty(), 0);
        assert!(!tenures.enters(A), "nobody had it");
        tenures.stays(A, 10_000, 500);
        assert_eq!(tenures.next(), Some(Second(12)), "not before its element is gone");
        assert!(!tenures.is_over(A, Second(11)));
        assert!(tenures.is_over(A, Second(12)));
        tenures.leaves(A, 3_999);
        assert_eq!(tenures.next(), Some(Second(5)));
        assert!(tenures.enters(A), "of its last holder");
        assert!(!tenures.is_over(A, Second(1000)), "it is in again");
        tenures.stays(A, 1_000, 4_000);
        tenures.deleted(Second(6));
        assert_eq!(tenures.next(), Some(Second(7)));
        tenures.deleted(Second(7));
        assert_eq!(tenures.next(), None);
        assert!(!tenures.is_over(A, Second(8)), "not twice");
        assert!(!tenures.enters(A));
        tenures.stays(A, u64::MAX, 8_000);
        assert!(tenures.next().is_some());
    }

    #[test]
    fn who_is_gone_does_not_leave_again() {
        let mut tenures = Tenures::default();
        tenures.reset([(A, 1_000)].into_iter(), 0);
        tenures.leaves(B, 500);
        assert!(!tenures.knows(B));
        tenures.deleted(Second(3));
        tenures.leaves(A, 9_000);
        assert_eq!(tenures.next(), None, "no turn for nobody");
        assert!(!tenures.enters(A));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Puts(u8, u64),
        Fails(u8),
        Leaves(u8),
        Waits(u64),
        Deletes,
        Resets(Vec<(u8, u64)>),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..6_u8, 0..9_000_u64).prop_map(|(address, life)| Event::Puts(address, life)),
            (0..6_u8).prop_map(Event::Fails),
            (0..6_u8).prop_map(Event::Leaves),
            (0..4_000_u64).prop_map(Event::Waits),
            Just(Event::Deletes),
            proptest::collection::vec((0..6_u8, 0..9_000_u64), 0..4).prop_map(Event::Resets),
        ]
    }

    proptest! {
        /// Against a model that remembers of each address whether it has flows: none is thought clean that
        /// has some, and when every end was waited for, none is left.
        #[test]
        fn nobody_is_thought_clean_who_is_not(events in proptest::collection::vec(event(), 0..60)) {
            let mut tenures = Tenures::default();
            let mut now = 0_u64;
            // Until when it is in a set, and whether there are flows of it.
            let mut model: BTreeMap<Ipv4Addr, (u64, bool)> = BTreeMap::new();
            let address = |number: u8| Ipv4Addr::new(10, 20, 0, number);
            for event in events {
                match event {
                    Event::Puts(number, life) => {
                        let known = tenures.enters(address(number));
                        let has_flows = model.get(&address(number)).is_some_and(|known| known.1);
                        prop_assert!(known || !has_flows);
                        tenures.stays(address(number), life, now);
                        model.insert(address(number), (now + life, true));
                    }
                    Event::Fails(number) => {
                        tenures.enters(address(number));
                        // Perhaps it is in, for as long as it was meant to be.
                        model.insert(address(number), (u64::MAX, true));
                    }
                    Event::Leaves(number) => {
                        tenures.leaves(address(number), now);
                        model.entry(address(number)).and_modify(|known| known.0 = known.0.min(now));
                    }
                    Event::Waits(milliseconds) => now += milliseconds,
                    Event::Deletes => {
                        let by = Second::under_way(now);
                        for (address, (ends, has_flows)) in &mut model {
                            if tenures.is_over(*address, by) {
                                prop_assert!(*ends < now, "{address} is in a set");
                                *has_flows = false;
                            }
                        }
                        tenures.deleted(by);
                    }
                    Event::Resets(held) => {
                        model.clear();
                        let lives: BTreeMap<u8, u64> = held.into_iter().collect();
                        for (number, life) in &lives {
                            model.insert(address(*number), (now + life, true));
                        }
                        let held = lives.iter().map(|(number, life)| (address(*number), *life));
                        tenures.reset(held, now);
                    }
                }
            }
            while let Some(second) = tenures.next() {
                now = now.max(second.begins());
                let by = Second::under_way(now);
                for (address, (ends, has_flows)) in &mut model {
                    if tenures.is_over(*address, by) {
                        prop_assert!(*ends < now);
                        *has_flows = false;
                    }
                }
                tenures.deleted(by);
            }
            for (address, (ends, has_flows)) in &model {
                prop_assert!(!*has_flows || *ends == u64::MAX, "{address}");
            }
        }
    }
}
