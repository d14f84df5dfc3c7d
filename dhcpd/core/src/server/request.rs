//! REQUEST: the four states of a client that sends one, and what each gets (RFC 2131 section 4.3.2).
//!
//! | state | server identifier | requested address | ciaddr |
//! | --- | --- | --- | --- |
//! | SELECTING | ours | yes | no |
//! | INIT-REBOOT | no | yes | no |
//! | RENEWING, REBINDING | no | no | yes |
//!
//! Silence where the RFC asks for it: the choice of another server's offer, and a client that this
//! server knows nothing of. A NAK where the address is wrong for the network or somebody else's, and
//! where it is for the other class of hosts (`class`).

use super::book::Entry;
use super::topology::NetworkIndex;
use super::{Place, Server, Step, reply};
use crate::{
    BindingState, ClientIdentifier, Lease, MessageType, Reason, Release, Request, Timestamp,
};

/// What a client says of itself by the fields of its REQUEST.
enum State {
    Selecting(u32),
    InitReboot(u32),
    RenewingOrRebinding(u32),
}

impl Server {
    pub(super) fn request(&mut self, request: &Request, step: &mut Step<'_>) {
        let client = request.client();
        if self.is_held(request, &client) {
            return step.unanswered(request, Reason::DuplicateOfHeld);
        }
        if let Some(identifier) = request.server_identifier
            && !self.is_own(identifier, request)
        {
            self.withdraw_offer(request, &client);
            return step.unanswered(request, Reason::OtherServer);
        }
        let requested = request.requested_address.map(u32::from);
        let ciaddr = Some(u32::from(request.ciaddr)).filter(|address| *address != 0);
        let state = match (request.server_identifier, requested, ciaddr) {
            // Some clients name the server also when they renew; what counts is that they have an
            // address and ask for no other.
            (_, None, Some(address)) => State::RenewingOrRebinding(address),
            (_, Some(requested), Some(address)) if requested == address => {
                State::RenewingOrRebinding(address)
            }
            (Some(_), Some(requested), None) => State::Selecting(requested),
            (None, Some(requested), None) => State::InitReboot(requested),
            (_, Some(_), Some(_)) | (_, None, None) => {
                return step.unanswered(request, Reason::MalformedRequest);
            }
        };
        let Some(place) = self.place(request) else {
            return step.unanswered(request, Reason::UnknownNetwork);
        };
        let (State::Selecting(address)
        | State::InitReboot(address)
        | State::RenewingOrRebinding(address)) = state;
        self.settle(address, step);
        let judged = self.judge(request, &client, place, &state, address);
        let moves = judged.is_ok() && self.put_aside(request, &client, place, address, step);
        match if moves { Err(Refusal::Nak(Reason::WrongClass)) } else { judged } {
            Ok(()) => {
                // Who selects was just offered a whole lifetime.
                let may_reuse = !matches!(state, State::Selecting(_));
                let network = place.network;
                if !may_reuse || !self.answer_from_lease(request, &client, network, address, step) {
                    self.acknowledge(request, &client, network, address, step);
                }
            }
            Err(Refusal::Silence(reason)) => step.unanswered(request, reason),
            Err(Refusal::Nak(reason)) => {
                let nak = reply::nak(request, message_of(reason));
                step.reply(nak, Release::Immediately, Some(reason));
            }
        }
    }

    fn judge(
        &self,
        request: &Request,
        client: &ClientIdentifier,
        place: Place,
        state: &State,
        address: u32,
    ) -> Result<(), Refusal> {
        let network = place.network;
        if self.topology.network_of(address.into()) != Some(network) {
            return Err(Refusal::Nak(Reason::WrongNetwork));
        }
        let is_own_record = self.book.entry(address).is_some_and(|lease| lease.has_client(client));
        let is_own_now =
            is_own_record && self.book.entry(address).is_some_and(|lease| lease.is_held(self.now));
        if let State::RenewingOrRebinding(_) = state {
            // RFC 2131 section 4.3.2, RENEWING: the client sends from the address that it renews.
            if !self.is_from(request, address.into()) {
                return Err(Refusal::Silence(Reason::SourceMismatch));
            }
            // A host does not change its hardware address while it uses its address; whoever knows
            // another's identifier must not move that one's gate.
            let is_same_device =
                self.book.entry(address).is_some_and(|lease| lease.hardware() == request.hardware);
            if is_own_now && !is_same_device {
                return Err(Refusal::Silence(Reason::UnknownLease));
            }
        }
        // Who renews holds what the book says. Anybody else may have given it back, and somebody else
        // have got it, in what was lost.
        let renews = matches!(state, State::RenewingOrRebinding(_)) && is_own_now;
        if self.is_open(address) && !renews {
            return Err(Refusal::Silence(Reason::HoldOff));
        }
        if let State::InitReboot(_) | State::RenewingOrRebinding(_) = state {
            let takes_over = self.is_reserved_for(address, request)
                && self
                    .book
                    .entry(address)
                    .is_some_and(|lease| lease.hardware() == request.hardware);
            if !is_own_record && !takes_over {
                return Err(self.refuse_unknown(client, network, state, address));
            }
        }
        if !self.may_have(request, network, address) {
            return Err(Refusal::Nak(Reason::AddressNotServed));
        }
        if !is_own_now && !self.is_open_to(self.clients_of(request), address) {
            return Err(Refusal::Nak(Reason::AddressNotServed));
        }
        // A reservation that waits for its device draws it away from any other address.
        if self.topology.reserved_for(address).is_none()
            && self.reserved(request, client, network).is_some()
        {
            return Err(Refusal::Nak(Reason::AddressNotServed));
        }
        if !self.is_available(request, client, address) {
            return Err(Refusal::Nak(Reason::AddressTaken));
        }
        if !self.pair_allows(client, address) {
            return Err(Refusal::Silence(Reason::PartnersAddress));
        }
        // Offers live in memory: after a restart the client still selects what it was offered, and
        // gets it if nobody else has it. But nobody picks an address that was offered to nobody.
        let was_offered =
            self.offers.of_address(address).is_some_and(|offer| offer.client == *client);
        if let State::Selecting(_) = state
            && !was_offered
            && !is_own_record
            && self.offers.of_client(client, network).is_some()
        {
            return Err(Refusal::Nak(Reason::OfferGone));
        }
        if !is_own_now && !self.has_room(request.hardware) {
            return Err(Refusal::Silence(Reason::TooManyLeases));
        }
        if !is_own_now && self.limit_is_reached(request, client) {
            return Err(Refusal::Silence(Reason::LeaseLimit));
        }
        Ok(())
    }

    /// What a client gets for an address that the book does not have under its name.
    fn refuse_unknown(
        &self,
        client: &ClientIdentifier,
        network: NetworkIndex,
        state: &State,
        address: u32,
    ) -> Refusal {
        let known = self
            .book
            .of_client(client)
            .any(|other| self.topology.network_of(other.address()) == Some(network));
        let taken = self.book.entry(address).is_some_and(|lease| lease.is_held(self.now));
        match state {
            // RFC 2131 section 4.3.2, INIT-REBOOT: "If the DHCP server has no record of this client,
            // then it MUST remain silent".
            State::InitReboot(_) if known => Refusal::Nak(Reason::AddressChanged),
            State::RenewingOrRebinding(_) if taken => Refusal::Nak(Reason::AddressTaken),
            State::RenewingOrRebinding(_) if known => Refusal::Nak(Reason::AddressChanged),
            _ => Refusal::Silence(Reason::UnknownLease),
        }
    }

    /// Gives a client an address: the lease, the gate, and an ACK that waits for both.
    pub(super) fn acknowledge(
        &mut self,
        request: &Request,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
        step: &mut Step<'_>,
    ) {
        let terms = self.terms(request, network, address);
        self.take(address);
        self.offers.remove(address);
        if let Some(other) = self.offers.of_client(client, network) {
            self.end_offer(other);
        }
        let last_address = self.last_address(request.hardware);
        self.end_other_leases(client, network, address, step);
        let old = self.book.entry(address).filter(|old| old.has_client(client));
        let continued = old.filter(|old| old.is_held(self.now));
        let started = continued.map_or(self.now, Entry::started);
        // A client whose ACK gets lost goes by what it was told before: a shorter lifetime than that is
        // told to it, and the address is kept for it until both are over.
        let promised = continued.map_or(Timestamp::ZERO, Entry::ends);
        let ends = self.now.plus_seconds(terms.lifetime_seconds.into()).max(promised);
        // A unicast renewal passes no relay: what the last one said of the place still holds.
        let direct = !request.is_relayed();
        let kept = old.filter(|_| direct);
        let relay = kept.map_or_else(|| (!direct).then_some(request.giaddr), Entry::relay);
        let relay_agent = kept.map_or_else(
            || request.relay_agent.as_ref().map(|relay_agent| relay_agent.raw().into()),
            |old| old.relay_agent().map(Box::from),
        );
        let known_name = || old.and_then(Entry::host_name);
        let host_name = request.host_name.as_deref().or_else(known_name).map(Box::from);
        let lease = Lease {
            address: address.into(),
            client: client.clone(),
            hardware: request.hardware,
            state: BindingState::Active,
            started,
            changed: self.now,
            ends,
            relay,
            relay_agent,
            host_name,
        };
        let desired = self.failover.as_ref().map(|_| self.desired_terms(request, network, address));
        let pair_time = desired.and_then(|it| self.pair_time(address, it.lifetime_seconds));
        let announced = (continued.is_none() && self.announces()).then(|| lease.clone());
        self.put(lease, step);
        if let Some(time) = pair_time {
            self.pair_granted(address, time, step);
        }
        if let Some(lease) = announced {
            self.announce_lease(&lease, network, last_address, step);
        }
        let mut ack =
            reply::grant(&self.topology, request, MessageType::Ack, address.into(), terms);
        self.add_lease_token(&mut ack, started);
        step.reply(ack, step.after_commit(), None);
        self.hold(request, client, step);
    }

    /// A client has one lease in a network (RFC 2131 section 2.1): with a new address, the old one is
    /// given back.
    fn end_other_leases(
        &mut self,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
        step: &mut Step<'_>,
    ) {
        let others: Vec<u32> = self
            .book
            .of_client(client)
            .filter(|lease| lease.is_held(self.now))
            .map(Entry::address)
            .filter(|other| self.topology.network_of(*other) == Some(network))
            .map(u32::from)
            .filter(|other| *other != address)
            .collect();
        for other in others {
            self.end_lease(other, BindingState::Released, self.now, step);
        }
    }

    /// Ends a lease that somebody holds; nothing happens to any other.
    pub(super) fn end_lease(
        &mut self,
        address: u32,
        state: BindingState,
        ends: Timestamp,
        step: &mut Step<'_>,
    ) {
        let held = self.book.entry(address).filter(|lease| lease.is_held(self.now));
        if let Some(lease) = held {
            let ended = Lease { state, changed: self.now, ends, ..lease.lease() };
            self.put(ended, step);
            if self.failover.is_some() {
                self.pair_ended(address, state, step);
            }
            self.pool_changed(address, step);
        }
    }

    /// The client took another server's offer: ours is free again (RFC 2131 section 4.3.2).
    fn withdraw_offer(&mut self, request: &Request, client: &ClientIdentifier) {
        if let Some(place) = self.place(request)
            && let Some(address) = self.offers.of_client(client, place.network)
        {
            self.end_offer(address);
        }
    }
}

/// How a REQUEST is refused.
enum Refusal {
    Silence(Reason),
    Nak(Reason),
}

/// What a NAK tells the person who reads the client's log (option 56).
fn message_of(reason: Reason) -> &'static str {
    match reason {
        Reason::WrongNetwork => "this address does not belong to the network that you are on",
        Reason::AddressTaken => "another host has this address",
        Reason::AddressChanged => "you have another address here",
        Reason::OfferGone => "you were offered another address",
        Reason::WrongClass => "your registration has changed, and with it your address here",
        _ => "this address cannot be had here",
    }
}
