//! The clients of an engine: whose reply, whose timer, and which way their messages go.
//!
//! It promises that every ACK is in the ledger before the client that got it does anything else. It
//! reads no clock: times are microseconds since the run began.

use super::arrivals::Arrivals;
use super::batch::{Packet, Sender};
use super::tally::Tally;
use super::wheel::{Timer, Wheel};
use super::{PhasePlan, Plan, Renewals, Return, Stay};
use crate::client::{Client, Happening, State};
use crate::ledger::{Entry, Holding, Ledger, Violation};
use crate::message::{Hardware, Kind, Message, Relay, Reply, ReplyKind};
use crate::result::{Pair, Phase, Second, Totals, VIOLATIONS_MAX};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// How many clients are looked at for one that is not in an exchange, when one is to arrive again.
const LOOKS_MAX: u32 = 16;

/// A client and where it stands in the engine.
#[derive(Debug)]
struct Slot {
    client: Client,
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
    is_open: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Campus {
    plan: Plan,
    relay_socket: UdpSocket,
    client_socket: Option<UdpSocket>,
    by_relay: Sender,
    by_client: Sender,
    slots: Vec<Slot>,
    /// How many have arrived, those who came again included.
    arrived: u64,
    open: u32,
    bound: u64,
    wheel: Wheel,
    due: Vec<Timer>,
    tally: Tally,
    ledger: Ledger,
    violations: u64,
    violations_shown: Vec<Violation>,
    /// The wall clock when the engine began, in milliseconds since the Unix epoch.
    epoch: u64,
}

impl Campus {
    pub(super) fn new(
        plan: Plan,
        relay_socket: UdpSocket,
        client_socket: Option<UdpSocket>,
        epoch: u64,
    ) -> Self {
        let mut tally = Tally::new(&plan.relays);
        let relays = u32::try_from(plan.relays.len()).unwrap_or(u32::MAX);
        let slots = (0..plan.clients)
            .map(|number| {
                let relay = number % relays;
                if let Some(row) = tally.relay(index(relay)) {
                    row.clients += 1;
                }
                Slot {
                    client: client(&plan, number, 0),
                    intended: 0,
                    requested: 0,
                    leaves: u64::MAX,
                    tick: 0,
                    relay,
                    lives: 0,
                    is_open: false,
                }
            })
            .collect();
        Self {
            plan,
            relay_socket,
            client_socket,
            by_relay: Sender::default(),
            by_client: Sender::default(),
            slots,
            arrived: 0,
            open: 0,
            bound: 0,
            wheel: Wheel::default(),
            due: Vec::new(),
            tally,
            ledger: Ledger::default(),
            violations: 0,
            violations_shown: Vec::new(),
            epoch,
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

    pub(super) const fn totals(&self) -> Totals {
        self.tally.totals
    }

    pub(super) fn violations(&self) -> (u64, &[Violation]) {
        (self.violations, &self.violations_shown)
    }

    pub(super) const fn has_timers(&self) -> bool {
        !self.wheel.is_empty()
    }

    /// The relays' socket and, if they have one, the clients'.
    pub(super) fn socket(&self, place: usize) -> Option<&UdpSocket> {
        if place == 0 { Some(&self.relay_socket) } else { self.client_socket.as_ref() }
    }

    /// The next client arrives. Whether there was one.
    pub(super) fn arrive(&mut self, intended: u64, now: u64) -> bool {
        self.tally.second.intended += 1;
        for _ in 0..LOOKS_MAX {
            let number = u32::try_from(self.arrived % u64::from(self.plan.clients)).unwrap_or(0);
            let is_first = self.arrived < u64::from(self.plan.clients);
            self.arrived += 1;
            let Some(slot) = self.slots.get_mut(index(number)) else { return false };
            if slot.is_open {
                continue;
            }
            if !is_first && let Return::Stranger { roams } = self.plan.returns {
                slot.lives += 1;
                let seen = slot.client.state();
                slot.client = client(&self.plan, number, slot.lives);
                if seen == State::Bound {
                    self.bound -= 1;
                }
                if roams {
                    let relays = u32::try_from(self.plan.relays.len()).unwrap_or(1);
                    slot.relay = (slot.relay + 1) % relays;
                }
            }
            slot.leaves = u64::MAX;
            slot.intended = intended;
            let before = slot.client.state();
            let message = slot.client.restart(now / 1000);
            self.tally.went_out(now.saturating_sub(intended));
            self.began();
            self.after(number, before, now, Some(message));
            return true;
        }
        // Whoever should have come and could not is lost, or a stalled server would look better.
        self.began();
        self.tally.phase_lost += 1;
        self.tally.error("arrival: no idle client", "have more clients, or a lower rate");
        false
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
            self.leave(timer.owner, now);
            return Ok(());
        }
        let was_open = slot.is_open;
        let renews = self.plan.stay == Stay::Renewing || was_open;
        let next = slot.client.next().filter(|next| renews && *next <= milliseconds);
        let Some(wanted) = next else {
            self.after(timer.owner, before, now, None);
            return Ok(());
        };
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
                None if was_open => self.retransmitted(timer.owner),
                None => self.began(),
            }
        }
        self.happened(timer.owner, before, now, happening)?;
        self.after(timer.owner, before, now, message);
        Ok(())
    }

    /// A packet has come, and the kernel dropped so many before it.
    pub(super) fn on_packet(
        &mut self,
        now: u64,
        packet: &Packet<'_>,
        drops: u32,
    ) -> io::Result<()> {
        if drops > 0 {
            self.tally.kernel_drops += u64::from(drops);
            self.tally.second.kernel_drops += u64::from(drops);
        }
        let Some(reply) = Reply::read(packet.bytes) else {
            self.tally.error("reply: malformed", "not a DHCP reply of a kind that clients take");
            return Ok(());
        };
        let number = reply.hardware.client().and_then(|number| {
            let number = number.wrapping_sub(self.plan.first_client);
            let slot = number % self.plan.clients;
            (self.slots.get(index(slot))?.lives == number / self.plan.clients).then_some(slot)
        });
        let Some(slot) = number.and_then(|number| self.slots.get_mut(index(number))) else {
            self.tally.error("reply: of no client", "the hardware address is of none of ours");
            return Ok(());
        };
        let (number, relay) = (number.unwrap_or(0), index(slot.relay));
        if let Some(row) = self.tally.relay(relay) {
            row.received += 1;
        }
        let before = slot.client.state();
        let (message, happening) = slot.client.on_reply(now / 1000, &reply);
        if message.is_none() && happening.is_none() {
            self.tally.error("reply: not awaited", "late, twice, or from a second server");
            return Ok(());
        }
        match reply.kind {
            ReplyKind::Offer => {
                self.tally.totals.offers += 1;
                slot.requested = now;
                self.tally.took(Pair::DiscoverOffer, now.saturating_sub(slot.intended));
            }
            ReplyKind::Ack => {
                let took = now.saturating_sub(slot.intended);
                let pair = match before {
                    State::Renewing => Pair::RenewAck,
                    State::Rebinding => Pair::RebindAck,
                    State::Rebooting => Pair::RebootAck,
                    _ => {
                        self.tally.totals.doras += 1;
                        self.tally.took(Pair::RequestAck, now.saturating_sub(slot.requested));
                        Pair::Dora
                    }
                };
                self.tally.took(pair, took);
                self.tally.acknowledged(relay, took);
            }
            ReplyKind::Nak => {}
        }
        self.happened(number, before, now, happening)?;
        self.after(number, before, now, message);
        Ok(())
    }

    /// Gives up all exchanges that are open.
    pub(super) fn give_up(&mut self) {
        for slot in &mut self.slots {
            if slot.is_open {
                slot.client.stop();
                slot.is_open = false;
                self.open -= 1;
                self.tally.phase_lost += 1;
                self.tally.error("exchange: no answer", "no reply within the phase");
            }
        }
    }

    /// Sends what is collected.
    pub(super) fn flush(&mut self) {
        let tally = &mut self.tally;
        self.by_relay.flush(&self.relay_socket, |error| tally.send_error(&error));
        if let Some(socket) = &self.client_socket {
            self.by_client.flush(socket, |error| tally.send_error(&error));
        }
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

    pub(super) fn finish(mut self) -> (Tally, Ledger) {
        self.tally.end_second(u64::from(self.open), self.bound);
        self.tally.totals.open_at_end = u64::from(self.open);
        self.tally.totals.bound_at_end = self.bound;
        (self.tally, self.ledger)
    }

    fn began(&mut self) {
        self.tally.second.began += 1;
        self.tally.phase_began += 1;
    }

    fn retransmitted(&mut self, number: u32) {
        self.tally.totals.retransmissions += 1;
        self.tally.second.retransmitted += 1;
        let relay = self.slots.get(index(number)).map_or(0, |slot| index(slot.relay));
        if let Some(row) = self.tally.relay(relay) {
            row.retransmitted += 1;
        }
    }

    fn leave(&mut self, number: u32, now: u64) {
        let Some(slot) = self.slots.get_mut(index(number)) else { return };
        let before = slot.client.state();
        slot.leaves = u64::MAX;
        let hardware = hardware(&self.plan, number, slot.lives);
        let releases = matches!(self.plan.stay, Stay::Leaving { releases: true, .. });
        let message = if releases { slot.client.release() } else { None };
        slot.client.stop();
        if message.is_some() {
            self.ledger.ended(hardware);
        }
        self.after(number, before, now, message);
    }

    /// After anything that a client did: counts where it stands, sends its message, sets its timer.
    fn after(&mut self, number: u32, before: State, now: u64, message: Option<Message>) {
        let Some(slot) = self.slots.get_mut(index(number)) else { return };
        let state = slot.client.state();
        let is_open = !matches!(state, State::Init | State::InitReboot | State::Bound);
        match (slot.is_open, is_open) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            _ => {}
        }
        slot.is_open = is_open;
        // A client that renews still has its lease.
        let has = |state| matches!(state, State::Bound | State::Renewing | State::Rebinding);
        match (has(before), has(state)) {
            (false, true) => self.bound += 1,
            (true, false) => self.bound = self.bound.saturating_sub(1),
            _ => {}
        }
        let renews = self.plan.stay == Stay::Renewing || is_open;
        let next = slot.client.next().filter(|_| renews);
        let next = next.into_iter().chain(Some(slot.leaves)).min().filter(|next| *next < u64::MAX);
        if let Some(next) = next {
            // A tick of 0 says that there is none.
            let wanted = tick(next.max(now / 1000)).max(1);
            if slot.tick == 0 || wanted < slot.tick {
                slot.tick = wanted;
                self.wheel.set(Timer { owner: number, tick: wanted });
            }
        }
        let relay = slot.relay;
        let lease = slot.client.lease();
        if let Some(message) = message {
            let holder = match (state, message.kind) {
                (State::Renewing, _) => lease.map(|lease| (lease.address, lease.server)),
                (_, Kind::Release) => message.ciaddr.zip(message.server_identifier),
                _ => None,
            };
            self.send(&message, relay, holder);
        }
    }

    /// `unicast`: the client's address and the server's, if the message should not pass the relay.
    fn send(&mut self, message: &Message, relay: u32, unicast: Option<(Ipv4Addr, Ipv4Addr)>) {
        let totals = &mut self.tally.totals;
        match message.kind {
            Kind::Discover => totals.discovers += 1,
            Kind::Request => totals.requests += 1,
            Kind::Release => totals.releases += 1,
            Kind::Decline | Kind::Inform => {}
        }
        if let Some(row) = self.tally.relay(index(relay)) {
            row.sent += 1;
        }
        if self.by_relay.is_full() || self.by_client.is_full() {
            self.flush();
        }
        let Some(relay) = self.plan.relays.get(index(relay)) else { return };
        // With RFC 5107 the server's identifier is the relay's own address: renewals go there.
        let unicast = unicast.filter(|(_, server)| {
            self.plan.renewals == Renewals::Unicast && !is_relay(&self.plan.relays, *server)
        });
        if let (Some((client, server)), Some(_)) = (unicast, &self.client_socket) {
            let port = self.plan.servers.first().map_or(0, SocketAddrV4::port);
            let to = SocketAddrV4::new(server, port);
            self.by_client.add(Some(client), to, |bytes| message.append(None, bytes));
            return;
        }
        let from = Some(relay.giaddr);
        for server in &self.plan.servers {
            if self.by_relay.is_full() {
                let tally = &mut self.tally;
                self.by_relay.flush(&self.relay_socket, |error| tally.send_error(&error));
            }
            self.by_relay.add(from, *server, |bytes| message.append(Some(relay), bytes));
        }
    }

    fn happened(
        &mut self,
        number: u32,
        before: State,
        now: u64,
        happening: Option<Happening>,
    ) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(()) };
        let client = hardware(&self.plan, number, slot.lives);
        let relay = index(slot.relay);
        let at = self.epoch.saturating_add(now / 1000);
        match happening {
            Some(Happening::Acknowledged { lease, lifetime_seconds, offered, .. }) => {
                if let Stay::Leaving { after_milliseconds, .. } = self.plan.stay
                    && slot.leaves == u64::MAX
                {
                    slot.leaves = (now / 1000).saturating_add(after_milliseconds);
                }
                let ends = self.epoch.saturating_add(lease.ends);
                if let Some(file) = &mut self.plan.ledger_file {
                    file.write(&Entry {
                        at,
                        client: client.to_string(),
                        address: lease.address,
                        server: lease.server,
                        ends,
                        released: false,
                    })?;
                }
                let holding = Holding { client, server: lease.server, ends };
                let offered = offered.map(|offer| (offer, lifetime_seconds));
                for violation in self.ledger.acknowledged(at, lease.address, holding, offered) {
                    self.violation(violation);
                }
            }
            Some(Happening::Refused { .. }) => {
                self.tally.totals.refusals += 1;
                self.tally.second.refused += 1;
                self.tally.phase_lost += 1;
                self.tally
                    .error("exchange: refused", "the server sent a NAK; the client begins anew");
                if let Some(row) = self.tally.relay(relay) {
                    row.refused += 1;
                }
                // It goes on with a DISCOVER at once, which is an exchange of its own.
                slot.intended = now;
                self.began();
                if let Some(violation) = self.ledger.refused(at, client) {
                    self.violation(violation);
                }
            }
            Some(Happening::Expired { .. }) => {
                self.tally.totals.expiries += 1;
                self.tally.second.expired += 1;
                self.tally.phase_lost += 1;
                let story = match before {
                    State::Renewing => {
                        "T2 had not come: the lease ended while it asked its own server"
                    }
                    _ => "neither its own server nor any other renewed it",
                };
                self.tally.error("lease: ran out", story);
                slot.intended = now;
                self.began();
                self.ledger.ended(client);
            }
            Some(
                Happening::Unanswered { .. } | Happening::Informed { .. } | Happening::Ignored,
            )
            | None => {}
        }
        Ok(())
    }

    fn violation(&mut self, violation: Violation) {
        self.violations += 1;
        if self.violations_shown.len() < VIOLATIONS_MAX {
            self.violations_shown.push(violation);
        }
    }
}

fn is_relay(relays: &[Relay], address: Ipv4Addr) -> bool {
    relays.iter().any(|relay| relay.server_identifier_override && relay.giaddr == address)
}

fn hardware(plan: &Plan, number: u32, lives: u32) -> Hardware {
    let number = number.wrapping_add(lives.wrapping_mul(plan.clients));
    Hardware::of_client(plan.first_client.wrapping_add(number))
}

fn client(plan: &Plan, number: u32, lives: u32) -> Client {
    let seed = plan.seed ^ (u64::from(number) << 32) ^ u64::from(lives);
    Client::new(hardware(plan, number, lives), plan.manner, seed)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Milliseconds as a tick of the wheel; a run does not last 49 days.
fn tick(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}
