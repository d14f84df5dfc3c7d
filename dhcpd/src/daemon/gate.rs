//! The gate on this host, as the daemon uses it.

use crate::commit::Enforcement;
use vestibule_core::{GateChange, GateContents};
use vestibule_firewall::{FirewallError, Garden, Gate, Ruleset, Watch};

/// The kernel sets as the barrier changes them.
pub(super) struct LocalGate(Gate);

impl Enforcement for LocalGate {
    type Error = FirewallError;

    fn apply(&mut self, changes: &[GateChange]) -> Result<(), FirewallError> {
        self.0.apply(changes)
    }

    fn replace(&mut self, contents: &GateContents) -> Result<(), FirewallError> {
        self.0.replace_all(contents)
    }
}

/// What looks after a gate beside the barrier.
pub(super) struct Beside {
    /// Tells of changes by others.
    pub(super) watch: Watch,
    /// The way for addresses of the garden.
    pub(super) garden: Garden,
}

/// Makes the table with these contents.
pub(super) fn open(
    plan: Option<Ruleset>,
    contents: &GateContents,
) -> Result<(Option<LocalGate>, Option<Beside>), FirewallError> {
    let Some(ruleset) = plan else { return Ok((None, None)) };
    let ruleset = with_room_for(ruleset, contents.elements.len());
    let (gate, mut watch) = Gate::open_watched(ruleset, contents)?;
    let garden = gate.garden()?;
    watch.ignore(&garden)?;
    Ok((Some(LocalGate(gate)), Some(Beside { watch, garden })))
}

/// Leases outlive the pools that they came from: after a pool was made smaller, those of the old pool
/// and those of the new one are in the sets at once.
fn with_room_for(ruleset: Ruleset, loaded: usize) -> Ruleset {
    let loaded = u32::try_from(loaded).unwrap_or(u32::MAX);
    // Half of the range is the most that a ruleset takes.
    let elements_max = ruleset.elements_max.saturating_add(loaded).min(u32::MAX / 2);
    Ruleset { elements_max, ..ruleset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use vestibule_firewall::TABLE_DEFAULT;

    #[test]
    fn leases_of_a_pool_that_was_made_smaller_still_have_room() {
        let service = "10.0.0.54:53".parse().unwrap();
        let ruleset = Ruleset {
            table: TABLE_DEFAULT.to_owned(),
            gated_prefixes: Vec::new(),
            gated_prefixes_ipv6: Vec::new(),
            gated_prefixes_ipv6_by_hardware: Vec::new(),
            portal: Ipv4Addr::new(10, 0, 0, 80),
            portal_redirected: false,
            garden_prefixes: Vec::new(),
            lying_resolver: service,
            redirect: service,
            captive: None,
            server_addresses: Vec::new(),
            elements_max: 6,
        };
        assert_eq!(with_room_for(ruleset.clone(), 11).elements_max, 17);
        assert_eq!(with_room_for(ruleset, usize::MAX).elements_max, u32::MAX / 2);
    }
}
