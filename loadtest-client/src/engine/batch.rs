//! UDP sockets read and written in batches: recvmmsg and sendmmsg.
//!
//! It promises that no more than [`BATCH`] packets are held, that every packet comes with the address
//! that it was sent to and with the kernel's count of packets dropped at the socket, and that an error
//! of one packet is reported with that packet and keeps back no other. It never blocks in a send of
//! more than the socket's buffer takes, and never allocates after its beginning but for long packets.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    unsafe_code,
    reason = "std has no call for batches, ancillary data or a wait on two sockets"
)]

use crate::message::{MESSAGE_LENGTH_MAX, REPLY_LENGTH_MAX};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr::{from_mut, null_mut};
use std::time::Duration;

/// Packets in a batch.
pub const BATCH: usize = BATCH_COUNT as usize;
const BATCH_COUNT: libc::c_uint = 64;
/// Bytes that the kernel is asked to queue for a socket; it gives no more than its own limit to those
/// who may not exceed that (`net.core.rmem_max`).
pub const BUFFER_BYTES: usize = 64 << 20;
/// 64-bit words of ancillary data of a packet: an `in_pktinfo` and a drop count, with their headers.
const CONTROL_WORDS: usize = 16;

/// A socket on an address, with what [`Receiver`] needs.
///
/// # Errors
/// The address is not ours, or its port is taken, or the kernel lacks an option.
pub fn socket(address: SocketAddrV4) -> io::Result<UdpSocket> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // Only root may force; others get what the kernel's limit leaves of it, below.
        if set(&socket, libc::SOL_SOCKET, option, BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
            socket.set_send_buffer_size(BUFFER_BYTES)?;
        }
    }
    set(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn set(socket: &socket2::Socket, level: i32, option: i32, value: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    // SAFETY: the value outlives the call and its length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of the sockets has something to read, or the time is over, or a signal came.
///
/// # Errors
/// The kernel refuses to wait.
pub fn wait(sockets: &[&UdpSocket], longest: Duration) -> io::Result<()> {
    let mut polls: Vec<libc::pollfd> = sockets
        .iter()
        .map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(longest.subsec_nanos().cast_signed()),
    };
    let count = libc::nfds_t::try_from(polls.len()).unwrap_or(0);
    // SAFETY: the list has that many entries, and everything outlives the call.
    let result =
        unsafe { libc::ppoll(polls.as_mut_ptr(), count, &raw const time, std::ptr::null()) };
    match io::Error::last_os_error() {
        _ if result >= 0 => Ok(()),
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its contents.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: SocketAddrV4,
    /// The address of ours that it was sent to.
    pub to: Ipv4Addr,
    /// Packets that the kernel has dropped at the socket since it was made, when this one came; modulo 2^32.
    pub drops: u32,
}

/// Reads batches.
#[derive(Debug)]
pub struct Receiver {
    bytes: Vec<[u8; REPLY_LENGTH_MAX]>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    names: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    count: usize,
}

// SAFETY: the pointers in `vectors` and `headers` lead into the other fields, are written anew before
// every call and are never followed between calls.
unsafe impl Send for Receiver {}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            bytes: vec![[0; REPLY_LENGTH_MAX]; BATCH],
            controls: vec![[0; CONTROL_WORDS]; BATCH],
            names: vec![name(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH],
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
            count: 0,
        }
    }
}

impl Receiver {
    /// Reads what is there, at most [`BATCH`] packets; what the last call read is gone. With `is_patient`
    /// it waits for the first one, for as long as the socket's timeout. How many came; 0 if none did.
    ///
    /// # Errors
    /// The socket cannot be read.
    pub fn receive(&mut self, socket: &UdpSocket, is_patient: bool) -> io::Result<usize> {
        self.vectors.clear();
        self.headers.clear();
        for bytes in &mut self.bytes {
            self.vectors
                .push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        }
        for ((name, control), vector) in
            self.names.iter_mut().zip(&mut self.controls).zip(&mut self.vectors)
        {
            self.headers.push(header(from_mut(name), Some(control), vector));
        }
        let flags = if is_patient { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: there are BATCH headers; each leads to a name, a control buffer and one vector with its
        // bytes, all of the lengths said, and all living in `self`, which is borrowed for the call.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH_COUNT,
                flags,
                null_mut(),
            )
        };
        self.count = usize::try_from(result).unwrap_or(0);
        if result >= 0 {
            return Ok(self.count);
        }
        let error = io::Error::last_os_error();
        use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
        match error.kind() {
            // Refused: the other side is not there now, which is no fault of this socket.
            WouldBlock | TimedOut | Interrupted | ConnectionRefused => Ok(0),
            _ => Err(error),
        }
    }

    /// The packets that the last call read.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.headers.iter().take(self.count).zip(&self.bytes).zip(&self.names).map(
            |((header, bytes), from)| {
                let length = usize::try_from(header.msg_len).unwrap_or(usize::MAX);
                let (to, drops) = ancillary(&header.msg_hdr);
                Packet {
                    bytes: bytes.get(..length).unwrap_or(bytes),
                    from: SocketAddrV4::new(
                        Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)),
                        u16::from_be(from.sin_port),
                    ),
                    to,
                    drops,
                }
            },
        )
    }
}

/// The address that a packet was sent to, and the socket's drop count; zero where the kernel said none.
fn ancillary(header: &libc::msghdr) -> (Ipv4Addr, u32) {
    let (mut to, mut drops) = (Ipv4Addr::UNSPECIFIED, 0);
    // SAFETY: the kernel has written well-formed ancillary data into the header's control buffer and
    // its length into the header; the CMSG macros stay within that. The values are read unaligned.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    drops = data.cast::<u32>().read_unaligned();
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    (to, drops)
}

/// A packet to be sent, of which the bytes stand elsewhere.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    from: Ipv4Addr,
    start: usize,
    end: usize,
}

/// Collects packets for one socket and sends them in batches.
#[derive(Debug, Default)]
pub struct Sender {
    bytes: Vec<u8>,
    packets: Vec<Outgoing>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: as for `Receiver`.
unsafe impl Send for Sender {}

impl Sender {
    /// Whether it must be flushed before another packet is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.packets.len() >= BATCH
    }

    /// Adds a packet to `to`, with the contents that `write` appends. `from` is the address of ours that
    /// it leaves from, if not the one that the socket is bound to or the kernel chooses.
    pub fn add(
        &mut self,
        from: Option<Ipv4Addr>,
        to: SocketAddrV4,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
        self.packets.push(Outgoing { from, start, end: self.bytes.len() });
        self.names.push(name(to));
    }

    /// Sends all that was added. How many went; `failed` is told of each that did not.
    pub fn flush(&mut self, socket: &UdpSocket, mut failed: impl FnMut(io::Error)) -> usize {
        self.prepare();
        let (mut next, mut sent) = (0, 0);
        while let Some(rest) = self.headers.get_mut(next..).filter(|rest| !rest.is_empty()) {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(0);
            // SAFETY: `rest` has that many headers; each leads to a name, perhaps a control buffer, and
            // one vector with its bytes, all in fields of `self` that do not change before the end.
            let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            match usize::try_from(result) {
                Ok(went) => {
                    sent += went;
                    next += went.max(1);
                }
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => {
                        failed(error);
                        next += 1;
                    }
                },
            }
        }
        self.bytes.clear();
        self.packets.clear();
        self.names.clear();
        sent
    }

    /// Writes headers for what was added.
    fn prepare(&mut self) {
        self.bytes.reserve(MESSAGE_LENGTH_MAX);
        self.vectors.clear();
        self.headers.clear();
        self.controls.resize(self.controls.len().max(self.packets.len()), [0; CONTROL_WORDS]);
        for packet in &self.packets {
            let bytes = self.bytes.get_mut(packet.start..packet.end).unwrap_or_default();
            self.vectors
                .push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        }
        for (((packet, name), vector), control) in
            self.packets.iter().zip(&mut self.names).zip(&mut self.vectors).zip(&mut self.controls)
        {
            let control = (!packet.from.is_unspecified()).then_some(control);
            let has_control = control.is_some();
            let mut header = header(from_mut(name), control, vector);
            if has_control {
                source(&mut header.msg_hdr, packet.from);
            }
            self.headers.push(header);
        }
    }
}

/// Has a packet leave from an address of ours.
fn source(header: &mut libc::msghdr, from: Ipv4Addr) {
    // SAFETY: an `in_pktinfo` of zeros is valid.
    let mut info: libc::in_pktinfo = unsafe { zeroed() };
    info.ipi_spec_dst.s_addr = u32::from(from).to_be();
    // SAFETY: the control buffer is that of the header and has room for an `in_pktinfo` and its head,
    // so the first head is not null; it is written unaligned.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(length_of::<libc::in_pktinfo>()) as usize;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = libc::IPPROTO_IP;
        (*control).cmsg_type = libc::IP_PKTINFO;
        (*control).cmsg_len = libc::CMSG_LEN(length_of::<libc::in_pktinfo>()) as usize;
        libc::CMSG_DATA(control).cast::<libc::in_pktinfo>().write_unaligned(info);
    }
}

fn header(
    name: *mut libc::sockaddr_in,
    control: Option<&mut [u64; CONTROL_WORDS]>,
    vector: &mut libc::iovec,
) -> libc::mmsghdr {
    // SAFETY: a header of zeros is valid: nothing to read or write.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    header.msg_hdr.msg_name = name.cast();
    header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_in>();
    header.msg_hdr.msg_iov = from_mut(vector);
    header.msg_hdr.msg_iovlen = 1;
    if let Some(control) = control {
        header.msg_hdr.msg_controllen = size_of_val(control);
        header.msg_hdr.msg_control = from_mut(control).cast();
    }
    header
}

fn name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: FAMILY,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a family is a small number")]
const FAMILY: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;

#[allow(clippy::cast_possible_truncation, reason = "sizes of small C structures")]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn local() -> (UdpSocket, SocketAddrV4) {
        let socket = socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
        (socket, SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port()))
    }

    #[test]
    fn packets_leave_from_and_come_to_any_address_of_ours() {
        let ((one, _), (other, to)) = (local(), local());
        let mut sender = Sender::default();
        let sources = [Ipv4Addr::new(127, 20, 0, 1), Ipv4Addr::new(127, 20, 3, 9)];
        for (turn, from) in sources.into_iter().enumerate() {
            let to = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 7), to.port());
            sender.add(Some(from), to, |bytes| bytes.resize(bytes.len() + turn + 1, 5));
        }
        assert_eq!(sender.flush(&one, |error| panic!("{error}")), 2);
        let mut receiver = Receiver::default();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            receiver.receive(&other, true).unwrap();
            seen.extend(receiver.packets().map(|p| (*p.from.ip(), p.to, p.bytes.len(), p.drops)));
        }
        let to = Ipv4Addr::new(127, 0, 0, 7);
        assert_eq!(seen, [(sources[0], to, 1, 0), (sources[1], to, 2, 0)]);
        assert_eq!(receiver.receive(&other, false).unwrap(), 0);
        assert_eq!(receiver.packets().count(), 0);
    }

    #[test]
    fn one_that_cannot_be_sent_keeps_back_no_other() {
        let ((one, _), (other, to)) = (local(), local());
        let mut sender = Sender::default();
        // TEST-NET-1 is no address of this host.
        for from in [None, Some(Ipv4Addr::new(192, 0, 2, 1)), None] {
            sender.add(from, to, |bytes| bytes.push(1));
        }
        let mut errors = 0;
        assert_eq!(sender.flush(&one, |_| errors += 1), 2);
        assert_eq!(errors, 1);
        let mut receiver = Receiver::default();
        let mut count = 0;
        while count < 2 {
            count += receiver.receive(&other, true).unwrap();
        }
        assert_eq!(sender.flush(&one, |_| errors += 1), 0);
    }
}
