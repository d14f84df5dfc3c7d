//! The pair as an operator sees it.

use super::{PartnerState, Role, State};

/// Numbers and states of the pair. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverStatus {
    /// Which half this server is.
    pub role: Role,
    /// The name of the relationship.
    pub relationship: Box<str>,
    /// This server's state; while it is starting, the one that it comes back to.
    pub state: State,
    /// Whether it is starting, and serves nobody of the pools.
    pub is_starting: bool,
    /// When the state began.
    pub since: u32,
    /// The partner's state, as it last said.
    pub partner: PartnerState,
    /// When it said so; 0: it never did.
    pub partner_since: u32,
    /// Whether the partner is heard.
    pub is_connected: bool,
    /// By how many seconds this server's clock is ahead of the partner's; `None`: they have not met in
    /// this life.
    pub clock_ahead_seconds: Option<i64>,
    /// The maximum client lead time that the pair goes by, in seconds.
    pub mclt_seconds: u32,
    /// How many of the 256 buckets this server answers; `None`: a secondary that has not met its partner.
    pub buckets: Option<u32>,
    /// Updates on their way to the partner.
    pub updates_unacknowledged: u64,
    /// Addresses of which the partner is to be told.
    pub updates_waiting: u64,
    /// By network, in the order of the configuration.
    pub networks: Vec<PairNetworkStatus>,
}

/// The addresses of one network's pools, by what the pair makes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairNetworkStatus {
    /// Its name.
    pub name: Box<str>,
    /// Free, the primary's.
    pub free: u64,
    /// Free, the secondary's.
    pub backup: u64,
    /// Neither: held, or kept until both servers agree that they are free.
    pub other: u64,
}
