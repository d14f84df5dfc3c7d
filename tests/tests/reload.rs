//! A real server that is told of another configuration while clients come and go: by the API, by a signal and by
//! the tool. Every lease that it acknowledged is there afterwards, a broken file changes nothing, and what
//! only a restart can change is refused whole.

use std::fs;
use std::process::{Child, Command, Stdio};
use vestibule_tests::isolated::{attempt, both, command, until};
use vestibule_tests::lab::program;

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/state"
relay-listen = ["10.0.0.67"]

[leases]
lifetime = "2h"

[[network]]
name = "halls"
gated = false

[[network.subnet]]
prefix = "10.20.0.0/16"
pools = ["10.20.0.10-10.20.255.250"]

[gate]
mode = "off"

[api]
listen = "unix:/run/api"
token-file = "/run/token"
"#;

const IN_ONE: &str = r#"["10.20.0.10-10.20.255.250"]"#;
const IN_TWO: &str = r#"["10.20.0.10-10.20.0.99", "10.20.0.100-10.20.255.250"]"#;
const RESERVATION: &str = r#"

[[network.subnet.reservation]]
mac = "02:00:5e:00:53:07"
address = "10.20.0.5"
"#;

const FILE: &str = "/run/vestibule.toml";
const LEDGER: &str = "/run/ledger.jsonl";
const LOG: &str = "/run/server.log";

/// A program of ours; it ends with the test at the latest.
struct Running(Child);

impl Running {
    fn start(name: &str, arguments: &str, log: &str) -> Self {
        let child = Command::new(program(name).unwrap())
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap()
}

fn start_server() -> Running {
    command("ip address add 10.0.0.67/32 dev lo");
    command("ip address add 10.20.0.1/32 dev lo");
    fs::write(FILE, CONFIG).unwrap();
    fs::write("/run/token", "a-token-of-some-length\n").unwrap();
    command("chmod 600 /run/token");
    fs::create_dir("/run/state").unwrap();
    let mut server = Running::start("vestibule-dhcpd", &format!("--config {FILE}"), LOG);
    until("the server is ready", || {
        assert!(server.0.try_wait().unwrap().is_none(), "it ended: {}", log());
        log().contains("ready").then_some(())
    });
    server
}

/// `vestibule reload`: its exit status, and all that it says.
fn reload(more: &str) -> (Option<i32>, String) {
    let tool = program("vestibule").unwrap();
    let output = attempt(&format!("{} reload --config {FILE} {more}", tool.display()));
    (output.status.code(), both(&output))
}

fn acknowledged() -> usize {
    fs::read_to_string(LEDGER).map_or(0, |text| text.lines().count())
}

#[test]
fn a_server_under_load_takes_one_configuration_after_the_other() {
    vestibule_tests::isolated!(|| {
        let _server = start_server();
        let mut load = Running::start(
            "vestibule-load",
            &format!(
                "dora --server 10.0.0.67 --giaddr 10.20.0.1 --clients 3000 --in-flight 16 --ledger {LEDGER} \
                 --first-wait 500"
            ),
            "/run/load.log",
        );
        let mut reloads = 0;
        while load.0.try_wait().unwrap().is_none() {
            // The pool as it was, in one piece and in two, with a reservation and another lifetime.
            let (pools, lifetime) = match reloads % 2 {
                0 => (format!("{IN_TWO}{RESERVATION}"), "3h"),
                _ => (IN_ONE.to_owned(), "2h"),
            };
            let text = CONFIG.replace(IN_ONE, &pools).replace("\"2h\"", &format!("\"{lifetime}\""));
            fs::write(FILE, text).unwrap();
            let (status, said) = reload("");
            assert_eq!(status, Some(0), "{said}");
            assert!(said.contains(&format!("leases.lifetime: {lifetime}, was")), "{said}");
            assert!(!said.contains("held leases"), "{said}");
            reloads += 1;
        }
        assert!(reloads > 0, "the load was over at once");
        assert_eq!(acknowledged(), 3000);
        let said = command(&format!(
            "{} check --server 10.0.0.67 --giaddr 10.20.0.1 --ledger {LEDGER} --first-wait 500 --seconds 60",
            program("vestibule-load").unwrap().display()
        ));
        assert!(said.contains(" leases: 0 gone"), "{said}");
    });
}

#[test]
fn a_broken_file_and_a_change_for_a_restart_leave_everything_as_it_was() {
    vestibule_tests::isolated!(|| {
        let server = start_server();
        fs::write(FILE, CONFIG.replace("lifetime = \"2h\"", "lifetme = \"1h\"")).unwrap();
        // The tool itself reads the file, for where the API is.
        let (status, said) = reload("");
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("lifetme"), "{said}");
        let (status, said) = reload("--api unix:/run/api --token-file /run/token");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("bad-configuration"), "{said}");
        assert!(said.contains("vestibule.toml:8: unknown key `lifetme`"), "{said}");
        command(&format!("kill -HUP {}", server.0.id()));
        until("the log tells", || log().contains("not reloaded").then_some(()));
        assert!(log().contains("vestibule.toml:8"), "{}", log());
        fs::write(FILE, CONFIG.replace("name = \"dhcp-a\"", "name = \"dhcp-b\"")).unwrap();
        let (status, said) = reload("");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("only a restart can change [server]"), "{said}");

        fs::write(FILE, CONFIG.replace("lifetime = \"2h\"", "lifetime = \"1h\"")).unwrap();
        let (status, said) = reload("--dry-run");
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("leases.lifetime: 1h, was 2h"), "{said}");
        assert!(said.contains("nothing was done"), "{said}");
        let (_, said) = reload("--dry-run");
        assert!(said.contains("leases.lifetime: 1h, was 2h"), "it was not done: {said}");
        command(&format!("kill -HUP {}", server.0.id()));
        until("the log tells", || log().contains("the configuration is reloaded").then_some(()));
        let (_, said) = reload("");
        assert!(said.contains("nothing was different"), "{said}");
    });
}
