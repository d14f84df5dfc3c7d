//! `/v1/failover`: the pair that this server is half of, and the operator's word that the partner is down.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, answer_mismatch, json};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vestibule_core::failover::{FailoverStatus, PairNetworkStatus, Role};
use vestibule_core::{Answer, Command, Query, QueryAnswer, Timestamp};

/// The pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailoverView {
    /// What the pair is called on both servers.
    pub name: String,
    /// `primary` or `secondary`.
    pub role: String,
    /// This server's state; `startup` while it is starting.
    pub state: String,
    /// When it began.
    pub since: Option<String>,
    /// What the partner last said that its state is; `unknown` if it never did.
    pub partner_state: String,
    /// When it began to say so, by this server's clock; `null` if it never did.
    pub partner_since: Option<String>,
    /// Whether the partner is heard.
    pub connected: bool,
    /// By how many seconds this server's clock was ahead of the partner's when they met; `null` if they have
    /// not since this server started.
    pub clock_ahead_seconds: Option<i64>,
    /// The maximum client lead time.
    pub mclt_seconds: u32,
    /// How many of 256 buckets of clients this server answers; `null` if it has not met its primary.
    pub buckets: Option<u32>,
    /// Updates on their way to the partner.
    pub updates_unacknowledged: u64,
    /// Addresses of which the partner is still to be told.
    pub updates_waiting: u64,
    /// By network, in the order of the configuration.
    pub networks: Vec<PairNetworkView>,
}

/// The addresses of one network's pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PairNetworkView {
    /// Its name.
    pub name: String,
    /// Free, the primary's to give.
    pub free: u64,
    /// Free, the secondary's to give.
    pub backup: u64,
    /// Held, or not yet agreed to be free.
    pub other: u64,
}

impl FailoverView {
    fn new(status: &FailoverStatus) -> Self {
        let time = |seconds: u32| {
            (seconds > 0)
                .then(|| json::time_text(Timestamp::from_seconds(seconds.into())))
                .flatten()
        };
        Self {
            name: status.relationship.to_string(),
            role: match status.role {
                Role::Primary => "primary".to_owned(),
                Role::Secondary => "secondary".to_owned(),
            },
            state: if status.is_starting {
                vestibule_core::failover::State::Startup.to_string()
            } else {
                status.state.to_string()
            },
            since: time(status.since),
            partner_state: status.partner.to_string(),
            partner_since: time(status.partner_since),
            connected: status.is_connected,
            clock_ahead_seconds: status.clock_ahead_seconds,
            mclt_seconds: status.mclt_seconds,
            buckets: status.buckets,
            updates_unacknowledged: status.updates_unacknowledged,
            updates_waiting: status.updates_waiting,
            networks: status.networks.iter().map(PairNetworkView::new).collect(),
        }
    }
}

impl PairNetworkView {
    fn new(status: &PairNetworkStatus) -> Self {
        let PairNetworkStatus { name, free, backup, other } = status;
        Self { name: name.to_string(), free: *free, backup: *backup, other: *other }
    }
}

/// `GET /v1/failover`
pub(super) async fn failover(State(state): State<ApiState>) -> Result<Response, Problem> {
    match pair(&state).await? {
        Some(status) => Ok(json::response(StatusCode::OK, &FailoverView::new(&status))),
        None => Err(not_paired()),
    }
}

/// `POST /v1/failover/partner-down`
pub(super) async fn partner_down(State(state): State<ApiState>) -> Result<Response, Problem> {
    match state.command(Command::PartnerDown).await? {
        Answer::PartnerIsDown => {
            tracing::warn!(
                "an operator says that the failover partner is down: this server serves alone"
            );
            failover(State(state)).await
        }
        Answer::PartnerIsConnected => Err(Problem::new(
            ProblemKind::PartnerConnected,
            "the partner is heard, so it is not down; stop it first if this server is to serve alone",
        )),
        Answer::NotPaired => Err(not_paired()),
        _ => Err(answer_mismatch()),
    }
}

/// The pair as the core sees it; `None`: this server is alone.
pub(super) async fn pair(state: &ApiState) -> Result<Option<Box<FailoverStatus>>, Problem> {
    match state.query(Query::Failover).await? {
        QueryAnswer::Failover(status) => Ok(status),
        _ => Err(answer_mismatch()),
    }
}

fn not_paired() -> Problem {
    Problem::new(
        ProblemKind::NoFailoverPartner,
        "the configuration has no [failover]: this server serves its networks alone",
    )
}
