//! An agent between a good server and one that is none: whatever that one sends, the agent goes on, counts it by
//! its reason, says it once a minute, and enforces what the good one says.
//!
//! The servers are threads of the test that speak just as much HTTP as it takes.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vestibule_tests::isolated::{attempt, both, command, until};
use vestibule_tests::{isolated, lab};

const CONFIG: &str = "/run/agent.toml";
const TOKEN: &str = "/run/agent.token";
const LOG: &str = "/run/agent.log";

/// The first line of a feed, by boot and version.
fn hello(boot: u64, version: u32) -> String {
    format!(
        r#"{{"hello":{{"version":{version},"server":"fake","gate-mode":"feed","cursor":"{boot:016x}-0",
        "time":"2026-11-20T13:00:00.000Z","ruleset":{{"table":"other","gated-prefixes":["10.20.0.0/22"],
        "gated-prefixes-ipv6":[],"portal":"10.0.0.80","portal-redirected":true,"garden-prefixes":[],
        "lying-resolver":"10.0.0.54:53","redirect":"10.0.0.54:8080","captive":null,
        "server-addresses":["10.0.0.67"],"elements-max":100}}}}}}"#
    )
    .replace('\n', "")
        + "\n"
}

/// A snapshot of one registered address.
fn snapshot(boot: u64, address: &str) -> String {
    format!(
        "{{\"snapshot-begin\":{{}}}}\n{{\"elements\":{{\"elements\":[[\"{address}\",\"registered\",3600000,5]]}}}}\n\
         {{\"snapshot-end\":{{\"cursor\":\"{boot:016x}-0\"}}}}\n"
    )
}

/// What a server does with one connection, after it has read the request.
type Behaviour = fn(&mut TcpStream) -> io::Result<()>;

fn answer(stream: &mut TcpStream, lines: &str) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n")?;
    stream.write_all(lines.as_bytes())
}

/// Follows the rules, for as long as the agent listens.
fn good(stream: &mut TcpStream, boot: u64, address: &str) -> io::Result<()> {
    answer(stream, &(hello(boot, 1) + &snapshot(boot, address)))?;
    let heartbeat = format!(
        "{{\"heartbeat\":{{\"cursor\":\"{boot:016x}-0\",\"time\":\"2026-11-20T13:00:00.000Z\"}}}}\n"
    );
    loop {
        stream.write_all(heartbeat.as_bytes())?;
        // An agent sends nothing more; its end is the end.
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        match stream.read(&mut [0; 16]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

/// Serves connections one after another, each by the next behaviour, and all further ones by the last.
fn serve(port: u16, behaviours: Vec<Behaviour>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        let mut next = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.extend(byte);
            }
            // The agent may be gone before all is written.
            let _ = behaviours[next](&mut stream);
            next = (next + 1).min(behaviours.len() - 1);
        }
    });
}

struct Agent(Child);

impl Agent {
    fn start(ports: [u16; 2]) -> Self {
        std::fs::write(TOKEN, "a-token-that-everybody-may-know").unwrap();
        std::fs::set_permissions(TOKEN, std::fs::Permissions::from_mode(0o600)).unwrap();
        let server = |port| {
            format!(
                "[[agent.server]]\nurl = \"http://127.0.0.1:{port}\"\ntoken-file = \"{TOKEN}\"\n"
            )
        };
        let toml = format!("[agent]\n{}", ports.map(server).concat());
        std::fs::write(CONFIG, toml).unwrap();
        let log = std::fs::File::create(LOG).unwrap();
        let child = Command::new(lab::program("vestibule-firewall").unwrap())
            .args(["agent", "--config", CONFIG])
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its status, once it has one.
    fn status(&mut self) -> Option<serde_json::Value> {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", std::fs::read_to_string(LOG).unwrap());
        let program = lab::program("vestibule-firewall").unwrap();
        let output = attempt(&format!("{} status --json --config {CONFIG}", program.display()));
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Follows a good server and one that behaves so and becomes good then, and looks at what was counted.
fn goes_on(mut behaviours: Vec<Behaviour>, reasons: &[&str]) {
    behaviours.push(|stream| good(stream, 9, "10.20.0.2"));
    serve(8001, vec![|stream| good(stream, 7, "10.20.0.1")]);
    serve(8002, behaviours);
    let mut agent = Agent::start([8001, 8002]);
    until("what the good server says is enforced", || {
        let sets = both(&attempt("nft list set inet vestibule registered"));
        sets.contains("10.20.0.1 ").then_some(())
    });
    until("the other one is followed once it is good", || {
        let sets = command("nft list set inet vestibule registered");
        (sets.contains("10.20.0.1 ") && sets.contains("10.20.0.2 ")).then_some(())
    });
    assert!(!command("nft list ruleset").contains("10.20.0.66"), "half a snapshot was believed");
    let status = agent.status().unwrap();
    assert_eq!(status["everything-well"], true, "{status}");
    // Whatever a server calls the table, it is the one that is ours.
    assert_eq!(command("nft list tables"), "table inet vestibule\n");
    let errors = &status["servers"][1]["errors"];
    for reason in reasons {
        assert_eq!(errors[reason], 1, "{reason}: {status}");
    }
    assert_eq!(errors.as_object().unwrap().len(), reasons.len(), "{status}");
    assert_eq!(status["servers"][0]["errors"], serde_json::json!({}), "{status}");
    let log = std::fs::read_to_string(LOG).unwrap();
    assert_eq!(log.matches("is not followed at the moment").count(), 1, "{log}");
    assert!(log.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{log:?}");
}

#[test]
fn lines_that_cannot_be_end_the_connection_and_nothing_else() {
    isolated!(|| {
        let behaviours: Vec<Behaviour> = vec![
            |stream| answer(stream, &(hello(9, 1) + "\u{1b}[2J\u{202e} is no line\n")),
            |stream| answer(stream, &(hello(9, 1) + &"x".repeat(4 << 20))),
            |stream| {
                let address = "10.20.0.66";
                answer(
                    stream,
                    &(hello(9, 1)
                        + &format!(
                            "{{\"elements\":{{\"elements\":[[\"{address}\",\"registered\",3600000,5]]}}}}\n"
                        )),
                )
            },
            |stream| answer(stream, &hello(9, 2)),
        ];
        goes_on(behaviours, &["line-invalid", "line-too-long", "line-misplaced", "version"]);
    });
}

#[test]
fn servers_that_break_off_refuse_or_say_nothing_are_tried_again() {
    isolated!(|| {
        let behaviours: Vec<Behaviour> = vec![
            // In the middle of a snapshot, of which nothing is true then.
            |stream| {
                let begun =
                    snapshot(9, "10.20.0.66").lines().take(2).collect::<Vec<_>>().join("\n");
                answer(stream, &(hello(9, 1) + &begun + "\n"))
            },
            |stream| stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
            |stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"),
            |stream| {
                answer(stream, &(hello(9, 1) + "{\"end\":{\"reason\":\"\\u001b[31mgo away\"}}\n"))
            },
            // Until the agent gives up.
            |stream| stream.read(&mut [0; 16]).map(drop),
        ];
        goes_on(behaviours, &["broken-off", "status", "http", "ended", "too-slow"]);
    });
}
