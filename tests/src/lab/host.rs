//! One host of a lab: commands in it, files of it, its interfaces.

use super::{Lab, LabError, Process, Target};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Seconds after which a command of a host is killed; see [`super::DEADLINE`].
const COMMAND_SECONDS_MAX: &str = "60";

/// A host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    lab: Lab,
    name: String,
    target: Target,
    process_id_inside: u32,
}

/// What a command wrote and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Output {
    /// Whether it ended with exit status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Standard output, then standard error.
    #[must_use]
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Host {
    pub(super) fn new(lab: Lab, name: &str, target: Target, process_id_inside: u32) -> Self {
        Self { lab, name: name.to_owned(), target, process_id_inside }
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab that it is in.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Runs a shell command to its end.
    ///
    /// # Errors
    /// [`LabError::Machine`] if it cannot be started. How it ended is in the output.
    pub fn run(&self, shell: &str) -> Result<Output, LabError> {
        let mut command =
            self.command(&["timeout", "--foreground", COMMAND_SECONDS_MAX, "sh", "-c", shell]);
        command.stdin(Stdio::null());
        let output = command.output().map_err(|error| LabError::Machine {
            what: format!("{}: {shell}", self.name),
            said: error.to_string(),
        })?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
        })
    }

    /// Runs a shell command that must succeed; gives its standard output.
    ///
    /// # Errors
    /// [`LabError::Command`] with its output if it does not.
    pub fn ok(&self, shell: &str) -> Result<String, LabError> {
        let output = self.run(shell)?;
        if output.success() {
            return Ok(output.stdout);
        }
        Err(LabError::Command {
            command: format!("{}: {shell}", self.name),
            status: output.status.to_string(),
            output: output.both(),
        })
    }

    /// Starts a program that goes on, with a log of what it writes, named after host and `name`. The
    /// command line is a shell's, but must be a simple command: the program takes the shell's place,
    /// so that signals reach the program itself.
    ///
    /// # Errors
    /// [`LabError::Machine`] if it cannot be started.
    pub fn start(&self, name: &str, simple: &str) -> Result<Process, LabError> {
        Process::start(self, name, simple)
    }

    /// One command of `ip`, or several, one a line.
    ///
    /// # Errors
    /// [`LabError::Command`] if `ip` refuses one.
    pub fn ip(&self, batch: &str) -> Result<(), LabError> {
        ip_batch(self.target, &self.name, batch)
    }

    /// Lets the host forward packets.
    ///
    /// # Errors
    /// [`LabError::Command`] if the kernel refuses.
    pub fn forward(&self) -> Result<(), LabError> {
        self.ok("echo 1 >/proc/sys/net/ipv4/ip_forward").map(drop)
    }

    /// Writes a file of this host, and the folders above it. Its path must lie in what is private to
    /// the host: `/etc` or `/run`, or in the lab's folder.
    ///
    /// # Errors
    /// [`LabError::File`] if the path is not private, [`LabError::Command`] if it cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<(), LabError> {
        let private = ["/etc/", "/run/"].iter().any(|folder| path.starts_with(folder))
            || Path::new(path).starts_with(self.lab.folder());
        if !private {
            let error = io::Error::other("the host shares this path with the machine");
            return Err(LabError::File { path: path.to_owned(), error });
        }
        let shell = r#"mkdir -p "$(dirname "$1")" && cat >"$1""#;
        let (target, name) = (self.target, self.name.as_str());
        feed(target, &format!("{name}: {path}"), &["sh", "-c", shell, "write", path], content)
    }

    /// Reads a file of this host.
    ///
    /// # Errors
    /// [`LabError::Command`] if it cannot be read.
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        // By a program in the host, not by a path through /proc: an absolute symbolic link would lead
        // out of the host's files that way.
        self.ok(&format!("cat '{path}'"))
    }

    /// A command in this host's namespaces, with arguments that no shell reads.
    #[must_use]
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = self.target.command();
        command.args(line);
        command
    }

    /// The host's keeper, as seen in the lab: names its network namespace for `ip`.
    pub(super) fn process_id_inside(&self) -> u32 {
        self.process_id_inside
    }
}

/// Runs `ip -batch` in some namespaces.
pub(super) fn ip_batch(target: Target, whose: &str, batch: &str) -> Result<(), LabError> {
    let what = format!("{whose}: ip -batch: {batch}");
    feed(target, &what, &["ip", "-batch", "-"], &format!("{}\n", batch.trim_end()))
}

/// Runs a program in some namespaces with `input` as its standard input.
fn feed(target: Target, what: &str, line: &[&str], input: &str) -> Result<(), LabError> {
    let machine =
        |error: io::Error| LabError::Machine { what: what.to_owned(), said: error.to_string() };
    let mut command = target.command();
    command.args(line).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(machine)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that stopped reading has a complaint, and that is the better error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(machine)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Command {
        command: what.to_owned(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
