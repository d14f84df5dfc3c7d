//! One request to the API, and its answer.
//!
//! A connection of its own for each request: the tool asks a handful of times and ends. Bounded in
//! time and in the size of what it takes.

use super::access::{Access, Place};
use super::show::shown;
use super::{Failure, show};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long it may take to be connected.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take: longer than the server gives its core for a command.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(45);

/// Bytes of an answer at most: a page of 1000 leases with everything at its longest is far below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes an event of a stream: its id, its kind, its data.
pub(super) type Tell<'a> = dyn FnMut(Option<&str>, &str, &str) -> Result<(), Failure> + 'a;

/// Asks one API.
pub(super) struct Client {
    access: Access,
    runtime: tokio::runtime::Runtime,
}

/// A problem document, as far as it is shown.
#[derive(Deserialize)]
struct ProblemDocument {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// The place of the entry that a problem is about.
#[derive(Deserialize)]
struct Position {
    #[serde(default)]
    position: Option<usize>,
}

/// What came of a request with many entries.
pub(super) enum Asked {
    /// The answer.
    Answered(serde_json::Value),
    /// What is wrong, and with which entry, counted from 0.
    Problem { text: String, position: Option<usize> },
}

impl Client {
    /// For the API at this place.
    pub(super) fn new(access: Access) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { access, runtime })
    }

    /// Asks for what is at `path`, and gives the JSON of the answer.
    pub(super) fn get(&self, path: &str) -> Result<serde_json::Value, Failure> {
        self.runtime.block_on(self.ask(Method::GET, path, None))
    }

    /// Sends JSON to `path`.
    pub(super) fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, Failure> {
        self.runtime.block_on(self.ask(Method::POST, path, Some(body)))
    }

    /// Sends JSON to `path`; a problem that is about one entry of it is no failure.
    pub(super) fn post_or_problem(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Asked, Failure> {
        let (status, bytes) = self.runtime.block_on(self.asked(Method::POST, path, Some(body)))?;
        let position = serde_json::from_slice::<Position>(&bytes).ok().and_then(|p| p.position);
        match self.judge(status, &bytes) {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(Failure::Refused(text)) => Ok(Asked::Problem { text, position }),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes what is at `path`.
    pub(super) fn delete(&self, path: &str) -> Result<serde_json::Value, Failure> {
        self.runtime.block_on(self.ask(Method::DELETE, path, None))
    }

    /// Asks for a stream of server-sent events, and gives each to `tell`: its id, its kind, its data.
    /// Returns when the stream ends.
    pub(super) fn stream(&self, path: &str, tell: &mut Tell<'_>) -> Result<(), Failure> {
        self.runtime.block_on(async {
            match &self.access.place {
                Place::Tcp(address) => {
                    let connect =
                        tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address));
                    self.listen(self.connected(connect.await)?, path, tell).await
                }
                Place::Unix(socket) => {
                    let connect =
                        tokio::time::timeout(CONNECT_TIME_MAX, UnixStream::connect(socket));
                    self.listen(self.connected(connect.await)?, path, tell).await
                }
            }
        })
    }

    async fn listen<S>(&self, stream: S, path: &str, tell: &mut Tell<'_>) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request(Method::GET, path, Bytes::new())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        let response =
            match tokio::time::timeout(ANSWER_TIME_MAX, sender.send_request(request)).await {
                Ok(response) => response.map_err(|error| self.broken(&error))?,
                Err(_) => return Err(self.broken(&"nothing came")),
            };
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let bytes = body.map_err(|error| self.broken(&error))?.to_bytes();
            return self.judge(status, &bytes).map(drop);
        }
        let mut lines = EventLines::default();
        loop {
            // A stream that lives says so every 15 s.
            let frame = match tokio::time::timeout(ANSWER_TIME_MAX, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| self.broken(&error))?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(self.broken(&"it fell silent")),
            };
            let Some(data) = frame.data_ref() else { continue };
            if !lines.take(data, tell)? {
                return Err(self.broken(&"an event is too long"));
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, Failure> {
        let (status, bytes) = self.asked(method, path, body).await?;
        self.judge(status, &bytes)
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        match &self.access.place {
            Place::Tcp(address) => {
                let connect = tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address));
                self.exchange(self.connected(connect.await)?, method, path, body).await
            }
            Place::Unix(socket) => {
                let connect = tokio::time::timeout(CONNECT_TIME_MAX, UnixStream::connect(socket));
                self.exchange(self.connected(connect.await)?, method, path, body).await
            }
        }
    }

    fn connected<S>(
        &self,
        connected: Result<io::Result<S>, tokio::time::error::Elapsed>,
    ) -> Result<S, Failure> {
        let place = &self.access.place;
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let remedy = match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                        "is vestibule-dhcpd running (systemctl status vestibule-dhcpd), and is this its `api.listen`?"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "the socket is for the server's user and group; become one of them"
                    }
                    _ => "is this the server's `api.listen`?",
                };
                Err(Failure::Unreachable(format!(
                    "cannot reach the server at {place}: {error}; {remedy}"
                )))
            }
            Err(_) => Err(Failure::Unreachable(format!(
                "cannot reach the server at {place}: nobody answered within {} s; a packet filter may be in the way",
                CONNECT_TIME_MAX.as_secs()
            ))),
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Bytes), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: &dyn std::fmt::Display| self.broken(error);
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = self.request(method, path, bytes)?;
        let exchange = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
            // Ends with the answer, or with the runtime.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| broken(&error))?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(broken(&format!("nothing came for {} s", ANSWER_TIME_MAX.as_secs()))),
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Failure {
        let place = &self.access.place;
        Failure::Unreachable(format!(
            "the server at {place} did not finish its answer: {error}; the server's log says more, \
             and sending a command again does no harm"
        ))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.access.place {
            Place::Tcp(address) => address.as_str(),
            Place::Unix(_) => "localhost",
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.access.token.text()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::Usage(format!("this cannot be asked of a server: {error}")))
    }

    fn judge(&self, status: StatusCode, bytes: &[u8]) -> Result<serde_json::Value, Failure> {
        let place = &self.access.place;
        let no_vestibule = || {
            Failure::Unreachable(format!(
                "what answers at {place} is not a Vestibule server ({status}); is this its `api.listen`?"
            ))
        };
        if status.is_success() {
            return serde_json::from_slice(bytes).map_err(|_| no_vestibule());
        }
        let problem: ProblemDocument = serde_json::from_slice(bytes).map_err(|_| no_vestibule())?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(Failure::Refused(format!(
                "the server at {place} does not take this token: give its token file with --token-file; if the file \
                 was changed, restart the server"
            )));
        }
        let title = shown(&problem.title);
        let what = if problem.detail.is_empty() { title } else { shown(&problem.detail) };
        let kind = problem.r#type.rsplit('/').next().unwrap_or_default();
        Err(Failure::Refused(format!("{what} ({} {})", status.as_u16(), shown(kind))))
    }
}

/// Server-sent events, put together from pieces that end anywhere.
#[derive(Default)]
struct EventLines {
    rest: Vec<u8>,
    id: Option<String>,
    kind: String,
    data: String,
}

impl EventLines {
    /// Takes the next piece and tells every event that ends in it. False if an event is too long.
    fn take(&mut self, piece: &[u8], tell: &mut Tell<'_>) -> Result<bool, Failure> {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(": ") {
                _ if line.is_empty() => {
                    if self.id.is_some() || !self.data.is_empty() {
                        tell(self.id.as_deref(), &self.kind, &self.data)?;
                    }
                    (self.id, self.kind, self.data) = Default::default();
                }
                Some(("id", id)) => self.id = Some(id.to_owned()),
                Some(("event", kind)) => kind.clone_into(&mut self.kind),
                Some(("data", data)) => self.data.push_str(data),
                // A comment, or what a later version says.
                _ => {}
            }
        }
        Ok(self.rest.len() + self.data.len() <= ANSWER_BYTES_MAX)
    }
}

/// A path with a query of those parameters that have a value.
pub(super) fn path_with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut whole = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        whole.push(separator);
        separator = '&';
        whole.push_str(name);
        whole.push('=');
        whole.push_str(&show::percent_encoded(value));
    }
    whole
}
