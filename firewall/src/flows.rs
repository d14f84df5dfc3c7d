//! Deletes what connection tracking remembers of an address that has lost its holder.
//!
//! Verdicts come from the sets, so of an address that is in no set no packet passes, whatever is tracked. But
//! the next holder would inherit: packets of the former one's flows belong to an established connection for
//! the site's other rules, and an address translation lasts as long as packets come. So it promises that
//! **an address enters a set for another holder only when nothing of the former one is tracked**, neither
//! what it began nor what it answered. A host that is registered, or not any more, needs no deletion: what
//! is translated stands in a zone of its own ([`Ruleset`](crate::Ruleset)).
//!
//! Walking the kernel's table costs up to a second, and nobody waits for it: a thread of its own deletes the
//! flows of all who left since the last time in one walk, whether they were taken out or their time was
//! up, and rests between two walks ([`REST`]). Only an address that gets another holder before its turn has come
//! is waited for. A crash in between is made good by the next start, which deletes the flows of all gated
//! addresses that are in no set.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::tenure::{Second, Tenures};
use crate::tracking::{self, FILTERED_AT_ONCE_MAX, FlowName, Hosts};
use crate::{FirewallError, Ruleset};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The thread rests so many times as long as its last walk took: it takes a tenth of a processor at most.
const REST: u32 = 9;
/// The shortest rest.
const REST_MIN: Duration = Duration::from_secs(1);
/// Flows that are deleted by name in one go, while a change of the sets waits: a tenth of a millisecond.
const NAMED_AT_ONCE_MAX: usize = 64;

/// Whose flows there can be, and how they are deleted on this kernel.
#[derive(Debug)]
pub(crate) struct Flows {
    shared: Arc<Shared>,
    filters: bool,
    costs: Costs,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    opened: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tenures: Tenures,
    is_over: bool,
}

/// What the two ways of deleting cost lately.
///
/// Only the way that was taken is measured; the other is believed a little cheaper each time, so that one
/// slow turn, or a table that has become another one since, is not held against it for ever.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    /// Of one address, by filter.
    filtered: Duration,
    /// Of one reading of the table.
    read: Duration,
}

impl Costs {
    /// The part of a way's cost that is taken off each time that the other one is taken.
    const DOUBT: u32 = 16;

    fn filter_is_cheaper(&self, addresses: usize) -> bool {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        self.filtered.saturating_mul(addresses) <= self.read
    }

    fn filtered(&mut self, addresses: usize, took: Duration) {
        self.filtered = took / u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    }

    /// Everything was deleted by filter.
    fn doubt_read(&mut self) {
        self.read -= self.read / Self::DOUBT;
    }

    fn read(&mut self, took: Duration) {
        self.read = took;
        self.filtered -= self.filtered / Self::DOUBT;
    }
}

impl Flows {
    pub(crate) fn new() -> Self {
        let shared =
            Shared { opened: Instant::now(), state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), filters: false, costs: Costs::default(), thread: None }
    }

    /// Tries out whether the kernel deletes by filter.
    pub(crate) fn probe(&mut self, socket: &mut Socket) -> Result<(), FirewallError> {
        if tracking::is_tracking() {
            let began = Instant::now();
            self.filters =
                tracking::has_filters(socket).map_err(|source| FirewallError::Flows { source })?;
            self.costs.filtered = began.elapsed();
        }
        Ok(())
    }

    /// Starts the thread that deletes the flows of who has left. Its socket is of the network namespace
    /// of the caller.
    pub(crate) fn start(&mut self) -> Result<(), FirewallError> {
        let failed = |operation| move |source| FirewallError::Netlink { operation, source };
        let socket = Socket::open(0).map_err(failed("opening a socket"))?;
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("gate-flows".into())
            .spawn(move || shared.delete_forever(socket))
            .map_err(failed("starting a thread"))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// The sets hold these addresses, for so many milliseconds, and nobody else: deletes the flows of all
    /// other gated addresses, and of those whose holder may be another one than before.
    pub(crate) fn reset(
        &mut self,
        socket: &mut Socket,
        ruleset: &Ruleset,
        held: impl Iterator<Item = (Ipv4Addr, u64)>,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        let mut state = shared.lock();
        let mut tenures = Tenures::default();
        tenures.reset(held, now);
        if !tracking::is_tracking() {
            state.tenures = tenures;
            return Ok(());
        }
        let began = Instant::now();
        let by = Second::under_way(now);
        let mut own = HashMap::new();
        let is_gone = |own: &mut HashMap<Ipv4Addr, bool>, address: Ipv4Addr| {
            let is_known = state.tenures.knows(address);
            if tenures.knows(address) {
                return is_known && state.tenures.is_over(address, by);
            }
            (is_known || ruleset.gates(address)) && !is_own(own, address)
        };
        let mut names = Vec::new();
        tracking::read_all(socket, |Hosts { began, answers }, message| {
            // What this host itself began is no holder's: say, a login on an edge router.
            if is_gone(&mut own, began) || (is_gone(&mut own, answers) && !is_own(&mut own, began))
            {
                names.push(tracking::name_of(message));
            }
        })?;
        for names in names.chunks(NAMED_AT_ONCE_MAX) {
            tracking::delete_by_name(socket, names.iter())?;
        }
        self.costs.read(began.elapsed());
        state.tenures = tenures;
        shared.changed.notify_all();
        Ok(())
    }

    /// These addresses are about to be put in a set. Which of those that get another holder have to be
    /// [forgotten](Self::forget) once they are in.
    pub(crate) fn enter(&self, changes: impl Iterator<Item = (Ipv4Addr, bool)>) -> Vec<Ipv4Addr> {
        let mut state = self.shared.lock();
        let owed = changes.filter(|(address, is_another)| {
            let may_have_flows = state.tenures.enters(*address);
            may_have_flows && *is_another
        });
        owed.map(|(address, _)| address).collect()
    }

    /// The sets were changed: who is in for so many milliseconds, and who is out.
    pub(crate) fn changed(
        &self,
        put: impl Iterator<Item = (Ipv4Addr, u64)>,
        taken: impl Iterator<Item = Ipv4Addr>,
    ) {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        let before = state.tenures.next();
        put.for_each(|(address, life)| state.tenures.stays(address, life, now));
        taken.for_each(|address| state.tenures.leaves(address, now));
        if state.tenures.next().is_some_and(|next| before.is_none_or(|before| next < before)) {
            self.shared.changed.notify_all();
        }
    }

    /// Deletes the flows of these addresses now: by filter as long as that costs less, few addresses at first,
    /// because what one costs may have changed by a factor of a thousand since the last time; the rest by
    /// one reading.
    pub(crate) fn forget(&mut self, socket: &mut Socket, addresses: &[Ipv4Addr]) -> io::Result<()> {
        if addresses.is_empty() || !tracking::is_tracking() {
            return Ok(());
        }
        let mut rest = addresses;
        let mut at_once = 1;
        while !rest.is_empty() {
            let began = Instant::now();
            if !self.filters || !self.costs.filter_is_cheaper(rest.len()) {
                self.shared.delete(socket, &rest.iter().copied().collect())?;
                self.costs.read(began.elapsed());
                return Ok(());
            }
            let (now, later) = rest.split_at(at_once.min(rest.len()));
            tracking::delete_by_filter(socket, now)?;
            self.costs.filtered(now.len(), began.elapsed());
            rest = later;
            at_once = FILTERED_AT_ONCE_MAX.min(2 * at_once);
        }
        self.costs.doubt_read();
        Ok(())
    }

    /// Deletes all flows of IPv6 that these addresses began. Few at a time: those of devices that are let
    /// through no more.
    pub(crate) fn forget_ipv6(
        &self,
        socket: &mut Socket,
        addresses: &[Ipv6Addr],
    ) -> io::Result<()> {
        tracking::delete_ipv6(socket, self.filters, addresses)
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Had it panicked, there would be nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Milliseconds since the gate was opened.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can be left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's work: a walk whenever somebody has left, and a rest.
    fn delete_forever(&self, mut socket: Socket) {
        let mut rested = Duration::ZERO;
        let mut is_failing = false;
        while self.wait(rested) {
            let began = Instant::now();
            match self.delete(&mut socket, &HashSet::new()) {
                Ok(()) => is_failing = false,
                Err(error) if is_failing => {
                    tracing::debug!(%error, "tracked flows of former holders still cannot be deleted");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(
                        %error,
                        "tracked flows of former holders cannot be deleted; it is tried again, and before an address gets another holder"
                    );
                }
            }
            rested = REST_MIN.max(REST * began.elapsed());
        }
    }

    /// Waits for so long, and then until somebody's flows are to be deleted. False: it is over.
    fn wait(&self, rest: Duration) -> bool {
        let rested = Instant::now() + rest;
        let mut state = self.lock();
        while !state.is_over {
            let now = Instant::now();
            let due = state
                .tenures
                .next()
                .map(|second| (self.opened + Duration::from_millis(second.begins())).max(rested));
            let Some(due) = due else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if due <= now {
                return true;
            }
            let woken = self.changed.wait_timeout(state, due - now);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Deletes the flows of all who have left, and of these addresses, in one walk.
    fn delete(&self, socket: &mut Socket, also: &HashSet<Ipv4Addr>) -> io::Result<()> {
        let by = Second::under_way(self.now());
        if tracking::is_tracking() {
            let mut doomed: Vec<(Hosts, FlowName)> = Vec::new();
            let is_doomed = |state: &State, hosts: &Hosts| {
                let mut both = [hosts.began, hosts.answers].into_iter();
                both.any(|host| also.contains(&host) || state.tenures.is_over(host, by))
            };
            tracking::read_all(socket, |hosts, message| {
                if is_doomed(&self.lock(), &hosts) {
                    doomed.push((hosts, tracking::name_of(message)));
                }
            })?;
            for flows in doomed.chunks(NAMED_AT_ONCE_MAX) {
                // Who has come back meanwhile keeps what is its own; it comes in when this is done.
                let state = self.lock();
                let still = flows.iter().filter(|(hosts, _)| is_doomed(&state, hosts));
                tracking::delete_by_name(socket, still.map(|(_, name)| name))?;
            }
        }
        self.lock().tenures.deleted(by);
        Ok(())
    }
}

/// Whether an address is one of this host's own, as its routes say; looked up once.
fn is_own(known: &mut HashMap<Ipv4Addr, bool>, address: Ipv4Addr) -> bool {
    /// Any port: nothing is sent.
    const PORT: u16 = 9;
    *known.entry(address).or_insert_with(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        socket.is_ok_and(|socket| {
            // Whoever asks for a way to its own address is told to come from it.
            let way = socket.connect((address, PORT)).and_then(|()| socket.local_addr());
            way.is_ok_and(|way| way.ip() == address)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_way_that_cost_less_lately_is_taken_and_the_other_one_is_tried_again() {
        let mut costs = Costs { filtered: MILLISECOND, read: 20 * MILLISECOND };
        assert!(costs.filter_is_cheaper(20));
        assert!(!costs.filter_is_cheaper(21));
        // The kernel's table has filled up: what it costs now counts.
        costs.filtered(2, 80 * MILLISECOND);
        assert!(!costs.filter_is_cheaper(2));
        let mut turns = 0;
        while !costs.filter_is_cheaper(2) {
            costs.read(20 * MILLISECOND);
            turns += 1;
        }
        assert!((10..100).contains(&turns), "{turns}");
    }

    #[test]
    fn no_number_of_addresses_is_too_much() {
        let mut costs = Costs { filtered: Duration::MAX, read: Duration::MAX };
        assert!(costs.filter_is_cheaper(usize::MAX));
        costs.filtered(0, MILLISECOND);
        assert!(costs.filter_is_cheaper(1));
    }

    #[test]
    fn an_address_of_this_host_is_known_by_its_way() {
        let mut known = HashMap::new();
        assert!(is_own(&mut known, Ipv4Addr::LOCALHOST));
        // TEST-NET-1 (RFC 5737): nobody's.
        assert!(!is_own(&mut known, Ipv4Addr::new(192, 0, 2, 77)));
        assert_eq!(known.len(), 2);
    }
}
