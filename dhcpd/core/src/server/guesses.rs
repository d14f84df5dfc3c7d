//! How often somebody may send a code that no voucher has: seldom, each device and all together.
//!
//! It promises that a device has [`VOUCHER_GUESSES_PER_DEVICE_MAX`] tries at once and one more every
//! [`VOUCHER_GUESS_INTERVAL_SECONDS`], that all devices together have [`VOUCHER_GUESSES_MAX`] and one more
//! every [`VOUCHER_GUESS_INTERVAL_MILLISECONDS`], and that it keeps [`VOUCHER_GUESSERS_KEPT_MAX`] devices in
//! mind at most. A code that is right, or that no code can be, costs nothing. A restart forgets all.
//!
//! [`VOUCHER_GUESSES_PER_DEVICE_MAX`]: limits::VOUCHER_GUESSES_PER_DEVICE_MAX
//! [`VOUCHER_GUESS_INTERVAL_SECONDS`]: limits::VOUCHER_GUESS_INTERVAL_SECONDS
//! [`VOUCHER_GUESSES_MAX`]: limits::VOUCHER_GUESSES_MAX
//! [`VOUCHER_GUESS_INTERVAL_MILLISECONDS`]: limits::VOUCHER_GUESS_INTERVAL_MILLISECONDS
//! [`VOUCHER_GUESSERS_KEPT_MAX`]: limits::VOUCHER_GUESSERS_KEPT_MAX

use crate::{HardwareAddress, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Of one device: a try and then one every so often, and so many saved up.
const OF_A_DEVICE: Allowance = Allowance {
    interval_milliseconds: limits::VOUCHER_GUESS_INTERVAL_SECONDS * 1000,
    at_once: limits::VOUCHER_GUESSES_PER_DEVICE_MAX,
};
/// Of all together.
const OF_ALL: Allowance = Allowance {
    interval_milliseconds: limits::VOUCHER_GUESS_INTERVAL_MILLISECONDS,
    at_once: limits::VOUCHER_GUESSES_MAX,
};

/// A rate with a burst. What was used up is one point in time: when all of it will have come back.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    interval_milliseconds: u64,
    at_once: u64,
}

impl Allowance {
    /// The first time at which there is a try left.
    const fn next(self, back: Timestamp) -> Timestamp {
        let saved = self.interval_milliseconds.saturating_mul(self.at_once.saturating_sub(1));
        Timestamp::from_milliseconds(back.milliseconds().saturating_sub(saved))
    }

    /// When all is back, after one more try.
    fn spend(self, back: Timestamp, now: Timestamp) -> Timestamp {
        let from = back.max(now).milliseconds();
        Timestamp::from_milliseconds(from.saturating_add(self.interval_milliseconds))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    by_device: BTreeMap<HardwareAddress, Timestamp>,
    by_time: BTreeSet<(Timestamp, HardwareAddress)>,
    all: Timestamp,
}

impl Guesses {
    /// Whether this device may try; else when it may.
    pub(super) fn check(&self, hardware: HardwareAddress, now: Timestamp) -> Result<(), Timestamp> {
        let of_device = self.by_device.get(&hardware).copied().unwrap_or_default();
        let next = OF_A_DEVICE.next(of_device).max(OF_ALL.next(self.all));
        // At the very millisecond at which a try comes back, it is there.
        if next <= now { Ok(()) } else { Err(next) }
    }

    /// It tried, and was wrong. Whether that was the last try that it has for now.
    pub(super) fn wrong(&mut self, hardware: HardwareAddress, now: Timestamp) -> bool {
        while let Some((back, other)) = self.by_time.first().copied()
            && (back <= now || self.by_device.len() >= limits::VOUCHER_GUESSERS_KEPT_MAX)
        {
            self.by_time.remove(&(back, other));
            self.by_device.remove(&other);
        }
        let before = self.by_device.remove(&hardware).unwrap_or_default();
        self.by_time.remove(&(before, hardware));
        let back = OF_A_DEVICE.spend(before, now);
        self.by_device.insert(hardware, back);
        self.by_time.insert((back, hardware));
        self.all = OF_ALL.spend(self.all, now);
        self.check(hardware, now).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    fn device(number: u32) -> HardwareAddress {
        let [a, b, c, d] = number.to_be_bytes();
        HardwareAddress::ethernet([2, 0, a, b, c, d])
    }

    /// How many tries a device has left now.
    fn tries(guesses: &mut Guesses, number: u32, now: Timestamp) -> u64 {
        let mut count = 0;
        while guesses.check(device(number), now).is_ok() {
            guesses.wrong(device(number), now);
            count += 1;
            assert!(count <= limits::VOUCHER_GUESSES_MAX);
        }
        count
    }

    #[test]
    fn a_device_has_some_tries_at_once_and_then_one_a_minute() {
        let mut guesses = Guesses::default();
        let most = limits::VOUCHER_GUESSES_PER_DEVICE_MAX;
        for number in 1..most {
            assert!(!guesses.wrong(device(1), NOW), "{number}");
        }
        assert!(guesses.wrong(device(1), NOW), "the last one");
        let again = guesses.check(device(1), NOW).unwrap_err();
        assert_eq!(again, NOW.plus_seconds(limits::VOUCHER_GUESS_INTERVAL_SECONDS));
        assert_eq!(tries(&mut guesses, 1, again), 1);
        assert_eq!(tries(&mut guesses, 2, again), most, "another device has its own");
        assert_eq!(tries(&mut guesses, 1, again.plus_seconds(1_000_000)), most);
    }

    #[test]
    fn all_devices_together_have_a_bound_and_little_is_kept() {
        let mut guesses = Guesses::default();
        let mut sum = 0;
        for number in 0..10_000 {
            sum += tries(&mut guesses, number, NOW);
        }
        assert_eq!(sum, limits::VOUCHER_GUESSES_MAX);
        let mut now = NOW;
        for number in 0..20_000 {
            now = Timestamp::from_milliseconds(now.milliseconds() + 100);
            guesses.wrong(device(number), now);
            assert!(guesses.by_device.len() <= limits::VOUCHER_GUESSERS_KEPT_MAX);
            assert_eq!(guesses.by_device.len(), guesses.by_time.len());
        }
        // One that is kept by nobody's mistake is let go of in time.
        guesses.wrong(device(1), now.plus_seconds(10_000));
        assert_eq!(guesses.by_device.len(), 1);
    }
}
