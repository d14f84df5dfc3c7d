//! Frames: what one write puts into a journal segment or a snapshot, and what makes it trustworthy.
//!
//! A frame is a header of 48 bytes and a payload of encoded records, padded to a multiple of 8 bytes.
//! Its checksum (CRC-32C) is seeded with the checksum of the frame before it and covers the number of
//! the file it was written for. So a frame counts only behind exactly the frames that it was written
//! behind: what an earlier use of the same blocks left cannot chain.
//!
//! The seed is also mixed with a key drawn when the store was made, so that no client can smuggle in a
//! frame: a host name that looks like one has a wrong checksum.
//!
//! A header also says how many frames were durable when it was written. That tells a torn tail (the
//! bad frame was never acknowledged, however intact a later frame of the same group is) from rot in
//! the middle (a later frame was written after the bad one was durable).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::bytes::Reader;
use super::header::StoreIdentity;

/// Bytes of records in one frame at most. A commit of more is split.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 512 * 1024;

/// Bytes before a frame's payload.
pub(super) const FRAME_HEADER_BYTES: usize = 48;

/// Frames begin at multiples of this.
pub(super) const FRAME_ALIGNMENT: usize = 8;

/// Bytes of the header that the checksum covers: all but the checksum itself and the padding.
const CHECKED_BYTES: usize = 40;

/// What a frame is for; the first four bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// One write of the journal.
    Journal,
    /// One part of a snapshot.
    Snapshot,
    /// The end of a snapshot, with no payload; its record count is the whole snapshot's, modulo 2^32.
    SnapshotEnd,
}

impl FrameKind {
    fn magic(self) -> [u8; 4] {
        match self {
            Self::Journal => *b"VJF1",
            Self::Snapshot => *b"VSF1",
            Self::SnapshotEnd => *b"VSE1",
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    /// Bytes of payload, padding not counted.
    pub(super) payload_bytes: u32,
    /// The number of the segment or snapshot that the frame was written for.
    pub(super) file_number: u64,
    /// The frame's own number: counted through all segments, or within the snapshot.
    pub(super) number: u64,
    /// Every frame with a lower number was durable when this one was written.
    pub(super) durable_before: u64,
    /// Records in the payload.
    pub(super) records: u32,
    /// The checksum of the frame before.
    pub(super) previous_checksum: u32,
    /// The checksum of this frame.
    pub(super) checksum: u32,
}

/// The bytes that a payload takes in a file, its header and padding included.
pub(super) fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGNMENT)
}

/// The key of the store with this identity.
pub(super) fn key(identity: &StoreIdentity) -> u32 {
    crc32c::crc32c(identity)
}

/// Appends the frame as it is written; gives its checksum. `header.checksum` is ignored.
pub(super) fn encode(header: &FrameHeader, key: u32, payload: &[u8], out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    out.extend_from_slice(&header.kind.magic());
    out.extend_from_slice(&header.payload_bytes.to_le_bytes());
    out.extend_from_slice(&header.file_number.to_le_bytes());
    out.extend_from_slice(&header.number.to_le_bytes());
    out.extend_from_slice(&header.durable_before.to_le_bytes());
    out.extend_from_slice(&header.records.to_le_bytes());
    out.extend_from_slice(&header.previous_checksum.to_le_bytes());
    let checked = out.get(start..).unwrap_or_default();
    let checksum = crc32c::crc32c_append(header.previous_checksum ^ key, checked);
    let checksum = crc32c::crc32c_append(checksum, payload);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out.resize(start + frame_bytes(payload.len()), 0);
    checksum
}

/// Reads a header; `None` if these bytes begin no frame of that kind. Its checksum is not checked yet.
pub(super) fn decode_header(bytes: &[u8], kind: FrameKind) -> Option<FrameHeader> {
    let mut rest = Reader::new(bytes);
    if rest.array()? != kind.magic() {
        return None;
    }
    let header = FrameHeader {
        kind,
        payload_bytes: rest.u32()?,
        file_number: rest.u64()?,
        number: rest.u64()?,
        durable_before: rest.u64()?,
        records: rest.u32()?,
        previous_checksum: rest.u32()?,
        checksum: rest.u32()?,
    };
    let fits = usize::try_from(header.payload_bytes).ok()? <= FRAME_PAYLOAD_BYTES_MAX;
    fits.then_some(header)
}

/// Whether the header's checksum is that of these bytes: `header_bytes` as they stand in the file,
/// and the payload.
pub(super) fn is_intact(
    header: &FrameHeader,
    key: u32,
    header_bytes: &[u8],
    payload: &[u8],
) -> bool {
    checksum(header, key, header_bytes, payload) == Some(header.checksum)
}

/// The checksum that these bytes give: a frame's header as it stands in the file, and its payload.
pub(super) fn checksum(
    header: &FrameHeader,
    key: u32,
    header_bytes: &[u8],
    payload: &[u8],
) -> Option<u32> {
    let checked = header_bytes.get(..CHECKED_BYTES)?;
    let checksum = crc32c::crc32c_append(header.previous_checksum ^ key, checked);
    Some(crc32c::crc32c_append(checksum, payload))
}

/// The intact frame at the beginning of `bytes`, of this kind and written for this file: its header,
/// its payload, and its length in the file.
pub(super) fn decode(
    bytes: &[u8],
    kind: FrameKind,
    file_number: u64,
    key: u32,
) -> Option<(FrameHeader, &[u8], usize)> {
    let header = decode_header(bytes, kind).filter(|header| header.file_number == file_number)?;
    let length = usize::try_from(header.payload_bytes).ok()?;
    let mut rest = Reader::new(bytes);
    let header_bytes = rest.take(FRAME_HEADER_BYTES)?;
    let payload = rest.take(length)?;
    is_intact(&header, key, header_bytes, payload).then(|| (header, payload, frame_bytes(length)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: u32 = 0x5eed;

    fn header(payload: &[u8]) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Journal,
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            file_number: 3,
            number: 41,
            durable_before: 41,
            records: 2,
            previous_checksum: 0xdead_beef,
            checksum: 0,
        }
    }

    proptest! {
        #[test]
        fn a_frame_is_read_as_it_was_written(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = Vec::new();
            let checksum = encode(&header(&payload), KEY, &payload, &mut bytes);
            bytes.push(0xff);
            let (read, read_payload, length) = decode(&bytes, FrameKind::Journal, 3, KEY).unwrap();
            prop_assert_eq!(read, FrameHeader { checksum, ..header(&payload) });
            prop_assert_eq!(read_payload, &payload[..]);
            prop_assert_eq!(length, bytes.len() - 1);
            prop_assert_eq!(length % FRAME_ALIGNMENT, 0);
            prop_assert!(decode(&bytes, FrameKind::Journal, 4, KEY).is_none());
            prop_assert!(decode(&bytes, FrameKind::Journal, 3, KEY + 1).is_none());
            prop_assert!(decode(&bytes, FrameKind::Snapshot, 3, KEY).is_none());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut marked = b"VJF1".to_vec();
            marked.extend_from_slice(&bytes);
            prop_assert!(decode(&bytes, FrameKind::Journal, 1, KEY).is_none());
            prop_assert!(decode(&marked, FrameKind::Journal, 1, KEY).is_none());
        }
    }

    #[test]
    fn every_flipped_bit_that_matters_is_noticed() {
        let payload = *b"twelve bytes";
        let mut bytes = Vec::new();
        encode(&header(&payload), KEY, &payload, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Four bytes of padding in the header, and what is behind the payload, mean nothing.
            let position = bit / 8;
            let matters = !(44..48).contains(&position) && position < 48 + payload.len();
            assert_eq!(
                decode(&flipped, FrameKind::Journal, 3, KEY).is_none(),
                matters,
                "bit {bit}"
            );
        }
    }
}
