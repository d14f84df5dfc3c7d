//! How many instructions the server spends on a packet, counted by valgrind's callgrind and kept in a
//! file, so that what makes the packet's way longer is seen and is meant.
//!
//! [`work`] is what is counted, [`callgrind`] counts it, [`counts`] compares with the file. It promises the
//! same counts for the same program; it never says how long anything takes: waiting for memory, the disk
//! and the kernel are not in it.

pub mod callgrind;
pub mod counts;
mod error;
pub mod work;

pub use error::InstructionsError;
