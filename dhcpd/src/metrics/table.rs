//! Counters by a label that is found out at run time, without a lock and in bounded memory.
//!
//! A fixed number of places, each taken for good by the first label that hashes to it (open
//! addressing). When all are taken, further labels share one place. It never moves or frees one, so
//! a reader and a writer never wait for each other.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::OnceLock;

/// Places probed for one label: what a flood of labels costs each of its packets at most.
const PROBES_MAX: usize = 256;

/// Values by label.
#[derive(Debug)]
pub(super) struct LabelTable<K, V> {
    /// Seeded per process: who chooses labels by packets cannot choose which ones collide.
    hasher: RandomState,
    places: Vec<(OnceLock<K>, V)>,
    other: V,
    other_used: OnceLock<()>,
}

impl<K, V: Default> LabelTable<K, V> {
    /// A table of `capacity` (at least 1) places.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            places: std::iter::repeat_with(|| (OnceLock::new(), V::default()))
                .take(capacity)
                .collect(),
            other: V::default(),
            other_used: OnceLock::new(),
        }
    }

    /// The place of this label, or the shared one if none is left.
    pub(super) fn place<Q>(&self, label: &Q) -> &V
    where
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        K: Borrow<Q>,
    {
        // Fits: the remainder is below the number of places.
        let length = self.places.len().max(1) as u64;
        let start = usize::try_from(self.hasher.hash_one(label) % length).unwrap_or(0);
        let (tail, head) = self.places.split_at(start.min(self.places.len()));
        for (taken_by, value) in head.iter().chain(tail).take(PROBES_MAX) {
            if taken_by.get_or_init(|| label.to_owned()).borrow() == label {
                return value;
            }
        }
        self.shared()
    }

    /// The shared place.
    pub(super) fn shared(&self) -> &V {
        let _ = self.other_used.set(());
        &self.other
    }

    /// Every label with its value; `None` is the shared place, which is listed once it was used.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Option<&K>, &V)> {
        self.places
            .iter()
            .filter_map(|(taken_by, value)| Some((Some(taken_by.get()?), value)))
            .chain(self.other_used.get().map(|()| (None, &self.other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn labels_keep_their_places_and_the_rest_is_shared() {
        let table: LabelTable<String, AtomicU64> = LabelTable::new(4);
        for round in 0..3 {
            for label in ["a", "b", "c", "d", "e", "f"] {
                table.place(label).fetch_add(1, Relaxed);
            }
            let total: u64 = table.entries().map(|(_, count)| count.load(Relaxed)).sum();
            assert_eq!(total, 6 * (round + 1), "no count is lost");
        }
        assert_eq!(table.entries().filter(|(label, _)| label.is_some()).count(), 4);
        let shared = table.entries().find(|(label, _)| label.is_none()).unwrap().1;
        assert_eq!(shared.load(Relaxed), 6);
    }

    #[test]
    fn threads_agree_on_the_place_of_a_label() {
        let table: LabelTable<String, AtomicU64> = LabelTable::new(8);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1000 {
                        let label = ["x", "y", "z"][number % 3];
                        table.place(label).fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(table.entries().count(), 3);
        assert_eq!(table.entries().map(|(_, count)| count.load(Relaxed)).sum::<u64>(), 4000);
    }
}
