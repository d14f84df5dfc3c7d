//! The door to the history for those who ask, and what its thread shares with them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::interval::Holding;
use super::policy::Policy;
use super::query::{self, Page, Question};
use super::state::State;
use super::worker::Worker;
use crate::clock::Clock;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vestibule_core::Record;

/// A subnet's first and last address, and the name of its network.
pub type Named = (Ipv4Addr, Ipv4Addr, Box<str>);

/// What networks are called, by address. Its clones know the same, also once it is told of others.
#[derive(Clone, Debug)]
pub struct Networks {
    /// Ascending.
    subnets: Arc<RwLock<Vec<Named>>>,
}

impl Networks {
    /// Subnets by their first and last address, in any order and without overlaps.
    #[must_use]
    pub fn new(mut subnets: Vec<Named>) -> Self {
        subnets.sort_unstable();
        Self { subnets: Arc::new(RwLock::new(subnets)) }
    }

    /// The name of the network that an address is in.
    pub(super) fn name_of(&self, address: Ipv4Addr) -> Option<Box<str>> {
        let subnets = self.subnets.read().unwrap_or_else(PoisonError::into_inner);
        let place = subnets.partition_point(|(first, ..)| *first <= address);
        let (_, last, name) = subnets.get(place.checked_sub(1)?)?;
        (address <= *last).then(|| name.clone())
    }
}

/// How long whoever asks waits for what is durable to be in.
const FRESH_TIME_MAX: Duration = Duration::from_millis(500);

/// Why the history cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// It is being opened.
    Opening,
    /// It cannot be used for now.
    Failed(String),
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("the history is being opened; try again"),
            Self::Failed(cause) => write!(f, "the history cannot be used: {cause}"),
        }
    }
}

impl std::error::Error for HistoryError {}

/// How the history is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryHealth {
    /// Why it cannot be used.
    pub failure: Option<String>,
    /// Intervals in the log and in archives; one that is still in both versions counts twice.
    pub intervals: u64,
    /// Archives.
    pub archives: u64,
    /// Bytes of log and archives, indexes not counted.
    pub bytes: u64,
    /// Frames of the journal that are durable and not yet in.
    pub frames_behind: u64,
    /// How often a part of the journal was gone before it was read.
    pub gaps: u64,
    /// Parts of archives that could not be read.
    pub damaged: u64,
    /// Whether nothing is left on disk that the rules did not keep when they were last looked at.
    pub is_tidy: bool,
}

/// Everything that the book has now: what a history begins with that has no journal to read.
pub type Book = Box<dyn Fn() -> Box<dyn Iterator<Item = Option<Record>>> + Send>;

/// How far the thread is, and what it is to do.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) is_open: bool,
    pub(super) failure: Option<String>,
    pub(super) reached: u64,
    pub(super) gaps: u64,
    pub(super) bytes: u64,
    pub(super) is_urgent: bool,
    pub(super) is_ending: bool,
    pub(super) is_tidy: bool,
}

/// What both sides have.
pub(super) struct Shared {
    pub(super) state: RwLock<Option<State>>,
    /// The last frame of the journal that is durable.
    pub(super) durable: AtomicU64,
    pub(super) progress: Mutex<Progress>,
    pub(super) changed: Condvar,
}

impl Shared {
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.progress().is_ending
    }
}

/// The history of a running server. Dropping it finishes it.
pub struct History {
    shared: Arc<Shared>,
    clock: Clock,
    networks: Networks,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// Begins to follow the journal in `state_dir`. `frame_number`: its last durable frame. `book`: what
    /// the server knows, for when the journal does not reach back far enough.
    ///
    /// # Errors
    /// If no thread can be started. Whatever is wrong with the files shows in [`History::health`].
    pub fn start(
        state_dir: &Path,
        policy: Policy,
        networks: Networks,
        clock: Clock,
        frame_number: u64,
        book: Book,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: RwLock::new(None),
            durable: AtomicU64::new(frame_number),
            progress: Mutex::default(),
            changed: Condvar::new(),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            state_dir: state_dir.to_owned(),
            policy,
            networks: networks.clone(),
            clock,
            book,
            recovered: frame_number,
        };
        let thread =
            std::thread::Builder::new().name("history".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared, clock, networks, thread: Mutex::new(Some(thread)) })
    }

    /// From now on addresses are in the networks of this configuration. What was noted keeps its name.
    pub fn name_networks(&self, configuration: &vestibule_core::Configuration) {
        let mut subnets = self.networks.subnets.write().unwrap_or_else(PoisonError::into_inner);
        *subnets = named(configuration);
    }

    /// Everything up to this frame is durable. Never waits, and wakes nobody.
    pub fn tell(&self, frame_number: u64) {
        self.shared.durable.fetch_max(frame_number, Ordering::Release);
    }

    /// Answers a question with everything that was durable when it was asked, if that can be had within
    /// half a second, and else with what is in. Waits for disks.
    ///
    /// # Errors
    /// [`HistoryError`]
    pub fn ask(&self, question: &Question) -> Result<Page, HistoryError> {
        let now = self.clock.now();
        self.wait_until_fed();
        let view = {
            let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let Some(state) = state.as_ref() else { return Err(self.why_not()) };
            (state.view(&question.by), state.policy.clone())
        };
        let (view, policy) = view;
        let live = |holding: &Holding| {
            let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let open = state.as_ref()?.fold.table.open(holding.address)?;
            (open.from == holding.from).then_some(open.ends)
        };
        Ok(query::answer(&view, question, now, &policy, &live))
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> HistoryHealth {
        let durable = self.shared.durable.load(Ordering::Acquire);
        let mut health = {
            let progress = self.shared.progress();
            HistoryHealth {
                failure: progress.failure.clone(),
                gaps: progress.gaps,
                bytes: progress.bytes,
                frames_behind: durable.saturating_sub(progress.reached),
                is_tidy: progress.is_tidy,
                ..HistoryHealth::default()
            }
        };
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_ref() {
            health.archives = state.archives.len() as u64;
            let archived: u64 = state.archives.iter().map(|archive| archive.summary.count).sum();
            health.intervals = archived + state.recent.len() as u64;
            health.bytes += state.archives.iter().map(|archive| archive.bytes).sum::<u64>();
            health.damaged = state.archives.iter().map(|archive| archive.damaged()).sum();
        }
        health
    }

    /// Takes in what is durable, closes the files, and waits for that.
    pub fn finish(&self) {
        self.shared.progress().is_ending = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It can only have ended by a panic that has been reported where it happened.
            let _ = thread.join();
        }
    }

    fn why_not(&self) -> HistoryError {
        match &self.shared.progress().failure {
            Some(cause) => HistoryError::Failed(cause.clone()),
            None => HistoryError::Opening,
        }
    }

    fn wait_until_fed(&self) {
        let deadline = Instant::now() + FRESH_TIME_MAX;
        let durable = self.shared.durable.load(Ordering::Acquire);
        let mut progress = self.shared.progress();
        while progress.reached < durable && progress.failure.is_none() {
            progress.is_urgent = true;
            self.shared.changed.notify_all();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.changed.wait_timeout(progress, left);
            progress = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

/// The folder of the history in a state directory.
pub(super) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("history")
}

/// The networks of a configuration.
#[must_use]
pub fn networks(configuration: &vestibule_core::Configuration) -> Networks {
    Networks::new(named(configuration))
}

fn named(configuration: &vestibule_core::Configuration) -> Vec<Named> {
    let mut subnets: Vec<Named> = Vec::new();
    for network in &configuration.networks {
        let prefixes = network.subnets.iter().map(|subnet| subnet.prefix);
        subnets.extend(
            prefixes.map(|prefix| (prefix.network(), prefix.broadcast(), network.name.clone())),
        );
    }
    subnets.sort_unstable();
    subnets
}

/// Removes the whole history of a state directory, for a server that is to have none.
///
/// # Errors
/// As the kernel says.
pub fn remove(state_dir: &Path) -> io::Result<bool> {
    match std::fs::remove_dir_all(directory(state_dir)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
