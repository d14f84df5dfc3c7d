//! Has the gate opened for what a true answer leads to, before the answer leaves.
//!
//! The gate belongs to `vestibule-dhcpd`; it is asked over `gate.garden-socket`. It promises that an
//! answer is let go only when the kernel lets its addresses pass for as long as the client may use them,
//! that what is remembered of that is forgotten when the connection ends, and that one entry of the
//! garden leads to no more than [`GARDEN_ADDRESSES_PER_ENTRY_MAX`] addresses at once. Without a socket
//! every answer is let go: names open nothing then, and the file says which addresses can be reached.

use crate::decision::DomainName;
use crate::limits::{
    GARDEN_ADDRESSES_PER_ENTRY_MAX, GARDEN_RECONNECT_REST, GARDEN_REQUESTS_MAX,
    GARDEN_SLACK_SECONDS, GARDEN_TIMEOUT, GARDEN_VERDICT_SECONDS,
};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use vestibule_config::garden_link::{self, ADDRESSES_MAX, HEAD_BYTES, Verdict};

/// Why an answer must not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpen {
    /// The gate's owner does not answer, or its kernel refused.
    Unavailable,
    /// There is no room for more addresses.
    Full,
}

/// What is known of an address.
#[derive(Clone, Debug)]
struct Known {
    /// The gate is open for it until then; `None`: no name may open it.
    open_until: Option<Instant>,
    /// When this is to be asked again.
    forget: Instant,
    entry: DomainName,
}

type Addresses = Vec<(Ipv4Addr, u32)>;
type Request = (Addresses, oneshot::Sender<Option<Vec<Verdict>>>);

/// What is known of the gate, and the way to its owner.
#[derive(Debug)]
pub(crate) struct Garden {
    known: Arc<Mutex<BTreeMap<Ipv4Addr, Known>>>,
    requests: Option<mpsc::Sender<Request>>,
}

/// The one who talks to the gate's owner, until it is dropped.
pub(crate) struct Link {
    path: PathBuf,
    requests: mpsc::Receiver<Request>,
    known: Arc<Mutex<BTreeMap<Ipv4Addr, Known>>>,
}

/// The garden, and who has to [run](Link::run) for it; none without a socket.
pub(crate) fn garden(path: Option<PathBuf>) -> (Garden, Option<Link>) {
    let known = Arc::new(Mutex::new(BTreeMap::new()));
    let Some(path) = path else { return (Garden { known, requests: None }, None) };
    let (sender, requests) = mpsc::channel(GARDEN_REQUESTS_MAX);
    let link = Link { path, requests, known: Arc::clone(&known) };
    (Garden { known, requests: Some(sender) }, Some(link))
}

impl Garden {
    /// Whether an answer with these addresses may leave as things are known.
    pub(crate) fn is_open(&self, addresses: &[(Ipv4Addr, u32)], now: Instant) -> bool {
        self.requests.is_none() || addresses.is_empty() || {
            let known = lock(&self.known);
            addresses.iter().all(|(address, seconds)| {
                known.get(address).is_some_and(|known| known.is_enough(*seconds, now))
            })
        }
    }

    /// Has the gate opened for them, for the sake of this entry of the garden.
    ///
    /// # Errors
    /// [`NotOpen`]: the answer must not leave.
    pub(crate) async fn open(
        &self,
        entry: &DomainName,
        addresses: &[(Ipv4Addr, u32)],
    ) -> Result<(), NotOpen> {
        let now = Instant::now();
        let Some(requests) = self.requests.as_ref().filter(|_| !self.is_open(addresses, now))
        else {
            return Ok(());
        };
        let wanted = self.wanted(entry, addresses, now)?;
        let (sender, verdicts) = oneshot::channel();
        requests.try_send((wanted.clone(), sender)).map_err(|_full| NotOpen::Unavailable)?;
        let verdicts = verdicts.await.ok().flatten().ok_or(NotOpen::Unavailable)?;
        let mut outcome = Ok(());
        let mut known = lock(&self.known);
        for ((address, seconds), verdict) in wanted.iter().zip(&verdicts) {
            let until = now + Duration::from_secs((*seconds).into());
            let (open_until, forget) = match verdict {
                Verdict::Open => (Some(until), until),
                Verdict::Refused => {
                    (None, now + Duration::from_secs(GARDEN_VERDICT_SECONDS.into()))
                }
                Verdict::Full => {
                    outcome = Err(NotOpen::Full);
                    continue;
                }
                Verdict::Unavailable => {
                    outcome = Err(NotOpen::Unavailable);
                    continue;
                }
            };
            known.insert(*address, Known { open_until, forget, entry: entry.clone() });
        }
        outcome
    }

    /// What is to be asked for: every address once, for a little longer than the client may use it.
    fn wanted(
        &self,
        entry: &DomainName,
        addresses: &[(Ipv4Addr, u32)],
        now: Instant,
    ) -> Result<Addresses, NotOpen> {
        let mut known = lock(&self.known);
        known.retain(|_, known| known.forget > now);
        let mut wanted: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
        for (address, seconds) in addresses {
            let seconds = seconds.saturating_add(GARDEN_SLACK_SECONDS);
            let longest = wanted.entry(*address).or_insert(seconds);
            *longest = seconds.max(*longest);
        }
        let of_entry = known.iter().filter(|(_, known)| known.entry == *entry);
        let others = of_entry.filter(|(address, _)| !wanted.contains_key(address)).count();
        if wanted.len() > ADDRESSES_MAX || others + wanted.len() > GARDEN_ADDRESSES_PER_ENTRY_MAX {
            return Err(NotOpen::Full);
        }
        Ok(wanted.into_iter().collect())
    }
}

impl Known {
    fn is_enough(&self, seconds: u32, now: Instant) -> bool {
        match self.open_until {
            Some(until) => now + Duration::from_secs(seconds.into()) <= until,
            None => now < self.forget,
        }
    }
}

impl Link {
    /// Answers requests, as long as anybody makes them.
    pub(crate) async fn run(mut self) {
        let mut down = false;
        loop {
            let Some(request) = self.requests.recv().await else { return };
            let connected = timeout(GARDEN_TIMEOUT, UnixStream::connect(&self.path)).await;
            let ended = match connected.unwrap_or_else(|_elapsed| Err(timed_out())) {
                Ok(stream) => {
                    if std::mem::take(&mut down) {
                        tracing::info!("the gate opens for the walled garden again");
                    }
                    self.converse(stream, request).await
                }
                Err(error) => {
                    drop(request);
                    Err(error)
                }
            };
            // Whoever owns the gate now, or owns it no more, promised nothing.
            lock(&self.known).clear();
            let Err(error) = ended else { continue };
            if !std::mem::replace(&mut down, true) {
                tracing::warn!(
                    socket = %self.path.display(), %error,
                    "the gate is not opened for names in the walled garden, so they are not answered: is \
                     vestibule-dhcpd running, with the same gate.garden-socket?"
                );
            }
            self.refuse_for(GARDEN_RECONNECT_REST).await;
        }
    }

    /// One connection, to its end.
    async fn converse(&mut self, mut stream: UnixStream, first: Request) -> io::Result<()> {
        let mut next = Some(first);
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => tokio::select! {
                    request = self.requests.recv() => match request {
                        Some(request) => request,
                        None => return Ok(()),
                    },
                    // Nobody speaks unasked: it is the end.
                    _ended = stream.readable() => {
                        let mut byte = [0];
                        match stream.try_read(&mut byte) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                            Ok(0) => return Ok(()),
                            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                            Err(error) => return Err(error),
                        }
                    }
                },
            };
            let (addresses, answer) = request;
            let asked = timeout(GARDEN_TIMEOUT, ask(&mut stream, &addresses)).await;
            let verdicts = asked.unwrap_or_else(|_elapsed| Err(timed_out()))?;
            // A client who went away needs none.
            let _ = answer.send(Some(verdicts));
        }
    }

    /// Has every request refused at once, so that nobody waits for what is not there.
    async fn refuse_for(&mut self, rest: Duration) {
        let until = Instant::now() + rest;
        while let Ok(Some((_, answer))) = tokio::time::timeout_at(until, self.requests.recv()).await
        {
            let _ = answer.send(None);
        }
    }
}

async fn ask(stream: &mut UnixStream, addresses: &Addresses) -> io::Result<Vec<Verdict>> {
    let request = garden_link::request(addresses).ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&request).await?;
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let length = garden_link::answer_bytes(head).filter(|length| *length == addresses.len());
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut body).await?;
    garden_link::read_answer(&body).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn lock(known: &Mutex<BTreeMap<Ipv4Addr, Known>>) -> MutexGuard<'_, BTreeMap<Ipv4Addr, Known>> {
    // Nothing inside a lock can panic half-way, so a poisoned map is still a right one.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
