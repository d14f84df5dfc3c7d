//! `vestibule check-store` as an operator runs it: what it says, its exit status, and that it changes
//! nothing unless it is told to salvage.

mod store_support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use store_support::{SimulatedDisk, lease, options};
use vestibule_core::failover::PairBinding;
use vestibule_core::{Lease, Record};
use vestibule_dhcpd::store::disk::RealDisk;
use vestibule_dhcpd::store::index::{Index, IndexOptions};
use vestibule_dhcpd::store::{Store, StoreOptions};

const CONFIGURATION: &str = r#"
[server]
name = "dhcp-a"
state-dir = "STATE"
relay-listen = ["10.0.0.67"]

[leases]
lifetime = "3h"

[[network]]
name = "halls"
gated = false

[[network.subnet]]
prefix = "10.20.0.0/24"
pools = ["10.20.0.10-10.20.0.200"]

[gate]
mode = "off"

[api]
listen = "unix:/run/vestibule/api"
token-file = "/etc/vestibule/token"
"#;

/// A store with 50 leases and an index beside it.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        let text = CONFIGURATION.replace("STATE", site.state().to_str().unwrap());
        fs::write(site.configuration(), text).unwrap();
        let leases: Vec<Lease> = (0..50).map(|number| lease(number, 1, true)).collect();
        let mut store = site.open();
        for lease in &leases {
            store.commit(&[Record::Lease(lease.clone())]).unwrap();
        }
        let index_options = IndexOptions {
            probe_program: "/bin/false".into(),
            probe_arguments: Vec::new(),
            probe_time_max: Duration::from_secs(60),
            rebuild_rest: Duration::ZERO,
        };
        let index = site.state().join("index");
        let index =
            Index::open(&index, index_options, store.frame_number(), leases.into_iter().map(Ok))
                .unwrap();
        assert!(index.wait_until_fed(Duration::from_secs(60)));
        site
    }

    fn open(&self) -> Store {
        let options =
            StoreOptions { disk: Arc::new(RealDisk), ..options(&SimulatedDisk::default()) };
        Store::open(&self.state(), options).unwrap().0
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("vestibule.toml")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .arg("check-store")
            .arg("--config")
            .arg(self.configuration())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Every file of it and its bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        let mut folders = vec![self.state()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    contents.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        contents
    }

    /// Checks, in both forms: exit status, text, complaint, JSON. Nothing is changed by it.
    fn check(&self) -> (Option<i32>, String, String, Value) {
        let before = self.contents();
        let plain = self.run(&[]);
        let json = self.run(&["--json"]);
        assert!(self.contents() == before, "the check changed something");
        assert_eq!(plain.status, json.status);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let value = serde_json::from_slice(&json.stdout).unwrap_or(Value::Null);
        (plain.status.code(), text(&plain.stdout), text(&plain.stderr), value)
    }
}

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_store_loses_nothing_and_its_index_is_compared() {
    let site = Site::new();
    let (status, text, complaint, json) = site.check();
    assert_eq!((status, complaint.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("50 leases and 0 registrations"), "{text}");
    assert!(text.contains("index: good, 50 addresses, as far as the journal"), "{text}");
    assert!(text.ends_with("a start would lose nothing\n"), "{text}");
    assert_eq!((&json["verdict"], &json["would-start"]), (&"sound".into(), &true.into()));
    assert_eq!((&json["leases"], &json["index"]["state"]), (&50.into(), &"good".into()));

    // What a failover pair keeps is counted too.
    assert_eq!(json["pair-bindings"], 0);
    let mut store = site.open();
    for number in 0..7 {
        let binding = PairBinding { since: 1, ..PairBinding::untouched(number.into()) };
        store.commit(&[Record::PairBinding(binding)]).unwrap();
    }
    drop(store);
    let (status, text, _, json) = site.check();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("  7 addresses of which the failover pair keeps something\n"), "{text}");
    assert_eq!(json["pair-bindings"], 7);

    // Behind, as after a kill: that is how things are.
    let mut store = site.open();
    store.commit(&[Record::Lease(lease(60, 2, false))]).unwrap();
    drop(store);
    let (status, text, _, json) = site.check();
    assert_eq!((status, &json["index"]["state"]), (Some(0), &"behind".into()), "{text}");
    fs::remove_dir_all(site.state().join("index")).unwrap();
    let (status, text, _, json) = site.check();
    assert_eq!((status, &json["index"]["state"]), (Some(0), &"absent".into()), "{text}");
}

#[test]
fn a_damaged_index_is_a_finding_that_loses_nothing() {
    let site = Site::new();
    edit(&site.state().join("index/db"), |bytes| bytes.fill(0x5a));
    let (status, text, complaint, json) = site.check();
    assert_eq!((status, &json["verdict"]), (Some(1), &"damaged".into()), "{text}");
    assert_eq!(
        (&json["would-start"], &json["would-be-lost"]),
        (&true.into(), &Value::Array(vec![]))
    );
    assert!(text.ends_with("a start would lose nothing\n"), "{text}");
    assert!(complaint.contains("a start makes it anew"), "{complaint}");
}

#[test]
fn an_index_that_says_otherwise_than_the_journal_is_found() {
    let site = Site::new();
    // The same number of frames with another lease in the last of them.
    fs::remove_dir_all(site.state()).ok();
    let other = Site::new();
    let mut store = site.open();
    for number in 1..51 {
        store.commit(&[Record::Lease(lease(number, 1, true))]).unwrap();
    }
    drop(store);
    fs::rename(other.state().join("index"), site.state().join("index")).unwrap();
    let (status, _, complaint, json) = site.check();
    assert_eq!((status, &json["index"]["state"]), (Some(1), &"different".into()), "{complaint}");
    let comparison = &json["index"]["comparison"];
    assert_eq!((&comparison["missing"], &comparison["surplus"]), (&1.into(), &1.into()));
}

#[test]
fn what_cannot_be_checked_is_said_with_status_2() {
    let site = Site::new();
    let store = site.open();
    for arguments in [&[][..], &["--salvage"]] {
        let refused = site.run(arguments);
        assert_eq!(refused.status.code(), Some(2));
        let complaint = String::from_utf8(refused.stderr).unwrap();
        assert!(complaint.contains(&format!("process {}", std::process::id())), "{complaint}");
        assert!(complaint.contains("only while no server writes to it"), "{complaint}");
    }
    drop(store);
    let empty = tempfile::tempdir().unwrap();
    for directory in [empty.path().to_str().unwrap(), "/nonexistent"] {
        let refused = site.run(&["--state-dir", directory]);
        assert_eq!(refused.status.code(), Some(2));
        let complaint = String::from_utf8(refused.stderr).unwrap();
        assert!(complaint.contains(directory), "{complaint}");
    }
    // Without a configuration it has to be told where; and a salvage has to know the lifetimes.
    fs::write(site.configuration(), "nonsense").unwrap();
    let state = site.state();
    let state = state.to_str().unwrap();
    assert_eq!(site.run(&[]).status.code(), Some(2));
    assert_eq!(site.run(&["--state-dir", state]).status.code(), Some(0));
    assert_eq!(site.run(&["--state-dir", state, "--salvage"]).status.code(), Some(2));
}

#[test]
fn damage_is_named_and_salvaged() {
    let site = Site::new();
    let journal = site.state().join("journal-00000000000000000001");
    // 700 bytes or so to a frame: well inside the journal.
    edit(&journal, |bytes| bytes[4096 + 10_000..4096 + 10_100].fill(0));
    let original = fs::read(&journal).unwrap();
    let (status, text, complaint, json) = site.check();
    assert_eq!((status, &json["would-start"]), (Some(1), &false.into()), "{text}");
    assert!(text.contains("LOST") && text.contains("a salvage would lose frame"), "{text}");
    assert!(complaint.contains("journal-00000000000000000001 is damaged at byte"), "{complaint}");
    assert!(complaint.contains("vestibule check-store --salvage"), "{complaint}");
    let lost = json["would-be-lost"].as_array().unwrap();
    assert_eq!(lost.len(), 1);

    let done = site.run(&["--salvage", "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["salvaged"], &report["lost"]), (&true.into(), &json["would-be-lost"]));
    assert!(fs::read(report["copies"][0].as_str().unwrap()).unwrap() == original);
    assert!(report["hold-off"]["until"].is_string());
    let (status, text, ..) = site.check();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("held off until"), "{text}");
    let again = site.run(&["--salvage"]);
    let said = String::from_utf8(again.stdout).unwrap();
    assert_eq!(
        (again.status.code(), said.as_str()),
        (Some(0), "nothing to salvage: a start would lose nothing\n")
    );
}
