//! Making a damaged store fit to be opened again, without giving an address to two clients (P1).
//!
//! What can be read is kept (`survey`); the rest is told. Where records are lost, the new store says
//! so itself, with a hold-off ([`vestibule_core::HoldOff`]): until every lease that the lost records
//! can have granted has ended, an address of unknown fate goes to nobody but a client that renews it.
//!
//! Order: copies of the damaged files under `salvage-N.*`; an empty segment N; then snapshot N with the
//! whole book. The name of that snapshot is the moment at which the store is whole again: cut before
//! it, the store is as damaged as it was and can be salvaged again; the old files stay where they are
//! and are let go as any old file is.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::disk::{Disk, read_full};
use super::header::{FORMAT_VERSION, FileHeader, FileKind};
use super::lock::DirectoryLock;
use super::names::FileName;
use super::snapshot::SnapshotWriter;
use super::survey::{Fault, LostFrames, Survey};
use super::{StoreError, StoreOptions, check, journal, meta, open};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vestibule_core::exchange::ExchangeRecord;
use vestibule_core::{HoldOff, Record, Timestamp};

/// Numbers that are left out for frames of which nothing says how many there were.
const FRAME_NUMBERS_LEFT_OUT: u64 = 1 << 32;

/// Bytes copied at once.
const COPY_BYTES: usize = 512 * 1024;

/// What a salvage has to know beside the store.
#[derive(Clone, Copy, Debug)]
pub struct SalvageTerms {
    /// The longest lifetime or quarantine that the configuration allows, in seconds. Leases in the store
    /// may show that there were longer ones.
    pub longest_seconds: u64,
    /// The time now, where nothing in the store tells by when the lost records were written.
    pub now: Timestamp,
}

/// What a salvage did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    /// What was wrong.
    pub faults: Vec<Fault>,
    /// What could not be read.
    pub lost: Vec<LostFrames>,
    /// The hold-off that the store now has; `None`: nothing was lost.
    pub hold_off: Option<HoldOff>,
    /// Copies of the damaged files as they were.
    pub copies: Vec<PathBuf>,
    /// Frames of the journal that were kept.
    pub frames: u64,
    /// Leases that were kept.
    pub leases: usize,
    /// Addresses among them of which no record behind the loss says who has them.
    pub uncertain: Vec<Ipv4Addr>,
    /// Registrations that were kept.
    pub registrations: usize,
    /// Registrations among them that may have been ended in what was lost.
    pub uncertain_registrations: usize,
}

/// Salvages the store in `directory`. `Ok(None)`: a start would lose nothing, and nothing was done.
///
/// # Errors
/// [`StoreError::Locked`] if it is in use, [`StoreError::Newer`] if a newer program wrote it,
/// [`StoreError::Disk`] if copies or the new files cannot be written: then it is as damaged as before.
pub fn salvage(
    directory: &Path,
    options: &StoreOptions,
    terms: SalvageTerms,
) -> Result<Option<SalvageReport>, StoreError> {
    let _lock = DirectoryLock::take(directory)?;
    let disk = options.disk.as_ref();
    if check::read(disk, directory).is_ok() {
        return Ok(None);
    }
    let survey = Survey::read(disk, directory)?;
    let hold_off = hold_off_of(&survey, terms);
    let number = survey.newest_segment + 1;
    let copies = set_aside(disk, directory, number, &survey.faults)?;
    if !survey.has_good_meta {
        meta::write(disk, directory, survey.identity)?;
    }
    let header = FileHeader {
        kind: FileKind::Segment,
        format_version: FORMAT_VERSION,
        reader_version_min: FORMAT_VERSION,
        identity: survey.identity,
        file_number: number,
        frame_number: survey.next_frame.saturating_add(FRAME_NUMBERS_LEFT_OUT),
        checksum: 0,
    };
    let prepared = FileName::Segment(number).temporary_path(directory);
    let file = disk.create(&prepared).map_err(StoreError::disk("create", &prepared))?;
    open::fill(file.as_ref(), 0, options.segment_bytes)
        .map_err(StoreError::disk("fill", &prepared))?;
    drop(file);
    journal::begin_segment(disk, directory, &prepared, &header)?;

    let newest_time = survey.book.newest_time();
    let before = survey.book.hold_off();
    let records: Vec<Record> = survey.book.into_records().collect();
    let mut report = SalvageReport {
        faults: survey.faults,
        lost: survey.lost,
        hold_off,
        copies,
        frames: survey.frames,
        leases: 0,
        uncertain: Vec::new(),
        registrations: 0,
        uncertain_registrations: 0,
    };
    for record in &records {
        match record {
            Record::Lease(lease) => {
                report.leases += 1;
                let newest = Some((lease.state, lease.changed));
                let is_open =
                    hold_off.is_some_and(|hold_off| hold_off.leaves_open(newest, Timestamp::ZERO));
                report.uncertain.extend(is_open.then_some(lease.address));
            }
            Record::Registration(registration)
            | Record::Exchange(ExchangeRecord::Registration { registration, .. }) => {
                report.registrations += 1;
                let is_older = hold_off.is_some_and(|h| registration.registered <= h.since);
                report.uncertain_registrations += usize::from(is_older);
            }
            _ => {}
        }
    }
    report.uncertain.sort_unstable();
    let header = FileHeader { kind: FileKind::Snapshot, ..header };
    let disk = Arc::clone(&options.disk);
    let running = Arc::new(());
    let mut writer =
        SnapshotWriter::begin(disk, directory, header, std::time::Duration::ZERO, running)?;
    let since = hold_off.map_or(Timestamp::ZERO, |hold_off| hold_off.since);
    writer.write(&[Record::Time(newest_time.max(since))])?;
    let both = hold_off.map(|new| before.map_or(new, |before| before.and(new)));
    writer.write(both.map(Record::HoldOff).as_slice())?;
    writer.write(&records)?;
    writer.finish()?;
    for bad in survey.bad_snapshots {
        let path = FileName::Snapshot(bad).path(directory);
        let aside = FileName::BadSnapshot(bad).path(directory);
        options.disk.rename(&path, &aside).map_err(StoreError::disk("set aside", &path))?;
    }
    options.disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))?;
    Ok(Some(report))
}

/// From when to when addresses of unknown fate must be held off.
fn hold_off_of(survey: &Survey, terms: SalvageTerms) -> Option<HoldOff> {
    if !survey.has_lost_anything() {
        return None;
    }
    let newest = survey.book.newest_time();
    let since = survey.lost_before().unwrap_or_else(|| newest.max(terms.now));
    let longest = terms.longest_seconds.saturating_mul(1000).max(survey.longest_milliseconds);
    let until = Timestamp::from_milliseconds(since.milliseconds().saturating_add(longest));
    Some(HoldOff { since, until })
}

/// Copies every file that has a fault, as far as the disk gives it.
fn set_aside(
    disk: &dyn Disk,
    directory: &Path,
    number: u64,
    faults: &[Fault],
) -> Result<Vec<PathBuf>, StoreError> {
    let damaged: BTreeSet<&PathBuf> = faults.iter().map(|fault| &fault.file).collect();
    let mut copies = Vec::new();
    for path in damaged {
        let Ok(from) = disk.open_for_reading(path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = directory.join(format!("salvage-{number}.{name}"));
        let to = disk.create(&copy).map_err(StoreError::disk("create", &copy))?;
        let length = from.length().map_err(StoreError::disk("measure", path))?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < length {
            let rest = usize::try_from(length - offset).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let Some(part) = buffer.get_mut(..rest) else { break };
            // What the disk does not give is zeros in the copy, and named in the report.
            if read_full(from.as_ref(), part, offset).is_err() {
                part.fill(0);
            }
            to.write_at(part, offset).map_err(StoreError::disk("write", &copy))?;
            offset += rest as u64;
        }
        to.sync_data().map_err(StoreError::disk("sync", &copy))?;
        copies.push(copy);
    }
    disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))?;
    Ok(copies)
}
