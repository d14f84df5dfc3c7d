//! RELEASE, DECLINE and INFORM: messages of clients that have an address (RFC 2131 sections 4.3.3
//! to 4.3.5). RELEASE and DECLINE count only from the holder of the lease.

use super::{Server, Standing, Step, reply};
use crate::{BindingState, Effect, Happening, Notice, Reason, Release, Request, limits};

impl Server {
    pub(super) fn release(&mut self, request: &Request, step: &mut Step<'_>) {
        if let Some(identifier) = request.server_identifier
            && !self.is_own(identifier, request)
        {
            return step.unanswered(request, Reason::OtherServer);
        }
        let address = u32::from(request.ciaddr);
        if !self.is_from(request, request.ciaddr) {
            return step.unanswered(request, Reason::SourceMismatch);
        }
        if !self.is_holder(request, address) {
            return step.unanswered(request, Reason::NotTheHolder);
        }
        self.end_lease(address, BindingState::Released, self.now, step);
        step.unanswered(request, Reason::Released);
    }

    pub(super) fn decline(&mut self, request: &Request, step: &mut Step<'_>) {
        if let Some(identifier) = request.server_identifier
            && !self.is_own(identifier, request)
        {
            return step.unanswered(request, Reason::OtherServer);
        }
        let Some(requested) = request.requested_address else {
            return step.unanswered(request, Reason::MalformedRequest);
        };
        let address = u32::from(requested);
        // A client has no address of its own when it declines (RFC 2131 section 4.4.1), but it is where
        // the address is.
        let place = self.place(request).map(|place| place.network);
        let is_here = place.is_some() && place == self.topology.network_of(requested);
        if !is_here || !self.is_holder(request, address) {
            return step.unanswered(request, Reason::NotTheHolder);
        }
        // One device that finds every address in use must not take a whole pool out of use.
        let declined = self.count_of(request.hardware, |standing| standing == Standing::Declined);
        if declined < limits::DECLINES_PER_HARDWARE_ADDRESS_MAX {
            let quarantine_seconds = self.topology.configuration().decline_quarantine_seconds;
            let until = self.now.plus_seconds(quarantine_seconds.into());
            self.end_lease(address, BindingState::Declined, until, step);
        } else {
            self.end_lease(address, BindingState::Released, self.now, step);
        }
        step.effects.push(Effect::Notice(Notice::AddressDeclined {
            address: requested,
            hardware: request.hardware,
        }));
        if let Some(network) = self.topology.network_of(requested) {
            let network = || self.topology.network(network).name.clone();
            let declined = || Happening::AddressDeclined {
                address: requested,
                hardware: request.hardware,
                network: network(),
            };
            self.announce(declined, step);
        }
        step.unanswered(request, Reason::Declined);
    }

    /// Parameters without a lease. It promises nothing, so it does not wait for anything.
    pub(super) fn inform(&self, request: &Request, step: &mut Step<'_>) {
        if request.ciaddr.is_unspecified() {
            return step.unanswered(request, Reason::InformWithoutAddress);
        }
        let Some(subnet) = self.topology.subnet_of(request.ciaddr) else {
            return step.unanswered(request, Reason::UnknownNetwork);
        };
        // The first and the last address of a subnet are no host's: an answer would go to all of them.
        let prefix = self.topology.subnet(subnet).prefix;
        let is_nobodys = [prefix.network(), prefix.broadcast()].contains(&request.ciaddr);
        if is_nobodys && prefix.prefix() < 31 {
            return step.unanswered(request, Reason::InformWithoutAddress);
        }
        let address = u32::from(request.ciaddr);
        let is_own = self.is_reserved_for(address, request);
        let class = self.class_of(request.hardware);
        let levels = self.topology.levels(address, is_own, class, self.clients_of(request));
        step.reply(reply::inform(levels, request), Release::Immediately, None);
    }

    fn is_holder(&self, request: &Request, address: u32) -> bool {
        let client = request.client();
        self.book
            .entry(address)
            .is_some_and(|lease| lease.is_held(self.now) && lease.has_client(&client))
    }
}
