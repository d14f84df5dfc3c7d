//! A [`Message`] to the bytes that ISC dhcpd 4.4 reads as it is meant.
//!
//! Options stand in ISC dhcpd's order. Nothing that ends or misleads its process can be written: most
//! of it the types cannot say, and a receive timer that would make it flood the link is refused here.

use super::frame::MESSAGE_LENGTH_MAX;
use super::options::{code, message_type};
use std::fmt;
use vestibule_core::failover::message::RECEIVE_TIMER_SECONDS_MIN;
use vestibule_core::failover::{Body, Message, Rejection};

/// Where the options begin: after the header.
const HEADER_LENGTH: u8 = 12;

/// Why a message is not sent. Our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The peer would send its CONTACT without a pause.
    ReceiveTimer(Option<u32>),
    /// The peer would never send an update.
    UnacknowledgedMax,
    /// Text or identifier are too long for one message.
    Length(usize),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReceiveTimer(seconds) => write!(
                f,
                "a receive timer of {} s would make the peer flood the link: at least {} s",
                seconds.unwrap_or(0),
                RECEIVE_TIMER_SECONDS_MIN
            ),
            Self::UnacknowledgedMax => {
                f.write_str("the peer is not told how many updates it may send")
            }
            Self::Length(length) => {
                write!(f, "a message would have {length} bytes, more than {MESSAGE_LENGTH_MAX}")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

/// Appends the message to `out`, which may hold others already.
///
/// # Errors
/// Nothing was appended; see [`EncodeError`].
pub fn encode(message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let kind = message_type_of(&message.body);
    out.extend_from_slice(&[0, 0, kind, HEADER_LENGTH]);
    out.extend_from_slice(&message.time.to_be_bytes());
    out.extend_from_slice(&message.xid.to_be_bytes());
    let result = options(&message.body, &mut Writer(out)).and_then(|()| {
        let length = out.len() - start;
        let short = u16::try_from(length).map_err(|_| EncodeError::Length(length))?;
        if length > MESSAGE_LENGTH_MAX {
            return Err(EncodeError::Length(length));
        }
        out[start..start + 2].copy_from_slice(&short.to_be_bytes());
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

const fn message_type_of(body: &Body) -> u8 {
    match body {
        Body::PoolRequest => message_type::POOL_REQUEST,
        Body::PoolResponse { .. } => message_type::POOL_RESPONSE,
        Body::BindingUpdate(_) => message_type::BINDING_UPDATE,
        Body::BindingAcknowledgement { .. } => message_type::BINDING_ACKNOWLEDGEMENT,
        Body::Connect(_) => message_type::CONNECT,
        Body::ConnectAcknowledgement(_) => message_type::CONNECT_ACKNOWLEDGEMENT,
        Body::UpdateRequestAll => message_type::UPDATE_REQUEST_ALL,
        Body::UpdateDone => message_type::UPDATE_DONE,
        Body::UpdateRequest => message_type::UPDATE_REQUEST,
        Body::State(_) => message_type::STATE,
        Body::Contact => message_type::CONTACT,
        Body::Disconnect(_) => message_type::DISCONNECT,
    }
}

fn options(body: &Body, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match body {
        Body::PoolResponse { transferred } => {
            out.number(code::ADDRESSES_TRANSFERRED, *transferred)?;
        }
        Body::BindingUpdate(update) => {
            out.option(code::ASSIGNED_ADDRESS, &update.address.octets())?;
            out.option(code::BINDING_STATUS, &[update.status.code()])?;
            out.maybe(code::CLIENT_IDENTIFIER, update.client_identifier.as_deref())?;
            if let Some(hardware) = &update.hardware {
                let mut contents = vec![hardware.hardware_type()];
                contents.extend_from_slice(hardware.bytes());
                out.option(code::HARDWARE_ADDRESS, &contents)?;
            }
            out.number(code::LEASE_EXPIRATION, update.lease_expiration)?;
            out.number(code::POTENTIAL_EXPIRATION, update.potential_expiration)?;
            out.number(code::SINCE, update.since)?;
            out.number(code::CLIENT_LAST_TRANSACTION, update.client_last_transaction)?;
            if update.flags != 0 {
                out.option(code::FLAGS, &update.flags.to_be_bytes())?;
            }
        }
        Body::BindingAcknowledgement { address, reject } => {
            out.option(code::ASSIGNED_ADDRESS, &address.octets())?;
            out.rejection(reject.as_ref())?;
        }
        Body::Connect(connect) => {
            offer(connect.unacknowledged_max, connect.receive_timer_seconds)?;
            out.maybe(code::RELATIONSHIP, connect.relationship.as_deref())?;
            out.number(code::UNACKNOWLEDGED_MAX, connect.unacknowledged_max)?;
            out.number(code::RECEIVE_TIMER, connect.receive_timer_seconds)?;
            out.maybe(code::VENDOR, connect.vendor.as_deref())?;
            out.byte(code::PROTOCOL_VERSION, connect.protocol_version)?;
            out.byte(code::TLS_REQUEST, connect.tls_request)?;
            out.number(code::MCLT, connect.mclt_seconds)?;
            out.maybe(code::HASH_BUCKETS, connect.hash_buckets.as_ref().map(<[u8; 32]>::as_slice))?;
        }
        Body::ConnectAcknowledgement(answer) => {
            if answer.reject.is_none() {
                offer(answer.unacknowledged_max, answer.receive_timer_seconds)?;
            }
            out.maybe(code::RELATIONSHIP, answer.relationship.as_deref())?;
            out.number(code::UNACKNOWLEDGED_MAX, answer.unacknowledged_max)?;
            out.number(code::RECEIVE_TIMER, answer.receive_timer_seconds)?;
            out.maybe(code::VENDOR, answer.vendor.as_deref())?;
            out.byte(code::PROTOCOL_VERSION, answer.protocol_version)?;
            out.byte(code::TLS_REPLY, answer.tls_reply)?;
            out.rejection(answer.reject.as_ref())?;
        }
        Body::State(state) => {
            out.option(code::SERVER_STATE, &[state.state.code()])?;
            out.option(code::SERVER_FLAGS, &[u8::from(state.startup)])?;
            out.number(code::SINCE, state.since)?;
        }
        Body::Disconnect(reject) => out.rejection(reject.as_ref())?,
        Body::PoolRequest
        | Body::UpdateRequestAll
        | Body::UpdateDone
        | Body::UpdateRequest
        | Body::Contact => {}
    }
    Ok(())
}

/// What a peer must be offered to work at all.
fn offer(
    unacknowledged_max: Option<u32>,
    receive_timer_seconds: Option<u32>,
) -> Result<(), EncodeError> {
    if unacknowledged_max.is_none_or(|max| max == 0) {
        return Err(EncodeError::UnacknowledgedMax);
    }
    if receive_timer_seconds.is_none_or(|seconds| seconds < RECEIVE_TIMER_SECONDS_MIN) {
        return Err(EncodeError::ReceiveTimer(receive_timer_seconds));
    }
    Ok(())
}

/// Appends options.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn option(&mut self, option: u16, contents: &[u8]) -> Result<(), EncodeError> {
        let length =
            u16::try_from(contents.len()).map_err(|_| EncodeError::Length(contents.len()))?;
        self.0.extend_from_slice(&option.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(contents);
        Ok(())
    }

    fn maybe(&mut self, option: u16, contents: Option<&[u8]>) -> Result<(), EncodeError> {
        contents.map_or(Ok(()), |contents| self.option(option, contents))
    }

    fn number(&mut self, option: u16, number: Option<u32>) -> Result<(), EncodeError> {
        number.map_or(Ok(()), |number| self.option(option, &number.to_be_bytes()))
    }

    fn byte(&mut self, option: u16, byte: Option<u8>) -> Result<(), EncodeError> {
        byte.map_or(Ok(()), |byte| self.option(option, &[byte]))
    }

    fn rejection(&mut self, rejection: Option<&Rejection>) -> Result<(), EncodeError> {
        let Some(rejection) = rejection else { return Ok(()) };
        self.option(code::REJECT_REASON, &[rejection.reason.code()])?;
        self.maybe(code::MESSAGE, rejection.message.as_deref())
    }
}
