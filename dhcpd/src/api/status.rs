//! `/v1/status`, `/healthz` and `/metrics`: how the server is, for people, for a supervisor and for
//! a monitoring system.

use super::problem::Problem;
use super::view::{GateView, NetworkView, SocketView, StatusView, StorageView};
use super::{ApiState, answer_mismatch, failover, json};
use crate::metrics::{CONTENT_TYPE, Metrics, Occurrences};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vestibule_config::GateMode;
use vestibule_core::failover::{FailoverStatus, Role, State as PairState};
use vestibule_core::{CoreStatus, Query, QueryAnswer, Timestamp};

/// For how long something that went wrong keeps the server from being called well.
const RECENT: Duration = Duration::from_secs(300);

/// `GET /v1/status`
pub(super) async fn status(State(state): State<ApiState>) -> Result<Response, Problem> {
    let core = core_status(&state, super::QUERY_TIME_MAX).await?;
    let pair = failover::pair(&state).await?;
    Ok(json::response(StatusCode::OK, &view(&state, &core, pair.as_deref())))
}

/// `GET /healthz`
pub(super) async fn healthz(State(state): State<ApiState>) -> Result<Response, Problem> {
    // An address that nobody can hold: the cheapest question there is.
    let question = Query::Lease(std::net::Ipv4Addr::UNSPECIFIED);
    state.query_within(question, state.shared.timeouts.health).await?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "ok\n")
        .into_response())
}

/// `GET /metrics`
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    let text = taken(&state).await.exposition;
    (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

/// How the server is at one moment.
pub(super) struct Taken {
    /// What `/v1/status` answers; `None`: the core did not answer in time.
    pub(super) status: Option<StatusView>,
    /// What `/metrics` answers: a sick core is when the other numbers are wanted most.
    pub(super) exposition: String,
}

/// Asks the core once for both.
pub(super) async fn taken(state: &ApiState) -> Taken {
    let metrics = &state.shared.metrics;
    if let Some(history) = state.shared.history.get() {
        metrics.history().look(&history.health());
    }
    let Ok(core) = core_status(state, state.shared.timeouts.health).await else {
        return Taken { status: None, exposition: metrics.encode_without_core() };
    };
    let pair = failover::pair(state).await.ok().flatten();
    let exposition = match &pair {
        Some(pair) => metrics.encode_with_pair(&core, pair),
        None => metrics.encode(&core),
    };
    Taken { status: Some(view(state, &core, pair.as_deref())), exposition }
}

pub(super) async fn core_status(
    state: &ApiState,
    time_max: Duration,
) -> Result<CoreStatus, Problem> {
    match state.query_within(Query::Status, time_max).await? {
        QueryAnswer::Status(core) => Ok(core),
        _ => Err(answer_mismatch()),
    }
}

fn view(state: &ApiState, core: &CoreStatus, pair: Option<&FailoverStatus>) -> StatusView {
    let shared = &state.shared;
    let metrics = &shared.metrics;
    let (groups_committed, records_committed) = metrics.groups_and_records_committed();
    let mut not_well = not_well(metrics, shared.gate_mode, core);
    if let Some(pair) = pair {
        not_well.extend(not_well_of_pair(pair));
        let exchange = metrics.exchange().state().filter(|exchange| !exchange.is_connected);
        not_well.extend(exchange.map(|exchange| {
            let error = exchange.error.unwrap_or_else(|| "it is being asked".to_owned());
            format!("registrations are not heard from the failover partner: {error}")
        }));
    }
    StatusView {
        server: shared.server_name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: json::time_text(timestamp(shared.started)),
        uptime_seconds: shared.started_monotonic.elapsed().as_secs(),
        everything_well: not_well.is_empty(),
        not_well,
        networks: core.networks.iter().map(NetworkView::new).collect(),
        leases_known: core.leases_known,
        registrations: core.registrations,
        offers: core.offers,
        gate: GateView {
            mode: shared.gate_mode.to_string(),
            followers: metrics.feed().followers.load(Relaxed),
            failures: metrics.gate_failure_occurrences().count,
            reconciles: metrics.gate_reconciles_count(),
        },
        storage: StorageView {
            groups_committed,
            records_committed,
            index_rebuilds: metrics.index_rebuilds_count(),
        },
        sockets: metrics
            .sockets()
            .into_iter()
            .map(|socket| SocketView {
                name: socket.name.into(),
                receive_buffer_bytes: socket.receive_buffer_bytes,
                kernel_drops: socket.kernel_drops,
            })
            .collect(),
        kernel_drops: metrics.kernel_drop_occurrences().count,
        send_errors: metrics.send_error_occurrences().count,
    }
}

/// What somebody should look at, with where to look.
fn not_well(metrics: &Metrics, gate_mode: GateMode, core: &CoreStatus) -> Vec<String> {
    let mut not_well = Vec::new();
    for network in &core.networks {
        if network.pool_size > 0 && network.free == 0 {
            not_well.push(format!(
                "network {} has no free address: new hosts there get none",
                network.name
            ));
        }
    }
    if let Some(until) = core.hold_off_until {
        let until = json::time_text(until);
        not_well.push(format!(
            "part of the journal was lost: until {} addresses whose holder is unknown go to nobody; hosts that renew \
             keep theirs, new ones get none",
            until.as_deref().unwrap_or("all lost leases have ended")
        ));
    }
    if let Some(ago) = recent(metrics.kernel_drop_occurrences()) {
        not_well.push(format!(
            "{ago} ago the kernel dropped packets because a receive buffer was full: see \
             vestibule_socket_kernel_drops"
        ));
    }
    if let Some(ago) = recent(metrics.send_error_occurrences()) {
        not_well.push(format!(
            "{ago} ago the kernel refused to send a reply: vestibule_send_errors says why"
        ));
    }
    if metrics.journal_spare_failed() {
        not_well.push(
            "no further journal segment can be prepared: make room in the state directory, or the server ends \
             when this one is full"
                .to_owned(),
        );
    }
    if metrics.is_index_out() {
        not_well.push(
            "there is no index: searches look through all leases; the log says why".to_owned(),
        );
    }
    if gate_mode == GateMode::Feed && metrics.feed().followers.load(Relaxed) == 0 {
        not_well.push(
            "gate.mode is \"feed\" and nobody follows: what changes now is enforced nowhere"
                .to_owned(),
        );
    }
    if let Some(ago) = recent(metrics.gate_failure_occurrences()) {
        not_well.push(format!("{ago} ago the kernel sets could not be changed: the log says why"));
    }
    not_well
}

/// The same of the failover pair.
fn not_well_of_pair(pair: &FailoverStatus) -> Vec<String> {
    let mut not_well = Vec::new();
    let state = if pair.is_starting { PairState::Startup } else { pair.state };
    if !pair.is_connected {
        let trouble = pair.trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        not_well.push(format!(
            "the failover partner is not heard{trouble}, and this server is in {state}: see vestibule failover status"
        ));
    } else if state != PairState::Normal {
        not_well.push(format!(
            "the failover pair is not in normal: this server is in {state}, its partner in {}",
            pair.partner
        ));
    }
    let (here, there) = (pair.mismatch.only_here_count, pair.mismatch.only_there_count);
    if here + there > 0 {
        not_well.push(format!(
            "the pools of the failover pair differ: {here} addresses are in pools here only, {there} in its partner's \
             only: see vestibule failover status"
        ));
    }
    for network in &pair.networks {
        let (own, partners) = match pair.role {
            Role::Primary => (network.free, network.backup),
            Role::Secondary => (network.backup, network.free),
        };
        if own == 0 && partners > 0 {
            not_well.push(format!(
                "network {} has no free address that is this server's, and {partners} that are its failover partner's: \
                 without the partner new hosts there get none",
                network.name
            ));
        }
    }
    not_well
}

/// How long ago, in words, if it is recent.
fn recent(occurrences: Occurrences) -> Option<String> {
    let seconds = occurrences.last.filter(|ago| *ago < RECENT)?.as_secs();
    Some(format!("{seconds} s"))
}

pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_core::failover::{
        CloseReason, PairNetworkStatus, PartnerState, PoolMismatch, Reject,
    };

    #[test]
    fn a_pair_that_is_not_well_is_called_so() {
        let network = PairNetworkStatus { name: "halls".into(), free: 5, backup: 6, other: 7 };
        let well = FailoverStatus {
            role: Role::Secondary,
            relationship: "pair".into(),
            state: PairState::Normal,
            is_starting: false,
            since: 1,
            partner: PartnerState::Known(PairState::Normal),
            partner_since: 1,
            is_connected: true,
            clock_ahead_seconds: Some(0),
            trouble: None,
            mclt_seconds: 1800,
            buckets: Some(128),
            updates_unacknowledged: 0,
            updates_waiting: 0,
            updates_refused_by_partner: 0,
            updates_refused: 0,
            addresses_refused: 0,
            mismatch: PoolMismatch::default(),
            networks: vec![network.clone()],
        };
        assert!(not_well_of_pair(&well).is_empty());
        let alone = FailoverStatus {
            state: PairState::CommunicationsInterrupted,
            is_connected: false,
            ..well.clone()
        };
        let starved = FailoverStatus {
            networks: vec![PairNetworkStatus { backup: 0, ..network }],
            ..well.clone()
        };
        let refused = FailoverStatus {
            trouble: Some(CloseReason::RefusedByPartner(Reject::TimeMismatch)),
            ..alone.clone()
        };
        let differs = FailoverStatus {
            mismatch: PoolMismatch { only_here_count: 3, ..PoolMismatch::default() },
            ..well.clone()
        };
        let starting = FailoverStatus { is_starting: true, ..well };
        for (pair, says) in [
            (
                alone,
                "the failover partner is not heard, and this server is in communications-interrupted",
            ),
            (refused, "is not heard (refused by the partner: the clocks are more than 60 s apart"),
            (differs, "3 addresses are in pools here only, 0 in its partner's only"),
            (starved, "network halls has no free address that is this server's"),
            (starting, "this server is in startup, its partner in normal"),
        ] {
            let not_well = not_well_of_pair(&pair);
            assert_eq!(not_well.len(), 1, "{not_well:?}");
            assert!(not_well.concat().contains(says), "{not_well:?}");
        }
    }
}
