//! The relay agent information option, option 82 (RFC 3046).
//!
//! The contents are kept byte for byte, because the reply must return them so (RFC 3046 section
//! 2.2). What the server needs of them is read from the same bytes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::Octets;
use std::net::Ipv4Addr;

/// Sub-option codes of option 82.
pub mod sub_option {
    /// Agent circuit ID (RFC 3046).
    pub const CIRCUIT_ID: u8 = 1;
    /// Agent remote ID (RFC 3046).
    pub const REMOTE_ID: u8 = 2;
    /// Link selection (RFC 3527).
    pub const LINK_SELECTION: u8 = 5;
    /// Server identifier override (RFC 5107).
    pub const SERVER_IDENTIFIER_OVERRIDE: u8 = 11;
    /// Relay source port (RFC 8357).
    pub const RELAY_SOURCE_PORT: u8 = 19;
}

/// The contents of one option 82.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAgentInformation {
    raw: Octets,
}

impl RelayAgentInformation {
    /// Takes the contents of option 82 (pieces joined as RFC 3396 says). `None` if its sub-options
    /// do not fit exactly into it: such an option cannot be trusted to name a link.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let mut rest = raw;
        while let [_code, length, tail @ ..] = rest {
            rest = tail.get(usize::from(*length)..)?;
        }
        rest.is_empty().then(|| Self { raw: raw.into() })
    }

    /// The contents, byte for byte.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The contents of the first sub-option with this code.
    #[must_use]
    pub fn sub_option(&self, wanted: u8) -> Option<&[u8]> {
        find(&self.raw, wanted)
    }

    /// The subnet that the relay wants an address from (RFC 3527).
    #[must_use]
    pub fn link_selection(&self) -> Option<Ipv4Addr> {
        self.address(sub_option::LINK_SELECTION)
    }

    /// The address that the relay wants as server identifier (RFC 5107).
    #[must_use]
    pub fn server_identifier_override(&self) -> Option<Ipv4Addr> {
        self.address(sub_option::SERVER_IDENTIFIER_OVERRIDE)
    }

    /// Whether the reply goes to the port that the request came from (RFC 8357 section 5.1: the
    /// sub-option's length is zero).
    #[must_use]
    pub fn wants_source_port(&self) -> bool {
        self.sub_option(sub_option::RELAY_SOURCE_PORT).is_some()
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.sub_option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes)).filter(|address| !address.is_unspecified())
    }
}

/// The contents of the first sub-option with this code in the contents of an option 82.
#[must_use]
pub fn find(raw: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = raw;
    while let [code, length, tail @ ..] = rest {
        let (contents, tail) = tail.split_at_checked(usize::from(*length))?;
        if *code == wanted {
            return Some(contents);
        }
        rest = tail;
    }
    None
}
