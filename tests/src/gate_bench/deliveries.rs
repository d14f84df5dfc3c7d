//! How fast events reach a webhook's receiver, while registrations come in at a steady rate.
//!
//! The receiver takes whatever comes and answers at once, so the figures are the server's: from the moment
//! at which something was decided, which the event says, to the moment at which its delivery was read.

use super::calls::CallFigures;
use super::play::PROGRAM;
use crate::lab::{LabError, TOKEN_FILE, program};
use crate::servers::{Ground, Networks, RELAYS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vestibule_load::histogram::Histogram;

/// Where the receiver listens.
const RECEIVER: &str = "127.0.0.1:9099";
/// The first device's number, far from those of the probe for the server.
const DEVICES_FIRST: u32 = 3_000_000;
/// Bytes of a delivery at most: a hundred events are far below.
const BODY_BYTES_MAX: usize = 4 << 20;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Deliveries {
    /// Registrations, each of which is an event.
    pub events: u32,
    /// How many of them in a second.
    pub per_second: u32,
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeliveryFigures {
    /// Registrations that were answered.
    pub registered: u64,
    /// Events that came, each counted once.
    pub events: u64,
    /// Events that came again.
    pub again: u64,
    /// Requests that brought them.
    pub deliveries: u64,
    /// Events a second, from the first to the last.
    pub per_second: f64,
    /// From the decision to the receiver, in milliseconds: half of them were faster.
    pub p50_milliseconds: u64,
    /// Of a hundred, 99.
    pub p99_milliseconds: u64,
    /// The slowest.
    pub slowest_milliseconds: u64,
}

impl Deliveries {
    /// Plays it; `state` is an empty folder for the server's files, and `say` is told what goes on.
    ///
    /// # Errors
    /// [`LabError`] if it could not be played.
    pub fn play(
        self,
        state: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<DeliveryFigures, LabError> {
        program(PROGRAM)?;
        let ground = Ground::new()?;
        let networks = Networks { relays: RELAYS_MAX, pool: 2, lifetime_seconds: 3600 };
        ground.server.write("/run/secret", "a-secret-for-one-lab-only\n")?;
        ground.server.ok("chmod 600 /run/secret")?;
        let mut receiver = ground.server.start(
            "receiver",
            &format!("{PROGRAM} receive --listen {RECEIVER} --events {}", self.events),
        )?;
        receiver.wait_line("ready")?;
        let section = format!(
            "[[webhook]]\nname = \"bench\"\nurl = \"http://{RECEIVER}/\"\nsecret-file = \"/run/secret\"\n\
             events = [\"registered\"]\n"
        );
        let _dhcpd = ground.start_gated_with(networks, state, &section)?;
        say(&format!("{} events, {} a second, by a webhook", self.events, self.per_second));
        let said = ground.server.ok(&format!(
            "{PROGRAM} call --api 127.0.0.1:8067 --token-file {TOKEN_FILE} --calls {} --per-second {} \
             --connections 32 --devices-from {DEVICES_FIRST}",
            self.events, self.per_second
        ))?;
        let called: CallFigures = read(&said)?;
        receiver.wait_end()?;
        let log = receiver.log();
        let line = log.lines().rfind(|line| line.starts_with('{')).unwrap_or(&log);
        let figures: DeliveryFigures = read(line)?;
        Ok(DeliveryFigures { registered: called.created, ..figures })
    }
}

/// Receives so many events, each counted once, and says what they came to. Ends when they are all there, or
/// nothing has come for as long as `patience`.
///
/// # Errors
/// No place to listen at, or a sender that speaks no HTTP.
pub fn receive(listen: SocketAddr, events: u64, patience: Duration) -> io::Result<DeliveryFigures> {
    let listener = TcpListener::bind(listen)?;
    println!("ready");
    io::stdout().flush()?;
    let mut tally = Tally::default();
    // The server keeps one connection, and makes a new one if that breaks.
    while tally.events < events {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        if tally.follow(BufReader::new(stream), events).is_err() && tally.is_over(patience) {
            break;
        }
    }
    let elapsed = tally.first.zip(tally.last).map_or(0.0, |(a, b)| (b - a).as_secs_f64());
    Ok(DeliveryFigures {
        registered: 0,
        events: tally.events,
        again: tally.again,
        deliveries: tally.deliveries,
        per_second: if elapsed > 0.0 { tally.events as f64 / elapsed } else { 0.0 },
        p50_milliseconds: tally.lag.percentile(50.0),
        p99_milliseconds: tally.lag.percentile(99.0),
        slowest_milliseconds: tally.lag.max(),
    })
}

#[derive(Default)]
struct Tally {
    events: u64,
    again: u64,
    deliveries: u64,
    id_last: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    lag: Histogram,
}

impl Tally {
    /// One connection, until it breaks or everything has come.
    fn follow(&mut self, mut stream: BufReader<TcpStream>, wanted: u64) -> io::Result<()> {
        while self.events < wanted {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
            }
            if length > BODY_BYTES_MAX {
                return Err(io::Error::other("a delivery that is far too long"));
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            self.take(&serde_json::from_slice(&body)?);
            stream.get_mut().write_all(b"HTTP/1.1 204 Taken\r\n\r\n")?;
        }
        Ok(())
    }

    fn take(&mut self, delivery: &Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = now.as_millis() as u64;
        self.deliveries += 1;
        self.first.get_or_insert_with(Instant::now);
        self.last = Some(Instant::now());
        for event in delivery["events"].as_array().into_iter().flatten() {
            let id = event["id"].as_u64().unwrap_or_default();
            if id <= self.id_last {
                self.again += 1;
                continue;
            }
            self.id_last = id;
            self.events += 1;
            let decided = event["time"].as_str().and_then(vestibule_dhcpd::api::parse_time);
            let decided = decided.map_or(now, |time| time.milliseconds());
            self.lag.record(now.saturating_sub(decided));
        }
    }

    fn is_over(&self, patience: Duration) -> bool {
        self.last.is_some_and(|last| last.elapsed() >= patience)
    }
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, LabError> {
    serde_json::from_str(text).map_err(|error| LabError::Deadline {
        what: format!("a result that can be read ({error})"),
        seen: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_comes_again_is_counted_once() {
        let mut tally = Tally::default();
        let delivery = |ids: &[u64]| {
            let events: Vec<Value> = ids
                .iter()
                .map(|id| serde_json::json!({ "id": id, "time": "2026-11-20T13:00:00.000Z" }))
                .collect();
            serde_json::json!({ "events": events })
        };
        tally.take(&delivery(&[1, 2]));
        tally.take(&delivery(&[2, 3, 7]));
        assert_eq!((tally.events, tally.again, tally.deliveries), (4, 1, 2));
    }
}
