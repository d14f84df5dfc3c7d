//! The daemon `vestibule-dns` as a process: its start, its end, and what it says.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "a signal is sent to the daemon by the kernel only")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};

fn configuration(directory: &TempDir, dns: &str) -> NamedTempFile {
    let state = directory.path().display();
    let token = directory.path().join("token");
    std::fs::write(&token, "a-token-of-more-than-thirty-two-characters\n").unwrap();
    let mut file = NamedTempFile::new_in(directory.path()).unwrap();
    write!(
        file,
        r#"
[server]
name = "dhcp-a"
state-dir = "{state}"
relay-listen = ["10.0.0.67"]

[leases]
lifetime = "1h"
lifetime-unregistered = "2m"

[[network]]
name = "residence-halls"
gated = true
[[network.subnet]]
prefix = "10.20.0.0/22"
pools = ["10.20.0.10-10.20.3.250"]

[gate]
mode = "local"
lying-resolver = "127.0.0.1:53"
redirect = "127.0.0.1:8080"
portal = {{ address = "10.0.0.80", url = "https://register.campus.example/" }}

{dns}

[api]
listen = "127.0.0.1:8067"
token-file = "{}"
"#,
        token.display()
    )
    .unwrap();
    file
}

/// A daemon, ended by force if a test forgets it.
struct Daemon {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Daemon {
    fn start(configuration: &NamedTempFile) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule-dns"));
        command.env_remove("RUST_LOG");
        Self::spawn(command, configuration)
    }

    fn spawn(mut command: Command, configuration: &NamedTempFile) -> Self {
        let mut child = command
            .arg("--config")
            .arg(configuration.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// The first line that holds `text`.
    fn line(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let before = seen.len();
            assert_ne!(self.lines.read_line(&mut seen).unwrap(), 0, "no {text:?} in\n{seen}");
            if seen[before..].contains(text) {
                return seen.split_off(before);
            }
        }
    }

    /// Sends it a signal and waits for the end.
    fn stop(self, signal: i32) -> (Option<i32>, String) {
        let id = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: `kill` touches no memory of ours, and the child has not been waited for, so that
        // its number is still its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
        self.end()
    }

    /// Waits for the end: the exit status, and the rest of what was said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error says that it has ended, which is what is wanted.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The address in the start line behind these words: what it says is where it is.
fn address(line: &str, before: &str) -> SocketAddr {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{line}"));
    let end = rest.find([',', ';', '\n']).unwrap();
    rest.get(..end).unwrap().trim().parse().unwrap()
}

/// Asks for an address over UDP, and gets the lie.
fn ask(server: SocketAddr) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    client.send_to(query, server).unwrap();
    let mut answer = [0; 512];
    let length = client.recv(&mut answer).unwrap();
    assert!(answer.get(..length).unwrap().ends_with(&[10, 0, 0, 80]));
}

fn signal_ends_it(signal: i32) {
    let directory = TempDir::new().unwrap();
    let file = configuration(
        &directory,
        "[dns]\nlisten = [\"127.0.0.1:0\"]\nredirect-listen = [\"127.0.0.1:0\"]\nupstream = [\"127.0.0.1:9\"]",
    );
    let mut daemon = Daemon::start(&file);
    let line = daemon.line("ready: ");
    ask(address(&line, "UDP on "));
    let _idle = TcpStream::connect(address(&line, "TCP on ")).unwrap();
    let mut http = TcpStream::connect(address(&line, "redirect on ")).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut response = String::new();
    http.read_to_string(&mut response).unwrap();
    assert!(response.contains("https://register.campus.example/"), "{response}");

    let (status, rest) = daemon.stop(signal);
    assert_eq!(status, Some(0), "{rest}");
    assert!(rest.contains("ended; since the start: lies=1 redirects=1"), "{rest}");
    assert!(!rest.contains("example"), "no name of a client in the log: {rest}");
}

#[test]
fn sigterm_ends_it_with_status_0() {
    signal_ends_it(libc::SIGTERM);
}

#[test]
fn sigint_ends_it_with_status_0() {
    signal_ends_it(libc::SIGINT);
}

/// With no descriptor left, the kernel gives no connection. What needs none goes on, the daemon does
/// not ask the kernel in a loop, and when there is room again, connections are accepted again.
#[test]
fn running_out_of_descriptors_is_survived() {
    let directory = TempDir::new().unwrap();
    let file = configuration(
        &directory,
        "[dns]\nlisten = [\"127.0.0.1:0\"]\nupstream = [\"127.0.0.1:9\"]",
    );
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_vestibule-dns")]);
    command.env("RUST_LOG", "vestibule_dns=debug");
    let mut daemon = Daemon::spawn(command, &file);
    let line = daemon.line("ready: ");
    let (udp, tcp) = (address(&line, "UDP on "), address(&line, "TCP on "));
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    let framed = [&[0, u8::try_from(query.len()).unwrap()], &query[..]].concat();
    // More connections than there are descriptors; from several addresses, so that it is not the
    // cap for one that keeps them out.
    let mut open = Vec::new();
    for last in 1..=5 {
        for _ in 0..8 {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 2, 0, last], 0)).into()).unwrap();
            socket.connect(&tcp.into()).unwrap();
            open.push(socket);
        }
    }
    daemon.line("the kernel gave no connection");
    // Lies go on.
    ask(udp);
    drop(open);
    // There is room again. Until the daemon has seen the ends, one may have to wait its turn.
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&framed).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    // A loop would have counted thousands of refusals by now.
    let (status, rest) = daemon.stop(libc::SIGTERM);
    assert_eq!(status, Some(0), "{rest}");
    let (_, refusals) = rest.rsplit_once("receives_failed=").unwrap_or_else(|| panic!("{rest}"));
    let refusals = refusals.split_ascii_whitespace().next().unwrap();
    let refusals: u32 = refusals.parse().unwrap_or_else(|_| panic!("{rest}"));
    assert!((1..100).contains(&refusals), "{rest}");
}

#[test]
fn a_taken_port_is_named_and_nothing_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = TempDir::new().unwrap();
    let file = configuration(
        &directory,
        &format!("[dns]\nlisten = [\"127.0.0.1:{port}\"]\nupstream = [\"127.0.0.1:9\"]"),
    );
    let (status, text) = Daemon::start(&file).end();
    assert_eq!(status, Some(1), "{text}");
    let expected = format!("TCP port {port} of 127.0.0.1 is taken by ");
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    assert!(!text.contains("ready"), "{text}");
}

#[test]
fn a_file_without_dns_and_a_file_that_is_not_there_are_refused() {
    let directory = TempDir::new().unwrap();
    let (status, text) = Daemon::start(&configuration(&directory, "")).end();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("has no [dns]"), "{text}");
    let file = configuration(&directory, "");
    let path = file.path().to_owned();
    std::fs::remove_file(&path).unwrap();
    let (status, text) = Daemon::start(&file).end();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}
