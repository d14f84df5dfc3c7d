//! File descriptors: as many as a run needs, or a word on which limit to raise.
//!
//! It raises the soft limit of this process, never above the hard one, and nobody else's.

#![allow(unsafe_code, reason = "std has no call for resource limits")]

use std::fmt;

/// Descriptors that everything else of the program uses: files, the engine's sockets, the runtime's.
const OTHERS: u64 = 64;

/// A limit that is too low, and that only an administrator can raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// Descriptors that are needed.
    pub needed: u64,
    /// Descriptors that this process may have.
    pub hard: u64,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, hard } = self;
        write!(
            f,
            "this run needs {needed} file descriptors, and the hard limit is {hard}: have root raise it (ulimit -Hn \
             {needed}, or LimitNOFILE={needed} in a systemd unit), or let fewer clients be on their way at once \
             (at-once in [registration])"
        )
    }
}

impl std::error::Error for TooFew {}

/// Makes sure that there are so many descriptors beside those of the engine.
///
/// # Errors
/// The hard limit is lower.
pub fn have(wanted: u64) -> Result<(), TooFew> {
    let needed = wanted.saturating_add(OTHERS);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        // Without a limit to be seen, opening sockets will tell.
        return Ok(());
    }
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    let too_few = TooFew { needed, hard: limit.rlim_max };
    if limit.rlim_max < needed {
        return Err(too_few);
    }
    limit.rlim_cur = needed;
    // SAFETY: the kernel only reads the structure, which outlives the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if result == 0 { Ok(()) } else { Err(too_few) }
}
