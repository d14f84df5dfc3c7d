//! Waiting for packets, and taking them in.
//!
//! It promises that no socket starves another (one batch of each in turn), that every packet is
//! handed on by exactly one socket, and that a wait ends at its timeout or when somebody wakes it.
//! It never decodes a message; it looks at `giaddr` only, to tell a relay's packet from a client's.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::filter;
use super::frame::{self, UdpChecksum};
use super::open::{Channel, Shared, Unicast};
use super::system::{self, Circumstances, ReceiveBuffers};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::sieve::Mesh;
use vestibule_core::{Arrival, Reason, SocketIndex};

/// The receiving half: one thread's.
pub struct Receiver {
    shared: Arc<Shared>,
    waker: Waker,
    /// The waker, then a socket of each channel, then the unicast sockets of attached LANs.
    polled: Vec<libc::pollfd>,
    buffers: ReceiveBuffers,
    /// The channel whose turn is first.
    first: usize,
    /// What [`Receiver::unread`] has told.
    unread_told: u64,
}

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>, waker: Waker) -> Self {
        let unicast = unicast_sockets(&shared).map(|socket| socket.as_raw_fd());
        let polled = std::iter::once(waker.event.as_raw_fd())
            .chain(shared.channels.iter().map(|channel| channel.socket.as_raw_fd()))
            .chain(unicast)
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        Self { shared, waker, polled, buffers: ReceiveBuffers::new(), first: 0, unread_told: 0 }
    }

    /// Waits until there is something to [`receive`](Self::receive), until [`Waker::wake`], a signal,
    /// or the end of `timeout` (`None`: no end). Returns whether it was woken.
    ///
    /// # Errors
    /// What the kernel says; nothing that the operator or a packet could bring about.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        match system::poll(&mut self.polled, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.polled.iter_mut().for_each(|descriptor| descriptor.revents = 0);
            }
            Err(error) => return Err(error),
        }
        let woken = self.polled.first().is_some_and(|descriptor| descriptor.revents != 0);
        if woken {
            self.waker.clear();
        }
        Ok(woken)
    }

    /// Hands on the packets that have come in: of each socket that [`wait`](Self::wait) found
    /// readable at most 64, each socket first in turn. Returns how many.
    ///
    /// A packet that is no message at all is handed on as the reason why: longer than any
    /// ([`Reason::Oversized`]), or a frame of an attached LAN that is not intact
    /// ([`Reason::BadFrame`]; its source is then 0.0.0.0:0).
    pub fn receive(&mut self, mut on_packet: impl FnMut(Result<&[u8], Reason>, Arrival)) -> usize {
        let Self { shared, polled, buffers, first, .. } = self;
        let count = shared.channels.len();
        let mut handed_on = 0;
        for turn in 0..count {
            let index = (*first + turn) % count;
            let (Some(channel), Some(readable)) =
                (shared.channels.get(index), polled.get_mut(index + 1).map(take_readable))
            else {
                continue;
            };
            if !readable || !batch(shared, buffers, channel.socket.as_fd()) {
                continue;
            }
            for (bytes, circumstances) in buffers.packets() {
                if let Some(raw) = circumstances.dropped {
                    channel.note_dropped(raw);
                }
                // At most SOCKETS_MAX channels, so the index fits.
                let socket = SocketIndex(u16::try_from(index).unwrap_or(u16::MAX));
                let taken = match channel.attached {
                    None => from_relay(shared, channel, socket, bytes, circumstances),
                    Some(_) => from_lan(channel, socket, bytes, circumstances),
                };
                if let Some((packet, arrival)) = taken {
                    on_packet(packet, arrival);
                    handed_on += 1;
                }
            }
        }
        *first = (*first + 1) % count.max(1);
        for (readable, socket) in
            polled.iter_mut().skip(count + 1).map(take_readable).zip(unicast_sockets(shared))
        {
            if readable {
                batch(shared, buffers, socket);
            }
        }
        handed_on
    }

    /// Has the kernel throw DISCOVERs away in front of the relays' sockets, as the mesh says, from now on.
    ///
    /// # Errors
    /// What the kernel says; then it throws nothing away.
    pub fn sieve(&mut self, mesh: &Mesh) -> io::Result<()> {
        let program = (!mesh.is_open()).then(|| filter::sieve(mesh));
        let result =
            self.relay_channels().try_for_each(|channel| channel.sieve(program.as_deref()));
        if result.is_err() && program.is_some() {
            self.relay_channels().try_for_each(|channel| channel.sieve(None))?;
        }
        result
    }

    /// How many packets the kernel has thrown away in front of the relays' sockets since this was asked
    /// last: while there was a filter, all that it dropped.
    pub fn unread(&mut self) -> u64 {
        let all = self.relay_channels().map(Channel::unread_now).sum();
        all - std::mem::replace(&mut self.unread_told, all)
    }

    fn relay_channels(&self) -> impl Iterator<Item = &Channel> {
        self.shared.channels.iter().filter(|channel| channel.attached.is_none())
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Gets a [`Receiver`] out of its wait. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<File>,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(File::from(system::event()?)) })
    }

    /// Ends the receiver's wait, or its next one. Never waits itself.
    pub fn wake(&self) {
        // Fails only when the counter is full, and then the receiver is awake already.
        let _already_awake = (&*self.event).write(&1u64.to_ne_bytes());
    }

    fn clear(&self) {
        // Fails only when another reader was first, and then it is clear.
        let _already_clear = (&*self.event).read(&mut [0; 8]);
    }
}

/// The sockets whose packets are dropped unread.
fn unicast_sockets(shared: &Shared) -> impl Iterator<Item = BorrowedFd<'_>> {
    shared.channels.iter().filter_map(|channel| match &channel.attached.as_ref()?.unicast {
        Unicast::Own(socket) => Some(socket.as_fd()),
        Unicast::OfRelays(_) => None,
    })
}

/// Whether poll found something; the next `receive` without a `wait` then finds nothing.
fn take_readable(descriptor: &mut libc::pollfd) -> bool {
    std::mem::take(&mut descriptor.revents) != 0
}

/// Receives one batch; counts the error if there is none.
fn batch(shared: &Shared, buffers: &mut ReceiveBuffers, socket: BorrowedFd<'_>) -> bool {
    match buffers.receive(socket) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            false
        }
        Err(error) => {
            shared.receive_errors.count(error.raw_os_error().unwrap_or(0));
            false
        }
    }
}

type Taken<'a> = Option<(Result<&'a [u8], Reason>, Arrival)>;

/// What a UDP socket received; `None` if an attached LAN's packet socket has received it too.
fn from_relay<'a>(
    shared: &Shared,
    channel: &Channel,
    socket: SocketIndex,
    bytes: &'a [u8],
    circumstances: &Circumstances,
) -> Taken<'a> {
    let (local_address, interface) = circumstances.destination.unwrap_or((channel.address, 0));
    if shared.is_attached(interface, local_address) && !is_relayed(bytes) {
        return None;
    }
    let arrival = Arrival {
        socket,
        local_address,
        source: circumstances.source.unwrap_or(NOBODY),
        broadcast: false,
        attached: false,
    };
    let packet = if circumstances.truncated { Err(Reason::Oversized) } else { Ok(bytes) };
    Some((packet, arrival))
}

/// What a packet socket received; `None` if a relays' UDP socket has received it too.
fn from_lan<'a>(
    channel: &Channel,
    socket: SocketIndex,
    bytes: &'a [u8],
    circumstances: &Circumstances,
) -> Taken<'a> {
    let mut arrival = Arrival {
        socket,
        local_address: channel.address,
        source: NOBODY,
        broadcast: false,
        attached: true,
    };
    if circumstances.truncated {
        return Some((Err(Reason::Oversized), arrival));
    }
    let checksum = if circumstances.checksum_not_needed {
        UdpChecksum::NotNeeded
    } else {
        UdpChecksum::Present
    };
    let frame = match frame::parse(bytes, checksum) {
        Ok(frame) => frame,
        Err(reason) => return Some((Err(reason), arrival)),
    };
    arrival.source = frame.source;
    // The filter lets only our address and broadcasts pass.
    arrival.broadcast = *frame.destination.ip() != channel.address;
    let relays_socket_has_it = !arrival.broadcast
        && is_relayed(frame.payload)
        && matches!(channel.attached.as_ref().map(|lan| &lan.unicast), Some(Unicast::OfRelays(_)));
    (!relays_socket_has_it).then_some((Ok(frame.payload), arrival))
}

/// The source of a packet whose source is unknown.
const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Whether `giaddr` is set in what may be a DHCP message. Of a packet that is too short for it, no:
/// such a packet is the attached LAN's, so that one of the sockets hands it on.
fn is_relayed(bytes: &[u8]) -> bool {
    bytes.get(24..28).is_some_and(|giaddr| giaddr.iter().any(|byte| *byte != 0))
}
