//! Connections to the API and to `captive.listen`: taken in, served, ended.
//!
//! Everything that a slow or silent caller can hold up has a time limit: the head of a request
//! (also a TLS session before it, and the wait for the next one on an open connection), its body, and
//! each write of the answer.
//! When all places are taken, a further connection gets a short answer and is closed.

use super::certificate::Certificate;
use super::listener::{Listener, Socket};
use super::places::{Entrance, Places};
use super::problem::{Problem, ProblemKind};
use super::stream::{PatientWriter, Stream};
use super::{ApiState, captive_router, router};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request at most.
const HEADERS_MAX: usize = 64;

/// Longest wait for a TLS session and the head of a question at `captive.listen`: devices have nothing
/// else to say there, and 80 silent ones would keep all others out.
const CAPTIVE_HEAD_TIME_MAX: Duration = Duration::from_secs(5);

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
    let served = Served {
        entrance: Entrance::Api,
        router,
        timeouts: state.shared.timeouts,
        certificate: None,
    };
    serve_all(listener, served, state, stop).await;
}

/// Serves `/captive` and nothing else, with TLS if there is a certificate, until `stop` is ready.
pub async fn serve_captive_until_stopped(
    listener: Listener,
    certificate: Option<Arc<Certificate>>,
    state: ApiState,
    stop: impl Future<Output = ()> + Send,
) {
    let router = captive_router(&state);
    let timeouts = state.shared.timeouts;
    let timeouts = Timeouts { head: timeouts.head.min(CAPTIVE_HEAD_TIME_MAX), ..timeouts };
    let served = Served { entrance: Entrance::Captive, router, timeouts, certificate };
    serve_all(listener, served, state, stop).await;
}

/// What is served at a listener, and how.
#[derive(Clone)]
struct Served {
    entrance: Entrance,
    router: Router,
    timeouts: Timeouts,
    certificate: Option<Arc<Certificate>>,
}

async fn serve_all(
    listener: Listener,
    served: Served,
    state: ApiState,
    stop: impl Future<Output = ()> + Send,
) {
    let places = Arc::new(Places::new(served.entrance, state.clone()));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut complaints = Complaints::default();
    let whose = match served.entrance {
        Entrance::Api => "the API",
        Entrance::Captive => "captive.listen",
    };
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
                    format!("{whose} cannot take a connection: {error}; the limit of open files may be too low")
                });
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Only a proxy asks for many.
        let is_proxy = served.entrance == Entrance::Captive && state.captive.trusts(caller.address);
        match Places::take(&places, caller.elsewhere().filter(|_| !is_proxy)) {
            Some(place) => {
                let connection = connection(
                    stream,
                    Peer(caller.address),
                    served.clone(),
                    state.clone(),
                    stopped.clone(),
                );
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            None => {
                match served.entrance {
                    Entrance::Api => state.shared.metrics.api_connection_refused(),
                    Entrance::Captive => state.shared.metrics.captive_connection_refused(),
                }
                complaints.complain(|| {
                    format!("{whose} has no place for further connections: see the metrics of its connections")
                });
                // Who wants to speak TLS understands nothing else.
                if served.certificate.is_none() {
                    refuse(&stream);
                }
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
    served: Served,
    state: ApiState,
    mut stopped: watch::Receiver<bool>,
) {
    let Served { entrance, router, timeouts, certificate } = served;
    let stream = match (stream, certificate) {
        (Stream::Tcp(stream), Some(certificate)) => {
            let session = TlsAcceptor::from(certificate.current()).accept(stream);
            let session = tokio::select! {
                session = tokio::time::timeout(timeouts.head, session) => session,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            let Ok(Ok(session)) = session else {
                state.shared.metrics.captive_handshake_failed();
                return;
            };
            Stream::Tls(Box::new(session))
        }
        (stream, _) => stream,
    };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let io = TokioIo::new(PatientWriter::new(stream, timeouts.write));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(entrance == Entrance::Api)
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
        Stream::Tls(_) => return,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 20, 0, last])
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
