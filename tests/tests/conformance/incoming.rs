//! A packet to the server as it is written in a case, and its bytes.
//!
//! It writes bytes of its own, with no help from the decoder under test or a library, because it
//! must also be able to write what no library would.

use super::field::{address, hexadecimal, number};
use super::option;
use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::{Arrival, SocketIndex};

/// The address of the server that relays and renewing clients send to, in every configuration.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// The first line.
    pub(crate) title: String,
    pub(crate) arrival: Arrival,
    pub(crate) bytes: Vec<u8>,
}

struct Fields {
    op: u8,
    hardware_type: u8,
    hardware_length: Option<u8>,
    hops: u8,
    xid: u32,
    secs: u16,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: Vec<u8>,
    sname: Vec<u8>,
    file: Vec<u8>,
    cookie: Vec<u8>,
    options: Vec<u8>,
    has_end: bool,
    cut: Option<usize>,
    pad: Option<usize>,
}

impl Incoming {
    /// Reads `TYPE arrival` and the lines below it.
    pub(crate) fn read(lines: &[String]) -> Result<Self, String> {
        let (title, lines) = lines.split_first().ok_or("a packet without a line")?;
        let (kind, way) = title.split_once(' ').ok_or("write a packet as 'DISCOVER relayed by'")?;
        let (arrival, giaddr) = arrival(way)?;
        let mut fields = Fields::new(giaddr);
        if kind != "BOOTP" {
            fields.option(53, &[message_type(kind)?]);
        }
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            fields.set(name, value)?;
        }
        Ok(Self { title: title.clone(), arrival, bytes: fields.bytes() })
    }
}

fn message_type(kind: &str) -> Result<u8, String> {
    let names = ["DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"];
    match names.iter().position(|name| *name == kind) {
        Some(position) => u8::try_from(position + 1).map_err(|error| error.to_string()),
        None => number(kind.strip_prefix("TYPE-").unwrap_or(kind)),
    }
}

/// How a packet arrives, and the giaddr that goes with it.
fn arrival(way: &str) -> Result<(Arrival, Ipv4Addr), String> {
    let none = Ipv4Addr::UNSPECIFIED;
    let arrival = |local_address, source, broadcast, attached| Arrival {
        socket: SocketIndex(0),
        local_address,
        source,
        broadcast,
        attached,
    };
    if let Some(relay) = way.strip_prefix("relayed by ") {
        let (relay, port) = match relay.split_once(':') {
            Some((relay, port)) => (address(relay)?, number(port)?),
            None => (address(relay)?, 67),
        };
        return Ok((arrival(SERVER, SocketAddrV4::new(relay, port), false, false), relay));
    }
    if let Some(client) = way.strip_prefix("unicast from ") {
        let source = SocketAddrV4::new(address(client)?, 68);
        return Ok((arrival(SERVER, source, false, false), none));
    }
    if let Some(ours) = way.strip_prefix("broadcast on the LAN of ") {
        return Ok((arrival(address(ours)?, SocketAddrV4::new(none, 68), true, true), none));
    }
    if let Some(rest) = way.strip_prefix("unicast on the LAN of ") {
        let (ours, client) = rest.split_once(" from ").ok_or("unicast on the LAN from whom?")?;
        let source = SocketAddrV4::new(address(client)?, 68);
        return Ok((arrival(address(ours)?, source, false, true), none));
    }
    Err(format!("'{way}' is no way for a packet to arrive"))
}

impl Fields {
    fn new(giaddr: Ipv4Addr) -> Self {
        Self {
            op: 1,
            hardware_type: 1,
            hardware_length: None,
            hops: u8::from(!giaddr.is_unspecified()),
            xid: 1,
            secs: 0,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr,
            chaddr: Vec::new(),
            sname: Vec::new(),
            file: Vec::new(),
            cookie: vec![99, 130, 83, 99],
            options: Vec::new(),
            has_end: true,
            cut: None,
            pad: None,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "op" => self.op = number(value)?,
            "htype" => self.hardware_type = number(value)?,
            "hlen" => self.hardware_length = Some(number(value)?),
            "hops" => self.hops = number(value)?,
            "xid" => self.xid = number(value)?,
            "secs" => self.secs = number(value)?,
            "flags" if value == "broadcast" => self.flags = 0x8000,
            "ciaddr" => self.ciaddr = address(value)?,
            "giaddr" => self.giaddr = address(value)?,
            "chaddr" => self.chaddr = hexadecimal(value)?,
            "sname" => self.sname = hexadecimal(value)?,
            "file" => self.file = hexadecimal(value)?,
            "cookie" => self.cookie = hexadecimal(value)?,
            "option-bytes" => self.options.extend(hexadecimal(value)?),
            "no-end" => self.has_end = false,
            "cut-to" => self.cut = Some(number(value)?),
            "padded-to" => self.pad = Some(number(value)?),
            _ => {
                let (code, contents) = option::read(&format!("{name} {value}"))?;
                self.option(code, &contents);
            }
        }
        Ok(())
    }

    /// Appends an option, in pieces if it is long (RFC 3396).
    fn option(&mut self, code: u8, contents: &[u8]) {
        let pieces: Vec<&[u8]> =
            if contents.is_empty() { vec![contents] } else { contents.chunks(255).collect() };
        for piece in pieces {
            self.options.push(code);
            self.options.extend(u8::try_from(piece.len()));
            self.options.extend_from_slice(piece);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let hardware_length =
            self.hardware_length.unwrap_or(u8::try_from(self.chaddr.len()).unwrap_or(u8::MAX));
        let mut bytes = vec![self.op, self.hardware_type, hardware_length, self.hops];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend([0; 8]);
        bytes.extend(self.giaddr.octets());
        for (field, length) in [(&self.chaddr, 16), (&self.sname, 64), (&self.file, 128)] {
            let mut field = field.clone();
            field.resize(length, 0);
            bytes.extend(field);
        }
        bytes.extend(&self.cookie);
        bytes.extend(&self.options);
        if self.has_end {
            bytes.push(255);
        }
        if let Some(length) = self.pad {
            bytes.resize(length.max(bytes.len()), 0);
        }
        if let Some(length) = self.cut {
            bytes.truncate(length);
        }
        bytes
    }
}
