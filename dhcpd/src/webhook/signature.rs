//! What proves to a receiver who sent a delivery, and when: HMAC-SHA256 (RFC 2104) over the time and the
//! body, so that neither can be changed, and an old delivery can be told from a new one.

use ring::hmac;
use std::fmt::Write as _;

/// The header that carries it.
pub const SIGNATURE_HEADER: &str = "vestibule-signature";

/// `t=SECONDS,v1=HEX`, where HEX is the HMAC of `SECONDS.BODY`. `seconds`: since the Unix epoch.
#[must_use]
pub fn sign(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By another implementation:
    /// `printf '1795179600.{"events":[]}' | openssl dgst -sha256 -hmac 0123456789abcdef`
    #[test]
    fn it_is_what_openssl_says() {
        assert_eq!(
            sign(b"0123456789abcdef", 1_795_179_600, br#"{"events":[]}"#),
            "t=1795179600,v1=8d8bcbd1cef55b84392aa11a6b7bf192e4564b8567c06a4de9f090ae40831c6f"
        );
    }
}
