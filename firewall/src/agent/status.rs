//! `/status`, `/metrics` and `/healthz` of an agent: for people, for a monitoring system, for a supervisor.
//!
//! It answers whoever reaches `agent.status-listen`, and tells no address of a host. Connections are few and short.

use super::counters::{Counters, Enforced, FeedCounts};
use super::error::{AgentError, FollowError};
use super::exposition;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 16;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// For one whole exchange.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);

/// How long to wait after the kernel could not hand out a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address).await.map_err(|error| AgentError::Listen(address, error))
}

pub(super) async fn serve(listener: TcpListener, counters: Arc<Counters>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let counters = Arc::clone(&counters);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &counters);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(EXCHANGE_TIME_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A caller that breaks off or dawdles is its own affair.
            let _ = tokio::time::timeout(EXCHANGE_TIME_MAX, connection).await;
            drop(place);
        });
    }
}

fn answer(method: &Method, path: &str, counters: &Counters) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let now = Instant::now();
    let (status, content_type, body) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, plain, "GET it\n".to_owned())
        }
        "/status" => (StatusCode::OK, "application/json", format!("{}\n", status(counters, now))),
        "/metrics" => (StatusCode::OK, exposition::MEDIA_TYPE, exposition::text(counters, now)),
        "/healthz" => (StatusCode::OK, plain, "ok\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, plain, "there is /status, /metrics and /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Milliseconds with three places.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn not_well(feeds: &[FeedCounts], enforced: &Enforced) -> Vec<String> {
    let mut not_well: Vec<String> = feeds
        .iter()
        .filter(|feed| !feed.is_connected)
        .map(|feed| {
            let why = feed.error.as_deref().unwrap_or("it has not answered yet");
            format!("{} is not followed: {why}", feed.url)
        })
        .collect();
    if !enforced.is_enforcing {
        not_well.push("this agent enforces nothing yet: no server has told all".to_owned());
    }
    if let Some(why) = &enforced.failing {
        not_well.push(format!("the kernel refuses changes: {why}"));
    }
    if enforced.is_closed {
        not_well.push("no server speaks, so nobody is let through".to_owned());
    } else if enforced.is_silent {
        not_well.push("no server speaks: permits stay until their leases end".to_owned());
    }
    if enforced.unheard > 0 {
        let message = "more addresses were named than an agent keeps: the others are in no set";
        not_well.push(message.to_owned());
    }
    for difference in &enforced.differences {
        not_well.push(format!("the servers, or this host's own file, differ in {difference}"));
    }
    not_well
}

fn feed(feed: &FeedCounts, now: Instant) -> Value {
    let counted = FollowError::REASONS.iter().zip(feed.errors).filter(|(_, count)| *count > 0);
    let errors: Map<String, Value> =
        counted.map(|(reason, count)| ((*reason).to_owned(), count.into())).collect();
    let silence = |heard| milliseconds(now.saturating_duration_since(heard));
    json!({
        "url": feed.url,
        "server": feed.server,
        "connected": feed.is_connected,
        "silent-milliseconds": feed.heard.map(silence),
        "cursor": feed.cursor,
        "newest": feed.newest,
        "snapshots": feed.snapshots,
        "changes": feed.changes,
        "error": feed.error,
        "errors": errors,
    })
}

fn status(counters: &Counters, now: Instant) -> Value {
    let feeds = counters.feeds();
    let enforced = counters.enforced().clone();
    let not_well = not_well(&feeds, &enforced);
    let mean = u32::try_from(enforced.lag_count).ok().filter(|count| *count > 0);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime-seconds": now.saturating_duration_since(counters.started).as_secs(),
        "everything-well": not_well.is_empty(),
        "not-well": not_well,
        "servers": feeds.iter().map(|one| feed(one, now)).collect::<Vec<_>>(),
        "sets": {
            "enforced": enforced.is_enforcing,
            "closed": enforced.is_closed,
            "registered": enforced.sizes.registered,
            "unregistered": enforced.sizes.unregistered,
        },
        "lag-milliseconds": {
            "last": enforced.lag_last.map(milliseconds),
            "worst": enforced.lag_worst.map(milliseconds),
            "mean": mean.map(|count| milliseconds(enforced.lag_sum / count)),
        },
        "transactions": enforced.transactions,
        "transactions-failed": enforced.transactions_failed,
        "changes": enforced.changes,
        "reconciles": enforced.reconciles,
        "interferences": enforced.interferences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_enforces_nothing_or_follows_nobody_is_not_well() {
        let counters = Counters::new(["https://dhcp-a.example"].into_iter());
        let shown = status(&counters, Instant::now());
        assert_eq!(shown["everything-well"], false);
        assert_eq!(shown["not-well"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(shown["servers"][0]["silent-milliseconds"], Value::Null);

        counters.enforced().is_enforcing = true;
        counters.lost(0, &FollowError::TokenScope);
        let shown = status(&counters, Instant::now());
        let why = shown["not-well"][0].as_str().unwrap();
        assert!(why.starts_with("https://dhcp-a.example is not followed: the token"), "{why}");
        assert_eq!(shown["servers"][0]["errors"], json!({ "token-scope": 1 }));
    }

    #[test]
    fn only_what_there_is_is_answered() {
        let counters = Counters::new(std::iter::empty());
        let status_of = |method, path| answer(&method, path, &counters).status().as_u16();
        assert_eq!(status_of(Method::GET, "/healthz"), 200);
        assert_eq!(status_of(Method::HEAD, "/status"), 200);
        assert_eq!(status_of(Method::POST, "/status"), 405);
        assert_eq!(status_of(Method::GET, "/"), 404);
    }
}
