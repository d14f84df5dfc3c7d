//! `GET /v1/gate`: the gate feed, for as long as its follower listens.
//!
//! It promises that what it tells is durable, that a snapshot with the changes inside it is the whole of
//! what the sets should hold at its end, and that a follower which takes too little is closed: one line
//! waits for it, no more. It asks the core page by page, so that packets come between.

use super::parameters::{self, bad};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, answer_mismatch, json};
use crate::feed::{Feed, FeedCounts, Follower, TooOld};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde::Deserialize;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use vestibule_config::GateMode;
use vestibule_core::{Query, QueryAnswer};
use vestibule_firewall::Ruleset;
use vestibule_firewall::feed::{
    ADDRESSES_PER_LINE_MAX, Cursor, Element, Hello, Line, VERSION, holders,
};

/// The media type of newline-delimited JSON.
const NDJSON: &str = "application/x-ndjson";

/// How often a feed says that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What the API needs for the feed.
#[derive(Debug)]
pub struct GateFeed {
    /// The changes.
    pub feed: Arc<Feed>,
    /// What the table is made from.
    pub ruleset: Ruleset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    after: Option<String>,
}

/// `GET /v1/gate`
pub(super) async fn gate(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let Parameters { after } = parameters::query(&uri)?;
    let after: Option<Cursor> = match after.as_deref().map(str::parse) {
        None => None,
        Some(Ok(cursor)) => Some(cursor),
        Some(Err(error)) => return Err(bad(format!("`after` is {error}"))),
    };
    let Some(gate) =
        state.shared.gate_feed.get().filter(|_| state.shared.gate_mode != GateMode::Off)
    else {
        let detail = "gate.mode is \"off\": there is no gate that anybody could enforce";
        return Err(Problem::new(ProblemKind::NoGate, detail));
    };
    let counts = state.shared.metrics.feed();
    let Some(follower) = gate.feed.follow() else {
        counts.refused();
        let detail = format!("{} follow the gate already", crate::feed::FOLLOWERS_MAX);
        return Err(Problem::new(ProblemKind::Busy, detail));
    };
    counts.followers.fetch_add(1, Relaxed);
    let hello = Hello {
        version: VERSION,
        server: state.shared.server_name.to_string(),
        gate_mode: state.shared.gate_mode.to_string(),
        cursor: gate.feed.newest(),
        time: now_text(),
        ruleset: gate.ruleset.clone(),
    };
    // One line is being written, one waits.
    let (lines, body) = mpsc::channel(1);
    let teller = Teller { lines, follower, state: state.clone() };
    tokio::spawn(teller.tell(hello, after));
    let content_type = HeaderValue::from_static(NDJSON);
    Ok(([(header::CONTENT_TYPE, content_type)], Body::new(Lines(body))).into_response())
}

/// Why a feed ends.
enum End {
    /// Nobody listens any more.
    Gone,
    /// The server closes it, and says why.
    Closed(&'static str),
}

impl From<TooOld> for End {
    fn from(TooOld: TooOld) -> Self {
        Self::Closed("changes that were not taken yet are not kept any more: ask again")
    }
}

impl From<Problem> for End {
    fn from(_: Problem) -> Self {
        Self::Closed("the core does not answer: ask again")
    }
}

/// One feed that is told.
struct Teller {
    lines: mpsc::Sender<Bytes>,
    follower: Follower,
    state: ApiState,
}

impl Teller {
    async fn tell(mut self, hello: Hello, after: Option<Cursor>) {
        let end = match self.tell_all(hello, after).await {
            Err(end) => end,
            Ok(never) => match never {},
        };
        if let End::Closed(reason) = end {
            if !self.follower.feed().is_over() {
                self.counts().refused();
                tracing::info!(reason, "a follower of the gate feed was closed");
            }
            // It may be gone by now.
            let _gone = self.line(&Line::End { reason: reason.to_owned() }).await;
        }
        self.counts().followers.fetch_sub(1, Relaxed);
    }

    async fn tell_all(&mut self, hello: Hello, after: Option<Cursor>) -> Result<Infallible, End> {
        self.line(&Line::Hello(Box::new(hello))).await?;
        let mut sequence = match after.filter(|after| self.follower.feed().keeps(*after)) {
            Some(cursor) => {
                self.counts().resumed();
                self.line(&Line::Resumed { cursor }).await?;
                cursor.sequence
            }
            None => self.snapshot().await?,
        };
        let mut heartbeat = Instant::now();
        loop {
            let newer = self.some_changes(sequence).await?;
            sequence = newer.unwrap_or(sequence);
            if heartbeat <= Instant::now() {
                heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                let cursor = self.follower.feed().newest();
                self.line(&Line::Heartbeat { cursor, time: now_text() }).await?;
            }
            if newer.is_some() {
                continue;
            }
            // Also over when it is time for a heartbeat.
            let news = timeout_at(heartbeat, self.follower.wait_beyond(sequence)).await;
            if news.is_ok_and(|news| news.is_over) {
                return Err(End::Closed("the server is ending"));
            }
        }
    }

    /// Tells the whole of the sets, and what changes meanwhile. The sequence that it has come to.
    async fn snapshot(&mut self) -> Result<u64, End> {
        let mut sequence = self.follower.feed().newest().sequence;
        self.line(&Line::SnapshotBegin {}).await?;
        let mut after: Option<Ipv4Addr> = None;
        loop {
            let query = Query::Gate { after, limit: ADDRESSES_PER_LINE_MAX };
            let QueryAnswer::Gate { elements, next } = self.state.query(query).await? else {
                return Err(answer_mismatch().into());
            };
            let holders = holders(elements.iter().map(|one| one.holder));
            let elements: Vec<Element> = elements
                .iter()
                .map(|one| {
                    let (life, since) = (one.milliseconds, one.since_milliseconds);
                    Element(one.address, one.side.into(), life, since)
                })
                .collect();
            if !elements.is_empty() {
                self.line(&Line::Elements { elements, holders }).await?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        // The core may be ahead of the disk: what its pages showed is durable after this, and all of it
        // that changed meanwhile is among the changes.
        self.state.settled().await?;
        let end = self.follower.feed().newest();
        while sequence < end.sequence {
            sequence = self.some_changes(sequence).await?.unwrap_or(end.sequence);
        }
        let cursor = Cursor { sequence, ..end };
        self.line(&Line::SnapshotEnd { cursor }).await?;
        self.counts().snapshot_told();
        Ok(sequence)
    }

    /// Tells a line of changes after `sequence`; what it has come to then.
    async fn some_changes(&mut self, sequence: u64) -> Result<Option<u64>, End> {
        let Some(changes) = self.follower.feed().changes_after(sequence)? else { return Ok(None) };
        let (newer, count) = (changes.cursor.sequence, changes.changes.len());
        self.line(&Line::Changes(changes)).await?;
        self.counts().changes_told(count);
        Ok(Some(newer))
    }

    async fn line(&self, line: &Line) -> Result<(), End> {
        // Unreachable: nothing in a line has a form that JSON lacks.
        let Ok(mut text) = serde_json::to_vec(line) else {
            return Err(End::Closed("the server made a mistake"));
        };
        text.push(b'\n');
        self.lines.send(text.into()).await.map_err(|_| End::Gone)
    }

    fn counts(&self) -> &FeedCounts {
        self.state.shared.metrics.feed()
    }
}

fn now_text() -> String {
    json::time_text(super::status::timestamp(SystemTime::now())).unwrap_or_default()
}

/// The body of the answer: the lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
