//! `vestibule.toml`: one file for every daemon, its grammar, its checks.
//!
//! It promises that a [`Vestibule`] value is consistent: pools lie inside their prefixes, nothing
//! overlaps, every key was known, every value had its type. Every mistake in a file is reported
//! with its line and what to do about it, all at once. It never touches the network, and reads no
//! file but the one it is given and those that the file names.

#![forbid(unsafe_code)]

mod checked;

pub use checked::{Api, ApiListen, Dns, GardenEntry, Gate, GateMode, Portal, Server, Vestibule};
