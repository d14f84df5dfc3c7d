//! Webhooks against the receiver of `docs/examples`, and against receivers that misbehave.

mod api_support;

use api_support::{Api, SECRET, Setup, events, until, webhook, write_token};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};
use vestibule_config::Webhook as Section;
use vestibule_dhcpd::webhook::sign;

/// The example, running.
struct Receiver {
    process: Child,
    port: u16,
    printed: mpsc::Receiver<Value>,
}

impl Receiver {
    fn start(directory: &Path, port: u16) -> Self {
        let secret = write_token(directory, "receiver.secret", SECRET);
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/webhook-receiver.py");
        let mut process = Command::new("python3")
            .arg(program)
            .arg(port.to_string())
            .arg(secret)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut ready = String::new();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        errors.read_line(&mut ready).unwrap();
        let port = ready.trim().strip_prefix("listening on ").expect(&ready).parse().unwrap();
        let (sender, printed) = mpsc::channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, port, printed }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/vestibule", self.port)
    }

    fn next(&self) -> Value {
        self.printed.recv_timeout(api_support::PATIENCE).expect("an event")
    }

    fn ids(&self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next()["id"].as_u64().unwrap()).collect()
    }

    /// Posts by hand; the status.
    fn post(&self, signature: Option<&str>, body: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let signature =
            signature.map(|text| format!("vestibule-signature: {text}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{signature}\r\n"
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).expect("a status").parse().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(webhooks: Vec<Section>) -> Api {
    Api::start(Setup { webhooks, ..Setup::default() })
}

fn append(api: &Api, name: &str, count: usize) {
    api.log.lock().unwrap().append(1, 0, events(name, count).into_iter().collect());
}

fn status(api: &Api, place: usize) -> Value {
    api.get("/v1/webhooks").json()["webhooks"][place].clone()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn events_are_brought_in_order_and_the_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path(), 0);
    let api = start(vec![webhook("accounts", &receiver.url(), directory.path())]);
    append(&api, "halls", 1);
    let event = receiver.next();
    assert_eq!((&event["type"], &event["id"]), (&"pool-low".into(), &1.into()));
    append(&api, "halls", 999);
    assert_eq!(receiver.ids(999), (2..=1000).collect::<Vec<u64>>());
    until("all is noted", || status(&api, 0)["cursor"] == 1000);
    let status = status(&api, 0);
    assert_eq!((&status["delivered"], &status["behind"]), (&1000.into(), &0.into()));
    assert_eq!((&status["failures"], &status["last-error"]), (&0.into(), &Value::Null));
    let metrics = api.get("/metrics").body;
    assert!(metrics.contains("vestibule_webhook_events_total{webhook=\"accounts\"} 1000\n"));
}

#[test]
fn only_the_kinds_that_are_asked_for_are_brought_and_gaps() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path(), 0);
    let mut section = webhook("accounts", &receiver.url(), directory.path());
    section.kinds = vec![vestibule_core::EventKind::Expired];
    let api = start(vec![section]);
    append(&api, "halls", 500);
    api.log.lock().unwrap().append(2, 3, std::iter::empty().collect());
    assert_eq!(receiver.next()["type"], "gap");
    until("the rest was passed over", || status(&api, 0)["cursor"] == 501);
    assert_eq!(status(&api, 0)["delivered"], 1);
}

#[test]
fn the_example_refuses_what_is_forged_changed_replayed_or_not_signed() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path(), 0);
    let body = r#"{"events":[{"server":"a","id":1,"type":"registered"}]}"#;
    let good = |seconds: u64| sign(SECRET.as_bytes(), seconds, body.as_bytes());
    let genuine = good(now());
    assert_eq!(receiver.post(Some(&genuine), body), 200);
    assert_eq!(receiver.next()["id"], 1);
    for (what, signature, body) in [
        ("none", None, body.to_owned()),
        ("nonsense", Some("hello".to_owned()), body.to_owned()),
        ("no time", Some("v1=00".to_owned()), body.to_owned()),
        (
            "another secret",
            Some(sign(b"another-secret-altogether", now(), body.as_bytes())),
            body.to_owned(),
        ),
        ("another body", Some(genuine.clone()), body.replace("\"id\":1", "\"id\":2")),
        ("another time", Some(genuine.replacen("t=1", "t=2", 1)), body.to_owned()),
        ("a replay after six minutes", Some(good(now() - 360)), body.to_owned()),
        ("from the future", Some(good(now() + 360)), body.to_owned()),
    ] {
        assert_eq!(receiver.post(signature.as_deref(), &body), 403, "{what}");
    }
    // A replay within the tolerance is taken, and prints nothing: its id is known.
    assert_eq!(receiver.post(Some(&genuine), body), 200);
    let newer = body.replace("\"id\":1", "\"id\":3");
    assert_eq!(receiver.post(Some(&sign(SECRET.as_bytes(), now(), newer.as_bytes())), &newer), 200);
    assert_eq!(receiver.next()["id"], 3);
}

#[test]
fn a_dead_receiver_delays_no_other_and_gets_everything_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there until later.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // This one takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = Receiver::start(directory.path(), 0);
    let mut mute =
        webhook("mute", &format!("http://{}/", silent.local_addr().unwrap()), directory.path());
    mute.timeout_seconds = 1;
    let api = start(vec![
        webhook("dead", &format!("http://127.0.0.1:{port}/"), directory.path()),
        mute,
        webhook("alive", &receiver.url(), directory.path()),
    ]);
    append(&api, "halls", 250);
    assert_eq!(receiver.ids(250), (1..=250).collect::<Vec<u64>>());
    until("the others are tried", || {
        status(&api, 0)["failures-in-a-row"].as_u64() > Some(1) && status(&api, 1)["failures"] != 0
    });
    let dead = status(&api, 0);
    assert!(dead["last-error"].as_str().unwrap().contains("refused"), "{dead}");
    assert!(status(&api, 1)["last-error"].as_str().unwrap().contains("no answer within 1 s"));
    assert_eq!((&dead["cursor"], &dead["behind"]), (&0.into(), &250.into()));
    let back = Receiver::start(directory.path(), port);
    assert_eq!(back.ids(250), (1..=250).collect::<Vec<u64>>());
    until("it is well again", || status(&api, 0)["failures-in-a-row"] == 0);
}

/// A receiver that takes a delivery and then fails to say so gets it again.
#[test]
fn what_was_not_answered_with_success_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let api = start(vec![webhook("accounts", &url, directory.path())]);
    append(&api, "halls", 1);
    let mut bodies = Vec::new();
    let answers = [
        "",
        "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 204 Taken\r\nconnection: close\r\n\r\n",
    ];
    for answer in answers {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {head}")).trim().to_owned()
        };
        let mut body = vec![0; field("content-length:").parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let signature = field("vestibule-signature:");
        let time = signature.split(['=', ',']).nth(1).unwrap().parse().unwrap();
        assert_eq!(signature, sign(SECRET.as_bytes(), time, &body));
        bodies.push(body);
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "the same each time");
    until("it is delivered", || status(&api, 0)["delivered"] == 1);
    assert_eq!(status(&api, 0)["failures"], answers.len() as u64 - 1);
}

#[test]
fn a_receiver_that_stays_away_too_long_is_told_of_the_gap() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let webhooks = vec![webhook("away", &url, directory.path())];
    let api = Api::start(Setup { event_bytes: 1 << 20, webhooks, ..Setup::default() });
    append(&api, "halls", 1);
    until("it is tried", || status(&api, 0)["failures"] != 0);
    for _ in 0..40 {
        append(&api, &"n".repeat(1000), 100);
    }
    until("events are dropped", || status(&api, 0)["dropped"] != 0);
    let receiver = Receiver::start(directory.path(), port);
    let gap = receiver.next();
    assert_eq!((&gap["type"], &gap["cause"]), (&"gap".into(), &"retention".into()));
    let dropped = status(&api, 0)["dropped"].as_u64().unwrap();
    assert_eq!(gap["missed"], dropped);
    let ids = receiver.ids(4001 - usize::try_from(dropped).unwrap());
    assert_eq!(ids, (dropped + 1..=4001).collect::<Vec<u64>>(), "and then everything that is kept");
}

#[test]
fn a_test_says_what_came_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path(), 0);
    let api = start(vec![
        webhook("accounts", &receiver.url(), directory.path()),
        webhook("dead", "http://127.0.0.1:9/", directory.path()),
    ]);
    let result = api.request("POST", "/v1/webhooks/accounts/test", "{}").json();
    assert_eq!((&result["delivered"], &result["error"]), (&true.into(), &Value::Null));
    let event = receiver.next();
    assert_eq!((&event["type"], &event["id"]), (&"test".into(), &Value::Null));
    let result = api.request("POST", "/v1/webhooks/dead/test", "{}").json();
    assert_eq!(result["delivered"], false);
    assert!(result["error"].as_str().unwrap().contains("refused"), "{result}");
    api.request("POST", "/v1/webhooks/other/test", "{}").assert_problem(404, "unknown-webhook");
    let run = |arguments: &[&str]| {
        let token_file = api.token_file.display().to_string();
        let url = api.url();
        let all = ["vestibule", "--api", &url, "--token-file", &token_file];
        let all = all.iter().chain(arguments).map(std::ffi::OsString::from);
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let exit = vestibule_dhcpd::cli::run(all, &mut out, &mut complaints);
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    };
    let (exit, out, _) = run(&["webhooks", "test", "accounts"]);
    assert_eq!(exit, 0, "{out}");
    assert!(out.starts_with("taken within "), "{out}");
    let (exit, _, complaints) = run(&["webhooks", "test", "dead"]);
    assert_eq!(exit, 1, "{complaints}");
    assert!(complaints.contains("did not take it"), "{complaints}");
    let (exit, out, _) = run(&["webhooks", "status"]);
    assert_eq!(exit, 0);
    assert!(out.contains("accounts  http://127.0.0.1:"), "{out}");
    append(&api, "halls", 3);
    let (exit, out, _) = run(&["events", "--type", "pool-low"]);
    assert_eq!((exit, out.lines().count()), (0, 3), "{out}");
    assert!(out.contains(" 1 pool-low "), "{out}");
    let (_, out, _) = run(&["events", "--json", "--since", "2"]);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["id"], 3);
    let (exit, _, complaints) = run(&["events", "--since", "99"]);
    assert_eq!(exit, 1, "{complaints}");
    assert!(complaints.contains("(410 event-not-retained)"), "{complaints}");
}

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");

/// A receiver that speaks TLS, with a certificate that can be put in another one's place. It takes whatever
/// comes by a session, and notes it.
struct TlsReceiver {
    url: String,
    session: Arc<Mutex<Arc<ServerConfig>>>,
    taken: mpsc::Receiver<String>,
}

impl TlsReceiver {
    fn start(certificate: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/vestibule", listener.local_addr().unwrap());
        let session = Arc::new(Mutex::new(Self::session(certificate)));
        let (sender, taken) = mpsc::channel();
        let current = Arc::clone(&session);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&current.lock().unwrap());
                let session = ServerConnection::new(config).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(session, stream));
                let (mut head, mut length) = (String::new(), 0);
                // Who refuses the certificate ends the session before it says anything.
                while !head.ends_with("\r\n\r\n") {
                    match stream.read_line(&mut head) {
                        Ok(count) if count > 0 => {}
                        _ => break,
                    }
                }
                for line in head.lines() {
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                if length == 0 || stream.read_exact(&mut body).is_err() {
                    continue;
                }
                let answer = b"HTTP/1.1 204 Taken\r\nconnection: close\r\n\r\n";
                let _ = stream.get_mut().write_all(answer);
                if sender.send(String::from_utf8(body).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { url, session, taken }
    }

    fn session(certificate: &str) -> Arc<ServerConfig> {
        let folder = Path::new(CERTIFICATES);
        let chain = CertificateDer::pem_file_iter(folder.join(certificate)).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key);
        Arc::new(config.unwrap())
    }

    fn show(&self, certificate: &str) {
        *self.session.lock().unwrap() = Self::session(certificate);
    }
}

/// A receiver that cannot prove who it is gets nothing, not even a header, and everything once it can.
#[test]
fn by_tls_only_who_proves_to_be_the_receiver_gets_anything() {
    let directory = tempfile::tempdir().unwrap();
    for (certificate, authority, why) in [
        ("receiver-ended.pem", "receiver-ca.pem", "it has expired"),
        ("receiver.pem", "ca.pem", "no authority of ca-file has signed it"),
        ("leaf.pem", "ca.pem", "it is for another name than the URL's"),
    ] {
        let receiver = TlsReceiver::start(certificate);
        let mut section = webhook("accounts", &receiver.url, directory.path());
        section.ca_file = Path::new(CERTIFICATES).join(authority);
        let api = start(vec![section]);
        append(&api, "halls", 3);
        until("it is tried again", || status(&api, 0)["failures-in-a-row"].as_u64() > Some(1));
        let said = status(&api, 0);
        let error = said["last-error"].as_str().unwrap();
        assert!(
            error.contains("the receiver's certificate is refused: ") && error.contains(why),
            "{said}"
        );
        assert_eq!((&said["cursor"], &said["behind"]), (&0.into(), &3.into()), "{said}");
        let tested = api.request("POST", "/v1/webhooks/accounts/test", "{}").json();
        assert!(tested["error"].as_str().unwrap().contains(why), "{tested}");
        assert!(receiver.taken.try_recv().is_err(), "nothing was said to {certificate}");
        if authority == "receiver-ca.pem" {
            // The site has put it right: nothing is lost, and nobody has to do anything here.
            receiver.show("receiver.pem");
            let body = receiver.taken.recv_timeout(api_support::PATIENCE).expect("a delivery");
            let body: Value = serde_json::from_str(&body).unwrap();
            let ids: Vec<_> =
                body["events"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
            assert_eq!(ids, [1, 2, 3]);
            until("it is well again", || status(&api, 0)["failures-in-a-row"] == 0);
        }
    }
}
