//! Two servers of a pair, an agent that follows both: every short history of one address, in every order in which
//! the feeds can bring it, ends with one truth.
//!
//! The model is a pair as an agent meets it: each half decides something now and then, and the other half learns of
//! it a moment later or, if they are parted, never. A feed tells what its half has come to, in order; between the
//! two feeds any order is possible. A feed may break off at any point and begin again with a snapshot.

use std::net::Ipv4Addr;
use vestibule_core::Side::{self, Registered, Unregistered};
use vestibule_firewall::agent::Book;
use vestibule_firewall::feed::{Change, Element};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 17);

/// Between two events of a history, in milliseconds.
const STEP: u64 = 1000;
/// Until the other half has learnt of an event.
const REPLICATION: u64 = 10;
/// When the feeds are read: after all.
const NOW: u64 = 100_000;
/// A lease lasts until then.
const ENDS: u64 = 200_000;
/// A renewed one until then.
const ENDS_RENEWED: u64 = 300_000;

/// What happens at one half.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Happening {
    Becomes(Option<Side>),
    Renews,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    half: usize,
    what: Happening,
    /// Whether the other half learns of it.
    told: bool,
}

/// What a half says of the address.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    side: Option<Side>,
    since: u64,
    ends: u64,
}

/// A line of a half's feed: the decision's moment, and what the half has come to with it.
type Told = (u64, Change, State);

/// Runs a history; what each feed tells.
fn feeds(history: &[Event]) -> [Vec<Told>; 2] {
    let mut states: [Option<State>; 2] = [None, None];
    let mut feeds = [Vec::new(), Vec::new()];
    for (event, number) in history.iter().zip(1..) {
        let moment = number * STEP;
        let halves = [(event.half, moment), (1 - event.half, moment + REPLICATION)];
        for (half, moment) in halves.into_iter().take(if event.told { 2 } else { 1 }) {
            let before = states[half];
            let state = match (event.what, before) {
                (Happening::Renews, None | Some(State { side: None, .. })) => continue,
                (Happening::Renews, Some(state)) => State { ends: ENDS_RENEWED, ..state },
                // Nothing becomes what it is, and nobody gives up what he does not have.
                (Happening::Becomes(side), Some(state)) if state.side == side => continue,
                (Happening::Becomes(None), None) => continue,
                (Happening::Becomes(side), _) => State { side, since: moment, ends: ENDS },
            };
            states[half] = Some(state);
            let forget_flows = event.what != Happening::Renews;
            let life = if state.side.is_some() { state.ends - NOW } else { 0 };
            let change = Change(ADDRESS, state.side.map(Into::into), life, forget_flows);
            feeds[half].push((moment, change, state));
        }
    }
    feeds
}

/// What the whole of two feeds comes to, by the rule as it is written down: the newest decision, for as long as
/// anybody who agrees with it says.
fn expected(feeds: &[Vec<Told>; 2]) -> Option<(Side, u64)> {
    let states: Vec<State> = feeds.iter().filter_map(|feed| Some(feed.last()?.2)).collect();
    let newest = states.iter().max_by_key(|state| state.since)?;
    let side = newest.side?;
    let agree = states.iter().filter(|state| state.side == Some(side));
    Some((side, agree.map(|state| state.ends).max()?))
}

/// What the agent comes to if the feeds are read in this order, half by half; before its line of this number, a
/// feed (`broken`) breaks off and begins again.
fn read(feeds: &[Vec<Told>; 2], order: &[usize], broken: Option<(usize, usize)>) -> Book {
    let mut book = Book::new();
    let mut next = [0, 0];
    for &half in order {
        if broken == Some((half, next[half])) {
            let state = next[half].checked_sub(1).map(|last| feeds[half][last].2);
            let element = state.and_then(|state| {
                Some(Element(ADDRESS, state.side?.into(), state.ends - NOW, NOW - state.since))
            });
            book.snapshot(half, element.as_slice(), NOW);
        }
        let (decided, change, _) = feeds[half][next[half]];
        book.change(half, change, decided, NOW);
        next[half] += 1;
        // The kernel is told now and then.
        let _ = book.changes(NOW);
    }
    book
}

/// Every order of so many lines of the one feed and of the other.
fn orders(lines: [usize; 2]) -> Vec<Vec<usize>> {
    if lines == [0, 0] {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for half in [0, 1] {
        if lines[half] > 0 {
            let mut fewer = lines;
            fewer[half] -= 1;
            for mut order in orders(fewer) {
                order.insert(0, half);
                all.push(order);
            }
        }
    }
    all
}

fn each_history(length: u32, mut check: impl FnMut(&[Event])) {
    const WHAT: [Happening; 4] = [
        Happening::Becomes(Some(Registered)),
        Happening::Becomes(Some(Unregistered)),
        Happening::Becomes(None),
        Happening::Renews,
    ];
    for number in 0..16_usize.pow(length) {
        let history: Vec<Event> = (0..length)
            .map(|place| {
                let digit = number / 16_usize.pow(place) % 16;
                Event { half: digit & 1, told: digit & 2 != 0, what: WHAT[digit >> 2] }
            })
            .collect();
        check(&history);
    }
}

/// The contents of the book, without the moment that a life counts from.
fn truth(book: &mut Book) -> Option<(Side, u64)> {
    book.contents(NOW).all.elements.first().map(|(_, side, life)| (*side, NOW + life))
}

#[test]
fn every_order_of_two_feeds_ends_with_the_truth_of_their_history() {
    let mut read_in_all = 0;
    each_history(3, |history| {
        let feeds = feeds(history);
        let expected = expected(&feeds);
        for order in orders([feeds[0].len(), feeds[1].len()]) {
            let mut book = read(&feeds, &order, None);
            assert_eq!(truth(&mut book), expected, "{history:?} in the order {order:?}");
            read_in_all += 1;
        }
    });
    assert!(read_in_all > 10_000, "{read_in_all}");
}

#[test]
fn a_feed_that_breaks_off_and_begins_again_changes_nothing() {
    each_history(3, |history| {
        let feeds = feeds(history);
        let expected = expected(&feeds);
        for order in orders([feeds[0].len(), feeds[1].len()]) {
            for half in [0, 1] {
                for line in 0..feeds[half].len() {
                    let mut book = read(&feeds, &order, Some((half, line)));
                    let context =
                        format!("{history:?} in the order {order:?}, {half} broken at {line}");
                    assert_eq!(truth(&mut book), expected, "{context}");
                }
            }
        }
    });
}

/// Whatever the order, the agent never lets through against the newest word that it has heard.
#[test]
fn nobody_is_let_through_against_the_newest_word_at_any_moment() {
    each_history(3, |history| {
        let feeds = feeds(history);
        for order in orders([feeds[0].len(), feeds[1].len()]) {
            for length in 0..=order.len() {
                let mut book = read(&feeds, &order[..length], None);
                if !matches!(truth(&mut book), Some((Registered, _))) {
                    continue;
                }
                let heard =
                    |half: usize| order[..length].iter().filter(|one| **one == half).count();
                let states = [0, 1].map(|half| Some(feeds[half][heard(half).checked_sub(1)?].2));
                let newest = states.iter().flatten().max_by_key(|state| state.since).unwrap();
                assert_eq!(newest.side, Some(Registered), "{history:?}, {:?}", &order[..length]);
            }
        }
    });
}

/// A permit that a half took back does not come back when the lease ends that was said with it.
#[test]
fn waiting_opens_nothing() {
    each_history(3, |history| {
        let feeds = feeds(history);
        let order = [vec![0; feeds[0].len()], vec![1; feeds[1].len()]].concat();
        let mut book = read(&feeds, &order, None);
        let mut was_open = matches!(truth(&mut book), Some((Registered, _)));
        for later in [ENDS - 1, ENDS, ENDS_RENEWED - 1, ENDS_RENEWED] {
            book.sweep(later, usize::MAX);
            let sides = book.contents(later).all.elements;
            let is_open = sides.first().is_some_and(|(_, side, _)| *side == Registered);
            assert!(was_open || !is_open, "{history:?} opens at {later}");
            was_open = is_open;
        }
        assert!(!was_open);
    });
}
