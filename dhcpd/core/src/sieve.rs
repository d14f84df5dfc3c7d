//! Which part of the DISCOVERs is not even read when far more come in than can be served.
//!
//! To read a packet only to shed it costs a tenth of what serving a client costs: with five times the
//! load the server would spend a third of its time on that. So while DISCOVERs wait in the
//! [`Admission`](crate::Admission), the kernel throws a part of them away in front of the sockets, and
//! this is where the part is decided, by relay. The rules (P5):
//!
//! - only DISCOVERs, and only those of relays, once [`DISCOVERS_WAITING_BEFORE_SIEVED`] of them wait; from then on
//!   as many come through as are decided, so that about [`DISCOVERS_WAITING_WANTED`] wait: the admission goes on to
//!   choose by its rules, and what waits there is fresh;
//! - every relay may bring in as many as every other: one that sends less loses none, however much the
//!   others send;
//! - no relay is shut out: of every [`PART_LEAST`] of its DISCOVERs one comes through, by which it is known when the
//!   storm is over;
//! - what was thrown away is counted (P6): how many, the kernel says; of which relays, follows from what came
//!   through of each and from the part that was let through.
//!
//! Pure: it reads no clock and draws nothing at random; the kernel draws, by the parts in the [`Mesh`].

use crate::Timestamp;
use crate::limits::{DISCOVERS_WAITING_BEFORE_SIEVED, DISCOVERS_WAITING_WANTED, RELAYS_SIEVED_MAX};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Milliseconds between two decisions.
pub const LOOK_MILLISECONDS: u64 = 20;

/// After so many milliseconds without a look, what was counted says nothing of what comes now.
const STALE_MILLISECONDS: u64 = 5 * LOOK_MILLISECONDS;

/// Of so many DISCOVERs of a relay, one comes through at least.
pub const PART_LEAST: u32 = 1024;

/// What part of something comes through: of 2³² random numbers, those below this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(u32);

impl Part {
    /// Everything.
    pub const ALL: Self = Self(u32::MAX);

    /// `through` of `all`, but not less than one of [`PART_LEAST`].
    #[must_use]
    pub fn of(through: u64, all: u64) -> Self {
        if through >= all {
            return Self::ALL;
        }
        let part = (u128::from(through) << 32) / u128::from(all.max(1));
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        Self(part.clamp(u32::MAX / PART_LEAST, u32::MAX - 1))
    }

    /// The number below which a random one of 32 bits lets a packet through; of [`ALL`](Self::ALL), the
    /// greatest, and nothing is drawn.
    #[must_use]
    pub const fn threshold(self) -> u32 {
        self.0
    }

    /// How many there were, if this part of them is `through`.
    fn whole(self, through: u64) -> u64 {
        match self {
            Self::ALL => through,
            Self(part) => {
                let whole = (u128::from(through) << 32) / u128::from(part.max(1));
                u64::try_from(whole).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What the kernel lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// By relay, who sends most first; [`RELAYS_SIEVED_MAX`] at most. Relays that lose nothing are not here, unless
    /// the others are less than all.
    pub relays: Vec<(Ipv4Addr, Part)>,
    /// Of everybody else.
    pub others: Part,
}

impl Mesh {
    /// Everything comes through.
    pub const OPEN: Self = Self { relays: Vec::new(), others: Part::ALL };

    /// Whether everything comes through.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.relays.is_empty() && self.others.0 == Part::ALL.0
    }

    fn part(&self, relay: Ipv4Addr) -> Part {
        let found = self.relays.iter().find(|(listed, _)| *listed == relay);
        found.map_or(self.others, |(_, part)| *part)
    }
}

/// What [`Sieve::look`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// How many were thrown away since the last look, by relay; `None` stands for those that are not told
    /// apart. The sum is what the kernel said.
    pub unread: Vec<(Option<Ipv4Addr>, u64)>,
    /// Whether the [`mesh`](Sieve::mesh) is another one now.
    pub is_changed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Sieve {
    mesh: Mesh,
    looked: Timestamp,
    /// DISCOVERs decided since the last look, and between two looks, averaged as the demand is.
    decided: u64,
    pace: u64,
    /// DISCOVERs read since the last look, by relay, and of those that found no place.
    read: BTreeMap<Ipv4Addr, u64>,
    read_of_others: u64,
    /// DISCOVERs that come between two looks, by relay: half what it was before, half the last.
    demand: BTreeMap<Ipv4Addr, u64>,
    demand_of_others: u64,
}

impl Default for Sieve {
    fn default() -> Self {
        Self::new()
    }
}

impl Sieve {
    /// Open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            mesh: Mesh::OPEN,
            looked: Timestamp::from_seconds(0),
            decided: 0,
            pace: 0,
            read: BTreeMap::new(),
            read_of_others: 0,
            demand: BTreeMap::new(),
            demand_of_others: 0,
        }
    }

    /// What the kernel is to let through now.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// A DISCOVER of this relay was read, while the admission is in use or the sieve is not open.
    pub fn read(&mut self, relay: Ipv4Addr) {
        let has_place = self.read.len() < RELAYS_SIEVED_MAX || self.read.contains_key(&relay);
        if has_place {
            *self.read.entry(relay).or_default() += 1;
        } else {
            self.read_of_others += 1;
        }
    }

    /// A DISCOVER of a relay was decided, whatever came of it.
    pub const fn decided(&mut self) {
        self.decided += 1;
    }

    /// Whether it is time to [`look`](Self::look).
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now.milliseconds_after(self.looked) >= LOOK_MILLISECONDS
    }

    /// Decides what comes through until the next look. `waiting` DISCOVERs of relays wait in the admission,
    /// and the kernel has thrown `unread` away since the last look.
    pub fn look(&mut self, now: Timestamp, waiting: usize, unread: u64) -> Look {
        let is_stale = now.milliseconds_after(self.looked) >= STALE_MILLISECONDS;
        self.looked = now;
        let unread_by_relay = self.attribute(unread);
        self.learn(&unread_by_relay);
        let is_just_begun = is_stale && self.mesh.is_open();
        let mesh = if is_just_begun { Mesh::OPEN } else { self.decide(waiting as u64) };
        self.read_of_others = 0;
        // Who is told apart keeps its place while it is told apart.
        self.read = mesh.relays.iter().map(|(relay, _)| (*relay, 0)).collect();
        if mesh.is_open() {
            self.demand.clear();
            self.demand_of_others = 0;
        }
        let is_changed = mesh != self.mesh;
        self.mesh = mesh;
        Look { unread: unread_by_relay, is_changed }
    }

    /// Whose the thrown away ones were: in proportion to what must have been thrown away of each, for
    /// what came through of it to come through.
    fn attribute(&self, unread: u64) -> Vec<(Option<Ipv4Addr>, u64)> {
        if unread == 0 {
            return Vec::new();
        }
        let missing = |part: Part, read: u64| part.whole(read) - read;
        let mut weights: Vec<(Option<Ipv4Addr>, u64)> = self
            .read
            .iter()
            .map(|(relay, read)| (Some(*relay), missing(self.mesh.part(*relay), *read)))
            .chain([(None, missing(self.mesh.others, self.read_of_others))])
            .filter(|(_, weight)| *weight > 0)
            .collect();
        let all: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let mut left = unread;
        for (_, weight) in &mut weights {
            // Not more than `unread`, because no weight is more than all.
            let share = u128::from(unread) * u128::from(*weight) / all.max(1);
            *weight = u64::try_from(share).unwrap_or(left).min(left);
            left -= *weight;
        }
        match weights.iter_mut().max_by_key(|(_, count)| *count) {
            Some((_, count)) => *count += left,
            None => weights.push((None, left)),
        }
        weights.retain(|(_, count)| *count > 0);
        weights
    }

    fn learn(&mut self, unread: &[(Option<Ipv4Addr>, u64)]) {
        let decided = std::mem::take(&mut self.decided);
        self.pace = if self.mesh.is_open() { decided } else { self.pace.midpoint(decided) };
        let mut came = std::mem::take(&mut self.read);
        let mut of_others = self.read_of_others;
        for (relay, count) in unread {
            match relay {
                Some(relay) => *came.entry(*relay).or_default() += count,
                None => of_others += count,
            }
        }
        let is_first = self.demand.is_empty() && self.demand_of_others == 0;
        let smooth = |before: u64, now: u64| if is_first { now } else { before.midpoint(now) };
        let mut demand = std::mem::take(&mut self.demand);
        for (relay, before) in &mut demand {
            *before = smooth(*before, came.remove(relay).unwrap_or(0));
        }
        for (relay, now) in came {
            demand.insert(relay, smooth(0, now));
        }
        demand.retain(|_, count| *count > 0);
        while demand.len() > RELAYS_SIEVED_MAX {
            let least = demand.iter().min_by_key(|(_, count)| **count).map(|(relay, _)| *relay);
            let count = least.and_then(|relay| demand.remove(&relay)).unwrap_or(0);
            of_others += count;
        }
        self.demand = demand;
        self.demand_of_others = smooth(self.demand_of_others, of_others);
    }

    fn decide(&self, waiting: u64) -> Mesh {
        if self.mesh.is_open() && waiting <= DISCOVERS_WAITING_BEFORE_SIEVED {
            return Mesh::OPEN;
        }
        // As many as are decided, and half of what is missing to those that are to wait; if too many wait, at most
        // a quarter less, so that relays that send little lose nothing meanwhile.
        let capacity = if waiting <= DISCOVERS_WAITING_WANTED {
            self.pace + (DISCOVERS_WAITING_WANTED - waiting).div_ceil(2)
        } else {
            let too_many = waiting - DISCOVERS_WAITING_WANTED;
            self.pace - (too_many / 2).min(self.pace / 4)
        };
        let listed: u64 = self.demand.values().sum();
        let all = listed + self.demand_of_others;
        if all <= capacity {
            return Mesh::OPEN;
        }
        // Those who are not told apart are taken as one, that sends its part of everything.
        let others = Part::of(capacity, all);
        let others = if self.demand_of_others == 0 { Part::ALL } else { others };
        let for_listed = u128::from(capacity) * u128::from(listed) / u128::from(all.max(1));
        let level = self.level(u64::try_from(for_listed).unwrap_or(capacity));
        let mut demand: Vec<(u64, Ipv4Addr)> =
            self.demand.iter().map(|(relay, count)| (*count, *relay)).collect();
        demand.sort_unstable_by(|one, other| other.cmp(one));
        let relays = demand
            .into_iter()
            .filter(|(count, _)| fine(*count) > level || others != Part::ALL)
            .map(|(count, relay)| (relay, Part::of(level, fine(count))))
            .collect();
        Mesh { relays, others }
    }

    /// What every relay may bring in so that together they bring in `capacity`: who sends less leaves the
    /// rest to the others. In [`fine`] parts of a packet.
    fn level(&self, capacity: u64) -> u64 {
        let mut demands: Vec<u64> = self.demand.values().copied().collect();
        demands.sort_unstable();
        let mut left = fine(capacity);
        let mut relays = demands.len() as u64;
        for demand in demands.into_iter().map(fine) {
            if demand.saturating_mul(relays) > left {
                return left / relays;
            }
            left -= demand;
            relays -= 1;
        }
        u64::MAX
    }
}

/// So many packets, in parts of 65,536: between two looks a relay's share may be less than one packet.
const fn fine(packets: u64) -> u64 {
    packets.saturating_mul(1 << 16)
}

#[cfg(test)]
mod tests;
