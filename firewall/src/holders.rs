//! Who is let through with IPv6 by an Ethernet address: those that hold a registered address now. Pure: no
//! clock, no IO.
//!
//! The set of Ethernet addresses is a function of the set of registered addresses and of who holds them: one
//! is in it for as long as any address is that it holds. It promises that what it gives to be done brings the
//! kernel's set there, and that the flows of whoever leaves it are owed until somebody has deleted them. What
//! has run out leaves by itself. No more is kept than there are addresses in the set of the registered.

use crate::channel::SetChanges;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use vestibule_core::EthernetAddress;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Until when each address is held, and by whom.
    held: HashMap<Ipv4Addr, (EthernetAddress, Instant)>,
    /// The same by holder.
    by_holder: BTreeSet<(EthernetAddress, Ipv4Addr)>,
    /// The same by end.
    by_end: BTreeSet<(Instant, Ipv4Addr)>,
    /// Whose flows have to go.
    owed: BTreeSet<EthernetAddress>,
}

impl Holders {
    /// Takes in who holds which addresses from `now` on, each for so many milliseconds; `None`: nobody who is
    /// let through. Each address once.
    pub(crate) fn change(
        &mut self,
        changes: impl Iterator<Item = (Ipv4Addr, Option<(EthernetAddress, u64)>)>,
        now: Instant,
    ) -> SetChanges<EthernetAddress> {
        let mut touched = BTreeSet::new();
        while let Some((_, address)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            touched.extend(self.take(address));
        }
        for (address, holder) in changes {
            touched.extend(self.take(address));
            if let Some((holder, life)) = holder {
                touched.insert(holder);
                self.put(address, holder, end_after(now, life));
            }
        }
        let mut done = SetChanges::default();
        for holder in touched {
            match self.life(holder, now) {
                Some(life) => done.put.push((holder, life)),
                None => {
                    self.owed.insert(holder);
                    done.take.push((holder, 0));
                }
            }
        }
        done
    }

    /// Puts the whole of what there is from `now` on in place of what there was. Gives what the set has to
    /// hold.
    pub(crate) fn replace(
        &mut self,
        all: impl Iterator<Item = (Ipv4Addr, EthernetAddress, u64)>,
        now: Instant,
    ) -> Vec<(EthernetAddress, u64)> {
        let before = std::mem::take(&mut self.by_holder);
        self.held.clear();
        self.by_end.clear();
        for (address, holder, life) in all {
            self.take(address);
            self.put(address, holder, end_after(now, life));
        }
        let gone = before.into_iter().map(|(holder, _)| holder);
        let gone = gone.filter(|holder| self.life(*holder, now).is_none());
        let gone: Vec<EthernetAddress> = gone.collect();
        self.owed.extend(gone);
        let mut holders: Vec<EthernetAddress> =
            self.by_holder.iter().map(|(holder, _)| *holder).collect();
        holders.dedup();
        holders.into_iter().filter_map(|one| Some((one, self.life(one, now)?))).collect()
    }

    /// Whose flows have to go.
    pub(crate) const fn owed(&self) -> &BTreeSet<EthernetAddress> {
        &self.owed
    }

    /// They are gone.
    pub(crate) fn paid(&mut self) {
        self.owed.clear();
    }

    fn put(&mut self, address: Ipv4Addr, holder: EthernetAddress, end: Instant) {
        self.held.insert(address, (holder, end));
        self.by_holder.insert((holder, address));
        self.by_end.insert((end, address));
    }

    fn take(&mut self, address: Ipv4Addr) -> Option<EthernetAddress> {
        let (holder, end) = self.held.remove(&address)?;
        self.by_holder.remove(&(holder, address));
        self.by_end.remove(&(end, address));
        Some(holder)
    }

    /// The milliseconds for which somebody holds any address.
    fn life(&self, holder: EthernetAddress, now: Instant) -> Option<u64> {
        let all = (holder, Ipv4Addr::UNSPECIFIED)..=(holder, Ipv4Addr::BROADCAST);
        let ends = self.by_holder.range(all).filter_map(|(_, address)| self.held.get(address));
        let end = ends.map(|(_, end)| *end).max()?;
        let left = end.saturating_duration_since(now).as_millis();
        u64::try_from(left).ok().filter(|left| *left > 0)
    }
}

/// A moment so many milliseconds after another one; a lease has no longer life than the clock.
fn end_after(now: Instant, life: u64) -> Instant {
    const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    now + Duration::from_millis(life).min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ONE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, last)
    }

    fn owed(holders: &Holders) -> Vec<EthernetAddress> {
        holders.owed().iter().copied().collect()
    }

    #[test]
    fn who_holds_two_addresses_stays_until_both_are_gone() {
        let mut holders = Holders::default();
        let now = Instant::now();
        let both = [(address(1), Some((ONE, 9000))), (address(2), Some((ONE, 5000)))];
        let done = holders.change(both.into_iter(), now);
        assert_eq!((done.put, done.take), (vec![(ONE, 9000)], vec![]));
        let done = holders.change([(address(1), None)].into_iter(), now);
        assert_eq!((done.put, done.take), (vec![(ONE, 5000)], vec![]));
        assert_eq!(owed(&holders), [], "it is still let through");
        let done = holders.change([(address(2), None)].into_iter(), now);
        assert_eq!((done.put, done.take), (vec![], vec![(ONE, 0)]));
        assert_eq!(owed(&holders), [ONE]);
    }

    #[test]
    fn an_address_with_a_new_holder_takes_the_former_one_out() {
        let mut holders = Holders::default();
        let now = Instant::now();
        holders.change([(address(1), Some((ONE, 9000)))].into_iter(), now);
        let done = holders.change([(address(1), Some((OTHER, 7000)))].into_iter(), now);
        assert_eq!((done.put, done.take), (vec![(OTHER, 7000)], vec![(ONE, 0)]));
    }

    #[test]
    fn what_a_replacement_leaves_out_owes_its_flows() {
        let mut holders = Holders::default();
        let now = Instant::now();
        let all = [(address(1), ONE, 9000), (address(2), OTHER, 100)];
        assert_eq!(holders.replace(all.into_iter(), now), [(ONE, 9000), (OTHER, 100)]);
        assert_eq!(owed(&holders), [], "nobody was there before");
        let all = [(address(3), OTHER, 50)];
        assert_eq!(holders.replace(all.into_iter(), now), [(OTHER, 50)]);
        assert_eq!(owed(&holders), [ONE]);
        holders.paid();
        assert_eq!(owed(&holders), []);
    }

    proptest! {
        /// Change by change, the kernel's set is what the addresses of the moment make of it.
        #[test]
        fn changes_end_where_a_replacement_does(
            changes in prop::collection::vec((0_u8..4, prop::option::of((0_u8..3, 1_u64..50)), 0_u64..20), 0..40)
        ) {
            let mut holders = Holders::default();
            let start = Instant::now();
            let mut now = start;
            let mut kernel: BTreeMap<EthernetAddress, Instant> = BTreeMap::new();
            let mut truth: BTreeMap<Ipv4Addr, (EthernetAddress, Instant)> = BTreeMap::new();
            for (last, holder, pause) in changes {
                now += Duration::from_millis(pause);
                let holder = holder.map(|(number, life)| (EthernetAddress([2, 0, 0, 0, 0, number]), life));
                let done = holders.change(std::iter::once((address(last), holder)), now);
                for (one, _) in done.take {
                    kernel.remove(&one);
                }
                for (one, life) in done.put {
                    kernel.insert(one, now + Duration::from_millis(life));
                }
                truth.remove(&address(last));
                if let Some((one, life)) = holder {
                    truth.insert(address(last), (one, now + Duration::from_millis(life)));
                }
                let mut expected: BTreeMap<EthernetAddress, Instant> = BTreeMap::new();
                for (one, end) in truth.values().filter(|(_, end)| *end > now) {
                    let known = expected.entry(*one).or_insert(*end);
                    *known = (*known).max(*end);
                }
                kernel.retain(|_, end| *end > now);
                prop_assert_eq!(&kernel, &expected);
                prop_assert!(holders.held.len() <= 4);
                prop_assert_eq!(holders.held.len(), holders.by_end.len());
                prop_assert_eq!(holders.held.len(), holders.by_holder.len());
            }
        }
    }
}
