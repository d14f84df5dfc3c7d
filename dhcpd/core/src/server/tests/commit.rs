//! What waits for its commit, and what does not.

use super::*;

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
        holder: None,
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
fn more_steps_than_can_wait_are_shed_and_named() {
    let mut bench = Bench::new(1);
    bench.server.sequence = Sequence(limits::STEPS_UNCOMMITTED_MAX);
    assert_eq!(bench.reply(request(1, MessageType::Discover)), Err(Reason::Overload));
    bench.input(Input::Committed(Sequence(1)));
    assert!(bench.reply(request(1, MessageType::Discover)).is_ok());
}
