//! The sockets: packets in with how they arrived, replies out by the way the request came.
//!
//! One UDP socket for each address that relays and renewing clients send to; for each attached LAN
//! one packet socket (it hears clients without an address, and answers them without ARP) and beside
//! it a UDP socket that keeps the kernel from refusing the port and sends to clients with an
//! address. `docs/packets.md` has the table of which socket gets what.
//!
//! It promises that every packet is handed on exactly once, that a reply leaves from the address
//! and port the request came to, that the kernel's drops and every send error are counted, and that
//! no call waits without a limit. It never looks into a message further than to `giaddr`, never
//! decides where a reply goes, never logs.

mod errno;
mod error;
mod filter;
pub mod frame;
mod open;
mod port_holder;
mod receive;
mod send;
mod system;

pub use errno::{ERRNO_MAX, ErrnoCounts, Explanation, explain};
pub use error::NetError;
pub use open::{Monitor, SOCKETS_MAX, SocketPlan, SocketStatus, Sockets};
pub use port_holder::{PortHolder, find as find_port_holder};
pub use receive::{Receiver, Waker};
pub use send::{Outgoing, SEND_WAIT, Sender};
pub use system::BATCH_PACKETS_MAX;
