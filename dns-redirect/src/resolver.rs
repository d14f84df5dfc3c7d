//! One question from its bytes to its answer, whatever socket it came by.
//!
//! It ties the parts together: the handler that reads and writes, the look-up slots, the upstream
//! resolvers, the counters. It promises that a question for which there is no slot is answered at
//! once, and that lies need no slot, so that a dead upstream never slows them.

use crate::cache::Cache;
use crate::counters::Counters;
use crate::handler::{Forwarding, Handler, Step, Transport};
use crate::slots::{NoSlot, Slot, Slots};
use crate::upstream::Upstream;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Everything that answers questions.
pub(crate) struct Resolver {
    pub(crate) handler: Handler,
    pub(crate) upstream: Upstream,
    pub(crate) cache: Cache,
    pub(crate) lookups: Arc<Slots>,
    /// Those of `lookups` that names may take which only a wildcard lets pass.
    pub(crate) lookups_made_up: Arc<Slots>,
    pub(crate) counters: Arc<Counters>,
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
    _slots: (Slot, Option<Slot>),
}

impl Resolver {
    /// What is to be done about `message`, that `source` sent.
    pub(crate) fn receive(&self, message: &[u8], source: SocketAddr, transport: Transport) -> Work {
        match self.handler.receive(message, source, transport) {
            Step::Drop => Work::Nothing,
            Step::Answer(answer) => Work::Send(answer),
            Step::Forward(forwarding) => self.forward(forwarding, source),
        }
    }

    fn forward(&self, forwarding: Box<Forwarding>, source: SocketAddr) -> Work {
        if let Some(answer) = self.kept(&forwarding) {
            self.counters.forwarded_from_cache.add_one();
            return Work::Send(answer);
        }
        match self.slots(&forwarding, source) {
            Ok(slots) => Work::LookUp(LookUp { forwarding, _slots: slots }),
            Err(limit) => {
                tracing::debug!(%source, ?limit, "no look-up slot");
                self.counters.forward_shed.add_one();
                Work::Send(self.handler.failure(&forwarding))
            }
        }
    }

    /// The answer, if an upstream resolver gave one a short time ago.
    fn kept(&self, forwarding: &Forwarding) -> Option<Vec<u8>> {
        let key = forwarding.cache_key.as_ref()?;
        let (mut message, age_seconds) = self.cache.get(key, Instant::now())?;
        self.handler.kept(forwarding, &mut message, age_seconds)
    }

    fn slots(
        &self,
        forwarding: &Forwarding,
        source: SocketAddr,
    ) -> Result<(Slot, Option<Slot>), NoSlot> {
        let made_up = forwarding.made_up().then(|| self.lookups_made_up.take(source));
        let made_up = made_up.transpose()?;
        Ok((self.lookups.take(source)?, made_up))
    }

    /// The answer to a question that is forwarded.
    pub(crate) async fn look_up(&self, look_up: LookUp) -> Vec<u8> {
        match self.upstream.ask(&self.handler, &self.cache, &look_up.forwarding).await {
            Some(answer) => {
                self.counters.forwarded.add_one();
                answer
            }
            None => {
                self.counters.forward_failed.add_one();
                self.handler.failure(&look_up.forwarding)
            }
        }
    }
}
