//! UDP sockets read and written in batches: recvmmsg and sendmmsg.
//!
//! | file | idea |
//! | --- | --- |
//! | `receive` | reading |
//! | `send` | writing |
//! | `segment` | when packets may go through the kernel joined |
//!
//! It promises that no more than [`BATCH`] packets are held, that every packet comes with the kernel's
//! count of packets dropped at the socket and, where the socket is bound to all addresses, with the one
//! that it was sent to, and that an error of one packet is reported with that packet and keeps back no
//! other. It never blocks in a send of more than the socket's buffer takes, and never allocates after its
//! beginning but for long packets and new destinations.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(
    unsafe_code,
    reason = "std has no call for options of the kernel, nor for a wait on two sockets"
)]

mod receive;
mod segment;
mod send;

pub use receive::{Packet, Receiver};
pub use send::Sender;

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr::from_mut;
use std::time::Duration;

/// Packets in a batch. Few enough that with 64 exchanges in flight one side works at a batch while the
/// other side works at another one; enough that what a call costs is little for each of them.
pub const BATCH: usize = BATCH_COUNT as usize;
const BATCH_COUNT: libc::c_uint = 16;
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
    if address.ip().is_unspecified() {
        set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
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

/// What a socket says of one of its options; `None`: the kernel has no such option.
fn set_of(socket: &UdpSocket, level: i32, option: i32) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = length_of::<libc::c_int>();
    // SAFETY: the value and its length outlive the call, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(value)
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

fn header(
    name: *mut libc::sockaddr_in,
    control: &mut [u64; CONTROL_WORDS],
    vectors: &mut [libc::iovec],
) -> libc::mmsghdr {
    // SAFETY: a header of zeros is valid: nothing to read or write.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    header.msg_hdr.msg_name = name.cast();
    header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_in>();
    header.msg_hdr.msg_iov = vectors.as_mut_ptr();
    header.msg_hdr.msg_iovlen = vectors.len();
    header.msg_hdr.msg_control = from_mut(control).cast();
    header.msg_hdr.msg_controllen = size_of_val(control);
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
