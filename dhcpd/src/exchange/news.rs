//! When there is something to tell the partner: the barrier says so after each commit that has something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use vestibule_core::Record;

/// Who follows at once: one partner, and its new connection while the old one is not known to be gone.
pub const EXCHANGE_FOLLOWERS_MAX: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct ExchangeNews {
    /// Tells this life of the server from others.
    boot: u64,
    /// How many commits had something; and whether the server is ending.
    commits: watch::Sender<(u64, bool)>,
    followers: AtomicUsize,
}

impl ExchangeNews {
    /// Nothing yet. `boot`: another number than in any other life of a server.
    #[must_use]
    pub fn new(boot: u64) -> Self {
        let commits = watch::Sender::new((0, false));
        Self { boot, commits, followers: AtomicUsize::new(0) }
    }

    /// This life of the server.
    #[must_use]
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// These records are durable.
    pub fn committed(&self, records: &[Record]) {
        let is_exchanged = |record: &Record| {
            matches!(record, Record::Exchange(_) | Record::Voucher(_) | Record::VoucherRemoved(_))
        };
        if records.iter().any(is_exchanged) {
            self.commits.send_modify(|(commits, _)| *commits += 1);
        }
    }

    /// The server is ending.
    pub fn close(&self) {
        self.commits.send_modify(|(_, is_over)| *is_over = true);
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// A place for somebody who follows; `None` if all are taken.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Option<NewsReader> {
        let taken = self.followers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < EXCHANGE_FOLLOWERS_MAX).then_some(count + 1)
        });
        taken.ok()?;
        Some(NewsReader { news: Arc::clone(self), commits: self.commits.subscribe() })
    }
}

/// One that follows; its place is given back when it is dropped.
#[derive(Debug)]
pub struct NewsReader {
    news: Arc<ExchangeNews>,
    commits: watch::Receiver<(u64, bool)>,
}

impl NewsReader {
    /// Whether the server is ending.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.commits.borrow().1
    }

    /// Counts what has come so far as known.
    pub fn see(&mut self) {
        let _seen = self.commits.borrow_and_update();
    }

    /// Waits for what has come since it last saw, or for the end.
    pub async fn wait(&mut self) {
        // An error is unreachable: this holds the sender.
        let _changed = self.commits.changed().await;
    }
}

impl Drop for NewsReader {
    fn drop(&mut self) {
        self.news.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use vestibule_core::{Timestamp, VoucherHash};

    #[tokio::test]
    async fn who_reads_hears_of_what_is_exchanged_and_of_the_end() {
        let news = Arc::new(ExchangeNews::new(1));
        let mut reader = news.read().unwrap();
        news.committed(&[Record::Time(Timestamp::ZERO)]);
        assert!(!reader.commits.has_changed().unwrap());
        news.committed(&[Record::VoucherRemoved(VoucherHash::new([0; 32]))]);
        reader.wait().await;
        reader.see();
        news.close();
        reader.wait().await;
        assert!(reader.is_over());
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let news = Arc::new(ExchangeNews::new(1));
        let mut readers: Vec<NewsReader> = std::iter::from_fn(|| news.read()).collect();
        assert_eq!((readers.len(), news.followers()), (EXCHANGE_FOLLOWERS_MAX, 4));
        readers.pop();
        assert!(news.read().is_some());
    }
}
