//! Which of the two answers a client's DISCOVER: the hash of RFC 3074 and the bitmap over it.
//!
//! The bitmap has ISC dhcpd's polarity: a set bit means that the primary serves the bucket. The draft
//! says the opposite.

use super::state::Role;
use crate::{ClientIdentifier, HardwareAddress};

/// The permutation of RFC 3074 section 6.
#[rustfmt::skip]
const PERMUTATION: [u8; 256] = [
    251, 175, 119, 215,  81,  14,  79, 191, 103,  49, 181, 143, 186, 157,   0, 232,
     31,  32,  55,  60, 152,  58,  17, 237, 174,  70, 160, 144, 220,  90,  57, 223,
     59,   3,  18, 140, 111, 166, 203, 196, 134, 243, 124,  95, 222, 179, 197,  65,
    180,  48,  36,  15, 107,  46, 233, 130, 165,  30, 123, 161, 209,  23,  97,  16,
     40,  91, 219,  61, 100,  10, 210, 109, 250, 127,  22, 138,  29, 108, 244,  67,
    207,   9, 178, 204,  74,  98, 126, 249, 167, 116,  34,  77, 193, 200, 121,   5,
     20, 113,  71,  35, 128,  13, 182,  94,  25, 226, 227, 199,  75,  27,  41, 245,
    230, 224,  43, 225, 177,  26, 155, 150, 212, 142, 218, 115, 241,  73,  88, 105,
     39, 114,  62, 255, 192, 201, 145, 214, 168, 158, 221, 148, 154, 122,  12,  84,
     82, 163,  44, 139, 228, 236, 205, 242, 217,  11, 187, 146, 159,  64,  86, 239,
    195,  42, 106, 198, 118, 112, 184, 172,  87,   2, 173, 117, 176, 229, 247, 253,
    137, 185,  99, 164, 102, 147,  45,  66, 231,  52, 141, 211, 194, 206, 246, 238,
     56, 110,  78, 248,  63, 240, 189,  93,  92,  51,  53, 183,  19, 171,  72,  50,
     33, 104, 101,  69,   8, 252,  83, 120,  76, 135,  85,  54, 202, 125, 188, 213,
     96, 235, 136, 208, 162, 129, 190, 132, 156,  38,  47,   1,   7, 254,  24,   4,
    216, 131,  89,  21,  28, 133,  37, 153, 149,  80, 170,  68,   6, 169, 234, 151,
];

/// The bucket of a key (RFC 3074 section 6): the contents of option 61, or the hardware address
/// without its type.
#[must_use]
pub fn bucket(key: &[u8]) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "the length enters modulo 256")]
    let length = key.len() as u8;
    key.iter().rev().fold(length, |hash, byte| PERMUTATION[usize::from(hash ^ byte)])
}

/// The bucket of a client as it is known.
#[must_use]
pub fn bucket_of(client: &ClientIdentifier, hardware: &HardwareAddress) -> u8 {
    match client {
        ClientIdentifier::Option61(identifier) => bucket(identifier),
        ClientIdentifier::Hardware(_) => bucket(hardware.bytes()),
    }
}

/// Which of the 256 buckets the primary serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashBuckets([u8; 32]);

impl HashBuckets {
    /// The primary serves the first `count` buckets: 0, none of them, to 256, all.
    #[must_use]
    pub fn split(count: u16) -> Self {
        let mut bytes = [0; 32];
        for (index, byte) in (0_u16..).zip(&mut bytes) {
            // Of this byte's eight buckets, counted from the least significant bit.
            let served = count.saturating_sub(index * 8).min(8);
            *byte = ((1_u16 << served) - 1).to_le_bytes()[0];
        }
        Self(bytes)
    }

    /// As option 11 carries them: bucket n is bit n & 7 (from the least significant) of byte n >> 3.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What option 11 carries.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Who serves a bucket.
    #[must_use]
    pub fn server_of(&self, bucket: u8) -> Role {
        let byte = self.0.get(usize::from(bucket >> 3)).copied().unwrap_or(0);
        if byte >> (bucket & 7) & 1 == 1 { Role::Primary } else { Role::Secondary }
    }

    /// How many buckets the primary serves: 0 to 256.
    #[must_use]
    pub fn primary_count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permutation_is_one() {
        let mut seen = [false; 256];
        PERMUTATION.iter().for_each(|value| seen[usize::from(*value)] = true);
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn buckets_are_those_that_real_servers_compute() {
        for (key, hash, server) in [
            (&[2, 0, 0, 0, 0, 0x0c][..], 190, Role::Secondary),
            (&[2, 0, 0, 0, 1, 1], 141, Role::Secondary),
            (&[2, 0, 0, 0, 1, 2], 27, Role::Primary),
            (&[2, 0, 0, 0, 1, 0x21], 223, Role::Secondary),
            (&[2, 0, 0, 0, 1, 0x2c], 96, Role::Primary),
            (&[0, 0x11, 0x22, 0x33, 0x44, 0x55], 135, Role::Secondary),
            (&[0; 6], 254, Role::Secondary),
            (&[0xff; 6], 79, Role::Primary),
            (&[1, 2, 0, 0, 0, 1, 1], 200, Role::Secondary),
            (b"fo-client-1", 228, Role::Secondary),
            (&[0], 175, Role::Secondary),
            (&[0xff], 234, Role::Secondary),
            (&[], 0, Role::Primary),
        ] {
            assert_eq!(bucket(key), hash, "{key:02x?}");
            assert_eq!(HashBuckets::split(128).server_of(hash), server, "{key:02x?}");
        }
    }

    #[test]
    fn a_split_counts_from_the_first_bucket() {
        for count in 0..=256 {
            let buckets = HashBuckets::split(count);
            assert_eq!(buckets.primary_count(), u32::from(count));
            for bucket in 0..=u8::MAX {
                let expected =
                    if u16::from(bucket) < count { Role::Primary } else { Role::Secondary };
                assert_eq!(buckets.server_of(bucket), expected);
            }
            assert_eq!(HashBuckets::from_bytes(buckets.bytes()), buckets);
        }
        let mut half = [0; 32];
        half[..16].fill(0xff);
        assert_eq!(HashBuckets::split(128).bytes(), half);
    }

    #[test]
    fn the_identifier_goes_before_the_hardware_address() {
        let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 1, 1]);
        let identifier = ClientIdentifier::Option61(b"fo-client-1"[..].into());
        assert_eq!(bucket_of(&identifier, &hardware), 228);
        assert_eq!(bucket_of(&ClientIdentifier::Hardware(hardware), &hardware), 141);
    }
}
