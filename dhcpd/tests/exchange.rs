//! Registrations over the wire: a follower of a real API, and what it makes of partners that are none.

mod api_support;

use api_support::{Api, PATIENCE, Setup, configuration, lease, mac, scope_token, write_token};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;
use vestibule_config::{AgentPlace, AgentServer, Scope};
use vestibule_core::failover::{BalanceSettings, FailoverConfiguration, HashBuckets, Role};
use vestibule_core::{Configuration, Record};
use vestibule_dhcpd::api::ExchangeFeed;
use vestibule_dhcpd::exchange::{ExchangeCounts, ExchangeNews, Follow};
use vestibule_firewall::source::Source;

fn exchanging(role: Role) -> Configuration {
    Configuration {
        failover: Some(FailoverConfiguration {
            role,
            relationship: "campus".into(),
            mclt_seconds: 60,
            hash_buckets: HashBuckets::split(128),
            unacknowledged_max: 10,
            receive_timer_seconds: 30,
            load_balance_seconds_max: 3,
            balance: BalanceSettings::default(),
            balance_seconds_min: 60,
            balance_seconds_max: 3600,
            auto_partner_down_seconds: None,
            exchanges_registrations: true,
        }),
        ..configuration()
    }
}

fn half(role: Role, records: Vec<Record>) -> (Api, Arc<ExchangeNews>) {
    let news = Arc::new(ExchangeNews::new(0xf00d));
    let feed = ExchangeFeed { news: Arc::clone(&news), pair: "campus".into(), role };
    let configuration = exchanging(role);
    let exchange_feed = Some(feed);
    let api = Api::start(Setup { configuration, records, exchange_feed, ..Setup::default() });
    (api, news)
}

/// Follows whoever is there, for a server of this role, until it is dropped.
struct Following {
    counts: Arc<ExchangeCounts>,
    _runtime: tokio::runtime::Runtime,
}

impl Following {
    fn of(api: &Api, role: Role, partner: SocketAddr, token: &str) -> Self {
        let server = AgentServer {
            url: format!("http://{partner}").into(),
            place: AgentPlace::Plain(partner),
            token_file: write_token(api.directory.path(), "partner", token),
            ca_file: "/nowhere".into(),
        };
        let source = Source::new(&server, server.read_token().unwrap()).unwrap();
        let counts = Arc::new(ExchangeCounts::default());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (door, pair) = (api.door.clone(), "campus".into());
        let follow = Follow { source, pair, role, door, counts: Arc::clone(&counts) };
        runtime.spawn(follow.run());
        Self { counts, _runtime: runtime }
    }

    /// How often the stream was lost for this reason.
    fn lost(&self, wanted: &str) -> u64 {
        let of_it = self.counts.ends().find(|(reason, _)| *reason == wanted);
        of_it.expect("it is a reason").1
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// The half tells what it has committed.
fn tell(api: &Api, news: &ExchangeNews) {
    let records = api.core.lock().unwrap().records();
    news.committed(&records);
}

#[test]
fn what_is_registered_at_one_is_registered_at_the_other_and_its_gate_opens() {
    let records = vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))];
    let (first, news) = half(Role::Primary, records.clone());
    let (second, _) = half(Role::Secondary, records);
    assert_eq!(first.post(&format!(r#"{{"mac":"{}","owner":"ann"}}"#, mac(2))).status, 201);
    let token = scope_token(Scope::Partner);
    let following = Following::of(&second, Role::Secondary, first.address.unwrap(), &token);
    let shows = |number: u16, wanted: &str| {
        let answer = second.get(&format!("/v1/registrations/{}", mac(number)));
        answer.body.contains(wanted)
    };
    until("what was there before came", || shows(2, r#""owner":"ann""#));

    assert_eq!(first.post(r#"{"ip":"10.20.0.17"}"#).status, 201);
    tell(&first, &news);
    until("what was made since came", || shows(1, r#""state":"active""#));
    let opened = second.get("/v1/whoami?ip=10.20.0.17");
    assert!(opened.body.contains(r#""registered":true"#), "{opened:?}");
    let path = format!("/v1/registrations/{}", mac(1));
    assert_eq!(first.request("DELETE", &path, "").status, 200);
    tell(&first, &news);
    until("its end came", || shows(1, "not-registered"));
    until("all is here", || {
        following
            .counts
            .state()
            .is_some_and(|state| state.is_connected && state.behind() == 0 && state.lag().is_some())
    });
    assert_eq!(following.counts.taken(), 3);
}

#[test]
fn a_wrong_partner_is_named() {
    let (first, _) = half(Role::Primary, Vec::new());
    let (second, _) = half(Role::Secondary, Vec::new());
    let address = first.address.unwrap();
    let partner = scope_token(Scope::Partner);
    let (reader, nobody) = (scope_token(Scope::Reader), "a-token-that-nobody-knows".to_owned());
    for (role, token, wanted) in [
        (Role::Primary, &partner, "same-role"),
        (Role::Secondary, &reader, "token-scope"),
        (Role::Secondary, &nobody, "token-unknown"),
    ] {
        let following = Following::of(&second, role, address, token);
        until(wanted, || following.lost(wanted) > 0);
        let error = following.counts.state().and_then(|state| state.error);
        assert!(error.is_some_and(|error| !error.contains(&**token)));
    }
    let alone = Api::with(Vec::new());
    let following = Following::of(&second, Role::Secondary, alone.address.unwrap(), &partner);
    until("not-exchanging", || following.lost("not-exchanging") > 0);
}

const HELLO: &str = r#"{"hello":{"version":1,"server":"x","pair":"campus","role":"primary","cursor":"0000000000000001-9","time":""}}"#;

/// Answers every connection with these lines.
fn stranger(lines: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}\n", lines.replace("HELLO", HELLO));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let _request = stream.read(&mut head);
            // The follower goes away in the middle of it.
            let _written = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn whatever_a_partner_sends_it_is_refused_by_rule_and_changes_nothing() {
    let (api, _) = half(Role::Secondary, Vec::new());
    let long = "x".repeat(2 << 20);
    let records = |of: &str| {
        format!(
            "HELLO\n{{\"everything\":{{}}}}\n{{\"records\":{{\"newest\":\"0000000000000001-9\",\"records\":[{of}]}}}}"
        )
    };
    let good = r#"{"registration":{"mac":"02:00:5e:00:53:01","stamp":[1,0,"primary"],"devices-counted":0,"registered":1}}"#;
    let control = good.replace(r#""registered":1"#, r#""registered":1,"owner":"\u0007""#);
    let far = good.replace("[1,0", "[18446744073709551615,4294967295");
    for (lines, wanted) in [
        ("", "line-invalid"),
        ("garbage", "line-invalid"),
        ("{}", "line-invalid"),
        (r#"{"everything":{}}"#, "line-misplaced"),
        ("HELLO\nHELLO", "line-misplaced"),
        ("HELLO\n{\"resumed\":{\"cursor\":\"0000000000000001-3\"}}", "line-misplaced"),
        (&HELLO.replace("\"version\":1", "\"version\":2"), "version"),
        (&HELLO.replace("campus", "another"), "other-pair"),
        (&HELLO.replace("primary", "secondary"), "same-role"),
        ("HELLO\n{\"end\":{\"reason\":\"tired\"}}", "ended"),
        ("HELLO", "broken-off"),
        (&long, "line-too-long"),
        (&records(&control), "line-invalid"),
        (&records(&far), "line-invalid"),
        // One bad word, and nothing of its line is taken.
        (&records(&format!("{good},{control}")), "line-invalid"),
    ] {
        let token = scope_token(Scope::Partner);
        let following = Following::of(&api, Role::Secondary, stranger(lines), &token);
        until(wanted, || following.lost(wanted) > 0);
        assert_eq!(following.counts.taken(), 0, "{wanted}");
    }
    assert!(api.core.lock().unwrap().records().is_empty());
}
