//! Comparing an index with the store that it is made from, for a check.
//!
//! sled changes its files when it opens them, and panics on damage. So a check copies the index and has
//! a process of its own open the copy ([`compare_main`]); that process may die of it.

use super::keys::{Entry, Prefixes};
use super::tree::{IndexError, Tree};
use crate::store::StoreError;
use crate::store::check;
use crate::store::disk::RealDisk;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use vestibule_core::{Record, Timestamp};

/// How an index stands to its store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The journal frame up to which it says that it is complete; `None`: it says that it is not.
    pub position: Option<u64>,
    /// The last frame of the journal.
    pub journal: u64,
    /// Addresses in it.
    pub addresses: u64,
    /// Addresses of leases in the store that are not in it, those that ended and that the configuration
    /// may have dropped not counted.
    pub missing: u64,
    /// Addresses in it that the store has no lease of.
    pub surplus: u64,
    /// Addresses that are found by other keys than their lease has.
    pub different: u64,
}

impl Comparison {
    /// Whether it says that it has come as far as the journal. Otherwise a start makes it anew.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.position == Some(self.journal)
    }

    /// Whether it says what the store says.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.missing + self.surplus + self.different == 0
    }
}

/// Why an index could not be compared.
#[derive(Debug)]
pub enum CompareError {
    /// The store cannot be read.
    Store(StoreError),
    /// The index cannot be read.
    Index(IndexError),
}

impl std::fmt::Display for CompareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Index(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CompareError {}

/// Compares the index in `copy`, which it may change, with the store in `state_dir`, which it does not.
/// It may panic, so it belongs into a process of its own.
///
/// # Errors
/// [`CompareError`].
pub fn compare(copy: &Path, state_dir: &Path) -> Result<Comparison, CompareError> {
    let contents = check::read(&RealDisk, state_dir).map_err(CompareError::Store)?;
    let journal = contents.tail.frame_number.saturating_sub(1);
    let newest = contents.book.newest_time();
    let mut expected: BTreeMap<Ipv4Addr, (Prefixes, bool)> = BTreeMap::new();
    for record in contents.book.into_records() {
        if let Record::Lease(lease) = record {
            let may_be_dropped = !lease.is_blocked(newest.max(Timestamp::ZERO));
            expected.insert(lease.address, (Prefixes::of(&lease), may_be_dropped));
        }
    }
    let tree = Tree::open(copy).map_err(CompareError::Index)?;
    let mut comparison = Comparison {
        position: tree.position().map_err(CompareError::Index)?,
        journal,
        ..Comparison::default()
    };
    tree.verify().map_err(CompareError::Index)?;
    tree.for_each(&mut |entry, value| {
        let Entry::Address(address) = entry else { return };
        comparison.addresses += 1;
        match expected.remove(&address) {
            None => comparison.surplus += 1,
            Some((prefixes, _)) if prefixes.encode() != value => comparison.different += 1,
            Some(_) => {}
        }
    })
    .map_err(CompareError::Index)?;
    comparison.missing =
        expected.values().filter(|(_, may_be_dropped)| !may_be_dropped).count() as u64;
    Ok(comparison)
}

/// Copies an index, file by file, into an empty directory.
///
/// # Errors
/// As the kernel says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
