//! `/v1/whoami`: the host behind an address.
//!
//! Without a parameter it tells callers about themselves, by the address that their connection comes
//! from, and needs no token: a host may know what the server knows of it. Headers that claim another
//! address are not believed. With `?ip=` or `?lease-token=` it tells about any host, and needs a token:
//! that is for a portal, which knows its visitor's address, or its lease by its token.

use super::problem::{Problem, ProblemKind};
use super::serve::Peer;
use super::view::WhoamiView;
use super::{ApiState, access, answer_mismatch, auth, json, parameters, refusal, registrations};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use vestibule_core::{Query, QueryAnswer};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WhoamiQuery {
    ip: Option<String>,
    lease_token: Option<String>,
}

/// `GET /v1/whoami`
pub(super) async fn whoami(
    State(state): State<ApiState>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: WhoamiQuery = parameters::query(&uri)?;
    let scopes = access::scopes(&Method::GET, "/v1/whoami").unwrap_or_default();
    if let Some(token) = query.lease_token.as_deref() {
        auth::check(&state, &headers, scopes)?;
        if query.ip.is_some() {
            return Err(parameters::bad("`ip` and `lease-token` exclude each other"));
        }
        let token = registrations::lease_token(token)?;
        return match state.query(Query::LeaseOfToken(token)).await? {
            QueryAnswer::LeaseOfToken(Ok(view)) => {
                Ok(json::response(StatusCode::OK, &WhoamiView::new(&view)))
            }
            QueryAnswer::LeaseOfToken(Err(refusal)) => Err(refusal::token_refused(refusal)),
            _ => Err(answer_mismatch()),
        };
    }
    let address: Ipv4Addr = match query.ip.as_deref() {
        Some(ip) => {
            auth::check(&state, &headers, scopes)?;
            ip.parse().map_err(|_| parameters::bad("`ip` is not an IPv4 address"))?
        }
        None => match peer.map(|peer| peer.to_canonical()) {
            Some(IpAddr::V4(address)) => address,
            Some(IpAddr::V6(address)) => return Err(refusal::no_lease(address)),
            None => {
                return Err(Problem::new(
                    ProblemKind::NoCallerAddress,
                    "over a Unix socket a caller has no address; ask with `?ip=ADDRESS`",
                ));
            }
        },
    };
    match state.query(Query::Lease(address)).await? {
        QueryAnswer::Lease(Some(view)) if view.held => {
            Ok(json::response(StatusCode::OK, &WhoamiView::new(&view)))
        }
        QueryAnswer::Lease(_) => Err(refusal::no_lease(address)),
        _ => Err(answer_mismatch()),
    }
}
