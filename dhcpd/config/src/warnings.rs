//! What is legal but dubious in a configuration, for the operator to think about.
//!
//! A warning never stops a server: every setting here has a site that means it. It promises whole
//! sentences that name the network, subnet or key that they are about.

use crate::captive::CAPTIVE_PORTAL;
use crate::checked::{
    Api, ApiListen, BuiltinPortal, Captive, Failover, GardenEntry, Gate, GateMode, Identify,
    Portal, Vestibule,
};
use crate::classes::{resolvers_of, serves_unregistered};
use crate::option_table::DOMAIN_NAME_SERVERS;
use crate::probes::Probes;
use crate::value::duration_in_words;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use vestibule_core::options::code;
use vestibule_core::{Class, Network, Subnet};

/// A code that only warnings look into; a test holds it to the table of names.
const CLASSLESS_STATIC_ROUTE: u8 = 121;

/// Seconds of `leases.lifetime-unregistered` beyond which a gate by pools is slow.
const LIFETIME_UNREGISTERED_LONG_SECONDS: u32 = 600;

/// Prefixes of the walled garden that are wider than this are warned of.
const GARDEN_PREFIX_LENGTH_WIDE: u8 = 8;

/// What an operator should think about, one sentence each, in the order of the file.
#[must_use]
pub fn warnings(vestibule: &Vestibule) -> Vec<String> {
    let mut warnings = Vec::new();
    let core = &vestibule.core;
    let gated = core.networks.iter().any(|network| network.gated);
    let by_sets = |network: &Network| network.gated && network.gate_by.sets;
    let by_sets = core.networks.iter().any(by_sets);
    if gated && core.lifetime_unregistered_seconds > core.lifetime_seconds {
        warnings.push(
            "leases.lifetime-unregistered is longer than leases.lifetime: unregistered hosts keep \
             their addresses longer than registered ones"
                .to_owned(),
        );
    }
    let fixed = fixed_addresses(vestibule);
    for network in &core.networks {
        for subnet in &network.subnets {
            warn_of_subnet(&mut warnings, network, subnet, &fixed);
        }
    }
    for network in core.networks.iter().filter(|network| network.gated && network.gate_by.pools) {
        warn_of_pools(&mut warnings, vestibule, network);
    }
    match vestibule.gate.mode {
        GateMode::Off => warn_of_no_gate(&mut warnings, vestibule),
        GateMode::Local | GateMode::Feed if by_sets => warn_of_gate(&mut warnings, vestibule),
        mode @ (GateMode::Local | GateMode::Feed) => warnings.push(format!(
            "gate.mode is \"{mode}\", but no network is gated by the kernel sets: no host will ever meet \
             the gate"
        )),
    }
    warn_of_garden(&mut warnings, &vestibule.gate);
    if let Some(captive) = &vestibule.captive {
        warn_of_captive(&mut warnings, vestibule, captive);
    }
    if let Some(portal) = &vestibule.builtin_portal {
        warn_of_builtin_portal(&mut warnings, vestibule, portal);
    }
    warn_of_listening(&mut warnings, vestibule);
    if let Some(failover) = &vestibule.failover {
        warn_of_failover(&mut warnings, core.lifetime_seconds, failover);
    }
    warnings
}

fn warn_of_failover(warnings: &mut Vec<String>, lifetime_seconds: u32, failover: &Failover) {
    if failover.load_balance_seconds_max == 0 {
        warnings.push(
            "failover.load-balance-max-seconds is 0, as ISC dhcpd's default: both servers answer every \
             DISCOVER; with 3 they share them out"
                .to_owned(),
        );
    }
    if failover.mclt_seconds.is_some_and(|mclt| mclt > lifetime_seconds) {
        warnings.push(
            "failover.mclt is longer than leases.lifetime: it limits no lease, and only makes a server \
             that lost its store wait longer"
                .to_owned(),
        );
    }
    if failover.auto_partner_down_seconds.is_some() {
        warnings.push(
            "failover.auto-partner-down takes a cut link for a dead partner, which may be serving: \
             after it both servers give out the same addresses"
                .to_owned(),
        );
    }
}

/// Addresses that this host or the network's own servers have, each with what it is.
fn fixed_addresses(vestibule: &Vestibule) -> Vec<(Ipv4Addr, &'static str)> {
    let gate = &vestibule.gate;
    let mut fixed: Vec<(Ipv4Addr, &'static str)> = vestibule
        .server
        .relay_listen
        .iter()
        .map(|address| (*address, "server.relay-listen"))
        .collect();
    fixed.extend(gate.lying_resolver.map(|socket| (*socket.ip(), "gate.lying-resolver")));
    fixed.extend(gate.redirect.map(|socket| (*socket.ip(), "gate.redirect")));
    fixed.extend(gate.portal.as_ref().map(|portal| (portal.address, "gate.portal")));
    // One address often has several of these tasks: one warning is enough.
    let mut seen = BTreeSet::new();
    fixed.retain(|(address, _)| seen.insert(*address));
    fixed
}

fn warn_of_subnet(
    warnings: &mut Vec<String>,
    network: &Network,
    subnet: &Subnet,
    fixed: &[(Ipv4Addr, &'static str)],
) {
    let place = format!("subnet {} of network {}", subnet.prefix, network.name);
    let has_pools = subnet.all_pools().next().is_some();
    if !has_pools && subnet.reservations.is_empty() {
        warnings
            .push(format!("{place} has neither pools nor reservations: nobody gets an address"));
    }
    let contents = |code: u8| subnet.options.get(code).or_else(|| network.options.get(code));
    let routes = contents(CLASSLESS_STATIC_ROUTE);
    // A route of length 0 is a default route; with option 121 clients ignore routers (RFC 3442).
    let default_route = routes.is_some_and(has_default_route);
    match contents(code::ROUTERS) {
        None if !default_route => warnings.push(format!(
            "{place} gives no routers: its hosts reach nothing beyond their own link"
        )),
        Some(_) if routes.is_some() && !default_route => warnings.push(format!(
            "{place} gives classless-static-route without a route for 0.0.0.0/0: clients that take \
             it ignore routers (RFC 3442) and have no default route"
        )),
        _ => {}
    }
    if contents(DOMAIN_NAME_SERVERS).is_none()
        && resolvers_of(network, subnet, Class::Registered).is_none()
    {
        warnings.push(format!("{place} gives no domain-name-servers: its hosts find no names"));
    }
    if contents(code::HOST_NAME).is_some() {
        warnings.push(format!("{place} gives the same host-name to every host"));
    }
    let told = contents(CAPTIVE_PORTAL);
    if told.is_some_and(|url| !url.starts_with(b"https:") && !url.starts_with(b"urn:")) {
        warnings.push(format!(
            "{place} gives a captive-portal that is not https: clients ignore it (RFC 8908 section 4)"
        ));
    }
    let (routers, _) = contents(code::ROUTERS).unwrap_or_default().as_chunks::<4>();
    let routers = routers.iter().map(|octets| (Ipv4Addr::from(*octets), "its router"));
    let reserved: BTreeSet<Ipv4Addr> =
        subnet.reservations.iter().map(|reservation| reservation.address).collect();
    for (address, what) in fixed.iter().copied().chain(routers) {
        let pooled = subnet.all_pools().any(|(_, pool)| pool.contains(address));
        if pooled && !reserved.contains(&address) {
            warnings.push(format!(
                "{place} has {address} ({what}) in a pool: it may be given to a client as well"
            ));
        }
    }
}

/// Warns of pools and options that hold nobody back, or too long.
fn warn_of_pools(warnings: &mut Vec<String>, vestibule: &Vestibule, network: &Network) {
    let name = &network.name;
    let lifetime = vestibule.core.lifetime_unregistered_seconds;
    if lifetime > LIFETIME_UNREGISTERED_LONG_SECONDS {
        warnings.push(format!(
            "network {name} is gated by pools, and leases.lifetime-unregistered is {}: a host that has \
             registered waits for half of that until it is let out",
            duration_in_words(lifetime)
        ));
    }
    if network.gate_by.sets {
        return;
    }
    for subnet in network.subnets.iter().filter(|subnet| serves_unregistered(subnet)) {
        let Some(resolvers) = resolvers_of(network, subnet, Class::Unregistered) else { continue };
        let true_ones = resolvers_of(network, subnet, Class::Registered)
            .or_else(|| subnet.options.get(DOMAIN_NAME_SERVERS))
            .or_else(|| network.options.get(DOMAIN_NAME_SERVERS));
        let place = format!("subnet {} of network {name}", subnet.prefix);
        if true_ones == Some(resolvers) {
            warnings.push(format!(
                "{place} gives unregistered hosts the resolvers of registered ones: nothing but a filter \
                 elsewhere, by the addresses of its pools, holds them back"
            ));
        }
        let (resolvers, _) = resolvers.as_chunks::<4>();
        let listen = vestibule.dns.as_ref().map(|dns| dns.listen.as_slice()).unwrap_or_default();
        let lies = |address: Ipv4Addr| {
            let same = |socket: &&SocketAddr| {
                socket.ip() == IpAddr::V4(address) || socket.ip().is_unspecified()
            };
            listen.iter().any(|socket| same(&socket))
        };
        let other = resolvers.iter().map(|octets| Ipv4Addr::from(*octets)).find(|a| !lies(*a));
        if let Some(other) = other.filter(|_| vestibule.dns.is_some()) {
            warnings.push(format!(
                "{place} gives unregistered hosts the resolver {other}, which is not in dns.listen: \
                 something else must lie there"
            ));
        }
    }
}

fn warn_of_no_gate(warnings: &mut Vec<String>, vestibule: &Vestibule) {
    let gated = vestibule.core.networks.iter().filter(|network| network.gated);
    for network in gated.filter(|network| network.gate_by.sets) {
        if network.gate_by.pools {
            warnings.push(format!(
                "network {} is gated by \"sets\" too, but gate.mode is \"off\": only its pools and options \
                 hold unregistered hosts back",
                network.name
            ));
            continue;
        }
        warnings.push(format!(
            "network {} is gated, but gate.mode is \"off\": unregistered hosts get short leases and \
             meet no gate",
            network.name
        ));
    }
}

fn warn_of_gate(warnings: &mut Vec<String>, vestibule: &Vestibule) {
    let gate = &vestibule.gate;
    for network in &vestibule.gated_ipv6.unsaid {
        warnings.push(format!(
            "the gated network {network} does not say whether it has IPv6, and hosts pass by the gate \
             with what it has: list its ipv6-prefixes, which are then refused, or [] if there are none"
        ));
    }
    let listen = vestibule.dns.as_ref().map(|dns| dns.listen.as_slice());
    warn_of_target(warnings, "gate.lying-resolver", gate.lying_resolver, "dns.listen", listen);
    let listen = vestibule.dns.as_ref().map(|dns| dns.redirect_listen.as_slice());
    warn_of_target(warnings, "gate.redirect", gate.redirect, "dns.redirect-listen", listen);
    if let Some(portal) = &gate.portal {
        warn_of_portal(warnings, portal);
    }
    warn_of_gated_garden(warnings, vestibule);
    if gate.mode == GateMode::Feed && !is_reachable(&vestibule.api) {
        warnings.push(
            "gate.mode is \"feed\", but the API is answered on this host only: who follows the feed on \
             another host needs api.tls-listen"
                .to_owned(),
        );
    }
}

/// Whether another host can ask the API.
fn is_reachable(api: &Api) -> bool {
    let plain = match &api.listen {
        ApiListen::Tcp(socket) => Some(*socket),
        ApiListen::Unix(_) => None,
    };
    let mut sockets = api.tls.iter().map(|tls| tls.listen).chain(plain);
    sockets.any(|socket| !socket.ip().is_loopback())
}

/// Warns of a garden in which gated hosts are: the gate lets unregistered hosts through to them.
fn warn_of_gated_garden(warnings: &mut Vec<String>, vestibule: &Vestibule) {
    for entry in &vestibule.gate.walled_garden {
        let GardenEntry::Prefix(garden) = entry else { continue };
        let gated = vestibule.core.networks.iter().filter(|network| network.gated);
        let gated = gated.filter(|network| network.gate_by.sets);
        let overlap = gated
            .flat_map(|network| network.subnets.iter().map(move |subnet| (network, subnet)))
            .find(|(_, Subnet { prefix, .. })| {
                // Of two prefixes that overlap, one contains the other.
                garden.contains(prefix.network()) || prefix.contains(garden.network())
            });
        if let Some((network, subnet)) = overlap {
            warnings.push(format!(
                "gate.walled-garden has {garden}, and subnet {} of the gated network {} overlaps it: \
                 unregistered hosts reach registered ones there, and can go on through them",
                subnet.prefix, network.name
            ));
        }
    }
}

/// Warns if something else than `vestibule-dns` has to answer where the gate sends hosts.
fn warn_of_target(
    warnings: &mut Vec<String>,
    key: &str,
    target: Option<SocketAddrV4>,
    listen_key: &str,
    listen: Option<&[SocketAddr]>,
) {
    let Some(target) = target else { return };
    if target.ip().is_loopback() {
        warnings.push(format!(
            "{key} is {target}: the kernel leads no host to a loopback address unless \
             net.ipv4.conf.*.route_localnet is set; give an address of an interface"
        ));
    }
    let Some(listen) = listen else {
        warnings.push(format!("there is no [dns]: something else must answer at {key} {target}"));
        return;
    };
    let answers = |socket: &SocketAddr| {
        let same = socket.ip() == IpAddr::V4(*target.ip()) || socket.ip().is_unspecified();
        same && socket.port() == target.port()
    };
    if !listen.iter().any(answers) {
        warnings.push(format!(
            "{key} is {target}, which is not in {listen_key}: something else must answer there"
        ));
    }
}

fn warn_of_portal(warnings: &mut Vec<String>, portal: &Portal) {
    let address = portal.address.to_string();
    let host = portal.url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', '?', '#', ':']).next().unwrap_or_default();
    if portal.host_name.is_none() && host != address {
        warnings.push(format!(
            "gate.portal: the URL {} leads to another host than the address {address}; unregistered \
             hosts reach only the address",
            portal.url
        ));
    }
}

fn warn_of_garden(warnings: &mut Vec<String>, gate: &Gate) {
    if gate.mode == GateMode::Off {
        return;
    }
    let portal_name = gate.portal.as_ref().and_then(|portal| portal.host_name.as_deref());
    let other = gate.walled_garden.iter().find(|entry| match entry {
        GardenEntry::Name(name) => Some(name.as_ref()) != portal_name,
        GardenEntry::Below(_) => true,
        GardenEntry::Prefix(_) => false,
    });
    if let Some(other) = other
        && gate.mode == GateMode::Feed
    {
        warnings.push(format!(
            "names in gate.walled-garden, such as {other}, are answered truly, but what they lead to is \
             not in the gate feed: add the prefixes that the names lead to"
        ));
    } else if let Some(other) = other
        && gate.garden_socket.is_none()
    {
        warnings.push(format!(
            "names in gate.walled-garden, such as {other}, are answered truly, but unregistered \
             hosts reach only the portal and the addresses in the garden: set gate.garden-socket if \
             vestibule-dns runs on this host, or add the prefixes that the names lead to"
        ));
    }
    let probes = Probes::known();
    let opens = |entry: &GardenEntry, host: &str| match entry {
        GardenEntry::Name(name) => **name == *host,
        GardenEntry::Below(name) => {
            host.strip_suffix(&**name).is_some_and(|rest| rest.ends_with('.'))
        }
        GardenEntry::Prefix(_) => false,
    };
    for entry in &gate.walled_garden {
        if let Some((system, host)) = probes.hosts().find(|(_, host)| opens(entry, host)) {
            warnings.push(format!(
                "gate.walled-garden has {entry}, so {host} is answered truly: devices ({system}) find out \
                 by it whether they are online, and the portal may not open on them"
            ));
        }
        if let GardenEntry::Prefix(prefix) = entry
            && prefix.prefix() < GARDEN_PREFIX_LENGTH_WIDE
        {
            warnings.push(format!(
                "gate.walled-garden has {prefix}: unregistered hosts reach all of it"
            ));
        }
    }
}

fn warn_of_captive(warnings: &mut Vec<String>, vestibule: &Vestibule, captive: &Captive) {
    let networks = vestibule.core.networks.iter();
    let gated: Vec<&Network> =
        networks.filter(|network| vestibule.gate.holds_back(network)).collect();
    if gated.is_empty() {
        warnings.push(
            "there is a [captive], but no gate: nobody is told captive.url, and its API calls nobody \
             captive"
                .to_owned(),
        );
        return;
    }
    if captive.host_name.is_none() {
        warnings.push(format!(
            "captive.url is {}: devices want a name there, for the certificate (RFC 8910 section 2)",
            captive.url
        ));
    }
    let portal = vestibule.gate.portal.as_ref();
    if let Some(portal) = portal.filter(|portal| !portal.url.starts_with("https:")) {
        warnings.push(format!(
            "gate.portal.url is {}, which is not https: devices that learn it from captive.url may \
             ignore it (RFC 8908 section 5)",
            portal.url
        ));
    }
    let other = gated.iter().find_map(|network| {
        let of_subnets =
            network.subnets.iter().filter_map(|subnet| subnet.options.get(CAPTIVE_PORTAL));
        let mut told = network.options.get(CAPTIVE_PORTAL).into_iter().chain(of_subnets);
        told.find(|url| *url != captive.url.as_bytes()).map(|url| (network, url))
    });
    if let Some((network, url)) = other {
        warnings.push(format!(
            "network {} tells its hosts another captive-portal ({}) than captive.url: a device that \
             learns of two may believe neither",
            network.name,
            String::from_utf8_lossy(url)
        ));
    }
}

fn warn_of_builtin_portal(
    warnings: &mut Vec<String>,
    vestibule: &Vestibule,
    portal: &BuiltinPortal,
) {
    let Some(place) = &vestibule.gate.portal else { return };
    let https = place.url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let (key, listen) =
        if https { ("tls-listen", &portal.tls_listen) } else { ("listen", &portal.listen) };
    let is_there = |socket: &SocketAddr| {
        socket.ip() == IpAddr::V4(place.address) || socket.ip().is_unspecified()
    };
    if !listen.iter().any(is_there) {
        warnings.push(format!(
            "portal.{key} does not have {}, which gate.portal names: something has to lead from there \
             to the built-in portal",
            place.address
        ));
    }
    if portal.identify == Identify::Name && portal.lifetime_seconds.is_none() {
        warnings.push(
            "the built-in portal asks for a name that nobody checks, and registers for ever: give \
             portal.lifetime"
                .to_owned(),
        );
    }
    if let ApiListen::Tcp(socket) = vestibule.api.listen
        && (socket.ip() == IpAddr::V4(place.address) || socket.ip().is_unspecified())
        && vestibule.gate.mode == GateMode::Local
    {
        warnings.push(format!(
            "api.listen is {socket}: unregistered hosts reach every port of the portal's address {}, the \
             API's too",
            place.address
        ));
    }
}

fn warn_of_listening(warnings: &mut Vec<String>, vestibule: &Vestibule) {
    let mut ports: Vec<(&str, SocketAddr)> = Vec::new();
    if let Some(dns) = &vestibule.dns {
        ports.extend(dns.listen.iter().map(|socket| ("dns.listen", *socket)));
        ports.extend(dns.redirect_listen.iter().map(|socket| ("dns.redirect-listen", *socket)));
    }
    if let ApiListen::Tcp(socket) = vestibule.api.listen {
        if !socket.ip().is_loopback() {
            warnings.push(format!(
                "api.listen is {socket}: the token crosses the network unencrypted; listen on a Unix \
                 socket or on 127.0.0.1, and let others use api.tls-listen"
            ));
        }
        ports.push(("api.listen", socket));
    }
    ports.extend(vestibule.api.tls.iter().map(|tls| ("api.tls-listen", tls.listen)));
    for (key, socket) in ports.iter().filter(|(_, socket)| socket.port() == 0) {
        warnings.push(format!(
            "{key} has {socket}: port 0 is another port at every start, which is good for tests only"
        ));
    }
}

/// Whether one of the routes of RFC 3442 has a prefix of length 0.
fn has_default_route(contents: &[u8]) -> bool {
    let mut rest = contents;
    while let Some((length, tail)) = rest.split_first() {
        if *length == 0 {
            return true;
        }
        let Some(tail) = tail.get(usize::from(length.div_ceil(8)) + 4..) else { return false };
        rest = tail;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option_table::by_code;

    #[test]
    fn the_codes_are_those_of_the_table() {
        for (code, name) in [
            (DOMAIN_NAME_SERVERS, "domain-name-servers"),
            (CAPTIVE_PORTAL, "captive-portal"),
            (CLASSLESS_STATIC_ROUTE, "classless-static-route"),
        ] {
            assert_eq!(by_code(code).map(|option| option.name), Some(name));
        }
    }

    #[test]
    fn a_default_route_is_found_among_others() {
        assert!(has_default_route(&[8, 10, 192, 0, 2, 1, 0, 192, 0, 2, 1]));
        assert!(!has_default_route(&[8, 10, 192, 0, 2, 1]));
        assert!(!has_default_route(&[24, 10]));
    }
}
