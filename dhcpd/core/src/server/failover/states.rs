//! From state to state: what brings one about, and what each has to do.
//!
//! A state is durable before the partner hears of it. The transitions themselves are
//! [`transition`](crate::failover::transition)'s.

use super::{Failover, seconds};
use crate::failover::transition::{on_disconnect, on_partner_state, on_update_done};
use crate::failover::{FailoverNotice, PartnerState, Role, State, StateMessage};
use crate::server::{Server, Step};
use crate::{Answer, Effect, Notice, Record, Timestamp};

impl Failover {
    /// When everything that this server's former self may have promised has run out, while it waits for
    /// that.
    pub(super) fn recovered_at(&self) -> Option<Timestamp> {
        let is_waiting = self.record.state == State::RecoverWait && self.starting_until.is_none();
        is_waiting.then(|| Timestamp::from_seconds(self.promises_end(0).into()))
    }
}

impl Server {
    /// Moves on where time alone does it.
    pub(super) fn tend_states(&mut self, step: &mut Step<'_>) {
        self.tend_link(step);
        let Some(failover) = self.failover.as_deref() else { return };
        let (starting, partner_down) = (failover.starting_until, failover.partner_down_at);
        if self.is_due(starting) {
            self.start_alone(step);
        }
        if self.is_due(partner_down) {
            self.enter(State::PartnerDown, step);
        }
        if self.is_due(self.failover.as_deref().and_then(Failover::recovered_at)) {
            self.enter(State::RecoverDone, step);
        }
    }

    /// Leaves the state of starting without having heard the partner.
    fn start_alone(&mut self, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref() else { return };
        let saved = failover.state();
        self.enter(on_disconnect(saved).unwrap_or(saved), step);
    }

    /// Goes into a state, also the one that it is in when it ends starting.
    pub(super) fn enter(&mut self, to: State, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let from = failover.state();
        let was_starting = failover.starting_until.take().is_some();
        failover.partner_down_at = None;
        failover.record.state = to;
        // Who waits goes on from where the waiting began. Who comes back from a restart and fetches what
        // the partner did knows what it promised, so the time since its old state counts.
        let goes_on =
            from == to || to == State::RecoverWait || (was_starting && to == State::Recover);
        if !goes_on {
            failover.record.since = seconds(now);
        }
        let record = failover.record;
        if to == State::CommunicationsInterrupted {
            let after = failover.configuration.auto_partner_down_seconds;
            failover.partner_down_at = after.map(|after| now.plus_seconds(after.into()));
        }
        if to == State::Normal {
            failover.requeue_refused(true, now);
            failover.share_at = Some(now);
        } else {
            failover.share_at = None;
            failover.sharing = None;
        }
        if from != to {
            if let Some(connection) = &mut failover.connection {
                connection.is_asked = false;
            }
            let notice = FailoverNotice::StateChanged { from, to, partner: record.partner };
            step.effects.push(Effect::Notice(Notice::Failover(notice)));
        }
        step.persist(Record::Failover(record));
        // While the partner recovered, this server gave out its addresses. The partner gives them to others
        // as soon as it hears NORMAL: it must have heard of every grant before.
        let is_back = record.partner == PartnerState::Known(State::RecoverDone);
        if let Some(failover) = self.failover.as_deref_mut()
            && let Some(connection) = &mut failover.connection
        {
            let waits = to == State::Normal && is_back && connection.session.is_up();
            connection.normal_after = waits.then_some(failover.waiting.len());
            if waits {
                return;
            }
        }
        self.announce_state(step);
        self.ask_for_updates();
    }

    /// Tells the partner that this server's state is NORMAL, once everything was sent that it has to know
    /// before.
    pub(super) fn announce_normal(&mut self, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(connection) = &mut failover.connection else { return };
        if connection.normal_after == Some(0) {
            connection.normal_after = None;
            self.announce_state(step);
        }
    }

    /// Tells the partner this server's state, unless it must not hear of it.
    pub(super) fn announce_state(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(connection) = &mut failover.connection else { return };
        if !connection.session.is_up() {
            return;
        }
        let is_secondary = failover.configuration.role == Role::Secondary;
        if is_secondary && !connection.is_heard {
            return;
        }
        // What an ISC dhcpd whose state is CONFLICT-DONE hears else ends its process.
        let is_conflict_done = failover.record.partner == PartnerState::Known(State::ConflictDone);
        if is_secondary && is_conflict_done {
            match failover.record.state {
                State::Normal
                | State::PotentialConflict
                | State::ResolutionInterrupted
                | State::Shutdown => {}
                State::RecoverWait => return,
                _ => return self.enter(State::PotentialConflict, step),
            }
        }
        connection.is_announced = true;
        let (state, since) = (failover.record.state, failover.record.since);
        let message = StateMessage::new(state, failover.starting_until.is_some(), since);
        failover.say(|session, effects| session.send_state(now, message, effects));
    }

    /// The partner says its state.
    pub(super) fn partner_state(&mut self, message: StateMessage, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        if let Some(connection) = &mut failover.connection {
            connection.is_heard = true;
        }
        let from = failover.record.partner;
        if from != message.state {
            failover.record.partner = message.state;
            failover.record.partner_since = seconds(now);
            step.persist(Record::Failover(failover.record));
            let notice = FailoverNotice::PartnerStateChanged { from, to: message.state };
            step.effects.push(Effect::Notice(Notice::Failover(notice)));
        }
        let (own, is_starting) = (failover.state(), failover.starting_until.is_some());
        match on_partner_state(own, is_starting, message.state, message.startup) {
            Some(next) => self.enter(next, step),
            None if is_starting => self.enter(own, step),
            None => {
                let is_announced = failover.connection.as_ref().is_some_and(|it| it.is_announced);
                if !is_announced {
                    self.announce_state(step);
                }
                self.ask_for_updates();
            }
        }
    }

    /// Asks the partner for what this state needs, once in a connection.
    fn ask_for_updates(&mut self) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let is_conflict_done = failover.record.partner == PartnerState::Known(State::ConflictDone);
        match (failover.record.state, failover.configuration.role) {
            (State::Recover, _) | (State::PotentialConflict, Role::Primary) => {}
            (State::PotentialConflict, Role::Secondary) if is_conflict_done => {}
            _ => return,
        }
        let is_starting = failover.starting_until.is_some();
        let Some(connection) = &mut failover.connection else { return };
        let may_ask = connection.is_heard && connection.is_announced && !connection.is_asked;
        if is_starting || !may_ask {
            return;
        }
        connection.is_asked = true;
        // Also to compare, where ISC dhcpd asks only for what was never acknowledged: a server that lost its
        // data and was told that its partner is down may have acknowledged nothing of what there is.
        failover.say(|session, effects| session.want_updates(now, true, effects));
    }

    /// The partner has sent everything that was asked for.
    pub(super) fn updates_have_come(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(connection) = &mut failover.connection else { return };
        if !std::mem::take(&mut connection.is_asked) {
            return;
        }
        let waited = seconds(now) >= failover.promises_end(0);
        let (state, role) = (failover.state(), failover.role());
        if let Some(next) = on_update_done(state, role, failover.record.partner, waited) {
            self.enter(next, step);
        }
    }

    /// The connection is gone, or another one takes its place.
    pub(super) fn lose_contact(&mut self, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(connection) = failover.connection.take() else { return };
        failover.requeue_under_way();
        failover.serving = None;
        // Before the handshake there was no contact.
        if connection.clock.is_none() {
            return;
        }
        step.effects.push(Effect::Notice(Notice::Failover(FailoverNotice::ContactLost)));
        let (state, is_starting) = (failover.state(), failover.starting_until.is_some());
        match on_disconnect(state) {
            Some(next) => self.enter(next, step),
            None if is_starting => self.enter(state, step),
            None => {}
        }
    }

    /// The operator says that the partner is down.
    pub(in crate::server) fn partner_is_down(
        &mut self,
        leases_lost: bool,
        step: &mut Step<'_>,
    ) -> Answer {
        match self.failover.as_deref() {
            None => Answer::NotPaired,
            Some(failover) if failover.is_connected() => Answer::PartnerIsConnected,
            // Its former self, or its partner, may have given out any address, and it does not know whom to.
            Some(failover)
                if !leases_lost
                    && matches!(failover.state(), State::Recover | State::RecoverWait) =>
            {
                Answer::LeasesNotKnown
            }
            Some(failover) => {
                let is_starting = failover.starting_until.is_some();
                if failover.state() != State::PartnerDown || is_starting {
                    self.enter(State::PartnerDown, step);
                }
                Answer::PartnerIsDown
            }
        }
    }
}
