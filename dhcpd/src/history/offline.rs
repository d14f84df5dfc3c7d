//! The history of a server that is stopped, read from its state directory.
//!
//! It takes the server's lock, so that no server starts in between, and changes nothing but indexes that
//! are missing: what the server had not written yet is read from the journal into memory.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::files;
use super::handle::{Networks, directory};
use super::interval::Holding;
use super::log::Changes;
use super::policy::Policy;
use super::query::{self, Page, Question};
use super::state::State;
use crate::store::{DirectoryLock, JournalTail, StoreError, TailError};
use std::fmt;
use std::io;
use std::path::Path;
use vestibule_core::Timestamp;

/// Records that are taken in at once.
const RECORDS_AT_ONCE: usize = 1024;

/// Why it cannot be read.
#[derive(Debug)]
pub enum OfflineError {
    /// The store: a server is using it, or there is none.
    Store(StoreError),
    /// The history's files.
    Files(io::Error),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Files(error) => write!(f, "the history cannot be read: {error}"),
        }
    }
}

impl std::error::Error for OfflineError {}

/// See the module.
pub struct Offline {
    state: State,
    /// A part of the journal that the server had not taken in is gone.
    has_gap: bool,
    _lock: DirectoryLock,
}

impl Offline {
    /// Reads what is in a state directory.
    ///
    /// # Errors
    /// [`OfflineError`]
    pub fn open(
        state_dir: &Path,
        policy: Policy,
        networks: Networks,
    ) -> Result<Self, OfflineError> {
        let lock = DirectoryLock::take(state_dir).map_err(OfflineError::Store)?;
        let mut tail = JournalTail::open(state_dir, 0).map_err(OfflineError::Store)?;
        let found = files::find(&directory(state_dir)).map_err(OfflineError::Files)?;
        let identity = found.contents.identity;
        let position = found.contents.position;
        let store = tail.identity();
        let key = identity.map_or([0; 16], |identity| identity.key);
        let mut state = files::state(found, key, policy, networks);
        if identity.is_some_and(|identity| identity.store == store) {
            tail.skip_to(position);
        }
        // To the end of the journal: the frame after the last one is the one that is not there.
        let mut frames = 0;
        let has_gap = loop {
            let before = tail.frame_number();
            let mut records = Vec::new();
            let read = tail.read(u64::MAX, RECORDS_AT_ONCE, &mut |record| records.push(record));
            for record in &records {
                state.record(record, None, &mut Changes::default());
            }
            frames += tail.frame_number() - before;
            match read {
                Ok(()) => {}
                Err(TailError::Lost { .. }) => break frames == 0 && position == 0,
                Err(TailError::Store(error)) => return Err(OfflineError::Store(error)),
            }
        };
        Ok(Self { state, has_gap, _lock: lock })
    }

    /// Whether what the server had not taken in cannot be read from the journal any more.
    #[must_use]
    pub const fn has_gap(&self) -> bool {
        self.has_gap
    }

    /// Answers a question as the server would.
    #[must_use]
    pub fn ask(&self, question: &Question, now: Timestamp) -> Page {
        let view = self.state.view(&question.by);
        let live = |holding: &Holding| {
            let open = self.state.fold.table.open(holding.address)?;
            (open.from == holding.from).then_some(open.ends)
        };
        query::answer(&view, question, now, &self.state.policy, &live)
    }
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offline").field("has_gap", &self.has_gap).finish_non_exhaustive()
    }
}
