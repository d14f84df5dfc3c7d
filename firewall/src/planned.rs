//! The table that a configuration asks for.

use crate::{Ruleset, TABLE_DEFAULT};
use std::net::SocketAddrV4;
use vestibule_config::{Captive, GardenEntry, GateMode, Vestibule};

impl Ruleset {
    /// What the table is to say by a configuration, on this host or where somebody follows the feed; `None` if
    /// the gate is off.
    #[must_use]
    pub fn planned(vestibule: &Vestibule) -> Option<Self> {
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
        Some(Self {
            table: TABLE_DEFAULT.to_owned(),
            gated_prefixes,
            gated_prefixes_ipv6: vestibule.gated_ipv6.prefixes.clone(),
            gated_prefixes_ipv6_by_hardware: vestibule.gated_ipv6.by_hardware.clone(),
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
}
