//! The named limits of the barrier (P5).

use std::time::Duration;

/// Steps from which on a group is full: turns beyond it wait for the next one.
pub const GROUP_STEPS_MAX: usize = 2048;

/// Turns that wait for the barrier at most. What the decide thread decides beyond it goes into the turn
/// that it could not hand over yet.
pub const TURNS_WAITING_MAX: usize = 128;

/// Emptied turns that are kept to be filled again.
pub const SPENT_KEPT_MAX: usize = 8;

/// Replies that wait for the kernel sets at most; the oldest give way.
pub const WAITING_FOR_GATE_MAX: usize = 4096;

/// How long a reply waits for the kernel sets. After that its client has asked again.
pub(super) const WAITING_FOR_GATE_LIFETIME: Duration = Duration::from_secs(8);

/// How often the whole of the kernel sets is tried again while they cannot be changed.
pub(super) const GATE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Leases or registrations in one page of a snapshot.
pub(super) const SNAPSHOT_PAGE: usize = 512;
