//! Answers of the upstream resolvers.
//!
//! When the power comes back, everybody asks for the same few names at once, and none of them may find the
//! look-up slots taken. It promises that nothing counts as fresh longer than its records allow, nor longer
//! than [`CACHE_SECONDS_MAX`]; that what is older is given only to who asks for it, and for
//! [`STALE_SECONDS_MAX`] at most; that names which nobody asks for twice, such as made-up ones, make room
//! first; and that an answer out of it says how much time its records have left. It reads no clock.
//!
//! There are two of them: names that only a wildcard lets pass never push out one that the garden spells
//! out.

use crate::limits::{
    CACHE_ENTRIES_MAX, CACHE_MESSAGE_BYTES_MAX, CACHE_SECONDS_MAX, CACHE_SWEEP_INTERVAL,
    STALE_SECONDS_MAX,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What an answer is an answer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    /// The name, in lower case, as on the wire.
    pub(crate) name: Box<[u8]>,
    /// The record type, by its number.
    pub(crate) record_type: u16,
    /// Whether signatures were asked for.
    pub(crate) dnssec_ok: bool,
    /// Whether answers that do not pass validation were asked for.
    pub(crate) checking_disabled: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<CacheKey, Entry>,
    /// When room was last made.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<[u8]>,
    stored: Instant,
    until: Instant,
    /// Somebody asked for it again.
    wanted: bool,
}

/// A message that is fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// As the resolver sent it.
    pub(crate) message: Arc<[u8]>,
    /// Whole seconds since then.
    pub(crate) age_seconds: u32,
}

impl Cache {
    /// What is fresh.
    pub(crate) fn get(&self, key: &CacheKey, now: Instant) -> Option<Kept> {
        let mut inner = self.lock();
        let entry = inner.entries.get_mut(key).filter(|entry| now < entry.until)?;
        entry.wanted = true;
        let age = now.duration_since(entry.stored).as_secs();
        let age_seconds = u32::try_from(age).unwrap_or(u32::MAX);
        Some(Kept { message: Arc::clone(&entry.message), age_seconds })
    }

    /// What is old, for who has no better.
    pub(crate) fn get_stale(&self, key: &CacheKey, now: Instant) -> Option<Arc<[u8]>> {
        let inner = self.lock();
        let entry = inner.entries.get(key).filter(|entry| now < entry.stale_until())?;
        Some(Arc::clone(&entry.message))
    }

    /// Keeps the upstream resolver's message, whose records may be kept for `seconds`.
    pub(crate) fn put(&self, key: CacheKey, message: &Arc<[u8]>, seconds: u32, now: Instant) {
        let seconds = seconds.min(CACHE_SECONDS_MAX);
        if seconds == 0 || message.len() > CACHE_MESSAGE_BYTES_MAX {
            return;
        }
        let mut inner = self.lock();
        if inner.entries.len() >= CACHE_ENTRIES_MAX
            && !inner.entries.contains_key(&key)
            && !inner.make_room(now)
        {
            return;
        }
        let until = now + Duration::from_secs(seconds.into());
        let entry = Entry { message: Arc::clone(message), stored: now, until, wanted: false };
        inner.entries.insert(key, entry);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside a lock can panic half-way, so a poisoned one is still right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops what is old, else what nobody wanted twice. Whether there is room then.
    fn make_room(&mut self, now: Instant) -> bool {
        // A walk over all of it is not to be had for each made-up name.
        if self.swept.is_some_and(|swept| now < swept + CACHE_SWEEP_INTERVAL) {
            return false;
        }
        self.swept = Some(now);
        self.entries.retain(|_, entry| now < entry.until);
        if self.entries.len() >= CACHE_ENTRIES_MAX {
            self.entries.retain(|_, entry| entry.wanted);
        }
        if self.entries.len() >= CACHE_ENTRIES_MAX {
            // Wanted, but before the next walk nobody may have asked again.
            self.entries.values_mut().for_each(|entry| entry.wanted = false);
        }
        self.entries.len() < CACHE_ENTRIES_MAX
    }
}

impl Entry {
    fn stale_until(&self) -> Instant {
        self.until + Duration::from_secs(STALE_SECONDS_MAX.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> CacheKey {
        let name = number.to_be_bytes().into();
        CacheKey { name, record_type: 1, dnssec_ok: false, checking_disabled: false }
    }

    fn message(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn kept(text: &str, age_seconds: u32) -> Option<Kept> {
        Some(Kept { message: message(text), age_seconds })
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_may_be_and_no_longer() {
        let (cache, now) = (Cache::default(), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        cache.put(key(1), &message("one"), 5, now);
        assert_eq!(cache.get(&key(1), now), kept("one", 0));
        assert_eq!(cache.get(&key(1), after(4_999)), kept("one", 4));
        assert_eq!(cache.get(&key(1), after(5_000)), None);
        cache.put(key(2), &message("two"), u32::MAX, now);
        let limit = u64::from(CACHE_SECONDS_MAX) * 1000;
        assert!(cache.get(&key(2), after(limit - 1)).is_some());
        assert_eq!(cache.get(&key(2), after(limit)), None);
        cache.put(key(3), &message("three"), 0, now);
        cache.put(key(4), &vec![0; CACHE_MESSAGE_BYTES_MAX + 1].into(), 5, now);
        assert_eq!((cache.get(&key(3), now), cache.get(&key(4), now)), (None, None));
        let other = CacheKey { dnssec_ok: true, ..key(1) };
        assert_eq!(cache.get(&other, now), None);
    }

    #[test]
    fn what_is_old_is_there_for_who_has_no_better_and_not_for_ever() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.put(key(1), &message("one"), 5, now);
        let end = now + Duration::from_secs(5 + u64::from(STALE_SECONDS_MAX));
        assert_eq!(cache.get_stale(&key(1), end - Duration::from_millis(1)), Some(message("one")));
        assert_eq!(cache.get_stale(&key(1), end), None);
        assert_eq!(cache.get_stale(&key(2), now), None);
    }

    #[test]
    fn it_is_never_larger_than_its_limit_and_what_was_asked_for_once_makes_room() {
        let (cache, now) = (Cache::default(), Instant::now());
        for number in 0..CACHE_ENTRIES_MAX {
            cache.put(key(number), &message("old"), 5, now);
        }
        assert!(cache.get(&key(7), now).is_some());
        // One walk finds those that nobody wanted twice.
        cache.put(key(CACHE_ENTRIES_MAX), &message("new"), 5, now);
        assert_eq!(cache.lock().entries.len(), 2);
        assert_eq!(cache.get(&key(7), now), kept("old", 0));
        // Everything is wanted: no room, and no walk for each that comes.
        let later = now + CACHE_SWEEP_INTERVAL;
        for number in 0..CACHE_ENTRIES_MAX {
            cache.put(key(number), &message("old"), 5, later);
            assert!(cache.get(&key(number), later).is_some());
        }
        for number in CACHE_ENTRIES_MAX + 1..CACHE_ENTRIES_MAX + 9 {
            cache.put(key(number), &message("new"), 5, later);
            assert_eq!(cache.get(&key(number), later), None, "full");
        }
        assert_eq!(cache.lock().entries.len(), CACHE_ENTRIES_MAX);
        cache.put(key(0), &message("again"), 5, later);
        assert_eq!(cache.get(&key(0), later), kept("again", 0));
        // What is over goes first.
        let over = later + Duration::from_secs(6);
        cache.put(key(CACHE_ENTRIES_MAX + 1), &message("new"), 5, over);
        assert!(cache.get(&key(CACHE_ENTRIES_MAX + 1), over).is_some());
        assert_eq!(cache.lock().entries.len(), 1);
    }
}
