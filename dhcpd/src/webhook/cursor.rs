//! How far a webhook's receiver has come, in a file of its own.
//!
//! Written beside the old one and named into its place, so that it is whole at every moment. It is not
//! synced: what a power cut takes back is sent again, which is what "at least once" says. A file that
//! cannot be read makes the webhook begin with the oldest event that is kept.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a file that are looked at: a number and a checksum are far below.
const FILE_BYTES_MAX: u64 = 256;

/// See the module.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    id: u64,
}

impl Cursor {
    /// The place of a webhook whose events are in `directory`. A new one begins at `newest`: it is told
    /// what happens from now on. `oldest`: where one begins whose file is damaged. Where the disk is too
    /// full for a new file, or for the directory, the place counts in memory until it can be noted: nobody
    /// goes without service for it.
    ///
    /// # Errors
    /// If the file can neither be read nor made for another reason.
    pub fn open(directory: &Path, name: &str, oldest: u64, newest: u64) -> io::Result<Self> {
        let path = directory.join(format!("{name}.cursor"));
        match OpenOptions::new().read(true).open(&path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
                let id = parse(&bytes).unwrap_or_else(|| {
                    tracing::warn!(
                        path = %path.display(),
                        "the place of a webhook cannot be read: it begins with the oldest event that is kept"
                    );
                    oldest
                });
                Ok(Self { path, id })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut cursor = Self { path, id: newest };
                match cursor.note(newest) {
                    Err(error) if !is_for_want_of_room(&error) => Err(error),
                    Err(error) => {
                        tracing::warn!(
                            %error,
                            path = %cursor.path.display(),
                            "the place of a webhook cannot be noted yet: a restart before it is would begin with what \
                             happens then"
                        );
                        Ok(cursor)
                    }
                    Ok(()) => Ok(cursor),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The last event that the receiver has taken.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The receiver has taken everything up to here.
    ///
    /// # Errors
    /// If the file cannot be written; the place counts in memory all the same.
    pub fn note(&mut self, id: u64) -> io::Result<()> {
        self.id = id;
        let number = id.to_string();
        let text = format!("{:08x} {number}\n", crc32c::crc32c(number.as_bytes()));
        let beside = self.path.with_extension("cursor-new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&beside, &self.path)
    }
}

/// Whether the disk is full, also if the directory could not be made for that.
fn is_for_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, QuotaExceeded, StorageFull};
    matches!(error.kind(), NotFound | QuotaExceeded | StorageFull)
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (checksum, number) = text.split_once(' ')?;
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    (checksum == crc32c::crc32c(number.as_bytes())).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn a_place_without_room_counts_in_memory_until_it_can_be_noted() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("events");
        let mut cursor = Cursor::open(&directory, "a", 3, 99).unwrap();
        assert_eq!(cursor.id(), 99);
        std::fs::create_dir(&directory).unwrap();
        cursor.note(120).unwrap();
        assert_eq!(Cursor::open(&directory, "a", 3, 200).unwrap().id(), 120);
    }

    #[test]
    fn a_place_is_found_again_and_damage_begins_with_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Cursor::open(directory.path(), "a.b", 3, 99).unwrap();
        assert_eq!(open().id(), 99, "a new one begins now");
        open().note(17).unwrap();
        assert_eq!(open().id(), 17);
        let path = directory.path().join("a.b.cursor");
        let text = std::fs::read(&path).unwrap();
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            assert_eq!(open().id(), 3, "cut to {length} bytes");
        }
        std::fs::write(&path, b"00000000 18\n").unwrap();
        assert_eq!(open().id(), 3);
    }
}
