//! What our configuration will say: networks with pools, options and reservations, lifetimes, the pair.
//!
//! It promises that a plan is one that the configuration's checks take: nothing overlaps, every range lies
//! inside its prefix, every name can be one. What a `dhcpd.conf` says beyond that is in the report.

mod access;
mod failover;
mod options;
mod pools;
mod reservations;

use super::draft::{Draft, NOT_AUTHORITATIVE, NetworkDraft, Setting};
use super::report::{Kind, Report};
use super::syntax::Place;
use access::Gating;
use ipnetwork::Ipv4Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use vestibule_config::limits::{CACHE_THRESHOLD_PERCENT_MAX, NAME_LENGTH_MAX};
use vestibule_core::limits::{LIFETIME_SECONDS_MAX, LIFETIME_SECONDS_MIN};
use vestibule_core::{AddressRange, HardwareAddress};

/// dhcpd's default of `default-lease-time` (`includes/dhcpd.h`).
const DEFAULT_LEASE_TIME_SECONDS: i64 = 43_200;
/// dhcpd's default of `max-lease-time`.
const MAX_LEASE_TIME_SECONDS: i64 = 86_400;

/// What the operator says of the new server, because no `dhcpd.conf` does.
#[derive(Clone, Debug)]
pub struct Site {
    /// `server.name`.
    pub name: String,
    /// `server.state-dir`.
    pub state_dir: String,
    /// `server.relay-listen`; empty: what the configuration says of its own address.
    pub relay_listen: Vec<Ipv4Addr>,
    /// `server.interfaces`.
    pub interfaces: Vec<String>,
    /// Leave the failover relationship out.
    pub is_standalone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) relay_listen: Vec<Ipv4Addr>,
    pub(super) lifetime_seconds: u32,
    pub(super) lifetime_unregistered_seconds: Option<u32>,
    pub(super) decline_quarantine_seconds: Option<u32>,
    pub(super) cache_threshold_percent: Option<u8>,
    pub(super) networks: Vec<NetworkPlan>,
    /// Lines of `[failover]`.
    pub(super) failover: Vec<String>,
    /// Devices that are registered, with what is to be remembered of each.
    pub(super) registered: BTreeMap<HardwareAddress, String>,
}

/// One `[[network]]`.
#[derive(Debug)]
pub(super) struct NetworkPlan {
    pub(super) name: String,
    pub(super) is_gated: bool,
    /// Entries of the table, as `routers = ["10.0.0.1"]`.
    pub(super) options: Vec<String>,
    pub(super) subnets: Vec<SubnetPlan>,
}

/// One `[[network.subnet]]`.
#[derive(Debug)]
pub(super) struct SubnetPlan {
    pub(super) prefix: Ipv4Network,
    pub(super) pools: Vec<AddressRange>,
    pub(super) pools_registered: Vec<AddressRange>,
    pub(super) pools_unregistered: Vec<AddressRange>,
    pub(super) options: Vec<String>,
    pub(super) options_registered: Vec<String>,
    pub(super) options_unregistered: Vec<String>,
    pub(super) reservations: Vec<ReservationPlan>,
}

impl SubnetPlan {
    pub(super) fn all_pools(&self) -> impl Iterator<Item = AddressRange> + '_ {
        let kinds = [&self.pools, &self.pools_registered, &self.pools_unregistered];
        kinds.into_iter().flatten().copied()
    }
}

/// One reservation.
#[derive(Debug)]
pub(super) struct ReservationPlan {
    pub(super) hardware: HardwareAddress,
    pub(super) address: Ipv4Addr,
    pub(super) options: Vec<String>,
}

/// Makes the plan of what was gathered.
pub(super) fn plan(mut draft: Draft, site: &Site) -> (Plan, Report) {
    if draft.is_authoritative.is_none() {
        draft.report.changed(None, "no `authoritative` in the configuration", NOT_AUTHORITATIVE);
    }
    let mut plan = Plan::default();
    let gating = access::gating(&mut draft);
    let lifetimes = lifetimes(&mut draft, &gating);
    (plan.lifetime_seconds, plan.lifetime_unregistered_seconds) = lifetimes;
    other_numbers(&mut draft, &mut plan);
    let networks = std::mem::take(&mut draft.networks);
    let good = without_overlaps(&mut draft, &networks);
    let mut names = BTreeSet::new();
    for (number, network) in networks.iter().enumerate() {
        let subnets: Vec<usize> =
            (0..network.subnets.len()).filter(|subnet| good.contains(&(number, *subnet))).collect();
        if subnets.is_empty() {
            if network.subnets.is_empty() {
                let what =
                    format!("shared-network {}", network.name.as_deref().unwrap_or_default());
                draft.report.left_out(network.place, what, "it has no subnet");
            }
            continue;
        }
        let name = name_of(network, &mut names);
        if let Some(said) = network.name.as_ref().filter(|said| **said != name) {
            let what = format!("shared-network {said}");
            draft.report.changed(network.place, what, format!("its name is {name} here"));
        }
        let planned = pools::network(&mut draft, network, number, &subnets, &gating, name);
        plan.networks.push(planned);
    }
    for (number, network) in networks.iter().enumerate() {
        options::check_subnet_masks(&mut draft, network, number, &good);
    }
    reservations::reservations(&mut draft, &networks, &mut plan, &gating);
    plan.registered = access::registered(&mut draft, &gating);
    failover::failover(&mut draft, &networks, site, &mut plan);
    plan.relay_listen = if site.relay_listen.is_empty() && site.interfaces.is_empty() {
        let mut own = std::mem::take(&mut draft.own_addresses);
        own.sort_unstable();
        own.dedup();
        own
    } else {
        site.relay_listen.clone()
    };
    count(&plan, &mut draft.report);
    (plan, draft.report)
}

/// The lifetime of leases that dhcpd gives in a scope to a client that asks for none.
fn lifetime_in(draft: &Draft, scope: usize) -> i64 {
    let number = |keyword| draft.number(scope, keyword).map(|(number, _)| number);
    let wanted = number("default-lease-time").unwrap_or(DEFAULT_LEASE_TIME_SECONDS);
    let wanted = wanted.min(number("max-lease-time").unwrap_or(MAX_LEASE_TIME_SECONDS).max(1));
    wanted.max(number("min-lease-time").unwrap_or(0))
}

/// The one lifetime for everybody, and that for unregistered hosts: what most addresses of pools have.
fn lifetimes(draft: &mut Draft, gating: &Gating) -> (u32, Option<u32>) {
    let mut addresses: [BTreeMap<i64, u64>; 2] = Default::default();
    for (number, network) in draft.networks.iter().enumerate() {
        for (position, pool) in network.pools.iter().enumerate() {
            let size: u64 = pool.ranges.iter().map(|range| range.range.size()).sum();
            let kind = usize::from(gating.is_for_unregistered(number, position));
            if let Some(addresses) = addresses.get_mut(kind) {
                *addresses.entry(lifetime_in(draft, pool.scope)).or_default() += size;
            }
        }
    }
    let most = |addresses: &BTreeMap<i64, u64>| {
        let most = addresses.iter().max_by_key(|(lifetime, count)| (**count, -**lifetime));
        most.map(|(lifetime, _)| *lifetime)
    };
    let [others, unregistered] = &addresses;
    let lifetime =
        most(others).or_else(|| most(unregistered)).unwrap_or_else(|| lifetime_in(draft, 0));
    let unregistered = most(unregistered);
    let (bounded, bounded_unregistered) = (within(lifetime), unregistered.map(within));
    tell_other_lifetimes(draft, lifetime, bounded, unregistered);
    (bounded, bounded_unregistered)
}

fn within(seconds: i64) -> u32 {
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    seconds.clamp(LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX)
}

/// Reports every statement on lifetimes that does not say what holds now.
fn tell_other_lifetimes(draft: &mut Draft, lifetime: i64, bounded: u32, unregistered: Option<i64>) {
    let Draft { scopes, report, .. } = draft;
    for scope in scopes.iter() {
        for keyword in ["default-lease-time", "max-lease-time", "min-lease-time"] {
            let Some((number, place)) = scope.numbers.get(keyword).copied() else { continue };
            let what = format!("{keyword} {number}");
            match keyword {
                "default-lease-time" if number == lifetime || Some(number) == unregistered => {
                    if i64::from(within(number)) != number {
                        report.changed(place, what, format!("leases last {bounded} s, the nearest there is"));
                    }
                }
                "default-lease-time" => report.changed(
                    place,
                    what,
                    format!("leases last {bounded} s here, in all networks: see leases.lifetime"),
                ),
                "max-lease-time" if number <= lifetime => {}
                "max-lease-time" => report.changed(
                    place,
                    what,
                    format!("a client that asks for more than leases.lifetime, {bounded} s, gets that"),
                ),
                _ => report.changed(
                    place,
                    what,
                    format!(
                        "a client that asks for less than leases.lifetime, {bounded} s, gets what it asks for, \
                         {LIFETIME_SECONDS_MIN} s at least"
                    ),
                ),
            }
        }
    }
}

fn other_numbers(draft: &mut Draft, plan: &mut Plan) {
    let Draft { scopes, report, .. } = draft;
    for (number, scope) in scopes.iter().enumerate() {
        let mut narrower = |keyword: &str| {
            let (value, place) = scope.numbers.get(keyword).copied()?;
            if number == 0 {
                return Some((value, place));
            }
            let remedy = "it holds for all networks here: see [leases]";
            report.changed(place, format!("{keyword} {value}"), remedy);
            None
        };
        if let Some((seconds, _)) = narrower("abandon-lease-time") {
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            plan.decline_quarantine_seconds = Some(seconds.clamp(1, LIFETIME_SECONDS_MAX));
        }
        if let Some((percent, place)) = narrower("dhcp-cache-threshold") {
            let bounded = u8::try_from(percent).unwrap_or(u8::MAX).min(CACHE_THRESHOLD_PERCENT_MAX);
            plan.cache_threshold_percent = Some(bounded);
            if i64::from(bounded) != percent {
                let remedy = format!(
                    "it is {bounded} % here: from half of a lease on, hosts renew it to have it made longer"
                );
                report.changed(place, format!("dhcp-cache-threshold {percent}"), remedy);
            }
        }
    }
}

/// The subnets that overlap no earlier one, as network and place in it.
fn without_overlaps(draft: &mut Draft, networks: &[NetworkDraft]) -> BTreeSet<(usize, usize)> {
    let mut by_address: BTreeMap<Ipv4Addr, Ipv4Network> = BTreeMap::new();
    let mut good = BTreeSet::new();
    for (number, network) in networks.iter().enumerate() {
        for (position, subnet) in network.subnets.iter().enumerate() {
            let prefix = subnet.prefix;
            let before = by_address.range(..=prefix.broadcast()).next_back();
            let other = before.map(|(_, other)| *other).filter(|other| other.overlaps(prefix));
            if let Some(other) = other {
                let what = format!("subnet {prefix}");
                draft.report.left_out(
                    subnet.place,
                    what,
                    format!("it overlaps {other}, which stands before it"),
                );
                continue;
            }
            by_address.insert(prefix.network(), prefix);
            good.insert((number, position));
        }
    }
    good
}

/// A name that our configuration takes, and that no other network has.
fn name_of(network: &NetworkDraft, names: &mut BTreeSet<String>) -> String {
    let said = match (&network.name, network.subnets.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(subnet)) => format!("{}-{}", subnet.prefix.network(), subnet.prefix.prefix()),
        (None, None) => String::new(),
    };
    let good = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let mut name: String = said.chars().map(good).take(NAME_LENGTH_MAX - 6).collect();
    if name.is_empty() {
        name.push_str("network");
    }
    let mut unique = name.clone();
    for number in 2.. {
        if names.insert(unique.clone()) {
            break;
        }
        unique = format!("{name}-{number}");
    }
    unique
}

/// Settings of several scopes, the outermost first, in which an inner one wins over an outer one.
fn merged(draft: &Draft, outermost_first: &[usize]) -> BTreeMap<u8, Setting> {
    let mut settings = BTreeMap::new();
    for scope in outermost_first.iter().filter_map(|number| draft.scopes.get(*number)) {
        settings.extend(scope.options.iter().map(|(code, setting)| (*code, setting.clone())));
    }
    settings
}

/// The scopes from one outwards up to another one, which is not among them; the outermost first.
fn scopes_below(draft: &Draft, scope: usize, above: Option<usize>) -> Vec<usize> {
    let mut chain: Vec<usize> =
        draft.chain(scope).take_while(|number| Some(*number) != above).collect();
    chain.reverse();
    chain
}

fn count(plan: &Plan, report: &mut Report) {
    let counts = &mut report.counts;
    counts.networks = plan.networks.len() as u64;
    counts.registrations = plan.registered.len() as u64;
    for network in &plan.networks {
        counts.options += network.options.len() as u64;
        counts.subnets += network.subnets.len() as u64;
        for subnet in &network.subnets {
            counts.pool_addresses += subnet.all_pools().map(|range| range.size()).sum::<u64>();
            counts.reservations += subnet.reservations.len() as u64;
            let of_reservations: usize =
                subnet.reservations.iter().map(|one| one.options.len()).sum();
            let of_subnet =
                [&subnet.options, &subnet.options_registered, &subnet.options_unregistered];
            let of_subnet: usize = of_subnet.iter().map(|entries| entries.len()).sum();
            counts.options += (of_reservations + of_subnet) as u64;
        }
    }
}

/// A finding that means no loss.
fn not_needed(
    report: &mut Report,
    place: Place,
    what: impl Into<String>,
    remedy: impl Into<String>,
) {
    report.add(Kind::NotNeeded, place, what, remedy);
}
