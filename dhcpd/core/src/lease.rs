//! A lease: one address, the client that holds it or held it last, and until when.
//!
//! A lease is kept after it ends, until its address is given to somebody else: that is how a client
//! gets its old address back, and how the least recently used address is known (RFC 2131 section
//! 4.3.1). Whether a lease is *held* at a moment follows from its state and its end; expiry
//! therefore needs no record of its own.

use crate::{ClientIdentifier, HardwareAddress, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What has become of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingState {
    /// Acknowledged; held until [`Lease::ends`].
    Active,
    /// Given back by its holder (DHCPRELEASE) at [`Lease::ends`].
    Released,
    /// Reported as in use by something else (DHCPDECLINE); nobody gets it before [`Lease::ends`].
    Declined,
}

/// One address and its newest binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose lease it is.
    pub client: ClientIdentifier,
    /// The hardware address that it was last acknowledged to; the key of registrations.
    pub hardware: HardwareAddress,
    /// What has become of the binding.
    pub state: BindingState,
    /// When this client was first given this address, without a break since.
    pub started: Timestamp,
    /// When the last ACK (or RELEASE or DECLINE) for it was decided; an ACK that was answered from the
    /// lease as it was does not count.
    pub changed: Timestamp,
    /// When it ends: expiry, or the moment of the RELEASE, or the end of the quarantine.
    pub ends: Timestamp,
    /// The relay that the last request came through; `None` for an attached LAN or a unicast renewal
    /// of a client that never came through a relay.
    pub relay: Option<Ipv4Addr>,
    /// The contents of option 82 of the last relayed request (RFC 3046), byte for byte.
    pub relay_agent: Option<Box<[u8]>>,
    /// Option 12 as the client sent it: foreign bytes, to be escaped wherever they are shown.
    pub host_name: Option<Box<[u8]>>,
}

impl Lease {
    /// Whether a client holds the address at `now`.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.state == BindingState::Active && now < self.ends
    }

    /// Whether the address must be kept from everybody but its holder at `now`: it is held, or in
    /// quarantine after a DECLINE.
    #[must_use]
    pub fn is_blocked(&self, now: Timestamp) -> bool {
        self.state != BindingState::Released && now < self.ends
    }
}
