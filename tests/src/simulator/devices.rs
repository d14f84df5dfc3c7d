//! The devices, their network and the people who use them.
//!
//! The clients are those of the load program. One thing the network does not do: it brings no message of
//! an exchange that its client has given up, after a later one has begun. DHCP has no answer to a
//! RELEASE that overtakes the next lease, and so no server has.

use super::checks::unique::Belief;
use super::gate_scene;
use super::plan::{self, Plan};
use super::world::{Event, World};
use vestibule_load::client::{Client, Happening, Manner, State};
use vestibule_load::message::{Kind, Message, Reply, ReplyKind};
use vestibule_load::random::Random;

/// How long a device asks for the lease of its earlier life, in milliseconds.
const REBOOTING_MAX: u64 = 30_000;

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(super) client: Client,
    pub(super) is_on: bool,
    pub(super) network: usize,
    /// When it was acknowledged last.
    pub(super) acknowledged: Option<u64>,
    /// When it is switched on, if it is off.
    pub(super) wake_at: Option<u64>,
    /// The exchange that it asks in, and when it sent the first REQUEST of it.
    asked: Option<(u32, u64)>,
    /// The exchange of its last message.
    xid: u32,
    manner: Manner,
}

impl Device {
    /// A device that is off and has never had a lease.
    pub(super) fn new(number: usize, plan: &Plan, random: &mut Random) -> Self {
        let manner = Manner { first_wait_milliseconds: plan.first_wait, ..Manner::default() };
        Self {
            client: Client::new(plan::hardware_of(number), manner, random.number()),
            is_on: false,
            network: number % plan.networks,
            acknowledged: None,
            wake_at: None,
            asked: None,
            xid: 0,
            manner,
        }
    }
}

impl World {
    /// The time that a device waited for has come, or it is switched on.
    pub(super) fn timer(&mut self, number: usize) {
        let now = self.now;
        let seed = self.random.number();
        let device = &mut self.devices[number];
        if !device.is_on {
            if device.wake_at.is_none_or(|at| now < at) {
                return;
            }
            device.wake_at = None;
            device.is_on = true;
            // It remembers a lease that has not ended.
            let lease = device.client.lease().filter(|lease| now < lease.ends);
            device.client = match lease {
                Some(lease) => {
                    Client::with_lease(plan::hardware_of(number), device.manner, seed, lease)
                }
                None => Client::new(plan::hardware_of(number), device.manner, seed),
            };
            let message = device.client.begin(now);
            self.trace.note(now, format_args!("device {number} is switched on"));
            self.transmit(number, message);
        } else if device.client.state() == State::Rebooting
            && device.asked.is_some_and(|(_, at)| now >= at + REBOOTING_MAX)
        {
            // Its server has no record of it and therefore is silent (RFC 2131 section 4.3.2).
            let message = device.client.restart(now);
            self.checkers.unique.given_up(number);
            self.transmit(number, message);
        } else {
            let (message, happening) = device.client.on_time(now);
            if let Some(message) = message {
                self.transmit(number, message);
            }
            if let Some(Happening::Expired { .. } | Happening::Unanswered { .. }) = happening {
                self.checkers.unique.given_up(number);
            }
        }
        self.set_timer(number);
    }

    fn set_timer(&mut self, number: usize) {
        let device = &self.devices[number];
        let at = if device.is_on { device.client.next() } else { device.wake_at };
        if let Some(at) = at {
            self.arrange(at.saturating_sub(self.now), Event::Timer(number));
        }
    }

    /// Puts a message onto the network.
    fn transmit(&mut self, number: usize, message: Message) {
        let now = self.now;
        let device = &mut self.devices[number];
        device.xid = message.xid;
        if message.kind == Kind::Request && device.asked.is_none_or(|(xid, _)| xid != message.xid) {
            device.asked = Some((message.xid, now));
        }
        let is_unicast = message.kind == Kind::Release || device.client.state() == State::Renewing;
        let relayed = (!is_unicast).then_some(device.network);
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
        message.kind != Kind::Discover && self.devices[number].xid != message.xid
    }

    /// Whether a device is still in this exchange.
    pub(super) fn asks(&self, number: usize, xid: u32) -> bool {
        self.devices.get(number).is_none_or(|device| device.xid == xid)
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
                let asked = device.asked.map_or(now, |(_, at)| at);
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
            self.kernel.talk(address, belief.device, self.life, now);
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
        let device = &mut self.devices[number];
        device.client.stop();
        device.is_on = false;
        device.wake_at = Some(self.now + for_milliseconds);
    }

    /// Everybody for whom there is an address is switched on; the others are gone for good.
    pub(super) fn everybody_home(&mut self) {
        let mut room: Vec<usize> =
            (0..self.plan.networks).map(|network| self.plan.rules.room(network)).collect();
        for number in 0..self.devices.len() {
            let device = &mut self.devices[number];
            if room[device.network] == 0 {
                device.client.stop();
                device.is_on = false;
                device.wake_at = None;
                continue;
            }
            room[device.network] -= 1;
            if !device.is_on {
                device.wake_at = Some(self.now);
                self.set_timer(number);
            }
        }
    }
}
