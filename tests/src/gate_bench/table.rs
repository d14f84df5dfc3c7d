//! What a person reads: where it ran, and every figure beside its goal.
//!
//! It promises that a figure that was not measured has no line, and that what is wrong, not slow, is said
//! last and in capitals.

use super::calls::CallFigures;
use super::crowd::CrowdFigures;
use super::deliveries::DeliveryFigures;
use super::sets::SetFigures;
use crate::bench::conditions::Conditions;
use std::fmt::Write as _;

/// Changes of the sets in a second.
const CHANGES_PER_SECOND_MIN: f64 = 100_000.0;
/// From call to permit, the 99th percentile, in microseconds.
const CALL_P99_MICROSECONDS_MAX: u64 = 5_000;

/// What a crowd may add to the p99 of registered hosts, in percent.
const CROWD_PERCENT_MAX: f64 = 20.0;

/// Everything that was measured.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// Changes through the library.
    pub sets: Vec<SetFigures>,
    /// Registrations by the API.
    pub calls: Option<CallFigures>,
    /// The crowd.
    pub crowd: Option<CrowdFigures>,
    /// A webhook.
    pub deliveries: Option<DeliveryFigures>,
}

impl Figures {
    /// What is wrong, in words: what no slow machine excuses.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(calls) = &self.calls {
            if calls.missing > 0 {
                wrong.push(format!(
                    "{} of {} answers came before their permit was in the kernel",
                    calls.missing, calls.looked_up
                ));
            }
            for (what, count) in &calls.otherwise {
                wrong.push(format!("{count} of {} calls: {what}", calls.calls));
            }
            if calls.permits_at_end != calls.created {
                wrong.push(format!(
                    "{} hosts are registered, and {} have a permit",
                    calls.created, calls.permits_at_end
                ));
            }
        }
        if let Some(CrowdFigures { probes, .. }) = &self.crowd {
            for (what, all, good) in [
                ("questions were not answered", probes.questions, probes.answered),
                ("pages did not lead to the portal", probes.pages, probes.redirected),
            ] {
                if good != all {
                    let first = probes.first_trouble.as_deref().unwrap_or("nothing is known of it");
                    wrong.push(format!("{} of {all} {what}; the first: {first}", all - good));
                }
            }
        }
        if let Some(deliveries) = &self.deliveries
            && deliveries.events != deliveries.registered
        {
            wrong.push(format!(
                "{} devices were registered, and {} events came",
                deliveries.registered, deliveries.events
            ));
        }
        wrong
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self, conditions: &Conditions) -> String {
        let Conditions { machine, file_system, sync, .. } = conditions;
        // Writing into a string cannot fail.
        let mut text = format!(
            "processor  {}, {} of them, shared by everything that runs\nkernel     {}\n\
             disk       {} on {}; a sync takes {} µs (median), {} µs (99 of 100)\n",
            machine.processor,
            machine.processors,
            machine.kernel,
            file_system.kind,
            file_system.source,
            sync.p50_microseconds,
            sync.p99_microseconds,
        );
        if !self.sets.is_empty() {
            let _ = writeln!(
                text,
                "\nChanges of the kernel sets through the library; goal: {CHANGES_PER_SECOND_MIN} a second in batches\n\n\
                 {:>9} {:>6} {:>14} {:>10} {:>12} {:>12} {:>12}  goal",
                "elements", "batch", "flows", "of others", "changes/s", "batch p50", "batch p99"
            );
        }
        for sets in &self.sets {
            let flows = if sets.forget_flows { "forgotten too" } else { "left alone" };
            let _ = writeln!(
                text,
                "{:>9} {:>6} {flows:>14} {:>10} {:>12.0} {:>9} µs {:>9} µs  {}",
                sets.elements,
                sets.batch,
                sets.tracked_flows,
                sets.changes_per_second,
                sets.p50_microseconds,
                sets.p99_microseconds,
                reached(sets.changes_per_second >= CHANGES_PER_SECOND_MIN)
            );
        }
        if let Some(calls) = &self.calls {
            let _ = writeln!(
                text,
                "\nRegistrations by the API, from the call to the permit in the kernel; goal: p99 under {} ms\n\n\
                 calls      {} in all, {:.0} a second\n\
                 latency    {} µs (median), {} µs (99 of 100), {} µs (999 of 1000), {} µs (slowest): {}\n\
                 permits    {} in the kernel at the end, of {} registered; looked up right after {} answers, {} missing",
                CALL_P99_MICROSECONDS_MAX / 1000,
                calls.calls,
                calls.per_second,
                calls.p50_microseconds,
                calls.p99_microseconds,
                calls.p999_microseconds,
                calls.slowest_microseconds,
                reached(calls.p99_microseconds < CALL_P99_MICROSECONDS_MAX),
                calls.permits_at_end,
                calls.created,
                calls.looked_up,
                calls.missing,
            );
        }
        if let Some(crowd) = &self.crowd {
            let (probes, alone, beside) = (&crowd.probes, crowd.alone, crowd.beside);
            let change = 100.0
                * (beside.p99_microseconds as f64 / alone.p99_microseconds.max(1) as f64 - 1.0);
            let _ = writeln!(
                text,
                "\nA crowd of unregistered phones at power-on; goals: no question lost, registered hosts' p99 within {CROWD_PERCENT_MAX} %\n\n\
                 leases     {} phones, {} exchanges lost or messages sent again\n\
                 DNS        {} questions of {} phones, {} answered; p99 {} µs: {}\n\
                 HTTP       {} pages, {} led to the portal; p99 {} µs\n\
                 registered {} exchanges alone: {} µs (median), {} µs (99 of 100), {} lost or sent again\n\
                 \x20          {} exchanges beside the crowd: {} µs (median), {} µs (99 of 100), {} lost or sent again\n\
                 \x20          p99 {change:+.0} %: {}",
                crowd.leases,
                crowd.lost_or_again,
                probes.questions,
                probes.phones,
                probes.answered,
                probes.question_p99_microseconds,
                reached(probes.questions == probes.answered),
                probes.pages,
                probes.redirected,
                probes.page_p99_microseconds,
                alone.doras,
                alone.p50_microseconds,
                alone.p99_microseconds,
                alone.lost_or_again,
                beside.doras,
                beside.p50_microseconds,
                beside.p99_microseconds,
                beside.lost_or_again,
                reached(change <= CROWD_PERCENT_MAX)
            );
        }
        if let Some(deliveries) = &self.deliveries {
            let _ = writeln!(
                text,
                "\nEvents by a webhook, from the decision to the receiver\n\n\
                 events     {} of {} registrations, in {} deliveries, {} of them again; {:.0} a second\n\
                 latency    {} ms (median), {} ms (99 of 100), {} ms (slowest)",
                deliveries.events,
                deliveries.registered,
                deliveries.deliveries,
                deliveries.again,
                deliveries.per_second,
                deliveries.p50_milliseconds,
                deliveries.p99_milliseconds,
                deliveries.slowest_milliseconds,
            );
        }
        for wrong in self.wrong() {
            let _ = writeln!(text, "\nWRONG: {wrong}");
        }
        text
    }
}

const fn reached(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "not reached" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_that_is_missing_is_wrong_and_a_slow_one_is_not() {
        let good = CallFigures {
            calls: 10,
            created: 10,
            permits_at_end: 10,
            looked_up: 3,
            p99_microseconds: 1_000_000,
            ..CallFigures::default()
        };
        let wrong = |calls: CallFigures| {
            let figures = Figures { calls: Some(calls), ..Figures::default() };
            figures.wrong().len()
        };
        assert_eq!(wrong(good.clone()), 0);
        assert_eq!(wrong(CallFigures { missing: 1, ..good.clone() }), 1);
        assert_eq!(wrong(CallFigures { permits_at_end: 9, ..good.clone() }), 1);
        let otherwise = [("HTTP 409".to_owned(), 2)].into();
        assert_eq!(wrong(CallFigures { otherwise, ..good }), 1);
    }
}
