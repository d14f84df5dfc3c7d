//! One server's feed, followed for ever: connected to, read, taken up again after its last cursor.
//!
//! It promises that a server costs bounded memory and bounded patience: a line has a limit and a deadline, the
//! head of an answer too, and what does not keep to them is the end of the connection, never of the agent.
//! Between two tries it pauses, longer each time. It never changes anything in the kernel, and shows the token
//! to the server only.

use super::counters::Counters;
use super::error::{AgentError, FollowError};
use super::reading::{Event, Reading, Unreadable};
use super::tls::Tls;
use crate::feed::{Cursor, Splitter};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use vestibule_config::{AgentPlace, AgentServer, Token};

/// For a connection, its TLS session, and the head of the answer: each.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// For each whole line: a server says something each second.
const LINE_TIME_MAX: Duration = Duration::from_secs(5);

/// The pause before the first new try, doubled for each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause between two tries; a connection that lasted longer begins again with the shortest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Bytes of the head of an answer, and of what is read at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// A server as it is connected to.
#[derive(Clone)]
pub(super) struct Server {
    url: Box<str>,
    place: AgentPlace,
    authority: Box<str>,
    tls: Option<Tls>,
    token: Arc<Token>,
}

impl Server {
    /// Reads what TLS needs.
    pub(super) fn new(server: &AgentServer, token: Token) -> Result<Self, AgentError> {
        let (tls, authority) = match &server.place {
            AgentPlace::Tls { host, port } => {
                let authority = if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                };
                (Some(Tls::load(&server.ca_file, host)?), authority)
            }
            AgentPlace::Plain(socket) => (None, socket.to_string()),
            AgentPlace::Unix(_) => (None, "localhost".to_owned()),
        };
        Ok(Self {
            url: server.url.clone(),
            place: server.place.clone(),
            authority: authority.into(),
            tls,
            token: Arc::new(token),
        })
    }

    /// As it is written in the file.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The answer to the request for the feed.
    async fn ask(&self, after: Option<Cursor>) -> Result<(Incoming, Abort), FollowError> {
        match &self.place {
            AgentPlace::Unix(path) => {
                let stream = in_time("connecting", UnixStream::connect(path)).await?;
                self.request(stream.map_err(FollowError::Connect)?, after).await
            }
            AgentPlace::Plain(socket) => {
                let stream = in_time("connecting", TcpStream::connect(socket)).await?;
                self.request(stream.map_err(FollowError::Connect)?, after).await
            }
            AgentPlace::Tls { host, port } => {
                let connecting = TcpStream::connect((&**host, *port));
                let stream = in_time("connecting", connecting).await?;
                let stream = stream.map_err(FollowError::Connect)?;
                let Some(tls) = &self.tls else {
                    // Unreachable: there is one for each such place.
                    return Err(FollowError::Tls(std::io::ErrorKind::Unsupported.into()));
                };
                let session = in_time("the TLS session", tls.connect(stream)).await?;
                self.request(session.map_err(FollowError::Tls)?, after).await
            }
        }
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        after: Option<Cursor>,
    ) -> Result<(Incoming, Abort), FollowError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(FollowError::Http)?;
        let driving = Abort(tokio::spawn(connection).abort_handle());
        let after = after.map_or(String::new(), |cursor| format!("?after={cursor}"));
        let request = Request::get(format!("/v1/gate{after}"))
            .header(header::HOST, &*self.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.text()))
            .header(header::ACCEPT, "application/x-ndjson")
            .header(header::USER_AGENT, concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new());
        // A checked authority and a checked token are good headers.
        let request = request.map_err(|_| FollowError::TokenUnknown)?;
        let response = in_time("the answer", sender.send_request(request)).await?;
        let response = response.map_err(FollowError::Http)?;
        match response.status() {
            StatusCode::OK => Ok((response.into_body(), driving)),
            StatusCode::UNAUTHORIZED => Err(FollowError::TokenUnknown),
            StatusCode::FORBIDDEN => Err(FollowError::TokenScope),
            StatusCode::NOT_FOUND => Err(FollowError::NoFeed),
            status => Err(FollowError::Status(status.as_u16())),
        }
    }
}

async fn in_time<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T, FollowError> {
    timeout(CONNECT_TIME_MAX, future).await.map_err(|_| FollowError::TooSlow(what))
}

/// One feed.
pub(super) struct Feed {
    /// Its number among the agent's servers.
    pub(super) number: usize,
    pub(super) server: Server,
    pub(super) events: mpsc::Sender<(usize, Event)>,
    pub(super) counters: Arc<Counters>,
}

impl Feed {
    /// Follows until the enforcer is gone.
    pub(super) async fn follow(self) {
        let mut cursor = None;
        let mut pause = PAUSE_MIN;
        while !self.events.is_closed() {
            let begun = Instant::now();
            let error = self.once(&mut cursor).await;
            if matches!(error, FollowError::Unreadable(_)) {
                // What it said before may be wrong too.
                cursor = None;
            }
            self.counters.lost(self.number, &error);
            if begun.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows until the first connection ends; why it did.
    pub(super) async fn once(&self, cursor: &mut Option<Cursor>) -> FollowError {
        match self.connection(cursor).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn connection(&self, cursor: &mut Option<Cursor>) -> Result<Infallible, FollowError> {
        // The connection is driven for as long as this function lives, and ends with it.
        let (mut body, _driving) = self.server.ask(*cursor).await?;
        let mut splitter = Splitter::default();
        let mut reading = Reading::new(*cursor);
        let mut deadline = tokio::time::Instant::now() + LINE_TIME_MAX;
        let mut events = Vec::new();
        loop {
            let frame = timeout_at(deadline, body.frame())
                .await
                .map_err(|_| FollowError::TooSlow("the next line"))?
                .ok_or(FollowError::BrokenOff)?
                .map_err(FollowError::Http)?;
            // Trailers say nothing to an agent.
            let Ok(bytes) = frame.into_data() else { continue };
            let now = Instant::now();
            splitter.split(&bytes, |line| {
                events.push(reading.line(line, now)?);
                Ok::<(), Unreadable>(())
            })?;
            for event in events.drain(..) {
                let event = event.map_err(FollowError::Ended)?;
                self.counters.heard(self.number, &event, &reading);
                // The enforcer takes its time: the server's and the kernel's buffers are the limit.
                let sent = self.events.send((self.number, event)).await;
                sent.map_err(|_| FollowError::AgentEnding)?;
                // Waiting for the enforcer is not the server's fault.
                deadline = tokio::time::Instant::now() + LINE_TIME_MAX;
            }
            // All that was read was handed on.
            *cursor = reading.cursor().or(*cursor);
        }
    }
}

/// A pause between half and the whole of this one: those who lost the same server at once do not come back
/// at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    let random = u32::try_from(random).unwrap_or_default();
    pause / 2 + pause / 2 * random / 1024
}

/// Ends a task when dropped.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
