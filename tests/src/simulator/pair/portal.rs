//! The people at the portals. Where the halves exchange no registrations, who is registered at one half is
//! registered at the other too, as soon as that one is there.
//!
//! In worlds with rules they have roles, one of them a quarantine, and are suspended. Limits there are none:
//! two halves that cannot hear each other count each for itself.

use super::plan::NODES;
use super::world::{Event, Pair};
use crate::simulator::plan as names;
use crate::simulator::rules::{GUEST, QUARANTINE, STAFF};
use vestibule_core::{
    Answer, Class, Command, HardwareAddress, Register, RegistrationTarget, Side, Ticket,
};

/// What somebody wants for a device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// It shall not be registered.
    Unregister,
    /// It shall be suspended.
    Suspend,
    /// It shall be registered.
    Register {
        /// In this role.
        role: Option<&'static str>,
        /// Until then, by the true time.
        until: Option<u64>,
    },
}

impl Pair {
    /// The portals want something.
    pub(super) fn portal(&mut self) {
        if self.is_healed {
            return;
        }
        let next = 1 + self.random.below(self.plan.portal);
        self.arrange(next, Event::Portal);
        let hardware =
            names::hardware(names::to_usize(self.random.below(self.plan.devices as u64)));
        let ends = self.random.below(3) == 0;
        let seconds = 1 + self.random.below(120);
        let is_end = self.random.below(3) == 0;
        if self.plan.exchanges {
            return self.portal_of_one(hardware, ends.then_some(seconds));
        }
        let has_rules = self.plan.rules.is_there;
        let wish = if has_rules && self.people.below(5) == 0 {
            Wish::Suspend
        } else if is_end {
            Wish::Unregister
        } else {
            let roles = [None, None, Some(STAFF), Some(GUEST), Some(QUARANTINE)];
            let role = if has_rules { roles[names::to_usize(self.people.below(5))] } else { None };
            Wish::Register { role, until: ends.then_some(self.now + seconds * 1000) }
        };
        self.wishes.insert(hardware, wish);
        for number in NODES {
            self.wish(number, hardware, wish);
        }
    }

    /// A server that was away is told what became of every device meanwhile.
    pub(super) fn tell_missed_registrations(&mut self, number: usize) {
        if !self.plan.rules.is_there {
            return;
        }
        for (hardware, wish) in self.wishes.clone() {
            self.wish(number, hardware, wish);
        }
    }

    fn wish(&mut self, number: usize, hardware: HardwareAddress, wish: Wish) {
        let now = self.now;
        let command = match wish {
            Wish::Unregister => Command::Unregister(hardware),
            Wish::Suspend => Command::Suspend { hardware, reason: None },
            Wish::Register { until: Some(until), .. } if until <= now => {
                Command::Unregister(hardware)
            }
            Wish::Register { role, until } => {
                let server_now = self.nodes[number].time(now);
                let expires =
                    until.map(|until| server_now.plus_seconds((until - now).div_ceil(1000)));
                Command::Register(Register {
                    role: role.map(Box::from),
                    expires,
                    may_lift_quarantine: true,
                    ..Register::of(RegistrationTarget::Hardware(hardware))
                })
            }
        };
        self.command(number, command, Some(hardware));
    }

    /// A portal is told what is durable and in the kernel.
    pub(super) fn answered(&mut self, number: usize, ticket: Ticket, answer: Answer) {
        self.trace.note(self.now, format_args!("server {number} answers {answer:?}"));
        let Some(process) = &mut self.nodes[number].process else { return };
        let Some(hardware) = process.calls.remove(&ticket) else { return };
        let (registration, addresses) = match answer {
            Answer::Registered { registration, addresses, .. } => (Some(registration), addresses),
            Answer::Unregistered { addresses } => (None, addresses),
            _ => return,
        };
        let server_now = self.nodes[number].time(self.now);
        // One that has ended since took the device out of the kernel with it.
        let has_ended = registration.as_ref().is_some_and(|told| !told.is_valid(server_now));
        let view = &self.nodes[number].disk.view;
        let durable = &mut self.checkers.durable[number];
        let verdict = durable.answered(view, hardware, registration, server_now);
        self.judge(verdict);
        if has_ended {
            return;
        }
        let side = match self.nodes[number].disk.view.class(hardware, server_now) {
            Class::Registered => Side::Registered,
            Class::Unregistered => Side::Unregistered,
        };
        let verdict = {
            let scene = self.scene(number, false);
            self.checkers.gate.answered(scene, &addresses, side)
        };
        self.judge(verdict);
    }
}
