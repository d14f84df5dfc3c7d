//! The checked configuration: what the daemons work by.

use crate::agent::Agent;
use crate::agent::AgentServer;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use vestibule_core::Network;
use vestibule_core::failover::Role;

/// The whole file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vestibule {
    /// `[server]`
    pub server: Server,
    /// `[leases]` and `[[network]]`: what the core works by.
    pub core: vestibule_core::Configuration,
    /// `[[option]]`: the options that the file gives names of its own.
    pub option_definitions: Vec<crate::OptionDefinition>,
    /// `network.ipv6-prefixes` of gated networks.
    pub gated_ipv6: GatedIpv6,
    /// `[gate]`
    pub gate: Gate,
    /// `[captive]`: how devices are told that they are captive.
    pub captive: Option<Captive>,
    /// `[portal]`: the registration page that the server shows itself; `None`: it is the site's own.
    pub builtin_portal: Option<BuiltinPortal>,
    /// `[dns]`; needed by `vestibule-dns` only.
    pub dns: Option<Dns>,
    /// `[api]`
    pub api: Api,
    /// `[events]`
    pub events: Events,
    /// `[history]`
    pub history: History,
    /// `[[webhook]]`
    pub webhooks: Vec<Webhook>,
    /// `[failover]`; `None`: this server is alone.
    pub failover: Option<Failover>,
    /// `[agent]`; for `vestibule-firewall` only.
    pub agent: Option<Agent>,
}

/// What is said of IPv6 in gated networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatedIpv6 {
    /// The prefixes of all of them: the gate refuses them, but for those of the next list.
    pub prefixes: Vec<Ipv6Network>,
    /// Those of networks whose `ipv6` is `"by-hardware-address"`.
    pub by_hardware: Vec<Ipv6Network>,
    /// The names of those that say nothing of it.
    pub unsaid: Vec<Box<str>>,
}

/// `[server]`: who and where this DHCP server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in logs, in metrics and on pages.
    pub name: Box<str>,
    /// Where journal, snapshots and index live.
    pub state_dir: PathBuf,
    /// Addresses that relays and renewing clients send to.
    pub relay_listen: Vec<Ipv4Addr>,
    /// Directly attached LANs, by interface name.
    pub interfaces: Vec<Box<str>>,
    /// Bytes that the kernel is asked to queue for each DHCP socket.
    pub receive_buffer_bytes: usize,
}

/// Where the gate is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMode {
    /// On this host, by kernel sets.
    Local,
    /// On other hosts, by whoever follows this server's feed.
    Feed,
    /// Nowhere: registrations are kept, but every host has the whole network.
    Off,
}

/// `[gate]`: what unregistered hosts meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Where it is enforced.
    pub mode: GateMode,
    /// Where their DNS is sent; `None` only if the mode is off.
    pub lying_resolver: Option<SocketAddrV4>,
    /// Where their port 80 is sent: the first IPv4 address of `dns.redirect-listen`, or `gate.redirect`;
    /// `None` only if the mode is off.
    pub redirect: Option<SocketAddrV4>,
    /// The registration page; `None` only if the mode is off and there is no `[dns]`.
    pub portal: Option<Portal>,
    /// What they may reach besides the portal.
    pub walled_garden: Vec<GardenEntry>,
    /// Where `vestibule-dns` has `vestibule-dhcpd` open the gate for what names in the garden lead to, a
    /// Unix socket; `None`: names open nothing.
    pub garden_socket: Option<PathBuf>,
}

impl Gate {
    /// Whether anything holds unregistered hosts of a network back.
    #[must_use]
    pub fn holds_back(&self, network: &Network) -> bool {
        let by_sets = network.gate_by.sets && self.mode != GateMode::Off;
        network.gated && (by_sets || network.gate_by.pools)
    }
}

/// The registration page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Its address: what every name resolves to for unregistered hosts.
    pub address: Ipv4Addr,
    /// Its URL: where port 80 is led to. An `http` or `https` URL.
    pub url: Box<str>,
    /// The host name in the URL, in lower case; `None` if it is an address.
    pub host_name: Option<Box<str>>,
}

/// One entry of `gate.walled-garden`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GardenEntry {
    /// A name that is answered truly, in lower case, without a final dot.
    Name(Box<str>),
    /// `*.name`: every name below this one is answered truly, in lower case.
    Below(Box<str>),
    /// Addresses that unregistered hosts may reach.
    Prefix(Ipv4Network),
}

/// `[captive]`: how devices are told that they are captive, besides by their own probes: option 114
/// (RFC 8910) names the API of RFC 8908.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captive {
    /// The API's URL as devices reach it, and the contents of option 114: `https`, at most
    /// [`CAPTIVE_URL_LENGTH_MAX`](crate::limits::CAPTIVE_URL_LENGTH_MAX) bytes.
    pub url: Box<str>,
    /// The host name in the URL, in lower case; `None` if it is an address.
    pub host_name: Option<Box<str>>,
    /// Where the server answers the API and nothing else; `None`: only `api.listen` answers it.
    pub listen: Option<SocketAddrV4>,
    /// What `listen` speaks TLS with; `None`: plain HTTP, for a proxy.
    pub tls: Option<Tls>,
    /// Proxies whose word is taken for who is asking.
    pub trusted_proxies: Vec<IpNetwork>,
    /// The header by which they say it.
    pub proxy_header: ProxyHeader,
    /// Whether option 114 and `user-portal-url` carry a token of the device's lease.
    pub lease_token: bool,
    /// Whether visiting the portal again extends a registration that ends.
    pub can_extend_session: bool,
    /// A page about the place, shown to registered devices.
    pub venue_info_url: Option<Box<str>>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that lead to an authority that devices know.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[portal]` with `mode = "builtin"`: the registration page that the server shows itself, at
/// `gate.portal.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinPortal {
    /// Where it speaks plain HTTP.
    pub listen: Vec<SocketAddr>,
    /// Where it speaks TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// What it speaks TLS with; `Some` if `tls_listen` is not empty.
    pub tls: Option<Tls>,
    /// What stands above the page. Plain text.
    pub title: Box<str>,
    /// Where people find help. Plain text.
    pub contact: Option<Box<str>>,
    /// What people agree to: Markdown if its name ends with `.md`, else plain text.
    pub terms_file: Option<PathBuf>,
    /// The same in languages of the page, each at most once; for any other, `terms_file`.
    pub terms_files: Vec<(Language, PathBuf)>,
    /// The page's languages, the first one for those who read none of them. Not empty.
    pub languages: Vec<Language>,
    /// What people have to say before they are let in.
    pub identify: Identify,
    /// The role of those who are let in.
    pub role: Option<Box<str>>,
    /// How long a registration lasts, in seconds; `None`: as the role or the configuration says.
    pub lifetime_seconds: Option<u32>,
    /// Whether people may extend a registration of this page before it ends.
    pub extendable: bool,
    /// Where the page leads on once the device is registered.
    pub continue_url: Option<Box<str>>,
}

/// What people have to say at the built-in portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identify {
    /// That they agree to the terms.
    Terms,
    /// Their name, which nobody checks.
    Name,
    /// The code of a voucher.
    Voucher,
}

/// A language of the built-in portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English
    English,
    /// German
    German,
    /// French
    French,
    /// Spanish
    Spanish,
    /// Chinese, simplified
    Chinese,
    /// Arabic
    Arabic,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::English, Self::German, Self::French, Self::Spanish, Self::Chinese, Self::Arabic];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Chinese => "zh",
            Self::Arabic => "ar",
        }
    }
}

/// The header by which a proxy says for whom it asks. One, because a proxy passes on every other one
/// as a stranger wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// `[dns]`: the lying resolver and the redirect beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Where it answers DNS, UDP and TCP. Not empty.
    pub listen: Vec<SocketAddr>,
    /// Where it answers HTTP with 302 to the portal. May be empty.
    pub redirect_listen: Vec<SocketAddr>,
    /// The true resolvers, for the portal's name and the walled garden. Not empty.
    pub upstream: Vec<SocketAddr>,
    /// Seconds that a lie may be cached: 5 to 15.
    pub lie_ttl_seconds: u32,
    /// Where it answers Prometheus; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiListen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Where the API is answered by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTls {
    /// The TCP address.
    pub listen: SocketAddr,
    /// What it speaks TLS with.
    pub files: Tls,
}

/// As it is written in the file.
impl fmt::Display for GateMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Feed => "feed",
            Self::Off => "off",
        })
    }
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where it listens.
    pub listen: ApiListen,
    /// The file that holds the operator's token, read by [`Api::read_token`] when a daemon starts.
    pub token_file: PathBuf,
    /// `[[api.token]]`: further tokens, no two with one name.
    pub tokens: Vec<ApiToken>,
    /// Where it is answered by TLS too.
    pub tls: Option<ApiTls>,
}

/// `[[api.token]]`: one caller's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// What its holder is called in the log.
    pub name: Box<str>,
    /// The file that holds it.
    pub file: PathBuf,
    /// What it lets in to.
    pub scope: Scope,
}

/// What a token lets in to; `docs/api.md` says it route by route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A registration page: look up a host, register it, end its registration.
    Portal,
    /// Who enforces the gate elsewhere: the gate feed.
    Gate,
    /// The other half of a failover pair: what is exchanged with it.
    Partner,
    /// Everything that changes nothing.
    Reader,
    /// Everything.
    Operator,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] =
        [Self::Portal, Self::Gate, Self::Partner, Self::Reader, Self::Operator];

    /// Its name in the file, in problems and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Gate => "gate",
            Self::Partner => "partner",
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

/// `[events]`: what others are told, and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// Bytes of events that are kept on disk.
    pub retention_bytes: u64,
    /// Seconds before its end at which a registration is said to be expiring.
    pub expiring_ahead_seconds: u32,
    /// The percentage of free addresses at or below which a network's pools are low.
    pub pool_low_percent: u8,
}

/// `[history]`: who held which address, for how long that is kept, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Days that an interval is kept after its end; 0: there is no history.
    pub keep_days: u32,
    /// Days that it is kept after its end who answered for a device; at most `keep_days`.
    pub owner_keep_days: u32,
    /// What is not kept at all.
    pub drop: Vec<HistoryField>,
    /// Bytes that the history takes on disk at most, indexes not counted.
    pub max_bytes: u64,
}

/// A field that the history can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryField {
    /// Option 12: what the client calls itself.
    HostName,
    /// Option 61.
    ClientId,
    /// Option 82: circuit ID and remote ID.
    Circuit,
    /// The relay.
    Relay,
    /// Who answered for the device.
    Owner,
    /// The role of the device.
    Role,
}

impl HistoryField {
    /// Every field.
    pub const ALL: [Self; 6] =
        [Self::HostName, Self::ClientId, Self::Circuit, Self::Relay, Self::Owner, Self::Role];

    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostName => "host-name",
            Self::ClientId => "client-id",
            Self::Circuit => "circuit",
            Self::Relay => "relay",
            Self::Owner => "owner",
            Self::Role => "role",
        }
    }
}

/// `[[webhook]]`: where events are brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// What it is called; no two have one name.
    pub name: Box<str>,
    /// Where deliveries are sent: http or https.
    pub url: Box<str>,
    /// The file that holds what deliveries are signed with, read by [`Webhook::read_secret`].
    pub secret_file: PathBuf,
    /// The kinds of events that it is sent; empty: all.
    pub kinds: Vec<vestibule_core::EventKind>,
    /// Seconds that a delivery may take.
    pub timeout_seconds: u32,
    /// The certificates of the authorities that are trusted, in PEM.
    pub ca_file: PathBuf,
}

/// `[failover]`: the partner, and how the pair shares its work. Names and meanings are ISC dhcpd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// What the pair is called on both servers: 1 to
    /// [`RELATIONSHIP_LENGTH_MAX`](crate::limits::RELATIONSHIP_LENGTH_MAX) bytes of ASCII.
    pub relationship: Box<str>,
    /// Which half this server is.
    pub role: Role,
    /// Where it listens, and from which address it dials.
    pub address: SocketAddrV4,
    /// Where the partner listens, and whom alone it lets in.
    pub peer: SocketAddrV4,
    /// The maximum client lead time in seconds; `Some` for a primary only.
    pub mclt_seconds: Option<u32>,
    /// How many of the 256 buckets the primary serves. A secondary is told by its primary.
    pub split: u16,
    /// How many updates the partner may send before the first of them was acknowledged.
    pub unacknowledged_max: u32,
    /// After how many seconds without a message the connection is given up.
    pub receive_timer_seconds: u32,
    /// Up to which `secs` a DISCOVER is left to the server of its bucket; 0: never.
    pub load_balance_seconds_max: u16,
    /// After how many seconds without contact the partner is taken to be down; `None`: only an operator
    /// says so.
    pub auto_partner_down_seconds: Option<u32>,
    /// Above which difference of free addresses the pools are out of balance, in percent of them.
    pub misbalance_percent: u8,
    /// How far an address may go to its last client's server, in percent of the free ones.
    pub ownership_percent: u8,
    /// The shortest time between two sharings of the pools, in seconds.
    pub min_balance_seconds: u32,
    /// The longest, in seconds. At least as long.
    pub max_balance_seconds: u32,
    /// The partner's API, where its registrations and vouchers are followed; `None`: they are not exchanged.
    pub registrations: Option<AgentServer>,
}

/// As it is written in the file.
impl fmt::Display for GardenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Prefix(prefix) if prefix.prefix() == 32 => prefix.ip().fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

/// As it is written in the file.
impl fmt::Display for ApiListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => socket.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is written in the file.
impl fmt::Display for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        })
    }
}

/// As it is written in the file.
impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// As it is written in the file.
impl fmt::Display for Identify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terms => "terms",
            Self::Name => "name",
            Self::Voucher => "voucher",
        })
    }
}
