//! What the tests of the API and of the tool share: a real server of the API on a free port, before a
//! real core whose commits are at once, or when the test says so; and a client that sends bytes.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use vestibule_config::{Api as ApiSection, ApiListen, ApiToken, Credential, GateMode, Scope};
use vestibule_core::event::PoolUsage;
use vestibule_core::{
    AddressRange, Answer, BindingState, ClientIdentifier, Configuration, Effect, Effects, Event,
    GateBy, Happening, HardwareAddress, Input, Lease, LeaseTokens, Network, OptionSet, PerClass,
    Policy, RandomisedAddresses, Record, RegistrationRules, Release, Server, Subnet, Ticket,
    Timestamp,
};
use vestibule_dhcpd::api::{
    ApiState, CaptivePortal, Certificate, ExchangeFeed, GateFeed, Listener, Search, Timeouts,
    serve_captive_until_stopped, serve_portal_until_stopped, serve_with_tls_until_stopped,
};
use vestibule_dhcpd::door::{Call, Door};
use vestibule_dhcpd::events::{EventLog, Retention};
use vestibule_dhcpd::metrics::Metrics;
use vestibule_dhcpd::portal::Portal;
use vestibule_dhcpd::trace::Traces;
use vestibule_dhcpd::webhook::{Courier, Webhook};

/// The time that the core of every test begins with: 2026-11-20T13:00:00Z.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_179_600);

/// The token of every test's server.
pub const TOKEN: &str = "correct-horse-battery-staple-0123";

/// What every test's webhooks are signed with.
pub const SECRET: &str = "a-secret-that-signs-deliveries";

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running API.
pub struct Api {
    pub address: Option<SocketAddr>,
    /// Where `captive.listen` is, if there is one.
    pub captive_address: Option<SocketAddr>,
    /// Where the API speaks TLS.
    pub tls_address: Option<SocketAddr>,
    /// Where the built-in portal is, if there is one: plain, and by TLS.
    pub portal_addresses: Vec<SocketAddr>,
    pub socket_path: PathBuf,
    pub token_file: PathBuf,
    pub metrics: Arc<Metrics>,
    pub core: Arc<Mutex<Core>>,
    pub door: Door,
    /// What happened, as the test wants it.
    pub log: Arc<Mutex<EventLog>>,
    pub directory: TempDir,
    /// The core's end of the door, if nobody decides.
    pub calls: Option<mpsc::Receiver<Call>>,
    stop: Option<oneshot::Sender<()>>,
    portal_stop: watch::Sender<()>,
    runtime: Option<tokio::runtime::Runtime>,
    decide: Option<std::thread::JoinHandle<()>>,
}

/// How an API shall be.
pub struct Setup {
    pub configuration: Configuration,
    pub records: Vec<Record>,
    pub search: Option<Arc<dyn Search>>,
    pub timeouts: Timeouts,
    pub unix: bool,
    /// Whether commits wait for [`Core::commit`].
    pub hold_commits: bool,
    /// Whether calls are taken at all; if not, they stay in [`Api::calls`].
    pub decides: bool,
    pub gate_mode: GateMode,
    /// What devices are told.
    pub captive: CaptivePortal,
    /// Whether there is a `captive.listen` too, and with which certificate.
    pub captive_listen: Option<Option<Arc<Certificate>>>,
    /// The built-in portal.
    pub portal: Option<Portal>,
    /// Whether the portal speaks TLS too, and with which certificate.
    pub portal_certificate: Option<Arc<Certificate>>,
    /// What makes lease tokens.
    pub lease_tokens: Option<LeaseTokens>,
    /// How many bytes of events are kept.
    pub event_bytes: u64,
    /// Where events are brought, by sections whose secrets are in files.
    pub webhooks: Vec<vestibule_config::Webhook>,
    /// Whether the API speaks TLS too, and with which certificate.
    pub tls: Option<Arc<Certificate>>,
    /// What followers of the gate are told.
    pub gate_feed: Option<GateFeed>,
    /// What the failover partner is told.
    pub exchange_feed: Option<ExchangeFeed>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            configuration: configuration(),
            records: Vec::new(),
            search: None,
            timeouts: Timeouts::default(),
            unix: false,
            hold_commits: false,
            decides: true,
            gate_mode: GateMode::Local,
            captive: CaptivePortal::default(),
            captive_listen: None,
            portal: None,
            portal_certificate: None,
            lease_tokens: None,
            event_bytes: 1 << 30,
            webhooks: Vec::new(),
            tls: None,
            gate_feed: None,
            exchange_feed: None,
        }
    }
}

/// The decide thread's state: the real core, and what it asked to have done.
pub struct Core {
    server: Server,
    now: Timestamp,
    tickets: u64,
    hold_commits: bool,
    held: Vec<(Release, Answer, oneshot::Sender<Answer>)>,
    barriers_held: Vec<oneshot::Sender<()>>,
    /// What was decided about each client, as the test says it.
    pub traces: Traces,
    /// Every effect, in order, answers not among them.
    pub effects: Vec<Effect>,
}

impl Core {
    fn new(
        configuration: Configuration,
        records: Vec<Record>,
        hold_commits: bool,
        tokens: Option<LeaseTokens>,
    ) -> Self {
        let server = Server::new(configuration, [Ipv4Addr::new(10, 0, 0, 67)], records, NOW);
        let server = match tokens {
            Some(tokens) => server.with_lease_tokens(tokens),
            None => server,
        };
        Self {
            server,
            now: NOW,
            traces: Traces::default(),
            tickets: 0,
            hold_commits,
            held: Vec::new(),
            barriers_held: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn call(&mut self, call: Call) {
        self.now = Timestamp::from_milliseconds(self.now.milliseconds() + 1);
        match call {
            Call::Query(query, answer) => {
                let _ = answer.send(self.server.query(self.now, &query));
            }
            Call::Command(command, answer) => {
                let ticket = Ticket(self.tickets);
                self.tickets += 1;
                let mut effects = Effects::new();
                self.server.step(self.now, Input::Command(ticket, command), &mut effects);
                let mut answer = Some(answer);
                for effect in effects.drain() {
                    match effect {
                        Effect::Answer { answer: said, release, .. } => {
                            self.held.push((release, said, answer.take().expect("one answer")));
                        }
                        effect => self.effects.push(effect),
                    }
                }
                if !self.hold_commits {
                    self.commit();
                }
            }
            Call::Trace { hardware, follow, answer } => {
                let last = self.traces.last(hardware);
                let follows = follow.map(|to| self.traces.follow(hardware, to)).transpose();
                let _ = answer.send(follows.map(|_| last));
            }
            Call::Barrier(done) if self.held.is_empty() => {
                let _ = done.send(());
            }
            Call::Barrier(done) => self.barriers_held.push(done),
        }
    }

    /// Everything so far is durable and in the kernel.
    pub fn commit(&mut self) {
        let through = self.server.sequence();
        let mut effects = Effects::new();
        self.server.step(self.now, Input::Committed(through), &mut effects);
        self.effects.extend(effects.drain());
        for (_, said, answer) in self.held.drain(..) {
            let _ = answer.send(said);
        }
        for done in self.barriers_held.drain(..) {
            let _ = done.send(());
        }
    }

    /// Barriers that wait for a commit.
    pub fn barriers_held(&self) -> usize {
        self.barriers_held.len()
    }

    /// Answers that wait for a commit.
    pub fn answers_held(&self) -> usize {
        self.held.iter().filter(|(release, ..)| matches!(release, Release::AfterCommit(_))).count()
    }

    /// Records that were to be made durable.
    pub fn records(&self) -> Vec<Record> {
        let records = self.effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        });
        records.collect()
    }
}

/// `halls`: 10.20.0.0/16, gated. `offices`: 10.30.0.0/24, not gated. `here`: 127.0.0.0/24, gated,
/// so that a test's own address can hold a lease.
pub fn configuration() -> Configuration {
    let network = |name: &str, gated, prefix: &str, first: [u8; 4], last: [u8; 4]| Network {
        name: name.into(),
        gated,
        gate_by: GateBy::default(),
        class_options: PerClass::default(),
        subnets: vec![Subnet {
            prefix: prefix.parse().unwrap(),
            pools: vec![AddressRange { first: first.into(), last: last.into() }],
            options: OptionSet::default(),
            class_pools: PerClass::default(),
            special_pools: Vec::new(),
            profile: None,
            class_options: PerClass::default(),
            reservations: Vec::new(),
        }],
        options: OptionSet::default(),
        randomised_addresses: RandomisedAddresses::Allow,
    };
    Configuration {
        networks: vec![
            network("halls", true, "10.20.0.0/16", [10, 20, 0, 10], [10, 20, 255, 250]),
            network("offices", false, "10.30.0.0/24", [10, 30, 0, 10], [10, 30, 0, 250]),
            network("here", true, "127.0.0.0/24", [127, 0, 0, 1], [127, 0, 0, 9]),
        ],
        lifetime_seconds: 3600,
        lifetime_unregistered_seconds: 120,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 3600,
        rapid_commit: false,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    }
}

/// An active lease that ends in an hour.
pub fn lease(address: [u8; 4], mac: &str) -> Lease {
    let hardware: HardwareAddress = mac.parse().unwrap();
    Lease {
        address: address.into(),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: Timestamp::from_seconds(NOW.seconds() - 600),
        changed: Timestamp::from_seconds(NOW.seconds() - 60),
        ends: NOW.plus_seconds(3600),
        relay: None,
        relay_agent: None,
        host_name: None,
    }
}

/// Events of a kind that nothing has to happen for; `name` is in each.
pub fn events(name: &str, count: usize) -> Vec<Event> {
    let event = || {
        let usage = PoolUsage { network: name.into(), class: None, pool_size: 10, free: 1 };
        Event { time: NOW, what: Happening::PoolLow(usage) }
    };
    std::iter::repeat_with(event).take(count).collect()
}

/// A webhook to a URL, with a secret in a file of `directory`.
pub fn webhook(name: &str, url: &str, directory: &Path) -> vestibule_config::Webhook {
    vestibule_config::Webhook {
        name: name.into(),
        url: url.into(),
        secret_file: write_token(directory, &format!("{name}.secret"), SECRET),
        kinds: Vec::new(),
        timeout_seconds: 5,
        ca_file: PathBuf::from("/nowhere"),
    }
}

/// `02:00:00:00:xx:xx`
pub fn mac(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!("02:00:00:00:{high:02x}:{low:02x}")
}

pub fn write_token(directory: &Path, name: &str, token: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The operator's token, and one of each scope: that of the file with the scope's name behind it.
pub fn read_tokens(token_file: &Path) -> Vec<Credential> {
    let directory = token_file.parent().unwrap();
    let tokens = Scope::ALL.iter().map(|scope| {
        let name = scope.name();
        let file = write_token(directory, &format!("token-{name}"), &scope_token(*scope));
        ApiToken { name: format!("a-{name}").into(), file, scope: *scope }
    });
    let tokens = tokens.collect();
    let listen = ApiListen::Unix(PathBuf::new());
    let api = ApiSection { listen, token_file: token_file.to_owned(), tokens, tls: None };
    api.read_tokens().map_err(|(_, error)| error).unwrap()
}

/// The token of a scope.
pub fn scope_token(scope: Scope) -> String {
    format!("a-token-of-the-scope-{}", scope.name())
}

impl Api {
    /// With these records, committing at once, on a free TCP port of 127.0.0.1.
    pub fn with(records: Vec<Record>) -> Self {
        Self::start(Setup { records, ..Setup::default() })
    }

    pub fn start(setup: Setup) -> Self {
        let directory = TempDir::new().unwrap();
        let token_file = write_token(directory.path(), "token", TOKEN);
        let socket_path = directory.path().join("api.sock");
        let (portal_stop, portal_stopped) = watch::channel(());
        let (door, calls) = Door::new(Arc::new(|| {}));
        let core = Arc::new(Mutex::new(Core::new(
            setup.configuration,
            setup.records,
            setup.hold_commits,
            setup.lease_tokens,
        )));
        let (decide, calls) = if setup.decides {
            let core = Arc::clone(&core);
            (Some(std::thread::spawn(move || decide(&core, calls))), None)
        } else {
            (None, Some(calls))
        };
        let metrics = Arc::new(Metrics::new());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listen = if setup.unix {
            ApiListen::Unix(socket_path.clone())
        } else {
            ApiListen::Tcp("127.0.0.1:0".parse().unwrap())
        };
        let listener = runtime.block_on(Listener::bind(&listen)).unwrap();
        let address = listener.tcp_address();
        let event_directory = directory.path().join("events");
        let retention = Retention { bytes: setup.event_bytes, events: 1_000_000 };
        let log = EventLog::open(&event_directory, retention, "dhcp-test", 0, Arc::clone(&metrics))
            .unwrap();
        let events = log.events();
        let webhooks = setup.webhooks.into_iter().map(|section| {
            let secret = section.read_secret().unwrap();
            Webhook::new(section, secret).unwrap()
        });
        let webhooks = webhooks.collect();
        let (couriers, webhooks) =
            Courier::all(webhooks, "dhcp-test", &events, &event_directory, &metrics).unwrap();
        for courier in couriers {
            runtime.spawn(courier.with_backoff(Duration::from_millis(10)).run());
        }
        let state = ApiState::with_timeouts(
            door.clone(),
            Arc::clone(&metrics),
            read_tokens(&token_file),
            "dhcp-test",
            setup.gate_mode,
            setup.search,
            setup.timeouts,
        )
        .with_events(events, webhooks)
        .with_captive(setup.captive);
        let state = match setup.gate_feed {
            Some(gate_feed) => state.with_gate_feed(gate_feed),
            None => state,
        };
        let state = match setup.exchange_feed {
            Some(exchange_feed) => state.with_exchange_feed(exchange_feed),
            None => state,
        };
        let captive_address = setup.captive_listen.map(|certificate| {
            let listen = "127.0.0.1:0".parse().unwrap();
            let listener = runtime.block_on(Listener::bind_captive(listen)).unwrap();
            let address = listener.tcp_address().unwrap();
            let state = state.clone();
            runtime.spawn(serve_captive_until_stopped(
                listener,
                certificate,
                state,
                std::future::pending(),
            ));
            address
        });
        let mut portal_addresses = Vec::new();
        if let Some(portal) = setup.portal {
            let mut listeners = Vec::new();
            let certificates = [None, setup.portal_certificate];
            for certificate in certificates
                .into_iter()
                .enumerate()
                .filter_map(|(index, found)| (index == 0 || found.is_some()).then_some(found))
            {
                let listen = "127.0.0.1:0".parse().unwrap();
                let listener = runtime.block_on(Listener::bind_portal(listen)).unwrap();
                portal_addresses.push(listener.tcp_address().unwrap());
                listeners.push((listener, certificate));
            }
            let (portal, state, stop) = (Arc::new(portal), state.clone(), portal_stopped);
            runtime.spawn(serve_portal_until_stopped(listeners, portal, state, stop));
        }
        let (stop, stopped) = oneshot::channel();
        let mut tls_address = None;
        let tls = setup.tls.map(|certificate| {
            let listen = "127.0.0.1:0".parse().unwrap();
            let listener = runtime.block_on(Listener::bind_tls(listen)).unwrap();
            tls_address = listener.tcp_address();
            (listener, certificate)
        });
        runtime.spawn(serve_with_tls_until_stopped(listener, tls, state, async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            captive_address,
            tls_address,
            portal_addresses,
            portal_stop,
            socket_path,
            token_file,
            metrics,
            core,
            door,
            log: Arc::new(Mutex::new(log)),
            directory,
            stop: Some(stop),
            runtime: Some(runtime),
            decide,
            calls,
        }
    }

    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Stops the server as the daemon does.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes on a connection of their own, and reads what comes.
    pub fn send(&self, bytes: &[u8]) -> Response {
        match self.address {
            Some(_) => exchange(self.connect(), bytes),
            None => {
                let stream = UnixStream::connect(&self.socket_path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, bytes)
            }
        }
    }

    /// A request with more header lines, each ended by CR LF.
    pub fn request_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.send(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// A request with the token.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Response {
        self.request_with(method, path, &format!("authorization: Bearer {TOKEN}\r\n"), body)
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "")
    }

    pub fn post(&self, body: &str) -> Response {
        self.request("POST", "/v1/registrations", body)
    }

    pub fn url(&self) -> String {
        match self.address {
            Some(address) => format!("http://{address}"),
            None => format!("unix:{}", self.socket_path.display()),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        // The thread ends when the last door is gone.
        let (door, _) = Door::new(Arc::new(|| {}));
        self.door = door;
        if let Some(decide) = self.decide.take() {
            let _ = decide.join();
        }
    }
}

fn decide(core: &Mutex<Core>, mut calls: mpsc::Receiver<Call>) {
    while let Some(call) = calls.blocking_recv() {
        core.lock().unwrap().call(call);
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let head = head.to_ascii_lowercase();
        let is_stream = head.contains("content-type: text/event-stream");
        assert!(is_stream || !head.contains("transfer-encoding"), "lengths are known: {head}");
        Self { status: status.expect("a status"), head, body: body.to_owned() }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|candidate| candidate == line)
    }

    /// That it is a well-formed problem of this kind.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, name: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.has_header("content-type: application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["type"], format!("https://vestibule.example/problems/{name}"));
        assert_eq!(document["status"], status);
        assert!(!document["title"].as_str().unwrap().is_empty());
        document["detail"].as_str().unwrap().to_owned()
    }
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, bytes: &[u8]) -> Response {
    // The server may answer and close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Response::parse(&answer)
}

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}
