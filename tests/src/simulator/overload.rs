//! More packets than are served: the process's inbox, and strangers who fill it.
//!
//! In most worlds a packet is decided when it comes. In some the process decides only a few in a
//! millisecond, and there the real admission says who is next and who is shed, as in the daemon's decide
//! thread. The strangers come through relays of their own, one of which sends most, and want no address
//! that a device of this world could have.

use super::plan::{self, Overload, SERVER};
use super::world::{Event, World};
use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::{Admission, Arrival, Input, Reason, Request, SocketIndex};
use vestibule_dhcpd::commit::GROUP_STEPS_MAX;
use vestibule_dhcpd::wire;
use vestibule_load::message::{Hardware, Kind, Message, Relay};

/// Steps that may wait for the barrier before packets have to wait too, as in the daemon.
const STEPS_WAITING_FOR_PACKETS_MAX: u64 = 2 * GROUP_STEPS_MAX as u64;

/// The number of the first stranger; devices have lower ones.
const STRANGERS: u32 = 1_000_000;

/// Messages of strangers that may come once more.
const REMEMBERED: usize = 64;

/// What waits in a process to be decided.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    arrived: Vec<Request>,
    admission: Admission,
    turn_is_arranged: bool,
}

impl Inbox {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.admission.is_empty()
    }

    /// How many wait by the rules of the admission.
    pub(crate) fn waiting(&self) -> usize {
        self.admission.len()
    }
}

/// What strangers have sent.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    count: u32,
    remembered: Vec<(Message, Option<Ipv4Addr>)>,
}

impl World {
    /// A packet was decoded: it is decided now, or in its turn.
    pub(super) fn arrive(&mut self, request: Request) {
        self.checkers.accounted.arrived();
        if self.plan.overload.is_none() {
            return self.step(Input::Packet(&request));
        }
        let life = self.life;
        let Some(process) = &mut self.process else { return };
        process.inbox.arrived.push(request);
        if !std::mem::replace(&mut process.inbox.turn_is_arranged, true) {
            self.arrange(1, Event::Turn(life));
        }
    }

    /// The process decides what it can in a millisecond.
    pub(super) fn turn_of_packets(&mut self, life: u64) {
        let Some(Overload { served, .. }) = self.plan.overload else { return };
        if !self.is_alive(life) {
            return;
        }
        let Some(process) = &mut self.process else { return };
        process.inbox.turn_is_arranged = false;
        let arrived = std::mem::take(&mut process.inbox.arrived);
        let has_room = process.waiting_for_barrier() < STEPS_WAITING_FOR_PACKETS_MAX;
        if process.inbox.admission.is_empty() && arrived.len() <= served && has_room {
            for request in arrived {
                self.decide(&request);
            }
            return;
        }
        for request in arrived {
            self.take_in(request);
        }
        for _ in 0..served {
            let (now, server_now) = (self.now, self.server_now());
            let Some(process) = &mut self.process else { return };
            if process.waiting_for_barrier() >= STEPS_WAITING_FOR_PACKETS_MAX {
                break;
            }
            let mut late = Vec::new();
            let next = process.inbox.admission.next(server_now, |request, reason| {
                late.push((request, reason));
            });
            for (request, reason) in late {
                let verdict = self.checkers.admitted.given_up(&request, reason, now);
                self.judge(verdict);
                self.shed(&request, reason);
            }
            let Some(request) = next else { break };
            let verdict = self.checkers.admitted.served(&request, now);
            self.judge(verdict);
            self.decide(&request);
        }
        let Some(process) = &mut self.process else { return };
        if !process.inbox.is_empty()
            && !std::mem::replace(&mut process.inbox.turn_is_arranged, true)
        {
            self.arrange(1, Event::Turn(life));
        }
    }

    fn take_in(&mut self, request: Request) {
        let (now, server_now) = (self.now, self.server_now());
        let Some(process) = &mut self.process else { return };
        let shed = process.inbox.admission.offer(request.clone(), server_now);
        let victim = shed.as_ref().map(|(victim, reason)| (victim, *reason));
        let verdict = self.checkers.admitted.offered(&request, now, victim);
        self.judge(verdict);
        if let Some((victim, reason)) = shed {
            self.shed(&victim, reason);
        }
    }

    fn shed(&mut self, request: &Request, reason: Reason) {
        if let Some(process) = &self.process {
            process.metrics.shed(request.giaddr, reason);
        }
        self.unanswered(reason);
    }

    fn decide(&mut self, request: &Request) {
        // Meanwhile its client may have given the exchange up; see `devices`.
        let device = Hardware(request.chaddr[..6].try_into().unwrap_or_default());
        let device = plan::device_of(device).filter(|number| *number < STRANGERS as usize);
        let is_discover = request.message_type == vestibule_core::MessageType::Discover;
        let is_given_up =
            device.is_some_and(|number| !is_discover && !self.asks(number, request.xid));
        if is_given_up {
            self.checkers.accounted.lost();
        } else {
            self.step(Input::Packet(request));
        }
    }

    /// What strangers send in this millisecond.
    pub(super) fn strangers(&mut self) {
        let Some(overload) = self.plan.overload else { return };
        if self.is_healed || self.now >= overload.until {
            return;
        }
        self.arrange(1, Event::Strangers);
        if self.process.is_none() {
            return;
        }
        for _ in 0..self.aside.below(2 * overload.offered + 1) {
            let (message, giaddr) = self.stranger(&overload);
            let relay = giaddr.map(Relay::new);
            let mut bytes = Vec::new();
            message.append(relay.as_ref(), &mut bytes);
            let source = giaddr.or(message.ciaddr).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let arrival = Arrival {
                socket: SocketIndex(0),
                local_address: SERVER,
                source: SocketAddrV4::new(source, if giaddr.is_some() { 67 } else { 68 }),
                broadcast: false,
                attached: false,
            };
            if let Ok(request) = wire::decode(&bytes, arrival) {
                self.arrive(request);
            }
        }
    }

    /// A message of a stranger, and the relay that it comes through.
    fn stranger(&mut self, overload: &Overload) -> (Message, Option<Ipv4Addr>) {
        let Self { aside: random, strangers, .. } = self;
        let per_mille = |random: &mut vestibule_load::random::Random| random.below(1000);
        if per_mille(random) < overload.duplicates && !strangers.remembered.is_empty() {
            let which = random.below(strangers.remembered.len() as u64);
            return strangers.remembered[plan::to_usize(which)];
        }
        strangers.count += 1;
        let kind = per_mille(random);
        // Nobody's: it is in no pool.
        let address = Ipv4Addr::new(10, 1, 254, 1 + (strangers.count % 250) as u8);
        let is_busiest = per_mille(random) < overload.busiest;
        let relay = if is_busiest { 0 } else { plan::to_u32(random.below(overload.relays)) };
        let giaddr = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 255, 1)) + relay);
        let blank = Message {
            kind: Kind::Discover,
            xid: random.xid(),
            secs: 0,
            hardware: Hardware::of_client(STRANGERS + strangers.count),
            ciaddr: None,
            requested_address: None,
            server_identifier: None,
        };
        let sent = if kind < overload.renewals {
            (Message { kind: Kind::Request, ciaddr: Some(address), ..blank }, None)
        } else if kind < overload.renewals + overload.completions {
            let requested_address = Some(address);
            (Message { kind: Kind::Request, requested_address, ..blank }, Some(giaddr))
        } else {
            (blank, Some(giaddr))
        };
        if strangers.remembered.len() < REMEMBERED {
            strangers.remembered.push(sent);
        } else {
            let place = strangers.count as usize % REMEMBERED;
            strangers.remembered[place] = sent;
        }
        sent
    }
}
