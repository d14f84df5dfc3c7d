//! The campus: 500 networks with one /21 each, and who lives there.
//!
//! A device is a number. Two of three send option 61 (one the hardware address with its type before it,
//! one 19 bytes as RFC 4361 has them), all send a host name, and all came through a relay that adds
//! circuit and remote identifier. So a lease has what leases of a real campus have.

use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::{
    AddressRange, Arrival, BindingState, Configuration, GateBy, HardwareAddress, KeptOptions,
    Lease, MessageType, Network, OptionSet, PerClass, Policy, RandomisedAddresses,
    RegistrationRules, RelayAgentInformation, Request, SocketIndex, Subnet, Timestamp,
};

/// Networks, each with one subnet.
pub const SUBNETS: u32 = 500;

/// Addresses in the pool of a subnet.
pub const POOL_ADDRESSES: u32 = 2020;

/// Devices that live in a subnet: 99 % of its pool.
pub const DEVICES_PER_SUBNET: u32 = 2000;

/// Lifetime of a lease in seconds.
pub const LIFETIME_SECONDS: u32 = 8 * 60 * 60;

/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 67);

const FIRST_SUBNET: u32 = 0x0a00_0000;
const SUBNET_ADDRESSES: u32 = 2048;
const POOL_OFFSET: u32 = 10;

/// The first address of a subnet; its relay has the one after it.
#[must_use]
pub fn subnet(number: u32) -> u32 {
    FIRST_SUBNET + number * SUBNET_ADDRESSES
}

/// The configuration, without a gate.
#[must_use]
pub fn configuration() -> Configuration {
    let networks = (0..SUBNETS).map(|number| {
        let first = subnet(number);
        let mut options = OptionSet::new();
        options.insert(3, (first + 1).to_be_bytes());
        options.insert(6, SERVER.octets());
        options.insert(15, *b"campus.example");
        let prefix = format!("{}/21", Ipv4Addr::from(first));
        Network {
            name: format!("network-{number}").into(),
            gated: false,
            gate_by: GateBy::default(),
            class_options: PerClass::default(),
            subnets: vec![Subnet {
                prefix: prefix.parse().expect("a prefix"),
                pools: vec![AddressRange {
                    first: (first + POOL_OFFSET).into(),
                    last: (first + POOL_OFFSET + POOL_ADDRESSES - 1).into(),
                }],
                options: OptionSet::new(),
                class_pools: PerClass::default(),
                special_pools: Vec::new(),
                profile: None,
                class_options: PerClass::default(),
                reservations: Vec::new(),
            }],
            options,
            randomised_addresses: RandomisedAddresses::Allow,
        }
    });
    Configuration {
        networks: networks.collect(),
        lifetime_seconds: LIFETIME_SECONDS,
        lifetime_unregistered_seconds: LIFETIME_SECONDS,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 86_400,
        rapid_commit: false,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    }
}

/// The same as a file for the daemon; `directory` takes the store and the API's socket. With `is_gated`
/// every lease stands in a kernel set too.
#[must_use]
pub fn configuration_file(directory: &str, is_gated: bool) -> String {
    use std::fmt::Write as _;
    let gate = if is_gated {
        "mode = \"local\"\nlying-resolver = \"10.255.0.54\"\n\
         portal = { address = \"10.255.0.80\", url = \"https://register.campus.example/\" }\n\
         [dns]\nlisten = [\"10.255.0.54:53\"]\nredirect-listen = [\"10.255.0.54:8080\"]\n\
         upstream = [\"10.255.0.53:53\"]\n"
    } else {
        "mode = \"off\"\n"
    };
    let mut file = format!(
        "[server]\nname = \"scale\"\nstate-dir = \"{directory}/state\"\nrelay-listen = [\"127.0.0.1\"]\n\
         [leases]\nlifetime = \"{LIFETIME_SECONDS}s\"\n[gate]\n{gate}\
         [api]\nlisten = \"{directory}/api.socket\"\ntoken-file = \"{directory}/token\"\n"
    );
    for network in configuration().networks {
        let subnet = &network.subnets[0];
        let pool = subnet.pools[0];
        let router = u32::from(subnet.prefix.network()) + 1;
        let written = write!(
            file,
            "[[network]]\nname = \"{}\"\ngated = {is_gated}\n[[network.subnet]]\nprefix = \"{}\"\n\
             pools = [\"{}-{}\"]\noptions = {{ routers = [\"{}\"], domain-name-servers = [\"{SERVER}\"], \
             domain-name = \"campus.example\" }}\n",
            network.name,
            subnet.prefix,
            pool.first,
            pool.last,
            Ipv4Addr::from(router),
        );
        written.expect("a string takes everything");
    }
    file
}

/// The subnet that a device lives in: however few devices there are, they live in all of them.
#[must_use]
pub fn subnet_of(device: u32) -> u32 {
    device % SUBNETS
}

/// The address that a device holds.
#[must_use]
pub fn address_of(device: u32) -> Ipv4Addr {
    let place = device / SUBNETS % DEVICES_PER_SUBNET;
    (subnet(subnet_of(device)) + POOL_OFFSET + place).into()
}

/// So many devices in the order of their addresses, as they stand in a snapshot.
pub fn by_address(residents: u32) -> impl Iterator<Item = u32> {
    (0..SUBNETS).flat_map(move |subnet| {
        (subnet..residents).step_by(usize::try_from(SUBNETS).unwrap_or(usize::MAX))
    })
}

/// Its hardware address.
#[must_use]
pub fn hardware(device: u32) -> HardwareAddress {
    let [a, b, c, d] = device.wrapping_mul(0x9e37_79b1).to_be_bytes();
    HardwareAddress::ethernet([2, 0, a, b, c, d])
}

fn client_identifier(device: u32) -> Option<Box<[u8]>> {
    let hardware = hardware(device);
    match device % 3 {
        0 => None,
        1 => Some([&[1], hardware.bytes()].concat().into()),
        _ => {
            let enterprise_duid = [0, 2, 0, 0, 0xab, 0x11];
            let machine = u64::from(device).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            let interface = &hardware.bytes()[2..];
            Some([&[0xff], interface, &enterprise_duid, &machine].concat().into())
        }
    }
}

fn host_name(device: u32) -> Box<[u8]> {
    format!("device-{device}").into_bytes().into()
}

/// Option 82 as its relay adds it: a port of a switch, and the switch.
fn relay_agent(device: u32) -> Box<[u8]> {
    let circuit = format!("ge-0/0/{}.{}", device % 48, 100 + subnet_of(device));
    let [.., switch_high, switch_low] = (device / 48).to_be_bytes();
    let remote = [2, 0, 0x5e, 0, switch_high, switch_low];
    let length = u8::try_from(circuit.len()).expect("a short name");
    [&[1, length], circuit.as_bytes(), &[2, 6], &remote].concat().into()
}

/// What a device sends, from behind its relay.
#[must_use]
pub fn request(device: u32, message_type: MessageType) -> Request {
    let relay = Ipv4Addr::from(subnet(subnet_of(device)) + 1);
    let hardware = hardware(device);
    let mut chaddr = [0; 16];
    chaddr[..6].copy_from_slice(hardware.bytes());
    Request {
        arrival: Arrival {
            socket: SocketIndex(0),
            local_address: SERVER,
            source: SocketAddrV4::new(relay, 67),
            broadcast: false,
            attached: false,
        },
        message_type,
        hops: 1,
        xid: device,
        secs: 0,
        flags: 0,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: relay,
        hardware,
        chaddr,
        client_identifier: client_identifier(device),
        requested_address: None,
        server_identifier: None,
        parameter_request_list: [1, 3, 6, 12, 15, 28, 42, 51, 54, 58, 59].into(),
        maximum_message_size: Some(1500),
        requested_lifetime_seconds: None,
        host_name: Some(host_name(device).into()),
        subnet_selection: None,
        rapid_commit: false,
        relay_agent: RelayAgentInformation::parse(&relay_agent(device)),
        kept_options: KeptOptions::default(),
    }
}

/// The unicast renewal of the address that a device holds.
#[must_use]
pub fn renewal(device: u32) -> Request {
    let mut request = unicast(device, MessageType::Request);
    request.xid ^= 0x5555_5555;
    request
}

/// The unicast RELEASE of the address that a device holds.
#[must_use]
pub fn release(device: u32) -> Request {
    Request { server_identifier: Some(SERVER), ..unicast(device, MessageType::Release) }
}

fn unicast(device: u32, message_type: MessageType) -> Request {
    let address = address_of(device);
    let mut request = request(device, message_type);
    request.arrival.source = SocketAddrV4::new(address, 68);
    request.ciaddr = address;
    request.giaddr = Ipv4Addr::UNSPECIFIED;
    request.relay_agent = None;
    request
}

/// The lease of a device: begun `age_seconds` before `now`.
#[must_use]
pub fn lease(device: u32, now: Timestamp, age_seconds: u64) -> Lease {
    let begun = Timestamp::from_milliseconds(now.milliseconds() - age_seconds * 1000);
    let request = request(device, MessageType::Request);
    Lease {
        address: address_of(device),
        client: request.client(),
        hardware: request.hardware,
        state: BindingState::Active,
        started: begun,
        changed: begun,
        ends: begun.plus_seconds(LIFETIME_SECONDS.into()),
        relay: Some(request.giaddr),
        relay_agent: Some(relay_agent(device)),
        host_name: request.host_name.map(Into::into),
    }
}

/// A number after a number, for an order without a pattern: the 64-bit generator of Vigna's splitmix.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Draws from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from(((mixed >> 32) * u64::from(bound)) >> 32).expect("below the bound")
    }
}
