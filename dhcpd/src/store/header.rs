//! The first bytes of every file of the store: what it is, whose, and where it stands in the chain.
//!
//! Segments and snapshots open with the same header; `META` is a header of its own kind, with nothing
//! behind it. Every header has a checksum, and names the oldest reader that may read what follows.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::bytes::Reader;
use std::fmt;

/// The format that this program writes.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Who the store is: 16 bytes drawn when it was made.
pub(super) type StoreIdentity = [u8; 16];

/// Bytes of an encoded header.
pub(super) const HEADER_BYTES: usize = 64;

/// Where the first frame of a segment or snapshot begins: a whole block, so that a header is never
/// in one block with a frame.
pub(super) const FRAMES_OFFSET: u64 = 4096;

/// Which file opens with the header; its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The file that says that this is a store, and which.
    Meta,
    /// A journal segment.
    Segment,
    /// A snapshot.
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Meta => *b"VSTBMETA",
            Self::Segment => *b"VSTBJRNL",
            Self::Snapshot => *b"VSTBSNAP",
        }
    }
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: FileKind,
    /// The format that it was written in.
    pub(super) format_version: u32,
    /// The oldest format version that a reader must know to read it.
    pub(super) reader_version_min: u32,
    pub(super) identity: StoreIdentity,
    /// The number in the file's name: the segment's, or of the segment that the snapshot goes before.
    pub(super) file_number: u64,
    /// The number of the journal frame that comes next.
    pub(super) frame_number: u64,
    /// The checksum of the journal frame before that one.
    pub(super) checksum: u32,
}

/// Why bytes are not the header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Written by a newer program that says that this one must not read it.
    Newer { reader_version_min: u32 },
    /// Not a header of that kind, or not as it was written.
    Bad(&'static str),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { reader_version_min } => write!(
                f,
                "it needs a reader of format {reader_version_min}; this program knows format \
                 {FORMAT_VERSION}"
            ),
            Self::Bad(what) => f.write_str(what),
        }
    }
}

/// The header as it is written.
pub(super) fn encode(header: &FileHeader) -> [u8; HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&header.kind.magic());
    bytes.extend_from_slice(&header.format_version.to_le_bytes());
    bytes.extend_from_slice(&header.reader_version_min.to_le_bytes());
    bytes.extend_from_slice(&header.identity);
    bytes.extend_from_slice(&header.file_number.to_le_bytes());
    bytes.extend_from_slice(&header.frame_number.to_le_bytes());
    bytes.extend_from_slice(&header.checksum.to_le_bytes());
    bytes.resize(HEADER_BYTES - 4, 0);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let mut encoded = [0; HEADER_BYTES];
    encoded.copy_from_slice(&bytes);
    encoded
}

/// The header at the beginning of `bytes`.
///
/// A version that is too new is told before a bad checksum: magic and versions keep their place in
/// every format, the rest need not.
pub(super) fn decode(bytes: &[u8], kind: FileKind) -> Result<FileHeader, HeaderError> {
    const SHORT: HeaderError = HeaderError::Bad("the file is shorter than its header");
    let mut rest = Reader::new(bytes);
    if rest.array().ok_or(SHORT)? != kind.magic() {
        return Err(HeaderError::Bad("it does not begin as such a file does"));
    }
    let format_version = rest.u32().ok_or(SHORT)?;
    let reader_version_min = rest.u32().ok_or(SHORT)?;
    let identity = rest.array().ok_or(SHORT)?;
    let file_number = rest.u64().ok_or(SHORT)?;
    let frame_number = rest.u64().ok_or(SHORT)?;
    let checksum = rest.u32().ok_or(SHORT)?;
    let checked = bytes.get(..HEADER_BYTES - 4).ok_or(SHORT)?;
    let mut end = Reader::new(bytes.get(HEADER_BYTES - 4..).ok_or(SHORT)?);
    let is_intact = end.u32().ok_or(SHORT)? == crc32c::crc32c(checked);
    // A flipped bit in the version must not read as "newer" when the checksum of this format shows
    // the damage; a newer format whose checksum stands elsewhere must not read as damage. So a
    // version is believed if the checksum holds, or if the versions are plausible together.
    let is_plausible = format_version >= reader_version_min && reader_version_min < 0x1_0000;
    if reader_version_min > FORMAT_VERSION && (is_intact || is_plausible) {
        return Err(HeaderError::Newer { reader_version_min });
    }
    if !is_intact {
        return Err(HeaderError::Bad("the checksum of its header does not hold"));
    }
    Ok(FileHeader {
        kind,
        format_version,
        reader_version_min,
        identity,
        file_number,
        frame_number,
        checksum,
    })
}

/// What begins the mark that a segment has a successor; it stands behind the segment's header.
const SUCCESSOR_MAGIC: [u8; 8] = *b"VSTBNEXT";

/// The mark that segment `successor` exists.
pub(super) fn encode_successor(successor: u64) -> Vec<u8> {
    let mut bytes = SUCCESSOR_MAGIC.to_vec();
    bytes.extend_from_slice(&successor.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The successor that a segment (its whole contents in `bytes`) is marked with, if it is.
pub(super) fn decode_successor(bytes: &[u8]) -> Option<u64> {
    let mark = bytes.get(HEADER_BYTES..)?;
    let mut rest = Reader::new(mark);
    let magic: [u8; 8] = rest.array()?;
    let successor = rest.u64()?;
    let checksum = rest.u32()?;
    let is_intact = magic == SUCCESSOR_MAGIC && checksum == crc32c::crc32c(mark.get(..16)?);
    is_intact.then_some(successor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader {
            kind: FileKind::Segment,
            format_version: FORMAT_VERSION,
            reader_version_min: 1,
            identity: [7; 16],
            file_number: 3,
            frame_number: 1 << 40,
            checksum: 0x1234_5678,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_bit_of_it_can_change() {
        let bytes = encode(&header());
        assert_eq!(decode(&bytes, FileKind::Segment), Ok(header()));
        assert!(decode(&bytes, FileKind::Snapshot).is_err());
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, FileKind::Segment).is_err(), "bit {bit}");
        }
        for length in 0..HEADER_BYTES {
            assert!(decode(&bytes[..length], FileKind::Segment).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_mark_of_a_successor_is_read_as_it_was_written() {
        let mut bytes = vec![0; 200];
        assert_eq!(decode_successor(&bytes), None);
        let mark = encode_successor(9);
        bytes[HEADER_BYTES..HEADER_BYTES + mark.len()].copy_from_slice(&mark);
        assert_eq!(decode_successor(&bytes), Some(9));
        bytes[HEADER_BYTES + 9] ^= 1;
        assert_eq!(decode_successor(&bytes), None);
    }

    #[test]
    fn a_newer_format_may_say_that_old_readers_suffice() {
        let newer = FileHeader { format_version: 9, ..header() };
        assert_eq!(decode(&encode(&newer), FileKind::Segment), Ok(newer));
        let strict = FileHeader { reader_version_min: 2, ..newer };
        let refused = Err(HeaderError::Newer { reader_version_min: 2 });
        assert_eq!(decode(&encode(&strict), FileKind::Segment), refused);
    }
}
