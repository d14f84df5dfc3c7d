//! `/`: the dashboard, one page that shows how the server is, and the pictures that it is drawn from.
//!
//! It promises that the page needs no other file and nobody else's host, that whatever strangers chose is
//! shown as text, and that who watches costs the server nothing worth speaking of: one picture is taken for
//! all of them, [`PICTURE_AGE_MAX`] old at most, and [`WATCHERS_MAX`] are kept up to date at once. A picture tells what
//! `/metrics` tells to whoever asks, and what somebody should look at: numbers, and names of networks; never
//! whose an address is. For that the page asks the API with the token that a person types in, and keeps it
//! nowhere. It changes nothing.

use super::chunks::{ChunkWriter, ReaderGone, Stopping, chunks, event_stream, server_sent_event};
use super::problem::{Problem, ProblemKind};
use super::status;
use super::view::StatusView;
use super::{ApiState, json};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// Pages that are kept up to date at once; others show one picture, and a button.
pub const WATCHERS_MAX: usize = 32;

/// How often a page that is kept up to date gets a picture.
pub const PICTURE_INTERVAL: Duration = Duration::from_secs(2);

/// How old a picture is at most that somebody gets.
pub const PICTURE_AGE_MAX: Duration = Duration::from_secs(1);

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// The page without its style and its script.
const FRAME: &str = include_str!("page.html");

/// The families of metrics that the page draws.
const SHOWN: [&str; 15] = [
    "vestibule_packets_received",
    "vestibule_replies_sent",
    "vestibule_packets_unanswered",
    "vestibule_packets_shed",
    "vestibule_naks",
    "vestibule_socket_kernel_drops",
    "vestibule_send_errors",
    "vestibule_group_records",
    "vestibule_sync_seconds",
    "vestibule_gate_transaction_seconds",
    "vestibule_gate_changes",
    "vestibule_gate_failures",
    "vestibule_replies_held",
    "vestibule_journal_",
    "vestibule_failover_",
];

/// The pictures, and those who get them.
#[derive(Debug)]
pub(super) struct Dashboard {
    watchers: Arc<Semaphore>,
    /// The newest picture, and when it was taken.
    newest: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { watchers: Arc::new(Semaphore::new(WATCHERS_MAX)), newest: Mutex::default() }
    }
}

/// How the server is at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Picture {
    /// The server's clock, RFC 3339.
    time: Option<String>,
    /// As `/v1/status`; `null`: the core did not answer in time.
    status: Option<StatusView>,
    /// The samples of [`SHOWN`] as `/metrics` writes them.
    samples: String,
}

/// `GET /`
pub(super) async fn page() -> Response {
    let page = FRAME.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let mut response = (StatusCode::OK, page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if let Ok(policy) = HeaderValue::from_str(&policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Nothing but the page itself with its style and its script, which are named by their hashes, and the API
/// of this very server.
fn policy() -> String {
    let hash = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        format!("'sha256-{}'", crate::portal::base64(digest.as_ref()))
    };
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// `GET /dashboard`: one picture.
pub(super) async fn picture(State(state): State<ApiState>) -> Response {
    let picture = newest(&state).await;
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], picture.to_string()).into_response()
}

/// `GET /dashboard/live`: a picture now and then, as server-sent events.
pub(super) async fn live(
    State(state): State<ApiState>,
    Extension(mut stopping): Extension<Stopping>,
) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&state.shared.dashboard.watchers).try_acquire_owned() else {
        let detail = format!("{WATCHERS_MAX} dashboards are kept up to date already");
        return Err(Problem::new(ProblemKind::Busy, detail));
    };
    let (writer, body) = chunks();
    tokio::spawn(async move {
        tokio::select! {
            () = writer.gone() => {}
            () = stopping.stopping() => {}
            _gone = show(&state, &writer) => {}
        }
        drop(place);
    });
    Ok(event_stream(body))
}

/// Shows one picture after the other until nobody looks. The connection's own patience ends it for who takes
/// nothing.
async fn show(state: &ApiState, writer: &ChunkWriter) -> Result<(), ReaderGone> {
    loop {
        let picture = newest(state).await;
        let mut text = String::new();
        server_sent_event(&mut text, None, "picture", &picture);
        writer.write(text).await?;
        tokio::time::sleep(PICTURE_INTERVAL).await;
    }
}

/// A picture that is not too old. Who comes while one is taken waits for that one.
async fn newest(state: &ApiState) -> Arc<str> {
    let mut newest = state.shared.dashboard.newest.lock().await;
    if let Some((taken, picture)) = newest.as_ref()
        && taken.elapsed() < PICTURE_AGE_MAX
    {
        return Arc::clone(picture);
    }
    let picture: Arc<str> = take(state).await.into();
    *newest = Some((Instant::now(), Arc::clone(&picture)));
    picture
}

async fn take(state: &ApiState) -> String {
    let taken = status::taken(state).await;
    let samples =
        taken.exposition.lines().filter(|line| SHOWN.iter().any(|name| line.starts_with(name)));
    let picture = Picture {
        time: json::time_text(status::timestamp(SystemTime::now())),
        samples: samples.collect::<Vec<&str>>().join("\n"),
        status: taken.status,
    };
    json::text(&picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_runs_nothing_that_was_not_written_here() {
        for piece in ["url(", "@import", "</", "<!--", "expression("] {
            assert!(!STYLE.contains(piece), "{piece}");
        }
        // What would take text for markup or for a program.
        for piece in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "</",
            "localStorage",
        ] {
            assert!(!SCRIPT.contains(piece), "{piece}");
        }
        for piece in ["http:", "https:", "onclick", "onload", "style=\""] {
            assert!(!FRAME.contains(piece), "{piece}");
        }
        assert_eq!(FRAME.matches("/*style*/").count(), 1);
        assert_eq!(FRAME.matches("/*script*/").count(), 1);
    }
}
