//! Snapshots beside the journal: started between two groups, written on a thread of their own.
//!
//! The snapshot thread asks the core for the book page by page, between packets, while the server goes
//! on. A page may be ahead of the journal; therefore a snapshot is finished only after a barrier that
//! lies behind its last page: then everything in it is durable anyway. What changes while it is
//! written stands in the journal from the snapshot's beginning on, and is replayed over it.

use super::barrier::Stable;
use super::limits::SNAPSHOT_PAGE;
use crate::door::{Door, DoorError};
use crate::metrics::Metrics;
use crate::store::{FinishedSnapshot, OldFiles, SnapshotWriter, Store, StoreError};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::Instant;
use vestibule_core::{LeaseFilter, Query, QueryAnswer, Record};

/// The store, and the snapshot that is being written.
#[derive(Debug)]
pub struct SnapshottingStore {
    store: Store,
    door: Door,
    metrics: Arc<Metrics>,
    running: Option<Receiver<Result<FinishedSnapshot, SnapshotFailure>>>,
    /// What the last snapshot has made needless is being removed.
    removing: Option<JoinHandle<Result<(), StoreError>>>,
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
    pub fn new(store: Store, door: Door, metrics: Arc<Metrics>) -> Self {
        let stable = Self { store, door, metrics, running: None, removing: None };
        stable.tell_health();
        stable
    }

    /// Whether a snapshot is being written or taken into use.
    #[must_use]
    pub fn is_writing_snapshot(&self) -> bool {
        self.running.is_some() || self.removing.is_some()
    }

    fn tell_health(&self) {
        let health = self.store.health();
        let spare_failed = health.spare_failure.is_some();
        self.metrics.journal(health.journal_bytes, health.segments, health.spares, spare_failed);
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
                let old = self.store.take_into_use(finished);
                return self.remove(old);
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

    /// Has old files removed: for a snapshot of a million leases that takes a disk so long that commits
    /// would notice.
    fn remove(&mut self, old: OldFiles) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name("old-files".to_owned());
        match thread.spawn(move || old.remove()) {
            Ok(removing) => self.removing = Some(removing),
            Err(error) => {
                tracing::error!(%error, "no thread to remove old snapshots; they stay until the next one");
            }
        }
        Ok(())
    }

    fn take_removed(&mut self) -> Result<(), StoreError> {
        let Some(removing) = self.removing.take_if(|removing| removing.is_finished()) else {
            return Ok(());
        };
        match removing.join() {
            Ok(Ok(())) => self.store.old_files_removed(),
            Ok(Err(error)) => return self.survive("old files cannot be removed", error),
            // It has been reported where it happened.
            Err(_panic) => {}
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
        self.take_removed()?;
        self.take_result()?;
        self.tell_health();
        if self.running.is_none() && self.store.snapshot_is_due() {
            self.begin()?;
        }
        Ok(())
    }
}

impl Drop for SnapshottingStore {
    fn drop(&mut self) {
        // Whoever opens the directory next must not meet files that vanish.
        if let Some(removing) = self.removing.take() {
            let _reported = removing.join();
        }
    }
}

/// Writes all registrations, with what a failover partner is told of them if they are exchanged. How many records.
fn write_registrations(writer: &mut SnapshotWriter, door: &Door) -> Result<usize, SnapshotFailure> {
    let mut records_written = 0;
    let mut after = None;
    let is_exchanged = loop {
        let query = Query::ExchangeBook { after, limit: SNAPSHOT_PAGE };
        let QueryAnswer::ExchangeBook { is_kept, records, next } = door.query_blocking(query)?
        else {
            return Err(DoorError::Closed.into());
        };
        let records: Vec<Record> = records.into_iter().map(Record::Exchange).collect();
        records_written += records.len();
        writer.write(&records)?;
        after = next;
        if after.is_none() {
            break is_kept;
        }
    };
    if is_exchanged {
        return Ok(records_written);
    }
    let mut after = None;
    loop {
        let query = Query::Registrations { after, limit: SNAPSHOT_PAGE, owner: None };
        let QueryAnswer::Registrations { registrations, next } = door.query_blocking(query)? else {
            return Err(DoorError::Closed.into());
        };
        let records: Vec<Record> =
            registrations.into_iter().map(|view| Record::Registration(view.registration)).collect();
        records_written += records.len();
        writer.write(&records)?;
        after = next;
        if after.is_none() {
            return Ok(records_written);
        }
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
    records_written += write_registrations(&mut writer, door)?;
    let mut after = None;
    loop {
        let query = Query::Vouchers { after, limit: SNAPSHOT_PAGE };
        let QueryAnswer::Vouchers { vouchers, next } = door.query_blocking(query)? else {
            return Err(DoorError::Closed.into());
        };
        let records: Vec<Record> = vouchers.into_iter().map(Record::Voucher).collect();
        records_written += records.len();
        writer.write(&records)?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let query = Query::PairBindings { after, limit: SNAPSHOT_PAGE };
        let QueryAnswer::PairBindings { failover, bindings, next } = door.query_blocking(query)?
        else {
            return Err(DoorError::Closed.into());
        };
        let mut records: Vec<Record> = bindings.into_iter().map(Record::PairBinding).collect();
        records.extend(failover.map(Record::Failover));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Call;
    use crate::store::StoreOptions;
    use std::net::Ipv4Addr;
    use std::thread;
    use vestibule_core::{
        AddressRange, BindingState, ClientIdentifier, Configuration, GateBy, HardwareAddress,
        Lease, Network, OptionSet, PerClass, RandomisedAddresses, Registration, RegistrationRules,
        Server, Subnet, Timestamp, Voucher, VoucherHash, VoucherUse,
    };

    const LEASES: u32 = 5000;
    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn hardware(number: u32) -> HardwareAddress {
        let [a, b, c, d] = number.to_be_bytes();
        HardwareAddress::ethernet([2, 0, a, b, c, d])
    }

    fn lease(number: u32) -> Record {
        Record::Lease(Lease {
            address: Ipv4Addr::from(0x0a14_0000 + number),
            client: ClientIdentifier::Hardware(hardware(number)),
            hardware: hardware(number),
            state: BindingState::Active,
            started: NOW,
            changed: NOW,
            ends: NOW.plus_seconds(3600),
            relay: None,
            relay_agent: None,
            host_name: Some(format!("host-{number}").into_bytes().into()),
        })
    }

    fn server(records: Vec<Record>) -> Server {
        let subnet = Subnet {
            prefix: "10.20.0.0/16".parse().unwrap(),
            pools: vec![AddressRange {
                first: Ipv4Addr::new(10, 20, 0, 0),
                last: Ipv4Addr::new(10, 20, 255, 254),
            }],
            options: OptionSet::new(),
            class_pools: PerClass::default(),
            special_pools: Vec::new(),
            profile: None,
            class_options: PerClass::default(),
            reservations: Vec::new(),
        };
        let network = Network {
            name: "halls".into(),
            gated: true,
            gate_by: GateBy::default(),
            class_options: PerClass::default(),
            subnets: vec![subnet],
            options: OptionSet::new(),
            randomised_addresses: RandomisedAddresses::Allow,
        };
        let configuration = Configuration {
            networks: vec![network],
            lifetime_seconds: 3600,
            lifetime_unregistered_seconds: 120,
            cache_threshold_percent: 25,
            decline_quarantine_seconds: 600,
            rapid_commit: false,
            registration: RegistrationRules::default(),
            policy: vestibule_core::Policy::default(),
            failover: None,
        };
        Server::new(configuration, [], records, NOW)
    }

    /// The whole way: the store asks for it, a thread fills it page by page while commits go on, and the
    /// next start reads it.
    #[test]
    fn a_snapshot_is_written_beside_the_commits_and_read_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            segment_bytes: crate::store::SEGMENT_BYTES_MIN,
            snapshot_journal_bytes_min: crate::store::SEGMENT_BYTES_MIN,
            ..StoreOptions::default()
        };
        let (store, _) = Store::open(directory.path(), options.clone()).unwrap();
        let mut records: Vec<Record> = (0..LEASES).map(lease).collect();
        records.push(Record::Registration(Registration {
            owner: Some("ada".into()),
            ..Registration::of(hardware(7), NOW)
        }));
        let used = VoucherUse { hardware: hardware(7), since: NOW, ends: None };
        let voucher = Record::Voucher(Voucher {
            hash: VoucherHash::new([9; 32]),
            role: None,
            note: None,
            lifetime_seconds: None,
            uses_max: 2,
            created: NOW,
            expires: NOW.plus_seconds(3600),
            uses: vec![used],
        });
        records.push(voucher.clone());
        let core = server(records.clone());
        let (door, mut calls) = Door::new(Arc::new(|| {}));
        // The decide thread: the calls end when the last door is gone.
        let decide = thread::spawn(move || {
            while let Some(call) = calls.blocking_recv() {
                match call {
                    Call::Query(query, answer) => {
                        let _gone = answer.send(core.query(NOW, &query));
                    }
                    Call::Barrier(done) => {
                        let _gone = done.send(());
                    }
                    Call::Command(..) | Call::Trace { .. } => {
                        panic!("a snapshot changes nothing")
                    }
                }
            }
        });
        let mut stable = SnapshottingStore::new(store, door, Arc::new(Metrics::new()));
        let mut running = None;
        for group in records.chunks(64).cycle() {
            stable.commit(group).unwrap();
            stable.between_groups().unwrap();
            match (stable.is_writing_snapshot(), running) {
                (true, _) => running = Some(true),
                // It ran, and its end has been taken in.
                (false, Some(true)) => break,
                (false, _) => {}
            }
        }
        let health = stable.store.health();
        assert_eq!(health.failure, None);
        drop(stable);
        decide.join().unwrap();

        let (_store, recovered) = Store::open(directory.path(), options).unwrap();
        assert!(recovered.report.snapshot.is_some(), "{}", recovered.report);
        // All leases, the registration, the voucher, and the newest time.
        assert_eq!(recovered.report.snapshot_records, u64::from(LEASES) + 3);
        let leases = recovered.records.iter().filter(|record| matches!(record, Record::Lease(_)));
        assert_eq!(leases.count(), LEASES as usize);
        assert!(recovered.records.iter().any(|record| matches!(record, Record::Registration(_))));
        assert!(recovered.records.contains(&voucher));
    }
}
