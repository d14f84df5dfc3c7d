//! What is counted of the feed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers since the server started. Shown by the metrics.
#[derive(Debug, Default)]
pub(crate) struct FeedCounts {
    /// Those who follow now.
    pub(crate) followers: AtomicU64,
    /// Changes told, each once for each follower.
    pub(crate) changes: AtomicU64,
    /// Snapshots told to their end.
    pub(crate) snapshots: AtomicU64,
    /// Followers that went on after their cursor.
    pub(crate) resumes: AtomicU64,
    /// Followers that were too slow, or too many.
    pub(crate) refused: AtomicU64,
}

impl FeedCounts {
    pub(crate) fn changes_told(&self, changes: usize) {
        self.changes.fetch_add(changes as u64, Relaxed);
    }

    pub(crate) fn snapshot_told(&self) {
        self.snapshots.fetch_add(1, Relaxed);
    }

    pub(crate) fn resumed(&self) {
        self.resumes.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}
