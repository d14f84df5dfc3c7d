//! Taking over what the partner says of registrations and vouchers, into the book and the gate (P3, P4).
//!
//! Whatever comes in whatever order and however often, it ends in the same; [`crate::exchange`] says by which
//! rules. What is taken over is told to nobody as an event: the half where it happened does that. Only of a
//! device that goes because its owner got a last one at both halves is told here.

use super::{Fate, Known, revoked_until};
use crate::event::EndCause;
use crate::exchange::{ExchangeRecord, Exchanged, HybridTime, Merged};
use crate::server::{Server, Step};
use crate::{
    Answer, HardwareAddress, Record, Registration, RegistrationState, Timestamp, Voucher,
    VoucherHash, VoucherId, limits,
};

/// What became of one word.
enum Outcome {
    Taken,
    Known,
    Refused,
}

impl Server {
    /// Takes over what the partner says. `is_whole`: with it, this server knows all that the partner knew at one
    /// moment.
    pub(in crate::server) fn merge(
        &mut self,
        records: Vec<Exchanged>,
        is_whole: bool,
        step: &mut Step<'_>,
    ) -> Answer {
        if self.exchange.is_none() {
            return Answer::NotPaired;
        }
        let mut merged = Merged::default();
        for record in records.into_iter().take(limits::EXCHANGE_RECORDS_MAX) {
            if let Exchanged::Registration { stamp, .. }
            | Exchanged::RegistrationEnded { stamp, .. } = &record
                && !self.hear_of(*stamp)
            {
                merged.far_ahead += 1;
            }
            let outcome = match record {
                Exchanged::Registration { registration, stamp, devices_counted } => {
                    self.merge_registration(registration, stamp, devices_counted, step)
                }
                Exchanged::RegistrationEnded { hardware, stamp, is_by_time } => {
                    self.merge_end(hardware, stamp, is_by_time, step)
                }
                Exchanged::Voucher(voucher) => self.merge_voucher(voucher, step),
                Exchanged::VoucherRevoked { hash, expires } => {
                    self.merge_revocation(hash, expires, step)
                }
            };
            match outcome {
                Outcome::Taken => merged.taken += 1,
                Outcome::Known => merged.known += 1,
                Outcome::Refused => merged.refused += 1,
            }
        }
        if is_whole {
            merged.ended = self.end_conflicts(step);
        }
        Answer::Merged(merged)
    }

    /// Moves the clock. Whether the time is believable.
    fn hear_of(&mut self, stamp: HybridTime) -> bool {
        let now = self.now;
        self.exchange.as_deref_mut().is_some_and(|exchange| exchange.clock.observe(now, stamp))
    }

    fn merge_registration(
        &mut self,
        registration: Registration,
        stamp: HybridTime,
        devices_counted: u16,
        step: &mut Step<'_>,
    ) -> Outcome {
        let (taken, hardware) = (self.now, registration.hardware);
        let held = self.registrations.held(hardware);
        let Some(exchange) = self.exchange.as_deref_mut() else { return Outcome::Refused };
        match exchange.devices.get(&hardware) {
            Some(known) if known.stamp > stamp => return Outcome::Known,
            // Of two words with one stamp any rule does, if it is one: some half has lost its newest.
            Some(known)
                if known.stamp == stamp
                    && (known.is_over() || held.is_some_and(|held| *held >= registration)) =>
            {
                return Outcome::Known;
            }
            // It was ended, for all that is known. The partner hears so.
            None if stamp <= exchange.forgotten_through => {
                step.persist(exchange.end(hardware, stamp, taken, false));
                return Outcome::Taken;
            }
            Some(_) | None => {}
        }
        if !registration.is_valid(taken) {
            step.persist(exchange.end(hardware, stamp, taken, true));
            self.remove_merged(hardware, step);
            return Outcome::Taken;
        }
        if held.is_none() && self.registrations.len() >= limits::REGISTRATIONS_MAX {
            return Outcome::Refused;
        }
        exchange.keep(hardware, stamp, taken, Fate::Registered { devices_counted });
        self.registrations.insert(registration.clone());
        let owner = registration.owner.clone();
        step.persist(Record::Exchange(ExchangeRecord::Registration {
            registration,
            stamp,
            taken,
            devices_counted,
        }));
        self.tell_gate(hardware, step);
        if let Some(owner) = owner.filter(|owner| !self.surplus_of(owner).is_empty())
            && let Some(exchange) = self.exchange.as_deref_mut()
        {
            exchange.to_check.insert(owner);
        }
        Outcome::Taken
    }

    fn merge_end(
        &mut self,
        hardware: HardwareAddress,
        stamp: HybridTime,
        is_by_time: bool,
        step: &mut Step<'_>,
    ) -> Outcome {
        let taken = self.now;
        let Some(exchange) = self.exchange.as_deref_mut() else { return Outcome::Refused };
        match exchange.devices.get(&hardware) {
            Some(known) if known.stamp > stamp => return Outcome::Known,
            Some(known) if known.stamp == stamp && (known.is_over() || is_by_time) => {
                return Outcome::Known;
            }
            // Remembered no more, so it need not be again.
            None if stamp <= exchange.forgotten_through => return Outcome::Known,
            Some(_) | None => {}
        }
        step.persist(exchange.end(hardware, stamp, taken, is_by_time));
        self.remove_merged(hardware, step);
        Outcome::Taken
    }

    fn remove_merged(&mut self, hardware: HardwareAddress, step: &mut Step<'_>) {
        if self.registrations.remove(hardware).is_some() {
            self.tell_gate(hardware, step);
        }
    }

    fn merge_voucher(&mut self, voucher: Voucher, step: &mut Step<'_>) -> Outcome {
        let hash = voucher.hash;
        let Some(exchange) = self.exchange.as_deref() else { return Outcome::Refused };
        if exchange.revoked.contains_key(&hash) || voucher.expires <= self.now {
            return Outcome::Known;
        }
        let merged = match self.vouchers.valid(hash, self.now) {
            None if self.vouchers.len() >= limits::VOUCHERS_MAX => return Outcome::Refused,
            None => voucher,
            Some(held) => {
                let merged = held.joined(&voucher);
                if merged == *held {
                    return Outcome::Known;
                }
                merged
            }
        };
        self.vouchers.insert(merged.clone());
        let record = self.voucher_record(merged);
        step.persist(record);
        Outcome::Taken
    }

    fn merge_revocation(
        &mut self,
        hash: VoucherHash,
        expires: Timestamp,
        step: &mut Step<'_>,
    ) -> Outcome {
        let now = self.now;
        let Some(exchange) = self.exchange.as_deref_mut() else { return Outcome::Refused };
        if exchange.revoked.contains_key(&hash) || revoked_until(expires) <= now {
            return Outcome::Known;
        }
        if exchange.revoked.len() >= limits::VOUCHERS_MAX {
            return Outcome::Refused;
        }
        self.vouchers.remove(hash);
        exchange.keep_revoked(hash, expires);
        step.persist(Record::Exchange(ExchangeRecord::VoucherRevoked { hash, expires }));
        Outcome::Taken
    }

    /// Ends the oldest registrations of owners whom each half has let have a last device, while they could not
    /// hear each other. How many.
    fn end_conflicts(&mut self, step: &mut Step<'_>) -> usize {
        let Some(exchange) = self.exchange.as_deref_mut() else { return 0 };
        let mut ended = 0;
        for owner in std::mem::take(&mut exchange.to_check) {
            for hardware in self.surplus_of(&owner) {
                self.end_registration(hardware, Some(EndCause::DeviceLimit), step);
                ended += 1;
            }
        }
        if let Some(exchange) = self.exchange.as_deref_mut() {
            exchange.conflicts += ended as u64;
        }
        ended
    }

    /// The devices that an owner has beyond what they may: those that were registered first. No half lets
    /// anybody have more than the limit, but for those who had more before it was lowered, or by an import; so
    /// who has more than a half has ever counted got the last one at both.
    fn surplus_of(&self, owner: &str) -> Vec<HardwareAddress> {
        // A voucher says itself how many devices it lets in.
        let is_voucher =
            owner.strip_prefix("voucher ").is_some_and(|id| id.parse::<VoucherId>().is_ok());
        let Some(exchange) = self.exchange.as_deref().filter(|_| !is_voucher) else {
            return Vec::new();
        };
        let configuration = self.topology.configuration();
        let (mut limit, mut counted, mut count) = (None, 0, 0_usize);
        let mut oldest = Vec::new();
        for device in self.registrations.of_owner(owner, self.now) {
            count += 1;
            limit = limit.max(self.device_limit(device.role.as_deref()));
            let known = exchange.devices.get(&device.hardware);
            counted = counted.max(known.map_or(0, Known::devices_counted));
            // Who is held back stays so.
            if device.state(configuration) == RegistrationState::Active {
                oldest.push((device.registered, device.hardware));
            }
        }
        let Some(limit) = limit else { return Vec::new() };
        let surplus = count.saturating_sub(usize::from(counted).max(limit as usize));
        oldest.sort_unstable();
        oldest.into_iter().take(surplus).map(|(_, hardware)| hardware).collect()
    }
}
