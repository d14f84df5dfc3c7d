//! The failover codec against what real pairs of ISC dhcpd 4.4.3 said to each other, and against what
//! nobody should say.
//!
//! `tests/failover/*.txt` holds every message of four captures: who sent it, its type, its bytes. What is
//! decoded and encoded again must be the same bytes.

use std::net::Ipv4Addr;
use std::path::Path;
use vestibule_core::failover::{
    BindingStatus, BindingUpdate, Body, Connect, ConnectAcknowledgement, Message, PartnerState,
    Reject, Rejection, State, StateMessage,
};
use vestibule_core::failover::{HashBuckets, Role, Session, SessionEffect, Settings, Terms};
use vestibule_core::{HardwareAddress, Timestamp};
use vestibule_dhcpd::failover::{
    Broken, EncodeError, FrameReader, Refused, Unusable, decode, encode,
};

const CAPTURES: [(&str, usize); 4] =
    [("pair", 149), ("partition", 140), ("partner-down", 196), ("recover-conflict", 182)];

struct Captured {
    sender: String,
    name: String,
    bytes: Vec<u8>,
}

fn capture(name: &str) -> Vec<Captured> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failover").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("three words").to_owned();
            let (sender, name, digits) = (word(), word(), word());
            Captured { sender, name, bytes: bytes(&digits) }
        })
        .collect()
}

/// Hexadecimal digits, with or without spaces.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits"))
        .collect()
}

fn name(body: &Body) -> &'static str {
    match body {
        Body::PoolRequest => "POOLREQ",
        Body::PoolResponse { .. } => "POOLRESP",
        Body::BindingUpdate(_) => "BNDUPD",
        Body::BindingAcknowledgement { .. } => "BNDACK",
        Body::Connect(_) => "CONNECT",
        Body::ConnectAcknowledgement(_) => "CONNECTACK",
        Body::UpdateRequestAll => "UPDREQALL",
        Body::UpdateDone => "UPDDONE",
        Body::UpdateRequest => "UPDREQ",
        Body::State(_) => "STATE",
        Body::Contact => "CONTACT",
        Body::Disconnect(_) => "DISCONNECT",
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out).expect("it may be sent");
    out
}

#[test]
fn every_captured_message_is_read_and_written_back_byte_for_byte() {
    let mut seen = std::collections::BTreeSet::new();
    for (file, count) in CAPTURES {
        let messages = capture(file);
        assert_eq!(messages.len(), count, "{file}");
        for (index, captured) in messages.iter().enumerate() {
            let place = format!("{file}.txt line {}", index + 1);
            let message =
                decode(&captured.bytes).unwrap_or_else(|error| panic!("{place}: {error:?}"));
            assert_eq!(name(&message.body), captured.name, "{place}");
            assert_eq!(encoded(&message), captured.bytes, "{place}");
            seen.insert(captured.name.clone());
        }
    }
    // ISC dhcpd takes leave with DISCONNECT of a second connection only.
    assert_eq!(seen.len(), 11, "every type but DISCONNECT was captured: {seen:?}");
    let leave = Rejection::new(Reject::DuplicateConnection, "there is a connection already");
    for reject in [None, Some(leave)] {
        let message = Message { time: 1, xid: 2, body: Body::Disconnect(reject) };
        assert_eq!(decode(&encoded(&message)), Ok(message));
    }
}

#[test]
fn a_stream_of_a_whole_connection_comes_out_as_its_messages() {
    for (file, _) in CAPTURES {
        for sender in ["primary", "secondary"] {
            let messages: Vec<Captured> =
                capture(file).into_iter().filter(|captured| captured.sender == sender).collect();
            let stream: Vec<u8> = messages.iter().flat_map(|m| m.bytes.clone()).collect();
            for piece in [1, 13, 1000, stream.len()] {
                let mut reader = FrameReader::new();
                let mut read = Vec::new();
                for bytes in stream.chunks(piece) {
                    reader
                        .read::<Broken>(bytes, |message| {
                            read.push(message.to_vec());
                            Ok(())
                        })
                        .expect("a good stream");
                }
                let expected: Vec<Vec<u8>> = messages.iter().map(|m| m.bytes.clone()).collect();
                assert_eq!(read, expected, "{file}, {sender}, pieces of {piece}");
            }
        }
    }
}

#[test]
fn what_the_first_messages_of_a_pair_say() {
    let messages = capture("pair");
    let connect = decode(&messages[0].bytes).expect("CONNECT");
    let mut half = [0; 32];
    half[..16].fill(0xff);
    let expected = Connect {
        relationship: Some(b"fo-pair"[..].into()),
        unacknowledged_max: Some(10),
        receive_timer_seconds: Some(30),
        vendor: Some(b"isc-4.4.3-P1"[..].into()),
        protocol_version: Some(1),
        mclt_seconds: Some(120),
        hash_buckets: Some(half),
        tls_request: Some(0),
    };
    assert_eq!((connect.xid, connect.body), (0, Body::Connect(expected)));
    let state = decode(&messages[2].bytes).expect("STATE");
    let expected = StateMessage::new(State::Recover, true, 1_795_168_508);
    assert_eq!(state.body, Body::State(expected));
    let lease = messages
        .iter()
        .filter_map(|captured| match decode(&captured.bytes).ok()?.body {
            Body::BindingUpdate(update) if update.status == BindingStatus::Active => Some(update),
            _ => None,
        })
        .next()
        .expect("a lease was given");
    let expected = BindingUpdate {
        client_identifier: Some(b"fo-client-1"[..].into()),
        hardware: Some(HardwareAddress::ethernet([2, 0, 0, 0, 0, 0x0c])),
        lease_expiration: Some(0x6b00_1978),
        potential_expiration: Some(0x6b00_1b94),
        since: Some(0x6b00_1900),
        client_last_transaction: Some(0x6b00_1900),
        ..BindingUpdate::new(Ipv4Addr::new(10, 99, 0, 107), BindingStatus::Active)
    };
    assert_eq!(lease, expected);
}

/// A message of the type with these options.
fn message(message_type: u8, options: &str) -> Vec<u8> {
    let options = bytes(options);
    let mut out = u16::try_from(12 + options.len()).expect("short").to_be_bytes().to_vec();
    out.extend_from_slice(&[message_type, 12, 0x6b, 0, 0x18, 0xfc, 0, 0, 0, 9]);
    out.extend_from_slice(&options);
    out
}

const ADDRESS: &str = "0002 0004 0a630064";
const FREE: &str = "0003 0001 01";

fn update(options: &str) -> Vec<u8> {
    message(3, &format!("{ADDRESS} {FREE} {options}"))
}

#[test]
fn what_real_peers_do_is_tolerated() {
    let bare =
        Body::BindingUpdate(BindingUpdate::new(Ipv4Addr::new(10, 99, 0, 100), BindingStatus::Free));
    for (what, bytes) in [
        ("nothing but what is needed", update("")),
        ("another order", message(3, &format!("{FREE} {ADDRESS}"))),
        ("an unknown option", update("0063 0002 abcd")),
        ("an unknown option of no length", update("ffff 0000")),
        ("the DDNS option", update("0009 0003 000101")),
        ("an option of other messages, twice, of a wrong size", update("0018 0002 0606 0018 0000")),
        ("a message digest", update("0011 0004 01020304")),
        ("no identifier in the option for it", update("0004 0000")),
        ("flags of 0", update("000c 0002 0000")),
    ] {
        assert_eq!(decode(&bytes).expect(what).body, bare, "{what}");
    }
    let mut longer_header = update("");
    longer_header.splice(12..12, [0xde, 0xad]);
    longer_header[1] += 2;
    longer_header[3] = 14;
    assert_eq!(decode(&longer_header).expect("a longer header").body, bare);
    assert_eq!(decode(&message(200, "")), Err(Unusable::Unknown(200)));
    // What is missing in CONNECT is judged where it is answered.
    let empty = Body::Connect(Connect::default());
    assert_eq!(decode(&message(5, "")).expect("CONNECT").body, empty);
    // A state that is none is told as such, and changes nothing.
    let unknown = decode(&message(10, "0018 0001 63")).expect("STATE").body;
    let expected = StateMessage { state: PartnerState::Undefined(99), startup: false, since: None };
    assert_eq!(unknown, Body::State(expected));
}

#[test]
fn what_makes_the_rest_worthless_breaks_the_stream() {
    let twice = |option| Broken::OptionTwice { message_type: 3, option };
    let size = |option, length| Broken::OptionLength { message_type: 3, option, length };
    for (what, bytes, broken) in [
        ("nothing", Vec::new(), Broken::Length(0)),
        ("half a header", message(11, "")[..11].to_vec(), Broken::Length(11)),
        ("half a message", update("")[..20].to_vec(), Broken::Length(25)),
        ("more than it says", [message(11, ""), vec![0]].concat(), Broken::Length(12)),
        ("too much", vec![0; 2049], Broken::Length(2049)),
        ("no such type", message(13, ADDRESS), Broken::MessageType(13)),
        ("type 0", message(0, ADDRESS), Broken::MessageType(0)),
        ("two addresses", update(ADDRESS), twice(2)),
        ("two statuses", update(FREE), twice(3)),
        ("a status of two bytes", message(3, "0003 0002 0101"), size(3, 2)),
        ("flags of one byte", update("000c 0001 01"), size(12, 1)),
        ("a time of three bytes", update("000d 0003 000000"), size(13, 3)),
        ("an overrun", update("000d 0004 000000"), Broken::OptionOverrun { message_type: 3 }),
        ("half an option", update("000d 00"), Broken::OptionOverrun { message_type: 3 }),
        ("STATE without a state", message(10, ""), Broken::NoState),
        (
            "hash buckets of 31 bytes",
            message(5, &format!("000b 001f {}", "ff".repeat(31))),
            Broken::OptionLength { message_type: 5, option: 11, length: 31 },
        ),
    ] {
        assert_eq!(decode(&bytes), Err(Unusable::Broken(broken)), "{what}");
    }
    for offset in [0, 8, 11, 13, 255] {
        let mut bytes = message(11, "");
        bytes[3] = offset;
        let broken = Unusable::Broken(Broken::PayloadOffset(offset));
        assert_eq!(decode(&bytes), Err(broken), "options from byte {offset}");
    }
}

#[test]
fn an_update_that_cannot_be_taken_is_refused_and_the_link_stays() {
    let address = Ipv4Addr::new(10, 99, 0, 100);
    let long = "02".repeat(18);
    for (what, bytes, address, reason) in [
        ("no address", message(3, FREE), Ipv4Addr::UNSPECIFIED, Reject::MissingBinding),
        ("no status", message(3, ADDRESS), address, Reject::MissingBinding),
        ("status 0", message(3, &format!("{ADDRESS} 0003 0001 00")), address, Reject::Unspecified),
        ("status 8", message(3, &format!("{ADDRESS} 0003 0001 08")), address, Reject::Unspecified),
        ("no hardware type", update("0005 0000"), address, Reject::MissingBinding),
        (
            "a long hardware address",
            update(&format!("0005 0012 {long}")),
            address,
            Reject::Unspecified,
        ),
        (
            "a long identifier",
            update(&format!("0004 0100 {}", "aa".repeat(256))),
            address,
            Reject::Unspecified,
        ),
    ] {
        match decode(&bytes) {
            Err(Unusable::Refused(Refused { xid, address: told, rejection, .. })) => {
                assert_eq!((xid, told, rejection.reason), (9, address, reason), "{what}");
                assert!(rejection.message.is_some(), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn what_ends_or_misleads_isc_dhcpd_is_not_written() {
    let connect = Connect {
        relationship: Some(b"pair"[..].into()),
        unacknowledged_max: Some(10),
        receive_timer_seconds: Some(30),
        ..Connect::default()
    };
    let answer = ConnectAcknowledgement {
        relationship: connect.relationship.clone(),
        unacknowledged_max: Some(10),
        receive_timer_seconds: Some(30),
        ..ConnectAcknowledgement::default()
    };
    let written = |body| encode(&Message { time: 0, xid: 0, body }, &mut Vec::new());
    assert_eq!(written(Body::Connect(connect.clone())), Ok(()));
    for seconds in [None, Some(0), Some(2)] {
        let error = Err(EncodeError::ReceiveTimer(seconds));
        let receive_timer_seconds = seconds;
        let connect = Connect { receive_timer_seconds, ..connect.clone() };
        assert_eq!(written(Body::Connect(connect)), error);
        let answer = ConnectAcknowledgement { receive_timer_seconds, ..answer.clone() };
        assert_eq!(written(Body::ConnectAcknowledgement(answer)), error);
    }
    for unacknowledged_max in [None, Some(0)] {
        let error = Err(EncodeError::UnacknowledgedMax);
        let connect = Connect { unacknowledged_max, ..connect.clone() };
        assert_eq!(written(Body::Connect(connect)), error);
    }
    // A refusal needs no offer.
    let refusal = ConnectAcknowledgement {
        relationship: Some(b"other"[..].into()),
        reject: Some(Rejection::new(Reject::InvalidPartner, "no such relationship")),
        ..ConnectAcknowledgement::default()
    };
    assert_eq!(written(Body::ConnectAcknowledgement(refusal)), Ok(()));
    // An acknowledgement says an address and nothing else: an identifier in it would make ISC dhcpd
    // believe that nothing was agreed.
    let acknowledgement =
        Body::BindingAcknowledgement { address: Ipv4Addr::new(10, 99, 0, 100), reject: None };
    let bytes = encoded(&Message { time: 0, xid: 7, body: acknowledgement });
    assert_eq!(bytes.len(), 20);
}

#[test]
fn what_is_too_long_leaves_nothing_behind() {
    let mut update = BindingUpdate::new(Ipv4Addr::LOCALHOST, BindingStatus::Active);
    update.client_identifier = Some(vec![0; 3000].into());
    let mut out = vec![1, 2, 3];
    let message = Message { time: 0, xid: 0, body: Body::BindingUpdate(update) };
    assert!(matches!(encode(&message, &mut out), Err(EncodeError::Length(_))));
    assert_eq!(out, [1, 2, 3]);
}

/// A session with what a captured server was configured with.
fn session(role: Role, now: Timestamp, effects: &mut Vec<SessionEffect>) -> Session {
    let settings = Settings {
        role,
        relationship: b"fo-pair"[..].into(),
        unacknowledged_max: 10,
        receive_timer_seconds: 30,
        mclt_seconds: 120,
        hash_buckets: HashBuckets::split(128),
        vendor: b"isc-4.4.3-P1"[..].into(),
    };
    Session::open(settings, now, effects)
}

#[test]
fn the_handshake_of_either_role_is_isc_dhcpds_byte_for_byte() {
    let messages = capture("pair");
    let connect = decode(&messages[0].bytes).expect("CONNECT");
    let now = Timestamp::from_seconds(connect.time.into());
    let mut effects = Vec::new();
    let _ = session(Role::Primary, now, &mut effects);
    let [SessionEffect::Send(ours)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(encoded(ours), messages[0].bytes);
    effects.clear();
    let mut secondary = session(Role::Secondary, now, &mut effects);
    secondary.receive(now, connect, false, &mut effects);
    let [SessionEffect::Send(ours), SessionEffect::Up(terms)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(encoded(ours), messages[1].bytes);
    let expected = Terms {
        unacknowledged_max: 10,
        contact_seconds: 10,
        mclt_seconds: Some(120),
        hash_buckets: Some(HashBuckets::split(128)),
        corrects_times: false,
    };
    assert_eq!(*terms, expected);
}

#[test]
fn a_captured_primary_is_listened_to_as_long_as_it_speaks() {
    let mut now = Timestamp::ZERO;
    let mut effects = Vec::new();
    let mut listening = None;
    let (mut connections, mut to_say) = (0, 0);
    for captured in capture("pair").iter().filter(|captured| captured.sender == "primary") {
        let message = decode(&captured.bytes).expect("a good message");
        now = now.max(Timestamp::from_seconds(message.time.into()));
        if matches!(message.body, Body::Connect(_)) {
            connections += 1;
            listening = Some(session(Role::Secondary, now, &mut effects));
        }
        to_say += usize::from(!matches!(captured.name.as_str(), "CONNECT" | "CONTACT" | "BNDACK"));
        let session = listening.as_mut().expect("the primary speaks first");
        session.receive(now, message, false, &mut effects);
        session.tick(now, &mut effects);
    }
    assert!(!effects.iter().any(|effect| matches!(effect, SessionEffect::Close(_))), "{effects:?}");
    assert_eq!(connections, 2, "before and after the partner's restart");
    let said = effects.iter().filter(|effect| matches!(effect, SessionEffect::Said(_))).count();
    assert_eq!((said, to_say), (40, 40));
}
