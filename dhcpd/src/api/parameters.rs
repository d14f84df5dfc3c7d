//! What a URL can say: query and path, read strictly. An unknown or repeated parameter is an error,
//! because a misspelt filter would otherwise show everything.

use super::problem::{Problem, ProblemKind};
use super::{PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query};
use axum::http::Uri;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;

/// The query of a URL.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::try_from_uri(uri)
        .map(|Query(parameters)| parameters)
        .map_err(|error| bad(without_prefix(&error.body_text())))
}

/// One value, if it is there.
pub(super) fn value<T: FromStr>(
    name: &str,
    text: Option<&str>,
    want: impl Display,
) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse().map_err(|_| bad(format!("`{name}` is not {want}")))).transpose()
}

/// The last part of the path.
pub(super) fn last_part(part: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match part {
        Ok(Path(part)) => Ok(part),
        Err(rejection) => Err(bad(rejection.body_text())),
    }
}

/// How many entries a page shall have.
pub(super) fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let want = format!("a number from 1 to {PAGE_ENTRIES_MAX}");
    let limit = value("limit", text, &want)?.unwrap_or(PAGE_ENTRIES_DEFAULT);
    if (1..=PAGE_ENTRIES_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(bad(format!("`limit` is not {want}")))
    }
}

/// A wrong parameter.
pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadParameter, detail)
}

/// The library's own words in front of the cause say nothing to a caller.
fn without_prefix(text: &str) -> &str {
    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text)
}
