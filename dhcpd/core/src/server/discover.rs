//! DISCOVER: which address a client is offered (RFC 2131 section 4.3.1), and rapid commit (RFC 4039).
//!
//! In this order: the address that is reserved for the device, the one that the client holds, the one
//! that it was just offered, the one that it held before, the one that it asks for, the one that has
//! been free longest. All but the first only among the addresses for its class of hosts; if there is none,
//! it keeps the one that it holds.

use super::book::Entry;
use super::pools::WantedPools;
use super::topology::NetworkIndex;
use super::{Place, Server, Step, reply};
use crate::{Class, ClassSet, ClientIdentifier, MessageType, Reason, Release, Request, limits};

impl Server {
    pub(super) fn discover(&mut self, request: &Request, step: &mut Step<'_>) {
        let Some(place) = self.place(request) else {
            return step.unanswered(request, Reason::UnknownNetwork);
        };
        let client = request.client();
        if self.is_held(request, &client) {
            return step.unanswered(request, Reason::DuplicateOfHeld);
        }
        if self.failover.is_some() && self.is_left_to_partner(request, &client, place) {
            return step.unanswered(request, Reason::LoadBalanced);
        }
        let holds_one_here = self.book.of_client(&client).any(|lease| {
            lease.is_held(self.now)
                && self.topology.network_of(lease.address()) == Some(place.network)
        });
        if !holds_one_here && !self.has_room(request.hardware) {
            return step.unanswered(request, Reason::TooManyLeases);
        }
        if !holds_one_here && self.limit_is_reached(request, &client) {
            return step.unanswered(request, Reason::LeaseLimit);
        }
        let Some(address) = self.choose(request, &client, place, step) else {
            if self.hold_off().is_some() {
                return step.unanswered(request, Reason::HoldOff);
            }
            self.notice_exhausted(place.network, step);
            return step.unanswered(request, Reason::PoolExhausted);
        };
        let terms = self.terms(request, place.network, address);
        if request.rapid_commit && self.topology.configuration().rapid_commit {
            return self.acknowledge(request, &client, place.network, address, step);
        }
        self.offer(&client, place.network, address);
        let offer =
            reply::grant(&self.topology, request, MessageType::Offer, address.into(), terms);
        step.reply(offer, Release::Immediately, None);
    }

    /// Chooses an address for a client: one for its class, else the one of the other class that it holds.
    fn choose(
        &mut self,
        request: &Request,
        client: &ClientIdentifier,
        place: Place,
        step: &mut Step<'_>,
    ) -> Option<u32> {
        let network = place.network;
        let class = self.class_of(request.hardware);
        let clients = self.clients_of(request);
        self.choose_of_class(request, client, place, class, step).or_else(|| {
            self.book
                .of_client(client)
                .filter(|lease| lease.is_held(self.now))
                .map(|lease| lease.address().into())
                .filter(|address| self.is_misplaced(class, network, *address))
                .find(|address| self.is_usable(request, client, clients, network, *address))
        })
    }

    /// Whether this client can have this address now.
    fn is_usable(
        &self,
        request: &Request,
        client: &ClientIdentifier,
        clients: ClassSet,
        network: NetworkIndex,
        address: u32,
    ) -> bool {
        self.may_have(request, network, address)
            && self.is_open_to(clients, address)
            && self.is_available(request, client, address)
            && !self.is_open(address)
            && self.pair_allows(client, address)
    }

    /// Chooses an address that is not for the other class of hosts. What is not offered or leased already
    /// is still in its pool, except an address that was found by [`super::pools::Pools::take_next`]: that
    /// one is noted as an offer at once.
    pub(super) fn choose_of_class(
        &mut self,
        request: &Request,
        client: &ClientIdentifier,
        place: Place,
        class: Class,
        step: &mut Step<'_>,
    ) -> Option<u32> {
        let network = place.network;
        if let Some(address) = self.reserved(request, client, network) {
            return Some(address);
        }
        let known: Vec<u32> =
            self.book.of_client(client).map(|lease| lease.address().into()).collect();
        for address in &known {
            self.settle(*address, step);
        }
        let clients = self.clients_of(request);
        let usable = |address: &u32| {
            self.is_usable(request, client, clients, network, *address)
                && !self.is_misplaced(class, network, *address)
        };
        let holds =
            |address: &u32| self.book.entry(*address).is_some_and(|lease| lease.is_held(self.now));
        if let Some(address) = known.iter().copied().filter(holds).find(usable) {
            return Some(address);
        }
        if let Some(address) = self.offers.of_client(client, network).filter(usable) {
            return Some(address);
        }
        // The newest of the former ones, if there are several.
        let changed = |address: &u32| self.book.entry(*address).map(Entry::changed);
        if let Some(address) = known.iter().copied().filter(usable).max_by_key(changed) {
            return Some(address);
        }
        if let Some(wanted) = request.requested_address.map(u32::from) {
            self.settle(wanted, step);
            if self.is_usable(request, client, clients, network, wanted)
                && !self.is_misplaced(class, network, wanted)
            {
                return Some(wanted);
            }
        }
        // What is free as far as the book goes may have been granted in what was lost.
        if self.hold_off().is_some() {
            return None;
        }
        self.next_free(client, place, class, clients)
    }

    /// The address that is reserved for the device in this network and that nobody else keeps it from.
    pub(super) fn reserved(
        &self,
        request: &Request,
        client: &ClientIdentifier,
        network: NetworkIndex,
    ) -> Option<u32> {
        self.reservations_of(request, network)
            .find(|address| self.is_available(request, client, *address) && !self.is_open(*address))
    }

    /// The address that has been free longest: in the subnet that the packet points to, else in another
    /// one of the same network; in the pools that are meant for the client most.
    fn next_free(
        &mut self,
        client: &ClientIdentifier,
        place: Place,
        class: Class,
        clients: ClassSet,
    ) -> Option<u32> {
        if self.failover.is_some() {
            let address = self.take_next_of_pair(place, class, clients)?;
            self.note_offer(client, place.network, address, true);
            return Some(address);
        }
        let wanted = self.wanted_pools(place.network, class, clients);
        let Self { topology, pools, .. } = self;
        let subnets = || {
            let others = topology.subnets(place.network).filter(|subnet| *subnet != place.subnet);
            std::iter::once(place.subnet).chain(others)
        };
        let mut next =
            |wanted| subnets().find_map(|subnet| pools.take_next(topology, subnet, wanted));
        let address = wanted.into_iter().flatten().find_map(&mut next)?;
        self.note_offer(client, place.network, address, true);
        Some(address)
    }

    /// Which pools of a network a client gets an address of, the first choice first: those for a class
    /// that it is in before those for all, and those for its side of the gate before those for both.
    pub(super) fn wanted_pools(
        &self,
        network: NetworkIndex,
        class: Class,
        clients: ClassSet,
    ) -> [Option<WantedPools>; 4] {
        let by_class = self.topology.has_class_pools(network);
        let by_clients = self.topology.has_client_pools(network) && !clients.is_empty();
        let wanted = |class, clients| Some(WantedPools { class, clients });
        let none = ClassSet::NONE;
        [
            if by_clients && by_class { wanted(Some(class), clients) } else { None },
            if by_clients { wanted(None, clients) } else { None },
            if by_class { wanted(Some(class), none) } else { None },
            wanted(None, none),
        ]
    }

    /// Keeps an address for a client until it asks for it.
    pub(super) fn offer(&mut self, client: &ClientIdentifier, network: NetworkIndex, address: u32) {
        if self.offers.of_client(client, network) == Some(address) {
            let until = self.now.plus_seconds(limits::OFFER_HOLD_SECONDS);
            return self.offers.extend(address, until);
        }
        let was_free = self.is_free(address);
        self.take(address);
        self.note_offer(client, network, address, was_free);
    }

    fn is_free(&self, address: u32) -> bool {
        use super::Standing;
        self.topology.reserved_for(address).is_none()
            && self.book.entry(address).is_none_or(|entry| entry.standing() == Standing::Ended)
    }

    fn note_offer(
        &mut self,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
        took: bool,
    ) {
        if let Some(old) = self.offers.of_client(client, network) {
            self.end_offer(old);
        }
        if self.offers.len() >= limits::OFFERS_MAX
            && let Some((_, oldest)) = self.offers.first_end()
        {
            self.end_offer(oldest);
        }
        let until = self.now.plus_seconds(limits::OFFER_HOLD_SECONDS);
        self.offers.insert(address, client.clone(), network, until, took);
    }
}
