//! Connections to the API: slow, silent, broken and many; and the sockets that it listens on.

mod api_support;

use api_support::{Api, Response, Setup, TOKEN, lease, mac, until};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;
use vestibule_config::ApiListen;
use vestibule_core::Record;
use vestibule_dhcpd::api::{CONNECTIONS_MAX, ListenError, Listener, Timeouts};

/// Short limits, for tests that wait for one to pass.
fn impatient() -> Timeouts {
    let short = Duration::from_millis(100);
    Timeouts { head: short, body: short, write: short, stop: short, health: short }
}

#[test]
fn a_caller_who_never_finishes_its_head_is_closed() {
    let api = Api::start(Setup { timeouts: impatient(), ..Setup::default() });
    for beginning in ["", "GET /healthz HTTP/1.1\r\nhost: t\r\nx-slow: "] {
        let mut stream = api.connect();
        stream.write_all(beginning.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Ends only because the server closes: this side leaves the connection open.
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    assert_eq!(api.get("/healthz").status, 200);
}

#[test]
fn an_idle_connection_is_closed_after_its_answer() {
    let api = Api::start(Setup { timeouts: impatient(), ..Setup::default() });
    let mut stream = api.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let api = Api::start(Setup { timeouts: impatient(), ..Setup::default() });
    let mut stream = api.connect();
    let head = format!(
        "POST /v1/registrations HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 40\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Response::parse(&answer).assert_problem(408, "body-too-slow");
    assert!(api.core.lock().unwrap().records().is_empty());
}

#[test]
fn a_caller_who_takes_no_answers_is_closed() {
    let records = (0..1000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        Record::Lease(lease([10, 20, 100 + high, low], &mac(number)))
    });
    let api =
        Api::start(Setup { records: records.collect(), timeouts: impatient(), ..Setup::default() });
    let mut stream = api.connect();
    let one = format!(
        "GET /v1/leases?limit=1000 HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    // Some 400 kB of answer each, far more than two sockets hold.
    stream.write_all(one.repeat(100).as_bytes()).unwrap();
    until("the server gives the connection up", || {
        let metrics = api.request_with("GET", "/metrics", "", "");
        metrics.body.lines().any(|line| line == "vestibule_api_connections 1")
    });
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    assert!(answers.len() < 100 * 300_000, "not all were written: {}", answers.len());
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    let api = Api::with(Vec::new());
    let mut stream = api.connect();
    let head = format!(
        "POST /v1/registrations HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 40\r\n\r\n\
         {{\"mac\":\"02:00:5e:00:53:01\"}}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    assert!(api.core.lock().unwrap().records().is_empty());
}

#[test]
fn what_is_not_http_harms_nobody() {
    let api = Api::with(Vec::new());
    let long_head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        long_head.as_bytes(),
        many_headers.as_bytes(),
    ] {
        let mut stream = api.connect();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    assert_eq!(api.get("/healthz").status, 200);
}

#[test]
fn a_connection_too_many_is_told_so_and_places_come_back() {
    let api = Api::with(Vec::new());
    let connections: Vec<_> = (0..CONNECTIONS_MAX).map(|_| api.connect()).collect();
    let mut refused = api.connect();
    let mut answer = Vec::new();
    refused.read_to_end(&mut answer).unwrap();
    let answer = Response::parse(&answer);
    answer.assert_problem(503, "busy");
    assert!(answer.has_header("retry-after: 1"));
    drop(connections);
    until("a place is free again", || {
        let mut stream = api.connect();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200")
    });
    let metrics = api.request_with("GET", "/metrics", "", "").body;
    let refused = metrics
        .lines()
        .find_map(|line| line.strip_prefix("vestibule_api_connections_refused_total "))
        .and_then(|count| count.parse::<u64>().ok());
    assert!(refused.is_some_and(|count| count >= 1), "{metrics}");
}

#[test]
fn stopping_lets_what_is_under_way_end() {
    let mut api = Api::start(Setup { hold_commits: true, ..Setup::default() });
    let mut stream = api.connect();
    let body = r#"{"mac":"02:00:5e:00:53:01"}"#;
    let request = format!(
        "POST /v1/registrations HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    until("the core holds the answer", || api.core.lock().unwrap().answers_held() == 1);
    api.stop();
    until("nobody listens any more", || {
        std::net::TcpStream::connect(api.address.unwrap()).is_err()
    });
    api.core.lock().unwrap().commit();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Response::parse(&answer).status, 201);
}

#[test]
fn the_socket_file_is_for_its_group_and_goes_with_the_server() {
    let mut api = Api::start(Setup { unix: true, ..Setup::default() });
    let path = api.socket_path.clone();
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert_eq!(api.get("/healthz").status, 200);
    api.stop();
    until("the file is gone", || !path.exists());
}

fn bind(listen: &ApiListen) -> Result<Listener, ListenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bound = runtime.block_on(Listener::bind(listen));
    // What is bound belongs to its runtime, and here only the outcome counts.
    drop(runtime);
    bound
}

#[test]
fn a_socket_file_that_nobody_answers_on_is_replaced_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let listen = ApiListen::Unix(path.clone());

    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a leftover, as after kill -9");
    let listener = bind(&listen).unwrap();
    drop(listener);
    assert!(!path.exists());

    let alive = UnixListener::bind(&path).unwrap();
    let error = bind(&listen).unwrap_err();
    assert!(matches!(error, ListenError::SocketInUse(_)), "{error}");
    assert!(error.to_string().contains("api.sock"), "{error}");
    assert!(path.exists());
    drop(alive);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&listen), Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let nowhere = ApiListen::Unix(directory.path().join("missing/api.sock"));
    assert!(matches!(bind(&nowhere), Err(ListenError::Unix(..))));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[test]
fn a_taken_tcp_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(&ApiListen::Tcp(address)).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("another process"), "{error}");
    let error = bind(&ApiListen::Tcp("192.0.2.1:0".parse().unwrap())).unwrap_err().to_string();
    assert!(error.contains("no interface"), "{error}");
}
