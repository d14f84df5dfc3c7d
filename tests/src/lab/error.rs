//! What can go wrong in the lab, by whose fault, with what to do about it.

use std::fmt;
use std::io;

/// Why the lab could not do what it was asked.
pub enum LabError {
    /// The machine does not let us make namespaces, or a program of the set-up is missing.
    Machine {
        /// What was tried.
        what: String,
        /// What the system said.
        said: String,
    },
    /// A command in a host ended with another status than success.
    Command {
        /// Host and command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it wrote, standard output then standard error.
        output: String,
    },
    /// Something that had to happen did not happen before its deadline.
    Deadline {
        /// What was waited for.
        what: String,
        /// What was seen instead: the end of the log, or the last answer.
        seen: String,
    },
    /// Reading or writing a file of the lab failed.
    File {
        /// The path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// One of our own programs has not been built.
    NotBuilt {
        /// Where it was looked for.
        path: String,
    },
    /// A program that the set-up unpacks is not there.
    NoPeer {
        /// Where it was looked for.
        path: String,
    },
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { what, said } => write!(
                f,
                "{what}: {said}\nThe lab needs network namespaces: run as root, or as a user where the kernel allows user \
                 namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, \
                 kernel.apparmor_restrict_unprivileged_userns), with the programs that tests/setup.sh installs."
            ),
            Self::Command { command, status, output } => write!(f, "{command}: {status}\n{output}"),
            Self::Deadline { what, seen } => {
                write!(f, "this did not happen in time: {what}\n{seen}")
            }
            Self::File { path, error } => write!(f, "{path}: {error}"),
            Self::NotBuilt { path } => {
                write!(
                    f,
                    "{path} has not been built: run 'make test', or 'cargo build --workspace --bins' first"
                )
            }
            Self::NoPeer { path } => {
                write!(f, "{path} is missing: run 'make bench-peers' first")
            }
        }
    }
}

/// As [`fmt::Display`]: it is what a failing `unwrap` in a test shows.
impl fmt::Debug for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LabError {}
