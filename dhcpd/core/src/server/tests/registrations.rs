//! Registrations, and what the kernel is told of them.

use super::*;

#[test]
fn registration_moves_the_host_and_its_end_moves_it_back() {
    let mut bench = Bench::new(2);
    let address = bench.lease(1).unwrap();
    let expires = bench.now.plus_seconds(60);
    let register = Command::Register(Register {
        expires: Some(expires),
        ..Register::of(RegistrationTarget::Hardware(hardware(1)))
    });
    let effects = bench.input(Input::Command(Ticket(7), register.clone()));
    let changes = gate_changes(&effects);
    assert_eq!(changes[0].side, Some((Side::Registered, 60_000)));
    assert!(!changes[0].forget_flows, "what it has is its own");
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Answer {
            ticket: Ticket(7),
            answer: Answer::Registered { created: true, addresses, .. },
            release: Release::AfterCommit(_),
        } if *addresses == [address]
    )));
    // The same again: the same end, and an answer that waits for its own commit.
    let again = bench.input(Input::Command(Ticket(8), register));
    assert!(again.iter().any(|effect| matches!(
        effect,
        Effect::Answer { answer: Answer::Registered { created: false, .. }, release, .. }
            if matches!(release, Release::AfterCommit(_))
    )));
    assert!(gate_changes(&again).iter().all(|change| !change.forget_flows));

    bench.now = expires;
    let effects = bench.input(Input::Tick);
    let changes = gate_changes(&effects);
    assert_eq!(changes[0].side, Some((Side::Unregistered, 60_000)));
    assert!(!changes[0].forget_flows);
    assert_eq!(bench.server.gate(bench.now), [(address, Side::Unregistered, 60_000)]);
}

#[test]
fn a_new_holder_inherits_no_permit() {
    let mut bench = Bench::new(1);
    let address = bench.lease(1).unwrap();
    let register = Command::Register(Register::of(RegistrationTarget::Address(address)));
    bench.input(Input::Command(Ticket(1), register));
    let mut release = request(1, MessageType::Release);
    release.ciaddr = address;
    let effects = bench.packet(release);
    assert_eq!(
        gate_changes(&effects),
        [GateChange { address, side: None, forget_flows: true, holder: None }]
    );
    bench.reply(request(2, MessageType::Discover)).unwrap();
    let mut select = request(2, MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    let changes = gate_changes(&bench.packet(select));
    assert_eq!(changes[0].side.unwrap().0, Side::Unregistered);
    assert!(changes[0].forget_flows);
}

#[test]
fn that_a_device_is_not_registered_is_told_when_it_is_durable() {
    let mut bench = Bench::new(1);
    // The end of the registration may be on its way to the disk still.
    let effects = bench.input(Input::Command(Ticket(1), Command::Unregister(hardware(9))));
    assert_eq!(
        effects,
        [Effect::Answer {
            ticket: Ticket(1),
            answer: Answer::NotRegistered(hardware(9)),
            release: Release::AfterCommit(Sequence(1)),
        }]
    );
}

#[test]
fn a_host_without_a_hardware_address_cannot_be_registered() {
    let mut bench = Bench::new(2);
    let nothing = HardwareAddress::new(1, &[]).unwrap();
    let nameless = |name: u8, message_type| Request {
        hardware: nothing,
        client_identifier: Some(Box::new([0, name])),
        ..request(1, message_type)
    };
    let address = bench.reply(nameless(1, MessageType::Discover)).unwrap().yiaddr;
    let mut select = nameless(1, MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    bench.reply(select).unwrap();
    let target = RegistrationTarget::Address(address);
    let register = Command::Register(Register::of(target));
    let effects = bench.input(Input::Command(Ticket(1), register));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Answer { answer: Answer::NoHardwareAddress(_), release: Release::Immediately, .. }
    )));
    assert_eq!(bench.server.gate(bench.now)[0].1, Side::Unregistered);
}

#[test]
fn replacing_a_device_moves_the_permit_in_one_step() {
    let mut bench = Bench::new(2);
    let old = bench.lease(1).unwrap();
    let new = bench.lease(2).unwrap();
    let register = |target, replaces| {
        let target = RegistrationTarget::Address(target);
        Command::Register(Register { replaces, ..Register::of(target) })
    };
    bench.input(Input::Command(Ticket(1), register(old, None)));
    bench.input(Input::Command(Ticket(2), register(new, Some(Replaces::Device(hardware(1))))));
    let sides: Vec<_> = bench
        .server
        .gate(bench.now)
        .into_iter()
        .map(|(address, side, _)| (address, side))
        .collect();
    assert_eq!(sides, [(old, Side::Unregistered), (new, Side::Registered)]);
}

#[test]
fn who_comes_into_the_sets_inherits_nothing_even_at_an_address_that_was_its_own() {
    let mut bench = Bench::new(1);
    let address = bench.lease(1).unwrap();
    for number in [1, 2, 2, 1] {
        // The end of the lease alone: its element has gone by itself, and nothing is told to the kernel.
        bench.now = bench.now.plus_seconds(121);
        assert_eq!(gate_changes(&bench.input(Input::Tick)), []);
        bench.reply(request(number, MessageType::Discover)).unwrap();
        let mut select = request(number, MessageType::Request);
        select.requested_address = Some(address);
        select.server_identifier = Some(SERVER);
        let changes = gate_changes(&bench.packet(select));
        assert!(changes[0].forget_flows, "{number}");
    }
}
