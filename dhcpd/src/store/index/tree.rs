//! sled under the rules that make it durable: its own `flush` is not.
//!
//! - One tree, one writer. A batch has at most [`OPERATIONS_PER_BATCH_MAX`] operations, is applied,
//!   flushed, and then synced through a descriptor of ours on sled's `db` file, opened before sled.
//! - What it leaves half-made when it is killed while opening (`snap.*.generating`) is removed first.
//! - It **panics** on damage. So a process that matters opens it only after another one has opened and
//!   read all of it: [`probe_main`].
//!
//! Nothing that it holds is believed without a second look, and any error means that it is deleted.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::keys::{
    Entry, POSITION_KEY, Prefixes, SearchKey, address_key, found_address, search_key,
};
use crate::store::bytes::Reader;
use std::fs::{self, File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::{fmt, io};

/// How often a new index is tried to be made, and how long after a failure it is tried again.
const MAKE_ATTEMPTS_MAX: u32 = 20;
const MAKE_REST: std::time::Duration = std::time::Duration::from_millis(25);

/// Operations in one batch at most: more between two syncs lost whole stores in simulated power cuts.
const OPERATIONS_PER_BATCH_MAX: usize = 512;

/// Operations that one address takes at most: four search keys to remove, four to add, and its list.
const OPERATIONS_PER_ADDRESS_MAX: usize = 9;

/// Bytes of one batch, about, at most: far below one segment of sled's log (512 KiB).
const BATCH_BYTES_MAX: usize = 128 * 1024;

/// Bytes of sled's cache.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why the index cannot be used.
#[derive(Debug)]
pub enum IndexError {
    /// The disk or kernel refused something.
    Disk(io::Error),
    /// sled refused something.
    Sled(sled::Error),
    /// What stands in it is not what was put there.
    Damaged(&'static str),
    /// The leases that it was to be made of cannot be read any more.
    SourceLost,
    /// It is not ready: it is being opened or rebuilt, or waits for it. Look in the book instead.
    NotReady,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "disk: {error}"),
            Self::Sled(error) => write!(f, "sled: {error}"),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::SourceLost => f.write_str("the leases cannot be read any more"),
            Self::NotReady => f.write_str("the index is being rebuilt; try again later"),
        }
    }
}

impl std::error::Error for IndexError {}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<sled::Error> for IndexError {
    fn from(error: sled::Error) -> Self {
        Self::Sled(error)
    }
}

/// The index on disk, open.
#[derive(Debug)]
pub(super) struct Tree {
    database: sled::Db,
    /// Ours, on sled's log; opened first, so that no write-back error passes it by.
    log: File,
}

impl Tree {
    /// Opens the index that is there.
    pub(super) fn open(directory: &Path) -> Result<Self, IndexError> {
        remove_half_made(directory)?;
        let log = OpenOptions::new().read(true).write(true).open(directory.join("db"))?;
        let database = configuration(directory).open()?;
        Ok(Self { database, log })
    }

    /// Deletes what is there and makes an empty index. Tried again for a moment: sled's own threads let go
    /// of a store that was dropped just now only a little later, and until then hold its lock and files.
    pub(super) fn make_new(directory: &Path) -> Result<Self, IndexError> {
        let mut attempts = 1;
        loop {
            match Self::try_make_new(directory) {
                Err(_) if attempts < MAKE_ATTEMPTS_MAX => {
                    attempts += 1;
                    std::thread::sleep(MAKE_REST);
                }
                done => return done,
            }
        }
    }

    fn try_make_new(directory: &Path) -> Result<Self, IndexError> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // What is in it tells who is where: for the server and its group, like the store itself.
        fs::DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        // sled makes its files and does not sync them.
        drop(configuration(directory).open()?);
        File::open(directory.join("conf"))?.sync_all()?;
        File::open(directory.join("db"))?.sync_all()?;
        File::open(directory)?.sync_all()?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Self::open(directory)
    }

    /// How far it has come; `None` while it is incomplete.
    pub(super) fn position(&self) -> Result<Option<u64>, IndexError> {
        let Some(value) = self.database.get(POSITION_KEY)? else { return Ok(None) };
        let position = Reader::new(&value).u64();
        position.map(Some).ok_or(IndexError::Damaged("the position is no number"))
    }

    /// Brings addresses up to date, in batches; `is_ending` stops it between two. Whether it came to
    /// the end.
    pub(super) fn apply(
        &self,
        changes: impl Iterator<Item = (Ipv4Addr, Option<Prefixes>)>,
        is_ending: &dyn Fn() -> bool,
    ) -> Result<bool, IndexError> {
        let mut batch = sled::Batch::default();
        let (mut operations, mut bytes) = (0, 0);
        for (address, prefixes) in changes {
            let key = address_key(address);
            let before = match self.database.get(key)? {
                Some(value) => Prefixes::decode(&value)
                    .ok_or(IndexError::Damaged("the keys of an address cannot be read"))?,
                None => Prefixes::default(),
            };
            let after = prefixes.unwrap_or_default();
            if before == after {
                continue;
            }
            for gone in before.0.iter().filter(|prefix| !after.0.contains(prefix)) {
                batch.remove(search_key(gone, address));
                operations += 1;
                bytes += gone.len();
            }
            for new in after.0.iter().filter(|prefix| !before.0.contains(prefix)) {
                batch.insert(search_key(new, address), &[]);
                operations += 1;
                bytes += new.len();
            }
            if after.0.is_empty() {
                batch.remove(&key);
            } else {
                let value = after.encode();
                bytes += value.len();
                batch.insert(&key, value);
            }
            operations += 1;
            if operations + OPERATIONS_PER_ADDRESS_MAX > OPERATIONS_PER_BATCH_MAX
                || bytes > BATCH_BYTES_MAX
            {
                self.commit(std::mem::take(&mut batch))?;
                (operations, bytes) = (0, 0);
                if is_ending() {
                    return Ok(false);
                }
            }
        }
        if operations > 0 {
            self.commit(batch)?;
        }
        Ok(true)
    }

    /// States that everything up to this journal frame is in.
    pub(super) fn set_position(&self, position: u64) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        batch.insert(&POSITION_KEY, &position.to_le_bytes());
        self.commit(batch)
    }

    /// At most `limit` addresses that stand under the key.
    pub(super) fn search(
        &self,
        key: &SearchKey,
        limit: usize,
    ) -> Result<Vec<Ipv4Addr>, IndexError> {
        let prefix = key.prefix();
        let mut found = Vec::new();
        for entry in self.database.scan_prefix(&prefix).take(limit) {
            let (key, _) = entry?;
            found.push(
                found_address(&prefix, &key)
                    .ok_or(IndexError::Damaged("a search key ends in no address"))?,
            );
        }
        Ok(found)
    }

    /// Shows every entry and its value.
    pub(super) fn for_each(&self, show: &mut dyn FnMut(Entry, &[u8])) -> Result<(), IndexError> {
        for entry in self.database.iter() {
            let (key, value) = entry?;
            show(Entry::parse(&key).ok_or(IndexError::Damaged("a key is none of ours"))?, &value);
        }
        Ok(())
    }

    /// Reads everything: every address must be found by each of its keys, and by no other.
    pub(super) fn verify(&self) -> Result<(), IndexError> {
        let (mut expected, mut found) = (0_u64, 0_u64);
        for entry in self.database.iter() {
            let (key, value) = entry?;
            match Entry::parse(&key).ok_or(IndexError::Damaged("a key is none of ours"))? {
                Entry::Position => {}
                Entry::Search => found += 1,
                Entry::Address(address) => {
                    let prefixes = Prefixes::decode(&value)
                        .ok_or(IndexError::Damaged("the keys of an address cannot be read"))?;
                    // Two of them can be equal only if the value is not ours.
                    expected += prefixes.0.len() as u64;
                    for prefix in &prefixes.0 {
                        if !self.database.contains_key(search_key(prefix, address))? {
                            return Err(IndexError::Damaged("an address is not under its key"));
                        }
                    }
                }
            }
        }
        if expected == found {
            Ok(())
        } else {
            Err(IndexError::Damaged("a search key leads to no address"))
        }
    }

    fn commit(&self, batch: sled::Batch) -> Result<(), IndexError> {
        self.database.apply_batch(batch)?;
        self.database.flush()?;
        self.log.sync_data()?;
        Ok(())
    }
}

/// Opens the index in `directory`, reads all of it, and closes it: what `vestibule-dhcpd index-probe`
/// does, in a process that may die of it. Success says that the server may open it.
#[must_use]
pub fn probe_main(directory: &Path) -> ExitCode {
    match Tree::open(directory).and_then(|tree| tree.verify()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "the index is not usable");
            ExitCode::FAILURE
        }
    }
}

fn configuration(directory: &Path) -> sled::Config {
    sled::Config::new().path(directory).cache_capacity(CACHE_BYTES)
}

/// A kill while sled writes its snapshot would otherwise keep it from ever opening again.
fn remove_half_made(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
