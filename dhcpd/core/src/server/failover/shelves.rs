//! Free addresses that were touched, by pool and by whose they are, the one that ended longest ago first.
//!
//! Addresses that nobody ever touched are the primary's, and stand in [`Pools`](super::super::pools) as
//! runs. An address that is offered stands nowhere.

use crate::failover::{PoolCount, Role};
use std::collections::BTreeSet;

/// The free addresses of one pool.
#[derive(Debug, Default)]
struct Shelf {
    primarys: BTreeSet<(u32, u32)>,
    secondarys: BTreeSet<(u32, u32)>,
}

impl Shelf {
    const fn of(&self, role: Role) -> &BTreeSet<(u32, u32)> {
        match role {
            Role::Primary => &self.primarys,
            Role::Secondary => &self.secondarys,
        }
    }

    const fn of_mut(&mut self, role: Role) -> &mut BTreeSet<(u32, u32)> {
        match role {
            Role::Primary => &mut self.primarys,
            Role::Secondary => &mut self.secondarys,
        }
    }
}

/// See the module. Pools are named by their place in the topology.
#[derive(Debug)]
pub(super) struct Shelves {
    pools: Vec<Shelf>,
}

impl Shelves {
    pub(super) fn new(pools: usize) -> Self {
        Self { pools: (0..pools).map(|_| Shelf::default()).collect() }
    }

    /// Puts an address on the shelf of whose it is, by the end of its last lease in seconds since 1970.
    pub(super) fn put(&mut self, pool: usize, role: Role, end: u32, address: u32) {
        self.pools[pool].of_mut(role).insert((end, address));
    }

    pub(super) fn remove(&mut self, pool: usize, role: Role, end: u32, address: u32) {
        self.pools[pool].of_mut(role).remove(&(end, address));
    }

    /// The addresses of one server in a pool, the one that ended longest ago first, behind `after`.
    pub(super) fn behind(
        &self,
        pool: usize,
        role: Role,
        after: Option<(u32, u32)>,
    ) -> impl Iterator<Item = (u32, u32)> + '_ {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.pools[pool].of(role).range((from, Bound::Unbounded)).copied()
    }

    pub(super) fn count(&self, pool: usize) -> PoolCount {
        let count = |role| u32::try_from(self.pools[pool].of(role).len()).unwrap_or(u32::MAX);
        PoolCount { free: count(Role::Primary), backup: count(Role::Secondary) }
    }
}
