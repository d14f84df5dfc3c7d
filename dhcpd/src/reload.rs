//! Another configuration while the server serves: read, checked, compared, and taken whole or not at all.
//!
//! It promises that a file with a mistake, and a change that only a restart can make, leave everything as it
//! was; that one reload at a time is under way; and that what it reports as changed is what the core was told.

use crate::daemon::lease_token;
use crate::door::{Door, DoorError};
use crate::history::History;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use vestibule_config::{Difference, Mistakes, Vestibule, difference};
use vestibule_core::{Answer, Command};
use vestibule_firewall::Ruleset;

/// What reloads, for signals and for the API.
pub struct Reload {
    file: PathBuf,
    door: Door,
    /// What names the networks of leases.
    history: Option<Arc<History>>,
    /// Addresses that the kernel sets were made for; `None`: there are none.
    elements_max: Option<u32>,
    /// How long a key of lease tokens is used; `None`: there are none.
    token_period_seconds: Option<u64>,
    /// What the server works by.
    current: Mutex<Vestibule>,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What changes, in an operator's words.
    pub changes: Vec<String>,
    /// Held leases whose address nobody may have any more: they stay until they end, and are not renewed.
    pub stranded: usize,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum ReloadError {
    /// The file has mistakes.
    Configuration(Mistakes),
    /// The sections that changed, and that only a restart can change.
    NeedsRestart(Vec<String>),
    /// Which halves of a pair work by which pools is agreed when they start.
    Paired,
    /// The server did not answer; it may or may not have been changed.
    Door(DoorError),
    /// The server answered another question.
    Mismatch,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(mistakes) => write!(f, "the file has mistakes: {mistakes}"),
            Self::NeedsRestart(what) => write!(
                f,
                "only a restart can change {}; nothing was changed",
                what.join(", ")
            ),
            Self::Paired => f.write_str(
                "half of a failover pair takes no other configuration while it runs: restart one half after the other",
            ),
            Self::Door(error) => error.fmt(f),
            Self::Mismatch => f.write_str("the server answered another question than was asked"),
        }
    }
}

impl std::error::Error for ReloadError {}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Reload {
    /// Reloads `file` into the server behind `door`, which was started with `current`.
    #[must_use]
    pub fn new(file: &Path, current: Vestibule, door: Door, history: Option<Arc<History>>) -> Self {
        Self {
            file: file.to_owned(),
            door,
            history,
            elements_max: elements_max(&current),
            token_period_seconds: token_period_seconds(&current),
            current: Mutex::new(current),
        }
    }

    /// Reads the file and has the server work by it; with `dry_run`, only says what that would change. Once
    /// it is called it goes on to its end, also if nobody waits for that.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing was changed, unless the server did not answer.
    pub async fn run(self: &Arc<Self>, dry_run: bool) -> Result<Reloaded, ReloadError> {
        let reload = Arc::clone(self);
        // Who asks over the API may go at any time, and what was done has to be known afterwards.
        let task = tokio::spawn(async move { reload.carry_out(dry_run).await });
        task.await.unwrap_or(Err(ReloadError::Mismatch))
    }

    async fn carry_out(&self, dry_run: bool) -> Result<Reloaded, ReloadError> {
        let mut current = self.current.lock().await;
        let file = self.file.clone();
        // A large file takes a while.
        let read = tokio::task::spawn_blocking(move || vestibule_config::load(&file)).await;
        let new =
            read.map_err(|_panicked| ReloadError::Mismatch)?.map_err(ReloadError::Configuration)?;
        let Difference { changes, mut needs_restart } = difference(&current, &new);
        if elements_max(&new) > self.elements_max {
            needs_restart.push(
                "the number of addresses of gated networks, beyond what the kernel sets are for"
                    .to_owned(),
            );
        }
        if token_period_seconds(&new) > self.token_period_seconds {
            needs_restart.push("a lifetime of leases beyond that of lease tokens".to_owned());
        }
        if !needs_restart.is_empty() {
            return Err(ReloadError::NeedsRestart(needs_restart));
        }
        let configuration = Box::new(new.core.clone());
        let command = Command::Configure { configuration, apply: !dry_run };
        // Before there are leases in networks that the history does not know.
        self.name_networks(&new, dry_run);
        let answer = self.door.command(command).await;
        let Ok(Answer::Configured { stranded }) = answer else {
            self.name_networks(&current, dry_run);
            return Err(match answer {
                Ok(Answer::NotWithPartner) => ReloadError::Paired,
                Ok(_) => ReloadError::Mismatch,
                Err(error) => ReloadError::Door(error),
            });
        };
        if !dry_run {
            for warning in vestibule_config::warnings(&new) {
                tracing::warn!("{warning}");
            }
            *current = new;
        }
        Ok(Reloaded { changes, stranded })
    }

    fn name_networks(&self, vestibule: &Vestibule, dry_run: bool) {
        if let Some(history) = self.history.as_ref().filter(|_| !dry_run) {
            history.name_networks(&vestibule.core);
        }
    }

    /// As [`Reload::run`], for a signal: what came of it stands in the log.
    pub async fn run_for_signal(self: &Arc<Self>) {
        match self.run(false).await {
            Ok(Reloaded { changes, stranded }) => {
                for change in &changes {
                    tracing::info!(change, "reloaded");
                }
                tracing::info!(changes = changes.len(), stranded, "the configuration is reloaded");
            }
            Err(error) => {
                tracing::error!(%error, "not reloaded: the server goes on by what it had");
            }
        }
    }
}

fn elements_max(vestibule: &Vestibule) -> Option<u32> {
    Ruleset::planned(vestibule).map(|plan| plan.elements_max)
}

fn token_period_seconds(vestibule: &Vestibule) -> Option<u64> {
    let has_tokens = vestibule.captive.as_ref().is_some_and(|captive| captive.lease_token);
    has_tokens.then(|| lease_token::period_seconds(vestibule))
}
