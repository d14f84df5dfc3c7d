//! The failover protocol's decisions, as ISC dhcpd 4.4 makes them.
//!
//! A pair of servers shares its addresses, tells each other of each binding after the client was
//! answered (lazy update), and never promises a client more than the maximum client lead time beyond
//! what the partner knows. This room promises P1 across the pair and P7: no message and no loss of
//! contact leads to a state that only an operator ends.
//!
//! - [`state`]: the states and what they mean for clients; [`transition`]: what leads from one to another,
//! - [`message`]: what is said; [`binding`]: what is said of one address, and which of it is believed,
//! - [`session`]: one connection, its handshake, timers and window; [`close_reason`]: why it is closed,
//! - [`lease_time`]: how long a lease may be; [`load_balance`] and [`balance`]: who answers, and with whose addresses,
//! - [`configuration`], [`link`], [`record`], [`status`]: how a server of a pair is set up, spoken with, kept and seen.
//!
//! It never knows bytes, sockets or clocks; times come in with the calls.

pub mod balance;
pub mod binding;
pub mod close_reason;
pub mod configuration;
pub mod lease_time;
pub mod link;
pub mod load_balance;
pub mod message;
pub mod record;
pub mod session;
pub mod state;
pub mod status;
pub mod transition;

pub use balance::{Balance, BalanceSettings, PoolCount};
pub use binding::{BindingStatus, Known, Pending, Reject};
pub use close_reason::CloseReason;
pub use configuration::FailoverConfiguration;
pub use lease_time::{LeaseTime, lease_time};
pub use link::{FailoverNotice, PartnerEffect, PartnerInput};
pub use load_balance::HashBuckets;
pub use message::{
    BindingUpdate, Body, Connect, ConnectAcknowledgement, Message, Rejection, StateMessage,
};
pub use record::{FailoverRecord, PairBinding};
pub use session::{Said, Session, SessionEffect, Settings, Terms};
pub use state::{PartnerState, Role, Service, State};
pub use status::{FailoverStatus, PairNetworkStatus, PoolMismatch};
