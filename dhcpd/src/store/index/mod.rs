//! The index over the leases: which addresses to look at for a hardware address, a client identifier,
//! a circuit, a host name.
//!
//! It is derived from the journal and may be wrong, late or gone: whoever asks looks each hit up in the
//! book. It is fed in the background by its own thread, and never holds up a commit. If it cannot be
//! opened in a process of its own first, or has not come as far as the journal, or fails in any way,
//! it is deleted and made anew from the book, without an operator.

pub mod compare;
pub mod guard;

mod keys;
mod tree;
mod worker;

pub use keys::SearchKey;
pub use tree::{IndexError, probe_main};

use keys::Prefixes;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tree::Tree;
use vestibule_core::{Lease, Record};

/// Addresses that wait to be brought up to date at most. Beyond it the index is behind, and is rebuilt.
pub const ADDRESSES_WAITING_MAX: usize = 131_072;

/// Addresses in one answer at most.
pub const SEARCH_HITS_MAX: usize = 10_000;

/// How long updates gather before they are put in, so that they coalesce.
const GATHERING: Duration = Duration::from_millis(250);

/// How long after a failure, or after falling behind, a rebuild is asked for: what made it necessary is
/// over then, such as a storm of new leases.
pub const REBUILD_REST: Duration = Duration::from_secs(60);

/// How often and at what distance a closing index looks whether sled has let go of it.
const CLOSING_LOOKS_MAX: u32 = 100;
const CLOSING_LOOK: Duration = Duration::from_millis(5);

/// How the index is opened.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// The program that opens the index first, because it may die of it.
    pub probe_program: PathBuf,
    /// Its arguments; the index's directory follows as the last one.
    pub probe_arguments: Vec<OsString>,
    /// How long it may take; then it is ended, and the index is rebuilt.
    pub probe_time_max: Duration,
    /// How long the index waits before it asks for a rebuild: [`REBUILD_REST`], but for tests.
    pub rebuild_rest: Duration,
}

impl IndexOptions {
    /// Has this very program probe, by its hidden subcommand `index-probe`.
    ///
    /// # Errors
    /// If the kernel does not say which program this is.
    pub fn with_this_program() -> io::Result<Self> {
        Ok(Self {
            probe_program: std::env::current_exe()?,
            probe_arguments: vec!["index-probe".into()],
            probe_time_max: Duration::from_secs(120),
            rebuild_rest: REBUILD_REST,
        })
    }
}

/// How the index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It is being probed and opened.
    Opening,
    /// It is being made anew.
    Rebuilding,
    /// It answers.
    Ready,
    /// It has been given up for now, and waits for [`Index::rebuild`].
    Failed(String),
}

impl fmt::Display for IndexState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("being opened"),
            Self::Rebuilding => f.write_str("being rebuilt"),
            Self::Ready => f.write_str("ready"),
            Self::Failed(cause) => write!(f, "failed: {cause}"),
        }
    }
}

/// Proof that a rebuild was asked for before the book was read. See [`Index::needs_rebuild`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildTicket(u64);

/// Whoever gives the leases for a rebuild cannot go on: the index is not made, and asks again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLost;

/// What a rebuild reads: every lease in the book, each address once. It is read as the index is made,
/// and never held in memory as a whole.
type LeaseSource = Box<dyn Iterator<Item = Result<Lease, SourceLost>> + Send>;

/// What the thread is to do, and how far it is.
struct State {
    /// Updates that are not in yet, newest image only; `None`: the address has no lease any more.
    waiting: BTreeMap<Ipv4Addr, Option<Prefixes>>,
    /// The journal frame up to which updates have come in.
    fed: u64,
    /// The journal frame up to which the index is complete.
    reached: u64,
    /// Updates have been lost: only a rebuild helps. Each loss has its own number.
    loss: Option<RebuildTicket>,
    losses: u64,
    /// No rebuild is asked for before.
    rebuild_not_before: Option<Instant>,
    /// Leases to rebuild from.
    source: Option<LeaseSource>,
    state: IndexState,
    /// Whether [`Shared::tree`] holds one, or is about to.
    is_open: bool,
    /// Somebody waits: do not gather.
    is_urgent: bool,
    is_ending: bool,
    /// The end waits for nothing.
    is_abandoned: bool,
}

impl State {
    /// Whether it is too early to ask for a rebuild.
    fn is_resting(&self) -> bool {
        self.rebuild_not_before.is_some_and(|earliest| Instant::now() < earliest)
    }

    fn lose(&mut self) {
        self.waiting.clear();
        self.losses += 1;
        self.loss = Some(RebuildTicket(self.losses));
        self.source = None;
    }
}

struct Shared {
    directory: PathBuf,
    options: IndexOptions,
    /// The open index. Whoever uses it holds the lock for reading, so that it is closed, and the
    /// directory free, when the thread has held it for writing.
    tree: RwLock<Option<Tree>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index. Dropping it puts in what waits, closes it, and waits for that.
pub struct Index {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Index {
    /// Opens the index in `directory`, in the background. It is reused if it is sound and has come
    /// exactly as far as the journal (`frame_number` of
    /// [`Recovered`](crate::store::Recovered)); otherwise it is made anew of `leases`, which are all
    /// that were recovered, each at that moment or later.
    ///
    /// # Errors
    /// If no thread can be started. Whatever is wrong with the index itself shows in [`Index::state`].
    pub fn open(
        directory: &Path,
        options: IndexOptions,
        frame_number: u64,
        leases: impl Iterator<Item = Result<Lease, SourceLost>> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            options,
            tree: RwLock::new(None),
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                fed: frame_number,
                reached: 0,
                loss: None,
                losses: 0,
                rebuild_not_before: None,
                source: Some(Box::new(leases)),
                state: IndexState::Opening,
                is_open: false,
                is_urgent: false,
                is_ending: false,
                is_abandoned: false,
            }),
            changed: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(guard::INDEX_THREAD.into())
                .spawn(move || worker::run(&shared, frame_number))?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes in what has been committed up to this journal frame
    /// ([`Store::frame_number`](crate::store::Store::frame_number)). Never waits: if too much waits
    /// already, the index is behind and [`Index::needs_rebuild`] says so.
    pub fn feed(&self, frame_number: u64, records: &[Record]) {
        if guard::has_panicked() {
            return;
        }
        let mut state = self.shared.lock();
        // The book will have been read after this: what is in it need not wait here.
        if state.loss.is_some() && state.is_resting() {
            state.fed = frame_number;
            return;
        }
        let was_complete = state.reached == state.fed;
        for record in records {
            match record {
                Record::Lease(lease) => {
                    state.waiting.insert(lease.address, Some(Prefixes::of(lease)));
                }
                Record::LeaseForgotten(address) => {
                    state.waiting.insert(*address, None);
                }
                Record::Registration(_)
                | Record::RegistrationRemoved(_)
                | Record::Time(_)
                | Record::HoldOff(_)
                | Record::Voucher(_)
                | Record::VoucherRemoved(_)
                | Record::Failover(_)
                | Record::PairBinding(_)
                | Record::Exchange(_) => {}
            }
        }
        state.fed = frame_number;
        if state.waiting.len() > ADDRESSES_WAITING_MAX {
            tracing::warn!(
                limit = ADDRESSES_WAITING_MAX,
                "the index cannot follow; it is rebuilt from the book"
            );
            state.lose();
            state.rebuild_not_before = Some(Instant::now() + self.shared.options.rebuild_rest);
            state.state = IndexState::Failed("it could not follow the journal".into());
        }
        // A thread that gathers already looks again by itself, so that a group costs no wake-up.
        if was_complete || state.loss.is_some() {
            self.shared.changed.notify_all();
        }
    }

    /// Whether the index must be rebuilt from the book. Read the leases **after** this, then hand them
    /// to [`Index::rebuild`] with the ticket.
    #[must_use]
    pub fn needs_rebuild(&self) -> Option<RebuildTicket> {
        if guard::has_panicked() {
            return None;
        }
        let state = self.shared.lock();
        state.loss.filter(|_| !state.is_resting() && state.source.is_none())
    }

    /// Makes the index anew of all leases in the book, in the background. Nothing happens if updates
    /// were lost since the ticket was given: then [`Index::needs_rebuild`] gives another.
    pub fn rebuild(
        &self,
        ticket: RebuildTicket,
        leases: impl Iterator<Item = Result<Lease, SourceLost>> + Send + 'static,
    ) {
        let mut state = self.shared.lock();
        if state.loss == Some(ticket) {
            state.loss = None;
            state.source = Some(Box::new(leases));
            state.state = IndexState::Rebuilding;
            self.shared.changed.notify_all();
        }
    }

    /// At most `limit` (and [`SEARCH_HITS_MAX`]) addresses that may have such a lease. Look each one up
    /// in the book: the index may be a moment late, and cuts long keys.
    ///
    /// # Errors
    /// [`IndexError`]; on any, look through the book instead.
    pub fn search(&self, key: &SearchKey, limit: usize) -> Result<Vec<Ipv4Addr>, IndexError> {
        // A thread that was stopped may hold it for good.
        let tree = match self.shared.tree.try_read() {
            Ok(tree) => tree,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(IndexError::NotReady),
        };
        if guard::has_panicked() {
            return Err(IndexError::NotReady);
        }
        // What is behind for good is no more asked.
        if self.shared.lock().loss.is_some() {
            return Err(IndexError::NotReady);
        }
        tree.as_ref().ok_or(IndexError::NotReady)?.search(key, limit.min(SEARCH_HITS_MAX))
    }

    /// Has nobody wait for it any more, its end included: sled can wait for ever on a disk that fails.
    /// For a process that ends.
    pub fn abandon(&self) {
        self.shared.lock().is_abandoned = true;
        self.shared.changed.notify_all();
    }

    /// How the index is.
    #[must_use]
    pub fn state(&self) -> IndexState {
        if guard::has_panicked() {
            return IndexState::Failed("its library panicked; the next start makes it anew".into());
        }
        self.shared.lock().state.clone()
    }

    /// Waits until everything that has been fed is in, or the index waits for a rebuild, but no longer
    /// than `time_max`. Whether everything is in.
    #[must_use]
    pub fn wait_until_fed(&self, time_max: Duration) -> bool {
        let deadline = Instant::now() + time_max;
        let mut state = self.shared.lock();
        state.is_urgent = true;
        self.shared.changed.notify_all();
        loop {
            let is_in = state.state == IndexState::Ready
                && state.reached == state.fed
                && !guard::has_panicked();
            let left = deadline.saturating_duration_since(Instant::now());
            let is_out = matches!(state.state, IndexState::Failed(_)) || guard::has_panicked();
            if is_in || is_out || left.is_zero() {
                state.is_urgent = false;
                return is_in;
            }
            let (woken, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let is_abandoned = {
            let mut state = self.shared.lock();
            state.is_ending = true;
            state.is_abandoned
        };
        self.shared.changed.notify_all();
        // The thread may be the one that was stopped, or wait for a disk that is gone.
        if guard::has_panicked() || is_abandoned {
            return;
        }
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic that has been reported where it happened.
            let _ = thread.join();
        }
        // sled's own threads hold its lock a little longer than the store that was dropped.
        if let Ok(log) = std::fs::File::open(self.shared.directory.join("db")) {
            for _ in 0..CLOSING_LOOKS_MAX {
                if log.try_lock().is_ok() {
                    break;
                }
                std::thread::sleep(CLOSING_LOOK);
            }
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("state", &self.state()).finish_non_exhaustive()
    }
}
