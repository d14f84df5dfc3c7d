//! From nothing to both serving; restarts, lost data, conflicts.

use super::*;

#[test]
fn two_servers_that_know_nothing_serve_as_soon_as_they_have_met() {
    let mut pair = Pair::new(16);
    assert_eq!(pair.states(), [State::Recover; 2]);
    assert_eq!(pair.discover(PRIMARY, 1), Err(Reason::PairNotServing));
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
    // Half of what is free was given to the secondary, and both count the same.
    assert_eq!([pair.free(PRIMARY), pair.free(SECONDARY)], [(8, 8); 2]);
    let status = pair.status(SECONDARY);
    assert!(status.is_connected && !status.is_starting);
    assert_eq!((status.updates_unacknowledged, status.updates_waiting), (0, 0));
    assert_eq!((status.mclt_seconds, status.buckets), (MCLT, Some(128)));
    // A STATE while it is starting, and one when it is not any more.
    let primary = pair.states_said(PRIMARY);
    assert_eq!(primary[..2], [(State::Recover, true), (State::Recover, false)]);
    assert_eq!(primary.last(), Some(&(State::Normal, false)));
    let secondary = pair.states_said(SECONDARY);
    assert_eq!(secondary.first(), Some(&(State::Recover, false)));
}

#[test]
fn a_state_is_durable_before_the_partner_hears_of_it() {
    let mut pair = Pair::new(4);
    pair.connect();
    for side in [PRIMARY, SECONDARY] {
        let records = pair.halves[side].records.iter();
        let durable: Vec<State> = records
            .filter_map(|record| match record {
                Record::Failover(record) => Some(record.state),
                _ => None,
            })
            .collect();
        for (state, startup) in pair.states_said(side) {
            assert!(startup || durable.contains(&state), "{state}");
        }
    }
    // And what leaves with it waits for it.
    let mut server = Server::new(configured(Role::Primary, 4), [SERVER], [], pair.now);
    let mut effects = Effects::new();
    server.step(pair.now, Input::Partner(PartnerInput::Connected), &mut effects);
    let answer = pair.said.iter().find_map(|(by, message)| {
        let is_answer = matches!(message.body, Body::ConnectAcknowledgement(_));
        (*by == SECONDARY && is_answer).then(|| message.clone())
    });
    effects = Effects::new();
    server.step(pair.now, Input::Partner(PartnerInput::Said(answer.unwrap())), &mut effects);
    let state = StateMessage::new(State::Recover, false, pair.seconds());
    let message = Message { time: pair.seconds(), xid: 1, body: Body::State(state) };
    effects = Effects::new();
    let sequence = server.step(pair.now, Input::Partner(PartnerInput::Said(message)), &mut effects);
    let releases: Vec<Release> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Partner(PartnerEffect::Send { message, release }) => {
                matches!(message.body, Body::State(_)).then_some(*release)
            }
            _ => None,
        })
        .collect();
    assert_eq!(releases, [Release::AfterCommit(sequence.unwrap())]);
}

#[test]
fn a_restart_goes_on_where_it_was_and_sends_what_was_not_acknowledged() {
    let mut pair = Pair::normal(16);
    // The secondary hears nothing of the lease.
    pair.stuck[PRIMARY] = true;
    let (ip, _) = pair.lease(PRIMARY, 1).unwrap();
    assert!(!pair.is_held(SECONDARY, ip));
    pair.kill(PRIMARY);
    assert_eq!(pair.status(SECONDARY).state, State::CommunicationsInterrupted);
    pair.stuck[PRIMARY] = false;
    pair.pass(5);
    pair.start(PRIMARY);
    assert_eq!(pair.discover(PRIMARY, 2), Err(Reason::PairNotServing), "it is starting");
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
    assert!(pair.is_held(SECONDARY, ip));
    assert_eq!(pair.lease_of(SECONDARY, ip).ends, pair.lease_of(PRIMARY, ip).ends);
    assert!(pair.binding(PRIMARY, ip).is_acknowledged);
}

#[test]
fn who_hears_no_partner_serves_after_fifteen_seconds() {
    let mut pair = Pair::normal(16);
    pair.kill(PRIMARY);
    pair.kill(SECONDARY);
    pair.start(PRIMARY);
    pair.pass(14);
    assert!(pair.status(PRIMARY).is_starting);
    pair.pass(1);
    let status = pair.status(PRIMARY);
    assert_eq!((status.is_starting, status.state), (false, State::CommunicationsInterrupted));
    assert!(pair.lease(PRIMARY, 1).is_ok());
}

#[test]
fn who_lost_everything_fetches_it_and_waits_for_what_it_may_have_promised() {
    for lost in [PRIMARY, SECONDARY] {
        let mut pair = Pair::normal(16);
        let (ip, _) = pair.lease(1 - lost, 1).unwrap();
        pair.kill(lost);
        pair.pass(3);
        pair.halves[lost].records.clear();
        pair.start(lost);
        let started = pair.now;
        pair.connect();
        assert_eq!(pair.status(1 - lost).state, State::PartnerDown);
        assert_eq!(pair.status(lost).state, State::RecoverWait);
        assert_eq!(pair.discover(lost, 2), Err(Reason::PairNotServing));
        assert!(pair.is_held(lost, ip), "it knows everything again");
        assert_eq!(pair.free(lost), pair.free(1 - lost));
        assert!(pair.discover(1 - lost, 2).is_ok(), "the other one serves on");
        pair.pass(MCLT.into());
        assert_eq!(pair.status(lost).state, State::RecoverWait);
        pair.pass(10);
        assert_eq!(pair.states(), [State::Normal; 2]);
        assert!(pair.now < started.plus_seconds(u64::from(MCLT) + 20));
        assert_eq!(pair.free(lost), pair.free(1 - lost));
    }
}

#[test]
fn two_that_each_believed_the_other_down_compare_before_they_serve() {
    let mut pair = Pair::normal(16);
    pair.cut();
    assert_eq!(pair.partner_down(PRIMARY), Answer::PartnerIsDown);
    assert_eq!(pair.partner_down(SECONDARY), Answer::PartnerIsDown);
    let (first, _) = pair.lease(PRIMARY, 1).unwrap();
    let (second, _) = pair.lease(SECONDARY, 2).unwrap();
    pair.stuck[SECONDARY] = true;
    pair.connect();
    pair.stuck[SECONDARY] = false;
    pair.deliver();
    assert_eq!(pair.states(), [State::Normal; 2]);
    for side in [PRIMARY, SECONDARY] {
        assert!(pair.is_held(side, first) && pair.is_held(side, second));
    }
    let mut went = pair.states_said(PRIMARY);
    went.retain(|(state, _)| [State::PotentialConflict, State::ConflictDone].contains(state));
    assert_eq!(went, [(State::PotentialConflict, false), (State::ConflictDone, false)]);
}

#[test]
fn a_comparison_that_is_interrupted_begins_again() {
    let mut pair = Pair::normal(16);
    pair.cut();
    pair.partner_down(PRIMARY);
    pair.partner_down(SECONDARY);
    pair.is_connected = true;
    for side in [PRIMARY, SECONDARY] {
        pair.input(side, Input::Partner(PartnerInput::Connected));
    }
    // Until the primary compares.
    while pair.status(PRIMARY).state != State::PotentialConflict {
        let side = if pair.halves[PRIMARY].incoming.is_empty() { SECONDARY } else { PRIMARY };
        let message = pair.halves[side].incoming.pop_front().expect("it goes on");
        pair.arrive(side, message);
    }
    pair.cut();
    assert_eq!(pair.status(PRIMARY).state, State::ResolutionInterrupted);
    assert_eq!(pair.discover(PRIMARY, 1), Err(Reason::PairNotServing));
    pair.connect();
    assert_eq!(pair.states(), [State::Normal; 2]);
}

#[test]
fn a_primary_that_is_done_comparing_hears_nothing_that_ends_it() {
    // An ISC dhcpd primary in CONFLICT-DONE, played by hand, meets a secondary in every state.
    for saved in State::ALL.into_iter().filter(|state| *state != State::Startup) {
        let mut pair = Pair::normal(4);
        pair.kill(SECONDARY);
        pair.kill(PRIMARY);
        let record = crate::failover::FailoverRecord {
            state: saved,
            since: pair.seconds(),
            partner: PartnerState::Unknown,
            partner_since: 0,
            mclt_seconds: MCLT,
            hash_buckets: None,
        };
        pair.halves[SECONDARY].records = vec![Record::Failover(record)];
        pair.start(SECONDARY);
        let connect = pair.said.iter().find(|(_, it)| matches!(it.body, Body::Connect(_)));
        let connect = connect.unwrap().1.clone();
        let done = StateMessage::new(State::ConflictDone, false, pair.seconds());
        let done = Message { body: Body::State(done), ..connect.clone() };
        pair.is_connected = true;
        pair.input(SECONDARY, Input::Partner(PartnerInput::Connected));
        pair.halves[SECONDARY].incoming.extend([connect, done]);
        pair.deliver();
        pair.pass(20);
    }
}
