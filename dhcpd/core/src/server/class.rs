//! The classes of hosts, registered and unregistered, and the pools that are for one of them.
//!
//! A host gets an address of a pool for its class, else one of a pool for anybody. When its class has
//! changed, by a registration or the end of one, its next REQUEST for an address of the other class gets
//! a NAK, so that it begins anew and gets an address of its own class.
//!
//! It promises that such a NAK never leads into another: before it leaves, the address that the host will
//! be offered is put aside for it. While there is none, the host keeps the address that it has, for a
//! short lifetime at a time: who is served badly can still be helped, and who is not served cannot even
//! see why. A reserved address is its device's, whatever its class.

use super::topology::NetworkIndex;
use super::{Place, Server, Step, book};
use crate::{Class, ClientIdentifier, HardwareAddress, Request};

impl Server {
    /// What a host is now. Whose registration is suspended, or of a role that is a quarantine, is not let
    /// pass by the kernel sets either.
    pub(super) fn class_of(&self, hardware: HardwareAddress) -> Class {
        match book::pass_of(&self.topology, &self.registrations, hardware, self.now) {
            Some(_) => Class::Registered,
            None => Class::Unregistered,
        }
    }

    /// Whether an address of a network is for the other class of hosts.
    pub(super) fn is_misplaced(&self, class: Class, network: NetworkIndex, address: u32) -> bool {
        self.topology.has_class_pools(network)
            && self.topology.class_of_address(address).is_some_and(|other| other != class)
    }

    /// Puts an address of the host's own class aside for it, if the one that it asks for is of the other
    /// class. Whether it did: then the host may be sent there by a NAK.
    pub(super) fn put_aside(
        &mut self,
        request: &Request,
        client: &ClientIdentifier,
        place: Place,
        address: u32,
        step: &mut Step<'_>,
    ) -> bool {
        let class = self.class_of(request.hardware);
        // Where it goes it needs room for one more lease: the old one ends only with the new one's ACK.
        if !self.is_misplaced(class, place.network, address) || !self.has_room(request.hardware) {
            return false;
        }
        let Some(better) = self.choose_of_class(request, client, place, class, step) else {
            self.notice_exhausted(place.network, step);
            return false;
        };
        self.offer(client, place.network, better);
        true
    }
}
