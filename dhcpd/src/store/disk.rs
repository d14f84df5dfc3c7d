//! The few things that the store asks of a file system, behind a trait.
//!
//! The trait exists so that tests can fail, cut and tear these operations one by one; the server
//! always uses [`RealDisk`]. It promises that each call is one operation with the meaning that POSIX
//! gives it: nothing is durable before a sync, no name before a sync of its directory. It never
//! retries.

#![allow(unsafe_code, reason = "sync_file_range and posix_fadvise have no safe wrapper")]

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A file system, as far as the store needs one.
pub trait Disk: Debug + Send + Sync {
    /// The names in a directory, in no order; names that are not UTF-8 are none of ours and left out.
    ///
    /// # Errors
    /// As the kernel says.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Opens a file that exists, for reading only.
    ///
    /// # Errors
    /// As the kernel says.
    fn open_for_reading(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// As the kernel says.
    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file, or empties the one that is there.
    ///
    /// # Errors
    /// As the kernel says.
    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, over the one that has that name.
    ///
    /// # Errors
    /// As the kernel says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the kernel says.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes the directory's names durable.
    ///
    /// # Errors
    /// As the kernel says.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the kernel says.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// As the kernel says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the kernel says; a short write that cannot be completed is an error.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// `fdatasync`: the contents are on stable storage when this returns.
    ///
    /// # Errors
    /// As the kernel says. After one the file must not be synced again: see `fsync(2)`.
    fn sync_data(&self) -> io::Result<()>;

    /// Has the kernel write this range out now and waits for it, so that a later sync is short. Not
    /// a sync: nothing is durable by it.
    ///
    /// # Errors
    /// As the kernel says.
    fn write_out(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Asks the kernel to forget its copy of the contents, so that reading them back reads the disk.
    /// Only advice: the kernel may keep it.
    ///
    /// # Errors
    /// As the kernel says.
    fn forget_cached(&self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// The store's files are its user's alone, to read by its group.
const FILE_MODE: u32 = 0o640;

impl Disk for RealDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open_for_reading(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(file)?))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(file)?))
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(file)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn write_out(&self, offset: u64, length: u64) -> io::Result<()> {
        let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        // SAFETY: the descriptor is open as long as `self` lives, and the call takes no pointer.
        let result = unsafe { libc::sync_file_range(self.as_raw_fd(), offset, length, flags) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // Some file systems do not know the call. It only paces, so that is no fault.
        match error.raw_os_error() {
            Some(libc::ENOSYS | libc::ESPIPE | libc::EINVAL) => Ok(()),
            _ => Err(error),
        }
    }

    fn forget_cached(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as `self` lives, and the call takes no pointer.
        let result =
            unsafe { libc::posix_fadvise(self.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
    }
}

/// Reads until `buffer` is full or the file ends; the number of bytes read.
pub(super) fn read_full(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a whole file of at most `length_max` bytes.
pub(super) fn read_whole(disk: &dyn Disk, path: &Path, length_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open_for_reading(path)?;
    let length = file.length()?;
    if length > length_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{length} bytes, over the limit of {length_max}"),
        ));
    }
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let read = read_full(file.as_ref(), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
