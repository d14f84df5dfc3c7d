//! What [`explain`](crate::explain::explain) says of networks, their subnets, pools and options.

use crate::checked::Vestibule;
use crate::explain::counted;
use crate::option_definitions::OptionDefinition;
use crate::option_value::{NEXT_SERVER, in_words, name_of};
use crate::value::{duration_in_words, range_in_words};
use std::fmt::{self, Write as _};
use vestibule_core::{Class, GateBy, Network, OptionSet, PerClass, RandomisedAddresses, Subnet};

/// The options that the file named.
type Names<'v> = &'v [OptionDefinition];

/// One network with its subnets.
pub(crate) fn network(text: &mut String, network: &Network, vestibule: &Vestibule) -> fmt::Result {
    let (rules, names) = (&vestibule.core.registration, vestibule.option_definitions.as_slice());
    let by = match network.gate_by {
        _ if !network.gated => "not gated",
        GateBy { pools: false, .. } => "gated",
        GateBy { sets: false, .. } => "gated by pools",
        GateBy { .. } => "gated by kernel sets and by pools",
    };
    writeln!(text, "\nnetwork {}, {by}", network.name)?;
    if network.gated && network.gate_by.pools {
        writeln!(
            text,
            "  a host that registers, or is registered no more, gets another address at its next renewal"
        )?;
    }
    match network.randomised_addresses {
        RandomisedAddresses::Allow => {}
        RandomisedAddresses::AllowBriefly => {
            let lifetime = duration_in_words(rules.lifetime_randomised_seconds);
            writeln!(text, "  registers randomised addresses for {lifetime} at most")?;
        }
        RandomisedAddresses::Refuse => writeln!(text, "  registers no randomised addresses")?,
    }
    options(text, names, &network.options, "  ", None)?;
    class_options(text, names, &network.class_options, "  ")?;
    for subnet_configured in &network.subnets {
        subnet(text, vestibule, subnet_configured)?;
    }
    Ok(())
}

fn subnet(text: &mut String, vestibule: &Vestibule, subnet: &Subnet) -> fmt::Result {
    let names = vestibule.option_definitions.as_slice();
    writeln!(text, "  subnet {}", subnet.prefix)?;
    for (class, pool) in subnet.plain_pools() {
        let size = counted(pool.size(), "address", "addresses");
        writeln!(text, "    pool {}, {size}{}", range_in_words(&pool), for_hosts(class))?;
    }
    for pool in &subnet.special_pools {
        let size = counted(pool.range.size(), "address", "addresses");
        let (range, hosts) = (range_in_words(&pool.range), for_hosts(pool.class));
        let classes: Vec<&str> = pool
            .clients
            .iter()
            .filter_map(|index| vestibule.core.policy.classes.get(index))
            .map(|class| &*class.name)
            .collect();
        let clients = if classes.is_empty() {
            String::new()
        } else {
            format!(", for clients of {}", classes.join(", "))
        };
        writeln!(text, "    pool {range}, {size}{hosts}{clients}")?;
        options(text, names, &pool.options, "      ", None)?;
    }
    if subnet.all_pools().next().is_none() {
        writeln!(text, "    no pools")?;
    }
    let reservations = &subnet.reservations;
    let pooled = reservations.iter().filter(|reservation| {
        subnet.all_pools().any(|(_, pool)| pool.contains(reservation.address))
    });
    let count = counted(reservations.len() as u64, "reservation", "reservations");
    let with_options = reservations.iter().filter(|reservation| !reservation.options.is_empty());
    write!(text, "    {count}")?;
    if !reservations.is_empty() {
        let (pooled, with_options) = (pooled.count(), with_options.count());
        write!(text, ", {pooled} in pools, {with_options} with options")?;
    }
    writeln!(text)?;
    if let Some(profile) =
        subnet.profile.and_then(|index| vestibule.core.policy.profiles.get(index.0))
    {
        writeln!(text, "    uses the profile {}", profile.name)?;
    }
    options(text, names, &subnet.options, "    ", None)?;
    class_options(text, names, &subnet.class_options, "    ")
}

fn class_options(
    text: &mut String,
    names: Names<'_>,
    of: &PerClass<OptionSet>,
    indent: &str,
) -> fmt::Result {
    for class in Class::ALL {
        options(text, names, of.of(class), indent, Some(class))?;
    }
    Ok(())
}

const fn for_hosts(class: Option<Class>) -> &'static str {
    match class {
        None => "",
        Some(Class::Registered) => ", for registered hosts",
        Some(Class::Unregistered) => ", for unregistered hosts",
    }
}

/// Options as they would be written in the file.
pub(crate) fn options(
    text: &mut String,
    names: Names<'_>,
    options: &OptionSet,
    indent: &str,
    class: Option<Class>,
) -> fmt::Result {
    if let Some(address) = options.next_server() {
        writeln!(text, "{indent}{NEXT_SERVER} = {address}{}", for_hosts(class))?;
    }
    for (code, contents) in options.iter() {
        let (name, value) = (name_of(names, code), in_words(names, code, contents));
        writeln!(text, "{indent}option {name} = {value}{}", for_hosts(class))?;
    }
    Ok(())
}
