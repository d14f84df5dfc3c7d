//! An agent's counters for Prometheus, as OpenMetrics text.

use super::counters::{Counters, Enforced, FeedCounts, LAG_BUCKETS_MILLISECONDS};
use super::error::FollowError;
use std::fmt::Write as _;
use std::time::Instant;

/// The media type of [`text`].
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A family: name, kind, labels, what it says, and its values by labels.
struct Family {
    name: &'static str,
    kind: &'static str,
    meaning: &'static str,
    samples: Vec<(String, f64)>,
}

/// Every family but the histogram. Counts beyond 2^53 would be rounded.
fn families(feeds: &[FeedCounts], enforced: &Enforced, now: Instant) -> Vec<Family> {
    let family = |name, kind, meaning, samples| Family { name, kind, meaning, samples };
    // A checked URL has neither quotation marks nor backslashes, but the path of a socket may.
    let url = |feed: &FeedCounts| feed.url.replace('\\', "\\\\").replace('"', "\\\"");
    let of_feeds = |value: &dyn Fn(&FeedCounts) -> f64| -> Vec<(String, f64)> {
        feeds.iter().map(|feed| (format!("{{server=\"{}\"}}", url(feed)), value(feed))).collect()
    };
    let errors = feeds.iter().flat_map(|feed| {
        let url = url(feed);
        FollowError::REASONS.iter().zip(feed.errors).map(move |(reason, count)| {
            (format!("{{server=\"{url}\",reason=\"{reason}\"}}"), count as f64)
        })
    });
    let one = |value: u64| vec![(String::new(), value as f64)];
    let silence = |feed: &FeedCounts| {
        feed.heard.map_or(f64::INFINITY, |heard| now.saturating_duration_since(heard).as_secs_f64())
    };
    let sizes = [
        ("{set=\"registered\"}".to_owned(), enforced.sizes.registered as f64),
        ("{set=\"unregistered\"}".to_owned(), enforced.sizes.unregistered as f64),
    ];
    vec![
        family(
            "vestibule_agent_feed_connected",
            "gauge",
            "1 if the server's feed is followed now",
            of_feeds(&|feed| f64::from(u8::from(feed.is_connected))),
        ),
        family(
            "vestibule_agent_feed_silence_seconds",
            "gauge",
            "Time since the server said something; infinite if it never has",
            of_feeds(&silence),
        ),
        family(
            "vestibule_agent_feed_behind_changes",
            "gauge",
            "Changes that the server has told of and that have not come yet",
            of_feeds(&|feed| behind(feed) as f64),
        ),
        family(
            "vestibule_agent_feed_snapshots",
            "counter",
            "Snapshots taken in",
            of_feeds(&|feed| feed.snapshots as f64),
        ),
        family(
            "vestibule_agent_feed_changes",
            "counter",
            "Changes taken in",
            of_feeds(&|feed| feed.changes as f64),
        ),
        family(
            "vestibule_agent_feed_errors",
            "counter",
            "Connections that ended or could not be made, by reason",
            errors.collect(),
        ),
        family(
            "vestibule_agent_set_addresses",
            "gauge",
            "Addresses in each kernel set",
            sizes.to_vec(),
        ),
        family(
            "vestibule_agent_enforcing",
            "gauge",
            "1 once this agent has made the table",
            one(enforced.is_enforcing.into()),
        ),
        family(
            "vestibule_agent_closed",
            "gauge",
            "1 if nobody is let through because no server speaks",
            one(enforced.is_closed.into()),
        ),
        family(
            "vestibule_agent_transactions",
            "counter",
            "Transactions on the kernel sets",
            one(enforced.transactions),
        ),
        family(
            "vestibule_agent_transactions_failed",
            "counter",
            "Those that the kernel refused",
            one(enforced.transactions_failed),
        ),
        family(
            "vestibule_agent_changes",
            "counter",
            "Addresses changed in the kernel sets",
            one(enforced.changes),
        ),
        family(
            "vestibule_agent_reconciles",
            "counter",
            "Times that the whole of the kernel sets was replaced",
            one(enforced.reconciles),
        ),
        family(
            "vestibule_agent_interferences",
            "counter",
            "Times that somebody else changed the table",
            one(enforced.interferences),
        ),
        family(
            "vestibule_agent_unheard",
            "counter",
            "Words about addresses beyond the limit of an agent",
            one(enforced.unheard),
        ),
    ]
}

/// Changes that the server has told of and that have not come yet.
fn behind(feed: &FeedCounts) -> u64 {
    match (feed.cursor, feed.newest) {
        (Some(cursor), Some(newest)) if cursor.boot == newest.boot => {
            newest.sequence.saturating_sub(cursor.sequence)
        }
        _ => 0,
    }
}

/// Everything that there is to count.
pub(super) fn text(counters: &Counters, now: Instant) -> String {
    let feeds = counters.feeds();
    let enforced = counters.enforced().clone();
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for Family { name, kind, meaning, samples } in families(&feeds, &enforced, now) {
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (labels, value) in samples {
            let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
            let _ = writeln!(text, "{name}{suffix}{labels} {value}");
        }
    }
    lag(&mut text, &enforced);
    text.push_str("# EOF\n");
    text
}

/// The name of the histogram.
const LAG: &str = "vestibule_agent_lag_seconds";
/// What it says.
const LAG_MEANING: &str = "Time from a server's decision to the kernel sets";

fn lag(text: &mut String, enforced: &Enforced) {
    let _ = writeln!(text, "# HELP {LAG} {LAG_MEANING}\n# TYPE {LAG} histogram");
    let mut sum = 0;
    let bounds = LAG_BUCKETS_MILLISECONDS.iter().map(|bound| (*bound as f64 / 1000.0).to_string());
    let bounds = bounds.chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(enforced.lag_buckets) {
        sum += count;
        let _ = writeln!(text, "{LAG}_bucket{{le=\"{bound}\"}} {sum}");
    }
    let _ = writeln!(text, "{LAG}_sum {}", enforced.lag_sum.as_secs_f64());
    let _ = writeln!(text, "{LAG}_count {}", enforced.lag_count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn labels(text: &str, name: &str) -> String {
        let start = text.find(&format!("\n{name}")).unwrap() + 1;
        let line = text[start..].lines().next().unwrap();
        let Some((_, labels)) = line.split_once('{') else { return String::new() };
        let names = labels.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
        names.map(|name| name.trim_start_matches(',')).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_metric_is_shown_and_stands_in_the_documentation() {
        let counters = Counters::new(["https://dhcp-a.example"].into_iter());
        let now = Instant::now();
        counters.applied(3, &[now, now]);
        let text = text(&counters, now);
        assert!(text.contains("vestibule_agent_lag_seconds_count 2\n"), "{text}");
        assert!(text.contains("vestibule_agent_changes_total 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        let mut table =
            "| name | kind | labels | what it says |\n| --- | --- | --- | --- |\n".to_owned();
        for family in families(&counters.feeds(), &counters.enforced(), now) {
            let Family { name, kind, meaning, .. } = family;
            let labels = labels(&text, name);
            table += &format!("| `{name}` | {kind} | {labels} | {meaning} |\n");
        }
        table += &format!("| `{LAG}` | histogram |  | {LAG_MEANING} |\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agent.md");
        let documented = std::fs::read_to_string(path).unwrap();
        assert!(documented.contains(&table), "docs/agent.md has to have this table:\n{table}");
        for reason in FollowError::REASONS {
            assert!(
                documented.contains(&format!("| `{reason}` |")),
                "{reason} is not in docs/agent.md"
            );
        }
    }
}
