//! The lying resolver of Vestibule, and the port-80 redirect beside it.
//!
//! The gate sends every DNS question of an unregistered host here, whatever server it asked, and
//! every HTTP request. Any A question gets the portal's address, for a few seconds; other types get
//! an answer without records; the portal's own name and the walled garden are asked of the true
//! resolvers; HTTP gets 302 to the portal.
//!
//! The way of a question: [`bind`](Service::bind) opens the sockets, `dns_udp` (with `datagrams`) and
//! `dns_tcp` read,
//! `resolver` has `handler` decode, [`decision`] decides, `upstream` asks the true resolvers where
//! the decision is to forward and `cache` has nothing (`flights` has it ask the same question once), `garden`
//! has the gate opened for what the answer leads to, and `handler` encodes. Plain questions are read
//! and answered by hand in `plain`. The limits are all in [`limits`].
//!
//! It promises that lies never wait for anything, that nothing grows without a limit, that every
//! message ends in one of the [`Counters`], and that a name which is not in the garden never
//! reaches an upstream resolver. It knows nothing of leases and registrations: who is sent here is
//! the gate's business.

mod arguments;
mod bind;
mod cache;
mod connections;
mod counters;
mod datagrams;
pub mod decision;
mod dns_tcp;
mod dns_udp;
mod flights;
mod garden;
mod handler;
mod kernel_drops;
pub mod limits;
mod metrics;
mod plain;
pub mod port_holder;
mod redirect;
mod resolver;
mod service;
mod slots;
mod upstream;
mod wire_header;

pub use arguments::Arguments;
pub use bind::{BindError, Obstacle};
pub use counters::{Counter, Counters, Counts, LastError};
pub use service::{Addresses, Service, StartError, Stopped};
