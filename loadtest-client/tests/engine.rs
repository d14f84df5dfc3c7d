//! The engine on real sockets, against the null server and against servers that break a rule each.
//!
//! Loopback only: all of 127.0.0.0/8 is of this host, so relays and clients have addresses of their
//! own in it. Ports are chosen by the kernel.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vestibule_load::client::Manner;
use vestibule_load::engine::{
    Arrivals, Engine, EngineError, Mix, Outcome, PhasePlan, Plan, Renewals, Return, Stay,
};
use vestibule_load::ledger::Ledger;
use vestibule_load::message::Relay;
use vestibule_load::null_server::NullServer;
use vestibule_load::result::Pair;

/// A server on a thread, until it is dropped.
struct Server {
    address: SocketAddrV4,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn null(lifetime_seconds: u32) -> Self {
        let server = NullServer {
            listen: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            first_address: Ipv4Addr::new(127, 64, 0, 0),
            lifetime_seconds,
        };
        let listening = server.bind().unwrap();
        let address = listening.address().unwrap();
        Self::start(address, move |end| {
            listening.serve(end).unwrap();
        })
    }

    /// One that answers with what `answer` makes of each request; `None`: not at all.
    fn broken(mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
        Self::start(address, move |end| {
            let mut buffer = [0; 1500];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(reply) = answer(&buffer[..length]) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        })
    }

    fn start(address: SocketAddrV4, serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&end);
        Self { address, end, thread: Some(std::thread::spawn(move || serve(&flag))) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn relay(number: u8) -> Relay {
    Relay {
        circuit_id: true,
        remote_id: true,
        source_port: true,
        ..Relay::new(Ipv4Addr::new(127, 20, number, 1))
    }
}

fn plan(servers: &[&Server], clients: u32) -> Plan {
    Plan {
        clients,
        first_client: 1,
        servers: servers.iter().map(|server| server.address).collect(),
        relays: (0..3).map(relay).collect(),
        relay_port: 0,
        client_port: 0,
        manner: Manner { first_wait_milliseconds: 4000, ..Manner::default() },
        mix: Mix::default(),
        renewals: Renewals::Unicast,
        stay: Stay::Idle,
        returns: Return::Never,
        seed: 1,
        ledger: Ledger::default(),
        ledger_file: None,
        newcomers: None,
    }
}

fn phase(arrivals: Arrivals) -> PhasePlan {
    PhasePlan { name: "test".to_owned(), arrivals, duration: None, is_drained: false }
}

fn play(plan: Plan, phase: &PhasePlan) -> Outcome {
    let mut engine = Engine::new(plan).unwrap();
    engine.play(phase, &AtomicBool::new(false), &mut |_| ()).unwrap();
    engine.finish()
}

#[test]
fn every_way_of_arriving_gives_every_client_one_lease() {
    for arrivals in [
        Arrivals::Rate(20_000.0),
        Arrivals::Curve(vec![(0.0, 0.0), (0.1, 20_000.0), (1.0, 20_000.0)]),
        Arrivals::AtOnce,
        Arrivals::Batches(30),
        Arrivals::InFlight(8),
    ] {
        let server = Server::null(3600);
        let outcome = play(plan(&[&server], 900), &phase(arrivals.clone()));
        let totals = outcome.tally.totals;
        assert_eq!(
            (totals.doras, totals.bound_at_end, totals.open_at_end),
            (900, 900, 0),
            "{arrivals:?}"
        );
        assert_eq!((totals.refusals, totals.expiries, outcome.violations), (0, 0, 0));
        assert_eq!(outcome.ledger.held(0).count(), 900);
        assert_eq!(outcome.phases[0].acknowledged, 900);
        assert_eq!(outcome.phases[0].began, 900);
        assert_eq!(outcome.tally.timeline().iter().map(|s| s.acknowledged).sum::<u64>(), 900);
        for row in outcome.tally.relays() {
            assert_eq!((row.clients, row.acknowledged), (300, 300), "{arrivals:?}");
        }
        let pairs = outcome.tally.latencies();
        let dora = pairs.iter().find(|latency| latency.pair == Pair::Dora).unwrap();
        assert_eq!(dora.histogram.count(), 900);
    }
}

#[test]
fn one_answer_of_a_pair_counts() {
    let (one, other) = (Server::null(3600), Server::null(3600));
    let outcome = play(plan(&[&one, &other], 90), &phase(Arrivals::InFlight(8)));
    assert_eq!((outcome.tally.totals.doras, outcome.violations), (90, 0));
}

#[test]
fn packets_go_to_both_servers_of_a_pair() {
    let server = Server::null(3600);
    // It never answers; what it was sent waits in its socket, so few enough that all of it fits.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    silent.set_nonblocking(true).unwrap();
    let SocketAddr::V4(address) = silent.local_addr().unwrap() else { panic!("not IPv4") };
    let mut plan = plan(&[&server], 30);
    plan.servers.push(address);
    let outcome = play(plan, &phase(Arrivals::InFlight(8)));
    assert_eq!((outcome.tally.totals.doras, outcome.violations), (30, 0));
    let mut buffer = [0; 1500];
    let received = std::iter::from_fn(|| silent.recv_from(&mut buffer).ok()).count();
    assert_eq!(received, 2 * 30, "a DISCOVER and a REQUEST of each client");
}

#[test]
fn renewals_leave_from_the_clients_own_address_and_come_home() {
    let server = Server::null(2);
    let mut engine = Engine::new(Plan { stay: Stay::Renewing, ..plan(&[&server], 50) }).unwrap();
    let phase =
        PhasePlan { duration: Some(Duration::from_millis(1500)), ..phase(Arrivals::AtOnce) };
    engine.play(&phase, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let outcome = engine.finish();
    let renewals = outcome.tally.latencies();
    let renewals = renewals.iter().find(|latency| latency.pair == Pair::RenewAck).unwrap();
    assert_eq!((renewals.histogram.count(), outcome.violations), (50, 0));
    assert_eq!((outcome.tally.totals.bound_at_end, outcome.tally.send_errors), (50, 0));
}

#[test]
fn a_client_whose_address_is_not_of_this_host_is_an_error_with_a_name() {
    // Addresses of TEST-NET-1, which no host has.
    let server = Server::broken(|request| {
        let mut reply = good(request)?;
        reply[16..19].copy_from_slice(&[192, 0, 2]);
        reply[251..255].copy_from_slice(&1_u32.to_be_bytes());
        Some(reply)
    });
    let mut engine = Engine::new(Plan { stay: Stay::Renewing, ..plan(&[&server], 2) }).unwrap();
    let phase = PhasePlan { duration: Some(Duration::from_millis(700)), ..phase(Arrivals::AtOnce) };
    engine.play(&phase, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let errors = engine.finish().tally.errors();
    let named = ["send: EINVAL", "send: ENETUNREACH"];
    let named = |kind: &str| named.contains(&kind);
    assert!(errors.iter().any(|error| named(&error.kind)), "{errors:?}");
}

#[test]
fn strangers_roam_leave_and_come_again() {
    let server = Server::null(3600);
    let plan = Plan {
        stay: Stay::Leaving { after_milliseconds: 5, releases: true },
        returns: Return::Stranger { roams: true },
        ..plan(&[&server], 30)
    };
    let phase = PhasePlan {
        duration: Some(Duration::from_millis(400)),
        is_drained: true,
        ..phase(Arrivals::Rate(1000.0))
    };
    let outcome = play(plan, &phase);
    let totals = outcome.tally.totals;
    assert!(totals.doras > 100 && totals.releases > 50, "{totals:?}");
    assert_eq!((outcome.violations, totals.open_at_end), (0, 0));
    assert!(outcome.tally.relays().iter().all(|row| row.acknowledged > 0));
}

#[test]
fn a_relay_that_is_not_local_is_refused_with_what_to_do() {
    let server = Server::null(3600);
    let relays = vec![Relay::new(Ipv4Addr::new(192, 0, 2, 1))];
    let error = Engine::new(Plan { relays, ..plan(&[&server], 1) }).unwrap_err();
    assert!(matches!(error, EngineError::NotLocal(..)));
    assert!(error.to_string().contains("ip route add local"), "{error}");
}

/// A right answer: the address follows from the hardware address, for 600 s from 127.0.0.1.
fn good(request: &[u8]) -> Option<Vec<u8>> {
    let mut reply = request.get(..240)?.to_vec();
    reply[0] = 2;
    reply[16..20].copy_from_slice(&[127, 64, 0, request[33]]);
    let kind = if request[242] == 1 { 2 } else { 5 };
    reply.extend([53, 1, kind, 54, 4, 127, 0, 0, 1, 51, 4, 0, 0, 2, 88, 255]);
    Some(reply)
}

fn rules(server: &Server, arrivals: Arrivals) -> Vec<&'static str> {
    let outcome = play(plan(&[server], 2), &phase(arrivals));
    assert_eq!(outcome.violations, outcome.violations_shown.len() as u64);
    outcome.violations_shown.iter().map(vestibule_load::ledger::Violation::rule).collect()
}

#[test]
fn one_address_for_two_clients_is_caught() {
    let server = Server::broken(|request| {
        let mut reply = good(request)?;
        reply[19] = 7;
        Some(reply)
    });
    assert_eq!(rules(&server, Arrivals::InFlight(1)), ["duplicate-address"]);
}

#[test]
fn a_shortened_lease_is_caught() {
    let server = Server::broken(|request| {
        let mut reply = good(request)?;
        if reply[242] == 5 {
            reply[251..255].copy_from_slice(&599_u32.to_be_bytes());
        }
        Some(reply)
    });
    assert_eq!(rules(&server, Arrivals::InFlight(1)), ["shortened-lease"; 2]);
}

#[test]
fn another_server_identifier_and_another_address_are_caught() {
    let server = Server::broken(|request| {
        let mut reply = good(request)?;
        if reply[242] == 5 {
            reply[248] = 9;
            reply[18] = 1;
        }
        Some(reply)
    });
    assert_eq!(
        rules(&server, Arrivals::InFlight(1)),
        ["other-terms", "other-server", "other-terms", "other-server"]
    );
}

#[test]
fn no_reply_makes_it_panic() {
    let mut random = vestibule_load::random::Random::new(5);
    let server = Server::broken(move |request| {
        let mut reply = good(request)?;
        for _ in 0..random.below(4) {
            let place = random.below(reply.len() as u64);
            reply[usize::try_from(place).ok()?] = u8::try_from(random.below(256)).ok()?;
        }
        reply.truncate(usize::try_from(random.below(500)).ok()?);
        Some(reply)
    });
    let plan = Plan {
        stay: Stay::Renewing,
        manner: Manner { first_wait_milliseconds: 10, ..Manner::default() },
        ..plan(&[&server], 200)
    };
    let phase = PhasePlan {
        duration: Some(Duration::from_millis(300)),
        is_drained: true,
        ..phase(Arrivals::Rate(2000.0))
    };
    let mut engine = Engine::new(plan).unwrap();
    engine.play(&phase, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let errors = engine.finish().tally.errors();
    assert!(errors.iter().any(|error| error.kind == "reply: malformed"), "{errors:?}");
}

#[test]
fn a_server_that_never_answers_is_given_up_and_said() {
    let server = Server::broken(|_| None);
    let phase = PhasePlan {
        duration: Some(Duration::from_millis(50)),
        is_drained: true,
        ..phase(Arrivals::AtOnce)
    };
    let outcome = play(plan(&[&server], 5), &phase);
    assert_eq!((outcome.phases[0].lost, outcome.phases[0].acknowledged), (5, 0));
    let errors = outcome.tally.errors();
    assert!(errors.iter().any(|error| error.kind == "exchange: no answer" && error.count == 5));
}

/// A server that hands on what it was asked, and answers.
fn listening() -> (Server, std::sync::mpsc::Receiver<Vec<u8>>) {
    let (asked, heard) = std::sync::mpsc::channel();
    let server = Server::broken(move |request| {
        asked.send(request.to_vec()).ok()?;
        good(request)
    });
    (server, heard)
}

#[test]
fn what_a_relay_adds_goes_to_both_servers_of_a_pair() {
    use dhcproto::v4::relay::RelayCode;
    use dhcproto::v4::{DhcpOption, Message, OptionCode};
    use dhcproto::{Decodable as _, Decoder};
    let ((one, heard), (other, heard_too)) = (listening(), listening());
    let relays = (0..3_u8)
        .map(|number| Relay {
            hops: 4,
            link_selection: Some(Ipv4Addr::new(10, 21, number, 0)),
            server_identifier_override: true,
            ..relay(number)
        })
        .collect();
    let outcome = play(Plan { relays, ..plan(&[&one, &other], 6) }, &phase(Arrivals::InFlight(2)));
    assert_eq!((outcome.tally.totals.doras, outcome.violations), (6, 0));
    for heard in [heard, heard_too] {
        let mut giaddrs = std::collections::BTreeSet::new();
        // DISCOVER and REQUEST of six clients; a second server may be slow to read them.
        for _ in 0..12 {
            let bytes = heard.recv_timeout(Duration::from_secs(20)).unwrap();
            let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
            giaddrs.insert(message.giaddr());
            assert_eq!(message.hops(), 4);
            let Some(DhcpOption::RelayAgentInformation(added)) =
                message.opts().get(OptionCode::RelayAgentInformation)
            else {
                panic!("no option 82")
            };
            for code in [
                RelayCode::AgentCircuitId,
                RelayCode::AgentRemoteId,
                RelayCode::LinkSelection,
                RelayCode::ServerIdentifierOverride,
                RelayCode::Unknown(19),
            ] {
                assert!(added.get(code).is_some(), "{code:?}");
            }
        }
        assert_eq!(giaddrs, (0..3).map(|number| relay(number).giaddr).collect());
    }
}

#[test]
fn a_reply_that_comes_to_another_relay_is_an_error_and_reaches_its_client() {
    // The server sends to the first relay whatever it was asked through, but names the right one.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
    let server = Server::start(address, move |end| {
        let mut buffer = [0; 1500];
        while !end.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let reply = good(&buffer[..length]).unwrap();
            socket.send_to(&reply, (relay(0).giaddr, from.port())).unwrap();
        }
    });
    let outcome = play(plan(&[&server], 9), &phase(Arrivals::InFlight(1)));
    assert_eq!((outcome.tally.totals.doras, outcome.violations), (9, 0));
    let errors = outcome.tally.errors();
    let count = |kind: &str| errors.iter().find(|e| e.kind == kind).map_or(0, |e| e.count);
    assert_eq!(count("reply: came to another relay"), 12, "{errors:?}");
}

#[test]
fn replies_are_taken_at_an_address_that_is_no_relays() {
    // As the rules of `steer` bring them.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
    let server = Server::start(address, move |end| {
        let mut buffer = [0; 1500];
        while !end.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let reply = good(&buffer[..length]).unwrap();
            socket.send_to(&reply, (Ipv4Addr::new(127, 9, 9, 9), from.port())).unwrap();
        }
    });
    let outcome = play(plan(&[&server], 9), &phase(Arrivals::InFlight(1)));
    assert_eq!((outcome.tally.totals.doras, outcome.violations), (9, 0));
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally.errors());
}
