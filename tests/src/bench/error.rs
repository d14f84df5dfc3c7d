//! What can go wrong with a benchmark, by whose fault.

use crate::lab::LabError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use vestibule_load::result::ResultError;

/// Why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// Operator: a folder in memory, whose syncs cost nothing.
    InMemory {
        /// The folder.
        folder: PathBuf,
        /// Its file system.
        kind: String,
    },
    /// Operator: a server that was asked for by its name is not on this machine.
    Missing(LabError),
    /// Machine: the lab or a program in it.
    Lab(LabError),
    /// Machine: a file.
    File(PathBuf, io::Error),
    /// Machine: the C compiler, or what it said.
    Compiler(String),
    /// Machine: no control group, so that no server can be given a part of a processor.
    NoShare(PathBuf, io::Error),
    /// Machine: signals cannot be caught, so that nothing would be cleaned up.
    Signals(io::Error),
    /// A run of the load client ended badly.
    Load {
        /// What ran.
        what: String,
        /// Its exit status, and the end of what it said.
        said: String,
    },
    /// A result that the load client wrote cannot be read.
    Result(ResultError),
    /// The operator has had enough.
    Interrupted,
}

impl BenchError {
    /// An error with a file's name.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File(path, error)
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InMemory { folder, kind } => write!(
                f,
                "{} is on {kind}, in memory: a sync there costs nothing and the figures would be none of a disk; \
                 name a folder on a disk with --folder",
                folder.display()
            ),
            Self::Missing(error) | Self::Lab(error) => write!(f, "{error}"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Compiler(said) => {
                write!(
                    f,
                    "the slow disk cannot be made: cc: {said}; tests/setup.sh bench installs it"
                )
            }
            Self::NoShare(path, error) => write!(
                f,
                "{}: {error}: a server cannot be given a part of a processor here; leave out the measures \
                 share and overload with --measure",
                path.display()
            ),
            Self::Signals(error) => write!(f, "signals cannot be caught: {error}"),
            Self::Load { what, said } => write!(f, "{what}: the load client failed: {said}"),
            Self::Result(error) => write!(f, "{error}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<LabError> for BenchError {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

impl From<ResultError> for BenchError {
    fn from(error: ResultError) -> Self {
        Self::Result(error)
    }
}
