//! Replies of a server to clients whose prefix no router knows: stateful destination NAT loses them when
//! source ports run out; the rules of `vestibule-load steer` bring every one, from port 67, untracked.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vestibule_load::client::Manner;
use vestibule_load::engine::batch::{Receiver, Sender, socket};
use vestibule_load::engine::{Arrivals, Engine, Mix, PhasePlan, Plan, Renewals, Return, Stay};
use vestibule_load::ledger::Ledger;
use vestibule_load::message::Relay;
use vestibule_load::null_server::NullServer;
use vestibule_load::result::Pair;
use vestibule_load::steer::{Steer, rules};
use vestibule_tests::isolated::{Namespace, command};

/// More clients than there are ports below 512.
const CLIENTS: u32 = 2000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
const LOAD_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

const STATEFUL: &str = "table ip steer { chain output { type nat hook output priority -100; \
                        ip daddr 10.20.0.0/16 udp sport 67 udp dport 68 dnat to 10.0.0.5; }; }";

/// A server that has nothing but a default route, to a router that is not there, and a load host.
fn hosts() -> (Namespace, Namespace) {
    let (server, load) = (Namespace::new("server"), Namespace::new("load"));
    command("ip link add wire netns server type veth peer name wire netns load");
    for (host, address) in [(&server, SERVER), (&load, LOAD_HOST)] {
        host.command(&format!("ip address add {address}/24 dev wire"));
        host.command("ip link set wire up");
    }
    server.command("ip route add default via 10.0.0.1");
    (server, load)
}

fn load_rules(server: &Namespace, text: &str) {
    std::fs::write("/run/rules.nft", format!("{text}\n")).unwrap();
    server.command("nft -f /run/rules.nft");
}

fn steered() -> String {
    let prefixes = vec!["10.20.0.0/16".parse().unwrap()];
    rules(&Steer { prefixes, load_host: LOAD_HOST }).unwrap()
}

/// Has the server send an ACK's worth of bytes to every client. How many were refused with EPERM, and
/// the source ports of those that arrived.
fn replies(server: &Namespace, load: &Namespace) -> (usize, Vec<u16>) {
    let home = load.run(|| socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68)).unwrap());
    let refused = server.run(|| {
        let from = socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67)).unwrap();
        let mut sender = Sender::default();
        let mut refused = 0;
        for number in 0..CLIENTS {
            let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 20, 1, 0)) + number);
            sender.add(None, SocketAddrV4::new(client, 68), |bytes| bytes.extend([2; 300]));
            sender.flush(&from, |error| {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                refused += 1;
            });
        }
        refused
    });
    // The wire is a veth: what was sent has arrived.
    let mut receiver = Receiver::default();
    let mut ports = Vec::new();
    while receiver.receive(&home, false).unwrap() > 0 {
        ports.extend(receiver.packets().map(|packet| packet.from.port()));
    }
    (refused, ports)
}

fn tracked(server: &Namespace) -> usize {
    server.command("cat /proc/sys/net/netfilter/nf_conntrack_count").trim().parse().unwrap()
}

#[test]
fn stateful_nat_runs_out_of_ports_and_the_server_gets_eperm() {
    vestibule_tests::isolated!(|| {
        let (server, load) = hosts();
        load_rules(&server, STATEFUL);
        let (refused, ports) = replies(&server, &load);
        assert!(refused > 0, "every reply left");
        assert!(ports.iter().any(|port| *port != 67), "source ports were kept: {ports:?}");
        assert!(ports.len() + refused <= CLIENTS as usize);
        assert!(tracked(&server) > 0);
    });
}

#[test]
fn steered_replies_all_come_home_from_port_67_untracked() {
    vestibule_tests::isolated!(|| {
        let (server, load) = hosts();
        // Something that would track everything else.
        load_rules(
            &server,
            "table ip tracking { chain output { type filter hook output priority 0; ct state new accept; }; }",
        );
        load_rules(&server, &steered());
        let (refused, ports) = replies(&server, &load);
        assert_eq!(refused, 0);
        assert_eq!(ports.len(), CLIENTS as usize);
        assert!(ports.iter().all(|port| *port == 67));
        assert_eq!(tracked(&server), 0);
        // Reading the rules again changes nothing, and they can be undone.
        load_rules(&server, &steered());
        server.command("nft delete table ip vestibule_steer");
    });
}

#[test]
fn clients_get_and_renew_their_leases_through_steered_replies() {
    vestibule_tests::isolated!(|| {
        let (server, load) = hosts();
        load_rules(&server, &steered());
        load.command("ip route add local 10.20.0.0/16 dev lo");
        let null = NullServer {
            listen: SocketAddrV4::new(SERVER, 67),
            first_address: Ipv4Addr::new(10, 20, 1, 0),
            lifetime_seconds: 2,
        };
        let listening = server.run(|| null.bind().unwrap());
        let end = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| listening.serve(&end).unwrap());
            let engine = load.run(|| {
                Engine::new(Plan {
                    clients: 200,
                    first_client: 1,
                    servers: vec![SocketAddrV4::new(SERVER, 67)],
                    relays: vec![Relay::new(Ipv4Addr::new(10, 20, 0, 1))],
                    relay_port: 67,
                    client_port: 68,
                    manner: Manner { first_wait_milliseconds: 4000, ..Manner::default() },
                    mix: Mix::default(),
                    renewals: Renewals::Unicast,
                    stay: Stay::Renewing,
                    returns: Return::Never,
                    seed: 1,
                    ledger: Ledger::default(),
                    ledger_file: None,
                    newcomers: None,
                })
            });
            let mut engine = engine.unwrap();
            let phase = PhasePlan {
                name: "renewals".to_owned(),
                arrivals: Arrivals::AtOnce,
                duration: Some(Duration::from_millis(1500)),
                is_drained: false,
            };
            engine.play(&phase, &AtomicBool::new(false), &mut |_| ()).unwrap();
            end.store(true, Ordering::Relaxed);
            engine.finish()
        });
        let totals = outcome.tally.totals;
        assert_eq!((totals.doras, totals.bound_at_end, outcome.violations), (200, 200, 0));
        let latencies = outcome.tally.latencies();
        let renewals = latencies.iter().find(|latency| latency.pair == Pair::RenewAck).unwrap();
        assert_eq!(renewals.histogram.count(), 200, "{:?}", outcome.tally.errors());
    });
}
