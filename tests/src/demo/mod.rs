//! `make demo`: a gated campus, end to end, with real programs.
//!
//! [`story`] plays it on the campus of [`crate::lab`], [`stage`] prints and compares, [`portal`] is the
//! registration page, on [`http`]. It promises that what it prints is what ran, that it fails when a
//! step is not as expected, and that nothing is left behind, even when it is interrupted.

pub mod http;
pub mod portal;
pub mod stage;
pub mod story;
