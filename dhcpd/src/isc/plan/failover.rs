//! `failover peer` becomes `[failover]`.

use super::{NetworkDraft, Plan, Site};
use crate::isc::draft::{Draft, PeerDraft};
use crate::isc::option_data::number;
use crate::isc::option_toml::{duration, text};
use crate::isc::syntax::Place;
use std::net::Ipv4Addr;
use vestibule_config::limits::{
    BALANCE_SECONDS_MAX, LOAD_BALANCE_SECONDS_LIMIT, MAX_BALANCE_SECONDS_DEFAULT,
    MAX_RESPONSE_DELAY_SECONDS_MAX, MAX_RESPONSE_DELAY_SECONDS_MIN, MAX_UNACKED_UPDATES_MAX,
    MCLT_SECONDS_MAX, MCLT_SECONDS_MIN, RELATIONSHIP_LENGTH_MAX, SPLIT_MAX,
};
use vestibule_core::limits::LIFETIME_SECONDS_MAX;

/// How a number is written in our file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Number,
    Seconds,
    Percent,
}

/// ISC's keyword, ours, the unit, the smallest and the largest value; in the order of our file.
const NUMBERS: &[(&str, &str, Unit, u32, u32)] = &[
    ("mclt", "mclt", Unit::Seconds, MCLT_SECONDS_MIN, MCLT_SECONDS_MAX),
    ("split", "split", Unit::Number, 0, SPLIT_MAX),
    ("max-unacked-updates", "max-unacked-updates", Unit::Number, 1, MAX_UNACKED_UPDATES_MAX),
    (
        "max-response-delay",
        "max-response-delay",
        Unit::Seconds,
        MAX_RESPONSE_DELAY_SECONDS_MIN,
        MAX_RESPONSE_DELAY_SECONDS_MAX,
    ),
    (
        "load balance max seconds",
        "load-balance-max-seconds",
        Unit::Number,
        0,
        LOAD_BALANCE_SECONDS_LIMIT,
    ),
    ("auto-partner-down", "auto-partner-down", Unit::Seconds, 1, LIFETIME_SECONDS_MAX),
    ("max-lease-misbalance", "max-lease-misbalance", Unit::Percent, 0, 100),
    ("max-lease-ownership", "max-lease-ownership", Unit::Percent, 0, 100),
    ("min-balance", "min-balance", Unit::Seconds, 1, MAX_BALANCE_SECONDS_DEFAULT),
    ("max-balance", "max-balance", Unit::Seconds, 60, BALANCE_SECONDS_MAX),
];

/// Other keywords, and where they go.
const ADDRESSES: [(&str, &str); 2] = [("address", "address"), ("peer address", "peer")];
const PORTS: [(&str, &str); 2] = [("port", "port"), ("peer port", "peer-port")];

pub(super) fn failover(draft: &mut Draft, networks: &[NetworkDraft], site: &Site, plan: &mut Plan) {
    let peers = std::mem::take(&mut draft.peers);
    let Some(peer) = used(&peers, networks) else { return };
    for other in peers.iter().filter(|other| other.name != peer.name) {
        let remedy =
            "a server has one partner here: this relationship's pools are served without one";
        draft.report.left_out(other.place, format!("failover peer \"{}\"", other.name), remedy);
    }
    if site.is_standalone {
        let remedy =
            "this server is to run alone: the partner must not go on serving these networks";
        draft.report.left_out(peer.place, format!("failover peer \"{}\"", peer.name), remedy);
        return;
    }
    match lines(draft, peer) {
        Ok(lines) => plan.failover = lines,
        Err((place, why)) => {
            let what = format!("failover peer \"{}\"", peer.name);
            let remedy = format!("{why}: write [failover] yourself (docs/configuration.md)");
            return draft.report.left_out(place, what, remedy);
        }
    }
    if let Some(address) = value(peer, "address").and_then(|(text, _)| text.parse().ok()) {
        draft.own_addresses.push(address);
    }
    for pool in networks.iter().flat_map(|network| &network.pools) {
        if pool.peer.as_ref() != Some(&peer.name) {
            let remedy = "all pools are shared with the partner here, and it has to know them too: give it this pool, or \
                          this server another file";
            let ranges: Vec<String> =
                pool.ranges.iter().map(|range| range.range.first.to_string()).collect();
            let what = format!("the pool from {} outside of \"{}\"", ranges.join(", "), peer.name);
            draft.report.changed(pool.place, what, remedy);
        }
    }
}

/// The relationship that most pools belong to.
fn used<'p>(peers: &'p [PeerDraft], networks: &[NetworkDraft]) -> Option<&'p PeerDraft> {
    let pools = |peer: &PeerDraft| {
        let pools = networks.iter().flat_map(|network| &network.pools);
        pools.filter(|pool| pool.peer.as_ref() == Some(&peer.name)).count()
    };
    peers.iter().rev().max_by_key(|peer| pools(peer))
}

fn value<'p>(peer: &'p PeerDraft, keyword: &str) -> Option<(&'p str, Place)> {
    peer.settings.get(keyword).map(|(text, place)| (text.as_str(), *place))
}

/// The lines of the section; or where and why there are none.
fn lines(draft: &mut Draft, peer: &PeerDraft) -> Result<Vec<String>, (Place, String)> {
    let good = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"';
    if peer.name.is_empty()
        || peer.name.len() > RELATIONSHIP_LENGTH_MAX
        || !peer.name.bytes().all(good)
    {
        return Err((peer.place, "its name is none that both servers can have".to_owned()));
    }
    let is_primary = value(peer, "primary").is_some();
    let role = if is_primary { "primary" } else { "secondary" };
    let mut lines = vec![format!("name = {}", text(&peer.name)), format!("role = \"{role}\"")];
    for (keyword, key) in ADDRESSES {
        let Some((address, place)) = value(peer, keyword) else {
            return Err((peer.place, format!("it has no {keyword}")));
        };
        let address: Ipv4Addr = address.parse().map_err(|_| {
            (place, format!("{keyword} is a name, and names are not looked up here"))
        })?;
        lines.push(format!("{key} = \"{address}\""));
    }
    for (keyword, key) in PORTS {
        if let Some((port, place)) = value(peer, keyword) {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0);
            let port = port.ok_or_else(|| (place, format!("{keyword} is no port")))?;
            lines.push(format!("{key} = {port}"));
        }
    }
    for (keyword, key, unit, min, max) in NUMBERS {
        let said_by_primary = matches!(*keyword, "mclt" | "split");
        let Some((said, place)) = value(peer, keyword) else {
            if *keyword == "mclt" && is_primary {
                return Err((peer.place, "it has no mclt".to_owned()));
            }
            continue;
        };
        let what = format!("{keyword} {said}");
        if said_by_primary && !is_primary {
            draft.report.changed(place, what, "the primary says it, and tells the secondary");
            continue;
        }
        let number = number(said).and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| (place, format!("{keyword} is no number")))?;
        if number == 0 && *min == 1 {
            // It means the default, or never.
            continue;
        }
        let bounded = number.clamp(*min, *max);
        let written = match unit {
            Unit::Number => bounded.to_string(),
            Unit::Seconds => text(&duration(bounded)),
            Unit::Percent => text(&format!("{bounded}%")),
        };
        if bounded != number {
            draft.report.changed(
                place,
                what,
                format!("{key} is {written} here, the nearest there is"),
            );
        }
        lines.push(format!("{key} = {written}"));
    }
    if let Some((said, place)) = value(peer, "hba") {
        match split_of(said).filter(|_| is_primary) {
            Some(split) => lines.push(format!("split = {split}")),
            None => draft.report.changed(
                place,
                format!("hba {said}"),
                "split says how many of the buckets of clients are the primary's, and always the first ones: it is 128",
            ),
        }
    }
    let mut known: Vec<&str> = NUMBERS.iter().map(|(keyword, ..)| *keyword).collect();
    known.extend(ADDRESSES.iter().chain(&PORTS).map(|(keyword, _)| *keyword));
    known.extend(["primary", "secondary", "hba"]);
    for (keyword, (said, place)) in &peer.settings {
        if !known.contains(&keyword.as_str()) {
            let remedy = "this statement of a failover peer is not known";
            draft.report.left_out(*place, format!("{keyword} {said}"), remedy);
        }
    }
    Ok(lines)
}

/// The split that a bitmap of buckets is, if it is one (ISC's own order of bits: the lowest first).
fn split_of(hba: &str) -> Option<u32> {
    let bytes: Vec<u8> = hba
        .split(':')
        .map(|byte| super::super::option_data::hexadecimal(byte).ok())
        .collect::<Option<_>>()?;
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
    let split = bits.iter().take_while(|bit| **bit).count();
    let is_split = bits.len() == 256 && bits.iter().skip(split).all(|bit| !bit);
    u32::try_from(split).ok().filter(|_| is_split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_is_a_split_only_if_its_buckets_are_the_first_ones() {
        let half = format!("{}{}", "ff:".repeat(16), vec!["0"; 16].join(":"));
        assert_eq!(split_of(&half), Some(128));
        let odd = format!("{}7:{}", "ff:".repeat(3), vec!["0"; 28].join(":"));
        assert_eq!(split_of(&odd), Some(27));
        assert_eq!(split_of(&vec!["aa"; 32].join(":")), None);
        assert_eq!(split_of("ff:ff"), None);
    }
}
