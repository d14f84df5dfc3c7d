//! The lease book: for each address its newest lease and how it stands, found by address, by client
//! and by hardware address.
//!
//! P1 rests on its shape: an address has one entry, and an entry has one client. Every change goes
//! through [`Book::put`] or [`Book::settle`], which keep the indexes, the pools, the counters and
//! the gate in step.

use super::pools::Pools;
use super::topology::{NetworkIndex, Topology};
use crate::{
    BindingState, ClientIdentifier, GateChange, HardwareAddress, Lease, Registration, Side,
    Timestamp, limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// How an address stands, as the pools, the counters and the gate were last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Free, with a former holder.
    Ended,
    /// Held; the set that the kernel was told, if the network is gated.
    Held(Option<Side>),
    /// In quarantine.
    Declined,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) lease: Lease,
    pub(super) standing: Standing,
}

/// Numbers of one network that would otherwise need a walk through the book.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) held: u64,
    pub(super) declined: u64,
    pub(super) registered: u64,
    pub(super) unregistered: u64,
}

impl Counters {
    fn count(&mut self, standing: Standing, by: fn(u64) -> u64) {
        match standing {
            Standing::Ended => {}
            Standing::Declined => self.declined = by(self.declined),
            Standing::Held(side) => {
                self.held = by(self.held);
                match side {
                    Some(Side::Registered) => self.registered = by(self.registered),
                    Some(Side::Unregistered) => self.unregistered = by(self.unregistered),
                    None => {}
                }
            }
        }
    }
}

/// The devices that are registered.
pub(super) type Registrations = BTreeMap<HardwareAddress, Registration>;

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<u32, Entry>,
    by_client: BTreeMap<ClientIdentifier, Vec<u32>>,
    by_hardware: BTreeMap<HardwareAddress, Vec<u32>>,
    by_end: BTreeSet<(Timestamp, u32)>,
    counters: Vec<Counters>,
}

/// The valid registration of a device. Hosts without a hardware address have none, because nothing
/// tells them apart.
pub(super) fn registration_of(
    registrations: &Registrations,
    hardware: HardwareAddress,
    now: Timestamp,
) -> Option<&Registration> {
    let registration = registrations.get(&hardware).filter(|_| !hardware.is_zero())?;
    registration.is_valid(now).then_some(registration)
}

/// The kernel set that a lease's address belongs into, and for how many milliseconds: the function
/// f(leases, registrations, now) of P4.
pub(super) fn side_of(
    topology: &Topology,
    registrations: &Registrations,
    lease: &Lease,
    now: Timestamp,
) -> Option<(Side, u64)> {
    let network = topology.network_of(lease.address)?;
    if !topology.network(network).gated || !lease.is_held(now) {
        return None;
    }
    let registration = registration_of(registrations, lease.hardware, now);
    let (side, until) = match registration {
        Some(registration) => {
            (Side::Registered, registration.expires.map_or(lease.ends, |e| e.min(lease.ends)))
        }
        None => (Side::Unregistered, lease.ends),
    };
    // At least a millisecond: the kernel takes 0 for "never ends".
    Some((side, until.milliseconds_after(now).max(1)))
}

impl Book {
    pub(super) fn new(topology: &Topology) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_hardware: BTreeMap::new(),
            by_end: BTreeSet::new(),
            counters: vec![Counters::default(); topology.configuration().networks.len()],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn counters(&self, network: NetworkIndex) -> Counters {
        self.counters[network.0]
    }

    pub(super) fn entry(&self, address: u32) -> Option<&Entry> {
        self.entries.get(&address)
    }

    pub(super) fn lease(&self, address: u32) -> Option<&Lease> {
        self.entries.get(&address).map(|entry| &entry.lease)
    }

    /// Entries above an address, ascending.
    pub(super) fn entries_above(&self, after: Option<u32>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let lower = after.map_or(Unbounded, Excluded);
        self.entries.range((lower, Unbounded)).map(|(_, entry)| entry)
    }

    /// The addresses that a client has or had.
    pub(super) fn of_client(&self, client: &ClientIdentifier) -> &[u32] {
        self.by_client.get(client).map_or(&[], Vec::as_slice)
    }

    /// The addresses that a device has or had.
    pub(super) fn of_hardware(&self, hardware: HardwareAddress) -> &[u32] {
        self.by_hardware.get(&hardware).map_or(&[], Vec::as_slice)
    }

    /// The lease that ends first, of those that stand as held or in quarantine.
    pub(super) fn first_end(&self) -> Option<(Timestamp, u32)> {
        self.by_end.first().copied()
    }

    /// Takes a lease over from the journal or a snapshot, in place of what stood there. The pools and
    /// the gate are told by a later [`Book::settle_loaded`].
    pub(super) fn load(&mut self, lease: Lease) {
        let address = u32::from(lease.address);
        self.unlink(address);
        self.link(address, Entry { lease, standing: Standing::Ended });
    }

    /// Forgets an address: nobody has or had it.
    pub(super) fn forget(&mut self, address: u32) {
        self.unlink(address);
    }

    /// Tells the pools how everything stands that was loaded.
    pub(super) fn settle_loaded(
        &mut self,
        topology: &Topology,
        pools: &mut Pools,
        registrations: &Registrations,
        now: Timestamp,
    ) {
        // An address that nobody can get any more is of interest only while somebody still has it.
        let gone: Vec<u32> = self
            .entries
            .iter()
            .filter(|(address, entry)| {
                !topology.is_served(**address) && !entry.lease.is_blocked(now)
            })
            .map(|(address, _)| *address)
            .collect();
        for address in gone {
            self.unlink(address);
        }
        for (address, entry) in &mut self.entries {
            let lease = &entry.lease;
            let reserved = topology.reserved_for(*address).is_some();
            if !reserved {
                pools.take(topology, *address, Timestamp::ZERO);
            }
            entry.standing = standing_of(topology, registrations, lease, now);
            if entry.standing == Standing::Ended {
                pools.give_back(topology, *address, lease.ends);
            } else {
                self.by_end.insert((lease.ends, *address));
            }
            if let Some(network) = topology.network_of(lease.address) {
                self.counters[network.0].count(entry.standing, |number| number + 1);
            }
        }
        let crowded: Vec<(ClientIdentifier, HardwareAddress)> = self
            .entries
            .values()
            .map(|entry| &entry.lease)
            .filter(|lease| {
                self.of_client(&lease.client).len() > limits::FORMER_LEASES_MAX
                    || self.of_hardware(lease.hardware).len() > limits::FORMER_LEASES_MAX
            })
            .map(|lease| (lease.client.clone(), lease.hardware))
            .collect();
        for (client, hardware) in crowded {
            self.trim(&client, hardware);
        }
    }

    /// Puts a lease in place of what stood at its address, and tells the pools. Returns what the
    /// kernel has to be told.
    ///
    /// The caller has taken the address out of its pool if it was free there.
    pub(super) fn put(
        &mut self,
        topology: &Topology,
        pools: &mut Pools,
        registrations: &Registrations,
        lease: Lease,
        now: Timestamp,
    ) -> Option<GateChange> {
        let address = u32::from(lease.address);
        let old = self.unlink(address);
        if let Some(old) = &old {
            self.count(topology, old, |number| number - 1);
        }
        let standing = standing_of(topology, registrations, &lease, now);
        let side = side_of(topology, registrations, &lease, now);
        let old_standing = old.as_ref().map_or(Standing::Ended, |old| old.standing);
        let same_client = old.as_ref().is_some_and(|old| {
            old.lease.client == lease.client && old.lease.hardware == lease.hardware
        });
        if standing == Standing::Ended && old_standing != Standing::Ended {
            pools.give_back(topology, address, lease.ends);
        }
        let entry = Entry { lease, standing };
        self.count(topology, &entry, |number| number + 1);
        let (client, hardware) = (entry.lease.client.clone(), entry.lease.hardware);
        self.link(address, entry);
        self.trim(&client, hardware);
        gate_change(address, old_standing, standing, side, same_client)
    }

    /// Brings how an address stands up to date with the time and the registrations. Returns what the
    /// kernel has to be told if it stands otherwise than before.
    pub(super) fn settle(
        &mut self,
        topology: &Topology,
        pools: &mut Pools,
        registrations: &Registrations,
        address: u32,
        now: Timestamp,
    ) -> Option<GateChange> {
        let entry = self.entries.get_mut(&address)?;
        let old = entry.standing;
        let standing = standing_of(topology, registrations, &entry.lease, now);
        let side = side_of(topology, registrations, &entry.lease, now);
        let network = topology.network_of(entry.lease.address);
        if standing != old {
            entry.standing = standing;
            if standing == Standing::Ended {
                self.by_end.remove(&(entry.lease.ends, address));
                pools.give_back(topology, address, entry.lease.ends);
            }
            if let Some(network) = network {
                let counters = &mut self.counters[network.0];
                counters.count(old, |number| number - 1);
                counters.count(standing, |number| number + 1);
            }
        }
        // A lease that has run out took its elements with it: they carry the same time.
        if standing == old || standing == Standing::Ended {
            return None;
        }
        gate_change(address, old, standing, side, true)
    }

    /// What the kernel has to be told so that an address's element ends when it should: the end of a
    /// registration has moved, and with it nothing else.
    pub(super) fn remaining_time(
        &self,
        topology: &Topology,
        registrations: &Registrations,
        address: u32,
        now: Timestamp,
    ) -> Option<GateChange> {
        let entry = self.entries.get(&address)?;
        let side = side_of(topology, registrations, &entry.lease, now);
        gate_change(address, entry.standing, entry.standing, side, true)
    }

    fn link(&mut self, address: u32, entry: Entry) {
        let lease = &entry.lease;
        self.by_client.entry(lease.client.clone()).or_default().push(address);
        self.by_hardware.entry(lease.hardware).or_default().push(address);
        if entry.standing != Standing::Ended {
            self.by_end.insert((lease.ends, address));
        }
        self.entries.insert(address, entry);
    }

    /// Leaves a client and a device only their newest former addresses to be found by: each packet walks
    /// through them all.
    fn trim(&mut self, client: &ClientIdentifier, hardware: HardwareAddress) {
        let entries = &self.entries;
        let lists =
            [self.by_client.get_mut(client), self.by_hardware.get_mut(&hardware)].into_iter();
        for addresses in lists.flatten() {
            let is_ended = |address: &u32| {
                entries.get(address).is_none_or(|entry| entry.standing == Standing::Ended)
            };
            let ended = addresses.iter().filter(|address| is_ended(address)).count();
            let mut surplus = ended.saturating_sub(limits::FORMER_LEASES_MAX);
            addresses.retain(|address| {
                let goes = surplus > 0 && is_ended(address);
                surplus -= usize::from(goes);
                !goes
            });
        }
    }

    fn unlink(&mut self, address: u32) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        let lease = &entry.lease;
        if let Some(addresses) = self.by_client.get_mut(&lease.client) {
            addresses.retain(|candidate| *candidate != address);
            if addresses.is_empty() {
                self.by_client.remove(&lease.client);
            }
        }
        if let Some(addresses) = self.by_hardware.get_mut(&lease.hardware) {
            addresses.retain(|candidate| *candidate != address);
            if addresses.is_empty() {
                self.by_hardware.remove(&lease.hardware);
            }
        }
        self.by_end.remove(&(lease.ends, address));
        Some(entry)
    }

    fn count(&mut self, topology: &Topology, entry: &Entry, by: fn(u64) -> u64) {
        if let Some(network) = topology.network_of(entry.lease.address) {
            self.counters[network.0].count(entry.standing, by);
        }
    }
}

fn standing_of(
    topology: &Topology,
    registrations: &Registrations,
    lease: &Lease,
    now: Timestamp,
) -> Standing {
    if !lease.is_blocked(now) {
        return Standing::Ended;
    }
    match lease.state {
        BindingState::Active => {
            Standing::Held(side_of(topology, registrations, lease, now).map(|(side, _)| side))
        }
        BindingState::Declined => Standing::Declined,
        BindingState::Released => Standing::Ended,
    }
}

/// What the kernel has to be told when an address goes from one standing to another.
fn gate_change(
    address: u32,
    old: Standing,
    new: Standing,
    side: Option<(Side, u64)>,
    same_client: bool,
) -> Option<GateChange> {
    let old_side = match old {
        Standing::Held(side) => side,
        Standing::Ended | Standing::Declined => None,
    };
    let new_side = match new {
        Standing::Held(side) => side,
        Standing::Ended | Standing::Declined => None,
    };
    if old_side.is_none() && new_side.is_none() {
        return None;
    }
    let forget_flows = old_side != new_side || !same_client;
    Some(GateChange { address: address.into(), side, forget_flows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_of_new_holders_and_new_sides() {
        let held = Standing::Held(Some(Side::Registered));
        let side = Some((Side::Registered, 1000));
        let renewal = gate_change(1, held, held, side, true).unwrap();
        assert!(!renewal.forget_flows, "a renewal restarts the clock and disturbs nothing");
        assert!(gate_change(1, held, held, side, false).unwrap().forget_flows);
        assert!(gate_change(1, Standing::Ended, held, side, true).unwrap().forget_flows);
        let removal = gate_change(1, held, Standing::Ended, None, true).unwrap();
        assert_eq!((removal.side, removal.forget_flows), (None, true));
        assert_eq!(gate_change(1, Standing::Ended, Standing::Declined, None, true), None);
    }
}
