//! `GET /v1/events`: what happened, as server-sent events, from any id that is still kept.
//!
//! Each reader has a place of its own in the log and reads from there; one that is slow waits for
//! itself, and one that is so slow that its place is kept no more is told so and cut off. A stream that is
//! filtered still moves on: its reader gets the newest id now and then, to come back with.

use super::chunks::{
    ChunkWriter, HEARTBEAT, ReaderGone, Stopping, chunks, event_stream, server_sent_event,
};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, parameters};
use crate::events::{Events, NotRetained};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::watch;
use vestibule_core::EventKind;

/// Readers of events at once.
pub const SUBSCRIBERS_MAX: usize = 128;

/// How long a stream is silent at most.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Events that are read and written at once.
const EVENTS_AT_ONCE: usize = 256;

/// The header by which a browser says where it was (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    since: Option<String>,
    r#type: Option<String>,
    follow: Option<String>,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything that was there has been told, and no more was asked for.
    Done,
    /// The reader went away.
    Gone,
    /// The server ends.
    Ending,
    /// The reader took nothing for too long, or its place is kept no more.
    TooSlow,
}

/// What one reader wants.
struct Wanted {
    after: u64,
    /// Empty: all.
    kinds: Vec<EventKind>,
    follow: bool,
    patience: Duration,
}

/// `GET /v1/events`
pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(stopping): Extension<Stopping>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: EventsQuery = parameters::query(&uri)?;
    let events = state.events()?.clone();
    let wanted = Wanted {
        after: after(&query, &headers, &events)?,
        kinds: kinds(query.r#type.as_deref())?,
        follow: parameters::value("follow", query.follow.as_deref(), "true or false")?
            .unwrap_or(true),
        patience: state.shared.timeouts.write,
    };
    events.check(wanted.after).map_err(not_retained)?;
    let Ok(place) = state.shared.subscribers.clone().try_acquire_owned() else {
        return Err(Problem::new(
            ProblemKind::Busy,
            format!("{SUBSCRIBERS_MAX} readers follow the events; close one"),
        ));
    };
    let (writer, body) = chunks();
    tokio::spawn(async move {
        state.shared.metrics.event_subscriber_came();
        let end = tell(&events, wanted, &writer, stopping.clone()).await;
        // The connection's own patience may have ended first.
        let was_too_slow = end == End::Gone && stopping.was_too_slow();
        state.shared.metrics.event_subscriber_went();
        if end == End::TooSlow || was_too_slow {
            state.shared.metrics.event_subscriber_cut();
            tracing::warn!("a reader of events was cut off because it was too slow");
        }
        drop(place);
    });
    Ok(event_stream(body))
}

/// Where a reader goes on: what it says in the header is newer than the URL, which it repeats.
fn after(query: &EventsQuery, headers: &HeaderMap, events: &Events) -> Result<u64, Problem> {
    let header =
        headers.get(LAST_EVENT_ID).map(|value| {
            value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                parameters::bad("the header Last-Event-ID is not the id of an event")
            })
        });
    match (header, query.since.as_deref()) {
        (Some(id), _) => id,
        (None, Some("oldest")) => Ok(events.oldest()),
        (None, Some(text)) => text
            .parse()
            .map_err(|_| parameters::bad("`since` is neither the id of an event nor `oldest`")),
        (None, None) => Ok(events.newest()),
    }
}

fn kinds(text: Option<&str>) -> Result<Vec<EventKind>, Problem> {
    let Some(text) = text else { return Ok(Vec::new()) };
    text.split(',')
        .map(|name| {
            EventKind::of_name(name)
                .ok_or_else(|| parameters::bad("`type` is not a list of kinds of events, separated by commas; docs/events.md has them"))
        })
        .collect()
}

fn not_retained(lost: NotRetained) -> Problem {
    let NotRetained { oldest, newest } = lost;
    Problem::new(
        ProblemKind::EventNotRetained,
        format!(
            "what came after this id is kept no more, or the id was never given: ids from {oldest} to {newest} can be \
             gone on from. Read the state anew (/v1/registrations, /v1/leases), then follow from {newest}"
        ),
    )
}

async fn tell(
    events: &Events,
    wanted: Wanted,
    writer: &ChunkWriter,
    mut stopping: Stopping,
) -> End {
    let Wanted { mut after, kinds, follow, patience } = wanted;
    // The id that the reader knows.
    let mut told = after;
    let mut newest = events.follow();
    // So that the head of the answer is not held back until something happens.
    if write(writer, HEARTBEAT.to_owned(), patience).await.is_err() {
        return End::Gone;
    }
    loop {
        if stopping.is_stopping() {
            return finish(writer, "ending", End::Ending, patience).await;
        }
        newest.borrow_and_update();
        match events.read_after(after, EVENTS_AT_ONCE).await {
            Err(_) => return finish(writer, "too-slow", End::TooSlow, patience).await,
            Ok(found) if found.is_empty() => {
                if !follow {
                    return End::Done;
                }
                let end = wait(writer, &mut newest, &mut stopping, patience, || {
                    let id = (told < after).then_some(after);
                    told = after;
                    id
                });
                match end.await {
                    Ok(()) => {}
                    Err(End::Ending) => {
                        return finish(writer, "ending", End::Ending, patience).await;
                    }
                    Err(end) => return end,
                }
            }
            Ok(found) => {
                let mut text = String::new();
                for event in &found {
                    after = event.id;
                    // A gap concerns everybody.
                    let is_wanted = kinds.is_empty()
                        || event.kind == EventKind::Gap
                        || kinds.contains(&event.kind);
                    if is_wanted {
                        server_sent_event(
                            &mut text,
                            Some(event.id),
                            event.kind.name(),
                            &event.json(),
                        );
                        told = event.id;
                    }
                }
                if !text.is_empty()
                    && let Err(end) = write(writer, text, patience).await
                {
                    return end;
                }
            }
        }
    }
}

/// Waits until there is more; says now and then that the stream lives.
async fn wait(
    writer: &ChunkWriter,
    newest: &mut watch::Receiver<u64>,
    stopping: &mut Stopping,
    patience: Duration,
    id: impl FnOnce() -> Option<u64>,
) -> Result<(), End> {
    tokio::select! {
        () = writer.gone() => Err(End::Gone),
        () = stopping.stopping() => Err(End::Ending),
        changed = newest.changed() => changed.map_err(|_| End::Ending),
        () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {
            // An id without data moves the reader's place on, and is no event.
            let text = match id() {
                Some(id) => format!("id: {id}\n{HEARTBEAT}"),
                None => HEARTBEAT.to_owned(),
            };
            write(writer, text, patience).await
        }
    }
}

/// Writes, unless the reader is gone or takes nothing for too long.
async fn write(writer: &ChunkWriter, text: String, patience: Duration) -> Result<(), End> {
    match tokio::time::timeout(patience, writer.write(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ReaderGone)) => Err(End::Gone),
        Err(_) => Err(End::TooSlow),
    }
}

/// Says why the stream ends, if the reader still listens.
async fn finish(writer: &ChunkWriter, reason: &str, end: End, patience: Duration) -> End {
    let mut text = String::new();
    server_sent_event(&mut text, None, "end", &format!(r#"{{"reason":"{reason}"}}"#));
    let _last_word = write(writer, text, patience).await;
    end
}
