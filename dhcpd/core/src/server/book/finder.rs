//! Finds entries by client or by hardware address: chains of entries, one for each value of a hash.
//!
//! It grows by one chain for each entry that it takes in (linear hashing: Litwin, "Linear hashing: a
//! new tool for file and table addressing", 1980), so no packet pays for a rehash of the whole. It
//! costs 8 bytes for an entry: the head of a chain, and a link in the entry.
//!
//! Nothing ever walks through it as a whole: what comes out is a chain of one hash, the newest entry
//! first. So what the key is makes no difference to any decision.

use super::entry::Entry;
use super::siphash::HashKey;
use super::table::{SlotId, Table};

/// What a finder finds by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Client,
    Hardware,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Finder {
    by: By,
    key: HashKey,
    heads: Vec<SlotId>,
    entries: usize,
}

impl By {
    const fn next(self, entry: &Entry) -> SlotId {
        match self {
            Self::Client => entry.next_of_client,
            Self::Hardware => entry.next_of_hardware,
        }
    }

    fn set_next(self, entry: &mut Entry, next: SlotId) {
        match self {
            Self::Client => entry.next_of_client = next,
            Self::Hardware => entry.next_of_hardware = next,
        }
    }
}

impl Finder {
    pub(super) fn new(by: By, key: HashKey) -> Self {
        Self { by, key, heads: vec![SlotId::NONE], entries: 0 }
    }

    /// Takes an entry in; the caller has made sure that it is not in yet.
    pub(super) fn insert(&mut self, table: &mut Table, id: SlotId) {
        self.entries += 1;
        if self.entries > self.heads.len() {
            self.grow(table);
        }
        let chain = self.chain_of(self.hash_of(table, id));
        self.by.set_next(table.get_mut(id), self.heads[chain]);
        self.heads[chain] = id;
    }

    /// Takes an entry out, if it is in.
    pub(super) fn remove(&mut self, table: &mut Table, id: SlotId) {
        let chain = self.chain_of(self.hash_of(table, id));
        let next = self.by.next(table.get(id));
        let mut before = SlotId::NONE;
        let mut here = self.heads[chain];
        while here != id {
            if here == SlotId::NONE {
                return;
            }
            before = here;
            here = self.by.next(table.get(here));
        }
        match before.some() {
            Some(before) => self.by.set_next(table.get_mut(before), next),
            None => self.heads[chain] = next,
        }
        self.by.set_next(table.get_mut(id), SlotId::NONE);
        self.entries -= 1;
    }

    /// All entries whose hash may be this one, the newest first.
    pub(super) fn candidates(&self, table: &Table, hash: u64) -> impl Iterator<Item = SlotId> {
        let by = self.by;
        let first = self.heads[self.chain_of(hash)].some();
        std::iter::successors(first, move |id| by.next(table.get(*id)).some())
    }

    fn hash_of(&self, table: &Table, id: SlotId) -> u64 {
        match self.by {
            By::Client => table.get(id).client_hash(self.key),
            By::Hardware => table.get(id).hardware_hash(self.key),
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

    /// Adds a chain, and moves into it what belongs there from the one chain that it was part of. Both
    /// keep their order.
    fn grow(&mut self, table: &mut Table) {
        let new = self.heads.len();
        self.heads.push(SlotId::NONE);
        let old = new & ((self.heads.len().next_power_of_two() - 1) >> 1);
        let mut here = std::mem::replace(&mut self.heads[old], SlotId::NONE);
        let mut last = [SlotId::NONE; 2];
        while here != SlotId::NONE {
            let next = self.by.next(table.get(here));
            let goes = self.chain_of(self.hash_of(table, here)) == new;
            let last = &mut last[usize::from(goes)];
            match last.some() {
                Some(last) => self.by.set_next(table.get_mut(last), here),
                None => self.heads[if goes { new } else { old }] = here,
            }
            *last = here;
            here = next;
        }
        for last in last.into_iter().filter_map(SlotId::some) {
            self.by.set_next(table.get_mut(last), SlotId::NONE);
        }
    }
}
