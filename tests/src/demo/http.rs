//! As much HTTP/1.1 as the web outside needs: one request and one answer per connection.
//!
//! It promises bounds on everything that comes from outside (head, body, connections, time), and never
//! interprets what it cannot parse: such a request is answered 400.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes of a request's or an answer's head.
const HEAD_BYTES_MAX: u64 = 8 * 1024;
/// Bytes of a request's body.
const REQUEST_BODY_BYTES_MAX: usize = 4 * 1024;
/// Connections served at once; further ones are closed.
const CONNECTIONS_MAX: usize = 64;
/// Time that one side may stay silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub caller: IpAddr,
    /// `GET`, `POST` or another.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The host asked for, in lower case, without a port.
    pub host: String,
    /// The body.
    pub body: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// An answer with a page.
    #[must_use]
    pub fn page(status: u16, body: String) -> Self {
        Self { status, location: None, content_type: "text/html; charset=utf-8", body }
    }

    /// An answer in plain text.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            location: None,
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    /// A redirect: 302 to be asked again with any method, 303 to be asked again with GET.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self { location: Some(location.to_owned()), ..Self::text(status, "") }
    }
}

/// Answers requests on `listen` until the process ends.
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve(
    listen: SocketAddr,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> io::Result<()> {
    serve_over(listen, answer, Ok)
}

/// The same over TLS.
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve_tls(
    listen: SocketAddr,
    config: Arc<ServerConfig>,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> io::Result<()> {
    serve_over(listen, answer, move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, stream))
    })
}

fn serve_over<S: Read + Write>(
    listen: SocketAddr,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    open: impl Fn(TcpStream) -> io::Result<S> + Send + Sync + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    eprintln!("ready on {listen}");
    let (answer, open_stream) = (Arc::new(answer), Arc::new(open));
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        // A connection that is gone before it was accepted is nothing to stop for.
        let Ok((stream, caller)) = listener.accept() else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (answer, open) = (Arc::clone(&answer), Arc::clone(&open));
        let open_stream = Arc::clone(&open_stream);
        thread::spawn(move || {
            // A caller that does not listen to the end only harms itself.
            let _ = stream
                .set_read_timeout(Some(SILENCE_MAX))
                .and_then(|()| stream.set_write_timeout(Some(SILENCE_MAX)))
                .and_then(|()| open_stream(stream))
                .and_then(|mut stream| converse(&mut stream, caller.ip(), &*answer));
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn converse(
    stream: &mut (impl Read + Write),
    caller: IpAddr,
    answer: &dyn Fn(&Request) -> Answer,
) -> io::Result<()> {
    let answer = match read_request(&mut *stream, caller)? {
        Some(request) => answer(&request),
        None => Answer::text(400, "This is no request that I understand.\n"),
    };
    let reason = match answer.status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Bad Gateway",
    };
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    if let Some(location) = &answer.location {
        // Writing to a String cannot fail.
        let _ = write!(head, "Location: {location}\r\n");
    }
    if answer.status != 204 {
        let length = answer.body.len();
        let _ =
            write!(head, "Content-Type: {}\r\nContent-Length: {length}\r\n", answer.content_type);
    }
    let _ = write!(
        head,
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(answer.body.as_bytes())
}

/// `None` if what came is no request.
fn read_request(stream: impl Read, caller: IpAddr) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let Some((first, headers)) = read_head(&mut reader)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Ok(None);
    }
    let length = match header(&headers, "content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(length)) if length <= REQUEST_BODY_BYTES_MAX => length,
        Some(_) => return Ok(None),
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let host = header(&headers, "host").unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Ok(Some(Request {
        caller,
        method: method.to_owned(),
        target: target.to_owned(),
        host: host.to_ascii_lowercase(),
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

type Head = (String, Vec<(String, String)>);

/// The first line and the headers, names in lower case; `None` if it is too long or no head.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut reader = reader.take(HEAD_BYTES_MAX);
    let mut first = String::new();
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        if first.is_empty() {
            first = line;
        } else if line.is_empty() {
            return Ok(Some((first, headers)));
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        } else {
            return Ok(None);
        }
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_limit() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10_000));
        assert_eq!(read_head(&mut long.as_bytes()).unwrap(), None);
        let (first, headers) =
            read_head(&mut &b"GET / HTTP/1.1\r\nHost: A\r\n\r\n"[..]).unwrap().unwrap();
        assert_eq!((first.as_str(), header(&headers, "host")), ("GET / HTTP/1.1", Some("A")));
    }
}
