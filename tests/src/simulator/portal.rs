//! The people at the portal: who is registered, suspended, put into quarantine, imported and let go.
//!
//! In a world without rules of its own they only register and unregister. What they are told is held
//! against what is durable and what the kernel holds at that moment.

use super::checks::ruled::Tells;
use super::gate_scene;
use super::plan;
use super::process::Process;
use super::rules::{GUEST, QUARANTINE, STAFF};
use super::world::{Event, World};
use std::net::Ipv4Addr;
use tokio::sync::oneshot;
use vestibule_core::{
    Answer, Class, Command, HardwareAddress, Input, LeaseFilter, Query, QueryAnswer, Register,
    Registration, RegistrationTarget, Replaces, Side, Suspension, Ticket,
};

/// Steps that may wait before calls have to wait too, as in the daemon.
const STEPS_WAITING_FOR_CALLS_MAX: u64 = 1024;

/// A call that is not answered yet.
#[derive(Debug)]
pub(crate) struct Call {
    /// What its answer says of each device, if it is not a refusal.
    tells: Tells,
    receiver: oneshot::Receiver<Answer>,
}

impl World {
    /// The portal wants something.
    pub(super) fn portal(&mut self) {
        if self.is_healed {
            return;
        }
        let next = 1 + self.random.below(self.plan.portal);
        self.arrange(next, Event::Portal);
        let hardware = plan::hardware(plan::to_usize(self.random.below(self.plan.devices as u64)));
        let address = self.checkers.unique.held(self.now).next().map(|(address, _)| address);
        let ends = self.server_now().plus_seconds(1 + self.random.below(60));
        let expires = (self.random.below(3) == 0).then_some(ends);
        let what = self.random.below(5);
        let command = match (what, address) {
            _ if self.plan.rules.is_there => self.wish(hardware),
            (0 | 1, _) => Command::Unregister(hardware),
            (2, Some(address)) => Command::Register(Register {
                expires,
                ..Register::of(RegistrationTarget::Address(address))
            }),
            _ => Command::Register(Register {
                owner: Some("somebody".into()),
                expires,
                ..Register::of(RegistrationTarget::Hardware(hardware))
            }),
        };
        self.call(command);
    }

    fn one_in(&mut self, parts: u64) -> bool {
        self.people.below(parts) == 0
    }

    fn somebody(&mut self) -> Box<str> {
        format!("somebody-{}", self.people.below(self.plan.rules.owners)).into()
    }

    fn some_device(&mut self) -> HardwareAddress {
        plan::hardware(plan::to_usize(self.people.below(self.plan.devices as u64)))
    }

    fn some_role(&mut self) -> Option<Box<str>> {
        let roles = [None, None, Some(STAFF), Some(GUEST), Some(QUARANTINE), Some("nobody's")];
        let most = if self.one_in(8) { 6 } else { 5 };
        roles[plan::to_usize(self.people.below(most))].map(Box::from)
    }

    /// What somebody wants in a world with rules.
    fn wish(&mut self, hardware: HardwareAddress) -> Command {
        let now = self.server_now();
        match self.people.below(20) {
            0 | 1 => Command::Unregister(hardware),
            2 => Command::Leave(hardware),
            3..=5 => {
                let reason = self.one_in(2).then(|| "it was seen elsewhere".into());
                Command::Suspend { hardware, reason }
            }
            6..=8 => Command::Resume(hardware),
            9 => {
                let count = 1 + self.people.below(5);
                let entries = (0..count).map(|_| self.entry()).collect();
                Command::Import { entries, apply: !self.one_in(4) }
            }
            _ => {
                let held: Vec<Ipv4Addr> =
                    self.checkers.unique.held(self.now).map(|(address, _)| address).collect();
                let by_address = !held.is_empty() && self.one_in(3);
                let target = if by_address {
                    let which = plan::to_usize(self.people.below(held.len() as u64));
                    RegistrationTarget::Address(held[which])
                } else {
                    RegistrationTarget::Hardware(hardware)
                };
                let ends = now.plus_seconds(self.people.below(60));
                let replaces = match self.people.below(6) {
                    0 => Some(Replaces::Device(self.some_device())),
                    1 => Some(Replaces::StalestRandomised),
                    _ => None,
                };
                Command::Register(Register {
                    owner: (!self.one_in(5)).then(|| self.somebody()),
                    role: self.some_role(),
                    expires: self.one_in(3).then_some(ends),
                    replaces,
                    may_lift_quarantine: self.one_in(2),
                    ..Register::of(target)
                })
            }
        }
    }

    /// One device of a file that is imported.
    fn entry(&mut self) -> Registration {
        let now = self.server_now();
        let hardware = self.some_device();
        let ends = now.plus_seconds(self.people.below(90));
        let since = now.plus_seconds(self.people.below(2) * 3600);
        let suspended = self.one_in(5).then(|| Box::new(Suspension { since, reason: None }));
        Registration {
            owner: (!self.one_in(3)).then(|| self.somebody()),
            role: self.some_role(),
            expires: self.one_in(2).then_some(ends),
            suspended,
            ..Registration::of(hardware, now)
        }
    }

    fn call(&mut self, command: Command) {
        let Some(process) = &mut self.process else { return };
        if process.waiting_for_barrier() >= STEPS_WAITING_FOR_CALLS_MAX {
            return;
        }
        let ticket = Ticket(process.calls_count);
        process.calls_count += 1;
        let (sender, receiver) = oneshot::channel();
        process.tickets.insert(ticket, sender);
        self.trace.note(self.now, format_args!("portal: {command:?}"));
        let concerned = self.concerned_by(&command);
        self.step(Input::Command(ticket, command.clone()));
        let Some(process) = &mut self.process else { return };
        let Some((_, answer)) = process.decided.take() else { return };
        let now = self.server_now();
        let verdict = self.checkers.ruled.decided(&command, &concerned, &answer, now);
        let tells = match verdict {
            Ok(tells) => tells,
            Err(violation) => return self.judge(Err(violation)),
        };
        let Some(process) = &mut self.process else { return };
        // Two calls about one device at once: the later one is what counts.
        for (device, _) in &tells {
            for call in &mut process.calls {
                call.tells.retain(|(other, _)| other != device);
            }
            self.checkers.durable.asked(*device);
        }
        process.calls.push(Call { tells, receiver });
    }

    /// The devices that a command could name, with the addresses that they hold: whom an address means is
    /// the core's business.
    fn concerned_by(&self, command: &Command) -> Concerned {
        let now = self.server_now();
        let Some(Process { server, .. }) = &self.process else { return Concerned::default() };
        let target = match command {
            Command::Register(Register { target, .. }) => match target {
                RegistrationTarget::Hardware(hardware) => Some(*hardware),
                RegistrationTarget::Address(address) => {
                    match server.query(now, &Query::Lease(*address)) {
                        QueryAnswer::Lease(Some(view)) if view.held => Some(view.lease.hardware),
                        _ => None,
                    }
                }
                RegistrationTarget::Token(_) => None,
            },
            Command::Unregister(hardware)
            | Command::Leave(hardware)
            | Command::Suspend { hardware, .. }
            | Command::Resume(hardware) => Some(*hardware),
            Command::Import { .. }
            | Command::PartnerDown { .. }
            | Command::Merge { .. }
            | Command::Configure { .. }
            | Command::CreateVouchers(_)
            | Command::RevokeVoucher { .. } => None,
        };
        let query = Query::Leases { after: None, limit: usize::MAX, filter: LeaseFilter::Held };
        let held = match server.query(now, &query) {
            QueryAnswer::Leases { leases, .. } if self.plan.rules.is_there => {
                leases.into_iter().map(|view| (view.lease.hardware, view.lease.address)).collect()
            }
            _ => Vec::new(),
        };
        Concerned { target, held }
    }

    /// Reads what the portal was answered.
    pub(super) fn hear_answers(&mut self) {
        let Some(process) = &mut self.process else { return };
        let mut answered = Vec::new();
        process.calls.retain_mut(|call| match call.receiver.try_recv() {
            Ok(answer) => {
                answered.push((std::mem::take(&mut call.tells), answer));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        for (tells, answer) in answered {
            self.trace.note(self.now, format_args!("portal is told {answer:?}"));
            self.told(tells);
        }
    }

    /// What was told is durable, and the kernel has it.
    fn told(&mut self, tells: Tells) {
        let server_now = self.server_now();
        for (hardware, registration) in tells {
            // One that has ended since took the device out of the kernel with it; the next tick lets it
            // in again.
            let has_ended = registration.as_ref().is_some_and(|told| !told.is_valid(server_now));
            let view = &self.disk.view;
            let verdict = self.checkers.durable.answered(view, hardware, registration, server_now);
            self.judge(verdict);
            if has_ended {
                continue;
            }
            let side = match self.disk.view.class(hardware, server_now) {
                Class::Registered => Side::Registered,
                Class::Unregistered => Side::Unregistered,
            };
            let addresses: Vec<Ipv4Addr> = self.disk.view.held_by(hardware, server_now).collect();
            let scene = gate_scene!(self, &[]);
            let verdict = self.checkers.gate.answered(scene, &addresses, side);
            self.judge(verdict);
        }
    }
}

/// Whom a command is about, and who holds what, when it is decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concerned {
    /// The device that it names.
    pub(crate) target: Option<HardwareAddress>,
    /// Held addresses with their devices; only in a world with rules.
    pub(crate) held: Vec<(HardwareAddress, Ipv4Addr)>,
}
