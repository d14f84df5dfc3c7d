//! The named limits of events (P5).

use std::time::Duration;

/// Groups of the barrier that wait for the keeper at most; the events of one that does not fit are
/// counted as missed.
pub const HANDOVERS_WAITING_MAX: usize = 256;

/// Events that wait for the kernel sets, or for the next hand-over, at most; more are counted as missed.
pub const EVENTS_WAITING_MAX: usize = 16_384;

/// Events that are kept in memory for readers that are nearly up to date.
pub const RECENT_EVENTS_MAX: usize = 8192;

/// Bytes of the same.
pub const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Segments that the log is cut into: retention ends one of them at a time.
pub const SEGMENTS_PER_LOG: u64 = 16;

/// Ids that are set aside at once, with one sync. After a crash those that were set aside are not used
/// again.
pub const IDS_RESERVED: u64 = 65_536;

/// Every how many events the place in the file is noted.
pub(super) const INDEX_EVERY: u64 = 64;

/// How long what was written may wait for its sync, and a group without events for its mark.
pub(super) const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Hand-overs that are written at once.
pub(super) const HANDOVERS_WRITTEN_AT_ONCE: usize = HANDOVERS_WAITING_MAX;

/// How long events gather after some were written.
pub const GATHER_INTERVAL: Duration = Duration::from_millis(10);
