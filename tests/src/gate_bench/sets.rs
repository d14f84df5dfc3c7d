//! How many changes of the kernel sets the library makes in a second, in batches.
//!
//! It makes a table of its own, so it wants a network namespace of its own. A batch is one transaction: it
//! is over when the kernel has it.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{Gate, Ruleset, TABLE_DEFAULT};
use vestibule_load::histogram::Histogram;

/// How long elements live, in milliseconds: longer than any run.
const LIFE_MILLISECONDS: u64 = 3_600_000;
/// The first address of what stands in the sets.
const FIRST: u32 = 0x0a80_0000;
/// How far those that change are from the first of those that stand.
const CHANGING: u32 = 1 << 22;
/// Where tracked flows lead to: so many ports of each address from this one on.
const TRACKED_FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 0);
const TRACKED_PORTS: u32 = 10_000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetFigures {
    /// Elements that stand in the sets all the while.
    pub elements: u32,
    /// Changes in a batch.
    pub batch: u32,
    /// Whether the hosts that come in are others than those that were there before, so that the flows of these
    /// are deleted at once.
    pub forget_flows: bool,
    /// Flows of others that are tracked meanwhile.
    pub tracked_flows: u32,
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
/// The kernel refused, or lets no flows be tracked.
pub fn measure(
    elements: u32,
    batch: u32,
    forget_flows: bool,
    tracked_flows: u32,
    time: Duration,
) -> Result<SetFigures, Box<dyn Error>> {
    let standing: Vec<(Ipv4Addr, Side, u64)> = (0..elements)
        .map(|number| (address(number), Side::Registered, LIFE_MILLISECONDS))
        .collect();
    let mut gate = Gate::open(ruleset(elements + batch), &standing)?;
    track(tracked_flows)?;
    let turns = [Some(Side::Unregistered), Some(Side::Registered), None].map(|side| {
        let change = |number| GateChange {
            address: address(CHANGING + number),
            side: side.map(|side| (side, LIFE_MILLISECONDS)),
            // Another host than the one that has just gone.
            forget_flows: forget_flows && side == Some(Side::Unregistered),
            holder: None,
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
        tracked_flows,
        changes_per_second,
        p50_microseconds: times.percentile(50.0),
        p99_microseconds: times.percentile(99.0),
    })
}

/// Has the kernel track so many flows of nobody in the sets.
fn track(flows: u32) -> io::Result<()> {
    if flows == 0 {
        return Ok(());
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if !up.success() {
        return Err(io::Error::other("the loopback interface does not come up"));
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for number in 0..flows {
        let to = Ipv4Addr::from(u32::from(TRACKED_FIRST) + number / TRACKED_PORTS);
        socket.send_to(b"flow", (to, 1024 + (number % TRACKED_PORTS) as u16))?;
    }
    let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
    if tracked.trim().parse::<u32>().is_ok_and(|tracked| tracked >= flows) {
        Ok(())
    } else {
        Err(io::Error::other(format!("{flows} flows were begun, {} are tracked", tracked.trim())))
    }
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
        gated_prefixes_ipv6_by_hardware: Vec::new(),
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
            let figures = measure(1000, 64, true, 20, Duration::from_millis(1)).unwrap();
            assert!(figures.changes_per_second > 0.0, "{figures:?}");
            assert!(figures.p50_microseconds <= figures.p99_microseconds, "{figures:?}");
            let tables = crate::isolated::command("nft list tables");
            assert!(!tables.contains(TABLE_DEFAULT), "nothing is left: {tables}");
        });
    }
}
