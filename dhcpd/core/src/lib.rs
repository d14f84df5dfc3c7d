//! The pure core of Vestibule: who holds which address, who is registered, what each packet gets.
//!
//! It has one door, [`Server::step`]: an input and a time go in, effects come out. It promises
//! P1 (no address is held by two clients at once), the order that P2 and P3 need (an ACK is always
//! marked as held until its lease and its gate change are in), P4 (the gate is a function of leases,
//! registrations and the time) and P6 (every packet that is not answered has a [`Reason`]).
//!
//! It never reads a clock, draws randomness, does IO, starts a thread or iterates over anything
//! unordered; `clippy.toml` beside this crate forbids it. So a simulator can run it from a seed,
//! and a recorded incident can be replayed.
//!
//! The way of a packet through this crate: [`Request`] → ([`Admission`], while more comes in than can be
//! served) → [`Server::step`] → [`Effect`]s, among
//! them the [`Reply`].

#![forbid(unsafe_code)]

pub mod admission;
pub mod client_class;
pub mod configuration;
pub mod effect;
pub mod event;
pub mod exchange;
pub mod failover;
pub mod hold_off;
pub mod identity;
pub mod input;
pub mod lease;
pub mod lease_token;
pub mod limits;
pub mod octets;
pub mod options;
pub mod policy;
pub mod reason;
pub mod record;
pub mod registration;
pub mod relay_agent;
pub mod reply;
pub mod request;
pub mod server;
pub mod sieve;
pub mod time;
pub mod voucher;

pub use admission::Admission;
pub use client_class::{ClassSet, ClientClass};
pub use configuration::{
    AddressRange, Class, Configuration, GateBy, Holder, Network, PerClass, RandomisedAddresses,
    RegistrationRules, Reservation, Role, SpecialPool, Subnet,
};
pub use effect::{
    Answer, Device, Effect, Effects, GateChange, GateContents, Imported, Notice, Release, Sequence,
    Side, Unanswered,
};
pub use event::{Announcements, Event, EventKind, Happening};
pub use hold_off::HoldOff;
pub use identity::{ClientIdentifier, EthernetAddress, HardwareAddress, ParseHardwareAddressError};
pub use input::{
    Command, CoreStatus, ExchangeStatus, GateElement, Input, LeaseFilter, LeaseView, NetworkStatus,
    PoolStatus, Query, QueryAnswer, Register, RegistrationTarget, RegistrationView, Replaces,
    Ticket,
};
pub use lease::{BindingState, Lease};
pub use lease_token::{LeaseToken, LeaseTokenRefusal, LeaseTokens};
pub use octets::Octets;
pub use options::{Codes, KeptOptions, OptionSet};
pub use policy::{LeaseLimits, Policy, Pressure, Profile, ProfileIndex};
pub use reason::{Fault, Reason};
pub use record::Record;
pub use registration::{Registration, RegistrationState, Suspension};
pub use relay_agent::RelayAgentInformation;
pub use reply::{Destination, Reply};
pub use request::{Arrival, MessageType, Request, SocketIndex};
pub use server::{Explanation, HashKey, LifetimeSource, OptionLevel, Server};
pub use sieve::Sieve;
pub use time::Timestamp;
pub use voucher::{
    ParseVoucherIdError, Voucher, VoucherHash, VoucherId, VoucherRefusal, VoucherUse,
};
