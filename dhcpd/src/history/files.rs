//! What the history does on disk: opening, sealing the log into archives, merging them, forgetting.
//!
//! It promises that at every moment each interval is in the log or in an archive, and that what the rules
//! do not keep is gone from both: an archive with something too old in it is written anew without it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::{Archive, ArchiveWriter, Kind};
use super::fold::Fold;
use super::handle::Networks;
use super::interval::{Interval, Place};
use super::log::{Changes, Contents, Identity, Log};
use super::policy::Policy;
use super::state::{State, ownerships_of};
use super::table::{DigestKey, ENTRY_BYTES, Table};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::Timestamp;

/// Intervals in the log from which on it is made an archive.
pub const RECENT_INTERVALS_MAX: usize = 16_384;

/// Archives of a size that are merged into one of the next.
pub(super) const MERGED_AT_ONCE: usize = 8;

/// Intervals from which on an archive is not merged any more.
pub const ARCHIVE_INTERVALS_MAX: u64 = 1 << 20;

/// Bytes of the log from which on its table is written anew, if that is not larger.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that are written between two rests when archives are written beside the server.
const WRITTEN_AT_ONCE: u64 = 256 * 1024;

/// The directory and what is open in it for writing.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
    pub(super) identity: Identity,
    pub(super) log: Log,
    /// How long it rests after each piece that it writes in the background.
    pub(super) rest: Duration,
}

/// What was found in the directory.
pub(super) struct Found {
    pub(super) contents: Contents,
    pub(super) archives: Vec<Arc<Archive>>,
}

/// Reads what is there and changes nothing but indexes that are missing. A directory without a log has
/// archives at most.
pub(super) fn find(directory: &Path) -> io::Result<Found> {
    let mut contents = Contents::default();
    if !directory.try_exists()? {
        return Ok(Found { contents, archives: Vec::new() });
    }
    // The newest that begins as a log: one that was not finished has no such name.
    for number in Log::list(directory)?.into_iter().rev() {
        match Log::read(directory, number)? {
            Some(read) => {
                contents = read;
                break;
            }
            None => tracing::error!(
                file = %Log::path(directory, number).display(),
                "the log of the history is damaged; it is made anew from the journal and the leases"
            ),
        }
    }
    let mut archives = Vec::new();
    for kind in Kind::ALL {
        for number in kind.list(directory)? {
            match Archive::open(directory, kind, number) {
                Ok(archive) => archives.push(Arc::new(archive)),
                Err(error) => tracing::error!(
                    file = %kind.path(directory, number).display(), %error,
                    "an archive of the history cannot be read, and is left out of every answer"
                ),
            }
        }
    }
    Ok(Found { contents, archives })
}

/// What is known in memory of what was found.
pub(super) fn state(found: Found, key: DigestKey, policy: Policy, networks: Networks) -> State {
    let Found { contents, archives } = found;
    let Contents { table, intervals, .. } = contents;
    let mut recent: BTreeMap<Place, Interval> = BTreeMap::new();
    for interval in intervals {
        recent.insert(interval.place(), interval);
    }
    State {
        policy,
        fold: Fold::new(key, table),
        recent,
        archives,
        networks,
        newest: Timestamp::ZERO,
        unknown: 0,
    }
}

/// A key that nobody knows, or if the kernel has none to give, one of the store's identity: it is only
/// what keeps a client from choosing an identifier that is taken for another's.
fn random_key(store: [u8; 16]) -> DigestKey {
    use ring::rand::SecureRandom as _;
    let mut key = store;
    let _is_random = ring::rand::SystemRandom::new().fill(&mut key);
    key
}

impl Files {
    /// Opens the history of a store for writing. Its position in the journal is `None` if it has to
    /// begin with the leases as they are.
    pub(super) fn open(
        directory: &Path,
        store: [u8; 16],
        policy: Policy,
        networks: Networks,
    ) -> io::Result<(Self, State, Option<u64>)> {
        fs::create_dir_all(directory)?;
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(path)?;
            }
        }
        let mut found = find(directory)?;
        let position = found
            .contents
            .identity
            .filter(|identity| identity.store == store)
            .map(|_| found.contents.position);
        let (identity, log) = match found.contents.identity {
            Some(identity) if position.is_some() => {
                (identity, Log::go_on(directory, &found.contents)?)
            }
            // Of another store, or none: what is in archives stays, and what was open is not known.
            _ => {
                found.contents.table = Table::default();
                let identity = Identity { store, key: random_key(store) };
                let number = Log::list(directory)?.last().map_or(1, |last| last + 1);
                let intervals = found.contents.intervals.iter();
                let table = &found.contents.table;
                (identity, Log::begin(directory, number, &identity, table, intervals, 0)?)
            }
        };
        for number in Log::list(directory)? {
            if number != log.number {
                fs::remove_file(Log::path(directory, number))?;
            }
        }
        let state = state(found, identity.key, policy, networks);
        let rest = Duration::ZERO;
        Ok((Self { directory: directory.to_owned(), identity, log, rest }, state, position))
    }

    /// Whether the log is long enough to be made an archive, or its table to be written anew.
    pub(super) fn is_long(&self, state: &State) -> bool {
        let table = (state.fold.table.len() * ENTRY_BYTES) as u64;
        state.recent.len() >= RECENT_INTERVALS_MAX || self.log.bytes > LOG_BYTES_MAX.max(table * 4)
    }

    /// Makes the log an archive of each kind, and begins another. `swap` brings archives into the state
    /// and takes what is in them out of it.
    pub(super) fn seal(
        &mut self,
        state: &State,
        position: u64,
    ) -> io::Result<(Vec<Arc<Archive>>, Log)> {
        let mut archives = Vec::new();
        for kind in Kind::ALL {
            let intervals = state.recent.values().filter(|interval| Kind::of(interval) == kind);
            let mut intervals = intervals.peekable();
            if intervals.peek().is_none() {
                continue;
            }
            let number = self.next_number(kind)?;
            let mut writer =
                ArchiveWriter::begin(&self.directory, kind, number, state.policy.digest())?;
            for interval in intervals {
                writer.put(interval)?;
            }
            archives.push(Arc::new(writer.finish(&self.directory)?));
        }
        let log = Log::begin(
            &self.directory,
            self.log.number + 1,
            &self.identity,
            &state.fold.table,
            std::iter::empty(),
            position,
        )?;
        Ok((archives, log))
    }

    /// Goes on with a log that was begun, and removes the one before.
    pub(super) fn use_log(&mut self, log: Log) -> io::Result<()> {
        std::mem::replace(&mut self.log, log).remove()
    }

    pub(super) fn append(&mut self, changes: &mut Changes) -> io::Result<()> {
        self.log.append(changes)
    }

    fn next_number(&self, kind: Kind) -> io::Result<u64> {
        Ok(kind.list(&self.directory)?.last().map_or(1, |last| last + 1))
    }

    /// Writes several archives into one, leaving out what is not kept and what is there in a newer
    /// version. `None` if nothing is left. The old ones stay until the caller removes them.
    pub(super) fn merge(
        &self,
        sources: &[Arc<Archive>],
        kind: Kind,
        policy: &Policy,
        keep: &mut dyn FnMut(&Interval) -> bool,
    ) -> io::Result<Option<Arc<Archive>>> {
        let number = self.next_number(kind)?;
        let mut writer = ArchiveWriter::begin(&self.directory, kind, number, policy.digest())?;
        let mut rested = 0;
        let mut count = 0_u64;
        for mut interval in Merged::new(sources) {
            if !keep(&interval) || !policy.strip(&mut interval) {
                continue;
            }
            writer.put(&interval)?;
            count += 1;
            if writer.bytes() - rested >= WRITTEN_AT_ONCE {
                rested = writer.bytes();
                std::thread::sleep(self.rest);
            }
        }
        if count == 0 {
            let path = kind.path(&self.directory, number);
            fs::remove_file(super::archive::temporary(&path))?;
            return Ok(None);
        }
        writer.finish(&self.directory).map(|archive| Some(Arc::new(archive)))
    }
}

/// Several archives as one, in order, each interval in its newest version.
struct Merged<'a> {
    sources: Vec<std::iter::Peekable<Box<dyn Iterator<Item = Interval> + 'a>>>,
}

impl<'a> Merged<'a> {
    fn new(archives: &'a [Arc<Archive>]) -> Self {
        let sources = archives.iter().map(|archive| {
            let intervals: Box<dyn Iterator<Item = Interval> + 'a> = Box::new(archive.intervals());
            intervals.peekable()
        });
        Self { sources: sources.collect() }
    }
}

impl Iterator for Merged<'_> {
    type Item = Interval;

    fn next(&mut self) -> Option<Interval> {
        let first =
            self.sources.iter_mut().filter_map(|source| Some(source.peek()?.place())).min()?;
        let mut newest: Option<Interval> = None;
        for source in &mut self.sources {
            while let Some(interval) = source.next_if(|interval| interval.place() == first) {
                if newest.as_ref().is_none_or(|newest| interval.is_newer_than(newest)) {
                    newest = Some(interval);
                }
            }
        }
        newest
    }
}

/// What can be merged: archives of one kind and about one size, as many as are merged at once.
pub(super) fn to_merge(archives: &[Arc<Archive>]) -> Option<(Kind, Vec<Arc<Archive>>)> {
    for kind in Kind::ALL {
        let mut levels: BTreeMap<u32, Vec<Arc<Archive>>> = BTreeMap::new();
        for archive in archives.iter().filter(|archive| archive.kind == kind) {
            let count = archive.summary.count;
            if count < ARCHIVE_INTERVALS_MAX {
                let smallest = RECENT_INTERVALS_MAX as u64;
                let mut level = 0;
                while count > smallest << (3 * (level + 1)) >> 1 {
                    level += 1;
                }
                levels.entry(level).or_default().push(Arc::clone(archive));
            }
        }
        let full = levels.into_values().find(|level| level.len() >= MERGED_AT_ONCE);
        if let Some(mut full) = full {
            full.sort_unstable_by_key(|archive| archive.number);
            full.truncate(MERGED_AT_ONCE);
            return Some((kind, full));
        }
    }
    None
}

/// What has something in it that is too old, or was written under other rules: one archive of holdings, or
/// all of owners together, because what goes on in one of these may have ended in another.
pub(super) fn to_rewrite(state: &State, now: Timestamp) -> Option<(Kind, Vec<Arc<Archive>>)> {
    let policy = &state.policy;
    let of = |kind: Kind| state.archives.iter().filter(move |archive| archive.kind == kind);
    let is_other = |archive: &Archive| archive.summary.policy != policy.digest();
    let oldest = policy.oldest(now, false).milliseconds();
    let holdings = of(Kind::Holdings).find(|archive| {
        is_other(archive)
            || (archive.summary.until_min < oldest && has_too_old(archive, state, now))
    });
    if let Some(archive) = holdings {
        return Some((Kind::Holdings, vec![Arc::clone(archive)]));
    }
    let oldest = policy.oldest(now, true).milliseconds();
    let is_due = of(Kind::Owners).any(|archive| {
        is_other(archive) || (archive.summary.from_min < oldest && has_too_old(archive, state, now))
    });
    is_due.then(|| (Kind::Owners, of(Kind::Owners).cloned().collect()))
}

/// Whether an archive has something that is not kept. What goes on is kept however old it is.
fn has_too_old(archive: &Archive, state: &State, now: Timestamp) -> bool {
    archive.intervals().any(|interval| !keeps(state, &interval, now))
}

/// Whether the rules keep an interval, going by what is known of its end.
pub(super) fn keeps(state: &State, interval: &Interval, now: Timestamp) -> bool {
    if let Interval::Ownership(ownership) = interval
        && ownership.from >= state.policy.oldest(now, true)
    {
        // Nor is the version that says how it ended too old.
        return true;
    }
    if interval.ended().is_none() && goes_on(state, interval, now) {
        return true;
    }
    // A registration without an end that goes on no more has ended in a newer version.
    let is_known = interval.ended().is_some() || matches!(interval, Interval::Holding(_));
    is_known && state.policy.keeps(interval, now)
}

/// Whether what is not said to have ended still goes on, or ran out so lately that it is kept.
fn goes_on(state: &State, interval: &Interval, now: Timestamp) -> bool {
    match interval {
        Interval::Holding(holding) => state.fold.table.open(holding.address).is_some_and(|open| {
            open.from == holding.from && open.ends >= state.policy.oldest(now, false)
        }),
        Interval::Ownership(ownership) => {
            let newest = ownerships_of(&state.recent, &state.archives, ownership.hardware).pop();
            newest.is_some_and(|newest| {
                newest.ended.is_none()
                    && newest.from == ownership.from
                    && newest.until >= state.policy.oldest(now, true)
            })
        }
    }
}
