//! Storage: the journal and its snapshots, which carry P2, and behind them the index.
//!
//! [`Store`] promises that a record is on stable storage when [`Store::commit`] returns, and that
//! [`Store::open`] gives back every such record, after a kill, a power cut, a torn write. What it
//! cannot give back it refuses to open, naming file and byte, having changed nothing. It never tries a
//! failed write or sync again, and never goes on after one.
//!
//! The [`index`] is derived from it, may be lost at any time, and is never asked whether something is
//! so: only where to look.
//!
//! The way of a record: [`record`] makes bytes of it, `frame` wraps them, a journal segment takes the
//! frame, one `fdatasync` makes it durable. The way back: `replay`. The format on disk is described in
//! `docs/storage.md`.

pub mod disk;
pub mod index;

pub mod record;

mod book;
pub(crate) mod bytes;
mod check;
mod clock_mark;
mod error;
mod frame;
mod header;
mod journal;
mod lock;
mod meta;
mod names;
mod open;
mod options;
mod repair;
mod replay;
mod report;
mod salvage;
mod snapshot;
mod spare;
mod survey;
mod tail;

pub use check::{CheckReport, Damage, Examination, SnapshotCheck, check_store, examine};
pub use error::StoreError;
pub use frame::FRAME_PAYLOAD_BYTES_MAX;
pub use journal::COMMIT_RECORDS_MAX;
pub use lock::DirectoryLock;
pub use options::{SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StoreOptions};
pub use report::{Recovered, RecoveryReport, StoreHealth};
pub use salvage::{SalvageReport, SalvageTerms, salvage};
pub use snapshot::{FinishedSnapshot, SnapshotWriter};
pub use survey::{Fault, LostFrames};
pub use tail::{JournalTail, TailError};

use crate::clock::ClockMark;
use disk::Disk;
use header::{FORMAT_VERSION, FileHeader, FileKind, StoreIdentity};
use journal::Journal;
use names::FileName;
use spare::Spares;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use vestibule_core::{HoldOff, Record, Timestamp};

/// The journal and the snapshots of one state directory. One thread owns it.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    identity: StoreIdentity,
    journal: Journal,
    spares: Spares,
    /// The largest time in any record. Each snapshot states it, because the records that it came from
    /// may go with the journal.
    newest_time: Timestamp,
    /// Each snapshot states it until it is over.
    hold_off: Option<HoldOff>,
    /// Why the journal takes no more.
    failure: Option<String>,
    /// The snapshots in use, ascending by the segment that they go before: the newest, and the one
    /// before it, which stays until the next is proven.
    snapshots: Vec<u64>,
    /// The oldest segment on disk.
    first_segment: u64,
    /// Journal bytes when the last finished snapshot was begun.
    journal_bytes_at_snapshot: u64,
    /// Journal bytes when the last snapshot was begun, finished or not.
    journal_bytes_at_attempt: Option<u64>,
    /// Bytes of the last finished snapshot.
    snapshot_bytes: u64,
    /// Alive while a snapshot is being written; and the journal bytes when it was begun.
    running: (Weak<()>, u64),
    snapshot_journal_bytes_min: u64,
    snapshot_rest: Duration,
    _lock: DirectoryLock,
}

impl Store {
    /// Makes records durable: when this returns `Ok`, they are on stable storage, all of them, with one
    /// sync. No records: nothing is done.
    ///
    /// After an error some of them may be found at the next start, and some not. The caller
    /// acknowledges none, and ends the process.
    ///
    /// # Errors
    /// Any [`StoreError`]; every later call fails with [`StoreError::FailedBefore`].
    pub fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.refuse_after_failure()?;
        let result = self.journal.append(records, &self.spares);
        let newest = records.iter().filter_map(book::time_of).max();
        self.newest_time = self.newest_time.max(newest.unwrap_or_default());
        self.remember_failure(result)
    }

    /// The number of the last durable frame; 0 before the first. It is how far an index has come.
    #[must_use]
    pub fn frame_number(&self) -> u64 {
        self.journal.frame_number() - 1
    }

    /// Whether the journal has grown so much that a snapshot should be begun. Not while one is being
    /// written; after one that failed, only when the journal has grown by another segment.
    #[must_use]
    pub fn snapshot_is_due(&self) -> bool {
        let written = self.journal.bytes_written();
        let is_long = written - self.journal_bytes_at_snapshot
            >= self.snapshot_journal_bytes_min.max(self.snapshot_bytes.saturating_mul(2));
        let has_rested = self
            .journal_bytes_at_attempt
            .is_none_or(|attempt| written - attempt >= self.journal.segment_bytes());
        is_long && has_rested && self.failure.is_none() && self.running.0.strong_count() == 0
    }

    /// Begins a snapshot. The journal goes on in a new segment; every record that the caller's book
    /// holds from now on, at whatever moment it is read, may be written into the snapshot.
    ///
    /// # Errors
    /// [`StoreError::SnapshotRunning`]; or the journal failed, and takes no more; or
    /// [`StoreError::Disk`] if the snapshot's file cannot be made, which harms nothing else.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotWriter, StoreError> {
        self.refuse_after_failure()?;
        if self.running.0.strong_count() > 0 {
            return Err(StoreError::SnapshotRunning);
        }
        let result = self.journal.rotate_if_used(&self.spares);
        self.remember_failure(result)?;
        let written = self.journal.bytes_written();
        self.journal_bytes_at_attempt = Some(written);
        let header = FileHeader {
            kind: FileKind::Snapshot,
            format_version: FORMAT_VERSION,
            reader_version_min: FORMAT_VERSION,
            identity: self.identity,
            file_number: self.journal.segment(),
            frame_number: self.journal.frame_number(),
            checksum: self.journal.checksum(),
        };
        let running = Arc::new(());
        self.running = (Arc::downgrade(&running), written);
        let mut writer = SnapshotWriter::begin(
            Arc::clone(&self.disk),
            &self.directory,
            header,
            self.snapshot_rest,
            running,
        )?;
        writer.write(&[Record::Time(self.newest_time)])?;
        let hold_off = self.hold_off.filter(|hold_off| self.newest_time < hold_off.until);
        writer.write(hold_off.map(Record::HoldOff).as_slice())?;
        Ok(writer)
    }

    /// Takes a finished snapshot into use: frees the journal that only older snapshots need, and all
    /// snapshots but this one and the one before it.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if an old file cannot be removed. The snapshot is in use all the same, and
    /// the journal goes on.
    pub fn snapshot_finished(&mut self, finished: FinishedSnapshot) -> Result<(), StoreError> {
        self.take_into_use(finished).remove()?;
        self.old_files_removed();
        Ok(())
    }

    /// The same in three parts, so that the disk's part can be another thread's: this, then
    /// [`OldFiles::remove`], then [`old_files_removed`](Self::old_files_removed).
    #[must_use = "old files stay until they are removed"]
    pub fn take_into_use(&mut self, finished: FinishedSnapshot) -> OldFiles {
        self.journal_bytes_at_snapshot = self.running.1;
        self.journal_bytes_at_attempt = None;
        self.snapshot_bytes = finished.bytes;
        if self.snapshots.last() != Some(&finished.segment) {
            self.snapshots.push(finished.segment);
        }
        let oldest_in_use = self.snapshots.len().saturating_sub(2);
        OldFiles {
            disk: Arc::clone(&self.disk),
            directory: self.directory.clone(),
            snapshots: self.snapshots.drain(..oldest_in_use).collect(),
            _running: finished.running,
        }
    }

    /// Keeps what time it is at which moment since the machine booted, for the next start
    /// ([`Recovered::clock`]).
    ///
    /// # Errors
    /// [`StoreError::Disk`]. The mark before, or none, stays; the journal is none the worse for it.
    pub fn keep_clock(&self, mark: &ClockMark) -> Result<(), StoreError> {
        clock_mark::write(self.disk.as_ref(), &self.directory, mark)
    }

    /// How the store is.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        let (spares, spare_failure) = self.spares.health();
        StoreHealth {
            failure: self.failure.clone(),
            spare_failure,
            spares,
            segment_bytes_left: self.journal.segment_bytes_left(),
            journal_bytes: self.journal.bytes_written() - self.journal_bytes_at_snapshot,
            segments: self.journal.segment() - self.first_segment + 1,
        }
    }

    /// Frees the segments that no snapshot in use needs, once the snapshots that did are gone for good.
    /// With one snapshot alone, the journal from its beginning stands in for the one before it.
    pub fn old_files_removed(&mut self) {
        let [previous, _] = self.snapshots.as_slice() else { return };
        let freed = self.first_segment..*previous;
        self.first_segment = *previous;
        let directory = &self.directory;
        self.spares.free(freed.map(|number| FileName::Segment(number).path(directory)));
    }

    fn refuse_after_failure(&self) -> Result<(), StoreError> {
        match &self.failure {
            Some(cause) => Err(StoreError::FailedBefore { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn remember_failure(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(error) = &result {
            self.failure = Some(error.to_string());
        }
        result
    }
}

/// Snapshots that are not needed any more. While this is there, no other snapshot is due.
#[derive(Debug)]
pub struct OldFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    snapshots: Vec<u64>,
    _running: Arc<()>,
}

impl OldFiles {
    /// Removes them, and what an earlier start set aside as damaged; they do not come back when this
    /// returns without an error. It takes as long as the disk does.
    ///
    /// # Errors
    /// [`StoreError::Disk`]. The journal that they need stays then.
    pub fn remove(self) -> Result<(), StoreError> {
        let Self { disk, directory, snapshots, .. } = &self;
        let bad = replay::Files::list(disk.as_ref(), directory)?.bad_snapshots;
        let names = snapshots.iter().map(|number| FileName::Snapshot(*number));
        for name in names.chain(bad.into_iter().map(FileName::BadSnapshot)) {
            let path = name.path(directory);
            disk.remove(&path).map_err(StoreError::disk("remove", &path))?;
        }
        disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))
    }
}
