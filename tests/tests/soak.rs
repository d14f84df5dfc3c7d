//! The soak in small: leases are renewed, rebound and lost against the real server, and the load client
//! and its ledger say so.

use vestibule_tests::soak::{LIFETIME_SECONDS_MIN, Soak};

#[test]
fn clients_renew_then_rebind_then_lose_their_leases_and_all_end_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let soak = Soak { clients: 200, lifetime_seconds: LIFETIME_SECONDS_MIN };
    let mut said = String::new();
    let soaked = soak
        .play(folder.path(), &mut |line| {
            said.push_str(line);
            said.push('\n');
        })
        .unwrap();
    assert_eq!(soaked.stages.len(), 4, "{said}");
    for check in soaked.checks() {
        assert!(check.is_good, "{check}\n{}\n{said}", soaked.table());
    }
}
