//! The kinds of numbers that [`Metrics`](super::Metrics) is made of: counts with the time of their last
//! change, and histograms. Counting takes no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often something happened, and when it did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrences {
    /// How often since the process began.
    pub count: u64,
    /// How long ago it happened last; `None` if never.
    pub last: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct SocketCounters {
    pub(super) receive_buffer_bytes: AtomicU64,
    pub(super) kernel_drops: AtomicU64,
}

/// A count with the time of its last change, for things that should not happen at all.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) count: AtomicU64,
    /// Milliseconds after the epoch, plus one; 0: never.
    pub(super) last_milliseconds: AtomicU64,
}

impl Event {
    pub(super) fn happened(&self, times: u64, epoch: Instant) {
        self.count.fetch_add(times, Relaxed);
        let milliseconds = u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_milliseconds.fetch_max(milliseconds.saturating_add(1), Relaxed);
    }

    pub(super) fn occurrences(&self, epoch: Instant) -> Occurrences {
        let last = self.last_milliseconds.load(Relaxed).checked_sub(1).map(|milliseconds| {
            epoch.elapsed().saturating_sub(Duration::from_millis(milliseconds))
        });
        Occurrences { count: self.count.load(Relaxed), last }
    }
}

/// A histogram with fixed buckets of integers (records, nanoseconds). The library's own takes a lock.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    pub(super) upper_bounds: &'static [u64; N],
    /// Not cumulative; values above the last bound are only in `sum` and `count`.
    pub(super) buckets: [AtomicU64; N],
    pub(super) sum: AtomicU64,
    pub(super) count: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    pub(super) fn new(upper_bounds: &'static [u64; N]) -> Self {
        Self {
            upper_bounds,
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, value: u64) {
        let place = self.upper_bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}
