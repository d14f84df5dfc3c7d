//! When one call of the kernel may carry several packets that it cuts apart itself (UDP segmentation
//! offload, `UDP_SEGMENT`, Linux 4.18).
//!
//! On the loopback device most of what a packet costs is its way through the kernel, once down and once
//! up, and that way is gone once for all packets of such a call; they are cut apart at the receiving
//! socket, which reads them one by one, with a drop counted for each. No UDP socket can tell the
//! difference, and no network card sends anything but the single packets. A packet socket can: on a
//! virtual link it sees them joined, and DHCP servers that read their networks that way (ISC dhcpd, Kea)
//! would take them for one broken packet. So this is done on the loopback device alone, on which no such
//! server reads.

use super::set_of;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// Destinations of which the way is remembered; beyond that all are looked up anew.
const ROUTES_MAX: usize = 4096;
/// The MTU of a way over the loopback device, unless somebody has made it less: the most that IPv4 has.
const LOOPBACK_MTU: libc::c_int = 65_535;

/// Whether the kernel behind a socket can segment at all. An older one would take what asks for it for
/// nothing, and send everything as one packet.
pub(super) fn is_known(socket: &UdpSocket) -> bool {
    set_of(socket, libc::SOL_UDP, libc::UDP_SEGMENT).is_some()
}

/// Which destinations are reached over the loopback device, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: BTreeMap<Ipv4Addr, bool>,
    last: Option<(Ipv4Addr, bool)>,
}

impl Routes {
    /// Whether packets to this address stay on this host's loopback device.
    pub(super) fn is_loopback(&mut self, to: Ipv4Addr) -> bool {
        match self.last {
            Some((last, is_loopback)) if last == to => return is_loopback,
            _ => {}
        }
        let is_loopback = self.known.get(&to).copied().unwrap_or_else(|| {
            if self.known.len() >= ROUTES_MAX {
                self.known.clear();
            }
            let is_loopback = local_route_mtu(to).is_some_and(|mtu| mtu >= LOOPBACK_MTU);
            self.known.insert(to, is_loopback);
            is_loopback
        });
        self.last = Some((to, is_loopback));
        is_loopback
    }
}

/// The MTU of the way to an address of this host; `None`: it is none, or the kernel does not say.
fn local_route_mtu(to: Ipv4Addr) -> Option<libc::c_int> {
    // Only an address of this host can be bound to, unless `net.ipv4.ip_nonlocal_bind` is set.
    let socket = UdpSocket::bind((to, 0)).ok()?;
    // Sends nothing: it looks up the route. The port is that of discard.
    socket.connect(SocketAddrV4::new(to, 9)).ok()?;
    set_of(&socket, libc::IPPROTO_IP, libc::IP_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_on_this_host_goes_over_the_loopback_device() {
        let mut routes = Routes::default();
        for _ in 0..2 {
            assert!(routes.is_loopback(Ipv4Addr::new(127, 20, 0, 1)));
            // TEST-NET-1 is no address of this host: away from it, or nowhere.
            assert!(!routes.is_loopback(Ipv4Addr::new(192, 0, 2, 1)));
        }
        for number in 0..=u32::try_from(ROUTES_MAX).unwrap_or(0) {
            assert!(routes.is_loopback(Ipv4Addr::from(0x7f40_0000 + number)));
        }
        assert!(routes.known.len() <= ROUTES_MAX);
    }
}
