//! The world: time, events, and everything that outlives a process.
//!
//! Everything happens in the order of its time; what happens at the same time, in the order in which it
//! was arranged. There is one source of randomness, the seed.

use super::checks::{Checkers, Ruled, Verdict, Violation};
use super::device::Device;
use super::disk::Disk;
use super::kernel::Kernel;
use super::overload::Strangers;
use super::plan::{Faults, Plan};
use super::process::Process;
use super::trace::Trace;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vestibule_core::{Record, Sequence, Timestamp};
use vestibule_dhcpd::clock::Reading;
use vestibule_load::message::Message;
use vestibule_load::random::Random;

/// The true time at the beginning of every run, as a wall clock shows it.
const EPOCH: u64 = 1_700_000_000_000;

/// What makes another sequence of a seed, for what people do. So chosen that the worlds of kept seeds
/// have no rules, and keep their course.
const PEOPLE: u64 = 0x2_0000_0000;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet arrives at the server.
    Packet {
        /// Whose.
        device: usize,
        /// What.
        message: Message,
        /// The network whose relay passed it on; `None`: the client sent it itself.
        relayed: Option<usize>,
    },
    /// A packet arrives at a device.
    Reply {
        /// Whose.
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
    /// The core wants a tick.
    Tick(u64),
    /// The barrier tells a life's core.
    Committed(u64, Sequence),
    /// The barrier or the watch tells a life's core.
    GateLost(u64),
    /// The barrier looks whether it should ask for the gate again.
    GateRetry(u64),
    /// Something bad may happen to the host.
    Operator,
    /// The server starts.
    Start,
    /// From now on nothing goes wrong.
    Heal,
    /// A life's process decides what waits.
    Turn(u64),
    /// Strangers send something.
    Strangers,
    /// Nothing but that time has passed.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(super) plan: Plan,
    pub(super) faults: Faults,
    pub(super) random: Random,
    /// For what came to this simulator later: seeds whose stories are kept keep their course.
    pub(super) aside: Random,
    /// For what people do with registrations.
    pub(super) people: Random,
    pub(super) strangers: Strangers,
    pub(super) now: u64,
    pub(super) trace: Trace,
    pub(super) devices: Vec<Device>,
    pub(super) disk: Disk,
    pub(super) kernel: Kernel,
    /// The records of the group that is being committed, until it is or until the next start: the kernel
    /// is ahead of the disk by it.
    pub(super) committing: Vec<Record>,
    pub(super) process: Option<Process>,
    /// Counts the processes.
    pub(super) life: u64,
    /// How far the wall clock is behind the true time when the machine boots, in milliseconds; never
    /// ahead: no server could tell (docs/storage.md, "Time").
    pub(super) wall_behind: u64,
    /// What somebody has set the wall clock forth or back by since the machine booted.
    pub(super) wall_step: i64,
    /// Counts the machine's boots.
    pub(super) boot: u64,
    /// When it booted last.
    pub(super) booted: u64,
    /// How far the server's clock is from the true time, in milliseconds after the epoch.
    pub(super) server_offset: u64,
    pub(super) checkers: Checkers,
    pub(super) violation: Option<Violation>,
    pub(super) is_healed: bool,
    pub(super) acknowledgements: u64,
    pub(super) restarts: u64,
    time: Arc<AtomicU64>,
    base: Instant,
    events: BTreeMap<(u64, u64), Event>,
    arranged: u64,
}

impl World {
    /// The world of a seed, before anything has happened.
    #[must_use]
    pub(crate) fn new(seed: u64, milliseconds: Option<u64>) -> Self {
        let mut random = Random::new(seed);
        let mut aside = Random::new(!seed);
        let mut people = Random::new(seed ^ PEOPLE);
        let plan = Plan::of(&mut random, &mut aside, &mut people, milliseconds);
        let rules = Arc::new(plan.rules.clone());
        let devices = (0..plan.devices).map(|number| {
            Device::new(number, number % plan.networks, plan.first_wait, random.number())
        });
        let devices = devices.collect();
        let mut world = Self {
            faults: plan.faults,
            now: 0,
            trace: Trace::default(),
            devices,
            disk: Disk::new(Arc::clone(&rules)),
            kernel: Kernel::default(),
            committing: Vec::new(),
            process: None,
            life: 0,
            wall_behind: 0,
            wall_step: 0,
            boot: 0,
            booted: 0,
            server_offset: EPOCH,
            checkers: Checkers { ruled: Ruled::new(rules), ..Checkers::default() },
            violation: None,
            is_healed: false,
            acknowledgements: 0,
            restarts: 0,
            time: Arc::new(AtomicU64::new(0)),
            base: Instant::now(),
            events: BTreeMap::new(),
            arranged: 0,
            random,
            aside,
            people,
            strangers: Strangers::default(),
            plan,
        };
        let heal = world.plan.heal;
        world.arrange(0, Event::Start);
        world.arrange(heal, Event::Heal);
        if let Some(overload) = world.plan.overload {
            world.arrange(overload.from, Event::Strangers);
        }
        world.arrange(1_000, Event::Operator);
        world.arrange(world.plan.deeds, Event::Deed);
        world.arrange(world.plan.portal, Event::Portal);
        for device in 0..world.devices.len() {
            let at = world.random.below(3_000);
            world.devices[device].wake_at = Some(at);
            world.arrange(at, Event::Timer(device));
        }
        world
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

    /// What time it is for the barrier.
    pub(super) fn clock(&self) -> impl Fn() -> Instant + Send + 'static {
        let (time, base) = (Arc::clone(&self.time), self.base);
        move || base + Duration::from_millis(time.load(Ordering::Relaxed))
    }

    /// What time it is for the barrier, now.
    pub(super) fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    /// What time it is on the server's clock.
    pub(super) const fn server_now(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.server_offset + self.now)
    }

    /// What the machine's clocks show.
    pub(super) fn clocks(&self) -> Reading {
        let wall = (EPOCH + self.now - self.wall_behind).saturating_add_signed(self.wall_step);
        let since_boot = Some((self.boot.to_string(), self.now - self.booted));
        Reading { wall: Timestamp::from_milliseconds(wall), since_boot }
    }

    /// Notes what a checker says; the first violation counts.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            self.trace.note(self.now, format_args!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    /// The next event, unless it comes after `until`. Whether there was one.
    pub(super) fn turn(&mut self, until: u64) -> bool {
        let Some(entry) = self.events.first_entry() else { return false };
        let (at, _) = *entry.key();
        if at > until || self.violation.is_some() {
            return false;
        }
        let event = entry.remove();
        self.set_time(at);
        self.happen(event);
        true
    }

    /// Lets the world go on for as long as something takes. Whether the process `life` is still there.
    pub(super) fn pass(&mut self, milliseconds: u64, life: u64) -> bool {
        let until = self.now + milliseconds;
        while self.is_alive(life) && self.turn(until) {}
        if self.is_alive(life) {
            self.set_time(until);
        }
        self.is_alive(life) && self.violation.is_none()
    }

    /// Whether the process with this number runs.
    pub(super) fn is_alive(&self, life: u64) -> bool {
        self.process.is_some() && self.life == life
    }

    fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.time.store(self.now, Ordering::Relaxed);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { device, message, relayed } => self.packet(device, &message, relayed),
            Event::Reply { device, bytes } => self.reply(device, &bytes),
            Event::Timer(device) => self.timer(device),
            Event::Deed => self.deed(),
            Event::Portal => self.portal(),
            Event::Tick(life) => self.tick(life),
            Event::Committed(life, through) => self.committed(life, through),
            Event::GateLost(life) => self.gate_lost(life),
            Event::GateRetry(life) => self.gate_retry(life),
            Event::Operator => self.operator(),
            Event::Start => self.start(),
            Event::Heal => self.heal(),
            Event::Turn(life) => self.turn_of_packets(life),
            Event::Strangers => self.strangers(),
            Event::Nothing => {}
        }
    }

    /// What happens to a host: kills, and people who flush tables.
    fn operator(&mut self) {
        if self.is_healed {
            return;
        }
        if self.chance(self.faults.flush) {
            self.trace.note(self.now, format_args!("somebody flushes the kernel sets"));
            let with_table = self.random.below(2) == 0;
            self.kernel.flush(with_table);
            let late = self.random.below(self.plan.notice + 1);
            self.arrange(late, Event::GateLost(self.life));
        }
        if self.faults.time_step > 0 && self.aside.below(1000) < self.faults.time_step {
            let steps = [-3_600_000, 0, 86_400_000];
            self.wall_step = steps[super::plan::to_usize(self.aside.below(3))];
            self.trace.note(self.now, format_args!("the clock is set by {}", self.wall_step));
        }
        if self.chance(self.faults.kill) {
            self.end_of_process("killed");
        }
        let next = 1_000 + self.random.below(20_000);
        self.arrange(next, Event::Operator);
    }

    fn heal(&mut self) {
        self.trace.note(self.now, format_args!("healed"));
        self.is_healed = true;
        self.faults = Faults::default();
        self.kernel.fails_until = self.now;
        let now = self.now;
        self.checkers.live.healed(now);
        self.everybody_home();
    }
}
