//! The figures that this server is meant to reach, beside those that it reached.
//!
//! They are ratios of medians of one run, so that a slow machine is no excuse and a fast one no help.
//! It promises to say *not known* where a figure is missing, and never decides an exit status.

use super::conditions::SyncTime;
use super::figures::Row;
use super::plan::Measure;
use crate::servers::Server;
use serde::Serialize;

/// What an idle exchange may take besides its syncs, in microseconds.
const ALONE_MICROSECONDS_MAX: f64 = 100.0;
/// The 99th percentile at half the peak rate, in microseconds.
const HALF_P99_MICROSECONDS_MAX: f64 = 10_000.0;
/// Part of the rate that is left on a slow disk.
const SLOW_DISK_MIN: f64 = 0.9;
/// Part of the rate that is left when many times more is offered.
const OVERLOAD_MIN: f64 = 0.8;

/// A goal, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Goal {
    /// What is measured.
    pub what: String,
    /// The unit of both figures; empty for a ratio.
    pub unit: &'static str,
    /// The figure to reach.
    pub goal: f64,
    /// Whether the figure is to be at least the goal, and not at most.
    pub is_at_least: bool,
    /// The figure that was reached; absent if a part of it was not measured.
    pub measured: Option<f64>,
}

impl Goal {
    /// Whether it is reached; `None` if that is not known.
    #[must_use]
    pub fn is_reached(&self) -> Option<bool> {
        self.measured.map(|measured| {
            if self.is_at_least { measured >= self.goal } else { measured <= self.goal }
        })
    }
}

/// All goals.
#[must_use]
pub fn goals(rows: &[Row], sync: SyncTime) -> Vec<Goal> {
    let row = |measure: Measure, server: Server| {
        rows.iter().find(|row| row.measure == measure.key() && row.server == server.name())
    };
    let rate = |measure, server| row(measure, server).map(|row| row.doras_per_second.median);
    let cost = |server| {
        let row = row(Measure::Peak, server)?;
        row.server_microseconds_per_dora.map(|cost| cost.median)
    };
    let mut goals = Vec::new();
    for (ours, times_kea, times_null) in
        [(Server::Vestibule, 6.0, 2.5), (Server::VestibuleGated, 5.0, 3.0)]
    {
        goals.push(Goal {
            what: format!("{ours}: DORA per second, to Kea's"),
            unit: "",
            goal: times_kea,
            is_at_least: true,
            measured: ratio(rate(Measure::Peak, ours), rate(Measure::Peak, Server::Kea)),
        });
        goals.push(Goal {
            what: format!("{ours}: processor time per DORA, to the null responder's"),
            unit: "",
            goal: times_null,
            is_at_least: false,
            measured: ratio(cost(ours), cost(Server::Null)),
        });
        goals.push(Goal {
            what: format!("{ours}: rate with {}, to without", Measure::CrowdSlowDisk),
            unit: "",
            goal: SLOW_DISK_MIN,
            is_at_least: true,
            measured: ratio(rate(Measure::CrowdSlowDisk, ours), rate(Measure::Crowd, ours)),
        });
        goals.push(Goal {
            what: format!("{ours}: p99 at {}", Measure::Half),
            unit: "µs",
            goal: HALF_P99_MICROSECONDS_MAX,
            is_at_least: false,
            measured: row(Measure::Half, ours)
                .and_then(|row| row.p99_microseconds)
                .map(|p99| p99.median),
        });
        goals.push(Goal {
            what: format!("{ours}: rate with {}, to that rate", Measure::Overload),
            unit: "",
            goal: OVERLOAD_MIN,
            is_at_least: true,
            measured: ratio(rate(Measure::Overload, ours), rate(Measure::Share, ours)),
        });
        goals.push(Goal {
            what: format!("{ours}: median of {}, two syncs and 100 µs", Measure::Alone),
            unit: "µs",
            goal: 2.0 * sync.p50_microseconds as f64 + ALONE_MICROSECONDS_MAX,
            is_at_least: false,
            measured: row(Measure::Alone, ours)
                .and_then(|row| row.p50_microseconds)
                .map(|p50| p50.median),
        });
    }
    goals
}

/// One figure to another; `None` if one is missing or the other is zero.
#[must_use]
pub fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other.filter(|other| *other > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::super::figures::Spread;
    use super::*;

    fn row(measure: Measure, server: Server, rate: f64, cost: f64) -> Row {
        let spread = |median| Spread { median, least: median, greatest: median };
        Row {
            measure: measure.key(),
            server: server.name(),
            durable_before_ack: server.durability(),
            intended_per_second: None,
            doras_per_second: spread(rate),
            p50_microseconds: Some(spread(400.0)),
            p99_microseconds: Some(spread(9_000.0)),
            server_microseconds_per_dora: Some(spread(cost)),
            memory_bytes_per_lease: None,
            runs: Vec::new(),
        }
    }

    #[test]
    fn goals_are_ratios_and_unknown_where_a_part_is_missing() {
        let sync = SyncTime { p50_microseconds: 150, p99_microseconds: 300, count: 9 };
        let mut rows = vec![
            row(Measure::Peak, Server::Null, 200_000.0, 4.0),
            row(Measure::Peak, Server::Vestibule, 60_000.0, 10.0),
            row(Measure::Crowd, Server::Vestibule, 60_000.0, 10.0),
            row(Measure::CrowdSlowDisk, Server::Vestibule, 53_000.0, 10.0),
            row(Measure::Alone, Server::Vestibule, 2_000.0, 10.0),
            row(Measure::Share, Server::Vestibule, 20_000.0, 10.0),
            row(Measure::Overload, Server::Vestibule, 16_001.0, 10.0),
        ];
        let reached =
            |rows: &[Row]| goals(rows, sync).iter().map(Goal::is_reached).collect::<Vec<_>>();
        // To Kea, to null, slow disk, half, overload, alone; then the same with the gate.
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(reached(&rows)[..6], [None, yes, no, None, yes, yes]);
        assert_eq!(reached(&rows)[6..], [None; 6]);
        rows.push(row(Measure::Peak, Server::Kea, 10_001.0, 90.0));
        assert_eq!(reached(&rows)[0], Some(false));
        rows[1].doras_per_second.median = 60_006.0;
        assert_eq!(reached(&rows)[0], Some(true));
    }
}
