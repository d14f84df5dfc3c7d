//! Hand-written packets for the tests of `wire`: every byte is put where the RFC says.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::{Arrival, Destination, HardwareAddress, MessageType, Reply, SocketIndex};

/// The relay in front of the clients of these tests.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
/// The server.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
/// The client's hardware address.
pub(crate) const HARDWARE: [u8; 6] = [0x02, 0x00, 0x5e, 0x00, 0x53, 0x01];

/// As a relay's packet arrives.
pub(crate) const fn relayed() -> Arrival {
    Arrival {
        socket: SocketIndex(0),
        local_address: SERVER,
        source: SocketAddrV4::new(RELAY, 67),
        broadcast: false,
        attached: false,
    }
}

/// As a client's broadcast on an attached LAN arrives.
pub(crate) const fn attached() -> Arrival {
    Arrival {
        socket: SocketIndex(1),
        local_address: SERVER,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        broadcast: true,
        attached: true,
    }
}

/// A packet under construction.
pub(crate) struct Packet(pub(crate) Vec<u8>);

impl Packet {
    /// A request's fixed part and cookie, as a relay forwards it.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![1, 1, 6, 1, 0xde, 0xad, 0xbe, 0xef, 0, 3, 0, 0];
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&RELAY.octets());
        bytes.extend_from_slice(&HARDWARE);
        bytes.extend_from_slice(&[0; 10 + 64 + 128]);
        bytes.extend_from_slice(&[99, 130, 83, 99]);
        Self(bytes)
    }

    /// As [`Packet::new`], with the message type.
    pub(crate) fn of(message_type: u8) -> Self {
        Self::new().option(53, &[message_type])
    }

    /// Appends an option.
    pub(crate) fn option(mut self, code: u8, contents: &[u8]) -> Self {
        self.0.push(code);
        self.0.push(u8::try_from(contents.len()).unwrap());
        self.0.extend_from_slice(contents);
        self
    }

    /// Overwrites bytes at an offset.
    pub(crate) fn at(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Ends the options and gives the bytes.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[255]).0
    }
}

/// An ACK to the client of these tests without any options but the mandatory ones.
pub(crate) fn ack(options: Vec<(u8, Vec<u8>)>) -> Reply {
    let mandatory = [
        (53, vec![5]),
        (54, SERVER.octets().to_vec()),
        (51, 3600u32.to_be_bytes().to_vec()),
        (58, 1800u32.to_be_bytes().to_vec()),
        (59, 3150u32.to_be_bytes().to_vec()),
        (1, vec![255, 255, 252, 0]),
    ];
    Reply {
        message_type: MessageType::Ack,
        socket: SocketIndex(0),
        source: SERVER,
        destination: Destination::Relay(SocketAddrV4::new(RELAY, 67)),
        xid: 0xdead_beef,
        flags: 0x8000,
        ciaddr: Ipv4Addr::new(10, 20, 0, 9),
        yiaddr: Ipv4Addr::new(10, 20, 3, 7),
        siaddr: Ipv4Addr::new(10, 0, 0, 69),
        giaddr: RELAY,
        hardware: HardwareAddress::ethernet(HARDWARE),
        chaddr: {
            let mut chaddr = [0; 16];
            chaddr[..6].copy_from_slice(&HARDWARE);
            chaddr
        },
        options: mandatory
            .into_iter()
            .chain(options)
            .map(|(code, contents)| (code, contents.into()))
            .collect(),
        relay_agent: None,
        message_size_max: 576,
    }
}
