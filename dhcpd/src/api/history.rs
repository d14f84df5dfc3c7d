//! `GET /v1/history`: who held an address, and what a device, an owner, a circuit held, and when.
//!
//! A few questions are answered at a time, on threads that may wait for disks, and each looks at a bounded
//! piece of the history: a page may be short, even empty, and still not be the last.

use super::problem::{Problem, ProblemKind};
use super::view::{hexadecimal, printable};
use super::{ApiState, json, leases, parameters};
use crate::history::{By, Cursor, HistoryError, Holding, Ownership, Question, Told};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use json::time_text;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Arc;
use vestibule_core::relay_agent::sub_option;
use vestibule_core::{HardwareAddress, Timestamp};

/// Questions about the past that are answered at once.
pub const HISTORY_QUESTIONS_MAX: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    ip: Option<String>,
    mac: Option<String>,
    owner: Option<String>,
    circuit: Option<String>,
    at: Option<String>,
    from: Option<String>,
    until: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// That somebody held an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HoldingView {
    /// The address.
    pub ip: Ipv4Addr,
    /// The hardware address.
    pub mac: HardwareAddress,
    /// From when on.
    pub from: Option<String>,
    /// Until when; while it goes on, when the lease ends as it is now.
    pub until: Option<String>,
    /// How it ended; `null`: it goes on.
    pub ended: Option<String>,
    /// Option 61 in hexadecimal; `null` if the client sent none.
    pub client_id: Option<String>,
    /// What the client called itself; `null` if it did not say.
    pub host_name: Option<String>,
    /// The network of the address.
    pub network: Option<String>,
    /// The relay of its last request.
    pub relay: Option<Ipv4Addr>,
    /// The circuit ID of option 82 as text; `null` if there is none or it is not printable ASCII.
    pub circuit_id: Option<String>,
    /// The circuit ID in hexadecimal; `null` if there is none.
    pub circuit_id_hex: Option<String>,
    /// The remote ID of option 82 as text; `null` if there is none or it is not printable ASCII.
    pub remote_id: Option<String>,
    /// The remote ID in hexadecimal; `null` if there is none.
    pub remote_id_hex: Option<String>,
    /// Which half of a pair granted it: `this-server` or `partner`.
    pub granted_by: String,
    /// Who answered for the device meanwhile, oldest first.
    pub registrations: Vec<OwnershipView>,
}

/// That somebody answered for a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipView {
    /// Who.
    pub owner: Option<String>,
    /// In which role.
    pub role: Option<String>,
    /// From when on.
    pub from: Option<String>,
    /// Until when; `null`: it has no end.
    pub until: Option<String>,
    /// How it ended; `null`: it goes on.
    pub ended: Option<String>,
}

/// A page of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// In the order of their beginnings.
    pub intervals: Vec<HoldingView>,
    /// What to give as `after` for the next page; `null`: this was the last.
    pub next: Option<String>,
    /// Parts of the history that cannot be read; what was in them is missing.
    pub damaged: u64,
}

/// `GET /v1/history`
pub(super) async fn history(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let question = question(&parameters::query(&uri)?)?;
    let Some(history) = state.shared.history.get().map(Arc::clone) else {
        let detail = "`history.keep-days` is 0 in the configuration";
        return Err(Problem::new(ProblemKind::NoHistory, detail));
    };
    let Ok(place) = Arc::clone(&state.shared.asking_history).try_acquire_owned() else {
        let detail = format!("{HISTORY_QUESTIONS_MAX} questions about the past are being answered");
        return Err(Problem::new(ProblemKind::Busy, detail));
    };
    let answer = tokio::task::spawn_blocking(move || {
        let answer = history.ask(&question);
        drop(place);
        answer
    });
    let page = match answer.await {
        Ok(Ok(page)) => page,
        Ok(Err(error @ (HistoryError::Opening | HistoryError::Failed(_)))) => {
            return Err(Problem::new(ProblemKind::HistoryUnavailable, error.to_string()));
        }
        Err(_) => return Err(Problem::new(ProblemKind::Internal, "the question was not answered")),
    };
    let page = HistoryPage {
        intervals: page.told.iter().map(holding_view).collect(),
        next: page.next.map(|next| next.to_string()),
        damaged: page.damaged,
    };
    Ok(json::response(StatusCode::OK, &page))
}

fn question(query: &HistoryQuery) -> Result<Question, Problem> {
    let HistoryQuery { ip, mac, owner, circuit, at, from, until, after, limit } = query;
    let by = [
        parameters::value("ip", ip.as_deref(), "an IPv4 address")?.map(By::Address),
        parameters::value("mac", mac.as_deref(), "a hardware address")?.map(By::Hardware),
        owner.as_deref().map(|owner| By::Owner(owner.into())),
        circuit.as_deref().map(leases::circuit).transpose()?.map(By::Circuit),
    ];
    let mut by = by.into_iter().flatten();
    let (Some(by), None) = (by.next(), by.next()) else {
        return Err(parameters::bad("give one of `ip`, `mac`, `owner` and `circuit`"));
    };
    let time = |name: &str, text: &Option<String>| {
        let text = text.as_deref();
        text.map(|text| {
            json::parse_time(text).ok_or_else(|| {
                parameters::bad(format!(
                    "`{name}` is not a time such as 2026-11-03T13:05:00Z (RFC 3339)"
                ))
            })
        })
        .transpose()
    };
    let (at, from, until) = (time("at", at)?, time("from", from)?, time("until", until)?);
    if at.is_some() && (from.is_some() || until.is_some()) {
        return Err(parameters::bad("`at` is one moment: give it without `from` and `until`"));
    }
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        return Err(parameters::bad("`until` is not later than `from`"));
    }
    let after = parameters::value::<Cursor>(
        "after",
        after.as_deref().map(|text| text.trim()),
        "what `next` of a page said",
    )?;
    Ok(Question {
        by,
        from: at.or(from).unwrap_or(Timestamp::ZERO),
        until: at.map_or(until.unwrap_or(Timestamp::FOREVER), |at| {
            Timestamp::from_milliseconds(at.milliseconds().saturating_add(1))
        }),
        after,
        limit: parameters::limit(limit.as_deref())?,
    })
}

/// What is shown of an interval, with who answered for the device.
#[must_use]
pub fn holding_view(told: &Told) -> HoldingView {
    let Told { holding, ownerships } = told;
    let Holding { address, from, until, ended, granted_by, hardware, .. } = holding;
    let part = |code| holding.sub_option(code);
    let (circuit, remote) = (part(sub_option::CIRCUIT_ID), part(sub_option::REMOTE_ID));
    HoldingView {
        ip: *address,
        mac: *hardware,
        from: time_text(*from),
        until: time_text(*until),
        ended: ended.map(|ended| ended.name().to_owned()),
        client_id: holding.client_identifier.as_deref().map(hexadecimal),
        host_name: holding.host_name.as_deref().map(|name| String::from_utf8_lossy(name).into()),
        network: holding.network.as_deref().map(str::to_owned),
        relay: holding.relay,
        circuit_id: circuit.as_deref().and_then(printable),
        circuit_id_hex: circuit.as_deref().map(hexadecimal),
        remote_id: remote.as_deref().and_then(printable),
        remote_id_hex: remote.as_deref().map(hexadecimal),
        granted_by: granted_by.name().to_owned(),
        registrations: ownerships.iter().map(ownership_view).collect(),
    }
}

fn ownership_view(ownership: &Ownership) -> OwnershipView {
    let Ownership { from, until, ended, owner, role, .. } = ownership;
    OwnershipView {
        owner: owner.as_deref().map(str::to_owned),
        role: role.as_deref().map(str::to_owned),
        from: time_text(*from),
        until: time_text(*until),
        ended: ended.map(|ended| ended.name().to_owned()),
    }
}
