//! Many clients behind relays, on one real UDP socket, one exchange of each or a whole lease.
//!
//! One thread; it waits for replies no longer than until the next client has something to do. It
//! promises that every ACK is in the ledger file before the client that got it does anything else,
//! and that no client begins while as many exchanges are open as it is told.

use crate::client::{Client, Happening, Lease, Manner, State};
use crate::engine::batch::{self, Receiver, Sender};
use crate::ledger::{Ended, Entry, Holding, Ledger, LedgerFile, Violation};
use crate::message::{Hardware, Message, Relay, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The longest wait for a reply before the flag that ends the run is looked at again.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Violations that are kept to be shown; the rest are counted.
pub const VIOLATIONS_SHOWN_MAX: usize = 100;

/// Exchanges whose time is kept; of a longer run, the first ones.
pub const EXCHANGES_TIMED_MAX: usize = 1 << 22;

/// How clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// From the beginning: DISCOVER.
    Discover,
    /// For a lease that they remember, in INIT-REBOOT.
    InitReboot,
    /// For a lease that they remember, in REBINDING.
    Rebind,
}

/// What a run is told.
#[derive(Debug)]
pub struct Run {
    /// The socket that the relays share: see [`relay_socket`].
    pub socket: UdpSocket,
    /// The servers; every message goes to all of them.
    pub servers: Vec<SocketAddrV4>,
    /// The relays, at least one.
    pub relays: Vec<Relay>,
    /// Exchanges that are open before another client begins; at least 1. Renewals come when they
    /// are due, whatever is open.
    pub in_flight_max: usize,
    /// How long it lasts at most; `None`: until every client has been answered once.
    pub duration: Option<Duration>,
    /// Whether clients that have a lease go on and renew it until the duration is over.
    pub keep_leases: bool,
    /// Whether a client that is refused or not answered is done, and does not begin anew.
    pub asks_once: bool,
    /// Where ACKs are written.
    pub ledger_file: Option<LedgerFile>,
}

/// What a run led to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Clients that were asked to take part.
    pub clients: usize,
    /// Of them, those that have a lease at the end.
    pub bound: usize,
    /// ACKs.
    pub acknowledged: u64,
    /// NAKs, and leases that ended unrenewed.
    pub refused: u64,
    /// Messages sent again because no reply came.
    pub retransmitted: u64,
    /// Messages that the kernel refused to send.
    pub send_errors: u64,
    /// The last of these errors.
    pub send_error_last: Option<io::Error>,
    /// Violations that were found.
    pub violations: u64,
    /// The first of them.
    pub violations_shown: Vec<Violation>,
    /// Of a run in which clients ask once, what each was answered: the address of its ACK, or a NAK.
    pub answers: BTreeMap<u32, Option<Ipv4Addr>>,
    /// Exchanges by how long they took, in milliseconds, ascending; at most [`EXCHANGES_TIMED_MAX`].
    pub took_milliseconds: Vec<u64>,
    /// How long the run took.
    pub elapsed: Duration,
}

/// A socket for relays: bound to the address of a single one, or to all of the host's if they are
/// several.
///
/// # Errors
/// An address is not ours, or the port is taken.
pub fn relay_socket(relays: &[Relay], port: u16) -> io::Result<UdpSocket> {
    for relay in relays {
        UdpSocket::bind((relay.giaddr, 0))?;
    }
    let address = match relays {
        [relay] => relay.giaddr,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    batch::socket(SocketAddrV4::new(address, port))
}

/// A client that takes part.
#[derive(Clone, Copy, Debug)]
pub struct Participant {
    /// How it asks.
    pub asking: Asking,
    /// What it remembers.
    pub lease: Option<Lease>,
    /// Which of the relays it is behind.
    pub relay: usize,
}

/// Clients by their numbers.
pub type Clients = BTreeMap<u32, Participant>;

struct Driver<'a> {
    run: Run,
    sender: Sender,
    clients: BTreeMap<u32, (Client, usize)>,
    waiting: Vec<(u32, Asking)>,
    open: BTreeSet<u32>,
    timers: BTreeSet<(u64, u32)>,
    ledger: Ledger,
    summary: Summary,
    began: Instant,
    /// Wall clock at the beginning, in milliseconds since the Unix epoch.
    epoch: u64,
    end: &'a AtomicBool,
}

/// Plays the clients until they are done, the time is over, or `end` is set. `ledger` is what is
/// known of their leases before; `seed` chooses transaction identifiers and waits.
///
/// # Errors
/// The socket cannot be read, or the ledger cannot be written.
pub fn play(
    run: Run,
    clients: &Clients,
    manner: Manner,
    seed: u64,
    ledger: Ledger,
    end: &AtomicBool,
) -> io::Result<(Summary, Ledger)> {
    let mut driver = Driver {
        clients: clients
            .iter()
            .map(|(number, who)| (*number, (client(*number, who.lease, manner, seed), who.relay)))
            .collect(),
        // Taken from the end, so the lowest number comes last.
        waiting: clients.iter().rev().map(|(number, who)| (*number, who.asking)).collect(),
        run,
        sender: Sender::default(),
        open: BTreeSet::new(),
        timers: BTreeSet::new(),
        ledger,
        summary: Summary { clients: clients.len(), ..Summary::default() },
        began: Instant::now(),
        epoch: unix_milliseconds(),
        end,
    };
    driver.play()?;
    driver.summary.bound = driver
        .clients
        .values()
        .filter(|(client, _)| client.lease().is_some() && client.state() == State::Bound)
        .count();
    driver.summary.elapsed = driver.began.elapsed();
    driver.summary.took_milliseconds.sort_unstable();
    Ok((driver.summary, driver.ledger))
}

/// The wall clock.
#[must_use]
pub fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn client(number: u32, lease: Option<Lease>, manner: Manner, seed: u64) -> Client {
    let hardware = Hardware::of_client(number);
    let seed = seed ^ (u64::from(number) << 32);
    match lease {
        Some(lease) => Client::with_lease(hardware, manner, seed, lease),
        None => Client::new(hardware, manner, seed),
    }
}

/// Whether the client waits for no answer.
fn settled(client: &Client) -> bool {
    !client.state().is_asking()
}

impl Driver<'_> {
    fn play(&mut self) -> io::Result<()> {
        let mut receiver = Receiver::default();
        loop {
            let elapsed = self.began.elapsed();
            let is_over = self.run.duration.is_some_and(|duration| elapsed >= duration);
            if is_over || self.end.load(Ordering::Relaxed) || self.is_done() {
                return Ok(());
            }
            let now = self.now();
            self.begin_more(now);
            self.on_timers(now)?;
            self.flush();
            self.run.socket.set_read_timeout(Some(self.wait(now)))?;
            receiver.receive(&self.run.socket, true)?;
            for packet in receiver.packets() {
                if let Some(reply) = Reply::read(packet.bytes) {
                    self.on_reply(&reply)?;
                }
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        let summary = &mut self.summary;
        self.sender.flush(&self.run.socket, |error| {
            // The client does not know; it will send again.
            summary.send_errors += 1;
            summary.send_error_last = Some(error);
        });
    }

    /// Milliseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty() && !self.run.keep_leases
    }

    fn wait(&self, now: u64) -> Duration {
        let next = self.timers.first().map_or(u64::MAX, |(at, _)| at.saturating_sub(now));
        // The kernel takes zero for "for ever".
        Duration::from_millis(next.max(1)).min(WAIT_MAX)
    }

    fn begin_more(&mut self, now: u64) {
        while self.open.len() < self.run.in_flight_max
            && let Some((number, asking)) = self.waiting.pop()
        {
            let Some((client, _)) = self.clients.get_mut(&number) else { continue };
            let message = match asking {
                Asking::Discover | Asking::InitReboot => client.begin(now),
                Asking::Rebind => client.rebind(now),
            };
            self.after(number, None, Some(message));
        }
    }

    fn on_timers(&mut self, now: u64) -> io::Result<()> {
        while let Some((at, number)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, number));
            let Some((client, _)) = self.clients.get_mut(&number) else { continue };
            let was_open = !settled(client);
            let (message, happening) = client.on_time(now);
            if was_open && message.is_some() {
                self.summary.retransmitted += 1;
            }
            let goes_on = self.happened(number, happening)?;
            self.after(number, None, message.filter(|_| goes_on));
        }
        Ok(())
    }

    fn on_reply(&mut self, reply: &Reply) -> io::Result<()> {
        let now = self.now();
        let Some(number) = reply.hardware.client() else { return Ok(()) };
        let Some((client, _)) = self.clients.get_mut(&number) else { return Ok(()) };
        let timer = client.next();
        let (message, happening) = client.on_reply(now, reply);
        if message.is_none() && happening.is_none() {
            return Ok(());
        }
        let goes_on = self.happened(number, happening)?;
        self.after(number, timer, message.filter(|_| goes_on));
        Ok(())
    }

    /// Sends what the client wants to send, and notes when it wants to be called next.
    fn after(&mut self, number: u32, timer: Option<u64>, message: Option<Message>) {
        if let Some(timer) = timer {
            self.timers.remove(&(timer, number));
        }
        let Some((client, relay)) = self.clients.get(&number) else { return };
        if settled(client) {
            self.open.remove(&number);
        } else {
            self.open.insert(number);
        }
        let next = client.next().filter(|_| !settled(client) || self.run.keep_leases);
        self.timers.extend(next.map(|next| (next, number)));
        let relay = self.run.relays.get(*relay).copied();
        let Some((message, relay)) = message.zip(relay) else { return };
        for server in 0..self.run.servers.len() {
            if self.sender.is_full() {
                self.flush();
            }
            let Some(server) = self.run.servers.get(server) else { continue };
            self.sender
                .add(Some(relay.giaddr), *server, |bytes| message.append(Some(&relay), bytes));
        }
    }

    /// Whether the client goes on.
    fn happened(&mut self, number: u32, happening: Option<Happening>) -> io::Result<bool> {
        let client = Hardware::of_client(number);
        let at = self.epoch.saturating_add(self.now());
        match happening {
            Some(Happening::Acknowledged { lease, took, lifetime_seconds, offered }) => {
                let ends = self.epoch.saturating_add(lease.ends);
                self.summary.acknowledged += 1;
                if self.summary.took_milliseconds.len() < EXCHANGES_TIMED_MAX {
                    self.summary.took_milliseconds.push(took);
                }
                if self.run.asks_once {
                    self.summary.answers.insert(number, Some(lease.address));
                }
                let relay =
                    self.clients.get(&number).and_then(|(_, relay)| self.run.relays.get(*relay));
                let giaddr = relay.map(|relay| relay.giaddr);
                let holding = Holding { client, server: lease.server, giaddr, ends };
                self.write(at, lease.address, holding, None)?;
                let offered = offered.map(|offer| (offer, lifetime_seconds));
                let violations = self.ledger.acknowledged(at, lease.address, holding, offered);
                violations.into_iter().for_each(|violation| self.violation(violation));
                return Ok(true);
            }
            Some(Happening::Refused { .. }) => {
                self.summary.refused += 1;
                if self.run.asks_once {
                    self.summary.answers.insert(number, None);
                }
                if let Some((address, holding)) = self.ledger.of_client(at, client) {
                    self.write(at, address, holding, Some(Ended::Refused))?;
                }
                if let Some(violation) = self.ledger.refused(at, client) {
                    self.violation(violation);
                }
            }
            Some(Happening::Expired { .. }) => {
                self.summary.refused += 1;
                self.ledger.ended(client);
            }
            Some(Happening::Unanswered { .. }) => {}
            Some(Happening::Informed { .. } | Happening::Ignored) | None => return Ok(true),
        }
        if let Some((client, _)) = self.clients.get_mut(&number).filter(|_| self.run.asks_once) {
            client.stop();
        }
        Ok(!self.run.asks_once)
    }

    fn write(
        &mut self,
        at: u64,
        address: Ipv4Addr,
        holding: Holding,
        ended: Option<Ended>,
    ) -> io::Result<()> {
        let Holding { client, server, giaddr, ends } = holding;
        let Some(file) = &mut self.run.ledger_file else { return Ok(()) };
        file.write(&Entry { at, client, address, server, ends, giaddr, ended })
    }

    fn violation(&mut self, violation: Violation) {
        self.summary.violations += 1;
        if self.summary.violations_shown.len() < VIOLATIONS_SHOWN_MAX {
            self.summary.violations_shown.push(violation);
        }
    }
}
