//! What comes to the clients, and what becomes of it: replies, leases, refusals, ends of leases.
//!
//! It promises that no bytes make it panic, and that a reply that no relay would pass on reaches no
//! client.

use super::{Campus, hardware, index};
use crate::client::{Happening, Offer, State};
use crate::engine::Stay;
use crate::engine::batch::Packet;
use crate::engine::history::Step;
use crate::engine::post::Arrival;
use crate::message::{Reply, ReplyKind};
use crate::result::Pair;
use crate::story::StoryKind;
use std::io;
use std::time::Duration;

impl Campus {
    /// A packet has come, and the kernel dropped so many before it.
    pub(in crate::engine) fn on_packet(
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
        let slot = number.and_then(|number| Some((number, self.slots.get_mut(index(number))?)));
        let Some((number, slot)) = slot else {
            self.tally.error("reply: of no client", "the hardware address is of none of ours");
            return Ok(());
        };
        let relay = index(slot.relay);
        self.tally.received(relay);
        // What was not through the relay, and what answers an INFORM, comes to the client itself.
        let before = slot.client.state();
        if slot.is_relayed && before != State::Informing && slot.client.awaits(&reply) {
            match self.post.arrival(relay, packet.to, reply.giaddr) {
                Arrival::Home => {}
                Arrival::OtherDoor => self.tally.error(
                    "reply: came to another relay",
                    "the server, or a rewrite on the way, sent it to the address of a relay that it \
                     does not name; a router that is both passes it on",
                ),
                Arrival::OtherName => {
                    self.tally.error(
                        "reply: names another relay",
                        "its giaddr is not that of the request: no relay passes it on to the client",
                    );
                    slot.history.note(now / 1000, Step::OtherRelay);
                    let who = self.who(number);
                    self.book.other_relay(now / 1000, who, reply.giaddr);
                    return Ok(());
                }
            }
        }
        let (message, happening) = slot.client.on_reply(now / 1000, &reply);
        if message.is_none() && happening.is_none() {
            if slot.is_open {
                slot.history.note(now / 1000, Step::Stray);
            }
            self.tally.error("reply: not awaited", "late, twice, or from a second server");
            return Ok(());
        }
        slot.history.note(now / 1000, Step::got(reply.kind));
        let conduct = slot.client.conduct();
        self.tally.answered(conduct);
        match reply.kind {
            ReplyKind::Offer => self.on_offer(number, now, &reply),
            ReplyKind::Ack => self.on_ack(number, before, now),
            ReplyKind::Nak => {}
        }
        self.happened(number, before, now, happening)?;
        self.after(number, before, now, message)
    }

    fn on_offer(&mut self, number: u32, now: u64, reply: &Reply) {
        let Some(slot) = self.slots.get_mut(index(number)) else { return };
        self.tally.offered(index(slot.relay));
        slot.requested = now;
        if slot.is_sound() {
            self.tally.took(Pair::DiscoverOffer, now.saturating_sub(slot.intended));
        }
        if slot.may_hold
            && let Some(server) = reply.server_identifier
        {
            let lifetime_seconds = reply.lifetime_seconds.unwrap_or(0);
            let offer = Offer { address: reply.yiaddr, server, lifetime_seconds };
            let client = hardware(&self.plan, number, slot.lives);
            self.book.offered(now / 1000, client, offer);
        }
    }

    fn on_ack(&mut self, number: u32, before: State, now: u64) {
        let Some(slot) = self.slots.get_mut(index(number)) else { return };
        let relay = index(slot.relay);
        if !slot.is_sound() {
            self.tally.acknowledged_unsound(relay, slot.client.conduct());
            return;
        }
        let took = now.saturating_sub(slot.intended);
        let pair = match before {
            State::Renewing => Pair::RenewAck,
            State::Rebinding => Pair::RebindAck,
            State::Rebooting => Pair::RebootAck,
            State::Informing => Pair::InformAck,
            _ => {
                self.tally.totals.doras += 1;
                self.tally.took(Pair::RequestAck, now.saturating_sub(slot.requested));
                Pair::Dora
            }
        };
        self.tally.took(pair, took);
        self.tally.acknowledged(relay, took, slot.client.conduct());
        if slot.client.state() == State::Informing {
            slot.intended = now;
            self.tally.began();
        }
    }

    /// Notes what came of what a client did or got.
    pub(super) fn happened(
        &mut self,
        number: u32,
        before: State,
        now: u64,
        happening: Option<Happening>,
    ) -> io::Result<()> {
        let Some(happening) = happening else { return Ok(()) };
        let who = self.who(number);
        let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(()) };
        let (relay, conduct, milliseconds) = (index(slot.relay), slot.client.conduct(), now / 1000);
        let (kind, address) = match happening {
            Happening::Acknowledged { lease, lifetime_seconds, offered, .. } => {
                if let Stay::Leaving { after_milliseconds, .. } = self.plan.stay
                    && slot.leaves == u64::MAX
                    && slot.client.state().has_lease()
                {
                    slot.leaves = milliseconds.saturating_add(after_milliseconds);
                }
                slot.may_hold = true;
                if let Some(newcomers) = &self.plan.newcomers
                    && slot.client.state().has_lease()
                    && slot.is_sound()
                    && !slot.is_known
                {
                    slot.is_known = true;
                    let since_intended = now.saturating_sub(slot.intended);
                    newcomers.leased(lease.address, Duration::from_micros(since_intended));
                }
                let offered = offered.map(|offer| (offer, lifetime_seconds));
                return self.book.acknowledged(milliseconds, who, lease, offered);
            }
            Happening::Refused { address } => {
                self.tally.refused(relay, conduct);
                self.book.refused(milliseconds, who.client)?;
                (StoryKind::Refused, address)
            }
            Happening::Expired { address } => {
                self.tally.expired(conduct, before);
                self.book.expired(who.client);
                (StoryKind::Expired, Some(address))
            }
            Happening::Unanswered { state, address } => {
                self.tally.unanswered(conduct, state);
                (StoryKind::Unanswered, address)
            }
            Happening::Informed { .. } | Happening::Ignored => return Ok(()),
        };
        let Some(slot) = self.slots.get_mut(index(number)) else { return Ok(()) };
        if slot.is_sound() {
            self.book.story(milliseconds, kind, who, before, address, &slot.history);
            // It goes on with a DISCOVER at once, which is an exchange of its own.
            if slot.client.state().is_asking() {
                slot.intended = now;
                self.tally.began();
            }
        }
        Ok(())
    }
}
