//! The port-80 redirect: every HTTP request is led to the portal.
//!
//! It promises the same answer to every method, path and host: 302 to the portal's URL, not to be
//! stored, with a page that holds the link for clients that follow nothing, and the end of the
//! connection. A body is read only so far that the client gets to see the answer, and never kept.
//! It reads nothing of the request but its framing; what is no HTTP request by that (a path with
//! spaces or angle brackets in it, say) gets 400 or 431 from the HTTP library.

use crate::connections::{Refusals, accept};
use crate::counters::Counters;
use crate::limits::{
    REDIRECT_BODY_BYTES_MAX, REDIRECT_BODY_TIMEOUT, REDIRECT_CONNECTION_TIMEOUT,
    REDIRECT_HEAD_BYTES_MAX, REDIRECT_HEAD_TIMEOUT, REDIRECT_HEADERS_MAX,
};
use crate::slots::Slots;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue, LOCATION,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The one answer.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    location: HeaderValue,
    page: Bytes,
}

impl Redirect {
    /// The redirect to `url`; `None` if it cannot stand in a header.
    pub(crate) fn new(url: &str) -> Option<Self> {
        let location = HeaderValue::from_str(url).ok()?;
        let link = escape(url);
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>Register this device</title></head>\n\
             <body style=\"font: 1.1rem/1.5 system-ui, sans-serif; margin: 1.5rem; overflow-wrap: anywhere\">\n\
             <h1>Register this device</h1>\n<p>It has no access yet. Go on to <a href=\"{link}\">{link}</a></p>\n\
             </body></html>\n"
        );
        Some(Self { location, page: page.into() })
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.page.clone()));
        *response.status_mut() = StatusCode::FOUND;
        let headers = response.headers_mut();
        headers.insert(LOCATION, self.location.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        // Said here, because the answer to HEAD has the length of the page that it leaves out.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.page.len()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Answers what comes to `listener`, until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    slots: Arc<Slots>,
    redirect: Arc<Redirect>,
    counters: Arc<Counters>,
) {
    let refusals =
        Refusals { total: &counters.redirects_refused, source: &counters.redirects_refused_source };
    accept(listener, slots, &counters, refusals, |stream, source| {
        let (redirect, counters) = (Arc::clone(&redirect), Arc::clone(&counters));
        async move {
            let work = timeout(REDIRECT_CONNECTION_TIMEOUT, converse(stream, &redirect, &counters));
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    counters.redirects_failed.add_one();
                    tracing::debug!(%error, %source, "a connection to the redirect broke");
                }
                Err(_elapsed) => {
                    counters.redirects_failed.add_one();
                    tracing::debug!(%source, "a connection to the redirect took too long");
                }
            }
        }
    })
    .await;
}

async fn converse(
    stream: TcpStream,
    redirect: &Redirect,
    counters: &Counters,
) -> Result<(), hyper::Error> {
    let service = service_fn(async |request: Request<Incoming>| {
        // A client that asks whether to send its body is answered before it does.
        if !request.headers().contains_key(EXPECT) {
            // Whether the body came in time or not, the answer is the same.
            let _elapsed = timeout(REDIRECT_BODY_TIMEOUT, discard(request.into_body())).await;
        }
        counters.redirects.add_one();
        Ok::<_, Infallible>(redirect.response())
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REDIRECT_HEAD_TIMEOUT)
        .max_buf_size(REDIRECT_HEAD_BYTES_MAX)
        .max_headers(REDIRECT_HEADERS_MAX)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Reads the body and throws it away, up to the limit; not at all if it says that it is longer.
async fn discard(mut body: Incoming) {
    let limit = u64::try_from(REDIRECT_BODY_BYTES_MAX).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return;
    }
    let mut left = REDIRECT_BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Buf::remaining);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

/// The text, fit for HTML and for an attribute in it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_escaped_and_the_header_is_not() {
        let redirect = Redirect::new("http://p.example/?a=1&b=\"><script>'").unwrap();
        let page = String::from_utf8(redirect.page.to_vec()).unwrap();
        assert!(
            page.contains("href=\"http://p.example/?a=1&amp;b=&quot;&gt;&lt;script&gt;&#39;\"")
        );
        assert!(!page.contains("<script>"));
        assert_eq!(redirect.location, "http://p.example/?a=1&b=\"><script>'");
    }

    #[test]
    fn what_would_end_the_header_is_refused() {
        assert!(Redirect::new("http://p.example/\r\nSet-Cookie: a=b").is_none());
    }
}
