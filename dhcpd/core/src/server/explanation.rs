//! Why a client gets what it gets: the same look-ups that a reply is made by, with the level that each of
//! them ended at.

use super::Server;
use super::clients::LifetimeSource;
use super::levels::OptionLevel;
use crate::client_class::options_looked_at;
use crate::{AddressRange, Class, Codes, Request};
use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;

/// Why a client gets what it gets at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The network of the address.
    pub network: Box<str>,
    /// Whether it is gated.
    pub gated: bool,
    /// The prefix of its subnet.
    pub subnet: Ipv4Network,
    /// The pool that it is in.
    pub pool: Option<AddressRange>,
    /// Whether it is reserved for the client.
    pub is_reserved: bool,
    /// Whether the client is registered.
    pub class: Class,
    /// The classes that the client is in, by their place in the configuration.
    pub clients: Vec<usize>,
    /// The lifetime that is configured for it in seconds, and what decided on it.
    pub lifetime: (u32, LifetimeSource),
    /// The next server in bootstrap, and the level that says it.
    pub next_server: Option<(Ipv4Addr, OptionLevel)>,
    /// Every option that is configured for it, and the level that wins.
    pub options: Vec<(u8, OptionLevel)>,
}

impl Server {
    /// The options that the classes of clients look at, which whoever decodes packets has to keep.
    #[must_use]
    pub fn kept_options(&self) -> Codes {
        options_looked_at(&self.topology.configuration().policy.classes)
    }

    /// Why the sender of a packet gets what it gets at an address. `None`: the address is in no subnet.
    #[must_use]
    pub fn explain(&self, request: &Request, address: Ipv4Addr) -> Option<Explanation> {
        let index = self.topology.subnet_of(address)?;
        let network = self.topology.network(index.network);
        let address = u32::from(address);
        let class = self.class_of(request.hardware);
        let clients = self.clients_of(request);
        let is_reserved = self.is_reserved_for(address, request);
        let levels = self.topology.levels(address, is_reserved, class, clients)?;
        let pool = self.topology.pool_of(address).map(|pool| self.topology.pools()[pool.0]);
        Some(Explanation {
            network: network.name.clone(),
            gated: network.gated,
            subnet: self.topology.subnet(index).prefix,
            pool: pool
                .map(|pool| AddressRange { first: pool.first.into(), last: pool.last.into() }),
            is_reserved,
            class,
            clients: clients.iter().collect(),
            lifetime: self.configured_lifetime(index.network, address, class, clients, is_reserved),
            next_server: levels.next_server(),
            options: (0..=u8::MAX).filter_map(|code| Some((code, levels.level(code)?))).collect(),
        })
    }
}
