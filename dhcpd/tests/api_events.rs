//! The stream of events: from where, of which kinds, to how many readers, and what becomes of slow ones.

mod api_support;

use api_support::{Api, Setup, TOKEN, events, until};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vestibule_dhcpd::api::{SUBSCRIBERS_MAX, Timeouts};

/// One reader of a stream.
struct Reader {
    stream: BufReader<TcpStream>,
}

/// Id, kind, data.
type Told = (Option<u64>, String, String);

impl Reader {
    fn open(api: &Api, query: &str, headers: &str) -> Self {
        let mut stream = api.connect();
        let request = format!(
            "GET /v1/events{query} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Self { stream }
    }

    /// The next line of the body; chunks are not told apart, because no line is split over two.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// The next event.
    fn next(&mut self) -> Option<Told> {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let line = self.line()?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut kind);
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, kind, text.to_owned()));
            }
        }
    }

    fn ids(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next().expect("an event").0.expect("an id")).collect()
    }

    fn rest(mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.next()).filter_map(|(id, ..)| id).collect()
    }
}

fn append(api: &Api, name: &str, count: usize) {
    api.log.lock().unwrap().append(1, 0, events(name, count).into_iter().collect());
}

#[test]
fn a_reader_begins_where_it_says() {
    let api = Api::with(Vec::new());
    append(&api, "halls", 10);
    let ids = |query: &str, headers: &str| Reader::open(&api, query, headers).rest();
    let all: Vec<u64> = (1..=10).collect();
    assert_eq!(ids("?since=0&follow=false", ""), all);
    assert_eq!(ids("?since=oldest&follow=false", ""), all);
    assert_eq!(ids("?since=7&follow=false", ""), [8, 9, 10]);
    assert_eq!(ids("?follow=false", ""), [] as [u64; 0], "only what comes");
    let newer = "last-event-id: 9\r\n";
    assert_eq!(ids("?since=2&follow=false", newer), [10], "the header is newer than the URL");
    assert_eq!(ids("?since=0&type=pool-low,expired&follow=false", ""), all);
    assert_eq!(ids("?since=0&type=expired&follow=false", ""), [] as [u64; 0]);
    let mut reader = Reader::open(&api, "?since=9", "");
    let (id, kind, data) = reader.next().unwrap();
    assert_eq!((id, &*kind), (Some(10), "pool-low"));
    let event: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(
        event,
        serde_json::json!({
            "id": 10, "type": "pool-low", "time": "2026-11-20T13:00:00.000Z", "server": "dhcp-test",
            "network": "halls", "pool-size": 10, "free": 1
        })
    );
    append(&api, "halls", 2);
    assert_eq!(reader.ids(2), [11, 12], "and it follows");
}

#[test]
fn what_cannot_be_told_is_refused() {
    let api = Api::start(Setup { event_bytes: 1 << 20, ..Setup::default() });
    append(&api, "halls", 10);
    for path in ["/v1/events?since=11", "/v1/events?since=18446744073709551615"] {
        let detail = api.get(path).assert_problem(410, "event-not-retained");
        assert!(detail.contains("ids from 0 to 10"), "{detail}");
    }
    for path in [
        "/v1/events?since=x",
        "/v1/events?since=-1",
        "/v1/events?type=nothing",
        "/v1/events?type=",
        "/v1/events?follow=maybe",
        "/v1/events?until=7",
    ] {
        api.get(path).assert_problem(400, "bad-parameter");
    }
    let bad = format!("authorization: Bearer {TOKEN}\r\nlast-event-id: x\r\n");
    api.request_with("GET", "/v1/events", &bad, "").assert_problem(400, "bad-parameter");
    for _ in 0..30 {
        append(&api, &"n".repeat(1000), 100);
    }
    api.get("/v1/events?since=5").assert_problem(410, "event-not-retained");
    assert!(!Reader::open(&api, "?since=oldest&follow=false", "").rest().is_empty());
}

#[test]
fn a_gap_is_told_whatever_a_reader_wants() {
    let api = Api::with(Vec::new());
    api.log.lock().unwrap().append(1, 7, events("halls", 1).into_iter().collect());
    let mut reader = Reader::open(&api, "?since=0&type=registered", "");
    let (id, kind, data) = reader.next().unwrap();
    assert_eq!((id, &*kind), (Some(1), "gap"));
    assert!(data.contains(r#""cause":"overflow","missed":7"#), "{data}");
}

/// Ten readers get five thousand events while they are written, as fast as it goes; three more take
/// nothing, and delay nobody.
#[test]
fn many_readers_get_everything_and_slow_ones_delay_nobody() {
    const READERS: usize = 10;
    const EVENTS: usize = 5000;
    let timeouts = Timeouts { write: Duration::from_millis(300), ..Timeouts::default() };
    let api = Api::start(Setup { timeouts, ..Setup::default() });
    let slow: Vec<Reader> = (0..3).map(|_| Reader::open(&api, "?since=0", "")).collect();
    let readers: Vec<Reader> = (0..READERS).map(|_| Reader::open(&api, "", "")).collect();
    std::thread::scope(|scope| {
        let all: Vec<_> =
            readers.into_iter().map(|mut reader| scope.spawn(move || reader.ids(EVENTS))).collect();
        for _ in 0..EVENTS / 50 {
            append(&api, &"n".repeat(2000), 50);
        }
        let wanted: Vec<u64> = (1..=EVENTS as u64).collect();
        for reader in all {
            assert_eq!(reader.join().unwrap(), wanted, "all, in order, once");
        }
    });
    until("slow readers are cut off", || {
        api.get("/metrics").body.contains("vestibule_event_subscribers_cut_total 3\n")
    });
    drop(slow);
    until("all readers are gone", || {
        api.get("/metrics").body.contains("vestibule_event_subscribers 0\n")
    });
}

#[test]
fn the_end_of_the_server_is_told() {
    let mut api = Api::with(Vec::new());
    let mut reader = Reader::open(&api, "", "");
    api.stop();
    let (id, kind, data) = reader.next().unwrap();
    assert_eq!((id, &*kind, &*data), (None, "end", r#"{"reason":"ending"}"#));
    let mut rest = String::new();
    reader.stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "whole: {rest:?}");
}

#[test]
fn one_reader_too_many_is_told_so_and_a_place_comes_back() {
    let api = Api::with(Vec::new());
    let readers: Vec<Reader> = (0..SUBSCRIBERS_MAX).map(|_| Reader::open(&api, "", "")).collect();
    api.get("/v1/events").assert_problem(503, "busy");
    drop(readers);
    until("a place is free", || api.get("/v1/events?follow=false").status == 200);
}

/// A reader that comes and goes while events are written misses none, because it comes back with its
/// last id.
#[test]
fn who_comes_back_with_the_last_id_misses_nothing() {
    let api = Api::with(Vec::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                append(&api, "halls", 3);
            }
            done.store(true, Ordering::Release);
        });
        let mut last = 0;
        while last < 900 {
            let was_done = done.load(Ordering::Acquire);
            let mut reader = Reader::open(&api, &format!("?since={last}&follow=false"), "");
            // It breaks off in the middle.
            for _ in 0..7 {
                let Some((Some(id), ..)) = reader.next() else {
                    assert!(!was_done || last == 900);
                    break;
                };
                assert_eq!(id, last + 1);
                last = id;
            }
        }
    });
}
