//! The summary at the end of a run, for a terminal of 80 columns.
//!
//! It promises that a bad verdict of the ledger comes first, and that no text of others reaches the
//! terminal as it is.

use super::escape;
use super::figures::{
    Exchanges, PERCENTILES, Standing, Verdict, best_second, memory_bytes_per_lease, per_second,
    registration_sentence,
};
use super::incidents;
use super::number::{self, count, counted, measured, microseconds};
use crate::result::{Ending, RunResult};
use std::fmt::Write as _;

/// Columns of the terminal.
pub(crate) const COLUMNS: usize = 80;
/// Violations that are written out; the page and the JSON have more.
const VIOLATIONS_SHOWN_MAX: usize = 10;
/// Kinds of errors that are written out.
const ERRORS_SHOWN_MAX: usize = 20;
/// Phases that are written out: the last ones.
const PHASES_SHOWN_MAX: usize = 24;

/// The summary of a run, with a line break at its end.
#[must_use]
pub fn text(result: &RunResult) -> String {
    let mut text = String::new();
    let verdict = Verdict::of(&result.ledger);
    if verdict.standing == Standing::Bad {
        violations(&mut text, result, &verdict);
        text.push('\n');
    }
    head(&mut text, result);
    registration(&mut text, result);
    rates(&mut text, result);
    latencies(&mut text, result);
    phases(&mut text, result);
    losses(&mut text, result);
    errors(&mut text, result);
    text.push_str(&incidents::text(result));
    limits(&mut text, result);
    if verdict.standing != Standing::Bad {
        field(&mut text, "Ledger", &format!("{}. {}", verdict.title, verdict.sentence));
    }
    text
}

/// Text of any length in lines of at most [`COLUMNS`], each after the first with an indent.
pub(crate) fn wrapped(first: &str, text: &str, indent: usize) -> String {
    let mut lines = String::from(first);
    let mut column = first.chars().count();
    let mut begins = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let space = usize::from(!begins);
            if !begins && column + space + rest.len() > COLUMNS {
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', indent));
                (column, begins) = (indent, true);
                continue;
            }
            let fits = COLUMNS.saturating_sub(column + space).max(1).min(rest.len());
            if space == 1 {
                lines.push(' ');
            }
            lines.extend(rest.drain(..fits));
            (column, begins) = (column + space + fits, false);
        }
    }
    lines.truncate(lines.trim_end().len());
    lines.push('\n');
    lines
}

/// Where the texts of fields begin.
const FIELD: usize = 12;

fn field(text: &mut String, name: &str, value: &str) {
    text.push_str(&wrapped(&format!("{name:<FIELD$}"), value, FIELD));
}

fn violations(text: &mut String, result: &RunResult, verdict: &Verdict) {
    text.push_str(&wrapped("", &format!("LEDGER: {}. {}", verdict.title, verdict.sentence), 0));
    let shown = &result.ledger.shown;
    for violation in shown.iter().take(VIOLATIONS_SHOWN_MAX) {
        let story =
            format!("{}: {}", escape::line(&violation.rule), escape::line(&violation.story));
        text.push_str(&wrapped("  ", &story, 4));
    }
    let written = shown.len().min(VIOLATIONS_SHOWN_MAX);
    let more = result.ledger.violations.saturating_sub(written as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {} more", count(more));
    }
}

fn head(text: &mut String, result: &RunResult) {
    let settings = &result.settings;
    let title = format!("{}: {}", escape::line(&settings.scenario), escape::line(&settings.label));
    text.push_str(&wrapped("", &title, 2));
    let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
    let clients = format!(
        "{} behind {}, asking {}",
        counted(settings.clients, "client", "clients"),
        counted(settings.relays, "relay", "relays"),
        if servers.is_empty() { "nobody".to_owned() } else { servers.join(" and ") }
    );
    text.push_str(&wrapped("", &clients, 2));
    let when = format!(
        "{}, {}, {}",
        number::day_and_time(result.began_unix_milliseconds),
        number::seconds(result.elapsed_seconds),
        match result.ending {
            Ending::Complete => "complete",
            Ending::Interrupted => "INTERRUPTED: the figures are those until then",
            Ending::Unanswered => "ENDED EARLY: nobody answered; see below",
        }
    );
    text.push_str(&wrapped("", &when, 2));
    text.push('\n');
}

fn registration(text: &mut String, result: &RunResult) {
    let Some(sentence) = registration_sentence(result) else { return };
    field(text, "Registered", &sentence);
}

fn rates(text: &mut String, result: &RunResult) {
    let rate = |count| per_second(count, result).map_or_else(unknown, measured);
    let mut sentence = format!(
        "{} DORA per second, {} ACKs per second",
        rate(result.totals.doras),
        rate(result.totals.acknowledgements)
    );
    if let Some(best) = best_second(result) {
        let _ = write!(sentence, "; {} in the best second", counted(best, "ACK", "ACKs"));
    }
    field(text, "Rate", &sentence);
    if let Some(intended) = result.settings.arrivals_per_second {
        field(text, "Intended", &format!("{} arrivals per second", measured(intended)));
    }
    if let Some(in_flight_max) = result.settings.in_flight_max {
        field(
            text,
            "Intended",
            &format!("at most {} at once", counted(in_flight_max, "exchange", "exchanges")),
        );
    }
    if let Some(knee) = result.knee {
        let bad = knee.bad_per_second.map_or_else(
            || "no rate that was tried was too high".to_owned(),
            |bad| format!("{} was too much", measured(bad)),
        );
        field(text, "Knee", &format!("{} per second; {bad}", measured(knee.good_per_second)));
    }
    text.push('\n');
}

fn latencies(text: &mut String, result: &RunResult) {
    if result.latencies.is_empty() {
        field(text, "Latency", "nothing was answered");
        text.push('\n');
        return;
    }
    let _ = write!(text, "{:<28}{:>12}", "Latency", "count");
    PERCENTILES.iter().for_each(|(_, name)| {
        let _ = write!(text, "{name:>10}");
    });
    text.push('\n');
    for latency in &result.latencies {
        let histogram = &latency.histogram;
        let name = latency.pair.to_string();
        let _ = write!(text, "  {name:<26}{:>12}", number::count_short(histogram.count()));
        for (percent, _) in PERCENTILES {
            let cell = if histogram.count() == 0 {
                "-".to_owned()
            } else {
                microseconds(histogram.percentile(percent))
            };
            let _ = write!(text, "{cell:>10}");
        }
        text.push('\n');
    }
    text.push('\n');
}

fn phases(text: &mut String, result: &RunResult) {
    // One phase is the run, and says nothing that is not above.
    if result.phases.len() < 2 {
        return;
    }
    let _ = writeln!(
        text,
        "{:<24}{:>12}{:>12}{:>12}{:>10}{:>10}",
        "Phase", "began", "ACK", "lost", "p50", "p99"
    );
    let left_out = result.phases.len().saturating_sub(PHASES_SHOWN_MAX);
    if left_out > 0 {
        let _ = writeln!(text, "  the first {} are in the JSON", count(left_out as u64));
    }
    for phase in result.phases.iter().skip(left_out) {
        let mark = if phase.within_limits == Some(false) { " (too much)" } else { "" };
        let room = 22 - mark.chars().count();
        let name = cut(&escape::line(&phase.name), room) + mark;
        let _ = write!(
            text,
            "  {name:<22}{:>12}{:>12}{:>12}",
            number::count_short(phase.began),
            number::count_short(phase.acknowledged),
            number::count_short(phase.lost)
        );
        for percent in [50.0, 99.0] {
            let cell = if phase.latency.count() == 0 {
                "-".to_owned()
            } else {
                microseconds(phase.latency.percentile(percent))
            };
            let _ = write!(text, "{cell:>10}");
        }
        text.push('\n');
    }
    text.push('\n');
}

fn losses(text: &mut String, result: &RunResult) {
    let totals = &result.totals;
    if let Some(exchanges) = Exchanges::of(result) {
        field(
            text,
            "Exchanges",
            &format!(
                "{} began, {} ended with an ACK, {} lost ({})",
                count(exchanges.began),
                count(exchanges.acknowledged),
                count(exchanges.lost),
                number::percent(exchanges.lost, exchanges.began)
            ),
        );
    }
    field(
        text,
        "Losses",
        &format!(
            "{}, {}, {}; {} open at the end",
            counted(totals.retransmissions, "retransmission", "retransmissions"),
            counted(totals.refusals, "NAK", "NAKs"),
            counted(totals.expiries, "expiry", "expiries"),
            counted(totals.open_at_end, "exchange", "exchanges"),
        ),
    );
}

fn errors(text: &mut String, result: &RunResult) {
    if result.errors.is_empty() {
        field(text, "Errors", "none");
    }
    for (index, error) in result.errors.iter().take(ERRORS_SHOWN_MAX).enumerate() {
        let remark = escape::line(&error.remark);
        let sentence = format!(
            "{} × {}{}{remark}",
            count(error.count),
            escape::line(&error.kind),
            if remark.is_empty() { "" } else { ": " }
        );
        field(text, if index == 0 { "Errors" } else { "" }, &sentence);
    }
    let more = result.errors.len().saturating_sub(ERRORS_SHOWN_MAX);
    if more > 0 {
        field(text, "", &format!("and {} more", counted(more as u64, "kind", "kinds")));
    }
}

fn limits(text: &mut String, result: &RunResult) {
    let limits = &result.limits;
    let reason = escape::line(&limits.reason);
    let sentence = if reason.is_empty() {
        limits.verdict.to_string()
    } else {
        format!("{}: {reason}", limits.verdict)
    };
    field(text, "Limit", &sentence);
    field(
        text,
        "Generator",
        &format!(
            "{} % of a processor; lateness p99 {}, at most {}; {}",
            measured(limits.busy * 100.0),
            microseconds(limits.lateness_p99_microseconds),
            microseconds(limits.lateness_max_microseconds),
            counted(
                limits.kernel_drops,
                "packet dropped by the kernel",
                "packets dropped by the kernel"
            ),
        ),
    );
    if let Some(cost) = result.server_microseconds_per_acknowledgement() {
        let memory = memory_bytes_per_lease(result).map_or_else(String::new, |bytes| {
            format!(", {} of memory per lease", number::bytes(bytes))
        });
        field(
            text,
            "Server",
            &format!("{} of processor time per ACK{memory}", number::microseconds_measured(cost)),
        );
    }
    if let Some(durability) = &result.settings.durability {
        field(text, "Durability", &escape::line(durability));
    }
}

/// A text in a column of a table.
pub(crate) fn cut(text: &str, columns_max: usize) -> String {
    if text.chars().count() <= columns_max {
        return text.to_owned();
    }
    text.chars().take(columns_max.saturating_sub(1)).chain(['…']).collect()
}

fn unknown() -> String {
    number::UNKNOWN.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_long_words_broken() {
        let lines = wrapped("Name: ", &format!("{} {}", "word ".repeat(30), "x".repeat(200)), 6);
        assert!(lines.lines().all(|line| line.chars().count() <= COLUMNS), "{lines}");
        assert!(lines.lines().skip(1).all(|line| line.starts_with("      ")));
        assert_eq!(lines.matches("word").count(), 30);
        assert_eq!(lines.matches('x').count(), 200);
        assert_eq!(wrapped("", "", 2), "\n");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
