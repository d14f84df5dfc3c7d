//! What a person sees while a run goes on.

use crate::engine::Live;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _};

/// A line that changes while the run goes on, or, where that cannot be, a line every second.
#[derive(Debug)]
pub struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    /// On standard error.
    #[must_use]
    pub fn on_standard_error() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar }
    }

    /// A second is over.
    pub fn show(&mut self, live: &Live<'_>) {
        let line = line(live);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None => eprintln!("{line}"),
        }
    }

    /// The run is over: the line goes.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds to be read by people")]
fn line(live: &Live<'_>) -> String {
    let second = &live.second;
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let left = live.left.map_or(String::new(), |left| format!(", {} s left", left.as_secs()));
    let violations = match live.violations {
        0 => String::new(),
        count => format!("VIOLATIONS {count}, "),
    };
    let usable =
        live.usable.map_or(String::new(), |usable| format!(", {usable} with a usable network"));
    format!(
        "{violations}{} {} s{left}: {} ACK/s, {} in flight, p50 {:.2} ms, p99 {:.2} ms, {} again, {} refused, \
         {} ran out, {} have a lease{usable}",
        live.phase,
        live.elapsed.as_secs(),
        second.acknowledged,
        second.in_flight,
        milliseconds(second.p50_microseconds),
        milliseconds(second.p99_microseconds),
        second.retransmitted,
        second.refused,
        second.expired,
        second.bound,
    )
}
