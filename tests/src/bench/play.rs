//! Plays turns: a fresh server on an empty store, the load client against it, and its result.
//!
//! It promises that no server outlives its turn, that every store is removed whatever comes, also by
//! Ctrl-C, and that the results of the load client are kept as it wrote them.

use super::BenchError;
use super::figures::{Figures, Played, Spread};
use super::interrupt::Interrupt;
use super::plan::{Measure, RELAYS, SLOW_MILLISECONDS, Turn};
use super::share::Share;
use super::table::{Extent, count, time};
use crate::lab::{LabError, Process, peer, program};
use crate::servers::{Ground, Networks, RELAY_STEP, SERVER, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vestibule_load::result::RunResult;

/// The C source of the slow disk.
const SLOW_SYNC: &str = include_str!("slow_sync.c");
/// How long leases last: longer than any run.
const LIFETIME_SECONDS: u32 = 3600;
/// Addresses in each pool: with [`RELAYS`] pools, more than there are clients.
const POOL: u32 = 262_000;
/// The same for ISC dhcpd, for each second of a run: its time for a lease grows with its pools, and with
/// pools as large as the others' it would serve ten clients a second. More than it can fill.
const POOL_ISC_PER_SECOND: u32 = 800;
/// How long a load client may take over its time, to begin and to write its result.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a run is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of a failed program's log that are shown.
const SAID_BYTES_MAX: usize = 2000;

/// Where benchmarks are played, and where their files go.
#[derive(Debug)]
pub struct Stage {
    ground: Ground,
    /// Stores; removed with it.
    scratch: TempDir,
    /// The load client's results.
    results: PathBuf,
    slow_disk: Option<PathBuf>,
    extent: Extent,
    interrupt: Interrupt,
}

impl Stage {
    /// Makes the hosts, and empty folders in `folder`.
    ///
    /// # Errors
    /// The machine does not let us.
    pub fn new(folder: &Path, extent: Extent, interrupt: Interrupt) -> Result<Self, BenchError> {
        program("vestibule-load")?;
        let scratch = tempfile::Builder::new()
            .prefix("stores-")
            .tempdir_in(folder)
            .map_err(BenchError::file(folder))?;
        let results = folder.join("results");
        // What an earlier run left would be taken for this one's.
        if results.exists() {
            fs::remove_dir_all(&results).map_err(BenchError::file(&results))?;
        }
        fs::create_dir(&results).map_err(BenchError::file(&results))?;
        let ground = Ground::new()?;
        Ok(Self { ground, scratch, results, slow_disk: None, extent, interrupt })
    }

    /// Makes the slow disk: compiles what makes syncs slower.
    ///
    /// # Errors
    /// [`BenchError::Compiler`].
    pub fn make_slow_disk(&mut self) -> Result<(), BenchError> {
        let source = self.scratch.path().join("slow_sync.c");
        let library = self.scratch.path().join("slow_sync.so");
        fs::write(&source, SLOW_SYNC).map_err(BenchError::file(&source))?;
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-o"])
            .args([&library, &source])
            .output()
            .map_err(|error| BenchError::Compiler(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Compiler(said));
        }
        self.slow_disk = Some(library);
        Ok(())
    }

    /// Plays all turns, and says on standard error what goes on. Ends early when it is interrupted;
    /// what was played until then is in `played`.
    ///
    /// # Errors
    /// The first turn that cannot be played; [`BenchError::Interrupted`].
    pub fn play(&self, turns: &[Turn], played: &mut Vec<Played>) -> Result<(), BenchError> {
        for (index, &turn) in turns.iter().enumerate() {
            let Turn { measure, server, repetition } = turn;
            let per_second =
                measure.follows().map_or(0.0, |(of, times)| times * median(played, of, server));
            eprint!("[{:2}/{}] {measure}: {server} ({repetition}) ... ", index + 1, turns.len());
            let result = self.turn(turn, per_second).inspect_err(|_| eprintln!())?;
            let figures = Figures::of(&result);
            eprintln!(
                "{} DORA/s, p99 {}",
                count(figures.doras_per_second),
                figures.p99_microseconds.map_or_else(|| "-".to_owned(), time)
            );
            played.push(Played { turn, result });
        }
        Ok(())
    }

    fn turn(&self, turn: Turn, per_second: f64) -> Result<RunResult, BenchError> {
        if self.interrupt.came() {
            return Err(BenchError::Interrupted);
        }
        let store = self.scratch.path().join("store");
        fs::create_dir(&store).map_err(BenchError::file(&store))?;
        let result = self.turn_on(&store, turn, per_second);
        let removed = fs::remove_dir_all(&store).map_err(BenchError::file(&store));
        // What this turn left behind is on the disk before the next one begins.
        let synced = fs::File::open(self.scratch.path()).and_then(|folder| folder.sync_all());
        let result = result?;
        removed?;
        synced.map_err(BenchError::file(self.scratch.path()))?;
        Ok(result)
    }

    fn turn_on(&self, store: &Path, turn: Turn, per_second: f64) -> Result<RunResult, BenchError> {
        let Turn { measure, server, .. } = turn;
        let pool = match server {
            Server::Isc => POOL_ISC_PER_SECOND * self.extent.seconds,
            _ => POOL,
        };
        let networks = Networks { relays: RELAYS, pool, lifetime_seconds: LIFETIME_SECONDS };
        let environment = match &self.slow_disk {
            Some(library) if measure.is_slow_disk() => format!(
                "LD_PRELOAD='{}' VESTIBULE_BENCH_SYNC_MICROSECONDS={}",
                library.display(),
                SLOW_MILLISECONDS * 1000
            ),
            _ => String::new(),
        };
        // Dropped after the process, which then has left it.
        let share = measure.share_percent().map(Share::new).transpose()?;
        // Dropped at the end of this function, and so killed.
        let process = self.ground.start(server, networks, store, &environment)?;
        if let Some(share) = &share {
            share.hold(process.process_id())?;
        }
        let id = process_id_in_lab(&process)?;
        let scenario = format!("/run/{}.toml", measure.key());
        let text = measure.scenario(self.extent.seconds, per_second);
        self.ground.load.write(&scenario, &text)?;
        let json = self.results.join(format!(
            "{}-{}-{}.json",
            measure.key(),
            server.name().to_lowercase().replace(", ", "-").replace(' ', "-"),
            turn.repetition
        ));
        let load = self.ground.load.start(
            "vestibule-load",
            &format!(
                "vestibule-load run {scenario} --server {SERVER} --giaddr {} --relays {RELAYS} \
                 --relay-step {RELAY_STEP} --circuit-id --server-pid {id} --label '{server}' \
                 --durability '{}' --seed {} --json '{}'",
                Networks::relay(0),
                server.durability(),
                turn.repetition,
                json.display()
            ),
        )?;
        self.wait(load, turn)?;
        Ok(RunResult::read(&json)?)
    }

    /// Waits for the load client's end. A violation ends it with 1, and is a figure here.
    fn wait(&self, mut load: Process, turn: Turn) -> Result<(), BenchError> {
        let Turn { measure, server, .. } = turn;
        let deadline = Instant::now() + Duration::from_secs(self.extent.seconds.into()) + PATIENCE;
        let failed = |said: String| BenchError::Load { what: format!("{measure}: {server}"), said };
        loop {
            if self.interrupt.came() {
                return Err(BenchError::Interrupted);
            }
            match load.ended().map(|status| status.code()) {
                Some(Some(0 | 1)) => return Ok(()),
                Some(code) => {
                    return Err(failed(format!("{code:?}\n{}", end_of(&load.log()))));
                }
                None if Instant::now() > deadline => {
                    return Err(failed(format!("it does not end\n{}", end_of(&load.log()))));
                }
                None => std::thread::sleep(LOOK_INTERVAL),
            }
        }
    }
}

/// A server's median rate in a measure; 1 if there is none.
fn median(played: &[Played], measure: Measure, server: Server) -> f64 {
    let rates = played
        .iter()
        .filter(|played| played.turn.measure == measure && played.turn.server == server)
        .map(|played| played.result.doras_per_second())
        .collect();
    Spread::of(rates).map_or(1.0, |spread| spread.median.max(1.0))
}

/// A process's number in the lab's own namespace (proc(5), `NSpid`), where the load client looks.
fn process_id_in_lab(process: &Process) -> Result<u32, BenchError> {
    let path = PathBuf::from(format!("/proc/{}/status", process.process_id()));
    let status = fs::read_to_string(&path).map_err(BenchError::file(&path))?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let inner = ids.and_then(|ids| ids.split_whitespace().last()?.parse().ok());
    inner.ok_or_else(|| {
        BenchError::File(path, std::io::Error::other("the kernel does not say its NSpid"))
    })
}

fn end_of(log: &str) -> &str {
    let mut from = log.len().saturating_sub(SAID_BYTES_MAX);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    log.get(from..).unwrap_or_default()
}

/// Which of some servers are on this machine, and the names of those that are not with the reason.
#[must_use]
pub fn present(servers: &[Server]) -> (Vec<Server>, Vec<(Server, LabError)>) {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for &server in servers {
        let found = match server {
            Server::Null => program("vestibule-load"),
            Server::Vestibule | Server::VestibuleGated => program("vestibule-dhcpd"),
            Server::Kea => peer("usr/sbin/kea-dhcp4"),
            Server::Isc => peer("usr/sbin/dhcpd"),
        };
        match found {
            Ok(_) => present.push(server),
            Err(error) => missing.push((server, error)),
        }
    }
    (present, missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::until;
    use std::process::Stdio;

    /// `sync` of a file, on a disk that is slower by so many microseconds.
    fn sync(library: &Path, microseconds: &str, file: &Path) -> Command {
        let mut command = Command::new("sync");
        command
            .arg("--data")
            .arg(file)
            .env("LD_PRELOAD", library)
            .env("VESTIBULE_BENCH_SYNC_MICROSECONDS", microseconds)
            .stderr(Stdio::null());
        command
    }

    #[test]
    fn a_slow_disk_sleeps_before_each_sync_and_leaves_its_result() {
        let folder = tempfile::tempdir().expect("a folder");
        let extent = Extent { seconds: 1, repetitions: 1 };
        let mut stage =
            Stage::new(folder.path(), extent, Interrupt::default()).expect("namespaces");
        stage.make_slow_disk().expect("a compiler");
        let library = stage.slow_disk.clone().expect("just made");
        let file = folder.path().join("file");
        fs::write(&file, "text").expect("a disk");
        assert!(sync(&library, "1", &file).status().expect("coreutils").success());
        // Nothing of /proc can be synced, and that is still said.
        let refused = sync(&library, "1", Path::new("/proc/self/status")).status();
        assert!(!refused.expect("coreutils").success());
        let mut asleep = sync(&library, "3600000000", &file).spawn().expect("coreutils");
        let call = format!("/proc/{}/syscall", asleep.id());
        let sleeps = libc::SYS_clock_nanosleep.to_string();
        let seen = until("the program sleeps before its sync", || {
            let text = fs::read_to_string(&call).ok()?;
            (text.split(' ').next() == Some(&sleeps)).then_some(())
        });
        asleep.kill().expect("it is ours");
        asleep.wait().expect("it is ours");
        seen.unwrap();
    }

    #[test]
    fn without_a_run_a_rate_is_not_nothing() {
        let median = median(&[], Measure::Peak, Server::Kea);
        assert_eq!(median.to_bits(), 1.0_f64.to_bits());
    }
}
