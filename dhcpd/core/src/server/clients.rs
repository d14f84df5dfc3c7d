//! What is known of the client that a packet came from: its classes, its circuit, its reservations, and the
//! lifetime that follows from them.
//!
//! A unicast renewal passes no relay. What the relay said of the client when it came by is in its lease, and
//! holds until it comes by again.

use super::Server;
use super::book::Entry;
use super::topology::NetworkIndex;
use crate::client_class::{Traits, classes_of};
use crate::relay_agent::{self, sub_option};
use crate::{Class, ClassSet, ClientIdentifier, Holder, ProfileIndex, Request};

/// What decided on the lifetime of a lease, besides the client's own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The lifetime for everybody.
    Everybody,
    /// That for hosts that are not registered, or that are to move soon.
    Unregistered,
    /// A profile, of the client's reservation or of its subnet.
    Profile(ProfileIndex),
    /// A class of clients, by its place in the configuration.
    ClientClass(usize),
    /// The pool is nearly full.
    Pressure,
}

impl Server {
    /// The classes that a packet's sender is in.
    pub(super) fn clients_of(&self, request: &Request) -> ClassSet {
        let classes = &self.topology.configuration().policy.classes;
        if classes.is_empty() {
            return ClassSet::NONE;
        }
        let registration = self.registrations.valid(request.hardware, self.now);
        let client = Traits {
            hardware: request.hardware,
            options: &request.kept_options,
            relay_agent: self.relay_agent_of(request),
            class: self.class_of(request.hardware),
            role: registration.and_then(|registration| registration.role.as_deref()),
        };
        classes_of(classes, &client)
    }

    /// What a relay says, or has said, of where a packet's sender is.
    fn relay_agent_of<'a>(&'a self, request: &'a Request) -> Option<&'a [u8]> {
        if request.is_relayed() {
            return request.relay_agent.as_ref().map(|relay_agent| relay_agent.raw());
        }
        let lease = self.book.entry(request.ciaddr.into())?;
        let is_its = lease.is_held(self.now) && lease.is_of(&request.client(), request.hardware);
        lease.relay_agent().filter(|_| is_its)
    }

    /// The circuit that a packet's sender is at.
    pub(super) fn circuit_of<'a>(&'a self, request: &'a Request) -> Option<&'a [u8]> {
        relay_agent::find(self.relay_agent_of(request)?, sub_option::CIRCUIT_ID)
    }

    /// Whether an address is reserved for a packet's sender.
    pub(super) fn is_reserved_for(&self, address: u32, request: &Request) -> bool {
        self.topology.reserved_for(address).is_some_and(|holder| match holder {
            Holder::Hardware(hardware) => *hardware == request.hardware,
            Holder::Client(identifier) => request.client_identifier.as_ref() == Some(identifier),
            Holder::Circuit(circuit) => self.circuit_of(request) == Some(&**circuit),
        })
    }

    /// The addresses that are reserved for a packet's sender in a network.
    pub(super) fn reservations_of(
        &self,
        request: &Request,
        network: NetworkIndex,
    ) -> impl Iterator<Item = u32> + use<'_> {
        let circuit = if self.topology.has_circuits() { self.circuit_of(request) } else { None };
        let client = request.client_identifier.as_deref();
        self.topology.reserved_addresses(network, request.hardware, client, circuit)
    }

    /// Whether an address is in a pool that clients of these classes may be given addresses of, or in none.
    pub(super) fn is_open_to(&self, clients: ClassSet, address: u32) -> bool {
        let pool = self.topology.pool_of(address);
        pool.is_none_or(|pool| {
            let wanted = self.topology.pools()[pool.0].clients;
            wanted.is_empty() || !wanted.and(clients).is_empty()
        }) || self.topology.reserved_for(address).is_some()
    }

    /// The lifetime that is configured for a client at an address, in seconds, and what decided on it.
    pub(super) fn configured_lifetime(
        &self,
        network: NetworkIndex,
        address: u32,
        class: Class,
        clients: ClassSet,
        is_own: bool,
    ) -> (u32, LifetimeSource) {
        let configuration = self.topology.configuration();
        let is_short = (self.topology.network(network).gated && class == Class::Unregistered)
            || self.is_misplaced(class, network, address);
        let found = if is_short {
            (configuration.lifetime_unregistered_seconds, LifetimeSource::Unregistered)
        } else {
            self.lifetime_of_place(address, clients, is_own)
                .unwrap_or((configuration.lifetime_seconds, LifetimeSource::Everybody))
        };
        match configuration.policy.pressure {
            Some(pressure)
                if pressure.lifetime_seconds < found.0
                    && self.percent_in_use(address) >= pressure.threshold_percent.into() =>
            {
                (pressure.lifetime_seconds, LifetimeSource::Pressure)
            }
            _ => found,
        }
    }

    fn lifetime_of_place(
        &self,
        address: u32,
        clients: ClassSet,
        is_own: bool,
    ) -> Option<(u32, LifetimeSource)> {
        let policy = &self.topology.configuration().policy;
        if policy.classes.is_empty() && policy.profiles.is_empty() {
            return None;
        }
        let of_profile = |index: ProfileIndex| {
            let seconds = policy.profiles.get(index.0)?.lifetime_seconds?;
            Some((seconds, LifetimeSource::Profile(index)))
        };
        let reservation = self.topology.reservation(address).filter(|_| is_own);
        let of_class = |index: usize| {
            let seconds = policy.classes.get(index)?.lifetime_seconds?;
            Some((seconds, LifetimeSource::ClientClass(index)))
        };
        reservation
            .and_then(|reservation| reservation.profile)
            .and_then(of_profile)
            .or_else(|| clients.iter().find_map(of_class))
            .or_else(|| {
                let subnet = self.topology.subnet_of(address.into())?;
                self.topology.subnet(subnet).profile.and_then(of_profile)
            })
    }

    /// Whether a client may not have a lease beside those that it has, because others have as many as one
    /// circuit or one owner may.
    pub(super) fn limit_is_reached(&self, request: &Request, client: &ClientIdentifier) -> bool {
        let limits = self.topology.configuration().policy.lease_limits;
        limits.per_circuit.is_some_and(|limit| self.others_at_circuit(request, client) >= limit)
            || limits.per_owner.is_some_and(|limit| {
                self.others_of_owner(request, client, limit as usize) >= limit as usize
            })
    }

    fn others_at_circuit(&self, request: &Request, client: &ClientIdentifier) -> u32 {
        let Some(circuit) = self.circuit_of(request) else { return 0 };
        let Some(relay_agent) = self.relay_agent_of(request) else { return 0 };
        // What came without a relay is a renewal of a lease that is there.
        let relay = request.giaddr;
        let is_here = |lease: &Entry<'_>| {
            let of_lease =
                lease.relay_agent().and_then(|raw| relay_agent::find(raw, sub_option::CIRCUIT_ID));
            lease.is_held(self.now) && lease.relay() == Some(relay) && of_lease == Some(circuit)
        };
        let own = self.book.of_client(client).filter(is_here).count();
        let all = self.book.held_at_circuit(relay, relay_agent);
        all.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX))
    }

    /// Leases that devices of the sender's owner hold under other identifiers than its own: those up to
    /// the limit, because no more have to be counted.
    fn others_of_owner(&self, request: &Request, client: &ClientIdentifier, limit: usize) -> usize {
        let registration = self.registrations.valid(request.hardware, self.now);
        let Some(owner) = registration.and_then(|registration| registration.owner.as_deref())
        else {
            return 0;
        };
        self.registrations
            .of_owner(owner, self.now)
            .flat_map(|registration| self.book.of_hardware(registration.hardware))
            .filter(|lease| lease.is_held(self.now) && !lease.has_client(client))
            .take(limit)
            .count()
    }

    /// How much of the pool that an address is in is not free, in percent; 0 if it is in none, or
    /// reserved.
    fn percent_in_use(&self, address: u32) -> u64 {
        let Some(pool) = self.topology.pool_of(address) else { return 0 };
        if self.topology.reserved_for(address).is_some() {
            return 0;
        }
        let (size, free) = self.count_free_of_pool(pool.0);
        size.saturating_sub(free) * 100 / size.max(1)
    }
}
