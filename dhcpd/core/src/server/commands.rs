//! Commands: who is let in and who is held back, and what the kernel is told when that changes.
//!
//! An answer always waits for a commit of its own, also when nothing had to be changed: an equal
//! command just before it may not be durable yet, and the answer promises that it is.

use super::{Server, Step};
use crate::event::EndCause;
use crate::{
    Answer, Command, Effect, HardwareAddress, Imported, Registration, Release, Suspension, Ticket,
    Timestamp, limits,
};
use std::net::Ipv4Addr;

impl Server {
    pub(super) fn command(&mut self, ticket: Ticket, command: Command, step: &mut Step<'_>) {
        let promises = !matches!(
            command,
            Command::Import { apply: false, .. } | Command::Configure { apply: false, .. }
        );
        let answer = match command {
            Command::Register(register) => {
                let (target, owner) = (register.target, register.owner.clone());
                match self.register(register, step) {
                    Ok(registered) => registered,
                    Err(refusal) => {
                        self.announce_limit(&refusal, target, owner, step);
                        *refusal
                    }
                }
            }
            Command::Unregister(hardware) => self.unregister(hardware, step),
            Command::Leave(hardware) => self.leave(hardware, step),
            Command::Suspend { hardware, reason } => self.suspend(hardware, reason, step),
            Command::Resume(hardware) => self.resume(hardware, step),
            Command::Import { entries, apply } => self.import(entries, apply, step),
            Command::PartnerDown { leases_lost } => self.partner_is_down(leases_lost, step),
            Command::Merge { records, is_whole } => self.merge(records, is_whole, step),
            Command::Configure { configuration, apply } => {
                self.configure(*configuration, apply, step)
            }
            Command::CreateVouchers(vouchers) => {
                self.create_vouchers(vouchers, step).unwrap_or_else(|refusal| *refusal)
            }
            Command::RevokeVoucher { id, end_registrations } => {
                self.revoke_voucher(id, end_registrations, step)
            }
        };
        let release = match answer {
            // Nothing changed, and nothing is promised.
            Answer::NoLease(_)
            | Answer::LeaseTokenRefused(_)
            | Answer::NoHardwareAddress(_)
            | Answer::ExpiryInThePast(_)
            | Answer::RegistrationsFull
            | Answer::UnknownRole { .. }
            | Answer::DeviceLimitReached { .. }
            | Answer::NothingToReplace { .. }
            | Answer::ReplacesAnothers(_)
            | Answer::RandomisedAddressRefused { .. }
            | Answer::HeldBack { .. }
            | Answer::ImportRefused { .. }
            | Answer::VouchersFull
            | Answer::VoucherRefused(_)
            | Answer::PartnerIsConnected
            | Answer::LeasesNotKnown
            | Answer::NotWithPartner
            | Answer::NotPaired => Release::Immediately,
            // That a device is not registered is true only when the end of its registration is.
            Answer::Registered { .. }
            | Answer::Unregistered { .. }
            | Answer::NotRegistered(_)
            | Answer::Imported(_)
            | Answer::Merged(_)
            | Answer::Configured { .. }
            | Answer::VouchersCreated { .. }
            | Answer::VoucherRevoked { .. }
            | Answer::NoSuchVoucher(_)
            | Answer::PartnerIsDown => {
                if promises {
                    step.has_durable = true;
                    step.after_commit()
                } else {
                    Release::Immediately
                }
            }
        };
        step.effects.push(Effect::Answer { ticket, answer, release });
    }

    fn unregister(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) -> Answer {
        if !self.end_registration(hardware, Some(EndCause::Command), step) {
            return Answer::NotRegistered(hardware);
        }
        Answer::Unregistered { addresses: self.gated_addresses(hardware) }
    }

    fn leave(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) -> Answer {
        let registration = self.registrations.valid(hardware, self.now);
        match registration.map(|registration| self.check_not_held_back(registration, |_| false)) {
            Some(Err(refusal)) => *refusal,
            Some(Ok(())) | None => self.unregister(hardware, step),
        }
    }

    fn suspend(
        &mut self,
        hardware: HardwareAddress,
        reason: Option<Box<str>>,
        step: &mut Step<'_>,
    ) -> Answer {
        let Some(old) = self.registrations.valid(hardware, self.now) else {
            return Answer::NotRegistered(hardware);
        };
        let since = old.suspended.as_ref().map_or(self.now, |suspension| suspension.since);
        let suspended = Some(Box::new(Suspension { since, reason }));
        let registration = Registration { suspended, ..old.clone() };
        self.keep(registration, false, None, step)
    }

    fn resume(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) -> Answer {
        let Some(old) = self.registrations.valid(hardware, self.now) else {
            return Answer::NotRegistered(hardware);
        };
        let registration = Registration { suspended: None, ..old.clone() };
        self.keep(registration, false, None, step)
    }

    fn import(&mut self, entries: Vec<Registration>, apply: bool, step: &mut Step<'_>) -> Answer {
        let mut imported = Imported::default();
        let mut wanted = Vec::with_capacity(entries.len());
        for (position, entry) in entries.into_iter().enumerate() {
            let refused = |because| Answer::ImportRefused { position, because: Box::new(because) };
            if position >= limits::IMPORT_ENTRIES_MAX {
                return refused(Answer::RegistrationsFull);
            }
            if let Err(refusal) = self.check_device(entry.hardware, entry.role.as_deref()) {
                return refused(*refusal);
            }
            if !entry.is_valid(self.now) {
                imported.ended += 1;
                continue;
            }
            let old = self.registrations.valid(entry.hardware, self.now);
            let entry = self.as_imported(entry, old);
            match old {
                None => imported.created += 1,
                Some(old) if *old == entry => {
                    imported.unchanged += 1;
                    continue;
                }
                Some(_) => imported.changed += 1,
            }
            if self.registrations.len() + imported.created > limits::REGISTRATIONS_MAX {
                return refused(Answer::RegistrationsFull);
            }
            wanted.push(entry);
        }
        if apply {
            for entry in wanted {
                self.put_registration(entry, step);
            }
        }
        Answer::Imported(imported)
    }

    /// An entry as it is kept: nothing in it has happened in the future, which would set the clock of the
    /// next start.
    fn as_imported(&self, entry: Registration, old: Option<&Registration>) -> Registration {
        let suspended = entry.suspended.map(|suspension| {
            let since = suspension.since.min(self.now);
            Box::new(Suspension { since, reason: suspension.reason })
        });
        let before = old.map_or(self.now, |old| old.registered);
        let registered =
            if entry.registered == Timestamp::FOREVER { before } else { entry.registered };
        Registration {
            registered: registered.min(self.now),
            suspended: suspended.or_else(|| old?.suspended.clone()),
            ..entry
        }
    }

    /// Puts a registration in, and answers with it.
    pub(super) fn keep(
        &mut self,
        registration: Registration,
        created: bool,
        replaced: Option<HardwareAddress>,
        step: &mut Step<'_>,
    ) -> Answer {
        let hardware = registration.hardware;
        let state = registration.state(self.topology.configuration());
        self.put_registration(registration.clone(), step);
        let addresses = self.gated_addresses(hardware);
        Answer::Registered { registration, state, addresses, created, replaced }
    }

    fn put_registration(&mut self, registration: Registration, step: &mut Step<'_>) {
        let hardware = registration.hardware;
        let old = self.registrations.valid(hardware, self.now).cloned();
        let record = self.registration_record(registration.clone());
        self.registrations.insert(registration.clone());
        step.persist(record);
        self.tell_gate(hardware, step);
        self.announce_registration(registration, old.as_ref(), step);
    }

    /// Ends a registration, by command or, if there is no `cause`, because its time has come. Whether
    /// there was one.
    pub(super) fn end_registration(
        &mut self,
        hardware: HardwareAddress,
        cause: Option<EndCause>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(registration) = self.registrations.remove(hardware) else { return false };
        let record = self.registration_end_record(hardware, cause.is_none());
        step.persist(record);
        self.tell_gate(hardware, step);
        self.announce_end(registration, cause, step);
        true
    }

    /// Has the kernel told of every address that the device holds in gated networks.
    pub(super) fn tell_gate(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) {
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
    }

    pub(super) fn gated_addresses(&self, hardware: HardwareAddress) -> Vec<Ipv4Addr> {
        let mut addresses: Vec<Ipv4Addr> = self
            .book
            .of_hardware(hardware)
            .filter(|lease| {
                super::book::side_of(&self.topology, &self.registrations, *lease, self.now)
                    .is_some()
            })
            .map(super::book::Entry::address)
            .collect();
        addresses.sort_unstable();
        addresses
    }
}
