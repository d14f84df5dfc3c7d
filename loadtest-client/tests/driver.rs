//! The driver on real sockets, against a server that a test can make misbehave.
//!
//! Loopback only, on ports that the kernel chooses.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vestibule_load::client::{Lease, Manner};
use vestibule_load::driver::{self, Asking, Clients, Participant, Run, Summary, relay_socket};
use vestibule_load::ledger::{Ledger, LedgerFile, Violation};
use vestibule_load::message::{Hardware, Relay};

/// How a server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Good,
    /// Every client gets the same address.
    OneAddressForAll,
    /// Every second packet is lost.
    Deaf,
    /// What a client asks for without an offer is refused.
    Forgetful,
}

struct FakeServer {
    address: SocketAddrV4,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    fn start(habit: Habit) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
        let end = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            let mut heard = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                heard += 1;
                if habit != Habit::Deaf || heard.is_multiple_of(2) {
                    socket.send_to(&answer(&buffer[..length], habit), from).unwrap();
                }
            }
        });
        Self { address, end, thread: Some(thread) }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(request: &[u8], habit: Habit) -> Vec<u8> {
    let option = |wanted: u8| {
        let mut rest = &request[240..];
        while let [code @ 1..=254, length, tail @ ..] = rest {
            let (contents, tail) = tail.split_at(usize::from(*length));
            if *code == wanted {
                return Some(contents.to_vec());
            }
            rest = tail;
        }
        None
    };
    let mut reply = request[..240].to_vec();
    reply[0] = 2;
    let number = if habit == Habit::OneAddressForAll { 1 } else { request[33] };
    reply[16..20].copy_from_slice(&[10, 20, 0, number]);
    let kind = match (option(53).unwrap()[0], option(54)) {
        (1, _) => 2,
        (_, None) if habit == Habit::Forgetful => 6,
        _ => 5,
    };
    reply.extend([53, 1, kind, 54, 4, 127, 0, 0, 1, 51, 4, 0, 0, 1, 0, 255]);
    reply
}

fn run(server: &FakeServer, ledger: Option<&Path>) -> Run {
    let relay = Relay { circuit_id: true, source_port: true, ..Relay::new(Ipv4Addr::LOCALHOST) };
    Run {
        socket: relay_socket(&[relay], 0).unwrap(),
        servers: vec![server.address],
        relays: vec![relay],
        in_flight_max: 8,
        duration: Some(Duration::from_secs(20)),
        keep_leases: false,
        asks_once: false,
        ledger_file: ledger.map(|path| LedgerFile::append(path).unwrap()),
    }
}

fn play(run: Run, clients: &Clients) -> (Summary, Ledger) {
    let manner = Manner { first_wait_milliseconds: 10, ..Manner::default() };
    let end = AtomicBool::new(false);
    driver::play(run, clients, manner, 1, Ledger::default(), &end).unwrap()
}

fn newcomers(count: u32) -> Clients {
    let newcomer = Participant { asking: Asking::Discover, lease: None, relay: 0 };
    (1..=count).map(|number| (number, newcomer)).collect()
}

#[test]
fn every_client_gets_a_lease_and_the_ledger_has_them_all() {
    let server = FakeServer::start(Habit::Good);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let (summary, _) = play(run(&server, Some(&path)), &newcomers(100));
    assert_eq!((summary.clients, summary.bound, summary.acknowledged), (100, 100, 100));
    assert_eq!((summary.violations, summary.refused), (0, 0));
    let (ledger, violations) = Ledger::read(&path).unwrap();
    assert_eq!((ledger.held(0).count(), violations.len()), (100, 0));
}

#[test]
fn lost_packets_are_sent_again() {
    let server = FakeServer::start(Habit::Deaf);
    let (summary, _) = play(run(&server, None), &newcomers(30));
    assert_eq!(summary.bound, 30);
    assert!(summary.retransmitted >= 30, "{}", summary.retransmitted);
}

#[test]
fn two_clients_with_one_address_are_a_violation() {
    let server = FakeServer::start(Habit::OneAddressForAll);
    let (summary, _) = play(run(&server, None), &newcomers(2));
    assert_eq!(summary.violations, 1);
    assert!(matches!(summary.violations_shown[..], [Violation::DuplicateAddress { .. }]));
}

#[test]
fn a_server_without_memory_is_found_out() {
    let server = FakeServer::start(Habit::Forgetful);
    let address = Ipv4Addr::new(10, 20, 0, 200);
    let far = 3_600_000;
    let lease =
        Lease { address, server: Ipv4Addr::LOCALHOST, renew_at: far, rebind_at: far, ends: far };
    for asking in [Asking::InitReboot, Asking::Rebind] {
        let clients = [(1, Participant { asking, lease: Some(lease), relay: 0 })].into();
        let (summary, ledger) = play(run(&server, None), &clients);
        assert_eq!((summary.refused, summary.bound), (1, 1), "{asking:?}");
        let held: Vec<_> = ledger.held(0).map(|(address, _)| address).collect();
        assert_eq!(held, [Ipv4Addr::new(10, 20, 0, 1)], "{asking:?}");
    }
}

#[test]
fn one_that_asks_once_is_done_when_it_is_refused() {
    let server = FakeServer::start(Habit::Forgetful);
    let address = Ipv4Addr::new(10, 20, 0, 200);
    let far = 3_600_000;
    let lease =
        Lease { address, server: Ipv4Addr::LOCALHOST, renew_at: far, rebind_at: far, ends: far };
    let client = Participant { asking: Asking::InitReboot, lease: Some(lease), relay: 0 };
    let (summary, ledger) =
        play(Run { asks_once: true, ..run(&server, None) }, &[(1, client)].into());
    assert_eq!((summary.refused, summary.acknowledged, summary.bound), (1, 0, 0));
    assert_eq!((summary.answers, ledger.held(0).count()), ([(1, None)].into(), 0));
}

fn vestibule_load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vestibule-load")).args(arguments).output().unwrap()
}

#[test]
fn the_command_checks_what_it_did_and_says_when_a_lease_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = path.to_str().unwrap();
    let place = |server: &FakeServer| -> Vec<String> {
        let server = server.address.to_string();
        [
            "--server",
            &server,
            "--giaddr",
            "127.0.0.1",
            "--relay-port",
            "0",
            "--first-wait",
            "10",
            "--ledger",
            ledger,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let command = |server: &FakeServer, task: &[&str]| {
        let place = place(server);
        let arguments: Vec<&str> =
            task.iter().copied().chain(place.iter().map(String::as_str)).collect();
        vestibule_load(&arguments)
    };
    let good = FakeServer::start(Habit::Good);
    let output = command(&good, &["dora", "--clients", "20", "--first-client", "1"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("clients: 20, with a lease: 20\n"), "{said}");
    let output = command(&good, &["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.ends_with("checked 20 leases: 0 gone\n"), "{said}");
    let server = FakeServer::start(Habit::OneAddressForAll);
    let output = command(&server, &["check", "--rebind"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let gone = format!("gone: 10.20.0.20 of {} was not", Hardware::of_client(20));
    assert!(said.contains(&gone), "{said}");
}

#[test]
fn somebody_elses_server_is_refused_with_what_to_do() {
    let output = vestibule_load(&[
        "dora",
        "--server",
        "203.0.114.1",
        "--giaddr",
        "127.0.0.1",
        "--relay-port",
        "0",
        "--clients",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--i-own-this-network"), "{said}");
}
