//! The configuration, arranged for look-ups by address: which subnet, which pool, whose reservation.
//!
//! It never changes after it is built, and every look-up is a search in an ordered map.

use super::levels::{Levels, Merged, OptionLevel};
use crate::{
    AddressRange, Class, ClassSet, Configuration, HardwareAddress, Holder, Network, OptionSet,
    PerClass, Policy, ProfileIndex, Reservation, Subnet,
};
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
    /// The classes of clients that it is for; empty: for all.
    pub(super) clients: ClassSet,
    /// The options for hosts in it, if it has any of its own, among [`Topology::places`].
    place: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Reserved {
    subnet: SubnetIndex,
    position: usize,
}

/// Addresses that are reserved in one network, by whom they are for, in the order of the file.
#[derive(Debug, Default)]
struct Holders {
    hardware: BTreeMap<HardwareAddress, Vec<u32>>,
    clients: BTreeMap<Box<[u8]>, Vec<u32>>,
    circuits: BTreeMap<Box<[u8]>, Vec<u32>>,
}

/// The options of one subnet for all who have none of their own: by their place among
/// [`Topology::places`].
#[derive(Clone, Copy, Debug)]
struct SubnetOptions {
    place: usize,
    for_class: Option<PerClass<usize>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Topology {
    configuration: Configuration,
    subnets: BTreeMap<u32, SubnetIndex>,
    pools: Vec<PoolPlace>,
    pools_by_first: BTreeMap<u32, PoolIndex>,
    pools_by_subnet: BTreeMap<SubnetIndex, Range<usize>>,
    reserved: BTreeMap<u32, Reserved>,
    /// By network.
    holders: Vec<Holders>,
    /// Whether an address is reserved for a circuit.
    has_circuits: bool,
    /// Options of several levels, merged.
    places: Vec<Merged>,
    /// By network and position.
    subnet_options: Vec<Vec<SubnetOptions>>,
    /// Whether a pool has options of its own.
    has_pool_options: bool,
    /// The classes of clients that have options.
    classes_with_options: ClassSet,
    /// By network: whether it has pools for classes of clients.
    has_client_pools: Vec<bool>,
    /// By network: whether it has pools for one class of hosts.
    has_class_pools: Vec<bool>,
    /// Whether every gated network is gated by the kernel sets.
    all_by_sets: bool,
    /// Whether any network lets registered hosts through with IPv6 by their Ethernet address.
    any_ipv6_by_hardware: bool,
    /// Subnet masks by the length of the prefix.
    masks: [[u8; 4]; 33],
}

impl Topology {
    pub(super) fn new(configuration: Configuration) -> Self {
        let mut subnets = BTreeMap::new();
        let mut pools = Vec::new();
        let mut reserved = BTreeMap::new();
        let mut holders: Vec<Holders> = Vec::with_capacity(configuration.networks.len());
        let mut places = Vec::new();
        let mut subnet_options = Vec::with_capacity(configuration.networks.len());
        for (network_position, network) in configuration.networks.iter().enumerate() {
            let network_index = NetworkIndex(network_position);
            let mut of_network = Holders::default();
            let mut options_of_network = Vec::with_capacity(network.subnets.len());
            for (position, subnet) in network.subnets.iter().enumerate() {
                let index = SubnetIndex { network: network_index, position };
                subnets.insert(u32::from(subnet.prefix.network()), index);
                options_of_network.push(merge(&configuration.policy, network, subnet, &mut places));
                let plain = |(class, range): (Option<Class>, AddressRange)| PoolPlace {
                    first: range.first.into(),
                    last: range.last.into(),
                    subnet: index,
                    class,
                    clients: ClassSet::NONE,
                    place: None,
                };
                pools.extend(subnet.plain_pools().map(plain));
                for special in &subnet.special_pools {
                    let place = (!special.options.is_empty()).then(|| {
                        let pool = Some((OptionLevel::Pool, &special.options));
                        let below = levels_of(&configuration.policy, network, subnet);
                        places.push(Merged::of(pool.into_iter().chain(below)));
                        places.len() - 1
                    });
                    let pool = plain((special.class, special.range));
                    pools.push(PoolPlace { clients: special.clients, place, ..pool });
                }
                for (position, reservation) in subnet.reservations.iter().enumerate() {
                    let address = u32::from(reservation.address);
                    reserved.insert(address, Reserved { subnet: index, position });
                    let addresses = match &reservation.holder {
                        Holder::Hardware(hardware) => {
                            of_network.hardware.entry(*hardware).or_default()
                        }
                        Holder::Client(identifier) => {
                            of_network.clients.entry(identifier.clone()).or_default()
                        }
                        Holder::Circuit(circuit) => {
                            of_network.circuits.entry(circuit.clone()).or_default()
                        }
                    };
                    addresses.push(address);
                }
            }
            holders.push(of_network);
            subnet_options.push(options_of_network);
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
        let has_client_pools = configuration
            .networks
            .iter()
            .map(|network| {
                let mut pools = network.subnets.iter().flat_map(|subnet| &subnet.special_pools);
                pools.any(|pool| !pool.clients.is_empty())
            })
            .collect();
        let all_by_sets =
            configuration.networks.iter().all(|network| !network.gated || network.gate_by.sets);
        let any_ipv6_by_hardware =
            configuration.networks.iter().any(|network| network.gate_by.ipv6_by_hardware);
        let numbered = configuration.policy.classes.iter().enumerate();
        let classes_with_options = numbered
            .filter(|(_, class)| !class.options.is_empty())
            .fold(ClassSet::NONE, |set, (index, _)| set.with(index));
        let has_pool_options = pools.iter().any(|pool| pool.place.is_some());
        let has_circuits = holders.iter().any(|network| !network.circuits.is_empty());
        Self {
            any_ipv6_by_hardware,
            configuration,
            subnets,
            pools,
            pools_by_first,
            pools_by_subnet,
            reserved,
            holders,
            has_circuits,
            places,
            has_pool_options,
            subnet_options,
            classes_with_options,
            has_client_pools,
            has_class_pools,
            all_by_sets,
            masks: std::array::from_fn(|length| {
                let bits = u32::MAX.checked_shl(32 - u32::try_from(length).unwrap_or(32));
                bits.unwrap_or(0).to_be_bytes()
            }),
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

    /// Whether a network has pools for classes of clients.
    pub(super) fn has_client_pools(&self, network: NetworkIndex) -> bool {
        self.has_client_pools[network.0]
    }

    /// Whom the address is reserved for.
    pub(super) fn reserved_for(&self, address: u32) -> Option<&Holder> {
        self.reservation(address).map(|reservation| &reservation.holder)
    }

    /// The reservation of an address.
    pub(super) fn reservation(&self, address: u32) -> Option<&Reservation> {
        let reserved = self.reserved.get(&address)?;
        self.subnet(reserved.subnet).reservations.get(reserved.position)
    }

    /// Whether an address is reserved for a circuit, anywhere.
    pub(super) const fn has_circuits(&self) -> bool {
        self.has_circuits
    }

    /// The addresses that are reserved in a network for a device, for a client, or for a circuit: one
    /// after the other, each in the order of the file.
    pub(super) fn reserved_addresses<'t>(
        &'t self,
        network: NetworkIndex,
        hardware: HardwareAddress,
        client: Option<&[u8]>,
        circuit: Option<&[u8]>,
    ) -> impl Iterator<Item = u32> + use<'t> {
        let holders = &self.holders[network.0];
        let of = |found: Option<&'t Vec<u32>>| found.into_iter().flatten().copied();
        of(holders.hardware.get(&hardware))
            .chain(of(client.and_then(|client| holders.clients.get(client))))
            .chain(of(circuit.and_then(|circuit| holders.circuits.get(circuit))))
    }

    /// The options of an address for a host of a class that is in these classes of clients; `is_own`: it
    /// is reserved for that host. `None`: the address is in no subnet.
    pub(super) fn levels(
        &self,
        address: u32,
        is_own: bool,
        class: Class,
        clients: ClassSet,
    ) -> Option<Levels<'_>> {
        let index = self.subnet_of(address.into())?;
        let subnet = self.subnet_options.get(index.network.0)?.get(index.position)?;
        let place = if self.has_pool_options {
            let pool = self.pool_of(address).and_then(|pool| self.pools[pool.0].place);
            pool.unwrap_or(subnet.place)
        } else {
            subnet.place
        };
        let reservation = if is_own { self.reservation(address) } else { None };
        let profile = reservation.and_then(|reservation| reservation.profile);
        Some(Levels {
            reservation: reservation.map(|reservation| &reservation.options),
            reservation_profile: profile.and_then(|index| self.profile(index)),
            for_class: subnet.for_class.and_then(|sets| self.places.get(*sets.of(class))),
            classes: clients.and(self.classes_with_options),
            all_classes: &self.configuration.policy.classes,
            place: self.places.get(place)?,
            mask: &self.masks[usize::from(self.subnet(index).prefix.prefix()).min(32)],
        })
    }

    fn profile(&self, index: ProfileIndex) -> Option<&OptionSet> {
        self.configuration.policy.profiles.get(index.0).map(|profile| &profile.options)
    }

    /// Whether anybody at all could get this address.
    pub(super) fn is_served(&self, address: u32) -> bool {
        self.reserved.contains_key(&address) || self.pool_of(address).is_some()
    }
}

/// What holds for the hosts of a subnet that have nothing of their own, the level that wins first.
fn levels_of<'c>(
    policy: &'c Policy,
    network: &'c Network,
    subnet: &'c Subnet,
) -> impl Iterator<Item = (OptionLevel, &'c OptionSet)> {
    let profile = subnet.profile.and_then(|index| policy.profiles.get(index.0));
    [
        Some((OptionLevel::Subnet, &subnet.options)),
        profile.map(|profile| (OptionLevel::SubnetProfile, &profile.options)),
        Some((OptionLevel::Network, &network.options)),
        Some((OptionLevel::Everybody, &policy.options)),
    ]
    .into_iter()
    .flatten()
}

/// Merges the options of a subnet.
fn merge(
    policy: &Policy,
    network: &Network,
    subnet: &Subnet,
    places: &mut Vec<Merged>,
) -> SubnetOptions {
    places.push(Merged::of(levels_of(policy, network, subnet)));
    let place = places.len() - 1;
    let is_said = |class| {
        !subnet.class_options.of(class).is_empty() || !network.class_options.of(class).is_empty()
    };
    let for_class = Class::ALL.into_iter().any(is_said).then(|| {
        let mut sets = PerClass::default();
        for class in Class::ALL {
            places.push(Merged::of([
                (OptionLevel::SubnetForClass(class), subnet.class_options.of(class)),
                (OptionLevel::NetworkForClass(class), network.class_options.of(class)),
            ]));
            *sets.of_mut(class) = places.len() - 1;
        }
        sets
    });
    SubnetOptions { place, for_class }
}
