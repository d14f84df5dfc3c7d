//! A small campus for the property tests: few addresses, a handful of clients, and everything that
//! can happen to them as values that proptest can draw and shrink.
//!
//! It promises that an [`Action`] means the same in every run. It never judges: that is what
//! [`judge`] is for.

pub(crate) mod judge;
pub(crate) mod kernel;
pub(crate) mod ledger;

use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::{
    AddressRange, Arrival, Configuration, GateBy, HardwareAddress, Holder, KeptOptions,
    MessageType, Network, OptionSet, PerClass, Policy, RandomisedAddresses, RegistrationRules,
    Request, Reservation, SocketIndex, Subnet,
};

/// The address of the server under test.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
/// Another server that clients may prefer.
pub(crate) const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 68);
/// The lifetimes are short, so that a few steps of time end everything.
pub(crate) const LIFETIME_SECONDS: u32 = 120;
pub(crate) const LIFETIME_UNREGISTERED_SECONDS: u32 = 40;
pub(crate) const QUARANTINE_SECONDS: u32 = 60;

/// Every address that a packet may name: all that can be given out, and some that cannot.
pub(crate) const ADDRESSES: [Ipv4Addr; 12] = [
    Ipv4Addr::new(10, 1, 0, 10),
    Ipv4Addr::new(10, 1, 0, 11),
    Ipv4Addr::new(10, 1, 0, 12),
    Ipv4Addr::new(10, 1, 0, 100),
    Ipv4Addr::new(10, 2, 0, 10),
    Ipv4Addr::new(10, 2, 0, 11),
    Ipv4Addr::new(10, 3, 0, 10),
    Ipv4Addr::new(10, 3, 0, 11),
    Ipv4Addr::new(10, 3, 0, 12),
    Ipv4Addr::new(10, 1, 0, 50),
    Ipv4Addr::new(10, 9, 0, 10),
    Ipv4Addr::UNSPECIFIED,
];

/// The interfaces by which relays know the links; the last one belongs to no network.
pub(crate) const RELAYS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 1, 0, 1),
    Ipv4Addr::new(10, 2, 0, 1),
    Ipv4Addr::new(10, 3, 0, 1),
    Ipv4Addr::new(10, 9, 0, 1),
];

/// Who a client says it is: number of its hardware address, and its option 61. Two operating systems
/// on one device (3 and 4), and one cloned identifier on two devices (2 and 5).
pub(crate) const CLIENTS: [(u8, Option<&[u8]>); 8] = [
    (1, None),
    (2, None),
    (3, Some(b"\x00clone")),
    (4, Some(b"\x01first")),
    (4, Some(b"\x01second")),
    (5, Some(b"\x00clone")),
    (4, None),
    (6, None),
];

/// What may be configured otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    pub(crate) rapid_commit: bool,
    pub(crate) cache_threshold_percent: u8,
    /// Whether the halls have pools for one class of hosts each, beside one for anybody.
    pub(crate) class_pools: bool,
}

pub(crate) fn ways() -> impl Strategy<Value = Ways> {
    (any::<bool>(), prop_oneof![Just(0), Just(25), Just(49)], any::<bool>()).prop_map(
        |(rapid_commit, cache_threshold_percent, class_pools)| Ways {
            rapid_commit,
            cache_threshold_percent,
            class_pools,
        },
    )
}

/// Two networks, one of them gated and with two subnets. Reservations: one inside a pool, one beside
/// it. The `other` configuration has lost a subnet and has moved a reservation onto a pool address
/// that somebody may hold.
pub(crate) fn configuration(other: bool, ways: Ways) -> Configuration {
    let subnet = |third: u8, last: u8, reservations: Vec<Reservation>| Subnet {
        prefix: format!("10.{third}.0.0/24").parse().unwrap(),
        pools: vec![AddressRange {
            first: Ipv4Addr::new(10, third, 0, 10),
            last: Ipv4Addr::new(10, third, 0, last),
        }],
        class_pools: PerClass::default(),
        special_pools: Vec::new(),
        profile: None,
        options: OptionSet::new(),
        class_options: PerClass::default(),
        reservations,
    };
    let reservation = |number: u8, address: Ipv4Addr| Reservation {
        holder: Holder::Hardware(hardware(number)),
        address,
        options: OptionSet::new(),
        profile: None,
    };
    let in_pool = if other { Ipv4Addr::new(10, 1, 0, 12) } else { Ipv4Addr::new(10, 1, 0, 11) };
    let beside = Ipv4Addr::new(10, 1, 0, 100);
    let mut halls = vec![subnet(1, 12, vec![reservation(4, in_pool), reservation(5, beside)])];
    if !other {
        halls.push(subnet(2, 11, Vec::new()));
    }
    if ways.class_pools {
        // The two of the first subnet that are not reserved are for a class each; the other configuration
        // has changed what is for whom.
        let range = |last: u8| {
            let address = Ipv4Addr::new(10, 1, 0, last);
            vec![AddressRange { first: address, last: address }]
        };
        let (low, high) = ([range(10), range(11)].concat(), range(12));
        halls[0].pools.clear();
        halls[0].class_pools = if other {
            PerClass { registered: low, unregistered: high }
        } else {
            PerClass { registered: high, unregistered: low }
        };
    }
    let network = |name: &str, gated, subnets| Network {
        name: name.into(),
        gated,
        gate_by: GateBy { pools: ways.class_pools, ..GateBy::default() },
        subnets,
        options: OptionSet::new(),
        randomised_addresses: RandomisedAddresses::Allow,
        class_options: PerClass::default(),
    };
    Configuration {
        networks: vec![
            network("halls", true, halls),
            network("laboratories", false, vec![subnet(3, 12, Vec::new())]),
        ],
        lifetime_seconds: LIFETIME_SECONDS,
        lifetime_unregistered_seconds: LIFETIME_UNREGISTERED_SECONDS,
        cache_threshold_percent: ways.cache_threshold_percent,
        decline_quarantine_seconds: QUARANTINE_SECONDS,
        rapid_commit: ways.rapid_commit,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    }
}

pub(crate) fn hardware(number: u8) -> HardwareAddress {
    HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, number])
}

/// How a packet names an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// Not at all.
    Nothing,
    /// The one that its client was offered last.
    Offered,
    /// The one that its client was acknowledged last, perhaps long ago.
    Acknowledged,
    /// The one that another client was acknowledged last: its number among [`CLIENTS`].
    AcknowledgedTo(usize),
    /// One of [`ADDRESSES`].
    Listed(usize),
}

/// Which server a packet names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NamedServer {
    Nobody,
    Us,
    Another,
}

/// How a packet arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Through one of [`RELAYS`].
    Relay(usize),
    /// Straight from the client's own address.
    Unicast,
    /// Broadcast on an attached LAN, on which our address is that of one of [`RELAYS`].
    Attached(usize),
}

/// A packet, before it is known what its client was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) client: usize,
    pub(crate) message_type: MessageType,
    pub(crate) way: Way,
    pub(crate) requested: Named,
    pub(crate) ciaddr: Named,
    pub(crate) server: NamedServer,
    pub(crate) lifetime_seconds: Option<u32>,
    pub(crate) rapid_commit: bool,
    pub(crate) xid: u32,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Packet(Packet),
    /// A DISCOVER, and the REQUEST that selects what was offered.
    Lease(Packet),
    /// This many of the oldest waiting steps become durable.
    Commit(usize),
    Pass {
        milliseconds: u64,
    },
    /// A device, by its hardware address or by an address, with an end and a device that it replaces.
    Register {
        number: u8,
        by_address: Option<usize>,
        seconds: Option<u64>,
        replaces: Option<u8>,
    },
    Unregister(u8),
    GateLost,
    /// The process is killed, and started again with one of the two configurations.
    Restart {
        other_configuration: bool,
    },
}

/// What each client was told last.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) offered: [Option<Ipv4Addr>; CLIENTS.len()],
    pub(crate) acknowledged: [Option<Ipv4Addr>; CLIENTS.len()],
}

impl Packet {
    /// The REQUEST that selects what this DISCOVER was offered.
    pub(crate) fn select(self) -> Self {
        let (requested, server) = (Named::Offered, NamedServer::Us);
        Self { message_type: MessageType::Request, requested, server, ..self }
    }

    /// The packet as the decoder would give it.
    pub(crate) fn request(self, told: &Told) -> Request {
        let address = |named| match named {
            Named::Nothing => None,
            Named::Offered => told.offered[self.client],
            Named::Acknowledged => told.acknowledged[self.client],
            Named::AcknowledgedTo(client) => told.acknowledged[client],
            Named::Listed(index) => Some(ADDRESSES[index]),
        };
        let (number, identifier) = CLIENTS[self.client];
        let ciaddr = address(self.ciaddr).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let (giaddr, arrival) = match self.way {
            Way::Relay(index) => (RELAYS[index], arrival(SERVER, RELAYS[index], false, false)),
            Way::Unicast => (Ipv4Addr::UNSPECIFIED, arrival(SERVER, ciaddr, false, false)),
            Way::Attached(index) => {
                (Ipv4Addr::UNSPECIFIED, arrival(RELAYS[index], ciaddr, true, true))
            }
        };
        let server_identifier = match self.server {
            NamedServer::Nobody => None,
            NamedServer::Us => Some(arrival.local_address),
            NamedServer::Another => Some(OTHER_SERVER),
        };
        Request {
            arrival,
            message_type: self.message_type,
            hops: 1,
            xid: self.xid,
            secs: 0,
            flags: 0,
            ciaddr,
            giaddr,
            hardware: hardware(number),
            chaddr: [0; 16],
            client_identifier: identifier.map(Into::into),
            requested_address: address(self.requested),
            server_identifier,
            parameter_request_list: [].into(),
            maximum_message_size: None,
            requested_lifetime_seconds: self.lifetime_seconds,
            host_name: None,
            subnet_selection: None,
            rapid_commit: self.rapid_commit,
            relay_agent: None,
            kept_options: KeptOptions::default(),
        }
    }
}

fn arrival(ours: Ipv4Addr, source: Ipv4Addr, broadcast: bool, attached: bool) -> Arrival {
    Arrival {
        socket: SocketIndex(0),
        local_address: ours,
        source: SocketAddrV4::new(source, 67),
        broadcast,
        attached,
    }
}

/// Sequences of things that happen. Most packets are such as honest clients send, because only they
/// get far; the others have any field wrong.
pub(crate) fn actions(length: usize) -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => discover().prop_map(Action::Lease),
        8 => honest().prop_map(Action::Packet),
        6 => any_packet().prop_map(Action::Packet),
        6 => (1..6_usize).prop_map(Action::Commit),
        4 => passing(),
        2 => registration(),
        1 => (1..7_u8).prop_map(Action::Unregister),
        1 => Just(Action::GateLost),
        1 => proptest::bool::weighted(0.3)
            .prop_map(|other_configuration| Action::Restart { other_configuration }),
    ];
    proptest::collection::vec(action, 1..length)
}

fn passing() -> impl Strategy<Value = Action> {
    let seconds = |seconds: u64| Just(seconds * 1000);
    prop_oneof![
        8 => 1..1500_u64,
        8 => seconds(10),
        4 => seconds(30),
        2 => seconds(u64::from(LIFETIME_UNREGISTERED_SECONDS)),
        2 => seconds(u64::from(QUARANTINE_SECONDS)),
        1 => seconds(u64::from(LIFETIME_SECONDS)),
        1 => seconds(10_000),
    ]
    .prop_map(|milliseconds| Action::Pass { milliseconds })
}

fn registration() -> impl Strategy<Value = Action> {
    let by_address = proptest::option::of(0..ADDRESSES.len());
    let seconds = proptest::option::of(0..100_u64);
    let replaces = proptest::option::weighted(0.2, 1..7_u8);
    (1..7_u8, by_address, seconds, replaces).prop_map(|(number, by_address, seconds, replaces)| {
        Action::Register { number, by_address, seconds, replaces }
    })
}

fn discover() -> impl Strategy<Value = Packet> {
    let way = prop_oneof![
        3 => (0..3_usize).prop_map(Way::Relay),
        1 => (0..3_usize).prop_map(Way::Attached),
    ];
    (0..CLIENTS.len(), way, 0..3_u32, lifetime(), any::<bool>()).prop_map(
        |(client, way, xid, lifetime_seconds, rapid_commit)| Packet {
            client,
            message_type: MessageType::Discover,
            way,
            requested: Named::Nothing,
            ciaddr: Named::Nothing,
            server: NamedServer::Nobody,
            lifetime_seconds,
            rapid_commit,
            xid,
        },
    )
}

/// A packet that fits what its client was told.
fn honest() -> impl Strategy<Value = Packet> {
    (discover(), 0..7_u8).prop_map(|(discover, what)| {
        let (acknowledged, server) = (Named::Acknowledged, NamedServer::Us);
        let request = Packet { message_type: MessageType::Request, ..discover };
        match what {
            0 => discover,
            1 => discover.select(),
            2 => Packet { requested: acknowledged, ..request },
            3 => Packet { ciaddr: acknowledged, way: Way::Unicast, ..request },
            4 => Packet { ciaddr: acknowledged, ..request },
            5 => Packet {
                message_type: MessageType::Release,
                ciaddr: acknowledged,
                server,
                way: Way::Unicast,
                ..discover
            },
            _ => Packet {
                message_type: MessageType::Decline,
                requested: acknowledged,
                server,
                ..discover
            },
        }
    })
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let message_type = prop_oneof![
        1 => Just(MessageType::Discover),
        3 => Just(MessageType::Request),
        1 => Just(MessageType::Decline),
        1 => Just(MessageType::Release),
        1 => Just(MessageType::Inform),
    ];
    let way = prop_oneof![
        (0..RELAYS.len()).prop_map(Way::Relay),
        Just(Way::Unicast),
        (0..RELAYS.len()).prop_map(Way::Attached),
    ];
    let server =
        prop_oneof![Just(NamedServer::Nobody), Just(NamedServer::Us), Just(NamedServer::Another)];
    (
        0..CLIENTS.len(),
        message_type,
        way,
        named(),
        named(),
        server,
        lifetime(),
        any::<bool>(),
        0..3_u32,
    )
        .prop_map(
            |(
                client,
                message_type,
                way,
                requested,
                ciaddr,
                server,
                lifetime_seconds,
                rapid_commit,
                xid,
            )| {
                Packet {
                    client,
                    message_type,
                    way,
                    requested,
                    ciaddr,
                    server,
                    lifetime_seconds,
                    rapid_commit,
                    xid,
                }
            },
        )
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![
        3 => Just(Named::Nothing),
        1 => Just(Named::Offered),
        1 => Just(Named::Acknowledged),
        2 => (0..CLIENTS.len()).prop_map(Named::AcknowledgedTo),
        2 => (0..ADDRESSES.len()).prop_map(Named::Listed),
    ]
}

fn lifetime() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![4 => Just(None), 1 => prop_oneof![Just(0), Just(15), Just(u32::MAX)].prop_map(Some)]
}
