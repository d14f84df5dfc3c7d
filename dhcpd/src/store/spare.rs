//! Spare segments: prepared ahead, so that neither the fill of a new segment nor a full disk meets a
//! commit.
//!
//! A segment is prewritten with zeros and synced before it is used, or is one that the journal does
//! not need any more: in both cases its blocks are the file's for good, and a sync of a frame writes
//! the frame and no metadata.

use super::StoreError;
use super::disk::Disk;
use super::names::FileName;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Spares that are made ahead.
const READY_MIN: usize = 1;

/// Spares that are kept when the journal frees segments; more are removed.
pub(super) const SPARES_READY_MAX: usize = 4;

/// Bytes of zeros in one write.
const FILL_BYTES: usize = 512 * 1024;

/// How long the filling rests after each write, so that commits on the same disk are not held up.
const FILL_REST: Duration = Duration::from_millis(2);

/// How long until a failed attempt is repeated, if no commit asks earlier.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Workshop {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    segment_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Prepared and durable.
    ready: Vec<PathBuf>,
    /// Segments that the journal does not need any more.
    freed: Vec<PathBuf>,
    /// The number of the next spare.
    next_number: u64,
    /// Attempts to prepare one that have been begun.
    attempts_begun: u64,
    /// The last attempt that failed, counted from 1, and why.
    failure: Option<(u64, String)>,
    /// A commit waits.
    is_urgent: bool,
    is_ending: bool,
}

#[derive(Debug)]
struct Shared {
    workshop: Workshop,
    state: Mutex<State>,
    changed: Condvar,
}

/// The spares of a store, and the thread that makes them.
#[derive(Debug)]
pub(super) struct Spares {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// `ready` are the spares that are there. Without `in_background` each one is made by the thread
    /// that asks for it.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        directory: &Path,
        segment_bytes: u64,
        ready: Vec<u64>,
        in_background: bool,
    ) -> io::Result<Self> {
        let next_number = ready.iter().max().map_or(1, |number| number.saturating_add(1));
        let state = State {
            ready: ready.iter().map(|number| FileName::Spare(*number).path(directory)).collect(),
            next_number,
            ..State::default()
        };
        let workshop = Workshop { disk, directory: directory.to_owned(), segment_bytes };
        let shared =
            Arc::new(Shared { workshop, state: Mutex::new(state), changed: Condvar::new() });
        let thread = if in_background {
            let shared = Arc::clone(&shared);
            Some(std::thread::Builder::new().name("spares".into()).spawn(move || shared.run())?)
        } else {
            None
        };
        Ok(Self { shared, thread })
    }

    /// A prepared segment; waits for one that is being made. The file is the caller's to rename.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] if an attempt that began after this call failed.
    pub(super) fn take(&self) -> Result<PathBuf, StoreError> {
        let mut state = self.shared.lock();
        if self.thread.is_none() {
            while state.ready.is_empty() {
                state = self.shared.work(state);
                if let Some((_, cause)) = &state.failure {
                    return Err(self.no_room(cause));
                }
            }
        }
        let first_of_ours = state.attempts_begun + 1;
        state.is_urgent = true;
        self.shared.changed.notify_all();
        let taken = loop {
            if let Some(path) = state.ready.pop() {
                break Ok(path);
            }
            if let Some((attempt, cause)) = &state.failure
                && *attempt >= first_of_ours
            {
                break Err(self.no_room(cause));
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.is_urgent = false;
        self.shared.changed.notify_all();
        taken
    }

    /// Hands over segments that the journal does not need any more.
    pub(super) fn free(&self, segments: impl Iterator<Item = PathBuf>) {
        let mut state = self.shared.lock();
        state.freed.extend(segments);
        self.shared.changed.notify_all();
        while self.thread.is_none() && !state.freed.is_empty() {
            state = self.shared.work(state);
        }
    }

    /// How many are ready, and why the last attempt failed if it did.
    pub(super) fn health(&self) -> (usize, Option<String>) {
        let state = self.shared.lock();
        (state.ready.len(), state.failure.as_ref().map(|(_, cause)| cause.clone()))
    }

    fn no_room(&self, cause: &str) -> StoreError {
        StoreError::NoRoom {
            directory: self.shared.workshop.directory.clone(),
            cause: cause.to_owned(),
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.shared.lock().is_ending = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic that has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.is_ending {
            if state.freed.is_empty() && state.ready.len() >= READY_MIN {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let failed_before = state.failure.as_ref().map(|failure| failure.0);
            state = self.work(state);
            let failed = state.failure.as_ref().map(|failure| failure.0);
            // Whoever asks for one while this rests wakes it by notify; whoever has asked meanwhile does not
            // wait for the end of a rest.
            if failed.is_some() && failed != failed_before && !state.is_urgent && !state.is_ending {
                let (woken, _) = self
                    .changed
                    .wait_timeout(state, RETRY_AFTER)
                    .unwrap_or_else(PoisonError::into_inner);
                state = woken;
            }
        }
    }

    /// Takes in one freed segment, or else makes one spare; without the lock meanwhile.
    fn work<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let freed = if state.freed.is_empty() { None } else { Some(state.freed.remove(0)) };
        let is_wanted = state.ready.len() < SPARES_READY_MAX;
        let spare = FileName::Spare(state.next_number);
        state.next_number += 1;
        state.attempts_begun += 1;
        let attempt = state.attempts_begun;
        drop(state);
        let result = match &freed {
            Some(segment) => match self.take_in(segment, &spare, is_wanted) {
                // Gone already: that is all that was wanted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                result => result,
            },
            None => self.make(&spare).map(|()| true),
        };
        let mut state = self.lock();
        match result {
            Ok(is_ready) => {
                if state.failure.take().is_some() {
                    tracing::info!("spare journal segments can be prepared again");
                }
                if is_ready {
                    state.ready.push(spare.path(&self.workshop.directory));
                }
            }
            Err(_) if state.is_ending => {}
            Err(error) => {
                // Said when it begins, not with each attempt while it lasts.
                if state.failure.is_none() {
                    tracing::error!(
                        directory = %self.workshop.directory.display(),
                        spares = state.ready.len(),
                        %error,
                        "cannot prepare a spare journal segment: when the current one is full the \
                         server must stop; free space now"
                    );
                }
                state.failure = Some((attempt, error.to_string()));
            }
        }
        self.changed.notify_all();
        state
    }

    /// Makes a spare of a segment that is not needed, or removes it; whether it is a spare now.
    fn take_in(&self, segment: &Path, spare: &FileName, is_wanted: bool) -> io::Result<bool> {
        let Workshop { disk, directory, segment_bytes } = &self.workshop;
        let fits = is_wanted && disk.open_for_reading(segment)?.length()? == *segment_bytes;
        if fits {
            disk.rename(segment, &spare.path(directory))?;
            disk.sync_directory(directory)?;
        } else {
            disk.remove(segment)?;
        }
        Ok(fits)
    }

    /// Makes a new spare: its name is there only when its blocks are.
    fn make(&self, spare: &FileName) -> io::Result<()> {
        let Workshop { disk, directory, .. } = &self.workshop;
        let temporary = spare.temporary_path(directory);
        let made = self
            .fill(&temporary)
            .and_then(|()| disk.rename(&temporary, &spare.path(directory)))
            .and_then(|()| disk.sync_directory(directory));
        if made.is_err() {
            // Half a segment on a full disk helps nobody. If it cannot be removed either, the next
            // start removes it.
            let _ = disk.remove(&temporary);
        }
        made
    }

    fn fill(&self, path: &Path) -> io::Result<()> {
        let file = self.workshop.disk.create(path)?;
        let zeros = vec![0; FILL_BYTES];
        let mut offset = 0;
        while offset < self.workshop.segment_bytes {
            let rest = self.workshop.segment_bytes - offset;
            let zeros =
                usize::try_from(rest).map_or(&zeros[..], |rest| &zeros[..rest.min(FILL_BYTES)]);
            file.write_at(zeros, offset)?;
            file.write_out(offset, zeros.len() as u64)?;
            offset += zeros.len() as u64;
            let state = self.lock();
            if state.is_ending {
                return Err(io::Error::other("the server is ending"));
            }
            if !state.is_urgent && offset < self.workshop.segment_bytes {
                // Wakes early when a commit comes to wait for it.
                let _rested = self
                    .changed
                    .wait_timeout(state, FILL_REST)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        file.sync_data()
    }
}
