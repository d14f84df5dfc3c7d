//! `/v1/vouchers` and `vestibule vouchers`: codes made once, uses that are never exceeded however many
//! ask at once, and what strangers may not.

mod api_support;

use api_support::{Api, Setup, configuration, lease, mac, scope_token};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use vestibule_config::Scope;
use vestibule_core::limits::VOUCHER_GUESSES_PER_DEVICE_MAX;
use vestibule_core::{Record, RegistrationRules, Role};
use vestibule_dhcpd::cli::{OK, REFUSED, USAGE, run};

fn start() -> Api {
    let roles = vec![Role { name: "guest".into(), ..Role::default() }];
    let mut configuration = configuration();
    configuration.registration = RegistrationRules { roles, ..RegistrationRules::default() };
    Api::start(Setup {
        configuration,
        records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))],
        ..Setup::default()
    })
}

fn post(api: &Api, path: &str, body: &Value) -> api_support::Response {
    api.request("POST", path, &body.to_string())
}

fn made(api: &Api, body: &Value) -> Vec<Value> {
    let answer = post(api, "/v1/vouchers", body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["vouchers"].as_array().unwrap().clone()
}

fn problem(answer: &api_support::Response) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    (answer.status, kind)
}

fn vestibule(api: &Api, arguments: &[&str]) -> (u8, String, String) {
    let (url, token_file) = (api.url(), api.token_file.display().to_string());
    let access = ["--api", &url, "--token-file", &token_file];
    let arguments = ["vestibule"].iter().chain(arguments).chain(&access).map(OsString::from);
    let (mut out, mut complaints) = (Vec::new(), Vec::new());
    let status = run(arguments, &mut out, &mut complaints);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(out), text(complaints))
}

#[test]
fn a_code_is_in_the_answer_that_made_it_and_nowhere_else() {
    let api = start();
    let vouchers = made(
        &api,
        &json!({"count": 3, "role": "guest", "lifetime-seconds": 259_200, "uses": 2, "note": "x"}),
    );
    let codes: BTreeSet<&str> =
        vouchers.iter().map(|voucher| voucher["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 3);
    for voucher in &vouchers {
        assert_eq!(voucher["role"], "guest");
        assert_eq!((&voucher["uses-max"], &voucher["uses"]), (&2.into(), &0.into()));
        assert!(voucher["expires"].as_str().unwrap().starts_with("2027-11-20"), "a year");
        let shown = api.get(&format!("/v1/vouchers/{}", voucher["id"].as_str().unwrap()));
        assert_eq!(shown.json()["devices"], json!([]));
        assert_eq!(shown.json()["code"], Value::Null);
    }
    let list = api.get("/v1/vouchers?limit=2").json();
    assert_eq!(list["vouchers"].as_array().unwrap().len(), 2);
    let rest = api.get(&format!("/v1/vouchers?after={}", list["next"].as_str().unwrap())).json();
    assert_eq!((rest["vouchers"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    // What is written to disks has no code in it, in whatever spelling.
    let core = api.core.lock().unwrap();
    let mut bytes = Vec::new();
    for record in core.records() {
        vestibule_dhcpd::store::record::encode(&record, &mut bytes).unwrap();
    }
    drop(core);
    for code in codes {
        for spelling in [code.to_owned(), code.replace('-', ""), code.to_lowercase()] {
            let found = bytes.windows(spelling.len()).any(|some| some == spelling.as_bytes());
            assert!(!found, "{spelling} is in the records");
        }
    }
}

#[test]
fn a_registration_by_voucher_says_what_is_wrong() {
    let api = start();
    let code = made(&api, &json!({}))[0]["code"].clone();
    let register = |body: Value| post(&api, "/v1/registrations", &body);
    for body in [
        json!({"ip": "10.20.0.17", "voucher": code, "role": "guest"}),
        json!({"ip": "10.20.0.17", "voucher": code, "expires": "2027-01-01T00:00:00Z"}),
    ] {
        assert_eq!(problem(&register(body)), (400, "bad-field".to_owned()));
    }
    let mistyped = register(json!({"ip": "10.20.0.17", "voucher": "1234"}));
    assert_eq!(problem(&mistyped), (400, "voucher-mistyped".to_owned()));
    let unknown = json!({"ip": "10.20.0.17", "voucher": "0000-0000-0000-0000"});
    for _ in 0..VOUCHER_GUESSES_PER_DEVICE_MAX {
        assert_eq!(problem(&register(unknown.clone())), (403, "voucher-unknown".to_owned()));
    }
    let stopped = register(unknown);
    assert_eq!(problem(&stopped), (429, "voucher-guesses".to_owned()));
    let wait = stopped.json()["wait-seconds"].as_u64().unwrap();
    assert!((1..=60).contains(&wait), "{stopped:?}");
    assert!(stopped.has_header(&format!("retry-after: {wait}")), "{stopped:?}");
    // Another device is not held up, and the first one to use it has it.
    let of = |number| json!({"mac": mac(number), "voucher": code, "owner": "ada"});
    let first = register(of(2));
    assert_eq!((first.status, &first.json()["owner"]), (201, &"ada".into()));
    assert_eq!(register(of(2)).status, 200);
    assert_eq!(problem(&register(of(3))), (409, "voucher-used-up".to_owned()));
    for (body, name) in [
        (json!({"count": 0}), "bad-field"),
        (json!({"count": 257}), "bad-field"),
        (json!({"uses": 0}), "bad-field"),
        (json!({"uses": 257}), "bad-field"),
        (json!({"lifetime-seconds": 59}), "bad-field"),
        (json!({"note": "a\nb"}), "bad-field"),
        (json!({"role": "king"}), "unknown-role"),
        (json!({"expires": "2020-01-01T00:00:00Z"}), "expiry-in-the-past"),
        (json!({"code": "0000-0000-0000-0000"}), "bad-field"),
    ] {
        assert_eq!(problem(&post(&api, "/v1/vouchers", &body)).1, name, "{body}");
    }
    for path in ["/v1/vouchers/0123456789abcdef", "/v1/vouchers/0123456789ABCDEF"] {
        assert_eq!(problem(&api.get(path)), (404, "no-voucher".to_owned()));
        assert_eq!(problem(&api.request("DELETE", path, "")), (404, "no-voucher".to_owned()));
    }
    assert_eq!(problem(&api.get("/v1/vouchers/x")), (400, "bad-parameter".to_owned()));
}

#[test]
fn only_an_operator_makes_and_sees_vouchers() {
    let api = start();
    let id = made(&api, &json!({}))[0]["id"].as_str().unwrap().to_owned();
    for scope in [Scope::Portal, Scope::Reader, Scope::Gate] {
        let header = format!("authorization: Bearer {}\r\n", scope_token(scope));
        for (method, path) in [
            ("GET", "/v1/vouchers".to_owned()),
            ("POST", "/v1/vouchers".to_owned()),
            ("GET", format!("/v1/vouchers/{id}")),
            ("DELETE", format!("/v1/vouchers/{id}")),
        ] {
            let answer = api.request_with(method, &path, &header, "{}");
            assert_eq!(answer.status, 403, "{method} {path} {answer:?}");
        }
    }
}

#[test]
fn of_many_devices_at_once_as_many_are_let_in_as_may() {
    let api = start();
    let code = made(&api, &json!({"uses": 5}))[0]["code"].as_str().unwrap().to_owned();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (10..40)
            .map(|number| {
                let (api, code) = (&api, &code);
                let body = json!({"mac": mac(number % 20), "voucher": code});
                scope.spawn(move || post(api, "/v1/registrations", &body).status)
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 201, 409].contains(status)), "{statuses:?}");
    let registered = api.get("/v1/registrations").json();
    assert_eq!(registered["registrations"].as_array().unwrap().len(), 5);
}

#[test]
fn the_tool_makes_lists_and_revokes_vouchers() {
    let api = start();
    let (status, out, complaints) = vestibule(
        &api,
        &[
            "voucher",
            "create",
            "--count",
            "300",
            "--role",
            "guest",
            "--lifetime",
            "3d",
            "--usable",
            "90d",
            "--uses",
            "2",
            "--note",
            "=1+1, \u{202e}x",
            "--csv",
        ],
    );
    assert_eq!((status, complaints.as_str()), (OK, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "code,id,role,lifetime-seconds,uses,expires,note");
    assert_eq!(lines.len(), 301, "in several calls, with one line of headings");
    let fields: Vec<&str> = lines[1].splitn(7, ',').collect();
    assert_eq!((fields[2], fields[3], fields[4]), ("guest", "259200", "2"));
    assert!(!out.contains('\u{202e}'), "{}", lines[1]);
    let (code, id) = (fields[0], fields[1]);
    let body = json!({"ip": "10.20.0.17", "voucher": code});
    assert_eq!(post(&api, "/v1/registrations", &body).status, 201);
    let (status, out, _) = vestibule(&api, &["vouchers", "list"]);
    assert_eq!((status, out.lines().count()), (OK, 301));
    let line = out.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line.contains(" 3d "), "{line}");
    let (_, out, _) = vestibule(&api, &["vouchers", "show", id]);
    assert!(out.contains(&format!("{} since 2026-11-20T13:00", mac(1))), "{out}");
    let (_, out, _) = vestibule(&api, &["vouchers", "list", "--json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed["vouchers"].as_array().unwrap().len(), 300);
    let (status, out, _) = vestibule(&api, &["vouchers", "revoke", id, "--end-registrations"]);
    assert_eq!(status, OK);
    assert!(out.contains("1 of 2 used it, and 1 registrations ended"), "{out}");
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(1))).status, 404);
    let (status, _, complaints) = vestibule(&api, &["vouchers", "revoke", id]);
    assert!(status == REFUSED && complaints.contains("there is no voucher"), "{complaints}");
    let (_, out, _) = vestibule(&api, &["vouchers", "create"]);
    assert!(out.contains("These codes are not shown again"), "{out}");
    let (_, out, _) = vestibule(&api, &["vouchers", "create", "--json"]);
    assert!(serde_json::from_str::<Value>(&out).unwrap()["vouchers"][0]["code"].is_string());
    for wrong in [
        ["--lifetime", "3"],
        ["--lifetime", "3 days"],
        ["--count", "0"],
        ["--expires", "tomorrow"],
        ["--uses", "100000"],
    ] {
        let (status, _, complaints) = vestibule(&api, &[["vouchers", "create"], wrong].concat());
        assert_eq!(status, USAGE, "{wrong:?} {complaints}");
    }
}
