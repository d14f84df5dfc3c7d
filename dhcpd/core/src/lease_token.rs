//! Lease tokens: an opaque word by which a portal names a host's lease, without seeing its address.
//!
//! A token names an address and carries an authentication code over the address, the hardware address
//! and the beginning of the lease. So it is good for this lease of this device and for nothing else: when
//! the lease ends, or another device gets the address, no code fits any more. It cannot be made or
//! changed without the key. Keys follow from one master key and the time, and change with each period;
//! the one before is still good, and a period is longer than any lease, so a token never dies before its
//! lease.
//!
//! Everything here is a function of what it is given: no clock, no randomness.

use crate::{HardwareAddress, Lease, Timestamp};
use ring::hmac;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Bytes of the authentication code: 128 bits of HMAC-SHA256 (RFC 2104 section 5).
const CODE_BYTES: usize = 16;

/// Bytes of a token: the period, the address, the code.
const TOKEN_BYTES: usize = 1 + 4 + CODE_BYTES;

/// Characters of a token.
pub const LEASE_TOKEN_LENGTH: usize = TOKEN_BYTES * 4 / 3;

/// What a key is made for, so that the master key is good for nothing else.
const PURPOSE: &[u8] = b"vestibule lease token 1";

/// The digits of base64url (RFC 4648 section 5).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeaseToken([u8; TOKEN_BYTES]);

/// Why a token names no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTokenRefusal {
    /// It was not made by this server, was changed, or is of an earlier lease or of another device.
    Invalid,
    /// Nobody holds a lease for its address any more.
    Ended,
}

/// A text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLeaseTokenError;

impl LeaseToken {
    /// The address that it names; whether rightly, only [`LeaseTokens::fits`] knows.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        let [_, a, b, c, d, ..] = self.0;
        Ipv4Addr::new(a, b, c, d)
    }

    const fn period(self) -> u8 {
        let [period, ..] = self.0;
        period
    }

    fn code(&self) -> &[u8] {
        self.0.get(TOKEN_BYTES - CODE_BYTES..).unwrap_or_default()
    }
}

/// A token lets its holder register a device, so it gets into no log.
impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseToken(of {})", self.address())
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for three in self.0.chunks(3) {
            let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            for shift in [18, 12, 6, 0] {
                let digit = DIGITS.get(bits >> shift & 63).copied().unwrap_or(b'A');
                write!(f, "{}", char::from(digit))?;
            }
        }
        Ok(())
    }
}

impl FromStr for LeaseToken {
    type Err = ParseLeaseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != LEASE_TOKEN_LENGTH {
            return Err(ParseLeaseTokenError);
        }
        let mut token = [0; TOKEN_BYTES];
        for (four, three) in text.as_bytes().chunks(4).zip(token.chunks_mut(3)) {
            let mut bits = 0_u32;
            for digit in four {
                let value = DIGITS.iter().position(|known| known == digit);
                let value = value.and_then(|value| u32::try_from(value).ok());
                bits = bits << 6 | value.ok_or(ParseLeaseTokenError)?;
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        Ok(Self(token))
    }
}

/// What makes tokens and knows them again.
#[derive(Clone)]
pub struct LeaseTokens {
    master: hmac::Key,
    period_seconds: u64,
    /// The captive portal API's URL, to which a token is put.
    url: Box<[u8]>,
}

impl fmt::Debug for LeaseTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseTokens")
            .field("period_seconds", &self.period_seconds)
            .finish_non_exhaustive()
    }
}

impl LeaseTokens {
    /// By a master key that nobody else knows. `period_seconds`: how long a key is used; at least as
    /// long as the longest lease. `url`: what option 114 says without a token.
    #[must_use]
    pub fn new(master: &[u8; 32], period_seconds: u64, url: &str) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master);
        Self { master, period_seconds: period_seconds.max(1), url: url.as_bytes().into() }
    }

    /// The token of a lease.
    #[must_use]
    pub fn token(
        &self,
        address: Ipv4Addr,
        hardware: HardwareAddress,
        started: Timestamp,
        now: Timestamp,
    ) -> LeaseToken {
        let period = now.seconds() / self.period_seconds;
        let mut token = [0; TOKEN_BYTES];
        let [number, rest @ ..] = &mut token;
        *number = low_byte(period);
        let (address_bytes, code) = rest.split_at_mut(4);
        address_bytes.copy_from_slice(&address.octets());
        let whole = self.code(period, address, hardware, started);
        code.copy_from_slice(whole.as_ref().get(..CODE_BYTES).unwrap_or(&[0; CODE_BYTES]));
        LeaseToken(token)
    }

    /// Whether a token is that of this lease. It takes as long whatever is wrong.
    #[must_use]
    pub fn fits(&self, token: &LeaseToken, lease: &Lease, now: Timestamp) -> bool {
        let this = now.seconds() / self.period_seconds;
        let period = [Some(this), this.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(|period| low_byte(*period) == token.period());
        let Some(period) = period else { return false };
        let whole = self.code(period, lease.address, lease.hardware, lease.started);
        let differing = whole
            .as_ref()
            .iter()
            .zip(token.code())
            .fold(0, |differing, (right, shown)| differing | (right ^ shown));
        token.address() == lease.address && std::hint::black_box(differing) == 0
    }

    /// What option 114 says with a token, if it says without one what it should.
    pub(crate) fn url_with(&self, url: &[u8], token: LeaseToken) -> Option<Vec<u8>> {
        if *url != *self.url {
            return None;
        }
        Some(with_token(std::str::from_utf8(url).ok()?, token).into_bytes())
    }

    fn code(
        &self,
        period: u64,
        address: Ipv4Addr,
        hardware: HardwareAddress,
        started: Timestamp,
    ) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.master);
        context.update(PURPOSE);
        context.update(&period.to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref());
        let mut context = hmac::Context::with_key(&key);
        context.update(&address.octets());
        context.update(&started.milliseconds().to_be_bytes());
        context.update(&[hardware.hardware_type()]);
        // Last, because it has no fixed length.
        context.update(hardware.bytes());
        context.sign()
    }
}

/// A URL with a token in its query.
#[must_use]
pub fn with_token(url: &str, token: LeaseToken) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}lease-token={token}")
}

/// Bytes that [`with_token`] adds.
pub const LEASE_TOKEN_PARAMETER_LENGTH: usize = "?lease-token=".len() + LEASE_TOKEN_LENGTH;

const fn low_byte(number: u64) -> u8 {
    number.to_be_bytes()[7]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BindingState, ClientIdentifier};

    const DAY: u64 = 86_400;

    fn tokens() -> LeaseTokens {
        LeaseTokens::new(&[7; 32], DAY, "https://register.example/captive")
    }

    fn lease() -> Lease {
        let hardware = HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 1]);
        Lease {
            address: Ipv4Addr::new(10, 20, 0, 17),
            client: ClientIdentifier::Hardware(hardware),
            hardware,
            state: BindingState::Active,
            started: Timestamp::from_seconds(1000 * DAY),
            changed: Timestamp::from_seconds(1000 * DAY),
            ends: Timestamp::from_seconds(1001 * DAY),
            relay: None,
            relay_agent: None,
            host_name: None,
        }
    }

    fn token_of(tokens: &LeaseTokens, lease: &Lease, now: Timestamp) -> LeaseToken {
        tokens.token(lease.address, lease.hardware, lease.started, now)
    }

    #[test]
    fn a_token_is_good_for_its_lease_and_for_nothing_else() {
        let (tokens, lease) = (tokens(), lease());
        let now = lease.started;
        let token = token_of(&tokens, &lease, now);
        assert!(tokens.fits(&token, &lease, now));
        let other = HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 2]);
        let others = [
            Lease { hardware: other, ..lease.clone() },
            Lease { address: Ipv4Addr::new(10, 20, 0, 18), ..lease.clone() },
            Lease { started: now.plus_seconds(1), ..lease.clone() },
        ];
        for other in others {
            assert!(!tokens.fits(&token, &other, now), "{other:?}");
        }
        assert!(!LeaseTokens::new(&[8; 32], DAY, "").fits(&token, &lease, now), "another key");
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let (tokens, lease) = (tokens(), lease());
        let token = token_of(&tokens, &lease, lease.started);
        for place in 0..TOKEN_BYTES * 8 {
            let mut changed = token;
            changed.0[place / 8] ^= 1 << (place % 8);
            assert!(!tokens.fits(&changed, &lease, lease.started), "bit {place}");
        }
    }

    #[test]
    fn keys_change_and_the_one_before_is_still_good() {
        let (tokens, lease) = (tokens(), lease());
        let token = token_of(&tokens, &lease, lease.started);
        let later = |days: u64| lease.started.plus_seconds(days * DAY);
        assert!(tokens.fits(&token, &lease, later(1)));
        assert!(!tokens.fits(&token, &lease, later(2)));
        assert!(!tokens.fits(&token, &lease, later(256)), "a number comes again, its key does not");
        assert_ne!(token_of(&tokens, &lease, later(256)), token);
        assert_eq!(token_of(&tokens, &lease, later(256)).period(), token.period());
    }

    #[test]
    fn a_url_keeps_its_query() {
        let token = token_of(&tokens(), &lease(), Timestamp::ZERO);
        let text = token.to_string();
        assert_eq!(text.len(), LEASE_TOKEN_LENGTH);
        assert_eq!(with_token("https://a/", token), format!("https://a/?lease-token={text}"));
        assert_eq!(
            with_token("https://a/?b=1", token),
            format!("https://a/?b=1&lease-token={text}")
        );
        let added = with_token("", token).len();
        assert_eq!(added, LEASE_TOKEN_PARAMETER_LENGTH);
        assert!(!format!("{token:?}").contains(&text), "not in a log");
    }

    proptest::proptest! {
        #[test]
        fn texts_of_tokens_read_back_the_same(bytes: [u8; 21]) {
            let token = LeaseToken(bytes);
            proptest::prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", word in "[A-Za-z0-9_-]{28}") {
            let _ = text.parse::<LeaseToken>();
            let token: LeaseToken = word.parse().unwrap_or_else(|_| panic!("{word}"));
            proptest::prop_assert_eq!(token.to_string(), word);
        }
    }
}
