//! Where entries stand, and how they are found by address.
//!
//! Entries stand in chunks that never move, so that no packet pays for a copy of the book when it
//! grows; each has a number for as long as its address is known. Addresses lead to numbers by pages of
//! 256 addresses. In a pool that is in use a page costs 4 bytes for an address; a page costs 1 KiB
//! where only one of its addresses was ever leased.

use super::entry::Entry;
use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

/// Entries in a chunk.
const CHUNK: usize = 1024;

/// Addresses in a page.
const PAGE: u32 = 256;

/// Names an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) struct SlotId(u32);

impl SlotId {
    /// No entry. There are fewer addresses that can be leased.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    chunks: Vec<Vec<Entry>>,
    /// Numbers that are not in use.
    free: Vec<SlotId>,
    pages: BTreeMap<u32, Box<[SlotId; PAGE as usize]>>,
    known: usize,
}

impl Table {
    /// Addresses that are known.
    pub(super) fn len(&self) -> usize {
        self.known
    }

    /// The entry of an address.
    pub(super) fn find(&self, address: u32) -> Option<SlotId> {
        self.pages.get(&(address / PAGE))?[(address % PAGE) as usize].some()
    }

    pub(super) fn get(&self, id: SlotId) -> &Entry {
        &self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> &mut Entry {
        &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    /// Puts an entry in for an address that has none.
    pub(super) fn insert(&mut self, address: u32, entry: Entry) -> SlotId {
        let id = if let Some(id) = self.free.pop() {
            *self.get_mut(id) = entry;
            id
        } else {
            if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            let before = (self.chunks.len() - 1) * CHUNK;
            // The last chunk was made just now, or has room.
            let place = self.chunks.last_mut().map_or(0, |chunk| {
                chunk.push(entry);
                chunk.len() - 1
            });
            // There are fewer addresses than u32 has values, and so fewer entries.
            SlotId(u32::try_from(before + place).unwrap_or(u32::MAX - 1))
        };
        let page = self
            .pages
            .entry(address / PAGE)
            .or_insert_with(|| Box::new([SlotId::NONE; PAGE as usize]));
        page[(address % PAGE) as usize] = id;
        self.known += 1;
        id
    }

    /// Takes the entry of an address away, if it has one. Nothing may lead to its number any more.
    pub(super) fn remove(&mut self, address: u32) {
        let Some(page) = self.pages.get_mut(&(address / PAGE)) else { return };
        let place = &mut page[(address % PAGE) as usize];
        let Some(id) = place.some() else { return };
        *place = SlotId::NONE;
        self.get_mut(id).clear();
        self.free.push(id);
        self.known -= 1;
    }

    /// Addresses above one, ascending, with their entries.
    pub(super) fn above(&self, after: Option<u32>) -> impl Iterator<Item = (u32, SlotId)> {
        let lower = after.map_or(Unbounded, |after| Included(after / PAGE));
        self.pages
            .range((lower, Unbounded))
            .flat_map(|(page, places)| {
                (0..PAGE).zip(places.iter()).map(move |(place, id)| (page * PAGE + place, *id))
            })
            .filter(move |(address, id)| {
                *id != SlotId::NONE && after.is_none_or(|after| *address > after)
            })
    }
}
