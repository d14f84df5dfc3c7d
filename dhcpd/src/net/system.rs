//! The system calls that std and socket2 do not have: batches with control messages, packet
//! sockets, socket options, interfaces, poll. The only file of this folder with unsafe code.
//!
//! It promises that every pointer that the kernel gets points into memory that outlives the call,
//! and that what it returns is plain owned data. It never decides anything: who gets a packet, and
//! whether one is intact, is decided by its callers.

#![allow(
    unsafe_code,
    reason = "batched sends and receives with control messages exist only in libc"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "constants of libc, and sizes of its structures, which all fit the kernel's types"
)]

use libc::{c_int, c_void, socklen_t};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Packets per system call.
pub const BATCH_PACKETS_MAX: usize = 64;

/// Bytes of a packet that are kept: more than any DHCP message with IP and UDP headers, so that the
/// decoder sees that one is too long.
pub(super) const PACKET_BYTES_MAX: usize = 2048;

/// What one interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its number.
    pub(super) index: c_int,
    /// Whether it is up.
    pub(super) up: bool,
    /// Its first IPv4 address and that network's broadcast address.
    pub(super) address: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// Looks an interface up; `None` if there is none of that name.
pub(super) fn interface(name: &str) -> io::Result<Option<Interface>> {
    let Ok(c_name) = CString::new(name) else { return Ok(None) };
    // SAFETY: the name is a C string that outlives the call.
    let Ok(index) = c_int::try_from(unsafe { libc::if_nametoindex(c_name.as_ptr()) }) else {
        return Ok(None);
    };
    if index == 0 {
        return Ok(None);
    }
    let mut found = Interface { index, up: false, address: None };
    let mut list = std::ptr::null_mut();
    // SAFETY: `list` is a place for the pointer that the call returns.
    check(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut next = list;
    // SAFETY: the call succeeded, so `next` walks a valid list that lives until `freeifaddrs`.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: every entry has a name, a C string of the same list.
        if unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) } != c_name.as_c_str() {
            continue;
        }
        found.up = entry.ifa_flags & libc::IFF_UP.cast_unsigned() != 0;
        if let (None, Some(address), Some(netmask)) =
            (found.address, ipv4(entry.ifa_addr), ipv4(entry.ifa_netmask))
        {
            found.address = Some((address, address | !netmask));
        }
    }
    // SAFETY: the list comes from `getifaddrs`, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(Some(found))
}

/// The address in a socket address of a list of interfaces, if it is IPv4.
fn ipv4(address: *const libc::sockaddr) -> Option<Ipv4Addr> {
    // SAFETY: callers pass null or a pointer to a socket address of the list that they hold.
    let family = unsafe { address.as_ref() }?.sa_family;
    if c_int::from(family) != libc::AF_INET {
        return None;
    }
    // SAFETY: of this family, it is a `sockaddr_in`, which the list has aligned for.
    let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
    Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)))
}

/// Sets an integer socket option.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let length = socklen_t_of::<c_int>();
    // SAFETY: the value is an integer that outlives the call, and its size is given.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length)
    })?;
    Ok(())
}

/// How many packets the kernel has dropped in front of this socket since it was made. Wraps.
pub(super) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = socklen_t_of::<[u32; libc::SK_MEMINFO_DROPS as usize + 1]>();
    // SAFETY: the array outlives the call, and its size is given.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    Ok(values[libc::SK_MEMINFO_DROPS as usize])
}

/// Binds a packet socket to one interface; from now on it gets that interface's IPv4 packets.
pub(super) fn bind_packet_socket(socket: BorrowedFd<'_>, interface: c_int) -> io::Result<()> {
    let address = link_address(interface, [0; 6]);
    // SAFETY: the address is a `sockaddr_ll` that outlives the call, and its size is given.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            socklen_t_of::<libc::sockaddr_ll>(),
        )
    })?;
    Ok(())
}

/// A counter that polls as readable while it is not zero.
pub(super) fn event() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is involved.
    let descriptor = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the call has just made the descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits until one of the descriptors has what it waits for, or `timeout` (rounded up to
/// milliseconds; `None`: for ever) is over. Returns how many have.
pub(super) fn poll(
    descriptors: &mut [libc::pollfd],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let milliseconds = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
    });
    let count = descriptors.len() as libc::nfds_t;
    // SAFETY: the slice outlives the call, and its length is given.
    let ready = check(unsafe { libc::poll(descriptors.as_mut_ptr(), count, milliseconds) })?;
    Ok(usize::try_from(ready).unwrap_or(0))
}

/// One received packet's circumstances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Bytes of it in the buffer.
    length: usize,
    /// Whether it was longer than the buffer.
    pub(super) truncated: bool,
    /// Who sent it; UDP sockets only.
    pub(super) source: Option<SocketAddrV4>,
    /// The destination in its IP header and the interface it came in by; UDP sockets only, and only
    /// those that were told to say so.
    pub(super) destination: Option<(Ipv4Addr, c_int)>,
    /// Whether its UDP checksum is not to be looked at; packet sockets only.
    pub(super) checksum_not_needed: bool,
    /// Packets that the kernel had dropped in front of this socket so far, if any. Wraps.
    pub(super) dropped: Option<u32>,
}

/// Room for one batch of received packets.
pub(super) struct ReceiveBuffers {
    packets: Vec<[u8; PACKET_BYTES_MAX]>,
    controls: Vec<Control>,
    circumstances: Vec<Circumstances>,
}

impl ReceiveBuffers {
    /// Room for [`BATCH_PACKETS_MAX`] packets.
    pub(super) fn new() -> Self {
        Self {
            packets: vec![[0; PACKET_BYTES_MAX]; BATCH_PACKETS_MAX],
            controls: vec![Control([0; CONTROL_LENGTH]); BATCH_PACKETS_MAX],
            circumstances: Vec::with_capacity(BATCH_PACKETS_MAX),
        }
    }

    /// Receives what is there, without waiting, over what was here before.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.circumstances.clear();
        // SAFETY: all-zero bytes are valid values of these C structures.
        let (mut headers, mut names, mut vectors): (
            [libc::mmsghdr; BATCH_PACKETS_MAX],
            [SocketName; BATCH_PACKETS_MAX],
            [libc::iovec; BATCH_PACKETS_MAX],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        for ((((header, name), vector), packet), control) in headers
            .iter_mut()
            .zip(&mut names)
            .zip(&mut vectors)
            .zip(&mut self.packets)
            .zip(&mut self.controls)
        {
            *vector =
                libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: PACKET_BYTES_MAX };
            header.msg_hdr.msg_name = (name as *mut SocketName).cast();
            header.msg_hdr.msg_namelen = socklen_t_of::<SocketName>();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LENGTH as _;
        }
        // SAFETY: the headers point to names, vectors and control buffers that outlive the call,
        // each with its size; no two share any.
        let count = check(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_PACKETS_MAX as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        })?;
        for (header, name) in headers.iter().zip(&names).take(usize::try_from(count).unwrap_or(0)) {
            let mut circumstances = Circumstances {
                length: usize::try_from(header.msg_len).unwrap_or(0),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                source: name.ipv4(),
                destination: None,
                checksum_not_needed: false,
                dropped: None,
            };
            read_control_messages(&header.msg_hdr, &mut circumstances);
            self.circumstances.push(circumstances);
        }
        Ok(())
    }

    /// The packets of the last [`ReceiveBuffers::receive`].
    pub(super) fn packets(&self) -> impl ExactSizeIterator<Item = (&[u8], &Circumstances)> {
        self.circumstances.iter().zip(&self.packets).map(|(circumstances, packet)| {
            (packet.get(..circumstances.length).unwrap_or(packet), circumstances)
        })
    }
}

/// Where a packet goes, and from which address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// By a UDP socket.
    Udp {
        /// To whom.
        to: SocketAddrV4,
        /// From which of our addresses, and out of which interface; interface 0 leaves it to the routing
        /// table. `None`: from the one that the socket is bound to, by the routing table.
        from: Option<(Ipv4Addr, c_int)>,
    },
    /// By a packet socket.
    Link {
        /// Out of which interface.
        interface: c_int,
        /// To which Ethernet address.
        hardware: [u8; 6],
    },
}

/// One packet to send: `headers`, then `payload`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    /// Where it goes.
    pub(super) target: Target,
    /// What comes before the payload; empty for UDP sockets.
    pub(super) headers: [u8; super::frame::HEADERS_LENGTH],
    /// The DHCP message.
    pub(super) payload: &'a [u8],
}

/// Sends the first [`BATCH_PACKETS_MAX`] of the packets without waiting. Returns how many went; an
/// error is the first one's.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    datagrams: impl ExactSizeIterator<Item = &'a Datagram<'a>>,
) -> io::Result<usize> {
    let count = datagrams.len().min(BATCH_PACKETS_MAX);
    // SAFETY: all-zero bytes are valid values of these C structures.
    let (mut headers, mut names, mut vectors): (
        [libc::mmsghdr; BATCH_PACKETS_MAX],
        [SocketName; BATCH_PACKETS_MAX],
        [[libc::iovec; 2]; BATCH_PACKETS_MAX],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut controls = [const { PacketInformation::empty() }; BATCH_PACKETS_MAX];
    for ((((header, name), vectors), control), datagram) in
        headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(&mut controls).zip(datagrams)
    {
        let [first, second] = vectors;
        first.iov_base = datagram.headers.as_ptr().cast_mut().cast();
        second.iov_base = datagram.payload.as_ptr().cast_mut().cast();
        second.iov_len = datagram.payload.len();
        match datagram.target {
            Target::Udp { to, from } => {
                *name = SocketName::from(to);
                header.msg_hdr.msg_namelen = socklen_t_of::<libc::sockaddr_in>();
                if let Some((source, interface)) = from {
                    *control = PacketInformation::new(source, interface);
                    header.msg_hdr.msg_control = (control as *mut PacketInformation).cast();
                    header.msg_hdr.msg_controllen = size_of::<PacketInformation>() as _;
                }
            }
            Target::Link { interface, hardware } => {
                *name = SocketName { link: link_address(interface, hardware) };
                header.msg_hdr.msg_namelen = socklen_t_of::<libc::sockaddr_ll>();
                first.iov_len = datagram.headers.len();
            }
        }
        header.msg_hdr.msg_name = (name as *mut SocketName).cast();
        header.msg_hdr.msg_iov = vectors.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
    }
    let count = u32::try_from(count).unwrap_or(0);
    // SAFETY: the first `count` headers point to names, vectors, control messages and packets that
    // outlive the call, each with its size; the kernel only reads them.
    let sent = check(unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    })?;
    Ok(usize::try_from(sent).unwrap_or(0))
}

/// Bytes of control messages that a received packet may have: addresses, auxiliary data and the drop
/// counter take 32, 40 and 24.
const CONTROL_LENGTH: usize = 128;

/// A control message buffer, aligned as `cmsghdr` needs it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LENGTH]);

/// The one control message that goes with a sent UDP packet: `IP_PKTINFO`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PacketInformation {
    header: libc::cmsghdr,
    information: libc::in_pktinfo,
    padding: [u8; 4],
}

// The kernel reads the message where CMSG_DATA says it is, and as long as CMSG_SPACE says.
const _: () = {
    // SAFETY: these macros of C compute sizes; they touch no memory.
    let (space, data) =
        unsafe { (libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32), libc::CMSG_LEN(0)) };
    assert!(size_of::<PacketInformation>() == space as usize);
    assert!(std::mem::offset_of!(PacketInformation, information) == data as usize);
};

impl PacketInformation {
    const fn empty() -> Self {
        // SAFETY: all-zero bytes are a valid value of these C structures.
        unsafe { zeroed() }
    }

    fn new(source: Ipv4Addr, interface: c_int) -> Self {
        let mut message = Self::empty();
        // SAFETY: this macro of C computes a size; it touches no memory.
        message.header.cmsg_len =
            unsafe { libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) } as _;
        message.header.cmsg_level = libc::IPPROTO_IP;
        message.header.cmsg_type = libc::IP_PKTINFO;
        message.information.ipi_ifindex = interface;
        message.information.ipi_spec_dst.s_addr = u32::from(source).to_be();
        message
    }
}

/// A socket address of either family that this folder uses.
#[repr(C)]
#[derive(Clone, Copy)]
union SocketName {
    family: libc::sa_family_t,
    ipv4: libc::sockaddr_in,
    link: libc::sockaddr_ll,
}

impl SocketName {
    fn ipv4(&self) -> Option<SocketAddrV4> {
        // SAFETY: every field of the union begins with the family, and all bytes of it are set: the
        // union was zeroed, and the kernel has written over it.
        let family = unsafe { self.family };
        (c_int::from(family) == libc::AF_INET).then(|| {
            // SAFETY: of this family, it is a `sockaddr_in`; all bytes are set as above.
            let address = unsafe { self.ipv4 };
            SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)),
                u16::from_be(address.sin_port),
            )
        })
    }
}

impl From<SocketAddrV4> for SocketName {
    fn from(address: SocketAddrV4) -> Self {
        Self {
            ipv4: libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            },
        }
    }
}

/// The address of IPv4 packets to `hardware` on an interface.
fn link_address(interface: c_int, hardware: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = hardware;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: interface,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

/// Reads what the kernel said beside a packet.
fn read_control_messages(header: &libc::msghdr, circumstances: &mut Circumstances) {
    // SAFETY: the kernel has filled the control buffer that `header` points to, which is aligned
    // and lives as long as its `ReceiveBuffers`, and has set its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: these macros return null or a pointer to a whole header in the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        // SAFETY: `message` is a header in the buffer; its contents follow it.
        let data = unsafe { libc::CMSG_DATA(message) }.cast::<c_void>().cast_const();
        match (message.cmsg_level, message.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this type carries an `in_pktinfo`.
                let information = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                let address = Ipv4Addr::from(u32::from_be(information.ipi_addr.s_addr));
                circumstances.destination = Some((address, information.ipi_ifindex));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: a message of this type carries a `tpacket_auxdata`.
                let data = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                circumstances.checksum_not_needed = data.tp_status
                    & (libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_CSUM_VALID)
                    != 0;
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                // SAFETY: a message of this type carries a `u32`.
                circumstances.dropped = Some(unsafe { data.cast::<u32>().read_unaligned() });
            }
            _ => {}
        }
        // SAFETY: `message` is a header of the buffer that `header` points to.
        next = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
}

/// The size of a C structure as the kernel wants it; none here is larger than 128 bytes.
const fn socklen_t_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// The result of a system call that says -1 for an error.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_with_its_address_and_others_are_not() {
        let loopback = interface("lo").unwrap().unwrap();
        assert!(loopback.index > 0);
        if let Some((address, broadcast)) = loopback.address {
            assert!(address.is_loopback() && broadcast.is_loopback());
        }
        assert_eq!(interface("no-such-lan-0").unwrap(), None);
        assert_eq!(interface("a\0b").unwrap(), None);
    }
}
