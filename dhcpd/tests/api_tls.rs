//! `api.tls-listen`: the API as it is elsewhere, by TLS only, from the same places for connections.

mod api_support;

use api_support::{Api, Response, Setup, TOKEN, lease, mac, until};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use vestibule_config::Tls;
use vestibule_core::Record;
use vestibule_dhcpd::api::{CONNECTIONS_MAX, Certificate};

/// The name that the certificate is for.
const NAME: &str = "captive.campus.example";

fn api() -> Api {
    let folder = TempDir::new().unwrap();
    let [certificate, key] = ["leaf.pem", "leaf.key"].map(|name| {
        let path = folder.path().join(name);
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name);
        std::fs::copy(from, &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    });
    let certificate = Certificate::load(Tls { certificate, key }, None).unwrap();
    Api::start(Setup {
        records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))],
        tls: Some(Arc::new(certificate)),
        ..Setup::default()
    })
}

fn connect(api: &Api) -> TcpStream {
    let stream = TcpStream::connect(api.tls_address.unwrap()).unwrap();
    stream.set_read_timeout(Some(api_support::PATIENCE)).unwrap();
    stream
}

/// What a caller by TLS gets, who trusts the certificate's authority.
fn ask(api: &Api, request: &str) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    let authority = include_bytes!("certificates/ca.pem");
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(NAME).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut session = StreamOwned::new(session, connect(api));
    session.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    session.read_to_end(&mut answer)?;
    Ok(answer)
}

fn get(api: &Api, path: &str, token: &str) -> Response {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    Response::parse(&ask(api, &request).unwrap())
}

#[test]
fn the_api_answers_by_tls_as_it_does_without_and_only_who_has_a_token() {
    let api = api();
    let path = "/v1/leases/10.20.0.17";
    let answer = get(&api, path, TOKEN);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), api.get(path).json());
    get(&api, path, "another-token-that-nobody-knows").assert_problem(401, "unauthorized");
}

#[test]
fn who_speaks_no_tls_is_not_heard_and_counted() {
    let api = api();
    let mut plain = connect(&api);
    let request =
        format!("GET /v1/status HTTP/1.1\r\nhost: {NAME}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    plain.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    until("it is counted", || {
        let metrics = api.request_with("GET", "/metrics", "", "").body;
        metrics.lines().any(|line| line == "vestibule_api_handshakes_failed_total 1")
    });
}

#[test]
fn both_listeners_share_the_places_for_connections() {
    let api = api();
    // Held in both ways, until there is no place.
    let mut held: Vec<TcpStream> = (0..CONNECTIONS_MAX)
        .map(|number| if number % 2 == 0 { api.connect() } else { connect(&api) })
        .collect();
    let open = || {
        let metrics = api.metrics.encode_without_core();
        let line = metrics.lines().find_map(|line| line.strip_prefix("vestibule_api_connections "));
        line.map(str::to_owned)
    };
    until("all have their places", || open().as_deref() == Some(&CONNECTIONS_MAX.to_string()));
    api.send(b"").assert_problem(503, "busy");
    assert!(ask(&api, "").is_err(), "closed before there is a session");
    held.truncate(CONNECTIONS_MAX - 2);
    until("a place is free", || open().as_deref() != Some(&CONNECTIONS_MAX.to_string()));
    assert_eq!(get(&api, "/v1/status", TOKEN).status, 200);
}
