//! The server's process: the real core, codec and barrier, in a shell that is this program's own.
//!
//! The shell does what the daemon's decide thread does, without sockets and threads. What is in it dies
//! with the process.

use super::checks::Accounted;
use super::checks::bounded::Queues;
use super::gate_scene;
use super::overload::Inbox;
use super::plan::{self, SERVER};
use super::portal::Call;
use super::view::View;
use super::world::{Event, World};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use vestibule_core::options::code;
use vestibule_core::{
    Answer, Arrival, Effect, Effects, Input, MessageType, Query, QueryAnswer, Reason, Record,
    Release, Reply, Sequence, Server, Side, SocketIndex, Ticket, Timestamp,
};
use vestibule_dhcpd::clock::ClockMark;
use vestibule_dhcpd::commit::{Envelope, GateReplacement, HeldAnswer, Outbox, Work};
use vestibule_dhcpd::metrics::Metrics;
use vestibule_dhcpd::net::Outgoing;
use vestibule_dhcpd::wire;
use vestibule_load::message::{Message, Relay};

/// Everything that dies with the process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) server: Server,
    pub(super) work: VecDeque<Work>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether the barrier takes nothing before a retry that is arranged.
    pub(super) retry_is_arranged: bool,
    pub(super) retry_is_due: bool,
    pub(super) waiting_for_gate: usize,
    pub(super) inbox: Inbox,
    effects: Effects,
    committed: Sequence,
    pub(super) tickets: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    pub(super) calls: Vec<Call>,
    pub(super) calls_count: u64,
    /// The last answer that was decided, whenever it is given.
    pub(super) decided: Option<(Ticket, Answer)>,
    /// Everything that was decided, durable or not.
    view: View,
}

impl Process {
    /// Steps that are decided and not known to be durable.
    pub(super) fn waiting_for_barrier(&self) -> u64 {
        self.server.sequence().0.saturating_sub(self.committed.0)
    }
}

impl World {
    /// The server starts from what is durable.
    pub(super) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        self.committing.clear();
        let behind = self
            .chance(self.faults.time_step)
            .then(|| if self.random.below(2) == 0 { 0 } else { self.random.below(7_200_000) });
        let is_first = self.life == 1;
        let has_booted = is_first || self.aside.below(2) == 0;
        if has_booted {
            self.wall_behind = behind.unwrap_or(self.wall_behind);
            self.wall_step = 0;
            self.boot += 1;
            self.booted = self.now;
        }
        let clocks = self.clocks();
        let time = clocks.time(self.disk.newest(), self.disk.mark.as_ref());
        self.disk.mark =
            clocks.since_boot.map(|(boot, since_boot)| ClockMark { boot, since_boot, time });
        let offset = time.milliseconds() - self.now;
        if !has_booted && offset != self.server_offset {
            let what = format!("the time of leases went from {} to {offset}", self.server_offset);
            self.judge(Err(super::checks::Violation::new("P1", what)));
        }
        // The server's clock may stand lower than before, and what ended must not be asked for.
        let latest = self.server_now();
        if offset > self.server_offset && !is_first {
            self.checkers.unique.clock_was_set_forth(offset - self.server_offset);
        }
        self.server_offset = offset;
        let (now, server_now) = (self.now, self.server_now());
        self.trace.note(
            now,
            format_args!("life {} starts at {server_now}, boot {}", self.life, self.boot),
        );
        self.disk.write(&[Record::Time(server_now)]);
        self.disk.synced();
        let records = self.disk.durable.iter().cloned();
        let server = Server::new(self.plan.configuration(), [SERVER], records, server_now);
        self.kernel.another_life();
        self.kernel.replace(&server.gate(server_now), now);
        self.kernel.fails_until = now;
        self.process = Some(Process {
            server,
            work: VecDeque::new(),
            metrics: Arc::new(Metrics::new()),
            retry_is_arranged: false,
            retry_is_due: false,
            waiting_for_gate: 0,
            inbox: Inbox::default(),
            effects: Effects::new(),
            committed: Sequence::default(),
            tickets: BTreeMap::new(),
            calls: Vec::new(),
            calls_count: 0,
            decided: None,
            view: self.disk.view.clone(),
        });
        let verdict = self.checkers.ruled.started(&self.disk.view, server_now);
        self.judge(verdict);
        self.checkers.placed.started();
        self.checkers.accounted.started();
        self.checkers.admitted.started();
        let beliefs = self.checkers.unique.held(now);
        let verdict = self.checkers.durable.restarted(&self.disk.view, beliefs, server_now, latest);
        self.judge(verdict);
        self.core_has_them();
        self.step(Input::Tick);
    }

    /// What is durable must be in the new core's book too.
    fn core_has_them(&mut self) {
        let server_now = self.server_now();
        let held: Vec<_> = self.checkers.unique.held(self.now).collect();
        let Some(process) = &self.process else { return };
        let missing = held.into_iter().find(|(address, belief)| {
            let answer = process.server.query(server_now, &Query::Lease(*address));
            let QueryAnswer::Lease(Some(view)) = answer else { return true };
            !view.held || view.lease.hardware != plan::hardware(belief.device)
        });
        if let Some(missing) = missing {
            let what = format!("the new core does not have {missing:?}");
            self.judge(Err(super::checks::Violation::new("P2", what)));
        }
    }

    /// The process ends, and another one will start.
    pub(super) fn end_of_process(&mut self, why: &str) {
        if self.process.is_none() {
            return;
        }
        self.look(false);
        self.shed_is_counted();
        self.trace.note(self.now, format_args!("life {} ends: {why}", self.life));
        self.process = None;
        self.restarts += 1;
        let was_written_out = self.random.below(2) == 0;
        self.disk.crash(was_written_out);
        let down = 50 + self.random.below(6_000);
        self.arrange(down, Event::Start);
    }

    /// A packet arrives at the server.
    pub(super) fn packet(&mut self, number: usize, message: &Message, relayed: Option<usize>) {
        if self.process.is_none() || self.is_given_up(number, message) {
            return;
        }
        let mut relay = Relay::new(plan::relay(relayed.unwrap_or(0)));
        relay.circuit_id = self.plan.circuit_id;
        let mut bytes = Vec::new();
        message.append(relayed.map(|_| &relay), &mut bytes);
        let source =
            relayed.map_or(message.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED), |_| relay.giaddr);
        let arrival = Arrival {
            socket: SocketIndex(0),
            local_address: SERVER,
            source: SocketAddrV4::new(source, if relayed.is_some() { 67 } else { 68 }),
            broadcast: false,
            attached: false,
        };
        match wire::decode(&bytes, arrival) {
            Ok(request) => self.arrive(request),
            Err(reason) => {
                self.checkers.accounted.not_decoded();
                self.unanswered(reason);
            }
        }
    }

    /// The core is woken.
    pub(super) fn tick(&mut self, life: u64) {
        if self.is_alive(life) {
            self.step(Input::Tick);
        }
    }

    /// The barrier tells the core what is durable.
    pub(super) fn committed(&mut self, life: u64, through: Sequence) {
        if !self.is_alive(life) {
            return;
        }
        if let Some(process) = &mut self.process {
            process.committed = process.committed.max(through);
        }
        self.step(Input::Committed(through));
    }

    /// The core is asked for the whole of the gate.
    pub(super) fn gate_lost(&mut self, life: u64) {
        if self.is_alive(life) {
            self.step(Input::GateLost);
        }
    }

    /// The barrier shall look whether it asks again.
    pub(super) fn gate_retry(&mut self, life: u64) {
        if self.is_alive(life)
            && let Some(process) = &mut self.process
        {
            process.retry_is_due = true;
            process.retry_is_arranged = false;
        }
    }

    /// One step of the core, and what follows from it.
    pub(super) fn step(&mut self, input: Input<'_>) {
        let (now, server_now, instant) = (self.now, self.server_now(), self.instant());
        let is_packet = matches!(input, Input::Packet(_));
        let Some(mut process) = self.process.take() else { return };
        let mut effects = std::mem::take(&mut process.effects);
        let sequence = process.server.step(server_now, input, &mut effects);
        let mut work = Work { sequence, steps: 1, decided: Some(instant), ..Work::default() };
        let mut leaving = Outbox::default();
        self.process = Some(process);
        let (mut ends, mut placed) = (0, Vec::new());
        for effect in effects.drain() {
            match effect {
                Effect::Persist(record) => {
                    if let Some(process) = &mut self.process {
                        process.view.apply(&record);
                    }
                    work.records.push(record);
                }
                Effect::Gate(change) => work.gate.push(change),
                Effect::GateReplace(contents) => {
                    let changes_before = work.gate.len();
                    work.gate_replace = Some(GateReplacement { changes_before, contents });
                }
                Effect::Reply { reply, release, reason } => {
                    ends += 1;
                    placed.push((reply.clone(), reason));
                    let outbox = match release {
                        Release::Immediately => &mut leaving,
                        Release::AfterCommit(_) => &mut work.replies,
                    };
                    self.decided(&reply, outbox);
                }
                Effect::Unanswered(unanswered) => {
                    ends += 1;
                    self.unanswered(unanswered.reason);
                }
                Effect::Answer { ticket, answer, release } => {
                    self.answer(ticket, answer, release, &mut work);
                }
                Effect::Notice(_) | Effect::Event(_) | Effect::Partner(_) => {}
                Effect::Wake(at) => {
                    let after = at.milliseconds_after(server_now);
                    self.arrange(after, Event::Tick(self.life));
                }
            }
        }
        if !work.gate.is_empty() {
            work.replies.need_gate(0);
        }
        for (envelope, outgoing) in leaving.iter() {
            self.leave(envelope, outgoing);
        }
        if is_packet {
            let verdict = Accounted::decided(ends);
            self.judge(verdict);
        }
        for (reply, reason) in placed {
            self.placed(&reply, reason);
        }
        let Some(process) = &mut self.process else { return };
        process.effects = effects;
        if let Some(sequence) = sequence {
            self.trace.note(now, format_args!("step {} {:?}", sequence.0, work.gate));
            process.work.push_back(work);
            if process.work.len() % 64 == 0 {
                self.look(false);
            }
        }
    }

    fn placed(&mut self, reply: &Reply, reason: Option<Reason>) {
        let times = (self.now, self.server_now());
        let terms = (self.plan.lifetime_unregistered_seconds, self.is_healed);
        let Some(process) = &self.process else { return };
        let verdict = self.checkers.placed.decided(reply, reason, &process.view, times, terms);
        self.judge(verdict);
    }

    fn decided(&mut self, reply: &Reply, outbox: &mut Outbox) {
        let seconds = reply.option(code::LEASE_TIME).and_then(|bytes| bytes.try_into().ok());
        let lifetime = seconds.map(|bytes| Duration::from_secs(u32::from_be_bytes(bytes).into()));
        let envelope = Envelope {
            message_type: reply.message_type,
            socket: reply.socket,
            source: reply.source,
            destination: reply.destination,
            lease_ends: lifetime.map(|lifetime| self.instant() + lifetime),
            needs_gate: false,
        };
        if let Err(reason) = outbox.put(envelope, |bytes| wire::append(reply, bytes)) {
            self.unanswered(reason);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, release: Release, work: &mut Work) {
        let Some(process) = &mut self.process else { return };
        process.decided = Some((ticket, answer.clone()));
        let Some(to) = process.tickets.remove(&ticket) else { return };
        match release {
            Release::Immediately => {
                let _gone = to.send(answer);
            }
            Release::AfterCommit(_) => work.answers.push(HeldAnswer { answer, to }),
        }
    }

    pub(super) fn unanswered(&mut self, reason: Reason) {
        if let Some(process) = &self.process {
            process.metrics.unanswered(reason);
        }
        self.trace.note(self.now, format_args!("unanswered: {reason}"));
    }

    /// A reply leaves the server.
    pub(super) fn leave(&mut self, envelope: Envelope, outgoing: Outgoing<'_>) {
        self.checkers.accounted.replied();
        let Some(reply) = vestibule_load::message::Reply::read(outgoing.bytes) else { return };
        let Some(number) = plan::device_of(reply.hardware) else { return };
        if number >= self.devices.len() {
            // A stranger's, who does not listen.
            return;
        }
        self.trace.note(
            self.now,
            format_args!(
                "{} of {} leaves for device {number}",
                envelope.message_type.name(),
                reply.yiaddr
            ),
        );
        if envelope.message_type == MessageType::Ack {
            let scene = gate_scene!(self, &[]);
            let verdict = self.checkers.gate.leaves(scene, reply.yiaddr, number);
            self.judge(verdict);
        }
        for after in self.ways() {
            self.arrange(after, Event::Reply { device: number, bytes: outgoing.bytes.to_vec() });
        }
    }

    /// Has the checkers of P5 and P6 look.
    pub(super) fn look(&mut self, is_quiet: bool) {
        let server_now = self.server_now();
        let Some(process) = &self.process else { return };
        let offers = match process.server.query(server_now, &Query::Status) {
            QueryAnswer::Status(status) => status.offers,
            _ => 0,
        };
        let queues = Queues {
            work: process.work.len(),
            waiting_for_gate: process.waiting_for_gate,
            uncommitted: process.waiting_for_barrier(),
            calls: process.calls_count,
            offers,
            arrivals: process.inbox.waiting(),
        };
        let unanswered =
            Reason::ALL.iter().map(|reason| process.metrics.unanswered_count(*reason)).sum();
        let verdict = self.checkers.bounded.look(queues);
        self.judge(verdict);
        let verdict = self.checkers.accounted.look(unanswered, is_quiet);
        self.judge(verdict);
    }

    /// Has the checker of the admission look at what the metrics say was shed.
    pub(super) fn shed_is_counted(&mut self) {
        let Some(process) = &self.process else { return };
        let verdict = if process.inbox.waiting() == self.checkers.admitted.len() {
            self.checkers.admitted.counted(&process.metrics.encode_without_core())
        } else {
            let what = "others wait than should".to_owned();
            Err(super::checks::Violation::new("P5", what))
        };
        self.judge(verdict);
    }

    /// What the core says that the kernel sets should hold.
    pub(super) fn core_gate(&self, now: Timestamp) -> BTreeMap<Ipv4Addr, Side> {
        let Some(process) = &self.process else { return BTreeMap::new() };
        let gate = process.server.gate(now);
        gate.into_iter().map(|(address, side, _)| (address, side)).collect()
    }
}
