//! Reads the journal behind the server that writes it: every record from a frame on, in order, up to a
//! frame that is known to be durable.
//!
//! It is how something that is derived from the journal follows it without the commit thread's having
//! to hand anything over. It holds no lock and no memory but one piece of a segment. Segments are used
//! again: one that is taken away under the reader has frames of another number or another chain, which
//! is seen, and told as [`TailError::Lost`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::StoreError;
use super::disk::{Disk, DiskFile, RealDisk, read_full};
use super::frame::{self, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, FrameKind};
use super::header::{self, FRAMES_OFFSET, FileKind, StoreIdentity};
use super::names::FileName;
use super::replay::Files;
use super::{meta, record};
use std::fmt;
use std::path::{Path, PathBuf};
use vestibule_core::Record;

/// Bytes that are read at once: most frames are far smaller, and none is larger than the second.
const PIECE_BYTES: usize = 64 * 1024;
const PIECE_BYTES_MAX: usize = FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES + 8;

/// Why the journal cannot be followed.
#[derive(Debug)]
pub enum TailError {
    /// A frame that is wanted is not there any more, or cannot be read.
    Lost {
        /// Its number.
        frame_number: u64,
    },
    /// The store cannot be read at all.
    Store(StoreError),
}

impl fmt::Display for TailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { frame_number } => write!(f, "frame {frame_number} of the journal is gone"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TailError {}

impl From<StoreError> for TailError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A place in the journal.
#[derive(Debug)]
pub struct JournalTail {
    directory: PathBuf,
    identity: StoreIdentity,
    /// The frame that comes next.
    next: u64,
    segment: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    number: u64,
    file: Box<dyn DiskFile>,
    offset: u64,
    /// The number of the frame at the offset.
    frame_number: u64,
}

impl JournalTail {
    /// A reader of the store in `directory` that goes on behind frame `after` (0: from the beginning).
    ///
    /// # Errors
    /// [`StoreError`] if there is no store.
    pub fn open(directory: &Path, after: u64) -> Result<Self, StoreError> {
        let identity = meta::read(&RealDisk, directory)?;
        Ok(Self { directory: directory.to_owned(), identity, next: after + 1, segment: None })
    }

    /// The last frame that was read.
    #[must_use]
    pub const fn frame_number(&self) -> u64 {
        self.next - 1
    }

    /// The identity of the store.
    #[must_use]
    pub const fn identity(&self) -> [u8; 16] {
        self.identity
    }

    /// Goes on behind another frame.
    pub fn skip_to(&mut self, after: u64) {
        self.next = after + 1;
        self.segment = None;
    }

    /// Reads frames up to `through`, which are durable, until about `records_max` records have come;
    /// gives each record to `tell`. The frames that were read whole count, also before an error.
    ///
    /// # Errors
    /// [`TailError`]
    pub fn read(
        &mut self,
        through: u64,
        records_max: usize,
        tell: &mut dyn FnMut(Record),
    ) -> Result<(), TailError> {
        let mut records = 0;
        let mut piece = Vec::new();
        while self.next <= through && records < records_max {
            let mut segment = match self.segment.take() {
                Some(segment) => segment,
                None => self.find()?,
            };
            let read = self.read_piece(&mut segment, through, &mut piece, tell)?;
            match read {
                Some(told) => {
                    records += told;
                    self.segment = Some(segment);
                }
                // The journal goes on in another segment, or the frame is gone.
                None => {
                    let following = self.find()?;
                    if following.number == segment.number {
                        return Err(self.lost());
                    }
                    self.segment = Some(following);
                }
            }
        }
        Ok(())
    }

    fn lost(&self) -> TailError {
        TailError::Lost { frame_number: self.next }
    }

    /// The segment that the next frame is in, at its first frame.
    fn find(&self) -> Result<OpenSegment, TailError> {
        let files = Files::list(&RealDisk, &self.directory)?;
        for number in files.segments.iter().rev() {
            let path = FileName::Segment(*number).path(&self.directory);
            // It may have been taken away meanwhile; then an older one is of no use either.
            let Ok(file) = RealDisk.open_for_reading(&path) else { continue };
            let mut bytes = vec![0; header::HEADER_BYTES];
            let is_read = read_full(file.as_ref(), &mut bytes, 0).is_ok();
            let Ok(header) = header::decode(&bytes, FileKind::Segment) else { continue };
            let is_ours = header.identity == self.identity && header.file_number == *number;
            if is_read && is_ours && header.frame_number <= self.next {
                return Ok(OpenSegment {
                    number: *number,
                    file,
                    offset: FRAMES_OFFSET,
                    frame_number: header.frame_number,
                });
            }
        }
        Err(self.lost())
    }

    /// Reads the frames of one piece. `None`: at the offset is no frame that goes on from the one before.
    fn read_piece(
        &mut self,
        segment: &mut OpenSegment,
        through: u64,
        piece: &mut Vec<u8>,
        tell: &mut dyn FnMut(Record),
    ) -> Result<Option<usize>, TailError> {
        let key = frame::key(&self.identity);
        let path = || FileName::Segment(segment.number).path(&self.directory);
        let mut wanted = PIECE_BYTES;
        loop {
            piece.clear();
            piece.resize(wanted, 0);
            let length = read_full(segment.file.as_ref(), piece, segment.offset)
                .map_err(|error| StoreError::disk("read", &path())(error))?;
            piece.truncate(length);
            let (mut rest, mut told, mut has_moved) = (piece.as_slice(), 0, false);
            while self.next <= through
                && let Some((header, payload, length)) =
                    frame::decode(rest, FrameKind::Journal, segment.number, key)
                && header.number == segment.frame_number
            {
                if header.number == self.next {
                    for record in record::decode(payload) {
                        tell(record.map_err(|_| self.lost())?);
                        told += 1;
                    }
                    self.next += 1;
                }
                segment.frame_number += 1;
                segment.offset += length as u64;
                rest = rest.get(length..).unwrap_or_default();
                has_moved = true;
            }
            if has_moved {
                return Ok(Some(told));
            }
            if wanted == PIECE_BYTES_MAX || piece.len() < wanted {
                return Ok(None);
            }
            wanted = PIECE_BYTES_MAX;
        }
    }
}
