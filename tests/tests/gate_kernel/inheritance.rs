//! An address handed to a new holder inherits nothing: of a flow that is under way not one packet passes
//! after the change is in, in neither direction.
//!
//! Numbered packets tell which of them were sent after it. That they are not merely late is told by those
//! that come when the address is registered again: between the two no number may be missing its verdict.

use crate::surroundings::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use vestibule_core::{
    AddressRange, BindingState, ClientIdentifier, Command, Configuration, Effect, Effects, GateBy,
    GateChange, HardwareAddress, Input, Lease, Network, OptionSet, PerClass, Policy,
    RandomisedAddresses, Record, Registration, RegistrationRules, Server, Side, Subnet, Ticket,
    Timestamp,
};
use vestibule_firewall::Gate;
use vestibule_tests::isolated;
use vestibule_tests::isolated::until;

/// Packets that are sent after the change at least.
const PACKETS: u64 = 500;

/// Numbered datagrams on one flow, for as long as it lives.
struct Stream {
    sent: Arc<AtomicU64>,
    received: Arc<std::sync::Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
}

impl Stream {
    fn start(from: UdpSocket, to: (Ipv4Addr, u16), receiver: UdpSocket) -> Self {
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let received = Arc::default();
        let (count, ended) = (Arc::clone(&sent), Arc::clone(&stop));
        thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                // Refusals come back as errors; the next one is sent all the same.
                let _ = from.send_to(&number.to_be_bytes(), to);
                thread::yield_now();
            }
        });
        let list: Arc<std::sync::Mutex<Vec<u64>>> = Arc::clone(&received);
        let ended = Arc::clone(&stop);
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        thread::spawn(move || {
            let mut packet = [0; 8];
            while !ended.load(Ordering::SeqCst) {
                if receiver.recv_from(&mut packet).is_ok() {
                    list.lock().unwrap().push(u64::from_be_bytes(packet));
                }
            }
        });
        Self { sent, received, stop }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Waits for one that was sent from now on.
    fn arrives(&self) {
        let now = self.sent();
        until("a packet arrives", || {
            self.received.lock().unwrap().last().filter(|last| **last > now).copied()
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn holders() -> [GateChange; 2] {
    [forgetting(put(HOST, Side::Unregistered, HOUR_MILLISECONDS)), forgetting(out(HOST))]
}

#[test]
fn of_a_datagram_flow_not_one_packet_passes_after_the_change() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let registered = [(HOST, Side::Registered, HOUR_MILLISECONDS)];
        let mut gate = Gate::open(ruleset(10), &registered).unwrap();
        let socket = |namespace: &isolated::Namespace, address, port| {
            namespace.run(|| UdpSocket::bind((address, port)).unwrap())
        };
        // One flow out, and its answers in: as a call or a game has them.
        let (inside, outside) = (socket(&host, HOST, 5000), socket(&campus, OUTSIDE, 5000));
        let outward = Stream::start(
            inside.try_clone().unwrap(),
            (OUTSIDE, 5000),
            outside.try_clone().unwrap(),
        );
        outward.arrives();
        let inward = Stream::start(outside, (HOST, 5000), inside);
        inward.arrives();
        for change in holders() {
            gate.apply(&[change]).unwrap();
            let after = [&outward, &inward].map(Stream::sent);
            until("packets are sent", || {
                let sent = [&outward, &inward].map(Stream::sent);
                (sent[0] > after[0] + PACKETS && sent[1] > after[1] + PACKETS).then_some(())
            });
            let before_permit = [&outward, &inward].map(Stream::sent);
            gate.apply(&[forgetting(put(HOST, Side::Registered, HOUR_MILLISECONDS))]).unwrap();
            for (stream, (after, before)) in
                [&outward, &inward].into_iter().zip(after.into_iter().zip(before_permit))
            {
                stream.arrives();
                let received = stream.received.lock().unwrap();
                let passed: Vec<u64> =
                    received.iter().copied().filter(|n| (after + 1..before).contains(n)).collect();
                assert!(passed.is_empty(), "{change:?}: {passed:?}");
                assert!(received.iter().any(|number| *number <= after), "there was a flow");
            }
        }
    });
}

#[test]
fn of_a_connection_not_one_byte_passes_after_the_change() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let registered = [(HOST, Side::Registered, HOUR_MILLISECONDS)];
        let mut gate = Gate::open(ruleset(10), &registered).unwrap();
        for change in holders() {
            gate.apply(&[forgetting(put(HOST, Side::Registered, HOUR_MILLISECONDS))]).unwrap();
            let listener = campus.run(|| TcpListener::bind((OUTSIDE, 5001)).unwrap());
            let mut inside = open(&host, HOST, (OUTSIDE, 5001)).unwrap();
            let (mut outside, _) = listener.accept().unwrap();
            outside.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut byte = [0];
            inside.write_all(b"a").unwrap();
            outside.read_exact(&mut byte).unwrap();
            gate.apply(&[change]).unwrap();
            // Whoever has the address now goes on with the connection, or its other end does.
            let _refused = inside.write_all(b"b");
            let answer = inside.read(&mut byte);
            assert!(answer.is_err(), "{change:?}: {answer:?}");
            let _refused = outside.write_all(b"c");
            let heard = outside.read(&mut byte);
            assert!(heard.is_err(), "not even an end: {change:?}: {heard:?}");
            // The next holder's permit does not bring it back.
            gate.apply(&[forgetting(put(HOST, Side::Registered, HOUR_MILLISECONDS))]).unwrap();
            assert!(inside.write_all(b"d").is_err() || inside.read(&mut byte).is_err());
        }
    });
}

/// A core that knows the host as a registered one.
fn core(hardware: HardwareAddress, now: Timestamp) -> Server {
    let lease = Lease {
        address: HOST,
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: now,
        changed: now,
        ends: now.plus_seconds(3600),
        relay: None,
        relay_agent: None,
        host_name: None,
    };
    let network = Network {
        name: "halls".into(),
        gated: true,
        gate_by: GateBy::default(),
        class_options: PerClass::default(),
        subnets: vec![Subnet {
            prefix: "10.20.0.0/16".parse().unwrap(),
            pools: vec![AddressRange { first: HOST, last: HOST_SECOND }],
            options: OptionSet::new(),
            class_pools: PerClass::default(),
            special_pools: Vec::new(),
            profile: None,
            class_options: PerClass::default(),
            reservations: Vec::new(),
        }],
        options: OptionSet::new(),
        randomised_addresses: RandomisedAddresses::Allow,
    };
    let configuration = Configuration {
        networks: vec![network],
        lifetime_seconds: 3600,
        lifetime_unregistered_seconds: 120,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 600,
        rapid_commit: false,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    };
    let records = [Record::Lease(lease), Record::Registration(Registration::of(hardware, now))];
    Server::new(configuration, [SERVER], records, now)
}

/// What the core has the kernel do for a command, brought in.
fn carry_out(core: &mut Server, gate: &mut Gate, now: Timestamp, command: Command) {
    let mut effects = Effects::new();
    core.step(now, Input::Command(Ticket(1), command), &mut effects);
    let changes: Vec<GateChange> = effects
        .drain()
        .filter_map(|effect| match effect {
            Effect::Gate(change) => Some(change),
            _ => None,
        })
        .collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    gate.apply(&changes).unwrap();
}

#[test]
fn a_suspension_cuts_flows_that_are_under_way_and_a_resumption_lets_new_ones_pass() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = Surroundings::new();
        let (hardware, now) = (
            HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 1]),
            Timestamp::from_seconds(1_000_000),
        );
        let mut core = core(hardware, now);
        let mut gate = Gate::open(ruleset(10), &core.gate(now)).unwrap();
        let socket = |namespace: &isolated::Namespace, address, port| {
            namespace.run(|| UdpSocket::bind((address, port)).unwrap())
        };
        let (inside, outside) = (socket(&host, HOST, 5000), socket(&campus, OUTSIDE, 5000));
        let outward = Stream::start(
            inside.try_clone().unwrap(),
            (OUTSIDE, 5000),
            outside.try_clone().unwrap(),
        );
        outward.arrives();
        let inward = Stream::start(outside, (HOST, 5000), inside);
        inward.arrives();
        let listener = campus.run(|| TcpListener::bind((OUTSIDE, 5001)).unwrap());
        let mut connection = open(&host, HOST, (OUTSIDE, 5001)).unwrap();
        let (_other_end, _) = listener.accept().unwrap();

        carry_out(&mut core, &mut gate, now, Command::Suspend { hardware, reason: None });
        let after = [&outward, &inward].map(Stream::sent);
        until("packets are sent", || {
            let sent = [&outward, &inward].map(Stream::sent);
            (sent[0] > after[0] + PACKETS && sent[1] > after[1] + PACKETS).then_some(())
        });
        let _refused = connection.write_all(b"a");
        let mut byte = [0];
        assert!(connection.read(&mut byte).is_err(), "the connection ends at once");
        let before_resumption = [&outward, &inward].map(Stream::sent);

        carry_out(&mut core, &mut gate, now, Command::Resume(hardware));
        for (stream, (after, before)) in
            [&outward, &inward].into_iter().zip(after.into_iter().zip(before_resumption))
        {
            stream.arrives();
            let received = stream.received.lock().unwrap();
            let passed: Vec<u64> =
                received.iter().copied().filter(|n| (after + 1..before).contains(n)).collect();
            assert!(passed.is_empty(), "of a suspended device: {passed:?}");
            assert!(received.iter().any(|number| *number <= after), "there was a flow");
        }
        open(&host, HOST, (OUTSIDE, 5001)).unwrap();
    });
}
