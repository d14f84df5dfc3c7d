//! What both the text and the page say of a result, so that they cannot differ.
//!
//! Everything here is a function of the result; sums saturate, and what cannot be known is absent.

use super::number;
use crate::result::{LedgerVerdict, RunResult, Second};

/// Percentiles of the tables.
pub(crate) const PERCENTILES: [(f64, &str); 4] =
    [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9")];

/// The verdict of the ledger.
pub(crate) struct Verdict {
    /// Whether it is one to be worried by.
    pub(crate) standing: Standing,
    /// In a few words.
    pub(crate) title: String,
    /// In a sentence.
    pub(crate) sentence: String,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// ACKs were checked, and all were right.
    Good,
    /// Nothing was checked, so nothing is proven.
    Open,
    /// Something happened that may never happen.
    Bad,
}

/// How far clients without a registration got; `None` if nobody was to be registered.
pub(crate) fn registration_sentence(result: &RunResult) -> Option<String> {
    let verdict = result.registration?;
    let usable = number::count(verdict.usable);
    let newcomers = number::counted(verdict.newcomers, "client", "clients");
    let mut sentence = match verdict {
        _ if verdict.newcomers == 0 => "FAILED: no client got a lease".to_owned(),
        _ if verdict.is_good() => format!("all of {newcomers} have a usable network"),
        _ if verdict.usable == verdict.newcomers => {
            format!("FAILED: all of {newcomers} with a lease have a usable network")
        }
        _ => format!("FAILED: {usable} of {newcomers} have a usable network"),
    };
    if verdict.without_a_lease > 0 {
        let without = number::count(verdict.without_a_lease);
        sentence += &format!("; {without} had no lease at the end");
    }
    if verdict.lied_to_after_registration > 0 {
        let lied_to = number::count(verdict.lied_to_after_registration);
        sentence += &format!("; DNS still lied to {lied_to} after their registration");
    }
    Some(sentence)
}

impl Verdict {
    pub(crate) fn of(ledger: &LedgerVerdict) -> Self {
        let checked = number::counted(ledger.acknowledgements, "ACK", "ACKs");
        if ledger.violations > 0 {
            Self {
                standing: Standing::Bad,
                title: number::counted(ledger.violations, "violation", "violations"),
                sentence: format!(
                    "This run failed: of {checked}, not all were ones that a DHCP server may give."
                ),
            }
        } else if ledger.acknowledgements == 0 {
            Self {
                standing: Standing::Open,
                title: "Nothing proven".to_owned(),
                sentence: "There was no ACK to check.".to_owned(),
            }
        } else {
            Self {
                standing: Standing::Good,
                title: "No violation".to_owned(),
                sentence: format!(
                    "{checked} checked; {} held at the end.",
                    number::counted(ledger.held, "lease", "leases")
                ),
            }
        }
    }
}

/// The exchanges of all phases together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchanges {
    pub(crate) began: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
}

impl Exchanges {
    /// Absent if the run had no phase, because then nobody counted.
    pub(crate) fn of(result: &RunResult) -> Option<Self> {
        (!result.phases.is_empty()).then(|| {
            result.phases.iter().fold(Self::default(), |sum, phase| Self {
                began: sum.began.saturating_add(phase.began),
                acknowledged: sum.acknowledged.saturating_add(phase.acknowledged),
                lost: sum.lost.saturating_add(phase.lost),
            })
        })
    }
}

/// A count for each second of the run; absent if it took no time.
pub(crate) fn per_second(count: u64, result: &RunResult) -> Option<f64> {
    let rate = number::real(count) / result.elapsed_seconds;
    (result.elapsed_seconds > 0.0 && rate.is_finite()).then_some(rate)
}

/// The ACKs of the second that had most; absent without a timeline.
pub(crate) fn best_second(result: &RunResult) -> Option<u64> {
    result.timeline.iter().map(|second| second.acknowledged).max()
}

/// Memory of the server for each lease that was held at the end, in bytes; absent if it is not known.
pub(crate) fn memory_bytes_per_lease(result: &RunResult) -> Option<f64> {
    let server = result.server.filter(|_| result.totals.bound_at_end > 0)?;
    let grown = number::real(server.memory_bytes_after) - number::real(server.memory_bytes_before);
    (grown >= 0.0).then_some(grown / number::real(result.totals.bound_at_end))
}

/// Consecutive seconds taken together, so that a long run fits a plot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// Where its middle is, in seconds since the run began.
    pub(crate) middle_seconds: f64,
    /// Means of the counts of its seconds.
    pub(crate) intended: f64,
    pub(crate) began: f64,
    pub(crate) acknowledged: f64,
    /// Sums of the counts of its seconds.
    pub(crate) refused: u64,
    pub(crate) expired: u64,
    pub(crate) retransmitted: u64,
    pub(crate) kernel_drops: u64,
    /// The greatest of its seconds.
    pub(crate) in_flight: u64,
    /// That of its last second.
    pub(crate) bound: u64,
    /// The greatest of its seconds with an ACK; absent if there was none.
    pub(crate) p50_microseconds: Option<u64>,
    pub(crate) p99_microseconds: Option<u64>,
    pub(crate) max_microseconds: Option<u64>,
}

/// The timeline in at most `slices_max` parts of equal length, and that length in seconds.
pub(crate) fn slices(timeline: &[Second], slices_max: usize) -> (Vec<Slice>, usize) {
    let length = timeline.len().div_ceil(slices_max.max(1)).max(1);
    let slices = timeline.chunks(length).enumerate().map(|(index, seconds)| {
        let sum = |of: fn(&Second) -> u64| seconds.iter().map(of).fold(0, u64::saturating_add);
        let mean = |of: fn(&Second) -> u64| number::real(sum(of)) / seconds.len() as f64;
        let greatest = |of: fn(&Second) -> u64| {
            seconds.iter().filter(|second| second.acknowledged > 0).map(of).max()
        };
        Slice {
            middle_seconds: (index * length) as f64 + seconds.len() as f64 / 2.0,
            intended: mean(|second| second.intended),
            began: mean(|second| second.began),
            acknowledged: mean(|second| second.acknowledged),
            refused: sum(|second| second.refused),
            expired: sum(|second| second.expired),
            retransmitted: sum(|second| second.retransmitted),
            kernel_drops: sum(|second| second.kernel_drops),
            in_flight: seconds.iter().map(|second| second.in_flight).max().unwrap_or(0),
            bound: seconds.last().map_or(0, |second| second.bound),
            p50_microseconds: greatest(|second| second.p50_microseconds),
            p99_microseconds: greatest(|second| second.p99_microseconds),
            max_microseconds: greatest(|second| second.max_microseconds),
        }
    });
    (slices.collect(), length)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_taken_together_without_losing_any() {
        let timeline: Vec<Second> = (0..1001)
            .map(|second| Second {
                began: 10,
                acknowledged: u64::from(second != 5),
                refused: 1,
                p99_microseconds: second,
                bound: second,
                ..Second::default()
            })
            .collect();
        let (parts, length) = slices(&timeline, 300);
        assert_eq!((parts.len(), length), (251, 4));
        assert_eq!(parts.iter().map(|part| part.refused).sum::<u64>(), 1001);
        assert!(parts.iter().all(|part| (part.began - 10.0).abs() < 1e-9));
        assert_eq!(parts[1].p99_microseconds, Some(7));
        assert_eq!((parts[250].bound, parts[250].middle_seconds), (1000, 1000.5));
        assert_eq!(slices(&timeline[5..6], 300).0[0].p99_microseconds, None);
        assert!(slices(&[], 300).0.is_empty());
    }
}
