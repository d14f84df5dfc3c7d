//! Opening a store: lock, read, and only when everything has been read, put in order.

use super::disk::{Disk, DiskFile};
use super::header::{FORMAT_VERSION, FileHeader, FileKind};
use super::journal::{self, Journal};
use super::lock::DirectoryLock;
use super::names::FileName;
use super::replay::{self, Contents, Files};
use super::spare::{SPARES_READY_MAX, Spares};
use super::{
    Recovered, RecoveryReport, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Store, StoreError,
    StoreOptions, clock_mark, meta,
};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;
use vestibule_core::{HoldOff, Record, Timestamp};

/// A state directory that we make is closed to others: what is in it tells who is where, and whoever
/// can open a directory can also hold its lock.
const STATE_DIRECTORY_MODE: u32 = 0o750;

/// Directories above it, if they are missing.
const PARENT_DIRECTORY_MODE: u32 = 0o755;

/// Bytes of zeros in one write.
const FILL_BYTES: usize = 512 * 1024;

impl Store {
    /// Opens the store in `directory`, or makes one if the directory is empty or missing, and gives
    /// back what is in it: every record that was ever committed.
    ///
    /// # Errors
    /// Any [`StoreError`]. Damage, missing files and newer versions are refused before anything is
    /// changed.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<(Self, Recovered), StoreError> {
        let (store, recovered) = Self::open_streaming(directory, options)?;
        let Recovered { records, newest_time, frame_number, clock, report } = recovered;
        let records = records.collect();
        Ok((store, Recovered { records, newest_time, frame_number, clock, report }))
    }

    /// As [`Store::open`], but the records are made one by one, as they are taken: a book of a million
    /// leases is not in memory twice. All damage has been found when this returns.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_streaming(
        directory: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Recovered<impl Iterator<Item = Record> + Send + use<>>), StoreError> {
        let begun = Instant::now();
        let StoreOptions { segment_bytes, disk, .. } = &options;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(segment_bytes) {
            return Err(StoreError::SegmentSize { bytes: *segment_bytes });
        }
        make_directory(directory)?;
        let lock = DirectoryLock::take(directory)?;
        let mut files = Files::list(disk.as_ref(), directory)?;
        if !files.has_meta {
            make_store(disk.as_ref(), directory, &files, *segment_bytes)?;
            files = Files::list(disk.as_ref(), directory)?;
        }
        let clock = clock_mark::read(disk.as_ref(), directory);
        let mut contents = replay::read(disk.as_ref(), directory, files)?;
        let book = std::mem::take(&mut contents.book);
        let replayed = book.replayed();
        let times = (book.newest_time(), book.hold_off());
        let newest_time = times.0;
        let frame_number = contents.tail.frame_number.saturating_sub(1);
        let store = Self::take_over(directory, options, &contents, times, lock)?;
        let mut report = RecoveryReport::new(&contents, begun.elapsed());
        report.records = replayed;
        Ok((
            store,
            Recovered { records: book.into_records(), newest_time, frame_number, clock, report },
        ))
    }

    /// Puts in order what was read, and makes durable what only the page cache may have: after a kill,
    /// the frames just replayed may never have reached the disk.
    fn take_over(
        directory: &Path,
        options: StoreOptions,
        contents: &Contents,
        (newest_time, hold_off): (Timestamp, Option<HoldOff>),
        lock: DirectoryLock,
    ) -> Result<Self, StoreError> {
        let StoreOptions { segment_bytes, disk, .. } = &options;
        let mut last = None;
        for number in &contents.segments {
            let path = FileName::Segment(*number).path(directory);
            let file = disk.open(&path).map_err(StoreError::disk("open", &path))?;
            let capacity = if *number == contents.tail.segment {
                clean_tail(file.as_ref(), contents, *segment_bytes)
            } else {
                file.length()
            };
            let capacity = capacity.map_err(StoreError::disk("clean the end of", &path))?;
            file.sync_data().map_err(StoreError::disk("sync", &path))?;
            last = Some((file, capacity));
        }
        let Some((file, capacity)) = last else {
            // Reading a store gives at least one segment, or an error that names the missing one.
            return Err(StoreError::Missing {
                file: FileName::Segment(1).path(directory),
                needed_by: FileName::Meta.path(directory).display().to_string(),
            });
        };
        let (snapshots, spares) = tidy(disk.as_ref(), directory, contents, *segment_bytes)?;
        let spares = Spares::start(
            Arc::clone(disk),
            directory,
            *segment_bytes,
            spares,
            options.spares_in_background,
        )
        .map_err(StoreError::disk("start the thread that prepares segments in", directory))?;
        let mut store = Self {
            directory: directory.to_owned(),
            disk: Arc::clone(disk),
            identity: contents.identity,
            journal: Journal::go_on(
                Arc::clone(disk),
                directory,
                contents.identity,
                &contents.tail,
                file,
                capacity,
                contents.journal_bytes,
            ),
            spares,
            newest_time,
            hold_off,
            failure: None,
            snapshots,
            first_segment: contents.files.segments.first().copied().unwrap_or(1),
            journal_bytes_at_snapshot: 0,
            journal_bytes_at_attempt: None,
            snapshot_bytes: contents.snapshot.map_or(0, |snapshot| snapshot.bytes),
            running: (Weak::new(), 0),
            snapshot_journal_bytes_min: options.snapshot_journal_bytes_min,
            snapshot_rest: options.snapshot_rest,
            _lock: lock,
        };
        store.old_files_removed();
        Ok(store)
    }
}

/// Makes the directory, and those above it that are missing, each durably: one whose name is lost
/// takes everything in it along.
fn make_directory(directory: &Path) -> Result<(), StoreError> {
    make_directory_with_mode(directory, STATE_DIRECTORY_MODE)
}

fn make_directory_with_mode(directory: &Path, mode: u32) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory_with_mode(parent, PARENT_DIRECTORY_MODE)?;
    }
    match fs::DirBuilder::new().mode(mode).create(directory) {
        // Somebody was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        result => result.map_err(StoreError::disk("create", directory))?,
    }
    let parent = parent.unwrap_or(Path::new("."));
    fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(StoreError::disk("sync", parent))
}

/// Makes a new store. `META` comes last: without it there can be nothing but a first segment without a
/// frame, and whatever else is there belongs to a store whose `META` is lost.
fn make_store(
    disk: &dyn Disk,
    directory: &Path,
    files: &Files,
    segment_bytes: u64,
) -> Result<(), StoreError> {
    let first = FileName::Segment(1).path(directory);
    let is_new = match files.segments.as_slice() {
        [] => files.snapshots.is_empty(),
        [1] => files.snapshots.is_empty() && replay::has_no_frame(disk, &first)?,
        _ => false,
    };
    if !is_new {
        return Err(StoreError::Missing {
            file: FileName::Meta.path(directory),
            needed_by: "the journal beside it".into(),
        });
    }
    let identity = meta::new_identity();
    let header = FileHeader {
        kind: FileKind::Segment,
        format_version: FORMAT_VERSION,
        reader_version_min: FORMAT_VERSION,
        identity,
        file_number: 1,
        frame_number: 1,
        checksum: 0,
    };
    let prepared = FileName::Segment(1).temporary_path(directory);
    let file = disk.create(&prepared).map_err(StoreError::disk("create", &prepared))?;
    fill(file.as_ref(), 0, segment_bytes).map_err(StoreError::disk("fill", &prepared))?;
    drop(file);
    journal::begin_segment(disk, directory, &prepared, &header)?;
    meta::write(disk, directory, identity)
}

/// Makes the end of the last segment fit to be written on: as long as a segment is, and without intact
/// frames of a torn group, lest one of them chain to a frame that happens to equal its lost
/// predecessor. Gives the segment's length.
fn clean_tail(
    file: &dyn DiskFile,
    contents: &Contents,
    segment_bytes: u64,
) -> std::io::Result<u64> {
    let tail = &contents.tail;
    let length = file.length()?;
    if tail.has_intact_torn_frames {
        fill(file, tail.offset, tail.offset + tail.torn_bytes)?;
    }
    if length < segment_bytes {
        fill(file, length, segment_bytes)?;
    }
    Ok(length.max(segment_bytes))
}

/// Writes zeros from `offset` to `end`.
pub(super) fn fill(file: &dyn DiskFile, mut offset: u64, end: u64) -> std::io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    while offset < end {
        let count = usize::try_from(end - offset).map_or(FILL_BYTES, |rest| rest.min(FILL_BYTES));
        file.write_at(&zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

/// Removes what nothing needs. Gives the snapshots in use and the spares that are fit for use.
fn tidy(
    disk: &dyn Disk,
    directory: &Path,
    contents: &Contents,
    segment_bytes: u64,
) -> Result<(Vec<u64>, Vec<u64>), StoreError> {
    let remove = |name: &FileName| {
        let path = name.path(directory);
        disk.remove(&path).map_err(StoreError::disk("remove", &path))
    };
    let files = &contents.files;
    for name in &files.temporary {
        remove(&FileName::Temporary(name.clone()))?;
    }
    for (number, _) in &contents.bad_snapshots {
        let (path, aside) = (
            FileName::Snapshot(*number).path(directory),
            FileName::BadSnapshot(*number).path(directory),
        );
        disk.rename(&path, &aside).map_err(StoreError::disk("set aside", &path))?;
    }
    let mut snapshots: Vec<u64> = match contents.snapshot {
        Some(used) => files
            .snapshots
            .iter()
            .copied()
            .filter(|number| *number <= used.header.file_number)
            .collect(),
        None => Vec::new(),
    };
    let in_use = snapshots.len().saturating_sub(2);
    for number in snapshots.drain(..in_use) {
        remove(&FileName::Snapshot(number))?;
    }
    let mut spares = Vec::new();
    for number in &files.spares {
        let path = FileName::Spare(*number).path(directory);
        let length = disk.open_for_reading(&path).and_then(|file| file.length());
        let length = length.map_err(StoreError::disk("measure", &path))?;
        if length == segment_bytes && spares.len() < SPARES_READY_MAX {
            spares.push(*number);
        } else {
            remove(&FileName::Spare(*number))?;
        }
    }
    disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))?;
    Ok((snapshots, spares))
}
