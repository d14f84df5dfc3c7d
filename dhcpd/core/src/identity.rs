//! Who a client is: its hardware address and its client identifier.
//!
//! A lease belongs to a client identifier (option 61 if the client sends one, else its hardware
//! address: RFC 2131 section 4.2). A registration belongs to a hardware address, because that is
//! what a person can read off a device and what stays when an operating system is reinstalled.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// A link-layer address with its type (`htype` and `chaddr` of RFC 2131). At most 16 bytes.
///
/// Prints as `02:00:5e:00:53:01`; an address whose type is not Ethernet (1) has the type before it,
/// as in `6/02:00:5e:00:53:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress {
    hardware_type: u8,
    length: u8,
    bytes: [u8; Self::LENGTH_MAX],
}

impl HardwareAddress {
    /// The first in order.
    pub const LOWEST: Self = Self { hardware_type: 0, length: 0, bytes: [0; Self::LENGTH_MAX] };
    /// The last in order; no device has it.
    pub const HIGHEST: Self =
        Self { hardware_type: u8::MAX, length: u8::MAX, bytes: [u8::MAX; Self::LENGTH_MAX] };
    /// The most bytes that `chaddr` can carry (RFC 2131 section 2).
    pub const LENGTH_MAX: usize = 16;
    /// The hardware type of Ethernet (RFC 1700).
    pub const ETHERNET: u8 = 1;

    /// The address `bytes` of type `hardware_type`; `None` if it is longer than 16 bytes.
    #[must_use]
    pub fn new(hardware_type: u8, bytes: &[u8]) -> Option<Self> {
        let length = u8::try_from(bytes.len()).ok()?;
        let mut padded = [0; Self::LENGTH_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { hardware_type, length, bytes: padded })
    }

    /// An Ethernet address.
    #[must_use]
    pub fn ethernet(bytes: [u8; 6]) -> Self {
        let mut padded = [0; Self::LENGTH_MAX];
        padded[..6].copy_from_slice(&bytes);
        Self { hardware_type: Self::ETHERNET, length: 6, bytes: padded }
    }

    /// Its six bytes, if it is an Ethernet address that a device can have.
    #[must_use]
    pub fn as_ethernet(&self) -> Option<EthernetAddress> {
        let bytes = <[u8; 6]>::try_from(self.bytes()).ok()?;
        let is_a_devices =
            self.hardware_type == Self::ETHERNET && !self.is_zero() && !self.is_group();
        is_a_devices.then_some(EthernetAddress(bytes))
    }

    /// The hardware type (`htype`).
    #[must_use]
    pub const fn hardware_type(&self) -> u8 {
        self.hardware_type
    }

    /// The bytes of the address, at most 16.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes)
    }

    /// Whether no byte of the address is set, as in a packet whose sender gave none.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.bytes().iter().all(|byte| *byte == 0)
    }

    /// Whether it is an address of a group of devices, which no device has (IEEE 802, the lowest bit of
    /// the first byte).
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.first_byte_of_ethernet().is_some_and(|byte| byte & 1 != 0)
    }

    /// Whether a device has given the address to itself: the locally administered bit is set (IEEE 802,
    /// the second lowest of the first byte). Telephones and laptops do that with random ones, which they
    /// change from time to time (RFC 9724); so do virtual machines.
    #[must_use]
    pub fn is_randomised(&self) -> bool {
        self.first_byte_of_ethernet().is_some_and(|byte| byte & 0b11 == 0b10)
    }

    fn first_byte_of_ethernet(&self) -> Option<u8> {
        self.bytes().first().copied().filter(|_| self.hardware_type == Self::ETHERNET)
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hardware_type != Self::ETHERNET {
            write!(f, "{}/", self.hardware_type)?;
        }
        for (index, byte) in self.bytes().iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HardwareAddress({self})")
    }
}

/// The Ethernet address of one device, as frames carry it. Prints as `02:00:5e:00:53:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EthernetAddress(pub [u8; 6]);

impl fmt::Display for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HardwareAddress::ethernet(self.0).fmt(f)
    }
}

impl fmt::Debug for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EthernetAddress({self})")
    }
}

impl FromStr for EthernetAddress {
    type Err = ParseHardwareAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hardware: HardwareAddress = text.parse()?;
        hardware.as_ethernet().ok_or(ParseHardwareAddressError)
    }
}

/// Why a text is not a hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseHardwareAddressError;

impl fmt::Display for ParseHardwareAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hardware address; write it as 02:00:5e:00:53:01")
    }
}

impl std::error::Error for ParseHardwareAddressError {}

/// Reads an Ethernet address in the spellings of common vendors: `02:00:5e:00:53:01`,
/// `02-00-5E-00-53-01`, `0200.5e00.5301`, `02005e005301`, and `2:0:5e:0:53:1`, which leaves out leading
/// zeros as Solaris does; also the `type/` form that [`Display`](fmt::Display) writes.
impl FromStr for HardwareAddress {
    type Err = ParseHardwareAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hardware_type, digits) = match text.split_once('/') {
            Some((hardware_type, rest)) => {
                (hardware_type.parse().map_err(|_| ParseHardwareAddressError)?, rest)
            }
            None => (Self::ETHERNET, text),
        };
        if hardware_type == Self::ETHERNET
            && let Some(bytes) = without_leading_zeros(digits)
        {
            return Ok(Self::ethernet(bytes));
        }
        // One separator throughout, and groups of equal size: anything else is a typing mistake.
        let separator = digits.chars().find(|c| !c.is_ascii_hexdigit());
        let groups: Vec<&str> = match separator {
            Some(separator @ (':' | '-' | '.')) => digits.split(separator).collect(),
            None => vec![digits],
            Some(_) => return Err(ParseHardwareAddressError),
        };
        let group_length = groups.first().map_or(0, |group| group.len());
        if group_length == 0
            || !group_length.is_multiple_of(2)
            || groups.iter().any(|group| group.len() != group_length)
            || digits.chars().any(|c| !c.is_ascii_hexdigit() && Some(c) != separator)
        {
            return Err(ParseHardwareAddressError);
        }
        let hexadecimal: String = groups.concat();
        let bytes: Vec<u8> = hexadecimal
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        if hardware_type == Self::ETHERNET && bytes.len() != 6 {
            return Err(ParseHardwareAddressError);
        }
        Self::new(hardware_type, &bytes).ok_or(ParseHardwareAddressError)
    }
}

/// Reads an address of six bytes between colons, none of which has a leading zero; at least one would
/// have had. In any other, a group of one digit is a typing mistake.
fn without_leading_zeros(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut groups = text.split(':');
    let mut left_out = false;
    for byte in &mut bytes {
        let group = groups.next()?;
        let is_plain = group.bytes().all(|digit| digit.is_ascii_hexdigit());
        let has_leading_zero = group.len() > 1 && group.starts_with('0');
        if !is_plain || has_leading_zero || !(1..=2).contains(&group.len()) {
            return None;
        }
        left_out |= group.len() == 1;
        *byte = u8::from_str_radix(group, 16).ok()?;
    }
    (groups.next().is_none() && left_out).then_some(bytes)
}

impl Serialize for HardwareAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HardwareAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What a lease belongs to: option 61 as the client sent it, or its hardware address (RFC 2131
/// section 4.2; the two kinds never compare equal).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIdentifier {
    /// The bytes of option 61, type byte included. 1 to 255 bytes.
    Option61(Box<[u8]>),
    /// No option 61: the hardware address stands in for it.
    Hardware(HardwareAddress),
}

impl fmt::Display for ClientIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option61(bytes) => {
                f.write_str("id:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Hardware(hardware) => write!(f, "hw:{hardware}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendors_spelling_is_read_and_one_is_printed() {
        for text in [
            "02:00:5e:00:53:01",
            "02-00-5E-00-53-01",
            "0200.5e00.5301",
            "02005E005301",
            "02005e-005301",
            "0200-5E00-5301",
            "0200:5e00:5301",
            "2:0:5e:0:53:1",
            "2:0:5E:0:53:1",
        ] {
            let address: HardwareAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), "02:00:5e:00:53:01");
        }
    }

    #[test]
    fn typing_mistakes_are_refused() {
        for text in [
            "",
            "02:00:5e:00:53",
            "02:00:5e:00:53:1",
            "2:0:5e:0:53",
            "2:0:5e:0:53:1:1",
            "2-0-5e-0-53-1",
            "2:0:+5:0:53:1",
            "2:0:5e:0:53:",
            "200:5e0:053:010",
            "02:00-5e:00:53:01",
            "0g:00:5e:00:53:01",
            "::::::",
            "02:00:5e:00:53:01:02",
        ] {
            assert_eq!(text.parse::<HardwareAddress>(), Err(ParseHardwareAddressError), "{text}");
        }
    }

    #[test]
    fn randomised_addresses_are_known_by_their_bit() {
        for (text, is_randomised, is_group) in [
            ("00:00:5e:00:53:01", false, false),
            ("02:00:5e:00:53:01", true, false),
            ("da:a1:19:00:00:01", true, false),
            ("f0:de:f1:00:00:01", false, false),
            ("01:00:5e:00:00:01", false, true),
            ("ff:ff:ff:ff:ff:ff", false, true),
            ("6/02:00:5e:00:53:01", false, false),
        ] {
            let address: HardwareAddress = text.parse().expect(text);
            assert_eq!(address.is_randomised(), is_randomised, "{text}");
            assert_eq!(address.is_group(), is_group, "{text}");
        }
    }

    #[test]
    fn other_hardware_types_round_trip() {
        let address = HardwareAddress::new(32, &[1; 16]).unwrap();
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(HardwareAddress::new(1, &[0; 17]), None);
    }
}
