//! A big campus without its clients: what the server costs when it knows a million leases.
//!
//! It promises that everything it feeds the server is a function of a number, so two runs put the same
//! questions to the same book. It measures and prints; it asserts no time. The daemon that it starts
//! runs in a network namespace of its own, on a store in a temporary directory, and ends with it.

pub mod costs;
pub mod daemon;
pub mod population;
pub mod snapshot;
