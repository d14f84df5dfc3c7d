//! Power cuts at every kind of moment, seeded: whatever was acknowledged is there afterwards, and the
//! store opens without an operator (P2, P7).
//!
//! A third of them are kills instead, with the next cut to follow. A cut keeps an arbitrary part of what was not synced, down to single sectors, and an arbitrary
//! number of the unsynced changes of names.

mod store_support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use store_support::{Random, SimulatedDisk, lease, leases, open};
use vestibule_core::{Lease, Record};
use vestibule_dhcpd::clock::ClockMark;
use vestibule_dhcpd::store::Store;

/// Unless [`SEEDS_VARIABLE`] says otherwise: `make crash` tries 2500.
const SEEDS: u64 = 100;
const SEEDS_VARIABLE: &str = "VESTIBULE_POWER_CUT_SEEDS";
const ROUNDS_PER_SEED: u64 = 4;
const ADDRESSES: u64 = 300;

/// What must be there, and what may.
#[derive(Default)]
struct Model {
    acknowledged: BTreeMap<Ipv4Addr, Lease>,
    /// Images of commits that were not acknowledged, `None` for a tombstone.
    in_flight: Vec<(Ipv4Addr, Option<Lease>)>,
    version: u64,
}

impl Model {
    fn commit(&mut self, store: &mut Store, random: &mut Random) -> bool {
        // Now and then a group that spans frames and segments.
        let count = if random.below(12) == 0 { 400 } else { 1 + random.below(40) };
        let records: Vec<Record> = (0..count)
            .map(|_| {
                self.version += 1;
                let number = u32::try_from(random.below(ADDRESSES)).unwrap();
                let lease = lease(number, self.version, random.below(2) == 0);
                if random.below(10) == 0 {
                    Record::LeaseForgotten(lease.address)
                } else {
                    Record::Lease(lease)
                }
            })
            .collect();
        let images = records.iter().map(|record| match record {
            Record::Lease(lease) => (lease.address, Some(lease.clone())),
            Record::LeaseForgotten(address) => (*address, None),
            _ => unreachable!("this test writes leases"),
        });
        if store.commit(&records).is_ok() {
            for (address, image) in images {
                match image {
                    Some(lease) => self.acknowledged.insert(address, lease),
                    None => self.acknowledged.remove(&address),
                };
            }
            true
        } else {
            self.in_flight.extend(images);
            false
        }
    }

    /// Takes over what was recovered, or says which address is wrong.
    fn compare(&mut self, recovered: &[Record]) -> Result<(), String> {
        let found = leases(recovered);
        for number in 0..ADDRESSES {
            let address = lease(u32::try_from(number).unwrap(), 0, false).address;
            let (found, acknowledged) = (found.get(&address), self.acknowledged.get(&address));
            let is_allowed = found == acknowledged
                || self
                    .in_flight
                    .iter()
                    .any(|(other, image)| *other == address && image.as_ref() == found);
            if !is_allowed {
                return Err(format!("{address}: acknowledged {acknowledged:?}, found {found:?}"));
            }
        }
        self.acknowledged = found;
        self.in_flight.clear();
        Ok(())
    }
}

/// Works until the power goes.
fn work(store: &mut Store, model: &mut Model, random: &mut Random) {
    let mut writer = None;
    loop {
        if !model.commit(store, random) {
            return;
        }
        // A snapshot of the book as it is now, written while the journal goes on.
        match writer.take() {
            None if random.below(8) == 0 || store.snapshot_is_due() => {
                let Ok(begun) = store.begin_snapshot() else { return };
                let book: Vec<Record> =
                    model.acknowledged.values().cloned().map(Record::Lease).collect();
                writer = Some((begun, book));
            }
            None => {}
            Some((mut begun, mut book)) if !book.is_empty() => {
                let rest = book.split_off(book.len().min(100));
                if begun.write(&book).is_err() {
                    return;
                }
                writer = Some((begun, rest));
            }
            Some((begun, _)) => {
                let Ok(finished) = begun.finish() else { return };
                if store.snapshot_finished(finished).is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_power_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cuts, mut kills, mut torn, mut from_snapshot, mut cuts_of_starts) = (0, 0, 0, 0, 0);
    let seeds = std::env::var(SEEDS_VARIABLE).map_or(SEEDS, |text| text.parse().unwrap());
    let mut marks_lost = 0;
    for seed in 0..seeds {
        let mut random = Random(seed);
        // The mark of the clock that was kept last, and the one before if nobody was told that it is.
        let mut marks: Vec<Option<ClockMark>> = vec![None];
        let mut model = Model::default();
        let mut disk = SimulatedDisk::default();
        for round in 0..ROUNDS_PER_SEED {
            // Early cuts hit the making of the store, or a start.
            let range = [20, 200, 1000][random.index(3)];
            disk.cut_after(1 + random.index(range));
            match open(directory.path(), &disk) {
                Ok((mut store, recovered)) => {
                    model
                        .compare(&recovered.records)
                        .unwrap_or_else(|wrong| panic!("seed {seed} round {round}: {wrong}"));
                    assert!(marks.contains(&recovered.clock), "seed {seed}: {:?}", recovered.clock);
                    marks_lost += u64::from(marks.last() != Some(&recovered.clock));
                    let mark = ClockMark {
                        boot: format!("boot-{seed}"),
                        since_boot: round,
                        time: recovered.newest_time,
                    };
                    match store.keep_clock(&mark) {
                        Ok(()) => marks = vec![Some(mark)],
                        Err(_) => marks = vec![recovered.clock.clone(), Some(mark)],
                    }
                    torn += u64::from(recovered.report.torn_bytes > 0);
                    from_snapshot += u64::from(recovered.report.snapshot.is_some());
                    assert!(recovered.report.bad_snapshots.is_empty(), "seed {seed}");
                    work(&mut store, &mut model, &mut random);
                }
                // Only the missing power may keep it from opening.
                Err(error) => {
                    assert!(disk.is_cut(), "seed {seed} round {round}: {error}");
                    cuts_of_starts += 1;
                }
            }
            assert!(disk.is_cut(), "seed {seed} round {round}: the work ended before the power");
            cuts += 1;
            if random.below(3) == 0 {
                // A kill: what the next start finds in the page cache it must make durable, because
                // the power may go next.
                disk.only_the_process_died();
                kills += 1;
            } else {
                disk = disk.after_cut(&mut random);
            }
        }
        disk.only_the_process_died();
        let (_, recovered) = open(directory.path(), &disk)
            .unwrap_or_else(|error| panic!("seed {seed}: cannot open after the cut: {error}"));
        torn += u64::from(recovered.report.torn_bytes > 0);
        model.compare(&recovered.records).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    // The test is worth something only if the interesting cases occur in it.
    println!(
        "{cuts} cuts or kills, {kills} kills, {cuts_of_starts} of starts, {torn} torn, {from_snapshot} snapshots, \
         {marks_lost} marks of the clock in flight"
    );
    assert!(torn >= 4 && from_snapshot >= 20 && cuts_of_starts >= 10);
}

#[test]
fn what_a_start_gives_back_survives_the_next_cut_though_only_the_page_cache_had_it() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (0..9).map(|number| Record::Lease(lease(number, 1, true))).collect();
    for seed in 0..20 {
        let disk = SimulatedDisk::default();
        let (mut store, _) = open(directory.path(), &disk).unwrap();
        store.commit(&records[..1]).unwrap();
        // Killed between the write and its sync.
        disk.cut_after(1);
        store.commit(&records).expect_err("killed");
        drop(store);
        disk.only_the_process_died();
        let (store, recovered) = open(directory.path(), &disk).unwrap();
        assert_eq!(recovered.records, records);
        // The power goes before anything else is committed; by then a reply may be out.
        drop(store);
        let (_, again) = open(directory.path(), &disk.after_cut(&mut Random(seed))).unwrap();
        assert_eq!(again.records, records, "seed {seed}");
    }
}
