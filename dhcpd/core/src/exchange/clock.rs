//! A hybrid logical clock (Kulkarni and others, "Logical Physical Clocks", 2014): times that follow the
//! clock on the wall as long as that is sane, and order what depends on each other even if it is not.
//!
//! It promises that it never goes back, and that two halves never make the same time. A partner whose clock is
//! ahead by more than [`EXCHANGE_AHEAD_SECONDS_MAX`](crate::limits::EXCHANGE_AHEAD_SECONDS_MAX) does not drag
//! it along: what such a partner says still counts as later than what it had heard, and what is said here of
//! the same thing afterwards counts as later again ([`HybridTime::following`]), but this server's other times
//! stay those of its own clock. It reads no clock: the time comes in with each call.

use crate::failover::Role;
use crate::{Timestamp, limits};

/// When a registration was last changed, such that any two changes of it are in one order at both halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime {
    /// Milliseconds since the Unix epoch, by the clock of the half that made it, or of one that it had heard of;
    /// at most [`HybridTime::MILLISECONDS_MAX`].
    pub milliseconds: u64,
    /// Orders what was made in one millisecond.
    pub counter: u32,
    /// The half that made it: of two times that are equal otherwise, the secondary's is later.
    pub server: Role,
}

impl HybridTime {
    /// The last millisecond of the year 9999. What is beyond it is no time, but a defect or an attack.
    pub const MILLISECONDS_MAX: u64 = 253_402_300_799_999;

    /// Before every other.
    pub const ZERO: Self = Self { milliseconds: 0, counter: 0, server: Role::Primary };

    /// The earliest of `server` at this time.
    #[must_use]
    pub fn at(now: Timestamp, server: Role) -> Self {
        let milliseconds = now.milliseconds().min(Self::MILLISECONDS_MAX);
        Self { milliseconds, counter: 0, server }
    }

    /// The earliest of `server` that is later than this one.
    #[must_use]
    pub const fn following(self, server: Role) -> Self {
        match self.counter.checked_add(1) {
            Some(counter) => Self { counter, server, ..self },
            // Beyond the last millisecond nothing can follow: refused on the way in, so not reached.
            None => Self { milliseconds: self.milliseconds.saturating_add(1), counter: 0, server },
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HybridClock {
    server: Role,
    latest: HybridTime,
}

impl HybridClock {
    /// The clock of one half that has not heard of anything.
    #[must_use]
    pub const fn new(server: Role) -> Self {
        Self { server, latest: HybridTime::ZERO }
    }

    /// Whose it is.
    #[must_use]
    pub const fn server(&self) -> Role {
        self.server
    }

    /// The next time; later than all that it made before.
    pub fn tick(&mut self, now: Timestamp) -> HybridTime {
        self.latest = HybridTime::at(now, self.server).max(self.latest.following(self.server));
        self.latest
    }

    /// The next time of a thing that was last changed at `known`.
    pub fn tick_after(&mut self, now: Timestamp, known: Option<HybridTime>) -> HybridTime {
        let tick = self.tick(now);
        known.map_or(tick, |known| tick.max(known.following(self.server)))
    }

    /// Hears of a time. Whether it is believable; one that is not changes nothing.
    pub fn observe(&mut self, now: Timestamp, seen: HybridTime) -> bool {
        let is_believable = !Self::is_far_ahead(now, seen);
        if is_believable {
            self.latest = self.latest.max(seen);
        }
        is_believable
    }

    /// Whether a time is ahead of this server's clock by more than clocks may be apart.
    #[must_use]
    pub fn is_far_ahead(now: Timestamp, seen: HybridTime) -> bool {
        let most = now.plus_seconds(limits::EXCHANGE_AHEAD_SECONDS_MAX);
        seen.milliseconds > most.milliseconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = HybridTime> {
        (0..=HybridTime::MILLISECONDS_MAX, prop_oneof![0..3_u32, Just(u32::MAX)], any::<bool>())
            .prop_map(|(milliseconds, counter, is_primary)| HybridTime {
                milliseconds,
                counter,
                server: if is_primary { Role::Primary } else { Role::Secondary },
            })
    }

    proptest! {
        /// Whatever it hears of and wherever the wall's clock goes.
        #[test]
        fn it_never_goes_back(
            events in prop::collection::vec((0..10_000_000_u64, prop::option::of(any_time())), 1..60)
        ) {
            let mut clock = HybridClock::new(Role::Secondary);
            let mut last = HybridTime::ZERO;
            for (now, seen) in events {
                let now = Timestamp::from_milliseconds(now);
                let mut heard = None;
                if let Some(seen) = seen {
                    heard = Some(seen).filter(|seen| clock.observe(now, *seen));
                }
                let next = clock.tick(now);
                prop_assert!(next > last && heard.is_none_or(|heard| next > heard));
                last = next;
            }
        }

        #[test]
        fn what_follows_is_later_and_nothing_of_the_same_half_lies_between(time in any_time()) {
            for server in [Role::Primary, Role::Secondary] {
                prop_assert!(time.following(server) > time);
            }
        }

        /// A partner in another year does not move the clock, and what is said here afterwards still counts.
        #[test]
        fn who_is_far_ahead_does_not_drag_it_along(ahead in 1..1_000_000_000_u64) {
            let now = Timestamp::from_seconds(1_000_000);
            let far = now.plus_seconds(limits::EXCHANGE_AHEAD_SECONDS_MAX + ahead);
            let seen = HybridTime::at(far, Role::Primary);
            let mut clock = HybridClock::new(Role::Secondary);
            prop_assert!(!clock.observe(now, seen));
            prop_assert_eq!(clock.tick(now), HybridTime::at(now, Role::Secondary));
            prop_assert!(clock.tick_after(now, Some(seen)) > seen);
            prop_assert_eq!(clock.tick(now).milliseconds, now.milliseconds());
        }
    }
}
