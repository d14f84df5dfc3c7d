//! The clients of an engine: who arrives and leaves, whose timer it is, which way their messages go.
//!
//! | file | idea |
//! | --- | --- |
//! | `mod` | what clients do |
//! | `replies` | what comes to them, and what becomes of it |
//!
//! It promises that every ACK is in the ledger before the client that got it does anything else, and
//! that a client that misbehaves is in no latency and in no loss: those say what a server does for
//! clients that are served as they should be. It reads no clock: times are microseconds since the run
//! began.

mod replies;

use super::arrivals::Arrivals;
use super::book::{Book, Who};
use super::history::{History, Step};
use super::mix::is_among;
use super::post::{Own, Post};
use super::tally::Tally;
use super::wheel::{Timer, Wheel};
use super::{PhasePlan, Plan, Return, Stay};
use crate::client::{Client, Manner, State};
use crate::ledger::{Ended, Violation};
use crate::message::{Hardware, Kind, Message};
use crate::registration::Door;
use crate::result::{Phase, Second, Totals};
use crate::story::Stories;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// How many clients are looked at for one that is not in an exchange, when one is to arrive again.
const LOOKS_MAX: u32 = 16;

/// A client and where it stands in the engine.
#[derive(Debug)]
struct Slot {
    client: Client,
    history: History,
    /// When its exchange was meant to begin, in microseconds.
    intended: u64,
    /// When its REQUEST for an offer went out, in microseconds.
    requested: u64,
    /// When it leaves, in milliseconds; never: the greatest.
    leaves: u64,
    /// The tick of the timer that counts; others of it are stale. 0: none.
    tick: u32,
    relay: u32,
    /// How often its hardware address was changed.
    lives: u32,
    /// Whether it waits for an answer.
    is_open: bool,
    /// Whether it has had a lease in this life.
    is_known: bool,
    /// Whether its last message went through its relay.
    is_relayed: bool,
    /// Whether the ledger may know a lease of it.
    may_hold: bool,
}

impl Slot {
    const fn is_sound(&self) -> bool {
        self.client.conduct().is_sound()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Campus {
    plan: Plan,
    post: Post,
    slots: Vec<Slot>,
    /// How many have arrived, those who came again included.
    arrived: u64,
    /// Sound clients that wait for an answer.
    open: u32,
    bound: u64,
    /// Clients of a hundred who have forgotten their leases when power returns, if it was cut.
    forgetful_percent: Option<f64>,
    wheel: Wheel,
    due: Vec<Timer>,
    tally: Tally,
    book: Book,
}

/// What a campus leaves behind.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) tally: Tally,
    pub(super) ledger: crate::ledger::Ledger,
    pub(super) stories: Stories,
}

impl Campus {
    pub(super) fn new(
        mut plan: Plan,
        relay_socket: UdpSocket,
        client_socket: Option<UdpSocket>,
        epoch: u64,
    ) -> Self {
        let mut tally = Tally::new(&plan.relays);
        let relays = u32::try_from(plan.relays.len()).unwrap_or(u32::MAX);
        let ledger = std::mem::take(&mut plan.ledger);
        let book = Book::new(ledger, plan.ledger_file.take(), epoch);
        let slots = (0..plan.clients)
            .map(|number| {
                let relay = number % relays;
                let client = client(&plan, number, 0);
                tally.has_client(index(relay), client.conduct());
                Slot {
                    client,
                    history: History::default(),
                    intended: 0,
                    requested: 0,
                    leaves: u64::MAX,
                    tick: 0,
                    relay,
                    lives: 0,
                    is_open: false,
                    is_known: false,
                    is_relayed: true,
                    may_hold: book.has_leases(),
                }
            })
            .collect();
        let (relays, servers) =
            (std::mem::take(&mut plan.relays), std::mem::take(&mut plan.servers));
        Self {
            post: Post::new(relays, servers, plan.renewals, relay_socket, client_socket),
            plan,
            slots,
            arrived: 0,
            open: 0,
            bound: 0,
            forgetful_percent: None,
            wheel: Wheel::default(),
            due: Vec::new(),
            tally,
            book,
        }
    }

    pub(super) const fn returns(&self) -> Return {
        self.plan.returns
    }

    pub(super) fn never_arrived(&self) -> u32 {
        self.plan.clients.saturating_sub(u32::try_from(self.arrived).unwrap_or(u32::MAX))
    }

    /// Exchanges that are open.
    pub(super) const fn open(&self) -> u32 {
        self.open
    }

    /// Who registers clients, if anybody does.
    pub(super) const fn newcomers(&self) -> Option<&Door> {
        self.plan.newcomers.as_ref()
    }

    pub(super) const fn totals(&self) -> Totals {
        self.tally.totals
    }

    pub(super) fn violations(&self) -> (u64, &[Violation]) {
        self.book.violations()
    }

    pub(super) const fn has_timers(&self) -> bool {
        !self.wheel.is_empty()
    }

    /// The relays' socket and, if they have one, the clients'.
    pub(super) fn socket(&self, place: usize) -> Option<&UdpSocket> {
        self.post.socket(place)
    }

    /// Every client is off, without a word; all may arrive once more. So many of a hundred will have
    /// forgotten their leases then, the others ask for them in INIT-REBOOT.
    pub(super) fn power_cut(&mut self, forgetful_percent: f64) {
        for slot in &mut self.slots {
            slot.client.stop();
            (slot.is_open, slot.tick, slot.leaves) = (false, 0, u64::MAX);
        }
        (self.open, self.bound, self.arrived) = (0, 0, 0);
        self.forgetful_percent = Some(forgetful_percent);
    }

    /// The next client arrives. Whether there was one.
    pub(super) fn arrive(&mut self, intended: u64, now: u64) -> io::Result<bool> {
        for _ in 0..LOOKS_MAX {
            let number = u32::try_from(self.arrived % u64::from(self.plan.clients)).unwrap_or(0);
            let is_first = self.arrived < u64::from(self.plan.clients);
            self.arrived += 1;
            let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(false) };
            if slot.is_open {
                continue;
            }
            let before = slot.client.state();
            if !is_first && let Return::Stranger { roams } = self.plan.returns {
                slot.lives += 1;
                slot.is_known = false;
                slot.client = client(&self.plan, number, slot.lives);
                slot.history = History::default();
                if roams {
                    let relays = u32::try_from(self.post.relays().len()).unwrap_or(1);
                    slot.relay = (slot.relay + 1) % relays;
                }
            }
            slot.leaves = u64::MAX;
            slot.intended = intended;
            let remembers = match self.forgetful_percent {
                Some(percent) => !is_among(number, percent),
                None => !is_first && self.plan.returns == Return::Reboot,
            };
            let milliseconds = now / 1000;
            let message = if remembers {
                slot.client.reboot(milliseconds)
            } else {
                slot.client.restart(milliseconds)
            };
            let is_sound = slot.is_sound();
            self.tally.went_out(now.saturating_sub(intended));
            if is_sound {
                self.tally.second.intended += 1;
                self.tally.began();
            }
            self.after(number, before, now, Some(message))?;
            return Ok(true);
        }
        // Whoever should have come and could not is lost, or a stalled server would look better.
        self.tally.second.intended += 1;
        self.tally.began();
        self.tally.phase_lost += 1;
        self.tally.error("arrival: no idle client", "have more clients, or a lower rate");
        Ok(false)
    }

    /// What is due by now happens.
    pub(super) fn on_timers(&mut self, now: u64) -> io::Result<()> {
        let milliseconds = now / 1000;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(tick(milliseconds), &mut due);
        for timer in due.drain(..) {
            self.on_timer(timer, now)?;
        }
        self.due = due;
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, now: u64) -> io::Result<()> {
        let milliseconds = now / 1000;
        let Some(slot) = self.slots.get_mut(index(timer.owner)) else { return Ok(()) };
        if slot.tick != timer.tick {
            return Ok(());
        }
        slot.tick = 0;
        let before = slot.client.state();
        if slot.leaves <= milliseconds {
            return self.leave(timer.owner, now);
        }
        let (was_open, is_sound) = (slot.is_open, slot.is_sound());
        let goes_on = goes_on(&self.plan, before);
        let next = slot.client.next().filter(|next| goes_on && *next <= milliseconds);
        let Some(wanted) = next else { return self.after(timer.owner, before, now, None) };
        let (message, happening) = slot.client.on_time(milliseconds);
        if message.is_some() {
            self.tally.went_out(now.saturating_sub(wanted * 1000));
            if before != slot.client.state() {
                // A renewal is meant to begin at T1 exactly, and rebinding at T2.
                slot.intended = wanted * 1000;
            }
            match happening {
                // The DISCOVER after the end of a lease is counted with that.
                Some(_) => {}
                None if !is_sound => {}
                None if was_open => self.tally.retransmitted(index(slot.relay)),
                None => self.tally.began(),
            }
        }
        self.happened(timer.owner, before, now, happening)?;
        self.after(timer.owner, before, now, message)
    }

    /// Gives up all exchanges that are open.
    pub(super) fn give_up(&mut self) {
        for slot in &mut self.slots {
            if slot.is_open && slot.is_sound() {
                slot.client.stop();
                slot.is_open = false;
                self.open -= 1;
                self.tally.phase_lost += 1;
                self.tally.error("exchange: no answer", "no reply within the phase");
            }
        }
    }

    /// Writes and sends what is collected: the ledger first.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.book.flush()?;
        let tally = &mut self.tally;
        self.post.flush(|error| tally.send_error(&error));
        Ok(())
    }

    pub(super) fn end_second(&mut self) -> Second {
        self.tally.end_second(u64::from(self.open), self.bound)
    }

    pub(super) fn end_phase(
        &mut self,
        plan: &PhasePlan,
        began: Duration,
        ended: Duration,
    ) -> Phase {
        let is_last_word = if plan.is_drained { 0 } else { u64::from(self.open) };
        let phase = Phase {
            name: plan.name.clone(),
            began_seconds: began.as_secs_f64(),
            elapsed_seconds: ended.saturating_sub(began).as_secs_f64(),
            arrivals_per_second: match plan.arrivals {
                Arrivals::Rate(rate) => Some(rate),
                _ => None,
            },
            began: self.tally.phase_began,
            acknowledged: self.tally.phase_latency.count(),
            lost: self.tally.phase_lost + is_last_word,
            latency: std::mem::take(&mut self.tally.phase_latency),
            within_limits: None,
        };
        (self.tally.phase_began, self.tally.phase_lost) = (0, 0);
        phase
    }

    pub(super) fn finish(mut self) -> Remains {
        self.tally.end_second(u64::from(self.open), self.bound);
        self.tally.totals.open_at_end = u64::from(self.open);
        self.tally.totals.bound_at_end = self.bound;
        let (ledger, stories) = self.book.finish();
        Remains { tally: self.tally, ledger, stories }
    }

    fn leave(&mut self, number: u32, now: u64) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(()) };
        let before = slot.client.state();
        slot.leaves = u64::MAX;
        let releases = matches!(self.plan.stay, Stay::Leaving { releases: true, .. });
        let message = if releases { slot.client.release() } else { None };
        slot.client.stop();
        self.after(number, before, now, message)
    }

    /// After anything that a client did: counts where it stands, sends its message, sets its timer.
    fn after(
        &mut self,
        number: u32,
        before: State,
        now: u64,
        message: Option<Message>,
    ) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(()) };
        let state = slot.client.state();
        let is_open = state.is_asking();
        if slot.is_sound() {
            match (slot.is_open, is_open) {
                (false, true) => self.open += 1,
                (true, false) => self.open -= 1,
                _ => {}
            }
        }
        slot.is_open = is_open;
        match (before.has_lease(), state.has_lease()) {
            (false, true) => self.bound += 1,
            (true, false) => self.bound = self.bound.saturating_sub(1),
            _ => {}
        }
        let goes_on = goes_on(&self.plan, state);
        let next = slot.client.next().filter(|_| goes_on);
        let next = next.into_iter().chain(Some(slot.leaves)).min().filter(|next| *next < u64::MAX);
        if let Some(next) = next {
            // A tick of 0 says that there is none.
            let wanted = tick(next.max(now / 1000)).max(1);
            if slot.tick == 0 || wanted < slot.tick {
                slot.tick = wanted;
                self.wheel.set(Timer { owner: number, tick: wanted });
            }
        }
        let Some(message) = message else { return Ok(()) };
        slot.history.note(now / 1000, Step::sent(&message, state));
        let lease = slot.client.lease();
        let own = match (state, message.kind) {
            (State::Renewing | State::Informing, _) => {
                lease.map(|lease| (lease.address, lease.server))
            }
            (_, Kind::Release) => message.ciaddr.zip(message.server_identifier),
            _ => None,
        };
        let own = own.filter(|own| self.post.is_own(*own));
        slot.is_relayed = own.is_none();
        let (relay, conduct) = (index(slot.relay), slot.client.conduct());
        let ended = match message.kind {
            Kind::Release => Some(Ended::Released),
            Kind::Decline => Some(Ended::Declined),
            _ => None,
        };
        if let Some(ended) = ended {
            let client = hardware(&self.plan, number, slot.lives);
            self.book.given_back(now / 1000, client, ended)?;
        }
        self.tally.sent(&message, relay, conduct);
        self.send(&message, relay, own)
    }

    /// `own`: if the message should not pass the relay.
    fn send(&mut self, message: &Message, relay: usize, own: Option<Own>) -> io::Result<()> {
        if let Some(own) = own {
            if self.post.is_full() {
                self.flush()?;
            }
            self.post.add_own(message, own);
            return Ok(());
        }
        for server in 0..self.post.servers() {
            if self.post.is_full() {
                self.flush()?;
            }
            self.post.add_relayed(message, relay, server);
        }
        Ok(())
    }

    fn who(&self, number: u32) -> Who {
        let slot = self.slots.get(index(number));
        let (lives, relay) = slot.map_or((0, 0), |slot| (slot.lives, slot.relay));
        let giaddr: Ipv4Addr = self.post.giaddr(index(relay));
        Who { client: hardware(&self.plan, number, lives), giaddr }
    }
}

/// Whether a client in a state is called when its time has come. One that has its lease and stays idle
/// is not; one that has declined an address begins anew.
fn goes_on(plan: &Plan, state: State) -> bool {
    plan.stay == Stay::Renewing || state.is_asking() || state == State::Init
}

fn hardware(plan: &Plan, number: u32, lives: u32) -> Hardware {
    let number = number.wrapping_add(lives.wrapping_mul(plan.clients));
    Hardware::of_client(plan.first_client.wrapping_add(number))
}

fn client(plan: &Plan, number: u32, lives: u32) -> Client {
    let seed = plan.seed ^ (u64::from(number) << 32) ^ u64::from(lives);
    let manner = Manner { conduct: plan.mix.of_client(number), ..plan.manner };
    Client::new(hardware(plan, number, lives), manner, seed)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Milliseconds as a tick of the wheel; a run does not last 49 days.
fn tick(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}
