//! Looking things up: a bounded piece of the history at a time.
//!
//! An answer has the intervals in the order of their beginnings. It looks at a bounded number of blocks,
//! so a page may be short, even empty, and still not be the last.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::{Archive, Kind};
use super::index::seconds;
use super::interval::{Ended, Holding, Interval, Key, Ownership, Place};
use super::policy::Policy;
use super::state::{State, ownerships_of};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;
use vestibule_config::HistoryField;
use vestibule_core::{HardwareAddress, Timestamp};

/// Blocks of 8 KiB that one answer reads at most.
pub const BLOCKS_READ_MAX: usize = 1500;

/// Entries of one archive's index that one answer looks at.
const ENTRIES_MAX: usize = 32_768;

/// Devices of one owner that are looked at.
pub const DEVICES_OF_OWNER_MAX: usize = 256;

/// What the history is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Who held this address.
    Address(Ipv4Addr),
    /// What this device held.
    Hardware(HardwareAddress),
    /// What was held behind this circuit ID (RFC 3046), byte for byte.
    Circuit(Box<[u8]>),
    /// What the devices of this owner held while they were this owner's.
    Owner(Box<str>),
}

/// Behind which interval the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    from: u64,
    subject: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.subject)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, subject) = text.split_once('-').ok_or(())?;
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).ok_or(())
        };
        Ok(Self { from: number(from)?, subject: number(subject)? })
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// By what.
    pub by: By,
    /// Only what ended after this.
    pub from: Timestamp,
    /// Only what began before this.
    pub until: Timestamp,
    /// The next page's beginning.
    pub after: Option<Cursor>,
    /// Intervals in one page.
    pub limit: usize,
}

/// Who held an address, and who answered for them meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who held it. `ended` is set unless it goes on.
    pub holding: Holding,
    /// The registrations of the device while it held it, oldest first.
    pub ownerships: Vec<Ownership>,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their beginnings.
    pub told: Vec<Told>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
    /// Parts of the history that cannot be read: what was in them is missing.
    pub damaged: u64,
}

/// What a question looks at: taken out of the state at once, so that nobody waits for a disk.
pub(super) struct View {
    pub(super) archives: Vec<Arc<Archive>>,
    /// What of the log can belong to the answer.
    pub(super) recent: BTreeMap<Place, Interval>,
}

enum Wanted<'a> {
    Subject(u64),
    Key(&'a Key),
}

impl Wanted<'_> {
    fn is(&self, interval: &Interval) -> bool {
        match self {
            Self::Subject(subject) => interval.place().subject == *subject,
            Self::Key(key) => match (key, interval) {
                (Key::Hardware(hardware), Interval::Holding(holding)) => {
                    holding.hardware == *hardware
                }
                _ => interval.keys().any(|found| found == **key),
            },
        }
    }
}

type Intervals = BTreeMap<(u64, u64), Interval>;

/// Reads blocks, each once, as many as one answer may.
struct Blocks<'a> {
    archives: &'a [Arc<Archive>],
    read: HashMap<(usize, usize), Arc<[Interval]>>,
}

impl Blocks<'_> {
    /// The intervals of a block; `None` if there were enough blocks already, unless it is needed.
    fn get(&mut self, archive: usize, block: usize, is_needed: bool) -> Option<Arc<[Interval]>> {
        if let Some(known) = self.read.get(&(archive, block)) {
            return Some(Arc::clone(known));
        }
        if self.read.len() >= BLOCKS_READ_MAX && !is_needed {
            return None;
        }
        let intervals: Arc<[Interval]> = self.archives.get(archive)?.block(block).into();
        self.read.insert((archive, block), Arc::clone(&intervals));
        Some(intervals)
    }
}

/// The holdings that are wanted, those that begin after `after`, and where it had to stop early.
fn collect(
    view: &View,
    blocks: &mut Blocks<'_>,
    wanted: &Wanted<'_>,
    question: &Question,
) -> (Intervals, Option<Cursor>) {
    let after = question.after.unwrap_or(Cursor { from: 0, subject: 0 });
    let is_wanted = |interval: &Interval| {
        let place = interval.place();
        let is_after =
            question.after.is_none() || (place.from, place.subject) > (after.from, after.subject);
        is_after
            && place.from < question.until.milliseconds()
            && matches!(interval, Interval::Holding(_))
            && wanted.is(interval)
    };
    let mut found = Intervals::new();
    let take = |interval: &Interval, found: &mut Intervals| {
        let Place { subject, from } = interval.place();
        let is_newer =
            found.get(&(from, subject)).is_none_or(|known| interval.is_newer_than(known));
        if is_newer && is_wanted(interval) {
            found.insert((from, subject), interval.clone());
        }
    };
    for interval in view.recent.values() {
        take(interval, &mut found);
    }
    // Where intervals may be: when they begin (in seconds, or earlier), the archive, the block.
    let mut places: Vec<(u32, usize, usize)> = Vec::new();
    let mut frontier: Option<u32> = None;
    for (number, archive) in view.archives.iter().enumerate() {
        let is_holdings = archive.kind == Kind::Holdings;
        let begins_early = archive.summary.from_min < question.until.milliseconds();
        let ends_late = archive.summary.until_max >= question.from.milliseconds();
        if !(is_holdings && begins_early && ends_late) {
            continue;
        }
        match wanted {
            Wanted::Subject(subject) => {
                let range = archive.blocks_of(Place { subject: *subject, from: after.from });
                for block in range {
                    let fence = archive.index.fences.get(block);
                    let first = fence.filter(|fence| fence.first.subject == *subject);
                    let from = first.map_or(0, |fence| seconds(fence.first.from / 1000));
                    places.push((from, number, block));
                }
            }
            Wanted::Key(key) => {
                match archive.index.entries(key.hash(), seconds(after.from / 1000), ENTRIES_MAX) {
                    Ok((entries, is_cut)) => {
                        let last = entries.last().map(|entry| entry.from_seconds.saturating_add(1));
                        if let Some(last) = last.filter(|_| is_cut) {
                            frontier = Some(frontier.map_or(last, |frontier| frontier.min(last)));
                        }
                        let entries = entries.into_iter();
                        places.extend(entries.map(|entry| {
                            (
                                entry.from_seconds,
                                number,
                                usize::try_from(entry.block).unwrap_or(usize::MAX),
                            )
                        }));
                    }
                    Err(error) => tracing::error!(
                        file = %archive.path.display(), %error,
                        "an index of the history cannot be read; remove the file beside the archive and start again"
                    ),
                }
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    let until = seconds(question.until.milliseconds() / 1000);
    let enough = question.limit.saturating_add(1);
    let mut begun = 0;
    let mut looked_at = HashSet::new();
    for (from, archive, block) in places {
        if from > until {
            break;
        }
        if frontier.is_some_and(|frontier| from >= frontier) {
            break;
        }
        // All that begin earlier have been seen.
        if from > begun {
            let seen = found
                .range(..(u64::from(from) * 1000, 0))
                .filter(|(_, it)| ends_after(it, question.from));
            if seen.take(enough).count() >= enough {
                return (found, Some(Cursor { from: u64::from(from) * 1000, subject: 0 }));
            }
            begun = from;
        }
        if !looked_at.insert((archive, block)) {
            continue;
        }
        // Every page comes further than the second that the one before ended in.
        let is_needed = from <= seconds(after.from / 1000);
        let Some(intervals) = blocks.get(archive, block, is_needed) else {
            frontier = Some(from);
            break;
        };
        for interval in intervals.iter() {
            take(interval, &mut found);
        }
    }
    let cut = frontier.map(|from| Cursor { from: u64::from(from) * 1000, subject: 0 });
    (found, cut)
}

/// Whether an interval is not over before `from`; one that is not said to have ended may go on.
fn ends_after(interval: &Interval, from: Timestamp) -> bool {
    interval.ended().is_none() || interval.until() > from
}

/// Answers a question. `live` says of a holding that is not said to have ended until when it goes on.
pub(super) fn answer(
    view: &View,
    question: &Question,
    now: Timestamp,
    policy: &Policy,
    live: &dyn Fn(&Holding) -> Option<Timestamp>,
) -> Page {
    let oldest = (policy.oldest(now, false), policy.oldest(now, true));
    let mut blocks = Blocks { archives: &view.archives, read: HashMap::new() };
    let (mut found, mut cut) = match &question.by {
        By::Address(address) => {
            let subject = u32::from(*address).into();
            collect(view, &mut blocks, &Wanted::Subject(subject), question)
        }
        By::Hardware(hardware) => {
            collect(view, &mut blocks, &Wanted::Key(&Key::Hardware(*hardware)), question)
        }
        // What the rules do not keep is in no answer, also while it is still being removed.
        By::Owner(_) if policy.drops(HistoryField::Owner) => (Intervals::new(), None),
        By::Circuit(_) if policy.drops(HistoryField::Circuit) => (Intervals::new(), None),
        By::Circuit(circuit) => {
            collect(view, &mut blocks, &Wanted::Key(&Key::Circuit(circuit.clone())), question)
        }
        By::Owner(owner) => of_owner(view, &mut blocks, owner, question, oldest.1),
    };
    if let Some(cut) = cut {
        found.retain(|(from, subject), _| (*from, *subject) < (cut.from, cut.subject));
    }
    let mut page = Page::default();
    let mut known: HashMap<HardwareAddress, Vec<Ownership>> = HashMap::new();
    let mut last = None;
    for ((from, subject), interval) in found {
        let Interval::Holding(holding) = interval else { continue };
        let holding = ended(holding, now, live);
        if holding.until < oldest.0 || holding.until <= question.from {
            continue;
        }
        if page.told.len() == question.limit {
            cut = last;
            break;
        }
        last = Some(Cursor { from, subject });
        let all = known
            .entry(holding.hardware)
            .or_insert_with(|| ownerships_of(&view.recent, &view.archives, holding.hardware));
        let ownerships = all.iter().filter(|it| {
            it.from < holding.until && it.until > holding.from && it.until >= oldest.1
        });
        let ownerships = ownerships.cloned().filter_map(|it| {
            let mut kept = Interval::Ownership(over(it, now));
            let is_something = policy.strip(&mut kept);
            let Interval::Ownership(kept) = kept else { return None };
            is_something.then_some(kept)
        });
        let ownerships = ownerships.collect();
        let mut kept = Interval::Holding(holding);
        policy.strip(&mut kept);
        let Interval::Holding(holding) = kept else { continue };
        page.told.push(Told { holding, ownerships });
    }
    page.next = cut.map(|cut| {
        // What begins at a cut is in the next page; what was told last is not.
        if Some(cut) == last {
            cut
        } else {
            Cursor { from: cut.from.saturating_sub(1), subject: u64::MAX }
        }
    });
    page.damaged = view.archives.iter().map(|archive| archive.damaged()).sum();
    page
}

/// With its end, if it has one.
fn ended(
    holding: Holding,
    now: Timestamp,
    live: &dyn Fn(&Holding) -> Option<Timestamp>,
) -> Holding {
    if holding.ended.is_some() {
        return holding;
    }
    match live(&holding) {
        Some(until) if until > now => Holding { until, ..holding },
        Some(until) => Holding { until, ended: Some(Ended::Expired), ..holding },
        None => {
            let ended = if holding.until <= now { Ended::Expired } else { Ended::Unknown };
            Holding { until: holding.until.min(now), ended: Some(ended), ..holding }
        }
    }
}

fn over(ownership: Ownership, now: Timestamp) -> Ownership {
    let is_over = ownership.ended.is_none() && ownership.until <= now;
    Ownership { ended: if is_over { Some(Ended::Expired) } else { ownership.ended }, ..ownership }
}

/// What the devices of an owner held while they were theirs.
fn of_owner(
    view: &View,
    blocks: &mut Blocks<'_>,
    owner: &str,
    question: &Question,
    oldest: Timestamp,
) -> (Intervals, Option<Cursor>) {
    let key = Key::Owner(owner.into());
    let mut devices = BTreeSet::new();
    let mut take = |interval: &Interval| {
        if let Interval::Ownership(ownership) = interval
            && ownership.owner.as_deref() == Some(owner)
        {
            devices.insert(ownership.hardware);
        }
    };
    view.recent.values().for_each(&mut take);
    for archive in view.archives.iter().filter(|archive| archive.kind == Kind::Owners) {
        let entries = archive.index.entries(key.hash(), 0, DEVICES_OF_OWNER_MAX * 16);
        let blocks: BTreeSet<u32> =
            entries.into_iter().flat_map(|(entries, _)| entries).map(|entry| entry.block).collect();
        for block in blocks {
            archive.block(usize::try_from(block).unwrap_or(usize::MAX)).iter().for_each(&mut take);
        }
    }
    let (mut all, mut cut): (Intervals, Option<Cursor>) = (Intervals::new(), None);
    for hardware in devices.into_iter().take(DEVICES_OF_OWNER_MAX) {
        let theirs: Vec<Ownership> = ownerships_of(&view.recent, &view.archives, hardware)
            .into_iter()
            .filter(|it| it.owner.as_deref() == Some(owner) && it.until >= oldest)
            .collect();
        let key = Key::Hardware(hardware);
        let (found, stopped) = collect(view, blocks, &Wanted::Key(&key), question);
        cut = match (cut, stopped) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let is_theirs = |interval: &Interval| {
            let until =
                if interval.ended().is_some() { interval.until() } else { Timestamp::FOREVER };
            theirs.iter().any(|it| it.from < until && it.until > interval.from())
        };
        all.extend(found.into_iter().filter(|(_, interval)| is_theirs(interval)));
    }
    (all, cut)
}

impl State {
    /// What a question needs of the state.
    pub(super) fn view(&self, by: &By) -> View {
        let is_wanted = |interval: &Interval| match (by, interval) {
            (_, Interval::Ownership(_)) | (By::Owner(_), _) => true,
            (By::Address(address), Interval::Holding(holding)) => holding.address == *address,
            (By::Hardware(hardware), Interval::Holding(holding)) => holding.hardware == *hardware,
            (By::Circuit(circuit), interval @ Interval::Holding(_)) => {
                interval.keys().any(|key| key == Key::Circuit(circuit.clone()))
            }
        };
        let recent = self.recent.iter().filter(|(_, interval)| is_wanted(interval));
        let recent = recent.map(|(place, interval)| (*place, interval.clone())).collect();
        View { archives: self.archives.clone(), recent }
    }
}
