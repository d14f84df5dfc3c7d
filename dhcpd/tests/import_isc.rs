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
    for case in ["leases", "registration"] {
        let import = import(&cases().join(case), &site());
        write(&import, &configuration, &state).unwrap();
        let (store, recovered) = Store::open(&state, StoreOptions::default()).unwrap();
        let mut found: Vec<String> = Vec::new();
        let mut registrations = 0;
        for record in recovered.records {
            match record {
                vestibule_core::Record::Lease(lease) => found.push(line(&lease)),
                vestibule_core::Record::Registration(_) => registrations += 1,
                _ => {}
            }
        }
        let mut expected: Vec<String> = import.leases.iter().map(line).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(registrations, import.registrations.len());
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
