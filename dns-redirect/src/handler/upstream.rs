//! What is asked of an upstream resolver for a client, and what its answer says.
//!
//! It promises that an answer is taken only for the question that was asked, with its number, and that
//! the addresses it names are those that the question leads to by the answer's own chain of aliases.
//! What else a resolver puts into a message opens nothing.

use super::{Forwarding, Handler, Step, Transport, response_metadata};
use crate::cache::CacheKey;
use crate::decision::DomainName;
use crate::limits::{
    CACHE_FAILURE_SECONDS, GARDEN_ALIASES_MAX, GARDEN_TTL_SECONDS_MAX, UDP_ANSWER_BYTES_MAX,
};
use crate::wire_header::{BareCode, WireHeader};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, Record};
use hickory_server::server::Request;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A question for an upstream resolver.
#[derive(Debug)]
pub(crate) struct Inquiry {
    id: u16,
    question: Option<Query>,
    /// What it is, for whoever else asks the same.
    pub(crate) key: CacheKey,
    /// The entry of the garden that lets the name pass.
    pub(crate) entry: DomainName,
    /// Whether that is a wildcard, so that the name may be made up.
    pub(crate) made_up: bool,
    /// Whose question made us ask.
    pub(crate) source: SocketAddr,
    /// The message, as it is sent.
    pub(crate) bytes: Vec<u8>,
}

/// What a message from an upstream resolver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Not the answer to this question.
    Other,
    /// The answer, cut short: ask again over TCP.
    Truncated,
    /// The answer, and for how many seconds it may be kept.
    Answer {
        /// 0: not at all.
        seconds: u32,
        /// The resolver says that it could not find out.
        failed: bool,
    },
}

/// How old a message is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Age {
    /// Its records have that much less time left.
    Seconds(u32),
    /// Too old: each record is good for so many seconds more (RFC 8767).
    Stale(u32),
}

/// An answer for a client.
#[derive(Debug)]
pub(crate) struct Reply {
    /// As it is sent.
    pub(crate) bytes: Vec<u8>,
    /// The addresses that the client may turn to, and for how many seconds.
    pub(crate) addresses: Vec<(Ipv4Addr, u32)>,
}

/// Record types whose answers are kept: those that devices ask for. Any other could be made up.
const TYPES_KEPT: [u16; 4] = [1, 28, 64, 65];

impl Inquiry {
    /// Whether its answer may be kept.
    pub(crate) fn is_kept(&self) -> bool {
        TYPES_KEPT.contains(&self.key.record_type)
    }
}

impl Handler {
    /// The question for an upstream resolver: the client's, with a number that nobody can guess.
    pub(super) fn forward(
        &self,
        header: &WireHeader,
        request: Request,
        transport: Transport,
        name: &DomainName,
    ) -> Step {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = request.metadata.checking_disabled;
        let dnssec_ok = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_ANSWER_BYTES_MAX);
        edns.set_version(0);
        // A client that validates needs the signatures; the portal's name may well be signed.
        edns.set_dnssec_ok(dnssec_ok);
        message.set_edns(edns);
        for query in request.queries.queries() {
            message.add_query(query.original().clone());
        }
        let question = message.queries.first().cloned();
        let key = CacheKey {
            name: name.bytes().into(),
            record_type: question.as_ref().map_or(0, |query| query.query_type().into()),
            dnssec_ok,
            checking_disabled: request.metadata.checking_disabled,
        };
        let entry = self.rules.entry(name).unwrap_or(name).clone();
        match message.to_vec() {
            Ok(bytes) => {
                let inquiry = Inquiry {
                    id: message.metadata.id,
                    question,
                    key,
                    entry,
                    made_up: !self.rules.spells_out(name),
                    source: request.src(),
                    bytes,
                };
                Step::Forward(Box::new(Forwarding {
                    request,
                    transport,
                    inquiry: Arc::new(inquiry),
                }))
            }
            Err(error) => {
                tracing::debug!(%error, "a question that was read cannot be written");
                self.counters.forward_failed.add_one();
                Step::Answer(header.bare_answer(BareCode::ServerFailure).to_vec())
            }
        }
    }

    /// SERVFAIL for a question that could not be answered.
    pub(crate) fn failure(&self, forwarding: &Forwarding) -> Vec<u8> {
        self.coded(&forwarding.request, forwarding.transport, ResponseCode::ServFail)
    }

    /// What `message`, that came from the upstream resolver asked, is.
    pub(crate) fn upstream(inquiry: &Inquiry, message: &[u8]) -> Upstream {
        // No decoder before the counts are known to be sane. Some resolvers leave the question out of
        // an error.
        let bare = match WireHeader::read(message) {
            Some(header) if header.response && header.id == inquiry.id => match header.questions {
                0 => true,
                1 => false,
                _ => return Upstream::Other,
            },
            _ => return Upstream::Other,
        };
        let Ok(upstream) = Message::from_vec(message) else {
            return Upstream::Other;
        };
        let code = upstream.metadata.response_code;
        if bare {
            if code == ResponseCode::NoError || !upstream.answers.is_empty() {
                return Upstream::Other;
            }
        } else if upstream.queries.first() != inquiry.question.as_ref() {
            // Names compare without regard to case.
            return Upstream::Other;
        }
        if upstream.metadata.truncation {
            return Upstream::Truncated;
        }
        let failed = code == ResponseCode::ServFail;
        let seconds = if failed { CACHE_FAILURE_SECONDS } else { seconds_to_keep(&upstream) };
        Upstream::Answer { seconds, failed }
    }

    /// What a message that [`Handler::upstream`] took for an answer says to a client who asked the same.
    pub(crate) fn reply(&self, forwarding: &Forwarding, message: &[u8], age: Age) -> Option<Reply> {
        let mut upstream = Message::from_vec(message).ok()?;
        let request = &forwarding.request;
        let code = upstream.metadata.response_code;
        let Some(asked) = upstream.queries.first() else {
            let bytes = self.coded(request, forwarding.transport, code);
            return Some(Reply { bytes, addresses: Vec::new() });
        };
        if Some(asked) != forwarding.inquiry.question.as_ref() {
            return None;
        }
        let asked = asked.name().clone();
        for record in &mut upstream.answers {
            // The gate opens for this long at most.
            record.ttl = record.ttl.min(GARDEN_TTL_SECONDS_MAX);
        }
        let records = upstream.answers.iter_mut().chain(&mut upstream.authorities);
        for record in records.chain(&mut upstream.additionals) {
            record.ttl = match age {
                Age::Seconds(seconds) => record.ttl.saturating_sub(seconds),
                Age::Stale(seconds) => seconds,
            };
        }
        let addresses = addresses(&asked, &upstream.answers);
        let mut metadata = response_metadata(request);
        metadata.response_code = code;
        metadata.authentic_data = upstream.metadata.authentic_data;
        let bytes = self.encode(
            request,
            forwarding.transport,
            metadata,
            &upstream.answers,
            &upstream.authorities,
            &upstream.additionals,
        );
        Some(Reply { bytes, addresses })
    }
}

/// The addresses that answers give to a name, by way of its aliases; those that HTTPS and SVCB records
/// hint at are among them, because clients may use them without another question (RFC 9460, section
/// 7.3). Each with its time.
fn addresses(asked: &Name, answers: &[Record]) -> Vec<(Ipv4Addr, u32)> {
    let mut names = vec![asked];
    for _ in 0..GARDEN_ALIASES_MAX {
        let alias = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target)
                if names.contains(&&record.name) && !names.contains(&&target.0) =>
            {
                Some(&target.0)
            }
            _ => None,
        });
        let Some(alias) = alias else { break };
        names.push(alias);
    }
    let mut found = Vec::new();
    for record in answers.iter().filter(|record| names.contains(&&record.name)) {
        let service = match &record.data {
            RData::A(A(address)) => {
                found.push((*address, record.ttl));
                continue;
            }
            RData::HTTPS(https) => &https.0,
            RData::SVCB(service) => service,
            _ => continue,
        };
        for (_, value) in &service.svc_params {
            if let SvcParamValue::Ipv4Hint(hint) = value {
                found.extend(hint.0.iter().map(|A(address)| (*address, record.ttl)));
            }
        }
    }
    found
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
