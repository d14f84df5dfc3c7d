//! Who is served, how addresses are shared, and what is refused.

use super::*;

/// A device of each server's buckets, at a split of 128.
fn devices() -> [u8; 2] {
    let buckets = HashBuckets::split(128);
    [Role::Primary, Role::Secondary].map(|role| {
        let is_its = |number: &u8| {
            let bucket = crate::failover::load_balance::bucket(hardware(*number).bytes());
            buckets.server_of(bucket) == role
        };
        (1..200).find(is_its).unwrap()
    })
}

#[test]
fn a_client_of_the_partners_is_left_to_it_until_it_has_waited() {
    let mut pair = Pair::normal(16);
    for (server, other) in [(PRIMARY, SECONDARY), (SECONDARY, PRIMARY)] {
        let number = devices()[server];
        let asks = |side, secs| Request { secs, ..request_to(side, number, MessageType::Discover) };
        assert!(pair.reply(server, asks(server, 0)).is_ok());
        assert_eq!(pair.reply(other, asks(other, 3)), Err(Reason::LoadBalanced));
        assert!(pair.reply(other, asks(other, 4)).is_ok());
        // A reserved address is served by both.
        let reserved = Request { secs: 0, ..request_to(other, 200, MessageType::Discover) };
        assert!(pair.reply(other, reserved).is_ok());
    }
    pair.cut();
    for number in devices() {
        for side in [PRIMARY, SECONDARY] {
            let asks = Request { secs: 0, ..request_to(side, number, MessageType::Discover) };
            assert!(pair.reply(side, asks).is_ok(), "apart, everybody is answered");
        }
    }
}

#[test]
fn who_the_partner_has_no_address_for_is_answered() {
    let mut pair = Pair::normal(4);
    let of_secondary = devices()[SECONDARY];
    let others: Vec<u8> = (100..102).collect();
    for number in others {
        pair.lease(SECONDARY, number).unwrap();
    }
    let asks = Request { secs: 0, ..request_to(PRIMARY, of_secondary, MessageType::Discover) };
    // It has asked for more meanwhile, or has none left.
    if pair.free(PRIMARY).1 == 0 {
        assert!(pair.reply(PRIMARY, asks).is_ok());
    } else {
        assert_eq!(pair.reply(PRIMARY, asks), Err(Reason::LoadBalanced));
    }
}

#[test]
fn a_request_for_an_address_that_is_the_partners_gets_silence() {
    let mut pair = Pair::normal(4);
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    pair.release(SECONDARY, 1, ip);
    let owner = match pair.binding(PRIMARY, ip).status {
        BindingStatus::Free => PRIMARY,
        BindingStatus::Backup => SECONDARY,
        other => panic!("{other}"),
    };
    let reboot =
        |side| Request { requested_address: Some(ip), ..request_to(side, 1, MessageType::Request) };
    assert_eq!(pair.reply(1 - owner, reboot(1 - owner)), Err(Reason::PartnersAddress));
    assert!(pair.reply(owner, reboot(owner)).is_ok());
}

#[test]
fn a_reserved_address_is_served_whatever_the_state() {
    let mut pair = Pair::new(4);
    let reserved = Ipv4Addr::new(10, 20, 0, 200);
    assert_eq!(pair.lease(PRIMARY, 200), Ok((reserved, 120)));
    let inform = Request {
        ciaddr: Ipv4Addr::new(10, 20, 0, 99),
        ..request_to(PRIMARY, 1, MessageType::Inform)
    };
    assert!(pair.reply(PRIMARY, inform).is_ok(), "it promises nothing");
    // But the state holds for its other addresses.
    let other = Request {
        requested_address: Some(Ipv4Addr::new(10, 20, 0, 10)),
        ..request_to(PRIMARY, 200, MessageType::Request)
    };
    let nak = pair.reply(PRIMARY, other).unwrap();
    assert_eq!(nak.message_type, MessageType::Nak);
    pair.connect();
    let ip = Ipv4Addr::new(10, 20, 0, 200);
    let is_told = pair.said.iter().any(
        |(_, message)| matches!(&message.body, Body::BindingUpdate(update) if update.address == ip),
    );
    assert!(!is_told, "the pair does not share it");
}

#[test]
fn a_server_that_runs_out_is_given_more() {
    let mut pair = Pair::normal(16);
    for number in 1..=8 {
        pair.lease(SECONDARY, number).unwrap();
    }
    assert_eq!(pair.free(SECONDARY), (8, 0));
    pair.pass(70);
    let (free, backup) = pair.free(SECONDARY);
    assert!(backup >= 3, "{free} and {backup}");
    assert_eq!(pair.free(PRIMARY), (free, backup));
    assert!(pair.lease(SECONDARY, 20).is_ok());
}

#[test]
fn an_update_of_an_address_that_is_not_shared_is_refused() {
    let mut pair = Pair::normal(4);
    let stranger = BindingUpdate {
        hardware: Some(hardware(1)),
        ..BindingUpdate::new(Ipv4Addr::new(10, 20, 0, 200), BindingStatus::Active)
    };
    let mut effects = |update: &BindingUpdate| {
        let body = Body::BindingUpdate(update.clone());
        let message = Message { time: pair.seconds(), xid: 77, body };
        let effects = pair.input(PRIMARY, Input::Partner(PartnerInput::Said(message)));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Partner(PartnerEffect::Send { message, .. }) => match message.body {
                Body::BindingAcknowledgement { address, reject } => {
                    Some((message.xid, address, reject.map(|it| it.reason)))
                }
                _ => None,
            },
            _ => None,
        })
    };
    let reserved = stranger.address;
    let illegal = crate::failover::Reject::IllegalAddress;
    assert_eq!(effects(&stranger), Some((77, reserved, Some(illegal))));
    let address = Ipv4Addr::new(10, 20, 0, 99);
    let unknown = BindingUpdate { address, ..stranger };
    assert_eq!(effects(&unknown), Some((77, address, Some(illegal))));
}

#[test]
fn what_the_partner_refused_is_offered_again_with_the_next_comparison() {
    let mut pair = Pair::normal(8);
    pair.stuck[PRIMARY] = true;
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    let said = pair.said.last().unwrap().1.clone();
    pair.halves[SECONDARY].incoming.clear();
    let reject = crate::failover::Rejection::new(crate::failover::Reject::Unspecified, "");
    let body = Body::BindingAcknowledgement { address: ip, reject: Some(reject) };
    let refusal = Message { body, ..said };
    pair.input(PRIMARY, Input::Partner(PartnerInput::Said(refusal)));
    pair.stuck[PRIMARY] = false;
    pair.deliver();
    assert!(!pair.binding(PRIMARY, ip).is_acknowledged);
    assert!(!pair.is_held(SECONDARY, ip));
    pair.cut();
    pair.connect();
    assert!(pair.binding(PRIMARY, ip).is_acknowledged);
    assert!(pair.is_held(SECONDARY, ip));
}

#[test]
fn no_more_updates_are_under_way_than_the_partner_takes() {
    let mut pair = Pair::new(100);
    pair.stuck[SECONDARY] = false;
    pair.connect();
    pair.stuck[SECONDARY] = true;
    for number in 1..=30 {
        pair.lease(PRIMARY, number).unwrap();
    }
    let status = pair.status(PRIMARY);
    assert_eq!((status.updates_unacknowledged, status.updates_waiting), (10, 20));
    pair.stuck[SECONDARY] = false;
    pair.deliver();
    let status = pair.status(PRIMARY);
    assert_eq!((status.updates_unacknowledged, status.updates_waiting), (0, 0));
    let held = (1..=30).filter(|number| {
        let QueryAnswer::Leases { leases, .. } = pair.query(
            SECONDARY,
            &Query::Leases { after: None, limit: 100, filter: LeaseFilter::Held },
        ) else {
            panic!("another answer")
        };
        leases.iter().any(|view| view.lease.hardware == hardware(*number))
    });
    assert_eq!(held.count(), 30);
}

/// What one answers to an update of the other's.
fn answer_to(
    pair: &mut Pair,
    side: usize,
    update: BindingUpdate,
) -> Option<crate::failover::Reject> {
    let body = Body::BindingUpdate(update);
    let message = Message { time: pair.seconds(), xid: 77, body };
    let effects = pair.input(side, Input::Partner(PartnerInput::Said(message)));
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Partner(PartnerEffect::Send { message, .. }) => match message.body {
            Body::BindingAcknowledgement { reject, .. } if message.xid == 77 => Some(reject),
            _ => None,
        },
        _ => None,
    });
    answer.expect("every update is answered").map(|rejection| rejection.reason)
}

/// The window is full, so the partner has not even been sent it. It cannot know better.
#[test]
fn the_end_of_a_lease_that_the_partner_has_not_heard_of_is_refused() {
    let mut pair = Pair::new(100);
    pair.connect();
    pair.stuck[SECONDARY] = true;
    let leases: Vec<Ipv4Addr> =
        (1..=12).map(|number| pair.lease(PRIMARY, number).unwrap().0).collect();
    assert_eq!(pair.status(PRIMARY).updates_waiting, 2);
    let address = leases[11];
    let said = BindingUpdate {
        hardware: Some(hardware(12)),
        lease_expiration: Some(pair.seconds()),
        client_last_transaction: Some(pair.seconds() + 10),
        ..BindingUpdate::new(address, BindingStatus::Released)
    };
    let less = Some(crate::failover::Reject::LessCritical);
    assert_eq!(answer_to(&mut pair, PRIMARY, said.clone()), less);
    assert!(pair.is_held(PRIMARY, address));
    // One that it knows of, it may end.
    pair.stuck[SECONDARY] = false;
    pair.deliver();
    assert_eq!(answer_to(&mut pair, PRIMARY, said), None);
    assert!(!pair.is_held(PRIMARY, address));
}

/// Once a secondary has said that a lease is over, the primary may have given the address to another.
#[test]
fn what_was_said_to_be_over_is_the_primarys_to_give_to_its_former_client() {
    for side in [PRIMARY, SECONDARY] {
        for is_told in [false, true] {
            let mut pair = Pair::normal(8);
            let (ip, _) = pair.lease(side, 1).unwrap();
            if !is_told {
                pair.cut();
            }
            // What the other one answers does not arrive.
            pair.stuck[1 - side] = true;
            pair.release(side, 1, ip);
            assert_eq!(pair.binding(side, ip).status, BindingStatus::Released);
            let reboot = |number| Request {
                requested_address: Some(ip),
                ..request_to(side, number, MessageType::Request)
            };
            let others = pair.reply(side, reboot(2));
            assert!(!others.is_ok_and(|reply| reply.message_type == MessageType::Ack));
            let again = pair.reply(side, reboot(1)).map(|reply| reply.message_type);
            if side == SECONDARY && is_told {
                assert_eq!(again, Err(Reason::PartnersAddress));
            } else {
                assert_eq!(again, Ok(MessageType::Ack), "{side} {is_told}");
            }
        }
    }
}

/// A late answer to an update that another one has followed says nothing of the newer one.
#[test]
fn an_answer_to_an_older_update_settles_nothing() {
    let mut pair = Pair::normal(8);
    pair.stuck[SECONDARY] = true;
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    pair.release(PRIMARY, 1, ip);
    // The answer to the lease, not to its end.
    let answer = pair.halves[PRIMARY].incoming.iter().position(|message| {
        matches!(&message.body, Body::BindingAcknowledgement { address, .. } if *address == ip)
    });
    let answer = pair.halves[PRIMARY].incoming.remove(answer.unwrap()).unwrap();
    pair.arrive(PRIMARY, answer);
    let binding = pair.binding(PRIMARY, ip);
    assert_eq!((binding.status, binding.is_acknowledged), (BindingStatus::Released, false));
    pair.stuck[SECONDARY] = false;
    pair.deliver();
    assert!(pair.binding(PRIMARY, ip).is_acknowledged);
}

#[test]
fn what_is_kept_is_what_a_restart_finds() {
    let mut pair = Pair::normal(16);
    for number in 1..=5 {
        pair.lease(usize::from(number % 2), number).unwrap();
    }
    let ip = pair.lease(PRIMARY, 1).unwrap().0;
    pair.release(PRIMARY, 1, ip);
    let page =
        |pair: &Pair, side| pair.query(side, &Query::PairBindings { after: None, limit: 1000 });
    for side in [PRIMARY, SECONDARY] {
        let QueryAnswer::PairBindings { failover, bindings, next: None } = page(&pair, side) else {
            panic!("one page")
        };
        // A snapshot holds as much as the journal.
        let mut records: Vec<Record> = pair.halves[side]
            .records
            .iter()
            .filter(|record| matches!(record, Record::Lease(_)))
            .cloned()
            .collect();
        records.extend(bindings.iter().copied().map(Record::PairBinding));
        records.extend(failover.map(Record::Failover));
        let free = pair.free(side);
        for records in [records, pair.halves[side].records.clone()] {
            let configuration = pair.halves[side].configuration.clone();
            let server = Server::new(configuration, [ADDRESSES[side]], records, pair.now);
            let before = pair.halves[side].server.replace(server);
            assert_eq!(pair.free(side), free);
            let QueryAnswer::PairBindings { bindings: again, .. } = page(&pair, side) else {
                panic!("another answer")
            };
            for binding in &bindings {
                assert_eq!(pair.binding(side, binding.address), *binding);
            }
            assert!(again.len() >= bindings.len());
            pair.halves[side].server = before;
        }
    }
}
