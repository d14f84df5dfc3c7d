//! Two servers wired message by message: what a failover pair does, with exact times.
//!
//! | file | idea |
//! | --- | --- |
//! | `start` | from nothing to both serving, restarts, lost data, conflicts |
//! | `leases` | a lease's life across the pair |
//! | `apart` | contact lost, partner down, and together again |
//! | `rules` | who is served, sharing of addresses, refusals |
//! | `differ` | clocks, pools and books that are not the same |
//! | `unique` | whatever happens, no address is promised twice, and both serve again |
//!
//! The wire carries messages at once and in order, and every commit is done at once; whatever either
//! says is checked for what ends or misleads an ISC dhcpd process.

mod apart;
mod differ;
mod leases;
mod rules;
mod start;
mod unique;

use super::*;
use crate::failover::{
    BalanceSettings, BindingStatus, BindingUpdate, Body, FailoverConfiguration, FailoverStatus,
    HashBuckets, Message, PairBinding, PartnerEffect, PartnerInput, PartnerState, Role, State,
    StateMessage,
};
use std::collections::VecDeque;

const MCLT: u32 = 60;

/// Which half: 0 is the primary, 1 the secondary.
const PRIMARY: usize = 0;
const SECONDARY: usize = 1;

const ADDRESSES: [Ipv4Addr; 2] = [SERVER, Ipv4Addr::new(10, 0, 1, 67)];

fn configured(role: Role, pool_size: u8) -> Configuration {
    Configuration {
        failover: Some(FailoverConfiguration {
            role,
            relationship: "campus".into(),
            mclt_seconds: MCLT,
            hash_buckets: HashBuckets::split(128),
            unacknowledged_max: 10,
            receive_timer_seconds: 30,
            load_balance_seconds_max: 3,
            balance: BalanceSettings::default(),
            balance_seconds_min: 60,
            balance_seconds_max: 3600,
            auto_partner_down_seconds: None,
            exchanges_registrations: false,
        }),
        cache_threshold_percent: 25,
        ..configuration(pool_size)
    }
}

/// One server, what is on its disk, and what is on its way to it.
struct Half {
    server: Option<Server>,
    configuration: Configuration,
    records: Vec<Record>,
    incoming: VecDeque<Message>,
    /// What it was last told that its partner is.
    partner: PartnerState,
}

struct Pair {
    halves: [Half; 2],
    now: Timestamp,
    /// By how many seconds the clock of each is ahead.
    ahead: [u64; 2],
    is_connected: bool,
    /// Whether messages of each are held back on the wire.
    stuck: [bool; 2],
    /// Whether each takes the other for an ISC dhcpd, which corrects no times.
    is_isc: bool,
    /// Everything that was said, by whom.
    said: Vec<(usize, Message)>,
}

impl Pair {
    /// Two servers that have just started with nothing.
    fn new(pool_size: u8) -> Self {
        let now = Timestamp::from_seconds(1_000_000);
        let half = |role| Half {
            server: None,
            configuration: configured(role, pool_size),
            records: Vec::new(),
            incoming: VecDeque::new(),
            partner: PartnerState::Unknown,
        };
        let mut pair = Self {
            halves: [half(Role::Primary), half(Role::Secondary)],
            now,
            ahead: [0; 2],
            is_connected: false,
            stuck: [false; 2],
            is_isc: false,
            said: Vec::new(),
        };
        pair.start(PRIMARY);
        pair.start(SECONDARY);
        pair
    }

    /// The same after they have met.
    fn normal(pool_size: u8) -> Self {
        Self::normal_by_clocks(pool_size, [0; 2])
    }

    /// The same with clocks that are ahead by so many seconds.
    fn normal_by_clocks(pool_size: u8, ahead: [u64; 2]) -> Self {
        Self { ahead, ..Self::new(pool_size) }.into_normal()
    }

    /// The same, each of which takes the other for an ISC dhcpd.
    fn normal_as_isc(pool_size: u8, ahead: [u64; 2]) -> Self {
        Self { ahead, is_isc: true, ..Self::new(pool_size) }.into_normal()
    }

    fn into_normal(self) -> Self {
        let mut pair = self;
        pair.start(PRIMARY);
        pair.start(SECONDARY);
        pair.connect();
        assert_eq!(pair.states(), [State::Normal; 2]);
        pair
    }

    fn start(&mut self, side: usize) {
        let half = &mut self.halves[side];
        let records = half.records.clone();
        let configuration = half.configuration.clone();
        let now = self.now.plus_seconds(self.ahead[side]);
        half.server = Some(Server::new(configuration, [ADDRESSES[side]], records, now));
        half.partner = PartnerState::Unknown;
    }

    /// `kill -9`: what was durable stays.
    fn kill(&mut self, side: usize) {
        self.halves[side].server = None;
        self.cut();
    }

    fn connect(&mut self) {
        self.is_connected = true;
        for side in [PRIMARY, SECONDARY] {
            self.input(side, Input::Partner(PartnerInput::Connected));
        }
        self.deliver();
    }

    fn cut(&mut self) {
        self.is_connected = false;
        for side in [PRIMARY, SECONDARY] {
            self.halves[side].incoming.clear();
            self.input(side, Input::Partner(PartnerInput::Disconnected));
        }
    }

    fn input(&mut self, side: usize, input: Input<'_>) -> Vec<Effect> {
        let now = self.now.plus_seconds(self.ahead[side]);
        let Some(server) = &mut self.halves[side].server else { return Vec::new() };
        let mut effects = Effects::new();
        let sequence = server.step(now, input, &mut effects);
        if let Some(sequence) = sequence {
            server.step(now, Input::Committed(sequence), &mut effects);
        }
        let effects: Vec<Effect> = effects.drain().collect();
        let mut is_closed = false;
        for effect in &effects {
            match effect {
                Effect::Persist(record) => self.halves[side].records.push(record.clone()),
                Effect::Partner(PartnerEffect::Send { message, .. }) => {
                    self.check(side, message);
                    self.said.push((side, (**message).clone()));
                    if self.is_connected {
                        self.halves[1 - side].incoming.push_back((**message).clone());
                    }
                }
                Effect::Partner(PartnerEffect::Close(_)) => is_closed = true,
                _ => {}
            }
        }
        if is_closed && self.is_connected {
            self.cut();
        }
        effects
    }

    /// What ends an ISC dhcpd process, or leads it where only an operator leads it out of.
    fn check(&self, side: usize, message: &Message) {
        let partner = self.halves[side].partner;
        match &message.body {
            Body::Connect(connect) => {
                assert_eq!(side, PRIMARY, "never to a primary");
                assert!(connect.receive_timer_seconds >= Some(3));
                assert!(connect.unacknowledged_max.is_some() && connect.mclt_seconds.is_some());
            }
            Body::ConnectAcknowledgement(answer) => {
                assert!(answer.receive_timer_seconds >= Some(3));
                assert!(answer.unacknowledged_max.is_some() && answer.relationship.is_some());
            }
            Body::State(StateMessage { state: PartnerState::Known(state), .. }) => {
                use State::{
                    ConflictDone, Normal, PotentialConflict, ResolutionInterrupted, Shutdown,
                };
                match partner {
                    PartnerState::Known(ConflictDone) => assert!(
                        [Normal, PotentialConflict, ResolutionInterrupted, Shutdown]
                            .contains(state),
                        "{state} ends an ISC dhcpd that is done with a conflict"
                    ),
                    PartnerState::Known(PotentialConflict) => assert_ne!(*state, Normal),
                    PartnerState::Known(Normal) => assert!(
                        ![ConflictDone, ResolutionInterrupted].contains(state),
                        "{state} halts an ISC dhcpd that serves"
                    ),
                    _ => {}
                }
            }
            Body::State(other) => panic!("{other:?} has no name"),
            Body::BindingUpdate(update) => {
                let needs_client = matches!(
                    update.status,
                    BindingStatus::Active | BindingStatus::Expired | BindingStatus::Released
                );
                assert!(!needs_client || update.hardware.is_some(), "{update:?}");
                let is_abandoned = update.status == BindingStatus::Abandoned;
                assert!(!is_abandoned || update.hardware.is_none(), "{update:?}");
                assert_ne!(message.xid, 0);
            }
            _ => {}
        }
    }

    /// Lets everything arrive that is on its way.
    fn deliver(&mut self) {
        for _ in 0..100_000 {
            let next = [PRIMARY, SECONDARY]
                .into_iter()
                .filter(|side| !self.stuck[1 - side])
                .find_map(|side| Some((side, self.halves[side].incoming.pop_front()?)));
            let Some((side, message)) = next else {
                let before = self.said.len();
                for side in [PRIMARY, SECONDARY] {
                    self.input(side, Input::Tick);
                }
                if self.said.len() == before {
                    return;
                }
                continue;
            };
            self.arrive(side, message);
        }
        panic!("the two never come to rest");
    }

    fn arrive(&mut self, side: usize, mut message: Message) {
        if self.is_isc
            && let Body::Connect(crate::failover::Connect { vendor, .. })
            | Body::ConnectAcknowledgement(crate::failover::ConnectAcknowledgement {
                vendor,
                ..
            }) = &mut message.body
        {
            *vendor = Some(b"isc-4.4.3-P1"[..].into());
        }
        if let Body::State(state) = &message.body {
            self.halves[side].partner = state.state;
        }
        self.input(side, Input::Partner(PartnerInput::Said(message)));
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus_seconds(1);
            self.deliver();
        }
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.now.seconds()).unwrap()
    }

    fn query(&self, side: usize, query: &Query) -> QueryAnswer {
        self.halves[side].server.as_ref().unwrap().query(self.now, query)
    }

    fn status(&self, side: usize) -> FailoverStatus {
        match self.query(side, &Query::Failover) {
            QueryAnswer::Failover(Some(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    fn states(&self) -> [State; 2] {
        [PRIMARY, SECONDARY].map(|side| self.status(side).state)
    }

    /// Free addresses of the primary and of the secondary, as one of them counts.
    fn free(&self, side: usize) -> (u64, u64) {
        let status = self.status(side).networks.remove(0);
        (status.free, status.backup)
    }

    fn binding(&self, side: usize, address: Ipv4Addr) -> PairBinding {
        let after = Some(Ipv4Addr::from(u32::from(address) - 1));
        let QueryAnswer::PairBindings { bindings, .. } =
            self.query(side, &Query::PairBindings { after, limit: 1 })
        else {
            panic!("another answer")
        };
        let found = bindings.first().filter(|found| found.address == address).copied();
        found.unwrap_or(PairBinding::untouched(address))
    }

    fn lease_of(&self, side: usize, address: Ipv4Addr) -> Lease {
        match self.query(side, &Query::Lease(address)) {
            QueryAnswer::Lease(Some(view)) => view.lease,
            other => panic!("{other:?}"),
        }
    }

    fn is_held(&self, side: usize, address: Ipv4Addr) -> bool {
        match self.query(side, &Query::Lease(address)) {
            QueryAnswer::Lease(view) => view.is_some_and(|view| view.held),
            other => panic!("{other:?}"),
        }
    }

    fn reply(&mut self, side: usize, request: Request) -> Result<Reply, Reason> {
        let reply =
            self.input(side, Input::Packet(&request)).into_iter().find_map(|effect| match effect {
                Effect::Reply { reply, .. } => Some(Ok(*reply)),
                Effect::Unanswered(unanswered) => Some(Err(unanswered.reason)),
                _ => None,
            });
        reply.expect("every packet has an end")
    }

    /// A client that has asked so long that whoever hears it answers.
    fn discover(&mut self, side: usize, number: u8) -> Result<Reply, Reason> {
        self.reply(side, Request { secs: 100, ..request_to(side, number, MessageType::Discover) })
    }

    /// The whole exchange with one server; the address and the lifetime.
    fn lease(&mut self, side: usize, number: u8) -> Result<(Ipv4Addr, u32), Reason> {
        let offer = self.discover(side, number)?;
        let mut select = request_to(side, number, MessageType::Request);
        select.requested_address = Some(offer.yiaddr);
        select.server_identifier = Some(ADDRESSES[side]);
        self.grant(side, select)
    }

    fn renew(&mut self, side: usize, number: u8, ip: Ipv4Addr) -> Result<(Ipv4Addr, u32), Reason> {
        let request = request_to(side, number, MessageType::Request);
        self.grant(side, Request { ciaddr: ip, ..request })
    }

    fn grant(&mut self, side: usize, request: Request) -> Result<(Ipv4Addr, u32), Reason> {
        let ack = self.reply(side, request)?;
        assert_eq!(ack.message_type, MessageType::Ack);
        self.deliver();
        Ok((ack.yiaddr, lifetime(&ack)))
    }

    fn release(&mut self, side: usize, number: u8, ip: Ipv4Addr) {
        let request = request_to(side, number, MessageType::Release);
        assert_eq!(self.reply(side, Request { ciaddr: ip, ..request }), Err(Reason::Released));
        self.deliver();
    }

    fn partner_down(&mut self, side: usize) -> Answer {
        self.say_partner_down(side, false)
    }

    fn say_partner_down(&mut self, side: usize, leases_lost: bool) -> Answer {
        let command = Input::Command(Ticket(1), Command::PartnerDown { leases_lost });
        let answer = self.input(side, command).into_iter().find_map(|effect| match effect {
            Effect::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        self.deliver();
        answer.expect("every command is answered")
    }

    /// The updates that one has sent since some moment.
    fn updates_since(&self, said: usize, side: usize) -> Vec<BindingUpdate> {
        let of_side = self.said[said..].iter().filter(|(by, _)| *by == side);
        of_side
            .filter_map(|(_, message)| match &message.body {
                Body::BindingUpdate(update) => Some(update.clone()),
                _ => None,
            })
            .collect()
    }

    fn states_said(&self, side: usize) -> Vec<(State, bool)> {
        let of_side = self.said.iter().filter(|(by, _)| *by == side);
        of_side
            .filter_map(|(_, message)| match message.body {
                Body::State(StateMessage {
                    state: PartnerState::Known(state), startup, ..
                }) => Some((state, startup)),
                _ => None,
            })
            .collect()
    }
}

fn request_to(side: usize, number: u8, message_type: MessageType) -> Request {
    let mut request = request(number, message_type);
    request.arrival.local_address = ADDRESSES[side];
    request
}

fn lifetime(reply: &Reply) -> u32 {
    u32::from_be_bytes(reply.option(51).unwrap().try_into().unwrap())
}
