//! The devices of a pair's world: relays send what they broadcast to both servers, what they send
//! themselves goes to the server that they have their lease of, and they take the first answer.
//!
//! As in the single server's world, no message of an exchange that its client has given up arrives after a
//! later one has begun.

use super::plan::{ADDRESSES, NODES};
use super::world::{Event, Pair};
use crate::simulator::checks::gate::Scene;
use crate::simulator::checks::unique::Belief;
use crate::simulator::device;
use crate::simulator::plan::to_usize;
use vestibule_load::client::Happening;
use vestibule_load::message::{Message, Reply};

impl Pair {
    /// The time that a device waited for has come, or it is switched on.
    pub(super) fn timer(&mut self, number: usize) {
        let now = self.now;
        let seed = self.random.number();
        let Some(awake) = self.devices[number].on_time(now, seed) else { return };
        if awake.is_switched_on {
            self.trace.note(now, format_args!("device {number} is switched on"));
        }
        if awake.has_given_up {
            self.checkers.unique.given_up(number);
        }
        if let Some(message) = awake.message {
            self.transmit(number, message);
        }
        self.set_timer(number);
    }

    fn set_timer(&mut self, number: usize) {
        if let Some(at) = self.devices[number].next() {
            self.arrange(at.saturating_sub(self.now), Event::Timer(number));
        }
    }

    /// Puts a message onto the network. A relay sends it to both servers.
    fn transmit(&mut self, number: usize, message: Message) {
        let now = self.now;
        let device = &mut self.devices[number];
        let relayed = device.sends(&message, now);
        let lease_of = device.client.lease().map(|lease| lease.server);
        let server = message.server_identifier.or(lease_of).filter(|_| relayed.is_none());
        self.trace.note(now, format_args!("device {number} sends {message:?}"));
        for node in NODES {
            if server.is_some_and(|server| server != ADDRESSES[node]) {
                continue;
            }
            for after in self.ways(node) {
                self.arrange(after, Event::Packet { node, device: number, message, relayed });
            }
        }
    }

    /// How long each copy of a packet is under way to or from a server; none if it is lost.
    pub(super) fn ways(&mut self, node: usize) -> Vec<u64> {
        let is_reachable = self.unreachable_until[node] <= self.now;
        let mut ways = Vec::new();
        if !self.chance(self.faults.loss) && is_reachable {
            ways.push(());
        }
        if self.chance(self.faults.duplication) && is_reachable {
            ways.push(());
        }
        ways.into_iter()
            .map(|()| {
                let is_late = self.chance(self.faults.reordering);
                let most = if is_late { self.plan.delay_reordered } else { self.plan.delay };
                1 + self.random.below(most)
            })
            .collect()
    }

    /// Whether a message is of an exchange that its client has given up since.
    pub(super) fn is_given_up(&self, number: usize, message: &Message) -> bool {
        self.devices[number].is_over(message)
    }

    /// A packet arrives at a device.
    pub(super) fn reply(&mut self, node: usize, number: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(reply) = Reply::read(bytes) else { return };
        let device = &mut self.devices[number];
        if !device.is_on {
            return;
        }
        let (message, happening) = device.client.on_reply(now, &reply);
        match happening {
            Some(Happening::Acknowledged { lease, lifetime_seconds, .. }) => {
                let asked = device.asked_at(now);
                device.acknowledged = Some(now);
                // As long as no clock of the pair can say otherwise.
                let certain =
                    (u64::from(lifetime_seconds) * 1000).saturating_sub(2 * self.plan.skew);
                let belief = Belief { device: number, ends: asked + certain };
                self.trace.note(
                    now,
                    format_args!("ACK of {} by server {node} to {belief:?}", lease.address),
                );
                self.acknowledged(node, lease.address, belief);
            }
            Some(Happening::Refused { .. }) => {
                self.trace.note(now, format_args!("NAK of server {node} to device {number}"));
                self.checkers.unique.given_up(number);
            }
            _ => {}
        }
        if let Some(message) = message {
            self.transmit(number, message);
        }
        self.set_timer(number);
    }

    fn acknowledged(&mut self, node: usize, address: std::net::Ipv4Addr, belief: Belief) {
        let now = self.now;
        self.acknowledgements += 1;
        let verdict = self.checkers.unique.acknowledged(address, belief, now);
        self.judge(verdict);
        if now >= belief.ends {
            return;
        }
        self.checkers.acknowledged_by.insert(belief.device, (node, self.nodes[node].life));
        let server_now = self.nodes[node].time(now);
        // It is durable where it was granted, unless that server has learned of something newer since.
        let view = &self.nodes[node].disk.view;
        let verdict = self.checkers.durable[node].acknowledged(view, address, belief, server_now);
        self.judge(verdict);
        let verdict = {
            let scene = self.scene(node, true);
            self.checkers.gate.received(scene, address, belief.device)
        };
        self.judge(verdict);
        // Its packets may take the way through either.
        for node in &mut self.nodes {
            node.kernel.talk(address, belief.device, now);
        }
    }

    /// What there is to be held against each other on one server. `with_ahead`: with the group that is
    /// being committed.
    pub(super) fn scene(&self, node: usize, with_ahead: bool) -> Scene<'_> {
        let node = &self.nodes[node];
        Scene {
            kernel: &node.kernel,
            durable: &node.disk.view,
            ahead: if with_ahead { &node.committing } else { &[] },
            now: self.now,
            server_now: node.time(self.now),
        }
    }

    /// Somebody does something with a device.
    pub(super) fn deed(&mut self) {
        if self.is_healed {
            return;
        }
        let number = to_usize(self.random.below(self.devices.len() as u64));
        let what = self.random.below(7);
        let off_for = 100 + self.random.below(40_000);
        let network = to_usize(self.random.below(self.plan.networks as u64));
        let now = self.now;
        let device = &mut self.devices[number];
        if device.is_on {
            self.trace.note(now, format_args!("deed {what} to device {number}"));
            match what {
                0 => {
                    let message = device.client.restart(now);
                    self.checkers.unique.given_up(number);
                    self.transmit(number, message);
                }
                1 => {
                    if let Some(message) = device.client.release() {
                        self.checkers.unique.given_up(number);
                        self.transmit(number, message);
                    }
                    self.switch_off(number, off_for);
                }
                2 => {
                    let message = device.client.rebind(now);
                    self.transmit(number, message);
                }
                3 => {
                    device.network = network;
                    self.switch_off(number, off_for);
                }
                4 => {
                    if let Some(message) = device.client.decline(now) {
                        self.checkers.unique.given_up(number);
                        self.transmit(number, message);
                    }
                }
                _ => self.switch_off(number, off_for),
            }
            self.set_timer(number);
        }
        let next = 1 + self.random.below(self.plan.deeds);
        self.arrange(next, Event::Deed);
    }

    fn switch_off(&mut self, number: usize, for_milliseconds: u64) {
        self.devices[number].switch_off(Some(self.now + for_milliseconds));
    }

    /// Everybody for whom there is an address is switched on; the others are gone for good.
    pub(super) fn everybody_home(&mut self) {
        let room = (0..self.plan.networks).map(|network| self.plan.rules.room(network)).collect();
        for number in device::everybody_home(&mut self.devices, room, self.now) {
            self.set_timer(number);
        }
    }
}
