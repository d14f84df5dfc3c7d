//! How many changes of the kernel sets the library makes in a second, in batches.
//!
//! It makes a table of its own, so it wants a network namespace of its own. A batch is one transaction: it
//! is over when the kernel has it.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{FirewallError, Gate, Ruleset, TABLE_DEFAULT};
use vestibule_load::histogram::Histogram;

/// How long elements live, in milliseconds: longer than any run.
const LIFE_MILLISECONDS: u64 = 3_600_000;
/// The first address of what stands in the sets.
const FIRST: u32 = 0x0a80_0000;
/// How far those that change are from the first of those that stand.
const CHANGING: u32 = 1 << 22;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetFigures {
    /// Elements that stand in the sets all the while.
    pub elements: u32,
    /// Changes in a batch.
    pub batch: u32,
    /// Whether tracked flows of each address are forgotten, too, as when a host registers.
    pub forget_flows: bool,
    /// Changes a second.
    pub changes_per_second: f64,
    /// Median time of a batch, in microseconds.
    pub p50_microseconds: u64,
    /// 99th percentile of the same.
    pub p99_microseconds: u64,
}

/// Has batches made for so long. New hosts come in unregistered, register and go, in turn.
///
/// # Errors
/// The kernel refused.
pub fn measure(
    elements: u32,
    batch: u32,
    forget_flows: bool,
    time: Duration,
) -> Result<SetFigures, FirewallError> {
    let standing: Vec<(Ipv4Addr, Side, u64)> = (0..elements)
        .map(|number| (address(number), Side::Registered, LIFE_MILLISECONDS))
        .collect();
    let mut gate = Gate::open(ruleset(elements + batch), &standing)?;
    let turns = [Some(Side::Unregistered), Some(Side::Registered), None].map(|side| {
        let change = |number| GateChange {
            address: address(CHANGING + number),
            side: side.map(|side| (side, LIFE_MILLISECONDS)),
            forget_flows,
        };
        (0..batch).map(change).collect::<Vec<GateChange>>()
    });
    let mut times = Histogram::default();
    let began = Instant::now();
    while began.elapsed() < time {
        for turn in &turns {
            let before = Instant::now();
            gate.apply(turn)?;
            times.record(before.elapsed().as_micros() as u64);
        }
    }
    let changes = times.count() * u64::from(batch);
    let changes_per_second = changes as f64 / began.elapsed().as_secs_f64();
    gate.remove()?;
    Ok(SetFigures {
        elements,
        batch,
        forget_flows,
        changes_per_second,
        p50_microseconds: times.percentile(50.0),
        p99_microseconds: times.percentile(99.0),
    })
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + number)
}

fn ruleset(elements_max: u32) -> Ruleset {
    let host = Ipv4Addr::new(192, 0, 2, 1);
    Ruleset {
        table: TABLE_DEFAULT.to_owned(),
        gated_prefixes: Vec::new(),
        gated_prefixes_ipv6: Vec::new(),
        portal: host,
        portal_redirected: true,
        garden_prefixes: Vec::new(),
        lying_resolver: SocketAddrV4::new(host, 53),
        redirect: SocketAddrV4::new(host, 80),
        captive: None,
        server_addresses: vec![host],
        elements_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_is_counted_whole() {
        crate::isolated!(|| {
            let figures = measure(1000, 64, true, Duration::from_millis(1)).unwrap();
            assert!(figures.changes_per_second > 0.0, "{figures:?}");
            assert!(figures.p50_microseconds <= figures.p99_microseconds, "{figures:?}");
            let tables = crate::isolated::command("nft list tables");
            assert!(!tables.contains(TABLE_DEFAULT), "nothing is left: {tables}");
        });
    }
}
