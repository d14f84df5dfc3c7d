//! What holds across networks: options and lifetimes for everybody, for classes of clients and by
//! profile, and how many leases one circuit or one owner may have.

use crate::{ClientClass, OptionSet};

/// See the module. By default nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Options for everybody; every other place wins over them.
    pub options: OptionSet,
    /// Classes of clients, in the order of the file; of two that say something, the earlier one wins. At
    /// most [`CLIENT_CLASSES_MAX`](crate::limits::CLIENT_CLASSES_MAX).
    pub classes: Vec<ClientClass>,
    /// What several places share.
    pub profiles: Vec<Profile>,
    /// How many leases at once.
    pub lease_limits: LeaseLimits,
    /// What happens when pools fill up; `None`: nothing but that they do.
    pub pressure: Option<Pressure>,
}

/// Names one of [`Policy::profiles`] by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileIndex(pub usize);

/// Settings under a name, for the places that use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the file.
    pub name: Box<str>,
    /// Options; those of the place that uses the profile win.
    pub options: OptionSet,
    /// Lifetime of leases in seconds.
    pub lifetime_seconds: Option<u32>,
}

/// Leases that may be held at once. A client that has one keeps it, whatever the limit is by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseLimits {
    /// Behind one circuit of one relay (option 82); `None`: any number.
    pub per_circuit: Option<u32>,
    /// By all registered devices of one owner; `None`: any number.
    pub per_owner: Option<u32>,
}

/// What leases of a pool last at most when it is nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// From which part of its addresses in use on, in percent.
    pub threshold_percent: u8,
    /// How long leases last then at most, in seconds.
    pub lifetime_seconds: u32,
}
