//! Offers that wait for their REQUEST.
//!
//! They live in memory only: an offer promises nothing that must survive a crash (RFC 2131 section
//! 3.1), and a client whose offer is lost is served if the address is still free. At most
//! [`OFFERS_MAX`](crate::limits::OFFERS_MAX) are kept; the oldest gives way.

use super::topology::NetworkIndex;
use crate::{ClientIdentifier, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// One address, offered to one client.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) client: ClientIdentifier,
    pub(super) network: NetworkIndex,
    until: Timestamp,
    /// Whether the offer took the address out of its pool, so that its end gives it back. An offer of
    /// a reserved address or of the client's own lease took nothing.
    pub(super) took: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Offers {
    by_address: BTreeMap<u32, Offer>,
    by_client: BTreeMap<(ClientIdentifier, NetworkIndex), u32>,
    by_end: BTreeSet<(Timestamp, u32)>,
}

impl Offers {
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// The offer of an address.
    pub(super) fn of_address(&self, address: u32) -> Option<&Offer> {
        self.by_address.get(&address)
    }

    /// The address that a client was offered in a network.
    pub(super) fn of_client(
        &self,
        client: &ClientIdentifier,
        network: NetworkIndex,
    ) -> Option<u32> {
        self.by_client.get(&(client.clone(), network)).copied()
    }

    /// Notes an offer, in place of what the client was offered before in this network. The caller
    /// has ended that one, and the address's other offers.
    pub(super) fn insert(
        &mut self,
        address: u32,
        client: ClientIdentifier,
        network: NetworkIndex,
        until: Timestamp,
        took: bool,
    ) {
        self.by_client.insert((client.clone(), network), address);
        self.by_end.insert((until, address));
        self.by_address.insert(address, Offer { client, network, until, took });
    }

    /// Moves the end of an offer.
    pub(super) fn extend(&mut self, address: u32, until: Timestamp) {
        if let Some(offer) = self.by_address.get_mut(&address) {
            self.by_end.remove(&(offer.until, address));
            offer.until = until;
            self.by_end.insert((until, address));
        }
    }

    /// Notes that the address is out of its pool for its offer from now on. Whether that is new.
    pub(super) fn mark_taken(&mut self, address: u32) -> bool {
        self.by_address
            .get_mut(&address)
            .is_some_and(|offer| !std::mem::replace(&mut offer.took, true))
    }

    /// Ends an offer.
    pub(super) fn remove(&mut self, address: u32) -> Option<Offer> {
        let offer = self.by_address.remove(&address)?;
        self.by_end.remove(&(offer.until, address));
        self.by_client.remove(&(offer.client.clone(), offer.network));
        Some(offer)
    }

    /// The offer that ends first.
    pub(super) fn first_end(&self) -> Option<(Timestamp, u32)> {
        self.by_end.first().copied()
    }
}
