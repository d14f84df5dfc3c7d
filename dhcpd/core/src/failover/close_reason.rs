//! Why a connection to the partner is closed, in words that an operator reads.

use super::Reject;
use super::session::HANDSHAKE_SECONDS_MAX;
use std::fmt;

/// Why a connection is closed. All but the last three are the partner's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The handshake took too long.
    HandshakeTimeout,
    /// The handshake was refused by us.
    Refused(Reject),
    /// It said something else than the handshake asks for.
    NotNow,
    /// A primary was sent a CONNECT, or a secondary a CONNECTACK: both have the same role.
    SameRole,
    /// Nothing was heard for as long as the receive timer.
    Silent,
    /// It sent more CONTACT messages than anybody needs.
    Flood,
    /// It refused the handshake.
    RefusedByPartner(Reject),
    /// It took leave.
    Left(Option<Reject>),
    /// There is another connection, which stays.
    Duplicate,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandshakeTimeout => {
                write!(f, "the handshake took more than {HANDSHAKE_SECONDS_MAX} s")
            }
            Self::Refused(reject) => write!(f, "refused by this server: {}", reject.words()),
            Self::NotNow => f.write_str("a message that the handshake does not allow"),
            Self::SameRole => f.write_str("both servers have the same role"),
            Self::Silent => f.write_str("nothing was heard for as long as the receive timer"),
            Self::Flood => f.write_str("too many CONTACT messages"),
            Self::RefusedByPartner(reject) => {
                write!(f, "refused by the partner: {}", reject.words())
            }
            Self::Left(None) => f.write_str("the partner took leave"),
            Self::Left(Some(reject)) => write!(f, "the partner took leave: {}", reject.words()),
            Self::Duplicate => f.write_str("there is another connection"),
        }
    }
}
