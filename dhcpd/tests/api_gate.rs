//! The gate feed: a snapshot, then changes; resumed by cursor; closed to who takes too little.

mod api_support;

use api_support::{Api, Setup, TOKEN, lease, mac, until};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_config::GateMode;
use vestibule_core::{GateChange, Record, Side};
use vestibule_dhcpd::api::{GateFeed, Timeouts};
use vestibule_dhcpd::feed::{CHANGES_KEPT_MAX, FOLLOWERS_MAX, Feed};
use vestibule_firewall::feed::{Change, Changes, Cursor, Element, FeedSide, Hello, Line, VERSION};
use vestibule_firewall::{Ruleset, TABLE_DEFAULT};

fn ruleset() -> Ruleset {
    let service = "10.0.0.54:53".parse().unwrap();
    Ruleset {
        table: TABLE_DEFAULT.to_owned(),
        gated_prefixes: vec!["10.20.0.0/16".parse().unwrap()],
        gated_prefixes_ipv6: vec!["2001:db8::/64".parse().unwrap()],
        gated_prefixes_ipv6_by_hardware: Vec::new(),
        portal: Ipv4Addr::new(10, 0, 0, 80),
        portal_redirected: true,
        garden_prefixes: Vec::new(),
        lying_resolver: service,
        redirect: service,
        captive: None,
        server_addresses: vec![Ipv4Addr::new(10, 0, 0, 67)],
        elements_max: 1000,
    }
}

/// A server with a feed, and two leases, one of them registered.
struct Setting {
    api: Api,
    feed: Arc<Feed>,
}

impl Setting {
    fn new(change: impl FnOnce(Setup) -> Setup) -> Self {
        let feed = Arc::new(Feed::new(7));
        let records =
            (17..19).map(|last| Record::Lease(lease([10, 20, 0, last], &mac(last.into()))));
        let setup = Setup {
            records: records.collect(),
            gate_mode: GateMode::Feed,
            gate_feed: Some(GateFeed { feed: Arc::clone(&feed), ruleset: ruleset() }),
            ..Setup::default()
        };
        let api = Api::start(change(setup));
        Self { api, feed }
    }

    fn publish(&self, addresses: impl IntoIterator<Item = u8>) {
        let now = Instant::now();
        let changes = addresses.into_iter().map(|last| GateChange {
            address: Ipv4Addr::new(10, 20, 0, last),
            side: Some((Side::Registered, 60_000)),
            forget_flows: true,
            holder: None,
        });
        self.feed.publish(now, now, changes);
    }

    fn follow(&self, query: &str) -> Following {
        let mut stream = self.api.connect();
        let head = format!(
            "GET /v1/gate{query} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Following { stream: BufReader::new(stream) }
    }
}

/// Reads a feed.
struct Following {
    stream: BufReader<TcpStream>,
}

impl Following {
    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Line> {
        loop {
            let mut text = String::new();
            if self.stream.read_line(&mut text).unwrap() == 0 {
                return None;
            }
            // Between the lines are the head and the lengths of chunks.
            if text.starts_with('{') {
                return Some(serde_json::from_str(&text).unwrap());
            }
        }
    }

    /// The next line that is no heartbeat.
    fn news(&mut self) -> Line {
        loop {
            match self.line().expect("the feed goes on") {
                Line::Heartbeat { .. } => {}
                line => return line,
            }
        }
    }

    fn hello(&mut self) -> Hello {
        let Line::Hello(hello) = self.news() else { panic!("no hello") };
        *hello
    }

    fn changes(&mut self) -> Changes {
        match self.news() {
            Line::Changes(changes) => changes,
            line => panic!("{line:?}"),
        }
    }

    /// A whole snapshot: its elements, and the cursor that it ends with.
    fn snapshot(&mut self) -> (Vec<Element>, Cursor) {
        assert_eq!(self.news(), Line::SnapshotBegin {});
        let mut all = Vec::new();
        loop {
            match self.news() {
                Line::Elements { elements, .. } => all.extend(elements),
                Line::Changes(_) => {}
                Line::SnapshotEnd { cursor } => return (all, cursor),
                line => panic!("{line:?}"),
            }
        }
    }
}

fn cursor(sequence: u64) -> Cursor {
    Cursor { boot: 7, sequence }
}

#[test]
fn a_follower_learns_what_to_enforce_and_whom_to_let_through() {
    let setting = Setting::new(|setup| setup);
    let answer = setting.api.post(r#"{"ip":"10.20.0.18"}"#);
    assert_eq!(answer.status, 201);
    let mut following = setting.follow("");
    let hello = following.hello();
    assert_eq!((hello.version, &*hello.server, &*hello.gate_mode), (VERSION, "dhcp-test", "feed"));
    assert_eq!(hello.ruleset, ruleset());
    let (elements, end) = following.snapshot();
    assert_eq!(end, cursor(0));
    let sides: Vec<_> = elements.iter().map(|one| (one.0.octets()[3], one.1)).collect();
    assert_eq!(sides, [(17, FeedSide::Unregistered), (18, FeedSide::Registered)]);
    // The lease began ten minutes ago, the registration just now.
    assert!(elements[0].3 >= 600_000 && elements[1].3 < 60_000, "{elements:?}");
    assert!(elements.iter().all(|one| one.2 > 3_500_000 && one.2 <= 3_600_000), "{elements:?}");

    setting.publish([20, 21]);
    let changes = following.changes();
    assert_eq!(changes.cursor, cursor(2));
    let [Change(address, Some(FeedSide::Registered), life, true), _] = changes.changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(address, Ipv4Addr::new(10, 20, 0, 20));
    assert!(life > 0 && life <= 60_000);
}

#[test]
fn a_feed_without_news_says_that_it_lives_and_how_far_the_server_is() {
    let setting = Setting::new(|setup| setup);
    let mut following = setting.follow("");
    following.hello();
    following.snapshot();
    for _ in 0..2 {
        let Some(Line::Heartbeat { cursor: newest, time }) = following.line() else {
            panic!("no heartbeat")
        };
        assert_eq!(newest, cursor(0));
        assert!(time.ends_with('Z'), "{time}");
    }
}

#[test]
fn who_comes_back_in_time_goes_on_without_a_snapshot() {
    let setting = Setting::new(|setup| setup);
    let mut following = setting.follow("");
    following.hello();
    following.snapshot();
    setting.publish([20]);
    assert_eq!(following.changes().cursor, cursor(1));
    drop(following);
    setting.publish([21, 22]);

    let mut again = setting.follow(&format!("?after={}", cursor(1)));
    again.hello();
    assert_eq!(again.news(), Line::Resumed { cursor: cursor(1) });
    let missed: Vec<u8> = again.changes().changes.iter().map(|one| one.0.octets()[3]).collect();
    assert_eq!(missed, [21, 22]);
}

#[test]
fn who_comes_back_too_late_or_to_another_server_gets_a_snapshot() {
    let setting = Setting::new(|setup| setup);
    setting.follow("").hello();
    for _ in 0..CHANGES_KEPT_MAX / 128 + 1 {
        setting.publish(0..128);
    }
    let other_boot = Cursor { boot: 8, ..cursor(1) };
    let of_the_future = cursor(u64::MAX);
    for after in [cursor(1), other_boot, of_the_future] {
        let mut following = setting.follow(&format!("?after={after}"));
        following.hello();
        let (elements, end) = following.snapshot();
        assert_eq!(elements.len(), 2, "{after}");
        assert_eq!(end, setting.feed.newest());
    }
}

#[test]
fn a_snapshot_ends_when_what_it_shows_is_durable() {
    let setting = Setting::new(|setup| Setup { hold_commits: true, ..setup });
    std::thread::scope(|scope| {
        let post = scope.spawn(|| setting.api.post(r#"{"ip":"10.20.0.18"}"#));
        let core = || setting.api.core.lock().unwrap();
        until("the registration is decided", || core().answers_held() == 1);
        let mut following = setting.follow("");
        following.hello();
        assert_eq!(following.news(), Line::SnapshotBegin {});
        assert!(matches!(following.news(), Line::Elements { .. }));
        until("the snapshot waits", || core().barriers_held() == 1);
        // The commit: the barrier tells the feed first.
        setting.publish([18]);
        core().commit();
        assert_eq!(following.changes().cursor, cursor(1));
        assert_eq!(following.news(), Line::SnapshotEnd { cursor: cursor(1) });
        assert_eq!(post.join().unwrap().status, 201);
    });
}

#[test]
fn what_is_no_cursor_or_no_gate_is_refused() {
    let setting = Setting::new(|setup| setup);
    for query in ["?after=1", "?after=", "?before=1", "?after=0000000000000007-x"] {
        setting.api.get(&format!("/v1/gate{query}")).assert_problem(400, "bad-parameter");
    }
    setting.api.request_with("GET", "/v1/gate", "", "").assert_problem(401, "unauthorized");
    let off = Setting::new(|setup| Setup { gate_mode: GateMode::Off, ..setup });
    off.api.get("/v1/gate").assert_problem(404, "no-gate");
}

#[test]
fn followers_are_bounded_and_a_place_is_free_again_when_one_goes() {
    let setting = Setting::new(|setup| setup);
    let mut all: Vec<Following> = (0..FOLLOWERS_MAX).map(|_| setting.follow("")).collect();
    for following in &mut all {
        following.hello();
    }
    setting.api.get("/v1/gate").assert_problem(503, "busy");
    all.pop();
    until("a place is free", || setting.feed.followers() < FOLLOWERS_MAX);
    setting.follow("").hello();
}

#[test]
fn a_follower_that_takes_nothing_is_closed_and_holds_nobody_up() {
    let timeouts = Timeouts { write: Duration::from_millis(50), ..Timeouts::default() };
    let setting = Setting::new(|setup| Setup { timeouts, ..setup });
    let stuck = setting.follow("");
    let mut other = setting.follow("");
    other.hello();
    other.snapshot();
    // More than sockets hold; it never waits for the one that is stuck.
    let mut told = 0;
    until("the stuck one is gone", || {
        setting.publish(0..200);
        while told < setting.feed.newest().sequence {
            told = other.changes().cursor.sequence;
        }
        setting.feed.followers() == 1
    });
    drop(stuck);
}

#[test]
fn a_server_that_ends_says_so() {
    let mut setting = Setting::new(|setup| setup);
    let mut following = setting.follow("");
    following.hello();
    following.snapshot();
    setting.api.stop();
    let Line::End { reason } = following.news() else { panic!("no end") };
    assert_eq!(reason, "the server is ending");
    assert_eq!(following.line(), None);
}

#[test]
fn a_gate_that_only_followers_enforce_is_not_well_without_one() {
    let setting = Setting::new(|setup| setup);
    let status = setting.api.get("/v1/status").json();
    assert_eq!(status["gate"]["mode"], "feed");
    let not_well = status["not-well"].to_string();
    assert!(not_well.contains("nobody follows"), "{not_well}");
    let _following = setting.follow("");
    until("the follower counts", || setting.api.get("/v1/status").json()["gate"]["followers"] == 1);
    let status = setting.api.get("/v1/status").json();
    assert!(!status["not-well"].to_string().contains("nobody follows"));
}
