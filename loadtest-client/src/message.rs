//! What a client sends and what a server answers, as bytes.
//!
//! It promises that no bytes make [`Reply::read`] panic. It writes the few options that a client
//! needs and reads the few that it obeys; everything else in a reply is left alone.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Bytes of the longest reply that is read: Ethernet's MTU.
pub const REPLY_LENGTH_MAX: usize = 1500;

/// Bytes of the longest message that [`Message::append`] writes.
pub const MESSAGE_LENGTH_MAX: usize = 320;

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

impl Serialize for Hardware {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hardware {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What kind of message it is, of those that this client sends (RFC 2132 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DHCPDISCOVER.
    Discover = 1,
    /// DHCPREQUEST.
    Request = 3,
    /// DHCPDECLINE.
    Decline = 4,
    /// DHCPRELEASE.
    Release = 7,
    /// DHCPINFORM.
    Inform = 8,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its address on the clients' link.
    pub giaddr: Ipv4Addr,
    /// Relays that the message has passed, this one included.
    pub hops: u8,
    /// Whether it sends option 82 with a circuit that is the client's own.
    pub circuit_id: bool,
    /// Whether it sends option 82 with a remote identifier that is the client's own.
    pub remote_id: bool,
    /// The link that it names as the client's, if not that of `giaddr` (RFC 3527).
    pub link_selection: Option<Ipv4Addr>,
    /// Whether it asks to be named as the server, so that renewals pass it too (RFC 5107).
    pub server_identifier_override: bool,
    /// Whether it asks for replies at the port that it sends from (RFC 8357).
    pub source_port: bool,
}

impl Relay {
    /// A relay that adds its address and nothing else.
    #[must_use]
    pub const fn new(giaddr: Ipv4Addr) -> Self {
        Self {
            giaddr,
            hops: 1,
            circuit_id: false,
            remote_id: false,
            link_selection: None,
            server_identifier_override: false,
            source_port: false,
        }
    }

    fn option(&self, hardware: Hardware, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend([code::RELAY_AGENT_INFORMATION, 0]);
        if self.circuit_id {
            bytes.extend([1, 6]);
            bytes.extend(hardware.0);
        }
        if self.remote_id {
            bytes.extend([2, 7, b'r']);
            bytes.extend(hardware.0);
        }
        if let Some(link) = self.link_selection {
            bytes.extend([5, 4]);
            bytes.extend(link.octets());
        }
        if self.server_identifier_override {
            bytes.extend([11, 4]);
            bytes.extend(self.giaddr.octets());
        }
        if self.source_port {
            bytes.extend([19, 0]);
        }
        let length = u8::try_from(bytes.len() - start - 2).unwrap_or(0);
        match bytes.get_mut(start + 1) {
            Some(byte) if length > 0 => *byte = length,
            _ => bytes.truncate(start),
        }
    }
}

impl Message {
    /// Its bytes, as the relay passes it on.
    #[must_use]
    pub fn bytes(&self, relay: Relay) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MESSAGE_LENGTH_MAX);
        self.append(Some(&relay), &mut bytes);
        bytes
    }

    /// Appends its bytes, at most [`MESSAGE_LENGTH_MAX`], to others: as a relay passes it on, or,
    /// without one, as the client sends it itself.
    pub fn append(&self, relay: Option<&Relay>, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let (op, ethernet, length) = (1, 1, 6);
        bytes.extend([op, ethernet, length, relay.map_or(0, |relay| relay.hops)]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        let flags = 0_u16;
        bytes.extend(flags.to_be_bytes());
        let giaddr = relay.map_or(unspecified, |relay| relay.giaddr);
        for address in [self.ciaddr.unwrap_or(unspecified), unspecified, unspecified, giaddr] {
            bytes.extend(address.octets());
        }
        bytes.extend(self.hardware.0);
        bytes.resize(start + OPTIONS_START - COOKIE.len(), 0);
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
        // RFC 2131 table 5: whoever gives an address back asks for nothing.
        if !matches!(self.kind, Kind::Decline | Kind::Release) {
            bytes.extend([code::PARAMETER_REQUEST_LIST, 4, 1, 3, 6, 15]);
        }
        if let Some(relay) = relay {
            relay.option(self.hardware, bytes);
        }
        bytes.push(code::END);
        bytes.resize(bytes.len().max(start + LENGTH_MIN), 0);
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
    /// Echoed address of the relay; unspecified if the request passed none.
    pub giaddr: Ipv4Addr,
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
        let field = |from: usize| <[u8; 4]>::try_from(bytes.get(from..from + 4)?).ok();
        let mut kind = None;
        let mut values = [None; 4];
        for (code, contents) in (Options { rest: bytes.get(OPTIONS_START..)? }) {
            let place = match code {
                // The first one counts, as everywhere.
                code::MESSAGE_TYPE if kind.is_none() => {
                    kind = Some(contents);
                    continue;
                }
                code::SERVER_IDENTIFIER => 0,
                code::LEASE_TIME => 1,
                code::RENEWAL_TIME => 2,
                code::REBINDING_TIME => 3,
                _ => continue,
            };
            if let Some(value) = values.get_mut(place)
                && value.is_none()
            {
                *value = <[u8; 4]>::try_from(contents).ok();
            }
        }
        let kind = match kind? {
            [2] => ReplyKind::Offer,
            [5] => ReplyKind::Ack,
            [6] => ReplyKind::Nak,
            _ => return None,
        };
        let [server, lifetime, renewal, rebinding] = values;
        Some(Self {
            kind,
            xid: u32::from_be_bytes(field(4)?),
            hardware: Hardware(bytes.get(28..34)?.try_into().ok()?),
            yiaddr: Ipv4Addr::from(field(16)?),
            giaddr: Ipv4Addr::from(field(24)?),
            server_identifier: server.map(Ipv4Addr::from),
            lifetime_seconds: lifetime.map(u32::from_be_bytes),
            renewal_seconds: renewal.map(u32::from_be_bytes),
            rebinding_seconds: rebinding.map(u32::from_be_bytes),
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

    use dhcproto::v4::relay::{RelayCode, RelayInfo};
    use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
    use dhcproto::{Decodable as _, Decoder};

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 10);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
    const GIADDR: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

    /// What another decoder reads.
    fn decoded(message: &Message, relay: Option<&Relay>) -> v4::Message {
        let mut bytes = vec![7; 5];
        message.append(relay, &mut bytes);
        assert!((LENGTH_MIN..=MESSAGE_LENGTH_MAX).contains(&(bytes.len() - 5)));
        v4::Message::decode(&mut Decoder::new(&bytes[5..])).unwrap()
    }

    fn codes(message: &v4::Message) -> Vec<OptionCode> {
        let mut codes: Vec<OptionCode> = message.opts().iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes
    }

    /// RFC 2131 table 5, row by row, with what the client itself makes in each state.
    #[test]
    fn every_message_of_a_client_has_the_options_of_its_kind_and_no_other() {
        use crate::client::{Client, Manner};
        use OptionCode::{
            MessageType as Kind53, ParameterRequestList, RequestedIpAddress, ServerIdentifier,
        };
        let hardware = Hardware::of_client(7);
        let mut client = Client::new(hardware, Manner::default(), 1);
        let reply = |kind, xid| Reply {
            kind,
            xid,
            hardware,
            yiaddr: CLIENT,
            giaddr: GIADDR,
            server_identifier: Some(SERVER),
            lifetime_seconds: Some(3600),
            renewal_seconds: None,
            rebinding_seconds: None,
        };
        let discover = client.begin(0);
        let request = client.on_reply(0, &reply(ReplyKind::Offer, discover.xid)).0.unwrap();
        client.on_reply(0, &reply(ReplyKind::Ack, request.xid));
        let mut other = client.clone();
        let inform = other.inform(1).unwrap();
        let reboot = client.clone().reboot(1);
        let release = client.clone().release().unwrap();
        let decline = client.clone().decline(1).unwrap();
        let renew = client.on_time(1_800_000).0.unwrap();
        let rebind = client.on_time(3_150_000).0.unwrap();
        let asked = |server: bool| match server {
            true => vec![RequestedIpAddress, Kind53, ServerIdentifier, ParameterRequestList],
            false => vec![RequestedIpAddress, Kind53, ParameterRequestList],
        };
        let plain = vec![Kind53, ParameterRequestList];
        for (message, kind, ciaddr, options) in [
            (discover, MessageType::Discover, None, plain.clone()),
            (request, MessageType::Request, None, asked(true)),
            (reboot, MessageType::Request, None, asked(false)),
            (renew, MessageType::Request, Some(CLIENT), plain.clone()),
            (rebind, MessageType::Request, Some(CLIENT), plain.clone()),
            (inform, MessageType::Inform, Some(CLIENT), plain),
            (release, MessageType::Release, Some(CLIENT), vec![Kind53, ServerIdentifier]),
            (
                decline,
                MessageType::Decline,
                None,
                vec![RequestedIpAddress, Kind53, ServerIdentifier],
            ),
        ] {
            let read = decoded(&message, None);
            assert_eq!(read.opts().msg_type(), Some(kind));
            assert_eq!(codes(&read), options, "{kind:?}");
            assert_eq!((read.opcode(), read.htype()), (v4::Opcode::BootRequest, v4::HType::Eth));
            assert_eq!((read.xid(), read.secs()), (message.xid, message.secs));
            assert_eq!(read.chaddr(), hardware.0);
            assert_eq!(read.ciaddr(), ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED), "{kind:?}");
            let nowhere = Ipv4Addr::UNSPECIFIED;
            assert_eq!((read.yiaddr(), read.siaddr(), read.giaddr()), (nowhere, nowhere, nowhere));
            for (_, option) in read.opts().iter() {
                match option {
                    DhcpOption::RequestedIpAddress(address) => assert_eq!(*address, CLIENT),
                    DhcpOption::ServerIdentifier(address) => assert_eq!(*address, SERVER),
                    DhcpOption::ParameterRequestList(list) => assert_eq!(
                        *list,
                        [
                            OptionCode::SubnetMask,
                            OptionCode::Router,
                            OptionCode::DomainNameServer,
                            OptionCode::DomainName
                        ]
                    ),
                    DhcpOption::MessageType(found) => assert_eq!(*found, kind),
                    other => panic!("{other:?}"),
                }
            }
        }
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
        let mut bytes = message.bytes(Relay::new(Ipv4Addr::LOCALHOST));
        assert_eq!(Reply::read(&bytes), None, "a request is no reply");
        bytes[0] = 2;
        bytes[242] = 5;
        assert_eq!(Reply::read(&bytes).unwrap().kind, ReplyKind::Ack);
        for length in 0..bytes.len() {
            let cut = Reply::read(&bytes[..length]);
            assert!(length >= OPTIONS_START + 3 || cut.is_none());
        }
    }

    /// Each thing that a relay can add, alone: what is there is what it was told, and nothing else.
    #[test]
    fn a_relay_adds_what_it_is_told_and_nothing_else() {
        let message = Message {
            kind: Kind::Request,
            xid: 1,
            secs: 0,
            hardware: Hardware::of_client(7),
            ciaddr: Some(CLIENT),
            requested_address: Some(CLIENT),
            server_identifier: Some(SERVER),
        };
        let link = Ipv4Addr::new(10, 21, 0, 0);
        let bare = Relay::new(GIADDR);
        let read = decoded(&message, Some(&bare));
        assert_eq!((read.hops(), read.giaddr()), (1, GIADDR));
        assert!(read.opts().get(OptionCode::RelayAgentInformation).is_none());
        let hardware = Hardware::of_client(7).0;
        let remote: Vec<u8> = [b'r'].into_iter().chain(hardware).collect();
        let all = Relay {
            circuit_id: true,
            remote_id: true,
            link_selection: Some(link),
            server_identifier_override: true,
            source_port: true,
            ..bare
        };
        let expected = [
            (Relay { circuit_id: true, ..bare }, RelayInfo::AgentCircuitId(hardware.to_vec())),
            (Relay { remote_id: true, ..bare }, RelayInfo::AgentRemoteId(remote)),
            (Relay { link_selection: Some(link), ..bare }, RelayInfo::LinkSelection(link)),
            (
                Relay { server_identifier_override: true, ..bare },
                RelayInfo::ServerIdentifierOverride(GIADDR),
            ),
            (
                Relay { source_port: true, ..bare },
                RelayInfo::Unknown(v4::relay::UnknownInfo::new(RelayCode::Unknown(19), vec![])),
            ),
        ];
        let option = |relay: &Relay| {
            let read = decoded(&message, Some(relay));
            match read.opts().get(OptionCode::RelayAgentInformation) {
                Some(DhcpOption::RelayAgentInformation(option)) => option.clone(),
                _ => panic!("no option 82"),
            }
        };
        for (relay, info) in &expected {
            assert_eq!(option(relay).iter().map(|(_, info)| info).collect::<Vec<_>>(), [info]);
        }
        let together = option(&all);
        for (_, info) in &expected {
            assert!(together.iter().any(|(_, found)| found == info), "{info:?}");
        }
        assert_eq!(together.iter().count(), expected.len());
        for hops in [0, 3, 16] {
            assert_eq!(decoded(&message, Some(&Relay { hops, ..bare })).hops(), hops);
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
