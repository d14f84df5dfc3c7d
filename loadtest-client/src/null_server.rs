//! A responder that answers from nothing: it keeps no leases and reads no configuration, and so shows
//! what the host itself can do, and what a load client costs when the server costs next to nothing.
//!
//! One thread. Every DISCOVER gets an OFFER, every REQUEST an ACK, of an address that follows from the
//! hardware address, to where the packet came from. It promises that a hardware address always gets
//! the same address, and that no bytes make it panic. It echoes no option 82 and is no DHCP server: never
//! let real clients reach it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::engine::batch::{self, Receiver, Sender};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the flag that ends it is looked at while nothing comes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Where options begin.
const OPTIONS_START: usize = 240;
/// Bytes of every reply (RFC 1542 section 2.1).
const REPLY_LENGTH: usize = 300;

/// What it answers.
#[derive(Clone, Copy, Debug)]
pub struct NullServer {
    /// Its address; port 0 for any that is free.
    pub listen: SocketAddrV4,
    /// The first of the addresses that it gives; the number of a client is added to it.
    pub first_address: Ipv4Addr,
    /// Lifetime of its leases, in seconds.
    pub lifetime_seconds: u32,
}

/// What it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Packets that came.
    pub received: u64,
    /// Replies that went out.
    pub sent: u64,
    /// Packets that the kernel dropped before they could be read.
    pub kernel_drops: u64,
}

/// A null server with its socket.
#[derive(Debug)]
pub struct Listening {
    server: NullServer,
    socket: UdpSocket,
}

impl NullServer {
    /// Binds its socket.
    ///
    /// # Errors
    /// The address is not ours, or its port is taken.
    pub fn bind(self) -> io::Result<Listening> {
        let socket = batch::socket(self.listen)?;
        socket.set_read_timeout(Some(LOOK_AGAIN))?;
        Ok(Listening { server: self, socket })
    }
}

impl Listening {
    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddrV4> {
        match self.socket.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Answers until `end` is set.
    ///
    /// # Errors
    /// The socket cannot be read.
    pub fn serve(&self, end: &AtomicBool) -> io::Result<Served> {
        let (mut receiver, mut sender) = (Receiver::default(), Sender::default());
        let mut served = Served::default();
        let mut drops = 0;
        while !end.load(Ordering::Relaxed) {
            receiver.receive(&self.socket, true)?;
            for packet in receiver.packets() {
                served.received += 1;
                served.kernel_drops += u64::from(packet.drops.wrapping_sub(drops));
                drops = packet.drops;
                // A batch is never larger than what the sender holds.
                if let Some(reply) = self.reply(packet.bytes) {
                    sender.add(None, packet.from, |bytes| bytes.extend_from_slice(&reply));
                }
            }
            // A client that is gone is no trouble of ours; the count shows what did not leave.
            served.sent += sender.flush(&self.socket, |_| ()) as u64;
        }
        Ok(served)
    }

    fn reply(&self, request: &[u8]) -> Option<[u8; REPLY_LENGTH]> {
        let kind = match message_type(request.get(OPTIONS_START..)?)? {
            1 => 2,
            3 => 5,
            _ => return None,
        };
        let mut reply = [0; REPLY_LENGTH];
        let (fixed, options) = reply.split_at_mut_checked(OPTIONS_START)?;
        fixed.copy_from_slice(request.get(..OPTIONS_START)?);
        *fixed.first_mut()? = 2;
        let number = u32::from_be_bytes(request.get(30..34)?.try_into().ok()?);
        let address = u32::from(self.server.first_address).wrapping_add(number);
        fixed.get_mut(16..20)?.copy_from_slice(&address.to_be_bytes());
        let [a, b, c, d] = self.server.listen.ip().octets();
        let [e, f, g, h] = self.server.lifetime_seconds.to_be_bytes();
        let values = [53, 1, kind, 54, 4, a, b, c, d, 51, 4, e, f, g, h, 255];
        options.get_mut(..values.len())?.copy_from_slice(&values);
        Some(reply)
    }
}

/// The message type; in most clients' messages it is the first option.
fn message_type(mut options: &[u8]) -> Option<u8> {
    loop {
        match options {
            [53, 1, kind, ..] => return Some(*kind),
            [0, rest @ ..] => options = rest,
            [255, ..] => return None,
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}
