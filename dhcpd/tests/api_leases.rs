//! Leases through the API: pages, filters, an index that may be behind, and names that strangers chose.

mod api_support;

use api_support::{Api, NOW, Setup, lease, mac};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use vestibule_core::{BindingState, ClientIdentifier, Record, Registration, Timestamp};
use vestibule_dhcpd::api::{Search, SearchKey};

/// Option 82 with a circuit ID and a remote ID.
fn relay_agent(circuit: &[u8], remote: &[u8]) -> Option<Box<[u8]>> {
    let mut option = vec![1, u8::try_from(circuit.len()).unwrap()];
    option.extend_from_slice(circuit);
    option.extend_from_slice(&[2, u8::try_from(remote.len()).unwrap()]);
    option.extend_from_slice(remote);
    Some(option.into())
}

fn ips(page: &Value) -> Vec<String> {
    let leases = page["leases"].as_array().unwrap();
    leases.iter().map(|lease| lease["ip"].as_str().unwrap().to_owned()).collect()
}

/// All pages.
fn all(api: &Api, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v1/leases?{query}{after}")).json();
        found.extend(ips(&page));
        let Some(next) = page["next"].as_str() else { return found };
        after = format!("&after={next}");
    }
}

#[test]
fn everything_about_a_lease_is_shown() {
    let mut full = lease([10, 20, 0, 17], "02:00:5e:00:53:01");
    full.client = ClientIdentifier::Option61([0xff, 0x01, 0x02].as_slice().into());
    full.relay = Some(Ipv4Addr::new(10, 20, 0, 1));
    full.relay_agent = relay_agent(b"eth0/17", &[0x00, 0xff]);
    full.host_name = Some(b"laptop".as_slice().into());
    let registration =
        Registration { owner: Some("alice".into()), ..Registration::of(full.hardware, NOW) };
    let api = Api::with(vec![Record::Lease(full), Record::Registration(registration)]);
    let expected = json!({
        "ip": "10.20.0.17",
        "mac": "02:00:5e:00:53:01",
        "client-id": "ff0102",
        "network": "halls",
        "state": "active",
        "started": "2026-11-20T12:50:00.000Z",
        "changed": "2026-11-20T12:59:00.000Z",
        "ends": "2026-11-20T14:00:00.000Z",
        "relay": "10.20.0.1",
        "circuit-id": "eth0/17",
        "circuit-id-hex": "657468302f3137",
        "remote-id": null,
        "remote-id-hex": "00ff",
        "host-name": "laptop",
        "registered": true,
        "registration-state": "active",
        "randomised": true,
        "owner": "alice",
    });
    assert_eq!(api.get("/v1/leases/10.20.0.17").json(), expected);
    assert_eq!(api.get("/v1/leases").json(), json!({ "leases": [expected], "next": null }));
    api.get("/v1/leases/10.20.0.18").assert_problem(404, "no-lease");
    api.get("/v1/leases/10.20.0").assert_problem(400, "bad-parameter");
    api.get("/v1/leases/::1").assert_problem(400, "bad-parameter");
}

#[test]
fn states_are_told_apart_and_ended_leases_shown_on_request() {
    let mut expired = lease([10, 20, 0, 12], &mac(2));
    expired.ends = NOW;
    let mut released = lease([10, 20, 0, 13], &mac(3));
    released.state = BindingState::Released;
    released.ends = NOW;
    let mut declined = lease([10, 20, 0, 14], &mac(4));
    declined.state = BindingState::Declined;
    let mut elsewhere = lease([192, 0, 2, 1], &mac(5));
    elsewhere.ends = Timestamp::FOREVER;
    let active = lease([10, 20, 0, 11], &mac(1));
    let api = Api::with(
        [active, expired, released, declined, elsewhere].map(Record::Lease).into_iter().collect(),
    );
    for (ip, state) in [
        ("10.20.0.11", "active"),
        ("10.20.0.12", "expired"),
        ("10.20.0.13", "released"),
        ("10.20.0.14", "declined"),
    ] {
        assert_eq!(api.get(&format!("/v1/leases/{ip}")).json()["state"], state, "{ip}");
    }
    assert_eq!(all(&api, "all=false"), ["10.20.0.11", "192.0.2.1"]);
    assert_eq!(all(&api, "all=true").len(), 5);
    let unconfigured = api.get("/v1/leases/192.0.2.1").json();
    assert_eq!(unconfigured["network"], Value::Null);
    assert_eq!(unconfigured["ends"], Value::Null, "never");
}

#[test]
fn pages_end_and_overlap_nowhere() {
    let records = (0..2500_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        Record::Lease(lease([10, 20, 100 + high, low], &mac(number)))
    });
    let api = Api::with(records.collect());
    for limit in [1000, 999, 500, 37] {
        let found = all(&api, &format!("limit={limit}"));
        assert_eq!(found.len(), 2500, "limit {limit}");
        let mut addresses: Vec<Ipv4Addr> = found.iter().map(|ip| ip.parse().unwrap()).collect();
        let asked = addresses.clone();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses, asked, "ascending, none twice");
    }
    assert_eq!(ips(&api.get("/v1/leases").json()).len(), 100);
    assert_eq!(ips(&api.get("/v1/leases?after=10.20.109.195").json()), Vec::<String>::new());
    assert_eq!(all(&api, "limit=100&mac=0200.0000.09c3"), ["10.20.109.195"]);
    assert_eq!(all(&api, "limit=100&network=halls").len(), 2500);
}

#[test]
fn filters_name_exactly_what_they_mean() {
    let mut named = lease([10, 20, 0, 11], &mac(1));
    named.host_name = Some(b"Laptop".as_slice().into());
    named.relay_agent = relay_agent(b"eth1", b"r");
    let mut binary = lease([10, 20, 0, 12], &mac(1));
    binary.host_name = Some(b"lap\xfftop".as_slice().into());
    binary.relay_agent = relay_agent(&[0, 4, 0xab], b"eth1");
    let office = lease([10, 30, 0, 11], &mac(1));
    let api = Api::with([named, binary, office].map(Record::Lease).into_iter().collect());
    for (query, expected) in [
        ("mac=02-00-00-00-00-01", &["10.20.0.11", "10.20.0.12", "10.30.0.11"][..]),
        ("mac=02:00:00:00:00:02", &[]),
        ("network=offices", &["10.30.0.11"]),
        ("network=halls&mac=020000000001", &["10.20.0.11", "10.20.0.12"]),
        ("host-name=laptop", &["10.20.0.11"]),
        ("host-name=lap", &[]),
        ("host-name=lap%EF%BF%BDtop", &["10.20.0.12"]),
        ("circuit=eth1", &["10.20.0.11"]),
        ("circuit=hex:65746831", &["10.20.0.11"]),
        ("circuit=hex:0004AB", &["10.20.0.12"]),
    ] {
        assert_eq!(all(&api, query), expected, "{query}");
    }
}

#[test]
fn misspelt_parameters_are_refused() {
    let api = Api::with(Vec::new());
    for (query, detail) in [
        ("hostname=x", "`hostname`"),
        ("limit=0", "`limit`"),
        ("limit=1001", "`limit`"),
        ("limit=-1", "`limit`"),
        ("limit=1&limit=2", "`limit`"),
        ("after=10.20.0", "`after`"),
        ("mac=xyz", "`mac`"),
        ("all=yes", "`all`"),
        ("circuit=hex:0", "`circuit`"),
        ("circuit=hex:%2B1", "`circuit`"),
        ("network=office", "`network`"),
        ("network=office&mac=020000000001", "`network`"),
    ] {
        let said = api.get(&format!("/v1/leases?{query}")).assert_problem(400, "bad-parameter");
        assert!(said.contains(detail), "{query}: {said}");
    }
    let said = api.get("/v1/registrations?mac=020000000001").assert_problem(400, "bad-parameter");
    assert!(said.contains("`mac`"), "{said}");
    api.get("/v1/registrations?after=x").assert_problem(400, "bad-parameter");
    api.get("/v1/whoami?address=1.2.3.4").assert_problem(400, "bad-parameter");
}

/// An index that says what it is told to.
struct Index {
    hits: Option<Vec<Ipv4Addr>>,
    asked: Mutex<Vec<SearchKey>>,
}

impl Search for Index {
    fn search(&self, key: SearchKey, limit: usize) -> Option<Vec<Ipv4Addr>> {
        self.asked.lock().unwrap().push(key);
        Some(self.hits.as_ref()?.iter().copied().take(limit).collect())
    }
}

fn with_index(hits: Option<&[[u8; 4]]>) -> (Api, Arc<Index>) {
    let index = Arc::new(Index {
        hits: hits.map(|hits| hits.iter().copied().map(Ipv4Addr::from).collect()),
        asked: Mutex::default(),
    });
    let records = [(11, 1), (12, 1), (13, 2)]
        .map(|(host, device)| Record::Lease(lease([10, 20, 0, host], &mac(device))));
    let search: Arc<dyn Search> = Arc::<Index>::clone(&index);
    let api =
        Api::start(Setup { records: records.into(), search: Some(search), ..Setup::default() });
    (api, index)
}

#[test]
fn what_the_index_says_is_looked_up_in_the_core() {
    // One hit has changed hands, one is unknown, one comes twice.
    let hits =
        [[10, 20, 0, 13], [10, 20, 0, 12], [10, 20, 0, 11], [10, 20, 0, 12], [10, 20, 0, 99]];
    let (api, index) = with_index(Some(&hits));
    assert_eq!(all(&api, "mac=020000000001"), ["10.20.0.11", "10.20.0.12"]);
    assert_eq!(all(&api, "mac=020000000001&limit=1"), ["10.20.0.11", "10.20.0.12"]);
    assert_eq!(all(&api, "mac=020000000001&network=offices"), Vec::<String>::new());
    let asked = index.asked.lock().unwrap().clone();
    assert!(asked.contains(&SearchKey::Hardware(mac(1).parse().unwrap())));
    drop(asked);
    all(&api, "host-name=x");
    all(&api, "circuit=hex:01");
    let asked = index.asked.lock().unwrap().clone();
    assert!(asked.contains(&SearchKey::HostName("x".into())));
    assert!(asked.contains(&SearchKey::Circuit([1].as_slice().into())));
}

#[test]
fn an_index_without_a_hit_is_believed() {
    let (api, _) = with_index(Some(&[]));
    assert_eq!(all(&api, "mac=020000000001"), Vec::<String>::new());
}

#[test]
fn an_index_that_cannot_say_hides_nothing() {
    let (api, index) = with_index(None);
    assert_eq!(all(&api, "mac=020000000001"), ["10.20.0.11", "10.20.0.12"]);
    assert_eq!(index.asked.lock().unwrap().len(), 1);
    // Bytes that are no text are shown as U+FFFD, and the index does not have that.
    all(&api, "host-name=lap%EF%BF%BDtop");
    assert_eq!(index.asked.lock().unwrap().len(), 1);
}

#[test]
fn an_index_with_too_many_hits_hides_nothing() {
    let (api, _) = with_index(Some(&[[10, 20, 0, 13]; 1000]));
    assert_eq!(all(&api, "mac=020000000001"), ["10.20.0.11", "10.20.0.12"]);
}

#[test]
fn names_from_strangers_come_as_json_that_does_nothing() {
    let nasty = "<script>alert(1)</script>\u{1b}]0;pwned\u{7}\r\n\u{202e}cod.exe\u{9b}2J\u{2028}\u{200b}\"\\";
    let mut stranger = lease([10, 20, 0, 17], &mac(1));
    stranger.host_name = Some(nasty.as_bytes().into());
    stranger.relay_agent = relay_agent(b"\x1b[2J", b"plain");
    let api = Api::with(vec![Record::Lease(stranger)]);
    let owner = "O'Neil <b>\u{202e}";
    assert_eq!(api.post(&json!({ "ip": "10.20.0.17", "owner": owner }).to_string()).status, 201);
    for path in
        ["/v1/leases", "/v1/leases/10.20.0.17", "/v1/registrations", "/v1/whoami?ip=10.20.0.17"]
    {
        let answer = api.get(path);
        assert!(
            answer.body.chars().all(|c| c.is_ascii_graphic() || c == ' '),
            "{path}: {:?}",
            answer.body
        );
        assert!(!answer.body.contains(['<', '>', '&']), "{path}: {:?}", answer.body);
        assert!(answer.has_header("x-content-type-options: nosniff"));
    }
    let lease = api.get("/v1/leases/10.20.0.17").json();
    assert_eq!(lease["host-name"], nasty, "a program gets what the client sent");
    assert_eq!(lease["owner"], owner);
    assert_eq!(lease["circuit-id"], Value::Null);
    assert_eq!(lease["remote-id"], "plain");
    // What a caller sends comes back in an error, and does nothing either.
    let answer = api.post("{\"<b>\u{202e}\":1}");
    answer.assert_problem(400, "bad-field");
    assert!(answer.body.is_ascii() && !answer.body.contains('<'), "{:?}", answer.body);
}
