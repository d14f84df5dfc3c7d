//! One file of the log: where its events stand, and reading them.
//!
//! A file is named by the id before which nothing in it stands, so that files sort by their names. It is
//! only ever appended to, and read from the start of a line.

use super::limits::INDEX_EVERY;
use super::line::{LINE_BYTES_MAX, Line, parse_line};
use super::shared::{Form, Lines, Stored};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file's name ends with.
const ENDING: &str = ".events";

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// No id in it is lower.
    pub(super) first: u64,
    /// The last id in it; below `first` if it has no event.
    pub(super) last: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Ids, ascending, and where their lines begin.
    places: Vec<(u64, u64)>,
}

/// What a file says besides its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The newest frame that is marked.
    pub(super) marked: Option<u64>,
    /// Ids up to this one are set aside.
    pub(super) reserved: u64,
    /// Whether the last line says that the process ended in order.
    pub(super) is_clean: bool,
    /// Lines that cannot be read, with readable ones behind them.
    pub(super) damaged: u64,
}

impl Segment {
    /// A file that is still empty.
    pub(super) fn new(directory: &Path, first: u64) -> Self {
        let path = directory.join(format!("{first:020}{ENDING}"));
        Self { path, first, last: first.saturating_sub(1), events: 0, bytes: 0, places: Vec::new() }
    }

    /// The files of a directory, oldest first.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let first = name
                .and_then(|name| name.strip_suffix(ENDING))
                .filter(|number| number.len() == 20)
                .and_then(|number| number.parse::<u64>().ok());
            if let Some(first) = first {
                files.push((first, path));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Reads a whole file. What cannot be read at its end is not counted as its bytes.
    pub(super) fn scan(directory: &Path, first: u64) -> io::Result<(Self, Found)> {
        let mut segment = Self::new(directory, first);
        let mut found = Found::default();
        let mut reader = BufReader::new(File::open(&segment.path)?);
        let (mut offset, mut bad) = (0, 0);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? {
            let length = line.len() as u64;
            let parsed = line.strip_suffix(b"\n").map(parse_line);
            let Some(Ok(parsed)) = parsed else {
                bad += 1;
                offset += length;
                continue;
            };
            found.damaged += bad;
            bad = 0;
            found.is_clean = false;
            match parsed {
                Line::Event { id, .. } | Line::Packed { id, .. } => segment.note(id, offset),
                Line::Mark(frame) => found.marked = found.marked.max(Some(frame)),
                Line::Reserve(id) => found.reserved = found.reserved.max(id),
                Line::Clean { frame_number, .. } => {
                    found.marked = found.marked.max(Some(frame_number));
                    found.is_clean = true;
                }
            }
            offset += length;
            segment.bytes = offset;
        }
        Ok((segment, found))
    }

    /// An event's line begins here.
    pub(super) fn note(&mut self, id: u64, offset: u64) {
        if self.events.is_multiple_of(INDEX_EVERY) {
            self.places.push((id, offset));
        }
        self.events += 1;
        self.last = self.last.max(id);
    }

    /// The events after `after`, `count_max` at most.
    pub(super) fn read_after(
        &self,
        server: &Arc<str>,
        after: u64,
        count_max: usize,
    ) -> io::Result<Vec<Stored>> {
        let place = self.places.partition_point(|(id, _)| *id <= after.saturating_add(1));
        let place = place.checked_sub(1).and_then(|place| self.places.get(place));
        let offset = place.map_or(0, |(_, offset)| *offset);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        // What is written meanwhile belongs to later ids.
        let mut reader = BufReader::new(file.take(self.bytes.saturating_sub(offset)));
        let mut events = Vec::new();
        let mut line = Vec::new();
        while events.len() < count_max && read_line(&mut reader, &mut line)? {
            let parsed = line.strip_suffix(b"\n").map(parse_line);
            let (id, kind, form, bytes) = match parsed {
                Some(Ok(Line::Event { id, kind, json })) => (id, kind, Form::Json, json.as_bytes()),
                Some(Ok(Line::Packed { id, kind, bytes })) => (id, kind, Form::Packed, bytes),
                _ => continue,
            };
            if id > after {
                let place = 0..bytes.len();
                let lines = Lines { server: Arc::clone(server), bytes: bytes.into() };
                events.push(Stored { id, kind, form, lines: Arc::new(lines), place });
            }
        }
        Ok(events)
    }
}

/// The next line with its line feed, or as much of it as a line may have. False at the end.
fn read_line(reader: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut limited = reader.take(LINE_BYTES_MAX as u64);
    Ok(limited.read_until(b'\n', line)? > 0)
}
