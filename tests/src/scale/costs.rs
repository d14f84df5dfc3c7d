//! What a step of the core costs, by kind, with few leases and with many.
//!
//! Each step is timed alone, in an order without a pattern, so that what it touches is rarely in the
//! processor's cache: with a million leases that is how packets come.

use super::population::{self, Draw};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use vestibule_core::{
    Configuration, Effect, Effects, Input, LeaseFilter, MessageType, Query, Reason, Record, Reply,
    Request, Sequence, Server, Timestamp,
};

/// When everything begins.
pub const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

/// Steps of one kind.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The sample that `thousandths` of them do not exceed, in nanoseconds.
    #[must_use]
    pub fn quantile(&mut self, thousandths: usize) -> u128 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * thousandths / 1000).copied().unwrap_or_default().as_nanos()
    }
}

/// A server with residents, and a clock for it.
#[derive(Debug)]
pub struct Campus {
    server: Server,
    effects: Effects,
    now: Timestamp,
    residents: u32,
    draw: Draw,
}

impl Campus {
    /// A server that knows the leases of this many devices, all of them past half of their lifetime.
    #[must_use]
    pub fn new(residents: u32) -> Self {
        Self::with(population::configuration(), residents, |device, draw| {
            let half = population::LIFETIME_SECONDS / 2;
            population::lease(device, NOW, u64::from(half + draw.below(half * 3 / 4)))
        })
    }

    fn with(
        configuration: Configuration,
        residents: u32,
        lease: impl Fn(u32, &mut Draw) -> vestibule_core::Lease,
    ) -> Self {
        let mut draw = Draw::new(1);
        let records =
            population::by_address(residents).map(|device| Record::Lease(lease(device, &mut draw)));
        let server = Server::new(configuration, [population::SERVER], records, NOW);
        Self { server, effects: Effects::new(), now: NOW, residents, draw: Draw::new(2) }
    }

    /// One step, timed, with its reply or the reason that there is none. What it has to commit counts
    /// as committed at once.
    fn packet(&mut self, request: Request) -> (Duration, Result<Reply, Reason>) {
        self.now = Timestamp::from_milliseconds(self.now.milliseconds() + 1);
        let input = Input::Packet(&request);
        let begun = Instant::now();
        let sequence = self.server.step(self.now, input, &mut self.effects);
        let took = begun.elapsed();
        let end = self.effects.drain().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(Ok(*reply)),
            Effect::Unanswered(unanswered) => Some(Err(unanswered.reason)),
            _ => None,
        });
        self.commit(sequence);
        (took, end.expect("every packet has an end"))
    }

    fn commit(&mut self, sequence: Option<Sequence>) {
        if let Some(sequence) = sequence {
            self.server.step(self.now, Input::Committed(sequence), &mut self.effects);
            self.effects.drain().for_each(drop);
        }
    }

    fn granted(&mut self, request: Request, samples: &mut Samples) -> Ipv4Addr {
        let (took, end) = self.packet(request);
        samples.add(took);
        end.expect("this request is granted").yiaddr
    }

    fn dropped(&mut self, request: Request, samples: &mut Samples) {
        let (took, end) = self.packet(request);
        samples.add(took);
        assert_eq!(end, Err(Reason::Released), "a RELEASE has no reply");
    }
}

/// What each kind of step took.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// By kind, in the order of [`KINDS`].
    pub samples: [Samples; KINDS.len()],
}

/// The kinds of steps that [`steps`] times.
pub const KINDS: [&str; 7] = [
    "discover, new device",
    "request, new device",
    "renewal",
    "renewal, soon after",
    "release",
    "discover, known device",
    "request, known device",
];

/// Times `rounds` steps of every kind.
pub fn steps(campus: &mut Campus, rounds: u32) -> Costs {
    let mut costs = Costs::default();
    let [discover, request, renewal, again, release, back, select] = &mut costs.samples;
    for round in 0..rounds {
        // A device that was never seen before, in a subnet that is 99 % full. It goes again, so that
        // the next one finds the subnet as it did.
        let device = population::SUBNETS * population::DEVICES_PER_SUBNET * (1 + round % 1000)
            + campus.draw.below(campus.residents);
        let offered = campus.granted(population::request(device, MessageType::Discover), discover);
        let wanted = selecting(device, offered);
        let address = campus.granted(wanted, request);
        let mut leaving = population::release(device);
        leaving.ciaddr = address;
        leaving.arrival.source.set_ip(address);
        let gone = campus.packet(leaving).1;
        assert_eq!(gone, Err(Reason::Released));

        let device = campus.draw.below(campus.residents);
        campus.granted(population::renewal(device), renewal);
        let mut soon = population::renewal(device);
        soon.xid = !soon.xid;
        campus.granted(soon, again);

        let device = campus.draw.below(campus.residents);
        campus.dropped(population::release(device), release);
        let offered = campus.granted(population::request(device, MessageType::Discover), back);
        assert_eq!(offered, population::address_of(device), "who comes back gets its old address");
        campus.granted(selecting(device, offered), select);
    }
    costs
}

fn selecting(device: u32, address: Ipv4Addr) -> Request {
    Request {
        requested_address: Some(address),
        server_identifier: Some(population::SERVER),
        ..population::request(device, MessageType::Request)
    }
}

/// Times one DISCOVER of a new device in every subnet of a server that was started just now.
#[must_use]
pub fn first_allocations(residents: u32) -> Samples {
    let mut campus = Campus::new(residents);
    let mut samples = Samples::default();
    for subnet in 0..population::SUBNETS {
        let device = population::SUBNETS * population::DEVICES_PER_SUBNET + subnet;
        campus.granted(population::request(device, MessageType::Discover), &mut samples);
    }
    samples
}

/// What ended, and what it took.
#[derive(Clone, Debug)]
pub struct Endings {
    /// Steps until all had ended.
    pub steps: usize,
    /// Every one of them.
    pub samples: Samples,
    /// Renewals of others that were put between them.
    pub renewals: Samples,
}

/// Lets the leases of `ending` residents out of `residents` end within one second, with a renewal of
/// somebody else between two ticks.
#[must_use]
pub fn endings(residents: u32, ending: u32) -> Endings {
    let every = residents / ending;
    let mut campus = Campus::with(population::configuration(), residents, |device, draw| {
        let age = population::LIFETIME_SECONDS / 2;
        let mut lease = population::lease(device, NOW, age.into());
        if device.is_multiple_of(every) {
            let milliseconds = 60_000 + u64::from(draw.below(1000));
            lease.ends = Timestamp::from_milliseconds(NOW.milliseconds() + milliseconds);
        }
        lease
    });
    campus.now = NOW.plus_seconds(61);
    let mut endings =
        Endings { steps: 0, samples: Samples::default(), renewals: Samples::default() };
    let held = |campus: &Campus| -> u64 {
        let vestibule_core::QueryAnswer::Status(status) =
            campus.server.query(campus.now, &Query::Status)
        else {
            return 0;
        };
        status.networks.iter().map(|network| network.held).sum()
    };
    let left = u64::from(residents - ending);
    while held(&campus) > left {
        let begun = Instant::now();
        let sequence = campus.server.step(campus.now, Input::Tick, &mut campus.effects);
        endings.samples.add(begun.elapsed());
        endings.steps += 1;
        campus.effects.drain().for_each(drop);
        campus.commit(sequence);
        let mut device = campus.draw.below(residents);
        device += u32::from(device.is_multiple_of(every));
        let (took, end) = campus.packet(population::renewal(device));
        end.expect("a renewal is granted");
        endings.renewals.add(took);
        endings.steps += 1;
    }
    endings
}

/// Times every page that a snapshot asks the core for.
#[must_use]
pub fn snapshot_pages(campus: &Campus, page: usize) -> Samples {
    let mut samples = Samples::default();
    let mut after = None;
    loop {
        let query = Query::Leases { after, limit: page, filter: LeaseFilter::All };
        let begun = Instant::now();
        let answer = campus.server.query(campus.now, &query);
        samples.add(begun.elapsed());
        let vestibule_core::QueryAnswer::Leases { next: Some(next), .. } = answer else {
            return samples;
        };
        after = Some(next);
    }
}
