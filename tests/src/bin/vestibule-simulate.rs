//! `vestibule-simulate`: runs seeds of a simulator and says which of them break a promise.
//!
//! One seed always does the same, so a failing one is run again with the line that it prints.

use clap::{Parser, ValueEnum};
use std::process::ExitCode;
use vestibule_tests::simulator::pair::{self, Operators};
use vestibule_tests::simulator::{self, Violation};

/// Runs a simulator.
#[derive(Debug, Parser)]
#[command(name = "vestibule-simulate")]
struct Arguments {
    /// What is simulated.
    #[arg(long, value_enum, default_value_t = World::Single)]
    world: World,
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

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum World {
    /// One server.
    Single,
    /// A failover pair with careful operators.
    Pair,
    /// A failover pair whose operators also declare a partner down that is not: what that costs is counted.
    PairCareless,
}

/// What became of a seed.
struct Outcome {
    seed: u64,
    hash: u64,
    events: u64,
    counts: Vec<(u64, &'static str)>,
    violation: Option<Violation>,
    last: Vec<String>,
}

impl World {
    fn run(self, seed: u64, steps: Option<u64>) -> Outcome {
        let operators = match self {
            Self::Single => {
                let simulator::Outcome {
                    acknowledgements,
                    restarts,
                    shed,
                    moves,
                    refusals,
                    hash,
                    events,
                    violation,
                    last,
                    ..
                } = simulator::run(seed, steps);
                let counts = vec![
                    (acknowledgements, "ACKs"),
                    (restarts, "restarts"),
                    (shed, "packets shed"),
                    (moves, "hosts moved"),
                    (refusals, "registrations refused"),
                ];
                return Outcome { seed, hash, events, counts, violation, last };
            }
            Self::Pair => Operators::Careful,
            Self::PairCareless => Operators::Careless,
        };
        let pair::Outcome {
            acknowledgements,
            restarts,
            connections,
            messages,
            updates,
            costs,
            hash,
            events,
            violation,
            last,
            ..
        } = pair::run(seed, operators, steps);
        let counts = vec![
            (acknowledgements, "ACKs"),
            (restarts, "restarts"),
            (connections, "connections"),
            (messages, "messages"),
            (updates, "updates"),
            (costs, "promises broken by operators"),
        ];
        Outcome { seed, hash, events, counts, violation, last }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::Pair => " --world pair",
            Self::PairCareless => " --world pair-careless",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut totals, mut failed): (Vec<(u64, &'static str)>, u64) = (Vec::new(), 0);
    for seed in (arguments.from..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        let outcome = arguments.world.run(seed, arguments.steps);
        if totals.is_empty() {
            totals = outcome.counts.iter().map(|(_, what)| (0, *what)).collect();
        }
        for (total, (count, _)) in totals.iter_mut().zip(&outcome.counts) {
            total.0 += count;
        }
        if arguments.verbose {
            let (hash, events) = (outcome.hash, outcome.events);
            println!("seed {seed}: trace {hash:016x}, {events} events, {}", said(&outcome.counts));
        }
        if outcome.violation.is_some() {
            failed += 1;
            let (steps, outcome) = if arguments.shrink {
                shrink(arguments.world, outcome, arguments.steps)
            } else {
                (arguments.steps, outcome)
            };
            explain(arguments.world, &outcome, steps, arguments.last);
            if arguments.shrink {
                break;
            }
        }
    }
    let (seeds, from) = (arguments.seeds, arguments.from);
    println!("{seeds} seeds from {from}: {failed} failed, {}", said(&totals));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(counts: &[(u64, &'static str)]) -> String {
    counts.iter().map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn explain(world: World, outcome: &Outcome, steps: Option<u64>, last: usize) {
    let Some(violation) = &outcome.violation else { return };
    for event in outcome.last.iter().skip(outcome.last.len().saturating_sub(last)) {
        println!("    {event}");
    }
    let steps = steps.map(|steps| format!(" --steps {steps}")).unwrap_or_default();
    println!("seed {} breaks {violation}", outcome.seed);
    println!(
        "again: vestibule-simulate{} --seeds 1 --from {}{steps}",
        world.option(),
        outcome.seed
    );
}

/// The shortest phase with faults, of those that were tried, after which the seed still fails.
fn shrink(world: World, outcome: Outcome, steps: Option<u64>) -> (Option<u64>, Outcome) {
    for shorter in (1..300).map(|thousands| thousands * 1000) {
        let again = world.run(outcome.seed, Some(shorter));
        if again.violation.is_some() {
            return (Some(shorter), again);
        }
    }
    (steps, outcome)
}
