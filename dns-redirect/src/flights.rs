//! Questions on their way to upstream resolvers, each asked once however many clients wait for it.
//!
//! It promises that a question which is on its way is not asked again, that whoever waits gets what the
//! resolver said, and that a client who goes away takes nothing from those who stay: an inquiry is a task
//! of its own, and ends by itself. There are never more of them than look-up slots, which they hold.

use crate::cache::CacheKey;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What came of an inquiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// It is on its way.
    Flying,
    /// The resolver's message; whether it says that it could not find out.
    Message(Arc<[u8]>, bool),
    /// No resolver answered.
    Nothing,
}

/// A place among those who wait for an inquiry.
pub(crate) struct Ticket(watch::Receiver<Landing>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    flying: HashMap<CacheKey, watch::Receiver<Landing>>,
    tasks: JoinSet<()>,
}

impl Flights {
    /// Waits for the inquiry that is on its way, or begins what `start` gives. Call within a runtime.
    ///
    /// # Errors
    /// What `start` refuses with.
    pub(crate) fn join<F, E>(
        &self,
        key: &CacheKey,
        start: impl FnOnce() -> Result<F, E>,
    ) -> Result<Ticket, E>
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut inner = lock(&self.inner);
        if let Some(flight) = inner.flying.get(key) {
            return Ok(Ticket(flight.clone()));
        }
        let inquiry = start()?;
        let (sender, receiver) = watch::channel(Landing::Flying);
        let (inners, landed) = (Arc::clone(&self.inner), key.clone());
        while inner.tasks.try_join_next().is_some() {}
        inner.tasks.spawn(async move {
            let landing = inquiry.await;
            lock(&inners).flying.remove(&landed);
            // Those who wait may all have gone.
            let _ = sender.send(landing);
        });
        inner.flying.insert(key.clone(), receiver.clone());
        Ok(Ticket(receiver))
    }

    /// Ends all that are on their way.
    pub(crate) async fn end(&self) {
        let mut tasks = std::mem::take(&mut lock(&self.inner).tasks);
        tasks.shutdown().await;
        lock(&self.inner).flying.clear();
    }
}

impl Ticket {
    /// What came of it, when it did.
    pub(crate) async fn landing(mut self) -> Landing {
        match self.0.wait_for(|landing| *landing != Landing::Flying).await {
            Ok(landing) => landing.clone(),
            // It was ended.
            Err(_closed) => Landing::Nothing,
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // Nothing inside a lock can panic half-way, so a poisoned table is still a right one.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn key(number: u8) -> CacheKey {
        let name = [number].into();
        CacheKey { name, record_type: 1, dnssec_ok: false, checking_disabled: false }
    }

    #[tokio::test]
    async fn what_is_on_its_way_is_asked_once_and_everybody_hears_it() {
        let flights = Flights::default();
        let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let message = Landing::Message([1, 2].into(), false);
        let join = |number| {
            let (asked, go, message) = (Arc::clone(&asked), Arc::clone(&go), message.clone());
            let started = flights.join::<_, Infallible>(&key(number), || {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(async move {
                    go.notified().await;
                    message
                })
            });
            started.unwrap()
        };
        let tickets = [join(1), join(1), join(1)];
        // Who goes away takes nothing from the others.
        let [first, second, third] = tickets;
        drop(first);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        go.notify_one();
        let heard = (second.landing().await, third.landing().await);
        assert_eq!(heard, (message.clone(), message.clone()));
        // It has landed: the next one is asked again.
        let again = join(1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        flights.end().await;
        assert_eq!(again.landing().await, Landing::Nothing);
        let refused = flights.join::<std::future::Ready<Landing>, _>(&key(2), || Err("full"));
        assert!(matches!(refused, Err("full")));
        assert!(lock(&flights.inner).flying.is_empty());
    }
}
