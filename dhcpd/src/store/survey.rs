//! Reading a store for all that is in it, however damaged it is.
//!
//! A start reads the journal as a chain and stops at the first link that does not hold (`replay`). This
//! goes on behind it: an intact frame is what this store wrote into this file, whatever became of the
//! frames before it, and its records are full images. What is missing in between is counted, and
//! bounded in time. It changes nothing.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::book::{Book, time_of};
use super::disk::{Disk, read_full};
use super::frame::{self, FRAME_ALIGNMENT, FrameHeader, FrameKind};
use super::header::{self, FRAMES_OFFSET, FileKind, HEADER_BYTES, HeaderError, StoreIdentity};
use super::names::FileName;
use super::record::{self, RecordError};
use super::repair::{self, Expected};
use super::replay::Files;
use super::snapshot::{self, SnapshotFault};
use super::{SEGMENT_BYTES_MAX, StoreError, meta};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use vestibule_core::{BindingState, Record, Timestamp};

/// Bytes that are read at once where a file cannot be read as a whole.
const BLOCK_BYTES: u64 = 4096;

/// Something in a store that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes from its beginning.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// Whether all that was there is known all the same.
    pub is_mended: bool,
}

/// Frames of the journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFrames {
    /// The number of the first one.
    pub first: u64,
    /// The number of the last one; `None`: nothing behind them says how many there were.
    pub last: Option<u64>,
    /// The newest time in the records before them; `None`: there are none.
    pub after: Option<Timestamp>,
    /// The first time in the records behind them; `None`: there are none.
    pub before: Option<Timestamp>,
}

/// What is in a store.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) identity: StoreIdentity,
    pub(super) has_good_meta: bool,
    pub(super) files: Files,
    pub(super) book: Book,
    /// The snapshot that the rest was read over, and the bad ones, of all ages.
    pub(super) snapshot: Option<u64>,
    pub(super) bad_snapshots: Vec<u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) lost: Vec<LostFrames>,
    /// Frames read.
    pub(super) frames: u64,
    /// The number of the next frame, as far as is known.
    pub(super) next_frame: u64,
    /// The largest number of a segment that exists, or of which something shows that it did.
    pub(super) newest_segment: u64,
    /// The longest time, in milliseconds, from a change of a lease to its end.
    pub(super) longest_milliseconds: u64,
    /// Waits for the first time behind the last loss.
    wants_time: bool,
    /// What the next frame must go on from.
    checksum: Option<u32>,
}

impl Survey {
    /// Reads the store in `directory`.
    ///
    /// Fails with [`StoreError::Newer`] (nothing of a newer program is judged), [`StoreError::Disk`] if
    /// the directory cannot be listed, and [`StoreError::Damaged`] if nothing in it says which store it is.
    pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Result<Self, StoreError> {
        let files = Files::list(disk, directory)?;
        let mut faults = Vec::new();
        let meta_path = FileName::Meta.path(directory);
        let (identity, has_good_meta) = match meta::read(disk, directory) {
            Ok(identity) => (identity, true),
            Err(error @ StoreError::Newer { .. }) => return Err(error),
            Err(_) => {
                faults.push(Fault {
                    file: meta_path.clone(),
                    offset: 0,
                    what: "it is missing, or not as it was written".into(),
                    is_mended: true,
                });
                let identity = identity_of(disk, directory, &files).ok_or_else(|| {
                    StoreError::damaged(&meta_path, 0, "no file here says which store this is")
                })?;
                (identity, false)
            }
        };
        let mut survey = Self {
            identity,
            has_good_meta,
            book: Book::default(),
            snapshot: None,
            bad_snapshots: Vec::new(),
            faults,
            lost: Vec::new(),
            frames: 0,
            next_frame: 1,
            newest_segment: newest(&files),
            longest_milliseconds: 0,
            wants_time: false,
            checksum: Some(0),
            files,
        };
        survey.read_snapshots(disk, directory)?;
        survey.read_segments(disk, directory)?;
        Ok(survey)
    }

    /// Whether anything that was in it is gone.
    pub(super) fn has_lost_anything(&self) -> bool {
        !self.lost.is_empty()
    }

    /// By when all that was lost had been decided; `None`: nothing was, or nothing tells.
    pub(super) fn lost_before(&self) -> Option<Timestamp> {
        self.lost.last().and_then(|lost| lost.before)
    }

    fn read_snapshots(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
        for number in self.files.snapshots.clone().into_iter().rev() {
            let path = FileName::Snapshot(number).path(directory);
            let mut book = Book::default();
            let mut longest = 0;
            let read = snapshot::read(disk, &path, &mut |record, bytes| {
                longest = longest.max(duration_of(&record));
                book.apply(&record, bytes);
            });
            let fault = match read {
                Ok(summary)
                    if summary.header.identity == self.identity
                        && summary.header.file_number == number =>
                {
                    if self.snapshot.is_none() {
                        self.book = book;
                        self.longest_milliseconds = longest;
                        self.snapshot = Some(number);
                        self.next_frame = summary.header.frame_number;
                        self.checksum = Some(summary.header.checksum);
                    }
                    continue;
                }
                Ok(_) => (0, "it belongs to another store, or to another name".to_owned()),
                Err(SnapshotFault::Newer(what)) => {
                    return Err(StoreError::Newer { file: path, what });
                }
                Err(SnapshotFault::Damaged(offset, what)) => (offset, what),
                Err(SnapshotFault::Disk(error)) => (0, format!("cannot be read: {error}")),
            };
            self.bad_snapshots.push(number);
            // Whether it is missed shows where the journal begins.
            self.fault(&path, fault.0, &fault.1, true);
        }
        Ok(())
    }

    fn read_segments(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
        let first = self.snapshot.unwrap_or(0);
        let numbers: Vec<u64> =
            self.files.segments.iter().copied().filter(|number| *number >= first).collect();
        // Without a snapshot nobody knows which segments had been let go.
        let mut expected = self.snapshot.or(numbers.first().copied()).unwrap_or(1);
        let mut successor = None;
        // Where the segment before ended too early.
        let mut stopped: Option<Stopped> = None;
        for number in numbers {
            let path = FileName::Segment(number).path(directory);
            for missing in expected..number {
                self.missing(directory, missing);
                stopped = None;
            }
            expected = number.saturating_add(1);
            let bytes = self.read_file(disk, &path)?;
            successor = header::decode_successor(&bytes);
            let begins_at = self.read_header(&path, number, &bytes)?;
            if let Some((frame_number, checksum)) = begins_at
                && frame_number > self.next_frame
            {
                self.jump(stopped.take(), frame_number, checksum)?;
            }
            let is_last = number >= self.newest_segment && successor.is_none();
            stopped = self.read_frames(&path, number, &bytes, is_last)?;
        }
        if let Some(successor) = successor {
            self.newest_segment = self.newest_segment.max(successor);
        }
        if expected <= self.newest_segment {
            for missing in expected..=self.newest_segment {
                self.missing(directory, missing);
            }
            self.lose(None);
        }
        Ok(())
    }

    /// The header of a segment: the number of its first frame, and the checksum of the one before.
    fn read_header(
        &mut self,
        path: &Path,
        number: u64,
        bytes: &[u8],
    ) -> Result<Option<(u64, u32)>, StoreError> {
        let what = match header::decode(bytes, FileKind::Segment) {
            Ok(header) if header.identity != self.identity => "it belongs to another store",
            Ok(header) if header.file_number != number => "it is another segment's",
            Ok(header) => return Ok(Some((header.frame_number, header.checksum))),
            Err(error @ HeaderError::Newer { .. }) => {
                return Err(StoreError::Newer { file: path.to_owned(), what: error.to_string() });
            }
            Err(HeaderError::Bad(what)) => what,
        };
        // Every frame in it says itself where it belongs.
        self.fault(path, 0, what, true);
        Ok(None)
    }

    /// Reads every intact frame of a segment. Gives where it stopped if frames may be missing at its end.
    fn read_frames(
        &mut self,
        path: &Path,
        number: u64,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<Option<Stopped>, StoreError> {
        let key = frame::key(&self.identity);
        let mut offset = usize::try_from(FRAMES_OFFSET).unwrap_or(usize::MAX);
        let mut bad_since = None;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let found = frame::decode(rest, FrameKind::Journal, number, key)
                .filter(|(header, ..)| header.number >= self.next_frame);
            let Some((header, payload, length)) = found else {
                bad_since.get_or_insert(offset);
                offset += FRAME_ALIGNMENT;
                continue;
            };
            let goes_on = header.number == self.next_frame
                && self.checksum.is_none_or(|checksum| checksum == header.previous_checksum);
            if !goes_on {
                // In the last segment only what was written when the bad frame was durable shows that
                // it had been: see `replay`.
                if is_last && header.durable_before <= self.next_frame {
                    bad_since.get_or_insert(offset);
                    offset += length;
                    continue;
                }
                let stopped = Stopped {
                    path: path.to_owned(),
                    number,
                    offset: bad_since.unwrap_or(offset),
                    rest: bytes.get(bad_since.unwrap_or(offset)..offset).unwrap_or_default().into(),
                };
                self.jump(Some(stopped), header.number, header.previous_checksum)?;
            }
            bad_since = None;
            self.take(path, offset, &header, payload)?;
            offset += length;
        }
        let stopped = bad_since.filter(|_| !is_last).map(|offset| Stopped {
            path: path.to_owned(),
            number,
            offset,
            rest: bytes.get(offset..).unwrap_or_default().into(),
        });
        Ok(stopped)
    }

    /// Goes on at a later frame: mends the one that is missing if it was only a bit, or counts the loss.
    fn jump(
        &mut self,
        stopped: Option<Stopped>,
        frame_number: u64,
        checksum: u32,
    ) -> Result<(), StoreError> {
        let mended = match (&stopped, self.checksum) {
            (Some(stopped), Some(previous_checksum)) if frame_number == self.next_frame + 1 => {
                let expected = Expected {
                    file_number: stopped.number,
                    number: self.next_frame,
                    previous_checksum,
                    checksum,
                };
                repair::one_bit(&stopped.rest, frame::key(&self.identity), expected)
            }
            _ => None,
        };
        if let (Some((frame, bit)), Some(stopped)) = (mended, &stopped) {
            let key = frame::key(&self.identity);
            let decoded = frame::decode(&frame, FrameKind::Journal, stopped.number, key);
            if let Some((header, payload, _)) = decoded {
                let place = stopped.offset + bit / 8;
                let what = format!(
                    "bit {} is flipped; the checksums of frame {} and of the one behind it tell which, \
                     and so what the frame said",
                    bit % 8,
                    header.number
                );
                self.fault(&stopped.path, place as u64, &what, true);
                return self.take(&stopped.path, stopped.offset, &header, payload);
            }
        }
        if let Some(stopped) = stopped {
            let last = frame_number - 1;
            let what = if last == self.next_frame {
                format!("frame {last} cannot be read")
            } else {
                format!("frames {} to {last} cannot be read", self.next_frame)
            };
            self.fault(&stopped.path, stopped.offset as u64, &what, false);
        }
        self.lose(Some(frame_number - 1));
        self.next_frame = frame_number;
        self.checksum = Some(checksum);
        Ok(())
    }

    /// Takes in an intact frame.
    fn take(
        &mut self,
        path: &Path,
        offset: usize,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        self.next_frame = header.number + 1;
        self.checksum = Some(header.checksum);
        self.frames += 1;
        let mut records = record::decode(payload);
        while let Some(record) = records.next() {
            match record {
                Ok(record) => self.apply(&record, records.last_bytes()),
                Err(error @ RecordError::Newer { .. }) => {
                    let file = path.to_owned();
                    return Err(StoreError::Newer { file, what: error.to_string() });
                }
                Err(error @ RecordError::Malformed(_)) => {
                    self.fault(path, offset as u64, &error.to_string(), false);
                    self.next_frame = header.number;
                    self.lose(Some(header.number));
                    self.next_frame = header.number + 1;
                    break;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record, bytes: &[u8]) {
        self.longest_milliseconds = self.longest_milliseconds.max(duration_of(record));
        if self.wants_time
            && let Some(time) = time_of(record)
        {
            self.wants_time = false;
            for lost in self.lost.iter_mut().filter(|lost| lost.before.is_none()) {
                lost.before = Some(time);
            }
        }
        self.book.apply(record, bytes);
    }

    fn lose(&mut self, last: Option<u64>) {
        let newest = self.book.newest_time();
        self.wants_time = true;
        self.lost.push(LostFrames {
            first: self.next_frame,
            last,
            after: (newest > Timestamp::ZERO).then_some(newest),
            before: None,
        });
    }

    fn missing(&mut self, directory: &Path, number: u64) {
        let path = FileName::Segment(number).path(directory);
        self.fault(&path, 0, "it is missing", false);
    }

    fn fault(&mut self, file: &Path, offset: u64, what: &str, is_mended: bool) {
        self.faults.push(Fault { file: file.to_owned(), offset, what: what.to_owned(), is_mended });
    }

    /// A file as far as the disk gives it; what it does not give is zeros, and a fault.
    fn read_file(&mut self, disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, StoreError> {
        let file = disk.open_for_reading(path).map_err(StoreError::disk("open", path))?;
        let length = file.length().map_err(StoreError::disk("measure", path))?;
        let length = usize::try_from(length.min(SEGMENT_BYTES_MAX)).unwrap_or(0);
        let mut bytes = vec![0; length];
        let Err(error) = read_full(file.as_ref(), &mut bytes, 0) else { return Ok(bytes) };
        let mut unreadable: Option<(u64, io::Error)> = Some((0, error));
        let mut offset = 0;
        for block in bytes.chunks_mut(usize::try_from(BLOCK_BYTES).unwrap_or(4096)) {
            if let Err(error) = read_full(file.as_ref(), block, offset) {
                block.fill(0);
                if unreadable.as_ref().is_none_or(|(first, _)| *first == 0) {
                    unreadable = Some((offset, error));
                }
            }
            offset += BLOCK_BYTES;
        }
        if let Some((offset, error)) = unreadable {
            // Whether a frame is lost by it shows when they are read.
            self.fault(path, offset, &format!("the disk does not read it: {error}"), true);
        }
        Ok(bytes)
    }
}

/// Where the frames of a segment stop going on, and the bytes from there to where they do again.
struct Stopped {
    path: PathBuf,
    number: u64,
    offset: usize,
    rest: Box<[u8]>,
}

/// How long from its change a lease keeps its address from others, in milliseconds.
fn duration_of(record: &Record) -> u64 {
    match record {
        Record::Lease(lease) if lease.state != BindingState::Released => {
            lease.ends.milliseconds_after(lease.changed)
        }
        _ => 0,
    }
}

/// The newest segment that there is or must have been: a snapshot is begun with its segment.
fn newest(files: &Files) -> u64 {
    files.segments.iter().chain(&files.snapshots).copied().max().unwrap_or(0)
}

/// Which store this is, by most of its other files.
fn identity_of(disk: &dyn Disk, directory: &Path, files: &Files) -> Option<StoreIdentity> {
    let segments = files.segments.iter().map(|n| (FileName::Segment(*n), FileKind::Segment));
    let snapshots = files.snapshots.iter().map(|n| (FileName::Snapshot(*n), FileKind::Snapshot));
    let mut votes: BTreeMap<StoreIdentity, u32> = BTreeMap::new();
    for (name, kind) in segments.chain(snapshots) {
        let mut bytes = vec![0; HEADER_BYTES];
        let read = disk
            .open_for_reading(&name.path(directory))
            .and_then(|file| read_full(file.as_ref(), &mut bytes, 0));
        if let Ok(header) = read.map_or(Err(()), |_| header::decode(&bytes, kind).map_err(|_| ())) {
            *votes.entry(header.identity).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(identity, _)| identity)
}
