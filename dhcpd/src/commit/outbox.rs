//! Encoded replies, one behind the other in one buffer.
//!
//! An outbox is filled by one turn of the decide thread, emptied by a send, and used again: a reply is
//! encoded once, where it will be sent from, and costs no memory of its own. It never sends anything.

use super::work::HeldReply;
use crate::net::Outgoing;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Instant;
use vestibule_core::{Destination, MessageType, SocketIndex};

/// Where a reply goes, and when it may.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// What it is, for the counters.
    pub message_type: MessageType,
    /// The socket that it leaves by.
    pub socket: SocketIndex,
    /// The address that it leaves from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Destination,
    /// When the lease that it grants ends: from then on it must not leave (P1). `None`: it grants none.
    pub lease_ends: Option<Instant>,
    /// Whether it waits for the kernel sets (P3).
    pub needs_gate: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    replies: Vec<(Range<usize>, Envelope)>,
}

impl Outbox {
    /// How many replies it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.replies.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Takes in a reply that `encode` appends to the buffer.
    ///
    /// # Errors
    /// What `encode` says; the outbox is then as it was.
    pub fn put<T, E>(
        &mut self,
        envelope: Envelope,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        let start = self.bytes.len();
        match encode(&mut self.bytes) {
            Ok(done) => {
                self.replies.push((start..self.bytes.len(), envelope));
                Ok(done)
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Has the replies from the position `first` on wait for the kernel sets.
    pub fn need_gate(&mut self, first: usize) {
        for (_, envelope) in self.replies.iter_mut().skip(first) {
            envelope.needs_gate = true;
        }
    }

    /// Every reply, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Envelope, Outgoing<'_>)> {
        self.replies.iter().map(|(range, envelope)| {
            let Envelope { socket, source, destination, .. } = *envelope;
            let bytes = self.bytes.get(range.clone()).unwrap_or_default();
            (*envelope, Outgoing { bytes, socket, source, destination })
        })
    }

    /// Takes out the replies that wait for the kernel sets, as replies of their own.
    pub(super) fn take_those_that_need_the_gate(&mut self) -> Vec<HeldReply> {
        let taken = self.iter().filter(|(envelope, _)| envelope.needs_gate);
        let taken = taken
            .map(|(envelope, outgoing)| HeldReply { envelope, bytes: outgoing.bytes.into() })
            .collect();
        self.replies.retain(|(_, envelope)| !envelope.needs_gate);
        taken
    }

    /// Empties it; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.replies.clear();
    }
}
