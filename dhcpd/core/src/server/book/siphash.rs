//! SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): a hash whose
//! collisions nobody finds who does not know the key.
//!
//! Clients choose their identifiers. Without a key one of them could choose thousands that all come to
//! lie in one chain of the [finder](super::finder).

/// The key; drawn by the shell, so that the core stays a function of its inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey(pub u64, pub u64);

/// The hash of `bytes`.
pub(in crate::server) fn hash(key: HashKey, bytes: &[u8]) -> u64 {
    let mut state = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks();
    for word in words {
        absorb(&mut state, u64::from_le_bytes(*word));
    }
    let last = word_of(rest) | (bytes.len() as u64) << 56;
    absorb(&mut state, last);
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

/// Up to eight bytes as a number, little-endian.
fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

fn round(state: &mut [u64; 4]) {
    let [a, b, c, d] = state;
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher as _;

    #[test]
    fn it_is_the_hash_of_the_standard_library() {
        let bytes: Vec<u8> = (0..40_u8).map(|byte| byte.wrapping_mul(7)).collect();
        for length in 0..bytes.len() {
            // SipHash-1-3 with an all-zero key, as of Rust 1.36 and since.
            let mut standard = std::hash::DefaultHasher::new();
            standard.write(&bytes[..length]);
            assert_eq!(hash(HashKey(0, 0), &bytes[..length]), standard.finish(), "{length} bytes");
            assert_ne!(hash(HashKey(0, 1), &bytes[..length]), standard.finish());
        }
    }
}
