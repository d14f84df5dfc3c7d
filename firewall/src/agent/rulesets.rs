//! One table out of what one or two servers want it to be made from. Pure.
//!
//! Prefixes and servers' addresses are put together: an address is gated if either server says so. Where there
//! can be only one (the resolver, the redirect, the portal), the first server in the agent's file is
//! followed, and the difference is named.

use crate::{Ruleset, TABLE_DEFAULT};
use ipnetwork::Ipv6Network;

/// The table, and what the servers disagree about.
#[must_use]
pub fn joined(rulesets: &[&Ruleset]) -> Option<(Ruleset, Vec<&'static str>)> {
    let (first, others) = rulesets.split_first()?;
    let mut all = Ruleset { table: TABLE_DEFAULT.to_owned(), ..(*first).clone() };
    let mut differences = Vec::new();
    for other in others {
        extend(&mut all.gated_prefixes, &other.gated_prefixes);
        extend(&mut all.gated_prefixes_ipv6, &other.gated_prefixes_ipv6);
        // The stricter word counts.
        let refuses = |ruleset: &Ruleset, prefix: &Ipv6Network| {
            ruleset.gated_prefixes_ipv6.contains(prefix)
                && !ruleset.gated_prefixes_ipv6_by_hardware.contains(prefix)
        };
        extend(&mut all.gated_prefixes_ipv6_by_hardware, &other.gated_prefixes_ipv6_by_hardware);
        all.gated_prefixes_ipv6_by_hardware
            .retain(|prefix| !rulesets.iter().any(|ruleset| refuses(ruleset, prefix)));
        extend(&mut all.garden_prefixes, &other.garden_prefixes);
        extend(&mut all.server_addresses, &other.server_addresses);
        // Each may have given out addresses of its own.
        all.elements_max = all.elements_max.saturating_add(other.elements_max).min(u32::MAX / 2);
        for (name, differs) in [
            ("the lying resolver", first.lying_resolver != other.lying_resolver),
            ("the redirect", first.redirect != other.redirect),
            ("the portal", first.portal != other.portal),
            (
                "whether the portal's port 80 is redirected",
                first.portal_redirected != other.portal_redirected,
            ),
        ] {
            if differs {
                differences.push(name);
            }
        }
    }
    Some((all, differences))
}

fn extend<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ruleset(gated: &str, server: u8) -> Ruleset {
        let service = "10.0.0.54:53".parse().unwrap();
        Ruleset {
            table: "other".to_owned(),
            gated_prefixes: vec![gated.parse().unwrap()],
            gated_prefixes_ipv6: Vec::new(),
            gated_prefixes_ipv6_by_hardware: Vec::new(),
            portal: Ipv4Addr::new(10, 0, 0, 80),
            portal_redirected: true,
            garden_prefixes: Vec::new(),
            lying_resolver: service,
            redirect: service,
            captive: None,
            server_addresses: vec![Ipv4Addr::new(10, 0, 0, server)],
            elements_max: 100,
        }
    }

    #[test]
    fn either_server_gates_and_both_are_reached() {
        let (one, mut other) = (ruleset("10.20.0.0/22", 67), ruleset("10.30.0.0/24", 68));
        let (all, differences) = joined(&[&one, &other]).unwrap();
        assert_eq!(all.gated_prefixes.len(), 2);
        assert_eq!(all.server_addresses.len(), 2);
        assert_eq!((all.elements_max, &*all.table), (200, TABLE_DEFAULT));
        assert!(differences.is_empty());

        other.portal = Ipv4Addr::new(10, 0, 0, 81);
        let (all, differences) = joined(&[&one, &other]).unwrap();
        assert_eq!((all.portal, differences), (one.portal, vec!["the portal"]));
        assert_eq!(joined(&[]), None);
    }

    #[test]
    fn what_both_say_stands_once() {
        let one = ruleset("10.20.0.0/22", 67);
        let (all, _) = joined(&[&one, &one]).unwrap();
        assert_eq!((all.gated_prefixes.len(), all.server_addresses.len()), (1, 1));
    }
}
