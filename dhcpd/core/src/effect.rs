//! What comes out of the core's door, and in which order it has to happen.
//!
//! Effects of one step belong together. Those that must be durable or in the kernel before a reply
//! may leave are committed as one group: gate changes first, then records with one sync, then the
//! replies and answers that are held for it (DESIGN section 3).

use crate::exchange::Merged;
use crate::failover::{FailoverNotice, PartnerEffect};
use crate::{
    Class, EthernetAddress, Event, HardwareAddress, LeaseTokenRefusal, MessageType, Reason, Record,
    Registration, RegistrationState, RegistrationTarget, Reply, Ticket, Timestamp, Voucher,
    VoucherId, VoucherRefusal,
};
use std::net::Ipv4Addr;

/// Numbers steps that have something to commit, ascending. The shell gives the highest one of a
/// committed group back with [`Input::Committed`](crate::Input::Committed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// When a reply or an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// At once: it promises nothing durable.
    Immediately,
    /// When everything up to this sequence is durable and in the kernel (P2, P3).
    AfterCommit(Sequence),
}

/// Which kernel set an address belongs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The lying resolver's side.
    Unregistered,
    /// The open side.
    Registered,
}

impl Side {
    /// The class of the hosts in it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Unregistered => Class::Unregistered,
            Self::Registered => Class::Registered,
        }
    }
}

/// A change of one address in the kernel sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateChange {
    /// The address.
    pub address: Ipv4Addr,
    /// The set that it goes into, out of the other one, and for how many milliseconds (at least 1);
    /// `None`: out of both.
    pub side: Option<(Side, u64)>,
    /// Whether what is tracked of the address is nobody's from now on, because it goes out of the sets, or
    /// its holder may be another one than before. It is deleted at the latest before another holder's
    /// ACK leaves. A host that changes sides keeps what is its own.
    pub forget_flows: bool,
    /// The Ethernet address of the holder, if it is let through with IPv6 by it for as long as the address
    /// is in the set of the registered. Flows of IPv6 are deleted with the last address that one holds.
    pub holder: Option<EthernetAddress>,
}

/// The whole of what the kernel sets should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateContents {
    /// Address, set, milliseconds; in the order of the addresses.
    pub elements: Vec<(Ipv4Addr, Side, u64)>,
    /// The holders of those that [`GateChange::holder`] speaks of; in the order of the addresses.
    pub holders: Vec<(Ipv4Addr, EthernetAddress)>,
}

/// Why a packet got no reply, with what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Why.
    pub reason: Reason,
    /// What it was.
    pub message_type: MessageType,
    /// Whose it was.
    pub hardware: HardwareAddress,
    /// Its relay; 0.0.0.0 if none.
    pub giaddr: Ipv4Addr,
}

/// Something that an operator wants to know and that no packet's fate alone tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// No address was left for a client.
    PoolExhausted {
        /// Where.
        network: Box<str>,
    },
    /// An early renewal was answered from the lease as it is, without a write.
    LeaseReused,
    /// A client reported that something else uses its address.
    AddressDeclined {
        /// The address.
        address: Ipv4Addr,
        /// Who says so.
        hardware: HardwareAddress,
    },
    /// Of the failover pair.
    Failover(FailoverNotice),
}

/// A device of an owner, as a person tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its registration.
    pub registration: Registration,
    /// The addresses that it holds, in any network.
    pub addresses: Vec<Ipv4Addr>,
    /// When it last got, released or declined an address; when it was registered if that is not known.
    pub seen: Timestamp,
}

/// The answer to a [`Command`](crate::Command).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The device is registered, and the kernel treats its addresses so.
    Registered {
        /// Its registration.
        registration: Registration,
        /// What it does to the device.
        state: RegistrationState,
        /// The addresses that it holds in gated networks.
        addresses: Vec<Ipv4Addr>,
        /// Whether it was not registered before.
        created: bool,
        /// The device whose registration ended for it.
        replaced: Option<HardwareAddress>,
    },
    /// The device is not registered any more, and the kernel knows.
    Unregistered {
        /// The addresses that it holds in gated networks.
        addresses: Vec<Ipv4Addr>,
    },
    /// The registrations are in, or would be.
    Imported(Imported),
    /// The partner's words are taken over, and the kernel knows.
    Merged(Merged),
    /// The vouchers are made.
    VouchersCreated {
        /// As they are now, in the order of the command.
        vouchers: Vec<Voucher>,
        /// How many were not there before.
        count: usize,
    },
    /// The voucher is taken back.
    VoucherRevoked {
        /// As it was.
        voucher: Voucher,
        /// The devices whose registrations ended with it.
        ended: Vec<HardwareAddress>,
    },
    /// There is no voucher with this id (any more).
    NoSuchVoucher(VoucherId),
    /// There is no room for so many vouchers.
    VouchersFull,
    /// The voucher that the command named does not let the device in.
    VoucherRefused(VoucherRefusal),
    /// Nobody holds a lease for the address that the command named.
    NoLease(Ipv4Addr),
    /// The token that the command named a device by names no lease.
    LeaseTokenRefused(LeaseTokenRefusal),
    /// The device that the command named is not registered.
    NotRegistered(HardwareAddress),
    /// Whoever holds the address that the command named has no hardware address (`hlen` is 0, or all
    /// its bytes are): a registration could not tell it from others.
    NoHardwareAddress(RegistrationTarget),
    /// The registration would end before it begins.
    ExpiryInThePast(Timestamp),
    /// The limit of registrations is reached.
    RegistrationsFull,
    /// The configuration has no such role.
    UnknownRole {
        /// What was asked for.
        role: Box<str>,
        /// What there is.
        known: Vec<Box<str>>,
    },
    /// The owner has as many devices as they may have.
    DeviceLimitReached {
        /// How many that is.
        limit: u32,
        /// Which they are, in the order of their hardware addresses; at most
        /// [`DEVICES_NAMED_MAX`](crate::limits::DEVICES_NAMED_MAX).
        devices: Vec<Device>,
    },
    /// [`Replaces::StalestRandomised`](crate::Replaces::StalestRandomised), and no device of the owner's
    /// is one that can be taken.
    NothingToReplace {
        /// The devices that they have; at most
        /// [`DEVICES_NAMED_MAX`](crate::limits::DEVICES_NAMED_MAX).
        devices: Vec<Device>,
    },
    /// The device that should be replaced is registered for somebody else than the new one.
    ReplacesAnothers(HardwareAddress),
    /// The hardware address is randomised, and the device is in a network that does not register such.
    RandomisedAddressRefused {
        /// The device.
        hardware: HardwareAddress,
        /// The network.
        network: Box<str>,
    },
    /// The device, or the one that it should replace, is held back: its registration is suspended, or in a
    /// quarantine, and the command did not name another role. Registering again does not lift that.
    HeldBack {
        /// The registration that holds it back.
        registration: Registration,
        /// How.
        state: RegistrationState,
    },
    /// An entry of an import cannot be taken, so none was.
    ImportRefused {
        /// Its place among the entries, counted from 0.
        position: usize,
        /// What it would have been answered alone.
        because: Box<Self>,
    },
    /// The failover partner counts as down, and this server serves alone.
    PartnerIsDown,
    /// The failover partner is heard, so it is not down.
    PartnerIsConnected,
    /// This server has lost its leases, or never had any, and has not got its partner's: alone it could give
    /// held addresses to others.
    LeasesNotKnown,
    /// This server has no failover partner.
    NotPaired,
    /// The server works by the configuration, or would.
    Configured {
        /// Held leases whose address nobody may have any more.
        stranded: usize,
    },
    /// Half of a failover pair takes no other configuration.
    NotWithPartner,
}

/// What became of the entries of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Devices that were not registered before.
    pub created: usize,
    /// Devices whose registration was another one before.
    pub changed: usize,
    /// Devices whose registration was the same before.
    pub unchanged: usize,
    /// Entries that had ended already.
    pub ended: usize,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this to stable storage.
    Persist(Record),
    /// Change the kernel sets.
    Gate(GateChange),
    /// Replace the contents of both kernel sets, in one transaction: address, side, milliseconds.
    GateReplace(GateContents),
    /// Send a reply.
    Reply {
        /// What.
        reply: Box<Reply>,
        /// When.
        release: Release,
        /// Why it is what it is; [`None`] for an OFFER or ACK, the reason for a NAK.
        reason: Option<Reason>,
    },
    /// The packet gets no reply.
    Unanswered(Unanswered),
    /// Answer a command.
    Answer {
        /// Whose.
        ticket: Ticket,
        /// What.
        answer: Answer,
        /// When.
        release: Release,
    },
    /// Do this on the connection to the failover partner.
    Partner(PartnerEffect),
    /// Tell the operator.
    Notice(Notice),
    /// Tell whoever wants to know, once everything up to and with this step is durable and in the
    /// kernel.
    Event(Box<Event>),
    /// Send a [`Tick`](crate::Input::Tick) at this time, or earlier. A later `Wake` takes its place.
    Wake(Timestamp),
}

/// The effects of one or more steps, in order. Owned by the shell and reused.
#[derive(Debug, Default)]
pub struct Effects {
    effects: Vec<Effect>,
}

impl Effects {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { effects: Vec::new() }
    }

    /// Adds one at the end.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Takes all out, in order, and keeps the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}
