//! The sockets of a plan: opened, bound, sized, and shared by the threads that use them.
//!
//! It promises that either every socket of the plan is open or none stays so and the error says what
//! to do, and that the size of a receive buffer is read back and not believed. It never takes a port
//! that another process holds.

use super::errno::ErrnoCounts;
use super::error::NetError;
use super::receive::{Receiver, Waker};
use super::send::Sender;
use super::{filter, port_holder, system};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vestibule_core::SocketIndex;

/// Addresses and interfaces that one server listens on at most.
pub const SOCKETS_MAX: usize = 256;

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPlan {
    /// Addresses of this host that relays and renewing clients send to.
    pub relay_listen: Vec<Ipv4Addr>,
    /// The port to listen on and to send from: 67, but for tests.
    pub port: u16,
    /// The port of clients: 68, but for tests.
    pub client_port: u16,
    /// Attached LANs, by interface name.
    pub interfaces: Vec<Box<str>>,
    /// Bytes that the kernel is asked to queue for each socket.
    pub receive_buffer_bytes: usize,
}

/// What became of one socket of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketStatus {
    /// Its index in [`Arrival`](vestibule_core::Arrival)s.
    pub socket: SocketIndex,
    /// Its address and port, or its interface.
    pub name: Box<str>,
    /// Bytes that the kernel queues for it, read back from the kernel, in the terms of the plan
    /// (`SO_RCVBUF` returns the double, for bookkeeping). Less than the plan asks for if the process
    /// lacks `CAP_NET_ADMIN` and `net.core.rmem_max` is lower.
    pub receive_buffer_bytes: usize,
    /// Packets that the kernel has dropped so far because the queue was full. Not among them is what it
    /// threw away unread as it was told to ([`Receiver::unread`]).
    pub dropped: u64,
}

/// The open sockets, as the halves that their users take.
#[derive(Debug)]
pub struct Sockets {
    /// For the thread that receives.
    pub receiver: Receiver,
    /// For every thread that sends.
    pub sender: Sender,
    /// Gets the receiving thread out of its wait.
    pub waker: Waker,
    /// For metrics and status.
    pub monitor: Monitor,
}

impl Sockets {
    /// Opens every socket of the plan. Socket indexes count through `relay_listen`, then through
    /// `interfaces`.
    ///
    /// # Errors
    /// [`NetError`], with what the operator does about it.
    pub fn open(plan: &SocketPlan) -> Result<Self, NetError> {
        let count = plan.relay_listen.len() + plan.interfaces.len();
        if count == 0 {
            return Err(NetError::NothingToListenOn);
        }
        if count > SOCKETS_MAX {
            return Err(NetError::TooManySockets { count });
        }
        if let Some(address) = first_twice(&plan.relay_listen) {
            return Err(NetError::NamedTwice { what: address.to_string().into() });
        }
        if let Some(name) = first_twice(&plan.interfaces) {
            return Err(NetError::NamedTwice { what: name.clone() });
        }
        let relays = plan.relay_listen.iter().map(|address| Channel::relay(*address, plan));
        let attached = plan.interfaces.iter().map(|name| Channel::attached(name, plan));
        let channels = relays.chain(attached).collect::<Result<Vec<_>, _>>()?;
        let waker = Waker::new().map_err(kernel("make the event descriptor"))?;
        let shared = Arc::new(Shared {
            channels,
            port: plan.port,
            client_port: plan.client_port,
            send_errors: ErrnoCounts::new(),
            receive_errors: ErrnoCounts::new(),
        });
        Ok(Self {
            receiver: Receiver::new(shared.clone(), waker.clone()),
            sender: Sender::new(shared.clone()),
            waker,
            monitor: Monitor { shared },
        })
    }
}

/// What the sockets have to tell about themselves. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// Every socket, with the kernel's drops as they are now.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketStatus> {
        (0..)
            .zip(&self.shared.channels)
            .map(|(index, channel)| SocketStatus {
                socket: SocketIndex(index),
                name: channel.name.clone(),
                receive_buffer_bytes: channel.receive_buffer_bytes,
                dropped: channel.dropped_now(),
            })
            .collect()
    }

    /// Packets that the kernel has dropped so far because a queue was full, by socket.
    #[must_use]
    pub fn drops(&self) -> Vec<(SocketIndex, u64)> {
        (0..)
            .zip(&self.shared.channels)
            .map(|(index, channel)| (SocketIndex(index), channel.dropped_now()))
            .collect()
    }

    /// How often sending failed, by error number; [`explain`](super::explain) says what each means.
    #[must_use]
    pub fn send_errors(&self) -> Vec<(i32, u64)> {
        self.shared.send_errors.totals()
    }

    /// How often receiving failed, by error number: an interface that went down or away.
    #[must_use]
    pub fn receive_errors(&self) -> Vec<(i32, u64)> {
        self.shared.receive_errors.totals()
    }
}

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    /// By socket index.
    pub(super) channels: Vec<Channel>,
    pub(super) port: u16,
    pub(super) client_port: u16,
    pub(super) send_errors: ErrnoCounts,
    pub(super) receive_errors: ErrnoCounts,
}

impl Shared {
    /// Whether an attached LAN's packet socket gets what came to `destination` by `interface`.
    pub(super) fn is_attached(&self, interface: i32, destination: Ipv4Addr) -> bool {
        self.channels.iter().any(|channel| {
            channel
                .attached
                .as_ref()
                .is_some_and(|lan| lan.interface == interface && channel.address == destination)
        })
    }
}

/// One socket of the plan, with what belongs to it.
#[derive(Debug)]
pub(super) struct Channel {
    /// A UDP socket, or on an attached LAN the packet socket.
    pub(super) socket: Socket,
    /// Our address: where relays send to, or the interface's first.
    pub(super) address: Ipv4Addr,
    /// Only on an attached LAN.
    pub(super) attached: Option<AttachedLan>,
    name: Box<str>,
    receive_buffer_bytes: usize,
    drops: Drops,
}

/// What the kernel has dropped in front of a socket. Its one counter has both kinds: what a filter threw
/// away as it was told to, and what found the queue full. While a filter is there, everything counts as
/// the former.
#[derive(Debug, Default)]
struct Drops {
    /// The kernel's counter, which has 32 bits, continued.
    all: AtomicU64,
    unread: AtomicU64,
    queue_full: AtomicU64,
    is_sieved: AtomicBool,
}

/// What an attached LAN has beside its packet socket.
#[derive(Debug)]
pub(super) struct AttachedLan {
    pub(super) interface: i32,
    pub(super) unicast: Unicast,
}

/// The socket that keeps the kernel from refusing the port on an attached LAN's address, and sends
/// to clients that have an address.
#[derive(Debug)]
pub(super) enum Unicast {
    /// Its own; what it receives is dropped unread, because the packet socket has received it.
    Own(Socket),
    /// The relays' socket of this index, which is bound to the same address.
    OfRelays(usize),
}

impl Drops {
    /// Takes note of the kernel's counter, which wraps and may come late.
    fn note(&self, raw: u32) {
        let mut all = self.all.load(Ordering::Relaxed);
        let step = loop {
            // The kernel's counter and the low half of ours both began at 0. A step of more than
            // half the range is an older reading that came after a newer one.
            let Ok(low) = u32::try_from(all & u64::from(u32::MAX)) else { return };
            let step = raw.wrapping_sub(low);
            if step == 0 || step > u32::MAX / 2 {
                return;
            }
            let step = u64::from(step);
            let to = all + step;
            match self.all.compare_exchange_weak(all, to, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break step,
                Err(newer) => all = newer,
            }
        };
        let is_sieved = self.is_sieved.load(Ordering::Acquire);
        let kind = if is_sieved { &self.unread } else { &self.queue_full };
        kind.fetch_add(step, Ordering::Relaxed);
    }
}

impl Channel {
    /// Takes note of the kernel's drop counter as it came with a packet.
    pub(super) fn note_dropped(&self, raw: u32) {
        self.drops.note(raw);
    }

    /// Takes note of the kernel's drop counter as it is now.
    fn look_at_drops(&self) {
        // Kernels before 4.12 have no such option; what came with the packets then stands.
        if let Ok(raw) = system::dropped(self.socket.as_fd()) {
            self.drops.note(raw);
        }
    }

    /// Packets that found the queue full so far.
    fn dropped_now(&self) -> u64 {
        self.look_at_drops();
        self.drops.queue_full.load(Ordering::Relaxed)
    }

    /// Packets that a filter threw away so far.
    pub(super) fn unread_now(&self) -> u64 {
        if self.drops.is_sieved.load(Ordering::Acquire) {
            self.look_at_drops();
        }
        self.drops.unread.load(Ordering::Relaxed)
    }

    /// Puts a filter of [`filter::sieve`] in front of the socket, in the place of the one before; `None`: none.
    pub(super) fn sieve(&self, program: Option<&[SockFilter]>) -> io::Result<()> {
        // What was dropped so far is counted as what it was.
        self.look_at_drops();
        match program {
            Some(program) => {
                self.drops.is_sieved.store(true, Ordering::Release);
                self.socket.attach_filter(program)
            }
            None if self.drops.is_sieved.load(Ordering::Acquire) => {
                self.socket.detach_filter()?;
                self.look_at_drops();
                self.drops.is_sieved.store(false, Ordering::Release);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn relay(address: Ipv4Addr, plan: &SocketPlan) -> Result<Self, NetError> {
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
            return Err(NetError::NotOurAddress { address });
        }
        let socket = udp_socket()?;
        let what = format!("set up the UDP socket of {address}");
        let setup = |fd: BorrowedFd<'_>| {
            // Bound to one address, it is told nothing new by what the kernel says of each packet, but
            // which attached LAN a packet came by.
            if !plan.interfaces.is_empty() {
                system::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            }
            system::set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
        };
        setup(socket.as_fd()).map_err(kernel(&what))?;
        let receive_buffer_bytes =
            size_receive_buffer(&socket, plan.receive_buffer_bytes).map_err(kernel(&what))?;
        bind(&socket, address, plan.port)?;
        Ok(Self {
            socket,
            address,
            attached: None,
            name: SocketAddrV4::new(address, plan.port).to_string().into(),
            receive_buffer_bytes,
            drops: Drops::default(),
        })
    }

    fn attached(name: &str, plan: &SocketPlan) -> Result<Self, NetError> {
        let found = system::interface(name).map_err(kernel(&format!("look up {name}")))?;
        let interface = found.ok_or_else(|| NetError::NoInterface { name: name.into() })?;
        if !interface.up {
            return Err(NetError::InterfaceDown { name: name.into() });
        }
        let (address, broadcast) =
            interface.address.ok_or_else(|| NetError::NoAddress { name: name.into() })?;
        let what = format!("open a packet socket on {name}");
        // Without a protocol it receives nothing until it is bound, so no other interface's packets.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(|error| match error
            .raw_os_error()
        {
            Some(libc::EPERM | libc::EACCES) => {
                NetError::NotPermitted { what: what.as_str().into(), capability: "CAP_NET_RAW" }
            }
            _ => kernel(&what)(error),
        })?;
        let setup = |socket: &Socket| {
            socket.set_nonblocking(true)?;
            socket.attach_filter(&filter::program(address, broadcast, plan.port))?;
            let fd = socket.as_fd();
            system::set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            system::set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
            let receive_buffer_bytes = size_receive_buffer(socket, plan.receive_buffer_bytes)?;
            system::bind_packet_socket(fd, interface.index)?;
            Ok(receive_buffer_bytes)
        };
        let receive_buffer_bytes = setup(&socket).map_err(kernel(&what))?;
        let unicast = match plan.relay_listen.iter().position(|listen| *listen == address) {
            Some(index) => Unicast::OfRelays(index),
            None => Unicast::Own(unicast_socket(name, address, plan.port)?),
        };
        Ok(Self {
            socket,
            address,
            attached: Some(AttachedLan { interface: interface.index, unicast }),
            name: name.into(),
            receive_buffer_bytes,
            drops: Drops::default(),
        })
    }
}

/// The UDP socket beside a packet socket, on the interface's own address.
fn unicast_socket(name: &str, address: Ipv4Addr, port: u16) -> Result<Socket, NetError> {
    let socket = udp_socket()?;
    let what = format!("bind a socket to interface {name}");
    let setup = || {
        socket.set_broadcast(true)?;
        socket.bind_device(Some(name.as_bytes()))
    };
    setup().map_err(|error: io::Error| match error.raw_os_error() {
        Some(libc::EPERM) => {
            NetError::NotPermitted { what: what.as_str().into(), capability: "CAP_NET_RAW" }
        }
        _ => kernel(&what)(error),
    })?;
    bind(&socket, address, port)?;
    Ok(socket)
}

fn udp_socket() -> Result<Socket, NetError> {
    let what = "open a UDP socket";
    let socket =
        Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(kernel(what))?;
    socket.set_nonblocking(true).map_err(kernel(what))?;
    // A reply that meets a smaller MTU on its way is fragmented rather than lost: relays and clients
    // do not report path MTUs to a server that would have to ask them again.
    system::set_option(
        socket.as_fd(),
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_DONT,
    )
    .map_err(kernel(what))?;
    Ok(socket)
}

fn bind(socket: &Socket, address: Ipv4Addr, port: u16) -> Result<(), NetError> {
    let to = SockAddr::from(SocketAddrV4::new(address, port));
    socket.bind(&to).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            NetError::PortTaken { address, port, holder: port_holder::find(address, port) }
        }
        Some(libc::EADDRNOTAVAIL) => NetError::NotOurAddress { address },
        Some(libc::EACCES | libc::EPERM) => NetError::NotPermitted {
            what: format!("bind UDP port {port}").into(),
            capability: "CAP_NET_BIND_SERVICE",
        },
        _ => kernel(&format!("bind {address} port {port}"))(error),
    })
}

/// Sizes the receive buffer and returns what the kernel made of it, in bytes.
fn size_receive_buffer(socket: &Socket, wanted_bytes: usize) -> io::Result<usize> {
    let value = i32::try_from(wanted_bytes).unwrap_or(i32::MAX);
    // Needs CAP_NET_ADMIN, and is then not limited by net.core.rmem_max.
    let forced = system::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value);
    if forced.is_err() {
        socket.set_recv_buffer_size(wanted_bytes.min(i32::MAX as usize))?;
    }
    // The kernel doubles the value for its bookkeeping, and returns the double.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Wraps an error that has no better name.
fn kernel(what: &str) -> impl FnOnce(io::Error) -> NetError {
    let what = what.into();
    |error| NetError::Kernel { what, error }
}

/// The first value that occurs again.
fn first_twice<T: PartialEq>(values: &[T]) -> Option<&T> {
    values
        .iter()
        .enumerate()
        .find(|(index, value)| values.iter().skip(index + 1).any(|other| other == *value))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_counter_goes_on_when_the_kernels_wraps_and_ignores_late_readings() {
        let drops = Drops::default();
        let total = |raw| {
            drops.note(raw);
            drops.all.load(Ordering::Relaxed)
        };
        assert_eq!(total(7), 7);
        assert_eq!(total(5), 7, "an older reading");
        assert_eq!(total(2_000_000_000), 2_000_000_000);
        assert_eq!(total(4_000_000_000), 4_000_000_000);
        assert_eq!(total(3), (1 << 32) + 3, "wrapped");
        assert_eq!(total(4_294_967_295), (1 << 32) + 3, "from before it wrapped");
    }

    #[test]
    fn what_is_dropped_while_there_is_a_filter_is_counted_apart() {
        let drops = Drops::default();
        let counts =
            || (drops.queue_full.load(Ordering::Relaxed), drops.unread.load(Ordering::Relaxed));
        drops.note(3);
        drops.is_sieved.store(true, Ordering::Release);
        drops.note(10);
        drops.note(8);
        assert_eq!(counts(), (3, 7));
        drops.is_sieved.store(false, Ordering::Release);
        drops.note(11);
        assert_eq!(counts(), (4, 7));
    }
}
