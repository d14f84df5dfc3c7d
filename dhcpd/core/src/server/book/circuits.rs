//! How many leases are held behind each circuit, for the limit on them.
//!
//! A circuit is what a relay calls it (option 82, sub-option 1), at that relay. It is kept by a hash that
//! nobody can aim at without the key, so a circuit costs a few bytes however long its name is.

use super::entry::Entry;
use super::{HashKey, Standing, hash};
use crate::relay_agent::{find, sub_option};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// See the module.
#[derive(Debug)]
pub(super) struct Circuits {
    key: HashKey,
    held: BTreeMap<u64, u32>,
}

impl Circuits {
    pub(super) const fn new(key: HashKey) -> Self {
        Self { key, held: BTreeMap::new() }
    }

    /// Leases that are held behind a circuit.
    pub(super) fn held(&self, relay: Ipv4Addr, relay_agent: &[u8]) -> u32 {
        let circuit = self.circuit(Some(relay), Some(relay_agent));
        circuit.and_then(|circuit| self.held.get(&circuit)).copied().unwrap_or(0)
    }

    /// A lease stands so from now on.
    pub(super) fn add(&mut self, lease: Entry<'_>, standing: Standing) {
        if let (Standing::Held(_), Some(circuit)) =
            (standing, self.circuit(lease.relay(), lease.relay_agent()))
        {
            *self.held.entry(circuit).or_default() += 1;
        }
    }

    /// A lease that stood so does so no more.
    pub(super) fn take(&mut self, lease: Entry<'_>, standing: Standing) {
        if let (Standing::Held(_), Some(circuit)) =
            (standing, self.circuit(lease.relay(), lease.relay_agent()))
            && let Some(held) = self.held.get_mut(&circuit)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&circuit);
            }
        }
    }

    fn circuit(&self, relay: Option<Ipv4Addr>, relay_agent: Option<&[u8]>) -> Option<u64> {
        let circuit = find(relay_agent?, sub_option::CIRCUIT_ID)?;
        let relay = relay.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        Some(hash(self.key, &[&relay, circuit].concat()))
    }
}
