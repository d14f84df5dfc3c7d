//! The pair as an operator sees it.

use super::{CloseReason, PartnerState, Role, State};
use crate::AddressRange;

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
    /// By how many seconds this server's clock is ahead of the partner's, also if the handshake failed;
    /// `None`: they have not spoken in this life.
    pub clock_ahead_seconds: Option<i64>,
    /// Why the last handshake failed; `None`: it did not, or there was none.
    pub trouble: Option<CloseReason>,
    /// The maximum client lead time that the pair goes by, in seconds.
    pub mclt_seconds: u32,
    /// How many of the 256 buckets this server answers; `None`: a secondary that has not met its partner.
    pub buckets: Option<u32>,
    /// Updates on their way to the partner.
    pub updates_unacknowledged: u64,
    /// Addresses of which the partner is to be told.
    pub updates_waiting: u64,
    /// Updates that the partner has refused since the server started.
    pub updates_refused_by_partner: u64,
    /// Updates of the partner's that were refused since the server started.
    pub updates_refused: u64,
    /// Addresses of which the partner does not take what is so. They are offered to it again, ever more seldom.
    pub addresses_refused: u64,
    /// Addresses that are in the pools of one half only, as far as the two have spoken of them.
    pub mismatch: PoolMismatch,
    /// By network, in the order of the configuration.
    pub networks: Vec<PairNetworkStatus>,
}

/// Addresses that are in the pools of one half only, as far as they were spoken of in this connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolMismatch {
    /// In pools here, and in none of the partner's: the lowest, at most
    /// [`PAIR_MISMATCHED_RANGES_MAX`](crate::limits::PAIR_MISMATCHED_RANGES_MAX) ranges.
    pub only_here: Vec<AddressRange>,
    /// How many addresses those are, at most
    /// [`PAIR_MISMATCHED_ADDRESSES_MAX`](crate::limits::PAIR_MISMATCHED_ADDRESSES_MAX).
    pub only_here_count: u64,
    /// In pools of the partner's, and in none here.
    pub only_there: Vec<AddressRange>,
    /// How many addresses those are.
    pub only_there_count: u64,
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
