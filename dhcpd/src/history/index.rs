//! The index beside an archive: where its blocks are, and which of them hold a key.
//!
//! It is derived: the first place of each block, and sorted pairs of key and block in pages with
//! checksums. In memory stay the first place of each block and the first key of each page (24 and 12
//! bytes for about 8 KiB and 4 KiB on disk), so a key costs one page, and one block for each of its
//! intervals.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::temporary;
use super::interval::{Interval, Place};
use crate::store::bytes::Reader;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"VSTBHIX1";
const HEADER_BYTES: usize = 64;
const FENCE_BYTES: usize = 24;
const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
const ENTRIES_PER_PAGE: usize = (PAGE_BYTES - 8) / ENTRY_BYTES;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    /// The place of its first interval.
    pub(super) first: Place,
    pub(super) offset: u64,
}

/// That a block has an interval with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) hash: u64,
    /// When it began, in seconds since 1970.
    pub(super) from_seconds: u32,
    pub(super) block: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) fences: Vec<Fence>,
    file: File,
    /// The first entry of each page.
    pages: Vec<(u64, u32)>,
    pages_offset: u64,
}

/// Makes an index.
#[derive(Debug, Default)]
pub(super) struct IndexWriter {
    fences: Vec<Fence>,
    entries: Vec<Entry>,
}

impl IndexWriter {
    /// A block begins.
    pub(super) fn block(&mut self, fence: Fence) {
        self.fences.push(fence);
    }

    /// An interval of the block that was begun last.
    pub(super) fn interval(&mut self, interval: &Interval) {
        let block = u32::try_from(self.fences.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let from_seconds = seconds(interval.from().seconds());
        for key in interval.keys() {
            self.entries.push(Entry { hash: key.hash(), from_seconds, block });
        }
    }

    /// Writes it. It need not survive a power cut: then it is made anew.
    pub(super) fn write(mut self, path: &Path, number: u64) -> io::Result<()> {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut fences = Vec::with_capacity(self.fences.len() * FENCE_BYTES);
        for Fence { first, offset } in &self.fences {
            for field in [first.subject, first.from, *offset] {
                fences.extend_from_slice(&field.to_le_bytes());
            }
        }
        let pages = self.entries.chunks(ENTRIES_PER_PAGE);
        let mut firsts = Vec::new();
        for first in pages.clone().filter_map(<[Entry]>::first) {
            firsts.extend_from_slice(&first.hash.to_le_bytes());
            firsts.extend_from_slice(&first.from_seconds.to_le_bytes());
        }
        let mut header = MAGIC.to_vec();
        let counts = [number, self.fences.len() as u64, pages.len() as u64];
        for field in counts {
            header.extend_from_slice(&field.to_le_bytes());
        }
        for section in [&fences, &firsts] {
            header.extend_from_slice(&crc32c::crc32c(section).to_le_bytes());
        }
        header.resize(HEADER_BYTES - 4, 0);
        let checksum = crc32c::crc32c(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        let mut file = io::BufWriter::with_capacity(256 * 1024, File::create(temporary(path))?);
        file.write_all(&header)?;
        file.write_all(&fences)?;
        file.write_all(&firsts)?;
        let mut page = Vec::with_capacity(PAGE_BYTES);
        for entries in pages {
            page.clear();
            for Entry { hash, from_seconds, block } in entries {
                page.extend_from_slice(&hash.to_le_bytes());
                page.extend_from_slice(&from_seconds.to_le_bytes());
                page.extend_from_slice(&block.to_le_bytes());
            }
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let checksum = crc32c::crc32c(&page);
            page.resize(PAGE_BYTES - 8, 0);
            file.write_all(&checksum.to_le_bytes())?;
            file.write_all(&count.to_le_bytes())?;
            file.write_all(&page)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(temporary(path), path)
    }
}

/// Seconds as an index has them; what is later than 2106 counts as that.
pub(super) fn seconds(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl Index {
    /// The index beside this archive.
    pub(super) fn path(archive: &Path) -> PathBuf {
        let mut path = archive.as_os_str().to_owned();
        path.push(".index");
        path.into()
    }

    /// Opens the index of the archive with this number.
    pub(super) fn open(path: &Path, number: u64) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "it is not as it was written");
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let (fence_count, page_count, checksums) =
            decode_header(&header, number).ok_or_else(bad)?;
        let (fence_bytes, first_bytes) = (fence_count * FENCE_BYTES, page_count * 12);
        let pages_offset = (HEADER_BYTES + fence_bytes + first_bytes) as u64;
        if length != pages_offset + (page_count * PAGE_BYTES) as u64 {
            return Err(bad());
        }
        let mut bytes = vec![0; fence_bytes + first_bytes];
        file.read_exact_at(&mut bytes, HEADER_BYTES as u64)?;
        let (fences, firsts) = bytes.split_at(fence_bytes);
        if (crc32c::crc32c(fences), crc32c::crc32c(firsts)) != checksums {
            return Err(bad());
        }
        let mut rest = Reader::new(fences);
        let fences = std::iter::from_fn(|| {
            let first = Place { subject: rest.u64()?, from: rest.u64()? };
            Some(Fence { first, offset: rest.u64()? })
        });
        let mut rest = Reader::new(firsts);
        let firsts = std::iter::from_fn(|| Some((rest.u64()?, rest.u32()?)));
        Ok(Self { fences: fences.collect(), pages: firsts.collect(), pages_offset, file })
    }

    /// The entries with this key, in the order of their beginnings, from this second on: `count_max`, and
    /// all of the second of the last one. And whether there may be more.
    ///
    /// # Errors
    /// If the index cannot be read: it has to be made anew.
    pub(super) fn entries(
        &self,
        hash: u64,
        from_seconds: u32,
        count_max: usize,
    ) -> io::Result<(Vec<Entry>, bool)> {
        let first =
            self.pages.partition_point(|page| *page < (hash, from_seconds)).saturating_sub(1);
        let mut found = Vec::new();
        for (page, start) in self.pages.iter().enumerate().skip(first) {
            if start.0 > hash {
                break;
            }
            for entry in self.page(page)? {
                if entry.hash == hash && entry.from_seconds >= from_seconds {
                    let second = found.last().map(|last: &Entry| last.from_seconds);
                    if found.len() >= count_max && second != Some(entry.from_seconds) {
                        return Ok((found, true));
                    }
                    found.push(entry);
                }
            }
        }
        Ok((found, false))
    }

    fn page(&self, page: usize) -> io::Result<impl Iterator<Item = Entry>> {
        let mut bytes = vec![0; PAGE_BYTES];
        self.file.read_exact_at(&mut bytes, self.pages_offset + (page * PAGE_BYTES) as u64)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a page of the index is damaged");
        let mut rest = Reader::new(&bytes);
        let (checksum, count) = (rest.u32().ok_or_else(bad)?, rest.u32().ok_or_else(bad)?);
        let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(ENTRY_BYTES);
        let entries = rest.take(length).ok_or_else(bad)?.to_vec();
        if crc32c::crc32c(&entries) != checksum {
            return Err(bad());
        }
        let mut place = 0;
        Ok(std::iter::from_fn(move || {
            let mut rest = Reader::new(entries.get(place..)?);
            place += ENTRY_BYTES;
            Some(Entry { hash: rest.u64()?, from_seconds: rest.u32()?, block: rest.u32()? })
        }))
    }
}

fn decode_header(bytes: &[u8], number: u64) -> Option<(usize, usize, (u32, u32))> {
    let (checked, checksum) = bytes.split_at_checked(HEADER_BYTES - 4)?;
    let mut rest = Reader::new(checked);
    let is_ours = rest.array()? == MAGIC && crc32c::crc32c(checked).to_le_bytes() == *checksum;
    if !is_ours || rest.u64()? != number {
        return None;
    }
    let counts = (usize::try_from(rest.u64()?).ok()?, usize::try_from(rest.u64()?).ok()?);
    Some((counts.0, counts.1, (rest.u32()?, rest.u32()?)))
}
