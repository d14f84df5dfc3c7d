//! What readers see of the log: each reads from its own place, and none waits for another.
//!
//! The newest events are in memory, the others are read from their file. A reader holds nothing but a
//! number, so a slow one costs nothing until retention passes it by; then it is told so.

use super::limits::{RECENT_BYTES_MAX, RECENT_EVENTS_MAX};
use super::segment::Segment;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use vestibule_core::EventKind;

/// One event as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id. Ids ascend, and may leave some out.
    pub id: u64,
    /// Its kind.
    pub kind: EventKind,
    /// It, as one line of JSON.
    pub json: Arc<str>,
}

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
        self.recent_bytes += event.json.len();
        self.recent.push_back(event);
        while self.recent.len() > RECENT_EVENTS_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.json.len();
        }
    }
}

impl Events {
    pub(super) fn new(state: State, newest: u64) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), newest: watch::Sender::new(newest) }))
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
            let read = tokio::task::spawn_blocking(move || segment.read_after(from, count_max));
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
