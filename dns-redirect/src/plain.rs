//! Questions of the plainest form, read and answered by hand: what a crowd of unregistered hosts asks.
//!
//! One question and perhaps an OPT record without options, no compression, nothing behind it. It
//! promises that the answer says exactly what the one says that the handler makes with hickory, at a small
//! part of the cost and in fewer bytes (the owner's name is a pointer to the question's), and that it
//! reads any bytes without a panic. Whatever is less plain is left to hickory. It decides nothing: the
//! rules do.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::decision::DomainName;
use crate::limits::{UDP_ANSWER_BYTES_MAX, UDP_ANSWER_BYTES_MIN};
use std::net::Ipv4Addr;

/// Bytes of a header (RFC 1035, section 4.1.1).
const HEADER_BYTES: usize = 12;
/// Bytes of a name, the root's among them (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Labels are shorter; what is not is a pointer, or of a kind that nobody uses.
const LABEL_BYTES_MAX: u8 = 63;

const TYPE_A: [u8; 2] = [0, 1];
const TYPE_SOA: [u8; 2] = [0, 6];
const TYPE_OPT: [u8; 2] = [0, 41];
const CLASS_IN: [u8; 2] = [0, 1];
/// The name at the beginning of the question (RFC 1035, section 4.1.4).
const NAME_OF_THE_QUESTION: [u8; 2] = [0xc0, 12];

const FLAG_RECURSION_DESIRED: u8 = 0x01;
const FLAG_RESPONSE: u8 = 0x80;
const FLAG_RECURSION_AVAILABLE: u8 = 0x80;
const FLAG_AUTHENTIC_DATA: u8 = 0x20;
const FLAG_CHECKING_DISABLED: u8 = 0x10;
const FLAG_DNSSEC_OK: u8 = 0x80;

/// A message of the plainest form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlainQuestion<'m> {
    id: [u8; 2],
    flags: [u8; 2],
    /// Name, type and class, as they came.
    question: &'m [u8],
    /// What is asked about.
    pub(crate) name: DomainName,
    /// The record type, by its number.
    pub(crate) record_type: u16,
    /// The class, by its number.
    pub(crate) class: u16,
    is_root: bool,
    edns: Option<PlainEdns>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlainEdns {
    payload: u16,
    dnssec_ok: u8,
}

impl<'m> PlainQuestion<'m> {
    /// Reads a message; `None` if it is of another form, or none at all.
    pub(crate) fn read(message: &'m [u8]) -> Option<Self> {
        let (header, body) = message.split_first_chunk::<HEADER_BYTES>()?;
        let [id0, id1, flags0, flags1, 0, 1, 0, 0, 0, 0, 0, records] = *header else { return None };
        // A query, with the flags that stubs set and no others.
        let known = FLAG_AUTHENTIC_DATA | FLAG_CHECKING_DISABLED;
        if flags0 & !FLAG_RECURSION_DESIRED != 0 || flags1 & !known != 0 {
            return None;
        }
        let mut labels = Vec::with_capacity(8);
        let mut rest = body;
        loop {
            let (length, after) = rest.split_first()?;
            if *length > LABEL_BYTES_MAX {
                return None;
            }
            if *length == 0 {
                rest = after;
                break;
            }
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            labels.push(label);
            rest = after;
        }
        let name_bytes = body.len() - rest.len();
        if name_bytes > NAME_BYTES_MAX {
            return None;
        }
        let (&[type0, type1, class0, class1], rest) = rest.split_first_chunk::<4>()?;
        let edns = match (records, rest) {
            (0, []) => None,
            (1, &[0, 0, 41, payload0, payload1, 0, 0, dnssec_ok, 0, 0, 0])
                if dnssec_ok & !FLAG_DNSSEC_OK == 0 =>
            {
                Some(PlainEdns { payload: u16::from_be_bytes([payload0, payload1]), dnssec_ok })
            }
            _ => return None,
        };
        Some(Self {
            id: [id0, id1],
            flags: [flags0, flags1],
            question: body.get(..name_bytes + 4)?,
            is_root: labels.is_empty(),
            name: DomainName::from_labels(labels)?,
            record_type: u16::from_be_bytes([type0, type1]),
            class: u16::from_be_bytes([class0, class1]),
            edns,
        })
    }

    /// The answer with the portal's address.
    pub(crate) fn lie(&self, address: Ipv4Addr, ttl_seconds: u32) -> Vec<u8> {
        let mut answer = self.begin([0, 1], [0, 0]);
        if self.is_root {
            answer.push(0);
        } else {
            answer.extend(NAME_OF_THE_QUESTION);
        }
        answer.extend(TYPE_A);
        answer.extend(CLASS_IN);
        answer.extend(ttl_seconds.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
        self.end(answer)
    }

    /// The answer without records: the SOA of the root, whose two names resolve nowhere.
    pub(crate) fn no_data(&self, ttl_seconds: u32) -> Vec<u8> {
        let mut answer = self.begin([0, 0], [0, 1]);
        answer.push(0);
        answer.extend(TYPE_SOA);
        answer.extend(CLASS_IN);
        answer.extend(ttl_seconds.to_be_bytes());
        let length_at = answer.len();
        answer.extend([0, 0]);
        answer.extend(b"\x06portal");
        let invalid_at = answer.len();
        answer.extend(b"\x07invalid\0");
        answer.extend(b"\x0ahostmaster");
        // The other name's end again. A message of this form is far shorter than a pointer reaches.
        let [high, low] = u16::try_from(invalid_at).unwrap_or(0).to_be_bytes();
        answer.extend([0xc0 | high, low]);
        answer.extend(1u32.to_be_bytes());
        for _ in ["refresh", "retry", "expire", "minimum"] {
            answer.extend(ttl_seconds.to_be_bytes());
        }
        let length = u16::try_from(answer.len() - length_at - 2).unwrap_or(0).to_be_bytes();
        if let Some(place) = answer.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&length);
        }
        self.end(answer)
    }

    /// Header and question of an answer.
    fn begin(&self, answers: [u8; 2], authorities: [u8; 2]) -> Vec<u8> {
        let [flags0, flags1] = self.flags;
        let mut answer = Vec::with_capacity(usize::from(UDP_ANSWER_BYTES_MIN));
        answer.extend(self.id);
        answer.push(FLAG_RESPONSE | flags0);
        answer.push(FLAG_RECURSION_AVAILABLE | flags1 & FLAG_CHECKING_DISABLED);
        answer.extend([0, 1]);
        answer.extend(answers);
        answer.extend(authorities);
        answer.extend([0, u8::from(self.edns.is_some())]);
        answer.extend(self.question);
        answer
    }

    /// The OPT record, if the question has one.
    fn end(&self, mut answer: Vec<u8>) -> Vec<u8> {
        if let Some(edns) = self.edns {
            let payload = edns.payload.clamp(UDP_ANSWER_BYTES_MIN, UDP_ANSWER_BYTES_MAX);
            answer.push(0);
            answer.extend(TYPE_OPT);
            answer.extend(payload.to_be_bytes());
            answer.extend([0, 0, edns.dnssec_ok, 0, 0, 0]);
        }
        answer
    }
}
