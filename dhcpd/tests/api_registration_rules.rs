//! What holds for registrations, through the API: device limits, suspension, quarantines, randomised
//! addresses, keys of requests, and imports.

mod api_support;

use api_support::{Api, Setup, TOKEN, configuration, lease, mac, scope_token};
use serde_json::{Value, json};
use vestibule_config::Scope;
use vestibule_core::{RandomisedAddresses, Record, RegistrationRules, Role};

fn rules() -> RegistrationRules {
    RegistrationRules {
        device_limit: Some(2),
        roles: vec![
            Role { name: "staff".into(), ..Role::default() },
            Role {
                name: "infected".into(),
                quarantine: true,
                portal_url: Some("https://q.example/".into()),
                ..Role::default()
            },
        ],
        ..RegistrationRules::default()
    }
}

fn start(randomised_addresses: RandomisedAddresses) -> Api {
    let records = vec![
        Record::Lease(lease([10, 20, 0, 17], &mac(1))),
        Record::Lease(lease([127, 0, 0, 1], &mac(9))),
    ];
    let mut configuration = configuration();
    configuration.registration = rules();
    configuration.networks[0].randomised_addresses = randomised_addresses;
    Api::start(Setup { records, configuration, ..Setup::default() })
}

fn ada(number: u16) -> Value {
    json!({ "mac": mac(number), "owner": "ada" })
}

fn with(mut body: Value, field: &str, value: impl Into<Value>) -> String {
    body[field] = value.into();
    body.to_string()
}

fn path(number: u16, what: &str) -> String {
    format!("/v1/registrations/{}{what}", mac(number))
}

#[test]
fn one_device_too_many_is_told_which_there_are() {
    let api = start(RandomisedAddresses::Allow);
    assert_eq!(api.post(&ada(1).to_string()).status, 201);
    assert_eq!(api.post(&ada(2).to_string()).status, 201);
    let refused = api.post(&ada(3).to_string());
    let said = refused.assert_problem(409, "device-limit-reached");
    assert!(said.contains(&format!("{}, {}", mac(1), mac(2))), "{said}");
    let refused = refused.json();
    assert_eq!(refused["limit"], 2);
    assert_eq!(
        refused["devices"][0],
        json!({
            "mac": mac(1), "randomised": true, "registered": "2026-11-20T13:00:00.001Z",
            "seen": "2026-11-20T12:59:00.000Z", "addresses": ["10.20.0.17"], "suspended": false,
        })
    );
    assert_eq!(refused["devices"][1]["addresses"], json!([]));
    let listed = api.get("/v1/registrations?owner=ada").json();
    assert_eq!(listed["registrations"].as_array().unwrap().len(), 2);
    let bob = with(with(ada(3), "owner", "bob").parse().unwrap(), "replaces", mac(1));
    api.post(&bob).assert_problem(409, "not-the-owners");
    let done = api.post(&with(ada(3), "replaces", mac(2)));
    assert_eq!((done.status, &done.json()["replaced"]), (201, &json!(mac(2))));
    let done = api.post(&with(ada(4), "replaces", "auto"));
    assert_eq!((done.status, &done.json()["replaced"]), (201, &json!(mac(3))), "{done:?}");
    let carol = with(with(ada(8), "owner", "carol").parse().unwrap(), "replaces", "auto");
    api.post(&carol).assert_problem(409, "nothing-to-replace");
}

#[test]
fn of_many_at_once_as_many_get_in_as_the_limit_says() {
    let api = start(RandomisedAddresses::Allow);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let answers: Vec<_> = (100..140)
            .map(|number| {
                let api = &api;
                scope.spawn(move || api.post(&ada(number).to_string()).status)
            })
            .collect();
        answers.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(409)), (2, 38));
}

#[test]
fn a_suspended_device_is_told_so_everywhere() {
    let api = start(RandomisedAddresses::Allow);
    let target = json!({ "ip": "127.0.0.1", "owner": "ada" }).to_string();
    assert_eq!(api.post(&target).status, 201);
    let captive = || api.request_with("GET", "/captive", "", "").json()["captive"].clone();
    assert_eq!(captive(), json!(false));
    let reason = "spam <b>\u{202e}now";
    let body = json!({ "reason": reason }).to_string();
    let answer = api.request("POST", &path(9, "/suspend"), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.body.contains('<') && !answer.body.contains('\u{202e}'), "{}", answer.body);
    let said = answer.json();
    assert_eq!((&said["state"], &said["suspended-reason"]), (&json!("suspended"), &json!(reason)));
    assert_eq!(said["addresses"], json!(["127.0.0.1"]));
    assert_eq!(captive(), json!(true));
    let whoami = api.request_with("GET", "/v1/whoami", "", "").json();
    assert_eq!((&whoami["registered"], &whoami["owner"]), (&json!(false), &json!("ada")));
    assert_eq!(whoami["registration-state"], "suspended");
    assert_eq!(whoami["suspended-reason"], reason);
    assert_eq!(api.get("/v1/leases/127.0.0.1").json()["registration-state"], "suspended");
    let again = api.post(&target);
    again.assert_problem(409, "suspended");
    assert_eq!(again.json()["suspended-since"], said["suspended-since"]);
    // A portal does not lift it; an operator does.
    let portal = format!("authorization: Bearer {}\r\n", scope_token(Scope::Portal));
    api.request_with("DELETE", &path(9, ""), &portal, "").assert_problem(409, "suspended");
    api.request_with("POST", &path(9, "/resume"), &portal, "").assert_problem(403, "forbidden");
    assert_eq!(api.request("POST", &path(9, "/resume"), "").json()["state"], "active");
    assert_eq!(captive(), json!(false));
    assert_eq!(api.request_with("DELETE", &path(9, ""), &portal, "").status, 200);
    api.request("POST", &path(9, "/suspend"), "").assert_problem(404, "not-registered");
    for body in [r#"{"reason":"a\u0007"}"#, r#"{"why":"x"}"#, r#"{"reason":""}"#] {
        api.request("POST", &path(9, "/suspend"), body).assert_problem(400, "bad-field");
    }
}

#[test]
fn a_quarantine_has_a_page_of_its_own() {
    let api = start(RandomisedAddresses::Allow);
    let body = json!({ "ip": "127.0.0.1", "owner": "ada" });
    let answer = api.post(&with(body.clone(), "role", "infected")).json();
    assert_eq!(answer["state"], "quarantined");
    let captive = api.request_with("GET", "/captive", "", "").json();
    assert_eq!(captive, json!({ "captive": true, "user-portal-url": "https://q.example/" }));
    let whoami = api.request_with("GET", "/v1/whoami", "", "").json();
    assert_eq!(whoami["quarantine-url"], "https://q.example/");
    let staff = with(body.clone(), "role", "staff");
    let portal = format!("authorization: Bearer {}\r\n", scope_token(Scope::Portal));
    let refused = api.request_with("POST", "/v1/registrations", &portal, &staff);
    refused.assert_problem(409, "quarantined");
    api.post(&body.to_string()).assert_problem(409, "quarantined");
    assert_eq!(api.post(&staff).json()["state"], "active");
}

#[test]
fn a_randomised_address_is_refused_with_what_to_do() {
    let api = start(RandomisedAddresses::Refuse);
    let refused = api.post(r#"{"ip":"10.20.0.17"}"#);
    let said = refused.assert_problem(409, "randomised-address");
    assert!(said.contains("switch"), "{said}");
    assert_eq!(refused.json()["network"], "halls");
    assert_eq!(api.get("/v1/whoami?ip=10.20.0.17").json()["randomised-addresses"], "refuse");
}

#[test]
fn a_key_makes_the_same_request_one() {
    let api = start(RandomisedAddresses::Allow);
    let post = |key: &str, body: &str| {
        let headers = format!("authorization: Bearer {TOKEN}\r\nidempotency-key: {key}\r\n");
        api.request_with("POST", "/v1/registrations", &headers, body)
    };
    let body = ada(5).to_string();
    let first = post("a", &body);
    assert_eq!(first.status, 201);
    assert_eq!(api.request("DELETE", &path(5, ""), "").status, 200);
    let again = post("a", &body);
    assert_eq!((again.status, again.json()), (201, first.json()));
    assert!(again.has_header("idempotency-replayed: true"));
    assert!(again.has_header("content-type: application/json"));
    api.get(&path(5, "")).assert_problem(404, "not-registered");
    post("a", &ada(6).to_string()).assert_problem(422, "idempotency-key-reused");
    assert_eq!(post("b", &body).status, 201, "another request");
    // A refusal is an answer too, and another caller has keys of their own.
    post("c", "{").assert_problem(400, "bad-json");
    assert!(post("c", "{").has_header("idempotency-replayed: true"));
    let portal = scope_token(Scope::Portal);
    let headers = format!("authorization: Bearer {portal}\r\nidempotency-key: a\r\n");
    let other = api.request_with("POST", "/v1/registrations", &headers, &body);
    assert!(!other.has_header("idempotency-replayed: true"));
    for key in ["", "a b", &"k".repeat(256)] {
        post(key, &body).assert_problem(400, "bad-parameter");
    }
}

#[test]
fn registrations_are_imported_all_or_none() {
    let api = start(RandomisedAddresses::Refuse);
    let import = |dry_run: bool, entries: &Value| {
        let body = json!({ "dry-run": dry_run, "registrations": entries }).to_string();
        api.request("POST", "/v1/registrations/import", &body)
    };
    let good = json!([
        { "mac": mac(1), "owner": "ada", "role": "staff", "sponsor": "s", "note": "n",
          "registered": "2020-01-01T00:00:00Z", "expires": "2030-01-01T00:00:00Z",
          "suspended-since": "2021-01-01T00:00:00Z", "suspended-reason": "r" },
        { "mac": mac(2) },
        { "mac": mac(3), "expires": "2020-01-01T00:00:00Z" },
    ]);
    let counted = json!({ "created": 2, "changed": 0, "unchanged": 0, "ended": 1 });
    assert_eq!(import(true, &good).json(), counted);
    assert_eq!(api.core.lock().unwrap().records(), []);
    assert_eq!(import(false, &good).json(), counted);
    let read = api.get(&path(1, "")).json();
    for (field, value) in [
        ("registered", "2020-01-01T00:00:00.000Z"),
        ("suspended-since", "2021-01-01T00:00:00.000Z"),
        ("note", "n"),
    ] {
        assert_eq!(read[field], value);
    }
    let counted = json!({ "created": 0, "changed": 0, "unchanged": 2, "ended": 1 });
    assert_eq!(import(false, &good).json(), counted);
    let records = api.core.lock().unwrap().records().len();
    for (bad, status, name) in [
        (json!({ "mac": "x" }), 400, "bad-field"),
        (json!({ "mac": mac(7), "role": "king" }), 400, "unknown-role"),
        (json!({ "mac": mac(7), "expires": "soon" }), 400, "bad-field"),
        (json!({ "mac": mac(7), "suspended-reason": "x" }), 400, "bad-field"),
        (json!({ "mac": mac(7), "note": "\u{1b}" }), 400, "bad-field"),
    ] {
        let refused = import(false, &json!([{ "mac": mac(6) }, bad]));
        refused.assert_problem(status, name);
        assert_eq!(refused.json()["position"], 1, "{bad}");
    }
    import(false, &json!([{ "mac": mac(6), "colour": "red" }])).assert_problem(400, "bad-field");
    let many: Vec<Value> = (0..257).map(|number| json!({ "mac": mac(number) })).collect();
    import(false, &json!(many)).assert_problem(400, "bad-field");
    assert_eq!(api.core.lock().unwrap().records().len(), records);
}
