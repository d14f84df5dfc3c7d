//! The time that the core is told: never backwards, within a run and across restarts.
//!
//! It starts from the wall clock, or from the newest time in the store if that is later, and then
//! follows the monotonic clock. So a clock that is set back or forth while the server runs changes no
//! lease (P1), and one that was set back while it did not run cannot bring an ended lease back to life
//! under its next holder.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_core::Timestamp;

/// See the module. Cheap to copy; all copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts the clock. `newest`: the newest time in the store.
    #[must_use]
    pub fn start(newest: Timestamp) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = Timestamp::from_milliseconds(milliseconds(wall));
        if wall < newest {
            tracing::warn!(
                seconds_behind = newest.seconds() - wall.seconds(),
                "the clock is behind the newest lease in the store; time goes on from there"
            );
        }
        Self { base: wall.max(newest), started: Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = milliseconds(self.started.elapsed());
        Timestamp::from_milliseconds(self.base.milliseconds().saturating_add(passed))
    }

    /// How long it is until `then`.
    #[must_use]
    pub fn until(&self, then: Timestamp) -> Duration {
        Duration::from_millis(then.milliseconds_after(self.now()))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_goes_on_from_the_newest_lease() {
        let future = Timestamp::from_seconds(40_000_000_000);
        let clock = Clock::start(future);
        assert!(clock.now() >= future);
        assert_eq!(clock.until(Timestamp::ZERO), Duration::ZERO);
    }
}
