//! The decide thread: receives, decodes, asks the core, and sends what promises nothing durable.
//!
//! ```text
//! sockets -> decode -> core -> OFFER, NAK, INFORM: encode, send
//!    ^                   |
//!  calls of the API      +---> everything else: encode, hand to the barrier
//! ```
//!
//! It works in turns: what has come in is received and decided, and then what was decided goes to the
//! barrier as one, and what waits for nothing is sent as one. It is the only thread that touches the core.
//! It never waits for the disk, for the kernel sets or for the API; it sleeps in one place, where packets,
//! calls and the barrier all wake it.
//!
//! When more comes in than it can decide, packets wait in the [`Admission`], which says by rule who is
//! served next and who is shed; when far more comes in, the kernel throws DISCOVERs away unread (`overload`). Nothing waits without a limit: `docs/packets.md` says how long at most.

mod overload;
mod partner;
mod quiet;
mod told;
mod traced;

use crate::clock::Clock;
use crate::commit::{Envelope, GateReplacement, HeldAnswer, Outbox, Work};
use crate::door::Call;
use crate::failover::FromPartner;
use crate::metrics::Metrics;
use crate::net::{Outgoing, Receiver, Sender};
use crate::trace::Traces;
use crate::wire;
use partner::Partner;
pub(crate) use quiet::Quiet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
pub use told::Told;
use traced::Subject;
use vestibule_core::options::code;
use vestibule_core::sieve::LOOK_MILLISECONDS;
use vestibule_core::{
    Admission, Answer, Codes, Command, Effect, Effects, Input, Notice, Reason, Release, Reply,
    Request, Sequence, Server, Sieve, Ticket, Timestamp, Unanswered,
};

/// Calls that are served between two batches of packets at most.
const CALLS_PER_TURN_MAX: usize = 64;

/// Steps that may wait for the barrier before calls have to wait too.
const STEPS_WAITING_FOR_CALLS_MAX: u64 = 1024;

/// Steps that may wait for the barrier before packets have to wait too: two groups of it. So what is
/// decided is durable three groups later at the latest, and what is not decided yet is shed by rule.
const STEPS_WAITING_FOR_PACKETS_MAX: u64 = 2 * crate::commit::GROUP_STEPS_MAX as u64;

/// Packets that are decided in one turn at most.
const PACKETS_DECIDED_PER_TURN_MAX: usize = 256;

/// Packets that are taken from the sockets in one turn at most: several times as many as can be decided,
/// because the kernel would drop choices and renewals like everything else, and an OFFER is lost work
/// when its REQUEST is dropped.
const PACKETS_RECEIVED_PER_TURN_MAX: usize = 4 * PACKETS_DECIDED_PER_TURN_MAX;

/// The longest sleep: a bound for what a lost wake-up could cost.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The same while the kernel throws packets away: when the storm is over, that has to end.
const SLEEP_WHILE_SIEVED_MAX: Duration = Duration::from_millis(LOOK_MILLISECONDS);

/// Everything that the decide thread owns.
#[derive(Debug)]
pub struct Decide {
    /// The core.
    pub server: Server,
    /// The time that it is told.
    pub clock: Clock,
    /// Where packets come from.
    pub receiver: Receiver,
    /// Where replies go that wait for nothing.
    pub sender: Sender,
    /// Calls through the door.
    pub calls: tokio::sync::mpsc::Receiver<Call>,
    /// What the failover partner's connection brings; `None`: this server is alone.
    pub partner: Option<tokio::sync::mpsc::Receiver<FromPartner>>,
    /// What the barrier and the gate's watch tell.
    pub told: Arc<Told>,
    /// The way to the barrier.
    pub work: SyncSender<Work>,
    /// Turns that the barrier is done with, emptied: their memory is used again.
    pub spent: std::sync::mpsc::Receiver<Work>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set, then woken, when the server shall end.
    pub stop: Arc<AtomicBool>,
}

impl Decide {
    /// Works until it is told to stop, or until the barrier is gone.
    pub fn run(self) {
        let Self {
            server,
            clock,
            receiver,
            sender,
            calls,
            partner,
            told,
            work,
            spent,
            metrics,
            stop,
        } = self;
        let now = clock.now();
        let mut turn = Turn {
            kept_options: server.kept_options(),
            server,
            clock,
            now,
            instant: Instant::now(),
            sender,
            told,
            to_barrier: work,
            spent,
            work: Work::default(),
            metrics,
            effects: Effects::new(),
            ready: Outbox::default(),
            admission: Admission::new(),
            sieve: Sieve::new(),
            tickets: BTreeMap::new(),
            ticket_next: 0,
            wake: None,
            committed: Sequence::default(),
            partner: Partner::default(),
            traces: Traces::default(),
            subject: Subject::default(),
            quiet: Quiet::default(),
            barrier_is_gone: false,
        };
        turn.work_until(&stop, receiver, calls, partner);
    }
}

/// The state of the loop.
struct Turn {
    server: Server,
    /// The options that the classes of the configuration look at.
    kept_options: Codes,
    clock: Clock,
    /// The time of this turn.
    now: Timestamp,
    instant: Instant,
    sender: Sender,
    told: Arc<Told>,
    to_barrier: SyncSender<Work>,
    spent: std::sync::mpsc::Receiver<Work>,
    /// What was decided and is not handed over yet.
    work: Work,
    metrics: Arc<Metrics>,
    effects: Effects,
    /// Replies that wait for nothing.
    ready: Outbox,
    /// Packets that wait because more come in than can be decided at once.
    admission: Admission,
    /// What the kernel lets through.
    sieve: Sieve,
    /// Who waits for the answer to a command.
    tickets: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    ticket_next: u64,
    wake: Option<Timestamp>,
    committed: Sequence,
    partner: Partner,
    traces: Traces,
    /// Whom the step is about that is being taken.
    subject: Subject,
    quiet: Quiet,
    barrier_is_gone: bool,
}

impl Turn {
    fn work_until(
        &mut self,
        stop: &AtomicBool,
        mut receiver: Receiver,
        mut calls: tokio::sync::mpsc::Receiver<Call>,
        mut partner: Option<tokio::sync::mpsc::Receiver<FromPartner>>,
    ) {
        let mut requests: Vec<Request> = Vec::new();
        let mut some_are_left = false;
        while !stop.load(Ordering::Acquire) && !self.barrier_is_gone {
            let sleep = if some_are_left { Duration::ZERO } else { self.sleep() };
            if let Err(error) = receiver.wait(Some(sleep)) {
                tracing::error!(%error, "cannot wait for packets");
                break;
            }
            self.now = self.clock.now();
            self.instant = Instant::now();
            self.listen();
            self.receive(&mut receiver, &mut requests);
            self.decide(&mut requests);
            self.sieve(&mut receiver);
            some_are_left = self.serve(&mut calls);
            some_are_left |= self.hear_partner(partner.as_mut());
            if self.wake.is_some_and(|wake| wake <= self.now) {
                self.wake = None;
                self.step(Input::Tick);
            }
            self.hand_over();
            self.send_ready();
        }
        // What was decided is committed and answered, also at the end.
        let rest = std::mem::take(&mut self.work);
        if !rest.is_empty() && !self.barrier_is_gone {
            let _barrier_is_gone = self.to_barrier.send(rest);
        }
    }

    /// How long nothing is to be done unless something comes in.
    fn sleep(&self) -> Duration {
        let has_room = self.waiting_for_barrier() < STEPS_WAITING_FOR_PACKETS_MAX;
        if !self.admission.is_empty() && has_room {
            return Duration::ZERO;
        }
        let is_behind = self.waiting_for_barrier() >= STEPS_WAITING_FOR_CALLS_MAX;
        // The barrier wakes this thread when it has caught up.
        if (is_behind || !self.work.is_empty()) && self.told.wait_beyond(self.committed) {
            return Duration::ZERO;
        }
        let longest = if self.sieve.mesh().is_open() { SLEEP_MAX } else { SLEEP_WHILE_SIEVED_MAX };
        self.wake.map_or(longest, |wake| self.clock.until(wake).min(longest))
    }

    /// Steps that are decided and not known to be durable.
    fn waiting_for_barrier(&self) -> u64 {
        self.server.sequence().0.saturating_sub(self.committed.0)
    }

    fn listen(&mut self) {
        let through = self.told.durable();
        if through > self.committed {
            self.committed = through;
            self.step(Input::Committed(through));
        }
        if self.told.take_gate_lost() {
            self.step(Input::GateLost);
        }
    }

    /// Takes in and decodes what has come: one batch of each socket, and if that is not all, everything up
    /// to the limit of a turn. What cannot be decided in this turn, by rule, waits.
    fn receive(&mut self, receiver: &mut Receiver, requests: &mut Vec<Request>) {
        let metrics = &self.metrics;
        let kept = self.kept_options;
        let mut received = 0;
        loop {
            let count = receiver.receive(|bytes, arrival| {
                match bytes.and_then(|bytes| wire::decode_keeping(bytes, arrival, &kept)) {
                    Ok(request) => {
                        metrics.received(request.message_type);
                        requests.push(request);
                    }
                    Err(reason) => {
                        metrics.unanswered(reason);
                        tracing::debug!(%reason, from = %arrival.source, "not decoded");
                    }
                }
            });
            received += count;
            let is_all = count < crate::net::BATCH_PACKETS_MAX;
            if is_all || received >= PACKETS_RECEIVED_PER_TURN_MAX {
                break;
            }
            // A failure shows in the next wait.
            if receiver.wait(Some(Duration::ZERO)).is_err() {
                break;
            }
        }
    }

    /// Serves calls. Whether some are left that could be served at once.
    fn serve(&mut self, calls: &mut tokio::sync::mpsc::Receiver<Call>) -> bool {
        for _ in 0..CALLS_PER_TURN_MAX {
            if self.waiting_for_barrier() >= STEPS_WAITING_FOR_CALLS_MAX {
                // The barrier wakes this thread when it has caught up.
                return false;
            }
            let Ok(call) = calls.try_recv() else { return false };
            match call {
                Call::Query(query, answer) => {
                    let _gone = answer.send(self.server.query(self.now, &query));
                }
                Call::Command(command, answer) => {
                    let ticket = Ticket(self.ticket_next);
                    self.ticket_next += 1;
                    self.tickets.insert(ticket, answer);
                    let configures = matches!(command, Command::Configure { .. });
                    self.step(Input::Command(ticket, command));
                    if configures {
                        self.keep_options();
                    }
                }
                Call::Barrier(done) => self.work.barriers.push(done),
                Call::Trace { hardware, follow, answer } => {
                    let last = self.traces.last(hardware);
                    let follows = follow.map(|to| self.traces.follow(hardware, to)).transpose();
                    let _gone = answer.send(follows.map(|_| last));
                }
            }
        }
        true
    }

    /// One step of the core, and what follows from it.
    fn step(&mut self, input: Input<'_>) {
        self.subject = Subject::of(&input);
        let mut effects = std::mem::take(&mut self.effects);
        let sequence = self.server.step(self.now, input, &mut effects);
        let (gate_before, replies_before) = (self.work.gate.len(), self.work.replies.len());
        for effect in effects.drain() {
            match effect {
                Effect::Persist(record) => self.work.records.push(record),
                Effect::Gate(change) => {
                    self.note_gate(&change);
                    self.work.gate.push(change);
                }
                Effect::GateReplace(contents) => {
                    let changes_before = self.work.gate.len();
                    self.work.gate_replace = Some(GateReplacement { changes_before, contents });
                }
                Effect::Reply { reply, release, reason } => self.reply(&reply, release, reason),
                Effect::Unanswered(unanswered) => self.unanswered(unanswered),
                Effect::Answer { ticket, answer, release } => {
                    let Some(to) = self.tickets.remove(&ticket) else { continue };
                    match release {
                        Release::Immediately => {
                            let _gone = to.send(answer);
                        }
                        Release::AfterCommit(_) => {
                            self.work.answers.push(HeldAnswer { answer, to });
                        }
                    }
                }
                Effect::Partner(effect) => self.tell_partner(effect),
                Effect::Notice(notice) => self.notice(&notice),
                Effect::Event(event) => self.work.events.push(event),
                Effect::Wake(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
            }
        }
        self.effects = effects;
        self.note_end();
        if self.work.gate.len() > gate_before {
            self.work.replies.need_gate(replies_before);
        }
        if sequence.is_some() {
            self.work.sequence = sequence;
            self.work.steps += 1;
            self.work.decided.get_or_insert(self.instant);
        }
    }

    fn reply(&mut self, reply: &Reply, release: Release, reason: Option<Reason>) {
        let Reply { message_type, socket, source, destination, .. } = *reply;
        let (outbox, lease_ends) = match release {
            Release::Immediately => (&mut self.ready, None),
            Release::AfterCommit(_) => (&mut self.work.replies, lease_end(reply, self.instant)),
        };
        let envelope =
            Envelope { message_type, socket, source, destination, lease_ends, needs_gate: false };
        match outbox.put(envelope, |bytes| wire::append(reply, bytes)) {
            Ok(fit) if fit.left_out > 0 => self.options_left_out(reply, fit.left_out),
            Ok(_) => {}
            Err(reason) => return self.too_large(reply, reason),
        }
        self.note_reply(reply, reason);
        if let Some(reason) = reason {
            self.metrics.nak(reason);
        }
        tracing::debug!(
            reply = reply.message_type.name(),
            mac = %reply.hardware,
            ip = %reply.yiaddr,
            giaddr = %reply.giaddr,
            reason = reason.map(Reason::name),
            "decided"
        );
    }

    fn options_left_out(&mut self, reply: &Reply, options: usize) {
        self.metrics.options_left_out(options);
        if self.quiet.may_say("options-left-out") {
            tracing::warn!(
                options,
                mac = %reply.hardware,
                bytes_max = reply.message_size_max,
                "a client's message size is too small for its options; it gets those that it asked for first (said once a minute)"
            );
        }
    }

    fn too_large(&mut self, reply: &Reply, reason: Reason) {
        self.note_unanswered(&Unanswered {
            reason,
            message_type: reply.message_type,
            hardware: reply.hardware,
            giaddr: reply.giaddr,
        });
        self.metrics.unanswered(reason);
        let message = "the reply does not fit into the client's message size; configure fewer or shorter options";
        if self.quiet.may_say("reply-too-large") {
            tracing::warn!(%reason, mac = %reply.hardware, message);
        }
    }

    fn unanswered(&mut self, unanswered: Unanswered) {
        self.note_unanswered(&unanswered);
        let Unanswered { reason, message_type, hardware, giaddr } = unanswered;
        self.metrics.unanswered(reason);
        let is_shed = [Reason::Overload, Reason::DuplicateWaiting, Reason::DiscoverTooOld];
        if is_shed.contains(&reason) {
            self.metrics.shed(giaddr, reason);
            if reason != Reason::DuplicateWaiting && self.quiet.may_say("overload") {
                tracing::warn!(
                    %reason,
                    %giaddr,
                    "more packets come than can be served; vestibule_packets_shed counts them by relay (said once a minute)"
                );
            }
        }
        tracing::debug!(%reason, message = message_type.name(), mac = %hardware, %giaddr, "unanswered");
        if reason == Reason::UnknownNetwork {
            self.metrics.unknown_network(giaddr);
            if self.quiet.may_say(&format!("unknown-network {giaddr}")) {
                tracing::warn!(
                    %giaddr,
                    mac = %hardware,
                    "no [[network.subnet]] has this relay's address: add its prefix, or stop the relay (said once a minute)"
                );
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::PoolExhausted { network } => {
                self.metrics.pool_exhausted(network);
                if self.quiet.may_say(&format!("pool-exhausted {network}")) {
                    tracing::warn!(
                        %network,
                        "no free address is left: new hosts get none; add a pool or shorten leases.lifetime (said once a minute)"
                    );
                }
            }
            Notice::LeaseReused => self.metrics.lease_reused(),
            Notice::Failover(notice) => self.notice_failover(notice),
            Notice::AddressDeclined { address, hardware } => {
                if self.quiet.may_say(&format!("declined {address}")) {
                    tracing::warn!(
                        ip = %address,
                        mac = %hardware,
                        "a client found this address in use and declined it: find who else uses it; nobody gets it for leases.decline-quarantine (said once a minute)"
                    );
                }
            }
        }
    }

    /// Hands over what was decided, unless too many turns wait for the barrier: then this one grows, and
    /// goes when the barrier has taken some.
    fn hand_over(&mut self) {
        if self.work.is_empty() {
            return;
        }
        match self.to_barrier.try_send(std::mem::take(&mut self.work)) {
            Ok(()) => self.work = self.spent.try_recv().unwrap_or_default(),
            Err(TrySendError::Full(work)) => self.work = work,
            Err(TrySendError::Disconnected(_)) => self.barrier_is_gone = true,
        }
    }

    fn send_ready(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let batch: Vec<(Envelope, Outgoing<'_>)> = self.ready.iter().collect();
        send(&self.sender, &batch, &self.metrics, &mut self.quiet);
        self.ready.clear();
    }
}

/// When the lease that a reply grants ends, as its client is told.
fn lease_end(reply: &Reply, now: Instant) -> Option<Instant> {
    let seconds = reply.option(code::LEASE_TIME)?.try_into().ok().map(u32::from_be_bytes)?;
    now.checked_add(Duration::from_secs(seconds.into()))
}

/// Sends a batch and counts each reply as sent, or as refused by the kernel with its error's number.
pub(crate) fn send(
    sender: &Sender,
    batch: &[(Envelope, Outgoing<'_>)],
    metrics: &Metrics,
    quiet: &mut Quiet,
) {
    let mut refused = Vec::new();
    let outgoing: Vec<Outgoing<'_>> = batch.iter().map(|(_, outgoing)| *outgoing).collect();
    sender.send(&outgoing, |position, errno| {
        refused.push(position);
        metrics.send_error(errno);
        metrics.unanswered(Reason::SendFailed);
        let explanation = crate::net::explain(errno);
        if quiet.may_say(explanation.name) {
            tracing::warn!(
                error = explanation.name,
                "a reply could not be sent: {} (said once a minute)",
                explanation.meaning
            );
        }
    });
    for (position, (envelope, _)) in batch.iter().enumerate() {
        if !refused.contains(&position) {
            metrics.sent(envelope.message_type);
        }
    }
}
