//! The devices of a world, their network and the people who use them.
//!
//! The clients are those of the load program. One thing the network does not do: it brings no message of
//! an exchange that its client has given up, after a later one has begun. DHCP has no answer to a
//! RELEASE that overtakes the next lease, and so no server has.

use super::checks::unique::Belief;
use super::world::{Event, World};
use super::{device, gate_scene, plan};
use vestibule_load::client::Happening;
use vestibule_load::message::{Message, Reply, ReplyKind};

impl World {
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

    /// Puts a message onto the network.
    fn transmit(&mut self, number: usize, message: Message) {
        let now = self.now;
        let relayed = self.devices[number].sends(&message, now);
        self.trace.note(now, format_args!("device {number} sends {message:?}"));
        for after in self.ways() {
            self.arrange(after, Event::Packet { device: number, message, relayed });
        }
    }

    /// How long each copy of a packet is under way; none if it is lost.
    pub(super) fn ways(&mut self) -> Vec<u64> {
        let mut ways = Vec::new();
        if !self.chance(self.faults.loss) {
            ways.push(());
        }
        if self.chance(self.faults.duplication) {
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

    /// Whether a device is still in this exchange.
    pub(super) fn asks(&self, number: usize, xid: u32) -> bool {
        self.devices.get(number).is_none_or(|device| device.asks(xid))
    }

    /// A packet arrives at a device.
    pub(super) fn reply(&mut self, number: usize, bytes: &[u8]) {
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
                let ends = asked + u64::from(lifetime_seconds) * 1000;
                let belief = Belief { device: number, ends };
                self.trace.note(now, format_args!("ACK of {} to {belief:?}", lease.address));
                self.acknowledged(lease.address, belief);
            }
            Some(Happening::Refused { .. }) => self.checkers.unique.given_up(number),
            _ => {}
        }
        if reply.kind == ReplyKind::Nak {
            self.trace.note(now, format_args!("NAK to device {number}"));
        }
        if let Some(message) = message {
            self.transmit(number, message);
        }
        self.set_timer(number);
    }

    fn acknowledged(&mut self, address: std::net::Ipv4Addr, belief: Belief) {
        let (now, server_now) = (self.now, self.server_now());
        self.acknowledgements += 1;
        let verdict = self.checkers.unique.acknowledged(address, belief, now);
        self.judge(verdict);
        // An ACK that was under way until its lease was over binds nobody.
        if now < belief.ends {
            let view = &self.disk.view;
            let verdict = self.checkers.durable.acknowledged(view, address, belief, server_now);
            self.judge(verdict);
            let scene = gate_scene!(self, &self.committing);
            let verdict = self.checkers.gate.received(scene, address, belief.device);
            self.judge(verdict);
            self.kernel.talk(address, belief.device, now);
        }
    }

    /// Somebody does something with a device.
    pub(super) fn deed(&mut self) {
        if self.is_healed {
            return;
        }
        let number = plan::to_usize(self.random.below(self.devices.len() as u64));
        let what = self.random.below(5);
        let off_for = 100 + self.random.below(20_000);
        let network = plan::to_usize(self.random.below(self.plan.networks as u64));
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
