//! Scopes: every route, asked with a token of each scope, as a table. A route without a row here
//! fails the first test; the documentation has the same table.

mod api_support;

use api_support::{Api, Setup, lease, mac, scope_token, webhook};
use std::collections::BTreeSet;
use std::path::Path;
use vestibule_config::Scope;
use vestibule_core::Record;
use vestibule_dhcpd::api::ROUTES;

/// Method, path as the server knows it, path that is asked, body, and whether a portal, a follower of the gate,
/// a failover partner, a reader and an operator may.
type Row = (&'static str, &'static str, &'static str, &'static str, [bool; 5]);

const TABLE: &[Row] = &[
    ("GET", "/v1/whoami", "/v1/whoami?ip=10.20.0.17", "", [true, false, false, true, true]),
    ("GET", "/v1/registrations", "/v1/registrations", "", [false, false, false, true, true]),
    (
        "POST",
        "/v1/registrations",
        "/v1/registrations",
        r#"{"mac":"02:00:00:00:00:09"}"#,
        [true, false, false, false, true],
    ),
    (
        "POST",
        "/v1/registrations/import",
        "/v1/registrations/import",
        r#"{"registrations":[]}"#,
        [false, false, false, false, true],
    ),
    (
        "GET",
        "/v1/registrations/{mac}",
        "/v1/registrations/02:00:00:00:00:01",
        "",
        [true, false, false, true, true],
    ),
    (
        "DELETE",
        "/v1/registrations/{mac}",
        "/v1/registrations/02:00:00:00:00:01",
        "",
        [true, false, false, false, true],
    ),
    (
        "POST",
        "/v1/registrations/{mac}/suspend",
        "/v1/registrations/02:00:00:00:00:01/suspend",
        "",
        [false, false, false, false, true],
    ),
    (
        "POST",
        "/v1/registrations/{mac}/resume",
        "/v1/registrations/02:00:00:00:00:01/resume",
        "",
        [false, false, false, false, true],
    ),
    ("GET", "/v1/vouchers", "/v1/vouchers", "", [false, false, false, false, true]),
    ("POST", "/v1/vouchers", "/v1/vouchers", "{}", [false, false, false, false, true]),
    (
        "GET",
        "/v1/vouchers/{id}",
        "/v1/vouchers/0123456789abcdef",
        "",
        [false, false, false, false, true],
    ),
    (
        "DELETE",
        "/v1/vouchers/{id}",
        "/v1/vouchers/0123456789abcdef",
        "",
        [false, false, false, false, true],
    ),
    ("GET", "/v1/leases", "/v1/leases", "", [false, false, false, true, true]),
    ("GET", "/v1/leases/{ip}", "/v1/leases/10.20.0.17", "", [true, false, false, true, true]),
    ("GET", "/v1/history", "/v1/history?ip=10.20.0.17", "", [false, false, false, true, true]),
    (
        "GET",
        "/v1/trace/{mac}",
        "/v1/trace/02:00:00:00:00:01",
        "",
        [false, false, false, false, true],
    ),
    ("GET", "/v1/gate", "/v1/gate", "", [false, true, false, true, true]),
    ("GET", "/v1/exchange", "/v1/exchange", "", [false, false, true, false, true]),
    ("GET", "/v1/status", "/v1/status", "", [false, false, false, true, true]),
    ("GET", "/v1/failover", "/v1/failover", "", [false, false, false, true, true]),
    (
        "POST",
        "/v1/failover/partner-down",
        "/v1/failover/partner-down",
        "{}",
        [false, false, false, false, true],
    ),
    ("POST", "/v1/reload", "/v1/reload", "{}", [false, false, false, false, true]),
    (
        "GET",
        "/v1/events",
        "/v1/events?type=gap&since=oldest&follow=false",
        "",
        [false, false, false, true, true],
    ),
    ("GET", "/v1/webhooks", "/v1/webhooks", "", [false, false, false, true, true]),
    (
        "POST",
        "/v1/webhooks/{name}/test",
        "/v1/webhooks/away/test",
        "{}",
        [false, false, false, false, true],
    ),
];

#[test]
fn every_route_has_a_row_here_and_in_the_documentation() {
    let routes: BTreeSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(routes, rows);
    assert_eq!((routes.len(), rows.len()), (ROUTES.len(), TABLE.len()), "no row stands twice");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let document = std::fs::read_to_string(document).unwrap();
    let words = |may: bool| if may { "yes" } else { "no" };
    let mut wanted =
        "| | `portal` | `gate` | `partner` | `reader` | `operator` |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (method, path, _, _, may) in TABLE {
        let may = may.map(words).join(" | ");
        wanted += &format!("| `{method} {path}` | {may} |\n");
    }
    assert!(document.contains(&format!("{wanted}\n")), "docs/api.md needs this table:\n{wanted}");
}

#[test]
fn every_route_takes_the_scopes_of_its_row_and_no_other() {
    for (method, _, path, body, may) in TABLE {
        for (scope, may) in Scope::ALL.into_iter().zip(may) {
            // A server of its own: what was allowed before must not change what comes after.
            let directory = tempfile::tempdir().unwrap();
            let api = Api::start(Setup {
                records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))],
                webhooks: vec![webhook("away", "http://127.0.0.1:9/", directory.path())],
                ..Setup::default()
            });
            assert_eq!(api.post(r#"{"ip":"10.20.0.17"}"#).status, 201);
            let header = format!("authorization: Bearer {}\r\n", scope_token(scope));
            let answer = api.request_with(method, path, &header, body);
            let what = format!("{method} {path} as {}: {answer:?}", scope.name());
            if *may {
                // This server has no feed, no history, no partner, no such voucher and no file, which only who
                // may ask is told.
                let has_passed =
                    ["no-gate", "no-history", "no-failover-partner", "no-voucher", "needs-restart"]
                        .iter()
                        .any(|name| answer.body.contains(&format!("/problems/{name}\"")));
                assert!((200..300).contains(&answer.status) || has_passed, "{what}");
            } else {
                let detail = answer.assert_problem(403, "forbidden");
                let needed = answer.json()["scopes-needed"].to_string();
                assert!(
                    needed.contains("\"operator\"") && !needed.contains(scope.name()),
                    "{what}"
                );
                assert!(detail.contains("needs the scope `"), "{what}");
            }
            api.request_with(method, path, "", body).assert_problem(401, "unauthorized");
            let wrong = format!("authorization: Bearer {}x\r\n", scope_token(scope));
            api.request_with(method, path, &wrong, body).assert_problem(401, "unauthorized");
        }
    }
}

#[test]
fn what_was_refused_has_changed_nothing() {
    let api = Api::with(vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))]);
    let reader = format!("authorization: Bearer {}\r\n", scope_token(Scope::Reader));
    let body = r#"{"ip":"10.20.0.17"}"#;
    api.request_with("POST", "/v1/registrations", &reader, body).assert_problem(403, "forbidden");
    assert!(api.core.lock().unwrap().records().is_empty());
    api.get(&format!("/v1/registrations/{}", mac(1))).assert_problem(404, "not-registered");
}

#[test]
fn a_method_that_no_row_has_is_refused_with_those_that_there_are() {
    let api = Api::with(Vec::new());
    for (method, path, allow) in [
        ("PUT", "/v1/registrations", "allow: get,head,post"),
        ("PATCH", "/v1/status", "allow: get,head"),
    ] {
        let answer = api.request(method, path, "");
        answer.assert_problem(405, "method-not-allowed");
        assert!(answer.has_header(allow), "{answer:?}");
    }
    let head = api.request("HEAD", "/v1/status", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
