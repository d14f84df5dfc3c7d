//! Everybody asks at once: the same is asked once, what is old is better than nothing, and hosts that ask
//! for whatever they make up take nothing from one that wants to log in.

use crate::lab::{Client, Lab, PORTAL, Upstream, addresses, dns, gate, loopback, question, until};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use vestibule_dns::limits::{
    CACHE_FAILURE_SECONDS, CACHE_SECONDS_MAX, STALE_SECONDS_MAX, STALE_TTL_SECONDS,
    UPSTREAM_LOOKUPS_MADE_UP_MAX, WAITING_PER_SOURCE_MAX,
};

const TRUE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[tokio::test]
async fn the_same_question_of_many_is_asked_once() {
    const HOSTS: u8 = 50;
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let mut sockets = Vec::new();
    let mut sent = 0;
    for host in 1..=HOSTS {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host), 0)).await.unwrap();
        socket.connect(lab.udp).await.unwrap();
        for index in 0..WAITING_PER_SOURCE_MAX {
            // Each with a number and a spelling of its own.
            let text = if index % 2 == 0 { "silent.idp.example." } else { "SILENT.IDP.example." };
            let query = question(text, RecordType::A);
            socket.send(&query.to_vec().unwrap()).await.unwrap();
            sent += 1;
        }
        sockets.push(socket);
    }
    // One more of a host that has as many waiting as it may.
    let query = question("silent.idp.example.", RecordType::A).to_vec().unwrap();
    sockets[0].send(&query).await.unwrap();
    until(|| lab.counts().forward_shed == 1).await;
    assert_eq!(upstream.asked().len(), 1);
    upstream.release.add_permits(1);
    let mut answered = 0;
    for socket in &sockets {
        for _ in 0..WAITING_PER_SOURCE_MAX {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).await.unwrap();
            let answer = hickory_proto::op::Message::from_vec(&buffer[..length]).unwrap();
            answered += u64::from(addresses(&answer) == [(TRUE, 60)]);
        }
    }
    // One place of the first host's answers was the refusal.
    assert_eq!(answered, sent - 1);
    until(|| lab.counts().forwarded == sent).await;
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn who_goes_away_takes_nothing_from_those_who_ask_the_same() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let query = question("silent.idp.example.", RecordType::A);
    {
        use tokio::io::AsyncWriteExt as _;
        let mut first = tokio::net::TcpStream::connect(lab.tcp).await.unwrap();
        let bytes = query.to_vec().unwrap();
        let length = u16::try_from(bytes.len()).unwrap();
        first.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await.unwrap();
        until(|| upstream.asked().len() == 1).await;
    }
    let second = Client::new(lab.udp).await;
    second.send(&query.to_vec().unwrap()).await;
    // A lie behind it: the question before has been read.
    second.send(&question("www.example.edu.", RecordType::A).to_vec().unwrap()).await;
    assert_eq!(addresses(&second.receive_message().await)[0].0, PORTAL);
    upstream.release.add_permits(1);
    assert_eq!(addresses(&second.receive_message().await), [(TRUE, 60)]);
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_old_is_better_than_none_and_is_not_for_ever() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let query = question("register.campus.example.", RecordType::A);
    assert_eq!(addresses(&lab.ask(&query).await)[0].0, PORTAL);
    drop(upstream);
    tokio::time::advance(Duration::from_secs(CACHE_SECONDS_MAX.into())).await;
    for _ in 0..5 {
        assert_eq!(addresses(&lab.ask(&query).await), [(PORTAL, STALE_TTL_SECONDS)]);
    }
    assert_eq!(lab.counts().forwarded_stale, 5);
    tokio::time::advance(Duration::from_secs(STALE_SECONDS_MAX.into())).await;
    let answer = lab.ask(&query).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_for_a_moment() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let query = question("failing.idp.example.", RecordType::A);
    for _ in 0..5 {
        let answer = lab.ask(&query).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(upstream.asked().len(), 1);
    tokio::time::advance(Duration::from_secs(CACHE_FAILURE_SECONDS.into())).await;
    lab.ask(&query).await;
    assert_eq!(upstream.asked().len(), 2);
}

/// A flood from threads of its own: names below a wildcard that nobody has heard of, names that lead
/// nowhere, and lies, from many hosts, as fast as they can be sent.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(server: std::net::SocketAddr) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..2).map(|thread| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || {
                let sockets: Vec<std::net::UdpSocket> = (1..=100)
                    .map(|host| {
                        let address = Ipv4Addr::new(127, 0, 10 + thread, host);
                        std::net::UdpSocket::bind((address, 0)).unwrap()
                    })
                    .collect();
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let text = match number % 3 {
                        0 => format!("{thread}-{number}.silent.idp.example."),
                        1 => format!("{thread}-{number}.idp.example."),
                        _ => format!("{thread}-{number}.example.edu."),
                    };
                    let query = question(&text, RecordType::A).to_vec().unwrap();
                    let host = usize::try_from(number).unwrap() % sockets.len();
                    // Its own queue may be full of answers that nobody reads.
                    let _ = sockets[host].send_to(&query, server);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, sent, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_many_hosts_does_not_keep_another_one_from_the_garden() {
    let upstream = Upstream::start().await;
    let lab = Lab::start_with(&dns(&[upstream.address]), &gate());
    let flood = Flood::start(lab.udp);
    until(|| lab.counts().forward_shed > UPSTREAM_LOOKUPS_MADE_UP_MAX as u64).await;
    // A name that is asked for the first time, as the portal's or a login's may be; then again. A packet
    // may be lost where the flood fills the queue: then a host asks again, as all do.
    let client = UdpSocket::bind(loopback()).await.unwrap();
    client.connect(lab.udp).await.unwrap();
    for (text, record_type) in [
        ("sso.example.", RecordType::A),
        ("register.campus.example.", RecordType::A),
        ("sso.example.", RecordType::AAAA),
        ("register.campus.example.", RecordType::HTTPS),
        ("sso.example.", RecordType::A),
    ] {
        let query = question(text, record_type);
        let answer = loop {
            client.send(&query.to_vec().unwrap()).await.unwrap();
            let mut buffer = [0; 512];
            let received =
                tokio::time::timeout(Duration::from_secs(1), client.recv(&mut buffer)).await;
            if let Ok(length) = received {
                let answer = hickory_proto::op::Message::from_vec(&buffer[..length.unwrap()]);
                let answer = answer.unwrap();
                // A late answer to a question that was repeated.
                if answer.metadata.id == query.metadata.id {
                    break answer;
                }
            }
        };
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{text} {record_type}");
        assert_eq!(answer.answers.len(), usize::from(record_type == RecordType::A), "{text}");
    }
    // It was a flood all the time.
    let sent = flood.sent.load(Ordering::Relaxed);
    until(|| flood.sent.load(Ordering::Relaxed) > sent).await;
    flood.end();
}
