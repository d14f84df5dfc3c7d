//! The world of a pair: time, events, and both servers with everything between and around them.
//!
//! As in the single server's world, everything happens in the order of its time, and there is one source
//! of randomness, the seed.

use super::checks::Checkers;
use super::exchange::Heard;
use super::link::{Brought, ConnectionNumber, Link};
use super::node::Node;
use super::plan::{self, Faults, Operators, Plan};
use super::portal::Wish;
use crate::simulator::checks::{Verdict, Violation};
use crate::simulator::device::Device;
use crate::simulator::trace::Trace;
use std::collections::BTreeMap;
use vestibule_core::{HardwareAddress, Sequence};
use vestibule_load::message::Message;
use vestibule_load::random::Random;

/// Sets the second source of randomness apart from the first.
const PEOPLE: u64 = 0x7061_6973;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet arrives at a server.
    Packet {
        /// Which server.
        node: usize,
        /// Whose.
        device: usize,
        /// What.
        message: Message,
        /// The network whose relay passed it on; `None`: the client sent it itself.
        relayed: Option<usize>,
    },
    /// A packet arrives at a device.
    Reply {
        /// Whose it is.
        node: usize,
        /// Whom it is for.
        device: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// The time that a device waited for may have come.
    Timer(usize),
    /// Somebody does something with a device.
    Deed,
    /// The portal wants something.
    Portal,
    /// A server's core wants a tick, in one of its lives.
    Tick(usize, u64),
    /// A server's group is durable, or its sync fails.
    Synced(usize, u64),
    /// A server's core is asked for the whole of the kernel sets, in one of its lives.
    GateLost(usize, u64),
    /// A server's core is told what is durable.
    Committed(usize, u64, Sequence),
    /// A connection brings something to a server.
    Link {
        /// Which connection.
        connection: ConnectionNumber,
        /// The server.
        to: usize,
        /// What.
        what: Brought,
    },
    /// A server dials its partner.
    Dial(usize),
    /// A server asks its partner for registrations.
    Exchange(usize),
    /// Something bad may happen.
    Operator,
    /// An operator says that this server is down, to its partner.
    Declare(usize),
    /// A server starts.
    Start(usize),
    /// From now on nothing goes wrong.
    Heal,
    /// The pair has to be NORMAL.
    NormalBy,
    /// From here on nothing has to be said but what clients cause.
    Settled,
    /// Nothing but that time has passed.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(super) plan: Plan,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) now: u64,
    pub(super) trace: Trace,
    pub(super) nodes: [Node; 2],
    pub(super) link: Link,
    /// By server: what it has heard of registrations.
    pub(super) heard: [Heard; 2],
    pub(super) devices: Vec<Device>,
    /// By server: until when clients and it do not reach each other.
    pub(super) unreachable_until: [u64; 2],
    /// By server: whether it was declared down, and has not yet learned of it.
    pub(super) declared: [bool; 2],
    pub(super) checkers: Checkers,
    pub(super) violation: Option<Violation>,
    /// Promises that careless operators broke.
    pub(super) costs: u64,
    pub(super) is_healed: bool,
    pub(super) acknowledgements: u64,
    /// ACKs that servers gave since nothing else has to be said.
    pub(super) acknowledged_in_rest: u64,
    pub(super) restarts: u64,
    /// What was last wanted of each device.
    pub(super) wishes: BTreeMap<HardwareAddress, Wish>,
    /// As `random`, for what not all worlds have.
    pub(super) people: Random,
    events: BTreeMap<(u64, u64), Event>,
    arranged: u64,
}

impl Pair {
    /// The world of a seed, before anything has happened.
    pub(crate) fn new(seed: u64, operators: Operators, milliseconds: Option<u64>) -> Self {
        let mut random = Random::new(seed);
        // A source of its own: what seeds chose before there was more to choose stays.
        let mut people = Random::new(seed ^ PEOPLE);
        let mut plan = Plan::of(&mut random, operators, milliseconds);
        // Not drawn, so that the other seeds are what they always were. Registrations end at an instant of each
        // half's own clock, so halves that exchange them have no clocks that are apart.
        plan.exchanges = seed % 3 == 2;
        if !plan.exchanges {
            plan = plan.and_more(&mut people);
        }
        let devices = (0..plan.devices).map(|number| {
            Device::new(number, number % plan.networks, plan.first_wait, random.number())
        });
        let devices: Vec<Device> = devices.collect();
        let mut pair = Self {
            faults: plan.faults,
            now: 0,
            trace: Trace::default(),
            nodes: plan::NODES.map(|number| Node::new(&plan, number)),
            link: Link::default(),
            heard: Default::default(),
            devices,
            unreachable_until: [0; 2],
            declared: [false; 2],
            checkers: Checkers::new(&plan),
            violation: None,
            costs: 0,
            is_healed: false,
            acknowledgements: 0,
            acknowledged_in_rest: 0,
            restarts: 0,
            events: BTreeMap::new(),
            arranged: 0,
            wishes: BTreeMap::new(),
            people,
            random,
            plan,
        };
        pair.begin();
        pair
    }

    fn begin(&mut self) {
        let Plan { heal, normal_by, end, deeds, portal, turns, .. } = self.plan;
        for node in plan::NODES {
            // One of them may come up long after the other.
            let late = [0, 100, 30_000][crate::simulator::plan::to_usize(self.random.below(3))];
            self.arrange(late, Event::Start(node));
        }
        self.arrange(heal, Event::Heal);
        self.arrange(normal_by, Event::NormalBy);
        self.arrange(end - super::SETTLED_FOR, Event::Settled);
        self.arrange(turns, Event::Operator);
        self.arrange(deeds, Event::Deed);
        self.arrange(portal, Event::Portal);
        if self.plan.exchanges {
            plan::NODES.into_iter().for_each(|node| self.arrange(100, Event::Exchange(node)));
        }
        for device in 0..self.devices.len() {
            let at = self.random.below(10_000);
            self.devices[device].wake_at = Some(at);
            self.arrange(at, Event::Timer(device));
        }
    }

    /// Has something happen in `after` milliseconds.
    pub(super) fn arrange(&mut self, after: u64, event: Event) {
        self.arranged += 1;
        self.events.insert((self.now + after, self.arranged), event);
    }

    /// Whether something happens, of a thousand times.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.below(1000) < per_mille
    }

    /// Notes what a checker says; the first violation counts, unless it is what careless operators cost.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        let Err(violation) = verdict else { return };
        let is_cost = ["P1", "P2", "P3"].contains(&violation.promise);
        if self.plan.operators == Operators::Careless && is_cost {
            self.trace.note(self.now, format_args!("the cost: {violation}"));
            self.costs += 1;
        } else if self.violation.is_none() {
            self.trace.note(self.now, format_args!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    /// Lets the world go on until a time, or until a promise is broken.
    pub(super) fn drive(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some(entry) = self.events.first_entry() else { break };
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { node, device, message, relayed } => {
                self.packet(node, device, &message, relayed);
            }
            Event::Reply { node, device, bytes } => self.reply(node, device, &bytes),
            Event::Timer(device) => self.timer(device),
            Event::Deed => self.deed(),
            Event::Portal => self.portal(),
            Event::Tick(node, life) => self.tick(node, life),
            Event::Synced(node, life) => self.synced(node, life),
            Event::GateLost(node, life) => self.gate_lost(node, life),
            Event::Committed(node, life, through) => self.committed(node, life, through),
            Event::Link { connection, to, what } => self.brought(connection, to, what),
            Event::Dial(node) => self.dial(node),
            Event::Exchange(node) => self.exchange(node),
            Event::Operator => self.operator(),
            Event::Declare(node) => self.declare(node),
            Event::Start(node) => self.start(node),
            Event::Heal => self.heal(),
            Event::NormalBy => self.must_be_normal(),
            Event::Settled => {
                self.acknowledged_in_rest = 0;
                self.checkers.spoken.begin_rest(self.link.connections);
            }
            Event::Nothing => {}
        }
    }

    fn heal(&mut self) {
        self.trace.note(self.now, format_args!("healed"));
        self.is_healed = true;
        self.faults = Faults::default();
        for node in &mut self.nodes {
            node.kernel.fails_until = self.now;
        }
        self.unreachable_until = [self.now; 2];
        self.link.heal(self.now);
        let now = self.now;
        self.checkers.live.healed(now);
        self.everybody_home();
    }
}
