//! The decide thread: receives, decodes, asks the core, and sends what promises nothing durable.
//!
//! ```text
//! sockets -> decode -> core -> OFFER, NAK, INFORM: encode, send
//!    ^                   |
//!  calls of the API      +---> everything else: encode, hand to the barrier
//! ```
//!
//! It is the only thread that touches the core. It never waits for the disk, for the kernel sets or
//! for the API; it sleeps in one place, where packets, calls and the barrier all wake it.

mod quiet;

use crate::clock::Clock;
use crate::commit::{HeldAnswer, HeldReply, Work};
use crate::door::Call;
use crate::metrics::Metrics;
use crate::net::{Outgoing, Receiver, Sender};
use crate::wire;
pub(crate) use quiet::Quiet;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use vestibule_core::options::code;
use vestibule_core::{
    Answer, Destination, Effect, Effects, Input, MessageType, Notice, Reason, Release, Reply,
    Request, Sequence, Server, SocketIndex, Ticket, Timestamp, Unanswered,
};

/// Calls that are served between two batches of packets at most.
const CALLS_PER_TURN_MAX: usize = 64;

/// Steps that may wait for the barrier before calls have to wait too.
const STEPS_WAITING_FOR_CALLS_MAX: u64 = 1024;

/// The longest sleep: a bound for what a lost wake-up could cost.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What the barrier and the gate's watch tell the decide thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Everything up to here is durable.
    Committed(Sequence),
    /// The kernel sets may be wrong.
    GateLost,
}

/// A reply that leaves at once.
struct Ready {
    bytes: Vec<u8>,
    message_type: MessageType,
    socket: SocketIndex,
    source: Ipv4Addr,
    destination: Destination,
}

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
    /// What the barrier and the gate's watch tell.
    pub told: std::sync::mpsc::Receiver<Told>,
    /// The barrier.
    pub work: SyncSender<Work>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set, then woken, when the server shall end.
    pub stop: Arc<AtomicBool>,
}

impl Decide {
    /// Works until it is told to stop, or until the barrier is gone.
    pub fn run(self) {
        let Self { server, clock, receiver, sender, calls, told, work, metrics, stop } = self;
        let mut turn = Turn {
            server,
            clock,
            sender,
            work,
            metrics,
            effects: Effects::new(),
            ready: Vec::new(),
            tickets: BTreeMap::new(),
            ticket_next: 0,
            wake: None,
            committed: Sequence::default(),
            quiet: Quiet::default(),
            barrier_is_gone: false,
        };
        turn.work_until(&stop, receiver, calls, &told);
    }
}

/// The state of the loop.
struct Turn {
    server: Server,
    clock: Clock,
    sender: Sender,
    work: SyncSender<Work>,
    metrics: Arc<Metrics>,
    effects: Effects,
    ready: Vec<Ready>,
    /// Who waits for the answer to a command.
    tickets: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    ticket_next: u64,
    wake: Option<Timestamp>,
    committed: Sequence,
    quiet: Quiet,
    barrier_is_gone: bool,
}

impl Turn {
    fn work_until(
        &mut self,
        stop: &AtomicBool,
        mut receiver: Receiver,
        mut calls: tokio::sync::mpsc::Receiver<Call>,
        told: &std::sync::mpsc::Receiver<Told>,
    ) {
        let mut requests: Vec<Request> = Vec::new();
        let mut calls_are_left = false;
        while !stop.load(Ordering::Acquire) && !self.barrier_is_gone {
            let sleep = if calls_are_left {
                Duration::ZERO
            } else {
                self.wake.map_or(SLEEP_MAX, |wake| self.clock.until(wake).min(SLEEP_MAX))
            };
            if let Err(error) = receiver.wait(Some(sleep)) {
                tracing::error!(%error, "cannot wait for packets");
                return;
            }
            self.listen(told);
            let metrics = &self.metrics;
            receiver.receive(|bytes, arrival| {
                match bytes.and_then(|bytes| wire::decode(bytes, arrival)) {
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
            for request in requests.drain(..) {
                self.step(Input::Packet(Box::new(request)));
            }
            calls_are_left = self.serve(&mut calls);
            if self.wake.is_some_and(|wake| wake <= self.clock.now()) {
                self.wake = None;
                self.step(Input::Tick);
            }
            self.send_ready();
        }
    }

    fn listen(&mut self, told: &std::sync::mpsc::Receiver<Told>) {
        let mut gate_is_lost = false;
        loop {
            match told.try_recv() {
                Ok(Told::Committed(through)) => {
                    self.committed = self.committed.max(through);
                    self.step(Input::Committed(through));
                }
                Ok(Told::GateLost) => gate_is_lost = true,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.barrier_is_gone = true;
                    break;
                }
            }
        }
        if gate_is_lost {
            self.step(Input::GateLost);
        }
    }

    /// Serves calls. Whether some are left that could be served at once.
    fn serve(&mut self, calls: &mut tokio::sync::mpsc::Receiver<Call>) -> bool {
        for _ in 0..CALLS_PER_TURN_MAX {
            let waiting = self.server.sequence().0.saturating_sub(self.committed.0);
            if waiting >= STEPS_WAITING_FOR_CALLS_MAX {
                // The barrier wakes this thread when it has caught up.
                return false;
            }
            let Ok(call) = calls.try_recv() else { return false };
            match call {
                Call::Query(query, answer) => {
                    let _gone = answer.send(self.server.query(self.clock.now(), &query));
                }
                Call::Command(command, answer) => {
                    let ticket = Ticket(self.ticket_next);
                    self.ticket_next += 1;
                    self.tickets.insert(ticket, answer);
                    self.step(Input::Command(ticket, command));
                }
                Call::Barrier(done) => {
                    self.hand_over(Work { barriers: vec![done], ..Work::default() });
                }
            }
        }
        true
    }

    /// One step of the core, and what follows from it.
    fn step(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        let sequence = self.server.step(self.clock.now(), input, &mut effects);
        let mut work = Work { sequence, decided: Some(Instant::now()), ..Work::default() };
        for effect in effects.drain() {
            match effect {
                Effect::Persist(record) => work.records.push(record),
                Effect::Gate(change) => work.gate.push(change),
                Effect::GateReplace(elements) => work.gate_replace = Some(elements),
                Effect::Reply { reply, release, reason } => {
                    self.reply(&reply, release, reason, &mut work);
                }
                Effect::Unanswered(unanswered) => self.unanswered(unanswered),
                Effect::Answer { ticket, answer, release } => {
                    let Some(to) = self.tickets.remove(&ticket) else { continue };
                    match release {
                        Release::Immediately => {
                            let _gone = to.send(answer);
                        }
                        Release::AfterCommit(_) => work.answers.push(HeldAnswer { answer, to }),
                    }
                }
                Effect::Notice(notice) => self.notice(&notice),
                Effect::Wake(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
            }
        }
        self.effects = effects;
        if sequence.is_some() {
            self.hand_over(work);
        }
    }

    fn reply(&mut self, reply: &Reply, release: Release, reason: Option<Reason>, work: &mut Work) {
        let mut bytes = Vec::with_capacity(512);
        let fit = wire::encode_reporting(reply, &mut bytes);
        if let Ok(fit) = fit
            && fit.left_out > 0
        {
            self.metrics.options_left_out(fit.left_out);
            if self.quiet.may_say("options-left-out") {
                tracing::warn!(
                    options = fit.left_out,
                    mac = %reply.hardware,
                    bytes_max = reply.message_size_max,
                    "a client's message size is too small for its options; it gets those that it asked for first (said once a minute)"
                );
            }
        }
        if let Err(reason) = fit {
            self.metrics.unanswered(reason);
            let message = "the reply does not fit into the client's message size; configure fewer or shorter options";
            if self.quiet.may_say("reply-too-large") {
                tracing::warn!(%reason, mac = %reply.hardware, message);
            }
            return;
        }
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
        let Reply { message_type, socket, source, destination, .. } = *reply;
        match release {
            Release::Immediately => {
                self.ready.push(Ready { bytes, message_type, socket, source, destination });
            }
            Release::AfterCommit(_) => {
                work.replies.push(HeldReply {
                    bytes,
                    message_type,
                    socket,
                    source,
                    destination,
                    lease_ends: lease_end(reply),
                });
            }
        }
    }

    fn unanswered(&mut self, unanswered: Unanswered) {
        let Unanswered { reason, message_type, hardware, giaddr } = unanswered;
        self.metrics.unanswered(reason);
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

    fn hand_over(&mut self, work: Work) {
        // Room is never the matter for packets: the core sheds them long before the channel is full.
        // Waiting here means that the disk has stopped, and then there is nothing better to do.
        if self.work.send(work).is_err() {
            self.barrier_is_gone = true;
        }
    }

    fn send_ready(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let batch: Vec<Outgoing<'_>> = self
            .ready
            .iter()
            .map(|ready| Outgoing {
                bytes: &ready.bytes,
                socket: ready.socket,
                source: ready.source,
                destination: ready.destination,
            })
            .collect();
        let kinds: Vec<MessageType> = self.ready.iter().map(|ready| ready.message_type).collect();
        send(&self.sender, &batch, &kinds, &self.metrics, &mut self.quiet);
        self.ready.clear();
    }
}

/// When the lease that a reply grants ends, as its client is told.
fn lease_end(reply: &Reply) -> Option<Instant> {
    let seconds = reply.option(code::LEASE_TIME)?.try_into().ok().map(u32::from_be_bytes)?;
    Instant::now().checked_add(Duration::from_secs(seconds.into()))
}

/// Sends a batch and counts each reply as sent, or as refused by the kernel with its error's number.
pub(crate) fn send(
    sender: &Sender,
    batch: &[Outgoing<'_>],
    kinds: &[MessageType],
    metrics: &Metrics,
    quiet: &mut Quiet,
) {
    let mut refused = vec![false; batch.len()];
    sender.send(batch, |index, errno| {
        if let Some(refused) = refused.get_mut(index) {
            *refused = true;
        }
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
    for (kind, refused) in kinds.iter().zip(refused) {
        if !refused {
            metrics.sent(*kind);
        }
    }
}
