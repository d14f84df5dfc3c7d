//! Why a feed is not followed at the moment, and why an agent does not start: by whose fault, with a remedy.

use super::reading::Unreadable;
use crate::FirewallError;
use crate::feed::LineTooLong;
use crate::source::{SourceError, StreamError};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a connection to a server ended, or did not begin. The agent tries again.
#[derive(Debug)]
pub enum FollowError {
    /// The network's or the server's: it cannot be connected to.
    Connect(io::Error),
    /// The operator's or somebody's in between: no TLS session with a server that the authorities vouch for.
    Tls(io::Error),
    /// The server's or the network's: it did not speak HTTP, or stopped in the middle of it.
    Http(hyper::Error),
    /// The operator's: the server does not know the token.
    TokenUnknown,
    /// The operator's: the token's scope is another one.
    TokenScope,
    /// The operator's: the server has no feed.
    NoFeed,
    /// The server's: it answered with this other status.
    Status(u16),
    /// The server's or the network's: this took too long.
    TooSlow(&'static str),
    /// The server's or the network's: the feed ended without a word.
    BrokenOff,
    /// The server closed the feed, and said why.
    Ended(String),
    /// The server's: what it said cannot be a feed.
    Unreadable(Unreadable),
    /// The agent is ending.
    AgentEnding,
}

impl FollowError {
    /// The reasons that errors are counted by, in the order of [`FollowError::reason_number`].
    pub const REASONS: [&'static str; 15] = [
        "connect",
        "tls",
        "http",
        "token-unknown",
        "token-scope",
        "no-feed",
        "status",
        "too-slow",
        "broken-off",
        "ended",
        "line-invalid",
        "line-too-long",
        "line-misplaced",
        "snapshot-too-large",
        "version",
    ];

    /// Which of [`FollowError::REASONS`] it is; `None` if it is none.
    #[must_use]
    pub fn reason_number(&self) -> Option<usize> {
        let reason = match self {
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::TokenUnknown => "token-unknown",
            Self::TokenScope => "token-scope",
            Self::NoFeed => "no-feed",
            Self::Status(_) => "status",
            Self::TooSlow(_) => "too-slow",
            Self::BrokenOff => "broken-off",
            Self::Ended(_) => "ended",
            Self::Unreadable(Unreadable::Line(_)) => "line-invalid",
            Self::Unreadable(Unreadable::LineTooLong) => "line-too-long",
            Self::Unreadable(Unreadable::Misplaced(_)) => "line-misplaced",
            Self::Unreadable(Unreadable::SnapshotTooLarge) => "snapshot-too-large",
            Self::Unreadable(Unreadable::OtherVersion(_)) => "version",
            Self::AgentEnding => return None,
        };
        Self::REASONS.iter().position(|known| *known == reason)
    }
}

impl From<StreamError> for FollowError {
    fn from(why: StreamError) -> Self {
        match why {
            StreamError::Connect(error) => Self::Connect(error),
            StreamError::Tls(error) => Self::Tls(error),
            StreamError::Http(error) => Self::Http(error),
            StreamError::TokenUnknown => Self::TokenUnknown,
            StreamError::TokenScope => Self::TokenScope,
            StreamError::NotFound => Self::NoFeed,
            StreamError::Status(status) => Self::Status(status),
            StreamError::TooSlow(what) => Self::TooSlow(what),
            StreamError::BrokenOff => Self::BrokenOff,
        }
    }
}

impl From<LineTooLong> for FollowError {
    fn from(why: LineTooLong) -> Self {
        Self::Unreadable(why.into())
    }
}

impl From<Unreadable> for FollowError {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "it cannot be reached: {error}"),
            Self::Tls(error) => write!(
                f,
                "no TLS session: {error}; its ca-file has to hold the authority of the server's \
                 certificate, and the certificate has to be for the name in its url"
            ),
            Self::Http(error) => write!(f, "it does not speak HTTP as it should: {error}"),
            Self::TokenUnknown => f.write_str(
                "it does not know the token: one of its [[api.token]] has to hold what token-file holds here",
            ),
            Self::TokenScope => {
                f.write_str("the token may not follow the gate: it needs the scope \"gate\" at the server")
            }
            Self::NoFeed => {
                f.write_str("it has no gate feed: its gate.mode is \"off\", or it is another program")
            }
            Self::Status(status) => write!(f, "it answers with the HTTP status {status}"),
            Self::TooSlow(what) => write!(f, "{what} took too long"),
            Self::BrokenOff => f.write_str("the feed broke off"),
            Self::Ended(reason) => write!(f, "it closed the feed: {reason}"),
            Self::Unreadable(why) => why.fmt(f),
            Self::AgentEnding => f.write_str("the agent is ending"),
        }
    }
}

impl std::error::Error for FollowError {}

/// Why an agent does not start, or had to end.
#[derive(Debug)]
pub enum AgentError {
    /// The operator's: a server's `ca-file` cannot be used.
    Authorities(PathBuf, String),
    /// The operator's: a server's name cannot be one that a certificate is for.
    ServerName(String),
    /// The operator's: `agent.status-listen` cannot be had.
    Listen(SocketAddr, io::Error),
    /// The kernel's: no thread, no runtime.
    Runtime(io::Error),
    /// The kernel's or the operator's: the table cannot be looked at or changed.
    Firewall(FirewallError),
    /// Ours: the thread that enforces ended although it must not.
    ThreadLost,
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(path, why) => write!(
                f,
                "{} cannot be used: {why}; agent.server.ca-file takes certificates of authorities in PEM",
                path.display()
            ),
            Self::ServerName(name) => {
                write!(f, "`{name}` cannot be in a certificate: name the server otherwise in its url")
            }
            Self::Listen(address, error) => write!(
                f,
                "the agent cannot listen on {address}: {error}; choose another agent.status-listen"
            ),
            Self::Runtime(error) => write!(f, "the system gives no thread or event loop: {error}"),
            Self::Firewall(error) => error.fmt(f),
            Self::ThreadLost => f.write_str(
                "the thread that enforces ended although it must not: a defect of this agent; start it again \
                 and report the log above",
            ),
        }
    }
}

impl std::error::Error for AgentError {}

impl From<SourceError> for AgentError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Authorities(path, why) => Self::Authorities(path, why),
            SourceError::ServerName(name) => Self::ServerName(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_a_feed_has_a_reason_of_its_own() {
        let line = serde_json::from_str::<u8>("x").unwrap_err();
        let all = [
            FollowError::Connect(io::ErrorKind::ConnectionRefused.into()),
            FollowError::Tls(io::ErrorKind::InvalidData.into()),
            FollowError::TokenUnknown,
            FollowError::TokenScope,
            FollowError::NoFeed,
            FollowError::Status(500),
            FollowError::TooSlow("x"),
            FollowError::BrokenOff,
            FollowError::Ended(String::new()),
            Unreadable::Line(line).into(),
            Unreadable::LineTooLong.into(),
            Unreadable::Misplaced("x").into(),
            Unreadable::SnapshotTooLarge.into(),
            Unreadable::OtherVersion(2).into(),
        ];
        let mut numbers: Vec<usize> =
            all.iter().map(|error| error.reason_number().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // That of HTTP cannot be made here.
        assert_eq!(numbers.len(), FollowError::REASONS.len() - 1);
        assert_eq!(FollowError::AgentEnding.reason_number(), None);
    }
}
