//! `[[network]]`, its subnets, pools and reservations, and how they must not collide.
//!
//! It promises that prefixes do not overlap anywhere in the file, that pools lie inside their
//! prefix, hold no network or broadcast address and do not overlap, that no address is reserved
//! twice, and no device twice in one network. Every check takes sorting at most, so that a file at
//! its limits is checked in a moment.

use crate::checked::GatedIpv6;
use crate::classes::{self, Gated, PlacedPool};
use crate::client_classes::{self, Names};
use crate::grammar;
use crate::ipv6;
use crate::limits::{
    IPV6_PREFIXES_MAX, NETWORKS_MAX, POOL_ADDRESSES_MAX, POOLS_MAX, RESERVATIONS_MAX, SUBNETS_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::option_value;
use crate::reader::{Placed, Reader, Table};
use crate::registration;
use crate::value;
use ipnetwork::Ipv4Network;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::options::code;
use vestibule_core::{
    AddressRange, Class, HardwareAddress, Holder, Network, PerClass, Reservation, SpecialPool,
    Subnet,
};

/// What is remembered across the file, to find what stands twice and what is too much.
#[derive(Debug, Default)]
struct Seen {
    network_names: BTreeMap<Box<str>, usize>,
    prefixes: Vec<(Placed<Ipv4Network>, String)>,
    subnets: usize,
    reservations: usize,
    pool_addresses: u64,
    gated_ipv6: GatedIpv6,
}

/// Reads every `[[network]]`.
pub(crate) fn networks(
    reader: &mut Reader<'_>,
    file: &Table<'_>,
    names: &Names,
) -> (Vec<Network>, GatedIpv6) {
    let tables = reader.tables(file, "network", &grammar::NETWORK);
    if !file.has("network") {
        reader.missing(file, "network", "a DHCP server needs one [[network]] at least");
    }
    if tables.len() > NETWORKS_MAX {
        let message = format!("{} networks; the limit is {NETWORKS_MAX}", tables.len());
        reader.complain(file.place_of("network"), "network".to_owned(), Complaint::plain(message));
        return (Vec::new(), GatedIpv6::default());
    }
    let mut seen = Seen::default();
    let networks: Vec<Network> =
        tables.iter().filter_map(|table| network(reader, table, names, &mut seen)).collect();
    refuse_overlapping_prefixes(reader, seen.prefixes);
    for (what, count, limit) in [
        ("subnets", seen.subnets as u64, SUBNETS_MAX as u64),
        ("reservations", seen.reservations as u64, RESERVATIONS_MAX as u64),
        ("addresses in pools", seen.pool_addresses, POOL_ADDRESSES_MAX),
    ] {
        if count > limit {
            let message = format!("{count} {what}; the limit is {limit}");
            let at = file.place_of("network");
            reader.complain(at, "network".to_owned(), Complaint::plain(message));
        }
    }
    (networks, seen.gated_ipv6)
}

fn network(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: &Names,
    seen: &mut Seen,
) -> Option<Network> {
    let name = reader.parsed(table, "name", value::name);
    if !table.has("name") {
        reader.missing(table, "name", "it stands in logs and metrics, as in name = \"halls\"");
    }
    if let Some(name) = &name {
        if let Some(first) = seen.network_names.get(&name.value).copied() {
            let line = reader.line(first);
            let message =
                format!("a network named {} is already on line {line}", quoted(&name.value));
            reader.complain_about(table, "name", name.at, Complaint::plain(message));
        } else {
            seen.network_names.insert(name.value.clone(), name.at);
        }
    }
    let gated = reader.flag(table, "gated");
    if !table.has("gated") {
        let why = "choose: true if unregistered hosts shall meet the gate, else false";
        reader.missing(table, "gated", why);
    }
    let mut by = classes::gated(reader, table, gated);
    let ipv6_prefixes =
        reader.parsed_list(table, "ipv6-prefixes", IPV6_PREFIXES_MAX, value::prefix_ipv6);
    by.gate_by.ipv6_by_hardware =
        ipv6::by_hardware(reader, table, gated, by, ipv6_prefixes.as_deref());
    match (ipv6_prefixes, gated, &name) {
        (Some(prefixes), Some(false), _) => {
            if let Some(first) = prefixes.first() {
                let message = "this network is not gated: nothing is done about its IPv6";
                let remedy = "leave ipv6-prefixes out, or gate the network";
                let complaint = Complaint::new(message, remedy);
                reader.complain_about(table, "ipv6-prefixes", first.at, complaint);
            }
        }
        (Some(prefixes), ..) if !by.gate_by.sets => {
            if let Some(first) = prefixes.first() {
                let message =
                    "this network is gated by pools alone: nothing is done about its IPv6";
                let remedy = "leave ipv6-prefixes out, or gate it by \"sets\" too";
                let complaint = Complaint::new(message, remedy);
                reader.complain_about(table, "ipv6-prefixes", first.at, complaint);
            }
        }
        (Some(prefixes), ..) => {
            let prefixes = prefixes.into_iter().map(|placed| placed.value);
            let before = seen.gated_ipv6.prefixes.len();
            seen.gated_ipv6.prefixes.extend(prefixes);
            if by.gate_by.ipv6_by_hardware {
                let of_this = seen.gated_ipv6.prefixes.iter().skip(before).copied();
                seen.gated_ipv6.by_hardware.extend(of_this);
            }
        }
        (None, Some(true), Some(name)) if by.gate_by.sets => {
            seen.gated_ipv6.unsaid.push(name.value.clone());
        }
        (None, ..) => {}
    }
    let randomised_addresses = registration::randomised_addresses(reader, table, gated);
    let options = option_value::options(reader, table);
    let class_options = classes::options(reader, table, by);
    if !table.has("subnet") {
        reader.missing(table, "subnet", "add a [[network.subnet]] with its prefix below it");
    }
    let subnets = reader.tables(table, "subnet", &grammar::SUBNET);
    let mut devices = BTreeMap::new();
    let subnets = subnets
        .iter()
        .filter_map(|table| subnet(reader, table, (by, names), seen, &mut devices))
        .collect();
    let network = Network {
        name: name?.value,
        gated: gated?,
        gate_by: by.gate_by,
        subnets,
        options,
        class_options,
        randomised_addresses,
    };
    classes::check_network(reader, table, by, &network);
    Some(network)
}

fn subnet(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    (network, names): (Gated, &Names),
    seen: &mut Seen,
    devices: &mut BTreeMap<Holder, usize>,
) -> Option<Subnet> {
    seen.subnets += 1;
    let prefix = reader.parsed(table, "prefix", host_prefix);
    if !table.has("prefix") {
        reader.missing(table, "prefix", "as in prefix = \"10.20.0.0/22\"");
    }
    let mut placed = Vec::new();
    for class in [None].into_iter().chain(Class::ALL.map(Some)) {
        let key = classes::pools_key(class);
        let ranges = reader.parsed_list(table, key, POOLS_MAX, value::range).unwrap_or_default();
        placed.extend(ranges.into_iter().map(|range| PlacedPool {
            class,
            is_special: false,
            range,
        }));
    }
    let mut special_pools = Vec::new();
    for table in tables_of_pools(reader, table) {
        special_pools.extend(special_pool(reader, &table, (network, names), &mut placed));
    }
    special_pools.sort_by_key(|pool: &SpecialPool| pool.range);
    classes::refuse_useless_pools(reader, table, network);
    check_pools(reader, table, prefix.as_ref(), &mut placed);
    seen.pool_addresses += placed.iter().map(|pool| pool.range.value.size()).sum::<u64>();
    let pools_for = |class| {
        let of_class = placed.iter().filter(move |pool| pool.class == class && !pool.is_special);
        of_class.map(|pool| pool.range.value).collect::<Vec<AddressRange>>()
    };
    let options = option_value::options(reader, table);
    let class_options = classes::options(reader, table, network);
    let mut addresses = BTreeMap::new();
    let tables = reader.tables(table, "reservation", &grammar::RESERVATION);
    seen.reservations += tables.len();
    let mut reservations = Vec::with_capacity(tables.len());
    for table in &tables {
        let reservation =
            reservation(reader, table, names, prefix.as_ref(), &mut addresses, devices);
        reservations.extend(reservation);
    }
    let profile = client_classes::profile_named(reader, table, names);
    let prefix = prefix?;
    seen.prefixes.push((prefix, table.path_of("prefix")));
    Some(Subnet {
        prefix: prefix.value,
        pools: pools_for(None),
        class_pools: PerClass {
            registered: pools_for(Some(Class::Registered)),
            unregistered: pools_for(Some(Class::Unregistered)),
        },
        options,
        class_options,
        reservations,
        special_pools,
        profile,
    })
}

/// The `[[network.subnet.pool]]` of a subnet. Ranges under that key were meant for `pools`.
fn tables_of_pools<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> Vec<Table<'d>> {
    let first = table.get("pool").map(|value| match value.get_ref().as_array() {
        Some(entries) => entries.first().unwrap_or(value),
        None => value,
    });
    if let Some(value) = first.filter(|value| value.get_ref().is_str()) {
        let message = "a pool with rules of its own is a table, not text";
        let complaint = Complaint::new(message, "ranges go into `pools`");
        reader.complain_about(table, "pool", value.span().start, complaint);
        return Vec::new();
    }
    reader.tables(table, "pool", &grammar::POOL)
}

/// Reads one `[[network.subnet.pool]]`: a range of it each.
fn special_pool(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    (network, names): (Gated, &Names),
    placed: &mut Vec<PlacedPool>,
) -> Vec<SpecialPool> {
    let ranges = reader.parsed_list(table, "ranges", POOLS_MAX, value::range).unwrap_or_default();
    if !table.has("ranges") {
        reader.missing(table, "ranges", "as in ranges = [\"10.20.0.10-10.20.0.99\"]");
    }
    let clients = client_classes::classes_named(reader, table, "classes", names);
    let class = reader.parsed(table, "registration", client_classes::registration);
    let class = class.map(|placed| placed.value);
    if class.is_some() && !network.gate_by.pools {
        let complaint = Complaint::new(
            "this network is not gated by pools: all its pools are for registered hosts and others",
            "leave registration out, or give the network gate-by = [\"sets\", \"pools\"] or [\"pools\"]",
        );
        reader.complain_about(table, "registration", table.place_of("registration"), complaint);
    }
    let options = option_value::options(reader, table);
    let mut pools = Vec::with_capacity(ranges.len());
    for range in ranges {
        placed.push(PlacedPool { class, is_special: true, range });
        pools.push(SpecialPool { range: range.value, class, clients, options: options.clone() });
    }
    pools
}

/// Whom a reservation is for.
fn holder(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    devices: &mut BTreeMap<Holder, usize>,
) -> Option<Holder> {
    let said = ["mac", "client-identifier", "circuit-id"].map(|key| table.has(key));
    match said.into_iter().filter(|is_said| *is_said).count() {
        0 => {
            reader.missing(table, "mac", "as in mac = \"02:00:5e:00:53:01\"");
            return None;
        }
        1 => {}
        _ => {
            let message = "mac, client-identifier and circuit-id do not go together";
            let complaint = Complaint::new(message, "keep one of them");
            reader.complain(table.at, table.path.clone(), complaint);
            return None;
        }
    }
    let of_bytes = |make: fn(Box<[u8]>) -> Holder| {
        move |text: &str| Ok(make(client_classes::bytes_or_text(text)?.into()))
    };
    let hardware = reader.parsed(table, "mac", |text| device(text).map(Holder::Hardware));
    let client = reader.parsed(table, "client-identifier", of_bytes(Holder::Client));
    let circuit = reader.parsed(table, "circuit-id", of_bytes(Holder::Circuit));
    let (key, Placed { value: holder, at }) = hardware
        .map(|it| ("mac", it))
        .or_else(|| client.map(|it| ("client-identifier", it)))
        .or_else(|| circuit.map(|it| ("circuit-id", it)))?;
    if let Some(first) = devices.get(&holder).copied() {
        let line = reader.line(first);
        let shown = match &holder {
            Holder::Hardware(hardware) => quoted(&hardware.to_string()),
            Holder::Client(_) | Holder::Circuit(_) => "this".to_owned(),
        };
        let message = format!("{shown} already has a reservation in this network, on line {line}");
        let remedy = "a device gets one address in each network";
        reader.complain_about(table, key, at, Complaint::new(message, remedy));
    } else {
        devices.insert(holder.clone(), at);
    }
    Some(holder)
}

fn reservation(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: &Names,
    prefix: Option<&Placed<Ipv4Network>>,
    addresses: &mut BTreeMap<Ipv4Addr, usize>,
    devices: &mut BTreeMap<Holder, usize>,
) -> Option<Reservation> {
    let holder = holder(reader, table, devices);
    let address = reader.parsed(table, "address", value::address);
    if !table.has("address") {
        reader.missing(table, "address", "as in address = \"10.20.0.5\"");
    }
    if let Some(Placed { value: address, at }) = address {
        if let Some(first) = addresses.get(&address).copied() {
            let message = format!("`{address}` is already reserved on line {}", reader.line(first));
            reader.complain_about(table, "address", at, Complaint::plain(message));
        } else {
            addresses.insert(address, at);
        }
        if let Some(Placed { value: prefix, at: prefix_at }) = prefix {
            let wrong = if !prefix.contains(address) {
                let line = reader.line(*prefix_at);
                Some(format!("`{address}` is outside its subnet {prefix} of line {line}"))
            } else {
                unusable(prefix, address).map(|what| format!("`{address}` is {what} of {prefix}"))
            };
            if let Some(message) = wrong {
                reader.complain_about(table, "address", at, Complaint::plain(message));
            }
        }
    }
    let mut options = option_value::options(reader, table);
    if let Some(name) = reader.parsed(table, "host-name", client_classes::host_name)
        && options.insert(code::HOST_NAME, name.value.as_bytes()).is_some()
    {
        let complaint = Complaint::plain("the host name is said twice, here and in options");
        reader.complain_about(table, "host-name", name.at, complaint);
    }
    let profile = client_classes::profile_named(reader, table, names);
    Some(Reservation { holder: holder?, address: address?.value, options, profile })
}

/// Brings the pools into ascending order, and notes those that lie outside, on the edge or over one
/// another as mistakes.
fn check_pools(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    prefix: Option<&Placed<Ipv4Network>>,
    pools: &mut [PlacedPool],
) {
    for PlacedPool { class, is_special, range: pool } in pools.iter() {
        let Some(Placed { value: prefix, at: prefix_at }) = prefix else { break };
        let shown = value::range_in_words(&pool.value);
        let complaint = if !prefix.contains(pool.value.first) || !prefix.contains(pool.value.last) {
            let line = reader.line(*prefix_at);
            let inside = usable(prefix);
            let message =
                format!("the pool `{shown}` lies outside its prefix {prefix} of line {line}");
            Complaint::new(message, format!("inside are {}", value::range_in_words(&inside)))
        } else {
            let ends = [prefix.network(), prefix.broadcast()];
            let inside = ends.into_iter().filter(|end| pool.value.contains(*end));
            let Some(what) = inside.filter_map(|end| unusable(prefix, end)).next() else {
                continue;
            };
            let usable = usable(prefix);
            let range = AddressRange {
                first: pool.value.first.max(usable.first),
                last: pool.value.last.min(usable.last),
            };
            let message = format!("the pool `{shown}` holds {what} of {prefix}");
            if range.first > range.last {
                Complaint::plain(message)
            } else {
                Complaint::new(message, format!("write \"{}\"", value::range_in_words(&range)))
            }
        };
        let key = if *is_special { "pool" } else { classes::pools_key(*class) };
        reader.complain_about(table, key, pool.at, complaint);
    }
    pools.sort_by_key(|pool| (pool.range.value, pool.range.at));
    // In ascending order, the pool that reaches highest so far is the one that may be run into.
    let mut highest: Option<Placed<AddressRange>> = None;
    for PlacedPool { class, is_special, range: pool } in pools.iter() {
        if let Some(other) = highest.filter(|other| other.value.last >= pool.value.first) {
            let (earlier, later) = if other.at < pool.at { (other, *pool) } else { (*pool, other) };
            let message = format!(
                "the pool `{}` overlaps the pool `{}` of line {}",
                value::range_in_words(&later.value),
                value::range_in_words(&earlier.value),
                reader.line(earlier.at),
            );
            let key = if *is_special { "pool" } else { classes::pools_key(*class) };
            reader.complain_about(table, key, later.at, Complaint::plain(message));
        }
        if highest.is_none_or(|other| pool.value.last > other.value.last) {
            highest = Some(*pool);
        }
    }
}

/// Notes every prefix that overlaps another. Prefixes that overlap lie in one another, so in
/// ascending order, the wider first, each has to be held only against the innermost around it.
fn refuse_overlapping_prefixes(
    reader: &mut Reader<'_>,
    mut prefixes: Vec<(Placed<Ipv4Network>, String)>,
) {
    prefixes.sort_by_key(|(prefix, _)| (prefix.value.network(), prefix.value.prefix(), prefix.at));
    let mut around: Vec<&(Placed<Ipv4Network>, String)> = Vec::new();
    for this in &prefixes {
        while around.pop_if(|other| !other.0.value.contains(this.0.value.network())).is_some() {}
        if let Some(other) = around.last() {
            let (earlier, later) =
                if other.0.at < this.0.at { (*other, this) } else { (this, *other) };
            let message = format!(
                "the prefix {} overlaps {} of line {}",
                later.0.value,
                earlier.0.value,
                reader.line(earlier.0.at),
            );
            reader.complain(later.0.at, later.1.clone(), Complaint::plain(message));
        }
        around.push(this);
    }
}

/// A prefix that hosts can be in.
fn host_prefix(text: &str) -> Result<Ipv4Network, Complaint> {
    let prefix = value::prefix(text)?;
    if prefix.prefix() == 0 || prefix.network().is_multicast() || prefix.network().is_unspecified()
    {
        return Err(Complaint::plain(format!("{} holds no addresses for hosts", quoted(text))));
    }
    Ok(prefix)
}

/// A hardware address that a device can have.
fn device(text: &str) -> Result<HardwareAddress, Complaint> {
    let hardware: HardwareAddress = text.parse().map_err(|_| {
        let message = format!("{} is not a hardware address", quoted(text));
        Complaint::new(message, "write it as in \"02:00:5e:00:53:01\"")
    })?;
    let ethernet = hardware.hardware_type() == HardwareAddress::ETHERNET;
    let group = hardware.bytes().first().is_some_and(|byte| byte & 1 == 1);
    if hardware.is_zero() || (ethernet && group) {
        let message = format!("{} is not the address of a device", quoted(text));
        return Err(Complaint::new(message, "it is all zero, or that of a multicast group"));
    }
    Ok(hardware)
}

/// What an address is if no host of the prefix can have it. A /31 and a /32 have neither network
/// nor broadcast address (RFC 3021).
fn unusable(prefix: &Ipv4Network, address: Ipv4Addr) -> Option<&'static str> {
    if prefix.prefix() >= 31 {
        None
    } else if address == prefix.network() {
        Some("the network address")
    } else if address == prefix.broadcast() {
        Some("the broadcast address")
    } else {
        None
    }
}

/// The addresses of a prefix that hosts can have.
fn usable(prefix: &Ipv4Network) -> AddressRange {
    let edge = u32::from(prefix.prefix() < 31);
    AddressRange {
        first: Ipv4Addr::from(u32::from(prefix.network()) + edge),
        last: Ipv4Addr::from(u32::from(prefix.broadcast()) - edge),
    }
}
