//! What is shown of the failover pair; nothing of a server that is alone.

use super::Metrics;
use super::exposition::{Sample, number, signed};
use vestibule_core::failover::{FailoverStatus, PairNetworkStatus, PartnerState, State};

/// What every name begins with.
const PREFIX: &str = "vestibule_failover_";

/// The samples of a family; `None`: it is not of the pair.
pub(super) fn samples(
    name: &str,
    metrics: &Metrics,
    pair: Option<&FailoverStatus>,
) -> Option<Vec<Sample>> {
    let name = name.strip_prefix(PREFIX)?;
    let Some(pair) = pair else { return Some(Vec::new()) };
    let one = |value| vec![number(Vec::new(), value)];
    let by_network = |value: fn(&PairNetworkStatus) -> u64| {
        let networks = pair.networks.iter();
        networks.map(|it| number(vec![("network", it.name.to_string())], value(it))).collect()
    };
    Some(match name {
        "state" => {
            let now = if pair.is_starting { State::Startup } else { pair.state };
            State::ALL.iter().map(|state| is_in(*state, now == *state)).collect()
        }
        "partner_state" => State::ALL
            .iter()
            .map(|state| is_in(*state, pair.partner == PartnerState::Known(*state)))
            .collect(),
        "state_since_seconds" => one(pair.since.into()),
        "partner_state_since_seconds" => one(pair.partner_since.into()),
        "connected" => one(pair.is_connected.into()),
        "mclt_seconds" => one(pair.mclt_seconds.into()),
        "clock_ahead_seconds" => {
            pair.clock_ahead_seconds.map(|ahead| signed(Vec::new(), ahead)).into_iter().collect()
        }
        "updates_unacknowledged" => one(pair.updates_unacknowledged),
        "updates_waiting" => one(pair.updates_waiting),
        "updates_refused" => vec![
            number(vec![("by", "partner".to_owned())], pair.updates_refused_by_partner),
            number(vec![("by", "us".to_owned())], pair.updates_refused),
        ],
        "addresses_refused" => one(pair.addresses_refused),
        "mismatched_addresses" => vec![
            number(vec![("only", "here".to_owned())], pair.mismatch.only_here_count),
            number(vec![("only", "there".to_owned())], pair.mismatch.only_there_count),
        ],
        "free_addresses" => by_network(|network| network.free),
        "backup_addresses" => by_network(|network| network.backup),
        "other_addresses" => by_network(|network| network.other),
        "messages_sent" => one(metrics.link.sent()),
        "connections_ended" => metrics
            .link
            .ends()
            .map(|(reason, count)| number(vec![("reason", reason.to_owned())], count))
            .collect(),
        _ => Vec::new(),
    })
}

/// One sample for each state, 1 for the one that it is.
fn is_in(state: State, is: bool) -> Sample {
    number(vec![("state", state.name().to_owned())], is.into())
}
