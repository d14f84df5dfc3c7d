//! What the handler does with any bytes, and that its two ways say the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::limits::{GARDEN_ALIASES_MAX, GARDEN_TTL_SECONDS_MAX};
use hickory_proto::op::{Message, MessageType, Query as HickoryQuery};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{CNAME, HTTPS, SVCB};
use proptest::prelude::*;

fn handler() -> Handler {
    let name = |text| DomainName::from_text(text).unwrap();
    let rules = Rules::new([name("a.example")], [name("example")]);
    Handler::new(rules, Ipv4Addr::new(10, 0, 0, 80), 7, Arc::default())
}

fn source() -> SocketAddr {
    SocketAddr::from(([10, 20, 0, 10], 4242))
}

fn question(text: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(HickoryQuery::query(Name::from_ascii(text).unwrap(), RecordType::A));
    message.set_edns(Edns::new());
    message.to_vec().unwrap()
}

/// Bytes that are nearly a message, or nothing like one.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        prop_oneof![Just("a.example."), Just("www.edu."), Just(".")],
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(|(text, damages, cut, tail)| {
            let mut message = question(text);
            for (index, byte) in damages {
                let index = index.index(message.len());
                message[index] = byte;
            }
            message.truncate(cut.index(2 * message.len()));
            message.extend(tail);
            message
        });
    prop_oneof![4 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..600)]
}

/// Questions of the plainest form, with now and then a byte that makes them less plain.
fn plain_questions() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..=63),
        2 => "[a-z]{1,12}".prop_map(String::into_bytes),
        1 => Just(b"Example".to_vec()),
        1 => Just(b"portal".to_vec()),
    ];
    let edns = (any::<u16>(), prop_oneof![Just(0u8), Just(0x80), any::<u8>()]);
    (
        any::<[u8; 2]>(),
        prop_oneof![8 => Just(1u8), 1 => any::<u8>()],
        prop_oneof![4 => Just(0u8), 4 => Just(0x20), 1 => Just(0x10), 1 => any::<u8>()],
        prop::collection::vec(label, 0..5),
        prop_oneof![Just(1u16), Just(28), Just(65), Just(255), any::<u16>()],
        prop_oneof![8 => Just(1u16), 1 => any::<u16>()],
        prop::option::of(edns),
        prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(id, flags0, flags1, labels, record_type, class, edns, damage)| {
            let records = u8::from(edns.is_some());
            let mut message = [&id[..], &[flags0, flags1, 0, 1, 0, 0, 0, 0, 0, records]].concat();
            for label in labels {
                message.push(u8::try_from(label.len()).unwrap());
                message.extend(label);
            }
            message.push(0);
            message.extend(record_type.to_be_bytes());
            message.extend(class.to_be_bytes());
            if let Some((payload, flags)) = edns {
                message.extend([0, 0, 41]);
                message.extend(payload.to_be_bytes());
                message.extend([0, 0, flags, 0, 0, 0]);
            }
            if let Some((index, byte)) = damage {
                let index = index.index(message.len());
                message[index] = byte;
            }
            message
        })
}

#[test]
fn what_a_crowd_asks_is_answered_by_hand() {
    let handler = handler();
    let by_hand = |message: &[u8]| handler.plain(message, source()).is_some();
    for text in ["captive.apple.com.", "www.gstatic.com.", "."] {
        assert!(by_hand(&question(text)), "{text}");
    }
    // The garden's names and those that are denied are not.
    for text in ["a.example.", "b.a.example.", "mask.icloud.com."] {
        assert!(!by_hand(&question(text)), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived_and_an_answer_fits(message in bytes(), tcp: bool) {
        let handler = handler();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        match handler.receive(&message, source(), transport) {
            Step::Drop => prop_assert!(message.len() < 12 || message[2] & 0x80 != 0),
            Step::Answer(answer) => {
                prop_assert_eq!(&answer[..2], &message[..2]);
                prop_assert!(answer[2] & 0x80 != 0);
                prop_assert!(tcp || answer.len() <= usize::from(UDP_ANSWER_BYTES_MAX));
                // And somebody else can read it.
                prop_assert!(Message::from_vec(&answer).is_ok());
            }
            Step::Forward(forwarding) => {
                prop_assert!(Message::from_vec(&forwarding.inquiry.bytes).is_ok());
                prop_assert!(Message::from_vec(&handler.failure(&forwarding)).is_ok());
            }
        }
    }

    /// Hickory is the oracle: what is answered by hand is what it would have answered.
    #[test]
    fn what_is_answered_by_hand_is_what_hickory_answers(
        message in prop_oneof![4 => plain_questions(), 1 => bytes()],
        tcp: bool,
    ) {
        let handler = handler();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        if let Some(by_hand) = handler.plain(&message, source()) {
            let header = WireHeader::read(&message).unwrap();
            match handler.receive_decoded(&header, &message, source(), transport) {
                // Written once more by one encoder, which keeps the case of letters.
                Step::Answer(decoded) => prop_assert_eq!(
                    Message::from_vec(&by_hand).unwrap().to_vec().unwrap(),
                    Message::from_vec(&decoded).unwrap().to_vec().unwrap()
                ),
                Step::Drop | Step::Forward(_) => panic!("hickory does something else"),
            }
        }
    }

    #[test]
    fn any_bytes_from_upstream_are_survived(damage in bytes(), index: usize, byte: u8) {
        let handler = handler();
        let Step::Forward(forwarding) =
            handler.receive(&question("a.example."), source(), Transport::Udp)
        else {
            panic!("it is in the garden");
        };
        let inquiry = Arc::clone(&forwarding.inquiry);
        if let Upstream::Answer { .. } = Handler::upstream(&inquiry, &damage) {
            let _reply = handler.reply(&forwarding, &damage, Age::Seconds(1));
        }
        // A good answer, with one byte changed and a tail.
        let mut good = Message::from_vec(&inquiry.bytes).unwrap();
        good.metadata.message_type = MessageType::Response;
        let mut good = good.to_vec().unwrap();
        let is_answer =
            |message: &[u8]| matches!(Handler::upstream(&inquiry, message), Upstream::Answer { .. });
        prop_assert!(is_answer(&good));
        let index = index % good.len();
        good[index] = byte;
        good.extend(damage);
        if is_answer(&good) {
            let reply = handler.reply(&forwarding, &good, Age::Stale(30)).unwrap();
            prop_assert!(Message::from_vec(&reply.bytes).is_ok());
        }
    }
}

/// What a fuzzer starts from is also what hickory is the oracle for.
#[test]
fn the_kept_corpus_is_answered_as_hickory_answers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/plain");
    let (mut by_hand, mut left) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let message = std::fs::read(entry.unwrap().path()).unwrap();
        let handler = handler();
        let Some(answer) = handler.plain(&message, source()) else {
            left += 1;
            continue;
        };
        by_hand += 1;
        let header = WireHeader::read(&message).unwrap();
        // Over TCP: hickory writes the name twice, and with the longest one an answer is cut short.
        match handler.receive_decoded(&header, &message, source(), Transport::Tcp) {
            Step::Answer(decoded) => assert_eq!(
                Message::from_vec(&answer).unwrap().to_vec().unwrap(),
                Message::from_vec(&decoded).unwrap().to_vec().unwrap()
            ),
            Step::Drop | Step::Forward(_) => panic!("hickory does something else"),
        }
    }
    assert!(by_hand >= 5 && left >= 5, "{by_hand} by hand, {left} left to hickory");
}

/// What an answer with these records opens, and what the client gets.
fn opened(records: Vec<Record>) -> (Vec<(Ipv4Addr, u32)>, Message) {
    let handler = handler();
    let Step::Forward(forwarding) =
        handler.receive(&question("a.example."), source(), Transport::Udp)
    else {
        panic!("it is in the garden");
    };
    let mut answer = Message::from_vec(&forwarding.inquiry.bytes).unwrap();
    answer.metadata.message_type = MessageType::Response;
    answer.insert_answers(records);
    let answer = answer.to_vec().unwrap();
    assert!(matches!(
        Handler::upstream(&forwarding.inquiry, &answer),
        Upstream::Answer { failed: false, .. }
    ));
    let reply = handler.reply(&forwarding, &answer, Age::Seconds(10)).unwrap();
    (reply.addresses, Message::from_vec(&reply.bytes).unwrap())
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

#[test]
fn only_addresses_that_the_question_leads_to_are_opened() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let a =
        |owner: &str, last, ttl| Record::from_rdata(name(owner), ttl, RData::A(A(address(last))));
    let alias = |owner: &str, target: &str| {
        Record::from_rdata(name(owner), 99, RData::CNAME(CNAME(name(target))))
    };
    assert_eq!(opened(vec![a("A.Example.", 1, 60)]).0, [(address(1), 50)]);
    // Aliases in any order, by way of others; what stands beside them is nobody's.
    let records = vec![
        alias("b.cdn.example.", "c.cdn.example."),
        a("evil.example.", 66, 60),
        a("c.cdn.example.", 2, 60),
        alias("a.example.", "b.cdn.example."),
        alias("evil.example.", "worse.example."),
        a("worse.example.", 67, 60),
    ];
    assert_eq!(opened(records).0, [(address(2), 50)]);
    // In a circle, and longer than anybody's.
    let circle = vec![alias("a.example.", "b.example."), alias("b.example.", "a.example.")];
    assert_eq!(opened(circle).0, []);
    let mut long: Vec<Record> = (0..GARDEN_ALIASES_MAX)
        .map(|n| alias(&format!("a{n}.example."), &format!("a{}.example.", n + 1)))
        .collect();
    long.insert(0, alias("a.example.", "a0.example."));
    long.push(a(&format!("a{GARDEN_ALIASES_MAX}.example."), 3, 60));
    assert_eq!(opened(long.clone()).0, []);
    long.push(a(&format!("a{}.example.", GARDEN_ALIASES_MAX - 1), 4, 60));
    assert_eq!(opened(long).0, [(address(4), 50)]);
    // Hints are used without another question.
    let hints = SVCB::new(
        1,
        Name::root(),
        vec![(
            SvcParamKey::Ipv4Hint,
            SvcParamValue::Ipv4Hint(IpHint(vec![A(address(5)), A(address(6))])),
        )],
    );
    let https = Record::from_rdata(name("a.example."), 60, RData::HTTPS(HTTPS(hints)));
    assert_eq!(opened(vec![https]).0, [(address(5), 50), (address(6), 50)]);
    // A client may use nothing for longer than the gate can be open.
    let (opened, answer) = opened(vec![a("a.example.", 7, 86_400)]);
    assert_eq!(opened, [(address(7), GARDEN_TTL_SECONDS_MAX - 10)]);
    assert_eq!(answer.answers[0].ttl, GARDEN_TTL_SECONDS_MAX - 10);
}

#[test]
fn numbers_of_forwarded_questions_are_not_the_clients() {
    let handler = handler();
    let message = question("a.example.");
    let numbers: std::collections::BTreeSet<u16> = (0..64)
        .filter_map(|_| match handler.receive(&message, source(), Transport::Udp) {
            Step::Forward(forwarding) => {
                Message::from_vec(&forwarding.inquiry.bytes).ok().map(|message| message.metadata.id)
            }
            Step::Drop | Step::Answer(_) => None,
        })
        .collect();
    // 64 numbers out of 65,536: that half of them are the same does not happen by chance.
    assert!(numbers.len() > 32, "{numbers:?}");
}
