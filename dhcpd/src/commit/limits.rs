//! The named limits of the barrier (P5).

use std::time::Duration;
use vestibule_core::limits::STEPS_UNCOMMITTED_MAX;

/// Steps that are committed as one group at most. What is beyond it waits for the next one.
pub const GROUP_STEPS_MAX: usize = 1024;

/// Steps that wait for the barrier at most. Packets never reach it, because the core sheds them
/// before; the rest is room for commands and for what runs out by itself.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below either limit")]
pub const WORK_WAITING_MAX: usize = 2 * STEPS_UNCOMMITTED_MAX as usize;

/// Steps whose replies wait for the kernel sets at most; the oldest give way.
pub const WAITING_FOR_GATE_MAX: usize = 4096;

/// How long a reply waits for the kernel sets. After that its client has asked again.
pub(super) const WAITING_FOR_GATE_LIFETIME: Duration = Duration::from_secs(8);

/// How often the whole of the kernel sets is tried again while they cannot be changed.
pub(super) const GATE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Leases or registrations in one page of a snapshot.
pub(super) const SNAPSHOT_PAGE: usize = 512;
