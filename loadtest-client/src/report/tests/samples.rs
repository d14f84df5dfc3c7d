//! Results that were made up, the same ones every time.

use crate::conduct::{Conduct, ConductRow};
use crate::histogram::Histogram;
use crate::random::Random;
use crate::restart::RestartCheck;
use crate::result::*;
use crate::story::{Step, Stories, Story, StoryKind};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Times around a median with a long tail.
fn histogram(seed: u64, count: u64, median: u64) -> Histogram {
    let mut random = Random::new(seed);
    let mut histogram = Histogram::default();
    for _ in 0..count {
        let slow = if random.below(100) == 0 { 8 } else { 1 };
        let slower = if random.below(2000) == 0 { 12 } else { 1 };
        histogram.record((median / 2 + random.below(median)) * slow * slower);
    }
    histogram
}

/// A run in which nothing happened.
pub(in crate::report) fn empty() -> RunResult {
    RunResult {
        format: FORMAT.to_owned(),
        version: VERSION,
        settings: Settings {
            scenario: "steady".to_owned(),
            label: "10.0.0.67:67".to_owned(),
            scenario_toml: String::new(),
            servers: Vec::new(),
            clients: 0,
            relays: 0,
            arrivals_per_second: None,
            in_flight_max: None,
            seed: 0,
            durability: None,
        },
        machine: Machine {
            processor: String::new(),
            processors: 0,
            memory_bytes: 0,
            kernel: String::new(),
            program: String::new(),
        },
        began_unix_milliseconds: 0,
        elapsed_seconds: 0.0,
        ending: Ending::Complete,
        totals: Totals::default(),
        phases: Vec::new(),
        timeline: Vec::new(),
        latencies: Vec::new(),
        errors: Vec::new(),
        relays: Vec::new(),
        conducts: Vec::new(),
        ledger: LedgerVerdict::default(),
        restart_check: None,
        stories: Stories::default(),
        limits: Limits {
            verdict: Limit::Nothing,
            reason: String::new(),
            late: 0,
            lateness_p99_microseconds: 0,
            lateness_max_microseconds: 0,
            kernel_drops: 0,
            send_errors: 0,
            processor_microseconds: 0,
            busy: 0.0,
        },
        server: None,
        knee: None,
        registration: None,
    }
}

/// Clients of several kinds, some of which lost their leases, and a restart that lost one more.
pub(in crate::report) fn troubled() -> RunResult {
    let mut result = one_sample();
    let row = |conduct, clients, refused| ConductRow {
        conduct,
        clients,
        sent: 4 * clients + 1_000_000,
        answered: 3 * clients,
        acknowledged: 2 * clients,
        refused,
        expired: clients / 10,
    };
    result.conducts = vec![
        row(Conduct::Orderly, 16_200, 0),
        row(Conduct::ComesFromHome, 1000, 1000),
        row(Conduct::Floods, 100, 0),
    ];
    result.restart_check = Some(RestartCheck {
        command: "systemctl restart vestibule-dhcpd".to_owned(),
        asked: 16_000,
        known: 15_999,
        gone: 1,
        too_old: 7,
    });
    let step = |at: &str, what: &str| Step {
        at: format!("2026-11-21T14:39:{at}Z"),
        what: what.to_owned(),
    };
    let story = Story {
        kind: StoryKind::Expired,
        client: "02:56:00:00:00:01".to_owned(),
        giaddr: Ipv4Addr::new(10, 20, 0, 1),
        address: Some(Ipv4Addr::new(10, 20, 0, 10)),
        at: "2026-11-21T14:39:59.000Z".to_owned(),
        sentence:
            "02:56:00:00:00:01 behind 10.20.0.1 lost 10.20.0.10 at 2026-11-21T14:39:59.000Z: its \
                   lease ended, and 1 RENEW and 1 REBIND had no ACK"
                .to_owned(),
        steps: vec![
            step("29.000", "got ACK"),
            step("44.000", "sent RENEW"),
            step("55.250", "sent REBIND"),
        ],
        steps_left_out: 3,
    };
    result.stories = Stories { told: vec![story; 5], left_out: 20 };
    result
}

/// One exchange in one second behind one relay.
pub(in crate::report) fn one_sample() -> RunResult {
    let mut histogram = Histogram::default();
    histogram.record(1234);
    let mut result = empty();
    result.settings.servers = vec![SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 67), 67)];
    (result.settings.clients, result.settings.relays) = (1, 1);
    result.settings.in_flight_max = Some(1);
    result.elapsed_seconds = 0.5;
    result.totals = Totals {
        discovers: 1,
        requests: 1,
        offers: 1,
        acknowledgements: 1,
        doras: 1,
        bound_at_end: 1,
        ..Totals::default()
    };
    result.phases = vec![Phase {
        name: "arrivals".to_owned(),
        began_seconds: 0.0,
        elapsed_seconds: 0.5,
        arrivals_per_second: None,
        began: 1,
        acknowledged: 1,
        lost: 0,
        latency: histogram.clone(),
        within_limits: None,
    }];
    result.timeline = vec![Second {
        intended: 1,
        began: 1,
        acknowledged: 1,
        bound: 1,
        p50_microseconds: 1234,
        p99_microseconds: 1234,
        max_microseconds: 1234,
        ..Second::default()
    }];
    result.latencies = vec![PairLatency { pair: Pair::Dora, histogram }];
    result.relays = vec![RelayRow {
        giaddr: Ipv4Addr::new(10, 20, 0, 1),
        clients: 1,
        sent: 2,
        received: 2,
        acknowledged: 1,
        refused: 0,
        retransmitted: 0,
        p50_microseconds: 1234,
        p99_microseconds: 1234,
    }];
    result.ledger =
        LedgerVerdict { acknowledgements: 1, held: 1, violations: 0, shown: Vec::new() };
    result
}

/// A minute of a campus with losses in its middle.
pub(in crate::report) fn busy() -> RunResult {
    let mut result = one_sample();
    result.settings.label = "Kea 2.2, memfile".to_owned();
    result.settings.scenario_toml = "scenario = \"steady\"\nclients = 20000\n".to_owned();
    (result.settings.clients, result.settings.relays) = (20_000, 40);
    (result.settings.arrivals_per_second, result.settings.in_flight_max) = (Some(1000.0), None);
    result.settings.seed = 42;
    result.settings.durability = Some("no: never syncs".to_owned());
    result.machine = Machine {
        processor: "Example Processor 3000".to_owned(),
        processors: 2,
        memory_bytes: 4 << 30,
        kernel: "6.1.0".to_owned(),
        program: "0.1.0".to_owned(),
    };
    result.began_unix_milliseconds = 1_795_183_200_000;
    result.elapsed_seconds = 60.02;
    let mut random = Random::new(1);
    result.timeline = (0..60_u64)
        .map(|second| {
            let stalls = (30..34).contains(&second);
            let acknowledged = if stalls { 400 } else { 990 + random.below(20) };
            let p99 = if stalls { 900_000 } else { 8000 + random.below(4000) };
            Second {
                intended: 1000,
                began: 1000,
                acknowledged,
                refused: u64::from(second % 20 == 19),
                expired: u64::from(second == 33) * 3,
                retransmitted: if stalls { 580 + random.below(40) } else { random.below(3) },
                in_flight: if stalls { 600 * (second - 29) } else { 9 + random.below(5) },
                bound: (second + 1) * 333,
                p50_microseconds: if stalls { 200_000 } else { 1800 + random.below(300) },
                p99_microseconds: p99,
                max_microseconds: p99 * 2,
                lateness_microseconds: random.below(300),
                kernel_drops: u64::from(stalls) * 7,
            }
        })
        .collect();
    let dora = histogram(2, 57_600, 1900);
    result.totals = Totals {
        discovers: 61_300,
        requests: 59_000,
        releases: 120,
        declines: 0,
        informs: 0,
        retransmissions: 2400,
        offers: 58_900,
        acknowledgements: 57_600,
        refusals: 3,
        expiries: 3,
        doras: 20_000,
        open_at_end: 12,
        bound_at_end: 19_980,
    };
    result.phases = vec![Phase {
        name: "arrivals".to_owned(),
        elapsed_seconds: 60.02,
        arrivals_per_second: Some(1000.0),
        began: 60_000,
        acknowledged: 57_600,
        lost: 2400,
        latency: dora.clone(),
        ..result.phases[0].clone()
    }];
    result.latencies = vec![
        PairLatency { pair: Pair::DiscoverOffer, histogram: histogram(3, 20_000, 900) },
        PairLatency { pair: Pair::RequestAck, histogram: histogram(4, 20_000, 1000) },
        PairLatency { pair: Pair::Dora, histogram: dora },
        PairLatency { pair: Pair::RenewAck, histogram: histogram(5, 37_600, 700) },
    ];
    result.errors = vec![
        ErrorCount {
            kind: "exchange: no answer".to_owned(),
            count: 2400,
            remark: "the server did not answer within 16 s".to_owned(),
        },
        ErrorCount { kind: "reply: malformed".to_owned(), count: 2, remark: String::new() },
    ];
    result.relays = (0..40_u8)
        .map(|relay| RelayRow {
            giaddr: Ipv4Addr::new(10, 20, relay, 1),
            clients: 500,
            sent: 3000 + random.below(100),
            received: if relay == 17 { 0 } else { 2900 + random.below(100) },
            acknowledged: if relay == 17 { 0 } else { 1400 + random.below(40) },
            refused: 0,
            retransmitted: random.below(70),
            p50_microseconds: 1800 + random.below(200),
            p99_microseconds: 8000 + random.below(9000),
        })
        .collect();
    result.ledger =
        LedgerVerdict { acknowledgements: 57_600, held: 19_980, violations: 0, shown: Vec::new() };
    result.limits = Limits {
        verdict: Limit::Server,
        reason: "4 % of the exchanges were not answered, while the generator was on time"
            .to_owned(),
        late: 12,
        lateness_p99_microseconds: 180,
        lateness_max_microseconds: 2900,
        kernel_drops: 28,
        send_errors: 0,
        processor_microseconds: 3_400_000,
        busy: 0.057,
    };
    result.server = Some(ServerCost {
        processor_microseconds: 5_000_000,
        memory_bytes_before: 20 << 20,
        memory_bytes_after: 24 << 20,
    });
    result
}

/// A run with a broken server.
pub(in crate::report) fn violated() -> RunResult {
    let mut result = busy();
    result.settings.label = "a broken server".to_owned();
    result.ledger.violations = 3;
    let row =
        |rule: &str, story: &str| ViolationRow { rule: rule.to_owned(), story: story.to_owned() };
    result.ledger.shown = vec![
        row(
            "duplicate-address",
            "10.20.0.77 was acknowledged to 02:00:00:00:00:07 at 2026-11-20T14:00:10.000Z, and 02:00:00:00:00:03 has it until 2026-11-20T14:01:00.000Z",
        ),
        row(
            "shortened-lease",
            "02:00:00:00:01:07 was offered 10.20.0.9 for 3600 s and acknowledged it for 60 s at 2026-11-20T14:00:11.250Z",
        ),
    ];
    result
}

/// A run that looked for the highest rate.
pub(in crate::report) fn ramp() -> RunResult {
    let mut result = busy();
    result.settings.scenario = "ramp".to_owned();
    result.settings.arrivals_per_second = None;
    result.phases =
        [(1000, true), (2000, true), (4000, true), (8000, false), (6000, true), (7000, false)]
            .iter()
            .enumerate()
            .map(|(index, (rate, good))| Phase {
                name: format!("rate {rate}"),
                began_seconds: 10.0 * index as f64,
                elapsed_seconds: 10.0,
                arrivals_per_second: Some(*rate as f64),
                began: rate * 10,
                acknowledged: if *good { rate * 10 } else { rate * 8 },
                lost: if *good { 0 } else { rate * 2 },
                latency: histogram(*rate, 2000, if *good { 1500 } else { 90_000 }),
                within_limits: Some(*good),
            })
            .collect();
    result.knee = Some(Knee { good_per_second: 6000.0, bad_per_second: Some(7000.0) });
    result
}

/// Three servers, one of them three times.
pub(in crate::report) fn repeated() -> Vec<RunResult> {
    let mut runs = Vec::new();
    for (label, durability, doras, median, cost) in [
        ("null responder", "no", 13_500_000, 210, 58_000_000),
        ("Kea 2.2, memfile", "no: never syncs", 1_020_000, 3600, 89_000_000),
        ("null responder", "no", 13_900_000, 200, 59_000_000),
        ("Vestibule, gate on", "synced before every ACK", 5_400_000, 900, 60_000_000),
        ("null responder", "no", 12_900_000, 220, 57_000_000),
    ] {
        let mut run = busy();
        run.settings.label = label.to_owned();
        run.settings.durability = Some(durability.to_owned());
        run.totals.doras = doras;
        run.totals.acknowledgements = doras;
        run.ledger.acknowledgements = doras;
        run.latencies =
            vec![PairLatency { pair: Pair::Dora, histogram: histogram(doras, 20_000, median) }];
        run.limits.verdict = if label == "null responder" { Limit::Host } else { Limit::Server };
        run.server = Some(ServerCost {
            processor_microseconds: cost,
            memory_bytes_before: 20 << 20,
            memory_bytes_after: 26 << 20,
        });
        runs.push(run);
    }
    runs
}
