//! Which addresses of the pools are free, and which of them comes next.
//!
//! Order of use: addresses that nobody ever had, ascending; then the one whose lease ended longest
//! ago (RFC 2131 section 4.3.1). Each choice costs a search in an ordered set, never a scan of the
//! pool. An address is free, or it is taken by a lease, by a quarantine or by an offer; addresses
//! with a reservation are never free.

use super::topology::{PoolPlace, SubnetIndex, Topology};
use crate::Timestamp;
use std::collections::BTreeSet;

#[derive(Debug)]
struct Pool {
    place: PoolPlace,
    /// The lowest address that was never looked at. Wider than an address, since it ends above the last.
    untouched: u64,
    /// Free addresses below `untouched`, with the end of their last lease.
    returned: BTreeSet<(Timestamp, u32)>,
    /// Addresses that are not free.
    taken: u64,
}

impl Pool {
    fn size(&self) -> u64 {
        u64::from(self.place.last - self.place.first) + 1
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Vec<Pool>,
}

impl Pools {
    /// All pools of a configuration, with only the reserved addresses taken.
    pub(super) fn new(topology: &Topology) -> Self {
        let mut pools: Vec<Pool> = topology
            .pools()
            .iter()
            .map(|place| Pool {
                place: *place,
                untouched: u64::from(place.first),
                returned: BTreeSet::new(),
                taken: 0,
            })
            .collect();
        for network in &topology.configuration().networks {
            for reservation in network.subnets.iter().flat_map(|subnet| &subnet.reservations) {
                if let Some(pool) = topology.pool_of(reservation.address.into()) {
                    pools[pool.0].taken += 1;
                }
            }
        }
        Self { pools }
    }

    /// Takes the address that comes next in a subnet. `is_known` tells of an address that it has a
    /// lease, ended or not, or an offer, or a reservation.
    pub(super) fn take_next(
        &mut self,
        subnet: SubnetIndex,
        is_known: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut oldest: Option<(Timestamp, u32, usize)> = None;
        for (index, pool) in self.pools.iter_mut().enumerate() {
            if pool.place.subnet != subnet {
                continue;
            }
            while let Some(address) =
                u32::try_from(pool.untouched).ok().filter(|address| *address <= pool.place.last)
            {
                pool.untouched += 1;
                if !is_known(address) {
                    pool.taken += 1;
                    return Some(address);
                }
            }
            if let Some((ended, address)) = pool.returned.first()
                && oldest.is_none_or(|(oldest_end, ..)| *ended < oldest_end)
            {
                oldest = Some((*ended, *address, index));
            }
        }
        let (ended, address, index) = oldest?;
        let pool = &mut self.pools[index];
        pool.returned.remove(&(ended, address));
        pool.taken += 1;
        Some(address)
    }

    /// Takes a certain address, whose last lease ended at `ended` ([`Timestamp::ZERO`] if it never had
    /// one). Whether it was free. The caller has checked that it has no reservation and no offer, and
    /// that no lease blocks it.
    pub(super) fn take(&mut self, topology: &Topology, address: u32, ended: Timestamp) -> bool {
        let Some(index) = topology.pool_of(address) else { return false };
        let pool = &mut self.pools[index.0];
        let untouched = u64::from(address) >= pool.untouched && ended == Timestamp::ZERO;
        let free = pool.returned.remove(&(ended, address)) || untouched;
        if free {
            pool.taken += 1;
        }
        free
    }

    /// Gives an address back. Nothing happens to one that is in no pool or has a reservation.
    pub(super) fn give_back(&mut self, topology: &Topology, address: u32, ended: Timestamp) {
        if topology.reserved_for(address).is_some() {
            return;
        }
        let Some(index) = topology.pool_of(address) else { return };
        let pool = &mut self.pools[index.0];
        pool.taken = pool.taken.saturating_sub(1);
        // An address that nobody ever had and that was not passed yet waits for its turn there;
        // one that had a lease must be found among the returned ones, because `take_next` passes
        // over every address that it finds known.
        if u64::from(address) < pool.untouched || ended != Timestamp::ZERO {
            pool.returned.insert((ended, address));
        }
    }

    /// Size and free addresses of the pools that `wanted` chooses.
    pub(super) fn count(&self, wanted: impl Fn(SubnetIndex) -> bool) -> (u64, u64) {
        self.pools.iter().filter(|pool| wanted(pool.place.subnet)).fold(
            (0, 0),
            |(size, free), pool| {
                (size + pool.size(), free + pool.size().saturating_sub(pool.taken))
            },
        )
    }
}
