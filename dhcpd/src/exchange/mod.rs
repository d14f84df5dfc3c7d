//! Registrations and vouchers, exchanged with the failover partner over its API: `docs/failover.md` says what
//! that promises.
//!
//! ```text
//! partner ── GET /v1/exchange ── lines ── follow ── Command::Merge ── core ── kernel, journal
//! core ── Query::Exchange, barrier ── lines ── api::exchange ── partner
//! ```
//!
//! Each half follows the other: everything first, in the order of the last changes, then every change, and after
//! a broken connection what came after the last cursor. It promises that what is told is durable and in the
//! kernel, that what the partner says is checked as a caller's request is before the core sees it, and that a
//! partner costs bounded memory, whatever it sends. It decides nothing: which word counts is the core's
//! matter ([`vestibule_core::exchange`]).
//!
//! - `wire`: the lines; `follow`: hearing the partner; `status`: how that goes; `news`: when there is something
//!   to tell.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod follow;
mod news;
mod status;
mod wire;

pub use follow::{ExchangeError, Follow};
pub use news::{EXCHANGE_FOLLOWERS_MAX, ExchangeNews, NewsReader};
pub use status::{ExchangeCounts, ExchangeState};
pub use wire::{ExchangeHello, ExchangeLine, NotExchangeable, VERSION, WireRecord, line_part};
