//! What is shown of the exchange with the failover partner; nothing where nothing is exchanged.

use super::Metrics;
use super::exposition::{Sample, number};
use vestibule_core::CoreStatus;

/// What every name begins with.
const PREFIX: &str = "vestibule_exchange_";

/// The samples of a family; `None`: it is not of the exchange.
pub(super) fn samples(
    name: &str,
    metrics: &Metrics,
    core: Option<&CoreStatus>,
) -> Option<Vec<Sample>> {
    let name = name.strip_prefix(PREFIX)?;
    let counts = &metrics.exchange;
    let Some(state) = counts.state() else { return Some(Vec::new()) };
    let core = core.and_then(|core| core.exchange);
    let one = |value| vec![number(Vec::new(), value)];
    Some(match name {
        "connected" => one(state.is_connected.into()),
        "behind" => one(state.behind()),
        "lag_seconds" => state.lag().map_or_else(Vec::new, |lag| one(lag.as_secs())),
        "records_taken" => one(counts.taken()),
        "records_refused" => one(counts.refused()),
        "records_far_ahead" => one(counts.far_ahead()),
        "connections_ended" => counts
            .ends()
            .map(|(reason, count)| number(vec![("reason", reason.to_owned())], count))
            .collect(),
        "ends_remembered" => core.map_or_else(Vec::new, |core| one(core.ends_remembered)),
        "conflicts_ended" => core.map_or_else(Vec::new, |core| one(core.conflicts_ended)),
        _ => Vec::new(),
    })
}
