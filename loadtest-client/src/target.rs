//! Which servers may be loaded without asking: those that cannot be anybody else's.

use std::net::Ipv4Addr;

/// Whether an address is of this host, of a private network, or of a range that exists for
/// documentation and benchmarks (RFC 1918, RFC 5737, RFC 2544).
#[must_use]
pub const fn is_harmless(address: Ipv4Addr) -> bool {
    let benchmark = address.octets()[0] == 198 && address.octets()[1] & 0xfe == 18;
    address.is_loopback() || address.is_private() || address.is_documentation() || benchmark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_servers_are_not_loaded() {
        for harmless in ["127.0.0.1", "10.0.0.67", "172.16.3.4", "192.0.2.1", "198.19.255.1"] {
            assert!(is_harmless(harmless.parse().expect(harmless)), "{harmless}");
        }
        for other in ["8.8.8.8", "172.32.0.1", "198.20.0.1", "255.255.255.255", "0.0.0.0"] {
            assert!(!is_harmless(other.parse().expect(other)), "{other}");
        }
    }
}
