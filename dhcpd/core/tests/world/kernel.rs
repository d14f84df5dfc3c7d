//! What the kernel would hold: two sets whose elements expire by themselves, and tracked flows.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{ClientIdentifier, Effect, Record, Side, Timestamp};

/// The gate's two sets, as changes were applied to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelSets {
    elements: BTreeMap<Ipv4Addr, (Side, Timestamp)>,
    /// Who was granted an address last.
    holders: BTreeMap<Ipv4Addr, ClientIdentifier>,
    /// Whose flows there can be: of whoever was in a set. Nothing deletes those of who has left before it has to.
    flows: BTreeMap<Ipv4Addr, ClientIdentifier>,
}

impl KernelSets {
    /// Applies an effect, as it was decided at `now`.
    pub(crate) fn apply(&mut self, effect: &Effect, now: Timestamp) {
        let after = |milliseconds: u64| {
            assert!(milliseconds > 0, "the kernel takes 0 for 'never ends'");
            Timestamp::from_milliseconds(now.milliseconds() + milliseconds)
        };
        match effect {
            Effect::Persist(Record::Lease(lease)) => {
                self.holders.insert(lease.address, lease.client.clone());
            }
            Effect::Gate(change) => match change.side {
                Some((side, milliseconds)) => {
                    self.elements.insert(change.address, (side, after(milliseconds)));
                    let holder = self.holders.get(&change.address);
                    let holder = holder.expect("only a lease puts an address in a set");
                    let former = self.flows.insert(change.address, holder.clone());
                    assert!(
                        change.forget_flows || former.is_none_or(|former| former == *holder),
                        "flows of {} outlive their holder",
                        change.address
                    );
                }
                None => {
                    self.elements.remove(&change.address);
                }
            },
            Effect::GateReplace(all) => {
                self.elements = all
                    .elements
                    .iter()
                    .map(|(address, side, milliseconds)| (*address, (*side, after(*milliseconds))))
                    .collect();
                // Whoever is in neither set then has none.
                self.flows.retain(|address, _| self.elements.contains_key(address));
            }
            _ => {}
        }
    }

    /// Everything in them at `now`, in the form of [`vestibule_core::Server::gate`].
    pub(crate) fn contents(&self, now: Timestamp) -> Vec<(Ipv4Addr, Side, u64)> {
        self.elements
            .iter()
            .filter(|(_, (_, end))| now < *end)
            .map(|(address, (side, end))| (*address, *side, end.milliseconds_after(now)))
            .collect()
    }

    /// Where an address is at `now`.
    pub(crate) fn side_of(&self, address: Ipv4Addr, now: Timestamp) -> Option<Side> {
        self.elements.get(&address).filter(|(_, end)| now < *end).map(|(side, _)| *side)
    }
}
