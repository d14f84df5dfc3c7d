//! The model of the kernel sets and of tracked flows. It outlives every process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{GateChange, Side};

/// A tracked flow: whose it is, and which side its packets met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// The device.
    pub(crate) device: usize,
    /// The side.
    pub(crate) side: Side,
    /// The server's process in whose life it began.
    pub(crate) life: u64,
}

/// The two sets, with ends in milliseconds of true time, and the flows of hosts in them.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    elements: BTreeMap<Ipv4Addr, (Side, u64)>,
    flows: BTreeMap<Ipv4Addr, Flow>,
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
        for change in changes.iter().filter(|change| change.forget_flows) {
            self.flows.remove(&change.address);
        }
    }

    /// The whole of the sets.
    pub(crate) fn replace(&mut self, elements: &[(Ipv4Addr, Side, u64)], now: u64) {
        self.elements = elements
            .iter()
            .map(|(address, side, milliseconds)| (*address, (*side, now + milliseconds)))
            .collect();
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
    pub(crate) fn talk(&mut self, address: Ipv4Addr, device: usize, life: u64, now: u64) {
        if let Some(side) = self.side(address, now) {
            self.flows.entry(address).or_insert(Flow { device, side, life });
        }
    }

    /// The flow of an address.
    #[must_use]
    pub(crate) fn flow(&self, address: Ipv4Addr) -> Option<Flow> {
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
