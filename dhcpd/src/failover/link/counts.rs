//! How connections ended, and how many there were.

use crate::failover::codec::{Broken, EncodeError};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use vestibule_core::failover::CloseReason;

/// How a connection ended, or why there was none.
#[derive(Debug)]
pub enum LinkEnd {
    /// Somebody else than the partner connected. Its fault.
    Stranger,
    /// There was a connection already.
    Duplicate,
    /// The partner's host does not take connections, or cannot be reached.
    Unreachable(io::Error),
    /// The partner closed it. Nobody's fault: it ended, or has another connection.
    Left,
    /// The partner closed it in the middle of a message; so many bytes of it had come. Its fault.
    HalfMessage(usize),
    /// The connection broke.
    Lost(io::Error),
    /// What came is no message. The partner's fault.
    Broken(Broken),
    /// The partner sent more requests than anybody needs. Its fault.
    Flood,
    /// The partner does not read what it is sent. Its fault.
    Slow,
    /// The rules of the protocol: decided by the core.
    Decided(CloseReason),
    /// A message could not be written. Our fault.
    Encode(EncodeError),
}

/// The names of all reasons, as metrics have them, in the order of [`LinkCounts`].
const NAMES: [&str; 19] = [
    "stranger",
    "duplicate",
    "unreachable",
    "left",
    "half-message",
    "lost",
    "broken",
    "flood",
    "slow",
    "encode",
    "handshake-timeout",
    "refused",
    "not-now",
    "same-role",
    "silent",
    "refused-by-partner",
    "left-with-reason",
    "duplicate-connection",
    "contact-flood",
];

impl LinkEnd {
    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Duplicate => "duplicate",
            Self::Unreachable(_) => "unreachable",
            Self::Left => "left",
            Self::HalfMessage(_) => "half-message",
            Self::Lost(_) => "lost",
            Self::Broken(_) => "broken",
            Self::Flood => "flood",
            Self::Slow => "slow",
            Self::Encode(_) => "encode",
            Self::Decided(reason) => match reason {
                CloseReason::HandshakeTimeout => "handshake-timeout",
                CloseReason::Refused(_) => "refused",
                CloseReason::NotNow => "not-now",
                CloseReason::SameRole => "same-role",
                CloseReason::Silent => "silent",
                CloseReason::Flood => "contact-flood",
                CloseReason::RefusedByPartner(_) => "refused-by-partner",
                CloseReason::Left(_) => "left-with-reason",
                CloseReason::Duplicate => "duplicate-connection",
            },
        }
    }

    /// Whether trying again soon would end the same way: the next attempt waits longer.
    pub(super) const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Broken(_)
                | Self::HalfMessage(_)
                | Self::Flood
                | Self::Slow
                | Self::Encode(_)
                | Self::Decided(
                    CloseReason::Refused(_)
                        | CloseReason::NotNow
                        | CloseReason::SameRole
                        | CloseReason::Flood
                        | CloseReason::RefusedByPartner(_)
                )
        )
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("somebody else than the partner connected"),
            Self::Duplicate => f.write_str("there is a connection already"),
            Self::Unreachable(error) => write!(f, "the partner cannot be reached: {error}"),
            Self::Left => f.write_str("the partner closed it"),
            Self::HalfMessage(bytes) => {
                write!(f, "the partner closed it after {bytes} bytes of a message")
            }
            Self::Lost(error) => error.fmt(f),
            Self::Broken(broken) => broken.fmt(f),
            Self::Flood => f.write_str("the partner asks for more than anybody needs"),
            Self::Slow => f.write_str("the partner does not read what it is sent"),
            Self::Decided(reason) => reason.fmt(f),
            Self::Encode(error) => write!(f, "a message could not be written: {error}"),
        }
    }
}

/// What is counted of the link. Shared with the metrics.
#[derive(Debug, Default)]
pub struct LinkCounts {
    connected: AtomicBool,
    sent: AtomicU64,
    ended: [AtomicU64; NAMES.len()],
}

impl LinkCounts {
    /// Whether there is a connection, with or without a handshake.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Messages that were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Connections that ended, by the name of the reason; all names, also of what has not happened.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.into_iter().zip(self.ended.iter().map(|count| count.load(Relaxed)))
    }

    pub(super) fn connected(&self, is: bool) {
        self.connected.store(is, Relaxed);
    }

    pub(super) fn sent_more(&self, messages: usize) {
        self.sent.fetch_add(messages as u64, Relaxed);
    }

    pub(super) fn ended(&self, end: &LinkEnd) {
        let place = NAMES.iter().position(|name| *name == end.name());
        if let Some(count) = place.and_then(|place| self.ended.get(place)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_core::failover::Reject;

    #[test]
    fn every_reason_is_counted_under_its_name() {
        let lost = || io::Error::from(io::ErrorKind::ConnectionReset);
        let ends = [
            LinkEnd::Stranger,
            LinkEnd::Duplicate,
            LinkEnd::Unreachable(lost()),
            LinkEnd::Left,
            LinkEnd::HalfMessage(1),
            LinkEnd::Lost(lost()),
            LinkEnd::Broken(Broken::NoState),
            LinkEnd::Flood,
            LinkEnd::Slow,
            LinkEnd::Encode(EncodeError::UnacknowledgedMax),
            LinkEnd::Decided(CloseReason::HandshakeTimeout),
            LinkEnd::Decided(CloseReason::Refused(Reject::Unspecified)),
            LinkEnd::Decided(CloseReason::NotNow),
            LinkEnd::Decided(CloseReason::SameRole),
            LinkEnd::Decided(CloseReason::Silent),
            LinkEnd::Decided(CloseReason::RefusedByPartner(Reject::Unspecified)),
            LinkEnd::Decided(CloseReason::Left(None)),
            LinkEnd::Decided(CloseReason::Duplicate),
            LinkEnd::Decided(CloseReason::Flood),
        ];
        let counts = LinkCounts::default();
        for end in &ends {
            counts.ended(end);
            assert!(!end.to_string().is_empty());
        }
        assert!(counts.ends().all(|(_, count)| count == 1));
        assert_eq!(counts.ends().count(), ends.len());
    }
}
