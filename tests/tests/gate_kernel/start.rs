//! A start with more addresses than one transaction takes.

use super::surroundings::*;
use std::net::Ipv4Addr;
use vestibule_core::Side;
use vestibule_firewall::{Gate, Look};
use vestibule_tests::isolated;
use vestibule_tests::isolated::command;

/// The table without the elements of its sets, its parts in an order of their own: a chain that was there
/// before comes first.
fn structure() -> Vec<String> {
    let listing = command("nft --terse --stateless list table inet vestibule");
    let listing = listing.replacen("{\n", "{\n\n", 1).replace("\n}\n", "\n\n}");
    let mut parts: Vec<String> = listing.split("\n\n").map(|part| part.trim().to_owned()).collect();
    parts.sort_unstable();
    parts
}

#[test]
fn many_addresses_go_in_piece_by_piece_and_the_table_is_the_same() {
    isolated!(|| {
        const COUNT: u32 = 70_000;
        let side = |n| if n % 3 == 0 { Side::Registered } else { Side::Unregistered };
        let contents: Vec<(Ipv4Addr, Side, u64)> =
            (0..COUNT).map(|n| (address(n), side(n), HOUR_MILLISECONDS)).collect();
        drop(Gate::open(ruleset(COUNT), &contents[..3]).unwrap());
        let wanted = structure();
        command("nft delete table inet vestibule");
        let (mut gate, mut watch) =
            Gate::open_watched(ruleset(COUNT), &elements(contents.clone())).unwrap();
        assert_eq!(watch.poll().unwrap(), None, "nobody else did anything");
        assert_eq!(structure(), wanted);
        let expected: Vec<(Ipv4Addr, Side)> = (0..COUNT).map(|n| (address(n), side(n))).collect();
        assert_eq!(sides(&mut gate), expected);
        let mut look = Look::open("vestibule").unwrap();
        for (side, other) in
            [(Side::Registered, Side::Unregistered), (Side::Unregistered, Side::Registered)]
        {
            let (address, _) = *expected.iter().rfind(|(_, of)| *of == side).unwrap();
            let left = look.milliseconds_left(side, address).unwrap();
            assert!(left.is_some_and(|left| (1..=HOUR_MILLISECONDS).contains(&left)), "{left:?}");
            assert_eq!(look.milliseconds_left(other, address).unwrap(), None);
        }
        drop(gate);

        // Cut off before its rules: sets, and in a chain of ours what somebody else put there.
        command("nft flush ruleset");
        command("nft add table inet vestibule");
        command(
            "nft add chain inet vestibule gate_forward { type filter hook forward priority 0; policy accept; }",
        );
        command("nft add rule inet vestibule gate_forward accept");
        let mut gate = Gate::open(ruleset(COUNT), &contents).unwrap();
        assert_eq!(structure(), wanted);
        command("nft flush ruleset");
        command("nft add table inet vestibule");
        command("nft add set inet vestibule registered { type ipv4_addr; flags timeout; }");
        gate.replace(&contents).unwrap();
        assert_eq!(structure(), wanted);
        assert_eq!(sides(&mut gate), expected);
    });
}
