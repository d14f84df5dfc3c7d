//! Runs side by side, as text for 80 columns and as a page.

use super::compare::{self, Better, Cell, Measure, Set, cautions, measures};
use super::escape;
use super::frame::{self, Column, Row};
use super::number::{self, counted, ratio};
use super::page::none;
use super::plot::LINES_MAX;
use super::text::{cut, wrapped};
use super::timeline::curves_plot;
use crate::histogram::Histogram;
use crate::result::{RunResult, VIOLATIONS_MAX, ViolationRow};
use std::fmt::Write as _;

/// Columns of a label in the text.
const LABEL_COLUMNS: usize = 30;

/// The runs as text.
#[must_use]
pub fn compared_text(runs: &[RunResult]) -> String {
    let sets = Set::all(runs);
    let mut text = String::new();
    let cautions = cautions(&sets);
    for caution in &cautions {
        text.push_str(&wrapped("! ", &escape::line(caution), 2));
    }
    if !cautions.is_empty() {
        text.push('\n');
    }
    for (index, set) in sets.iter().enumerate() {
        let line = format!(
            "{}: {}; limit: {}; ledger: {}; durability: {}",
            escape::line(set.label),
            escape::line(&compare::runs(set)),
            set.limits(),
            set.ledger(),
            escape::line(&set.durability())
        );
        text.push_str(&wrapped(&format!("{:>2}  ", index + 1), &line, 4));
    }
    text.push('\n');
    text.push_str(&wrapped("", &how(&sets), 0));
    for measure in measures(&sets) {
        let _ = write!(text, "\n{}\n", name(&measure));
        for (index, (set, cell)) in sets.iter().zip(&measure.cells).enumerate() {
            let label = cut(&escape::line(set.label), LABEL_COLUMNS);
            let _ = write!(text, "{:>2}  {label:<LABEL_COLUMNS$}", index + 1);
            if let Some(cell) = cell {
                let (figure, times, range) = written(&measure, cell, index == 0);
                let _ = write!(text, "{figure:>12}  {times:<9}{range}");
            } else {
                let _ = write!(text, "{:>12}", "-");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text
}

/// The runs as a page.
#[must_use]
pub fn compared_html(runs: &[RunResult]) -> String {
    let sets = Set::all(runs);
    let measures = measures(&sets);
    let mut body = verdict(&sets);
    let cautions = cautions(&sets);
    if !cautions.is_empty() {
        let items: String = cautions
            .iter()
            .map(|caution| format!("<li>{}</li>\n", escape::html(caution)))
            .collect();
        let _ = write!(
            body,
            "<section class=\"verdict open\" aria-labelledby=\"cautions\"><h2 id=\"cautions\">Before you conclude \
             anything</h2>\n<ul>\n{items}</ul></section>\n"
        );
    }
    body.push_str(&summary(&sets, &measures));
    body.push_str(&curves(&sets));
    let mut groups: Vec<&str> = measures.iter().map(|measure| measure.group.as_str()).collect();
    groups.dedup();
    for (index, group) in groups.iter().enumerate() {
        let mut tables = String::from("<div class=\"plots\">\n");
        for measure in measures.iter().filter(|measure| measure.group == *group) {
            tables.push_str(&measure_table(&sets, measure));
        }
        tables.push_str("</div>\n");
        body.push_str(&frame::section(&format!("group-{index}"), group, &tables));
    }
    let about = format!("<p>{}</p>\n", escape::html(&how(&sets)));
    let labels: Vec<String> = sets.iter().take(4).map(|set| cut(set.label, 40)).collect();
    let more = if sets.len() > labels.len() { " and others" } else { "" };
    frame::page(
        &format!("{}{more}", labels.join(", ")),
        "vestibule-load, runs side by side",
        &about,
        &body,
    )
}

/// How the figures are made.
fn how(sets: &[Set<'_>]) -> String {
    let Some(first) = sets.first() else { return "There are no runs.".to_owned() };
    let mut how = format!(
        "{} side by side. Ratios are to the first, {}.",
        counted(sets.iter().map(|set| set.runs.len() as u64).sum(), "run", "runs"),
        escape::line(first.label)
    );
    if sets.iter().any(|set| set.runs.len() > 1) {
        how.push_str(" Of runs with the same label the median is shown, and the range.");
    }
    how
}

fn name(measure: &Measure) -> String {
    let group = if measure.group.starts_with("Latency") {
        format!("{}: ", measure.group)
    } else {
        String::new()
    };
    format!("{group}{} ({})", measure.name, better(measure.better))
}

const fn better(better: Better) -> &'static str {
    match better {
        Better::More => "more is better",
        Better::Less => "less is better",
    }
}

/// A figure, its ratio, its range.
fn written(measure: &Measure, cell: &Cell, is_first: bool) -> (String, String, String) {
    let write = measure.write;
    let times = match cell.ratio {
        Some(_) if is_first => "1".to_owned(),
        Some(value) => ratio(value),
        None => String::new(),
    };
    let range = if cell.runs > 1 {
        format!("{} to {}", write(cell.least), write(cell.greatest))
    } else {
        String::new()
    };
    (write(cell.median), times, range)
}

fn verdict(sets: &[Set<'_>]) -> String {
    let ledger = crate::result::LedgerVerdict {
        acknowledgements: sets.iter().map(Set::checked).fold(0, u64::saturating_add),
        held: sets
            .iter()
            .flat_map(|set| &set.runs)
            .map(|run| run.ledger.held)
            .fold(0, u64::saturating_add),
        violations: sets.iter().map(Set::violations).fold(0, u64::saturating_add),
        shown: Vec::new(),
    };
    let shown: Vec<ViolationRow> = sets
        .iter()
        .flat_map(|set| set.runs.iter().map(|run| (set.label, run)))
        .flat_map(|(label, run)| run.ledger.shown.iter().map(move |row| (label, row)))
        .take(VIOLATIONS_MAX)
        .map(|(label, row)| ViolationRow {
            rule: row.rule.clone(),
            story: format!("{}: {}", cut(label, 60), row.story),
        })
        .collect();
    frame::verdict("verdict", "Ledgers", &super::figures::Verdict::of(&ledger), &shown)
}

fn summary(sets: &[Set<'_>], measures: &[Measure]) -> String {
    // One figure of each kind: the table that is quoted.
    let latency = measures.iter().find(|measure| measure.group.starts_with("Latency"));
    let latency = latency.map(|measure| measure.group.as_str());
    let wanted: Vec<&Measure> = measures
        .iter()
        .filter(|measure| match measure.group.as_str() {
            "Throughput" => measure.name != "ACKs per second",
            "Cost" => measure.name.starts_with("Server"),
            "Losses" => true,
            group => Some(group) == latency && measure.name != "p99.9",
        })
        .collect();
    let mut columns = vec![Column::Words("")];
    columns.extend(wanted.iter().map(|measure| Column::Figures(&measure.name)));
    columns.extend([
        Column::Words("durability"),
        Column::Words("limit"),
        Column::Words("ledger"),
        Column::Words("what ran"),
    ]);
    let rows: Vec<Row> = sets
        .iter()
        .enumerate()
        .map(|(index, set)| {
            let mut cells = vec![escape::html(set.label)];
            for measure in &wanted {
                cells.push(measure.cells.get(index).copied().flatten().map_or_else(none, |cell| {
                    escape::html(&written(measure, &cell, index == 0).0)
                }));
            }
            cells.extend([
                escape::html(&set.durability()),
                escape::html(&set.limits()),
                escape::html(&set.ledger()),
                escape::html(&compare::runs(set)),
            ]);
            Row { failed: set.violations() > 0, cells_markup: cells }
        })
        .collect();
    let caption = latency.map_or_else(
        || "What was compared".to_owned(),
        |latency| format!("What was compared. {latency}: p50 and p99"),
    );
    frame::section("summary", "Side by side", &frame::table(&caption, &columns, &rows))
}

/// The percentile curves of the most telling kind of exchange, all runs of a set together.
fn curves(sets: &[Set<'_>]) -> String {
    let Some(pair) = compare::pairs(sets).first().copied() else { return String::new() };
    let merged: Vec<(&str, usize, Histogram)> = sets
        .iter()
        .enumerate()
        .map(|(colour, set)| {
            let mut all = Histogram::default();
            set.runs.iter().filter_map(|run| run.latency(pair)).for_each(|one| all.merge(one));
            (set.label, colour, all)
        })
        .filter(|(_, _, histogram)| histogram.count() > 0)
        .collect();
    let shown: Vec<(String, usize, &Histogram)> = merged
        .iter()
        .take(LINES_MAX)
        .map(|(label, colour, histogram)| (cut(label, 60), *colour, histogram))
        .collect();
    let mut body = curves_plot(&format!("{pair}, by percentile"), &shown);
    if merged.len() > shown.len() {
        let more = number::count((merged.len() - shown.len()) as u64);
        let _ = writeln!(body, "<p class=\"note\">{more} more are only in the tables.</p>");
    }
    frame::section("curves", "Latency", &body)
}

fn measure_table(sets: &[Set<'_>], measure: &Measure) -> String {
    let most = measure.cells.iter().flatten().map(|cell| cell.median).fold(0.0, f64::max);
    let ranges = measure.cells.iter().flatten().any(|cell| cell.runs > 1);
    let mut columns =
        vec![Column::Words(""), Column::Figures("figure"), Column::Figures("to the first")];
    if ranges {
        columns.push(Column::Figures("range"));
    }
    let rows: Vec<Row> = sets
        .iter()
        .zip(&measure.cells)
        .enumerate()
        .map(|(index, (set, cell))| {
            let label = escape::html(set.label);
            let Some(cell) = cell else {
                let mut cells = vec![label, none(), String::new()];
                cells.resize(columns.len(), String::new());
                return Row::new(cells);
            };
            let (figure, times, range) = written(measure, cell, index == 0);
            let part = cell.median / most * 100.0;
            let width = if part.is_finite() { part.clamp(0.5, 100.0) } else { 0.5 };
            let bar = format!(
                "<svg class=\"bar\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
                 <rect class=\"c{}\" width=\"{width:.1}\" height=\"4\"/></svg>",
                index % LINES_MAX
            );
            let mut cells = vec![label + &bar, escape::html(&figure), escape::html(&times)];
            if ranges {
                cells.push(escape::html(&range));
            }
            Row::new(cells)
        })
        .collect();
    let caption = format!("{} ({})", measure.name, better(measure.better));
    frame::table(&caption, &columns, &rows)
}
