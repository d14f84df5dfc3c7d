//! A decoded message of a client, as the core takes it.

use crate::{ClientIdentifier, HardwareAddress, KeptOptions, Octets, RelayAgentInformation};
use std::net::{Ipv4Addr, SocketAddrV4};

/// DHCP message types (RFC 2132 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// DHCPDISCOVER.
    Discover = 1,
    /// DHCPOFFER.
    Offer = 2,
    /// DHCPREQUEST.
    Request = 3,
    /// DHCPDECLINE.
    Decline = 4,
    /// DHCPACK.
    Ack = 5,
    /// DHCPNAK.
    Nak = 6,
    /// DHCPRELEASE.
    Release = 7,
    /// DHCPINFORM.
    Inform = 8,
}

impl MessageType {
    /// The type with this number; `None` for those that neither clients nor this server send.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }

    /// Its name as the RFC writes it, in lower case without the prefix: what metrics and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Offer => "offer",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Ack => "ack",
            Self::Nak => "nak",
            Self::Release => "release",
            Self::Inform => "inform",
        }
    }
}

/// Which of the shell's sockets a packet came in by; its reply leaves by the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketIndex(pub u16);

/// How a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The socket it came in by.
    pub socket: SocketIndex,
    /// Our address that it was sent to, or, if it was broadcast, our address on that interface: the
    /// server identifier and the source of the reply.
    pub local_address: Ipv4Addr,
    /// Who sent it, as its IP and UDP headers say.
    pub source: SocketAddrV4,
    /// Whether it was sent to the broadcast address rather than to one of ours.
    pub broadcast: bool,
    /// Whether it came from an attached LAN (`server.interfaces`): a client without an address can
    /// then be answered on the link itself.
    pub attached: bool,
}

/// A message of a client: what passed the decoder and is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it arrived.
    pub arrival: Arrival,
    /// What it is. The decoder lets only the five types pass that clients send.
    pub message_type: MessageType,
    /// Relays that it passed.
    pub hops: u8,
    /// Transaction identifier.
    pub xid: u32,
    /// Seconds since the client began, as it says.
    pub secs: u16,
    /// The flags field; the highest bit asks for a broadcast reply.
    pub flags: u16,
    /// The client's address, if it has one that it may use.
    pub ciaddr: Ipv4Addr,
    /// The relay's address on the client's link; 0.0.0.0 if none relayed it.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub hardware: HardwareAddress,
    /// The 16 bytes of `chaddr` as they came, for the echo.
    pub chaddr: [u8; 16],
    /// Option 61. Not empty.
    pub client_identifier: Option<Box<[u8]>>,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
    /// Option 55, in the client's order.
    pub parameter_request_list: Octets,
    /// Option 57.
    pub maximum_message_size: Option<u16>,
    /// Option 51, in seconds.
    pub requested_lifetime_seconds: Option<u32>,
    /// Option 12.
    pub host_name: Option<Octets>,
    /// Option 118 (RFC 3011).
    pub subnet_selection: Option<Ipv4Addr>,
    /// Option 80 (RFC 4039).
    pub rapid_commit: bool,
    /// Option 82 (RFC 3046).
    pub relay_agent: Option<RelayAgentInformation>,
    /// Options that classes of clients look at.
    pub kept_options: KeptOptions,
}

impl Request {
    /// The highest bit of `flags`: the client cannot take a unicast reply before it is configured.
    pub const FLAG_BROADCAST: u16 = 0x8000;

    /// What the client's lease belongs to (RFC 2131 section 4.2).
    #[must_use]
    pub fn client(&self) -> ClientIdentifier {
        match &self.client_identifier {
            Some(identifier) => ClientIdentifier::Option61(identifier.clone()),
            None => ClientIdentifier::Hardware(self.hardware),
        }
    }

    /// Whether a relay forwarded it.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }

    /// Whether the client asked for a broadcast reply.
    #[must_use]
    pub const fn wants_broadcast(&self) -> bool {
        self.flags & Self::FLAG_BROADCAST != 0
    }
}
