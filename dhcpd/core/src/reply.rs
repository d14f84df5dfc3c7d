//! A reply as the core decides it: fields, options in the order of emission, and where it goes.
//!
//! The encoder turns it into bytes: it fits the options into the client's message size (with option
//! overload where it must), splits long ones (RFC 3396), puts option 82 last and pads to 300 bytes.

use crate::{HardwareAddress, MessageType, Octets, SocketIndex};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where a reply goes (RFC 2131 section 4.1, RFC 1542 section 4.1.2, RFC 8357).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the relay: giaddr, port 67, or the port that it sent from if it asked for that.
    Relay(SocketAddrV4),
    /// To an address that the client already uses, port 68.
    Client(Ipv4Addr),
    /// To a client on an attached LAN that has no address yet: its new address on the IP level, its
    /// hardware address on the link, without ARP. Port 68.
    Unconfigured {
        /// The address that the client is about to get.
        address: Ipv4Addr,
        /// Where the frame goes.
        hardware: HardwareAddress,
    },
    /// To everybody on the attached LAN that the request came from, port 68.
    Broadcast,
}

/// A reply of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// OFFER, ACK or NAK.
    pub message_type: MessageType,
    /// The socket that it leaves by: the one the request came in by.
    pub socket: SocketIndex,
    /// The address that it leaves from, port 67: the one the request was sent to.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Destination,
    /// Echoed transaction identifier.
    pub xid: u32,
    /// Echoed flags; the broadcast bit is set in NAKs that a relay has to broadcast.
    pub flags: u16,
    /// The client's address, in ACKs to clients that use one.
    pub ciaddr: Ipv4Addr,
    /// The address that is offered or acknowledged.
    pub yiaddr: Ipv4Addr,
    /// The next server in bootstrap; 0.0.0.0 if none.
    pub siaddr: Ipv4Addr,
    /// Echoed relay address.
    pub giaddr: Ipv4Addr,
    /// Echoed hardware address (type and length go into `htype` and `hlen`).
    pub hardware: HardwareAddress,
    /// Echoed 16 bytes of `chaddr`.
    pub chaddr: [u8; 16],
    /// Options in the order of emission, message type first, option 82 not among them.
    pub options: Vec<(u8, Octets)>,
    /// The contents of option 82, echoed byte for byte as the last option.
    pub relay_agent: Option<Octets>,
    /// The largest message that the client takes, in bytes of IP packet (option 57 within
    /// [`MESSAGE_SIZE_MIN`](crate::limits::MESSAGE_SIZE_MIN) and
    /// [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX)).
    pub message_size_max: u16,
}

impl Reply {
    /// The contents of one of its options.
    #[must_use]
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(candidate, _)| *candidate == code)
            .map(|(_, contents)| &**contents)
    }
}
