//! One server of a pair: the real core and codec, and around them a model of the daemon and its host.
//!
//! What goes to the partner keeps the order in which it was decided.

use super::barrier::{Barrier, Work};
use super::link::ConnectionNumber;
use super::plan::{ADDRESSES, Plan};
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
    Arrival, Command, Effect, Effects, HardwareAddress, Input, MessageType, Query, QueryAnswer,
    Record, Release, Sequence, Server, SocketIndex, Ticket, Timestamp,
};
use vestibule_dhcpd::clock::{ClockMark, Reading};
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

/// Everything that dies with the process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) server: Server,
    effects: Effects,
    pub(super) barrier: Barrier,
    /// What goes to the partner, in order, with the connection that it was decided for.
    outbound: VecDeque<(ConnectionNumber, PartnerEffect)>,
    pub(super) calls: BTreeMap<Ticket, HardwareAddress>,
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
    /// How far the wall clock is from the true time, in milliseconds: what this machine's is off by all the while,
    /// what it found when it booted, and what somebody set it by since.
    wall_base: i64,
    wall_skew: i64,
    wall_step: i64,
    boot: u64,
    booted: u64,
    has_power_failed: bool,
    /// How far the server's clock is from the beginning of the run, in milliseconds after the epoch.
    offset: u64,
}

impl Process {
    /// Whether everything that was decided is durable and in the kernel.
    pub(super) fn is_settled(&self) -> bool {
        self.barrier.is_empty()
    }
}

impl Node {
    /// A machine that was never switched on.
    pub(super) fn new(plan: &Plan, number: usize) -> Self {
        Self {
            process: None,
            disk: Disk::new(Arc::clone(&plan.rules)),
            kernel: Kernel::default(),
            life: 0,
            committing: Vec::new(),
            wall_base: plan.clock_base[number],
            wall_skew: 0,
            wall_step: 0,
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
        let wall =
            (EPOCH + now).saturating_add_signed(self.wall_base + self.wall_skew + self.wall_step);
        let since_boot = Some((self.boot.to_string(), now - self.booted));
        Reading { wall: Timestamp::from_milliseconds(wall), since_boot }
    }

    /// Somebody sets the wall clock, which a process that runs does not go by.
    pub(super) const fn set_wall_clock(&mut self, by_milliseconds: i64) {
        self.wall_step = by_milliseconds;
    }

    pub(super) fn is_alive(&self, life: u64) -> bool {
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
            // The machine's own clock is as somebody set it last; then it is set by the network.
            node.wall_step = 0;
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
        node.kernel.fails_until = now;
        node.process = Some(Process {
            server,
            effects: Effects::new(),
            barrier: Barrier::default(),
            outbound: VecDeque::new(),
            calls: BTreeMap::new(),
            calls_count: 0,
        });
        self.trace.note(now, format_args!("server {number} starts, boot {}", node.boot));
        self.has_what_was_acknowledged(number, time, latest);
        self.step(number, Input::Tick);
        self.tell_missed_registrations(number);
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
            process.barrier.put(work);
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

    /// Sends what may be sent to the partner, in order.
    pub(super) fn flush(&mut self, number: usize) {
        loop {
            let Some(process) = &mut self.nodes[number].process else { return };
            let Some((connection, effect)) = process.outbound.front() else { return };
            if let PartnerEffect::Send { release: Release::AfterCommit(sequence), .. } = effect
                && *sequence > process.barrier.durable_through
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
    pub(super) fn leave(&mut self, number: usize, message_type: MessageType, bytes: &[u8]) {
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
