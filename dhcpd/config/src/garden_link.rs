//! What `vestibule-dns` and `vestibule-dhcpd` say to each other on `gate.garden-socket`.
//!
//! The resolver, which reads what strangers send, holds no capability; the server, which owns the gate,
//! opens it. A request is a list of addresses with seconds, an answer has one byte for each of them.
//! It promises that a message has at most [`ADDRESSES_MAX`] addresses and that any bytes are read
//! without a panic. It does no IO.

use std::net::Ipv4Addr;

/// Addresses in one request.
pub const ADDRESSES_MAX: usize = 32;
/// Bytes in front of both messages: version and number of addresses.
pub const HEAD_BYTES: usize = 2;
/// The version of both messages. Both daemons come from one package; another version is no message.
const VERSION: u8 = 1;
/// Bytes of an address and its seconds.
const ENTRY_BYTES: usize = 8;

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Unregistered hosts reach it, for the time that was asked for.
    Open,
    /// No name may open it.
    Refused,
    /// There is no room for it now.
    Full,
    /// The kernel did not take it.
    Unavailable,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Open, Self::Refused, Self::Full, Self::Unavailable];

    fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Refused => 1,
            Self::Full => 2,
            Self::Unavailable => 3,
        }
    }
}

/// The request to open the gate for these addresses, for so many seconds each. `None` if there are more
/// than [`ADDRESSES_MAX`].
#[must_use]
pub fn request(addresses: &[(Ipv4Addr, u32)]) -> Option<Vec<u8>> {
    let mut bytes = head(addresses.len())?.to_vec();
    for (address, seconds) in addresses {
        bytes.extend(address.octets());
        bytes.extend(seconds.to_be_bytes());
    }
    Some(bytes)
}

/// The answer: one verdict for each address, in the order of the request. `None` if there are more than
/// [`ADDRESSES_MAX`].
#[must_use]
pub fn answer(verdicts: &[Verdict]) -> Option<Vec<u8>> {
    let mut bytes = head(verdicts.len())?.to_vec();
    bytes.extend(verdicts.iter().map(|verdict| verdict.number()));
    Some(bytes)
}

/// How many bytes of a request follow its head; `None` if that is none.
#[must_use]
pub fn request_bytes(head: [u8; HEAD_BYTES]) -> Option<usize> {
    Some(count(head)? * ENTRY_BYTES)
}

/// How many bytes of an answer follow its head; `None` if that is none.
#[must_use]
pub fn answer_bytes(head: [u8; HEAD_BYTES]) -> Option<usize> {
    count(head)
}

/// What follows the head of a request. Bytes that are no whole entry are left out.
#[must_use]
pub fn read_request(bytes: &[u8]) -> Vec<(Ipv4Addr, u32)> {
    let entries = bytes.chunks_exact(ENTRY_BYTES).take(ADDRESSES_MAX).filter_map(|entry| {
        let (address, seconds) = entry.split_first_chunk::<4>()?;
        Some((Ipv4Addr::from(*address), u32::from_be_bytes(*seconds.first_chunk()?)))
    });
    entries.collect()
}

/// What follows the head of an answer; `None` if one of the bytes is no verdict.
#[must_use]
pub fn read_answer(bytes: &[u8]) -> Option<Vec<Verdict>> {
    let verdict = |byte: &u8| Verdict::ALL.into_iter().find(|verdict| verdict.number() == *byte);
    bytes.iter().take(ADDRESSES_MAX).map(verdict).collect()
}

fn head(count: usize) -> Option<[u8; HEAD_BYTES]> {
    if count > ADDRESSES_MAX { None } else { Some([VERSION, u8::try_from(count).ok()?]) }
}

fn count(head: [u8; HEAD_BYTES]) -> Option<usize> {
    let [version, count] = head;
    let count = usize::from(count);
    (version == VERSION && (1..=ADDRESSES_MAX).contains(&count)).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_daemon_writes_the_other_reads() {
        let addresses: Vec<(Ipv4Addr, u32)> =
            (1..=32).map(|n| (Ipv4Addr::new(203, 0, 113, n), u32::from(n) * 1000)).collect();
        let bytes = request(&addresses).unwrap();
        let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>().unwrap();
        assert_eq!(request_bytes(*head), Some(body.len()));
        assert_eq!(read_request(body), addresses);
        let bytes = answer(&Verdict::ALL).unwrap();
        let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>().unwrap();
        assert_eq!(answer_bytes(*head), Some(4));
        assert_eq!(read_answer(body), Some(Verdict::ALL.to_vec()));
    }

    #[test]
    fn what_is_no_message_is_none() {
        assert_eq!(request(&[(Ipv4Addr::LOCALHOST, 1); ADDRESSES_MAX + 1]), None);
        for head in [[0, 1], [2, 1], [1, 0], [1, 33], [1, 255]] {
            assert_eq!((request_bytes(head), answer_bytes(head)), (None, None), "{head:?}");
        }
        assert_eq!(read_answer(&[0, 4]), None);
        assert_eq!(read_request(&[1, 2, 3, 4, 0, 0, 0]), []);
    }
}
