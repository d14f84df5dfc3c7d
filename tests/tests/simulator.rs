//! Seeds of the simulator: some hundreds each time, every one that ever failed, and determinism.

use std::path::Path;
use vestibule_tests::simulator;
use vestibule_tests::simulator::pair::{self, Operators};

/// Seeds that every run goes through.
const SEEDS: std::ops::Range<u64> = 7..307;

/// Seeds of the pair that every run goes through.
const PAIR_SEEDS: std::ops::Range<u64> = 1..201;

fn check(seed: u64, steps: Option<u64>, story: &str) -> simulator::Outcome {
    let outcome = simulator::run(seed, steps);
    if let Some(violation) = &outcome.violation {
        let steps = steps.map(|steps| format!(" --steps {steps}")).unwrap_or_default();
        let last = &outcome.last[outcome.last.len().saturating_sub(60)..];
        panic!(
            "{story}\n{}\nseed {seed} breaks {violation}\nagain: vestibule-simulate --seeds 1 --from {seed}{steps}",
            last.join("\n")
        );
    }
    outcome
}

fn quarter(number: u64) {
    let outcomes: Vec<_> =
        SEEDS.filter(|seed| seed % 4 == number).map(|seed| check(seed, Some(30_000), "")).collect();
    let acknowledged: u64 = outcomes.iter().map(|outcome| outcome.acknowledgements).sum();
    let restarts: u64 = outcomes.iter().map(|outcome| outcome.restarts).sum();
    assert!(acknowledged > 3_000 && restarts >= 25, "{acknowledged} ACKs, {restarts} restarts");
    let shed: u64 = outcomes.iter().map(|outcome| outcome.shed).sum();
    assert!(shed > 1_000, "{shed} packets shed for others");
    let moves: u64 = outcomes.iter().map(|outcome| outcome.moves).sum();
    let refusals: u64 = outcomes.iter().map(|outcome| outcome.refusals).sum();
    assert!(moves > 20 && refusals > 100, "{moves} hosts moved, {refusals} registrations refused");
}

#[test]
fn seeds_first_quarter() {
    quarter(0);
}

#[test]
fn seeds_second_quarter() {
    quarter(1);
}

#[test]
fn seeds_third_quarter() {
    quarter(2);
}

#[test]
fn seeds_last_quarter() {
    quarter(3);
}

#[test]
fn the_same_seed_has_the_same_trace() {
    for seed in [2, 3, 21, 29] {
        let (first, again) = (simulator::run(seed, None), simulator::run(seed, None));
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed}");
    }
    assert_ne!(simulator::run(2, None).hash, simulator::run(3, None).hash);
}

fn check_pair(seed: u64, steps: Option<u64>, story: &str) -> pair::Outcome {
    let outcome = pair::run(seed, Operators::Careful, steps);
    if let Some(violation) = &outcome.violation {
        let steps = steps.map(|steps| format!(" --steps {steps}")).unwrap_or_default();
        let last = &outcome.last[outcome.last.len().saturating_sub(60)..];
        panic!(
            "{story}\n{}\nseed {seed} breaks {violation}\nagain: vestibule-simulate --world pair --seeds 1 --from {seed}{steps}",
            last.join("\n")
        );
    }
    outcome
}

fn half_of_pairs(number: u64) {
    let seeds = PAIR_SEEDS.filter(|seed| seed % 2 == number);
    let outcomes: Vec<_> = seeds.map(|seed| check_pair(seed, Some(60_000), "")).collect();
    let sum = |count: fn(&pair::Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    let acknowledged = sum(|outcome| outcome.acknowledgements);
    let (restarts, connections) =
        (sum(|outcome| outcome.restarts), sum(|outcome| outcome.connections));
    let updates = sum(|outcome| outcome.updates);
    assert!(
        acknowledged > 5_000 && restarts > 50 && connections > 100 && updates > 5_000,
        "{acknowledged} ACKs, {restarts} restarts, {connections} connections, {updates} updates"
    );
}

#[test]
fn pairs_first_half() {
    half_of_pairs(1);
}

#[test]
fn pairs_second_half() {
    half_of_pairs(0);
}

#[test]
fn the_same_pair_has_the_same_trace() {
    for seed in [2, 3, 5] {
        let run = || pair::run(seed, Operators::Careful, Some(30_000));
        let (first, again) = (run(), run());
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed}");
    }
}

/// Whatever operators do, the pair is NORMAL again in the end, and nothing is said that ends a partner.
#[test]
fn careless_operators_cost_addresses_and_never_service() {
    let mut costs = 0;
    for seed in 90..110 {
        let outcome = pair::run(seed, Operators::Careless, None);
        assert_eq!(outcome.violation, None, "seed {seed}");
        costs += outcome.costs;
    }
    assert!(costs > 0, "a partner that was wrongly declared down must cost something");
}

/// The first line of each file is the seed, and the length of the phase with faults if it needs one; `pair`
/// before it if it is one of a pair. The rest is the story.
#[test]
fn what_once_failed_does_not_fail_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("tests/seeds is there") {
        let path = entry.expect("a folder can be read").path();
        let text = std::fs::read_to_string(&path).expect("a text file of ours");
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        let first = words.next();
        let is_pair = first == Some("pair");
        let seed = if is_pair { words.next() } else { first };
        let seed = seed.and_then(|word| word.parse().ok());
        let seed = seed.unwrap_or_else(|| panic!("{}: no seed", path.display()));
        let steps = words.next().map(|word| word.parse().expect("milliseconds"));
        if is_pair {
            check_pair(seed, steps, &text);
        } else {
            check(seed, steps, &text);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}
