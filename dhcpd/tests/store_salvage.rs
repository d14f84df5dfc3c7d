//! Salvage: a store that a start refuses is made fit to be opened; what could be read is there, what
//! could not is told, and the originals are kept.

mod store_support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use store_support::{
    Random, SimulatedDisk, lease, leases, open, options, registration, segment, snapshot,
    write_snapshot,
};
use vestibule_core::{HoldOff, Lease, Record, Timestamp};
use vestibule_dhcpd::store::{
    Damage, Examination, SalvageReport, SalvageTerms, Store, StoreError, examine, salvage,
};

const FRAMES: usize = 4096;
const NOW: Timestamp = Timestamp::from_seconds(9_000_000);
/// Leases of these tests last about a million seconds, so this is never the longest.
const TERMS: SalvageTerms = SalvageTerms { longest_seconds: 60, now: NOW };

/// Each commit renews one address, so that every frame has a time of its own.
fn renewal(version: u64) -> Lease {
    lease(u32::try_from(version % 97).unwrap(), version, version.is_multiple_of(7))
}

/// A store with commits 1 to `commits`, commit N in frame N.
fn store_of(directory: &Path, commits: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory, &disk).unwrap();
    for version in 1..=commits {
        store.commit(&[Record::Lease(renewal(version))]).unwrap();
    }
    disk
}

/// What the book is after these commits.
fn book(versions: impl Iterator<Item = u64>) -> BTreeMap<Ipv4Addr, Lease> {
    versions.map(renewal).map(|lease| (lease.address, lease)).collect()
}

/// Where each frame of a segment begins, and its number.
fn frames(bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut frames = Vec::new();
    let mut offset = FRAMES;
    while bytes.get(offset..).is_some_and(|rest| rest.starts_with(b"VJF1")) {
        let length = u32::from_le_bytes(bytes[offset + 4..offset + 8].try_into().unwrap());
        let number = u64::from_le_bytes(bytes[offset + 16..offset + 24].try_into().unwrap());
        frames.push((offset, number));
        offset += (48 + length as usize).next_multiple_of(8);
    }
    frames
}

fn damage(directory: &Path, disk: &SimulatedDisk) -> Damage {
    let before = disk.contents();
    let Examination::Damaged(damage) = examine(directory, disk).unwrap() else {
        panic!("it counts as sound")
    };
    assert!(disk.contents() == before, "the check changed something");
    damage
}

/// Salvages, and opens it: what the report says, and the book.
fn salvaged(directory: &Path, disk: &SimulatedDisk) -> (SalvageReport, Store, Vec<Record>) {
    let damage = damage(directory, disk);
    let report = salvage(directory, &options(disk), TERMS).unwrap().expect("a salvage");
    assert_eq!((&report.faults, &report.lost), (&damage.faults, &damage.lost));
    assert_eq!((report.frames, report.leases), (damage.frames, damage.leases));
    assert!(salvage(directory, &options(disk), TERMS).unwrap().is_none(), "it is sound now");
    let (store, recovered) = open(directory, disk).unwrap();
    assert!(recovered.report.bad_snapshots.is_empty());
    (report, store, recovered.records)
}

fn hold_off(records: &[Record]) -> Option<HoldOff> {
    records.iter().find_map(|record| match record {
        Record::HoldOff(hold_off) => Some(*hold_off),
        _ => None,
    })
}

#[test]
fn one_flipped_bit_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 900);
    let mut random = Random(1);
    let mut flipped = 0;
    for number in [1, 2, 3] {
        let bytes = disk.contents()[&segment(number)].clone();
        let all = frames(&bytes);
        for _ in 0..40 {
            // Any frame but the journal's last.
            let last = if number == 3 { all.len() - 1 } else { all.len() };
            let (offset, frame) = all[random.index(last)];
            let length = u32::from_le_bytes(bytes[offset + 4..offset + 8].try_into().unwrap());
            let bit = random.index((48 + length as usize) * 8);
            if (44 * 8..48 * 8).contains(&bit) {
                // Padding, which nobody reads.
                continue;
            }
            let damaged = disk.copy();
            damaged.edit(&segment(number), |bytes| bytes[offset + bit / 8] ^= 1 << (bit % 8));
            let original = damaged.contents()[&segment(number)].clone();
            let (report, _, records) = salvaged(directory.path(), &damaged);
            assert_eq!((report.hold_off, report.lost.len()), (None, 0), "frame {frame} bit {bit}");
            assert_eq!(report.frames, 900);
            assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
            assert_eq!(report.faults[0].offset, (offset + bit / 8) as u64);
            assert_eq!(leases(&records), book(1..=900));
            let copy = report.copies[0].file_name().unwrap().to_str().unwrap();
            assert!(damaged.contents()[copy] == original, "the copy is not the original");
            flipped += 1;
        }
    }
    assert!(flipped > 100);
}

#[test]
fn damaged_sectors_lose_the_frames_that_they_touch_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 900);
    let mut random = Random(2);
    for round in 0..60 {
        let number = 1 + random.below(3);
        let bytes = disk.contents()[&segment(number)].clone();
        let all = frames(&bytes);
        // Not the journal's last frame: its loss cannot be told from a torn tail.
        let end = if number == 3 { all[all.len() - 1].0 } else { all[all.len() - 1].0 + 1 };
        let from = FRAMES + random.index((end - FRAMES) / 512) * 512;
        let to = (from + 512 * (1 + random.index(4))).min(end);
        let fill = if round % 2 == 0 { 0 } else { 0x5a };
        let damaged = disk.copy();
        damaged.edit(&segment(number), |bytes| bytes[from..to].fill(fill));
        let ends = all.iter().skip(1).map(|(offset, _)| *offset).chain([usize::MAX]);
        let touched: BTreeSet<u64> = all
            .iter()
            .zip(ends)
            .filter(|((offset, _), end)| *offset < to && *end > from)
            .map(|((_, number), _)| *number)
            .collect();
        let (first, last) = (*touched.first().unwrap(), *touched.last().unwrap());
        let (report, mut store, records) = salvaged(directory.path(), &damaged);
        let [lost] = report.lost.as_slice() else { panic!("{:?}", report.lost) };
        assert_eq!((lost.first, lost.last), (first, Some(last)), "round {round}");
        assert_eq!(report.frames, 900 - (last - first + 1));
        let kept = (1..first).chain(last + 1..=900);
        assert_eq!(leases(&records), book(kept));
        // By the first frame behind it.
        let since = renewal(last + 1).changed;
        assert_eq!(
            (lost.after, lost.before),
            (book(1..first).values().map(|l| l.changed).max(), Some(since))
        );
        let until = since.plus_seconds(1_000_000);
        assert_eq!(hold_off(&records), Some(HoldOff { since, until }));
        // Certain is what is younger than the loss.
        let certain: BTreeSet<Ipv4Addr> = book(last + 2..=900).into_keys().collect();
        let uncertain: Vec<Ipv4Addr> =
            leases(&records).into_keys().filter(|address| !certain.contains(address)).collect();
        assert_eq!(report.uncertain, uncertain);

        // The hold-off outlives snapshots and starts, and the journal goes on.
        store.commit(&[Record::Lease(renewal(1000))]).unwrap();
        for _ in 0..3 {
            write_snapshot(&mut store, &records[..3]);
            store.commit(&[Record::Lease(renewal(1001))]).unwrap();
        }
        drop(store);
        let (_, recovered) = open(directory.path(), &damaged).unwrap();
        assert_eq!(hold_off(&recovered.records), Some(HoldOff { since, until }));
        assert_eq!(leases(&recovered.records)[&renewal(1001).address], renewal(1001));
    }
}

#[test]
fn headers_and_missing_files_are_salvaged_as_far_as_they_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 900);
    let contents = disk.contents();
    let of_segment =
        |number: u64| frames(&contents[&segment(number)]).into_iter().map(|frame| frame.1);
    let case = |edit: &dyn Fn(&SimulatedDisk)| {
        let damaged = disk.copy();
        edit(&damaged);
        let (report, _, records) = salvaged(directory.path(), &damaged);
        (report, records)
    };
    // What a file says of itself is known from its frames, and which store it is from the others.
    for name in ["META".to_owned(), segment(1), segment(2)] {
        let (report, records) = case(&|disk| disk.edit(&name, |bytes| bytes[..64].fill(7)));
        assert_eq!((report.lost.len(), report.hold_off), (0, None), "{name}");
        assert_eq!(leases(&records), book(1..=900));
    }
    let (report, records) = case(&|disk| disk.delete("META"));
    assert_eq!((report.lost.len(), leases(&records)), (0, book(1..=900)));
    // A segment in the middle.
    let (report, records) = case(&|disk| disk.delete(&segment(2)));
    let (first, last) = (of_segment(2).min().unwrap(), of_segment(2).max().unwrap());
    assert_eq!((report.lost[0].first, report.lost[0].last), (first, Some(last)));
    assert_eq!(leases(&records), book((1..first).chain(last + 1..=900)));
    // The newest: nothing says how much was in it, nor when.
    let newest = contents.keys().filter(|name| name.starts_with("journal-")).count() as u64;
    let (report, records) = case(&|disk| disk.delete(&segment(newest)));
    let first = of_segment(newest).min().unwrap();
    assert_eq!((report.lost[0].first, report.lost[0].last), (first, None));
    assert_eq!(report.hold_off.map(|hold_off| hold_off.since), Some(NOW));
    assert_eq!(leases(&records), book(1..first));
}

#[test]
fn two_bad_snapshots_leave_what_the_journal_still_has() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(directory.path(), &disk).unwrap();
    for version in 1..=300 {
        store.commit(&[Record::Lease(renewal(version))]).unwrap();
        if version % 100 == 0 {
            let records: Vec<Record> = book(1..=version).into_values().map(Record::Lease).collect();
            write_snapshot(&mut store, &records);
        }
    }
    store.commit(&[Record::Registration(registration(1, 301))]).unwrap();
    drop(store);
    for name in [snapshot(3), snapshot(4)] {
        disk.edit(&name, |bytes| bytes[FRAMES + 90] ^= 0xff);
    }
    let (report, _, records) = salvaged(directory.path(), &disk);
    // Segments 1 and 2 had been let go with the snapshots that held what was in them.
    assert_eq!((report.lost[0].first, report.lost[0].last), (1, Some(200)));
    assert_eq!(report.hold_off.map(|hold_off| hold_off.since), Some(renewal(201).changed));
    assert_eq!(leases(&records), book(201..=300));
    assert_eq!((report.registrations, report.uncertain_registrations), (1, 0));
}

#[test]
fn a_salvage_that_is_cut_short_can_be_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let intact = store_of(directory.path(), 900);
    let mut cuts = 0;
    for seed in 0..4 {
        let mut random = Random(seed);
        let damaged = intact.copy();
        let (offset, frame) = frames(&damaged.contents()[&segment(2)])[5];
        damaged.edit(&segment(2), |bytes| bytes[offset..offset + 64].fill(0));
        for operations in 1.. {
            let disk = damaged.copy();
            disk.cut_after(operations);
            let result = salvage(directory.path(), &options(&disk), TERMS);
            if !disk.is_cut() {
                result.unwrap();
                break;
            }
            cuts += 1;
            let disk = disk.after_cut(&mut random);
            // Refused as before, or whole: never something in between.
            match open(directory.path(), &disk) {
                Ok((_, recovered)) => {
                    let kept = book((1..frame).chain(frame + 1..=900));
                    assert_eq!(leases(&recovered.records), kept);
                    assert!(hold_off(&recovered.records).is_some());
                }
                Err(_) => {
                    let (report, _, records) = salvaged(directory.path(), &disk);
                    assert_eq!(report.lost[0].first, frame, "{:?}", report.lost);
                    assert_eq!(leases(&records), book((1..frame).chain(frame + 1..=900)));
                    assert!(hold_off(&records).is_some());
                }
            }
        }
    }
    println!("{cuts} cuts of a salvage");
    assert!(cuts >= 40, "{cuts}");
}

#[test]
fn what_needs_no_salvage_or_cannot_be_judged_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let disk = store_of(directory.path(), 20);
    let before = disk.contents();
    assert!(salvage(directory.path(), &options(&disk), TERMS).unwrap().is_none());
    assert!(disk.contents() == before);
    // In use.
    let (store, _) = open(directory.path(), &disk).unwrap();
    for refused in [
        salvage(directory.path(), &options(&disk), TERMS).err(),
        examine(directory.path(), &disk).err(),
    ] {
        assert!(matches!(refused, Some(StoreError::Locked { .. })), "{refused:?}");
    }
    drop(store);
    // No store, and one of which nothing says which it is.
    let nothing = SimulatedDisk::default();
    let refused = examine(directory.path(), &nothing).err();
    assert!(matches!(refused, Some(StoreError::Missing { .. })), "{refused:?}");
    for name in disk.names() {
        disk.edit(&name, |bytes| bytes[..64].fill(0xff));
    }
    let before = disk.contents();
    let refused = salvage(directory.path(), &options(&disk), TERMS).err();
    assert!(matches!(refused, Some(StoreError::Damaged { .. })), "{refused:?}");
    assert!(disk.contents() == before);
}
