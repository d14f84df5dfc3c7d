//! The places for connections: how many there are, and who may take them.
//!
//! It promises that callers elsewhere never take the places that are kept for this host, nor one address
//! all that are left; and that `captive.listen` and the built-in portal, which any device may reach, take
//! none of the API's.

use super::ApiState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections to the API at once.
pub const CONNECTIONS_MAX: usize = 512;

/// Connections to the API at once from one address that is not this host's: one host that asks who it
/// is must not take all places.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;

/// Connections to the API that are kept for callers on this host: others together must not shut out the
/// operator.
pub const CONNECTIONS_KEPT_FOR_THIS_HOST: usize = 64;

/// Connections to `captive.listen` at once. Each takes one question and ends.
pub const CAPTIVE_CONNECTIONS_MAX: usize = 320;

/// The same from one device: it asks once, and perhaps again while the first connection ends.
pub const CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX: usize = 4;

/// Connections to the built-in portal at once. Each takes one request and ends.
pub const PORTAL_CONNECTIONS_MAX: usize = 1024;

/// The same from one device: browsers open some before they need them.
pub const PORTAL_CONNECTIONS_PER_ADDRESS_MAX: usize = 8;

/// What somebody connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// `api.listen`
    Api,
    /// `captive.listen`
    Captive,
    /// `portal.listen` and `portal.tls-listen`
    Portal,
}

/// How many connections an entrance has.
#[derive(Clone, Copy, Debug)]
struct Limits {
    all: usize,
    per_address: usize,
    kept_for_this_host: usize,
}

impl Entrance {
    const fn limits(self) -> Limits {
        match self {
            Self::Api => Limits {
                all: CONNECTIONS_MAX,
                per_address: CONNECTIONS_PER_ADDRESS_MAX,
                kept_for_this_host: CONNECTIONS_KEPT_FOR_THIS_HOST,
            },
            // Whoever asks from this host there is a proxy that asks for devices.
            Self::Captive => Limits {
                all: CAPTIVE_CONNECTIONS_MAX,
                per_address: CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX,
                kept_for_this_host: 0,
            },
            Self::Portal => Limits {
                all: PORTAL_CONNECTIONS_MAX,
                per_address: PORTAL_CONNECTIONS_PER_ADDRESS_MAX,
                kept_for_this_host: 0,
            },
        }
    }
}

/// The places of one entrance.
pub(super) struct Places {
    entrance: Entrance,
    state: ApiState,
    taken: Mutex<Taken>,
}

/// Which places are taken, and by whom.
#[derive(Debug)]
struct Taken {
    limits: Limits,
    count: usize,
    /// Those of callers that are counted by their address.
    count_of_others: usize,
    /// The same by address: as many in all as `count_of_others`.
    by_address: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    counted_under: Option<IpAddr>,
}

impl Places {
    /// Places that are all free.
    pub(super) fn new(entrance: Entrance, state: ApiState) -> Self {
        Self { entrance, state, taken: Mutex::new(Taken::new(entrance.limits())) }
    }

    /// Takes a place, if there is one: for a caller on this host or a trusted proxy (`None`), or for the
    /// caller at this address.
    pub(super) fn take(places: &Arc<Self>, counted_under: Option<IpAddr>) -> Option<Place> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.take(counted_under) {
            return None;
        }
        places.tell(taken.count);
        Some(Place { places: Arc::clone(places), counted_under })
    }

    fn tell(&self, count: usize) {
        match self.entrance {
            Entrance::Api => self.state.shared.metrics.api_connections(count),
            Entrance::Captive => self.state.shared.metrics.captive_connections(count),
            Entrance::Portal => self.state.shared.metrics.portal_connections(count),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.give_back(self.counted_under);
        self.places.tell(taken.count);
    }
}

impl Taken {
    fn new(limits: Limits) -> Self {
        Self { limits, count: 0, count_of_others: 0, by_address: HashMap::new() }
    }

    fn take(&mut self, elsewhere: Option<IpAddr>) -> bool {
        if self.count >= self.limits.all {
            return false;
        }
        if let Some(address) = elsewhere {
            let from_there = self.by_address.get(&address).copied().unwrap_or(0);
            if from_there >= self.limits.per_address
                || self.count_of_others >= self.limits.all - self.limits.kept_for_this_host
            {
                return false;
            }
            self.by_address.insert(address, from_there + 1);
            self.count_of_others += 1;
        }
        self.count += 1;
        true
    }

    fn give_back(&mut self, elsewhere: Option<IpAddr>) {
        self.count = self.count.saturating_sub(1);
        let Some(address) = elsewhere else { return };
        self.count_of_others = self.count_of_others.saturating_sub(1);
        match self.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 20, 0, last])
    }

    #[test]
    fn others_together_never_take_the_places_that_are_kept_for_this_host() {
        let mut taken = Taken::new(Entrance::Api.limits());
        let of_others = (0..=u8::MAX)
            .flat_map(|host| (0..=CONNECTIONS_PER_ADDRESS_MAX).map(move |_| address(host)))
            .filter(|host| taken.take(Some(*host)))
            .count();
        assert_eq!(of_others, CONNECTIONS_MAX - CONNECTIONS_KEPT_FOR_THIS_HOST);
        let of_this_host = (0..CONNECTIONS_MAX).filter(|_| taken.take(None)).count();
        assert_eq!(of_this_host, CONNECTIONS_KEPT_FOR_THIS_HOST);
        taken.give_back(None);
        assert!(!taken.take(Some(address(200))), "a place of this host is not for others");
        assert!(taken.take(None));
        taken.give_back(Some(address(0)));
        assert!(taken.take(Some(address(200))));
    }

    #[test]
    fn one_address_has_its_own_limit_and_leaves_nothing_behind() {
        let mut taken = Taken::new(Entrance::Api.limits());
        let count = (0..CONNECTIONS_MAX).filter(|_| taken.take(Some(address(1)))).count();
        assert_eq!(count, CONNECTIONS_PER_ADDRESS_MAX);
        assert!(taken.take(Some(address(2))));
        for _ in 0..count {
            taken.give_back(Some(address(1)));
        }
        taken.give_back(Some(address(2)));
        assert!(taken.by_address.is_empty(), "{taken:?}");
        assert_eq!((taken.count, taken.count_of_others), (0, 0));
    }

    #[test]
    fn devices_have_few_places_each_and_leave_none_to_keep() {
        let mut taken = Taken::new(Entrance::Captive.limits());
        let per_device = (0..9).filter(|_| taken.take(Some(address(1)))).count();
        assert_eq!(per_device, CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX);
        let proxy = (0..CONNECTIONS_MAX).filter(|_| taken.take(None)).count();
        assert_eq!(proxy, CAPTIVE_CONNECTIONS_MAX - CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX);
        let mut taken = Taken::new(Entrance::Portal.limits());
        let per_device = (0..99).filter(|_| taken.take(Some(address(1)))).count();
        assert_eq!(per_device, PORTAL_CONNECTIONS_PER_ADDRESS_MAX);
        let of_all = (0..=u8::MAX)
            .flat_map(|host| (0..99).map(move |_| address(host)))
            .filter(|host| taken.take(Some(*host)))
            .count();
        assert_eq!(of_all, PORTAL_CONNECTIONS_MAX - PORTAL_CONNECTIONS_PER_ADDRESS_MAX);
    }
}
