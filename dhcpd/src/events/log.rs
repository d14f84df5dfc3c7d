//! The log of events: files that are only appended to, bounded, read again at the next start.
//!
//! One thread writes. It promises that an event is in a file before any reader is told of it, that an id
//! is never used twice (ids are set aside, with a sync, before they are used), and that what is missing
//! is told as a gap. What was written waits at most [`SYNC_INTERVAL`] for its sync: a power cut may take
//! the last moments, and the next start then finds that the journal is ahead, and says so. A full disk
//! keeps nobody from being served: what cannot be written is told as a gap once it can.

use super::limits::{IDS_RESERVED, SEGMENTS_PER_LOG, SYNC_INTERVAL};
use super::line::Line;
use super::packed::{Packed, Piece};
use super::segment::{Found, Segment};
use super::shared::{Events, Form, Lines, State, Stored};
use super::view::{self, GapCause, GapView};
use crate::decide::Quiet;
use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vestibule_core::{EventKind, Timestamp};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of files at most.
    pub bytes: u64,
    /// Events at most.
    pub events: u64,
}

/// The log cannot be opened.
#[derive(Debug)]
pub struct EventLogError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for EventLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(
            f,
            "the event log {} cannot be used: {error}; let the server's user read and write it, or move it away: it is \
             made anew then",
            path.display()
        )
    }
}

impl std::error::Error for EventLogError {}

/// See the module.
#[derive(Debug)]
pub struct EventLog {
    directory: PathBuf,
    retention: Retention,
    /// The newest file; `None`: the disk was too full to make it.
    file: Option<File>,
    events: Events,
    newest: u64,
    reserved: u64,
    /// Every event up to this frame of the journal is written, and the mark for it too.
    marked: u64,
    /// The newest frame that was handed over.
    frame_number: u64,
    /// Since when something waits for its sync.
    unsynced: Option<Instant>,
    /// Events that could not be written, and are not told as missed yet.
    unwritten: u64,
    metrics: Arc<Metrics>,
    quiet: Quiet,
}

impl EventLog {
    /// Opens the log of a server in a directory, which is made if there is none. `frame_number`: that of
    /// the journal's last durable frame.
    ///
    /// # Errors
    /// [`EventLogError`]; not if the disk is full.
    pub fn open(
        directory: &Path,
        retention: Retention,
        server: &str,
        frame_number: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, EventLogError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| EventLogError { path, error }
        };
        let is_there = unless_full(make(directory)).map_err(failed(directory))?.is_some();
        let mut segments = VecDeque::new();
        let mut all = Found::default();
        let files = if is_there {
            Segment::list(directory).map_err(failed(directory))?
        } else {
            Vec::new()
        };
        let is_new = files.is_empty();
        for (first, path) in files {
            let (segment, found) = Segment::scan(directory, first).map_err(failed(&path))?;
            if found.damaged > 0 {
                tracing::error!(
                    path = %path.display(),
                    lines = found.damaged,
                    "a part of the event log cannot be read: readers are told of a gap"
                );
            }
            all.marked = found.marked.or(all.marked);
            all.reserved = found.reserved.max(all.reserved);
            all.is_clean = found.is_clean;
            all.damaged += found.damaged;
            segments.push_back(segment);
        }
        let last = segments.iter().map(|segment| segment.last).max().unwrap_or(0);
        // What was set aside before a crash may have been told.
        let newest = if all.is_clean { last } else { last.max(all.reserved) };
        if segments.is_empty() {
            segments.push_back(Segment::new(directory, newest + 1));
        }
        let Some(segment) = segments.back() else {
            return Err(failed(directory)(io::ErrorKind::NotFound.into()));
        };
        let file = if is_there {
            unless_full(open_at_end(segment)).map_err(failed(&segment.path))?
        } else {
            None
        };
        let dropped_through = segments.front().map_or(0, |segment| segment.first.saturating_sub(1));
        let state = State { segments, dropped_through, ..State::default() };
        let mut log = Self {
            directory: directory.to_owned(),
            retention,
            file,
            events: Events::new(server, state, last),
            newest,
            reserved: newest,
            marked: all.marked.unwrap_or(0),
            frame_number,
            unsynced: None,
            unwritten: 0,
            metrics,
            quiet: Quiet::default(),
        };
        let mut gaps = Vec::new();
        if all.damaged > 0 {
            gaps.push(GapView::new(GapCause::Damage, None));
        }
        if !is_new && all.marked != Some(frame_number) {
            gaps.push(GapView::new(GapCause::Restart, None));
        }
        let count = gaps.len() as u64;
        if unless_full(log.write(gaps, Packed::default())).map_err(failed(directory))?.is_none() {
            log.unwritten = count;
            log.say_failed(&io::ErrorKind::StorageFull.into());
        }
        Ok(log)
    }

    /// What readers see of it.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Writes what happened and tells it. `missed`: events that are missing before these. What cannot be
    /// written is told as missed when writing works again.
    pub fn append(&mut self, frame_number: u64, missed: u64, events: Packed) {
        self.frame_number = self.frame_number.max(frame_number);
        if missed == 0 && events.is_empty() && self.unwritten == 0 {
            return;
        }
        let mut gaps = Vec::new();
        if self.unwritten > 0 {
            gaps.push(GapView::new(GapCause::Storage, Some(self.unwritten)));
        }
        if missed > 0 {
            gaps.push(GapView::new(GapCause::Overflow, Some(missed)));
        }
        let count = events.len() as u64;
        match self.write(gaps, events) {
            Ok(()) => self.unwritten = 0,
            Err(error) => {
                self.unwritten += count + missed;
                self.say_failed(&error);
            }
        }
    }

    /// Notes how far the journal has come, and syncs, if it is time to.
    pub fn tend(&mut self) {
        let mut work = || -> io::Result<()> {
            if self.marked < self.frame_number {
                let mut text = Vec::new();
                Line::Mark(self.frame_number).append(&mut text);
                self.write_text(&text)?;
                self.marked = self.frame_number;
            }
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL) {
                self.sync()?;
            }
            Ok(())
        };
        if let Err(error) = work() {
            self.say_failed(&error);
        }
    }

    /// Notes that the process ends in order.
    pub fn close(mut self) {
        let mut text = Vec::new();
        Line::Clean { frame_number: self.frame_number, id: self.newest }.append(&mut text);
        let closed = if self.unwritten > 0 {
            Ok(())
        } else {
            self.write_text(&text).and_then(|_| self.sync())
        };
        if let Err(error) = closed {
            self.say_failed(&error);
        }
    }

    fn say_failed(&mut self, error: &io::Error) {
        if self.quiet.may_say("event-log") {
            tracing::error!(
                %error,
                directory = %self.directory.display(),
                "events cannot be written, and are told as a gap later: make room in the state directory (said once a \
                 minute)"
            );
        }
    }

    /// All or nothing: after an error the file is as it was, as far as readers see.
    fn write(&mut self, gaps: Vec<GapView>, events: Packed) -> io::Result<()> {
        let count = (gaps.len() + events.len()) as u64;
        if count > 0 {
            self.roll()?;
            self.reserve(count)?;
        }
        let server = self.events.server();
        let mut text = Vec::new();
        // Kind, form, where the line begins, and where the event in it.
        let mut written = Vec::with_capacity(gaps.len() + events.len());
        let mut id = self.newest;
        let mut put = |line: Line<'_>, kind: EventKind, form: Form, length: usize| {
            let start = text.len();
            line.append(&mut text);
            // Last in the line, before its line feed.
            let end = text.len() - 1;
            written.push((kind, form, start as u64, end - length..end));
        };
        for gap in gaps {
            id += 1;
            let (kind, json) = (EventKind::Gap, view::gap(id, server, wall_clock(), &gap));
            put(Line::Event { id, kind, json: &json }, kind, Form::Json, json.len());
        }
        events.each(|piece| {
            id += 1;
            match piece {
                Piece::Whole(event) => {
                    let kind = event.what.kind();
                    let json = view::event(id, server, *event);
                    put(Line::Event { id, kind, json: &json }, kind, Form::Json, json.len());
                }
                Piece::Packed(kind, bytes) => {
                    put(Line::Packed { id, kind, bytes }, kind, Form::Packed, bytes.len());
                }
            }
        });
        if self.marked < self.frame_number {
            Line::Mark(self.frame_number).append(&mut text);
        }
        let start = self.write_text(&text)?;
        self.marked = self.frame_number;
        let lines = Arc::new(Lines { server: Arc::clone(self.events.server()), bytes: text });
        let mut state = self.events.state();
        for (kind, form, offset, place) in written {
            self.newest += 1;
            if let Some(segment) = state.segments.back_mut() {
                segment.note(self.newest, start + offset);
            }
            self.metrics.event(kind);
            let lines = Arc::clone(&lines);
            state.remember(Stored { id: self.newest, kind, form, lines, place });
        }
        drop(state);
        self.events.publish(self.newest);
        self.retain();
        Ok(())
    }

    /// Appends text to the newest file; returns where it begins there.
    fn write_text(&mut self, text: &[u8]) -> io::Result<u64> {
        let start = self.events.state().segments.back().map_or(0, |segment| segment.bytes);
        let file = self.file()?;
        if let Err(error) = file.write_all(text) {
            // A line that was half written must not get another one behind it.
            file.set_len(start)?;
            return Err(error);
        }
        self.unsynced.get_or_insert_with(Instant::now);
        if let Some(segment) = self.events.state().segments.back_mut() {
            segment.bytes = start + text.len() as u64;
        }
        Ok(start)
    }

    /// The newest file, which is made if the disk was too full for it until now.
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                make(&self.directory)?;
                let state = self.events.state();
                let segment = state.segments.back().ok_or(io::ErrorKind::NotFound)?;
                open_at_end(segment)?
            }
        };
        Ok(self.file.insert(file))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file()?.sync_data()?;
        self.unsynced = None;
        Ok(())
    }

    /// Sets ids aside, so that no later start uses them again.
    fn reserve(&mut self, count: u64) -> io::Result<()> {
        if self.newest + count <= self.reserved {
            return Ok(());
        }
        let reserved = self.newest + count.max(IDS_RESERVED);
        let mut text = Vec::new();
        Line::Reserve(reserved).append(&mut text);
        self.write_text(&text)?;
        self.sync()?;
        self.reserved = reserved;
        Ok(())
    }

    /// Begins a new file if the newest one is full.
    fn roll(&mut self) -> io::Result<()> {
        let is_full = self.events.state().segments.back().is_some_and(|segment| {
            segment.bytes >= self.retention.bytes / SEGMENTS_PER_LOG
                || segment.events >= (self.retention.events / SEGMENTS_PER_LOG).max(1)
        });
        if !is_full {
            return Ok(());
        }
        self.sync()?;
        let segment = Segment::new(&self.directory, self.newest + 1);
        self.file = Some(open_at_end(&segment)?);
        self.events.state().segments.push_back(segment);
        // What says how far ids are set aside must outlive the older files.
        let mut text = Vec::new();
        Line::Reserve(self.reserved).append(&mut text);
        Line::Mark(self.marked).append(&mut text);
        self.write_text(&text)?;
        self.sync()?;
        File::open(&self.directory)?.sync_all()
    }

    /// Lets go of the oldest files beyond what is kept.
    fn retain(&mut self) {
        loop {
            let mut state = self.events.state();
            let bytes: u64 = state.segments.iter().map(|segment| segment.bytes).sum();
            let events: u64 = state.segments.iter().map(|segment| segment.events).sum();
            let fits = bytes <= self.retention.bytes && events <= self.retention.events;
            if fits || state.segments.len() < 2 {
                return;
            }
            let Some(oldest) = state.segments.pop_front() else { return };
            state.dropped_through = state.dropped_through.max(oldest.last);
            drop(state);
            if let Err(error) = std::fs::remove_file(&oldest.path) {
                tracing::warn!(%error, path = %oldest.path.display(), "an old file of the event log cannot be removed");
            }
        }
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// `None`: there was no room.
fn unless_full<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Opens a file for writing behind what can be read of it.
fn open_at_end(segment: &Segment) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&segment.path)?;
    file.set_len(segment.bytes)?;
    Ok(file)
}

fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
