//! Reading batches: recvmmsg.

#![allow(unsafe_code, reason = "std has no call for batches and ancillary data")]

use super::{BATCH, BATCH_COUNT, CONTROL_WORDS, header, length_of, name};
use crate::message::REPLY_LENGTH_MAX;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr::{from_mut, null_mut};

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its contents.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: SocketAddrV4,
    /// The address of ours that it was sent to; unspecified if the socket is bound to that one.
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

// SAFETY: the pointers in `vectors` and `headers` lead into the other fields, which are on the heap, are
// never made longer, and so stay where they are when a `Receiver` is moved.
unsafe impl Send for Receiver {}

impl Default for Receiver {
    fn default() -> Self {
        let mut receiver = Self {
            bytes: vec![[0; REPLY_LENGTH_MAX]; BATCH],
            controls: vec![[0; CONTROL_WORDS]; BATCH],
            names: vec![name(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH],
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
            count: 0,
        };
        for bytes in &mut receiver.bytes {
            let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            receiver.vectors.push(vector);
        }
        for ((name, control), vector) in
            receiver.names.iter_mut().zip(&mut receiver.controls).zip(&mut receiver.vectors)
        {
            let vectors = std::slice::from_mut(vector);
            receiver.headers.push(header(from_mut(name), control, vectors));
        }
        receiver
    }
}

impl Receiver {
    /// Reads what is there, at most [`BATCH`] packets; what the last call read is gone. With `is_patient`
    /// it waits for the first one, for as long as the socket's timeout. How many came; 0 if none did.
    ///
    /// # Errors
    /// The socket cannot be read.
    pub fn receive(&mut self, socket: &UdpSocket, is_patient: bool) -> io::Result<usize> {
        // The kernel has written lengths where its room was said; only what it used is made good.
        for (header, control) in self.headers.iter_mut().zip(&self.controls).take(self.count) {
            header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_in>();
            header.msg_hdr.msg_controllen = size_of_val(control);
        }
        self.count = 0;
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
        if result >= 0 {
            self.count = usize::try_from(result).unwrap_or(0);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use crate::engine::batch::{Sender, socket};
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
