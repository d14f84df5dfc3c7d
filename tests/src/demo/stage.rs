//! What the demo prints and what it expects: headings, real commands with their real output, `ok`.

use crate::lab::{Host, LabError};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// Lines of one command's output that are printed; the rest is counted.
const LINES_PRINTED_MAX: usize = 24;

/// Why the demo ended before its end.
#[derive(Debug)]
pub enum Failure {
    /// A step did not give what it should.
    NotAsExpected(String),
    /// The lab could not do its part.
    Lab(LabError),
    /// Nobody reads what is printed any more.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsExpected(expected) => write!(f, "not as expected: {expected}"),
            Self::Lab(error) => error.fmt(f),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints, runs, compares.
#[derive(Debug)]
pub struct Stage {
    colours: bool,
    started: Instant,
}

impl Stage {
    /// Colours only on a terminal, and not for those who ask for none (`NO_COLOR`).
    #[must_use]
    pub fn new() -> Self {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colours, started: Instant::now() }
    }

    /// A step's heading.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn heading(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("\n{}\n", self.coloured("1", text)))
    }

    /// Plain text.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// Prints a command line and runs it; prints and gives what it wrote, standard error included.
    ///
    /// # Errors
    /// [`Failure::Lab`] if it cannot be run. How it ended is not looked at.
    pub fn run(&self, host: &Host, shell: &str) -> Result<String, Failure> {
        self.command(host, shell)?;
        let output = host.run(shell)?.both().replace('\r', "");
        self.output(&output)?;
        Ok(output)
    }

    /// Prints a command line, as of one that goes on.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn command(&self, host: &Host, shell: &str) -> Result<(), Failure> {
        let prompt = format!("{}$ ", host.name());
        self.print(&format!("  {}{}\n", self.coloured("36", &prompt), self.coloured("1", shell)))
    }

    /// Prints what a command wrote.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn output(&self, output: &str) -> Result<(), Failure> {
        for line in output.lines().take(LINES_PRINTED_MAX) {
            self.print(&format!("    {line}\n"))?;
        }
        let left = output.lines().count().saturating_sub(LINES_PRINTED_MAX);
        if left > 0 {
            self.print(&format!("    ({left} more lines)\n"))?;
        }
        Ok(())
    }

    /// Prints `ok` and what is so, or ends the demo with it.
    ///
    /// # Errors
    /// [`Failure::NotAsExpected`] if it is not so.
    pub fn expect(&self, what: &str, is_so: bool) -> Result<(), Failure> {
        if !is_so {
            self.print(&format!("  {} expected: {what}\n", self.coloured("31", "FAILED")))?;
            return Err(Failure::NotAsExpected(what.to_owned()));
        }
        self.print(&format!("  {} {what}\n", self.coloured("32", "ok")))
    }

    /// The last line.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn end(&self) -> Result<(), Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.heading(&format!(
            "All as expected, in {seconds:.1} s. Nothing of it is left on this machine."
        ))
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
