//! The gate's watch, waited for by the agent.

#![allow(unsafe_code, reason = "registering a descriptor with the runtime")]

use crate::{FirewallError, Interference, Watch};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watch that the runtime waits for.
pub(super) struct Watched(AsyncFd<Watch>);

impl Watched {
    /// Registers it with the runtime of this thread.
    pub(super) fn new(watch: Watch) -> Result<Self, FirewallError> {
        // SAFETY: the watch owns one socket, opens no other and closes it only when it is dropped, so
        // its descriptor names the same socket for as long as the registration lives.
        unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }
            .map(Self)
            .map_err(|error| failed(error.into()))
    }

    /// Waits until somebody else touched the table; for ever if there is nothing to watch.
    ///
    /// # Errors
    /// If nothing can be noticed any more.
    pub(super) async fn interference(
        watched: Option<&mut Self>,
    ) -> Result<Interference, FirewallError> {
        let Some(Self(watched)) = watched else { return std::future::pending().await };
        loop {
            // Also before the first wait: something may have happened before the watch began.
            if let Some(interference) = watched.get_mut().poll()? {
                return Ok(interference);
            }
            watched.readable_mut().await.map_err(failed)?.clear_ready();
        }
    }
}

fn failed(source: std::io::Error) -> FirewallError {
    FirewallError::Netlink { operation: "watching for changes", source }
}
