//! What goes through the core's door, and what may be asked of it.

use crate::exchange::{ExchangeKey, ExchangeRecord, Exchanged};
use crate::failover::{FailoverRecord, FailoverStatus, PairBinding, PartnerInput};
use crate::{
    Class, EthernetAddress, GateBy, HardwareAddress, Lease, LeaseToken, LeaseTokenRefusal,
    RandomisedAddresses, Registration, RegistrationState, Request, Sequence, Side, Timestamp,
    Voucher, VoucherHash, VoucherId,
};
use std::net::Ipv4Addr;

/// One thing that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A decoded message of a client.
    Packet(&'a Request),
    /// Everything up to this sequence is durable and in the kernel; held replies have left.
    Committed(Sequence),
    /// The kernel sets may not be what they should be (a transaction failed, somebody flushed them):
    /// the core answers with the whole of what they should hold.
    GateLost,
    /// Somebody wants something changed; the [`Ticket`] comes back with the answer.
    Command(Ticket, Command),
    /// The connection to the failover partner brought this. Nothing comes of it without
    /// [`Configuration::failover`](crate::Configuration::failover).
    Partner(PartnerInput),
    /// Time has passed; sent at the latest when the last [`Wake`](crate::Effect::Wake) asked for it.
    Tick,
}

/// Names a command from outside until it is answered. Chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A change that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Register a device, or change its registration.
    Register(Register),
    /// End a device's registration, a suspended one too.
    Unregister(HardwareAddress),
    /// End a device's registration for its owner: not one that holds the device back.
    Leave(HardwareAddress),
    /// Hold a registered device back until it is resumed. Sent again with another reason, that counts;
    /// the time stays.
    Suspend {
        /// The device.
        hardware: HardwareAddress,
        /// Why, in words for its owner.
        reason: Option<Box<str>>,
    },
    /// Let a suspended device pass again.
    Resume(HardwareAddress),
    /// Put registrations in as they are, all or none: the operator's word, to which neither the device
    /// limit nor the networks' rules for randomised addresses apply. A suspension that an entry says
    /// nothing of stays. At most [`IMPORT_ENTRIES_MAX`](crate::limits::IMPORT_ENTRIES_MAX).
    Import {
        /// The registrations. One that has ended is left out. Nothing was registered or suspended in the
        /// future: such a time is taken for now, and [`Timestamp::FOREVER`] for the time at which the device
        /// was registered, if it is.
        entries: Vec<Registration>,
        /// Whether it shall be done; else it is only said what would come of it.
        apply: bool,
    },
    /// The failover partner is down and will not serve until it has heard of this server again: take its
    /// addresses over, once nobody can hold a promise of its.
    PartnerDown {
        /// The operator knows that this server has lost its leases, and that it may give addresses that are
        /// held to others. Without that, a server that has not yet got them back refuses.
        leases_lost: bool,
    },
    /// Take over what the failover partner says of registrations and vouchers; whoever sends this has checked
    /// that each is one that could be made here. At most
    /// [`EXCHANGE_RECORDS_MAX`](crate::limits::EXCHANGE_RECORDS_MAX).
    Merge {
        /// Its words.
        records: Vec<Exchanged>,
        /// Whether this server knows with them all that the partner knew at one moment: then owners are looked
        /// at who got their last device at both.
        is_whole: bool,
    },
    /// Work by another configuration from the next step on.
    Configure {
        /// The configuration.
        configuration: Box<crate::Configuration>,
        /// Whether it shall be done; else it is only said what would come of it.
        apply: bool,
    },
    /// Make vouchers, all or none. When they were made and who uses them is not taken from here. One whose
    /// hash is known stays as it is. [`Timestamp::FOREVER`] as its end stands for
    /// [`VOUCHER_USABLE_SECONDS_DEFAULT`](crate::limits::VOUCHER_USABLE_SECONDS_DEFAULT) from now. At most
    /// [`VOUCHERS_PER_COMMAND_MAX`](crate::limits::VOUCHERS_PER_COMMAND_MAX).
    CreateVouchers(Vec<Voucher>),
    /// Take a voucher back: nobody can use it any more.
    RevokeVoucher {
        /// Which.
        id: VoucherId,
        /// Whether the registrations that were made with it, and name no other owner, end too.
        end_registrations: bool,
    },
}

/// The whole of what is said of a device's registration: what it leaves out is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which device.
    pub target: RegistrationTarget,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Its role; one of the configured.
    pub role: Option<Box<str>>,
    /// Who vouches for it.
    pub sponsor: Option<Box<str>>,
    /// What somebody wants to remember of it.
    pub note: Option<Box<str>>,
    /// When the registration ends; `None`: as the role or the configuration says.
    pub expires: Option<Timestamp>,
    /// Whose place it takes, in the same commit.
    pub replaces: Option<Replaces>,
    /// The voucher that lets the device in, used in the same commit. Its role and its lifetime come before
    /// those named here. If no owner is named, it stands for one, and how many devices it may have is the
    /// voucher's own matter.
    pub voucher: Option<VoucherHash>,
    /// Whether naming another role takes the device out of a quarantine. For an operator, not for a page
    /// that its visitors fill in.
    pub may_lift_quarantine: bool,
}

/// Which registration ends with a new one's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// This device's, if it is registered.
    Device(HardwareAddress),
    /// That of the owner's randomised device that was seen least recently, of those that hold no lease,
    /// else of those that do. A suspended one is not taken. If the device that is registered is the owner's
    /// already, none ends: so the same command can be sent again.
    StalestRandomised,
}

impl Register {
    /// Registers a device with nothing else said.
    #[must_use]
    pub const fn of(target: RegistrationTarget) -> Self {
        Self {
            target,
            owner: None,
            role: None,
            sponsor: None,
            note: None,
            expires: None,
            replaces: None,
            voucher: None,
            may_lift_quarantine: false,
        }
    }
}

/// How a command names a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationTarget {
    /// By its hardware address; it need not have a lease.
    Hardware(HardwareAddress),
    /// By the address that it holds a lease for.
    Address(Ipv4Addr),
    /// By the token of its lease.
    Token(LeaseToken),
}

/// A question that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The lease of one address.
    Lease(Ipv4Addr),
    /// Leases in the order of their addresses, from above `after`, at most
    /// [`QUERY_LEASES_MAX`](crate::limits::QUERY_LEASES_MAX).
    Leases {
        /// The last address of the page before; `None` for the first page.
        after: Option<Ipv4Addr>,
        /// How many at most.
        limit: usize,
        /// Which.
        filter: LeaseFilter,
    },
    /// The lease that a token names.
    LeaseOfToken(LeaseToken),
    /// The token of the lease that somebody holds for an address.
    LeaseToken(Ipv4Addr),
    /// One registration.
    Registration(HardwareAddress),
    /// Registrations in the order of their hardware addresses, from above `after`.
    Registrations {
        /// The last one of the page before; `None` for the first page.
        after: Option<HardwareAddress>,
        /// How many at most.
        limit: usize,
        /// Only those of this owner.
        owner: Option<Box<str>>,
    },
    /// What the kernel sets should hold, in the order of the addresses, from above `after`.
    Gate {
        /// The last address of the page before; `None` for the first page.
        after: Option<Ipv4Addr>,
        /// How many at most.
        limit: usize,
    },
    /// Vouchers in the order of their hashes, from above `after`.
    Vouchers {
        /// The last one of the page before; `None` for the first page.
        after: Option<VoucherHash>,
        /// How many at most.
        limit: usize,
    },
    /// One voucher.
    Voucher(VoucherId),
    /// Numbers of everything.
    Status,
    /// The failover pair as an operator sees it.
    Failover,
    /// What the failover partner is told of registrations and vouchers after a number, in the order of the last
    /// changes. At most [`EXCHANGE_RECORDS_MAX`](crate::limits::EXCHANGE_RECORDS_MAX).
    Exchange {
        /// What is known already; 0: nothing.
        after: u64,
        /// How many at most.
        limit: usize,
    },
    /// What a snapshot takes of registrations in place of [`Query::Registrations`], if they are exchanged.
    ExchangeBook {
        /// Where the page before ended; `None` for the first page.
        after: Option<ExchangeKey>,
        /// How many at most.
        limit: usize,
    },
    /// What the failover pair has to keep, in the order of the addresses, from above `after`: what a
    /// snapshot takes besides leases and registrations.
    PairBindings {
        /// The last address of the page before; `None` for the first page.
        after: Option<Ipv4Addr>,
        /// How many at most.
        limit: usize,
    },
}

/// Which leases a query wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseFilter {
    /// Those that somebody holds now.
    #[default]
    Held,
    /// All, ended ones too.
    All,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// To [`Query::Lease`].
    Lease(Option<LeaseView>),
    /// To [`Query::Leases`].
    Leases {
        /// The page.
        leases: Vec<LeaseView>,
        /// What to ask for next: the last address that was looked at; `None` if that was all.
        next: Option<Ipv4Addr>,
    },
    /// To [`Query::LeaseOfToken`].
    LeaseOfToken(Result<LeaseView, LeaseTokenRefusal>),
    /// To [`Query::LeaseToken`]; `None` if nobody holds one, or there are no tokens.
    LeaseToken(Option<LeaseToken>),
    /// To [`Query::Registration`]: only if it is valid now; it may be suspended.
    Registration(Option<RegistrationView>),
    /// To [`Query::Registrations`].
    Registrations {
        /// The page.
        registrations: Vec<RegistrationView>,
        /// What to ask for next; `None` if that was all.
        next: Option<HardwareAddress>,
    },
    /// To [`Query::Gate`].
    Gate {
        /// The page.
        elements: Vec<GateElement>,
        /// What to ask for next: the last address that was looked at; `None` if that was all.
        next: Option<Ipv4Addr>,
    },
    /// To [`Query::Vouchers`].
    Vouchers {
        /// The page.
        vouchers: Vec<Voucher>,
        /// What to ask for next; `None` if that was all.
        next: Option<VoucherHash>,
    },
    /// To [`Query::Voucher`].
    Voucher(Option<Voucher>),
    /// To [`Query::Status`].
    Status(CoreStatus),
    /// To [`Query::Failover`]; `None`: this server is alone.
    Failover(Option<Box<FailoverStatus>>),
    /// To [`Query::Exchange`].
    Exchange {
        /// The page.
        records: Vec<Exchanged>,
        /// The number of the last of them.
        through: u64,
        /// The number of the last change.
        newest: u64,
    },
    /// To [`Query::ExchangeBook`].
    ExchangeBook {
        /// Whether registrations are exchanged. Else there is nothing.
        is_kept: bool,
        /// The page.
        records: Vec<ExchangeRecord>,
        /// What to ask for next; `None` if that was all.
        next: Option<ExchangeKey>,
    },
    /// To [`Query::PairBindings`].
    PairBindings {
        /// The states; `None`: this server is alone.
        failover: Option<FailoverRecord>,
        /// The page.
        bindings: Vec<PairBinding>,
        /// What to ask for next; `None` if that was all.
        next: Option<Ipv4Addr>,
    },
}

/// One address of the kernel sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateElement {
    /// The address.
    pub address: Ipv4Addr,
    /// The set.
    pub side: Side,
    /// For how many more milliseconds; at least 1.
    pub milliseconds: u64,
    /// For how many milliseconds its holder has been on this side: since it took the address, was
    /// registered or suspended, whichever came last. The end of a registration is not remembered.
    pub since_milliseconds: u64,
    /// As in [`GateChange::holder`](crate::GateChange::holder).
    pub holder: Option<EthernetAddress>,
}

/// A valid registration with what it does to its device now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationView {
    /// The registration.
    pub registration: Registration,
    /// What it does.
    pub state: RegistrationState,
}

/// A lease with what the configuration and the registrations say about it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The lease.
    pub lease: Lease,
    /// Whether somebody holds it now.
    pub held: bool,
    /// The network of its address; `None` if the configuration does not have it any more.
    pub network: Option<Box<str>>,
    /// The valid registration of its hardware address, also one that holds it back.
    pub registration: Option<Registration>,
    /// What that registration does to the device; `None` if there is none. Only
    /// [`RegistrationState::Active`] lets it pass.
    pub registration_state: Option<RegistrationState>,
    /// The page for devices of that registration's role, if its role is a quarantine with its own.
    pub quarantine_url: Option<Box<str>>,
    /// What its network does with randomised hardware addresses.
    pub randomised_addresses: RandomisedAddresses,
    /// For how many more milliseconds that registration is valid; `None` if there is none, or no end.
    pub registration_milliseconds: Option<u64>,
    /// The kernel set that its address belongs into now; `None` if it is not gated or not held.
    pub side: Option<Side>,
    /// Whether the address is held and of a pool for the other class of hosts: the host gets another one
    /// at its next renewal.
    pub misplaced: bool,
}

/// Numbers of the core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreStatus {
    /// By network, in the order of the configuration.
    pub networks: Vec<NetworkStatus>,
    /// Leases that are known, ended ones too.
    pub leases_known: u64,
    /// Valid registrations.
    pub registrations: u64,
    /// Offers that wait for their REQUEST.
    pub offers: u64,
    /// Until when addresses whose fate is unknown are held off, because records were lost.
    pub hold_off_until: Option<Timestamp>,
    /// What is exchanged with a failover partner beside leases; `None`: nothing.
    pub exchange: Option<ExchangeStatus>,
}

/// Numbers of what is exchanged with a failover partner beside leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeStatus {
    /// The number of the last change; numbers begin anew with each start.
    pub sequence: u64,
    /// Ends of registrations and vouchers that are remembered.
    pub ends_remembered: u64,
    /// Registrations that were ended here because their owner had got a last device at both halves.
    pub conflicts_ended: u64,
}

/// Numbers of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatus {
    /// Its name.
    pub name: Box<str>,
    /// Whether it is gated.
    pub gated: bool,
    /// By what, if it is.
    pub gate_by: GateBy,
    /// Addresses in its pools.
    pub pool_size: u64,
    /// Addresses of its pools that can be given to anybody now.
    pub free: u64,
    /// Addresses that clients hold now, reserved ones too.
    pub held: u64,
    /// Addresses in quarantine after a DECLINE.
    pub declined: u64,
    /// Held leases whose host is registered; 0 in a network that is not gated.
    pub registered: u64,
    /// Held leases whose host is not registered; 0 in a network that is not gated.
    pub unregistered: u64,
    /// Its pools for one class of hosts, taken together by class; those for anybody are not among them.
    /// `pool_size` and `free` count all. Empty if it has none.
    pub class_pools: Vec<PoolStatus>,
}

/// Numbers of a network's pools for one class of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// The class.
    pub class: Class,
    /// Addresses in them.
    pub size: u64,
    /// Addresses of them that can be given to a host of the class now.
    pub free: u64,
    /// Addresses of them that hosts hold now, but for reserved ones.
    pub held: u64,
    /// Those of them whose host is of the other class, because it has not renewed since it changed or
    /// because there was no address for it.
    pub misplaced: u64,
}
