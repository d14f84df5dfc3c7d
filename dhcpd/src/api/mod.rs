//! The HTTP API: registrations, leases, who is asking, status, metrics. `docs/api.md` describes it.
//!
//! It promises that a change is answered only when it is durable and in the kernel, that an error
//! changed nothing (but see [`ProblemKind::NoAnswer`]), that every error is a problem (RFC 9457) of a
//! documented kind, and that slow, silent or many clients cost a bounded amount of memory and time.
//! It never decides anything: it asks the core through the [`Door`]. It never writes a token
//! anywhere, and believes a header about who is asking only for `/captive`, and only a proxy that the
//! configuration names.
//!
//! | file | idea |
//! | --- | --- |
//! | `listener` | where it listens: TCP, or a Unix socket |
//! | `serve`, `stream` | connections, and for how long |
//! | `places` | how many connections, and whose |
//! | `certificate` | TLS for `captive.listen` and `api.tls-listen` |
//! | `auth`, `access` | bearer tokens, and what their scopes may ask |
//! | `registrations`, `leases`, `whoami`, `status` | the resources |
//! | `history` | who held which address, and when |
//! | `trace` | what was decided about a client |
//! | `gate` | the gate feed, for those who enforce it elsewhere |
//! | `captive`, `forwarded` | the captive portal API (RFC 8908), and for whom a proxy asks it |
//! | `idempotency` | requests that were answered before |
//! | `refusal` | what the core refuses, as problems |
//! | `failover`, `exchange` | the pair that this server is half of, and what it is told of registrations |
//! | `events`, `webhooks` | what happened, and how it is brought to others |
//! | `chunks` | answers without an end, server-sent events |
//! | `dashboard` | the page for people, and the pictures that it draws |
//! | `vouchers` | codes that let devices in |
//! | `view`, `voucher_view` | their JSON |
//! | `problem` | everything that can go wrong |
//! | `json` | JSON that is safe to show, and times |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod access;
mod auth;
mod body;
mod captive;
mod certificate;
mod chunks;
mod dashboard;
mod events;
mod exchange;
mod failover;
mod forwarded;
mod gate;
mod history;
mod idempotency;
mod json;
mod leases;
mod listener;
mod parameters;
mod places;
mod problem;
mod refusal;
mod registrations;
mod reload;
mod serve;
mod status;
mod stream;
mod trace;
mod view;
mod voucher_view;
mod vouchers;
mod webhooks;
mod whoami;

use crate::decide::Quiet;
use crate::door::{Door, DoorError};
use crate::events::Events;
use crate::history::History;
use crate::metrics::Metrics;
use crate::portal::PortalPage;
use crate::reload::Reload;
use crate::webhook::Webhooks;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use idempotency::Answered;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;
use vestibule_config::{Credential, GateMode};
use vestibule_core::{Answer, Command, HardwareAddress, Query, QueryAnswer};

pub use access::{Access, ROUTES};
pub use captive::CaptivePortal;
pub(crate) use certificate::LOOK_INTERVAL as CERTIFICATE_LOOK_INTERVAL;
pub use certificate::{Certificate, CertificateError};
pub use dashboard::{PICTURE_AGE_MAX, PICTURE_INTERVAL, WATCHERS_MAX};
pub use events::{HEARTBEAT_INTERVAL, SUBSCRIBERS_MAX};
pub use exchange::ExchangeFeed;
pub use failover::{ExchangeView, FailoverView, PairNetworkView, PoolMismatchView};
pub use gate::GateFeed;
pub use history::{HISTORY_QUESTIONS_MAX, HistoryPage, HoldingView, OwnershipView, holding_view};
pub use idempotency::{KEY_LENGTH_MAX, KEY_LIFETIME, KEYS_KEPT_MAX};
pub(crate) use json::text as json_text;
pub use json::{is_active, parse_time, time_text};
pub(crate) use leases::circuit_bytes;
pub(crate) use listener::UnixSocket;
pub use listener::{ListenError, Listener, reachable};
pub use places::{
    CAPTIVE_CONNECTIONS_MAX, CAPTIVE_CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_KEPT_FOR_THIS_HOST,
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, PORTAL_CONNECTIONS_MAX,
    PORTAL_CONNECTIONS_PER_ADDRESS_MAX,
};
pub use problem::{Problem, ProblemKind};
pub(crate) use refusal::refused;
pub(crate) use registrations::imported;
pub use reload::ReloadView;
pub(crate) use serve::Peer;
pub use serve::{
    Timeouts, serve, serve_captive_until_stopped, serve_portal_until_stopped, serve_until_stopped,
    serve_with_tls_until_stopped,
};
pub use trace::{MomentView, TraceView};
pub use view::{
    DeviceView, GateView, ImportView, LeaseView, LeasesPage, NetworkView, PortableRegistration,
    RegistrationView, RegistrationWithAddresses, RegistrationsPage, SocketView, StatusView,
    StorageView, UnregisteredView, WhoamiView,
};
pub use voucher_view::{
    NewVoucherView, VoucherRevokedView, VoucherUseView, VoucherView, VouchersMadeView, VouchersPage,
};
pub use webhooks::WebhooksView;

/// Bytes of a request's body at most.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Entries of one page at most.
pub const PAGE_ENTRIES_MAX: usize = vestibule_core::limits::QUERY_LEASES_MAX;

/// Entries of one page if the caller does not say how many.
pub const PAGE_ENTRIES_DEFAULT: usize = 100;

/// How long the core may take to carry out a command before the caller is told that nobody knows.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the core may take to answer a question.
const QUERY_TIME_MAX: Duration = Duration::from_secs(10);

/// What a search in the index looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// Leases of this hardware address.
    Hardware(HardwareAddress),
    /// Leases whose client calls itself so; ASCII letters match in either case.
    HostName(Box<str>),
    /// Leases whose last request came with this circuit ID (RFC 3046), byte for byte.
    Circuit(Box<[u8]>),
}

/// The index behind the lease book, as far as the API needs it.
///
/// What it says is only a hint: each hit is looked up in the core. It is called on a thread that may
/// wait for a disk.
pub trait Search: Send + Sync {
    /// Addresses whose newest lease may match, at most `limit`, in any order. `None` if it cannot say,
    /// or if leases that the core has already committed may be missing: then the API looks through all
    /// leases, so that its answer is right, if slow.
    fn search(&self, key: SearchKey, limit: usize) -> Option<Vec<Ipv4Addr>>;
}

/// What the API works with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    shared: Arc<Shared>,
    captive: Arc<CaptivePortal>,
}

struct Shared {
    door: Door,
    metrics: Arc<Metrics>,
    tokens: Vec<Credential>,
    server_name: Box<str>,
    gate_mode: GateMode,
    started: SystemTime,
    started_monotonic: Instant,
    search: Option<Arc<dyn Search>>,
    events: Option<Events>,
    subscribers: Arc<Semaphore>,
    dashboard: dashboard::Dashboard,
    webhooks: Webhooks,
    timeouts: Timeouts,
    gate_feed: OnceLock<GateFeed>,
    history: OnceLock<Arc<History>>,
    asking_history: Arc<Semaphore>,
    exchange_feed: OnceLock<ExchangeFeed>,
    reload: OnceLock<Arc<Reload>>,
    /// Who was told in the log to have been refused.
    refused: Mutex<Quiet>,
    answered: Answered,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("server_name", &self.shared.server_name)
            .finish_non_exhaustive()
    }
}

impl ApiState {
    /// The state of an API whose server started just now.
    ///
    /// `tokens`: what callers have to show, each with what it lets in to. `search`: the index; without it, searches look through
    /// all leases.
    #[must_use]
    pub fn new(
        door: Door,
        metrics: Arc<Metrics>,
        tokens: Vec<Credential>,
        server_name: &str,
        gate_mode: GateMode,
        search: Option<Arc<dyn Search>>,
    ) -> Self {
        Self::with_timeouts(
            door,
            metrics,
            tokens,
            server_name,
            gate_mode,
            search,
            Timeouts::default(),
        )
    }

    /// As [`ApiState::new`], with other time limits for slow clients.
    #[must_use]
    pub fn with_timeouts(
        door: Door,
        metrics: Arc<Metrics>,
        tokens: Vec<Credential>,
        server_name: &str,
        gate_mode: GateMode,
        search: Option<Arc<dyn Search>>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                door,
                metrics,
                tokens,
                server_name: server_name.into(),
                gate_mode,
                started: SystemTime::now(),
                started_monotonic: Instant::now(),
                search,
                events: None,
                subscribers: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
                dashboard: dashboard::Dashboard::default(),
                webhooks: Webhooks::default(),
                timeouts,
                gate_feed: OnceLock::new(),
                history: OnceLock::new(),
                asking_history: Arc::new(Semaphore::new(HISTORY_QUESTIONS_MAX)),
                exchange_feed: OnceLock::new(),
                reload: OnceLock::new(),
                refused: Mutex::default(),
                answered: Answered::default(),
            }),
            captive: Arc::new(CaptivePortal::default()),
        }
    }

    /// With what `/captive` tells devices. Without it, it only tells callers that have a lease whether
    /// they are captive.
    #[must_use]
    pub fn with_captive(self, captive: CaptivePortal) -> Self {
        Self { captive: Arc::new(captive), ..self }
    }

    /// With the events that it tells, and the webhooks that bring them. To be called before the state is
    /// cloned; afterwards it does nothing.
    #[must_use]
    pub fn with_events(mut self, events: Events, webhooks: Webhooks) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.events = Some(events);
            shared.webhooks = webhooks;
        }
        self
    }

    fn events(&self) -> Result<&Events, Problem> {
        self.shared
            .events
            .as_ref()
            .ok_or_else(|| Problem::new(ProblemKind::Internal, "this server tells no events"))
    }

    /// With a feed of the gate for those who enforce it elsewhere. Without it, or if the gate is off, there is none.
    #[must_use]
    pub fn with_gate_feed(self, gate_feed: GateFeed) -> Self {
        // Given once; a second one would have no followers.
        let _given = self.shared.gate_feed.set(gate_feed);
        self
    }

    /// With a history. Without it, `/v1/history` says that there is none.
    #[must_use]
    pub fn with_history(self, history: Option<Arc<History>>) -> Self {
        // Given once, as the feed is.
        let _given = history.map(|history| self.shared.history.set(history));
        self
    }

    /// With what the failover partner is told of registrations. Without it, it is told nothing.
    #[must_use]
    pub fn with_exchange_feed(self, exchange_feed: ExchangeFeed) -> Self {
        // Given once; a second one would have no followers.
        let _given = self.shared.exchange_feed.set(exchange_feed);
        self
    }

    /// With what reloads the configuration. Without it, nothing can.
    #[must_use]
    pub fn with_reload(self, reload: Arc<Reload>) -> Self {
        let _given = self.shared.reload.set(reload);
        self
    }

    fn reload(&self) -> Option<Arc<Reload>> {
        self.shared.reload.get().cloned()
    }

    /// Says in the log that a caller did not show the token, once a minute for each address: it may be
    /// the site's own portal.
    fn say_refused(&self, peer: Option<IpAddr>) {
        let caller = peer.map_or_else(|| "the Unix socket".to_owned(), |peer| peer.to_string());
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.may_say(&caller) {
            tracing::warn!(
                caller,
                "an API call without the right token was refused: if it is your portal, give it the token of \
                 an [[api.token]] with the scope \"portal\" (said once a minute)"
            );
        }
    }

    /// Says in the log that a token was shown where its scope does not reach, once a minute for each.
    fn say_forbidden(&self, holder: &auth::Holder) {
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.may_say(&format!("forbidden {}", holder.name)) {
            tracing::warn!(
                holder = %holder.name,
                scope = holder.scope.name(),
                "an API call beyond the scope of its token was refused: docs/api.md says what each scope may ask \
                 (said once a minute)"
            );
        }
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Answer, Problem> {
        match tokio::time::timeout(COMMAND_TIME_MAX, self.shared.door.command(command)).await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(_) => Err(Problem::new(
                ProblemKind::NoAnswer,
                "the server took the command and has not said that it is carried out; it may yet be. Send it again: \
                 carrying it out twice ends in the same state",
            )),
        }
    }

    /// Waits until the kernel has everything that was decided so far.
    pub(crate) async fn settled(&self) -> Result<(), Problem> {
        match tokio::time::timeout(QUERY_TIME_MAX, self.shared.door.barrier()).await {
            Ok(done) => done.map_err(Problem::from),
            Err(_) => Err(Problem::new(
                ProblemKind::NoAnswer,
                format!(
                    "the kernel did not take what was decided within {} s",
                    QUERY_TIME_MAX.as_secs()
                ),
            )),
        }
    }

    pub(crate) async fn query(&self, query: Query) -> Result<QueryAnswer, Problem> {
        self.query_within(query, QUERY_TIME_MAX).await
    }

    /// The whole body of a request, within the API's bounds.
    pub(crate) async fn body(&self, body: Body) -> Result<Vec<u8>, Problem> {
        body::bytes(self, body).await
    }

    /// Counts a page that the built-in portal showed.
    pub(crate) fn count_page(&self, page: PortalPage) {
        self.shared.metrics.portal_page(page);
    }

    async fn query_within(&self, query: Query, time_max: Duration) -> Result<QueryAnswer, Problem> {
        match tokio::time::timeout(time_max, self.shared.door.query(query)).await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(_) => Err(Problem::new(
                ProblemKind::NoAnswer,
                format!("the server did not answer within {} s", time_max.as_secs_f32()),
            )),
        }
    }
}

impl From<DoorError> for Problem {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Busy => Self::new(ProblemKind::Busy, error.to_string()),
            DoorError::Closed => Self::new(ProblemKind::Ending, error.to_string()),
        }
    }
}

/// The core answered with the answer to another question: a broken invariant, told and not hidden.
pub(crate) fn answer_mismatch() -> Problem {
    tracing::error!("the core answered another question than was asked; please report this");
    Problem::new(ProblemKind::Internal, "the server answered another question than was asked")
}

/// Every path with its handlers.
fn router(state: &ApiState) -> Router {
    let with_token = Router::new()
        .route("/v1/registrations", get(registrations::list).post(registrations::create))
        .route("/v1/registrations/import", post(registrations::import))
        .route("/v1/registrations/{mac}", get(registrations::read).delete(registrations::delete))
        .route("/v1/registrations/{mac}/suspend", post(registrations::suspend))
        .route("/v1/registrations/{mac}/resume", post(registrations::resume))
        .route("/v1/vouchers", get(vouchers::list).post(vouchers::create))
        .route("/v1/vouchers/{id}", get(vouchers::read).delete(vouchers::revoke))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases/{ip}", get(leases::read))
        .route("/v1/status", get(status::status))
        .route("/v1/failover", get(failover::failover))
        .route("/v1/failover/partner-down", post(failover::partner_down))
        .route("/v1/reload", post(reload::reload))
        .route("/v1/events", get(events::events))
        .route("/v1/webhooks", get(webhooks::list))
        .route("/v1/webhooks/{name}/test", post(webhooks::test))
        .route("/v1/gate", get(gate::gate))
        .route("/v1/history", get(history::history))
        .route("/v1/trace/{mac}", get(trace::trace))
        .route("/v1/exchange", get(exchange::exchange))
        .route_layer(middleware::from_fn_with_state(state.clone(), idempotency::answer_once))
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    Router::new()
        .merge(with_token)
        .route("/v1/whoami", get(whoami::whoami))
        .route("/captive", get(captive::captive))
        .route("/healthz", get(status::healthz))
        .route("/metrics", get(status::metrics))
        .route("/", get(dashboard::page))
        .route("/dashboard", get(dashboard::picture))
        .route("/dashboard/live", get(dashboard::live))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), finish))
        .with_state(state.clone())
}

/// What `captive.listen` serves.
fn captive_router(state: &ApiState) -> Router {
    Router::new()
        .route("/captive", get(captive::captive))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), finish))
        .with_state(state.clone())
}

async fn unknown_path() -> Problem {
    Problem::new(
        ProblemKind::UnknownPath,
        "there is nothing at this path; docs/api.md lists what there is",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        "this path does not take this method; the Allow header names those that it takes",
    )
}

/// What every answer gets: headers that keep it out of caches and from being guessed at, and a count.
async fn finish(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    use axum::http::{HeaderValue, header};
    let peer = request.extensions().get::<serve::Peer>().and_then(|peer| peer.0);
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    state.shared.metrics.api_response(response.status().as_u16());
    if response.status() == StatusCode::UNAUTHORIZED {
        state.say_refused(peer);
    }
    response
}
