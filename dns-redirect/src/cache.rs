//! Answers of the upstream resolvers for the names that the garden spells out, the portal's first of all.
//!
//! When the power comes back, everybody asks for these at once, and none of them may find the look-up
//! slots taken. It promises that nothing is kept longer than its records allow, nor longer than
//! [`CACHE_SECONDS_MAX`]; that names which somebody can make up are not kept at all, so that nobody can
//! push others out; and that an answer out of it says how much time its records have left. It reads no
//! clock.

use crate::limits::{CACHE_ENTRIES_MAX, CACHE_MESSAGE_BYTES_MAX, CACHE_SECONDS_MAX};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What an answer is an answer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    /// The name, in lower case, as on the wire.
    pub(crate) name: Box<[u8]>,
    /// The record type, by its number: one of those that devices ask for.
    pub(crate) record_type: u16,
    /// Whether signatures were asked for.
    pub(crate) dnssec_ok: bool,
    /// Whether answers that do not pass validation were asked for.
    pub(crate) checking_disabled: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: Mutex<HashMap<CacheKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    message: Box<[u8]>,
    stored: Instant,
    until: Instant,
}

impl Cache {
    /// The upstream resolver's message, and for how many whole seconds it has been kept.
    pub(crate) fn get(&self, key: &CacheKey, now: Instant) -> Option<(Vec<u8>, u32)> {
        let entries = self.lock();
        let entry = entries.get(key).filter(|entry| now < entry.until)?;
        let age = now.duration_since(entry.stored).as_secs();
        Some((entry.message.to_vec(), u32::try_from(age).unwrap_or(u32::MAX)))
    }

    /// Keeps the upstream resolver's message, whose records may be kept for `seconds`.
    pub(crate) fn put(&self, key: CacheKey, message: &[u8], seconds: u32, now: Instant) {
        let seconds = seconds.min(CACHE_SECONDS_MAX);
        if seconds == 0 || message.len() > CACHE_MESSAGE_BYTES_MAX {
            return;
        }
        let mut entries = self.lock();
        if entries.len() >= CACHE_ENTRIES_MAX && !entries.contains_key(&key) {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= CACHE_ENTRIES_MAX {
                return;
            }
        }
        let until = now + Duration::from_secs(seconds.into());
        entries.insert(key, Entry { message: message.into(), stored: now, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Entry>> {
        // Nothing inside a lock can panic half-way, so a poisoned one is still right.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> CacheKey {
        let name = number.to_be_bytes().into();
        CacheKey { name, record_type: 1, dnssec_ok: false, checking_disabled: false }
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_may_be_and_no_longer() {
        let (cache, now) = (Cache::default(), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        cache.put(key(1), b"one", 5, now);
        assert_eq!(cache.get(&key(1), now), Some((b"one".to_vec(), 0)));
        assert_eq!(cache.get(&key(1), after(4_999)), Some((b"one".to_vec(), 4)));
        assert_eq!(cache.get(&key(1), after(5_000)), None);
        cache.put(key(2), b"two", u32::MAX, now);
        let limit = u64::from(CACHE_SECONDS_MAX) * 1000;
        assert!(cache.get(&key(2), after(limit - 1)).is_some());
        assert_eq!(cache.get(&key(2), after(limit)), None);
        cache.put(key(3), b"three", 0, now);
        cache.put(key(4), &vec![0; CACHE_MESSAGE_BYTES_MAX + 1], 5, now);
        assert_eq!((cache.get(&key(3), now), cache.get(&key(4), now)), (None, None));
        let other = CacheKey { dnssec_ok: true, ..key(1) };
        assert_eq!(cache.get(&other, now), None);
    }

    #[test]
    fn it_is_never_larger_than_its_limit_and_makes_room_for_the_new() {
        let (cache, now) = (Cache::default(), Instant::now());
        for number in 0..CACHE_ENTRIES_MAX {
            cache.put(key(number), b"old", 5, now);
        }
        cache.put(key(CACHE_ENTRIES_MAX), b"new", 5, now);
        assert_eq!(cache.get(&key(CACHE_ENTRIES_MAX), now), None, "full");
        cache.put(key(0), b"again", 5, now);
        assert_eq!(cache.get(&key(0), now), Some((b"again".to_vec(), 0)));
        let later = now + Duration::from_secs(6);
        cache.put(key(CACHE_ENTRIES_MAX), b"new", 5, later);
        assert!(cache.get(&key(CACHE_ENTRIES_MAX), later).is_some());
        assert_eq!(cache.lock().len(), 1);
    }
}
