//! What the halves of a pair tell each other beside the failover protocol, which carries leases only:
//! registrations, and vouchers with their uses.
//!
//! Each half tells every change of its own, and takes over what the other one tells. It promises that two
//! halves that have heard of everything hold the same, in whatever order and however often they heard it:
//! - of two words about one registration the one with the later [`HybridTime`] counts, and of two with the same,
//!   the end; an end is remembered for [`TOMBSTONE_SECONDS`](crate::limits::TOMBSTONE_SECONDS), so that an older
//!   registration that arrives later does not come back;
//! - a voucher is used by whoever used it at either half, and a revoked one stays revoked.
//!
//! It never knows connections or bytes: the shell carries [`Exchanged`] from one half to the other.
//!
//! - [`clock`]: what tells which word is later; [`record`]: what is told, and what is kept of it.

pub mod clock;
pub mod record;

pub use clock::{HybridClock, HybridTime};
pub use record::{ExchangeKey, ExchangeRecord, Exchanged, Merged};
