//! The connection to the partner: dialled and accepted, one at a time, and what goes over it.
//!
//! It promises that only the configured partner's address is let in; that nothing is read of a connection
//! that the deciding thread was not told of; that messages are handed over in order, each exactly once; that
//! what waits in either direction is bounded, by holding the partner back where it sends and by closing
//! where it does not read (P5); and that whatever a partner sends costs it the connection and nobody
//! else anything. How each connection ended is counted by reason (P6).
//!
//! **Both sides dial, and both listen.** A primary takes the connection that is there first, and closes the
//! others. A secondary takes the one on which its primary speaks first, whoever opened it, and closes the
//! others; until then it holds at most one that it dialled and one that it accepted. So both sides keep the same
//! connection when two cross, and the one that is closed was never told of.
//!
//! It never decides anything: the handshake, the timers and the window are the core's
//! ([`vestibule_core::failover::Session`]).

mod counts;
mod establish;
mod outbound;
mod read;
mod write;

pub use counts::{LinkCounts, LinkEnd};
pub use outbound::{ConnectionNumber, Errand, Outbound, ToPartner, WAITING_TO_PARTNER_MAX};

use super::codec::Refused;
use crate::decide::Quiet;
use establish::{Listener, establish};
use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vestibule_core::failover::{CloseReason, Message, Role};

/// Messages of the partner that wait for the deciding thread at most. Beyond it nothing more is read, and
/// the partner has to wait.
pub const WAITING_FROM_PARTNER_MAX: usize = 1024;

/// How long after a loss or a failed attempt the partner is dialled again.
pub(crate) const DIAL_AGAIN: Duration = Duration::from_secs(5);

/// The longest time between two attempts: when the partner refuses, or breaks the rules, each takes twice
/// as long as the one before.
const DIAL_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Which half this is, and where the two meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// Which half.
    pub role: Role,
    /// Where it listens, and from which address it dials.
    pub address: SocketAddrV4,
    /// Where the partner listens, and whom alone it lets in.
    pub peer: SocketAddrV4,
}

/// What the partner's connection brings to the deciding thread, in order.
#[derive(Debug)]
pub enum FromPartner {
    /// There is a connection. What came before belonged to another one, which is over.
    Connected(ConnectionNumber),
    /// The partner said this.
    Said(Message),
    /// The partner sent an update that can be read but not taken: it is to be refused.
    Unreadable(Refused),
    /// The connection is over, whoever ended it.
    Disconnected,
}

/// The operator's or the kernel's: the address cannot be listened at.
#[derive(Debug)]
pub struct LinkError {
    address: SocketAddrV4,
    error: io::Error,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failover.address: cannot listen at {}: {}; give an address of this host that no other program listens at",
            self.address, self.error
        )
    }
}

impl std::error::Error for LinkError {}

/// The link, listening and not yet run.
#[derive(Debug)]
pub struct Link {
    plan: LinkPlan,
    listener: Listener,
}

impl Link {
    /// Listens.
    ///
    /// # Errors
    /// [`LinkError`] if that is not possible.
    pub async fn open(plan: LinkPlan) -> Result<Self, LinkError> {
        let listener = Listener::bind(plan)
            .await
            .map_err(|error| LinkError { address: plan.address, error })?;
        Ok(Self { plan, listener })
    }

    /// Where it listens: the plan's address, with the port that the kernel chose if the plan has port 0.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.address()
    }

    /// Connects, carries, and connects again, until nobody takes what comes. `wake` is called after
    /// something was put into `inbox`; `outbound` is what goes to the partner.
    pub async fn run(
        self,
        inbox: mpsc::Sender<FromPartner>,
        outbound: Outbound,
        counts: Arc<LinkCounts>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) {
        let Self { plan, mut listener } = self;
        let mut carrier = Carrier { inbox, outbound, counts, wake, quiet: Quiet::default() };
        let mut number = ConnectionNumber::default();
        let mut pause = Duration::ZERO;
        let mut refusals: u32 = 0;
        loop {
            let found = establish(plan, &mut listener, pause, &carrier.counts, &mut carrier.quiet);
            let stream = tokio::select! {
                stream = found => stream,
                () = carrier.inbox.closed() => return,
            };
            number = number.next();
            let Some(end) = carrier.carry(number, stream, &mut listener).await else { return };
            carrier.report(&end);
            refusals = if end.is_fault() { refusals.saturating_add(1) } else { 0 };
            let factor = 1_u32.checked_shl(refusals.min(8)).unwrap_or(1);
            pause = (DIAL_AGAIN * factor).min(DIAL_AGAIN_MAX);
        }
    }
}

/// What carries one connection after the other.
struct Carrier {
    inbox: mpsc::Sender<FromPartner>,
    outbound: Outbound,
    counts: Arc<LinkCounts>,
    wake: Arc<dyn Fn() + Send + Sync>,
    quiet: Quiet,
}

impl Carrier {
    /// Carries one connection to its end; `None` if nobody takes what comes any more.
    async fn carry(
        &mut self,
        number: ConnectionNumber,
        stream: TcpStream,
        listener: &mut Listener,
    ) -> Option<LinkEnd> {
        // Messages are small and each is waited for.
        let _slower = stream.set_nodelay(true);
        self.outbound.begin(number);
        self.put(FromPartner::Connected(number)).await?;
        self.counts.connected(true);
        let (mut reading, mut writing) = stream.into_split();
        let end = tokio::select! {
            end = read::read(&mut reading, &self.inbox, &*self.wake) => end,
            end = write::write(&mut writing, &self.outbound, &self.counts) => Some(end),
            () = listener.turn_others_away(&self.counts, &mut self.quiet) => None,
        };
        self.outbound.end();
        self.counts.connected(false);
        drop((reading, writing));
        self.put(FromPartner::Disconnected).await?;
        end
    }

    async fn put(&self, event: FromPartner) -> Option<()> {
        self.inbox.send(event).await.ok()?;
        (self.wake)();
        Some(())
    }

    fn report(&mut self, end: &LinkEnd) {
        self.counts.ended(end);
        if !self.quiet.may_say(end.name()) {
            return tracing::debug!(
                reason = end.name(),
                "the connection to the partner ended: {end}"
            );
        }
        match end {
            LinkEnd::Decided(CloseReason::Duplicate) | LinkEnd::Left => {
                tracing::info!(reason = end.name(), "the connection to the partner ended: {end}");
            }
            _ => tracing::warn!(
                reason = end.name(),
                "the connection to the partner ended: {end} (said once a minute)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
