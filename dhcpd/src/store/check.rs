//! Checking a store that no server is using: everything in it is read, and nothing changed, not even
//! what a start would tidy.
//!
//! The verdict is that of a start, word for word, because it is made by the same code. Where a start
//! would refuse, the survey says what is there and what is not. A store that a start would take is read
//! twice, the second time without its newest snapshot: what stands in for that one must be sound before
//! it is needed.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::book::Book;
use super::disk::Disk;
use super::lock::DirectoryLock;
use super::names::FileName;
use super::replay::{self, Contents, Files};
use super::survey::{Fault, LostFrames, Survey};
use super::{RecoveryReport, StoreError, snapshot};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vestibule_core::exchange::ExchangeRecord;
use vestibule_core::{HoldOff, Lease, Record, Timestamp};

/// What a check of a store saw that a start would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// What a start would report now.
    pub recovery: RecoveryReport,
    /// Leases in the book.
    pub leases: usize,
    /// Registrations in the book.
    pub registrations: usize,
    /// Ends of registrations and vouchers that are remembered for a failover partner.
    pub ends_remembered: usize,
    /// Addresses of which a failover pair keeps something beyond their leases.
    pub pair_bindings: usize,
    /// The number of the last frame; 0 if the journal is empty.
    pub frame_number: u64,
    /// The newest time in it.
    pub newest_time: Timestamp,
    /// The hold-off, if records were ever lost.
    pub hold_off: Option<HoldOff>,
    /// Every snapshot on disk.
    pub snapshots: Vec<SnapshotCheck>,
    /// Why the snapshot before the newest and its journal could not stand in for it; `None`: they could,
    /// or there is but one.
    pub stand_in_fault: Option<String>,
}

/// One snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCheck {
    /// The segment in its name.
    pub segment: u64,
    /// Its file.
    pub file: PathBuf,
    /// Its records, or why it is bad.
    pub records: Result<u64, String>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.recovery)?;
        write!(f, "{} leases, {} registrations", self.leases, self.registrations)?;
        if self.ends_remembered > 0 {
            write!(f, ", {} ends remembered for the partner", self.ends_remembered)?;
        }
        for SnapshotCheck { segment, records, .. } in &self.snapshots {
            match records {
                Ok(records) => write!(f, "\nsnapshot {segment}: good, {records} records")?,
                Err(why) => write!(f, "\nsnapshot {segment}: {why}")?,
            }
        }
        if let Some(fault) = &self.stand_in_fault {
            write!(f, "\nnothing could stand in for the newest snapshot: {fault}")?;
        }
        Ok(())
    }
}

/// What is wrong with a store that a start would refuse.
#[derive(Debug)]
pub struct Damage {
    /// What the start would say.
    pub refusal: StoreError,
    /// All that is wrong.
    pub faults: Vec<Fault>,
    /// What cannot be read; empty: a salvage would lose nothing.
    pub lost: Vec<LostFrames>,
    /// Frames of the journal that can be read.
    pub frames: u64,
    /// Leases in what can be read.
    pub leases: usize,
    /// Registrations in what can be read.
    pub registrations: usize,
    /// Addresses of which a failover pair keeps something, in what can be read.
    pub pair_bindings: usize,
}

/// What a check found.
#[derive(Debug)]
pub enum Examination {
    /// A start would take it.
    Sound(CheckReport),
    /// A start would refuse it.
    Damaged(Damage),
}

/// Reads everything, with the directory locked, so that no server starts in it meanwhile.
///
/// # Errors
/// If the store cannot be judged: [`StoreError::Locked`], [`StoreError::Newer`], or [`StoreError::Disk`]
/// if the directory itself cannot be read; [`StoreError::Missing`] if there is no store in it.
pub fn examine(directory: &Path, disk: &dyn Disk) -> Result<Examination, StoreError> {
    let _lock = DirectoryLock::take(directory)?;
    let files = Files::list(disk, directory)?;
    if !files.has_meta && files.segments.is_empty() && files.snapshots.is_empty() {
        return Err(StoreError::Missing {
            file: FileName::Meta.path(directory),
            needed_by: "a store".into(),
        });
    }
    match check_store(directory, disk) {
        Ok(report) => Ok(Examination::Sound(report)),
        Err(error @ StoreError::Newer { .. }) => Err(error),
        Err(refusal) => {
            let survey = Survey::read(disk, directory)?;
            let records: Vec<Record> = survey.book.into_records().collect();
            Ok(Examination::Damaged(Damage {
                refusal,
                faults: survey.faults,
                lost: survey.lost,
                frames: survey.frames,
                leases: leases_of(&records).count(),
                registrations: registrations_in(&records),
                pair_bindings: pair_bindings_in(&records),
            }))
        }
    }
}

/// Reads everything in a store and changes nothing. Takes no lock: what a running server writes
/// meanwhile may look like damage.
///
/// # Errors
/// What [`Store::open`](super::Store::open) would say, but for the lock.
pub fn check_store(directory: &Path, disk: &dyn Disk) -> Result<CheckReport, StoreError> {
    let begun = Instant::now();
    let mut contents = read(disk, directory)?;
    let snapshots: Vec<SnapshotCheck> = contents
        .files
        .snapshots
        .iter()
        .map(|number| {
            let file = FileName::Snapshot(*number).path(directory);
            let records = snapshot::read(disk, &file, &mut |_, _| ())
                .map(|summary| summary.records)
                .map_err(|fault| fault.to_string());
            SnapshotCheck { segment: *number, file, records }
        })
        .collect();
    let recovery = RecoveryReport::new(&contents, begun.elapsed());
    let book = std::mem::take(&mut contents.book);
    let (newest_time, hold_off) = (book.newest_time(), book.hold_off());
    let records: Vec<Record> = book.into_records().collect();
    let stand_in_fault = match contents.snapshot {
        Some(used) if contents.files.snapshots.len() > 1 => {
            stand_in_fault(disk, directory, used.header.file_number, &records)
        }
        _ => None,
    };
    Ok(CheckReport {
        recovery,
        leases: leases_of(&records).count(),
        registrations: registrations_in(&records),
        ends_remembered: ends_in(&records),
        pair_bindings: pair_bindings_in(&records),
        frame_number: contents.tail.frame_number.saturating_sub(1),
        newest_time,
        hold_off,
        snapshots,
        stand_in_fault,
    })
}

/// Reads the store as a start does.
pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Result<Contents, StoreError> {
    replay::read(disk, directory, Files::list(disk, directory)?)
}

/// Whether the store would end in the same leases if the snapshot in use were not there.
fn stand_in_fault(
    disk: &dyn Disk,
    directory: &Path,
    used: u64,
    records: &[Record],
) -> Option<String> {
    let mut files = match Files::list(disk, directory) {
        Ok(files) => files,
        Err(error) => return Some(error.to_string()),
    };
    files.snapshots.retain(|number| *number < used);
    let stand_in: Book = match replay::read(disk, directory, files) {
        Ok(contents) => contents.book,
        Err(error) => return Some(error.to_string()),
    };
    let stand_in: Vec<Record> = stand_in.into_records().collect();
    let found: HashMap<_, &Lease> =
        leases_of(&stand_in).map(|lease| (lease.address, lease)).collect();
    leases_of(records).find(|lease| found.get(&lease.address) != Some(lease)).map(|lease| {
        format!("{} stands otherwise in the snapshot than in the journal before it", lease.address)
    })
}

fn leases_of(records: &[Record]) -> impl Iterator<Item = &Lease> {
    records.iter().filter_map(|record| match record {
        Record::Lease(lease) => Some(lease),
        _ => None,
    })
}

fn registrations_in(records: &[Record]) -> usize {
    let is_one = |record: &&Record| {
        matches!(
            record,
            Record::Registration(_) | Record::Exchange(ExchangeRecord::Registration { .. })
        )
    };
    records.iter().filter(is_one).count()
}

fn ends_in(records: &[Record]) -> usize {
    let is_one = |record: &&Record| {
        matches!(
            record,
            Record::Exchange(ExchangeRecord::Ended { .. } | ExchangeRecord::VoucherRevoked { .. })
        )
    };
    records.iter().filter(is_one).count()
}

fn pair_bindings_in(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record, Record::PairBinding(_))).count()
}
