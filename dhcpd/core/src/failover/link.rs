//! What passes between the core and whoever holds the TCP connection to the partner.
//!
//! The shell dials and listens, settles which of several connections is kept, decodes and encodes; it
//! hands over one connection at a time. The handshake, the timers, the numbers and everything that is
//! said are decided here.

use super::{BindingStatus, CloseReason, Message, PartnerState, Reject, State};
use crate::Release;
use std::net::Ipv4Addr;

/// What the connection to the partner brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerInput {
    /// There is a connection, whoever opened it. One that was there before is gone.
    Connected,
    /// The partner said this on the connection that is there.
    Said(Message),
    /// The connection is gone. Harmless if it was closed by [`PartnerEffect::Close`].
    Disconnected,
}

/// What is to be done on the connection that is there. Messages leave in the order in which they come
/// out of the core: one that waits for its commit holds back all that come after it, and a
/// [`Close`](Self::Close) comes after all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerEffect {
    /// Send this.
    Send {
        /// What.
        message: Box<Message>,
        /// When: what speaks of something durable leaves after it is. The sequence may be that of an
        /// earlier step.
        release: Release,
    },
    /// Close it, when everything before has been sent. What the partner says until then counts for
    /// nothing.
    Close(CloseReason),
}

/// What an operator wants to know of the pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailoverNotice {
    /// This server's state is another one.
    StateChanged {
        /// The one before.
        from: State,
        /// The new one.
        to: State,
        /// What the partner's is.
        partner: PartnerState,
    },
    /// The partner's state is another one.
    PartnerStateChanged {
        /// The one before.
        from: PartnerState,
        /// The new one.
        to: PartnerState,
    },
    /// The handshake is done.
    Connected {
        /// The maximum client lead time that the pair goes by, in seconds.
        mclt_seconds: u32,
        /// By how many seconds this server's clock is ahead of the partner's.
        clock_ahead_seconds: i64,
    },
    /// The partner cannot be heard any more.
    ContactLost,
    /// The partner refused an update; it is sent again with the next comparison.
    UpdateRefusedByPartner {
        /// The address.
        address: Ipv4Addr,
        /// What it was said to be.
        status: BindingStatus,
        /// Why.
        reject: Reject,
    },
    /// An update of the partner was refused.
    UpdateRefused {
        /// The address.
        address: Ipv4Addr,
        /// What it was said to be.
        status: BindingStatus,
        /// Why.
        reject: Reject,
    },
    /// Addresses are in the pools of one half only. Said soon after the first, and again after a minute if
    /// there were more.
    PoolsDiffer(super::PoolMismatch),
    /// Free addresses were given to the partner.
    AddressesGiven(u32),
}
