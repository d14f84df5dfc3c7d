//! `GET /v1/exchange`: registrations and vouchers for the failover partner, for as long as it listens.
//!
//! It promises that what it tells is durable and in the kernel here, that everything changed after a cursor is
//! told, each thing as it is when it is told, and that a partner that takes too little makes its own stream
//! wait and nothing else. It asks the core page by page, so that packets come between.

use super::chunks::{ChunkWriter, ReaderGone, chunks};
use super::parameters::{self, bad};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, answer_mismatch, json};
use crate::exchange::{
    EXCHANGE_FOLLOWERS_MAX, ExchangeHello, ExchangeLine, ExchangeNews, NewsReader, VERSION,
    WireRecord, line_part,
};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};
use vestibule_core::failover::Role;
use vestibule_core::{Query, QueryAnswer, limits};
use vestibule_firewall::feed::Cursor;

/// How often a stream says that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What the API needs for it.
#[derive(Debug)]
pub struct ExchangeFeed {
    /// When there is something to tell.
    pub news: Arc<ExchangeNews>,
    /// The name of the pair.
    pub pair: Box<str>,
    /// This server's role in it.
    pub role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    after: Option<String>,
}

/// `GET /v1/exchange`
pub(super) async fn exchange(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let Parameters { after } = parameters::query(&uri)?;
    let after: Option<Cursor> = match after.as_deref().map(str::parse) {
        None => None,
        Some(Ok(cursor)) => Some(cursor),
        Some(Err(error)) => return Err(bad(format!("`after` is {error}"))),
    };
    let Some(feed) = state.shared.exchange_feed.get() else {
        return Err(Problem::new(
            ProblemKind::NoFailoverPartner,
            "this server exchanges no registrations: it has no failover.registrations",
        ));
    };
    let Some(reader) = feed.news.read() else {
        let detail = format!("{EXCHANGE_FOLLOWERS_MAX} follow already");
        return Err(Problem::new(ProblemKind::Busy, detail));
    };
    let boot = feed.news.boot();
    let newest = newest(&state).await?;
    let hello = ExchangeHello {
        version: VERSION,
        server: state.shared.server_name.to_string(),
        pair: feed.pair.to_string(),
        role: match feed.role {
            Role::Primary => "primary".to_owned(),
            Role::Secondary => "secondary".to_owned(),
        },
        cursor: Cursor { boot, sequence: newest },
        time: json::time_text(super::status::timestamp(SystemTime::now())).unwrap_or_default(),
    };
    // A cursor of another life, or of nobody's, says nothing here.
    let after = after.filter(|after| after.boot == boot && after.sequence <= newest);
    let (writer, body) = chunks();
    let teller = Teller { writer, reader, state: state.clone(), boot };
    tokio::spawn(teller.tell(hello, after));
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, content_type)], Body::new(body)).into_response())
}

async fn newest(state: &ApiState) -> Result<u64, Problem> {
    match state.query(Query::Exchange { after: u64::MAX, limit: 1 }).await? {
        QueryAnswer::Exchange { newest, .. } => Ok(newest),
        _ => Err(answer_mismatch()),
    }
}

/// Why a stream ends.
enum End {
    /// Nobody listens any more.
    Gone,
    /// The server closes it, and says why.
    Closed(&'static str),
}

impl From<ReaderGone> for End {
    fn from(ReaderGone: ReaderGone) -> Self {
        Self::Gone
    }
}

impl From<Problem> for End {
    fn from(_: Problem) -> Self {
        Self::Closed("the core does not answer: ask again")
    }
}

/// One stream that is told.
struct Teller {
    writer: ChunkWriter,
    reader: NewsReader,
    state: ApiState,
    boot: u64,
}

impl Teller {
    async fn tell(mut self, hello: ExchangeHello, after: Option<Cursor>) {
        let end = match self.tell_all(hello, after).await {
            Err(end) => end,
            Ok(never) => match never {},
        };
        if let End::Closed(reason) = end {
            // It may be gone by now.
            let _gone = self.line(&ExchangeLine::End { reason: reason.to_owned() }).await;
        }
    }

    async fn tell_all(
        &mut self,
        hello: ExchangeHello,
        after: Option<Cursor>,
    ) -> Result<Infallible, End> {
        self.line(&ExchangeLine::Hello(Box::new(hello))).await?;
        let mut sequence = match after {
            Some(cursor) => {
                self.line(&ExchangeLine::Resumed { cursor }).await?;
                cursor.sequence
            }
            None => {
                self.line(&ExchangeLine::Everything {}).await?;
                0
            }
        };
        let mut is_first = true;
        let mut heartbeat = Instant::now();
        loop {
            self.reader.see();
            if self.reader.is_over() {
                return Err(End::Closed("the server is ending"));
            }
            let (through, newest, mut records) = self.page(sequence).await?;
            // Also a page without records: its cursor tells that nothing is missing.
            if through != sequence || is_first {
                is_first = false;
                let (newest, last) = (self.cursor(newest), self.cursor(through));
                loop {
                    let part = line_part(&mut records);
                    let cursor = records.is_empty().then_some(last);
                    let line = ExchangeLine::Records { cursor, newest, records: part };
                    self.line(&line).await?;
                    if records.is_empty() {
                        break;
                    }
                }
                sequence = through;
                if through != newest.sequence {
                    continue;
                }
            }
            if heartbeat <= Instant::now() {
                heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                self.line(&ExchangeLine::Heartbeat { newest: self.cursor(newest) }).await?;
            }
            // Also over when it is time for a heartbeat.
            let _news = timeout_at(heartbeat, self.reader.wait()).await;
        }
    }

    /// What changed after a number, durable and in the kernel; the numbers of its last, and of all.
    async fn page(&self, after: u64) -> Result<(u64, u64, Vec<WireRecord>), End> {
        let query = Query::Exchange { after, limit: limits::EXCHANGE_RECORDS_MAX };
        let QueryAnswer::Exchange { records, through, newest } = self.state.query(query).await?
        else {
            return Err(answer_mismatch().into());
        };
        if through != after {
            // The core may be ahead of the disk and the kernel.
            self.state.settled().await?;
        }
        Ok((through, newest, records.iter().map(WireRecord::from).collect()))
    }

    const fn cursor(&self, sequence: u64) -> Cursor {
        Cursor { boot: self.boot, sequence }
    }

    async fn line(&self, line: &ExchangeLine) -> Result<(), End> {
        // Unreachable: nothing in a line has a form that JSON lacks.
        let Ok(mut text) = serde_json::to_vec(line) else {
            return Err(End::Closed("the server made a mistake"));
        };
        text.push(b'\n');
        Ok(self.writer.write(text).await?)
    }
}
