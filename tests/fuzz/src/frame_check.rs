//! What must hold of every packet that an attached LAN's socket could hand us.

use crate::frame::{UdpChecksum, headers, parse};

/// Takes the packet apart, with and without its checksum, and puts it together again.
///
/// # Panics
/// If a promise of `net::frame` is broken.
pub fn check(bytes: &[u8]) {
    let verified = parse(bytes, UdpChecksum::Present);
    let Ok(frame) = parse(bytes, UdpChecksum::NotNeeded) else {
        // A packet does not become better by having its checksum looked at.
        assert!(verified.is_err());
        return;
    };
    assert!(frame.payload.len() + 28 <= bytes.len());
    if let Ok(verified) = verified {
        assert_eq!(verified, frame);
    }
    let headers =
        headers(frame.source, frame.destination, frame.payload).expect("fits: it came so");
    let rebuilt = [&headers, frame.payload].concat();
    assert_eq!(parse(&rebuilt, UdpChecksum::Present), Ok(frame));
}
