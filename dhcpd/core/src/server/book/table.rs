//! Where entries stand, and how they are found by address.
//!
//! Entries stand in chunks that never move, so that no packet pays for a copy of the book when it
//! grows; each has a number for as long as its address is known. Addresses lead to numbers by pages of
//! 256 addresses, and pages are found by way of directories of 65,536. In a pool that is in use a page
//! costs 4 bytes for an address; a page and a directory cost 1 KiB each where only one of their
//! addresses was ever leased.

use super::blocks::Blocks;
use super::entry::{Entry, Slot};
use crate::Lease;
use std::collections::BTreeMap;

/// Entries in a chunk.
const CHUNK: usize = 4096;

/// Addresses in a page, and pages in a directory.
const PAGE: usize = 256;

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

type Page = Box<[SlotId; PAGE]>;

/// The places of pages among all pages; [`NO_PAGE`] where there is none.
type Directory = Box<[u32; PAGE]>;

const NO_PAGE: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    chunks: Vec<Vec<Slot>>,
    blocks: Blocks,
    /// Numbers that are not in use.
    free: Vec<SlotId>,
    /// By the upper half of the address.
    directories: BTreeMap<u16, Directory>,
    pages: Vec<Page>,
    known: usize,
    scratch: Vec<u8>,
}

/// The directory that an address is in, the place of its page there, and its own in the page.
fn way_to(address: u32) -> (u16, usize, usize) {
    let [a, b, c, d] = address.to_be_bytes();
    (u16::from_be_bytes([a, b]), c.into(), d.into())
}

fn address_of(upper: u16, page: usize, place: usize) -> u32 {
    // Both are below 256.
    u32::from(upper) << 16 | u32::try_from(page * PAGE + place).unwrap_or(0)
}

impl Table {
    /// Addresses that are known.
    pub(super) fn len(&self) -> usize {
        self.known
    }

    /// The entry of an address.
    pub(super) fn find(&self, address: u32) -> Option<SlotId> {
        let (upper, page, place) = way_to(address);
        let page = self.directories.get(&upper)?[page];
        self.pages.get(page as usize)?[place].some()
    }

    pub(super) fn entry(&self, id: SlotId) -> Entry<'_> {
        Entry { slot: self.slot(id), blocks: &self.blocks }
    }

    pub(super) fn slot(&self, id: SlotId) -> &Slot {
        &self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    pub(super) fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    /// Puts another lease of the same address in place of an entry's.
    pub(super) fn replace(&mut self, id: SlotId, lease: &Lease) {
        let slot = &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK];
        slot.replace(lease, &mut self.blocks, &mut self.scratch);
    }

    /// Puts a lease in whose address has no entry.
    pub(super) fn insert(&mut self, lease: &Lease) -> SlotId {
        let Some(id) = self.free.pop() else { return self.append(lease) };
        *self.slot_mut(id) = Slot::new(lease);
        self.settle_in(id, lease)
    }

    /// The same, behind all numbers that were ever in use.
    pub(super) fn append(&mut self, lease: &Lease) -> SlotId {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        // The last chunk was made just now, or has room.
        let place = self.chunks.last_mut().map_or(0, |chunk| {
            chunk.push(Slot::new(lease));
            chunk.len() - 1
        });
        // There are fewer addresses than u32 has values, and so fewer entries.
        let id = SlotId(u32::try_from(before + place).unwrap_or(u32::MAX - 1));
        self.settle_in(id, lease)
    }

    fn settle_in(&mut self, id: SlotId, lease: &Lease) -> SlotId {
        let slot = &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK];
        slot.write_block(lease, &mut self.blocks, &mut self.scratch);
        let (upper, page, place) = way_to(lease.address.into());
        let directory = self.directories.entry(upper).or_insert_with(|| Box::new([NO_PAGE; PAGE]));
        let page = &mut directory[page];
        if *page == NO_PAGE {
            // There are 2^24 pages of addresses.
            *page = u32::try_from(self.pages.len()).unwrap_or(NO_PAGE - 1);
            self.pages.push(Box::new([SlotId::NONE; PAGE]));
        }
        self.pages[*page as usize][place] = id;
        self.known += 1;
        id
    }

    /// Takes the entry of an address away, if it has one. Nothing may lead to its number any more.
    pub(super) fn remove(&mut self, address: u32) {
        let Some(id) = self.find(address) else { return };
        let (upper, page, place) = way_to(address);
        if let Some(directory) = self.directories.get(&upper) {
            self.pages[directory[page] as usize][place] = SlotId::NONE;
        }
        let slot = &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK];
        slot.clear(&mut self.blocks);
        self.free.push(id);
        self.known -= 1;
    }

    /// All numbers that were ever in use, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        let before = self.chunks.len().saturating_sub(1) * CHUNK;
        let count = before + self.chunks.last().map_or(0, Vec::len);
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(SlotId)
    }

    /// Whether an address has this number.
    pub(super) fn is_in_use(&self, id: SlotId) -> bool {
        self.find(self.slot(id).address().into()) == Some(id)
    }

    /// Addresses above one, ascending, with their entries.
    pub(super) fn above(&self, after: Option<u32>) -> impl Iterator<Item = (u32, SlotId)> {
        let first = after.map_or(Some(0), |after| after.checked_add(1));
        let begins = first.map(way_to);
        let directories =
            begins.into_iter().flat_map(|(upper, ..)| self.directories.range(upper..));
        let pages = directories.flat_map(move |(upper, directory)| {
            // Only the first directory, and there only the first page, is not gone through whole.
            let from = begins.filter(|(first, ..)| first == upper);
            let from = from.map_or((0, 0), |(_, page, place)| (page, place));
            let pages = directory.iter().enumerate().skip(from.0);
            pages.filter(|(_, page)| **page != NO_PAGE).map(move |(number, page)| {
                let skip = if number == from.0 { from.1 } else { 0 };
                (*upper, number, *page, skip)
            })
        });
        pages
            .flat_map(|(upper, number, page, skip)| {
                let places = self.pages[page as usize].iter().enumerate().skip(skip);
                places.map(move |(place, id)| (address_of(upper, number, place), *id))
            })
            .filter(|(_, id)| *id != SlotId::NONE)
    }
}
