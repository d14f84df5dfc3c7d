//! What a gated network has for the hosts of one class, registered or unregistered: `gate-by`, pools and
//! options.
//!
//! It promises that a network that is gated by pools can hold hosts back and let them go: there is a pool
//! for each class, and unregistered hosts are given a resolver of their own, unless the kernel sets lead
//! their questions there anyway.

use crate::mistake::{Complaint, quoted};
use crate::option_table::DOMAIN_NAME_SERVERS;
use crate::option_value;
use crate::reader::{Placed, Reader, Table};
use crate::sections::unique_by;
use vestibule_core::{AddressRange, Class, GateBy, Network, OptionSet, PerClass, Subnet};

/// Entries of `gate-by` that are looked at; of two that are known, more are a mistake anyway.
const GATE_BY_MAX: usize = 16;

/// A pool as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedPool {
    /// The class of hosts that it is for; `None`: for anybody.
    pub(crate) class: Option<Class>,
    /// Whether it has a table of its own.
    pub(crate) is_special: bool,
    pub(crate) range: Placed<AddressRange>,
}

/// The key of the pools for a class, or for anybody.
pub(crate) const fn pools_key(class: Option<Class>) -> &'static str {
    match class {
        None => "pools",
        Some(Class::Registered) => "pools-registered",
        Some(Class::Unregistered) => "pools-unregistered",
    }
}

/// The key of the options for a class.
pub(crate) const fn options_key(class: Class) -> &'static str {
    match class {
        Class::Registered => "options-registered",
        Class::Unregistered => "options-unregistered",
    }
}

/// What stands in a network's table of what applies to one class only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gated {
    /// Whether the network is gated; what was not said right is taken for yes, one mistake is enough.
    gated: bool,
    pub(crate) gate_by: GateBy,
    /// Where it is said by what.
    at: usize,
}

/// Reads `gate-by` of a network.
pub(crate) fn gated(reader: &mut Reader<'_>, table: &Table<'_>, gated: Option<bool>) -> Gated {
    let gated = gated.unwrap_or(true);
    let at = table.place_of("gate-by");
    let nothing = GateBy { sets: false, pools: false, ipv6_by_hardware: false };
    let parts = reader.parsed_list(table, "gate-by", GATE_BY_MAX, |text| match text {
        "sets" => Ok(GateBy { sets: true, ..nothing }),
        "pools" => Ok(GateBy { pools: true, ..nothing }),
        _ => Err(Complaint::new(
            format!("{} holds no host back", quoted(text)),
            "known are \"sets\", those of the kernel, and \"pools\"",
        )),
    });
    let Some(parts) = parts else { return Gated { gated, gate_by: GateBy::default(), at } };
    let shown = |part: &GateBy| if part.sets { "sets" } else { "pools" }.to_owned();
    let is_empty = table
        .get("gate-by")
        .and_then(|value| value.get_ref().as_array())
        .is_some_and(|entries| entries.is_empty());
    let found =
        unique_by(reader, table, "gate-by", parts, shown).into_iter().fold(nothing, |sum, part| {
            GateBy { sets: sum.sets || part.sets, pools: sum.pools || part.pools, ..sum }
        });
    // What was said wrong is not taken for something else further on.
    let gate_by = if found.sets || found.pools { found } else { GateBy::default() };
    if !gated {
        let message = "this network is not gated: nothing holds its hosts back";
        let complaint = Complaint::new(message, "leave gate-by out, or gate the network");
        reader.complain_about(table, "gate-by", at, complaint);
    } else if is_empty {
        let message = "nothing holds unregistered hosts of this network back";
        let remedy = "write gate-by = [\"sets\"], [\"pools\"] or both, or gated = false";
        reader.complain_about(table, "gate-by", at, Complaint::new(message, remedy));
    }
    Gated { gated, gate_by, at }
}

/// Reads the options for each class, of a network or of a subnet of it.
pub(crate) fn options(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    network: Gated,
) -> PerClass<OptionSet> {
    let mut options = PerClass::default();
    for class in Class::ALL {
        let key = options_key(class);
        *options.of_mut(class) = option_value::options_under(reader, table, key);
        if table.has(key) && !network.gated {
            let message = format!("this network is not gated: it knows no {} hosts", class.name());
            let complaint = Complaint::new(message, "write options, or gate the network");
            reader.complain_about(table, key, table.place_of(key), complaint);
        }
    }
    options
}

/// Notes a mistake for each kind of pools for one class that a subnet has without a gate by pools.
pub(crate) fn refuse_useless_pools(reader: &mut Reader<'_>, table: &Table<'_>, network: Gated) {
    for class in Class::ALL {
        let key = pools_key(Some(class));
        if !table.has(key) {
            continue;
        }
        let complaint = if !network.gated {
            let message = format!("this network is not gated: it knows no {} hosts", class.name());
            Complaint::new(message, "write pools, or gate the network")
        } else if network.gate_by.pools {
            continue;
        } else {
            Complaint::new(
                "this network is not gated by pools: all its pools are for anybody",
                "write pools, or give the network gate-by = [\"sets\", \"pools\"], or [\"pools\"] without the kernel sets",
            )
        };
        reader.complain_about(table, key, table.place_of(key), complaint);
    }
}

/// Notes what a network that is gated by pools does not have, after its subnets were read.
pub(crate) fn check_network(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    gated: Gated,
    network: &Network,
) {
    // A network with a mistake in it may have meant what is missing here: one mistake is then enough.
    if !gated.gated || !gated.gate_by.pools || reader.found_any() {
        return;
    }
    let name = quoted(&network.name);
    let mut complain = |complaint| reader.complain_about(table, "gate-by", gated.at, complaint);
    let any = |class| {
        let mut pools = network.subnets.iter().flat_map(Subnet::all_pools);
        pools.any(|(of, _)| of == class)
    };
    if !any(Some(Class::Unregistered)) {
        complain(Complaint::new(
            format!("network {name} is gated by pools and has none for unregistered hosts"),
            "give one of its subnets pools-unregistered",
        ));
    }
    if !any(Some(Class::Registered)) && !any(None) {
        complain(Complaint::new(
            format!("network {name} has no pool for registered hosts"),
            "give one of its subnets pools-registered",
        ));
    }
    if gated.gate_by.sets {
        return;
    }
    for subnet in network.subnets.iter().filter(|subnet| serves_unregistered(subnet)) {
        if resolvers_of(network, subnet, Class::Unregistered).is_none() {
            complain(Complaint::new(
                format!(
                    "network {name} is gated by pools alone, and unregistered hosts in {} are not given \
                     the lying resolver: nothing would hold them back",
                    subnet.prefix
                ),
                "give the network options-unregistered = { domain-name-servers = [\"10.0.0.54\"] }, or gate \
                 it by \"sets\" too",
            ));
        }
    }
}

/// Whether unregistered hosts get addresses of its pools.
pub(crate) fn serves_unregistered(subnet: &Subnet) -> bool {
    subnet.all_pools().any(|(class, _)| class != Some(Class::Registered))
}

/// The resolvers that are given to the hosts of one class alone.
pub(crate) fn resolvers_of<'n>(
    network: &'n Network,
    subnet: &'n Subnet,
    class: Class,
) -> Option<&'n [u8]> {
    let of_subnet = subnet.class_options.of(class).get(DOMAIN_NAME_SERVERS);
    of_subnet.or_else(|| network.class_options.of(class).get(DOMAIN_NAME_SERVERS))
}
