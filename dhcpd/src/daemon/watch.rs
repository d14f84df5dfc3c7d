//! A task that tells the core when somebody else touched the kernel sets.

#![allow(unsafe_code, reason = "registering a descriptor with the runtime")]

use super::StartError;
use crate::decide::{Quiet, Told};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use vestibule_firewall::Watch;

/// Tells the core of each change by others, for as long as the runtime lives.
pub(super) fn start(runtime: &Runtime, watch: Watch, told: Arc<Told>) -> Result<(), StartError> {
    let watched = {
        let _runtime = runtime.enter();
        // SAFETY: the watch owns one socket, opens no other and closes it only when it is dropped, so
        // its descriptor names the same socket for as long as the registration lives.
        unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }
            .map_err(|error| StartError::Runtime(error.into()))?
    };
    runtime.spawn(follow(watched, told));
    Ok(())
}

async fn follow(mut watched: AsyncFd<Watch>, told: Arc<Told>) {
    // Every program that touches the table is named; one that does it in a loop does not fill the log.
    let mut quiet = Quiet::default();
    let mut found = watched.get_mut().poll().map_err(|error| error.to_string());
    loop {
        match found {
            Ok(None) => {}
            Ok(Some(interference)) => {
                let interference = interference.to_string();
                if quiet.may_say(&interference) {
                    tracing::warn!("{interference}; the gate is made anew");
                }
                told.gate_lost();
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    "the kernel sets are not watched any more; what others change there stays until the next start"
                );
                return;
            }
        }
        found = match watched.readable_mut().await {
            Ok(mut ready) => {
                let found = ready.get_inner_mut().poll();
                ready.clear_ready();
                found.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
    }
}
