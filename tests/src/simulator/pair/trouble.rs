//! What goes wrong around a pair, and what its operators do about it.
//!
//! A careful operator who has declared a half down starts it again only where it will hear of that: it
//! comes back while its partner runs and the link is whole, and nothing else is touched until the two have met.
//! The protocol has no other answer to a half that comes back and believes in its old state (specification,
//! section 8.2). Careless operators do neither.

use super::node::Ending;
use super::plan::Operators;
use super::world::{Event, Pair};
use crate::simulator::plan::to_usize;
use vestibule_core::Command;
use vestibule_core::failover::{Service, State};

impl Pair {
    /// Something bad may happen.
    pub(super) fn operator(&mut self) {
        if self.is_healed {
            return;
        }
        let next = 1_000 + self.random.below(self.plan.turns);
        self.arrange(next, Event::Operator);
        if self.is_touched_by_nobody() {
            return;
        }
        let node = to_usize(self.random.below(2));
        let until = (self.now + 1 + self.random.below(self.plan.outage)).min(self.plan.heal);
        if self.chance(self.faults.reset) {
            self.trace.note(self.now, format_args!("the connection is reset"));
            self.reset();
        }
        if self.chance(self.faults.cut) {
            let to = if self.random.below(2) == 0 { vec![node] } else { vec![0, 1] };
            for node in to {
                self.trace.note(self.now, format_args!("server {node} is deaf until {until}"));
                self.link.deaf_until[node] = self.link.deaf_until[node].max(until);
            }
        }
        if self.chance(self.faults.unreachable) {
            self.trace.note(self.now, format_args!("clients miss server {node} until {until}"));
            self.unreachable_until[node] = until;
        }
        if self.chance(self.faults.step) {
            let by = i64::try_from(self.people.below(2_000_001)).unwrap_or(0) - 1_000_000;
            let by = by * self.plan.clock_step / 1_000_000;
            self.trace.note(self.now, format_args!("the clock of server {node} is set by {by} ms"));
            self.nodes[node].set_wall_clock(by);
        }
        let (kill, power) = (self.chance(self.faults.kill), self.chance(self.faults.power));
        if kill || power {
            let ending = if power { Ending::NoPower } else { Ending::Killed };
            self.end_of_process(node, ending);
            if self.random.below(6) == 0 {
                self.end_of_process(1 - node, ending);
            }
        }
        let is_careless = self.plan.operators == Operators::Careless;
        if is_careless && self.chance(self.faults.declared) {
            self.trace.note(self.now, format_args!("server {node} is declared down, true or not"));
            self.command(1 - node, Command::PartnerDown { leases_lost: is_careless }, None);
        }
    }

    /// How long a server is down, and whether it will be declared so.
    pub(super) fn arrange_start(&mut self, node: usize) {
        let is_declared = !self.is_healed && self.chance(self.faults.declared);
        let mut down = 50 + self.random.below(20_000);
        if is_declared {
            let after = self.random.below(30_000);
            self.arrange(after, Event::Declare(node));
            down += after + self.random.below(120_000);
        }
        self.arrange(down, Event::Start(node));
    }

    /// A server that is down is said to be down.
    pub(super) fn declare(&mut self, node: usize) {
        let Some(survivor) = self.failover_status(1 - node) else { return };
        // One that has not got its own book back cannot serve alone: its operator waits for the other.
        let knows = survivor.state.service() != Service::None && !survivor.is_starting;
        let is_careful = self.plan.operators == Operators::Careful;
        if self.nodes[node].process.is_some() || (is_careful && !knows) {
            return;
        }
        self.trace.note(self.now, format_args!("server {node} is declared down"));
        self.declared[node] |= is_careful;
        self.command(1 - node, Command::PartnerDown { leases_lost: !is_careful }, None);
    }

    /// Whether a server may be started now.
    pub(super) fn may_start(&self, node: usize) -> bool {
        !self.declared[node]
            || (self.link.is_whole(self.now)
                && self.nodes[1 - node].process.is_some()
                && !self.declared[1 - node])
    }

    /// Whether a half that was declared down is on its way back. Until both know of each other again,
    /// careful operators keep their hands off.
    pub(super) fn is_touched_by_nobody(&self) -> bool {
        [0, 1].into_iter().any(|node| self.declared[node] && self.nodes[node].process.is_some())
    }

    /// Looks whether a half that was declared down has heard of it.
    pub(super) fn look_for_returns(&mut self) {
        for node in [0, 1] {
            if !self.declared[node] {
                continue;
            }
            let Some(status) = self.failover_status(node) else { continue };
            // Its new state is durable, and the two have come to terms.
            if status.is_connected && status.state == State::Normal && !status.is_starting {
                self.trace.note(self.now, format_args!("server {node} is back"));
                self.declared[node] = false;
            }
        }
    }
}
