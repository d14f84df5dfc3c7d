//! `CLOCK`: what time the leases had at what moment since the machine booted.
//!
//! One line of text with a checksum, replaced as a whole. Nothing depends on its being there: without
//! it, or with one that does not read, a start goes by the wall clock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::StoreError;
use super::disk::{Disk, read_whole};
use super::names::FileName;
use crate::clock::ClockMark;
use std::path::Path;
use vestibule_core::Timestamp;

/// What the line begins with: what it is, and the version of it.
const FIRST_WORDS: &str = "vestibule-clock 1";

/// Bytes of the file at most; a longer one is not ours.
const FILE_BYTES_MAX: u64 = 512;

/// The mark, if there is one that reads.
pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Option<ClockMark> {
    let bytes = read_whole(disk, &FileName::Clock.path(directory), FILE_BYTES_MAX).ok()?;
    decode(std::str::from_utf8(&bytes).ok()?)
}

/// Puts a mark in place of the one that was there.
pub(super) fn write(disk: &dyn Disk, directory: &Path, mark: &ClockMark) -> Result<(), StoreError> {
    let path = FileName::Clock.path(directory);
    let temporary = FileName::Clock.temporary_path(directory);
    let file = disk.create(&temporary).map_err(StoreError::disk("create", &temporary))?;
    file.write_at(encode(mark).as_bytes(), 0).map_err(StoreError::disk("write", &temporary))?;
    file.sync_data().map_err(StoreError::disk("sync", &temporary))?;
    disk.rename(&temporary, &path).map_err(StoreError::disk("name", &path))?;
    disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))
}

fn encode(mark: &ClockMark) -> String {
    let ClockMark { boot, since_boot, time } = mark;
    let text = format!("{FIRST_WORDS} {boot} {since_boot} {}", time.milliseconds());
    format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn decode(line: &str) -> Option<ClockMark> {
    let (text, checksum) = line.trim_end_matches('\n').rsplit_once(' ')?;
    let is_intact = u32::from_str_radix(checksum, 16).ok()? == crc32c::crc32c(text.as_bytes());
    let mut words = text.strip_prefix(FIRST_WORDS).filter(|_| is_intact)?.split_whitespace();
    let (boot, since_boot, time) = (words.next()?, words.next()?, words.next()?);
    let mark = ClockMark {
        boot: boot.to_owned(),
        since_boot: since_boot.parse().ok()?,
        time: Timestamp::from_milliseconds(time.parse().ok()?),
    };
    words.next().is_none().then_some(mark)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_no_bit_of_it_can_change() {
        let mark = ClockMark {
            boot: "2f7c4a51-9d1b-4a4e-8f0e-0123456789ab".into(),
            since_boot: 12_345_678,
            time: Timestamp::from_seconds(1_790_000_000),
        };
        let line = encode(&mark);
        assert_eq!(decode(&line), Some(mark));
        for bit in 0..(line.len() - 1) * 8 {
            let mut bytes = line.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The letters of the checksum count in either case.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(
                decode(&text).is_none() || text.eq_ignore_ascii_case(&line),
                "bit {bit}: {text}"
            );
        }
        for end in 0..line.len() - 1 {
            assert_eq!(decode(line.get(..end).unwrap()), None);
        }
    }
}
