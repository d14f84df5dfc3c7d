//! A real ISC dhcpd with clients that renew, and then ours in its place, with what `vestibule import-isc`
//! made of its configuration and of its lease file: nobody loses an address, and nobody hears a NAK.
//!
//! Where ISC dhcpd is not unpacked, the test says aloud that it did not run, and in continuous
//! integration (`CI=true`) it fails.

use std::io::Write as _;
use vestibule_load::result::{Ending, Pair as Exchange, RunResult};
use vestibule_tests::lab::{LabError, TOKEN_FILE, until_ok};
use vestibule_tests::pair::{Pair, PairPlan, Program, Role};
use vestibule_tests::servers::{Ground, Networks, RELAY_STEP, SERVER, Server};

const CLIENTS: u64 = 200;
const RELAYS: u32 = 3;
/// Renewals begin at half of it, and by its end whoever was not heard has lost its lease.
const LIFETIME_SECONDS: u32 = 24;
const STATE: &str = "/run/state";
const RESULT: &str = "/run/result.json";
const IMPORTED: &str = "/run/imported";

/// It lasts longer than a lifetime: by its end whoever has not renewed has lost its lease.
const SCENARIO: &str = r#"
name = "migration"
description = "lease from one server, renew with another"
clients = 200
arrivals = { in-flight = 16 }
seconds = 28.0
stay = "renewing"
first-wait-milliseconds = 1000
"#;

#[test]
fn clients_of_isc_dhcpd_renew_with_ours() {
    let ground = Ground::new().unwrap();
    ground.server.ok(&format!("mkdir {STATE}")).unwrap();
    ground.load.write("/run/scenario.toml", SCENARIO).unwrap();
    let networks = Networks { relays: RELAYS, pool: 1000, lifetime_seconds: LIFETIME_SECONDS };
    let isc = match ground.start(Server::Isc, networks, STATE.as_ref(), "") {
        Err(error @ LabError::NoPeer { .. }) => return did_not_run(&error),
        started => started.unwrap(),
    };
    let mut load = ground
        .load
        .start(
            "load",
            &format!(
                "vestibule-load run /run/scenario.toml --server {SERVER} --giaddr {} --relays {RELAYS} \
                 --relay-step {RELAY_STEP} --circuit-id --json {RESULT}",
                Networks::relay(0)
            ),
        )
        .unwrap();
    let leases = format!("{STATE}/dhcpd.leases");
    let clients = usize::try_from(CLIENTS).unwrap();
    until_ok("everybody has a lease from ISC dhcpd", || {
        let text = ground.server.read(&leases).unwrap_or_default();
        // And one that asked whether the server is there.
        let active = text.matches("\n  binding state active;").count();
        if active > clients { Ok(()) } else { Err(active.to_string()) }
    })
    .unwrap();
    // As a crash would: the file has every lease that was acknowledged.
    drop(isc);

    ground.server.write(TOKEN_FILE, "a-token-for-one-lab-only-0123456789abcdef\n").unwrap();
    ground.server.ok(&format!("chmod 600 {TOKEN_FILE}")).unwrap();
    let import = format!(
        "vestibule import-isc --conf /etc/servers/dhcpd.conf --leases {leases} --out {IMPORTED} --relay-listen {SERVER}"
    );
    let said = ground.server.run(&import).unwrap();
    // `min-lease-time` has no equal, and that is said.
    let text = said.both();
    assert!(text.contains("changed: min-lease-time"), "{text}");
    assert!(text.contains("0 left out, 1 changed"), "{text}");
    assert!(text.contains(&format!("{} leases that are held", CLIENTS + 1)), "{text}");
    let configuration = format!("{IMPORTED}/vestibule.toml");
    ground.server.ok(&format!("vestibule check {configuration}")).unwrap();
    let mut ours =
        ground.server.start("dhcpd", &format!("vestibule-dhcpd --config {configuration}")).unwrap();
    ours.wait_line("ready").unwrap();

    load.wait_end().unwrap();
    let result: RunResult = serde_json::from_str(&ground.load.read(RESULT).unwrap()).unwrap();
    let totals = result.totals;
    assert_eq!(result.ending, Ending::Complete);
    assert_eq!((totals.doras, totals.bound_at_end), (CLIENTS, CLIENTS), "{:?}", result.errors);
    assert_eq!((totals.refusals, totals.expiries), (0, 0), "{:?}", result.errors);
    // Who renewed, renewed with ours: there was no other server any more.
    let renewals = result.latency(Exchange::RenewAck).map_or(0, |renewals| renewals.count());
    assert!(renewals >= CLIENTS, "{renewals} renewals: {:?}", result.errors);
    assert_eq!(result.ledger.violations, 0, "{:?}", result.ledger.shown);
    assert_eq!(result.ledger.held, CLIENTS);
    let ours_has =
        ground.server.ok(&format!("vestibule --config {configuration} leases --json")).unwrap();
    let held = ours_has.matches("\"state\":\"active\"").count();
    assert!(held >= clients, "{held}: {ours_has}");
}

/// A half of an ISC pair gets ours in its place, with its own files imported: both are normal at once, and
/// the other half never takes it for down. Everybody finds the lease again.
fn a_half_comes_back_as_ours(role: Role) {
    let plan = PairPlan { pool: 64, ..PairPlan::QUICK };
    let mut pair = match Pair::new(plan, Program::Isc, Program::Isc) {
        Err(error @ LabError::NoPeer { .. }) => return did_not_run(&error),
        pair => pair.unwrap(),
    };
    pair.start().unwrap();
    pair.lease(&[Role::Primary], 1, 5).unwrap();
    pair.lease(&[Role::Secondary], 11, 5).unwrap();
    let before = pair.agree(10).unwrap();
    pair.half(role).stop().unwrap();
    pair.half(role.other()).wait_states("communications-interrupted", "").unwrap();
    // Somebody comes while it is away.
    pair.lease(&[role.other()], 21, 2).unwrap();
    let said = pair
        .half(role)
        .host
        .run(
            "vestibule import-isc --conf /etc/servers/dhcpd.conf --leases /run/isc/leases --out /run/imported \
             --state-dir /run/vestibule",
        )
        .unwrap();
    assert!(said.both().contains("10 leases that are held"), "{}", said.both());
    pair.half(role).replace_by(Program::Vestibule);
    pair.half(role).start().unwrap();
    pair.both_normal().unwrap();
    let after = pair.agree(12).unwrap();
    assert!(before.iter().all(|(address, lease)| after.get(address) == Some(lease)), "{after:?}");
    assert_eq!(after.values().filter(|lease| lease.is_active()).count(), 12, "{after:?}");
    let survivor = pair.half(role.other()).host.read("/run/isc/leases").unwrap();
    assert!(!survivor.contains("my state partner-down"), "{survivor}");
    pair.ask_for_leases(&[role]).unwrap();
}

#[test]
fn a_secondary_of_isc_dhcpd_comes_back_as_ours() {
    a_half_comes_back_as_ours(Role::Secondary);
}

#[test]
fn a_primary_of_isc_dhcpd_comes_back_as_ours() {
    a_half_comes_back_as_ours(Role::Primary);
}

/// No silence: the harness keeps back what a passing test prints, but not what goes past its macros.
fn did_not_run(error: &LabError) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "ISC dhcpd must be there in continuous integration: {error}"
    );
    let text = format!("NOT RUN: nothing was imported from ISC dhcpd: {error}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
