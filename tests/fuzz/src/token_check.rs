//! What must hold of every text that is shown as a lease token.

use vestibule_core::lease_token::{LEASE_TOKEN_LENGTH, with_token};
use vestibule_core::{
    BindingState, ClientIdentifier, HardwareAddress, Lease, LeaseToken, LeaseTokens, Timestamp,
};

/// Reads the text; what is a token reads back the same and fits no lease, because nobody here knows the
/// key.
///
/// # Panics
/// If a promise of `lease_token` is broken.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = text.parse::<LeaseToken>() else {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(text.len() != LEASE_TOKEN_LENGTH || !text.bytes().all(is_word), "{text}");
        return;
    };
    assert_eq!(token.to_string(), text);
    assert!(with_token("https://a/", token).ends_with(text));
    let hardware = HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 1]);
    let now = Timestamp::from_seconds(1_795_179_600);
    let lease = Lease {
        address: token.address(),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: now,
        changed: now,
        ends: now.plus_seconds(3600),
        relay: None,
        relay_agent: None,
        host_name: None,
    };
    let tokens = LeaseTokens::new(&[7; 32], 86_400, "https://a/");
    assert!(!tokens.fits(&token, &lease, now), "forged: {text}");
    let genuine = tokens.token(lease.address, hardware, now, now);
    assert!(tokens.fits(&genuine, &lease, now));
}
