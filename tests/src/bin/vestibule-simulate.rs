//! `vestibule-simulate`: runs seeds of the simulator and says which of them break a promise.
//!
//! One seed always does the same, so a failing one is run again with the line that it prints.

use clap::Parser;
use std::process::ExitCode;
use vestibule_tests::simulator::{self, Outcome};

/// Runs the single-server simulator.
#[derive(Debug, Parser)]
#[command(name = "vestibule-simulate")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How long the phase with faults is, in simulated milliseconds; if not given, as the seed wants it.
    #[arg(long)]
    steps: Option<u64>,
    /// A line for every seed, not only for those that fail.
    #[arg(long)]
    verbose: bool,
    /// How many of the last events of a failing seed are printed.
    #[arg(long, default_value_t = 60)]
    last: usize,
    /// Ends with the first failing seed, and says how short its phase with faults can be.
    #[arg(long)]
    shrink: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut acknowledgements, mut restarts, mut shed, mut failed) = (0, 0, 0, 0_u64);
    let (mut moves, mut refusals) = (0, 0);
    for seed in (arguments.from..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        let outcome = simulator::run(seed, arguments.steps);
        acknowledgements += outcome.acknowledgements;
        restarts += outcome.restarts;
        shed += outcome.shed;
        moves += outcome.moves;
        refusals += outcome.refusals;
        if arguments.verbose {
            say(&outcome);
        }
        if outcome.violation.is_some() {
            failed += 1;
            let (steps, outcome) = if arguments.shrink {
                shrink(outcome, arguments.steps)
            } else {
                (arguments.steps, outcome)
            };
            explain(&outcome, steps, arguments.last);
            if arguments.shrink {
                break;
            }
        }
    }
    println!(
        "{} seeds from {}: {failed} failed, {acknowledgements} ACKs, {restarts} restarts, {shed} packets shed, {moves} hosts moved, {refusals} registrations refused",
        arguments.seeds, arguments.from
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(outcome: &Outcome) {
    println!(
        "seed {}: trace {:016x}, {} events, {} ACKs, {} restarts, {} packets shed, {} hosts moved, {} registrations refused",
        outcome.seed,
        outcome.hash,
        outcome.events,
        outcome.acknowledgements,
        outcome.restarts,
        outcome.shed,
        outcome.moves,
        outcome.refusals
    );
}

fn explain(outcome: &Outcome, steps: Option<u64>, last: usize) {
    let Some(violation) = &outcome.violation else { return };
    for event in outcome.last.iter().skip(outcome.last.len().saturating_sub(last)) {
        println!("    {event}");
    }
    let steps = steps.map(|steps| format!(" --steps {steps}")).unwrap_or_default();
    println!("seed {} breaks {violation}", outcome.seed);
    println!("again: vestibule-simulate --seeds 1 --from {}{steps}", outcome.seed);
}

/// The shortest phase with faults, of those that were tried, after which the seed still fails.
fn shrink(outcome: Outcome, steps: Option<u64>) -> (Option<u64>, Outcome) {
    let mut best = (steps, outcome);
    for steps in (1..200).map(|thousands| thousands * 1000) {
        let shorter = simulator::run(best.1.seed, Some(steps));
        if shorter.violation.is_some() {
            best = (Some(steps), shorter);
            break;
        }
    }
    best
}
