//! That `docs/events.md` lists every kind of event and every cause of a gap, and no other.

use std::path::{Path, PathBuf};
use vestibule_core::EventKind;
use vestibule_dhcpd::events::{EVENTS_WAITING_MAX, GapCause, HANDOVERS_WAITING_MAX};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md")
}

/// `UPDATE_DOCS=1` makes it so.
#[test]
fn every_kind_is_documented_in_order_and_no_other() {
    let document = std::fs::read_to_string(path()).unwrap();
    let mut table = "| kind | when |\n| --- | --- |\n".to_owned();
    for kind in EventKind::ALL {
        table += &format!("| `{kind}` |{} |\n", kind.meaning());
    }
    let (begin, end) = ("<!-- kinds: begin -->\n", "<!-- kinds: end -->");
    let (before, rest) = document.split_once(begin).expect("the mark is there");
    let (found, after) = rest.split_once(end).expect("the mark is there");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(found, table, "run with UPDATE_DOCS=1 if this is meant");
}

#[test]
fn the_fields_the_causes_and_the_limits_are_documented() {
    let document = std::fs::read_to_string(path()).unwrap();
    let gaps = document.split("## Gaps").nth(1).unwrap();
    let gaps = gaps.split("\n## ").next().unwrap();
    let documented: Vec<&str> = gaps
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| *name != "cause")
        .collect();
    let known: Vec<&str> = GapCause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(documented, known);
    for kind in EventKind::ALL {
        let fields = document.split("| kinds | fields").nth(1).unwrap();
        assert!(fields.split("\n\n").next().unwrap().contains(&format!("`{kind}`")), "{kind}");
    }
    for wanted in [
        format!("{HANDOVERS_WAITING_MAX} groups"),
        format!("{},{:03} events, waited", EVENTS_WAITING_MAX / 1000, EVENTS_WAITING_MAX % 1000),
        format!("a comment every {} s", vestibule_dhcpd::api::HEARTBEAT_INTERVAL.as_secs()),
        format!("{} readers at once", vestibule_dhcpd::api::SUBSCRIBERS_MAX),
        format!("up to {} events", vestibule_dhcpd::webhook::DELIVERY_EVENTS_MAX),
        format!("up to {} minutes", vestibule_dhcpd::webhook::BACKOFF_MAX.as_secs() / 60),
    ] {
        assert!(document.contains(&wanted), "docs/events.md does not say: {wanted}");
    }
}
