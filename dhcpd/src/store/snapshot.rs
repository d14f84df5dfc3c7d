//! Snapshots: the book written beside the journal, so that the journal before it can go.
//!
//! `snapshot-N` holds the book as it was at some moments after segment N was begun, each record at its
//! own moment: that is enough, because records are full images and the journal from segment N on is
//! replayed over them. It is written in the background and paced, synced, read back once, and only then
//! named. A snapshot has its name if and only if it is whole.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::StoreError;
use super::disk::{Disk, DiskFile, read_full};
use super::frame::{self, FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use super::header::{self, FRAMES_OFFSET, FileHeader, FileKind, HEADER_BYTES, HeaderError};
use super::names::FileName;
use super::record::{self, RecordError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::Record;

/// Bytes of records in one part of a snapshot, about; a part is written as one frame.
const PART_BYTES: usize = 256 * 1024;

/// Bytes written between two rests.
const BYTES_BETWEEN_RESTS: u64 = 512 * 1024;

/// Why a snapshot is not used.
#[derive(Debug)]
pub(super) enum SnapshotFault {
    /// Written by a newer program.
    Newer(String),
    /// Not as it was written: where, and what is wrong there.
    Damaged(u64, String),
    /// The disk cannot read it.
    Disk(io::Error),
}

impl std::fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(what) => write!(f, "written by a newer version ({what})"),
            Self::Damaged(offset, what) => write!(f, "damaged at byte {offset}: {what}"),
            Self::Disk(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotSummary {
    pub(super) header: FileHeader,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Reads a snapshot from its first byte to its last; each record goes to `take`, with its bytes.
///
/// The caller throws away what it has taken if this ends in a fault.
pub(super) fn read(
    disk: &dyn Disk,
    path: &Path,
    take: &mut dyn FnMut(Record, &[u8]),
) -> Result<SnapshotSummary, SnapshotFault> {
    let file = disk.open_for_reading(path).map_err(SnapshotFault::Disk)?;
    let mut buffer = vec![0; HEADER_BYTES];
    // One for all parts: a large allocation that comes and goes has the allocator keep what the book
    // gives back for itself.
    let mut payload = Vec::with_capacity(PART_BYTES + record::RECORD_BYTES_MAX);
    read_exactly(file.as_ref(), &mut buffer, 0)?;
    let header = header::decode(&buffer, FileKind::Snapshot).map_err(|error| match error {
        HeaderError::Newer { .. } => SnapshotFault::Newer(error.to_string()),
        HeaderError::Bad(what) => SnapshotFault::Damaged(0, what.into()),
    })?;
    let key = frame::key(&header.identity);
    let mut offset = FRAMES_OFFSET;
    let mut records = 0_u64;
    let mut number = 0_u64;
    let mut previous_checksum = header.checksum;
    loop {
        let damaged = |what: &str| SnapshotFault::Damaged(offset, what.to_owned());
        buffer.resize(FRAME_HEADER_BYTES, 0);
        read_exactly(file.as_ref(), &mut buffer, offset)?;
        let part = frame::decode_header(&buffer, FrameKind::Snapshot)
            .or_else(|| frame::decode_header(&buffer, FrameKind::SnapshotEnd))
            .filter(|part| {
                part.file_number == header.file_number
                    && part.number == number
                    && part.previous_checksum == previous_checksum
            })
            .ok_or_else(|| damaged("no part of this snapshot begins there"))?;
        let payload_bytes = part.payload_bytes as usize;
        payload.resize(payload_bytes, 0);
        read_exactly(file.as_ref(), &mut payload, offset + FRAME_HEADER_BYTES as u64)?;
        if !frame::is_intact(&part, key, &buffer, &payload) {
            return Err(damaged("the checksum does not hold"));
        }
        if part.kind == FrameKind::SnapshotEnd {
            // The count is kept modulo 2^32.
            return if payload.is_empty() && u64::from(part.records) == records & 0xffff_ffff {
                let bytes = offset + frame::frame_bytes(0) as u64;
                Ok(SnapshotSummary { header, records, bytes })
            } else {
                Err(damaged("the number of records is not what its end says"))
            };
        }
        let mut in_part = record::decode(&payload);
        while let Some(record) = in_part.next() {
            let record = record.map_err(|error| match error {
                RecordError::Newer { .. } => SnapshotFault::Newer(error.to_string()),
                RecordError::Malformed(_) => damaged(&error.to_string()),
            })?;
            take(record, in_part.last_bytes());
        }
        if in_part.passed() != part.records {
            return Err(damaged("the number of records is not what the part says"));
        }
        records += u64::from(part.records);
        number += 1;
        previous_checksum = part.checksum;
        offset += frame::frame_bytes(payload_bytes) as u64;
    }
}

fn read_exactly(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> Result<(), SnapshotFault> {
    let read = read_full(file, buffer, offset).map_err(SnapshotFault::Disk)?;
    if read == buffer.len() {
        Ok(())
    } else {
        Err(SnapshotFault::Damaged(offset + read as u64, "the file ends early".into()))
    }
}

/// A snapshot that is being written, by any thread. Dropped before [`SnapshotWriter::finish`], it
/// leaves a file that the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    header: FileHeader,
    file: Box<dyn DiskFile>,
    temporary: PathBuf,
    offset: u64,
    /// How far the kernel has been made to write.
    written_out: u64,
    rest: Duration,
    part: Vec<u8>,
    records_in_part: u32,
    records: u64,
    number: u64,
    checksum: u32,
    frame: Vec<u8>,
    /// Lives as long as this snapshot is not handed back.
    running: Arc<()>,
}

/// A snapshot that is whole, durable, read back and named; to be handed to
/// [`Store::snapshot_finished`](super::Store::snapshot_finished).
#[derive(Debug)]
pub struct FinishedSnapshot {
    pub(super) segment: u64,
    pub(super) bytes: u64,
    records: u64,
    pub(super) running: Arc<()>,
}

impl FinishedSnapshot {
    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records in it: those written, and one that states the time.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl SnapshotWriter {
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        directory: &Path,
        header: FileHeader,
        rest: Duration,
        running: Arc<()>,
    ) -> Result<Self, StoreError> {
        let temporary = FileName::Snapshot(header.file_number).temporary_path(directory);
        let file = disk.create(&temporary).map_err(StoreError::disk("create", &temporary))?;
        file.write_at(&header::encode(&header), 0)
            .map_err(StoreError::disk("write", &temporary))?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            header,
            file,
            temporary,
            offset: FRAMES_OFFSET,
            written_out: 0,
            rest,
            part: Vec::with_capacity(PART_BYTES + record::RECORD_BYTES_MAX),
            records_in_part: 0,
            records: 0,
            number: 0,
            checksum: header.checksum,
            frame: Vec::new(),
            running,
        })
    }

    /// Writes records; rests now and then, so that commits on the same disk are not held up.
    ///
    /// # Errors
    /// [`StoreError::Disk`] and [`StoreError::RecordTooLong`]. The snapshot is worth nothing then:
    /// drop it.
    pub fn write(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for record in records {
            record::encode(record, &mut self.part)
                .map_err(|error| StoreError::RecordTooLong { bytes: error.bytes })?;
            self.records_in_part += 1;
            if self.part.len() >= PART_BYTES {
                self.write_part(FrameKind::Snapshot)?;
            }
        }
        Ok(())
    }

    /// Ends the snapshot: syncs it, reads it back from the disk, and names it.
    ///
    /// # Errors
    /// [`StoreError::Disk`], and [`StoreError::Damaged`] if the disk gives back other bytes than were
    /// written. The snapshots before stay in use then.
    pub fn finish(mut self) -> Result<FinishedSnapshot, StoreError> {
        if !self.part.is_empty() {
            self.write_part(FrameKind::Snapshot)?;
        }
        self.write_part(FrameKind::SnapshotEnd)?;
        let Self { disk, directory, header, file, temporary, .. } = self;
        file.sync_data().map_err(StoreError::disk("sync", &temporary))?;
        file.forget_cached().map_err(StoreError::disk("read back", &temporary))?;
        drop(file);
        let summary =
            read(disk.as_ref(), &temporary, &mut |_, _| ()).map_err(|fault| match fault {
                SnapshotFault::Disk(error) => StoreError::disk("read back", &temporary)(error),
                SnapshotFault::Damaged(offset, what) => StoreError::damaged(
                    &temporary,
                    offset,
                    format!("it does not read back: {what}"),
                ),
                SnapshotFault::Newer(what) => StoreError::damaged(&temporary, 0, what),
            })?;
        if summary.records != self.records || summary.header != header {
            return Err(StoreError::damaged(&temporary, 0, "it does not read back as written"));
        }
        let path = FileName::Snapshot(header.file_number).path(&directory);
        disk.rename(&temporary, &path).map_err(StoreError::disk("name", &path))?;
        disk.sync_directory(&directory).map_err(StoreError::disk("sync", &directory))?;
        Ok(FinishedSnapshot {
            segment: header.file_number,
            bytes: summary.bytes,
            records: summary.records,
            running: self.running,
        })
    }

    fn write_part(&mut self, kind: FrameKind) -> Result<(), StoreError> {
        self.records += u64::from(self.records_in_part);
        let records = match kind {
            FrameKind::SnapshotEnd => {
                // Kept modulo 2^32: it only confirms.
                u32::try_from(self.records & 0xffff_ffff).unwrap_or(u32::MAX)
            }
            _ => self.records_in_part,
        };
        let header = FrameHeader {
            kind,
            // A part is far below 4 GiB.
            payload_bytes: u32::try_from(self.part.len()).unwrap_or(u32::MAX),
            file_number: self.header.file_number,
            number: self.number,
            durable_before: 0,
            records,
            previous_checksum: self.checksum,
            checksum: 0,
        };
        self.frame.clear();
        let key = frame::key(&self.header.identity);
        self.checksum = frame::encode(&header, key, &self.part, &mut self.frame);
        self.file
            .write_at(&self.frame, self.offset)
            .map_err(StoreError::disk("write", &self.temporary))?;
        self.offset += self.frame.len() as u64;
        self.number += 1;
        self.records_in_part = 0;
        self.part.clear();
        if self.offset - self.written_out >= BYTES_BETWEEN_RESTS {
            self.file
                .write_out(self.written_out, self.offset - self.written_out)
                .map_err(StoreError::disk("write out", &self.temporary))?;
            self.written_out = self.offset;
            std::thread::sleep(self.rest);
        }
        Ok(())
    }
}
