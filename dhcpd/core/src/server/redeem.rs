//! Vouchers: made, revoked, and used for a registration.
//!
//! A use and the registration that it is for are decided in one step and committed as one group, the use
//! first: whatever a crash leaves, a voucher never lets in more devices than it may.

use super::register::Refusal;
use super::{Server, Step};
use crate::event::{EndCause, VoucherEnd};
use crate::{
    Answer, Happening, HardwareAddress, Record, Register, Timestamp, Voucher, VoucherHash,
    VoucherId, VoucherRefusal, VoucherUse, limits,
};

/// A voucher that lets a device in, with the use of that device in it.
pub(super) struct Redeemed {
    pub(super) voucher: Voucher,
    /// Until when, if the voucher or its first use says so.
    pub(super) ends: Option<Timestamp>,
    /// Whether the device used it before.
    pub(super) is_again: bool,
}

impl Server {
    /// Puts vouchers in, all or none. One that is there already stays as it is, with its uses.
    pub(super) fn create_vouchers(
        &mut self,
        vouchers: Vec<Voucher>,
        step: &mut Step<'_>,
    ) -> Result<Answer, Refusal> {
        for voucher in &vouchers {
            self.check_role(voucher.role.as_deref())?;
            if voucher.expires <= self.now {
                return Err(Answer::ExpiryInThePast(voucher.expires).into());
            }
        }
        let is_new = |voucher: &&Voucher| self.vouchers.valid(voucher.hash, self.now).is_none();
        let count = vouchers.iter().filter(is_new).count();
        if self.vouchers.len() + count > limits::VOUCHERS_MAX
            || vouchers.len() > limits::VOUCHERS_PER_COMMAND_MAX
        {
            return Err(Answer::VouchersFull.into());
        }
        let mut kept = Vec::with_capacity(vouchers.len());
        let mut first_new = None;
        for voucher in vouchers {
            if let Some(known) = self.vouchers.valid(voucher.hash, self.now) {
                kept.push(known.clone());
                continue;
            }
            let uses_max = voucher.uses_max.clamp(1, limits::VOUCHER_USES_MAX);
            let expires = if voucher.expires == Timestamp::FOREVER {
                self.now.plus_seconds(limits::VOUCHER_USABLE_SECONDS_DEFAULT)
            } else {
                voucher.expires
            };
            let voucher =
                Voucher { created: self.now, uses_max, expires, uses: Vec::new(), ..voucher };
            let record = self.voucher_record(voucher.clone());
            step.persist(record);
            self.vouchers.insert(voucher.clone());
            first_new.get_or_insert_with(|| voucher.clone());
            kept.push(voucher);
        }
        if let Some(voucher) = first_new {
            self.announce(|| Happening::VouchersCreated { count, voucher }, step);
        }
        Ok(Answer::VouchersCreated { vouchers: kept, count })
    }

    /// Takes a voucher back, and ends the registrations that were made with it if that is asked for.
    pub(super) fn revoke_voucher(
        &mut self,
        id: VoucherId,
        end_registrations: bool,
        step: &mut Step<'_>,
    ) -> Answer {
        let found = self.vouchers.of_id(id, self.now).map(|voucher| voucher.hash);
        let Some(voucher) = found.and_then(|hash| self.vouchers.remove(hash)) else {
            return Answer::NoSuchVoucher(id);
        };
        let record = self.voucher_revoked_record(&voucher);
        step.persist(record);
        let mut ended = Vec::new();
        if end_registrations {
            let owner = voucher.owner();
            for one in &voucher.uses {
                let registration = self.registrations.valid(one.hardware, self.now);
                let is_of_it = registration
                    .is_some_and(|registration| registration.owner.as_ref() == Some(&owner));
                if is_of_it && self.end_registration(one.hardware, Some(EndCause::Command), step) {
                    ended.push(one.hardware);
                }
            }
        }
        let told = voucher.clone();
        let what = || Happening::VoucherEnded { voucher: told, cause: VoucherEnd::Revoked };
        self.announce(what, step);
        Answer::VoucherRevoked { voucher, ended }
    }

    /// Forgets a voucher whose time to be used is over.
    pub(super) fn expire_voucher(&mut self, hash: VoucherHash, step: &mut Step<'_>) {
        let Some(voucher) = self.vouchers.remove(hash) else { return };
        if let Some(exchange) = self.exchange.as_deref_mut() {
            exchange.drop_voucher(hash);
        }
        step.persist(Record::VoucherRemoved(hash));
        let what = || Happening::VoucherEnded { voucher, cause: VoucherEnd::Expired };
        self.announce(what, step);
    }

    /// What a voucher does for a device. Changes nothing but the count of wrong codes.
    pub(super) fn redeem(
        &mut self,
        hash: VoucherHash,
        hardware: HardwareAddress,
        register: &Register,
        step: &mut Step<'_>,
    ) -> Result<Redeemed, Refusal> {
        let refused = |refusal| Err(Answer::VoucherRefused(refusal).into());
        if let Err(again) = self.guesses.check(hardware, self.now) {
            let wait_milliseconds = again.milliseconds_after(self.now);
            return refused(VoucherRefusal::TooManyGuesses { wait_milliseconds });
        }
        let Some(found) = self.vouchers.valid(hash, self.now) else {
            if self.guesses.wrong(hardware, self.now) {
                self.announce(|| Happening::VoucherGuessing { hardware }, step);
            }
            return refused(VoucherRefusal::Unknown);
        };
        if let Some(before) = found.use_of(hardware) {
            if before.ends.is_some_and(|ends| ends <= self.now) {
                return refused(VoucherRefusal::TimeOver);
            }
            return Ok(Redeemed { ends: before.ends, voucher: found.clone(), is_again: true });
        }
        if found.uses_left() == 0 {
            return refused(VoucherRefusal::UsedUp);
        }
        let mut voucher = found.clone();
        let lifetime =
            voucher.lifetime_seconds.map(|seconds| self.now.plus_seconds(seconds.into()));
        let role = voucher.role.as_deref().or(register.role.as_deref());
        let ends = lifetime.or_else(|| self.usual_end(role, register.expires));
        voucher.uses.push(VoucherUse { hardware, since: self.now, ends });
        Ok(Redeemed { voucher, ends, is_again: false })
    }

    /// Keeps what [`redeem`](Self::redeem) said, in the step in which the device is registered.
    pub(super) fn keep_use(
        &mut self,
        redeemed: Redeemed,
        hardware: HardwareAddress,
        step: &mut Step<'_>,
    ) {
        let Redeemed { voucher, is_again, .. } = redeemed;
        if is_again {
            return;
        }
        let record = self.voucher_record(voucher.clone());
        step.persist(record);
        self.vouchers.insert(voucher.clone());
        self.announce(|| Happening::VoucherUsed { voucher, hardware }, step);
    }
}
