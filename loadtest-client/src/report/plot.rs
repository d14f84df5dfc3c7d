//! Plots as SVG, drawn by hand: lines over a linear or a logarithmic scale.
//!
//! A plot is 360 units wide, so that its writing is readable on a phone; the page's style makes the
//! writing smaller where the plot is shown larger. Every plot has a title and a description for
//! those who do not see it. Lines differ by colour and by dashes. It promises that no coordinate is
//! anything but a finite number inside the plot.

use super::escape;
use super::number;
use std::fmt::Write as _;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 214.0;
/// The part with the lines.
const LEFT: f64 = 54.0;
const RIGHT: f64 = 348.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 172.0;

/// Lines that can be told from each other: as many as the style has colours.
pub(crate) const LINES_MAX: usize = 8;

/// A line: points from left to right, in the units of the scales. A point without a height is a gap.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Which of the style's colours, from 0.
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// A scale: values to places between 0 and 1, and the values that are written at it.
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
    /// What it measures, with its unit.
    pub(crate) name: String,
}

/// What is drawn.
pub(crate) struct Plot<'a> {
    /// What the title's and the description's identifiers begin with.
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    /// What is to be seen, in words.
    pub(crate) description: &'a str,
    pub(crate) across: Scale,
    pub(crate) up: Scale,
    /// At most [`LINES_MAX`] are drawn.
    pub(crate) lines: Vec<Line>,
    /// Whether the space below the first line is filled.
    pub(crate) fills_first: bool,
}

impl Scale {
    /// From 0 to at least `high`, with round numbers written.
    pub(crate) fn linear(name: &str, high: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 { high.min(1e30) } else { 1.0 };
        let step = round_step(high / 4.0);
        let mut ticks = Vec::new();
        while ticks.len() < 8 {
            let value = step * ticks.len() as f64;
            ticks.push((value, short(value)));
            if value >= high {
                break;
            }
        }
        let high = ticks.last().map_or(high, |(value, _)| *value);
        Self { low: 0.0, high, logarithmic: false, ticks, name: name.to_owned() }
    }

    /// Seconds of a run, written in seconds, minutes or hours.
    pub(crate) fn time(seconds: f64) -> Self {
        let (unit, name) = match seconds {
            length if length <= 180.0 => (1.0, "seconds since the run began"),
            length if length <= 10_800.0 => (60.0, "minutes since the run began"),
            _ => (3600.0, "hours since the run began"),
        };
        let mut scale = Self::linear(name, seconds / unit);
        // The run ends where it ends, not at the next round number.
        scale.high = if seconds.is_finite() && seconds > 0.0 { seconds } else { 1.0 };
        for (value, _) in &mut scale.ticks {
            *value *= unit;
        }
        let high = scale.high;
        scale.ticks.retain(|(value, _)| *value <= high);
        scale
    }

    /// Times in microseconds, in powers of ten.
    pub(crate) fn latency(low: u64, high: u64) -> Self {
        let (mut from, mut to) = (1_u64, 10_u64);
        while from <= low / 10 {
            from *= 10;
        }
        while to < high.max(from.saturating_add(1)) && to < u64::MAX {
            to = to.saturating_mul(10);
        }
        let mut ticks = Vec::new();
        let mut value = from;
        let decades = to.checked_div(from).map_or(0, |parts| parts.max(1).ilog10());
        while value <= to {
            ticks.push((number::real(value), latency_short(value)));
            if decades < 2 && value < to {
                for part in [2, 5] {
                    let between = value.saturating_mul(part);
                    ticks.push((number::real(between), latency_short(between)));
                }
            }
            let Some(next) = value.checked_mul(10) else { break };
            value = next;
        }
        Self {
            low: number::real(from),
            high: number::real(to),
            logarithmic: true,
            ticks,
            name: "latency".to_owned(),
        }
    }

    /// Percentiles, such that 90, 99 and 99.9 are equally far from each other, until that of one in
    /// `count`. A value is here the percentile's part of a hundred that is above it: see [`above`].
    pub(crate) fn percentiles(count: u64) -> Self {
        let high = number::real(count.clamp(100, 10_000_000)).log10();
        let ticks = [
            (50.0, "50"),
            (90.0, "90"),
            (99.0, "99"),
            (99.9, "99.9"),
            (99.99, "99.99"),
            (99.999, "99.999"),
            (99.9999, "99.9999"),
        ];
        let ticks = ticks
            .iter()
            .map(|(percent, label)| (above(*percent), (*label).to_owned()))
            .filter(|(value, _)| *value <= high + 1e-6)
            .collect();
        let name = "percentile of the exchanges".to_owned();
        Self { low: 0.0, high, logarithmic: false, ticks, name }
    }

    /// Where its end is.
    pub(crate) const fn high(&self) -> f64 {
        self.high
    }

    fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Where a percentile is on the scale of [`Scale::percentiles`]: how many nines it has.
pub(crate) fn above(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).max(1e-9).log10()
}

impl Plot<'_> {
    /// The SVG, and the list of its lines.
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-description\">\
             <title id=\"{id}-title\">{}</title><desc id=\"{id}-description\">{}</desc>\n",
            escape::html(self.title),
            escape::html(self.description),
            id = self.id,
        );
        self.grid(&mut svg);
        for (index, line) in self.lines.iter().take(LINES_MAX).enumerate() {
            self.line(&mut svg, line, index == 0 && self.fills_first);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// What each line is.
    pub(crate) fn legend(&self) -> String {
        let mut legend = String::from("<ul class=\"legend\">");
        for line in self.lines.iter().take(LINES_MAX) {
            let _ = write!(
                legend,
                "<li><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path class=\"line c{}\" d=\"M1 4H27\"/>\
                 </svg>{}</li>",
                line.colour % LINES_MAX,
                escape::html(&line.name)
            );
        }
        legend.push_str("</ul>\n");
        legend
    }

    fn grid(&self, svg: &mut String) {
        svg.push_str("<g class=\"grid\" aria-hidden=\"true\">\n");
        for (value, label) in &self.up.ticks {
            let y = BOTTOM - self.up.place(*value) * (BOTTOM - TOP);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{label}</text>",
                LEFT - 5.0,
                y + 3.5
            );
        }
        for (value, label) in &self.across.ticks {
            let x = LEFT + self.across.place(*value) * (RIGHT - LEFT);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {BOTTOM}v4\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{label}</text>",
                BOTTOM + 16.0
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 34.0,
            escape::html(&self.across.name)
        );
    }

    fn line(&self, svg: &mut String, line: &Line, fills: bool) {
        let colour = line.colour % LINES_MAX;
        let mut runs: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        for (across, up) in &line.points {
            match up {
                Some(up) => {
                    let x = LEFT + self.across.place(*across) * (RIGHT - LEFT);
                    let y = BOTTOM - self.up.place(*up) * (BOTTOM - TOP);
                    if let Some(run) = runs.last_mut() {
                        run.push((x, y));
                    }
                }
                None => runs.push(Vec::new()),
            }
        }
        for run in runs {
            match run.as_slice() {
                [] => {}
                [(x, y)] => {
                    let _ = writeln!(
                        svg,
                        "<circle class=\"point c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>"
                    );
                }
                [(first, _), .., (last, _)] => {
                    let mut path = String::new();
                    for (x, y) in &run {
                        let _ = write!(
                            path,
                            "{}{x:.1} {y:.1}",
                            if path.is_empty() { 'M' } else { 'L' }
                        );
                    }
                    if fills {
                        let _ = writeln!(
                            svg,
                            "<path class=\"area c{colour}\" d=\"{path}L{last:.1} {BOTTOM}\
                             L{first:.1} {BOTTOM}Z\"/>"
                        );
                    }
                    let _ = writeln!(svg, "<path class=\"line c{colour}\" d=\"{path}\"/>");
                }
            }
        }
    }
}

/// The next of 1, 2, 5, 10 and so on that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|part| part * power)
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(power * 10.0)
}

/// A number at a scale.
fn short(value: f64) -> String {
    let (divisor, unit) = match value {
        value if value < 10_000.0 => (1.0, ""),
        value if value < 1e6 => (1e3, "k"),
        value if value < 1e9 => (1e6, "M"),
        value if value < 1e12 => (1e9, "G"),
        value if value < 1e15 => (1e12, "T"),
        _ => return format!("{value:.0e}"),
    };
    let rounded = format!("{:.3}", value / divisor);
    let plain = rounded.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if plain.is_empty() { "0" } else { plain })
}

/// A time at a scale: a power of ten, twice or five times one.
fn latency_short(microseconds: u64) -> String {
    match microseconds {
        0..1000 => format!("{microseconds} µs"),
        1000..1_000_000 => format!("{} ms", microseconds / 1000),
        1_000_000..1_000_000_000 => format!("{} s", microseconds / 1_000_000),
        _ => format!("{} s", short(number::real(microseconds / 1_000_000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn scales_have_round_numbers_and_hold_their_values() {
        assert_eq!(labels(&Scale::linear("", 17.0)), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&Scale::linear("", 13_100.0)), ["0", "5000", "10k", "15k"]);
        assert_eq!(labels(&Scale::linear("", 3.0)), ["0", "1", "2", "3"]);
        assert_eq!(labels(&Scale::time(60.0)), ["0", "20", "40", "60"]);
        assert_eq!(labels(&Scale::time(3600.0)), ["0", "20", "40", "60"]);
        assert_eq!(labels(&Scale::latency(150, 48_000)), ["100 µs", "1 ms", "10 ms", "100 ms"]);
        assert_eq!(labels(&Scale::latency(150, 480)), ["100 µs", "200 µs", "500 µs", "1 ms"]);
        assert_eq!(labels(&Scale::percentiles(1000)), ["50", "90", "99", "99.9"]);
        for high in [0.0, 1e-9, 1.0, 99.9, 1e18, f64::MAX, f64::NAN, f64::INFINITY] {
            let scale = Scale::linear("", high);
            assert!(scale.ticks.len() <= 8 && scale.place(0.0) < 1e-9, "{high}");
            assert!(!high.is_finite() || high > 1e30 || scale.high >= high, "{high}");
            assert!((0.0..=1.0).contains(&Scale::time(high).place(high)), "{high}");
        }
        for (low, high) in [(0, 0), (1, 1), (u64::MAX, u64::MAX), (0, u64::MAX), (9, 3)] {
            let scale = Scale::latency(low, high);
            assert!(scale.ticks.len() < 25 && scale.place(number::real(high)) <= 1.0);
        }
    }

    #[test]
    fn lines_are_drawn_where_their_values_are() {
        let plot = Plot {
            id: "p",
            title: "<t>",
            description: "d",
            across: Scale::time(100.0),
            up: Scale::linear("", 10.0),
            lines: vec![Line {
                name: "<n>".to_owned(),
                colour: 9,
                points: vec![
                    (0.0, Some(0.0)),
                    (50.0, Some(5.0)),
                    (60.0, None),
                    (100.0, Some(f64::NAN)),
                ],
            }],
            fills_first: false,
        };
        let svg = plot.svg();
        assert!(svg.contains("M54.0 172.0L201.0 91.0\""), "{svg}");
        assert!(svg.contains("<circle class=\"point c1\" cx=\"348.0\" cy=\"172.0\""), "{svg}");
        assert!(svg.contains("&lt;t&gt;") && plot.legend().contains("&lt;n&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
