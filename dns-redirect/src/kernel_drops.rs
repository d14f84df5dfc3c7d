//! How many datagrams the kernel dropped because a receive buffer was full.
//!
//! Read from `/proc/net/udp` and `udp6`, where the kernel counts them for each socket. It promises
//! the sum over the sockets bound to the addresses asked for, which are ours alone. A table that
//! cannot be read counts as nothing: this is read again a minute later.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::port_holder::parse_address;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;

/// The datagrams dropped so far for the UDP sockets that are bound to `addresses`.
pub(crate) fn of_udp_sockets(addresses: &[SocketAddr]) -> u64 {
    let mut drops = 0;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(file) = File::open(table) else { continue };
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            if let Some((address, count)) = parse(&line)
                && addresses.contains(&address)
            {
                drops += count;
            }
        }
    }
    drops
}

/// The local address and the drops in one line of the table.
fn parse(line: &str) -> Option<(SocketAddr, u64)> {
    // sl local_address rem_address st queues tr retrnsmt uid timeout inode ref pointer drops
    let mut fields = line.split_ascii_whitespace();
    let address = parse_address(fields.nth(1)?)?;
    Some((address, fields.nth(10)?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn what_a_full_buffer_drops_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(1).unwrap();
        assert_eq!(of_udp_sockets(&[address]), 0);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sent = 0;
        for _ in 0..1000 {
            client.send_to(&[0; 100], address).unwrap();
            sent += 1;
        }
        socket.set_nonblocking(true).unwrap();
        let mut received = 0;
        while socket.recv(&mut [0; 100]).is_ok() {
            received += 1;
        }
        assert!(received < sent);
        assert_eq!(of_udp_sockets(&[address]), sent - received);
        assert_eq!(of_udp_sockets(&[]), 0);
    }
}
