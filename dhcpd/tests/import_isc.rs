//! Configurations and lease files of ISC dhcpd in, a configuration, leases and a report out: the cases in
//! `tests/import_isc`, one folder each.
//!
//! `VESTIBULE_IMPORT_ISC=rewrite` writes what comes out over what is expected; read the difference before
//! you commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use vestibule_core::{Lease, Timestamp};
use vestibule_dhcpd::isc::{Import, Site, translate, write};
use vestibule_dhcpd::store::{Store, StoreOptions};

/// Noon of 2026-11-21, UTC.
const NOON: u64 = 1_795_262_400;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import_isc")
}

fn site() -> Site {
    Site {
        name: "dhcp-a".to_owned(),
        state_dir: "/var/lib/vestibule".to_owned(),
        relay_listen: Vec::new(),
        interfaces: Vec::new(),
        is_standalone: false,
    }
}

fn import(folder: &Path, site: &Site) -> Import {
    let leases = folder.join("dhcpd.leases");
    let leases = leases.exists().then_some(leases);
    translate(&folder.join("dhcpd.conf"), leases.as_deref(), site, Timestamp::from_seconds(NOON))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// A lease on one line, times in seconds before or after noon.
fn line(lease: &Lease) -> String {
    let second =
        |time: Timestamp| i64::try_from(time.seconds()).unwrap() - i64::try_from(NOON).unwrap();
    let mut line = format!(
        "{} {:?} {} {} from {:+} by {:+} until {:+}",
        lease.address,
        lease.state,
        lease.hardware,
        lease.client,
        second(lease.started),
        second(lease.changed),
        second(lease.ends)
    );
    if let Some(relay_agent) = &lease.relay_agent {
        write!(line, " option 82 {}", relay_agent.escape_ascii()).unwrap();
    }
    if let Some(host_name) = &lease.host_name {
        write!(line, " name {}", host_name.escape_ascii()).unwrap();
    }
    line
}

/// What comes out of a case, by file.
fn outcome(folder: &Path) -> [(&'static str, String); 3] {
    let mut site = site();
    if folder.ends_with("plain") {
        site.interfaces.push("eth1".to_owned());
    }
    let import = import(folder, &site);
    let mut leases: String = import.leases.iter().map(|lease| line(lease) + "\n").collect();
    for registration in &import.registrations {
        writeln!(
            leases,
            "registered {} {}",
            registration.hardware,
            registration.note.as_deref().unwrap()
        )
        .unwrap();
    }
    for binding in &import.bindings {
        writeln!(
            leases,
            "pair {} {:?}, the partner saw {:?}, {}, since {} transaction {} potential {} agreed {} partner {}",
            binding.address,
            binding.status,
            binding.partner_saw,
            if binding.is_acknowledged { "acknowledged" } else { "unacknowledged" },
            binding.since,
            binding.client_last_transaction,
            binding.potential_expiration,
            binding.agreed_expiration,
            binding.partner_expiration
        )
        .unwrap();
    }
    if let Some(pair) = &import.pair {
        writeln!(
            leases,
            "pair {} since {}, the partner {} since {}, mclt {}",
            pair.state, pair.since, pair.partner, pair.partner_since, pair.mclt_seconds
        )
        .unwrap();
    }
    let prefix = format!("{}/", folder.display());
    let report = import.report.text().replace(&prefix, "");
    [("vestibule.toml", import.configuration), ("report.txt", report), ("leases.txt", leases)]
}

#[test]
fn cases_come_out_as_expected() {
    let rewrites = std::env::var("VESTIBULE_IMPORT_ISC").as_deref() == Ok("rewrite");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(cases()).unwrap() {
        let folder = entry.unwrap().path();
        for (name, found) in outcome(&folder) {
            let path = folder.join(name);
            if rewrites {
                fs::write(&path, &found).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected != found {
                wrong.push(format!("{}:\n{found}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 21, "{checked}");
}

/// Whatever comes out is a configuration that the server starts with, and no word of a report can act on
/// a terminal.
#[test]
fn every_case_makes_a_file_that_is_taken() {
    for entry in fs::read_dir(cases()).unwrap() {
        let folder = entry.unwrap().path();
        let [(_, configuration), (_, report), _] = outcome(&folder);
        vestibule_config::parse(&configuration, "vestibule.toml").unwrap();
        assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{}", folder.display());
    }
}

/// The store is one that the server opens, with the same leases in it.
#[test]
fn the_store_has_every_lease() {
    let folder = tempfile::tempdir().unwrap();
    let (configuration, state) =
        (folder.path().join("vestibule.toml"), folder.path().join("state"));
    for case in ["leases", "registration", "failover"] {
        let import = import(&cases().join(case), &site());
        write(&import, &configuration, &state).unwrap();
        let (store, recovered) = Store::open(&state, StoreOptions::default()).unwrap();
        let mut found: Vec<String> = Vec::new();
        let (mut registrations, mut bindings, mut pair) = (0, Vec::new(), None);
        for record in recovered.records {
            match record {
                vestibule_core::Record::Lease(lease) => found.push(line(&lease)),
                vestibule_core::Record::Registration(_) => registrations += 1,
                vestibule_core::Record::PairBinding(binding) => bindings.push(binding),
                vestibule_core::Record::Failover(states) => pair = Some(states),
                _ => {}
            }
        }
        let mut expected: Vec<String> = import.leases.iter().map(line).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(registrations, import.registrations.len());
        bindings.sort_by_key(|binding| binding.address);
        assert_eq!(bindings, import.bindings);
        assert_eq!(pair, import.pair);
        assert_eq!(recovered.newest_time, Timestamp::from_seconds(NOON));
        assert_eq!(fs::read_to_string(&configuration).unwrap(), import.configuration);
        // It may still make segments ahead.
        drop(store);
        fs::remove_dir_all(&state).unwrap();
        fs::remove_file(&configuration).unwrap();
    }
}

/// The tool as an operator runs it.
struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn command(&self, case: &str, more: &[&str]) -> (i32, String, String) {
        let folder = cases().join(case);
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .arg("import-isc")
            .arg("--conf")
            .arg(folder.join("dhcpd.conf"))
            .args(["--now", "2026-11-21T12:00:00Z", "--name", "dhcp-a", "--out"])
            .arg(self.out())
            .args(more)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn nothing_is_written_over() {
    let run = Run::new();
    let leases = cases().join("leases/dhcpd.leases");
    let with_leases = ["--leases", leases.to_str().unwrap()];
    let (status, out, _) = run.command("leases", &with_leases);
    assert_eq!(status, 1, "some leases were left out: {out}");
    let text = fs::read_to_string(run.out().join("vestibule.toml")).unwrap();
    let state_dir = format!("state-dir = \"{}\"", run.out().join("state").display());
    assert!(text.contains(&state_dir), "{text}");
    let (status, _, complaint) = run.command("leases", &with_leases);
    assert_eq!(status, 2);
    assert!(complaint.contains("is there already, and nothing is written over"), "{complaint}");
    // A store alone is as good a reason.
    fs::remove_file(run.out().join("vestibule.toml")).unwrap();
    let before = fs::read_dir(run.out().join("state")).unwrap().count();
    let (status, _, complaint) = run.command("leases", &with_leases);
    assert_eq!(status, 2);
    assert!(complaint.contains("/state is there already"), "{complaint}");
    assert!(!run.out().join("vestibule.toml").exists());
    assert_eq!(fs::read_dir(run.out().join("state")).unwrap().count(), before);
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let run = Run::new();
    let (status, dry, _) = run.command("campus", &["--dry-run"]);
    assert_eq!(status, 1);
    assert!(!run.out().exists());
    let (status, real, _) = run.command("campus", &[]);
    assert_eq!(status, 1);
    let findings = |text: &str| text.split("taken over").next().map(str::to_owned);
    assert_eq!(findings(&dry), findings(&real));
    assert!(dry.contains("nothing is written"), "{dry}");
}

#[test]
fn the_exit_status_tells_a_whole_import() {
    let run = Run::new();
    let (status, out, complaint) = run.command("plain", &["--interface", "eth1", "--json"]);
    assert_eq!((status, complaint.as_str()), (0, ""), "{out}");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["left-out"], 0);
    assert_eq!(answer["written"], true);
    assert_eq!(answer["taken-over"]["reservations"], 1);
    assert!(answer["findings"].as_array().unwrap().iter().all(|f| f["kind"] == "not-needed"));
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let run = Run::new();
    let (status, _, complaint) = run.command("plain", &[]);
    assert_eq!(status, 2);
    assert!(complaint.contains("--relay-listen ADDRESS"), "{complaint}");
    let (status, _, complaint) = run.command("no-such-case", &[]);
    assert_eq!(status, 2);
    assert!(complaint.contains("cannot be read"), "{complaint}");
    let (status, _, complaint) = run.command("campus", &["--leases", "/nowhere/dhcpd.leases"]);
    assert_eq!(status, 2);
    assert!(complaint.contains("/nowhere/dhcpd.leases cannot be read"), "{complaint}");
    assert!(!run.out().exists());
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use vestibule_core::{BindingState, ClientIdentifier, HardwareAddress};

    /// One subnet, all of whose addresses are in its pool.
    const CONFIGURATION: &str = "authoritative; server-identifier 10.0.0.67;\n\
        subnet 10.64.0.0 netmask 255.255.0.0 { range 10.64.0.1 10.64.255.254; }\n";

    fn translated(configuration: &[u8], leases: &[u8]) -> Result<Import, String> {
        let folder = tempfile::tempdir().unwrap();
        let (conf, file) = (folder.path().join("dhcpd.conf"), folder.path().join("dhcpd.leases"));
        fs::write(&conf, configuration).unwrap();
        fs::write(&file, leases).unwrap();
        translate(&conf, Some(&file), &site(), Timestamp::from_seconds(NOON))
            .map_err(|error| error.to_string())
    }

    /// A lease that ISC dhcpd could have written.
    fn any_lease() -> impl Strategy<Value = Lease> {
        let bytes = |least| prop::collection::vec(any::<u8>(), least..60_usize);
        (
            (1..65_535_u32, prop::collection::vec(any::<u8>(), 1..=16_usize)),
            prop_oneof![Just(1_u8), Just(6), Just(8), Just(32), Just(77)],
            (0..1_000_000_u64, 0..1_000_000_u64),
            (prop::option::of(bytes(1)), prop::option::of(bytes(1)), prop::option::of(bytes(0))),
            any::<bool>(),
        )
            .prop_map(
                |((address, hardware), hardware_type, (before, after), texts, is_held)| {
                    let hardware = HardwareAddress::new(hardware_type, &hardware).unwrap();
                    let (uid, host_name, circuit) = texts;
                    let started = Timestamp::from_seconds(NOON - 1_000_000 - before);
                    let relay_agent = circuit.map(|circuit| {
                        let length = u8::try_from(circuit.len()).unwrap();
                        [[1, length].as_slice(), &circuit].concat().into()
                    });
                    Lease {
                        address: Ipv4Addr::from(0x0a40_0000 + address),
                        client: uid.map_or(ClientIdentifier::Hardware(hardware), |uid| {
                            ClientIdentifier::Option61(uid.into())
                        }),
                        hardware,
                        state: BindingState::Active,
                        started,
                        changed: started,
                        ends: Timestamp::from_seconds(if is_held {
                            NOON + 1 + after
                        } else {
                            NOON - after
                        }),
                        relay: None,
                        relay_agent,
                        host_name: host_name.map(Into::into),
                    }
                },
            )
    }

    /// Seconds since 1970 as a lease file has them, by the calendar of another program.
    fn date(time: Timestamp) -> String {
        let date = time::OffsetDateTime::from_unix_timestamp(time.seconds().try_into().unwrap());
        let date = date.unwrap();
        format!(
            "{} {}/{:02}/{:02} {:02}:{:02}:{:02}",
            date.weekday().number_days_from_sunday(),
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second()
        )
    }

    /// A text as dhcpd quotes it.
    fn quoted(bytes: &[u8]) -> String {
        let mut text = "\"".to_owned();
        for byte in bytes {
            match byte {
                b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
                b' '..=b'~' => text.push(char::from(*byte)),
                byte => write!(text, "\\{byte:03o}").unwrap(),
            }
        }
        text + "\""
    }

    /// A lease as dhcpd writes it (`server/db.c`, `write_lease`).
    fn written(lease: &Lease) -> String {
        let kind = match lease.hardware.hardware_type() {
            1 => "ethernet".to_owned(),
            6 => "token-ring".to_owned(),
            8 => "fddi".to_owned(),
            32 => "infiniband".to_owned(),
            other => format!("unknown-{other}"),
        };
        let hex = |bytes: &[u8]| {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
        };
        let state = if lease.ends > Timestamp::from_seconds(NOON) { "active" } else { "free" };
        let mut text = format!(
            "lease {} {{\n  starts {};\n  ends {};\n  cltt {};\n  binding state {state};\n  next binding \
             state free;\n  rewind binding state free;\n  hardware {kind} {};",
            lease.address,
            date(lease.started),
            date(lease.ends),
            date(lease.started),
            hex(lease.hardware.bytes())
        );
        if let ClientIdentifier::Option61(uid) = &lease.client {
            write!(text, "\n  uid {};", quoted(uid)).unwrap();
        }
        if let Some(circuit) = lease.relay_agent.as_ref().map(|all| &all[2..]) {
            // Printable contents stand as a text, others in hexadecimal.
            let is_plain = circuit.iter().all(|byte| (b' '..=b'~').contains(byte));
            let value = if is_plain { quoted(circuit) } else { hex(circuit) };
            write!(text, "\n  option agent.circuit-id {value};").unwrap();
        }
        if let Some(name) = &lease.host_name {
            write!(text, "\n  client-hostname {};", quoted(name)).unwrap();
        }
        text + "\n}\n"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_isc_wrote_is_what_is_kept(leases in prop::collection::vec(any_lease(), 0..20)) {
            let file: String = leases.iter().map(written).collect();
            let import = translated(CONFIGURATION.as_bytes(), file.as_bytes()).unwrap();
            // The last word on an address holds.
            let mut newest = std::collections::BTreeMap::new();
            for lease in &leases {
                newest.insert(lease.address, lease.clone());
            }
            let newest: Vec<Lease> = newest.into_values().collect();
            prop_assert_eq!(import.leases, newest);
        }

        /// A file that ends anywhere: every block that is whole is kept, and the rest is reported.
        #[test]
        fn a_torn_file_is_read_up_to_its_end(
            leases in prop::collection::vec(any_lease(), 1..8), cut in any::<prop::sample::Index>(),
        ) {
            let blocks: Vec<String> = leases.iter().map(written).collect();
            let file: String = blocks.concat();
            let cut = cut.index(file.len());
            let mut whole = std::collections::BTreeMap::new();
            let mut end = 0;
            for (lease, block) in leases.iter().zip(&blocks) {
                end += block.len();
                // The last byte is the line's end.
                if end - 1 <= cut {
                    whole.insert(lease.address, lease.clone());
                }
            }
            let import = translated(CONFIGURATION.as_bytes(), &file.as_bytes()[..cut]).unwrap();
            prop_assert_eq!(import.leases, whole.into_values().collect::<Vec<Lease>>());
        }

        #[test]
        fn any_lease_file_ends_in_a_report(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let import = translated(CONFIGURATION.as_bytes(), &bytes).unwrap();
            prop_assert!(!import.report.text().chars().any(|c| c.is_control() && c != '\n'));
        }

        #[test]
        fn any_configuration_is_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut configuration = CONFIGURATION.as_bytes().to_vec();
            configuration.extend(bytes);
            if let Err(refusal) = translated(&configuration, b"") {
                // Named with its line, and no mistake of ours.
                prop_assert!(refusal.contains("dhcpd.conf:") || refusal.contains("cannot be read"), "{}", refusal);
            }
        }

        /// Words of the language in any order: nearer to what is understood than any bytes.
        #[test]
        fn any_words_are_taken_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
            let text = words.join(" ");
            let configuration = format!("{CONFIGURATION}{text}");
            if let Err(refusal) = translated(configuration.as_bytes(), text.as_bytes()) {
                prop_assert!(refusal.contains("dhcpd.conf:") || refusal.contains("cannot be read"), "{}", refusal);
            }
        }
    }

    const WORDS: &[&str] = &[
        "{",
        "}",
        ";",
        ";",
        ";",
        ",",
        "=",
        ":",
        "shared-network",
        "subnet",
        "netmask",
        "range",
        "pool",
        "group",
        "host",
        "class",
        "subclass",
        "option",
        "code",
        "array",
        "of",
        "text",
        "ip-address",
        "routers",
        "domain-name",
        "allow",
        "deny",
        "unknown-clients",
        "members",
        "failover",
        "peer",
        "state",
        "primary",
        "address",
        "mclt",
        "split",
        "hardware",
        "ethernet",
        "fixed-address",
        "02:00:5e:00:53:01",
        "10.64.0.0",
        "10.65.0.0",
        "255.255.255.0",
        "10.65.0.7",
        "10.65.0.9",
        "\"x\"",
        "default-lease-time",
        "max-lease-time",
        "600",
        "0",
        "lease",
        "starts",
        "ends",
        "never",
        "epoch",
        "binding",
        "active",
        "uid",
        "match",
        "if",
        "include",
        "on",
        "not",
        "authoritative",
    ];
}
