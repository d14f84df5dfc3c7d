//! `/captive`: whether a device is captive, from the same state as the gate (RFC 8908).
//!
//! It promises that a device is called free only once the kernel lets it pass, and that the answer is
//! about the address that the question came from: that of the connection, or, if the connection is that
//! of a proxy that the configuration names, the one that this proxy names. It needs no token, because it
//! tells a device nothing but what the network does with it.

use super::problem::{Problem, ProblemKind};
use super::serve::Peer;
use super::{ApiState, answer_mismatch, forwarded, json};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ipnetwork::{IpNetwork, Ipv4Network};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;
use vestibule_config::{GateMode, ProxyHeader, Vestibule};
use vestibule_core::{Network, Query, QueryAnswer, Side, lease_token};

/// The media type of the answer (RFC 8908 section 8.1).
const CAPTIVE_JSON: &str = "application/captive+json";

/// What devices are told besides whether they are captive, and whose word is taken for who asks.
#[derive(Clone, Debug, Default)]
pub struct CaptivePortal {
    user_portal_url: Option<Box<str>>,
    /// Whether that URL carries the token of the device's lease.
    has_lease_token: bool,
    venue_info_url: Option<Box<str>>,
    can_extend_session: bool,
    trusted_proxies: Vec<IpNetwork>,
    proxy_header: Option<ProxyHeader>,
    /// In the order of their addresses. They do not overlap.
    gated_prefixes: Vec<Ipv4Network>,
    /// Those of networks that are gated by pools.
    pool_prefixes: Vec<Ipv4Network>,
}

/// The answer (RFC 8908 section 5).
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct CaptiveView<'a> {
    captive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_portal_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    venue_info_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_extend_session: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_remaining: Option<u64>,
}

/// How the gate treats an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Not gated: there is no portal for it.
    Free,
    /// Held back; with the page of its quarantine, if it has its own.
    Captive(Option<Box<str>>),
    /// Let through, for so many more milliseconds if there is an end to it.
    Registered(Option<u64>),
}

impl CaptivePortal {
    /// By a configuration.
    #[must_use]
    pub fn new(vestibule: &Vestibule) -> Self {
        let prefixes = |is_meant: fn(&Network) -> bool| {
            let networks = vestibule.core.networks.iter().filter(|network| is_meant(network));
            let mut prefixes: Vec<Ipv4Network> =
                networks.flat_map(|network| &network.subnets).map(|subnet| subnet.prefix).collect();
            prefixes.sort_unstable();
            prefixes
        };
        let captive = vestibule.captive.as_ref();
        Self {
            user_portal_url: vestibule.gate.portal.as_ref().map(|portal| portal.url.clone()),
            has_lease_token: captive.is_some_and(|captive| captive.lease_token),
            venue_info_url: captive.and_then(|captive| captive.venue_info_url.clone()),
            can_extend_session: captive.is_some_and(|captive| captive.can_extend_session),
            trusted_proxies: captive
                .map(|captive| captive.trusted_proxies.clone())
                .unwrap_or_default(),
            proxy_header: captive.map(|captive| captive.proxy_header),
            gated_prefixes: prefixes(|network| network.gated),
            pool_prefixes: prefixes(|network| network.gated && network.gate_by.pools),
        }
    }

    /// Whether this is a proxy whose word is taken for who asks.
    pub(super) fn trusts(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        address
            .is_some_and(|address| self.trusted_proxies.iter().any(|proxy| proxy.contains(address)))
    }

    /// Who asks.
    fn caller(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<IpAddr, Problem> {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else {
            return Err(Problem::new(
                ProblemKind::NoCallerAddress,
                "over a Unix socket a caller has no address; devices are answered at captive.listen",
            ));
        };
        match self.proxy_header {
            Some(header) if self.trusts(Some(peer)) => {
                forwarded::caller(headers, header, |address| self.trusts(Some(address))).map_err(
                    |error| {
                        let detail = format!(
                            "{peer} is one of captive.trusted-proxies, and {error}: have it send \
                             {header} with the address that it was asked from"
                        );
                        Problem::new(ProblemKind::NoCallerAddress, detail)
                    },
                )
            }
            _ => Ok(peer),
        }
    }

    fn is_gated(&self, address: Ipv4Addr) -> bool {
        is_in(&self.gated_prefixes, address)
    }

    fn is_by_pools(&self, address: Ipv4Addr) -> bool {
        is_in(&self.pool_prefixes, address)
    }

    fn view<'a>(&'a self, standing: &'a Standing) -> CaptiveView<'a> {
        let user_portal_url = self.user_portal_url.as_deref();
        let plain = CaptiveView {
            captive: matches!(standing, Standing::Captive(_)),
            user_portal_url: None,
            venue_info_url: None,
            can_extend_session: None,
            seconds_remaining: None,
        };
        match standing {
            Standing::Free => plain,
            Standing::Captive(page) => {
                CaptiveView { user_portal_url: page.as_deref().or(user_portal_url), ..plain }
            }
            Standing::Registered(remaining) => CaptiveView {
                user_portal_url,
                venue_info_url: self.venue_info_url.as_deref(),
                can_extend_session: remaining.map(|_| self.can_extend_session),
                seconds_remaining: remaining.map(|milliseconds| milliseconds / 1000),
                ..plain
            },
        }
    }
}

/// `GET /captive`
pub(super) async fn captive(
    State(state): State<ApiState>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let portal = &state.captive;
    if let Some(url) = portal.user_portal_url.as_deref()
        && is_for_people(&headers)
    {
        return Ok(to_portal(url));
    }
    let address = match portal.caller(peer, &headers) {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(address)) => {
            let detail = format!(
                "{address} is an IPv6 address, and the gate knows IPv4 only: give the name in captive.url \
                 no AAAA record"
            );
            return Err(Problem::new(ProblemKind::NoCallerAddress, detail));
        }
        Err(problem) => {
            say_problem(&state, &problem);
            return Err(problem);
        }
    };
    let standing = standing(&state, address).await?;
    let mut view = portal.view(&standing);
    let with_token = match view.user_portal_url.filter(|_| portal.has_lease_token) {
        Some(url) => match state.query(Query::LeaseToken(address)).await? {
            QueryAnswer::LeaseToken(token) => {
                token.map(|token| lease_token::with_token(url, token))
            }
            _ => return Err(answer_mismatch()),
        },
        None => None,
    };
    if with_token.is_some() {
        view.user_portal_url = with_token.as_deref();
    }
    state.shared.metrics.captive_answer(view.captive);
    let mut response = json::response(StatusCode::OK, &view);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CAPTIVE_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

/// Whether an address is in one of these prefixes, which stand in order and do not overlap.
fn is_in(prefixes: &[Ipv4Network], address: Ipv4Addr) -> bool {
    let after = prefixes.partition_point(|prefix| prefix.network() <= address);
    let nearest = after.checked_sub(1).and_then(|index| prefixes.get(index));
    nearest.is_some_and(|prefix| prefix.contains(address))
}

/// How the gate treats the address: what the core has decided, once the kernel has it too.
async fn standing(state: &ApiState, address: Ipv4Addr) -> Result<Standing, Problem> {
    if state.shared.gate_mode == GateMode::Off && !state.captive.is_by_pools(address) {
        return Ok(Standing::Free);
    }
    let QueryAnswer::Lease(view) = state.query(Query::Lease(address)).await? else {
        return Err(answer_mismatch());
    };
    // Until it has moved to a pool for its class, it asks the lying resolver.
    if view.as_ref().is_some_and(|view| view.misplaced) {
        return Ok(Standing::Captive(None));
    }
    let view = view.and_then(|view| Some((view.side?, view)));
    match view {
        Some((Side::Unregistered, view)) => Ok(Standing::Captive(view.quarantine_url)),
        Some((Side::Registered, view)) => {
            let remaining = view.registration_milliseconds;
            // The core knows of a permit before the kernel does, and a device that hears of it goes on
            // at once.
            state.settled().await?;
            Ok(Standing::Registered(remaining))
        }
        // Nothing of a gated network passes without a lease.
        None if state.captive.is_gated(address) => Ok(Standing::Captive(None)),
        None => Ok(Standing::Free),
    }
}

/// Whether a browser asks, which wants a page: who knows the API says so (RFC 8910 section 2).
fn is_for_people(headers: &HeaderMap) -> bool {
    let mut accepted =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut page = false;
    let data = accepted.any(|value| {
        let value = value.to_ascii_lowercase();
        page |= value.contains("text/html");
        value.contains("json")
    });
    page && !data
}

fn to_portal(url: &str) -> Response {
    match HeaderValue::from_str(url) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        // Unreachable: a checked URL is printable ASCII.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Says in the log what a proxy does wrong, once a minute: no device can.
fn say_problem(state: &ApiState, problem: &Problem) {
    let mut said = state.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
    if said.may_say(&problem.detail) {
        tracing::warn!(
            "a question to /captive was not answered: {} (said once a minute)",
            problem.detail
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn gated_addresses_are_those_of_gated_prefixes() {
        let mut portal = CaptivePortal::default();
        assert!(!portal.is_gated(Ipv4Addr::LOCALHOST));
        portal.gated_prefixes =
            vec!["10.20.0.0/22".parse().unwrap(), "10.30.0.0/24".parse().unwrap()];
        for (address, gated) in [
            ([10, 19, 255, 255], false),
            ([10, 20, 0, 0], true),
            ([10, 20, 3, 255], true),
            ([10, 20, 4, 0], false),
            ([10, 30, 0, 7], true),
            ([10, 30, 1, 0], false),
            ([255, 255, 255, 255], false),
        ] {
            assert_eq!(portal.is_gated(address.into()), gated, "{address:?}");
        }
    }

    #[test]
    fn browsers_are_led_to_the_portal_and_devices_are_answered() {
        let accepts = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            is_for_people(&headers)
        };
        assert!(accepts(&["text/html,application/xhtml+xml,*/*;q=0.8"]));
        assert!(accepts(&["Text/HTML"]));
        assert!(!accepts(&[]));
        assert!(!accepts(&["*/*"]));
        assert!(!accepts(&["application/captive+json"]));
        assert!(!accepts(&["text/html", "application/captive+json"]));
        assert!(!accepts(&["application/captive+json", "text/html"]));
    }
}
