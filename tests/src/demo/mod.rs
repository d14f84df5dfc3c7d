//! `make demo`: a gated campus, end to end, with real programs.
//!
//! [`story`] plays it on the campus of [`crate::lab`], [`stage`] prints and compares, [`http`] is the web
//! outside. It promises that what it prints is what ran, that it fails when a
//! step is not as expected, and that nothing is left behind, even when it is interrupted.

pub mod http;
pub mod stage;
pub mod story;
