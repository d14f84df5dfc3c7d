//! Sending batches: sendmmsg, and on the loopback device several packets to a call of it.

#![allow(unsafe_code, reason = "std has no call for batches and ancillary data")]

use super::segment::{self, Routes};
use super::{BATCH, CONTROL_WORDS, header, length_of, name};
use crate::message::MESSAGE_LENGTH_MAX;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::ptr::from_mut;

/// Bytes that packets may have together to be joined: what one UDP packet can have.
const JOINED_BYTES_MAX: usize = 65_507;

/// A packet to be sent, of which the bytes stand elsewhere.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    to: SocketAddrV4,
    from: Ipv4Addr,
    start: usize,
    end: usize,
}

impl Outgoing {
    const fn length(&self) -> usize {
        self.end - self.start
    }
}

/// Whether packets may be given to the kernel joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Joining {
    /// Not looked yet.
    #[default]
    Unknown,
    /// The kernel can cut them apart.
    Known,
    /// It cannot, or it has refused to.
    Refused,
}

/// Collects packets for one socket and sends them in batches.
#[derive(Debug, Default)]
pub struct Sender {
    bytes: Vec<u8>,
    packets: Vec<Outgoing>,
    /// The packets of each header.
    runs: Vec<Range<usize>>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    joining: Joining,
    routes: Routes,
}

// SAFETY: the pointers in `vectors` and `headers` lead into the other fields, are written anew before
// every call and are never followed between calls.
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
        self.packets.push(Outgoing { to, from, start, end: self.bytes.len() });
    }

    /// Sends all that was added; those of one way in the order in which they were. How many went; `failed`
    /// is told of each that did not.
    pub fn flush(&mut self, socket: &UdpSocket, mut failed: impl FnMut(io::Error)) -> usize {
        if self.packets.is_empty() {
            return 0;
        }
        self.order(socket);
        self.prepare();
        let (mut next, mut sent) = (0, 0);
        while let Some(rest) = self.headers.get_mut(next..).filter(|rest| !rest.is_empty()) {
            match send(socket, rest) {
                Ok(went) => {
                    let went = next + went.max(1);
                    let runs = self.runs.get(next..went).unwrap_or_default();
                    sent += runs.iter().map(ExactSizeIterator::len).sum::<usize>();
                    next = went;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let run = self.runs.get(next).cloned().unwrap_or_default();
                    if run.len() > 1 {
                        sent += self.send_singly(socket, run, &error, &mut failed);
                    } else {
                        failed(error);
                    }
                    next += 1;
                }
            }
        }
        self.bytes.clear();
        self.packets.clear();
        sent
    }

    /// Puts packets beside each other that go the same way, if they may be joined.
    fn order(&mut self, socket: &UdpSocket) {
        if self.joining == Joining::Unknown {
            let is_known = segment::is_known(socket);
            self.joining = if is_known { Joining::Known } else { Joining::Refused };
        }
        let is_joined = self.joining == Joining::Known
            && self.packets.iter().all(|packet| self.routes.is_loopback(*packet.to.ip()));
        if is_joined {
            self.packets
                .sort_unstable_by_key(|packet| (packet.to, packet.from, packet.start, packet.end));
        }
        self.runs.clear();
        let mut first = 0;
        while let Some(rest) = self.packets.get(first..).filter(|rest| !rest.is_empty()) {
            let count = if is_joined { run_length(rest) } else { 1 };
            self.runs.push(first..first + count);
            first += count;
        }
    }

    /// Writes headers for what was added.
    fn prepare(&mut self) {
        self.bytes.reserve(MESSAGE_LENGTH_MAX);
        self.vectors.clear();
        self.names.clear();
        self.headers.clear();
        self.controls.resize(self.controls.len().max(self.runs.len()), [0; CONTROL_WORDS]);
        for packet in &self.packets {
            let bytes = self.bytes.get_mut(packet.start..packet.end).unwrap_or_default();
            self.vectors
                .push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        }
        let first = |run: &Range<usize>| self.packets.get(run.start);
        self.names.extend(self.runs.iter().filter_map(first).map(|packet| name(packet.to)));
        for ((run, name), control) in self.runs.iter().zip(&mut self.names).zip(&mut self.controls)
        {
            let Some(packet) = self.packets.get(run.start) else { continue };
            let vectors = self.vectors.get_mut(run.clone()).unwrap_or_default();
            let mut header = header(from_mut(name), control, vectors);
            let segment = (run.len() > 1).then(|| packet.length());
            attach(&mut header.msg_hdr, packet.from, segment);
            self.headers.push(header);
        }
    }

    /// Sends the packets of a run that could not be sent joined, so that each has its own error. How many
    /// went.
    fn send_singly(
        &mut self,
        socket: &UdpSocket,
        run: Range<usize>,
        joined: &io::Error,
        failed: &mut impl FnMut(io::Error),
    ) -> usize {
        let mut sent = 0;
        for place in run {
            let Some(packet) = self.packets.get(place) else { continue };
            let (mut name, mut control) = (name(packet.to), [0; CONTROL_WORDS]);
            let Some(vector) = self.vectors.get_mut(place) else { continue };
            let vectors = std::slice::from_mut(vector);
            let mut header = header(from_mut(&mut name), &mut control, vectors);
            attach(&mut header.msg_hdr, packet.from, None);
            let headers = std::slice::from_mut(&mut header);
            let error = loop {
                match send(socket, headers) {
                    Ok(_) => break None,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Some(error),
                }
            };
            match error {
                None => sent += 1,
                Some(error) => failed(error),
            }
        }
        // It was the joining that the kernel did not like, and it would not like it again.
        if sent > 0 && matches!(joined.raw_os_error(), Some(libc::EINVAL | libc::EIO)) {
            self.joining = Joining::Refused;
        }
        sent
    }
}

/// How many packets from the first on can be joined: those of one way and one length, of which the last
/// may be shorter.
fn run_length(packets: &[Outgoing]) -> usize {
    let Some(first) = packets.first() else { return 0 };
    let (mut count, mut total) = (0, 0);
    for packet in packets {
        total += packet.length();
        let is_same_way = (packet.to, packet.from) == (first.to, first.from);
        let is_too_long = packet.length() > first.length() || total > JOINED_BYTES_MAX;
        // What is empty is a packet too, but no segment.
        if !is_same_way || is_too_long || packet.length() == 0 {
            break;
        }
        count += 1;
        if packet.length() < first.length() {
            break;
        }
    }
    count.max(1)
}

/// One sendmmsg: how many headers went.
fn send(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    // SAFETY: there are that many headers; each leads to a name, a control buffer and vectors with their
    // bytes, of the lengths said, all in fields or variables that live and do not change until it returns.
    let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Has a packet leave from an address of ours, unless that is unspecified, and be cut into segments of so
/// many bytes.
fn attach(header: &mut libc::msghdr, from: Ipv4Addr, segment: Option<usize>) {
    // SAFETY: an `in_pktinfo` of zeros is valid.
    let mut info: libc::in_pktinfo = unsafe { zeroed() };
    info.ipi_spec_dst.s_addr = u32::from(from).to_be();
    let info = (!from.is_unspecified()).then_some(info);
    let segment = segment.and_then(|length| u16::try_from(length).ok());
    let mut used = 0;
    // SAFETY: the control buffer is that of the header and has room for an `in_pktinfo`, a length, and
    // their heads, so no head is null; they are written unaligned.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        if let Some(info) = info {
            (*control).cmsg_level = libc::IPPROTO_IP;
            (*control).cmsg_type = libc::IP_PKTINFO;
            (*control).cmsg_len = libc::CMSG_LEN(length_of::<libc::in_pktinfo>()) as usize;
            libc::CMSG_DATA(control).cast::<libc::in_pktinfo>().write_unaligned(info);
            used += libc::CMSG_SPACE(length_of::<libc::in_pktinfo>()) as usize;
            control = control.byte_add(used);
        }
        if let Some(segment) = segment {
            (*control).cmsg_level = libc::SOL_UDP;
            (*control).cmsg_type = libc::UDP_SEGMENT;
            (*control).cmsg_len = libc::CMSG_LEN(length_of::<u16>()) as usize;
            libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
            used += libc::CMSG_SPACE(length_of::<u16>()) as usize;
        }
    }
    header.msg_controllen = used;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use crate::engine::batch::socket;

    const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

    /// Sends packets of so many bytes, each from an address of ours, and full of its own number; gives the
    /// calls that it took and what came.
    fn exchange(packets: &[(u8, usize)]) -> (usize, Vec<(u8, Vec<u8>)>) {
        let (one, other) = (socket(ANY).unwrap(), UdpSocket::bind("127.0.0.7:0").unwrap());
        let std::net::SocketAddr::V4(to) = other.local_addr().unwrap() else { panic!("IPv4") };
        let mut sender = Sender::default();
        for (number, (from, length)) in packets.iter().enumerate() {
            let from = Ipv4Addr::new(127, 20, 0, *from);
            let number = u8::try_from(number).unwrap();
            sender.add(Some(from), to, |bytes| bytes.resize(bytes.len() + length, number));
        }
        assert_eq!(sender.flush(&one, |error| panic!("{error}")), packets.len());
        let mut buffer = [0; 6000];
        let came = packets.iter().map(|_| {
            let (length, from) = other.recv_from(&mut buffer).unwrap();
            let std::net::SocketAddr::V4(from) = from else { panic!("IPv4") };
            (from.ip().octets()[3], buffer[..length].to_vec())
        });
        let came = came.collect();
        other.set_nonblocking(true).unwrap();
        assert!(other.recv_from(&mut buffer).is_err(), "more than was sent");
        (sender.headers.len(), came)
    }

    #[test]
    fn joined_packets_come_as_they_were() {
        let packets = [(1, 300); BATCH];
        let (calls, came) = exchange(&packets);
        assert_eq!(calls, 1, "one call for all");
        for (number, (from, bytes)) in (0..).zip(came) {
            assert_eq!((from, bytes), (1, vec![number; 300]));
        }
    }

    #[test]
    fn packets_of_any_lengths_and_sources_keep_both_and_their_order() {
        let mut random = crate::random::Random::new(11);
        let mut few = |below| usize::try_from(random.below(below)).unwrap();
        for _ in 0..200 {
            let packets: Vec<(u8, usize)> = (0..1 + few(BATCH as u64))
                .map(|_| (1 + u8::try_from(few(3)).unwrap(), [0, 1, 299, 300, 301, 1400][few(6)]))
                .collect();
            let (calls, came) = exchange(&packets);
            assert!(calls <= packets.len());
            for source in 1..4 {
                let sent = packets.iter().enumerate().filter(|(_, packet)| packet.0 == source);
                let sent =
                    sent.map(|(number, packet)| vec![u8::try_from(number).unwrap(); packet.1]);
                let came = came.iter().filter(|(from, _)| *from == source);
                assert!(sent.eq(came.map(|(_, bytes)| bytes.clone())), "{packets:?}");
            }
        }
    }

    #[test]
    fn relays_that_take_turns_are_joined_each_with_its_own() {
        let packets: Vec<(u8, usize)> = (0..15).map(|number| (1 + number % 3, 300)).collect();
        assert_eq!(exchange(&packets).0, 3);
    }

    #[test]
    fn each_of_a_run_that_cannot_be_sent_has_its_own_error() {
        let (one, other) = (socket(ANY).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let std::net::SocketAddr::V4(to) = other.local_addr().unwrap() else { panic!("IPv4") };
        let mut sender = Sender::default();
        for _ in 0..2 {
            // TEST-NET-1 is no address of this host.
            for from in [[127, 0, 0, 1], [192, 0, 2, 1], [192, 0, 2, 1], [192, 0, 2, 1]] {
                sender.add(Some(from.into()), to, |bytes| bytes.extend([1; 300]));
            }
            let mut errors = 0;
            assert_eq!(sender.flush(&one, |_| errors += 1), 1);
            assert_eq!((errors, sender.headers.len()), (3, 2), "and they are joined again");
        }
    }

    #[test]
    fn more_than_a_packet_can_hold_goes_in_two() {
        let (calls, came) = exchange(&[(1, 5000); BATCH]);
        assert!(came.iter().all(|(_, bytes)| bytes.len() == 5000));
        assert_eq!(calls, 2);
    }
}
