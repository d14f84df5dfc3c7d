//! The checked configuration that the core works by.
//!
//! Whoever builds one promises what the configuration crate checks: pools lie inside their subnet's
//! prefix, prefixes and pools do not overlap, no address is reserved twice, no device twice in one
//! network. The core relies on it for P1 only through one map from address to lease, so even a
//! wrong configuration cannot make two clients hold one address.

use crate::failover::FailoverConfiguration;
use crate::{ClassSet, HardwareAddress, OptionSet, Policy, ProfileIndex};
use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;

/// Everything that the core is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The networks, in the order of the file.
    pub networks: Vec<Network>,
    /// Lifetime of a lease in seconds.
    pub lifetime_seconds: u32,
    /// Lifetime in seconds for a host of a gated network that is not registered.
    pub lifetime_unregistered_seconds: u32,
    /// How long an address stays out of use after a DECLINE, in seconds.
    pub decline_quarantine_seconds: u32,
    /// Which part of a lease's lifetime may have passed, in percent, for its renewal to be answered from
    /// the lease as it is (lease caching). 0: none is.
    pub cache_threshold_percent: u8,
    /// Whether a DISCOVER with option 80 is acknowledged at once (RFC 4039).
    pub rapid_commit: bool,
    /// What holds for registrations.
    pub registration: RegistrationRules,
    /// Options, classes of clients, profiles and limits that hold across networks.
    pub policy: Policy,
    /// The pair that this server is half of; `None`: it is alone.
    pub failover: Option<FailoverConfiguration>,
}

/// What holds for registrations, beyond what a portal says with each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRules {
    /// Devices that one owner may have registered at once; `None`: any number. A role's own limit wins.
    pub device_limit: Option<u32>,
    /// Seconds that a registration lasts for which nobody says when it ends; `None`: without end. A
    /// role's own lifetime wins.
    pub lifetime_seconds: Option<u32>,
    /// Seconds that the registration of a randomised address lasts at most, where they are allowed only
    /// briefly.
    pub lifetime_randomised_seconds: u32,
    /// The roles that a registration may name, in the order of the file; no name twice.
    pub roles: Vec<Role>,
}

/// Default of [`RegistrationRules::lifetime_randomised_seconds`]: a day.
pub const LIFETIME_RANDOMISED_SECONDS_DEFAULT: u32 = 24 * 60 * 60;

impl Default for RegistrationRules {
    fn default() -> Self {
        Self {
            device_limit: None,
            lifetime_seconds: None,
            lifetime_randomised_seconds: LIFETIME_RANDOMISED_SECONDS_DEFAULT,
            roles: Vec::new(),
        }
    }
}

impl RegistrationRules {
    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| *role.name == *name)
    }
}

/// What registrations of one kind have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: Box<str>,
    /// As [`RegistrationRules::device_limit`]; `None`: that one holds.
    pub device_limit: Option<u32>,
    /// As [`RegistrationRules::lifetime_seconds`]; `None`: that one holds.
    pub lifetime_seconds: Option<u32>,
    /// Whether the gate holds back devices that have it, as if they were not registered.
    pub quarantine: bool,
    /// The page that its devices are shown instead of the portal; only with `quarantine`.
    pub portal_url: Option<Box<str>>,
}

impl RandomisedAddresses {
    /// Every one, in the order of their strictness.
    pub const ALL: [Self; 3] = [Self::Allow, Self::AllowBriefly, Self::Refuse];

    /// As it is written in the file and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowBriefly => "allow-briefly",
            Self::Refuse => "refuse",
        }
    }
}

/// What a network does with registrations of randomised hardware addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RandomisedAddresses {
    /// They are registered like any other.
    #[default]
    Allow,
    /// Their registration ends after [`RegistrationRules::lifetime_randomised_seconds`] at the latest.
    AllowBriefly,
    /// They are not registered.
    Refuse,
}

/// A link, or several that look like one: hosts on it may get an address of any of its subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name in the file, in logs and in metrics.
    pub name: Box<str>,
    /// Whether unregistered hosts meet the gate.
    pub gated: bool,
    /// By what they are held back. Of no meaning in a network that is not gated.
    pub gate_by: GateBy,
    /// Its subnets; at least one.
    pub subnets: Vec<Subnet>,
    /// Options for hosts on it; a subnet's option of the same code wins.
    pub options: OptionSet,
    /// What happens when a host on it wants to register a randomised hardware address.
    pub randomised_addresses: RandomisedAddresses,
    /// Options for the hosts of one class; they win over everything but a subnet's for that class and a
    /// reservation's. Only gated networks have any.
    pub class_options: PerClass<OptionSet>,
}

/// What holds unregistered hosts of a gated network back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateBy {
    /// The kernel sets.
    pub sets: bool,
    /// Pools and options for each class of hosts: a host whose class has changed moves to a pool of its
    /// new class at its next renewal.
    pub pools: bool,
    /// Whether hosts in the kernel set of the registered are let through with IPv6 too, told by their
    /// Ethernet address. Of no meaning without `sets`.
    pub ipv6_by_hardware: bool,
}

/// The kernel sets alone.
impl Default for GateBy {
    fn default() -> Self {
        Self { sets: true, pools: false, ipv6_by_hardware: false }
    }
}

/// What a host is, and what a pool or an option is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Hosts with a valid registration that is neither suspended nor of a quarantine's role.
    Registered,
    /// All others.
    Unregistered,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Registered, Self::Unregistered];

    /// Its name in configuration, metrics and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Unregistered => "unregistered",
        }
    }
}

/// One of something for each class of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerClass<T> {
    /// For registered hosts.
    pub registered: T,
    /// For unregistered hosts.
    pub unregistered: T,
}

impl<T> PerClass<T> {
    /// That of one class.
    #[must_use]
    pub const fn of(&self, class: Class) -> &T {
        match class {
            Class::Registered => &self.registered,
            Class::Unregistered => &self.unregistered,
        }
    }

    /// That of one class, to be changed.
    #[must_use]
    pub const fn of_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Registered => &mut self.registered,
            Class::Unregistered => &mut self.unregistered,
        }
    }
}

/// A prefix and the addresses in it that may be given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix; its address is the network address.
    pub prefix: Ipv4Network,
    /// Ranges of addresses for anybody, in ascending order.
    pub pools: Vec<AddressRange>,
    /// Ranges of addresses for the hosts of one class, in ascending order. Only gated networks have any.
    pub class_pools: PerClass<Vec<AddressRange>>,
    /// Options for hosts in it.
    pub options: OptionSet,
    /// Options for the hosts of one class; they win over all others but a reservation's.
    pub class_options: PerClass<OptionSet>,
    /// Addresses that are kept for one device each.
    pub reservations: Vec<Reservation>,
    /// Ranges of addresses with rules of their own, in ascending order.
    pub special_pools: Vec<SpecialPool>,
    /// The profile that it uses.
    pub profile: Option<ProfileIndex>,
}

/// A range of addresses with rules of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialPool {
    /// The range.
    pub range: AddressRange,
    /// The class of hosts that it is for, registered or not; `None`: both. Only gated networks have any.
    pub class: Option<Class>,
    /// The classes of clients that it is for; empty: for all. Who is in one of them is given an address
    /// here before one that is for everybody; who has an address here keeps it while they renew.
    pub clients: ClassSet,
    /// Options for hosts in it; they win over the subnet's.
    pub options: OptionSet,
}

impl Subnet {
    /// Every pool with the class that it is for; `None`: for anybody.
    pub fn all_pools(&self) -> impl Iterator<Item = (Option<Class>, AddressRange)> + '_ {
        let special = self.special_pools.iter().map(|pool| (pool.class, pool.range));
        self.plain_pools().chain(special)
    }

    /// Those without rules of their own.
    pub fn plain_pools(&self) -> impl Iterator<Item = (Option<Class>, AddressRange)> + '_ {
        let for_anybody = self.pools.iter().map(|range| (None, *range));
        let for_class = Class::ALL.into_iter().flat_map(|class| {
            self.class_pools.of(class).iter().map(move |range| (Some(class), *range))
        });
        for_anybody.chain(for_class)
    }
}

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    /// The lowest address.
    pub first: Ipv4Addr,
    /// The highest address; not below `first`.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether the address is in the range.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }

    /// How many addresses it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(u32::from(self.last)).saturating_sub(u64::from(u32::from(self.first))) + 1
    }
}

/// An address that is kept for one device, or for whoever is at one circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Whose it is.
    pub holder: Holder,
    /// The address, inside the subnet's prefix; it may lie in a pool, and then nobody else gets it.
    pub address: Ipv4Addr,
    /// Options for it; they win over all others.
    pub options: OptionSet,
    /// The profile that it uses; its options win over all but the reservation's own.
    pub profile: Option<ProfileIndex>,
}

/// Whom a reservation is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The device with this hardware address.
    Hardware(HardwareAddress),
    /// The client that sends this as option 61.
    Client(Box<[u8]>),
    /// Whoever is at this circuit (option 82, sub-option 1). An address that one device holds goes to
    /// another one at the same circuit when the lease has ended.
    Circuit(Box<[u8]>),
}
