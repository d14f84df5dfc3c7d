//! One DHCP client as RFC 2131 section 4.4 has it: time and replies in, messages out.
//!
//! It reads no clock and owns no socket. Whoever drives it calls [`Client::on_time`] when the time
//! that [`Client::next`] names has come, and [`Client::on_reply`] with every reply to its hardware
//! address. What matters to others comes out as a [`Happening`]. All times are milliseconds of one
//! clock that never goes back.

use crate::message::{Hardware, Kind, Message, Reply, ReplyKind};
use crate::random::Random;
use std::net::Ipv4Addr;

/// The states of RFC 2131 figure 5. REBOOTING is the one after INIT-REBOOT has sent its REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing sent yet.
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
    /// T1 has passed: asks its own server.
    Renewing,
    /// T2 has passed: asks any server.
    Rebinding,
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
        /// What had been offered, if an offer came before.
        offered: Option<Offer>,
    },
    /// A server refused it; it begins anew.
    Refused {
        /// The lease that it had or asked for.
        address: Option<Ipv4Addr>,
    },
    /// Its lease ended before anybody renewed it; it begins anew.
    Expired {
        /// The address.
        address: Ipv4Addr,
    },
}

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Milliseconds until the first retransmission; doubled each time up to sixteen times as long.
    /// RFC 2131 section 4.1 has 4000.
    pub first_wait_milliseconds: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self { first_wait_milliseconds: 4000 }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    hardware: Hardware,
    manner: Manner,
    random: Random,
    state: State,
    lease: Option<Lease>,
    offered: Option<Offer>,
    xid: u32,
    began: u64,
    sent: u32,
    next: Option<u64>,
}

impl Client {
    /// A client that has never had a lease. Nothing happens before [`Client::begin`].
    #[must_use]
    pub fn new(hardware: Hardware, manner: Manner, seed: u64) -> Self {
        Self {
            hardware,
            manner,
            random: Random::new(seed),
            state: State::Init,
            lease: None,
            offered: None,
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

    /// Switches the client on, or back to T2 if it has a lease and is told to rebind.
    pub fn begin(&mut self, now: u64) -> Message {
        match self.state {
            State::InitReboot => self.enter(State::Rebooting, now),
            _ => self.enter(State::Selecting, now),
        }
        self.transmit(now)
    }

    /// Has it begin from nothing, whatever it did before: a machine that was switched off and on and
    /// remembers no lease.
    pub fn restart(&mut self, now: u64) -> Message {
        self.lease = None;
        self.enter(State::Selecting, now);
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

    /// The time that it asked for has come.
    pub fn on_time(&mut self, now: u64) -> (Option<Message>, Option<Happening>) {
        if self.next.is_none_or(|next| now < next) {
            return (None, None);
        }
        match (self.state, self.lease) {
            (State::Init | State::InitReboot, _) | (State::Bound, None) => {
                self.next = None;
                (None, None)
            }
            (State::Bound | State::Renewing | State::Rebinding, Some(lease))
                if now >= lease.ends =>
            {
                self.lease = None;
                self.enter(State::Selecting, now);
                let expired = Happening::Expired { address: lease.address };
                (Some(self.transmit(now)), Some(expired))
            }
            (State::Bound | State::Renewing, Some(lease)) if now >= lease.rebind_at => {
                self.enter(State::Rebinding, now);
                (Some(self.transmit(now)), None)
            }
            (State::Bound, Some(_)) => {
                self.enter(State::Renewing, now);
                (Some(self.transmit(now)), None)
            }
            _ => (Some(self.transmit(now)), None),
        }
    }

    /// A reply to its hardware address has come. One that is not for its present exchange is ignored.
    pub fn on_reply(&mut self, now: u64, reply: &Reply) -> (Option<Message>, Option<Happening>) {
        if reply.xid != self.xid || reply.hardware != self.hardware {
            return (None, None);
        }
        match (self.state, reply.kind, reply.server_identifier) {
            (State::Selecting, ReplyKind::Offer, Some(server)) => {
                let lifetime_seconds = reply.lifetime_seconds.unwrap_or(0);
                self.offered = Some(Offer { address: reply.yiaddr, server, lifetime_seconds });
                self.state = State::Requesting;
                self.sent = 0;
                (Some(self.transmit(now)), None)
            }
            (
                State::Requesting | State::Rebooting | State::Renewing | State::Rebinding,
                ReplyKind::Ack,
                Some(server),
            ) => (None, self.bind(now, reply, server)),
            (
                State::Requesting | State::Rebooting | State::Renewing | State::Rebinding,
                ReplyKind::Nak,
                _,
            ) => {
                let held = self.lease.take().map(|lease| lease.address);
                let address = held.or(self.offered.map(|offer| offer.address));
                self.enter(State::Selecting, now);
                (Some(self.transmit(now)), Some(Happening::Refused { address }))
            }
            _ => (None, None),
        }
    }

    fn bind(&mut self, now: u64, reply: &Reply, server: Ipv4Addr) -> Option<Happening> {
        // An ACK without a lifetime is the answer to an INFORM, which this client never sends.
        let lifetime_seconds = reply.lifetime_seconds?;
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
        self.state = State::Bound;
        self.next = Some(lease.renew_at);
        let offered = self.offered.take();
        let took = now.saturating_sub(self.began);
        Some(Happening::Acknowledged { lease, took, lifetime_seconds, offered })
    }

    /// Begins an exchange.
    fn enter(&mut self, state: State, now: u64) {
        self.state = state;
        self.xid = self.random.xid();
        self.began = now;
        self.sent = 0;
        self.offered = None;
    }

    /// The message of the present state, once more if it was sent before.
    fn transmit(&mut self, now: u64) -> Message {
        self.next = Some(self.next_transmission(now));
        self.sent = self.sent.saturating_add(1);
        let message = self.message(now);
        let lease = self.lease.map(|lease| lease.address);
        match self.state {
            State::Requesting => Message {
                requested_address: self.offered.map(|offer| offer.address),
                server_identifier: self.offered.map(|offer| offer.server),
                ..message
            },
            State::Rebooting => Message { requested_address: lease, ..message },
            State::Renewing | State::Rebinding => Message { ciaddr: lease, ..message },
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
        let limit = match (self.state, self.lease) {
            (State::Renewing, Some(lease)) => lease.rebind_at,
            (State::Rebinding, Some(lease)) => lease.ends,
            _ => {
                let wait = self.manner.first_wait_milliseconds << self.sent.min(4);
                let shift = self.manner.first_wait_milliseconds / 4;
                let early = now.saturating_add(wait).saturating_sub(shift);
                return early.saturating_add(self.random.below(2 * shift + 1));
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
}
