//! The lease book: for each address its newest lease and how it stands, found by address, by client
//! and by hardware address.
//!
//! P1 rests on its shape: an address has one entry, and an entry has one client. Every change goes
//! through [`Book::put`] or [`Book::settle`], which keep the indexes, the pools, the counters and
//! the gate in step.
//!
//! | file | idea |
//! | --- | --- |
//! | `entry`, `blocks` | a lease in few bytes |
//! | `table` | where entries stand, and which address has which |
//! | `finder`, `siphash` | entries by client and by hardware address |
//! | `circuits` | how many are held behind each circuit |
//! | `ends` | which lease ends next |

mod blocks;
mod circuits;
mod ends;
mod entry;
mod finder;
mod siphash;
mod table;

pub(super) use entry::Entry;
pub use siphash::HashKey;
pub(super) use siphash::hash;

use super::pools::Pools;
use super::registrations::Registrations;
use super::topology::{NetworkIndex, Topology};
use crate::{
    BindingState, Class, ClientIdentifier, EthernetAddress, GateChange, HardwareAddress, Lease,
    PerClass, Registration, RegistrationState, Request, Side, Timestamp, limits,
};
use circuits::Circuits;
use ends::Ends;
use finder::{By, Finder};
use std::net::Ipv4Addr;
use table::{SlotId, Table};

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

/// Numbers of one network that would otherwise need a walk through the book.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) held: u64,
    pub(super) declined: u64,
    pub(super) registered: u64,
    pub(super) unregistered: u64,
    /// Held addresses of pools for one class.
    pub(super) held_of: PerClass<u64>,
    /// Those of them whose holder is of the other class.
    pub(super) misplaced: PerClass<u64>,
}

impl Counters {
    /// `pool`: the class of hosts that the address is for.
    fn count(&mut self, standing: Standing, pool: Option<Class>, by: fn(u64) -> u64) {
        if let (Standing::Held(side), Some(pool)) = (standing, pool) {
            let held = self.held_of.of_mut(pool);
            *held = by(*held);
            if side.is_some_and(|side| side.class() != pool) {
                let misplaced = self.misplaced.of_mut(pool);
                *misplaced = by(*misplaced);
            }
        }
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

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    key: HashKey,
    table: Table,
    finder: Finder,
    ends: Ends,
    counters: Vec<Counters>,
    /// Only if there is a limit for them.
    circuits: Option<Circuits>,
}

/// The valid registration of a device if it lets the device pass: it is not suspended, nor in a
/// quarantine.
pub(super) fn pass_of<'r>(
    topology: &Topology,
    registrations: &'r Registrations,
    hardware: HardwareAddress,
    now: Timestamp,
) -> Option<&'r Registration> {
    let registration = registrations.valid(hardware, now)?;
    let state = registration.state(topology.configuration());
    (state == RegistrationState::Active).then_some(registration)
}

/// The kernel set that a lease's address belongs into, and for how many milliseconds: the function
/// f(leases, registrations, now) of P4.
pub(super) fn side_of(
    topology: &Topology,
    registrations: &Registrations,
    lease: Entry<'_>,
    now: Timestamp,
) -> Option<(Side, u64)> {
    let network = topology.network_of(lease.address())?;
    if !topology.network(network).gated || !lease.is_held(now) {
        return None;
    }
    let ends = lease.ends();
    let (side, until) = match pass_of(topology, registrations, lease.hardware(), now) {
        Some(registration) => {
            (Side::Registered, registration.expires.map_or(ends, |expires| expires.min(ends)))
        }
        None => (Side::Unregistered, ends),
    };
    // At least a millisecond: the kernel takes 0 for "never ends".
    Some((side, until.milliseconds_after(now).max(1)))
}

/// The Ethernet address that the holder of a lease is let through with IPv6 by while it is registered.
pub(super) fn holder_of(topology: &Topology, lease: Entry<'_>) -> Option<EthernetAddress> {
    // First, because it is seldom so, and costs nothing where it is nowhere so.
    if !topology.is_ipv6_by_hardware(lease.address().into()) {
        return None;
    }
    lease.hardware().as_ethernet()
}

impl Book {
    pub(super) fn new(topology: &Topology, key: HashKey) -> Self {
        Self {
            key,
            table: Table::default(),
            finder: Finder::new(key),
            ends: Ends::default(),
            counters: vec![Counters::default(); topology.configuration().networks.len()],
            circuits: topology
                .configuration()
                .policy
                .lease_limits
                .per_circuit
                .map(|_| Circuits::new(key)),
        }
    }

    /// Leases that are held behind the circuit that a relay names; 0 if they are not counted.
    pub(super) fn held_at_circuit(&self, relay: Ipv4Addr, relay_agent: &[u8]) -> u32 {
        self.circuits.as_ref().map_or(0, |circuits| circuits.held(relay, relay_agent))
    }

    /// The key of its hashes.
    pub(super) const fn key(&self) -> HashKey {
        self.key
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn counters(&self, network: NetworkIndex) -> Counters {
        self.counters[network.0]
    }

    /// The newest lease of an address.
    pub(super) fn entry(&self, address: u32) -> Option<Entry<'_>> {
        self.table.find(address).map(|id| self.table.entry(id))
    }

    /// Entries above an address, ascending.
    pub(super) fn entries_above(&self, after: Option<u32>) -> impl Iterator<Item = Entry<'_>> {
        self.table.above(after).map(|(_, id)| self.table.entry(id))
    }

    /// What a client has or had, the last one that it came to first.
    pub(super) fn of_client(&self, client: &ClientIdentifier) -> impl Iterator<Item = Entry<'_>> {
        self.finder
            .candidates(By::Client, &self.table, entry::hash_of_client(self.key, client))
            .map(|id| self.table.entry(id))
            .filter(move |entry| entry.has_client(client))
    }

    /// What a device has or had, the last one that it came to first.
    pub(super) fn of_hardware(&self, hardware: HardwareAddress) -> impl Iterator<Item = Entry<'_>> {
        self.finder
            .candidates(By::Hardware, &self.table, entry::hash_of_hardware(self.key, hardware))
            .map(|id| self.table.entry(id))
            .filter(move |entry| entry.hardware() == hardware)
    }

    /// Reads what a packet will most likely need, the address that it names and what its sender has or
    /// had, before any of it is needed. With a million leases none of it is in the processor's cache.
    /// One after the other, in the course of the decision, each look into memory would wait for the one
    /// before; here they wait together.
    pub(super) fn look_ahead(&self, request: &Request) {
        let named = request.requested_address.unwrap_or(request.ciaddr);
        let sender = self.finder.newest(entry::hash_of_sender(self.key, request));
        let found = [self.table.find(named.into()), sender[0].some(), sender[1].some()];
        let touched = found.map(|id| id.map(|id| self.table.entry(id).touch()));
        // Otherwise nothing would be read, because nothing is done with it.
        std::hint::black_box(touched);
    }

    /// Finds out what ends next, of those that stand as held or in quarantine; looks at `count_max` of
    /// those whose second has come, at most.
    pub(super) fn come_near(&mut self, now: Timestamp, count_max: usize) {
        self.ends.come_near(&mut self.table, now, count_max);
    }

    /// What ends first, of what [`Book::come_near`] has looked at.
    pub(super) fn first_end(&self) -> Option<(Timestamp, u32)> {
        self.ends.first_near()
    }

    /// Nothing ends before this time.
    pub(super) fn nothing_ends_before(&self) -> Option<Timestamp> {
        self.ends.not_before()
    }

    /// Takes a lease over from the journal or a snapshot, in place of what stood there. Only before
    /// [`Book::settle_loaded`]: until then it is found by its address alone, and the pools and the gate
    /// know nothing of it.
    pub(super) fn load(&mut self, lease: &Lease) {
        // In the order of loading, because that is the order in which a client came to its addresses.
        self.table.remove(lease.address.into());
        self.table.append(lease);
    }

    /// Takes back what was loaded for an address: nobody has or had it. Only before
    /// [`Book::settle_loaded`].
    pub(super) fn unload(&mut self, address: u32) {
        self.table.remove(address);
    }

    /// Forgets an address: nobody has or had it.
    pub(super) fn forget(&mut self, address: u32) {
        let Some(id) = self.table.find(address) else { return };
        self.ends.remove(&mut self.table, id);
        self.unlink(id);
        self.table.remove(address);
    }

    /// Takes up everything that was loaded: finds it by client and device from now on, and tells the
    /// pools how it stands.
    pub(super) fn settle_loaded(
        &mut self,
        topology: &Topology,
        pools: &mut Pools,
        registrations: &Registrations,
        now: Timestamp,
    ) {
        // An address that nobody can get any more is of interest only while somebody still has it.
        let gone: Vec<u32> = self
            .entries_above(None)
            .map(|entry| (u32::from(entry.address()), entry.is_blocked(now)))
            .filter(|(address, is_blocked)| !is_blocked && !topology.is_served(*address))
            .map(|(address, _)| address)
            .collect();
        for address in gone {
            self.table.remove(address);
        }
        self.finder.reserve(self.table.len());
        for id in self.table.ids() {
            if self.table.is_in_use(id) {
                self.link(id);
            }
        }
        let mut after = None;
        let mut ended = Vec::new();
        loop {
            let next = self.table.above(after).next();
            let Some((address, id)) = next else { break };
            after = Some(address);
            let entry = self.table.entry(id);
            if topology.reserved_for(address).is_none() {
                pools.take(topology, address, Timestamp::ZERO);
            }
            let standing = standing_of(topology, registrations, entry, now);
            if standing == Standing::Ended {
                pools.give_back(topology, address, entry.ends());
                ended.push(id);
            }
            self.table.slot_mut(id).set_standing(standing);
            if standing != Standing::Ended {
                self.ends.insert(&mut self.table, id);
            }
            if let Some(circuits) = &mut self.circuits {
                circuits.add(self.table.entry(id), standing);
            }
            self.count(topology, address, standing, |number| number + 1);
        }
        for id in ended {
            self.trim(id);
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
        lease: &Lease,
        now: Timestamp,
    ) -> Option<GateChange> {
        let address = u32::from(lease.address);
        let mut old_standing = Standing::Ended;
        let mut same_client = false;
        let mut is_linked = false;
        let id = if let Some(id) = self.table.find(address) {
            let old = self.table.entry(id);
            old_standing = old.standing();
            same_client = old.is_of(&lease.client, lease.hardware);
            // What has ended may have been trimmed.
            is_linked = same_client && old_standing != Standing::Ended;
            self.ends.let_change(&mut self.table, id);
            if !is_linked {
                self.unlink(id);
            }
            if let Some(circuits) = &mut self.circuits {
                circuits.take(self.table.entry(id), old_standing);
            }
            self.table.replace(id, lease);
            self.count(topology, address, old_standing, |number| number - 1);
            id
        } else {
            self.table.insert(lease)
        };
        if !is_linked {
            self.link(id);
        }
        let entry = self.table.entry(id);
        let standing = standing_of(topology, registrations, entry, now);
        let side = side_of(topology, registrations, entry, now);
        let holder = holder_of(topology, entry);
        if standing == Standing::Ended && old_standing != Standing::Ended {
            pools.give_back(topology, address, lease.ends);
        }
        self.table.slot_mut(id).set_standing(standing);
        if let Some(circuits) = &mut self.circuits {
            circuits.add(self.table.entry(id), standing);
        }
        self.count(topology, address, standing, |number| number + 1);
        if standing != Standing::Ended {
            self.ends.insert(&mut self.table, id);
        }
        if !is_linked || standing == Standing::Ended {
            self.trim(id);
        }
        gate_change(address, old_standing, standing, side, same_client)
            .filter(|_| topology.is_by_sets(address))
            .map(|change| with_holder(change, holder))
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
        let id = self.table.find(address)?;
        let entry = self.table.entry(id);
        let old = entry.standing();
        let standing = standing_of(topology, registrations, entry, now);
        if standing == old {
            return None;
        }
        let side = side_of(topology, registrations, entry, now);
        let holder = holder_of(topology, entry);
        if standing == Standing::Ended {
            pools.give_back(topology, address, entry.ends());
            self.ends.let_change(&mut self.table, id);
        }
        self.table.slot_mut(id).set_standing(standing);
        if let Some(circuits) = &mut self.circuits {
            circuits.take(self.table.entry(id), old);
            circuits.add(self.table.entry(id), standing);
        }
        self.count(topology, address, old, |number| number - 1);
        self.count(topology, address, standing, |number| number + 1);
        // A lease that has run out took its elements with it: they carry the same time. What is tracked of
        // its holder's IPv6 did not end with them.
        if standing == Standing::Ended && !topology.is_ipv6_by_hardware(address) {
            return None;
        }
        gate_change(address, old, standing, side, true)
            .filter(|_| topology.is_by_sets(address))
            .map(|change| with_holder(change, holder))
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
        let entry = self.entry(address)?;
        let side = side_of(topology, registrations, entry, now);
        let holder = holder_of(topology, entry);
        gate_change(address, entry.standing(), entry.standing(), side, true)
            .filter(|_| topology.is_by_sets(address))
            .map(|change| with_holder(change, holder))
    }

    fn link(&mut self, id: SlotId) {
        self.finder.insert(&mut self.table, id);
    }

    fn unlink(&mut self, id: SlotId) {
        for by in By::ALL {
            self.finder.remove(by, &mut self.table, id);
        }
    }

    /// Leaves the client and the device of an entry only their newest former addresses to be found by:
    /// each packet walks through them all.
    fn trim(&mut self, id: SlotId) {
        let entry = self.table.entry(id);
        let client_hash = entry.client_hash(self.key);
        let hardware_hash = entry.hardware_hash(self.key);
        let of_client = |other: Entry<'_>| other.shares_client_with(entry);
        let of_hardware = |other: Entry<'_>| other.hardware() == entry.hardware();
        let former = |by: By, hash: u64, is_its: &dyn Fn(Entry<'_>) -> bool| {
            self.finder
                .candidates(by, &self.table, hash)
                .filter(|id| self.table.slot(*id).standing() == Standing::Ended)
                .filter(|id| is_its(self.table.entry(*id)))
                .skip(limits::FORMER_LEASES_MAX)
                .collect::<Vec<SlotId>>()
        };
        let gone = [
            (By::Client, former(By::Client, client_hash, &of_client)),
            (By::Hardware, former(By::Hardware, hardware_hash, &of_hardware)),
        ];
        for (by, ids) in gone {
            for id in ids {
                self.finder.remove(by, &mut self.table, id);
            }
        }
    }

    fn count(&mut self, topology: &Topology, address: u32, standing: Standing, by: fn(u64) -> u64) {
        if let Some(network) = topology.network_of(address.into()) {
            let has_class_pools = topology.has_class_pools(network);
            let pool = has_class_pools.then(|| topology.class_of_address(address)).flatten();
            self.counters[network.0].count(standing, pool, by);
        }
    }
}

fn standing_of(
    topology: &Topology,
    registrations: &Registrations,
    lease: Entry<'_>,
    now: Timestamp,
) -> Standing {
    if !lease.is_blocked(now) {
        return Standing::Ended;
    }
    match lease.state() {
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
    // Also where the same client comes back: between the two the entry may have been another's without a side,
    // as when a partner tells of a lease that is over.
    let forget_flows = new_side.is_none() || old_side.is_none() || !same_client;
    Some(GateChange { address: address.into(), side, forget_flows, holder: None })
}

/// A change with the holder that is let through by its Ethernet address.
fn with_holder(change: GateChange, holder: Option<EthernetAddress>) -> GateChange {
    let is_registered = matches!(change.side, Some((Side::Registered, _)));
    GateChange { holder: holder.filter(|_| is_registered), ..change }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_of_new_holders_and_new_sides() {
        let held = Standing::Held(Some(Side::Registered));
        let side = Some((Side::Registered, 1000));
        let forgets = |old, new, side, same_client| {
            gate_change(1, old, new, side, same_client).unwrap().forget_flows
        };
        assert!(!forgets(held, held, side, true), "a renewal restarts the clock");
        assert!(forgets(held, held, side, false), "its new holder inherits nothing");
        assert!(forgets(Standing::Ended, held, side, false), "nor if nobody had it meanwhile");
        assert!(forgets(Standing::Ended, held, side, true), "who had it between is not known");
        let unregistered = Standing::Held(Some(Side::Unregistered));
        assert!(!forgets(unregistered, held, side, true), "another side is another zone");
        let removal = gate_change(1, held, Standing::Ended, None, true).unwrap();
        assert_eq!((removal.side, removal.forget_flows), (None, true));
        assert_eq!(gate_change(1, Standing::Ended, Standing::Declined, None, true), None);
    }
}
