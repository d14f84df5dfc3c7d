//! That `docs/api.md` says what the API does: problems, paths, fields and limits.

mod api_support;

use api_support::{Api, lease, mac};
use std::path::Path;
use vestibule_core::Record;
use vestibule_dhcpd::api::{
    BODY_BYTES_MAX, CONNECTIONS_KEPT_FOR_THIS_HOST, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
    KEY_LENGTH_MAX, KEY_LIFETIME, KEYS_KEPT_MAX, PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX, Problem,
    ProblemKind, Timeouts,
};
use vestibule_dhcpd::door::CALLS_WAITING_MAX;
use vestibule_dhcpd::feed::{CHANGES_KEPT_MAX, FOLLOWERS_MAX};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_problem_is_documented_and_no_other() {
    let table: Vec<String> = ProblemKind::ALL
        .iter()
        .map(|kind| {
            format!("| `{}` | {} | {} |", kind.name(), kind.status().as_u16(), kind.title())
        })
        .collect();
    let document = document();
    let wanted =
        format!("| name | status | what it is |\n| --- | --- | --- |\n{}\n\n", table.join("\n"));
    assert!(document.contains(&wanted), "docs/api.md needs this table:\n{wanted}");
}

#[test]
fn names_of_problems_are_unique_and_part_of_their_types() {
    let mut names: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ProblemKind::ALL.len());
    for kind in ProblemKind::ALL {
        let document = Problem::new(*kind, "detail").document();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["type"], kind.type_uri());
        assert!(kind.type_uri().ends_with(&format!("/{}", kind.name())));
    }
}

#[test]
fn every_field_of_an_answer_is_documented() {
    let api = Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))]);
    let registered = api.post(r#"{"ip":"10.20.0.17"}"#);
    let document = document();
    for answer in
        [registered, api.get("/v1/leases/10.20.0.17"), api.get("/v1/whoami?ip=10.20.0.17")]
    {
        for field in answer.json().as_object().unwrap().keys() {
            assert!(document.contains(&format!("\"{field}\":")), "{field} is not in docs/api.md");
        }
    }
}

#[test]
fn the_documented_limits_are_the_true_ones() {
    let document = document();
    let timeouts = Timeouts::default();
    for wanted in [
        format!("| body | {} KiB, within {} s |", BODY_BYTES_MAX / 1024, timeouts.body.as_secs()),
        format!("within {} s; an idle connection", timeouts.head.as_secs()),
        format!("takes nothing of it for {} s", timeouts.write.as_secs()),
        format!(
            "| connections | {CONNECTIONS_MAX}, of which {CONNECTIONS_KEPT_FOR_THIS_HOST} are kept for callers on this \
             host, and {CONNECTIONS_PER_ADDRESS_MAX} from one address"
        ),
        format!(
            "| followers of the gate feed | {FOLLOWERS_MAX}, then `busy`; {CHANGES_KEPT_MAX} changes"
        ),
        format!("| calls that wait for the core | {CALLS_WAITING_MAX};"),
        format!("1 to {PAGE_ENTRIES_MAX}, {PAGE_ENTRIES_DEFAULT} if left out"),
        format!("answers within {} s", timeouts.health.as_secs()),
        format!("who answers for it; 1 to {} bytes", vestibule_core::limits::OWNER_LENGTH_MAX),
        format!("vouches for it; 1 to {} bytes", vestibule_core::limits::SPONSOR_LENGTH_MAX),
        format!("remembered of it; 1 to {} bytes", vestibule_core::limits::NOTE_LENGTH_MAX),
        format!("1 to {} bytes, in words", vestibule_core::limits::SUSPENSION_REASON_LENGTH_MAX),
        format!("takes up to {} registrations", vestibule_core::limits::IMPORT_ENTRIES_MAX),
        format!("1 to {KEY_LENGTH_MAX} visible ASCII characters"),
        format!("{KEYS_KEPT_MAX} keys are kept for {} h", KEY_LIFETIME.as_secs() / 3600),
    ] {
        assert!(document.contains(&wanted), "docs/api.md does not say: {wanted}");
    }
}
