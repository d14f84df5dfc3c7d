//! Vouchers: who they let in, for how long, how often, and what a crash leaves of them.

use super::*;
use crate::event::VoucherEnd;
use crate::{
    Announcements, EventKind, Happening, RegistrationState, Role, Voucher, VoucherHash,
    VoucherRefusal,
};

const DAY: u64 = 86_400;

fn hash(number: u8) -> VoucherHash {
    VoucherHash::new([number; 32])
}

fn voucher(number: u8, uses_max: u16, now: Timestamp) -> Voucher {
    Voucher {
        hash: hash(number),
        role: Some("guest".into()),
        note: Some("conference".into()),
        lifetime_seconds: Some(3600),
        uses_max,
        created: Timestamp::ZERO,
        expires: now.plus_seconds(DAY),
        uses: Vec::new(),
    }
}

fn bench() -> Bench {
    let now = Timestamp::from_seconds(1_000_000);
    let server = Server::new(rules(), [SERVER], [], now);
    let settings = Announcements { expiring_ahead_seconds: 60, pool_low_percent: 0 };
    Bench { server: server.announcing(settings, now), now }
}

fn rules() -> Configuration {
    let mut configuration = configuration(20);
    configuration.registration = RegistrationRules {
        device_limit: Some(1),
        lifetime_seconds: Some(600),
        roles: vec![
            Role { name: "guest".into(), ..Role::default() },
            Role { name: "jail".into(), quarantine: true, ..Role::default() },
        ],
        ..RegistrationRules::default()
    };
    configuration
}

fn by_voucher(device: u8, number: u8) -> Register {
    let target = RegistrationTarget::Hardware(hardware(device));
    Register { voucher: Some(hash(number)), ..Register::of(target) }
}

impl Bench {
    /// The answer to a command, what is to be written, in order, and the kinds of events.
    fn told(&mut self, command: Command) -> (Answer, Vec<Record>, Vec<Happening>) {
        let (mut answers, mut records, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for effect in self.input(Input::Command(Ticket(1), command)) {
            match effect {
                Effect::Answer { answer, release, .. } => {
                    let is_refusal = matches!(
                        answer,
                        Answer::VoucherRefused(_)
                            | Answer::UnknownRole { .. }
                            | Answer::ExpiryInThePast(_)
                            | Answer::VouchersFull
                            | Answer::HeldBack { .. }
                            | Answer::DeviceLimitReached { .. }
                    );
                    assert_eq!(release == Release::Immediately, is_refusal, "{answer:?}");
                    answers.push(answer);
                }
                Effect::Persist(record) => records.push(record),
                Effect::Event(event) => events.push(event.what),
                _ => {}
            }
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        (answers.remove(0), records, events)
    }

    fn create(&mut self, number: u8, uses_max: u16) {
        let command = Command::CreateVouchers(vec![voucher(number, uses_max, self.now)]);
        let answer = self.told(command).0;
        assert!(matches!(answer, Answer::VouchersCreated { count: 1, .. }), "{answer:?}");
    }

    /// Until when a voucher lets a device in.
    fn redeem(&mut self, device: u8, number: u8) -> Result<Option<Timestamp>, VoucherRefusal> {
        match self.told(Command::Register(by_voucher(device, number))).0 {
            Answer::Registered { registration, .. } => Ok(registration.expires),
            Answer::VoucherRefused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn find(&self, number: u8) -> Option<Voucher> {
        match self.server.query(self.now, &Query::Voucher(hash(number).id())) {
            QueryAnswer::Voucher(voucher) => voucher,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_voucher_says_role_lifetime_and_owner_and_counts_a_device_once() {
    let mut bench = bench();
    bench.create(1, 2);
    let end = Some(bench.now.plus_seconds(3600));
    let (answer, records, events) = bench.told(Command::Register(by_voucher(1, 1)));
    let Answer::Registered { registration, state, created, .. } = answer else { panic!() };
    assert_eq!((state, created, registration.expires), (RegistrationState::Active, true, end));
    assert_eq!(registration.role.as_deref(), Some("guest"));
    assert_eq!(registration.owner.as_deref(), Some("voucher 0101010101010101"));
    // The use before the registration: a crash between them gives nothing away.
    assert!(
        matches!(&records[..], [Record::Voucher(voucher), Record::Registration(_)] if voucher.uses.len() == 1),
        "{records:?}"
    );
    let kinds: Vec<_> = events.iter().map(Happening::kind).collect();
    assert_eq!(kinds, [EventKind::VoucherUsed, EventKind::Registered]);
    // Sent again: no further use, and the end that it has.
    bench.pass(1800);
    let (_, records, events) = bench.told(Command::Register(by_voucher(1, 1)));
    assert!(matches!(&records[..], [Record::Registration(_)]), "{records:?}");
    assert_eq!(events, []);
    assert_eq!(bench.redeem(1, 1), Ok(end));
    assert_eq!(bench.find(1).unwrap().uses_left(), 1);
    // One owner may have one device; how many a voucher lets in is its own matter.
    assert_eq!(bench.redeem(2, 1), Ok(Some(bench.now.plus_seconds(3600))));
    assert_eq!(bench.redeem(3, 1), Err(VoucherRefusal::UsedUp));
    assert_eq!(bench.redeem(2, 1), Ok(Some(bench.now.plus_seconds(3600))));
}

#[test]
fn a_voucher_gives_its_time_once() {
    let mut bench = bench();
    bench.create(1, 1);
    let end = bench.redeem(1, 1).unwrap();
    bench.told(Command::Unregister(hardware(1)));
    bench.pass(60);
    assert_eq!(bench.redeem(1, 1), Ok(end), "who left comes back for the rest");
    bench.pass(3540);
    assert_eq!(bench.redeem(1, 1), Err(VoucherRefusal::TimeOver));
    // Without a lifetime of its own, the first use says when: here as configured.
    let unbound = Voucher { lifetime_seconds: None, role: None, ..voucher(2, 1, bench.now) };
    bench.told(Command::CreateVouchers(vec![unbound]));
    let end = Some(bench.now.plus_seconds(600));
    assert_eq!(bench.redeem(2, 2), Ok(end));
    bench.pass(300);
    assert_eq!(bench.redeem(2, 2), Ok(end));
    // Another one is more time.
    bench.create(3, 1);
    assert_eq!(bench.redeem(2, 3), Ok(Some(bench.now.plus_seconds(3600))));
}

#[test]
fn what_refuses_a_registration_costs_no_use() {
    let mut bench = bench();
    bench.create(1, 1);
    bench.told(Command::Register(Register::of(RegistrationTarget::Hardware(hardware(1)))));
    bench.told(Command::Suspend { hardware: hardware(1), reason: None });
    let (answer, records, _) = bench.told(Command::Register(by_voucher(1, 1)));
    assert!(matches!(answer, Answer::HeldBack { .. }), "{answer:?}");
    assert_eq!(records, []);
    assert_eq!(bench.find(1).unwrap().uses_left(), 1);
    // The caller's own owner counts for the device limit.
    let for_ada = |device| Register { owner: Some("ada".into()), ..by_voucher(device, 1) };
    bench.told(Command::CreateVouchers(vec![voucher(2, 2, bench.now)]));
    let second = |device| Register { voucher: Some(hash(2)), ..for_ada(device) };
    assert!(matches!(bench.told(Command::Register(second(4))).0, Answer::Registered { .. }));
    let (answer, records, _) = bench.told(Command::Register(second(5)));
    assert!(matches!(answer, Answer::DeviceLimitReached { .. }), "{answer:?}");
    assert_eq!((records.len(), bench.find(2).unwrap().uses_left()), (0, 1));
}

#[test]
fn vouchers_are_made_once_and_listed_in_order() {
    let mut bench = bench();
    let batch: Vec<Voucher> = (1..=5).map(|number| voucher(number, 1, bench.now)).collect();
    let (answer, _, events) = bench.told(Command::CreateVouchers(batch.clone()));
    let Answer::VouchersCreated { count: 5, vouchers } = answer else { panic!("{answer:?}") };
    assert!(vouchers.iter().all(|voucher| voucher.created == bench.now));
    assert!(matches!(&events[..], [Happening::VouchersCreated { count: 5, .. }]), "{events:?}");
    bench.redeem(1, 3).unwrap();
    // Made again, as by a call that is sent again: what is used stays used.
    let (answer, records, events) = bench.told(Command::CreateVouchers(batch));
    let Answer::VouchersCreated { count: 0, vouchers } = answer else { panic!("{answer:?}") };
    assert_eq!((vouchers[2].uses.len(), records, events), (1, vec![], vec![]));
    assert_eq!(bench.redeem(2, 3), Err(VoucherRefusal::UsedUp));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let query = Query::Vouchers { after, limit: 2 };
        let QueryAnswer::Vouchers { vouchers, next } = bench.server.query(bench.now, &query) else {
            panic!()
        };
        assert!(vouchers.len() <= 2);
        seen.extend(vouchers.iter().map(|voucher| voucher.hash));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=5).map(hash).collect::<Vec<_>>());
    // None of a batch is made if one cannot be.
    for bad in [
        Voucher { role: Some("no".into()), ..voucher(9, 1, bench.now) },
        Voucher { expires: bench.now, ..voucher(9, 1, bench.now) },
    ] {
        let batch = vec![voucher(8, 1, bench.now), bad];
        let (answer, records, _) = bench.told(Command::CreateVouchers(batch));
        assert!(
            matches!(answer, Answer::UnknownRole { .. } | Answer::ExpiryInThePast(_)),
            "{answer:?}"
        );
        assert_eq!((records, bench.find(8)), (vec![], None));
    }
    let many = (0..=255).chain([0]).map(|number| voucher(number, 1, bench.now)).collect();
    assert_eq!(bench.told(Command::CreateVouchers(many)).0, Answer::VouchersFull);
}

#[test]
fn a_voucher_that_is_revoked_or_over_lets_nobody_in() {
    let mut bench = bench();
    bench.create(1, 3);
    bench.create(2, 3);
    bench.redeem(1, 1).unwrap();
    let own = Register { owner: Some("ada".into()), ..by_voucher(2, 1) };
    bench.told(Command::Register(own));
    let revoke = |end_registrations| Command::RevokeVoucher { id: hash(1).id(), end_registrations };
    let (answer, records, events) = bench.told(revoke(true));
    let Answer::VoucherRevoked { ended, voucher } = answer else { panic!("{answer:?}") };
    // Not the registration that somebody made for an owner of its own.
    assert_eq!((ended, voucher.uses.len()), (vec![hardware(1)], 2));
    assert_eq!(
        records,
        [Record::VoucherRemoved(hash(1)), Record::RegistrationRemoved(hardware(1))]
    );
    let kinds: Vec<_> = events.iter().map(Happening::kind).collect();
    assert_eq!(kinds, [EventKind::Unregistered, EventKind::VoucherEnded]);
    assert_eq!(bench.told(revoke(false)).0, Answer::NoSuchVoucher(hash(1).id()));
    assert_eq!(bench.redeem(3, 1), Err(VoucherRefusal::Unknown));
    // Its time to be used passes by itself, and the registration goes on.
    bench.pass(DAY - 10);
    let end = bench.redeem(3, 2).unwrap();
    bench.now = bench.now.plus_seconds(10);
    assert_eq!(bench.find(2), None);
    let effects = bench.input(Input::Tick);
    let expired = effects.iter().any(|effect| {
        matches!(effect, Effect::Event(event)
            if matches!(event.what, Happening::VoucherEnded { cause: VoucherEnd::Expired, .. }))
    });
    assert!(expired && effects.contains(&Effect::Persist(Record::VoucherRemoved(hash(2)))));
    assert_eq!(bench.redeem(4, 2), Err(VoucherRefusal::Unknown));
    let query = Query::Registration(hardware(3));
    let QueryAnswer::Registration(Some(view)) = bench.server.query(bench.now, &query) else {
        panic!()
    };
    assert_eq!(view.registration.expires, end);
}

#[test]
fn who_guesses_is_stopped_and_nobody_else() {
    let mut bench = bench();
    bench.create(1, 9);
    for _ in 0..limits::VOUCHER_GUESSES_PER_DEVICE_MAX {
        assert_eq!(bench.redeem(1, 77), Err(VoucherRefusal::Unknown));
    }
    let wait_milliseconds = limits::VOUCHER_GUESS_INTERVAL_SECONDS * 1000;
    let refused = Err(VoucherRefusal::TooManyGuesses { wait_milliseconds });
    assert_eq!(bench.redeem(1, 77), refused);
    assert_eq!(bench.redeem(1, 1), refused, "a right code is not looked at either");
    assert!(bench.redeem(2, 1).is_ok());
    bench.pass(limits::VOUCHER_GUESS_INTERVAL_SECONDS);
    assert!(bench.redeem(1, 1).is_ok());
    // Said once, with the last try.
    let (_, _, events) = bench.told(Command::Register(by_voucher(1, 77)));
    assert!(matches!(&events[..], [Happening::VoucherGuessing { .. }]), "{events:?}");
    assert_eq!(bench.told(Command::Register(by_voucher(1, 77))).2, []);
}

#[test]
fn a_restart_knows_every_use() {
    let mut bench = bench();
    let mut records = Vec::new();
    let commands = [
        Command::CreateVouchers(vec![voucher(1, 1, bench.now), voucher(2, 1, bench.now)]),
        Command::Register(by_voucher(1, 1)),
        Command::RevokeVoucher { id: hash(2).id(), end_registrations: false },
    ];
    for command in commands {
        records.extend(bench.told(command).1);
    }
    bench.server = Server::new(rules(), [SERVER], records, bench.now);
    assert_eq!(bench.redeem(2, 1), Err(VoucherRefusal::UsedUp));
    assert!(bench.redeem(1, 1).is_ok());
    assert_eq!(bench.redeem(2, 2), Err(VoucherRefusal::Unknown));
}
