//! Who is served in which state, from which addresses, and for how long.

use super::{Failover, owner_of, seconds};
use crate::failover::{
    BindingStatus, LeaseTime, PoolCount, Role, Service, State, lease_time, load_balance,
};
use crate::server::pools::WantedPools;
use crate::server::topology::{NetworkIndex, SubnetIndex};
use crate::server::{Place, Server};
use crate::{Class, ClassSet, ClientIdentifier, MessageType, Request};

/// Addresses of the partner's that one choice looks at, at most, for one that nobody can hold any more.
const PARTNERS_LOOKED_AT_MAX: usize = 64;

impl Failover {
    /// Whether an address of the partner's may be given out: the partner is down, and nobody can hold a
    /// promise of its.
    fn is_taken_over(&self, address: u32, now: u32) -> bool {
        let agreed = self.pair.get(address).partner_expiration;
        self.service() == Service::Alone && now >= self.promises_end(agreed)
    }
}

impl Server {
    /// Whether the pair's state keeps this server from a message. Who asks for information alone is always
    /// told, and so is a device with an address of its own.
    pub(in crate::server) fn pair_keeps_from(&self, request: &Request) -> bool {
        let Some(failover) = self.failover.as_deref() else { return false };
        let is_for_pool = matches!(
            request.message_type,
            MessageType::Discover
                | MessageType::Request
                | MessageType::Release
                | MessageType::Decline
        );
        is_for_pool
            && failover.service() == Service::None
            && self
                .place(request)
                .is_none_or(|place| self.reservations_of(request, place.network).next().is_none())
    }

    /// Whether a DISCOVER is left to the partner (RFC 3074): the client is of its buckets and has not
    /// waited long, and the partner has an address for it.
    pub(in crate::server) fn is_left_to_partner(
        &self,
        request: &Request,
        client: &ClientIdentifier,
        place: Place,
    ) -> bool {
        let Some(failover) = self.failover.as_deref() else { return false };
        let seconds_max = failover.configuration.load_balance_seconds_max;
        if failover.service() != Service::Balanced
            || seconds_max == 0
            || request.secs > seconds_max
            || self.reservations_of(request, place.network).next().is_some()
        {
            return false;
        }
        let bucket = load_balance::bucket_of(client, &request.hardware);
        let server = failover.buckets().map(|buckets| buckets.server_of(bucket));
        server != Some(failover.role())
            && self.pools_of_network(place.network).any(|pool| {
                let PoolCount { free, backup } = self.count_pool(failover, pool);
                let partners = if failover.role() == Role::Primary { backup } else { free };
                partners > 0
            })
    }

    /// Whether the pair lets this server give an address to a client now. That nobody else holds it is
    /// known already.
    pub(in crate::server) fn pair_allows(&self, client: &ClientIdentifier, address: u32) -> bool {
        let Some(failover) = self.failover.as_deref() else { return true };
        if !self.topology.is_paired(address) {
            return true;
        }
        if failover.service() == Service::None {
            return false;
        }
        let binding = failover.pair.get(address);
        let is_its = self.book.entry(address).is_some_and(|entry| entry.has_client(client));
        match binding.status {
            BindingStatus::Active => is_its,
            BindingStatus::Free | BindingStatus::Backup => {
                owner_of(binding.status) == failover.role()
                    || failover.is_taken_over(address, seconds(self.now))
            }
            // What the partner takes for held by this client, it gives to nobody else. And what it has
            // agreed to be over is the primary's.
            BindingStatus::Expired | BindingStatus::Released => {
                let is_kept = binding.partner_saw == BindingStatus::Active;
                is_its && (is_kept || failover.role() == Role::Primary)
            }
            BindingStatus::Abandoned | BindingStatus::Reset => false,
        }
    }

    /// For how long an address may be granted for which a client is to have `desired_seconds`; `None`: the
    /// pair has no say in it.
    pub(in crate::server) fn pair_time(
        &self,
        address: u32,
        desired_seconds: u32,
    ) -> Option<LeaseTime> {
        let failover = self.failover.as_deref()?;
        if !self.topology.is_paired(address) {
            return None;
        }
        let agreed = failover.pair.get(address).agreed_expiration;
        let mclt_seconds = failover.record.mclt_seconds;
        Some(lease_time(seconds(self.now), desired_seconds, mclt_seconds, agreed))
    }

    /// Takes the address that comes next of those that this server may give out: its own, else the
    /// partner's if those have been taken over.
    pub(in crate::server) fn take_next_of_pair(
        &mut self,
        place: Place,
        class: Class,
        clients: ClassSet,
    ) -> Option<u32> {
        let others = self.topology.subnets(place.network).filter(|subnet| *subnet != place.subnet);
        let subnets: Vec<SubnetIndex> = std::iter::once(place.subnet).chain(others).collect();
        let choices = self.wanted_pools(place.network, class, clients);
        let role = self.failover.as_deref()?.role();
        for owner in [role, role.other()] {
            for wanted in choices.into_iter().flatten() {
                for subnet in &subnets {
                    if let Some(address) = self.take_next_of(owner, *subnet, wanted) {
                        return Some(address);
                    }
                }
            }
        }
        None
    }

    fn take_next_of(
        &mut self,
        owner: Role,
        subnet: SubnetIndex,
        wanted: WantedPools,
    ) -> Option<u32> {
        let now = seconds(self.now);
        let failover = self.failover.as_deref()?;
        let is_own = owner == failover.role();
        if !is_own && failover.service() != Service::Alone {
            return None;
        }
        let pools = || {
            let places = self.topology.pools_of(subnet);
            places.filter(|pool| wanted.has(&self.topology.pools()[*pool]))
        };
        let may_touch = is_own || failover.is_taken_over(0, now);
        if owner == Role::Primary
            && may_touch
            && let Some(pool) = pools().find(|pool| self.pools.untouched(*pool) > 0)
        {
            return self.pools.take_untouched(pool);
        }
        let (_, address) = pools()
            .filter_map(|pool| {
                failover
                    .shelves
                    .behind(pool, owner, None)
                    .take(PARTNERS_LOOKED_AT_MAX)
                    .find(|(_, address)| is_own || failover.is_taken_over(*address, now))
            })
            .min()?;
        self.unshelve(address);
        Some(address)
    }

    /// Size and free addresses of a network's pools for a class of hosts, or for anybody: those that this
    /// server may give out.
    pub(in crate::server) fn count_free(
        &self,
        network: NetworkIndex,
        class: Option<Class>,
    ) -> (u64, u64) {
        let Some(failover) = self.failover.as_deref() else {
            return self
                .topology
                .subnets(network)
                .map(|subnet| self.pools.count(&self.topology, subnet, class))
                .fold((0, 0), |sum, (size, free)| (sum.0 + size, sum.1 + free));
        };
        self.pools_of_network(network)
            .filter(|pool| self.topology.pools()[*pool].class == class)
            .map(|pool| self.count_free_of_shared_pool(failover, pool))
            .fold((0, 0), |sum, (size, free)| (sum.0 + size, sum.1 + free))
    }

    /// The same of one pool, by its place in the topology.
    pub(in crate::server) fn count_free_of_pool(&self, pool: usize) -> (u64, u64) {
        match self.failover.as_deref() {
            Some(failover) => self.count_free_of_shared_pool(failover, pool),
            None => (self.pools.size(pool), self.pools.free(pool)),
        }
    }

    fn count_free_of_shared_pool(&self, failover: &Failover, pool: usize) -> (u64, u64) {
        let is_alone =
            failover.state() == State::PartnerDown && seconds(self.now) >= failover.promises_end(0);
        let PoolCount { free, backup } = self.count_pool(failover, pool);
        let (own, partners) = match failover.role() {
            Role::Primary => (free, backup),
            Role::Secondary => (backup, free),
        };
        let free = u64::from(own) + if is_alone { u64::from(partners) } else { 0 };
        (self.pools.size(pool), free)
    }
}
