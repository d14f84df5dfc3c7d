//! Telling the partner what has become of addresses, within its window, and serving what it asks for.

use super::{Binding, Failover, end_seconds};
use crate::failover::{BindingStatus, BindingUpdate, FailoverNotice, Reject, State};
use crate::server::{Server, Step};
use crate::{ClientIdentifier, Effect, Notice, Record};

/// Addresses that one step looks at to find those that a partner is to be sent that asked for all.
const ADDRESSES_LOOKED_AT_MAX: usize = 4096;

/// What the partner asked for and was not sent yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serving {
    /// The number of the request.
    xid: u32,
    /// From which address on it is to be sent everything; `None`: no more.
    next: Option<u32>,
    /// How many of the waiting addresses were waiting when it asked.
    waiting: usize,
    /// The number of the last update that it asked for, when all have been sent.
    last: Option<u32>,
}

impl Binding {
    /// The potential expiration that the partner is told. That of a lease which was learned from the
    /// partner is what was agreed: a smaller one would shorten its next lease for nothing.
    const fn told_expiration(self) -> u32 {
        match self.status {
            BindingStatus::Active if self.agreed_expiration > self.potential_expiration => {
                self.agreed_expiration
            }
            _ => self.potential_expiration,
        }
    }

    /// The partner may know it from now on.
    pub(super) fn note_sent(&mut self) {
        self.partner_saw = self.status;
        self.partner_expiration = self.partner_expiration.max(self.told_expiration());
    }
}

impl Failover {
    /// Whether the partner takes updates now.
    pub(super) fn may_send(&self) -> bool {
        let is_starting = self.starting_until.is_some();
        self.connection.as_ref().is_some_and(|connection| {
            connection.session.is_up()
                && connection.is_heard
                && (connection.is_announced || connection.normal_after.is_some())
                && !is_starting
                && (self.state() == State::Normal || connection.has_asked)
        })
    }

    /// Whether more of what the partner asked for can be sent.
    pub(super) fn serves_more(&self) -> bool {
        self.may_send() && self.serving.is_some_and(|serving| serving.next.is_some())
    }

    /// How many more updates the partner takes now.
    pub(super) fn window(&self) -> u32 {
        self.connection.as_ref().map_or(0, |connection| connection.session.window())
    }

    /// What is under way may not have come through: it waits again, before everything else.
    pub(super) fn requeue_under_way(&mut self) {
        for (xid, address) in std::mem::take(&mut self.under_way).into_iter().rev() {
            let mut binding = self.pair.get(address);
            // A newer update of the address may be under way, or none any more.
            if binding.xid != xid {
                continue;
            }
            binding.xid = 0;
            if !binding.is_acknowledged() && !binding.is_waiting() {
                binding.set_waiting(true);
                self.waiting.push_front(address);
            }
            self.pair.set(address, binding);
        }
    }
}

impl Server {
    /// The partner wants updates. A second request takes the place of the first.
    pub(super) fn updates_wanted(&mut self, xid: u32, all: bool) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        if let Some(connection) = &mut failover.connection {
            connection.has_asked = true;
        }
        failover.requeue_refused(true, now);
        let waiting = failover.waiting.len();
        let next = all.then_some(0);
        failover.serving = Some(Serving { xid, next, waiting, last: None });
    }

    /// Sends what waits and what was asked for, as far as the partner's window goes.
    pub(super) fn send_updates(&mut self, step: &mut Step<'_>) {
        let mut looked_at = 0;
        loop {
            let Some(failover) = self.failover.as_deref_mut() else { return };
            if !failover.may_send() || failover.window() == 0 {
                break;
            }
            if let Some(address) = failover.waiting.pop_front() {
                if let Some(serving) = &mut failover.serving {
                    serving.waiting = serving.waiting.saturating_sub(1);
                }
                if let Some(connection) = &mut failover.connection {
                    connection.normal_after =
                        connection.normal_after.map(|count| count.saturating_sub(1));
                }
                let mut binding = failover.pair.get(address);
                binding.set_waiting(false);
                failover.pair.set(address, binding);
                if !binding.is_acknowledged() {
                    self.send_update(address, step);
                }
                continue;
            }
            let Some(next) = failover.serving.and_then(|serving| serving.next) else { break };
            if looked_at == ADDRESSES_LOOKED_AT_MAX {
                break;
            }
            looked_at += 1;
            let address = self.topology.paired_from(next);
            let Some(failover) = self.failover.as_deref_mut() else { return };
            if let Some(serving) = &mut failover.serving {
                serving.next = address.and_then(|address| address.checked_add(1));
            }
            if let Some(address) = address {
                let binding = failover.pair.get(address);
                if binding.xid == 0 && !binding.is_waiting() {
                    self.send_update(address, step);
                }
            }
        }
        self.end_serving();
    }

    /// Says that everything was sent that was asked for, once the partner has answered it.
    fn end_serving(&mut self) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let Some(serving) = &mut failover.serving else { return };
        if serving.next.is_some() || serving.waiting > 0 {
            return;
        }
        let newest = failover.under_way.last_key_value().map(|(xid, _)| *xid);
        let last = *serving.last.get_or_insert(newest.unwrap_or(0));
        let xid = serving.xid;
        let is_answered = failover.under_way.first_key_value().is_none_or(|(xid, _)| *xid > last);
        if is_answered {
            failover.serving = None;
            failover.say(|session, effects| session.update_done(now, xid, effects));
        }
    }

    /// Sends what has become of an address, unless something else has to be said of it first.
    fn send_update(&mut self, address: u32, step: &mut Step<'_>) {
        if self.keep_for_promise(address, step) {
            // It waits now, behind what the partner asked for before.
            if let Some(failover) = self.failover.as_deref_mut()
                && let Some(serving) = &mut failover.serving
            {
                serving.waiting = failover.waiting.len();
            }
            return;
        }
        let update = self.update_of(address);
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let mut binding = failover.pair.get(address);
        let before = binding;
        binding.note_sent();
        let sent = failover.say(|session, effects| session.send_update(now, update, effects));
        let Some(xid) = sent.flatten() else { return };
        binding.xid = xid;
        failover.under_way.insert(xid, address);
        if before.is_over() {
            failover.over.remove(&(before.partner_expiration, address));
            failover.over.insert((binding.partner_expiration, address));
        }
        failover.pair.set(address, binding);
        // An address that was never touched needs no record: what the partner saw is what there is.
        if before.record(address) != binding.record(address) {
            step.persist(Record::PairBinding(binding.record(address)));
        }
    }

    /// What the partner is told of an address.
    fn update_of(&self, address: u32) -> BindingUpdate {
        let binding =
            self.failover.as_deref().map_or(Binding::UNTOUCHED, |it| it.pair.get(address));
        let mut update = BindingUpdate::new(address.into(), binding.status);
        let entry = self.book.entry(address);
        let is_free = matches!(binding.status, BindingStatus::Free | BindingStatus::Backup);
        // Nobody is known to have had it, or it must not be said who (ISC dhcpd refuses that).
        let is_nobodys = binding.status == BindingStatus::Abandoned
            || (is_free && entry.is_none_or(|entry| entry.hardware().is_zero()));
        if let Some(entry) = entry.filter(|_| !is_nobodys) {
            update.hardware = Some(entry.hardware());
            if let ClientIdentifier::Option61(bytes) = entry.client() {
                update.client_identifier = Some(bytes);
            }
        }
        update.lease_expiration = Some(entry.map_or(0, |entry| end_seconds(entry.ends())));
        update.potential_expiration = Some(binding.told_expiration());
        update.since = Some(binding.since);
        let contact = binding.client_last_transaction;
        update.client_last_transaction = (contact != 0 && !is_free).then_some(contact);
        update
    }

    /// The partner took or refused an update.
    pub(super) fn acknowledged(
        &mut self,
        xid: u32,
        address: u32,
        reject: Option<Reject>,
        step: &mut Step<'_>,
    ) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        failover.under_way.remove(&xid);
        let mut binding = failover.pair.get(address);
        // What was sent is no longer what there is.
        if binding.xid != xid {
            return;
        }
        binding.xid = 0;
        if let Some(reject) = reject {
            failover.pair.set(address, binding);
            let is_so = !binding.is_acknowledged();
            failover.disagreement.refused(address, reject, is_so, now);
            let status = binding.status;
            let address = address.into();
            let notice = FailoverNotice::UpdateRefusedByPartner { address, status, reject };
            step.effects.push(Effect::Notice(Notice::Failover(notice)));
            return;
        }
        failover.disagreement.taken(address);
        // An address of which nothing was ever known: that it is free is nothing new.
        if binding == Binding::UNTOUCHED {
            failover.pair.set(address, binding);
            return;
        }
        binding.agreed_expiration = binding.told_expiration();
        binding.partner_expiration = binding.agreed_expiration;
        binding.partner_saw = binding.status.settled();
        binding.set_acknowledged(true);
        let was_over = binding.is_over();
        binding.status = binding.status.settled();
        if was_over {
            self.give_to_its_server(address, &mut binding);
        }
        self.write_binding(address, binding, step);
    }
}
