//! What a seed chooses for a pair: sizes, times, and how often what goes wrong.
//!
//! As in the single server's worlds, a kind of fault is absent in many seeds and frequent in some.

use crate::simulator::plan::{relay, to_u32, to_usize};
use crate::simulator::rules::Rules;
use std::net::Ipv4Addr;
use std::sync::Arc;
use vestibule_core::failover::{BalanceSettings, FailoverConfiguration, HashBuckets, Role};
use vestibule_core::{
    AddressRange, Configuration, Holder, Network, OptionSet, PerClass, Policy, RandomisedAddresses,
    Reservation, Subnet,
};
use vestibule_load::random::Random;

/// The two halves.
pub(crate) const NODES: [usize; 2] = [0, 1];

/// The servers' addresses.
pub(crate) const ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 0, 0, 67), Ipv4Addr::new(10, 0, 1, 67)];

/// In milliseconds.
const HOUR: i64 = 3_600_000;

/// What operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// They declare a partner down only when it is, and start it again only where it hears of that.
    Careful,
    /// They also declare it down when it only cannot be heard, and one half does it by itself. What that
    /// costs is counted, not judged.
    Careless,
}

/// How often things happen, of a thousand times each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A client's packet is lost, per server that it goes to.
    pub(crate) loss: u64,
    /// A client's packet arrives twice.
    pub(crate) duplication: u64,
    /// A client's packet is overtaken by later ones.
    pub(crate) reordering: u64,
    /// A sync takes long.
    pub(crate) slow_sync: u64,
    /// A sync fails, and with it the process.
    pub(crate) failing_sync: u64,
    /// A process is killed, per turn of the operator: its host goes on and says so.
    pub(crate) kill: u64,
    /// A machine loses its power, per turn: nobody says so.
    pub(crate) power: u64,
    /// The connection between the halves is reset, per turn.
    pub(crate) reset: u64,
    /// The halves cannot hear each other, both or one of them, per turn.
    pub(crate) cut: u64,
    /// Clients cannot reach one half, per turn.
    pub(crate) unreachable: u64,
    /// A half that is down is declared so, and stays down longer, per crash.
    pub(crate) declared: u64,
    /// A machine's clock stands otherwise when it boots.
    pub(crate) skew: u64,
    /// Somebody sets a machine's clock while it runs, per turn.
    pub(crate) step: u64,
    /// A transaction of the kernel sets fails, and all for a while.
    pub(crate) failing_gate: u64,
}

/// One seed's pair. All times are in milliseconds unless they say otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What operators do.
    pub(crate) operators: Operators,
    /// Devices.
    pub(crate) devices: usize,
    /// Networks; the first is gated.
    pub(crate) networks: usize,
    /// Addresses in the pool of each network.
    pub(crate) pool: usize,
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
    /// How long a message to the partner is under way at most.
    pub(crate) latency: u64,
    /// How long the link takes for one message.
    pub(crate) spacing: u64,
    /// The longest time that a fault of the network lasts.
    pub(crate) outage: u64,
    /// By how much a clock is wrong at most, in either direction.
    pub(crate) skew: u64,
    /// Between two deeds of somebody with a device.
    pub(crate) deeds: u64,
    /// Between two commands of the portal.
    pub(crate) portal: u64,
    /// Between two turns of the operator.
    pub(crate) turns: u64,
    /// When the faults end.
    pub(crate) heal: u64,
    /// Until when both have to be NORMAL.
    pub(crate) normal_by: u64,
    /// When the run ends.
    pub(crate) end: u64,
    /// Lifetime of a lease in seconds.
    pub(crate) lifetime_seconds: u32,
    /// The same for hosts that are not registered.
    pub(crate) lifetime_unregistered_seconds: u32,
    /// Up to which part of a lease, in percent, a renewal is answered without a write.
    pub(crate) cache_threshold_percent: u8,
    /// How long a declined address stays out of use, in seconds.
    pub(crate) quarantine_seconds: u32,
    /// First wait of a device for an answer.
    pub(crate) first_wait: u64,
    /// Whether the first device has an address of its own.
    pub(crate) reservation: bool,
    /// Maximum client lead time in seconds.
    pub(crate) mclt_seconds: u32,
    /// How many of the 256 buckets are the primary's.
    pub(crate) split: u16,
    /// Up to which `secs` a client is left to the partner.
    pub(crate) load_balance_seconds_max: u16,
    /// By server: how many updates it takes at once.
    pub(crate) unacknowledged_max: [u32; 2],
    /// By server: its receive timer, in seconds.
    pub(crate) receive_timer_seconds: [u32; 2],
    /// How free addresses are shared, and how often it is looked.
    pub(crate) balance: BalanceSettings,
    /// See [`FailoverConfiguration::balance_seconds_min`].
    pub(crate) balance_seconds_min: u32,
    /// By server: after which time without contact it takes its partner for down.
    pub(crate) auto_partner_down_seconds: [Option<u32>; 2],
    /// Whether they exchange registrations.
    pub(crate) exchanges: bool,
    /// What holds for registrations: in most worlds nothing beyond the gate.
    pub(crate) rules: Arc<Rules>,
    /// How long the kernel sets cannot be changed.
    pub(crate) gate_outage: u64,
    /// By server: how far its clock is from the true time all the while.
    pub(crate) clock_base: [i64; 2],
    /// By how much somebody sets a clock at most, in either direction.
    pub(crate) clock_step: i64,
}

impl Plan {
    /// The pair of a seed; `milliseconds`: how long the first phase is, if not as the seed wants it.
    pub(crate) fn of(random: &mut Random, operators: Operators, milliseconds: Option<u64>) -> Self {
        let devices = match random.below(8) {
            0 => 1 + random.below(2),
            1 => 30 + random.below(40),
            _ => 3 + random.below(12),
        };
        let networks = 1 + random.below(2);
        // Often fewer addresses than devices want, so that addresses change hands and servers.
        let pool = match random.below(3) {
            0 => devices + random.below(2 * devices + 4),
            1 => devices + random.below(3),
            _ => (devices / networks / 2).max(1) + random.below(devices),
        };
        let mut rate = |most: u64| match random.below(3) {
            0 => 0,
            1 => 1 + random.below(most / 4 + 1),
            _ => random.below(most + 1),
        };
        let faults = Faults {
            loss: rate(400),
            duplication: rate(300),
            reordering: rate(400),
            slow_sync: rate(200),
            failing_sync: rate(20),
            kill: rate(300),
            power: rate(300),
            reset: rate(300),
            cut: rate(500),
            unreachable: rate(300),
            declared: rate(800),
            skew: rate(1000),
            ..Faults::default()
        };
        let lifetime_seconds = 20 + random.below(80);
        let mclt_seconds = 5 + random.below(40);
        let receive_timer = |random: &mut Random| 3 + random.below(20);
        let receive_timer_seconds = [receive_timer(random), receive_timer(random)];
        let heal = milliseconds.unwrap_or(60_000 + random.below(240_000));
        let outage = 1_000 + random.below(90_000);
        let latency = 1 + random.below(40);
        let slow = [0, 5, 100][to_usize(random.below(3))];
        let spacing = random.below(slow + 1);
        // The receive timers, the longest pause before a dial, the handshake, twice the wait for the lead
        // time (with what clocks that never met may be apart), and a comparison of everything in both
        // directions.
        let resync = 4 * pool * networks * (spacing + 2 * latency + 40) + 30_000;
        let wait = mclt_seconds + 70;
        let settle = 1000 * (60 + 15 + 15 + 2 * wait + receive_timer_seconds.iter().sum::<u64>());
        let normal_by = heal + settle + resync;
        let mut windows = || [1, 2, 3, 10, 100][to_usize(random.below(5))];
        let unacknowledged_max = [windows(), windows()];
        let careless = operators == Operators::Careless;
        let auto = |random: &mut Random| {
            (careless && random.below(3) == 0).then(|| to_u32(1 + random.below(60)))
        };
        let auto_partner_down_seconds = [auto(random), auto(random)];
        Self {
            operators,
            devices: to_usize(devices),
            networks: to_usize(networks),
            pool: to_usize(pool),
            faults,
            delay: 1 + random.below(20),
            delay_reordered: 50 + random.below(2_000),
            sync: 1 + random.below(30),
            sync_slow: 100 + random.below(5_000),
            latency,
            spacing,
            outage,
            skew: [0, 0, 3_000, 25_000][to_usize(random.below(4))],
            deeds: 200 + random.below(8_000),
            portal: 500 + random.below(15_000),
            turns: 1_000 + random.below(30_000),
            heal,
            normal_by,
            end: normal_by + 1000 * lifetime_seconds + 150_000,
            lifetime_seconds: to_u32(lifetime_seconds),
            lifetime_unregistered_seconds: to_u32(10 + random.below(lifetime_seconds - 9)),
            cache_threshold_percent: [0, 25, 49][to_usize(random.below(3))],
            quarantine_seconds: to_u32(10 + random.below(60)),
            first_wait: 500 + random.below(4_000),
            reservation: random.below(2) == 0,
            mclt_seconds: to_u32(mclt_seconds),
            split: [128, 128, 0, 64, 200, 256][to_usize(random.below(6))],
            load_balance_seconds_max: [3, 3, 0, 1, 8][to_usize(random.below(5))],
            unacknowledged_max,
            receive_timer_seconds: receive_timer_seconds.map(to_u32),
            balance: [
                BalanceSettings::default(),
                BalanceSettings { misbalance_percent: 5, ownership_percent: 0 },
                BalanceSettings { misbalance_percent: 50, ownership_percent: 40 },
            ][to_usize(random.below(3))],
            balance_seconds_min: to_u32(5 + random.below(60)),
            auto_partner_down_seconds,
            exchanges: false,
            rules: Arc::new(Rules::of_a_pair(to_usize(networks), to_usize(pool))),
            gate_outage: 0,
            clock_base: [0; 2],
            clock_step: 0,
        }
    }

    /// The same with what only half of the worlds have: roles and pools for each class, kernel sets that
    /// cannot be changed, clocks that are up to two hours apart and are set while they run.
    pub(crate) fn and_more(mut self, people: &mut Random) -> Self {
        if people.below(2) == 0 {
            return self;
        }
        let rules = Rules::of(people, self.devices, self.networks, self.pool);
        self.rules = Arc::new(Rules { device_limit: None, guest_limit: None, ..rules });
        self.faults.failing_gate = [0, 0, 5, 60][to_usize(people.below(4))];
        self.gate_outage = 100 + people.below(5_000);
        if people.below(3) != 0 {
            let mut apart =
                || i64::try_from(people.below(2 * HOUR.unsigned_abs() + 1)).unwrap_or(0) - HOUR;
            self.clock_base = [apart(), apart()];
            self.clock_step = HOUR;
            self.faults.step = people.below(300);
        }
        self
    }

    /// The configuration of one of the servers.
    pub(crate) fn configuration(&self, node: usize) -> Configuration {
        let networks = (0..self.networks).map(|network| self.network(network)).collect();
        let failover = FailoverConfiguration {
            role: role(node),
            relationship: "campus-pair".into(),
            mclt_seconds: self.mclt_seconds,
            hash_buckets: HashBuckets::split(self.split),
            unacknowledged_max: self.unacknowledged_max[node],
            receive_timer_seconds: self.receive_timer_seconds[node],
            load_balance_seconds_max: self.load_balance_seconds_max,
            balance: self.balance,
            balance_seconds_min: self.balance_seconds_min,
            balance_seconds_max: self.balance_seconds_min * 4,
            auto_partner_down_seconds: self.auto_partner_down_seconds[node],
            exchanges_registrations: self.exchanges,
        };
        Configuration {
            networks,
            lifetime_seconds: self.lifetime_seconds,
            lifetime_unregistered_seconds: self.lifetime_unregistered_seconds,
            cache_threshold_percent: self.cache_threshold_percent,
            decline_quarantine_seconds: self.quarantine_seconds,
            rapid_commit: false,
            registration: self.rules.registration(),
            policy: Policy::default(),
            failover: Some(failover),
        }
    }

    fn network(&self, network: usize) -> Network {
        let reserved = Reservation {
            holder: Holder::Hardware(crate::simulator::plan::hardware(0)),
            address: Ipv4Addr::from(u32::from(relay(network)) + 1),
            options: OptionSet::new(),
            profile: None,
        };
        let [a, b, ..] = relay(network).octets();
        let prefix = format!("{a}.{b}.0.0/16");
        let (pools, class_pools) = self.rules.pools(network);
        let subnet = Subnet {
            prefix: prefix.parse().unwrap_or_else(|_| unreachable!("a /16 with nothing behind it")),
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
            gated: crate::simulator::plan::is_gated(network),
            gate_by: self.rules.gate_by(network),
            class_options: PerClass::default(),
            subnets: vec![subnet],
            options: OptionSet::new(),
            randomised_addresses: RandomisedAddresses::Allow,
        }
    }

    /// Every address of every pool.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        (0..self.networks).flat_map(|network| {
            let (pools, PerClass { registered, unregistered }) = self.rules.pools(network);
            let pools = registered.into_iter().chain(unregistered).chain(pools);
            pools.flat_map(|AddressRange { first, last }| {
                (u32::from(first)..=last.into()).map(Ipv4Addr::from)
            })
        })
    }
}

/// Which half a server is.
pub(crate) const fn role(node: usize) -> Role {
    if node == 0 { Role::Primary } else { Role::Secondary }
}
