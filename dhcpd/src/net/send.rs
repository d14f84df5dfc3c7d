//! Replies out: in batches, by the socket and from the address that the request came to.
//!
//! It promises that every reply either went to the kernel or has an error number, counted and told
//! to the caller; that one bad reply costs only itself; and that a full send buffer holds the caller
//! up once, for [`SEND_WAIT`] at most. It never chooses where a reply goes, and never resends.

use super::frame;
use super::open::{Shared, Unicast};
use super::system::{self, BATCH_PACKETS_MAX, Datagram, Target};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::{Destination, HardwareAddress, SocketIndex};

/// How long one call of [`Sender::send`] waits for room in a send buffer.
pub const SEND_WAIT: Duration = Duration::from_millis(20);

/// One reply on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The encoded message.
    pub bytes: &'a [u8],
    /// The socket that the request came in by.
    pub socket: SocketIndex,
    /// The address that the request was sent to: the reply's source.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Destination,
}

/// The sending half. Cheap to clone; threads may send at once.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends a batch. `on_error` gets the position in the batch and the error number of each reply
    /// that the kernel refused; [`explain`](super::explain) says what the number means. `EDESTADDRREQ`
    /// is our own: a client without an address cannot be reached through a relays' socket.
    pub fn send(&self, batch: &[Outgoing<'_>], mut on_error: impl FnMut(usize, i32)) {
        let mut failed = |position, errno| {
            self.shared.send_errors.count(errno);
            on_error(position, errno);
        };
        let mut routed: Vec<Routed<'_>> = Vec::with_capacity(batch.len());
        for (position, outgoing) in batch.iter().enumerate() {
            match self.route(outgoing) {
                Ok((way, datagram)) => routed.push(Routed { position, way, datagram }),
                Err(errno) => failed(position, errno),
            }
        }
        // Stable: replies that leave by one socket leave in the order of the batch.
        if !routed.is_sorted_by_key(|routed| routed.way) {
            routed.sort_by_key(|routed| routed.way);
        }
        for group in routed.chunk_by(|one, other| one.way == other.way) {
            if let Some(socket) = group.first().and_then(|routed| self.socket(routed.way)) {
                send_group(socket, group, &mut failed);
            }
        }
    }

    /// By which of a channel's sockets a reply leaves, and how.
    fn route<'a>(&self, outgoing: &Outgoing<'a>) -> Result<(Way, Datagram<'a>), i32> {
        let Shared { channels, port, client_port, .. } = &*self.shared;
        let index = usize::from(outgoing.socket.0);
        let channel = channels.get(index).ok_or(libc::EBADF)?;
        let lan = channel.attached.as_ref();
        let (link_address, hardware) = match outgoing.destination {
            Destination::Relay(_) | Destination::Client(_) => {
                let to = match outgoing.destination {
                    Destination::Relay(relay) => relay,
                    Destination::Client(address) => SocketAddrV4::new(address, *client_port),
                    // The outer match has taken them out.
                    Destination::Unconfigured { .. } | Destination::Broadcast => {
                        return Err(libc::EDESTADDRREQ);
                    }
                };
                let way = match lan.map(|lan| &lan.unicast) {
                    None => Way { channel: index, unicast: false },
                    Some(Unicast::Own(_)) => Way { channel: index, unicast: true },
                    Some(Unicast::OfRelays(relays)) => Way { channel: *relays, unicast: false },
                };
                // The kernel takes the address that the socket is bound to by itself.
                let is_plain = lan.is_none() && outgoing.source == channel.address;
                let interface = lan.map_or(0, |lan| lan.interface);
                let from = (!is_plain).then_some((outgoing.source, interface));
                let target = Target::Udp { to, from };
                let headers = [0; frame::HEADERS_LENGTH];
                return Ok((way, Datagram { target, headers, payload: outgoing.bytes }));
            }
            Destination::Unconfigured { address, hardware } => {
                (address, ethernet(&hardware).unwrap_or(BROADCAST))
            }
            Destination::Broadcast => (Ipv4Addr::BROADCAST, BROADCAST),
        };
        let lan = lan.ok_or(libc::EDESTADDRREQ)?;
        let source = SocketAddrV4::new(outgoing.source, *port);
        let to = SocketAddrV4::new(link_address, *client_port);
        let headers = frame::headers(source, to, outgoing.bytes).ok_or(libc::EMSGSIZE)?;
        let target = Target::Link { interface: lan.interface, hardware };
        let way = Way { channel: index, unicast: false };
        Ok((way, Datagram { target, headers, payload: outgoing.bytes }))
    }

    fn socket(&self, way: Way) -> Option<BorrowedFd<'_>> {
        let channel = self.shared.channels.get(way.channel)?;
        match channel.attached.as_ref().map(|lan| &lan.unicast) {
            Some(Unicast::Own(socket)) if way.unicast => Some(socket.as_fd()),
            _ => Some(channel.socket.as_fd()),
        }
    }
}

/// One socket: a channel's, or the unicast socket beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    channel: usize,
    unicast: bool,
}

struct Routed<'a> {
    position: usize,
    way: Way,
    datagram: Datagram<'a>,
}

const BROADCAST: [u8; 6] = [0xff; 6];

/// The address as Ethernet takes it. Clients with another kind, or with none, are reached by
/// broadcast on the link, as RFC 4390 asks for.
fn ethernet(hardware: &HardwareAddress) -> Option<[u8; 6]> {
    let bytes = hardware.bytes().try_into().ok()?;
    (hardware.hardware_type() == HardwareAddress::ETHERNET).then_some(bytes)
}

/// Sends what leaves by one socket.
fn send_group(
    socket: BorrowedFd<'_>,
    mut group: &[Routed<'_>],
    failed: &mut impl FnMut(usize, i32),
) {
    let mut may_wait = true;
    while let [first, others @ ..] = group {
        let chunk = group.get(..BATCH_PACKETS_MAX).unwrap_or(group);
        let error = match system::send(socket, chunk.iter().map(|routed| &routed.datagram)) {
            // The kernel stops at the first that it refuses, and says why when asked for it again.
            Ok(sent @ 1..) => {
                group = group.get(sent..).unwrap_or(&[]);
                continue;
            }
            Ok(0) => libc::EIO,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock && may_wait => {
                may_wait = false;
                let mut room =
                    [libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
                // Whatever comes of it, the next try tells.
                let _ready = system::poll(&mut room, Some(SEND_WAIT));
                continue;
            }
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        failed(first.position, error);
        group = others;
    }
}
