//! A network with its subnets, and the ranges of its pools in them.

use super::options::{entries, of_network, of_subnet};
use super::{Gating, NetworkPlan, SubnetPlan, merged, scopes_below};
use crate::isc::draft::{Draft, NetworkDraft, PoolDraft, RangeDraft, Setting};
use ipnetwork::Ipv4Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use vestibule_config::limits::POOLS_MAX;
use vestibule_core::{AddressRange, Class};

const DOMAIN_NAME_SERVERS: u8 = 6;

/// A range in the subnet that it lies in.
#[derive(Clone, Copy)]
struct Part {
    range: AddressRange,
    subnet: usize,
    pool: usize,
    draft: RangeDraft,
}

pub(super) fn network(
    draft: &mut Draft,
    network: &NetworkDraft,
    number: usize,
    subnets: &[usize],
    gating: &Gating,
    name: String,
) -> NetworkPlan {
    let of_network = of_network(draft, network);
    let options = entries(draft, &of_network);
    let mut parts = parts(draft, network, number, subnets, gating);
    trim_overlaps(draft, &mut parts);
    let mut plan =
        NetworkPlan { name, is_gated: gating.is_gated(number), options, subnets: Vec::new() };
    for position in subnets {
        let Some(subnet) = network.subnets.get(*position) else { continue };
        let mut planned = SubnetPlan {
            prefix: subnet.prefix,
            pools: Vec::new(),
            pools_registered: Vec::new(),
            pools_unregistered: Vec::new(),
            options: Vec::new(),
            options_registered: Vec::new(),
            options_unregistered: Vec::new(),
            reservations: Vec::new(),
        };
        let of_subnet = of_subnet(draft, network, *position);
        planned.options = entries(draft, &of_subnet);
        for class in [None, Some(Class::Registered), Some(Class::Unregistered)] {
            let ranges: Vec<Part> = parts
                .iter()
                .filter(|part| part.subnet == *position)
                .filter(|part| gating.class_of(number, part.pool) == class)
                .copied()
                .collect();
            let into = match class {
                None => &mut planned.pools,
                Some(Class::Registered) => &mut planned.pools_registered,
                Some(Class::Unregistered) => &mut planned.pools_unregistered,
            };
            *into = joined(draft, &ranges);
        }
        pool_options(draft, network, number, *position, &parts, gating, &of_subnet, &mut planned);
        plan.subnets.push(planned);
    }
    plan
}

/// The ranges of every pool that is taken over, each in its subnet.
fn parts(
    draft: &mut Draft,
    network: &NetworkDraft,
    number: usize,
    subnets: &[usize],
    gating: &Gating,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for (pool, pool_draft) in network.pools.iter().enumerate() {
        if gating.is_left_out(number, pool) {
            continue;
        }
        for range_draft in &pool_draft.ranges {
            let AddressRange { first, last } = range_draft.range;
            let found = subnets.iter().copied().find_map(|position| {
                let subnet = network.subnets.get(position)?;
                let may = pool_draft.subnet.is_none_or(|only| only == position);
                (may && subnet.prefix.contains(first) && subnet.prefix.contains(last))
                    .then_some((position, subnet.prefix))
            });
            let what = || format!("range {first} {last}");
            let place = range_draft.place;
            let Some((subnet, prefix)) = found else {
                let remedy = "it does not lie in its subnet";
                draft.report.left_out(place, what(), remedy);
                continue;
            };
            let Some(range) = usable(prefix, range_draft.range) else {
                let remedy = format!("no host of {prefix} can have these addresses");
                draft.report.left_out(place, what(), remedy);
                continue;
            };
            if range != range_draft.range {
                let remedy = format!(
                    "{}-{} are given out: no host of {prefix} can have the first and the last address",
                    range.first, range.last
                );
                draft.report.changed(place, what(), remedy);
            }
            parts.push(Part { range, subnet, pool, draft: *range_draft });
        }
    }
    parts
}

/// What of a range hosts of a prefix can have.
fn usable(prefix: Ipv4Network, range: AddressRange) -> Option<AddressRange> {
    let edge = u32::from(prefix.prefix() < 31);
    let first = range.first.max(Ipv4Addr::from(u32::from(prefix.network()).saturating_add(edge)));
    let last = range.last.min(Ipv4Addr::from(u32::from(prefix.broadcast()).saturating_sub(edge)));
    (first <= last).then_some(AddressRange { first, last })
}

/// Takes from each range what an earlier one has already: an address stands in one pool.
fn trim_overlaps(draft: &mut Draft, parts: &mut Vec<Part>) {
    parts.sort_by_key(|part| (part.range.first, part.draft.place));
    let mut kept: Vec<Part> = Vec::with_capacity(parts.len());
    for mut part in parts.drain(..) {
        let before = kept.last().filter(|before| before.range.last >= part.range.first);
        if let Some(before) = before {
            let AddressRange { first, last } = part.draft.range;
            let what = format!("range {first} {last}");
            let remedy = format!(
                "{}-{} of it stand in a pool already, and once is enough",
                part.range.first,
                part.range.last.min(before.range.last)
            );
            draft.report.changed(part.draft.place, what, remedy);
            if before.range.last >= part.range.last {
                continue;
            }
            part.range.first = Ipv4Addr::from(u32::from(before.range.last).saturating_add(1));
        }
        kept.push(part);
    }
    *parts = kept;
}

/// Ranges of one kind, those that touch made one; in ascending order.
fn joined(draft: &mut Draft, parts: &[Part]) -> Vec<AddressRange> {
    let mut joined: Vec<AddressRange> = Vec::new();
    for part in parts {
        let count = joined.len();
        match joined.last_mut() {
            Some(last) if u32::from(last.last).checked_add(1) == Some(part.range.first.into()) => {
                last.last = part.range.last;
            }
            _ if count == POOLS_MAX => {
                let AddressRange { first, last } = part.range;
                let remedy = format!("a subnet has at most {POOLS_MAX} ranges: make them fewer");
                draft.report.left_out(part.draft.place, format!("range {first} {last}"), remedy);
            }
            _ => joined.push(part.range),
        }
    }
    joined
}

/// What pools say of options. Options stand with subnets and with classes of hosts here: what one pool
/// among several says cannot be said.
#[allow(clippy::too_many_arguments, reason = "one call, and each of them is looked at")]
fn pool_options(
    draft: &mut Draft,
    network: &NetworkDraft,
    number: usize,
    subnet: usize,
    parts: &[Part],
    gating: &Gating,
    of_subnet: &BTreeMap<u8, Setting>,
    planned: &mut SubnetPlan,
) {
    let here: BTreeSet<usize> =
        parts.iter().filter(|part| part.subnet == subnet).map(|part| part.pool).collect();
    let pools: Vec<(usize, &PoolDraft)> =
        here.iter().filter_map(|pool| Some((*pool, network.pools.get(*pool)?))).collect();
    let Some(subnet_draft) = network.subnets.get(subnet) else { return };
    let only_unregistered = pools.iter().all(|(pool, _)| gating.is_for_unregistered(number, *pool));
    for class in [None, Some(Class::Registered), Some(Class::Unregistered)] {
        let of_class: Vec<&PoolDraft> = pools
            .iter()
            .filter(|(pool, _)| gating.class_of(number, *pool) == class)
            .map(|(_, pool)| *pool)
            .collect();
        let Some(first) = of_class.first() else { continue };
        let own = |pool: &PoolDraft| {
            let above = pool.subnet.map_or(network.scope, |_| subnet_draft.scope);
            merged(draft, &scopes_below(draft, pool.scope, Some(above)))
        };
        let mut settings = own(first);
        let contents = |settings: &BTreeMap<u8, Setting>| -> Vec<(u8, Box<[u8]>)> {
            settings.iter().map(|(code, setting)| (*code, setting.contents.clone())).collect()
        };
        let all_alike = of_class.iter().all(|pool| contents(&own(pool)) == contents(&settings));
        // Hosts with reservations would get a pool's options as the subnet's, and did not before.
        let has_reservations = draft.hosts.iter().any(|host| {
            host.addresses.iter().any(|(address, _)| planned.prefix.contains(*address))
        });
        let is_alone = class.is_some() || (of_class.len() == pools.len() && !has_reservations);
        if !(all_alike && is_alone) {
            let all: Vec<(u8, Setting)> = of_class.iter().flat_map(|pool| own(pool)).collect();
            for (code, setting) in all {
                let what = draft.writer.entry(code, &setting.contents);
                draft.report.left_out(
                    setting.place,
                    what.unwrap_or_else(|_| format!("option {code}")) + ", for a pool",
                    format!(
                        "options stand with networks, subnets and reservations here: {} has other pools or hosts with \
                         reservations, which would get it too",
                        planned.prefix
                    ),
                );
            }
            continue;
        }
        if class == Some(Class::Unregistered)
            && only_unregistered
            && !settings.contains_key(&DOMAIN_NAME_SERVERS)
            && let Some(setting) = of_subnet.get(&DOMAIN_NAME_SERVERS)
        {
            settings.insert(DOMAIN_NAME_SERVERS, setting.clone());
        }
        let mut entries = entries(draft, &settings);
        match class {
            None => {
                // The pool's option wins over the subnet's.
                let keys: Vec<&str> =
                    entries.iter().filter_map(|entry| entry.split(' ').next()).collect();
                planned.options.retain(|entry| {
                    !entry.split(' ').next().is_some_and(|key| keys.contains(&key))
                });
                planned.options.append(&mut entries);
            }
            Some(Class::Registered) => planned.options_registered = entries,
            Some(Class::Unregistered) => planned.options_unregistered = entries,
        }
    }
}
