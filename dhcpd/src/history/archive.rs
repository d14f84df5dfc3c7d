//! One archive: intervals sorted by their place, in blocks with checksums, never changed once it has its
//! name.
//!
//! An archive is precious: it is the only copy of what is in it. The index beside it is not: it is made
//! anew from the archive when it is missing or is not as it was written. A block that is damaged costs
//! its own intervals, and is counted.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::encoding::{self, INTERVAL_BYTES_MAX};
use super::index::{Fence, Index, IndexWriter};
use super::interval::{Interval, Place};
use crate::store::bytes::Reader;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: [u8; 8] = *b"VSTBHIST";
const FORMAT_VERSION: u32 = 1;

/// Bytes of the header; blocks begin behind it.
const HEADER_BYTES: usize = 128;

/// From how many bytes on a block is full.
const BLOCK_BYTES: usize = 8 * 1024;

/// Bytes of one block at most, as far as a reader believes.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + INTERVAL_BYTES_MAX + 2;

const BLOCK_HEADER_BYTES: usize = 12;

/// What is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Who held which address.
    Holdings,
    /// Who answered for which device.
    Owners,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Holdings, Self::Owners];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Holdings => "holdings-",
            Self::Owners => "owners-",
        }
    }

    pub(super) const fn of(interval: &Interval) -> Self {
        match interval {
            Interval::Holding(_) => Self::Holdings,
            Interval::Ownership(_) => Self::Owners,
        }
    }

    pub(super) fn path(self, directory: &Path, number: u64) -> PathBuf {
        directory.join(format!("{}{number:012}", self.prefix()))
    }

    /// The numbers of the archives in a directory, ascending.
    pub(super) fn list(self, directory: &Path) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(self.prefix()))
                .filter(|digits| digits.len() == 12)
                .and_then(|digits| digits.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// What an archive says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) count: u64,
    /// Milliseconds since 1970, as all of these.
    pub(super) from_min: u64,
    pub(super) from_max: u64,
    /// The earliest end; of those that go on, the end that was known.
    pub(super) until_min: u64,
    /// The latest end; `u64::MAX` if one goes on.
    pub(super) until_max: u64,
    /// What was left out when it was written ([`Policy::digest`](super::Policy)).
    pub(super) policy: u64,
}

/// An archive, open for reading.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) summary: Summary,
    pub(super) index: Index,
    file: File,
    damaged: AtomicU64,
}

impl Archive {
    /// Opens an archive, and its index; makes the index anew if it has to.
    pub(super) fn open(directory: &Path, kind: Kind, number: u64) -> io::Result<Self> {
        let path = kind.path(directory, number);
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let summary = decode_header(&header, kind, number).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is no archive, or its header is damaged")
        })?;
        let index_path = Index::path(&path);
        let damaged = AtomicU64::new(0);
        let index = match Index::open(&index_path, number) {
            Ok(index) => index,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %index_path.display(), %error, "an index of the history is made anew from its archive");
                }
                let mut writer = IndexWriter::default();
                let mut offset = HEADER_BYTES as u64;
                while offset < bytes {
                    let Some((length, block)) = read_block(&file, offset, number) else {
                        // Without its length, what follows cannot be found.
                        damaged.fetch_add(1, Ordering::Relaxed);
                        offset = next_block(&file, offset, bytes, number);
                        continue;
                    };
                    let intervals: Vec<Interval> = intervals(&block).collect();
                    if let Some(first) = intervals.first() {
                        writer.block(Fence { first: first.place(), offset });
                        for interval in &intervals {
                            writer.interval(interval);
                        }
                    }
                    offset += length;
                }
                writer.write(&index_path, number)?;
                Index::open(&index_path, number)?
            }
        };
        Ok(Self { kind, number, path, bytes, summary, index, file, damaged })
    }

    /// Blocks that could not be read so far.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The intervals of one block; none if it is damaged.
    pub(super) fn block(&self, block: usize) -> Vec<Interval> {
        let Some(fence) = self.index.fences.get(block) else { return Vec::new() };
        match read_block(&self.file, fence.offset, self.number) {
            Some((_, bytes)) => intervals(&bytes).collect(),
            None => {
                if self.damaged.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(
                        file = %self.path.display(), offset = fence.offset,
                        "a part of the history cannot be read; answers leave it out, and say so"
                    );
                }
                Vec::new()
            }
        }
    }

    /// The blocks that can hold this subject from a time on.
    pub(super) fn blocks_of(&self, from: Place) -> std::ops::Range<usize> {
        let fences = &self.index.fences;
        let first = fences.partition_point(|fence| fence.first <= from).saturating_sub(1);
        let end = fences.partition_point(|fence| fence.first.subject <= from.subject);
        first..end.max(first)
    }

    /// The newest version of what stands at this very place.
    pub(super) fn at(&self, place: Place) -> Option<Interval> {
        if !(self.summary.from_min..=self.summary.from_max).contains(&place.from) {
            return None;
        }
        self.blocks_of(place)
            .take(2)
            .flat_map(|block| self.block(block))
            .find(|interval| interval.place() == place)
    }

    /// All intervals in order, a block at a time.
    pub(super) fn intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        (0..self.index.fences.len()).flat_map(|block| self.block(block))
    }

    /// Removes its files. Whoever is reading it goes on.
    pub(super) fn remove(&self) -> io::Result<()> {
        let index = Index::path(&self.path);
        fs::remove_file(&self.path)?;
        match fs::remove_file(index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes an archive: intervals in ascending order of their places.
pub(super) struct ArchiveWriter {
    kind: Kind,
    number: u64,
    path: PathBuf,
    file: io::BufWriter<File>,
    offset: u64,
    block: Vec<u8>,
    in_block: u32,
    summary: Summary,
    index: IndexWriter,
}

impl ArchiveWriter {
    pub(super) fn begin(
        directory: &Path,
        kind: Kind,
        number: u64,
        policy: u64,
    ) -> io::Result<Self> {
        let path = kind.path(directory, number);
        let mut file = io::BufWriter::with_capacity(256 * 1024, File::create(temporary(&path))?);
        file.write_all(&[0; HEADER_BYTES])?;
        Ok(Self {
            kind,
            number,
            path,
            file,
            offset: HEADER_BYTES as u64,
            block: Vec::with_capacity(BLOCK_BYTES_MAX),
            in_block: 0,
            summary: Summary {
                policy,
                from_min: u64::MAX,
                until_min: u64::MAX,
                ..Summary::default()
            },
            index: IndexWriter::default(),
        })
    }

    pub(super) fn put(&mut self, interval: &Interval) -> io::Result<()> {
        let bytes = encoding::encode(interval);
        let Ok(length) = u16::try_from(bytes.len()) else { return Ok(()) };
        if self.in_block == 0 {
            self.index.block(Fence { first: interval.place(), offset: self.offset });
        }
        self.index.interval(interval);
        self.block.extend_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(&bytes);
        self.in_block += 1;
        let Summary { count, from_min, from_max, until_min, until_max, .. } = &mut self.summary;
        *count += 1;
        *from_min = (*from_min).min(interval.from().milliseconds());
        *from_max = (*from_max).max(interval.from().milliseconds());
        *until_min = (*until_min).min(interval.until().milliseconds());
        let until =
            if interval.ended().is_some() { interval.until().milliseconds() } else { u64::MAX };
        *until_max = (*until_max).max(until);
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len()).unwrap_or(u32::MAX).to_le_bytes();
        let count = self.in_block.to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&count)?;
        self.file.write_all(&checksum(self.number, &length, &count, &self.block).to_le_bytes())?;
        self.file.write_all(&self.block)?;
        self.offset += (BLOCK_HEADER_BYTES + self.block.len()) as u64;
        self.block.clear();
        self.in_block = 0;
        Ok(())
    }

    /// Bytes so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.offset
    }

    /// Syncs it, gives it its name, and opens it.
    pub(super) fn finish(mut self, directory: &Path) -> io::Result<Archive> {
        if self.in_block > 0 {
            self.end_block()?;
        }
        let Self { kind, number, path, file, summary, index, .. } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.write_all_at(&encode_header(kind, number, &summary), 0)?;
        file.sync_all()?;
        index.write(&Index::path(&path), number)?;
        fs::rename(temporary(&path), &path)?;
        File::open(directory)?.sync_all()?;
        Archive::open(directory, kind, number)
    }
}

/// The name of a file while it is being made.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".tmp");
    path.into()
}

fn encode_header(kind: Kind, number: u64, summary: &Summary) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    let Summary { count, from_min, from_max, until_min, until_max, policy } = *summary;
    for field in [number, kind as u64, count, from_min, from_max, until_min, until_max, policy] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.resize(HEADER_BYTES - 4, 0);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8], kind: Kind, number: u64) -> Option<Summary> {
    let (checked, checksum) = bytes.split_at_checked(HEADER_BYTES - 4)?;
    let mut rest = Reader::new(checked);
    let is_ours = rest.array()? == MAGIC && crc32c::crc32c(checked).to_le_bytes() == *checksum;
    let (_version, reader_min) = (rest.u32()?, rest.u32()?);
    let is_it = rest.u64()? == number && rest.u64()? == kind as u64;
    if !is_ours || !is_it || reader_min > FORMAT_VERSION {
        return None;
    }
    Some(Summary {
        count: rest.u64()?,
        from_min: rest.u64()?,
        from_max: rest.u64()?,
        until_min: rest.u64()?,
        until_max: rest.u64()?,
        policy: rest.u64()?,
    })
}

/// Seeded with the archive's number, so that no block of another one counts here.
fn checksum(number: u64, length: &[u8], count: &[u8], payload: &[u8]) -> u32 {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), length);
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, count), payload)
}

/// A block's length with its header, and its payload.
fn read_block(file: &File, offset: u64, number: u64) -> Option<(u64, Vec<u8>)> {
    // Most often it is all there with one call.
    let mut bytes = vec![0; BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(length);
    let mut rest = Reader::new(&bytes);
    let (payload_bytes, count, expected) = (rest.u32()?, rest.u32()?, rest.u32()?);
    let payload = rest.take(usize::try_from(payload_bytes).ok()?)?;
    let found = checksum(number, &payload_bytes.to_le_bytes(), &count.to_le_bytes(), payload);
    let length = payload.len();
    (found == expected).then(|| {
        bytes.drain(..BLOCK_HEADER_BYTES);
        bytes.truncate(length);
        ((BLOCK_HEADER_BYTES + length) as u64, bytes)
    })
}

/// Where the next readable block begins behind a damaged one; the end of the file if there is none.
fn next_block(file: &File, damaged: u64, end: u64, number: u64) -> u64 {
    let furthest = end.min(damaged + 1 + (BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX) as u64);
    let next = (damaged + 1..furthest).find(|offset| read_block(file, *offset, number).is_some());
    next.unwrap_or(if furthest == end { end } else { furthest })
}

fn intervals(block: &[u8]) -> impl Iterator<Item = Interval> + '_ {
    let mut rest = Reader::new(block);
    std::iter::from_fn(move || rest.counted()).filter_map(encoding::decode)
}
