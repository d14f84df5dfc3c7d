//! DHCP options as the core knows them: codes, and ordered sets of code and contents.
//!
//! The core does not interpret most options: the configuration turned them into bytes, and the
//! packet's way only chooses which of them a client gets, and in which order.

use crate::Octets;
use std::net::Ipv4Addr;
use std::sync::Arc;

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
    /// Vendor class identifier.
    pub const VENDOR_CLASS: u8 = 60;
    /// User class (RFC 3004).
    pub const USER_CLASS: u8 = 77;
    /// The client's system architecture (RFC 4578).
    pub const ARCHITECTURE: u8 = 93;
    /// Rapid commit (RFC 4039).
    pub const RAPID_COMMIT: u8 = 80;
    /// Relay agent information (RFC 3046).
    pub const RELAY_AGENT_INFORMATION: u8 = 82;
    /// Subnet selection (RFC 3011).
    pub const SUBNET_SELECTION: u8 = 118;
}

/// A set of option codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes([u128; 2]);

impl Codes {
    /// Puts a code in.
    pub const fn add(&mut self, code: u8) {
        self.0[(code >> 7) as usize] |= 1 << (code & 127);
    }

    /// Whether a code is in it.
    #[must_use]
    pub const fn has(&self, code: u8) -> bool {
        self.0[(code >> 7) as usize] >> (code & 127) & 1 != 0
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0
    }

    /// How many codes below this one are in it.
    const fn below(&self, code: u8) -> usize {
        let mask = (1_u128 << (code & 127)) - 1;
        let count = if code < 128 {
            (self.0[0] & mask).count_ones()
        } else {
            self.0[0].count_ones() + (self.0[1] & mask).count_ones()
        };
        count as usize
    }

    /// The codes that are in this set or in the other.
    #[must_use]
    pub const fn or(&self, other: &Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// Its codes, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |code| self.has(*code))
    }
}

/// Options by code, each with its contents as they go on the wire. Contents over 255 bytes are
/// allowed: the encoder splits them (RFC 3396). Copies share the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionSet {
    codes: Codes,
    /// In the order of their codes.
    contents: Vec<(u8, Arc<[u8]>)>,
    /// The next server in bootstrap: no option, but the field `siaddr`, which is chosen like one.
    next_server: Option<Ipv4Addr>,
}

impl OptionSet {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { codes: Codes([0; 2]), contents: Vec::new(), next_server: None }
    }

    /// Puts an option in; returns the contents that it replaces.
    pub fn insert(&mut self, code: u8, contents: impl Into<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        let place = self.codes.below(code);
        if self.codes.has(code) {
            let there = self.contents.get_mut(place)?;
            return Some(std::mem::replace(&mut there.1, contents.into()));
        }
        self.codes.add(code);
        self.contents.insert(place, (code, contents.into()));
        None
    }

    /// The contents of an option.
    #[must_use]
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        if !self.codes.has(code) {
            return None;
        }
        self.contents.get(self.codes.below(code)).map(|(_, contents)| &**contents)
    }

    /// All options in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.contents.iter().map(|(code, contents)| (*code, &**contents))
    }

    /// Which options there are.
    #[must_use]
    pub const fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The address for the field `siaddr`.
    #[must_use]
    pub const fn next_server(&self) -> Option<Ipv4Addr> {
        self.next_server
    }

    /// Sets the address for the field `siaddr`.
    pub const fn set_next_server(&mut self, address: Ipv4Addr) {
        self.next_server = Some(address);
    }

    /// Takes over what another set has and this one does not. Whether that was anything is for the
    /// caller to compare.
    pub fn fill_from(&mut self, other: &Self) {
        for (code, contents) in &other.contents {
            if !self.codes.has(*code) {
                self.insert(*code, Arc::clone(contents));
            }
        }
        self.next_server = self.next_server.or(other.next_server);
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.next_server.is_none()
    }
}

/// Options of a received packet that classes of clients look at, in few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptOptions {
    /// Each as its code, its length in two bytes, and its contents.
    raw: Octets,
}

impl KeptOptions {
    /// These options. Contents beyond 65535 bytes, which no packet can carry, are left out.
    #[must_use]
    pub fn of(options: &[(u8, &[u8])]) -> Self {
        let mut raw = Vec::new();
        for (code, contents) in options {
            if let Ok(length) = u16::try_from(contents.len()) {
                raw.push(*code);
                raw.extend(length.to_be_bytes());
                raw.extend(*contents);
            }
        }
        Self { raw: raw.into() }
    }

    /// The contents of an option.
    #[must_use]
    pub fn get(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest: &[u8] = &self.raw;
        while let [code, high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (contents, tail) = tail.split_at_checked(length)?;
            if *code == wanted {
                return Some(contents);
            }
            rest = tail;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_whatever_the_order_in_which_they_came() {
        let mut set = OptionSet::new();
        let codes = [3, 254, 1, 128, 127, 6, 129, 66];
        for code in codes {
            assert_eq!(set.insert(code, [code, code]), None);
        }
        assert_eq!(set.insert(127, [9]).as_deref(), Some(&[127, 127][..]));
        for code in 0..=u8::MAX {
            let expected = match code {
                127 => Some(vec![9]),
                _ => codes.contains(&code).then(|| vec![code, code]),
            };
            assert_eq!(set.get(code), expected.as_deref(), "{code}");
        }
        assert!(set.iter().map(|(code, _)| code).is_sorted());
        assert_eq!(set.codes().iter().count(), codes.len());
        let mut other = OptionSet::new();
        other.insert(3, [7]);
        other.fill_from(&set);
        assert_eq!((other.get(3), other.get(254)), (Some(&[7][..]), Some(&[254, 254][..])));
    }

    #[test]
    fn kept_options_come_back() {
        let long = [7; 300];
        let kept = KeptOptions::of(&[(60, b"a"), (77, b""), (93, &long)]);
        assert_eq!(kept.get(60), Some(&b"a"[..]));
        assert_eq!(kept.get(77), Some(&[][..]));
        assert_eq!(kept.get(93), Some(&long[..]));
        assert_eq!(kept.get(61), None);
    }
}
