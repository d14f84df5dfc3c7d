//! What the tests of the store share: a file system in memory that can fail any operation and lose its
//! power at any of them, a source of seeded numbers, and records to store.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(clippy::cast_possible_truncation, reason = "simulated disks are small")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use vestibule_core::{
    BindingState, ClientIdentifier, HardwareAddress, Lease, Record, Registration, Timestamp,
};
use vestibule_dhcpd::store::disk::{Disk, DiskFile};
use vestibule_dhcpd::store::{Recovered, SEGMENT_BYTES_MIN, Store, StoreError, StoreOptions};

/// One operation that changes the disk, as a fault sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create(String),
    Write { file: String, offset: u64, length: usize },
    Sync(String),
    Rename { from: String, to: String },
    Remove(String),
    SyncDirectory,
}

type Fault = Box<dyn FnMut(&Operation) -> Option<io::Error> + Send>;

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    fault: Option<Fault>,
    operations: Vec<Operation>,
    /// Changing operations until the power goes.
    operations_left: Option<usize>,
}

/// A file system in memory.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<World>>);

impl std::fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn write_into(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    if bytes.len() < offset + written.len() {
        bytes.resize(offset + written.len(), 0);
    }
    bytes[offset..offset + written.len()].copy_from_slice(written);
}

impl SimulatedDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Has `fault` decide of every changing operation whether it fails, and how.
    pub fn fail(&self, fault: impl FnMut(&Operation) -> Option<io::Error> + Send + 'static) {
        self.world().fault = Some(Box::new(fault));
    }

    pub fn heal(&self) {
        self.world().fault = None;
    }

    /// Lets `operations` more changing operations through; the power goes with the one after them.
    pub fn cut_after(&self, operations: usize) {
        self.world().operations_left = Some(operations);
    }

    pub fn is_cut(&self) -> bool {
        self.world().operations_left == Some(0)
    }

    /// The changing operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.world().operations.clone()
    }

    /// Lets operations through again, as if only the process had died: nothing is lost, and what was not
    /// synced still is not.
    pub fn only_the_process_died(&self) {
        self.world().operations_left = None;
    }

    /// What the disk holds when the power is back: of everything that was not synced, an arbitrary part
    /// down to single sectors, and of the changes of names an arbitrary number of the first.
    pub fn after_cut(&self, random: &mut Random) -> Self {
        const SECTOR: usize = 512;
        let world = self.world();
        let mut names = world.durable_names.clone();
        let kept = random.index(world.pending_names.len() + 1);
        for change in &world.pending_names[..kept] {
            change.apply(&mut names);
        }
        let mut after = World::default();
        for (name, inode) in &names {
            let inode = &world.inodes[*inode];
            let mut bytes = inode.durable.clone();
            // How much of the cache had got through: nothing, all, or any part.
            let percent = [0, 100, 50, 90, 10][random.index(5)];
            for (offset, written) in &inode.pending {
                let mut start = *offset;
                let end = offset + written.len();
                while start < end {
                    let stop = ((start / SECTOR + 1) * SECTOR).min(end);
                    if random.below(100) < percent {
                        write_into(&mut bytes, start, &written[start - offset..stop - offset]);
                    }
                    start = stop;
                }
            }
            after.names.insert(name.clone(), after.inodes.len());
            after.inodes.push(Inode {
                durable: bytes.clone(),
                current: bytes,
                pending: Vec::new(),
            });
        }
        after.durable_names = after.names.clone();
        Self(Arc::new(Mutex::new(after)))
    }

    /// A copy that shares nothing; everything in it is durable.
    pub fn copy(&self) -> Self {
        let mut copy = World::default();
        for (name, bytes) in self.contents() {
            copy.names.insert(name, copy.inodes.len());
            copy.inodes.push(Inode { durable: bytes.clone(), current: bytes, pending: vec![] });
        }
        copy.durable_names = copy.names.clone();
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Every file and its bytes.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        let contents = world.names.iter();
        contents.map(|(name, inode)| (name.clone(), world.inodes[*inode].current.clone())).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.world().names.keys().cloned().collect()
    }

    /// Changes a file as no program of ours would.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[name];
        let inode = &mut world.inodes[inode];
        edit(&mut inode.current);
        inode.durable = inode.current.clone();
    }

    pub fn delete(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name).unwrap();
        world.durable_names.remove(name);
    }

    fn admit(world: &mut World, operation: Operation) -> io::Result<()> {
        if let Some(left) = &mut world.operations_left {
            if *left == 0 {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            *left -= 1;
        }
        let error = world.fault.as_mut().and_then(|fault| fault(&operation));
        world.operations.push(operation);
        error.map_or(Ok(()), Err)
    }

    fn open_inode(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let name = name_of(path);
        let inode = self.world().names.get(&name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode, name }))
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, _directory: &Path) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open_for_reading(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_inode(file)
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_inode(file)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let name = name_of(file);
        {
            let mut world = self.world();
            Self::admit(&mut world, Operation::Create(name.clone()))?;
            let inode = world.inodes.len();
            world.inodes.push(Inode::default());
            let change = NameChange::Create(name, inode);
            change.apply(&mut world.names);
            world.pending_names.push(change);
        }
        self.open_inode(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (name_of(from), name_of(to));
        let mut world = self.world();
        Self::admit(&mut world, Operation::Rename { from: from.clone(), to: to.clone() })?;
        if !world.names.contains_key(&from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Rename(from, to);
        change.apply(&mut world.names);
        world.pending_names.push(change);
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let name = name_of(file);
        let mut world = self.world();
        Self::admit(&mut world, Operation::Remove(name.clone()))?;
        if !world.names.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Remove(name);
        change.apply(&mut world.names);
        world.pending_names.push(change);
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let mut world = self.world();
        Self::admit(&mut world, Operation::SyncDirectory)?;
        world.durable_names = world.names.clone();
        world.pending_names.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    /// As it was opened; only for faults.
    name: String,
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.world();
        let bytes = &world.inodes[self.inode].current;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        // The write during which the power goes may have got through in part.
        let goes_now = world.operations_left == Some(1);
        let file = self.name.clone();
        SimulatedDisk::admit(&mut world, Operation::Write { file, offset, length: bytes.len() })?;
        let inode = &mut world.inodes[self.inode];
        write_into(&mut inode.current, offset as usize, bytes);
        inode.pending.push((offset as usize, bytes.to_vec()));
        if goes_now { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        SimulatedDisk::admit(&mut world, Operation::Sync(self.name.clone()))?;
        let inode = &mut world.inodes[self.inode];
        inode.durable = inode.current.clone();
        inode.pending.clear();
        Ok(())
    }

    fn write_out(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A place in something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }
}

/// A lease on the address with this number; `version` makes images of it differ. About 600 bytes
/// encoded if `is_large`.
pub fn lease(number: u32, version: u64, is_large: bool) -> Lease {
    let [_, b, c, d] = number.to_be_bytes();
    let hardware = HardwareAddress::ethernet([2, 0, 0x5e, b, c, d]);
    let length = if is_large { 250 } else { 4 };
    let mut relay_agent = vec![1, length];
    relay_agent.extend((0..length).map(|byte| byte ^ d));
    Lease {
        address: [10, b, c, d].into(),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: Timestamp::from_seconds(1_000_000),
        changed: Timestamp::from_seconds(1_000_000 + version),
        ends: Timestamp::from_seconds(2_000_000 + version),
        relay: Some([10, 0, 0, 1].into()),
        relay_agent: Some(relay_agent.into()),
        host_name: Some(vec![b'h'; length.into()].into()),
    }
}

pub fn registration(number: u32, version: u64) -> Registration {
    let registered = Timestamp::from_seconds(1_000_000 + version);
    Registration {
        owner: Some(format!("owner {number}").into()),
        ..Registration::of(lease(number, 0, false).hardware, registered)
    }
}

/// Options for tests: small segments, no rests, one thing after the other, on `disk`.
pub fn options(disk: &SimulatedDisk) -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT_BYTES_MIN,
        snapshot_journal_bytes_min: 2 * SEGMENT_BYTES_MIN,
        snapshot_rest: Duration::ZERO,
        spares_in_background: false,
        disk: Arc::new(disk.clone()),
    }
}

/// Opens the store on a simulated disk; the directory of this machine is only locked.
pub fn open(directory: &Path, disk: &SimulatedDisk) -> Result<(Store, Recovered), StoreError> {
    Store::open(directory, options(disk))
}

/// The file name of a segment.
pub fn segment(number: u64) -> String {
    format!("journal-{number:020}")
}

/// The file name of a snapshot.
pub fn snapshot(number: u64) -> String {
    format!("snapshot-{number:020}")
}

/// Writes a snapshot of these records from beginning to end.
pub fn write_snapshot(store: &mut Store, records: &[Record]) {
    let mut writer = store.begin_snapshot().unwrap();
    writer.write(records).unwrap();
    let finished = writer.finish().unwrap();
    store.snapshot_finished(finished).unwrap();
}

/// The leases among recovered records, by address.
pub fn leases(records: &[Record]) -> BTreeMap<std::net::Ipv4Addr, Lease> {
    let leases = records.iter().filter_map(|record| match record {
        Record::Lease(lease) => Some((lease.address, lease.clone())),
        _ => None,
    });
    leases.collect()
}
