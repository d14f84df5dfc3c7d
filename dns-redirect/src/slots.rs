//! A fixed number of slots, and a smaller fixed number for each source address.
//!
//! It promises that no more than `total_max` slots are out at any moment, no more than
//! `per_source_max` of them for one address, and that a slot comes back when its holder is
//! dropped, however it ends. The table holds only addresses that have a slot out, so it is never
//! larger than `total_max`. It never waits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The slots of one kind.
#[derive(Debug)]
pub(crate) struct Slots {
    total_max: usize,
    per_source_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// A slot that is out. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    source: IpAddr,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// All are out.
    Total,
    /// This address has as many as it may.
    Source,
}

impl Slots {
    /// `total_max` slots, `per_source_max` of them for one address.
    pub(crate) fn new(total_max: usize, per_source_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_source_max, taken: Mutex::default() })
    }

    /// A slot for `source`, now or not at all.
    pub(crate) fn take(self: &Arc<Self>, source: SocketAddr) -> Result<Slot, NoSlot> {
        let source = source.ip().to_canonical();
        let mut taken = self.lock();
        if taken.total >= self.total_max {
            return Err(NoSlot::Total);
        }
        let count = taken.by_source.get(&source).copied().unwrap_or(0);
        if count >= self.per_source_max {
            return Err(NoSlot::Source);
        }
        taken.by_source.insert(source, count + 1);
        taken.total += 1;
        Ok(Slot { slots: Arc::clone(self), source })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing inside a lock can panic half-way, so a poisoned table is still a right one.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total = taken.total.saturating_sub(1);
        match taken.by_source.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    #[test]
    fn both_limits_hold_and_slots_come_back() {
        let slots = Slots::new(3, 2);
        let first = slots.take(source(1)).unwrap();
        let second = slots.take(source(1)).unwrap();
        assert_eq!(slots.take(source(1)).unwrap_err(), NoSlot::Source);
        let third = slots.take(source(2)).unwrap();
        assert_eq!(slots.take(source(2)).unwrap_err(), NoSlot::Total);
        drop(first);
        let fourth = slots.take(source(1)).unwrap();
        assert_eq!(slots.take(source(3)).unwrap_err(), NoSlot::Total);
        drop((second, third, fourth));
        assert!(slots.lock().by_source.is_empty());
        assert_eq!(slots.lock().total, 0);
    }

    #[test]
    fn an_address_mapped_into_ipv6_is_the_same_source() {
        let slots = Slots::new(3, 1);
        let _slot = slots.take(source(1)).unwrap();
        let mapped = "[::ffff:10.0.0.1]:1".parse().unwrap();
        assert_eq!(slots.take(mapped).unwrap_err(), NoSlot::Source);
    }
}
