//! The names of the store's files, and what a name says.

use std::path::{Path, PathBuf};

/// The file that says that a directory is a store, and which.
pub(super) const META: &str = "META";

/// The file that says what time it was at which moment since the machine booted.
const CLOCK: &str = "CLOCK";

/// What a file in the state directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// `META`.
    Meta,
    /// `CLOCK`.
    Clock,
    /// `journal-N`: segment N of the journal.
    Segment(u64),
    /// `snapshot-N`: the book as it was somewhere after segment N was begun.
    Snapshot(u64),
    /// `spare-N`: a prepared segment without a place in the journal; the number only tells it from
    /// other spares.
    Spare(u64),
    /// `snapshot-N.bad`: a snapshot that was found damaged, kept until the next good one.
    BadSnapshot(u64),
    /// `*.tmp` of the above: something that was being made when the process ended.
    Temporary(String),
}

impl FileName {
    /// What `name` is; `None` if it is none of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == META {
            return Some(Self::Meta);
        }
        if name == CLOCK {
            return Some(Self::Clock);
        }
        if let Some(stem) = name.strip_suffix(".tmp") {
            return Self::parse(stem).map(|_| Self::Temporary(name.to_owned()));
        }
        let (kind, number) = name.split_once('-')?;
        match kind {
            "journal" => parse_number(number).map(Self::Segment),
            "spare" => parse_number(number).map(Self::Spare),
            "snapshot" => match number.strip_suffix(".bad") {
                Some(number) => parse_number(number).map(Self::BadSnapshot),
                None => parse_number(number).map(Self::Snapshot),
            },
            _ => None,
        }
    }

    /// The path of the file in `directory`.
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Meta => META.to_owned(),
            Self::Clock => CLOCK.to_owned(),
            Self::Segment(number) => format!("journal-{number:020}"),
            Self::Snapshot(number) => format!("snapshot-{number:020}"),
            Self::Spare(number) => format!("spare-{number:020}"),
            Self::BadSnapshot(number) => format!("snapshot-{number:020}.bad"),
            Self::Temporary(name) => name.clone(),
        })
    }

    /// The path that the file has while it is being made.
    pub(super) fn temporary_path(&self, directory: &Path) -> PathBuf {
        let mut path = self.path(directory).into_os_string();
        path.push(".tmp");
        path.into()
    }
}

/// Twenty digits: names sort as their numbers do, and no number has two names.
fn parse_number(digits: &str) -> Option<u64> {
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_left_alone() {
        let directory = Path::new("/x");
        for name in [
            FileName::Meta,
            FileName::Clock,
            FileName::Segment(7),
            FileName::Snapshot(u64::MAX),
            FileName::Spare(0),
            FileName::BadSnapshot(3),
        ] {
            let path = name.path(directory);
            let text = path.file_name().and_then(|text| text.to_str()).unwrap_or_default();
            assert_eq!(FileName::parse(text), Some(name.clone()));
            let path = name.temporary_path(directory);
            let text = path.file_name().and_then(|text| text.to_str()).unwrap_or_default();
            assert_eq!(FileName::parse(text), Some(FileName::Temporary(text.to_owned())));
        }
        for text in ["index", "token", "journal-7", "journal-+0000000000000000007", "x.tmp", ""] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }
}
