//! What a server knows of an earlier life, whole or with a hole in it.

use super::*;

#[test]
fn a_restart_finds_a_client_by_its_lease_whatever_it_had_before() {
    let bench = Bench::new(60);
    let lease = |host: u8, ends: Timestamp| {
        Record::Lease(Lease {
            address: Ipv4Addr::new(10, 20, 0, host),
            client: ClientIdentifier::Hardware(hardware(1)),
            hardware: hardware(1),
            state: BindingState::Active,
            started: Timestamp::ZERO,
            changed: Timestamp::ZERO,
            ends,
            relay: None,
            relay_agent: None,
            host_name: None,
        })
    };
    // The one that is held is the oldest of many.
    let mut records = vec![lease(10, bench.now.plus_seconds(60))];
    records.extend((11..60).map(|host| lease(host, Timestamp::from_seconds(host.into()))));
    let server = Server::new(configuration(60), [SERVER], records, bench.now);
    let mut bench = Bench { server, ..bench };
    assert_eq!(bench.lease(1), Ok(Ipv4Addr::new(10, 20, 0, 10)));
}

#[test]
fn a_restart_knows_what_was_durable() {
    let mut bench = Bench::new(3);
    let mut records = Vec::new();
    for number in 1..=2 {
        let offer = bench.reply(request(number, MessageType::Discover)).unwrap();
        let mut select = request(number, MessageType::Request);
        select.requested_address = Some(offer.yiaddr);
        select.server_identifier = Some(SERVER);
        records.extend(bench.packet(select).into_iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record),
            _ => None,
        }));
    }
    let gate = bench.server.gate(bench.now);
    bench.server = Server::new(configuration(3), [SERVER], records, bench.now);
    assert_eq!(bench.server.gate(bench.now), gate);
    let status = bench.status();
    assert_eq!((status.free, status.held), (1, 2));
    let mut renew = request(1, MessageType::Request);
    renew.giaddr = Ipv4Addr::UNSPECIFIED;
    renew.ciaddr = Ipv4Addr::new(10, 20, 0, 10);
    renew.arrival.source = SocketAddrV4::new(renew.ciaddr, 68);
    let ack = bench.reply(renew).unwrap();
    assert_eq!(ack.destination, Destination::Client(Ipv4Addr::new(10, 20, 0, 10)));
    assert_eq!(bench.lease(3).unwrap(), Ipv4Addr::new(10, 20, 0, 12));
    assert_eq!(bench.lease(4), Err(Reason::PoolExhausted));
}

/// A lease as the book had it when the journal lost its next records.
fn recovered(number: u8, address: u8, changed: Timestamp, state: BindingState) -> Record {
    Record::Lease(Lease {
        address: Ipv4Addr::new(10, 20, 0, address),
        client: ClientIdentifier::Hardware(hardware(number)),
        hardware: hardware(number),
        state,
        started: changed,
        changed,
        ends: changed.plus_seconds(3600),
        relay: None,
        relay_agent: None,
        host_name: None,
    })
}

#[test]
fn a_hold_off_leaves_each_address_to_who_shows_that_it_holds_it() {
    let start = Timestamp::from_seconds(1_000_000);
    let since = start.plus_seconds(10);
    let until = since.plus_seconds(600);
    let records = [
        recovered(1, 10, start, BindingState::Active),
        recovered(2, 11, start.plus_seconds(11), BindingState::Active),
        recovered(3, 12, start.plus_seconds(11), BindingState::Released),
        recovered(200, 200, start, BindingState::Active),
        Record::HoldOff(HoldOff { since, until }),
    ];
    let now = start.plus_seconds(20);
    let mut bench = Bench { server: Server::new(configuration(9), [SERVER], records, now), now };
    let status = |bench: &Bench| match bench.server.query(bench.now, &Query::Status) {
        QueryAnswer::Status(status) => status.hold_off_until,
        _ => panic!("another answer"),
    };
    let of = |address: u8| Ipv4Addr::new(10, 20, 0, address);
    let renew = |number: u8, address: u8| Request {
        ciaddr: of(address),
        ..request(number, MessageType::Request)
    };
    let reboot = |number: u8, address: u8| Request {
        requested_address: Some(of(address)),
        ..request(number, MessageType::Request)
    };
    let wish = |number: u8, address: u8| Request {
        requested_address: Some(of(address)),
        ..request(number, MessageType::Discover)
    };
    let select = |number: u8, address: u8| Request {
        server_identifier: Some(SERVER),
        ..reboot(number, address)
    };
    assert_eq!(status(&bench), Some(until));
    // What the book has from before the hole may have gone to somebody else in it; what it does not
    // have may have been granted.
    for refused in [
        wish(1, 10),
        reboot(1, 10),
        select(1, 10),
        wish(200, 200),
        wish(4, 13),
        select(4, 13),
        renew(4, 13),
        renew(4, 10),
        wish(4, 12),
        request(3, MessageType::Discover),
        request(5, MessageType::Discover),
    ] {
        assert_eq!(bench.reply(refused.clone()), Err(Reason::HoldOff), "{refused:?}");
    }
    // A later record, and a renewal, show who has an address.
    for granted in [wish(2, 11), reboot(2, 11), renew(1, 10), wish(1, 10), renew(200, 200)] {
        let reply = bench.reply(granted.clone()).unwrap_or_else(|r| panic!("{r}: {granted:?}"));
        assert_ne!(reply.message_type, MessageType::Nak);
    }
    // To be given back now proves nothing about who got it in the hole.
    let release = Request { ciaddr: of(10), ..request(1, MessageType::Release) };
    assert_eq!(bench.reply(release), Err(Reason::Released));
    assert_eq!(bench.reply(wish(4, 10)), Err(Reason::HoldOff));
    // All that was lost has ended.
    bench.pass(590);
    assert_eq!(bench.now, until);
    assert_eq!(status(&bench), None);
    assert_eq!(bench.lease(4), Ok(of(13)));
}
