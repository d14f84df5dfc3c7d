//! History: who held an address at a time, and every address of a device, an owner, a circuit.
//!
//! ```text
//! journal (durable) -> tail -> fold: intervals -> log -> archives, merged as they age
//!                                                  \-> index beside each archive (derived)
//! ```
//!
//! It reads what the commit thread has made durable, out of the journal and behind it: nothing is handed
//! over, so nothing can stand in the way of a commit. It promises that renewals extend an interval, that
//! intervals of an address do not overlap, that what it has not written when the process dies it reads
//! from the journal again, and that what the rules do not keep is removed from everything it has. A
//! damaged index is made anew, a damaged archive costs what was in the damaged part, and neither stops
//! anything else. It never asks a packet to wait, and is never asked whether a lease is held.
//!
//! | file | idea |
//! | --- | --- |
//! | `interval`, `encoding` | who held what; its bytes |
//! | `fold`, `table` | from leases to intervals; what is open |
//! | `state` | all of it in memory |
//! | `log`, `archive`, `index` | the files |
//! | `files` | sealing, merging, forgetting |
//! | `policy` | what is kept |
//! | `worker`, `handle` | the thread, and the door to it |
//! | `query` | looking up |
//! | `recorder` | filling it without a journal |
//! | `offline` | the same without a server |

mod archive;
mod counts;
mod encoding;
mod files;
mod fold;
mod handle;
mod index;
mod interval;
mod log;
mod offline;
mod policy;
mod query;
mod recorder;
mod state;
mod table;
mod worker;

pub(crate) use counts::HistoryCounts;
pub use files::{ARCHIVE_INTERVALS_MAX, RECENT_INTERVALS_MAX};
pub use handle::{Book, History, HistoryError, HistoryHealth, Named, Networks, networks, remove};
pub use interval::{Ended, GrantedBy, Holding, Interval, Ownership};
pub use offline::{Offline, OfflineError};
pub use policy::Policy;
pub use query::{BLOCKS_READ_MAX, By, Cursor, DEVICES_OF_OWNER_MAX, Page, Question, Told};
pub use recorder::Recorder;
