//! The twelve bytes at the head of a DNS message, and answers that consist of nothing else.
//!
//! They are read by hand and first, because the counts decide whether it is safe to let a decoder
//! at the rest: one that trusts a count of 65,535 reserves megabytes for a packet of twelve bytes.
//! It promises to read any bytes without a panic. It never looks behind the header.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// The header of a DNS message (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireHeader {
    /// The transaction's number.
    pub(crate) id: u16,
    /// Whether it is an answer.
    pub(crate) response: bool,
    /// The opcode.
    pub(crate) opcode: u8,
    /// Whether the sender asks for recursion.
    pub(crate) recursion_desired: bool,
    /// Entries in the question section.
    pub(crate) questions: u16,
    /// Entries in the other three sections together.
    pub(crate) records: usize,
}

impl WireHeader {
    /// The header of `message`; `None` if it is shorter than one.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let header = message.first_chunk::<12>()?;
        let [id0, id1, flags0, _, qd0, qd1, an0, an1, ns0, ns1, ar0, ar1] = *header;
        let count = |high, low| usize::from(u16::from_be_bytes([high, low]));
        Some(Self {
            id: u16::from_be_bytes([id0, id1]),
            response: flags0 & 0x80 != 0,
            opcode: (flags0 >> 3) & 0x0f,
            recursion_desired: flags0 & 0x01 != 0,
            questions: u16::from_be_bytes([qd0, qd1]),
            records: count(an0, an1) + count(ns0, ns1) + count(ar0, ar1),
        })
    }

    /// An answer to this header with no question and no records: what a message gets of which
    /// nothing else could be read.
    pub(crate) fn bare_answer(&self, code: BareCode) -> [u8; 12] {
        let [id0, id1] = self.id.to_be_bytes();
        let flags0 = 0x80 | (self.opcode << 3) | u8::from(self.recursion_desired);
        let flags1 = 0x80 | code as u8;
        [id0, id1, flags0, flags1, 0, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// Response codes of bare answers (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BareCode {
    /// FORMERR
    FormatError = 1,
    /// SERVFAIL
    ServerFailure = 2,
    /// NOTIMP
    NotImplemented = 4,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_answered() {
        let message = [0xab, 0xcd, 0x29, 0x10, 0, 1, 0, 2, 0, 3, 0xff, 0xff, 9];
        let header = WireHeader::read(&message).unwrap();
        assert_eq!(
            header,
            WireHeader {
                id: 0xabcd,
                response: false,
                opcode: 5,
                recursion_desired: true,
                questions: 1,
                records: 65_540,
            }
        );
        assert_eq!(
            header.bare_answer(BareCode::NotImplemented),
            [0xab, 0xcd, 0xa9, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn less_than_a_header_is_none() {
        for length in 0..12 {
            assert_eq!(WireHeader::read(&vec![0xff; length]), None);
        }
        assert!(WireHeader::read(&[0xff; 12]).unwrap().response);
    }
}
