//! What kept a run from being faster: the generator, the host or the server.
//!
//! It promises that the verdict names what it was concluded from.

use crate::engine::Outcome;
use crate::machine::ThreadTime;
use crate::result::{Limit, Limits};

/// Lateness of the generator above which it, and not the server, is held to be the limit.
const LATENESS_MAX_MICROSECONDS: u64 = 1000;
/// Part of the time that the generator may wait for a processor before the host is the limit.
const WAITED_MAX: f64 = 0.05;
/// How busy a generator is that cannot do more.
const BUSY_MIN: f64 = 0.95;

/// Whether the generator, the host or the server was the limit.
#[must_use]
pub fn limits(outcome: &Outcome, is_closed_loop: bool, time: ThreadTime) -> Limits {
    let tally = &outcome.tally;
    let elapsed = outcome.elapsed.as_secs_f64().max(1e-6);
    let (busy, waited) = (time.ran.as_secs_f64() / elapsed, time.waited.as_secs_f64() / elapsed);
    let late = tally.lateness.percentile(99.0);
    let lost: u64 = outcome.phases.iter().map(|phase| phase.lost).sum();
    // A closed loop that ends by the clock always leaves what is in flight: that is no loss.
    let cut_off = if is_closed_loop { tally.totals.open_at_end } else { 0 };
    let lost = lost.saturating_sub(cut_off);
    let again = tally.totals.retransmissions;
    let (verdict, reason) = if tally.kernel_drops > 0 {
        let drops = tally.kernel_drops;
        (Limit::Host, format!("the kernel dropped {drops} replies at the generator's sockets"))
    } else if tally.send_errors > 0 {
        let errors = tally.send_errors;
        (Limit::Host, format!("the kernel refused to send {errors} messages"))
    } else if !is_closed_loop && late > LATENESS_MAX_MICROSECONDS && waited > WAITED_MAX {
        let percent = waited * 100.0;
        (
            Limit::Host,
            format!("the generator was late and waited {percent:.0} % of the time for a processor"),
        )
    } else if !is_closed_loop && late > LATENESS_MAX_MICROSECONDS {
        let reason = format!("it was up to {late} µs late with 99 of 100 messages");
        (Limit::Generator, reason)
    } else if lost > 0 || again > 0 {
        let reason =
            format!("{lost} exchanges were lost and {again} messages had to be sent again");
        (Limit::Server, reason)
    } else if is_closed_loop && busy >= BUSY_MIN {
        (Limit::Generator, format!("it was busy {:.0} % of the time", busy * 100.0))
    } else if is_closed_loop && waited > WAITED_MAX {
        let percent = waited * 100.0;
        (Limit::Host, format!("the generator waited {percent:.0} % of the time for a processor"))
    } else if is_closed_loop {
        let percent = busy * 100.0;
        let reason = format!("the generator was busy only {percent:.0} % of the time");
        (Limit::Server, reason)
    } else {
        (Limit::Nothing, "everything was sent when intended and was answered".to_owned())
    };
    Limits {
        verdict,
        reason,
        late: tally.late,
        lateness_p99_microseconds: late,
        lateness_max_microseconds: tally.lateness.max(),
        kernel_drops: tally.kernel_drops,
        send_errors: tally.send_errors,
        processor_microseconds: u64::try_from(time.ran.as_micros()).unwrap_or(u64::MAX),
        busy,
    }
}
