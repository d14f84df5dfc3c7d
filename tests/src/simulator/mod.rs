//! The single-server simulator: one seed, one run, always the same.
//!
//! The core, the codec and the barrier are the real ones, and so are the clients (of the load program).
//! Time, network, disk and kernel are models, and everything that can go wrong with them does, as often
//! as the seed wants it. The first phase has faults; in the second they are healed, and everybody has to
//! get their address.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | what a seed chooses |
//! | `world` | time, events, and what outlives a process |
//! | `process` | the server's process: core, codec, and the shell around them |
//! | `host` | what the barrier has of the host |
//! | `overload` | more packets than are served |
//! | `devices` | clients, their network and the people who use them |
//! | `disk`, `kernel`, `view` | models |
//! | `rules`, `portal` | what holds for registrations, and what people do with them |
//! | `pair` | two servers and the link between them: a world of its own, with the same models |
//! | `checks` | one checker for each promise |
//! | `trace` | what happened, as a hash and in words |
//!
//! It starts no thread and reads no clock that matters. It never asks the server whether it is right.

pub(crate) mod checks;
mod device;
mod devices;
mod disk;
mod host;
mod kernel;
mod overload;
pub mod pair;
pub(crate) mod plan;
mod portal;
mod process;
mod rules;
mod trace;
mod view;
mod world;

pub use checks::Violation;
pub use checks::bounded::Queues;
use host::Host;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use vestibule_dhcpd::commit::{Barrier, GROUP_STEPS_MAX, Work};
use world::{Event, World};

/// How often it is looked whether the gate has become what it should be.
const LOOKS_MAX: usize = 200;

/// Milliseconds between two looks.
const LOOK_INTERVAL: u64 = 25;

/// What there is to be held against each other in a check of P3.
macro_rules! gate_scene {
    ($world:expr, $ahead:expr) => {
        $crate::simulator::checks::gate::Scene {
            kernel: &$world.kernel,
            durable: &$world.disk.view,
            ahead: $ahead,
            now: $world.now,
            server_now: $world.server_now(),
        }
    };
}
use gate_scene;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// Events in its trace.
    pub events: u64,
    /// ACKs that clients took.
    pub acknowledgements: u64,
    /// Processes that ended.
    pub restarts: u64,
    /// Packets that were shed for others.
    pub shed: u64,
    /// Hosts that were sent to the pool of another class.
    pub moves: u64,
    /// Commands that were refused by the rules of registrations.
    pub refusals: u64,
    /// The most that waited anywhere.
    pub most: Queues,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// The last events in words.
    pub last: Vec<String>,
}

/// Runs a seed. `milliseconds`: how long the phase with faults is, if not as the seed wants it: a
/// failing seed is easier to read when it is short.
#[must_use]
pub fn run(seed: u64, milliseconds: Option<u64>) -> Outcome {
    let world = Rc::new(RefCell::new(World::new(seed, milliseconds)));
    let mut barrier = None;
    let end = world.borrow().plan.end;
    drive(&world, &mut barrier, end);
    converge(&world, &mut barrier);
    let world = world.borrow();
    Outcome {
        seed,
        hash: world.trace.hash(),
        events: world.trace.count(),
        acknowledgements: world.acknowledgements,
        restarts: world.restarts,
        shed: world.checkers.admitted.most,
        moves: world.checkers.placed.moves,
        refusals: world.checkers.ruled.refusals,
        most: world.checkers.bounded.most,
        violation: world.violation.clone(),
        last: world.trace.last(),
    }
}

/// The barrier of one process.
struct Running {
    life: u64,
    barrier: Barrier<Host, Host, Host>,
}

/// Lets the world go on until a time.
fn drive(world: &Rc<RefCell<World>>, running: &mut Option<Running>, until: u64) {
    loop {
        let (life, is_there) = {
            let world = world.borrow();
            if world.violation.is_some() || world.now > until {
                return;
            }
            (world.life, world.process.is_some())
        };
        if running.as_ref().is_some_and(|running| running.life != life || !is_there) {
            *running = None;
        }
        if is_there && running.is_none() {
            *running = start(world, life);
        }
        let has_worked = running.as_mut().is_some_and(|running| work(world, running));
        if !has_worked && !world.borrow_mut().turn(until) {
            return;
        }
    }
}

fn start(world: &Rc<RefCell<World>>, life: u64) -> Option<Running> {
    let host = || Host::new(Rc::clone(world), life);
    let world = world.borrow();
    let metrics = Arc::clone(&world.process.as_ref()?.metrics);
    let barrier = Barrier::new(host(), Some(host()), host(), metrics).with_time(world.clock());
    Some(Running { life, barrier })
}

/// Has the barrier do what there is to do. Whether there was anything.
fn work(world: &Rc<RefCell<World>>, running: &mut Running) -> bool {
    let group: Vec<Work> = {
        let mut world = world.borrow_mut();
        let Some(process) = &mut world.process else { return false };
        let count = process.work.len().min(GROUP_STEPS_MAX);
        let is_due = std::mem::take(&mut process.retry_is_due);
        if count == 0 && !is_due {
            return false;
        }
        let group: Vec<Work> = process.work.drain(..count).collect();
        world.committing = group.iter().flat_map(|work| work.records.iter().cloned()).collect();
        group
    };
    if !group.is_empty() && running.barrier.commit_group(group).is_err() {
        return true;
    }
    world.borrow_mut().committing.clear();
    let retry = running.barrier.retry_gate();
    let mut world = world.borrow_mut();
    if !world.is_alive(running.life) {
        return true;
    }
    world.hear_answers();
    let Some(process) = &mut world.process else { return true };
    process.waiting_for_gate = running.barrier.waiting_for_gate();
    let is_quiet =
        process.work.is_empty() && process.waiting_for_gate == 0 && process.inbox.is_empty();
    if let Some(rest) = retry
        && !std::mem::replace(&mut process.retry_is_arranged, true)
    {
        let after = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).max(1);
        world.arrange(after, Event::GateRetry(running.life));
    }
    world.look(is_quiet);
    true
}

/// The end of a run: everybody has a lease, and the gate becomes what it should be.
fn converge(world: &Rc<RefCell<World>>, running: &mut Option<Running>) {
    {
        let mut world = world.borrow_mut();
        let now = world.now;
        let devices = world.devices.iter().enumerate().filter(|(_, device)| device.is_on);
        let devices = devices.map(|(number, device)| {
            let has_lease = device.client.lease().is_some_and(|lease| now < lease.ends);
            (number, device.acknowledged, has_lease)
        });
        let verdict = world.checkers.live.end(devices);
        world.judge(verdict);
    }
    let mut verdict = Ok(());
    for _ in 0..LOOKS_MAX {
        let until = {
            let world = world.borrow();
            let server_now = world.server_now();
            let kernel = world.kernel.contents(world.now);
            let core = world.core_gate(server_now);
            verdict =
                world.checkers.derived.quiet(&kernel, &core, &world.disk.view.gate(server_now));
            world.now + LOOK_INTERVAL
        };
        if verdict.is_ok() {
            break;
        }
        world.borrow_mut().arrange(LOOK_INTERVAL, Event::Nothing);
        drive(world, running, until);
    }
    world.borrow_mut().judge(verdict);
    world.borrow_mut().shed_is_counted();
}
