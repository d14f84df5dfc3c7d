//! Arbitrary bodies, parameters and bytes: every answer is a documented one, and the server goes on.

mod api_support;

use api_support::{Api, Response, TOKEN, lease, mac};
use proptest::prelude::*;
use std::io::{Read as _, Write as _};
use vestibule_core::Record;
use vestibule_dhcpd::api::ProblemKind;

/// A success with JSON, or a documented problem that is the caller's fault.
fn check(answer: &Response) -> Result<(), TestCaseError> {
    let document: serde_json::Value = serde_json::from_str(&answer.body)
        .map_err(|error| TestCaseError::fail(format!("{error}: {answer:?}")))?;
    if answer.status >= 300 {
        prop_assert!((400..500).contains(&answer.status), "{:?}", answer);
        let name = document["type"].as_str().and_then(|uri| uri.rsplit('/').next());
        let kind = ProblemKind::ALL.iter().find(|kind| Some(kind.name()) == name);
        prop_assert_eq!(kind.map(|kind| kind.status().as_u16()), Some(answer.status));
    }
    prop_assert!(answer.body.chars().all(|c| !c.is_control() && !"<>&".contains(c)));
    Ok(())
}

fn post(api: &Api, body: &[u8]) -> Response {
    let head = format!(
        "POST /v1/registrations HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    api.send(&[head.as_bytes(), body].concat())
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Field names and values that are nearly right.
fn nearly_a_registration() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["ip", "mac", "owner", "expires", "replaces", "ips", ""]);
    let value = prop::sample::select(vec![
        "\"10.20.0.17\"",
        "\"10.20.0.18\"",
        "\"02:00:00:00:00:01\"",
        "\"\"",
        "null",
        "1e999",
        "-0",
        "true",
        "[]",
        "{}",
        "\"2027-01-01T00:00:00Z\"",
        "\"0000-00-00T00:00:00Z\"",
        "\"\\ud800\"",
        "\"9999-12-31T23:59:60Z\"",
        "\"\\u0000\"",
        "\"6/02\"",
        "\"256/020000000001\"",
    ]);
    prop::collection::vec((name, value), 0..5).prop_map(|fields| {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

/// One server for all cases of a test: what a case leaves behind must not harm the next.
fn api() -> Api {
    Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))])
}

/// A case that fails is written into a test of its own, as the first one.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn bytes(length_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=length_max)
}

#[test]
fn a_path_that_is_no_text_is_a_problem_too() {
    let api = api();
    for path in ["/v1/leases/%80", "/v1/registrations/%FF%FE"] {
        let detail = api.get(path).assert_problem(400, "bad-parameter");
        assert!(detail.contains("UTF-8"), "{detail}");
    }
}

#[test]
fn any_body_gets_a_documented_answer() {
    let api = api();
    proptest!(config(), |(body in bytes(200))| check(&post(&api, &body))?);
}

#[test]
fn any_nearly_right_body_gets_a_documented_answer() {
    let api = api();
    proptest!(config(), |(body in nearly_a_registration())| check(&post(&api, body.as_bytes()))?);
}

#[test]
fn any_parameter_gets_a_documented_answer() {
    let api = api();
    let paths = prop::sample::select(vec!["leases", "registrations", "whoami"]);
    let names = prop::sample::select(vec![
        "after",
        "limit",
        "mac",
        "network",
        "host-name",
        "circuit",
        "all",
        "ip",
        "x",
    ]);
    proptest!(config(), |(path in paths, name in names, value in bytes(20))| {
        check(&api.get(&format!("/v1/{path}?{name}={}", percent_encoded(&value))))?;
    });
}

#[test]
fn any_last_part_of_a_path_gets_a_documented_answer() {
    let api = api();
    let methods = prop::sample::select(vec!["GET", "DELETE", "PUT"]);
    let paths = prop::sample::select(vec!["leases", "registrations"]);
    proptest!(config(), |(method in methods, path in paths, part in bytes(20))| {
        check(&api.request(method, &format!("/v1/{path}/{}", percent_encoded(&part)), ""))?;
    });
}

#[test]
fn any_bytes_leave_the_server_serving() {
    let api = api();
    proptest!(config(), |(bytes in bytes(300))| {
        let mut stream = api.connect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", answer);
        prop_assert_eq!(api.get("/healthz").status, 200);
    });
}
