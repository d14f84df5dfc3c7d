//! Which vouchers there are: found by the hash of their code, by their id, and by when they end.
//!
//! Every change goes through [`Vouchers::insert`] and [`Vouchers::remove`], which keep the two in step.

use crate::{Timestamp, Voucher, VoucherHash, VoucherId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Vouchers {
    by_hash: BTreeMap<VoucherHash, Voucher>,
    by_end: BTreeSet<(Timestamp, VoucherHash)>,
}

impl Vouchers {
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Puts a voucher in, in place of the old one with its hash.
    pub(super) fn insert(&mut self, voucher: Voucher) {
        self.remove(voucher.hash);
        self.by_end.insert((voucher.expires, voucher.hash));
        self.by_hash.insert(voucher.hash, voucher);
    }

    /// Takes a voucher out.
    pub(super) fn remove(&mut self, hash: VoucherHash) -> Option<Voucher> {
        let voucher = self.by_hash.remove(&hash)?;
        self.by_end.remove(&(voucher.expires, hash));
        Some(voucher)
    }

    /// A voucher whose time to be used is not over.
    pub(super) fn valid(&self, hash: VoucherHash, now: Timestamp) -> Option<&Voucher> {
        self.by_hash.get(&hash).filter(|voucher| now < voucher.expires)
    }

    /// The same by its id.
    pub(super) fn of_id(&self, id: VoucherId, now: Timestamp) -> Option<&Voucher> {
        let (low, high) = id.hashes();
        let (_, voucher) = self.by_hash.range(low..=high).next()?;
        (now < voucher.expires).then_some(voucher)
    }

    /// Those above a hash, ascending.
    pub(super) fn above(
        &self,
        after: Option<VoucherHash>,
        now: Timestamp,
    ) -> impl Iterator<Item = &Voucher> {
        let lower = after.map_or(Unbounded, Excluded);
        let above = self.by_hash.range((lower, Unbounded)).map(|(_, voucher)| voucher);
        above.filter(move |voucher| now < voucher.expires)
    }

    /// What ends first.
    pub(super) fn first_end(&self) -> Option<(Timestamp, VoucherHash)> {
        self.by_end.first().copied()
    }
}
