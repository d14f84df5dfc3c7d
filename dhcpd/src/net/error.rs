//! Why the sockets could not be opened: each with what the operator does about it.

use super::port_holder::PortHolder;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;

/// Why the sockets could not be opened.
#[derive(Debug)]
pub enum NetError {
    /// The plan names neither an address nor an interface (operator).
    NothingToListenOn,
    /// The plan names more sockets than [`SOCKETS_MAX`](super::SOCKETS_MAX) (operator).
    TooManySockets {
        /// How many it names.
        count: usize,
    },
    /// An interface is named twice, or an address is (operator).
    NamedTwice {
        /// What is.
        what: Box<str>,
    },
    /// Another socket has the port (operator).
    PortTaken {
        /// The address that was asked for.
        address: Ipv4Addr,
        /// The port that was asked for.
        port: u16,
        /// Who has it, if `/proc` tells.
        holder: Option<PortHolder>,
    },
    /// The address is none of this host's (operator).
    NotOurAddress {
        /// Which.
        address: Ipv4Addr,
    },
    /// The process may not do it (operator).
    NotPermitted {
        /// What it tried.
        what: Box<str>,
        /// The capability that it lacks.
        capability: &'static str,
    },
    /// There is no interface of this name (operator).
    NoInterface {
        /// Which.
        name: Box<str>,
    },
    /// The interface is down (operator).
    InterfaceDown {
        /// Which.
        name: Box<str>,
    },
    /// The interface has no IPv4 address, so that its clients could not reach the server (operator).
    NoAddress {
        /// Which.
        name: Box<str>,
    },
    /// The kernel refused for another reason (kernel).
    Kernel {
        /// What was tried.
        what: Box<str>,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToListenOn => f.write_str(
                "nothing to listen on: name an address of this host in server.relay-listen, or an attached LAN in server.interfaces",
            ),
            Self::TooManySockets { count } => write!(
                f,
                "server.relay-listen and server.interfaces name {count} sockets together; {} are the most",
                super::SOCKETS_MAX
            ),
            Self::NamedTwice { what } => write!(f, "{what} is named twice; name it once"),
            Self::PortTaken { address, port, holder } => {
                write!(f, "UDP port {port} of {address} is taken")?;
                match holder {
                    Some(holder) => write!(f, " by {holder}; stop it or take the address out of its configuration"),
                    None => f.write_str("; `ss -lunp` as root tells by which process; stop it"),
                }
            }
            Self::NotOurAddress { address } => write!(
                f,
                "{address} is no address of this host; add it (`ip address add`), or correct server.relay-listen"
            ),
            Self::NotPermitted { what, capability } => write!(
                f,
                "no permission to {what}: start as root, or with the capability {capability}"
            ),
            Self::NoInterface { name } => write!(
                f,
                "there is no interface {name}; `ip link` lists those there are; correct server.interfaces"
            ),
            Self::InterfaceDown { name } => {
                write!(f, "interface {name} is down; bring it up (`ip link set {name} up`), or take it out of server.interfaces")
            }
            Self::NoAddress { name } => write!(
                f,
                "interface {name} has no IPv4 address, so its clients could not reach the server; give it one (`ip address add`), or take it out of server.interfaces"
            ),
            Self::Kernel { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Kernel { error, .. } => Some(error),
            _ => None,
        }
    }
}
