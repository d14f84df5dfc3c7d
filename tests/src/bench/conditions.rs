//! Where a benchmark ran: machine, kernel, file system, and how long a sync takes on it.
//!
//! The sync is measured as the journal syncs: 4 KiB are written over zeroes that were written and synced
//! before, then `fdatasync`; one after the other. It promises to look only, but for one file in the
//! folder that is named, which it removes.

use super::BenchError;
use super::interrupt::Interrupt;
use serde::Serialize;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use vestibule_load::histogram::Histogram;
use vestibule_load::machine;
use vestibule_load::result::Machine;

/// Bytes of each write.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the file.
const BLOCKS: u64 = 1024;
/// How long syncs are measured.
const MEASURED: Duration = Duration::from_secs(2);

/// What stands above the figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Conditions {
    /// Processor, memory and kernel.
    pub machine: Machine,
    /// The file system below the stores.
    pub file_system: FileSystem,
    /// How long a sync takes there.
    pub sync: SyncTime,
    /// What other people's servers say of their version, in the order of the table.
    pub versions: Vec<(String, String)>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSystem {
    /// Such as `ext4`.
    pub kind: String,
    /// Such as `/dev/vda`.
    pub source: String,
}

/// How long a sync takes, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SyncTime {
    /// Of a hundred, fifty are faster.
    pub p50_microseconds: u64,
    /// Of a hundred, 99 are faster.
    pub p99_microseconds: u64,
    /// How many were measured.
    pub count: u64,
}

impl FileSystem {
    /// The one that a folder is on.
    ///
    /// # Errors
    /// The folder or the list of mounts cannot be read.
    pub fn of(folder: &Path) -> Result<Self, BenchError> {
        let mounts = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(mounts).map_err(BenchError::file(mounts))?;
        let folder = folder.canonicalize().map_err(BenchError::file(folder))?;
        Ok(Self::find(&text, &folder)
            .unwrap_or_else(|| Self { kind: "unknown".to_owned(), source: "unknown".to_owned() }))
    }

    /// The last of the longest mount points above a folder (proc(5), mountinfo).
    fn find(mountinfo: &str, folder: &Path) -> Option<Self> {
        let mounts = mountinfo.lines().filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let point = front.split(' ').nth(4)?;
            let mut back = back.split(' ');
            let found = Self { kind: back.next()?.to_owned(), source: back.next()?.to_owned() };
            folder.starts_with(point).then_some((point.len(), found))
        });
        mounts.max_by_key(|(length, _)| *length).map(|(_, found)| found)
    }

    /// Whether nothing of it is on a disk.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }
}

/// Measures how long a sync takes in a folder.
///
/// # Errors
/// [`BenchError::InMemory`] if it is on no disk, [`BenchError::File`] if it cannot be written.
pub fn sync_time(folder: &Path, interrupt: &Interrupt) -> Result<SyncTime, BenchError> {
    let path = folder.join("sync-probe");
    let measured = probe(&path, interrupt);
    let removed = fs::remove_file(&path);
    let histogram = measured.map_err(BenchError::file(&path))?;
    removed.map_err(BenchError::file(&path))?;
    Ok(SyncTime {
        p50_microseconds: histogram.percentile(50.0),
        p99_microseconds: histogram.percentile(99.0),
        count: histogram.count(),
    })
}

fn probe(path: &Path, interrupt: &Interrupt) -> std::io::Result<Histogram> {
    let file = File::create(path)?;
    let zeroes = [0; BLOCK_BYTES];
    for block in 0..BLOCKS {
        file.write_all_at(&zeroes, block * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let mut histogram = Histogram::default();
    let start = Instant::now();
    let bytes = [0x5a; BLOCK_BYTES];
    for block in (0..BLOCKS).cycle() {
        if start.elapsed() > MEASURED || interrupt.came() {
            break;
        }
        let began = Instant::now();
        file.write_all_at(&bytes, block * BLOCK_BYTES as u64)?;
        file.sync_data()?;
        histogram.record(began.elapsed().as_micros() as u64);
    }
    Ok(histogram)
}

impl Conditions {
    /// Looks.
    ///
    /// # Errors
    /// As [`sync_time`].
    pub fn look(
        folder: &Path,
        versions: Vec<(String, String)>,
        interrupt: &Interrupt,
    ) -> Result<Self, BenchError> {
        let file_system = FileSystem::of(folder)?;
        if file_system.is_in_memory() {
            return Err(BenchError::InMemory { folder: folder.to_owned(), kind: file_system.kind });
        }
        let sync = sync_time(folder, interrupt)?;
        Ok(Self { machine: machine::machine(), file_system, sync, versions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_of_a_folder_is_the_innermost_mount_above_it() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:25 / /tmp rw shared:3 - tmpfs tmpfs rw\n\
                      31 22 0:26 / /tmp/disk rw - xfs /dev/vdb rw\n";
        let kind = |folder: &str| {
            FileSystem::find(mounts, Path::new(folder)).map(|found| (found.kind, found.source))
        };
        assert_eq!(kind("/home/a"), Some(("ext4".to_owned(), "/dev/vda".to_owned())));
        assert_eq!(kind("/tmp/a"), Some(("tmpfs".to_owned(), "tmpfs".to_owned())));
        assert_eq!(kind("/tmp/disk/a"), Some(("xfs".to_owned(), "/dev/vdb".to_owned())));
        assert_eq!(kind("/tmpfs"), Some(("ext4".to_owned(), "/dev/vda".to_owned())));
    }

    #[test]
    fn a_folder_in_memory_is_refused() {
        let folder = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is there");
        let error = Conditions::look(folder.path(), Vec::new(), &Interrupt::default()).unwrap_err();
        assert!(matches!(error, BenchError::InMemory { .. }), "{error}");
    }

    #[test]
    fn syncs_are_measured_and_leave_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let interrupt = Interrupt::default();
        let sync = sync_time(folder.path(), &interrupt).expect("a disk");
        assert!(sync.count > 0 && sync.p50_microseconds <= sync.p99_microseconds, "{sync:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }
}
