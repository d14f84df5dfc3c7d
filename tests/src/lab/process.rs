//! A long-running process in a host, its log, its signals, its end.

use super::{Host, Lab, LabError, until, until_ok};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Bytes at the end of a log that an error message shows.
const LOG_SHOWN_BYTES_MAX: usize = 4096;

/// Says its process id as seen outside, and becomes the command.
const STARTER: &str =
    r#"read -r outer _ <"$1/outer-proc/self/stat"; echo "$outer" >"$2"; exec sh -c "exec $3""#;

/// A process that goes on until it is told to end, or dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    process_id: u32,
    log: PathBuf,
    /// Where this process's part of the log begins: one of the same name may have written before it.
    log_from: usize,
    /// The lab lives at least as long as its processes.
    _lab: Lab,
}

impl Process {
    pub(super) fn start(host: &Host, name: &str, shell: &str) -> Result<Self, LabError> {
        let name = format!("{}-{name}", host.name());
        let machine =
            |what: &str, said: String| LabError::Machine { what: format!("{name}: {what}"), said };
        let log = host.lab().logs().join(&name);
        let file = |error| LabError::File { path: log.display().to_string(), error };
        let output = File::options().create(true).append(true).open(&log).map_err(file)?;
        let log_from = output.metadata().map_err(file)?.len();
        let errors = output.try_clone().map_err(file)?;

        let id_name = format!("{name}.{log_from}.id");
        let id_path = host.lab().outside().join(&id_name);
        // A name that was used before may not answer for this process.
        let _ = fs::remove_file(&id_path);
        let folder = host.lab().folder().display().to_string();
        let mut command = host.command(&[
            "sh",
            "-c",
            STARTER,
            "start",
            &folder,
            &format!("{folder}/{id_name}"),
            shell,
        ]);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(|error| machine(shell, error.to_string()))?;
        let id = until(&format!("{name} starts"), || {
            let text = fs::read_to_string(&id_path).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        });
        match id {
            Ok(process_id) => {
                let log_from = usize::try_from(log_from).unwrap_or(usize::MAX);
                Ok(Self { name, child, process_id, log, log_from, _lab: host.lab().clone() })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its process id, as seen outside the lab.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Everything that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_from..).unwrap_or_default()).into_owned()
    }

    /// Waits until a line of the log holds `needle`; gives that line.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with the end of the log; at once if the process has ended.
    pub fn wait_line(&mut self, needle: &str) -> Result<String, LabError> {
        self.wait_line_after(0, needle)
    }

    /// As [`Process::wait_line`], for what is written from byte `offset` of the log on. Take the
    /// length of [`Process::log`] before what should cause the line.
    ///
    /// # Errors
    /// As [`Process::wait_line`].
    pub fn wait_line_after(&mut self, offset: usize, needle: &str) -> Result<String, LabError> {
        let what = format!("{} writes '{needle}'", self.name);
        let found = |log: &str| -> Option<String> {
            let (complete, _) = log.get(offset..)?.rsplit_once('\n')?;
            complete.lines().find(|line| line.contains(needle)).map(str::to_owned)
        };
        let mut ended = None;
        let result = until_ok(&what, || {
            // In this order: what was written before the end counts.
            let has_ended = self.ended();
            let log = self.log();
            match (found(&log), has_ended) {
                (Some(line), _) => Ok(Some(line)),
                (None, Some(status)) => {
                    ended = Some(format!("it ended: {status}\n{}", tail(&log)));
                    Ok(None)
                }
                (None, None) => Err(tail(&log).to_owned()),
            }
        })?;
        result.ok_or(LabError::Deadline { what, seen: ended.unwrap_or_default() })
    }

    /// Sends a signal, named as `kill` names it, to the process.
    ///
    /// # Errors
    /// [`LabError::Command`] if the process has ended.
    pub fn signal(&mut self, signal: &str) -> Result<(), LabError> {
        let error = |status: String, output: String| LabError::Command {
            command: format!("{}: kill -s {signal}", self.name),
            status,
            output,
        };
        // Asked first, so that the id cannot belong to somebody else by now: as long as our child has
        // not been waited for, it has not collected the process.
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(error("the process has ended".to_owned(), status.to_string()));
        }
        let output = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &self.process_id.to_string()])
            .output()
            .map_err(|failure| error("kill cannot be run".to_owned(), failure.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(error(output.status.to_string(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// [`LabError::Deadline`] if it does not.
    pub fn wait_end(&mut self) -> Result<ExitStatus, LabError> {
        let what = format!("{} ends", self.name);
        until_ok(&what, || self.ended().ok_or_else(|| tail(&self.log()).to_owned()))
    }

    /// Kills it, as a power cut would: no chance to tidy up.
    ///
    /// # Errors
    /// As [`Process::signal`] and [`Process::wait_end`].
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.signal("KILL")?;
        self.wait_end().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // If it ended in between there is nothing left to do.
            let _ = self.signal("KILL");
            let _ = self.child.wait();
        }
    }
}

fn tail(log: &str) -> &str {
    let mut from = log.len().saturating_sub(LOG_SHOWN_BYTES_MAX);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    log.get(from..).unwrap_or_default()
}
