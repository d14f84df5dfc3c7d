//! What the kernel would hold: two sets whose elements expire by themselves.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{Effect, Side, Timestamp};

/// The gate's two sets, as changes were applied to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelSets {
    elements: BTreeMap<Ipv4Addr, (Side, Timestamp)>,
}

impl KernelSets {
    /// Applies an effect, as it was decided at `now`.
    pub(crate) fn apply(&mut self, effect: &Effect, now: Timestamp) {
        let after = |milliseconds: u64| {
            assert!(milliseconds > 0, "the kernel takes 0 for 'never ends'");
            Timestamp::from_milliseconds(now.milliseconds() + milliseconds)
        };
        match effect {
            Effect::Gate(change) => match change.side {
                Some((side, milliseconds)) => {
                    let element = (side, after(milliseconds));
                    let old = self.elements.insert(change.address, element);
                    let old_side = old.filter(|(_, end)| now < *end).map(|(old, _)| old);
                    assert!(
                        change.forget_flows || old_side == Some(side),
                        "flows of {} outlive their side: {old_side:?} to {side:?}",
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
