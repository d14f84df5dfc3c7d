//! How far the partner's clock is from this one, and times of the partner's by this clock.
//!
//! A message is under way for some time, never for less than none: of what messages show, the least is the
//! truest. That is looked for anew every hour, because clocks are set. It never touches a time that this server said.

use super::{CLOCK_ERROR_SECONDS_MAX, Failover};
use crate::Timestamp;
use crate::failover::lease_time::INFINITE_SECONDS;
use crate::failover::session::CLOCK_DIFFERENCE_SECONDS_MAX;
use crate::failover::{BindingUpdate, Message};

/// Clocks that are apart by no more than this count as equal, in seconds: a message may have taken so long.
const CLOCK_DIFFERENCE_SECONDS_MIN: u32 = 5;

/// How long one search for the least takes, in seconds. What the one before found counts too: while a whole
/// book goes over a slow link, every message is late for minutes.
const SEARCH_SECONDS: u64 = 3600;

/// What the messages of one connection show.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockDifference {
    since: Timestamp,
    least: i64,
    before: Option<i64>,
}

impl ClockDifference {
    /// By how many seconds this clock was ahead when a message that says it was sent at `time` arrived.
    pub(super) fn of(message: &Message, now: Timestamp) -> i64 {
        i64::try_from(now.seconds()).unwrap_or(i64::MAX).saturating_sub(message.time.into())
    }

    pub(super) const fn new(ahead_seconds: i64, now: Timestamp) -> Self {
        Self { since: now, least: ahead_seconds, before: None }
    }

    /// Takes in what another message shows.
    pub(super) fn show(&mut self, ahead_seconds: i64, now: Timestamp) {
        if now >= self.since.plus_seconds(SEARCH_SECONDS) {
            *self = Self { since: now, least: ahead_seconds, before: Some(self.least) };
        } else {
            self.least = self.least.min(ahead_seconds);
        }
    }

    /// By how many seconds this clock is ahead.
    pub(super) fn ahead_seconds(self) -> i64 {
        self.before.map_or(self.least, |before| before.min(self.least))
    }
}

impl Failover {
    /// By how many seconds the partner's promises may run longer than its times say, by this clock.
    pub(super) fn clock_allowance_seconds(&self) -> u32 {
        let ahead = self.clock_ahead_seconds.unwrap_or(CLOCK_DIFFERENCE_SECONDS_MAX.into());
        let ahead = u32::try_from(ahead.max(0)).unwrap_or(u32::MAX);
        // A partner that corrects what it was told is wrong by no more than what it takes for equal.
        let ahead =
            if self.corrects_times { ahead.min(CLOCK_DIFFERENCE_SECONDS_MIN) } else { ahead };
        CLOCK_ERROR_SECONDS_MAX.saturating_add(ahead)
    }

    /// A time of the partner's by this server's clock.
    fn in_own_time(&self, time: u32) -> u32 {
        let ahead = self.clock_ahead_seconds.unwrap_or(0);
        let is_none = time == 0 || time >= INFINITE_SECONDS;
        if is_none || ahead.unsigned_abs() <= CLOCK_DIFFERENCE_SECONDS_MIN.into() {
            return time;
        }
        // Neither "never" nor "for ever" comes of a time that is one.
        let time = i64::from(time).saturating_add(ahead).clamp(1, i64::from(INFINITE_SECONDS) - 1);
        u32::try_from(time).unwrap_or(u32::MAX)
    }

    /// The same of an end that a client goes by, which must not come too early: both clocks are read in
    /// whole seconds, so what they are apart may be found a second too small (P1).
    fn end_in_own_time(&self, time: u32) -> u32 {
        let own = self.in_own_time(time);
        if own == time { own } else { own.saturating_add(1) }
    }

    /// An update of the partner's with all its times by this server's clock.
    pub(super) fn update_in_own_time(&self, update: &BindingUpdate) -> BindingUpdate {
        let own = |time: Option<u32>| time.map(|time| self.in_own_time(time));
        BindingUpdate {
            lease_expiration: update.lease_expiration.map(|time| self.end_in_own_time(time)),
            potential_expiration: own(update.potential_expiration),
            since: own(update.since),
            client_last_transaction: own(update.client_last_transaction),
            ..update.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts_until_an_hour_after_it_was_found() {
        let start = Timestamp::from_seconds(1_000_000);
        let mut clock = ClockDifference::new(20, start);
        clock.show(7, start.plus_seconds(10));
        clock.show(30, start.plus_seconds(20));
        assert_eq!(clock.ahead_seconds(), 7);
        // The partner's clock was set back by a minute.
        let later = start.plus_seconds(SEARCH_SECONDS);
        clock.show(67, later);
        assert_eq!(clock.ahead_seconds(), 7);
        clock.show(68, later.plus_seconds(SEARCH_SECONDS - 1));
        assert_eq!(clock.ahead_seconds(), 7);
        clock.show(67, later.plus_seconds(SEARCH_SECONDS));
        assert_eq!(clock.ahead_seconds(), 67);
    }
}
