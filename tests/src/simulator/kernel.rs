//! The model of the kernel sets and of tracked flows. It outlives every process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{GateChange, Side};

/// The two sets, with ends in milliseconds of true time, and whose tracked flows each address has.
///
/// A flow harms only whoever gets the address after its device: on the other side it is in another zone. Of
/// whoever has left nothing is deleted before it has to, as if the thread that does so never had its turn.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    elements: BTreeMap<Ipv4Addr, (Side, u64)>,
    flows: BTreeMap<Ipv4Addr, usize>,
    /// Somebody flushed the sets, and nobody has filled them since.
    pub(crate) is_flushed: bool,
    /// The table itself is gone: nothing can be changed in it.
    pub(crate) is_gone: bool,
    /// A transaction failed, and nobody has filled the sets since.
    pub(crate) is_behind: bool,
    /// It fails until then.
    pub(crate) fails_until: u64,
}

impl Kernel {
    /// One transaction, then the flows.
    pub(crate) fn apply(&mut self, changes: &[GateChange], now: u64) {
        for change in changes {
            match change.side {
                Some((side, milliseconds)) => {
                    self.elements.insert(change.address, (side, now + milliseconds));
                }
                None => {
                    self.elements.remove(&change.address);
                }
            }
        }
        let is_put = |change: &&GateChange| change.side.is_some() && change.forget_flows;
        for change in changes.iter().filter(is_put) {
            self.flows.remove(&change.address);
        }
    }

    /// Another process starts. Flows that began in the life of an earlier one are not judged: if that one
    /// ended while the kernel refused changes, which of them were owed died with it.
    pub(crate) fn another_life(&mut self) {
        self.flows.clear();
    }

    /// Flows that are forgotten late.
    pub(crate) fn forget(&mut self, flows: &[Ipv4Addr]) {
        for address in flows {
            self.flows.remove(address);
        }
    }

    /// The whole of the sets; flows of addresses in neither are deleted.
    pub(crate) fn replace(&mut self, elements: &[(Ipv4Addr, Side, u64)], now: u64) {
        self.elements = elements
            .iter()
            .map(|(address, side, milliseconds)| (*address, (*side, now + milliseconds)))
            .collect();
        self.flows.retain(|address, _| self.elements.contains_key(address));
        self.is_flushed = false;
        self.is_behind = false;
    }

    /// Somebody else empties the sets, or removes the table with them.
    pub(crate) fn flush(&mut self, with_table: bool) {
        self.is_gone = with_table;
        self.elements.clear();
        self.is_flushed = true;
    }

    /// Where an address is.
    #[must_use]
    pub(crate) fn side(&self, address: Ipv4Addr, now: u64) -> Option<Side> {
        self.elements.get(&address).filter(|(_, end)| now < *end).map(|(side, _)| *side)
    }

    /// A host begins to talk.
    pub(crate) fn talk(&mut self, address: Ipv4Addr, device: usize, now: u64) {
        if self.side(address, now).is_some() {
            self.flows.entry(address).or_insert(device);
        }
    }

    /// The device that began the flows of an address.
    #[must_use]
    pub(crate) fn flows_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.flows.get(&address).copied()
    }

    /// Everything in the sets.
    #[must_use]
    pub(crate) fn contents(&self, now: u64) -> BTreeMap<Ipv4Addr, Side> {
        self.elements
            .iter()
            .filter(|(_, (_, end))| now < *end)
            .map(|(address, (side, _))| (*address, *side))
            .collect()
    }
}
