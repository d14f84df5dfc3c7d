//! What was answered how, counted.
//!
//! It promises that every message, connection and request ends in exactly one of these counters
//! (a message that got an answer which the kernel then refused to send counts in `sends_failed`
//! too). Counters only grow, and wrap after 2^64. No name and no address of a client is kept.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one running service.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
            /// Why the last answer was not sent.
            pub last_send_error: LastError,
            /// Why the kernel last refused to hand us something.
            pub last_receive_error: LastError,
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// What they are now. Not one moment for all of them: each is read by itself.
            pub fn counts(&self) -> Counts {
                Counts { $($name: self.$name.get(),)+ }
            }
        }

        impl Counts {
            /// Each counter's name and what it counts, in the same order as [`iter`](Self::iter).
            pub const MEANINGS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($name), concat!($($doc),+)),)+];

            /// Each counter's name and value, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Questions that got the portal's address.
    lies,
    /// Questions that got an answer without records.
    no_data,
    /// Questions for names that do not exist here: NXDOMAIN.
    no_such_name,
    /// Questions answered by what an upstream resolver said, whatever it was.
    forwarded,
    /// Questions answered by what an upstream resolver said a short time ago.
    forwarded_from_cache,
    /// Questions answered by what is older than it should be, because no resolver gave a better answer.
    forwarded_stale,
    /// True answers held back because the gate could not be opened for their addresses: SERVFAIL.
    garden_unavailable,
    /// True answers held back because there was no room for more addresses: SERVFAIL.
    garden_full,
    /// Questions that no upstream resolver answered: SERVFAIL.
    forward_failed,
    /// Questions that found no free look-up slot: SERVFAIL.
    forward_shed,
    /// Messages that could not be read: FORMERR.
    format_error,
    /// Messages with no question or several: FORMERR.
    refused_question_count,
    /// EDNS versions above 0: BADVERS.
    refused_edns_version,
    /// Opcodes other than QUERY: NOTIMP.
    refused_opcode,
    /// Classes other than IN: REFUSED.
    refused_class,
    /// Zone transfers: REFUSED.
    refused_zone_transfer,
    /// Messages shorter than a header: no answer.
    dropped_short,
    /// Messages that were answers: no answer, or two servers could talk for ever.
    dropped_response,
    /// Datagrams from port 0: no answer is possible.
    dropped_source,
    /// Answers that did not fit the client's datagram size and were sent empty, to be asked for
    /// again over TCP.
    truncated,
    /// Answers that the kernel did not send.
    sends_failed,
    /// Datagrams that the kernel dropped because our receive buffer was full, as far as it was last
    /// asked.
    dropped_by_kernel,
    /// DNS connections closed unread because too many were open.
    connections_refused,
    /// DNS connections closed unread because their source had too many open.
    connections_refused_source,
    /// DNS connections closed because nothing whole came, or went, in time.
    connections_timed_out,
    /// DNS connections closed because a question was too long.
    connections_oversized,
    /// HTTP requests that were led to the portal.
    redirects,
    /// Connections to the redirect that brought no whole HTTP request.
    redirects_failed,
    /// Connections to the redirect closed unread because too many were open.
    redirects_refused,
    /// Connections to the redirect closed unread because their source had too many open.
    redirects_refused_source,
    /// Times that the kernel refused to hand us a datagram or a connection.
    receives_failed,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number becomes `total`, which somebody else counts, unless it is larger already.
    pub fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The error that the kernel last gave at one place.
#[derive(Debug, Default)]
pub struct LastError(AtomicI32);

impl LastError {
    /// This one is the last.
    pub fn note(&self, error: &io::Error) {
        self.0.store(error.raw_os_error().unwrap_or(0), Ordering::Relaxed);
    }

    /// The last one; `None` if there was none, or not from the kernel.
    pub fn get(&self) -> Option<io::Error> {
        let code = self.0.load(Ordering::Relaxed);
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }
}

/// The counters that are not 0, as `name=value` with spaces between; `nothing` if all are.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut empty = true;
        for (name, value) in self.iter().filter(|(_, value)| *value > 0) {
            if !std::mem::take(&mut empty) {
                f.write_str(" ")?;
            }
            write!(f, "{name}={value}")?;
        }
        if empty { f.write_str("nothing") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_printed() {
        let counters = Counters::default();
        assert_eq!(counters.counts().to_string(), "nothing");
        counters.lies.add_one();
        counters.lies.add_one();
        counters.redirects.add_one();
        assert_eq!(counters.counts().to_string(), "lies=2 redirects=1");
    }
}
