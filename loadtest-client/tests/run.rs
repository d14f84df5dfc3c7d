//! `vestibule-load run` and `null-server` as programs: what they print, write and end with.
//!
//! Loopback only, on ports that the kernel chooses.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use vestibule_load::result::{Ending, Limit, Pair, RunResult};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vestibule-load");

/// A null server in a process of its own.
struct NullServer {
    process: Child,
    address: String,
}

impl NullServer {
    fn start(lifetime: &str) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["null-server", "--listen", "127.0.0.1:0", "--first-address", "127.64.0.0"])
            .args(["--lifetime", lifetime])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at ").unwrap().to_owned();
        Self { process, address }
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn command(scenario: &str, server: &str, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["run", scenario, "--server", server, "--giaddr", "127.20.0.1", "--relay-port", "0"])
        .args(["--client-port", "0", "--relays", "3"])
        .args(more);
    command
}

fn run(scenario: &str, server: &str, more: &[&str]) -> Output {
    command(scenario, server, more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(folder: &Path, scenario: &str) -> String {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, format!("name = \"small\"\ndescription = \"d\"\n{scenario}")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_run_is_written_reported_and_compared_with_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, ledger) = (path("run.json"), path("ledger.jsonl"));
    let server = NullServer::start("3600");
    let scenario = write(folder.path(), "clients = 300\narrivals = { per-second = 3000 }\n");
    let pid = server.process.id().to_string();
    let more = ["--json", &json, "--ledger", &ledger, "--server-pid", &pid, "--circuit-id"];
    let output = run(&scenario, &server.address, &more);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let result = RunResult::read(Path::new(&json)).unwrap();
    assert_eq!((result.totals.doras, result.relays.len()), (300, 3));
    assert_eq!((result.ending, result.ledger.violations), (Ending::Complete, 0));
    assert_eq!(result.latency(Pair::Dora).unwrap().count(), 300);
    assert!(result.server.unwrap().memory_bytes_after > 0);
    assert_eq!(result.settings.scenario, "small");
    let check = Command::new(PROGRAM)
        .args(["check", "--server", &server.address, "--giaddr", "127.20.0.1"])
        .args(["--relay-port", "0", "--ledger", &ledger])
        .output()
        .unwrap();
    let said = text(&check.stdout);
    assert!(said.ends_with("checked 300 leases: 0 gone\n"), "{said}");
}

#[test]
fn what_the_clock_cuts_off_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let server = NullServer::start("3600");
    let scenario =
        write(folder.path(), "clients = 1000000\narrivals = { in-flight = 64 }\nseconds = 0.3\n");
    let output = run(&scenario, &server.address, &["--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result = RunResult::read(&json).unwrap();
    assert!(result.totals.open_at_end > 0, "{:?}", result.totals);
    assert!(!result.limits.reason.contains("lost"), "{}", result.limits.reason);
}

#[test]
fn a_ramp_tries_rates_and_finds_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("ramp.json");
    let server = NullServer::start("3600");
    // The limit on latency is far above what a busy machine needs: every rate is borne.
    let scenario = write(
        folder.path(),
        "clients = 2000\nreturns = \"same\"\n[arrivals.ramp]\nfrom-per-second = 100\n\
         to-per-second = 400\nstep-seconds = 0.3\np99-milliseconds = 100000\nlost-percent = 50\n\
         precision-percent = 5\n",
    );
    let output = run(&scenario, &server.address, &["--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result = RunResult::read(&json).unwrap();
    let names: Vec<&str> = result.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["rate 100", "rate 200", "rate 400"]);
    let knee = result.knee.unwrap();
    assert!((knee.good_per_second - 400.0).abs() < 1e-9 && knee.bad_per_second.is_none());
    assert!(result.phases.iter().all(|phase| phase.within_limits == Some(true)));
}

#[test]
fn a_server_that_bears_nothing_has_no_good_rate_and_no_answer_is_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("ramp.json");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = silent.local_addr().unwrap() else { panic!("not IPv4") };
    let scenario = write(
        folder.path(),
        "clients = 2000\nreturns = \"same\"\n[arrivals.ramp]\nfrom-per-second = 100\n\
         to-per-second = 400\nstep-seconds = 0.02\np99-milliseconds = 10\nlost-percent = 1\n\
         precision-percent = 5\n",
    );
    let output = run(&scenario, &address.to_string(), &["--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no server has answered anything"));
    let result = RunResult::read(&json).unwrap();
    let knee = result.knee.unwrap();
    assert!(knee.good_per_second.abs() < 1e-9, "{knee:?}");
    assert!((knee.bad_per_second.unwrap() - 50.0).abs() < 1e-9, "{knee:?}");
    assert_eq!(result.phases.last().unwrap().within_limits, Some(false));
    assert_ne!(result.limits.verdict, Limit::Nothing);
}

#[test]
fn an_interrupted_run_still_writes_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let server = NullServer::start("3600");
    let mut process = command("steady", &server.address, &["--json", json.to_str().unwrap()])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    // Not a terminal: a plain line for every second.
    let line = lines.next().unwrap().unwrap();
    // Which second it is depends on how busy the machine is.
    assert!(line.starts_with("steady ") && line.contains(" s left: "), "{line}");
    assert!(line.contains("in flight"), "{line}");
    // The shell's own: a program of that name is in a package that not every machine has.
    let kill = ["-c", r#"kill -s INT "$1""#, "kill", &process.id().to_string()];
    assert!(Command::new("sh").args(kill).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(3));
    let result = RunResult::read(&json).unwrap();
    assert_eq!(result.ending, Ending::Interrupted);
    assert!(result.totals.doras > 0);
}

#[test]
fn what_cannot_be_run_says_why_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let slip = write(folder.path(), "cleints = 5\narrivals = \"at-once\"\n");
    let local = "127.0.0.1:6767";
    for (scenario, server, more, expected) in [
        ("steedy", local, vec![], "one of: steady, morning"),
        (slip.as_str(), local, vec![], "line 3: 'cleints' is not known; do you mean 'clients'?"),
        ("steady", "8.8.8.8", vec![], "--i-own-this-network"),
        ("steady", local, vec!["--server-pid", "4294967295"], "no such process"),
        ("steady", local, vec!["--link-selection", "nowhere"], "--link-selection"),
        ("steady", local, vec!["--relay-step", "16777216"], "ip route add local"),
    ] {
        let output = run(scenario, server, &more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_server_that_is_not_there_ends_the_run_early_and_the_network_says_why() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let more = ["--clients", "5", "--json", json.to_str().unwrap()];
    let output = run("steady", &free.to_string(), &more);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let result = RunResult::read(&json).unwrap();
    assert_eq!(result.ending, Ending::Unanswered);
    let error = result.errors.iter().find(|error| error.kind == "server: never answered").unwrap();
    assert!(error.remark.contains(&format!("DISCOVERs to {free}")), "{}", error.remark);
    assert!(error.remark.contains("port unreachable"), "{}", error.remark);
    assert!(text(&output.stdout).contains("ENDED EARLY"));
}

#[test]
fn a_low_limit_on_descriptors_is_raised_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token\n").unwrap();
    for (limit, expected) in
        [("ulimit -n 100", "the hard limit is 100"), ("ulimit -Sn 100", "cannot be reached")]
    {
        let site = "--dns-server 127.0.0.1 --dns-name a.example --lie 127.0.0.2 --truth 127.0.0.3 --reach 127.0.0.3:9";
        let line = format!(
            "{limit} && exec {PROGRAM} run registration --server 127.0.0.1:6767 --giaddr 127.20.0.1 --api 127.0.0.1:1 \
             --token-file {} {site}",
            token.display()
        );
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("a-token"), "{said}");
    }
}

#[test]
fn the_page_of_run_has_every_option_that_help_has_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/load-run.md");
    let page = std::fs::read_to_string(page).unwrap();
    let options = |text: &str| {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let options =
            words.filter(|word| word.strip_prefix("--").is_some_and(|name| name.len() > 1));
        options.map(str::to_owned).collect::<std::collections::BTreeSet<String>>()
    };
    let output = Command::new(PROGRAM).args(["run", "--help"]).output().unwrap();
    let mut helped: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for line in text(&output.stdout).lines().filter(|line| line.trim_start().starts_with('-')) {
        helped.extend(options(line));
    }
    assert!(helped.remove("--help") && helped.len() > 30, "{helped:?}");
    let section = page.split("## Options").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: String = section.lines().filter_map(|line| line.split('|').nth(1)).collect();
    let rows =
        options(&rows).into_iter().filter(|option| !option.trim_matches('-').is_empty()).collect();
    assert_eq!(helped, rows);
    for (name, _) in vestibule_load::scenario::SHIPPED {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not in the page");
    }
}
