//! What a person reads: conditions, the table, the other measures, the goals.
//!
//! It promises that ratios have two digits, because no more is true, and that every figure stands
//! beside what makes it unlike another: durability, and what was the limit.

use super::conditions::Conditions;
use super::figures::{Row, Spread};
use super::goals::{Goal, ratio};
use super::plan::{CROWD_IN_FLIGHT, IN_FLIGHT, Measure, RELAYS};
use crate::servers::Server;
use std::fmt::Write as _;

/// How often and how long everything ran.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Seconds of each run.
    pub seconds: u32,
    /// Runs of each server in each measure.
    pub repetitions: u32,
}

/// Everything, as text.
#[must_use]
pub fn text(conditions: &Conditions, extent: Extent, rows: &[Row], goals: &[Goal]) -> String {
    let mut text = head(conditions, extent);
    for measure in Measure::READ {
        let of_it: Vec<&Row> = rows.iter().filter(|row| row.measure == measure.key()).collect();
        if !of_it.is_empty() {
            let _ = writeln!(text, "\n{}\n", title(measure));
            text.push_str(&columns(&table(measure, &of_it)));
        }
    }
    let violations: u64 =
        rows.iter().flat_map(|row| &row.runs).map(|figures| figures.violations).sum();
    let _ = match violations {
        0 => writeln!(text, "\nLedgers: no violation in any run."),
        count => writeln!(text, "\nLEDGERS: {count} VIOLATIONS. Look at nothing else."),
    };
    if !goals.is_empty() {
        let _ = writeln!(text, "\nGoals\n");
        text.push_str(&columns(&goal_table(goals)));
    }
    text
}

fn head(conditions: &Conditions, extent: Extent) -> String {
    let Conditions { machine, file_system, sync, versions } = conditions;
    let mut head = format!(
        "processor    {}, {} of them, shared by server and load client\n\
         memory       {} GiB\nkernel       {}\n\
         disk         {} on {}; a sync takes {} (median), {} (99 of 100)\n",
        machine.processor,
        machine.processors,
        machine.memory_bytes >> 30,
        machine.kernel,
        file_system.kind,
        file_system.source,
        time(sync.p50_microseconds as f64),
        time(sync.p99_microseconds as f64),
    );
    for (server, version) in versions {
        let _ = writeln!(head, "{server:<12} {version}");
    }
    let Extent { seconds, repetitions } = extent;
    let _ = writeln!(
        head,
        "each run     {seconds} s, every client a stranger, {RELAYS} relays, an empty store; {repetitions} of each, median (least to greatest)"
    );
    head
}

fn title(measure: Measure) -> String {
    match measure {
        Measure::Peak => format!("As fast as it goes: {IN_FLIGHT} exchanges in flight"),
        Measure::Crowd => format!("As fast as it goes: {CROWD_IN_FLIGHT} exchanges in flight"),
        Measure::PeakSlowDisk | Measure::CrowdSlowDisk => format!("A slow disk: {measure}"),
        Measure::Half => {
            "Half of what each server does with 64 in flight, at a steady rate".to_owned()
        }
        Measure::Alone => "One exchange at a time".to_owned(),
        Measure::Share => format!("A slow server: {measure}"),
        Measure::Overload => format!("Overload: {measure}"),
    }
}

fn table(measure: Measure, rows: &[&Row]) -> Vec<Vec<String>> {
    let find = |server: Server| rows.iter().find(|row| row.server == server.name());
    let rate = |row: &Row| Some(row.doras_per_second.median);
    let cost = |row: &Row| row.server_microseconds_per_dora.map(|spread| spread.median);
    let kea = find(Server::Kea).and_then(|row| rate(row));
    let null = find(Server::Null).and_then(|row| cost(row));
    // Ratios belong to the main table; elsewhere they would compare what was asked for.
    let is_main = measure == Measure::Peak;
    let mut head = vec!["server", "DORA/s", "", "p50", "p99", "CPU/DORA"];
    if is_main {
        head.extend(["memory/lease", "rate to Kea", "CPU to null"]);
    }
    head.extend(["limit", "durable before ACK"]);
    let mut table = vec![head.into_iter().map(str::to_owned).collect()];
    for row in rows {
        let spread = row.doras_per_second;
        let mut cells = vec![
            row.server.to_owned(),
            count(spread.median),
            range(spread),
            row.p50_microseconds.map_or_else(none, |p50| time(p50.median)),
            row.p99_microseconds.map_or_else(none, |p99| time(p99.median)),
            cost(row).map_or_else(none, short_time),
        ];
        if is_main {
            let memory = row.memory_bytes_per_lease;
            cells.push(memory.map_or_else(none, |memory| format!("{} B", count(memory.median))));
            cells.push(ratio(rate(row), kea).map_or_else(none, two_digits));
            cells.push(ratio(cost(row), null).map_or_else(none, two_digits));
        }
        cells.push(limits(row));
        cells.push(row.durable_before_ack.to_owned());
        table.push(cells);
    }
    table
}

/// What was the limit; all that were, if the runs differ.
fn limits(row: &Row) -> String {
    let mut limits: Vec<String> = row.runs.iter().map(|run| run.limit.to_string()).collect();
    limits.sort();
    limits.dedup();
    limits.join(" / ")
}

fn goal_table(goals: &[Goal]) -> Vec<Vec<String>> {
    let mut table: Vec<Vec<String>> =
        vec![["", "goal", "measured", ""].map(str::to_owned).to_vec()];
    for goal in goals {
        let write = |value: f64| {
            if goal.unit.is_empty() { format!("{value:.2}") } else { time(value) }
        };
        let bound = if goal.is_at_least { "at least" } else { "at most" };
        table.push(vec![
            goal.what.clone(),
            format!("{bound} {}", write(goal.goal)),
            goal.measured.map_or_else(none, write),
            match goal.is_reached() {
                Some(true) => "reached",
                Some(false) => "NOT REACHED",
                None => "not known",
            }
            .to_owned(),
        ]);
    }
    table
}

/// Columns side by side: the first to the left, figures to the right, words to the left again.
fn columns(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let figures = table.first().map_or(0, |head| {
        head.iter().position(|name| name == "limit").unwrap_or(head.len().saturating_sub(1))
    });
    let mut text = String::new();
    for row in table {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let width = width(index).unwrap_or(0);
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if (1..figures).contains(&index) {
                line = line + &padding + cell;
            } else {
                line = line + cell + &padding;
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn none() -> String {
    "-".to_owned()
}

/// A count, with its thousands apart.
#[must_use]
pub fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time with a digit more, where it is short.
fn short_time(microseconds: f64) -> String {
    if microseconds < 100.0 { format!("{microseconds:.1} µs") } else { time(microseconds) }
}

/// A time, in the unit that fits.
#[must_use]
pub fn time(microseconds: f64) -> String {
    if microseconds < 1000.0 {
        format!("{microseconds:.0} µs")
    } else if microseconds < 10_000.0 {
        format!("{:.2} ms", microseconds / 1000.0)
    } else {
        format!("{:.0} ms", microseconds / 1000.0)
    }
}

fn two_digits(value: f64) -> String {
    if value >= 9.95 {
        format!("{value:.0}")
    } else if value >= 0.095 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn range(spread: Spread) -> String {
    if spread.least.to_bits() == spread.greatest.to_bits() {
        return String::new();
    }
    format!("({} to {})", count(spread.least), count(spread.greatest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_to_be_read() {
        assert_eq!(
            [0.4, 999.0, 1000.0, 1_234_567.0].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([150.4, 1234.0, 12_345.0].map(time), ["150 µs", "1.23 ms", "12 ms"]);
        assert_eq!([0.024, 0.9, 2.46, 12.4].map(two_digits), ["0.02", "0.9", "2.5", "12"]);
    }

    #[test]
    fn columns_stand_one_below_the_other() {
        let cells = |row: [&str; 4]| row.map(str::to_owned).to_vec();
        let table = [cells(["server", "p50", "limit", "durable"]), cells(["a", "12 µs", "x", "y"])];
        assert_eq!(columns(&table), "server    p50  limit  durable\na       12 µs  x      y\n");
    }
}
