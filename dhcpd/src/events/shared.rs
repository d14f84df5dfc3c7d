//! What readers see of the log: each reads from its own place, and none waits for another.
//!
//! The newest events are in memory, the others are read from their file. A reader holds nothing but a
//! number, so a slow one costs nothing until retention passes it by; then it is told so.

use super::limits::{RECENT_BYTES_MAX, RECENT_EVENTS_MAX};
use super::packed::unpack;
use super::segment::Segment;
use super::view::{self, GapCause, GapView};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use vestibule_core::{EventKind, Timestamp};

/// One event as it is told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its id. Ids ascend, and may leave some out.
    pub id: u64,
    /// Its kind.
    pub kind: EventKind,
    pub(super) form: Form,
    /// Where it stands, beside others.
    pub(super) lines: Arc<Lines>,
    /// Where in them.
    pub(super) place: Range<usize>,
}

/// How an event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Packed,
}

/// A piece of the log.
#[derive(Debug)]
pub(super) struct Lines {
    /// The server that it is the log of.
    pub(super) server: Arc<str>,
    pub(super) bytes: Vec<u8>,
}

impl Stored {
    /// It, as one line of JSON; made anew with each call if it is packed.
    #[must_use]
    pub fn json(&self) -> Cow<'_, str> {
        match self.form {
            Form::Json => String::from_utf8_lossy(self.bytes()),
            Form::Packed => {
                let server = &self.lines.server;
                // What has a right checksum and was not packed is damage that a line cannot show.
                let json = unpack(self.kind, self.bytes()).map_or_else(
                    || {
                        let gap = GapView::new(GapCause::Damage, Some(1));
                        view::gap(self.id, server, Timestamp::ZERO, &gap)
                    },
                    |event| view::event(self.id, server, event),
                );
                json.into()
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.lines.bytes.get(self.place.clone()).unwrap_or_default()
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        let same = (self.id, self.kind, self.form) == (other.id, other.kind, other.form);
        same && self.bytes() == other.bytes()
    }
}

impl Eq for Stored {}

/// Events after an id cannot all be told: it is too old, or was never given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRetained {
    /// The oldest place that can be read from: with it as `after`, everything that is kept is told.
    pub oldest: u64,
    /// The newest id.
    pub newest: u64,
}

impl fmt::Display for NotRetained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events can be told from after {} up to {}", self.oldest, self.newest)
    }
}

/// What the log holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    server: Arc<str>,
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Oldest first; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    pub(super) recent: VecDeque<Stored>,
    pub(super) recent_bytes: usize,
    /// The last id that is not kept any more.
    pub(super) dropped_through: u64,
}

impl State {
    pub(super) fn remember(&mut self, event: Stored) {
        self.recent_bytes += event.place.len();
        self.recent.push_back(event);
        while self.recent.len() > RECENT_EVENTS_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.place.len();
        }
    }
}

impl Events {
    pub(super) fn new(server: &str, state: State, newest: u64) -> Self {
        let (state, newest) = (Mutex::new(state), watch::Sender::new(newest));
        Self(Arc::new(Shared { server: server.into(), state, newest }))
    }

    /// The server whose events they are.
    pub(super) fn server(&self) -> &Arc<str> {
        &self.0.server
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to this id is there to be read.
    pub(super) fn publish(&self, newest: u64) {
        self.0.newest.send_replace(newest);
    }

    /// The newest id; 0 if there was no event yet.
    #[must_use]
    pub fn newest(&self) -> u64 {
        *self.0.newest.borrow()
    }

    /// The oldest place that can be read from.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.state().dropped_through
    }

    /// Events and bytes that are kept.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        let state = self.state();
        state
            .segments
            .iter()
            .fold((0, 0), |sum, segment| (sum.0 + segment.events, sum.1 + segment.bytes))
    }

    /// Follows the newest id.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Whether everything after this id can be told.
    ///
    /// # Errors
    /// [`NotRetained`]
    pub fn check(&self, after: u64) -> Result<(), NotRetained> {
        let (oldest, newest) = (self.oldest(), self.newest());
        if (oldest..=newest.max(oldest)).contains(&after) {
            Ok(())
        } else {
            Err(NotRetained { oldest, newest })
        }
    }

    /// The events after an id, `count_max` at most; none if there is none yet.
    ///
    /// # Errors
    /// [`NotRetained`]
    pub async fn read_after(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<Stored>, NotRetained> {
        let mut from = after;
        loop {
            self.check(from)?;
            let newest = self.newest();
            if from >= newest {
                return Ok(Vec::new());
            }
            let segment = {
                let state = self.state();
                if state.recent.front().is_some_and(|first| first.id <= from.saturating_add(1)) {
                    let start = state.recent.partition_point(|event| event.id <= from);
                    let events = state.recent.range(start..).take(count_max);
                    // The state is written before its newest id is told.
                    return Ok(events.filter(|event| event.id <= newest).cloned().collect());
                }
                state.segments.iter().find(|segment| segment.last > from).cloned()
            };
            let Some(segment) = segment else { return Ok(Vec::new()) };
            let last = segment.last;
            let server = Arc::clone(self.server());
            let read =
                tokio::task::spawn_blocking(move || segment.read_after(&server, from, count_max));
            match read.await {
                Ok(Ok(events)) if events.is_empty() => from = last,
                Ok(Ok(mut events)) => {
                    events.retain(|event| event.id <= newest);
                    return Ok(events);
                }
                // Retention may have taken it away just now.
                Ok(Err(error)) => {
                    self.check(from)?;
                    tracing::error!(%error, "a file of the event log cannot be read; what is in it is passed over");
                    from = last;
                }
                Err(_) => return Ok(Vec::new()),
            }
        }
    }
}
