//! P2 and P3 against the real thing: `vestibule-dhcpd` is killed with SIGKILL under load, again and
//! again, and every lease that it ever acknowledged is still there; so is the gate.
//!
//! The moments are chosen by the number of ACKs, from a seed for each round, so that a failing round
//! can be repeated. The load client's ledger is the judge: it knows only ACKs that arrived.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::Range;
use vestibule_load::ledger::Ledger;
use vestibule_load::message::Hardware;
use vestibule_load::random::Random;
use vestibule_tests::lab::{Campus, Gate, Host, LabError, Process, Site, VESTIBULE_TOML, until_ok};

/// Rounds of each test, unless [`ROUNDS_VARIABLE`] says otherwise: `make crash` plays 50.
const ROUNDS: u32 = 3;
const ROUNDS_VARIABLE: &str = "VESTIBULE_CRASH_ROUNDS";
/// Rounds with one store; then another campus begins from nothing.
const ROUNDS_PER_CAMPUS: u32 = 5;
/// More clients than a round ever serves: the load never ends by itself.
const CLIENTS_PER_ROUND: u64 = 10_000;
/// ACKs of a round before the server is killed, at least and at most.
const ACKS_MIN: u64 = 50;
const ACKS_MAX: u64 = 400;
const LEDGER: &str = "/run/ledger.jsonl";

/// A site with addresses for all of them.
const HALLS: Site = Site { prefix_length: 16, ..Site::HALLS };

fn configuration(gate: Gate) -> String {
    let (gated, gate) = match gate {
        Gate::Off => (false, "mode = \"off\"\n"),
        Gate::Local => (
            true,
            "mode = \"local\"\nlying-resolver = \"10.0.0.54\"\n\
             portal = { address = \"10.0.0.80\", url = \"http://register.campus.example/\" }\n\n\
             [dns]\nlisten = [\"10.0.0.54:53\"]\nredirect-listen = [\"10.0.0.54:8080\"]\n\
             upstream = [\"10.0.0.53:53\"]\n",
        ),
    };
    format!(
        "[server]\nname = \"dhcp-a\"\nstate-dir = \"/run/vestibule\"\nrelay-listen = [\"10.0.0.67\"]\n\
         [leases]\nlifetime = \"2h\"\nlifetime-unregistered = \"1h\"\n\
         [[network]]\nname = \"halls\"\ngated = {gated}\n\
         [[network.subnet]]\nprefix = \"10.20.0.0/16\"\npools = [\"10.20.0.10-10.20.255.250\"]\n\
         [gate]\n{gate}\
         [api]\nlisten = \"10.0.0.67:8067\"\ntoken-file = \"/etc/vestibule/token\"\n"
    )
}

fn start_load(edge: &Host, round: u64) -> Result<Process, LabError> {
    let first_client = round * CLIENTS_PER_ROUND;
    // Small groups and large ones.
    let in_flight = 4 << (2 * (round % 4));
    edge.start(
        &format!("load-{round}"),
        &format!(
            "vestibule-load dora --server 10.0.0.67 --giaddr 10.20.0.1 --clients {CLIENTS_PER_ROUND} \
             --first-client {first_client} --in-flight {in_flight} --ledger {LEDGER} --circuit-id --first-wait 100 --seed {round}"
        ),
    )
}

fn start_without_waiting(campus: &Campus) -> Result<Process, LabError> {
    campus.gateway.start("vestibule-dhcpd", &format!("vestibule-dhcpd --config {VESTIBULE_TOML}"))
}

/// How many ACKs the ledger has.
fn acknowledged(edge: &Host) -> u64 {
    edge.read(LEDGER).map_or(0, |text| text.lines().count() as u64)
}

fn wait_acknowledged(edge: &Host, load: &mut Process, count: u64) -> Result<(), LabError> {
    until_ok(&format!("the ledger has {count} ACKs"), || {
        let seen = acknowledged(edge);
        match load.ended() {
            _ if seen >= count => Ok(Ok(())),
            Some(status) => Ok(Err(LabError::Deadline {
                what: format!("the load goes on; it ended: {status}"),
                seen: load.log(),
            })),
            None => Err(format!("it has {seen}\n{}", load.log())),
        }
    })?
}

/// What the ledger says that clients hold.
fn held(edge: &Host) -> BTreeSet<(Hardware, Ipv4Addr)> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(copy.path(), edge.read(LEDGER).unwrap()).unwrap();
    let (ledger, violations) = Ledger::read(copy.path()).unwrap();
    assert_eq!(violations, []);
    ledger.held(0).map(|(address, holding)| (holding.client, address)).collect()
}

/// Every lease of the API: device, address, and whether it is registered.
fn leases(campus: &Campus) -> BTreeSet<(Hardware, Ipv4Addr, bool)> {
    let mut leases = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = campus.api("GET", &format!("/v1/leases?limit=1000{after}"), None).unwrap();
        assert_eq!(page.status, 200, "{}", page.text);
        for lease in page.body["leases"].as_array().unwrap() {
            leases.insert((
                lease["mac"].as_str().unwrap().parse().unwrap(),
                lease["ip"].as_str().unwrap().parse().unwrap(),
                lease["registered"].as_bool().unwrap(),
            ));
        }
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return leases,
        }
    }
}

/// The elements of a kernel set, as nft shows them.
fn kernel_set(campus: &Campus, name: &str) -> BTreeSet<Ipv4Addr> {
    let text = campus.gateway.ok(&format!("nft -j list set inet vestibule {name}")).unwrap();
    let listing: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sets = listing["nftables"].as_array().unwrap();
    let set = sets.iter().find_map(|object| object.get("set")).unwrap();
    let elements = set["elem"].as_array().map(Vec::as_slice).unwrap_or_default();
    elements
        .iter()
        .map(|element| {
            // With a timeout an element is an object, without one a bare address.
            let address = element["elem"]["val"].as_str().or(element.as_str());
            address.unwrap_or_else(|| panic!("{element}")).parse().unwrap()
        })
        .collect()
}

/// Registers a device as the portal does.
fn register(campus: &Campus, device: Hardware) {
    let body = format!("{{\"mac\":\"{device}\",\"owner\":\"ada\"}}");
    let answer = campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
}

fn check_gate(campus: &Campus, registered: &BTreeSet<Hardware>) {
    let leases = leases(campus);
    for (device, address, is_registered) in &leases {
        assert_eq!(*is_registered, registered.contains(device), "{device} {address}");
    }
    for (name, side) in [("registered", true), ("unregistered", false)] {
        let expected: BTreeSet<Ipv4Addr> =
            leases.iter().filter(|lease| lease.2 == side).map(|lease| lease.1).collect();
        let kernel = kernel_set(campus, name);
        let missing: Vec<_> = expected.difference(&kernel).collect();
        let surplus: Vec<_> = kernel.difference(&expected).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "the set {name} lacks {missing:?} and has {surplus:?} too much"
        );
    }
}

fn crash_and_check(gate: Gate) {
    let rounds = vestibule_tests::rounds(ROUNDS_VARIABLE, ROUNDS);
    for first in (0..rounds).step_by(ROUNDS_PER_CAMPUS as usize) {
        play(gate, first..rounds.min(first + ROUNDS_PER_CAMPUS));
    }
}

fn play(gate: Gate, rounds: Range<u32>) {
    let campus = Campus::new(&[HALLS]).unwrap();
    campus.configure_with(&configuration(gate)).unwrap();
    let edge = campus.edge(&HALLS).unwrap();
    let mut dhcpd = campus.start_dhcpd().unwrap();
    let mut registered = BTreeSet::new();
    let mut held_before = 0;
    for round in rounds.map(u64::from) {
        let mut random = Random::new(round);
        let before = acknowledged(edge);
        let mut load = start_load(edge, round).unwrap();
        let first = ACKS_MIN + random.below(ACKS_MAX - ACKS_MIN);
        wait_acknowledged(edge, &mut load, before + first).unwrap();
        dhcpd.kill().unwrap();
        // Clients that have no answer ask again, and find the next server at its work.
        dhcpd = campus.start_dhcpd().unwrap();
        let second = acknowledged(edge) + ACKS_MIN + random.below(ACKS_MAX - ACKS_MIN);
        wait_acknowledged(edge, &mut load, second).unwrap();
        if gate == Gate::Local {
            let some: Vec<Hardware> = held(edge).into_iter().map(|lease| lease.0).collect();
            for _ in 0..5 {
                let device = some[usize::try_from(random.below(some.len() as u64)).unwrap()];
                register(&campus, device);
                registered.insert(device);
            }
        }
        dhcpd.kill().unwrap();
        // The ledger is whole whether its writer ends in peace or not.
        if round % 2 == 0 {
            load.signal("INT").unwrap();
            load.wait_end().unwrap();
            let log = load.log();
            assert!(log.contains("\nviolations: 0\n"), "{log}");
        } else {
            load.kill().unwrap();
        }
        // Two that die in the middle of their recovery must do no harm.
        for _ in 0..2 {
            start_without_waiting(&campus).unwrap().kill().unwrap();
        }
        dhcpd = campus.start_dhcpd().unwrap();
        let expected = held(edge);
        assert!(expected.len() as u64 >= held_before + first, "{}", expected.len());
        held_before = expected.len() as u64;
        let known: BTreeSet<_> =
            leases(&campus).into_iter().map(|(client, address, _)| (client, address)).collect();
        let lost: Vec<_> = expected.difference(&known).collect();
        assert!(lost.is_empty(), "round {round}: the server has lost {lost:?}");
        if gate == Gate::Local {
            check_gate(&campus, &registered);
        }
        println!("round {round}: {} leases acknowledged, none lost", expected.len());
        // And by the protocol: every client gets what it was acknowledged.
        let way = if round % 2 == 0 { "" } else { "--rebind" };
        let check = edge
            .ok(&format!(
                "vestibule-load check --server 10.0.0.67 --giaddr 10.20.0.1 --ledger {LEDGER} \
                 --circuit-id --first-wait 500 --seconds 50 {way}"
            ))
            .unwrap();
        assert!(check.contains(&format!("checked {} leases: 0 gone", expected.len())), "{check}");
        if gate == Gate::Local {
            check_gate(&campus, &registered);
        }
    }
    drop(dhcpd);
}

/// Somebody flushes every table of the machine, five times, while clients get their leases.
#[test]
fn a_ruleset_that_is_flushed_under_load_is_made_right_again() {
    let campus = Campus::new(&[HALLS]).unwrap();
    campus.configure_with(&configuration(Gate::Local)).unwrap();
    let edge = campus.edge(&HALLS).unwrap();
    let dhcpd = campus.start_dhcpd().unwrap();
    let mut registered = BTreeSet::new();
    let reconciles = || {
        let status = campus.api("GET", "/v1/status", None).unwrap();
        status.body["gate"]["reconciles"].as_u64().unwrap()
    };
    for round in 0..5 {
        let enough = acknowledged(edge) + 200;
        let mut load = start_load(edge, round).unwrap();
        wait_acknowledged(edge, &mut load, enough).unwrap();
        let before = reconciles();
        campus.gateway.ok("nft flush ruleset").unwrap();
        // The load goes on meanwhile: an ACK that needs the sets finds them right, or waits.
        until_ok("the sets have been replaced", || {
            let now = reconciles();
            if now > before { Ok(()) } else { Err(format!("{now} times, as before")) }
        })
        .unwrap();
        load.signal("INT").unwrap();
        load.wait_end().unwrap();
        let log = load.log();
        assert!(log.contains("\nviolations: 0\n"), "{log}");
        for (device, _) in held(edge).into_iter().take(10) {
            register(&campus, device);
            registered.insert(device);
        }
    }
    assert!(dhcpd.log().contains("nft"), "who did it is named: {}", dhcpd.log());
    // The load has ended, and so nothing changes any more.
    let expected = held(edge);
    let known: BTreeSet<_> =
        leases(&campus).into_iter().map(|(client, address, _)| (client, address)).collect();
    assert!(expected.is_subset(&known), "{:?}", expected.difference(&known));
    check_gate(&campus, &registered);
}

#[test]
fn a_killed_server_has_every_lease_that_it_acknowledged() {
    crash_and_check(Gate::Off);
}

#[test]
fn a_killed_server_has_the_gate_right_again() {
    crash_and_check(Gate::Local);
}
