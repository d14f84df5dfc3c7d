//! The configuration, arranged for look-ups by address: which subnet, which pool, whose reservation.
//!
//! It never changes after it is built, and every look-up is a search in an ordered map.

use crate::{Class, Configuration, HardwareAddress, Network, OptionSet, Subnet};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;

/// Names a network by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NetworkIndex(pub(super) usize);

/// Names a subnet by its network and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SubnetIndex {
    pub(super) network: NetworkIndex,
    position: usize,
}

/// Names a pool by its place among all pools in ascending order of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolIndex(pub(super) usize);

/// A range of one subnet, as [`super::pools`] manages it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolPlace {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) subnet: SubnetIndex,
    /// The class of hosts that it is for; `None`: for anybody.
    pub(super) class: Option<Class>,
}

#[derive(Clone, Copy, Debug)]
struct ReservedFor {
    hardware: HardwareAddress,
    subnet: SubnetIndex,
    position: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Topology {
    configuration: Configuration,
    subnets: BTreeMap<u32, SubnetIndex>,
    pools: Vec<PoolPlace>,
    pools_by_first: BTreeMap<u32, PoolIndex>,
    pools_by_subnet: BTreeMap<SubnetIndex, Range<usize>>,
    reserved: BTreeMap<u32, ReservedFor>,
    reserved_addresses: BTreeMap<(NetworkIndex, HardwareAddress), Vec<u32>>,
    /// By network: whether it has pools for one class of hosts.
    has_class_pools: Vec<bool>,
    /// Whether every gated network is gated by the kernel sets.
    all_by_sets: bool,
    /// Whether any network lets registered hosts through with IPv6 by their Ethernet address.
    any_ipv6_by_hardware: bool,
}

impl Topology {
    pub(super) fn new(configuration: Configuration) -> Self {
        let mut subnets = BTreeMap::new();
        let mut pools = Vec::new();
        let mut reserved = BTreeMap::new();
        let mut reserved_addresses: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (network_position, network) in configuration.networks.iter().enumerate() {
            let network_index = NetworkIndex(network_position);
            for (position, subnet) in network.subnets.iter().enumerate() {
                let index = SubnetIndex { network: network_index, position };
                subnets.insert(u32::from(subnet.prefix.network()), index);
                pools.extend(subnet.all_pools().map(|(class, range)| PoolPlace {
                    first: range.first.into(),
                    last: range.last.into(),
                    subnet: index,
                    class,
                }));
                for (position, reservation) in subnet.reservations.iter().enumerate() {
                    let address = u32::from(reservation.address);
                    let hardware = reservation.hardware;
                    reserved.insert(address, ReservedFor { hardware, subnet: index, position });
                    reserved_addresses.entry((network_index, hardware)).or_default().push(address);
                }
            }
        }
        pools.sort_by_key(|pool| pool.first);
        let pools_by_first =
            pools.iter().enumerate().map(|(index, pool)| (pool.first, PoolIndex(index))).collect();
        // Prefixes do not overlap, so the pools of a subnet stand together.
        let mut pools_by_subnet = BTreeMap::new();
        for (position, pool) in pools.iter().enumerate() {
            let range: &mut Range<usize> =
                pools_by_subnet.entry(pool.subnet).or_insert(position..position);
            range.end = position + 1;
        }
        let has_class_pools = configuration
            .networks
            .iter()
            .map(|network| {
                let mut pools = network.subnets.iter().flat_map(Subnet::all_pools);
                pools.any(|(class, _)| class.is_some())
            })
            .collect();
        let all_by_sets =
            configuration.networks.iter().all(|network| !network.gated || network.gate_by.sets);
        let any_ipv6_by_hardware =
            configuration.networks.iter().any(|network| network.gate_by.ipv6_by_hardware);
        Self {
            any_ipv6_by_hardware,
            configuration,
            subnets,
            pools,
            pools_by_first,
            pools_by_subnet,
            reserved,
            reserved_addresses,
            has_class_pools,
            all_by_sets,
        }
    }

    pub(super) const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// All pools, in ascending order of addresses.
    pub(super) fn pools(&self) -> &[PoolPlace] {
        &self.pools
    }

    /// Where the pools of a subnet stand among all.
    pub(super) fn pools_of(&self, subnet: SubnetIndex) -> Range<usize> {
        self.pools_by_subnet.get(&subnet).cloned().unwrap_or(0..0)
    }

    pub(super) fn network(&self, index: NetworkIndex) -> &Network {
        &self.configuration.networks[index.0]
    }

    pub(super) fn subnet(&self, index: SubnetIndex) -> &Subnet {
        &self.network(index.network).subnets[index.position]
    }

    /// The subnets of a network, in the order of the file.
    pub(super) fn subnets(&self, network: NetworkIndex) -> impl Iterator<Item = SubnetIndex> {
        (0..self.network(network).subnets.len())
            .map(move |position| SubnetIndex { network, position })
    }

    /// The subnet whose prefix the address is in.
    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<SubnetIndex> {
        let (_, index) = self.subnets.range(..=u32::from(address)).next_back()?;
        self.subnet(*index).prefix.contains(address).then_some(*index)
    }

    /// The network whose prefixes the address is in.
    pub(super) fn network_of(&self, address: Ipv4Addr) -> Option<NetworkIndex> {
        self.subnet_of(address).map(|subnet| subnet.network)
    }

    /// The pool that the address is in.
    pub(super) fn pool_of(&self, address: u32) -> Option<PoolIndex> {
        let (_, index) = self.pools_by_first.range(..=address).next_back()?;
        (address <= self.pools[index.0].last).then_some(*index)
    }

    /// Whether a failover pair shares the address: it is in a pool, and reserved for nobody.
    pub(super) fn is_paired(&self, address: u32) -> bool {
        self.pool_of(address).is_some() && self.reserved_for(address).is_none()
    }

    /// The first address from here on that a failover pair shares.
    pub(super) fn paired_from(&self, address: u32) -> Option<u32> {
        let mut next = address;
        loop {
            let behind = self.pools.partition_point(|pool| pool.last < next);
            next = next.max(self.pools.get(behind)?.first);
            if self.reserved_for(next).is_none() {
                return Some(next);
            }
            next = next.checked_add(1)?;
        }
    }

    /// Whether a network has pools for one class of hosts.
    pub(super) fn has_class_pools(&self, network: NetworkIndex) -> bool {
        self.has_class_pools[network.0]
    }

    /// The class of hosts that an address is for: that of its pool, unless it is reserved. `None`: it is
    /// for anybody, for one device, or for nobody.
    pub(super) fn class_of_address(&self, address: u32) -> Option<Class> {
        let pool = self.pool_of(address)?;
        let class = self.pools[pool.0].class?;
        self.reserved_for(address).is_none().then_some(class)
    }

    /// Whether what stands at an address of a gated network belongs into the kernel sets.
    pub(super) fn is_by_sets(&self, address: u32) -> bool {
        self.all_by_sets
            || self
                .network_of(address.into())
                .is_some_and(|network| self.network(network).gate_by.sets)
    }

    /// Whether a registered holder of an address is let through with IPv6 by its Ethernet address.
    pub(super) fn is_ipv6_by_hardware(&self, address: u32) -> bool {
        self.any_ipv6_by_hardware
            && self.network_of(address.into()).is_some_and(|network| {
                let network = self.network(network);
                let by = network.gate_by;
                network.gated && by.sets && by.ipv6_by_hardware
            })
    }

    /// Whose the address is by reservation.
    pub(super) fn reserved_for(&self, address: u32) -> Option<HardwareAddress> {
        self.reserved.get(&address).map(|reserved| reserved.hardware)
    }

    /// The addresses that are reserved for a device in a network, in the order of the file.
    pub(super) fn reserved_addresses(
        &self,
        network: NetworkIndex,
        hardware: HardwareAddress,
    ) -> &[u32] {
        self.reserved_addresses.get(&(network, hardware)).map_or(&[], Vec::as_slice)
    }

    /// The options of a reservation.
    pub(super) fn reservation_options(&self, address: u32) -> Option<&OptionSet> {
        let reserved = self.reserved.get(&address)?;
        Some(&self.subnet(reserved.subnet).reservations[reserved.position].options)
    }

    /// Whether anybody at all could get this address.
    pub(super) fn is_served(&self, address: u32) -> bool {
        self.reserved.contains_key(&address) || self.pool_of(address).is_some()
    }
}
