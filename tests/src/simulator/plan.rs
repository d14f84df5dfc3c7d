//! What a seed chooses: sizes, lifetimes and how often what goes wrong (swarm testing).
//!
//! A kind of fault is absent in many seeds and frequent in some, so that the faults meet in all
//! combinations and none hides another.

use super::rules::Rules;
use std::net::Ipv4Addr;
use vestibule_core::{
    Configuration, HardwareAddress, Holder, Network, OptionSet, PerClass, Policy, Reservation,
    Subnet,
};
use vestibule_load::message::Hardware;
use vestibule_load::random::Random;

/// The bit of a hardware address that its device has given to itself.
const LOCALLY_ADMINISTERED: u8 = 2;

/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

/// How often things happen, of a thousand times each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A packet is lost.
    pub(crate) loss: u64,
    /// A packet arrives twice.
    pub(crate) duplication: u64,
    /// A packet is overtaken by later ones.
    pub(crate) reordering: u64,
    /// A sync takes long.
    pub(crate) slow_sync: u64,
    /// A sync fails, and with it the process.
    pub(crate) failing_sync: u64,
    /// The process is killed, per turn of the operator.
    pub(crate) kill: u64,
    /// A transaction of the kernel sets fails.
    pub(crate) failing_gate: u64,
    /// Somebody flushes the kernel sets, per turn of the operator.
    pub(crate) flush: u64,
    /// The wall clock stands otherwise at a start.
    pub(crate) time_step: u64,
}

/// More comes than is served. Rates are in packets in a millisecond, parts are of a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    /// Packets that the process decides at most.
    pub(crate) served: usize,
    /// Packets of strangers, about.
    pub(crate) offered: u64,
    /// When the strangers begin.
    pub(crate) from: u64,
    /// When they end.
    pub(crate) until: u64,
    /// Relays that they come through.
    pub(crate) relays: u64,
    /// What all but comes through one of them.
    pub(crate) busiest: u64,
    /// What they call renewals.
    pub(crate) renewals: u64,
    /// What they ask for without having been offered it.
    pub(crate) completions: u64,
    /// What they send again.
    pub(crate) duplicates: u64,
}

impl Overload {
    fn of(random: &mut Random) -> Option<Self> {
        if random.below(24) != 0 {
            return None;
        }
        let served = 1 + random.below(3);
        let from = 1_000 + random.below(12_000);
        // Enough that all places are taken, and some more.
        let offered = 8 + random.below(30);
        let packets = 5_000 + random.below(4_000);
        let renewals = [0, 300, 900][to_usize(random.below(3))];
        Some(Self {
            served: to_usize(served),
            offered,
            from,
            until: from + packets / offered,
            relays: 1 + random.below(12),
            busiest: [0, 500, 950][to_usize(random.below(3))],
            renewals,
            completions: [0, 50, 100, 1000 - renewals][to_usize(random.below(4))],
            duplicates: [0, 100, 600][to_usize(random.below(3))],
        })
    }
}

/// One seed's world. All times are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Devices.
    pub(crate) devices: usize,
    /// Networks; the first is gated.
    pub(crate) networks: usize,
    /// Whether more comes than is served for a while.
    pub(crate) overload: Option<Overload>,
    /// What goes wrong in the first phase.
    pub(crate) faults: Faults,
    /// The longest usual way of a packet.
    pub(crate) delay: u64,
    /// The longest way of a packet that is overtaken.
    pub(crate) delay_reordered: u64,
    /// The longest usual sync.
    pub(crate) sync: u64,
    /// The longest slow sync.
    pub(crate) sync_slow: u64,
    /// How long a failing kernel goes on to fail.
    pub(crate) gate_outage: u64,
    /// How long until the server hears of a flush.
    pub(crate) notice: u64,
    /// Between two deeds of somebody with a device.
    pub(crate) deeds: u64,
    /// Between two commands of the portal.
    pub(crate) portal: u64,
    /// When the faults end.
    pub(crate) heal: u64,
    /// When the run ends.
    pub(crate) end: u64,
    /// Lifetime of a lease in seconds.
    pub(crate) lifetime_seconds: u32,
    /// The same for hosts that are not registered.
    pub(crate) lifetime_unregistered_seconds: u32,
    /// Up to which part of a lease, in percent, a renewal is answered without a write.
    pub(crate) cache_threshold_percent: u8,
    /// First wait of a device for an answer.
    pub(crate) first_wait: u64,
    /// Whether the relay writes option 82.
    pub(crate) circuit_id: bool,
    /// Whether the first device has an address of its own.
    pub(crate) reservation: bool,
    /// What holds for registrations.
    pub(crate) rules: Rules,
}

impl Plan {
    /// The world of a seed; `aside` and `people`: where what came later is drawn from; `milliseconds`: how
    /// long the first phase is, if not as the seed wants it.
    #[must_use]
    pub(crate) fn of(
        random: &mut Random,
        aside: &mut Random,
        people: &mut Random,
        milliseconds: Option<u64>,
    ) -> Self {
        let crowd = random.below(1024) == 0;
        let devices = match random.below(8) {
            _ if crowd => 4_500 + random.below(1_000),
            0 => 1 + random.below(2),
            1 => 40 + random.below(60),
            _ => 3 + random.below(14),
        };
        let networks = if crowd { 1 } else { 1 + random.below(3) };
        // Often fewer addresses than devices want, so that addresses change hands.
        let pool = match random.below(3) {
            _ if crowd => devices + 100,
            0 => devices + random.below(8),
            _ => (devices / networks / 2).max(1) + random.below(devices),
        };
        let mut rate = |most: u64| match random.below(3) {
            0 => 0,
            1 => 1 + random.below(most / 4 + 1),
            _ => random.below(most + 1),
        };
        let mut faults = Faults {
            loss: rate(400),
            duplication: rate(400),
            reordering: rate(500),
            slow_sync: rate(300),
            failing_sync: rate(30),
            kill: rate(600),
            failing_gate: rate(200),
            flush: rate(400),
            time_step: rate(800),
        };
        let lifetime_seconds = 20 + random.below(50);
        let heal =
            milliseconds.unwrap_or(if crowd { 25_000 } else { 40_000 + random.below(160_000) });
        let mut gate_outage = 1 + random.below(12_000);
        if crowd {
            // What a crowd is for: everybody waits for the gate at once.
            faults = Faults { failing_gate: 1000, ..Faults::default() };
            gate_outage = 22_000;
        }
        let settle = if crowd { 60_000 } else { 1000 * lifetime_seconds + 150_000 };
        let rules = Rules::of(people, to_usize(devices), to_usize(networks), to_usize(pool));
        Self {
            rules,
            devices: to_usize(devices),
            networks: to_usize(networks),
            overload: Overload::of(aside).filter(|_| !crowd),
            faults,
            delay: 1 + random.below(20),
            delay_reordered: 50 + random.below(2_000),
            sync: 1 + random.below(30),
            sync_slow: 100 + random.below(9_000),
            gate_outage,
            notice: 1 + random.below(3_000),
            deeds: if crowd { 1_000_000 } else { 200 + random.below(5_000) },
            portal: if crowd { 1_000_000 } else { 100 + random.below(6_000) },
            heal,
            end: heal + settle,
            lifetime_seconds: to_u32(lifetime_seconds),
            lifetime_unregistered_seconds: to_u32(10 + random.below(lifetime_seconds - 9)),
            first_wait: 500 + random.below(4_000),
            circuit_id: random.below(2) == 0,
            reservation: random.below(2) == 0,
            cache_threshold_percent: [0, 25, 49][to_usize(random.below(3))],
        }
    }

    /// The server's configuration.
    #[must_use]
    pub(crate) fn configuration(&self) -> Configuration {
        let networks = (0..self.networks)
            .map(|network| {
                let (pools, class_pools) = self.rules.pools(network);
                let reserved = Reservation {
                    holder: Holder::Hardware(hardware(0)),
                    address: Ipv4Addr::from(u32::from(relay(network)) + 1),
                    options: OptionSet::new(),
                    profile: None,
                };
                let subnet = Subnet {
                    prefix: prefix_text(network)
                        .parse()
                        .unwrap_or_else(|_| unreachable!("a /16 with nothing behind it")),
                    pools,
                    options: OptionSet::new(),
                    class_pools,
                    special_pools: Vec::new(),
                    profile: None,
                    class_options: PerClass::default(),
                    reservations: if self.reservation { vec![reserved] } else { Vec::new() },
                };
                Network {
                    name: format!("network-{network}").into(),
                    gated: is_gated(network),
                    gate_by: self.rules.gate_by(network),
                    class_options: PerClass::default(),
                    subnets: vec![subnet],
                    options: OptionSet::new(),
                    randomised_addresses: self.rules.networks[network].randomised,
                }
            })
            .collect();
        Configuration {
            networks,
            lifetime_seconds: self.lifetime_seconds,
            lifetime_unregistered_seconds: self.lifetime_unregistered_seconds,
            cache_threshold_percent: self.cache_threshold_percent,
            decline_quarantine_seconds: 30,
            rapid_commit: false,
            registration: self.rules.registration(),
            policy: Policy::default(),
            failover: None,
        }
    }
}

/// The relay's address in a network.
#[must_use]
pub(crate) fn relay(network: usize) -> Ipv4Addr {
    let [_, number, ..] = (to_u32(network as u64) << 16).to_be_bytes();
    Ipv4Addr::new(10, number + 1, 0, 1)
}

/// Whether a network has a gate: all but every third.
#[must_use]
pub(crate) const fn is_gated(network: usize) -> bool {
    network % 3 != 1
}

/// The network that an address is of.
#[must_use]
pub(crate) fn network_of(address: Ipv4Addr) -> usize {
    usize::from(address.octets()[1].saturating_sub(1))
}

/// The hardware address of a device, as the core has it.
#[must_use]
pub(crate) fn hardware(device: usize) -> HardwareAddress {
    HardwareAddress::ethernet(hardware_of(device).0)
}

/// The hardware address of a device, as it has it: randomised for every other one.
#[must_use]
pub(crate) fn hardware_of(device: usize) -> Hardware {
    let Hardware([first, rest @ ..]) = Hardware::of_client(to_u32(device as u64));
    let first = if device.is_multiple_of(2) { first } else { first & !LOCALLY_ADMINISTERED };
    let mut bytes = [first; 6];
    bytes[1..].copy_from_slice(&rest);
    Hardware(bytes)
}

/// The number of the device, or of the stranger, with a hardware address.
#[must_use]
pub(crate) fn device_of(Hardware(bytes): Hardware) -> Option<usize> {
    let mut bytes = bytes;
    bytes[0] |= LOCALLY_ADMINISTERED;
    Hardware(bytes).client().map(|number| to_usize(number.into()))
}

fn prefix_text(network: usize) -> String {
    let [a, b, ..] = relay(network).octets();
    format!("{a}.{b}.0.0/16")
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
