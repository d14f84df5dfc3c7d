//! The gate on this host, as the daemon uses it: made from the configuration.

use crate::commit::Enforcement;
use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_config::{Captive, GardenEntry, GateMode, Vestibule};
use vestibule_core::{GateChange, Side};
use vestibule_firewall::{FirewallError, Garden, Gate, Ruleset, TABLE_DEFAULT, Watch};

/// The kernel sets as the barrier changes them.
pub(super) struct LocalGate(Gate);

impl Enforcement for LocalGate {
    type Error = FirewallError;

    fn apply(&mut self, changes: &[GateChange]) -> Result<(), FirewallError> {
        self.0.apply(changes)
    }

    fn replace(&mut self, elements: &[(Ipv4Addr, Side, u64)]) -> Result<(), FirewallError> {
        self.0.replace(elements)
    }
}

/// What the table is to say, here or where somebody follows the feed; `None` if the gate is off.
pub(super) fn plan(vestibule: &Vestibule) -> Option<Ruleset> {
    let gate = &vestibule.gate;
    let (GateMode::Local | GateMode::Feed, Some(lying_resolver), Some(redirect), Some(portal)) =
        (gate.mode, gate.lying_resolver, gate.redirect, &gate.portal)
    else {
        return None;
    };
    let gated = vestibule.core.networks.iter().filter(|network| network.gated);
    let gated = gated.filter(|network| network.gate_by.sets);
    let subnets = gated.flat_map(|network| &network.subnets);
    let mut addresses: u64 = 0;
    let mut gated_prefixes = Vec::new();
    for subnet in subnets {
        gated_prefixes.push(subnet.prefix);
        addresses += subnet.all_pools().map(|(_, pool)| pool.size()).sum::<u64>();
        addresses += subnet.reservations.len() as u64;
    }
    Some(Ruleset {
        table: TABLE_DEFAULT.to_owned(),
        gated_prefixes,
        gated_prefixes_ipv6: vestibule.gated_ipv6.prefixes.clone(),
        portal: portal.address,
        portal_redirected: !is_on_port_80(&portal.url),
        garden_prefixes: gate
            .walled_garden
            .iter()
            .filter_map(|entry| match entry {
                GardenEntry::Prefix(prefix) => Some(*prefix),
                GardenEntry::Name(_) | GardenEntry::Below(_) => None,
            })
            .collect(),
        lying_resolver,
        redirect,
        captive: vestibule.captive.as_ref().and_then(for_hosts),
        server_addresses: vestibule.server.relay_listen.clone(),
        elements_max: u32::try_from(addresses.max(1)).unwrap_or(u32::MAX),
    })
}

/// Whether a checked URL is of plain HTTP on port 80: then that port is the page's own, and has to lead
/// requests for other names to it.
fn is_on_port_80(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let port = match authority.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((_, port)) if !port.ends_with(']') => port,
        _ => "80",
    };
    scheme.eq_ignore_ascii_case("http") && port == "80"
}

/// Where the captive portal API is answered for hosts themselves. Without TLS it is for a proxy, which
/// is no host of a gated network; and nobody else reaches a loopback address.
fn for_hosts(captive: &Captive) -> Option<SocketAddrV4> {
    captive.listen.filter(|listen| captive.tls.is_some() && !listen.ip().is_loopback())
}

/// What looks after a gate beside the barrier.
pub(super) struct Beside {
    /// Tells of changes by others.
    pub(super) watch: Watch,
    /// The way for addresses of the garden.
    pub(super) garden: Garden,
}

/// Makes the table with these contents.
pub(super) fn open(
    plan: Option<Ruleset>,
    elements: &[(Ipv4Addr, Side, u64)],
) -> Result<(Option<LocalGate>, Option<Beside>), FirewallError> {
    let Some(ruleset) = plan else { return Ok((None, None)) };
    let ruleset = with_room_for(ruleset, elements.len());
    let (gate, mut watch) = Gate::open_watched(ruleset, elements)?;
    let garden = gate.garden()?;
    watch.ignore(&garden)?;
    Ok((Some(LocalGate(gate)), Some(Beside { watch, garden })))
}

/// Leases outlive the pools that they came from: after a pool was made smaller, those of the old pool
/// and those of the new one are in the sets at once.
fn with_room_for(ruleset: Ruleset, loaded: usize) -> Ruleset {
    let loaded = u32::try_from(loaded).unwrap_or(u32::MAX);
    // Half of the range is the most that a ruleset takes.
    let elements_max = ruleset.elements_max.saturating_add(loaded).min(u32::MAX / 2);
    Ruleset { elements_max, ..ruleset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_80_is_the_pages_own_only_if_its_url_says_so() {
        for url in
            ["http://a.example/", "HTTP://a.example", "http://a.example:80/x", "http://[::1]/?a:b"]
        {
            assert!(is_on_port_80(url), "{url}");
        }
        for url in [
            "https://a.example/",
            "http://a.example:8080/",
            "https://a.example:80/",
            "http://[::1]:81",
        ] {
            assert!(!is_on_port_80(url), "{url}");
        }
    }

    #[test]
    fn leases_of_a_pool_that_was_made_smaller_still_have_room() {
        let service = "10.0.0.54:53".parse().unwrap();
        let ruleset = Ruleset {
            table: TABLE_DEFAULT.to_owned(),
            gated_prefixes: Vec::new(),
            gated_prefixes_ipv6: Vec::new(),
            portal: Ipv4Addr::new(10, 0, 0, 80),
            portal_redirected: false,
            garden_prefixes: Vec::new(),
            lying_resolver: service,
            redirect: service,
            captive: None,
            server_addresses: Vec::new(),
            elements_max: 6,
        };
        assert_eq!(with_room_for(ruleset.clone(), 11).elements_max, 17);
        assert_eq!(with_room_for(ruleset, usize::MAX).elements_max, u32::MAX / 2);
    }
}
