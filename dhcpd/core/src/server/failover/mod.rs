//! A server's half of a failover pair: the connection, the states, and what the pair knows of each address.
//!
//! It promises P1 across the pair: an address goes to a client only if it is this server's to give, or if
//! nobody can hold a promise of the partner's for it any more; no lease runs longer beyond what the partner
//! agreed to than the maximum client lead time; what the partner is told is durable before. Without
//! `[failover]` none of this exists, and nothing else asks for more than whether it does.
//!
//! | file | idea |
//! | --- | --- |
//! | `pair`, `shelves` | what the pair knows of each address, and which are free |
//! | `link` | what the connection brings, and what leaves by it |
//! | `states` | from state to state, and what each has to do |
//! | `leases` | what becomes of an address here: granted, over, free again |
//! | `updates` | telling the partner, within its window, and serving what it asks for |
//! | `incoming` | taking over what the partner says of an address |
//! | `service` | who is served, from which addresses, and for how long |
//! | `sharing` | sharing free addresses out |
//! | `disagreement` | what one half says and the other does not take |
//! | `clock` | how far the clocks are apart |

mod clock;
mod disagreement;
mod incoming;
mod leases;
mod link;
mod pair;
mod service;
mod sharing;
mod shelves;
mod states;
mod updates;

use super::book::Book;
use super::pools::Pools;
use super::topology::{NetworkIndex, Topology};
use super::{Server, Standing, Step};
use crate::failover::{
    BindingStatus, FailoverConfiguration, FailoverRecord, FailoverStatus, HashBuckets, Message,
    PairBinding, PairNetworkStatus, PartnerState, PoolCount, Role, Session, State,
};
use crate::failover::{CloseReason, Service};
use crate::{BindingState, Timestamp, limits};
use clock::ClockDifference;
use disagreement::Disagreement;
use pair::{Binding, Pair};
use sharing::Sharing;
use shelves::Shelves;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use updates::Serving;

/// How long a server that has started waits for its partner before it goes on without, in seconds.
const STARTUP_SECONDS: u64 = 15;

/// Seconds that are waited beyond what the protocol asks for where the partner's promises run out: times
/// are rounded to seconds, and clocks that are this little apart count as equal.
const CLOCK_ERROR_SECONDS_MAX: u32 = 6;

/// What leaves by the connection with this step, in order.
#[derive(Debug)]
enum Outgoing {
    Message(Message),
    Close(CloseReason),
}

/// What is known of the connection that is there.
#[derive(Debug)]
struct Connection {
    session: Session,
    /// Whether the partner has said its state.
    is_heard: bool,
    /// Whether the partner was told this server's.
    is_announced: bool,
    /// How many of the addresses that wait the partner is to hear of before it hears that this server's
    /// state is NORMAL; `None`: it has heard, or it is another state.
    normal_after: Option<usize>,
    /// Whether updates were asked for and have not all come.
    is_asked: bool,
    /// Whether the partner has asked for updates.
    has_asked: bool,
    /// How far the clocks are apart; `None` before the handshake is done.
    clock: Option<ClockDifference>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Failover {
    configuration: FailoverConfiguration,
    record: FailoverRecord,
    /// Until when it waits for its partner; `None`: it is not starting any more.
    starting_until: Option<Timestamp>,
    connection: Option<Connection>,
    outgoing: Vec<Outgoing>,
    /// By how many seconds this clock is ahead of the partner's, as last known, by an earlier connection of
    /// this life too.
    clock_ahead_seconds: Option<i64>,
    /// The same, of a handshake that failed too.
    clock_seen_ahead_seconds: Option<i64>,
    /// Whether the partner corrects the times that it is told.
    corrects_times: bool,
    /// Why the last handshake failed, if none was done since.
    trouble: Option<CloseReason>,
    pair: Pair,
    shelves: Shelves,
    /// Addresses of which the partner is to be told, in order.
    waiting: VecDeque<u32>,
    /// Updates under way: their addresses by their numbers.
    under_way: BTreeMap<u32, u32>,
    disagreement: Disagreement,
    /// What the partner asked for and was not sent yet.
    serving: Option<Serving>,
    /// Addresses whose lease or quarantine is over and that still count as held: it is for the primary to
    /// end them, or for a later step.
    overdue: BTreeSet<u32>,
    /// Addresses that are over and that the partner has not agreed to be free, by the latest time that it
    /// may measure its leases by.
    over: BTreeSet<(u32, u32)>,
    sharing: Option<Sharing>,
    /// When free addresses were last shared out, and when that comes next.
    shared_last: Timestamp,
    share_at: Option<Timestamp>,
    partner_down_at: Option<Timestamp>,
}

/// A time as messages carry it: whole seconds, rounded down.
fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.seconds()).unwrap_or(u32::MAX)
}

/// The same for the end of a promise: rounded up.
fn end_seconds(time: Timestamp) -> u32 {
    u32::try_from(time.milliseconds().div_ceil(1000)).unwrap_or(u32::MAX)
}

impl Failover {
    /// A half of a pair that is starting and knows of no earlier life.
    pub(super) fn new(
        configuration: &FailoverConfiguration,
        topology: &Topology,
        now: Timestamp,
    ) -> Self {
        let is_primary = configuration.role == Role::Primary;
        Self {
            configuration: configuration.clone(),
            record: FailoverRecord {
                state: State::Recover,
                since: seconds(now),
                partner: PartnerState::Unknown,
                partner_since: 0,
                mclt_seconds: configuration.mclt_seconds,
                hash_buckets: is_primary.then_some(configuration.hash_buckets),
            },
            starting_until: Some(now.plus_seconds(STARTUP_SECONDS)),
            connection: None,
            outgoing: Vec::new(),
            clock_ahead_seconds: None,
            clock_seen_ahead_seconds: None,
            corrects_times: false,
            trouble: None,
            pair: Pair::default(),
            shelves: Shelves::new(topology.pools().len()),
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            disagreement: Disagreement::default(),
            serving: None,
            overdue: BTreeSet::new(),
            over: BTreeSet::new(),
            sharing: None,
            shared_last: now,
            share_at: None,
            partner_down_at: None,
        }
    }

    /// Goes on with the states of an earlier life. What the primary says is its configuration's to say.
    pub(super) fn resume(&mut self, record: FailoverRecord) {
        let before = self.record;
        self.record = record;
        if self.role() == Role::Primary {
            self.record.mclt_seconds = before.mclt_seconds;
            self.record.hash_buckets = before.hash_buckets;
        }
        // No state to come back to; nothing that this program writes.
        if record.state == State::Startup {
            self.record.state = State::Recover;
        }
    }

    /// Takes over what the pair knew of an address in an earlier life.
    pub(super) fn load(&mut self, binding: &PairBinding) {
        self.pair.set(binding.address.into(), Binding::of(binding));
    }

    /// Takes back what was loaded for an address.
    pub(super) fn unload(&mut self, address: u32) {
        if self.pair.get(address) != Binding::UNTOUCHED {
            self.pair.set(address, Binding::UNTOUCHED);
        }
    }

    /// Takes up everything that was loaded, and leases that were granted before there was a partner.
    pub(super) fn settle_loaded(
        &mut self,
        topology: &Topology,
        book: &Book,
        pools: &mut Pools,
        now: Timestamp,
    ) {
        for entry in book.entries_above(None) {
            let address = u32::from(entry.address());
            if !topology.is_paired(address) || self.pair.get(address) != Binding::UNTOUCHED {
                continue;
            }
            let status = match entry.state() {
                BindingState::Active if entry.is_held(now) => BindingStatus::Active,
                BindingState::Declined if entry.is_blocked(now) => BindingStatus::Abandoned,
                _ => BindingStatus::Free,
            };
            let mut binding = Binding {
                status,
                since: seconds(entry.changed()),
                client_last_transaction: seconds(entry.changed()),
                potential_expiration: end_seconds(entry.ends()),
                ..Binding::UNTOUCHED
            };
            binding.set_acknowledged(status == BindingStatus::Free);
            self.pair.set(address, binding);
        }
        let mut after = None;
        loop {
            let Some((address, mut binding)) = self.pair.above(after).next() else { break };
            after = Some(address);
            let Some(pool) = topology.pool_of(address).filter(|_| topology.is_paired(address))
            else {
                self.pair.set(address, Binding::UNTOUCHED);
                continue;
            };
            pools.take(topology, address, Timestamp::ZERO);
            let entry = book.entry(address);
            match binding.status {
                BindingStatus::Free | BindingStatus::Backup => {
                    binding.shelf_end = entry.map_or(0, |entry| end_seconds(entry.ends()));
                    binding.set_on_shelf(true);
                    let owner = owner_of(binding.status);
                    self.shelves.put(pool.0, owner, binding.shelf_end, address);
                }
                BindingStatus::Active | BindingStatus::Abandoned => {
                    if entry.is_none_or(|entry| entry.standing() == Standing::Ended) {
                        self.overdue.insert(address);
                    }
                }
                BindingStatus::Expired | BindingStatus::Released | BindingStatus::Reset => {
                    self.over.insert((binding.partner_expiration, address));
                }
            }
            if !binding.is_acknowledged() {
                binding.set_waiting(true);
                self.waiting.push_back(address);
            }
            self.pair.set(address, binding);
        }
    }

    const fn role(&self) -> Role {
        self.configuration.role
    }

    const fn state(&self) -> State {
        self.record.state
    }

    /// How clients are served now.
    fn service(&self) -> Service {
        if self.starting_until.is_some() { Service::None } else { self.record.state.service() }
    }

    /// Whether the handshake is done.
    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.session.is_up())
    }

    /// When nobody can hold a promise of the partner's any more that it measured by `agreed` or made
    /// before this server's state began.
    fn promises_end(&self, agreed: u32) -> u32 {
        agreed
            .max(self.record.since)
            .saturating_add(self.record.mclt_seconds)
            .saturating_add(self.clock_allowance_seconds())
    }

    const fn buckets(&self) -> Option<HashBuckets> {
        self.record.hash_buckets
    }
}

/// Whose a free address is.
fn owner_of(status: BindingStatus) -> Role {
    if status == BindingStatus::Backup { Role::Secondary } else { Role::Primary }
}

impl Server {
    /// Does what is due, tells the partner what it is to be told, and hands out what leaves with this step.
    pub(super) fn tend_pair(&mut self, step: &mut Step<'_>) {
        if self.failover.is_none() {
            return;
        }
        self.tend_states(step);
        self.end_overdue(step);
        self.share_addresses(step);
        self.tend_disagreement(step);
        self.send_updates(step);
        self.announce_normal(step);
        self.send_outgoing(step);
    }

    /// When the pair has something to do.
    pub(super) fn pair_wakes(&self) -> Option<Timestamp> {
        let failover = self.failover.as_deref()?;
        let session = failover.connection.as_ref().and_then(|it| it.session.next_tick());
        let overdue = (self.may_end() && !failover.overdue.is_empty()).then_some(self.now);
        let reclaim = self.next_reclaim();
        let sharing = failover.sharing.is_some().then_some(self.now);
        let serving = (failover.serves_more() && failover.window() > 0).then_some(self.now);
        [
            failover.starting_until,
            session,
            failover.recovered_at(),
            failover.partner_down_at,
            failover.share_at,
            failover.disagreement.wakes(),
            overdue,
            reclaim,
            sharing,
            serving,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The pair as an operator sees it.
    pub(super) fn failover_status(&self) -> Option<Box<FailoverStatus>> {
        let failover = self.failover.as_deref()?;
        let own = |buckets: HashBuckets| match failover.role() {
            Role::Primary => buckets.primary_count(),
            Role::Secondary => 256 - buckets.primary_count(),
        };
        Some(Box::new(FailoverStatus {
            role: failover.role(),
            relationship: failover.configuration.relationship.clone(),
            state: failover.state(),
            is_starting: failover.starting_until.is_some(),
            since: failover.record.since,
            partner: failover.record.partner,
            partner_since: failover.record.partner_since,
            is_connected: failover.is_connected(),
            clock_ahead_seconds: failover.clock_seen_ahead_seconds,
            trouble: failover.trouble,
            mclt_seconds: failover.record.mclt_seconds,
            buckets: failover.buckets().map(own),
            updates_unacknowledged: failover.under_way.len() as u64,
            updates_waiting: failover.waiting.len() as u64,
            updates_refused_by_partner: failover.disagreement.refused_by_partner,
            updates_refused: failover.disagreement.refused_here,
            addresses_refused: failover.disagreement.open(),
            mismatch: failover.disagreement.mismatch(),
            networks: self.pair_networks(failover),
        }))
    }

    fn pair_networks(&self, failover: &Failover) -> Vec<PairNetworkStatus> {
        let networks = self.topology.configuration().networks.iter().enumerate();
        networks
            .map(|(position, network)| {
                let mut status = PairNetworkStatus { name: network.name.clone(), ..<_>::default() };
                for pool in self.pools_of_network(NetworkIndex(position)) {
                    let PoolCount { free, backup } = self.count_pool(failover, pool);
                    status.free += u64::from(free);
                    status.backup += u64::from(backup);
                    let known = u64::from(free) + u64::from(backup);
                    status.other += self.pools.size(pool).saturating_sub(known);
                }
                status
            })
            .collect()
    }

    /// The pools of a network, by their places in the topology.
    fn pools_of_network(&self, network: NetworkIndex) -> impl Iterator<Item = usize> + '_ {
        self.topology.subnets(network).flat_map(|subnet| self.topology.pools_of(subnet))
    }

    /// The free addresses of a pool.
    fn count_pool(&self, failover: &Failover, pool: usize) -> PoolCount {
        let PoolCount { free, backup } = failover.shelves.count(pool);
        let untouched = u32::try_from(self.pools.untouched(pool)).unwrap_or(u32::MAX);
        PoolCount { free: free.saturating_add(untouched), backup }
    }

    /// A page of what the pair has to keep.
    pub(super) fn pair_page(
        &self,
        after: Option<std::net::Ipv4Addr>,
        limit: usize,
    ) -> crate::QueryAnswer {
        let Some(failover) = self.failover.as_deref() else {
            return crate::QueryAnswer::PairBindings {
                failover: None,
                bindings: Vec::new(),
                next: None,
            };
        };
        let limit = limit.min(limits::QUERY_LEASES_MAX);
        let page = failover.pair.above(after.map(u32::from)).take(limit);
        let bindings: Vec<PairBinding> =
            page.map(|(address, binding)| binding.record(address)).collect();
        let next = bindings.last().filter(|_| bindings.len() >= limit).map(|last| last.address);
        crate::QueryAnswer::PairBindings { failover: Some(failover.record), bindings, next }
    }
}
