//! `/v1/webhooks`: how each webhook goes, and a try whether its receiver takes a delivery.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, json, parameters};
use crate::webhook::WebhookStatus;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

/// All webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksView {
    /// In the order of the configuration.
    pub webhooks: Vec<WebhookStatus>,
}

/// `GET /v1/webhooks`
pub(super) async fn list(State(state): State<ApiState>) -> Response {
    json::response(StatusCode::OK, &WebhooksView { webhooks: state.shared.webhooks.statuses() })
}

/// `POST /v1/webhooks/{name}/test`
pub(super) async fn test(
    State(state): State<ApiState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = parameters::last_part(name)?;
    match state.shared.webhooks.test(&name).await {
        Some(result) => Ok(json::response(StatusCode::OK, &result)),
        None => Err(Problem::new(
            ProblemKind::UnknownWebhook,
            "the configuration has no [[webhook]] of this name; GET /v1/webhooks lists them",
        )),
    }
}
