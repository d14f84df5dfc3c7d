//! What the server decides, step by step, where a conformance case would hide the point.

use super::*;
use crate::{
    AddressRange, Answer, Command, HardwareAddress, LeaseFilter, Network, OptionSet, Query,
    QueryAnswer, RegistrationTarget, RelayAgentInformation, Reservation, SocketIndex, Subnet,
    Ticket,
};
use std::net::SocketAddrV4;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

fn configuration(pool_size: u8) -> Configuration {
    let last = 9 + pool_size;
    let mut options = OptionSet::new();
    options.insert(3, vec![10, 20, 0, 1]);
    Configuration {
        networks: vec![Network {
            name: "halls".into(),
            gated: true,
            subnets: vec![Subnet {
                prefix: "10.20.0.0/24".parse().unwrap(),
                pools: vec![AddressRange {
                    first: Ipv4Addr::new(10, 20, 0, 10),
                    last: Ipv4Addr::new(10, 20, 0, last),
                }],
                options,
                reservations: vec![Reservation {
                    hardware: hardware(200),
                    address: Ipv4Addr::new(10, 20, 0, 200),
                    options: OptionSet::new(),
                }],
            }],
            options: OptionSet::new(),
        }],
        lifetime_seconds: 3600,
        lifetime_unregistered_seconds: 120,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 600,
        rapid_commit: false,
    }
}

fn hardware(number: u8) -> HardwareAddress {
    HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, number])
}

fn request(number: u8, message_type: MessageType) -> Request {
    Request {
        arrival: Arrival {
            socket: SocketIndex(0),
            local_address: SERVER,
            source: SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 1), 67),
            broadcast: false,
            attached: false,
        },
        message_type,
        hops: 1,
        xid: u32::from(number),
        secs: 0,
        flags: 0,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::new(10, 20, 0, 1),
        hardware: hardware(number),
        chaddr: [0; 16],
        client_identifier: None,
        requested_address: None,
        server_identifier: None,
        parameter_request_list: [].into(),
        maximum_message_size: None,
        requested_lifetime_seconds: None,
        host_name: None,
        subnet_selection: None,
        rapid_commit: false,
        relay_agent: None,
    }
}

/// A server, and a commit that is done as soon as it is asked for.
struct Bench {
    server: Server,
    now: Timestamp,
}

impl Bench {
    fn new(pool_size: u8) -> Self {
        let now = Timestamp::from_seconds(1_000_000);
        Self { server: Server::new(configuration(pool_size), [SERVER], [], now), now }
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Effects::new();
        if let Some(sequence) = self.server.step(self.now, input, &mut effects) {
            self.server.step(self.now, Input::Committed(sequence), &mut Effects::new());
        }
        effects.drain().collect()
    }

    fn packet(&mut self, request: Request) -> Vec<Effect> {
        self.input(Input::Packet(&request))
    }

    fn reply(&mut self, request: Request) -> Result<Reply, Reason> {
        self.packet(request)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Reply { reply, .. } => Some(Ok(*reply)),
                Effect::Unanswered(unanswered) => Some(Err(unanswered.reason)),
                _ => None,
            })
            .expect("every packet has an end")
    }

    /// The whole exchange; the address.
    fn lease(&mut self, number: u8) -> Result<Ipv4Addr, Reason> {
        let offer = self.reply(request(number, MessageType::Discover))?;
        let mut select = request(number, MessageType::Request);
        select.requested_address = Some(offer.yiaddr);
        select.server_identifier = Some(SERVER);
        let ack = self.reply(select)?;
        assert_eq!((ack.message_type, ack.yiaddr), (MessageType::Ack, offer.yiaddr));
        Ok(ack.yiaddr)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.input(Input::Tick);
    }

    fn status(&self) -> crate::NetworkStatus {
        let QueryAnswer::Status(mut status) = self.server.query(self.now, &Query::Status) else {
            panic!("another answer")
        };
        status.networks.remove(0)
    }
}

fn gate_changes(effects: &[Effect]) -> Vec<GateChange> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gate(change) => Some(*change),
            _ => None,
        })
        .collect()
}

#[test]
fn the_ack_waits_for_lease_and_gate_and_the_offer_for_nothing() {
    let mut bench = Bench::new(2);
    let effects = bench.packet(request(1, MessageType::Discover));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Reply { release: Release::Immediately, reply, .. }
            if reply.message_type == MessageType::Offer
    )));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist(_) | Effect::Gate(_))));

    let mut select = request(1, MessageType::Request);
    select.requested_address = Some(Ipv4Addr::new(10, 20, 0, 10));
    select.server_identifier = Some(SERVER);
    let effects = bench.packet(select);
    assert!(matches!(effects[0], Effect::Persist(Record::Lease(_))), "{effects:?}");
    let change = GateChange {
        address: Ipv4Addr::new(10, 20, 0, 10),
        side: Some((Side::Unregistered, 120_000)),
        forget_flows: true,
    };
    assert_eq!(effects[1], Effect::Gate(change));
    assert!(matches!(
        &effects[2],
        Effect::Reply { release: Release::AfterCommit(Sequence(1)), reply, reason: None }
            if reply.message_type == MessageType::Ack
    ));
}

#[test]
fn a_retransmission_of_a_held_request_is_not_decided_again() {
    let mut bench = Bench::new(2);
    bench.reply(request(1, MessageType::Discover)).unwrap();
    let mut select = request(1, MessageType::Request);
    select.requested_address = Some(Ipv4Addr::new(10, 20, 0, 10));
    select.server_identifier = Some(SERVER);
    let mut effects = Effects::new();
    let sequence = bench
        .server
        .step(bench.now, Input::Packet(&select), &mut effects)
        .expect("something to commit");
    assert_eq!(bench.reply(select.clone()), Err(Reason::DuplicateOfHeld));
    bench.server.step(bench.now, Input::Committed(sequence), &mut Effects::new());
    assert_eq!(bench.reply(select).unwrap().message_type, MessageType::Ack);
}

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
    let register = Command::Register {
        target: RegistrationTarget::Address(address),
        owner: Some("ada".into()),
        expires: None,
        replaces: None,
    };
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
fn registration_moves_the_host_and_its_end_moves_it_back() {
    let mut bench = Bench::new(2);
    let address = bench.lease(1).unwrap();
    let expires = bench.now.plus_seconds(60);
    let register = Command::Register {
        target: RegistrationTarget::Hardware(hardware(1)),
        owner: None,
        expires: Some(expires),
        replaces: None,
    };
    let effects = bench.input(Input::Command(Ticket(7), register.clone()));
    let changes = gate_changes(&effects);
    assert_eq!(changes[0].side, Some((Side::Registered, 60_000)));
    assert!(changes[0].forget_flows);
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Answer {
            ticket: Ticket(7),
            answer: Answer::Registered { created: true, addresses, .. },
            release: Release::AfterCommit(_),
        } if *addresses == [address]
    )));
    // The same again: the same end, and an answer that waits for its own commit.
    let again = bench.input(Input::Command(Ticket(8), register));
    assert!(again.iter().any(|effect| matches!(
        effect,
        Effect::Answer { answer: Answer::Registered { created: false, .. }, release, .. }
            if matches!(release, Release::AfterCommit(_))
    )));
    assert!(gate_changes(&again).iter().all(|change| !change.forget_flows));

    bench.now = expires;
    let effects = bench.input(Input::Tick);
    let changes = gate_changes(&effects);
    assert_eq!(changes[0].side, Some((Side::Unregistered, 60_000)));
    assert!(changes[0].forget_flows);
    assert_eq!(bench.server.gate(bench.now), [(address, Side::Unregistered, 60_000)]);
}

#[test]
fn a_new_holder_inherits_no_permit() {
    let mut bench = Bench::new(1);
    let address = bench.lease(1).unwrap();
    let register = Command::Register {
        target: RegistrationTarget::Address(address),
        owner: None,
        expires: None,
        replaces: None,
    };
    bench.input(Input::Command(Ticket(1), register));
    let mut release = request(1, MessageType::Release);
    release.ciaddr = address;
    let effects = bench.packet(release);
    assert_eq!(gate_changes(&effects), [GateChange { address, side: None, forget_flows: true }]);
    bench.reply(request(2, MessageType::Discover)).unwrap();
    let mut select = request(2, MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    let changes = gate_changes(&bench.packet(select));
    assert_eq!(changes[0].side.unwrap().0, Side::Unregistered);
    assert!(changes[0].forget_flows);
}

#[test]
fn that_a_device_is_not_registered_is_told_when_it_is_durable() {
    let mut bench = Bench::new(1);
    // The end of the registration may be on its way to the disk still.
    let effects = bench.input(Input::Command(Ticket(1), Command::Unregister(hardware(9))));
    assert_eq!(
        effects,
        [Effect::Answer {
            ticket: Ticket(1),
            answer: Answer::NotRegistered(hardware(9)),
            release: Release::AfterCommit(Sequence(1)),
        }]
    );
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
fn a_host_without_a_hardware_address_cannot_be_registered() {
    let mut bench = Bench::new(2);
    let nothing = HardwareAddress::new(1, &[]).unwrap();
    let nameless = |name: u8, message_type| Request {
        hardware: nothing,
        client_identifier: Some(Box::new([0, name])),
        ..request(1, message_type)
    };
    let address = bench.reply(nameless(1, MessageType::Discover)).unwrap().yiaddr;
    let mut select = nameless(1, MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    bench.reply(select).unwrap();
    let target = RegistrationTarget::Address(address);
    let register = Command::Register { target, owner: None, expires: None, replaces: None };
    let effects = bench.input(Input::Command(Ticket(1), register));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Answer { answer: Answer::NoHardwareAddress(_), release: Release::Immediately, .. }
    )));
    assert_eq!(bench.server.gate(bench.now)[0].1, Side::Unregistered);
}

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
fn replacing_a_device_moves_the_permit_in_one_step() {
    let mut bench = Bench::new(2);
    let old = bench.lease(1).unwrap();
    let new = bench.lease(2).unwrap();
    let register = |target, replaces| Command::Register {
        target: RegistrationTarget::Address(target),
        owner: None,
        expires: None,
        replaces,
    };
    bench.input(Input::Command(Ticket(1), register(old, None)));
    bench.input(Input::Command(Ticket(2), register(new, Some(hardware(1)))));
    let sides: Vec<_> = bench
        .server
        .gate(bench.now)
        .into_iter()
        .map(|(address, side, _)| (address, side))
        .collect();
    assert_eq!(sides, [(old, Side::Unregistered), (new, Side::Registered)]);
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

#[test]
fn more_steps_than_can_wait_are_shed_and_named() {
    let mut bench = Bench::new(1);
    bench.server.sequence = Sequence(limits::STEPS_UNCOMMITTED_MAX);
    assert_eq!(bench.reply(request(1, MessageType::Discover)), Err(Reason::Overload));
    bench.input(Input::Committed(Sequence(1)));
    assert!(bench.reply(request(1, MessageType::Discover)).is_ok());
}

use crate::Destination;

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
