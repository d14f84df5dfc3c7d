//! What a person sees while a run goes on.

use crate::engine::Live;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _};

/// Two lines that change while the run goes on, or, where that cannot be, a line every second.
#[derive(Debug)]
pub struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    /// On standard error.
    #[must_use]
    pub fn on_standard_error() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar }
    }

    /// A second is over.
    pub fn show(&mut self, live: &Live<'_>) {
        let [progress, figures] = lines(live);
        match &self.bar {
            Some(bar) => {
                // Eighty columns do not hold it in one.
                bar.set_message(format!("{progress}\n  {figures}"));
                bar.tick();
            }
            None => eprintln!("{progress}, {figures}"),
        }
    }

    /// The run is over: the lines go.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds to be read by people")]
fn lines(live: &Live<'_>) -> [String; 2] {
    let second = &live.second;
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let left = live.left.map_or(String::new(), |left| format!(", {} s left", left.as_secs()));
    let violations = match live.violations {
        0 => String::new(),
        count => format!("VIOLATIONS {count}, "),
    };
    let usable =
        live.usable.map_or(String::new(), |usable| format!(", {usable} with a usable network"));
    let progress = format!(
        "{violations}{} {} s{left}: {} ACK/s, {} in flight, {} leases{usable}",
        live.phase,
        live.elapsed.as_secs(),
        second.acknowledged,
        second.in_flight,
        second.bound,
    );
    let figures = format!(
        "p50 {:.2} ms, p99 {:.2} ms, {} again, {} refused, {} ran out",
        milliseconds(second.p50_microseconds),
        milliseconds(second.p99_microseconds),
        second.retransmitted,
        second.refused,
        second.expired,
    );
    [progress, figures]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Second, Totals};
    use std::time::Duration;

    #[test]
    fn eighty_columns_hold_every_line_of_a_large_run() {
        let second = Second {
            acknowledged: 150_000,
            in_flight: 20_000,
            bound: 500_000,
            p50_microseconds: 12_345_678,
            p99_microseconds: 12_345_678,
            retransmitted: 20_000,
            refused: 20_000,
            expired: 20_000,
            ..Second::default()
        };
        let live = Live {
            phase: "steady",
            elapsed: Duration::from_secs(86_400),
            left: Some(Duration::from_secs(86_400)),
            second,
            totals: Totals::default(),
            violations: 0,
            usable: None,
        };
        for line in lines(&live) {
            // Two columns are the spinner's, or the second line's indent.
            assert!(line.chars().count() + 2 <= 80, "{line}");
        }
    }
}
