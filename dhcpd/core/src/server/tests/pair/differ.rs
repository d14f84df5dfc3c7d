//! Halves that differ: in their clocks, in their pools, in what they know of an address.

use super::*;
use crate::AddressRange;
use crate::failover::{CloseReason, FailoverNotice, PoolMismatch, Reject, Rejection};

const HOUR: u64 = 3600;

#[test]
fn clocks_an_hour_apart_shorten_and_lengthen_nothing() {
    for ahead in [[0, HOUR], [HOUR, 0]] {
        let mut pair = Pair::normal_by_clocks(8, ahead);
        let difference = |side: usize| i64::try_from(ahead[side]).unwrap();
        for side in [PRIMARY, SECONDARY] {
            let expected = difference(side) - difference(1 - side);
            assert_eq!(pair.status(side).clock_ahead_seconds, Some(expected));
        }
        for side in [PRIMARY, SECONDARY] {
            let number = u8::try_from(side).unwrap() + 1;
            let (ip, lifetime) = pair.lease(side, number).unwrap();
            assert_eq!(lifetime, MCLT);
            pair.pass(20);
            // The full length at once, from either: what was agreed is so by both clocks.
            for by in [side, 1 - side] {
                assert_eq!(pair.renew(by, number, ip), Ok((ip, 120)));
                let ends = [by, 1 - by]
                    .map(|side| pair.lease_of(side, ip).ends.milliseconds() - ahead[side] * 1000);
                // Never too early: the other one's clock may show a part of a second more.
                let end = pair.now.plus_seconds(120).milliseconds();
                assert_eq!(ends, [end, end + 1000]);
                pair.pass(5);
            }
            // It ends when it ends.
            pair.pass(114);
            let held = |pair: &Pair, side: usize| {
                let now = pair.now.plus_seconds(ahead[side]);
                let server = pair.halves[side].server.as_ref().unwrap();
                let QueryAnswer::Lease(view) = server.query(now, &Query::Lease(ip)) else {
                    panic!("another answer")
                };
                view.is_some_and(|view| view.held)
            };
            assert!(held(&pair, PRIMARY) && held(&pair, SECONDARY));
            pair.pass(3);
            assert!(!held(&pair, PRIMARY) && !held(&pair, SECONDARY));
        }
    }
}

#[test]
fn who_takes_over_does_not_wait_for_what_clocks_are_apart() {
    for ahead in [[0, HOUR], [HOUR, 0]] {
        for side in [PRIMARY, SECONDARY] {
            let mut pair = Pair::normal_by_clocks(2, ahead);
            let (_, lifetime) = pair.lease(1 - side, 1).unwrap();
            pair.kill(1 - side);
            assert_eq!(pair.partner_down(side), Answer::PartnerIsDown);
            assert!(pair.lease(side, 2).is_ok());
            // What the partner was told it may have promised, a lead time beyond, and what clocks that count as
            // equal may be apart.
            let potential = u64::from(120 + lifetime / 2);
            pair.pass(potential + u64::from(MCLT));
            assert!(pair.renew(side, 2, pair_address(&pair, side)).is_ok());
            pair.pass(12);
            assert!(pair.lease(side, 3).is_ok(), "an hour is not waited for");
        }
    }
}

/// It measures the times that it was told by its own clock, which is behind.
#[test]
fn who_takes_over_from_an_isc_dhcpd_waits_for_its_clock_too() {
    const AHEAD: u64 = 55;
    for side in [PRIMARY, SECONDARY] {
        let mut ahead = [0, 0];
        ahead[side] = AHEAD;
        let mut pair = Pair::normal_as_isc(2, ahead);
        pair.kill(1 - side);
        assert_eq!(pair.partner_down(side), Answer::PartnerIsDown);
        let (ip, _) = pair.lease(side, 2).unwrap();
        for _ in 0..u64::from(MCLT) + AHEAD {
            assert_eq!(pair.lease(side, 3), Err(Reason::PoolExhausted));
            assert!(pair.renew(side, 2, ip).is_ok());
            pair.pass(1);
        }
        pair.pass(7);
        assert!(pair.lease(side, 3).is_ok());
    }
}

/// The address that client 2 holds.
fn pair_address(pair: &Pair, side: usize) -> Ipv4Addr {
    let filter = LeaseFilter::All;
    let query = Query::Leases { after: None, limit: 100, filter };
    let QueryAnswer::Leases { leases, .. } = pair.query(side, &query) else {
        panic!("another answer")
    };
    let of_client = leases.iter().find(|view| view.lease.hardware == hardware(2));
    of_client.expect("it has a lease").lease.address
}

#[test]
fn a_partner_that_refuses_the_clock_is_in_the_status() {
    let mut pair = Pair::new(4);
    let partner = &mut pair.halves[SECONDARY];
    partner.server = None;
    pair.input(PRIMARY, Input::Partner(PartnerInput::Connected));
    let (_, connect) = pair.said.last().unwrap().clone();
    let Body::Connect(connect) = connect.body else { panic!("{connect:?}") };
    let answer = crate::failover::ConnectAcknowledgement {
        relationship: connect.relationship,
        reject: Some(Rejection::new(Reject::TimeMismatch, "")),
        ..Default::default()
    };
    let time = pair.seconds() - 75;
    let body = Body::ConnectAcknowledgement(answer);
    let message = Message { time, xid: 0, body };
    pair.input(PRIMARY, Input::Partner(PartnerInput::Said(message)));
    let status = pair.status(PRIMARY);
    assert_eq!(status.trouble, Some(CloseReason::RefusedByPartner(Reject::TimeMismatch)));
    assert_eq!(status.clock_ahead_seconds, Some(75));
    pair.start(SECONDARY);
    pair.connect();
    assert_eq!(pair.status(PRIMARY).trouble, None);
}

fn notices(effects: &[Effect]) -> Vec<PoolMismatch> {
    let of = |effect: &Effect| match effect {
        Effect::Notice(Notice::Failover(FailoverNotice::PoolsDiffer(mismatch))) => {
            Some(mismatch.clone())
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// The addresses of half the pool of the secondary, and what the primary has to itself, are named.
#[test]
fn pools_that_differ_are_named_by_both() {
    let mut pair = Pair::new(16);
    let pool = &mut pair.halves[SECONDARY].configuration.networks[0].subnets[0].pools[0];
    let (first, last) = (pool.first, pool.last);
    pool.last = Ipv4Addr::from(u32::from(last) - 4);
    pair.start(SECONDARY);
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
    let only = AddressRange { first: Ipv4Addr::from(u32::from(last) - 3), last };
    let mut told = [0, 0];
    for _ in 0..200 {
        pair.now = pair.now.plus_seconds(1);
        for side in [PRIMARY, SECONDARY] {
            told[side] += notices(&pair.input(side, Input::Tick)).len();
        }
        pair.deliver();
    }
    let (here, there) = (pair.status(PRIMARY).mismatch, pair.status(SECONDARY).mismatch);
    assert_eq!((here.only_here, here.only_here_count), (vec![only], 4));
    assert_eq!((there.only_there, there.only_there_count), (vec![only], 4));
    assert_eq!((here.only_there, there.only_here), (vec![], vec![]));
    assert_eq!(told, [1, 1], "once, with all of them");
    assert!(pair.lease(PRIMARY, 1).is_ok() && pair.lease(SECONDARY, 2).is_ok());
    // The configuration is mended.
    pair.cut();
    pair.halves[SECONDARY].configuration.networks[0].subnets[0].pools[0] =
        AddressRange { first, last };
    pair.start(SECONDARY);
    pair.connect();
    pair.pass(5);
    for side in [PRIMARY, SECONDARY] {
        let status = pair.status(side);
        assert_eq!((status.mismatch, status.addresses_refused), (PoolMismatch::default(), 0));
    }
}

#[test]
fn what_the_partner_refuses_for_ever_is_offered_ever_more_seldom() {
    let mut pair = Pair::new(4);
    let pool = &mut pair.halves[SECONDARY].configuration.networks[0].subnets[0].pools[0];
    pool.last = pool.first;
    pair.start(SECONDARY);
    pair.connect();
    pair.pass(10);
    let said = pair.said.len();
    let refused = pair.status(PRIMARY).updates_refused_by_partner;
    assert!(refused > 0 && pair.status(PRIMARY).addresses_refused > 0);
    assert_eq!(pair.status(SECONDARY).updates_refused, refused);
    pair.pass(7200);
    let offered = pair.updates_since(said, PRIMARY);
    for update in &offered {
        let same = offered.iter().filter(|other| other.address == update.address).count();
        // After 30 s, 1, 2, 4, 8, 16, 32 min and 1 h.
        assert!(same <= 8, "{update:?} was offered {same} times");
    }
    assert!(!offered.is_empty());
}

#[test]
fn who_has_lost_its_leases_serves_alone_only_if_that_is_said() {
    let mut pair = Pair::normal(4);
    pair.lease(SECONDARY, 1).unwrap();
    pair.kill(SECONDARY);
    pair.kill(PRIMARY);
    pair.halves[PRIMARY].records.clear();
    pair.start(PRIMARY);
    // While it is starting, and when it waits for its partner.
    for seconds in [0, 30] {
        pair.pass(seconds);
        assert_eq!(pair.partner_down(PRIMARY), Answer::LeasesNotKnown);
        assert_eq!(pair.status(PRIMARY).state, State::Recover);
        assert_eq!(pair.lease(PRIMARY, 2), Err(Reason::PairNotServing));
    }
    assert_eq!(pair.say_partner_down(PRIMARY, true), Answer::PartnerIsDown);
    assert_eq!(pair.status(PRIMARY).state, State::PartnerDown);
    assert!(pair.lease(PRIMARY, 2).is_ok());
    // Who knows its leases need not say so.
    pair.start(SECONDARY);
    pair.pass(20);
    assert_eq!(pair.partner_down(SECONDARY), Answer::PartnerIsDown);
}
