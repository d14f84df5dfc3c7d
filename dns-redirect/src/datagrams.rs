//! Datagrams in batches: one call of the kernel takes in many, one sends the answers to all of them.
//!
//! Half of what a lie costs is the kernel's work for a call, so under a crowd this is what counts. It
//! promises that it never waits, that a batch has at most [`DATAGRAMS_MAX`] datagrams, and that an answer
//! goes to exactly the address that its question came from. It reads no message.

#![allow(unsafe_code, reason = "recvmmsg and sendmmsg have no safe call")]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::limits::DNS_QUERY_BYTES_MAX;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Datagrams in one batch.
pub(crate) const DATAGRAMS_MAX: usize = 64;

/// Datagrams that came together, and answers that go together. Its memory is used again.
pub(crate) struct Batch {
    /// Room for each datagram, and where it came from. What is longer than the room is cut off, and is
    /// no question that anybody asks.
    rooms: Box<[Room]>,
    received: usize,
    /// The answers, one after the other.
    answers: Vec<u8>,
    /// Of each: whose it is, and where it stands.
    places: Vec<(usize, Range<usize>)>,
    /// How many of them have been dealt with.
    sent: usize,
}

#[derive(Clone)]
struct Room {
    bytes: [u8; DNS_QUERY_BYTES_MAX],
    length: usize,
    from: libc::sockaddr_storage,
    from_length: libc::socklen_t,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: all bytes zero is a socket address of no family.
        let from = unsafe { zeroed() };
        let room = Room { bytes: [0; DNS_QUERY_BYTES_MAX], length: 0, from, from_length: 0 };
        Self {
            rooms: vec![room; DATAGRAMS_MAX].into_boxed_slice(),
            received: 0,
            answers: Vec::new(),
            places: Vec::new(),
            sent: 0,
        }
    }

    /// Takes in what is there. Answers to the batch before are forgotten.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.received = 0;
        self.sent = 0;
        self.answers.clear();
        self.places.clear();
        // SAFETY: all bytes zero is a header that points to nothing, and an empty vector.
        let mut headers: [libc::mmsghdr; DATAGRAMS_MAX] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; DATAGRAMS_MAX] = unsafe { zeroed() };
        for ((room, header), vector) in self.rooms.iter_mut().zip(&mut headers).zip(&mut vectors) {
            vector.iov_base = room.bytes.as_mut_ptr().cast();
            vector.iov_len = room.bytes.len();
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(&mut room.from).cast();
            header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
        }
        // SAFETY: each header points to its vector and its room, which live across the call, with their
        // lengths; there are as many headers as we say.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                u32::try_from(DATAGRAMS_MAX).unwrap_or(0),
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(count).map_err(|_negative| io::Error::last_os_error())?;
        for (room, header) in self.rooms.iter_mut().zip(&headers).take(self.received) {
            room.length = usize::try_from(header.msg_len).unwrap_or(0).min(room.bytes.len());
            room.from_length = header.msg_hdr.msg_namelen;
        }
        Ok(())
    }

    /// How many datagrams were taken in.
    pub(crate) fn count(&self) -> usize {
        self.received
    }

    /// A datagram and where it came from; `None` if there is no such one.
    pub(crate) fn datagram(&self, index: usize) -> Option<(&[u8], SocketAddr)> {
        let room = self.rooms.get(..self.received)?.get(index)?;
        Some((room.bytes.get(..room.length)?, address(&room.from)?))
    }

    /// Has `answer` go to where this datagram came from, with [`send`](Self::send).
    pub(crate) fn answer(&mut self, index: usize, answer: &[u8]) {
        let start = self.answers.len();
        self.answers.extend_from_slice(answer);
        self.places.push((index, start..self.answers.len()));
    }

    /// Whether there are answers that [`send`](Self::send) has not dealt with.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent < self.places.len()
    }

    /// Sends as many of the answers as the kernel takes.
    ///
    /// # Errors
    /// The kernel's. [`io::ErrorKind::WouldBlock`]: the rest may go later. Any other is about one answer,
    /// which is given up; the rest is still to be sent.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while self.is_waiting() {
            // SAFETY: as in `receive`.
            let mut headers: [libc::mmsghdr; DATAGRAMS_MAX] = unsafe { zeroed() };
            // SAFETY: as in `receive`.
            let mut vectors: [libc::iovec; DATAGRAMS_MAX] = unsafe { zeroed() };
            let waiting = self.places.iter().skip(self.sent).take(DATAGRAMS_MAX);
            let mut count = 0;
            for (((index, place), header), vector) in waiting.zip(&mut headers).zip(&mut vectors) {
                let (Some(room), Some(answer)) =
                    (self.rooms.get_mut(*index), self.answers.get(place.clone()))
                else {
                    break;
                };
                vector.iov_base = answer.as_ptr().cast_mut().cast();
                vector.iov_len = answer.len();
                header.msg_hdr.msg_iov = ptr::from_mut(vector);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = ptr::from_mut(&mut room.from).cast();
                header.msg_hdr.msg_namelen = room.from_length;
                count += 1;
            }
            // SAFETY: each of the first `count` headers points to its vector, its answer and its
            // address, which live across the call, with their lengths; the kernel only reads them.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => self.sent += sent,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.sent += 1;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that it is one, and there is room and alignment for any.
            let of = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(of.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(of.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let of = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(of.sin6_addr.s6_addr);
            let port = u16::from_be(of.sin6_port);
            Some(SocketAddrV6::new(ip, port, of.sin6_flowinfo, of.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn each_answer_goes_to_who_asked_and_none_is_lost_by_one_that_cannot_be_sent() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(server) = UdpSocket::bind(loopback) else { continue };
            let to = server.local_addr().unwrap();
            let clients: Vec<UdpSocket> =
                (0..=DATAGRAMS_MAX).map(|_| UdpSocket::bind(loopback).unwrap()).collect();
            for (number, client) in clients.iter().enumerate() {
                client.send_to(&number.to_be_bytes(), to).unwrap();
            }
            let mut batch = Batch::new();
            let mut seen = Vec::new();
            for expected in [DATAGRAMS_MAX, 1] {
                batch.receive(server.as_fd()).unwrap();
                assert_eq!(batch.count(), expected);
                for index in 0..batch.count() {
                    let (bytes, from) = batch.datagram(index).unwrap();
                    let number = usize::from_be_bytes(bytes.try_into().unwrap());
                    assert_eq!(from, clients.get(number).unwrap().local_addr().unwrap());
                    seen.push(number);
                    let answer = number.to_string().repeat(3);
                    // One in the midst is longer than any datagram.
                    let answer = if number == 7 { "x".repeat(70_000) } else { answer };
                    batch.answer(index, answer.as_bytes());
                }
                assert_eq!(batch.datagram(batch.count()), None);
                let mut errors = 0;
                while batch.is_waiting() {
                    if let Err(error) = batch.send(server.as_fd()) {
                        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
                        errors += 1;
                    }
                }
                assert_eq!(errors, usize::from(expected == DATAGRAMS_MAX));
            }
            assert_eq!(seen, (0..=DATAGRAMS_MAX).collect::<Vec<_>>());
            let error = batch.receive(server.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            for (number, client) in clients.iter().enumerate().filter(|(number, _)| *number != 7) {
                let mut buffer = [0; 64];
                let (length, from) = client.recv_from(&mut buffer).unwrap();
                assert_eq!(from, to);
                assert_eq!(buffer.get(..length).unwrap(), number.to_string().repeat(3).as_bytes());
            }
        }
    }
}
