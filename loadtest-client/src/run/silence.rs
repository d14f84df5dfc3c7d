//! Ends a run for which there is nothing left to wait: nobody has answered anything, or, where the
//! scenario has no end of its own, nobody answers any more.
//!
//! It promises to say whom was asked how often, and what the network says about it. It never ends a run
//! that has an end of its own because a server was slow or restarted.

use crate::client::{Client, Manner};
use crate::engine::Live;
use crate::message::{Hardware, Relay};
use crate::result::ErrorCount;
use crate::screen::Screen;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the first answer of all is waited for, at least.
const FIRST_ANSWER_MIN: Duration = Duration::from_secs(10);
/// First waits of a client after which nobody has answered: it has asked twice in them.
const FIRST_WAITS: u32 = 2;
/// How long a run without an end of its own goes on without any answer.
const NO_MORE_ANSWERS: Duration = Duration::from_secs(30);
/// Messages for each open exchange in that time, after which it is no pause between two retransmissions.
const MESSAGES_PER_EXCHANGE: u64 = 2;
/// How long the network may take to say that a server is not there: what looking for a neighbour takes.
const PROBE_TIME_MAX: Duration = Duration::from_secs(4);

/// Why a run was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody has answered anything.
    NeverAnswered {
        /// DISCOVERs until then.
        discovers: u64,
        /// How long.
        after: Duration,
    },
    /// Nobody answers any more.
    NoMoreAnswers {
        /// Exchanges that are open.
        open: u64,
        /// For how long.
        silent: Duration,
    },
}

/// Sees a run once a second: shows it, and ends it when there is nothing left to wait for.
#[derive(Debug)]
pub(super) struct Observer {
    screen: Screen,
    silence: Silence,
    end: Arc<AtomicBool>,
}

impl Observer {
    /// `end` is what ends the run.
    pub(super) const fn new(screen: Screen, silence: Silence, end: Arc<AtomicBool>) -> Self {
        Self { screen, silence, end }
    }

    pub(super) fn see(&mut self, live: &Live<'_>) {
        self.screen.show(live);
        // Whoever interrupted it was first.
        if !self.end.load(Ordering::Relaxed) && self.silence.looks(live) {
            self.end.store(true, Ordering::Relaxed);
        }
    }

    /// The line goes. Why the run was ended, if it was ended here.
    pub(super) fn end(self) -> Option<Ended> {
        self.screen.end();
        self.silence.ended()
    }
}

/// Looks at a run once a second.
#[derive(Debug)]
pub(super) struct Silence {
    first_answer_max: Duration,
    /// Answers until the last look that saw a new one.
    answers: u64,
    /// Messages sent until then.
    sent: u64,
    /// When that was.
    since: Duration,
    ended: Option<Ended>,
}

impl Silence {
    pub(super) fn new(manner: Manner) -> Self {
        let first_waits = Duration::from_millis(manner.first_wait_milliseconds) * FIRST_WAITS;
        Self {
            first_answer_max: first_waits.max(FIRST_ANSWER_MIN),
            answers: 0,
            sent: 0,
            since: Duration::ZERO,
            ended: None,
        }
    }

    /// Whether the run should end now.
    pub(super) fn looks(&mut self, live: &Live<'_>) -> bool {
        let totals = &live.totals;
        let answers = totals.offers + totals.acknowledgements + totals.refusals;
        let sent = totals.discovers + totals.requests;
        if answers > self.answers || self.sent == 0 {
            (self.answers, self.sent, self.since) = (answers, sent, live.elapsed);
        }
        let silent = live.elapsed.saturating_sub(self.since);
        let open = live.second.in_flight;
        if answers == 0 && sent > 0 && silent >= self.first_answer_max {
            self.ended =
                Some(Ended::NeverAnswered { discovers: totals.discovers, after: live.elapsed });
        } else if answers > 0
            && live.left.is_none()
            && silent >= NO_MORE_ANSWERS
            && open > 0
            && sent.saturating_sub(self.sent) >= MESSAGES_PER_EXCHANGE * open
        {
            self.ended = Some(Ended::NoMoreAnswers { open, silent });
        }
        self.ended.is_some()
    }

    /// Whether it ended the run, and why.
    pub(super) const fn ended(&self) -> Option<Ended> {
        self.ended
    }
}

impl Ended {
    /// In words, with what the network says about the servers.
    pub(super) fn error(self, servers: &[SocketAddrV4], relay: Ipv4Addr) -> ErrorCount {
        let named: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let named = named.join(" and ");
        match self {
            Self::NeverAnswered { discovers, after } => {
                let said: Vec<String> = servers
                    .iter()
                    .map(|server| format!("{}: {}", server.ip(), probe(*server, relay)))
                    .collect();
                ErrorCount {
                    kind: "server: never answered".to_owned(),
                    count: discovers,
                    remark: format!(
                        "the run was ended after {} s: {discovers} DISCOVERs to {named}, and nothing came back; {}",
                        after.as_secs(),
                        said.join("; ")
                    ),
                }
            }
            Self::NoMoreAnswers { open, silent } => ErrorCount {
                kind: "server: no more answers".to_owned(),
                count: open,
                remark: format!(
                    "the run was ended: {named} answered nothing for {} s, with {open} exchanges open",
                    silent.as_secs()
                ),
            },
        }
    }
}

/// Sends one more DISCOVER, from a socket that the kernel tells of ICMP errors.
fn probe(server: SocketAddrV4, relay: Ipv4Addr) -> String {
    let said = ask(server, relay).err();
    match said.as_ref().map(io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => {
            "port unreachable (ICMP): the host is there, and nothing listens at this port"
                .to_owned()
        }
        Some(ErrorKind::HostUnreachable) => {
            "host unreachable: nobody answers for this address, or a router says so (ICMP)"
                .to_owned()
        }
        Some(ErrorKind::NetworkUnreachable) => {
            "network unreachable: there is no route to it from here".to_owned()
        }
        Some(ErrorKind::PermissionDenied) => {
            "a packet filter forbids to send to it, or answers so (ICMP)".to_owned()
        }
        None | Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => format!(
            "no word from the network either; does the server know the network of {relay}, has it a route \
             to {relay}, and does no packet filter drop UDP port {}?",
            server.port()
        ),
        Some(_) => said.map_or_else(String::new, |error| error.to_string()),
    }
}

fn ask(server: SocketAddrV4, relay: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(relay, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PROBE_TIME_MAX))?;
    let discover = Client::new(Hardware::of_client(0), Manner::default(), 0).begin(0);
    socket.send(&discover.bytes(Relay::new(relay)))?;
    // An answer goes to the relay's port, which this is not: what comes here is a word of the network.
    socket.recv(&mut [0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Second, Totals};

    fn live(seconds: u64, left: Option<u64>, sent: u64, answers: u64, open: u64) -> Live<'static> {
        Live {
            phase: "phase",
            elapsed: Duration::from_secs(seconds),
            left: left.map(Duration::from_secs),
            second: Second { in_flight: open, ..Second::default() },
            totals: Totals { discovers: sent, offers: answers, ..Totals::default() },
            violations: 0,
            usable: None,
        }
    }

    #[test]
    fn a_server_that_never_answers_ends_every_run_and_one_that_did_once_only_endless_ones() {
        let mut silence = Silence::new(Manner::default());
        assert!(!silence.looks(&live(1, Some(60), 5, 0, 5)));
        assert!(!silence.looks(&live(10, Some(50), 15, 0, 5)));
        assert!(silence.looks(&live(11, Some(49), 15, 0, 5)));
        let after = Duration::from_secs(11);
        assert_eq!(silence.ended(), Some(Ended::NeverAnswered { discovers: 15, after }));

        let mut silence = Silence::new(Manner::default());
        assert!(!silence.looks(&live(1, Some(600), 5, 5, 5)));
        assert!(!silence.looks(&live(100, Some(500), 500, 5, 5)), "it has an end of its own");

        let mut silence = Silence::new(Manner::default());
        assert!(!silence.looks(&live(1, None, 5, 5, 5)));
        assert!(!silence.looks(&live(30, None, 50, 5, 5)), "not for long enough");
        assert!(!silence.looks(&live(31, None, 14, 5, 5)), "clients have hardly asked");
        assert!(!silence.looks(&live(32, None, 50, 6, 5)), "an answer came");
        assert!(!silence.looks(&live(62, None, 100, 6, 0)), "nobody waits");
        assert!(silence.looks(&live(62, None, 100, 6, 5)));
        let silent = Duration::from_secs(30);
        assert_eq!(silence.ended(), Some(Ended::NoMoreAnswers { open: 5, silent }));
    }
}
