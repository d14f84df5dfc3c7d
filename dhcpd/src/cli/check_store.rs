//! `vestibule check-store`: whether a store is sound, what would be lost if not, and its salvage.
//!
//! For a store that no server is using. A check changes nothing; a salvage says all that it did.

use super::{CheckStoreArguments, Failure, show};
use crate::api;
use crate::store::disk::RealDisk;
use crate::store::index::compare::{self, Comparison};
use crate::store::{
    CheckReport, Damage, Examination, Fault, LostFrames, SalvageReport, SalvageTerms, StoreError,
    StoreOptions, examine, salvage,
};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_config::Vestibule;
use vestibule_core::{HoldOff, Timestamp};

/// The index's folder in the state directory.
const INDEX: &str = "index";

/// How long reading the index may take; then it counts as unreadable.
const INDEX_TIME_MAX: Duration = Duration::from_secs(600);
const INDEX_LOOK: Duration = Duration::from_millis(10);

/// Addresses that are listed for people at most; JSON has them all.
const ADDRESSES_SHOWN_MAX: usize = 20;

/// How the index stands.
enum IndexFinding {
    /// There is none.
    Absent,
    /// It was read.
    Read(Comparison),
    /// It is damaged, or what reads it dies of it.
    Unreadable(String),
    /// It was not looked at.
    NotChecked(String),
}

/// The command.
pub(super) fn check_store(
    config: &Path,
    arguments: &CheckStoreArguments,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let configuration = vestibule_config::load(config);
    let directory = match (&arguments.state_dir, &configuration) {
        (Some(directory), _) => directory.clone(),
        (None, Ok(configuration)) => configuration.server.state_dir.clone(),
        (None, Err(mistakes)) => {
            return Err(Failure::Usage(format!(
                "the configuration does not tell where the store is; without it, name it: \
                 check-store --state-dir DIR\n{mistakes}"
            )));
        }
    };
    if arguments.salvage {
        let configuration = configuration.map_err(|mistakes| {
            Failure::Usage(format!(
                "a salvage needs the configuration: it has to keep addresses from others for as long as the \
                 longest lifetime in it\n{mistakes}"
            ))
        })?;
        return run_salvage(&directory, &configuration, json, out);
    }
    match examine(&directory, &RealDisk).map_err(unusable)? {
        Examination::Sound(report) => {
            let index = look_at_index(&directory);
            tell_sound(&directory, &report, &index, json, out)
        }
        Examination::Damaged(damage) => tell_damaged(&directory, &damage, json, out),
    }
}

/// Reads the index of `arguments.copy` in this process, which may die of it: the second process of a
/// check.
pub(super) fn check_index(
    copy: &Path,
    state_dir: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let comparison =
        compare::compare(copy, state_dir).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(writeln!(out, "{}", api::json_text(&comparison))?)
}

fn unusable(error: StoreError) -> Failure {
    match error {
        StoreError::Locked { .. } => Failure::Usage(format!(
            "{error}; a store can be checked only while no server writes to it"
        )),
        error => Failure::Usage(format!("the store cannot be checked: {error}")),
    }
}

fn look_at_index(directory: &Path) -> IndexFinding {
    let index = directory.join(INDEX);
    if !index.join("db").exists() {
        return IndexFinding::Absent;
    }
    compare_a_copy(&index, directory)
        .unwrap_or_else(|error| IndexFinding::NotChecked(error.to_string()))
}

fn compare_a_copy(index: &Path, directory: &Path) -> io::Result<IndexFinding> {
    let copy = TemporaryDirectory::make()?;
    compare::copy(index, &copy.0)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("check-index")
        .arg(&copy.0)
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // A panic there is an expected answer, and not for the terminal.
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + INDEX_TIME_MAX;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(INDEX_LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                return Ok(IndexFinding::Unreadable("reading it does not come to an end".into()));
            }
        }
    };
    // One line, which fits into the pipe.
    let answer = child.wait_with_output()?.stdout;
    Ok(match serde_json::from_slice(&answer) {
        Ok(comparison) if status.success() => IndexFinding::Read(comparison),
        _ => IndexFinding::Unreadable(format!("it cannot be read ({status})")),
    })
}

/// A directory of our own that is removed with what is in it.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn make() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("vestibule-index-{}-{}", std::process::id(), now.as_nanos());
        let path = std::env::temp_dir().join(name);
        // Not one that somebody else has made, and closed to others: it says who is where.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be removed lies in the machine's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tell_sound(
    directory: &Path,
    report: &CheckReport,
    index: &IndexFinding,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let bad_snapshots = report.snapshots.iter().filter(|snapshot| snapshot.records.is_err());
    let mut findings: Vec<String> = bad_snapshots
        .map(|snapshot| {
            let why = snapshot.records.as_ref().err().map_or("", String::as_str);
            format!(
                "{}: {why}; the snapshot before it and its journal hold the same",
                shown_path(&snapshot.file)
            )
        })
        .collect();
    findings.extend(report.stand_in_fault.iter().map(|fault| {
        format!("if the newest snapshot is ever damaged, nothing stands in for it: {fault}")
    }));
    let index_text = index_text(index);
    if !index_is_well(index) {
        findings.push(format!("the index: {index_text}"));
    }
    if json {
        let answer = json!({
            "directory": shown_path(directory),
            "verdict": if findings.is_empty() { "sound" } else { "damaged" },
            "would-start": true,
            "would-be-lost": [],
            "findings": findings,
            "leases": report.leases,
            "registrations": report.registrations,
            "pair-bindings": report.pair_bindings,
            "frame": report.frame_number,
            "newest-time": api::time_text(report.newest_time),
            "unfinished-bytes": report.recovery.torn_bytes,
            "segments": report.recovery.segments,
            "snapshots": report.snapshots.iter().map(|snapshot| json!({
                "segment": snapshot.segment,
                "records": snapshot.records.as_ref().ok(),
                "fault": snapshot.records.as_ref().err(),
            })).collect::<Vec<_>>(),
            "hold-off": report.hold_off.map(hold_off_json),
            "index": index_json(index),
        });
        writeln!(out, "{}", api::json_text(&answer))?;
    } else {
        writeln!(out, "{}", shown_path(directory))?;
        for snapshot in &report.snapshots {
            match &snapshot.records {
                Ok(records) => {
                    writeln!(out, "  snapshot {}: good, {records} records", snapshot.segment)?;
                }
                Err(why) => {
                    writeln!(out, "  snapshot {}: BAD, {}", snapshot.segment, show::shown(why))?;
                }
            }
        }
        writeln!(
            out,
            "  journal: good, {} segments to replay, up to frame {}",
            report.recovery.segments, report.frame_number
        )?;
        if report.recovery.torn_bytes > 0 {
            writeln!(
                out,
                "           {} bytes of an unfinished commit at its end, for which nobody had been answered",
                report.recovery.torn_bytes
            )?;
        }
        writeln!(out, "  index: {index_text}")?;
        writeln!(
            out,
            "  {} leases and {} registrations, as of {}",
            report.leases,
            report.registrations,
            time(report.newest_time)
        )?;
        if report.pair_bindings > 0 {
            writeln!(
                out,
                "  {} addresses of which the failover pair keeps something",
                report.pair_bindings
            )?;
        }
        if let Some(hold_off) = report.hold_off {
            writeln!(
                out,
                "  records were lost up to {}: addresses of unknown holders are held off until {}",
                time(hold_off.since),
                time(hold_off.until)
            )?;
        }
        writeln!(out, "a start would lose nothing")?;
    }
    out.flush()?;
    if let IndexFinding::NotChecked(why) = index {
        return Err(Failure::Usage(format!(
            "journal and snapshots are sound, but the index could not be copied to be read: {why}"
        )));
    }
    match findings.as_slice() {
        [] => Ok(()),
        findings => {
            let text: Vec<String> = findings.iter().map(|finding| show::shown(finding)).collect();
            Err(Failure::Refused(format!(
                "nothing is lost, but not all is as it was written; check the disk:\n  {}",
                text.join("\n  ")
            )))
        }
    }
}

fn tell_damaged(
    directory: &Path,
    damage: &Damage,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if json {
        let answer = json!({
            "directory": shown_path(directory),
            "verdict": "damaged",
            "would-start": false,
            "refusal": damage.refusal.to_string(),
            "would-be-lost": damage.lost.iter().map(lost_json).collect::<Vec<_>>(),
            "faults": damage.faults.iter().map(fault_json).collect::<Vec<_>>(),
            "frames": damage.frames,
            "leases": damage.leases,
            "registrations": damage.registrations,
            "pair-bindings": damage.pair_bindings,
        });
        writeln!(out, "{}", api::json_text(&answer))?;
    } else {
        writeln!(out, "{}", shown_path(directory))?;
        for fault in &damage.faults {
            writeln!(out, "  {}", fault_text(fault))?;
        }
        writeln!(
            out,
            "  can be read: {} frames of the journal, {} leases, {} registrations, {} addresses of the failover pair",
            damage.frames, damage.leases, damage.registrations, damage.pair_bindings
        )?;
        if damage.lost.is_empty() {
            writeln!(out, "a salvage would lose nothing")?;
        }
        for lost in &damage.lost {
            writeln!(out, "a salvage would lose {}", lost_text(lost))?;
        }
    }
    out.flush()?;
    Err(Failure::Refused(format!(
        "a start is refused: {}\nrestore {} from a backup, or run `vestibule check-store --salvage`, which keeps \
         what can be read and says what cannot",
        show::shown(&damage.refusal.to_string()),
        shown_path(directory)
    )))
}

fn run_salvage(
    directory: &Path,
    configuration: &Vestibule,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let core = &configuration.core;
    let longest_seconds = [
        core.lifetime_seconds,
        core.lifetime_unregistered_seconds,
        core.decline_quarantine_seconds,
    ]
    .into_iter()
    .max()
    .unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let terms = SalvageTerms {
        longest_seconds: longest_seconds.into(),
        now: Timestamp::from_milliseconds(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
    };
    let report =
        salvage(directory, &StoreOptions::default(), terms).map_err(|error| match error {
            StoreError::Locked { .. } => unusable(error),
            error => Failure::Usage(format!("the store cannot be salvaged: {error}")),
        })?;
    match report {
        None if json => writeln!(out, "{}", api::json_text(&json!({ "salvaged": false })))?,
        None => writeln!(out, "nothing to salvage: a start would lose nothing")?,
        Some(report) if json => writeln!(out, "{}", api::json_text(&salvage_json(&report)))?,
        Some(report) => tell_salvage(directory, &report, out)?,
    }
    Ok(())
}

fn tell_salvage(
    directory: &Path,
    report: &SalvageReport,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    writeln!(out, "{} is salvaged", shown_path(directory))?;
    for fault in &report.faults {
        writeln!(out, "  {}", fault_text(fault))?;
    }
    for copy in &report.copies {
        writeln!(out, "  as it was: {}", shown_path(copy))?;
    }
    writeln!(
        out,
        "kept: {} frames of the journal, {} leases, {} registrations",
        report.frames, report.leases, report.registrations
    )?;
    if report.lost.is_empty() {
        writeln!(out, "lost: nothing")?;
    }
    for lost in &report.lost {
        writeln!(out, "lost: {}", lost_text(lost))?;
    }
    if let Some(hold_off) = report.hold_off {
        let count = report.uncertain.len();
        writeln!(
            out,
            "uncertain: {count} leases, of which no later record says that they still stand"
        )?;
        let shown = report.uncertain.iter().take(ADDRESSES_SHOWN_MAX).map(ToString::to_string);
        let shown: Vec<String> = shown.collect();
        let more = count.saturating_sub(shown.len());
        if !shown.is_empty() {
            let more = if more > 0 {
                format!(" and {more} more (--json lists them)")
            } else {
                String::new()
            };
            writeln!(out, "  {}{more}", shown.join(", "))?;
        }
        writeln!(
            out,
            "uncertain: {} registrations that may have been ended; others may have been made",
            report.uncertain_registrations
        )?;
        writeln!(
            out,
            "hold-off: until {}, when every lease that was lost has ended, an address of unknown holder goes to \
             nobody but a host that renews it; new hosts get none",
            time(hold_off.until)
        )?;
    }
    Ok(())
}

fn salvage_json(report: &SalvageReport) -> Value {
    json!({
        "salvaged": true,
        "faults": report.faults.iter().map(fault_json).collect::<Vec<_>>(),
        "lost": report.lost.iter().map(lost_json).collect::<Vec<_>>(),
        "copies": report.copies.iter().map(|copy| shown_path(copy)).collect::<Vec<_>>(),
        "frames": report.frames,
        "leases": report.leases,
        "uncertain-leases": report.uncertain,
        "registrations": report.registrations,
        "uncertain-registrations": report.uncertain_registrations,
        "hold-off": report.hold_off.map(hold_off_json),
    })
}

fn hold_off_json(hold_off: HoldOff) -> Value {
    json!({ "since": api::time_text(hold_off.since), "until": api::time_text(hold_off.until) })
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "file": shown_path(&fault.file),
        "byte": fault.offset,
        "what": fault.what,
        "mended": fault.is_mended,
    })
}

fn lost_json(lost: &LostFrames) -> Value {
    json!({
        "first-frame": lost.first,
        "last-frame": lost.last,
        "after": lost.after.and_then(api::time_text),
        "before": lost.before.and_then(api::time_text),
    })
}

fn fault_text(fault: &Fault) -> String {
    let Fault { file, offset, what, is_mended } = fault;
    let ending = if *is_mended { "" } else { ": LOST" };
    format!("{} at byte {offset}: {}{ending}", shown_path(file), show::shown(what))
}

fn lost_text(lost: &LostFrames) -> String {
    let frames = match lost.last {
        Some(last) if last == lost.first => format!("frame {last}"),
        Some(last) => format!("frames {} to {last}", lost.first),
        None => format!("what was written from frame {} on", lost.first),
    };
    let after = lost.after.map_or_else(|| "the beginning".to_owned(), time);
    let before = lost.before.map_or_else(|| "the end".to_owned(), time);
    format!("{frames} of the journal, written between {after} and {before}")
}

fn index_is_well(index: &IndexFinding) -> bool {
    match index {
        // A copy of what can be made anew: to be behind is usual after a kill.
        IndexFinding::Absent | IndexFinding::NotChecked(_) => true,
        IndexFinding::Read(comparison) => !comparison.is_current() || comparison.is_right(),
        IndexFinding::Unreadable(_) => false,
    }
}

fn index_text(index: &IndexFinding) -> String {
    match index {
        IndexFinding::Absent => "none; a start makes it".to_owned(),
        IndexFinding::Read(comparison) if !comparison.is_current() => {
            "behind the journal, as after a kill; a start makes it anew".to_owned()
        }
        IndexFinding::Read(comparison) if comparison.is_right() => {
            format!("good, {} addresses, as far as the journal", comparison.addresses)
        }
        IndexFinding::Read(comparison) => format!(
            "it says otherwise than the journal ({} addresses missing, {} too many, {} different); delete {INDEX}/ \
             and a start makes it anew",
            comparison.missing, comparison.surplus, comparison.different
        ),
        IndexFinding::Unreadable(why) => format!("{why}; a start makes it anew, nothing is lost"),
        IndexFinding::NotChecked(why) => format!("not checked: {}", show::shown(why)),
    }
}

fn index_json(index: &IndexFinding) -> Value {
    match index {
        IndexFinding::Absent => json!({ "state": "absent" }),
        IndexFinding::Read(comparison) => {
            let state = match (comparison.is_current(), comparison.is_right()) {
                (false, _) => "behind",
                (true, true) => "good",
                (true, false) => "different",
            };
            json!({ "state": state, "comparison": comparison })
        }
        IndexFinding::Unreadable(why) => json!({ "state": "unreadable", "why": why }),
        IndexFinding::NotChecked(why) => json!({ "state": "not-checked", "why": why }),
    }
}

fn time(time: Timestamp) -> String {
    api::time_text(time).unwrap_or_else(|| "never".to_owned())
}

fn shown_path(path: &Path) -> String {
    show::shown(&path.display().to_string())
}
