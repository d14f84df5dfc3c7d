//! What the tests of the whole system share: the lab made of namespaces, the demo and the
//! browser that play in it,
//! the servers that are compared in it, the failover pairs, their benchmarks, the simulator that needs neither, what measures
//! a server with a million leases, what takes clients through all of a lease's life, and what counts
//! the instructions of a packet's way.

pub mod bench;
pub mod browser;
pub mod demo;
pub mod gate_bench;
pub mod instructions;
pub mod isolated;
pub mod lab;
pub mod pair;
pub mod scale;
pub mod servers;
pub mod simulator;
pub mod soak;

/// How many rounds a test plays: what this variable of the environment says, else `usual`.
///
/// # Panics
/// If it says anything but a number.
#[must_use]
pub fn rounds(variable: &str, usual: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => usual,
    }
}
