//! `vestibule` against a real API: what it prints, what it says when something is wrong, and its exit
//! status.

mod api_support;

use api_support::{Api, Setup, TOKEN, lease, mac, write_token};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::net::TcpListener;
use std::path::Path;
use vestibule_config::GateMode;
use vestibule_core::Record;
use vestibule_dhcpd::cli::{OK, REFUSED, UNREACHABLE, USAGE, run};

struct Ran {
    status: u8,
    out: String,
    complaints: String,
}

fn vestibule(arguments: &[&str]) -> Ran {
    let mut out = Vec::new();
    let mut complaints = Vec::new();
    let arguments = ["vestibule"].iter().chain(arguments).map(OsString::from);
    let status = run(arguments, &mut out, &mut complaints);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { status, out: text(out), complaints: text(complaints) };
    assert!(!ran.out.contains(TOKEN) && !ran.complaints.contains(TOKEN));
    ran
}

fn on(api: &Api, arguments: &[&str]) -> Ran {
    let url = api.url();
    let token_file = api.token_file.display().to_string();
    vestibule(&[arguments, &["--api", &url, "--token-file", &token_file]].concat())
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.status, self.complaints.as_str()), (OK, ""), "{}", self.out);
        self.out
    }

    /// That it failed so, saying all of this.
    #[track_caller]
    fn failed(&self, status: u8, says: &[&str]) {
        assert_eq!(self.status, status, "{}{}", self.out, self.complaints);
        for word in says {
            assert!(self.complaints.contains(word), "{word:?} is not in {:?}", self.complaints);
        }
    }
}

fn laptops(count: u16) -> Vec<Record> {
    (0..count)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            Record::Lease(lease([10, 20, 100 + high, low], &mac(number)))
        })
        .collect()
}

#[test]
fn a_device_is_registered_and_unregistered() {
    for unix in [false, true] {
        let api = Api::start(Setup { records: laptops(1), unix, ..Setup::default() });
        let expires = "2027-02-28T22:00:00Z";
        let said =
            on(&api, &["register", "10.20.100.0", "--owner", "alice", "--expires", expires]).ok();
        assert_eq!(
            said,
            "02:00:00:00:00:00 is registered for alice until 2027-02-28T22:00:00.000Z; the gate is open for 10.20.100.0\n\
             its address is a randomised one, which the device may change\n"
        );
        let again = on(&api, &["register", "0200.0000.0000", "--json"]).ok();
        let again: Value = serde_json::from_str(&again).unwrap();
        assert_eq!(again["addresses"], json!(["10.20.100.0"]));
        assert_eq!(again["owner"], Value::Null);
        let said = on(&api, &["unregister", "02-00-00-00-00-00"]).ok();
        assert_eq!(
            said,
            "02:00:00:00:00:00 is not registered any more; the gate is closed for 10.20.100.0\n"
        );
        on(&api, &["unregister", "02-00-00-00-00-00"])
            .failed(REFUSED, &["02:00:00:00:00:00 is not registered", "404 not-registered"]);
    }
}

#[test]
fn a_replaced_device_loses_its_registration() {
    let api = Api::with(Vec::new());
    on(&api, &["register", "02:00:5e:00:53:01"]).ok();
    let said =
        on(&api, &["register", "6/02:00:5e:00:53:02", "--replaces", "02:00:5e:00:53:01"]).ok();
    assert_eq!(
        said,
        "6/02:00:5e:00:53:02 is registered; it holds no address in a gated network now\n\
         02:00:5e:00:53:01 is not registered any more: this device takes its place\n"
    );
    on(&api, &["unregister", "02:00:5e:00:53:01"]).failed(REFUSED, &["not registered"]);
    on(&api, &["unregister", "6/02:00:5e:00:53:02"]).ok();
}

#[test]
fn all_pages_of_leases_are_shown() {
    let mut records = laptops(2500);
    records.push(Record::Lease(lease([10, 30, 0, 11], &mac(7))));
    let mut ended = lease([10, 30, 0, 12], &mac(8));
    ended.ends = api_support::NOW;
    records.push(Record::Lease(ended));
    let api = Api::with(records);
    let table = on(&api, &["leases"]).ok();
    assert_eq!(table.lines().count(), 1 + 2501);
    assert!(table.starts_with("IP "), "{}", table.lines().next().unwrap());
    assert_eq!(on(&api, &["leases", "--all"]).ok().lines().count(), 1 + 2502);
    let offices = on(&api, &["leases", "--network", "offices"]).ok();
    assert_eq!(
        offices.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
        ["10.30.0.11", &mac(7), "active", "2026-11-20T14:00:00.000Z", "no", "offices", "-", "-"]
    );
    let of_device = on(&api, &["leases", "--mac", "020000000007", "--json"]).ok();
    let of_device: Value = serde_json::from_str(&of_device).unwrap();
    assert_eq!(of_device["leases"][0]["ip"], "10.20.100.7");
    assert_eq!(of_device["leases"][1]["ip"], "10.30.0.11");
    assert_eq!(of_device["leases"].as_array().unwrap().len(), 2);
    let all: Value = serde_json::from_str(&on(&api, &["leases", "--json"]).ok()).unwrap();
    assert_eq!(all["leases"].as_array().unwrap().len(), 2501);
    let none = on(&api, &["leases", "--json", "--mac", "020000ffffff"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&none).unwrap(), json!({ "leases": [] }));
    on(&api, &["leases", "--network", "office"]).failed(REFUSED, &["`network`", "bad-parameter"]);
}

#[test]
fn names_from_strangers_do_nothing_to_a_terminal() {
    let mut stranger = lease([10, 20, 0, 17], &mac(1));
    let nasty = "<b>\u{1b}]0;pwned\u{7}\r\n10.0.0.1\u{202e}cod.exe\u{9b}2J\u{200b}é";
    stranger.host_name = Some(nasty.as_bytes().into());
    let api = Api::with(vec![Record::Lease(stranger)]);
    on(&api, &["register", "10.20.0.17", "--owner", "bob\u{202e}"]).ok();
    let table = on(&api, &["leases"]).ok();
    assert_eq!(table.lines().count(), 2, "no line is forged: {table:?}");
    assert!(
        table.contains(r"<b>\u{1b}]0;pwned\u{7}\u{d}\u{a}10.0.0.1\u{202e}cod.exe\u{9b}2J\u{200b}é"),
        "{table}"
    );
    assert!(table.contains(r"bob\u{202e}"), "{table}");
    let json_text = on(&api, &["leases", "--json"]).ok();
    assert!(
        json_text.chars().all(|c| c == '\n' || c == ' ' || c == 'é' || c.is_ascii_graphic()),
        "{json_text:?}"
    );
    let document: Value = serde_json::from_str(&json_text).unwrap();
    assert_eq!(document["leases"][0]["host-name"], nasty);
    // What this side typed comes back in an error.
    let said = on(&api, &["register", "10.20.0.18", "--expires", "\u{1b}[2J"]);
    said.failed(REFUSED, &["`expires`"]);
    assert!(!said.complaints.contains('\u{1b}'));
}

#[test]
fn the_status_is_shown_to_people_and_programs() {
    let api = Api::with(laptops(3));
    let said = on(&api, &["status"]).ok();
    for word in
        ["dhcp-test", "everything is well", "gate local", "0 registrations", "halls", "NETWORK"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let document: Value = serde_json::from_str(&on(&api, &["status", "--json"]).ok()).unwrap();
    assert_eq!(document["networks"][0]["held"], 3);
    assert!(!said.contains("gate off"), "{said}");
    let off = Api::start(Setup { gate_mode: GateMode::Off, ..Setup::default() });
    let said = on(&off, &["status"]).ok();
    assert!(said.contains("gate off: unregistered hosts"), "{said}");
    api.metrics.gate_failure();
    let said = on(&api, &["status"]).ok();
    assert!(said.contains("NOT WELL: ") && !said.contains("everything is well"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_exit_status_3() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = write_token(directory.path(), "token", TOKEN).display().to_string();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    vestibule(&["status", "--api", &url, "--token-file", &token_file])
        .failed(UNREACHABLE, &[&url, "refused", "is vestibule-dhcpd running"]);
    let missing = format!("unix:{}/none.sock", directory.path().display());
    vestibule(&["leases", "--api", &missing, "--token-file", &token_file])
        .failed(UNREACHABLE, &["none.sock", "is vestibule-dhcpd running"]);
}

#[test]
fn something_else_that_answers_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = write_token(directory.path(), "token", TOKEN).display().to_string();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        "220 mail.example ESMTP\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            });
            vestibule(&["status", "--api", &url, "--token-file", &token_file])
                .failed(UNREACHABLE, &[&url]);
        });
    }
    // JSON of some other service.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        });
        vestibule(&["status", "--api", &url, "--token-file", &token_file])
            .failed(REFUSED, &["same version"]);
    });
}

#[test]
fn a_wrong_token_is_told_with_what_to_do() {
    let api = Api::with(Vec::new());
    let wrong = write_token(api.directory.path(), "wrong", "another-token-of-good-length");
    let (url, wrong) = (api.url(), wrong.display().to_string());
    vestibule(&["status", "--api", &url, "--token-file", &wrong])
        .failed(REFUSED, &["does not take this token", "--token-file"]);
    let missing = api.directory.path().join("missing").display().to_string();
    vestibule(&["status", "--api", &url, "--token-file", &missing]).failed(USAGE, &["missing"]);
}

#[test]
fn wrong_usage_is_exit_status_2() {
    let token_file = "/nonexistent/token";
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["register"],
        &["register", "laptop"],
        &["unregister", "10.20.0.17"],
        &["leases", "--mac", "x"],
        &["status", "--api", "localhost:8067", "--token-file", token_file],
        &["status", "--config", "/nonexistent/vestibule.toml"],
    ] {
        vestibule(arguments).failed(USAGE, &[]);
    }
    let help = vestibule(&["--help"]).ok();
    for word in ["status", "leases", "register", "unregister", "check", "Exit status"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(vestibule(&["--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let api = Api::with(laptops(1));
    let token_file = api.token_file.display().to_string();
    let arguments = ["vestibule", "leases", "--api", &api.url(), "--token-file", &token_file]
        .map(OsString::from);
    let mut complaints = Vec::new();
    assert_eq!(run(arguments, &mut Closed, &mut complaints), OK);
    assert_eq!(complaints, b"");
}

const GOOD: &str = r#"
[server]
name = "dhcp-a"
relay-listen = ["10.0.0.67"]

[[network]]
name = "offices"
gated = false
[[network.subnet]]
prefix = "10.30.0.0/24"
pools = ["10.30.0.10-10.30.0.250"]

[gate]
mode = "off"

"#;

fn write_configuration(directory: &Path, text: &str) -> String {
    let path = directory.join("vestibule.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_configuration_file_tells_where_the_api_is() {
    let api = Api::start(Setup { unix: true, ..Setup::default() });
    let text = format!(
        "{GOOD}[api]\nlisten = \"{}\"\ntoken-file = \"{}\"\n",
        api.socket_path.display(),
        api.token_file.display()
    );
    let file = write_configuration(api.directory.path(), &text);
    assert!(vestibule(&["--config", &file, "status"]).ok().contains("dhcp-test"));
    assert!(vestibule(&["status", "--config", &file]).ok().contains("dhcp-test"));
}

#[test]
fn a_good_file_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = write_token(directory.path(), "token", TOKEN);
    let text = format!("{GOOD}[api]\ntoken-file = \"{}\"\n", token_file.display());
    let file = write_configuration(directory.path(), &text);
    let said = vestibule(&["check", &file]).ok();
    assert!(said.contains("dhcp-a") && said.contains("offices"), "{said}");
    let document: Value =
        serde_json::from_str(&vestibule(&["check", "--json", &file]).ok()).unwrap();
    assert_eq!(document["valid"], true);
    std::fs::remove_file(&token_file).unwrap();
    let ran = vestibule(&["check", &file]);
    assert_eq!(ran.status, OK, "{}", ran.complaints);
    assert!(ran.complaints.contains("token"), "a server here would refuse: {}", ran.complaints);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = GOOD
        .replace("mode = \"off\"", "mode = \"of\"")
        .replace("name = \"dhcp-a\"", "nam = \"dhcp-a\"");
    let file = write_configuration(directory.path(), &text);
    let line_of = |wanted: &str| 1 + text.lines().position(|line| line.contains(wanted)).unwrap();
    let ran = vestibule(&["check", &file]);
    ran.failed(
        REFUSED,
        &[
            &format!("{file}:{}:", line_of("nam =")),
            &format!("{file}:{}:", line_of("mode =")),
            "mistakes in",
        ],
    );
    let ran = vestibule(&["check", &file, "--json"]);
    assert_eq!(ran.status, REFUSED);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["valid"], false);
    let lines: Vec<u64> = document["mistakes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["line"].as_u64())
        .collect();
    assert!(lines.contains(&(line_of("nam =") as u64)), "{lines:?}");
    vestibule(&["check", "/nonexistent/vestibule.toml"])
        .failed(REFUSED, &["/nonexistent/vestibule.toml"]);
    vestibule(&["status", "--config", &file])
        .failed(USAGE, &["does not tell where the API is", "--api"]);
}

/// The example of the documentation, word for word.
#[test]
fn what_a_client_would_get_is_explained_as_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("docs/examples/two-sites.toml").display().to_string();
    let explain = |more: &[&str]| vestibule(&[&["check", &file, "--explain"], more].concat());
    let said = explain(&["00:1b:78:00:00:01@10.10.0.1"]).ok();
    let documentation = std::fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    assert!(documentation.contains(&said), "{said}");

    let client = "02:00:5e:00:53:01@10.10.0.1";
    let boots = [client, "--architecture", "7", "--vendor-class", "PXEClient"];
    let said = explain(&boots).ok();
    assert!(said.contains("next-server = 10.0.0.69: class uefi-boot"), "{said}");
    assert!(said.contains("bootfile-name = ipxe.efi: class uefi-boot"), "{said}");
    let said = explain(&[&boots[..], &["--user-class", "iPXE"]].concat()).ok();
    assert!(said.contains("bootfile-name = http://boot.campus.example/menu: class ipxe"), "{said}");

    let said = explain(&["02:00:5e:00:53:21@10.10.0.1", "--json"]).ok();
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["address"], "10.10.0.5");
    assert_eq!(document["reserved"], true);
    assert_eq!(document["lifetime"], json!({ "seconds": 604_800, "from": "profile printer" }));
    let from = |name: &str| {
        let options = document["options"].as_array().unwrap();
        options.iter().find(|option| option["name"] == name).unwrap()["from"].clone()
    };
    assert_eq!(from("host-name"), "the reservation");
    assert_eq!(from("domain-name"), "the reservation's profile");
    assert_eq!(from("routers"), "the subnet");

    let gated = "02:00:5e:00:53:01@10.20.0.1";
    assert!(explain(&[gated]).ok().contains("for 2m: leases.lifetime-unregistered"));
    assert!(explain(&[gated, "--registered"]).ok().contains("for 1h: leases.lifetime"));
    explain(&["02:00:5e:00:53:01@192.0.2.1"]).failed(REFUSED, &["nothing: unknown-network"]);
    explain(&["02:00:5e:00:53:01"]).failed(USAGE, &["MAC@RELAY"]);
    explain(&[client, "--circuit-id", "hex:0"]).failed(USAGE, &["hex:0a0b"]);
    explain(&[client, "--role", "guest"]).failed(USAGE, &["no role guest"]);
    vestibule(&["check", &file, "--registered"]).failed(USAGE, &["--explain"]);
}
