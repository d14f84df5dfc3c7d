//! The thread that follows the journal.
//!
//! It rests after each piece of work while it keeps up, so that a storm of leases has the processor for
//! itself; when it falls behind, or somebody asks, it does not. Whatever goes wrong with its files stops
//! this thread's work for a while and nothing else.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::Archive;
use super::files::{self, Files};
use super::handle::{Book, Networks, Shared, directory};
use super::interval::Interval;
use super::log::{Changes, Log};
use super::policy::Policy;
use super::state::State;
use crate::clock::Clock;
use crate::store::{JournalTail, TailError};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use vestibule_core::{Record, Timestamp};

/// How often the journal is looked at while nobody asks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Records that are taken in at once.
const RECORDS_AT_ONCE: usize = 1024;

/// How many times as long as it worked the thread rests, while it keeps up.
const REST_FACTOR: u32 = 4;

/// For how long it may be behind before it rests no more.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// How often what was written is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// How often leases that ran out are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// How often what is too old is removed.
const FORGET_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after a failure the files are opened again.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How long it rests after each piece of an archive.
const PIECE_REST: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) state_dir: PathBuf,
    pub(super) policy: Policy,
    pub(super) networks: Networks,
    pub(super) clock: Clock,
    pub(super) book: Book,
    /// Frames up to here are of an earlier life of the server.
    pub(super) recovered: u64,
}

/// When things were last done.
struct Times {
    synced: Instant,
    swept: Instant,
    forgot: Option<Instant>,
    /// Since when it is behind.
    behind: Option<Instant>,
}

impl Worker {
    /// Works until it is told to end.
    pub(super) fn run(self) {
        while !self.shared.is_ending() {
            let Err(error) = self.follow() else { return };
            tracing::error!(
                directory = %directory(&self.state_dir).display(), %error,
                "the history cannot go on; it is tried again every minute, and nothing else depends on it"
            );
            *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = None;
            {
                let mut progress = self.shared.progress();
                (progress.failure, progress.is_open) = (Some(error.to_string()), false);
                self.shared.changed.notify_all();
            }
            self.wait(RETRY_INTERVAL);
        }
    }

    /// Works until the end, or until something fails.
    fn follow(&self) -> io::Result<()> {
        let mut tail = JournalTail::open(&self.state_dir, 0).map_err(io::Error::other)?;
        let directory = directory(&self.state_dir);
        let networks = self.networks.clone();
        let (mut files, mut state, position) =
            Files::open(&directory, tail.identity(), self.policy.clone(), networks)?;
        let durable = self.shared.durable.load(Ordering::Acquire);
        // Of a store that was put back to an earlier time, the history is ahead: it begins anew here.
        let position = position.filter(|position| *position <= durable).unwrap_or(0);
        tail.skip_to(position);
        state.newest = Timestamp::ZERO;
        *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
        let now = Instant::now();
        let mut times = Times { synced: now, swept: now, forgot: None, behind: None };
        let mut catching_up_to = 0;
        loop {
            let begun = Instant::now();
            let durable = self.shared.durable.load(Ordering::Acquire);
            if tail.frame_number() < durable {
                let is_caught_up = tail.frame_number() >= catching_up_to;
                match self.take_in(&mut tail, durable, !is_caught_up, &mut files) {
                    Ok(()) => {}
                    Err(Stopped::Gap) => {
                        catching_up_to = self.begin_with_the_book(&mut tail, &mut files)?;
                    }
                    Err(Stopped::Failed(error)) => return Err(error),
                }
            }
            let is_behind = tail.frame_number() < durable;
            self.tell(&tail, &files, !is_behind);
            if !is_behind && self.shared.is_ending() {
                files.log.sync()?;
                return Ok(());
            }
            if !self.shared.is_ending() {
                self.tend(&mut files, &tail, &mut times)?;
            }
            times.behind = is_behind.then(|| times.behind.unwrap_or(begun));
            let is_late = times.behind.is_some_and(|since| since.elapsed() > BEHIND_MAX);
            let urgent = self.shared.progress().is_urgent;
            let is_tidy = self.shared.progress().is_tidy;
            if !is_behind && is_tidy {
                self.wait(LOOK_INTERVAL);
            } else if !is_late && !urgent {
                self.wait(begun.elapsed().saturating_mul(REST_FACTOR).min(LOOK_INTERVAL));
            }
        }
    }

    /// Waits, but not if somebody asks, or it is to end.
    fn wait(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut progress = self.shared.progress();
        while !progress.is_urgent && !progress.is_ending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.changed.wait_timeout(progress, left);
            progress = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell(&self, tail: &JournalTail, files: &Files, is_caught_up: bool) {
        let mut progress = self.shared.progress();
        progress.is_open = true;
        progress.failure = None;
        progress.reached = tail.frame_number();
        progress.bytes = files.log.bytes;
        if is_caught_up {
            progress.is_urgent = false;
        }
        self.shared.changed.notify_all();
    }

    /// Takes in the next records of the journal.
    fn take_in(
        &self,
        tail: &mut JournalTail,
        durable: u64,
        is_catching_up: bool,
        files: &mut Files,
    ) -> Result<(), Stopped> {
        // What is read of an earlier life happened then, and not now.
        let (through, now) = if tail.frame_number() < self.recovered {
            (durable.min(self.recovered), None)
        } else {
            (durable, Some(self.clock.now()))
        };
        let mut records = Vec::with_capacity(RECORDS_AT_ONCE);
        let read = tail.read(through, RECORDS_AT_ONCE, &mut |record| records.push(record));
        let mut changes = Changes::default();
        self.change(|state| {
            state.fold.is_catching_up = is_catching_up;
            for record in &records {
                state.record(record, now, &mut changes);
            }
        });
        changes.position(tail.frame_number());
        files.append(&mut changes)?;
        match read {
            Ok(()) => Ok(()),
            Err(TailError::Lost { .. }) => Err(Stopped::Gap),
            Err(error @ TailError::Store(_)) => Err(Stopped::Failed(io::Error::other(error))),
        }
    }

    /// The journal does not reach back to where the history is: begins with the leases as they are. Up to
    /// which frame the journal may now tell older news than the book.
    fn begin_with_the_book(&self, tail: &mut JournalTail, files: &mut Files) -> io::Result<u64> {
        let begin = self.shared.durable.load(Ordering::Acquire);
        let is_new = tail.frame_number() == 0;
        if is_new {
            tracing::info!("the history begins with the leases as they are");
        } else {
            tracing::warn!(
                frame = tail.frame_number(),
                "a part of the journal was gone before the history had read it; it goes on with the leases as they are"
            );
            self.shared.progress().gaps += 1;
        }
        let mut is_whole = true;
        let mut records = (self.book)();
        loop {
            let piece: Vec<Option<Record>> = records.by_ref().take(RECORDS_AT_ONCE).collect();
            if piece.is_empty() || self.shared.is_ending() {
                break;
            }
            let mut changes = Changes::default();
            self.change(|state| {
                for record in piece.iter().flatten() {
                    state.record(record, None, &mut changes);
                }
            });
            is_whole &= piece.iter().all(Option::is_some);
            files.append(&mut changes)?;
        }
        if !is_whole {
            return Err(io::Error::other("the leases could not be read to their end"));
        }
        let mut changes = Changes::default();
        changes.position(begin);
        files.append(&mut changes)?;
        tail.skip_to(begin);
        Ok(self.shared.durable.load(Ordering::Acquire))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map(change)
    }

    /// Looks at the state without keeping anybody from looking: nobody else changes it.
    fn look<T>(&self, look: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        match state.as_ref() {
            Some(state) => look(state),
            None => Err(io::Error::other("the history is closed")),
        }
    }

    /// What is to be done beside following.
    fn tend(&self, files: &mut Files, tail: &JournalTail, times: &mut Times) -> io::Result<()> {
        if times.synced.elapsed() >= SYNC_INTERVAL {
            times.synced = Instant::now();
            files.log.sync()?;
        }
        if times.swept.elapsed() >= SWEEP_INTERVAL {
            times.swept = Instant::now();
            self.sweep(files)?;
        }
        if self.look(|state| Ok(files.is_long(state)))? {
            let (archives, log) = self.look(|state| files.seal(state, tail.frame_number()))?;
            self.change(|state| {
                state.archives.extend(archives);
                state.recent.clear();
            });
            files.use_log(log)?;
        }
        files.rest = PIECE_REST;
        if let Some((kind, sources)) = self.look(|state| Ok(files::to_merge(&state.archives)))? {
            let merged = self
                .look(|state| files.merge(&sources, kind, &state.policy, &mut |_interval| true))?;
            self.replace(&sources, merged)?;
        }
        if times.forgot.is_none_or(|forgot| forgot.elapsed() >= FORGET_INTERVAL) {
            let is_done = self.forget(files, tail)?;
            times.forgot = is_done.then(Instant::now);
            self.shared.progress().is_tidy = is_done;
        }
        Ok(())
    }

    /// Ends what ran out a while ago, so that what is open stays small.
    fn sweep(&self, files: &mut Files) -> io::Result<()> {
        let mut from = Some(0);
        while let Some(start) = from {
            let mut changes = Changes::default();
            from = self
                .change(|state| {
                    let mut found = Vec::new();
                    let before = state.newest.milliseconds().saturating_sub(60_000);
                    let before = Timestamp::from_milliseconds(before);
                    let next = state.fold.sweep(start, before, RECORDS_AT_ONCE, &mut found);
                    state.take(found, &mut changes);
                    next
                })
                .flatten();
            files.append(&mut changes)?;
            std::thread::sleep(PIECE_REST);
        }
        Ok(())
    }

    fn replace(&self, old: &[Arc<Archive>], new: Option<Arc<Archive>>) -> io::Result<()> {
        self.change(|state| {
            let is_old = |archive: &Arc<Archive>| old.iter().any(|old| Arc::ptr_eq(old, archive));
            state.archives.retain(|archive| !is_old(archive));
            state.archives.extend(new);
        });
        old.iter().try_for_each(|archive| archive.remove())
    }

    /// Removes what the rules do not keep: from one archive, or if none has any, from the log. Whether
    /// nothing is left to be done.
    fn forget(&self, files: &mut Files, tail: &JournalTail) -> io::Result<bool> {
        let now = self.clock.now();
        let due = self.look(|state| Ok(files::to_rewrite(state, now)))?;
        if let Some((kind, sources)) = due {
            let merged = self.look(|state| {
                files.merge(&sources, kind, &state.policy, &mut |interval| {
                    files::keeps(state, interval, now)
                })
            })?;
            self.replace(&sources, merged)?;
            return Ok(false);
        }
        let is_changed = self.change(|state| {
            let before = state.recent.clone();
            let kept: Vec<Interval> = before
                .values()
                .filter(|interval| files::keeps(state, interval, now))
                .cloned()
                .filter_map(|mut interval| state.policy.strip(&mut interval).then_some(interval))
                .collect();
            state.recent = kept.into_iter().map(|interval| (interval.place(), interval)).collect();
            state.recent != before
        });
        if is_changed == Some(true) {
            let log = self.look(|state| {
                let (number, intervals) = (files.log.number + 1, state.recent.values());
                let (identity, table) = (&files.identity, &state.fold.table);
                Log::begin(
                    &files.directory,
                    number,
                    identity,
                    table,
                    intervals,
                    tail.frame_number(),
                )
            })?;
            files.use_log(log)?;
        }
        self.make_room()?;
        Ok(true)
    }

    /// Removes the oldest archives while all together are larger than they may be.
    fn make_room(&self) -> io::Result<()> {
        loop {
            let oldest = self.look(|state| {
                let bytes: u64 = state.archives.iter().map(|archive| archive.bytes).sum();
                let oldest = state.archives.iter().min_by_key(|archive| archive.summary.from_min);
                Ok(oldest.filter(|_| bytes > state.policy.bytes_max).map(Arc::clone))
            })?;
            let Some(oldest) = oldest else { return Ok(()) };
            tracing::warn!(
                file = %oldest.path.display(), intervals = oldest.summary.count,
                "the history is larger than `history.max-size`: its oldest archive is removed"
            );
            self.replace(&[oldest], None)?;
        }
    }
}

/// Why no more was taken in.
enum Stopped {
    Gap,
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}
