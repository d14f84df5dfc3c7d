//! The TCP connection between the halves, as far as TCP can be seen from above.
//!
//! Inside a connection nothing is lost, doubled or overtaken: bytes come in order or the connection ends.
//! What waits behind a cut comes when the cut is over, unless somebody has given up before. A process that
//! is killed leaves a host that says so; a machine without power says nothing, and what it had not got
//! through is gone. Bytes to an end that is gone are answered by a reset. As in the daemon, one
//! connection at a time is handed to the core, and while there is one others are turned away.

use super::plan;
use super::world::{Event, Pair};
use vestibule_core::failover::{Message, PartnerInput};
use vestibule_dhcpd::failover::{decode, encode};

/// How long after a loss or a failed attempt the partner is dialled again, as in the daemon.
const DIAL_AGAIN: u64 = 5_000;

/// How long a dial that nobody answers takes, as in the daemon.
const DIAL_TIME: u64 = 10_000;

/// Numbers connections.
pub(crate) type ConnectionNumber = u64;

/// What one end is brought.
#[derive(Clone, Debug)]
pub(crate) enum Brought {
    /// The connection is there.
    Connected,
    /// The bytes of one message.
    Bytes(Vec<u8>),
    /// The other end is gone.
    End,
}

/// The link.
#[derive(Debug, Default)]
pub(crate) struct Link {
    made: ConnectionNumber,
    /// By server: the connection that its process has.
    pub(super) open: [Option<ConnectionNumber>; 2],
    /// By server: until when nothing reaches it from its partner.
    pub(super) deaf_until: [u64; 2],
    /// By server: when the last bytes that are under way arrive at it.
    last: [u64; 2],
    /// By connection and server: what arrives there later than this is lost.
    lost_after: Vec<(ConnectionNumber, usize, u64)>,
    /// By server: whether a dial is arranged.
    dials: [bool; 2],
    /// Connections that were made.
    pub(crate) connections: u64,
}

impl Link {
    /// Whether both can hear each other.
    pub(crate) fn is_whole(&self, now: u64) -> bool {
        self.deaf_until.iter().all(|until| *until <= now)
    }

    /// From now on nothing keeps the two apart.
    pub(super) fn heal(&mut self, now: u64) {
        self.deaf_until = self.deaf_until.map(|until| until.min(now));
    }

    /// What is under way in a connection to a server is lost from `after` on.
    fn lose(&mut self, connection: ConnectionNumber, to: usize, after: u64) {
        self.lost_after.push((connection, to, after));
    }

    fn is_lost(&self, connection: ConnectionNumber, to: usize, now: u64) -> bool {
        let of = |(other, end, _): &&(u64, usize, u64)| *other == connection && *end == to;
        self.lost_after.iter().filter(of).any(|(_, _, after)| *after < now)
    }
}

impl Pair {
    /// When something that leaves now arrives at a server.
    fn arrival(&mut self, to: usize) -> u64 {
        let way = 1 + self.random.below(self.plan.latency);
        let free = self.link.deaf_until[to].max(self.now) + way;
        let at = free.max(self.link.last[to] + self.plan.spacing);
        self.link.last[to] = at;
        at
    }

    fn bring(&mut self, connection: ConnectionNumber, to: usize, what: Brought) {
        let after = self.arrival(to) - self.now;
        self.arrange(after, Event::Link { connection, to, what });
    }

    /// Has a server dial soon.
    pub(super) fn dial_soon(&mut self, node: usize, after: u64) {
        if !std::mem::replace(&mut self.link.dials[node], true) {
            self.arrange(after, Event::Dial(node));
        }
    }

    /// A server dials its partner.
    pub(super) fn dial(&mut self, node: usize) {
        self.link.dials[node] = false;
        let partner = 1 - node;
        if self.nodes[node].process.is_none() || self.link.open[node].is_some() {
            return;
        }
        // A secondary that dials is only knocked at: it has a connection when its primary speaks.
        let is_answered = self.nodes[partner].process.is_some() && self.link.is_whole(self.now);
        if is_answered && self.link.open[partner].is_none() {
            self.link.made += 1;
            self.link.connections += 1;
            let connection = self.link.made;
            self.trace.note(self.now, format_args!("server {node} connects: {connection}"));
            // Nothing that is under way belongs to it.
            for end in plan::NODES {
                self.link.last[end] = self.now;
                self.link.open[end] = Some(connection);
                self.bring(connection, end, Brought::Connected);
            }
            return;
        }
        let later = self.random.below(200);
        self.dial_soon(node, DIAL_AGAIN + later);
    }

    /// Something arrives at a server.
    pub(super) fn brought(&mut self, connection: ConnectionNumber, to: usize, what: Brought) {
        if self.link.is_lost(connection, to, self.now) {
            // Its process was never told of a connection, and has none.
            if matches!(what, Brought::Connected) && self.link.open[to] == Some(connection) {
                self.trace.note(self.now, format_args!("server {to} is not answered"));
                self.link.open[to] = None;
                self.dial_soon(to, DIAL_TIME + DIAL_AGAIN);
            }
            return;
        }
        if self.link.open[to] != Some(connection) {
            // A reset, unless the other end is gone too.
            if self.link.open[1 - to] == Some(connection) && !matches!(what, Brought::End) {
                self.bring(connection, 1 - to, Brought::End);
            }
            return;
        }
        match what {
            Brought::Connected => self.partner_input(to, PartnerInput::Connected),
            Brought::Bytes(bytes) => self.read(to, &bytes),
            Brought::End => self.hang_up(to),
        }
    }

    fn read(&mut self, to: usize, bytes: &[u8]) {
        let message = decode(bytes);
        let verdict = self.checkers.spoken.decoded(bytes, message.is_ok());
        self.judge(verdict);
        if let Ok(message) = message {
            self.partner_input(to, PartnerInput::Said(message));
        }
    }

    /// A server sends a message on the connection that it was decided for.
    pub(super) fn say(&mut self, from: usize, connection: ConnectionNumber, message: &Message) {
        if self.link.open[from] != Some(connection) {
            return;
        }
        let mut bytes = Vec::new();
        let encoded = encode(message, &mut bytes);
        let partner = self.failover_status(from).map(|status| status.partner);
        let encoded = encoded.map(|()| &*bytes).ok();
        let verdict = self.checkers.spoken.said(message, encoded, partner);
        self.judge(verdict);
        self.trace.note(self.now, format_args!("server {from} says {message:?}"));
        self.bring(connection, 1 - from, Brought::Bytes(bytes));
    }

    /// A server closes its end: the other is told after everything that was said.
    pub(super) fn close(&mut self, from: usize) {
        if let Some(connection) = self.link.open[from] {
            self.bring(connection, 1 - from, Brought::End);
            self.hang_up(from);
        }
    }

    /// A server's end is gone; its process, if there is one, is told.
    fn hang_up(&mut self, node: usize) {
        if self.link.open[node].take().is_some() {
            self.trace.note(self.now, format_args!("server {node} has no connection any more"));
            self.partner_input(node, PartnerInput::Disconnected);
            self.dial_soon(node, DIAL_AGAIN);
        }
    }

    /// The process behind an end is gone. `says_so`: its host goes on, sends what it was given, and tells
    /// the partner.
    pub(super) fn drop_end(&mut self, node: usize, says_so: bool) {
        let Some(connection) = self.link.open[node] else { return };
        if says_so {
            self.bring(connection, 1 - node, Brought::End);
        } else {
            self.link.lose(connection, 1 - node, self.now + self.plan.latency);
        }
        self.link.open[node] = None;
    }

    /// Something between the two resets the connection: both ends hear of it, and what was under way is
    /// lost.
    pub(super) fn reset(&mut self) {
        let connections = self.link.open;
        for node in plan::NODES {
            if let Some(connection) = connections[node] {
                self.link.lose(connection, node, self.now);
                self.hang_up(node);
            }
        }
    }
}
