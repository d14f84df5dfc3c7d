//! One server's feed, followed for ever: connected to, read, taken up again after its last cursor.
//!
//! It promises that a server costs bounded memory and bounded patience: a line has a limit and a deadline, the
//! head of an answer too, and what does not keep to them is the end of the connection, never of the agent.
//! Between two tries it pauses, longer each time. It never changes anything in the kernel, and shows the token
//! to the server only.

use super::counters::Counters;
use super::error::FollowError;
use super::reading::{Event, Reading};
use crate::feed::Cursor;
use crate::source::{Pauses, Source};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// One feed.
pub(super) struct Feed {
    /// Its number among the agent's servers.
    pub(super) number: usize,
    pub(super) server: Source,
    pub(super) events: mpsc::Sender<(usize, Event)>,
    pub(super) counters: Arc<Counters>,
}

impl Feed {
    /// Follows until the enforcer is gone.
    pub(super) async fn follow(self) {
        let mut cursor = None;
        let mut pauses = Pauses::default();
        while !self.events.is_closed() {
            let begun = Instant::now();
            let error = self.once(&mut cursor).await;
            if matches!(error, FollowError::Unreadable(_)) {
                // What it said before may be wrong too.
                cursor = None;
            }
            self.counters.lost(self.number, &error);
            tokio::time::sleep(pauses.after(begun)).await;
        }
    }

    /// Follows until the first connection ends; why it did.
    pub(super) async fn once(&self, cursor: &mut Option<Cursor>) -> FollowError {
        match self.connection(cursor).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn connection(&self, cursor: &mut Option<Cursor>) -> Result<Infallible, FollowError> {
        let after = cursor.map_or(String::new(), |cursor| format!("?after={cursor}"));
        let mut lines = self.server.open(&format!("/v1/gate{after}")).await?;
        let mut reading = Reading::new(*cursor);
        let mut events = Vec::new();
        loop {
            lines
                .read(|line| {
                    events.push(reading.line(line, Instant::now())?);
                    Ok::<(), FollowError>(())
                })
                .await?;
            for event in events.drain(..) {
                let event = event.map_err(FollowError::Ended)?;
                self.counters.heard(self.number, &event, &reading);
                // The enforcer takes its time: the server's and the kernel's buffers are the limit.
                let sent = self.events.send((self.number, event)).await;
                sent.map_err(|_| FollowError::AgentEnding)?;
                // Waiting for the enforcer is not the server's fault.
                lines.taken();
            }
            // All that was read was handed on.
            *cursor = reading.cursor().or(*cursor);
        }
    }
}
