//! Which way messages leave, and whether replies came the way that they should.
//!
//! It promises that a message through a relay goes to every server, from the relay's own address, and
//! that one of a client's own goes to one server, from the client's. It knows no client.

use super::Renewals;
use super::batch::Sender;
use crate::message::{Message, Relay};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// A client's own address, and the server that gave it.
pub(super) type Own = (Ipv4Addr, Ipv4Addr);

/// Where a reply came to, and what it says of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Where it should.
    Home,
    /// At another relay, with the right one in it. A router that is the relay of both links passes it on.
    OtherDoor,
    /// With another relay in it. No relay passes it on.
    OtherName,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Post {
    relays: Vec<Relay>,
    /// The relays' addresses, ascending.
    giaddrs: Vec<Ipv4Addr>,
    servers: Vec<SocketAddrV4>,
    renewals: Renewals,
    relay_socket: UdpSocket,
    client_socket: Option<UdpSocket>,
    by_relay: Sender,
    by_client: Sender,
}

impl Post {
    pub(super) fn new(
        relays: Vec<Relay>,
        servers: Vec<SocketAddrV4>,
        renewals: Renewals,
        relay_socket: UdpSocket,
        client_socket: Option<UdpSocket>,
    ) -> Self {
        let mut giaddrs: Vec<Ipv4Addr> = relays.iter().map(|relay| relay.giaddr).collect();
        giaddrs.sort_unstable();
        Self {
            relays,
            giaddrs,
            servers,
            renewals,
            relay_socket,
            client_socket,
            by_relay: Sender::default(),
            by_client: Sender::default(),
        }
    }

    pub(super) fn relays(&self) -> &[Relay] {
        &self.relays
    }

    pub(super) fn giaddr(&self, relay: usize) -> Ipv4Addr {
        self.relays.get(relay).map_or(Ipv4Addr::UNSPECIFIED, |relay| relay.giaddr)
    }

    /// The relays' socket and, if they have one, the clients'.
    pub(super) fn socket(&self, place: usize) -> Option<&UdpSocket> {
        if place == 0 { Some(&self.relay_socket) } else { self.client_socket.as_ref() }
    }

    /// How many servers a message through a relay goes to.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_relay.is_full() || self.by_client.is_full()
    }

    /// Whether a message to a server can and should leave from the client's own address. With RFC 5107
    /// the server's identifier is the relay's own address, and then it should not.
    pub(super) fn is_own(&self, (_, server): Own) -> bool {
        let is_relay = || {
            self.relays.first().is_some_and(|relay| relay.server_identifier_override)
                && self.is_relay(server)
        };
        self.client_socket.is_some() && self.renewals == Renewals::Unicast && !is_relay()
    }

    /// A message from a client's own address.
    pub(super) fn add_own(&mut self, message: &Message, (client, server): Own) {
        let port = self.servers.first().map_or(0, SocketAddrV4::port);
        let to = SocketAddrV4::new(server, port);
        self.by_client.add(Some(client), to, |bytes| message.append(None, bytes));
    }

    /// A message through a relay to one of the servers.
    pub(super) fn add_relayed(&mut self, message: &Message, relay: usize, server: usize) {
        let (Some(relay), Some(server)) = (self.relays.get(relay), self.servers.get(server)) else {
            return;
        };
        self.by_relay.add(Some(relay.giaddr), *server, |bytes| message.append(Some(relay), bytes));
    }

    /// Sends what is collected.
    pub(super) fn flush(&mut self, mut failed: impl FnMut(io::Error)) {
        self.by_relay.flush(&self.relay_socket, &mut failed);
        if let Some(socket) = &self.client_socket {
            self.by_client.flush(socket, &mut failed);
        }
    }

    /// How the reply to a message through a relay came: to an address of ours, naming a relay. An
    /// address that is no relay's is not judged: rules such as those of `steer` bring replies there.
    pub(super) fn arrival(&self, relay: usize, to: Ipv4Addr, named: Ipv4Addr) -> Arrival {
        let giaddr = self.giaddr(relay);
        if named != giaddr {
            Arrival::OtherName
        } else if to != giaddr && self.is_relay(to) {
            Arrival::OtherDoor
        } else {
            Arrival::Home
        }
    }

    fn is_relay(&self, address: Ipv4Addr) -> bool {
        self.giaddrs.binary_search(&address).is_ok()
    }
}
