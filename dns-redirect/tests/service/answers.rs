//! What each question gets that needs no upstream resolver, over UDP and TCP.

use crate::lab::{
    Client, LIE_TTL_SECONDS, Lab, PORTAL, Upstream, addresses, exchange, name, question, soa,
    with_edns,
};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use tokio::net::TcpStream;

const SOME_NAME: &str = "www.example.edu.";

/// Asks over both and checks that both say the same.
async fn ask(lab: &Lab, query: &Message) -> Message {
    let answer = lab.ask(query).await;
    assert_eq!(answer, lab.ask_tcp(query).await);
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.metadata.op_code, query.metadata.op_code);
    assert_eq!(answer.metadata.recursion_desired, query.metadata.recursion_desired);
    assert!(answer.metadata.recursion_available);
    assert!(!answer.metadata.authoritative);
    assert_eq!(answer.edns.is_some(), query.edns.is_some());
    answer
}

#[tokio::test]
async fn any_address_is_the_portals() {
    let lab = Lab::start(&[]);
    for text in
        [SOME_NAME, ".", "captive.apple.com.", "connectivitycheck.gstatic.com.", "idp.example."]
    {
        for record_type in [RecordType::A, RecordType::ANY] {
            let query = question(text, record_type);
            let answer = ask(&lab, &query).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert_eq!(addresses(&answer), [(PORTAL, LIE_TTL_SECONDS)]);
            assert_eq!(answer.answers.len(), 1);
            assert_eq!(answer.answers[0].name, name(text));
            assert!(answer.authorities.is_empty() && answer.additionals.is_empty());
            assert_eq!(answer.queries, query.queries);
        }
    }
    assert_eq!(lab.counts().lies, 20);
}

#[tokio::test]
async fn every_other_type_has_no_data_for_as_long_as_a_lie_lasts() {
    let lab = Lab::start(&[]);
    let types = [
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::CNAME,
        RecordType::MX,
        RecordType::NS,
        RecordType::PTR,
        RecordType::SOA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType::Unknown(65_280),
    ];
    for record_type in types {
        let answer = ask(&lab, &question(SOME_NAME, record_type)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{record_type}");
        assert!(answer.answers.is_empty(), "{record_type}");
        assert_eq!(soa(&answer), Some((LIE_TTL_SECONDS, LIE_TTL_SECONDS)), "{record_type}");
    }
    assert_eq!(lab.counts().no_data, 22);
}

#[tokio::test]
async fn names_that_would_bypass_the_resolver_do_not_exist() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    // `*.icloud.com` is in the walled garden of the lab, and makes no difference.
    for text in ["use-application-dns.net.", "mask.icloud.com.", "MASK-h2.icloud.com."] {
        for record_type in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
            let answer = ask(&lab, &question(text, record_type)).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{text}");
            assert!(answer.answers.is_empty());
            assert_eq!(soa(&answer), Some((LIE_TTL_SECONDS, LIE_TTL_SECONDS)));
        }
    }
    assert_eq!(lab.counts().no_such_name, 18);
    assert_eq!(upstream.asked(), [""; 0]);
}

#[tokio::test]
async fn the_case_of_the_question_is_kept() {
    let lab = Lab::start(&[]);
    let query = question("wWw.ExAmPlE.eDu.", RecordType::A).to_vec().unwrap();
    let answer = lab.ask_bytes(&query).await;
    // Header aside, the question comes back byte for byte, and the owner points at it.
    assert_eq!(answer[12..query.len()], query[12..]);
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.answers[0].name.to_string(), "wWw.ExAmPlE.eDu.");
}

#[tokio::test]
async fn edns_is_answered_only_if_asked_and_its_size_is_clamped() {
    let lab = Lab::start(&[]);
    for (asked, given) in
        [(0, 512), (511, 512), (512, 512), (1000, 1000), (1232, 1232), (1233, 1232), (65_535, 1232)]
    {
        let answer = ask(&lab, &with_edns(question(SOME_NAME, RecordType::A), 0, asked)).await;
        let edns = answer.edns.unwrap();
        assert_eq!((edns.version(), edns.max_payload()), (0, given), "{asked}");
        assert!(!edns.flags().dnssec_ok);
        assert!(edns.options().as_ref().is_empty());
    }
    let mut query = with_edns(question(SOME_NAME, RecordType::A), 0, 1232);
    query.edns.as_mut().unwrap().set_dnssec_ok(true);
    assert!(ask(&lab, &query).await.edns.unwrap().flags().dnssec_ok);
}

#[tokio::test]
async fn an_unknown_edns_version_is_told_ours() {
    let lab = Lab::start(&[]);
    for version in [1, 255] {
        let answer = ask(&lab, &with_edns(question(SOME_NAME, RecordType::A), version, 4096)).await;
        // The code is 16, which hickory reads as BADSIG, its other meaning.
        assert_eq!(u16::from(answer.metadata.response_code), 16);
        assert_eq!(answer.edns.as_ref().unwrap().version(), 0);
        assert!(answer.answers.is_empty());
    }
    assert_eq!(lab.counts().refused_edns_version, 4);
}

#[tokio::test]
async fn other_classes_opcodes_and_transfers_are_refused() {
    let lab = Lab::start(&[]);
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::NONE, DNSClass::ANY, DNSClass::Unknown(9)] {
        let mut query = Message::query();
        query.add_query(
            Query::query(name("version.bind."), RecordType::TXT).set_query_class(class).clone(),
        );
        let answer = ask(&lab, &query).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{class}");
    }
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        for text in [SOME_NAME, "sso.example."] {
            let answer = ask(&lab, &with_edns(question(text, record_type), 0, 1232)).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        }
    }
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut query = question(SOME_NAME, RecordType::SOA);
        query.metadata.op_code = op_code;
        let answer = ask(&lab, &query).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NotImp, "{op_code:?}");
    }
    let counts = lab.counts();
    assert_eq!(counts.refused_class, 10);
    assert_eq!(counts.refused_zone_transfer, 8);
    assert_eq!(counts.refused_opcode, 6);
}

#[tokio::test]
async fn not_exactly_one_question_is_a_format_error() {
    let lab = Lab::start(&[]);
    let mut two = question(SOME_NAME, RecordType::A);
    two.add_query(Query::query(name("b.example."), RecordType::A));
    for query in [Message::query(), two] {
        let answer = ask(&lab, &query).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        assert!(answer.answers.is_empty());
    }
    assert_eq!(lab.counts().refused_question_count, 4);
}

/// Bytes that are no question, and what they get.
#[tokio::test]
async fn garbage_never_ends_the_service() {
    let lab = Lab::start(&[]);
    let good = question(SOME_NAME, RecordType::A).to_vec().unwrap();
    let answered =
        |bytes: &[u8]| (bytes.len() >= 12 && bytes[2] & 0x80 == 0).then(|| bytes.to_vec());
    let mut messages: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0],
        vec![0xff; 11],
        vec![0xff; 12],
        vec![0; 12],
        vec![0; 512],
        vec![0x7f; 512],
        // Counts that promise far more than there is.
        [&good[..4], &[0xff; 8], &good[12..]].concat(),
        [&good[..6], &[0xff, 0xff, 0, 0, 0, 0], &good[12..]].concat(),
        [&good[..10], &[0xff, 0xff], &good[12..]].concat(),
        // A name that points at itself, one that points ahead, one that points into the header.
        [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat(),
        [&good[..12], &[0xc0, 40, 0, 1, 0, 1]].concat(),
        [&good[..12], &[0xc0, 0, 0, 1, 0, 1]].concat(),
        // A label that is longer than what is left, and one of a kind that does not exist.
        [&good[..12], &[63, b'a', 0, 1, 0, 1]].concat(),
        [&good[..12], &[0x80, b'a', 0, 1, 0, 1]].concat(),
        // A name without an end.
        [&good[..12], &b"\x01a".repeat(300)].concat(),
        // An answer.
        [&good[..2], &[0x80], &good[3..]].concat(),
        // Two OPT records.
        {
            let one = with_edns(question(SOME_NAME, RecordType::A), 0, 1232).to_vec().unwrap();
            let opt = one[good.len()..].to_vec();
            let mut two = [one, opt].concat();
            two[11] = 2;
            two
        },
    ];
    for length in 12..good.len() {
        messages.push(good[..length].to_vec());
    }
    // Every byte of a good question, wrong in three ways.
    for index in 0..good.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut message = good.clone();
            message[index] ^= mask;
            messages.push(message);
        }
    }
    let client = Client::new(lab.udp).await;
    let mut expected = 0;
    for message in &messages {
        client.send(message).await;
        // Whatever has a header and is no answer is answered, under its own number.
        if let Some(message) = answered(message) {
            let answer = client.receive().await;
            assert_eq!(answer[..2], message[..2], "{message:02x?}");
            assert_ne!(answer[2] & 0x80, 0);
            expected += 1;
        }
    }
    let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
    for message in messages.iter().filter_map(|message| answered(message)) {
        let answer = exchange(&mut stream, &message).await.unwrap();
        assert_eq!(answer[..2], message[..2], "{message:02x?}");
        expected += 1;
    }
    // Every one of them is counted, once.
    let counts = lab.counts();
    let dropped = counts.dropped_short + counts.dropped_response;
    let silent = messages.iter().filter(|message| answered(message).is_none()).count();
    assert_eq!(usize::try_from(dropped).unwrap(), silent);
    assert_eq!(counts.iter().map(|(_, value)| value).sum::<u64>(), expected + dropped, "{counts}");
    assert!(counts.format_error > 0);
    // And the next question is served.
    assert_eq!(addresses(&lab.ask(&question(SOME_NAME, RecordType::A)).await).len(), 1);
}
