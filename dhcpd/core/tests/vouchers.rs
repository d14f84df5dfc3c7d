//! That no voucher ever lets in more devices than it may, as a property: whatever is registered, revoked
//! and sent again, in whatever order, with commits that are lost to crashes in between.
//!
//! The judge believes only what was committed: an answer that was held when the process died was never
//! given. It counts the devices for itself, and never asks the server.

use proptest::prelude::*;
use std::collections::BTreeMap;
use vestibule_core::{
    Answer, Command, Configuration, Effect, Effects, HardwareAddress, Input, Policy, Record,
    Register, RegistrationRules, RegistrationTarget, Release, Server, Ticket, Timestamp, Voucher,
    VoucherHash, VoucherRefusal, limits,
};

const START: Timestamp = Timestamp::from_seconds(1_000_000);
const LIFETIME_SECONDS: u32 = 100;
const USABLE_SECONDS: u64 = 500;

#[derive(Clone, Copy, Debug)]
enum Action {
    Create {
        voucher: u8,
        uses_max: u16,
    },
    Redeem {
        device: u8,
        voucher: u8,
    },
    Unregister {
        device: u8,
    },
    Revoke {
        voucher: u8,
        end_registrations: bool,
    },
    Pass {
        seconds: u64,
    },
    /// Everything so far is on disk.
    Commit,
    /// The process dies, and so many of the records that waited have reached the disk.
    Crash {
        written: usize,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (voucher, device) = (0..3_u8, 0..6_u8);
    let action = prop_oneof![
        2 => (voucher.clone(), 1..4_u16)
            .prop_map(|(voucher, uses_max)| Action::Create { voucher, uses_max }),
        8 => (device.clone(), voucher.clone())
            .prop_map(|(device, voucher)| Action::Redeem { device, voucher }),
        1 => device.prop_map(|device| Action::Unregister { device }),
        1 => (voucher, any::<bool>())
            .prop_map(|(voucher, end_registrations)| Action::Revoke { voucher, end_registrations }),
        1 => (1..80_u64).prop_map(|seconds| Action::Pass { seconds }),
        2 => Just(Action::Commit),
        1 => (0..6_usize).prop_map(|written| Action::Crash { written }),
    ];
    prop::collection::vec(action, 1..80)
}

fn hash(number: u8) -> VoucherHash {
    VoucherHash::new([number; 32])
}

fn hardware(number: u8) -> HardwareAddress {
    HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, number])
}

fn configuration() -> Configuration {
    Configuration {
        networks: Vec::new(),
        lifetime_seconds: 3600,
        lifetime_unregistered_seconds: 120,
        cache_threshold_percent: 25,
        decline_quarantine_seconds: 600,
        rapid_commit: false,
        registration: RegistrationRules::default(),
        policy: Policy::default(),
        failover: None,
    }
}

fn server(records: &[Record], now: Timestamp) -> Server {
    Server::new(configuration(), [], records.iter().cloned(), now)
}

/// What waits for the disk, in the order in which it was decided.
enum Waiting {
    Record(Record),
    Answer(Command, Answer),
}

struct Judge {
    server: Server,
    now: Timestamp,
    disk: Vec<Record>,
    waiting: Vec<Waiting>,
    /// How many devices each voucher may let in, by what is on the disk.
    uses_max: BTreeMap<u8, u16>,
    /// Whom each let in, and until when. A code that is made anew after it was revoked is another voucher.
    let_in: BTreeMap<u8, BTreeMap<u8, Timestamp>>,
}

impl Judge {
    fn command(&mut self, command: Command) {
        let mut effects = Effects::new();
        self.server.step(self.now, Input::Command(Ticket(0), command.clone()), &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Persist(record) => self.waiting.push(Waiting::Record(record)),
                Effect::Answer { answer, release: Release::AfterCommit(_), .. } => {
                    self.waiting.push(Waiting::Answer(command.clone(), answer));
                }
                Effect::Answer { answer, .. } => refused(&answer),
                _ => {}
            }
        }
    }

    fn commit(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Record(record) => self.write(record),
                Waiting::Answer(command, answer) => self.given(&command, &answer),
            }
        }
        self.server.step(self.now, Input::Committed(self.server.sequence()), &mut Effects::new());
    }

    fn write(&mut self, record: Record) {
        match &record {
            Record::Voucher(voucher) => {
                let number = voucher.hash.bytes()[0];
                self.uses_max.insert(number, voucher.uses_max);
            }
            Record::VoucherRemoved(hash) => {
                self.uses_max.remove(&hash.bytes()[0]);
                self.let_in.remove(&hash.bytes()[0]);
            }
            _ => {}
        }
        self.disk.push(record);
    }

    /// An answer that somebody got.
    fn given(&mut self, command: &Command, answer: &Answer) {
        if let (Command::Register(register), Answer::Registered { registration, .. }) =
            (command, answer)
        {
            let number = register.voucher.unwrap().bytes()[0];
            let device = registration.hardware.bytes()[5];
            let end = registration.expires.expect("a voucher has a lifetime");
            let most = self.uses_max.get(&number).copied().unwrap_or_default();
            let let_in = self.let_in.entry(number).or_default();
            let before = *let_in.entry(device).or_insert(end);
            assert!(end <= before, "device {device} got more time from voucher {number}");
            assert!(
                let_in.len() <= usize::from(most),
                "voucher {number} is for {most} devices and let in {let_in:?}"
            );
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Create { voucher, uses_max } => {
                self.command(Command::CreateVouchers(vec![Voucher {
                    hash: hash(voucher),
                    role: None,
                    note: None,
                    lifetime_seconds: Some(LIFETIME_SECONDS),
                    uses_max,
                    created: Timestamp::ZERO,
                    expires: self.now.plus_seconds(USABLE_SECONDS),
                    uses: Vec::new(),
                }]));
            }
            Action::Redeem { device, voucher } => {
                let target = RegistrationTarget::Hardware(hardware(device));
                let voucher = Some(hash(voucher));
                self.command(Command::Register(Register { voucher, ..Register::of(target) }));
            }
            Action::Unregister { device } => self.command(Command::Unregister(hardware(device))),
            Action::Revoke { voucher, end_registrations } => {
                self.command(Command::RevokeVoucher { id: hash(voucher).id(), end_registrations });
            }
            Action::Pass { seconds } => {
                self.now = self.now.plus_seconds(seconds);
                let mut effects = Effects::new();
                self.server.step(self.now, Input::Tick, &mut effects);
                for effect in effects.drain() {
                    if let Effect::Persist(record) = effect {
                        self.waiting.push(Waiting::Record(record));
                    }
                }
            }
            Action::Commit => self.commit(),
            Action::Crash { written } => {
                // Whatever was written of the group is there, and nobody got an answer for it.
                let records =
                    std::mem::take(&mut self.waiting).into_iter().filter_map(
                        |waiting| match waiting {
                            Waiting::Record(record) => Some(record),
                            Waiting::Answer(..) => None,
                        },
                    );
                for record in records.take(written) {
                    self.write(record);
                }
                self.server = server(&self.disk, self.now);
            }
        }
    }
}

/// A refusal that promises nothing, and is given at once.
fn refused(answer: &Answer) {
    assert!(matches!(answer, Answer::VoucherRefused(_) | Answer::VouchersFull), "{answer:?}");
    if let Answer::VoucherRefused(VoucherRefusal::TooManyGuesses { wait_milliseconds }) = answer {
        assert!(*wait_milliseconds > 0);
    }
}

proptest! {
    #[test]
    fn no_voucher_lets_in_more_devices_than_it_may(actions in actions()) {
        let mut judge = Judge {
            server: server(&[], START),
            now: START,
            disk: Vec::new(),
            waiting: Vec::new(),
            uses_max: BTreeMap::new(),
            let_in: BTreeMap::new(),
        };
        for action in actions {
            judge.act(action);
        }
        judge.commit();
        prop_assert!(judge.uses_max.values().all(|most| *most <= limits::VOUCHER_USES_MAX));
    }
}
