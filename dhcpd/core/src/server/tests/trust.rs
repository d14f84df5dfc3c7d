//! What the server does not believe, and what nobody can take from others.

use super::*;

#[test]
fn nobody_renews_in_the_name_of_another() {
    let mut bench = Bench::new(2);
    let identifier: Box<[u8]> = Box::new([1, 2, 0, 0x5e, 0, 0x53, 1]);
    let known = |message_type| Request {
        client_identifier: Some(identifier.clone()),
        ..request(1, message_type)
    };
    let address = bench.reply(known(MessageType::Discover)).unwrap().yiaddr;
    let mut select = known(MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    bench.reply(select).unwrap();
    let gate = bench.server.gate(bench.now);

    let renewal =
        Request { giaddr: Ipv4Addr::UNSPECIFIED, ciaddr: address, ..known(MessageType::Request) };
    let mut elsewhere = renewal.clone();
    elsewhere.arrival.source = SocketAddrV4::new(Ipv4Addr::new(10, 30, 0, 77), 68);
    assert_eq!(bench.reply(elsewhere), Err(Reason::SourceMismatch));
    let mut impostor = renewal.clone();
    impostor.arrival.source = SocketAddrV4::new(address, 68);
    impostor.hardware = hardware(66);
    assert_eq!(bench.reply(impostor), Err(Reason::UnknownLease));
    assert_eq!(bench.server.gate(bench.now), gate, "the gate has not moved");
    let mut own = renewal;
    own.arrival.source = SocketAddrV4::new(address, 68);
    assert_eq!(bench.reply(own).unwrap().message_type, MessageType::Ack);
}

#[test]
fn a_release_counts_from_the_address_that_it_releases() {
    let mut bench = Bench::new(2);
    let address = bench.lease(1).unwrap();
    let mut release = request(1, MessageType::Release);
    release.giaddr = Ipv4Addr::UNSPECIFIED;
    release.ciaddr = address;
    release.arrival.source = SocketAddrV4::new(Ipv4Addr::new(10, 30, 0, 77), 68);
    assert_eq!(bench.reply(release.clone()), Err(Reason::SourceMismatch));
    assert_eq!(bench.status().held, 1);
    release.arrival.source = SocketAddrV4::new(address, 68);
    assert_eq!(bench.reply(release), Err(Reason::Released));
    assert_eq!(bench.status().held, 0);
}

#[test]
fn one_device_cannot_decline_a_pool_away() {
    let mut bench = Bench::new(8);
    for _ in 0..20 {
        let address = bench.lease(1).unwrap();
        let mut decline = request(1, MessageType::Decline);
        decline.requested_address = Some(address);
        decline.server_identifier = Some(SERVER);
        assert_eq!(bench.reply(decline), Err(Reason::Declined));
    }
    let status = bench.status();
    assert_eq!((status.declined, status.held, status.free), (4, 0, 4));
}

#[test]
fn a_device_has_a_limit_of_leases_whatever_it_calls_itself() {
    let mut bench = Bench::new(5);
    let mut configuration = configuration(5);
    configuration.networks[0].subnets[0].prefix = "10.20.0.0/16".parse().unwrap();
    configuration.networks[0].subnets[0].pools[0].last = Ipv4Addr::new(10, 20, 9, 0);
    bench.server = Server::new(configuration, [SERVER], [], bench.now);
    let mut ask = |name: u16, requested: Option<Ipv4Addr>| {
        let message_type =
            if requested.is_some() { MessageType::Request } else { MessageType::Discover };
        bench.reply(Request {
            client_identifier: Some(Box::new(name.to_be_bytes())),
            requested_address: requested,
            server_identifier: requested.map(|_| SERVER),
            ..request(1, message_type)
        })
    };
    for name in 0..256 {
        let offer = ask(name, None).unwrap();
        assert_eq!(ask(name, Some(offer.yiaddr)).unwrap().message_type, MessageType::Ack);
    }
    assert_eq!(ask(256, None), Err(Reason::TooManyLeases));
    assert_eq!(ask(256, Some(Ipv4Addr::new(10, 20, 8, 0))), Err(Reason::TooManyLeases));
    assert!(ask(7, None).is_ok(), "whoever holds one goes on");
}

#[test]
fn the_clients_own_choice_of_a_subnet_does_not_lead_out_of_a_gated_network() {
    let mut bench = Bench::new(2);
    let mut configuration = configuration(2);
    let mut open = configuration.networks[0].clone();
    open.name = "staff".into();
    open.gated = false;
    open.subnets[0].prefix = "10.40.0.0/24".parse().unwrap();
    open.subnets[0].pools[0] =
        AddressRange { first: Ipv4Addr::new(10, 40, 0, 10), last: Ipv4Addr::new(10, 40, 0, 20) };
    open.subnets[0].reservations.clear();
    configuration.networks.push(open);
    bench.server = Server::new(configuration, [SERVER], [], bench.now);
    let mut discover = request(1, MessageType::Discover);
    discover.subnet_selection = Some(Ipv4Addr::new(10, 40, 0, 0));
    assert_eq!(bench.reply(discover.clone()), Err(Reason::UnknownNetwork));
    // The other way it is honoured (RFC 3011).
    discover.giaddr = Ipv4Addr::new(10, 40, 0, 1);
    discover.subnet_selection = Some(Ipv4Addr::new(10, 20, 0, 0));
    assert_eq!(bench.reply(discover).unwrap().yiaddr, Ipv4Addr::new(10, 20, 0, 10));
}

#[test]
fn nobody_has_the_server_write_to_others() {
    let mut bench = Bench::new(2);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let direct = |message_type| Request {
        giaddr: Ipv4Addr::UNSPECIFIED,
        subnet_selection: Some(Ipv4Addr::new(10, 20, 0, 0)),
        ..request(1, message_type)
    };
    let discover = direct(MessageType::Discover);
    assert_eq!(bench.reply(discover.clone()), Err(Reason::UnknownNetwork));
    let used = Request { ciaddr: Ipv4Addr::new(10, 20, 0, 10), ..discover.clone() };
    assert_eq!(bench.reply(used), Err(Reason::UnknownNetwork));
    let renew = Request { ciaddr: elsewhere, ..direct(MessageType::Request) };
    assert_eq!(bench.reply(renew), Err(Reason::UnknownNetwork));
    let mut attached = Request { ciaddr: elsewhere, ..discover };
    attached.arrival.attached = true;
    let offer = bench.reply(attached).unwrap();
    let expected = Destination::Unconfigured { address: offer.yiaddr, hardware: hardware(1) };
    assert_eq!(offer.destination, expected);
    let mut relayed = request(1, MessageType::Discover);
    relayed.relay_agent = RelayAgentInformation::parse(&[5, 4, 10, 20, 0, 0]);
    relayed.giaddr = Ipv4Addr::BROADCAST;
    assert_eq!(bench.reply(relayed), Err(Reason::UnknownNetwork));
    let all = Request { ciaddr: Ipv4Addr::new(10, 20, 0, 255), ..direct(MessageType::Inform) };
    assert_eq!(bench.reply(all), Err(Reason::InformWithoutAddress));
}
