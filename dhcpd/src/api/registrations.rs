//! `/v1/registrations`: who may pass the gate. A change is answered when the kernel has it.

use super::problem::{Problem, ProblemKind};
use super::refusal::{not_registered, refused, token_refused};
use super::view::{
    RegistrationView, RegistrationWithAddresses, RegistrationsPage, UnregisteredView,
};
use super::{ApiState, answer_mismatch, body, json, parameters};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::net::Ipv4Addr;
use vestibule_core::limits::{
    NOTE_LENGTH_MAX, OWNER_LENGTH_MAX, ROLE_LENGTH_MAX, SPONSOR_LENGTH_MAX,
};
use vestibule_core::{
    Answer, Command, HardwareAddress, LeaseToken, LeaseTokenRefusal, Query, QueryAnswer, Register,
    RegistrationTarget, Replaces, Timestamp,
};

/// How hardware addresses may be written.
const WANT_MAC: &str = "a hardware address, such as 02:00:5e:00:53:01, 02-00-5E-00-53-01, 0200.5e00.5301 or 02005e005301";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RegistrationBody {
    ip: Option<String>,
    mac: Option<String>,
    lease_token: Option<String>,
    owner: Option<String>,
    role: Option<String>,
    sponsor: Option<String>,
    note: Option<String>,
    expires: Option<String>,
    replaces: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// `POST /v1/registrations`
pub(super) async fn create(State(state): State<ApiState>, body: Body) -> Result<Response, Problem> {
    let body: RegistrationBody = body::json(&state, body).await?;
    let command = Command::Register(Register {
        target: target(&body)?,
        owner: text("owner", body.owner, OWNER_LENGTH_MAX)?,
        role: text("role", body.role, ROLE_LENGTH_MAX)?,
        sponsor: text("sponsor", body.sponsor, SPONSOR_LENGTH_MAX)?,
        note: text("note", body.note, NOTE_LENGTH_MAX)?,
        expires: expires(body.expires.as_deref())?,
        replaces: body.replaces.as_deref().map(replaces).transpose()?,
    });
    match state.command(command).await? {
        Answer::Registered { registration, addresses, created, .. } => {
            tracing::info!(mac = %registration.hardware, created, "registered");
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            let registration = RegistrationView::new(&registration);
            Ok(json::response(status, &RegistrationWithAddresses { registration, addresses }))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// `GET /v1/registrations`
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query: ListQuery = parameters::query(&uri)?;
    let after = parameters::value("after", query.after.as_deref(), WANT_MAC)?;
    let limit = parameters::limit(query.limit.as_deref())?;
    match state.query(Query::Registrations { after, limit, owner: None }).await? {
        QueryAnswer::Registrations { registrations, next } => {
            let registrations = registrations.iter().map(RegistrationView::new).collect();
            Ok(json::response(StatusCode::OK, &RegistrationsPage { registrations, next }))
        }
        _ => Err(answer_mismatch()),
    }
}

/// `GET /v1/registrations/{mac}`
pub(super) async fn read(
    State(state): State<ApiState>,
    mac: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let mac = path_mac(&parameters::last_part(mac)?)?;
    match state.query(Query::Registration(mac)).await? {
        QueryAnswer::Registration(Some(registration)) => {
            Ok(json::response(StatusCode::OK, &RegistrationView::new(&registration)))
        }
        QueryAnswer::Registration(None) => Err(not_registered(mac)),
        _ => Err(answer_mismatch()),
    }
}

/// `DELETE /v1/registrations/{mac}`
pub(super) async fn delete(
    State(state): State<ApiState>,
    mac: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let mac = path_mac(&parameters::last_part(mac)?)?;
    match state.command(Command::Unregister(mac)).await? {
        Answer::Unregistered { addresses } => {
            tracing::info!(%mac, "unregistered");
            Ok(json::response(StatusCode::OK, &UnregisteredView { mac, addresses }))
        }
        Answer::NotRegistered(_) => Err(not_registered(mac)),
        _ => Err(answer_mismatch()),
    }
}

fn bad_field(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadField, detail)
}

fn target(body: &RegistrationBody) -> Result<RegistrationTarget, Problem> {
    match (&body.ip, &body.mac, &body.lease_token) {
        (Some(ip), None, None) => ip
            .parse::<Ipv4Addr>()
            .map(RegistrationTarget::Address)
            .map_err(|_| bad_field("`ip` is not an IPv4 address")),
        (None, Some(text), None) => mac("mac", text).map(RegistrationTarget::Hardware),
        (None, None, Some(token)) => lease_token(token).map(RegistrationTarget::Token),
        (None, None, None) => Err(bad_field("one of `ip`, `mac` and `lease-token` is needed")),
        _ => Err(bad_field(
            "`ip`, `mac` and `lease-token` exclude each other: give the one that you know",
        )),
    }
}

/// A lease's token. A text that cannot be one is treated as one that was changed.
pub(super) fn lease_token(text: &str) -> Result<LeaseToken, Problem> {
    text.parse().map_err(|_| token_refused(LeaseTokenRefusal::Invalid))
}

fn mac(field: &str, text: &str) -> Result<HardwareAddress, Problem> {
    let mac: HardwareAddress =
        text.parse().map_err(|_| bad_field(format!("`{field}` is not {WANT_MAC}")))?;
    if mac.is_zero() {
        return Err(bad_field(format!("`{field}` is all zeros, which is no device's address")));
    }
    Ok(mac)
}

fn path_mac(text: &str) -> Result<HardwareAddress, Problem> {
    text.parse()
        .map_err(|_| parameters::bad(format!("the last part of the path is not {WANT_MAC}")))
}

fn replaces(text: &str) -> Result<Replaces, Problem> {
    if text == "auto" {
        return Ok(Replaces::StalestRandomised);
    }
    mac("replaces", text).map(Replaces::Device)
}

/// A text that somebody chose, to be shown to others.
fn text(field: &str, text: Option<String>, length_max: usize) -> Result<Option<Box<str>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() {
        return Err(bad_field(format!(
            "`{field}` is empty: leave it out if there is nothing to say"
        )));
    }
    if text.len() > length_max {
        return Err(bad_field(format!("`{field}` has more than {length_max} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(bad_field(format!("`{field}` contains a control character")));
    }
    Ok(Some(text.into()))
}

fn expires(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| {
        json::parse_time(text).ok_or_else(|| {
            bad_field("`expires` is not a time of RFC 3339, such as 2027-02-28T22:00:00Z")
        })
    })
    .transpose()
}
