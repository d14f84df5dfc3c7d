//! Contact lost, the partner down, and together again.

use super::*;
use crate::failover::FailoverRecord;

#[test]
fn apart_each_serves_from_its_own_and_renews_for_both() {
    let mut pair = Pair::normal(8);
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    pair.cut();
    assert_eq!(pair.states(), [State::CommunicationsInterrupted; 2]);
    // What was agreed allows a lease of the full length once more.
    pair.pass(10);
    assert_eq!(pair.renew(SECONDARY, 1, ip), Ok((ip, 120)));
    // New clients get what each has of its own, and not more.
    let mut given = Vec::new();
    for (side, count) in [(PRIMARY, 3), (SECONDARY, 4)] {
        for number in 0..count {
            let client = 10 + number + 20 * u8::try_from(side).unwrap();
            let (address, seconds) = pair.lease(side, client).unwrap();
            assert_eq!(seconds, MCLT, "nothing was agreed of it");
            given.push(address);
        }
        assert_eq!(pair.lease(side, 100), Err(Reason::PoolExhausted));
    }
    given.push(ip);
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 8, "no address twice");
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
    for address in given {
        assert!(pair.is_held(PRIMARY, address) && pair.is_held(SECONDARY, address));
    }
}

#[test]
fn an_address_that_never_left_us_as_far_as_the_partner_knows_is_ours_again() {
    let mut pair = Pair::normal(2);
    pair.cut();
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    assert_eq!(pair.lease(SECONDARY, 2), Err(Reason::PoolExhausted));
    pair.release(SECONDARY, 1, ip);
    assert_eq!(pair.lease(SECONDARY, 2), Ok((ip, MCLT)));
    pair.pass(u64::from(MCLT));
    assert_eq!(pair.lease(SECONDARY, 3), Ok((ip, MCLT)));
    // What the partner knows to be held is kept until it agrees.
    let mut pair = Pair::normal(2);
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    pair.cut();
    pair.release(SECONDARY, 1, ip);
    assert_eq!(pair.lease(SECONDARY, 2), Err(Reason::PoolExhausted));
    assert_eq!(pair.lease(SECONDARY, 1).map(|(address, _)| address), Ok(ip), "its own client");
}

#[test]
fn what_may_have_been_sent_counts_as_seen_also_after_a_crash() {
    let mut pair = Pair::normal(2);
    pair.stuck[SECONDARY] = true;
    let (ip, _) = pair.lease(SECONDARY, 1).unwrap();
    pair.kill(SECONDARY);
    pair.stuck[SECONDARY] = false;
    pair.start(SECONDARY);
    pair.pass(20);
    assert_eq!(pair.status(SECONDARY).state, State::CommunicationsInterrupted);
    pair.release(SECONDARY, 1, ip);
    assert_eq!(pair.binding(SECONDARY, ip).status, BindingStatus::Released);
    assert_eq!(pair.lease(SECONDARY, 2), Err(Reason::PoolExhausted));
}

#[test]
fn the_partners_addresses_are_taken_over_when_nobody_can_hold_a_promise_of_its() {
    for side in [PRIMARY, SECONDARY] {
        let mut pair = Pair::normal(4);
        // One of each, which will be over by then.
        let (old, _) = pair.lease(1 - side, 1).unwrap();
        pair.kill(1 - side);
        pair.pass(5);
        assert_eq!(pair.partner_down(side), Answer::PartnerIsDown);
        let down = pair.now;
        let (first, _) = pair.lease(side, 2).unwrap();
        let (second, _) = pair.lease(side, 3).unwrap();
        assert_eq!(pair.lease(side, 4), Err(Reason::PoolExhausted));
        for _ in 0..2 {
            pair.pass(u64::from(MCLT) / 2);
            assert!(pair.renew(side, 2, first).is_ok() && pair.renew(side, 3, second).is_ok());
        }
        assert_eq!(pair.lease(side, 4), Err(Reason::PoolExhausted), "a promise may still run");
        pair.pass(7);
        let (third, _) = pair.lease(side, 4).unwrap();
        assert!(![first, second, old].contains(&third));
        // The lease of the partner's client: it may have been renewed up to what was agreed, and a
        // lead time beyond.
        let agreed = pair.binding(side, old).partner_expiration;
        let last = Timestamp::from_seconds((agreed + MCLT).into());
        assert!(last > down);
        while pair.now <= last {
            assert!(pair.lease(side, 5).is_err(), "at {}", pair.now);
            pair.pass(1);
            for (number, address) in [(2, first), (3, second), (4, third)] {
                let _ = pair.renew(side, number, address);
            }
        }
        pair.pass(7);
        assert_eq!(pair.lease(side, 5).map(|(address, _)| address), Ok(old));
    }
}

#[test]
fn who_comes_back_to_a_partner_that_took_over_fetches_what_it_did() {
    let mut pair = Pair::normal(8);
    let (kept, _) = pair.lease(SECONDARY, 1).unwrap();
    pair.kill(SECONDARY);
    pair.partner_down(PRIMARY);
    let (new, _) = pair.lease(PRIMARY, 2).unwrap();
    pair.pass(30);
    assert_eq!(pair.renew(PRIMARY, 1, kept).map(|(ip, _)| ip), Ok(kept));
    pair.start(SECONDARY);
    pair.connect();
    assert_eq!(pair.status(PRIMARY).state, State::PartnerDown);
    assert_eq!(pair.status(SECONDARY).state, State::RecoverWait);
    assert!(pair.is_held(SECONDARY, new) && pair.is_held(SECONDARY, kept));
    for _ in 0..8 {
        pair.pass(10);
        let _ = pair.renew(PRIMARY, 1, kept);
        let _ = pair.renew(PRIMARY, 2, new);
    }
    assert_eq!(pair.states(), [State::Normal; 2]);
    assert_eq!(pair.free(PRIMARY), pair.free(SECONDARY));
    assert_eq!(pair.lease_of(SECONDARY, new).ends, pair.lease_of(PRIMARY, new).ends);
}

#[test]
fn a_partner_that_is_heard_is_not_down() {
    let mut pair = Pair::normal(4);
    assert_eq!(pair.partner_down(PRIMARY), Answer::PartnerIsConnected);
    assert_eq!(pair.states(), [State::Normal; 2]);
    let mut alone = Bench::new(1);
    let answers =
        alone.input(Input::Command(Ticket(1), Command::PartnerDown { leases_lost: false }));
    let is_refused =
        |effect: &Effect| matches!(effect, Effect::Answer { answer: Answer::NotPaired, .. });
    assert!(answers.iter().any(is_refused));
}

#[test]
fn without_an_operator_the_partner_counts_as_down_only_if_that_is_configured() {
    for seconds in [None, Some(20)] {
        let mut pair = Pair::new(4);
        for half in &mut pair.halves {
            half.configuration.failover.as_mut().unwrap().auto_partner_down_seconds = seconds;
        }
        pair.start(PRIMARY);
        pair.start(SECONDARY);
        pair.connect();
        pair.kill(SECONDARY);
        pair.pass(19);
        assert_eq!(pair.status(PRIMARY).state, State::CommunicationsInterrupted);
        pair.pass(1);
        let expected =
            if seconds.is_some() { State::PartnerDown } else { State::CommunicationsInterrupted };
        assert_eq!(pair.status(PRIMARY).state, expected);
    }
}

#[test]
fn a_partner_that_says_nothing_is_given_up_after_the_receive_timer() {
    let mut pair = Pair::normal(4);
    pair.pass(100);
    assert_eq!(pair.states(), [State::Normal; 2], "both say that they are there");
    pair.stuck = [true; 2];
    pair.pass(29);
    assert_eq!(pair.states(), [State::Normal; 2]);
    pair.pass(2);
    assert_eq!(pair.states(), [State::CommunicationsInterrupted; 2]);
}

#[test]
fn what_a_server_promised_and_forgot_is_kept_for_its_client() {
    for lost in [PRIMARY, SECONDARY] {
        let mut pair = Pair::normal(2);
        let (ip, _) = pair.lease(1 - lost, 1).unwrap();
        pair.pass(50);
        // Nobody but its client ever hears of the renewal, which what was agreed allows.
        pair.stuck[lost] = true;
        assert_eq!(pair.renew(lost, 1, ip), Ok((ip, 120)));
        let ends = pair.now.plus_seconds(120);
        pair.kill(lost);
        pair.halves[lost].records.clear();
        pair.stuck[lost] = false;
        pair.pass(12);
        assert!(!pair.is_held(1 - lost, ip), "it is over, as far as the other one knows");
        pair.start(lost);
        pair.connect();
        while pair.now < ends {
            for side in [PRIMARY, SECONDARY] {
                for number in 2..5 {
                    let other = pair.lease(side, number).map(|(address, _)| address);
                    assert_ne!(other, Ok(ip), "at {}", pair.now);
                }
            }
            pair.pass(1);
        }
        pair.pass(200);
        assert_eq!(pair.states(), [State::Normal; 2]);
        assert_eq!(pair.free(PRIMARY), pair.free(SECONDARY));
        let (free, backup) = pair.free(PRIMARY);
        assert_eq!(free + backup, 2);
    }
}

/// A half that comes back gives its free addresses out as soon as it hears NORMAL. Its partner has given
/// some of them out while it was alone.
#[test]
fn who_comes_back_hears_of_every_grant_before_it_hears_normal() {
    let mut pair = Pair::normal(8);
    pair.kill(PRIMARY);
    assert_eq!(pair.partner_down(SECONDARY), Answer::PartnerIsDown);
    // It had everything already when it was killed again.
    let recovered = FailoverRecord {
        state: State::RecoverDone,
        since: pair.seconds(),
        partner: PartnerState::Known(State::PartnerDown),
        partner_since: pair.seconds(),
        mclt_seconds: MCLT,
        hash_buckets: None,
    };
    pair.halves[PRIMARY].records.push(Record::Failover(recovered));
    pair.pass(u64::from(MCLT) * 3);
    let granted: Vec<Ipv4Addr> =
        (1..=8).map(|number| pair.lease(SECONDARY, number).unwrap().0).collect();
    let said = pair.said.len();
    pair.start(PRIMARY);
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
    let of_secondary = pair.said[said..].iter().filter(|(side, _)| *side == SECONDARY);
    let before_normal: Vec<Ipv4Addr> = of_secondary
        .map(|(_, message)| &message.body)
        .take_while(|body| {
            !matches!(body, Body::State(state)
                if state.state == PartnerState::Known(State::Normal))
        })
        .filter_map(|body| match body {
            Body::BindingUpdate(update) => Some(update.address),
            _ => None,
        })
        .collect();
    assert!(granted.iter().all(|ip| before_normal.contains(ip)), "{granted:?} {before_normal:?}");
}
