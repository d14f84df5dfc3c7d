//! The index: it finds, it follows, and whatever is wrong with it ends in a new one.

mod store_support;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use store_support::lease;
use vestibule_core::{Lease, Record, Timestamp};
use vestibule_dhcpd::store::index::{
    ADDRESSES_WAITING_MAX, Index, IndexOptions, IndexState, SearchKey, probe_main,
};

/// The name of the test that is the probe when this program is started again with a directory.
const PROBE: &str = "this_program_probes_when_it_is_told_to";

/// Ample: nothing here depends on how long it takes.
const DEADLINE: Duration = Duration::from_secs(120);

fn options() -> IndexOptions {
    IndexOptions {
        probe_program: std::env::current_exe().unwrap(),
        probe_arguments: vec!["--exact".into(), PROBE.into()],
        probe_time_max: DEADLINE,
        rebuild_rest: Duration::ZERO,
    }
}

/// The index's probe is a process of its own; here it is this program, started for this one test with
/// the directory as its last argument. Started otherwise it checks that the probe tells good from bad.
#[test]
fn this_program_probes_when_it_is_told_to() {
    let last = std::env::args_os().next_back().unwrap();
    if Path::new(&last).join("db").exists() {
        let is_good = format!("{:?}", probe_main(Path::new(&last)))
            == format!("{:?}", std::process::ExitCode::SUCCESS);
        std::process::exit(i32::from(!is_good));
    }
    let directory = tempfile::tempdir().unwrap();
    let bad = format!("{:?}", probe_main(directory.path()));
    assert_eq!(bad, format!("{:?}", std::process::ExitCode::FAILURE));
}

fn open(directory: &Path, position: u64, leases: Vec<Lease>) -> Index {
    let index = Index::open(directory, options(), position, leases.into_iter().map(Ok)).unwrap();
    assert!(index.wait_until_fed(DEADLINE), "{}", index.state());
    index
}

fn by_hardware(index: &Index, number: u32) -> Vec<Ipv4Addr> {
    index.search(&SearchKey::Hardware(lease(number, 0, false).hardware), 10).unwrap()
}

/// A lease that is only in an index that was fed with it: what shows whether one was reused.
fn marker() -> Lease {
    lease(0x00ff_ffff, 1, false)
}

#[test]
fn a_lease_is_found_by_each_of_its_keys_until_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory.path().join("index"), 0, vec![lease(1, 1, false)]);
    let mut changed = lease(1, 1, false);
    let keys = |lease: &Lease| {
        [
            SearchKey::Hardware(lease.hardware),
            SearchKey::Client(lease.client.clone()),
            SearchKey::Circuit(lease.relay_agent.as_ref().unwrap()[2..].into()),
            SearchKey::HostName(lease.host_name.clone().unwrap().to_ascii_uppercase().into()),
        ]
    };
    for key in keys(&changed) {
        assert_eq!(index.search(&key, 10).unwrap(), [changed.address], "{key:?}");
    }
    // Another device gets the address.
    let before = changed.clone();
    changed = Lease { address: before.address, ..lease(2, 2, true) };
    index.feed(1, &[Record::Lease(changed.clone()), Record::Time(Timestamp::from_seconds(1))]);
    assert!(index.wait_until_fed(DEADLINE));
    for key in keys(&before) {
        assert_eq!(index.search(&key, 10).unwrap(), [0; 0].map(Ipv4Addr::from_bits), "{key:?}");
    }
    for key in keys(&changed) {
        assert_eq!(index.search(&key, 10).unwrap(), [changed.address], "{key:?}");
    }
    index.feed(2, &[Record::LeaseForgotten(changed.address)]);
    assert!(index.wait_until_fed(DEADLINE));
    for key in keys(&changed) {
        assert!(index.search(&key, 10).unwrap().is_empty(), "{key:?}");
    }
}

#[test]
fn many_leases_go_in_by_batches_and_the_limit_of_an_answer_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    // All of the same host name.
    let leases: Vec<Lease> = (0..2000).map(|number| lease(number, 1, false)).collect();
    let index = open(&path, 7, leases);
    let key = SearchKey::HostName((*b"hhhh").into());
    assert_eq!(index.search(&key, 5000).unwrap().len(), 2000);
    assert_eq!(index.search(&key, 10).unwrap().len(), 10);
    assert_eq!(by_hardware(&index, 1234), [lease(1234, 0, false).address]);
    drop(index);
    assert_eq!(
        format!("{:?}", probe_main(&path)),
        format!("{:?}", std::process::ExitCode::SUCCESS)
    );
}

/// An index at position 1 with the marker in it, closed.
fn closed_index(directory: &Path) {
    let index = open(directory, 0, (0..50).map(|number| lease(number, 1, false)).collect());
    index.feed(1, &[Record::Lease(marker())]);
}

fn has_marker(index: &Index) -> bool {
    !index.search(&SearchKey::Hardware(marker().hardware), 1).unwrap().is_empty()
}

#[test]
fn a_sound_index_that_has_come_as_far_as_the_journal_is_reused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    closed_index(&path);
    let index = Index::open(&path, options(), 1, std::iter::once(Ok(lease(3, 1, false)))).unwrap();
    // What is committed while it is being opened does not make it behind.
    index.feed(2, &[Record::Lease(lease(60, 2, false))]);
    assert!(index.wait_until_fed(DEADLINE), "{}", index.state());
    assert!(has_marker(&index));
    assert_eq!(by_hardware(&index, 60), [lease(60, 0, false).address]);
    drop(index);
    assert!(has_marker(&open(&path, 2, Vec::new())));
}

#[test]
fn an_index_that_is_behind_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    closed_index(&path);
    let index = open(&path, 2, vec![lease(3, 1, false)]);
    assert!(!has_marker(&index));
    assert_eq!(by_hardware(&index, 3), [lease(3, 0, false).address]);
    assert!(by_hardware(&index, 4).is_empty());
}

#[test]
fn an_index_that_is_deleted_or_garbage_is_made_anew() {
    type Damage = fn(&Path);
    let faults: [(&str, Damage); 6] = [
        ("deleted", |path| fs::remove_dir_all(path).unwrap()),
        ("log deleted", |path| fs::remove_file(path.join("db")).unwrap()),
        ("log cut in half", |path| {
            let log = fs::read(path.join("db")).unwrap();
            let used = log.iter().rposition(|byte| *byte != 0).unwrap();
            fs::write(path.join("db"), &log[..used / 2]).unwrap();
        }),
        ("log garbage", |path| {
            let length = fs::metadata(path.join("db")).unwrap().len();
            fs::write(path.join("db"), vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        }),
        ("log emptied", |path| fs::write(path.join("db"), b"").unwrap()),
        ("a directory in place of the log", |path| {
            fs::remove_file(path.join("db")).unwrap();
            fs::create_dir(path.join("db")).unwrap();
        }),
    ];
    for (fault, damage) in faults {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        closed_index(&path);
        damage(&path);
        let index = open(&path, 1, vec![lease(3, 1, false)]);
        assert!(!has_marker(&index), "{fault}");
        assert_eq!(by_hardware(&index, 3), [lease(3, 0, false).address], "{fault}");
    }
}

#[test]
fn flipped_bytes_in_the_log_never_keep_the_index_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    closed_index(&good);
    let log = fs::read(good.join("db")).unwrap();
    let used = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for part in 0..12 {
        let path = directory.path().join(format!("flipped-{part}"));
        fs::create_dir(&path).unwrap();
        for name in ["conf", "db"] {
            fs::copy(good.join(name), path.join(name)).unwrap();
        }
        let mut flipped = log.clone();
        flipped[used * part / 12] ^= 0x10;
        fs::write(path.join("db"), flipped).unwrap();
        let index = open(&path, 1, (0..50).map(|number| lease(number, 1, false)).collect());
        for number in 0..50 {
            assert_eq!(by_hardware(&index, number), [lease(number, 0, false).address]);
        }
    }
}

#[test]
fn a_probe_that_cannot_run_or_does_not_end_means_a_new_index() {
    for (program, time_max) in [("/nonexistent", DEADLINE), ("/bin/sh", Duration::ZERO)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        closed_index(&path);
        let options = IndexOptions {
            probe_program: program.into(),
            probe_arguments: vec!["-c".into(), "read line < /dev/zero".into()],
            probe_time_max: time_max,
            rebuild_rest: Duration::ZERO,
        };
        let index =
            Index::open(&path, options, 1, std::iter::once(Ok(lease(3, 1, false)))).unwrap();
        assert!(index.wait_until_fed(DEADLINE));
        assert!(!has_marker(&index), "{program}");
    }
}

#[test]
fn an_index_that_cannot_follow_leaves_the_storm_alone() {
    let directory = tempfile::tempdir().unwrap();
    let options = IndexOptions { rebuild_rest: Duration::from_secs(3600), ..options() };
    let index = Index::open(&directory.path().join("index"), options, 0, std::iter::empty());
    let index = index.unwrap();
    assert!(index.wait_until_fed(DEADLINE), "{}", index.state());
    let count = u32::try_from(ADDRESSES_WAITING_MAX).unwrap() + 1;
    let flood: Vec<Record> =
        (0..count).map(|number| Record::Lease(lease(number, 1, false))).collect();
    for frame_number in 1..=2 {
        index.feed(frame_number, &flood);
        assert!(matches!(index.state(), IndexState::Failed(_)));
        assert_eq!(index.needs_rebuild(), None, "the book is not read in the middle of a storm");
    }
}

#[test]
fn an_index_that_cannot_follow_asks_for_a_rebuild_and_takes_one_that_was_read_after_asking() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory.path().join("index"), 0, vec![lease(1, 1, false)]);
    assert_eq!(index.needs_rebuild(), None);
    let flood = |version| -> Vec<Record> {
        let count = u32::try_from(ADDRESSES_WAITING_MAX).unwrap() + 1;
        (0..count).map(|number| Record::Lease(lease(number, version, false))).collect()
    };
    index.feed(1, &flood(1));
    let stale = index.needs_rebuild().expect("it has lost updates");
    assert!(matches!(index.state(), IndexState::Failed(_)));
    assert!(index.search(&SearchKey::Hardware(lease(1, 0, false).hardware), 1).is_err());
    // More is lost before the book has been read: that ticket is worth nothing.
    index.feed(2, &flood(2));
    index.rebuild(stale, std::iter::once(Ok(marker())));
    let ticket = index.needs_rebuild().expect("it still waits");
    assert_ne!(ticket, stale);
    index.feed(3, &[Record::Lease(lease(9, 3, false))]);
    index.rebuild(ticket, std::iter::once(Ok(lease(5, 2, false))));
    assert!(index.wait_until_fed(DEADLINE), "{}", index.state());
    assert_eq!(index.needs_rebuild(), None);
    assert_eq!(by_hardware(&index, 5), [lease(5, 0, false).address]);
    assert_eq!(by_hardware(&index, 9), [lease(9, 0, false).address]);
    assert!(by_hardware(&index, 1).is_empty() && !has_marker(&index));
}
