//! One whole message to a [`Message`], or why not and what follows from that.
//!
//! Hostile input ends here. Tolerated, because real peers do it: unknown options, options that the
//! message does not keep (of any size and number), any order, a longer header, and whatever is not
//! needed being left out. Not tolerated, because the stream is then not what it seems: an option over the
//! end, a kept option twice or of another size, a type that is none.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::frame::{MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN};
use super::options::{code, fixed_length, kept, message_type};
use std::fmt;
use std::net::Ipv4Addr;
use vestibule_core::HardwareAddress;
use vestibule_core::failover::{
    BindingStatus, BindingUpdate, Body, Connect, ConnectAcknowledgement, Message, PartnerState,
    Reject, Rejection, StateMessage,
};

/// Bytes of the longest client identifier: what option 61 can carry.
const CLIENT_IDENTIFIER_LENGTH_MAX: usize = 255;

/// Bytes of foreign text that are kept: a relationship's name, a vendor, a message.
const TEXT_LENGTH_MAX: usize = 255;

/// Why a stream cannot be read any further. The peer's fault; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The length is not between 12 and 2048, or not that of the message.
    Length(usize),
    /// The options begin before the end of the header, or after the end of the message.
    PayloadOffset(u8),
    /// An option goes over the end of its message.
    OptionOverrun {
        /// The message's.
        message_type: u8,
    },
    /// An option stands twice in a message that keeps it.
    OptionTwice {
        /// The message's.
        message_type: u8,
        /// Which.
        option: u16,
    },
    /// An option has a size that it cannot have.
    OptionLength {
        /// The message's.
        message_type: u8,
        /// Which.
        option: u16,
        /// Bytes that it has.
        length: usize,
    },
    /// There is no such type, and the message has options.
    MessageType(u8),
    /// A STATE without a state.
    NoState,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a message claims a length of {length} bytes"),
            Self::PayloadOffset(offset) => {
                write!(f, "the options of a message begin at byte {offset}")
            }
            Self::OptionOverrun { message_type } => {
                write!(f, "an option goes over the end of a message of type {message_type}")
            }
            Self::OptionTwice { message_type, option } => {
                write!(f, "option {option} stands twice in a message of type {message_type}")
            }
            Self::OptionLength { message_type, option, length } => {
                write!(f, "option {option} has {length} bytes in a message of type {message_type}")
            }
            Self::MessageType(message_type) => {
                write!(f, "there is no message type {message_type}")
            }
            Self::NoState => f.write_str("a STATE message names no state"),
        }
    }
}

impl std::error::Error for Broken {}

/// An update that can be read but not taken: it is answered with a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The number of the update, to be given back.
    pub xid: u32,
    /// The sender's clock.
    pub time: u32,
    /// Its address; 0.0.0.0 if it has none.
    pub address: Ipv4Addr,
    /// Why.
    pub rejection: Rejection,
}

/// Why a message came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The connection is to be closed.
    Broken(Broken),
    /// A BNDACK that refuses is to be sent.
    Refused(Refused),
    /// Nothing follows: a type that nobody knows, without options.
    Unknown(u8),
}

impl From<Broken> for Unusable {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Decodes one message, whole and no longer than it says.
///
/// # Errors
/// What is wrong, and what is to be done about it.
pub fn decode(bytes: &[u8]) -> Result<Message, Unusable> {
    if bytes.len() > MESSAGE_LENGTH_MAX {
        return Err(Broken::Length(bytes.len()).into());
    }
    let Some((header, _)) = bytes.split_first_chunk::<MESSAGE_LENGTH_MIN>() else {
        return Err(Broken::Length(bytes.len()).into());
    };
    let [l0, l1, kind, offset, t0, t1, t2, t3, x0, x1, x2, x3] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length != bytes.len() {
        return Err(Broken::Length(length).into());
    }
    let time = u32::from_be_bytes([t0, t1, t2, t3]);
    let xid = u32::from_be_bytes([x0, x1, x2, x3]);
    let payload = match bytes.get(usize::from(offset)..) {
        Some(payload) if usize::from(offset) >= MESSAGE_LENGTH_MIN => payload,
        _ => return Err(Broken::PayloadOffset(offset).into()),
    };
    if !(message_type::POOL_REQUEST..=message_type::DISCONNECT).contains(&kind) {
        return Err(if payload.is_empty() {
            Unusable::Unknown(kind)
        } else {
            Broken::MessageType(kind).into()
        });
    }
    let options = Options::read(kind, payload)?;
    let body = match kind {
        message_type::POOL_REQUEST => Body::PoolRequest,
        message_type::POOL_RESPONSE => {
            Body::PoolResponse { transferred: options.u32(code::ADDRESSES_TRANSFERRED) }
        }
        message_type::BINDING_UPDATE => match binding_update(&options) {
            Ok(update) => Body::BindingUpdate(update),
            Err(rejection) => {
                let address = options.address().unwrap_or(Ipv4Addr::UNSPECIFIED);
                return Err(Unusable::Refused(Refused { xid, time, address, rejection }));
            }
        },
        message_type::BINDING_ACKNOWLEDGEMENT => Body::BindingAcknowledgement {
            address: options.address().unwrap_or(Ipv4Addr::UNSPECIFIED),
            reject: options.rejection(),
        },
        message_type::CONNECT => Body::Connect(Connect {
            relationship: options.text(code::RELATIONSHIP),
            unacknowledged_max: options.u32(code::UNACKNOWLEDGED_MAX),
            receive_timer_seconds: options.u32(code::RECEIVE_TIMER),
            vendor: options.text(code::VENDOR),
            protocol_version: options.u8(code::PROTOCOL_VERSION),
            mclt_seconds: options.u32(code::MCLT),
            hash_buckets: options.array(code::HASH_BUCKETS),
            tls_request: options.u8(code::TLS_REQUEST),
        }),
        message_type::CONNECT_ACKNOWLEDGEMENT => {
            Body::ConnectAcknowledgement(ConnectAcknowledgement {
                relationship: options.text(code::RELATIONSHIP),
                unacknowledged_max: options.u32(code::UNACKNOWLEDGED_MAX),
                receive_timer_seconds: options.u32(code::RECEIVE_TIMER),
                vendor: options.text(code::VENDOR),
                protocol_version: options.u8(code::PROTOCOL_VERSION),
                tls_reply: options.u8(code::TLS_REPLY),
                reject: options.rejection(),
            })
        }
        message_type::UPDATE_REQUEST_ALL => Body::UpdateRequestAll,
        message_type::UPDATE_DONE => Body::UpdateDone,
        message_type::UPDATE_REQUEST => Body::UpdateRequest,
        message_type::STATE => Body::State(StateMessage {
            state: PartnerState::from_code(options.u8(code::SERVER_STATE).ok_or(Broken::NoState)?),
            startup: options.u8(code::SERVER_FLAGS).is_some_and(|flags| flags & 1 == 1),
            since: options.u32(code::SINCE),
        }),
        message_type::CONTACT => Body::Contact,
        _ => Body::Disconnect(options.rejection()),
    };
    Ok(Message { time, xid, body })
}

fn binding_update(options: &Options<'_>) -> Result<BindingUpdate, Rejection> {
    let Some(address) = options.address() else {
        return Err(Rejection::new(Reject::MissingBinding, "the update names no address"));
    };
    let Some(status) = options.u8(code::BINDING_STATUS) else {
        return Err(Rejection::new(Reject::MissingBinding, "the update names no binding status"));
    };
    let Some(status) = BindingStatus::from_code(status) else {
        return Err(Rejection::new(Reject::Unspecified, "there is no such binding status"));
    };
    let hardware = match options.bytes(code::HARDWARE_ADDRESS) {
        None => None,
        Some([hardware_type, address @ ..]) => {
            Some(HardwareAddress::new(*hardware_type, address).ok_or_else(|| {
                Rejection::new(Reject::Unspecified, "the hardware address is longer than 16 bytes")
            })?)
        }
        Some([]) => {
            return Err(Rejection::new(
                Reject::MissingBinding,
                "the hardware address has not even a type",
            ));
        }
    };
    let client_identifier = match options.bytes(code::CLIENT_IDENTIFIER) {
        // An empty one is what ISC dhcpd has of a client that sent an empty option 61: none.
        None | Some([]) => None,
        Some(bytes) if bytes.len() <= CLIENT_IDENTIFIER_LENGTH_MAX => Some(bytes.into()),
        Some(_) => {
            return Err(Rejection::new(
                Reject::Unspecified,
                "the client identifier is longer than 255 bytes",
            ));
        }
    };
    Ok(BindingUpdate {
        address,
        status,
        client_identifier,
        hardware,
        lease_expiration: options.u32(code::LEASE_EXPIRATION),
        potential_expiration: options.u32(code::POTENTIAL_EXPIRATION),
        since: options.u32(code::SINCE),
        client_last_transaction: options.u32(code::CLIENT_LAST_TRANSACTION),
        flags: options.array(code::FLAGS).map_or(0, u16::from_be_bytes),
    })
}

/// Kept options at most: a BNDUPD keeps nine.
const KEPT_MAX: usize = 9;

/// The options of a message that it keeps, each once, of the right size.
struct Options<'a> {
    found: [Option<(u16, &'a [u8])>; KEPT_MAX],
}

impl<'a> Options<'a> {
    fn read(message_type: u8, payload: &'a [u8]) -> Result<Self, Broken> {
        let overrun = Broken::OptionOverrun { message_type };
        let kept = kept(message_type);
        let mut found = [None; KEPT_MAX];
        let mut rest = payload;
        while !rest.is_empty() {
            let ([c0, c1, l0, l1], after) = rest.split_first_chunk::<4>().ok_or(overrun)?;
            let option = u16::from_be_bytes([*c0, *c1]);
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (contents, after) = after.split_at_checked(length).ok_or(overrun)?;
            rest = after;
            let Some(place) =
                kept.iter().position(|kept| *kept == option).and_then(|index| found.get_mut(index))
            else {
                continue;
            };
            if place.is_some() {
                return Err(Broken::OptionTwice { message_type, option });
            }
            if fixed_length(option).is_some_and(|fixed| fixed != length) {
                return Err(Broken::OptionLength { message_type, option, length });
            }
            *place = Some((option, contents));
        }
        Ok(Self { found })
    }

    fn bytes(&self, option: u16) -> Option<&'a [u8]> {
        self.found.iter().flatten().find(|(code, _)| *code == option).map(|(_, bytes)| *bytes)
    }

    fn array<const LENGTH: usize>(&self, option: u16) -> Option<[u8; LENGTH]> {
        self.bytes(option)?.try_into().ok()
    }

    fn u8(&self, option: u16) -> Option<u8> {
        self.array(option).map(u8::from_be_bytes)
    }

    fn u32(&self, option: u16) -> Option<u32> {
        self.array(option).map(u32::from_be_bytes)
    }

    fn address(&self) -> Option<Ipv4Addr> {
        self.array::<4>(code::ASSIGNED_ADDRESS).map(Ipv4Addr::from)
    }

    /// Foreign text, cut to what is kept.
    fn text(&self, option: u16) -> Option<Box<[u8]>> {
        let bytes = self.bytes(option)?;
        Some(bytes.get(..TEXT_LENGTH_MAX).unwrap_or(bytes).into())
    }

    fn rejection(&self) -> Option<Rejection> {
        let reason = Reject::from_code(self.u8(code::REJECT_REASON)?);
        Some(Rejection { reason, message: self.text(code::MESSAGE) })
    }
}
