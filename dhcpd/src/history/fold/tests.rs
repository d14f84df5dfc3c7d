//! Leases in any order of times, and what they come to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vestibule_core::HardwareAddress;

const A: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 77);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn lease(host: u8, started: u64, changed: u64, ends: u64) -> Lease {
    let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 0, host]);
    Lease {
        address: A,
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: at(started),
        changed: at(changed),
        ends: at(ends),
        relay: None,
        relay_agent: None,
        host_name: None,
    }
}

fn fold() -> Fold {
    Fold::new([7; 16], Table::default())
}

fn ended(from: u64, until: u64, ended: Ended) -> Change {
    Change::Ended { address: A, from: at(from), until: at(until), ended }
}

/// Told one after the other; what began is given by host and time.
fn told(leases: &[Lease]) -> Vec<String> {
    let (mut fold, mut changes) = (fold(), Vec::new());
    for lease in leases {
        fold.lease(lease, &mut changes);
        let twice = changes.len();
        fold.lease(lease, &mut changes);
        assert_eq!(changes.len(), twice, "told again, {lease:?} changed something");
    }
    let words = changes.iter().map(|change| match change {
        Change::Began(holding) => {
            format!("{} from {}", holding.hardware.bytes()[5], holding.from.seconds())
        }
        Change::Ended { until, ended, .. } => format!("{} {}", ended.name(), until.seconds()),
        Change::Partners { .. } => "partner".to_owned(),
    });
    words.collect()
}

#[test]
fn renewals_go_on_and_the_next_holder_says_how_the_last_one_ended() {
    let renewed = [lease(1, 10, 10, 70), lease(1, 10, 40, 100), lease(2, 150, 150, 210)];
    assert_eq!(told(&renewed), ["1 from 10", "expired 100", "2 from 150"]);
    let taken = [lease(1, 10, 10, 70), lease(2, 50, 50, 110)];
    assert_eq!(told(&taken), ["1 from 10", "superseded 50", "2 from 50"]);
    let anew = [lease(1, 10, 10, 70), lease(1, 90, 90, 150)];
    assert_eq!(told(&anew), ["1 from 10", "expired 70", "1 from 90"]);
}

#[test]
fn what_is_given_back_or_declined_ends_then() {
    let released = Lease { state: BindingState::Released, ..lease(1, 10, 30, 30) };
    assert_eq!(told(&[lease(1, 10, 10, 70), released]), ["1 from 10", "released 30"]);
    let declined = Lease { state: BindingState::Declined, ..lease(1, 10, 12, 600) };
    assert_eq!(told(&[lease(1, 10, 10, 70), declined]), ["1 from 10", "declined 12"]);
    // Released by the partner's word, with another beginning than it had here.
    let released = Lease { state: BindingState::Released, ..lease(1, 31, 31, 31) };
    assert_eq!(told(&[lease(1, 10, 10, 70), released]), ["1 from 10", "released 31"]);
    let late = Lease { state: BindingState::Released, ..lease(1, 10, 90, 90) };
    assert_eq!(told(&[lease(1, 10, 10, 70), late]), ["1 from 10", "expired 70"]);
}

#[test]
fn another_place_or_name_is_a_move_and_keeps_the_address() {
    let roamed = Lease { relay: Some(Ipv4Addr::new(10, 21, 0, 1)), ..lease(1, 10, 40, 100) };
    let renamed = Lease { host_name: Some(Box::from(*b"x")), ..roamed.clone() };
    let renamed = Lease { changed: at(60), ends: at(120), ..renamed };
    let moves = [lease(1, 10, 10, 70), roamed, renamed];
    let expected = ["1 from 10", "moved 40", "1 from 40", "moved 60", "1 from 60"];
    assert_eq!(told(&moves), expected);
}

#[test]
fn a_partners_grant_is_known_by_the_pairs_record_behind_it() {
    let binding = |is_acknowledged| PairBinding {
        status: BindingStatus::Active,
        is_acknowledged,
        ..PairBinding::untouched(A)
    };
    let partners = |record: PairBinding, between: bool| {
        let (mut fold, mut changes) = (fold(), Vec::new());
        fold.lease(&lease(1, 10, 10, 70), &mut changes);
        if between {
            fold.other();
        }
        fold.pair(&record, &mut changes);
        changes.contains(&Change::Partners { address: A, from: at(10) })
    };
    assert!(partners(binding(true), false));
    assert!(!partners(binding(false), false));
    assert!(!partners(binding(true), true));
}

#[test]
fn a_sweep_ends_what_ran_out_in_bounded_steps() {
    let (mut fold, mut changes) = (fold(), Vec::new());
    for last in 0..10 {
        let address = Ipv4Addr::new(10, 20, 0, last);
        fold.lease(&Lease { address, ..lease(last, 10, 10, 60 + u64::from(last)) }, &mut changes);
    }
    changes.clear();
    let next = fold.sweep(0, at(65), 3, &mut changes);
    assert_eq!((next, changes.len()), (Some(u32::from(A) - 77 + 3), 3));
    assert_eq!(fold.sweep(next.unwrap(), at(65), 3, &mut changes), None);
    assert_eq!(changes.len(), 5);
    let late = [lease(1, 10, 10, 70)];
    assert_eq!(told(&late), ["1 from 10"]);
    let expected = Change::Ended {
        address: Ipv4Addr::new(10, 20, 0, 4),
        from: at(10),
        until: at(64),
        ended: Ended::Expired,
    };
    assert_eq!(changes[4], expected);
}

#[test]
fn an_address_that_is_not_served_any_more_is_forgotten() {
    let (mut fold, mut changes) = (fold(), Vec::new());
    fold.lease(&lease(1, 10, 10, 70), &mut changes);
    fold.forgotten(A, at(30), &mut changes);
    assert_eq!(changes[1], ended(10, 30, Ended::Forgotten));
    fold.forgotten(A, at(31), &mut changes);
    assert_eq!(changes.len(), 2);
}

prop_compose! {
    /// Times as clocks that are stepped, and partners with clocks of their own, may say them.
    fn any_lease()(
        host in 0..3_u8,
        started in 0..100_u64,
        changed in 0..100_u64,
        ends in 0..140_u64,
        state in 0..6_u8,
        place in 0..2_u8,
    ) -> Lease {
        let state = match state {
            0 => BindingState::Released,
            1 => BindingState::Declined,
            _ => BindingState::Active,
        };
        let host_name = (place > 0).then(|| Box::from([place]));
        Lease { state, host_name, ..lease(host, started, changed, ends) }
    }
}

proptest! {
    #[test]
    fn the_intervals_of_an_address_never_overlap_whatever_clocks_do(
        leases in prop::collection::vec(any_lease(), 0..40)
    ) {
        let (mut fold, mut changes) = (fold(), Vec::new());
        for lease in &leases {
            fold.lease(lease, &mut changes);
        }
        let mut intervals: BTreeMap<Timestamp, Option<Timestamp>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Began(holding) => {
                    prop_assert_eq!(intervals.insert(holding.from, None), None, "two begin at once");
                }
                Change::Ended { from, until, .. } => {
                    prop_assert!(until > from);
                    prop_assert_eq!(intervals.insert(from, Some(until)), Some(None), "it was not open");
                }
                Change::Partners { .. } => {}
            }
        }
        let ends: Vec<_> = intervals.iter().collect();
        for pair in ends.windows(2) {
            prop_assert!(pair[0].1.is_some_and(|until| until <= *pair[1].0), "{pair:?}");
        }
        let open = ends.iter().filter(|(_, until)| until.is_none()).count();
        prop_assert_eq!(open, usize::from(fold.table.open(A).is_some()));
    }

    #[test]
    fn an_entry_is_read_as_it_was_packed(from in 0..1_u64 << 48, ends in 0..1_u64 << 48, holder: u64, place: u32, partner: bool) {
        let open = Open {
            from: Timestamp::from_milliseconds(from),
            ends: Timestamp::from_milliseconds(ends),
            granted_by: if partner { GrantedBy::Partner } else { GrantedBy::ThisServer },
            is_over: false,
            holder,
            place,
        };
        let mut table = Table::default();
        table.set(A, Some(open));
        prop_assert_eq!(table.get(A), Some(open));
        prop_assert_eq!(table.iter_from(0).collect::<Vec<_>>(), [(A, open)]);
        table.set(A, None);
        prop_assert_eq!((table.len(), table.get(A)), (0, None));
    }
}
