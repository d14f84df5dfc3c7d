//! `POST /v1/reload`: another configuration, taken or only compared.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, json};
use crate::reload::{ReloadError, Reloaded};
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ReloadRequest {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadView {
    /// Whether it was done.
    pub applied: bool,
    /// What changes, in an operator's words.
    pub changes: Vec<String>,
    /// Held leases that are not renewed any more.
    pub stranded: usize,
}

/// `POST /v1/reload`
pub(super) async fn reload(State(state): State<ApiState>, body: Body) -> Result<Response, Problem> {
    let request: ReloadRequest =
        super::body::json_or_nothing(&state, body).await?.unwrap_or_default();
    let Some(reload) = state.reload() else {
        let detail = "this server was not started from a file; nothing was changed";
        return Err(Problem::new(ProblemKind::NeedsRestart, detail));
    };
    match reload.run(request.dry_run).await {
        Ok(Reloaded { changes, stranded }) => {
            if !request.dry_run {
                tracing::info!(changes = changes.len(), stranded, "the configuration is reloaded");
            }
            let view = ReloadView { applied: !request.dry_run, changes, stranded };
            Ok(json::response(StatusCode::OK, &view))
        }
        Err(error) => {
            let kind = match &error {
                ReloadError::Configuration(_) => ProblemKind::BadConfiguration,
                ReloadError::NeedsRestart(_) | ReloadError::Paired => ProblemKind::NeedsRestart,
                ReloadError::Door(error) => return Err((*error).into()),
                ReloadError::Mismatch => ProblemKind::Internal,
            };
            Err(Problem::new(kind, error.to_string()))
        }
    }
}
