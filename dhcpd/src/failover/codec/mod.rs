//! The failover link's bytes: frames off a TCP stream, and messages of them.
//!
//! As ISC dhcpd 4.4 speaks it: strict where a mistake makes the rest of the stream worthless,
//! tolerant where real peers leave things out or add some. What a message means is decided in
//! [`vestibule_core::failover`]; nothing here opens a socket or knows a state.

mod decode;
mod encode;
mod frame;
mod options;

pub use decode::{Broken, Refused, Unusable, decode};
pub use encode::{EncodeError, encode};
pub use frame::{FrameReader, MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN};
