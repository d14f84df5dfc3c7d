//! The real daemon on a store of a million leases: how long it takes to start, and how much it keeps.
//!
//! The store is written by the server's own store code: a snapshot of all leases, and behind it a
//! journal tail of renewals, as a server leaves it that was killed. The daemon runs in a network
//! namespace of its own, without a gate and then with one, and with everything else that it has: sockets, API,
//! index.

use super::costs::NOW;
use super::population;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_core::{Record, Timestamp};
use vestibule_dhcpd::store::{COMMIT_RECORDS_MAX, Store, StoreError, StoreOptions};

/// Renewals in the journal behind the snapshot.
pub const TAIL_RENEWALS: u32 = 100_000;

/// How long the daemon may take for a start, and its index to be made.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why it could not be measured.
#[derive(Debug)]
pub enum DaemonError {
    /// The store could not be written.
    Store(StoreError),
    /// A file or a process could not be had.
    Io(io::Error),
    /// The daemon did not come up; what it said.
    NotReady(String),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store cannot be written: {error}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::NotReady(said) => write!(f, "the daemon did not become ready; it said:\n{said}"),
        }
    }
}

impl std::error::Error for DaemonError {}

impl From<StoreError> for DaemonError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for DaemonError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the daemon's configuration into `directory`.
///
/// # Errors
/// [`DaemonError`].
pub fn configure(directory: &Path, is_gated: bool) -> Result<(), DaemonError> {
    let text = population::configuration_file(&directory.display().to_string(), is_gated);
    Ok(std::fs::write(directory.join("vestibule.toml"), text)?)
}

/// Writes the daemon's files into `directory`: configuration, token, and a store with the leases of
/// `residents` devices.
///
/// # Errors
/// [`DaemonError`].
pub fn prepare(directory: &Path, residents: u32) -> Result<(), DaemonError> {
    configure(directory, false)?;
    let token = directory.join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef\n")?;
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_seconds(since_1970.as_secs().max(NOW.seconds()));
    let (mut store, _) = Store::open(&directory.join("state"), StoreOptions::default())?;
    let lease =
        |device: u32, age: u32| Record::Lease(population::lease(device, now, u64::from(age)));
    let age = |device: u32| device % (population::LIFETIME_SECONDS / 2);
    // The snapshot has to have something to go behind.
    store.commit(&[lease(0, age(0))])?;
    let mut writer = store.begin_snapshot()?;
    let devices: Vec<u32> = population::by_address(residents).collect();
    for page in devices.chunks(COMMIT_RECORDS_MAX) {
        let records: Vec<Record> = page.iter().map(|device| lease(*device, age(*device))).collect();
        writer.write(&records)?;
    }
    store.snapshot_finished(writer.finish()?)?;
    let tail: Vec<u32> = (0..TAIL_RENEWALS.min(residents)).collect();
    for group in tail.chunks(512) {
        let records: Vec<Record> = group.iter().map(|device| lease(*device, 0)).collect();
        store.commit(&records)?;
    }
    Ok(())
}

/// The daemon, ended when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// From the start of the process to its line `ready`.
    pub start: Duration,
    lines: std::sync::mpsc::Receiver<String>,
    said: String,
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What it has in memory now, in KiB.
    pub resident_kib: u64,
    /// The most it ever had, in KiB.
    pub peak_kib: u64,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// [`DaemonError`].
    pub fn start(program: &Path, directory: &Path) -> Result<Self, DaemonError> {
        let script = "ip link set lo up && exec \"$0\" --config \"$1\"";
        let begun = Instant::now();
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .arg(program)
            .arg(directory.join("vestibule.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = std::sync::mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let mut daemon = Self { child, start: Duration::ZERO, lines, said: String::new() };
        daemon.wait_for(" ready ")?;
        daemon.start = begun.elapsed();
        Ok(daemon)
    }

    /// Waits for a line of its log.
    ///
    /// # Errors
    /// [`DaemonError::NotReady`] with everything that it said, if the line does not come.
    pub fn wait_for(&mut self, text: &str) -> Result<(), DaemonError> {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                return Err(DaemonError::NotReady(std::mem::take(&mut self.said)));
            };
            self.said.push_str(&line);
            self.said.push('\n');
            if line.contains(text) {
                return Ok(());
            }
        }
    }

    /// Everything that it has said so far.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Its memory.
    ///
    /// # Errors
    /// [`DaemonError::Io`] if the kernel does not tell.
    pub fn memory(&self) -> Result<Memory, DaemonError> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let read = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
        };
        Ok(Memory { resident_kib: read("VmRSS:"), peak_kib: read("VmHWM:") })
    }

    /// Ends it as an operator does, and waits for that.
    ///
    /// # Errors
    /// [`DaemonError::Io`].
    pub fn end(mut self) -> Result<(), DaemonError> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status()?;
        if asked.success() {
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended is not harmed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
