//! Connections to the API: how many there may be, and how long each may take.
//!
//! Everything that a slow or silent caller can hold up has a time limit: the head of a request
//! (also the wait for the next one on an open connection), its body, and each write of the answer.
//! When all places are taken, a further connection gets a short answer and is closed.

use super::listener::{Listener, Socket};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, router};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 512;

/// Connections at once from one address that is not this host's: one host that asks who it is must
/// not take all places.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;

/// Connections that are kept for callers on this host: others together must not shut out the operator.
pub const CONNECTIONS_KEPT_FOR_THIS_HOST: usize = 64;

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request at most.
const HEADERS_MAX: usize = 64;

/// How long to wait after the kernel could not hand out a connection (out of descriptors), instead
/// of asking it again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line about refused or failed connections in this time.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// How long callers may take, and a sick core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the head of a request, from the moment that the server waits for it.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// For taking some bytes of an answer.
    pub write: Duration,
    /// For ending what is under way when the server stops.
    pub stop: Duration,
    /// For the core to show that it lives, when `/healthz` asks it.
    pub health: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(10),
            write: Duration::from_secs(10),
            stop: Duration::from_secs(3),
            health: Duration::from_secs(2),
        }
    }
}

/// The address that a request's connection comes from; `None` over a Unix socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) Option<IpAddr>);

/// Serves the API until the future is dropped, which closes all connections.
pub async fn serve(listener: Listener, state: ApiState) {
    serve_until_stopped(listener, state, std::future::pending()).await;
}

/// Serves the API until `stop` is ready, then lets what is under way come to its end, within
/// [`Timeouts::stop`].
pub async fn serve_until_stopped(
    listener: Listener,
    state: ApiState,
    stop: impl Future<Output = ()> + Send,
) {
    let router = router(&state);
    let places = Arc::new(Places::new(state.clone()));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut complaints = Complaints::default();
    tokio::pin!(stop);
    loop {
        // Ended connections are taken out, or the set would only grow.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener.socket) => accepted,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                complaints.complain(|| {
                    format!("the API cannot take a connection: {error}; the limit of open files may be too low")
                });
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Places::take(&places, caller) {
            Some(place) => {
                let connection = connection(
                    stream,
                    Peer(caller.address),
                    router.clone(),
                    state.shared.timeouts,
                    stopped.clone(),
                );
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            None => {
                state.shared.metrics.api_connection_refused();
                complaints.complain(|| {
                    "the API has no place for further connections: see vestibule_api_connections".to_owned()
                });
                refuse(&stream);
            }
        }
    }
    drop(listener);
    // Receivers may all be gone, and then nothing is under way.
    let _ = stopping.send(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(state.shared.timeouts.stop, all_ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// A stream of either kind of socket.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caller {
    /// The address that the connection comes from; `None` over a Unix socket.
    address: Option<IpAddr>,
    on_this_host: bool,
}

impl Caller {
    /// `here`: the end of the connection that is ours. Who connects on this host to one of its
    /// addresses that is not loopback comes from that very address.
    fn over_tcp(peer: IpAddr, here: Option<IpAddr>) -> Self {
        let peer = peer.to_canonical();
        let on_this_host = peer.is_loopback() || here.map(|here| here.to_canonical()) == Some(peer);
        Self { address: Some(peer), on_this_host }
    }

    /// The address of a caller on another host.
    fn elsewhere(self) -> Option<IpAddr> {
        self.address.filter(|_| !self.on_this_host)
    }
}

async fn accept(socket: &Socket) -> io::Result<(Stream, Caller)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Answers are small and wait for nothing. Without it they only come later.
            let _ = stream.set_nodelay(true);
            let here = stream.local_addr().ok().map(|here| here.ip());
            Ok((Stream::Tcp(stream), Caller::over_tcp(peer.ip(), here)))
        }
        Socket::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            Ok((Stream::Unix(stream), Caller { address: None, on_this_host: true }))
        }
    }
}

async fn connection(
    stream: Stream,
    peer: Peer,
    router: Router,
    timeouts: Timeouts,
    mut stopped: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let io = TokioIo::new(PatientWriter { stream, patience: timeouts.write, deadline: None });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    tokio::pin!(connection);
    // A broken connection is the caller's affair; what was asked on it has been counted.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Says why, as far as that can be done without waiting, and closes.
fn refuse(stream: &Stream) {
    let problem = Problem::new(
        ProblemKind::Busy,
        "too many connections to the API are open; close some, or try again",
    );
    let body = problem.document();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = match stream {
        Stream::Tcp(stream) => stream.try_write(answer.as_bytes()),
        Stream::Unix(stream) => stream.try_write(answer.as_bytes()),
    };
}

/// The places for connections.
struct Places {
    state: ApiState,
    taken: Mutex<Taken>,
}

/// Which places are taken, and by whom.
#[derive(Debug, Default)]
struct Taken {
    count: usize,
    /// Those of callers that are not on this host.
    count_of_others: usize,
    /// The same by address: as many in all as `count_of_others`.
    by_address: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
struct Place {
    places: Arc<Places>,
    counted_under: Option<IpAddr>,
}

impl Places {
    fn new(state: ApiState) -> Self {
        Self { state, taken: Mutex::default() }
    }

    fn take(places: &Arc<Self>, caller: Caller) -> Option<Place> {
        let counted_under = caller.elsewhere();
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.take(counted_under) {
            return None;
        }
        places.state.shared.metrics.api_connections(taken.count);
        Some(Place { places: Arc::clone(places), counted_under })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.give_back(self.counted_under);
        self.places.state.shared.metrics.api_connections(taken.count);
    }
}

impl Taken {
    /// Takes a place, if there is one: for this host (`None`), or for the caller at this address.
    fn take(&mut self, elsewhere: Option<IpAddr>) -> bool {
        if self.count >= CONNECTIONS_MAX {
            return false;
        }
        if let Some(address) = elsewhere {
            let from_there = self.by_address.get(&address).copied().unwrap_or(0);
            if from_there >= CONNECTIONS_PER_ADDRESS_MAX
                || self.count_of_others >= CONNECTIONS_MAX - CONNECTIONS_KEPT_FOR_THIS_HOST
            {
                return false;
            }
            self.by_address.insert(address, from_there + 1);
            self.count_of_others += 1;
        }
        self.count += 1;
        true
    }

    fn give_back(&mut self, elsewhere: Option<IpAddr>) {
        self.count = self.count.saturating_sub(1);
        let Some(address) = elsewhere else { return };
        self.count_of_others = self.count_of_others.saturating_sub(1);
        match self.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.by_address.remove(&address);
            }
        }
    }
}

/// Lines for the log, at most one in [`COMPLAINT_PAUSE`].
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    fn complain(&mut self, text: impl FnOnce() -> String) {
        if self.last.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
            self.last = Some(Instant::now());
            tracing::warn!("{}", text());
        }
    }
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct PatientWriter {
    stream: Stream,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl PatientWriter {
    /// Passes on what a write came to, and fails it if it has waited for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for PatientWriter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PatientWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.judge(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 20, 0, last])
    }

    #[test]
    fn others_together_never_take_the_places_that_are_kept_for_this_host() {
        let mut taken = Taken::default();
        let of_others = (0..=u8::MAX)
            .flat_map(|host| (0..=CONNECTIONS_PER_ADDRESS_MAX).map(move |_| address(host)))
            .filter(|host| taken.take(Some(*host)))
            .count();
        assert_eq!(of_others, CONNECTIONS_MAX - CONNECTIONS_KEPT_FOR_THIS_HOST);
        let of_this_host = (0..CONNECTIONS_MAX).filter(|_| taken.take(None)).count();
        assert_eq!(of_this_host, CONNECTIONS_KEPT_FOR_THIS_HOST);
        taken.give_back(None);
        assert!(!taken.take(Some(address(200))), "a place of this host is not for others");
        assert!(taken.take(None));
        taken.give_back(Some(address(0)));
        assert!(taken.take(Some(address(200))));
    }

    #[test]
    fn one_address_has_its_own_limit_and_leaves_nothing_behind() {
        let mut taken = Taken::default();
        let count = (0..CONNECTIONS_MAX).filter(|_| taken.take(Some(address(1)))).count();
        assert_eq!(count, CONNECTIONS_PER_ADDRESS_MAX);
        assert!(taken.take(Some(address(2))));
        for _ in 0..count {
            taken.give_back(Some(address(1)));
        }
        taken.give_back(Some(address(2)));
        assert!(taken.by_address.is_empty(), "{taken:?}");
        assert_eq!((taken.count, taken.count_of_others), (0, 0));
    }

    #[test]
    fn who_calls_from_the_address_that_is_called_is_on_this_host() {
        let here = Some(address(1));
        assert!(Caller::over_tcp(address(1), here).on_this_host);
        assert!(Caller::over_tcp(IpAddr::from([127, 0, 0, 1]), None).on_this_host);
        let mapped = std::net::Ipv4Addr::new(10, 20, 0, 9).to_ipv6_mapped();
        let other = Caller::over_tcp(mapped.into(), here);
        assert_eq!(other.elsewhere(), Some(address(9)));
        assert_eq!(Caller::over_tcp(address(1), here).address, Some(address(1)));
    }
}
