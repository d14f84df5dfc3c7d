//! The barrier: nothing that was promised leaves before it is true (P2, P3).
//!
//! One thread owns the kernel sets and the journal. It takes everything that waits, as one group:
//!
//! ```text
//! gather -> kernel sets, one transaction -> journal, one sync -> held replies leave -> everyone else is told
//! ```
//!
//! While a group is being synced the next one gathers, and it starts the moment the first is done. There
//! is no timer: an idle server answers after one sync, a loaded one after at most two.
//!
//! - A journal that cannot be written ends the thread with [`CommitError`], and with it the process:
//!   a failed sync is never retried and never ignored.
//! - Kernel sets that cannot be changed hold back the replies that need them. The core is asked for the
//!   whole of what the sets should hold, and when that is in, the replies leave. Replies that change
//!   nothing in the sets never wait for them.
//!
//! It never decides anything: what is to be done comes from the core.

mod barrier;
mod limits;
mod outbox;
mod snapshots;
mod work;

pub use barrier::{Barrier, CommitError, Enforcement, Outlet, Stable};
pub use limits::{GROUP_STEPS_MAX, SPENT_KEPT_MAX, TURNS_WAITING_MAX, WAITING_FOR_GATE_MAX};
pub use outbox::{Envelope, Outbox};
pub use snapshots::SnapshottingStore;
pub use work::{GateReplacement, HeldAnswer, HeldReply, Work};
