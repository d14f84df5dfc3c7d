//! `META`: which store this is, and who may read it.

use super::StoreError;
use super::disk::{Disk, read_whole};
use super::header::{self, FORMAT_VERSION, FileHeader, FileKind, HeaderError, StoreIdentity};
use super::names::FileName;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

/// Bytes of `META` at most; a longer file is not one of ours.
const META_BYTES_MAX: u64 = 64 * 1024;

/// The store's identity as `META` has it.
pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Result<StoreIdentity, StoreError> {
    let path = FileName::Meta.path(directory);
    let bytes = read_whole(disk, &path, META_BYTES_MAX).map_err(StoreError::disk("read", &path))?;
    match header::decode(&bytes, FileKind::Meta) {
        Ok(header) => Ok(header.identity),
        Err(error @ HeaderError::Newer { .. }) => {
            Err(StoreError::Newer { file: path, what: error.to_string() })
        }
        Err(error @ HeaderError::Bad(_)) => Err(StoreError::damaged(&path, 0, error.to_string())),
    }
}

/// Writes `META` in one step: it is there whole, or not at all.
pub(super) fn write(
    disk: &dyn Disk,
    directory: &Path,
    identity: StoreIdentity,
) -> Result<(), StoreError> {
    let bytes = header::encode(&FileHeader {
        kind: FileKind::Meta,
        format_version: FORMAT_VERSION,
        reader_version_min: FORMAT_VERSION,
        identity,
        file_number: 0,
        frame_number: 0,
        checksum: 0,
    });
    let path = FileName::Meta.path(directory);
    let temporary = FileName::Meta.temporary_path(directory);
    let file = disk.create(&temporary).map_err(StoreError::disk("create", &temporary))?;
    file.write_at(&bytes, 0).map_err(StoreError::disk("write", &temporary))?;
    file.sync_data().map_err(StoreError::disk("sync", &temporary))?;
    disk.rename(&temporary, &path).map_err(StoreError::disk("name", &path))?;
    disk.sync_directory(directory).map_err(StoreError::disk("sync", directory))
}

/// An identity for a new store. It tells stores apart and guards nothing, so the time and the process
/// do where there is no `/dev/urandom`.
pub(super) fn new_identity() -> StoreIdentity {
    let mut identity = [0; 16];
    let drawn = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut identity));
    if drawn.is_err() {
        let nanoseconds = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos());
        identity = (nanoseconds << 32 | u128::from(std::process::id())).to_le_bytes();
    }
    identity
}
