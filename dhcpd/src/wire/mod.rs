//! Bytes to [`Request`](vestibule_core::Request), [`Reply`](vestibule_core::Reply) to bytes: the only
//! place that knows dhcproto, and where hostile input ends.
//!
//! It promises that no packet makes it panic, that every packet which it does not decode gets a
//! [`Reason`](vestibule_core::Reason), that one bad option costs only itself (unless the decision
//! depends on it), that option 82 is echoed byte for byte, and that a reply never exceeds what its
//! client takes. It never reads a clock, never touches a socket, and allocates nothing but the owned
//! fields of the request it returns.
//!
//! Why dhcproto alone is not enough, trap by trap: `docs/packets.md`.

mod decode;
mod encode;
mod options;

pub use decode::{HOPS_MAX, MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN, decode, decode_keeping};
pub use encode::{Fit, MANDATORY, MESSAGE_LENGTH_PADDED, append, encode, encode_reporting};
