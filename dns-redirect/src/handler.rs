//! DNS messages: bytes in, bytes out. The only module that names types of hickory.
//!
//! It reads a client's message, has [`Rules`] decide, and writes the answer; in `upstream`, the question
//! for an upstream resolver and then the answer out of what came back. It promises that any bytes are
//! read without a panic, that the question comes back byte for byte (so the case of its letters is
//! kept), that an OPT record is sent if and only if the client sent one, and that no answer is
//! longer than the client can take. It does no IO and reads no clock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod upstream;

pub(crate) use upstream::{Age, Inquiry, Reply, Upstream};

use crate::counters::Counters;
use crate::decision::{Decision, DomainName, Query, Question, Refusal, Rules};
use crate::limits::{DNS_QUERY_RECORDS_MAX, UDP_ANSWER_BYTES_MAX, UDP_ANSWER_BYTES_MIN};
use crate::plain::PlainQuestion;
use crate::wire_header::{BareCode, WireHeader};
use hickory_proto::op::{Edns, Metadata, ResponseCode};
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

/// A client's question that is for an upstream resolver.
pub(crate) struct Forwarding {
    request: Request,
    transport: Transport,
    /// What is asked of the resolver.
    pub(crate) inquiry: Arc<Inquiry>,
}

impl Forwarding {
    /// Who asks.
    pub(crate) fn source(&self) -> SocketAddr {
        self.request.src()
    }
}

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
                return match name {
                    Some(name) => self.forward(header, request, transport, &name),
                    // A decision to forward is about a name.
                    None => Step::Drop,
                };
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
mod tests;
