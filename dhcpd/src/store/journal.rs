//! The journal's writing end: frames into prepared segments, one sync for each commit.

use super::StoreError;
use super::disk::{Disk, DiskFile};
use super::frame::{self, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, FrameHeader, FrameKind};
use super::header::{
    self, FORMAT_VERSION, FRAMES_OFFSET, FileHeader, FileKind, HEADER_BYTES, StoreIdentity,
};
use super::names::FileName;
use super::record;
use super::replay::Tail;
use super::spare::Spares;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vestibule_core::Record;

/// Records in one commit at most. The caller's own limits are lower; this one bounds memory whatever
/// the caller does.
pub const COMMIT_RECORDS_MAX: usize = 1 << 20;

/// Where the next frame goes, and what it goes on from.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    identity: StoreIdentity,
    key: u32,
    segment: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes of the current segment.
    capacity: u64,
    /// Where the next frame goes.
    offset: u64,
    /// The number of the next frame.
    frame_number: u64,
    /// Frames below this number are durable.
    durable_before: u64,
    /// The checksum of the last frame.
    checksum: u32,
    /// Bytes of frames, those found at the start included.
    bytes_written: u64,
    /// Encoded records of the commit at hand.
    payload: Vec<u8>,
    frame: Vec<u8>,
}

impl Journal {
    /// Goes on where the journal ends. `file` is the last segment, synced, of `capacity` bytes.
    pub(super) fn go_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        identity: StoreIdentity,
        tail: &Tail,
        file: Box<dyn DiskFile>,
        capacity: u64,
        bytes_written: u64,
    ) -> Self {
        Self {
            disk,
            directory: directory.to_owned(),
            identity,
            key: frame::key(&identity),
            segment: tail.segment,
            path: FileName::Segment(tail.segment).path(directory),
            file,
            capacity,
            offset: tail.offset,
            frame_number: tail.frame_number,
            durable_before: tail.frame_number,
            checksum: tail.checksum,
            bytes_written,
            payload: Vec::new(),
            frame: Vec::new(),
        }
    }

    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.capacity
    }

    pub(super) fn segment_bytes_left(&self) -> u64 {
        self.capacity - self.offset
    }

    /// The number of the next frame.
    pub(super) fn frame_number(&self) -> u64 {
        self.frame_number
    }

    /// The checksum of the last frame.
    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Bytes of frames, those found at the start included.
    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Writes the records and syncs once.
    pub(super) fn append(&mut self, records: &[Record], spares: &Spares) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let parts = self.encode(records)?;
        let mut start = 0;
        for (end, count) in parts {
            self.write_frame(start, end, count, spares)?;
            start = end;
        }
        self.sync()
    }

    /// Goes on in a new segment, unless there is nothing in this one.
    pub(super) fn rotate_if_used(&mut self, spares: &Spares) -> Result<(), StoreError> {
        if self.offset > FRAMES_OFFSET { self.rotate(spares) } else { Ok(()) }
    }

    /// Encodes into `payload`; gives where each frame's part of it ends, and its records. Everything is
    /// encoded before anything is written, so that a record that cannot be leaves the journal alone.
    fn encode(&mut self, records: &[Record]) -> Result<Vec<(usize, u32)>, StoreError> {
        if records.len() > COMMIT_RECORDS_MAX {
            return Err(StoreError::CommitTooLong { records: records.len() });
        }
        let segment_room = usize::try_from(self.capacity - FRAMES_OFFSET).unwrap_or(usize::MAX);
        let part_bytes_max = FRAME_PAYLOAD_BYTES_MAX.min(segment_room - FRAME_HEADER_BYTES);
        self.payload.clear();
        let mut parts = Vec::new();
        let (mut part_start, mut count) = (0, 0);
        for record in records {
            let before = self.payload.len();
            record::encode(record, &mut self.payload)
                .map_err(|error| StoreError::RecordTooLong { bytes: error.bytes })?;
            if self.payload.len() - part_start > part_bytes_max {
                parts.push((before, count));
                (part_start, count) = (before, 0);
            }
            count += 1;
        }
        parts.push((self.payload.len(), count));
        Ok(parts)
    }

    fn write_frame(
        &mut self,
        start: usize,
        end: usize,
        records: u32,
        spares: &Spares,
    ) -> Result<(), StoreError> {
        if self.segment_bytes_left() < frame::frame_bytes(end - start) as u64 {
            self.rotate(spares)?;
        }
        let payload = &self.payload[start..end];
        let header = FrameHeader {
            kind: FrameKind::Journal,
            // A part is at most FRAME_PAYLOAD_BYTES_MAX long.
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            file_number: self.segment,
            number: self.frame_number,
            durable_before: self.durable_before,
            records,
            previous_checksum: self.checksum,
            checksum: 0,
        };
        self.frame.clear();
        let checksum = frame::encode(&header, self.key, payload, &mut self.frame);
        self.file
            .write_at(&self.frame, self.offset)
            .map_err(StoreError::disk("write to", &self.path))?;
        self.checksum = checksum;
        self.frame_number += 1;
        self.offset += self.frame.len() as u64;
        self.bytes_written += self.frame.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.durable_before < self.frame_number {
            self.file.sync_data().map_err(StoreError::disk("sync", &self.path))?;
            self.durable_before = self.frame_number;
        }
        Ok(())
    }

    /// Goes on in a new segment. Its header is durable before it has its name, and its name before it
    /// has a frame; so a segment with a bad header is damaged, never merely new.
    fn rotate(&mut self, spares: &Spares) -> Result<(), StoreError> {
        self.sync()?;
        let spare = spares.take()?;
        let number = self.segment + 1;
        let (path, file) = begin_segment(
            self.disk.as_ref(),
            &self.directory,
            &spare,
            &FileHeader {
                kind: FileKind::Segment,
                format_version: FORMAT_VERSION,
                reader_version_min: FORMAT_VERSION,
                identity: self.identity,
                file_number: number,
                frame_number: self.frame_number,
                checksum: self.checksum,
            },
        )?;
        let capacity = file.length().map_err(StoreError::disk("measure", &path))?;
        // From here on the loss of the new segment would be noticed.
        self.file
            .write_at(&header::encode_successor(number), HEADER_BYTES as u64)
            .map_err(StoreError::disk("write to", &self.path))?;
        self.file.sync_data().map_err(StoreError::disk("sync", &self.path))?;
        self.segment = number;
        self.path = path;
        self.file = file;
        self.capacity = capacity;
        self.offset = FRAMES_OFFSET;
        Ok(())
    }
}

/// Makes a prepared file the segment that the header names.
pub(super) fn begin_segment(
    disk: &dyn Disk,
    directory: &Path,
    prepared: &Path,
    header: &FileHeader,
) -> Result<(PathBuf, Box<dyn DiskFile>), StoreError> {
    let file = disk.open(prepared).map_err(StoreError::disk("open", prepared))?;
    // The whole first block, so that no mark of an earlier use stays.
    let mut block = header::encode(header).to_vec();
    block.resize(usize::try_from(FRAMES_OFFSET).unwrap_or(HEADER_BYTES), 0);
    file.write_at(&block, 0).map_err(StoreError::disk("write to", prepared))?;
    file.sync_data().map_err(StoreError::disk("sync", prepared))?;
    let path = FileName::Segment(header.file_number).path(directory);
    disk.rename(prepared, &path).map_err(StoreError::disk("name", &path))?;
    disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))?;
    Ok((path, file))
}
