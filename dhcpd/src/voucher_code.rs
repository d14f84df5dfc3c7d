//! Voucher codes: sixteen letters and digits that people can read to each other, as in `K7QM-2X9D-RT4B-8HWA`.
//!
//! Fifteen of them are random, five bits each: 75 bits, which nobody guesses and nobody finds from a hash.
//! The last one checks the others. The alphabet is that of Crockford's base 32, which has no `I`, `L`, `O`
//! and `U`; who types one of the first three is understood. It promises that one wrong character, and two
//! that changed places, are noticed before anybody looks for the voucher. A code is never logged.

use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use vestibule_core::VoucherHash;

/// The digits, by their value.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Digits of a code, the last one for checking.
const DIGITS: usize = 16;

/// Digits between two hyphens.
const GROUP: usize = 4;

/// Characters that are looked at in what somebody typed: more than a code with a hyphen or a space
/// everywhere.
const TYPED_CHARACTERS_MAX: usize = 64;

/// A code.
#[derive(Clone, PartialEq, Eq)]
pub struct VoucherCode([u8; DIGITS]);

/// What was typed is no code: something is missing, too much, or mistyped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistyped;

/// The kernel gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl VoucherCode {
    /// A code that nobody has seen.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Self, NoRandomness> {
        let mut digits = [0; DIGITS];
        SystemRandom::new().fill(&mut digits).map_err(|_| NoRandomness)?;
        let mut check = 0;
        let (last, random) = digits.split_last_mut().ok_or(NoRandomness)?;
        for digit in random {
            *digit &= 31;
            check = times_x(check) ^ *digit;
        }
        *last = times_x(check);
        Ok(Self(digits))
    }

    /// Reads what somebody typed: in either case, with or without hyphens and spaces.
    ///
    /// # Errors
    /// [`Mistyped`].
    pub fn read(text: &str) -> Result<Self, Mistyped> {
        let mut digits = [0; DIGITS];
        let mut count = 0;
        for (position, letter) in text.trim().chars().enumerate() {
            if position >= TYPED_CHARACTERS_MAX {
                return Err(Mistyped);
            }
            if letter == '-' || letter.is_whitespace() {
                continue;
            }
            let letter = match letter.to_ascii_uppercase() {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            };
            let value = ALPHABET.iter().position(|known| char::from(*known) == letter);
            let value = value.and_then(|value| u8::try_from(value).ok()).ok_or(Mistyped)?;
            *digits.get_mut(count).ok_or(Mistyped)? = value;
            count += 1;
        }
        let check = digits.iter().fold(0, |check, digit| times_x(check) ^ digit);
        if count == DIGITS && check == 0 { Ok(Self(digits)) } else { Err(Mistyped) }
    }

    /// What the server knows it by.
    #[must_use]
    pub fn hash(&self) -> VoucherHash {
        let hash = digest::digest(&digest::SHA256, self.text().as_bytes());
        // SHA-256 has 32 bytes.
        VoucherHash::new(hash.as_ref().try_into().unwrap_or([0; 32]))
    }

    /// As it is printed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (position, digit) in self.0.iter().enumerate() {
            if position > 0 && position % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET.get(usize::from(*digit)).copied().unwrap_or(b'0')));
        }
        text
    }
}

impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever writes it into a log by mistake writes no code.
        f.write_str("VoucherCode(…)")
    }
}

/// Times x in the field of 32 elements, modulo x^5 + x^2 + 1. The powers of x are all different up to the
/// 31st, so a sum of digits times powers tells any two digits of a code apart from the same two exchanged.
const fn times_x(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = VoucherCode::new().unwrap();
        let text = code.text();
        assert_eq!((text.len(), text.matches('-').count()), (19, 3));
        let lower = text.to_lowercase();
        let bare = text.replace('-', "");
        let mixed = text.replace('1', "l").replace('0', "o");
        let wide = format!("  {}  ", text.replace('-', " - "));
        for typed in [&text, &lower, &bare, &mixed, &text.replace('1', "I"), &wide] {
            let read = VoucherCode::read(typed).unwrap();
            assert_eq!((read.hash(), read.text()), (code.hash(), text.clone()), "{typed}");
        }
        assert_ne!(VoucherCode::new().unwrap(), code);
        assert_eq!(format!("{code:?}"), "VoucherCode(…)");
    }

    /// SHA-256 of the text as it is printed: what is on disks, so it stays so for ever.
    #[test]
    fn the_hash_of_a_code_is_that_of_its_text() {
        let code = VoucherCode::read("0000-0000-0000-0000").unwrap();
        let hash: String = code.hash().bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = digest::digest(&digest::SHA256, b"0000-0000-0000-0000");
        let plain: String = plain.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, plain);
    }

    #[test]
    fn every_wrong_character_and_every_exchange_is_noticed() {
        for _ in 0..20 {
            let code = VoucherCode::new().unwrap();
            let bare = code.text().replace('-', "").into_bytes();
            for position in 0..DIGITS {
                for other in ALPHABET.iter().filter(|other| **other != bare[position]) {
                    let mut typed = bare.clone();
                    typed[position] = *other;
                    assert_eq!(
                        VoucherCode::read(std::str::from_utf8(&typed).unwrap()),
                        Err(Mistyped)
                    );
                }
                for later in position + 1..DIGITS {
                    let mut typed = bare.clone();
                    typed.swap(position, later);
                    let read = VoucherCode::read(std::str::from_utf8(&typed).unwrap());
                    assert_eq!(read.is_err(), bare[position] != bare[later]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_code_is_said_to_be_mistyped() {
        let text = VoucherCode::new().unwrap().text();
        for typed in ["", " ", "-", &text[..18], &format!("{text}0"), "U000-0000-0000-0000", "٠٠"]
        {
            assert_eq!(VoucherCode::read(typed), Err(Mistyped), "{typed}");
        }
        assert_eq!(VoucherCode::read(&format!("{}{text}", "-".repeat(100))), Err(Mistyped));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = VoucherCode::read(&text);
        }
    }
}
