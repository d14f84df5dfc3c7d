//! The server: what it knows, and its one door.
//!
//! [`Server::step`] takes an input at a time and says what has to be done. It changes its own books
//! at once and marks what may only leave after the commit; if the commit fails, the process ends and
//! the next one starts from what is durable. So nothing here is ever taken back.
//!
//! | file | idea |
//! | --- | --- |
//! | `topology` | the configuration, arranged for look-ups |
//! | `book` | leases, how each address stands, and what the kernel is told |
//! | `pools` | which addresses are free, and which comes next |
//! | `offers` | offers that wait for their REQUEST |
//! | `discover`, `request`, `farewell` | what each message of a client gets |
//! | `class` | who is registered, and which addresses are for whom |
//! | `clients` | classes, circuits, reservations and lifetimes of a client |
//! | `levels`, `explanation` | which of the configured options a host gets, and why |
//! | `caching` | early renewals that need no write |
//! | `reply` | how replies are put together |
//! | `step` | what one step collects |
//! | `registrations` | which devices are registered |
//! | `configure` | another configuration |
//! | `register`, `commands`, `queries` | registering a device, other commands, and questions |
//! | `vouchers`, `redeem`, `guesses` | codes that let devices in, and who guesses them |
//! | `announce` | events: what others are told |
//! | `lease_tokens` | what a portal names a lease by |
//! | `recover` | what the records of an earlier life end in |
//! | `exchange` | what a pair tells each other of registrations and vouchers |
//! | `failover` | the half of a pair that it is, if it has a partner |

mod announce;
mod book;
mod caching;
mod class;
mod clients;
mod commands;
mod configure;
mod discover;
mod exchange;
mod explanation;
mod failover;
mod farewell;
mod guesses;
mod lease_tokens;
mod levels;
mod offers;
mod pools;
mod queries;
mod recover;
mod redeem;
mod register;
mod registrations;
mod reply;
mod request;
mod step;
mod topology;
mod vouchers;

use crate::{
    Arrival, BindingState, ClientIdentifier, Configuration, Effect, Effects, GateContents,
    HardwareAddress, HoldOff, Input, Lease, LeaseTokens, MessageType, Notice, Reason, Record,
    Request, Sequence, Side, Timestamp, limits,
};
pub use book::HashKey;
pub use clients::LifetimeSource;
pub use explanation::Explanation;
pub use levels::OptionLevel;

use book::{Book, Entry, Standing};
use caching::Changes;
use exchange::Exchange;
use failover::Failover;
use guesses::Guesses;
use offers::Offers;
use pools::Pools;
use recover::Recovered;
use registrations::Registrations;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use step::Step;
use topology::{NetworkIndex, SubnetIndex, Topology};
use vouchers::Vouchers;

/// A request whose ACK is held for its commit.
#[derive(Clone, Copy, Debug)]
struct Held {
    xid: u32,
    sequence: Sequence,
}

/// The decisions of a DHCP server. See the module.
#[derive(Debug)]
pub struct Server {
    topology: Topology,
    own_addresses: BTreeSet<Ipv4Addr>,
    book: Book,
    pools: Pools,
    offers: Offers,
    registrations: Registrations,
    vouchers: Vouchers,
    guesses: Guesses,
    changes: Changes,
    held: BTreeMap<ClientIdentifier, Held>,
    held_in_order: VecDeque<(Sequence, ClientIdentifier)>,
    sequence: Sequence,
    committed: Sequence,
    /// What makes lease tokens, if they are asked for.
    lease_tokens: Option<LeaseTokens>,
    /// What is remembered for events, if they are asked for.
    announcer: Option<announce::Announcer>,
    /// Records were lost before this life.
    hold_off: Option<HoldOff>,
    /// The half of a failover pair that it is, if it has a partner.
    failover: Option<Box<Failover>>,
    /// What it exchanges with its partner beside leases, if it does or ever did.
    exchange: Option<Box<Exchange>>,
    now: Timestamp,
    wake: Option<Timestamp>,
}

/// Where a client is: its network, and the subnet that the packet points to.
#[derive(Clone, Copy, Debug)]
struct Place {
    network: NetworkIndex,
    subnet: SubnetIndex,
}

impl Server {
    /// A server with a checked configuration and the records of an earlier life, in the order in which
    /// they were made durable. `own_addresses`: the addresses that clients may know this server by.
    /// `now`: at least the newest time in the records.
    #[must_use]
    pub fn new(
        configuration: Configuration,
        own_addresses: impl IntoIterator<Item = Ipv4Addr>,
        records: impl IntoIterator<Item = Record>,
        now: Timestamp,
    ) -> Self {
        Self::with_hash_key(configuration, own_addresses, records, now, HashKey::default())
    }

    /// As [`Server::new`], with a key for its hashes. Where hosts are not trusted, it has to be one that
    /// they do not know. What is decided does not depend on it.
    #[must_use]
    pub fn with_hash_key(
        configuration: Configuration,
        own_addresses: impl IntoIterator<Item = Ipv4Addr>,
        records: impl IntoIterator<Item = Record>,
        now: Timestamp,
        key: HashKey,
    ) -> Self {
        let topology = Topology::new(configuration);
        let mut pools = Pools::new(&topology);
        let Recovered { mut book, registrations, vouchers, hold_off, mut failover, exchange } =
            Recovered::read(&topology, records, now, key);
        book.settle_loaded(&topology, &mut pools, &registrations, now);
        if let Some(failover) = &mut failover {
            failover.settle_loaded(&topology, &book, &mut pools, now);
        }
        Self {
            topology,
            own_addresses: own_addresses.into_iter().collect(),
            book,
            pools,
            offers: Offers::default(),
            registrations,
            vouchers,
            guesses: Guesses::default(),
            changes: Changes::default(),
            held: BTreeMap::new(),
            held_in_order: VecDeque::new(),
            sequence: Sequence::default(),
            committed: Sequence::default(),
            lease_tokens: None,
            announcer: None,
            hold_off,
            failover,
            exchange,
            now,
            wake: None,
        }
    }

    /// Takes one input and says what has to be done, in order. If anything of it has to be committed,
    /// the effects of this step carry the number that the step returns.
    ///
    /// Every packet ends in exactly one [`Effect::Reply`] or [`Effect::Unanswered`]. `now` never goes
    /// backwards; if it does, the latest time so far is used.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: Input<'_>,
        effects: &mut Effects,
    ) -> Option<Sequence> {
        self.now = self.now.max(now);
        let sequence = Sequence(self.sequence.0 + 1);
        let changes = std::mem::take(&mut self.changes);
        let mut step = Step { effects, sequence, has_durable: false, changes };
        self.let_things_end(&mut step);
        self.announce_expiring(&mut step);
        match input {
            Input::Packet(request) => self.packet(request, &mut step),
            Input::Committed(through) => self.committed(through),
            Input::GateLost => {
                step.has_durable = true;
                step.effects.push(Effect::GateReplace(self.gate_contents(self.now)));
            }
            Input::Command(ticket, command) => self.command(ticket, command, &mut step),
            Input::Partner(input) => self.partner(input, &mut step),
            Input::Tick => self.wake = None,
        }
        self.tend_pair(&mut step);
        self.ask_to_be_woken(&mut step);
        self.changes = step.changes;
        let durable = step.has_durable.then_some(sequence);
        if durable.is_some() {
            self.sequence = sequence;
        }
        durable
    }

    /// The whole of what the kernel sets should hold at `now`: address, set, milliseconds (P4).
    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Vec<(Ipv4Addr, Side, u64)> {
        self.book
            .entries_above(None)
            .filter(|entry| self.topology.is_by_sets(entry.address().into()))
            .filter_map(|entry| {
                let (side, milliseconds) =
                    book::side_of(&self.topology, &self.registrations, entry, now)?;
                Some((entry.address(), side, milliseconds))
            })
            .collect()
    }

    /// As [`Server::gate`], with the holders that are let through by their Ethernet address.
    #[must_use]
    pub fn gate_contents(&self, now: Timestamp) -> GateContents {
        let elements = self.gate(now);
        let registered = elements.iter().filter(|(_, side, _)| *side == Side::Registered);
        let holders = registered
            .filter_map(|(address, ..)| {
                let entry = self.book.entry((*address).into())?;
                Some((*address, book::holder_of(&self.topology, entry)?))
            })
            .collect();
        GateContents { elements, holders }
    }

    /// The number of the last step that had something to commit.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn packet(&mut self, request: &Request, step: &mut Step<'_>) {
        let commits = request.message_type != MessageType::Inform;
        let waiting = self.sequence.0.saturating_sub(self.committed.0);
        if commits && waiting >= limits::STEPS_UNCOMMITTED_MAX {
            return step.unanswered(request, Reason::Overload);
        }
        if self.pair_keeps_from(request) {
            return step.unanswered(request, Reason::PairNotServing);
        }
        self.book.look_ahead(request);
        match request.message_type {
            MessageType::Discover => self.discover(request, step),
            MessageType::Request => self.request(request, step),
            MessageType::Decline => self.decline(request, step),
            MessageType::Release => self.release(request, step),
            MessageType::Inform => self.inform(request, step),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => {
                step.unanswered(request, Reason::BadMessageType);
            }
        }
    }

    /// Where a client is: its relay's link selection (RFC 3527), its own subnet selection (RFC 3011),
    /// giaddr, the interface that received it, the address it uses, whichever is there first.
    fn place(&self, request: &Request) -> Option<Place> {
        let Arrival { local_address, broadcast, attached, .. } = request.arrival;
        // Who came through no relay and is on no attached LAN can only be answered at an address that
        // it already uses, and that must be one of ours: nobody makes this server write to others.
        if !request.is_relayed() && !attached {
            let uses_an_address = request.message_type != MessageType::Discover;
            self.topology.subnet_of(request.ciaddr).filter(|_| uses_an_address)?;
        }
        // A relay is one host.
        if request.giaddr.is_multicast() || request.giaddr.is_broadcast() {
            return None;
        }
        // Only a relay may choose a link: option 82 of anybody else is a forgery (RFC 3046 section 2.1).
        let relay_agent = request.relay_agent.as_ref().filter(|_| request.is_relayed());
        let chosen = relay_agent.and_then(crate::RelayAgentInformation::link_selection);
        let link = if request.is_relayed() {
            chosen.unwrap_or(request.giaddr)
        } else if attached && (broadcast || request.ciaddr.is_unspecified()) {
            local_address
        } else {
            // A unicast message of a client that has an address may have come a long way.
            request.ciaddr
        };
        let here = self.place_of(link);
        let Some(selected) = request.subnet_selection.filter(|_| chosen.is_none()) else {
            return here;
        };
        // The client's own word: it does not lead out of a gated network.
        let there = self.place_of(selected)?;
        let escapes = here.is_some_and(|here| {
            here.network != there.network && self.topology.network(here.network).gated
        });
        (!escapes).then_some(there)
    }

    fn place_of(&self, address: Ipv4Addr) -> Option<Place> {
        let subnet = self.topology.subnet_of(address)?;
        Some(Place { network: subnet.network, subnet })
    }

    /// Whether a message that speaks for its sender's address was sent from it. What a relay passed on
    /// came from the relay's link, and then that has to be the address's; what comes from no address on
    /// an attached LAN comes from that LAN.
    fn is_from(&self, request: &Request, address: Ipv4Addr) -> bool {
        let source = *request.arrival.source.ip();
        if request.is_relayed() || (request.arrival.attached && source.is_unspecified()) {
            let place = self.place(request).map(|place| place.network);
            return place.is_some() && place == self.topology.network_of(address);
        }
        source == address
    }

    /// Whether the device may have one more lease.
    fn has_room(&self, hardware: HardwareAddress) -> bool {
        let is_held = |standing| matches!(standing, Standing::Held(_));
        self.count_of(hardware, is_held) < limits::LEASES_PER_HARDWARE_ADDRESS_MAX
    }

    /// How many of a device's addresses stand so.
    fn count_of(&self, hardware: HardwareAddress, is_wanted: impl Fn(Standing) -> bool) -> usize {
        self.book.of_hardware(hardware).filter(|entry| is_wanted(entry.standing())).count()
    }

    /// Whether the client means this server by option 54.
    fn is_own(&self, identifier: Ipv4Addr, request: &Request) -> bool {
        identifier == reply::server_identifier(request) || self.own_addresses.contains(&identifier)
    }

    /// What the client gets with an address: the lifetime that is configured for its side of the gate, or
    /// less if it asks for less (RFC 2131 section 4.3.1), and the options of its class. At an address that
    /// is for the other class it is to ask again soon. With a failover partner it may be less.
    fn terms(&self, request: &Request, network: NetworkIndex, address: u32) -> reply::Terms {
        let desired = self.desired_terms(request, network, address);
        match self.pair_time(address, desired.lifetime_seconds) {
            Some(time) => reply::Terms { lifetime_seconds: time.actual_seconds, ..desired },
            None => desired,
        }
    }

    /// The same, as if there were no failover partner.
    fn desired_terms(
        &self,
        request: &Request,
        network: NetworkIndex,
        address: u32,
    ) -> reply::Terms {
        let class = self.class_of(request.hardware);
        let clients = self.clients_of(request);
        let is_own = self.is_reserved_for(address, request);
        let (configured, _) = self.configured_lifetime(network, address, class, clients, is_own);
        let wanted = request.requested_lifetime_seconds.unwrap_or(configured);
        let lifetime_seconds = wanted.max(limits::LIFETIME_SECONDS_MIN).min(configured);
        reply::Terms { lifetime_seconds, class, clients, is_own }
    }

    /// Whether this client may have this address by configuration: it is reserved for its device, or
    /// it lies in a pool and is reserved for nobody.
    fn may_have(&self, request: &Request, network: NetworkIndex, address: u32) -> bool {
        if self.topology.network_of(address.into()) != Some(network) {
            return false;
        }
        match self.topology.reserved_for(address) {
            Some(_) => self.is_reserved_for(address, request),
            None => self.topology.pool_of(address).is_some(),
        }
    }

    /// Whether nothing keeps this client from this address now: nobody else holds it, was offered it
    /// or declined it. The device that an address is reserved for takes it over from itself, whatever
    /// client identifier its operating system sent before.
    fn is_available(&self, request: &Request, client: &ClientIdentifier, address: u32) -> bool {
        if self.offers.of_address(address).is_some_and(|offer| offer.client != *client) {
            return false;
        }
        let Some(lease) = self.book.entry(address).filter(|lease| lease.is_blocked(self.now))
        else {
            return true;
        };
        let own_reservation =
            lease.hardware() == request.hardware && self.is_reserved_for(address, request);
        lease.state() == BindingState::Active && (lease.has_client(client) || own_reservation)
    }

    /// The hold-off that is not over.
    fn hold_off(&self) -> Option<HoldOff> {
        self.hold_off.filter(|hold_off| self.now < hold_off.until)
    }

    /// Whether it is unknown who has this address, because records were lost.
    fn is_open(&self, address: u32) -> bool {
        self.hold_off().is_some_and(|hold_off| {
            let newest = self.book.entry(address).map(|lease| (lease.state(), lease.changed()));
            hold_off.leaves_open(newest, self.now)
        })
    }

    /// Brings an address up to date with the time, so that its pool and the gate know that its lease
    /// has run out. Whether the kernel has to be told of it.
    fn settle(&mut self, address: u32, step: &mut Step<'_>) -> bool {
        let change = self.book.settle(
            &self.topology,
            &mut self.pools,
            &self.registrations,
            address,
            self.now,
        );
        step.gate(change);
        if self.failover.is_some() {
            self.pair_settles(address, step);
        }
        self.keep_for_offer(address);
        change.is_some()
    }

    /// Keeps a free address that is on offer out of its pool: its lease ended after it was offered.
    fn keep_for_offer(&mut self, address: u32) {
        let ended = self.book.entry(address).filter(|entry| entry.standing() == Standing::Ended);
        if let Some(entry) = ended
            && self.topology.reserved_for(address).is_none()
            && self.offers.mark_taken(address)
        {
            if self.failover.is_some() {
                return self.unshelve(address);
            }
            self.pools.take(&self.topology, address, entry.ends());
        }
    }

    /// Writes a lease into the book and says what has to be committed for it.
    fn put(&mut self, lease: Lease, step: &mut Step<'_>) {
        let address = u32::from(lease.address);
        let change =
            self.book.put(&self.topology, &mut self.pools, &self.registrations, &lease, self.now);
        step.persist(Record::Lease(lease));
        step.gate(change);
        self.keep_for_offer(address);
    }

    /// Takes an address out of its pool for a client, unless it is out of it already.
    fn take(&mut self, address: u32) {
        let blocked =
            self.book.entry(address).is_some_and(|entry| entry.standing() != Standing::Ended);
        let offered = self.offers.of_address(address).is_some_and(|offer| offer.took);
        if !blocked && !offered && self.topology.reserved_for(address).is_none() {
            if self.failover.is_some() {
                return self.unshelve(address);
            }
            let ended = self.book.entry(address).map_or(Timestamp::ZERO, Entry::ends);
            self.pools.take(&self.topology, address, ended);
        }
    }

    /// Ends an offer; its address goes back into the pool.
    fn end_offer(&mut self, address: u32) {
        if let Some(offer) = self.offers.remove(address)
            && offer.took
        {
            if self.is_paired(address) {
                return self.reshelve(address);
            }
            let ended = self.book.entry(address).map_or(Timestamp::ZERO, Entry::ends);
            self.pools.give_back(&self.topology, address, ended);
        }
    }

    /// Lets leases, offers, registrations and vouchers run out whose time has come.
    fn let_things_end(&mut self, step: &mut Step<'_>) {
        if self.exchange.is_some() {
            self.forget_ends(step);
        }
        self.book.come_near(self.now, limits::ENDINGS_PER_STEP_MAX);
        for _ in 0..limits::ENDINGS_PER_STEP_MAX {
            let lease = self.book.first_end().filter(|(end, _)| *end <= self.now);
            let offer = self.offers.first_end().filter(|(end, _)| *end <= self.now);
            let registration = self.registrations.first_end().filter(|(end, _)| *end <= self.now);
            let voucher = self.vouchers.first_end().filter(|(end, _)| *end <= self.now);
            if lease.is_none() && offer.is_none() && registration.is_none() && voucher.is_none() {
                break;
            }
            if let Some((_, address)) = offer {
                self.end_offer(address);
            }
            if let Some((_, hardware)) = registration {
                self.end_registration(hardware, None, step);
            }
            if let Some((_, hash)) = voucher {
                self.expire_voucher(hash, step);
            }
            if let Some((_, address)) = lease {
                self.settle(address, step);
                self.pool_changed(address, step);
                if !self.topology.is_served(address) {
                    self.book.forget(address);
                    step.persist(Record::LeaseForgotten(address.into()));
                }
            }
        }
    }

    fn ask_to_be_woken(&mut self, step: &mut Step<'_>) {
        let next = [
            self.book.nothing_ends_before(),
            self.offers.first_end().map(|(end, _)| end),
            self.registrations.first_end().map(|(end, _)| end),
            self.vouchers.first_end().map(|(end, _)| end),
            self.exchange.as_deref().and_then(Exchange::first_end).map(|(end, _)| end),
            self.next_expiring(),
            self.pair_wakes(),
        ]
        .into_iter()
        .flatten()
        .min();
        if let Some(next) = next
            && self.wake.is_none_or(|wake| next < wake)
        {
            self.wake = Some(next);
            step.effects.push(Effect::Wake(next));
        }
    }

    /// Notes that the ACK to this request is held, so that its retransmission is not decided again.
    fn hold(&mut self, request: &Request, client: &ClientIdentifier, step: &Step<'_>) {
        let held = Held { xid: request.xid, sequence: step.sequence };
        self.held.insert(client.clone(), held);
        self.held_in_order.push_back((step.sequence, client.clone()));
    }

    fn is_held(&self, request: &Request, client: &ClientIdentifier) -> bool {
        self.held.get(client).is_some_and(|held| held.xid == request.xid)
    }

    fn committed(&mut self, through: Sequence) {
        self.committed = self.committed.max(through);
        while let Some((sequence, _)) = self.held_in_order.front()
            && *sequence <= through
        {
            let Some((sequence, client)) = self.held_in_order.pop_front() else { break };
            // A newer request of the same client may be held by now.
            if self.held.get(&client).is_some_and(|held| held.sequence == sequence) {
                self.held.remove(&client);
            }
        }
    }

    fn notice_exhausted(&self, network: NetworkIndex, step: &mut Step<'_>) {
        let network = self.topology.network(network).name.clone();
        step.effects.push(Effect::Notice(Notice::PoolExhausted { network }));
    }
}

#[cfg(test)]
mod tests;
