//! What a DHCP server may never do, and the sentence that says what it did.
//!
//! It promises a fixed wording for each rule and times that a person reads (RFC 3339).

use crate::message::Hardware;
use crate::moment::Moment;
use std::fmt;
use std::net::Ipv4Addr;

/// Something that must not happen. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An address was acknowledged to a client while another one still had it.
    DuplicateAddress {
        /// The address.
        address: Ipv4Addr,
        /// Who had it.
        holder: Hardware,
        /// Until when.
        until: u64,
        /// Who got it, too.
        other: Hardware,
        /// When.
        at: u64,
    },
    /// A client was acknowledged another address than it had been offered.
    OtherTerms {
        /// The client.
        client: Hardware,
        /// What it was offered.
        offered: Ipv4Addr,
        /// What it was acknowledged.
        acknowledged: Ipv4Addr,
        /// When.
        at: u64,
    },
    /// A client was acknowledged a lease for less time than it had been offered.
    ShortenedLease {
        /// The client.
        client: Hardware,
        /// The address.
        address: Ipv4Addr,
        /// What it was offered, in seconds.
        offered_seconds: u32,
        /// What it was acknowledged, in seconds.
        acknowledged_seconds: u32,
        /// When.
        at: u64,
    },
    /// An ACK named another server than the one whose offer the client had taken.
    OtherServer {
        /// The client.
        client: Hardware,
        /// The server whose offer it took.
        offered: Ipv4Addr,
        /// The server identifier in the ACK.
        acknowledged: Ipv4Addr,
        /// When.
        at: u64,
    },
    /// A lease was lost before its end.
    LeaseLost {
        /// The client.
        client: Hardware,
        /// Its address.
        address: Ipv4Addr,
        /// When it should have ended.
        until: u64,
        /// When that was found.
        at: u64,
        /// By what.
        how: Lost,
    },
    /// A reply names another relay than the one that the request came through (RFC 2131 section 4.1).
    OtherRelay {
        /// The client.
        client: Hardware,
        /// Its relay.
        giaddr: Ipv4Addr,
        /// The relay that the reply names.
        named: Ipv4Addr,
        /// When.
        at: u64,
    },
}

/// How a lease was found to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A server refused it to its holder.
    Refused,
    /// The server that gave it offered its holder another address.
    OtherOffered(Ipv4Addr),
    /// Its holder asked for it again, as often as a client does, and nobody acknowledged it.
    Unconfirmed,
}

impl Violation {
    /// The rules, in a fixed wording.
    pub const RULES: [&'static str; 6] = [
        "duplicate-address",
        "other-terms",
        "shortened-lease",
        "other-server",
        "lease-lost",
        "other-relay",
    ];

    /// The rule that it breaks: one of [`Self::RULES`].
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        let [duplicate, terms, shortened, server, lost, relay] = Self::RULES;
        match self {
            Self::DuplicateAddress { .. } => duplicate,
            Self::OtherTerms { .. } => terms,
            Self::ShortenedLease { .. } => shortened,
            Self::OtherServer { .. } => server,
            Self::LeaseLost { .. } => lost,
            Self::OtherRelay { .. } => relay,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateAddress { address, holder, until, other, at } => {
                let (at, until) = (Moment(*at), Moment(*until));
                write!(
                    f,
                    "{address} was acknowledged to {other} at {at}, and {holder} has it until {until}"
                )
            }
            Self::OtherTerms { client, offered, acknowledged, at } => {
                let at = Moment(*at);
                write!(f, "{client} was offered {offered} and acknowledged {acknowledged} at {at}")
            }
            Self::ShortenedLease { client, address, offered_seconds, acknowledged_seconds, at } => {
                write!(
                    f,
                    "{client} was offered {address} for {offered_seconds} s and acknowledged it for \
                     {acknowledged_seconds} s at {}",
                    Moment(*at)
                )
            }
            Self::OtherServer { client, offered, acknowledged, at } => {
                let at = Moment(*at);
                write!(
                    f,
                    "{client} took an offer of {offered}, and the ACK at {at} names {acknowledged}"
                )
            }
            Self::LeaseLost { client, address, until, at, how } => {
                let (at, until) = (Moment(*at), Moment(*until));
                match how {
                    Lost::Refused => write!(
                        f,
                        "{client} was refused {address} at {at}, and has it until {until}"
                    ),
                    Lost::OtherOffered(offered) => write!(
                        f,
                        "{client} was offered {offered} at {at}, and has {address} of the same server \
                         until {until}"
                    ),
                    Lost::Unconfirmed => write!(
                        f,
                        "{client} has {address} until {until}, asked for it again, and nobody had \
                         acknowledged it at {at}"
                    ),
                }
            }
            Self::OtherRelay { client, giaddr, named, at } => {
                let at = Moment(*at);
                write!(f, "{client} asked through {giaddr}, and the reply at {at} names {named}")
            }
        }
    }
}
