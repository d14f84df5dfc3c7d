//! A stream of lines that a server's API tells for as long as both live, from the side that follows it: the
//! gate feed, and what the halves of a failover pair exchange.
//!
//! It promises that a server costs bounded memory and bounded patience: a line has a limit and a deadline, the
//! head of an answer too, and what does not keep to them is the end of the connection. It shows the token to
//! that server only, and takes TLS by the word of the given authorities only. What the lines mean it does not
//! know.

mod tls;

use crate::feed::{LineTooLong, Splitter};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
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

/// Why a server cannot be followed at all. Always the operator's to put right.
#[derive(Debug)]
pub enum SourceError {
    /// The file of authorities cannot be used.
    Authorities(PathBuf, String),
    /// The server's name cannot be one that a certificate is for.
    ServerName(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(path, why) => write!(
                f,
                "{} cannot be used: {why}; a ca-file holds certificates of authorities in PEM",
                path.display()
            ),
            Self::ServerName(name) => {
                write!(
                    f,
                    "`{name}` cannot be in a certificate: name the server otherwise in its url"
                )
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// Why a connection to a server ended, or did not begin.
#[derive(Debug)]
pub enum StreamError {
    /// The network's or the server's: it cannot be connected to.
    Connect(io::Error),
    /// The operator's or somebody's in between: no TLS session with a server that the authorities vouch for.
    Tls(io::Error),
    /// The server's or the network's: it did not speak HTTP, or stopped in the middle of it.
    Http(hyper::Error),
    /// The operator's: the server does not know the token.
    TokenUnknown,
    /// The operator's: the token's scope is another one.
    TokenScope,
    /// The operator's: the server has nothing at this path.
    NotFound,
    /// The server's: it answered with this other status.
    Status(u16),
    /// The server's or the network's: this took too long.
    TooSlow(&'static str),
    /// The server's or the network's: the stream ended without a word.
    BrokenOff,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "it cannot be reached: {error}"),
            Self::Tls(error) => write!(
                f,
                "no TLS session: {error}; its ca-file has to hold the authority of the server's \
                 certificate, and the certificate has to be for the name in its url"
            ),
            Self::Http(error) => write!(f, "it does not speak HTTP as it should: {error}"),
            Self::TokenUnknown => f.write_str(
                "it does not know the token: one of its [[api.token]] has to hold what token-file holds here",
            ),
            Self::TokenScope => f.write_str("the token's scope at the server is another one"),
            Self::NotFound => f.write_str("it has nothing there"),
            Self::Status(status) => write!(f, "it answers with the HTTP status {status}"),
            Self::TooSlow(what) => write!(f, "{what} took too long"),
            Self::BrokenOff => f.write_str("the stream broke off"),
        }
    }
}

impl std::error::Error for StreamError {}

/// A server as it is connected to.
#[derive(Clone)]
pub struct Source {
    url: Box<str>,
    place: AgentPlace,
    authority: Box<str>,
    tls: Option<Tls>,
    token: Arc<Token>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Source {
    /// Reads what TLS needs.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn new(server: &AgentServer, token: Token) -> Result<Self, SourceError> {
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
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for a stream. `target`: path and query, as they are sent.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(&self, target: &str) -> Result<Lines, StreamError> {
        match &self.place {
            AgentPlace::Unix(path) => {
                let stream = in_time("connecting", UnixStream::connect(path)).await?;
                self.request(stream.map_err(StreamError::Connect)?, target).await
            }
            AgentPlace::Plain(socket) => {
                let stream = in_time("connecting", TcpStream::connect(socket)).await?;
                self.request(stream.map_err(StreamError::Connect)?, target).await
            }
            AgentPlace::Tls { host, port } => {
                let connecting = TcpStream::connect((&**host, *port));
                let stream = in_time("connecting", connecting).await?;
                let stream = stream.map_err(StreamError::Connect)?;
                let Some(tls) = &self.tls else {
                    // Unreachable: there is one for each such place.
                    return Err(StreamError::Tls(io::ErrorKind::Unsupported.into()));
                };
                let session = in_time("the TLS session", tls.connect(stream)).await?;
                self.request(session.map_err(StreamError::Tls)?, target).await
            }
        }
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        target: &str,
    ) -> Result<Lines, StreamError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(StreamError::Http)?;
        let driving = Abort(tokio::spawn(connection).abort_handle());
        let request = Request::get(target)
            .header(header::HOST, &*self.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.text()))
            .header(header::ACCEPT, "application/x-ndjson")
            .header(header::USER_AGENT, concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new());
        // A checked authority and a checked token are good headers.
        let request = request.map_err(|_| StreamError::TokenUnknown)?;
        let response = in_time("the answer", sender.send_request(request)).await?;
        let response = response.map_err(StreamError::Http)?;
        match response.status() {
            StatusCode::OK => Ok(Lines {
                body: response.into_body(),
                splitter: Splitter::default(),
                deadline: tokio::time::Instant::now() + LINE_TIME_MAX,
                _driving: driving,
            }),
            StatusCode::UNAUTHORIZED => Err(StreamError::TokenUnknown),
            StatusCode::FORBIDDEN => Err(StreamError::TokenScope),
            StatusCode::NOT_FOUND => Err(StreamError::NotFound),
            status => Err(StreamError::Status(status.as_u16())),
        }
    }
}

async fn in_time<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T, StreamError> {
    timeout(CONNECT_TIME_MAX, future).await.map_err(|_| StreamError::TooSlow(what))
}

/// The lines of one connection, which ends when this is dropped.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    splitter: Splitter,
    deadline: tokio::time::Instant,
    _driving: Abort,
}

impl Lines {
    /// Waits until something has come, and hands on every line that is whole with it: none, one or several.
    ///
    /// # Errors
    /// That of `each`, or why there will be no more.
    pub async fn read<E: From<StreamError> + From<LineTooLong>>(
        &mut self,
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let frame = timeout_at(self.deadline, self.body.frame())
            .await
            .map_err(|_| StreamError::TooSlow("the next line"))?
            .ok_or(StreamError::BrokenOff)?
            .map_err(StreamError::Http)?;
        // Trailers say nothing to a follower.
        let Ok(bytes) = frame.into_data() else { return Ok(()) };
        self.splitter.split(&bytes, each)
    }

    /// A line was taken in: the time for the next one begins, however long that took.
    pub fn taken(&mut self) {
        self.deadline = tokio::time::Instant::now() + LINE_TIME_MAX;
    }
}

/// The pauses between tries of one follower.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pauses {
    /// The pause after a connection that was begun then. Between half and the whole of what it could be: those
    /// who lost the same server at once do not come back at once.
    pub fn after(&mut self, begun: Instant) -> Duration {
        if begun.elapsed() > PAUSE_MAX {
            self.0 = PAUSE_MIN;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        let random = RandomState::new().build_hasher().finish() % 1024;
        let random = u32::try_from(random).unwrap_or_default();
        pause / 2 + pause / 2 * random / 1024
    }
}

/// Ends a task when dropped.
#[derive(Debug)]
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
