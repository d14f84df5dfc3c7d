//! What becomes of an address on this server: granted, given back, declined, over, and free again.
//!
//! Every change of what the pair knows of an address goes through [`Server::write_binding`], which keeps
//! the shelves, the queue of updates and the journal in step.

use super::{Binding, Failover, end_seconds, owner_of, seconds};
use crate::failover::{BindingStatus, LeaseTime, Role, State};
use crate::server::{Server, Standing, Step};
use crate::{BindingState, Lease, Record, Timestamp, limits};

impl Failover {
    /// Whether a lease that is over goes straight back to this server's free addresses: as far as the
    /// partner can know, it has never left them.
    fn may_rewind(&self, binding: Binding) -> bool {
        let is_apart =
            matches!(self.state(), State::CommunicationsInterrupted | State::PartnerDown);
        is_apart && binding.partner_saw == BindingStatus::free_of(self.role())
    }

    /// Whether what is decided now can be sent now.
    fn sends_at_once(&self) -> bool {
        self.may_send() && self.waiting.is_empty() && self.window() > 0
    }
}

impl Server {
    /// Puts down what the pair knows of an address from now on.
    pub(super) fn write_binding(&mut self, address: u32, binding: Binding, step: &mut Step<'_>) {
        let Some(pool) = self.topology.pool_of(address) else { return };
        let shelf_end = self.book.entry(address).map_or(0, |entry| end_seconds(entry.ends()));
        let is_offered = self.offers.of_address(address).is_some();
        let is_known = is_offered || self.book.entry(address).is_some();
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let old = failover.pair.get(address);
        let mut binding = binding;
        let says_nothing = binding.record(address) == Binding::UNTOUCHED.record(address);
        if says_nothing && !is_known && self.pools.is_untouched(&self.topology, address) {
            binding.set_waiting(old.is_waiting());
            return failover.pair.set(address, binding);
        }
        if old.is_on_shelf() {
            failover.shelves.remove(pool.0, owner_of(old.status), old.shelf_end, address);
        }
        if !old.is_on_shelf() {
            self.pools.take(&self.topology, address, Timestamp::ZERO);
        }
        if old.is_over() {
            failover.over.remove(&(old.partner_expiration, address));
        }
        if !matches!(binding.status, BindingStatus::Active | BindingStatus::Abandoned) {
            failover.overdue.remove(&address);
        }
        failover.disagreement.settled(address);
        binding.set_waiting(old.is_waiting());
        if !binding.is_acknowledged() {
            // So that no second record is needed when it is sent.
            if failover.sends_at_once() {
                binding.note_sent();
            }
            if !binding.is_waiting() {
                binding.set_waiting(true);
                failover.waiting.push_back(address);
            }
        }
        let is_free = matches!(binding.status, BindingStatus::Free | BindingStatus::Backup);
        binding.set_on_shelf(is_free && !is_offered);
        if binding.is_on_shelf() {
            binding.shelf_end = shelf_end;
            failover.shelves.put(pool.0, owner_of(binding.status), shelf_end, address);
        }
        if is_free && is_offered {
            self.offers.mark_taken(address);
        }
        if binding.is_over() {
            failover.over.insert((binding.partner_expiration, address));
        }
        failover.pair.set(address, binding);
        if old.record(address) != binding.record(address) {
            step.persist(Record::PairBinding(binding.record(address)));
        }
        if is_free {
            self.notice_imbalance(pool.0);
        }
    }

    /// Takes an address off its shelf for an offer.
    pub(in crate::server) fn unshelve(&mut self, address: u32) {
        let Some(pool) = self.topology.pool_of(address) else { return };
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let mut binding = failover.pair.get(address);
        if binding.is_on_shelf() {
            failover.shelves.remove(pool.0, owner_of(binding.status), binding.shelf_end, address);
            binding.set_on_shelf(false);
            failover.pair.set(address, binding);
        } else {
            self.pools.take(&self.topology, address, Timestamp::ZERO);
        }
    }

    /// Puts an address back that was offered, if it is free.
    pub(in crate::server) fn reshelve(&mut self, address: u32) {
        let Some(pool) = self.topology.pool_of(address) else { return };
        let shelf_end = self.book.entry(address).map_or(0, |entry| end_seconds(entry.ends()));
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let mut binding = failover.pair.get(address);
        let is_free = matches!(binding.status, BindingStatus::Free | BindingStatus::Backup);
        if is_free && !binding.is_on_shelf() {
            binding.shelf_end = shelf_end;
            binding.set_on_shelf(true);
            failover.shelves.put(pool.0, owner_of(binding.status), shelf_end, address);
            failover.pair.set(address, binding);
        }
    }

    /// Whether the pair has a say in an address: there is a pair, and the address is in a pool and
    /// reserved for nobody.
    pub(in crate::server) fn is_paired(&self, address: u32) -> bool {
        self.failover.is_some() && self.topology.is_paired(address)
    }

    /// This server has granted an address, for as long as the rule allows.
    pub(in crate::server) fn pair_granted(
        &mut self,
        address: u32,
        time: LeaseTime,
        step: &mut Step<'_>,
    ) {
        let now = seconds(self.now);
        let Some(failover) = self.failover.as_deref() else { return };
        let old = failover.pair.get(address);
        let mut binding = Binding {
            status: BindingStatus::Active,
            since: now,
            client_last_transaction: now,
            potential_expiration: time.potential_expiration,
            agreed_expiration: old.agreed_expiration.min(time.potential_expiration),
            xid: 0,
            ..old
        };
        binding.set_acknowledged(false);
        self.write_binding(address, binding, step);
    }

    /// This server has ended a lease: it was given back or declined.
    pub(in crate::server) fn pair_ended(
        &mut self,
        address: u32,
        state: BindingState,
        step: &mut Step<'_>,
    ) {
        if !self.is_paired(address) {
            return;
        }
        let now = seconds(self.now);
        let Some(failover) = self.failover.as_deref() else { return };
        let old = failover.pair.get(address);
        let mut binding = Binding { client_last_transaction: now, xid: 0, ..old };
        binding.set_acknowledged(false);
        binding.status = if state == BindingState::Declined {
            BindingStatus::Abandoned
        } else {
            binding.potential_expiration = now;
            if failover.may_rewind(old) {
                BindingStatus::free_of(failover.role())
            } else {
                BindingStatus::Released
            }
        };
        self.write_binding(address, binding, step);
    }

    /// The time of an address's lease or quarantine may have come.
    pub(in crate::server) fn pair_settles(&mut self, address: u32, step: &mut Step<'_>) {
        if !self.is_paired(address) || self.is_blocked(address) {
            return;
        }
        let may_end = self.may_end();
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let status = failover.pair.get(address).status;
        if !matches!(status, BindingStatus::Active | BindingStatus::Abandoned) {
            return;
        }
        if may_end {
            self.end_binding(address, step);
        } else {
            failover.overdue.insert(address);
        }
    }

    fn is_blocked(&self, address: u32) -> bool {
        self.book.entry(address).is_some_and(|entry| entry.standing() != Standing::Ended)
    }

    /// Whether this server says when a lease is over. While both serve, the primary does.
    pub(super) fn may_end(&self) -> bool {
        self.failover.as_deref().is_some_and(|failover| {
            failover.role() == Role::Primary || failover.state() != State::Normal
        })
    }

    /// Ends what is over.
    fn end_binding(&mut self, address: u32, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref() else { return };
        let old = failover.pair.get(address);
        let mut binding = Binding { xid: 0, ..old };
        binding.set_acknowledged(false);
        binding.status = match old.status {
            BindingStatus::Abandoned => BindingStatus::Reset,
            _ if failover.may_rewind(old) => BindingStatus::free_of(failover.role()),
            _ => BindingStatus::Expired,
        };
        self.write_binding(address, binding, step);
    }

    /// Keeps an address for its client until the last promise has run out that a partner may have made
    /// which is fetching everything, because it may have lost what it knew: its word that an address is
    /// free would mean nothing. Whether that was needed.
    ///
    /// An ISC dhcpd does not, and gives the address away whose client has renewed at the partner shortly
    /// before that one lost its data.
    pub(super) fn keep_for_promise(&mut self, address: u32, step: &mut Step<'_>) -> bool {
        let Some(failover) = self.failover.as_deref() else { return false };
        let binding = failover.pair.get(address);
        let may_be_held = matches!(
            binding.status,
            BindingStatus::Active | BindingStatus::Expired | BindingStatus::Released
        );
        if !may_be_held || !matches!(failover.state(), State::PartnerDown | State::Recover) {
            return false;
        }
        let end = failover.promises_end(binding.partner_expiration);
        let end = Timestamp::from_seconds(end.into());
        let Some(entry) = self.book.entry(address).filter(|_| self.now < end) else { return false };
        if entry.is_held(self.now) && entry.ends() >= end {
            return false;
        }
        let lease = Lease { state: BindingState::Active, ends: end, ..entry.lease() };
        self.put(lease, step);
        let mut binding = Binding { status: BindingStatus::Active, xid: 0, ..binding };
        binding.set_acknowledged(false);
        self.write_binding(address, binding, step);
        true
    }

    /// Ends what was left for later, and frees what nobody can hold any more since the partner is down.
    pub(super) fn end_overdue(&mut self, step: &mut Step<'_>) {
        if self.may_end() {
            for _ in 0..limits::ENDINGS_PER_STEP_MAX {
                let Some(failover) = self.failover.as_deref_mut() else { return };
                let Some(address) = failover.overdue.pop_first() else { break };
                let status = failover.pair.get(address).status;
                let is_open = matches!(status, BindingStatus::Active | BindingStatus::Abandoned);
                if is_open && !self.is_blocked(address) {
                    self.end_binding(address, step);
                }
            }
        }
        for _ in 0..limits::ENDINGS_PER_STEP_MAX {
            if !self.is_due(self.next_reclaim()) {
                break;
            }
            let Some(failover) = self.failover.as_deref() else { return };
            let Some((_, address)) = failover.over.first().copied() else { break };
            let mut binding = Binding { xid: 0, ..failover.pair.get(address) };
            binding.status = BindingStatus::Free;
            binding.set_acknowledged(false);
            self.write_binding(address, binding, step);
        }
    }

    /// When the next address becomes free that the partner cannot say it of.
    pub(super) fn next_reclaim(&self) -> Option<Timestamp> {
        let failover = self.failover.as_deref()?;
        // A partner that is there is told of the end, and says itself that it agrees.
        let is_alone = failover.state() == State::PartnerDown
            && failover.starting_until.is_none()
            && !failover.is_connected();
        let (agreed, _) = failover.over.first().filter(|_| is_alone)?;
        Some(Timestamp::from_seconds(failover.promises_end(*agreed).into()))
    }
}
