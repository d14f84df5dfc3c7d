//! What the index keeps of a lease: the keys that find it.
//!
//! Under the address stands the list of its search keys; under each search key joined with the address
//! stands nothing: the key says it all. So all addresses of a key stand together, and an update knows
//! which old keys to take away. Times are not kept; a renewal changes nothing here.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::store::bytes::Reader;
use std::net::Ipv4Addr;
use vestibule_core::relay_agent::sub_option;
use vestibule_core::{ClientIdentifier, HardwareAddress, Lease, RelayAgentInformation};

/// Bytes of what is searched for that are kept; a longer one is found by its beginning.
const KEY_BYTES_MAX: usize = 255;

const TAG_POSITION: u8 = b'p';
const TAG_ADDRESS: u8 = b'a';
const TAG_HARDWARE: u8 = b'h';
const TAG_OPTION_61: u8 = b'i';
const TAG_CLIENT_HARDWARE: u8 = b'j';
const TAG_CIRCUIT: u8 = b'c';
const TAG_HOST_NAME: u8 = b'n';

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// A hardware address.
    Hardware(HardwareAddress),
    /// A client identifier.
    Client(ClientIdentifier),
    /// The agent circuit ID of option 82 (RFC 3046), byte for byte.
    Circuit(Box<[u8]>),
    /// A host name as the client sent it; ASCII letters match in either case.
    HostName(Box<[u8]>),
}

impl SearchKey {
    /// What every entry of this key begins with.
    pub(super) fn prefix(&self) -> Vec<u8> {
        match self {
            Self::Hardware(hardware) => prefix(TAG_HARDWARE, &hardware_bytes(hardware)),
            Self::Client(ClientIdentifier::Option61(bytes)) => prefix(TAG_OPTION_61, bytes),
            Self::Client(ClientIdentifier::Hardware(hardware)) => {
                prefix(TAG_CLIENT_HARDWARE, &hardware_bytes(hardware))
            }
            Self::Circuit(bytes) => prefix(TAG_CIRCUIT, bytes),
            Self::HostName(bytes) => prefix(TAG_HOST_NAME, &bytes.to_ascii_lowercase()),
        }
    }
}

/// The prefixes that a lease is found by, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefixes(pub(super) Vec<Vec<u8>>);

impl Prefixes {
    pub(super) fn of(lease: &Lease) -> Self {
        let circuit = lease
            .relay_agent
            .as_deref()
            .and_then(RelayAgentInformation::parse)
            .and_then(|option| option.sub_option(sub_option::CIRCUIT_ID).map(Box::from));
        let mut prefixes = vec![
            SearchKey::Hardware(lease.hardware).prefix(),
            SearchKey::Client(lease.client.clone()).prefix(),
        ];
        prefixes.extend(circuit.map(|circuit| SearchKey::Circuit(circuit).prefix()));
        prefixes.extend(lease.host_name.clone().map(|name| SearchKey::HostName(name).prefix()));
        prefixes.sort();
        Self(prefixes)
    }

    /// As the value that stands under the address.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::new();
        for prefix in &self.0 {
            let length = u16::try_from(prefix.len()).unwrap_or(0);
            value.extend_from_slice(&length.to_le_bytes());
            value.extend_from_slice(prefix);
        }
        value
    }

    /// Reads such a value; `None` if it is none.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(value);
        let mut prefixes = Vec::new();
        while !rest.is_empty() {
            prefixes.push(rest.counted()?.to_vec());
        }
        Some(Self(prefixes))
    }
}

/// What stands in the index, by its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// How far the index has come.
    Position,
    /// The search keys of an address.
    Address(Ipv4Addr),
    /// One search key of an address.
    Search,
}

impl Entry {
    /// What the key is; `None` if it is none of ours.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        match key {
            [TAG_POSITION] => Some(Self::Position),
            [TAG_ADDRESS, octets @ ..] => {
                <[u8; 4]>::try_from(octets).ok().map(|octets| Self::Address(octets.into()))
            }
            [
                TAG_HARDWARE | TAG_OPTION_61 | TAG_CLIENT_HARDWARE | TAG_CIRCUIT | TAG_HOST_NAME,
                ..,
            ] => Some(Self::Search),
            _ => None,
        }
    }
}

/// The key that the position stands under.
pub(super) const POSITION_KEY: [u8; 1] = [TAG_POSITION];

/// The key that the list of an address stands under.
pub(super) fn address_key(address: Ipv4Addr) -> [u8; 5] {
    let [a, b, c, d] = address.octets();
    [TAG_ADDRESS, a, b, c, d]
}

/// The key that says that `prefix` finds `address`.
pub(super) fn search_key(prefix: &[u8], address: Ipv4Addr) -> Vec<u8> {
    [prefix, &address.octets()].concat()
}

/// The address that a key of this prefix says is found by it.
pub(super) fn found_address(prefix: &[u8], key: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = key.strip_prefix(prefix)?.try_into().ok()?;
    Some(octets.into())
}

/// The length stands before the bytes, so that no key is the beginning of another.
fn prefix(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let kept = bytes.get(..KEY_BYTES_MAX).unwrap_or(bytes);
    let mut prefix = vec![tag, u8::try_from(kept.len()).unwrap_or(u8::MAX)];
    prefix.extend_from_slice(kept);
    prefix
}

fn hardware_bytes(hardware: &HardwareAddress) -> Vec<u8> {
    let mut bytes = vec![hardware.hardware_type()];
    bytes.extend_from_slice(hardware.bytes());
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_prefix_is_the_beginning_of_another() {
        let keys = [
            SearchKey::HostName((*b"a").into()),
            SearchKey::HostName((*b"ab").into()),
            SearchKey::Circuit((*b"a").into()),
            SearchKey::HostName((*b"").into()),
        ];
        for one in &keys {
            for other in &keys {
                assert_eq!(one.prefix().starts_with(&other.prefix()), one == other);
            }
        }
        let upper = SearchKey::HostName((*b"Laptop").into());
        assert_eq!(upper.prefix(), SearchKey::HostName((*b"laptop").into()).prefix());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(prefixes) = Prefixes::decode(&bytes) {
                prop_assert_eq!(prefixes.encode(), bytes.clone());
            }
            let _ = Entry::parse(&bytes);
            let _ = found_address(&[TAG_CIRCUIT], &bytes);
        }
    }
}
