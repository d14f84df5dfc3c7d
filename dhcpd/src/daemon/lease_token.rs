//! The key of lease tokens: 32 random bytes in a file of the state directory, made at the first start.
//!
//! Whoever knows it can name any lease, so only the server's user reads it. Deleting the file and starting
//! again makes every token that was given invalid, and nothing else.

use super::StartError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use vestibule_config::Vestibule;
use vestibule_core::LeaseTokens;

/// The file in the state directory.
const FILE: &str = "lease-token.key";

/// How long a key that follows from it is used at least.
const PERIOD_SECONDS_MIN: u64 = 24 * 60 * 60;

/// What makes tokens; `None` if the configuration wants none.
pub(super) fn tokens(vestibule: &Vestibule) -> Result<Option<LeaseTokens>, StartError> {
    let captive = vestibule.captive.as_ref().filter(|captive| captive.lease_token);
    let Some(captive) = captive else { return Ok(None) };
    let path = vestibule.server.state_dir.join(FILE);
    let key = key(&path).map_err(|error| StartError::LeaseTokenKey(path, error))?;
    Ok(Some(LeaseTokens::new(&key, period_seconds(vestibule), &captive.url)))
}

/// How long a key that follows from it is used: a token must not die before its lease.
pub(crate) fn period_seconds(vestibule: &Vestibule) -> u64 {
    let core = &vestibule.core;
    let of_classes = core.policy.classes.iter().filter_map(|class| class.lifetime_seconds);
    let of_profiles = core.policy.profiles.iter().filter_map(|profile| profile.lifetime_seconds);
    let longest = of_classes
        .chain(of_profiles)
        .fold(core.lifetime_seconds.max(core.lifetime_unregistered_seconds), u32::max);
    PERIOD_SECONDS_MIN.max(longest.into())
}

fn key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match File::open(path) {
        Ok(mut file) => file.read_exact(&mut key)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            File::open("/dev/urandom")?.read_exact(&mut key)?;
            let beside = path.with_extension("key-new");
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&key)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_for_this_user_alone_and_a_short_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let first = key(&path).unwrap();
        assert_eq!(key(&path).unwrap(), first);
        assert_ne!(first, [0; 32]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert!(key(&path).is_err());
    }
}
