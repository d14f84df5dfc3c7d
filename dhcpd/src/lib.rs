//! The parts of `vestibule-dhcpd`, in the order in which a packet meets them.
//!
//! 1. [`net`] receives it,
//! 2. [`wire`] decodes it, or names the reason why not,
//! 3. `vestibule_core` decides,
//! 4. [`commit`] brings gate and journal ([`store`]) in,
//! 5. and releases what was held for them,
//! 6. [`wire`] encodes and [`net`] sends.
//!
//! Beside that way, and never in it: [`api`], which asks the core through the [`door`]; [`events`], which
//! tells what happened, and [`webhook`], which brings it to others; the messages of the [`failover`]
//! link, and the [`exchange`] beside it; and the codes of vouchers ([`voucher_code`]). Before the first packet: [`isc`], which takes over what
//! an ISC dhcpd has written.

pub mod api;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod daemon;
pub mod decide;
pub mod door;
pub mod events;
pub mod exchange;
pub mod failover;
pub mod feed;
pub mod history;
pub mod isc;
pub mod metrics;
pub mod net;
pub mod portal;
pub mod reload;
pub mod store;
pub mod trace;
pub mod voucher_code;
pub mod webhook;
pub mod wire;
