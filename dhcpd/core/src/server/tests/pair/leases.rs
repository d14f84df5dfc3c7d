//! A lease's life across the pair, with exact times.

use super::*;
use crate::failover::{Reject, Rejection};

#[test]
fn a_lease_is_seen_by_the_partner_with_the_times_of_the_rule() {
    for side in [PRIMARY, SECONDARY] {
        let mut pair = Pair::normal(16);
        let now = pair.seconds();
        let said = pair.said.len();
        // 120 seconds desired, a lead time of 60.
        let (ip, seconds) = pair.lease(side, 1).unwrap();
        assert_eq!(seconds, MCLT);
        let [update] = &pair.updates_since(said, side)[..] else { panic!("one update") };
        let expected = BindingUpdate {
            hardware: Some(hardware(1)),
            lease_expiration: Some(now + 60),
            potential_expiration: Some(now + 120 + 30),
            since: Some(now),
            client_last_transaction: Some(now),
            ..BindingUpdate::new(ip, BindingStatus::Active)
        };
        assert_eq!(*update, expected);
        let there = pair.lease_of(1 - side, ip);
        assert_eq!((there.hardware, there.ends), (hardware(1), pair.now.plus_seconds(60)));
        assert!(pair.is_held(1 - side, ip));
        for server in [side, 1 - side] {
            let binding = pair.binding(server, ip);
            assert_eq!(binding.status, BindingStatus::Active);
            assert_eq!(binding.agreed_expiration, now + 150);
            assert!(binding.is_acknowledged);
        }
        // The full time at the renewal, by either.
        pair.pass(30);
        for server in [side, 1 - side] {
            assert_eq!(pair.renew(server, 1, ip), Ok((ip, 120)));
            pair.pass(60);
            assert!(pair.is_held(side, ip) && pair.is_held(1 - side, ip));
        }
        assert_eq!(pair.lease_of(side, ip).ends, pair.now.plus_seconds(60));
    }
}

/// What the other server knows of a lease's end is rounded to seconds, and by another clock: a client that is
/// told what is left of it may be told more than the server that granted it waits for.
#[test]
fn an_early_renewal_is_written_and_told_whoever_granted_the_lease() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    pair.pass(30);
    assert_eq!(pair.renew(PRIMARY, 1, ip), Ok((ip, 120)));
    for side in [SECONDARY, PRIMARY] {
        pair.pass(1);
        let said = pair.said.len();
        let (_, seconds) = pair.renew(side, 1, ip).unwrap();
        assert_eq!(pair.updates_since(said, side).len(), 1);
        let promised = pair.now.plus_seconds(seconds.into());
        assert!(pair.lease_of(1 - side, ip).ends >= promised);
    }
}

#[test]
fn the_update_leaves_after_the_ack_and_with_its_commit() {
    let mut pair = Pair::normal(16);
    let offer = pair.discover(PRIMARY, 1).unwrap();
    let mut select = request_to(PRIMARY, 1, MessageType::Request);
    select.requested_address = Some(offer.yiaddr);
    select.server_identifier = Some(SERVER);
    let now = pair.now;
    let server = pair.halves[PRIMARY].server.as_mut().unwrap();
    let mut effects = Effects::new();
    let sequence = server.step(now, Input::Packet(&select), &mut effects).unwrap();
    let effects: Vec<Effect> = effects.drain().collect();
    let ack = effects.iter().position(|effect| matches!(effect, Effect::Reply { .. })).unwrap();
    let update = effects.iter().position(|effect| match effect {
        Effect::Partner(PartnerEffect::Send { message, release }) => {
            assert_eq!(*release, Release::AfterCommit(sequence));
            matches!(message.body, Body::BindingUpdate(_))
        }
        _ => false,
    });
    assert!(ack < update.unwrap());
    // What the partner may come to know is durable before it knows it.
    let bindings: Vec<&PairBinding> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist(Record::PairBinding(binding)) => Some(binding),
            _ => None,
        })
        .collect();
    let [binding] = bindings[..] else { panic!("one record: {bindings:?}") };
    assert_eq!(binding.partner_saw, BindingStatus::Active);
}

#[test]
fn a_lease_that_the_partner_granted_opens_and_closes_our_gate() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    let gate = |pair: &Pair| pair.halves[SECONDARY].server.as_ref().unwrap().gate(pair.now);
    assert_eq!(gate(&pair), [(ip, Side::Unregistered, 60_000)]);
    pair.pass(1);
    pair.release(PRIMARY, 1, ip);
    assert_eq!(gate(&pair), []);
}

#[test]
fn the_partner_acknowledges_only_what_is_durable_and_in_the_kernel() {
    let mut pair = Pair::normal(16);
    pair.stuck[PRIMARY] = true;
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    let message = pair.halves[SECONDARY].incoming.pop_front().unwrap();
    let now = pair.now;
    let server = pair.halves[SECONDARY].server.as_mut().unwrap();
    let mut effects = Effects::new();
    let sequence =
        server.step(now, Input::Partner(PartnerInput::Said(message)), &mut effects).unwrap();
    let mut is_acknowledged = false;
    let mut is_in_kernel = false;
    for effect in effects.drain() {
        match effect {
            Effect::Gate(change) => is_in_kernel = change.address == ip,
            Effect::Partner(PartnerEffect::Send { message, release }) => {
                assert!(matches!(message.body, Body::BindingAcknowledgement { reject: None, .. }));
                assert_eq!(release, Release::AfterCommit(sequence));
                is_acknowledged = true;
            }
            _ => {}
        }
    }
    assert!(is_acknowledged && is_in_kernel);
}

#[test]
fn a_released_address_is_free_when_both_agree() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    pair.pass(10);
    let said = pair.said.len();
    pair.stuck[SECONDARY] = true;
    pair.release(PRIMARY, 1, ip);
    let released = pair.seconds();
    assert_eq!(pair.binding(PRIMARY, ip).status, BindingStatus::Released);
    assert_eq!(pair.free(PRIMARY), (7, 8));
    pair.stuck[SECONDARY] = false;
    pair.deliver();
    let update = &pair.updates_since(said, PRIMARY)[0];
    assert_eq!(update.status, BindingStatus::Released);
    assert_eq!(update.lease_expiration, Some(released));
    assert_eq!(update.potential_expiration, Some(released));
    assert_eq!(update.since, Some(released - 10));
    // Its client belongs to one of the two servers, and the address goes to that one.
    let expected = pair.binding(PRIMARY, ip).status;
    assert!(matches!(expected, BindingStatus::Free | BindingStatus::Backup));
    assert_eq!(pair.binding(SECONDARY, ip).status, expected);
    assert_eq!(pair.free(PRIMARY), pair.free(SECONDARY));
    assert!(!pair.is_held(SECONDARY, ip));
    let (free, backup) = pair.free(PRIMARY);
    assert_eq!(free + backup, 16);
}

#[test]
fn the_primary_says_when_a_lease_is_over() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    let granted = pair.seconds();
    pair.pass(u64::from(MCLT) - 1);
    pair.stuck[PRIMARY] = true;
    pair.pass(1);
    // The secondary waits for the primary's word.
    assert!(!pair.is_held(SECONDARY, ip));
    assert_eq!(pair.binding(SECONDARY, ip).status, BindingStatus::Active);
    assert_eq!(pair.binding(PRIMARY, ip).status, BindingStatus::Expired);
    let said = pair.said.len();
    assert_eq!(pair.updates_since(said, SECONDARY), []);
    pair.stuck[PRIMARY] = false;
    pair.deliver();
    let updates = pair.said.iter().filter_map(|(by, message)| match &message.body {
        Body::BindingUpdate(update) if *by == PRIMARY => Some(update),
        _ => None,
    });
    let expired = updates.filter(|update| update.status == BindingStatus::Expired);
    let expired: Vec<&BindingUpdate> = expired.collect();
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].lease_expiration, Some(granted + MCLT));
    for side in [PRIMARY, SECONDARY] {
        let status = pair.binding(side, ip).status;
        assert!(matches!(status, BindingStatus::Free | BindingStatus::Backup), "{status}");
    }
    assert_eq!(pair.free(PRIMARY), pair.free(SECONDARY));
}

#[test]
fn a_declined_address_is_nobodys_until_its_quarantine_is_over() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    let mut decline = request_to(SECONDARY, 1, MessageType::Decline);
    decline.requested_address = Some(ip);
    assert_eq!(pair.reply(SECONDARY, decline), Err(Reason::Declined));
    pair.deliver();
    for side in [PRIMARY, SECONDARY] {
        assert_eq!(pair.binding(side, ip).status, BindingStatus::Abandoned);
        let (free, backup) = pair.free(side);
        assert_eq!(free + backup, 15);
    }
    pair.pass(601);
    for side in [PRIMARY, SECONDARY] {
        let (free, backup) = pair.free(side);
        assert_eq!(free + backup, 16, "{:?}", pair.binding(side, ip));
    }
}

#[test]
fn of_two_updates_that_cross_both_take_the_newer_contact() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    pair.pass(30);
    pair.stuck = [true; 2];
    // Both heard the client's broadcast, the secondary a little later.
    pair.renew(PRIMARY, 1, ip).unwrap();
    pair.now = pair.now.plus_seconds(2);
    pair.renew(SECONDARY, 1, ip).unwrap();
    pair.stuck = [false; 2];
    pair.deliver();
    let ends = pair.now.plus_seconds(120);
    for side in [PRIMARY, SECONDARY] {
        assert_eq!(pair.lease_of(side, ip).ends, ends);
        assert!(pair.binding(side, ip).is_acknowledged);
    }
}

#[test]
fn a_lease_that_the_partner_has_not_heard_of_is_not_ended_by_it() {
    let mut pair = Pair::normal(16);
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    pair.pass(u64::from(MCLT) - 1);
    pair.stuck = [true; 2];
    pair.renew(SECONDARY, 1, ip).unwrap();
    // The primary's time has come, and its word crosses the renewal.
    pair.pass(1);
    assert_eq!(pair.binding(PRIMARY, ip).status, BindingStatus::Expired);
    pair.stuck = [false; 2];
    pair.deliver();
    for side in [PRIMARY, SECONDARY] {
        assert!(pair.is_held(side, ip));
        assert_eq!(pair.binding(side, ip).status, BindingStatus::Active);
    }
}

/// Both answer one REQUEST that reached both; the client may go by either answer.
#[test]
fn of_two_answers_to_one_client_the_longer_one_counts_on_both_servers() {
    for short in [PRIMARY, SECONDARY] {
        let mut pair = Pair::normal(16);
        let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
        pair.pass(30);
        pair.stuck = [true; 2];
        let renewal = |side| Request { ciaddr: ip, ..request_to(side, 1, MessageType::Request) };
        let asked = Request { requested_lifetime_seconds: Some(60), ..renewal(short) };
        assert_eq!(pair.grant(short, asked), Ok((ip, 60)));
        assert_eq!(pair.grant(1 - short, renewal(1 - short)), Ok((ip, 120)));
        pair.stuck = [false; 2];
        pair.deliver();
        for side in [PRIMARY, SECONDARY] {
            assert_eq!(pair.lease_of(side, ip).ends, pair.now.plus_seconds(120), "{short} {side}");
            assert!(pair.binding(side, ip).is_acknowledged, "{short} {side}");
        }
        pair.pass(119);
        assert!(pair.is_held(PRIMARY, ip) && pair.is_held(SECONDARY, ip), "{short}");
        pair.pass(2);
        assert!(!pair.is_held(PRIMARY, ip) && !pair.is_held(SECONDARY, ip), "{short}");
    }
}

#[test]
fn a_refused_update_is_offered_again_after_a_while() {
    let mut pair = Pair::normal(16);
    pair.stuck[SECONDARY] = true;
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    let update = pair.halves[PRIMARY].incoming.pop_front().unwrap();
    let reject = Some(Rejection::new(Reject::LessCritical, "later"));
    let body = Body::BindingAcknowledgement { address: ip, reject };
    pair.arrive(SECONDARY, Message { body, ..update });
    pair.stuck[SECONDARY] = false;
    pair.pass(29);
    assert!(!pair.binding(SECONDARY, ip).is_acknowledged && !pair.is_held(PRIMARY, ip));
    pair.pass(2);
    assert!(pair.binding(SECONDARY, ip).is_acknowledged && pair.is_held(PRIMARY, ip));
}
