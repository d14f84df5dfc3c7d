//! Hosts with fixed addresses become reservations.

use super::options::entries;
use super::{Gating, NetworkDraft, Plan, ReservationPlan, not_needed};
use crate::isc::draft::{Draft, HostDraft, Setting};
use crate::isc::syntax::Place;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::HardwareAddress;

const HOST_NAME: u8 = 12;

/// What is reserved already, and on which line.
#[derive(Default)]
struct Taken {
    addresses: BTreeMap<Ipv4Addr, Place>,
    devices: BTreeMap<(usize, HardwareAddress), Place>,
}

pub(super) fn reservations(
    draft: &mut Draft,
    networks: &[NetworkDraft],
    plan: &mut Plan,
    gating: &Gating,
) {
    let mut taken = Taken::default();
    // By the last address of each prefix, to find an address's subnet.
    let mut subnets = BTreeMap::new();
    for (number, network) in plan.networks.iter().enumerate() {
        for (position, subnet) in network.subnets.iter().enumerate() {
            subnets.insert(subnet.prefix.broadcast(), (number, position));
        }
    }
    let scopes: BTreeMap<Ipv4Addr, usize> = networks
        .iter()
        .flat_map(|network| &network.subnets)
        .map(|subnet| (subnet.prefix.network(), subnet.scope))
        .collect();
    let hosts = std::mem::take(&mut draft.hosts);
    for host in &hosts {
        let what = format!("host {}", host.name);
        if let Some(place) = host.identifier {
            let remedy =
                "reservations are for hardware addresses here: write one with the device's mac";
            draft.report.left_out(place, what.clone(), remedy);
        }
        let Some(hardware) = host.hardware else {
            if host.identifier.is_none() {
                let remedy =
                    "it has no hardware address: write a reservation with the device's mac";
                draft.report.left_out(host.place, what, remedy);
            }
            continue;
        };
        if hardware.is_zero() || hardware.is_group() {
            draft.report.left_out(
                host.place,
                what,
                format!("{hardware} is not the address of a device"),
            );
            continue;
        }
        if host.addresses.is_empty() {
            without_address(draft, host, gating);
            continue;
        }
        for (address, place) in &host.addresses {
            let what = format!("host {} at {address}", host.name);
            let found = subnets.range(address..).next().map(|(_, found)| *found);
            let subnet = found.and_then(|(number, position)| {
                let network = plan.networks.get(number)?;
                let subnet = network.subnets.get(position)?;
                subnet.prefix.contains(*address).then_some((number, position, subnet.prefix))
            });
            let Some((number, position, prefix)) = subnet else {
                let remedy = "the address lies in no subnet that was taken over";
                draft.report.left_out(*place, what, remedy);
                continue;
            };
            if prefix.prefix() < 31
                && (*address == prefix.network() || *address == prefix.broadcast())
            {
                draft.report.left_out(
                    *place,
                    what,
                    format!("no host of {prefix} can have this address"),
                );
                continue;
            }
            let first = taken.addresses.get(address).copied();
            if let Some(first) = first {
                let first = draft.report.place_text(first);
                let remedy = format!(
                    "{address} is reserved for another device ({first}): an address is reserved for one here, give the \
                     other one an address of its own"
                );
                draft.report.left_out(*place, what, remedy);
                continue;
            }
            let first = taken.devices.get(&(number, hardware)).copied();
            if let Some(first) = first {
                let first = draft.report.place_text(first);
                let remedy = format!(
                    "{hardware} has a reservation in this network already ({first}), and gets one address in each"
                );
                draft.report.left_out(*place, what, remedy);
                continue;
            }
            taken.addresses.insert(*address, *place);
            taken.devices.insert((number, hardware), *place);
            let subnet_scope = scopes.get(&prefix.network()).copied();
            let settings = settings(draft, host, subnet_scope);
            let options = entries(draft, &settings);
            let subnet =
                plan.networks.get_mut(number).and_then(|network| network.subnets.get_mut(position));
            if let Some(subnet) = subnet {
                subnet.reservations.push(ReservationPlan { hardware, address: *address, options });
            }
        }
    }
    draft.hosts = hosts;
}

/// What holds for a host beyond its subnet: what its own braces say and those around them, as far as they
/// are not around the subnet too.
fn settings(draft: &Draft, host: &HostDraft, subnet: Option<usize>) -> BTreeMap<u8, Setting> {
    let around: Vec<usize> = subnet.map_or_else(Vec::new, |subnet| draft.chain(subnet).collect());
    let mut scopes: Vec<usize> =
        draft.chain(host.scope).filter(|scope| !around.contains(scope)).collect();
    scopes.reverse();
    let mut settings = super::merged(draft, &scopes);
    let by_name = [Some(host.scope), subnet]
        .into_iter()
        .flatten()
        .find_map(|scope| draft.number(scope, "use-host-decl-names"));
    if matches!(by_name, Some((1, _))) && !settings.contains_key(&HOST_NAME) {
        let contents = host.name.as_bytes().into();
        settings.insert(HOST_NAME, Setting { contents, place: host.place });
    }
    settings
}

/// A host that gets an address of a pool.
fn without_address(draft: &mut Draft, host: &HostDraft, gating: &Gating) {
    let what = format!("host {} without a fixed address", host.name);
    let options = draft.scopes.get(host.scope).map_or(0, |scope| scope.options.len());
    if options > 0 {
        let remedy = "options of one device stand with its reservation here: give it an address";
        draft.report.left_out(host.place, what, remedy);
    } else if !gating.registers_hosts() {
        let remedy =
            "it gets an address of a pool, like everybody: nothing depends on whether it is known";
        not_needed(&mut draft.report, host.place, what, remedy);
    }
}
