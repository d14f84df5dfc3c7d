//! The trace of a run: a hash over everything that happened, and the last of it in words.

use std::collections::VecDeque;
use std::fmt;

/// Events that are kept in words.
const KEPT_MAX: usize = 20_000;

/// See the module. Two runs of one seed have one hash, or something is not deterministic.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    count: u64,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0, last: VecDeque::new() }
    }
}

impl Trace {
    /// One more event.
    pub(crate) fn note(&mut self, now: u64, event: fmt::Arguments<'_>) {
        let text = format!("{now:>7} {event}");
        // FNV-1a.
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        self.last.push_back(text);
        if self.last.len() > KEPT_MAX {
            self.last.pop_front();
        }
    }

    /// The hash.
    #[must_use]
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    #[must_use]
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The last events in words.
    #[must_use]
    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
