//! How a connection comes about: dialling, listening, and which one is kept when two cross.

use super::{DIAL_AGAIN, LinkCounts, LinkEnd, LinkPlan};
use crate::decide::Quiet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use vestibule_core::failover::Role;
use vestibule_core::failover::session::HANDSHAKE_SECONDS_MAX;

/// How long the partner's host may take to answer a dial.
const DIAL_TIME_MAX: Duration = Duration::from_secs(10);

/// The pause after each connection that was accepted: at most a hundred in a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 16;

/// The listening socket, and whom it lets in.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    peer: IpAddr,
    /// Before this, nothing is accepted.
    next: Instant,
}

impl Listener {
    #[expect(clippy::unused_async, reason = "the socket belongs to the runtime that calls")]
    pub(super) async fn bind(plan: LinkPlan) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A server that is started again must not wait for its former self's connections.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::V4(plan.address))?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { listener, peer: (*plan.peer.ip()).into(), next: Instant::now() })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection of the partner's host. Others are closed without a byte. None is lost if this is
    /// not waited for to its end.
    async fn accept(&mut self, counts: &LinkCounts, quiet: &mut Quiet) -> TcpStream {
        loop {
            sleep_until(self.next).await;
            let accepted = self.listener.accept().await;
            self.next = Instant::now() + ACCEPT_PAUSE;
            match accepted {
                Ok((stream, from)) if from.ip() == self.peer => return stream,
                Ok((_, from)) => {
                    counts.ended(&LinkEnd::Stranger);
                    if quiet.may_say(LinkEnd::Stranger.name()) {
                        tracing::warn!(
                            from = %from.ip(),
                            "somebody else than failover.peer connected to the failover port and was turned away; let a \
                             firewall keep others from it (said once a minute)"
                        );
                    }
                }
                Err(error) => {
                    if quiet.may_say("accept") {
                        tracing::warn!(%error, "a connection to the failover port could not be accepted (said once a minute)");
                    }
                    // Out of file descriptors: they do not come back at once.
                    self.next += DIAL_AGAIN;
                }
            }
        }
    }

    /// Closes whatever connects, for as long as it is waited for.
    pub(super) async fn turn_others_away(&mut self, counts: &LinkCounts, quiet: &mut Quiet) {
        loop {
            drop(self.accept(counts, quiet).await);
            counts.ended(&LinkEnd::Duplicate);
        }
    }
}

/// A connection on its way.
enum Found {
    /// The partner's host answered, or not.
    Dialled(io::Result<TcpStream>),
    /// The partner has spoken on it.
    Speaks(TcpStream),
    /// The partner did not speak on it in time, or closed it.
    Quiet {
        /// Whether it was dialled here.
        dialled: bool,
    },
}

/// Waits for the connection that is used next: the first one for a primary, the first one that the partner
/// speaks on for a secondary. Dials after `pause`, and then again and again.
pub(super) async fn establish(
    plan: LinkPlan,
    listener: &mut Listener,
    pause: Duration,
    counts: &LinkCounts,
    quiet: &mut Quiet,
) -> TcpStream {
    let mut dial_at = Instant::now() + pause;
    let mut under_way: JoinSet<Found> = JoinSet::new();
    // While one that was dialled, or one that was accepted, is waited for there is no second.
    let (mut has_dialled, mut has_accepted) = (false, false);
    loop {
        tokio::select! {
            () = sleep_until(dial_at), if !has_dialled => {
                has_dialled = true;
                under_way.spawn(async move { Found::Dialled(dial(plan).await) });
            }
            stream = listener.accept(counts, quiet) => match plan.role {
                Role::Primary => return stream,
                Role::Secondary if has_accepted => counts.ended(&LinkEnd::Duplicate),
                Role::Secondary => {
                    has_accepted = true;
                    under_way.spawn(wait_for_speech(stream, false));
                }
            },
            Some(found) = under_way.join_next() => match found {
                Ok(Found::Dialled(Ok(stream))) => match plan.role {
                    Role::Primary => return stream,
                    Role::Secondary => {
                        under_way.spawn(wait_for_speech(stream, true));
                    }
                },
                Ok(Found::Dialled(Err(error))) => {
                    has_dialled = false;
                    dial_at = Instant::now() + DIAL_AGAIN;
                    let end = LinkEnd::Unreachable(error);
                    counts.ended(&end);
                    if quiet.may_say(end.name()) {
                        tracing::warn!(peer = %plan.peer, "{end} (said once a minute)");
                    }
                }
                Ok(Found::Speaks(stream)) => return stream,
                Ok(Found::Quiet { dialled: true }) => {
                    has_dialled = false;
                    dial_at = Instant::now() + DIAL_AGAIN;
                }
                Ok(Found::Quiet { dialled: false }) => has_accepted = false,
                // A task of ours that was cancelled or panicked: it is begun anew.
                Err(_) => {
                    (has_dialled, has_accepted) = (false, false);
                    dial_at = Instant::now() + DIAL_AGAIN;
                    under_way.abort_all();
                }
            },
        }
    }
}

async fn dial(plan: LinkPlan) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The partner knows this server by its address.
    socket.bind(SocketAddr::V4(SocketAddrV4::new(*plan.address.ip(), 0)))?;
    timeout(DIAL_TIME_MAX, socket.connect(SocketAddr::V4(plan.peer)))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Waits until there is something to read, and leaves it there.
async fn wait_for_speech(stream: TcpStream, dialled: bool) -> Found {
    let limit = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    match timeout(limit, stream.peek(&mut [0])).await {
        Ok(Ok(1)) => Found::Speaks(stream),
        _ => Found::Quiet { dialled },
    }
}
