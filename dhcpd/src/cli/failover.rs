//! `vestibule failover`: how the pair is, and the operator's word that the partner is down.

use super::client::Client;
use super::commands::understood;
use super::show::{or_dash, shown};
use super::{FailoverCommand, Failure};
use crate::api::{ExchangeView, FailoverView, PoolMismatchView, json_text};
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal as _, Write};

/// What `partner-down` means, told before it is done.
const WHAT_IT_MEANS: &str = "Say that the partner is down only if it is: switched off, or its DHCP server is stopped and will \
not start by itself. This server then gives out the partner's addresses too, once the lead time has passed. If the \
partner serves all the same, behind a cut link, both give the same addresses to different clients. When it comes back it fetches \
what happened meanwhile, and this ends by itself.";

/// States of a server that has not got back what it lost. Whom its partner gave addresses it does not know
/// yet, so alone it may give them to others.
const KNOWS_TOO_LITTLE: [&str; 2] = ["recover", "recover-wait"];

/// What that means, told where it is so.
const WHAT_IS_UNKNOWN: &str = "THIS SERVER HAS NOT FETCHED EVERYTHING FROM ITS PARTNER: it does not know \
who holds which address, and will give addresses that are held to others. Let it hear the partner first, if there is any way; else wait \
until the longest lease has run out. Without --leases-lost it refuses.";

/// `vestibule failover …`
pub(super) fn failover(
    client: &Client,
    command: &FailoverCommand,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match command {
        FailoverCommand::Status => {
            let answer = client.get("/v1/failover")?;
            show(answer, json, out)
        }
        FailoverCommand::PartnerDown { yes, leases_lost } => {
            if !yes {
                let view: FailoverView = understood(client.get("/v1/failover")?)?;
                let stdin = io::stdin();
                if !stdin.is_terminal() {
                    return Err(Failure::Usage(format!(
                        "{WHAT_IT_MEANS} To say so without being asked, add --yes"
                    )));
                }
                if !agreed(&view, &mut stdin.lock(), out)? {
                    return Err(Failure::Refused("nothing was done".to_owned()));
                }
            }
            let body = json!({ "leases-lost": leases_lost });
            let answer = client.post("/v1/failover/partner-down", &body)?;
            show(answer, json, out)
        }
    }
}

/// Whether the operator agrees, having read what it means.
fn agreed(
    view: &FailoverView,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    writeln!(out, "{WHAT_IT_MEANS}\n")?;
    if KNOWS_TOO_LITTLE.contains(&view.state.as_str()) {
        writeln!(out, "{WHAT_IS_UNKNOWN}\n")?;
    }
    state_lines(view, out)?;
    write!(out, "\nIs the partner down? Type yes: ")?;
    out.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

fn show(answer: Value, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let view: FailoverView = understood(answer)?;
    writeln!(out, "{}, this server is its {}", shown(&view.name), shown(&view.role))?;
    state_lines(&view, out)?;
    if let Some(ahead) = view.clock_ahead_seconds {
        let (seconds, how) = (ahead.unsigned_abs(), if ahead < 0 { "behind" } else { "ahead of" });
        writeln!(out, "  clock      {seconds} s {how} the partner's")?;
    }
    if let Some(trouble) = &view.trouble {
        writeln!(out, "  TROUBLE    the last handshake failed: {}", shown(trouble))?;
    }
    let buckets = match view.buckets {
        Some(buckets) => format!("this server answers {buckets} of 256 buckets of clients"),
        None => "the primary has not said yet which clients are whose".to_owned(),
    };
    writeln!(out, "  lead time  {} s; {buckets}", view.mclt_seconds)?;
    writeln!(
        out,
        "  updates    {} under way, {} waiting",
        view.updates_unacknowledged, view.updates_waiting
    )?;
    disagreement(&view, out)?;
    registrations_line(view.registrations.as_ref(), out)?;
    let width = view.networks.iter().map(|network| shown(&network.name).chars().count()).max();
    let width = width.unwrap_or(0).max("NETWORK".len());
    writeln!(
        out,
        "\n{:width$} {:>15} {:>17} {:>9}",
        "NETWORK", "PRIMARY'S FREE", "SECONDARY'S FREE", "OTHER"
    )?;
    for network in &view.networks {
        writeln!(
            out,
            "{:width$} {:>15} {:>17} {:>9}",
            shown(&network.name),
            network.free,
            network.backup,
            network.other
        )?;
    }
    Ok(())
}

/// What the two do not agree on; nothing if that is nothing.
fn disagreement(view: &FailoverView, out: &mut dyn Write) -> Result<(), Failure> {
    let (by_partner, here) = (view.updates_refused_by_partner, view.updates_refused);
    if by_partner + here > 0 {
        writeln!(
            out,
            "  refused    {by_partner} by the partner, {here} here; {} addresses are offered to it again",
            view.addresses_refused
        )?;
    }
    let PoolMismatchView { only_here, only_here_count, only_there, only_there_count } =
        &view.pool_mismatch;
    let whose = [
        ("here and not the partner's", only_here, only_here_count),
        ("the partner's and not here", only_there, only_there_count),
    ];
    for (whose, ranges, count) in whose {
        if *count > 0 {
            let ranges = shown(&ranges.join(", ")).to_string();
            writeln!(out, "  POOLS      {count} addresses are in pools {whose}: {ranges}")?;
        }
    }
    Ok(())
}

/// How registrations are heard from the partner.
fn registrations_line(exchange: Option<&ExchangeView>, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(exchange) = exchange else {
        return Ok(writeln!(out, "  exchange   none: registrations are each server's own")?);
    };
    if exchange.connected {
        let lag = match exchange.lag_seconds {
            Some(seconds) => format!("all was here {seconds} s ago"),
            None => "not all was here yet".to_owned(),
        };
        return Ok(writeln!(
            out,
            "  exchange   registrations are heard; {} changes behind, {lag}",
            exchange.behind
        )?);
    }
    let error = or_dash(exchange.error.as_deref());
    Ok(writeln!(out, "  exchange   REGISTRATIONS ARE NOT HEARD: {error}")?)
}

fn state_lines(view: &FailoverView, out: &mut dyn Write) -> Result<(), Failure> {
    let since = or_dash(view.since.as_deref());
    writeln!(out, "  state      {}, since {since}", shown(&view.state))?;
    let state = shown(&view.partner_state);
    let since = or_dash(view.partner_since.as_deref());
    if view.connected {
        writeln!(out, "  partner    {state}, since {since}")?;
    } else {
        writeln!(out, "  partner    NOT HEARD; when it was last, {state}, since {since}")?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    fn view() -> Value {
        json!({
            "name": "campus-pair", "role": "primary", "state": "communications-interrupted",
            "since": "2026-11-21T21:00:00.000Z", "partner-state": "normal", "partner-since": null,
            "connected": false, "clock-ahead-seconds": -3, "trouble": null, "mclt-seconds": 1800,
            "buckets": 128, "updates-unacknowledged": 1, "updates-waiting": 2,
            "updates-refused-by-partner": 0, "updates-refused": 0, "addresses-refused": 0,
            "pool-mismatch": {
                "only-here": [], "only-here-count": 0, "only-there": [], "only-there-count": 0,
            },
            "networks": [{ "name": "halls", "free": 8, "backup": 7, "other": 1 }],
        })
    }

    #[test]
    fn only_yes_is_yes_and_what_it_means_is_said_before() {
        for (typed, expected) in [("yes\n", true), ("y\n", false), ("\n", false), ("", false)] {
            let mut out = Vec::new();
            let view = understood(view()).unwrap();
            assert_eq!(agreed(&view, &mut typed.as_bytes(), &mut out).unwrap(), expected);
            let out = String::from_utf8(out).unwrap();
            assert!(out.starts_with("Say that the partner is down only if it is"), "{out}");
            assert!(out.contains("NOT HEARD"), "{out}");
            assert!(!out.contains("HAS NOT FETCHED"), "{out}");
        }
    }

    #[test]
    fn who_has_lost_its_leases_is_told_what_that_means() {
        for state in ["recover", "recover-wait"] {
            let mut empty = view();
            *empty.get_mut("state").unwrap() = state.into();
            let mut out = Vec::new();
            let view = understood(empty).unwrap();
            assert!(agreed(&view, &mut "yes\n".as_bytes(), &mut out).unwrap());
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("THIS SERVER HAS NOT FETCHED EVERYTHING"), "{out}");
        }
    }

    #[test]
    fn the_pair_is_shown_in_words() {
        let mut out = Vec::new();
        show(view(), false, &mut out).unwrap();
        let expected = "campus-pair, this server is its primary
  state      communications-interrupted, since 2026-11-21T21:00:00.000Z
  partner    NOT HEARD; when it was last, normal, since -
  clock      3 s behind the partner's
  lead time  1800 s; this server answers 128 of 256 buckets of clients
  updates    1 under way, 2 waiting
  exchange   none: registrations are each server's own

NETWORK  PRIMARY'S FREE  SECONDARY'S FREE     OTHER
halls                 8                 7         1
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_the_two_do_not_agree_on_is_shown() {
        let mut troubled = view();
        *troubled.get_mut("trouble").unwrap() = "the clocks are more than 60 s apart".into();
        *troubled.get_mut("updates-refused").unwrap() = 7.into();
        *troubled.get_mut("addresses-refused").unwrap() = 2.into();
        *troubled.get_mut("pool-mismatch").unwrap() = json!({
            "only-here": ["10.0.0.1-10.0.0.9", "10.0.0.20-10.0.0.20"], "only-here-count": 10,
            "only-there": ["10.9.0.1-10.9.0.1"], "only-there-count": 1,
        });
        let mut out = Vec::new();
        show(troubled, false, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        for line in [
            "  TROUBLE    the last handshake failed: the clocks are more than 60 s apart\n",
            "  refused    0 by the partner, 7 here; 2 addresses are offered to it again\n",
            "  POOLS      10 addresses are in pools here and not the partner's: 10.0.0.1-10.0.0.9, 10.0.0.20-10.0.0.20\n",
            "  POOLS      1 addresses are in pools the partner's and not here: 10.9.0.1-10.9.0.1\n",
        ] {
            assert!(out.contains(line), "{out}");
        }
    }

    #[test]
    fn the_exchange_is_shown_in_words() {
        let exchange = |connected: bool, lag: Option<u64>, error: Option<&str>| ExchangeView {
            url: "https://b".to_owned(),
            connected,
            server: None,
            cursor: None,
            behind: 3,
            lag_seconds: lag,
            taken: 9,
            refused: 0,
            error: error.map(str::to_owned),
        };
        for (exchange, expected) in [
            (
                exchange(true, Some(2), None),
                "  exchange   registrations are heard; 3 changes behind, all was here 2 s ago\n",
            ),
            (
                exchange(true, None, None),
                "  exchange   registrations are heard; 3 changes behind, not all was here yet\n",
            ),
            (
                exchange(false, None, Some("it cannot be reached")),
                "  exchange   REGISTRATIONS ARE NOT HEARD: it cannot be reached\n",
            ),
        ] {
            let mut out = Vec::new();
            registrations_line(Some(&exchange), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
