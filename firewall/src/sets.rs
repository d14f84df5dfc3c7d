//! The sets of the gate's table: what each is called, and what it has elements of.

use std::ffi::CStr;

/// What a set has elements of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ipv4,
    Ipv6,
    Ethernet,
}

/// One of our sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetName {
    Gated,
    GatedIpv6,
    /// Those prefixes of them whose hosts are let through by their Ethernet address.
    GatedIpv6ByHardware,
    Garden,
    /// What names in the garden lead to, as the answers of the true resolvers say.
    GardenNames,
    Servers,
    Unregistered,
    Registered,
    /// Ethernet addresses of those that hold an address in `Registered` and are let through with IPv6 by it.
    RegisteredHardware,
    /// Who began tracked flows lately, each with its budget: the kernel's to fill.
    FlowBudgets,
}

impl SetName {
    pub(crate) const ALL: [Self; 10] = [
        Self::Gated,
        Self::GatedIpv6,
        Self::GatedIpv6ByHardware,
        Self::Garden,
        Self::GardenNames,
        Self::Servers,
        Self::Unregistered,
        Self::Registered,
        Self::RegisteredHardware,
        Self::FlowBudgets,
    ];

    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Gated => c"gated",
            Self::GatedIpv6 => c"gated_ipv6",
            Self::GatedIpv6ByHardware => c"gated_ipv6_by_hardware",
            Self::Garden => c"garden",
            Self::GardenNames => c"garden_names",
            Self::Servers => c"servers",
            Self::Unregistered => c"unregistered",
            Self::Registered => c"registered",
            Self::RegisteredHardware => c"registered_hardware",
            Self::FlowBudgets => c"flow_budgets",
        }
    }

    /// What messages of one transaction call it by.
    pub(crate) const fn id(self) -> u32 {
        match self {
            Self::Gated => 1,
            Self::Garden => 2,
            Self::Servers => 3,
            Self::Unregistered => 4,
            Self::Registered => 5,
            Self::FlowBudgets => 6,
            Self::GatedIpv6 => 7,
            Self::GardenNames => 8,
            Self::GatedIpv6ByHardware => 9,
            Self::RegisteredHardware => 10,
        }
    }

    /// Whether its elements are ranges and never end; otherwise they are addresses, and those of the
    /// sets that follow leases and answers end.
    pub(crate) const fn is_interval(self) -> bool {
        matches!(self, Self::Gated | Self::GatedIpv6 | Self::GatedIpv6ByHardware | Self::Garden)
    }

    /// What its elements are.
    pub(crate) const fn key(self) -> KeyKind {
        match self {
            Self::GatedIpv6 | Self::GatedIpv6ByHardware => KeyKind::Ipv6,
            Self::RegisteredHardware => KeyKind::Ethernet,
            _ => KeyKind::Ipv4,
        }
    }

    pub(crate) const fn has_timeouts(self) -> bool {
        matches!(
            self,
            Self::Unregistered | Self::Registered | Self::RegisteredHardware | Self::GardenNames
        )
    }
}
