//! Fills a history without a journal: for whoever brings a past along, and for measuring.
//!
//! It writes what a server would have written that had taken the same records in, one after the other.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::files::{self, Files};
use super::handle::{Networks, directory};
use super::log::Changes;
use super::policy::Policy;
use super::state::State;
use crate::store::JournalTail;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use vestibule_core::{Record, Timestamp};

/// Records that are written as one frame of the log.
const RECORDS_AT_ONCE: usize = 1024;

/// How often leases that ran out are looked for, in the records' time.
const SWEEP_SECONDS: u64 = 600;

/// See the module.
pub struct Recorder {
    files: Files,
    state: State,
    changes: Changes,
    waiting: usize,
    /// What the journal has already counts as taken in.
    position: u64,
    /// When leases that ran out were last looked for.
    swept: Timestamp,
}

impl Recorder {
    /// Writes into the history of the store in `state_dir`, which no server uses and whose journal goes up
    /// to `frame_number`.
    ///
    /// # Errors
    /// If there is no store, or the files cannot be opened.
    pub fn open(
        state_dir: &Path,
        policy: Policy,
        networks: Networks,
        frame_number: u64,
    ) -> io::Result<Self> {
        let tail = JournalTail::open(state_dir, 0).map_err(io::Error::other)?;
        let directory = directory(state_dir);
        let (files, state, _) = Files::open(&directory, tail.identity(), policy, networks)?;
        Ok(Self {
            files,
            state,
            changes: Changes::default(),
            waiting: 0,
            position: frame_number,
            swept: Timestamp::ZERO,
        })
    }

    /// Takes a record in. Records come in the order of their times.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        self.state.record(record, None, &mut self.changes);
        self.waiting += 1;
        if self.waiting >= RECORDS_AT_ONCE {
            self.waiting = 0;
            self.files.append(&mut self.changes)?;
            self.tend()?;
        }
        if self.swept.plus_seconds(SWEEP_SECONDS) < self.state.newest {
            self.swept = self.state.newest;
            self.sweep();
        }
        Ok(())
    }

    /// Ends what ran out, as a server does now and then.
    fn sweep(&mut self) {
        let mut from = Some(0);
        while let Some(start) = from {
            let mut found = Vec::new();
            from = self.state.fold.sweep(start, self.state.newest, RECORDS_AT_ONCE, &mut found);
            self.state.take(found, &mut self.changes);
        }
    }

    fn tend(&mut self) -> io::Result<()> {
        if self.files.is_long(&self.state) {
            let (archives, log) = self.files.seal(&self.state, self.position)?;
            self.state.archives.extend(archives);
            self.state.recent.clear();
            self.files.use_log(log)?;
        }
        while let Some((kind, sources)) = files::to_merge(&self.state.archives) {
            let merged =
                self.files.merge(&sources, kind, &self.state.policy, &mut |_interval| true)?;
            let is_old = |archive: &Arc<_>| sources.iter().any(|old| Arc::ptr_eq(old, archive));
            self.state.archives.retain(|archive| !is_old(archive));
            self.state.archives.extend(merged);
            sources.iter().try_for_each(|archive| archive.remove())?;
        }
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.changes.position(self.position);
        self.files.append(&mut self.changes)?;
        self.files.log.sync()
    }

    /// The newest time that it was told.
    #[must_use]
    pub const fn newest(&self) -> Timestamp {
        self.state.newest
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
