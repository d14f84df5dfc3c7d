//! The time that the core is told: never backwards, within a run and across restarts.
//!
//! The first start after the machine has booted takes the wall clock, or the newest time in the store if
//! that is later. From there on the time follows the machine's boot clock, through every restart until
//! the machine boots again: the store keeps a mark ([`ClockMark`]) of what time it was at what boot
//! time. So a wall clock that is set back or forth changes no lease (P1), whether the server runs or
//! not: above all the clock of a machine that starts its server first and learns the time afterwards.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_core::Timestamp;

/// How far the wall clock may be from the time of the leases without a word.
const WALL_DIFFERENCE_SAID: Duration = Duration::from_secs(60);

/// What time it was at a moment of the machine's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The boot: the kernel's random name for it.
    pub boot: String,
    /// Milliseconds from that boot, time asleep included.
    pub since_boot: u64,
    /// The time of the leases then.
    pub time: Timestamp,
}

/// What the machine's clocks say at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// The boot and the milliseconds since it; `None`: the kernel does not say.
    pub since_boot: Option<(String, u64)>,
}

impl Reading {
    /// Reads them.
    #[must_use]
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty());
        Self {
            wall: Timestamp::from_milliseconds(milliseconds(wall)),
            since_boot: boot.zip(milliseconds_since_boot()),
        }
    }

    /// What time it is, by the newest time in the store and the mark that it keeps.
    #[must_use]
    pub fn time(&self, newest: Timestamp, mark: Option<&ClockMark>) -> Timestamp {
        let by_boot = mark.zip(self.since_boot.as_ref()).and_then(|(mark, (boot, since_boot))| {
            // A boot clock never goes back; where it seems to, the mark is of another machine's life.
            let passed = since_boot.checked_sub(mark.since_boot)?;
            let time = mark.time.milliseconds().saturating_add(passed);
            (mark.boot == *boot).then_some(Timestamp::from_milliseconds(time))
        });
        by_boot.unwrap_or(self.wall).max(newest)
    }
}

/// See the module. Cheap to copy; all copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts the clock. `newest`: the newest time in the store; `mark`: the mark that it keeps. Gives
    /// the mark to keep from now on, if this machine allows one.
    #[must_use]
    pub fn start(newest: Timestamp, mark: Option<&ClockMark>) -> (Self, Option<ClockMark>) {
        let started = Instant::now();
        let reading = Reading::now();
        let base = reading.time(newest, mark);
        let (behind, ahead) =
            (base.milliseconds_after(reading.wall), reading.wall.milliseconds_after(base));
        if behind.max(ahead) > milliseconds(WALL_DIFFERENCE_SAID) {
            tracing::warn!(
                seconds_behind = behind / 1000,
                seconds_ahead = ahead / 1000,
                "the clock has been set since leases were granted by it; they end when they would have, by the time \
                 since the machine booted, and times that are shown differ from the clock's until it boots again"
            );
        }
        let mark =
            reading.since_boot.map(|(boot, since_boot)| ClockMark { boot, since_boot, time: base });
        (Self { base, started }, mark)
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

/// The boot clock (`CLOCK_BOOTTIME`), which nobody can set.
fn milliseconds_since_boot() -> Option<u64> {
    // Seconds with two digits behind the point: finer than a lease.
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, rest) = text.split_once('.')?;
    let hundredths = rest.split_whitespace().next()?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok()?;
    seconds.checked_mul(1000)?.checked_add(hundredths * 10)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    /// When the leases of these tests were granted.
    const GRANTED: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn mark() -> ClockMark {
        ClockMark { boot: "one".into(), since_boot: 60_000, time: GRANTED }
    }

    fn reading(wall: Timestamp, boot: &str, seconds_since_boot: u64) -> Reading {
        Reading { wall, since_boot: Some((boot.into(), seconds_since_boot * 1000)) }
    }

    fn minus(time: Timestamp, seconds: u64) -> Timestamp {
        Timestamp::from_milliseconds(time.milliseconds() - seconds * 1000)
    }

    #[test]
    fn a_clock_that_was_set_back_goes_on_from_the_newest_lease() {
        let future = Timestamp::from_seconds(40_000_000_000);
        let (clock, _) = Clock::start(future, None);
        assert!(clock.now() >= future);
        assert_eq!(clock.until(Timestamp::ZERO), Duration::ZERO);
    }

    #[test]
    fn within_one_boot_a_step_of_the_wall_clock_is_none_of_the_leases() {
        // Two minutes later, whatever the wall clock says: back an hour, forth a day, not set at all
        // before and set to the year 2026 now.
        let later = GRANTED.plus_seconds(120);
        for wall in [
            later,
            minus(later, HOUR),
            later.plus_seconds(DAY),
            Timestamp::ZERO,
            Timestamp::from_seconds(1_790_000_000),
        ] {
            let reading = reading(wall, "one", 180);
            assert_eq!(reading.time(GRANTED, Some(&mark())), later, "{wall:?}");
            // Time never goes back behind what the store has.
            let newest = later.plus_seconds(5);
            assert_eq!(reading.time(newest, Some(&mark())), newest);
        }
    }

    #[test]
    fn another_boot_or_an_impossible_mark_leaves_the_wall_clock() {
        let wall = GRANTED.plus_seconds(DAY);
        for reading in [
            reading(wall, "two", 180),
            // The boot clock is before the mark's: a machine that was put back to an earlier state.
            reading(wall, "one", 59),
            Reading { wall, since_boot: None },
        ] {
            assert_eq!(reading.time(GRANTED, Some(&mark())), wall, "{reading:?}");
            assert_eq!(reading.time(wall.plus_seconds(1), Some(&mark())), wall.plus_seconds(1));
        }
        assert_eq!(reading(wall, "one", 180).time(GRANTED, None), wall);
    }

    #[test]
    fn restarts_of_one_boot_go_on_where_the_last_one_was() {
        let (first, mark) = Clock::start(GRANTED, None);
        let mark = mark.expect("this machine names its boot");
        let elsewhere = ClockMark { time: minus(mark.time, 100 * DAY), ..mark.clone() };
        // The leases of a server that took the time to be another go on by that time.
        let (second, next) = Clock::start(Timestamp::ZERO, Some(&elsewhere));
        assert!(second.now() < minus(first.now(), 99 * DAY));
        assert!(next.unwrap().since_boot >= mark.since_boot);
    }
}
