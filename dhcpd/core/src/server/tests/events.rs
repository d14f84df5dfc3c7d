//! Events: what is made of each step, in which order, and how often.

use super::*;
use crate::event::{EndCause, EventKind, Happening, LimitReached};
use crate::{Announcements, Event, Register, Replaces};

impl Bench {
    fn announcing(pool_size: u8) -> Self {
        let Self { server, now } = Self::new(pool_size);
        let settings = Announcements { expiring_ahead_seconds: 3600, pool_low_percent: 20 };
        Self { server: server.announcing(settings, now), now }
    }

    /// The events of an input, each with the time of now.
    fn events(&mut self, input: Input<'_>) -> Vec<Happening> {
        let effects = self.input(input);
        let events = effects.into_iter().filter_map(|effect| match effect {
            Effect::Event(event) => Some(*event),
            _ => None,
        });
        let now = self.now;
        events
            .inspect(|Event { time, .. }| assert_eq!(*time, now))
            .map(|event| event.what)
            .collect()
    }

    fn lease_events(&mut self, number: u8) -> Vec<Happening> {
        let offer = self.reply(request(number, MessageType::Discover)).unwrap();
        self.select(number, offer.yiaddr)
    }

    fn select(&mut self, number: u8, address: Ipv4Addr) -> Vec<Happening> {
        let mut select = request(number, MessageType::Request);
        select.requested_address = Some(address);
        select.server_identifier = Some(SERVER);
        self.events(Input::Packet(&select))
    }

    fn register(&mut self, number: u8, seconds: Option<u64>) -> Vec<Happening> {
        let register = Register {
            owner: Some("alice".into()),
            expires: seconds.map(|seconds| self.now.plus_seconds(seconds)),
            ..Register::of(RegistrationTarget::Hardware(hardware(number)))
        };
        self.events(Input::Command(Ticket(0), Command::Register(register)))
    }
}

fn kinds(events: &[Happening]) -> Vec<EventKind> {
    events.iter().map(Happening::kind).collect()
}

#[test]
fn a_host_is_seen_when_it_gets_a_lease_and_not_when_it_renews() {
    let mut bench = Bench::announcing(100);
    let seen = bench.lease_events(1);
    let [Happening::UnregisteredSeen { lease, network }] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((lease.hardware, &**network), (hardware(1), "halls"));
    let address = lease.address;
    bench.pass(50);
    let mut renewal = request(1, MessageType::Request);
    renewal.ciaddr = address;
    assert_eq!(kinds(&bench.events(Input::Packet(&renewal))), []);
    bench.register(2, None);
    assert_eq!(kinds(&bench.lease_events(2)), [], "a registered one is not told of");
    bench.pass(300);
    assert_eq!(kinds(&bench.lease_events(1)), [EventKind::UnregisteredSeen], "seen again");
}

#[test]
fn a_server_that_is_not_asked_makes_no_events() {
    let mut bench = Bench::new(100);
    assert_eq!(kinds(&bench.lease_events(1)), []);
    assert_eq!(kinds(&bench.register(1, Some(60))), []);
    bench.now = bench.now.plus_seconds(61);
    assert_eq!(kinds(&bench.events(Input::Tick)), []);
}

#[test]
fn a_registration_is_told_once_as_new_and_then_as_changed_and_never_as_the_same() {
    let mut bench = Bench::announcing(100);
    let address = bench.lease(1).unwrap();
    let events = bench.register(1, None);
    let [Happening::Registered { registration, addresses }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((registration.hardware, &addresses[..]), (hardware(1), &[address][..]));
    assert_eq!(kinds(&bench.register(1, None)), []);
    assert_eq!(kinds(&bench.register(1, Some(60))), [EventKind::RegistrationChanged]);
    let events = bench.events(Input::Command(Ticket(1), Command::Unregister(hardware(1))));
    let [Happening::Unregistered { cause: EndCause::Command, addresses, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(addresses[..], [address]);
    let again = bench.events(Input::Command(Ticket(2), Command::Unregister(hardware(1))));
    assert_eq!(kinds(&again), []);
}

#[test]
fn who_takes_the_place_of_another_is_named() {
    let mut bench = Bench::announcing(100);
    bench.register(1, None);
    let register = Register {
        replaces: Some(Replaces::Device(hardware(1))),
        ..Register::of(RegistrationTarget::Hardware(hardware(2)))
    };
    let events = bench.events(Input::Command(Ticket(0), Command::Register(register)));
    assert_eq!(kinds(&events), [EventKind::Unregistered, EventKind::Registered]);
    let Happening::Unregistered { registration, cause, .. } = &events[0] else { panic!() };
    assert_eq!((registration.hardware, *cause), (hardware(1), EndCause::ReplacedBy(hardware(2))));
}

#[test]
fn a_registration_is_expiring_once_and_then_expired_with_its_addresses() {
    let mut bench = Bench::announcing(100);
    let address = bench.lease(1).unwrap();
    bench.register(1, Some(7200));
    bench.register(2, Some(60));
    let mut told = Vec::new();
    for _ in 0..80 {
        bench.now = bench.now.plus_seconds(100);
        told.extend(bench.events(Input::Tick).into_iter().map(|event| (bench.now, event)));
    }
    let what: Vec<Happening> = told.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(
        kinds(&what),
        [EventKind::Expired, EventKind::Expiring, EventKind::Expired],
        "what is made for less than the time ahead is not expiring from the start"
    );
    let start = Timestamp::from_seconds(1_000_000);
    assert_eq!(told[1].0, start.plus_seconds(3600));
    assert_eq!(told[2].0, start.plus_seconds(7200));
    let Happening::Expired { registration, addresses } = &told[2].1 else { panic!() };
    assert_eq!(registration.hardware, hardware(1));
    assert_eq!(addresses[..], [] as [Ipv4Addr; 0], "its lease of two minutes is over: {address}");
}

#[test]
fn the_server_asks_to_be_woken_when_a_registration_comes_near_its_end() {
    let mut bench = Bench::announcing(100);
    let mut effects = Effects::new();
    let register = Register {
        expires: Some(bench.now.plus_seconds(7200)),
        ..Register::of(RegistrationTarget::Hardware(hardware(1)))
    };
    let command = Command::Register(register);
    bench.server.step(bench.now, Input::Command(Ticket(0), command), &mut effects);
    let wake = effects.iter().find_map(|effect| match effect {
        Effect::Wake(at) => Some(*at),
        _ => None,
    });
    assert_eq!(wake, Some(bench.now.plus_seconds(3600)));
}

fn registration(bench: &Bench, number: u8) -> Record {
    let found = bench.server.registrations.valid(hardware(number), bench.now);
    Record::Registration(found.expect("it is registered").clone())
}

#[test]
fn a_suspension_and_its_end_are_told_and_a_second_one_is_not() {
    let mut bench = Bench::announcing(100);
    let address = bench.lease(1).unwrap();
    bench.register(1, None);
    let mut tell = |command| bench.events(Input::Command(Ticket(0), command));
    let suspend = || Command::Suspend { hardware: hardware(1), reason: None };
    let events = tell(suspend());
    let [Happening::Suspended { addresses, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(addresses[..], [address]);
    assert_eq!(kinds(&tell(suspend())), []);
    assert_eq!(kinds(&tell(Command::Resume(hardware(1)))), [EventKind::Resumed]);
    assert_eq!(kinds(&tell(Command::Resume(hardware(1)))), []);
}

#[test]
fn who_has_as_many_devices_as_they_may_is_told_of() {
    let settings = Announcements { expiring_ahead_seconds: 3600, pool_low_percent: 20 };
    let now = Timestamp::from_seconds(1_000_000);
    let mut configuration = configuration(100);
    configuration.registration.device_limit = Some(1);
    let server = Server::new(configuration, [SERVER], [], now).announcing(settings, now);
    let mut bench = Bench { server, now };
    assert_eq!(kinds(&bench.register(1, None)), [EventKind::Registered]);
    let events = bench.register(2, None);
    let [Happening::LimitReached { limit, hardware: refused, owner }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((limit, *refused), (&LimitReached::Devices(1), hardware(2)));
    assert_eq!(owner.as_deref(), Some("alice"));
}

/// What came near its end, or ended, while the server was away.
#[test]
fn what_happened_while_the_server_was_away_is_told_with_the_first_steps() {
    let mut bench = Bench::announcing(100);
    bench.register(1, Some(5000));
    bench.register(2, Some(7200));
    let records = [registration(&bench, 1), registration(&bench, 2)];
    let before = bench.now;
    let now = before.plus_seconds(5500);
    let settings = Announcements { expiring_ahead_seconds: 3600, pool_low_percent: 20 };
    let server = Server::new(configuration(100), [SERVER], records, now);
    let mut bench = Bench { server: server.announcing(settings, before), now };
    let events = bench.events(Input::Tick);
    assert_eq!(kinds(&events), [EventKind::Expired, EventKind::Expiring]);
    assert_eq!(kinds(&bench.events(Input::Tick)), []);
}

#[test]
fn a_device_that_gets_another_address_is_told_of_with_both() {
    let mut bench = Bench::announcing(100);
    let first = bench.lease(1).unwrap();
    bench.pass(200);
    assert_eq!(bench.lease(2).unwrap(), Ipv4Addr::new(10, 20, 0, 11));
    let second = Ipv4Addr::new(10, 20, 0, 77);
    let events = bench.select(1, second);
    let kinds = kinds(&events);
    assert_eq!(kinds, [EventKind::AddressChanged, EventKind::UnregisteredSeen]);
    let Happening::AddressChanged { lease, previous, .. } = &events[0] else { panic!() };
    assert_eq!((*previous, lease.address), (first, second));
}

#[test]
fn a_declined_address_is_told_of() {
    let mut bench = Bench::announcing(100);
    let address = bench.lease(1).unwrap();
    let mut decline = request(1, MessageType::Decline);
    decline.requested_address = Some(address);
    decline.server_identifier = Some(SERVER);
    let events = bench.events(Input::Packet(&decline));
    assert_eq!(kinds(&events), [EventKind::AddressDeclined]);
}

/// Ten addresses, low at 20 %, recovered at 25 %: 2 and 3 free.
#[test]
fn a_pool_is_low_once_and_has_recovered_once_however_it_wavers() {
    let mut bench = Bench::announcing(10);
    let mut told = Vec::new();
    for number in 1..=10 {
        let events = bench.lease_events(number);
        let of_pool = kinds(&events).into_iter().find(|kind| *kind != EventKind::UnregisteredSeen);
        told.extend(of_pool.map(|kind| (kind, bench.status().free)));
    }
    assert_eq!(told, [(EventKind::PoolLow, 2)]);
    told.clear();
    let release = |bench: &mut Bench, number: u8| {
        let address = bench.server.last_address(hardware(number)).unwrap();
        let mut release = request(number, MessageType::Release);
        release.ciaddr = address;
        release.server_identifier = Some(SERVER);
        let events = bench.events(Input::Packet(&release));
        (kinds(&events), bench.status().free)
    };
    assert_eq!(release(&mut bench, 1), (vec![], 1));
    assert_eq!(release(&mut bench, 2), (vec![], 2));
    assert_eq!(kinds(&bench.lease_events(1)), [EventKind::UnregisteredSeen], "still low");
    assert_eq!(release(&mut bench, 3), (vec![], 2));
    assert_eq!(release(&mut bench, 4), (vec![EventKind::PoolRecovered], 3));
    assert_eq!(
        kinds(&bench.lease_events(2)),
        [EventKind::UnregisteredSeen, EventKind::PoolLow],
        "and low again"
    );
}

#[test]
fn every_limit_has_a_number() {
    assert_eq!(LimitReached::Registrations.limit(), limits::REGISTRATIONS_MAX);
}

#[test]
fn names_of_kinds_are_unique_and_found_again() {
    for kind in EventKind::ALL {
        assert_eq!(EventKind::of_name(kind.name()), Some(*kind));
        assert_eq!(EventKind::ALL.get(*kind as usize), Some(kind));
    }
    assert_eq!(EventKind::of_name("nothing"), None);
}
