//! The gate feed: the newest changes of the gate, kept for those who enforce it on other hosts.
//!
//! The barrier tells it of every change once its group is durable, and each follower reads from here at
//! its own pace. It promises that the commit thread never waits for a follower: it takes a lock that nobody
//! holds for longer than a copy of [`ADDRESSES_PER_LINE_MAX`] changes takes, and as long as nobody has
//! followed it only counts. Changes are kept in bounded memory; who asks for one that is gone is told so,
//! and takes a snapshot from the core. It never decides anything, and talks to nobody itself: the API does.
//!
//! Times are kept as moments of this process and told as durations, because clocks differ.

mod counts;

pub(crate) use counts::FeedCounts;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use vestibule_core::{EthernetAddress, GateChange, Side};
use vestibule_firewall::feed::{ADDRESSES_PER_LINE_MAX, Change, Changes, Cursor, holders};

/// Changes that are kept for followers that come back: 4 MB. At a hundred changes a second, which is a
/// campus at its busiest hour, they are those of the last twenty minutes.
pub const CHANGES_KEPT_MAX: usize = 131_072;

/// The most, in microseconds, by which decisions in one line differ in age: a follower of two servers
/// places decisions in time by the age of the line.
const DECISIONS_PER_LINE_SPREAD_MAX: u64 = 100_000;

/// Followers at once.
pub const FOLLOWERS_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Feed {
    boot: u64,
    epoch: Instant,
    /// Whether anybody has ever followed: until then changes are counted and not kept.
    is_wanted: AtomicBool,
    recent: Mutex<Recent>,
    /// The newest sequence, for those who wait; and the end.
    news: watch::Sender<News>,
    followers: AtomicUsize,
}

/// What followers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// How many changes there have been.
    pub sequence: u64,
    /// Whether the server is ending.
    pub is_over: bool,
}

#[derive(Debug, Default)]
struct Recent {
    /// How many changes there have been.
    sequence: u64,
    /// The newest of them.
    kept: VecDeque<Kept>,
}

/// A change, with moments in place of durations.
#[derive(Clone, Copy, Debug)]
struct Kept {
    address: Ipv4Addr,
    side: Option<Side>,
    forget_flows: bool,
    holder: Option<EthernetAddress>,
    /// Milliseconds from the epoch to the end of the element.
    ends: u64,
    /// Microseconds from the epoch to the decision.
    decided: u64,
}

/// Changes after a cursor are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld;

impl Feed {
    /// A feed without changes. `boot`: another number than in any other life of a server.
    #[must_use]
    pub fn new(boot: u64) -> Self {
        Self {
            boot,
            epoch: Instant::now(),
            is_wanted: AtomicBool::new(false),
            recent: Mutex::default(),
            news: watch::Sender::new(News::default()),
            followers: AtomicUsize::new(0),
        }
    }

    /// Takes in changes that are durable. `decided`: when the oldest of them was; `now`: when their
    /// remaining times count from.
    pub fn publish(
        &self,
        decided: Instant,
        now: Instant,
        changes: impl Iterator<Item = GateChange>,
    ) {
        let mut recent = self.lock();
        if self.is_wanted.load(Ordering::Relaxed) {
            let decided = microseconds(self.epoch, decided);
            let now = microseconds(self.epoch, now) / 1000;
            for change in changes {
                if recent.kept.len() >= CHANGES_KEPT_MAX {
                    recent.kept.pop_front();
                }
                recent.sequence += 1;
                recent.kept.push_back(Kept {
                    address: change.address,
                    side: change.side.map(|(side, _)| side),
                    forget_flows: change.forget_flows,
                    holder: change.holder,
                    ends: change.side.map_or(0, |(_, life)| now.saturating_add(life)),
                    decided,
                });
            }
        } else {
            recent.sequence += changes.count() as u64;
        }
        let sequence = recent.sequence;
        drop(recent);
        self.news.send_modify(|news| news.sequence = news.sequence.max(sequence));
    }

    /// Tells all followers that the server is ending.
    pub fn close(&self) {
        self.news.send_modify(|news| news.is_over = true);
    }

    /// Whether the server is ending.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.news.borrow().is_over
    }

    /// A place for a follower; `None` if all are taken.
    #[must_use]
    pub fn follow(self: &std::sync::Arc<Self>) -> Option<Follower> {
        let taken = self.followers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < FOLLOWERS_MAX).then_some(count + 1)
        });
        taken.ok()?;
        // Under the lock, so that every change from here on is kept.
        let recent = self.lock();
        self.is_wanted.store(true, Ordering::Relaxed);
        drop(recent);
        Some(Follower { feed: std::sync::Arc::clone(self), news: self.news.subscribe() })
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// What it has come to.
    #[must_use]
    pub fn newest(&self) -> Cursor {
        Cursor { boot: self.boot, sequence: self.lock().sequence }
    }

    /// Whether all changes after a cursor are kept.
    #[must_use]
    pub fn keeps(&self, after: Cursor) -> bool {
        let recent = self.lock();
        after.boot == self.boot
            && after.sequence <= recent.sequence
            && recent.sequence - after.sequence <= recent.kept.len() as u64
    }

    /// Changes after a sequence, as many as a line takes; `None` if there are none.
    ///
    /// # Errors
    /// [`TooOld`] if the next one is gone.
    pub fn changes_after(&self, sequence: u64) -> Result<Option<Changes>, TooOld> {
        let recent = self.lock();
        let missing = recent.sequence.saturating_sub(sequence);
        if missing == 0 {
            return Ok(None);
        }
        // Fits: no more are kept than fit into memory.
        let missing = usize::try_from(missing).map_err(|_| TooOld)?;
        let first = recent.kept.len().checked_sub(missing).ok_or(TooOld)?;
        let begin = recent.kept.get(first).map_or(0, |kept| kept.decided);
        let copied: Vec<Kept> = recent
            .kept
            .range(first..)
            .take(ADDRESSES_PER_LINE_MAX)
            .take_while(|kept| kept.decided.abs_diff(begin) <= DECISIONS_PER_LINE_SPREAD_MAX)
            .copied()
            .collect();
        drop(recent);
        let now = microseconds(self.epoch, Instant::now());
        let oldest = copied.iter().map(|kept| kept.decided).min().unwrap_or(now);
        let cursor = Cursor { boot: self.boot, sequence: sequence + copied.len() as u64 };
        let changes: Vec<Change> = copied.iter().map(|kept| kept.told(now / 1000)).collect();
        // An element that has ended meanwhile has no holder.
        let lives = |(kept, told): (&Kept, &Change)| kept.holder.filter(|_| told.1.is_some());
        let holders = holders(copied.iter().zip(&changes).map(lives));
        let age_microseconds = now.saturating_sub(oldest);
        Ok(Some(Changes { cursor, age_microseconds, changes, holders }))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// As it is told `now` milliseconds after the epoch.
    fn told(&self, now: u64) -> Change {
        let left = self.ends.saturating_sub(now);
        // An element that has ended meanwhile is in neither set.
        let side = self.side.filter(|_| left > 0);
        Change(self.address, side.map(Into::into), side.map_or(0, |_| left), self.forget_flows)
    }
}

fn microseconds(epoch: Instant, moment: Instant) -> u64 {
    let passed = moment.saturating_duration_since(epoch).as_micros();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

/// One that follows; its place is given back when it is dropped.
#[derive(Debug)]
pub struct Follower {
    feed: std::sync::Arc<Feed>,
    news: watch::Receiver<News>,
}

impl Follower {
    /// What it follows.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Waits until there are changes after `sequence`, or until the server ends.
    pub async fn wait_beyond(&mut self, sequence: u64) -> News {
        match self.news.wait_for(|news| news.sequence > sequence || news.is_over).await {
            Ok(news) => *news,
            // Unreachable: this holds the feed, which holds the sender.
            Err(_) => News { sequence, is_over: true },
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn change(number: u32, life: Option<u64>) -> GateChange {
        GateChange {
            address: Ipv4Addr::from(number),
            side: life.map(|life| (Side::Registered, life)),
            forget_flows: number.is_multiple_of(2),
            holder: None,
        }
    }

    fn publish(feed: &Feed, numbers: std::ops::Range<u32>) {
        let now = Instant::now();
        feed.publish(now, now, numbers.map(|number| change(number, Some(60_000))));
    }

    /// Everything after a sequence, line by line.
    fn all_after(feed: &Feed, mut sequence: u64) -> Result<Vec<u32>, TooOld> {
        let mut addresses = Vec::new();
        while let Some(line) = feed.changes_after(sequence)? {
            assert!(line.changes.len() <= ADDRESSES_PER_LINE_MAX);
            assert_eq!(line.cursor.sequence, sequence + line.changes.len() as u64);
            addresses.extend(line.changes.iter().map(|change| u32::from(change.0)));
            sequence = line.cursor.sequence;
        }
        Ok(addresses)
    }

    #[test]
    fn what_nobody_wants_is_counted_and_not_kept() {
        let feed = Arc::new(Feed::new(7));
        publish(&feed, 0..10);
        assert_eq!(feed.newest(), Cursor { boot: 7, sequence: 10 });
        assert_eq!(feed.lock().kept.len(), 0);
        let follower = feed.follow().unwrap();
        assert!(!feed.keeps(Cursor { boot: 7, sequence: 9 }));
        assert!(feed.keeps(Cursor { boot: 7, sequence: 10 }));
        drop(follower);
        // One that was there comes back.
        publish(&feed, 10..15);
        assert_eq!(all_after(&feed, 10), Ok((10..15).collect()));
        assert_eq!(all_after(&feed, 12), Ok((12..15).collect()));
    }

    #[test]
    fn a_cursor_of_another_life_or_of_the_future_is_not_kept() {
        let feed = Arc::new(Feed::new(7));
        let _follower = feed.follow();
        publish(&feed, 0..10);
        assert!(feed.keeps(Cursor { boot: 7, sequence: 0 }));
        assert!(!feed.keeps(Cursor { boot: 8, sequence: 0 }));
        assert!(!feed.keeps(Cursor { boot: 7, sequence: 11 }));
    }

    #[test]
    fn memory_is_bounded_and_what_is_gone_is_said_to_be_gone() {
        let feed = Arc::new(Feed::new(7));
        let _follower = feed.follow();
        let extra = 5;
        let last = u32::try_from(CHANGES_KEPT_MAX).unwrap() + extra;
        publish(&feed, 0..last);
        assert_eq!(feed.lock().kept.len(), CHANGES_KEPT_MAX);
        assert_eq!(all_after(&feed, 4), Err(TooOld));
        assert!(!feed.keeps(Cursor { boot: 7, sequence: 4 }));
        assert_eq!(all_after(&feed, 5), Ok((extra..last).collect()));
        assert!(feed.keeps(Cursor { boot: 7, sequence: 5 }));
    }

    #[test]
    fn remaining_times_count_from_the_moment_of_telling() {
        let feed = Arc::new(Feed::new(7));
        let _follower = feed.follow();
        let now = Instant::now();
        // As if it had been decided and committed a minute after the epoch, long before now.
        let mut early = Feed::new(7);
        early.epoch = now.checked_sub(Duration::from_secs(100)).unwrap();
        let early = Arc::new(early);
        let _follower = early.follow();
        let then = now.checked_sub(Duration::from_secs(40)).unwrap();
        let lives = [Some(60_000), Some(30_000), None];
        let changes = lives.iter().zip(1..).map(|(life, number)| change(number, *life));
        early.publish(then, then, changes);
        let line = early.changes_after(0).unwrap().unwrap();
        assert!(line.age_microseconds >= 40_000_000, "{line:?}");
        let [Change(_, Some(_), left, false), Change(_, None, 0, true), Change(_, None, 0, false)] =
            line.changes[..]
        else {
            panic!("{line:?}")
        };
        assert!(left <= 20_000, "{line:?}");
    }

    #[test]
    fn a_holder_is_told_with_its_address_and_not_beyond_its_end() {
        let feed = Arc::new(Feed::new(7));
        let _follower = feed.follow();
        let holder = Some(EthernetAddress([2, 0, 0x5e, 0, 0x53, 1]));
        let now = Instant::now();
        let lives = [(1, Some(60_000), None), (2, Some(60_000), holder), (3, Some(0), holder)];
        let changes = lives.iter();
        let changes =
            changes.map(|&(number, life, holder)| GateChange { holder, ..change(number, life) });
        feed.publish(now, now, changes);
        let line = feed.changes_after(0).unwrap().unwrap();
        let told = vestibule_firewall::feed::held(line.changes, &line.holders).unwrap();
        let told: Vec<Option<EthernetAddress>> = told.iter().map(|one| one.holder).collect();
        assert_eq!(told, [None, holder, None]);
    }

    #[test]
    fn decisions_that_lie_far_apart_are_told_in_lines_of_their_own() {
        let feed = Arc::new(Feed::new(7));
        let _follower = feed.follow();
        let ahead = |milliseconds| feed.epoch + Duration::from_millis(milliseconds);
        for (number, decided) in [(1, 0), (2, 80), (3, 120), (4, 700)] {
            let decided = ahead(decided);
            feed.publish(decided, decided, std::iter::once(change(number, Some(60_000))));
        }
        let mut sequence = 0;
        let mut lines = Vec::new();
        while let Some(line) = feed.changes_after(sequence).unwrap() {
            sequence = line.cursor.sequence;
            lines.push(line.changes.iter().map(|change| u32::from(change.0)).collect::<Vec<_>>());
        }
        assert_eq!(lines, [vec![1, 2], vec![3], vec![4]]);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let feed = Arc::new(Feed::new(7));
        let mut followers: Vec<Follower> = std::iter::from_fn(|| feed.follow()).collect();
        assert_eq!(followers.len(), FOLLOWERS_MAX);
        followers.pop();
        assert_eq!(feed.followers(), FOLLOWERS_MAX - 1);
        assert!(feed.follow().is_some());
    }
}
