//! The gate on this host: two kernel sets that follow the leases, and the rules around them.
//!
//! [`Gate`] owns one nf_tables table of family `inet` and talks netlink to the kernel, through nftnl
//! and mnl, on one socket that stays open. It promises:
//!
//! - every change is one transaction: packets meet the state before it or the state after it, also
//!   when a daemon starts on a host whose table is still there from before;
//! - elements carry the time that is left to their lease, so a permit dies with its lease even if
//!   every daemon is dead;
//! - verdicts are made per packet by the sets, never by what connection tracking remembers, so a
//!   permit that is withdrawn stops flows that are under way.
//!
//! It never touches another table, and never runs the `nft` program. [`Watch`] tells when somebody
//! else changed ours.
//!
//! The way through the files: [`Ruleset`] (what the table says; `sets`, `ranges`), `message` and `expression` (nf_tables
//! messages), `holders` and `neighbours` (who is let through with IPv6 by an Ethernet address), `wire` and `netlink` (framing, the socket), `channel` (a transaction's way to the kernel), `existing` (what the
//! kernel has), [`Gate`], `flows` (whose tracked flows go, and when; `tenure` and `tracking` under it), [`Garden`] (what names in the garden lead to), [`Watch`]. [`feed`] is how
//! a server tells other hosts what to enforce, [`source`] how such a stream is followed, and [`agent`] how one of them enforces it.

pub mod agent;
mod channel;
mod error;
mod existing;
mod expression;
pub mod feed;
mod flows;
mod garden;
mod gate;
mod holders;
mod look;
mod message;
mod neighbours;
mod netlink;
mod planned;
mod ranges;
mod ruleset;
mod second_look;
mod sets;
pub mod source;
mod tenure;
mod tracking;
mod watch;
mod wire;

pub use error::FirewallError;
pub use garden::{
    GARDEN_ADDRESSES_MAX, GARDEN_SECONDS_MAX, GARDEN_SECONDS_MIN, Garden, GardenVerdict,
};
pub use gate::{Dialect, Gate};
pub use look::{Held, contents_of};
pub use ruleset::{Ruleset, TABLE_DEFAULT};
pub use second_look::Look;
pub use watch::{Interference, Watch};

/// They may be made on one thread and used on another.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Gate>();
    is_send::<Garden>();
    is_send::<Watch>();
};
