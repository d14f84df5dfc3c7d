//! The dashboard: what it shows to whoever asks, what it never shows, and how many it is shown to at once.

mod api_support;

use api_support::{Api, Setup, lease, mac, until};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use vestibule_core::{Lease, Record};
use vestibule_dhcpd::api::{Timeouts, WATCHERS_MAX};

const WITHOUT_TOKEN: &str = "";

fn named(name: &str) -> Record {
    let known = lease([10, 20, 0, 17], &mac(1));
    Record::Lease(Lease { host_name: Some(name.as_bytes().into()), ..known })
}

/// A connection that asks to be kept up to date.
fn watch(api: &Api) -> BufReader<TcpStream> {
    let mut stream = api.connect();
    // It may be closed already: there are only so many.
    let _ = stream.write_all(b"GET /dashboard/live HTTP/1.1\r\nhost: test\r\n\r\n");
    BufReader::new(stream)
}

/// The status of the answer; `None` if there is none.
fn status(watching: &mut BufReader<TcpStream>) -> Option<u16> {
    let mut head = [0; 12];
    watching.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).unwrap().strip_prefix("HTTP/1.1 ")?.parse().ok()
}

#[test]
fn the_page_is_whole_and_may_do_nothing_but_ask_this_server() {
    let api = Api::with(Vec::new());
    let page = api.request_with("GET", "/", WITHOUT_TOKEN, "");
    assert_eq!(page.status, 200);
    for line in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.has_header(line), "{line}");
    }
    let text = format!("{page:?}");
    assert!(text.contains("default-src 'none'; style-src 'sha256-"), "{text:.2000}");
    assert!(text.contains("connect-src 'self'"), "{text:.2000}");
    assert!(!text.contains("unsafe-"), "{text:.2000}");
    assert!(!text.contains("/*script*/"), "{text:.2000}");
}

#[test]
fn without_a_token_it_is_told_how_the_server_is_and_never_who_has_which_address() {
    let api = Api::with(vec![named("mias-laptop")]);
    assert_eq!(api.post(r#"{"ip":"10.20.0.17","owner":"mia"}"#).status, 201);
    let picture = api.request_with("GET", "/dashboard", WITHOUT_TOKEN, "");
    assert_eq!(picture.status, 200);
    let told = picture.json();
    assert_eq!(told["status"]["networks"][0]["name"], "halls");
    assert_eq!(told["status"]["networks"][0]["registered"], 1);
    assert_eq!(told["status"]["everything-well"], true);
    assert!(told["samples"].as_str().unwrap().contains("vestibule_sync_seconds_bucket"), "{told}");
    let text = told.to_string();
    for secret in ["mias-laptop", "mia", "10.20.0.17", &mac(1)] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    // What it asks for somebody with a token needs one.
    for path in ["/v1/leases/10.20.0.17", "/v1/registrations?owner=mia", "/v1/status"] {
        assert_eq!(api.request_with("GET", path, WITHOUT_TOKEN, "").status, 401, "{path}");
    }
}

#[test]
fn a_core_that_does_not_answer_is_shown_as_such() {
    let timeouts = Timeouts { health: Duration::from_millis(100), ..Timeouts::default() };
    let api = Api::start(Setup { decides: false, timeouts, ..Setup::default() });
    let picture = api.request_with("GET", "/dashboard", WITHOUT_TOKEN, "").json();
    assert!(picture["status"].is_null(), "{picture}");
    assert!(
        picture["samples"].as_str().unwrap().contains("vestibule_packets_received"),
        "{picture}"
    );
}

#[test]
fn who_watches_gets_one_picture_after_the_other() {
    let api = Api::with(Vec::new());
    let mut watching = watch(&api);
    let mut pictures = 0;
    let mut line = String::new();
    while pictures < 2 {
        line.clear();
        assert_ne!(watching.read_line(&mut line).unwrap(), 0, "the stream goes on");
        if let Some(picture) = line.strip_prefix("data: ") {
            let picture: serde_json::Value = serde_json::from_str(picture).unwrap();
            assert_eq!(picture["status"]["everything-well"], true);
            pictures += 1;
        }
    }
}

#[test]
fn a_thousand_dashboards_leave_the_server_to_others() {
    let short = Duration::from_millis(200);
    let timeouts = Timeouts { head: short, ..Timeouts::default() };
    let records = vec![named("laptop")];
    let api = Api::start(Setup { timeouts, records, ..Setup::default() });
    let mut watching: Vec<_> = (0..1000).map(|_| watch(&api)).collect();
    let said: Vec<Option<u16>> = watching.iter_mut().map(status).collect();
    let shown = said.iter().filter(|said| **said == Some(200)).count();
    assert_eq!(shown, WATCHERS_MAX);
    assert!(said.iter().all(|said| matches!(said, Some(200 | 503) | None)), "{said:?}");
    // A portal registers meanwhile, as soon as the connections that only stand there are closed.
    until("a place for the portal", || {
        api.metrics.encode_without_core().lines().any(|line| {
            line.strip_prefix("vestibule_api_connections ")
                .is_some_and(|open| open.parse::<usize>().unwrap() <= WATCHERS_MAX)
        })
    });
    assert_eq!(api.post(r#"{"ip":"10.20.0.17"}"#).status, 201);
    // One closes its page: the next one is shown pictures.
    let first = said.iter().position(|said| *said == Some(200)).unwrap();
    drop(watching.remove(first));
    until("a place for another dashboard", || status(&mut watch(&api)) == Some(200));
}
