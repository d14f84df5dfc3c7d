//! What the store tells about itself: what a start found, how it is, what a check saw.

use super::replay::Contents;
use crate::clock::ClockMark;
use std::fmt;
use std::time::Duration;
use vestibule_core::{Record, Timestamp};

/// What was in the store when it was opened.
#[derive(Debug)]
pub struct Recovered<R = Vec<Record>> {
    /// The book: the newest image of each thing, in the order of its last record. What was forgotten
    /// or removed is not in it.
    pub records: R,
    /// The largest time in any record that was replayed.
    pub newest_time: Timestamp,
    /// The number of the last frame that is in the book; 0 if the journal is empty.
    pub frame_number: u64,
    /// The mark of the clock that was kept last, if it reads.
    pub clock: Option<ClockMark>,
    /// For the log.
    pub report: RecoveryReport,
}

/// How a start went, in one or two lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The segment that the snapshot in use goes before; `None`: there was no usable snapshot, and the
    /// journal was replayed from its beginning.
    pub snapshot: Option<u64>,
    /// Records in that snapshot.
    pub snapshot_records: u64,
    /// Newer snapshots that could not be used: the segment in the name, and why.
    pub bad_snapshots: Vec<(u64, String)>,
    /// Journal segments replayed.
    pub segments: usize,
    /// Records replayed, the snapshot's included.
    pub records: u64,
    /// Bytes of an unfinished, never acknowledged commit that were left out.
    pub torn_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

impl RecoveryReport {
    pub(super) fn new(contents: &Contents, duration: Duration) -> Self {
        Self {
            snapshot: contents.snapshot.map(|snapshot| snapshot.header.file_number),
            snapshot_records: contents.snapshot.map_or(0, |snapshot| snapshot.records),
            bad_snapshots: contents.bad_snapshots.clone(),
            segments: contents.segments.len(),
            records: contents.book.replayed(),
            torn_bytes: contents.tail.torn_bytes,
            duration,
        }
    }
}

/// A number with its noun.
fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.snapshot {
            Some(segment) => {
                let records = counted(self.snapshot_records, "record");
                write!(f, "snapshot {segment} with {records}")?;
            }
            None => f.write_str("no snapshot")?,
        }
        write!(
            f,
            ", {} in all after {}, in {} ms",
            counted(self.records, "record"),
            counted(self.segments as u64, "journal segment"),
            self.duration.as_millis()
        )?;
        if self.torn_bytes > 0 {
            write!(
                f,
                "; left out {} bytes of an unfinished commit that nobody had been answered for",
                self.torn_bytes
            )?;
        }
        for (segment, why) in &self.bad_snapshots {
            write!(
                f,
                "\nWARNING: snapshot {segment} could not be used, the one before it was, with its \
                 journal; nothing is lost, but check the disk: {why}"
            )?;
        }
        Ok(())
    }
}

/// How the store is, for metrics and alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why the journal takes no more, if it does not.
    pub failure: Option<String>,
    /// Why no spare segment can be prepared, if so: when the current segment is full, commits fail.
    pub spare_failure: Option<String>,
    /// Spare segments that are ready.
    pub spares: usize,
    /// Bytes left in the current segment.
    pub segment_bytes_left: u64,
    /// Bytes of journal since the last finished snapshot was begun.
    pub journal_bytes: u64,
    /// Journal segments on disk.
    pub segments: u64,
}
