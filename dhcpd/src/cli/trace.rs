//! `vestibule trace`: why a client got what it got, or nothing: the last decisions, and then every one as it
//! comes.

use super::client::{Client, path_with_query};
use super::commands::understood;
use super::show::percent_encoded;
use super::{Failure, shown, zone};
use crate::api::{MomentView, TraceView, json_text, parse_time};
use clap::Args;
use std::io::Write;
use vestibule_core::HardwareAddress;

#[derive(Args, Debug)]
pub(super) struct TraceArguments {
    /// The client's hardware address
    mac: HardwareAddress,
    /// Show the last decisions, and end
    #[arg(long)]
    last: bool,
}

/// `vestibule trace`
pub(super) fn trace(
    client: &Client,
    wanted: &TraceArguments,
    json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    let path = format!("/v1/trace/{}", percent_encoded(&wanted.mac.to_string()));
    if wanted.last {
        let view: TraceView = understood(client.get(&path)?)?;
        if view.last.is_empty() {
            return Err(Failure::Refused(format!(
                "nothing was heard of {} lately: its packets do not come here, or others have been heard of since",
                wanted.mac
            )));
        }
        for moment in &view.last {
            print(moment, json, out)?;
        }
        return Ok(());
    }
    let mut is_before = true;
    let path = path_with_query(&path, &[("follow", Some("true"))]);
    let ended = client.stream(&path, &mut |_id, kind, data| {
        match kind {
            "before" | "moment" => {
                if kind == "moment" && is_before && !json {
                    is_before = false;
                    writeln!(out, "-- from here on live")?;
                }
                let moment: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
                print(&understood(moment)?, json, out)?;
            }
            "missed" => writeln!(complaints, "vestibule: moments were missed: {}", shown(data))?,
            _ => {}
        }
        Ok(out.flush()?)
    });
    ended.and_then(|()| Err(Failure::Unreachable("the server has ended".into())))
}

fn print(moment: &MomentView, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(writeln!(out, "{}", json_text(moment))?);
    }
    Ok(writeln!(out, "{}", line(moment))?)
}

fn line(moment: &MomentView) -> String {
    let time = moment.time.as_deref().and_then(parse_time).and_then(zone::local);
    let time = time.map_or_else(|| "-".to_owned(), |local| local.text);
    let ip = moment.ip.map(|ip| format!(" {ip}")).unwrap_or_default();
    let Some(message) = moment.message.as_deref() else {
        let gate = shown(moment.gate.as_deref().unwrap_or_default());
        return format!("{time}  gate{ip} {gate}");
    };
    let message = shown(message).to_uppercase();
    let relay = moment.giaddr.map(|giaddr| format!(" by relay {giaddr}")).unwrap_or_default();
    let answer = match moment.answer.as_deref() {
        Some(answer) => format!("{}{ip}", shown(answer).to_uppercase()),
        None => "no answer".to_owned(),
    };
    let reason = moment.reason.as_deref().map(|reason| {
        let meaning = moment.meaning.as_deref().map(|meaning| format!(": {}", shown(meaning)));
        format!(" ({}{})", shown(reason), meaning.unwrap_or_default())
    });
    format!("{time}  {message}{relay} -> {answer}{}", reason.unwrap_or_default())
}
