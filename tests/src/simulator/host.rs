//! The barrier's disk, kernel and outlet, made of the world's models.
//!
//! What takes time lets the world go on meanwhile: packets arrive and steps are decided while a group is
//! being synced, and the process may be killed in the middle of it.

use super::world::{Event, World};
use std::cell::RefCell;
use std::rc::Rc;
use vestibule_core::{GateChange, GateContents, Record, Sequence};
use vestibule_dhcpd::commit::{Enforcement, Envelope, Outlet, Stable};
use vestibule_dhcpd::net::Outgoing;

/// What one process has of its host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    world: Rc<RefCell<World>>,
    life: u64,
}

impl Host {
    /// The host of the process with this number.
    #[must_use]
    pub(crate) const fn new(world: Rc<RefCell<World>>, life: u64) -> Self {
        Self { world, life }
    }

    fn transaction(&self, change: impl FnOnce(&mut World)) -> Result<(), &'static str> {
        let mut world = self.world.borrow_mut();
        if !world.is_alive(self.life) {
            return Ok(());
        }
        let rate = world.faults.failing_gate;
        if world.now >= world.kernel.fails_until && world.chance(rate) {
            world.kernel.fails_until = world.now + world.plan.gate_outage;
        }
        let fails = world.now < world.kernel.fails_until || world.kernel.is_gone;
        // After an error the sets are as they were, or unknown.
        if !fails || (!world.kernel.is_gone && world.random.below(4) == 0) {
            change(&mut world);
        }
        if fails {
            let now = world.now;
            world.kernel.is_behind = true;
            world.trace.note(now, format_args!("the kernel sets cannot be changed"));
        }
        let took = world.random.below(4);
        world.pass(took, self.life);
        if fails { Err("the kernel says no") } else { Ok(()) }
    }
}

impl Stable for Host {
    type Error = &'static str;

    fn commit(&mut self, records: &[Record]) -> Result<(), Self::Error> {
        let mut world = self.world.borrow_mut();
        if !world.is_alive(self.life) {
            return Err("the process has ended");
        }
        world.disk.write(records);
        let (rate, now) = (world.faults.slow_sync, world.now);
        let most = if world.chance(rate) { world.plan.sync_slow } else { world.plan.sync };
        let took = 1 + world.random.below(most);
        world.trace.note(now, format_args!("sync of {} takes {took} ms", records.len()));
        if !world.pass(took, self.life) {
            return Err("the process has ended");
        }
        let rate = world.faults.failing_sync;
        if world.chance(rate) {
            world.end_of_process("the sync failed");
            return Err("the disk is gone");
        }
        world.disk.synced();
        Ok(())
    }

    fn frame_number(&self) -> u64 {
        self.world.borrow().disk.durable.len() as u64
    }

    fn between_groups(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl Enforcement for Host {
    type Error = &'static str;

    fn apply(&mut self, changes: &[GateChange]) -> Result<(), Self::Error> {
        self.transaction(|world| world.kernel.apply(changes, world.now))
    }

    fn replace(&mut self, contents: &GateContents) -> Result<(), Self::Error> {
        // The whole table is made anew, whatever became of it.
        self.world.borrow_mut().kernel.is_gone = false;
        self.transaction(|world| world.kernel.replace(&contents.elements, world.now))
    }
}

impl Outlet for Host {
    fn send(&mut self, replies: &[(Envelope, Outgoing<'_>)]) {
        let mut world = self.world.borrow_mut();
        for (envelope, outgoing) in replies {
            if world.is_alive(self.life) {
                world.leave(*envelope, *outgoing);
            }
        }
    }

    fn tell(&mut self, _frame_number: u64, _records: &[Record]) {}

    fn committed(&mut self, through: Sequence) {
        let mut world = self.world.borrow_mut();
        if world.is_alive(self.life) {
            let late = world.random.below(2);
            world.arrange(late, Event::Committed(self.life, through));
        }
    }

    fn gate_lost(&mut self) {
        let mut world = self.world.borrow_mut();
        if world.is_alive(self.life) {
            let late = world.random.below(2);
            world.arrange(late, Event::GateLost(self.life));
        }
    }
}
