//! The DHCP options that can be configured by name, as data: code, name, kind of value.
//!
//! Names follow the IANA registry of BOOTP and DHCP parameters, in lower case with hyphens. Options
//! that the server computes for each reply stand in [`COMPUTED`] with the reason why they are
//! refused; every other code can be given as `option-NNN`.

/// What an option's value is, in the file and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One IPv4 address.
    Address,
    /// One or more IPv4 addresses.
    Addresses,
    /// `true` or `false`, one byte.
    Flag,
    /// A number of one byte, not below the bound.
    Number8(u8),
    /// A number of two bytes, not below the bound.
    Number16(u16),
    /// One or more numbers of two bytes, none below the bound.
    Numbers16(u16),
    /// A signed number of four bytes.
    Signed32,
    /// A duration, four bytes of seconds.
    Seconds,
    /// ASCII text.
    Text,
    /// A domain name as text.
    DomainName,
    /// One or more domain names in DNS encoding, without compression (RFC 3397).
    DomainNames,
    /// An `http` or `https` URL as text.
    Url,
    /// The same, or the URN that says that a network has no captive portal (RFC 8910 section 2).
    UrlOrUnrestricted,
    /// One or more of `{ prefix = …, router = … }` (RFC 3442).
    Routes,
    /// `b-node`, `p-node`, `m-node` or `h-node` (RFC 2132 section 8.7).
    NetbiosNodeType,
    /// Bytes as `hex:…` or `text:…`.
    Bytes,
}

/// The code of the resolvers that hosts are given.
pub(crate) const DOMAIN_NAME_SERVERS: u8 = 6;

/// What [`Kind::UrlOrUnrestricted`] takes besides a URL.
pub const UNRESTRICTED: &str = "urn:ietf:params:capport:unrestricted";

/// An option that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownOption {
    /// Its code.
    pub code: u8,
    /// Its name in the file.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
}

const fn known(code: u8, name: &'static str, kind: Kind) -> KnownOption {
    KnownOption { code, name, kind }
}

/// The options that have a name, by code. RFC 2132 where no other source is named.
pub const KNOWN: &[KnownOption] = &[
    known(2, "time-offset", Kind::Signed32),
    known(3, "routers", Kind::Addresses),
    known(4, "time-servers", Kind::Addresses),
    known(5, "name-servers", Kind::Addresses),
    known(6, "domain-name-servers", Kind::Addresses),
    known(7, "log-servers", Kind::Addresses),
    known(9, "lpr-servers", Kind::Addresses),
    known(12, "host-name", Kind::Text),
    known(13, "boot-file-size", Kind::Number16(0)),
    known(15, "domain-name", Kind::DomainName),
    known(16, "swap-server", Kind::Address),
    known(17, "root-path", Kind::Text),
    known(19, "ip-forwarding", Kind::Flag),
    known(22, "maximum-datagram-size", Kind::Number16(576)),
    known(23, "default-ip-ttl", Kind::Number8(1)),
    known(24, "path-mtu-aging-timeout", Kind::Seconds),
    known(25, "path-mtu-plateaus", Kind::Numbers16(68)),
    known(26, "interface-mtu", Kind::Number16(68)),
    known(27, "all-subnets-local", Kind::Flag),
    known(28, "broadcast-address", Kind::Address),
    known(31, "perform-router-discovery", Kind::Flag),
    known(35, "arp-cache-timeout", Kind::Seconds),
    known(37, "default-tcp-ttl", Kind::Number8(1)),
    known(38, "tcp-keepalive-interval", Kind::Seconds),
    known(40, "nis-domain", Kind::Text),
    known(41, "nis-servers", Kind::Addresses),
    known(42, "ntp-servers", Kind::Addresses),
    known(43, "vendor-specific-information", Kind::Bytes),
    known(44, "netbios-name-servers", Kind::Addresses),
    known(45, "netbios-datagram-distribution-servers", Kind::Addresses),
    known(46, "netbios-node-type", Kind::NetbiosNodeType),
    known(47, "netbios-scope", Kind::Text),
    known(48, "x-window-font-servers", Kind::Addresses),
    known(49, "x-window-display-managers", Kind::Addresses),
    known(60, "vendor-class-identifier", Kind::Text),
    known(66, "tftp-server-name", Kind::Text),
    known(67, "bootfile-name", Kind::Text),
    known(69, "smtp-servers", Kind::Addresses),
    known(70, "pop3-servers", Kind::Addresses),
    known(71, "nntp-servers", Kind::Addresses),
    known(72, "www-servers", Kind::Addresses),
    // RFC 4833.
    known(100, "posix-timezone", Kind::Text),
    known(101, "tz-database-timezone", Kind::Text),
    // RFC 8925.
    known(108, "v6-only-preferred", Kind::Seconds),
    // RFC 8910.
    known(114, "captive-portal", Kind::UrlOrUnrestricted),
    // RFC 2563.
    known(116, "auto-configure", Kind::Flag),
    // RFC 3397.
    known(119, "domain-search", Kind::DomainNames),
    // RFC 3442.
    known(121, "classless-static-route", Kind::Routes),
    // RFC 5417.
    known(138, "capwap-access-controllers", Kind::Addresses),
    // RFC 5859.
    known(150, "tftp-server-address", Kind::Addresses),
    // The same as 121, for old clients of one vendor.
    known(249, "microsoft-classless-static-route", Kind::Routes),
    // draft-ietf-wrec-wpad-01.
    known(252, "web-proxy-auto-discovery", Kind::Url),
];

/// An option that no file may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputedOption {
    /// Its code.
    pub code: u8,
    /// Its name in the registry.
    pub name: &'static str,
    /// Why no file may set it.
    pub reason: &'static str,
}

const fn computed(code: u8, name: &'static str, reason: &'static str) -> ComputedOption {
    ComputedOption { code, name, reason }
}

/// The options that the server computes itself, or that only clients and relays send.
pub const COMPUTED: &[ComputedOption] = &[
    computed(0, "pad", "it is filling between options"),
    computed(1, "subnet-mask", "it follows from the subnet's prefix"),
    computed(50, "requested-ip-address", "only clients send it"),
    computed(51, "ip-address-lease-time", "set leases.lifetime and leases.lifetime-unregistered"),
    computed(52, "option-overload", "the server sets it where a reply needs it"),
    computed(53, "dhcp-message-type", "it is what the reply is"),
    computed(54, "server-identifier", "it is the address that the request came to"),
    computed(55, "parameter-request-list", "only clients send it"),
    computed(56, "message", "the server says why it refuses"),
    computed(57, "maximum-dhcp-message-size", "only clients send it"),
    computed(58, "renewal-time", "it follows from the lifetime"),
    computed(59, "rebinding-time", "it follows from the lifetime"),
    computed(61, "client-identifier", "the client's own is sent back"),
    computed(80, "rapid-commit", "set leases.rapid-commit"),
    computed(81, "client-fqdn", "it answers the client's own, which this version does not"),
    computed(82, "relay-agent-information", "the relay's own is sent back"),
    computed(90, "authentication", "it would have to be computed for each reply"),
    computed(118, "subnet-selection", "the client's own is sent back"),
    computed(255, "end", "it ends the options"),
];

/// Names that other servers use for an option, or that are easily mistaken for one.
pub const OTHER_NAMES: &[(&str, &str)] = &[
    ("static-routes", "classless-static-route"),
    ("rfc3442-classless-static-routes", "classless-static-route"),
    ("classless-static-routes", "classless-static-route"),
    ("dns-servers", "domain-name-servers"),
    ("dns", "domain-name-servers"),
    ("gateway", "routers"),
    ("router", "routers"),
    ("domain-search-list", "domain-search"),
    ("mtu", "interface-mtu"),
    ("wpad", "web-proxy-auto-discovery"),
    ("wpad-url", "web-proxy-auto-discovery"),
    ("boot-file-name", "bootfile-name"),
    ("filename", "bootfile-name"),
    ("voip-tftp-servers", "tftp-server-address"),
    ("v4-captive-portal", "captive-portal"),
    ("wins-servers", "netbios-name-servers"),
];

/// The option of a code.
#[must_use]
pub fn by_code(code: u8) -> Option<&'static KnownOption> {
    KNOWN.iter().find(|option| option.code == code)
}

/// The option of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static KnownOption> {
    KNOWN.iter().find(|option| option.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_names_stand_once_and_in_order() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(COMPUTED.windows(2).all(|pair| pair[0].code < pair[1].code));
        let names: BTreeSet<&str> = KNOWN.iter().map(|option| option.name).collect();
        assert_eq!(names.len(), KNOWN.len());
        for option in COMPUTED {
            assert!(by_code(option.code).is_none(), "{} is in both tables", option.code);
            assert!(by_name(option.name).is_none(), "{} is in both tables", option.name);
        }
    }

    #[test]
    fn other_names_lead_to_names() {
        for (other, name) in OTHER_NAMES {
            assert!(by_name(name).is_some(), "{other} leads to {name}, which is unknown");
            assert!(by_name(other).is_none(), "{other} is a name itself");
        }
    }
}
