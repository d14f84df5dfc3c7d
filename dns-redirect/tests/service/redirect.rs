//! The redirect, as HTTP clients of every age see it.

use crate::lab::{Lab, PORTAL_URL, until};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vestibule_dns::limits::{
    REDIRECT_BODY_BYTES_MAX, REDIRECT_BODY_TIMEOUT, REDIRECT_CONNECTIONS_PER_SOURCE_MAX,
    REDIRECT_HEAD_BYTES_MAX,
};

/// Everything that comes back until the service closes the connection.
async fn send(lab: &Lab, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(lab.http).await.unwrap();
    stream.write_all(request).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is not what these tests are about.
    let _end = timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = response.split_once("\r\n\r\n").unwrap();
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn assert_leads_to_the_portal(response: &str, request: &str, body: bool) {
    let (head, page) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains(" 302 "), "{request:?}: {response}");
    assert_eq!(header(response, "location"), Some(PORTAL_URL), "{request:?}");
    assert_eq!(header(response, "cache-control"), Some("no-store"), "{request:?}");
    assert_eq!(header(response, "connection"), Some("close"), "{request:?}");
    let length: usize = header(response, "content-length").unwrap().parse().unwrap();
    assert!(length > 0);
    if body {
        assert_eq!(page.len(), length, "{request:?}");
        assert!(
            page.contains("<a href=\"https://register.campus.example/?a=1&amp;b=2\">"),
            "{page}"
        );
    } else {
        assert_eq!(page, "", "{request:?}");
    }
}

#[tokio::test]
async fn every_request_is_led_to_the_portal() {
    let lab = Lab::start(&[]);
    let requests = [
        "GET / HTTP/1.1\r\nHost: anything.example\r\n\r\n",
        "GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\r\n",
        "GET /hotspot-detect.html HTTP/1.0\r\n\r\n",
        "GET /no-host HTTP/1.1\r\n\r\n",
        "GET http://www.msftconnecttest.com/redirect HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%ff{a|b}\"c\"?{d}^`e` HTTP/1.1\r\nHost: \"><script>\r\n\r\n",
    ];
    for request in requests {
        let response = send(&lab, request.as_bytes()).await;
        assert_leads_to_the_portal(&response, request, true);
        assert!(!response.contains("100 Continue"), "{response}");
    }
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_leads_to_the_portal(&send(&lab, head.as_bytes()).await, head, false);
    assert_eq!(lab.counts().redirects, requests.len() as u64 + 1);
}

/// A service that closed on an unread body would reset the connection: the answer would be lost, or
/// at least not end as it should.
#[tokio::test]
async fn a_body_up_to_the_limit_does_not_hide_the_answer() {
    let lab = Lab::start(&[]);
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {REDIRECT_BODY_BYTES_MAX}\r\n\r\n");
    let request = [head.as_bytes(), &vec![b'x'; REDIRECT_BODY_BYTES_MAX]].concat();
    let mut stream = TcpStream::connect(lab.http).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut response = String::new();
    timeout(Duration::from_secs(30), stream.read_to_string(&mut response)).await.unwrap().unwrap();
    assert_leads_to_the_portal(&response, &head, true);
}

#[tokio::test]
async fn a_longer_body_is_not_waited_for() {
    let lab = Lab::start(&[]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n";
    assert_leads_to_the_portal(&send(&lab, head.as_bytes()).await, head, true);
}

#[tokio::test]
async fn what_is_no_http_is_counted_and_ends() {
    let lab = Lab::start(&[]);
    let requests: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client on port 80",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: a\r\n\r\n",
    ];
    for request in requests {
        let response = send(&lab, request).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400"), "{response}");
    }
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(REDIRECT_HEAD_BYTES_MAX));
    let response = send(&lab, long.as_bytes()).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    let response = send(&lab, many.as_bytes()).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");
    until(|| lab.counts().redirects_failed == 6).await;
    assert_eq!(lab.counts().redirects, 0);
    let good = "GET / HTTP/1.1\r\n\r\n";
    assert_leads_to_the_portal(&send(&lab, good.as_bytes()).await, good, true);
}

#[tokio::test]
async fn the_cap_for_a_source_holds_and_recovers() {
    let lab = Lab::start(&[]);
    let mut open = Vec::new();
    for _ in 0..REDIRECT_CONNECTIONS_PER_SOURCE_MAX {
        open.push(TcpStream::connect(lab.http).await.unwrap());
    }
    let mut refused = TcpStream::connect(lab.http).await.unwrap();
    assert_eq!(rest(&mut refused).await, "");
    assert_eq!(lab.counts().redirects_refused_source, 1);
    // One that was there first is still served, and its place is free then.
    let good = "GET / HTTP/1.1\r\n\r\n";
    let mut first = open.swap_remove(0);
    first.write_all(good.as_bytes()).await.unwrap();
    assert_leads_to_the_portal(&rest(&mut first).await, good, true);
    drop(first);
    loop {
        let mut stream = TcpStream::connect(lab.http).await.unwrap();
        if stream.write_all(good.as_bytes()).await.is_ok() {
            let response = rest(&mut stream).await;
            if !response.is_empty() {
                assert_leads_to_the_portal(&response, good, true);
                break;
            }
        }
    }
}

/// Time is not real here: it leaps whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_head_or_a_body_that_never_ends_is_not_waited_for() {
    let lab = Lab::start(&[]);
    assert!(!send(&lab, b"GET / HTTP/1.1\r\nHost: a").await.contains("302"));
    assert_eq!(lab.counts().redirects_failed, 1);
    assert!(!send(&lab, b"").await.contains("302"));
    let stuck = "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc";
    let before = tokio::time::Instant::now();
    assert_leads_to_the_portal(&send(&lab, stuck.as_bytes()).await, stuck, true);
    // It was waited for, so that closing would not have cut the answer off; but not for ever.
    assert!(before.elapsed() >= REDIRECT_BODY_TIMEOUT);
}
