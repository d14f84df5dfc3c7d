//! Answers without an end of their own: a body that a task feeds chunk by chunk, and the text of
//! server-sent events (WHATWG HTML, section 9.2).
//!
//! It promises that a reader that takes nothing makes its writer wait and costs nobody else anything:
//! [`CHUNKS_WAITING_MAX`] chunks wait for it in memory, and the connection's own patience ends it. The
//! writer is told when its reader is gone. It never splits or joins chunks, and knows nothing of what is
//! in them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};

/// Chunks that wait for a reader at most.
const CHUNKS_WAITING_MAX: usize = 2;

/// The reader is gone: nothing more has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReaderGone;

/// The end that a task writes to. The answer ends when it is dropped.
#[derive(Debug)]
pub(super) struct ChunkWriter(mpsc::Sender<Bytes>);

/// The body that a reader takes.
#[derive(Debug)]
pub(super) struct Chunks(mpsc::Receiver<Bytes>);

/// A body and the way to write it.
pub(super) fn chunks() -> (ChunkWriter, Chunks) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    (ChunkWriter(sender), Chunks(receiver))
}

impl ChunkWriter {
    /// Writes one chunk when there is room for it.
    ///
    /// # Errors
    /// [`ReaderGone`], also while it waits.
    pub(super) async fn write(&self, chunk: impl Into<Bytes>) -> Result<(), ReaderGone> {
        self.0.send(chunk.into()).await.map_err(|_| ReaderGone)
    }

    /// Ready when the reader is gone.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// In the extensions of every request: what an answer without an end has to know of its connection.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    stopping: watch::Receiver<bool>,
    was_too_slow: Arc<AtomicBool>,
}

impl Stopping {
    /// `stopping`: true once the server ends. `was_too_slow`: set when the connection was given up
    /// because its reader took nothing.
    pub(super) const fn new(
        stopping: watch::Receiver<bool>,
        was_too_slow: Arc<AtomicBool>,
    ) -> Self {
        Self { stopping, was_too_slow }
    }

    /// Whether a reader that is gone was given up because it took nothing.
    pub(super) fn was_too_slow(&self) -> bool {
        self.was_too_slow.load(Ordering::Acquire)
    }

    /// Whether the server ends.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ready when the server ends.
    pub(super) async fn stopping(&mut self) {
        // An error is that the one who would tell is gone, and the server with it.
        let _gone = self.stopping.wait_for(|stopping| *stopping).await;
    }
}

/// The answer that carries server-sent events.
pub(super) fn event_stream(body: Chunks) -> Response {
    let mut response = (StatusCode::OK, Body::new(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A web server in between is not to gather them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Appends one event. `data` is one line.
pub(super) fn server_sent_event(text: &mut String, id: Option<u64>, kind: &str, data: &str) {
    use std::fmt::Write as _;
    debug_assert!(!data.contains(['\n', '\r']), "an event's data is one line");
    if let Some(id) = id {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {kind}\ndata: {data}\n\n");
}

/// What says that the stream lives: a comment, which readers pass over.
pub(super) const HEARTBEAT: &str = ":\n\n";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn what_is_written_is_read_and_ends_with_its_writer() {
        let (writer, body) = chunks();
        writer.write("one ").await.unwrap();
        writer.write("two").await.unwrap();
        drop(writer);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
    }

    #[tokio::test]
    async fn a_writer_waits_for_its_reader_and_learns_that_it_is_gone() {
        let (writer, body) = chunks();
        for _ in 0..CHUNKS_WAITING_MAX {
            writer.write("x").await.unwrap();
        }
        let mut waiting = poller(writer.write("y"));
        assert!(waiting().is_pending(), "no more than the limit waits");
        drop(body);
        assert_eq!(waiting(), Poll::Ready(Err(ReaderGone)));
        writer.gone().await;
    }

    /// Polls a future each time that it is called.
    fn poller<F: Future>(future: F) -> impl FnMut() -> Poll<F::Output> {
        let mut future = Box::pin(future);
        move || future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn an_event_has_its_id_its_kind_and_one_line_of_data() {
        let mut text = String::new();
        server_sent_event(&mut text, Some(7), "registered", "{}");
        server_sent_event(&mut text, None, "end", "{\"reason\":\"ending\"}");
        assert_eq!(
            text,
            "id: 7\nevent: registered\ndata: {}\n\nevent: end\ndata: {\"reason\":\"ending\"}\n\n"
        );
    }
}
