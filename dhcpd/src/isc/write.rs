//! What was made of an ISC dhcpd, put on the disk: the store first, the configuration last.
//!
//! The store is made beside its place and named when it is whole, so a crash leaves none rather than one
//! that lacks leases. Neither of the two is written where something is.

use super::Import;
use crate::store::{Store, StoreError, StoreOptions};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use vestibule_core::Record;

/// Records of one commit: about as much as two frames of the journal hold.
const RECORDS_PER_COMMIT: usize = 8192;

/// Why it is not written.
#[derive(Debug)]
pub enum WriteError {
    /// Something is there already.
    Exists(PathBuf),
    /// The store refuses.
    Store(StoreError),
    /// The file system refuses.
    Disk {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(
                f,
                "{} is there already, and nothing is written over: name another place, or move it away if no server needs \
                 it",
                path.display()
            ),
            Self::Store(error) => error.fmt(f),
            Self::Disk { action, path, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for WriteError {}

fn disk<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> WriteError + use<'p> {
    move |error| WriteError::Disk { action, path: path.to_owned(), error }
}

/// Writes the store at `state_dir` and the configuration at `configuration`.
///
/// # Errors
/// [`WriteError`]. If something stands at either place, nothing has been written.
pub fn write(import: &Import, configuration: &Path, state_dir: &Path) -> Result<(), WriteError> {
    refuse_what_is_there(configuration, state_dir)?;
    let parent = match state_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(disk("make", parent))?;
    let mut beside = state_dir.as_os_str().to_owned();
    beside.push(".import");
    let beside = PathBuf::from(beside);
    // What an import that was interrupted left.
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(disk("remove", &beside))?;
    }
    make_store(import, &beside).map_err(WriteError::Store)?;
    // An empty folder may be in its place; a full one makes this fail.
    fs::rename(&beside, state_dir).map_err(disk("name", state_dir))?;
    sync_directory(parent)?;
    write_configuration(&import.configuration, configuration)
}

/// Whether everything could be written: also for a run that writes nothing.
///
/// # Errors
/// [`WriteError::Exists`].
fn refuse_what_is_there(configuration: &Path, state_dir: &Path) -> Result<(), WriteError> {
    if configuration.symlink_metadata().is_ok() {
        return Err(WriteError::Exists(configuration.to_owned()));
    }
    match fs::read_dir(state_dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(WriteError::Exists(state_dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(WriteError::Exists(state_dir.to_owned()))
        }
        Err(error) => Err(disk("read", state_dir)(error)),
    }
}

fn make_store(import: &Import, directory: &Path) -> Result<(), StoreError> {
    // The directory is renamed as soon as this is done: no thread may be at work in it then.
    let options = StoreOptions { spares_in_background: false, ..StoreOptions::default() };
    let (mut store, _recovered) = Store::open(directory, options)?;
    let leases = import.leases.iter().cloned().map(Record::Lease);
    let registrations = import.registrations.iter().cloned().map(Record::Registration);
    let bindings = import.bindings.iter().copied().map(Record::PairBinding);
    let pair = import.pair.map(Record::Failover);
    let mut records =
        leases.chain(registrations).chain(bindings).chain(pair).chain([Record::Time(import.now)]);
    loop {
        let group: Vec<Record> = records.by_ref().take(RECORDS_PER_COMMIT).collect();
        if group.is_empty() {
            return Ok(());
        }
        store.commit(&group)?;
    }
}

fn write_configuration(text: &str, path: &Path) -> Result<(), WriteError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(disk("make", parent))?;
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(path).map_err(disk("make", path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(disk("write", path))
}

fn sync_directory(path: &Path) -> Result<(), WriteError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(disk("sync", path))
}
