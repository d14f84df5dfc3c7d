//! The named limits of a configuration (P5), and its defaults.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Bytes of a configuration file.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Mistakes that are reported for one file; the rest are counted.
pub const MISTAKES_MAX: usize = 1000;

/// Characters of the file that a message quotes at once.
pub const QUOTED_CHARACTERS_MAX: usize = 80;

/// Networks in one file.
pub const NETWORKS_MAX: usize = 4096;

/// Subnets in one file.
pub const SUBNETS_MAX: usize = 16_384;

/// Entries of `network.ipv6-prefixes` at most.
pub const IPV6_PREFIXES_MAX: usize = 256;

/// Pools in one subnet.
pub const POOLS_MAX: usize = 256;

/// Addresses in all pools together: as many as 10.0.0.0/8 has.
pub const POOL_ADDRESSES_MAX: u64 = 1 << 24;

/// Reservations in one file.
pub const RESERVATIONS_MAX: usize = 262_144;

/// Bytes of one option's contents. More than 255 are split over several options (RFC 3396).
pub const OPTION_LENGTH_MAX: usize = 1024;

/// Profiles in one file.
pub const PROFILES_MAX: usize = 1024;

/// Values of one condition of a class, and alternatives of a class.
pub const CLASS_VALUES_MAX: usize = 256;

/// The least part of a pool in use, in percent, that can be called pressure.
pub const PRESSURE_PERCENT_MIN: u8 = 50;

/// The highest limit of leases for a circuit or an owner.
pub const LEASE_LIMIT_MAX: u32 = 65_535;

/// Options that one file gives names of its own.
pub const OPTION_DEFINITIONS_MAX: usize = 128;

/// Addresses in `server.relay-listen`.
pub const RELAY_LISTEN_MAX: usize = 64;

/// Names in `server.interfaces`.
pub const INTERFACES_MAX: usize = 64;

/// Bytes of an interface's name; the kernel's limit without the final zero byte.
pub const INTERFACE_NAME_LENGTH_MAX: usize = 15;

/// Bytes of a server's or a network's name.
pub const NAME_LENGTH_MAX: usize = 64;

/// Bytes of a URL.
pub const URL_LENGTH_MAX: usize = 1024;

/// Entries of `gate.walled-garden`.
pub const WALLED_GARDEN_MAX: usize = 4096;

/// Bytes of the URL in option 114: more do not fit into one option (RFC 8910 section 2.1).
pub const CAPTIVE_URL_LENGTH_MAX: usize = 255;

/// Entries of `captive.trusted-proxies`.
pub const TRUSTED_PROXIES_MAX: usize = 64;

/// Addresses in each list of `[dns]`.
pub const DNS_ADDRESSES_MAX: usize = 64;

/// Addresses in each list of `[portal]`.
pub const PORTAL_ADDRESSES_MAX: usize = 16;

/// Bytes of `portal.title` and of `portal.contact`.
pub const PORTAL_TEXT_LENGTH_MAX: usize = 200;

/// The shortest `portal.lifetime` in seconds.
pub const PORTAL_LIFETIME_SECONDS_MIN: u32 = 60;

/// The longest `portal.lifetime` in seconds: ten years.
pub const PORTAL_LIFETIME_SECONDS_MAX: u32 = 3660 * 24 * 60 * 60;

/// Default of `portal.title`.
pub const PORTAL_TITLE_DEFAULT: &str = "Network access";

/// Bytes of the path of a Unix socket; the kernel's limit without the final zero byte.
pub const UNIX_PATH_LENGTH_MAX: usize = 107;

/// Bytes of any other path.
pub const PATH_LENGTH_MAX: usize = 4095;

/// Entries of `[[api.token]]`.
pub const API_TOKENS_MAX: usize = 64;

/// What the token of `api.token-file` is called.
pub const OPERATOR_NAME: &str = "operator";

/// Bytes of a token file.
pub const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// The fewest characters of a token.
pub const TOKEN_LENGTH_MIN: usize = 16;

/// Entries of `[[webhook]]`.
pub const WEBHOOKS_MAX: usize = 32;

/// The shortest `webhook.timeout` in seconds.
pub const WEBHOOK_TIMEOUT_SECONDS_MIN: u32 = 1;

/// The longest `webhook.timeout` in seconds.
pub const WEBHOOK_TIMEOUT_SECONDS_MAX: u32 = 60;

/// Default of `webhook.timeout` in seconds.
pub const WEBHOOK_TIMEOUT_SECONDS_DEFAULT: u32 = 10;

/// Default of `webhook.ca-file`: where Debian's package ca-certificates puts them.
pub const CA_FILE_DEFAULT: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The smallest `events.retention` in bytes.
pub const EVENT_RETENTION_BYTES_MIN: u64 = 1024 * 1024;

/// The largest `events.retention` in bytes.
pub const EVENT_RETENTION_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Default of `events.retention` in bytes.
pub const EVENT_RETENTION_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Events that are kept at most, whatever their size.
pub const EVENTS_RETAINED_MAX: u64 = 1_000_000;

/// The largest `history.keep-days`: a hundred years.
pub const HISTORY_DAYS_MAX: u32 = 36_525;

/// Default of `history.keep-days`: half a year, which an abuse desk can live with.
pub const HISTORY_DAYS_DEFAULT: u32 = 180;

/// The smallest `history.max-size` in bytes.
pub const HISTORY_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// The largest `history.max-size` in bytes.
pub const HISTORY_BYTES_MAX: u64 = 1024 * 1024 * 1024 * 1024;

/// Default of `history.max-size` in bytes: about a hundred million intervals.
pub const HISTORY_BYTES_DEFAULT: u64 = 16 * 1024 * 1024 * 1024;

/// The shortest `events.expiring-ahead` in seconds.
pub const EXPIRING_AHEAD_SECONDS_MIN: u32 = 60;

/// Default of `events.expiring-ahead` in seconds.
pub const EXPIRING_AHEAD_SECONDS_DEFAULT: u32 = 24 * 60 * 60;

/// Default of `events.pool-low` in percent.
pub const POOL_LOW_PERCENT_DEFAULT: u8 = 10;

/// The largest `events.pool-low` in percent.
pub const POOL_LOW_PERCENT_MAX: u8 = 90;

/// The smallest `server.receive-buffer` in bytes.
pub const RECEIVE_BUFFER_BYTES_MIN: u64 = 64 * 1024;

/// The largest `server.receive-buffer` in bytes.
pub const RECEIVE_BUFFER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The shortest `leases.decline-quarantine` in seconds.
pub const DECLINE_QUARANTINE_SECONDS_MIN: u32 = 1;

/// The shortest lifetime of a registration in seconds.
pub const REGISTRATION_LIFETIME_SECONDS_MIN: u32 = 60;

/// The longest lifetime of a registration in seconds: ten years.
pub const REGISTRATION_LIFETIME_SECONDS_MAX: u32 = 3660 * 24 * 60 * 60;

/// The shortest `dns.lie-ttl` in seconds: below it a stub asks again for every connection.
pub const LIE_TTL_SECONDS_MIN: u32 = 5;

/// The longest `dns.lie-ttl` in seconds: beyond it a host is lied to after it was registered.
pub const LIE_TTL_SECONDS_MAX: u32 = 15;

/// Default of `server.state-dir`.
pub const STATE_DIR_DEFAULT: &str = "/var/lib/vestibule";

/// Default of `server.receive-buffer` in bytes.
pub const RECEIVE_BUFFER_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;

/// Default of `leases.lifetime` in seconds.
pub const LIFETIME_SECONDS_DEFAULT: u32 = 60 * 60;

/// Default of `leases.lifetime-unregistered` in seconds.
pub const LIFETIME_UNREGISTERED_SECONDS_DEFAULT: u32 = 2 * 60;

/// Default of `leases.decline-quarantine` in seconds (RFC 2131 section 4.3.3).
pub const DECLINE_QUARANTINE_SECONDS_DEFAULT: u32 = 24 * 60 * 60;

/// Default of `leases.cache-threshold` in percent: that of ISC dhcpd and of Kea.
pub const CACHE_THRESHOLD_PERCENT_DEFAULT: u8 = 25;

/// The largest `leases.cache-threshold` in percent: from half of a lease on, hosts renew it to have it
/// made longer (RFC 2131 section 4.4.5).
pub const CACHE_THRESHOLD_PERCENT_MAX: u8 = 49;

/// Default of `dns.lie-ttl` in seconds.
pub const LIE_TTL_SECONDS_DEFAULT: u32 = 10;

/// Default of `api.listen`.
pub const API_LISTEN_DEFAULT: &str = "127.0.0.1:8067";

/// Default of `api.token-file`.
pub const TOKEN_FILE_DEFAULT: &str = "/etc/vestibule/token";

/// The port of DNS, where an address is given without one.
pub const DNS_PORT: u16 = 53;

/// Bytes of `failover.name`.
pub const RELATIONSHIP_LENGTH_MAX: usize = 255;

/// Default of `failover.port` and `failover.peer-port`: what IANA has for DHCP failover, and ISC dhcpd.
pub const FAILOVER_PORT_DEFAULT: u16 = 647;

/// The shortest `failover.mclt` in seconds. Below it the pair does nothing but tell each other of
/// renewals.
pub const MCLT_SECONDS_MIN: u32 = 5;

/// The longest `failover.mclt` in seconds: how long a server that lost its store waits.
pub const MCLT_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// The maximum client lead time in seconds that a secondary goes by until it has met its primary. It holds
/// for nothing then: a server that never met its partner serves nobody.
pub const MCLT_SECONDS_UNMET: u32 = 60 * 60;

/// Default of `failover.split`: half of the clients each.
pub const SPLIT_DEFAULT: u16 = 128;

/// The largest `failover.split`: all clients are the primary's.
pub const SPLIT_MAX: u32 = 256;

/// The largest `failover.max-unacked-updates`.
pub const MAX_UNACKED_UPDATES_MAX: u32 = vestibule_core::failover::session::UNACKNOWLEDGED_MAX;

/// Default of `failover.max-unacked-updates`: ISC dhcpd's.
pub const MAX_UNACKED_UPDATES_DEFAULT: u32 = 100;

/// The shortest `failover.max-response-delay` in seconds: with less, ISC dhcpd floods the link.
pub const MAX_RESPONSE_DELAY_SECONDS_MIN: u32 =
    vestibule_core::failover::message::RECEIVE_TIMER_SECONDS_MIN;

/// The longest `failover.max-response-delay` in seconds.
pub const MAX_RESPONSE_DELAY_SECONDS_MAX: u32 = 60 * 60;

/// Default of `failover.max-response-delay` in seconds: ISC dhcpd's.
pub const MAX_RESPONSE_DELAY_SECONDS_DEFAULT: u32 = 20;

/// The largest `failover.load-balance-max-seconds`: what clients can count to in `secs`.
pub const LOAD_BALANCE_SECONDS_LIMIT: u32 = 65_535;

/// The shortest `failover.auto-partner-down` in seconds.
pub const AUTO_PARTNER_DOWN_SECONDS_MIN: u32 = 1;

/// Default of `failover.max-lease-misbalance` in percent: ISC dhcpd's.
pub const MAX_LEASE_MISBALANCE_PERCENT_DEFAULT: u8 = 15;

/// Default of `failover.max-lease-ownership` in percent: ISC dhcpd's.
pub const MAX_LEASE_OWNERSHIP_PERCENT_DEFAULT: u8 = 10;

/// Default of `failover.min-balance` in seconds: ISC dhcpd's.
pub const MIN_BALANCE_SECONDS_DEFAULT: u32 = 60;

/// Default of `failover.max-balance` in seconds: ISC dhcpd's.
pub const MAX_BALANCE_SECONDS_DEFAULT: u32 = 3600;

/// The longest `failover.min-balance` and `failover.max-balance` in seconds.
pub const BALANCE_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// Entries of `[[agent.server]]`.
pub const AGENT_SERVERS_MAX: usize = 2;

/// Default of `agent.status-listen`.
pub const AGENT_STATUS_LISTEN_DEFAULT: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8069));

/// Default of `agent.silent-after` in seconds.
pub const SILENT_AFTER_SECONDS_DEFAULT: u32 = 60;

/// The shortest `agent.silent-after` in seconds: a server says something each second.
pub const SILENT_AFTER_SECONDS_MIN: u32 = 5;

/// The longest `agent.silent-after` in seconds.
pub const SILENT_AFTER_SECONDS_MAX: u32 = 24 * 60 * 60;
