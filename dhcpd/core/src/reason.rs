//! Why a packet got no ACK: one vocabulary for counters, logs, tests and docs (P6).
//!
//! Every reason belongs to somebody ([`Fault`]), so that a counter tells where to look.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The client's, or whoever sends in its name.
    Client,
    /// A relay's.
    Relay,
    /// The operator's: configuration or capacity.
    Operator,
    /// The kernel's.
    Kernel,
    /// Ours, or our load's.
    Us,
    /// Nobody's: the protocol wants it so.
    Nobody,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $fault:ident;)+) => {
        /// Why a packet got no reply, or a NAK.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in counters, logs and docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    // The decoder's.
    /// The packet is shorter than a DHCP message's fixed part and cookie.
    Truncated = "truncated", Client;
    /// The packet is longer than any that a client may send.
    Oversized = "oversized", Client;
    /// The op field is not BOOTREQUEST.
    NotARequest = "not-a-request", Client;
    /// The magic cookie of RFC 2131 section 3 is missing or wrong.
    BadCookie = "bad-cookie", Client;
    /// The hardware address is longer than the field that holds it, or an Ethernet address of not 6 bytes.
    BadHardwareLength = "bad-hardware-length", Client;
    /// Neither a hardware address nor a client identifier says whose message it is.
    NoIdentity = "no-identity", Client;
    /// The options end in the middle of one.
    OptionsOverrun = "options-overrun", Client;
    /// There is no message type: a BOOTP request, which this server does not serve.
    Bootp = "bootp", Client;
    /// The message type is none that clients send, or has a wrong length.
    BadMessageType = "bad-message-type", Client;
    /// An option that the decision depends on has a wrong length.
    BadOptionLength = "bad-option-length", Client;
    /// The sub-options of option 82 do not fit into it.
    BadRelayAgentInformation = "bad-relay-agent-information", Relay;
    /// More relays than RFC 1542 section 4.1.1 allows have passed it on: a relay loop.
    TooManyHops = "too-many-hops", Relay;
    /// The frame of an attached LAN is not an intact IPv4 UDP packet.
    BadFrame = "bad-frame", Client;
    /// Option 82 came from a client on an attached LAN, without a relay (RFC 3046 section 2.1).
    RelayAgentInformationWithoutRelay = "relay-agent-information-without-relay", Client;

    // The core's.
    /// No configured subnet matches the relay, the link selection or the interface.
    UnknownNetwork = "unknown-network", Operator;
    /// The network has no free address for a new client.
    PoolExhausted = "pool-exhausted", Operator;
    /// Part of the journal was lost, and it is not known yet who has the address (P1); it will be when all lost leases have ended.
    HoldOff = "hold-off", Operator;
    /// The client chose another server's offer (RFC 2131 section 3.1 step 4).
    OtherServer = "other-server", Nobody;
    /// The client selected us but asks for no address, or fields contradict each other.
    MalformedRequest = "malformed-request", Client;
    /// The requested address is not of the network that the client is on.
    WrongNetwork = "wrong-network", Client;
    /// Another client holds the requested address, or it is reserved for another.
    AddressTaken = "address-taken", Client;
    /// The requested address is neither in a pool nor reserved for the client.
    AddressNotServed = "address-not-served", Client;
    /// The host was registered, or is so no more, and gets an address of a pool for its class instead of this one.
    WrongClass = "wrong-class", Nobody;
    /// The client asks for a lease that this server knows nothing of (RFC 2131 section 4.3.2: silence).
    UnknownLease = "unknown-lease", Client;
    /// The client remembers another address than the one that this server knows it by.
    AddressChanged = "address-changed", Client;
    /// The offer that the client selects has run out and its address is gone.
    OfferGone = "offer-gone", Client;
    /// The message speaks for an address that it was not sent from (RFC 2131 sections 4.3.2, 4.4.6).
    SourceMismatch = "source-mismatch", Client;
    /// The device holds as many leases as one device may.
    TooManyLeases = "too-many-leases", Client;
    /// As many leases are held behind its circuit, or by its owner's devices, as may be.
    LeaseLimit = "lease-limit", Client;
    /// RELEASE or DECLINE of an address that the client does not hold.
    NotTheHolder = "not-the-holder", Client;
    /// A RELEASE was carried out; it gets no reply.
    Released = "released", Nobody;
    /// A DECLINE was carried out; it gets no reply.
    Declined = "declined", Nobody;
    /// A retransmission of a request whose held reply answers it.
    DuplicateOfHeld = "duplicate-of-held", Nobody;
    /// An INFORM from a host without an address to answer to.
    InformWithoutAddress = "inform-without-address", Client;
    /// The failover partner serves this client, and has addresses for it.
    LoadBalanced = "load-balanced", Nobody;
    /// The address is the failover partner's to give, or it has not yet agreed that nobody holds it.
    PartnersAddress = "partners-address", Nobody;
    /// The state of the failover pair does not let this server serve its pools.
    PairNotServing = "pair-not-serving", Us;

    // The shell's.
    /// More packets came than can be served in time; the client will ask again.
    Overload = "overload", Us;
    /// Far more DISCOVERs came than can be served, and the kernel threw this one away unread, as it was told to.
    OverloadUnread = "overload-unread", Us;
    /// The same message of the same device waits to be decided already; that one is answered.
    DuplicateWaiting = "duplicate-waiting", Nobody;
    /// A DISCOVER waited so long to be decided that its client has given it up.
    DiscoverTooOld = "discover-too-old", Us;
    /// The kernel sets cannot be set right, so the ACK stays here (P3).
    GateUnavailable = "gate-unavailable", Kernel;
    /// The reply does not fit into the client's message size even with option overload.
    ReplyTooLarge = "reply-too-large", Operator;
    /// The kernel refused to send the reply; the error is counted by its number.
    SendFailed = "send-failed", Kernel;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
