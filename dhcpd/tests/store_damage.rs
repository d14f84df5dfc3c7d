//! Damage: at every byte of the journal's end, in its middle, to whole files. What was acknowledged is
//! there, or the store is refused, naming file and byte, with nothing changed (P2, P8).

mod store_support;

use std::path::Path;
use store_support::{
    SimulatedDisk, lease, leases, open, options, registration, segment, snapshot, write_snapshot,
};
use vestibule_core::{Record, Timestamp};
use vestibule_dhcpd::store::{Store, StoreError, StoreOptions, check_store};

/// Where the first frame of a segment begins.
const FRAMES: usize = 4096;

fn record(number: u32) -> Record {
    Record::Lease(lease(number, 1, false))
}

/// Where each frame of a segment begins, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![FRAMES];
    let mut offset = FRAMES;
    while bytes[offset..].starts_with(b"VJF1") {
        let length = u32::from_le_bytes(bytes[offset + 4..offset + 8].try_into().unwrap());
        offset += (48 + length as usize).next_multiple_of(8);
        offsets.push(offset);
    }
    offsets
}

/// A store with one commit for each number from 0 on.
fn store_of(directory: &Path, commits: u32) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory, &disk).unwrap();
    for number in 0..commits {
        store.commit(&[record(number)]).unwrap();
    }
    drop(store);
    disk
}

/// How many of `record(0)`, `record(1)`, … there are, which must be all there is.
fn prefix_length(records: &[Record]) -> u32 {
    let length = u32::try_from(records.len()).unwrap();
    assert!((0..length).all(|number| records[number as usize] == record(number)));
    length
}

/// The store is refused, and nothing is changed by that.
fn refused(directory: &Path, disk: &SimulatedDisk) -> StoreError {
    let before = disk.contents();
    let error = open(directory, disk).expect_err("this must be refused");
    assert!(disk.contents() == before, "something was changed: {error}");
    assert!(check_store(directory, disk).is_err());
    error
}

#[test]
fn a_write_that_ends_at_any_byte_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let whole = store_of(directory.path(), 4);
    let bytes = whole.contents()[&segment(1)].clone();
    let offsets = frames(&bytes);
    // The last two commits were being written; the first two are acknowledged.
    for end in offsets[2]..offsets[4] {
        let whole_frames = offsets[1..].iter().filter(|offset| **offset <= end).count();
        type Tear = fn(&mut Vec<u8>, usize);
        let tears: [(&str, Tear); 3] = [
            ("zero from here", |bytes, end| bytes[end..].fill(0)),
            ("the file ends here", |bytes, end| bytes.truncate(end)),
            ("other bytes from here", |bytes, end| bytes[end..].fill(0xa5)),
        ];
        for (tear, apply) in tears {
            let disk = whole.copy();
            disk.edit(&segment(1), |bytes| apply(bytes, end));
            let (mut store, recovered) = open(directory.path(), &disk)
                .unwrap_or_else(|error| panic!("{tear} {end}: {error}"));
            let found = prefix_length(&recovered.records);
            // The last bytes of a frame may be padding, which says nothing.
            assert!((whole_frames..=whole_frames + 1).contains(&(found as usize)), "{tear} {end}");
            // And it goes on behind them.
            for number in found..6 {
                store.commit(&[record(number)]).unwrap();
            }
            drop(store);
            let (_, recovered) = open(directory.path(), &disk).unwrap();
            assert_eq!(prefix_length(&recovered.records), 6, "{tear} {end}");
            assert_eq!(recovered.report.torn_bytes, 0);
            assert_eq!(disk.contents()[&segment(1)].len(), bytes.len());
        }
    }
}

#[test]
fn a_flipped_bit_in_the_last_frame_is_a_torn_tail_and_before_it_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let whole = store_of(directory.path(), 5);
    let offsets = frames(&whole.contents()[&segment(1)]);
    for position in FRAMES..offsets[5] {
        let disk = whole.copy();
        disk.edit(&segment(1), |bytes| bytes[position] ^= 0x10);
        let frame = offsets.iter().filter(|offset| **offset <= position).count() - 1;
        match open(directory.path(), &disk) {
            Ok((_, recovered)) => {
                // The last frame, or a byte of padding that says nothing.
                let found = prefix_length(&recovered.records);
                assert!(frame == 4 && found == 4 || found == 5, "byte {position}");
            }
            Err(StoreError::Damaged { file, offset, .. }) => {
                assert!(frame < 4, "byte {position}");
                assert_eq!(file.file_name().unwrap().to_str(), Some(&*segment(1)));
                assert_eq!(offset, offsets[frame] as u64, "byte {position}");
            }
            Err(error) => panic!("byte {position}: {error}"),
        }
    }
}

#[test]
fn damage_in_the_middle_is_refused_by_file_and_byte() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 2000);
    assert!(disk.names().contains(&segment(3)), "{:?}", disk.names());
    for number in [1, 2, 3] {
        let damaged = disk.copy();
        let offsets = frames(&damaged.contents()[&segment(number)]);
        let offset = offsets[offsets.len() / 2];
        damaged.edit(&segment(number), |bytes| bytes[offset + 60] ^= 1);
        let error = refused(directory.path(), &damaged);
        let text = error.to_string();
        assert!(text.contains(&segment(number)) && text.contains(&format!("byte {offset}")));
        assert!(text.contains("nothing was changed"), "{text}");
    }
    // The last frame of a segment that another follows was acknowledged too.
    let offsets = frames(&disk.contents()[&segment(1)]);
    let last = offsets[offsets.len() - 2];
    disk.edit(&segment(1), |bytes| bytes[last..last + 8].fill(0));
    let error = refused(directory.path(), &disk);
    assert!(matches!(error, StoreError::Damaged { offset, .. } if offset == last as u64));
}

#[test]
fn a_flipped_bit_in_a_header_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 2);
    for name in ["META".to_owned(), segment(1)] {
        for byte in 0..64 {
            let damaged = disk.copy();
            damaged.edit(&name, |bytes| bytes[byte] ^= 4);
            let error = refused(directory.path(), &damaged);
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 3000);
    let segments: Vec<String> =
        disk.names().into_iter().filter(|name| name.starts_with("journal-")).collect();
    assert!(segments.len() >= 4);
    for name in segments.iter().chain(["META".to_owned()].iter()) {
        let damaged = disk.copy();
        damaged.delete(name);
        let error = refused_without_check(directory.path(), &damaged);
        let StoreError::Missing { file, .. } = &error else { panic!("{name}: {error}") };
        assert_eq!(file.file_name().unwrap().to_str(), Some(name.as_str()));
    }
}

fn refused_without_check(directory: &Path, disk: &SimulatedDisk) -> StoreError {
    let before = disk.contents();
    let error = open(directory, disk).expect_err("this must be refused");
    assert!(disk.contents() == before, "something was changed: {error}");
    error
}

#[test]
fn a_bad_newest_snapshot_gives_way_to_the_one_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    let all: Vec<Record> = (0..900).map(record).collect();
    for (round, records) in all.chunks(300).enumerate() {
        store.commit(records).unwrap();
        if round > 0 {
            write_snapshot(&mut store, &all[..(round + 1) * 300]);
        }
    }
    store.commit(&[Record::Registration(registration(1, 5))]).unwrap();
    drop(store);
    let snapshots: Vec<String> =
        disk.names().into_iter().filter(|name| name.starts_with("snapshot-")).collect();
    let [previous, newest] = snapshots.as_slice() else { panic!("{snapshots:?}") };
    let length = disk.contents()[newest].len();
    for position in [0, 30, 63, FRAMES, FRAMES + 20, FRAMES + 500, length - 40, length - 6] {
        let damaged = disk.copy();
        damaged.edit(newest, |bytes| bytes[position] ^= 1);
        let (mut store, recovered) = open(directory.path(), &damaged).unwrap();
        assert_eq!(leases(&recovered.records).len(), 900);
        // And the registration, and the time that the snapshot states.
        assert_eq!(recovered.records.len(), 902);
        assert_eq!(recovered.newest_time, Timestamp::from_seconds(1_000_005));
        let report = recovered.report.to_string();
        assert!(report.contains("WARNING"), "{report}");
        let names = damaged.names();
        assert!(names.contains(previous) && names.contains(&format!("{newest}.bad")));
        // The next good snapshot ends the affair.
        store.commit(&[record(1000)]).unwrap();
        write_snapshot(&mut store, &recovered.records);
        assert!(!damaged.names().contains(&format!("{newest}.bad")));
    }
    // With both bad, the journal does not reach back far enough.
    for name in [previous, newest] {
        disk.edit(name, |bytes| bytes.truncate(FRAMES));
    }
    let error = refused(directory.path(), &disk);
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[test]
fn a_bad_first_snapshot_gives_way_to_the_whole_journal() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    let all: Vec<Record> = (0..50).map(record).collect();
    store.commit(&all).unwrap();
    write_snapshot(&mut store, &all);
    drop(store);
    disk.edit(&snapshot(2), |bytes| bytes[FRAMES + 90] ^= 1);
    let (_, recovered) = open(directory.path(), &disk).unwrap();
    assert_eq!(prefix_length(&recovered.records), 50);
    assert_eq!(recovered.report.snapshot, None);
}

#[test]
fn frames_of_an_earlier_use_of_a_segment_never_chain() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    // Every frame equally long, so that frames of different uses stand at the same offsets.
    for round in 0..12_u64 {
        for number in 0..350 {
            store.commit(&[Record::Lease(lease(number, round, false))]).unwrap();
        }
        let book: Vec<Record> =
            (0..350).map(|number| Record::Lease(lease(number, round, false))).collect();
        write_snapshot(&mut store, &book);
    }
    store.commit(&[record(7)]).unwrap();
    drop(store);
    let last = disk.names().into_iter().rfind(|name| name.starts_with("journal-")).unwrap();
    let bytes = disk.contents()[&last].clone();
    let frame = frames(&bytes)[1] - FRAMES;
    assert!(bytes[FRAMES + frame..].starts_with(b"VJF1"), "this segment was not used before");
    let (mut store, recovered) = open(directory.path(), &disk).unwrap();
    let found = leases(&recovered.records);
    for number in 0..350 {
        let version = if number == 7 { 1 } else { 11 };
        let expected = lease(number, version, false);
        assert_eq!(found[&expected.address], expected);
    }
    store.commit(&[record(8)]).unwrap();
    drop(store);
    let (_, recovered) = open(directory.path(), &disk).unwrap();
    assert_eq!(leases(&recovered.records)[&lease(8, 0, false).address], lease(8, 1, false));
}

#[test]
fn a_torn_group_that_spans_segments_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    store.commit(&[record(0)]).unwrap();
    let group: Vec<Record> = (1..400).map(|number| Record::Lease(lease(number, 1, true))).collect();
    store.commit(&group).unwrap();
    drop(store);
    let last = disk.names().into_iter().rfind(|name| name.starts_with("journal-")).unwrap();
    assert!(last >= segment(3), "{last}");
    // The first frame of the last segment is the group's last one.
    disk.edit(&last, |bytes| bytes[FRAMES + 512..FRAMES + 1024].fill(0));
    let (mut store, recovered) = open(directory.path(), &disk).unwrap();
    assert!(recovered.report.torn_bytes > 0, "{}", recovered.report);
    assert!(recovered.report.to_string().contains("unfinished"));
    assert!(recovered.records.contains(&record(0)));
    store.commit(&[record(500)]).unwrap();
    drop(store);
    let (_, recovered) = open(directory.path(), &disk).unwrap();
    assert!(recovered.records.contains(&record(500)));
}

#[test]
fn a_later_frame_of_a_torn_group_is_no_damage_and_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let options = || StoreOptions { segment_bytes: 4 << 20, ..options(&disk) };
    let (mut store, _) = Store::open(directory.path(), options()).unwrap();
    store.commit(&[record(0)]).unwrap();
    // One group of several frames, all in one segment.
    let group: Vec<Record> =
        (1..3000).map(|number| Record::Lease(lease(number, 1, true))).collect();
    store.commit(&group).unwrap();
    drop(store);
    let bytes = disk.contents()[&segment(1)].clone();
    let offsets = frames(&bytes);
    assert!(offsets.len() >= 5, "{offsets:?}");
    // Its first frame is torn, the others are whole.
    let torn = offsets[1] + 100;
    disk.edit(&segment(1), |bytes| bytes[torn..torn + 512].fill(0));
    let (mut store, recovered) = Store::open(directory.path(), options()).unwrap();
    assert_eq!(recovered.records, [record(0)]);
    assert_eq!(recovered.report.torn_bytes, (offsets[offsets.len() - 1] - offsets[1]) as u64);
    // The same records again make the very frame that was torn. What stood behind it is gone.
    let count = u32::from_le_bytes(bytes[offsets[1] + 32..offsets[1] + 36].try_into().unwrap());
    let again = &group[..count as usize];
    store.commit(again).unwrap();
    drop(store);
    let now = disk.contents()[&segment(1)].clone();
    assert!(now[offsets[1]..offsets[2]] == bytes[offsets[1]..offsets[2]], "not the same frame");
    let (_, recovered) = Store::open(directory.path(), options()).unwrap();
    assert_eq!(recovered.records.len(), 1 + again.len());
}

#[test]
fn a_store_of_a_newer_program_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 3);
    for name in ["META".to_owned(), segment(1)] {
        let newer = disk.copy();
        // Format 3, which readers of format 2 on may read; the rest may mean anything then.
        newer.edit(&name, |bytes| {
            bytes[8..12].copy_from_slice(&3_u32.to_le_bytes());
            bytes[12..16].copy_from_slice(&2_u32.to_le_bytes());
            bytes[40..64].fill(0x77);
        });
        let error = refused(directory.path(), &newer);
        assert!(matches!(error, StoreError::Newer { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("newer version") && text.contains("format 2"), "{text}");
    }
}

#[test]
fn files_of_another_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 3);
    let other = store_of(directory.path(), 3);
    let theirs = other.contents()[&segment(1)].clone();
    disk.edit(&segment(1), |bytes| *bytes = theirs);
    let error = refused(directory.path(), &disk);
    assert!(error.to_string().contains("another store"), "{error}");
}
