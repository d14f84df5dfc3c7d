//! The statements of `dhcpd.conf` that are not taken over, as data: what becomes of each, and what to do.
//!
//! What stands neither here nor in [`draft`](super::draft) is reported as unknown.

use super::report::Kind::{self, Changed, LeftOut, NotNeeded};

const DNS: &str = "this server changes nothing in the DNS: have a webhook or the event stream do it (docs/events.md)";
const EVALUATED: &str = "statements are not evaluated for each client here; say with networks, subnets, pools and \
                         reservations what should hold for whom";
const IPV6: &str = "this server serves no IPv6";
const BOOTP: &str =
    "this server answers no BOOTP: give such a device DHCP, or configure its address in it";
const BOOT: &str = "this server names no boot server in the fixed part of its replies: where the firmware takes options, \
                    set tftp-server-name and bootfile-name in the options";
const LDAP: &str = "there is no LDAP here: have dhcpd write its configuration out, and import that";
const OMAPI: &str = "there is no OMAPI: use the HTTP API or the vestibule tool (docs/api.md)";
const PING: &str = "this server pings no address before it offers it; a client that finds it in use declines it, \
                    and leases.decline-quarantine keeps it from everybody";
const ONE_PER_CLIENT: &str = "a client has one lease in each network";
const JOURNAL: &str = "leases are kept under server.state-dir, and an ACK never leaves before its lease is on the disk";
const LOG: &str = "the log goes to standard error, and systemd keeps it";

/// Keyword, what becomes of it, what to do; in the order of the alphabet.
const STATEMENTS: &[(&str, Kind, &str)] = &[
    ("adaptive-lease-time-threshold", LeftOut, "leases have one lifetime, however full a pool is"),
    ("add", LeftOut, EVALUATED),
    (
        "allow-booting",
        LeftOut,
        "suspend devices that shall get no address, or leave them out of the pools",
    ),
    ("allow-bootp", NotNeeded, BOOTP),
    (
        "always-broadcast",
        LeftOut,
        "a reply is broadcast where the client asks for it, and to clients behind a relay the \
                                   relay decides",
    ),
    ("always-reply-rfc1048", NotNeeded, BOOTP),
    ("append", LeftOut, EVALUATED),
    ("authoring-byte-order", NotNeeded, "the store says itself how it is written"),
    ("bind-local-address6", LeftOut, IPV6),
    ("break", LeftOut, EVALUATED),
    ("case", LeftOut, EVALUATED),
    ("check-secs-byte-order", LeftOut, "the secs field is taken as RFC 2131 has it"),
    ("client-updates", NotNeeded, DNS),
    ("db-time-format", NotNeeded, JOURNAL),
    ("declines", LeftOut, "a DECLINE is always believed, up to a limit for each device"),
    ("default", LeftOut, EVALUATED),
    ("define", LeftOut, EVALUATED),
    (
        "delayed-ack",
        NotNeeded,
        "leases are always committed in groups; an ACK never leaves before its lease is on the disk",
    ),
    ("dhcpv6-lease-file-name", LeftOut, IPV6),
    ("dhcpv6-pid-file-name", LeftOut, IPV6),
    ("dhcpv6-set-tee-times", LeftOut, IPV6),
    ("do-forward-updates", NotNeeded, DNS),
    ("do-reverse-updates", NotNeeded, DNS),
    ("dont-use-fsync", NotNeeded, JOURNAL),
    ("duplicates", NotNeeded, ONE_PER_CLIENT),
    ("dynamic-bootp", NotNeeded, BOOTP),
    ("dynamic-bootp-lease-cutoff", LeftOut, BOOTP),
    ("dynamic-bootp-lease-length", LeftOut, BOOTP),
    ("echo-client-id", NotNeeded, "the client identifier is always sent back (RFC 6842)"),
    ("eval", LeftOut, EVALUATED),
    (
        "execute",
        LeftOut,
        "this server runs no programs: have a webhook or the event stream do it (docs/events.md)",
    ),
    ("filename", LeftOut, BOOT),
    ("fixed-address6", LeftOut, IPV6),
    ("fixed-prefix6", LeftOut, IPV6),
    ("fqdn-reply", LeftOut, DNS),
    (
        "get-lease-hostnames",
        LeftOut,
        "names of leases are not looked up; give the reservations a host-name",
    ),
    ("ia-na", LeftOut, IPV6),
    ("ia-pd", LeftOut, IPV6),
    ("ia-ta", LeftOut, IPV6),
    ("infinite-is-reserved", LeftOut, "no lease is without end here; make a reservation of it"),
    (
        "interface",
        Changed,
        "if this link is attached to the server itself, and not behind a relay, name the interface in \
                            server.interfaces",
    ),
    ("key", LeftOut, OMAPI),
    ("lease-file-name", NotNeeded, JOURNAL),
    ("lease-id-format", NotNeeded, JOURNAL),
    (
        "leasequery",
        LeftOut,
        "this server answers no DHCPLEASEQUERY: use the HTTP API (docs/api.md)",
    ),
    ("limit-addrs-per-ia", LeftOut, IPV6),
    ("limit-prefs-per-ia", LeftOut, IPV6),
    ("limited-broadcast-address", LeftOut, "replies are broadcast to 255.255.255.255"),
    (
        "local-address",
        Changed,
        "it is taken for server.relay-listen if no other address is given; look at that",
    ),
    ("local-address6", LeftOut, IPV6),
    ("local-port", LeftOut, "the server listens on port 67"),
    ("log", LeftOut, LOG),
    ("log-facility", NotNeeded, LOG),
    (
        "log-threshold-high",
        NotNeeded,
        "see events.pool-low: an event says when a network's pools are low, and when they have \
                                       recovered",
    ),
    (
        "log-threshold-low",
        NotNeeded,
        "see events.pool-low: an event says when a network's pools are low, and when they have \
                                      recovered",
    ),
    (
        "max-ack-delay",
        NotNeeded,
        "leases are always committed in groups; an ACK never leaves before its lease is on the disk",
    ),
    (
        "min-secs",
        LeftOut,
        "every server answers at once; of a pair, the failover protocol says who answers",
    ),
    ("next-server", LeftOut, BOOT),
    ("omapi-key", LeftOut, OMAPI),
    ("omapi-port", LeftOut, OMAPI),
    (
        "on",
        LeftOut,
        "this server runs no programs: have a webhook or the event stream do it (docs/events.md)",
    ),
    ("one-lease-per-client", NotNeeded, ONE_PER_CLIENT),
    ("persist-eui-64-leases", LeftOut, IPV6),
    ("pid-file-name", NotNeeded, "there is no such file: systemd knows the process"),
    ("ping-check", Changed, PING),
    ("ping-cltt-secs", Changed, PING),
    ("ping-timeout", Changed, PING),
    ("ping-timeout-ms", Changed, PING),
    ("pool6", LeftOut, IPV6),
    ("preferred-lifetime", LeftOut, IPV6),
    ("prefix-length-mode", LeftOut, IPV6),
    ("prefix6", LeftOut, IPV6),
    ("prepend", LeftOut, EVALUATED),
    ("range6", LeftOut, IPV6),
    (
        "release-on-roam",
        NotNeeded,
        "a client that is given an address in a network gives back what it had there",
    ),
    ("remote-port", LeftOut, "replies go to port 67 of relays and to port 68 of clients"),
    ("return", LeftOut, EVALUATED),
    ("send", LeftOut, EVALUATED),
    ("server-duid", LeftOut, IPV6),
    ("server-id-check", NotNeeded, "the choice of another server's offer is never answered"),
    (
        "server-identifier",
        Changed,
        "the server identifier is the address that the request came to: let it stand in \
                                    server.relay-listen",
    ),
    ("server-name", LeftOut, BOOT),
    ("set", LeftOut, EVALUATED),
    (
        "site-option-space",
        LeftOut,
        "there are no option spaces: set the options themselves, by code",
    ),
    ("stash-agent-options", NotNeeded, "option 82 is always kept with the lease"),
    ("subnet6", LeftOut, IPV6),
    ("supersede", LeftOut, EVALUATED),
    ("switch", LeftOut, EVALUATED),
    ("unset", LeftOut, EVALUATED),
    ("update-conflict-detection", NotNeeded, DNS),
    ("update-optimization", NotNeeded, DNS),
    ("update-static-leases", LeftOut, DNS),
    ("use-eui-64", LeftOut, IPV6),
    ("use-lease-addr-for-default-route", LeftOut, "set routers in the options"),
    (
        "vendor-option-space",
        LeftOut,
        "there are no option spaces: set vendor-specific-information in the options, in \
                                      hexadecimal",
    ),
    ("zone", LeftOut, DNS),
];

/// What becomes of a statement that is not taken over, and what to do. `keyword` is in lower case.
pub(super) fn fate(keyword: &str) -> Option<(Kind, &'static str)> {
    let found = STATEMENTS.iter().find(|(known, ..)| *known == keyword);
    let family = || match keyword {
        "if" | "elsif" | "else" => Some((LeftOut, EVALUATED)),
        _ if keyword.starts_with("ddns-") => Some((LeftOut, DNS)),
        _ if keyword.starts_with("ldap-") => Some((LeftOut, LDAP)),
        _ => None,
    };
    found.map(|(_, kind, remedy)| (*kind, *remedy)).or_else(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stand_once_and_in_order() {
        assert!(STATEMENTS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(fate("next-server").map(|(kind, _)| kind), Some(LeftOut));
        assert_eq!(fate("ddns-hostname").map(|(kind, _)| kind), Some(LeftOut));
        assert_eq!(fate("no-such-thing"), None);
    }
}
