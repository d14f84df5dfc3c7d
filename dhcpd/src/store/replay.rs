//! Reading a store: which snapshot, which segments, which frames, and what is wrong with them.
//!
//! It changes nothing, whatever it finds; so a server that refuses to start has harmed nothing, and a
//! store can be checked while it is in doubt. A bad frame is a torn tail only if nothing shows that it
//! had ever been acknowledged; otherwise it is damage, and is refused by segment and offset.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::book::Book;
use super::disk::{Disk, read_whole};
use super::frame::{self, FRAME_ALIGNMENT, FrameKind};
use super::header::{self, FRAMES_OFFSET, FileHeader, FileKind, HeaderError, StoreIdentity};
use super::names::FileName;
use super::record::{self, RecordError};
use super::snapshot::{self, SnapshotFault, SnapshotSummary};
use super::{SEGMENT_BYTES_MAX, StoreError, meta};
use std::path::Path;

/// What the names in the state directory say.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) has_meta: bool,
    /// Ascending.
    pub(super) segments: Vec<u64>,
    /// Ascending.
    pub(super) snapshots: Vec<u64>,
    pub(super) spares: Vec<u64>,
    pub(super) bad_snapshots: Vec<u64>,
    /// Left by a process that ended in the middle of something.
    pub(super) temporary: Vec<String>,
}

impl Files {
    pub(super) fn list(disk: &dyn Disk, directory: &Path) -> Result<Self, StoreError> {
        let mut files = Self::default();
        let names = disk.list(directory).map_err(StoreError::disk("list", directory))?;
        for name in names.iter().filter_map(|name| FileName::parse(name)) {
            match name {
                FileName::Meta => files.has_meta = true,
                FileName::Clock => {}
                FileName::Segment(number) => files.segments.push(number),
                FileName::Snapshot(number) => files.snapshots.push(number),
                FileName::Spare(number) => files.spares.push(number),
                FileName::BadSnapshot(number) => files.bad_snapshots.push(number),
                FileName::Temporary(name) => files.temporary.push(name),
            }
        }
        files.segments.sort_unstable();
        files.snapshots.sort_unstable();
        files.spares.sort_unstable();
        Ok(files)
    }
}

/// Where the journal ends, and so goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) segment: u64,
    /// Behind the last good frame.
    pub(super) offset: u64,
    /// The number of the next frame.
    pub(super) frame_number: u64,
    /// The checksum of the last good frame.
    pub(super) checksum: u32,
    /// Bytes behind the last good frame that are known to be of a torn group.
    pub(super) torn_bytes: u64,
    /// Whether there are intact frames among them, which must never chain to a later frame.
    pub(super) has_intact_torn_frames: bool,
}

/// A store as it stands on disk.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) identity: StoreIdentity,
    pub(super) files: Files,
    pub(super) book: Book,
    /// The snapshot that was used.
    pub(super) snapshot: Option<SnapshotSummary>,
    /// Newer snapshots that could not be used, and why.
    pub(super) bad_snapshots: Vec<(u64, String)>,
    /// The segments that were replayed, ascending; never empty.
    pub(super) segments: Vec<u64>,
    /// Bytes of good frames in them.
    pub(super) journal_bytes: u64,
    pub(super) tail: Tail,
}

/// Reads the store that is in `directory`.
pub(super) fn read(
    disk: &dyn Disk,
    directory: &Path,
    files: Files,
) -> Result<Contents, StoreError> {
    let identity = meta::read(disk, directory)?;
    let (mut book, snapshot, bad_snapshots) = read_snapshot(disk, directory, identity, &files)?;
    let first = snapshot.as_ref().map_or(1, |snapshot| snapshot.header.file_number);
    let segments = segments_from(directory, &files, first, snapshot.is_some())?;
    let mut headers = Vec::with_capacity(segments.len());
    for number in &segments {
        headers.push(read_segment_header(disk, directory, identity, *number)?);
    }
    let mut chain = match &snapshot {
        Some(snapshot) => Chain::of(&snapshot.header),
        None => Chain { frame_number: 1, checksum: 0 },
    };
    if let Some(header) = headers.first()
        && Chain::of(header) != chain
    {
        let path = FileName::Segment(header.file_number).path(directory);
        return Err(StoreError::damaged(&path, 0, "it does not go on where the snapshot ends"));
    }
    let mut journal_bytes = 0;
    let mut tail = None;
    for (place, number) in segments.iter().enumerate() {
        let path = FileName::Segment(*number).path(directory);
        let bytes =
            read_whole(disk, &path, SEGMENT_BYTES_MAX).map_err(StoreError::disk("read", &path))?;
        let segment = SegmentBytes { path: &path, number: *number, bytes: &bytes, identity };
        let next = headers.get(place + 1);
        let end = segment.replay(&mut chain, next, &mut book)?;
        journal_bytes += end.offset.saturating_sub(FRAMES_OFFSET);
        if next.is_none() {
            if let Some(successor) = header::decode_successor(&bytes) {
                return Err(StoreError::Missing {
                    file: FileName::Segment(successor).path(directory),
                    needed_by: path.display().to_string(),
                });
            }
            tail = Some(end);
        }
    }
    let tail = tail.ok_or_else(|| StoreError::Missing {
        file: FileName::Segment(first).path(directory),
        needed_by: FileName::Meta.path(directory).display().to_string(),
    })?;
    Ok(Contents { identity, files, book, snapshot, bad_snapshots, segments, journal_bytes, tail })
}

/// Whether no frame was ever written to this segment, going by what stands where the first would: a
/// segment that is being made with a new store is zero there.
pub(super) fn has_no_frame(disk: &dyn Disk, path: &Path) -> Result<bool, StoreError> {
    let bytes =
        read_whole(disk, path, SEGMENT_BYTES_MAX).map_err(StoreError::disk("read", path))?;
    let frames = usize::try_from(FRAMES_OFFSET).ok().and_then(|offset| bytes.get(offset..));
    Ok(frames.is_none_or(|frames| frames.iter().all(|byte| *byte == 0)))
}

/// The book of the newest snapshot that can be used, that snapshot, and the newer ones that cannot.
type SnapshotChoice = (Book, Option<SnapshotSummary>, Vec<(u64, String)>);

fn read_snapshot(
    disk: &dyn Disk,
    directory: &Path,
    identity: StoreIdentity,
    files: &Files,
) -> Result<SnapshotChoice, StoreError> {
    let mut bad = Vec::new();
    for number in files.snapshots.iter().rev() {
        let path = FileName::Snapshot(*number).path(directory);
        let mut book = Book::default();
        match snapshot::read(disk, &path, &mut |record, bytes| book.apply(&record, bytes)) {
            Ok(summary)
                if summary.header.identity == identity && summary.header.file_number == *number =>
            {
                return Ok((book, Some(summary), bad));
            }
            Ok(_) => bad.push((*number, "it belongs to another store, or to another name".into())),
            Err(SnapshotFault::Newer(what)) => {
                return Err(StoreError::Newer { file: path, what });
            }
            Err(fault) => bad.push((*number, fault.to_string())),
        }
    }
    Ok((Book::default(), None, bad))
}

/// The segments from `first` on, none left out.
fn segments_from(
    directory: &Path,
    files: &Files,
    first: u64,
    has_snapshot: bool,
) -> Result<Vec<u64>, StoreError> {
    let mut expected = first;
    let mut segments = Vec::new();
    for number in files.segments.iter().copied().filter(|number| *number >= first) {
        if number != expected {
            return Err(StoreError::Missing {
                file: FileName::Segment(expected).path(directory),
                needed_by: FileName::Segment(number).path(directory).display().to_string(),
            });
        }
        segments.push(number);
        expected = expected.saturating_add(1);
    }
    // A snapshot, damaged or not, shows that its segment had been begun.
    let newest = files.snapshots.last().copied().unwrap_or(first).max(first);
    if expected <= newest {
        let needed_by = if has_snapshot || !files.snapshots.is_empty() {
            FileName::Snapshot(newest).path(directory)
        } else {
            FileName::Meta.path(directory)
        };
        return Err(StoreError::Missing {
            file: FileName::Segment(expected).path(directory),
            needed_by: needed_by.display().to_string(),
        });
    }
    Ok(segments)
}

fn read_segment_header(
    disk: &dyn Disk,
    directory: &Path,
    identity: StoreIdentity,
    number: u64,
) -> Result<FileHeader, StoreError> {
    let path = FileName::Segment(number).path(directory);
    let file = disk.open_for_reading(&path).map_err(StoreError::disk("open", &path))?;
    let mut bytes = vec![0; header::HEADER_BYTES];
    let read = super::disk::read_full(file.as_ref(), &mut bytes, 0)
        .map_err(StoreError::disk("read", &path))?;
    bytes.truncate(read);
    let header = header::decode(&bytes, FileKind::Segment).map_err(|error| match error {
        HeaderError::Newer { .. } => {
            StoreError::Newer { file: path.clone(), what: error.to_string() }
        }
        HeaderError::Bad(what) => StoreError::damaged(&path, 0, what),
    })?;
    if header.file_number != number {
        let what = format!("it is segment {}, under another's name", header.file_number);
        return Err(StoreError::damaged(&path, 0, what));
    }
    if header.identity != identity {
        return Err(StoreError::damaged(&path, 0, "it belongs to another store"));
    }
    Ok(header)
}

/// What the next frame must go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain {
    frame_number: u64,
    checksum: u32,
}

impl Chain {
    fn of(header: &FileHeader) -> Self {
        Self { frame_number: header.frame_number, checksum: header.checksum }
    }
}

/// One segment, read whole.
struct SegmentBytes<'a> {
    path: &'a Path,
    number: u64,
    bytes: &'a [u8],
    identity: StoreIdentity,
}

impl SegmentBytes<'_> {
    /// Replays the frames that chain; with `next`, the header of the next segment, all of them must.
    fn replay(
        &self,
        chain: &mut Chain,
        next: Option<&FileHeader>,
        book: &mut Book,
    ) -> Result<Tail, StoreError> {
        let key = frame::key(&self.identity);
        let mut offset = usize::try_from(FRAMES_OFFSET).unwrap_or(usize::MAX);
        loop {
            if let Some(next) = next
                && Chain::of(next) == *chain
            {
                return Ok(self.tail(*chain, offset, None));
            }
            let rest = self.bytes.get(offset..).unwrap_or_default();
            let Some((header, payload, length)) =
                frame::decode(rest, FrameKind::Journal, self.number, key).filter(|(header, ..)| {
                    header.number == chain.frame_number
                        && header.previous_checksum == chain.checksum
                })
            else {
                break;
            };
            let mut records = record::decode(payload);
            while let Some(record) = records.next() {
                let record = record.map_err(|error| self.bad_record(offset, &error))?;
                book.apply(&record, records.last_bytes());
            }
            if records.passed() != header.records {
                return Err(self.damaged(offset, "the number of records is not what it says"));
            }
            *chain = Chain { frame_number: chain.frame_number + 1, checksum: header.checksum };
            offset += length;
        }
        if next.is_some() {
            return Err(self.damaged(
                offset,
                "no intact frame goes on from the one before, and later segments do",
            ));
        }
        let torn = self.torn_frames(*chain, offset, key)?;
        Ok(self.tail(*chain, offset, torn))
    }

    /// Looks behind the first frame that does not chain. An intact frame there that was written when
    /// the bad one was durable shows damage. One that was not is of the same torn group, or of an
    /// older one: where the last of them ends is returned.
    fn torn_frames(
        &self,
        chain: Chain,
        bad_offset: usize,
        key: u32,
    ) -> Result<Option<usize>, StoreError> {
        let mut end = None;
        let mut offset = bad_offset;
        while let Some(rest) = self.bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let frame = frame::decode(rest, FrameKind::Journal, self.number, key);
            let Some((header, _, length)) = frame else {
                offset += FRAME_ALIGNMENT;
                continue;
            };
            if header.durable_before > chain.frame_number {
                let what = format!(
                    "no intact frame goes on from the one before, and frame {} at byte {offset} \
                     was written after it",
                    header.number
                );
                return Err(self.damaged(bad_offset, &what));
            }
            offset += length;
            end = Some(offset);
        }
        Ok(end)
    }

    fn tail(&self, chain: Chain, offset: usize, intact_until: Option<usize>) -> Tail {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        // A torn frame whose header is still there tells its length.
        let claimed = frame::decode_header(rest, FrameKind::Journal)
            .filter(|header| {
                header.file_number == self.number && header.number == chain.frame_number
            })
            .map_or(0, |header| frame::frame_bytes(header.payload_bytes as usize).min(rest.len()));
        let intact = intact_until.map_or(0, |until| until.saturating_sub(offset)).min(rest.len());
        Tail {
            segment: self.number,
            offset: offset as u64,
            frame_number: chain.frame_number,
            checksum: chain.checksum,
            torn_bytes: claimed.max(intact) as u64,
            has_intact_torn_frames: intact_until.is_some(),
        }
    }

    fn damaged(&self, offset: usize, what: &str) -> StoreError {
        StoreError::damaged(self.path, offset as u64, what)
    }

    fn bad_record(&self, offset: usize, error: &RecordError) -> StoreError {
        match error {
            RecordError::Newer { .. } => {
                StoreError::Newer { file: self.path.to_owned(), what: error.to_string() }
            }
            RecordError::Malformed(_) => self.damaged(offset, &error.to_string()),
        }
    }
}
