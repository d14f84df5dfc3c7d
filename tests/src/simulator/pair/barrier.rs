//! The barrier of a server of a pair, as a model (the single server's simulator has the real one): steps gather
//! while a group is being committed; then the kernel sets, the disk, and only then everything that waits, in order.
//!
//! A transaction of the kernel may fail, with or without effect. Then replies that need the sets wait until
//! the whole of them is in, and everything else goes on.

use super::node::Ending;
use super::world::{Event, Pair};
use crate::simulator::kernel::Kernel;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use vestibule_core::{Answer, GateChange, Input, MessageType, Record, Sequence, Side, Ticket};
use vestibule_dhcpd::commit::GROUP_STEPS_MAX;

/// How long after it asked for the whole of the sets the barrier asks again.
const GATE_AGAIN: u64 = 1_000;

/// A reply that is held: what it is, when its lease ends, its bytes.
type HeldReply = (MessageType, u64, Vec<u8>);

/// One step's effects that wait for the barrier.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// When it was decided.
    pub(super) decided: u64,
    pub(super) through: Sequence,
    pub(super) records: Vec<Record>,
    pub(super) gate: Vec<GateChange>,
    pub(super) replace: Option<Vec<(Ipv4Addr, Side, u64)>>,
    pub(super) replies: Vec<HeldReply>,
    pub(super) answers: Vec<(Ticket, Answer)>,
}

/// What one process has waiting.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    work: VecDeque<Work>,
    group: Vec<Work>,
    pub(super) durable_through: Sequence,
    /// The kernel sets are not what they should be, and the core was asked for the whole of them.
    is_gate_broken: bool,
    /// The whole of them is in since this group began.
    was_replaced: bool,
    /// Flows that are to be forgotten, and were not.
    flows_owed: Vec<Ipv4Addr>,
    waiting: Vec<HeldReply>,
    waiting_answers: Vec<(Ticket, Answer)>,
}

impl Barrier {
    /// Puts in what a step has decided.
    pub(super) fn put(&mut self, work: Work) {
        self.work.push_back(work);
    }

    /// Whether everything that was decided is durable.
    pub(super) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.work.is_empty()
    }
}

impl Pair {
    /// The next group begins, unless one is under way.
    pub(super) fn begin_group(&mut self, number: usize) {
        let Some(process) = &mut self.nodes[number].process else { return };
        let barrier = &mut process.barrier;
        if !barrier.group.is_empty() || barrier.work.is_empty() {
            return;
        }
        let count = barrier.work.len().min(GROUP_STEPS_MAX);
        let mut group: Vec<Work> = barrier.work.drain(..count).collect();
        self.enforce(number, &mut group);
        let node = &mut self.nodes[number];
        let Some(process) = &mut node.process else { return };
        node.committing = group.iter().flat_map(|work| work.records.iter().cloned()).collect();
        process.barrier.group = group;
        node.disk.write(&node.committing);
        let life = node.life;
        let most =
            if self.chance(self.faults.slow_sync) { self.plan.sync_slow } else { self.plan.sync };
        let took = 1 + self.random.below(most);
        self.arrange(took, Event::Synced(number, life));
    }

    /// Brings a group's changes into the kernel.
    fn enforce(&mut self, number: usize, group: &mut [Work]) {
        self.with_barrier(number, |barrier, _| barrier.was_replaced = false);
        for work in group {
            // What a replacement does not say was decided after it. Times count from the decision.
            if let Some(elements) = work.replace.take() {
                let is_done = self.transaction(number, |kernel| {
                    kernel.replace(&elements, work.decided);
                });
                self.with_barrier(number, |barrier, kernel| {
                    barrier.is_gate_broken = !is_done;
                    barrier.was_replaced = is_done;
                    if is_done {
                        kernel.forget(&std::mem::take(&mut barrier.flows_owed));
                    }
                });
            }
            if work.gate.is_empty() {
                continue;
            }
            let mut is_broken = false;
            self.with_barrier(number, |barrier, _| is_broken = barrier.is_gate_broken);
            let apply = |kernel: &mut Kernel| kernel.apply(&work.gate, work.decided);
            if is_broken || !self.transaction(number, apply) {
                self.gate_is_lost(number, &work.gate);
            }
        }
    }

    fn with_barrier(&mut self, number: usize, change: impl FnOnce(&mut Barrier, &mut Kernel)) {
        let node = &mut self.nodes[number];
        if let Some(process) = &mut node.process {
            change(&mut process.barrier, &mut node.kernel);
        }
    }

    /// Changes the kernel sets; whether they are as they should be then.
    fn transaction(&mut self, number: usize, change: impl FnOnce(&mut Kernel)) -> bool {
        let (now, outage) = (self.now, self.plan.gate_outage);
        if now >= self.nodes[number].kernel.fails_until && self.chance(self.faults.failing_gate) {
            self.nodes[number].kernel.fails_until = now + outage;
        }
        let fails = now < self.nodes[number].kernel.fails_until;
        // After an error the sets are as they were, or as they should be.
        if !fails || self.random.below(4) == 0 {
            change(&mut self.nodes[number].kernel);
        }
        if fails {
            self.nodes[number].kernel.is_behind = true;
            self.trace
                .note(now, format_args!("server {number}: the kernel sets cannot be changed"));
        }
        !fails
    }

    /// The kernel sets are not what they should be: the core is asked for the whole of them.
    fn gate_is_lost(&mut self, number: usize, changes: &[GateChange]) {
        let node = &mut self.nodes[number];
        let life = node.life;
        let Some(process) = &mut node.process else { return };
        let barrier = &mut process.barrier;
        let owed = changes.iter().filter(|change| change.forget_flows);
        barrier.flows_owed.extend(owed.map(|change| change.address));
        barrier.was_replaced = false;
        if !std::mem::replace(&mut barrier.is_gate_broken, true) {
            let after = self.random.below(2);
            self.arrange(after, Event::GateLost(number, life));
        }
    }

    /// The core is asked for the whole of the gate, again and again until it is in.
    pub(super) fn gate_lost(&mut self, number: usize, life: u64) {
        let node = &self.nodes[number];
        let process = node.process.as_ref().filter(|_| node.is_alive(life));
        if process.is_some_and(|process| process.barrier.is_gate_broken) {
            self.arrange(GATE_AGAIN, Event::GateLost(number, life));
            self.step(number, Input::GateLost);
        }
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
        let barrier = &mut process.barrier;
        let group = std::mem::take(&mut barrier.group);
        let through = group.last().map_or(barrier.durable_through, |work| work.through);
        barrier.durable_through = through;
        let (mut replies, mut answers) = (Vec::new(), Vec::new());
        if barrier.was_replaced {
            replies.append(&mut barrier.waiting);
            answers.append(&mut barrier.waiting_answers);
        }
        for work in group {
            let waits = barrier.is_gate_broken;
            let needs_gate = waits && !work.gate.is_empty();
            let held = if needs_gate { &mut barrier.waiting } else { &mut replies };
            held.extend(work.replies);
            let held = if waits { &mut barrier.waiting_answers } else { &mut answers };
            held.extend(work.answers);
        }
        // As in the daemon, what came too late to be of use stays here.
        for (message_type, lease_ends, bytes) in replies {
            if self.now < lease_ends {
                self.leave(number, message_type, &bytes);
            }
        }
        for (ticket, answer) in answers {
            self.answered(number, ticket, answer);
        }
        let late = self.random.below(2);
        self.arrange(late, Event::Committed(number, life, through));
        self.begin_group(number);
        self.flush(number);
    }
}
