//! The daemon: puts the parts together, in an order in which a refused start changes nothing.
//!
//! Configuration, then sockets, then the store, then the kernel sets, then the API: whatever is refused
//! is refused before anything is served, with its cause and a remedy. Only then does the line `ready`
//! appear. The threads that follow:
//!
//! | thread | what it does |
//! | --- | --- |
//! | decide | receives, decides, sends what promises nothing durable |
//! | commit | kernel sets, journal, held replies |
//! | events | writes what happened, for whoever follows it |
//! | snapshot | now and then, a snapshot |
//! | index | follows the leases for searches |
//! | history | follows the journal: who held which address |
//! | api | the API's runtime, webhooks, the garden's socket, and a task that tells when somebody else touched the kernel sets |
//!
//! SIGHUP: the configuration is read again, and taken whole or not at all (`reload`).
//!
//! SIGTERM and SIGINT: nothing more is taken in, what was decided is committed and answered, then the
//! process ends with status 0. The kernel sets stay: their elements end with their leases.

mod arguments;
mod captive;
mod error;
mod exchange;
mod garden;
mod gate;
mod history;
pub(crate) mod lease_token;
mod memory;
mod outlet;
mod partner;
mod portal;
mod search;
mod supervisor;
mod telling;
mod watch;

pub use arguments::{Arguments, Command};
pub use error::StartError;

use crate::api::{self, ApiState, CaptivePortal, GateFeed, Listener};
use crate::clock::Clock;
use crate::commit::{
    Barrier, CommitError, SPENT_KEPT_MAX, SnapshottingStore, TURNS_WAITING_MAX, Work,
};
use crate::decide::{Decide, Quiet, Told};
use crate::door::{Door, DoorError};
use crate::feed::Feed;
use crate::history::History;
use crate::metrics::Metrics;
use crate::net::{Monitor, SocketPlan, Sockets, Waker};
use crate::reload::Reload;
use crate::store::{Store, StoreOptions};
use captive::{CaptiveListener, TlsListener};
use exchange::Exchange;
use garden::GardenSocket;
use outlet::DaemonOutlet;
use partner::PartnerLink;
use portal::PortalListeners;
use search::IndexSearch;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use telling::Telling;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vestibule_config::{Credential, GateMode, Vestibule};
use vestibule_core::{HashKey, Record, Server};
use vestibule_firewall::Ruleset;

/// UDP port of DHCP servers and relays (RFC 2131 section 4.1).
const SERVER_PORT: u16 = 67;

/// UDP port of DHCP clients (RFC 2131 section 4.1).
const CLIENT_PORT: u16 = 68;

/// How often the kernel's drop counters are read.
const DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the store is looked after while nothing is committed.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

/// Sends the log to standard error: with times in a terminal and in files, without them under systemd,
/// whose journal has its own. `RUST_LOG` chooses what is said; `info` if it is not set.
pub fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`StartError`] if it cannot start, or if stable storage fails while it serves.
pub fn run(config: &Path) -> Result<(), StartError> {
    let (vestibule, tokens) =
        vestibule_config::load_with_tokens(config).map_err(StartError::Configuration)?;
    for warning in vestibule_config::warnings(&vestibule) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("api")
        .build()
        .map_err(StartError::Runtime)?;
    let metrics = Arc::new(Metrics::new());
    let sockets = open_sockets(&vestibule, &metrics)?;
    let listener = {
        let _runtime = runtime.enter();
        runtime.block_on(Listener::bind(&vestibule.api.listen)).map_err(StartError::Api)?
    };
    let captive = runtime.block_on(CaptiveListener::open(vestibule.captive.as_ref()))?;
    let garden_socket =
        runtime.block_on(GardenSocket::open(vestibule.gate.garden_socket.as_deref()))?;
    let portal = runtime.block_on(PortalListeners::open(&vestibule))?;
    let tls = runtime.block_on(TlsListener::open(vestibule.api.tls.as_ref()))?;
    let exchange = Exchange::open(vestibule.failover.as_ref())?;
    let link = runtime.block_on(PartnerLink::open(vestibule.failover.as_ref()))?;
    // Before anybody can know that there is somebody to signal.
    let signals = {
        let _runtime = runtime.enter();
        Signals::catch().map_err(StartError::Runtime)?
    };
    let parts = Parts {
        file: config.to_owned(),
        vestibule,
        tokens,
        metrics,
        sockets,
        captive,
        tls,
        garden_socket,
        portal,
        link,
        exchange,
    };
    let serving = parts.start(&runtime, listener)?;
    serving.until_the_end(runtime, signals)
}

fn open_sockets(vestibule: &Vestibule, metrics: &Metrics) -> Result<Sockets, StartError> {
    let plan = SocketPlan {
        relay_listen: vestibule.server.relay_listen.clone(),
        interfaces: vestibule.server.interfaces.clone(),
        port: SERVER_PORT,
        client_port: CLIENT_PORT,
        receive_buffer_bytes: vestibule.server.receive_buffer_bytes,
    };
    let sockets = Sockets::open(&plan).map_err(StartError::Net)?;
    for socket in sockets.monitor.sockets() {
        metrics.socket(&socket.name, socket.receive_buffer_bytes as u64);
        if socket.receive_buffer_bytes < plan.receive_buffer_bytes {
            tracing::warn!(
                socket = %socket.name,
                bytes = socket.receive_buffer_bytes,
                wanted = plan.receive_buffer_bytes,
                "the kernel gave a smaller receive buffer than asked for; raise net.core.rmem_max or grant CAP_NET_ADMIN"
            );
        }
    }
    Ok(sockets)
}

/// What is there before the store is opened.
struct Parts {
    /// The file that the configuration is from.
    file: PathBuf,
    vestibule: Vestibule,
    tokens: Vec<Credential>,
    metrics: Arc<Metrics>,
    sockets: Sockets,
    captive: Option<CaptiveListener>,
    garden_socket: Option<GardenSocket>,
    portal: Option<PortalListeners>,
    tls: Option<TlsListener>,
    link: Option<PartnerLink>,
    exchange: Option<Exchange>,
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they do not kill the process. In the context of a runtime.
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// What runs.
struct Serving {
    name: Box<str>,
    reload: Arc<Reload>,
    decide: JoinHandle<()>,
    commit: JoinHandle<Result<(), CommitError>>,
    /// Writes events; it ends after the barrier, which hands them over.
    keeper: JoinHandle<()>,
    /// It takes in what the barrier has made durable, and ends after it.
    history: Option<Arc<History>>,
    /// The API, and what devices ask.
    apis: Vec<tokio::task::JoinHandle<()>>,
    /// Dropped or sent, it has them take no more calls and finish what is under way.
    api_stop: tokio::sync::watch::Sender<()>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    ended: tokio::sync::mpsc::Receiver<()>,
}

impl Parts {
    fn start(
        self,
        runtime: &tokio::runtime::Runtime,
        listener: Listener,
    ) -> Result<Serving, StartError> {
        let Self {
            file,
            vestibule,
            tokens,
            metrics,
            sockets,
            captive,
            tls,
            garden_socket,
            portal: portal_listeners,
            link,
            exchange,
        } = self;
        let Sockets { receiver, sender, waker, monitor } = sockets;
        let state_dir = &vestibule.server.state_dir;
        let (mut store, recovered) =
            Store::open_streaming(state_dir, StoreOptions::default()).map_err(StartError::Store)?;
        tracing::info!("{}", recovered.report);
        let (clock, mark) = Clock::start(recovered.newest_time, recovered.clock.as_ref());
        let portal = portal::portal(&vestibule, clock)?;
        // A disk that cannot be written is found out now, not by the first client.
        store.commit(&[Record::Time(clock.now())]).map_err(StartError::Store)?;

        if let Some(Err(error)) = mark.map(|mark| store.keep_clock(&mark)) {
            tracing::warn!(%error, "a clock that is set before the next start may end leases early or late");
        }

        let door_waker = waker.clone();
        let (door, calls) = Door::new(Arc::new(move || door_waker.wake()));
        let index = search::open(state_dir, recovered.frame_number, door.clone(), &metrics);
        let history = history::open(&vestibule, clock, store.frame_number(), door.clone());
        // A start that is refused below drops this before index and history, which may wait for an answer.
        let calls = calls;
        if let Some(index) = &index {
            index.feed(store.frame_number(), &[]);
        }
        let told_until = recovered.newest_time;
        let telling = Telling::open(&vestibule, recovered.frame_number, &metrics)?;
        let own_addresses = vestibule.server.relay_listen.iter().copied();
        let server = Server::with_hash_key(
            vestibule.core.clone(),
            own_addresses,
            recovered.records,
            clock.now(),
            random_hash_key(),
        )
        .announcing(telling::announcements(&vestibule), told_until);
        let server = match lease_token::tokens(&vestibule)? {
            Some(tokens) => server.with_lease_tokens(tokens),
            None => server,
        };

        let told = Arc::new(Told::new(waker.clone()));
        let plan = Ruleset::planned(&vestibule);
        let feed = plan.is_some().then(|| Arc::new(Feed::new(RandomState::new().hash_one(()))));
        let (work, work_receiver) = mpsc::sync_channel::<Work>(TURNS_WAITING_MAX);
        let (spent_sender, spent) = mpsc::sync_channel::<Work>(SPENT_KEPT_MAX);
        let (ended_sender, ended) = tokio::sync::mpsc::channel(2);

        let (events, webhooks) = (telling.events(), telling.webhooks());
        let (handover, keeper) = telling.start(store.frame_number(), runtime)?;
        let partner = link.map(|link| link.start(runtime, metrics.link(), waker.clone()));
        let outlet = DaemonOutlet {
            sender: sender.clone(),
            metrics: Arc::clone(&metrics),
            told: Arc::clone(&told),
            spent: spent_sender,
            index: index.clone(),
            history: history.clone(),
            events: handover,
            feed: feed.clone(),
            partner: partner.as_ref().map(|partner| partner.outbound.clone()),
            exchange: exchange.as_ref().map(Exchange::news),
            quiet: Quiet::default(),
        };
        let contents = server.gate_contents(clock.now());
        let enforced = plan.clone().filter(|_| vestibule.gate.mode == GateMode::Local);
        let stable = SnapshottingStore::new(store, door.clone(), Arc::clone(&metrics));
        let (opened_sender, opened) = mpsc::channel();
        let commit_metrics = Arc::clone(&metrics);
        let commit_ended = ended_sender.clone();
        // Held here, so that it is not closed before it is known how the barrier ended.
        let commit_index = index.clone();
        // The kernel sets belong to the thread that changes them: their socket stays on it.
        let commit = spawn("commit", move || {
            let opened = gate::open(enforced, &contents);
            // With a million leases they take 16 MB.
            drop(contents);
            let enforcement = match opened {
                Ok((enforcement, beside)) => {
                    let _told = opened_sender.send(Ok(beside));
                    enforcement
                }
                Err(error) => {
                    let _told = opened_sender.send(Err(error));
                    return Ok(());
                }
            };
            let barrier = Barrier::new(stable, enforcement, outlet, commit_metrics);
            let end = barrier.run(&work_receiver);
            if let (Err(_), Some(index)) = (&end, &commit_index) {
                index.abandon();
            }
            let _told = commit_ended.blocking_send(());
            end
        })?;
        match opened.recv() {
            Ok(Ok(Some(beside))) => {
                watch::start(runtime, beside.watch, Arc::clone(&told))?;
                if let Some(socket) = garden_socket {
                    runtime.spawn(garden::serve(socket, beside.garden));
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return Err(StartError::Gate(error)),
            Err(mpsc::RecvError) => return Err(StartError::ThreadLost("commit")),
        }
        memory::give_back();

        if let Some(index) = &index {
            let (index, door) = (Arc::clone(index), door.clone());
            runtime.spawn(search::keep_rebuilt(index, door, Arc::clone(&metrics)));
        }
        let search = index.map(|index| Arc::new(IndexSearch(index)) as Arc<dyn api::Search>);
        let (idle_door, exchange_door) = (door.clone(), door.clone());
        let reload = Arc::new(Reload::new(&file, vestibule.clone(), door.clone(), history.clone()));
        let asked = door.clone();
        let state = ApiState::new(
            door,
            Arc::clone(&metrics),
            tokens,
            &vestibule.server.name,
            vestibule.gate.mode,
            search,
        )
        .with_events(events, webhooks)
        .with_history(history.clone())
        .with_captive(CaptivePortal::new(&vestibule))
        .with_reload(Arc::clone(&reload));
        let state = match (feed, plan) {
            (Some(feed), Some(ruleset)) => state.with_gate_feed(GateFeed { feed, ruleset }),
            _ => state,
        };
        let state = match &exchange {
            Some(exchange) => state.with_exchange_feed(exchange.feed()),
            None => state,
        };
        let (api_stop, stopped) = tokio::sync::watch::channel(());
        let mut apis = Vec::new();
        if let Some(captive) = captive {
            captive.start(runtime, state.clone(), stopped.clone(), &mut apis);
        }
        if let (Some(listeners), Some(portal)) = (portal_listeners, portal) {
            listeners.start(runtime, portal, state.clone(), stopped.clone(), &mut apis);
        }
        let tls = tls.map(|tls| tls.watched(runtime));
        let stop = until_gone(stopped);
        apis.push(runtime.spawn(api::serve_with_tls_until_stopped(listener, tls, state, stop)));
        if let Some(exchange) = exchange {
            exchange.start(runtime, exchange_door, metrics.exchange());
        }
        runtime.spawn(follow_drops(monitor, Arc::clone(&metrics)));
        runtime.spawn(look_between_groups(idle_door));

        let stop = Arc::new(AtomicBool::new(false));
        let decide = Decide {
            server,
            clock,
            receiver,
            sender,
            calls,
            partner: partner.map(|partner| partner.inbox),
            told,
            work,
            spent,
            metrics,
            stop: Arc::clone(&stop),
        };
        let decide = spawn("decide", move || {
            decide.run();
            let _told = ended_sender.blocking_send(());
        })?;
        let networks = vestibule.core.networks.len();
        let relays = vestibule.server.relay_listen.iter().map(ToString::to_string);
        let attached = vestibule.server.interfaces.iter().map(ToString::to_string);
        let listening = relays.chain(attached).collect::<Vec<_>>().join(", ");
        tracing::info!(
            server = %vestibule.server.name,
            networks,
            gate = %vestibule.gate.mode,
            dhcp = listening,
            api = %vestibule.api.listen,
            "ready"
        );
        supervisor::ready(runtime, asked);
        let name = vestibule.server.name.clone();
        Ok(Serving {
            name,
            reload,
            decide,
            commit,
            keeper,
            history,
            apis,
            api_stop,
            stop,
            waker,
            ended,
        })
    }
}

impl Serving {
    fn until_the_end(
        mut self,
        runtime: tokio::runtime::Runtime,
        mut signals: Signals,
    ) -> Result<(), StartError> {
        // Apart from the rest: an end does not wait for a reload. Signals that come during one are one.
        let reload = Arc::clone(&self.reload);
        runtime.spawn(async move {
            while signals.hangup.recv().await.is_some() {
                reload.run_for_signal().await;
            }
        });
        let signal = runtime.block_on(async {
            tokio::select! {
                _ = signals.terminate.recv() => Some("SIGTERM"),
                _ = signals.interrupt.recv() => Some("SIGINT"),
                _ = self.ended.recv() => None,
            }
        });
        supervisor::stopping();
        if let Some(signal) = signal {
            tracing::info!(signal, "ending: what was decided is committed and answered first");
            // Calls under way still need the core. How long they may take is bounded there.
            drop(self.api_stop);
            for api in self.apis {
                if runtime.block_on(api).is_err() {
                    return Err(StartError::ThreadLost("api"));
                }
            }
        }
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        // The decide thread drops the way to the barrier; the barrier ends when it has done the rest.
        if self.decide.join().is_err() {
            return Err(StartError::ThreadLost("decide"));
        }
        let committed = self.commit.join();
        if self.keeper.join().is_err() {
            return Err(StartError::ThreadLost("events"));
        }
        if let Some(history) = &self.history {
            history.finish();
        }
        match committed {
            Ok(Ok(())) if signal.is_none() => Err(StartError::ThreadLost("decide")),
            Ok(Ok(())) => {
                runtime.shutdown_background();
                tracing::info!(server = %self.name, "ended");
                Ok(())
            }
            Ok(Err(error)) => Err(StartError::Commit(error)),
            Err(_) => Err(StartError::ThreadLost("commit")),
        }
    }
}

/// Ready when the sender is gone.
async fn until_gone(mut stopped: tokio::sync::watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

/// Reads the kernel's drop counters into the metrics, also while no packet arrives.
async fn follow_drops(monitor: Monitor, metrics: Arc<Metrics>) {
    let mut interval = tokio::time::interval(DROPS_INTERVAL);
    let mut quiet = Quiet::default();
    loop {
        interval.tick().await;
        for socket in monitor.sockets() {
            let packets = metrics.kernel_drops(&socket.name, socket.dropped);
            if packets > 0 && quiet.may_say(&socket.name) {
                tracing::warn!(
                    socket = %socket.name,
                    packets,
                    "the kernel dropped packets because the socket's queue was full; raise server.receive-buffer, or find \
                     out what keeps the server: a slow disk, too little CPU (said once a minute)"
                );
            }
        }
    }
}

/// Has the barrier look after the store now and then, also while nothing is committed: a spare segment
/// that could not be made shows in the status, a finished snapshot is taken into use.
async fn look_between_groups(door: Door) {
    let mut interval = tokio::time::interval(STORE_INTERVAL);
    loop {
        interval.tick().await;
        if door.barrier().await == Err(DoorError::Closed) {
            return;
        }
    }
}

/// A key that no client knows. The standard library takes its own from the kernel.
fn random_hash_key() -> HashKey {
    let random = || RandomState::new().build_hasher().finish();
    HashKey(random(), random())
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Runtime)
}
