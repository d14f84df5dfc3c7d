//! What others want to know of: one vocabulary for the event stream, webhooks, tests and docs.
//!
//! An event follows from a step. The shell tells it to nobody before that step is durable and in the
//! kernel (P2, P3), so an event says what is true (P8). Events are made only if the server is asked for
//! them ([`Server::announcing`](crate::Server::announcing)).

use crate::{Class, HardwareAddress, Lease, Registration, Timestamp, Voucher, limits};
use std::fmt;
use std::net::Ipv4Addr;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// What kind of thing happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl EventKind {
            /// Every kind, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in streams, configurations and docs. It never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

kinds! {
    /// A host that is not registered got a new lease in a gated network.
    UnregisteredSeen = "unregistered-seen";
    /// A device was registered that was not before.
    Registered = "registered";
    /// A registration was replaced by another one for the same device.
    RegistrationChanged = "registration-changed";
    /// A registration was ended by a command, or because another device took its place.
    Unregistered = "unregistered";
    /// A registration was suspended: the kernel holds its device back.
    Suspended = "suspended";
    /// A suspension was lifted.
    Resumed = "resumed";
    /// A registration will end by itself within `events.expiring-ahead`.
    Expiring = "expiring";
    /// A registration ended by itself.
    Expired = "expired";
    /// A registration was refused because a limit is reached.
    LimitReached = "limit-reached";
    /// A device got another address than the one that it had last.
    AddressChanged = "address-changed";
    /// A client found its address in use by something else and declined it.
    AddressDeclined = "address-declined";
    /// No more addresses of a network's pools are free than `events.pool-low` says.
    PoolLow = "pool-low";
    /// Enough addresses of a network's pools are free again.
    PoolRecovered = "pool-recovered";
    /// Vouchers were made.
    VouchersCreated = "vouchers-created";
    /// A device used a voucher that it had not used before.
    VoucherUsed = "voucher-used";
    /// A voucher was revoked, or its time to be used is over; `cause` says which.
    VoucherEnded = "voucher-ended";
    /// So many unknown voucher codes came that no more are looked at for now.
    VoucherGuessing = "voucher-guessing";
    /// Events are missing here; `cause` says why.
    Gap = "gap";
    /// Somebody tried whether a webhook works.
    Test = "test";
}

impl EventKind {
    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a registration ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// Somebody ended it.
    Command,
    /// This device took its place.
    ReplacedBy(HardwareAddress),
    /// Its owner had one device too many: each half of a failover pair had let them have their last one while
    /// it could not hear the other. The oldest go.
    DeviceLimit,
}

/// Why a voucher is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherEnd {
    /// Somebody took it back.
    Revoked,
    /// Its time to be used is over.
    Expired,
}

/// A limit that a registration was refused for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// [`limits::REGISTRATIONS_MAX`].
    Registrations,
    /// The devices that one owner may have.
    Devices(u32),
}

impl LimitReached {
    /// How many there may be.
    #[must_use]
    pub const fn limit(&self) -> usize {
        match self {
            Self::Registrations => limits::REGISTRATIONS_MAX,
            Self::Devices(limit) => *limit as usize,
        }
    }
}

/// How full the pools of a network are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Which network.
    pub network: Box<str>,
    /// Which of its pools: those for hosts of this class; `None`: those for anybody.
    pub class: Option<Class>,
    /// Addresses in its pools.
    pub pool_size: u64,
    /// Those that anybody can get.
    pub free: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was decided.
    pub time: Timestamp,
    /// What.
    pub what: Happening,
}

/// What happened, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// [`EventKind::UnregisteredSeen`]
    UnregisteredSeen {
        /// The new lease.
        lease: Lease,
        /// Its network.
        network: Box<str>,
    },
    /// [`EventKind::Registered`]
    Registered {
        /// The registration.
        registration: Registration,
        /// The addresses that the device holds in gated networks: the kernel lets them pass.
        addresses: Vec<Ipv4Addr>,
    },
    /// [`EventKind::RegistrationChanged`]
    RegistrationChanged {
        /// The registration as it is now.
        registration: Registration,
        /// The addresses that the device holds in gated networks.
        addresses: Vec<Ipv4Addr>,
    },
    /// [`EventKind::Suspended`]
    Suspended {
        /// The registration as it is now.
        registration: Registration,
        /// The addresses that the device holds in gated networks: the kernel holds them back.
        addresses: Vec<Ipv4Addr>,
    },
    /// [`EventKind::Resumed`]
    Resumed {
        /// The registration as it is now.
        registration: Registration,
        /// The addresses that the device holds in gated networks.
        addresses: Vec<Ipv4Addr>,
    },
    /// [`EventKind::Unregistered`]
    Unregistered {
        /// The registration as it was.
        registration: Registration,
        /// The addresses that the device holds in gated networks: the kernel holds them back.
        addresses: Vec<Ipv4Addr>,
        /// Why.
        cause: EndCause,
    },
    /// [`EventKind::Expiring`]
    Expiring {
        /// The registration.
        registration: Registration,
    },
    /// [`EventKind::Expired`]
    Expired {
        /// The registration as it was.
        registration: Registration,
        /// The addresses that the device holds in gated networks: the kernel holds them back.
        addresses: Vec<Ipv4Addr>,
    },
    /// [`EventKind::LimitReached`]
    LimitReached {
        /// Which limit.
        limit: LimitReached,
        /// The device that was refused.
        hardware: HardwareAddress,
        /// Who would have answered for it.
        owner: Option<Box<str>>,
    },
    /// [`EventKind::AddressChanged`]
    AddressChanged {
        /// The new lease.
        lease: Lease,
        /// Its network.
        network: Box<str>,
        /// The registration of the device.
        registration: Option<Registration>,
        /// The address that the device had last.
        previous: Ipv4Addr,
    },
    /// [`EventKind::AddressDeclined`]
    AddressDeclined {
        /// The address.
        address: Ipv4Addr,
        /// Who says so.
        hardware: HardwareAddress,
        /// The network of the address.
        network: Box<str>,
    },
    /// [`EventKind::VouchersCreated`]
    VouchersCreated {
        /// How many.
        count: usize,
        /// The first of them; the others differ in their code only.
        voucher: Voucher,
    },
    /// [`EventKind::VoucherUsed`]
    VoucherUsed {
        /// The voucher, with this use.
        voucher: Voucher,
        /// The device.
        hardware: HardwareAddress,
    },
    /// [`EventKind::VoucherEnded`]
    VoucherEnded {
        /// The voucher as it was.
        voucher: Voucher,
        /// Why.
        cause: VoucherEnd,
    },
    /// [`EventKind::VoucherGuessing`]
    VoucherGuessing {
        /// The device whose last try that was.
        hardware: HardwareAddress,
    },
    /// [`EventKind::PoolLow`]
    PoolLow(PoolUsage),
    /// [`EventKind::PoolRecovered`]
    PoolRecovered(PoolUsage),
}

impl Happening {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::UnregisteredSeen { .. } => EventKind::UnregisteredSeen,
            Self::Registered { .. } => EventKind::Registered,
            Self::RegistrationChanged { .. } => EventKind::RegistrationChanged,
            Self::Suspended { .. } => EventKind::Suspended,
            Self::Resumed { .. } => EventKind::Resumed,
            Self::Unregistered { .. } => EventKind::Unregistered,
            Self::Expiring { .. } => EventKind::Expiring,
            Self::Expired { .. } => EventKind::Expired,
            Self::LimitReached { .. } => EventKind::LimitReached,
            Self::AddressChanged { .. } => EventKind::AddressChanged,
            Self::AddressDeclined { .. } => EventKind::AddressDeclined,
            Self::VouchersCreated { .. } => EventKind::VouchersCreated,
            Self::VoucherUsed { .. } => EventKind::VoucherUsed,
            Self::VoucherEnded { .. } => EventKind::VoucherEnded,
            Self::VoucherGuessing { .. } => EventKind::VoucherGuessing,
            Self::PoolLow(_) => EventKind::PoolLow,
            Self::PoolRecovered(_) => EventKind::PoolRecovered,
        }
    }
}

/// When a server makes events that nobody caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// How many seconds before its end a registration is [`EventKind::Expiring`].
    pub expiring_ahead_seconds: u32,
    /// The percentage of free addresses at or below which a network's pools are
    /// [`EventKind::PoolLow`]; 0: only when none is free.
    pub pool_low_percent: u8,
}

/// Percentage points of free addresses that a pool has to have above
/// [`Announcements::pool_low_percent`] to have recovered: less would flap.
pub const POOL_RECOVERY_PERCENT: u8 = 5;
