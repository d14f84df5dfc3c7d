//! What holds for registrations beyond what is said with each: limits, lifetimes, roles, suspension,
//! randomised addresses, and what comes in by the hundred.

use super::*;
use crate::{Imported, Registration, RegistrationState, Role, Suspension};

/// Two devices for each owner, two roles, and a rule for randomised addresses. The devices of these tests
/// are randomised.
fn bench_with(policy: RandomisedAddresses) -> Bench {
    let now = Timestamp::from_seconds(1_000_000);
    let mut configuration = configuration(20);
    configuration.networks[0].randomised_addresses = policy;
    configuration.registration = RegistrationRules {
        device_limit: Some(2),
        lifetime_seconds: Some(3600),
        lifetime_randomised_seconds: 600,
        roles: vec![
            Role {
                name: "staff".into(),
                device_limit: Some(3),
                lifetime_seconds: Some(7200),
                ..Role::default()
            },
            Role {
                name: "infected".into(),
                quarantine: true,
                portal_url: Some("http://q.example/".into()),
                ..Role::default()
            },
        ],
    };
    Bench { server: Server::new(configuration, [SERVER], [], now), now }
}

fn bench() -> Bench {
    bench_with(RandomisedAddresses::Allow)
}

impl Bench {
    fn answer(&mut self, command: Command) -> (Answer, Release) {
        let effects = self.input(Input::Command(Ticket(1), command));
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer { answer, release, .. } => Some((answer, release)),
            _ => None,
        });
        let answer = answers.next().expect("an answer");
        assert_eq!(answers.next(), None, "one answer");
        answer
    }

    fn wish(&mut self, register: Register) -> Answer {
        self.answer(Command::Register(register)).0
    }

    fn registration(&self, number: u8) -> Option<Registration> {
        let query = Query::Registration(hardware(number));
        let QueryAnswer::Registration(view) = self.server.query(self.now, &query) else {
            panic!("another answer")
        };
        view.map(|view| view.registration)
    }

    /// What the owner's devices are.
    fn devices(&self, owner: &str) -> Vec<u8> {
        let query = Query::Registrations { after: None, limit: 100, owner: Some(owner.into()) };
        let QueryAnswer::Registrations { registrations, .. } = self.server.query(self.now, &query)
        else {
            panic!("another answer")
        };
        registrations.iter().map(|view| view.registration.hardware.bytes()[5]).collect()
    }

    /// The set of an address, as the core would tell it now.
    fn side(&self, address: Ipv4Addr) -> Option<Side> {
        let gate = self.server.gate(self.now);
        gate.into_iter().find(|(other, ..)| *other == address).map(|(_, side, _)| side)
    }
}

fn for_ada(number: u8) -> Register {
    let target = RegistrationTarget::Hardware(hardware(number));
    Register { owner: Some("ada".into()), ..Register::of(target) }
}

#[track_caller]
fn created(answer: &Answer) -> Option<HardwareAddress> {
    let Answer::Registered { created: true, replaced, .. } = answer else {
        panic!("{answer:?}");
    };
    *replaced
}

#[test]
fn an_owner_has_as_many_devices_as_the_limit_says() {
    let mut bench = bench();
    let address = bench.lease(1).unwrap();
    created(&bench.wish(for_ada(1)));
    bench.pass(5);
    created(&bench.wish(for_ada(2)));
    let (refused, release) = bench.answer(Command::Register(for_ada(3)));
    let Answer::DeviceLimitReached { limit: 2, devices } = refused else { panic!("{refused:?}") };
    assert_eq!(release, Release::Immediately, "nothing is promised");
    let seen: Vec<_> = devices
        .iter()
        .map(|device| (device.registration.hardware, device.addresses.clone(), device.seen))
        .collect();
    let begun = Timestamp::from_seconds(1_000_000);
    assert_eq!(
        seen,
        [(hardware(1), vec![address], begun), (hardware(2), vec![], begun.plus_seconds(5)),]
    );
    assert_eq!(bench.devices("ada"), [1, 2]);
    // What is registered is not counted twice, and others have limits of their own.
    assert!(matches!(bench.wish(for_ada(2)), Answer::Registered { created: false, .. }));
    created(&bench.wish(Register { owner: Some("bob".into()), ..for_ada(3) }));
    created(&bench.wish(Register { owner: None, ..for_ada(4) }));
    // A role's limit wins.
    created(&bench.wish(Register { role: Some("staff".into()), ..for_ada(5) }));
    assert!(matches!(
        bench.wish(Register { role: Some("staff".into()), ..for_ada(6) }),
        Answer::DeviceLimitReached { limit: 3, .. }
    ));
    // A place is free when a registration ends.
    bench.pass(3600);
    assert_eq!(bench.devices("ada"), [5], "staff lasts longer");
    created(&bench.wish(for_ada(6)));
}

#[test]
fn a_device_takes_the_place_of_one_of_its_owners_in_one_step() {
    let mut bench = bench();
    let old = bench.lease(1).unwrap();
    let new = bench.lease(3).unwrap();
    created(&bench.wish(for_ada(1)));
    created(&bench.wish(for_ada(2)));
    let replaces = Some(Replaces::Device(hardware(1)));
    let effects = bench
        .input(Input::Command(Ticket(1), Command::Register(Register { replaces, ..for_ada(3) })));
    let changes = gate_changes(&effects);
    let sides: Vec<_> =
        changes.iter().map(|c| (c.address, c.side.unwrap().0, c.forget_flows)).collect();
    assert_eq!(sides, [(old, Side::Unregistered, false), (new, Side::Registered, false)]);
    assert_eq!(bench.devices("ada"), [2, 3]);
    // Not somebody else's, whoever's form says so.
    created(&bench.wish(Register { owner: Some("bob".into()), ..for_ada(9) }));
    let replaces = Some(Replaces::Device(hardware(9)));
    let refused = bench.wish(Register { replaces, ..for_ada(4) });
    assert_eq!(refused, Answer::ReplacesAnothers(hardware(9)));
    assert_eq!(bench.devices("bob"), [9]);
    // One that is gone frees no place.
    let replaces = Some(Replaces::Device(hardware(1)));
    let refused = bench.wish(Register { replaces, ..for_ada(4) });
    assert!(matches!(refused, Answer::DeviceLimitReached { .. }));
}

#[test]
fn chains_of_replacements_leave_one_device() {
    let mut bench = bench();
    created(&bench.wish(for_ada(1)));
    for number in 2..40 {
        let replaces = Some(Replaces::Device(hardware(number - 1)));
        created(&bench.wish(Register { replaces, ..for_ada(number) }));
        assert_eq!(bench.devices("ada"), [number]);
        bench.now = bench.now.plus_seconds(1);
    }
}

#[test]
fn the_stalest_randomised_device_is_the_one_that_is_replaced() {
    let auto = |number| Register { replaces: Some(Replaces::StalestRandomised), ..for_ada(number) };
    let staff = |register| Register { role: Some("staff".into()), ..register };
    let mut bench = bench();
    let fixed = HardwareAddress::ethernet([0, 0, 0x5e, 0, 0x53, 1]);
    let target = RegistrationTarget::Hardware(fixed);
    created(&bench.wish(Register { target, ..for_ada(0) }));
    // A device with a fixed address is not taken, and nothing is.
    let refused = bench.wish(auto(1));
    assert!(
        matches!(&refused, Answer::NothingToReplace { devices } if devices.len() == 1),
        "{refused:?}"
    );
    bench.answer(Command::Unregister(fixed));
    bench.lease(1).unwrap();
    created(&bench.wish(staff(for_ada(1))));
    bench.pass(1);
    created(&bench.wish(staff(for_ada(3))));
    created(&bench.wish(staff(for_ada(2))));
    // 1 has been there longest, but holds a lease; of the others, seen at the same time, 2 is lower.
    assert_eq!(created(&bench.wish(staff(auto(4)))), Some(hardware(2)));
    // The same again takes no other one.
    let again = bench.wish(staff(auto(4)));
    assert!(matches!(again, Answer::Registered { created: false, replaced: None, .. }));
    assert_eq!(bench.devices("ada"), [1, 3, 4]);
    // A suspended one stays suspended, and stays.
    bench.answer(Command::Suspend { hardware: hardware(3), reason: None });
    assert_eq!(created(&bench.wish(staff(auto(5)))), Some(hardware(4)));
    assert_eq!(created(&bench.wish(staff(auto(6)))), Some(hardware(5)));
    bench.answer(Command::Unregister(hardware(6)));
    assert_eq!(created(&bench.wish(staff(auto(7)))), Some(hardware(1)), "none else is left");
    assert_eq!(bench.devices("ada"), [3, 7]);
}

#[test]
fn a_suspended_device_is_held_back_until_it_is_resumed() {
    let mut bench = bench();
    let address = bench.lease(1).unwrap();
    created(&bench.wish(for_ada(1)));
    assert_eq!(bench.side(address), Some(Side::Registered));
    let mut renew = request(1, MessageType::Request);
    renew.ciaddr = address;
    let lifetime = |ack: &Reply| ack.option(crate::options::code::LEASE_TIME).map(<[u8]>::to_vec);
    let ack = bench.reply(renew.clone()).unwrap();
    assert_eq!(lifetime(&ack), Some(3600_u32.to_be_bytes().to_vec()));
    let suspend =
        |reason: &str| Command::Suspend { hardware: hardware(1), reason: Some(reason.into()) };
    let effects = bench.input(Input::Command(Ticket(1), suspend("spam")));
    assert_eq!(gate_changes(&effects).len(), 1);
    assert_eq!(bench.side(address), Some(Side::Unregistered));
    let since = bench.now;
    bench.pass(10);
    let (answer, release) = bench.answer(suspend("still spam"));
    let Answer::Registered { registration, state, addresses, .. } = answer else { panic!() };
    assert!(matches!(release, Release::AfterCommit(_)));
    assert_eq!((state, addresses), (RegistrationState::Suspended, vec![address]));
    let reason = Some("still spam".into());
    assert_eq!(registration.suspended, Some(Box::new(Suspension { since, reason })));
    // Neither its portal nor its owner lift it, by whatever way.
    for command in [
        Command::Register(for_ada(1)),
        Command::Register(Register { owner: None, may_lift_quarantine: true, ..for_ada(1) }),
        Command::Register(Register { replaces: Some(Replaces::Device(hardware(1))), ..for_ada(2) }),
        Command::Leave(hardware(1)),
    ] {
        let (refused, _) = bench.answer(command.clone());
        assert!(
            matches!(refused, Answer::HeldBack { state: RegistrationState::Suspended, .. }),
            "{command:?}: {refused:?}"
        );
    }
    assert_eq!(bench.side(address), Some(Side::Unregistered));
    // It gets the lifetime of an unregistered host.
    let ack = bench.reply(renew).unwrap();
    assert_eq!(lifetime(&ack), Some(120_u32.to_be_bytes().to_vec()));
    let (answer, _) = bench.answer(Command::Resume(hardware(1)));
    assert!(matches!(answer, Answer::Registered { state: RegistrationState::Active, .. }));
    assert_eq!(bench.side(address), Some(Side::Registered));
    let (answer, _) = bench.answer(Command::Suspend { hardware: hardware(8), reason: None });
    assert_eq!(answer, Answer::NotRegistered(hardware(8)));
    let (answer, _) = bench.answer(Command::Resume(hardware(8)));
    assert_eq!(answer, Answer::NotRegistered(hardware(8)));
}

#[test]
fn a_quarantine_is_left_by_an_operators_word_only() {
    let mut bench = bench();
    let address = bench.lease(1).unwrap();
    let infected = Register { role: Some("infected".into()), ..for_ada(1) };
    let Answer::Registered { state, .. } = bench.wish(infected) else { panic!() };
    assert_eq!(state, RegistrationState::Quarantined);
    assert_eq!(bench.side(address), Some(Side::Unregistered));
    let QueryAnswer::Lease(Some(view)) = bench.server.query(bench.now, &Query::Lease(address))
    else {
        panic!()
    };
    assert_eq!(view.quarantine_url.as_deref(), Some("http://q.example/"));
    let staff = Register { role: Some("staff".into()), ..for_ada(1) };
    for register in
        [for_ada(1), staff.clone(), Register { may_lift_quarantine: true, ..for_ada(1) }]
    {
        let refused = bench.wish(register);
        assert!(matches!(refused, Answer::HeldBack { state: RegistrationState::Quarantined, .. }));
    }
    let moved = bench.wish(Register { may_lift_quarantine: true, ..staff });
    assert!(matches!(moved, Answer::Registered { state: RegistrationState::Active, .. }));
    assert_eq!(bench.side(address), Some(Side::Registered));
    let role = Some("king".into());
    let Answer::UnknownRole { known, .. } = bench.wish(Register { role, ..for_ada(1) }) else {
        panic!()
    };
    assert_eq!(known, ["staff".into(), "infected".into()]);
}

#[test]
fn lifetimes_are_those_of_the_role_or_of_the_rules() {
    let mut bench = bench();
    let ends = |answer: Answer| match answer {
        Answer::Registered { registration, .. } => registration.expires,
        other => panic!("{other:?}"),
    };
    let in_seconds = |bench: &Bench, seconds| Some(bench.now.plus_seconds(seconds));
    assert_eq!(ends(bench.wish(for_ada(1))), in_seconds(&bench, 3600));
    let staff = Register { role: Some("staff".into()), ..for_ada(1) };
    assert_eq!(ends(bench.wish(staff)), in_seconds(&bench, 7200));
    let expires = in_seconds(&bench, 90_000);
    assert_eq!(ends(bench.wish(Register { expires, ..for_ada(1) })), expires);
    let past = Register { expires: Some(bench.now), ..for_ada(1) };
    assert_eq!(bench.wish(past), Answer::ExpiryInThePast(bench.now));
}

#[test]
fn randomised_addresses_meet_the_rule_of_their_network() {
    let mut bench = bench_with(RandomisedAddresses::Refuse);
    let address = bench.lease(1).unwrap();
    let by_address = Register { target: RegistrationTarget::Address(address), ..for_ada(1) };
    for register in [for_ada(1), by_address.clone()] {
        let refused = bench.wish(register);
        let network = "halls".into();
        assert_eq!(refused, Answer::RandomisedAddressRefused { hardware: hardware(1), network });
    }
    // One that is nowhere meets no rule.
    created(&bench.wish(for_ada(2)));
    // One that is not randomised does not either.
    let fixed = HardwareAddress::ethernet([0, 0, 0x5e, 0, 0x53, 1]);
    created(&bench.wish(Register { target: RegistrationTarget::Hardware(fixed), ..for_ada(3) }));

    let mut bench = bench_with(RandomisedAddresses::AllowBriefly);
    assert_eq!(bench.lease(1).unwrap(), address);
    let latest = Some(bench.now.plus_seconds(600));
    for expires in [None, Some(bench.now.plus_seconds(90_000))] {
        let register = Register { expires, ..by_address.clone() };
        let Answer::Registered { registration, .. } = bench.wish(register) else { panic!() };
        assert_eq!(registration.expires, latest);
    }
    let expires = Some(bench.now.plus_seconds(60));
    let register = Register { expires, ..by_address };
    let Answer::Registered { registration, .. } = bench.wish(register) else { panic!() };
    assert_eq!(registration.expires, expires, "who wants less gets less");
}

#[test]
fn an_import_is_all_or_nothing_and_may_come_again() {
    let mut bench = bench();
    let now = bench.now;
    let address = bench.lease(1).unwrap();
    let ada = |number| Registration {
        owner: Some("ada".into()),
        ..Registration::of(hardware(number), Timestamp::FOREVER)
    };
    let import =
        |entries: &[Registration], apply| Command::Import { entries: entries.to_vec(), apply };
    let ended = Registration { expires: Some(now), ..ada(7) };
    let future = now.plus_seconds(1_000_000_000);
    let ahead = Registration {
        registered: future,
        suspended: Some(Box::new(Suspension { since: future, reason: None })),
        ..ada(4)
    };
    let good = [ada(1), ada(2), ada(3), ahead.clone(), ended];
    let bad = [&good[..], &[Registration { role: Some("king".into()), ..ada(6) }]].concat();
    let (refused, _) = bench.answer(import(&bad, true));
    let Answer::ImportRefused { position: 5, because } = refused else { panic!("{refused:?}") };
    assert!(matches!(*because, Answer::UnknownRole { .. }));
    assert_eq!(bench.devices("ada"), []);
    // Only looked at: nothing is promised, and nothing is done.
    let counted = Imported { created: 4, changed: 0, unchanged: 0, ended: 1 };
    let effects = bench.input(Input::Command(Ticket(1), import(&good, false)));
    let looked = Effect::Answer {
        ticket: Ticket(1),
        answer: Answer::Imported(counted),
        release: Release::Immediately,
    };
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Persist(_))));
    assert!(effects.contains(&looked), "{effects:?}");
    assert_eq!(bench.devices("ada"), []);
    // The device limit is not asked, and the kernel knows.
    let (done, release) = bench.answer(import(&good, true));
    assert_eq!(done, Answer::Imported(counted));
    assert!(matches!(release, Release::AfterCommit(_)));
    assert_eq!(bench.devices("ada"), [1, 2, 3, 4]);
    assert_eq!(bench.side(address), Some(Side::Registered));
    let kept = bench.registration(4).unwrap();
    assert_eq!(kept.registered, now, "nothing has happened in the future");
    assert_eq!(kept.suspended.as_ref().unwrap().since, now);
    // The same again writes nothing, some time later too.
    bench.pass(100);
    let effects = bench.input(Input::Command(Ticket(1), import(&good[..3], true)));
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Persist(_))));
    // What says nothing of a suspension does not lift one.
    let (done, _) =
        bench.answer(import(&[Registration { note: Some("x".into()), ..ada(4) }], true));
    assert_eq!(done, Answer::Imported(Imported { changed: 1, ..Imported::default() }));
    let kept = bench.registration(4).unwrap();
    assert!(kept.suspended.is_some() && kept.note.is_some());
    let many = vec![ada(1); limits::IMPORT_ENTRIES_MAX + 1];
    assert!(matches!(bench.answer(import(&many, true)).0, Answer::ImportRefused { .. }));
}

#[test]
fn all_of_it_is_known_after_a_restart() {
    let mut bench = bench();
    let mut records = Vec::new();
    let commands = [
        Command::Register(for_ada(1)),
        Command::Register(Register { sponsor: Some("prof".into()), ..for_ada(2) }),
        Command::Suspend { hardware: hardware(2), reason: Some("spam".into()) },
    ];
    for command in commands {
        for effect in bench.input(Input::Command(Ticket(1), command)) {
            if let Effect::Persist(record) = effect {
                records.push(record);
            }
        }
    }
    let before = [bench.registration(1), bench.registration(2)];
    let configuration = bench.server.topology.configuration().clone();
    bench.server = Server::new(configuration, [SERVER], records, bench.now);
    assert_eq!([bench.registration(1), bench.registration(2)], before);
    assert!(matches!(bench.wish(for_ada(3)), Answer::DeviceLimitReached { .. }));
    assert!(matches!(bench.wish(for_ada(2)), Answer::HeldBack { .. }));
    bench.pass(3600);
    assert_eq!(bench.devices("ada"), []);
    created(&bench.wish(for_ada(2)));
}

#[test]
fn what_ends_in_one_tick_ends_for_all() {
    let mut bench = bench();
    let address = bench.lease(1).unwrap();
    created(&bench.wish(for_ada(1)));
    bench.answer(Command::Suspend { hardware: hardware(1), reason: None });
    created(&bench.wish(for_ada(2)));
    // In the moment in which both end, the owner's places are free, and the suspension is gone.
    bench.now = bench.now.plus_seconds(3600);
    created(&bench.wish(for_ada(1)));
    created(&bench.wish(for_ada(3)));
    assert_eq!(bench.devices("ada"), [1, 3]);
    let again = bench.lease(1).unwrap();
    assert_eq!(again, address);
    assert_eq!(bench.side(address), Some(Side::Registered));
}
