//! P1 as a property: no sequence of packets, commits, crashes and passing time makes two clients
//! hold one address. Beside it P2 to P4 and P6, which the same sequences put to the test.
//!
//! A failing sequence is shrunk and kept in `unique.proptest-regressions`, which every later run
//! tries first.

mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use world::judge::Judge;
use world::{Action, Ways, actions, ways};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/unique.proptest-regressions");

/// As many cases as `PROPTEST_CASES` asks for, 256 if it does not.
fn configuration() -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 100_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    }
}

/// Everything that happens, with the promises checked after each step; the transcript.
fn run(actions: &[Action], ways: Ways) -> String {
    let mut judge = Judge::new(ways);
    for action in actions {
        judge.act(*action);
    }
    judge.finish();
    judge.transcript
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn no_sequence_of_packets_makes_two_clients_hold_one_address(
        actions in actions(60),
        ways in ways(),
    ) {
        run(&actions, ways);
    }

    #[test]
    fn the_same_inputs_have_the_same_effects(actions in actions(60), ways in ways()) {
        prop_assert_eq!(run(&actions, ways), run(&actions, ways));
    }
}
