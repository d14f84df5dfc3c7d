//! Events: what happened, told to whoever wants to know, and kept for whoever comes later.
//!
//! ```text
//! core -> barrier -> handover (bounded) -> keeper's thread -> log on disk -> readers, each at its own place
//! ```
//!
//! It promises that an event is told only after its step is durable and in the kernel; that the packet
//! path never waits for it (what does not fit into the hand-over is counted, and told as a `gap`); that
//! the log is bounded in bytes and in events, survives the process, and gives every reader either every
//! event that it asks for or a clear word that some are gone; and that no reader waits for another. An id
//! is never used twice. It does not promise that the last moments before a crash are told: they are
//! told as a `gap` with the cause `restart`.
//!
//! | file | idea |
//! | --- | --- |
//! | `packed` | events on their way, small |
//! | `handover` | from the barrier to the keeper |
//! | `keeper` | the thread that writes |
//! | `log`, `segment`, `line` | the files, one of them, one line of it |
//! | `shared` | what readers see |
//! | `view` | an event as JSON |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod handover;
mod keeper;
mod limits;
mod line;
mod log;
mod packed;
mod segment;
mod shared;
mod view;

pub use handover::{Handover, Happened, handover};
pub use keeper::Keeper;
pub use limits::{
    EVENTS_WAITING_MAX, GATHER_INTERVAL, HANDOVERS_WAITING_MAX, IDS_RESERVED, RECENT_BYTES_MAX,
    RECENT_EVENTS_MAX, SEGMENTS_PER_LOG,
};
pub use line::{LINE_BYTES_MAX, Line, LineError, parse_line};
pub use log::{EventLog, EventLogError, Retention};
pub use packed::Packed;
pub use shared::{Events, NotRetained, Stored};
pub use view::{GapCause, GapView};
