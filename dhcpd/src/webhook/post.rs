//! One HTTP request to a receiver: connected, sent, answered, all within one time limit.
//!
//! A connection is kept for the next delivery. Redirects are not followed: a signed delivery goes where
//! the configuration says, and nowhere else. Of an answer only the status counts, and
//! [`ANSWER_BYTES_MAX`] bytes of it are read at most.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of an answer that are read at most; with more, the connection is closed.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where deliveries go.
#[derive(Clone)]
pub struct Target {
    host: Box<str>,
    port: u16,
    /// As the header `Host` names it.
    authority: Box<str>,
    path: Box<str>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A webhook's URL or certificates cannot be used.
#[derive(Debug)]
pub enum TargetError {
    /// The URL is none, or not of http or https.
    Url(String),
    /// The file with the authorities' certificates cannot be read.
    Authorities(PathBuf, String),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "its URL cannot be used: {why}"),
            Self::Authorities(path, why) => write!(
                f,
                "the certificates of authorities in {} cannot be used: {why}; install the package ca-certificates, or \
                 name your own in ca-file",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TargetError {}

/// Why a delivery was not taken.
#[derive(Debug)]
pub enum PostError {
    /// It took longer than the webhook's timeout.
    Timeout(Duration),
    /// There is no connection, or it broke.
    Connection(String),
    /// The receiver answered with a status that is no success.
    Status(StatusCode),
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(time) => write!(f, "no answer within {} s", time.as_secs_f32()),
            Self::Connection(why) => f.write_str(why),
            Self::Status(status) => write!(f, "the receiver answered {status}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Target {
    /// The target that a URL names. `authorities`: certificates in PEM, read if it is of https.
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn new(url: &str, authorities: &Path) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError::Url(why.to_owned());
        let uri: Uri =
            url.parse().map_err(|error: hyper::http::uri::InvalidUri| wrong(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (is_tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let tls = if is_tls {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| wrong("its host cannot be in a certificate"))?;
            Some((connector(authorities)?, name))
        } else {
            None
        };
        Ok(Self {
            host: host.into(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.as_str().into(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
            tls,
        })
    }

    async fn connect(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        // Deliveries are written at once.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            Some((connector, name)) => {
                let session = connector.connect(name.clone(), stream).await;
                handshake(session.map_err(in_words)?).await
            }
            None => handshake(stream).await,
        }
    }
}

/// Why there is no TLS session, for who has to put it right.
fn in_words(error: io::Error) -> io::Error {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(wrong)) = rustls else { return error };
    let why = match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is this host's clock right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name than the URL's"
        }
        CertificateError::UnknownIssuer => "no authority of ca-file has signed it",
        CertificateError::BadSignature => "its signature is wrong",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("the receiver's certificate is refused: {why}"))
}

type Sender = http1::SendRequest<Full<Bytes>>;

async fn handshake<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender, or when the receiver closes.
    tokio::spawn(connection);
    Ok(sender)
}

fn connector(authorities: &Path) -> Result<TlsConnector, TargetError> {
    let wrong = |why: String| TargetError::Authorities(authorities.to_owned(), why);
    let pem = std::fs::read(authorities).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(wrong("no certificate is in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A way to a target, with the connection of the last request.
#[derive(Debug)]
pub(super) struct Post {
    target: Target,
    timeout: Duration,
    open: Option<Sender>,
}

impl Post {
    pub(super) const fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout, open: None }
    }

    /// Sends a body with headers, and says whether it was taken.
    pub(super) async fn send(
        &mut self,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), PostError> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.exchange(headers, body)).await {
            Ok(answered) => answered,
            Err(_) => {
                self.open = None;
                Err(PostError::Timeout(timeout))
            }
        }
    }

    async fn exchange(
        &mut self,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), PostError> {
        if let Some(mut sender) = self.open.take() {
            // The receiver may have closed it meanwhile; then a new one is made.
            if sender.ready().await.is_ok()
                && let Ok(status) = self.ask(sender, headers, body.clone()).await
            {
                return judge(status);
            }
        }
        let broken = |error: io::Error| PostError::Connection(error.to_string());
        let sender = self.target.connect().await.map_err(broken)?;
        let status = self.ask(sender, headers, body).await.map_err(broken)?;
        judge(status)
    }

    async fn ask(
        &mut self,
        mut sender: Sender,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> io::Result<StatusCode> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&*self.target.path)
            .header(header::HOST, &*self.target.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("vestibule/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        // Read to its end, or the connection cannot be used again.
        if Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok() {
            self.open = Some(sender);
        }
        Ok(status)
    }
}

fn judge(status: StatusCode) -> Result<(), PostError> {
    if status.is_success() { Ok(()) } else { Err(PostError::Status(status)) }
}
