//! Memory that a start took and nobody needs any more.

#![allow(unsafe_code, reason = "malloc_trim has no safe call")]

/// Gives free memory back to the system. The C library keeps what was freed, for as long as something
/// above it is in use: with a million leases, a fifth of what the process has.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
