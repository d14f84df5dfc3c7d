//! Prints what a change of the gate costs: median and worst time of one call, by number of changes and
//! size of the sets, and of deleting tracked flows among many.
//!
//! Run it as root in a network namespace of its own, because it makes a table and fills it:
//! `unshare --net cargo run --release --example apply_cost -p vestibule-firewall`.
//! It asserts nothing and changes nothing outside the namespace.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{Gate, Ruleset, TABLE_DEFAULT};

const LIFE_MILLISECONDS: u64 = 3_600_000;
const ROUNDS: usize = 200;
const FLOWS: u16 = 50_000;

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a80_0000 + number)
}

fn ruleset() -> Ruleset {
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
        elements_max: 200_000,
    }
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    println!("{name:<60} median {median:>12.1?}   worst {worst:>12.1?}");
}

fn sets(size: u32) -> Result<(), Box<dyn Error>> {
    let contents: Vec<(Ipv4Addr, Side, u64)> =
        (0..size).map(|number| (address(number), Side::Registered, LIFE_MILLISECONDS)).collect();
    let mut gate = Gate::open(ruleset(), &contents)?;
    for count in [1, 64, 512] {
        let changes = |offset: u32, side: Option<Side>| -> Vec<GateChange> {
            (0..count)
                .map(|number| GateChange {
                    address: address(offset + number),
                    side: side.map(|side| (side, LIFE_MILLISECONDS)),
                    forget_flows: false,
                    holder: None,
                })
                .collect()
        };
        for (name, offset, sides) in [
            ("new host, gone again", 150_000, [Some(Side::Unregistered), None]),
            ("from side to side", 160_000, [Some(Side::Unregistered), Some(Side::Registered)]),
            ("renewal", 0, [Some(Side::Registered), Some(Side::Registered)]),
        ] {
            let batches = sides.map(|side| changes(offset, side));
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                for batch in &batches {
                    let start = Instant::now();
                    gate.apply(batch)?;
                    times.push(start.elapsed());
                }
            }
            report(&format!("sets {size:>6}, {count:>3} changes, {name}"), times);
        }
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        gate.replace(&contents)?;
        times.push(start.elapsed());
    }
    report(&format!("sets {size:>6}, replaced whole"), times);
    let start = Instant::now();
    let read = gate.contents()?.len();
    report(&format!("sets {size:>6}, {read} elements read"), vec![start.elapsed()]);
    Ok(gate.remove()?)
}

fn flows() -> Result<(), Box<dyn Error>> {
    let mut gate = Gate::open(ruleset(), &[])?;
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if !up.success() {
        return Err("the loopback interface did not come up".into());
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for port in 1000..1000 + FLOWS {
        socket.send_to(b"flow", ("127.0.0.2", port))?;
    }
    let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
    println!("tracked flows: {}", tracked.trim());
    for count in [1_u32, 2, 4, 8, 9, 64, 512] {
        let changes: Vec<GateChange> = (0..count)
            .map(|number| GateChange {
                address: address(number),
                side: Some((Side::Registered, LIFE_MILLISECONDS)),
                forget_flows: true,
                holder: None,
            })
            .collect();
        let removals: Vec<GateChange> =
            changes.iter().map(|change| GateChange { side: None, ..*change }).collect();
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            for (batch, times) in [(&changes, &mut first), (&removals, &mut later)] {
                let start = Instant::now();
                gate.apply(batch)?;
                times.push(start.elapsed());
            }
        }
        report(&format!("{count} addresses get another holder"), first);
        report(&format!("{count} addresses lose theirs"), later);
    }
    let own = GateChange {
        address: Ipv4Addr::LOCALHOST,
        side: Some((Side::Registered, LIFE_MILLISECONDS)),
        forget_flows: true,
        holder: None,
    };
    gate.apply(&[own])?;
    let start = Instant::now();
    gate.apply(&[own])?;
    report("one change that forgets all of these flows", vec![start.elapsed()]);
    let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
    println!("tracked flows: {}", tracked.trim());
    Ok(gate.remove()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    sets(0)?;
    sets(100_000)?;
    flows()
}
