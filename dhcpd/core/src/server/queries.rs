//! Questions to the server. They change nothing, and each costs a bounded amount of work.

use super::book::Entry;
use super::topology::NetworkIndex;
use super::{Server, book};
use crate::{
    Class, CoreStatus, GateElement, LeaseFilter, LeaseView, NetworkStatus, PoolStatus, Query,
    QueryAnswer, RandomisedAddresses, Registration, RegistrationState, RegistrationView, Side,
    Timestamp, limits,
};
use std::net::Ipv4Addr;

/// Leases that one query looks at, at most: a filter that few pass must not hold up the packets.
const LEASES_LOOKED_AT_MAX: usize = 8 * limits::QUERY_LEASES_MAX;

impl Server {
    /// Answers a question as of `now`.
    #[must_use]
    pub fn query(&self, now: Timestamp, query: &Query) -> QueryAnswer {
        let now = now.max(self.now);
        match query {
            Query::Lease(address) => QueryAnswer::Lease(
                self.book.entry((*address).into()).map(|lease| self.view(lease, now)),
            ),
            Query::Leases { after, limit, filter } => {
                let limit = (*limit).min(limits::QUERY_LEASES_MAX);
                let mut leases = Vec::new();
                let mut next = None;
                let entries = self.book.entries_above(after.map(u32::from));
                for (looked_at, entry) in entries.enumerate() {
                    if leases.len() >= limit || looked_at >= LEASES_LOOKED_AT_MAX {
                        return QueryAnswer::Leases { leases, next };
                    }
                    next = Some(entry.address());
                    if *filter == LeaseFilter::All || entry.is_held(now) {
                        leases.push(self.view(entry, now));
                    }
                }
                QueryAnswer::Leases { leases, next: None }
            }
            Query::LeaseOfToken(token) => QueryAnswer::LeaseOfToken(
                self.lease_of_token(token, now).map(|lease| self.view(lease, now)),
            ),
            Query::LeaseToken(address) => QueryAnswer::LeaseToken(self.token_of(*address, now)),
            Query::Registration(hardware) => {
                let registration = self.registrations.valid(*hardware, now);
                QueryAnswer::Registration(registration.map(|found| self.registration_view(found)))
            }
            Query::Registrations { after, limit, owner } => {
                let limit = (*limit).min(limits::QUERY_LEASES_MAX);
                let is_valid = |registration: &&Registration| registration.is_valid(now);
                let mut registrations: Vec<RegistrationView> = match owner {
                    Some(owner) => self
                        .registrations
                        .of_owner(owner, now)
                        .filter(|registration| Some(registration.hardware) > *after)
                        .take(limit + 1)
                        .map(|found| self.registration_view(found))
                        .collect(),
                    None => {
                        let above = self.registrations.above(*after);
                        let valid = above.filter(is_valid).take(limit + 1);
                        valid.map(|found| self.registration_view(found)).collect()
                    }
                };
                let has_more = registrations.len() > limit;
                registrations.truncate(limit);
                let next = registrations
                    .last()
                    .filter(|_| has_more)
                    .map(|view| view.registration.hardware);
                QueryAnswer::Registrations { registrations, next }
            }
            Query::Gate { after, limit } => self.gate_page(*after, *limit, now),
            Query::Vouchers { after, limit } => {
                let limit = (*limit).min(limits::QUERY_LEASES_MAX);
                let mut vouchers: Vec<_> =
                    self.vouchers.above(*after, now).take(limit + 1).cloned().collect();
                let has_more = vouchers.len() > limit;
                vouchers.truncate(limit);
                let next = vouchers.last().filter(|_| has_more).map(|voucher| voucher.hash);
                QueryAnswer::Vouchers { vouchers, next }
            }
            Query::Voucher(id) => QueryAnswer::Voucher(self.vouchers.of_id(*id, now).cloned()),
            Query::Status => QueryAnswer::Status(self.status()),
            Query::Failover => QueryAnswer::Failover(self.failover_status()),
            Query::Exchange { after, limit } => self.exchange_page(*after, *limit),
            Query::ExchangeBook { after, limit } => self.exchange_book(*after, *limit),
            Query::PairBindings { after, limit } => self.pair_page(*after, *limit),
        }
    }

    fn gate_page(&self, after: Option<Ipv4Addr>, limit: usize, now: Timestamp) -> QueryAnswer {
        let limit = limit.min(limits::QUERY_LEASES_MAX);
        let mut elements = Vec::new();
        let mut next = None;
        for (looked_at, entry) in self.book.entries_above(after.map(u32::from)).enumerate() {
            if elements.len() >= limit || looked_at >= LEASES_LOOKED_AT_MAX {
                return QueryAnswer::Gate { elements, next };
            }
            next = Some(entry.address());
            let side = book::side_of(&self.topology, &self.registrations, entry, now);
            let Some((side, milliseconds)) = side else { continue };
            let registration = self.registrations.valid(entry.hardware(), now);
            let changed = registration.map(|registration| {
                let suspended = registration.suspended.as_ref().map(|suspension| suspension.since);
                registration.registered.max(suspended.unwrap_or(Timestamp::ZERO))
            });
            let since = entry.started().max(changed.unwrap_or(Timestamp::ZERO)).min(now);
            elements.push(GateElement {
                address: entry.address(),
                side,
                milliseconds,
                since_milliseconds: now.milliseconds_after(since),
                holder: book::holder_of(&self.topology, entry).filter(|_| side == Side::Registered),
            });
        }
        QueryAnswer::Gate { elements, next: None }
    }

    fn registration_view(&self, registration: &Registration) -> RegistrationView {
        RegistrationView {
            registration: registration.clone(),
            state: registration.state(self.topology.configuration()),
        }
    }

    fn view(&self, lease: Entry<'_>, now: Timestamp) -> LeaseView {
        let network = self.topology.network_of(lease.address());
        let registration = self.registrations.valid(lease.hardware(), now);
        let configuration = self.topology.configuration();
        let state = registration.map(|registration| registration.state(configuration));
        let quarantine =
            registration.filter(|_| state == Some(RegistrationState::Quarantined)).and_then(
                |registration| configuration.registration.role(registration.role.as_deref()?),
            );
        LeaseView {
            held: lease.is_held(now),
            network: network.map(|network| self.topology.network(network).name.clone()),
            registration: registration.cloned(),
            registration_state: state,
            randomised_addresses: network.map_or(RandomisedAddresses::Allow, |network| {
                self.topology.network(network).randomised_addresses
            }),
            quarantine_url: quarantine.and_then(|role| role.portal_url.clone()),
            registration_milliseconds: registration
                .and_then(|registration| registration.expires)
                .map(|expires| expires.milliseconds_after(now)),
            side: book::side_of(&self.topology, &self.registrations, lease, now)
                .map(|(side, _)| side),
            misplaced: lease.is_held(now)
                && network.is_some_and(|network| {
                    let (hardware, rules) = (lease.hardware(), &self.topology);
                    let class = match book::pass_of(rules, &self.registrations, hardware, now) {
                        Some(_) => Class::Registered,
                        None => Class::Unregistered,
                    };
                    self.is_misplaced(class, network, lease.address().into())
                }),
            lease: lease.lease(),
        }
    }

    fn status(&self) -> CoreStatus {
        let networks = self
            .topology
            .configuration()
            .networks
            .iter()
            .enumerate()
            .map(|(position, network)| {
                let index = NetworkIndex(position);
                let (mut pool_size, mut free) = self.count_free(index, None);
                let counters = self.book.counters(index);
                let mut class_pools = Vec::new();
                for class in Class::ALL {
                    let (size_of_class, free_of_class) = self.count_free(index, Some(class));
                    pool_size += size_of_class;
                    free += free_of_class;
                    if size_of_class > 0 {
                        class_pools.push(PoolStatus {
                            class,
                            size: size_of_class,
                            free: free_of_class,
                            held: *counters.held_of.of(class),
                            misplaced: *counters.misplaced.of(class),
                        });
                    }
                }
                NetworkStatus {
                    name: network.name.clone(),
                    gated: network.gated,
                    gate_by: network.gate_by,
                    pool_size,
                    free,
                    held: counters.held,
                    declined: counters.declined,
                    registered: counters.registered,
                    unregistered: counters.unregistered,
                    class_pools,
                }
            })
            .collect();
        CoreStatus {
            networks,
            leases_known: self.book.len() as u64,
            registrations: self.registrations.len() as u64,
            offers: self.offers.len() as u64,
            exchange: self.exchange_status(),
            hold_off_until: self.hold_off().map(|hold_off| hold_off.until),
        }
    }
}
