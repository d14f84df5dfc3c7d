//! One server of a pair: the real core and codec, and around them a model of the daemon and its host.
//!
//! The barrier is a model here (the single server's simulator has the real one): steps gather while a group
//! is being committed; then the kernel sets, the disk, and only then everything that waits, in order. What
//! goes to the partner keeps the order in which it was decided.

use super::link::ConnectionNumber;
use super::plan::{self, ADDRESSES, Plan};
use super::world::{Event, Pair};
use crate::simulator::checks::Violation;
use crate::simulator::disk::Disk;
use crate::simulator::kernel::Kernel;
use crate::simulator::plan as names;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use vestibule_core::failover::{FailoverStatus, PartnerEffect, PartnerInput};
use vestibule_core::options::code;
use vestibule_core::{
    Answer, Arrival, Command, Effect, Effects, GateChange, HardwareAddress, Input, MessageType,
    Query, QueryAnswer, Record, Register, RegistrationTarget, Release, Sequence, Server, Side,
    SocketIndex, Ticket, Timestamp,
};
use vestibule_dhcpd::clock::{ClockMark, Reading};
use vestibule_dhcpd::commit::GROUP_STEPS_MAX;
use vestibule_dhcpd::wire;
use vestibule_load::message::{Message, Relay};

/// The true time at the beginning of every run, as a wall clock shows it.
const EPOCH: u64 = 1_700_000_000_000;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Killed; its host goes on.
    Killed,
    /// Its disk failed; its host goes on.
    SyncFailed,
    /// With its machine.
    NoPower,
}

/// One step's effects that wait for the barrier.
#[derive(Debug, Default)]
struct Work {
    /// When it was decided.
    decided: u64,
    through: Sequence,
    records: Vec<Record>,
    gate: Vec<GateChange>,
    replace: Option<Vec<(Ipv4Addr, Side, u64)>>,
    /// With when the lease of each ends.
    replies: Vec<(MessageType, u64, Vec<u8>)>,
    answers: Vec<(Ticket, Answer)>,
}

/// Everything that dies with the process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) server: Server,
    effects: Effects,
    work: VecDeque<Work>,
    group: Vec<Work>,
    /// What goes to the partner, in order, with the connection that it was decided for.
    outbound: VecDeque<(ConnectionNumber, PartnerEffect)>,
    durable_through: Sequence,
    calls: BTreeMap<Ticket, HardwareAddress>,
    calls_count: u64,
}

/// One server with its host.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) process: Option<Process>,
    pub(super) disk: Disk,
    pub(super) kernel: Kernel,
    /// Counts the processes.
    pub(super) life: u64,
    /// The records of the group that is being committed: the kernel is ahead of the disk by it.
    pub(super) committing: Vec<Record>,
    /// How far the wall clock is from the true time since the machine booted, in milliseconds.
    wall_skew: i64,
    boot: u64,
    booted: u64,
    has_power_failed: bool,
    /// How far the server's clock is from the beginning of the run, in milliseconds after the epoch.
    offset: u64,
}

impl Process {
    /// Whether everything that was decided is durable and in the kernel.
    pub(super) fn is_settled(&self) -> bool {
        self.group.is_empty() && self.work.is_empty()
    }
}

impl Node {
    /// A machine that was never switched on.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            process: None,
            disk: Disk::new(Arc::clone(&plan.rules)),
            kernel: Kernel::default(),
            life: 0,
            committing: Vec::new(),
            wall_skew: 0,
            boot: 0,
            booted: 0,
            has_power_failed: true,
            offset: EPOCH,
        }
    }

    /// What time it is on the server's clock.
    pub(super) const fn time(&self, now: u64) -> Timestamp {
        Timestamp::from_milliseconds(self.offset + now)
    }

    fn clocks(&self, now: u64) -> Reading {
        let wall = (EPOCH + now).saturating_add_signed(self.wall_skew);
        let since_boot = Some((self.boot.to_string(), now - self.booted));
        Reading { wall: Timestamp::from_milliseconds(wall), since_boot }
    }

    fn is_alive(&self, life: u64) -> bool {
        self.process.is_some() && self.life == life
    }
}

impl Pair {
    /// A server starts from what is durable.
    pub(super) fn start(&mut self, number: usize) {
        if self.nodes[number].process.is_some() {
            return;
        }
        if !self.may_start(number) {
            return self.arrange(1_000, Event::Start(number));
        }
        let is_skewed = self.chance(self.faults.skew);
        let skew = 2 * self.plan.skew + 1;
        let skew = i64::try_from(self.random.below(skew)).unwrap_or(0)
            - i64::try_from(self.plan.skew).unwrap_or(0);
        let (now, plan) = (self.now, &self.plan);
        let node = &mut self.nodes[number];
        node.life += 1;
        node.committing.clear();
        if std::mem::take(&mut node.has_power_failed) {
            if is_skewed {
                node.wall_skew = skew;
            }
            node.boot += 1;
            node.booted = now;
        }
        let clocks = node.clocks(now);
        let time = clocks.time(node.disk.newest(), node.disk.mark.as_ref());
        node.disk.mark =
            clocks.since_boot.map(|(boot, since_boot)| ClockMark { boot, since_boot, time });
        // The clock may stand lower than before, and what ended must not be asked for.
        let latest = node.time(now);
        node.offset = time.milliseconds() - now;
        node.disk.write(&[Record::Time(time)]);
        node.disk.synced();
        let records = node.disk.durable.iter().cloned();
        let server = Server::new(plan.configuration(number), [ADDRESSES[number]], records, time);
        node.kernel.another_life();
        node.kernel.replace(&server.gate(time), now);
        node.process = Some(Process {
            server,
            effects: Effects::new(),
            work: VecDeque::new(),
            group: Vec::new(),
            outbound: VecDeque::new(),
            durable_through: Sequence::default(),
            calls: BTreeMap::new(),
            calls_count: 0,
        });
        self.trace.note(now, format_args!("server {number} starts, boot {}", node.boot));
        self.has_what_was_acknowledged(number, time, latest);
        self.step(number, Input::Tick);
        self.dial_soon(number, 1);
    }

    /// What this server acknowledged last, and nobody else since, must be in its book.
    fn has_what_was_acknowledged(&mut self, number: usize, time: Timestamp, latest: Timestamp) {
        let by = &self.checkers.acknowledged_by;
        let held: Vec<_> = self
            .checkers
            .unique
            .held(self.now)
            .filter(|(_, belief)| by.get(&belief.device).is_some_and(|(node, _)| *node == number))
            .collect();
        let view = &self.nodes[number].disk.view;
        let verdict =
            self.checkers.durable[number].restarted(view, held.iter().copied(), time, latest);
        self.judge(verdict);
        let Some(process) = &self.nodes[number].process else { return };
        let missing = held.into_iter().find(|(address, belief)| {
            let answer = process.server.query(time, &Query::Lease(*address));
            let QueryAnswer::Lease(Some(view)) = answer else { return true };
            !view.held || view.lease.hardware != names::hardware(belief.device)
        });
        if let Some(missing) = missing {
            let what = format!("the new core of server {number} does not have {missing:?}");
            self.judge(Err(Violation::new("P2", what)));
        }
    }

    /// A process ends, and another one will start.
    pub(super) fn end_of_process(&mut self, number: usize, ending: Ending) {
        if self.nodes[number].process.is_none() {
            return;
        }
        self.trace.note(self.now, format_args!("server {number} ends: {ending:?}"));
        // A group is one frame of the journal: its tail is there, torn or lost, and then nothing counts.
        let was_written_out = self.random.below(2) == 0;
        let node = &mut self.nodes[number];
        node.process = None;
        node.disk.crash(was_written_out);
        node.has_power_failed |= ending == Ending::NoPower;
        self.restarts += 1;
        self.drop_end(number, ending != Ending::NoPower);
        self.arrange_start(number);
    }

    /// A packet arrives at a server.
    pub(super) fn packet(
        &mut self,
        number: usize,
        device: usize,
        message: &Message,
        relayed: Option<usize>,
    ) {
        if self.nodes[number].process.is_none() || self.is_given_up(device, message) {
            return;
        }
        let relay = Relay::new(names::relay(relayed.unwrap_or(0)));
        let mut bytes = Vec::new();
        message.append(relayed.map(|_| &relay), &mut bytes);
        let source =
            relayed.map_or(message.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED), |_| relay.giaddr);
        let arrival = Arrival {
            socket: SocketIndex(0),
            local_address: ADDRESSES[number],
            source: SocketAddrV4::new(source, if relayed.is_some() { 67 } else { 68 }),
            broadcast: false,
            attached: false,
        };
        if let Ok(request) = wire::decode(&bytes, arrival) {
            self.step(number, Input::Packet(&request));
        }
    }

    /// A core is woken.
    pub(super) fn tick(&mut self, number: usize, life: u64) {
        if self.nodes[number].is_alive(life) {
            self.step(number, Input::Tick);
        }
    }

    /// A core is told what is durable.
    pub(super) fn committed(&mut self, number: usize, life: u64, through: Sequence) {
        if self.nodes[number].is_alive(life) {
            self.step(number, Input::Committed(through));
        }
    }

    /// The connection brings a core something.
    pub(super) fn partner_input(&mut self, number: usize, input: PartnerInput) {
        self.trace.note(self.now, format_args!("server {number} is brought {input:?}"));
        self.step(number, Input::Partner(input));
    }

    /// Somebody wants something of one server. `about`: the device that the answer is about.
    pub(super) fn command(
        &mut self,
        number: usize,
        command: Command,
        about: Option<HardwareAddress>,
    ) {
        let Some(process) = &mut self.nodes[number].process else { return };
        let ticket = Ticket(process.calls_count);
        process.calls_count += 1;
        if let Some(hardware) = about {
            // Two calls about one device at once: the later one is what counts.
            process.calls.retain(|_, other| *other != hardware);
            process.calls.insert(ticket, hardware);
            self.checkers.durable[number].asked(hardware);
        }
        self.trace.note(self.now, format_args!("server {number} is asked: {command:?}"));
        self.step(number, Input::Command(ticket, command));
    }

    /// The portals of both servers want something: who registers is registered at both, as far as they are
    /// there; at one, if they tell each other.
    pub(super) fn portal(&mut self) {
        if self.is_healed {
            return;
        }
        let next = 1 + self.random.below(self.plan.portal);
        self.arrange(next, Event::Portal);
        let hardware =
            names::hardware(names::to_usize(self.random.below(self.plan.devices as u64)));
        let ends = self.random.below(3) == 0;
        let seconds = 1 + self.random.below(120);
        let is_end = self.random.below(3) == 0;
        if self.plan.exchanges {
            return self.portal_of_one(hardware, ends.then_some(seconds));
        }
        for number in plan::NODES {
            let expires = self.nodes[number].time(self.now).plus_seconds(seconds);
            let command = if is_end {
                Command::Unregister(hardware)
            } else {
                Command::Register(Register {
                    expires: ends.then_some(expires),
                    ..Register::of(RegistrationTarget::Hardware(hardware))
                })
            };
            self.command(number, command, Some(hardware));
        }
    }

    /// One step of a core, and what follows from it.
    pub(super) fn step(&mut self, number: usize, input: Input<'_>) {
        let (now, life) = (self.now, self.nodes[number].life);
        let server_now = self.nodes[number].time(now);
        let is_packet = matches!(input, Input::Packet(_));
        let Some(process) = &mut self.nodes[number].process else { return };
        let mut effects = std::mem::take(&mut process.effects);
        let sequence = process.server.step(server_now, input, &mut effects);
        let connection = self.link.open[number];
        let through = sequence.unwrap_or_default();
        let mut work = Work { decided: now, through, ..Work::default() };
        let (mut ends, mut leaving, mut wakes) = (0, Vec::new(), Vec::new());
        for effect in effects.drain() {
            match effect {
                Effect::Persist(record) => work.records.push(record),
                Effect::Gate(change) => work.gate.push(change),
                Effect::GateReplace(contents) => work.replace = Some(contents.elements),
                Effect::Reply { reply, release, .. } => {
                    ends += 1;
                    let mut bytes = Vec::new();
                    if wire::append(&reply, &mut bytes).is_ok() {
                        let seconds = reply.option(code::LEASE_TIME);
                        let seconds = seconds.and_then(|bytes| bytes.try_into().ok());
                        let seconds = seconds.map_or(u32::MAX, u32::from_be_bytes);
                        let lease_ends = now + u64::from(seconds) * 1000;
                        let held = release != Release::Immediately;
                        let to = if held { &mut work.replies } else { &mut leaving };
                        to.push((reply.message_type, lease_ends, bytes));
                    }
                }
                Effect::Unanswered(unanswered) => {
                    ends += 1;
                    self.trace.note(
                        now,
                        format_args!("server {number}: unanswered: {}", unanswered.reason),
                    );
                }
                Effect::Answer { ticket, answer, release } => {
                    if release == Release::Immediately {
                        process.calls.remove(&ticket);
                        self.trace.note(now, format_args!("server {number} refuses: {answer:?}"));
                    } else {
                        work.answers.push((ticket, answer));
                    }
                }
                Effect::Notice(notice) => {
                    self.trace.note(now, format_args!("server {number}: {notice:?}"));
                }
                Effect::Event(_) => {}
                Effect::Wake(at) => wakes.push(at.milliseconds_after(server_now)),
                Effect::Partner(effect) => {
                    if let Some(connection) = connection {
                        process.outbound.push_back((connection, effect));
                    }
                }
            }
        }
        process.effects = effects;
        if sequence.is_some() {
            process.work.push_back(work);
        }
        for after in wakes {
            self.arrange(after, Event::Tick(number, life));
        }
        for (message_type, _, bytes) in leaving {
            self.leave(number, message_type, &bytes);
        }
        if is_packet && ends != 1 {
            self.judge(Err(Violation::new("P6", format!("a packet has {ends} ends"))));
        }
        self.begin_group(number);
        self.flush(number);
        self.look_for_returns();
    }

    /// The next group begins, unless one is under way.
    fn begin_group(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let Some(process) = &mut node.process else { return };
        if !process.group.is_empty() || process.work.is_empty() {
            return;
        }
        let count = process.work.len().min(GROUP_STEPS_MAX);
        process.group = process.work.drain(..count).collect();
        for work in &process.group {
            // What a replacement does not say was decided after it. Times count from the decision.
            if let Some(elements) = &work.replace {
                node.kernel.replace(elements, work.decided);
            }
            node.kernel.apply(&work.gate, work.decided);
        }
        node.committing =
            process.group.iter().flat_map(|work| work.records.iter().cloned()).collect();
        node.disk.write(&node.committing);
        let life = node.life;
        let most =
            if self.chance(self.faults.slow_sync) { self.plan.sync_slow } else { self.plan.sync };
        let took = 1 + self.random.below(most);
        self.arrange(took, Event::Synced(number, life));
    }

    /// A group is durable, or its sync fails.
    pub(super) fn synced(&mut self, number: usize, life: u64) {
        if !self.nodes[number].is_alive(life) {
            return;
        }
        let is_touched = !self.is_touched_by_nobody();
        if is_touched && self.chance(self.faults.failing_sync) {
            return self.end_of_process(number, Ending::SyncFailed);
        }
        let node = &mut self.nodes[number];
        node.disk.synced();
        node.committing.clear();
        let Some(process) = &mut node.process else { return };
        let group = std::mem::take(&mut process.group);
        let through = group.last().map_or(process.durable_through, |work| work.through);
        process.durable_through = through;
        for work in group {
            // As in the daemon, what came too late to be of use stays here.
            for (message_type, lease_ends, bytes) in work.replies {
                if self.now < lease_ends {
                    self.leave(number, message_type, &bytes);
                }
            }
            for (ticket, answer) in work.answers {
                self.answered(number, ticket, answer);
            }
        }
        let late = self.random.below(2);
        self.arrange(late, Event::Committed(number, life, through));
        self.begin_group(number);
        self.flush(number);
    }

    /// Sends what may be sent to the partner, in order.
    fn flush(&mut self, number: usize) {
        loop {
            let Some(process) = &mut self.nodes[number].process else { return };
            let Some((connection, effect)) = process.outbound.front() else { return };
            if let PartnerEffect::Send { release: Release::AfterCommit(sequence), .. } = effect
                && *sequence > process.durable_through
                && self.link.open[number] == Some(*connection)
            {
                return;
            }
            let Some((connection, effect)) = process.outbound.pop_front() else { return };
            match effect {
                PartnerEffect::Send { message, .. } => self.say(number, connection, &message),
                PartnerEffect::Close(reason) if self.link.open[number] == Some(connection) => {
                    self.trace.note(self.now, format_args!("server {number} closes: {reason}"));
                    self.close(number);
                }
                PartnerEffect::Close(_) => {}
            }
        }
    }

    /// A reply leaves a server.
    fn leave(&mut self, number: usize, message_type: MessageType, bytes: &[u8]) {
        let Some(reply) = vestibule_load::message::Reply::read(bytes) else { return };
        let Some(device) = names::device_of(reply.hardware) else { return };
        self.trace.note(
            self.now,
            format_args!(
                "{} of {} leaves server {number} for device {device}",
                message_type.name(),
                reply.yiaddr
            ),
        );
        if message_type == MessageType::Ack {
            self.acknowledged_in_rest += 1;
            let verdict = {
                let scene = self.scene(number, false);
                self.checkers.gate.leaves(scene, reply.yiaddr, device)
            };
            self.judge(verdict);
        }
        for after in self.ways(number) {
            self.arrange(after, Event::Reply { node: number, device, bytes: bytes.to_vec() });
        }
    }

    /// A portal is told what is durable and in the kernel.
    fn answered(&mut self, number: usize, ticket: Ticket, answer: Answer) {
        self.trace.note(self.now, format_args!("server {number} answers {answer:?}"));
        let Some(process) = &mut self.nodes[number].process else { return };
        let Some(hardware) = process.calls.remove(&ticket) else { return };
        let (registration, addresses, side) = match answer {
            Answer::Registered { registration, addresses, .. } => {
                (Some(registration), addresses, Side::Registered)
            }
            Answer::Unregistered { addresses } => (None, addresses, Side::Unregistered),
            _ => return,
        };
        let server_now = self.nodes[number].time(self.now);
        let view = &self.nodes[number].disk.view;
        let durable = &mut self.checkers.durable[number];
        let verdict = durable.answered(view, hardware, registration, server_now);
        self.judge(verdict);
        let verdict = {
            let scene = self.scene(number, false);
            self.checkers.gate.answered(scene, &addresses, side)
        };
        self.judge(verdict);
    }

    /// What a server says of the pair.
    pub(super) fn failover_status(&self, number: usize) -> Option<Box<FailoverStatus>> {
        let node = &self.nodes[number];
        let server = &node.process.as_ref()?.server;
        match server.query(node.time(self.now), &Query::Failover) {
            QueryAnswer::Failover(status) => status,
            _ => None,
        }
    }
}
