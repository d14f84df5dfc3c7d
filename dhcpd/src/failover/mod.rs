//! The failover link: its bytes, and the connection that carries them.
//!
//! [`codec`] makes messages of bytes and bytes of messages; [`link`](LinkPlan) dials, listens and carries them
//! between the partner and the thread that decides. What a message means is decided in
//! [`vestibule_core::failover`].

pub mod codec;
mod link;

pub use codec::{
    Broken, EncodeError, FrameReader, MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN, Refused, Unusable,
    decode, encode,
};
pub use link::{
    ConnectionNumber, Errand, FromPartner, Link, LinkCounts, LinkEnd, LinkError, LinkPlan,
    Outbound, ToPartner, WAITING_FROM_PARTNER_MAX, WAITING_TO_PARTNER_MAX,
};
