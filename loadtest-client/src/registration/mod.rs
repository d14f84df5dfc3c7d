//! Registration under load: what becomes of a client between its first lease and a network that it can
//! use.
//!
//! | file | idea |
//! | --- | --- |
//! | `mod` | clients come in, walks go on beside the engine, figures come out |
//! | `settings` | what it is told |
//! | `walk` | the steps of one client |
//! | `lookup` | DNS |
//! | `portal` | calls to the API |
//! | `reach` | what lies beyond the gate |
//! | `socket` | sockets from a client's own address |
//!
//! It promises that the engine never waits for it: a client with a lease is handed over in no time, and
//! how long it then waits for its turn is in the figures. Clients on their way, those who wait and the
//! kinds of errors are bounded, and every client that was handed over is in the outcome once.

mod lookup;
mod portal;
mod reach;
mod settings;
mod socket;
mod walk;

pub use portal::Refusal;
pub use reach::Reach;
pub use settings::{
    AT_ONCE_MAX, PORTAL_CONNECTIONS_MAX, RegistrationOptions, RegistrationTable, Settings,
    SettingsError, Token,
};

use crate::histogram::Histogram;
use crate::result::{ErrorCount, Pair, PairLatency, RegistrationVerdict};
use portal::Portal;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use walk::{Newcomer, Trouble, Walk, walk};

/// Clients with a lease that may wait for their turn.
const WAITING_MAX: usize = 65_536;
/// Kinds of errors that are told apart; further ones are counted together.
const ERRORS_MAX: usize = 64;
/// How long the API may take to say that it is there.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// Descriptors that a client on its way has open at most: two for DNS, one for what lies beyond.
const DESCRIPTORS_PER_WALK: u64 = 3;

/// Where the engine hands clients over. Cheap to clone; the end of the last clone is the end of clients.
#[derive(Clone, Debug)]
pub struct Door {
    sender: mpsc::Sender<Newcomer>,
    counts: Arc<Counts>,
}

/// What is known of walks while they go on.
#[derive(Debug, Default)]
struct Counts {
    handed_over: AtomicU64,
    ended: AtomicU64,
    usable: AtomicU64,
}

impl Door {
    /// A client got its first lease just now, so long after it was meant to begin.
    pub fn leased(&self, address: Ipv4Addr, since_intended: Duration) {
        let leased = Instant::now();
        let intended = leased.checked_sub(since_intended).unwrap_or(leased);
        self.counts.handed_over.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(Newcomer { address, intended, leased }).is_err() {
            // Nobody is left to take it, or far too many wait: it is missing from the usable ones.
            self.counts.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Clients that were handed over and are not at the end of their way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        let ended = self.counts.ended.load(Ordering::Relaxed);
        self.counts.handed_over.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Clients that have a usable network.
    #[must_use]
    pub fn usable(&self) -> u64 {
        self.counts.usable.load(Ordering::Relaxed)
    }
}

/// Walks that go on beside the engine, on a thread of their own.
#[derive(Debug)]
pub struct Registration {
    counts: Arc<Counts>,
    patience: oneshot::Sender<Duration>,
    give_up: Duration,
    thread: JoinHandle<Figures>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many got a usable network, and how many did not.
    pub verdict: RegistrationVerdict,
    /// Each step's latency, and the time to a usable network.
    pub latencies: Vec<PairLatency>,
    /// What went wrong, by step.
    pub errors: Vec<ErrorCount>,
    /// How long clients waited for their turn, in microseconds.
    pub lateness: Histogram,
}

/// Why clients cannot be registered.
#[derive(Debug)]
pub enum StartError {
    /// Kernel: no thread, or no descriptors for it.
    System(io::Error),
    /// Operator: the API is not there, or does not take the token.
    Api(std::net::SocketAddrV4, Refusal),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(error) => write!(f, "registrations cannot be begun: {error}"),
            Self::Api(api, refusal) => write!(f, "the API at {api}: {refusal}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Descriptors that a run with these settings needs at most, beside the engine's.
#[must_use]
pub fn descriptors(settings: &Settings) -> u64 {
    settings.at_once as u64 * DESCRIPTORS_PER_WALK + settings.portal_connections as u64
}

/// Asks the API whether it is there, and begins to take clients.
///
/// # Errors
/// See [`StartError`].
pub fn start(settings: Settings) -> Result<(Door, Registration), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let portal = Portal::new(&settings);
    let api = settings.api;
    runtime
        .block_on(async { portal.check(Instant::now() + CHECK_TIME_MAX).await })
        .map_err(|refusal| StartError::Api(api, refusal))?;
    let (sender, newcomers) = mpsc::channel(WAITING_MAX);
    let (patience, ending) = oneshot::channel();
    let counts = Arc::new(Counts::default());
    let give_up = settings.give_up;
    let thread = {
        let counts = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("registration".to_owned())
            .spawn(move || conduct(&runtime, settings, portal, newcomers, ending, &counts))
            .map_err(StartError::System)?
    };
    let door = Door { sender, counts: Arc::clone(&counts) };
    Ok((door, Registration { counts, patience, give_up, thread }))
}

impl Registration {
    /// Ends it: every [`Door`] must be gone. Clients on their way get as long as one step may take; if
    /// the run was interrupted, no time at all. `without_a_lease`: clients that were not handed over.
    #[must_use]
    pub fn finish(self, is_interrupted: bool, without_a_lease: u64) -> Outcome {
        let patience = if is_interrupted { Duration::ZERO } else { self.give_up };
        // Without a receiver, everything has ended already.
        let _ = self.patience.send(patience);
        let figures = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        figures.outcome(self.counts.handed_over.load(Ordering::Relaxed), without_a_lease)
    }
}

fn conduct(
    runtime: &Runtime,
    settings: Settings,
    portal: Portal,
    newcomers: mpsc::Receiver<Newcomer>,
    ending: oneshot::Receiver<Duration>,
    counts: &Counts,
) -> Figures {
    let mut figures = Figures::default();
    runtime.block_on(async {
        let way = Arc::new((settings, portal));
        let cut_off = async {
            // A run that forgets to end it has ended.
            let patience = ending.await.unwrap_or(Duration::ZERO);
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            () = take(&way, newcomers, counts, &mut figures) => {}
            () = cut_off => {}
        }
    });
    figures
}

/// Takes clients as they come, and lets so many walk at once.
async fn take(
    way: &Arc<(Settings, Portal)>,
    mut newcomers: mpsc::Receiver<Newcomer>,
    counts: &Counts,
    figures: &mut Figures,
) {
    let mut walks = JoinSet::new();
    let mut is_open = true;
    while is_open || !walks.is_empty() {
        tokio::select! {
            newcomer = newcomers.recv(), if is_open && walks.len() < way.0.at_once => match newcomer {
                Some(newcomer) => {
                    let way = Arc::clone(way);
                    walks.spawn(async move { walk(newcomer, &way.0, &way.1).await });
                }
                None => is_open = false,
            },
            Some(walked) = walks.join_next() => {
                match walked {
                    Ok(walk) => figures.count(&walk),
                    Err(failed) => std::panic::resume_unwind(failed.into_panic()),
                }
                counts.usable.store(figures.usable.count(), Ordering::Relaxed);
                counts.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// What is counted of walks.
#[derive(Debug, Default)]
struct Figures {
    lateness: Histogram,
    lie: Histogram,
    registration: Histogram,
    truth: Histogram,
    reach: Histogram,
    usable: Histogram,
    failed: u64,
    lied_to: u64,
    errors: BTreeMap<String, (u64, String)>,
}

impl Figures {
    fn count(&mut self, walk: &Walk) {
        self.lateness.record(microseconds(walk.late));
        for (histogram, took) in [
            (&mut self.lie, walk.lie),
            (&mut self.registration, walk.registration),
            (&mut self.truth, walk.truth),
            (&mut self.reach, walk.reach),
            (&mut self.usable, walk.usable),
        ] {
            if let Some(took) = took {
                histogram.record(microseconds(took));
            }
        }
        if let Some(trouble) = &walk.was_lied_to {
            self.lied_to += 1;
            self.error(trouble, 1);
        }
        if let Some(trouble) = &walk.failure {
            self.failed += 1;
            self.error(trouble, 1);
        }
    }

    fn error(&mut self, trouble: &Trouble, times: u64) {
        let is_known = self.errors.contains_key(&trouble.kind) || self.errors.len() < ERRORS_MAX;
        let kind = if is_known { trouble.kind.as_str() } else { "other" };
        self.errors.entry(kind.to_owned()).or_insert((0, trouble.remark.clone())).0 += times;
    }

    fn outcome(mut self, handed_over: u64, without_a_lease: u64) -> Outcome {
        let usable = self.usable.count();
        let cut_off = handed_over.saturating_sub(usable + self.failed);
        if cut_off > 0 {
            let trouble = Trouble {
                kind: "registration: cut off".to_owned(),
                remark: "the run ended while these clients waited or were on their way".to_owned(),
            };
            self.error(&trouble, cut_off);
        }
        let verdict = RegistrationVerdict {
            newcomers: handed_over,
            without_a_lease,
            usable,
            lied_to_after_registration: self.lied_to,
        };
        let pairs = [
            (Pair::Lie, self.lie),
            (Pair::Registration, self.registration),
            (Pair::Truth, self.truth),
            (Pair::Reach, self.reach),
            (Pair::UsableNetwork, self.usable),
        ];
        let latencies = pairs
            .into_iter()
            .filter(|(_, histogram)| histogram.count() > 0)
            .map(|(pair, histogram)| PairLatency { pair, histogram })
            .collect();
        let errors = self
            .errors
            .into_iter()
            .map(|(kind, (count, remark))| ErrorCount { kind, count, remark })
            .collect();
        Outcome { verdict, latencies, errors, lateness: self.lateness }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
