//! Registrations: who is let in, and what the kernel is told when that changes.
//!
//! An answer always waits for a commit of its own, also when nothing had to be changed: an equal
//! command just before it may not be durable yet, and the answer promises that it is.

use super::{Server, Step};
use crate::{
    Answer, Command, Effect, HardwareAddress, Record, Registration, RegistrationTarget, Release,
    Ticket, Timestamp, limits,
};
use std::net::Ipv4Addr;

impl Server {
    pub(super) fn command(&mut self, ticket: Ticket, command: Command, step: &mut Step<'_>) {
        let answer = match command {
            Command::Register { target, owner, expires, replaces } => {
                self.register(target, owner, expires, replaces, step)
            }
            Command::Unregister(hardware) => self.unregister(hardware, step),
        };
        let release = match answer {
            // Nothing changed, and nothing is promised.
            Answer::NoLease(_)
            | Answer::NoHardwareAddress(_)
            | Answer::ExpiryInThePast(_)
            | Answer::RegistrationsFull => Release::Immediately,
            // That a device is not registered is true only when the end of its registration is.
            Answer::Registered { .. } | Answer::Unregistered { .. } | Answer::NotRegistered(_) => {
                step.has_durable = true;
                step.after_commit()
            }
        };
        step.effects.push(Effect::Answer { ticket, answer, release });
    }

    fn register(
        &mut self,
        target: RegistrationTarget,
        owner: Option<Box<str>>,
        expires: Option<Timestamp>,
        replaces: Option<HardwareAddress>,
        step: &mut Step<'_>,
    ) -> Answer {
        let hardware = match target {
            RegistrationTarget::Hardware(hardware) => hardware,
            RegistrationTarget::Address(address) => {
                let lease = self.book.entry(address.into());
                let Some(lease) = lease.filter(|lease| lease.is_held(self.now)) else {
                    return Answer::NoLease(address);
                };
                lease.hardware()
            }
        };
        if hardware.is_zero() {
            return Answer::NoHardwareAddress(target);
        }
        if let Some(expires) = expires.filter(|expires| *expires <= self.now) {
            return Answer::ExpiryInThePast(expires);
        }
        let old = self
            .registrations
            .get(&hardware)
            .filter(|registration| registration.is_valid(self.now));
        let created = old.is_none();
        let freed = replaces.is_some_and(|replaced| self.registrations.contains_key(&replaced));
        if created && self.registrations.len() >= limits::REGISTRATIONS_MAX + usize::from(freed) {
            return Answer::RegistrationsFull;
        }
        let registered = old.map_or(self.now, |registration| registration.registered);
        if let Some(replaced) = replaces.filter(|replaced| *replaced != hardware) {
            self.end_registration(replaced, step);
        }
        let registration = Registration { hardware, owner, registered, expires };
        self.remember(registration.clone());
        step.persist(Record::Registration(registration.clone()));
        let addresses = self.tell_gate(hardware, step);
        Answer::Registered { registration, addresses, created }
    }

    fn unregister(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) -> Answer {
        if !self.end_registration(hardware, step) {
            return Answer::NotRegistered(hardware);
        }
        Answer::Unregistered { addresses: self.gated_addresses(hardware) }
    }

    /// Ends a registration, whether by command or because its time has come. Whether there was one.
    pub(super) fn end_registration(
        &mut self,
        hardware: HardwareAddress,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(registration) = self.registrations.remove(&hardware) else { return false };
        if let Some(expires) = registration.expires {
            self.registrations_by_end.remove(&(expires, hardware));
        }
        step.persist(Record::RegistrationRemoved(hardware));
        self.tell_gate(hardware, step);
        true
    }

    fn remember(&mut self, registration: Registration) {
        let (hardware, expires) = (registration.hardware, registration.expires);
        let old = self.registrations.insert(hardware, registration);
        if let Some(old_expires) = old.and_then(|old| old.expires) {
            self.registrations_by_end.remove(&(old_expires, hardware));
        }
        if let Some(expires) = expires {
            self.registrations_by_end.insert((expires, hardware));
        }
    }

    /// Has the kernel told of every address that the device holds in gated networks.
    fn tell_gate(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) -> Vec<Ipv4Addr> {
        let addresses: Vec<u32> =
            self.book.of_hardware(hardware).map(|lease| lease.address().into()).collect();
        for address in addresses {
            // Also where the side stays: the end of the registration may have moved.
            if !self.settle(address, step) {
                let change = self.book.remaining_time(
                    &self.topology,
                    &self.registrations,
                    address,
                    self.now,
                );
                step.gate(change);
            }
        }
        self.gated_addresses(hardware)
    }

    fn gated_addresses(&self, hardware: HardwareAddress) -> Vec<Ipv4Addr> {
        let mut addresses: Vec<Ipv4Addr> = self
            .book
            .of_hardware(hardware)
            .filter(|lease| {
                super::book::side_of(&self.topology, &self.registrations, lease, self.now).is_some()
            })
            .map(super::book::Entry::address)
            .collect();
        addresses.sort_unstable();
        addresses
    }
}
