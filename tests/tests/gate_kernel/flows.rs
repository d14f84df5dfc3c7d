//! Whose tracked flows are deleted, and when: those of who has left, without anybody waiting for it, and at the
//! latest before the address gets another holder; never those of who is there.

use super::surroundings::*;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{Gate, Ruleset};
use vestibule_tests::isolated;
use vestibule_tests::isolated::{Namespace, command, until};

/// The flows that the kernel tracks: who began each, and who answers. Sorted.
pub(crate) fn tracked() -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let listing = command("conntrack -L");
    let mut flows: Vec<(Ipv4Addr, Ipv4Addr)> = listing
        .lines()
        .filter_map(|line| {
            let mut sources =
                line.split_whitespace().filter_map(|word| word.strip_prefix("src=")?.parse().ok());
            Some((sources.next()?, sources.next()?))
        })
        .collect();
    flows.sort_unstable();
    flows
}

/// How many flows an address began or answers.
pub(crate) fn flows_of(address: Ipv4Addr) -> usize {
    tracked().iter().filter(|(began, answers)| [*began, *answers].contains(&address)).count()
}

/// Flows that each of [`crowd`] has.
const EACH: usize = 3;

/// Gives the host so many addresses, each of which is asked by others, too.
fn crowd(host: &Namespace, count: u32) -> Vec<Ipv4Addr> {
    let hosts: Vec<Ipv4Addr> = (100..100 + count).map(address).collect();
    for host_address in &hosts {
        host.command(&format!("ip address add {host_address}/24 dev uplink"));
        host.run(|| serve_udp(UdpSocket::bind((*host_address, 4000)).unwrap(), "host"));
    }
    hosts
}

/// Each begins two flows, and answers one.
fn talk_all(surroundings: &Surroundings, hosts: &[Ipv4Addr]) {
    let Surroundings { host, campus, .. } = surroundings;
    command("conntrack -F");
    for &address in hosts {
        assert_eq!(ask_new(host, address, (OUTSIDE, 4000)), says("outside"));
        assert_eq!(ask_new(host, address, (RESOLVER_TRUE, 53)), says("truth"));
        assert_eq!(ask_new(campus, OUTSIDE, (address, 4000)), says("host"));
    }
    assert_eq!(having_flows(hosts), hosts);
}

/// Which of these have flows; all of theirs, or none.
fn having_flows(hosts: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let flows = tracked();
    let of = |host: &Ipv4Addr| flows.iter().filter(|flow| [flow.0, flow.1].contains(host)).count();
    let counts = hosts.iter().map(|host| (*host, of(host)));
    let some = counts.filter(|(_, count)| *count > 0);
    some.inspect(|(host, count)| assert_eq!(*count, EACH, "{host}")).map(|(host, _)| host).collect()
}

fn registered(hosts: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Side, u64)> {
    hosts.iter().map(|&host| (host, Side::Registered, HOUR_MILLISECONDS)).collect()
}

#[test]
fn whoever_leaves_loses_its_flows_and_nobody_else() {
    isolated!(|| {
        let surroundings = Surroundings::new();
        let hosts = crowd(&surroundings.host, 40);
        for dialect in BOTH_DIALECTS {
            let mut gate = Gate::open_with(ruleset(100), &registered(&hosts), dialect).unwrap();
            talk_all(&surroundings, &hosts);
            let only_are_left = |left: &[Ipv4Addr]| {
                until("the flows are gone", || {
                    let flows = tracked();
                    let of = |host: &&Ipv4Addr| flows.iter().any(|f| [f.0, f.1].contains(host));
                    (hosts.iter().filter(of).count() == left.len()).then_some(())
                });
                assert_eq!(having_flows(&hosts), left);
            };
            let leave = |gate: &mut Gate, gone: &[Ipv4Addr]| {
                gate.apply(&gone.iter().map(|&host| forgetting(out(host))).collect::<Vec<_>>())
                    .unwrap();
            };
            leave(&mut gate, &hosts[..1]);
            only_are_left(&hosts[1..]);
            leave(&mut gate, &hosts[1..20]);
            only_are_left(&hosts[20..]);
            // Their time is up, and nobody says so.
            let short = hosts[20..30].iter().map(|&host| put(host, Side::Registered, 300));
            gate.apply(&short.collect::<Vec<GateChange>>()).unwrap();
            only_are_left(&hosts[30..]);
            // A renewal, or a registration, disturbs nothing.
            let others =
                hosts[30..].iter().zip([Side::Registered, Side::Unregistered].iter().cycle());
            let stay = others.map(|(&host, &side)| put(host, side, HOUR_MILLISECONDS));
            gate.apply(&stay.collect::<Vec<GateChange>>()).unwrap();
            leave(&mut gate, &hosts[30..31]);
            only_are_left(&hosts[31..]);
        }
    });
}

#[test]
fn an_address_that_gets_another_holder_before_its_turn_is_waited_for() {
    isolated!(|| {
        let surroundings = Surroundings::new();
        let hosts = crowd(&surroundings.host, 40);
        for dialect in BOTH_DIALECTS {
            let mut gate = Gate::open_with(ruleset(100), &registered(&hosts), dialect).unwrap();
            talk_all(&surroundings, &hosts);
            // One, a few, many; out and in again, in one transaction or in two, or from hand to hand.
            for (from, to) in [(0, 1), (1, 4), (4, 20)] {
                let changes = |change: fn(Ipv4Addr) -> GateChange| {
                    hosts[from..to].iter().map(|&host| change(host)).collect::<Vec<GateChange>>()
                };
                let leave = changes(|host| forgetting(out(host)));
                let enter = changes(|host| forgetting(put(host, Side::Registered, 60_000)));
                match from {
                    0 => gate.apply(&enter).unwrap(),
                    1 => gate.apply(&[leave, enter].concat()).unwrap(),
                    _ => {
                        gate.apply(&leave).unwrap();
                        gate.apply(&enter).unwrap();
                    }
                }
                assert_eq!(having_flows(&hosts), hosts[to..], "{dialect:?}");
            }
            // Its time was up.
            gate.apply(&[put(hosts[20], Side::Registered, 1)]).unwrap();
            until("it is in no set", || {
                (!sides(&mut gate).iter().any(|(host, _)| *host == hosts[20])).then_some(())
            });
            gate.apply(&[forgetting(put(hosts[20], Side::Unregistered, 60_000))]).unwrap();
            assert_eq!(having_flows(&hosts), hosts[21..]);
        }
    });
}

#[test]
fn whoever_comes_back_keeps_its_own() {
    isolated!(|| {
        let surroundings = Surroundings::new();
        let hosts = crowd(&surroundings.host, 2);
        let [comes_back, stays_away] = *hosts.as_slice() else { panic!("{hosts:?}") };
        let mut gate = Gate::open(ruleset(10), &registered(&hosts)).unwrap();
        talk_all(&surroundings, &hosts);
        gate.apply(&[forgetting(out(comes_back)), forgetting(out(stays_away))]).unwrap();
        gate.apply(&[put(comes_back, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        until("the other one's turn has come", || (flows_of(stays_away) == 0).then_some(()));
        assert_eq!(having_flows(&hosts), [comes_back]);
    });
}

#[test]
fn what_a_crash_has_left_is_deleted_at_the_next_start_and_after_interference() {
    isolated!(|| {
        let surroundings = Surroundings::new();
        let hosts = crowd(&surroundings.host, 3);
        // A login on an edge router, that has no lease: the gateway's own.
        let mut login = TcpStream::connect((NEIGHBOUR, 22)).unwrap();
        // The gateway's address in the gated network, too.
        let gateway = UdpSocket::bind((GATEWAY, 0)).unwrap();
        let mut gate = Gate::open(ruleset(10), &registered(&hosts)).unwrap();
        talk_all(&surroundings, &hosts);
        assert_eq!(talk(&mut login), says("host"));
        gateway.send_to(b"?", (OUTSIDE, 4000)).unwrap();
        gateway.recv_from(&mut [0; 64]).unwrap();
        let others = || (flows_of(GATEWAY), flows_of(NEIGHBOUR));
        assert_eq!(others(), (1, 1));
        // The process ends before anything is deleted.
        gate.apply(&[forgetting(out(hosts[0]))]).unwrap();
        drop(gate);
        assert_eq!(having_flows(&hosts), hosts);
        let mut gate = Gate::open(ruleset(10), &registered(&hosts[1..])).unwrap();
        assert_eq!(having_flows(&hosts), hosts[1..]);
        assert_eq!(others(), (1, 1));
        // Without the gate everybody makes flows, if another table has them tracked.
        command("nft delete table inet vestibule");
        command("nft add table inet other");
        command("nft add chain inet other begun { type filter hook forward priority 10; }");
        command("nft add rule inet other begun ct state new counter");
        assert_eq!(ask_new(&surroundings.host, hosts[0], (OUTSIDE, 4000)), says("outside"));
        assert_eq!(flows_of(hosts[0]), 1);
        gate.replace(&registered(&hosts[2..])).unwrap();
        assert_eq!(having_flows(&hosts), hosts[2..]);
        assert_eq!(others(), (1, 1));
        assert_eq!(talk(&mut login), says("host"));
    });
}

#[test]
fn a_page_that_was_led_astray_is_loaded_anew_on_the_other_side() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        campus.run(|| serve_tcp(TcpListener::bind((OUTSIDE, 4001)).unwrap(), "outside"));
        let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
        let mut gate = Gate::open(ruleset(10), &unregistered).unwrap();
        let mut probe = open(&host, HOST, (OUTSIDE, 80)).unwrap();
        let mut question = open(&host, HOST, (RESOLVER_TRUE, 53)).unwrap();
        assert_eq!(talk(&mut probe), says("redirect"));
        assert_eq!(talk(&mut question), says("lie"));
        gate.apply(&[put(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        for stream in [&mut probe, &mut question] {
            let answer = talk(stream);
            assert!(answer.is_err(), "{answer:?}");
        }
        let mut page = open(&host, HOST, (OUTSIDE, 80)).unwrap();
        assert_eq!(talk(&mut page), says("outside"));
        assert_eq!(connect(&host, HOST, (RESOLVER_TRUE, 53)), says("truth"));
        let mut stream = open(&host, HOST, (OUTSIDE, 4001)).unwrap();
        assert_eq!(talk(&mut stream), says("outside"));
        // And back: neither of what it began meanwhile goes on.
        gate.apply(&[put(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        for stream in [&mut page, &mut stream] {
            let answer = talk(stream);
            assert!(answer.is_err(), "{answer:?}");
        }
        assert_eq!(connect(&host, HOST, (OUTSIDE, 80)), says("redirect"));
    });
}

/// What is led astray comes back as if from where it was sent, so two flows of one port can be answered by
/// the same packets: tracking has to tell them apart.
#[test]
fn one_port_asks_the_lying_resolver_by_its_own_name_too() {
    isolated!(|| {
        let Surroundings { host, .. } = Surroundings::new();
        let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
        let mut gate = Gate::open(ruleset(10), &unregistered).unwrap();
        let socket = udp(&host, HOST);
        for side in [Side::Unregistered, Side::Registered, Side::Unregistered, Side::Registered] {
            gate.apply(&[put(HOST, side, HOUR_MILLISECONDS)]).unwrap();
            let answer = if side == Side::Registered { "truth" } else { "lie" };
            for _ in 0..2 {
                assert_eq!(ask(&socket, (RESOLVER_TRUE, 53)), answer);
                assert_eq!(ask(&socket, (RESOLVER_LYING, 53)), "lie");
            }
        }
    });
}

#[test]
fn the_portal_on_port_80_is_led_astray_and_loaded_after_the_registration() {
    isolated!(|| {
        let Surroundings { host, .. } = Surroundings::new();
        for portal_redirected in [true, false] {
            let ruleset = Ruleset { portal_redirected, ..ruleset(10) };
            let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
            let mut gate = Gate::open(ruleset, &unregistered).unwrap();
            let answer = if portal_redirected { "redirect" } else { "portal" };
            assert_eq!(connect(&host, HOST, (PORTAL, 80)), says(answer));
            gate.apply(&[put(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
            assert_eq!(connect(&host, HOST, (PORTAL, 80)), says("portal"));
        }
    });
}
