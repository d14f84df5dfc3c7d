//! Finds entries by client and by hardware address: chains of entries, one for each value of a hash.
//!
//! Most clients go by their hardware address, and then both hashes are the same. So the heads of the two
//! chains of a hash stand side by side: one look into memory finds both.
//!
//! It grows by a few hashes for each entry that it takes in (linear hashing: Litwin, "Linear hashing: a
//! new tool for file and table addressing", 1980), so no packet pays for a rehash of the whole. It
//! costs 24 bytes for an entry: the heads of two chains twice, and two links in the entry.
//!
//! Nothing ever walks through it as a whole: what comes out is a chain of one hash, the newest entry
//! first. So what the key is makes no difference to any decision.

use super::entry::Slot;
use super::siphash::HashKey;
use super::table::{SlotId, Table};

/// Hashes for each entry: whoever walks through a chain finds half an entry on average that is none of
/// its own, and each costs a look into memory.
const HASHES_PER_ENTRY: usize = 2;

/// What a finder finds by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Client,
    Hardware,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Finder {
    key: HashKey,
    /// The first entries of the chains by client and by hardware address, in the order of [`By`].
    heads: Vec<[SlotId; 2]>,
}

impl By {
    pub(super) const ALL: [Self; 2] = [Self::Client, Self::Hardware];

    const fn next(self, slot: &Slot) -> SlotId {
        match self {
            Self::Client => slot.next_of_client,
            Self::Hardware => slot.next_of_hardware,
        }
    }

    fn set_next(self, slot: &mut Slot, next: SlotId) {
        match self {
            Self::Client => slot.next_of_client = next,
            Self::Hardware => slot.next_of_hardware = next,
        }
    }
}

impl Finder {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, heads: vec![[SlotId::NONE; 2]] }
    }

    /// Makes room for so many entries at once. Only while it is empty.
    pub(super) fn reserve(&mut self, entries: usize) {
        self.heads.resize((entries * HASHES_PER_ENTRY).max(1), [SlotId::NONE; 2]);
    }

    /// Takes an entry in; the caller has made sure that it is not in yet.
    pub(super) fn insert(&mut self, table: &mut Table, id: SlotId) {
        while table.len() * HASHES_PER_ENTRY > self.heads.len() {
            self.grow(table);
        }
        for by in By::ALL {
            let chain = self.chain_of(self.hash_of(by, table, id));
            let head = &mut self.heads[chain][by as usize];
            by.set_next(table.slot_mut(id), *head);
            *head = id;
        }
    }

    /// Takes an entry out of what it is found by, if it is in.
    pub(super) fn remove(&mut self, by: By, table: &mut Table, id: SlotId) {
        let chain = self.chain_of(self.hash_of(by, table, id));
        let next = by.next(table.slot(id));
        let mut before = SlotId::NONE;
        let mut here = self.heads[chain][by as usize];
        while here != id {
            if here == SlotId::NONE {
                return;
            }
            before = here;
            here = by.next(table.slot(here));
        }
        match before.some() {
            Some(before) => by.set_next(table.slot_mut(before), next),
            None => self.heads[chain][by as usize] = next,
        }
        by.set_next(table.slot_mut(id), SlotId::NONE);
    }

    /// The newest entries whose hash may be this one, by client and by hardware address.
    pub(super) fn newest(&self, hash: u64) -> [SlotId; 2] {
        self.heads[self.chain_of(hash)]
    }

    /// All entries whose hash may be this one, the newest first.
    pub(super) fn candidates<'a>(
        &self,
        by: By,
        table: &'a Table,
        hash: u64,
    ) -> impl Iterator<Item = SlotId> + use<'a> {
        let first = self.heads[self.chain_of(hash)][by as usize].some();
        std::iter::successors(first, move |id| by.next(table.slot(*id)).some())
    }

    fn hash_of(&self, by: By, table: &Table, id: SlotId) -> u64 {
        match by {
            By::Client => table.entry(id).client_hash(self.key),
            By::Hardware => table.entry(id).hardware_hash(self.key),
        }
    }

    /// The chain of a hash: its lowest bits, one bit fewer where there is no such chain yet.
    fn chain_of(&self, hash: u64) -> usize {
        let chains = self.heads.len();
        let mask = chains.next_power_of_two() - 1;
        // Only the lowest bits count, and they are there on every machine.
        let chain = usize::try_from(hash & mask as u64).unwrap_or(0);
        if chain < chains { chain } else { chain & (mask >> 1) }
    }

    /// Adds a hash, and moves into its chains what belongs there from the ones that they were part of.
    /// All keep their order.
    fn grow(&mut self, table: &mut Table) {
        let new = self.heads.len();
        self.heads.push([SlotId::NONE; 2]);
        let old = new & ((self.heads.len().next_power_of_two() - 1) >> 1);
        for by in By::ALL {
            let head = &mut self.heads[old][by as usize];
            let mut here = std::mem::replace(head, SlotId::NONE);
            let mut last = [SlotId::NONE; 2];
            while here != SlotId::NONE {
                let next = by.next(table.slot(here));
                let goes = self.chain_of(self.hash_of(by, table, here)) == new;
                let last = &mut last[usize::from(goes)];
                match last.some() {
                    Some(last) => by.set_next(table.slot_mut(last), here),
                    None => self.heads[if goes { new } else { old }][by as usize] = here,
                }
                *last = here;
                here = next;
            }
            for last in last.into_iter().filter_map(SlotId::some) {
                by.set_next(table.slot_mut(last), SlotId::NONE);
            }
        }
    }
}
