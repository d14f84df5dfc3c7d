//! Stamps: what a form carries, so that only a page of ours, shown to this very device not long ago,
//! can have sent it. They stand for cookies, which pop-up browsers do not keep.
//!
//! A stamp is a keyed hash over the device's address, its hardware address and the time. It promises
//! that a page from elsewhere cannot make one, that one device's stamp is of no use to another, and that
//! it runs out. The key is made at every start and never leaves the process: a form from before a
//! restart has to be sent once more, nothing worse.

use ring::hmac;
use ring::rand::SystemRandom;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use vestibule_core::HardwareAddress;

/// How long a form may stay open.
const STAMP_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Bytes of the hash that are kept: 2^128 is more than anybody tries.
const HASH_BYTES: usize = 16;

/// Why the system gave no key. The kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

/// Makes and knows stamps.
pub(super) struct Stamps {
    key: hmac::Key,
    start: Instant,
}

impl Stamps {
    /// With a key that nobody knows.
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self { key: key.map_err(|_| NoRandomness)?, start: Instant::now() })
    }

    /// A stamp for a form that this device is shown now.
    pub(super) fn of(&self, address: Ipv4Addr, hardware: HardwareAddress) -> String {
        let seconds = self.start.elapsed().as_secs();
        format!("{seconds:x}-{}", self.hash(b'f', address, hardware, &seconds.to_be_bytes()))
    }

    /// Whether this is a stamp that this device was given not too long ago.
    pub(super) fn is_of(&self, stamp: &str, address: Ipv4Addr, hardware: HardwareAddress) -> bool {
        self.is_of_after(stamp, address, hardware, self.start.elapsed())
    }

    fn is_of_after(
        &self,
        stamp: &str,
        address: Ipv4Addr,
        hardware: HardwareAddress,
        now: Duration,
    ) -> bool {
        let Some((seconds, hash)) = stamp.split_once('-') else { return false };
        let Ok(seconds) = u64::from_str_radix(seconds, 16) else { return false };
        let age = now.as_secs().checked_sub(seconds);
        let expected = self.hash(b'f', address, hardware, &seconds.to_be_bytes());
        age.is_some_and(|age| age <= STAMP_TIME_MAX.as_secs()) && same(hash, &expected)
    }

    /// A name for one of somebody's other devices, in a form that is shown to this one: it says nothing
    /// to anybody else, and cannot be made up.
    pub(super) fn name_of(&self, other: HardwareAddress, hardware: HardwareAddress) -> String {
        self.hash(b'd', Ipv4Addr::UNSPECIFIED, hardware, other.to_string().as_bytes())
    }

    fn hash(
        &self,
        purpose: u8,
        address: Ipv4Addr,
        hardware: HardwareAddress,
        rest: &[u8],
    ) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        // Each part but the last has a length of its own, or says it.
        context.update(&[purpose]);
        context.update(&address.octets());
        let hardware = hardware.to_string();
        context.update(&(hardware.len() as u64).to_be_bytes());
        context.update(hardware.as_bytes());
        context.update(rest);
        let tag = context.sign();
        let bytes = tag.as_ref().iter().take(HASH_BYTES);
        bytes.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// Compares in a time that does not tell where they differ.
pub(super) fn same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 17);
    const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 18);

    fn hardware(last: u8) -> HardwareAddress {
        HardwareAddress::ethernet([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_stamp_is_good_for_the_device_that_got_it_and_for_an_hour() {
        let stamps = Stamps::new().unwrap();
        let stamp = stamps.of(ADDRESS, hardware(1));
        assert!(stamps.is_of(&stamp, ADDRESS, hardware(1)));
        assert!(!stamps.is_of(&stamp, OTHER_ADDRESS, hardware(1)));
        assert!(!stamps.is_of(&stamp, ADDRESS, hardware(2)));
        let later = STAMP_TIME_MAX + Duration::from_secs(2);
        assert!(!stamps.is_of_after(&stamp, ADDRESS, hardware(1), later));
        assert!(!Stamps::new().unwrap().is_of(&stamp, ADDRESS, hardware(1)), "another start");
    }

    #[test]
    fn a_stamp_that_was_changed_is_none() {
        let stamps = Stamps::new().unwrap();
        let stamp = stamps.of(ADDRESS, hardware(1));
        let (_, hash) = stamp.split_once('-').unwrap();
        let short = &hash[..HASH_BYTES];
        for bad in [
            "",
            "-",
            "0-",
            "zz-00",
            &format!("1-{hash}"),
            &format!("-{hash}"),
            &format!("0-{short}"),
        ] {
            assert!(!stamps.is_of(bad, ADDRESS, hardware(1)), "{bad}");
        }
        // One from a time that has not come.
        assert!(!stamps.is_of(&format!("ffffffffffffffff-{hash}"), ADDRESS, hardware(1)));
    }

    #[test]
    fn names_of_devices_differ_and_are_no_stamps() {
        let stamps = Stamps::new().unwrap();
        let names = [(1, 2), (2, 1), (1, 3), (3, 2)]
            .map(|(other, own)| stamps.name_of(hardware(other), hardware(own)));
        for (index, name) in names.iter().enumerate() {
            assert!(!names.iter().skip(index + 1).any(|other| other == name));
            assert!(!stamps.is_of(&format!("0-{name}"), ADDRESS, hardware(1)));
        }
    }
}
