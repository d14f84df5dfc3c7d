//! What the kernel sets should hold, asked page by page.

use super::*;
use crate::{GateElement, Register};

/// All pages of this size, after each other.
fn pages(bench: &Bench, limit: usize) -> Vec<GateElement> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let query = Query::Gate { after, limit };
        let QueryAnswer::Gate { elements, next } = bench.server.query(bench.now, &query) else {
            panic!("another answer")
        };
        assert!(elements.len() <= limit);
        all.extend(elements);
        after = next;
        if next.is_none() {
            return all;
        }
    }
}

#[test]
fn pages_of_any_size_are_the_whole_gate() {
    let mut bench = Bench::new(20);
    for number in 1..=9 {
        bench.lease(number).unwrap();
    }
    for number in [2, 5] {
        let register =
            Command::Register(Register::of(RegistrationTarget::Hardware(hardware(number))));
        bench.input(Input::Command(Ticket(u64::from(number)), register));
    }
    let whole = bench.server.gate(bench.now);
    assert_eq!(whole.len(), 9);
    for limit in [1, 2, 4, 9, 1000] {
        let pages = pages(&bench, limit);
        let shown: Vec<_> =
            pages.iter().map(|one| (one.address, one.side, one.milliseconds)).collect();
        assert_eq!(shown, whole, "pages of {limit}");
    }
}

#[test]
fn a_side_is_as_old_as_the_younger_of_lease_and_registration() {
    let mut bench = Bench::new(2);
    let addresses = [bench.lease(1).unwrap(), bench.lease(2).unwrap()];
    bench.pass(30);
    let register = Command::Register(Register::of(RegistrationTarget::Address(addresses[1])));
    bench.input(Input::Command(Ticket(1), register));
    bench.pass(10);
    let mut since: Vec<_> =
        pages(&bench, 10).iter().map(|one| (one.address, one.since_milliseconds)).collect();
    since.sort_unstable();
    let mut expected = [(addresses[0], 40_000), (addresses[1], 10_000)];
    expected.sort_unstable();
    assert_eq!(since, expected);
}
