//! `vestibule events` and `vestibule webhooks`.
//!
//! Events are printed as they come, one line each. With `--follow` a connection that breaks is made again
//! from the last event that was printed.

use super::client::{Client, path_with_query};
use super::show::shown;
use super::{EventsArguments, Failure, WebhooksCommand};
use crate::api::{WebhooksView, json_text};
use crate::webhook::TestResult;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;

/// How long it waits before it connects again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// What stands before the fields of a line, and is not repeated among them.
const HEAD: [&str; 4] = ["id", "type", "time", "server"];

/// `vestibule events`
pub(super) fn events(
    client: &Client,
    wanted: &EventsArguments,
    json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    let follow = if wanted.follow { "true" } else { "false" };
    // What has been is wanted by whoever does not follow.
    let start = if wanted.follow { None } else { Some("oldest".to_owned()) };
    let mut since = wanted.since.clone().or(start);
    loop {
        let path = path_with_query(
            "/v1/events",
            &[
                ("since", since.as_deref()),
                ("type", wanted.kinds.as_deref()),
                ("follow", Some(follow)),
            ],
        );
        let mut was_told = false;
        let ended = client.stream(&path, &mut |id, kind, data| {
            was_told = true;
            if let Some(id) = id {
                since = Some(id.to_owned());
            }
            if kind == "end" || data.is_empty() {
                return Ok(());
            }
            if json {
                // Already safe to show: but a server is not to be trusted with a terminal.
                writeln!(out, "{}", shown(data))?;
            } else {
                writeln!(out, "{}", line(data))?;
            }
            Ok(out.flush()?)
        });
        match ended {
            Ok(()) if !wanted.follow => return Ok(()),
            // Only after it has worked once: a wrong address is told at once.
            Err(Failure::Unreachable(why)) if wanted.follow && since.is_some() => {
                writeln!(complaints, "vestibule: {why}; trying again")?;
            }
            Err(failure) => return Err(failure),
            Ok(()) => writeln!(complaints, "vestibule: the stream ended; trying again")?,
        }
        std::thread::sleep(RECONNECT_PAUSE);
    }
}

/// An event for people: when, what, and its fields that have a value.
fn line(data: &str) -> String {
    let Ok(Value::Object(event)) = serde_json::from_str::<Value>(data) else {
        return shown(data);
    };
    let text = |value: &Value| match value {
        Value::String(text) => shown(text),
        Value::Array(list) => {
            let list: Vec<String> = list
                .iter()
                .map(|one| one.as_str().map_or_else(|| one.to_string(), shown))
                .collect();
            list.join(",")
        }
        other => other.to_string(),
    };
    let head = |name: &str| event.get(name).map_or_else(|| "-".to_owned(), text);
    let mut line = format!("{} {} {}", head("time"), head("id"), head("type"));
    for (name, value) in &event {
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !HEAD.contains(&name.as_str()) && !is_empty {
            line.push_str(&format!(" {}={}", shown(name), text(value)));
        }
    }
    line
}

/// `vestibule webhooks`
pub(super) fn webhooks(
    client: &Client,
    wanted: &WebhooksCommand,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match wanted {
        WebhooksCommand::Status => {
            let answer = client.get("/v1/webhooks")?;
            if json {
                return Ok(writeln!(out, "{}", json_text(&answer))?);
            }
            let WebhooksView { webhooks } = super::commands::understood(answer)?;
            if webhooks.is_empty() {
                writeln!(out, "the configuration has no [[webhook]]")?;
            }
            for webhook in webhooks {
                writeln!(out, "{}  {}", shown(&webhook.name), shown(&webhook.url))?;
                let kinds = if webhook.events.is_empty() {
                    "all".to_owned()
                } else {
                    webhook.events.join(", ")
                };
                writeln!(out, "  events: {}", shown(&kinds))?;
                writeln!(
                    out,
                    "  at {}, {} behind; {} delivered, {} attempts failed, {} dropped",
                    webhook.cursor,
                    webhook.behind,
                    webhook.delivered,
                    webhook.failures,
                    webhook.dropped
                )?;
                if webhook.failures_in_a_row > 0 {
                    let error = webhook.last_error.as_deref().unwrap_or("it is not known why");
                    writeln!(
                        out,
                        "  NOT WELL: {} attempts in a row failed: {}",
                        webhook.failures_in_a_row,
                        shown(error)
                    )?;
                }
            }
            Ok(())
        }
        WebhooksCommand::Test { name } => {
            let name = super::show::percent_encoded(name);
            let path = format!("/v1/webhooks/{name}/test");
            let answer = client.post(&path, &Value::Object(serde_json::Map::new()))?;
            if json {
                writeln!(out, "{}", json_text(&answer))?;
            }
            let result: TestResult = super::commands::understood(answer)?;
            match result.error {
                None => {
                    if !json {
                        writeln!(out, "taken within {} ms", result.milliseconds)?;
                    }
                    Ok(())
                }
                Some(error) => Err(Failure::Refused(format!(
                    "the receiver did not take it: {}",
                    shown(&error)
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_has_a_value_and_acts_on_no_terminal() {
        let data = r#"{"id":7,"type":"registered","time":"2026-11-20T13:00:00.001Z","server":"a","mac":"02:00:5e:00:53:01","owner":"\u001b[2J","expires":null,"addresses":["10.20.0.17","10.20.0.18"]}"#;
        assert_eq!(
            line(data),
            "2026-11-20T13:00:00.001Z 7 registered addresses=10.20.0.17,10.20.0.18 mac=02:00:5e:00:53:01 owner=\\u{1b}[2J"
        );
        assert_eq!(line("no JSON\u{9b}"), "no JSON\\u{9b}");
    }
}
