//! What an engine counts while it runs: totals, seconds, histograms, errors, relays, its own lateness.
//!
//! It promises that every figure of a second is in that second's row and that no table grows beyond
//! its limit in [`crate::result`]. It knows no client and no socket.

use crate::histogram::Histogram;
use crate::message::Relay;
use crate::result::{
    ErrorCount, Pair, PairLatency, RELAYS_MAX, RelayRow, SECONDS_MAX, Second, Totals,
};
use std::collections::BTreeMap;
use std::io;

/// Lateness from which a message counts as late, in microseconds.
pub const LATE_MICROSECONDS: u64 = 1000;
/// Kinds of errors that are told apart; further ones are counted together.
const ERRORS_MAX: usize = 64;

const PAIRS: [Pair; 6] = [
    Pair::DiscoverOffer,
    Pair::RequestAck,
    Pair::Dora,
    Pair::RenewAck,
    Pair::RebindAck,
    Pair::RebootAck,
];

/// See the module.
#[derive(Debug)]
pub struct Tally {
    /// Counts of the whole run.
    pub totals: Totals,
    /// The second that is under way.
    pub second: Second,
    /// Exchanges that ended with an ACK in the phase that is under way.
    pub phase_latency: Histogram,
    /// Exchanges that began in the phase.
    pub phase_began: u64,
    /// Exchanges that ended otherwise in the phase.
    pub phase_lost: u64,
    /// How late messages were.
    pub lateness: Histogram,
    /// Messages that were later than [`LATE_MICROSECONDS`].
    pub late: u64,
    /// Packets that the kernel dropped at our sockets.
    pub kernel_drops: u64,
    /// Messages that the kernel refused to send.
    pub send_errors: u64,
    timeline: Vec<Second>,
    second_latency: Histogram,
    pairs: [Histogram; PAIRS.len()],
    errors: BTreeMap<String, (u64, String)>,
    relays: Vec<(RelayRow, Histogram)>,
}

impl Tally {
    /// Nothing counted.
    #[must_use]
    pub fn new(relays: &[Relay]) -> Self {
        let row = |relay: &Relay| {
            let giaddr = relay.giaddr;
            let (clients, sent, received, acknowledged) = (0, 0, 0, 0);
            let (refused, retransmitted, p50_microseconds, p99_microseconds) = (0, 0, 0, 0);
            let row = RelayRow {
                giaddr,
                clients,
                sent,
                received,
                acknowledged,
                refused,
                retransmitted,
                p50_microseconds,
                p99_microseconds,
            };
            (row, Histogram::default())
        };
        Self {
            totals: Totals::default(),
            second: Second::default(),
            phase_latency: Histogram::default(),
            phase_began: 0,
            phase_lost: 0,
            lateness: Histogram::default(),
            late: 0,
            kernel_drops: 0,
            send_errors: 0,
            timeline: Vec::new(),
            second_latency: Histogram::default(),
            pairs: Default::default(),
            errors: BTreeMap::new(),
            relays: relays.iter().take(RELAYS_MAX).map(row).collect(),
        }
    }

    /// A relay's row, if it has one.
    pub fn relay(&mut self, relay: usize) -> Option<&mut RelayRow> {
        self.relays.get_mut(relay).map(|(row, _)| row)
    }

    /// An exchange of a pair took so long.
    pub fn took(&mut self, pair: Pair, microseconds: u64) {
        if let Some(place) = PAIRS.iter().position(|known| *known == pair)
            && let Some(histogram) = self.pairs.get_mut(place)
        {
            histogram.record(microseconds);
        }
    }

    /// An exchange behind a relay ended with an ACK, so long after its intended beginning.
    pub fn acknowledged(&mut self, relay: usize, microseconds: u64) {
        self.totals.acknowledgements += 1;
        self.second.acknowledged += 1;
        self.second_latency.record(microseconds);
        self.phase_latency.record(microseconds);
        if let Some((row, histogram)) = self.relays.get_mut(relay) {
            row.acknowledged += 1;
            histogram.record(microseconds);
        }
    }

    /// Something went out so long after it was meant to.
    pub fn went_out(&mut self, late_microseconds: u64) {
        self.lateness.record(late_microseconds);
        self.late += u64::from(late_microseconds > LATE_MICROSECONDS);
        self.second.lateness_microseconds =
            self.second.lateness_microseconds.max(late_microseconds);
    }

    /// Something went wrong, of a kind with a fixed wording.
    pub fn error(&mut self, kind: &str, remark: &str) {
        if let Some((count, _)) = self.errors.get_mut(kind) {
            *count += 1;
            return;
        }
        let kind = if self.errors.len() < ERRORS_MAX { kind } else { "other" };
        self.errors.entry(kind.to_owned()).or_insert((0, remark.to_owned())).0 += 1;
    }

    /// The kernel refused to send a message.
    pub fn send_error(&mut self, error: &io::Error) {
        self.send_errors += 1;
        let (name, remark) = match error.raw_os_error() {
            Some(libc::EPERM) => (
                "send: EPERM",
                "a firewall of this host forbids it, or its connection tracking is full",
            ),
            Some(libc::EINVAL) => (
                "send: EINVAL",
                "the address that it should leave from is not of this host; see `ip route add local`",
            ),
            Some(libc::ENOBUFS) => ("send: ENOBUFS", "the queue of a network interface is full"),
            Some(libc::EAGAIN) => ("send: EAGAIN", "the send buffer is full"),
            Some(libc::ENETUNREACH) => (
                "send: ENETUNREACH",
                "this host has no route to the server, or none from the address that it should leave from; see `ip route add local`",
            ),
            Some(libc::EHOSTUNREACH) => {
                ("send: EHOSTUNREACH", "nobody answers for the server's address")
            }
            // An answer to an earlier packet.
            Some(libc::ECONNREFUSED) => {
                ("send: ECONNREFUSED", "nothing listens at the server's port")
            }
            _ => ("send: other", ""),
        };
        let text = if remark.is_empty() { error.to_string() } else { remark.to_owned() };
        self.error(name, &text);
    }

    /// The second is over; gives its row.
    pub fn end_second(&mut self, in_flight: u64, bound: u64) -> Second {
        let latency = &self.second_latency;
        let row = Second {
            in_flight,
            bound,
            p50_microseconds: latency.percentile(50.0),
            p99_microseconds: latency.percentile(99.0),
            max_microseconds: latency.max(),
            ..self.second
        };
        if self.timeline.len() < SECONDS_MAX {
            self.timeline.push(row);
        }
        self.second = Second::default();
        self.second_latency.clear();
        row
    }

    /// The rows of all seconds.
    #[must_use]
    pub fn timeline(&self) -> Vec<Second> {
        self.timeline.clone()
    }

    /// The histograms of pairs that happened.
    #[must_use]
    pub fn latencies(&self) -> Vec<PairLatency> {
        PAIRS
            .iter()
            .zip(&self.pairs)
            .filter(|(_, histogram)| histogram.count() > 0)
            .map(|(pair, histogram)| PairLatency { pair: *pair, histogram: histogram.clone() })
            .collect()
    }

    /// The errors, the most frequent first.
    #[must_use]
    pub fn errors(&self) -> Vec<ErrorCount> {
        let mut errors: Vec<_> = self
            .errors
            .iter()
            .map(|(kind, (count, remark))| ErrorCount {
                kind: kind.clone(),
                count: *count,
                remark: remark.clone(),
            })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    /// The relays' rows.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayRow> {
        let row = |(row, histogram): &(RelayRow, Histogram)| RelayRow {
            p50_microseconds: histogram.percentile(50.0),
            p99_microseconds: histogram.percentile(99.0),
            ..*row
        };
        self.relays.iter().map(row).collect()
    }
}
