//! `/captive`: what devices are told, about whom, and when; and the listener that serves nothing else.

mod api_support;

use api_support::{Api, Response, Setup, lease, mac, until};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use vestibule_config::{GateMode, Tls};
use vestibule_core::Record;
use vestibule_dhcpd::api::{
    CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX, CaptivePortal, Certificate, Timeouts,
};

const PORTAL: &str = "https://register.campus.example/?a=1&b=2";

/// What a configuration with these lines in `[captive]` tells devices. Its gated networks are those of
/// the core of these tests.
fn portal(lines: &str) -> CaptivePortal {
    let text = format!(
        "[server]\nname = \"a\"\nrelay-listen = [\"10.0.0.67\"]\n\
         [[network]]\nname = \"halls\"\ngated = true\n[[network.subnet]]\nprefix = \"10.20.0.0/16\"\n\
         [[network]]\nname = \"offices\"\ngated = false\n[[network.subnet]]\nprefix = \"10.30.0.0/24\"\n\
         [[network]]\nname = \"here\"\ngated = true\n[[network.subnet]]\nprefix = \"127.0.0.0/24\"\n\
         [gate]\nmode = \"local\"\nlying-resolver = \"10.0.0.54\"\nredirect = \"10.0.0.54:8080\"\n\
         portal = {{ address = \"10.0.0.80\", url = \"{PORTAL}\" }}\n\
         [captive]\nurl = \"https://captive.campus.example/captive\"\n{lines}\n"
    );
    match vestibule_config::parse(&text, "vestibule.toml") {
        Ok(vestibule) => CaptivePortal::new(&vestibule),
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn records() -> Vec<Record> {
    vec![
        Record::Lease(lease([127, 0, 0, 1], &mac(1))),
        Record::Lease(lease([10, 20, 0, 17], &mac(2))),
        Record::Lease(lease([10, 30, 0, 17], &mac(3))),
    ]
}

fn api(lines: &str) -> Api {
    Api::start(Setup { records: records(), captive: portal(lines), ..Setup::default() })
}

fn ask(api: &Api, headers: &str) -> Response {
    api.request_with("GET", "/captive", headers, "")
}

#[track_caller]
fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.has_header("content-type: application/captive+json"), "{response:?}");
    assert!(response.has_header("cache-control: private, no-store"), "{response:?}");
    response.json()
}

#[test]
fn a_device_is_captive_until_it_is_registered_and_again_afterwards() {
    let api = api("");
    let captive = json!({ "captive": true, "user-portal-url": PORTAL });
    assert_eq!(told(&ask(&api, "accept: application/captive+json\r\n")), captive);
    assert_eq!(api.post(r#"{"ip":"127.0.0.1","owner":"alice"}"#).status, 201);
    let free = json!({ "captive": false, "user-portal-url": PORTAL });
    assert_eq!(told(&ask(&api, "")), free);
    assert_eq!(api.request("DELETE", &format!("/v1/registrations/{}", mac(1)), "").status, 200);
    assert_eq!(told(&ask(&api, "")), captive);
    let metrics = api.request_with("GET", "/metrics", "", "").body;
    assert!(metrics.contains("vestibule_captive_answers_total{captive=\"true\"} 2"), "{metrics}");
    assert!(metrics.contains("vestibule_captive_answers_total{captive=\"false\"} 1"), "{metrics}");
}

#[test]
fn a_registration_with_an_end_is_a_session_with_an_end() {
    let api = api("can-extend-session = true\nvenue-info-url = \"https://campus.example/halls\"");
    let body = r#"{"ip":"127.0.0.1","expires":"2026-11-20T14:00:00Z"}"#;
    assert_eq!(api.post(body).status, 201);
    let expected = json!({
        "captive": false,
        "user-portal-url": PORTAL,
        "venue-info-url": "https://campus.example/halls",
        "can-extend-session": true,
        // Begun is not left: the core's clock has gone on by some milliseconds.
        "seconds-remaining": 3599,
    });
    assert_eq!(told(&ask(&api, "")), expected);
}

#[test]
fn a_device_is_called_free_only_when_the_kernel_has_it() {
    let setup =
        Setup { records: records(), captive: portal(""), hold_commits: true, ..Setup::default() };
    let api = Api::start(setup);
    std::thread::scope(|scope| {
        let registration = scope.spawn(|| api.post(r#"{"ip":"127.0.0.1"}"#));
        until("the core has decided", || api.core.lock().unwrap().answers_held() == 1);
        let device = scope.spawn(|| ask(&api, ""));
        until("the device waits", || api.core.lock().unwrap().barriers_held() == 1);
        assert!(!device.is_finished());
        api.core.lock().unwrap().commit();
        assert_eq!(told(&device.join().unwrap())["captive"], false);
        assert_eq!(registration.join().unwrap().status, 201);
    });
}

#[test]
fn a_proxy_that_is_named_is_believed_and_only_its_header() {
    let api = api("trusted-proxies = [\"127.0.0.1\"]");
    let of = |headers: &str| told(&ask(&api, headers))["captive"].as_bool().unwrap();
    assert!(of("x-forwarded-for: 10.20.0.17\r\n"), "unregistered");
    assert_eq!(api.post(r#"{"ip":"10.20.0.17"}"#).status, 201);
    assert!(!of("x-forwarded-for: 10.20.0.17\r\n"), "registered");
    assert!(!of("x-forwarded-for: 10.20.0.99, 10.20.0.17\r\n"), "the device wrote the first one");
    assert!(of("x-forwarded-for: 10.20.0.17, 10.20.0.99\r\n"), "gated, and nobody's lease");
    assert!(!of("x-forwarded-for: 10.30.0.17\r\n"), "not gated");
    assert!(!of("x-forwarded-for: 192.0.2.1\r\n"), "not ours");
    assert!(
        of("forwarded: for=10.30.0.17\r\nx-forwarded-for: 10.20.0.99\r\n"),
        "of two headers one"
    );
    for headers in ["", "forwarded: for=10.20.0.17\r\n", "x-forwarded-for: unknown\r\n"] {
        let detail = ask(&api, headers).assert_problem(400, "no-caller-address");
        let remedy = "127.0.0.1 is one of captive.trusted-proxies";
        assert!(
            detail.contains(remedy) && detail.contains("have it send x-forwarded-for"),
            "{detail}"
        );
    }
    let detail =
        ask(&api, "x-forwarded-for: 2001:db8::1\r\n").assert_problem(400, "no-caller-address");
    assert!(detail.contains("no AAAA record"), "{detail}");

    let by_forwarded =
        self::api("trusted-proxies = [\"127.0.0.0/8\"]\nproxy-header = \"forwarded\"");
    let headers = "forwarded: for=10.30.0.17\r\nx-forwarded-for: 10.20.0.17\r\n";
    assert_eq!(told(&ask(&by_forwarded, headers))["captive"], false);
}

#[test]
fn nobody_else_is_believed() {
    let api = api("trusted-proxies = [\"10.0.0.80\"]");
    let claims =
        "x-forwarded-for: 10.30.0.17\r\nforwarded: for=10.30.0.17\r\nx-real-ip: 10.30.0.17\r\n";
    assert_eq!(told(&ask(&api, claims))["captive"], true);
    // Nor is anybody by `whoami`, whatever the captive portal API does.
    let api = self::api("trusted-proxies = [\"127.0.0.1\"]");
    let claims = "x-forwarded-for: 10.20.0.17\r\n";
    assert_eq!(api.request_with("GET", "/v1/whoami", claims, "").json()["ip"], "127.0.0.1");
}

#[test]
fn without_a_gate_nobody_is_captive() {
    let setup = Setup { records: records(), gate_mode: GateMode::Off, ..Setup::default() };
    assert_eq!(told(&ask(&Api::start(setup), "")), json!({ "captive": false }));
}

#[test]
fn a_browser_is_led_to_the_portal() {
    let response = ask(&api(""), "accept: text/html,*/*;q=0.8\r\n");
    assert_eq!(response.status, 302, "{response:?}");
    assert!(
        response.has_header(&format!("location: {}", PORTAL.to_ascii_lowercase())),
        "{response:?}"
    );
    assert!(response.has_header("cache-control: no-store"), "{response:?}");
}

#[test]
fn other_methods_are_refused() {
    let response = api("").request_with("POST", "/captive", "", "{}");
    response.assert_problem(405, "method-not-allowed");
}

/// A server with `captive.listen`, and the authority that its certificate is from.
struct Listening {
    api: Api,
    roots: RootCertStore,
}

impl Listening {
    fn new(timeouts: Timeouts) -> Self {
        let folder = TempDir::new().unwrap();
        let [certificate, key] = ["leaf.pem", "leaf.key"].map(|name| {
            let path = folder.path().join(name);
            let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
            std::fs::copy(std::path::Path::new(from).join(name), &path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        });
        let certificate =
            Certificate::load(Tls { certificate, key }, Some("captive.campus.example")).unwrap();
        let api = Api::start(Setup {
            records: records(),
            captive: portal(""),
            captive_listen: Some(Some(Arc::new(certificate))),
            timeouts,
            ..Setup::default()
        });
        let mut roots = RootCertStore::empty();
        let authority = include_bytes!("certificates/ca.pem");
        roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        Self { api, roots }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.api.captive_address.unwrap()).unwrap();
        stream.set_read_timeout(Some(api_support::PATIENCE)).unwrap();
        stream
    }

    /// A TLS session with a certificate for this name.
    fn session(&self, name: &'static str) -> StreamOwned<ClientConnection, TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(session, self.connect())
    }

    fn get(&self, path: &str) -> Response {
        let mut session = self.session("captive.campus.example");
        write!(session, "GET {path} HTTP/1.1\r\nhost: captive.campus.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // The connection ends with the answer, although nobody asked for that.
        session.read_to_end(&mut answer).unwrap();
        Response::parse(&answer)
    }

    fn metric(&self, name: &str) -> Option<String> {
        let text = self.api.request_with("GET", "/metrics", "", "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::to_owned)
    }
}

#[test]
fn the_listener_for_devices_speaks_tls_and_serves_nothing_else() {
    let listening = Listening::new(Timeouts::default());
    assert_eq!(told(&listening.get("/captive"))["captive"], true);
    for path in ["/", "/v1/whoami", "/v1/status", "/metrics", "/healthz", "/captive/"] {
        listening.get(path).assert_problem(404, "unknown-path");
    }
    let mut other_name = listening.session("elsewhere.example");
    assert!(other_name.write_all(b"GET /captive HTTP/1.1\r\n\r\n").is_err(), "not its certificate");
    let mut plain = listening.connect();
    plain.write_all(b"GET /captive HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    until("the two that came to nothing are counted", || {
        listening.metric("vestibule_captive_handshakes_failed_total").as_deref() == Some("2")
    });
}

#[test]
fn silent_devices_keep_nobody_out() {
    let head = Duration::from_millis(200);
    let listening = Listening::new(Timeouts { head, ..Timeouts::default() });
    // As many as one address may have, some with a session and some without.
    let mut silent: Vec<TcpStream> =
        (1..CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX).map(|_| listening.connect()).collect();
    let mut session = listening.session("captive.campus.example");
    while session.conn.is_handshaking() {
        session.conn.complete_io(&mut session.sock).unwrap();
    }
    for connection in &mut silent {
        let mut end = Vec::new();
        connection.read_to_end(&mut end).unwrap();
        assert_eq!(end, b"", "closed without a word");
    }
    let mut end = Vec::new();
    let _ = session.read_to_end(&mut end);
    until("their places are free", || {
        listening.metric("vestibule_captive_connections").as_deref() == Some("0")
    });
    assert_eq!(told(&listening.get("/captive"))["captive"], true);
}
