//! Taking over what the partner says of an address: into the book, the pools and the gate (P1, P3).
//!
//! Whether an update is taken is [`binding`](crate::failover::binding)'s decision. What is taken is durable
//! before it is acknowledged.

use super::{Binding, end_seconds, seconds};
use crate::failover::binding::accept;
use crate::failover::{BindingStatus, BindingUpdate, Known, Pending, Reject, Rejection, Role};
use crate::server::book::Entry;
use crate::server::{Server, Step};
use crate::{BindingState, ClientIdentifier, HardwareAddress, Lease, Timestamp};

impl Server {
    /// The partner says what has become of an address.
    pub(super) fn take_update(&mut self, xid: u32, update: &BindingUpdate, step: &mut Step<'_>) {
        let address = u32::from(update.address);
        let now = self.now;
        let Some(failover) = self.failover.as_deref() else { return };
        let update = &failover.update_in_own_time(update);
        let reject = self.judge_update(address, update).err();
        match reject {
            None => self.apply_update(address, update, step),
            Some(reject) => self.refuse_update(update, reject, step),
        }
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let rejection = reject.map(|reject| Rejection::new(reject, words_for(reject)));
        failover.say(|session, effects| {
            session.acknowledge(now, xid, update.address, rejection, effects);
        });
    }

    fn judge_update(&self, address: u32, update: &BindingUpdate) -> Result<(), Reject> {
        if !self.topology.is_paired(address) {
            return Err(Reject::IllegalAddress);
        }
        let Some(failover) = self.failover.as_deref() else { return Err(Reject::Unspecified) };
        let binding = failover.pair.get(address);
        let entry = self.book.entry(address);
        let holds = binding.status == BindingStatus::Active
            && entry.is_some_and(|entry| entry.is_held(self.now));
        // A lease that the partner has not heard of counts as if it were under way already.
        let is_pending = !binding.is_acknowledged() && (binding.xid != 0 || holds);
        let known = Known {
            status: binding.status,
            ends: entry.map_or(0, |entry| end_seconds(entry.ends())),
            reserved: false,
            pending: is_pending.then_some(Pending {
                status: binding.status,
                client_last_transaction: binding.client_last_transaction,
            }),
        };
        accept(update, &known, failover.role(), failover.state(), seconds(self.now))
    }

    fn apply_update(&mut self, address: u32, update: &BindingUpdate, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref() else { return };
        let old = failover.pair.get(address);
        let (told, potential) = (update.lease_expiration, update.potential_expiration);
        let promised = self.promised_unheard(address, update, old);
        let ends = told.max(promised);
        let is_longer = promised > told;
        let same_client = self.lease_of_update(address, update, ends, step);
        let status = update.status.settled();
        let mut binding = Binding {
            status,
            partner_saw: status,
            since: update.since.unwrap_or(old.since),
            client_last_transaction: if same_client { old.client_last_transaction } else { 0 },
            agreed_expiration: potential.unwrap_or(old.agreed_expiration),
            // Until our answer has arrived, the partner goes by what it knew before.
            partner_expiration: old.partner_expiration.max(potential.unwrap_or(0)),
            xid: 0,
            ..old
        };
        // The partner has yet to hear of what this server promised beyond what it did.
        binding.set_acknowledged(!is_longer);
        if status != update.status {
            self.give_to_its_server(address, &mut binding);
        }
        self.write_binding(address, binding, step);
        // An update of an address that is over already, as far as this server's clock goes.
        self.pair_settles(address, step);
    }

    /// Until when this server has promised an address to the client that the partner now says it granted it
    /// to, if the partner has not heard of that: both have answered one request, and the client may go by
    /// either answer (P1). In seconds since 1970.
    fn promised_unheard(
        &self,
        address: u32,
        update: &BindingUpdate,
        known: Binding,
    ) -> Option<u32> {
        let entry = self.book.entry(address).filter(|entry| entry.is_held(self.now))?;
        let hardware = update.hardware?;
        let identifier = update.client_identifier.clone();
        let client =
            identifier.map_or(ClientIdentifier::Hardware(hardware), ClientIdentifier::Option61);
        let is_unheard = known.status == BindingStatus::Active
            && update.status == BindingStatus::Active
            && !known.is_acknowledged()
            && entry.is_of(&client, hardware);
        is_unheard.then(|| end_seconds(entry.ends()))
    }

    /// Writes what an update says of a lease into the book. Whether it is the same client's as before.
    fn lease_of_update(
        &mut self,
        address: u32,
        update: &BindingUpdate,
        ends: Option<u32>,
        step: &mut Step<'_>,
    ) -> bool {
        let now = self.now;
        let entry = self.book.entry(address);
        let client = update.hardware.map(|hardware| {
            let identifier = update.client_identifier.clone();
            let client =
                identifier.map_or(ClientIdentifier::Hardware(hardware), ClientIdentifier::Option61);
            (client, hardware)
        });
        let same = entry.filter(|entry| {
            client.as_ref().is_none_or(|(client, hardware)| entry.is_of(client, *hardware))
        });
        let is_same = same.is_some();
        let (client, hardware) = match (client, entry) {
            (Some(client), _) => client,
            (None, Some(entry)) => (entry.client(), entry.hardware()),
            // Nobody is known to have had it.
            (None, None) => {
                let nobody = HardwareAddress::ethernet([0; 6]);
                (ClientIdentifier::Hardware(nobody), nobody)
            }
        };
        let is_blocked = entry.is_some_and(|entry| entry.is_blocked(now));
        let end = ends.map(|ends| Timestamp::from_seconds(ends.into()));
        let known_end = entry.map(Entry::ends);
        let past = end.or(known_end).unwrap_or(now).min(now);
        let (state, ends) = match update.status {
            BindingStatus::Active => (BindingState::Active, end.or(known_end).unwrap_or(now)),
            BindingStatus::Abandoned => {
                let seconds = self.topology.configuration().decline_quarantine_seconds;
                let own = now.plus_seconds(seconds.into());
                (BindingState::Declined, end.filter(|end| *end > now).unwrap_or(own))
            }
            BindingStatus::Expired => (BindingState::Active, past),
            BindingStatus::Free
            | BindingStatus::Released
            | BindingStatus::Reset
            | BindingStatus::Backup => (BindingState::Released, past),
        };
        let is_over = !matches!(update.status, BindingStatus::Active | BindingStatus::Abandoned);
        // It is over here too, or nobody ever had it.
        if is_over && !is_blocked && (is_same || hardware.is_zero()) {
            return is_same;
        }
        let said = update.client_last_transaction.or(update.since);
        let said = said.filter(|_| !is_over).map(|time| Timestamp::from_seconds(time.into()));
        let changed = said.map_or(now, |said| said.min(now));
        let goes_on = same.filter(|same| same.is_held(now) && state == BindingState::Active);
        let lease = Lease {
            address: address.into(),
            client,
            hardware,
            state,
            started: goes_on.map_or(changed, Entry::started),
            changed,
            ends,
            relay: same.and_then(Entry::relay),
            relay_agent: same.and_then(Entry::relay_agent).map(Box::from),
            host_name: same.and_then(Entry::host_name).map(Box::from),
        };
        // Whoever was offered it cannot have it any more.
        if !is_over {
            self.offers.remove(address);
        }
        self.put(lease, step);
        self.pool_changed(address, step);
        is_same
    }

    /// The primary gives an address that has become free to the server that its last client belongs to.
    pub(super) fn give_to_its_server(&self, address: u32, binding: &mut Binding) {
        let Some(failover) = self.failover.as_deref() else { return };
        if failover.role() == Role::Primary
            && failover.state() == crate::failover::State::Normal
            && self.server_of_last_client(address) == Some(Role::Secondary)
            && self.balance_of(address).is_some_and(|balance| balance.gives_to_its_server())
        {
            self.give_away(binding);
        }
    }
}

/// What the partner's operator reads in its log.
const fn words_for(reject: Reject) -> &'static str {
    match reject {
        Reject::IllegalAddress => "this address is in no pool here, or reserved",
        Reject::FatalConflict => "this cannot follow what is known of the address here",
        Reject::MissingBinding => "an update of a lease has to name its hardware address",
        Reject::LessCritical => "an update of ours for this address is on its way, and counts more",
        _ => "this cannot be said of the address",
    }
}
