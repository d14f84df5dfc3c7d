//! What of the pair must survive a crash.
//!
//! Both are full images. A lease itself stays what it is without a pair: here stands what the pair
//! knows of its address beyond it. Times are seconds since 1970, as in messages; 0 is "never".

use super::{BindingStatus, HashBuckets, PartnerState, State};
use std::net::Ipv4Addr;

/// The states of the pair, durable before the partner hears of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailoverRecord {
    /// This server's; never [`State::Startup`], which is no state to come back to.
    pub state: State,
    /// From when on the time counts that has to be waited in it (start time of state).
    pub since: u32,
    /// The partner's, as it last said.
    pub partner: PartnerState,
    /// When it said so, by this server's clock.
    pub partner_since: u32,
    /// The maximum client lead time that the pair goes by, in seconds.
    pub mclt_seconds: u32,
    /// Which buckets the primary serves; `None`: a secondary that has not met it.
    pub hash_buckets: Option<HashBuckets>,
}

/// One address as the pair sees it. An address without one was never anything but free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairBinding {
    /// The address.
    pub address: Ipv4Addr,
    /// What has become of it.
    pub status: BindingStatus,
    /// The last status that the partner can know: it was sent to it, perhaps in vain, or came from it.
    pub partner_saw: BindingStatus,
    /// Whether the partner knows everything that is here: it acknowledged it, or it said so.
    pub is_acknowledged: bool,
    /// When the binding began: its last ACK or change of owner (ISC dhcpd: `starts`).
    pub since: u32,
    /// When this server last heard of the client (ISC dhcpd: `cltt`).
    pub client_last_transaction: u32,
    /// Until when this server may come to promise the address (ISC dhcpd: `tstp`).
    pub potential_expiration: u32,
    /// The potential expiration that both servers agree on, by which leases are measured (ISC dhcpd:
    /// `tsfp`).
    pub agreed_expiration: u32,
    /// The latest potential expiration that the partner may measure its leases by: what it agreed to, or
    /// was sent and may have taken.
    pub partner_expiration: u32,
}

impl PairBinding {
    /// An address that was never anything but free: the primary's.
    #[must_use]
    pub const fn untouched(address: Ipv4Addr) -> Self {
        Self {
            address,
            status: BindingStatus::Free,
            partner_saw: BindingStatus::Free,
            is_acknowledged: true,
            since: 0,
            client_last_transaction: 0,
            potential_expiration: 0,
            agreed_expiration: 0,
            partner_expiration: 0,
        }
    }
}
