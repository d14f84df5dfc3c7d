//! `GET /v1/trace/{mac}`: what was last decided about a client, and with `follow=true` what is decided from
//! now on, as server-sent events.
//!
//! What it shows is in memory only, and gone with the process.

use super::chunks::{ChunkWriter, HEARTBEAT, Stopping, chunks, event_stream, server_sent_event};
use super::problem::{Problem, ProblemKind};
use super::{ApiState, HEARTBEAT_INTERVAL, json, parameters};
use crate::trace::{FOLLOWERS_MAX, MOMENTS_WAITING_MAX, Moment, Told, TooManyFollowers, What};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::mpsc;
use vestibule_core::{HardwareAddress, Side};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceQuery {
    follow: Option<String>,
}

/// Something that happened to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentView {
    /// When it was decided.
    pub time: Option<String>,
    /// What came: `discover`, `request` and so on; `null`: nothing came, the gate was changed.
    pub message: Option<String>,
    /// What it is answered with: `offer`, `ack` or `nak`; `null`: nothing.
    pub answer: Option<String>,
    /// Why it is not answered, or why it is a NAK.
    pub reason: Option<String>,
    /// What that means, in a sentence.
    pub meaning: Option<String>,
    /// How the kernel is to treat the address: `registered`, `unregistered`, or `nobody`; `null`: the gate
    /// was not changed.
    pub gate: Option<String>,
    /// The address that it is about; `null`: none.
    pub ip: Option<Ipv4Addr>,
    /// The relay that the packet came through; `null`: none.
    pub giaddr: Option<Ipv4Addr>,
}

/// What was last decided about a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceView {
    /// The client.
    pub mac: HardwareAddress,
    /// Oldest first.
    pub last: Vec<MomentView>,
}

/// `GET /v1/trace/{mac}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Extension(stopping): Extension<Stopping>,
    mac: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let hardware: HardwareAddress = parameters::last_part(mac)?
        .parse()
        .map_err(|_| parameters::bad("the last part of the path is not a hardware address"))?;
    let query: TraceQuery = parameters::query(&uri)?;
    let follow = parameters::value("follow", query.follow.as_deref(), "true or false")?;
    if follow != Some(true) {
        let last = state.shared.door.trace(hardware, None).await?.unwrap_or_default();
        let view = TraceView { mac: hardware, last: last.iter().map(moment_view).collect() };
        return Ok(json::response(StatusCode::OK, &view));
    }
    let (sender, receiver) = mpsc::channel(MOMENTS_WAITING_MAX);
    let last = match state.shared.door.trace(hardware, Some(sender)).await? {
        Ok(last) => last,
        Err(TooManyFollowers) => {
            let detail = format!("{FOLLOWERS_MAX} clients are followed; end one of that");
            return Err(Problem::new(ProblemKind::Busy, detail));
        }
    };
    let patience = state.shared.timeouts.write;
    let (writer, body) = chunks();
    tokio::spawn(async move {
        // How it ended is nobody's business: the reader went, or the server ends.
        let _ended = tell(&last, receiver, &writer, stopping, patience).await;
    });
    Ok(event_stream(body))
}

/// Tells what was before, then what comes, until one of the two ends.
async fn tell(
    last: &[Moment],
    mut receiver: mpsc::Receiver<Told>,
    writer: &ChunkWriter,
    mut stopping: Stopping,
    patience: Duration,
) -> Result<(), ()> {
    let mut text = HEARTBEAT.to_owned();
    for moment in last {
        server_sent_event(&mut text, None, "before", &json::text(&moment_view(moment)));
    }
    write(writer, text, patience).await?;
    loop {
        let mut text = String::new();
        tokio::select! {
            () = writer.gone() => return Err(()),
            () = stopping.stopping() => {
                server_sent_event(&mut text, None, "end", r#"{"reason":"ending"}"#);
                return write(writer, text, patience).await;
            }
            told = receiver.recv() => {
                let Some(Told { moment, missed }) = told else { return Ok(()) };
                if missed > 0 {
                    let data = format!(r#"{{"missed":{missed}}}"#);
                    server_sent_event(&mut text, None, "missed", &data);
                }
                server_sent_event(&mut text, None, "moment", &json::text(&moment_view(&moment)));
            }
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => text.push_str(HEARTBEAT),
        }
        write(writer, text, patience).await?;
    }
}

async fn write(writer: &ChunkWriter, text: String, patience: Duration) -> Result<(), ()> {
    match tokio::time::timeout(patience, writer.write(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

fn moment_view(moment: &Moment) -> MomentView {
    let Moment { time, what, address, giaddr } = *moment;
    let named = |address: Ipv4Addr| (!address.is_unspecified()).then_some(address);
    let mut view = MomentView {
        time: json::time_text(time),
        message: None,
        answer: None,
        reason: None,
        meaning: None,
        gate: None,
        ip: named(address),
        giaddr: named(giaddr),
    };
    match what {
        What::Decided { message, answer, reason } => {
            view.message = Some(message.name().to_owned());
            view.answer = answer.map(|answer| answer.name().to_owned());
            view.reason = reason.map(|reason| reason.name().to_owned());
            view.meaning = reason.map(|reason| reason.meaning().trim().to_owned());
        }
        What::Gate(side) => {
            let side = match side {
                Some(Side::Registered) => "registered",
                Some(Side::Unregistered) => "unregistered",
                None => "nobody",
            };
            view.gate = Some(side.to_owned());
        }
    }
    view
}
