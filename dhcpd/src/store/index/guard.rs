//! Keeps a panic of sled from ending the server.
//!
//! sled panics where it should return an error, on threads of its own too, and in a release build a
//! panic ends the process. The lease book shares nothing with the index, so such a panic says nothing
//! about it. The guard stops the thread that panicked for good, before it can take the process along;
//! from then on the index is left alone until the next start. A note of it stays beside the index: the
//! next start makes the index anew, and after [`PANICS_PER_DAY_MAX`] of them within a day leaves it
//! out. Every other panic goes its way.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Panics within a day after which a start leaves the index out.
pub const PANICS_PER_DAY_MAX: usize = 3;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The file in the state directory that has a line for each panic.
pub const NOTE: &str = "index-panics";

/// Bytes of it that are read, and characters of one line.
const NOTE_BYTES_MAX: usize = 64 * 1024;
const LINE_CHARACTERS_MAX: usize = 500;

/// The name of our own thread that uses sled.
pub(super) const INDEX_THREAD: &str = "index";

/// Whether the guard has stopped a thread in this process. sled's stores share threads, so it holds for
/// every index in it.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// Sets the guard for this process; what panicked is noted in `state_dir`. Once, before the index is
/// opened.
pub fn install(state_dir: &Path) {
    let note = state_dir.join(NOTE);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let thread = std::thread::current();
        let file = panic.location().map_or("", |location| location.file());
        if is_of_the_index(thread.name(), file) {
            stop_this_thread(&note, panic);
        }
    }));
}

/// Whether the index panicked in this process, and must be left alone.
pub(super) fn has_panicked() -> bool {
    HAS_PANICKED.load(Ordering::Acquire)
}

/// Panics of the last day that are noted in the state directory.
#[must_use]
pub fn recent_panics(state_dir: &Path) -> usize {
    let Ok(bytes) = fs::read(state_dir.join(NOTE)) else { return 0 };
    let text = String::from_utf8_lossy(bytes.get(..NOTE_BYTES_MAX).unwrap_or(&bytes)).into_owned();
    let now = now_seconds();
    text.lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        // One of the future is of a clock that was wrong: it counts, on the safe side.
        .filter(|then| now.saturating_sub(*then) < DAY.as_secs())
        .count()
}

/// A panic of the library's code, or on a thread that runs nothing else. Ours has code of its own; what
/// it does wrong concerns the index as well.
fn is_of_the_index(thread: Option<&str>, file: &str) -> bool {
    let is_its_thread =
        thread.is_some_and(|name| name == INDEX_THREAD || name.starts_with("sled-"));
    is_its_thread || file.split('/').any(|part| part.starts_with("sled-"))
}

fn stop_this_thread(note: &PathBuf, panic: &PanicHookInfo<'_>) -> ! {
    HAS_PANICKED.store(true, Ordering::Release);
    let line = format!("{} {panic}", now_seconds()).replace('\n', " ");
    let line: String = line.chars().take(LINE_CHARACTERS_MAX).collect();
    let noted = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(note)
        .and_then(|mut file| writeln!(file, "{line}").and_then(|()| file.sync_all()));
    tracing::error!(
        note = %note.display(),
        noted = noted.is_ok(),
        "the index's library panicked; leases are served as before, and searches look through the book until the \
         next start makes the index anew"
    );
    loop {
        std::thread::park();
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    #[test]
    fn only_panics_of_the_index_are_stopped() {
        let ours = "dhcpd/src/commit/barrier.rs";
        let theirs = "/home/builder/.cargo/registry/src/x/sled-0.34.7/src/pagecache/mod.rs";
        assert!(is_of_the_index(Some("sled-io-3"), "library/core/src/option.rs"));
        assert!(is_of_the_index(Some("index"), ours));
        assert!(is_of_the_index(Some("api"), theirs));
        assert!(!is_of_the_index(Some("commit"), ours));
        assert!(!is_of_the_index(Some("decide"), "library/core/src/option.rs"));
        assert!(!is_of_the_index(None, "tests/sledge/src/lib.rs"));
    }

    #[test]
    fn panics_of_the_last_day_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(recent_panics(directory.path()), 0);
        let now = now_seconds();
        let day = DAY.as_secs();
        let text =
            format!("{} a\n{} b\ngarbage\n\n{} c\n", now - 2 * day, now - day / 2, now + day);
        fs::write(directory.path().join(NOTE), text).unwrap();
        assert_eq!(recent_panics(directory.path()), 2);
    }
}
