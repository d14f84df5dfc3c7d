//! `Idempotency-Key`: a request that is sent again gets the answer that it got.
//!
//! A portal that heard no answer does not know whether its request was carried out. Sent again with the
//! same key, it is not carried out a second time. The keys live in memory, [`KEYS_KEPT_MAX`] of them, for
//! [`KEY_LIFETIME`]; a restart forgets them. Nothing bad comes of that, because every command may be
//! carried out twice: what is lost is only that the second answer is the first one.
//!
//! Answers of the server's own faults (5xx) are not kept: the request shall be tried again.

use super::auth::Holder;
use super::problem::{Problem, ProblemKind};
use super::{ApiState, body};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are kept at most; one more takes the place of the oldest.
pub const KEYS_KEPT_MAX: usize = 16_384;

/// How long a key is kept.
pub const KEY_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Bytes of a key at most.
pub const KEY_LENGTH_MAX: usize = 255;

/// Bytes of an answer that is kept at most; a longer one is given and not kept.
const ANSWER_BYTES_KEPT_MAX: usize = 64 * 1024;

/// Bytes of all answers together at most.
const ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What was answered, by the caller's name and key.
#[derive(Debug, Default)]
pub(super) struct Answered {
    table: Mutex<Table>,
    hasher: RandomState,
}

type Key = (Box<str>, Box<[u8]>);

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<Key, Kept>,
    /// The keys in the order in which they came, each with its number: a key may have come again since.
    in_order: VecDeque<(Key, u64)>,
    number_next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    since: Instant,
    /// What was asked; a hash, because a body may be long.
    fingerprint: u64,
    /// `None` while it is being carried out.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

/// What is known of a key.
enum Known {
    /// Nothing: it is this request's now.
    Nothing,
    Answered(Answer),
    InUse,
    Another,
}

/// Takes a key back if its request ends without an answer, because its caller went away.
struct Claim<'a> {
    answered: &'a Answered,
    key: Key,
    is_over: bool,
}

/// Answers a `POST` whose key has been answered before as it was, and carries out any other.
pub(super) async fn answer_once(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let key = key_of(&parts)?;
    let bytes = body::bytes(&state, body).await?;
    let answered = &state.shared.answered;
    let path = parts.uri.path_and_query().map(|path| path.as_str().to_owned());
    let fingerprint = answered.hasher.hash_one((path, &bytes));
    match answered.claim(&key, fingerprint, Instant::now()) {
        Known::Answered(answer) => return Ok(answer.again()),
        Known::InUse => {
            return Err(Problem::new(
                ProblemKind::IdempotencyKeyInUse,
                "the first request with this key is under way; ask again for its answer",
            ));
        }
        Known::Another => {
            return Err(Problem::new(
                ProblemKind::IdempotencyKeyReused,
                "this key came with another path or body before; take a new one for each request",
            ));
        }
        Known::Nothing => {}
    }
    let claim = Claim { answered, key, is_over: false };
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    Ok(claim.keep(response).await)
}

fn key_of(parts: &Parts) -> Result<Key, Problem> {
    let bad = |detail: String| Problem::new(ProblemKind::BadParameter, detail);
    let headers: &HeaderMap = &parts.headers;
    let mut values = headers.get_all(KEY).iter();
    let value = values.next().map(HeaderValue::as_bytes).unwrap_or_default();
    if values.next().is_some() {
        return Err(bad("there is more than one Idempotency-Key header".to_owned()));
    }
    let is_plain = value.iter().all(u8::is_ascii_graphic);
    if value.is_empty() || value.len() > KEY_LENGTH_MAX || !is_plain {
        return Err(bad(format!(
            "Idempotency-Key is not 1 to {KEY_LENGTH_MAX} visible ASCII characters"
        )));
    }
    let holder = parts.extensions.get::<Holder>().map(|holder| holder.name.clone());
    Ok((holder.unwrap_or_default(), value.into()))
}

impl Answered {
    fn claim(&self, key: &Key, fingerprint: u64, now: Instant) -> Known {
        let mut table = self.table();
        table.forget(now, KEYS_KEPT_MAX);
        if let Some(kept) = table.requests.get(key) {
            return match &kept.answer {
                _ if kept.fingerprint != fingerprint => Known::Another,
                Some(answer) => Known::Answered(answer.clone()),
                None => Known::InUse,
            };
        }
        table.forget(now, KEYS_KEPT_MAX - 1);
        let number = table.number_next;
        table.number_next += 1;
        let kept = Kept { number, since: now, fingerprint, answer: None };
        table.requests.insert(key.clone(), kept);
        table.in_order.push_back((key.clone(), number));
        Known::Nothing
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets the oldest as long as it is too old, or they are more than this.
    fn forget(&mut self, now: Instant, keys_max: usize) {
        while let Some((key, number)) = self.in_order.front() {
            let kept = self.requests.get(key).filter(|kept| kept.number == *number);
            let is_over = kept.is_none_or(|kept| {
                now.saturating_duration_since(kept.since) >= KEY_LIFETIME
                    || self.requests.len() > keys_max
                    || self.bytes > ANSWERS_BYTES_MAX
            }) || self.in_order.len() > 2 * KEYS_KEPT_MAX;
            if !is_over {
                return;
            }
            let is_its = kept.is_some();
            let Some((key, _)) = self.in_order.pop_front() else { return };
            if is_its {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        let answer = self.requests.remove(key).and_then(|kept| kept.answer);
        self.bytes -= answer.map_or(0, |answer| answer.body.len());
    }
}

impl Claim<'_> {
    /// Keeps an answer, and gives it.
    async fn keep(mut self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let status = parts.status;
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
            // Unreachable: answers are made in memory.
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if !status.is_server_error() && bytes.len() <= ANSWER_BYTES_KEPT_MAX {
            let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
            let answer = Answer { status, content_type, body: bytes.clone() };
            let mut table = self.answered.table();
            if let Some(kept) = table.requests.get_mut(&self.key) {
                kept.answer = Some(answer);
                table.bytes += bytes.len();
            }
            self.is_over = true;
        }
        Response::from_parts(parts, Body::from(bytes))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.answered.table().remove(&self.key);
        }
    }
}

impl Answer {
    fn again(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        if let Some(content_type) = self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn key(name: usize) -> Key {
        ("portal".into(), name.to_string().into_bytes().into())
    }

    fn answer(answered: &Answered, key: &Key, body: &'static [u8]) {
        let mut table = answered.table();
        table.bytes += body.len();
        table.requests.get_mut(key).unwrap().answer = Some(Answer {
            status: StatusCode::CREATED,
            content_type: None,
            body: Bytes::from_static(body),
        });
    }

    #[test]
    fn keys_are_forgotten_by_age_and_by_number() {
        let answered = Answered::default();
        let start = Instant::now();
        assert!(matches!(answered.claim(&key(0), 1, start), Known::Nothing));
        assert!(matches!(answered.claim(&key(0), 1, start), Known::InUse));
        assert!(matches!(answered.claim(&key(0), 2, start), Known::Another));
        answer(&answered, &key(0), b"first");
        assert!(matches!(answered.claim(&key(0), 1, start), Known::Answered(_)));
        let late = start + KEY_LIFETIME;
        assert!(matches!(answered.claim(&key(0), 1, late), Known::Nothing));
        answer(&answered, &key(0), b"again");
        for name in 1..KEYS_KEPT_MAX {
            assert!(matches!(answered.claim(&key(name), 1, late), Known::Nothing));
        }
        assert!(matches!(answered.claim(&key(KEYS_KEPT_MAX), 1, late), Known::Nothing));
        assert!(matches!(answered.claim(&key(1), 1, late), Known::InUse));
        assert!(matches!(answered.claim(&key(0), 1, late), Known::Nothing), "the oldest");
        let table = answered.table();
        assert!(table.requests.len() <= KEYS_KEPT_MAX && table.bytes == 0);
    }
}
