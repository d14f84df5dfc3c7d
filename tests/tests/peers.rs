//! The load client against other people's servers and against ours: the same clients get and renew
//! their leases from each, and the ledger has nothing to say.
//!
//! It shows that the instrument speaks DHCP and not our dialect of it. Kea and ISC dhcpd are unpacked by
//! `tests/setup.sh peers`; where they are not there, the test says aloud that it did not run, and in
//! continuous integration (`CI=true`) it fails.

use std::io::Write as _;
use vestibule_load::result::{Ending, Pair, RunResult};
use vestibule_tests::lab::LabError;
use vestibule_tests::servers::{Ground, Networks, RELAY_STEP, SERVER, Server};

const CLIENTS: u64 = 500;
const RELAYS: u32 = 3;
/// The shortest that our server takes.
const LIFETIME_SECONDS: u32 = 10;
const STATE: &str = "/run/state";
const RESULT: &str = "/run/result.json";

/// It lasts longer than a lifetime: by its end whoever has not renewed has lost its lease, and that is
/// seen.
const SCENARIO: &str = r#"
name = "peers"
description = "lease and renew"
clients = 500
arrivals = { in-flight = 16 }
seconds = 13.0
stay = "renewing"
first-wait-milliseconds = 1000
"#;

/// What the load client found; `None` if the server is not on this machine.
fn lease_and_renew(server: Server) -> Option<RunResult> {
    let ground = Ground::new().unwrap();
    ground.server.ok(&format!("mkdir {STATE}")).unwrap();
    ground.load.write("/run/scenario.toml", SCENARIO).unwrap();
    let networks = Networks { relays: RELAYS, pool: 1000, lifetime_seconds: LIFETIME_SECONDS };
    let _process = match ground.start(server, networks, STATE.as_ref(), "") {
        Err(error @ LabError::NoPeer { .. }) => {
            did_not_run(server, &error);
            return None;
        }
        started => started.unwrap(),
    };
    ground
        .load
        .ok(&format!(
            "vestibule-load run /run/scenario.toml --server {SERVER} --giaddr {} --relays {RELAYS} \
             --relay-step {RELAY_STEP} --circuit-id --json {RESULT}",
            Networks::relay(0)
        ))
        .unwrap();
    Some(serde_json::from_str(&ground.load.read(RESULT).unwrap()).unwrap())
}

/// No silence: the harness keeps back what a passing test prints, but not what goes past its macros.
fn did_not_run(server: Server, error: &LabError) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{server} must be there in continuous integration: {error}"
    );
    let text = format!("NOT RUN: nothing was tested against {server}: {error}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

fn everybody_leases_and_renews(server: Server) {
    let Some(result) = lease_and_renew(server) else { return };
    let totals = result.totals;
    assert_eq!(result.ending, Ending::Complete);
    assert_eq!((totals.doras, totals.bound_at_end), (CLIENTS, CLIENTS), "{:?}", result.errors);
    assert_eq!((totals.refusals, totals.expiries), (0, 0), "{:?}", result.errors);
    // Unicast, from the client's own address.
    let renewals = result.latency(Pair::RenewAck).map_or(0, |renewals| renewals.count());
    assert!(renewals >= CLIENTS, "{renewals} renewals: {:?}", result.errors);
    assert!(result.latency(Pair::RebindAck).is_none(), "{:?}", result.errors);
    // Every ACK was judged, and none was wrong.
    assert_eq!(result.ledger.violations, 0, "{:?}", result.ledger.shown);
    assert_eq!(result.ledger.acknowledgements, totals.doras + renewals);
    assert_eq!(result.ledger.held, CLIENTS);
    // Every relay had its part of the clients, and of the answers.
    assert_eq!(result.relays.len(), RELAYS as usize);
    for relay in &result.relays {
        assert!(relay.clients >= CLIENTS / u64::from(RELAYS), "{relay:?}");
        assert!(relay.acknowledged >= relay.clients, "{relay:?}");
    }
}

#[test]
fn isc_dhcpd_leases_and_renews() {
    everybody_leases_and_renews(Server::Isc);
}

#[test]
fn kea_leases_and_renews() {
    everybody_leases_and_renews(Server::Kea);
}

#[test]
fn our_server_leases_and_renews() {
    everybody_leases_and_renews(Server::Vestibule);
}

#[test]
fn our_server_with_its_gate_leases_and_renews() {
    everybody_leases_and_renews(Server::VestibuleGated);
}
