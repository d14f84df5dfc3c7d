//! Asking the true resolvers.
//!
//! It promises that a question ends in time: each resolver gets one datagram (and one connection,
//! if its answer is cut short), and at most [`UPSTREAM_ATTEMPTS_MAX`] resolvers are asked. One that
//! failed several times in a row counts as down: it is passed over while there is another, and if
//! there is none, only a few look-ups at once still try, so that a dead resolver costs its clients
//! a quick SERVFAIL and not a time-out each, and gets no storm when it comes back. Each question
//! has a socket of its own, so that its source port is as hard to guess as its number, and the
//! kernel drops what comes from elsewhere.

use crate::handler::{Handler, Inquiry, Upstream as Reply};
use crate::limits::{
    UPSTREAM_ATTEMPTS_MAX, UPSTREAM_DATAGRAMS_MAX, UPSTREAM_FAILURES_MAX,
    UPSTREAM_PROBES_MADE_UP_MAX, UPSTREAM_PROBES_MAX, UPSTREAM_PROBES_PER_SOURCE_MAX,
    UPSTREAM_REST, UPSTREAM_TIMEOUT,
};
use crate::slots::Slots;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

/// The true resolvers, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Upstream {
    servers: Vec<Server>,
    probes: Arc<Slots>,
    /// Those of `probes` that names may take which only a wildcard of the garden lets pass.
    probes_made_up: Arc<Slots>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Health {
    failures: u32,
    down_until: Option<Instant>,
}

/// What a resolver answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As it came.
    pub(crate) message: Arc<[u8]>,
    /// For how many seconds it may be kept.
    pub(crate) seconds: u32,
    /// It says that it could not find out.
    pub(crate) failed: bool,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    TimedOut,
    TooManyOthers,
    Socket(io::Error),
}

impl Upstream {
    /// The resolvers at `addresses`.
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        let server = |address: &SocketAddr| Server { address: *address, health: Mutex::default() };
        Self {
            servers: addresses.iter().map(server).collect(),
            probes: Slots::new(UPSTREAM_PROBES_MAX, UPSTREAM_PROBES_PER_SOURCE_MAX),
            probes_made_up: Slots::new(UPSTREAM_PROBES_MADE_UP_MAX, UPSTREAM_PROBES_PER_SOURCE_MAX),
        }
    }

    /// The answer; `None` if no resolver gave one.
    pub(crate) async fn ask(&self, inquiry: &Inquiry) -> Option<Answer> {
        let mut attempts = 0;
        for server in &self.servers {
            if attempts == UPSTREAM_ATTEMPTS_MAX {
                return None;
            }
            if !server.may_be_asked(Instant::now()) {
                continue;
            }
            attempts += 1;
            if let Some(answer) = server.try_once(inquiry).await {
                return Some(answer);
            }
        }
        if attempts > 0 {
            return None;
        }
        // All of them are down, as far as we know.
        let made_up = inquiry.made_up.then(|| self.probes_made_up.take(inquiry.source));
        let _made_up = made_up.transpose().ok()?;
        let _probe = self.probes.take(inquiry.source).ok()?;
        for server in self.servers.iter().take(UPSTREAM_ATTEMPTS_MAX) {
            if let Some(answer) = server.try_once(inquiry).await {
                return Some(answer);
            }
        }
        None
    }
}

impl Server {
    async fn try_once(&self, inquiry: &Inquiry) -> Option<Answer> {
        let outcome = timeout(UPSTREAM_TIMEOUT, self.ask(inquiry)).await;
        match outcome.unwrap_or(Err(Failure::TimedOut)) {
            Ok(answer) => {
                self.succeeded();
                Some(answer)
            }
            Err(failure) => {
                self.failed(Instant::now(), &failure);
                None
            }
        }
    }

    async fn ask(&self, inquiry: &Inquiry) -> Result<Answer, Failure> {
        let unspecified: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(unspecified).await?;
        socket.connect(self.address).await?;
        socket.send(&inquiry.bytes).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        for _ in 0..UPSTREAM_DATAGRAMS_MAX {
            let length = socket.recv(&mut buffer).await?;
            let message = buffer.get(..length).unwrap_or_default();
            match Handler::upstream(inquiry, message) {
                Reply::Other => {}
                Reply::Answer { seconds, failed } => {
                    return Ok(Answer { message: message.into(), seconds, failed });
                }
                Reply::Truncated => {
                    // One descriptor at a time for each look-up: the limits count on it.
                    drop(socket);
                    return self.ask_over_tcp(inquiry).await;
                }
            }
        }
        Err(Failure::TooManyOthers)
    }

    async fn ask_over_tcp(&self, inquiry: &Inquiry) -> Result<Answer, Failure> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = u16::try_from(inquiry.bytes.len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&inquiry.bytes);
        stream.write_all(&framed).await?;
        let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut buffer).await?;
        match Handler::upstream(inquiry, &buffer) {
            Reply::Answer { seconds, failed } => {
                Ok(Answer { message: buffer.into(), seconds, failed })
            }
            Reply::Other | Reply::Truncated => Err(Failure::TooManyOthers),
        }
    }

    /// Whether it is up; or down, but it is time to try, which is true for one caller only.
    fn may_be_asked(&self, now: Instant) -> bool {
        let mut health = self.health();
        match health.down_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                health.down_until = Some(now + UPSTREAM_REST);
                true
            }
        }
    }

    fn succeeded(&self) {
        let was = std::mem::take(&mut *self.health());
        if was.down_until.is_some() {
            tracing::info!(resolver = %self.address, "the upstream resolver answers again");
        }
    }

    fn failed(&self, now: Instant, failure: &Failure) {
        let mut health = self.health();
        health.failures = health.failures.saturating_add(1);
        tracing::debug!(resolver = %self.address, ?failure, "an upstream resolver failed");
        if health.failures >= UPSTREAM_FAILURES_MAX {
            // One line for each time that it goes down, not one for each try while it is.
            if health.down_until.is_none() {
                tracing::warn!(
                    resolver = %self.address,
                    cause = %failure,
                    "the upstream resolver counts as down: if there is no other, most questions for \
                     the portal's name and the walled garden get SERVFAIL"
                );
            }
            health.down_until = Some(now + UPSTREAM_REST);
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        // Nothing inside a lock can panic half-way, so a poisoned one is still right.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => write!(f, "no answer within {} s", UPSTREAM_TIMEOUT.as_secs()),
            Self::TooManyOthers => f.write_str("it sends answers to other questions"),
            Self::Socket(error) => error.fmt(f),
        }
    }
}
