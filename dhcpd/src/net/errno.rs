//! The kernel's error numbers: counted each on its own, named, and explained in one line.
//!
//! A campus once lost DHCP replies to `sendto: Operation not permitted`, and only the number told
//! that connection tracking did it. It promises that no error is counted under another's number. It
//! never logs; whoever exports the counters does.

use std::sync::atomic::{AtomicU64, Ordering};

/// Error numbers that are counted each on its own; Linux has none above. Larger ones, and what is
/// none, are counted as 0.
pub const ERRNO_MAX: usize = 133;

/// What an error number means when it comes from sending or receiving DHCP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its name in the kernel's headers.
    pub name: &'static str,
    /// What it means here, and where to look.
    pub meaning: &'static str,
}

/// Explains an error number.
#[must_use]
pub const fn explain(errno: i32) -> Explanation {
    let (name, meaning) = match errno {
        libc::EPERM => (
            "EPERM",
            "refused by netfilter or connection tracking: bypass tracking for UDP 67 and 68 in prerouting and output, and look for drop rules in output",
        ),
        libc::EACCES => (
            "EACCES",
            "the destination is a broadcast address of a network that this socket may not broadcast to, or a security module refuses",
        ),
        libc::EAGAIN => (
            "EAGAIN",
            "the socket's send buffer stayed full: the interface takes packets slower than we send",
        ),
        libc::ENOBUFS => (
            "ENOBUFS",
            "the interface's send queue is full: raise its txqueuelen or lower the load",
        ),
        libc::ENOMEM => ("ENOMEM", "the kernel is out of memory for packets"),
        libc::ENETUNREACH => (
            "ENETUNREACH",
            "no route to the relay or client, or the reply's source address is no longer an address of this host",
        ),
        libc::EHOSTUNREACH => {
            ("EHOSTUNREACH", "the relay or client does not answer ARP, or a route says unreachable")
        }
        libc::ENETDOWN => ("ENETDOWN", "the interface is down"),
        libc::ENODEV => ("ENODEV", "the interface is gone: restart the server when it is back"),
        libc::ENXIO => ("ENXIO", "the interface is gone: restart the server when it is back"),
        libc::EINVAL => (
            "EINVAL",
            "the reply's source address is no longer an address of this host, or the destination is none that can be sent to",
        ),
        libc::EADDRNOTAVAIL => {
            ("EADDRNOTAVAIL", "the reply's source address is no longer an address of this host")
        }
        libc::EMSGSIZE => ("EMSGSIZE", "the reply is larger than the interface's MTU allows"),
        libc::EDESTADDRREQ => (
            "EDESTADDRREQ",
            "the reply is for a client without an address, but its socket is on no attached LAN",
        ),
        libc::ECONNREFUSED => {
            ("ECONNREFUSED", "an earlier reply was answered with ICMP port unreachable")
        }
        libc::EIO => ("EIO", "the interface's driver failed"),
        libc::EINTR => ("EINTR", "a signal interrupted the call"),
        libc::EBADF => ("EBADF", "a socket was closed under us: please report this"),
        libc::EFAULT => ("EFAULT", "a bad pointer reached the kernel: please report this"),
        _ => ("errno", "no explanation here: see errno(3) for the number"),
    };
    Explanation { name, meaning }
}

/// How often each error number came.
#[derive(Debug)]
pub struct ErrnoCounts {
    counts: [AtomicU64; ERRNO_MAX + 1],
}

impl ErrnoCounts {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; ERRNO_MAX + 1] }
    }

    /// Counts one.
    pub fn count(&self, errno: i32) {
        let index = usize::try_from(errno).ok().filter(|index| *index <= ERRNO_MAX).unwrap_or(0);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that came at all: number and how often, in the order of the numbers.
    #[must_use]
    pub fn totals(&self) -> Vec<(i32, u64)> {
        (0..)
            .zip(&self.counts)
            .map(|(errno, count)| (errno, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl Default for ErrnoCounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_counted_on_its_own_and_strange_ones_as_zero() {
        let counts = ErrnoCounts::new();
        for errno in [libc::EPERM, libc::EPERM, libc::ENOBUFS, -1, 134, i32::MAX, 133] {
            counts.count(errno);
        }
        assert_eq!(counts.totals(), [(0, 3), (1, 2), (105, 1), (133, 1)]);
    }

    #[test]
    fn the_error_that_once_cost_a_campus_its_leases_names_its_cause() {
        assert_eq!(explain(libc::EPERM).name, "EPERM");
        assert!(
            explain(libc::EPERM).meaning.starts_with("refused by netfilter or connection tracking")
        );
        assert_eq!(explain(4096).name, "errno");
    }
}
