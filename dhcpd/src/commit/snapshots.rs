//! Snapshots beside the journal: started between two groups, written on a thread of their own.
//!
//! The snapshot thread asks the core for the book page by page, between packets, while the server goes
//! on. A page may be ahead of the journal; therefore a snapshot is finished only after a barrier that
//! lies behind its last page: then everything in it is durable anyway. What changes while it is
//! written stands in the journal from the snapshot's beginning on, and is replayed over it.

use super::barrier::Stable;
use super::limits::SNAPSHOT_PAGE;
use crate::door::{Door, DoorError};
use crate::store::{FinishedSnapshot, SnapshotWriter, Store, StoreError};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Instant;
use vestibule_core::{LeaseFilter, Query, QueryAnswer, Record};

/// The store, and the snapshot that is being written.
#[derive(Debug)]
pub struct SnapshottingStore {
    store: Store,
    door: Door,
    running: Option<Receiver<Result<FinishedSnapshot, SnapshotFailure>>>,
}

/// Why a snapshot was not finished. The journal is whole without it.
#[derive(Debug)]
enum SnapshotFailure {
    Store(StoreError),
    Door(DoorError),
}

impl From<StoreError> for SnapshotFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DoorError> for SnapshotFailure {
    fn from(error: DoorError) -> Self {
        Self::Door(error)
    }
}

impl SnapshottingStore {
    /// A store whose snapshots are filled through `door`.
    #[must_use]
    pub const fn new(store: Store, door: Door) -> Self {
        Self { store, door, running: None }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let writer = match self.store.begin_snapshot() {
            Ok(writer) => writer,
            Err(error) => return self.survive("a snapshot cannot be begun", error),
        };
        let door = self.door.clone();
        let (sender, receiver) = mpsc::channel();
        let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            // A receiver that is gone means that the server is ending.
            let _gone = sender.send(write(writer, &door));
        });
        match spawned {
            Ok(_) => self.running = Some(receiver),
            Err(error) => {
                tracing::error!(%error, "no thread for a snapshot; the journal goes on without it");
            }
        }
        Ok(())
    }

    fn take_result(&mut self) -> Result<(), StoreError> {
        let Some(running) = &self.running else { return Ok(()) };
        let result = match running.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(SnapshotFailure::Door(DoorError::Closed)),
            Ok(result) => result,
        };
        self.running = None;
        match result {
            Ok(finished) => {
                if let Err(error) = self.store.snapshot_finished(finished) {
                    return self.survive("old files cannot be removed", error);
                }
            }
            Err(SnapshotFailure::Door(error)) => {
                tracing::info!(%error, "snapshot given up; the journal is whole without it");
            }
            Err(SnapshotFailure::Store(error)) => {
                return self.survive("a snapshot failed", error);
            }
        }
        Ok(())
    }

    /// A snapshot that goes wrong costs disk space and nothing else, unless the journal failed with it.
    fn survive(&self, what: &str, error: StoreError) -> Result<(), StoreError> {
        if self.store.health().failure.is_some() {
            return Err(error);
        }
        tracing::error!(
            %error,
            "{what}; the journal is whole without it, and grows until a later try succeeds"
        );
        Ok(())
    }
}

impl Stable for SnapshottingStore {
    type Error = StoreError;

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.store.commit(records)
    }

    fn frame_number(&self) -> u64 {
        self.store.frame_number()
    }

    fn between_groups(&mut self) -> Result<(), StoreError> {
        self.take_result()?;
        if self.running.is_none() && self.store.snapshot_is_due() {
            self.begin()?;
        }
        Ok(())
    }
}

/// Writes the whole book into a snapshot.
fn write(mut writer: SnapshotWriter, door: &Door) -> Result<FinishedSnapshot, SnapshotFailure> {
    let started = Instant::now();
    let mut records_written = 0;
    let mut after = None;
    loop {
        let query = Query::Leases { after, limit: SNAPSHOT_PAGE, filter: LeaseFilter::All };
        let QueryAnswer::Leases { leases, next } = door.query_blocking(query)? else {
            return Err(DoorError::Closed.into());
        };
        let records: Vec<Record> =
            leases.into_iter().map(|view| Record::Lease(view.lease)).collect();
        records_written += records.len();
        writer.write(&records)?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let query = Query::Registrations { after, limit: SNAPSHOT_PAGE };
        let QueryAnswer::Registrations { registrations, next } = door.query_blocking(query)? else {
            return Err(DoorError::Closed.into());
        };
        let records: Vec<Record> = registrations.into_iter().map(Record::Registration).collect();
        records_written += records.len();
        writer.write(&records)?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    door.barrier_blocking()?;
    let finished = writer.finish()?;
    tracing::info!(
        records = records_written,
        milliseconds = started.elapsed().as_millis(),
        "snapshot written"
    );
    Ok(finished)
}
