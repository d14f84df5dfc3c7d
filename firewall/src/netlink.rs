//! The netlink socket: opened through mnl, read and written without ever blocking.
//!
//! The kernel handles a request inside `send`, so every answer is queued when `send` returns, and a
//! dump continues inside `recv`. Nothing here ever waits.

#![allow(unsafe_code, reason = "socket options, recv and the socket filter have no safe call")]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::wire;
use mnl::mnl_sys::MNL_SOCKET_AUTOPID;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

/// Bytes that one receive takes at most. The kernel fills at most 32 KiB of a dump into one message,
/// and an acknowledgement is short.
const RECEIVE_BYTES_MAX: usize = 256 << 10;

/// Overhead that netlink wants to be left in the send buffer beside the message.
const SEND_OVERHEAD_BYTES: usize = 32;

/// A socket of the netfilter bus, or of that of routing.
pub(crate) struct Socket {
    socket: mnl::Socket,
    received: Box<[u8]>,
    sequence: u32,
    /// When [`Socket::ask`] gives up.
    deadline: Option<Instant>,
}

// SAFETY: `mnl::Socket` is a pointer to a heap object that holds a descriptor and an address; libmnl
// keeps no state per thread, and we own the only pointer to it.
unsafe impl Send for Socket {}

impl Socket {
    /// Opens a socket that is subscribed to the groups in the mask `groups`.
    pub(crate) fn open(groups: u32) -> io::Result<Self> {
        Self::open_on(mnl::Bus::Netfilter, groups)
    }

    /// Opens a socket that asks about routing.
    pub(crate) fn open_routing() -> io::Result<Self> {
        Self::open_on(mnl::Bus::Route, 0)
    }

    fn open_on(bus: mnl::Bus, groups: u32) -> io::Result<Self> {
        let socket = mnl::Socket::open(bus)?;
        // SAFETY: fcntl on a descriptor that we own.
        if unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        socket.bind(groups, MNL_SOCKET_AUTOPID)?;
        let socket = Self {
            socket,
            received: vec![0; RECEIVE_BYTES_MAX].into_boxed_slice(),
            sequence: 0,
            deadline: None,
        };
        // Without this an error carries the whole request back, and a few of them overflow the
        // receive buffer.
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        Ok(socket)
    }

    /// The address that the kernel knows this socket by.
    pub(crate) fn port_id(&self) -> u32 {
        self.socket.portid()
    }

    /// Reserves `count` sequence numbers and gives the first of them.
    pub(crate) fn reserve_sequence(&mut self, count: u32) -> u32 {
        // 0 is what notifications carry.
        let first = if self.sequence > u32::MAX / 2 { 1 } else { self.sequence + 1 };
        self.sequence = first.saturating_add(count);
        first
    }

    /// Has the send buffer hold messages of `bytes`, and gives the length of the longest message that
    /// the kernel will in fact take: without CAP_NET_ADMIN in the initial user namespace it grants no
    /// more than `net.core.wmem_max` allows.
    pub(crate) fn grow_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.grow(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes)
            .map(|granted| granted.saturating_sub(SEND_OVERHEAD_BYTES))
    }

    /// Has the receive buffer hold `bytes`, and gives what the kernel granted.
    pub(crate) fn grow_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.grow(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes)
    }

    fn grow(&self, force: i32, ask: i32, bytes: usize) -> io::Result<usize> {
        // The kernel doubles what it is told, and keeps it in an int.
        let value = i32::try_from(bytes / 2 + SEND_OVERHEAD_BYTES).unwrap_or(i32::MAX / 2);
        if self.option(ask)? < bytes && self.set_option(libc::SOL_SOCKET, force, value).is_err() {
            self.set_option(libc::SOL_SOCKET, ask, value)?;
        }
        self.option(ask)
    }

    /// Sends requests. They are handled when this returns.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// What one message of the kernel holds; `None` if nothing is queued.
    pub(crate) fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // SAFETY: the pointer and the length are those of our own buffer.
            let length = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    self.received.as_mut_ptr().cast(),
                    self.received.len(),
                    libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                )
            };
            let Ok(length) = usize::try_from(length) else {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                }
            };
            return match self.received.get(..length) {
                Some(received) => Ok(Some(received)),
                None => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }

    /// From now on, a list that is not whole at this moment is given up with an error of the kind
    /// [`io::ErrorKind::TimedOut`]. The socket is of no use then.
    pub(crate) fn give_up_at(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Sends a request whose answers end with an acknowledgement or the end of a list, and hands each
    /// answer on. `false` if the list changed while it was read.
    pub(crate) fn ask(
        &mut self,
        request: &wire::Writer,
        sequence: u32,
        mut each: impl FnMut(&wire::Message<'_>),
    ) -> io::Result<bool> {
        self.discard()?;
        self.send(request.bytes())?;
        let mut whole = true;
        loop {
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let received = self.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            for message in wire::messages(received) {
                if message.sequence != sequence {
                    continue;
                }
                whole &= message.flags & wire::FLAG_DUMP_INTERRUPTED == 0;
                match (message.message_type, message.error_number()) {
                    (wire::DONE, _) | (_, Some(0)) => return Ok(whole),
                    // It changed so much that the kernel could not go on.
                    (_, Some(libc::EINTR)) => return Ok(false),
                    (_, Some(number)) => return Err(io::Error::from_raw_os_error(number)),
                    (_, None) => each(&message),
                }
            }
        }
    }

    /// Takes away whatever is still queued, so that the next request meets only its own answers.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        loop {
            match self.receive() {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                // A report of lost answers is one of the things to be discarded.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// From now on, has the kernel drop notifications of changes made through these port ids, before they
    /// take room in this socket's queue: a daemon's own replacement of 100,000 elements would
    /// overflow it.
    pub(crate) fn ignore_changes_of(&self, port_ids: &[u32]) -> io::Result<()> {
        // Classic BPF: load the word at the port's offset in the netlink header (in network order,
        // which is why the constants are turned round), keep nothing if it is one of them, else all.
        const PORT_OFFSET: u32 = 12;
        let instruction = |code: u32, jt, jf, k| libc::sock_filter {
            code: u16::try_from(code).unwrap_or_default(),
            jt,
            jf,
            k,
        };
        let mut program =
            vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, PORT_OFFSET)];
        for port_id in port_ids {
            let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
            program.push(instruction(equal, 0, 1, port_id.to_be()));
            program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
        }
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
        let len = u16::try_from(program.len()).map_err(io::Error::other)?;
        let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        self.set_option_raw(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
    }

    fn set_option(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        self.set_option_raw(level, option, &value)
    }

    fn set_option_raw<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        // SAFETY: pointer and length describe `value`, which lives across the call; each caller
        // passes the type that the option takes.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                length,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn option(&self, option: i32) -> io::Result<usize> {
        let mut value = 0_i32;
        let mut length = libc::socklen_t::try_from(size_of::<i32>()).map_err(io::Error::other)?;
        // SAFETY: pointer and length describe `value`; the options that are read are ints.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(usize::try_from(value).unwrap_or_default())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
