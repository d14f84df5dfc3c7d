//! What the server counts about itself, for Prometheus and for the status page.
//!
//! One [`Metrics`] is shared by all threads. It promises that counting costs a relaxed atomic
//! addition and takes no lock, so the packet path may count everything; that its memory is bounded
//! whatever arrives (labels that packets choose have a fixed number of places, the rest is counted
//! under [`OTHER`]); and that [`Metrics::encode`] shows every [`Reason`], also those that have not
//! happened yet. It never drops a count, and never decides anything.

mod counters;
mod exchange;
mod exposition;
mod families;
mod pair;
mod table;

use crate::exchange::ExchangeCounts;
use crate::failover::LinkCounts;
use crate::feed::FeedCounts;
use crate::history::HistoryCounts;
use crate::portal::PortalPage;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use table::LabelTable;
use vestibule_core::failover::FailoverStatus;
use vestibule_core::{CoreStatus, EventKind, Fault, MessageType, Reason};

pub use counters::Occurrences;
use counters::{Event, Histogram, SocketCounters};
pub use exposition::CONTENT_TYPE;
pub use families::METRIC_NAMES;

/// Distinct relays that unknown networks, and packets that were shed, are counted by; further ones are counted under [`OTHER`].
pub const RELAYS_COUNTED_MAX: usize = 256;

/// Distinct networks that exhausted pools are counted by; further ones are counted under [`OTHER`].
pub const NETWORKS_COUNTED_MAX: usize = 4096;

/// Distinct sockets that are told apart; further ones are counted under [`OTHER`].
pub const SOCKETS_COUNTED_MAX: usize = 64;

/// Why packets are shed when more come than can be served. Each is also among the unanswered.
pub const SHED_REASONS: [Reason; 4] =
    [Reason::Overload, Reason::OverloadUnread, Reason::DuplicateWaiting, Reason::DiscoverTooOld];

/// The label of what found no place of its own.
pub const OTHER: &str = "other";

/// Error numbers that are told apart: Linux has none above 133.
const ERRNOS: usize = 256;

/// Message types are numbered 1 to 8; index 0 stays empty.
const MESSAGE_TYPES: usize = 9;

/// HTTP status codes that are told apart: 100 to 599.
const STATUS_CODES: usize = 600;

/// Upper bounds of the buckets of records per committed group.
const GROUP_RECORDS_BUCKETS: [u64; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Upper bounds of the buckets of durations, in nanoseconds: 50 µs to 10 s.
const DURATION_BUCKETS_NANOSECONDS: [u64; 16] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// The counters, gauges and histograms of one server process.
#[derive(Debug)]
pub struct Metrics {
    /// What the times of [`Event`]s are relative to.
    epoch: Instant,
    received: [AtomicU64; MESSAGE_TYPES],
    sent: [AtomicU64; MESSAGE_TYPES],
    naks: Vec<AtomicU64>,
    unanswered: Vec<AtomicU64>,
    unknown_networks: LabelTable<Ipv4Addr, AtomicU64>,
    /// By relay, then as in [`SHED_REASONS`].
    shed: LabelTable<Ipv4Addr, [AtomicU64; SHED_REASONS.len()]>,
    send_errors: Vec<AtomicU64>,
    send_failed: Event,
    sockets: LabelTable<String, SocketCounters>,
    kernel_dropped: Event,
    group_records: Histogram<13>,
    gate_seconds: Histogram<16>,
    sync_seconds: Histogram<16>,
    gate_changes: AtomicU64,
    gate_failed: Event,
    gate_reconciles: AtomicU64,
    replies_held: AtomicU64,
    pools_exhausted: LabelTable<String, AtomicU64>,
    index_rebuilds: AtomicU64,
    leases_reused: AtomicU64,
    options_left_out: AtomicU64,
    journal_bytes: AtomicU64,
    journal_segments: AtomicU64,
    journal_spares: AtomicU64,
    journal_spare_failed: AtomicU64,
    index_out: AtomicU64,
    api_responses: Vec<AtomicU64>,
    api_connections: AtomicU64,
    api_connections_refused: AtomicU64,
    api_handshakes_failed: AtomicU64,
    feed: FeedCounts,
    history: HistoryCounts,
    link: Arc<LinkCounts>,
    exchange: Arc<ExchangeCounts>,
    captive_answers: [AtomicU64; 2],
    captive_connections: AtomicU64,
    captive_connections_refused: AtomicU64,
    captive_handshakes_failed: AtomicU64,
    portal_pages: [AtomicU64; PortalPage::ALL.len()],
    portal_connections: AtomicU64,
    portal_connections_refused: AtomicU64,
    portal_handshakes_failed: AtomicU64,
    events: Vec<AtomicU64>,
    event_subscribers: AtomicU64,
    event_subscribers_cut: AtomicU64,
    /// By webhook: events delivered, attempts that failed, ids passed over.
    webhooks: LabelTable<String, [AtomicU64; 3]>,
}

/// What is known of one DHCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketStatus {
    /// Its name: the address or interface that it listens on.
    pub name: Box<str>,
    /// Bytes that the kernel queues for it at most.
    pub receive_buffer_bytes: u64,
    /// Packets that the kernel dropped because that queue was full, since the socket was opened.
    pub kernel_drops: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: Instant::now(),
            received: std::array::from_fn(|_| AtomicU64::new(0)),
            sent: std::array::from_fn(|_| AtomicU64::new(0)),
            naks: zeros(Reason::ALL.len()),
            unanswered: zeros(Reason::ALL.len()),
            unknown_networks: LabelTable::new(RELAYS_COUNTED_MAX),
            shed: LabelTable::new(RELAYS_COUNTED_MAX),
            send_errors: zeros(ERRNOS),
            send_failed: Event::default(),
            sockets: LabelTable::new(SOCKETS_COUNTED_MAX),
            kernel_dropped: Event::default(),
            group_records: Histogram::new(&GROUP_RECORDS_BUCKETS),
            gate_seconds: Histogram::new(&DURATION_BUCKETS_NANOSECONDS),
            sync_seconds: Histogram::new(&DURATION_BUCKETS_NANOSECONDS),
            gate_changes: AtomicU64::new(0),
            gate_failed: Event::default(),
            gate_reconciles: AtomicU64::new(0),
            replies_held: AtomicU64::new(0),
            pools_exhausted: LabelTable::new(NETWORKS_COUNTED_MAX),
            index_rebuilds: AtomicU64::new(0),
            leases_reused: AtomicU64::new(0),
            options_left_out: AtomicU64::new(0),
            journal_bytes: AtomicU64::new(0),
            journal_segments: AtomicU64::new(0),
            journal_spares: AtomicU64::new(0),
            journal_spare_failed: AtomicU64::new(0),
            index_out: AtomicU64::new(0),
            api_responses: zeros(STATUS_CODES),
            api_connections: AtomicU64::new(0),
            api_connections_refused: AtomicU64::new(0),
            api_handshakes_failed: AtomicU64::new(0),
            feed: FeedCounts::default(),
            history: HistoryCounts::default(),
            link: Arc::default(),
            exchange: Arc::default(),
            captive_answers: [AtomicU64::new(0), AtomicU64::new(0)],
            captive_connections: AtomicU64::new(0),
            captive_connections_refused: AtomicU64::new(0),
            captive_handshakes_failed: AtomicU64::new(0),
            portal_pages: [const { AtomicU64::new(0) }; PortalPage::ALL.len()],
            portal_connections: AtomicU64::new(0),
            portal_connections_refused: AtomicU64::new(0),
            portal_handshakes_failed: AtomicU64::new(0),
            events: zeros(EventKind::ALL.len()),
            event_subscribers: AtomicU64::new(0),
            event_subscribers_cut: AtomicU64::new(0),
            webhooks: LabelTable::new(vestibule_config::limits::WEBHOOKS_MAX),
        }
    }

    /// A message of this type was decoded.
    pub fn received(&self, message_type: MessageType) {
        add_at(&self.received, usize::from(message_type as u8), 1);
    }

    /// A reply of this type was handed to the kernel, and the kernel took it.
    pub fn sent(&self, message_type: MessageType) {
        add_at(&self.sent, usize::from(message_type as u8), 1);
    }

    /// A NAK was decided, for this reason.
    pub fn nak(&self, reason: Reason) {
        add_at(&self.naks, reason_index(reason), 1);
    }

    /// A packet gets no reply, for this reason.
    pub fn unanswered(&self, reason: Reason) {
        add_at(&self.unanswered, reason_index(reason), 1);
    }

    /// A packet came through a relay of a network that is not configured. 0.0.0.0 stands for packets
    /// that no relay passed on.
    pub fn unknown_network(&self, giaddr: Ipv4Addr) {
        self.unknown_networks.place(&giaddr).fetch_add(1, Relaxed);
    }

    /// A packet of this relay was shed because more came than could be served, for one of
    /// [`SHED_REASONS`]; others are not counted here. 0.0.0.0 stands for packets that no relay passed on.
    pub fn shed(&self, giaddr: Ipv4Addr, reason: Reason) {
        if let Some(place) = SHED_REASONS.iter().position(|shed| *shed == reason) {
            add_at(self.shed.place(&giaddr), place, 1);
        }
    }

    /// So many DISCOVERs of this relay (`None`: of relays that are not told apart) were thrown away unread.
    pub fn unread(&self, giaddr: Option<Ipv4Addr>, packets: u64) {
        add_at(&self.unanswered, reason_index(Reason::OverloadUnread), packets);
        let place = SHED_REASONS.iter().position(|shed| *shed == Reason::OverloadUnread);
        let counts = giaddr.map_or_else(|| self.shed.shared(), |giaddr| self.shed.place(&giaddr));
        add_at(counts, place.unwrap_or(SHED_REASONS.len()), packets);
    }

    /// The kernel refused to send a reply; `errno` is its error number.
    pub fn send_error(&self, errno: i32) {
        // 0 is no error number: it collects what no kernel of today returns.
        let index = usize::try_from(errno).ok().filter(|index| *index < ERRNOS).unwrap_or(0);
        add_at(&self.send_errors, index, 1);
        self.send_failed.happened(1, self.epoch);
    }

    /// A DHCP socket is open, and the kernel queues this many bytes for it at most.
    pub fn socket(&self, name: &str, receive_buffer_bytes: u64) {
        self.sockets.place(name).receive_buffer_bytes.store(receive_buffer_bytes, Relaxed);
    }

    /// The kernel has dropped `total` packets in front of this socket since it was opened.
    ///
    /// Returns how many are new.
    pub fn kernel_drops(&self, name: &str, total: u64) -> u64 {
        let before = self.sockets.place(name).kernel_drops.swap(total, Relaxed);
        let new = total.saturating_sub(before);
        if new > 0 {
            self.kernel_dropped.happened(new, self.epoch);
        }
        new
    }

    /// A group is durable and in the kernel: its size, and the time of the gate's transaction and of
    /// the sync. A group without records or without gate changes does not count into the times of
    /// what it did not do.
    pub fn committed(&self, records: usize, gate_changes: usize, gate: Duration, sync: Duration) {
        if records > 0 {
            self.group_records.observe(records as u64);
            self.sync_seconds.observe_duration(sync);
        }
        if gate_changes > 0 {
            self.gate_changes.fetch_add(gate_changes as u64, Relaxed);
            self.gate_seconds.observe_duration(gate);
        }
    }

    /// A transaction on the kernel sets failed.
    pub fn gate_failure(&self) {
        self.gate_failed.happened(1, self.epoch);
    }

    /// The contents of the kernel sets were replaced as a whole.
    pub fn gate_reconcile(&self) {
        self.gate_reconciles.fetch_add(1, Relaxed);
    }

    /// So many replies wait for their commit now.
    pub fn replies_held(&self, replies: usize) {
        self.replies_held.store(replies as u64, Relaxed);
    }

    /// A client of this network found no free address.
    pub fn pool_exhausted(&self, network: &str) {
        self.pools_exhausted.place(network).fetch_add(1, Relaxed);
    }

    /// Whether there is no index to ask now.
    pub fn index_is_out(&self, is_out: bool) {
        self.index_out.store(is_out.into(), Relaxed);
    }

    /// Whether searches look through the book because there is no index to ask.
    #[must_use]
    pub fn is_index_out(&self) -> bool {
        self.index_out.load(Relaxed) != 0
    }

    /// The index was found missing or bad, and built again from the journal and its snapshots.
    pub fn index_rebuild(&self) {
        self.index_rebuilds.fetch_add(1, Relaxed);
    }

    /// An early renewal was answered from the lease as it was, without a write.
    pub fn lease_reused(&self) {
        self.leases_reused.fetch_add(1, Relaxed);
    }

    /// A reply left without this many of its options, because its client takes no larger message.
    pub fn options_left_out(&self, options: usize) {
        self.options_left_out.fetch_add(options as u64, Relaxed);
    }

    /// How the journal is: bytes since the last snapshot was begun, segments on disk, spare segments that
    /// are ready, and whether no spare can be prepared (then commits fail when the segment is full).
    pub fn journal(&self, bytes: u64, segments: u64, spares: usize, spare_failed: bool) {
        self.journal_bytes.store(bytes, Relaxed);
        self.journal_segments.store(segments, Relaxed);
        self.journal_spares.store(spares as u64, Relaxed);
        self.journal_spare_failed.store(spare_failed.into(), Relaxed);
    }

    /// Whether no spare segment can be prepared for the journal.
    #[must_use]
    pub fn journal_spare_failed(&self) -> bool {
        self.journal_spare_failed.load(Relaxed) != 0
    }

    /// The API answered with this HTTP status.
    pub fn api_response(&self, status: u16) {
        add_at(&self.api_responses, usize::from(status).min(STATUS_CODES - 1), 1);
    }

    /// So many connections to the API are open now.
    pub fn api_connections(&self, connections: usize) {
        self.api_connections.store(connections as u64, Relaxed);
    }

    /// A connection to the API was closed at once, because too many are open.
    pub fn api_connection_refused(&self) {
        self.api_connections_refused.fetch_add(1, Relaxed);
    }

    /// A connection to `api.tls-listen` did not come to a TLS session.
    pub fn api_handshake_failed(&self) {
        self.api_handshakes_failed.fetch_add(1, Relaxed);
    }

    /// The history's numbers.
    pub(crate) const fn history(&self) -> &HistoryCounts {
        &self.history
    }

    /// The gate feed's numbers.
    pub(crate) const fn feed(&self) -> &FeedCounts {
        &self.feed
    }

    /// A device was told whether it is captive.
    pub fn captive_answer(&self, captive: bool) {
        add_at(&self.captive_answers, usize::from(captive), 1);
    }

    /// So many connections to `captive.listen` are open now.
    pub fn captive_connections(&self, connections: usize) {
        self.captive_connections.store(connections as u64, Relaxed);
    }

    /// A connection to `captive.listen` was closed because too many were open.
    pub fn captive_connection_refused(&self) {
        self.captive_connections_refused.fetch_add(1, Relaxed);
    }

    /// The built-in portal showed a page.
    pub fn portal_page(&self, page: PortalPage) {
        let place = PortalPage::ALL.iter().position(|known| *known == page);
        add_at(&self.portal_pages, place.unwrap_or(usize::MAX), 1);
    }

    /// So many connections to the built-in portal are open now.
    pub fn portal_connections(&self, connections: usize) {
        self.portal_connections.store(connections as u64, Relaxed);
    }

    /// A connection to the built-in portal was closed because too many were open.
    pub fn portal_connection_refused(&self) {
        self.portal_connections_refused.fetch_add(1, Relaxed);
    }

    /// A connection to the built-in portal came to no TLS session.
    pub fn portal_handshake_failed(&self) {
        self.portal_handshakes_failed.fetch_add(1, Relaxed);
    }

    /// A connection to `captive.listen` came to no TLS session.
    pub fn captive_handshake_failed(&self) {
        self.captive_handshakes_failed.fetch_add(1, Relaxed);
    }

    /// An event of this kind was told.
    pub fn event(&self, kind: EventKind) {
        add_at(&self.events, kind as usize, 1);
    }

    /// A reader of events came.
    pub fn event_subscriber_came(&self) {
        self.event_subscribers.fetch_add(1, Relaxed);
    }

    /// A reader of events went.
    pub fn event_subscriber_went(&self) {
        self.event_subscribers.fetch_sub(1, Relaxed);
    }

    /// A reader of events was cut off because it was too slow.
    pub fn event_subscriber_cut(&self) {
        self.event_subscribers_cut.fetch_add(1, Relaxed);
    }

    /// A webhook's receiver took so many events.
    pub fn webhook_delivered(&self, webhook: &str, events: u64) {
        add_at(self.webhooks.place(webhook), 0, events);
    }

    /// A webhook's receiver did not take a delivery.
    pub fn webhook_failed(&self, webhook: &str) {
        add_at(self.webhooks.place(webhook), 1, 1);
    }

    /// So many ids were passed over because they are kept no more.
    pub fn webhook_dropped(&self, webhook: &str, ids: u64) {
        add_at(self.webhooks.place(webhook), 2, ids);
    }

    /// The DHCP sockets, by name.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketStatus> {
        let mut sockets: Vec<SocketStatus> = self
            .sockets
            .entries()
            .map(|(name, counters)| SocketStatus {
                name: name.map_or(OTHER, |name| name).into(),
                receive_buffer_bytes: counters.receive_buffer_bytes.load(Relaxed),
                kernel_drops: counters.kernel_drops.load(Relaxed),
            })
            .collect();
        sockets.sort_by(|left, right| left.name.cmp(&right.name));
        sockets
    }

    /// Packets that the kernel dropped in front of all DHCP sockets.
    #[must_use]
    pub fn kernel_drop_occurrences(&self) -> Occurrences {
        self.kernel_dropped.occurrences(self.epoch)
    }

    /// Replies that the kernel refused to send.
    #[must_use]
    pub fn send_error_occurrences(&self) -> Occurrences {
        self.send_failed.occurrences(self.epoch)
    }

    /// Transactions on the kernel sets that failed.
    #[must_use]
    pub fn gate_failure_occurrences(&self) -> Occurrences {
        self.gate_failed.occurrences(self.epoch)
    }

    /// Groups with records that were committed, and the records in them.
    #[must_use]
    pub fn groups_and_records_committed(&self) -> (u64, u64) {
        (self.group_records.count.load(Relaxed), self.group_records.sum.load(Relaxed))
    }

    /// Times that the whole of the kernel sets was replaced.
    #[must_use]
    pub fn gate_reconciles_count(&self) -> u64 {
        self.gate_reconciles.load(Relaxed)
    }

    /// Times that the index was built again.
    #[must_use]
    pub fn index_rebuilds_count(&self) -> u64 {
        self.index_rebuilds.load(Relaxed)
    }

    /// Packets that got no reply for this reason.
    #[must_use]
    pub fn unanswered_count(&self, reason: Reason) -> u64 {
        self.unanswered.get(reason_index(reason)).map_or(0, |count| count.load(Relaxed))
    }

    /// How the exchange with the failover partner goes.
    #[must_use]
    pub fn exchange(&self) -> Arc<ExchangeCounts> {
        Arc::clone(&self.exchange)
    }

    /// What is counted of the failover link.
    #[must_use]
    pub fn link(&self) -> Arc<LinkCounts> {
        Arc::clone(&self.link)
    }

    /// Everything, with the numbers of the core, as OpenMetrics text; its type is [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self, core: &CoreStatus) -> String {
        exposition::encode(self, Some(core), None)
    }

    /// As [`Metrics::encode`], with the failover pair that this server is half of.
    #[must_use]
    pub fn encode_with_pair(&self, core: &CoreStatus, pair: &FailoverStatus) -> String {
        exposition::encode(self, Some(core), Some(pair))
    }

    /// As [`Metrics::encode`] when the core does not answer: what only it knows is left out.
    #[must_use]
    pub fn encode_without_core(&self) -> String {
        exposition::encode(self, None, None)
    }
}

fn zeros(length: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(length).collect()
}

fn add_at(counts: &[AtomicU64], index: usize, value: u64) {
    if let Some(count) = counts.get(index) {
        count.fetch_add(value, Relaxed);
    }
}

/// The name of a fault in labels and docs.
fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "client",
        Fault::Relay => "relay",
        Fault::Operator => "operator",
        Fault::Kernel => "kernel",
        Fault::Us => "us",
        Fault::Nobody => "nobody",
    }
}

/// The place of a reason in [`Reason::ALL`], which lists the variants in their order.
const fn reason_index(reason: Reason) -> usize {
    reason as usize
}

#[cfg(test)]
mod tests;
