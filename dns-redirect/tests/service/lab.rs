//! A service to ask, an upstream resolver that it can ask, and a client.
//!
//! The upstream resolver is made by hand for one table of names; it notes what it was asked.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NULL, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use vestibule_config::{Dns, GardenEntry, Gate, GateMode, Portal};
use vestibule_dns::{Addresses, Counts, Service};

pub(crate) const PORTAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 80);
pub(crate) const PORTAL_URL: &str = "https://register.campus.example/?a=1&b=2";
pub(crate) const LIE_TTL_SECONDS: u32 = 7;

/// Longer than anything takes; only so that a fault ends a test.
const DEADLINE: Duration = Duration::from_secs(30);

/// A service that runs until this is dropped.
pub(crate) struct Lab {
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: SocketAddr,
    counters: Arc<vestibule_dns::Counters>,
    running: JoinHandle<()>,
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn dns(upstream: &[SocketAddr]) -> Dns {
    Dns {
        listen: vec![loopback()],
        redirect_listen: vec![loopback()],
        upstream: upstream.to_vec(),
        lie_ttl_seconds: LIE_TTL_SECONDS,
        metrics_listen: Some(loopback()),
    }
}

pub(crate) fn gate() -> Gate {
    Gate {
        mode: GateMode::Local,
        lying_resolver: None,
        redirect: None,
        portal: Some(Portal {
            address: PORTAL,
            url: PORTAL_URL.into(),
            host_name: Some("register.campus.example".into()),
        }),
        walled_garden: vec![
            GardenEntry::Name("sso.example".into()),
            GardenEntry::Below("idp.example".into()),
            GardenEntry::Below("icloud.com".into()),
            GardenEntry::Prefix("192.0.2.0/24".parse().unwrap()),
        ],
        garden_socket: None,
    }
}

impl Lab {
    pub(crate) fn start(upstream: &[SocketAddr]) -> Self {
        Self::start_with(&dns(upstream), &gate())
    }

    pub(crate) fn start_with(dns: &Dns, gate: &Gate) -> Self {
        let service = Service::bind(dns, gate, None).unwrap();
        let Addresses { dns_udp, dns_tcp, redirect, metrics } = service.addresses().unwrap();
        let counters = service.counters();
        let running = tokio::spawn(async move {
            service.run(std::future::pending()).await.unwrap();
        });
        let metrics = metrics.unwrap();
        Self { udp: dns_udp[0], tcp: dns_tcp[0], http: redirect[0], metrics, counters, running }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// The answer over UDP.
    pub(crate) async fn ask(&self, query: &Message) -> Message {
        Message::from_vec(&self.ask_bytes(&query.to_vec().unwrap()).await).unwrap()
    }

    pub(crate) async fn ask_bytes(&self, query: &[u8]) -> Vec<u8> {
        let client = Client::new(self.udp).await;
        client.send(query).await;
        client.receive().await
    }

    /// The answer over TCP.
    pub(crate) async fn ask_tcp(&self, query: &Message) -> Message {
        let mut stream = TcpStream::connect(self.tcp).await.unwrap();
        Message::from_vec(&exchange(&mut stream, &query.to_vec().unwrap()).await.unwrap()).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A UDP client.
pub(crate) struct Client(UdpSocket);

impl Client {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        self.0.send(bytes).await.unwrap();
    }

    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let length = timeout(DEADLINE, self.0.recv(&mut buffer)).await.unwrap().unwrap();
        buffer.truncate(length);
        buffer
    }

    pub(crate) async fn receive_message(&self) -> Message {
        Message::from_vec(&self.receive().await).unwrap()
    }
}

/// One question and one answer on a DNS connection.
pub(crate) async fn exchange(stream: &mut TcpStream, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let read = async {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(DEADLINE, read).await.unwrap()
}

/// Waits until `condition` holds, and fails the test if it never does. A clock that stands still stands
/// still meanwhile.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "it never came");
        tokio::task::yield_now().await;
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A question without EDNS.
pub(crate) fn question(text: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), record_type));
    message
}

pub(crate) fn with_edns(mut message: Message, version: u8, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_version(version);
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

/// The IPv4 addresses among the answers.
pub(crate) fn addresses(message: &Message) -> Vec<(Ipv4Addr, u32)> {
    let answers = message.answers.iter();
    answers
        .filter_map(|record| match &record.data {
            RData::A(A(address)) => Some((*address, record.ttl)),
            _ => None,
        })
        .collect()
}

/// The TTL and the minimum of the SOA among the authorities.
pub(crate) fn soa(message: &Message) -> Option<(u32, u32)> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some((record.ttl, soa.minimum)),
        _ => None,
    })
}

/// The upstream resolver.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// One permit lets one question below `silent.idp.example` be answered.
    pub(crate) release: Arc<Semaphore>,
    _serving: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(loopback()).await.unwrap();
            // The same number must be free for TCP too; if it is not, try the next.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let release = Arc::new(Semaphore::new(0));
        let mut serving = JoinSet::new();
        let (note, gate) = (Arc::clone(&asked), Arc::clone(&release));
        serving.spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let mut buffer = vec![0; 65_535];
                let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
                buffer.truncate(length);
                let (udp, note, gate) = (Arc::clone(&udp), Arc::clone(&note), Arc::clone(&gate));
                tasks.spawn(async move {
                    for message in answer(&buffer, false, &note, &gate).await {
                        udp.send_to(&message, client).await.unwrap();
                    }
                });
            }
        });
        let (note, gate) = (Arc::clone(&asked), Arc::clone(&release));
        serving.spawn(async move {
            loop {
                let (mut stream, _client) = tcp.accept().await.unwrap();
                let mut query = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut query).await.unwrap();
                for message in answer(&query, true, &note, &gate).await {
                    let length = u16::try_from(message.len()).unwrap();
                    stream.write_all(&length.to_be_bytes()).await.unwrap();
                    stream.write_all(&message).await.unwrap();
                }
            }
        });
        Self { address, asked, release, _serving: serving }
    }

    /// What it was asked so far: name, type and transport.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// An address where nobody answers: a question there is refused at once. The socket keeps the port
/// from others, and being connected elsewhere, takes nothing itself.
pub(crate) async fn nobody() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.connect(SocketAddr::from(([127, 0, 0, 99], 9))).await.unwrap();
    (socket.local_addr().unwrap(), socket)
}

fn upstream_soa() -> Record {
    let data = SOA::new(name("ns.example."), name("admin.example."), 9, 8, 7, 6, 1234);
    Record::from_rdata(name("example."), 4321, RData::SOA(data))
}

async fn answer(
    query: &[u8],
    tcp: bool,
    asked: &Mutex<Vec<String>>,
    release: &Semaphore,
) -> Vec<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let transport = if tcp { "tcp" } else { "udp" };
    let label = format!("{} {} {transport}", question.name(), question.query_type());
    asked.lock().unwrap().push(label);
    assert!(query.metadata.recursion_desired);
    let dnssec_ok = query.edns.as_ref().unwrap().flags().dnssec_ok;

    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(question.clone());
    let owner = question.name().clone();
    let a = |ttl, last| {
        let address = A(Ipv4Addr::new(192, 0, 2, last));
        Record::from_rdata(owner.clone(), ttl, RData::A(address))
    };
    let many = |count: u8| (1..=count).map(|last| a(60, last)).collect::<Vec<_>>();
    let text = owner.to_lowercase().to_string();
    let is_a = question.query_type() == RecordType::A;
    match text.as_str() {
        "gone.idp.example." => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(upstream_soa());
        }
        "refused.idp.example." => message.metadata.response_code = ResponseCode::Refused,
        "failing.idp.example." => message.metadata.response_code = ResponseCode::ServFail,
        "bare.idp.example." => {
            message.metadata.response_code = ResponseCode::NotImp;
            message.queries.clear();
        }
        "alias.idp.example." => {
            let target = name("Target.Elsewhere.example.");
            let cname = RData::CNAME(CNAME(target.clone()));
            message.add_answer(Record::from_rdata(owner.clone(), 77, cname));
            let address = RData::A(A(Ipv4Addr::new(192, 0, 2, 9)));
            message.add_answer(Record::from_rdata(target, 88, address));
        }
        "medium.idp.example." => message.insert_answers(many(40)),
        "large.idp.example." if tcp => message.insert_answers(many(200)),
        "large.idp.example." => message.metadata.truncation = true,
        "signed.idp.example." => {
            message.add_answer(a(60, 1));
            message.metadata.authentic_data = dnssec_ok;
            if dnssec_ok {
                // The bytes of a signature do not matter here: they must come through unchanged.
                let signature =
                    RData::Unknown { code: RecordType::from(46), rdata: NULL::with(vec![7; 40]) };
                message.add_answer(Record::from_rdata(owner.clone(), 60, signature));
            }
        }
        "spoofed.idp.example." => {
            let mut other_id = message.clone();
            other_id.metadata.id ^= 1;
            other_id.add_answer(a(60, 66));
            let mut other_question = Message::response(query.metadata.id, OpCode::Query);
            other_question.add_query(Query::query(name("evil.example."), RecordType::A));
            other_question.add_answer(a(60, 66));
            let mut no_response = message.clone();
            no_response.metadata.message_type = MessageType::Query;
            message.add_answer(a(60, 1));
            let garbage = [&query.metadata.id.to_be_bytes()[..], &[0xff; 40]].concat();
            return [
                other_id.to_vec().unwrap(),
                other_question.to_vec().unwrap(),
                no_response.to_vec().unwrap(),
                garbage,
                Vec::new(),
                message.to_vec().unwrap(),
            ]
            .into();
        }
        "register.campus.example." if is_a => {
            let address = RData::A(A(PORTAL));
            message.add_answer(Record::from_rdata(owner.clone(), 3600, address));
        }
        other if other.ends_with(".many.example.") => {
            let number = other.trim_start_matches('n').split('.').next().unwrap();
            let [high, low] = number.parse::<u16>().unwrap().to_be_bytes();
            let address = A(Ipv4Addr::new(198, 51, high, low));
            message.add_answer(Record::from_rdata(owner.clone(), 60, RData::A(address)));
        }
        other if other.ends_with("silent.idp.example.") => {
            release.acquire().await.unwrap().forget();
            message.add_answer(a(60, 1));
        }
        _ if is_a => {
            message.add_answer(a(300, 1));
        }
        _ => {
            message.add_authority(upstream_soa());
        }
    }
    vec![message.to_vec().unwrap()]
}
