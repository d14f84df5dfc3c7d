//! What records end in, and the gate as a function of it: written from DESIGN's words and not from the
//! core's code, so that one can be held against the other (P4).

use super::rules::{QUARANTINE, Rules};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use vestibule_core::exchange::ExchangeRecord;
use vestibule_core::{Class, HardwareAddress, Lease, Record, Registration, Side, Timestamp};

/// Leases and registrations.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    rules: Arc<Rules>,
    leases: BTreeMap<Ipv4Addr, Lease>,
    registrations: BTreeMap<HardwareAddress, Registration>,
}

impl View {
    /// Nothing yet, in a world with these rules.
    #[must_use]
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// The rules of its world.
    #[must_use]
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// One more record.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Lease(lease) => {
                self.leases.insert(lease.address, lease.clone());
            }
            Record::LeaseForgotten(address) => {
                self.leases.remove(address);
            }
            Record::Registration(registration) => {
                self.registrations.insert(registration.hardware, registration.clone());
            }
            Record::RegistrationRemoved(hardware)
            | Record::Exchange(ExchangeRecord::Ended { hardware, .. }) => {
                self.registrations.remove(hardware);
            }
            Record::Exchange(ExchangeRecord::Registration { registration, .. }) => {
                self.registrations.insert(registration.hardware, registration.clone());
            }
            Record::Exchange(_)
            | Record::Time(_)
            | Record::HoldOff(_)
            | Record::Failover(_)
            | Record::PairBinding(_)
            | Record::Voucher(_)
            | Record::VoucherRemoved(_) => {}
        }
    }

    /// The lease of an address, if somebody holds it.
    #[must_use]
    pub(crate) fn held(&self, address: Ipv4Addr, now: Timestamp) -> Option<&Lease> {
        self.leases.get(&address).filter(|lease| lease.is_held(now))
    }

    /// The registration of a device, whether it has ended or not.
    #[must_use]
    pub(crate) fn registration(&self, hardware: HardwareAddress) -> Option<&Registration> {
        self.registrations.get(&hardware)
    }

    /// The registrations.
    pub(crate) fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.values()
    }

    /// Whether an address is kept from everybody but its holder.
    #[must_use]
    pub(crate) fn is_blocked(&self, address: Ipv4Addr, now: Timestamp) -> bool {
        self.leases.get(&address).is_some_and(|lease| lease.is_blocked(now))
    }

    /// The addresses that a device holds.
    pub(crate) fn held_by(
        &self,
        hardware: HardwareAddress,
        now: Timestamp,
    ) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let held = self.leases.values().filter(move |lease| lease.is_held(now));
        held.filter(move |lease| lease.hardware == hardware).map(|lease| lease.address)
    }

    /// The class of a device: registered if it has a valid registration that does not hold it back.
    #[must_use]
    pub(crate) fn class(&self, hardware: HardwareAddress, now: Timestamp) -> Class {
        let passes = self.registration(hardware).is_some_and(|registration| {
            registration.is_valid(now)
                && registration.suspended.is_none()
                && registration.role.as_deref() != Some(QUARANTINE)
        });
        if passes { Class::Registered } else { Class::Unregistered }
    }

    /// The set that an address belongs into.
    #[must_use]
    pub(crate) fn side(&self, address: Ipv4Addr, now: Timestamp) -> Option<Side> {
        let lease = self.held(address, now)?;
        if !self.rules.is_by_sets(address) {
            return None;
        }
        Some(match self.class(lease.hardware, now) {
            Class::Registered => Side::Registered,
            Class::Unregistered => Side::Unregistered,
        })
    }

    /// The whole gate.
    #[must_use]
    pub(crate) fn gate(&self, now: Timestamp) -> BTreeMap<Ipv4Addr, Side> {
        self.leases
            .keys()
            .filter_map(|address| Some((*address, self.side(*address, now)?)))
            .collect()
    }
}
