//! The lock on the state directory: one server at a time.
//!
//! It is the kernel's (`flock`), so it ends with the process however that ends, and no stale lock
//! file can keep a server from starting.

use super::StoreError;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Holds the directory until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    directory: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Not only closed: a process that was forked off meanwhile, and has not come to its own program
        // yet, has a copy of the descriptor, and would keep the lock for a moment longer.
        let _unlocked = self.directory.unlock();
    }
}

impl DirectoryLock {
    /// Takes the directory for this process.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a server or another tool has it, [`StoreError::Disk`] if it cannot be opened.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let file = File::open(directory).map_err(StoreError::disk("open", directory))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { directory: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
                directory: directory.to_owned(),
                holder: file.metadata().ok().and_then(|metadata| holder_of(metadata.ino())),
            }),
            Err(TryLockError::Error(error)) => Err(StoreError::disk("lock", directory)(error)),
        }
    }
}

/// The process that holds a `flock` on the file with this number, from `/proc/locks`: lines such as
/// `1: FLOCK ADVISORY WRITE 4711 fe:00:131075 0 EOF`.
fn holder_of(file_number: u64) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = fields.as_slice() else { return None };
        let number: u64 = file.rsplit(':').next()?.parse().ok()?;
        (number == file_number).then_some(*process)
    })?;
    // A process chooses its own name, and this one goes to a terminal.
    let name = fs::read(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("process {process} ({})", name.trim_ascii_end().escape_ascii()))
}
