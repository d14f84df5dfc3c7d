//! What the server decides, step by step, where a conformance case would hide the point.
//!
//! | file | idea |
//! | --- | --- |
//! | `commit` | what waits for its commit, and what does not |
//! | `addresses` | which address a client gets, and how they are counted and given back |
//! | `caching` | early renewals that need no write |
//! | `events` | what others are told |
//! | `lease_tokens` | what a portal names a lease by |
//! | `registrations` | registrations, and what the kernel is told of them |
//! | `rules` | limits, lifetimes, roles, suspension, and what is imported |
//! | `vouchers` | codes that let devices in |
//! | `trust` | what is not believed, and what nobody can take from others |
//! | `gate_pages` | the whole of what the kernel sets should hold |
//! | `restart` | what is known of an earlier life |
//! | `exchange` | two servers that tell each other of registrations |
//! | `pair` | two servers that share their addresses |

mod addresses;
mod caching;
mod commit;
mod configure;
mod events;
mod exchange;
mod gate_pages;
mod holders;
mod lease_tokens;
mod pair;
mod registrations;
mod restart;
mod rules;
mod trust;
mod vouchers;

use super::*;
use crate::{
    AddressRange, Answer, Command, Destination, GateBy, GateChange, HardwareAddress, Holder,
    KeptOptions, LeaseFilter, Network, OptionSet, PerClass, Policy, Query, QueryAnswer,
    RandomisedAddresses, Register, RegistrationRules, RegistrationTarget, RelayAgentInformation,
    Release, Replaces, Reply, Reservation, SocketIndex, Subnet, Ticket,
};
use std::net::SocketAddrV4;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

fn configuration(pool_size: u8) -> Configuration {
    let last = 9 + pool_size;
    let mut options = OptionSet::new();
    options.insert(3, vec![10, 20, 0, 1]);
    Configuration {
        networks: vec![Network {
            name: "halls".into(),
            gated: true,
            gate_by: GateBy::default(),
            class_options: PerClass::default(),
            subnets: vec![Subnet {
                prefix: "10.20.0.0/24".parse().unwrap(),
                pools: vec![AddressRange {
                    first: Ipv4Addr::new(10, 20, 0, 10),
                    last: Ipv4Addr::new(10, 20, 0, last),
                }],
                options,
                class_pools: PerClass::default(),
                special_pools: Vec::new(),
                profile: None,
                class_options: PerClass::default(),
                reservations: vec![Reservation {
                    holder: Holder::Hardware(hardware(200)),
                    address: Ipv4Addr::new(10, 20, 0, 200),
                    options: OptionSet::new(),
                    profile: None,
                }],
            }],
            options: OptionSet::new(),
            randomised_addresses: RandomisedAddresses::Allow,
        }],
        lifetime_seconds: 3600,
        lifetime_unregistered_seconds: 120,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 600,
        rapid_commit: false,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    }
}

fn hardware(number: u8) -> HardwareAddress {
    HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, number])
}

fn request(number: u8, message_type: MessageType) -> Request {
    Request {
        arrival: Arrival {
            socket: SocketIndex(0),
            local_address: SERVER,
            source: SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 1), 67),
            broadcast: false,
            attached: false,
        },
        message_type,
        hops: 1,
        xid: u32::from(number),
        secs: 0,
        flags: 0,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::new(10, 20, 0, 1),
        hardware: hardware(number),
        chaddr: [0; 16],
        client_identifier: None,
        requested_address: None,
        server_identifier: None,
        parameter_request_list: [].into(),
        maximum_message_size: None,
        requested_lifetime_seconds: None,
        host_name: None,
        subnet_selection: None,
        rapid_commit: false,
        relay_agent: None,
        kept_options: KeptOptions::default(),
    }
}

/// A server, and a commit that is done as soon as it is asked for.
struct Bench {
    server: Server,
    now: Timestamp,
}

impl Bench {
    fn new(pool_size: u8) -> Self {
        let now = Timestamp::from_seconds(1_000_000);
        Self { server: Server::new(configuration(pool_size), [SERVER], [], now), now }
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Effects::new();
        if let Some(sequence) = self.server.step(self.now, input, &mut effects) {
            self.server.step(self.now, Input::Committed(sequence), &mut Effects::new());
        }
        effects.drain().collect()
    }

    fn packet(&mut self, request: Request) -> Vec<Effect> {
        self.input(Input::Packet(&request))
    }

    fn reply(&mut self, request: Request) -> Result<Reply, Reason> {
        self.packet(request)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Reply { reply, .. } => Some(Ok(*reply)),
                Effect::Unanswered(unanswered) => Some(Err(unanswered.reason)),
                _ => None,
            })
            .expect("every packet has an end")
    }

    /// The whole exchange; the address.
    fn lease(&mut self, number: u8) -> Result<Ipv4Addr, Reason> {
        let offer = self.reply(request(number, MessageType::Discover))?;
        let mut select = request(number, MessageType::Request);
        select.requested_address = Some(offer.yiaddr);
        select.server_identifier = Some(SERVER);
        let ack = self.reply(select)?;
        assert_eq!((ack.message_type, ack.yiaddr), (MessageType::Ack, offer.yiaddr));
        Ok(ack.yiaddr)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.input(Input::Tick);
    }

    fn status(&self) -> crate::NetworkStatus {
        let QueryAnswer::Status(mut status) = self.server.query(self.now, &Query::Status) else {
            panic!("another answer")
        };
        status.networks.remove(0)
    }
}

fn gate_changes(effects: &[Effect]) -> Vec<GateChange> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gate(change) => Some(*change),
            _ => None,
        })
        .collect()
}
