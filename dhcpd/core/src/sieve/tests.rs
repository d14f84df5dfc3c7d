//! The sieve under loads that last, begin and end: what comes through of whom, and what is counted.

use super::*;

fn relay(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, number, 1)
}

/// A server that decides `service` DISCOVERs between two looks, and relays that send so many each.
struct World {
    sieve: Sieve,
    now: u64,
    waiting: u64,
    service: u64,
    unread: BTreeMap<Option<Ipv4Addr>, u64>,
    thrown_away: BTreeMap<Ipv4Addr, u64>,
    decided: u64,
    rest: BTreeMap<Ipv4Addr, u64>,
}

impl World {
    fn new(service: u64) -> Self {
        Self {
            sieve: Sieve::new(),
            now: 1_000_000,
            waiting: 0,
            service,
            unread: BTreeMap::new(),
            thrown_away: BTreeMap::new(),
            decided: 0,
            rest: BTreeMap::new(),
        }
    }

    /// Until the next look; how many came through of each.
    fn pass(&mut self, sent: &[(Ipv4Addr, u64)]) -> Vec<u64> {
        let mut through = Vec::new();
        let mut unread = 0;
        for (relay, count) in sent {
            let part = self.sieve.mesh().part(*relay);
            // As the kernel does, but evenly and not at random.
            let rest = self.rest.entry(*relay).or_default();
            *rest += count * u64::from(part.threshold());
            let comes = if part == Part::ALL { *count } else { (*rest >> 32).min(*count) };
            *rest &= u64::from(u32::MAX);
            (0..comes).for_each(|_| self.sieve.read(*relay));
            unread += count - comes;
            *self.thrown_away.entry(*relay).or_default() += count - comes;
            through.push(comes);
        }
        self.waiting += through.iter().sum::<u64>();
        let decided = self.waiting.min(self.service);
        (0..decided).for_each(|_| self.sieve.decided());
        self.decided = decided;
        self.waiting = (self.waiting - decided).min(4096);
        self.now += LOOK_MILLISECONDS;
        let now = Timestamp::from_milliseconds(self.now);
        assert!(self.sieve.is_due(now));
        let waiting = usize::try_from(self.waiting).unwrap();
        let look = self.sieve.look(now, waiting, unread);
        assert!(!self.sieve.is_due(now));
        assert_eq!(look.unread.iter().map(|(_, count)| count).sum::<u64>(), unread);
        for (relay, count) in look.unread {
            *self.unread.entry(relay).or_default() += count;
        }
        through
    }

    fn settle(&mut self, sent: &[(Ipv4Addr, u64)]) -> Vec<u64> {
        (0..100).for_each(|_| drop(self.pass(sent)));
        self.pass(sent)
    }
}

#[test]
fn it_is_open_while_all_that_comes_is_decided() {
    let mut world = World::new(500);
    assert_eq!(world.settle(&[(relay(1), 300), (relay(2), 200)]), [300, 200]);
    assert!(world.sieve.mesh().is_open());
    assert!(world.unread.is_empty());
}

#[test]
fn with_five_times_the_load_all_time_goes_into_deciding_and_little_waits() {
    let mut world = World::new(500);
    for _ in 0..100 {
        world.pass(&[(relay(1), 1250), (relay(2), 1250)]);
        assert_eq!(world.decided, 500);
    }
    let through: u64 = world.pass(&[(relay(1), 1250), (relay(2), 1250)]).iter().sum();
    assert!((490..=510).contains(&through), "{through}");
    let wanted = DISCOVERS_WAITING_WANTED;
    assert!((wanted / 2..=wanted * 2).contains(&world.waiting), "{}", world.waiting);
}

#[test]
fn a_relay_that_sends_less_than_its_share_loses_nothing() {
    let mut world = World::new(500);
    let through = world.settle(&[(relay(1), 100), (relay(2), 4000), (relay(3), 1000)]);
    assert_eq!(through[0], 100);
    assert!((190..=210).contains(&through[1]), "{through:?}");
    assert!((190..=210).contains(&through[2]), "{through:?}");
    assert_eq!(world.unread.get(&Some(relay(1))), None);
}

#[test]
fn what_was_thrown_away_is_counted_with_the_relay_whose_it_was() {
    let mut world = World::new(500);
    world.settle(&[(relay(1), 100), (relay(2), 4000), (relay(3), 1000)]);
    for number in [2, 3] {
        let said = world.unread[&Some(relay(number))];
        let was = world.thrown_away[&relay(number)];
        assert!(said.abs_diff(was) * 50 < was, "{said}, and it was {was}");
    }
}

#[test]
fn a_burst_that_finds_places_to_wait_loses_nothing() {
    let mut world = World::new(500);
    world.pass(&[(relay(1), 300)]);
    assert_eq!(world.pass(&[(relay(1), 2500)]), [2500]);
    assert_eq!(world.settle(&[(relay(1), 400)]), [400]);
    assert!(world.thrown_away.values().all(|count| *count == 0));
}

#[test]
fn the_first_look_after_a_calm_only_begins_to_count() {
    let mut sieve = Sieve::new();
    (0..4000).for_each(|_| sieve.read(relay(1)));
    let begin = Timestamp::from_seconds(1000);
    assert!(!sieve.look(begin, 4000, 0).is_changed);
    (0..4000).for_each(|_| sieve.read(relay(1)));
    let next = Timestamp::from_milliseconds(begin.milliseconds() + LOOK_MILLISECONDS);
    assert!(sieve.look(next, 4000, 0).is_changed);
}

#[test]
fn it_opens_when_the_storm_is_over() {
    let mut world = World::new(500);
    world.settle(&[(relay(1), 10_000)]);
    assert!(!world.sieve.mesh().is_open());
    (0..20).for_each(|_| drop(world.pass(&[(relay(1), 100)])));
    assert!(world.sieve.mesh().is_open());
    assert_eq!(world.pass(&[(relay(1), 100)]), [100]);
}

#[test]
fn a_relay_is_known_again_however_little_came_through_of_it() {
    let mut world = World::new(0);
    world.settle(&[(relay(1), 100_000)]);
    let [(_, part)] = world.sieve.mesh().relays[..] else { panic!("one") };
    assert_eq!(part, Part::of(0, 1));
    assert!(world.pass(&[(relay(1), 100_000)])[0] >= 90, "while nothing can be decided");
    world.service = 500;
    (0..50).for_each(|_| drop(world.pass(&[(relay(1), 100_000)])));
    assert_eq!(world.decided, 500);
}

#[test]
fn relays_beyond_those_that_are_told_apart_are_sieved_as_one() {
    let mut world = World::new(500);
    let many = u32::try_from(RELAYS_SIEVED_MAX).unwrap() * 2;
    let sent: Vec<(Ipv4Addr, u64)> =
        (0..many).map(|number| (Ipv4Addr::from(0x0b00_0000 + number), 8)).collect();
    world.settle(&sent);
    let mesh = world.sieve.mesh();
    assert_eq!(mesh.relays.len(), RELAYS_SIEVED_MAX);
    assert!(mesh.others < Part::ALL);
    let lost: u64 = world.thrown_away.values().sum();
    assert_eq!(world.unread.values().sum::<u64>(), lost);
    assert!(world.unread[&None] * 3 > lost, "about half are not told apart");
}

#[test]
fn what_cannot_be_traced_to_a_relay_is_counted_all_the_same() {
    let mut sieve = Sieve::new();
    let look = sieve.look(Timestamp::from_seconds(1), 0, 7);
    assert_eq!(look.unread, [(None, 7)]);
    assert!(!look.is_changed);
}
