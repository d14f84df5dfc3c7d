//! What can go wrong in the store, by whose fault it is and with what to do about it.
//!
//! Whatever is refused while the store is being opened has changed nothing on disk, and says so.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why the store refused.
#[derive(Debug)]
pub enum StoreError {
    /// Operator: another process serves from this directory.
    Locked {
        /// The state directory.
        directory: PathBuf,
        /// The process that holds it, if the kernel names it.
        holder: Option<String>,
    },
    /// Operator: the store was written by a newer program.
    Newer {
        /// The file that says so.
        file: PathBuf,
        /// What in it is newer.
        what: String,
    },
    /// Disk, or an operator's hand: bytes that had been acknowledged are not what was written.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes from its beginning.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Disk, or an operator's hand: a file that the journal needs is not there.
    Missing {
        /// The file.
        file: PathBuf,
        /// What needs it.
        needed_by: String,
    },
    /// Disk or kernel: an operation on a file failed.
    Disk {
        /// What was being done.
        operation: &'static str,
        /// To which file or directory.
        file: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// Disk: no segment could be made when the journal needed one.
    NoRoom {
        /// The state directory.
        directory: PathBuf,
        /// Why the last attempt to make one failed.
        cause: String,
    },
    /// A write or sync failed earlier. It is never tried again, because the kernel reports a lost
    /// page once and then forgets it: the process must end.
    FailedBefore {
        /// The error of then.
        cause: String,
    },
    /// Us: a record that is longer than [`RECORD_BYTES_MAX`](super::record::RECORD_BYTES_MAX).
    RecordTooLong {
        /// Its encoded length in bytes, as far as it was encoded.
        bytes: usize,
    },
    /// Us: more records in one commit than
    /// [`COMMIT_RECORDS_MAX`](super::COMMIT_RECORDS_MAX).
    CommitTooLong {
        /// How many.
        records: usize,
    },
    /// Us: a snapshot is begun while another is being written.
    SnapshotRunning,
    /// Operator: the options ask for segments outside the permitted range.
    SegmentSize {
        /// The size asked for, in bytes.
        bytes: u64,
    },
}

impl StoreError {
    /// Wraps what the kernel said about `file`.
    pub(super) fn disk(
        operation: &'static str,
        file: &Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |error| Self::Disk { operation, file, error }
    }

    /// Names acknowledged bytes that are not what was written.
    pub(super) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { directory, holder } => {
                write!(f, "{} is in use by ", directory.display())?;
                f.write_str(holder.as_deref().unwrap_or("another process"))?;
                f.write_str("; stop that server, or give this one a state directory of its own")
            }
            Self::Newer { file, what } => write!(
                f,
                "{} was written by a newer version of this program ({what}); run that version; \
                 nothing was changed",
                file.display()
            ),
            Self::Damaged { file, offset, what } => write!(
                f,
                "{} is damaged at byte {offset}: {what}; acknowledged leases stand behind that \
                 byte, so nothing was changed; check the disk, then restore the state directory \
                 from a backup, or see with `vestibule check-store` what `vestibule check-store --salvage` \
                 would keep",
                file.display()
            ),
            Self::Missing { file, needed_by } => write!(
                f,
                "{} is missing, and {needed_by} needs it; nothing was changed; put the file back, \
                 or restore the state directory from a backup, or see with `vestibule check-store` what \
                 `vestibule check-store --salvage` would keep",
                file.display()
            ),
            Self::Disk { operation, file, error } => {
                let remedy = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there",
                    io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
                    io::ErrorKind::PermissionDenied => {
                        "let the server's user read and write the state directory"
                    }
                    _ => "check the disk",
                };
                write!(f, "cannot {operation} {}: {error}; {remedy}", file.display())
            }
            Self::NoRoom { directory, cause } => write!(
                f,
                "no room for another journal segment in {}: {cause}; free space there, then start \
                 the server again",
                directory.display()
            ),
            Self::FailedBefore { cause } => write!(
                f,
                "the journal failed earlier and takes no more: {cause}; start the server again \
                 when the disk is well"
            ),
            Self::RecordTooLong { bytes } => write!(
                f,
                "a record of {bytes} bytes or more is over the limit of {} bytes",
                super::record::RECORD_BYTES_MAX
            ),
            Self::CommitTooLong { records } => write!(
                f,
                "a commit of {records} records is over the limit of {}",
                super::COMMIT_RECORDS_MAX
            ),
            Self::SnapshotRunning => f.write_str("another snapshot is still being written"),
            Self::SegmentSize { bytes } => write!(
                f,
                "a journal segment of {bytes} bytes is outside {} to {}",
                super::SEGMENT_BYTES_MIN,
                super::SEGMENT_BYTES_MAX
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk { error, .. } => Some(error),
            _ => None,
        }
    }
}
