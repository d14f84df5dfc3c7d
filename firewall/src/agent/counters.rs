//! What an agent counts and shows: how each feed is, what the kernel holds, how late it was.

use super::book::{SERVERS_MAX, Sizes};
use super::error::FollowError;
use super::reading::{Event, Reading};
use crate::feed::Cursor;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the lag's histogram, in milliseconds.
pub(super) const LAG_BUCKETS_MILLISECONDS: [u64; 12] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 30_000];

/// At most one line in the log about the same feed in this time.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// One feed.
#[derive(Clone, Debug)]
pub(super) struct FeedCounts {
    pub(super) url: Box<str>,
    /// The server's own name, once it has said it.
    pub(super) server: Option<String>,
    pub(super) is_connected: bool,
    /// When it said something last; `None`: never.
    pub(super) heard: Option<Instant>,
    /// Up to where everything was handed to the enforcer.
    pub(super) cursor: Option<Cursor>,
    /// The server's newest.
    pub(super) newest: Option<Cursor>,
    pub(super) snapshots: u64,
    pub(super) changes: u64,
    /// By [`FollowError::REASONS`].
    pub(super) errors: [u64; FollowError::REASONS.len()],
    pub(super) error: Option<String>,
    complained: Option<Instant>,
}

/// What the enforcer did.
#[derive(Clone, Debug, Default)]
pub(super) struct Enforced {
    /// Whether this agent has made a table.
    pub(super) is_enforcing: bool,
    /// Whether no server has been heard of for `agent.silent-after`.
    pub(super) is_silent: bool,
    /// Whether permits were taken away for it.
    pub(super) is_closed: bool,
    /// What the kernel refused at the last try.
    pub(super) failing: Option<String>,
    pub(super) sizes: Sizes,
    /// What was said of addresses beyond the limit.
    pub(super) unheard: u64,
    pub(super) transactions: u64,
    pub(super) transactions_failed: u64,
    pub(super) changes: u64,
    /// The whole of the sets was replaced.
    pub(super) reconciles: u64,
    /// Somebody else changed the table.
    pub(super) interferences: u64,
    pub(super) lag_buckets: [u64; LAG_BUCKETS_MILLISECONDS.len() + 1],
    pub(super) lag_count: u64,
    pub(super) lag_sum: Duration,
    pub(super) lag_last: Option<Duration>,
    pub(super) lag_worst: Option<Duration>,
    /// What the servers disagree about.
    pub(super) differences: Vec<&'static str>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) started: Instant,
    feeds: Mutex<Vec<FeedCounts>>,
    enforced: Mutex<Enforced>,
}

impl Counters {
    pub(super) fn new<'u>(urls: impl Iterator<Item = &'u str>) -> Self {
        let feed = |url: &str| FeedCounts {
            url: url.into(),
            server: None,
            is_connected: false,
            heard: None,
            cursor: None,
            newest: None,
            snapshots: 0,
            changes: 0,
            errors: [0; FollowError::REASONS.len()],
            error: None,
            complained: None,
        };
        Self {
            started: Instant::now(),
            feeds: Mutex::new(urls.take(SERVERS_MAX).map(feed).collect()),
            enforced: Mutex::default(),
        }
    }

    pub(super) fn feeds(&self) -> Vec<FeedCounts> {
        self.lock_feeds().clone()
    }

    pub(super) fn enforced(&self) -> MutexGuard<'_, Enforced> {
        self.enforced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A feed said something.
    pub(super) fn heard(&self, number: usize, event: &Event, reading: &Reading) {
        let mut feeds = self.lock_feeds();
        let Some(feed) = feeds.get_mut(number) else { return };
        feed.heard = Some(Instant::now());
        feed.newest = reading.newest();
        feed.cursor = reading.cursor().or(feed.cursor);
        match event {
            Event::Hello(hello) => {
                feed.is_connected = true;
                feed.error = None;
                let name = hello.server.chars().filter(char::is_ascii_graphic).take(64);
                feed.server = Some(name.collect());
                tracing::info!(server = %feed.url, "following");
            }
            Event::Snapshot(_) => feed.snapshots += 1,
            Event::Changes(changes, _) => feed.changes += changes.len() as u64,
            Event::Alive => {}
        }
    }

    /// A connection ended, or could not be made.
    pub(super) fn lost(&self, number: usize, error: &FollowError) {
        let mut feeds = self.lock_feeds();
        let Some(feed) = feeds.get_mut(number) else { return };
        let Some(reason) = error.reason_number() else { return };
        feed.is_connected = false;
        if let Some(count) = feed.errors.get_mut(reason) {
            *count += 1;
        }
        feed.error = Some(error.to_string());
        if feed.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
            feed.complained = Some(Instant::now());
            tracing::warn!(
                server = %feed.url,
                "the gate feed is not followed at the moment: {error} (said once a minute)"
            );
        }
    }

    /// Changes are in the kernel now, whose decisions were then.
    pub(super) fn applied(&self, changes: usize, decided: &[Instant]) {
        let now = Instant::now();
        let mut enforced = self.enforced();
        enforced.transactions += 1;
        enforced.changes += changes as u64;
        for decided in decided {
            let lag = now.saturating_duration_since(*decided);
            let bucket = LAG_BUCKETS_MILLISECONDS
                .partition_point(|bound| Duration::from_millis(*bound) < lag);
            if let Some(count) = enforced.lag_buckets.get_mut(bucket) {
                *count += 1;
            }
            enforced.lag_count += 1;
            enforced.lag_sum += lag;
            enforced.lag_last = Some(lag);
            enforced.lag_worst = enforced.lag_worst.max(Some(lag));
        }
    }

    fn lock_feeds(&self) -> MutexGuard<'_, Vec<FeedCounts>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
