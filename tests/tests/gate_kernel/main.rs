//! The gate against the real kernel: sets, transactions, notifications, and what packets meet.
//!
//! Each test has a network stack of its own (`isolated`), which is the gateway; hosts and the campus
//! are further namespaces inside it. The program `nft` is used to look and to interfere.

mod flows;
mod garden;

mod inheritance;
mod ipv6;
mod start;
mod surroundings;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{Dialect, FirewallError, Gate, Interference, Ruleset};
use vestibule_tests::isolated;
use vestibule_tests::isolated::{attempt, command, until};

use flows::{flows_of, tracked};
use surroundings::*;

/// The whole table as `nft` shows it, without what changes by itself, and sets and chains in an order
/// that does not tell which of them were made anew.
fn table() -> String {
    let listing = command("nft --stateless list table inet vestibule");
    let lines = listing.lines().map(|line| {
        let words = line.split_whitespace();
        let mut skip = false;
        let kept = words.filter(|word| {
            let drop = skip || *word == "expires";
            skip = *word == "expires";
            !drop
        });
        kept.collect::<Vec<_>>().join(" ")
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.replacen("{\n", "{\n\n", 1).replace("\n}\n}", "\n}\n\n}");
    let mut parts: Vec<&str> = text.split("\n\n").map(str::trim).collect();
    parts.sort_unstable();
    parts.join("\n")
}

#[test]
fn opening_twice_makes_the_same_table_and_replaces_what_was_in_it() {
    isolated!(|| {
        let gate =
            Gate::open(ruleset(1000), &[(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        let first = table();
        drop(gate);
        assert_eq!(table(), first, "a gate that is dropped leaves its table");
        // Left over by an older version, and by somebody's hand.
        command("nft add set inet vestibule old { type ipv4_addr; }");
        command("nft add chain inet vestibule left_over { type filter hook input priority 5; }");
        command("nft add element inet vestibule registered { 10.20.7.7 timeout 1h }");
        command("nft add rule inet vestibule gate_forward accept");
        let mut gate =
            Gate::open(ruleset(1000), &[(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(table(), first);
        assert_eq!(sides(&mut gate), [(HOST, Side::Registered)]);
        drop(gate);
        let mut gate = Gate::open(ruleset(1000), &[]).unwrap();
        assert_eq!(sides(&mut gate), []);
        gate.remove().unwrap();
        assert_eq!(command("nft list ruleset"), "");
    });
}

#[test]
fn prefixes_that_somebody_changed_and_prefixes_that_are_configured_anew_become_right() {
    isolated!(|| {
        let mut gate = Gate::open(ruleset(10), &[]).unwrap();
        let right = table();
        for interference in [
            "add element inet vestibule gated { 10.99.0.0/16 }",
            "delete element inet vestibule gated { 10.20.0.0/15 }",
            "flush set inet vestibule garden",
            "add element inet vestibule garden { 10.0.0.128/25 }",
            "flush set inet vestibule gated_ipv6",
            "add element inet vestibule gated_ipv6 { 2001:db8:99::/64 }",
            "delete chain inet vestibule gate_forward",
            "add table inet vestibule { flags dormant; }",
        ] {
            command(&format!("nft {interference}"));
            assert_ne!(table(), right, "{interference}");
            gate.replace(&[]).unwrap();
            assert_eq!(table(), right, "{interference}");
        }
        drop(gate);
        let other =
            Ruleset { gated_prefixes: vec!["10.30.0.0/16".parse().unwrap()], ..ruleset(10) };
        let _gate = Gate::open(other, &[]).unwrap();
        assert_eq!(table(), right.replace("10.20.0.0/15", "10.30.0.0/16"));
    });
}

#[test]
fn other_tables_are_never_touched() {
    isolated!(|| {
        command("nft add table inet other");
        command("nft add set inet other registered { type ipv4_addr; }");
        command("nft add element inet other registered { 192.0.2.1 }");
        command("nft add chain inet other input { type filter hook input priority 0; }");
        command("nft add rule inet other input counter");
        command("nft add table ip vestibule");
        command("nft add chain ip vestibule gate_forward");
        let others = || {
            let tables = ["inet other", "ip vestibule"];
            tables.map(|table| command(&format!("nft --handle list table {table}")))
        };
        let before = others();
        let mut gate = Gate::open(ruleset(10), &[(HOST, Side::Unregistered, 60_000)]).unwrap();
        gate.apply(&[put(HOST, Side::Registered, 60_000)]).unwrap();
        gate.replace(&[]).unwrap();
        gate.remove().unwrap();
        assert_eq!(others(), before);
        assert_eq!(command("nft list tables"), "table inet other\ntable ip vestibule\n");
    });
}

#[test]
fn addresses_move_between_the_sets_and_out_of_them() {
    isolated!(|| {
        for dialect in BOTH_DIALECTS {
            let mut gate = Gate::open_with(ruleset(100), &[], dialect).unwrap();
            gate.apply(&[]).unwrap();
            gate.apply(&[
                put(address(1), Side::Unregistered, 60_000),
                put(address(2), Side::Registered, 60_000),
            ])
            .unwrap();
            let both = [(address(1), Side::Unregistered), (address(2), Side::Registered)];
            assert_eq!(sides(&mut gate), both);
            // Each again, and one more that was in neither.
            gate.apply(&[
                put(address(1), Side::Registered, 60_000),
                put(address(2), Side::Unregistered, 60_000),
                out(address(3)),
            ])
            .unwrap();
            let swapped = [(address(1), Side::Registered), (address(2), Side::Unregistered)];
            assert_eq!(sides(&mut gate), swapped);
            // Of several changes of one address the last counts.
            gate.apply(&[
                put(address(1), Side::Unregistered, 60_000),
                out(address(1)),
                out(address(2)),
                put(address(2), Side::Registered, 60_000),
            ])
            .unwrap();
            assert_eq!(sides(&mut gate), [(address(2), Side::Registered)]);
            gate.apply(&[out(address(2)), out(address(2))]).unwrap();
            assert_eq!(sides(&mut gate), []);
        }
    });
}

#[test]
fn an_element_lives_as_long_as_told_and_renewal_restarts_its_clock() {
    isolated!(|| {
        for dialect in BOTH_DIALECTS {
            let mut gate = Gate::open_with(ruleset(100), &[], dialect).unwrap();
            let left = |gate: &mut Gate| gate.contents().unwrap().first().map(|&(_, _, left)| left);
            gate.apply(&[put(HOST, Side::Registered, 60_000)]).unwrap();
            let before = until("time passes", || left(&mut gate).filter(|&left| left < 59_900));
            gate.apply(&[put(HOST, Side::Registered, 60_000)]).unwrap();
            let renewed = left(&mut gate).unwrap();
            assert!(before < renewed && renewed <= 60_000, "{before} then {renewed}, {dialect:?}");
            // A shorter lease shortens it, a longer one lengthens it.
            gate.apply(&[put(HOST, Side::Registered, 5_000)]).unwrap();
            assert!(left(&mut gate).unwrap() <= 5_000);
            gate.apply(&[put(HOST, Side::Registered, 7_000_000)]).unwrap();
            let lengthened = left(&mut gate).unwrap();
            assert!(6_900_000 < lengthened && lengthened <= 7_000_000, "{lengthened}, {dialect:?}");
            // Then it ends, and no daemon is needed for that. 0 is not for ever.
            for milliseconds in [0, 50] {
                gate.apply(&[put(HOST, Side::Registered, milliseconds)]).unwrap();
                until("the element ends", || left(&mut gate).is_none().then_some(()));
            }
        }
    });
}

#[test]
fn a_transaction_that_fails_changes_nothing() {
    isolated!(|| {
        for dialect in BOTH_DIALECTS {
            let start: Vec<(Ipv4Addr, Side, u64)> =
                (0..4).map(|n| (address(n), Side::Registered, HOUR_MILLISECONDS)).collect();
            let mut gate = Gate::open_with(ruleset(4), &start, dialect).unwrap();
            let before = sides(&mut gate);
            // Good changes first; then more than the set has room for.
            let mut changes = vec![out(address(0)), put(address(1), Side::Unregistered, 60_000)];
            changes.extend((100..120).map(|n| put(address(n), Side::Registered, 60_000)));
            let error = gate.apply(&changes).unwrap_err();
            assert!(matches!(error, FirewallError::SetFull { elements_max: 4 }), "{error:?}");
            assert_eq!(sides(&mut gate), before);
            let many: Vec<(Ipv4Addr, Side, u64)> =
                (0..5).map(|n| (address(n), Side::Unregistered, HOUR_MILLISECONDS)).collect();
            let error = gate.replace(&many).unwrap_err();
            assert!(matches!(error, FirewallError::SetFull { elements_max: 4 }), "{error:?}");
            assert_eq!(sides(&mut gate), before);
            // The socket is in order again.
            gate.apply(&[out(address(0))]).unwrap();
            assert_eq!(sides(&mut gate).len(), 3);
        }
    });
}

#[test]
fn a_batch_may_be_longer_than_one_message_but_not_longer_than_the_kernel_takes() {
    isolated!(|| {
        for dialect in BOTH_DIALECTS {
            let mut gate = Gate::open_with(ruleset(120_000), &[], dialect).unwrap();
            let changes = |count: u32, side| -> Vec<GateChange> {
                (0..count).map(|n| put(address(n), side, HOUR_MILLISECONDS)).collect()
            };
            let in_order = gate.apply(&changes(1999, Side::Registered));
            in_order.unwrap();
            gate.apply(&changes(1777, Side::Unregistered)).unwrap();
            let contents = sides(&mut gate);
            assert_eq!(contents.len(), 1999);
            let moved = contents.iter().filter(|(_, side)| *side == Side::Unregistered).count();
            assert_eq!(moved, 1777);
            if dialect == Dialect::Portable {
                // 120,000 changes by the long way are more than the 16 MiB that were asked for.
                let error = gate.apply(&changes(120_000, Side::Registered)).unwrap_err();
                assert!(matches!(error, FirewallError::BatchTooLarge { .. }), "{error:?}");
                assert_eq!(sides(&mut gate), contents);
            }
        }
    });
}

#[test]
fn a_hundred_thousand_addresses_are_replaced_in_one_transaction() {
    isolated!(|| {
        const COUNT: u32 = 100_000;
        let contents = |side| -> Vec<(Ipv4Addr, Side, u64)> {
            (0..COUNT).map(|n| (address(n), side, HOUR_MILLISECONDS)).collect()
        };
        let mut gate = Gate::open(ruleset(COUNT), &[]).unwrap();
        if gate.transaction_bytes_max() < 5_000_000 {
            // In a user namespace the kernel grants no more than net.core.wmem_max.
            let error = gate.replace(&contents(Side::Registered)).unwrap_err();
            assert!(matches!(error, FirewallError::BatchTooLarge { .. }), "{error:?}");
            assert_eq!(sides(&mut gate), []);
            return;
        }
        for side in [Side::Registered, Side::Unregistered] {
            gate.replace(&contents(side)).unwrap();
            let read = sides(&mut gate);
            assert_eq!(read.len(), 100_000);
            assert!(read.iter().all(|(_, actual)| *actual == side));
        }
        assert!(matches!(
            gate.replace(
                &[
                    contents(Side::Registered),
                    vec![(Ipv4Addr::new(192, 0, 2, 1), Side::Registered, HOUR_MILLISECONDS)]
                ]
                .concat()
            ),
            Err(FirewallError::SetFull { .. })
        ));
    });
}

#[test]
fn a_missing_capability_is_named() {
    const WITHOUT: &str = "without";
    fn here() {}
    let test = isolated::test_name(std::any::type_name_of_val(&here));
    isolated::run(test, || {
        if isolated::mark().as_deref() == Some(WITHOUT) {
            let error = Gate::open(ruleset(10), &[]).unwrap_err();
            assert!(matches!(error, FirewallError::CapabilityMissing), "{error:?}");
            let text = error.to_string();
            assert!(
                text.contains("CAP_NET_ADMIN") && text.contains("gate.mode = \"off\""),
                "{text}"
            );
        } else {
            // Root in a user namespace that does not own the network namespace.
            isolated::again(test, WITHOUT, &["unshare", "--user", "--map-root-user"]);
            assert_eq!(command("nft list ruleset"), "");
        }
    });
}

#[test]
fn a_table_that_was_removed_is_noticed_and_made_again() {
    isolated!(|| {
        let mut gate = Gate::open(ruleset(10), &[]).unwrap();
        command("nft delete table inet vestibule");
        let error = gate.apply(&[put(HOST, Side::Registered, 60_000)]).unwrap_err();
        assert!(matches!(error, FirewallError::TableMissing), "{error:?}");
        assert!(matches!(gate.contents(), Err(FirewallError::TableMissing)));
        gate.replace(&[(HOST, Side::Registered, 60_000)]).unwrap();
        assert_eq!(sides(&mut gate), [(HOST, Side::Registered)]);
    });
}

#[test]
fn interference_is_noticed_and_our_own_changes_are_not_taken_for_it() {
    isolated!(|| {
        let contents: Vec<(Ipv4Addr, Side, u64)> =
            (0..20_000).map(|n| (address(n), Side::Registered, HOUR_MILLISECONDS)).collect();
        let (mut gate, mut watch) =
            Gate::open_watched(ruleset(20_000), &elements(contents.clone())).unwrap();
        let by_nft = |watch: &mut vestibule_firewall::Watch| {
            let found = watch.poll().unwrap();
            let Some(Interference::Changed { program: Some((name, _)) }) = found else {
                panic!("{found:?}")
            };
            assert_eq!(name, "nft");
            assert_eq!(watch.poll().unwrap(), None, "it is told once");
        };
        assert_eq!(watch.poll().unwrap(), None);
        for _ in 0..20 {
            gate.replace(&contents).unwrap();
            gate.apply(&[put(address(7), Side::Unregistered, 60_000), out(address(8))]).unwrap();
        }
        assert_eq!(watch.poll().unwrap(), None, "our own changes");
        let contents = &contents[..100];
        gate.replace(contents).unwrap();
        command("nft add table inet other");
        command("nft add set inet other registered { type ipv4_addr; }");
        command("nft add element inet other registered { 192.0.2.1 }");
        command("nft add table ip vestibule");
        assert_eq!(watch.poll().unwrap(), None, "changes of other tables");

        command("nft delete element inet vestibule registered { 10.20.0.9 }");
        by_nft(&mut watch);
        command("nft add element inet vestibule registered { 10.21.0.9 timeout 1h }");
        by_nft(&mut watch);
        command("nft flush chain inet vestibule gate_forward");
        by_nft(&mut watch);
        command("nft flush set inet vestibule registered");
        by_nft(&mut watch);
        command("nft flush ruleset");
        by_nft(&mut watch);
        gate.replace(contents).unwrap();
        assert_eq!(watch.poll().unwrap(), None);
        assert_eq!(sides(&mut gate).len(), 100);

        // More notifications than the queue holds: nobody knows what was among them.
        let elements: Vec<String> = (0..7_000).map(|n| address(n).to_string()).collect();
        let file = format!(
            "table inet flood {{ set s {{ type ipv4_addr; elements = {{ {} }}; }}; }}",
            elements.join(", ")
        );
        std::fs::write("/run/flood", file).unwrap();
        let lost = until("the queue overflows", || {
            for _ in 0..30 {
                command("nft -f /run/flood");
                command("nft delete table inet flood");
            }
            watch.poll().unwrap()
        });
        assert_eq!(lost, Interference::Unknown);
        assert_eq!(watch.poll().unwrap(), None);
        command("nft flush ruleset");
        assert!(watch.poll().unwrap().is_some(), "it goes on after a loss");
    });
}

#[test]
fn an_unregistered_host_meets_lie_redirect_and_garden_and_is_refused_the_rest_at_once() {
    isolated!(|| {
        let Surroundings { host, neighbour, campus } = Surroundings::new();
        let _gate =
            Gate::open(ruleset(10), &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(ask_new(&host, HOST, (RESOLVER_TRUE, 53)), says("lie"));
        assert_eq!(ask_new(&host, HOST, (OUTSIDE, 53)), says("lie"));
        assert_eq!(ask_new(&host, HOST, (PORTAL, 53)), says("lie"));
        assert_eq!(ask_new(&host, HOST, (GATEWAY, 53)), says("lie"));
        assert_eq!(connect(&host, HOST, (RESOLVER_TRUE, 53)), says("lie"));
        assert_eq!(connect(&host, HOST, (OUTSIDE, 80)), says("redirect"));
        assert_eq!(connect(&host, HOST, (GATEWAY, 80)), says("redirect"));
        assert_eq!(connect(&host, HOST, (PORTAL, 80)), says("portal"));
        assert_eq!(connect(&host, HOST, (PORTAL, 443)), says("portal"));
        assert_eq!(connect(&host, HOST, (Ipv4Addr::new(10, 0, 0, 89), 443)), says("garden"));
        // The rest, fast.
        assert_eq!(connect(&host, HOST, (OUTSIDE, 443)), RESET);
        assert_eq!(ask_new(&host, HOST, (OUTSIDE, 4000)), PROHIBITED);
        assert_eq!(connect(&host, HOST, (NEIGHBOUR, 22)), RESET);
        let ping = attempt(&format!("ip netns exec host ping -n -c 1 -W 10 {OUTSIDE}"));
        assert!(isolated::both(&ping).contains("Packet filtered"), "{}", isolated::both(&ping));
        // This host itself.
        assert_eq!(connect(&host, HOST, (GATEWAY, 8067)), RESET);
        assert_eq!(connect(&host, HOST, (SERVER, 8067)), RESET);
        assert_eq!(ask_new(&host, HOST, (GATEWAY, 67)), says("dhcp"));
        host.command(&format!("ping -n -c 1 -W 10 {GATEWAY}"));
        // Nobody gets to it either, the garden only with answers.
        assert_eq!(connect(&campus, OUTSIDE, (HOST, 22)), RESET);
        assert_eq!(ask_new(&campus, OUTSIDE, (HOST, 4000)), PROHIBITED);
        assert_eq!(connect(&campus, PORTAL, (HOST, 22)), RESET);
        assert_eq!(connect(&neighbour, NEIGHBOUR, (HOST, 22)), RESET);
    });
}

#[test]
fn a_question_from_the_port_of_dhcp_gets_past_the_lying_resolver_to_nobody() {
    isolated!(|| {
        // Packets from port 67 are not tracked, so nothing sends them to the lying resolver either.
        let Surroundings { host, campus, .. } = Surroundings::new();
        let garden = Ipv4Addr::new(10, 0, 0, 89);
        campus.run(|| serve_udp(UdpSocket::bind((garden, 53)).unwrap(), "truth"));
        serve_udp(UdpSocket::bind((GATEWAY, 53)).unwrap(), "truth");
        let mut rules = ruleset(10);
        rules.garden_prefixes.push(GATEWAY.into());
        let _gate = Gate::open(rules, &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        for server in [garden, GATEWAY, OUTSIDE] {
            assert_eq!(ask_new(&host, HOST, (server, 53)), says("lie"), "{server}");
            let asked = host.run(|| {
                let socket = UdpSocket::bind((HOST, 67)).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.connect((server, 53)).unwrap();
                socket.send(b"?").unwrap();
                let mut answer = [0; 64];
                socket.recv(&mut answer).map_err(|error| error.kind())
            });
            assert_eq!(asked, Err(ErrorKind::HostUnreachable), "{server}");
        }
    });
}

#[test]
fn a_host_that_no_lease_backs_gets_nothing_but_dhcp() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let _gate = Gate::open(ruleset(10), &[]).unwrap();
        for server in
            [(OUTSIDE, 443), (OUTSIDE, 80), (PORTAL, 80), (PORTAL, 443), (RESOLVER_TRUE, 53)]
        {
            assert_eq!(connect(&host, HOST, server), RESET, "{server:?}");
        }
        for server in [(RESOLVER_LYING, 53), (RESOLVER_LYING, REDIRECT_PORT), (GATEWAY, 8067)] {
            assert_eq!(connect(&host, HOST, server), RESET, "{server:?}");
        }
        assert_eq!(ask_new(&host, HOST, (RESOLVER_TRUE, 53)), PROHIBITED);
        assert_eq!(ask_new(&host, HOST_SECOND, (RESOLVER_LYING, 53)), PROHIBITED);
        assert_eq!(ask_new(&campus, OUTSIDE, (HOST, 4000)), PROHIBITED);
        assert_eq!(ask_new(&host, HOST, (GATEWAY, 67)), says("dhcp"));
        assert_eq!(ask_new(&host, HOST, (SERVER, 67)), says("dhcp"));
    });
}

#[test]
fn a_registered_host_is_like_any_other() {
    isolated!(|| {
        let Surroundings { host, neighbour, campus } = Surroundings::new();
        let mut gate =
            Gate::open(ruleset(10), &[(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(ask_new(&host, HOST, (RESOLVER_TRUE, 53)), says("truth"));
        assert_eq!(connect(&host, HOST, (OUTSIDE, 80)), says("outside"));
        assert_eq!(connect(&host, HOST, (OUTSIDE, 443)), says("outside"));
        assert_eq!(connect(&host, HOST, (GATEWAY, 8067)), says("api"));
        assert_eq!(connect(&campus, OUTSIDE, (HOST, 22)), says("host"));
        // To another gated network only if both may.
        assert_eq!(connect(&host, HOST, (NEIGHBOUR, 22)), RESET);
        gate.apply(&[put(NEIGHBOUR, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(connect(&host, HOST, (NEIGHBOUR, 22)), RESET);
        assert_eq!(connect(&neighbour, NEIGHBOUR, (HOST, 22)), RESET);
        gate.apply(&[put(NEIGHBOUR, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(connect(&host, HOST, (NEIGHBOUR, 22)), says("host"));
        assert_eq!(connect(&neighbour, NEIGHBOUR, (HOST, 22)), says("host"));
    });
}

#[test]
fn hosts_that_are_not_gated_are_left_alone() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let ungated = Ruleset { gated_prefixes: Vec::new(), ..ruleset(10) };
        let _gate = Gate::open(ungated, &[]).unwrap();
        assert_eq!(connect(&host, HOST, (OUTSIDE, 443)), says("outside"));
        assert_eq!(ask_new(&host, HOST, (RESOLVER_TRUE, 53)), says("truth"));
        assert_eq!(connect(&campus, OUTSIDE, (SERVER, 8067)), says("api"));
        assert_eq!(connect(&campus, OUTSIDE, (HOST, 22)), says("host"));
    });
}

#[test]
fn lying_resolver_and_redirect_may_be_on_another_host() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let elsewhere = Ipv4Addr::new(10, 0, 0, 55);
        campus.command(&format!("ip address add {elsewhere}/24 dev uplink"));
        campus.run(|| {
            serve_udp(UdpSocket::bind((elsewhere, 5300)).unwrap(), "lie elsewhere");
            serve_tcp(TcpListener::bind((elsewhere, 5300)).unwrap(), "lie elsewhere");
            serve_tcp(TcpListener::bind((elsewhere, REDIRECT_PORT)).unwrap(), "redirect elsewhere");
            serve_tcp(TcpListener::bind((elsewhere, 22)).unwrap(), "login");
        });
        let ruleset = Ruleset {
            lying_resolver: SocketAddrV4::new(elsewhere, 5300),
            redirect: SocketAddrV4::new(elsewhere, REDIRECT_PORT),
            captive: None,
            ..ruleset(10)
        };
        let _gate = Gate::open(ruleset, &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(ask_new(&host, HOST, (RESOLVER_TRUE, 53)), says("lie elsewhere"));
        assert_eq!(connect(&host, HOST, (RESOLVER_TRUE, 53)), says("lie elsewhere"));
        assert_eq!(connect(&host, HOST, (OUTSIDE, 80)), says("redirect elsewhere"));
        assert_eq!(connect(&host, HOST, (elsewhere, 22)), RESET);
        assert_eq!(connect(&host, HOST_SECOND, (elsewhere, REDIRECT_PORT)), RESET);
    });
}

fn one_source_port_follows_its_host(dialect: Dialect) {
    let Surroundings { host, .. } = Surroundings::new();
    let server = (RESOLVER_TRUE, 53);
    let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
    let mut gate = Gate::open_with(ruleset(10), &unregistered, dialect).unwrap();
    let socket = udp(&host, HOST);
    assert_eq!(ask(&socket, server), "lie");
    // The flow of each side is remembered, and is not met on the other one.
    for (side, answer) in
        [(Side::Registered, "truth"), (Side::Unregistered, "lie"), (Side::Registered, "truth")]
    {
        gate.apply(&[put(HOST, side, HOUR_MILLISECONDS)]).unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&socket, server), answer);
        }
    }
    assert_eq!(flows_of(HOST), 2, "one of each side");
    // Nor by a change that nobody told this daemon of.
    drop(gate);
    let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
    let mut gate = Gate::open_with(ruleset(10), &unregistered, dialect).unwrap();
    assert_eq!(ask(&socket, server), "lie");
    assert_eq!(flows_of(HOST), 2, "its own");
    // Another holder inherits neither.
    gate.apply(&[forgetting(put(HOST, Side::Registered, HOUR_MILLISECONDS))]).unwrap();
    assert_eq!(flows_of(HOST), 0);
    assert_eq!(ask(&socket, server), "truth");
}

#[test]
fn one_source_port_gets_the_truth_after_registration_and_the_lie_after_eviction() {
    isolated!(|| one_source_port_follows_its_host(Dialect::Probed));
}

#[test]
fn one_source_port_follows_its_host_on_any_kernel() {
    isolated!(|| one_source_port_follows_its_host(Dialect::Portable));
}

#[test]
fn one_host_that_is_not_registered_cannot_fill_the_table_of_tracked_flows() {
    isolated!(|| {
        // More than it may begin at once, and less than it may in the time that this can take.
        const QUESTIONS: u32 = 5000;
        const MANY: usize = 2000;
        let Surroundings { host, campus, .. } = Surroundings::new();
        command(&format!("ip route add 198.18.0.0/15 via {OUTSIDE} dev {}", campus.name()));
        let mut gate =
            Gate::open(ruleset(10), &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        let ask_many_servers = || {
            let socket = udp(&host, HOST);
            for number in 0..QUESTIONS {
                let server = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
                socket.send_to(b"?", (server, 53)).unwrap();
            }
            let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
            count.unwrap().trim().parse::<usize>().unwrap()
        };
        let unregistered = ask_many_servers();
        assert!((1..MANY).contains(&unregistered), "{unregistered}");
        // Somebody answers for a registered host, and another host has a budget of its own.
        gate.apply(&[put(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        assert!(ask_many_servers() > MANY);
        gate.apply(&[put(HOST_SECOND, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(ask_new(&host, HOST_SECOND, (RESOLVER_TRUE, 53)), says("lie"));
    });
}

#[test]
fn a_permit_that_is_withdrawn_stops_a_connection_that_is_under_way() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let mut gate =
            Gate::open(ruleset(10), &[(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        for change in [out(HOST), put(HOST, Side::Unregistered, 60_000), forgetting(out(HOST))] {
            gate.apply(&[put(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
            let mut outward = open(&host, HOST, (OUTSIDE, 443)).unwrap();
            let mut inward = open(&campus, OUTSIDE, (HOST, 22)).unwrap();
            for _ in 0..3 {
                assert_eq!(talk(&mut outward), says("outside"));
                assert_eq!(talk(&mut inward), says("host"));
            }
            // A renewal does not.
            gate.apply(&[put(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
            assert_eq!(talk(&mut outward), says("outside"));
            gate.apply(&[change]).unwrap();
            assert_eq!(talk(&mut outward), Err(ErrorKind::ConnectionReset), "{change:?}");
            assert_eq!(talk(&mut inward), Err(ErrorKind::ConnectionReset), "{change:?}");
        }
    });
}

#[test]
fn the_portals_page_outlives_the_registration_that_it_makes() {
    isolated!(|| {
        let Surroundings { host, .. } = Surroundings::new();
        let mut gate =
            Gate::open(ruleset(10), &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap();
        let mut page = open(&host, HOST, (PORTAL, 443)).unwrap();
        assert_eq!(talk(&mut page), says("portal"));
        for side in [Side::Registered, Side::Unregistered] {
            gate.apply(&[forgetting(put(HOST, side, HOUR_MILLISECONDS))]).unwrap();
            assert_eq!(talk(&mut page), says("portal"));
        }
    });
}

#[test]
fn dhcp_and_the_ping_check_are_not_tracked() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let _gate = Gate::open(ruleset(10), &[]).unwrap();
        // A relay or a renewing host asks; the server answers.
        assert_eq!(ask_new(&host, HOST, (SERVER, 67)), says("dhcp"));
        // The server pings an address that nobody should have, and somebody answers.
        command(&format!("ping -n -c 1 -W 10 -I {SERVER} {HOST}"));
        assert_eq!(tracked(), Vec::<(Ipv4Addr, Ipv4Addr)>::new());
        // Others' pings and packets are.
        campus.command(&format!("ping -n -c 1 -W 10 {SERVER}"));
        assert_eq!(tracked().len(), 1);
    });
}

#[test]
fn there_is_no_moment_without_gate_while_it_is_replaced() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let contents: Vec<(Ipv4Addr, Side, u64)> = (1000..3000)
            .map(|n| (address(n), Side::Unregistered, HOUR_MILLISECONDS))
            .chain([(HOST, Side::Registered, HOUR_MILLISECONDS)])
            .collect();
        let mut gate = Gate::open(ruleset(10_000), &contents).unwrap();
        let outside = campus.run(|| UdpSocket::bind((OUTSIDE, 5000)).unwrap());
        outside.set_nonblocking(true).unwrap();
        let refused = udp(&host, HOST_SECOND);
        let permitted = udp(&host, HOST);
        permitted.connect((OUTSIDE, 4000)).unwrap();
        let done = AtomicBool::new(false);
        let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    refused.send_to(b"through?", (OUTSIDE, 5000)).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut answer = [0; 64];
                    permitted.send(b"?").unwrap();
                    assert_eq!(permitted.recv(&mut answer).unwrap(), "outside".len());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
            // As many as there are packets for, by this gate and by new ones.
            let mut rounds = 0;
            while rounds < 30
                || sent.load(Ordering::Relaxed) < 5000
                || (answered.load(Ordering::Relaxed) < 1000 && rounds < 3000)
            {
                gate.replace(&contents).unwrap();
                gate = Gate::open(ruleset(10_000), &contents).unwrap();
                rounds += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(answered.load(Ordering::Relaxed) >= 1000);
        let got_through = outside.recv(&mut [0; 64]).map_err(|error| error.kind());
        assert_eq!(got_through, Err(ErrorKind::WouldBlock), "of {sent:?} packets");
    });
}
