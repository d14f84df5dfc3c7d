//! `/v1/vouchers`: codes that let devices in. Made here, shown once, and known by their hash from then on.
//!
//! It promises that a code leaves in the answer to the call that made it, and nowhere else: not in a log,
//! not in a list, not on a disk.

use super::problem::{Problem, ProblemKind};
use super::refusal::{no_voucher, refused};
use super::registrations::{bad_field, text, time};
use super::voucher_view::{
    NewVoucherView, VoucherRevokedView, VoucherView, VouchersMadeView, VouchersPage,
};
use super::{ApiState, answer_mismatch, body, json, parameters};
use crate::voucher_code::VoucherCode;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use vestibule_core::limits::{
    NOTE_LENGTH_MAX, ROLE_LENGTH_MAX, VOUCHER_USES_MAX, VOUCHERS_PER_COMMAND_MAX,
};
use vestibule_core::{
    Answer, Command, Query, QueryAnswer, Timestamp, Voucher, VoucherHash, VoucherId,
};

/// The shortest time for which a voucher can let a device in, in seconds.
const LIFETIME_SECONDS_MIN: u32 = 60;

/// How a voucher's id is written.
const WANT_ID: &str = "a voucher's id: sixteen hexadecimal digits, as GET /v1/vouchers shows them";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct VouchersBody {
    count: Option<usize>,
    role: Option<String>,
    note: Option<String>,
    lifetime_seconds: Option<u32>,
    uses: Option<u16>,
    expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RevokeQuery {
    end_registrations: Option<String>,
}

/// `POST /v1/vouchers`
pub(super) async fn create(State(state): State<ApiState>, body: Body) -> Result<Response, Problem> {
    let body: VouchersBody = body::json(&state, body).await?;
    let count = body.count.unwrap_or(1);
    if !(1..=VOUCHERS_PER_COMMAND_MAX).contains(&count) {
        return Err(bad_field(format!(
            "`count` is {count}, which is not between 1 and {VOUCHERS_PER_COMMAND_MAX}; for more, call again"
        )));
    }
    let uses_max = body.uses.unwrap_or(1);
    if !(1..=VOUCHER_USES_MAX).contains(&uses_max) {
        return Err(bad_field(format!(
            "`uses` is {uses_max}, which is not between 1 and {VOUCHER_USES_MAX}"
        )));
    }
    let lifetime_seconds = body.lifetime_seconds;
    if lifetime_seconds.is_some_and(|seconds| seconds < LIFETIME_SECONDS_MIN) {
        return Err(bad_field(format!("`lifetime-seconds` is below {LIFETIME_SECONDS_MIN}")));
    }
    let expires = body.expires.as_deref().map(|text| time("expires", text)).transpose()?;
    let template = Voucher {
        hash: VoucherHash::new([0; 32]),
        role: text("role", body.role, ROLE_LENGTH_MAX)?,
        note: text("note", body.note, NOTE_LENGTH_MAX)?,
        lifetime_seconds,
        uses_max,
        created: Timestamp::ZERO,
        expires: expires.unwrap_or(Timestamp::FOREVER),
        uses: Vec::new(),
    };
    let (mut codes, mut vouchers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let code = VoucherCode::new().map_err(|_| {
            Problem::new(ProblemKind::Internal, "the kernel gives no randomness for the codes")
        })?;
        vouchers.push(Voucher { hash: code.hash(), ..template.clone() });
        codes.push(code);
    }
    match state.command(Command::CreateVouchers(vouchers)).await? {
        Answer::VouchersCreated { vouchers, .. } => {
            tracing::info!(count = vouchers.len(), "vouchers made");
            let of = |voucher: &Voucher| codes.iter().find(|code| code.hash() == voucher.hash);
            let made = vouchers.iter().filter_map(|voucher| {
                let code = of(voucher)?.text();
                Some(NewVoucherView { code, voucher: VoucherView::new(voucher) })
            });
            let view = VouchersMadeView { vouchers: made.collect() };
            Ok(json::response(StatusCode::CREATED, &view))
        }
        refusal => Err(refused(&refusal)),
    }
}

/// `GET /v1/vouchers`
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query: ListQuery = parameters::query(&uri)?;
    let after: Option<VoucherId> = parameters::value("after", query.after.as_deref(), WANT_ID)?;
    let after = after.map(|id| id.hashes().1);
    let limit = parameters::limit(query.limit.as_deref())?;
    match state.query(Query::Vouchers { after, limit }).await? {
        QueryAnswer::Vouchers { vouchers, next } => {
            let vouchers = vouchers.iter().map(VoucherView::new).collect();
            let page = VouchersPage { vouchers, next: next.map(|next| next.id()) };
            Ok(json::response(StatusCode::OK, &page))
        }
        _ => Err(answer_mismatch()),
    }
}

/// `GET /v1/vouchers/{id}`
pub(super) async fn read(
    State(state): State<ApiState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = path_id(id)?;
    match state.query(Query::Voucher(id)).await? {
        QueryAnswer::Voucher(Some(voucher)) => {
            Ok(json::response(StatusCode::OK, &VoucherView::with_devices(&voucher)))
        }
        QueryAnswer::Voucher(None) => Err(no_voucher(id)),
        _ => Err(answer_mismatch()),
    }
}

/// `DELETE /v1/vouchers/{id}`
pub(super) async fn revoke(
    State(state): State<ApiState>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = path_id(id)?;
    let query: RevokeQuery = parameters::query(&uri)?;
    let want = "true or false";
    let ends: Option<bool> =
        parameters::value("end-registrations", query.end_registrations.as_deref(), want)?;
    let command = Command::RevokeVoucher { id, end_registrations: ends.unwrap_or(false) };
    match state.command(command).await? {
        Answer::VoucherRevoked { voucher, ended } => {
            tracing::info!(%id, registrations_ended = ended.len(), "voucher revoked");
            let voucher = VoucherView::new(&voucher);
            Ok(json::response(StatusCode::OK, &VoucherRevokedView { voucher, ended }))
        }
        refusal => Err(refused(&refusal)),
    }
}

fn path_id(id: Result<Path<String>, PathRejection>) -> Result<VoucherId, Problem> {
    parameters::last_part(id)?
        .parse()
        .map_err(|_| parameters::bad(format!("the last part of the path is not {WANT_ID}")))
}
