//! What the metrics say of the history.

use super::handle::HistoryHealth;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// As it was when it was last looked at. All 0 without a history.
#[derive(Debug, Default)]
pub(crate) struct HistoryCounts {
    /// 1 if it cannot be used.
    pub(crate) failed: AtomicU64,
    pub(crate) intervals: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) frames_behind: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

impl HistoryCounts {
    pub(crate) fn look(&self, health: &HistoryHealth) {
        self.failed.store(u64::from(health.failure.is_some()), Relaxed);
        self.intervals.store(health.intervals, Relaxed);
        self.bytes.store(health.bytes, Relaxed);
        self.frames_behind.store(health.frames_behind, Relaxed);
        self.gaps.store(health.gaps, Relaxed);
        self.damaged.store(health.damaged, Relaxed);
    }
}
