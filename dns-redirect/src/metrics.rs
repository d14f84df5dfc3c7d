//! The counters for Prometheus, at `dns.metrics-listen`.
//!
//! It promises one answer, to `GET /metrics`: every counter with its meaning, as it is now, and what the
//! kernel dropped among them. It tells no name and no address of a client, and takes a bounded number of
//! connections. It changes nothing.

use crate::connections::{Refusals, accept};
use crate::counters::{Counter, Counters, Counts};
use crate::kernel_drops;
use crate::limits::{
    METRICS_CONNECTION_TIMEOUT, REDIRECT_HEAD_BYTES_MAX, REDIRECT_HEAD_TIMEOUT,
    REDIRECT_HEADERS_MAX,
};
use crate::slots::Slots;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// What is told.
pub(crate) struct Metrics {
    pub(crate) counters: Arc<Counters>,
    /// The sockets whose losses the kernel counts.
    pub(crate) udp: Vec<SocketAddr>,
}

/// Answers what comes to `listener`, until it is dropped.
pub(crate) async fn serve(listener: TcpListener, slots: Arc<Slots>, metrics: Arc<Metrics>) {
    // Whoever scrapes is no client of the resolver, so nothing of it is counted.
    let (total, source) = (Counter::default(), Counter::default());
    let refusals = Refusals { total: &total, source: &source };
    accept(listener, slots, &metrics.counters, refusals, |stream, source| {
        let metrics = Arc::clone(&metrics);
        async move {
            let service = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(metrics.answer(request.method(), request.uri().path()))
            });
            let conversation = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REDIRECT_HEAD_TIMEOUT)
                .max_buf_size(REDIRECT_HEAD_BYTES_MAX)
                .max_headers(REDIRECT_HEADERS_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(METRICS_CONNECTION_TIMEOUT, conversation).await {
                tracing::debug!(%error, %source, "a connection for the metrics broke");
            }
        }
    })
    .await;
}

impl Metrics {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if path != "/metrics" {
            return plain(StatusCode::NOT_FOUND, "only /metrics is here\n".to_owned());
        }
        if method != Method::GET {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n".to_owned());
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        self.counters.dropped_by_kernel.raise_to(kernel_drops::of_udp_sockets(&self.udp));
        plain(StatusCode::OK, exposition(&self.counters.counts()))
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// The text format of Prometheus.
fn exposition(counts: &Counts) -> String {
    let mut text = String::new();
    for ((name, meaning), (_, value)) in Counts::MEANINGS.iter().zip(counts.iter()) {
        let name = format!("vestibule_dns_{name}_total");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {}\n# TYPE {name} counter\n{name} {value}\n",
            meaning.trim()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_described_and_stands_in_the_documentation() {
        let counters = Counters::default();
        counters.lies.add_one();
        let text = exposition(&counters.counts());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dns.md");
        let documented = std::fs::read_to_string(path).unwrap();
        let mut table = "| metric | what it counts |\n| --- | --- |\n".to_owned();
        for (name, meaning) in Counts::MEANINGS {
            let name = format!("vestibule_dns_{name}_total");
            let value = u8::from(name == "vestibule_dns_lies_total");
            assert!(text.contains(&format!("# TYPE {name} counter\n{name} {value}\n")), "{name}");
            table.push_str(&format!("| `{name}` | {} |\n", meaning.trim()));
        }
        assert!(documented.contains(&table), "{path} has to have this table:\n{table}");
    }
}
