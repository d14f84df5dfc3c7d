//! The barrier's loop. See the [module](super).

use super::limits::{
    GATE_RETRY_INTERVAL, GROUP_STEPS_MAX, WAITING_FOR_GATE_LIFETIME, WAITING_FOR_GATE_MAX,
};
use super::outbox::Envelope;
use super::work::{GateReplacement, HeldAnswer, HeldReply, Work};
use crate::events::{EVENTS_WAITING_MAX, Packed};
use crate::failover::ToPartner;
use crate::metrics::Metrics;
use crate::net::Outgoing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::{Duration, Instant};
use vestibule_core::{EthernetAddress, GateChange, GateContents, Reason, Record, Sequence, Side};

/// Stable storage.
pub trait Stable {
    /// Why it failed.
    type Error: fmt::Display;

    /// Writes the records and syncs once. When it returns, they survive a power cut.
    ///
    /// # Errors
    /// After an error nothing may be acknowledged any more, ever.
    fn commit(&mut self, records: &[Record]) -> Result<(), Self::Error>;

    /// The number of the last durable frame: how far an index that is told everything has come.
    fn frame_number(&self) -> u64;

    /// Does what has to be done between two groups (snapshots).
    ///
    /// # Errors
    /// As for [`Stable::commit`].
    fn between_groups(&mut self) -> Result<(), Self::Error>;
}

/// The kernel sets.
pub trait Enforcement {
    /// Why it failed.
    type Error: fmt::Display;

    /// Carries out all changes in one transaction, then forgets the flows that they name.
    ///
    /// # Errors
    /// After an error the sets are as they were, or unknown.
    fn apply(&mut self, changes: &[GateChange]) -> Result<(), Self::Error>;

    /// Replaces the contents of the sets in one transaction.
    ///
    /// # Errors
    /// As for [`Enforcement::apply`].
    fn replace(&mut self, contents: &GateContents) -> Result<(), Self::Error>;
}

/// Where things go once they are true.
pub trait Outlet {
    /// Sends the replies, in order.
    fn send(&mut self, replies: &[(Envelope, Outgoing<'_>)]);
    /// Tells whoever follows the leases (the index) what is durable now, and the number of its last
    /// frame. Must not wait.
    fn tell(&mut self, frame_number: u64, records: &[Record]);
    /// Tells what happened, once it is durable and in the kernel; called for each group, also if nothing
    /// did. `missed`: events that had to be let go before these. Must not wait.
    fn happened(&mut self, _frame_number: u64, _missed: u64, _events: &mut Packed) {}
    /// Does what is to be done with the failover partner's connection, in order, now that what it says is
    /// durable and the clients have their replies. Must not wait.
    fn tell_partner(&mut self, _errands: &mut dyn Iterator<Item = ToPartner>) {}
    /// Tells those who enforce the gate elsewhere what is durable now: the changes in the order of
    /// their decisions, when the oldest was decided, and from when on their remaining times count.
    /// Must not wait.
    fn tell_gate(
        &mut self,
        _decided: Instant,
        _now: Instant,
        _changes: &mut dyn Iterator<Item = GateChange>,
    ) {
    }
    /// Tells the core that everything up to here is durable.
    fn committed(&mut self, through: Sequence);
    /// Asks the core for the whole of the kernel sets.
    fn gate_lost(&mut self);
    /// Takes back the memory of a turn that is done, emptied. Must not wait.
    fn give_back(&mut self, _spent: Work) {}
}

/// Stable storage failed: the process ends with this as its last word.
#[derive(Debug, PartialEq, Eq)]
pub struct CommitError {
    message: String,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommitError {}

/// A reply that waits for the kernel sets.
struct Waiting {
    since: Instant,
    reply: HeldReply,
}

/// The one owner of stable storage and kernel sets.
pub struct Barrier<S, E, O> {
    stable: S,
    /// `None`: the gate is off, and nothing is enforced.
    enforcement: Option<E>,
    outlet: O,
    metrics: Arc<Metrics>,
    gate_is_broken: bool,
    /// When the core was last asked for the whole of the kernel sets.
    gate_asked: Instant,
    gate_retry_interval: Duration,
    /// Addresses whose flows could not be forgotten with the change that asked for it.
    flows_owed: BTreeSet<Ipv4Addr>,
    waiting: VecDeque<Waiting>,
    /// Answers that wait for the kernel sets, for as long as somebody waits for them.
    waiting_answers: Vec<HeldAnswer>,
    /// Events that wait for the kernel sets, and how many had to be let go before them.
    waiting_events: (u64, Packed),
    /// What time it is; another one than the machine's only where a whole run is simulated.
    time: Box<dyn Fn() -> Instant + Send>,
}

impl<S: Stable, E: Enforcement, O: Outlet> Barrier<S, E, O> {
    /// A barrier over storage and kernel sets that are in order.
    pub fn new(stable: S, enforcement: Option<E>, outlet: O, metrics: Arc<Metrics>) -> Self {
        Self {
            stable,
            enforcement,
            outlet,
            metrics,
            gate_is_broken: false,
            gate_asked: Instant::now(),
            gate_retry_interval: GATE_RETRY_INTERVAL,
            flows_owed: BTreeSet::new(),
            waiting: VecDeque::new(),
            waiting_answers: Vec::new(),
            waiting_events: (0, Packed::default()),
            time: Box::new(Instant::now),
        }
    }

    /// The same by another clock, which must not go back: for a run that is simulated.
    #[must_use]
    pub fn with_time(mut self, time: impl Fn() -> Instant + Send + 'static) -> Self {
        self.gate_asked = time();
        self.time = Box::new(time);
        self
    }

    /// Commits group after group until all senders are gone and nothing is left.
    ///
    /// # Errors
    /// [`CommitError`] if stable storage fails: at once, with nothing released that depends on it.
    pub fn run(mut self, work: &Receiver<Work>) -> Result<(), CommitError> {
        let mut group = Vec::new();
        while self.next_group(work, &mut group) {
            self.commit(&mut group)?;
        }
        Ok(())
    }

    /// Commits one group, the turns in the order of their decisions, and releases what may leave.
    /// [`Barrier::run`] does nothing else, over and over.
    ///
    /// # Errors
    /// As for [`Barrier::run`]; the barrier is of no use any more then.
    pub fn commit_group(&mut self, mut group: Vec<Work>) -> Result<(), CommitError> {
        self.commit(&mut group)
    }

    /// Asks for the whole of the kernel sets again if they are broken and it is time to. How long it is
    /// until the next try; `None` while the sets are right.
    pub fn retry_gate(&mut self) -> Option<Duration> {
        if !self.gate_is_broken {
            return None;
        }
        // By the time since the last try, not by silence: under load there is always work.
        if self.since(self.gate_asked) >= self.gate_retry_interval {
            self.give_up_the_old();
            self.ask_for_the_gate();
        }
        Some(self.gate_retry_interval.saturating_sub(self.since(self.gate_asked)))
    }

    /// Replies and answers that wait for the kernel sets.
    #[must_use]
    pub fn waiting_for_gate(&self) -> usize {
        self.waiting.len() + self.waiting_answers.len()
    }

    fn since(&self, then: Instant) -> Duration {
        (self.time)().saturating_duration_since(then)
    }

    /// Takes everything that waits, up to the limit; waits if there is nothing. False at the end.
    fn next_group(&mut self, work: &Receiver<Work>, group: &mut Vec<Work>) -> bool {
        let first = loop {
            let Some(rest) = self.retry_gate() else {
                match work.recv() {
                    Ok(first) => break first,
                    Err(RecvError) => return false,
                }
            };
            match work.recv_timeout(rest) {
                Ok(first) => break first,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        let mut steps = first.steps;
        group.push(first);
        while steps < GROUP_STEPS_MAX
            && let Ok(next) = work.try_recv()
        {
            steps += next.steps;
            group.push(next);
        }
        true
    }

    /// One group, from the kernel sets to the release.
    fn commit(&mut self, group: &mut Vec<Work>) -> Result<(), CommitError> {
        let gate_changes: usize = group.iter().map(|work| work.gate.len()).sum();
        let started = (self.time)();
        let decided = group.iter().filter_map(|work| work.decided).min().unwrap_or(started);
        for work in &mut *group {
            work.age(started);
        }
        let aged = started;
        let gate_was_replaced = self.enforce(group);
        let gate = self.since(started);

        let mut records = Vec::new();
        for work in &mut *group {
            if records.is_empty() {
                std::mem::swap(&mut records, &mut work.records);
            } else {
                records.append(&mut work.records);
            }
        }
        let started = (self.time)();
        if !records.is_empty() {
            self.stable.commit(&records).map_err(last_word)?;
        }
        let sync = self.since(started);
        if gate_changes > 0 {
            let mut changes = group.iter().flat_map(|work| work.gate.iter().copied());
            self.outlet.tell_gate(decided, aged, &mut changes);
        }
        if !records.is_empty() || gate_changes > 0 {
            let enforced = if self.enforcement.is_some() { gate_changes } else { 0 };
            self.metrics.committed(records.len(), enforced, gate, sync);
        }

        let sequence = group.iter().filter_map(|work| work.sequence).max();
        let mut freed = Vec::new();
        let mut answers = Vec::new();
        if gate_was_replaced {
            freed.extend(self.waiting.drain(..).map(|waiting| waiting.reply));
            answers.append(&mut self.waiting_answers);
        }
        let since = (self.time)();
        for work in &mut *group {
            if self.gate_is_broken {
                let held = work.replies.take_those_that_need_the_gate();
                self.waiting.extend(held.into_iter().map(|reply| Waiting { since, reply }));
                self.waiting_answers.append(&mut work.answers);
            } else {
                answers.append(&mut work.answers);
            }
        }
        self.give_up_the_old();
        self.release(group, &freed, answers);
        let mut errands = group.iter_mut().flat_map(|work| work.to_partner.drain(..)).peekable();
        if errands.peek().is_some() {
            self.outlet.tell_partner(&mut errands);
        }
        drop(errands);
        self.tell_events(group);
        if let Some(sequence) = sequence {
            self.outlet.committed(sequence);
        }
        if !records.is_empty() {
            self.outlet.tell(self.stable.frame_number(), &records);
        }
        for mut work in group.drain(..) {
            std::mem::swap(&mut work.records, &mut records);
            work.clear();
            self.outlet.give_back(work);
        }
        self.stable.between_groups().map_err(last_word)
    }

    /// Brings the group's changes into the kernel. Whether the sets were replaced as a whole, so that
    /// everything that waited for them may go.
    fn enforce(&mut self, group: &mut [Work]) -> bool {
        let Some(enforcement) = &mut self.enforcement else { return true };
        let was_broken = self.gate_is_broken;
        let mut was_replaced = false;
        let mut failure: Option<String> = None;
        // Changes up to a replacement belong before it: it was computed with them in mind, and they
        // may name flows that have to go.
        let mut changes: Vec<GateChange> = Vec::new();
        for work in &mut *group {
            let Some(replacement) = work.gate_replace.take() else {
                changes.extend_from_slice(&work.gate);
                continue;
            };
            let GateReplacement { changes_before, contents } = replacement;
            let (before, after) = work.gate.split_at(changes_before.min(work.gate.len()));
            changes.extend_from_slice(before);
            self.flows_owed.extend(
                changes.drain(..).filter(|change| change.forget_flows).map(|change| change.address),
            );
            match enforcement.replace(&contents) {
                Ok(()) => {
                    self.metrics.gate_reconcile();
                    self.gate_is_broken = false;
                    was_replaced = true;
                    changes = owed_changes(&mut self.flows_owed, &contents);
                }
                Err(error) => {
                    self.gate_is_broken = true;
                    failure = Some(error.to_string());
                }
            }
            changes.extend_from_slice(after);
        }
        if !changes.is_empty()
            && !self.gate_is_broken
            && let Err(error) = enforcement.apply(&changes)
        {
            self.gate_is_broken = true;
            was_replaced = false;
            failure = Some(error.to_string());
        }
        if self.gate_is_broken {
            let owed = changes.iter().filter(|change| change.forget_flows);
            self.flows_owed.extend(owed.map(|change| change.address));
        }
        if let Some(error) = failure {
            self.metrics.gate_failure();
            if was_broken {
                tracing::debug!(%error, "the kernel sets still cannot be changed");
            } else {
                tracing::error!(
                    %error,
                    "the kernel sets cannot be changed; replies that need them are held back while they are tried again"
                );
                self.ask_for_the_gate();
            }
        } else if was_broken && !self.gate_is_broken {
            tracing::info!("the kernel sets are right again");
        }
        was_replaced
    }

    fn ask_for_the_gate(&mut self) {
        self.gate_asked = (self.time)();
        self.outlet.gate_lost();
    }

    /// Lets go of what may leave: `freed` has waited for the kernel sets, the group's replies come after.
    fn release(&mut self, group: &mut [Work], freed: &[HeldReply], answers: Vec<HeldAnswer>) {
        let now = (self.time)();
        let metrics = &self.metrics;
        let is_timely = |(envelope, _): &(Envelope, Outgoing<'_>)| {
            // A disk or a kernel that stood still: the address may be somebody else's by now, and
            // many clients count a lease from the moment that its ACK comes.
            let is_late = envelope.lease_ends.is_some_and(|ends| ends <= now);
            if is_late {
                metrics.unanswered(Reason::Overload);
            }
            !is_late
        };
        let replies: Vec<(Envelope, Outgoing<'_>)> = freed
            .iter()
            .map(|held| (held.envelope, held.outgoing()))
            .chain(group.iter().flat_map(|work| work.replies.iter()))
            .filter(is_timely)
            .collect();
        if !replies.is_empty() {
            self.outlet.send(&replies);
        }
        // Whoever asked may have gone meanwhile; what was asked for is true all the same.
        for held in answers {
            let _gone = held.to.send(held.answer);
        }
        for work in group {
            for barrier in work.barriers.drain(..) {
                let _gone = barrier.send(());
            }
        }
        self.metrics.replies_held(self.waiting.len());
    }

    /// Tells what happened in the group, or keeps it while the kernel sets are not right.
    fn tell_events(&mut self, group: &mut [Work]) {
        let (missed, events) = &mut self.waiting_events;
        for work in group {
            events.append(&mut work.events);
        }
        if !self.gate_is_broken {
            self.outlet.happened(self.stable.frame_number(), *missed, events);
            events.clear();
            *missed = 0;
        } else if events.len() > EVENTS_WAITING_MAX {
            *missed += events.len() as u64;
            events.clear();
        }
    }

    /// Drops replies whose clients have asked again meanwhile, and the oldest if there are too many.
    /// Answers stay for as long as their callers wait for them; the API limits how many can.
    fn give_up_the_old(&mut self) {
        let now = (self.time)();
        while let Some(oldest) = self.waiting.front()
            && (self.waiting.len() > WAITING_FOR_GATE_MAX
                || now.saturating_duration_since(oldest.since) >= WAITING_FOR_GATE_LIFETIME)
        {
            self.waiting.pop_front();
            self.metrics.unanswered(Reason::GateUnavailable);
        }
        self.waiting_answers.retain(|held| !held.to.is_closed());
    }
}

impl<S, E, O> fmt::Debug for Barrier<S, E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("gate_is_broken", &self.gate_is_broken)
            .field("waiting", &self.waiting.len())
            .field("waiting_answers", &self.waiting_answers.len())
            .finish_non_exhaustive()
    }
}

/// Changes that leave the sets as the replacement made them and forget the flows that are owed.
fn owed_changes(owed: &mut BTreeSet<Ipv4Addr>, contents: &GateContents) -> Vec<GateChange> {
    let owed = std::mem::take(owed);
    if owed.is_empty() {
        return Vec::new();
    }
    let holders: BTreeMap<Ipv4Addr, EthernetAddress> =
        contents.holders.iter().filter(|(address, _)| owed.contains(address)).copied().collect();
    let sides: BTreeMap<Ipv4Addr, (Side, u64)> = contents
        .elements
        .iter()
        .filter(|(address, ..)| owed.contains(address))
        .map(|(address, side, milliseconds)| (*address, (*side, *milliseconds)))
        .collect();
    owed.into_iter()
        .map(|address| GateChange {
            address,
            side: sides.get(&address).copied(),
            forget_flows: true,
            holder: holders.get(&address).copied(),
        })
        .collect()
}

fn last_word(error: impl fmt::Display) -> CommitError {
    CommitError { message: error.to_string() }
}

#[cfg(test)]
mod tests;
