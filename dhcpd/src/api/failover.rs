//! `/v1/failover`: the pair that this server is half of, and the operator's word that the partner is down.

use super::problem::{Problem, ProblemKind};
use super::{ApiState, answer_mismatch, body, json};
use crate::exchange::ExchangeCounts;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vestibule_core::failover::{FailoverStatus, PairNetworkStatus, PoolMismatch, Role};
use vestibule_core::{AddressRange, Answer, Command, Query, QueryAnswer, Timestamp};

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
    /// By how many seconds this server's clock is ahead of the partner's, also if the handshake failed;
    /// `null` if they have not spoken since this server started.
    pub clock_ahead_seconds: Option<i64>,
    /// Why the last handshake failed, and what to do; `null` if it did not.
    pub trouble: Option<String>,
    /// The maximum client lead time.
    pub mclt_seconds: u32,
    /// How many of 256 buckets of clients this server answers; `null` if it has not met its primary.
    pub buckets: Option<u32>,
    /// Updates on their way to the partner.
    pub updates_unacknowledged: u64,
    /// Addresses of which the partner is still to be told.
    pub updates_waiting: u64,
    /// Updates that the partner has refused since the server started.
    pub updates_refused_by_partner: u64,
    /// Updates of the partner's that were refused since the server started.
    pub updates_refused: u64,
    /// Addresses of which the partner does not take what is so; they are offered to it again.
    pub addresses_refused: u64,
    /// Addresses that are in the pools of one half only, as far as the two have spoken of them.
    pub pool_mismatch: PoolMismatchView,
    /// By network, in the order of the configuration.
    pub networks: Vec<PairNetworkView>,
    /// How registrations and vouchers are exchanged with the partner; `null`: they are not.
    #[serde(default)]
    pub registrations: Option<ExchangeView>,
}

/// How registrations and vouchers are heard from the partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExchangeView {
    /// Where the partner's API is.
    pub url: String,
    /// Whether its stream is followed now.
    pub connected: bool,
    /// What it calls itself; `null` if it was not heard since this server started.
    pub server: Option<String>,
    /// What was taken over last; `null` if nothing was.
    pub cursor: Option<String>,
    /// Changes that it has told of and that are still to be taken over, or fewer.
    pub behind: u64,
    /// Seconds since this server last held all that it had told of; `null` if it never did.
    pub lag_seconds: Option<u64>,
    /// Changes that were taken over since this server started.
    pub taken: u64,
    /// Changes that a limit kept out.
    pub refused: u64,
    /// Why the stream is not followed; `null` if it is.
    pub error: Option<String>,
}

impl ExchangeView {
    fn new(counts: &ExchangeCounts) -> Option<Self> {
        let state = counts.state()?;
        Some(Self {
            behind: state.behind(),
            lag_seconds: state.lag().map(|lag| lag.as_secs()),
            url: state.url.into(),
            connected: state.is_connected,
            server: state.server.map(Into::into),
            cursor: state.cursor.map(|cursor| cursor.to_string()),
            taken: counts.taken(),
            refused: counts.refused(),
            error: state.error,
        })
    }
}

/// Addresses that are in the pools of one half only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolMismatchView {
    /// In pools here and in none of the partner's: ranges, the lowest first, 16 at most.
    pub only_here: Vec<String>,
    /// How many those are; 4096 at most are counted.
    pub only_here_count: u64,
    /// In pools of the partner's and in none here.
    pub only_there: Vec<String>,
    /// How many those are.
    pub only_there_count: u64,
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
    fn new(status: &FailoverStatus, exchange: &ExchangeCounts) -> Self {
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
            trouble: status.trouble.map(|trouble| trouble.to_string()),
            mclt_seconds: status.mclt_seconds,
            buckets: status.buckets,
            updates_unacknowledged: status.updates_unacknowledged,
            updates_waiting: status.updates_waiting,
            updates_refused_by_partner: status.updates_refused_by_partner,
            updates_refused: status.updates_refused,
            addresses_refused: status.addresses_refused,
            pool_mismatch: PoolMismatchView::new(&status.mismatch),
            networks: status.networks.iter().map(PairNetworkView::new).collect(),
            registrations: ExchangeView::new(exchange),
        }
    }
}

impl PoolMismatchView {
    fn new(mismatch: &PoolMismatch) -> Self {
        let texts = |ranges: &[AddressRange]| {
            let text = |range: &AddressRange| format!("{}-{}", range.first, range.last);
            ranges.iter().map(text).collect()
        };
        Self {
            only_here: texts(&mismatch.only_here),
            only_here_count: mismatch.only_here_count,
            only_there: texts(&mismatch.only_there),
            only_there_count: mismatch.only_there_count,
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
        Some(status) => {
            let view = FailoverView::new(&status, &state.shared.metrics.exchange());
            Ok(json::response(StatusCode::OK, &view))
        }
        None => Err(not_paired()),
    }
}

/// The body of `POST /v1/failover/partner-down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct PartnerDown {
    /// The operator knows that this server has lost its leases, and what follows from that.
    leases_lost: bool,
}

/// `POST /v1/failover/partner-down`
pub(super) async fn partner_down(
    State(state): State<ApiState>,
    body: Body,
) -> Result<Response, Problem> {
    let said: Option<PartnerDown> = body::json_or_nothing(&state, body).await?;
    let PartnerDown { leases_lost } = said.unwrap_or_default();
    match state.command(Command::PartnerDown { leases_lost }).await? {
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
        Answer::LeasesNotKnown => Err(Problem::new(
            ProblemKind::LeasesNotKnown,
            "this server has not got its leases back from its partner, so alone it would give addresses that are held to others: let it \
             hear the partner first, or wait until the longest lease has run out; if nobody has a lease, or if there is no other way, say \
             \"leases-lost\": true (vestibule failover partner-down --leases-lost)",
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
