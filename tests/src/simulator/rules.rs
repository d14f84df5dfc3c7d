//! What holds for registrations in a world: roles, limits, lifetimes, pools for each class of hosts, and
//! what networks do with randomised hardware addresses.
//!
//! Half of the worlds have none of that. What it means is written in `docs/api.md` and
//! `docs/configuration.md`; the checkers follow their words.

use super::plan::{self, to_u32, to_usize};
use std::net::Ipv4Addr;
use vestibule_core::{
    AddressRange, Class, GateBy, PerClass, RandomisedAddresses, RegistrationRules, Role,
};
use vestibule_load::random::Random;

/// The role of guests, who may have few devices and for a short time.
pub(crate) const GUEST: &str = "guest";

/// The role whose devices the gate holds back.
pub(crate) const QUARANTINE: &str = "quarantine";

/// A role of which nothing is said.
pub(crate) const STAFF: &str = "staff";

/// What holds in one network.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetworkRules {
    /// Whether the kernel sets hold its unregistered hosts back; of no meaning if it is not gated.
    pub(crate) is_by_sets: bool,
    /// How many addresses at the beginning of the pool are for one class of hosts.
    pub(crate) of_class: PerClass<usize>,
    /// What happens to those who want to register a randomised address.
    pub(crate) randomised: RandomisedAddresses,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Whether this world has any of it.
    pub(crate) is_there: bool,
    /// Devices of one owner.
    pub(crate) device_limit: Option<u32>,
    /// The same for guests.
    pub(crate) guest_limit: Option<u32>,
    /// How long a registration lasts, in seconds.
    pub(crate) lifetime_seconds: Option<u32>,
    /// The same for guests.
    pub(crate) guest_lifetime_seconds: Option<u32>,
    /// The most for a randomised address, where that is.
    pub(crate) lifetime_randomised_seconds: u32,
    /// How many people there are.
    pub(crate) owners: u64,
    /// Addresses in the pools of each network.
    pub(crate) pool: usize,
    /// By network.
    pub(crate) networks: Vec<NetworkRules>,
}

impl Rules {
    /// The rules of a world with so many devices, and so many networks with so many addresses each.
    pub(crate) fn of(random: &mut Random, devices: usize, networks: usize, pool: usize) -> Self {
        let plain = NetworkRules { is_by_sets: true, ..NetworkRules::default() };
        if random.below(2) == 0 || devices > 1000 {
            let networks = vec![plain; networks];
            return Self { pool, networks, ..Self::default() };
        }
        let mut perhaps = |least: u64, below: u64| {
            (random.below(2) == 0).then(|| to_u32(least + random.below(below)))
        };
        let (device_limit, guest_limit) = (perhaps(1, 4), perhaps(1, 2));
        let (lifetime_seconds, guest_lifetime_seconds) = (perhaps(20, 100), perhaps(5, 60));
        let networks = (0..networks).map(|network| {
            let randomised = RandomisedAddresses::ALL[to_usize(random.below(3))];
            let has_pools = pool >= 4 && random.below(2) == 0;
            if !plan::is_gated(network) {
                return plain;
            }
            if !has_pools {
                return NetworkRules { randomised, ..plain };
            }
            let for_anybody = pool * to_usize(random.below(3)) / 4;
            let registered = ((pool - for_anybody) / 2).max(1);
            let unregistered = (pool - for_anybody - registered).max(1);
            NetworkRules {
                is_by_sets: random.below(3) != 0,
                of_class: PerClass { registered, unregistered },
                randomised,
            }
        });
        Self {
            networks: networks.collect(),
            is_there: true,
            device_limit,
            guest_limit,
            lifetime_seconds,
            guest_lifetime_seconds,
            lifetime_randomised_seconds: to_u32(10 + random.below(60)),
            owners: 1 + random.below(devices as u64),
            pool,
        }
    }

    /// A pair's: none beyond the gate.
    pub(crate) fn of_a_pair(networks: usize, pool: usize) -> Self {
        let plain = NetworkRules { is_by_sets: true, ..NetworkRules::default() };
        Self { pool, networks: vec![plain; networks], ..Self::default() }
    }

    /// What the server is told of registrations.
    pub(crate) fn registration(&self) -> RegistrationRules {
        if !self.is_there {
            return RegistrationRules::default();
        }
        let guest = Role {
            name: GUEST.into(),
            device_limit: self.guest_limit,
            lifetime_seconds: self.guest_lifetime_seconds,
            ..Role::default()
        };
        let quarantine = Role { name: QUARANTINE.into(), quarantine: true, ..Role::default() };
        let staff = Role { name: STAFF.into(), ..Role::default() };
        RegistrationRules {
            device_limit: self.device_limit,
            lifetime_seconds: self.lifetime_seconds,
            lifetime_randomised_seconds: self.lifetime_randomised_seconds,
            roles: vec![staff, guest, quarantine],
        }
    }

    /// By what a network is gated.
    pub(crate) fn gate_by(&self, network: usize) -> GateBy {
        let rules = self.networks[network];
        GateBy {
            sets: rules.is_by_sets,
            pools: rules.of_class.registered > 0,
            ipv6_by_hardware: false,
        }
    }

    /// The pools of a network: for anybody, and for each class.
    pub(crate) fn pools(&self, network: usize) -> (Vec<AddressRange>, PerClass<Vec<AddressRange>>) {
        let PerClass { registered, unregistered } = self.networks[network].of_class;
        let first = u32::from(plan::relay(network)) + 10;
        let range = |from: usize, to: usize| {
            let at = |place: usize| Ipv4Addr::from(first + to_u32(place as u64));
            (from < to).then(|| AddressRange { first: at(from), last: at(to - 1) })
        };
        let of_class = PerClass {
            registered: range(0, registered).into_iter().collect(),
            unregistered: range(registered, registered + unregistered).into_iter().collect(),
        };
        (range(registered + unregistered, self.pool).into_iter().collect(), of_class)
    }

    /// For how many devices there is an address in a network, whatever class they are of.
    pub(crate) fn room(&self, network: usize) -> usize {
        let PerClass { registered, unregistered } = self.networks[network].of_class;
        self.pool - registered.max(unregistered)
    }

    /// Whether the kernel sets have something to say of an address.
    pub(crate) fn is_by_sets(&self, address: Ipv4Addr) -> bool {
        let network = plan::network_of(address);
        plan::is_gated(network) && self.networks.get(network).is_some_and(|rules| rules.is_by_sets)
    }

    /// The class of hosts that an address is for; `None`: anybody, or one device.
    pub(crate) fn class_of(&self, address: Ipv4Addr) -> Option<Class> {
        let (_, of_class) = self.pools(plan::network_of(address));
        Class::ALL.into_iter().find(|class| {
            let pools = of_class.of(*class);
            pools.iter().any(|range| range.contains(address))
        })
    }

    /// The addresses of a network that a host of a class may be given.
    pub(crate) fn addresses_for(
        &self,
        network: usize,
        class: Class,
    ) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (for_anybody, of_class) = self.pools(network);
        let ranges = for_anybody.into_iter().chain(of_class.of(class).clone());
        ranges.flat_map(|range| (u32::from(range.first)..=range.last.into()).map(Ipv4Addr::from))
    }
}
