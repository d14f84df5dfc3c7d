//! Which address a client gets, and how addresses are counted, listed and given back.

use super::*;

#[test]
fn never_used_addresses_come_first_and_then_the_one_free_longest() {
    let mut bench = Bench::new(3);
    let first = bench.lease(1).unwrap();
    bench.pass(1);
    let second = bench.lease(2).unwrap();
    bench.pass(121);
    assert_eq!(bench.status().held, 0);
    let third = bench.lease(3).unwrap();
    assert!(third != first && third != second);
    assert_eq!(bench.lease(4).unwrap(), first, "free for longest");
    assert_eq!(bench.lease(2).unwrap(), second, "its former address");
    assert_eq!(bench.lease(5), Err(Reason::PoolExhausted));
}

#[test]
fn counters_follow_every_change() {
    let mut bench = Bench::new(3);
    assert_eq!((bench.status().pool_size, bench.status().free), (3, 3));
    let address = bench.lease(1).unwrap();
    let status = bench.status();
    assert_eq!((status.free, status.held, status.unregistered), (2, 1, 1));
    let register = Command::Register(Register {
        owner: Some("ada".into()),
        ..Register::of(RegistrationTarget::Address(address))
    });
    bench.input(Input::Command(Ticket(1), register));
    let status = bench.status();
    assert_eq!((status.registered, status.unregistered), (1, 0));
    let mut decline = request(1, MessageType::Decline);
    decline.requested_address = Some(address);
    decline.server_identifier = Some(SERVER);
    assert_eq!(bench.reply(decline), Err(Reason::Declined));
    let status = bench.status();
    assert_eq!((status.free, status.held, status.declined, status.registered), (2, 0, 1, 0));
    bench.pass(600);
    let status = bench.status();
    assert_eq!((status.free, status.declined), (3, 0));
}

#[test]
fn an_offer_that_runs_out_gives_its_address_back() {
    let mut bench = Bench::new(1);
    bench.reply(request(1, MessageType::Discover)).unwrap();
    assert_eq!(bench.lease(2), Err(Reason::PoolExhausted));
    bench.pass(limits::OFFER_HOLD_SECONDS);
    assert!(bench.lease(2).is_ok());
}

#[test]
fn a_lease_that_ends_under_its_own_offer_is_offered_to_nobody_else() {
    let mut bench = Bench::new(1);
    let address = bench.lease(1).unwrap();
    bench.pass(110);
    assert_eq!(bench.reply(request(1, MessageType::Discover)).unwrap().yiaddr, address);
    bench.pass(15);
    assert_eq!(bench.status().held, 0);
    assert_eq!(bench.lease(2), Err(Reason::PoolExhausted));
    assert_eq!(bench.lease(1), Ok(address));
    bench.pass(121);
    assert_eq!(bench.lease(2), Ok(address));
}

#[test]
fn a_client_is_found_by_few_of_its_former_addresses() {
    let mut bench = Bench::new(60);
    for host in 10..70 {
        let mut select = request(1, MessageType::Request);
        select.requested_address = Some(Ipv4Addr::new(10, 20, 0, host));
        select.server_identifier = Some(SERVER);
        assert_eq!(bench.reply(select).unwrap().message_type, MessageType::Ack);
    }
    let client = request(1, MessageType::Request).client();
    assert_eq!(bench.server.book.of_client(&client).count(), limits::FORMER_LEASES_MAX + 1);
    assert_eq!(bench.server.book.of_hardware(hardware(1)).count(), limits::FORMER_LEASES_MAX + 1);
    assert_eq!((bench.status().held, bench.status().free), (1, 59));
    // The others are still the client's by their addresses.
    let mut reboot = request(1, MessageType::Request);
    reboot.requested_address = Some(Ipv4Addr::new(10, 20, 0, 12));
    assert_eq!(bench.reply(reboot).unwrap().message_type, MessageType::Ack);
}

#[test]
fn leases_are_listed_in_pages() {
    let mut bench = Bench::new(5);
    for number in 1..=5 {
        bench.lease(number).unwrap();
    }
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let query = Query::Leases { after, limit: 2, filter: LeaseFilter::Held };
        let QueryAnswer::Leases { leases, next } = bench.server.query(bench.now, &query) else {
            panic!("another answer")
        };
        seen.extend(leases.into_iter().map(|view| view.lease.address.octets()[3]));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [10, 11, 12, 13, 14]);
}
