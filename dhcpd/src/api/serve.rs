//! Connections to the API, to `captive.listen` and to the built-in portal: taken in, served, ended.
//!
//! Everything that a slow or silent caller can hold up has a time limit: the head of a request
//! (also a TLS session before it, and the wait for the next one on an open connection), its body, and
//! each write of the answer.
//! When all places are taken, a further connection gets a short answer and is closed.

use super::certificate::Certificate;
use super::chunks::Stopping;
use super::listener::{Listener, Socket};
use super::places::{Entrance, Places};
use super::problem::{Problem, ProblemKind};
use super::stream::{PatientWriter, Stream};
use super::{ApiState, captive_router, router};
use crate::portal::Portal;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
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

/// What a visitor of the portal sees who finds no place: in no language, because their request is not
/// read. The page loads itself again.
const REFUSED_PAGE: &str = "<!DOCTYPE html><html><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
    <title>503</title></head><body><h1>\u{23f3} 503 \u{2026} 5 s</h1></body></html>";

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
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

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
    serve_with_tls_until_stopped(listener, None, state, stop).await;
}

/// As [`serve_until_stopped`], at a second listener too, by TLS. Both share their places.
pub async fn serve_with_tls_until_stopped(
    listener: Listener,
    tls: Option<(Listener, Arc<Certificate>)>,
    state: ApiState,
    stop: impl Future<Output = ()> + Send,
) {
    let router = router(&state);
    let timeouts = state.shared.timeouts;
    let plain =
        Served { entrance: Entrance::Api, router, timeouts, certificate: None, only_for: None };
    let places = Arc::new(Places::new(Entrance::Api, state.clone()));
    let (stopping, stopped) = watch::channel(false);
    let by_tls = async {
        let Some((listener, certificate)) = tls else { return };
        let served = Served { certificate: Some(certificate), ..plain.clone() };
        serve_all(listener, served, Arc::clone(&places), state.clone(), until(stopped.clone()))
            .await;
    };
    let stop = async {
        stop.await;
        // Feeds have no end of their own.
        if let Some(gate) = state.shared.gate_feed.get() {
            gate.feed.close();
        }
        if let Some(exchange) = state.shared.exchange_feed.get() {
            exchange.news.close();
        }
        // Both listeners may be gone, and then nothing is to be stopped.
        let _ = stopping.send(true);
    };
    let places = Arc::clone(&places);
    let in_plain =
        serve_all(listener, plain.clone(), places, state.clone(), until(stopped.clone()));
    tokio::join!(stop, in_plain, by_tls);
}

/// Ready when it is so, or when nobody can say so any more.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
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
    let served =
        Served { entrance: Entrance::Captive, router, timeouts, certificate, only_for: None };
    let places = Arc::new(Places::new(served.entrance, state.clone()));
    serve_all(listener, served, places, state, stop).await;
}

/// Serves the built-in portal at its addresses, with TLS where there is a certificate, until `stop` is
/// ready. They share the places for connections.
pub async fn serve_portal_until_stopped(
    listeners: Vec<(Listener, Option<Arc<Certificate>>)>,
    portal: Arc<Portal>,
    state: ApiState,
    stop: watch::Receiver<()>,
) {
    let timeouts = state.shared.timeouts;
    let places = Arc::new(Places::new(Entrance::Portal, state.clone()));
    let mut served_all = JoinSet::new();
    for (listener, certificate) in listeners {
        let served = Served {
            entrance: Entrance::Portal,
            router: crate::portal::router(&portal, &state, certificate.is_some()),
            timeouts: Timeouts { head: timeouts.head.min(CAPTIVE_HEAD_TIME_MAX), ..timeouts },
            certificate,
            only_for: portal.tls_name().map(Arc::from),
        };
        let (places, state, mut stop) = (Arc::clone(&places), state.clone(), stop.clone());
        served_all.spawn(async move {
            let stop = async move { while stop.changed().await.is_ok() {} };
            serve_all(listener, served, places, state, stop).await;
        });
    }
    while served_all.join_next().await.is_some() {}
}

/// What is served at a listener, and how.
#[derive(Clone)]
struct Served {
    entrance: Entrance,
    router: Router,
    timeouts: Timeouts,
    certificate: Option<Arc<Certificate>>,
    /// The name that a TLS session has to be for. Every name leads to the portal, and whoever asks for
    /// another is closed at once: a certificate that is not theirs would only frighten people.
    only_for: Option<Arc<str>>,
}

async fn serve_all(
    listener: Listener,
    served: Served,
    places: Arc<Places>,
    state: ApiState,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut complaints = Complaints::default();
    let whose = match served.entrance {
        Entrance::Api => "the API",
        Entrance::Captive => "captive.listen",
        Entrance::Portal => "the portal",
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
                    Entrance::Portal => state.shared.metrics.portal_connection_refused(),
                }
                complaints.complain(|| {
                    format!("{whose} has no place for further connections: see the metrics of its connections")
                });
                // Who wants to speak TLS understands nothing else.
                if served.certificate.is_none() {
                    refuse(stream, served.entrance);
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
    let Served { entrance, router, timeouts, certificate, only_for } = served;
    let stream = match (stream, certificate) {
        (Stream::Tcp(stream), Some(certificate)) => {
            let session = handshake(stream, &certificate, only_for.as_deref());
            let session = tokio::select! {
                session = tokio::time::timeout(timeouts.head, session) => session,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            let Ok(Ok(session)) = session else {
                match entrance {
                    Entrance::Api => state.shared.metrics.api_handshake_failed(),
                    Entrance::Captive => state.shared.metrics.captive_handshake_failed(),
                    Entrance::Portal => state.shared.metrics.portal_handshake_failed(),
                }
                return;
            };
            Stream::Tls(Box::new(session))
        }
        (stream, _) => stream,
    };
    let writer = PatientWriter::new(stream, timeouts.write);
    let stopping = Stopping::new(stopped.clone(), writer.has_lost_patience());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(stopping.clone());
        router.clone().oneshot(request)
    });
    let io = TokioIo::new(writer);
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

/// A TLS session, with whoever asks for the right name or for none.
async fn handshake(
    stream: TcpStream,
    certificate: &Certificate,
    only_for: Option<&str>,
) -> io::Result<TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let asked = start.client_hello().server_name().map(str::to_ascii_lowercase);
    if let (Some(only), Some(asked)) = (only_for, asked)
        && only != asked
    {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    start.into_stream(certificate.current()).await
}

/// Says why, as far as that can be done without waiting, and closes.
fn refuse(stream: Stream, entrance: Entrance) {
    let (kind, body) = match entrance {
        Entrance::Portal => ("text/html; charset=utf-8", REFUSED_PAGE.to_owned()),
        Entrance::Api | Entrance::Captive => {
            let problem = Problem::new(
                ProblemKind::Busy,
                "too many connections to the API are open; close some, or try again",
            );
            ("application/problem+json", problem.document())
        }
    };
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // The runtime has not yet seen that the new socket can be written: the kernel is asked itself.
    let _ = match stream {
        Stream::Tcp(stream) => {
            stream.into_std().and_then(|mut stream| stream.write(answer.as_bytes()))
        }
        Stream::Unix(stream) => {
            stream.into_std().and_then(|mut stream| stream.write(answer.as_bytes()))
        }
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
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use std::io::Read as _;

    #[test]
    fn who_finds_no_place_is_told_so_at_once_in_a_form_that_they_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (entrance, kind) in [
            (Entrance::Portal, "text/html; charset=utf-8"),
            (Entrance::Api, "application/problem+json"),
        ] {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let mut caller = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = runtime.block_on(listener.accept()).unwrap();
            refuse(Stream::Tcp(stream), entrance);
            let mut answer = String::new();
            caller.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains(&format!("\r\ncontent-type: {kind}\r\n")), "{answer}");
        }
    }

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
