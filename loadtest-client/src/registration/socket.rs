//! Sockets that speak from a client's own address.
//!
//! The address need not be configured on any interface: a local route for its whole prefix is enough
//! (`ip route add local 10.20.0.0/14 dev lo`), or none at all for what only leaves (IP_FREEBIND).

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// Bytes of replies that the kernel queues: one client awaits one answer.
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

fn bound(client: Ipv4Addr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_freebind_v4(true)?;
    socket.bind(&SocketAddrV4::new(client, 0).into())?;
    Ok(socket)
}

/// A UDP socket from a port of the client's to one server; others' packets do not come to it.
pub(super) fn udp(client: Ipv4Addr, server: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = bound(client, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

/// A TCP connection from the client's address.
pub(super) async fn connected(client: Ipv4Addr, server: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = bound(client, Type::STREAM, Protocol::TCP)?;
    TcpSocket::from_std_stream(socket.into()).connect(server.into()).await
}
