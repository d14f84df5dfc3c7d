//! Every scenario that is shipped, in a small size, against the real server; renewals through a relay
//! (RFC 5107); a pool that runs dry. Renewals from the client's own address are in `peers.rs`, and the
//! scenario `registration`, which needs a gate, in `load_registration.rs`.

use vestibule_load::result::{Ending, Pair, RunResult};
use vestibule_load::scenario::SHIPPED;
use vestibule_tests::lab::Process;
use vestibule_tests::servers::{Ground, Networks, RELAY_STEP, SERVER, Server};

const STATE: &str = "/run/state";
const RESULT: &str = "/run/result.json";
/// The shortest that the server takes.
const LIFETIME_SECONDS: u32 = 10;

/// The scenarios, and in which size they are played.
const SIZES: [(&str, &str); 10] = [
    ("steady", "--clients 200 --per-second 200 --seconds 7"),
    ("morning", "--clients 200 --per-second 100 --seconds 4"),
    ("avalanche", "--clients 200 --seconds 5"),
    ("batches", "--clients 900"),
    ("churn", "--clients 200 --per-second 100 --seconds 3"),
    ("misbehaving", "--clients 200 --per-second 200 --seconds 4"),
    ("starve", "--clients 200 --per-second 100 --seconds 3"),
    ("ramp", "--clients 2000 --per-second 500 --seconds 1"),
    ("crowd", "--clients 200 --per-second 200 --seconds 3"),
    ("ceiling", "--clients 1000"),
];

struct Setting {
    ground: Ground,
    _server: Process,
}

impl Setting {
    fn new(pool: u32) -> Self {
        let ground = Ground::new().unwrap();
        ground.server.ok(&format!("mkdir {STATE}")).unwrap();
        let networks = Networks { relays: 2, pool, lifetime_seconds: LIFETIME_SECONDS };
        let server = ground.start(Server::Vestibule, networks, STATE.as_ref(), "").unwrap();
        Self { ground, _server: server }
    }

    fn run(&self, scenario: &str, more: &str) -> (RunResult, String) {
        let output = self
            .ground
            .load
            .run(&format!(
                "vestibule-load run {scenario} --server {SERVER} --giaddr {} --relays 2 \
                 --relay-step {RELAY_STEP} --json {RESULT} {more}",
                Networks::relay(0)
            ))
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{scenario}: {}", output.both());
        let result = serde_json::from_str(&self.ground.load.read(RESULT).unwrap()).unwrap();
        (result, output.stdout)
    }
}

#[test]
fn every_shipped_scenario_leaves_a_clean_ledger() {
    let setting = Setting::new(20_000);
    for (place, (name, size)) in SIZES.iter().enumerate() {
        let first = 1_000_000 * (place + 1);
        let (result, said) = setting.run(name, &format!("{size} --first-client {first}"));
        assert_eq!(result.ending, Ending::Complete, "{name}: {said}");
        assert_eq!(result.ledger.violations, 0, "{name}: {said}");
        assert!(result.totals.doras >= 100, "{name}: {said}");
        assert_eq!(result.knee.is_some(), *name == "ramp");
        match *name {
            "steady" => {
                let renewals = result.latency(Pair::RenewAck).map_or(0, |pair| pair.count());
                assert!(renewals > 0 && result.totals.bound_at_end == 200, "{said}");
            }
            "ramp" => {
                // How much this machine bears is not the test's; that it is said is.
                assert!(
                    said.contains("was too much") || said.contains("no rate that was tried"),
                    "{said}"
                );
                assert!(result.phases.iter().all(|phase| phase.within_limits.is_some()), "{said}");
            }
            "avalanche" => assert_eq!(result.phases.len(), 3, "{said}"),
            _ => {}
        }
    }
    let played: Vec<&str> = SIZES.iter().map(|(name, _)| *name).collect();
    for (name, _) in SHIPPED {
        assert!(played.contains(&name) || name == "registration", "{name} is not played");
    }
}

#[test]
fn with_an_override_of_the_server_identifier_renewals_pass_the_relay() {
    let setting = Setting::new(1000);
    // Nothing can leave from a client's own address, nor come to it: only the relays are of this host.
    let load = &setting.ground.load;
    let routes = load.ok("ip route show table local type local").unwrap();
    let all =
        routes.lines().find(|route| route.starts_with("local 10.") && route.contains('/')).unwrap();
    load.ip(&format!("route del {all}")).unwrap();
    for relay in 0..2 {
        load.ip(&format!("address add {}/32 dev lo", Networks::relay(relay))).unwrap();
    }
    let (result, said) = setting
        .run("steady", "--clients 100 --per-second 100 --seconds 8 --server-identifier-override");
    let renewals = result.latency(Pair::RenewAck).map_or(0, |pair| pair.count());
    assert!(renewals >= 100, "{renewals} renewals: {said}");
    assert!(result.latency(Pair::RebindAck).is_none(), "{said}");
    assert_eq!(
        (result.totals.doras, result.totals.expiries, result.ledger.violations),
        (100, 0, 0)
    );
    assert_eq!(result.limits.send_errors, 0, "{said}");
    // Without the override they would have to leave from the clients' addresses, and cannot.
    let output = load
        .run(&format!(
            "vestibule-load run steady --clients 20 --per-second 100 --seconds 8 --first-client 5001 \
             --server {SERVER} --giaddr {} --json {RESULT}",
            Networks::relay(0)
        ))
        .unwrap();
    let result: RunResult = serde_json::from_str(&load.read(RESULT).unwrap()).unwrap();
    assert!(result.latency(Pair::RenewAck).is_none(), "{}", output.both());
    assert!(result.limits.send_errors > 0, "{}", output.both());
}

#[test]
fn a_pool_that_runs_dry_is_named_with_its_relay() {
    let setting = Setting::new(50);
    let (result, said) = setting.run("starve", "--clients 400 --per-second 100 --seconds 6");
    assert_eq!(result.ledger.violations, 0, "{said}");
    assert!((1..=100).contains(&result.totals.doras), "{said}");
    for relay in 0..2 {
        let kind = format!("relay {}: no more offers", Networks::relay(relay));
        let error = result.errors.iter().find(|error| error.kind == kind);
        let remark = &error.unwrap_or_else(|| panic!("no '{kind}' in {said}")).remark;
        assert!(
            remark.contains("run dry") && error.is_some_and(|error| error.count >= 10),
            "{remark}"
        );
    }
}
