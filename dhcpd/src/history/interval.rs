//! What the history is made of: who held an address from when to when, and who answered for a device.
//!
//! The two are kept apart, and put together when somebody asks: a registration that changes while an
//! address is held then shows with its own times, and the owners can be forgotten earlier than the rest.

use std::net::Ipv4Addr;
use vestibule_core::relay_agent::sub_option;
use vestibule_core::{ClientIdentifier, HardwareAddress, RelayAgentInformation, Timestamp};

macro_rules! endings {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal;)+) => {
        /// How an interval came to its end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Ended {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Ended {
            /// Every way.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in answers. It never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its number on disk.
            pub(super) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            pub(super) const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

endings! {
    /// Its time ran out: the lease was not renewed, or the registration expired.
    Expired = 1, "expired";
    /// The client gave the address back (DHCPRELEASE).
    Released = 2, "released";
    /// The client found the address in use by something else (DHCPDECLINE).
    Declined = 3, "declined";
    /// The same client goes on with the same address at another place, or under another name: another
    /// relay, option 82, host name. The next interval begins there.
    Moved = 4, "moved";
    /// The address went to somebody else, or the same client began anew, before the lease's time was up.
    Superseded = 5, "superseded";
    /// The address is no more of this server's: the configuration does not have it.
    Forgotten = 6, "forgotten";
    /// The registration was ended by somebody.
    Removed = 7, "removed";
    /// The registration went on with another owner or another role.
    Changed = 8, "changed";
    /// It is not known how: a part of the journal was not there to be read.
    Unknown = 9, "unknown";
}

/// Which half of a failover pair granted an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantedBy {
    /// The server whose history this is.
    ThisServer,
    /// Its failover partner.
    Partner,
}

impl GrantedBy {
    /// Its name in answers. It never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThisServer => "this-server",
            Self::Partner => "partner",
        }
    }
}

/// That a client held an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The address.
    pub address: Ipv4Addr,
    /// When the client got it, or came to this place with it.
    pub from: Timestamp,
    /// When it ended; while it goes on, when the lease would end that was known when this was written.
    pub until: Timestamp,
    /// How it ended; `None`: it goes on, or nobody has noticed yet that its time ran out.
    pub ended: Option<Ended>,
    /// Who granted it.
    pub granted_by: GrantedBy,
    /// The hardware address.
    pub hardware: HardwareAddress,
    /// Option 61, if the client sends one.
    pub client_identifier: Option<Box<[u8]>>,
    /// Option 12 as the client sent it: foreign bytes, to be escaped wherever they are shown.
    pub host_name: Option<Box<[u8]>>,
    /// The relay of the last request.
    pub relay: Option<Ipv4Addr>,
    /// Option 82 of the last relayed request, byte for byte.
    pub relay_agent: Option<Box<[u8]>>,
    /// The network of the address, as it was called when this was written.
    pub network: Option<Box<str>>,
}

/// That a device was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The device.
    pub hardware: HardwareAddress,
    /// From when on with this owner and role.
    pub from: Timestamp,
    /// When it ended; while it goes on, when the registration expires ([`Timestamp::FOREVER`]: never).
    pub until: Timestamp,
    /// How it ended; `None`: it goes on.
    pub ended: Option<Ended>,
    /// Who answered for it.
    pub owner: Option<Box<str>>,
    /// Its role.
    pub role: Option<Box<str>>,
}

/// One thing that the history keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Who held an address.
    Holding(Holding),
    /// Who answered for a device.
    Ownership(Ownership),
}

/// What an interval is found and sorted by: the address or the device, then its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The address as a number; for a device, its hash with the highest bit set.
    pub(super) subject: u64,
    /// Milliseconds since 1970.
    pub(super) from: u64,
}

/// The highest bit tells devices from addresses.
const DEVICE: u64 = 1 << 63;

/// A key that intervals are found by, whose contents are compared again once they are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Hardware(HardwareAddress),
    Circuit(Box<[u8]>),
    Owner(Box<str>),
}

impl Key {
    /// 64 bits of it. Two keys may share them.
    pub(super) fn hash(&self) -> u64 {
        match self {
            Self::Hardware(hardware) => hash_hardware(b'h', *hardware),
            Self::Circuit(circuit) => fnv(b'c', &[circuit]),
            Self::Owner(owner) => fnv(b'o', &[owner.as_bytes()]),
        }
    }
}

/// Where the ownerships of a device are.
pub(super) fn subject_of(hardware: HardwareAddress) -> u64 {
    hash_hardware(b'd', hardware) | DEVICE
}

fn hash_hardware(kind: u8, hardware: HardwareAddress) -> u64 {
    fnv(kind, &[&[hardware.hardware_type()], hardware.bytes()])
}

/// FNV-1a, 64 bits: stable on disk. It guards nothing; what it finds is compared in full.
fn fnv(kind: u8, parts: &[&[u8]]) -> u64 {
    let bytes = std::iter::once(&kind).chain(parts.iter().copied().flatten());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Holding {
    /// The part of option 82 with this code.
    #[must_use]
    pub fn sub_option(&self, code: u8) -> Option<Box<[u8]>> {
        let option = RelayAgentInformation::parse(self.relay_agent.as_deref()?)?;
        option.sub_option(code).map(Into::into)
    }

    /// Whose it is: option 61 in full, or the hardware address.
    #[must_use]
    pub fn client(&self) -> ClientIdentifier {
        match &self.client_identifier {
            Some(bytes) => ClientIdentifier::Option61(bytes.clone()),
            None => ClientIdentifier::Hardware(self.hardware),
        }
    }
}

impl Interval {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Holding(Holding { address, from, .. }) => {
                Place { subject: u32::from(*address).into(), from: from.milliseconds() }
            }
            Self::Ownership(Ownership { hardware, from, .. }) => {
                Place { subject: subject_of(*hardware), from: from.milliseconds() }
            }
        }
    }

    /// When it ended, or would end.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        match self {
            Self::Holding(holding) => holding.until,
            Self::Ownership(ownership) => ownership.until,
        }
    }

    /// When it began.
    #[must_use]
    pub const fn from(&self) -> Timestamp {
        match self {
            Self::Holding(holding) => holding.from,
            Self::Ownership(ownership) => ownership.from,
        }
    }

    /// How it ended.
    #[must_use]
    pub const fn ended(&self) -> Option<Ended> {
        match self {
            Self::Holding(holding) => holding.ended,
            Self::Ownership(ownership) => ownership.ended,
        }
    }

    /// What it is found by, besides its place.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let keys = match self {
            Self::Holding(holding) => [
                Some(Key::Hardware(holding.hardware)),
                holding.sub_option(sub_option::CIRCUIT_ID).map(Key::Circuit),
            ],
            Self::Ownership(ownership) => [ownership.owner.clone().map(Key::Owner), None],
        };
        keys.into_iter().flatten()
    }

    /// Whether it says more of the same interval than `other`: an end counts more than none, and then
    /// the later one.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.ended().is_some(), self.until()) > (other.ended().is_some(), other.until())
    }
}
