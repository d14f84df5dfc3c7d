//! Early renewals: what is written and told for them, and when they are none.
//!
//! The replies themselves, byte for byte, are the conformance cases `caching-*`.

use super::*;

/// A server whose only network has no gate, with the host 1 in it, committed.
fn open_bench() -> (Bench, Ipv4Addr) {
    let mut bench = Bench::new(5);
    let mut configuration = configuration(5);
    configuration.networks[0].gated = false;
    bench.server = Server::new(configuration, [SERVER], [], bench.now);
    let address = bench.lease(1).unwrap();
    (bench, address)
}

fn renewal(number: u8, address: Ipv4Addr) -> Request {
    let mut renewal = request(number, MessageType::Request);
    renewal.giaddr = Ipv4Addr::UNSPECIFIED;
    renewal.ciaddr = address;
    renewal.arrival.source = SocketAddrV4::new(address, 68);
    renewal
}

fn writes(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Persist(_)))
}

fn is_reused(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Notice(Notice::LeaseReused))
}

fn seconds_told(effects: &[Effect]) -> u32 {
    let reply = effects.iter().find_map(|effect| match effect {
        Effect::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    let told = reply.and_then(|reply| reply.option(crate::options::code::LEASE_TIME));
    u32::from_be_bytes(told.expect("a lease time").try_into().unwrap())
}

#[test]
fn an_early_renewal_commits_nothing_and_leaves_the_lease_as_it_is() {
    let (mut bench, address) = open_bench();
    let lease = bench.server.book.entry(address.into()).map(|lease| lease.ends());
    bench.now = bench.now.plus_seconds(600);
    let mut effects = Effects::new();
    let sequence = bench.server.sequence();
    let step = bench.server.step(bench.now, Input::Packet(&renewal(1, address)), &mut effects);
    assert_eq!((step, bench.server.sequence()), (None, sequence));
    let effects: Vec<Effect> = effects.drain().collect();
    assert!(is_reused(&effects) && !writes(&effects), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Reply { release: Release::Immediately, reply, reason: None }
            if reply.message_type == MessageType::Ack && reply.yiaddr == address
    )));
    assert_eq!(bench.server.book.entry(address.into()).map(|lease| lease.ends()), lease);
}

#[test]
fn nobody_is_told_more_than_is_left() {
    let (mut bench, address) = open_bench();
    let ends = bench.server.book.entry(address.into()).unwrap().ends();
    for passed in [1, 999, 1000, 1001, 59_500, 899_000] {
        bench.now = Timestamp::from_milliseconds(ends.milliseconds() - 3_600_000 + passed);
        let effects = bench.packet(renewal(1, address));
        assert!(is_reused(&effects), "after {passed} ms");
        let left = 3_600_000 - passed;
        assert_eq!(u64::from(seconds_told(&effects)), left / 1000, "after {passed} ms");
    }
}

#[test]
fn in_a_gated_network_the_kernel_is_told_what_is_left_and_nothing_is_written() {
    let mut bench = Bench::new(2);
    let address = bench.lease(1).unwrap();
    bench.now = bench.now.plus_seconds(20);
    let effects = bench.packet(renewal(1, address));
    assert!(is_reused(&effects) && !writes(&effects), "{effects:?}");
    let side = Some((Side::Unregistered, 100_000));
    let expected = GateChange { address, side, forget_flows: false, holder: None };
    assert_eq!(gate_changes(&effects), [expected]);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Reply { release: Release::AfterCommit(_), .. }))
    );
}

#[test]
fn a_host_whose_side_of_the_gate_is_being_changed_gets_a_lease_that_is_written() {
    let mut bench = Bench::new(2);
    let address = bench.lease(1).unwrap();
    let register = Command::Register(Register {
        expires: Some(bench.now.plus_seconds(60)),
        ..Register::of(RegistrationTarget::Hardware(hardware(1)))
    });
    bench.input(Input::Command(Ticket(1), register));
    bench.packet(renewal(1, address));
    // The end of its registration is decided, and not in the kernel yet.
    bench.now = bench.now.plus_seconds(60);
    let mut effects = Effects::new();
    let sequence = bench.server.step(bench.now, Input::Tick, &mut effects).expect("a change");
    let change = effects.drain().collect::<Vec<_>>();
    assert_eq!(gate_changes(&change)[0].side.unwrap().0, Side::Unregistered);
    bench.server.step(bench.now, Input::Packet(&renewal(1, address)), &mut effects);
    let effects: Vec<Effect> = effects.drain().collect();
    assert!(writes(&effects) && !is_reused(&effects), "{effects:?}");
    bench.server.step(bench.now, Input::Committed(sequence), &mut Effects::new());
}

#[test]
fn a_lease_is_reused_only_once_it_is_durable() {
    let (mut bench, address) = open_bench();
    bench.now = bench.now.plus_seconds(1800);
    let renewed = bench
        .server
        .step(bench.now, Input::Packet(&renewal(1, address)), &mut Effects::new())
        .expect("beyond the threshold it is written");
    let again = Request { xid: 77, ..renewal(1, address) };
    let mut effects = Effects::new();
    let second = bench.server.step(bench.now, Input::Packet(&again), &mut effects).unwrap();
    assert!(writes(&effects.drain().collect::<Vec<_>>()));
    // One of two is durable: still not the newest.
    bench.server.step(bench.now, Input::Committed(renewed), &mut Effects::new());
    let third = Request { xid: 78, ..renewal(1, address) };
    let mut effects = Effects::new();
    let third = bench.server.step(bench.now, Input::Packet(&third), &mut effects).unwrap();
    assert!(second < third && writes(&effects.drain().collect::<Vec<_>>()));
    bench.server.step(bench.now, Input::Committed(third), &mut Effects::new());
    let effects = bench.packet(Request { xid: 79, ..renewal(1, address) });
    assert!(is_reused(&effects) && !writes(&effects));
}

#[test]
fn who_has_an_offer_open_or_says_something_new_gets_a_lease_that_is_written() {
    let named = |address| Request { host_name: Some(b"lab-7"[..].into()), ..renewal(1, address) };
    let (mut bench, address) = open_bench();
    assert!(writes(&bench.packet(named(address))), "its name is new");
    assert!(is_reused(&bench.packet(Request { xid: 70, ..named(address) })), "and now known");
    assert!(is_reused(&bench.packet(Request { xid: 71, ..renewal(1, address) })), "none is named");
    bench.reply(request(1, MessageType::Discover)).unwrap();
    let effects = bench.packet(Request { xid: 72, ..renewal(1, address) });
    assert!(writes(&effects), "an offer is open");
}

#[test]
fn a_threshold_of_nothing_writes_every_renewal() {
    let mut configuration = configuration(5);
    configuration.networks[0].gated = false;
    configuration.cache_threshold_percent = 0;
    let (mut bench, _) = open_bench();
    bench.server = Server::new(configuration, [SERVER], [], bench.now);
    let address = bench.lease(1).unwrap();
    assert!(writes(&bench.packet(renewal(1, address))));
}

#[test]
fn a_change_of_one_address_may_count_for_another_but_is_never_missed() {
    let apart = u32::try_from(limits::CHANGED_ADDRESSES_KEPT).unwrap();
    let mut bench = Bench::new(2);
    let mut configuration = configuration(2);
    configuration.networks[0].gated = false;
    let mut other = configuration.networks[0].clone();
    other.name = "staff".into();
    let first = u32::from(other.subnets[0].pools[0].first) + apart;
    other.subnets[0].prefix = "10.21.0.0/24".parse().unwrap();
    other.subnets[0].pools[0] = AddressRange { first: first.into(), last: first.into() };
    other.subnets[0].reservations.clear();
    configuration.networks.push(other);
    bench.server = Server::new(configuration, [SERVER], [], bench.now);
    let address = bench.lease(1).unwrap();
    assert_eq!(first - apart, u32::from(address), "they share a place");
    // Somebody else's lease in the other network, which is not durable yet.
    let elsewhere = |message_type| Request {
        giaddr: Ipv4Addr::new(10, 21, 0, 1),
        requested_address: Some(first.into()),
        server_identifier: (message_type == MessageType::Request).then_some(SERVER),
        ..request(2, message_type)
    };
    bench.reply(elsewhere(MessageType::Discover)).unwrap();
    let select = elsewhere(MessageType::Request);
    let mut effects = Effects::new();
    let sequence = bench.server.step(bench.now, Input::Packet(&select), &mut effects).unwrap();
    assert!(writes(&effects.drain().collect::<Vec<_>>()));
    let mut effects = Effects::new();
    bench.server.step(bench.now, Input::Packet(&renewal(1, address)), &mut effects);
    assert!(writes(&effects.drain().collect::<Vec<_>>()), "it counts as changed");
    let last = bench.server.sequence();
    assert!(last > sequence);
    bench.server.step(bench.now, Input::Committed(last), &mut Effects::new());
    assert!(is_reused(&bench.packet(Request { xid: 70, ..renewal(1, address) })));
}
