//! The program against servers that break a rule each: the ledger catches every one, says so first, and
//! the program ends with 1. And against good ones, which it acquits.
//!
//! Loopback only, on ports that the kernel chooses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vestibule_load::ledger::Violation;
use vestibule_load::message::Hardware;
use vestibule_load::result::RunResult;
use vestibule_load::story::StoryKind;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vestibule-load");
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// What a client asks, as far as the servers here heed it.
#[derive(Clone, Debug)]
struct Asked {
    bytes: Vec<u8>,
    kind: u8,
    client: u32,
    giaddr: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

impl Asked {
    fn read(bytes: &[u8]) -> Self {
        let option = |wanted: u8| {
            let mut rest = &bytes[240..];
            while let [code @ 1..=254, length, tail @ ..] = rest {
                let (contents, tail) = tail.split_at(usize::from(*length));
                if *code == wanted {
                    return Some(contents);
                }
                rest = tail;
            }
            None
        };
        let address = |code| option(code).map(|c| Ipv4Addr::from(<[u8; 4]>::try_from(c).unwrap()));
        Self {
            bytes: bytes.to_vec(),
            kind: option(53).unwrap()[0],
            client: Hardware(bytes[28..34].try_into().unwrap()).client().unwrap(),
            giaddr: Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[24..28]).unwrap()),
            requested: address(50),
            server: address(54),
        }
    }

    /// Whether it asks for a lease that it remembers.
    fn is_reboot(&self) -> bool {
        self.kind == REQUEST && self.server.is_none() && self.requested.is_some()
    }

    /// The right answer, for a test to spoil: an address of its own for every client.
    fn good(&self) -> Answer {
        let [.., high, low] = self.client.to_be_bytes();
        Answer {
            kind: if self.kind == DISCOVER { OFFER } else { ACK },
            address: Ipv4Addr::new(127, 64, high, low),
            server: Ipv4Addr::LOCALHOST,
            giaddr: self.giaddr,
            seconds: 3600,
        }
    }
}

#[derive(Clone, Debug)]
struct Answer {
    kind: u8,
    address: Ipv4Addr,
    server: Ipv4Addr,
    giaddr: Ipv4Addr,
    seconds: u32,
}

impl Answer {
    fn bytes(&self, asked: &Asked) -> Vec<u8> {
        let mut reply = asked.bytes[..240].to_vec();
        reply[0] = 2;
        reply[16..20].copy_from_slice(&self.address.octets());
        reply[24..28].copy_from_slice(&self.giaddr.octets());
        reply.extend([53, 1, self.kind, 54, 4]);
        reply.extend(self.server.octets());
        if self.kind != NAK {
            reply.extend([51, 4]);
            reply.extend(self.seconds.to_be_bytes());
        }
        reply.push(255);
        reply
    }
}

/// A server on a thread, until it is dropped.
struct Server {
    address: String,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(mut answer: impl FnMut(&Asked) -> Option<Answer> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
        let end = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !flag.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let asked = Asked::read(&buffer[..length]);
                if let Some(answer) = answer(&asked) {
                    socket.send_to(&answer.bytes(&asked), from).unwrap();
                }
            }
        });
        Self { address: address.to_string(), end, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A folder with a scenario; what a run leaves is in it, too.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "name = \"small\"\ndescription = \"d\"\nfirst-wait-milliseconds = 50\n{scenario}"
        );
        std::fs::write(folder.path().join("scenario.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, server: &Server, more: &[&str]) -> (Output, RunResult) {
        let json = self.path("run.json");
        let output = Command::new(PROGRAM)
            .arg("run")
            .arg(self.path("scenario.toml"))
            .args(["--server", &server.address, "--giaddr", "127.20.0.1", "--relays", "3"])
            .args(["--relay-port", "0", "--client-port", "0", "--json"])
            .arg(&json)
            .args(more)
            .output()
            .unwrap();
        let result = RunResult::read(&json)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        (output, result)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rules(result: &RunResult) -> Vec<&str> {
    let mut rules: Vec<&str> = result.ledger.shown.iter().map(|row| row.rule.as_str()).collect();
    assert_eq!(rules.len() as u64, result.ledger.violations);
    rules.dedup();
    rules
}

/// The run failed, said so first, and only of this rule.
fn assert_caught(rule: &str, (output, result): &(Output, RunResult)) {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{rule}: {said}{}", text(&output.stderr));
    assert_eq!(rules(result), [rule], "{said}");
    assert!(Violation::RULES.contains(&rule), "{rule}");
    let mut lines = said.lines();
    assert!(lines.next().unwrap().starts_with("LEDGER: "), "{said}");
    let first: String = lines.take(3).collect();
    assert!(first.contains(&format!("{rule}: ")), "{said}");
}

fn assert_acquitted((output, result): &(Output, RunResult)) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(result.ledger.violations, 0);
}

const TEN: &str = "clients = 10\narrivals = { in-flight = 2 }\n";

#[test]
fn each_rule_of_an_ack_catches_the_server_that_breaks_it() {
    type Spoil = fn(&Asked, &mut Answer);
    let broken: [(&str, Spoil); 5] = [
        ("duplicate-address", |_, answer| answer.address = Ipv4Addr::new(127, 64, 0, 7)),
        ("shortened-lease", |asked, answer| answer.seconds -= u32::from(asked.kind == REQUEST)),
        ("other-server", |asked, answer| {
            let last = if asked.kind == REQUEST { 9 } else { 1 };
            answer.server = Ipv4Addr::new(127, 0, 0, last);
        }),
        ("other-terms", |asked, answer| {
            let [a, b, c, d] = answer.address.octets();
            answer.address = Ipv4Addr::new(a, b, c + u8::from(asked.kind == REQUEST), d);
        }),
        ("other-relay", |_, answer| {
            let [a, b, c, d] = answer.giaddr.octets();
            answer.giaddr = Ipv4Addr::new(a, b, c, d + 1);
        }),
    ];
    for (rule, spoil) in broken {
        let server = Server::start(move |asked| {
            let mut answer = asked.good();
            spoil(asked, &mut answer);
            Some(answer)
        });
        // Nobody is served whose relay is another one: such a run ends with its time.
        let place = Place::new(&format!("{TEN}seconds = 0.5\n"));
        assert_caught(rule, &place.run(&server, &[]));
    }
    let good = Server::start(|asked| Some(asked.good()));
    assert_acquitted(&Place::new(TEN).run(&good, &[]));
}

/// A server that gives good answers until a file is there, and afterwards those of `then`.
fn until(file: &Path, then: fn(&Asked) -> Option<Answer>) -> Server {
    let file = file.to_owned();
    Server::start(move |asked| if file.exists() { then(asked) } else { Some(asked.good()) })
}

#[test]
fn a_lease_that_is_lost_in_a_restart_is_caught_however_the_server_shows_it() {
    let refuses: fn(&Asked) -> Option<Answer> = |asked| Some(Answer { kind: NAK, ..asked.good() });
    let is_silent: fn(&Asked) -> Option<Answer> = |_| None;
    // It would give a newcomer the same address again, which is no memory.
    let knows_nobody: fn(&Asked) -> Option<Answer> =
        |asked| if asked.is_reboot() { None } else { Some(asked.good()) };
    let gives_another: fn(&Asked) -> Option<Answer> = |asked| {
        let good = asked.good();
        Some(Answer { address: Ipv4Addr::from(u32::from(good.address) + 65_536), ..good })
    };
    for then in [refuses, is_silent, knows_nobody, gives_another] {
        let place = Place::new(TEN);
        let restarted = place.path("restarted");
        let server = until(&restarted, then);
        let command = format!("touch {}", restarted.display());
        let more = ["--restart-check", command.as_str(), "--restart-check-seconds", "1"];
        let run = place.run(&server, &more);
        assert_caught("lease-lost", &run);
        let check = run.1.restart_check.clone().unwrap();
        assert_eq!((check.asked, check.known, check.gone), (10, 0, 10));
        assert!(text(&run.0.stdout).contains("10 leases asked for again: 0 known, 10 gone"));
    }
}

#[test]
fn a_server_that_remembers_is_acquitted_after_its_restart_and_each_lease_asked_by_its_relay() {
    let mut relays = BTreeMap::new();
    let server = Server::start(move |asked| {
        let home = *relays.entry(asked.client).or_insert(asked.giaddr);
        let kind = if home == asked.giaddr { asked.good().kind } else { NAK };
        Some(Answer { kind, ..asked.good() })
    });
    let place = Place::new(TEN);
    let ledger = place.path("ledger.jsonl");
    let run =
        place.run(&server, &["--restart-check", "true", "--ledger", ledger.to_str().unwrap()]);
    assert_acquitted(&run);
    let check = run.1.restart_check.unwrap();
    assert_eq!((check.asked, check.known, check.command.as_str()), (10, 10, "true"));
    // The same in two steps; three relays, which only the ledger names.
    let check = Command::new(PROGRAM)
        .args(["check", "--server", &server.address, "--relay-port", "0", "--ledger"])
        .arg(&ledger)
        .output()
        .unwrap();
    let said = text(&check.stdout);
    assert_eq!(check.status.code(), Some(0), "{said}{}", text(&check.stderr));
    assert!(said.ends_with("checked 10 leases: 0 gone\n"), "{said}");
}

#[test]
fn a_restart_that_fails_is_said_and_the_result_is_there_all_the_same() {
    let server = Server::start(|asked| Some(asked.good()));
    let (output, result) = Place::new(TEN).run(&server, &["--restart-check", "exit 3"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`exit 3` failed: exit status: 3"), "{said}");
    assert_eq!((result.totals.doras, result.restart_check), (10, None));
}

#[test]
fn a_client_that_comes_back_with_its_lease_finds_out_a_forgetful_server() {
    let back = "clients = 4\narrivals = { per-second = 40 }\nreturns = \"reboot\"\nseconds = 1.0\n";
    // It is silent, as it must be to a client that it does not know, and then offers another address.
    let mut given = 0;
    let server = Server::start(move |asked| {
        if asked.is_reboot() {
            return None;
        }
        given += u32::from(asked.kind == DISCOVER);
        let address = match asked.kind {
            DISCOVER => Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + given),
            _ => asked.requested.unwrap(),
        };
        Some(Answer { address, ..asked.good() })
    });
    let run = Place::new(back).run(&server, &[]);
    assert_caught("lease-lost", &run);
    let story = run.1.stories.told.iter().find(|story| story.kind == StoryKind::Unanswered);
    assert!(story.unwrap().sentence.contains("nobody answered in INIT-REBOOT"));
    let refusing = Server::start(|asked| {
        let kind = if asked.is_reboot() { NAK } else { asked.good().kind };
        Some(Answer { kind, ..asked.good() })
    });
    assert_caught("lease-lost", &Place::new(back).run(&refusing, &[]));
    let good = Server::start(|asked| Some(asked.good()));
    let run = Place::new(back).run(&good, &[]);
    assert_acquitted(&run);
    assert!(run.1.latencies.iter().any(|l| l.pair == vestibule_load::result::Pair::RebootAck));
}

#[test]
fn leases_of_the_run_before_count() {
    // Whoever it is, clients get the same ten addresses in turn.
    let server = Server::start(|asked| {
        Some(Answer {
            address: Ipv4Addr::new(127, 64, 0, u8::try_from(asked.client % 10).unwrap()),
            ..asked.good()
        })
    });
    let place = Place::new(TEN);
    let ledger = place.path("ledger.jsonl");
    let ledger = ["--ledger", ledger.to_str().unwrap()];
    assert_acquitted(&place.run(&server, &ledger));
    assert_acquitted(&place.run(&server, &ledger));
    let others: Vec<&str> = ledger.into_iter().chain(["--first-client", "11"]).collect();
    assert_caught("duplicate-address", &place.run(&server, &others));
    // What was given back is nobody's.
    let place =
        Place::new(&format!("{TEN}seconds = 0.5\nstay = {{ releases-after-seconds = 0.1 }}\n"));
    let path = place.path("ledger.jsonl");
    let ledger = ["--ledger", path.to_str().unwrap()];
    let run = place.run(&server, &ledger);
    assert_acquitted(&run);
    assert_eq!((run.1.totals.releases, run.1.ledger.held), (10, 0));
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written.matches("\"ended\":\"released\"").count(), 10, "{written}");
    let others: Vec<&str> = ledger.into_iter().chain(["--first-client", "11"]).collect();
    assert_acquitted(&place.run(&server, &others));
}

#[test]
fn a_lease_that_nobody_renews_ends_with_its_story() {
    let server = Server::start(|asked| {
        let renews = asked.kind == REQUEST && asked.requested.is_none();
        (!renews).then(|| Answer { seconds: 1, ..asked.good() })
    });
    let place =
        Place::new("clients = 40\narrivals = \"at-once\"\nstay = \"renewing\"\nseconds = 1.6\n");
    let page = place.path("run.html");
    let (output, result) = place.run(&server, &["--report", page.to_str().unwrap()]);
    assert_eq!(result.totals.expiries, 40);
    assert_eq!((result.stories.told.len(), result.stories.left_out), (25, 15));
    let story = &result.stories.told[0];
    assert_eq!(story.kind, StoryKind::Expired);
    let steps: Vec<&str> = story.steps.iter().map(|step| step.what.as_str()).collect();
    let begin = ["sent DISCOVER", "got OFFER", "sent REQUEST for the offer", "got ACK"];
    assert_eq!(steps[..4], begin);
    assert!(steps[4..].contains(&"sent RENEW") && steps[4..].contains(&"sent REBIND"), "{steps:?}");
    assert!(story.sentence.contains("RENEW and"), "{}", story.sentence);
    assert!(story.at.starts_with("20") && story.at.ends_with('Z'), "{}", story.at);
    assert!(text(&output.stdout).contains("Story       02:56:"), "{}", text(&output.stdout));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("What clients went through") && page.contains(&story.sentence));
}

#[test]
fn power_returns_and_those_who_remember_ask_for_their_leases() {
    let server = Server::start(|asked| Some(asked.good()));
    let place = Place::new(
        "clients = 50\narrivals = { in-flight = 8 }\nseconds = 1.2\nstay = \"renewing\"\n\
         power-cut = { after-seconds = 0.4, dark-seconds = 0.2, forgetful-percent = 20 }\n",
    );
    let run = place.run(&server, &[]);
    assert_acquitted(&run);
    let result = run.1;
    let names: Vec<&str> = result.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["before the power cut", "dark", "power returns"]);
    let count = |pair| result.latency(pair).unwrap().count();
    let remembered = count(vestibule_load::result::Pair::RebootAck);
    assert!(remembered.abs_diff(40) <= 1, "{remembered}");
    assert_eq!((result.totals.doras, result.totals.bound_at_end), (100 - remembered, 50));
    assert_eq!(result.phases[1].began, 0);
}

#[test]
fn clients_that_misbehave_are_in_no_latency_and_in_no_loss() {
    let mut held: BTreeMap<u32, Ipv4Addr> = BTreeMap::new();
    let server = Server::start(move |asked| {
        let good = asked.good();
        match asked.kind {
            DISCOVER => Some(good),
            REQUEST if asked.requested.is_none_or(|wanted| wanted == good.address) => {
                held.insert(asked.client, good.address);
                Some(good)
            }
            REQUEST => Some(Answer { kind: NAK, ..good }),
            // An INFORM has no lifetime in its answer, but a client does not look for it.
            8 => Some(good),
            _ => None,
        }
    });
    let place = Place::new(
        "clients = 100\narrivals = \"at-once\"\nseconds = 1.0\nflood-interval-milliseconds = 20\n\
         misbehaving = { never-renews = 5, asks-unoffered = 5, comes-from-home = 5, ignores-nak = 5, \
         floods = 5, discovers-only = 5, declines-once = 5, declines = 5, informs = 10 }\n",
    );
    let run = place.run(&server, &[]);
    assert_acquitted(&run);
    let result = run.1;
    let row = |name: &str| *result.conducts.iter().find(|row| row.conduct.name() == name).unwrap();
    let (orderly, informs) = (row("orderly"), row("informs"));
    assert_eq!(result.conducts.iter().map(|row| row.clients).sum::<u64>(), 100);
    let sound = orderly.clients + informs.clients;
    assert_eq!(result.totals.doras, sound);
    assert_eq!((result.phases[0].began, result.phases[0].lost), (sound + informs.clients, 0));
    assert_eq!(result.totals.informs, informs.clients);
    assert_eq!(orderly.acknowledged, orderly.clients);
    assert_eq!(row("comes-from-home").refused, row("comes-from-home").clients);
    assert_eq!(row("comes-from-home").acknowledged, row("comes-from-home").clients);
    assert!(row("asks-unoffered").refused > row("asks-unoffered").clients);
    assert_eq!(row("asks-unoffered").acknowledged, 0);
    assert!(row("ignores-nak").refused >= row("ignores-nak").clients);
    assert!(row("floods").acknowledged > 10 * row("floods").clients, "{:?}", row("floods"));
    assert_eq!(row("discovers-only").acknowledged, 0);
    assert!(row("discovers-only").answered >= row("discovers-only").clients);
    assert_eq!(row("declines-once").acknowledged, 2 * row("declines-once").clients);
    assert!(row("declines").acknowledged > 2 * row("declines").clients);
    assert!(result.totals.declines > row("declines-once").clients);
    assert!(result.stories.told.is_empty(), "{:?}", result.stories);
}
