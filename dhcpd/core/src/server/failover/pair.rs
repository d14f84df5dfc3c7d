//! What the pair knows of each address beyond its lease: the side table that exists only with a partner.
//!
//! An address costs 32 bytes once one of its page of 256 was ever anything but free; the leases
//! themselves stay as small as they are without a partner. It finds by address, and judges nothing.

use crate::failover::{BindingStatus, PairBinding};
use std::collections::BTreeMap;

/// Addresses in a page.
const PAGE: usize = 256;

const IS_ACKNOWLEDGED: u8 = 1;
const IS_WAITING: u8 = 2;
const IS_ON_SHELF: u8 = 4;

/// One address. As [`PairBinding`], with what is of interest only in this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) status: BindingStatus,
    pub(super) partner_saw: BindingStatus,
    pub(super) marks: u8,
    pub(super) since: u32,
    pub(super) client_last_transaction: u32,
    pub(super) potential_expiration: u32,
    pub(super) agreed_expiration: u32,
    pub(super) partner_expiration: u32,
    /// The number of the update that is under way; 0: none is.
    pub(super) xid: u32,
    /// By which end it stands on its shelf.
    pub(super) shelf_end: u32,
}

impl Binding {
    /// An address that was never anything but free.
    pub(super) const UNTOUCHED: Self = Self {
        status: BindingStatus::Free,
        partner_saw: BindingStatus::Free,
        marks: IS_ACKNOWLEDGED,
        since: 0,
        client_last_transaction: 0,
        potential_expiration: 0,
        agreed_expiration: 0,
        partner_expiration: 0,
        xid: 0,
        shelf_end: 0,
    };

    pub(super) fn of(record: &PairBinding) -> Self {
        let mut binding = Self {
            status: record.status,
            partner_saw: record.partner_saw,
            since: record.since,
            client_last_transaction: record.client_last_transaction,
            potential_expiration: record.potential_expiration,
            agreed_expiration: record.agreed_expiration,
            partner_expiration: record.partner_expiration,
            ..Self::UNTOUCHED
        };
        binding.set_acknowledged(record.is_acknowledged);
        binding
    }

    pub(super) fn record(self, address: u32) -> PairBinding {
        PairBinding {
            address: address.into(),
            status: self.status,
            partner_saw: self.partner_saw,
            is_acknowledged: self.is_acknowledged(),
            since: self.since,
            client_last_transaction: self.client_last_transaction,
            potential_expiration: self.potential_expiration,
            agreed_expiration: self.agreed_expiration,
            partner_expiration: self.partner_expiration,
        }
    }

    /// Whether the partner knows everything that is here.
    pub(super) const fn is_acknowledged(self) -> bool {
        self.marks & IS_ACKNOWLEDGED != 0
    }

    pub(super) const fn set_acknowledged(&mut self, is_so: bool) {
        self.mark(IS_ACKNOWLEDGED, is_so);
    }

    /// Whether it is among those of which the partner is to be told.
    pub(super) const fn is_waiting(self) -> bool {
        self.marks & IS_WAITING != 0
    }

    pub(super) const fn set_waiting(&mut self, is_so: bool) {
        self.mark(IS_WAITING, is_so);
    }

    /// Whether it stands among the free addresses.
    pub(super) const fn is_on_shelf(self) -> bool {
        self.marks & IS_ON_SHELF != 0
    }

    pub(super) const fn set_on_shelf(&mut self, is_so: bool) {
        self.mark(IS_ON_SHELF, is_so);
    }

    const fn mark(&mut self, bit: u8, is_so: bool) {
        self.marks = if is_so { self.marks | bit } else { self.marks & !bit };
    }

    /// Whether its lease is over here, and the partner has not yet agreed.
    pub(super) const fn is_over(self) -> bool {
        matches!(
            self.status,
            BindingStatus::Expired | BindingStatus::Released | BindingStatus::Reset
        )
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// By the upper three quarters of the address.
    pages: BTreeMap<u32, Box<[Binding; PAGE]>>,
}

impl Pair {
    pub(super) fn get(&self, address: u32) -> Binding {
        let page = self.pages.get(&(address >> 8));
        page.map_or(Binding::UNTOUCHED, |page| page[address as usize % PAGE])
    }

    pub(super) fn set(&mut self, address: u32, binding: Binding) {
        if self.get(address) == binding {
            return;
        }
        let page = self.pages.entry(address >> 8);
        let page = page.or_insert_with(|| Box::new([Binding::UNTOUCHED; PAGE]));
        page[address as usize % PAGE] = binding;
    }

    /// Addresses above one, ascending, that are or were anything but free.
    pub(super) fn above(&self, after: Option<u32>) -> impl Iterator<Item = (u32, Binding)> {
        let first = after.map_or(Some(0), |after| after.checked_add(1));
        first
            .into_iter()
            .flat_map(|first| self.pages.range(first >> 8..).map(move |page| (first, page)))
            .flat_map(|(first, (upper, page))| {
                let addresses = (upper << 8..=upper << 8 | 0xff).zip(page.iter());
                addresses.filter(move |(address, _)| *address >= first)
            })
            .filter(|(_, binding)| **binding != Binding::UNTOUCHED)
            .map(|(address, binding)| (address, *binding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_costs_what_the_documentation_says() {
        assert_eq!(size_of::<Binding>(), 32);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(
            addresses in prop::collection::btree_set(any::<u32>(), 0..40), after: Option<u32>,
        ) {
            let mut pair = Pair::default();
            for address in &addresses {
                let binding = Binding { since: 1 + (address & 0xff), ..Binding::UNTOUCHED };
                pair.set(*address, binding);
                let read = Binding::of(&pair.get(*address).record(*address));
                prop_assert_eq!(read, binding);
            }
            let expected: Vec<u32> = addresses
                .into_iter()
                .filter(|address| after.is_none_or(|after| *address > after))
                .collect();
            let found: Vec<u32> = pair.above(after).map(|(address, _)| address).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
