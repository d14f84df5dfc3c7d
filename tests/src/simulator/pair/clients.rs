//! The devices of a pair's world: relays send what they broadcast to both servers, what they send
//! themselves goes to the server that they have their lease of, and they take the first answer.
//!
//! As in the single server's world, no message of an exchange that its client has given up arrives after a
//! later one has begun.

use super::plan::{ADDRESSES, NODES, Plan};
use super::world::{Event, Pair};
use crate::simulator::checks::gate::Scene;
use crate::simulator::checks::unique::Belief;
use crate::simulator::plan::{self as names, to_usize};
use vestibule_load::client::{Client, Happening, Manner, State};
use vestibule_load::message::{Kind, Message, Reply};
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
            client: Client::new(names::hardware_of(number), manner, random.number()),
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

impl Pair {
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
            let lease = device.client.lease().filter(|lease| now < lease.ends);
            let hardware = names::hardware_of(number);
            device.client = match lease {
                Some(lease) => Client::with_lease(hardware, device.manner, seed, lease),
                None => Client::new(hardware, device.manner, seed),
            };
            let message = device.client.begin(now);
            self.trace.note(now, format_args!("device {number} is switched on"));
            self.transmit(number, message);
        } else if device.client.state() == State::Rebooting
            && device.asked.is_some_and(|(_, at)| now >= at + REBOOTING_MAX)
        {
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

    /// Puts a message onto the network. A relay sends it to both servers.
    fn transmit(&mut self, number: usize, message: Message) {
        let now = self.now;
        let device = &mut self.devices[number];
        device.xid = message.xid;
        if message.kind == Kind::Request && device.asked.is_none_or(|(xid, _)| xid != message.xid) {
            device.asked = Some((message.xid, now));
        }
        let is_unicast = message.kind == Kind::Release || device.client.state() == State::Renewing;
        let relayed = (!is_unicast).then_some(device.network);
        let lease_of = device.client.lease().map(|lease| lease.server);
        let server = message.server_identifier.or(lease_of).filter(|_| is_unicast);
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
        message.kind != Kind::Discover && self.devices[number].xid != message.xid
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
                let asked = device.asked.map_or(now, |(_, at)| at);
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
            node.kernel.talk(address, belief.device, node.life, now);
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
            life: node.life,
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
        let device = &mut self.devices[number];
        device.client.stop();
        device.is_on = false;
        device.wake_at = Some(self.now + for_milliseconds);
    }

    /// Everybody for whom there is an address is switched on; the others are gone for good.
    pub(super) fn everybody_home(&mut self) {
        let mut room = vec![self.plan.pool; self.plan.networks];
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
