//! `whoami`, status, health and metrics.

mod api_support;

use api_support::{Api, Setup, lease, mac};
use serde_json::{Value, json};
use std::future::Future as _;
use std::task::{Context, Waker};
use std::time::Duration;
use vestibule_config::GateMode;
use vestibule_core::{Query, Reason, Record};
use vestibule_dhcpd::api::Timeouts;
use vestibule_dhcpd::door::CALLS_WAITING_MAX;

#[test]
fn a_caller_is_told_about_itself_without_a_token() {
    let api = Api::with(vec![
        Record::Lease(lease([127, 0, 0, 1], &mac(1))),
        Record::Lease(lease([10, 20, 0, 17], &mac(2))),
    ]);
    let expected = json!({
        "ip": "127.0.0.1",
        "mac": mac(1),
        "network": "here",
        "registered": false,
        "registration-state": null,
        "owner": null,
        "role": null,
        "expires": null,
        "suspended-since": null,
        "suspended-reason": null,
        "quarantine-url": null,
        "randomised": true,
        "randomised-addresses": "allow",
        "lease-end": "2026-11-20T14:00:00.000Z",
    });
    assert_eq!(api.request_with("GET", "/v1/whoami", "", "").json(), expected);
    // Who says that it is somebody else is not believed.
    let claims =
        "x-forwarded-for: 10.20.0.17\r\nforwarded: for=10.20.0.17\r\nx-real-ip: 10.20.0.17\r\n";
    assert_eq!(api.request_with("GET", "/v1/whoami", claims, "").json(), expected);
    assert_eq!(api.post(r#"{"ip":"127.0.0.1","owner":"alice"}"#).status, 201);
    let registered = api.request_with("GET", "/v1/whoami", "", "").json();
    assert_eq!((&registered["registered"], &registered["owner"]), (&json!(true), &json!("alice")));
}

#[test]
fn a_portal_asks_for_its_visitor_with_the_token() {
    let api = Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(2)))]);
    assert_eq!(api.get("/v1/whoami?ip=10.20.0.17").json()["mac"], mac(2));
    api.get("/v1/whoami?ip=10.20.0.18").assert_problem(404, "no-lease");
    api.get("/v1/whoami?ip=portal").assert_problem(400, "bad-parameter");
    // Without a lease of its own, the caller is nobody.
    api.request_with("GET", "/v1/whoami", "", "").assert_problem(404, "no-lease");
    api.request_with("GET", "/v1/whoami?ip=127.0.0.1", "", "").assert_problem(401, "unauthorized");
}

#[test]
fn a_lease_that_has_ended_is_nobodys() {
    let mut ended = lease([127, 0, 0, 1], &mac(1));
    ended.ends = api_support::NOW;
    let api = Api::with(vec![Record::Lease(ended)]);
    api.get("/v1/whoami").assert_problem(404, "no-lease");
}

#[test]
fn over_a_unix_socket_a_caller_has_no_address() {
    let api = Api::start(Setup {
        records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(2)))],
        unix: true,
        ..Setup::default()
    });
    api.get("/v1/whoami").assert_problem(400, "no-caller-address");
    assert_eq!(api.get("/v1/whoami?ip=10.20.0.17").json()["ip"], "10.20.0.17");
    assert_eq!(api.post(r#"{"ip":"10.20.0.17"}"#).status, 201);
    // Who may open the socket still has to show the token.
    api.request_with("GET", "/v1/leases", "", "").assert_problem(401, "unauthorized");
}

#[test]
fn the_status_says_how_everything_is() {
    let api = Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(2)))]);
    api.metrics.socket("10.0.0.67:67", 8 << 20);
    api.metrics.committed(3, 1, Duration::from_millis(1), Duration::from_millis(1));
    let status = api.get("/v1/status").json();
    assert_eq!(status["server"], "dhcp-test");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime-seconds"].is_u64());
    assert!(status["started"].as_str().unwrap().ends_with('Z'));
    assert_eq!(status["everything-well"], true);
    assert_eq!(status["not-well"], json!([]));
    assert_eq!(status["networks"][0]["name"], "halls");
    assert_eq!(status["networks"][0]["gated"], true);
    assert_eq!(status["networks"][0]["held"], 1);
    assert_eq!(status["networks"][0]["unregistered"], 1);
    assert_eq!(status["networks"][1]["pool-size"], 241);
    assert_eq!(
        status["gate"],
        json!({ "mode": "local", "failures": 0, "followers": 0, "reconciles": 0 })
    );
    assert_eq!(status["storage"]["records-committed"], 3);
    assert_eq!(
        status["sockets"],
        json!([{ "name": "10.0.0.67:67", "receive-buffer-bytes": 8 << 20, "kernel-drops": 0 }])
    );
}

#[test]
fn what_is_not_well_is_said_in_words() {
    let full = (1..=9).map(|host| Record::Lease(lease([127, 0, 0, host], &mac(u16::from(host)))));
    let api =
        Api::start(Setup { records: full.collect(), gate_mode: GateMode::Off, ..Setup::default() });
    api.metrics.kernel_drops("10.0.0.67:67", 5);
    api.metrics.send_error(1);
    api.metrics.gate_failure();
    let status = api.get("/v1/status").json();
    assert_eq!(status["gate"]["mode"], "off", "chosen, and so no complaint");
    assert_eq!(status["everything-well"], false);
    let said = status["not-well"].as_array().unwrap();
    let said: Vec<&str> = said.iter().filter_map(Value::as_str).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    for word in ["here has no free address", "dropped packets", "refused to send", "kernel sets"] {
        assert_eq!(said.iter().filter(|line| line.contains(word)).count(), 1, "{word}: {said:?}");
    }
    assert_eq!((&status["kernel-drops"], &status["send-errors"]), (&json!(5), &json!(1)));
}

#[test]
fn health_and_metrics_need_no_token() {
    let api = Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(2)))]);
    let health = api.request_with("GET", "/healthz", "", "");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    api.metrics.unanswered(Reason::Truncated);
    api.get("/no-such-path");
    let metrics = api.request_with("GET", "/metrics", "", "");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .has_header("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        "vestibule_packets_unanswered_total{reason=\"truncated\",fault=\"client\"} 1",
        "vestibule_network_held_leases{network=\"halls\"} 1",
        "vestibule_api_responses_total{status=\"404\"} 1",
        "vestibule_api_connections 1",
    ] {
        assert!(
            metrics.body.lines().any(|candidate| candidate == line),
            "{line}: {}",
            metrics.body
        );
    }
}

#[test]
fn a_core_that_does_not_answer_is_not_healthy() {
    let timeouts = Timeouts { health: Duration::from_millis(50), ..Timeouts::default() };
    let mut api = Api::start(Setup { decides: false, timeouts, ..Setup::default() });
    api.get("/healthz").assert_problem(503, "no-answer");
    // What does not need the core is still told.
    let metrics = api.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.lines().any(|line| line == "vestibule_core_answers 0"), "{metrics:?}");
    assert!(
        metrics.body.contains("vestibule_api_responses_total{status=\"503\"} 1"),
        "{metrics:?}"
    );
    // The server ends.
    api.calls = None;
    let ending = api.get("/healthz");
    ending.assert_problem(503, "ending");
    assert!(ending.has_header("retry-after: 1"));
}

#[test]
fn a_core_with_too_many_callers_says_when_to_come_back() {
    let api = Api::start(Setup { decides: false, ..Setup::default() });
    let mut context = Context::from_waker(Waker::noop());
    let waiting: Vec<_> = (0..CALLS_WAITING_MAX)
        .map(|_| {
            let mut call = Box::pin(api.door.query(Query::Status));
            assert!(call.as_mut().poll(&mut context).is_pending());
            call
        })
        .collect();
    for answer in [
        api.get("/v1/leases"),
        api.get("/healthz"),
        api.post(r#"{"mac":"02:00:5e:00:53:01"}"#),
        api.request("DELETE", "/v1/registrations/02:00:5e:00:53:01", ""),
    ] {
        answer.assert_problem(503, "busy");
        assert!(answer.has_header("retry-after: 1"), "{answer:?}");
    }
    drop(waiting);
}
