//! Bearer tokens (RFC 6750): who shows one may do what its scope allows, row by row in
//! [`access`](super::access).
//!
//! What is shown is compared with every token, and each in constant time, so that answering times tell
//! nothing of them but their lengths. A token is in no log; its holder's name is.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, access};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::{Choice, ConstantTimeEq as _};
use vestibule_config::{Credential, Scope};

/// Who is asking, by the token shown. In the extensions of every request that passed
/// [`require_token`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// What the configuration calls them.
    pub(super) name: Box<str>,
    /// What they may do.
    pub(super) scope: Scope,
}

/// Lets only requests pass whose token's scope has the path.
pub(super) async fn require_token(
    State(state): State<ApiState>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let holder = holder(request.headers(), &state.shared.tokens)?;
    let Some(scopes) = access::scopes(request.method(), path.as_str()) else {
        return Ok(not_in_the_table(path.as_str()));
    };
    permit(&state, &holder, scopes)?;
    request.extensions_mut().insert(holder);
    Ok(next.run(request).await)
}

/// The same for a path that wants a token only sometimes.
pub(super) fn check(
    state: &ApiState,
    headers: &HeaderMap,
    scopes: &'static [Scope],
) -> Result<Holder, Problem> {
    let holder = holder(headers, &state.shared.tokens)?;
    permit(state, &holder, scopes)?;
    Ok(holder)
}

fn not_in_the_table(path: &str) -> Response {
    let problem = Problem::new(
        ProblemKind::MethodNotAllowed,
        "this path does not take this method; the Allow header names those that it takes",
    );
    let mut response = problem.into_response();
    if let Ok(methods) = HeaderValue::from_str(&access::methods(path)) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

fn permit(state: &ApiState, holder: &Holder, scopes: &'static [Scope]) -> Result<(), Problem> {
    if scopes.contains(&holder.scope) {
        return Ok(());
    }
    state.say_forbidden(holder);
    let needed: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    let detail = format!(
        "the token of `{}` has the scope `{}`; this needs the scope `{}`",
        holder.name,
        holder.scope.name(),
        needed.join("` or `")
    );
    Err(Problem { scopes_needed: needed, ..Problem::new(ProblemKind::Forbidden, detail) })
}

/// Whose token the headers carry.
fn holder(headers: &HeaderMap, tokens: &[Credential]) -> Result<Holder, Problem> {
    let missing = "this needs the header `Authorization: Bearer TOKEN`, with the token of the server's \
                   `api.token-file`, or of an `[[api.token]]`";
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
    // Every token is compared, whichever fits.
    let mut found = None;
    for credential in tokens {
        let fits: Choice = shown.ct_eq(credential.token.bytes());
        if bool::from(fits) {
            found = Some(credential);
        }
    }
    let credential = found.ok_or_else(|| {
        Problem::new(
            ProblemKind::Unauthorized,
            "the token is none of this server's; it reads its token files when it starts",
        )
    })?;
    Ok(Holder { name: credential.name.clone(), scope: credential.scope })
}

const BEARER: &[u8] = b"Bearer";
