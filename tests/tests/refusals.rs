//! What an operator sees of packets that get nothing: a counter with the reason, the relay or the
//! network by its name, and one line a minute however many there are. And after each of them the next
//! packet is served.

use dhcproto::v4::{DhcpOption, Message, MessageType};
use dhcproto::{Encodable as _, Encoder};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use vestibule_core::Reason;
use vestibule_tests::isolated::{command, until};
use vestibule_tests::lab::program;

const SERVER: &str = "10.0.0.67:67";
const RELAY: &str = "10.20.0.1";

/// One network whose pool has two addresses.
const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/state"
relay-listen = ["10.0.0.67"]

[[network]]
name = "halls"
gated = false

[[network.subnet]]
prefix = "10.20.0.0/24"
pools = ["10.20.0.10-10.20.0.11"]

[gate]
mode = "off"

[api]
listen = "unix:/run/api"
token-file = "/run/token"
"#;

struct Server {
    child: Child,
    relay: UdpSocket,
}

impl Server {
    /// Starts the server and a relay's socket, in the namespace of this test.
    fn start() -> Self {
        command("ip address add 10.0.0.67/32 dev lo");
        command("ip address add 10.20.0.1/32 dev lo");
        fs::write("/run/vestibule.toml", CONFIG).unwrap();
        fs::write("/run/token", "a-token-of-some-length\n").unwrap();
        command("chmod 600 /run/token");
        let child = Command::new(program("vestibule-dhcpd").unwrap())
            .args(["--config", "/run/vestibule.toml"])
            .stderr(fs::File::create("/run/log").unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let relay = UdpSocket::bind((RELAY, 67)).unwrap();
        relay.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let server = Self { child, relay };
        until("the server is ready", || server.log().contains("ready").then_some(()));
        server
    }

    fn log(&self) -> String {
        fs::read_to_string("/run/log").unwrap()
    }

    /// The value of a metric with these labels.
    fn metric(&self, name: &str) -> Option<f64> {
        let text = command("curl -sS --unix-socket /run/api http://server/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    /// Waits until so many packets got nothing for this reason.
    fn wait_for_unanswered(&self, reason: Reason, count: f64) {
        let fault = serde_json::to_value(reason.fault()).unwrap();
        let labels = format!("{{reason=\"{reason}\",fault={fault}}}");
        self.wait_for(&format!("vestibule_packets_unanswered_total{labels}"), count);
    }

    fn wait_for(&self, name: &str, value: f64) {
        until(name, || (self.metric(name) == Some(value)).then_some(()));
    }

    fn discover(&self, number: u8, giaddr: &str) -> Vec<u8> {
        let hardware = [2, 0, 0x5e, 0, 0x53, number];
        let giaddr: Ipv4Addr = giaddr.parse().unwrap();
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(number.into(), none, none, none, giaddr, &hardware);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes)).unwrap();
        bytes
    }

    fn send(&self, bytes: &[u8]) {
        self.relay.send_to(bytes, SERVER).unwrap();
    }

    /// A client that asks again as clients do is served: what came while the socket's queue was full is lost,
    /// whoever filled it.
    fn assert_serves_who_asks_again(&self, number: u8) {
        self.relay.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let is_served = (0..20).any(|_| {
            self.send(&self.discover(number, RELAY));
            let mut reply = [0; 1500];
            // An answer to an earlier question may still come.
            while self.relay.recv_from(&mut reply).is_ok() {
                if reply[0] == 2 && reply[4..8] == u32::from(number).to_be_bytes() {
                    return true;
                }
            }
            false
        });
        assert!(is_served, "no OFFER for {number}");
    }

    /// The next packet is served.
    fn assert_serves(&self, number: u8) {
        self.send(&self.discover(number, RELAY));
        let mut reply = [0; 1500];
        let (length, from) = self.relay.recv_from(&mut reply).expect("an OFFER");
        assert_eq!((from.to_string().as_str(), reply[0]), (SERVER, 2));
        assert!(length >= 300);
        assert_eq!(reply[4..8], u32::from(number).to_be_bytes());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours and has no more to do; the namespaces end right after.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn an_unknown_relay_is_counted_by_its_address_and_named_once() {
    vestibule_tests::isolated!(|| {
        let server = Server::start();
        for number in 1..=20 {
            server.send(&server.discover(number, "10.99.0.1"));
        }
        server.wait_for("vestibule_unknown_network_packets_total{giaddr=\"10.99.0.1\"}", 20.0);
        server.wait_for_unanswered(Reason::UnknownNetwork, 20.0);
        assert_eq!(server.log().matches("10.99.0.1").count(), 1, "{}", server.log());
        server.assert_serves(30);
    });
}

#[test]
fn an_exhausted_pool_is_counted_by_its_network_and_named_once() {
    vestibule_tests::isolated!(|| {
        let server = Server::start();
        server.assert_serves(1);
        server.assert_serves(2);
        for number in 3..=12 {
            server.send(&server.discover(number, RELAY));
        }
        server.wait_for("vestibule_pool_exhausted_total{network=\"halls\"}", 10.0);
        server.wait_for_unanswered(Reason::PoolExhausted, 10.0);
        let lines: Vec<String> = server
            .log()
            .lines()
            .filter(|line| line.contains("no free address"))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("halls"), "{lines:?}");
        server.assert_serves(1);
    });
}

#[test]
fn malformed_packets_are_counted_each_by_its_reason_and_the_next_one_is_served() {
    vestibule_tests::isolated!(|| {
        let server = Server::start();
        let good = server.discover(1, RELAY);
        let with = |position: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[position] = value;
            bytes
        };
        let option_82_that_overruns = {
            let mut bytes = good.clone();
            bytes.truncate(243);
            bytes.extend([82, 4, 1, 200, 0, 0, 255]);
            bytes
        };
        let cases: [(Reason, Vec<u8>); 7] = [
            (Reason::Truncated, good[..100].to_vec()),
            (Reason::Oversized, [good.clone(), vec![0; 2000]].concat()),
            (Reason::NotARequest, with(0, 2)),
            (Reason::BadHardwareLength, with(2, 17)),
            (Reason::BadCookie, with(236, 1)),
            (Reason::BadRelayAgentInformation, option_82_that_overruns),
            (Reason::Bootp, [&good[..240], &[255]].concat()),
        ];
        for (number, (reason, bytes)) in (1..).zip(&cases) {
            server.send(bytes);
            server.wait_for_unanswered(*reason, 1.0);
            server.assert_serves(1 + number % 2);
        }
    });
}

#[test]
fn of_a_relay_that_sends_far_too_much_the_kernel_throws_away_and_nothing_of_another_one() {
    const FLOOD: &str = "10.99.0.1";
    vestibule_tests::isolated!(|| {
        let server = Server::start();
        let shed = |giaddr: &str| {
            let labels = format!("giaddr=\"{giaddr}\",reason=\"overload-unread\"");
            server.metric(&format!("vestibule_packets_shed_total{{{labels}}}")).unwrap_or(0.0)
        };
        let unknown = || {
            let labels = format!("giaddr=\"{FLOOD}\"");
            server.metric(&format!("vestibule_unknown_network_packets_total{{{labels}}}"))
        };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for part in 0..3_u32 {
                let (bytes, is_over) = (server.discover(0, FLOOD), &is_over);
                scope.spawn(move || {
                    let socket = UdpSocket::bind((RELAY, 0)).unwrap();
                    let mut bytes = bytes;
                    for xid in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        // Another client each time, or it would be a duplicate of what waits.
                        let number: u32 = xid << 2 | part;
                        bytes[4..8].copy_from_slice(&number.to_be_bytes());
                        bytes[30..34].copy_from_slice(&number.to_be_bytes());
                        socket.send_to(&bytes, SERVER).unwrap();
                    }
                });
            }
            let watched = panic::catch_unwind(AssertUnwindSafe(|| {
                until("the kernel throws away", || (shed(FLOOD) > 0.0).then_some(()));
                (0..50).for_each(|round| server.assert_serves_who_asks_again(1 + round % 2));
            }));
            is_over.store(true, Ordering::Relaxed);
            watched.unwrap_or_else(|panic| panic::resume_unwind(panic));
        });
        assert_eq!(shed(RELAY), 0.0);
        until("everything comes through again", || {
            let before = unknown();
            (0..64).for_each(|number| server.send(&server.discover(number, FLOOD)));
            server.assert_serves_who_asks_again(1);
            (unknown()? == before? + 64.0).then_some(())
        });
        let said = server.log().matches("throws a part of them away").count();
        assert!((1..=2).contains(&said), "once a minute, {}", server.log());
    });
}
