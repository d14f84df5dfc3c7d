//! Who holds a port: so that "address in use" can name the process.
//!
//! Read from `/proc/net` (which sockets there are) and `/proc/*/fd` (whose they are). It promises
//! nothing but a good guess: the socket may be gone by now, and the processes of other users and
//! of other network namespaces are hidden from a process without the capability to look. It needs
//! only the standard library, changes nothing, and looks at a bounded number of processes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::limits::PROCESSES_MAX;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP, and a socket that listens.
    Tcp,
}

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address and port that its socket is bound to: the one asked for, or one that covers it.
    pub address: SocketAddr,
    /// The process; `None` if it cannot be seen from here.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name, as the kernel has it: at most 15 bytes, control characters escaped.
    pub name: String,
    /// Its number.
    pub id: u32,
}

/// The holder of a socket that keeps another from being bound to `address`; `None` if none is seen.
/// An exact match is preferred to a wildcard.
pub fn find(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    let tables = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let mut found: Option<(SocketAddr, u64)> = None;
    for table in tables {
        let Ok(file) = fs::File::open(table) else { continue };
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            let Some(socket) = parse(&line, protocol) else { continue };
            if !collides(socket.0, address) {
                continue;
            }
            let better = found.is_none_or(|(held, _)| held != address && socket.0 == address);
            if better {
                found = Some(socket);
            }
        }
    }
    found.map(|(address, inode)| Holder { address, process: process_of(inode) })
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.id)
    }
}

/// `dnsmasq (process 123)`, with ` on 0.0.0.0:53` if asked for in the alternate form.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => process.fmt(f)?,
            None => f.write_str("a process that cannot be seen from here")?,
        }
        if f.alternate() { write!(f, " on {}", self.address) } else { Ok(()) }
    }
}

/// The local address and the inode in one line of a table; `None` if there is none that matters.
fn parse(line: &str, protocol: Protocol) -> Option<(SocketAddr, u64)> {
    /// The state of a TCP socket that listens.
    const LISTEN: &str = "0A";
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    if protocol == Protocol::Tcp && state != LISTEN {
        return None;
    }
    Some((parse_address(local)?, inode))
}

/// An address as the kernel's tables have it: words of 32 bits in the byte order of the machine, in hex.
pub(crate) fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for index in (0..address.len()).step_by(8) {
        let word = address.get(index..index + 8)?;
        octets.extend_from_slice(&u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
    }
    let address = if let Ok(octets) = <[u8; 4]>::try_from(octets.as_slice()) {
        IpAddr::from(Ipv4Addr::from(octets))
    } else {
        IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(octets.as_slice()).ok()?))
    };
    Some(SocketAddr::new(address, port))
}

/// Whether a socket at `held` can keep another from `wanted`. The IPv6 wildcard covers IPv4 unless
/// its socket says otherwise, which the tables do not show.
fn collides(held: SocketAddr, wanted: SocketAddr) -> bool {
    if held.port() != wanted.port() {
        return false;
    }
    let (held, wanted) = (held.ip().to_canonical(), wanted.ip().to_canonical());
    match (held, wanted) {
        (IpAddr::V4(held), IpAddr::V4(wanted)) => {
            held == wanted || held.is_unspecified() || wanted.is_unspecified()
        }
        (IpAddr::V6(held), IpAddr::V6(wanted)) => {
            held == wanted || held.is_unspecified() || wanted.is_unspecified()
        }
        (IpAddr::V6(held), IpAddr::V4(_)) => held.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

/// The process that has the socket with this inode open.
fn process_of(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let ids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, entry.path()))
    });
    ids.take(PROCESSES_MAX)
        .find(|(_, path)| has_open(path, Path::new(&wanted)))
        .map(|(id, path)| Process { name: name_of(&path), id })
}

fn has_open(process: &Path, wanted: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == wanted))
}

fn name_of(process: &Path) -> String {
    // A process chooses its own name, and this one goes to a terminal.
    let name = fs::read(process.join("comm")).unwrap_or_default();
    name.trim_ascii_end().escape_ascii().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn our_own_sockets_are_found() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp6 = UdpSocket::bind("[::]:0").unwrap();
        let own = std::process::id();
        for (protocol, address) in [
            (Protocol::Udp, udp.local_addr().unwrap()),
            (Protocol::Tcp, tcp.local_addr().unwrap()),
            (Protocol::Udp, udp6.local_addr().unwrap()),
        ] {
            let holder = find(protocol, address).unwrap();
            assert_eq!(holder.address, address);
            let process = holder.process.unwrap();
            assert_eq!(process.id, own);
            assert!(!process.name.is_empty());
        }
    }

    #[test]
    fn a_wildcard_is_found_for_an_address_it_covers() {
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        let holder = find(Protocol::Udp, SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        assert_eq!(holder.address, SocketAddr::from(([0, 0, 0, 0], port)));
        assert!(format!("{holder:#}").ends_with(&format!(" on 0.0.0.0:{port}")), "{holder:#}");
    }

    #[test]
    fn a_connected_tcp_socket_is_no_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(find(Protocol::Tcp, client.local_addr().unwrap()), None);
    }

    #[test]
    fn lines_of_the_tables_are_read() {
        let line = "  62: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 \
                    00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(
            parse(line, Protocol::Tcp),
            Some((
                if cfg!(target_endian = "little") {
                    "127.0.0.1:53".parse().unwrap()
                } else {
                    "1.0.0.127:53".parse().unwrap()
                },
                4711
            ))
        );
        for bad in
            ["", "sl local_address", "1: zz:0035 0 0A 0 0 0 0 0 1", "1: 00:0 0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(parse(bad, Protocol::Tcp), None, "{bad}");
        }
    }
}
