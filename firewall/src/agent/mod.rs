//! `vestibule-firewall agent`: enforces the gate on a host that is no DHCP server, by the feeds of one or two.
//!
//! ```text
//! server A ── feed ──┐
//!                    ├── events ── book: what each says, one truth ── one transaction ── kernel sets
//! server B ── feed ──┘
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `follow`, `reading` | one server's feed, for ever, and what its lines mean |
//! | `merge`, `book`, `rulesets` | one truth out of two words; pure |
//! | `enforce`, `watched` | the thread that changes the kernel |
//! | `counters`, `status`, `exposition`, `shown` | what is shown of it |
//!
//! It promises that nothing a server or the network does ends the process, that every queue and every
//! answer it reads is bounded, and that its own end leaves the table: permits end with their leases. It never
//! changes another table, and never shows a token to anybody but its server.

mod book;
mod counters;
mod enforce;
mod error;
mod exposition;
mod follow;
mod merge;
mod reading;
mod rulesets;
pub mod shown;
mod status;
mod watched;

pub use book::{ADDRESSES_MAX, Book, Contents, SERVERS_MAX, Sizes};
pub use error::{AgentError, FollowError};
pub use merge::{Statement, truth};
pub use reading::{Event, Reading, SNAPSHOT_ADDRESSES_MAX, Snapshot, Unreadable};
pub use rulesets::joined;

use crate::Ruleset;
use crate::feed::Hello;
use crate::source::Source;
use counters::Counters;
use enforce::{EVENTS_WAITING_MAX, Enforcer, Plan};
use follow::Feed;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use vestibule_config::{AgentFile, Token};

/// Threads that follow the feeds and answer for the status; the kernel has one of its own.
const THREADS: usize = 2;

/// Runs until a signal ends it. `tokens`: one for each server, in their order.
///
/// # Errors
/// [`AgentError`] if it cannot start, or may not change the firewall.
pub fn run(file: &AgentFile, tokens: Vec<Token>) -> Result<(), AgentError> {
    let agent = &file.agent;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .thread_name("feeds")
        .build()
        .map_err(AgentError::Runtime)?;
    let servers = servers(file, tokens)?;
    let counters = Arc::new(Counters::new(servers.iter().map(Source::url)));
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let plan = Plan {
        servers: servers.len(),
        when_silent: agent.when_silent,
        silent_after: Duration::from_secs(agent.silent_after_seconds.into()),
        ruleset: file.whole.as_deref().and_then(Ruleset::planned),
    };
    let enforcer = Enforcer::new(events, Arc::clone(&counters), plan)?;
    let listener = runtime.block_on(status::listen(agent.status_listen))?;
    runtime.spawn(status::serve(listener, Arc::clone(&counters)));
    // Before the start line: whoever waits for it may send a signal at once.
    let (mut terminate, mut interrupt) = {
        let _runtime = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(AgentError::Runtime)?;
        (terminate, signal(SignalKind::interrupt()).map_err(AgentError::Runtime)?)
    };
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let handle = runtime.handle().clone();
    // A transaction may take long, and the feeds go on meanwhile.
    let enforcing = std::thread::Builder::new()
        .name("enforce".to_owned())
        .spawn(move || {
            let end = handle.block_on(enforcer.run());
            drop(alive);
            end
        })
        .map_err(AgentError::Runtime)?;
    let feeds = servers.into_iter().enumerate().map(|(number, server)| {
        let events = sender.clone();
        let feed = Feed { number, server, events, counters: Arc::clone(&counters) };
        runtime.spawn(feed.follow())
    });
    let feeds: Vec<_> = feeds.collect();
    drop(sender);
    tracing::info!(servers = feeds.len(), status = %agent.status_listen, "ready");
    let signal = runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => Some("SIGTERM"),
            _ = interrupt.recv() => Some("SIGINT"),
            _ = ended.recv() => None,
        }
    });
    if let Some(signal) = signal {
        tracing::info!(signal, "ending: the table stays, and permits end with their leases");
    }
    // The last of them takes the way to the enforcer along, which ends then.
    for feed in feeds {
        feed.abort();
        let _aborted = runtime.block_on(feed);
    }
    match enforcing.join() {
        Ok(Ok(())) if signal.is_none() => Err(AgentError::ThreadLost),
        Ok(end) => end,
        Err(_) => Err(AgentError::ThreadLost),
    }
}

/// What came of asking a server.
#[derive(Debug)]
pub struct Asked {
    /// Its URL.
    pub url: Box<str>,
    /// What it says of itself, or why it says nothing.
    pub answer: Result<Hello, FollowError>,
}

/// What each server says of itself: for `vestibule-firewall check`.
///
/// # Errors
/// [`AgentError`] if the authorities cannot be read, or the system gives no event loop.
pub fn ask(file: &AgentFile, tokens: Vec<Token>) -> Result<Vec<Asked>, AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::Runtime)?;
    let servers = servers(file, tokens)?;
    let ask = |server: Source| Asked { url: server.url().into(), answer: hello(&runtime, server) };
    Ok(servers.into_iter().map(ask).collect())
}

fn hello(runtime: &Runtime, server: Source) -> Result<Hello, FollowError> {
    let (events, mut told) = mpsc::channel(1);
    let counters = Arc::new(Counters::new(std::iter::empty()));
    let feed = Feed { number: 0, server, events, counters };
    let mut cursor = None;
    runtime.block_on(async {
        tokio::select! {
            biased;
            event = told.recv() => match event {
                Some((_, Event::Hello(hello))) => Ok(*hello),
                // Unreachable: nothing comes before the hello, and the feed holds the sender.
                _ => Err(FollowError::BrokenOff),
            },
            error = feed.once(&mut cursor) => Err(error),
        }
    })
}

fn servers(file: &AgentFile, tokens: Vec<Token>) -> Result<Vec<Source>, AgentError> {
    let servers = file.agent.servers.iter().zip(tokens);
    servers.map(|(server, token)| Ok(Source::new(server, token)?)).collect()
}
