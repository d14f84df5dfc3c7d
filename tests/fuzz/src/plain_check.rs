//! What must hold of every message that the lying resolver could answer by hand.

use crate::plain::PlainQuestion;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::Ipv4Addr;

const LIE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 80);
const TTL_SECONDS: u32 = 7;

/// Reads the message; what is taken for a question is one, and both answers to it are what a decoder
/// made by others takes for answers to just that question.
///
/// # Panics
/// If a promise of `plain` is broken.
pub fn check(bytes: &[u8]) {
    let Some(question) = PlainQuestion::read(bytes) else { return };
    let read = Message::from_vec(bytes).expect("a question of the plainest form is a message");
    assert_eq!(read.metadata.message_type, MessageType::Query);
    assert_eq!(read.metadata.op_code, OpCode::Query);
    assert_eq!(read.queries.len(), 1);
    assert!(read.answers.is_empty() && read.authorities.is_empty());
    let asked = &read.queries[0];
    assert_eq!(u16::from(asked.query_type()), question.record_type);
    assert_eq!(u16::from(asked.query_class()), question.class);
    for (answer, is_lie) in
        [(question.lie(LIE, TTL_SECONDS), true), (question.no_data(TTL_SECONDS), false)]
    {
        assert!(answer.len() <= 512, "it fits into any datagram");
        let answer = Message::from_vec(&answer).expect("an answer is a message");
        assert_eq!(answer.metadata.id, read.metadata.id);
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        assert_eq!(answer.metadata.recursion_desired, read.metadata.recursion_desired);
        assert_eq!(answer.metadata.checking_disabled, read.metadata.checking_disabled);
        assert!(!answer.metadata.truncation && !answer.metadata.authoritative);
        assert_eq!(answer.queries, read.queries);
        assert_eq!(answer.edns.is_some(), read.edns.is_some());
        assert_eq!(answer.answers.len(), usize::from(is_lie));
        assert_eq!(answer.authorities.len(), usize::from(!is_lie));
        for record in answer.answers.iter().chain(&answer.authorities) {
            assert_eq!(record.ttl, TTL_SECONDS);
        }
        if let Some(record) = answer.answers.first() {
            assert_eq!(&record.name, asked.name());
            assert!(matches!(&record.data, RData::A(address) if address.0 == LIE));
        }
        if let Some(record) = answer.authorities.first() {
            assert_eq!(record.record_type(), RecordType::SOA);
        }
    }
}
