//! One DHCP client as RFC 2131 section 4.4 has it, or as one that misbehaves: time and replies in,
//! messages out.
//!
//! It reads no clock and owns no socket. Whoever drives it calls [`Client::on_time`] when the time
//! that [`Client::next`] names has come, and [`Client::on_reply`] with every reply to its hardware
//! address. What matters to others comes out as a [`Happening`]. All times are milliseconds of one
//! clock that never goes back.
//!
//! It promises that it asks for an offer or for a remembered lease [`TRANSMISSIONS_MAX`] times at most
//! and then begins from nothing, unless it is of a kind that is there to break such rules.

use crate::conduct::Conduct;
use crate::message::{Hardware, Kind, Message, Reply, ReplyKind};
use crate::random::Random;
use std::net::Ipv4Addr;

/// How often a client sends a REQUEST for an offer or for a remembered lease, or an INFORM, before it
/// gives up: with the waits of RFC 2131 section 4.1 a minute in all, as section 3.1 has it. A server
/// that has no record of a client must be silent in INIT-REBOOT (section 4.3.2).
pub const TRANSMISSIONS_MAX: u32 = 4;
/// Milliseconds that a client waits after a DECLINE before it begins anew (RFC 2131 section 3.1), and
/// after a second NAK in a row, so that it and a server that always refuses it do not fill a network.
const PAUSE: u64 = 10_000;

/// The states of RFC 2131 figure 5, and one for a client that asks for options with an INFORM.
/// REBOOTING is the one after INIT-REBOOT has sent its REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing sent yet, or a pause before it begins anew.
    Init,
    /// DISCOVER sent.
    Selecting,
    /// An offer chosen.
    Requesting,
    /// A lease of an earlier life is to be confirmed.
    InitReboot,
    /// Asked for that.
    Rebooting,
    /// Has a lease.
    Bound,
    /// Has a lease, and asks for more options.
    Informing,
    /// T1 has passed: asks its own server.
    Renewing,
    /// T2 has passed: asks any server.
    Rebinding,
}

impl State {
    /// Whether a client in it uses an address.
    #[must_use]
    pub const fn has_lease(self) -> bool {
        matches!(self, Self::Bound | Self::Informing | Self::Renewing | Self::Rebinding)
    }

    /// Whether a client in it waits for an answer.
    #[must_use]
    pub const fn is_asking(self) -> bool {
        !matches!(self, Self::Init | Self::InitReboot | Self::Bound)
    }
}

/// What a client was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// T1, in milliseconds of the driver's clock.
    pub renew_at: u64,
    /// T2.
    pub rebind_at: u64,
    /// When it ends.
    pub ends: u64,
}

/// What a server offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The address.
    pub address: Ipv4Addr,
    /// The server that offers it.
    pub server: Ipv4Addr,
    /// For how long, in seconds; 0 if the offer does not say.
    pub lifetime_seconds: u32,
}

/// Something that others want to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was acknowledged a lease, or the same one again. How long the exchange took, in
    /// milliseconds, from its first message.
    Acknowledged {
        /// The lease.
        lease: Lease,
        /// Milliseconds from the first message of the exchange.
        took: u64,
        /// For how long, in seconds, as the server says it.
        lifetime_seconds: u32,
        /// What had been offered, if an offer came before and the client asked for that.
        offered: Option<Offer>,
    },
    /// A server refused it; it begins anew, unless it does not heed that ([`Conduct::IgnoresNak`]).
    Refused {
        /// The lease that it had or asked for.
        address: Option<Ipv4Addr>,
    },
    /// Its lease ended before anybody renewed it; it begins anew.
    Expired {
        /// The address.
        address: Ipv4Addr,
    },
    /// Nobody answered [`TRANSMISSIONS_MAX`] messages. It begins anew; after an INFORM it goes on
    /// with its lease.
    Unanswered {
        /// Where it stood.
        state: State,
        /// The address that it asked for.
        address: Option<Ipv4Addr>,
    },
    /// Its INFORM was answered, so many milliseconds after the first one.
    Informed {
        /// Milliseconds from the first message of the exchange.
        took: u64,
    },
    /// It was answered and does not heed it ([`Conduct::DiscoversOnly`]).
    Ignored,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Milliseconds until the first retransmission; doubled each time up to sixteen times as long.
    /// RFC 2131 section 4.1 has 4000.
    pub first_wait_milliseconds: u64,
    /// Milliseconds between the messages of a client that floods ([`Conduct::Floods`]).
    pub flood_interval_milliseconds: u32,
    /// What kind it is.
    pub conduct: Conduct,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            first_wait_milliseconds: 4000,
            flood_interval_milliseconds: 100,
            conduct: Conduct::Orderly,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    hardware: Hardware,
    manner: Manner,
    random: Random,
    state: State,
    has_declined: bool,
    /// Whether a NAK has come since the last ACK.
    was_refused: bool,
    lease: Option<Lease>,
    offered: Option<Offer>,
    /// What it asks for although nobody offered it.
    unoffered: Option<Ipv4Addr>,
    xid: u32,
    began: u64,
    sent: u32,
    next: Option<u64>,
}

type Outcome = (Option<Message>, Option<Happening>);

impl Client {
    /// A client that has never had a lease. Nothing happens before [`Client::begin`].
    #[must_use]
    pub fn new(hardware: Hardware, manner: Manner, seed: u64) -> Self {
        Self {
            hardware,
            manner,
            random: Random::new(seed),
            state: State::Init,
            has_declined: false,
            was_refused: false,
            lease: None,
            offered: None,
            unoffered: None,
            xid: 0,
            began: 0,
            sent: 0,
            next: None,
        }
    }

    /// A client that remembers a lease of an earlier life, and will ask for it (INIT-REBOOT).
    #[must_use]
    pub fn with_lease(hardware: Hardware, manner: Manner, seed: u64, lease: Lease) -> Self {
        let client = Self::new(hardware, manner, seed);
        Self { state: State::InitReboot, lease: Some(lease), ..client }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What kind it is.
    #[must_use]
    pub const fn conduct(&self) -> Conduct {
        self.manner.conduct
    }

    /// Its lease, if it has one.
    #[must_use]
    pub const fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// When [`Client::on_time`] wants to be called; `None`: never.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether a reply is one to the exchange that it is in.
    #[must_use]
    pub fn awaits(&self, reply: &Reply) -> bool {
        self.state.is_asking() && reply.xid == self.xid && reply.hardware == self.hardware
    }

    /// Switches the client on.
    pub fn begin(&mut self, now: u64) -> Message {
        if self.state == State::InitReboot {
            self.enter(State::Rebooting, now);
            return self.transmit(now);
        }
        self.restart(now)
    }

    /// Has it begin from nothing, whatever it did before: a machine that was switched off and on and
    /// remembers no lease of here.
    pub fn restart(&mut self, now: u64) -> Message {
        self.lease = None;
        if self.manner.conduct.is_from_elsewhere() {
            self.enter(State::Rebooting, now);
            self.unoffered = Some(self.home_address());
        } else {
            self.enter(State::Selecting, now);
        }
        self.transmit(now)
    }

    /// Has it begin with the lease that it remembers, if that is not over (INIT-REBOOT), or else from
    /// nothing: a machine whose power or network came back.
    pub fn reboot(&mut self, now: u64) -> Message {
        if self.lease.is_none_or(|lease| now >= lease.ends) {
            return self.restart(now);
        }
        self.enter(State::Rebooting, now);
        self.transmit(now)
    }

    /// Switches it off: it waits for nothing and forgets nothing.
    pub fn stop(&mut self) {
        self.state = State::Init;
        self.next = None;
    }

    /// Has it ask any server for its lease at once, as if T2 had come.
    pub fn rebind(&mut self, now: u64) -> Message {
        let state = if self.lease.is_some() { State::Rebinding } else { State::Selecting };
        self.enter(state, now);
        self.transmit(now)
    }

    /// Gives its lease back. `None` if it has none.
    pub fn release(&mut self) -> Option<Message> {
        let lease = self.lease.take()?;
        self.state = State::Init;
        self.next = None;
        self.xid = self.random.xid();
        Some(Message {
            kind: Kind::Release,
            ciaddr: Some(lease.address),
            server_identifier: Some(lease.server),
            ..self.message(0)
        })
    }

    /// Declines its address, which it has found in use, and begins anew after a while. `None` if it has
    /// none.
    pub fn decline(&mut self, now: u64) -> Option<Message> {
        let lease = self.lease.take()?;
        self.pause(now);
        self.has_declined = true;
        Some(Message {
            kind: Kind::Decline,
            requested_address: Some(lease.address),
            server_identifier: Some(lease.server),
            ..self.message(now)
        })
    }

    /// Asks for more options. `None` if it has no lease, or asks for something else already.
    pub fn inform(&mut self, now: u64) -> Option<Message> {
        if self.state != State::Bound || self.lease.is_none() {
            return None;
        }
        self.enter(State::Informing, now);
        Some(self.transmit(now))
    }

    /// The time that it asked for has come.
    pub fn on_time(&mut self, now: u64) -> Outcome {
        if self.next.is_none_or(|next| now < next) {
            return (None, None);
        }
        let Some(lease) = self.lease else { return self.on_time_without_lease(now) };
        match self.state {
            State::Init | State::InitReboot => {
                self.next = None;
                (None, None)
            }
            State::Rebooting if now >= lease.ends || self.sent >= TRANSMISSIONS_MAX => {
                self.give_up(now)
            }
            // A client that floods has a lease and goes on asking for it.
            _ if now >= lease.ends => {
                let expired = Happening::Expired { address: lease.address };
                (Some(self.restart(now)), Some(expired))
            }
            State::Bound | State::Renewing | State::Informing if now >= lease.rebind_at => {
                self.enter(State::Rebinding, now);
                (Some(self.transmit(now)), None)
            }
            State::Bound | State::Informing if now >= lease.renew_at => {
                self.enter(State::Renewing, now);
                (Some(self.transmit(now)), None)
            }
            State::Informing if self.sent >= TRANSMISSIONS_MAX => {
                self.state = State::Bound;
                self.next = Some(lease.renew_at);
                let (state, address) = (State::Informing, Some(lease.address));
                (None, Some(Happening::Unanswered { state, address }))
            }
            _ => (Some(self.transmit(now)), None),
        }
    }

    fn on_time_without_lease(&mut self, now: u64) -> Outcome {
        let is_patient = self.manner.conduct == Conduct::Floods;
        match self.state {
            // The pause is over.
            State::Init => (Some(self.restart(now)), None),
            State::Requesting | State::Rebooting
                if self.sent >= TRANSMISSIONS_MAX && !is_patient =>
            {
                self.give_up(now)
            }
            State::Selecting | State::Requesting | State::Rebooting => {
                (Some(self.transmit(now)), None)
            }
            _ => {
                self.next = None;
                (None, None)
            }
        }
    }

    fn give_up(&mut self, now: u64) -> Outcome {
        let unanswered = Happening::Unanswered { state: self.state, address: self.asked_for() };
        self.lease = None;
        self.enter(State::Selecting, now);
        (Some(self.transmit(now)), Some(unanswered))
    }

    /// A reply to its hardware address has come. One that is not for its present exchange is ignored.
    pub fn on_reply(&mut self, now: u64, reply: &Reply) -> Outcome {
        if !self.awaits(reply) {
            return (None, None);
        }
        match (self.state, reply.kind, reply.server_identifier) {
            (State::Selecting, ReplyKind::Offer, Some(server)) => {
                if self.manner.conduct == Conduct::DiscoversOnly {
                    return (None, Some(Happening::Ignored));
                }
                let lifetime_seconds = reply.lifetime_seconds.unwrap_or(0);
                self.offered = Some(Offer { address: reply.yiaddr, server, lifetime_seconds });
                if self.manner.conduct == Conduct::AsksUnoffered {
                    self.unoffered = Some(u32::from(reply.yiaddr).wrapping_add(1).into());
                }
                self.state = State::Requesting;
                self.sent = 0;
                (Some(self.transmit(now)), None)
            }
            (State::Informing, ReplyKind::Ack, Some(_)) => {
                self.state = State::Bound;
                self.next = self.lease.map(|lease| lease.renew_at);
                (None, Some(Happening::Informed { took: now.saturating_sub(self.began) }))
            }
            (
                State::Requesting | State::Rebooting | State::Renewing | State::Rebinding,
                ReplyKind::Ack,
                Some(server),
            ) => self.bind(now, reply, server),
            (
                State::Requesting | State::Rebooting | State::Renewing | State::Rebinding,
                ReplyKind::Nak,
                _,
            ) => {
                let refused = Some(Happening::Refused { address: self.asked_for() });
                if self.manner.conduct == Conduct::IgnoresNak {
                    return (None, refused);
                }
                self.lease = None;
                if std::mem::replace(&mut self.was_refused, true) {
                    self.pause(now);
                    return (None, refused);
                }
                self.enter(State::Selecting, now);
                (Some(self.transmit(now)), refused)
            }
            _ => (None, None),
        }
    }

    fn bind(&mut self, now: u64, reply: &Reply, server: Ipv4Addr) -> Outcome {
        // An ACK without a lifetime answers an INFORM, and this client has sent none.
        let Some(lifetime_seconds) = reply.lifetime_seconds else { return (None, None) };
        let milliseconds = |seconds: u32| u64::from(seconds) * 1000;
        let lifetime = milliseconds(lifetime_seconds);
        let renewal = reply.renewal_seconds.map_or(lifetime / 2, milliseconds).min(lifetime);
        let rebinding =
            reply.rebinding_seconds.map_or(lifetime * 7 / 8, milliseconds).clamp(renewal, lifetime);
        let after = |milliseconds: u64| now.saturating_add(milliseconds);
        let lease = Lease {
            address: reply.yiaddr,
            server,
            renew_at: after(renewal),
            rebind_at: after(rebinding),
            ends: after(lifetime),
        };
        self.lease = Some(lease);
        self.was_refused = false;
        let offered = self.offered.filter(|_| self.unoffered.is_none());
        let took = now.saturating_sub(self.began);
        let happening = Happening::Acknowledged { lease, took, lifetime_seconds, offered };
        let is_new = matches!(self.state, State::Requesting | State::Rebooting);
        let message = match self.manner.conduct {
            // It stays in REQUESTING, and its next message is due as before.
            Conduct::Floods if is_new => return (None, Some(happening)),
            Conduct::Declines => self.decline(now),
            Conduct::DeclinesOnce if !self.has_declined => self.decline(now),
            conduct => {
                self.state = State::Bound;
                (self.offered, self.unoffered) = (None, None);
                let is_deaf = conduct == Conduct::NeverRenews;
                self.next = Some(if is_deaf { lease.ends } else { lease.renew_at });
                if conduct == Conduct::Informs && is_new { self.inform(now) } else { None }
            }
        };
        (message, Some(happening))
    }

    /// Begins an exchange.
    fn enter(&mut self, state: State, now: u64) {
        self.state = state;
        self.xid = self.random.xid();
        self.began = now;
        self.sent = 0;
        (self.offered, self.unoffered) = (None, None);
    }

    /// It begins anew after a while.
    fn pause(&mut self, now: u64) {
        self.enter(State::Init, now);
        // The first wait of a test may be far below four seconds.
        let wait = PAUSE.min(self.manner.first_wait_milliseconds.saturating_mul(5) / 2);
        self.next = Some(now.saturating_add(wait));
    }

    /// The address that the present exchange is about.
    fn asked_for(&self) -> Option<Ipv4Addr> {
        let held = self.lease.map(|lease| lease.address);
        held.or(self.unoffered).or(self.offered.map(|offer| offer.address))
    }

    /// An address such as routers in homes give.
    fn home_address(&mut self) -> Ipv4Addr {
        let number = u32::try_from(self.random.below(200)).unwrap_or(0);
        Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 1, 2)) + number)
    }

    /// The message of the present state, once more if it was sent before.
    fn transmit(&mut self, now: u64) -> Message {
        if self.manner.conduct == Conduct::DiscoversOnly {
            self.xid = self.random.xid();
        }
        self.next = Some(self.next_transmission(now));
        self.sent = self.sent.saturating_add(1);
        let message = self.message(now);
        let lease = self.lease.map(|lease| lease.address);
        match self.state {
            State::Requesting => Message {
                requested_address: self.unoffered.or(self.offered.map(|offer| offer.address)),
                server_identifier: self.offered.map(|offer| offer.server),
                ..message
            },
            State::Rebooting => Message { requested_address: lease.or(self.unoffered), ..message },
            State::Renewing | State::Rebinding => Message { ciaddr: lease, ..message },
            State::Informing => Message { kind: Kind::Inform, ciaddr: lease, ..message },
            _ => Message { kind: Kind::Discover, ..message },
        }
    }

    fn message(&self, now: u64) -> Message {
        let seconds = now.saturating_sub(self.began) / 1000;
        Message {
            kind: Kind::Request,
            xid: self.xid,
            secs: u16::try_from(seconds).unwrap_or(u16::MAX),
            hardware: self.hardware,
            ciaddr: None,
            requested_address: None,
            server_identifier: None,
        }
    }

    /// RFC 2131 section 4.1: 4, 8, 16, 32, 64 seconds, each with up to a second more or less; section
    /// 4.4.5: in RENEWING and REBINDING half of what is left, not less than a minute.
    fn next_transmission(&mut self, now: u64) -> u64 {
        const MINUTE: u64 = 60_000;
        if self.manner.conduct == Conduct::Floods {
            return now.saturating_add(u64::from(self.manner.flood_interval_milliseconds.max(1)));
        }
        let limit = match (self.state, self.lease) {
            (State::Renewing, Some(lease)) => lease.rebind_at,
            (State::Rebinding, Some(lease)) => lease.ends,
            (state, lease) => {
                let wait = self.manner.first_wait_milliseconds << self.sent.min(4);
                let shift = self.manner.first_wait_milliseconds / 4;
                let early = now.saturating_add(wait).saturating_sub(shift);
                let next = early.saturating_add(self.random.below(2 * shift + 1));
                // What is asked for beside a lease does not keep it from being renewed.
                return match (state, lease) {
                    (State::Informing, Some(lease)) => next.min(lease.renew_at.max(now + 1)),
                    _ => next,
                };
            }
        };
        let left = limit.saturating_sub(now);
        // The first wait of a test may be far below a minute, and then so is the least.
        let least = MINUTE.min(self.manner.first_wait_milliseconds.saturating_mul(15));
        now.saturating_add((left / 2).max(least)).min(limit.max(now + 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 10);

    fn client() -> Client {
        Client::new(Hardware::of_client(1), Manner::default(), 1)
    }

    fn reply(kind: ReplyKind, to: &Message) -> Reply {
        Reply {
            kind,
            xid: to.xid,
            hardware: to.hardware,
            yiaddr: ADDRESS,
            giaddr: Ipv4Addr::UNSPECIFIED,
            server_identifier: Some(SERVER),
            lifetime_seconds: Some(3600),
            renewal_seconds: Some(1800),
            rebinding_seconds: Some(3150),
        }
    }

    fn bound() -> Client {
        let mut client = client();
        let discover = client.begin(0);
        let (request, _) = client.on_reply(0, &reply(ReplyKind::Offer, &discover));
        client.on_reply(0, &reply(ReplyKind::Ack, &request.unwrap()));
        assert_eq!(client.state(), State::Bound);
        client
    }

    #[test]
    fn discover_offer_request_ack() {
        let mut client = client();
        let discover = client.begin(0);
        assert_eq!((discover.kind, discover.requested_address), (Kind::Discover, None));
        let (request, none) = client.on_reply(10, &reply(ReplyKind::Offer, &discover));
        let request = request.unwrap();
        assert_eq!(none, None);
        assert_eq!(request.requested_address, Some(ADDRESS));
        assert_eq!(request.server_identifier, Some(SERVER));
        assert_eq!(request.xid, discover.xid, "RFC 2131 section 4.4.1");
        let (none, happening) = client.on_reply(20, &reply(ReplyKind::Ack, &request));
        assert_eq!(none, None);
        let lease = Lease {
            address: ADDRESS,
            server: SERVER,
            renew_at: 1_800_020,
            rebind_at: 3_150_020,
            ends: 3_600_020,
        };
        let offer = Offer { address: ADDRESS, server: SERVER, lifetime_seconds: 3600 };
        let expected = Happening::Acknowledged {
            lease,
            took: 20,
            lifetime_seconds: 3600,
            offered: Some(offer),
        };
        assert_eq!(happening, Some(expected));
        assert_eq!(client.next(), Some(lease.renew_at));
    }

    #[test]
    fn silence_is_waited_for_longer_each_time() {
        let mut client = client();
        client.begin(0);
        let mut now = 0;
        for expected in [4000_u64, 8000, 16_000, 32_000, 64_000, 64_000] {
            let next = client.next().unwrap();
            assert!((next - now).abs_diff(expected) <= 1000, "{expected}: {}", next - now);
            assert_eq!(client.on_time(next - 1), (None, None));
            now = next;
            assert_eq!(client.on_time(now).0.unwrap().kind, Kind::Discover);
        }
    }

    #[test]
    fn replies_to_others_and_to_former_exchanges_are_ignored() {
        let mut client = client();
        let discover = client.begin(0);
        let foreign = Reply { xid: discover.xid ^ 1, ..reply(ReplyKind::Offer, &discover) };
        assert_eq!(client.on_reply(1, &foreign), (None, None));
        let other = Hardware::of_client(2);
        let foreign = Reply { hardware: other, ..reply(ReplyKind::Offer, &discover) };
        assert_eq!(client.on_reply(1, &foreign), (None, None));
        assert_eq!(client.on_reply(1, &reply(ReplyKind::Ack, &discover)), (None, None));
        assert_eq!(client.state(), State::Selecting);
    }

    #[test]
    fn renewing_then_rebinding_then_the_end() {
        let mut client = bound();
        let (renewal, _) = client.on_time(1_800_000);
        let renewal = renewal.unwrap();
        assert_eq!((renewal.ciaddr, renewal.requested_address), (Some(ADDRESS), None));
        assert_eq!((client.state(), renewal.server_identifier), (State::Renewing, None));
        assert_eq!(client.next(), Some(1_800_000 + 675_000), "half of what is left until T2");
        client.on_time(3_150_000);
        assert_eq!(client.state(), State::Rebinding);
        let (discover, happening) = client.on_time(3_600_000);
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        assert_eq!(happening, Some(Happening::Expired { address: ADDRESS }));
        assert_eq!(client.lease(), None);
    }

    #[test]
    fn a_renewal_that_is_answered_starts_the_lease_anew() {
        let mut client = bound();
        let (renewal, _) = client.on_time(1_800_000);
        let (_, happening) = client.on_reply(1_800_010, &reply(ReplyKind::Ack, &renewal.unwrap()));
        assert!(
            matches!(happening, Some(Happening::Acknowledged { lease, took: 10, offered: None, .. })
            if lease.ends == 5_400_010)
        );
    }

    #[test]
    fn a_nak_begins_anew() {
        let mut client = bound();
        let request = client.rebind(5);
        assert_eq!((client.state(), request.ciaddr), (State::Rebinding, Some(ADDRESS)));
        let (discover, happening) = client.on_reply(6, &reply(ReplyKind::Nak, &request));
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        assert_eq!(happening, Some(Happening::Refused { address: Some(ADDRESS) }));
    }

    #[test]
    fn a_second_nak_in_a_row_is_followed_by_a_pause() {
        let mut client = client();
        let mut discover = client.begin(0);
        for now in [0, 10_000] {
            for turn in [0, 1] {
                let (request, _) = client.on_reply(now, &reply(ReplyKind::Offer, &discover));
                let answer = reply(ReplyKind::Nak, &request.unwrap());
                let (next, happening) = client.on_reply(now, &answer);
                assert!(matches!(happening, Some(Happening::Refused { .. })));
                match next {
                    Some(next) => discover = next,
                    None => {
                        assert_eq!(
                            (client.state(), client.next()),
                            (State::Init, Some(now + 10_000))
                        );
                        discover = client.on_time(now + 10_000).0.unwrap();
                        assert!(turn == 1 || now > 0);
                        break;
                    }
                }
            }
        }
        let (request, _) = client.on_reply(20_000, &reply(ReplyKind::Offer, &discover));
        client.on_reply(20_000, &reply(ReplyKind::Ack, &request.unwrap()));
        let renewal = client.on_time(client.next().unwrap()).0.unwrap();
        let (discover, _) = client.on_reply(2_000_000, &reply(ReplyKind::Nak, &renewal));
        assert_eq!(discover.unwrap().kind, Kind::Discover, "an ACK came between");
    }

    #[test]
    fn a_remembered_lease_is_asked_for() {
        let lease = Lease { address: ADDRESS, server: SERVER, renew_at: 1, rebind_at: 2, ends: 3 };
        let hardware = Hardware::of_client(1);
        let mut client = Client::with_lease(hardware, Manner::default(), 1, lease);
        let request = client.begin(0);
        assert_eq!(client.state(), State::Rebooting);
        assert_eq!((request.requested_address, request.ciaddr), (Some(ADDRESS), None));
        assert_eq!(request.server_identifier, None);
    }

    #[test]
    fn a_release_names_what_is_released() {
        let mut client = bound();
        let release = client.release().unwrap();
        assert_eq!((release.kind, release.ciaddr), (Kind::Release, Some(ADDRESS)));
        assert_eq!((client.lease(), client.next(), client.release()), (None, None, None));
    }

    fn of(conduct: Conduct) -> Client {
        Client::new(Hardware::of_client(1), Manner { conduct, ..Manner::default() }, 1)
    }

    /// Plays until a lease is acknowledged; what the client sends and says then.
    fn acknowledged(client: &mut Client) -> Outcome {
        let discover = client.begin(0);
        assert_eq!(discover.kind, Kind::Discover);
        let (request, _) = client.on_reply(0, &reply(ReplyKind::Offer, &discover));
        client.on_reply(0, &reply(ReplyKind::Ack, &request.unwrap()))
    }

    #[test]
    fn an_offer_is_asked_for_during_a_minute() {
        let mut client = client();
        let discover = client.begin(0);
        let (first, _) = client.on_reply(0, &reply(ReplyKind::Offer, &discover));
        for _ in 1..TRANSMISSIONS_MAX {
            let (again, none) = client.on_time(client.next().unwrap());
            assert_eq!((again.unwrap().xid, none), (first.unwrap().xid, None));
        }
        let now = client.next().unwrap();
        assert!(now.abs_diff(60_000) <= 10_000, "{now}");
        let (discover, happening) = client.on_time(now);
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        let (state, address) = (State::Requesting, Some(ADDRESS));
        assert_eq!(happening, Some(Happening::Unanswered { state, address }));
    }

    #[test]
    fn a_silent_server_ends_init_reboot() {
        let mut client = bound();
        let request = client.reboot(5000);
        assert_eq!((client.state(), request.requested_address), (State::Rebooting, Some(ADDRESS)));
        for _ in 1..TRANSMISSIONS_MAX {
            assert_eq!(client.on_time(client.next().unwrap()).0.unwrap().xid, request.xid);
        }
        let (discover, happening) = client.on_time(client.next().unwrap());
        assert_eq!((client.lease(), discover.unwrap().kind), (None, Kind::Discover));
        let (state, address) = (State::Rebooting, Some(ADDRESS));
        assert_eq!(happening, Some(Happening::Unanswered { state, address }));
    }

    #[test]
    fn a_lease_that_is_over_is_not_asked_for() {
        let mut client = bound();
        assert_eq!(client.reboot(3_600_000).kind, Kind::Discover);
        assert_eq!((client.state(), client.lease()), (State::Selecting, None));
        // It ends while the client asks for it.
        let mut client = bound();
        client.reboot(3_599_000);
        let (discover, happening) = client.on_time(client.next().unwrap());
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        assert!(matches!(happening, Some(Happening::Unanswered { .. })));
    }

    #[test]
    fn a_confirmed_lease_is_held_again() {
        let mut client = bound();
        let request = client.reboot(5000);
        let (none, happening) = client.on_reply(5001, &reply(ReplyKind::Ack, &request));
        assert_eq!((none, client.state()), (None, State::Bound));
        assert!(matches!(happening, Some(Happening::Acknowledged { took: 1, offered: None, .. })));
    }

    #[test]
    fn a_declined_address_is_named_and_another_asked_for_after_ten_seconds() {
        let mut client = bound();
        let decline = client.decline(1000).unwrap();
        assert_eq!((decline.kind, decline.ciaddr), (Kind::Decline, None));
        assert_eq!(decline.requested_address, Some(ADDRESS));
        assert_eq!(decline.server_identifier, Some(SERVER));
        assert_eq!((client.lease(), client.next()), (None, Some(11_000)));
        assert_eq!(client.decline(1001), None);
        assert_eq!(client.on_time(11_000).0.unwrap().kind, Kind::Discover);
    }

    #[test]
    fn an_inform_is_answered_without_a_lease() {
        let mut client = bound();
        let inform = client.inform(1000).unwrap();
        assert_eq!((inform.kind, inform.ciaddr), (Kind::Inform, Some(ADDRESS)));
        assert_eq!((client.state(), client.inform(1000)), (State::Informing, None));
        let lease = client.lease();
        let answer = Reply { lifetime_seconds: None, ..reply(ReplyKind::Ack, &inform) };
        let (none, happening) = client.on_reply(1020, &answer);
        assert_eq!((none, happening), (None, Some(Happening::Informed { took: 20 })));
        assert_eq!((client.state(), client.lease()), (State::Bound, lease));
        assert_eq!(client.next(), Some(1_800_000), "T1 stays");
    }

    #[test]
    fn an_inform_that_nobody_answers_leaves_the_lease_and_t1_alone() {
        let mut client = bound();
        client.inform(0).unwrap();
        for _ in 1..TRANSMISSIONS_MAX {
            assert_eq!(client.on_time(client.next().unwrap()).0.unwrap().kind, Kind::Inform);
        }
        let (none, happening) = client.on_time(client.next().unwrap());
        assert_eq!((none, client.state()), (None, State::Bound));
        assert!(matches!(happening, Some(Happening::Unanswered { state: State::Informing, .. })));
        client.inform(1_799_000).unwrap();
        assert_eq!(client.next(), Some(1_800_000));
        assert_eq!(client.on_time(1_800_000).0.unwrap().kind, Kind::Request);
        assert_eq!(client.state(), State::Renewing);
    }

    #[test]
    fn one_that_never_renews_lets_its_lease_end() {
        let mut client = of(Conduct::NeverRenews);
        acknowledged(&mut client);
        assert_eq!(client.next(), Some(3_600_000));
        let (discover, happening) = client.on_time(3_600_000);
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        assert_eq!(happening, Some(Happening::Expired { address: ADDRESS }));
    }

    #[test]
    fn one_that_asks_unoffered_asks_in_the_servers_name_for_the_next_address() {
        let mut client = of(Conduct::AsksUnoffered);
        let discover = client.begin(0);
        let (request, _) = client.on_reply(0, &reply(ReplyKind::Offer, &discover));
        let request = request.unwrap();
        assert_eq!(request.requested_address, Some(Ipv4Addr::new(10, 20, 0, 11)));
        assert_eq!(request.server_identifier, Some(SERVER));
        let mut refused = client.clone();
        let (discover, _) = refused.on_reply(0, &reply(ReplyKind::Nak, &request));
        assert_eq!(discover.unwrap().kind, Kind::Discover);
        // An ACK breaks no terms: it is what was asked for.
        let (_, happening) = client.on_reply(0, &reply(ReplyKind::Ack, &request));
        assert!(matches!(happening, Some(Happening::Acknowledged { offered: None, .. })));
    }

    #[test]
    fn one_from_home_asks_for_its_address_there_and_heeds_a_nak_unless_it_ignores_it() {
        for (conduct, state) in
            [(Conduct::ComesFromHome, State::Selecting), (Conduct::IgnoresNak, State::Rebooting)]
        {
            let mut client = of(conduct);
            let request = client.begin(0);
            let asked = request.requested_address;
            assert!(matches!(asked.unwrap().octets(), [192, 168, 1, 2..=201]), "{request:?}");
            assert_eq!((request.kind, request.server_identifier), (Kind::Request, None));
            let (_, happening) = client.on_reply(1, &reply(ReplyKind::Nak, &request));
            assert_eq!(happening, Some(Happening::Refused { address: asked }));
            assert_eq!(client.state(), state, "{conduct}");
            for _ in 1..TRANSMISSIONS_MAX {
                client.on_time(client.next().unwrap());
            }
            if conduct == Conduct::IgnoresNak {
                client.on_time(client.next().unwrap());
            }
            assert_eq!(client.state(), State::Selecting, "{conduct}");
        }
    }

    #[test]
    fn one_that_ignores_a_nak_keeps_its_lease() {
        let mut client = of(Conduct::IgnoresNak);
        client.begin(0);
        for _ in 0..TRANSMISSIONS_MAX {
            client.on_time(client.next().unwrap());
        }
        let discover = client.on_time(client.next().unwrap()).0.unwrap();
        let (request, _) = client.on_reply(100_000, &reply(ReplyKind::Offer, &discover));
        client.on_reply(100_000, &reply(ReplyKind::Ack, &request.unwrap()));
        let (renewal, _) = client.on_time(client.next().unwrap());
        let (none, happening) =
            client.on_reply(2_000_000, &reply(ReplyKind::Nak, &renewal.unwrap()));
        assert_eq!((none, client.state()), (None, State::Renewing));
        assert_eq!(happening, Some(Happening::Refused { address: Some(ADDRESS) }));
        assert!(client.lease().is_some());
    }

    #[test]
    fn one_that_floods_repeats_itself_and_goes_on_with_its_ack() {
        let mut client = of(Conduct::Floods);
        let discover = client.begin(0);
        for turn in 1..50 {
            assert_eq!(client.next(), Some(turn * 100));
            assert_eq!(client.on_time(turn * 100).0.unwrap().xid, discover.xid);
        }
        let (request, _) = client.on_reply(5000, &reply(ReplyKind::Offer, &discover));
        let request = request.unwrap();
        for turn in 0..20 {
            let now = 5000 + turn * 100;
            let (none, happening) = client.on_reply(now, &reply(ReplyKind::Ack, &request));
            assert_eq!((none, client.state()), (None, State::Requesting));
            assert!(matches!(happening, Some(Happening::Acknowledged { lease, .. })
                if lease.ends == now + 3_600_000));
            let again = client.on_time(client.next().unwrap()).0.unwrap();
            assert_eq!((again.xid, again.requested_address), (request.xid, Some(ADDRESS)));
        }
        let over = client.on_time(5000 + 1900 + 3_600_000);
        assert_eq!(over.0.unwrap().kind, Kind::Discover);
        assert_eq!(over.1, Some(Happening::Expired { address: ADDRESS }));
    }

    #[test]
    fn one_that_only_discovers_takes_no_offer_and_has_a_new_identifier_each_time() {
        let mut client = of(Conduct::DiscoversOnly);
        let mut last = client.begin(0);
        for _ in 0..10 {
            let now = client.next().unwrap();
            let offer = reply(ReplyKind::Offer, &last);
            assert_eq!(client.on_reply(now - 1, &offer), (None, Some(Happening::Ignored)));
            let next = client.on_time(now).0.unwrap();
            assert_eq!((next.kind, client.state()), (Kind::Discover, State::Selecting));
            assert_ne!(next.xid, last.xid);
            last = next;
        }
    }

    #[test]
    fn one_that_declines_does_so_once_or_always() {
        for (conduct, again) in
            [(Conduct::DeclinesOnce, State::Bound), (Conduct::Declines, State::Init)]
        {
            let mut client = of(conduct);
            let (decline, happening) = acknowledged(&mut client);
            assert!(matches!(happening, Some(Happening::Acknowledged { .. })));
            assert_eq!(decline.unwrap().kind, Kind::Decline);
            let discover = client.on_time(10_000).0.unwrap();
            let (request, _) = client.on_reply(10_000, &reply(ReplyKind::Offer, &discover));
            client.on_reply(10_000, &reply(ReplyKind::Ack, &request.unwrap()));
            assert_eq!(client.state(), again, "{conduct}");
        }
    }

    #[test]
    fn one_that_informs_does_so_after_each_new_lease_and_after_no_renewal() {
        let mut client = of(Conduct::Informs);
        let (inform, _) = acknowledged(&mut client);
        assert_eq!(inform.unwrap().kind, Kind::Inform);
        let (renewal, _) = client.on_time(1_800_000);
        let (none, _) = client.on_reply(1_800_001, &reply(ReplyKind::Ack, &renewal.unwrap()));
        assert_eq!((none, client.state()), (None, State::Bound));
    }
}
