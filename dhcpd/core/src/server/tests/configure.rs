//! Another configuration while leases are held: nothing is lost, nothing is in between.

use super::*;

fn configure(bench: &mut Bench, configuration: Configuration, apply: bool) -> Answer {
    let command = Command::Configure { configuration: Box::new(configuration), apply };
    let effects = bench.input(Input::Command(Ticket(1), command));
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    answer.expect("every command is answered")
}

fn renewal(number: u8, address: Ipv4Addr) -> Request {
    let mut renew = request(number, MessageType::Request);
    renew.ciaddr = address;
    renew
}

#[test]
fn leases_stay_with_their_holders_and_nobody_else_is_given_them() {
    let mut bench = Bench::new(3);
    let held: Vec<Ipv4Addr> = (1..=2).map(|number| bench.lease(number).unwrap()).collect();
    let gate = bench.server.gate(bench.now);
    let mut other = configuration(3);
    other.networks[0].subnets[0].options.insert(3, [10, 20, 0, 2]);
    // A subnet is its prefix, whatever stands before it.
    let mut before = other.networks[0].clone();
    before.name = "before".into();
    before.gated = false;
    before.subnets[0].prefix = "10.19.0.0/24".parse().unwrap();
    before.subnets[0].reservations.clear();
    before.subnets[0].pools[0] =
        AddressRange { first: Ipv4Addr::new(10, 19, 0, 10), last: Ipv4Addr::new(10, 19, 0, 12) };
    other.networks.insert(0, before);
    assert_eq!(configure(&mut bench, other, true), Answer::Configured { stranded: 0 });
    assert_eq!(bench.server.gate(bench.now), gate);
    for (number, address) in (1..).zip(&held) {
        let ack = bench.reply(renewal(number, *address)).unwrap();
        assert_eq!((ack.message_type, ack.yiaddr), (MessageType::Ack, *address));
        assert_eq!(ack.option(3), Some(&[10, 20, 0, 2][..]), "the new router");
    }
    assert_eq!(bench.lease(3), Ok(Ipv4Addr::new(10, 20, 0, 12)));
    assert_eq!(bench.lease(4), Err(Reason::PoolExhausted));
}

#[test]
fn who_holds_an_address_of_a_pool_that_is_gone_moves_and_nobody_gets_it() {
    let mut bench = Bench::new(3);
    let old = bench.lease(1).unwrap();
    assert_eq!(old, Ipv4Addr::new(10, 20, 0, 10));
    let mut smaller = configuration(3);
    smaller.networks[0].subnets[0].pools[0].first = Ipv4Addr::new(10, 20, 0, 11);
    assert_eq!(configure(&mut bench, smaller.clone(), false), Answer::Configured { stranded: 1 });
    assert!(bench.reply(renewal(1, old)).is_ok_and(|ack| ack.message_type == MessageType::Ack));
    assert_eq!(configure(&mut bench, smaller, true), Answer::Configured { stranded: 1 });
    assert_eq!(bench.status().held, 1, "it is still held");
    let nak = bench.reply(renewal(1, old)).unwrap();
    assert_eq!(nak.message_type, MessageType::Nak);
    assert_eq!(bench.lease(1), Ok(Ipv4Addr::new(10, 20, 0, 11)), "it has moved");
    assert_eq!(bench.lease(2), Ok(Ipv4Addr::new(10, 20, 0, 12)));
    assert_eq!(bench.lease(3), Err(Reason::PoolExhausted), "the old address is nobody's any more");
    assert_eq!(bench.status().held, 2);
}

#[test]
fn a_subnet_that_is_gone_is_served_no_more_and_its_leases_end_by_themselves() {
    let mut bench = Bench::new(1);
    let old = bench.lease(1).unwrap();
    let mut without = configuration(1);
    without.networks[0].subnets[0].prefix = "10.99.0.0/24".parse().unwrap();
    without.networks[0].subnets[0].pools.clear();
    without.networks[0].subnets[0].reservations.clear();
    assert_eq!(configure(&mut bench, without, true), Answer::Configured { stranded: 1 });
    assert!(bench.server.gate(bench.now).is_empty(), "an address of no network passes no gate");
    assert_eq!(bench.reply(renewal(1, old)).unwrap_err(), Reason::UnknownNetwork);
    assert_eq!(bench.lease(2), Err(Reason::UnknownNetwork));
    // The network comes back before the lease has ended: its holder has it still.
    assert_eq!(configure(&mut bench, configuration(1), true), Answer::Configured { stranded: 0 });
    assert_eq!(bench.lease(2), Err(Reason::PoolExhausted));
    assert_eq!(bench.reply(renewal(1, old)).unwrap().yiaddr, old);
}

/// An ACK that is held when the configuration changes is for a lease that the new book has too.
#[test]
fn what_waits_for_its_commit_is_not_lost() {
    let mut bench = Bench::new(2);
    let offer = bench.reply(request(1, MessageType::Discover)).unwrap();
    let mut select = request(1, MessageType::Request);
    select.requested_address = Some(offer.yiaddr);
    select.server_identifier = Some(SERVER);
    let mut effects = Effects::new();
    let held = bench.server.step(bench.now, Input::Packet(&select), &mut effects).unwrap();
    configure(&mut bench, configuration(2), true);
    assert_eq!(bench.status().held, 1);
    assert_eq!(bench.reply(select).unwrap().yiaddr, offer.yiaddr);
    bench.server.step(bench.now, Input::Committed(held), &mut Effects::new());
    assert_ne!(bench.lease(2), Ok(offer.yiaddr));
}

/// A limit that comes with the new configuration counts the leases that are there.
#[test]
fn a_new_limit_counts_what_is_held_already() {
    let mut bench = Bench::new(5);
    let at = |number: u8, message_type| {
        let mut packet = request(number, message_type);
        packet.relay_agent = RelayAgentInformation::parse(&[1, 1, b'a']);
        packet
    };
    let lease = |bench: &mut Bench, number: u8| -> Result<Ipv4Addr, Reason> {
        let offer = bench.reply(at(number, MessageType::Discover))?;
        let mut select = at(number, MessageType::Request);
        select.requested_address = Some(offer.yiaddr);
        select.server_identifier = Some(SERVER);
        Ok(bench.reply(select)?.yiaddr)
    };
    for number in 1..=3 {
        lease(&mut bench, number).unwrap();
    }
    let mut limited = configuration(5);
    limited.policy.lease_limits.per_circuit = Some(3);
    configure(&mut bench, limited, true);
    assert_eq!(lease(&mut bench, 4), Err(Reason::LeaseLimit));
    let mut elsewhere = at(4, MessageType::Discover);
    elsewhere.relay_agent = RelayAgentInformation::parse(&[1, 1, b'b']);
    assert!(bench.reply(elsewhere).is_ok());
}

/// What one owner's devices hold together, whoever asks.
#[test]
fn an_owners_devices_share_a_limit() {
    let mut bench = Bench::new(5);
    let mut limited = configuration(5);
    limited.policy.lease_limits.per_owner = Some(2);
    configure(&mut bench, limited, true);
    for number in 1..=3 {
        let target = RegistrationTarget::Hardware(hardware(number));
        let register = Register { owner: Some("alice".into()), ..Register::of(target) };
        bench.input(Input::Command(Ticket(9), Command::Register(register)));
    }
    let first = bench.lease(1).unwrap();
    bench.lease(2).unwrap();
    assert_eq!(bench.lease(3), Err(Reason::LeaseLimit));
    assert!(bench.reply(renewal(1, first)).is_ok(), "who has one keeps it");
    assert!(bench.lease(4).is_ok(), "nobody's device is not alice's");
}
