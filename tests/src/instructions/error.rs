//! Why there are no counts, by whose fault.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was counted, or compared.
#[derive(Debug)]
pub enum InstructionsError {
    /// Operator: the program was built without optimisation.
    NotOptimised,
    /// Operator: valgrind is not installed.
    NoValgrind,
    /// Operator: the counts in the file hold for something else.
    OtherToolchain {
        /// What differs.
        what: &'static str,
        /// What the file is for.
        kept: String,
        /// What is here.
        here: String,
    },
    /// Operator: the file has a mistake.
    BadFile(PathBuf, String),
    /// Machine: a file.
    File(PathBuf, io::Error),
    /// Machine: a program ended badly, or said what is not understood.
    Program {
        /// Its name.
        name: String,
        /// What it said.
        said: String,
    },
}

impl InstructionsError {
    /// An error with a file's name.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File(path, error)
    }
}

impl fmt::Display for InstructionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOptimised => f.write_str(
                "this program was built without optimisation; make bench-instructions builds it as it is delivered",
            ),
            Self::NoValgrind => {
                f.write_str("there is no valgrind: tests/setup.sh instructions installs it")
            }
            Self::OtherToolchain { what, kept, here } => write!(
                f,
                "the counts were taken with {what} {kept}, and this is {here}: they cannot be compared. \
                 Take them anew with it, from a tree without other changes: \
                 make bench-instructions INSTRUCTIONS=--update"
            ),
            Self::BadFile(path, mistake) => write!(
                f,
                "{}: {mistake}; make bench-instructions INSTRUCTIONS=--update writes it anew",
                path.display()
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Program { name, said } => write!(f, "{name}: {said}"),
        }
    }
}

impl std::error::Error for InstructionsError {}
