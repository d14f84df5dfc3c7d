//! Lease caching: an early renewal is answered from the lease that is durable already, without a write.
//!
//! Hosts that are started again, that roam or that are impatient ask for their lease again long before
//! half of it has passed. Such a host is told what is really left of its lease, rounded down, never
//! more: so nothing new is promised, nothing has to become durable (P2), and when it renews in time it
//! gets a whole lifetime again. Only a lease is answered for that is committed, and only if nothing of
//! its record would become another: the same client and device, place and name.
//!
//! In a failover pair every renewal is written and told: what a server knows of a lease that its partner
//! granted is rounded, and by another clock, so what it would say is left may be more than the partner waits for.
//!
//! In a gated network the kernel is told again what it should know, so that this ACK, too, leaves only
//! when the sets are right for its address (P3). Where it would be told something else than before, by a
//! registration that has begun or ended, the address counts as changed until that is committed.

use super::book::{Entry, Standing};
use super::topology::NetworkIndex;
use super::{Server, Step, reply};
use crate::{ClientIdentifier, Effect, MessageType, Notice, Release, Request, Sequence, limits};

/// When addresses were last changed: their records, or what the kernel was told of them.
///
/// It has a fixed number of places, each for many addresses, and keeps the newest change for each. So an
/// address may count as changed although another one was, and never the other way round.
#[derive(Debug, Default)]
pub(super) struct Changes {
    newest: Vec<Sequence>,
}

impl Changes {
    /// Notes that a step changes an address.
    pub(super) fn note(&mut self, address: u32, sequence: Sequence) {
        self.newest.resize(limits::CHANGED_ADDRESSES_KEPT, Sequence::default());
        let place = Self::place(address);
        self.newest[place] = self.newest[place].max(sequence);
    }

    /// The last step that changed an address, or a later one.
    fn of(&self, address: u32) -> Sequence {
        self.newest.get(Self::place(address)).copied().unwrap_or_default()
    }

    const fn place(address: u32) -> usize {
        address as usize % limits::CHANGED_ADDRESSES_KEPT
    }
}

impl Server {
    /// Answers a renewal from the lease as it is, if that may be. Whether it did.
    pub(super) fn answer_from_lease(
        &mut self,
        request: &Request,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(terms) = self.terms_left(request, client, network, address, step) else {
            return false;
        };
        let mut ack =
            reply::grant(&self.topology, request, MessageType::Ack, address.into(), terms);
        if let Some(started) = self.book.entry(address).map(Entry::started) {
            self.add_lease_token(&mut ack, started);
        }
        let change =
            self.book.remaining_time(&self.topology, &self.registrations, address, self.now);
        let release = if change.is_some() { step.after_commit() } else { Release::Immediately };
        if change.is_some() {
            self.hold(request, client, step);
        }
        step.gate(change);
        step.reply(ack, release, None);
        step.effects.push(Effect::Notice(Notice::LeaseReused));
        true
    }

    /// What a client may be told of its lease without a write; `None` if it has to be written.
    fn terms_left(
        &self,
        request: &Request,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
        step: &Step<'_>,
    ) -> Option<reply::Terms> {
        let threshold = self.topology.configuration().cache_threshold_percent;
        let lease = self.book.entry(address).filter(|lease| lease.is_held(self.now))?;
        let is_committed = step.changes.of(address) <= self.committed;
        if threshold == 0
            || !is_committed
            || self.is_paired(address)
            // That it renews is to be known from now on.
            || self.is_open(address)
            || !matches!(lease.standing(), Standing::Held(_))
            || !says_the_same(request, client, lease)
            || !self.has_nothing_else(client, network, address)
        {
            return None;
        }
        let whole = self.terms(request, network, address);
        let left = lease.ends().milliseconds_after(self.now) / 1000;
        let enough =
            u64::from(whole.lifetime_seconds) * u64::from(100_u8.saturating_sub(threshold));
        if left * 100 < enough {
            return None;
        }
        // At most `whole`, and therefore a number of 32 bits.
        let told = u32::try_from(left).unwrap_or(u32::MAX).min(whole.lifetime_seconds);
        (told > 0).then_some(reply::Terms { lifetime_seconds: told, ..whole })
    }

    /// Whether a client has neither an offer nor another lease in a network, which its ACK would end.
    fn has_nothing_else(
        &self,
        client: &ClientIdentifier,
        network: NetworkIndex,
        address: u32,
    ) -> bool {
        self.offers.of_client(client, network).is_none()
            && self.offers.of_address(address).is_none()
            && !self.book.of_client(client).any(|other| {
                other.is_held(self.now)
                    && u32::from(other.address()) != address
                    && self.topology.network_of(other.address()) == Some(network)
            })
    }
}

/// Whether the record of a lease would stay what it is, but for its times.
fn says_the_same(request: &Request, client: &ClientIdentifier, lease: Entry<'_>) -> bool {
    let relay_agent = request.relay_agent.as_ref().map(|relay_agent| relay_agent.raw());
    let same_place = !request.is_relayed()
        || (lease.relay() == Some(request.giaddr) && lease.relay_agent() == relay_agent);
    let same_name =
        request.host_name.is_none() || request.host_name.as_deref() == lease.host_name();
    lease.is_of(client, request.hardware) && same_place && same_name
}
