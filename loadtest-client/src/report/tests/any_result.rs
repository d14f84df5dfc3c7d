//! Results of any kind, as far as the types let them be.

use crate::conduct::{Conduct, ConductRow};
use crate::histogram::Histogram;
use crate::restart::RestartCheck;
use crate::result::*;
use crate::story::{Step, Stories, Story, StoryKind};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};

fn number() -> BoxedStrategy<u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..100_000_u64, any::<u64>()].boxed()
}

fn real() -> BoxedStrategy<f64> {
    prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        0.0..1e6,
        any::<f64>()
    ]
    .boxed()
}

fn words() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just(super::HOSTILE.to_owned()),
        "[a-z ]{0,100}",
        "\\PC{0,40}",
        vec(any::<char>(), 0..40).prop_map(String::from_iter),
        "[x]{1200}",
    ]
    .boxed()
}

fn any_histogram() -> BoxedStrategy<Histogram> {
    let recorded = vec(number(), 0..30).prop_map(|values| {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    });
    // What no run makes, but a file may say.
    let written = (number(), number(), vec((0..=crate::histogram::VALUE_MAX, number()), 0..6))
        .prop_map(|(one, other, buckets)| {
            let count = buckets.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            let (min, max) = (one.min(other), one.max(other));
            let json = serde_json::json!({
                "count": count, "sum": u64::MAX, "min": min, "max": max, "buckets": buckets
            });
            serde_json::from_value(json).unwrap_or_default()
        });
    prop_oneof![recorded, written].boxed()
}

fn pair() -> BoxedStrategy<Pair> {
    prop_oneof![
        Just(Pair::DiscoverOffer),
        Just(Pair::RequestAck),
        Just(Pair::Dora),
        Just(Pair::RenewAck),
        Just(Pair::RebindAck),
        Just(Pair::RebootAck),
        Just(Pair::Lie),
        Just(Pair::Registration),
        Just(Pair::Truth),
        Just(Pair::Reach),
        Just(Pair::UsableNetwork)
    ]
    .boxed()
}

fn phase() -> BoxedStrategy<Phase> {
    (
        words(),
        real(),
        real(),
        option::of(real()),
        [number(), number(), number()],
        any_histogram(),
        any::<Option<bool>>(),
    )
        .prop_map(
            |(
                name,
                began_seconds,
                elapsed_seconds,
                arrivals_per_second,
                counts,
                latency,
                within,
            )| {
                let [began, acknowledged, lost] = counts;
                Phase {
                    name,
                    began_seconds,
                    elapsed_seconds,
                    arrivals_per_second,
                    began,
                    acknowledged,
                    lost,
                    latency,
                    within_limits: within,
                }
            },
        )
        .boxed()
}

fn second() -> BoxedStrategy<Second> {
    vec(number(), 13)
        .prop_map(|numbers| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or(0);
            Second {
                intended: next(),
                began: next(),
                acknowledged: next(),
                refused: next(),
                expired: next(),
                retransmitted: next(),
                in_flight: next(),
                bound: next(),
                p50_microseconds: next(),
                p99_microseconds: next(),
                max_microseconds: next(),
                lateness_microseconds: next(),
                kernel_drops: next(),
            }
        })
        .boxed()
}

fn relay() -> BoxedStrategy<RelayRow> {
    (any::<Ipv4Addr>(), vec(number(), 8))
        .prop_map(|(giaddr, numbers)| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or(0);
            RelayRow {
                giaddr,
                clients: next(),
                sent: next(),
                received: next(),
                acknowledged: next(),
                refused: next(),
                retransmitted: next(),
                p50_microseconds: next(),
                p99_microseconds: next(),
            }
        })
        .boxed()
}

fn settings() -> BoxedStrategy<Settings> {
    (
        [words(), words(), words()],
        vec((any::<Ipv4Addr>(), any::<u16>()), 0..4),
        [number(), number(), number()],
        option::of(real()),
        option::of(number()),
        option::of(words()),
    )
        .prop_map(|(texts, servers, numbers, arrivals_per_second, in_flight_max, durability)| {
            let [scenario, label, scenario_toml] = texts;
            let [clients, relays, seed] = numbers;
            let servers =
                servers.into_iter().map(|(address, port)| SocketAddrV4::new(address, port));
            Settings {
                scenario,
                label,
                scenario_toml,
                servers: servers.collect(),
                clients,
                relays,
                arrivals_per_second,
                in_flight_max,
                seed,
                durability,
            }
        })
        .boxed()
}

fn limits() -> BoxedStrategy<Limits> {
    let verdict = prop_oneof![
        Just(Limit::Nothing),
        Just(Limit::Generator),
        Just(Limit::Host),
        Just(Limit::Server)
    ];
    (verdict, words(), vec(number(), 6), real())
        .prop_map(|(verdict, reason, numbers, busy)| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or(0);
            Limits {
                verdict,
                reason,
                late: next(),
                lateness_p99_microseconds: next(),
                lateness_max_microseconds: next(),
                kernel_drops: next(),
                send_errors: next(),
                processor_microseconds: next(),
                busy,
            }
        })
        .boxed()
}

fn totals() -> BoxedStrategy<Totals> {
    vec(number(), 13)
        .prop_map(|numbers| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or(0);
            Totals {
                discovers: next(),
                requests: next(),
                releases: next(),
                declines: next(),
                informs: next(),
                retransmissions: next(),
                offers: next(),
                acknowledgements: next(),
                refusals: next(),
                expiries: next(),
                doras: next(),
                open_at_end: next(),
                bound_at_end: next(),
            }
        })
        .boxed()
}

fn conduct_row((conduct, numbers): (usize, Vec<u64>)) -> ConductRow {
    let mut numbers = numbers.into_iter();
    let mut next = || numbers.next().unwrap_or(0);
    ConductRow {
        conduct: Conduct::ALL[conduct],
        clients: next(),
        sent: next(),
        answered: next(),
        acknowledged: next(),
        refused: next(),
        expired: next(),
    }
}

fn story_of(told: (String, String, Vec<(String, String)>, u64)) -> Story {
    let (at, sentence, steps, steps_left_out) = told;
    Story {
        kind: StoryKind::Refused,
        client: sentence.clone(),
        giaddr: Ipv4Addr::LOCALHOST,
        address: None,
        at,
        sentence,
        steps: steps.into_iter().map(|(at, what)| Step { at, what }).collect(),
        steps_left_out,
    }
}

pub(super) fn any_result() -> BoxedStrategy<RunResult> {
    let rows = (
        vec(phase(), 0..5),
        vec(second(), 0..20),
        vec((pair(), any_histogram()), 0..9),
        vec((words(), number(), words()), 0..4),
        vec(relay(), 0..40),
    );
    let ledger = (number(), number(), number(), vec((words(), words()), 0..4));
    let server = option::of((number(), number(), number()));
    let knee = option::of((real(), option::of(real())));
    let restart = option::of((words(), [number(), number(), number(), number()]));
    let conducts = vec((0..Conduct::ALL.len(), vec(number(), 6)), 0..12);
    let story = (words(), words(), vec((words(), words()), 0..20), number());
    let clients = (conducts, restart, vec(story, 0..4), number());
    let registration = option::of((number(), number(), number(), number()));
    let run = (number(), real(), 0..3, totals());
    let machine = ([words(), words(), words()], number(), number());
    let ends = (knee, registration);
    (settings(), machine, run, rows, ledger, limits(), server, ends, clients)
        .prop_map(|(settings, machine, run, rows, ledger, limits, server, ends, clients)| {
            let (knee, registration) = ends;
            let (conducts, restart, told, left_out) = clients;
            let ([processor, kernel, program], processors, memory_bytes) = machine;
            let (began_unix_milliseconds, elapsed_seconds, ending, totals) = run;
            let (phases, timeline, latencies, errors, relays) = rows;
            let (acknowledgements, held, violations, shown) = ledger;
            RunResult {
                format: FORMAT.to_owned(),
                version: VERSION,
                settings,
                machine: Machine { processor, processors, memory_bytes, kernel, program },
                began_unix_milliseconds,
                elapsed_seconds,
                ending: match ending {
                    0 => Ending::Complete,
                    1 => Ending::Interrupted,
                    _ => Ending::Unanswered,
                },
                totals,
                phases,
                timeline,
                latencies: latencies
                    .into_iter()
                    .map(|(pair, histogram)| PairLatency { pair, histogram })
                    .collect(),
                errors: errors
                    .into_iter()
                    .map(|(kind, count, remark)| ErrorCount { kind, count, remark })
                    .collect(),
                relays,
                ledger: LedgerVerdict {
                    acknowledgements,
                    held,
                    violations,
                    shown: shown
                        .into_iter()
                        .map(|(rule, story)| ViolationRow { rule, story })
                        .collect(),
                },
                conducts: conducts.into_iter().map(conduct_row).collect(),
                restart_check: restart.map(|(command, [asked, known, gone, too_old])| {
                    RestartCheck { command, asked, known, gone, too_old }
                }),
                stories: Stories { told: told.into_iter().map(story_of).collect(), left_out },
                limits,
                server: server.map(|(processor_microseconds, before, after)| ServerCost {
                    processor_microseconds,
                    memory_bytes_before: before,
                    memory_bytes_after: after,
                }),
                knee: knee.map(|(good_per_second, bad_per_second)| Knee {
                    good_per_second,
                    bad_per_second,
                }),
                registration: registration.map(
                    |(newcomers, without_a_lease, usable, lied_to_after_registration)| {
                        RegistrationVerdict {
                            newcomers,
                            without_a_lease,
                            usable,
                            lied_to_after_registration,
                        }
                    },
                ),
            }
        })
        .boxed()
}
