//! Events on their way to the log, small: one behind the other in one buffer.
//!
//! With a gate, nearly every event is a new lease of a host that nobody knows, there is one for every
//! lease that is given, and often nobody asks for it. So such an event is kept as the journal keeps its
//! lease, on its way and in the log, and becomes JSON when somebody reads it. All other events are rare,
//! and stay as they are.
//!
//! It promises that what is unpacked is what was packed. Packed bytes hold no line feed, so that they can
//! stand in a line of the log:
//!
//! ```text
//! version (1 byte: 1), time (8), network (2 of length, text), lease as a record of the journal
//! ```
//!
//! with each line feed written as ESC `n` and each ESC as ESC `e`.

use crate::store::record;
use vestibule_core::{Event, EventKind, Happening, Lease, Record, Timestamp};

/// The version that is written, and the only one.
const VERSION: u8 = 1;
const ESCAPE: u8 = 0x1b;
const LINE_FEED: u8 = b'\n';

/// See the module.
#[derive(Debug, Default)]
pub struct Packed {
    items: Vec<Item>,
    /// What is packed of all of them, and escaped.
    bytes: Vec<u8>,
    /// What is packed now, before it is escaped.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Item {
    /// Its kind, and where its bytes end.
    Packed(EventKind, usize),
    Whole(Box<Event>),
}

/// One event, as it comes out again.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Packed(EventKind, &'a [u8]),
    Whole(Box<Event>),
}

impl Packed {
    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an event at the end.
    pub fn push(&mut self, mut event: Box<Event>) {
        if let Happening::UnregisteredSeen { lease, network } = event.what {
            let lease = match self.pack(event.time, lease, &network) {
                Ok(()) => {
                    let kind = EventKind::UnregisteredSeen;
                    return self.items.push(Item::Packed(kind, self.bytes.len()));
                }
                Err(lease) => lease,
            };
            event.what = Happening::UnregisteredSeen { lease: *lease, network };
        }
        self.items.push(Item::Whole(event));
    }

    /// The lease comes back if it does not fit into a record, which no lease that a packet made does.
    fn pack(&mut self, time: Timestamp, lease: Lease, network: &str) -> Result<(), Box<Lease>> {
        let Ok(length) = u16::try_from(network.len()) else { return Err(Box::new(lease)) };
        let scratch = &mut self.scratch;
        scratch.clear();
        scratch.push(VERSION);
        scratch.extend_from_slice(&time.milliseconds().to_le_bytes());
        scratch.extend_from_slice(&length.to_le_bytes());
        scratch.extend_from_slice(network.as_bytes());
        let lease = Record::Lease(lease);
        if record::encode(&lease, scratch).is_err() {
            let Record::Lease(lease) = lease else { return Ok(()) };
            return Err(Box::new(lease));
        }
        let special = |byte: &u8| matches!(*byte, LINE_FEED | ESCAPE);
        for part in scratch.split_inclusive(special) {
            match part.split_last() {
                Some((last, plain)) if special(last) => {
                    self.bytes.extend_from_slice(plain);
                    self.bytes.push(ESCAPE);
                    self.bytes.push(if *last == LINE_FEED { b'n' } else { b'e' });
                }
                _ => self.bytes.extend_from_slice(part),
            }
        }
        Ok(())
    }

    /// Takes over all events of another one, behind its own.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            let start = self.bytes.len();
            self.bytes.append(&mut other.bytes);
            self.items.extend(other.items.drain(..).map(|item| match item {
                Item::Packed(kind, end) => Item::Packed(kind, start + end),
                whole @ Item::Whole(_) => whole,
            }));
        }
        other.clear();
    }

    /// Empties it; the memory stays.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }

    /// Hands out each event, in order.
    pub(super) fn each(self, mut take: impl FnMut(Piece<'_>)) {
        let mut start = 0;
        for item in self.items {
            match item {
                Item::Packed(kind, end) => {
                    take(Piece::Packed(kind, self.bytes.get(start..end).unwrap_or_default()));
                    start = end;
                }
                Item::Whole(event) => take(Piece::Whole(event)),
            }
        }
    }
}

impl FromIterator<Event> for Packed {
    fn from_iter<T: IntoIterator<Item = Event>>(events: T) -> Self {
        let mut packed = Self::default();
        events.into_iter().for_each(|event| packed.push(Box::new(event)));
        packed
    }
}

/// Whether this program can read what is packed so.
pub(super) fn is_readable(kind: EventKind, escaped: &[u8]) -> bool {
    // The version is none of the bytes that are escaped.
    kind == EventKind::UnregisteredSeen && escaped.first() == Some(&VERSION)
}

/// The event that was packed; `None` if these bytes are none.
pub(super) fn unpack(kind: EventKind, escaped: &[u8]) -> Option<Event> {
    if !is_readable(kind, escaped) {
        return None;
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            ESCAPE => match rest.next()? {
                b'n' => LINE_FEED,
                b'e' => ESCAPE,
                _ => return None,
            },
            plain => plain,
        });
    }
    let rest = bytes.get(1..)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (network, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let network = std::str::from_utf8(network).ok()?.into();
    let mut records = record::decode(rest);
    let Some(Ok(Record::Lease(lease))) = records.next() else { return None };
    if records.next().is_some() {
        return None;
    }
    let time = Timestamp::from_milliseconds(u64::from_le_bytes(*time));
    Some(Event { time, what: Happening::UnregisteredSeen { lease, network } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use std::net::Ipv4Addr;
    use vestibule_core::event::PoolUsage;
    use vestibule_core::{BindingState, ClientIdentifier, HardwareAddress};

    fn seen(milliseconds: u64, foreign: &[u8]) -> Event {
        let hardware = HardwareAddress::ethernet([2, 10, 27, 10, 27, 1]);
        let time = Timestamp::from_milliseconds(milliseconds);
        let lease = Lease {
            address: Ipv4Addr::new(10, 10, 27, 10),
            client: ClientIdentifier::Option61(foreign.into()),
            hardware,
            state: BindingState::Active,
            started: time,
            changed: time,
            ends: time.plus_seconds(120),
            relay: Some(Ipv4Addr::new(10, 27, 0, 1)),
            relay_agent: Some(foreign.into()),
            host_name: Some(foreign.into()),
        };
        Event { time, what: Happening::UnregisteredSeen { lease, network: "halls".into() } }
    }

    fn pool_low() -> Event {
        let usage = PoolUsage { network: "n".into(), class: None, pool_size: 1, free: 0 };
        Event { time: Timestamp::ZERO, what: Happening::PoolLow(usage) }
    }

    fn out(packed: Packed) -> Vec<Event> {
        let mut events = Vec::new();
        packed.each(|piece| match piece {
            Piece::Packed(kind, bytes) => {
                assert!(!bytes.contains(&b'\n'));
                events.push(unpack(kind, bytes).unwrap());
            }
            Piece::Whole(event) => events.push(*event),
        });
        events
    }

    #[test]
    fn events_come_out_as_they_went_in_and_in_order() {
        let first = || vec![seen(1, b"\n\x1b\n\n"), pool_low(), seen(10, b"")];
        let second = || vec![pool_low(), seen(27, b"\x1bn\x1be\n")];
        let (mut all, mut more) = (Packed::default(), first().into_iter().collect());
        all.append(&mut more);
        assert!(more.is_empty());
        more = second().into_iter().collect();
        all.append(&mut more);
        assert_eq!((all.len(), more.len()), (5, 0));
        let wanted: Vec<Event> = first().into_iter().chain(second()).collect();
        assert_eq!(out(all), wanted);
    }

    proptest::proptest! {
        #[test]
        fn any_lease_comes_out_as_it_went_in(time: u64, foreign in proptest::collection::vec(0..64_u8, 0..255)) {
            let event = seen(time / 2, &foreign);
            let mut packed = Packed::default();
            packed.push(Box::new(event.clone()));
            proptest::prop_assert_eq!(out(packed), vec![event]);
        }

        #[test]
        fn any_bytes_are_an_event_or_none(bytes: Vec<u8>, rest: Vec<u8>) {
            let kind = EventKind::UnregisteredSeen;
            let _ = unpack(kind, &bytes);
            let _ = unpack(kind, &[&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, b'n', 0x81, 1], &*rest].concat());
        }
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_no_event() {
        let mut packed = Packed::default();
        packed.push(Box::new(seen(1, b"\n")));
        let (kind, bytes) = (EventKind::UnregisteredSeen, packed.bytes.clone());
        for length in 0..bytes.len() {
            assert_eq!(unpack(kind, &bytes[..length]), None, "{length}");
        }
        assert_eq!(unpack(EventKind::Registered, &bytes), None);
        let newer: Vec<u8> = std::iter::once(2).chain(bytes[1..].iter().copied()).collect();
        assert_eq!(unpack(kind, &newer), None);
    }
}
