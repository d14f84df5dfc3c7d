//! Tracing a client over the API: what was decided, then what is decided, bounded, and for operators only.

mod api_support;

use api_support::{Api, TOKEN, mac};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use vestibule_core::{HardwareAddress, MessageType, Reason, Side, Timestamp};
use vestibule_dhcpd::trace::{FOLLOWERS_MAX, Moment, What};

fn hardware() -> HardwareAddress {
    mac(1).parse().unwrap()
}

fn note(api: &Api, what: What, address: Ipv4Addr) {
    let time = Timestamp::from_seconds(1_795_179_600);
    let giaddr = Ipv4Addr::new(10, 20, 0, 1);
    let moment = Moment { time, what, address, giaddr };
    api.core.lock().unwrap().traces.note(hardware(), &moment);
}

#[test]
fn the_last_decisions_are_told_with_their_reasons() {
    let api = Api::with(Vec::new());
    let path = format!("/v1/trace/{}", mac(1));
    assert_eq!(api.get(&path).json()["last"], serde_json::json!([]));
    let reason = Some(Reason::PoolExhausted);
    let message = MessageType::Discover;
    note(&api, What::Decided { message, answer: None, reason }, Ipv4Addr::UNSPECIFIED);
    note(&api, What::Gate(Some(Side::Unregistered)), Ipv4Addr::new(10, 20, 0, 77));
    let last = api.get(&path).json()["last"].clone();
    assert_eq!(last[0]["message"], "discover");
    assert_eq!(last[0]["reason"], "pool-exhausted");
    assert_eq!(last[0]["meaning"], Reason::PoolExhausted.meaning().trim());
    assert_eq!(last[0]["ip"], serde_json::Value::Null);
    assert_eq!(last[0]["giaddr"], "10.20.0.1");
    assert_eq!(last[1]["gate"], "unregistered");
    assert_eq!(last[1]["ip"], "10.20.0.77");
    assert_eq!(last.as_array().unwrap().len(), 2);
    api.get("/v1/trace/nobody").assert_problem(400, "bad-parameter");
    api.get(&format!("{path}?folow=true")).assert_problem(400, "bad-parameter");
}

/// One who follows.
struct Follower(BufReader<TcpStream>);

impl Follower {
    fn new(api: &Api, path: &str) -> Self {
        let mut stream = api.connect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads up to a line that begins so, and gives the rest of that.
    fn until(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "no {beginning}");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }
}

#[test]
fn who_follows_is_told_what_was_and_what_comes_and_no_more_may_follow_than_fit() {
    let api = Api::with(Vec::new());
    let path = format!("/v1/trace/{}?follow=true", mac(1));
    let message = MessageType::Request;
    let answer = Some(MessageType::Ack);
    note(&api, What::Decided { message, answer, reason: None }, Ipv4Addr::new(10, 20, 0, 77));
    let mut followers: Vec<_> = (0..FOLLOWERS_MAX).map(|_| Follower::new(&api, &path)).collect();
    for follower in &mut followers {
        assert!(follower.until("HTTP/1.1 ").starts_with("200"));
        follower.until("event: before");
        assert!(follower.until("data: ").contains(r#""answer":"ack""#));
    }
    api.get(&path).assert_problem(503, "busy");
    note(&api, What::Gate(None), Ipv4Addr::new(10, 20, 0, 77));
    for follower in &mut followers {
        follower.until("event: moment");
        assert!(follower.until("data: ").contains(r#""gate":"nobody""#));
    }
}
