//! Figures of repeated runs: the median, and the range that says how much to believe it.
//!
//! It promises that nothing is left out: every run that ended is in its row, also a bad one, and a
//! figure that is not known is absent, not zero.

use super::plan::{Measure, Turn};
use crate::servers::Server;
use serde::Serialize;
use vestibule_load::result::{Limit, Pair, RunResult};

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// Whole exchanges a second.
    pub doras_per_second: f64,
    /// Median from the intended DISCOVER to the ACK, in microseconds; absent if there was no ACK.
    pub p50_microseconds: Option<f64>,
    /// The 99th percentile of the same.
    pub p99_microseconds: Option<f64>,
    /// The server's processor time for each exchange, in microseconds.
    pub server_microseconds_per_dora: Option<f64>,
    /// What the server's memory in use grew by for each lease, in bytes.
    pub memory_bytes_per_lease: Option<f64>,
    /// Exchanges that ended without an ACK, and messages that were sent again; not what the end of the
    /// run cut off.
    pub lost_or_again: u64,
    /// Violations of the ledger.
    pub violations: u64,
    /// What was the limit, as the load client concluded.
    pub limit: Limit,
    /// Why it concluded that.
    pub reason: String,
}

impl Figures {
    /// Those of a run.
    #[must_use]
    pub fn of(result: &RunResult) -> Self {
        let dora = result.latency(Pair::Dora);
        let percentile = |percent| dora.map(|histogram| histogram.percentile(percent) as f64);
        let doras = result.totals.doras;
        let each = |total: u64| (doras > 0).then(|| total as f64 / doras as f64);
        let grown = |server: vestibule_load::result::ServerCost| {
            server.memory_bytes_after.saturating_sub(server.memory_bytes_before)
        };
        Self {
            doras_per_second: result.doras_per_second(),
            p50_microseconds: percentile(50.0),
            p99_microseconds: percentile(99.0),
            server_microseconds_per_dora: result
                .server
                .and_then(|server| each(server.processor_microseconds)),
            memory_bytes_per_lease: result.server.and_then(|server| each(grown(server))),
            lost_or_again: (result.totals.retransmissions
                + result.phases.iter().map(|phase| phase.lost).sum::<u64>())
            .saturating_sub(result.totals.open_at_end),
            violations: result.ledger.violations,
            limit: result.limits.verdict,
            reason: result.limits.reason.clone(),
        }
    }
}

/// The middle of some figures and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    /// The median; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Spread {
    /// Of some figures; `None` of none.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let (&least, &greatest) = (figures.first()?, figures.last()?);
        let upper = *figures.get(middle)?;
        let lower = if figures.len().is_multiple_of(2) { *figures.get(middle - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), least, greatest })
    }
}

/// All runs of a server in a measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The measure, by its key.
    pub measure: &'static str,
    /// The server, by its name.
    pub server: &'static str,
    /// What is on stable storage when an ACK leaves.
    pub durable_before_ack: &'static str,
    /// Arrivals a second that were intended, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_per_second: Option<f64>,
    /// Exchanges a second.
    pub doras_per_second: Spread,
    /// Median latency, in microseconds.
    pub p50_microseconds: Option<Spread>,
    /// 99th percentile of the latency, in microseconds.
    pub p99_microseconds: Option<Spread>,
    /// The server's processor time for each exchange, in microseconds.
    pub server_microseconds_per_dora: Option<Spread>,
    /// Memory for each lease, in bytes.
    pub memory_bytes_per_lease: Option<Spread>,
    /// The runs themselves.
    pub runs: Vec<Figures>,
}

/// A turn that has been played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Which.
    pub turn: Turn,
    /// What it led to.
    pub result: RunResult,
}

/// The row of a server in a measure; `None` without a run.
#[must_use]
pub fn row(played: &[Played], measure: Measure, server: Server) -> Option<Row> {
    let of_it: Vec<&Played> = played
        .iter()
        .filter(|played| played.turn.measure == measure && played.turn.server == server)
        .collect();
    let runs: Vec<Figures> = of_it.iter().map(|played| Figures::of(&played.result)).collect();
    let all =
        |figure: fn(&Figures) -> Option<f64>| Spread::of(runs.iter().filter_map(figure).collect());
    Some(Row {
        measure: measure.key(),
        server: server.name(),
        durable_before_ack: server.durability(),
        intended_per_second: of_it
            .first()
            .and_then(|played| played.result.settings.arrivals_per_second),
        doras_per_second: all(|run| Some(run.doras_per_second))?,
        p50_microseconds: all(|run| run.p50_microseconds),
        p99_microseconds: all(|run| run.p99_microseconds),
        server_microseconds_per_dora: all(|run| run.server_microseconds_per_dora),
        memory_bytes_per_lease: all(|run| run.memory_bytes_per_lease),
        runs,
    })
}

/// All rows, in the order of measures and servers.
#[must_use]
pub fn rows(played: &[Played]) -> Vec<Row> {
    Measure::ALL
        .into_iter()
        .flat_map(|measure| Server::ALL.map(|server| (measure, server)))
        .filter_map(|(measure, server)| row(played, measure, server))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_is_whole() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = |figures: &[f64]| Spread::of(figures.to_vec()).expect("figures");
        assert_eq!(spread(&[3.0]), Spread { median: 3.0, least: 3.0, greatest: 3.0 });
        assert_eq!(spread(&[9.0, 1.0, 4.0]), Spread { median: 4.0, least: 1.0, greatest: 9.0 });
        assert_eq!(spread(&[9.0, 1.0, 5.0, 4.0]).median.to_bits(), 4.5_f64.to_bits());
    }
}
