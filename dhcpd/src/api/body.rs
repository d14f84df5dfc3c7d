//! Bodies of requests: bounded in size and in time, JSON with every mistake named.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, BODY_BYTES_MAX};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

/// Bytes of a body over its limit that are still read and thrown away, so that a caller who is
/// writing comes to read the answer instead of finding the connection reset.
const BODY_DRAINED_BYTES_MAX: usize = 1024 * 1024;

/// Reads the body as JSON.
pub(super) async fn json<T: DeserializeOwned>(state: &ApiState, body: Body) -> Result<T, Problem> {
    parse(&bytes(state, body).await?)
}

/// The same where a body may be left out.
pub(super) async fn json_or_nothing<T: DeserializeOwned>(
    state: &ApiState,
    body: Body,
) -> Result<Option<T>, Problem> {
    let bytes = bytes(state, body).await?;
    if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(ProblemKind::BadJson, format!("the body is not UTF-8: {error}"))
    })?;
    // What comes is always an object. A list would be taken for the values of its fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(problem)?;
        return Err(Problem::new(ProblemKind::BadField, "the body is JSON, but not an object"));
    }
    serde_json::from_str(text).map_err(problem)
}

/// Reads the body.
pub(super) async fn bytes(state: &ApiState, body: Body) -> Result<Vec<u8>, Problem> {
    let time_max = state.shared.timeouts.body;
    match tokio::time::timeout(time_max, read(body)).await {
        Ok(bytes) => bytes,
        Err(_) => Err(Problem::new(
            ProblemKind::BodyTooSlow,
            format!("the whole body has to arrive within {} s", time_max.as_secs_f32()),
        )),
    }
}

/// serde_json's words end with the line and the column.
fn problem(error: serde_json::Error) -> Problem {
    let kind = match error.classify() {
        Category::Data => ProblemKind::BadField,
        Category::Syntax | Category::Eof | Category::Io => ProblemKind::BadJson,
    };
    Problem::new(kind, error.to_string())
}

async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(ProblemKind::BodyBrokenOff, "the connection broke off in the body")
        })?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(data.len());
        if length <= BODY_BYTES_MAX {
            bytes.extend_from_slice(data);
        } else {
            bytes = Vec::new();
        }
        if length > BODY_DRAINED_BYTES_MAX {
            break;
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(Problem::new(
            ProblemKind::BodyTooLarge,
            format!("a body may have {BODY_BYTES_MAX} bytes at most"),
        ));
    }
    Ok(bytes)
}
