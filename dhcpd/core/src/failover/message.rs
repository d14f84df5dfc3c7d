//! The messages of the failover link as values: what the codec makes of bytes, and bytes of.
//!
//! It follows ISC dhcpd 4.4, not the draft, where they differ. The types cannot say what must never
//! be sent: several addresses in one update, the DDNS option, a binding status outside 1 to 7, an
//! acknowledgement with a client identifier. Nothing here knows bytes or sockets.
//!
//! Times are seconds since 1970, as on the wire, in a `u32`; every value is legal.

use super::{BindingStatus, PartnerState, Reject, State};
use crate::HardwareAddress;
use std::net::Ipv4Addr;

/// The least receive timer, in seconds, that may be offered to a peer. ISC dhcpd sends its CONTACT
/// every third of it, in whole seconds: below 3 that is an endless stream.
pub const RECEIVE_TIMER_SECONDS_MIN: u32 = 3;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's clock when it was sent, in seconds since 1970.
    pub time: u32,
    /// Numbers what the sender starts, from 0 in each connection; an answer has its question's.
    pub xid: u32,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The sender has too few addresses of its own kind.
    PoolRequest,
    /// So many were given away.
    PoolResponse {
        /// Addresses that were given away; absent if the peer left it out.
        transferred: Option<u32>,
    },
    /// What has become of one address.
    BindingUpdate(BindingUpdate),
    /// An update was taken (and is on the peer's stable storage), or refused.
    BindingAcknowledgement {
        /// Whose update; 0.0.0.0 where the update named none.
        address: Ipv4Addr,
        /// Why it was refused; `None`: it was taken.
        reject: Option<Rejection>,
    },
    /// The primary introduces itself.
    Connect(Connect),
    /// The secondary answers it.
    ConnectAcknowledgement(ConnectAcknowledgement),
    /// Send everything that you have.
    UpdateRequestAll,
    /// Everything that was asked for has been sent.
    UpdateDone,
    /// Send what I have not acknowledged.
    UpdateRequest,
    /// The sender's state.
    State(StateMessage),
    /// The sender is there.
    Contact,
    /// The sender closes the connection.
    Disconnect(Option<Rejection>),
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: Reject,
    /// The same in the sender's words; foreign bytes. At most 255 are sent.
    pub message: Option<Box<[u8]>>,
}

impl Rejection {
    /// A refusal in our words.
    #[must_use]
    pub fn new(reason: Reject, message: &str) -> Self {
        Self { reason, message: Some(message.as_bytes().into()) }
    }
}

/// CONNECT. What is an option here may be left out by a peer; whether that is a fault is decided
/// where the message is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// The name of the relationship, compared byte for byte.
    pub relationship: Option<Box<[u8]>>,
    /// How many updates the sender takes before it has acknowledged one.
    pub unacknowledged_max: Option<u32>,
    /// After how many seconds without a message the sender gives the connection up.
    pub receive_timer_seconds: Option<u32>,
    /// Program and version of the sender; foreign bytes.
    pub vendor: Option<Box<[u8]>>,
    /// Always 1.
    pub protocol_version: Option<u8>,
    /// The maximum client lead time, in seconds.
    pub mclt_seconds: Option<u32>,
    /// Which buckets the primary serves, as [`HashBuckets`](super::HashBuckets) reads them.
    pub hash_buckets: Option<[u8; 32]>,
    /// Whether the sender asked about TLS, which makes the answer carry its "no".
    pub tls_request: Option<u8>,
}

/// CONNECTACK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectAcknowledgement {
    /// As in [`Connect`]; in a refusal the name as it was received.
    pub relationship: Option<Box<[u8]>>,
    /// As in [`Connect`].
    pub unacknowledged_max: Option<u32>,
    /// As in [`Connect`].
    pub receive_timer_seconds: Option<u32>,
    /// As in [`Connect`].
    pub vendor: Option<Box<[u8]>>,
    /// As in [`Connect`].
    pub protocol_version: Option<u8>,
    /// 0, if the CONNECT asked.
    pub tls_reply: Option<u8>,
    /// Why the connection is refused; `None`: it is taken.
    pub reject: Option<Rejection>,
}

/// STATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateMessage {
    /// The sender's state.
    pub state: PartnerState,
    /// Whether the sender is still starting: another STATE will follow.
    pub startup: bool,
    /// When the state began, by the sender's clock.
    pub since: Option<u32>,
}

impl StateMessage {
    /// A STATE of ours.
    #[must_use]
    pub fn new(state: State, startup: bool, since: u32) -> Self {
        Self { state: PartnerState::Known(state), startup, since: Some(since) }
    }
}

/// BNDUPD: one address and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingUpdate {
    /// The address.
    pub address: Ipv4Addr,
    /// What has become of it.
    pub status: BindingStatus,
    /// The client's option 61 as it sent it, type byte included.
    pub client_identifier: Option<Box<[u8]>>,
    /// The client's hardware address.
    pub hardware: Option<HardwareAddress>,
    /// When the lease ends that the client was told of.
    pub lease_expiration: Option<u32>,
    /// Until when the sender may have promised the address without asking again.
    pub potential_expiration: Option<u32>,
    /// When the binding began to be what it is; ISC dhcpd: the last ACK or change of owner.
    pub since: Option<u32>,
    /// When the client was last heard of by the sender.
    pub client_last_transaction: Option<u32>,
    /// 0x0001 reserved, 0x0002 BOOTP; other bits mean nothing. Not sent if 0.
    pub flags: u16,
}

impl BindingUpdate {
    /// [`flags`](Self::flags): the address is reserved for its client.
    pub const RESERVED: u16 = 1;
    /// [`flags`](Self::flags): the address was given to a BOOTP client.
    pub const BOOTP: u16 = 2;

    /// An update that says nothing but the status.
    #[must_use]
    pub const fn new(address: Ipv4Addr, status: BindingStatus) -> Self {
        Self {
            address,
            status,
            client_identifier: None,
            hardware: None,
            lease_expiration: None,
            potential_expiration: None,
            since: None,
            client_last_transaction: None,
            flags: 0,
        }
    }
}
