//! Points in time as the core sees them.
//!
//! The core is told the time with each input and never asks for it. Whoever tells it promises that
//! the values never go backwards, within a run and across restarts (the shell starts from the
//! larger of the wall clock and the newest time in the journal, then follows a monotonic clock).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since the Unix epoch. Range: any `u64`; arithmetic saturates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch; also what stands for "never happened".
    pub const ZERO: Self = Self(0);
    /// Later than everything: what stands for "never ends".
    pub const FOREVER: Self = Self(u64::MAX);

    /// The time `milliseconds` after the Unix epoch.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// The time `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `seconds`.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `now` until this time; 0 if it has passed.
    #[must_use]
    pub const fn milliseconds_after(self, now: Self) -> u64 {
        self.0.saturating_sub(now.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
