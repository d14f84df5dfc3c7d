//! Events: what others are told once it is durable and in the kernel.
//!
//! Without [`Server::announcing`] none is made and nothing is counted. A pool is counted when so many of
//! its addresses have changed hands that it could have crossed a threshold, so that a packet does not pay
//! for the size of its network.

use super::book::Entry;
use super::topology::NetworkIndex;
use super::{Server, Step};
use crate::event::{EndCause, LimitReached, POOL_RECOVERY_PERCENT, PoolUsage};
use crate::{
    Announcements, Answer, Class, Effect, Event, Happening, HardwareAddress, Lease, Registration,
    RegistrationTarget, Timestamp, limits,
};
use std::net::Ipv4Addr;

/// Changes of a network's addresses after which its pools are counted again at the latest: offers take
/// addresses too, and are not counted as changes.
const CHANGES_UNCOUNTED_MAX: u64 = 256;

/// What is remembered for events.
#[derive(Debug)]
pub(super) struct Announcer {
    settings: Announcements,
    /// By network and class of hosts; last, pools for anybody.
    pools: Vec<[PoolWatch; 3]>,
    /// Registrations that end up to here were said to be expiring.
    expiring_told: (Timestamp, HardwareAddress),
}

#[derive(Clone, Debug, Default)]
struct PoolWatch {
    is_low: bool,
    /// Changes until it could be otherwise.
    changes_left: u64,
}

impl Server {
    /// The same server, which makes events from now on. `told_until`: the newest time of its earlier
    /// life; registrations that came near their end since then are said to be expiring with the first
    /// steps.
    #[must_use]
    pub fn announcing(mut self, settings: Announcements, told_until: Timestamp) -> Self {
        let ahead = u64::from(settings.expiring_ahead_seconds);
        let last = HardwareAddress::HIGHEST;
        self.announcer = Some(Announcer {
            settings,
            pools: vec![Default::default(); self.topology.configuration().networks.len()],
            expiring_told: (told_until.min(self.now).plus_seconds(ahead), last),
        });
        self
    }

    /// Counts all pools again, because they are others than before.
    pub(super) fn watch_pools_anew(&mut self) {
        let networks = self.topology.configuration().networks.len();
        if let Some(announcer) = &mut self.announcer {
            announcer.pools = vec![Default::default(); networks];
        }
    }

    /// Whether events are made.
    pub(super) const fn announces(&self) -> bool {
        self.announcer.is_some()
    }

    pub(super) fn announce(&self, what: impl FnOnce() -> Happening, step: &mut Step<'_>) {
        if self.announcer.is_some() {
            let event = Event { time: self.now, what: what() };
            step.effects.push(Effect::Event(Box::new(event)));
        }
    }

    /// The address that a device had last, before it gets a new one.
    pub(super) fn last_address(&self, hardware: HardwareAddress) -> Option<Ipv4Addr> {
        if self.announcer.is_none() || hardware.is_zero() {
            return None;
        }
        self.book.of_hardware(hardware).max_by_key(|entry| entry.changed()).map(Entry::address)
    }

    /// A client has got an address that it did not hold.
    pub(super) fn announce_lease(
        &mut self,
        lease: &Lease,
        network: NetworkIndex,
        last: Option<Ipv4Addr>,
        step: &mut Step<'_>,
    ) {
        if self.announcer.is_none() {
            return;
        }
        let name = || self.topology.network(network).name.clone();
        if let Some(previous) = last.filter(|previous| *previous != lease.address) {
            let changed = || Happening::AddressChanged {
                lease: lease.clone(),
                network: name(),
                registration: self.registrations.valid(lease.hardware, self.now).cloned(),
                previous,
            };
            self.announce(changed, step);
        }
        let is_gated = self.topology.network(network).gated;
        if is_gated && self.class_of(lease.hardware) == Class::Unregistered {
            let seen = || Happening::UnregisteredSeen { lease: lease.clone(), network: name() };
            self.announce(seen, step);
        }
        self.pool_changed(lease.address.into(), step);
    }

    /// A device's registration is another one than before, or new.
    pub(super) fn announce_registration(
        &self,
        registration: Registration,
        old: Option<&Registration>,
        step: &mut Step<'_>,
    ) {
        let is_suspended = registration.suspended.is_some();
        let was_suspended = old.is_some_and(|old| old.suspended.is_some());
        if old == Some(&registration) {
            return;
        }
        let is_new = old.is_none();
        let what = || {
            let addresses = self.gated_addresses(registration.hardware);
            match (is_new, was_suspended, is_suspended) {
                (true, ..) => Happening::Registered { registration, addresses },
                (false, false, true) => Happening::Suspended { registration, addresses },
                (false, true, false) => Happening::Resumed { registration, addresses },
                _ => Happening::RegistrationChanged { registration, addresses },
            }
        };
        self.announce(what, step);
    }

    /// A registration was refused: said to others if it was because of a limit.
    pub(super) fn announce_limit(
        &self,
        refusal: &Answer,
        target: RegistrationTarget,
        owner: Option<Box<str>>,
        step: &mut Step<'_>,
    ) {
        let limit = match refusal {
            Answer::RegistrationsFull => LimitReached::Registrations,
            Answer::DeviceLimitReached { limit, .. } => LimitReached::Devices(*limit),
            _ => return,
        };
        if let Ok(hardware) = self.device_of(target) {
            self.announce(|| Happening::LimitReached { limit, hardware, owner }, step);
        }
    }

    /// A registration has ended: by itself if there is no `cause`.
    pub(super) fn announce_end(
        &self,
        registration: Registration,
        cause: Option<EndCause>,
        step: &mut Step<'_>,
    ) {
        let what = || {
            let addresses = self.gated_addresses(registration.hardware);
            match cause {
                Some(cause) => Happening::Unregistered { registration, addresses, cause },
                None => Happening::Expired { registration, addresses },
            }
        };
        self.announce(what, step);
    }

    /// Says of registrations that they are expiring.
    pub(super) fn announce_expiring(&mut self, step: &mut Step<'_>) {
        let Some(announcer) = &mut self.announcer else { return };
        let ahead = u64::from(announcer.settings.expiring_ahead_seconds);
        let horizon = self.now.plus_seconds(ahead);
        let due: Vec<(Timestamp, HardwareAddress)> = self
            .registrations
            .ends_after(announcer.expiring_told)
            .take_while(|(end, _)| *end <= horizon)
            .take(limits::ENDINGS_PER_STEP_MAX)
            .collect();
        let is_all = due.len() < limits::ENDINGS_PER_STEP_MAX;
        let all_told = (horizon, HardwareAddress::HIGHEST);
        announcer.expiring_told = match due.last() {
            // Whoever is registered later for less than the time ahead is not expiring from the start.
            _ if is_all => all_told.max(announcer.expiring_told),
            Some(last) => *last,
            None => announcer.expiring_told,
        };
        for (_, hardware) in due {
            if let Some(registration) = self.registrations.valid(hardware, self.now) {
                let registration = registration.clone();
                self.announce(|| Happening::Expiring { registration }, step);
            }
        }
    }

    /// When the next registration comes near its end.
    pub(super) fn next_expiring(&self) -> Option<Timestamp> {
        let announcer = self.announcer.as_ref()?;
        let told = announcer.expiring_told;
        let (end, _) = self.registrations.ends_after(told).next()?;
        let ahead = u64::from(announcer.settings.expiring_ahead_seconds) * 1000;
        Some(Timestamp::from_milliseconds(end.milliseconds().saturating_sub(ahead)))
    }

    /// An address was given or came back.
    pub(super) fn pool_changed(&mut self, address: u32, step: &mut Step<'_>) {
        let Some(announcer) = &mut self.announcer else { return };
        let Some(network) = self.topology.network_of(address.into()) else { return };
        let class = self.topology.class_of_address(address);
        let place = match class {
            Some(Class::Registered) => 0,
            Some(Class::Unregistered) => 1,
            None => 2,
        };
        let watches = announcer.pools.get_mut(network.0);
        let Some(watch) = watches.and_then(|watches| watches.get_mut(place)) else { return };
        if watch.changes_left > 0 {
            watch.changes_left -= 1;
            return;
        }
        let (pool_size, free) = self.count_free(network, class);
        if pool_size == 0 {
            return;
        }
        let Some(announcer) = &mut self.announcer else { return };
        let Some(watch) =
            announcer.pools.get_mut(network.0).and_then(|watches| watches.get_mut(place))
        else {
            return;
        };
        let part = |percent: u8| pool_size.saturating_mul(percent.min(100).into()) / 100;
        let low = part(announcer.settings.pool_low_percent);
        let recovered = part(announcer.settings.pool_low_percent + POOL_RECOVERY_PERCENT);
        let recovered = recovered.max(low + 1).min(pool_size);
        let was_low = watch.is_low;
        watch.is_low = if was_low { free < recovered } else { free <= low };
        let distance = if watch.is_low { recovered.saturating_sub(free) } else { free - low };
        watch.changes_left = distance.saturating_sub(1).min(CHANGES_UNCOUNTED_MAX);
        let (is_low, network) = (watch.is_low, self.topology.network(network).name.clone());
        let usage = PoolUsage { network, class, pool_size, free };
        match (was_low, is_low) {
            (false, true) => self.announce(|| Happening::PoolLow(usage), step),
            (true, false) => self.announce(|| Happening::PoolRecovered(usage), step),
            (false, false) | (true, true) => {}
        }
    }
}
