//! The DHCP options that can be configured by name, as data: code, name, kind of value.
//!
//! Names follow the IANA registry of BOOTP and DHCP parameters, in lower case with hyphens. Options
//! that the server computes for each reply stand in [`COMPUTED`] with the reason why they are
//! refused; every other code can be given as `option-NNN`.

use crate::grammar::Section;

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
    /// Bytes, as one of [`BYTES_FORMS`].
    Bytes,
    /// A number of four bytes.
    Number32,
    /// One domain name in DNS encoding, without compression (RFC 1035 section 3.1).
    EncodedName,
    /// One or more prefixes as address and mask (RFC 2132 section 5.3).
    AddressMasks,
    /// One or more of `{ prefix = …, router = … }` as two addresses (RFC 2132 section 5.8): hosts, or
    /// networks of the length that their class had.
    HostRoutes,
    /// Addresses, or domain names in DNS encoding, with a byte before them that says which (RFC 3361).
    AddressesOrNames,
    /// One or more lists of addresses, each with its length before it (RFC 7291 section 4).
    AddressLists,
    /// One or more URLs, each with its length in two bytes before it (RFC 8572 section 8.3).
    Urls,
    /// A prefix of IPv6: its length in one byte, then all 16 bytes of it. Only inside [`Kind::Fields`].
    Ipv6Prefix,
    /// Several values one after the other, each under its name in a table.
    Fields(&'static Fields),
    /// A table of sub-options by code, each bytes (RFC 2132 section 8.4).
    SubOptions,
    /// One or more of `{ enterprise = …, data = … }` (RFC 3925 section 3).
    VendorClasses,
    /// One or more of `{ enterprise = …, options = { … } }` (RFC 3925 section 4).
    VendorOptions,
    /// One or more encrypted resolvers (RFC 9463 section 5.1).
    Resolvers,
}

/// The values of a [`Kind::Fields`].
#[derive(Debug, PartialEq, Eq)]
pub struct Fields {
    /// The table that they stand in.
    pub section: Section,
    /// Each with its kind, in the order of the section's keys, which is that on the wire.
    pub kinds: &'static [Kind],
}

/// How bytes can be written in a file: each begins a text, and the rest of it is read so.
pub const BYTES_FORMS: [(&str, &str); 6] = [
    ("hex:", "bytes in hexadecimal, with spaces, colons or hyphens between them if wanted"),
    ("text:", "the text itself"),
    ("ipv4:", "IPv4 addresses, with spaces between them"),
    ("u8:", "numbers of one byte, with spaces between them"),
    ("u16:", "numbers of two bytes"),
    ("u32:", "numbers of four bytes"),
];

impl Kind {
    /// The kinds that a file may give an option of its own, by name.
    pub const NAMED: &[(&str, Self)] = &[
        ("address", Self::Address),
        ("addresses", Self::Addresses),
        ("flag", Self::Flag),
        ("number8", Self::Number8(0)),
        ("number16", Self::Number16(0)),
        ("number32", Self::Number32),
        ("signed32", Self::Signed32),
        ("numbers16", Self::Numbers16(0)),
        ("duration", Self::Seconds),
        ("text", Self::Text),
        ("domain-name", Self::DomainName),
        ("domain-names", Self::DomainNames),
        ("url", Self::Url),
        ("bytes", Self::Bytes),
        ("sub-options", Self::SubOptions),
    ];
}

/// RFC 2610 section 3.
const SLP_AGENTS: Fields = Fields {
    section: Section { header: "slp-directory-agent", keys: &["mandatory", "servers"] },
    kinds: &[Kind::Flag, Kind::Addresses],
};

/// RFC 2610 section 4.
const SLP_SCOPES: Fields = Fields {
    section: Section { header: "slp-service-scope", keys: &["mandatory", "scopes"] },
    kinds: &[Kind::Flag, Kind::Text],
};

/// RFC 6731 section 4.3.
const RESOLVER_SELECTION: Fields = Fields {
    section: Section {
        header: "rdnss-selection",
        keys: &["preference", "primary", "secondary", "domains"],
    },
    kinds: &[Kind::Number8(0), Kind::Address, Kind::Address, Kind::DomainNames],
};

/// RFC 7618 section 9.
const PORT_PARAMETERS: Fields = Fields {
    section: Section { header: "port-parameters", keys: &["offset", "psid-length", "psid"] },
    kinds: &[Kind::Number8(0), Kind::Number8(0), Kind::Number16(0)],
};

/// RFC 5969 section 7.1.1.
const SIX_RD: Fields = Fields {
    section: Section { header: "6rd", keys: &["ipv4-mask-length", "prefix", "relays"] },
    kinds: &[Kind::Number8(0), Kind::Ipv6Prefix, Kind::Addresses],
};

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
    known(8, "quotes-servers", Kind::Addresses),
    known(9, "lpr-servers", Kind::Addresses),
    known(10, "impress-servers", Kind::Addresses),
    known(11, "resource-location-servers", Kind::Addresses),
    known(12, "host-name", Kind::Text),
    known(13, "boot-file-size", Kind::Number16(0)),
    known(14, "merit-dump-file", Kind::Text),
    known(15, "domain-name", Kind::DomainName),
    known(16, "swap-server", Kind::Address),
    known(17, "root-path", Kind::Text),
    known(18, "extensions-path", Kind::Text),
    known(19, "ip-forwarding", Kind::Flag),
    known(20, "non-local-source-routing", Kind::Flag),
    known(21, "policy-filter", Kind::AddressMasks),
    known(22, "maximum-datagram-size", Kind::Number16(576)),
    known(23, "default-ip-ttl", Kind::Number8(1)),
    known(24, "path-mtu-aging-timeout", Kind::Seconds),
    known(25, "path-mtu-plateaus", Kind::Numbers16(68)),
    known(26, "interface-mtu", Kind::Number16(68)),
    known(27, "all-subnets-local", Kind::Flag),
    known(28, "broadcast-address", Kind::Address),
    known(29, "perform-mask-discovery", Kind::Flag),
    known(30, "mask-supplier", Kind::Flag),
    known(31, "perform-router-discovery", Kind::Flag),
    known(32, "router-solicitation-address", Kind::Address),
    known(33, "static-route", Kind::HostRoutes),
    known(34, "trailer-encapsulation", Kind::Flag),
    known(35, "arp-cache-timeout", Kind::Seconds),
    known(36, "ethernet-encapsulation", Kind::Flag),
    known(37, "default-tcp-ttl", Kind::Number8(1)),
    known(38, "tcp-keepalive-interval", Kind::Seconds),
    known(39, "tcp-keepalive-garbage", Kind::Flag),
    known(40, "nis-domain", Kind::Text),
    known(41, "nis-servers", Kind::Addresses),
    known(42, "ntp-servers", Kind::Addresses),
    known(43, "vendor-specific-information", Kind::SubOptions),
    known(44, "netbios-name-servers", Kind::Addresses),
    known(45, "netbios-datagram-distribution-servers", Kind::Addresses),
    known(46, "netbios-node-type", Kind::NetbiosNodeType),
    known(47, "netbios-scope", Kind::Text),
    known(48, "x-window-font-servers", Kind::Addresses),
    known(49, "x-window-display-managers", Kind::Addresses),
    known(60, "vendor-class-identifier", Kind::Text),
    // RFC 2242.
    known(62, "netware-ip-domain", Kind::Text),
    known(63, "netware-ip-option", Kind::SubOptions),
    known(64, "nis-plus-domain", Kind::Text),
    known(65, "nis-plus-servers", Kind::Addresses),
    known(66, "tftp-server-name", Kind::Text),
    known(67, "bootfile-name", Kind::Text),
    known(68, "mobile-ip-home-agents", Kind::Addresses),
    known(69, "smtp-servers", Kind::Addresses),
    known(70, "pop3-servers", Kind::Addresses),
    known(71, "nntp-servers", Kind::Addresses),
    known(72, "www-servers", Kind::Addresses),
    known(73, "finger-servers", Kind::Addresses),
    known(74, "irc-servers", Kind::Addresses),
    known(75, "streettalk-servers", Kind::Addresses),
    known(76, "streettalk-directory-assistance-servers", Kind::Addresses),
    // RFC 2610.
    known(78, "slp-directory-agent", Kind::Fields(&SLP_AGENTS)),
    known(79, "slp-service-scope", Kind::Fields(&SLP_SCOPES)),
    // RFC 4174.
    known(83, "isns", Kind::Bytes),
    // RFC 2241.
    known(85, "nds-servers", Kind::Addresses),
    known(86, "nds-tree-name", Kind::Text),
    known(87, "nds-context", Kind::Text),
    // RFC 4280.
    known(88, "bcmcs-controller-domain-names", Kind::DomainNames),
    known(89, "bcmcs-controller-addresses", Kind::Addresses),
    // RFC 3679.
    known(95, "ldap", Kind::Text),
    // RFC 2485.
    known(98, "user-authentication", Kind::Text),
    // RFC 4776.
    known(99, "geoconf-civic", Kind::Bytes),
    // RFC 4833.
    known(100, "posix-timezone", Kind::Text),
    known(101, "tz-database-timezone", Kind::Text),
    // RFC 8925.
    known(108, "v6-only-preferred", Kind::Seconds),
    // RFC 3679.
    known(112, "netinfo-addresses", Kind::Addresses),
    known(113, "netinfo-tag", Kind::Text),
    // RFC 8910.
    known(114, "captive-portal", Kind::UrlOrUnrestricted),
    // RFC 2563.
    known(116, "auto-configure", Kind::Flag),
    // RFC 2937.
    known(117, "name-service-search", Kind::Numbers16(0)),
    // RFC 3397.
    known(119, "domain-search", Kind::DomainNames),
    // RFC 3361.
    known(120, "sip-servers", Kind::AddressesOrNames),
    // RFC 3442.
    known(121, "classless-static-route", Kind::Routes),
    // RFC 3495.
    known(122, "cablelabs-client-configuration", Kind::SubOptions),
    // RFC 6225.
    known(123, "geoconf", Kind::Bytes),
    // RFC 3925.
    known(124, "vendor-identifying-vendor-class", Kind::VendorClasses),
    known(125, "vendor-identifying-vendor-specific", Kind::VendorOptions),
    // RFC 5192.
    known(136, "pana-agents", Kind::Addresses),
    // RFC 5223.
    known(137, "lost-server", Kind::EncodedName),
    // RFC 5417.
    known(138, "capwap-access-controllers", Kind::Addresses),
    // RFC 5678.
    known(139, "mobility-services-addresses", Kind::SubOptions),
    known(140, "mobility-services-names", Kind::SubOptions),
    // RFC 6011.
    known(141, "sip-user-agent-domains", Kind::DomainNames),
    // RFC 6153.
    known(142, "andsf-addresses", Kind::Addresses),
    // RFC 8572.
    known(143, "sztp-redirect", Kind::Urls),
    // RFC 6225.
    known(144, "geolocation", Kind::Bytes),
    // RFC 6731.
    known(146, "rdnss-selection", Kind::Fields(&RESOLVER_SELECTION)),
    // RFC 8973.
    known(147, "dots-agent-name", Kind::EncodedName),
    known(148, "dots-agent-addresses", Kind::Addresses),
    // RFC 5859.
    known(150, "tftp-server-address", Kind::Addresses),
    // RFC 7291.
    known(158, "pcp-servers", Kind::AddressLists),
    // RFC 7618.
    known(159, "port-parameters", Kind::Fields(&PORT_PARAMETERS)),
    // RFC 9463.
    known(162, "encrypted-dns", Kind::Resolvers),
    // Etherboot, and iPXE after it.
    known(175, "etherboot", Kind::SubOptions),
    // RFC 5071.
    known(208, "pxelinux-magic", Kind::Bytes),
    known(209, "pxelinux-configuration-file", Kind::Text),
    known(210, "pxelinux-path-prefix", Kind::Text),
    known(211, "pxelinux-reboot-time", Kind::Seconds),
    // RFC 5969.
    known(212, "6rd", Kind::Fields(&SIX_RD)),
    // RFC 5986.
    known(213, "access-network-domain-name", Kind::EncodedName),
    // RFC 6656.
    known(220, "subnet-allocation", Kind::SubOptions),
    // RFC 6607.
    known(221, "virtual-subnet-selection", Kind::Bytes),
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
    computed(77, "user-class", "only clients send it; a [[class]] can ask for it"),
    computed(80, "rapid-commit", "set leases.rapid-commit"),
    computed(81, "client-fqdn", "it answers the client's own, which this version does not"),
    computed(82, "relay-agent-information", "the relay's own is sent back"),
    computed(90, "authentication", "it would have to be computed for each reply"),
    computed(91, "client-last-transaction-time", "it belongs to leasequery"),
    computed(92, "associated-ip", "it belongs to leasequery"),
    computed(93, "client-system-architecture", "only clients send it; a [[class]] can ask for it"),
    computed(94, "client-network-interface", "only clients send it"),
    computed(97, "client-machine-identifier", "only clients send it"),
    computed(109, "dhcp4o6-source-address", "only clients of DHCP 4o6 send it"),
    computed(118, "subnet-selection", "the client's own is sent back"),
    computed(145, "forcerenew-nonce-capable", "this server sends no FORCERENEW"),
    computed(151, "status-code", "it belongs to leasequery"),
    computed(152, "base-time", "it belongs to leasequery"),
    computed(153, "start-time-of-state", "it belongs to leasequery"),
    computed(154, "query-start-time", "it belongs to leasequery"),
    computed(155, "query-end-time", "it belongs to leasequery"),
    computed(156, "dhcp-state", "it belongs to leasequery"),
    computed(157, "data-source", "it belongs to leasequery"),
    computed(161, "manufacturer-usage-description-url", "only clients send it"),
    computed(255, "end", "it ends the options"),
];

/// Names that other servers use for an option, or that are easily mistaken for one.
pub const OTHER_NAMES: &[(&str, &str)] = &[
    ("static-routes", "classless-static-route"),
    ("time-server", "time-servers"),
    ("name-server", "name-servers"),
    ("domain-server", "domain-name-servers"),
    ("log-server", "log-servers"),
    ("hostname", "host-name"),
    ("mtu-interface", "interface-mtu"),
    ("vendor-specific", "vendor-specific-information"),
    ("vendor-encapsulated-options", "vendor-specific-information"),
    ("class-id", "vendor-class-identifier"),
    ("ipv6-only-preferred", "v6-only-preferred"),
    ("v4-dnr", "encrypted-dns"),
    ("dnr", "encrypted-dns"),
    ("ntp", "ntp-servers"),
    ("server-name", "tftp-server-name"),
    ("vivso", "vendor-identifying-vendor-specific"),
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
