//! The garden's socket: where `vestibule-dns` has the gate opened for what it is about to answer.
//!
//! It promises that an answer "open" is given only when the kernel has the address, that no more than
//! [`CONNECTIONS_MAX`] are served at once, and that a caller cannot hold the gate: one request is one
//! short transaction, on a netlink socket beside that of the barrier. Which addresses a name may open is
//! the gate's to say, not the caller's.

use super::StartError;
use crate::api::UnixSocket;
use crate::decide::Quiet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use vestibule_config::garden_link::{self, HEAD_BYTES, Verdict};
use vestibule_firewall::{Garden, GardenVerdict};

/// Connections served at once: one resolver has one, a second one while it is replaced.
const CONNECTIONS_MAX: usize = 4;

/// A bound socket, not yet served.
pub(super) struct GardenSocket(UnixSocket);

impl GardenSocket {
    /// Opens it, if the configuration names one.
    pub(super) async fn open(path: Option<&Path>) -> Result<Option<Self>, StartError> {
        let Some(path) = path else { return Ok(None) };
        let socket = UnixSocket::bind(path).await.map_err(StartError::GardenSocket)?;
        Ok(Some(Self(socket)))
    }
}

/// The garden, and what was said about it.
struct Shared {
    garden: Mutex<Garden>,
    quiet: Mutex<Quiet>,
}

/// Serves for as long as the runtime lives.
pub(super) async fn serve(socket: GardenSocket, garden: Garden) {
    let shared =
        Arc::new(Shared { garden: Mutex::new(garden), quiet: Mutex::new(Quiet::default()) });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The kernel holds further callers until there is a place.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match socket.0.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                shared.say("accept", &format!("the garden's socket gives no connection: {error}"));
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Either end may close at any time; the resolver asks again on a new connection.
            let _ended = converse(stream, shared).await;
            drop(place);
        });
    }
}

async fn converse(mut stream: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).await?;
        let length = garden_link::request_bytes(head).ok_or(io::ErrorKind::InvalidData)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let addresses = garden_link::read_request(&body);
        let permit = {
            let shared = Arc::clone(&shared);
            move || shared.permit(&addresses)
        };
        // The kernel may be busy with a whole table.
        let verdicts = tokio::task::spawn_blocking(permit).await.map_err(io::Error::other)?;
        let answer = garden_link::answer(&verdicts).ok_or(io::ErrorKind::InvalidData)?;
        stream.write_all(&answer).await?;
    }
}

impl Shared {
    fn permit(&self, addresses: &[(std::net::Ipv4Addr, u32)]) -> Vec<Verdict> {
        let permitted =
            self.garden.lock().unwrap_or_else(PoisonError::into_inner).permit(addresses);
        match permitted {
            Ok(verdicts) => {
                if verdicts.contains(&GardenVerdict::Full) {
                    self.say(
                        "full",
                        "names in the walled garden lead to more addresses than there is room for: \
                         further ones are not answered until some end; look for a wildcard that is too wide",
                    );
                }
                let verdicts = verdicts.into_iter().zip(addresses).map(|(verdict, (address, _))| {
                    match verdict {
                        GardenVerdict::Open => Verdict::Open,
                        GardenVerdict::Full => Verdict::Full,
                        GardenVerdict::Refused => {
                            self.say(
                                "refused",
                                &format!(
                                    "a name in the walled garden leads to {address}, which no name may open; if it \
                                     should be reached, add it to gate.walled-garden"
                                ),
                            );
                            Verdict::Refused
                        }
                    }
                });
                verdicts.collect()
            }
            Err(error) => {
                self.say("error", &format!("the gate was not opened for the garden: {error}"));
                vec![Verdict::Unavailable; addresses.len()]
            }
        }
    }

    /// Says it once a minute at most for each kind.
    fn say(&self, kind: &str, message: &str) {
        if self.quiet.lock().unwrap_or_else(PoisonError::into_inner).may_say(kind) {
            tracing::warn!("{message}");
        }
    }
}
