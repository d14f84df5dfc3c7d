//! A received packet to a [`Request`], or the [`Reason`] why not.
//!
//! The checks stand in the order in which the function makes them: a packet with several faults is
//! counted by the first. The fixed part is read through dhcproto's borrowed view once the guard has
//! shown that it cannot panic; the options by our own walk, because dhcproto's loses everything
//! after one bad option, knows no overload and joins only adjacent pieces.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::options::OptionFields;
use dhcproto::v4::{MAGIC, Opcode, borrowed};
use std::net::Ipv4Addr;
use vestibule_core::limits::HOST_NAME_LENGTH_MAX;
use vestibule_core::options::code;
use vestibule_core::{
    Arrival, Codes, HardwareAddress, MessageType, Octets, Reason, RelayAgentInformation, Request,
};

/// Bytes of the fixed part with the cookie (RFC 2131 section 2): the least that a message has.
pub const MESSAGE_LENGTH_MIN: usize = 240;

/// Bytes of the longest message that is read. No client's or relay's is longer than Ethernet's MTU.
pub const MESSAGE_LENGTH_MAX: usize = 1500;

/// Relays that may have passed a message on (RFC 1542 section 4.1.1).
pub const HOPS_MAX: u8 = 16;

/// Bytes of the longest client identifier that is kept: what one option can carry.
const CLIENT_IDENTIFIER_LENGTH_MAX: usize = 255;

/// Decodes a message of a client or relay that arrived as `arrival` says.
///
/// Addresses in options are passed on as they came; 0.0.0.0 too.
///
/// # Errors
/// The [`Reason`] why the packet is dropped. Where it is wrong in several ways, the first of:
/// length, op, hardware length, cookie, hops, options overrun, message type, lengths of options,
/// option 82, identity.
pub fn decode(bytes: &[u8], arrival: Arrival) -> Result<Request, Reason> {
    decode_keeping(bytes, arrival, &Codes::default())
}

/// The same, and keeps the options that classes of clients look at.
///
/// # Errors
/// As [`decode`].
pub fn decode_keeping(bytes: &[u8], arrival: Arrival, kept: &Codes) -> Result<Request, Reason> {
    if bytes.len() > MESSAGE_LENGTH_MAX {
        return Err(Reason::Oversized);
    }
    // Also the first half of the guard for dhcproto's view, which indexes without asking: from here
    // on the fixed part is there, and once hlen is known to be at most 16, so is what `chaddr()` takes.
    let Ok(message) = borrowed::Message::new(bytes) else { return Err(Reason::Truncated) };
    let (Some(chaddr), Some(sname), Some(file), Some(cookie), Some(options)) = (
        bytes.get(28..44).and_then(|field| <[u8; 16]>::try_from(field).ok()),
        bytes.get(44..108),
        bytes.get(108..236),
        bytes.get(236..MESSAGE_LENGTH_MIN),
        bytes.get(MESSAGE_LENGTH_MIN..),
    ) else {
        return Err(Reason::Truncated);
    };
    if message.opcode() != Opcode::BootRequest {
        return Err(Reason::NotARequest);
    }
    if usize::from(message.hlen()) > HardwareAddress::LENGTH_MAX {
        return Err(Reason::BadHardwareLength);
    }
    let hardware = HardwareAddress::new(message.htype().into(), message.chaddr())
        .ok_or(Reason::BadHardwareLength)?;
    if hardware.hardware_type() == HardwareAddress::ETHERNET
        && !matches!(hardware.bytes().len(), 0 | 6)
    {
        return Err(Reason::BadHardwareLength);
    }
    if cookie != MAGIC {
        return Err(Reason::BadCookie);
    }
    if message.hops() > HOPS_MAX {
        return Err(Reason::TooManyHops);
    }
    let fields = &OptionFields::check(options, file, sname)?;
    let message_type = message_type(fields)?;
    let request = Request {
        arrival,
        message_type,
        hops: message.hops(),
        xid: message.xid(),
        secs: message.secs(),
        flags: message.flags().into(),
        ciaddr: message.ciaddr(),
        giaddr: message.giaddr(),
        hardware,
        chaddr,
        client_identifier: client_identifier(fields)?,
        requested_address: address(fields, code::REQUESTED_ADDRESS)?,
        server_identifier: address(fields, code::SERVER_IDENTIFIER)?,
        parameter_request_list: fields
            .find(code::PARAMETER_REQUEST_LIST)
            .map_or_else(Octets::default, |option| option.to_owned()),
        maximum_message_size: fixed(fields, code::MAXIMUM_MESSAGE_SIZE)?.map(u16::from_be_bytes),
        requested_lifetime_seconds: fixed(fields, code::LEASE_TIME)?.map(u32::from_be_bytes),
        host_name: host_name(fields),
        subnet_selection: address(fields, code::SUBNET_SELECTION)?,
        // With contents it is not the option of RFC 4039; the client then gets an offer as ever.
        rapid_commit: fields.find(code::RAPID_COMMIT).is_some_and(|option| option.len() == 0),
        relay_agent: relay_agent(fields)?,
        kept_options: fields.keep(kept),
    };
    if request.relay_agent.is_some() && request.giaddr.is_unspecified() && arrival.attached {
        return Err(Reason::RelayAgentInformationWithoutRelay);
    }
    if request.client_identifier.is_none() && request.hardware.is_zero() {
        return Err(Reason::NoIdentity);
    }
    Ok(request)
}

fn message_type(fields: &OptionFields<'_>) -> Result<MessageType, Reason> {
    let option = fields.find(code::MESSAGE_TYPE).ok_or(Reason::Bootp)?;
    let [number] = option.fixed().ok_or(Reason::BadMessageType)?;
    match MessageType::from_number(number) {
        Some(
            sent_by_clients @ (MessageType::Discover
            | MessageType::Request
            | MessageType::Decline
            | MessageType::Release
            | MessageType::Inform),
        ) => Ok(sent_by_clients),
        _ => Err(Reason::BadMessageType),
    }
}

/// The contents of an option that the decision depends on, and that has one right length.
fn fixed<const N: usize>(fields: &OptionFields<'_>, code: u8) -> Result<Option<[u8; N]>, Reason> {
    fields.find(code).map(|option| option.fixed().ok_or(Reason::BadOptionLength)).transpose()
}

fn address(fields: &OptionFields<'_>, code: u8) -> Result<Option<Ipv4Addr>, Reason> {
    Ok(fixed::<4>(fields, code)?.map(Ipv4Addr::from))
}

fn client_identifier(fields: &OptionFields<'_>) -> Result<Option<Box<[u8]>>, Reason> {
    let Some(option) = fields.find(code::CLIENT_IDENTIFIER) else { return Ok(None) };
    match option.len() {
        0 => Ok(None),
        1..=CLIENT_IDENTIFIER_LENGTH_MAX => Ok(Some(option.to_owned().into())),
        _ => Err(Reason::BadOptionLength),
    }
}

/// The host name as bytes: many are not UTF-8, and some end in NULs.
fn host_name(fields: &OptionFields<'_>) -> Option<Octets> {
    let name = fields.find(code::HOST_NAME)?.to_owned();
    let name = name.get(..HOST_NAME_LENGTH_MAX).unwrap_or(&name);
    let length = name.iter().rposition(|byte| *byte != 0)? + 1;
    name.get(..length).map(Octets::new)
}

fn relay_agent(fields: &OptionFields<'_>) -> Result<Option<RelayAgentInformation>, Reason> {
    let Some(option) = fields.find(code::RELAY_AGENT_INFORMATION) else { return Ok(None) };
    let contents = option.to_owned();
    RelayAgentInformation::parse(&contents).map(Some).ok_or(Reason::BadRelayAgentInformation)
}
