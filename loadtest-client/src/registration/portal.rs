//! The portal's part: it tells the API that the device behind an address is registered.
//!
//! It promises that no more connections are open than it is told, that a request which a closed
//! connection swallowed is sent once more (a registration carried out twice is one), and that a busy
//! server is asked again after the time that it names.

use super::settings::{Settings, Token};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

/// Who answers for the devices.
const OWNER: &str = "vestibule-load";
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a busy server is left alone if it does not say.
const BUSY: Duration = Duration::from_secs(1);
/// Characters of others' words that are shown.
const WORDS_MAX: usize = 200;

/// See the module.
#[derive(Debug)]
pub(super) struct Portal {
    api: SocketAddrV4,
    token: Token,
    expires_after: Duration,
    connections: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Full<Bytes>>;

/// Why a device is not registered.
#[derive(Debug)]
pub enum Refusal {
    /// The API cannot be reached.
    Network(io::Error),
    /// What answers does not speak HTTP, or not to its end.
    Http(hyper::Error),
    /// It says no.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The name of the problem (the end of its type), if it is a problem document; else empty.
        name: String,
        /// Its title and detail.
        words: String,
    },
    /// It did not answer in time, or was busy until then.
    TimedOut,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(f, "it cannot be reached: {error}"),
            Self::Http(error) => write!(f, "what answers does not finish an answer: {error}"),
            Self::Answer { status: 401, .. } => {
                write!(
                    f,
                    "it does not take this token (401): name its token file with --token-file"
                )
            }
            Self::Answer { status, words, .. } => write!(f, "it answers {status}: {words}"),
            Self::TimedOut => f.write_str("it did not answer in time"),
        }
    }
}

/// A problem document (RFC 9457), as far as it is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    r#type: String,
    title: String,
    detail: String,
}

impl Portal {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            api: settings.api,
            token: settings.token.clone(),
            expires_after: settings.expires_after,
            connections: Semaphore::new(settings.portal_connections),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Whether the API is there and takes the token.
    pub(super) async fn check(&self, deadline: Instant) -> Result<(), Refusal> {
        self.until(deadline, Method::GET, "/v1/status", "").await
    }

    /// Registers the device that holds `address`. When it returns, the API has said that the way is open.
    pub(super) async fn register(
        &self,
        address: Ipv4Addr,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let expires = (OffsetDateTime::now_utc() + self.expires_after).format(&Rfc3339);
        let expires = expires.map_err(|error| Refusal::Network(io::Error::other(error)))?;
        let body = serde_json::json!({ "ip": address, "owner": OWNER, "expires": expires });
        self.until(deadline, Method::POST, "/v1/registrations", &body.to_string()).await
    }

    async fn until(
        &self,
        deadline: Instant,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(), Refusal> {
        let asking = async {
            loop {
                let (response, words) = self.ask(method.clone(), path, body).await?;
                match response.status() {
                    status if status.is_success() => return Ok(()),
                    StatusCode::SERVICE_UNAVAILABLE => sleep(rest(&response)).await,
                    status => return Err(refusal(status, &words)),
                }
            }
        };
        timeout_at(deadline, asking).await.unwrap_or(Err(Refusal::TimedOut))
    }

    /// One request, on a connection that is idle or new.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        // Never closed, so never refused.
        let _permit = self.connections.acquire().await;
        while let Some(connection) = self.take_idle() {
            let request = self.request(method.clone(), path, body)?;
            if let Ok(answer) = self.exchange(connection, request).await {
                return Ok(answer);
            }
        }
        let stream = TcpStream::connect(self.api).await.map_err(Refusal::Network)?;
        stream.set_nodelay(true).map_err(Refusal::Network)?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Refusal::Http)?;
        // Ends with the connection, or with the runtime. How it ended, its user learns.
        tokio::spawn(driver);
        let request = self.request(method, path, body)?;
        self.exchange(sender, request).await.map_err(Refusal::Http)
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<()>, Bytes), hyper::Error> {
        connection.ready().await?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        // What is longer than any answer of the API is not read to its end, nor shown.
        let words = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let words = words.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if connection.ready().await.is_ok() {
            lock(&self.idle).push(connection);
        }
        Ok((Response::from_parts(head, ()), words))
    }

    fn take_idle(&self) -> Option<Connection> {
        lock(&self.idle).pop()
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Request<Full<Bytes>>, Refusal> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.api.to_string())
            .header(AUTHORIZATION, self.token.header())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|error| Refusal::Network(io::Error::other(error)))
    }
}

/// For how long a busy server wants to be left alone.
fn rest(response: &Response<()>) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    seconds.and_then(|text| text.parse().ok()).map_or(BUSY, Duration::from_secs)
}

fn refusal(status: StatusCode, words: &[u8]) -> Refusal {
    let problem: Problem = serde_json::from_slice(words).unwrap_or_default();
    let name: String =
        problem.r#type.rsplit('/').next().unwrap_or_default().chars().take(WORDS_MAX).collect();
    let words = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => "it gives no reason".to_owned(),
        (title, "") => title.to_owned(),
        (title, detail) => format!("{title}: {detail}"),
    };
    let words = words.chars().take(WORDS_MAX).collect();
    Refusal::Answer { status: status.as_u16(), name, words }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
