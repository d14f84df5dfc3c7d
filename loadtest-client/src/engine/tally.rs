//! What an engine counts while it runs: totals, seconds, histograms, errors, relays, its own lateness.
//!
//! It promises that every figure of a second is in that second's row and that no table grows beyond
//! its limit in [`crate::result`]. It knows no client and no socket.

use crate::client::State;
use crate::conduct::{Conduct, ConductRow};
use crate::histogram::Histogram;
use crate::message::{Kind, Message, Relay};
use crate::result::{
    ErrorCount, Pair, PairLatency, RELAYS_MAX, RelayRow, SECONDS_MAX, Second, Totals,
};
use std::collections::BTreeMap;
use std::io;

/// Lateness from which a message counts as late, in microseconds.
pub const LATE_MICROSECONDS: u64 = 1000;
/// Kinds of errors that are told apart; further ones are counted together.
const ERRORS_MAX: usize = 64;

/// DISCOVERs without an offer, after which a pool is held to be dry.
const DRY_DISCOVERS_MIN: u64 = 10;
/// Seconds without an offer, after which a pool is held to be dry.
const DRY_SECONDS_MIN: usize = 2;
/// Relays whose pools are dry that are named.
const DRY_SHOWN_MAX: usize = 16;

const PAIRS: [Pair; 7] = [
    Pair::DiscoverOffer,
    Pair::RequestAck,
    Pair::Dora,
    Pair::RenewAck,
    Pair::RebindAck,
    Pair::RebootAck,
    Pair::InformAck,
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
    conducts: [ConductRow; Conduct::ALL.len()],
    /// By relay, as `relays`.
    offers: Vec<Offers>,
}

/// What servers offer behind a relay, to tell when they stop.
#[derive(Clone, Copy, Debug, Default)]
struct Offers {
    /// How many.
    count: u64,
    /// The second of the last one.
    last: usize,
    /// DISCOVERs since then.
    asked_since: u64,
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
            offers: vec![Offers::default(); relays.len().min(RELAYS_MAX)],
            conducts: Conduct::ALL.map(|conduct| ConductRow { conduct, ..ConductRow::default() }),
        }
    }

    /// There is a client of a kind behind a relay.
    pub fn has_client(&mut self, relay: usize, conduct: Conduct) {
        self.conduct(conduct, |row| row.clients += 1);
        self.relay(relay, |row| row.clients += 1);
    }

    /// An exchange of a sound client began.
    pub fn began(&mut self) {
        self.second.began += 1;
        self.phase_began += 1;
    }

    /// A client behind a relay sent a message.
    pub fn sent(&mut self, message: &Message, relay: usize, conduct: Conduct) {
        let totals = &mut self.totals;
        match message.kind {
            Kind::Discover => {
                totals.discovers += 1;
                if let Some(offers) = self.offers.get_mut(relay) {
                    offers.asked_since += 1;
                }
            }
            Kind::Request => totals.requests += 1,
            Kind::Release => totals.releases += 1,
            Kind::Decline => totals.declines += 1,
            Kind::Inform => totals.informs += 1,
        }
        self.conduct(conduct, |row| row.sent += 1);
        self.relay(relay, |row| row.sent += 1);
    }

    /// A client behind a relay was offered an address.
    pub fn offered(&mut self, relay: usize) {
        self.totals.offers += 1;
        let last = self.timeline.len();
        if let Some(offers) = self.offers.get_mut(relay) {
            *offers = Offers { count: offers.count + 1, last, asked_since: 0 };
        }
    }

    /// The relays behind which nothing is offered any more, although it is asked for.
    fn dry(&self) -> impl Iterator<Item = ErrorCount> {
        let now = self.timeline.len();
        let is_dry = move |offers: &Offers| {
            offers.count > 0
                && offers.asked_since >= DRY_DISCOVERS_MIN
                && now.saturating_sub(offers.last) >= DRY_SECONDS_MIN
        };
        let relays = self.relays.iter().zip(&self.offers);
        relays.filter(move |(_, offers)| is_dry(offers)).take(DRY_SHOWN_MAX).map(
            |((row, _), offers)| ErrorCount {
                kind: format!("relay {}: no more offers", row.giaddr),
                count: offers.asked_since,
                remark: format!(
                    "its pool has probably run dry, or the servers stopped: {} offers until second {}, and then none \
                     to {} DISCOVERs",
                    offers.count, offers.last, offers.asked_since
                ),
            },
        )
    }

    /// A sound client behind a relay sent its message again.
    pub fn retransmitted(&mut self, relay: usize) {
        self.totals.retransmissions += 1;
        self.second.retransmitted += 1;
        self.relay(relay, |row| row.retransmitted += 1);
    }

    /// A reply came to a client behind a relay.
    pub fn received(&mut self, relay: usize) {
        self.relay(relay, |row| row.received += 1);
    }

    /// A client got a reply for the exchange that it is in.
    pub fn answered(&mut self, conduct: Conduct) {
        self.conduct(conduct, |row| row.answered += 1);
    }

    /// A client behind a relay got a NAK.
    pub fn refused(&mut self, relay: usize, conduct: Conduct) {
        self.conduct(conduct, |row| row.refused += 1);
        self.relay(relay, |row| row.refused += 1);
        if conduct.is_sound() {
            self.totals.refusals += 1;
            self.second.refused += 1;
            self.phase_lost += 1;
            self.error("exchange: refused", "the server sent a NAK; the client begins anew");
        }
    }

    /// A client's lease ended; `state`: where it stood.
    pub fn expired(&mut self, conduct: Conduct, state: State) {
        self.conduct(conduct, |row| row.expired += 1);
        if conduct.is_sound() {
            self.totals.expiries += 1;
            self.second.expired += 1;
            self.phase_lost += 1;
            let remark = match state {
                State::Renewing => "T2 had not come: the lease ended while it asked its own server",
                _ => "neither its own server nor any other renewed it",
            };
            self.error("lease: ran out", remark);
        }
    }

    /// Nobody answered a client; `state`: where it stood.
    pub fn unanswered(&mut self, conduct: Conduct, state: State) {
        if conduct.is_sound() {
            self.phase_lost += 1;
            let (kind, remark) = match state {
                State::Rebooting => (
                    "exchange: no answer in INIT-REBOOT",
                    "the server is down, or has no record of the client and must then be silent",
                ),
                State::Informing => ("exchange: no answer to an INFORM", ""),
                _ => ("exchange: no answer to a REQUEST", "the client begins anew"),
            };
            self.error(kind, remark);
        }
    }

    fn relay(&mut self, relay: usize, change: impl FnOnce(&mut RelayRow)) {
        if let Some((row, _)) = self.relays.get_mut(relay) {
            change(row);
        }
    }

    fn conduct(&mut self, conduct: Conduct, change: impl FnOnce(&mut ConductRow)) {
        if let Some(row) = self.conducts.get_mut(conduct as usize) {
            change(row);
        }
    }

    /// An exchange of a pair took so long.
    pub fn took(&mut self, pair: Pair, microseconds: u64) {
        if let Some(place) = PAIRS.iter().position(|known| *known == pair)
            && let Some(histogram) = self.pairs.get_mut(place)
        {
            histogram.record(microseconds);
        }
    }

    /// A client that misbehaves got an ACK: no exchange of those that are measured.
    pub fn acknowledged_unsound(&mut self, relay: usize, conduct: Conduct) {
        self.totals.acknowledgements += 1;
        self.conduct(conduct, |row| row.acknowledged += 1);
        self.relay(relay, |row| row.acknowledged += 1);
    }

    /// An exchange behind a relay ended with an ACK, so long after its intended beginning.
    pub fn acknowledged(&mut self, relay: usize, microseconds: u64, conduct: Conduct) {
        self.conduct(conduct, |row| row.acknowledged += 1);
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
        errors.extend(self.dry());
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    /// The rows of kinds that there are clients of.
    #[must_use]
    pub fn conducts(&self) -> Vec<ConductRow> {
        self.conducts.iter().filter(|row| row.clients > 0).copied().collect()
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
