//! Runs side by side: which belong together, what is compared, and what forbids a conclusion.
//!
//! Runs with one label are repetitions of one thing: of them, the median is compared, and the range
//! is shown. Ratios are to the first. It promises that a figure is compared only where both runs
//! have it.

use super::figures::{Exchanges, memory_bytes_per_lease, per_second};
use super::number::{self, count, measured};
use crate::result::{Ending, Limit, Pair, RunResult};

/// Percentiles that are compared.
const PERCENTILES: [(f64, &str); 3] = [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9")];

/// Runs with one label.
pub(crate) struct Set<'a> {
    pub(crate) label: &'a str,
    pub(crate) runs: Vec<&'a RunResult>,
}

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// A figure of every set.
pub(crate) struct Measure {
    /// What it belongs to.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) better: Better,
    /// How it is written.
    pub(crate) write: fn(f64) -> String,
    /// One for each set; absent where the runs do not have it.
    pub(crate) cells: Vec<Option<Cell>>,
}

/// A figure of one set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    /// How many runs have it.
    pub(crate) runs: usize,
    /// The median over that of the first set, if both are above 0.
    pub(crate) ratio: Option<f64>,
}

impl<'a> Set<'a> {
    /// The sets of runs, in the order of their first ones.
    pub(crate) fn all(runs: &'a [RunResult]) -> Vec<Self> {
        let mut sets: Vec<Self> = Vec::new();
        for run in runs {
            let label = run.settings.label.as_str();
            match sets.iter_mut().find(|set| set.label == label) {
                Some(set) => set.runs.push(run),
                None => sets.push(Self { label, runs: vec![run] }),
            }
        }
        sets
    }

    /// The violations of all its runs.
    pub(crate) fn violations(&self) -> u64 {
        self.runs.iter().map(|run| run.ledger.violations).fold(0, u64::saturating_add)
    }

    /// The ACKs that were checked in all its runs.
    pub(crate) fn checked(&self) -> u64 {
        self.runs.iter().map(|run| run.ledger.acknowledgements).fold(0, u64::saturating_add)
    }

    /// What the ledger says, in a few words.
    pub(crate) fn ledger(&self) -> String {
        match (self.violations(), self.checked()) {
            (0, 0) => "nothing checked".to_owned(),
            (0, _) => "no violation".to_owned(),
            (violations, _) => number::counted(violations, "violation", "violations"),
        }
    }

    /// What limited its runs.
    pub(crate) fn limits(&self) -> String {
        distinct(self.runs.iter().map(|run| run.limits.verdict.to_string()))
    }

    /// What is said of the server's durability.
    pub(crate) fn durability(&self) -> String {
        distinct(
            self.runs.iter().map(|run| {
                run.settings.durability.clone().unwrap_or_else(|| "not stated".to_owned())
            }),
        )
    }

    fn cell(&self, of: &dyn Fn(&RunResult) -> Option<f64>) -> Option<Cell> {
        let mut values: Vec<f64> =
            self.runs.iter().filter_map(|run| of(run)).filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        let median = f64::midpoint(lower, upper);
        Some(Cell { median, least, greatest, runs: values.len(), ratio: None })
    }
}

/// Everything that can be compared, in the order of interest.
pub(crate) fn measures(sets: &[Set<'_>]) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut measure = |group: &str,
                       name: String,
                       better: Better,
                       write: fn(f64) -> String,
                       of: &dyn Fn(&RunResult) -> Option<f64>| {
        let mut cells: Vec<Option<Cell>> = sets.iter().map(|set| set.cell(of)).collect();
        if cells.iter().all(|cell| cell.is_none_or(|cell| cell.greatest <= 0.0)) {
            return;
        }
        if let Some(first) = cells.first().copied().flatten().filter(|first| first.median > 0.0) {
            for cell in cells.iter_mut().flatten().filter(|cell| cell.median > 0.0) {
                cell.ratio = Some(cell.median / first.median).filter(|ratio| ratio.is_finite());
            }
        }
        measures.push(Measure { group: group.to_owned(), name, better, write, cells });
    };
    let throughput = "Throughput";
    measure(throughput, "DORA per second".to_owned(), Better::More, measured, &|run| {
        per_second(run.totals.doras, run)
    });
    measure(throughput, "ACKs per second".to_owned(), Better::More, measured, &|run| {
        per_second(run.totals.acknowledgements, run)
    });
    measure(throughput, "Knee, exchanges per second".to_owned(), Better::More, measured, &|run| {
        run.knee.map(|knee| knee.good_per_second)
    });
    for pair in pairs(sets) {
        for (percent, name) in PERCENTILES {
            let of = |run: &RunResult| {
                let histogram = run.latency(pair).filter(|histogram| histogram.count() > 0)?;
                Some(number::real(histogram.percentile(percent)))
            };
            let write = number::microseconds_measured;
            measure(&format!("Latency, {pair}"), name.to_owned(), Better::Less, write, &of);
        }
    }
    let cost = "Cost";
    let write = number::microseconds_measured;
    measure(cost, "Server processor time per ACK".to_owned(), Better::Less, write, &|run| {
        run.server_microseconds_per_acknowledgement()
    });
    measure(cost, "Server memory per lease".to_owned(), Better::Less, number::bytes, &|run| {
        memory_bytes_per_lease(run)
    });
    measure(cost, "Generator processor time per ACK".to_owned(), Better::Less, write, &|run| {
        let acknowledged = number::real(run.totals.acknowledgements);
        Some(number::real(run.limits.processor_microseconds) / acknowledged)
    });
    measure("Losses", "Exchanges lost".to_owned(), Better::Less, percent, &|run| {
        let exchanges = Exchanges::of(run).filter(|exchanges| exchanges.began > 0)?;
        Some(number::real(exchanges.lost) / number::real(exchanges.began) * 100.0)
    });
    measures
}

/// Kinds of exchanges that any run had, in their order.
pub(crate) fn pairs(sets: &[Set<'_>]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = sets
        .iter()
        .flat_map(|set| &set.runs)
        .flat_map(|run| &run.latencies)
        .filter(|latency| latency.histogram.count() > 0)
        .map(|latency| latency.pair)
        .collect();
    // A whole DORA says more than its halves.
    pairs.sort_unstable_by_key(|pair| (*pair != Pair::Dora, *pair));
    pairs.dedup();
    pairs
}

/// What the reader must know before concluding anything, a sentence each; the worst first.
pub(crate) fn cautions(sets: &[Set<'_>]) -> Vec<String> {
    let mut cautions = Vec::new();
    for set in sets {
        let violations = set.violations();
        if violations > 0 {
            cautions.push(format!(
                "{} has {} in its ledger: its figures are those of a server that fails.",
                set.label,
                number::counted(violations, "violation", "violations")
            ));
        }
    }
    for set in sets {
        let times = |of: &dyn Fn(&&&RunResult) -> bool| set.runs.iter().filter(of).count();
        let limited = times(&|run| matches!(run.limits.verdict, Limit::Generator | Limit::Host));
        if limited > 0 {
            cautions.push(format!(
                "{}: limited by the generator or the host{}, so the server may do more than is shown.",
                set.label,
                of_runs(limited, set.runs.len())
            ));
        }
        let unanswered = times(&|run| run.ending == Ending::Unanswered);
        if unanswered > 0 {
            let of = of_runs(unanswered, set.runs.len());
            cautions.push(format!("{}: ended early{of}, because nobody answered.", set.label));
        }
        let interrupted = times(&|run| run.ending == Ending::Interrupted);
        if interrupted > 0 {
            let of = of_runs(interrupted, set.runs.len());
            cautions.push(format!("{}: interrupted{of}.", set.label));
        }
    }
    let differs = differences(sets);
    if !differs.is_empty() {
        cautions.push(format!("The runs differ in {}.", differs.join(", ")));
    }
    cautions
}

fn of_runs(some: usize, all: usize) -> String {
    if all == 1 { String::new() } else { format!(" in {some} of {all} runs") }
}

/// Settings that should be the same and are not.
fn differences(sets: &[Set<'_>]) -> Vec<&'static str> {
    let runs: Vec<&RunResult> = sets.iter().flat_map(|set| set.runs.iter().copied()).collect();
    let Some(first) = runs.first() else { return Vec::new() };
    let mut differences = Vec::new();
    let mut check = |name, same: &dyn Fn(&RunResult) -> bool| {
        if !runs.iter().all(|run| same(run)) {
            differences.push(name);
        }
    };
    check("scenario", &|run| {
        run.settings.scenario == first.settings.scenario
            && run.settings.scenario_toml == first.settings.scenario_toml
    });
    check("number of clients", &|run| run.settings.clients == first.settings.clients);
    check("number of relays", &|run| run.settings.relays == first.settings.relays);
    check("intended rate", &|run| {
        run.settings.arrivals_per_second == first.settings.arrivals_per_second
            && run.settings.in_flight_max == first.settings.in_flight_max
    });
    check("machine", &|run| {
        run.machine.processor == first.machine.processor
            && run.machine.processors == first.machine.processors
            && run.machine.memory_bytes == first.machine.memory_bytes
    });
    check("kernel", &|run| run.machine.kernel == first.machine.kernel);
    check("version of vestibule-load", &|run| run.machine.program == first.machine.program);
    differences
}

/// The runs of a set and what they were told, in a few words.
pub(crate) fn runs(set: &Set<'_>) -> String {
    format!(
        "{}, {}, {}",
        number::counted(set.runs.len() as u64, "run", "runs"),
        distinct(set.runs.iter().map(|run| run.settings.scenario.clone())),
        distinct(set.runs.iter().map(|run| format!("{} clients", count(run.settings.clients))))
    )
}

fn percent(value: f64) -> String {
    format!("{} %", measured(value))
}

fn distinct(texts: impl Iterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct.join(", ")
}
