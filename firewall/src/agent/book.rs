//! What the servers have said of every address, and what the kernel was told. Pure: no clock, no IO.
//!
//! It promises that what it gives to be done brings the kernel sets from what they were told before to the
//! [truth](super::merge), and that its memory is bounded: by [`ADDRESSES_MAX`], and by what the servers name, because
//! what has run out is forgotten.

use super::merge::{self, Statement, truth};
use crate::feed::{Change, Element, Held};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Bound;
use vestibule_core::{EthernetAddress, GateChange, GateContents, Side};

/// Servers that can be followed.
pub const SERVERS_MAX: usize = 2;

/// Addresses that anything is kept of, at most. What is said of further ones is not heard: they stay in
/// neither set.
pub const ADDRESSES_MAX: usize = 2_000_000;

/// The longest life of an element in milliseconds: more than the longest lease.
const LIFE_MAX: u64 = 400 * 24 * 60 * 60 * 1000;

/// Where words stand that no server said: what the kernel held when the agent started. They give way to any
/// server's.
const FOUND: usize = SERVERS_MAX;

/// A permit is not written anew to last so much longer: two servers that tell of the same lease differ by
/// the time that their words took.
const SAME_END_MILLISECONDS: u64 = 1000;

/// An address.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    said: [Option<Statement>; SERVERS_MAX + 1],
    /// What the kernel was told: the side, and until when.
    told: Option<(Side, u64)>,
    /// The holder that the kernel was told.
    told_holder: Option<EthernetAddress>,
}

impl Known {
    fn holder(&self, now: u64, truth: Option<(Side, u64)>) -> Option<EthernetAddress> {
        let is_registered = matches!(truth, Some((Side::Registered, _)));
        is_registered.then(|| merge::holder(self.said.iter().copied().flatten(), now))?
    }

    fn truth(&self, now: u64, is_closed: bool) -> Option<(Side, u64)> {
        truth(self.said.iter().copied().flatten(), now)
            .filter(|(side, _)| !is_closed || *side == Side::Unregistered)
    }

    fn told(&self, now: u64) -> Option<(Side, u64)> {
        self.told.filter(|(_, ends)| *ends > now)
    }
}

/// See the module. Times are milliseconds of the agent's own clock.
#[derive(Debug, Default)]
pub struct Book {
    known: BTreeMap<Ipv4Addr, Known>,
    /// Addresses that may stand otherwise than the kernel was told, and whether their tracked flows
    /// have to go.
    touched: BTreeMap<Ipv4Addr, bool>,
    is_closed: bool,
    sizes: Sizes,
    /// Up to where [`Book::sweep`] has come.
    swept: Option<Ipv4Addr>,
    unheard: u64,
    /// What the kernel held when the agent started is known, and nothing was told to it since.
    has_found: bool,
}

/// How many addresses are on each side, as the kernel was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Registered ones.
    pub registered: usize,
    /// Unregistered ones.
    pub unregistered: usize,
}

impl Sizes {
    fn of(&mut self, side: Side) -> &mut usize {
        match side {
            Side::Registered => &mut self.registered,
            Side::Unregistered => &mut self.unregistered,
        }
    }

    /// What the kernel was told of an address becomes something else.
    fn tell(&mut self, told: &mut Option<(Side, u64)>, new: Option<(Side, u64)>) {
        if let Some((side, _)) = told {
            *self.of(*side) -= 1;
        }
        if let Some((side, _)) = new {
            *self.of(side) += 1;
        }
        *told = new;
    }
}

/// The whole of what the kernel should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// That.
    pub all: GateContents,
    /// Addresses whose tracked flows have to go once the elements are in.
    pub moved: Vec<GateChange>,
}

impl Book {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Addresses that anything is known of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How often something was said of an address beyond [`ADDRESSES_MAX`].
    #[must_use]
    pub const fn unheard(&self) -> u64 {
        self.unheard
    }

    /// How many addresses are on each side, as the kernel was told; what has run out counts until it was
    /// swept out.
    #[must_use]
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Takes in a change that a server tells at `now` and decided at `decided`.
    pub fn change(
        &mut self,
        server: usize,
        change: impl Into<Held<Change>>,
        decided: u64,
        now: u64,
    ) {
        let Held { what: Change(address, side, life, forget_flows), holder } = change.into();
        let side = side.map(Side::from);
        let known = words(&mut self.known, &mut self.unheard, address);
        let Some(said) = known.and_then(|known| known.said.get_mut(server)) else { return };
        let since = match said {
            Some(before) if before.side == side && !forget_flows => before.since,
            // Its own later decision is not the earlier one.
            Some(before) => before.since.max(decided),
            None => decided,
        };
        let ends = now.saturating_add(life.min(LIFE_MAX));
        *said = Some(Statement { side, ends, since, holder });
        self.touch(address, forget_flows);
    }

    /// Takes in the whole of what a server says at `now`. That it does not name an address is no word
    /// about it: what the other server says of it counts. But what it took back before stays taken back.
    pub fn snapshot<E>(&mut self, server: usize, elements: &[E], now: u64)
    where
        E: Into<Held<Element>> + Copy,
    {
        let mut before = BTreeMap::new();
        for (address, known) in &mut self.known {
            let Some(said) = known.said.get_mut(server) else { return };
            if let Some(live) = said.take_if(|said| said.is_live(now)) {
                before.insert(*address, live);
                self.touched.entry(*address).or_default();
            }
        }
        for element in elements {
            let Held { what: Element(address, side, life, age), holder } = (*element).into();
            let since = now.saturating_sub(age);
            // The agent may have heard of a decision that the server does not remember the time of.
            let heard = before.get(&address).copied();
            let known = words(&mut self.known, &mut self.unheard, address);
            let Some(said) = known.and_then(|known| known.said.get_mut(server)) else { continue };
            let since = heard.or(*said).map_or(since, |before| before.since.max(since));
            let ends = now.saturating_add(life.min(LIFE_MAX));
            *said = Some(Statement { side: Some(Side::from(side)), ends, since, holder });
            self.touch(address, false);
        }
    }

    /// Takes in what the kernel holds when the agent starts.
    pub fn found(&mut self, contents: &[(Ipv4Addr, Side, u64)], now: u64) {
        self.has_found = true;
        for (address, side, life) in contents {
            let ends = now.saturating_add(*life);
            let known = words(&mut self.known, &mut self.unheard, *address);
            let Some(known) = known else { continue };
            // The kernel does not say who holds an address.
            known.said[FOUND] = Some(Statement { side: Some(*side), ends, since: 0, holder: None });
            self.sizes.tell(&mut known.told, Some((*side, ends)));
        }
    }

    /// Forgets what the kernel held when the agent started: every server has spoken.
    pub fn forget_found(&mut self) {
        for (address, known) in &mut self.known {
            if known.said[FOUND].take().is_some() {
                self.touched.entry(*address).or_default();
            }
        }
    }

    /// From now on nobody is let through, or again those whom the servers let through. The whole of the
    /// [contents](Self::contents) has to be told then.
    pub const fn close(&mut self, is_closed: bool) {
        self.is_closed = is_closed;
    }

    /// Whether nobody is let through.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// An address may stand otherwise in the kernel than it was told, or has flows that have to go.
    pub fn touch(&mut self, address: Ipv4Addr, forget_flows: bool) {
        *self.touched.entry(address).or_default() |= forget_flows;
    }

    /// The whole of what the sets should hold; from now on it counts as told.
    pub fn contents(&mut self, now: u64) -> Contents {
        let touched = std::mem::take(&mut self.touched);
        // What came in while there was no agent may be another holder's than what was tracked before.
        let has_found = std::mem::take(&mut self.has_found);
        let mut contents = Contents::default();
        for (&address, known) in &mut self.known {
            let truth = known.truth(now, self.is_closed);
            let told = known.told(now);
            let is_other = told.map(|(side, _)| side) != truth.map(|(side, _)| side);
            let side = truth.map(|(side, ends)| (side, ends - now));
            let holder = known.holder(now, truth);
            if side.is_some() && (has_found && is_other || touched.get(&address) == Some(&true)) {
                contents.moved.push(GateChange { address, side, forget_flows: true, holder });
            }
            contents.all.elements.extend(side.map(|(side, life)| (address, side, life)));
            contents.all.holders.extend(holder.map(|holder| (address, holder)));
            known.told_holder = holder;
            self.sizes.tell(&mut known.told, truth);
        }
        contents
    }

    /// What has to be changed in the kernel by now; from now on it counts as told.
    pub fn changes(&mut self, now: u64) -> Vec<GateChange> {
        let mut changes = Vec::new();
        for (address, forget_flows) in std::mem::take(&mut self.touched) {
            let Some(known) = self.known.get_mut(&address) else { continue };
            let told = known.told(now);
            let truth = known.truth(now, self.is_closed);
            // Whether it is the same holder that comes back, two servers may not know alike.
            let forget_flows = forget_flows || told.is_some() != truth.is_some();
            let is_same = match (told, truth) {
                (None, None) => true,
                (Some((old, old_ends)), Some((new, ends))) => {
                    old == new
                        && (old_ends..old_ends.saturating_add(SAME_END_MILLISECONDS))
                            .contains(&ends)
                }
                _ => false,
            };
            let holder = known.holder(now, truth);
            let is_same = is_same && known.told_holder == holder;
            known.told_holder = holder;
            if is_same && !forget_flows {
                continue;
            }
            self.sizes.tell(&mut known.told, truth);
            let side = truth.map(|(side, ends)| (side, ends - now));
            changes.push(GateChange { address, side, forget_flows, holder });
        }
        changes
    }

    /// Looks at the next `addresses_max` addresses for what time has ended: [`Book::changes`] finds then
    /// what stands otherwise for it, and what nobody says anything of any more is forgotten.
    pub fn sweep(&mut self, now: u64, addresses_max: usize) {
        let from = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        let mut over = Vec::new();
        let mut last = None;
        let mut looked_at = 0;
        for (address, known) in self.known.range_mut((from, Bound::Unbounded)).take(addresses_max) {
            last = Some(*address);
            looked_at += 1;
            let told = known.told(now);
            if told.is_none() {
                self.sizes.tell(&mut known.told, None);
            }
            let truth = known.truth(now, self.is_closed);
            if told.map(|(side, _)| side) != truth.map(|(side, _)| side) {
                self.touched.entry(*address).or_default();
            }
            // A word that has run out or says that an address was given up matters only against a live one.
            let is_live = known.said.iter().flatten().any(|one| one.is_live(now));
            if told.is_none() && !is_live {
                over.push(*address);
            }
        }
        self.swept = last.filter(|_| looked_at == addresses_max);
        for address in over {
            self.known.remove(&address);
        }
    }
}

/// What is known of an address, if there is room for it.
fn words<'b>(
    known: &'b mut BTreeMap<Ipv4Addr, Known>,
    unheard: &mut u64,
    address: Ipv4Addr,
) -> Option<&'b mut Known> {
    if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
        *unheard += 1;
        return None;
    }
    Some(known.entry(address).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedSide::{self, Registered, Unregistered};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, last)
    }

    fn registered(last: u8, life: u64, forget_flows: bool) -> Change {
        Change(address(last), Some(Registered), life, forget_flows)
    }

    impl Book {
        fn sweep_all(&mut self, now: u64) {
            self.swept = None;
            self.sweep(now, usize::MAX);
        }
    }

    /// The last number of an address, its side and life, whether its flows go.
    type Shown = (u8, Option<(Side, u64)>, bool);

    fn sides(changes: &[GateChange]) -> Vec<Shown> {
        changes.iter().map(|one| (one.address.octets()[3], one.side, one.forget_flows)).collect()
    }

    #[test]
    fn a_change_is_told_once_though_two_servers_tell_of_it() {
        let mut book = Book::new();
        book.change(0, registered(1, 60_000, true), 100, 100);
        assert_eq!(sides(&book.changes(100)), [(1, Some((Side::Registered, 60_000)), true)]);
        // A renewal that both tell.
        book.change(0, registered(1, 90_000, false), 5000, 5000);
        assert_eq!(sides(&book.changes(5000)), [(1, Some((Side::Registered, 90_000)), false)]);
        book.change(1, registered(1, 90_000, false), 5020, 5020);
        assert_eq!(sides(&book.changes(5020)), []);
        assert_eq!(book.sizes(), Sizes { registered: 1, unregistered: 0 });
    }

    #[test]
    fn a_renewal_does_not_outrank_a_revocation_at_the_other_half() {
        let mut book = Book::new();
        book.change(0, registered(1, 60_000, true), 100, 100);
        book.change(1, Change(address(1), Some(Unregistered), 60_000, true), 200, 200);
        book.change(0, registered(1, 90_000, false), 300, 300);
        assert_eq!(sides(&book.changes(300)), [(1, Some((Side::Unregistered, 59_900)), true)]);
    }

    #[test]
    fn a_snapshot_takes_away_what_its_server_does_not_say_any_more() {
        let mut book = Book::new();
        for (server, last) in [(0, 1), (0, 2), (1, 2)] {
            book.change(server, registered(last, 60_000, true), 100, 100);
        }
        book.changes(100);
        book.snapshot(0, &[Element(address(3), Unregistered, 5000, 0)], 1000);
        let changes = book.changes(1000);
        let expected = [(1, None, true), (3, Some((Side::Unregistered, 5000)), true)];
        assert_eq!(sides(&changes), expected, "the other server still says the second");
    }

    #[test]
    fn what_runs_out_at_one_server_is_told_as_the_other_says() {
        let mut book = Book::new();
        book.change(1, Change(address(1), Some(Unregistered), 9000, true), 50, 50);
        book.change(0, registered(1, 1000, true), 100, 100);
        assert_eq!(sides(&book.changes(100)), [(1, Some((Side::Registered, 1000)), true)]);
        book.sweep_all(1099);
        assert_eq!(sides(&book.changes(1099)), []);
        book.sweep_all(1100);
        assert_eq!(sides(&book.changes(1100)), [(1, Some((Side::Unregistered, 7950)), true)]);
        book.sweep_all(20_000);
        assert!(book.is_empty());
    }

    #[test]
    fn the_holder_is_the_one_of_the_newest_word_and_goes_with_the_permit() {
        const ONE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
        const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
        let held_by = |holder, what| Held { what, holder: Some(holder) };
        let holders =
            |changes: Vec<GateChange>| changes.iter().map(|one| one.holder).collect::<Vec<_>>();
        let mut book = Book::new();
        book.change(0, held_by(ONE, registered(1, 60_000, true)), 100, 100);
        assert_eq!(holders(book.changes(100)), [Some(ONE)]);
        // The same of the other half; then a new holder, of which the first half has not heard.
        book.change(1, held_by(ONE, registered(1, 60_000, false)), 100, 110);
        assert_eq!(holders(book.changes(110)), []);
        book.change(1, held_by(OTHER, registered(1, 60_000, true)), 200, 200);
        assert_eq!(holders(book.changes(200)), [Some(OTHER)]);
        assert_eq!(book.contents(200).all.holders, [(address(1), OTHER)]);
        // A server that says nothing of holders decides later.
        book.change(0, registered(1, 60_000, true), 300, 300);
        assert_eq!(holders(book.changes(300)), [None]);
        // It is upgraded, and tells the same again.
        let element = Element(address(1), Registered, 50_000, 100);
        book.snapshot(0, &[Held { what: element, holder: Some(ONE) }], 400);
        assert_eq!(holders(book.changes(400)), [Some(ONE)]);
        book.close(true);
        assert_eq!(book.contents(500).all.holders, []);
    }

    #[test]
    fn what_was_found_at_the_start_gives_way() {
        let mut book = Book::new();
        let found = [1, 2].map(|last| (address(last), Side::Registered, 60_000));
        book.found(&found, 100);
        let told = [1, 3].map(|last| Element(address(last), Unregistered, 5000, 0));
        book.snapshot(0, &told, 100);
        let contents = book.contents(100);
        let expected = [
            (address(1), Side::Unregistered, 5000),
            (address(2), Side::Registered, 60_000),
            (address(3), Side::Unregistered, 5000),
        ];
        assert_eq!(contents.all.elements, expected);
        // The former agent had let it through, or another holder of its address.
        let moved = [1, 3].map(|last| (last, Some((Side::Unregistered, 5000)), true));
        assert_eq!(sides(&contents.moved), moved);
        assert_eq!(book.contents(100).moved, [], "the gate knows whom it was told of");
        book.forget_found();
        assert_eq!(sides(&book.changes(100)), [(2, None, true)]);
    }

    #[test]
    fn closed_means_nobody_and_open_means_as_before() {
        let mut book = Book::new();
        book.change(0, registered(1, 60_000, true), 0, 0);
        book.change(0, Change(address(2), Some(Unregistered), 60_000, true), 0, 0);
        book.close(true);
        assert_eq!(book.contents(0).all.elements, [(address(2), Side::Unregistered, 60_000)]);
        book.close(false);
        assert_eq!(book.contents(0).all.elements.len(), 2);
    }

    /// A step of a run: who says what, and after how long.
    type Step = (usize, u8, Option<FeedSide>, u64, bool, u64);

    fn step() -> impl Strategy<Value = Step> {
        let side = prop_oneof![Just(Some(Registered)), Just(Some(Unregistered)), Just(None)];
        (0_usize..2, 0_u8..4, side, 1_u64..5000, any::<bool>(), 0_u64..2000)
    }

    proptest! {
        /// Whatever came, what the kernel holds in the end is what a new agent would write: told by
        /// changes or as a whole makes no difference.
        #[test]
        fn changes_lead_to_the_contents(steps in prop::collection::vec(step(), 0..40)) {
            let mut book = Book::new();
            let mut kernel: HashMap<Ipv4Addr, (Side, u64)> = HashMap::new();
            let mut now = 0;
            for (server, last, side, life, forget_flows, pause) in steps {
                now += pause;
                let life = if side.is_some() { life } else { 0 };
                book.change(server, Change(address(last), side, life, forget_flows), now, now);
                book.sweep_all(now);
                for change in book.changes(now) {
                    match change.side {
                        Some((side, life)) => kernel.insert(change.address, (side, now + life)),
                        None => kernel.remove(&change.address),
                    };
                }
                kernel.retain(|_, (_, ends)| *ends > now);
            }
            let contents: HashMap<_, _> = book
                .contents(now)
                .all
                .elements
                .into_iter()
                .map(|(address, side, life)| (address, (side, now + life)))
                .collect();
            prop_assert_eq!(kernel.len(), contents.len());
            for (address, (side, ends)) in contents {
                let (told_side, told_ends) = kernel[&address];
                prop_assert_eq!(told_side, side);
                prop_assert!((0..SAME_END_MILLISECONDS).contains(&(ends - told_ends)));
            }
        }

        /// However the words of two servers come between each other, the contents are the same.
        #[test]
        fn the_order_between_servers_means_nothing(steps in prop::collection::vec(step(), 0..30)) {
            const NOW: u64 = 10_000;
            let run = |order: &[(u64, Step)]| {
                let mut book = Book::new();
                for (decided, (server, last, side, life, forget_flows, _)) in order {
                    let life = if side.is_some() { *life } else { 0 };
                    let change = Change(address(*last), *side, life, *forget_flows);
                    book.change(*server, change, *decided, NOW);
                }
                book.contents(NOW).all.elements
            };
            let all: Vec<(u64, Step)> = (0..).zip(steps).collect();
            let (first, second): (Vec<_>, Vec<_>) = all.iter().partition(|(_, step)| step.0 == 0);
            let expected = run(&all);
            prop_assert_eq!(&run(&[first.clone(), second.clone()].concat()), &expected);
            prop_assert_eq!(&run(&[second, first].concat()), &expected);
        }
    }
}
