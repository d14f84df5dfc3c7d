//! Tests of what is counted and how it is shown; also that the docs list all of it.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use vestibule_core::{Class, GateBy, PoolStatus};

fn document(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    (path, text)
}

fn core() -> CoreStatus {
    CoreStatus {
        networks: vec![vestibule_core::NetworkStatus {
            name: "halls \"A\"\\B\nC".into(),
            gated: true,
            gate_by: GateBy { sets: false, pools: true, ipv6_by_hardware: false },
            pool_size: 100,
            free: 60,
            held: 39,
            declined: 1,
            registered: 30,
            unregistered: 9,
            class_pools: vec![PoolStatus {
                class: Class::Unregistered,
                size: 20,
                free: 8,
                held: 11,
                misplaced: 2,
            }],
        }],
        leases_known: 50,
        registrations: 44,
        offers: 3,
        exchange: None,
        hold_off_until: None,
    }
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|candidate| candidate == line), "no line {line:?} in:\n{text}");
}

#[test]
fn every_reason_appears_before_anything_has_happened() {
    let text = Metrics::new().encode(&CoreStatus::default());
    for reason in Reason::ALL {
        let label = format!("reason=\"{reason}\",fault=\"{}\"", fault_name(reason.fault()));
        assert_line(&text, &format!("vestibule_packets_unanswered_total{{{label}}} 0"));
        assert_line(&text, &format!("vestibule_naks_total{{{label}}} 0"));
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_reason_has_its_own_counter() {
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(reason_index(*reason), index);
    }
    let metrics = Metrics::new();
    metrics.unanswered(Reason::SendFailed);
    metrics.unanswered(Reason::SendFailed);
    metrics.nak(Reason::WrongNetwork);
    assert_eq!(metrics.unanswered_count(Reason::SendFailed), 2);
    assert_eq!(metrics.unanswered_count(Reason::WrongNetwork), 0);
    let text = metrics.encode(&CoreStatus::default());
    assert_line(
        &text,
        "vestibule_packets_unanswered_total{reason=\"send-failed\",fault=\"kernel\"} 2",
    );
    assert_line(&text, "vestibule_naks_total{reason=\"wrong-network\",fault=\"client\"} 1");
}

#[test]
fn what_is_counted_is_shown() {
    let metrics = Metrics::new();
    metrics.received(MessageType::Discover);
    metrics.sent(MessageType::Offer);
    metrics.sent(MessageType::Offer);
    metrics.send_error(libc::EPERM);
    metrics.send_error(9999);
    metrics.socket("10.0.0.67:67", 8_388_608);
    assert_eq!(metrics.kernel_drops("10.0.0.67:67", 5), 5);
    assert_eq!(metrics.kernel_drops("10.0.0.67:67", 7), 2, "only the new ones");
    metrics.gate_failure();
    metrics.gate_reconcile();
    metrics.replies_held(12);
    metrics.pool_exhausted("halls");
    metrics.lease_reused();
    metrics.index_rebuild();
    metrics.api_response(404);
    metrics.api_connections(2);
    metrics.api_connection_refused();
    metrics.captive_answer(true);
    metrics.captive_connections(3);
    metrics.captive_connection_refused();
    metrics.captive_handshake_failed();
    metrics.portal_page(crate::portal::PortalPage::Registered);
    metrics.portal_connections(4);
    metrics.portal_connection_refused();
    metrics.portal_handshake_failed();
    let text = metrics.encode(&core());
    for line in [
        "vestibule_packets_received_total{type=\"discover\"} 1",
        "vestibule_packets_received_total{type=\"request\"} 0",
        "vestibule_replies_sent_total{type=\"offer\"} 2",
        "vestibule_send_errors_total{error=\"EPERM\",errno=\"1\"} 1",
        "vestibule_send_errors_total{error=\"unknown\",errno=\"0\"} 1",
        "vestibule_socket_receive_buffer_bytes{socket=\"10.0.0.67:67\"} 8388608",
        "vestibule_socket_kernel_drops_total{socket=\"10.0.0.67:67\"} 7",
        "vestibule_gate_failures_total 1",
        "vestibule_gate_reconciles_total 1",
        "vestibule_replies_held 12",
        "vestibule_pool_exhausted_total{network=\"halls\"} 1",
        "vestibule_leases_reused_total 1",
        "vestibule_index_rebuilds_total 1",
        "vestibule_api_responses_total{status=\"404\"} 1",
        "vestibule_api_connections 2",
        "vestibule_api_connections_refused_total 1",
        "vestibule_captive_answers_total{captive=\"true\"} 1",
        "vestibule_captive_answers_total{captive=\"false\"} 0",
        "vestibule_captive_connections 3",
        "vestibule_captive_connections_refused_total 1",
        "vestibule_captive_handshakes_failed_total 1",
        "vestibule_portal_pages_total{page=\"registered\"} 1",
        "vestibule_portal_pages_total{page=\"form\"} 0",
        "vestibule_portal_connections 4",
        "vestibule_portal_connections_refused_total 1",
        "vestibule_portal_handshakes_failed_total 1",
        "vestibule_core_answers 1",
        "vestibule_leases_known 50",
        "vestibule_registrations 44",
        "vestibule_offers 3",
        "vestibule_network_free_addresses{network=\"halls \\\"A\\\"\\\\B\\nC\"} 60",
    ] {
        assert_line(&text, line);
    }
    let drops = metrics.kernel_drop_occurrences();
    assert_eq!(drops.count, 7, "totals are not added up twice");
    assert!(drops.last.is_some());
    assert_eq!(Metrics::new().kernel_drop_occurrences(), Occurrences { count: 0, last: None });
}

#[test]
fn of_a_core_that_does_not_answer_nothing_is_claimed() {
    let text = Metrics::new().encode_without_core();
    assert_line(&text, "vestibule_core_answers 0");
    assert_line(&text, "vestibule_replies_held 0");
    for name in ["vestibule_leases_known", "vestibule_network_free_addresses"] {
        assert!(!text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
}

#[test]
fn histograms_are_cumulative_and_count_what_is_above_the_last_bound() {
    let metrics = Metrics::new();
    let millisecond = Duration::from_millis(1);
    metrics.committed(1, 0, Duration::ZERO, millisecond);
    metrics.committed(3, 2, millisecond, millisecond);
    metrics.committed(100_000, 0, Duration::ZERO, Duration::from_secs(60));
    metrics.committed(0, 5, millisecond, Duration::ZERO);
    let text = metrics.encode(&CoreStatus::default());
    for line in [
        "vestibule_group_records_count 3",
        "vestibule_group_records_bucket{le=\"1.0\"} 1",
        "vestibule_group_records_bucket{le=\"2.0\"} 1",
        "vestibule_group_records_bucket{le=\"4.0\"} 2",
        "vestibule_group_records_bucket{le=\"4096.0\"} 2",
        "vestibule_group_records_bucket{le=\"+Inf\"} 3",
        "vestibule_sync_seconds_bucket{le=\"0.001\"} 2",
        "vestibule_sync_seconds_bucket{le=\"10.0\"} 2",
        "vestibule_sync_seconds_bucket{le=\"+Inf\"} 3",
        "vestibule_gate_transaction_seconds_count 2",
        "vestibule_gate_changes_total 7",
    ] {
        assert_line(&text, line);
    }
    assert_eq!(metrics.groups_and_records_committed(), (3, 100_004));
}

#[test]
fn a_flood_of_relay_addresses_is_bounded_and_counted() {
    let metrics = Metrics::new();
    for number in 0..10_000_u32 {
        metrics.unknown_network(Ipv4Addr::from(0x0a00_0000 + number));
    }
    let text = metrics.encode(&CoreStatus::default());
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("vestibule_unknown_network_packets_total{"))
        .collect();
    assert_eq!(lines.len(), RELAYS_COUNTED_MAX + 1);
    let total: u64 =
        lines.iter().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    assert_eq!(total, 10_000);
    assert_line(&text, "vestibule_unknown_network_packets_total{giaddr=\"other\"} 9744");
}

#[test]
fn what_is_shed_is_counted_by_relay_and_reason_and_relays_are_bounded() {
    let metrics = Metrics::new();
    let relay = Ipv4Addr::new(10, 20, 0, 1);
    metrics.shed(relay, Reason::Overload);
    metrics.shed(relay, Reason::DuplicateWaiting);
    metrics.shed(relay, Reason::Overload);
    metrics.shed(relay, Reason::PoolExhausted);
    metrics.unread(Some(relay), 40);
    metrics.unread(None, 7);
    let text = metrics.encode(&CoreStatus::default());
    for (giaddr, reason, count) in [
        ("10.20.0.1", "overload", 2),
        ("10.20.0.1", "overload-unread", 40),
        ("10.20.0.1", "duplicate-waiting", 1),
        ("10.20.0.1", "discover-too-old", 0),
        ("other", "overload-unread", 7),
    ] {
        let labels = format!("giaddr=\"{giaddr}\",reason=\"{reason}\"");
        assert_line(&text, &format!("vestibule_packets_shed_total{{{labels}}} {count}"));
    }
    let labels = "reason=\"overload-unread\",fault=\"us\"";
    assert_line(&text, &format!("vestibule_packets_unanswered_total{{{labels}}} 47"));
    for number in 0..10_000_u32 {
        metrics.shed(Ipv4Addr::from(0x0b00_0000 + number), Reason::Overload);
    }
    let text = metrics.encode(&CoreStatus::default());
    let lines = text.lines().filter(|line| line.starts_with("vestibule_packets_shed_total{"));
    assert_eq!(lines.count(), (RELAYS_COUNTED_MAX + 1) * SHED_REASONS.len());
}

#[test]
fn every_family_is_described_once_and_documented() {
    let text = Metrics::new().encode(&core());
    let (path, documented) = document("metrics.md");
    for name in METRIC_NAMES {
        let kinds =
            text.lines().filter(|line| line.starts_with(&format!("# TYPE {name} "))).count();
        assert_eq!(kinds, 1, "{name}");
        assert!(
            documented.contains(&format!("| `{name}` |")),
            "{name} is not in {}",
            path.display()
        );
    }
    for row in documented.lines().filter_map(|line| line.strip_prefix("| `vestibule_")) {
        let name = format!("vestibule_{}", row.split('`').next().unwrap_or_default());
        let is_a_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(
            !is_a_name || METRIC_NAMES.contains(&name.as_str()),
            "{} lists {name}, which does not exist",
            path.display()
        );
    }
}

/// The table in `docs/reasons.md`, as the code knows it.
fn reasons_table() -> String {
    let mut table = String::from("| reason | whose fault | what it means |\n| --- | --- | --- |\n");
    for reason in Reason::ALL {
        table.push_str(&format!(
            "| `{}` | {} | {} |\n",
            reason.name(),
            fault_name(reason.fault()),
            reason.meaning().split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    table
}

#[test]
fn every_reason_is_documented() {
    let table = reasons_table();
    let (path, documented) = document("reasons.md");
    assert!(
        documented.contains(&table),
        "{} is not up to date; its table has to be:\n{table}",
        path.display()
    );
}

#[test]
fn a_pair_is_shown_and_a_server_alone_shows_none() {
    use vestibule_core::failover::{
        FailoverStatus, PairNetworkStatus, PartnerState, PoolMismatch, Role, State,
    };
    let metrics = Metrics::new();
    assert!(!metrics.encode(&CoreStatus::default()).contains("vestibule_failover_state{"));
    let pair = FailoverStatus {
        role: Role::Secondary,
        relationship: "pair".into(),
        state: State::Normal,
        is_starting: false,
        since: 100,
        partner: PartnerState::Known(State::CommunicationsInterrupted),
        partner_since: 200,
        is_connected: true,
        clock_ahead_seconds: Some(-7),
        trouble: None,
        mclt_seconds: 1800,
        buckets: Some(128),
        updates_unacknowledged: 3,
        updates_waiting: 4,
        updates_refused_by_partner: 11,
        updates_refused: 12,
        addresses_refused: 13,
        mismatch: PoolMismatch { only_here_count: 14, only_there_count: 15, ..<_>::default() },
        networks: vec![PairNetworkStatus { name: "halls".into(), free: 5, backup: 6, other: 7 }],
    };
    let text = metrics.encode_with_pair(&CoreStatus::default(), &pair);
    for line in [
        "vestibule_failover_state{state=\"normal\"} 1",
        "vestibule_failover_state{state=\"startup\"} 0",
        "vestibule_failover_partner_state{state=\"communications-interrupted\"} 1",
        "vestibule_failover_state_since_seconds 100",
        "vestibule_failover_connected 1",
        "vestibule_failover_clock_ahead_seconds -7",
        "vestibule_failover_mclt_seconds 1800",
        "vestibule_failover_updates_unacknowledged 3",
        "vestibule_failover_updates_waiting 4",
        "vestibule_failover_updates_refused_total{by=\"partner\"} 11",
        "vestibule_failover_updates_refused_total{by=\"us\"} 12",
        "vestibule_failover_addresses_refused 13",
        "vestibule_failover_mismatched_addresses{only=\"here\"} 14",
        "vestibule_failover_mismatched_addresses{only=\"there\"} 15",
        "vestibule_failover_free_addresses{network=\"halls\"} 5",
        "vestibule_failover_backup_addresses{network=\"halls\"} 6",
        "vestibule_failover_other_addresses{network=\"halls\"} 7",
        "vestibule_failover_messages_sent_total 0",
        "vestibule_failover_connections_ended_total{reason=\"stranger\"} 0",
    ] {
        assert_line(&text, line);
    }
    let starting = FailoverStatus { is_starting: true, clock_ahead_seconds: None, ..pair };
    let text = metrics.encode_with_pair(&CoreStatus::default(), &starting);
    assert_line(&text, "vestibule_failover_state{state=\"startup\"} 1");
    assert_line(&text, "vestibule_failover_state{state=\"normal\"} 0");
    assert!(!text.contains("\nvestibule_failover_clock_ahead_seconds "), "{text}");
}
