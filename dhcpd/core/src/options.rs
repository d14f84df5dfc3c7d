//! DHCP options as the core knows them: codes, and ordered sets of code and contents.
//!
//! The core does not interpret most options: the configuration turned them into bytes, and the
//! packet's way only chooses which of them a client gets, and in which order.

use std::collections::BTreeMap;

/// Option codes that the core itself reads or writes (RFC 2132 where no other source is named).
pub mod code {
    /// Subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers.
    pub const ROUTERS: u8 = 3;
    /// Host name.
    pub const HOST_NAME: u8 = 12;
    /// Requested IP address.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// IP address lease time, in seconds.
    pub const LEASE_TIME: u8 = 51;
    /// Option overload.
    pub const OVERLOAD: u8 = 52;
    /// DHCP message type.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Server identifier.
    pub const SERVER_IDENTIFIER: u8 = 54;
    /// Parameter request list.
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    /// Message, shown to a person.
    pub const MESSAGE: u8 = 56;
    /// Maximum DHCP message size.
    pub const MAXIMUM_MESSAGE_SIZE: u8 = 57;
    /// Renewal time (T1), in seconds.
    pub const RENEWAL_TIME: u8 = 58;
    /// Rebinding time (T2), in seconds.
    pub const REBINDING_TIME: u8 = 59;
    /// The captive portal API's URL (RFC 8910).
    pub const CAPTIVE_PORTAL: u8 = 114;
    /// Client identifier; echoed in replies (RFC 6842).
    pub const CLIENT_IDENTIFIER: u8 = 61;
    /// Rapid commit (RFC 4039).
    pub const RAPID_COMMIT: u8 = 80;
    /// Relay agent information (RFC 3046).
    pub const RELAY_AGENT_INFORMATION: u8 = 82;
    /// Subnet selection (RFC 3011).
    pub const SUBNET_SELECTION: u8 = 118;
}

/// Options by code, each with its contents as they go on the wire. Contents over 255 bytes are
/// allowed: the encoder splits them (RFC 3396).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionSet {
    by_code: BTreeMap<u8, Box<[u8]>>,
}

impl OptionSet {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_code: BTreeMap::new() }
    }

    /// Puts an option in; returns the contents that it replaces.
    pub fn insert(&mut self, code: u8, contents: impl Into<Box<[u8]>>) -> Option<Box<[u8]>> {
        self.by_code.insert(code, contents.into())
    }

    /// The contents of an option.
    #[must_use]
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.by_code.get(&code).map(AsRef::as_ref)
    }

    /// All options in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.by_code.iter().map(|(code, contents)| (*code, contents.as_ref()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }
}
