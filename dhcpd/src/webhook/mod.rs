//! Webhooks: events brought to others by HTTP, signed, at least once, in order.
//!
//! Each webhook is a task with a place of its own in the event log, which it notes in a file once a
//! delivery was taken. It promises that an event is sent again until the receiver takes it or the log
//! keeps it no more, also across restarts; that what was lost that way is told to the receiver by a
//! `gap`, counted and logged; that a dead receiver costs a connection now and then and delays nobody;
//! and that secrets are in no log. It never decides what an event is.
//!
//! | file | idea |
//! | --- | --- |
//! | `courier` | the task: read, send, try again, note the place |
//! | `cursor` | the place, in a file |
//! | `post` | one HTTP request |
//! | `signature` | what proves who sent it, and when |
//! | `status` | how it goes, for the API |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod courier;
mod cursor;
mod post;
mod signature;
mod status;

pub use courier::{BACKOFF_MAX, BACKOFF_MIN, DELIVERY_BYTES_MAX, DELIVERY_EVENTS_MAX};
pub use courier::{Courier, TestResult, Webhook, Webhooks};
pub use cursor::Cursor;
pub use post::{PostError, Target, TargetError};
pub use signature::{SIGNATURE_HEADER, sign};
pub use status::WebhookStatus;
