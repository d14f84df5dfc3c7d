//! DNS messages: bytes in, bytes out. The only file that names types of hickory.
//!
//! It reads a client's message, has [`Rules`] decide, and writes the answer, or the question for an
//! upstream resolver and then the answer out of what came back. It promises that any bytes are
//! read without a panic, that the question comes back byte for byte (so the case of its letters is
//! kept), that an OPT record is sent if and only if the client sent one, and that no answer is
//! longer than the client can take. It does no IO and reads no clock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::cache::CacheKey;
use crate::counters::Counters;
use crate::decision::{Decision, DomainName, Query, Question, Refusal, Rules};
use crate::limits::{DNS_QUERY_RECORDS_MAX, UDP_ANSWER_BYTES_MAX, UDP_ANSWER_BYTES_MIN};
use crate::plain::PlainQuestion;
use crate::wire_header::{BareCode, WireHeader};
use hickory_proto::op::{Edns, Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What is to be done about a message.
pub(crate) enum Step {
    /// Nothing; it is counted.
    Drop,
    /// Send these bytes back.
    Answer(Vec<u8>),
    /// Ask an upstream resolver.
    Forward(Box<Forwarding>),
}

/// A client's question that is on its way to an upstream resolver.
pub(crate) struct Forwarding {
    request: Request,
    transport: Transport,
    id: u16,
    made_up: bool,
    /// What its answer may be kept under; `None` if it is not kept.
    pub(crate) cache_key: Option<CacheKey>,
    /// The question for the upstream resolver, as it is sent.
    pub(crate) bytes: Vec<u8>,
}

impl Forwarding {
    /// Who asks.
    pub(crate) fn source(&self) -> SocketAddr {
        self.request.src()
    }

    /// Whether only a wildcard of the garden lets the name pass, so that it may be made up.
    pub(crate) fn made_up(&self) -> bool {
        self.made_up
    }
}

/// What a message from an upstream resolver is.
pub(crate) enum Upstream {
    /// Not the answer to this question.
    Other,
    /// The answer, cut short: ask again over TCP.
    Truncated,
    /// The answer, as it goes to the client, and for how many seconds it may be kept.
    Answer(Vec<u8>, u32),
}

/// Record types whose answers are kept: those that devices ask for. Any other could be made up.
const TYPES_KEPT: [u16; 4] = [1, 28, 64, 65];

/// Reads questions and writes answers.
pub(crate) struct Handler {
    rules: Rules,
    lie: Ipv4Addr,
    lie_ttl_seconds: u32,
    soa: Record,
    counters: Arc<Counters>,
}

impl Handler {
    /// A handler that decides by `rules` and whose lie is `lie`, to be cached for
    /// `lie_ttl_seconds`.
    pub(crate) fn new(
        rules: Rules,
        lie: Ipv4Addr,
        lie_ttl_seconds: u32,
        counters: Arc<Counters>,
    ) -> Self {
        // RFC 2308, section 5: an answer without records may be cached for the smaller one of the
        // SOA's TTL and its minimum. The owner is the root, which is above every name. The two
        // names inside are of a kind that resolves nowhere.
        let label = |label: &'static str| {
            Name::from_labels([label.as_bytes(), b"invalid".as_slice()]).unwrap_or_default()
        };
        let data = SOA::new(
            label("portal"),
            label("hostmaster"),
            1,
            i32::try_from(lie_ttl_seconds).unwrap_or(i32::MAX),
            i32::try_from(lie_ttl_seconds).unwrap_or(i32::MAX),
            i32::try_from(lie_ttl_seconds).unwrap_or(i32::MAX),
            lie_ttl_seconds,
        );
        let soa = Record::from_rdata(Name::root(), lie_ttl_seconds, RData::SOA(data));
        Self { rules, lie, lie_ttl_seconds, soa, counters }
    }

    /// What is to be done about `message`, that `source` sent. Every message but one to be
    /// forwarded is counted here.
    pub(crate) fn receive(&self, message: &[u8], source: SocketAddr, transport: Transport) -> Step {
        let Some(header) = WireHeader::read(message) else {
            self.counters.dropped_short.add_one();
            return Step::Drop;
        };
        if header.response {
            self.counters.dropped_response.add_one();
            return Step::Drop;
        }
        match self.plain(message, source) {
            Some(answer) => Step::Answer(answer),
            None => self.receive_decoded(&header, message, source, transport),
        }
    }

    /// The answer to a question of the plainest form that is not forwarded; counted.
    fn plain(&self, message: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
        let plain = PlainQuestion::read(message)?;
        let PlainQuestion { name, record_type, class, .. } = &plain;
        let question = Some(Question { name, record_type: *record_type, class: *class });
        let decision = self.rules.decide(&Query { opcode: 0, edns_version: None, question });
        let answer = match decision {
            Decision::Lie => {
                self.counters.lies.add_one();
                plain.lie(self.lie, self.lie_ttl_seconds)
            }
            Decision::NoData => {
                self.counters.no_data.add_one();
                plain.no_data(self.lie_ttl_seconds)
            }
            Decision::NoSuchName | Decision::Forward | Decision::Refuse(_) => return None,
        };
        tracing::debug!(%source, ?question, ?decision, "question");
        Some(answer)
    }

    /// As [`Handler::receive`], for a message with this header that needs a decoder.
    fn receive_decoded(
        &self,
        header: &WireHeader,
        message: &[u8],
        source: SocketAddr,
        transport: Transport,
    ) -> Step {
        if header.questions > 1 {
            // Not decoded: whatever the second question is, the answer is the same.
            let query = Query { opcode: header.opcode, edns_version: None, question: None };
            return self.refuse_bare(header, self.rules.decide(&query));
        }
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let request = (header.records <= DNS_QUERY_RECORDS_MAX)
            .then(|| Request::from_bytes(message.to_vec(), source, protocol).ok())
            .flatten();
        let Some(request) = request else {
            if header.opcode != 0 {
                let query = Query { opcode: header.opcode, edns_version: None, question: None };
                return self.refuse_bare(header, self.rules.decide(&query));
            }
            self.counters.format_error.add_one();
            return Step::Answer(header.bare_answer(BareCode::FormatError).to_vec());
        };
        self.answer(header, request, transport)
    }

    /// SERVFAIL for a question that could not be forwarded.
    pub(crate) fn failure(&self, forwarding: &Forwarding) -> Vec<u8> {
        self.coded(&forwarding.request, forwarding.transport, ResponseCode::ServFail)
    }

    /// What a message that was kept for `age_seconds` says to this question; `None` if nothing.
    pub(crate) fn kept(
        &self,
        forwarding: &Forwarding,
        message: &mut [u8],
        age_seconds: u32,
    ) -> Option<Vec<u8>> {
        // It was an answer to the same question with another number.
        message.first_chunk_mut::<2>()?.copy_from_slice(&forwarding.id.to_be_bytes());
        match self.read_upstream(forwarding, message, age_seconds) {
            Upstream::Answer(answer, _) => Some(answer),
            Upstream::Other | Upstream::Truncated => None,
        }
    }

    /// What `message`, that came from the upstream resolver asked, is.
    pub(crate) fn upstream(&self, forwarding: &Forwarding, message: &[u8]) -> Upstream {
        self.read_upstream(forwarding, message, 0)
    }

    fn read_upstream(&self, forwarding: &Forwarding, message: &[u8], age_seconds: u32) -> Upstream {
        // As above: no decoder before the counts are known to be sane. Some resolvers leave the
        // question out of an error.
        let bare = match WireHeader::read(message) {
            Some(header) if header.response && header.id == forwarding.id => {
                match header.questions {
                    0 => true,
                    1 => false,
                    _ => return Upstream::Other,
                }
            }
            _ => return Upstream::Other,
        };
        let Ok(mut upstream) = Message::from_vec(message) else {
            return Upstream::Other;
        };
        // Names compare without regard to case.
        let asked = forwarding.request.queries.queries().first().map(|query| query.original());
        if bare {
            let code = upstream.metadata.response_code;
            if code == ResponseCode::NoError || !upstream.answers.is_empty() {
                return Upstream::Other;
            }
            let answer = self.coded(&forwarding.request, forwarding.transport, code);
            return Upstream::Answer(answer, 0);
        }
        if upstream.queries.first() != asked {
            return Upstream::Other;
        }
        if upstream.metadata.truncation {
            return Upstream::Truncated;
        }
        let seconds = seconds_to_keep(&upstream);
        let records = upstream.answers.iter_mut().chain(&mut upstream.authorities);
        for record in records.chain(&mut upstream.additionals) {
            record.ttl = record.ttl.saturating_sub(age_seconds);
        }
        let request = &forwarding.request;
        let mut metadata = response_metadata(request);
        metadata.response_code = upstream.metadata.response_code;
        metadata.authentic_data = upstream.metadata.authentic_data;
        let answer = self.encode(
            request,
            forwarding.transport,
            metadata,
            &upstream.answers,
            &upstream.authorities,
            &upstream.additionals,
        );
        Upstream::Answer(answer, seconds)
    }

    fn answer(&self, header: &WireHeader, request: Request, transport: Transport) -> Step {
        let query = match request.queries.queries() {
            [query] => Some(query),
            _ => None,
        };
        let name = query.and_then(|query| DomainName::from_labels(query.name().iter()));
        let question = query.zip(name.as_ref()).map(|(query, name)| Question {
            name,
            record_type: query.query_type().into(),
            class: query.query_class().into(),
        });
        let edns_version = request.edns.as_ref().map(Edns::version);
        let decision = self.rules.decide(&Query { opcode: header.opcode, edns_version, question });
        tracing::debug!(source = %request.src(), ?question, ?decision, "question");
        let metadata = response_metadata(&request);
        let soa = std::slice::from_ref(&self.soa);
        let bytes = match decision {
            Decision::Lie => {
                self.counters.lies.add_one();
                // The owner is spelt as the client spelt it.
                let owner = query.map(|query| query.original().name().clone()).unwrap_or_default();
                let lie = [Record::from_rdata(owner, self.lie_ttl_seconds, RData::A(A(self.lie)))];
                self.encode(&request, transport, metadata, &lie, &[], &[])
            }
            Decision::NoData => {
                self.counters.no_data.add_one();
                self.encode(&request, transport, metadata, &[], soa, &[])
            }
            Decision::NoSuchName => {
                self.counters.no_such_name.add_one();
                let mut metadata = metadata;
                metadata.response_code = ResponseCode::NXDomain;
                self.encode(&request, transport, metadata, &[], soa, &[])
            }
            Decision::Forward => {
                let name = name.as_ref().filter(|name| self.rules.spells_out(name));
                return self.forward(header, request, transport, name);
            }
            Decision::Refuse(refusal) => {
                self.count(refusal);
                let code = match refusal {
                    Refusal::EdnsVersion => ResponseCode::BADVERS,
                    Refusal::Opcode => ResponseCode::NotImp,
                    Refusal::QuestionCount => ResponseCode::FormErr,
                    Refusal::Class | Refusal::ZoneTransfer => ResponseCode::Refused,
                };
                self.coded(&request, transport, code)
            }
        };
        Step::Answer(bytes)
    }

    /// The question for an upstream resolver: the client's, with a number that nobody can guess.
    fn forward(
        &self,
        header: &WireHeader,
        request: Request,
        transport: Transport,
        spelt_out: Option<&DomainName>,
    ) -> Step {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = request.metadata.checking_disabled;
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_ANSWER_BYTES_MAX);
        edns.set_version(0);
        // A client that validates needs the signatures; the portal's name may well be signed.
        edns.set_dnssec_ok(request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok));
        message.set_edns(edns);
        for query in request.queries.queries() {
            message.add_query(query.original().clone());
        }
        let record_type = request.queries.queries().first().map(|query| query.query_type().into());
        let cache_key = spelt_out.zip(record_type).and_then(|(name, record_type)| {
            TYPES_KEPT.contains(&record_type).then(|| CacheKey {
                name: name.bytes().into(),
                record_type,
                dnssec_ok: request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
                checking_disabled: request.metadata.checking_disabled,
            })
        });
        match message.to_vec() {
            Ok(bytes) => {
                let (id, made_up) = (message.metadata.id, spelt_out.is_none());
                let forwarding = Forwarding { request, transport, id, made_up, cache_key, bytes };
                Step::Forward(Box::new(forwarding))
            }
            Err(error) => {
                tracing::debug!(%error, "a question that was read cannot be written");
                self.counters.forward_failed.add_one();
                Step::Answer(header.bare_answer(BareCode::ServerFailure).to_vec())
            }
        }
    }

    fn refuse_bare(&self, header: &WireHeader, decision: Decision) -> Step {
        let code = match decision {
            Decision::Refuse(Refusal::Opcode) => {
                self.counters.refused_opcode.add_one();
                BareCode::NotImplemented
            }
            _ => {
                self.counters.refused_question_count.add_one();
                BareCode::FormatError
            }
        };
        Step::Answer(header.bare_answer(code).to_vec())
    }

    fn count(&self, refusal: Refusal) {
        match refusal {
            Refusal::EdnsVersion => self.counters.refused_edns_version.add_one(),
            Refusal::Opcode => self.counters.refused_opcode.add_one(),
            Refusal::QuestionCount => self.counters.refused_question_count.add_one(),
            Refusal::Class => self.counters.refused_class.add_one(),
            Refusal::ZoneTransfer => self.counters.refused_zone_transfer.add_one(),
        }
    }

    /// An answer that consists of a code.
    fn coded(&self, request: &Request, transport: Transport, code: ResponseCode) -> Vec<u8> {
        let mut metadata = response_metadata(request);
        metadata.response_code = code;
        self.encode(request, transport, metadata, &[], &[], &[])
    }

    fn encode(
        &self,
        request: &Request,
        transport: Transport,
        metadata: Metadata,
        answers: &[Record],
        authorities: &[Record],
        additionals: &[Record],
    ) -> Vec<u8> {
        let edns = request.edns.as_ref().map(response_edns);
        let size_max = match (transport, &edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, Some(edns)) => edns.max_payload(),
            (Transport::Udp, None) => UDP_ANSWER_BYTES_MIN,
        };
        let write = |metadata: Metadata, answers, authorities, additionals| {
            let mut builder = MessageResponseBuilder::from_message_request(request);
            if let Some(edns) = &edns {
                builder.edns(edns);
            }
            let mut bytes = Vec::with_capacity(usize::from(UDP_ANSWER_BYTES_MIN));
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_max_size(size_max);
            builder
                .build(metadata, answers, authorities, &[], additionals)
                .destructive_emit(&mut encoder)
                .map(|information| (information.truncation, bytes))
        };
        let full = write(metadata, answers, authorities, additionals).and_then(|(short, bytes)| {
            if !short {
                return Ok(bytes);
            }
            // What did not fit is cut off at the end, and that is where the OPT record is. An empty
            // answer with the same message, "ask over TCP", has room for it.
            self.counters.truncated.add_one();
            let mut metadata = metadata;
            metadata.truncation = true;
            write(metadata, &[], &[], &[]).map(|(_, bytes)| bytes)
        });
        full.unwrap_or_else(|error| {
            tracing::debug!(%error, "an answer could not be written");
            let header = WireHeader::read(request.as_slice());
            header.map_or_else(Vec::new, |header| {
                header.bare_answer(BareCode::ServerFailure).to_vec()
            })
        })
    }
}

/// For how many seconds a resolver's answer may be kept (RFC 2181 section 5.2, RFC 2308 section 5); 0 for
/// what is neither records nor the word that there are none.
fn seconds_to_keep(upstream: &Message) -> u32 {
    let code = upstream.metadata.response_code;
    let positive = upstream.answers.iter().map(|record| record.ttl).min();
    let negative = upstream.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    match (code, positive) {
        (ResponseCode::NoError, Some(positive)) => positive,
        (ResponseCode::NoError | ResponseCode::NXDomain, None) => negative.unwrap_or(0),
        _ => 0,
    }
}

fn response_metadata(request: &Request) -> Metadata {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.recursion_available = true;
    metadata
}

/// The OPT record that answers the client's (RFC 6891, section 6.2; the DO bit comes back as it
/// was: RFC 3225, section 3). No option is echoed.
fn response_edns(request: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_version(0);
    edns.set_max_payload(request.max_payload().clamp(UDP_ANSWER_BYTES_MIN, UDP_ANSWER_BYTES_MAX));
    edns.set_dnssec_ok(request.flags().dnssec_ok);
    edns
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, Query as HickoryQuery};
    use hickory_proto::rr::RecordType;
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
                let mut message =
                    [&id[..], &[flags0, flags1, 0, 1, 0, 0, 0, 0, 0, records]].concat();
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
                    prop_assert!(Message::from_vec(&forwarding.bytes).is_ok());
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
            let _verdict = handler.upstream(&forwarding, &damage);
            // A good answer, with one byte changed and a tail.
            let mut good = Message::from_vec(&forwarding.bytes).unwrap();
            good.metadata.message_type = MessageType::Response;
            let mut good = good.to_vec().unwrap();
            prop_assert!(matches!(handler.upstream(&forwarding, &good), Upstream::Answer(..)));
            let index = index % good.len();
            good[index] = byte;
            good.extend(damage);
            if let Upstream::Answer(answer, _) = handler.upstream(&forwarding, &good) {
                prop_assert!(Message::from_vec(&answer).is_ok());
            }
        }
    }

    #[test]
    fn numbers_of_forwarded_questions_are_not_the_clients() {
        let handler = handler();
        let message = question("a.example.");
        let numbers: std::collections::BTreeSet<u16> = (0..64)
            .filter_map(|_| match handler.receive(&message, source(), Transport::Udp) {
                Step::Forward(forwarding) => Some(forwarding.id),
                Step::Drop | Step::Answer(_) => None,
            })
            .collect();
        // 64 numbers out of 65,536: that half of them are the same does not happen by chance.
        assert!(numbers.len() > 32, "{numbers:?}");
    }
}
