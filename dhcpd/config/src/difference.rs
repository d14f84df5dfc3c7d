//! What differs between two configurations, in an operator's words: what a reload would change.
//!
//! Both are written down as facts, each under the place that it is about: a subnet by its prefix, a pool by
//! its range, a reservation by whom it is for. So nothing counts as changed because it moved in the file. What
//! only a restart can change is listed apart.

use crate::checked::{GatedIpv6, Vestibule};
use crate::option_value::{NEXT_SERVER, in_words, name_of};
use crate::value::{duration_in_words, range_in_words};
use std::collections::BTreeMap;
use vestibule_core::{Class, Holder, Network, OptionSet, RegistrationRules, Subnet};

/// What differs. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// One sentence each, in the order of what they are about.
    pub changes: Vec<String>,
    /// The sections whose change needs a restart.
    pub needs_restart: Vec<String>,
}

/// What differs from `old` in `new`.
#[must_use]
pub fn difference(old: &Vestibule, new: &Vestibule) -> Difference {
    let (before, after) = (facts(old), facts(new));
    let mut changes = Vec::new();
    for (place, value) in &after {
        match before.get(place) {
            None => changes.push(format!("{place}: new: {value}")),
            Some(old) if old != value => changes.push(format!("{place}: {value}, was {old}")),
            Some(_) => {}
        }
    }
    for (place, value) in &before {
        if !after.contains_key(place) {
            changes.push(format!("{place}: gone, was {value}"));
        }
    }
    changes.sort();
    if changes.is_empty() && old.core != new.core {
        changes.push("the order of things in the file".to_owned());
    }
    Difference { changes, needs_restart: needs_restart(old, new) }
}

fn needs_restart(old: &Vestibule, new: &Vestibule) -> Vec<String> {
    let gated = |vestibule: &Vestibule| {
        let networks = vestibule.core.networks.iter().filter(|network| network.gated);
        let mut prefixes: Vec<String> = networks
            .flat_map(|network| {
                let by = network.gate_by;
                network.subnets.iter().map(move |subnet| format!("{} {by:?}", subnet.prefix))
            })
            .collect();
        prefixes.sort();
        prefixes
    };
    // The page of `[portal]` knows them by network.
    let randomised = |vestibule: &Vestibule| {
        let networks = vestibule.core.networks.iter().filter(|network| network.gated);
        let by_name: BTreeMap<_, _> =
            networks.map(|network| (network.name.clone(), network.randomised_addresses)).collect();
        by_name
    };
    let is_shown = new.builtin_portal.is_some();
    let ipv6 = |vestibule: &Vestibule| {
        let GatedIpv6 { prefixes, by_hardware, unsaid: _ } = &vestibule.gated_ipv6;
        let (mut prefixes, mut by_hardware) = (prefixes.clone(), by_hardware.clone());
        prefixes.sort_unstable();
        by_hardware.sort_unstable();
        (prefixes, by_hardware)
    };
    [
        ("[server]", old.server == new.server),
        ("[gate]", old.gate == new.gate),
        ("[captive]", old.captive == new.captive),
        ("[portal]", old.builtin_portal == new.builtin_portal),
        ("[dns]", old.dns == new.dns),
        ("[api]", old.api == new.api),
        ("[events]", old.events == new.events),
        ("[history]", old.history == new.history),
        ("[[webhook]]", old.webhooks == new.webhooks),
        ("[failover]", old.failover == new.failover),
        ("[agent]", old.agent == new.agent),
        ("which prefixes are gated, and by what", gated(old) == gated(new)),
        ("ipv6-prefixes of gated networks", ipv6(old) == ipv6(new)),
        (
            "names and randomised-addresses of gated networks, while there is a [portal]",
            !is_shown || randomised(old) == randomised(new),
        ),
    ]
    .into_iter()
    .filter(|(_, is_same)| !is_same)
    .map(|(what, _)| what.to_owned())
    .collect()
}

/// Every setting that a reload can change, by its place.
fn facts(vestibule: &Vestibule) -> BTreeMap<String, String> {
    let mut facts = Facts { vestibule, found: BTreeMap::new() };
    let core = &vestibule.core;
    let seconds = |seconds: u32| duration_in_words(seconds);
    facts.say("leases.lifetime", seconds(core.lifetime_seconds));
    facts.say("leases.lifetime-unregistered", seconds(core.lifetime_unregistered_seconds));
    facts.say("leases.decline-quarantine", seconds(core.decline_quarantine_seconds));
    facts.say("leases.cache-threshold", format!("{}%", core.cache_threshold_percent));
    facts.say("leases.rapid-commit", core.rapid_commit.to_string());
    let policy = &core.policy;
    if let Some(pressure) = policy.pressure {
        let lifetime = seconds(pressure.lifetime_seconds);
        facts.say(
            "leases under pressure",
            format!("{lifetime} from {}%", pressure.threshold_percent),
        );
    }
    for (place, limit) in [
        ("leases.limit-per-circuit", policy.lease_limits.per_circuit),
        ("leases.limit-per-owner", policy.lease_limits.per_owner),
    ] {
        if let Some(limit) = limit {
            facts.say(place, limit.to_string());
        }
    }
    facts.options("everybody", &policy.options);
    for (index, class) in policy.classes.iter().enumerate() {
        let place = format!("class {}", class.name);
        let asks = format!("place {}, {:?} {:?}", index + 1, class.conditions, class.any);
        facts.say(&format!("{place}, what it asks for"), asks);
        facts.lifetime(&place, class.lifetime_seconds);
        facts.options(&place, &class.options);
    }
    for profile in &policy.profiles {
        let place = format!("profile {}", profile.name);
        facts.lifetime(&place, profile.lifetime_seconds);
        facts.options(&place, &profile.options);
    }
    for definition in &vestibule.option_definitions {
        let value = format!("code {}, {:?}", definition.code, definition.kind);
        facts.say(&format!("option {}", definition.name), value);
    }
    facts.registration(&core.registration);
    for network in &core.networks {
        facts.network(network);
    }
    facts.found
}

struct Facts<'v> {
    vestibule: &'v Vestibule,
    found: BTreeMap<String, String>,
}

impl Facts<'_> {
    fn say(&mut self, place: &str, value: String) {
        self.found.insert(place.to_owned(), value);
    }

    fn say_if(&mut self, place: &str, value: Option<String>) {
        if let Some(value) = value {
            self.say(place, value);
        }
    }

    fn lifetime(&mut self, place: &str, seconds: Option<u32>) {
        if let Some(seconds) = seconds {
            self.say(&format!("{place}, lifetime"), duration_in_words(seconds));
        }
    }

    fn options(&mut self, place: &str, options: &OptionSet) {
        let names = &self.vestibule.option_definitions;
        let said: Vec<(String, String)> = options
            .iter()
            .map(|(code, contents)| (name_of(names, code), in_words(names, code, contents)))
            .collect();
        for (name, value) in said {
            self.say(&format!("{place}, option {name}"), value);
        }
        if let Some(address) = options.next_server() {
            self.say(&format!("{place}, {NEXT_SERVER}"), address.to_string());
        }
    }

    fn registration(&mut self, rules: &RegistrationRules) {
        let limit = |limit: Option<u32>| limit.map(|limit| limit.to_string());
        let lifetime = |seconds: Option<u32>| seconds.map(duration_in_words);
        let briefly = duration_in_words(rules.lifetime_randomised_seconds);
        self.say("registration.lifetime-randomised", briefly);
        self.say_if("registration.device-limit", limit(rules.device_limit));
        self.say_if("registration.lifetime", lifetime(rules.lifetime_seconds));
        for role in &rules.roles {
            let place = format!("role {}", role.name);
            let gate = if role.quarantine { "held back by the gate" } else { "let in by the gate" };
            self.say(&place, gate.to_owned());
            self.say_if(&format!("{place}, device-limit"), limit(role.device_limit));
            self.say_if(&format!("{place}, lifetime"), lifetime(role.lifetime_seconds));
            let page = role.portal_url.as_deref().map(str::to_owned);
            self.say_if(&format!("{place}, portal-url"), page);
        }
    }

    fn network(&mut self, network: &Network) {
        let place = format!("network {}", network.name);
        self.say(
            &format!("{place}, randomised addresses"),
            network.randomised_addresses.name().to_owned(),
        );
        self.options(&place, &network.options);
        for class in Class::ALL {
            let hosts = format!("{place}, {} hosts", class.name());
            self.options(&hosts, network.class_options.of(class));
        }
        for subnet in &network.subnets {
            self.subnet(network, subnet);
        }
    }

    fn subnet(&mut self, network: &Network, subnet: &Subnet) {
        let place = format!("subnet {}", subnet.prefix);
        self.say(&place, format!("in network {}", network.name));
        for (class, range) in subnet.plain_pools() {
            let whom = class.map_or("anybody", Class::name);
            self.say(&format!("{place}, pool {}", range_in_words(&range)), format!("for {whom}"));
        }
        for pool in &subnet.special_pools {
            let classes = &self.vestibule.core.policy.classes;
            let clients: Vec<&str> = pool
                .clients
                .iter()
                .filter_map(|index| classes.get(index))
                .map(|class| &*class.name)
                .collect();
            let whom = pool.class.map_or("anybody", Class::name);
            let pool_place = format!("{place}, pool {}", range_in_words(&pool.range));
            self.say(
                &pool_place,
                format!("for {whom} {}", clients.join(", ")).trim_end().to_owned(),
            );
            self.options(&pool_place, &pool.options);
        }
        if let Some(profile) = self.profile(subnet.profile) {
            self.say(&format!("{place}, profile"), profile);
        }
        self.options(&place, &subnet.options);
        for class in Class::ALL {
            let hosts = format!("{place}, {} hosts", class.name());
            self.options(&hosts, subnet.class_options.of(class));
        }
        for reservation in &subnet.reservations {
            let holder = match &reservation.holder {
                Holder::Hardware(hardware) => hardware.to_string(),
                Holder::Client(bytes) => format!("client {}", bytes.escape_ascii()),
                Holder::Circuit(bytes) => format!("circuit {}", bytes.escape_ascii()),
            };
            let of_one = format!("reservation for {holder} in {}", network.name);
            self.say(&of_one, reservation.address.to_string());
            if let Some(profile) = self.profile(reservation.profile) {
                self.say(&format!("{of_one}, profile"), profile);
            }
            self.options(&of_one, &reservation.options);
        }
    }

    fn profile(&self, index: Option<vestibule_core::ProfileIndex>) -> Option<String> {
        let profile = self.vestibule.core.policy.profiles.get(index?.0)?;
        Some(profile.name.to_string())
    }
}
