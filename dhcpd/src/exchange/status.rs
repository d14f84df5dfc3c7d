//! How the exchange goes, for the status and the metrics.

use super::follow::ExchangeError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vestibule_core::exchange::Merged;
use vestibule_firewall::feed::Cursor;

/// What is known of the partner's stream.
#[derive(Clone, Debug, Default)]
pub struct ExchangeState {
    /// Where the partner's API is, as it is written in the file; empty: nothing is exchanged.
    pub url: Box<str>,
    /// Whether its stream is followed now.
    pub is_connected: bool,
    /// What the partner calls itself.
    pub server: Option<Box<str>>,
    /// What was taken over last.
    pub cursor: Option<Cursor>,
    /// What the partner has come to, as far as it told.
    pub newest: Option<Cursor>,
    /// When this server last held all that the partner had told it of.
    pub whole: Option<Instant>,
    /// Why the stream was last lost; `None` while it is followed.
    pub error: Option<String>,
}

impl ExchangeState {
    /// Changes of the partner's that are still to come, as far as it told: so many or fewer.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let newest = self.newest.map_or(0, |newest| newest.sequence);
        match self.cursor {
            Some(cursor) if self.newest.is_none_or(|newest| newest.boot == cursor.boot) => {
                newest.saturating_sub(cursor.sequence)
            }
            _ => newest,
        }
    }

    /// How long ago this server last held all that the partner had told it of.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.whole.map(|whole| whole.elapsed())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct ExchangeCounts {
    state: Mutex<ExchangeState>,
    taken: AtomicU64,
    refused: AtomicU64,
    far_ahead: AtomicU64,
    ends: [AtomicU64; ExchangeError::REASONS.len()],
}

impl ExchangeCounts {
    /// What is known of the partner's stream; `None`: nothing is exchanged.
    #[must_use]
    pub fn state(&self) -> Option<ExchangeState> {
        Some(self.lock().clone()).filter(|state| !state.url.is_empty())
    }

    /// Changes of the partner's that were taken over.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Changes of the partner's that a limit kept out.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Changes of the partner's that were dated further ahead than clocks may be apart.
    #[must_use]
    pub fn far_ahead(&self) -> u64 {
        self.far_ahead.load(Relaxed)
    }

    /// Why and how often the stream was lost or not had.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ExchangeError::REASONS.into_iter().zip(self.ends.iter().map(|count| count.load(Relaxed)))
    }

    pub(super) fn begin(&self, url: &str) {
        self.lock().url = url.into();
    }

    pub(super) fn met(&self, server: &str, newest: Cursor) {
        let mut state = self.lock();
        state.is_connected = true;
        state.error = None;
        state.server = Some(server.chars().filter(char::is_ascii_graphic).take(64).collect());
        state.newest = Some(newest);
    }

    /// The partner said what it has come to; and what was taken over last.
    pub(super) fn heard(&self, newest: Cursor, cursor: Option<Cursor>) {
        let mut state = self.lock();
        state.newest = Some(newest);
        state.cursor = cursor;
        if cursor == state.newest {
            state.whole = Some(Instant::now());
        }
    }

    pub(super) fn merged(&self, merged: Merged) {
        let add = |counter: &AtomicU64, count: usize| counter.fetch_add(count as u64, Relaxed);
        add(&self.taken, merged.taken);
        add(&self.refused, merged.refused);
        add(&self.far_ahead, merged.far_ahead);
    }

    pub(super) fn lost(&self, error: &ExchangeError) {
        if let Some(count) = error.reason_number().and_then(|number| self.ends.get(number)) {
            count.fetch_add(1, Relaxed);
        }
        let mut state = self.lock();
        state.is_connected = false;
        state.error = Some(error.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, ExchangeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
