//! The sockets: bound all or none, and an error that says what to do.
//!
//! It promises that a socket it returns is exclusively ours (no `SO_REUSEPORT`: a second daemon on
//! the same port would get half the questions, and nobody would know why), and that the size of
//! the receive buffer which the kernel really gave is logged. It never falls back to another
//! address or port.

use crate::limits::{LISTEN_BACKLOG, UDP_RECEIVE_BUFFER_BYTES};
use crate::port_holder::{self, Holder, Protocol};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, UdpSocket};

/// A socket that could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The address and port that were asked for.
    pub address: SocketAddr,
    /// The key of the configuration that asked for it.
    pub key: &'static str,
    /// What is in the way.
    pub obstacle: Obstacle,
}

/// What is in the way of a socket.
#[derive(Debug)]
pub enum Obstacle {
    /// Another socket. Its holder, if one was seen.
    Taken(Option<Holder>),
    /// The address is not one of this host.
    NotOurs,
    /// We may not.
    NotPermitted,
    /// The kernel, for another cause.
    Kernel(io::Error),
}

/// A UDP socket for DNS.
pub(crate) fn udp(address: SocketAddr, key: &'static str) -> Result<UdpSocket, BindError> {
    if address.ip().is_unspecified() {
        tracing::warn!(
            %address,
            "answers leave from whatever address the route chooses, and a client ignores an answer \
             from another address than it asked: name this host's addresses in {key}"
        );
    }
    let bound = || -> io::Result<UdpSocket> {
        let socket = socket(address, Type::DGRAM)?;
        socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        // The kernel reports the double of what it grants, to count its own overhead (socket(7)).
        let granted = socket.recv_buffer_size()? / 2;
        if granted < UDP_RECEIVE_BUFFER_BYTES {
            tracing::warn!(
                %address, bytes = granted, wanted = UDP_RECEIVE_BUFFER_BYTES,
                "the kernel gave a smaller receive buffer: bursts of questions may be lost; \
                 raise it with `sysctl -w net.core.rmem_max={UDP_RECEIVE_BUFFER_BYTES}`"
            );
        } else {
            tracing::info!(%address, bytes = granted, "receive buffer");
        }
        UdpSocket::from_std(socket.into())
    };
    bound().map_err(|error| BindError::new(Protocol::Udp, address, key, error))
}

/// A TCP listener.
pub(crate) fn tcp(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = socket(address, Type::STREAM)?;
        // Connections of our predecessor that are still closing do not hold the port; a socket that
        // listens does.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(|error| BindError::new(Protocol::Tcp, address, key, error))
}

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // `[::]` means IPv6 here, and IPv4 has an entry of its own: what is configured is what is.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl BindError {
    fn new(protocol: Protocol, address: SocketAddr, key: &'static str, error: io::Error) -> Self {
        let obstacle = match error.kind() {
            io::ErrorKind::AddrInUse => Obstacle::Taken(port_holder::find(protocol, address)),
            io::ErrorKind::AddrNotAvailable => Obstacle::NotOurs,
            io::ErrorKind::PermissionDenied => Obstacle::NotPermitted,
            _ => Obstacle::Kernel(error),
        };
        Self { protocol, address, key, obstacle }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        };
        let (ip, port, key) = (self.address.ip(), self.address.port(), self.key);
        write!(f, "{protocol} port {port} of {ip} ")?;
        match &self.obstacle {
            Obstacle::Taken(holder) => {
                f.write_str("is taken by ")?;
                match holder {
                    Some(holder) if holder.address == self.address => write!(f, "{holder}")?,
                    Some(holder) => write!(f, "{holder:#}")?,
                    None => f.write_str("a socket that cannot be seen from here")?,
                }
                write!(f, ": stop it, or name another address or port in {key}")
            }
            Obstacle::NotOurs => write!(
                f,
                "cannot be had, because no interface of this host has that address: \
                 add it (`ip address add`), or correct {key}"
            ),
            Obstacle::NotPermitted => write!(
                f,
                "may not be opened by this user: ports below 1024 need root or the capability \
                 CAP_NET_BIND_SERVICE (in a systemd unit, AmbientCapabilities=), or name a \
                 higher port in {key}"
            ),
            Obstacle::Kernel(error) => write!(f, "cannot be opened ({key}): {error}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.obstacle {
            Obstacle::Kernel(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port_holder::Process;

    #[test]
    fn every_obstacle_has_its_remedy() {
        let text = |obstacle| {
            let address = SocketAddr::from(([10, 0, 0, 54], 53));
            let key = "dns.listen";
            BindError { protocol: Protocol::Udp, address, key, obstacle }.to_string()
        };
        let holder = |ip: [u8; 4], process| {
            Obstacle::Taken(Some(Holder { address: SocketAddr::from((ip, 53)), process }))
        };
        let dnsmasq = || Some(Process { name: "dnsmasq".into(), id: 123 });
        let remedy = ": stop it, or name another address or port in dns.listen";
        assert_eq!(
            text(holder([10, 0, 0, 54], dnsmasq())),
            format!("UDP port 53 of 10.0.0.54 is taken by dnsmasq (process 123){remedy}")
        );
        assert_eq!(
            text(holder([0, 0, 0, 0], dnsmasq())),
            format!(
                "UDP port 53 of 10.0.0.54 is taken by dnsmasq (process 123) on 0.0.0.0:53{remedy}"
            )
        );
        assert!(text(holder([10, 0, 0, 54], None)).contains("a process that cannot be seen"));
        assert!(text(Obstacle::Taken(None)).contains("a socket that cannot be seen"));
        assert!(text(Obstacle::NotOurs).contains("ip address add"));
        assert!(text(Obstacle::NotPermitted).contains("CAP_NET_BIND_SERVICE"));
        let kernel = text(Obstacle::Kernel(io::Error::from_raw_os_error(12)));
        assert!(kernel.contains("memory"), "{kernel}");
    }
}
