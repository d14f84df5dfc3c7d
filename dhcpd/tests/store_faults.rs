//! Faults while the store works: failed writes and syncs, full disks, kills; and the lock, on the real
//! file system.

mod store_support;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store_support::{
    Operation, SimulatedDisk, lease, leases, open, options, registration, segment, write_snapshot,
};
use vestibule_core::{Record, Timestamp};
use vestibule_dhcpd::store::disk::RealDisk;
use vestibule_dhcpd::store::{SEGMENT_BYTES_MIN, Store, StoreError, StoreOptions, check_store};

fn record(number: u32) -> Record {
    Record::Lease(lease(number, 1, false))
}

fn error(number: i32) -> Option<io::Error> {
    Some(io::Error::from_raw_os_error(number))
}

fn real_options() -> StoreOptions {
    StoreOptions {
        disk: Arc::new(RealDisk),
        spares_in_background: true,
        ..options(&SimulatedDisk::default())
    }
}

#[test]
fn everything_is_there_after_a_restart_and_the_journal_goes_on_in_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (mut store, recovered) = Store::open(&path, real_options()).unwrap();
    assert!(recovered.records.is_empty());
    assert_eq!((recovered.frame_number, recovered.newest_time), (0, Timestamp::ZERO));
    let hardware = registration(2, 0).hardware;
    let commits: [&[Record]; 4] = [
        &[record(1), record(2), Record::Registration(registration(1, 50))],
        &[Record::Registration(registration(2, 60)), record(3)],
        &[Record::LeaseForgotten(lease(2, 0, false).address)],
        &[Record::RegistrationRemoved(hardware), Record::Time(Timestamp::from_seconds(1_000_070))],
    ];
    for records in commits {
        store.commit(records).unwrap();
    }
    store.commit(&[]).unwrap();
    assert_eq!(store.frame_number(), 4);
    drop(store);
    for _ in 0..3 {
        let (store, recovered) = Store::open(&path, real_options()).unwrap();
        let time = Timestamp::from_seconds(1_000_070);
        let expected =
            [record(1), Record::Registration(registration(1, 50)), record(3), Record::Time(time)];
        assert_eq!(recovered.records, expected);
        assert_eq!((recovered.frame_number, recovered.newest_time), (4, time));
        assert_eq!(store.health().segments, 1, "{:?}", store.health());
    }
    let report = check_store(&path, &RealDisk).unwrap();
    assert_eq!((report.leases, report.registrations), (2, 1));
}

#[test]
fn a_second_server_is_refused_and_told_who_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), real_options()).unwrap();
    let error = Store::open(directory.path(), real_options()).expect_err("it is in use");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(store);
    Store::open(directory.path(), real_options()).unwrap();
}

#[test]
fn a_state_directory_that_is_made_is_closed_to_others_and_so_is_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let above = directory.path().join("above");
    let state = above.join("state");
    let (mut store, _) = Store::open(&state, real_options()).unwrap();
    store.commit(&[record(1)]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state) & 0o027, 0, "{:o}", mode(&state));
    assert_eq!(mode(&above) & 0o022, 0, "{:o}", mode(&above));
    let files: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file) & 0o027, 0, "{} {:o}", file.display(), mode(&file));
    }
}

#[test]
fn segments_and_snapshots_turn_over_on_a_real_disk_and_space_stays_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(directory.path(), real_options()).unwrap();
    let mut snapshots = 0;
    for round in 0..1500_u64 {
        let number = u32::try_from(round % 100).unwrap();
        let records: Vec<Record> =
            (0..3).map(|part| Record::Lease(lease(number * 3 + part, round, true))).collect();
        store.commit(&records).unwrap();
        if store.snapshot_is_due() {
            let writer = store.begin_snapshot().unwrap();
            assert!(matches!(store.begin_snapshot(), Err(StoreError::SnapshotRunning)));
            assert!(!store.snapshot_is_due());
            // Written by another thread, while the journal goes on.
            let book: Vec<Record> = (0..300)
                .map(|lease_number| {
                    let newest = (0..=round).rev().find(|r| r % 100 == u64::from(lease_number / 3));
                    Record::Lease(lease(lease_number, newest.unwrap_or(0), true))
                })
                .collect();
            let writing = std::thread::spawn(move || {
                let mut writer = writer;
                book.chunks(64).for_each(|records| writer.write(records).unwrap());
                writer.finish().unwrap()
            });
            store.commit(&[Record::Time(Timestamp::from_seconds(round))]).unwrap();
            let finished = writing.join().unwrap();
            assert_eq!(finished.records(), 301);
            store.snapshot_finished(finished).unwrap();
            snapshots += 1;
        }
    }
    assert!(snapshots > 3);
    assert!(store.health().segments < 12, "{:?}", store.health());
    drop(store);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert!(files < 20, "{files} files");
    let (_, recovered) = Store::open(directory.path(), real_options()).unwrap();
    let found = leases(&recovered.records);
    for number in 0..300_u32 {
        let expected = lease(number, 1400 + u64::from(number / 3), true);
        assert_eq!(found[&expected.address], expected);
    }
    assert!(recovered.report.snapshot.is_some());
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    // This program again, as the server that is killed; it says what was acknowledged.
    const VICTIM: &str = "a_kill_at_any_moment_loses_nothing_acknowledged";
    const DIRECTORY: &str = "VESTIBULE_TEST_STORE_DIRECTORY";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let (mut store, recovered) = Store::open(Path::new(&directory), real_options()).unwrap();
        let first = recovered.frame_number;
        for version in first..u64::MAX {
            let number = u32::try_from(version % 200).unwrap();
            store.commit(&[Record::Lease(lease(number, version, true))]).unwrap();
            println!("acknowledged {version}");
            if store.snapshot_is_due() {
                let book: Vec<Record> = (version.saturating_sub(199)..=version)
                    .map(|version| {
                        let number = u32::try_from(version % 200).unwrap();
                        Record::Lease(lease(number, version, true))
                    })
                    .collect();
                write_snapshot(&mut store, &book);
            }
        }
    }
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", VICTIM, "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut acknowledged = None;
        let mut count = 0;
        let mut see = |line: io::Result<String>| -> usize {
            let version = line
                .ok()
                .and_then(|line| line.split_once("acknowledged ")?.1.trim().parse::<u64>().ok());
            if let Some(version) = version {
                acknowledged = Some(version);
                count += 1;
            }
            count
        };
        while lines.next().is_some_and(|line| see(line) < 150 * (round + 1)) {}
        victim.kill().unwrap();
        // What it said before it died counts; the last line may be cut.
        for line in lines {
            if line.as_ref().is_ok_and(|line| line.len() >= "acknowledged 0".len()) {
                see(line);
            }
        }
        victim.wait().unwrap();
        let newest = acknowledged.expect("it acknowledged something");
        let (_, recovered) = Store::open(directory.path(), real_options()).unwrap();
        let found = leases(&recovered.records);
        for version in newest.saturating_sub(199)..=newest {
            let number = u32::try_from(version % 200).unwrap();
            let expected = lease(number, version, true);
            assert!(found[&expected.address].changed >= expected.changed, "round {round}");
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_never_tried_again() {
    let faults: [fn(&Operation) -> bool; 2] = [
        |operation| matches!(operation, Operation::Write { .. }),
        |operation| matches!(operation, Operation::Sync(_)),
    ];
    for fault in faults {
        let directory = tempfile::tempdir().unwrap();
        let disk = SimulatedDisk::default();
        let (mut store, _) = open(directory.path(), &disk).unwrap();
        store.commit(&[record(0)]).unwrap();
        let met = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&met);
        disk.fail(move |operation| {
            (fault(operation) && counter.fetch_add(1, Ordering::Relaxed) == 0)
                .then(|| io::Error::from_raw_os_error(libc::EIO))
        });
        let first = store.commit(&[record(1)]).expect_err("the disk failed");
        assert!(matches!(first, StoreError::Disk { .. }), "{first}");
        assert_eq!(met.load(Ordering::Relaxed), 1);
        let operations = disk.operations().len();
        // The disk is well again, but the page may be lost: nothing goes on.
        for _ in 0..3 {
            let later = store.commit(&[record(2)]).expect_err("it must not go on");
            assert!(matches!(later, StoreError::FailedBefore { .. }), "{later}");
        }
        assert!(store.begin_snapshot().is_err());
        assert!(!store.snapshot_is_due());
        assert!(store.health().failure.is_some_and(|cause| cause.contains("cannot")));
        assert_eq!(disk.operations().len(), operations, "the disk was touched after the failure");
        drop(store);
        let (_, recovered) = open(directory.path(), &disk).unwrap();
        assert!(recovered.records.contains(&record(0)) && !recovered.records.contains(&record(2)));
    }
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    let before = disk.operations().len();
    store.commit(&(0..64).map(record).collect::<Vec<_>>()).unwrap();
    let operations = disk.operations().split_off(before);
    assert!(
        matches!(&operations[..], [Operation::Write { .. }, Operation::Sync(_)]),
        "{operations:?}"
    );
}

/// No new file can be made or filled; what is there can be written.
fn disk_is_full(operation: &Operation) -> Option<io::Error> {
    match operation {
        Operation::Create(_) => error(libc::ENOSPC),
        Operation::Write { file, .. } if file.ends_with(".tmp") => error(libc::ENOSPC),
        _ => None,
    }
}

#[test]
fn a_full_disk_fails_a_commit_only_when_the_prepared_segments_are_used_up() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let background = StoreOptions { spares_in_background: true, ..options(&disk) };
    let (mut store, _) = Store::open(directory.path(), background).unwrap();
    store.commit(&[record(0)]).unwrap();
    // Poll: the spare is made by another thread.
    while store.health().spares == 0 {
        std::thread::yield_now();
    }
    disk.fail(disk_is_full);
    let mut committed = vec![record(0)];
    let failure = loop {
        let next = record(u32::try_from(committed.len()).unwrap());
        match store.commit(std::slice::from_ref(&next)) {
            Ok(()) => committed.push(next),
            Err(failure) => break failure,
        }
        assert!(committed.len() < 5000, "the disk was not full");
    };
    assert!(matches!(failure, StoreError::NoRoom { .. }), "{failure}");
    assert!(failure.to_string().contains("free space"), "{failure}");
    let health = store.health();
    assert!(health.spare_failure.is_some(), "{health:?}");
    assert_eq!(health.segments, 2, "the spare was not used: {health:?}");
    drop(store);
    // It opens while the disk is full, with everything that was acknowledged.
    let (store, recovered) = open(directory.path(), &disk).unwrap();
    assert_eq!(recovered.records, committed);
    drop(store);
    // And works again when there is room.
    disk.heal();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    store.commit(&[record(9000)]).unwrap();
    assert_eq!(store.health().segments, 3);
}

#[test]
fn a_failed_snapshot_harms_nothing_and_is_not_tried_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    let mut number = 0;
    let mut commit_until_due = |store: &mut Store| {
        let start = number;
        while !store.snapshot_is_due() {
            store.commit(&[record(number)]).unwrap();
            number += 1;
        }
        number - start
    };
    assert!(commit_until_due(&mut store) > 100);
    for failing in ["write", "sync", "drop"] {
        let mut writer = store.begin_snapshot().unwrap();
        disk.fail(move |operation| match operation {
            Operation::Write { file, .. } if failing == "write" && file.starts_with("snapshot") => {
                error(libc::ENOSPC)
            }
            Operation::Sync(file) if failing == "sync" && file.starts_with("snapshot") => {
                error(libc::EIO)
            }
            _ => None,
        });
        let result = writer.write(&[record(0)]);
        if failing == "drop" {
            drop(writer);
        } else {
            assert!(result.and_then(|()| writer.finish()).is_err(), "{failing}");
        }
        disk.heal();
        assert!(commit_until_due(&mut store) > 100, "{failing}");
    }
    assert!(disk.names().iter().any(|name| name.ends_with(".tmp")));
    drop(store);
    let (_, recovered) = open(directory.path(), &disk).unwrap();
    assert_eq!(recovered.records.len(), number as usize);
    assert!(!disk.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", disk.names());
}

#[test]
fn a_snapshot_that_reads_back_wrong_is_never_named() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    store.commit(&[record(0), record(1)]).unwrap();
    let mut writer = store.begin_snapshot().unwrap();
    writer.write(&[record(0), record(1)]).unwrap();
    // The disk gives back another bit than it was given.
    let name = disk.names().into_iter().find(|name| name.ends_with(".tmp")).unwrap();
    disk.edit(&name, |bytes| bytes[20] ^= 1);
    let failure = writer.finish().expect_err("it does not read back");
    assert!(matches!(failure, StoreError::Damaged { .. }), "{failure}");
    assert!(!disk.names().contains(&name.replace(".tmp", "")));
    store.commit(&[record(2)]).unwrap();
}

#[test]
fn time_does_not_go_back_when_the_records_it_came_from_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    let newest = Timestamp::from_seconds(5_000_000);
    store.commit(&[record(1), Record::Time(newest)]).unwrap();
    for _ in 0..4 {
        write_snapshot(&mut store, &[record(1)]);
        store.commit(&[record(2)]).unwrap();
        drop(store);
        let recovered;
        (store, recovered) = open(directory.path(), &disk).unwrap();
        assert_eq!(recovered.newest_time, newest);
    }
    assert!(!disk.names().contains(&segment(1)), "{:?}", disk.names());
}

#[test]
fn options_out_of_range_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for bytes in [0, SEGMENT_BYTES_MIN - 1, u64::MAX] {
        let options = StoreOptions { segment_bytes: bytes, ..StoreOptions::default() };
        let refused = Store::open(directory.path(), options).expect_err("out of range");
        assert!(matches!(refused, StoreError::SegmentSize { .. }), "{refused}");
    }
}

#[test]
fn a_segment_of_another_size_is_read_and_followed_by_one_of_the_new_size() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    for (round, factor) in [1, 3, 2].into_iter().enumerate() {
        let options = StoreOptions { segment_bytes: factor * SEGMENT_BYTES_MIN, ..options(&disk) };
        let (mut store, recovered) = Store::open(directory.path(), options).unwrap();
        assert_eq!(recovered.records.len(), round * 1000);
        for number in 0..1000 {
            let number = u32::try_from(round).unwrap() * 1000 + number;
            store.commit(&[record(number)]).unwrap();
        }
        let newest = store.health().segments;
        let length = disk.contents()[&segment(newest)].len() as u64;
        assert!(length >= factor * SEGMENT_BYTES_MIN, "round {round}");
    }
}
