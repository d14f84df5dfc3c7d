//! What a client sends and what a server answers, as bytes.
//!
//! It promises that no bytes make [`Reply::read`] panic. It writes the few options that a client
//! needs and reads the few that it obeys; everything else in a reply is left alone.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Bytes of the longest reply that is read: Ethernet's MTU.
pub const REPLY_LENGTH_MAX: usize = 1500;

/// An Ethernet address. Prints as `02:56:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hardware(pub [u8; 6]);

impl Hardware {
    /// The address of the client with this number: locally administered, and the number in it.
    #[must_use]
    pub const fn of_client(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        Self([0x02, 0x56, a, b, c, d])
    }

    /// The number in it; `None` if it is no address of ours.
    #[must_use]
    pub const fn client(self) -> Option<u32> {
        match self.0 {
            [0x02, 0x56, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Reads the form that [`fmt::Display`] writes.
impl FromStr for Hardware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Option<Vec<u8>> =
            text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| format!("'{text}' is not an Ethernet address"))
    }
}

/// What kind of message it is, of those that this client sends (RFC 2132 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DHCPDISCOVER.
    Discover = 1,
    /// DHCPREQUEST.
    Request = 3,
    /// DHCPRELEASE.
    Release = 7,
}

/// A message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Transaction identifier.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Whose it is.
    pub hardware: Hardware,
    /// The address that the client uses.
    pub ciaddr: Option<Ipv4Addr>,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
}

/// What the relay adds to a message.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// Its address on the clients' link.
    pub giaddr: Ipv4Addr,
    /// Whether it sends option 82 with a circuit that is the client's own.
    pub circuit_id: bool,
    /// Whether it asks for replies at the port that it sends from (RFC 8357).
    pub source_port: bool,
}

impl Message {
    /// Its bytes, as the relay passes it on.
    #[must_use]
    pub fn bytes(&self, relay: Relay) -> Vec<u8> {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let (op, ethernet, length, hops) = (1, 1, 6, 1);
        let mut bytes = vec![op, ethernet, length, hops];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        let flags = 0_u16;
        bytes.extend(flags.to_be_bytes());
        for address in [self.ciaddr.unwrap_or(unspecified), unspecified, unspecified, relay.giaddr]
        {
            bytes.extend(address.octets());
        }
        bytes.extend(self.hardware.0);
        bytes.resize(OPTIONS_START - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        bytes.extend([code::MESSAGE_TYPE, 1, self.kind as u8]);
        let addresses = [
            (code::REQUESTED_ADDRESS, self.requested_address),
            (code::SERVER_IDENTIFIER, self.server_identifier),
        ];
        for (code, address) in addresses {
            if let Some(address) = address {
                bytes.extend([code, 4]);
                bytes.extend(address.octets());
            }
        }
        bytes.extend([code::PARAMETER_REQUEST_LIST, 4, 1, 3, 6, 15]);
        relay.option(self.hardware, &mut bytes);
        bytes.push(code::END);
        bytes.resize(bytes.len().max(LENGTH_MIN), 0);
        bytes
    }
}

impl Relay {
    fn option(self, hardware: Hardware, bytes: &mut Vec<u8>) {
        let mut contents = Vec::new();
        if self.circuit_id {
            contents.extend([1, 6]);
            contents.extend(hardware.0);
        }
        if self.source_port {
            contents.extend([19, 0]);
        }
        if !contents.is_empty() {
            bytes.push(code::RELAY_AGENT_INFORMATION);
            bytes.extend(u8::try_from(contents.len()));
            bytes.extend(contents);
        }
    }
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// A server's message, as far as a client heeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: ReplyKind,
    /// Echoed transaction identifier.
    pub xid: u32,
    /// Echoed hardware address.
    pub hardware: Hardware,
    /// The address offered or acknowledged.
    pub yiaddr: Ipv4Addr,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
    /// Option 51, in seconds.
    pub lifetime_seconds: Option<u32>,
    /// Option 58 (T1), in seconds.
    pub renewal_seconds: Option<u32>,
    /// Option 59 (T2), in seconds.
    pub rebinding_seconds: Option<u32>,
}

impl Reply {
    /// Reads a reply; `None` if the bytes are none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let reply = 2;
        if *bytes.first()? != reply || bytes.get(OPTIONS_START - 4..OPTIONS_START)? != COOKIE {
            return None;
        }
        let options = Options { rest: bytes.get(OPTIONS_START..)? };
        let find = |wanted| options.clone().find(|(code, _)| *code == wanted).map(|(_, v)| v);
        let seconds = |wanted| Some(u32::from_be_bytes(find(wanted)?.try_into().ok()?));
        let kind = match find(code::MESSAGE_TYPE)? {
            [2] => ReplyKind::Offer,
            [5] => ReplyKind::Ack,
            [6] => ReplyKind::Nak,
            _ => return None,
        };
        let field = |from: usize| <[u8; 4]>::try_from(bytes.get(from..from + 4)?).ok();
        Some(Self {
            kind,
            xid: u32::from_be_bytes(field(4)?),
            hardware: Hardware(bytes.get(28..34)?.try_into().ok()?),
            yiaddr: Ipv4Addr::from(field(16)?),
            server_identifier: find(code::SERVER_IDENTIFIER)
                .and_then(|value| <[u8; 4]>::try_from(value).ok())
                .map(Ipv4Addr::from),
            lifetime_seconds: seconds(code::LEASE_TIME),
            renewal_seconds: seconds(code::RENEWAL_TIME),
            rebinding_seconds: seconds(code::REBINDING_TIME),
        })
    }
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where options begin: behind the fixed part and the cookie.
const OPTIONS_START: usize = 240;
/// What relays and old servers take at least (RFC 1542 section 2.1).
const LENGTH_MIN: usize = 300;

/// Option codes (RFC 2132; 82: RFC 3046).
mod code {
    pub(super) const REQUESTED_ADDRESS: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER_IDENTIFIER: u8 = 54;
    pub(super) const PARAMETER_REQUEST_LIST: u8 = 55;
    pub(super) const RENEWAL_TIME: u8 = 58;
    pub(super) const REBINDING_TIME: u8 = 59;
    pub(super) const RELAY_AGENT_INFORMATION: u8 = 82;
    pub(super) const END: u8 = 255;
}

/// The options of a reply, until End or until one does not fit.
#[derive(Clone)]
struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rest {
                [0, tail @ ..] => self.rest = tail,
                [code @ 1..=254, length, tail @ ..] => {
                    let (contents, tail) = tail.split_at_checked(usize::from(*length))?;
                    self.rest = tail;
                    return Some((*code, contents));
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_another_decoder_reads() {
        use dhcproto::v4::{DhcpOption, Message as Decoded, MessageType, OptionCode};
        use dhcproto::{Decodable as _, Decoder};
        let message = Message {
            kind: Kind::Request,
            xid: 0x0102_0304,
            secs: 5,
            hardware: Hardware::of_client(7),
            ciaddr: None,
            requested_address: Some(Ipv4Addr::new(10, 20, 0, 10)),
            server_identifier: Some(Ipv4Addr::new(10, 0, 0, 67)),
        };
        let giaddr = Ipv4Addr::new(10, 20, 0, 1);
        let bytes = message.bytes(Relay { giaddr, circuit_id: true, source_port: false });
        let decoded = Decoded::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!(decoded.opts().msg_type(), Some(MessageType::Request));
        assert_eq!((decoded.xid(), decoded.giaddr(), decoded.hops()), (0x0102_0304, giaddr, 1));
        assert_eq!(decoded.chaddr(), Hardware::of_client(7).0);
        let requested = decoded.opts().get(OptionCode::RequestedIpAddress);
        assert_eq!(requested, Some(&DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 20, 0, 10))));
        assert!(decoded.opts().get(OptionCode::RelayAgentInformation).is_some());
    }

    #[test]
    fn a_cut_reply_is_none_or_less_and_never_a_panic() {
        let message = Message {
            kind: Kind::Discover,
            xid: 1,
            secs: 0,
            hardware: Hardware::of_client(1),
            ciaddr: None,
            requested_address: None,
            server_identifier: None,
        };
        let relay = Relay { giaddr: Ipv4Addr::LOCALHOST, circuit_id: false, source_port: false };
        let mut bytes = message.bytes(relay);
        assert_eq!(Reply::read(&bytes), None, "a request is no reply");
        bytes[0] = 2;
        bytes[242] = 5;
        assert_eq!(Reply::read(&bytes).unwrap().kind, ReplyKind::Ack);
        for length in 0..bytes.len() {
            let cut = Reply::read(&bytes[..length]);
            assert!(length >= OPTIONS_START + 3 || cut.is_none());
        }
    }

    #[test]
    fn a_hardware_address_tells_whose_it_is() {
        let hardware = Hardware::of_client(0x0102_0304);
        assert_eq!(hardware.to_string(), "02:56:01:02:03:04");
        assert_eq!(hardware.to_string().parse(), Ok(hardware));
        assert_eq!(hardware.client(), Some(0x0102_0304));
        assert_eq!(Hardware([2, 0, 0, 0, 0, 1]).client(), None);
        assert!("02:56:01".parse::<Hardware>().is_err());
    }
}
