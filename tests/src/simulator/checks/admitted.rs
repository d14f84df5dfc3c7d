//! P5 and P6 of the admission: who waits, who is served and who is shed when more comes than is served.
//!
//! Written from the rules in `docs/packets.md`, not from the admission's code: it keeps its own list of
//! what waits and looks at each thing that the admission does. It knows nothing of how the next packet is
//! found, only which one it must not be.

use super::{Verdict, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use vestibule_core::limits::{ARRIVALS_WAITING_MAX, DISCOVER_WAIT_MILLISECONDS_MAX};
use vestibule_core::{HardwareAddress, MessageType, Reason, Request};

/// The part of turns and places that each kind but renewals has for itself.
const SHARE: usize = 8;

/// How much hurts when a packet is lost, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Renewal,
    Completion,
    Discover,
}

const KINDS: [Kind; 3] = [Kind::Renewal, Kind::Completion, Kind::Discover];

type Message = (HardwareAddress, u32, MessageType);

type Queue = (Kind, Ipv4Addr);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    order: u64,
    since: u64,
    queue: Queue,
}

/// See the module. Knows one life of the process.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    waiting: BTreeMap<Message, Waiting>,
    /// What waits of a kind at a relay, the oldest first.
    queues: BTreeMap<Queue, BTreeSet<u64>>,
    arrived: u64,
    /// For each queue in which something waits: which others of its kind were served since it was.
    served_since: BTreeMap<Queue, BTreeSet<Ipv4Addr>>,
    /// Turns of others since a kind, of which something waits, had its own.
    turns_of_others: BTreeMap<Kind, usize>,
    /// Turns in a row that were no renewal's, while renewals waited.
    not_renewals: usize,
    shed: BTreeMap<(Ipv4Addr, &'static str), u64>,
    /// All lives together.
    pub(crate) most: u64,
}

fn kind_of(request: &Request) -> Kind {
    match request.message_type {
        MessageType::Discover => Kind::Discover,
        MessageType::Request if !request.ciaddr.is_unspecified() => Kind::Renewal,
        _ => Kind::Completion,
    }
}

fn message_of(request: &Request) -> Message {
    (request.hardware, request.xid, request.message_type)
}

fn broken(what: String) -> Verdict {
    Err(Violation::new("P5", what))
}

impl Admitted {
    /// A process starts.
    pub(crate) fn started(&mut self) {
        *self = Self { most: self.most, ..Self::default() };
    }

    /// How many wait.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A packet came, and `shed` had to go for it: itself, or one that waited.
    ///
    /// # Errors
    /// [`Violation`] if another one had to go first, or none at all.
    pub(crate) fn offered(
        &mut self,
        request: &Request,
        now: u64,
        shed: Option<(&Request, Reason)>,
    ) -> Verdict {
        if let Some((victim, reason)) = shed {
            self.most += 1;
            *self.shed.entry((victim.giaddr, reason.name())).or_default() += 1;
        }
        let is_duplicate = self.waiting.contains_key(&message_of(request));
        match shed {
            None if is_duplicate => return broken(format!("a duplicate waits twice: {request:?}")),
            None => {}
            Some((victim, Reason::DuplicateWaiting)) if is_duplicate && victim == request => {
                return Ok(());
            }
            Some((victim, Reason::Overload)) if !is_duplicate => {
                if self.len() < ARRIVALS_WAITING_MAX {
                    return broken(format!("{} wait, and {victim:?} is shed", self.len()));
                }
                if message_of(victim) == message_of(request) {
                    return self.may_shed_newcomer(kind_of(request));
                }
                self.may_shed(victim, request)?;
                self.leaves(victim)?;
            }
            Some((victim, reason)) => {
                return broken(format!("{victim:?} is shed as {reason} for {request:?}"));
            }
        }
        if self.len() >= ARRIVALS_WAITING_MAX {
            return broken("more wait than there are places".to_owned());
        }
        self.arrived += 1;
        let queue = (kind_of(request), request.giaddr);
        let waiting = Waiting { order: self.arrived, since: now, queue };
        self.waiting.insert(message_of(request), waiting);
        self.queues.entry(queue).or_default().insert(self.arrived);
        Ok(())
    }

    /// A packet has its turn.
    ///
    /// # Errors
    /// [`Violation`] if it was another one's.
    pub(crate) fn served(&mut self, request: &Request, now: u64) -> Verdict {
        let waited = self.has_its_turn(request, now)?;
        if kind_of(request) == Kind::Discover && waited >= DISCOVER_WAIT_MILLISECONDS_MAX {
            return broken(format!("a DISCOVER is answered after {waited} ms: {request:?}"));
        }
        Ok(())
    }

    /// A packet had its turn too late.
    ///
    /// # Errors
    /// [`Violation`] if it was not, or if it was another one's turn.
    pub(crate) fn given_up(&mut self, request: &Request, reason: Reason, now: u64) -> Verdict {
        *self.shed.entry((request.giaddr, reason.name())).or_default() += 1;
        let waited = self.has_its_turn(request, now)?;
        let is_late = kind_of(request) == Kind::Discover
            && reason == Reason::DiscoverTooOld
            && waited >= DISCOVER_WAIT_MILLISECONDS_MAX;
        if is_late { Ok(()) } else { broken(format!("{request:?} is given up: {reason}")) }
    }

    /// What the server says that it has shed, as text of its metrics.
    ///
    /// # Errors
    /// [`Violation`] if it is not what was shed, by relay and reason.
    pub(crate) fn counted(&self, metrics: &str) -> Verdict {
        for ((relay, reason), count) in &self.shed {
            let labels = format!("giaddr=\"{relay}\",reason=\"{reason}\"");
            let line = format!("vestibule_packets_shed_total{{{labels}}} {count}");
            if !metrics.lines().any(|said| said == line) {
                return Err(Violation::new("P6", format!("the metrics do not say: {line}")));
            }
        }
        Ok(())
    }

    fn count(&self, kind: Kind) -> usize {
        let all = (kind, Ipv4Addr::UNSPECIFIED)..=(kind, Ipv4Addr::BROADCAST);
        self.queues.range(all).map(|(_, queue)| queue.len()).sum()
    }

    /// The newcomer itself may go only if nothing that matters less, and nothing of its own, could.
    fn may_shed_newcomer(&self, kind: Kind) -> Verdict {
        let others = KINDS.into_iter().filter(|other| *other >= kind);
        match others.map(|other| self.count(other)).sum() {
            0_usize => Ok(()),
            others => broken(format!("a newcomer is shed, and {others} of less worth stay")),
        }
    }

    /// DISCOVERs go first and renewals last, but for the share that each has; within a kind, the oldest
    /// of the relay that has most, the newcomer counted with its own.
    fn may_shed(&self, victim: &Request, newcomer: &Request) -> Verdict {
        let kind = kind_of(victim);
        let share = ARRIVALS_WAITING_MAX / SHARE;
        for other in KINDS.into_iter().filter(|other| *other > kind) {
            let count = self.count(other);
            if count > share {
                return broken(format!("{victim:?} is shed, and {count} {other:?}s stay"));
            }
        }
        let of_relay = |relay| self.queues.get(&(kind, relay)).map_or(0, BTreeSet::len);
        let comes = kind_of(newcomer) == kind && newcomer.giaddr == victim.giaddr;
        let own = of_relay(victim.giaddr) + usize::from(comes);
        let all = (kind, Ipv4Addr::UNSPECIFIED)..=(kind, Ipv4Addr::BROADCAST);
        let busier = self.queues.range(all).find(|(_, queue)| queue.len() > own);
        match busier {
            None => self.is_oldest(victim),
            Some(((_, relay), queue)) => broken(format!(
                "{victim:?} is shed, one of {own} of its relay, and {relay} has {}",
                queue.len()
            )),
        }
    }

    fn is_oldest(&self, request: &Request) -> Verdict {
        let Some(waiting) = self.waiting.get(&message_of(request)) else {
            return broken(format!("{request:?} does not wait"));
        };
        let oldest = self.queues.get(&waiting.queue).and_then(BTreeSet::first);
        if oldest == Some(&waiting.order) {
            Ok(())
        } else {
            broken(format!("{request:?} is not the oldest of its relay"))
        }
    }

    /// How long it has waited.
    fn has_its_turn(&mut self, request: &Request, now: u64) -> Result<u64, Violation> {
        self.is_oldest(request)?;
        let queue = (kind_of(request), request.giaddr);
        let (kind, relay) = queue;
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            let turns = self.turns_of_others.entry(other).or_default();
            *turns =
                if self.queues.keys().any(|(waits, _)| *waits == other) { *turns + 1 } else { 0 };
            if other != Kind::Renewal && *turns >= SHARE {
                broken(format!("{turns} turns without a {other:?}, and some wait"))?;
            }
        }
        self.turns_of_others.insert(kind, 0);
        let renewals_wait = self.queues.keys().any(|(waits, _)| *waits == Kind::Renewal);
        let is_other = kind != Kind::Renewal && renewals_wait;
        self.not_renewals = if is_other { self.not_renewals + 1 } else { 0 };
        if self.not_renewals > KINDS.len() - 1 {
            broken(format!("{} turns in a row are no renewal's", self.not_renewals))?;
        }
        // Between two turns of a relay everybody else has one who waits.
        self.served_since.remove(&queue);
        for other in self.queues.keys().filter(|other| other.0 == kind && other.1 != relay) {
            if !self.served_since.entry(*other).or_default().insert(relay) {
                broken(format!("{relay} has two {kind:?}s served, and {} waits", other.1))?;
            }
        }
        let since = self.waiting.get(&message_of(request)).map_or(now, |waiting| waiting.since);
        self.leaves(request)?;
        Ok(now - since)
    }

    fn leaves(&mut self, request: &Request) -> Verdict {
        let Some(Waiting { order, queue, .. }) = self.waiting.remove(&message_of(request)) else {
            return broken(format!("{request:?} does not wait"));
        };
        if let Some(orders) = self.queues.get_mut(&queue) {
            orders.remove(&order);
            if orders.is_empty() {
                self.queues.remove(&queue);
                self.served_since.remove(&queue);
            }
        }
        Ok(())
    }
}
