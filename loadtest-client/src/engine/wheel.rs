//! Timers of many clients: a hierarchical wheel, where setting one and its coming due cost the same
//! however many there are.
//!
//! Ticks are milliseconds since the beginning, up to 49 days. It promises that every timer comes due
//! once, not before its tick, and in the order of ticks. It never removes one early: whoever changes
//! their mind compares when it comes due.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Bits of a tick that a level looks at.
const BITS: u32 = 8;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 4;

/// A timer: whose it is, and its tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timer {
    /// Whose.
    pub(super) owner: u32,
    /// When it comes due.
    pub(super) tick: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The tick that comes due next.
    now: u32,
    slots: Vec<Vec<Timer>>,
    count: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { now: 0, slots: vec![Vec::new(); SLOTS * LEVELS], count: 0 }
    }
}

impl Wheel {
    /// Sets a timer. One of the past comes due next.
    pub(super) fn set(&mut self, timer: Timer) {
        self.count += 1;
        self.put(timer);
    }

    /// Whether none is.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives those that come due up to and including `tick` to `due`, in the order of ticks; of one tick,
    /// in the order in which they were set at that distance.
    pub(super) fn advance(&mut self, tick: u32, due: &mut Vec<Timer>) {
        if self.is_empty() {
            // Nothing to carry down on the way.
            self.now = self.now.max(tick.saturating_add(1));
            return;
        }
        while self.now <= tick {
            for level in 1..LEVELS {
                let below = BITS * u32::try_from(level).unwrap_or(0);
                if self.now.trailing_zeros() < below {
                    break;
                }
                self.carry_down(level);
            }
            let place = slot(0, self.now);
            if let Some(slot) = self.slots.get_mut(place) {
                self.count -= slot.len();
                due.append(slot);
            }
            let Some(next) = self.now.checked_add(1) else { return };
            self.now = next;
        }
    }

    fn carry_down(&mut self, level: usize) {
        let place = slot(level, self.now);
        let Some(mut timers) = self.slots.get_mut(place).map(std::mem::take) else { return };
        for timer in timers.drain(..) {
            self.put(timer);
        }
        // A timer a whole turn ahead goes back into the same slot; otherwise the memory does.
        if let Some(slot) = self.slots.get_mut(place)
            && slot.is_empty()
        {
            *slot = timers;
        }
    }

    fn put(&mut self, timer: Timer) {
        let tick = timer.tick.max(self.now);
        let level = (tick ^ self.now).checked_ilog2().unwrap_or(0) / BITS;
        let place = slot(usize::try_from(level).unwrap_or(0), tick);
        if let Some(slot) = self.slots.get_mut(place) {
            slot.push(timer);
        }
    }
}

fn slot(level: usize, tick: u32) -> usize {
    let shift = BITS * u32::try_from(level).unwrap_or(0);
    let within = usize::try_from(tick >> shift).unwrap_or(0) % SLOTS;
    level * SLOTS + within
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn every_timer_comes_due_once_in_order_and_not_early() {
        let mut random = Random::new(3);
        let mut wheel = Wheel::default();
        let mut expected: Vec<u32> = Vec::new();
        let (mut now, mut seen) = (0, Vec::new());
        wheel.advance(now, &mut Vec::new());
        let mut due = Vec::new();
        for owner in 0..20_000_u32 {
            let far = 1 << random.below(19);
            let tick = now + 1 + u32::try_from(random.below(far)).unwrap();
            wheel.set(Timer { owner, tick });
            expected.push(tick);
            if owner % 7 == 0 {
                now += u32::try_from(random.below(300)).unwrap();
                due.clear();
                wheel.advance(now, &mut due);
                assert!(due.iter().all(|timer| timer.tick <= now));
                assert!(due.is_sorted_by_key(|timer| timer.tick));
                seen.extend(due.iter().map(|timer| timer.tick));
                assert_eq!(wheel.count, expected.len() - seen.len());
            }
        }
        let before = expected.iter().filter(|tick| **tick <= now).count();
        assert_eq!(seen.len(), before);
        due.clear();
        wheel.advance(now + (1 << 19), &mut due);
        assert!(wheel.is_empty());
        seen.extend(due.iter().map(|timer| timer.tick));
        expected.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_far_timer_is_not_carried_down_too_early() {
        let mut wheel = Wheel::default();
        let mut due = Vec::new();
        let far = 3 << 24;
        wheel.set(Timer { owner: 1, tick: far + 5 });
        wheel.set(Timer { owner: 2, tick: 0 });
        wheel.advance(far + 4, &mut due);
        assert_eq!(due, [Timer { owner: 2, tick: 0 }]);
        due.clear();
        wheel.advance(far + 5, &mut due);
        assert_eq!(due, [Timer { owner: 1, tick: far + 5 }]);
        // In the past: next.
        wheel.set(Timer { owner: 3, tick: 7 });
        due.clear();
        wheel.advance(far + 6, &mut due);
        assert_eq!(due, [Timer { owner: 3, tick: 7 }]);
    }
}
