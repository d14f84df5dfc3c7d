//! The page of one run.
//!
//! It promises that it says what the summary says, with the same figures, and that every plot has a
//! table with its figures.

use super::escape;
use super::figures::{
    Exchanges, PERCENTILES, Verdict, best_second, memory_bytes_per_lease, per_second,
    registration_sentence,
};
use super::frame::{self, Column, Row};
use super::incidents;
use super::number::{self, count, counted, measured, microseconds};
use super::timeline;
use crate::result::{Ending, Pair, RELAYS_MAX, RelayRow, RunResult, Totals, VIOLATIONS_MAX};

/// Rows of a table of which a page shows no more.
const ROWS_MAX: usize = 200;
/// Relays that are shown before the others are folded away.
const RELAYS_SHOWN_MAX: usize = 24;

/// The page of a run.
#[must_use]
pub fn html(result: &RunResult) -> String {
    let settings = &result.settings;
    let shown = result.ledger.shown.get(..VIOLATIONS_MAX).unwrap_or(&result.ledger.shown);
    let mut body = frame::verdict("verdict", "Ledger", &Verdict::of(&result.ledger), shown);
    if result.ending == Ending::Interrupted {
        body.push_str(
            "<section class=\"verdict open\" aria-labelledby=\"ending\"><h2 id=\"ending\">Interrupted</h2>\
             <p>The run did not reach its end; the figures are those until then.</p></section>\n",
        );
    }
    if result.ending == Ending::Unanswered {
        body.push_str(
            "<section class=\"verdict open\" aria-labelledby=\"ending\"><h2 id=\"ending\">Ended early</h2>\
             <p>Nobody answered; what is known of it is among the errors.</p></section>\n",
        );
    }
    body.push_str(&figures(result));
    body.push_str(&latency(result));
    body.push_str(&timeline::section(result));
    body.push_str(&phases(result));
    body.push_str(&losses(result));
    body.push_str(&incidents::markup(result));
    body.push_str(&relays(&result.relays));
    body.push_str(&limits(result));
    body.push_str(&told(result));
    let about = format!(
        "<p>{} behind {}, asking {}.<br/>{}, for {}.</p>\n",
        counted(settings.clients, "client", "clients"),
        counted(settings.relays, "relay", "relays"),
        servers(result),
        number::day_and_time(result.began_unix_milliseconds),
        number::seconds(result.elapsed_seconds),
    );
    let kind = format!("vestibule-load, scenario {}", settings.scenario);
    frame::page(&settings.label, &kind, &about, &body)
}

fn servers(result: &RunResult) -> String {
    let servers: Vec<String> = result.settings.servers.iter().map(ToString::to_string).collect();
    if servers.is_empty() { "nobody".to_owned() } else { servers.join(" and ") }
}

/// The pair that stands for a run: a whole DORA, or else what it has most of.
pub(crate) fn main_pair(result: &RunResult) -> Option<Pair> {
    let of_dora = result
        .latencies
        .iter()
        .find(|latency| latency.pair == Pair::Dora && latency.histogram.count() > 0);
    of_dora
        .or_else(|| result.latencies.iter().max_by_key(|latency| latency.histogram.count()))
        .filter(|latency| latency.histogram.count() > 0)
        .map(|latency| latency.pair)
}

fn figures(result: &RunResult) -> String {
    let mut figures = Vec::new();
    let rate =
        |count| per_second(count, result).map_or_else(|| number::UNKNOWN.to_owned(), measured);
    let best = best_second(result).map_or_else(String::new, |best| {
        format!("{} in the best second", counted(best, "ACK", "ACKs"))
    });
    figures.push(("DORA per second", rate(result.totals.doras), intended(result)));
    figures.push(("ACKs per second", rate(result.totals.acknowledgements), best));
    if let Some(pair) = main_pair(result)
        && let Some(histogram) = result.latency(pair)
    {
        figures.push(("Median", microseconds(histogram.percentile(50.0)), pair.to_string()));
        figures.push(("p99", microseconds(histogram.percentile(99.0)), pair.to_string()));
    }
    if let Some(exchanges) = Exchanges::of(result) {
        figures.push((
            "Exchanges lost",
            count(exchanges.lost),
            format!(
                "{} of {}",
                number::percent(exchanges.lost, exchanges.began),
                count(exchanges.began)
            ),
        ));
    }
    if let Some(knee) = result.knee {
        let bad = knee.bad_per_second.map_or_else(
            || "no rate that was tried was too high".to_owned(),
            |bad| format!("{} was too much", measured(bad)),
        );
        figures.push(("Knee, per second", measured(knee.good_per_second), bad));
    }
    if let (Some(verdict), Some(sentence)) = (result.registration, registration_sentence(result)) {
        let usable = format!("{} of {}", count(verdict.usable), count(verdict.newcomers));
        figures.push(("Usable network", usable, sentence));
    }
    figures.push(("Limit", result.limits.verdict.to_string(), result.limits.reason.clone()));
    frame::figures(&figures)
}

fn intended(result: &RunResult) -> String {
    match (result.settings.arrivals_per_second, result.settings.in_flight_max) {
        (Some(rate), _) => format!("{} arrivals intended", measured(rate)),
        (None, Some(in_flight)) => {
            format!("at most {} at once", counted(in_flight, "exchange", "exchanges"))
        }
        (None, None) => String::new(),
    }
}

fn latency(result: &RunResult) -> String {
    let mut columns = vec![Column::Words("From and to"), Column::Figures("count")];
    columns.extend(PERCENTILES.iter().map(|(_, name)| Column::Figures(name)));
    columns.push(Column::Figures("slowest"));
    let rows: Vec<Row> = result
        .latencies
        .iter()
        .take(ROWS_MAX)
        .filter(|latency| latency.histogram.count() > 0)
        .map(|latency| {
            let histogram = &latency.histogram;
            let mut cells = vec![latency.pair.to_string(), count(histogram.count())];
            cells.extend(
                PERCENTILES.iter().map(|(percent, _)| microseconds(histogram.percentile(*percent))),
            );
            cells.push(microseconds(histogram.max()));
            Row::new(cells)
        })
        .collect();
    if rows.is_empty() {
        return frame::section("latency", "Latency", "<p>Nothing was answered.</p>\n");
    }
    let body = format!(
        "<div class=\"beside\">\n{}{}</div>\n",
        timeline::percentile_plot(&result.latencies),
        frame::table("Latency of each kind of exchange", &columns, &rows)
    );
    frame::section("latency", "Latency", &body)
}

fn phases(result: &RunResult) -> String {
    if result.phases.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Words("Phase"),
        Column::Figures("from"),
        Column::Figures("for"),
        Column::Figures("intended/s"),
        Column::Figures("began"),
        Column::Figures("ACK"),
        Column::Figures("lost"),
        Column::Figures("p50"),
        Column::Figures("p99"),
        Column::Words("limits"),
    ];
    let rows: Vec<Row> = result
        .phases
        .iter()
        .take(ROWS_MAX)
        .map(|phase| Row {
            failed: phase.within_limits == Some(false),
            cells_markup: vec![
                escape::html(&phase.name),
                number::seconds(phase.began_seconds),
                number::seconds(phase.elapsed_seconds),
                phase.arrivals_per_second.map_or_else(none, measured),
                count(phase.began),
                count(phase.acknowledged),
                count(phase.lost),
                percentile(&phase.latency, 50.0),
                percentile(&phase.latency, 99.0),
                match phase.within_limits {
                    Some(true) => "kept",
                    Some(false) => "broken",
                    None => "none",
                }
                .to_owned(),
            ],
        })
        .collect();
    let body = frame::table("Phases of the run", &columns, &rows)
        + &left_out(result.phases.len(), ROWS_MAX);
    frame::section("phases", "Phases", &body)
}

/// Of what few clients send, only what was sent.
fn declines_and_informs(totals: &Totals) -> String {
    let said = |number, one, many| match number {
        0 => String::new(),
        number => format!(", {}", counted(number, one, many)),
    };
    said(totals.declines, "DECLINE", "DECLINEs") + &said(totals.informs, "INFORM", "INFORMs")
}

fn losses(result: &RunResult) -> String {
    let totals = &result.totals;
    let mut items = Vec::new();
    if let Some(exchanges) = Exchanges::of(result) {
        items.push((
            "Exchanges",
            format!(
                "{} began, {} ended with an ACK, {} lost",
                count(exchanges.began),
                count(exchanges.acknowledged),
                count(exchanges.lost)
            ),
        ));
    }
    items.extend([
        (
            "Messages sent",
            format!(
                "{}, {}, {}{}; {} of them again",
                counted(totals.discovers, "DISCOVER", "DISCOVERs"),
                counted(totals.requests, "REQUEST", "REQUESTs"),
                counted(totals.releases, "RELEASE", "RELEASEs"),
                declines_and_informs(totals),
                count(totals.retransmissions)
            ),
        ),
        (
            "Replies",
            format!(
                "{}, {}, {}",
                counted(totals.offers, "OFFER", "OFFERs"),
                counted(totals.acknowledgements, "ACK", "ACKs"),
                counted(totals.refusals, "NAK", "NAKs")
            ),
        ),
        ("Leases that ran out", count(totals.expiries)),
        (
            "At the end",
            format!(
                "{} with a lease, {} open",
                counted(totals.bound_at_end, "client", "clients"),
                counted(totals.open_at_end, "exchange", "exchanges")
            ),
        ),
    ]);
    let mut body = frame::list(&items);
    if result.errors.is_empty() {
        body.push_str("<p>There were no errors.</p>\n");
    } else {
        let rows: Vec<Row> = result
            .errors
            .iter()
            .take(ROWS_MAX)
            .map(|error| {
                Row::new(vec![
                    escape::html(&error.kind),
                    count(error.count),
                    escape::html(&error.remark),
                ])
            })
            .collect();
        let columns = [Column::Words("Error"), Column::Figures("count"), Column::Words("remark")];
        body.push_str(&frame::table("Errors by kind", &columns, &rows));
        body.push_str(&left_out(result.errors.len(), ROWS_MAX));
    }
    frame::section("losses", "Messages, losses and errors", &body)
}

fn relays(relays: &[RelayRow]) -> String {
    if relays.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Words("giaddr"),
        Column::Figures("clients"),
        Column::Figures("sent"),
        Column::Figures("received"),
        Column::Figures("ACK"),
        Column::Figures("NAK"),
        Column::Figures("again"),
        Column::Figures("p50"),
        Column::Figures("p99"),
    ];
    let row = |relay: &RelayRow| {
        let latency = |time| if relay.acknowledged == 0 { none() } else { microseconds(time) };
        Row {
            // A relay to which nothing came back is what the reader looks for.
            failed: relay.sent > 0 && relay.received == 0,
            cells_markup: vec![
                relay.giaddr.to_string(),
                count(relay.clients),
                count(relay.sent),
                count(relay.received),
                count(relay.acknowledged),
                count(relay.refused),
                count(relay.retransmitted),
                latency(relay.p50_microseconds),
                latency(relay.p99_microseconds),
            ],
        }
    };
    let mut body = String::from(
        "<p class=\"note\">Messages sent and received, those sent again because no reply came, and the latency of \
         exchanges that ended with an ACK.</p>\n",
    );
    let all = |of: &[RelayRow]| of.iter().map(row).collect::<Vec<Row>>();
    if relays.len() <= RELAYS_SHOWN_MAX {
        body.push_str(&frame::table("Relays", &columns, &all(relays)));
    } else {
        let mut worst: Vec<RelayRow> = relays.to_vec();
        // Those without any ACK first, then the slowest.
        worst.sort_by_key(|relay| {
            let answered = relay.acknowledged > 0 || relay.sent == 0;
            (answered, std::cmp::Reverse(relay.p99_microseconds))
        });
        worst.truncate(RELAYS_SHOWN_MAX);
        let caption =
            format!("The {RELAYS_SHOWN_MAX} worst of {} relays", count(relays.len() as u64));
        body.push_str(&frame::table(&caption, &columns, &all(&worst)));
        let first = relays.get(..RELAYS_MAX).unwrap_or(relays);
        let table =
            frame::table("All relays", &columns, &all(first)) + &left_out(relays.len(), RELAYS_MAX);
        body.push_str(&frame::folded(
            &format!("All {} relays", count(relays.len() as u64)),
            &table,
        ));
    }
    frame::section("relays", "Relays", &body)
}

fn limits(result: &RunResult) -> String {
    let limits = &result.limits;
    let mut items = vec![
        ("Limit", limits.verdict.to_string()),
        (
            "Busiest thread",
            if limits.busy.is_finite() {
                format!("{} % of a processor", measured(limits.busy * 100.0))
            } else {
                number::UNKNOWN.to_owned()
            },
        ),
        ("Processor time of the generator", microseconds(limits.processor_microseconds)),
        (
            "Lateness of the generator",
            format!(
                "p99 {}, at most {}; {} more than a millisecond late",
                microseconds(limits.lateness_p99_microseconds),
                microseconds(limits.lateness_max_microseconds),
                counted(limits.late, "message", "messages")
            ),
        ),
        ("Packets dropped by the kernel", count(limits.kernel_drops)),
        ("Messages that the kernel refused", count(limits.send_errors)),
    ];
    if let Some(server) = result.server {
        items.push((
            "Server",
            format!(
                "{} of processor time{}; {} of memory before, {} after{}",
                microseconds(server.processor_microseconds),
                result.server_microseconds_per_acknowledgement().map_or_else(String::new, |cost| {
                    format!(", {} per ACK", number::microseconds_measured(cost))
                }),
                number::bytes(number::real(server.memory_bytes_before)),
                number::bytes(number::real(server.memory_bytes_after)),
                memory_bytes_per_lease(result).map_or_else(String::new, |bytes| format!(
                    ", {} per lease",
                    number::bytes(bytes)
                ))
            ),
        ));
    }
    let reason = if limits.reason.is_empty() {
        String::new()
    } else {
        format!("<p>{}</p>\n", escape::html(&limits.reason))
    };
    frame::section("limits", "What the limit was", &(reason + &frame::list(&items)))
}

fn told(result: &RunResult) -> String {
    let (settings, machine) = (&result.settings, &result.machine);
    let processor = if machine.processor.is_empty() { "processor" } else { &machine.processor };
    let mut items = vec![
        ("Scenario", settings.scenario.clone()),
        ("Servers", servers(result)),
        ("Seed", settings.seed.to_string()),
        ("Arrivals", {
            let intended = intended(result);
            if intended.is_empty() { "by the scenario".to_owned() } else { intended }
        }),
        (
            "Durability of the server",
            settings.durability.clone().unwrap_or_else(|| "not stated".to_owned()),
        ),
        (
            "Machine",
            format!(
                "{} × {processor}, {} of memory",
                count(machine.processors),
                number::bytes(number::real(machine.memory_bytes))
            ),
        ),
        ("Kernel", machine.kernel.clone()),
        ("Program", format!("vestibule-load {}", machine.program)),
    ];
    items.retain(|(_, text)| !text.is_empty());
    let mut body = frame::list(&items);
    if !settings.scenario_toml.is_empty() {
        let toml = format!("<pre>{}</pre>\n", escape::html_block(&settings.scenario_toml));
        body.push_str(&frame::folded("The scenario as it was read", &toml));
    }
    frame::section("settings", "Machine and settings", &body)
}

pub(crate) fn percentile(histogram: &crate::histogram::Histogram, percent: f64) -> String {
    if histogram.count() == 0 { none() } else { microseconds(histogram.percentile(percent)) }
}

pub(crate) fn none() -> String {
    "–".to_owned()
}

fn left_out(rows: usize, rows_max: usize) -> String {
    let more = rows.saturating_sub(rows_max);
    if more == 0 {
        return String::new();
    }
    format!("<p class=\"note\">{} more are in the JSON file.</p>\n", count(more as u64))
}
