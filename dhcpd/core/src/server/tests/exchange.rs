//! Two halves of a pair tell each other of registrations and vouchers: one truth, whatever arrives when.

use super::*;
use crate::exchange::{ExchangeRecord, Exchanged, Merged};
use crate::failover::{BalanceSettings, FailoverConfiguration, HashBuckets, Role};
use crate::{Registration, RegistrationView, Voucher, VoucherHash, VoucherUse};
use proptest::prelude::*;

const DAY: u64 = 24 * 60 * 60;

/// A half whose devices 1 to 6 hold a lease each, granted by whichever half.
struct Half {
    server: Server,
    now: Timestamp,
    records: Vec<Record>,
}

fn exchanging(role: Role) -> Configuration {
    Configuration {
        failover: Some(FailoverConfiguration {
            role,
            relationship: "campus".into(),
            mclt_seconds: 60,
            hash_buckets: HashBuckets::split(128),
            unacknowledged_max: 10,
            receive_timer_seconds: 30,
            load_balance_seconds_max: 3,
            balance: BalanceSettings::default(),
            balance_seconds_min: 60,
            balance_seconds_max: 3600,
            auto_partner_down_seconds: None,
            exchanges_registrations: true,
        }),
        registration: RegistrationRules { device_limit: Some(2), ..RegistrationRules::default() },
        ..configuration(10)
    }
}

fn lease_of(number: u8) -> Record {
    Record::Lease(Lease {
        address: Ipv4Addr::new(10, 20, 0, 9 + number),
        client: ClientIdentifier::Hardware(hardware(number)),
        hardware: hardware(number),
        state: BindingState::Active,
        started: Timestamp::from_seconds(999_000),
        changed: Timestamp::from_seconds(999_000),
        ends: Timestamp::from_seconds(100_000_000),
        relay: None,
        relay_agent: None,
        host_name: None,
    })
}

impl Half {
    fn new(role: Role) -> Self {
        let records: Vec<Record> = (1..=6).map(lease_of).collect();
        let now = Timestamp::from_seconds(1_000_000);
        let server = Server::new(exchanging(role), [SERVER], records.clone(), now);
        Self { server, now, records }
    }

    fn step(&mut self, command: Command) -> (Answer, Vec<Effect>) {
        let mut effects = Effects::new();
        let input = Input::Command(Ticket(1), command);
        if let Some(sequence) = self.server.step(self.now, input, &mut effects) {
            self.server.step(self.now, Input::Committed(sequence), &mut Effects::new());
        }
        let effects: Vec<Effect> = effects.drain().collect();
        for effect in &effects {
            if let Effect::Persist(record) = effect {
                self.records.push(record.clone());
            }
        }
        let answer = effects.iter().find_map(|effect| match effect {
            Effect::Answer { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        (answer.expect("every command is answered"), effects)
    }

    fn command(&mut self, command: Command) -> Answer {
        self.step(command).0
    }

    fn register(&mut self, number: u8, owner: &str) -> Answer {
        let target = RegistrationTarget::Hardware(hardware(number));
        self.command(Command::Register(Register {
            owner: Some(owner.into()),
            ..Register::of(target)
        }))
    }

    /// Everything that it tells, and the number of the last change.
    fn told_after(&self, mut after: u64) -> (Vec<Exchanged>, u64) {
        let mut all = Vec::new();
        loop {
            let query = Query::Exchange { after, limit: 3 };
            let QueryAnswer::Exchange { records, through, newest } =
                self.server.query(self.now, &query)
            else {
                panic!("another answer")
            };
            all.extend(records);
            after = through;
            if through == newest {
                return (all, newest);
            }
        }
    }

    fn told(&self) -> Vec<Exchanged> {
        self.told_after(0).0
    }

    fn merge(&mut self, records: Vec<Exchanged>, is_whole: bool) -> Merged {
        match self.command(Command::Merge { records, is_whole }) {
            Answer::Merged(merged) => merged,
            other => panic!("{other:?}"),
        }
    }

    fn registrations(&self) -> Vec<Registration> {
        let query = Query::Registrations { after: None, limit: 100, owner: None };
        let QueryAnswer::Registrations { registrations, .. } = self.server.query(self.now, &query)
        else {
            panic!("another answer")
        };
        registrations
            .into_iter()
            .map(|RegistrationView { registration, .. }| registration)
            .collect()
    }

    fn vouchers(&self) -> Vec<Voucher> {
        let query = Query::Vouchers { after: None, limit: 100 };
        let QueryAnswer::Vouchers { vouchers, .. } = self.server.query(self.now, &query) else {
            panic!("another answer")
        };
        vouchers
    }

    fn open(&self) -> Vec<Ipv4Addr> {
        let gate = self.server.gate(self.now).into_iter();
        gate.filter(|(_, side, _)| *side == Side::Registered).map(|(address, ..)| address).collect()
    }

    /// Killed and started again from what was durable.
    fn restart(&mut self) {
        let configuration = self.server.topology.configuration().clone();
        self.server = Server::new(configuration, [SERVER], self.records.clone(), self.now);
    }

    /// Written into a snapshot and started from that.
    fn restart_from_snapshot(&mut self) {
        let mut records: Vec<Record> = (1..=6).map(lease_of).collect();
        records.extend(self.vouchers().into_iter().map(Record::Voucher));
        let mut after = None;
        loop {
            let query = Query::ExchangeBook { after, limit: 2 };
            let QueryAnswer::ExchangeBook { is_kept, records: page, next } =
                self.server.query(self.now, &query)
            else {
                panic!("another answer")
            };
            assert!(is_kept);
            records.extend(page.into_iter().map(Record::Exchange));
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.records = records;
        self.restart();
    }
}

/// Each tells the other everything until neither has anything new to say.
fn heal(halves: &mut [Half; 2]) {
    for _ in 0..8 {
        let [first, second] = halves;
        let there = second.merge(first.told(), true);
        let back = first.merge(second.told(), true);
        if [there, back].iter().all(|merged| merged.taken == 0 && merged.ended == 0) {
            return;
        }
    }
    panic!("they go on telling each other news");
}

fn halves() -> [Half; 2] {
    [Half::new(Role::Primary), Half::new(Role::Secondary)]
}

fn voucher(number: u8, uses_max: u16) -> Voucher {
    Voucher {
        hash: VoucherHash::new([number; 32]),
        role: None,
        note: None,
        lifetime_seconds: None,
        uses_max,
        created: Timestamp::ZERO,
        expires: Timestamp::from_seconds(50_000_000),
        uses: Vec::new(),
    }
}

fn redeem(half: &mut Half, voucher: u8, number: u8) -> Answer {
    half.command(Command::Register(Register {
        voucher: Some(VoucherHash::new([voucher; 32])),
        ..Register::of(RegistrationTarget::Hardware(hardware(number)))
    }))
}

#[test]
fn a_registration_at_either_half_opens_the_gate_of_the_other_and_its_end_shuts_it() {
    let [mut first, mut second] = halves();
    let address = Ipv4Addr::new(10, 20, 0, 10);
    first.register(1, "alice");
    let (_, effects) = second.step(Command::Merge { records: first.told(), is_whole: true });
    let changes = gate_changes(&effects);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].address, changes[0].side.unwrap().0), (address, Side::Registered));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Answer { answer: Answer::Merged(_), release: Release::AfterCommit(_), .. }
    )));
    assert_eq!(second.registrations(), first.registrations());

    for (command, side) in [
        (Command::Suspend { hardware: hardware(1), reason: None }, Side::Unregistered),
        (Command::Resume(hardware(1)), Side::Registered),
        (Command::Unregister(hardware(1)), Side::Unregistered),
    ] {
        second.command(command);
        let (_, effects) = first.step(Command::Merge { records: second.told(), is_whole: true });
        let changes = gate_changes(&effects);
        assert_eq!(changes[0].side.unwrap().0, side);
    }
    assert!(first.registrations().is_empty());
}

#[test]
fn what_is_told_after_a_number_is_what_changed_after_it() {
    let [mut half, _] = halves();
    half.register(1, "alice");
    half.register(2, "alice");
    let (_, number) = half.told_after(0);
    assert_eq!(half.told_after(number), (Vec::new(), number));
    half.command(Command::Unregister(hardware(1)));
    half.register(3, "bob");
    let (news, _) = half.told_after(number);
    assert!(
        matches!(&news[..], [
            Exchanged::RegistrationEnded { hardware: ended, .. },
            Exchanged::Registration { registration, devices_counted: 1, .. },
        ] if *ended == hardware(1) && registration.hardware == hardware(3)),
        "{news:?}"
    );
    // All of it is three things.
    assert_eq!(half.told().len(), 3);
}

#[test]
fn a_removal_wins_over_an_older_registration_that_arrives_later_also_after_a_restart() {
    let [mut first, mut second] = halves();
    first.register(1, "alice");
    let old = first.told();
    second.merge(old.clone(), true);
    second.command(Command::Unregister(hardware(1)));
    first.merge(second.told(), true);
    for restart in [Half::restart, Half::restart_from_snapshot] {
        restart(&mut first);
        assert_eq!(first.merge(old.clone(), true), Merged { known: 1, ..Merged::default() });
        assert!(first.registrations().is_empty());
    }
    // Registered again, it counts more than its end.
    first.register(1, "alice");
    assert_eq!(second.merge(first.told(), true).taken, 1);
    assert_eq!(second.registrations(), first.registrations());
}

#[test]
fn an_end_is_forgotten_after_its_time_and_what_is_older_stays_out_all_the_same() {
    let mut halves = halves();
    halves[0].register(1, "alice");
    halves[0].register(2, "bob");
    heal(&mut halves);
    let [first, second] = &mut halves;
    second.command(Command::Unregister(hardware(1)));
    // The first one is away for longer than the end is remembered.
    second.now = second.now.plus_seconds(91 * DAY);
    second.command(Command::Unregister(hardware(9)));
    assert_eq!(second.told().len(), 1, "the other device alone");
    first.now = second.now;
    heal(&mut halves);
    let [first, second] = &mut halves;
    assert_eq!(first.registrations(), second.registrations());
    assert_eq!(first.registrations().len(), 1, "the device that was removed did not come back");
    second.restart_from_snapshot();
    // What is registered from now on is taken.
    first.register(3, "carol");
    heal(&mut halves);
    assert_eq!(halves[1].registrations().len(), 2);
}

#[test]
fn a_half_that_has_lost_everything_gets_everything_back() {
    let mut halves = halves();
    halves[0].register(1, "alice");
    halves[0].command(Command::CreateVouchers(vec![voucher(1, 2), voucher(2, 1)]));
    redeem(&mut halves[0], 1, 2);
    halves[0].command(Command::RevokeVoucher {
        id: VoucherHash::new([2; 32]).id(),
        end_registrations: false,
    });
    heal(&mut halves);
    halves[1] = Half::new(Role::Secondary);
    heal(&mut halves);
    let [first, second] = &halves;
    assert_eq!(first.registrations().len(), 2);
    assert_eq!(second.registrations(), first.registrations());
    assert_eq!(second.vouchers(), first.vouchers());
    assert_eq!(first.vouchers().len(), 1);
}

#[test]
fn registrations_of_before_the_exchange_are_told_and_meet_by_their_own_times() {
    let registered = |number: u8, time: u64, note: &str| {
        Record::Registration(Registration {
            note: Some(note.into()),
            ..Registration::of(hardware(number), Timestamp::from_seconds(time))
        })
    };
    let mut halves = halves();
    halves[0].records.extend([registered(1, 1000, "older"), registered(2, 1000, "here alone")]);
    halves[1].records.extend([registered(1, 2000, "newer"), registered(3, 1000, "there alone")]);
    halves.iter_mut().for_each(Half::restart);
    heal(&mut halves);
    let notes: Vec<_> = halves[0]
        .registrations()
        .into_iter()
        .map(|registration| registration.note.unwrap_or_default())
        .collect();
    assert_eq!(notes, ["newer".into(), "here alone".into(), "there alone".into()] as [Box<str>; 3]);
    assert_eq!(halves[1].registrations(), halves[0].registrations());
}

#[test]
fn the_device_limit_holds_across_both_halves() {
    let [mut first, mut second] = halves();
    first.register(1, "alice");
    second.merge(first.told(), true);
    second.register(2, "alice");
    first.merge(second.told(), true);
    let refused = first.register(3, "alice");
    assert!(matches!(refused, Answer::DeviceLimitReached { limit: 2, .. }), "{refused:?}");
}

#[test]
fn of_two_last_devices_the_newest_are_kept_at_both_and_the_end_is_told() {
    let mut halves = halves();
    halves[0].register(1, "alice");
    heal(&mut halves);
    // They cannot hear each other, and each lets her have a second one.
    for (side, number) in [(0, 2), (1, 3)] {
        halves[side].now = halves[side].now.plus_seconds(10 + u64::from(number));
        let answer = halves[side].register(number, "alice");
        assert!(matches!(answer, Answer::Registered { .. }), "{answer:?}");
    }
    let settings = crate::Announcements { expiring_ahead_seconds: 0, pool_low_percent: 0 };
    halves[0].restart();
    let [first, second] = &mut halves;
    let server = std::mem::replace(&mut first.server, Half::new(Role::Primary).server);
    first.server = server.announcing(settings, first.now);
    let (answer, effects) = first.step(Command::Merge { records: second.told(), is_whole: true });
    let Answer::Merged(merged) = answer else { panic!("{answer:?}") };
    assert_eq!((merged.taken, merged.ended), (1, 1));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Event(event) if matches!(
        &event.what,
        crate::Happening::Unregistered { cause: crate::event::EndCause::DeviceLimit, registration, .. }
            if registration.hardware == hardware(1)
    ))));
    heal(&mut halves);
    for half in &halves {
        let kept: Vec<_> =
            half.registrations().iter().map(|registration| registration.hardware).collect();
        assert_eq!(kept, [hardware(2), hardware(3)]);
    }
}

#[test]
fn who_has_more_than_the_limit_by_an_operators_word_keeps_them() {
    let mut halves = halves();
    let entries = (1..=4)
        .map(|number| Registration {
            owner: Some("alice".into()),
            ..Registration::of(hardware(number), Timestamp::FOREVER)
        })
        .collect();
    halves[0].command(Command::Import { entries, apply: true });
    heal(&mut halves);
    halves[1].command(Command::Suspend { hardware: hardware(1), reason: None });
    heal(&mut halves);
    assert_eq!(halves[0].registrations().len(), 4);
    assert_eq!(halves[1].registrations(), halves[0].registrations());
}

#[test]
fn a_voucher_is_used_up_by_its_uses_at_both_halves() {
    let mut halves = halves();
    halves[0].command(Command::CreateVouchers(vec![voucher(1, 2)]));
    heal(&mut halves);
    redeem(&mut halves[0], 1, 1);
    heal(&mut halves);
    redeem(&mut halves[1], 1, 2);
    heal(&mut halves);
    let used_up = redeem(&mut halves[0], 1, 3);
    assert_eq!(used_up, Answer::VoucherRefused(crate::VoucherRefusal::UsedUp));
    // Apart, each lets in as many as it knows to be left.
    halves[0].command(Command::CreateVouchers(vec![voucher(2, 1)]));
    heal(&mut halves);
    redeem(&mut halves[0], 2, 4);
    redeem(&mut halves[1], 2, 5);
    heal(&mut halves);
    let both: Vec<VoucherUse> = halves[1].vouchers()[1].uses.clone();
    assert_eq!(both.len(), 2);
    assert_eq!(halves[0].vouchers(), halves[1].vouchers());
    assert_eq!(redeem(&mut halves[0], 2, 6), Answer::VoucherRefused(crate::VoucherRefusal::UsedUp));
}

#[test]
fn a_revoked_voucher_stays_revoked() {
    let [mut first, mut second] = halves();
    first.command(Command::CreateVouchers(vec![voucher(1, 2)]));
    let old = first.told();
    second.merge(old.clone(), true);
    let id = VoucherHash::new([1; 32]).id();
    second.command(Command::RevokeVoucher { id, end_registrations: true });
    first.merge(second.told(), true);
    first.restart_from_snapshot();
    first.merge(old, true);
    assert!(first.vouchers().is_empty());
}

#[test]
fn a_partner_whose_clock_is_years_ahead_is_heard_and_does_not_drag_this_one_along() {
    let mut halves = halves();
    halves[1].now = halves[1].now.plus_seconds(1000 * DAY);
    halves[1].register(1, "alice");
    let [first, second] = &mut halves;
    let merged = first.merge(second.told(), true);
    assert_eq!((merged.taken, merged.far_ahead), (1, 1));
    let stamp_of = |half: &Half, wanted: u8| {
        half.told()
            .into_iter()
            .find_map(|record| match record {
                Exchanged::Registration { registration, stamp, .. } => {
                    (registration.hardware == hardware(wanted)).then_some(stamp)
                }
                _ => None,
            })
            .expect("it is told")
    };
    // What is said here of the same device afterwards counts, and of others it is dated by this clock.
    first.command(Command::Suspend { hardware: hardware(1), reason: None });
    first.register(2, "bob");
    assert_eq!(stamp_of(first, 2).milliseconds, first.now.milliseconds());
    heal(&mut halves);
    assert!(halves[1].registrations()[0].suspended.is_some());
    assert_eq!(halves[0].registrations(), halves[1].registrations());
}

#[test]
fn a_restart_goes_on_after_the_newest_time_that_it_gave_or_heard_of() {
    let [mut first, mut second] = halves();
    second.now = second.now.plus_seconds(3600);
    second.register(1, "alice");
    first.merge(second.told(), true);
    first.restart();
    first.command(Command::Unregister(hardware(1)));
    assert_eq!(second.merge(first.told(), true).taken, 1);
    assert!(second.registrations().is_empty());
}

#[test]
fn a_registration_that_ends_by_itself_ends_at_each_half_by_its_own_clock() {
    let mut halves = halves();
    let target = RegistrationTarget::Hardware(hardware(1));
    let expires = Some(halves[0].now.plus_seconds(100));
    halves[0].command(Command::Register(Register { expires, ..Register::of(target) }));
    let old = halves[0].told();
    heal(&mut halves);
    let [first, second] = &mut halves;
    first.now = first.now.plus_seconds(100);
    first.command(Command::Unregister(hardware(9)));
    assert!(first.registrations().is_empty());
    // The partner does not take its word for it: its own clock may be right.
    assert_eq!(second.merge(first.told(), true).known, 1);
    assert_eq!(second.registrations().len(), 1);
    // And nobody brings it back.
    assert_eq!(first.merge(second.told(), true).known, 1);
    first.now = Timestamp::from_seconds(1_000_010);
    first.restart();
    assert_eq!(first.merge(old, true).known, 1);
    assert!(first.registrations().is_empty());
}

#[test]
fn without_a_partner_nothing_of_it_is_there() {
    let mut bench = Bench::new(2);
    let target = RegistrationTarget::Hardware(hardware(1));
    let effects = bench.input(Input::Command(Ticket(1), Command::Register(Register::of(target))));
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Persist(Record::Registration(_))))
    );
    let query = Query::ExchangeBook { after: None, limit: 9 };
    let QueryAnswer::ExchangeBook { is_kept, .. } = bench.server.query(bench.now, &query) else {
        panic!("another answer")
    };
    assert!(!is_kept);
}

#[test]
fn who_stops_exchanging_and_begins_again_has_forgotten_nothing() {
    let mut halves = halves();
    halves[0].register(1, "alice");
    heal(&mut halves);
    let mut alone = exchanging(Role::Primary);
    alone.failover = None;
    halves[0].server = Server::new(alone, [SERVER], halves[0].records.clone(), halves[0].now);
    halves[0].command(Command::Unregister(hardware(1)));
    assert!(matches!(
        halves[0].records.last(),
        Some(Record::Exchange(ExchangeRecord::Ended { .. }))
    ));
    heal(&mut halves);
    assert!(halves[1].registrations().is_empty());
}

/// Something happens at one of the halves.
#[derive(Clone, Debug)]
enum Happens {
    Register {
        device: u8,
        owner: u8,
        ends: bool,
    },
    Unregister(u8),
    Suspend(u8),
    Resume(u8),
    Redeem {
        voucher: u8,
        device: u8,
    },
    Revoke(u8),
    Pass(u64),
    Restart,
    Snapshot,
    /// Words of whichever half, from whenever, arrive, or arrive again.
    Arrive(Vec<prop::sample::Index>, bool),
}

fn any_happening() -> impl Strategy<Value = (usize, Happens)> {
    let device = || 1..=6_u8;
    let what = prop_oneof![
        6 => (device(), 1..=2_u8, prop::bool::weighted(0.1))
            .prop_map(|(device, owner, ends)| Happens::Register { device, owner, ends }),
        3 => device().prop_map(Happens::Unregister),
        1 => device().prop_map(Happens::Suspend),
        1 => device().prop_map(Happens::Resume),
        2 => (1..=3_u8, device()).prop_map(|(voucher, device)| Happens::Redeem { voucher, device }),
        1 => (1..=3_u8).prop_map(Happens::Revoke),
        2 => (0..5000_u64).prop_map(Happens::Pass),
        1 => Just(Happens::Restart),
        1 => Just(Happens::Snapshot),
        8 => (prop::collection::vec(any::<prop::sample::Index>(), 1..6), any::<bool>())
            .prop_map(|(words, is_whole)| Happens::Arrive(words, is_whole)),
    ];
    (0..2_usize, what)
}

fn happen(half: &mut Half, what: Happens, words: &[Exchanged]) {
    match what {
        Happens::Register { device, owner, ends } => {
            let target = RegistrationTarget::Hardware(hardware(device));
            let expires = ends.then(|| half.now.plus_seconds(60));
            let owner = Some(format!("owner {owner}").into());
            half.command(Command::Register(Register { owner, expires, ..Register::of(target) }));
        }
        Happens::Unregister(device) => {
            half.command(Command::Unregister(hardware(device)));
        }
        Happens::Suspend(device) => {
            half.command(Command::Suspend { hardware: hardware(device), reason: None });
        }
        Happens::Resume(device) => {
            half.command(Command::Resume(hardware(device)));
        }
        Happens::Redeem { voucher, device } => {
            redeem(half, voucher, device);
        }
        Happens::Revoke(number) => {
            let id = VoucherHash::new([number; 32]).id();
            half.command(Command::RevokeVoucher { id, end_registrations: number == 1 });
        }
        Happens::Pass(milliseconds) => {
            half.now = Timestamp::from_milliseconds(half.now.milliseconds() + milliseconds);
        }
        Happens::Restart => half.restart(),
        Happens::Snapshot => half.restart_from_snapshot(),
        Happens::Arrive(chosen, is_whole) => {
            if !words.is_empty() {
                let chosen = chosen.iter().map(|index| index.get(words).clone()).collect();
                half.merge(chosen, is_whole);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens where, whatever arrives in which order and how often, and wherever the clocks are: both
    /// end with one truth, in the book and in the gate, and no owner has more than the limit by it.
    #[test]
    fn both_end_with_one_truth(
        happenings in prop::collection::vec(any_happening(), 0..60),
        ahead in 0..7200_u64,
        order in any::<prop::sample::Selector>(),
    ) {
        let mut halves = halves();
        halves[1].now = halves[1].now.plus_seconds(ahead);
        let vouchers = vec![voucher(1, 1), voucher(2, 2), voucher(3, 3)];
        halves[0].command(Command::CreateVouchers(vouchers));
        heal(&mut halves);
        let mut words = Vec::new();
        for (side, what) in happenings {
            happen(&mut halves[side], what, &words);
            words.extend(halves[side].told());
            words.dedup();
            let surplus = words.len().saturating_sub(200);
            words.drain(..surplus);
        }
        // By then everything that ends by itself has ended at both.
        for half in &mut halves {
            half.now = half.now.plus_seconds(10_000);
            half.command(Command::Unregister(hardware(9)));
        }
        heal(&mut halves);
        let [first, second] = &halves;
        prop_assert_eq!(first.registrations(), second.registrations());
        prop_assert_eq!(first.vouchers(), second.vouchers());
        prop_assert_eq!(first.open(), second.open());
        for owner in ["owner 1", "owner 2"] {
            let theirs = first.registrations();
            let theirs = theirs.iter().filter(|it| it.owner.as_deref() == Some(owner));
            // Who is held back stays, whatever the limit says.
            prop_assert!(theirs.filter(|it| it.suspended.is_none()).count() <= 2);
        }
        // A third one that hears it in another order comes to the same.
        let mut third = Half::new(Role::Secondary);
        third.now = second.now;
        let mut told = second.told();
        let mut shuffled = Vec::new();
        while !told.is_empty() {
            let position = order.select(0..told.len());
            shuffled.push(told.remove(position));
        }
        for word in shuffled {
            third.merge(vec![word.clone()], false);
            third.merge(vec![word], false);
        }
        prop_assert_eq!(third.registrations(), second.registrations());
        prop_assert_eq!(third.vouchers(), second.vouchers());
    }
}
