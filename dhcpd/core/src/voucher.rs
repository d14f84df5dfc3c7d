//! A voucher: a code that lets in a number of devices, each for a time.
//!
//! The code itself is nowhere in here: a voucher is known by the SHA-256 of its code, so that who reads a
//! journal, a snapshot or a list cannot use it. It promises that one device counts once, however often it
//! sends the code, and that a device that comes again gets the end that it got the first time.

use crate::{HardwareAddress, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a voucher's code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoucherHash([u8; 32]);

impl VoucherHash {
    /// A hash.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What people name the voucher by.
    #[must_use]
    pub const fn id(&self) -> VoucherId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        VoucherId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Debug for VoucherHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VoucherHash({}…)", self.id())
    }
}

/// The first eight bytes of a voucher's hash: names it, and lets nobody in. Sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoucherId(u64);

impl VoucherId {
    /// The lowest and the highest hash that has this id.
    #[must_use]
    pub fn hashes(self) -> (VoucherHash, VoucherHash) {
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        for (place, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if let (Some(low), Some(high)) = (low.get_mut(place), high.get_mut(place)) {
                (*low, *high) = (byte, byte);
            }
        }
        (VoucherHash(low), VoucherHash(high))
    }
}

impl fmt::Display for VoucherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is not a voucher's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVoucherIdError;

impl fmt::Display for ParseVoucherIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a voucher's id, which is sixteen hexadecimal digits")
    }
}

impl std::error::Error for ParseVoucherIdError {}

impl FromStr for VoucherId {
    type Err = ParseVoucherIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hexadecimal);
        number.map(Self).ok_or(ParseVoucherIdError)
    }
}

impl Serialize for VoucherId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VoucherId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A voucher, with every device that used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The hash of its code.
    pub hash: VoucherHash,
    /// The role of the devices that it lets in; `None`: as whoever registers them says.
    pub role: Option<Box<str>>,
    /// What somebody wants to remember of it. At most
    /// [`NOTE_LENGTH_MAX`](crate::limits::NOTE_LENGTH_MAX) bytes.
    pub note: Option<Box<str>>,
    /// How long it lets a device in, from its first use by that device on; `None`: as whoever registers
    /// the device, the role or the configuration says, in this order.
    pub lifetime_seconds: Option<u32>,
    /// How many devices may use it, 1 to [`VOUCHER_USES_MAX`](crate::limits::VOUCHER_USES_MAX).
    pub uses_max: u16,
    /// When it was made.
    pub created: Timestamp,
    /// When it is forgotten: nobody can use it from then on. Registrations made with it go on as they are.
    pub expires: Timestamp,
    /// Who used it, in the order of the first use; no device twice.
    pub uses: Vec<VoucherUse>,
}

/// That a device used a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoucherUse {
    /// The device.
    pub hardware: HardwareAddress,
    /// When it did so first.
    pub since: Timestamp,
    /// Until when the voucher lets it in; `None`: without an end.
    pub ends: Option<Timestamp>,
}

impl Voucher {
    /// How many more devices may use it.
    #[must_use]
    pub fn uses_left(&self) -> usize {
        usize::from(self.uses_max).saturating_sub(self.uses.len())
    }

    /// What a device did with it.
    #[must_use]
    pub fn use_of(&self, hardware: HardwareAddress) -> Option<&VoucherUse> {
        self.uses.iter().find(|one| one.hardware == hardware)
    }

    /// What two halves of a pair know of one voucher, taken together: every device that used it at either,
    /// once, as it did first; of more than [`VOUCHER_USES_MAX`](limits::VOUCHER_USES_MAX) those that came first.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let mut first: BTreeMap<HardwareAddress, VoucherUse> = BTreeMap::new();
        for one in self.uses.iter().chain(&other.uses) {
            let kept = first.entry(one.hardware).or_insert(*one);
            *kept = (*kept).min(*one);
        }
        let mut uses: Vec<VoucherUse> = first.into_values().collect();
        uses.sort_unstable_by_key(|one| (one.since, one.hardware));
        uses.truncate(limits::VOUCHER_USES_MAX.into());
        // The rest is the same at both, unless one of them is wrong.
        let fixed = if other.fixed() > self.fixed() { other } else { self };
        Self { uses, ..fixed.clone() }
    }

    /// What does not change while it is used.
    #[allow(clippy::type_complexity, reason = "compared, and nothing else")]
    fn fixed(&self) -> (Timestamp, Timestamp, u16, Option<u32>, Option<&str>, Option<&str>) {
        let Self { role, note, lifetime_seconds, uses_max, created, expires, .. } = self;
        (*expires, *created, *uses_max, *lifetime_seconds, role.as_deref(), note.as_deref())
    }

    /// The owner of registrations that are made with it and name none.
    #[must_use]
    pub fn owner(&self) -> Box<str> {
        format!("voucher {}", self.hash.id()).into()
    }
}

/// Why a voucher does not let a device in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherRefusal {
    /// There is no such voucher, or it was revoked, or its time to be used is over.
    Unknown,
    /// As many devices use it as may.
    UsedUp,
    /// It has let this device in for as long as it does.
    TimeOver,
    /// So many unknown codes came, from this device or in all, that no code of this device is looked at now.
    TooManyGuesses {
        /// For how many milliseconds.
        wait_milliseconds: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_the_hashes_that_begin_with_it() {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&[0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        let hash = VoucherHash::new(bytes);
        assert_eq!(hash.id().to_string(), "00010203fcfdfeff");
        assert_eq!("00010203FCFDFEFF".parse(), Ok(hash.id()));
        let (low, high) = hash.id().hashes();
        assert!(low < hash && hash < high);
        assert_eq!((low.id(), high.id()), (hash.id(), hash.id()));
        for text in
            ["", "00010203fcfdfef", "00010203fcfdfeff0", "+0010203fcfdfeff", "g0010203fcfdfeff"]
        {
            assert_eq!(text.parse::<VoucherId>(), Err(ParseVoucherIdError), "{text}");
        }
        assert_eq!(format!("{hash:?}"), "VoucherHash(00010203fcfdfeff…)");
    }
}
