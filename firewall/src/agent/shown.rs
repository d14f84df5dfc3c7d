//! How the agent of this host is, asked and told in words: for `vestibule-firewall status`.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an agent may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What the agent that listens there says of itself.
///
/// # Errors
/// What is wrong, with a remedy.
pub fn ask(listen: SocketAddr) -> Result<Value, String> {
    let mut place = listen;
    // Whoever listens everywhere is reached here.
    match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => place.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => place.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let text = get(place).map_err(|error| {
        format!("no agent answers on {place}: {error}; start it, or name its agent.status-listen")
    })?;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body.trim()).map_err(|error| {
        format!("what answers on {place} is no agent: {error}; name another agent.status-listen")
    })
}

fn get(place: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&place, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    // Version 1.0, so that the answer comes in one piece and ends with the connection.
    write!(stream, "GET /status HTTP/1.0\r\nhost: {place}\r\n\r\n")?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The status for a person.
#[must_use]
pub fn in_words(status: &Value) -> String {
    let mut text = String::new();
    let is_well = status["everything-well"] == true;
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{}", if is_well { "everything is well" } else { "NOT WELL" });
    for why in status["not-well"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "  {}", plain(why));
    }
    for server in status["servers"].as_array().into_iter().flatten() {
        let state = if server["connected"] == true { "followed" } else { "NOT FOLLOWED" };
        let silence = server["silent-milliseconds"].as_f64();
        let silence =
            silence.map_or("never heard".to_owned(), |time| format!("heard {time:.0} ms ago"));
        let _ = writeln!(
            text,
            "server {} ({}): {state}, {silence}, cursor {}, {} snapshots, {} changes",
            plain(&server["url"]),
            plain(&server["server"]),
            plain(&server["cursor"]),
            server["snapshots"],
            server["changes"],
        );
    }
    let sets = &status["sets"];
    let _ = writeln!(
        text,
        "sets: {} registered, {} unregistered{}",
        sets["registered"],
        sets["unregistered"],
        if sets["closed"] == true { ", closed: nobody is let through" } else { "" }
    );
    let lag = &status["lag-milliseconds"];
    let _ = writeln!(
        text,
        "from decision to kernel: {} ms last, {} ms mean, {} ms worst",
        plain(&lag["last"]),
        plain(&lag["mean"]),
        plain(&lag["worst"])
    );
    let _ = writeln!(
        text,
        "{} transactions ({} failed), {} changes, {} reconciles, {} interferences",
        status["transactions"],
        status["transactions-failed"],
        status["changes"],
        status["reconciles"],
        status["interferences"]
    );
    text
}

/// A value on one line of a terminal.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_well_comes_first_and_nothing_reaches_the_terminal_raw() {
        let status = json!({
            "everything-well": false,
            "not-well": ["https://a.example is not followed: \u{1b}[2J"],
            "servers": [{ "url": "https://a.example", "server": null, "connected": false,
                "silent-milliseconds": null, "cursor": null, "snapshots": 0, "changes": 0 }],
            "sets": { "registered": 2, "unregistered": 1, "closed": true },
            "lag-milliseconds": { "last": 0.5, "mean": 0.5, "worst": 1.25 },
            "transactions": 3, "transactions-failed": 0, "changes": 3, "reconciles": 0, "interferences": 0,
        });
        let expected = "NOT WELL\n  https://a.example is not followed: ?[2J\n\
            server https://a.example (-): NOT FOLLOWED, never heard, cursor -, 0 snapshots, 0 changes\n\
            sets: 2 registered, 1 unregistered, closed: nobody is let through\n\
            from decision to kernel: 0.5 ms last, 0.5 ms mean, 1.25 ms worst\n\
            3 transactions (0 failed), 3 changes, 0 reconciles, 0 interferences\n";
        assert_eq!(in_words(&status), expected);
    }
}
