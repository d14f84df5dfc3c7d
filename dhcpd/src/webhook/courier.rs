//! The task of one webhook: it reads from its own place, sends, tries again, and notes its place.
//!
//! Deliveries go out one after the other, so a receiver gets events in their order; while it does not
//! take one, nothing else is sent to it. How long it is left alone grows with each failure in a row, by
//! chance within a range, so that receivers of many servers are not all asked at one moment.

use super::cursor::Cursor;
use super::post::{Post, PostError, Target, TargetError};
use super::signature::{SIGNATURE_HEADER, sign};
use super::status::WebhookStatus;
use crate::api::{json_text, time_text};
use crate::decide::Quiet;
use crate::events::{Events, GapCause, GapView, Stored};
use crate::metrics::Metrics;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_config::Token;
use vestibule_core::{EventKind, Timestamp};

/// Events of one delivery at most.
pub const DELIVERY_EVENTS_MAX: usize = 100;

/// Bytes of events in one delivery at most, unless one event alone is larger.
pub const DELIVERY_BYTES_MAX: usize = 256 * 1024;

/// How long a receiver is left alone after the first failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// The same after many.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// One webhook, ready to be used.
pub struct Webhook {
    /// What the configuration says.
    pub section: vestibule_config::Webhook,
    /// What deliveries are signed with.
    pub secret: Token,
    target: Target,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.section.name).finish_non_exhaustive()
    }
}

impl Webhook {
    /// By its section and its secret.
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn new(section: vestibule_config::Webhook, secret: Token) -> Result<Self, TargetError> {
        let target = Target::new(&section.url, &section.ca_file)?;
        Ok(Self { section, secret, target })
    }

    fn wants(&self, kind: EventKind) -> bool {
        kind == EventKind::Gap
            || self.section.kinds.is_empty()
            || self.section.kinds.contains(&kind)
    }

    fn post(&self) -> Post {
        let timeout = Duration::from_secs(self.section.timeout_seconds.into());
        Post::new(self.target.clone(), timeout)
    }

    async fn deliver(&self, post: &mut Post, server: &str, events: &str) -> Result<(), PostError> {
        let name = &self.section.name;
        let body = format!(r#"{{"webhook":"{name}","server":"{server}","events":[{events}]}}"#);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = sign(self.secret.bytes(), now, body.as_bytes());
        let headers = [(SIGNATURE_HEADER, signature), ("vestibule-webhook", name.to_string())];
        post.send(&headers, Bytes::from(body)).await
    }
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TestResult {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// How long it took.
    pub milliseconds: u64,
    /// Why it did not.
    pub error: Option<String>,
}

/// All webhooks, as the API knows them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Webhooks(Arc<Vec<Known>>);

#[derive(Debug)]
struct Known {
    webhook: Arc<Webhook>,
    server: Box<str>,
    status: Arc<Mutex<WebhookStatus>>,
    events: Events,
}

fn locked(status: &Mutex<WebhookStatus>) -> MutexGuard<'_, WebhookStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Webhooks {
    /// How each of them goes.
    #[must_use]
    pub fn statuses(&self) -> Vec<WebhookStatus> {
        let status = |known: &Known| {
            let status = locked(&known.status).clone();
            let behind = known.events.newest().saturating_sub(status.cursor);
            WebhookStatus { behind, ..status }
        };
        self.0.iter().map(status).collect()
    }

    /// Sends a `test` event to one of them, past all that waits; `None` if there is none of this name.
    pub async fn test(&self, name: &str) -> Option<TestResult> {
        let known = self.0.iter().find(|known| *known.webhook.section.name == *name)?;
        let started = Instant::now();
        let event = one_line(EventKind::Test, &known.server, &serde_json::json!({}));
        let mut post = known.webhook.post();
        let sent = known.webhook.deliver(&mut post, &known.server, &event).await;
        Some(TestResult {
            delivered: sent.is_ok(),
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            error: sent.err().map(|error| error.to_string()),
        })
    }
}

/// An event that is not in the log, and so has no id.
fn one_line<T: Serialize>(kind: EventKind, server: &str, what: &T) -> String {
    #[derive(Serialize)]
    struct Line<'a, T> {
        id: Option<u64>,
        r#type: &'static str,
        time: Option<String>,
        server: &'a str,
        #[serde(flatten)]
        what: &'a T,
    }
    json_text(&Line { id: None, r#type: kind.name(), time: time_text(now()), server, what })
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// See the module.
#[derive(Debug)]
pub struct Courier {
    webhook: Arc<Webhook>,
    server: Box<str>,
    events: Events,
    cursor: Cursor,
    status: Arc<Mutex<WebhookStatus>>,
    metrics: Arc<Metrics>,
    quiet: Quiet,
    backoff_min: Duration,
}

impl Courier {
    /// The couriers of all webhooks, whose places are in files of `directory`.
    ///
    /// # Errors
    /// If a place can neither be read nor noted.
    pub fn all(
        webhooks: Vec<Webhook>,
        server: &str,
        events: &Events,
        directory: &Path,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<(Vec<Self>, Webhooks)> {
        let mut couriers = Vec::new();
        let mut known = Vec::new();
        for webhook in webhooks {
            let section = &webhook.section;
            let (oldest, newest) = (events.oldest(), events.newest());
            let cursor = Cursor::open(directory, &section.name, oldest, newest)?;
            let status = Arc::new(Mutex::new(WebhookStatus {
                name: section.name.to_string(),
                url: section.url.to_string(),
                events: section.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
                cursor: cursor.id(),
                ..WebhookStatus::default()
            }));
            let webhook = Arc::new(webhook);
            known.push(Known {
                webhook: Arc::clone(&webhook),
                server: server.into(),
                status: Arc::clone(&status),
                events: events.clone(),
            });
            couriers.push(Self {
                webhook,
                server: server.into(),
                events: events.clone(),
                cursor,
                status,
                metrics: Arc::clone(metrics),
                quiet: Quiet::default(),
                backoff_min: BACKOFF_MIN,
            });
        }
        Ok((couriers, Webhooks(Arc::new(known))))
    }

    /// The same with another first pause after a failure: for tests.
    #[must_use]
    pub fn with_backoff(self, backoff_min: Duration) -> Self {
        Self { backoff_min, ..self }
    }

    /// Works until its task is ended.
    pub async fn run(mut self) {
        let mut post = self.webhook.post();
        let mut newest = self.events.follow();
        loop {
            newest.borrow_and_update();
            let after = self.cursor.id();
            match self.events.read_after(after, DELIVERY_EVENTS_MAX).await {
                Ok(found) if found.is_empty() => {
                    if newest.changed().await.is_err() {
                        return;
                    }
                }
                Ok(found) => self.carry(&mut post, found).await,
                Err(_) => self.skip(&mut post).await,
            }
        }
    }

    /// Brings events to the receiver, however long it takes, or until they are not kept any more.
    async fn carry(&mut self, post: &mut Post, found: Vec<Stored>) {
        let mut text = String::new();
        let (mut count, mut last) = (0, self.cursor.id());
        for event in found {
            if self.webhook.wants(event.kind) {
                let json = event.json();
                if count > 0 && text.len() + json.len() > DELIVERY_BYTES_MAX {
                    break;
                }
                if count > 0 {
                    text.push(',');
                }
                text.push_str(&json);
                count += 1;
            }
            last = event.id;
        }
        if count == 0 || self.try_until_taken(post, &text, count).await {
            self.note(last);
        }
    }

    /// Tells the receiver that events are gone, and goes on with the oldest that is kept: one gap, however
    /// much more is lost until it is taken.
    async fn skip(&mut self, post: &mut Post) {
        let before = locked(&self.status).dropped;
        let mut counted = 0;
        let mut pause = self.backoff_min;
        loop {
            let oldest = self.events.oldest();
            let missed = oldest.saturating_sub(self.cursor.id());
            let name = &self.webhook.section.name;
            self.metrics.webhook_dropped(name, missed - counted);
            if counted == 0 {
                tracing::error!(
                    webhook = %name,
                    missed,
                    "a webhook's receiver has not taken events for so long that they are kept no more; it is told of a gap"
                );
            }
            counted = missed;
            locked(&self.status).dropped = before + missed;
            let gap = GapView::new(GapCause::Retention, Some(missed));
            let event = one_line(EventKind::Gap, &self.server, &gap);
            if self.attempt(post, &event, 0).await {
                return self.note(oldest);
            }
            self.pause(&mut pause).await;
        }
    }

    /// True if the receiver has taken it; false if what it brings is not kept any more.
    async fn try_until_taken(&mut self, post: &mut Post, events: &str, count: u64) -> bool {
        let mut pause = self.backoff_min;
        while !self.attempt(post, events, count).await {
            self.pause(&mut pause).await;
            if self.events.check(self.cursor.id()).is_err() {
                return false;
            }
        }
        true
    }

    async fn pause(&self, pause: &mut Duration) {
        tokio::time::sleep(jittered(*pause)).await;
        *pause = pause.saturating_mul(2).min(BACKOFF_MAX);
    }

    /// Sends once; whether the receiver has taken it.
    async fn attempt(&mut self, post: &mut Post, events: &str, count: u64) -> bool {
        let name = &self.webhook.section.name;
        let sent = self.webhook.deliver(post, &self.server, events).await;
        let mut status = locked(&self.status);
        match sent {
            Ok(()) => {
                self.metrics.webhook_delivered(name, count);
                if status.failures_in_a_row > 0 {
                    tracing::info!(webhook = %name, "a webhook's receiver takes events again");
                }
                status.failures_in_a_row = 0;
                status.delivered += count;
                status.last_success = time_text(now());
                true
            }
            Err(error) => {
                self.metrics.webhook_failed(name);
                status.failures += 1;
                status.failures_in_a_row += 1;
                status.last_error = Some(error.to_string());
                if self.quiet.may_say("failed") {
                    tracing::warn!(
                        webhook = %name,
                        %error,
                        "a webhook's receiver did not take an event; it is sent again (said once a minute)"
                    );
                }
                false
            }
        }
    }

    fn note(&mut self, id: u64) {
        if let Err(error) = self.cursor.note(id)
            && self.quiet.may_say("cursor")
        {
            tracing::warn!(
                webhook = %self.webhook.section.name,
                %error,
                "the place of a webhook cannot be noted: after a restart it gets events again (said once a minute)"
            );
        }
        locked(&self.status).cursor = id;
    }
}

/// Between half of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    pause / 2 + (pause / 2).mul_f64(random_fraction(random))
}

fn random_fraction(random: u64) -> f64 {
    // Below 1024, and so exact.
    u16::try_from(random).map_or(0.0, f64::from) / 1024.0
}
