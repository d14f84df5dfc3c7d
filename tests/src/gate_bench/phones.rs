//! A crowd of unregistered phones that look for a way out: each asks DNS for the names by which devices
//! find out whether they are online, fetches a page by HTTP, waits, and begins again.
//!
//! It promises that a question is sent once: one that is not answered in time, or not with the lie, is
//! counted as lost. The phones' addresses have to be local here, and to have leases.

use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};
use vestibule_load::histogram::Histogram;

/// What phones ask for: the probes of Apple, Android, Windows and Firefox.
const NAMES: [&str; 4] = [
    "captive.apple.com",
    "connectivitycheck.gstatic.com",
    "www.msftconnecttest.com",
    "detectportal.firefox.com",
];
/// How long an answer is waited for, as stub resolvers and browsers do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Phones that have a socket open at once.
const AT_ONCE: usize = 512;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 2048;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Phones {
    /// One for each phone.
    pub addresses: Vec<Ipv4Addr>,
    /// How many begin in a second.
    pub per_second: u32,
    /// How long all of it lasts.
    pub time: Duration,
    /// Between two rounds of a phone.
    pub again: Duration,
    /// Whom they ask.
    pub dns_server: SocketAddrV4,
    /// What they are told, and where they fetch the page.
    pub lie: Ipv4Addr,
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhoneFigures {
    /// Phones that probed at all.
    pub phones: u64,
    /// Questions that were asked.
    pub questions: u64,
    /// Those that were answered with the lie.
    pub answered: u64,
    /// From question to answer, in microseconds: of a hundred, 99 were faster.
    pub question_p99_microseconds: u64,
    /// Pages that were asked for.
    pub pages: u64,
    /// Those that led to the portal by a 302.
    pub redirected: u64,
    /// From the first packet to the redirect, in microseconds: of a hundred, 99 were faster.
    pub page_p99_microseconds: u64,
    /// What went wrong first, if anything did.
    pub first_trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Tally {
    figures: PhoneFigures,
    question: Histogram,
    page: Histogram,
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        let (sum, one) = (&mut self.figures, &other.figures);
        sum.phones += one.phones;
        sum.questions += one.questions;
        sum.answered += one.answered;
        sum.pages += one.pages;
        sum.redirected += one.redirected;
        if sum.first_trouble.is_none() {
            sum.first_trouble.clone_from(&one.first_trouble);
        }
        self.question.merge(&other.question);
        self.page.merge(&other.page);
    }

    fn trouble(&mut self, what: impl FnOnce() -> String) {
        self.figures.first_trouble.get_or_insert_with(what);
    }
}

/// Lets the phones probe until the time is over.
///
/// # Errors
/// No runtime. What a phone meets is in the figures.
pub fn probe(phones: Phones) -> io::Result<PhoneFigures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let phones = Rc::new(phones);
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut sum = Tally::default();
    LocalSet::new().block_on(&runtime, async {
        let began = Instant::now();
        let mut all = JoinSet::new();
        for number in 0..phones.addresses.len() {
            let (phones, places) = (Rc::clone(&phones), Rc::clone(&places));
            all.spawn_local(async move { phone(&phones, number, began, &places).await });
        }
        while let Some(one) = all.join_next().await {
            sum.merge(&one.map_err(io::Error::other)?);
        }
        Ok::<(), io::Error>(())
    })?;
    sum.figures.question_p99_microseconds = sum.question.percentile(99.0);
    sum.figures.page_p99_microseconds = sum.page.percentile(99.0);
    Ok(sum.figures)
}

async fn phone(phones: &Phones, number: usize, began: Instant, places: &Semaphore) -> Tally {
    let mut tally = Tally::default();
    let Some(address) = phones.addresses.get(number).copied() else { return tally };
    let begins = Duration::from_secs_f64(number as f64 / f64::from(phones.per_second.max(1)));
    let mut round = began + begins;
    while round + PATIENCE < began + phones.time {
        sleep_until(round).await;
        round += phones.again;
        // It is never closed.
        let Ok(_place) = places.acquire().await else { break };
        tally.figures.phones = 1;
        ask(phones, address, &mut tally).await;
        tally.figures.pages += 1;
        let before = Instant::now();
        match timeout(PATIENCE, fetch(phones, address)).await {
            Ok(Ok(302)) => {
                tally.figures.redirected += 1;
                tally.page.record(before.elapsed().as_micros() as u64);
            }
            Ok(Ok(status)) => tally.trouble(|| format!("{address}: the page: HTTP {status}")),
            Ok(Err(error)) => tally.trouble(|| format!("{address}: the page: {error}")),
            Err(_elapsed) => tally.trouble(|| format!("{address}: the page: no answer")),
        }
    }
    tally
}

/// Asks for every name, one after the other.
async fn ask(phones: &Phones, address: Ipv4Addr, tally: &mut Tally) {
    let socket = async {
        let socket = UdpSocket::bind((address, 0)).await?;
        socket.connect(phones.dns_server).await?;
        Ok::<UdpSocket, io::Error>(socket)
    };
    let socket = match socket.await {
        Ok(socket) => socket,
        Err(error) => {
            tally.figures.questions += NAMES.len() as u64;
            return tally.trouble(|| format!("{address}: no socket: {error}"));
        }
    };
    for (number, name) in (0_u16..).zip(NAMES) {
        tally.figures.questions += 1;
        let question = question(number, name);
        let before = Instant::now();
        let answer = async {
            socket.send(&question).await?;
            let mut bytes = [0; ANSWER_BYTES_MAX];
            loop {
                let length = socket.recv(&mut bytes).await?;
                let answer = bytes.get(..length).unwrap_or_default();
                if answer.starts_with(&number.to_be_bytes()) {
                    return Ok::<bool, io::Error>(is_lie(answer, phones.lie));
                }
            }
        };
        match timeout(PATIENCE, answer).await {
            Ok(Ok(true)) => {
                tally.figures.answered += 1;
                tally.question.record(before.elapsed().as_micros() as u64);
            }
            Ok(Ok(false)) => tally.trouble(|| format!("{address}: {name}: another answer")),
            Ok(Err(error)) => tally.trouble(|| format!("{address}: {name}: {error}")),
            Err(_elapsed) => tally.trouble(|| format!("{address}: {name}: no answer")),
        }
    }
}

/// A question for the IPv4 address of a name (RFC 1035 section 4.1).
fn question(number: u16, name: &str) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    // Recursion desired; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    // The root; type A, class IN.
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Whether an answer ends with one A record of the lie, as one to a question without EDNS does.
fn is_lie(answer: &[u8], lie: Ipv4Addr) -> bool {
    let is_good = matches!(answer.get(2..8), Some([flags, code, 0, 1, 0, 1])
        if flags & 0x80 != 0 && code & 0x0f == 0);
    is_good && answer.ends_with(&lie.octets())
}

/// Fetches a page from where the lie leads, and gives the status.
async fn fetch(phones: &Phones, address: Ipv4Addr) -> io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(address, 0).into())?;
    let mut stream = socket.connect(SocketAddrV4::new(phones.lie, 80).into()).await?;
    let request = "GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(ANSWER_BYTES_MAX);
    // The status line comes first, and nobody reads the rest.
    while !head.contains(&b'\n') && head.len() < ANSWER_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let line = String::from_utf8_lossy(&head);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other("no HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_record_of_the_lie_is_the_lie() {
        let lie = Ipv4Addr::new(10, 0, 0, 80);
        let question = question(3, "captive.apple.com");
        assert_eq!(question.len(), 12 + 19 + 4);
        let mut answer = question.clone();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 10, 0, 0, 80]);
        assert!(is_lie(&answer, lie));
        assert!(!is_lie(&question, lie), "a question is no answer");
        assert!(!is_lie(&answer, Ipv4Addr::new(10, 0, 0, 81)));
        let mut refused = answer.clone();
        refused[3] = 0x85;
        assert!(!is_lie(&refused, lie));
        assert!(!is_lie(&answer[..answer.len() - 1], lie));
    }
}
