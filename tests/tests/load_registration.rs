//! `vestibule-load run registration` on a campus with the real server, the kernel gate and the lying
//! resolver: every new device gets to a usable network; a gate that is broken on purpose fails the run.

use std::path::Path;
use vestibule_load::result::{Pair, RunResult};
use vestibule_tests::lab::{Campus, Gate, Host, Output, Process, Site, TOKEN_FILE};

const RESULT: &str = "/run/result.json";

/// What the load client has to know of the campus.
const SITE: &str = "--api 10.0.0.67 --token-file /etc/vestibule/token --dns-server 203.0.113.53 \
                    --dns-name www.example.edu --lie 10.0.0.80 --truth 203.0.113.10 --reach 203.0.113.10:8080";

/// A campus with everything on but a relay: the load client takes its place.
struct Setting {
    campus: Campus,
    _programs: Vec<Process>,
}

impl Setting {
    fn new(gate: Gate) -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(gate, "1h", "2m").unwrap();
        let mut programs = vec![
            campus.start_dhcpd().unwrap(),
            campus.start_true_dns().unwrap(),
            campus.start_outside(8080).unwrap(),
        ];
        if gate == Gate::Local {
            programs.push(campus.start_dns().unwrap());
        }
        let setting = Self { campus, _programs: programs };
        // Every address of the halls is the load client's.
        setting.load_host().ok("ip route add local 10.20.0.0/22 dev lo").unwrap();
        let token = setting.campus.servers.read(TOKEN_FILE).unwrap();
        setting.load_host().write(TOKEN_FILE, &token).unwrap();
        setting
    }

    fn load_host(&self) -> &Host {
        self.campus.edge(&Site::HALLS).unwrap()
    }

    fn run(&self, scenario: &str, more: &str) -> Output {
        self.run_at(SITE, scenario, more)
    }

    fn run_at(&self, site: &str, scenario: &str, more: &str) -> Output {
        let line = format!(
            "vestibule-load run {scenario} --server 10.0.0.67 --giaddr 10.20.0.1 --json {RESULT} {site} {more}"
        );
        let output = self.load_host().run(&line).unwrap();
        let token = self.load_host().read(TOKEN_FILE).unwrap();
        assert!(!output.both().contains(token.trim()), "the token is shown");
        output
    }

    fn result(&self) -> RunResult {
        let text = self.load_host().read(RESULT).unwrap();
        let token = self.load_host().read(TOKEN_FILE).unwrap();
        assert!(!text.contains(token.trim()), "the token is in the result");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        std::fs::write(&path, text).unwrap();
        RunResult::read(Path::new(&path)).unwrap()
    }

    /// A scenario that does not wait long for what will not come.
    fn impatient(&self) -> &'static str {
        let text = "name = \"impatient\"\ndescription = \"d\"\nclients = 10\narrivals = \"at-once\"\n\
                    [registration]\ngive-up-seconds = 1.0\n";
        self.load_host().write("/run/impatient.toml", text).unwrap();
        "/run/impatient.toml"
    }
}

fn errors(result: &RunResult) -> Vec<(&str, u64)> {
    result.errors.iter().map(|error| (error.kind.as_str(), error.count)).collect()
}

#[test]
fn every_new_device_gets_from_its_lease_to_a_usable_network() {
    let setting = Setting::new(Gate::Local);
    let output = setting.run("registration", "--clients 80");
    assert_eq!(output.status.code(), Some(0), "{}", output.both());
    assert!(output.stdout.contains("all of 80 clients have a usable network"), "{}", output.stdout);
    let result = setting.result();
    let verdict = result.registration.unwrap();
    assert_eq!(
        (verdict.newcomers, verdict.usable, verdict.lied_to_after_registration),
        (80, 80, 0)
    );
    for pair in
        [Pair::Dora, Pair::Lie, Pair::Registration, Pair::Truth, Pair::Reach, Pair::UsableNetwork]
    {
        assert_eq!(result.latency(pair).unwrap().count(), 80, "{pair}");
    }
    let slowest = |pair| result.latency(pair).unwrap().max();
    assert!(slowest(Pair::UsableNetwork) >= slowest(Pair::Dora));
    assert_eq!(errors(&result), []);
    assert_eq!(result.ledger.violations, 0);
    // The server says so, too.
    let status = setting.campus.api("GET", "/v1/status", None).unwrap();
    assert_eq!(status.body["networks"][0]["registered"], 80, "{}", status.text);

    // The same devices are registered now: no lie is left to be seen, and that is said.
    let output = setting.run(setting.impatient(), "");
    assert_eq!(output.status.code(), Some(1), "{}", output.both());
    assert_eq!(errors(&setting.result()), [("lie: the truth", 10)]);
    assert!(output.stdout.contains("FAILED: 0 of 10 clients"), "{}", output.stdout);
}

#[test]
fn a_gate_that_does_not_open_fails_the_run_with_the_step_that_failed() {
    let setting = Setting::new(Gate::Local);
    let gateway = &setting.campus.gateway;
    // Somebody else's rule, in front of the gate's, that sends everybody to the liar for ever.
    gateway
        .write(
            "/run/liar.nft",
            "table ip liar { chain lies { type nat hook prerouting priority -150; \
             ip saddr 10.20.0.0/22 udp dport 53 dnat to 10.0.0.54; }; }\n",
        )
        .unwrap();
    gateway.ok("nft -f /run/liar.nft").unwrap();
    let output = setting.run(setting.impatient(), "");
    assert_eq!(output.status.code(), Some(1), "{}", output.both());
    let result = setting.result();
    assert_eq!(errors(&result), [("truth: not at once", 10), ("truth: still the lie", 10)]);
    let verdict = result.registration.unwrap();
    assert_eq!(
        (verdict.newcomers, verdict.usable, verdict.lied_to_after_registration),
        (10, 0, 10)
    );
    assert!(output.stdout.contains("DNS still lied to 10"), "{}", output.stdout);
    assert_eq!(result.latency(Pair::Registration).unwrap().count(), 10);
    assert!(result.latency(Pair::UsableNetwork).is_none());
    gateway.ok("nft delete table ip liar").unwrap();

    // DNS is right, but what lies beyond is not reached.
    gateway
        .write(
            "/run/wall.nft",
            "table ip wall { chain passing { type filter hook forward priority 50; \
             tcp dport 8080 reject with tcp reset; }; }\n",
        )
        .unwrap();
    gateway.ok("nft -f /run/wall.nft").unwrap();
    let output = setting.run(setting.impatient(), "--first-client 1001");
    assert_eq!(output.status.code(), Some(1), "{}", output.both());
    let result = setting.result();
    assert_eq!(errors(&result), [("reach: refused", 10)]);
    assert_eq!(result.latency(Pair::Truth).unwrap().count(), 10);
}

#[test]
fn a_gate_that_is_off_and_a_wrong_token_are_named() {
    let setting = Setting::new(Gate::Off);
    let output = setting.run(setting.impatient(), "");
    assert_eq!(output.status.code(), Some(1), "{}", output.both());
    assert_eq!(errors(&setting.result()), [("lie: the truth", 10)]);
    setting.load_host().write("/run/other-token", "not-the-token\n").unwrap();
    let output =
        setting.run_at(&SITE.replace(TOKEN_FILE, "/run/other-token"), setting.impatient(), "");
    assert_eq!(output.status.code(), Some(2), "{}", output.both());
    assert!(
        output.stderr.contains("the API at 10.0.0.67:8067: it does not take this token (401)"),
        "{}",
        output.stderr
    );
    let output =
        setting.run_at(&SITE.replace("10.0.0.67", "10.0.0.67:8068"), setting.impatient(), "");
    assert_eq!(output.status.code(), Some(2), "{}", output.both());
    assert!(output.stderr.contains("cannot be reached: Connection refused"), "{}", output.stderr);
}
