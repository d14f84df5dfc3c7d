//! What a server of a pair is configured with.
//!
//! All pools belong to the relationship; an address that is reserved for a device does not, and is
//! served by both servers, as by ISC dhcpd.

use super::{BalanceSettings, HashBuckets, Role};

/// The `[failover]` of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverConfiguration {
    /// Which half of the pair this server is.
    pub role: Role,
    /// The name of the relationship, the same on both servers, byte for byte. 1 to 255 bytes.
    pub relationship: Box<str>,
    /// The maximum client lead time in seconds: how much longer than the partner knows a client may
    /// hold an address. The primary's counts; a secondary goes by its own until it has met its partner.
    /// At least 1.
    pub mclt_seconds: u32,
    /// Which buckets the primary serves. The primary's count.
    pub hash_buckets: HashBuckets,
    /// How many updates the partner may send before it has heard of the first. At least 1.
    pub unacknowledged_max: u32,
    /// After how many seconds without a message the connection is given up (ISC dhcpd:
    /// `max-response-delay`). At least 3.
    pub receive_timer_seconds: u32,
    /// Up to which `secs` of a DISCOVER a client of the partner's is left to it (ISC dhcpd: `load
    /// balance max seconds`). 0: every client is answered by both.
    pub load_balance_seconds_max: u16,
    /// How free addresses are shared.
    pub balance: BalanceSettings,
    /// How long after one look at the pools the next comes at the earliest, in seconds (ISC dhcpd:
    /// `min-balance`).
    pub balance_seconds_min: u32,
    /// And at the latest (ISC dhcpd: `max-balance`). Not below `balance_seconds_min`.
    pub balance_seconds_max: u32,
    /// After how many seconds without contact the partner is taken for down without an operator's word;
    /// `None`: never. Unsafe unless a partner that cannot be heard is known not to serve.
    pub auto_partner_down_seconds: Option<u32>,
    /// Whether registrations and vouchers are exchanged with the partner ([`crate::exchange`]).
    pub exchanges_registrations: bool,
}
