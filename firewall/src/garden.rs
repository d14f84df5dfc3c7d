//! What names in the walled garden lead to: addresses that a resolver has just given to hosts.
//!
//! [`Garden`] puts them into a set of the gate's table, each for as long as hosts may use the answer. It
//! promises that the set never holds more than [`GARDEN_ADDRESSES_MAX`] addresses, none of them for
//! longer than [`GARDEN_SECONDS_MAX`] after it was last asked for, and none that a stranger's answer must
//! not open: only addresses of the public Internet, and no gated ones. Whoever calls it is believed in
//! nothing else. It never asks a resolver itself.
//!
//! What was learnt is kept here too, so that a [`Gate`](crate::Gate) that makes the table anew puts it
//! back in the same transaction.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::channel::{Abilities, Channel, SetChanges};
use crate::sets::SetName;
use crate::{FirewallError, Ruleset};
use ipnetwork::Ipv4Network;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that names in the garden may lead to at once.
pub const GARDEN_ADDRESSES_MAX: u32 = 4096;
/// Seconds that an address stays at least: a login has several pages, and names with many addresses
/// live a few seconds only.
pub const GARDEN_SECONDS_MIN: u32 = 600;
/// Seconds that an address stays at most after it was last asked for.
pub const GARDEN_SECONDS_MAX: u32 = 3660;

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GardenVerdict {
    /// The kernel lets hosts reach it for the time that was asked for.
    Open,
    /// It is none that a name may open: private, reserved, multicast, or in a gated network.
    Refused,
    /// There is no room: [`GARDEN_ADDRESSES_MAX`].
    Full,
}

/// The addresses, each with its end.
#[derive(Debug, Default)]
pub(crate) struct Learnt(BTreeMap<Ipv4Addr, Instant>);

/// A way to open the gate for addresses of the garden. See the module.
pub struct Garden {
    ruleset: Ruleset,
    channel: Channel,
    learnt: Arc<Mutex<Learnt>>,
}

impl Garden {
    pub(crate) fn open(
        ruleset: &Ruleset,
        abilities: Abilities,
        learnt: Arc<Mutex<Learnt>>,
    ) -> Result<Self, FirewallError> {
        let mut channel = Channel::open(ruleset, GARDEN_ADDRESSES_MAX)?;
        channel.abilities = abilities;
        Ok(Self { ruleset: ruleset.clone(), channel, learnt })
    }

    /// Has unregistered hosts reach these addresses for so many seconds; fewer than
    /// [`GARDEN_SECONDS_MIN`] are as many, and more than [`GARDEN_SECONDS_MAX`] too. The verdicts are in
    /// the order of the addresses. Those that are open are in the kernel when this returns.
    ///
    /// # Errors
    /// [`FirewallError`]; then none is.
    pub fn permit(
        &mut self,
        addresses: &[(Ipv4Addr, u32)],
    ) -> Result<Vec<GardenVerdict>, FirewallError> {
        let now = Instant::now();
        // Held over the transaction: whoever makes the table anew meanwhile finds all or nothing of it.
        let mut learnt = lock(&self.learnt);
        learnt.0.retain(|_, until| *until > now);
        let before = learnt.0.clone();
        let mut put = SetChanges::default();
        let mut verdicts = Vec::with_capacity(addresses.len());
        for &(address, seconds) in addresses {
            if self.ruleset.garden_has(address) {
                verdicts.push(GardenVerdict::Open);
                continue;
            }
            if is_refused(&self.ruleset, address) {
                verdicts.push(GardenVerdict::Refused);
                continue;
            }
            let seconds = seconds.clamp(GARDEN_SECONDS_MIN, GARDEN_SECONDS_MAX);
            let until = now + Duration::from_secs(seconds.into());
            let count = learnt.0.len();
            match learnt.0.get_mut(&address) {
                Some(known) => *known = until.max(*known),
                None if count >= usize::try_from(GARDEN_ADDRESSES_MAX).unwrap_or(usize::MAX) => {
                    verdicts.push(GardenVerdict::Full);
                    continue;
                }
                None => {
                    learnt.0.insert(address, until);
                }
            }
            let until = learnt.0.get(&address).copied().unwrap_or(until);
            put.put.retain(|(other, _)| *other != address);
            put.put.push((address, milliseconds(until, now)));
            verdicts.push(GardenVerdict::Open);
        }
        if put.put.is_empty() {
            return Ok(verdicts);
        }
        self.channel.begin(2 * put.put.len());
        self.channel.change(SetName::GardenNames, &put);
        let committed = self.channel.commit();
        if committed.is_err() {
            learnt.0 = before;
        }
        committed.map(|()| verdicts)
    }

    /// How many addresses it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        let now = Instant::now();
        lock(&self.learnt).0.values().filter(|until| **until > now).count()
    }

    pub(crate) fn port_id(&self) -> u32 {
        self.channel.socket.port_id()
    }
}

impl std::fmt::Debug for Garden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Garden").field("learnt", &self.learnt).finish_non_exhaustive()
    }
}

/// What is to be in the set: addresses and the milliseconds left to them.
pub(crate) fn elements(learnt: &Mutex<Learnt>, now: Instant) -> Vec<(Ipv4Addr, u64)> {
    let learnt = lock(learnt);
    let live = learnt.0.iter().filter(|(_, until)| **until > now);
    live.map(|(&address, &until)| (address, milliseconds(until, now))).collect()
}

/// Learns what a former daemon's set holds: what could be learnt now, and no more.
pub(crate) fn take_over(
    learnt: &Mutex<Learnt>,
    ruleset: &Ruleset,
    found: &[(Ipv4Addr, u64)],
    now: Instant,
) {
    let room = usize::try_from(GARDEN_ADDRESSES_MAX).unwrap_or(usize::MAX);
    let longest = u64::from(GARDEN_SECONDS_MAX) * 1000;
    let good = found
        .iter()
        .filter(|(address, life)| *life <= longest && !is_refused(ruleset, *address))
        .take(room);
    lock(learnt).0 =
        good.map(|&(address, life)| (address, now + Duration::from_millis(life))).collect();
}

fn milliseconds(until: Instant, now: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX)
}

fn lock(learnt: &Mutex<Learnt>) -> MutexGuard<'_, Learnt> {
    // Nothing inside a lock can panic half-way, so a poisoned map is still a right one.
    learnt.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses that no name opens: whoever rules over a name would choose hosts of the campus that trust
/// their neighbours (DNS rebinding). RFC 6890 and its registry; those for documentation, which nobody
/// has, are left out. A site that means such an address writes its prefix into the walled garden.
const REFUSED: [(Ipv4Addr, u8); 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

fn is_refused(ruleset: &Ruleset, address: Ipv4Addr) -> bool {
    let reserved =
        REFUSED.iter().filter_map(|(first, length)| Ipv4Network::new(*first, *length).ok());
    let own = ruleset
        .server_addresses
        .iter()
        .copied()
        .chain([*ruleset.lying_resolver.ip(), *ruleset.redirect.ip()]);
    reserved.chain(ruleset.gated_prefixes.iter().copied()).any(|prefix| prefix.contains(address))
        || own.chain(ruleset.captive.map(|captive| *captive.ip())).any(|one| one == address)
}
