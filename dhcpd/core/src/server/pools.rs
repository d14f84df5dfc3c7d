//! Which addresses of the pools are free, and which of them comes next.
//!
//! Order of use: addresses that nobody ever had, ascending; then the one whose lease ended longest
//! ago (RFC 2131 section 4.3.1). Each choice costs a search in an ordered set, never a scan of the
//! pool, however full it is. An address is free, or it is taken by a lease, by a quarantine or by an
//! offer; addresses with a reservation are never free. A pool is for anybody or for the hosts of one
//! class, and whoever asks says which of them they mean.
//!
//! With a failover partner, only addresses that nobody ever touched stand here; which of the others are
//! free, and whose, is for the pair to say (`failover`).

use super::topology::{PoolPlace, SubnetIndex, Topology};
use crate::{Class, ClassSet, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Pool {
    place: PoolPlace,
    /// Addresses that were never taken: the last of each unbroken run, with its first.
    untouched: BTreeMap<u32, u32>,
    /// How many those are.
    untouched_count: u64,
    /// Other free addresses, with the end of their last lease; [`Timestamp::ZERO`] if they were only
    /// offered.
    returned: BTreeSet<(Timestamp, u32)>,
    /// Addresses that are not free.
    taken: u64,
}

impl Pool {
    fn size(&self) -> u64 {
        u64::from(self.place.last - self.place.first) + 1
    }

    /// The lowest address that was never taken; it is so no more.
    fn take_untouched(&mut self) -> Option<u32> {
        let mut run = self.untouched.first_entry()?;
        let first = *run.get();
        if first == *run.key() {
            run.remove();
        } else {
            *run.get_mut() += 1;
        }
        self.untouched_count -= 1;
        Some(first)
    }

    /// Takes an address that was never taken. Whether it is one.
    fn touch(&mut self, address: u32) -> bool {
        let Some((last, first)) = self.untouched.range_mut(address..).next() else { return false };
        let (last, before) = (*last, *first);
        if address < before {
            return false;
        }
        if address < last {
            *first = address + 1;
        } else {
            self.untouched.remove(&last);
        }
        if before < address {
            self.untouched.insert(address - 1, before);
        }
        self.untouched_count -= 1;
        true
    }
}

/// Which pools an address is wanted of.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedPools {
    /// Those for this class of hosts; `None`: those for anybody.
    pub(super) class: Option<Class>,
    /// Those for one of these classes of clients; empty: those for all.
    pub(super) clients: ClassSet,
}

impl WantedPools {
    pub(super) fn has(&self, pool: &PoolPlace) -> bool {
        let is_for_clients = if self.clients.is_empty() {
            pool.clients.is_empty()
        } else {
            !pool.clients.and(self.clients).is_empty()
        };
        pool.class == self.class && is_for_clients
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Vec<Pool>,
    /// Whether a failover pair says which addresses are free.
    is_paired: bool,
}

impl Pools {
    /// All pools of a configuration, with only the reserved addresses taken.
    pub(super) fn new(topology: &Topology) -> Self {
        let mut pools: Vec<Pool> = topology
            .pools()
            .iter()
            .map(|place| Pool {
                place: *place,
                untouched: BTreeMap::from([(place.last, place.first)]),
                untouched_count: u64::from(place.last - place.first) + 1,
                returned: BTreeSet::new(),
                taken: 0,
            })
            .collect();
        for network in &topology.configuration().networks {
            for reservation in network.subnets.iter().flat_map(|subnet| &subnet.reservations) {
                let address = u32::from(reservation.address);
                if let Some(pool) = topology.pool_of(address) {
                    pools[pool.0].touch(address);
                    pools[pool.0].taken += 1;
                }
            }
        }
        Self { pools, is_paired: topology.configuration().failover.is_some() }
    }

    /// Addresses of a pool, by its place in the topology.
    pub(super) fn size(&self, pool: usize) -> u64 {
        self.pools[pool].size()
    }

    /// Addresses of a pool that are free, with no failover partner.
    pub(super) fn free(&self, pool: usize) -> u64 {
        let pool = &self.pools[pool];
        pool.size().saturating_sub(pool.taken)
    }

    /// Addresses of a pool that nobody ever touched.
    pub(super) fn untouched(&self, pool: usize) -> u64 {
        self.pools[pool].untouched_count
    }

    /// Whether nobody ever touched an address of a pool.
    pub(super) fn is_untouched(&self, topology: &Topology, address: u32) -> bool {
        topology.pool_of(address).is_some_and(|index| {
            let run = self.pools[index.0].untouched.range(address..).next();
            run.is_some_and(|(_, first)| *first <= address)
        })
    }

    /// Takes the lowest address of a pool that nobody ever touched.
    pub(super) fn take_untouched(&mut self, pool: usize) -> Option<u32> {
        let address = self.pools[pool].take_untouched()?;
        self.pools[pool].taken += 1;
        Some(address)
    }

    /// Takes the address that comes next in those pools of a subnet that are wanted.
    pub(super) fn take_next(
        &mut self,
        topology: &Topology,
        subnet: SubnetIndex,
        wanted: WantedPools,
    ) -> Option<u32> {
        let pools = &mut self.pools[topology.pools_of(subnet)];
        for pool in pools.iter_mut().filter(|pool| wanted.has(&pool.place)) {
            if let Some(address) = pool.take_untouched() {
                pool.taken += 1;
                return Some(address);
            }
        }
        let longest_free = pools
            .iter_mut()
            .filter(|pool| wanted.has(&pool.place) && !pool.returned.is_empty())
            .min_by_key(|pool| pool.returned.first().copied());
        let pool = longest_free?;
        let (_, address) = pool.returned.pop_first()?;
        pool.taken += 1;
        Some(address)
    }

    /// Takes a certain address, whose last lease ended at `ended` ([`Timestamp::ZERO`] if it never had
    /// one). Whether it was free. The caller has checked that it has no reservation and no offer, and
    /// that no lease blocks it.
    pub(super) fn take(&mut self, topology: &Topology, address: u32, ended: Timestamp) -> bool {
        let Some(index) = topology.pool_of(address) else { return false };
        let pool = &mut self.pools[index.0];
        let free = pool.returned.remove(&(ended, address))
            || (ended == Timestamp::ZERO && pool.touch(address));
        if free {
            pool.taken += 1;
        }
        free
    }

    /// Gives an address back. Nothing happens to one that is in no pool or has a reservation.
    pub(super) fn give_back(&mut self, topology: &Topology, address: u32, ended: Timestamp) {
        if self.is_paired || topology.reserved_for(address).is_some() {
            return;
        }
        let Some(index) = topology.pool_of(address) else { return };
        let pool = &mut self.pools[index.0];
        pool.taken = pool.taken.saturating_sub(1);
        pool.returned.insert((ended, address));
    }

    /// Size and free addresses of the pools of a subnet that are for a class of hosts, or for anybody
    /// (`None`).
    pub(super) fn count(
        &self,
        topology: &Topology,
        subnet: SubnetIndex,
        class: Option<Class>,
    ) -> (u64, u64) {
        self.pools[topology.pools_of(subnet)].iter().filter(|pool| pool.place.class == class).fold(
            (0, 0),
            |(size, free), pool| {
                (size + pool.size(), free + pool.size().saturating_sub(pool.taken))
            },
        )
    }
}
