//! Very many clients behind very many relays, on two sockets and one thread.
//!
//! | file | idea |
//! | --- | --- |
//! | `mod` | the sockets, the loop, what is due when |
//! | `campus` | the clients: whose reply, whose timer, what they do next |
//! | `mix` | which client is of which kind |
//! | `post` | which way messages leave, and whether replies came the way that they should |
//! | `book` | what is noted of leases, and of clients that did not get what they should have |
//! | `history` | what each client sent and got last |
//! | `arrivals` | when clients arrive |
//! | `wheel` | timers |
//! | `batch` | recvmmsg and sendmmsg |
//! | `tally` | what is counted |
//!
//! It promises that latency counts from the moment at which an exchange was meant to begin, not from
//! the moment at which the engine came to it, so that neither a stalled server nor a stalled engine can
//! hide; and that its own lateness and the kernel's drops are in the result. Memory is proportional to
//! the number of clients and is had at the beginning.
//!
//! All relays share one socket: it is bound to every address of the host, sends from each relay's own
//! and is told which one a reply came to. So the relays' addresses must be of this host; a local route
//! for a whole prefix is enough (`ip route add local 10.20.0.0/16 dev lo`).

mod arrivals;
pub mod batch;
mod book;
mod campus;
mod history;
mod mix;
mod post;
mod tally;
mod wheel;

pub use arrivals::Arrivals;
pub use mix::Mix;
pub use tally::{LATE_MICROSECONDS, Tally};

use crate::client::Manner;
use crate::conduct::Conduct;
use crate::driver::unix_milliseconds;
use crate::ledger::{Ledger, LedgerFile, Violation};
use crate::message::Relay;
use crate::registration::Door;
use crate::result::{Phase, Second, Totals};
use crate::story::Stories;
use arrivals::Schedule;
use batch::Receiver;
use campus::{Campus, Remains};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients of one run, at most.
pub const CLIENTS_MAX: u32 = 4_000_000;
/// Servers that every packet goes to, at most: a failover pair and two more.
pub const SERVERS_MAX: usize = 4;
/// Arrivals that the loop deals with before it looks at the sockets again.
const ARRIVALS_PER_TURN: u32 = 64;
/// The longest wait for a packet before the flag that ends the run is looked at again.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long a phase waits for open exchanges when nobody arrives any more.
const DRAIN: Duration = Duration::from_secs(1);

/// Which way a renewal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewals {
    /// From the client's own address to the server that gave the lease, as RFC 2131 has it. Clients'
    /// addresses must be of this host, by a local route.
    Unicast,
    /// Through the relay, like everything else.
    Relayed,
}

/// What becomes of a client that has its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It stays and renews it.
    Renewing,
    /// It stays and does nothing more. When it arrives again, it begins from nothing.
    Idle,
    /// It leaves after so long, and gives the lease back if it is polite.
    Leaving {
        /// Milliseconds after the ACK.
        after_milliseconds: u64,
        /// Whether it sends a RELEASE.
        releases: bool,
    },
}

/// Who arrives when every client has arrived once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nobody.
    Never,
    /// The same ones, those who are not in an exchange; they remember nothing.
    Same,
    /// The same ones; who has a lease asks for that in INIT-REBOOT.
    Reboot,
    /// The same ones with a hardware address that nobody has seen, behind the next relay if they roam.
    Stranger {
        /// Whether they move.
        roams: bool,
    },
}

/// What an engine is told.
#[derive(Debug)]
pub struct Plan {
    /// How many clients there are at once; at least 1, at most [`CLIENTS_MAX`].
    pub clients: u32,
    /// The number of the first one; their hardware addresses follow from it.
    pub first_client: u32,
    /// Where every packet through a relay goes; at least 1, at most [`SERVERS_MAX`].
    pub servers: Vec<SocketAddrV4>,
    /// The relays, at least one. Clients are dealt out to them in turn.
    pub relays: Vec<Relay>,
    /// The relays' UDP port; 0 for any that is free.
    pub relay_port: u16,
    /// The UDP port of clients that renew from their own address; 0 for any that is free.
    pub client_port: u16,
    /// How clients ask again; what kind they are, [`Self::mix`] says.
    pub manner: Manner,
    /// Which clients misbehave, and how.
    pub mix: Mix,
    /// Which way renewals go.
    pub renewals: Renewals,
    /// What becomes of a client that has its lease.
    pub stay: Stay,
    /// Who arrives after all have.
    pub returns: Return,
    /// Chooses transaction identifiers and waits.
    pub seed: u64,
    /// What is known of leases before.
    pub ledger: Ledger,
    /// Where ACKs are written.
    pub ledger_file: Option<LedgerFile>,
    /// Who is told of each client's first lease, to have it registered.
    pub newcomers: Option<Door>,
}

/// A part of a run.
#[derive(Clone, Debug)]
pub struct PhasePlan {
    /// Its name in the result.
    pub name: String,
    /// How clients arrive.
    pub arrivals: Arrivals,
    /// How long it lasts; `None`: until all have arrived and no exchange is open.
    pub duration: Option<Duration>,
    /// Whether what is open at its end is given up, after a second of waiting.
    pub is_drained: bool,
}

/// What can be seen of a run while it goes on, once a second.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The phase's name.
    pub phase: &'a str,
    /// Since the run began.
    pub elapsed: Duration,
    /// Of this phase; `None`: it ends when everything is done.
    pub left: Option<Duration>,
    /// The second that has just ended.
    pub second: Second,
    /// Everything until now.
    pub totals: Totals,
    /// Violations until now.
    pub violations: u64,
    /// Clients with a usable network, if they are registered.
    pub usable: Option<u64>,
}

/// Why an engine cannot start or go on.
#[derive(Debug)]
pub enum EngineError {
    /// Operator: a relay's address is not of this host.
    NotLocal(Ipv4Addr, io::Error),
    /// Operator: a port cannot be had.
    Port(SocketAddrV4, io::Error),
    /// Operator: no clients, relays or servers, or too many of them.
    Size(&'static str),
    /// Kernel: the sockets cannot be read.
    Receive(io::Error),
    /// Disk: the ledger cannot be written.
    Ledger(io::Error),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLocal(giaddr, error) => write!(
                f,
                "the relay {giaddr} is no address of this host ({error}), so no reply could come back; \
                 give this host the whole prefix: ip route add local PREFIX dev lo"
            ),
            Self::Port(address, error) => write!(
                f,
                "cannot use UDP {address}: {error}; ports below 1024 need root, and no other DHCP relay, \
                 server or client may run here; with the server on this host, use --relay-port 0"
            ),
            Self::Size(what) => write!(f, "{what}"),
            Self::Receive(error) => {
                write!(f, "the kernel does not let the sockets be read: {error}")
            }
            Self::Ledger(error) => write!(f, "the ledger cannot be written: {error}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    campus: Campus,
    receiver: Receiver,
    drops: [u32; 2],
    began: Instant,
    second_ends: Duration,
    phases: Vec<Phase>,
}

/// What an engine knows when it is done.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that was counted.
    pub tally: Tally,
    /// The phases.
    pub phases: Vec<Phase>,
    /// Every lease.
    pub ledger: Ledger,
    /// How many violations there were.
    pub violations: u64,
    /// The first of them: [`crate::result::VIOLATIONS_MAX`].
    pub violations_shown: Vec<Violation>,
    /// What clients went through that did not get what they should have.
    pub stories: Stories,
    /// How long it took.
    pub elapsed: Duration,
}

impl Engine {
    /// Makes the sockets and the clients. Nothing is sent before [`Engine::play`].
    ///
    /// # Errors
    /// A relay is not of this host, a port is taken, or a number in the plan is out of its range.
    pub fn new(plan: Plan) -> Result<Self, EngineError> {
        if !(1..=CLIENTS_MAX).contains(&plan.clients) {
            return Err(EngineError::Size("a run has at least one client and at most 4,000,000"));
        }
        if !(1..=SERVERS_MAX).contains(&plan.servers.len()) || plan.relays.is_empty() {
            return Err(EngineError::Size("a run has one to four servers and at least one relay"));
        }
        for relay in &plan.relays {
            let any_port = SocketAddrV4::new(relay.giaddr, 0);
            UdpSocket::bind(any_port)
                .map_err(|error| EngineError::NotLocal(relay.giaddr, error))?;
        }
        let open =
            |address| batch::socket(address).map_err(|error| EngineError::Port(address, error));
        let relay_socket = open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, plan.relay_port))?;
        let informs = plan.mix.has(Conduct::Informs);
        let client_socket = match (plan.renewals, plan.stay) {
            (Renewals::Unicast, stay) if stay != Stay::Idle || informs => {
                Some(open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, plan.client_port))?)
            }
            _ => None,
        };
        Ok(Self {
            campus: Campus::new(plan, relay_socket, client_socket, unix_milliseconds()),
            receiver: Receiver::default(),
            drops: [0; 2],
            began: Instant::now(),
            second_ends: Duration::from_secs(1),
            phases: Vec::new(),
        })
    }

    /// Plays a phase until it is over or `end` is set; `observer` is told every second. Its figures.
    ///
    /// # Errors
    /// The kernel or the disk fails.
    pub fn play(
        &mut self,
        plan: &PhasePlan,
        end: &AtomicBool,
        observer: &mut dyn FnMut(&Live<'_>),
    ) -> Result<Phase, EngineError> {
        if self.phases.is_empty() {
            self.began = Instant::now();
        }
        let began = self.began.elapsed();
        let over_at = plan.duration.map(|duration| began + duration);
        let start = microseconds(began);
        let mut schedule = Schedule::new(plan.arrivals.clone());
        // An open loop with returning clients never runs out of them, but "all at once" is once.
        let mut left = match (&plan.arrivals, self.campus.returns()) {
            (Arrivals::Nobody, _) => 0,
            (Arrivals::AtOnce, _) | (_, Return::Never) => u64::from(self.campus.never_arrived()),
            _ => u64::MAX,
        };
        let mut drained_at = None;
        while !end.load(Ordering::Relaxed) {
            let elapsed = self.began.elapsed();
            let now = microseconds(elapsed);
            if elapsed >= self.second_ends {
                self.end_second(plan, elapsed, over_at, observer);
            }
            let is_over = over_at.is_some_and(|over_at| elapsed >= over_at);
            let has_arrived = left == 0 || (schedule.is_open_loop() && schedule.next().is_none());
            let is_quiet = self.campus.open() == 0
                && self.campus.newcomers().is_none_or(|door| door.under_way() == 0);
            if is_over && plan.is_drained && !is_quiet {
                let drained_at = *drained_at.get_or_insert(elapsed + DRAIN);
                if elapsed >= drained_at {
                    break;
                }
            } else if is_over || (plan.duration.is_none() && has_arrived && is_quiet) {
                break;
            }
            let mut has_worked = false;
            if !is_over {
                let count =
                    self.arrivals(&mut schedule, start, now, left).map_err(EngineError::Ledger)?;
                left = left.saturating_sub(u64::from(count));
                has_worked = count > 0;
            }
            self.campus.on_timers(now).map_err(EngineError::Ledger)?;
            has_worked |= self.receive()? > 0;
            self.campus.flush().map_err(EngineError::Ledger)?;
            if !has_worked {
                let next = schedule.next().filter(|_| left > 0 && !is_over);
                self.rest(next.map(|next| start + next))?;
            }
        }
        if plan.is_drained {
            self.campus.give_up();
        }
        let elapsed = self.began.elapsed();
        let phase = self.campus.end_phase(plan, began, elapsed);
        self.phases.push(phase.clone());
        Ok(phase)
    }

    /// Cuts the power between two phases: every client is off, without a word, and may arrive once more.
    /// So many of a hundred will have forgotten their leases; the others ask for them in INIT-REBOOT.
    pub fn power_cut(&mut self, forgetful_percent: f64) {
        self.campus.power_cut(forgetful_percent);
    }

    /// Says of the last phase whether it stayed within limits.
    pub fn judge_last_phase(&mut self, is_within_limits: bool) {
        if let Some(phase) = self.phases.last_mut() {
            phase.within_limits = Some(is_within_limits);
        }
    }

    /// How many bytes of replies the kernel queues for the relays; 0 if it does not say.
    #[must_use]
    pub fn receive_buffer_bytes(&self) -> usize {
        let socket = self.campus.socket(0).map(socket2::SockRef::from);
        socket.and_then(|socket| socket.recv_buffer_size().ok()).unwrap_or(0)
    }

    /// What came of all phases.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let elapsed = self.began.elapsed();
        let (violations, violations_shown) = self.campus.violations();
        let violations_shown = violations_shown.to_vec();
        let Remains { tally, ledger, stories } = self.campus.finish();
        let phases = std::mem::take(&mut self.phases);
        Outcome { tally, phases, ledger, violations, violations_shown, stories, elapsed }
    }

    /// Begins what is due; how many arrived.
    fn arrivals(
        &mut self,
        schedule: &mut Schedule,
        start: u64,
        now: u64,
        left: u64,
    ) -> io::Result<u32> {
        let limit = u32::try_from(left).unwrap_or(u32::MAX);
        if !schedule.is_open_loop() {
            let room = schedule.room(self.campus.open()).min(limit).min(ARRIVALS_PER_TURN * 64);
            let mut count = 0;
            while count < room && self.campus.arrive(now, now)? {
                count += 1;
            }
            return Ok(count);
        }
        let mut count = 0;
        while count < limit.min(ARRIVALS_PER_TURN)
            && let Some(next) = schedule.next().map(|next| start + next).filter(|next| *next <= now)
        {
            self.campus.arrive(next, now)?;
            schedule.advance();
            count += 1;
        }
        Ok(count)
    }

    fn receive(&mut self) -> Result<usize, EngineError> {
        let mut count = 0;
        for (place, drops) in self.drops.iter_mut().enumerate() {
            let Some(socket) = self.campus.socket(place) else { continue };
            count += self.receiver.receive(socket, false).map_err(EngineError::Receive)?;
            let now = microseconds(self.began.elapsed());
            for packet in self.receiver.packets() {
                let more = packet.drops.wrapping_sub(*drops);
                *drops = packet.drops;
                self.campus.on_packet(now, &packet, more).map_err(EngineError::Ledger)?;
            }
        }
        Ok(count)
    }

    /// Waits for a packet, the next arrival or the next timer.
    fn rest(&self, next_arrival: Option<u64>) -> Result<(), EngineError> {
        let elapsed = self.began.elapsed();
        let until = next_arrival
            .map_or(WAIT_MAX, |next| Duration::from_micros(next).saturating_sub(elapsed));
        let tick = if self.campus.has_timers() { Duration::from_millis(1) } else { WAIT_MAX };
        let sockets: Vec<&UdpSocket> =
            (0..2).filter_map(|place| self.campus.socket(place)).collect();
        batch::wait(&sockets, until.min(tick).min(WAIT_MAX)).map_err(EngineError::Receive)
    }

    fn end_second(
        &mut self,
        plan: &PhasePlan,
        elapsed: Duration,
        over_at: Option<Duration>,
        observer: &mut dyn FnMut(&Live<'_>),
    ) {
        let second = self.campus.end_second();
        self.second_ends += Duration::from_secs(1);
        let left = over_at.map(|over_at| over_at.saturating_sub(elapsed));
        let (violations, _) = self.campus.violations();
        let totals = self.campus.totals();
        let usable = self.campus.newcomers().map(Door::usable);
        observer(&Live { phase: &plan.name, elapsed, left, second, totals, violations, usable });
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
