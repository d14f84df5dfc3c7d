//! Which devices are registered: found by hardware address, by owner, and by when they end.
//!
//! Every change goes through [`Registrations::insert`] and [`Registrations::remove`], which keep the
//! three in step. It holds what was put in, whether it has ended or not; who asks says when.

use super::book::{HashKey, hash};
use crate::{HardwareAddress, Registration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// See the module.
#[derive(Debug)]
pub(super) struct Registrations {
    key: HashKey,
    by_hardware: BTreeMap<HardwareAddress, Registration>,
    by_end: BTreeSet<(Timestamp, HardwareAddress)>,
    /// By the hash of the owner's name: names can be long, and of two that share a hash each is compared.
    by_owner: BTreeSet<(u64, HardwareAddress)>,
}

impl Registrations {
    pub(super) const fn new(key: HashKey) -> Self {
        Self {
            key,
            by_hardware: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_owner: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_hardware.len()
    }

    /// Puts a registration in, in place of the device's old one.
    pub(super) fn insert(&mut self, registration: Registration) {
        let hardware = registration.hardware;
        self.remove(hardware);
        if let Some(expires) = registration.expires {
            self.by_end.insert((expires, hardware));
        }
        if let Some(owner) = registration.owner.as_deref() {
            self.by_owner.insert((self.hash_of(owner), hardware));
        }
        self.by_hardware.insert(hardware, registration);
    }

    /// Takes a device's registration out.
    pub(super) fn remove(&mut self, hardware: HardwareAddress) -> Option<Registration> {
        let registration = self.by_hardware.remove(&hardware)?;
        if let Some(expires) = registration.expires {
            self.by_end.remove(&(expires, hardware));
        }
        if let Some(owner) = registration.owner.as_deref() {
            self.by_owner.remove(&(self.hash_of(owner), hardware));
        }
        Some(registration)
    }

    /// What was put in of a device, also if it has ended.
    pub(super) fn held(&self, hardware: HardwareAddress) -> Option<&Registration> {
        self.by_hardware.get(&hardware)
    }

    /// All that was put in.
    pub(super) fn all(&self) -> impl Iterator<Item = &Registration> {
        self.by_hardware.values()
    }

    /// The valid registration of a device. Hosts without a hardware address have none, because nothing
    /// tells them apart.
    pub(super) fn valid(&self, hardware: HardwareAddress, now: Timestamp) -> Option<&Registration> {
        let registration = self.by_hardware.get(&hardware).filter(|_| !hardware.is_zero())?;
        registration.is_valid(now).then_some(registration)
    }

    /// The valid registrations of an owner, in the order of their hardware addresses.
    pub(super) fn of_owner<'a>(
        &'a self,
        owner: &'a str,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Registration> {
        let hash = self.hash_of(owner);
        let (first, last) = (HardwareAddress::LOWEST, HardwareAddress::HIGHEST);
        self.by_owner
            .range((hash, first)..=(hash, last))
            .filter_map(|(_, hardware)| self.by_hardware.get(hardware))
            .filter(move |registration| registration.owner.as_deref() == Some(owner))
            .filter(move |registration| registration.is_valid(now))
    }

    /// Registrations above a hardware address, ascending.
    pub(super) fn above(
        &self,
        after: Option<HardwareAddress>,
    ) -> impl Iterator<Item = &Registration> {
        let lower = after.map_or(Unbounded, Excluded);
        self.by_hardware.range((lower, Unbounded)).map(|(_, registration)| registration)
    }

    /// What ends after another one, in order.
    pub(super) fn ends_after(
        &self,
        after: (Timestamp, HardwareAddress),
    ) -> impl Iterator<Item = (Timestamp, HardwareAddress)> {
        self.by_end.range((Excluded(after), Unbounded)).copied()
    }

    /// What ends first.
    pub(super) fn first_end(&self) -> Option<(Timestamp, HardwareAddress)> {
        self.by_end.first().copied()
    }

    fn hash_of(&self, owner: &str) -> u64 {
        hash(self.key, owner.as_bytes())
    }
}
