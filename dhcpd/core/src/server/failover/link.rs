//! What the connection to the partner brings, and what leaves by it.

use super::clock::ClockDifference;
use super::{Connection, Failover, Outgoing};
use crate::failover::session::{Said, SessionEffect, Settings};
use crate::failover::{
    Body, CloseReason, FailoverNotice, PartnerEffect, PartnerInput, Session, Terms,
};
use crate::server::{Server, Step};
use crate::{Effect, Notice, Release, Timestamp};

/// What this server says that it is: [`OWN_VENDOR`](crate::failover::session::OWN_VENDOR) and its version.
const VENDOR: &[u8] = concat!("vestibule-", env!("CARGO_PKG_VERSION")).as_bytes();

impl Failover {
    fn settings(&self) -> Settings {
        let configuration = &self.configuration;
        Settings {
            role: configuration.role,
            relationship: configuration.relationship.as_bytes().into(),
            unacknowledged_max: configuration.unacknowledged_max,
            receive_timer_seconds: configuration.receive_timer_seconds,
            mclt_seconds: configuration.mclt_seconds,
            hash_buckets: configuration.hash_buckets,
            vendor: VENDOR.into(),
        }
    }

    /// Has the session say something, if there is one.
    pub(super) fn say<T>(
        &mut self,
        what: impl FnOnce(&mut Session, &mut Vec<SessionEffect>) -> T,
    ) -> Option<T> {
        let connection = self.connection.as_mut()?;
        let mut effects = Vec::new();
        let said = what(&mut connection.session, &mut effects);
        for effect in effects {
            // Whatever is started from here is only sent.
            if let SessionEffect::Send(message) = effect {
                self.outgoing.push(Outgoing::Message(message));
            }
        }
        Some(said)
    }
}

impl Server {
    pub(in crate::server) fn partner(&mut self, input: PartnerInput, step: &mut Step<'_>) {
        if self.failover.is_none() {
            return;
        }
        match input {
            PartnerInput::Connected => {
                self.lose_contact(step);
                let now = self.now;
                let Some(failover) = self.failover.as_deref_mut() else { return };
                let mut effects = Vec::new();
                let session = Session::open(failover.settings(), now, &mut effects);
                failover.connection = Some(Connection {
                    session,
                    is_heard: false,
                    is_announced: false,
                    normal_after: None,
                    is_asked: false,
                    has_asked: false,
                    clock: None,
                });
                self.happened_on_link(effects, step);
            }
            PartnerInput::Said(message) => {
                let now = self.now;
                let Some(failover) = self.failover.as_deref_mut() else { return };
                let Some(connection) = &mut failover.connection else { return };
                let ahead = ClockDifference::of(&message, now);
                let mut effects = Vec::new();
                connection.session.receive(now, message, false, &mut effects);
                if connection.session.is_up() {
                    let clock = connection.clock.get_or_insert(ClockDifference::new(ahead, now));
                    clock.show(ahead, now);
                    failover.clock_ahead_seconds = Some(clock.ahead_seconds());
                    failover.clock_seen_ahead_seconds = failover.clock_ahead_seconds;
                } else if connection.clock.is_none() {
                    failover.clock_seen_ahead_seconds = Some(ahead);
                }
                self.happened_on_link(effects, step);
            }
            PartnerInput::Disconnected => self.lose_contact(step),
        }
    }

    /// Lets the session do what is due.
    pub(super) fn tend_link(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(connection) = &mut failover.connection else { return };
        if connection.session.next_tick().is_some_and(|next| next <= now) {
            let mut effects = Vec::new();
            connection.session.tick(now, &mut effects);
            self.happened_on_link(effects, step);
        }
    }

    fn happened_on_link(&mut self, effects: Vec<SessionEffect>, step: &mut Step<'_>) {
        for effect in effects {
            match effect {
                SessionEffect::Send(message) => {
                    if let Some(failover) = self.failover.as_deref_mut() {
                        failover.outgoing.push(Outgoing::Message(message));
                    }
                }
                SessionEffect::Up(terms) => self.meet(terms, step),
                SessionEffect::Said(said) => self.hear(said, step),
                SessionEffect::Close(reason) => self.close(reason, step),
            }
        }
    }

    fn close(&mut self, reason: CloseReason, step: &mut Step<'_>) {
        if let Some(failover) = self.failover.as_deref_mut() {
            failover.outgoing.push(Outgoing::Close(reason));
            let is_met = failover.connection.as_ref().is_some_and(|it| it.clock.is_some());
            if !is_met && reason != CloseReason::Duplicate {
                failover.trouble = Some(reason);
            }
        }
        self.lose_contact(step);
    }

    /// The handshake is done.
    fn meet(&mut self, terms: Terms, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref_mut() else { return };
        failover.corrects_times = terms.corrects_times;
        failover.trouble = None;
        failover.disagreement.met();
        let record = failover.record;
        if let Some(mclt_seconds) = terms.mclt_seconds {
            failover.record.mclt_seconds = mclt_seconds;
        }
        if let Some(buckets) = terms.hash_buckets {
            failover.record.hash_buckets = Some(buckets);
        }
        let notice = FailoverNotice::Connected {
            mclt_seconds: failover.record.mclt_seconds,
            clock_ahead_seconds: failover.clock_ahead_seconds.unwrap_or(0),
        };
        if record != failover.record {
            step.persist(crate::Record::Failover(failover.record));
        }
        step.effects.push(Effect::Notice(Notice::Failover(notice)));
        // A secondary first hears what the primary's state is: there are states of which an ISC dhcpd that
        // is in another one must not hear. The primary never waits for that.
        if failover.role() == crate::failover::Role::Primary {
            self.announce_state(step);
        }
    }

    fn hear(&mut self, said: Said, step: &mut Step<'_>) {
        match said {
            Said::State(state) => self.partner_state(state, step),
            Said::Update { xid, update } => self.take_update(xid, &update, step),
            Said::Acknowledged { xid, address, reject } => {
                self.acknowledged(xid, address.into(), reject, step);
            }
            Said::UpdatesWanted { xid, all } => self.updates_wanted(xid, all),
            Said::UpdateDone => self.updates_have_come(step),
            Said::PoolWanted { xid } => self.pool_wanted(xid, step),
            // It is said in updates of their own which addresses those are.
            Said::PoolGiven(_) => {}
        }
    }

    /// Hands out what leaves with this step. What speaks of something durable leaves after the commit of
    /// everything that was decided until now.
    pub(super) fn send_outgoing(&mut self, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref_mut() else { return };
        if failover.outgoing.is_empty() {
            return;
        }
        let durable = if step.has_durable {
            Release::AfterCommit(step.sequence)
        } else if self.sequence > self.committed {
            Release::AfterCommit(self.sequence)
        } else {
            Release::Immediately
        };
        for outgoing in failover.outgoing.drain(..) {
            let effect = match outgoing {
                Outgoing::Close(reason) => PartnerEffect::Close(reason),
                Outgoing::Message(message) => {
                    let release = if speaks_of_durable(&message.body) {
                        durable
                    } else {
                        Release::Immediately
                    };
                    PartnerEffect::Send { message: Box::new(message), release }
                }
            };
            step.effects.push(Effect::Partner(effect));
        }
    }

    /// When a wake-up for the link is due.
    pub(super) fn is_due(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }
}

const fn speaks_of_durable(body: &Body) -> bool {
    match body {
        Body::State(_)
        | Body::BindingUpdate(_)
        | Body::BindingAcknowledgement { .. }
        | Body::UpdateDone
        | Body::PoolResponse { .. } => true,
        Body::Connect(_)
        | Body::ConnectAcknowledgement(_)
        | Body::Contact
        | Body::Disconnect(_)
        | Body::PoolRequest
        | Body::UpdateRequest
        | Body::UpdateRequestAll => false,
    }
}
