//! Registrations by the API at a steady rate, from the call to the permit.
//!
//! The rate is kept whatever the server does (an open loop): each call has the moment at which it is meant
//! to be made, and its latency counts from there. The server answers when the kernel has the permit; that
//! this is so is looked up in the kernel's set: by the caller itself, before it does anything else, after
//! one answer in so many, and for all at the end.
//!
//! It promises that every call is counted once: as one that registered a host, or by its answer.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use vestibule_core::{HardwareAddress, Side};
use vestibule_firewall::{Look, TABLE_DEFAULT};
use vestibule_load::histogram::Histogram;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// One answer in so many is looked up.
const LOOK_EVERY: u64 = 16;
/// Bytes of an answer, head and body.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The kernel set of permits.
const SET: &str = "inet vestibule registered";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The API.
    pub api: SocketAddr,
    /// Its token.
    pub token: String,
    /// The hosts that are registered, each once.
    pub hosts: Vec<Named>,
    /// How many in a second.
    pub per_second: u32,
    /// Connections that are kept, each with one call at a time.
    pub connections: u32,
}

/// How a call names its host.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// By the address that it holds. Its permit is then in the kernel when the call is answered.
    Address(Ipv4Addr),
    /// By its hardware address; it need not hold an address.
    Hardware(HardwareAddress),
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CallFigures {
    /// Calls that were made.
    pub calls: u64,
    /// Calls that were answered by 201: a host is registered that was not.
    pub created: u64,
    /// All others, by what came instead.
    pub otherwise: BTreeMap<String, u64>,
    /// Calls a second, from the first to the last answer.
    pub per_second: f64,
    /// From the moment of the call to the answer, in microseconds: half of them were faster.
    pub p50_microseconds: u64,
    /// Of a hundred, 99.
    pub p99_microseconds: u64,
    /// Of a thousand, 999.
    pub p999_microseconds: u64,
    /// The slowest.
    pub slowest_microseconds: u64,
    /// Answers after which the kernel was asked at once.
    pub looked_up: u64,
    /// Those of them whose permit was not there.
    pub missing: u64,
    /// Permits in the kernel at the end.
    pub permits_at_end: u64,
}

#[derive(Debug, Default)]
struct Tally {
    created: u64,
    otherwise: BTreeMap<String, u64>,
    latency: Histogram,
    looked_up: u64,
    missing: u64,
}

/// Makes the calls.
///
/// # Errors
/// No runtime, no connection, or no way to look into the kernel.
pub fn make(calls: Calls) -> io::Result<CallFigures> {
    let (tally, elapsed) = drive(&Arc::new(calls))?;
    let answered = tally.latency.count();
    Ok(CallFigures {
        calls: tally.created + tally.otherwise.values().sum::<u64>(),
        created: tally.created,
        otherwise: tally.otherwise,
        per_second: answered as f64 / elapsed.as_secs_f64(),
        p50_microseconds: tally.latency.percentile(50.0),
        p99_microseconds: tally.latency.percentile(99.0),
        p999_microseconds: tally.latency.percentile(99.9),
        slowest_microseconds: tally.latency.max(),
        looked_up: tally.looked_up,
        missing: tally.missing,
        permits_at_end: permits()?,
    })
}

fn drive(calls: &Arc<Calls>) -> io::Result<(Tally, Duration)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let look = Look::open(TABLE_DEFAULT).map_err(io::Error::other)?;
        let look = Arc::new(Mutex::new(look));
        let mut connections = Vec::new();
        for _ in 0..calls.connections {
            let stream = TcpStream::connect(calls.api).await?;
            stream.set_nodelay(true)?;
            connections.push(stream);
        }
        let began = Instant::now();
        let mut callers = JoinSet::new();
        for (number, stream) in connections.into_iter().enumerate() {
            let (calls, tally, look) = (Arc::clone(calls), Arc::clone(&tally), Arc::clone(&look));
            callers.spawn(async move { call(&calls, number, stream, began, &tally, &look).await });
        }
        while let Some(caller) = callers.join_next().await {
            caller.map_err(io::Error::other)??;
        }
        let elapsed = began.elapsed();
        let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((tally, elapsed))
    })
}

/// One connection's share of the calls: every so many-th of them.
async fn call(
    calls: &Calls,
    number: usize,
    mut stream: TcpStream,
    began: Instant,
    tally: &Mutex<Tally>,
    look: &Mutex<Look>,
) -> io::Result<()> {
    let interval = Duration::from_secs(1) / calls.per_second.max(1);
    let mut bytes = Vec::with_capacity(ANSWER_BYTES_MAX);
    let mine = calls.hosts.iter().enumerate().skip(number).step_by(calls.connections as usize);
    for (place, host) in mine {
        let intended = began + interval * u32::try_from(place).unwrap_or(u32::MAX);
        sleep_until(intended).await;
        let body = match host {
            Named::Address(address) => format!("{{\"ip\":\"{address}\"}}"),
            Named::Hardware(hardware) => format!("{{\"mac\":\"{hardware}\"}}"),
        };
        let request = format!(
            "POST /v1/registrations HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            calls.api,
            calls.token,
            body.len()
        );
        let answer = async {
            stream.write_all(request.as_bytes()).await?;
            answer(&mut stream, &mut bytes).await
        };
        let status = match timeout(PATIENCE, answer).await {
            Ok(status) => status?,
            Err(_elapsed) => {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                *tally.otherwise.entry("no answer".to_owned()).or_default() += 1;
                // What comes on this connection now would be taken for another's answer.
                return Ok(());
            }
        };
        let took = intended.elapsed();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.latency.record(took.as_micros() as u64);
        if status == 201 {
            tally.created += 1;
            if let Named::Address(address) = *host
                && tally.created.is_multiple_of(LOOK_EVERY)
            {
                let mut look = look.lock().unwrap_or_else(PoisonError::into_inner);
                let left = look.milliseconds_left(Side::Registered, address);
                tally.looked_up += 1;
                tally.missing += u64::from(left.map_err(io::Error::other)?.is_none());
            }
        } else {
            *tally.otherwise.entry(format!("HTTP {status}")).or_default() += 1;
        }
    }
    Ok(())
}

/// The status of an answer, which is read to its end.
async fn answer(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<u16> {
    bytes.clear();
    loop {
        if let Some((status, length)) = parse(bytes)?
            && bytes.len() >= length
        {
            return Ok(status);
        }
        if bytes.len() >= ANSWER_BYTES_MAX {
            return Err(io::Error::other("an answer that is far too long"));
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::Error::other("the API closed a connection that is to be kept"));
        }
    }
}

/// Status and whole length of an answer, once its head is there.
fn parse(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let wrong = || io::Error::other("an answer that is no HTTP with a length");
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong())?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (status, length) = status.zip(length).ok_or_else(wrong)?;
    Ok(Some((status, end + 4 + length)))
}

/// How many elements the kernel set of permits has.
fn permits() -> io::Result<u64> {
    let listed = Command::new("nft").args(["-j", "list", "set"]).args(SET.split(' ')).output()?;
    if !listed.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&listed.stdout).matches("\"val\":").count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let head =
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(parse(&head.as_bytes()[..head.len() - 1]).unwrap(), None);
        let found = parse(head.as_bytes()).unwrap();
        assert_eq!(found, Some((201, head.len() + 2)), "two bytes are still to come");
        assert!(parse(b"HTTP/1.1 201 Created\r\n\r\n").is_err(), "its end would not be known");
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
