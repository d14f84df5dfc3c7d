//! A failover pair in namespaces, of real processes: ours beside ISC dhcpd in both roles, and two of ours.
//!
//! Where ISC dhcpd is not unpacked, the test says aloud that it did not run, and in continuous
//! integration (`CI=true`) it fails. The pairs of a test run beside each other: they mostly wait.

use std::io::Write as _;
use vestibule_load::result::{Ending, RunResult};
use vestibule_tests::lab::{DEADLINE, LabError, until, until_ok};
use vestibule_tests::pair::{Pair, PairPlan, Program, RELAY, Role, SeenLease};

/// Ours in both roles beside ISC dhcpd, and beside itself.
const PAIRS: [(Program, Program); 3] = [
    (Program::Isc, Program::Vestibule),
    (Program::Vestibule, Program::Isc),
    (Program::Vestibule, Program::Vestibule),
];

const ROLES: [Role; 2] = [Role::Primary, Role::Secondary];

/// A pair, or `None` if ISC dhcpd is needed and not there.
fn pair(plan: PairPlan, primary: Program, secondary: Program) -> Option<Pair> {
    match Pair::new(plan, primary, secondary) {
        Err(error @ LabError::NoPeer { .. }) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "ISC dhcpd must be there in continuous integration: {error}"
            );
            // The harness keeps back what a passing test prints, but not what goes past its macros.
            let text = format!("NOT RUN: no failover beside ISC dhcpd was tested: {error}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            None
        }
        pair => Some(pair.unwrap()),
    }
}

/// Plays with each of the pairs, which are in NORMAL when it begins.
fn each_pair(plan: PairPlan, play: impl Fn(&mut Pair) + Sync) {
    std::thread::scope(|scope| {
        for (primary, secondary) in PAIRS {
            let play = &play;
            std::thread::Builder::new()
                .name(format!("{primary:?} and {secondary:?}"))
                .spawn_scoped(scope, move || {
                    let Some(mut pair) = pair(plan, primary, secondary) else { return };
                    pair.start().unwrap();
                    play(&mut pair);
                })
                .unwrap();
        }
    });
}

/// The ground itself: two of ISC dhcpd understand each other on it.
#[test]
fn two_of_isc_dhcpd_understand_each_other() {
    let Some(mut pair) = pair(PairPlan::QUICK, Program::Isc, Program::Isc) else { return };
    pair.start().unwrap();
    lease_and_renew(&mut pair);
}

/// From a fresh start to NORMAL; leases of either side, the renewals of either, and their exact ends.
#[test]
fn leases_of_either_are_known_to_both_and_renewed_by_either() {
    each_pair(PairPlan::QUICK, lease_and_renew);
}

fn lease_and_renew(pair: &mut Pair) {
    pair.lease(&[Role::Primary], 1, 2).unwrap();
    pair.lease(&[Role::Secondary], 3, 2).unwrap();
    let first = pair.agree(4).unwrap();
    assert_eq!(first.len(), 4, "{first:?}");
    // Either renews all, whoever gave them.
    for role in ROLES {
        assert_eq!(pair.ask_for_leases(&[role]).unwrap(), 4);
        let renewed = pair.agree(4).unwrap();
        assert!(first.keys().eq(renewed.keys()), "{first:?} and {renewed:?}");
    }
}

/// What is given back, or runs out, is free on both.
#[test]
fn what_is_released_or_ends_is_free_on_both() {
    let plan = PairPlan { lifetime_seconds: 10, mclt_seconds: 10, ..PairPlan::QUICK };
    each_pair(plan, |pair| {
        pair.lease(&[Role::Primary], 1, 1).unwrap();
        pair.lease(&[Role::Secondary], 2, 1).unwrap();
        pair.agree(2).unwrap();
        pair.lease_and_release(&[Role::Primary], 11, 1).unwrap();
        pair.lease_and_release(&[Role::Secondary], 12, 1).unwrap();
        let all = pair.agree(0).unwrap();
        assert_eq!(all.len(), 4, "{all:?}");
        // Who comes next gets one.
        pair.lease(&ROLES, 21, 2).unwrap();
        pair.agree(2).unwrap();
    });
}

/// Either process is killed and comes back; the other serves meanwhile, and nothing is lost.
#[test]
fn either_is_killed_and_comes_back() {
    each_pair(PairPlan::QUICK, |pair| {
        let mut held = 0;
        for (role, first) in ROLES.into_iter().zip([1, 3]) {
            pair.lease(&[role], first, 1).unwrap();
            held += 1;
            pair.agree(held).unwrap();
            pair.half(role).kill().unwrap();
            let survivor = role.other();
            pair.half(survivor).wait_states("communications-interrupted", "").unwrap();
            pair.lease(&[survivor], first + 1, 1).unwrap();
            held += 1;
            assert_eq!(pair.ask_for_leases(&[survivor]).unwrap(), held);
            pair.half(role).start().unwrap();
            pair.both_normal().unwrap();
            pair.agree(held).unwrap();
        }
        for role in ROLES {
            assert_eq!(pair.ask_for_leases(&[role]).unwrap(), held);
        }
    });
}

/// The link is cut and nobody is told; both serve, each from its own addresses; it is healed.
#[test]
fn the_link_is_cut_and_healed() {
    each_pair(PairPlan::QUICK, |pair| {
        pair.lease(&[Role::Primary], 1, 1).unwrap();
        pair.agree(1).unwrap();
        pair.cut().unwrap();
        for role in ROLES {
            pair.half(role).wait_states("communications-interrupted", "").unwrap();
        }
        // Whoever is given an address that somebody has would be seen: the ledger has all of them.
        pair.lease(&[Role::Primary], 2, 3).unwrap();
        pair.lease(&[Role::Secondary], 5, 3).unwrap();
        pair.heal().unwrap();
        pair.both_normal().unwrap();
        pair.agree(7).unwrap();
        assert_eq!(pair.ask_for_leases(&[Role::Secondary]).unwrap(), 7);
    });
}

/// A half is stopped for good, the operator of the other says so, and it gives the other's addresses too,
/// after the lead time. Then the stopped one comes back.
#[test]
fn the_partner_is_said_to_be_down_and_comes_back() {
    let plan = PairPlan { pool: 4, mclt_seconds: 5, ..PairPlan::QUICK };
    for role in ROLES {
        each_pair(plan, |pair| {
            let survivor = role.other();
            pair.lease_for_long(&[survivor], 1, 2).unwrap();
            pair.agree(2).unwrap();
            pair.half(role).stop().unwrap();
            pair.half(survivor).wait_states("communications-interrupted", "").unwrap();
            pair.half(survivor).partner_down().unwrap();
            pair.half(survivor).wait_states("partner-down", "").unwrap();
            // What was its own is given away; the rest is the partner's, and clients ask until they get it.
            pair.lease(&[survivor], 3, 2).unwrap();
            pair.half(role).start().unwrap();
            pair.both_normal().unwrap();
            // The first two were held all the while.
            let known = pair.agree_on(None).unwrap();
            assert!(known.len() > 2, "{known:?}");
        });
    }
}

/// The lease file or the store of either is lost: it gets everything from the other, and waits the lead time.
#[test]
fn the_store_of_either_is_lost() {
    let plan = PairPlan { mclt_seconds: 5, ..PairPlan::QUICK };
    each_pair(plan, |pair| {
        pair.lease_for_long(&[Role::Primary], 1, 2).unwrap();
        pair.lease_for_long(&[Role::Secondary], 3, 2).unwrap();
        let first = pair.agree(4).unwrap();
        for role in ROLES {
            pair.half(role).kill().unwrap();
            pair.half(role).forget().unwrap();
            pair.half(role).start().unwrap();
            pair.half(role.other()).wait_states("partner-down", "").unwrap();
            // The survivor serves all the while; that lease is short, and nobody renews it.
            pair.lease(&[role.other()], if role == Role::Primary { 5 } else { 6 }, 1).unwrap();
            pair.both_normal().unwrap();
            // What the lost half may have promised is kept for its client: more than these may be held.
            let known = pair.agree_on(None).unwrap();
            for address in first.keys() {
                assert!(known.get(address).is_some_and(SeenLease::is_active), "{known:?}");
            }
        }
        for role in ROLES {
            assert!(pair.ask_for_leases(&[role]).unwrap() >= 4);
        }
    });
}

/// One has given most of its addresses away: the other shares with it.
#[test]
fn free_addresses_are_shared_anew_after_load() {
    let plan = PairPlan { pool: 64, ..PairPlan::QUICK };
    each_pair(plan, |pair| {
        let ours = ROLES.into_iter().find(|role| pair.half(*role).program() == Program::Vestibule);
        let ours = ours.unwrap();
        let shared = |pair: &mut Pair, least: u64| {
            until_ok("the free addresses are shared", || match pair.half(ours).free_addresses() {
                Ok((free, backup)) if free.min(backup) >= least => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .unwrap();
        };
        shared(pair, 32);
        for (role, first) in [(Role::Primary, 1), (Role::Secondary, 25)] {
            pair.lease(&[role], first, 24).unwrap();
            pair.agree(first as usize + 23).unwrap();
            // 40 are left and 8 of them are its own, or 16 and none.
            shared(pair, if first == 1 { 16 } else { 6 });
        }
    });
}

/// Strangers and garbage on the link's port: closed and counted, and nobody else notices.
#[test]
fn strangers_and_garbage_harm_nobody() {
    let Some(mut pair) = pair(PairPlan::QUICK, Program::Vestibule, Program::Isc) else { return };
    pair.start().unwrap();
    let to_primary = "bash -c 'exec 3<>/dev/tcp/10.0.0.67/647; printf \"GET / HTTP/1.1\\r\\n\\r\\n\" >&3; cat <&3'";
    for _ in 0..20 {
        // Closed without a byte, or reset: how does not matter.
        for host in [&pair.load, &pair.secondary.host] {
            assert_eq!(host.run(to_primary).unwrap().stdout, "");
        }
    }
    pair.both_normal().unwrap();
    let metrics = pair.primary.host.ok("curl -sS http://127.0.0.1:8067/metrics").unwrap();
    for reason in ["stranger", "duplicate"] {
        let sample = format!("vestibule_failover_connections_ended_total{{reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&sample)).unwrap();
        assert_eq!(line, "20", "{reason}");
    }
    let log = pair.primary.process().unwrap().log();
    assert_eq!(log.matches("somebody else than failover.peer").count(), 1, "{log}");
    lease_and_renew(&mut pair);
}

/// The swap: an ISC pair whose clients renew all the while gets ours in the place of the secondary, then in
/// that of the primary. No client is refused its address or loses it.
///
/// `VESTIBULE_SWAP_CLIENTS=200 VESTIBULE_SWAP_SECONDS=120` makes it larger.
#[test]
fn an_isc_pair_is_replaced_one_half_at_a_time() {
    let clients = vestibule_tests::rounds("VESTIBULE_SWAP_CLIENTS", 50);
    let seconds = vestibule_tests::rounds("VESTIBULE_SWAP_SECONDS", 60);
    let plan = PairPlan {
        pool: 4 * clients,
        lifetime_seconds: 30,
        mclt_seconds: 10,
        unacknowledged_max: 10,
        ..PairPlan::QUICK
    };
    let Some(mut pair) = pair(plan, Program::Isc, Program::Isc) else { return };
    pair.start().unwrap();
    pair.load
        .write(
            "/run/swap.toml",
            &format!(
                "name = \"swap\"\ndescription = \"renew while the servers are replaced\"\n\
                 clients = {clients}\narrivals = {{ per-second = 20.0 }}\nseconds = {seconds}.0\n\
                 stay = \"renewing\"\nfirst-wait-milliseconds = 500\n"
            ),
        )
        .unwrap();
    let mut load = pair
        .load
        .start(
            "swap",
            &format!(
                "vestibule-load run /run/swap.toml --server {} --server {} --giaddr {RELAY} \
                 --json /run/swap.json",
                Role::Primary.address(),
                Role::Secondary.address()
            ),
        )
        .unwrap();
    pair.agree(clients as usize).unwrap();
    for role in [Role::Secondary, Role::Primary] {
        pair.half(role).stop().unwrap();
        pair.half(role.other()).wait_states("communications-interrupted", "").unwrap();
        pair.half(role).replace_by(Program::Vestibule);
        pair.half(role).start().unwrap();
        pair.half(role.other()).wait_states("partner-down", "").unwrap();
        pair.both_normal().unwrap();
    }
    assert_eq!(load.ended(), None, "the run was over before both were replaced");
    // The rest of the run may take longer than anything else is waited for.
    let waits = u64::from(seconds) / DEADLINE.as_secs() + 1;
    let end = (0..waits).find_map(|_| until("the run ends", || load.ended()).ok());
    assert!(end.is_some_and(|end| end.success()), "{}", load.log());
    let result: RunResult =
        serde_json::from_str(&pair.load.read("/run/swap.json").unwrap()).unwrap();
    assert_eq!(result.ending, Ending::Complete);
    assert_eq!(result.ledger.violations, 0, "{:?}", result.ledger.shown);
    let totals = result.totals;
    assert_eq!((totals.refusals, totals.expiries), (0, 0), "{:?}", result.errors);
    assert_eq!((totals.doras, totals.bound_at_end), (clients.into(), clients.into()));
    pair.agree(clients as usize).unwrap();
}
