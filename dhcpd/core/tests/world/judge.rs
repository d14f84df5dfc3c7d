//! Runs a server through what happens, and checks every promise after each step.

use super::kernel::KernelSets;
use super::ledger::{Belief, Event, Ledger};
use super::{ADDRESSES, Action, Packet, RELAYS, SERVER, Told, Ways, configuration, hardware};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use vestibule_core::options::code;
use vestibule_core::{
    Class, ClientIdentifier, Command, Configuration, CoreStatus, Effect, Effects, Holder, Input,
    LeaseFilter, LeaseView, MessageType, Query, QueryAnswer, Reason, Record, Register,
    RegistrationState, RegistrationTarget, Release, Replaces, Reply, Request, Sequence, Server,
    Side, Subnet, Ticket, Timestamp,
};

/// The device of all strangers.
const STRANGER: u8 = 250;

/// A step that waits for its commit.
struct Waiting {
    sequence: Sequence,
    at: Timestamp,
    effects: Vec<Effect>,
    events: Vec<Event>,
}

/// An offer that its client may still count on.
struct Offered {
    client: ClientIdentifier,
    network: usize,
    until: Timestamp,
}

/// A server, what is durable of it, and what the world knows of it.
pub(crate) struct Judge {
    configuration: Configuration,
    server: Server,
    now: Timestamp,
    durable: Vec<Record>,
    waiting: VecDeque<Waiting>,
    ledger: Ledger,
    /// As the decisions would have it.
    decided: KernelSets,
    /// As the commits have brought it in.
    committed: KernelSets,
    offers: BTreeMap<Ipv4Addr, Offered>,
    wake: Option<Timestamp>,
    told: Told,
    tickets: u64,
    ways: Ways,
    /// Everything that came out, for the comparison of two runs.
    pub(crate) transcript: String,
}

impl Judge {
    pub(crate) fn new(ways: Ways) -> Self {
        let configuration = configuration(false, ways);
        let now = Timestamp::from_seconds(1_000_000);
        Self {
            server: Server::new(configuration.clone(), [SERVER], [], now),
            configuration,
            now,
            durable: Vec::new(),
            waiting: VecDeque::new(),
            ledger: Ledger::default(),
            decided: KernelSets::default(),
            committed: KernelSets::default(),
            offers: BTreeMap::new(),
            wake: None,
            told: Told::default(),
            tickets: 0,
            ways,
            transcript: String::new(),
        }
    }

    /// Lets one thing happen, and checks everything.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Packet(packet) => self.packet(packet),
            Action::Lease(discover) => {
                self.packet(discover);
                self.check();
                self.packet(discover.select());
            }
            Action::Commit(steps) => self.commit(steps),
            Action::Pass { milliseconds } => {
                self.now = Timestamp::from_milliseconds(self.now.milliseconds() + milliseconds);
                self.wake = None;
                self.step(Input::Tick, None);
            }
            Action::Register { number, by_address, seconds, replaces } => {
                let target = match by_address {
                    Some(index) => RegistrationTarget::Address(ADDRESSES[index]),
                    None => RegistrationTarget::Hardware(hardware(number)),
                };
                self.command(Command::Register(Register {
                    expires: seconds.map(|seconds| self.now.plus_seconds(seconds)),
                    replaces: replaces.map(|number| Replaces::Device(hardware(number))),
                    ..Register::of(target)
                }));
            }
            Action::Unregister(number) => self.command(Command::Unregister(hardware(number))),
            Action::GateLost => self.step(Input::GateLost, None),
            Action::Restart { other_configuration } => self.restart(other_configuration),
        }
        self.check();
    }

    /// Lets everything run out, and then gives every address to somebody: none may be missing, and
    /// none may be left.
    pub(crate) fn finish(&mut self) {
        self.commit(usize::MAX);
        self.now = self.now.plus_seconds(100_000);
        self.wake = None;
        self.step(Input::Tick, None);
        self.commit(usize::MAX);
        self.check();
        let status = self.status();
        for (index, network) in status.networks.iter().enumerate() {
            let free = network.pool_size - self.reserved_in_pools(index).len() as u64;
            assert_eq!((network.free, network.held, network.declined), (free, 0, 0), "{network:?}");
            let relay = RELAYS[if index == 0 { 0 } else { 2 }];
            let mut seen = BTreeSet::new();
            let mut stranger = 0;
            // Unregistered ones get all but what is for registered ones, who get the rest.
            for class in [Class::Unregistered, Class::Registered] {
                if class == Class::Registered {
                    self.register_strangers();
                }
                loop {
                    stranger += 1;
                    let Ok(reply) = self.discover_as_stranger(stranger, relay) else { break };
                    assert!(seen.insert(reply.yiaddr), "{} was offered twice", reply.yiaddr);
                    assert_ne!(
                        self.class_of_address(reply.yiaddr).map(|of| of != class),
                        Some(true)
                    );
                }
                let refused = self.discover_as_stranger(stranger, relay);
                assert_eq!(refused, Err(Reason::PoolExhausted));
            }
            assert_eq!(seen.len() as u64, free, "{seen:?}");
            self.command(Command::Unregister(hardware(STRANGER)));
        }
    }

    fn register_strangers(&mut self) {
        let target = RegistrationTarget::Hardware(hardware(STRANGER));
        self.command(Command::Register(Register::of(target)));
    }

    /// The class of whoever asks.
    fn class_of(&self, request: &Request) -> Class {
        match self.server.query(self.now, &Query::Registration(request.hardware)) {
            QueryAnswer::Registration(Some(registration))
                if registration.state == RegistrationState::Active =>
            {
                Class::Registered
            }
            QueryAnswer::Registration(_) => Class::Unregistered,
            other => panic!("{other:?}"),
        }
    }

    /// Whether an address is for the class that whoever asks is not of.
    fn is_misplaced(&self, address: Ipv4Addr, request: &Request) -> bool {
        self.class_of_address(address).is_some_and(|other| other != self.class_of(request))
    }

    /// The class that an address is for; `None`: it is for anybody, or reserved, or not in a pool.
    fn class_of_address(&self, address: Ipv4Addr) -> Option<Class> {
        let subnets = || self.configuration.networks.iter().flat_map(|network| &network.subnets);
        let is_reserved = subnets()
            .flat_map(|subnet| &subnet.reservations)
            .any(|reservation| reservation.address == address);
        let mut pools = subnets().flat_map(Subnet::all_pools);
        let (class, _) = pools.find(|(_, pool)| pool.contains(address))?;
        class.filter(|_| !is_reserved)
    }

    fn discover_as_stranger(&mut self, number: u64, relay: Ipv4Addr) -> Result<Reply, Reason> {
        let packet = Packet {
            client: 0,
            message_type: MessageType::Discover,
            way: super::Way::Relay(RELAYS.iter().position(|other| *other == relay).unwrap()),
            requested: super::Named::Nothing,
            ciaddr: super::Named::Nothing,
            server: super::NamedServer::Nobody,
            lifetime_seconds: None,
            rapid_commit: false,
            xid: 0,
        };
        let mut request = packet.request(&Told::default());
        let stranger = [&b"\x00stranger"[..], &number.to_be_bytes()].concat();
        request.hardware = hardware(STRANGER);
        request.client_identifier = Some(stranger.into());
        let mut effects = Effects::new();
        self.server.step(self.now, Input::Packet(&request), &mut effects);
        let end = effects.drain().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(Ok(*reply)),
            Effect::Unanswered(unanswered) => Some(Err(unanswered.reason)),
            _ => None,
        });
        end.expect("every packet has an end")
    }

    fn packet(&mut self, packet: Packet) {
        let request = packet.request(&self.told);
        self.step(Input::Packet(&request), Some((packet.client, request.clone())));
    }

    fn command(&mut self, command: Command) {
        self.tickets += 1;
        self.step(Input::Command(Ticket(self.tickets), command), None);
    }

    fn step(&mut self, input: Input<'_>, packet: Option<(usize, Request)>) {
        let is_command = matches!(input, Input::Command(..));
        let mut effects = Effects::new();
        let sequence = self.server.step(self.now, input, &mut effects);
        let effects: Vec<Effect> = effects.drain().collect();
        writeln!(self.transcript, "{} {sequence:?} {effects:?}", self.now).unwrap();
        let mut events = Vec::new();
        let mut ends = 0;
        let mut answers = 0;
        let mut moved = None;
        for effect in &effects {
            self.decided.apply(effect, self.now);
            let is_durable =
                matches!(effect, Effect::Persist(_) | Effect::Gate(_) | Effect::GateReplace(_));
            assert!(!is_durable || sequence.is_some(), "{effect:?} belongs to no commit");
            match effect {
                Effect::Wake(at) => self.wake = Some(*at),
                Effect::Answer { release, .. } => {
                    answers += 1;
                    if let Release::AfterCommit(awaited) = release {
                        assert_eq!(Some(*awaited), sequence);
                    }
                }
                Effect::Reply { reply, release, reason } => {
                    ends += 1;
                    let (client, request) = packet.as_ref().expect("a reply answers a packet");
                    self.check_reply(reply, *release, *reason, request, sequence);
                    if *reason == Some(Reason::WrongClass) {
                        moved = Some((*client, request.clone()));
                    }
                    match reply.message_type {
                        MessageType::Offer => self.told.offered[*client] = Some(reply.yiaddr),
                        MessageType::Ack if !reply.yiaddr.is_unspecified() => {
                            self.told.acknowledged[*client] = Some(reply.yiaddr);
                            let event = self.acknowledged(reply, request);
                            if *release == Release::Immediately {
                                self.check_covered(&event);
                                self.ledger.note(event);
                            } else {
                                events.push(event);
                            }
                        }
                        _ => {}
                    }
                }
                Effect::Unanswered(unanswered) => {
                    ends += 1;
                    let (_, request) = packet.as_ref().expect("a reason is a packet's");
                    events.extend(self.ended(unanswered.reason, request));
                }
                _ => {}
            }
        }
        assert_eq!(ends, usize::from(packet.is_some()), "{effects:?}");
        assert_eq!(answers, usize::from(is_command), "{effects:?}");
        if let Some(sequence) = sequence {
            self.waiting.push_back(Waiting { sequence, at: self.now, effects, events });
        }
        if let Some((client, request)) = moved {
            self.move_on(client, &request);
        }
    }

    /// Whoever was sent away because its class has changed begins anew, and is offered an address of its
    /// class at once: there is no way from NAK to NAK.
    fn move_on(&mut self, client: usize, request: &Request) {
        let mut discover = Request {
            message_type: MessageType::Discover,
            xid: 99,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested_address: None,
            server_identifier: None,
            rapid_commit: false,
            ..request.clone()
        };
        if !discover.is_relayed() && !discover.arrival.attached {
            discover.giaddr = RELAYS[0];
        }
        self.told.offered[client] = None;
        self.step(Input::Packet(&discover), Some((client, discover.clone())));
        let offered = self.told.offered[client].expect("an address was put aside");
        assert!(!self.is_misplaced(offered, request), "{offered} leads to the next NAK");
    }

    /// What every reply must be, and what an offer promises: nobody else is offered or given the
    /// address while it stands.
    fn check_reply(
        &mut self,
        reply: &Reply,
        release: Release,
        reason: Option<Reason>,
        request: &Request,
        sequence: Option<Sequence>,
    ) {
        let is_lease = reply.message_type == MessageType::Ack && !reply.yiaddr.is_unspecified();
        match release {
            Release::AfterCommit(awaited) => {
                assert!(is_lease);
                assert_eq!(Some(awaited), sequence, "an ACK waits for its own step");
            }
            // P2 and P3: what leaves at once is covered by what is durable, and touches no gate.
            Release::Immediately if is_lease => {
                assert_ne!(self.ways.cache_threshold_percent, 0, "an ACK that waits for nothing");
                assert_ne!(request.message_type, MessageType::Discover);
                assert_ne!(self.network_of(reply.yiaddr), 0, "it is gated: {reply:?}");
            }
            Release::Immediately => {}
        }
        assert_eq!(reason.is_some(), reply.message_type == MessageType::Nak);
        self.check_class(reply, reason, request);
        let client = request.client();
        if !reply.yiaddr.is_unspecified() {
            if let Some(other) = self.offers.get(&reply.yiaddr)
                && self.now < other.until
            {
                assert_eq!(other.client, client, "{} is offered to another", reply.yiaddr);
            }
            let network = self.network_of(reply.yiaddr);
            self.offers.retain(|_, offer| offer.client != client || offer.network != network);
            if reply.message_type == MessageType::Offer {
                let until = self.now.plus_seconds(vestibule_core::limits::OFFER_HOLD_SECONDS);
                self.offers.insert(reply.yiaddr, Offered { client, network, until });
            }
        }
    }

    /// Who asks for an address of the other class keeps it only if there is none of its own; and a NAK
    /// because of it leads to one.
    fn check_class(&self, reply: &Reply, reason: Option<Reason>, request: &Request) {
        if reason == Some(Reason::WrongClass) {
            let asked = request.requested_address.unwrap_or(request.ciaddr);
            assert!(self.is_misplaced(asked, request), "{asked} is of its class: {request:?}");
        } else if self.is_misplaced(reply.yiaddr, request) {
            let seconds = reply
                .option(code::LEASE_TIME)
                .map(|seconds| u32::from_be_bytes(seconds.try_into().expect("four bytes")));
            assert!(seconds <= Some(super::LIFETIME_UNREGISTERED_SECONDS), "{seconds:?}");
            let status = self.status();
            let network = &status.networks[self.network_of(reply.yiaddr)];
            let class = self.class_of(request);
            let of_other = network.class_pools.iter().filter(|pools| pools.class != class);
            let free = network.free - of_other.map(|pools| pools.free).sum::<u64>();
            assert_eq!(free, 0, "{} is of the other class, and others are free", reply.yiaddr);
        }
    }

    fn acknowledged(&self, reply: &Reply, request: &Request) -> Event {
        let seconds = reply.option(code::LEASE_TIME).expect("an ACK names its lifetime");
        let seconds = u32::from_be_bytes(seconds.try_into().expect("four bytes"));
        let belief = Belief {
            client: request.client(),
            hardware: request.hardware,
            ends: self.now.plus_seconds(seconds.into()),
        };
        let reserved_for_it = self
            .configuration
            .networks
            .iter()
            .flat_map(|network| &network.subnets)
            .flat_map(|subnet| &subnet.reservations)
            .any(|kept| {
                kept.address == reply.yiaddr && kept.holder == Holder::Hardware(request.hardware)
            });
        let left = ADDRESSES
            .into_iter()
            .filter(|other| {
                self.is_configured(*other)
                    && self.network_of(*other) == self.network_of(reply.yiaddr)
            })
            .collect();
        Event::Acknowledged { address: reply.yiaddr, belief, at: self.now, reserved_for_it, left }
    }

    /// What a packet without a reply has ended.
    fn ended(&mut self, reason: Reason, request: &Request) -> Option<Event> {
        let client = request.client();
        match reason {
            Reason::Released => {
                Some(Event::Released { address: request.ciaddr, client, at: self.now })
            }
            Reason::Declined => Some(Event::Declined {
                address: request.requested_address?,
                client,
                at: self.now,
                until: self.now.plus_seconds(super::QUARANTINE_SECONDS.into()),
            }),
            Reason::OtherServer => {
                // Whoever asks another server has no use for our offer on the same link.
                let link = self.link_of(request);
                if request.message_type == MessageType::Request {
                    self.offers
                        .retain(|_, offer| offer.client != client || Some(offer.network) != link);
                }
                None
            }
            _ => None,
        }
    }

    fn commit(&mut self, steps: usize) {
        let mut through = None;
        for _ in 0..steps {
            let Some(waiting) = self.waiting.pop_front() else { break };
            through = Some(waiting.sequence);
            for effect in waiting.effects {
                self.committed.apply(&effect, waiting.at);
                if let Effect::Reply { reply, release: Release::AfterCommit(_), .. } = &effect {
                    self.check_gate_of(reply, waiting.at);
                }
                if let Effect::Persist(record) = effect {
                    self.durable.push(record);
                }
            }
            for event in waiting.events {
                self.check_covered(&event);
                self.ledger.note(event);
            }
        }
        if let Some(through) = through {
            self.step(Input::Committed(through), None);
        }
    }

    /// P2: when an ACK leaves, the lease that is durable is its client's, and lasts as long as it says.
    fn check_covered(&self, event: &Event) {
        let Event::Acknowledged { address, belief, .. } = event else { return };
        let lease = self.durable.iter().rev().find_map(|record| match record {
            Record::Lease(lease) if lease.address == *address => Some(Some(lease)),
            Record::LeaseForgotten(forgotten) if forgotten == address => Some(None),
            _ => None,
        });
        let lease = lease.flatten().expect("a durable lease");
        assert_eq!((&lease.client, lease.hardware), (&belief.client, belief.hardware));
        assert!(lease.is_held(self.now) || lease.ends <= self.now, "{lease:?}");
        assert!(lease.ends >= belief.ends, "{lease:?} does not cover {belief:?}");
    }

    /// P3: when an ACK leaves, the kernel has its address where it belongs.
    fn check_gate_of(&self, reply: &Reply, at: Timestamp) {
        let side = self.committed.side_of(reply.yiaddr, at);
        let is_registered = self
            .durable
            .iter()
            .rev()
            .find_map(|record| match record {
                Record::Registration(registration) if registration.hardware == reply.hardware => {
                    Some(registration.is_valid(at))
                }
                Record::RegistrationRemoved(hardware) if *hardware == reply.hardware => Some(false),
                _ => None,
            })
            .unwrap_or(false);
        let expected = if self.network_of(reply.yiaddr) != 0 {
            None
        } else if is_registered {
            Some(Side::Registered)
        } else {
            Some(Side::Unregistered)
        };
        assert_eq!(side, expected, "the ACK for {} leaves at the wrong side", reply.yiaddr);
    }

    /// Everything that was not committed is lost; so are the offers, and the ACKs that waited.
    fn restart(&mut self, other: bool) {
        self.waiting.clear();
        self.offers.clear();
        self.wake = None;
        self.configuration = configuration(other, self.ways);
        let records = self.durable.clone();
        self.server = Server::new(self.configuration.clone(), [SERVER], records, self.now);
        // Whose ACK has not left has begun no flows.
        self.decided = self.committed.clone();
        // The shell begins by setting the kernel right.
        self.step(Input::GateLost, None);
        let gate = self.server.gate(self.now);
        let held: BTreeSet<_> = self.ledger.held(self.now).map(|(address, _)| address).collect();
        assert!(gate.iter().all(|(address, ..)| held.contains(address)), "{gate:?} {held:?}");
    }

    /// The network of an address, by the second byte: also of a subnet that is not configured now.
    fn network_of(&self, address: Ipv4Addr) -> usize {
        usize::from(address.octets()[1] == 3)
    }

    /// The network that a packet comes from, if it is configured.
    fn link_of(&self, request: &Request) -> Option<usize> {
        let address = match request.arrival {
            _ if request.is_relayed() => request.giaddr,
            arrival if arrival.attached => arrival.local_address,
            _ => request.ciaddr,
        };
        let subnets = |network: &vestibule_core::Network| {
            network.subnets.iter().any(|subnet| subnet.prefix.contains(address))
        };
        self.configuration.networks.iter().position(subnets)
    }

    fn is_configured(&self, address: Ipv4Addr) -> bool {
        let mut subnets = self.configuration.networks.iter().flat_map(|network| &network.subnets);
        subnets.any(|subnet| subnet.prefix.contains(address))
    }

    fn status(&self) -> CoreStatus {
        match self.server.query(self.now, &Query::Status) {
            QueryAnswer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn reserved_in_pools(&self, network: usize) -> BTreeSet<Ipv4Addr> {
        let subnets = &self.configuration.networks[network].subnets;
        subnets
            .iter()
            .flat_map(|subnet| {
                let in_pool =
                    |address| subnet.all_pools().any(move |(_, pool)| pool.contains(address));
                subnet.reservations.iter().map(|kept| kept.address).filter(move |a| in_pool(*a))
            })
            .collect()
    }

    fn check(&self) {
        let gate = self.server.gate(self.now);
        assert_eq!(gate, self.decided.contents(self.now), "the kernel is told otherwise (P4)");
        self.check_believers();
        self.check_counters();
        let first_end = gate.iter().map(|(_, _, milliseconds)| *milliseconds).min();
        if let Some(milliseconds) = first_end {
            let end = Timestamp::from_milliseconds(self.now.milliseconds() + milliseconds);
            let wake = self.wake.expect("something ends, and nobody is to wake the server");
            assert!(wake <= end, "asked to be woken at {wake}, after an end at {end}");
        }
    }

    /// Whoever believes to hold an address holds it in the book, unless a later step that is not yet
    /// durable says otherwise.
    fn check_believers(&self) {
        if !self.waiting.is_empty() {
            return;
        }
        for (address, belief) in self.ledger.held(self.now) {
            let QueryAnswer::Lease(view) = self.server.query(self.now, &Query::Lease(address))
            else {
                panic!("another answer")
            };
            let view = view.unwrap_or_else(|| panic!("nobody knows of {address}: {belief:?}"));
            assert!(view.held, "{address} is not held: {belief:?}");
            assert_eq!(view.lease.client, belief.client, "{address}");
            assert_eq!(view.lease.ends, belief.ends, "{address}");
        }
    }

    /// P4, reckoned once more from what the queries tell: a permit ends with its lease or with its
    /// registration, whichever comes first.
    fn check_gate(&self, leases: &[LeaseView]) {
        let expected: Vec<_> = leases
            .iter()
            .filter(|view| view.held && self.network_of(view.lease.address) == 0)
            .filter(|view| view.network.is_some())
            .map(|view| {
                let end = view.lease.ends;
                let (side, end) = match &view.registration {
                    Some(found) => (Side::Registered, found.expires.map_or(end, |e| e.min(end))),
                    None => (Side::Unregistered, end),
                };
                (view.lease.address, side, end.milliseconds_after(self.now))
            })
            .collect();
        assert_eq!(self.server.gate(self.now), expected);
    }

    fn check_counters(&self) {
        let mut leases = Vec::new();
        let mut after = None;
        loop {
            let query = Query::Leases { after, limit: 2, filter: LeaseFilter::All };
            let QueryAnswer::Leases { leases: page, next } = self.server.query(self.now, &query)
            else {
                panic!("another answer")
            };
            leases.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.check_gate(&leases);
        let status = self.status();
        assert_eq!(status.leases_known, leases.len() as u64);
        let live_offers = self.offers.iter().filter(|(_, offer)| self.now < offer.until);
        let offered: BTreeSet<Ipv4Addr> = live_offers.map(|(address, _)| *address).collect();
        assert!(status.offers >= offered.len() as u64, "an offer was forgotten: {offered:?}");
        for (index, (network, configured)) in
            status.networks.iter().zip(&self.configuration.networks).enumerate()
        {
            let here = || leases.iter().filter(|view| view.network.as_ref() == Some(&network.name));
            let on = |side| here().filter(|view| view.side == Some(side)).count() as u64;
            let declined = here()
                .filter(|view| !view.held && view.lease.is_blocked(self.now))
                .map(|view| view.lease.address);
            assert_eq!(network.held, here().filter(|view| view.held).count() as u64);
            assert_eq!(network.declined, declined.clone().count() as u64);
            assert_eq!(network.registered, on(Side::Registered));
            assert_eq!(network.unregistered, on(Side::Unregistered));
            for pools in &network.class_pools {
                let of_class = || {
                    here().filter(|view| {
                        view.held && self.class_of_address(view.lease.address) == Some(pools.class)
                    })
                };
                assert_eq!(pools.held, of_class().count() as u64);
                let misplaced = || of_class().filter(|view| view.misplaced);
                assert_eq!(pools.misplaced, misplaced().count() as u64);
                let side = |view: &&LeaseView| view.side.map(Side::class) != Some(pools.class);
                assert_eq!(misplaced().count(), of_class().filter(side).count());
            }
            let pools = || {
                let of_subnets = configured.subnets.iter().flat_map(Subnet::all_pools);
                of_subnets.map(|(_, pool)| pool)
            };
            assert_eq!(network.pool_size, pools().map(|pool| pool.size()).sum::<u64>());
            let mut taken = self.reserved_in_pools(index);
            taken.extend(declined);
            taken.extend(here().filter(|view| view.held).map(|view| view.lease.address));
            taken.extend(&offered);
            taken.retain(|address| pools().any(|pool| pool.contains(*address)));
            assert_eq!(
                network.free,
                network.pool_size - taken.len() as u64,
                "free addresses of {}, with {taken:?} taken",
                network.name
            );
        }
    }
}
