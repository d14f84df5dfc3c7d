//! Pools for known and for unknown clients become pools for registered and for unregistered hosts.
//!
//! A client that dhcpd knows has a host declaration, or is a member of a class by its hardware address.
//! Where each pool of a network is for one kind, for the other or for anybody, and the unknown are given
//! resolvers of their own, that is what `gate-by = ["pools"]` does (docs/gate.md), and the known clients
//! become registrations. Every other pool that is not for anybody is left out: to give its addresses to
//! everybody would open what was closed.

use super::{NetworkDraft, merged, not_needed, scopes_below};
use crate::isc::draft::{Draft, Permit, PoolDraft, Who};
use std::collections::{BTreeMap, BTreeSet};
use vestibule_core::{Class, HardwareAddress};

const DOMAIN_NAME_SERVERS: u8 = 6;

/// Whom dhcpd knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Whoever has a host declaration.
    Hosts,
    /// Members of a class.
    Members(String),
}

/// Whom a pool is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum For {
    Anybody,
    TheKnown(Known),
    TheUnknown(Known),
    /// It cannot be said here; why.
    Nobody(&'static str),
}

/// What became of the pools, by network and place in it.
#[derive(Debug, Default)]
pub(super) struct Gating {
    known: Option<Known>,
    /// Networks that are gated by pools.
    gated: BTreeSet<usize>,
    classes: BTreeMap<(usize, usize), Class>,
    /// Pools that are left out.
    left_out: BTreeSet<(usize, usize)>,
}

impl Gating {
    pub(super) fn is_gated(&self, network: usize) -> bool {
        self.gated.contains(&network)
    }

    pub(super) fn class_of(&self, network: usize, pool: usize) -> Option<Class> {
        self.classes.get(&(network, pool)).copied()
    }

    pub(super) fn is_left_out(&self, network: usize, pool: usize) -> bool {
        self.left_out.contains(&(network, pool))
    }

    pub(super) fn is_for_unregistered(&self, network: usize, pool: usize) -> bool {
        self.class_of(network, pool) == Some(Class::Unregistered)
    }

    /// Whether hosts with a declaration are the registered ones.
    pub(super) fn registers_hosts(&self) -> bool {
        self.known == Some(Known::Hosts)
    }
}

/// Finds out whom each pool is for.
pub(super) fn gating(draft: &mut Draft) -> Gating {
    let mut gating = Gating::default();
    let networks = std::mem::take(&mut draft.networks);
    for (number, network) in networks.iter().enumerate() {
        let whom: Vec<For> = network.pools.iter().map(|pool| for_whom(draft, pool)).collect();
        let why = match classes(draft, network, &whom, gating.known.as_ref()) {
            Ok(None) => None,
            Ok(Some(known)) => {
                gating.known = Some(known);
                gating.gated.insert(number);
                None
            }
            Err(why) => Some(why),
        };
        for (position, (pool, whom)) in network.pools.iter().zip(&whom).enumerate() {
            let place = (number, position);
            let why = match (whom, why) {
                (For::Anybody, _) => {
                    tell_needless(draft, pool);
                    continue;
                }
                (For::TheKnown(_), None) => {
                    gating.classes.insert(place, Class::Registered);
                    continue;
                }
                (For::TheUnknown(_), None) => {
                    gating.classes.insert(place, Class::Unregistered);
                    continue;
                }
                (For::TheKnown(_) | For::TheUnknown(_), Some(why)) => why,
                (For::Nobody(why), _) => *why,
            };
            gating.left_out.insert(place);
            leave_out(draft, pool, why);
        }
    }
    draft.networks = networks;
    gating
}

/// Whether a network can be gated by its pools, and who is known in it; none if all its pools are for
/// anybody.
fn classes(
    draft: &Draft,
    network: &NetworkDraft,
    whom: &[For],
    known_elsewhere: Option<&Known>,
) -> Result<Option<Known>, &'static str> {
    let mut known = None;
    let (mut registered, mut unregistered) = (false, false);
    for (pool, whom) in network.pools.iter().zip(whom) {
        let of = match whom {
            For::Anybody => {
                registered = true;
                continue;
            }
            For::Nobody(_) => continue,
            For::TheKnown(of) => {
                registered = true;
                of
            }
            For::TheUnknown(of) => {
                unregistered = true;
                if !resolvers_of_its_own(draft, network, pool) {
                    return Err(
                        "what would hold unknown clients back is not said: give the network gate-by = \
                                [\"pools\"], its addresses for them as pools-unregistered, the others as \
                                pools-registered, and options-unregistered with the lying resolver (docs/gate.md)",
                    );
                }
                of
            }
        };
        if known.as_ref().or(known_elsewhere).is_some_and(|known| known != of) {
            return Err(
                "hosts are registered or not here, and that distinction is made in another pool: give these \
                        addresses to anybody as pools, or the devices reservations",
            );
        }
        known = Some(of.clone());
    }
    match known {
        Some(_) if !unregistered => Err(
            "a client that is not known gets nothing here: that cannot be said. Give the network \
                                         pools-unregistered and gate-by = [\"pools\"] (docs/gate.md), or its addresses to \
                                         anybody, as pools",
        ),
        Some(_) if !registered => {
            Err("a network that is gated by pools needs addresses for registered hosts, too: see \
                                       docs/gate.md, or give its addresses to anybody, as pools")
        }
        known => Ok(known),
    }
}

/// Whether what a pool for the unknown says, or a subnet with no other pools, names resolvers.
fn resolvers_of_its_own(draft: &Draft, network: &NetworkDraft, pool: &PoolDraft) -> bool {
    let below = scopes_below(draft, pool.scope, Some(network.scope));
    merged(draft, &below).contains_key(&DOMAIN_NAME_SERVERS)
}

fn for_whom(draft: &Draft, pool: &PoolDraft) -> For {
    const UNCLEAR: &str = "whom it is for cannot be said here: give its addresses to anybody, as pools, or to registered \
                           hosts, as pools-registered (docs/gate.md), or give the devices reservations";
    let (allowed, denied): (Vec<&Permit>, Vec<&Permit>) =
        pool.permits.iter().partition(|permit| permit.is_allowed);
    let allowed = meaning(draft, &allowed, true);
    let denied = meaning(draft, &denied, false);
    let refuses_unknown = matches!(draft.number(pool.scope, "unknown-clients"), Some((0, _)));
    let scoped = if refuses_unknown { For::TheKnown(Known::Hosts) } else { For::Anybody };
    [allowed, denied, scoped]
        .into_iter()
        .reduce(|one, other| match (one, other) {
            (For::Anybody, other) | (other, For::Anybody) => other,
            (one, other) if one == other => one,
            _ => For::Nobody(UNCLEAR),
        })
        .unwrap_or(For::Anybody)
}

/// What the permits of one kind say together.
fn meaning(draft: &Draft, permits: &[&Permit], is_allowed: bool) -> For {
    const CLASS: &str = "members of the class are not told apart here: give its addresses to anybody, as pools, or the \
                         devices reservations, or a network of their own";
    const OTHER: &str = "this condition has no equal here: give its addresses to anybody, as pools, if they shall have them";
    const NOBODY: &str = "it gives addresses to nobody that is answered here";
    let who: BTreeSet<&Who> = permits.iter().map(|permit| &permit.who).collect();
    let has_bootp = who.contains(&Who::Bootp);
    let who: Vec<&Who> = who.into_iter().filter(|who| **who != Who::Bootp).collect();
    let of = |known, is_for_them| {
        if is_for_them { For::TheKnown(known) } else { For::TheUnknown(known) }
    };
    let has = |one: &Who| who.contains(&one);
    if has(&Who::All) || (has(&Who::Known) && has(&Who::Unknown)) {
        return if is_allowed { For::Anybody } else { For::Nobody(NOBODY) };
    }
    match who.as_slice() {
        [] if has_bootp && is_allowed => For::Nobody(NOBODY),
        [] => For::Anybody,
        [Who::Known] => of(Known::Hosts, is_allowed),
        [Who::Unknown] => of(Known::Hosts, !is_allowed),
        [Who::Class(name)] => match draft.classes.get(name) {
            Some(class) if class.is_of_devices => of(Known::Members(name.clone()), is_allowed),
            _ => For::Nobody(CLASS),
        },
        [.., Who::Class(_)] | [Who::Class(_), ..] => For::Nobody(CLASS),
        _ => For::Nobody(OTHER),
    }
}

/// Permits of a pool that is for anybody.
fn tell_needless(draft: &mut Draft, pool: &PoolDraft) {
    for permit in &pool.permits {
        let remedy = match permit.who {
            Who::Bootp => "this server answers no BOOTP",
            _ => "a pool without further words is for anybody",
        };
        not_needed(&mut draft.report, permit.place, in_words(permit), remedy);
    }
}

fn leave_out(draft: &mut Draft, pool: &PoolDraft, why: &str) {
    let ranges: Vec<String> = pool
        .ranges
        .iter()
        .map(|range| format!("{}-{}", range.range.first, range.range.last))
        .collect();
    let permits: Vec<String> = pool.permits.iter().map(in_words).collect();
    let said =
        if permits.is_empty() { "deny unknown-clients".to_owned() } else { permits.join(", ") };
    let what = format!("pool {} ({said})", ranges.join(", "));
    draft.report.left_out(pool.place, what, why);
}

fn in_words(permit: &Permit) -> String {
    let verb = if permit.is_allowed { "allow" } else { "deny" };
    let who = match &permit.who {
        Who::Known => "known-clients",
        Who::Unknown => "unknown-clients",
        Who::All => "all clients",
        Who::Bootp => "dynamic bootp clients",
        Who::Class(name) => return format!("{verb} members of \"{name}\""),
        Who::Other => "others",
    };
    format!("{verb} {who}")
}

/// The devices that dhcpd knew, with what is to be remembered of each. Reports the hosts and classes that
/// nothing depends on.
pub(super) fn registered(draft: &mut Draft, gating: &Gating) -> BTreeMap<HardwareAddress, String> {
    let mut registered = BTreeMap::new();
    match &gating.known {
        Some(Known::Hosts) => {
            for host in &draft.hosts {
                if let Some(hardware) = host.hardware {
                    registered.insert(hardware, format!("host {} of dhcpd.conf", host.name));
                }
            }
        }
        Some(Known::Members(class)) => {
            let members = draft.classes.get(class).map(|class| &class.members);
            for hardware in members.into_iter().flatten().map(|(hardware, _)| *hardware) {
                registered.insert(hardware, format!("member of {class} of dhcpd.conf"));
            }
        }
        None => {}
    }
    for (name, class) in &draft.classes {
        let is_used = gating.known == Some(Known::Members(name.clone()));
        if class.is_of_devices && !is_used {
            let what = format!("class \"{name}\" with {} members", class.members.len());
            let remedy = "no pool that was taken over is for its members: register the devices, if that is what it was \
                          for (`vestibule registrations import`)";
            draft.report.left_out(class.place, what, remedy);
        }
    }
    registered
}
