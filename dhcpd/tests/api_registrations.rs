//! Registrations through the API: what changes, when the answer comes, and that an error changes nothing.

mod api_support;

use api_support::{Api, NOW, Setup, TOKEN, lease, mac, until};
use serde_json::json;
use std::collections::BTreeSet;
use vestibule_core::{Effect, Record, Registration, Side, Timestamp};

const MAC: &str = "02:00:5e:00:53:01";

fn with_laptop() -> Api {
    Api::with(vec![Record::Lease(lease([10, 20, 0, 17], MAC))])
}

#[test]
fn a_device_is_registered_by_its_address_and_evicted_by_its_mac() {
    let api = with_laptop();
    let answer =
        api.post(r#"{"ip":"10.20.0.17","owner":"alice","expires":"2027-02-28T23:00:00+01:00"}"#);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.has_header("content-type: application/json"));
    assert!(answer.has_header("cache-control: no-store"));
    let mut expected = json!({
        "mac": MAC,
        "randomised": true,
        "state": "active",
        "owner": "alice",
        "role": null,
        "sponsor": null,
        "note": null,
        "registered": "2026-11-20T13:00:00.001Z",
        "expires": "2027-02-28T22:00:00.000Z",
        "suspended-since": null,
        "suspended-reason": null,
        "addresses": ["10.20.0.17"],
        "replaced": null,
    });
    assert_eq!(answer.json(), expected);
    {
        let core = api.core.lock().unwrap();
        let change = core.effects.iter().find_map(|effect| match effect {
            Effect::Gate(change) => Some(*change),
            _ => None,
        });
        let change = change.expect("the kernel is told");
        assert_eq!(change.address.to_string(), "10.20.0.17");
        assert_eq!(change.side.map(|(side, _)| side), Some(Side::Registered));
        assert!(!change.forget_flows, "the other side is another zone");
    }

    let read = api.get(&format!("/v1/registrations/{MAC}"));
    expected.as_object_mut().unwrap().remove("addresses");
    expected.as_object_mut().unwrap().remove("replaced");
    assert_eq!((read.status, read.json()), (200, expected));

    let deleted = api.request("DELETE", &format!("/v1/registrations/{MAC}"), "");
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.json(), json!({ "mac": MAC, "addresses": ["10.20.0.17"] }));
    let gone = format!("/v1/registrations/{MAC}");
    api.get(&gone).assert_problem(404, "not-registered");
    api.request("DELETE", &gone, "").assert_problem(404, "not-registered");
}

#[test]
fn the_same_post_twice_ends_in_the_same_state() {
    let api = with_laptop();
    let body = r#"{"ip":"10.20.0.17","owner":"alice"}"#;
    let first = api.post(body);
    let second = api.post(body);
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json(), second.json());
    let changed = api.post(&format!(r#"{{"mac":"{MAC}","owner":"bob"}}"#));
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["owner"], "bob");
    assert_eq!(changed.json()["registered"], first.json()["registered"], "without a break since");
}

#[test]
fn a_device_without_a_lease_can_be_registered_by_its_mac() {
    let api = Api::with(Vec::new());
    let answer = api.post(&format!(r#"{{"mac":"{MAC}"}}"#));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["addresses"], json!([]));
    assert_eq!(answer.json()["expires"], json!(null));
}

#[test]
fn every_vendors_spelling_is_taken_and_one_is_printed() {
    let api = Api::with(Vec::new());
    for (index, spelling) in [
        "02-00-5E-00-53-01",
        "0200.5e00.5301",
        "02005E005301",
        "02:00:5E:00:53:01",
        "2:0:5e:0:53:1",
    ]
    .iter()
    .enumerate()
    {
        let answer = api.post(&json!({ "mac": spelling }).to_string());
        assert_eq!(answer.status, if index == 0 { 201 } else { 200 }, "{spelling}");
        assert_eq!(answer.json()["mac"], MAC);
        let read = api.get(&format!("/v1/registrations/{spelling}"));
        assert_eq!(read.json()["mac"], MAC, "{spelling}");
    }
    // The slash of another hardware type is a part of the path's last part.
    let other = api.post(r#"{"mac":"6/02:00:5e:00:53:01"}"#);
    assert_eq!(other.status, 201);
    assert_eq!(
        api.get("/v1/registrations/6%2F02:00:5e:00:53:01").json()["mac"],
        "6/02:00:5e:00:53:01"
    );
}

#[test]
fn a_new_device_takes_the_place_of_an_old_one() {
    let api = with_laptop();
    assert_eq!(api.post(r#"{"mac":"02:00:5e:00:53:99"}"#).status, 201);
    let answer = api.post(r#"{"ip":"10.20.0.17","replaces":"0200.5e00.5399"}"#);
    assert_eq!(answer.status, 201);
    api.get("/v1/registrations/02:00:5e:00:53:99").assert_problem(404, "not-registered");
    assert_eq!(api.get(&format!("/v1/registrations/{MAC}")).status, 200);
}

#[test]
fn bad_bodies_are_refused_by_name_and_change_nothing() {
    let api = with_laptop();
    let long_owner = json!({ "mac": MAC, "owner": "x".repeat(257) }).to_string();
    let cases: &[(&str, u16, &str, &str)] = &[
        ("", 400, "bad-json", "line 1 column 0"),
        ("{", 400, "bad-json", "line 1 column 1"),
        ("{\n \"ip\": oops}", 400, "bad-json", "line 2 column 8"),
        (r#"{"ip":"10.20.0.17"} trailing"#, 400, "bad-json", "column 21"),
        (r#"["10.20.0.17"]"#, 400, "bad-field", "object"),
        (r#"["10.20.0.17", null, null, null, null]"#, 400, "bad-field", "object"),
        ("null", 400, "bad-field", "object"),
        (r#"{"ip":"10.20.0.17","colour":"red"}"#, 400, "bad-field", "`colour`"),
        (r#"{"ip":"10.20.0.17","ip":"10.20.0.18"}"#, 400, "bad-field", "`ip`"),
        (r#"{"ip":17}"#, 400, "bad-field", "line 1 column"),
        ("{}", 400, "bad-field", "`ip`, `mac` and `lease-token`"),
        (r#"{"ip":"10.20.0.17","mac":"02:00:5e:00:53:01"}"#, 400, "bad-field", "exclude"),
        (r#"{"ip":"10.20.0.017"}"#, 400, "bad-field", "`ip`"),
        (r#"{"ip":"::1"}"#, 400, "bad-field", "`ip`"),
        (r#"{"mac":"02:00:5e:00:53"}"#, 400, "bad-field", "`mac`"),
        (r#"{"mac":"00:00:00:00:00:00"}"#, 400, "bad-field", "`mac`"),
        (r#"{"mac":"02:00:5e:00:53:01","replaces":"x"}"#, 400, "bad-field", "`replaces`"),
        (r#"{"mac":"02:00:5e:00:53:01","owner":""}"#, 400, "bad-field", "`owner`"),
        (r#"{"mac":"02:00:5e:00:53:01","owner":"a\u0007b"}"#, 400, "bad-field", "`owner`"),
        (&long_owner, 400, "bad-field", "256"),
        (r#"{"mac":"02:00:5e:00:53:01","expires":"tomorrow"}"#, 400, "bad-field", "`expires`"),
        (
            r#"{"mac":"02:00:5e:00:53:01","expires":"2020-01-01T00:00:00Z"}"#,
            400,
            "expiry-in-the-past",
            "2020-01-01T00:00:00.000Z",
        ),
        (r#"{"mac":"01:00:5e:00:53:01"}"#, 400, "bad-field", "multicast"),
        (r#"{"mac":"02:00:5e:00:53:01","note":"a\u001bb"}"#, 400, "bad-field", "`note`"),
        (r#"{"mac":"02:00:5e:00:53:01","sponsor":"\u0085"}"#, 400, "bad-field", "`sponsor`"),
        (r#"{"mac":"02:00:5e:00:53:01","role":"king"}"#, 400, "unknown-role", "king"),
        (r#"{"mac":"02:00:5e:00:53:01","replaces":"auto"}"#, 400, "bad-field", "`owner`"),
        (r#"{"ip":"10.20.0.18"}"#, 409, "lease-needed", "connect again"),
    ];
    for (body, status, name, detail) in cases {
        let said = api.post(body).assert_problem(*status, name);
        assert!(said.contains(detail), "{body}: {said}");
    }
    // Not UTF-8, and so deep that a careless reader would run out of stack.
    let authorized = format!("host: t\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n");
    let head = format!("POST /v1/registrations HTTP/1.1\r\n{authorized}content-length: 4\r\n\r\n");
    api.send(&[head.as_bytes(), b"\"\xff\xfe\""].concat()).assert_problem(400, "bad-json");
    api.post(&"[".repeat(60_000)).assert_problem(400, "bad-json");
    api.get("/v1/registrations/not-a-mac").assert_problem(400, "bad-parameter");
    api.request("DELETE", "/v1/registrations/02:00", "").assert_problem(400, "bad-parameter");

    let listed = api.get("/v1/registrations").json();
    assert_eq!(listed, json!({ "registrations": [], "next": null }));
    assert_eq!(api.core.lock().unwrap().records(), Vec::new());
}

#[test]
fn a_lease_that_has_ended_names_nobody() {
    let mut ended = lease([10, 20, 0, 17], MAC);
    ended.ends = NOW;
    let api = Api::with(vec![Record::Lease(ended)]);
    api.post(r#"{"ip":"10.20.0.17"}"#).assert_problem(409, "lease-needed");
}

#[test]
fn a_body_up_to_its_limit_is_read_and_a_larger_one_refused() {
    let api = Api::with(Vec::new());
    let json = format!(r#"{{"mac":"{MAC}"}}"#);
    let full = format!("{json}{}", " ".repeat(64 * 1024 - json.len()));
    assert_eq!(api.post(&full).status, 201);
    assert_eq!(api.request("DELETE", &format!("/v1/registrations/{MAC}"), "").status, 200);
    let records = api.core.lock().unwrap().records().len();
    api.post(&format!("{full} ")).assert_problem(413, "body-too-large");
    // Far larger than what is drained, and without a length that would give it away.
    let authorized = format!("authorization: Bearer {TOKEN}\r\nhost: test\r\n");
    let mut chunked = format!(
        "POST /v1/registrations HTTP/1.1\r\n{authorized}transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..8 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    api.send(&chunked).assert_problem(413, "body-too-large");
    assert_eq!(api.core.lock().unwrap().records().len(), records);
}

#[test]
fn nothing_but_the_open_paths_answers_without_the_token() {
    let api = with_laptop();
    let paths = [
        ("GET", "/v1/registrations"),
        ("POST", "/v1/registrations"),
        ("GET", "/v1/registrations/02:00:5e:00:53:01"),
        ("DELETE", "/v1/registrations/02:00:5e:00:53:01"),
        ("GET", "/v1/leases"),
        ("GET", "/v1/leases/10.20.0.17"),
        ("GET", "/v1/status"),
        ("GET", "/v1/whoami?ip=10.20.0.17"),
    ];
    let wrong = [
        String::new(),
        "authorization: Bearer \r\n".to_owned(),
        "authorization: Bearer\r\n".to_owned(),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: {TOKEN}\r\n"),
        format!("authorization: Bearer {TOKEN}x\r\n"),
        format!("authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("authorization: Bearer {TOKEN}\r\nauthorization: Bearer {TOKEN}\r\n"),
        format!("x-api-key: {TOKEN}\r\n"),
    ];
    for (method, path) in paths {
        for headers in &wrong {
            let body = if method == "POST" { r#"{"ip":"10.20.0.17"}"# } else { "" };
            let answer = api.request_with(method, path, headers, body);
            answer.assert_problem(401, "unauthorized");
            assert!(answer.has_header("www-authenticate: bearer realm=\"vestibule\""));
            assert!(!answer.body.contains(TOKEN));
        }
    }
    assert_eq!(api.core.lock().unwrap().records(), Vec::new());
    let lower = format!("authorization: bearer  {TOKEN}\r\n");
    assert_eq!(api.request_with("GET", "/v1/leases", &lower, "").status, 200, "RFC 7235: any case");
}

#[test]
fn wrong_paths_and_methods_are_problems_too() {
    let api = Api::with(Vec::new());
    for path in
        ["/dashboard/", "/v1", "/v2/leases", "/v1/leases/10.20.0.17/x", "/v1/registrations/"]
    {
        api.get(path).assert_problem(404, "unknown-path");
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/registrations", "allow: get,head,post"),
        ("POST", "/v1/leases", "allow: get,head"),
        ("PATCH", "/v1/registrations/02:00:5e:00:53:01", "allow: get,head,delete"),
        ("POST", "/healthz", "allow: get,head"),
        ("DELETE", "/metrics", "allow: get,head"),
    ] {
        let answer = api.request(method, path, "");
        answer.assert_problem(405, "method-not-allowed");
        assert!(answer.has_header(allowed), "{answer:?}");
    }
}

#[test]
fn the_answer_waits_for_the_commit() {
    let api = Api::start(Setup {
        records: vec![Record::Lease(lease([10, 20, 0, 17], MAC))],
        hold_commits: true,
        ..Setup::default()
    });
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| api.post(r#"{"ip":"10.20.0.17"}"#));
        until("the core holds the answer", || api.core.lock().unwrap().answers_held() == 1);
        // The core's other callers are served meanwhile, and the registration is under way.
        assert_eq!(api.get("/healthz").status, 200);
        assert!(!answer.is_finished());
        api.core.lock().unwrap().commit();
        assert_eq!(answer.join().unwrap().status, 201);
    });
}

#[test]
fn many_at_once_are_all_registered_and_listed_page_by_page() {
    let records =
        (0..100_u8).map(|host| Record::Lease(lease([10, 20, 1, host], &mac(u16::from(host)))));
    let api = Api::with(records.collect());
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..100_u8)
            .map(|host| {
                let api = &api;
                scope.spawn(move || {
                    api.post(&format!(r#"{{"ip":"10.20.1.{host}","owner":"user{host}"}}"#))
                })
            })
            .collect();
        for answer in answers {
            assert_eq!(answer.join().unwrap().status, 201);
        }
    });
    let mut seen = BTreeSet::new();
    let mut path = "/v1/registrations?limit=7".to_owned();
    let mut pages = 0;
    loop {
        let page = api.get(&path).json();
        pages += 1;
        for registration in page["registrations"].as_array().unwrap() {
            assert!(
                seen.insert(registration["mac"].as_str().unwrap().to_owned()),
                "no entry twice"
            );
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/registrations?limit=7&after={next}");
    }
    assert_eq!((seen.len(), pages), (100, 15));
    assert_eq!(api.get("/v1/status").json()["registrations"], 100);
}

#[test]
fn an_expired_registration_is_none() {
    let expired = Registration {
        expires: Some(NOW),
        ..Registration::of(MAC.parse().unwrap(), Timestamp::ZERO)
    };
    let api = Api::with(vec![Record::Registration(expired)]);
    api.get(&format!("/v1/registrations/{MAC}")).assert_problem(404, "not-registered");
    assert_eq!(api.post(&format!(r#"{{"mac":"{MAC}"}}"#)).status, 201);
}
