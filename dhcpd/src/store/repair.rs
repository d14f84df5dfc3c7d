//! One flipped bit in a frame, found and set right.
//!
//! A checksum (CRC-32C) is linear: what a single flipped bit does to it depends on the bit's place
//! alone, so the difference between the checksum that stands there and the one that the bytes give
//! names the place. A repair counts only if the frame is then the very one that belongs there: its
//! number, its predecessor's checksum, the file's number, and the checksum that its successor was
//! written behind all agree. Chance makes other damage look like one bit in about one of 2^32 / bits
//! cases; for the usual frame of 4 KiB that is one in 130,000, and the records must then still read.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::frame::{self, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, FrameHeader, FrameKind};

/// The polynomial of CRC-32C, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What is known of a frame that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The number of its file.
    pub(super) file_number: u64,
    /// Its number.
    pub(super) number: u64,
    /// The checksum of the frame before.
    pub(super) previous_checksum: u32,
    /// Its own, as its successor tells it.
    pub(super) checksum: u32,
}

/// The frame that begins at the first of `bytes`, with one bit of it set right, and which bit that was,
/// counted from the frame's beginning.
pub(super) fn one_bit(bytes: &[u8], key: u32, expected: Expected) -> Option<(Vec<u8>, usize)> {
    let bytes = bytes.get(..frame::frame_bytes(FRAME_PAYLOAD_BYTES_MAX)).unwrap_or(bytes);
    in_header(bytes, key, expected).or_else(|| in_payload(bytes, key, expected))
}

fn is_expected(header: &FrameHeader, expected: Expected) -> bool {
    header.number == expected.number
        && header.previous_checksum == expected.previous_checksum
        && header.checksum == expected.checksum
}

fn in_header(bytes: &[u8], key: u32, expected: Expected) -> Option<(Vec<u8>, usize)> {
    (0..FRAME_HEADER_BYTES * 8).find_map(|bit| {
        let mut header_bytes = bytes.get(..FRAME_HEADER_BYTES)?.to_vec();
        *header_bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
        // Cheap, and true of one bit in hundreds: only then is the whole frame looked at.
        frame::decode_header(&header_bytes, FrameKind::Journal)
            .filter(|header| is_expected(header, expected))?;
        let mut repaired = bytes.to_vec();
        repaired.get_mut(..FRAME_HEADER_BYTES)?.copy_from_slice(&header_bytes);
        let (_, _, length) =
            frame::decode(&repaired, FrameKind::Journal, expected.file_number, key)?;
        repaired.truncate(length);
        Some((repaired, bit))
    })
}

fn in_payload(bytes: &[u8], key: u32, expected: Expected) -> Option<(Vec<u8>, usize)> {
    let header = frame::decode_header(bytes, FrameKind::Journal)
        .filter(|header| is_expected(header, expected))?;
    let payload_bytes = usize::try_from(header.payload_bytes).ok()?;
    let end = FRAME_HEADER_BYTES + payload_bytes;
    let payload = bytes.get(FRAME_HEADER_BYTES..end)?;
    let difference = frame::checksum(&header, key, bytes, payload)? ^ header.checksum;
    // The effect of the last byte's highest bit, then of the bits before it, one by one.
    let mut effect = POLYNOMIAL;
    for place in (0..payload_bytes * 8).rev() {
        if effect == difference {
            let bit = FRAME_HEADER_BYTES * 8 + place;
            let mut repaired = bytes.to_vec();
            *repaired.get_mut(bit / 8)? ^= 1 << (bit % 8);
            let (_, _, length) =
                frame::decode(&repaired, FrameKind::Journal, expected.file_number, key)?;
            repaired.truncate(length);
            return Some((repaired, bit));
        }
        effect = effect >> 1 ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    const KEY: u32 = 77;

    #[test]
    fn every_single_bit_is_found_and_two_are_not() {
        let payload: Vec<u8> = (0..250).collect();
        let header = FrameHeader {
            kind: FrameKind::Journal,
            payload_bytes: 250,
            file_number: 3,
            number: 41,
            durable_before: 40,
            records: 2,
            previous_checksum: 0xdead_beef,
            checksum: 0,
        };
        let mut frame = Vec::new();
        let checksum = frame::encode(&header, KEY, &payload, &mut frame);
        let expected =
            Expected { file_number: 3, number: 41, previous_checksum: 0xdead_beef, checksum };
        // What stands behind it is another frame.
        let mut bytes = frame.clone();
        bytes.extend([0x5a; 100]);
        for bit in 0..(FRAME_HEADER_BYTES + payload.len()) * 8 {
            if (44 * 8..48 * 8).contains(&bit) {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(one_bit(&flipped, KEY, expected), Some((frame.clone(), bit)));
            let other = (bit + 997) % ((FRAME_HEADER_BYTES + payload.len()) * 8);
            if !(44 * 8..48 * 8).contains(&other) {
                flipped[other / 8] ^= 1 << (other % 8);
                assert_eq!(one_bit(&flipped, KEY, expected), None, "bits {bit} and {other}");
            }
        }
        let another = Expected { checksum: checksum ^ 1, ..expected };
        assert_eq!(one_bit(&bytes, KEY, another), None, "the successor was written behind another");
    }
}
