//! Registrations and vouchers of a pair: what was changed when, what the partner is told, and what it says.
//!
//! It promises that two halves that have heard of everything hold the same ([`crate::exchange`]), that what is
//! told is numbered in the order of the last changes, so that whoever knows a number asks for what came after
//! it, and that a change of the partner's goes into the kernel as one of this server's does (P3, P4). Without
//! a partner that exchanges none of this exists. It is never asked for by a packet.
//!
//! | file | idea |
//! | --- | --- |
//! | `merge` | taking over what the partner says |
//! | `tell` | what is told to it, to a snapshot, to the status |

mod merge;
mod tell;

use super::registrations::Registrations;
use super::vouchers::Vouchers;
use super::{Server, Step};
use crate::exchange::{ExchangeKey, ExchangeRecord, HybridClock, HybridTime};
use crate::failover::Role;
use crate::{HardwareAddress, Record, Registration, Timestamp, Voucher, VoucherHash, limits};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a device's registration beyond itself.
#[derive(Clone, Copy, Debug)]
struct Known {
    stamp: HybridTime,
    /// When this server learnt of it, by its own clock.
    taken: Timestamp,
    /// Its place among what is told.
    sequence: u64,
    fate: Fate,
}

/// What became of a device's registration last.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is registered.
    Registered { devices_counted: u16 },
    /// It is not any more.
    Ended { is_by_time: bool },
}

impl Known {
    const fn is_over(&self) -> bool {
        matches!(self.fate, Fate::Ended { .. })
    }

    const fn devices_counted(&self) -> u16 {
        match self.fate {
            Fate::Registered { devices_counted } => devices_counted,
            Fate::Ended { .. } => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Revoked {
    expires: Timestamp,
    sequence: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    clock: HybridClock,
    devices: BTreeMap<HardwareAddress, Known>,
    /// The place of each voucher among what is told.
    vouchers: BTreeMap<VoucherHash, u64>,
    revoked: BTreeMap<VoucherHash, Revoked>,
    /// What is told, in the order of the last changes.
    log: BTreeMap<u64, ExchangeKey>,
    sequence: u64,
    /// Remembered ends, by when they are forgotten.
    ends: BTreeSet<(Timestamp, ExchangeKey)>,
    forgotten_through: HybridTime,
    /// Owners that have more devices than they may since the partner was heard.
    to_check: BTreeSet<Box<str>>,
    conflicts: u64,
}

impl Exchange {
    pub(super) const fn new(server: Role) -> Self {
        Self {
            clock: HybridClock::new(server),
            devices: BTreeMap::new(),
            vouchers: BTreeMap::new(),
            revoked: BTreeMap::new(),
            log: BTreeMap::new(),
            sequence: 0,
            ends: BTreeSet::new(),
            forgotten_through: HybridTime::ZERO,
            to_check: BTreeSet::new(),
            conflicts: 0,
        }
    }

    /// Whether no earlier life exchanged anything.
    pub(super) fn is_untouched(&self) -> bool {
        self.devices.is_empty()
            && self.revoked.is_empty()
            && self.forgotten_through == HybridTime::ZERO
    }

    /// Takes in a record of an earlier life; a registration's own part goes elsewhere.
    pub(super) fn load(&mut self, record: &ExchangeRecord, now: Timestamp) {
        match record {
            ExchangeRecord::Registration { registration, stamp, taken, devices_counted } => {
                self.clock.observe(now, *stamp);
                let fate = Fate::Registered { devices_counted: *devices_counted };
                self.keep(registration.hardware, *stamp, *taken, fate);
            }
            ExchangeRecord::Ended { hardware, stamp, taken, is_by_time } => {
                self.clock.observe(now, *stamp);
                let fate = Fate::Ended { is_by_time: *is_by_time };
                self.keep(*hardware, *stamp, *taken, fate);
            }
            ExchangeRecord::EndForgotten { hardware, through } => {
                self.drop_device(*hardware);
                self.forgotten_through = self.forgotten_through.max(*through);
            }
            ExchangeRecord::ForgottenThrough(through) => {
                self.forgotten_through = self.forgotten_through.max(*through);
            }
            ExchangeRecord::VoucherRevoked { hash, expires } => self.keep_revoked(*hash, *expires),
        }
    }

    /// Takes in what was made while nothing was exchanged, when all records are read.
    pub(super) fn complete(
        &mut self,
        registrations: &Registrations,
        vouchers: &Vouchers,
        now: Timestamp,
    ) {
        for registration in registrations.all() {
            self.load_unstamped(registration, now);
        }
        for voucher in vouchers.above(None, now) {
            self.voucher_changed(voucher.hash);
        }
    }

    /// A registration that was made while nothing was exchanged was last changed when it says.
    fn load_unstamped(&mut self, registration: &Registration, now: Timestamp) {
        let known = self.devices.get(&registration.hardware);
        if known.is_some_and(|known| !known.is_over()) {
            return;
        }
        let server = self.clock.server();
        let ended = known.map_or(HybridTime::ZERO, |known| known.stamp.following(server));
        let suspended = registration.suspended.as_ref().map_or(Timestamp::ZERO, |it| it.since);
        let changed = registration.registered.max(suspended).min(now);
        let stamp = HybridTime::at(changed, server).max(ended);
        self.keep(registration.hardware, stamp, changed, Fate::Registered { devices_counted: 0 });
    }

    /// Forgets all of a device.
    pub(super) fn drop_device(&mut self, hardware: HardwareAddress) {
        if let Some(old) = self.devices.remove(&hardware) {
            self.log.remove(&old.sequence);
            self.ends.remove(&(end_of(old.taken), ExchangeKey::Device(hardware)));
        }
    }

    /// Puts down what is known of a device, in place of what was.
    fn keep(&mut self, hardware: HardwareAddress, stamp: HybridTime, taken: Timestamp, fate: Fate) {
        self.drop_device(hardware);
        let key = ExchangeKey::Device(hardware);
        self.sequence += 1;
        self.log.insert(self.sequence, key);
        let known = Known { stamp, taken, sequence: self.sequence, fate };
        if known.is_over() {
            self.ends.insert((end_of(taken), key));
        }
        self.devices.insert(hardware, known);
    }

    /// Remembers the end of a device's registration.
    fn end(
        &mut self,
        hardware: HardwareAddress,
        stamp: HybridTime,
        taken: Timestamp,
        is_by_time: bool,
    ) -> Record {
        self.keep(hardware, stamp, taken, Fate::Ended { is_by_time });
        Record::Exchange(ExchangeRecord::Ended { hardware, stamp, taken, is_by_time })
    }

    /// A voucher is another one than before.
    fn voucher_changed(&mut self, hash: VoucherHash) {
        self.drop_voucher(hash);
        self.sequence += 1;
        self.log.insert(self.sequence, ExchangeKey::Voucher(hash));
        self.vouchers.insert(hash, self.sequence);
    }

    /// Forgets all of a voucher.
    pub(super) fn drop_voucher(&mut self, hash: VoucherHash) {
        if let Some(sequence) = self.vouchers.remove(&hash) {
            self.log.remove(&sequence);
        }
        if let Some(revoked) = self.revoked.remove(&hash) {
            self.log.remove(&revoked.sequence);
            self.ends.remove(&(revoked_until(revoked.expires), ExchangeKey::Voucher(hash)));
        }
    }

    fn keep_revoked(&mut self, hash: VoucherHash, expires: Timestamp) {
        self.drop_voucher(hash);
        self.sequence += 1;
        let key = ExchangeKey::Voucher(hash);
        self.log.insert(self.sequence, key);
        self.ends.insert((revoked_until(expires), key));
        self.revoked.insert(hash, Revoked { expires, sequence: self.sequence });
    }

    /// When the next end is forgotten.
    pub(super) fn first_end(&self) -> Option<(Timestamp, ExchangeKey)> {
        let (end, key) = self.ends.first().copied()?;
        let is_full = self.ends.len() > limits::TOMBSTONES_MAX;
        Some((if is_full { Timestamp::ZERO } else { end }, key))
    }
}

const fn end_of(taken: Timestamp) -> Timestamp {
    taken.plus_seconds(limits::TOMBSTONE_SECONDS)
}

/// A while longer than the voucher, because the partner's clock may be behind.
const fn revoked_until(expires: Timestamp) -> Timestamp {
    expires.plus_seconds(limits::EXCHANGE_AHEAD_SECONDS_MAX)
}

/// What a change that is made here is persisted as: without an exchange, as ever.
impl Server {
    /// A registration is put in or changed.
    pub(super) fn registration_record(&mut self, registration: Registration) -> Record {
        let devices_counted = self.count_devices(&registration);
        let taken = self.now;
        let Some(exchange) = self.exchange.as_deref_mut() else {
            return Record::Registration(registration);
        };
        let hardware = registration.hardware;
        let known = exchange.devices.get(&hardware).map(|known| known.stamp);
        let stamp = exchange.clock.tick_after(taken, known);
        exchange.keep(hardware, stamp, taken, Fate::Registered { devices_counted });
        let record = ExchangeRecord::Registration { registration, stamp, taken, devices_counted };
        Record::Exchange(record)
    }

    /// How many devices the owner has with this one; as it was counted before, if it is theirs already.
    fn count_devices(&self, registration: &Registration) -> u16 {
        let hardware = registration.hardware;
        let Some(exchange) = self.exchange.as_deref() else { return 0 };
        let Some(owner) = registration.owner.as_deref() else { return 0 };
        let held = self.registrations.valid(hardware, self.now);
        let is_theirs = held.is_some_and(|held| held.owner.as_deref() == Some(owner));
        if let Some(before) = exchange.devices.get(&hardware).filter(|_| is_theirs) {
            return before.devices_counted();
        }
        let others = self.registrations.of_owner(owner, self.now);
        let others = others.filter(|other| other.hardware != hardware).count();
        u16::try_from(others + 1).unwrap_or(u16::MAX)
    }

    /// A registration is ended: by somebody, or because its time has come.
    pub(super) fn registration_end_record(
        &mut self,
        hardware: HardwareAddress,
        is_by_time: bool,
    ) -> Record {
        let taken = self.now;
        let Some(exchange) = self.exchange.as_deref_mut() else {
            return Record::RegistrationRemoved(hardware);
        };
        let known = exchange.devices.get(&hardware).map(|known| known.stamp);
        let stamp = match known {
            Some(known) if is_by_time => known,
            _ => exchange.clock.tick_after(taken, known),
        };
        exchange.end(hardware, stamp, taken, is_by_time)
    }

    /// A voucher is made or used.
    pub(super) fn voucher_record(&mut self, voucher: Voucher) -> Record {
        if let Some(exchange) = self.exchange.as_deref_mut() {
            exchange.voucher_changed(voucher.hash);
        }
        Record::Voucher(voucher)
    }

    /// A voucher is taken back.
    pub(super) fn voucher_revoked_record(&mut self, voucher: &Voucher) -> Record {
        let Voucher { hash, expires, .. } = *voucher;
        let Some(exchange) = self.exchange.as_deref_mut() else {
            return Record::VoucherRemoved(hash);
        };
        exchange.keep_revoked(hash, expires);
        Record::Exchange(ExchangeRecord::VoucherRevoked { hash, expires })
    }

    /// Forgets ends that have been remembered for long enough.
    pub(super) fn forget_ends(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        for _ in 0..limits::ENDINGS_PER_STEP_MAX {
            let Some(exchange) = self.exchange.as_deref_mut() else { return };
            let Some((_, key)) = exchange.first_end().filter(|(end, _)| *end <= now) else {
                return;
            };
            match key {
                ExchangeKey::Voucher(hash) => {
                    exchange.drop_voucher(hash);
                    step.persist(Record::VoucherRemoved(hash));
                }
                ExchangeKey::Device(hardware) => {
                    let Some(known) = exchange.devices.get(&hardware).copied() else { return };
                    // A time that is far ahead must not keep out what is made from now on.
                    let of_here = HybridTime::at(known.taken, exchange.clock.server());
                    let through = exchange.forgotten_through.max(known.stamp.min(of_here));
                    exchange.forgotten_through = through;
                    exchange.drop_device(hardware);
                    let record = ExchangeRecord::EndForgotten { hardware, through };
                    step.persist(Record::Exchange(record));
                }
            }
        }
    }
}
