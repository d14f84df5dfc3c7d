//! The service from outside: packets in, packets out, on real sockets of the loopback interface.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod answers;
mod connections;
mod crowd;
mod dig;
mod forwarding;
mod garden;
mod lab;
mod metrics;
mod redirect;
mod start;
