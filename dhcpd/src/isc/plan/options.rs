//! Options of networks, subnets, pools and hosts.

use super::{merged, not_needed, scopes_below};
use crate::isc::draft::{Draft, NetworkDraft, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

const SUBNET_MASK: u8 = 1;

/// Settings as entries of an `options` table, by code. The subnet mask follows from the prefix.
pub(super) fn entries(draft: &mut Draft, settings: &BTreeMap<u8, Setting>) -> Vec<String> {
    let mut entries = Vec::new();
    for (code, setting) in settings.iter().filter(|(code, _)| **code != SUBNET_MASK) {
        match draft.writer.entry(*code, &setting.contents) {
            Ok(entry) => entries.push(entry),
            // It was taken where it was set.
            Err(why) => draft.report.left_out(setting.place, format!("option {code}"), why),
        }
    }
    entries
}

/// What a network says to all its subnets.
pub(super) fn of_network(draft: &Draft, network: &NetworkDraft) -> BTreeMap<u8, Setting> {
    merged(draft, &scopes_below(draft, network.scope, None))
}

/// What a subnet says beyond its network.
pub(super) fn of_subnet(
    draft: &Draft,
    network: &NetworkDraft,
    subnet: usize,
) -> BTreeMap<u8, Setting> {
    let Some(subnet) = network.subnets.get(subnet) else { return BTreeMap::new() };
    merged(draft, &scopes_below(draft, subnet.scope, Some(network.scope)))
}

/// Reports subnet masks that say otherwise than their prefix.
pub(super) fn check_subnet_masks(
    draft: &mut Draft,
    network: &NetworkDraft,
    number: usize,
    good: &BTreeSet<(usize, usize)>,
) {
    for (position, subnet) in network.subnets.iter().enumerate() {
        if !good.contains(&(number, position)) {
            continue;
        }
        let chain = scopes_below(draft, subnet.scope, None);
        let settings = merged(draft, &chain);
        let Some(setting) = settings.get(&SUBNET_MASK) else { continue };
        let octets = <[u8; 4]>::try_from(&*setting.contents).unwrap_or_default();
        let (mask, place) = (Ipv4Addr::from(octets), setting.place);
        if mask == subnet.prefix.mask() {
            let is_here = draft
                .scopes
                .get(subnet.scope)
                .is_some_and(|scope| scope.options.contains_key(&SUBNET_MASK));
            if is_here {
                let what = format!("option subnet-mask {mask}");
                not_needed(&mut draft.report, place, what, "it follows from the subnet's prefix");
            }
        } else {
            let what = format!("option subnet-mask {mask} for the subnet {}", subnet.prefix);
            let remedy =
                format!("hosts are told {}, which follows from the prefix", subnet.prefix.mask());
            draft.report.changed(place, what, remedy);
        }
    }
}
