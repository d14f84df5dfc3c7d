//! What a snapshot of a million leases costs the commits beside it.
//!
//! The real store on a real disk, and behind it the real snapshot thread, which asks the real core page by
//! page. Groups of renewals are committed one after the other, at a steady pace, before, during and after
//! the snapshot; what is timed is what the commit thread does for a group: write, sync, and what has to
//! be done between two groups.

use super::costs::{NOW, Samples};
use super::daemon::DaemonError;
use super::population::{self, Draw};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_core::{Record, Server};
use vestibule_dhcpd::commit::{SnapshottingStore, Stable as _};
use vestibule_dhcpd::door::{Call, Door};
use vestibule_dhcpd::metrics::Metrics;
use vestibule_dhcpd::store::{Store, StoreOptions};

/// Renewals in a group.
pub const GROUP: u32 = 64;

/// From the beginning of a group to that of the next: 32,000 renewals a second.
const PACE: Duration = Duration::from_millis(2);

/// Bytes of journal until the snapshot is due: some seconds of commits before it.
const JOURNAL_BYTES: u64 = 24 * 1024 * 1024;

/// Groups after the snapshot.
const GROUPS_AFTER: usize = 500;

/// What a group took.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// While no snapshot was written.
    pub without: Samples,
    /// While one was written.
    pub beside: Samples,
    /// The group behind which it was begun.
    pub begun: Duration,
    /// The group behind which it was taken into use.
    pub ended: Duration,
    /// How long it was written.
    pub writing: Duration,
}

/// Commits groups of renewals of `residents` devices, into a store in `directory`, until a snapshot of them
/// all has come and gone.
///
/// # Errors
/// [`DaemonError`].
pub fn beside_a_snapshot(directory: &Path, residents: u32) -> Result<Groups, DaemonError> {
    let options =
        StoreOptions { snapshot_journal_bytes_min: JOURNAL_BYTES, ..StoreOptions::default() };
    let (store, _) = Store::open(&directory.join("beside"), options)?;
    let records = population::by_address(residents);
    let records = records.map(|device| Record::Lease(population::lease(device, NOW, 60)));
    let core = Server::new(population::configuration(), [population::SERVER], records, NOW);
    let (door, mut calls) = Door::new(Arc::new(|| {}));
    let decide = std::thread::spawn(move || {
        while let Some(call) = calls.blocking_recv() {
            match call {
                Call::Query(query, answer) => {
                    let _gone = answer.send(core.query(NOW, &query));
                }
                Call::Barrier(done) => {
                    let _gone = done.send(());
                }
                Call::Command(..) | Call::Trace { .. } => {}
            }
        }
    });
    let mut stable = SnapshottingStore::new(store, door, Arc::new(Metrics::new()));
    let mut draw = Draw::new(1);
    let mut groups = Groups::default();
    let mut begun = None;
    let mut left = GROUPS_AFTER;
    while left > 0 {
        let records: Vec<Record> = (0..GROUP)
            .map(|_| Record::Lease(population::lease(draw.below(residents), NOW, 0)))
            .collect();
        let was_writing = stable.is_writing_snapshot();
        let started = Instant::now();
        stable.commit(&records)?;
        stable.between_groups()?;
        let took = started.elapsed();
        match (was_writing, stable.is_writing_snapshot()) {
            (false, false) => groups.without.add(took),
            (true, true) => groups.beside.add(took),
            (false, true) => {
                groups.begun = took;
                begun = Some(started);
            }
            (true, false) => {
                groups.ended = took;
                groups.writing = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
            }
        }
        if begun.is_some() && !stable.is_writing_snapshot() {
            left -= 1;
        }
        std::thread::sleep(PACE.saturating_sub(took));
    }
    drop(stable);
    // It ends when the last door is gone.
    let _ended = decide.join();
    Ok(groups)
}
