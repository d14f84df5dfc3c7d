//! A connection from both ends, and each rule of the handshake, the timers and the window.

use super::*;
use crate::failover::{BindingStatus, State};

const NOW: Timestamp = Timestamp::from_seconds(1_795_168_508);

fn settings(role: Role) -> Settings {
    Settings {
        role,
        relationship: b"campus"[..].into(),
        unacknowledged_max: 10,
        receive_timer_seconds: 30,
        mclt_seconds: 120,
        hash_buckets: HashBuckets::split(128),
        vendor: b"vestibule"[..].into(),
    }
}

fn sent(effects: &[SessionEffect]) -> Vec<Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            SessionEffect::Send(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
}

fn closed(effects: &[SessionEffect]) -> Option<CloseReason> {
    effects.iter().find_map(|effect| match effect {
        SessionEffect::Close(reason) => Some(*reason),
        _ => None,
    })
}

/// Two sessions after their handshake.
fn pair() -> (Session, Session) {
    let (mut to_secondary, mut to_primary) = (Vec::new(), Vec::new());
    let mut primary = Session::open(settings(Role::Primary), NOW, &mut to_secondary);
    let mut secondary = Session::open(settings(Role::Secondary), NOW, &mut to_primary);
    assert!(to_primary.is_empty(), "the secondary waits for the primary's first word");
    for message in sent(&to_secondary) {
        secondary.receive(NOW, message, false, &mut to_primary);
    }
    let mut effects = Vec::new();
    for message in sent(&to_primary) {
        primary.receive(NOW, message, false, &mut effects);
    }
    assert!(primary.is_up() && secondary.is_up());
    (primary, secondary)
}

#[test]
fn both_learn_what_the_other_said_of_itself() {
    let mut effects = Vec::new();
    let mut primary = Session::open(settings(Role::Primary), NOW, &mut effects);
    let [connect] = &sent(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(connect.xid, 0);
    let mut secondary = Session::open(settings(Role::Secondary), NOW, &mut Vec::new());
    let mut answers = Vec::new();
    secondary.receive(NOW, connect.clone(), false, &mut answers);
    let terms = Terms {
        unacknowledged_max: 10,
        contact_seconds: 10,
        mclt_seconds: Some(120),
        hash_buckets: Some(HashBuckets::split(128)),
        corrects_times: false,
    };
    assert_eq!(answers[1..], [SessionEffect::Up(terms)]);
    let [answer] = &sent(&answers)[..] else { panic!("{answers:?}") };
    assert_eq!(answer.xid, connect.xid);
    effects.clear();
    primary.receive(NOW, answer.clone(), false, &mut effects);
    let terms = Terms { mclt_seconds: None, hash_buckets: None, ..terms };
    assert_eq!(effects, [SessionEffect::Up(terms)]);
}

#[test]
fn a_connect_with_several_faults_is_refused_for_the_first() {
    let good = Connect {
        relationship: Some(b"campus"[..].into()),
        unacknowledged_max: Some(10),
        receive_timer_seconds: Some(30),
        mclt_seconds: Some(120),
        hash_buckets: Some([0xff; 32]),
        ..Connect::default()
    };
    // Each with all the faults of those after it.
    let no_mclt = Connect { mclt_seconds: None, ..good.clone() };
    let no_buckets = Connect { hash_buckets: None, ..no_mclt.clone() };
    let other_name = Connect { relationship: Some(b"Campus"[..].into()), ..no_buckets.clone() };
    let no_name = Connect { relationship: None, ..no_buckets.clone() };
    for (connect, seconds_apart, occupied, reject) in [
        (&no_name, 61, true, Reject::InvalidPartner),
        (&other_name, 61, true, Reject::InvalidPartner),
        (&no_buckets, 61, true, Reject::TimeMismatch),
        (&no_buckets, 60, true, Reject::HashBucketConflict),
        (&no_mclt, 60, true, Reject::DuplicateConnection),
        (&no_mclt, 60, false, Reject::InvalidMclt),
    ] {
        for late in [true, false] {
            let mut effects = Vec::new();
            let mut secondary = Session::open(settings(Role::Secondary), NOW, &mut effects);
            let own = seconds(NOW);
            let time = if late { own - seconds_apart } else { own + seconds_apart };
            let body = Body::Connect(connect.clone());
            secondary.receive(NOW, Message { time, xid: 0, body }, occupied, &mut effects);
            let [Message { body: Body::ConnectAcknowledgement(answer), .. }] = &sent(&effects)[..]
            else {
                panic!("{effects:?}")
            };
            let told = answer.reject.as_ref().map(|rejection| rejection.reason);
            assert_eq!(told, Some(reject));
            // ISC dhcpd reads no refusal without a name.
            assert_eq!(answer.relationship, Some(connect.relationship.clone().unwrap_or_default()));
            assert!(closed(&effects).is_some() && !secondary.is_up());
        }
    }
    let mut effects = Vec::new();
    let mut secondary = Session::open(settings(Role::Secondary), NOW, &mut effects);
    let message = Message { time: seconds(NOW), xid: 0, body: Body::Connect(good) };
    secondary.receive(NOW, message, false, &mut effects);
    assert!(secondary.is_up());
}

/// It corrects the times that it is told, so the clocks may be apart as far as they are; an ISC dhcpd does not.
#[test]
fn only_this_program_is_met_with_clocks_that_are_far_apart() {
    for (vendor, is_met) in [
        (&b"vestibule-1.2.3"[..], true),
        (b"isc-4.4.3-P1", false),
        (b"isc-vestibule-", false),
        (b"", false),
    ] {
        for apart in [61, 3600, 86_400 * 365] {
            let time = seconds(NOW) - apart;
            let of = |role| Settings { vendor: vendor.into(), ..settings(role) };
            let mut connect = Vec::new();
            let _partner = Session::open(of(Role::Primary), NOW, &mut connect);
            let connect = Message { time, ..sent(&connect).remove(0) };
            let mut effects = Vec::new();
            let mut secondary = Session::open(settings(Role::Secondary), NOW, &mut effects);
            secondary.receive(NOW, connect.clone(), false, &mut effects);
            assert_eq!(secondary.is_up(), is_met);
            let met = effects.iter().find_map(|effect| match effect {
                SessionEffect::Up(terms) => Some(terms.corrects_times),
                _ => None,
            });
            assert_eq!(met, is_met.then_some(true));

            let mut answer = Vec::new();
            let mut partner = Session::open(of(Role::Secondary), NOW, &mut answer);
            let connect = Message { time: seconds(NOW), ..connect };
            partner.receive(NOW, connect, false, &mut answer);
            let answer = Message { time, ..sent(&answer).remove(0) };
            let mut effects = Vec::new();
            let mut primary = Session::open(settings(Role::Primary), NOW, &mut effects);
            primary.receive(NOW, answer, false, &mut effects);
            assert_eq!(primary.is_up(), is_met);
            let refused = Some(CloseReason::Refused(Reject::TimeMismatch));
            assert_eq!(closed(&effects), if is_met { None } else { refused });
        }
    }
}

#[test]
fn an_answer_with_several_faults_is_left_for_the_first() {
    let good = ConnectAcknowledgement {
        relationship: Some(b"campus"[..].into()),
        unacknowledged_max: Some(10),
        receive_timer_seconds: Some(30),
        ..ConnectAcknowledgement::default()
    };
    let refused = ConnectAcknowledgement {
        reject: Some(Rejection::new(Reject::TimeMismatch, "")),
        ..good.clone()
    };
    let other = ConnectAcknowledgement { relationship: Some(b"x"[..].into()), ..good.clone() };
    let nameless = ConnectAcknowledgement { relationship: None, ..refused.clone() };
    let left = |reject| Some(Some(reject));
    for (answer, apart, occupied, disconnect, close) in [
        (
            &nameless,
            61,
            true,
            left(Reject::InvalidPartner),
            CloseReason::Refused(Reject::InvalidPartner),
        ),
        (&refused, 61, true, None, CloseReason::RefusedByPartner(Reject::TimeMismatch)),
        (
            &other,
            61,
            true,
            left(Reject::InvalidPartner),
            CloseReason::Refused(Reject::InvalidPartner),
        ),
        (&good, 61, true, left(Reject::DuplicateConnection), CloseReason::Duplicate),
        (&good, 61, false, left(Reject::TimeMismatch), CloseReason::Refused(Reject::TimeMismatch)),
    ] {
        let mut effects = Vec::new();
        let mut primary = Session::open(settings(Role::Primary), NOW, &mut effects);
        effects.clear();
        let body = Body::ConnectAcknowledgement(answer.clone());
        let message = Message { time: seconds(NOW) + apart, xid: 0, body };
        primary.receive(NOW, message, occupied, &mut effects);
        let told = sent(&effects).into_iter().next().map(|message| match message.body {
            Body::Disconnect(rejection) => rejection.map(|rejection| rejection.reason),
            other => panic!("{other:?}"),
        });
        assert_eq!((told, closed(&effects)), (disconnect, Some(close)));
    }
}

#[test]
fn nothing_is_believed_before_the_handshake() {
    for role in [Role::Primary, Role::Secondary] {
        for body in [
            Body::State(StateMessage::new(State::Normal, false, 0)),
            Body::BindingUpdate(BindingUpdate::new(Ipv4Addr::LOCALHOST, BindingStatus::Free)),
            Body::UpdateRequestAll,
            Body::Contact,
            Body::PoolRequest,
        ] {
            let mut effects = Vec::new();
            let mut session = Session::open(settings(role), NOW, &mut effects);
            effects.clear();
            let message = Message { time: seconds(NOW), xid: 0, body };
            session.receive(NOW, message, false, &mut effects);
            assert_eq!(effects, [SessionEffect::Close(CloseReason::NotNow)]);
            // Nor is anything after it.
            effects.clear();
            let connect =
                Message { time: seconds(NOW), xid: 0, body: Body::Connect(Connect::default()) };
            session.receive(NOW, connect, false, &mut effects);
            assert_eq!((effects, session.next_tick()), (Vec::new(), None));
        }
    }
    // Two of the same role.
    let mut effects = Vec::new();
    let _ = Session::open(settings(Role::Primary), NOW, &mut effects);
    let [connect] = &sent(&effects)[..] else { panic!("{effects:?}") };
    let mut other = Session::open(settings(Role::Primary), NOW, &mut Vec::new());
    effects = Vec::new();
    other.receive(NOW, connect.clone(), false, &mut effects);
    assert_eq!(effects, [SessionEffect::Close(CloseReason::SameRole)]);
}

#[test]
fn a_handshake_takes_fifteen_seconds_at_most() {
    let mut effects = Vec::new();
    let mut session = Session::open(settings(Role::Secondary), NOW, &mut effects);
    assert_eq!(session.next_tick(), Some(NOW.plus_seconds(15)));
    session.tick(NOW.plus_seconds(14), &mut effects);
    assert!(effects.is_empty());
    session.tick(NOW.plus_seconds(15), &mut effects);
    assert_eq!(effects, [SessionEffect::Close(CloseReason::HandshakeTimeout)]);
}

#[test]
fn the_partner_hears_of_us_at_a_third_of_its_timer_and_is_given_up_at_ours() {
    let (mut primary, _) = pair();
    let mut effects = Vec::new();
    assert_eq!(primary.next_tick(), Some(NOW.plus_seconds(10)));
    primary.tick(NOW.plus_seconds(9), &mut effects);
    assert!(effects.is_empty());
    primary.tick(NOW.plus_seconds(10), &mut effects);
    let [Message { body: Body::Contact, xid: 1, .. }] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    effects.clear();
    primary.tick(NOW.plus_seconds(20), &mut effects);
    primary.tick(NOW.plus_seconds(30), &mut effects);
    assert_eq!(effects.last(), Some(&SessionEffect::Close(CloseReason::Silent)));
    assert_eq!(primary.next_tick(), None);
}

#[test]
fn whatever_is_heard_keeps_the_connection() {
    let (mut primary, _) = pair();
    let mut effects = Vec::new();
    for second in 1..100 {
        let now = NOW.plus_seconds(second * 29);
        let contact = Message { time: seconds(now), xid: 0, body: Body::Contact };
        primary.receive(now, contact, false, &mut effects);
        primary.tick(now, &mut effects);
    }
    assert_eq!(closed(&effects), None);
    // Who answers with floods is not worth it.
    let now = NOW.plus_seconds(5000);
    for _ in 0..=CONTACTS_PER_SECOND_MAX {
        let contact = Message { time: seconds(now), xid: 0, body: Body::Contact };
        primary.receive(now, contact, false, &mut effects);
    }
    assert_eq!(closed(&effects), Some(CloseReason::Flood));
}

#[test]
fn a_partner_that_offers_nothing_is_still_worked_with() {
    for (unacknowledged_max, receive_timer, window, contact) in [
        (None, None, 1, 1),
        (Some(0), Some(0), 1, 1),
        (Some(u32::MAX), Some(u32::MAX), 1024, 1_431_655_765),
    ] {
        let terms = terms(unacknowledged_max, receive_timer);
        assert_eq!((terms.unacknowledged_max, terms.contact_seconds), (window, contact));
    }
}

#[test]
fn no_more_updates_are_under_way_than_the_partner_takes() {
    let (mut primary, _) = pair();
    let mut effects = Vec::new();
    let address = |n| Ipv4Addr::new(10, 0, 0, n);
    let update = |n| BindingUpdate::new(address(n), BindingStatus::Free);
    let xids: Vec<u32> =
        (0..10).map(|n| primary.send_update(NOW, update(n), &mut effects).expect("room")).collect();
    assert_eq!(primary.window(), 0);
    assert_eq!(primary.send_update(NOW, update(10), &mut effects), None);
    assert_eq!(sent(&effects).len(), 10);
    effects.clear();
    let mut acknowledge = |xid, n, reject| {
        effects.clear();
        let body = Body::BindingAcknowledgement { address: address(n), reject };
        primary.receive(NOW, Message { time: 0, xid, body }, false, &mut effects);
        (effects.clone(), primary.window())
    };
    // Of another number, of another address: nothing that was sent.
    assert_eq!(acknowledge(999, 0, None), (Vec::new(), 0));
    assert_eq!(acknowledge(xids[0], 1, None), (Vec::new(), 0));
    let taken = Said::Acknowledged { xid: xids[0], address: address(0), reject: None };
    assert_eq!(acknowledge(xids[0], 0, None), (vec![SessionEffect::Said(taken)], 1));
    assert_eq!(acknowledge(xids[0], 0, None), (Vec::new(), 1), "once is enough");
    let reason = Reject::FatalConflict;
    let refused = Said::Acknowledged { xid: xids[1], address: address(1), reject: Some(reason) };
    let told = acknowledge(xids[1], 1, Some(Rejection { reason, message: None }));
    assert_eq!(told, (vec![SessionEffect::Said(refused)], 2));
}

#[test]
fn an_update_is_never_numbered_0() {
    let (_, mut secondary) = pair();
    let mut effects = Vec::new();
    let update = BindingUpdate::new(Ipv4Addr::LOCALHOST, BindingStatus::Free);
    // The secondary has said nothing of its own yet.
    assert_eq!(secondary.send_update(NOW, update, &mut effects), Some(1));
    secondary.want_pool(NOW, &mut effects);
    assert_eq!(sent(&effects).iter().map(|message| message.xid).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn answers_carry_the_number_of_what_they_answer() {
    let (mut primary, _) = pair();
    let mut effects = Vec::new();
    primary.update_done(NOW, 77, &mut effects);
    primary.pool_response(NOW, 78, 3, &mut effects);
    primary.acknowledge(NOW, 79, Ipv4Addr::LOCALHOST, None, &mut effects);
    primary.want_updates(NOW, true, &mut effects);
    let xids: Vec<u32> = sent(&effects).iter().map(|message| message.xid).collect();
    assert_eq!(xids, [77, 78, 79, 1]);
}
