//! DNS connections: their limits, and that what they take comes back.

use crate::lab::{Lab, Upstream, addresses, exchange, question, until};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vestibule_dns::limits::{
    DNS_CONNECTION_QUERIES_MAX, DNS_CONNECTIONS_PER_SOURCE_MAX, DNS_QUERY_BYTES_MAX,
};

fn query() -> Vec<u8> {
    question("www.example.edu.", RecordType::A).to_vec().unwrap()
}

/// The service closed it; whether with a FIN or a RST does not matter.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn the_cap_for_a_source_holds_and_recovers() {
    let lab = Lab::start(&[]);
    let mut open = Vec::new();
    for _ in 0..DNS_CONNECTIONS_PER_SOURCE_MAX {
        let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
        exchange(&mut stream, &query()).await.unwrap();
        open.push(stream);
    }
    for refused in 1..=3 {
        let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
        assert!(is_closed(&mut stream).await);
        assert_eq!(lab.counts().connections_refused_source, refused);
    }
    // The open ones go on, and so do lies over UDP.
    exchange(&mut open[0], &query()).await.unwrap();
    lab.ask_bytes(&query()).await;
    // When they are gone there is room again. Closing takes its time: try until it works.
    open.clear();
    loop {
        let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
        if exchange(&mut stream, &query()).await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn a_flood_from_many_sources_meets_the_total_cap() {
    let lab = Lab::start(&[]);
    let mut open = Vec::new();
    // The whole of 127.0.0.0/8 is ours on the loopback interface.
    'sources: for last in 1..=u8::MAX {
        for _ in 0..DNS_CONNECTIONS_PER_SOURCE_MAX {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((std::net::Ipv4Addr::new(127, 1, 0, last), 0).into()).unwrap();
            let mut stream = socket.connect(lab.tcp).await.unwrap();
            if exchange(&mut stream, &query()).await.is_err() {
                break 'sources;
            }
            open.push(stream);
        }
    }
    assert_eq!(open.len(), vestibule_dns::limits::DNS_CONNECTIONS_MAX);
    assert_eq!(lab.counts().connections_refused, 1);
    assert_eq!(lab.counts().connections_refused_source, 0);
    lab.ask_bytes(&query()).await;
    // One goes, one comes.
    open.pop();
    loop {
        let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
        if exchange(&mut stream, &query()).await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn questions_in_one_segment_are_answered_in_turn() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
    let names = ["a.example.", "sso.example.", "b.example."];
    let mut bytes = Vec::new();
    for text in names {
        let query = question(text, RecordType::A).to_vec().unwrap();
        bytes.extend(u16::try_from(query.len()).unwrap().to_be_bytes());
        bytes.extend(query);
    }
    stream.write_all(&bytes).await.unwrap();
    for text in names {
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(answer.queries[0].name().to_string(), text);
        assert_eq!(addresses(&answer).len(), 1);
    }
    // The client is done: so is the service.
    stream.shutdown().await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_question_that_is_too_long_ends_the_connection() {
    let lab = Lab::start(&[]);
    let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
    let length = u16::try_from(DNS_QUERY_BYTES_MAX + 1).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    assert!(is_closed(&mut stream).await);
    until(|| lab.counts().connections_oversized == 1).await;
    let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
    let longest = [query(), vec![0; DNS_QUERY_BYTES_MAX - query().len()]].concat();
    exchange(&mut stream, &longest).await.unwrap();
}

#[tokio::test]
async fn a_connection_has_a_last_question() {
    let lab = Lab::start(&[]);
    let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
    for _ in 0..DNS_CONNECTION_QUERIES_MAX {
        exchange(&mut stream, &query()).await.unwrap();
    }
    assert!(is_closed(&mut stream).await);
}

/// Time is not real here: it leaps whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn connections_that_bring_nothing_whole_are_closed() {
    let lab = Lab::start(&[]);
    for (part, already) in [(&b""[..], 0), (&b"\0"[..], 1), (&b"\0\x20abc"[..], 2)] {
        let mut stream = TcpStream::connect(lab.tcp).await.unwrap();
        stream.write_all(part).await.unwrap();
        assert!(is_closed(&mut stream).await);
        assert_eq!(lab.counts().connections_timed_out, already + 1);
    }
}
