//! One question from its bytes to its answer, whatever socket it came by.
//!
//! It ties the parts together: the handler that reads and writes, the caches, the look-up slots, the
//! upstream resolvers, the garden's gate, the counters. It promises that a question for which there is no
//! slot is answered at once, that lies need no slot, so that a dead upstream never slows them, and that
//! no true answer leaves before the gate lets its addresses pass.

use crate::cache::{Cache, Kept};
use crate::counters::Counters;
use crate::flights::{Flights, Landing, Ticket};
use crate::garden::{Garden, NotOpen};
use crate::handler::{Age, Forwarding, Handler, Inquiry, Reply, Step, Transport};
use crate::limits::STALE_TTL_SECONDS;
use crate::slots::{NoSlot, Slot, Slots};
use crate::upstream::Upstream;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Everything that answers questions.
pub(crate) struct Resolver {
    pub(crate) handler: Handler,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) garden: Garden,
    /// Questions that wait, for a look-up or for the gate.
    pub(crate) waiting: Arc<Slots>,
    pub(crate) counters: Arc<Counters>,
}

/// How true answers are found.
pub(crate) struct Lookups {
    pub(crate) upstream: Upstream,
    /// Answers for names that the garden spells out.
    pub(crate) cache: Cache,
    /// Those for names that only a wildcard lets pass.
    pub(crate) cache_made_up: Cache,
    pub(crate) flights: Flights,
    pub(crate) slots: Arc<Slots>,
    /// Those of `slots` that names may take which only a wildcard lets pass.
    pub(crate) slots_made_up: Arc<Slots>,
}

/// What is to be done about a message.
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// Send this.
    Send(Vec<u8>),
    /// Look it up, by [`Resolver::look_up`], then send what that gives.
    LookUp(LookUp),
}

/// A question that has its slot.
pub(crate) struct LookUp {
    forwarding: Box<Forwarding>,
    source: Source,
    _waiting: Slot,
}

/// Where the answer comes from.
enum Source {
    /// It is here; the gate is to be opened first.
    Here(Reply),
    /// It is on its way.
    Flight(Ticket),
}

impl Resolver {
    /// What is to be done about `message`, that `source` sent. Call within a runtime.
    pub(crate) fn receive(&self, message: &[u8], source: SocketAddr, transport: Transport) -> Work {
        match self.handler.receive(message, source, transport) {
            Step::Drop => Work::Nothing,
            Step::Answer(answer) => Work::Send(answer),
            Step::Forward(forwarding) => self.forward(forwarding, source),
        }
    }

    fn forward(&self, forwarding: Box<Forwarding>, source: SocketAddr) -> Work {
        let now = Instant::now();
        let kept = self.lookups.cache(&forwarding.inquiry).get(&forwarding.inquiry.key, now);
        let kept = kept.and_then(|Kept { message, age_seconds }| {
            self.handler.reply(&forwarding, &message, Age::Seconds(age_seconds))
        });
        if let Some(reply) = kept {
            self.counters.forwarded_from_cache.add_one();
            if self.garden.is_open(&reply.addresses, now) {
                return Work::Send(reply.bytes);
            }
            return match self.waiting.take(source) {
                Ok(waiting) => Work::LookUp(LookUp {
                    forwarding,
                    source: Source::Here(reply),
                    _waiting: waiting,
                }),
                Err(limit) => self.shed(&forwarding, limit),
            };
        }
        let waiting = self.waiting.take(source);
        let ticket = waiting.and_then(|waiting| Ok((self.lookups.join(&forwarding)?, waiting)));
        match ticket {
            Ok((ticket, waiting)) => Work::LookUp(LookUp {
                forwarding,
                source: Source::Flight(ticket),
                _waiting: waiting,
            }),
            Err(limit) => self.shed(&forwarding, limit),
        }
    }

    fn shed(&self, forwarding: &Forwarding, limit: NoSlot) -> Work {
        tracing::debug!(source = %forwarding.source(), ?limit, "no look-up slot");
        self.counters.forward_shed.add_one();
        // What is old is better than nothing (RFC 8767), if the gate is open for it.
        let stale = self.stale(forwarding);
        let stale = stale.filter(|reply| self.garden.is_open(&reply.addresses, Instant::now()));
        Work::Send(stale.map_or_else(|| self.handler.failure(forwarding), |reply| reply.bytes))
    }

    /// The answer to a question that is forwarded.
    pub(crate) async fn look_up(&self, look_up: LookUp) -> Vec<u8> {
        let LookUp { forwarding, source, _waiting } = look_up;
        let reply = match source {
            Source::Here(reply) => reply,
            Source::Flight(ticket) => match self.landed(&forwarding, ticket.landing().await) {
                Some(reply) => reply,
                None => {
                    self.counters.forward_failed.add_one();
                    return self.handler.failure(&forwarding);
                }
            },
        };
        match self.garden.open(&forwarding.inquiry.entry, &reply.addresses).await {
            Ok(()) => reply.bytes,
            Err(cause) => {
                match cause {
                    NotOpen::Unavailable => self.counters.garden_unavailable.add_one(),
                    NotOpen::Full => self.counters.garden_full.add_one(),
                }
                self.handler.failure(&forwarding)
            }
        }
    }

    fn landed(&self, forwarding: &Forwarding, landing: Landing) -> Option<Reply> {
        if let Landing::Message(message, failed) = landing {
            let stale = if failed { self.stale(forwarding) } else { None };
            if let Some(reply) =
                stale.or_else(|| self.handler.reply(forwarding, &message, Age::Seconds(0)))
            {
                self.counters.forwarded.add_one();
                return Some(reply);
            }
        }
        self.stale(forwarding)
    }

    /// An answer that is too old, counted.
    fn stale(&self, forwarding: &Forwarding) -> Option<Reply> {
        let inquiry = &forwarding.inquiry;
        let message = self.lookups.cache(inquiry).get_stale(&inquiry.key, Instant::now())?;
        let reply = self.handler.reply(forwarding, &message, Age::Stale(STALE_TTL_SECONDS))?;
        self.counters.forwarded_stale.add_one();
        Some(reply)
    }
}

impl Lookups {
    fn cache(&self, inquiry: &Inquiry) -> &Cache {
        if inquiry.made_up { &self.cache_made_up } else { &self.cache }
    }

    /// A place among those who wait for the answer. Whoever asks first takes the look-up slots.
    fn join(self: &Arc<Self>, forwarding: &Forwarding) -> Result<Ticket, NoSlot> {
        let inquiry = &forwarding.inquiry;
        self.flights.join(&inquiry.key, || {
            let made_up = inquiry.made_up.then(|| self.slots_made_up.take(inquiry.source));
            let made_up = made_up.transpose()?;
            let slots = (self.slots.take(inquiry.source)?, made_up);
            let (lookups, inquiry) = (Arc::clone(self), Arc::clone(inquiry));
            Ok(async move {
                let landing = lookups.ask(&inquiry).await;
                drop(slots);
                landing
            })
        })
    }

    async fn ask(&self, inquiry: &Inquiry) -> Landing {
        let Some(answer) = self.upstream.ask(inquiry).await else { return Landing::Nothing };
        // A failure does not push out what is old but better.
        let has_better =
            answer.failed && self.cache(inquiry).get_stale(&inquiry.key, Instant::now()).is_some();
        if inquiry.is_kept() && !has_better {
            let key = inquiry.key.clone();
            self.cache(inquiry).put(key, &answer.message, answer.seconds, Instant::now());
        }
        Landing::Message(answer.message, answer.failed)
    }
}
