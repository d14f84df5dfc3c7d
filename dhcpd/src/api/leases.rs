//! `/v1/leases`: who holds which address.
//!
//! A page without a filter is one question to the core. With a filter, the index proposes addresses
//! and the core is asked about each; where the index may lack something, all leases are looked
//! through in bounded steps, so that a page may be short and still not be the last.

use super::problem::Problem;
use super::view::{LeaseView, LeasesPage};
use super::{
    ApiState, PAGE_ENTRIES_MAX, QUERY_TIME_MAX, SearchKey, answer_mismatch, json, parameters,
    refusal, status,
};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use vestibule_core::relay_agent::sub_option;
use vestibule_core::{HardwareAddress, LeaseFilter, Query, QueryAnswer, RelayAgentInformation};

/// Leases that one request looks through at most, before it answers with what it has found.
const LEASES_LOOKED_THROUGH_MAX: usize = 50_000;

/// Leases per question to the core: few enough that the packets between two questions do not wait.
const LEASES_PER_QUESTION: usize = 500;

/// Hits of the index that are looked up at most; with more, all leases are looked through.
const HITS_MAX: usize = PAGE_ENTRIES_MAX;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LeasesQuery {
    after: Option<String>,
    limit: Option<String>,
    mac: Option<String>,
    network: Option<String>,
    host_name: Option<String>,
    circuit: Option<String>,
    all: Option<String>,
}

/// Which leases are wanted.
#[derive(Debug)]
struct Wanted {
    all: bool,
    mac: Option<HardwareAddress>,
    network: Option<String>,
    host_name: Option<String>,
    circuit: Option<Box<[u8]>>,
}

/// `GET /v1/leases/{ip}`
pub(super) async fn read(
    State(state): State<ApiState>,
    ip: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let ip: Ipv4Addr = parameters::last_part(ip)?
        .parse()
        .map_err(|_| parameters::bad("the last part of the path is not an IPv4 address"))?;
    match state.query(Query::Lease(ip)).await? {
        QueryAnswer::Lease(Some(view)) => {
            Ok(json::response(StatusCode::OK, &LeaseView::new(&view)))
        }
        QueryAnswer::Lease(None) => Err(refusal::no_lease(ip)),
        _ => Err(answer_mismatch()),
    }
}

/// `GET /v1/leases`
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query: LeasesQuery = parameters::query(&uri)?;
    let after: Option<Ipv4Addr> =
        parameters::value("after", query.after.as_deref(), "an IPv4 address")?;
    let limit = parameters::limit(query.limit.as_deref())?;
    let wanted = Wanted {
        all: parameters::value("all", query.all.as_deref(), "`true` or `false`")?.unwrap_or(false),
        mac: parameters::value("mac", query.mac.as_deref(), "a hardware address")?,
        network: query.network,
        host_name: query.host_name,
        circuit: query.circuit.as_deref().map(circuit).transpose()?,
    };
    let page = match hits(&state, &wanted).await? {
        Some(hits) => page_of_hits(&state, &wanted, hits, after, limit).await?,
        None => page_of_scan(&state, &wanted, after, limit).await?,
    };
    // Asked only when there is nothing to show, because it costs a question more.
    if page.leases.is_empty()
        && page.next.is_none()
        && let Some(wanted) = &wanted.network
    {
        let core = status::core_status(&state, QUERY_TIME_MAX).await?;
        if !core.networks.iter().any(|network| *network.name == **wanted) {
            return Err(parameters::bad("`network` is not a network of the configuration"));
        }
    }
    Ok(json::response(StatusCode::OK, &page))
}

/// The addresses that the index proposes; `None` if it has nothing to say or may lack some.
async fn hits(state: &ApiState, wanted: &Wanted) -> Result<Option<BTreeSet<Ipv4Addr>>, Problem> {
    let Some(search) = state.shared.search.as_ref().map(Arc::clone) else { return Ok(None) };
    let key = if let Some(mac) = wanted.mac {
        SearchKey::Hardware(mac)
    } else if let Some(circuit) = &wanted.circuit {
        SearchKey::Circuit(circuit.clone())
    } else if let Some(host_name) = wanted.host_name.as_ref().filter(|name| is_as_sent(name)) {
        SearchKey::HostName(host_name.as_str().into())
    } else {
        return Ok(None);
    };
    let found = tokio::task::spawn_blocking(move || search.search(key, HITS_MAX)).await;
    // As many as were asked for may mean that there are more: then all leases are looked through.
    let found = found.ok().flatten().filter(|hits| hits.len() < HITS_MAX);
    Ok(found.map(|hits| hits.into_iter().collect()))
}

async fn page_of_hits(
    state: &ApiState,
    wanted: &Wanted,
    hits: BTreeSet<Ipv4Addr>,
    after: Option<Ipv4Addr>,
    limit: usize,
) -> Result<LeasesPage, Problem> {
    let mut leases: Vec<LeaseView> = Vec::new();
    for address in hits.into_iter().filter(|address| after.is_none_or(|after| *address > after)) {
        let QueryAnswer::Lease(view) = state.query(Query::Lease(address)).await? else {
            return Err(answer_mismatch());
        };
        let Some(view) = view.filter(|view| wanted.matches(view)) else { continue };
        if leases.len() == limit {
            let next = leases.last().map(|lease| lease.ip);
            return Ok(LeasesPage { leases, next });
        }
        leases.push(LeaseView::new(&view));
    }
    Ok(LeasesPage { leases, next: None })
}

async fn page_of_scan(
    state: &ApiState,
    wanted: &Wanted,
    after: Option<Ipv4Addr>,
    limit: usize,
) -> Result<LeasesPage, Problem> {
    let filter = if wanted.all { LeaseFilter::All } else { LeaseFilter::Held };
    let mut found: Vec<LeaseView> = Vec::new();
    let mut after = after;
    let mut looked_through = 0;
    loop {
        let ask_for = if wanted.is_everything() {
            limit.saturating_sub(found.len()).min(LEASES_PER_QUESTION)
        } else {
            LEASES_PER_QUESTION
        };
        let question = Query::Leases { after, limit: ask_for, filter };
        let QueryAnswer::Leases { leases, next } = state.query(question).await? else {
            return Err(answer_mismatch());
        };
        looked_through += ask_for;
        for view in leases.iter().filter(|view| wanted.matches(view)) {
            found.push(LeaseView::new(view));
            if found.len() == limit {
                // What follows in this answer is looked at again with the next page.
                let next =
                    (next.is_some() || leases.last() != Some(view)).then_some(view.lease.address);
                return Ok(LeasesPage { leases: found, next });
            }
        }
        if next.is_none() || looked_through >= LEASES_LOOKED_THROUGH_MAX {
            return Ok(LeasesPage { leases: found, next });
        }
        after = next;
    }
}

impl Wanted {
    /// Whether every lease that the core's filter lets pass is wanted.
    fn is_everything(&self) -> bool {
        self.mac.is_none()
            && self.network.is_none()
            && self.host_name.is_none()
            && self.circuit.is_none()
    }

    fn matches(&self, view: &vestibule_core::LeaseView) -> bool {
        let lease = &view.lease;
        (self.all || view.held)
            && self.mac.is_none_or(|mac| mac == lease.hardware)
            && self
                .network
                .as_deref()
                .is_none_or(|network| view.network.as_deref() == Some(network))
            && self.host_name.as_deref().is_none_or(|wanted| {
                // Compared as it is shown, so that what was seen in an answer can be searched for.
                lease
                    .host_name
                    .as_deref()
                    .is_some_and(|name| String::from_utf8_lossy(name).eq_ignore_ascii_case(wanted))
            })
            && self.circuit.as_deref().is_none_or(|wanted| {
                let option = lease.relay_agent.as_deref().and_then(RelayAgentInformation::parse);
                option
                    .is_some_and(|option| option.sub_option(sub_option::CIRCUIT_ID) == Some(wanted))
            })
    }
}

/// Whether a host name is shown byte for byte as clients send it; U+FFFD stands for other bytes, and the
/// index has those.
fn is_as_sent(name: &str) -> bool {
    !name.contains(char::REPLACEMENT_CHARACTER)
}

/// A circuit ID: text, or `hex:` and hexadecimal digits.
pub(super) fn circuit(text: &str) -> Result<Box<[u8]>, Problem> {
    circuit_bytes(text).ok_or_else(|| {
        parameters::bad("`circuit` is not `hex:` and an even number of hexadecimal digits")
    })
}

/// The same for the tool.
pub(crate) fn circuit_bytes(text: &str) -> Option<Box<[u8]>> {
    let Some(digits) = text.strip_prefix("hex:") else { return Some(text.as_bytes().into()) };
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
            // from_str_radix would take a sign.
            pair.iter().all(u8::is_ascii_hexdigit).then(|| u8::from_str_radix(text, 16).ok())?
        })
        .collect::<Option<Vec<u8>>>()
        .map(Into::into)
}
