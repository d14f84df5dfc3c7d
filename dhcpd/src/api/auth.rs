//! The bearer token (RFC 6750): who shows it may read and change everything.
//!
//! It is compared in constant time, so that answering times tell nothing of it but its length.

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq as _;
use vestibule_config::Token;

/// Lets only requests with the token pass.
pub(super) async fn require_token(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    check(request.headers(), &state.shared.token)?;
    Ok(next.run(request).await)
}

/// Whether the headers carry the token.
pub(super) fn check(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let missing = "this needs the header `Authorization: Bearer TOKEN`, with the token of the server's \
                   `api.token-file`";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(ProblemKind::Unauthorized, missing));
    };
    if values.next().is_some() {
        return Err(Problem::new(
            ProblemKind::Unauthorized,
            "there is more than one Authorization header",
        ));
    }
    let (scheme, shown) = match value.as_bytes().split_at_checked(BEARER.len()) {
        Some((scheme, [b' ', shown @ ..])) => (scheme, shown.trim_ascii()),
        _ => return Err(Problem::new(ProblemKind::Unauthorized, missing)),
    };
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(Problem::new(ProblemKind::Unauthorized, missing));
    }
    if bool::from(shown.ct_eq(token.bytes())) {
        Ok(())
    } else {
        Err(Problem::new(
            ProblemKind::Unauthorized,
            "the token is not this server's; it reads its `api.token-file` when it starts",
        ))
    }
}

const BEARER: &[u8] = b"Bearer";
