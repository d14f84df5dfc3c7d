//! [`Metrics`] and the numbers of the core as OpenMetrics text.
//!
//! A scrape first copies all numbers into a list of families, then writes the list. Every label name stands
//! here or in [`pair`] once, and in `docs/metrics.md`.

use super::families::FAMILIES;
use super::{Event, Histogram, Metrics, OTHER, SHED_REASONS};
use super::{exchange, pair};
use crate::portal::PortalPage;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vestibule_core::failover::FailoverStatus;
use vestibule_core::{CoreStatus, EventKind, MessageType, NetworkStatus, PoolStatus, Reason};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything as text.
pub(super) fn encode(
    metrics: &Metrics,
    core: Option<&CoreStatus>,
    pair: Option<&FailoverStatus>,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(metrics, core, pair)));
    let mut encoded = String::new();
    // Writing into a String fails only if memory ends, and then the process does.
    let _ = text::encode(&mut encoded, &registry);
    encoded
}

/// A copy of all numbers at one time.
#[derive(Debug)]
struct Snapshot {
    /// As many as [`FAMILIES`], in the same order.
    families: Vec<Vec<Sample>>,
}

#[derive(Debug)]
pub(super) struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Number(u64),
    Signed(i64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

impl Snapshot {
    fn take(metrics: &Metrics, core: Option<&CoreStatus>, pair: Option<&FailoverStatus>) -> Self {
        let samples = |name: &str| match pair::samples(name, metrics, pair) {
            Some(samples) => samples,
            None => exchange::samples(name, metrics, core)
                .unwrap_or_else(|| samples(name, metrics, core)),
        };
        let families = FAMILIES.iter().map(|(name, ..)| samples(name)).collect();
        Self { families }
    }
}

/// The samples of one family.
fn samples(name: &str, metrics: &Metrics, core: Option<&CoreStatus>) -> Vec<Sample> {
    match name {
        "vestibule_build_info" => {
            vec![number(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1)]
        }
        "vestibule_packets_received" => by_type(
            &metrics.received,
            &[
                MessageType::Discover,
                MessageType::Request,
                MessageType::Decline,
                MessageType::Release,
                MessageType::Inform,
            ],
        ),
        "vestibule_replies_sent" => {
            by_type(&metrics.sent, &[MessageType::Offer, MessageType::Ack, MessageType::Nak])
        }
        "vestibule_naks" => by_reason(&metrics.naks),
        "vestibule_packets_unanswered" => by_reason(&metrics.unanswered),
        "vestibule_unknown_network_packets" => sorted(
            metrics
                .unknown_networks
                .entries()
                .map(|(giaddr, count)| {
                    let giaddr = giaddr.map_or_else(|| OTHER.to_owned(), ToString::to_string);
                    number(vec![("giaddr", giaddr)], count.load(Relaxed))
                })
                .collect(),
        ),
        "vestibule_packets_shed" => sorted(
            metrics
                .shed
                .entries()
                .flat_map(|(giaddr, counts)| {
                    let giaddr = giaddr.map_or_else(|| OTHER.to_owned(), ToString::to_string);
                    SHED_REASONS.iter().zip(counts).map(move |(reason, count)| {
                        let reason = ("reason", reason.name().to_owned());
                        number(vec![("giaddr", giaddr.clone()), reason], count.load(Relaxed))
                    })
                })
                .collect(),
        ),
        "vestibule_send_errors" => metrics
            .send_errors
            .iter()
            .enumerate()
            .filter(|(_, count)| count.load(Relaxed) > 0)
            .map(|(errno, count)| {
                let labels =
                    vec![("error", errno_name(errno).to_owned()), ("errno", errno.to_string())];
                number(labels, count.load(Relaxed))
            })
            .collect(),
        "vestibule_socket_receive_buffer_bytes" => metrics
            .sockets()
            .into_iter()
            .map(|socket| number(vec![("socket", socket.name.into())], socket.receive_buffer_bytes))
            .collect(),
        "vestibule_socket_kernel_drops" => metrics
            .sockets()
            .into_iter()
            .map(|socket| number(vec![("socket", socket.name.into())], socket.kernel_drops))
            .collect(),
        "vestibule_group_records" => vec![histogram(&metrics.group_records, 1.0)],
        "vestibule_sync_seconds" => vec![histogram(&metrics.sync_seconds, NANOSECONDS_PER_SECOND)],
        "vestibule_gate_transaction_seconds" => {
            vec![histogram(&metrics.gate_seconds, NANOSECONDS_PER_SECOND)]
        }
        "vestibule_gate_changes" => one(&metrics.gate_changes),
        "vestibule_gate_failures" => event(&metrics.gate_failed),
        "vestibule_gate_reconciles" => one(&metrics.gate_reconciles),
        "vestibule_replies_held" => one(&metrics.replies_held),
        "vestibule_pool_exhausted" => sorted(
            metrics
                .pools_exhausted
                .entries()
                .map(|(network, count)| {
                    let network = network.map_or(OTHER, |network| network).to_owned();
                    number(vec![("network", network)], count.load(Relaxed))
                })
                .collect(),
        ),
        "vestibule_index_out" => one(&metrics.index_out),
        "vestibule_index_rebuilds" => one(&metrics.index_rebuilds),
        "vestibule_history_failed" => one(&metrics.history.failed),
        "vestibule_history_intervals" => one(&metrics.history.intervals),
        "vestibule_history_bytes" => one(&metrics.history.bytes),
        "vestibule_history_frames_behind" => one(&metrics.history.frames_behind),
        "vestibule_history_gaps" => one(&metrics.history.gaps),
        "vestibule_history_damaged" => one(&metrics.history.damaged),
        "vestibule_leases_reused" => one(&metrics.leases_reused),
        "vestibule_options_left_out" => one(&metrics.options_left_out),
        "vestibule_journal_bytes" => one(&metrics.journal_bytes),
        "vestibule_journal_segments" => one(&metrics.journal_segments),
        "vestibule_journal_spares" => one(&metrics.journal_spares),
        "vestibule_journal_spare_failed" => one(&metrics.journal_spare_failed),
        "vestibule_api_responses" => metrics
            .api_responses
            .iter()
            .enumerate()
            .filter(|(_, count)| count.load(Relaxed) > 0)
            .map(|(status, count)| {
                number(vec![("status", status.to_string())], count.load(Relaxed))
            })
            .collect(),
        "vestibule_api_connections" => one(&metrics.api_connections),
        "vestibule_api_connections_refused" => one(&metrics.api_connections_refused),
        "vestibule_api_handshakes_failed" => one(&metrics.api_handshakes_failed),
        "vestibule_gate_followers" => one(&metrics.feed.followers),
        "vestibule_gate_changes_told" => one(&metrics.feed.changes),
        "vestibule_gate_snapshots_told" => one(&metrics.feed.snapshots),
        "vestibule_gate_followers_resumed" => one(&metrics.feed.resumes),
        "vestibule_gate_followers_refused" => one(&metrics.feed.refused),
        "vestibule_captive_answers" => ["false", "true"]
            .iter()
            .zip(&metrics.captive_answers)
            .map(|(captive, count)| {
                number(vec![("captive", (*captive).to_owned())], count.load(Relaxed))
            })
            .collect(),
        "vestibule_captive_connections" => one(&metrics.captive_connections),
        "vestibule_captive_connections_refused" => one(&metrics.captive_connections_refused),
        "vestibule_captive_handshakes_failed" => one(&metrics.captive_handshakes_failed),
        "vestibule_portal_pages" => PortalPage::ALL
            .iter()
            .zip(&metrics.portal_pages)
            .map(|(page, count)| {
                number(vec![("page", page.name().to_owned())], count.load(Relaxed))
            })
            .collect(),
        "vestibule_portal_connections" => one(&metrics.portal_connections),
        "vestibule_portal_connections_refused" => one(&metrics.portal_connections_refused),
        "vestibule_portal_handshakes_failed" => one(&metrics.portal_handshakes_failed),
        "vestibule_events" => EventKind::ALL
            .iter()
            .zip(&metrics.events)
            .map(|(kind, count)| {
                number(vec![("type", kind.name().to_owned())], count.load(Relaxed))
            })
            .collect(),
        "vestibule_event_subscribers" => one(&metrics.event_subscribers),
        "vestibule_event_subscribers_cut" => one(&metrics.event_subscribers_cut),
        "vestibule_webhook_events" => by_webhook(metrics, 0),
        "vestibule_webhook_failures" => by_webhook(metrics, 1),
        "vestibule_webhook_dropped" => by_webhook(metrics, 2),
        "vestibule_core_answers" => vec![number(Vec::new(), u64::from(core.is_some()))],
        "vestibule_leases_known" => of_core(core, |core| core.leases_known),
        "vestibule_registrations" => of_core(core, |core| core.registrations),
        "vestibule_offers" => of_core(core, |core| core.offers),
        "vestibule_network_gated" => by_network(core, |network| u64::from(network.gated)),
        "vestibule_network_pool_addresses" => by_network(core, |network| network.pool_size),
        "vestibule_network_free_addresses" => by_network(core, |network| network.free),
        "vestibule_network_held_leases" => by_network(core, |network| network.held),
        "vestibule_network_declined_addresses" => by_network(core, |network| network.declined),
        "vestibule_network_registered_leases" => by_network(core, |network| network.registered),
        "vestibule_network_unregistered_leases" => by_network(core, |network| network.unregistered),
        "vestibule_network_class_pool_addresses" => by_class(core, |pools| pools.size),
        "vestibule_network_class_free_addresses" => by_class(core, |pools| pools.free),
        "vestibule_network_class_held_leases" => by_class(core, |pools| pools.held),
        "vestibule_network_class_misplaced_leases" => by_class(core, |pools| pools.misplaced),
        // Unreachable: a test encodes every name of FAMILIES. A family without samples is legal.
        _ => Vec::new(),
    }
}

const NANOSECONDS_PER_SECOND: f64 = 1e9;

pub(super) fn signed(labels: Vec<(&'static str, String)>, value: i64) -> Sample {
    Sample { labels, value: Value::Signed(value) }
}

pub(super) fn number(labels: Vec<(&'static str, String)>, value: u64) -> Sample {
    Sample { labels, value: Value::Number(value) }
}

fn one(count: &AtomicU64) -> Vec<Sample> {
    vec![number(Vec::new(), count.load(Relaxed))]
}

fn event(event: &Event) -> Vec<Sample> {
    one(&event.count)
}

fn by_type(counts: &[AtomicU64], types: &[MessageType]) -> Vec<Sample> {
    types
        .iter()
        .filter_map(|message_type| {
            let count = counts.get(usize::from(*message_type as u8))?.load(Relaxed);
            Some(number(vec![("type", message_type.name().to_owned())], count))
        })
        .collect()
}

fn by_reason(counts: &[AtomicU64]) -> Vec<Sample> {
    Reason::ALL
        .iter()
        .zip(counts)
        .map(|(reason, count)| {
            let labels = vec![
                ("reason", reason.name().to_owned()),
                ("fault", super::fault_name(reason.fault()).to_owned()),
            ];
            number(labels, count.load(Relaxed))
        })
        .collect()
}

/// Nothing is shown of a core that does not answer: a zero would be a lie.
fn of_core(core: Option<&CoreStatus>, value: impl Fn(&CoreStatus) -> u64) -> Vec<Sample> {
    core.map(|core| number(Vec::new(), value(core))).into_iter().collect()
}

fn by_network(core: Option<&CoreStatus>, value: impl Fn(&NetworkStatus) -> u64) -> Vec<Sample> {
    core.into_iter()
        .flat_map(|core| &core.networks)
        .map(|network| number(vec![("network", network.name.to_string())], value(network)))
        .collect()
}

/// Networks without pools for one class have no samples.
fn by_class(core: Option<&CoreStatus>, value: impl Fn(&PoolStatus) -> u64) -> Vec<Sample> {
    let networks = core.into_iter().flat_map(|core| &core.networks);
    networks
        .flat_map(|network| network.class_pools.iter().map(move |pools| (network, pools)))
        .map(|(network, pools)| {
            let labels = vec![
                ("network", network.name.to_string()),
                ("class", pools.class.name().to_owned()),
            ];
            number(labels, value(pools))
        })
        .collect()
}

fn by_webhook(metrics: &Metrics, place: usize) -> Vec<Sample> {
    let samples = metrics.webhooks.entries().map(|(name, counts)| {
        let name = name.map_or(OTHER, |name| name).to_owned();
        let count = counts.get(place).map_or(0, |count| count.load(Relaxed));
        number(vec![("webhook", name)], count)
    });
    sorted(samples.collect())
}

/// Tables have no order of their own; a text that is compared by eye should.
fn sorted(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by(|left, right| left.labels.cmp(&right.labels));
    samples
}

/// `unit`: how many of what was observed make one of what is shown.
#[expect(clippy::cast_precision_loss, reason = "a scrape's numbers need not be exact to 2^-53")]
fn histogram<const N: usize>(histogram: &Histogram<N>, unit: f64) -> Sample {
    // Read before the buckets, and never below what they add up to: counting goes on meanwhile,
    // and a reader must not find a bucket that is larger than the whole.
    let observed = histogram.count.load(Relaxed);
    let mut buckets: Vec<(f64, u64)> = histogram
        .upper_bounds
        .iter()
        .zip(&histogram.buckets)
        .map(|(bound, count)| (*bound as f64 / unit, count.load(Relaxed)))
        .collect();
    let within: u64 = buckets.iter().map(|(_, count)| count).sum();
    let count = observed.max(within);
    buckets.push((f64::INFINITY, count - within));
    let sum = histogram.sum.load(Relaxed) as f64 / unit;
    Sample { labels: Vec::new(), value: Value::Histogram { sum, count, buckets } }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for ((name, kind, help), samples) in FAMILIES.iter().zip(&self.families) {
            let mut family = encoder.encode_descriptor(name, help, None, *kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    write(&mut family, *kind, &sample.value)?;
                } else {
                    write(&mut family.encode_family(&sample.labels)?, *kind, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> fmt::Result {
    match value {
        Value::Number(number) if matches!(kind, MetricType::Counter) => {
            encoder.encode_counter(number, None::<&Exemplar<NoLabelSet, u64>>)
        }
        Value::Number(number) => encoder.encode_gauge(number),
        Value::Signed(number) => encoder.encode_gauge(number),
        Value::Histogram { sum, count, buckets } => {
            encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}

/// The symbol of an error number that sending a datagram can end with; `unknown` for others, whose
/// number stands in the label beside it.
fn errno_name(errno: usize) -> &'static str {
    match i32::try_from(errno).unwrap_or(0) {
        libc::EPERM => "EPERM",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::EPIPE => "EPIPE",
        libc::EDESTADDRREQ => "EDESTADDRREQ",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::EPROTO => "EPROTO",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENOBUFS => "ENOBUFS",
        libc::EISCONN => "EISCONN",
        libc::ENOTCONN => "ENOTCONN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        _ => "unknown",
    }
}
