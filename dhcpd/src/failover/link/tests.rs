//! The link against a partner made of plain sockets, on loopback addresses.

use super::*;
use crate::failover::codec::{FrameReader, encode};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use vestibule_core::failover::Body;

const OURS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const DEADLINE: Duration = Duration::from_secs(20);

/// A link that runs, and where its partner listens.
struct Bench {
    address: SocketAddr,
    partner: TcpListener,
    inbox: mpsc::Receiver<FromPartner>,
    outbound: Outbound,
    counts: Arc<LinkCounts>,
}

impl Bench {
    async fn new(role: Role) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((THEIRS, 0).into()).unwrap();
        let partner = socket.listen(16).unwrap();
        let SocketAddr::V4(peer) = partner.local_addr().unwrap() else { unreachable!() };
        let plan = LinkPlan { role, address: SocketAddrV4::new(OURS, 0), peer };
        let link = Link::open(plan).await.unwrap();
        let address = link.address().unwrap();
        let (sender, inbox) = mpsc::channel(WAITING_FROM_PARTNER_MAX);
        let (outbound, counts) = (Outbound::new(), Arc::new(LinkCounts::default()));
        tokio::spawn(link.run(sender, outbound.clone(), Arc::clone(&counts), Arc::new(|| {})));
        Self { address, partner, inbox, outbound, counts }
    }

    /// The connection that the link has dialled.
    async fn dialled(&self) -> TcpStream {
        let (stream, from) = soon(self.partner.accept()).await.unwrap();
        assert_eq!(from.ip(), OURS, "it dials from its configured address");
        stream
    }

    /// A connection to the link.
    async fn connect_from(&self, address: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        soon(socket.connect(self.address)).await.unwrap()
    }

    async fn next(&mut self) -> FromPartner {
        soon(self.inbox.recv()).await.unwrap()
    }

    async fn connected(&mut self) -> ConnectionNumber {
        match self.next().await {
            FromPartner::Connected(number) => number,
            other => panic!("{other:?}"),
        }
    }

    async fn said(&mut self) -> Message {
        match self.next().await {
            FromPartner::Said(message) => message,
            other => panic!("{other:?}"),
        }
    }

    async fn disconnected(&mut self) {
        match self.next().await {
            FromPartner::Disconnected => {}
            other => panic!("{other:?}"),
        }
    }

    fn say(&self, connection: ConnectionNumber, message: Message) {
        self.outbound.put([ToPartner { connection, errand: Errand::Say(message) }]);
    }

    /// Waits until so many connections have ended for this reason.
    async fn ended(&self, reason: &str, count: u64) {
        let now = || self.counts.ends().find(|(name, _)| *name == reason).unwrap().1;
        soon(async {
            while now() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(now(), count);
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it did not come in time")
}

fn message(xid: u32, body: Body) -> Message {
    Message { time: 1, xid, body }
}

fn bytes_of(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        encode(message, &mut bytes).unwrap();
    }
    bytes
}

async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is a close, too.
    let _reset = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{rest:?}");
}

async fn read_messages(stream: &mut TcpStream, count: usize) -> Vec<Message> {
    let mut frames = FrameReader::new();
    let mut messages = Vec::new();
    while messages.len() < count {
        let mut buffer = [0; 4096];
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "closed after {messages:?}");
        frames
            .read::<Broken>(&buffer[..read], |bytes| {
                messages.push(decode(bytes).unwrap());
                Ok(())
            })
            .unwrap();
    }
    messages
}

use crate::failover::codec::{Broken, decode};

#[tokio::test]
async fn a_stranger_is_turned_away_without_a_byte() {
    let mut bench = Bench::new(Role::Secondary).await;
    let mut stranger = bench.connect_from(STRANGER).await;
    is_closed(&mut stranger).await;
    bench.ended("stranger", 1).await;
    // The partner is let in afterwards.
    let mut partner = bench.connect_from(THEIRS).await;
    partner.write_all(&bytes_of(&[message(7, Body::Contact)])).await.unwrap();
    bench.connected().await;
    assert_eq!(bench.said().await, message(7, Body::Contact));
}

#[tokio::test]
async fn a_primary_takes_the_first_connection_and_closes_the_others() {
    let mut bench = Bench::new(Role::Primary).await;
    let mut first = bench.dialled().await;
    let number = bench.connected().await;
    let mut second = bench.connect_from(THEIRS).await;
    is_closed(&mut second).await;
    bench.ended("duplicate", 1).await;
    // Nothing came of it for the first one.
    bench.say(number, message(1, Body::Contact));
    assert_eq!(read_messages(&mut first, 1).await, [message(1, Body::Contact)]);
    assert!(bench.counts.is_connected());
}

#[tokio::test]
async fn a_secondary_takes_the_connection_that_its_primary_speaks_on() {
    for speaks_on_the_dialled in [false, true] {
        let mut bench = Bench::new(Role::Secondary).await;
        let dialled = bench.dialled().await;
        let accepted = bench.connect_from(THEIRS).await;
        let (mut spoken, mut other) =
            if speaks_on_the_dialled { (dialled, accepted) } else { (accepted, dialled) };
        spoken.write_all(&bytes_of(&[message(0, Body::Contact)])).await.unwrap();
        bench.connected().await;
        is_closed(&mut other).await;
        assert_eq!(bench.said().await.xid, 0);
        assert!(bench.inbox.try_recv().is_err(), "nobody heard of the other one");
    }
}

#[tokio::test]
async fn messages_come_and_go_in_order_however_they_are_cut() {
    let mut bench = Bench::new(Role::Primary).await;
    let mut partner = bench.dialled().await;
    let number = bench.connected().await;
    let sent: Vec<Message> = (0..300)
        .map(|xid| message(xid, if xid % 2 == 0 { Body::Contact } else { Body::UpdateDone }))
        .collect();
    for piece in bytes_of(&sent).chunks(7) {
        partner.write_all(piece).await.unwrap();
    }
    for expected in &sent {
        assert_eq!(bench.said().await, *expected);
    }
    for message in &sent {
        bench.say(number, message.clone());
    }
    assert_eq!(read_messages(&mut partner, sent.len()).await, sent);
    assert_eq!(bench.counts.sent(), 300);
}

#[tokio::test]
async fn what_is_said_before_a_close_still_leaves() {
    let mut bench = Bench::new(Role::Primary).await;
    let mut partner = bench.dialled().await;
    let connection = bench.connected().await;
    bench.outbound.put([
        ToPartner { connection, errand: Errand::Say(message(1, Body::Disconnect(None))) },
        ToPartner { connection, errand: Errand::Close(CloseReason::Silent) },
        ToPartner { connection, errand: Errand::Say(message(2, Body::Contact)) },
    ]);
    assert_eq!(read_messages(&mut partner, 1).await, [message(1, Body::Disconnect(None))]);
    is_closed(&mut partner).await;
    bench.disconnected().await;
    bench.ended("silent", 1).await;
    // The next connection is another one, and gets nothing of what was meant for this one.
    bench.say(connection, message(3, Body::Contact));
    let mut partner = bench.connect_from(THEIRS).await;
    let next = bench.connected().await;
    assert!(next > connection);
    bench.say(connection, message(4, Body::Contact));
    bench.say(next, message(5, Body::Contact));
    assert_eq!(read_messages(&mut partner, 1).await, [message(5, Body::Contact)]);
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_connection_and_nothing_else() {
    let garbage = || b"GET / HTTP/1.1\r\nHost: dhcp\r\n\r\n".to_vec();
    let half = || bytes_of(&[message(1, Body::Contact)])[..5].to_vec();
    let flood = || bytes_of(&vec![message(1, Body::UpdateRequestAll); 201]);
    for (bytes, reason) in [(garbage(), "broken"), (half(), "half-message"), (flood(), "flood")] {
        let mut bench = Bench::new(Role::Primary).await;
        let mut partner = bench.dialled().await;
        bench.connected().await;
        partner.write_all(&bytes).await.unwrap();
        partner.shutdown().await.unwrap();
        let mut heard = 0;
        while let FromPartner::Said(_) = bench.next().await {
            heard += 1;
        }
        assert_eq!(heard, if reason == "flood" { 200 } else { 0 });
        bench.ended(reason, 1).await;
        // The next one is served.
        let mut partner = bench.connect_from(THEIRS).await;
        bench.connected().await;
        partner.write_all(&bytes_of(&[message(9, Body::Contact)])).await.unwrap();
        assert_eq!(bench.said().await.xid, 9);
    }
}

#[tokio::test]
async fn a_partner_that_does_not_read_loses_the_connection() {
    let mut bench = Bench::new(Role::Primary).await;
    let _partner = bench.dialled().await;
    let connection = bench.connected().await;
    let errand = || Errand::Say(message(1, Body::Contact));
    bench
        .outbound
        .put((0..=WAITING_TO_PARTNER_MAX).map(|_| ToPartner { connection, errand: errand() }));
    bench.disconnected().await;
    bench.ended("slow", 1).await;
}

#[tokio::test]
async fn an_update_that_cannot_be_taken_is_handed_over_to_be_refused() {
    let mut bench = Bench::new(Role::Primary).await;
    let mut partner = bench.dialled().await;
    bench.connected().await;
    // BNDUPD, xid 5, option 2 = 10.99.0.100, option 3 = 8.
    let bytes = [0, 25, 3, 12, 0, 0, 0, 1, 0, 0, 0, 5, 0, 2, 0, 4, 10, 99, 0, 100, 0, 3, 0, 1, 8];
    partner.write_all(&bytes).await.unwrap();
    match bench.next().await {
        FromPartner::Unreadable(refused) => {
            assert_eq!((refused.xid, refused.address), (5, Ipv4Addr::new(10, 99, 0, 100)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_refused_with_a_remedy() {
    let plan = LinkPlan {
        role: Role::Primary,
        address: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0),
        peer: SocketAddrV4::new(THEIRS, 647),
    };
    let error = Link::open(plan).await.unwrap_err().to_string();
    assert!(error.starts_with("failover.address: cannot listen at 192.0.2.1:0: "), "{error}");
}
