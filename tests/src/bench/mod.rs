//! `make bench`: servers side by side under the same load, in one run, on one machine.
//!
//! [`plan`] says what is run in which order, [`play`] runs it in namespaces of its own, [`figures`]
//! takes medians, [`table`] and [`goals`] say what came out, [`conditions`] where. It promises that no
//! server is favoured: all have the same networks, the same load, the same processors and an empty
//! store each time, and they take turns, each repetition beginning with another one. It never
//! judges: a slow run is a figure, and only a violation in a ledger is a failure.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to be read by people"
)]

pub mod conditions;
pub mod error;
pub mod figures;
pub mod goals;
pub mod interrupt;
pub mod plan;
pub mod play;
pub mod share;
pub mod table;

pub use error::BenchError;
