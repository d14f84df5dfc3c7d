//! The plots of a run: its latencies by percentile, and what happened in each second.

use super::figures::{PERCENTILES, Slice, slices};
use super::frame::{self, Column, Row};
use super::number::{self, count, measured, microseconds};
use super::page::none;
use super::plot::{LINES_MAX, Line, Plot, Scale, above};
use crate::histogram::Histogram;
use crate::result::{PairLatency, RunResult};

/// Parts of a timeline in a plot: about one for each unit of its width.
const SLICES_MAX: usize = 300;
/// Parts of a timeline in its table.
const TABLE_ROWS_MAX: usize = 60;
/// Points of a percentile curve.
const CURVE_POINTS: u32 = 150;

/// The latencies of a run, each kind a line.
pub(crate) fn percentile_plot(latencies: &[PairLatency]) -> String {
    let curves: Vec<(String, usize, &Histogram)> = latencies
        .iter()
        .filter(|latency| latency.histogram.count() > 0)
        .take(LINES_MAX)
        .enumerate()
        .map(|(colour, latency)| (latency.pair.to_string(), colour, &latency.histogram))
        .collect();
    curves_plot("Latency by percentile", &curves)
}

/// Histograms as percentile curves, each with its name and colour.
pub(crate) fn curves_plot(title: &str, curves: &[(String, usize, &Histogram)]) -> String {
    let count_max = curves.iter().map(|(_, _, histogram)| histogram.count()).max().unwrap_or(0);
    let low = curves.iter().map(|(_, _, histogram)| histogram.percentile(0.0)).min().unwrap_or(0);
    let high = curves.iter().map(|(_, _, histogram)| histogram.max()).max().unwrap_or(0);
    let across = Scale::percentiles(count_max);
    let lines = curves
        .iter()
        .map(|(name, colour, histogram)| Line {
            name: name.clone(),
            colour: *colour,
            points: curve(histogram, across.high()),
        })
        .collect();
    let words: Vec<String> = curves
        .iter()
        .map(|(name, _, histogram)| {
            let percentiles: Vec<String> = PERCENTILES
                .iter()
                .map(|(percent, of)| {
                    format!("{of} {}", microseconds(histogram.percentile(*percent)))
                })
                .collect();
            format!(
                "{name}: {}, slowest {}.",
                percentiles.join(", "),
                microseconds(histogram.max())
            )
        })
        .collect();
    let plot = Plot {
        id: "percentiles",
        title,
        description: &words.join(" "),
        across,
        up: Scale::latency(low, high),
        lines,
        fills_first: false,
    };
    format!(
        "<figure>\n<h3>{}</h3>\n{}{}<figcaption>To the right the slower exchanges, each step a tenth as many as the one \
         before; flat is good. A line ends at its slowest exchange.</figcaption>\n</figure>\n",
        super::escape::html(title),
        plot.legend(),
        plot.svg()
    )
}

/// Points of a histogram until its slowest value, by how many nines their percentile has.
fn curve(histogram: &Histogram, nines_max: f64) -> Vec<(f64, Option<f64>)> {
    let last = number::real(histogram.count()).log10().clamp(0.0, nines_max);
    (0..=CURVE_POINTS)
        .map(|step| nines_max * f64::from(step) / f64::from(CURVE_POINTS))
        .take_while(|nines| *nines < last)
        .chain([last])
        .map(|nines| {
            let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
            (nines.max(above(0.0)), Some(number::real(histogram.percentile(percent))))
        })
        .collect()
}

/// What happened in each second.
pub(crate) fn section(result: &RunResult) -> String {
    let timeline = &result.timeline;
    if timeline.is_empty() {
        return String::new();
    }
    let (parts, length) = slices(timeline, SLICES_MAX);
    let seconds = timeline.len() as f64;
    let mut body = if length == 1 {
        "<p class=\"note\">Each point is a second.</p>\n".to_owned()
    } else {
        format!(
            "<p class=\"note\">Each point is {length} seconds: of rates their mean, of latencies and open exchanges the \
             highest, of losses the sum.</p>\n"
        )
    };
    body.push_str("<div class=\"plots\">\n");
    for panel in panels(&parts) {
        body.push_str(&panel.figure(seconds));
    }
    body.push_str("</div>\n");
    body.push_str(&table(result));
    frame::section("timeline", "Timeline", &body)
}

/// See [`Line::points`].
type Points = Vec<(f64, Option<f64>)>;

/// One plot over the time of the run.
struct Panel {
    id: &'static str,
    title: &'static str,
    /// Names, colours and points.
    lines: Vec<(&'static str, usize, Points)>,
    is_latency: bool,
    fills_first: bool,
}

fn panels(parts: &[Slice]) -> Vec<Panel> {
    let line = |of: &dyn Fn(&Slice) -> Option<f64>| -> Points {
        parts.iter().map(|part| (part.middle_seconds, of(part))).collect()
    };
    let counted = |of: fn(&Slice) -> u64| line(&|part| Some(number::real(of(part))));
    let timed = |of: fn(&Slice) -> Option<u64>| line(&|part| of(part).map(number::real));
    vec![
        Panel {
            id: "rate",
            title: "Exchanges per second",
            lines: vec![
                ("intended", 7, line(&|part| Some(part.intended))),
                ("began", 0, line(&|part| Some(part.began))),
                ("ended with an ACK", 2, line(&|part| Some(part.acknowledged))),
            ],
            is_latency: false,
            fills_first: true,
        },
        Panel {
            id: "latencies",
            title: "Latency of exchanges that ended with an ACK",
            lines: vec![
                ("p50", 0, timed(|part| part.p50_microseconds)),
                ("p99", 1, timed(|part| part.p99_microseconds)),
                ("slowest", 4, timed(|part| part.max_microseconds)),
            ],
            is_latency: true,
            fills_first: false,
        },
        Panel {
            id: "troubles",
            title: "Losses",
            lines: vec![
                ("sent again", 1, counted(|part| part.retransmitted)),
                ("NAK", 4, counted(|part| part.refused)),
                ("leases that ran out", 3, counted(|part| part.expired)),
                ("dropped by the kernel", 6, counted(|part| part.kernel_drops)),
            ],
            is_latency: false,
            fills_first: false,
        },
        Panel {
            id: "bound",
            title: "Clients with a lease",
            lines: vec![("clients with a lease", 0, counted(|part| part.bound))],
            is_latency: false,
            fills_first: true,
        },
        Panel {
            id: "open",
            title: "Open exchanges",
            lines: vec![("open exchanges", 0, counted(|part| part.in_flight))],
            is_latency: false,
            fills_first: true,
        },
    ]
}

impl Panel {
    fn figure(self, seconds: f64) -> String {
        let values =
            || self.lines.iter().flat_map(|(_, _, points)| points.iter().filter_map(|(_, up)| *up));
        let high = values().fold(0.0, f64::max);
        let low = values().fold(f64::INFINITY, f64::min);
        if high <= 0.0 {
            return format!(
                "<figure>\n<h3>{}</h3>\n<p class=\"note\">None in the whole run.</p>\n</figure>\n",
                self.title
            );
        }
        let words: Vec<String> = self
            .lines
            .iter()
            .map(|(name, _, points)| {
                let most = points.iter().filter_map(|(_, up)| *up).fold(0.0, f64::max);
                let most = if self.is_latency {
                    number::microseconds_measured(most)
                } else {
                    measured(most)
                };
                format!("{name}: at most {most}.")
            })
            .collect();
        // A line at 0 all the time hides the others and says nothing.
        let only_some = !self.is_latency && self.lines.len() > 3;
        let lines = self
            .lines
            .iter()
            .filter(|(_, _, points)| {
                !only_some || points.iter().any(|(_, up)| up.is_some_and(|up| up > 0.0))
            })
            .map(|(name, colour, points)| Line {
                name: (*name).to_owned(),
                colour: *colour,
                points: points.clone(),
            })
            .collect();
        let up = if self.is_latency { latency_scale(low, high) } else { Scale::linear("", high) };
        let plot = Plot {
            id: self.id,
            title: self.title,
            description: &words.join(" "),
            across: Scale::time(seconds),
            up,
            lines,
            fills_first: self.fills_first,
        };
        let legend = if self.lines.len() > 1 { plot.legend() } else { String::new() };
        format!("<figure>\n<h3>{}</h3>\n{legend}{}</figure>\n", self.title, plot.svg())
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "these are counts of microseconds that were made real just before; the cast saturates"
)]
fn latency_scale(low: f64, high: f64) -> Scale {
    Scale::latency(low as u64, high as u64)
}

fn table(result: &RunResult) -> String {
    let (parts, length) = slices(&result.timeline, TABLE_ROWS_MAX);
    let columns = [
        Column::Words("from"),
        Column::Figures("intended/s"),
        Column::Figures("began/s"),
        Column::Figures("ACK/s"),
        Column::Figures("p50"),
        Column::Figures("p99"),
        Column::Figures("slowest"),
        Column::Figures("again"),
        Column::Figures("NAK"),
        Column::Figures("ran out"),
        Column::Figures("dropped"),
        Column::Figures("open"),
        Column::Figures("bound"),
    ];
    let time = |time: Option<u64>| time.map_or_else(none, microseconds);
    let rows: Vec<Row> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            Row::new(vec![
                format!("{} s", count(index.saturating_mul(length) as u64)),
                measured(part.intended),
                measured(part.began),
                measured(part.acknowledged),
                time(part.p50_microseconds),
                time(part.p99_microseconds),
                time(part.max_microseconds),
                count(part.retransmitted),
                count(part.refused),
                count(part.expired),
                count(part.kernel_drops),
                count(part.in_flight),
                count(part.bound),
            ])
        })
        .collect();
    let caption = if length == 1 {
        "Each second of the run".to_owned()
    } else {
        format!("The run in parts of {length} seconds")
    };
    frame::folded("The same as a table", &frame::table(&caption, &columns, &rows))
}
