//! What Prometheus gets.

use crate::lab::{Lab, question, until};
use hickory_proto::rr::RecordType;
use std::net::{SocketAddr, UdpSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: dns\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn counters_are_told_as_they_are_and_nothing_else_is_there() {
    let lab = Lab::start(&[]);
    let before = get(lab.metrics, "GET /metrics").await;
    assert!(before.starts_with("HTTP/1.1 200 OK\r\n"), "{before}");
    assert!(
        before.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{before}"
    );
    assert!(before.contains("\nvestibule_dns_lies_total 0\n"), "{before}");
    lab.ask(&question("www.example.edu.", RecordType::A)).await;
    let after = get(lab.metrics, "GET /metrics").await;
    assert!(after.contains("\nvestibule_dns_lies_total 1\n"), "{after}");
    let [elsewhere, post] =
        [get(lab.metrics, "GET /").await, get(lab.metrics, "POST /metrics").await];
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET\r\n"), "{post}");
}

/// The service cannot read while the runtime's only thread writes, so the kernel has to drop.
#[tokio::test]
async fn what_the_kernel_dropped_is_told() {
    let lab = Lab::start(&[]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(lab.udp).unwrap();
    // A page each, far more than the receive buffer that any kernel gives.
    let packet = vec![0; 60_000];
    for _ in 0..2000 {
        // On the loopback interface it is queued or dropped when this returns.
        client.send(&packet).unwrap();
    }
    let told = get(lab.metrics, "GET /metrics").await;
    let line = told.lines().find(|line| line.starts_with("vestibule_dns_dropped_by_kernel_total "));
    let dropped: u64 = line.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert!(dropped > 0, "{told}");
    until(|| lab.counts().dropped_by_kernel == dropped).await;
}
