//! What a store can be told, and the limits of it.

use super::disk::{Disk, RealDisk};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a journal segment, if nothing else is asked for.
pub const SEGMENT_BYTES: u64 = 32 * 1024 * 1024;

/// The smallest segment: it holds its header and any one record.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// The largest segment; a start reads segments whole.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How a store works. The default is right for a server; tests use smaller segments.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of a segment, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// A snapshot is due when the journal has grown by this many bytes since the last one was begun,
    /// and by twice the last snapshot's size.
    pub snapshot_journal_bytes_min: u64,
    /// How long a snapshot's writer rests after each 512 KiB.
    pub snapshot_rest: Duration,
    /// Whether a thread makes spare segments ahead. Without it, each is made when it is needed, and
    /// the store does one thing after the other: that is for simulations.
    pub spares_in_background: bool,
    /// The file system. The directory itself and the lock on it are always this machine's.
    pub disk: Arc<dyn Disk>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            snapshot_journal_bytes_min: 2 * SEGMENT_BYTES,
            snapshot_rest: Duration::from_millis(2),
            spares_in_background: true,
            disk: Arc::new(RealDisk),
        }
    }
}
