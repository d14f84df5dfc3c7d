//! What clients may believe: every ACK that has left, and until when it holds.
//!
//! It knows nothing of the server but the packets that left it. P1 is one line of it: an ACK for an
//! address that another client may still believe to be its own is a violation.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{ClientIdentifier, HardwareAddress, Timestamp};

/// What one client was told.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    pub(crate) client: ClientIdentifier,
    pub(crate) hardware: HardwareAddress,
    pub(crate) ends: Timestamp,
}

/// A promise to a client as it left, or its end, in the order of the steps.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Acknowledged {
        address: Ipv4Addr,
        belief: Belief,
        at: Timestamp,
        reserved_for_it: bool,
        /// The client's other addresses of the same network, as far as the server serves it now.
        left: Vec<Ipv4Addr>,
    },
    Released {
        address: Ipv4Addr,
        client: ClientIdentifier,
        at: Timestamp,
    },
    Declined {
        address: Ipv4Addr,
        client: ClientIdentifier,
        at: Timestamp,
        until: Timestamp,
    },
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    believed: BTreeMap<Ipv4Addr, Belief>,
    quarantined: BTreeMap<Ipv4Addr, Timestamp>,
}

impl Ledger {
    /// Notes what has become durable.
    pub(crate) fn note(&mut self, event: Event) {
        match event {
            Event::Acknowledged { address, mut belief, at, reserved_for_it, left } => {
                let until = self.quarantined.get(&address).copied().unwrap_or(Timestamp::ZERO);
                assert!(at >= until, "{address} was acknowledged while in quarantine: {belief:?}");
                if let Some(other) = self.believed.get(&address)
                    && other.client != belief.client
                    && at < other.ends
                {
                    // The device that an address is reserved for takes it over from itself.
                    let takes_over = reserved_for_it && other.hardware == belief.hardware;
                    assert!(takes_over, "{address} has two holders: {other:?} and {belief:?}");
                }
                // The ACK may be lost, and then the client goes by the one before.
                if let Some(former) = self.believed.get(&address)
                    && former.client == belief.client
                    && at < former.ends
                {
                    belief.ends = belief.ends.max(former.ends);
                }
                // A client that takes another address of the same network has left its former one.
                self.believed.retain(|other, former| {
                    former.client != belief.client || !left.contains(other)
                });
                self.believed.insert(address, belief);
            }
            Event::Released { address, client, at } => self.end(address, &client, at),
            Event::Declined { address, client, at, until } => {
                self.end(address, &client, at);
                self.quarantined.insert(address, until);
            }
        }
    }

    fn end(&mut self, address: Ipv4Addr, client: &ClientIdentifier, at: Timestamp) {
        if let Some(holder) = self.believed.get(&address) {
            assert!(
                holder.client == *client || holder.ends <= at,
                "{client} ended the lease of {holder:?} on {address}"
            );
            self.believed.remove(&address);
        }
    }

    /// Who believes at `now` to hold what.
    pub(crate) fn held(&self, now: Timestamp) -> impl Iterator<Item = (Ipv4Addr, &Belief)> {
        self.believed
            .iter()
            .filter(move |(_, belief)| now < belief.ends)
            .map(|(address, belief)| (*address, belief))
    }
}
