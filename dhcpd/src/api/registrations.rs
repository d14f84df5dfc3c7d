//! `/v1/registrations`: who may pass the gate. A change is answered when the kernel has it.

use super::auth::Holder;
use super::problem::{Problem, ProblemKind};
use super::refusal::{not_registered, refused, token_refused};
use super::view::{
    ImportView, PortableRegistration, RegistrationView, RegistrationWithAddresses,
    RegistrationsPage, UnregisteredView,
};
use super::{ApiState, answer_mismatch, body, json, parameters};
use crate::voucher_code::{Mistyped, VoucherCode};
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::net::Ipv4Addr;
use vestibule_config::Scope;
use vestibule_core::limits::{
    IMPORT_ENTRIES_MAX, NOTE_LENGTH_MAX, OWNER_LENGTH_MAX, ROLE_LENGTH_MAX, SPONSOR_LENGTH_MAX,
    SUSPENSION_REASON_LENGTH_MAX,
};
use vestibule_core::{
    Answer, Command, HardwareAddress, Imported, LeaseToken, LeaseTokenRefusal, Query, QueryAnswer,
    Register, Registration, RegistrationTarget, Replaces, Suspension, Timestamp, VoucherHash,
};

/// How hardware addresses may be written.
const WANT_MAC: &str = "a hardware address, such as 02:00:5e:00:53:01, 02-00-5E-00-53-01, 0200.5e00.5301, 02005e005301 or 2:0:5e:0:53:1";

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
    voucher: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
    owner: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuspensionBody {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingBody {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ImportBody {
    #[serde(default)]
    dry_run: bool,
    registrations: Vec<PortableRegistration>,
}

/// `POST /v1/registrations`
pub(super) async fn create(
    State(state): State<ApiState>,
    Extension(holder): Extension<Holder>,
    body: Body,
) -> Result<Response, Problem> {
    let body: RegistrationBody = body::json(&state, body).await?;
    let voucher = body.voucher.as_deref().map(voucher).transpose()?;
    if voucher.is_some() && (body.role.is_some() || body.expires.is_some()) {
        return Err(bad_field(
            "`voucher` says itself which role and until when: leave `role` and `expires` out",
        ));
    }
    let register = Register {
        target: target(&body)?,
        owner: text("owner", body.owner, OWNER_LENGTH_MAX)?,
        role: text("role", body.role, ROLE_LENGTH_MAX)?,
        sponsor: text("sponsor", body.sponsor, SPONSOR_LENGTH_MAX)?,
        note: text("note", body.note, NOTE_LENGTH_MAX)?,
        expires: body.expires.as_deref().map(|text| time("expires", text)).transpose()?,
        replaces: body.replaces.as_deref().map(replaces).transpose()?,
        voucher,
        may_lift_quarantine: holder.scope == Scope::Operator,
    };
    if register.replaces == Some(Replaces::StalestRandomised) && register.owner.is_none() {
        return Err(bad_field(
            "`replaces` is \"auto\", which looks among the devices of an `owner`",
        ));
    }
    match state.command(Command::Register(register)).await? {
        Answer::Registered { registration, state, addresses, created, replaced } => {
            tracing::info!(mac = %registration.hardware, created, "registered");
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            let registration = RegistrationView::new(&registration, state);
            let view = RegistrationWithAddresses { registration, addresses, replaced };
            Ok(json::response(status, &view))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// `GET /v1/registrations`
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query: ListQuery = parameters::query(&uri)?;
    let after = parameters::value("after", query.after.as_deref(), WANT_MAC)?;
    let limit = parameters::limit(query.limit.as_deref())?;
    let owner = query.owner.map(Into::into);
    match state.query(Query::Registrations { after, limit, owner }).await? {
        QueryAnswer::Registrations { registrations, next } => {
            let registrations = registrations
                .iter()
                .map(|view| RegistrationView::new(&view.registration, view.state))
                .collect();
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
        QueryAnswer::Registration(Some(view)) => {
            let view = RegistrationView::new(&view.registration, view.state);
            Ok(json::response(StatusCode::OK, &view))
        }
        QueryAnswer::Registration(None) => Err(not_registered(mac)),
        _ => Err(answer_mismatch()),
    }
}

/// `DELETE /v1/registrations/{mac}`: a portal ends none that holds its device back.
pub(super) async fn delete(
    State(state): State<ApiState>,
    Extension(holder): Extension<Holder>,
    mac: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let mac = path_mac(&parameters::last_part(mac)?)?;
    let command = match holder.scope {
        Scope::Operator => Command::Unregister(mac),
        Scope::Portal | Scope::Gate | Scope::Partner | Scope::Reader => Command::Leave(mac),
    };
    match state.command(command).await? {
        Answer::Unregistered { addresses } => {
            tracing::info!(%mac, "unregistered");
            Ok(json::response(StatusCode::OK, &UnregisteredView { mac, addresses }))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// `POST /v1/registrations/{mac}/suspend`
pub(super) async fn suspend(
    State(state): State<ApiState>,
    mac: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, Problem> {
    let hardware = path_mac(&parameters::last_part(mac)?)?;
    let body: SuspensionBody = body::json_or_nothing(&state, body).await?.unwrap_or_default();
    let reason = text("reason", body.reason, SUSPENSION_REASON_LENGTH_MAX)?;
    changed(&state, Command::Suspend { hardware, reason }, "suspended").await
}

/// `POST /v1/registrations/{mac}/resume`
pub(super) async fn resume(
    State(state): State<ApiState>,
    mac: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, Problem> {
    let hardware = path_mac(&parameters::last_part(mac)?)?;
    let _nothing: Option<NothingBody> = body::json_or_nothing(&state, body).await?;
    changed(&state, Command::Resume(hardware), "resumed").await
}

async fn changed(
    state: &ApiState,
    command: Command,
    what: &'static str,
) -> Result<Response, Problem> {
    match state.command(command).await? {
        Answer::Registered { registration, state, addresses, replaced, .. } => {
            tracing::info!(mac = %registration.hardware, "{what}");
            let registration = RegistrationView::new(&registration, state);
            let view = RegistrationWithAddresses { registration, addresses, replaced };
            Ok(json::response(StatusCode::OK, &view))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// `POST /v1/registrations/import`
pub(super) async fn import(State(state): State<ApiState>, body: Body) -> Result<Response, Problem> {
    let body: ImportBody = body::json(&state, body).await?;
    let count = body.registrations.len();
    if count > IMPORT_ENTRIES_MAX {
        return Err(bad_field(format!(
            "`registrations` has {count} entries; the limit is {IMPORT_ENTRIES_MAX}"
        )));
    }
    let mut entries = Vec::with_capacity(count);
    for (position, entry) in body.registrations.into_iter().enumerate() {
        let entry = imported(entry).map_err(|problem| {
            let detail = format!("entry {position}: {}", problem.detail);
            Problem { detail, ..problem }.with("position", position as u64)
        })?;
        entries.push(entry);
    }
    match state.command(Command::Import { entries, apply: !body.dry_run }).await? {
        Answer::Imported(imported) => {
            let Imported { created, changed, .. } = imported;
            if !body.dry_run {
                tracing::info!(created, changed, "registrations imported");
            }
            Ok(json::response(StatusCode::OK, &ImportView::from(imported)))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// An entry of an import.
pub(crate) fn imported(entry: PortableRegistration) -> Result<Registration, Problem> {
    let registered =
        entry.registered.as_deref().map(|text| time("registered", text)).transpose()?;
    let since = entry.suspended_since.as_deref();
    let since = since.map(|text| time("suspended-since", text)).transpose()?;
    let reason = text("suspended-reason", entry.suspended_reason, SUSPENSION_REASON_LENGTH_MAX)?;
    let suspended = match (since, reason) {
        (Some(since), reason) => Some(Box::new(Suspension { since, reason })),
        (None, Some(_)) => {
            return Err(bad_field("`suspended-reason` stands without `suspended-since`"));
        }
        (None, None) => None,
    };
    Ok(Registration {
        owner: text("owner", entry.owner, OWNER_LENGTH_MAX)?,
        role: text("role", entry.role, ROLE_LENGTH_MAX)?,
        sponsor: text("sponsor", entry.sponsor, SPONSOR_LENGTH_MAX)?,
        note: text("note", entry.note, NOTE_LENGTH_MAX)?,
        expires: entry.expires.as_deref().map(|text| time("expires", text)).transpose()?,
        suspended,
        ..Registration::of(mac("mac", &entry.mac)?, registered.unwrap_or(Timestamp::FOREVER))
    })
}

pub(super) fn bad_field(detail: impl Into<String>) -> Problem {
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

/// The code of a voucher, as somebody typed it.
fn voucher(text: &str) -> Result<VoucherHash, Problem> {
    VoucherCode::read(text).map(|code| code.hash()).map_err(|Mistyped| {
        Problem::new(
            ProblemKind::VoucherMistyped,
            "`voucher` is no code of a voucher: a character is missing, too much or mistyped",
        )
    })
}

fn mac(field: &str, text: &str) -> Result<HardwareAddress, Problem> {
    let mac: HardwareAddress =
        text.parse().map_err(|_| bad_field(format!("`{field}` is not {WANT_MAC}")))?;
    if mac.is_zero() || mac.is_group() {
        return Err(bad_field(format!(
            "`{field}` is all zeros or that of a multicast group, which is no device's address"
        )));
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
pub(super) fn text(
    field: &str,
    text: Option<String>,
    length_max: usize,
) -> Result<Option<Box<str>>, Problem> {
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

pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, Problem> {
    json::parse_time(text).ok_or_else(|| {
        bad_field(format!("`{field}` is not a time of RFC 3339, such as 2027-02-28T22:00:00Z"))
    })
}
