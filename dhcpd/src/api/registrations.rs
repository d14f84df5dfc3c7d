//! `/v1/registrations`: who may pass the gate. A change is answered when the kernel has it.

use super::problem::{Problem, ProblemKind};
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
use vestibule_core::limits::OWNER_LENGTH_MAX;
use vestibule_core::{
    Answer, Command, HardwareAddress, Query, QueryAnswer, RegistrationTarget, Timestamp,
};

/// How hardware addresses may be written.
const WANT_MAC: &str = "a hardware address, such as 02:00:5e:00:53:01, 02-00-5E-00-53-01, 0200.5e00.5301 or 02005e005301";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrationBody {
    ip: Option<String>,
    mac: Option<String>,
    owner: Option<String>,
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
    let command = Command::Register {
        target: target(&body)?,
        owner: owner(body.owner)?,
        expires: expires(body.expires.as_deref())?,
        replaces: body.replaces.as_deref().map(|text| mac("replaces", text)).transpose()?,
    };
    match state.command(command).await? {
        Answer::Registered { registration, addresses, created } => {
            tracing::info!(mac = %registration.hardware, created, "registered");
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            let registration = RegistrationView::new(&registration);
            Ok(json::response(status, &RegistrationWithAddresses { registration, addresses }))
        }
        Answer::NoLease(address) => Err(no_lease(address)),
        Answer::NoHardwareAddress(_) => Err(Problem::new(
            ProblemKind::NoHardwareAddress,
            "nothing tells this host from others without one, so a registration would let them all in; \
             it has to send its hardware address in DHCP",
        )),
        Answer::ExpiryInThePast(time) => Err(Problem::new(
            ProblemKind::ExpiryInThePast,
            format!(
                "`expires` is {}, which has passed",
                json::time_text(time).unwrap_or_else(|| time.to_string())
            ),
        )),
        Answer::RegistrationsFull => Err(Problem::new(
            ProblemKind::RegistrationsFull,
            format!(
                "{} devices are registered, and there is no room for more; end some registrations",
                vestibule_core::limits::REGISTRATIONS_MAX
            ),
        )),
        Answer::Unregistered { .. } | Answer::NotRegistered(_) => Err(answer_mismatch()),
    }
}

/// `GET /v1/registrations`
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query: ListQuery = parameters::query(&uri)?;
    let after = parameters::value("after", query.after.as_deref(), WANT_MAC)?;
    let limit = parameters::limit(query.limit.as_deref())?;
    match state.query(Query::Registrations { after, limit }).await? {
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

/// Nobody holds this address.
pub(super) fn no_lease(address: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::NoLease, format!("nobody holds a lease for {address}"))
}

fn not_registered(mac: HardwareAddress) -> Problem {
    Problem::new(ProblemKind::NotRegistered, format!("{mac} is not registered"))
}

fn bad_field(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadField, detail)
}

fn target(body: &RegistrationBody) -> Result<RegistrationTarget, Problem> {
    match (&body.ip, &body.mac) {
        (Some(ip), None) => ip
            .parse::<Ipv4Addr>()
            .map(RegistrationTarget::Address)
            .map_err(|_| bad_field("`ip` is not an IPv4 address")),
        (None, Some(text)) => mac("mac", text).map(RegistrationTarget::Hardware),
        (None, None) => Err(bad_field("one of `ip` and `mac` is needed")),
        (Some(_), Some(_)) => {
            Err(bad_field("`ip` and `mac` exclude each other: give the one that you know"))
        }
    }
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

fn owner(owner: Option<String>) -> Result<Option<Box<str>>, Problem> {
    let Some(owner) = owner else { return Ok(None) };
    if owner.is_empty() {
        return Err(bad_field("`owner` is empty: leave it out if nobody answers for the device"));
    }
    if owner.len() > OWNER_LENGTH_MAX {
        return Err(bad_field(format!("`owner` has more than {OWNER_LENGTH_MAX} bytes")));
    }
    if owner.chars().any(char::is_control) {
        return Err(bad_field("`owner` contains a control character"));
    }
    Ok(Some(owner.into()))
}

fn expires(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| {
        json::parse_time(text).ok_or_else(|| {
            bad_field("`expires` is not a time of RFC 3339, such as 2027-02-28T22:00:00Z")
        })
    })
    .transpose()
}
