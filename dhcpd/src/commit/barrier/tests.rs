//! What leaves, and in which order, when all goes well and when something fails.

use super::*;
use crate::commit::Outbox;
use crate::failover::{ConnectionNumber, Errand};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use vestibule_core::failover::CloseReason;
use vestibule_core::{Answer, Destination, HardwareAddress, MessageType, SocketIndex, Timestamp};

/// What happened, in order.
type Events = Arc<Mutex<Vec<String>>>;

fn note(events: &Events, event: impl Into<String>) {
    events.lock().unwrap().push(event.into());
}

struct Disk {
    events: Events,
    fails: bool,
}

impl Stable for Disk {
    type Error = &'static str;

    fn commit(&mut self, records: &[Record]) -> Result<(), Self::Error> {
        note(&self.events, format!("sync {}", records.len()));
        if self.fails { Err("the disk is gone") } else { Ok(()) }
    }

    fn frame_number(&self) -> u64 {
        1
    }

    fn between_groups(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct Kernel {
    events: Events,
    applies_that_fail: usize,
    replaces_that_fail: usize,
}

impl Enforcement for Kernel {
    type Error = &'static str;

    fn apply(&mut self, changes: &[GateChange]) -> Result<(), Self::Error> {
        if self.applies_that_fail > 0 {
            self.applies_that_fail -= 1;
            note(&self.events, "apply fails");
            return Err("no buffer space");
        }
        let flows = changes.iter().filter(|change| change.forget_flows).count();
        note(&self.events, format!("apply {} forget {flows}", changes.len()));
        Ok(())
    }

    fn replace(&mut self, contents: &GateContents) -> Result<(), Self::Error> {
        if self.replaces_that_fail > 0 {
            self.replaces_that_fail -= 1;
            note(&self.events, "replace fails");
            return Err("no buffer space");
        }
        note(&self.events, format!("replace {}", contents.elements.len()));
        Ok(())
    }
}

/// One address, and nobody who is let through by an Ethernet address.
fn contents(side: Side, milliseconds: u64) -> GateContents {
    GateContents { elements: vec![(ADDRESS, side, milliseconds)], ..GateContents::default() }
}

struct Out {
    events: Events,
    /// What the core would answer to `gate_lost`: a step with the whole of the sets.
    work: Option<mpsc::Sender<Work>>,
    next: u64,
}

impl Outlet for Out {
    fn send(&mut self, replies: &[(Envelope, Outgoing<'_>)]) {
        for (_, reply) in replies {
            note(&self.events, format!("reply {}", reply.bytes[0]));
        }
    }

    fn tell(&mut self, _frame_number: u64, records: &[Record]) {
        note(&self.events, format!("tell {}", records.len()));
    }

    fn tell_partner(&mut self, errands: &mut dyn Iterator<Item = ToPartner>) {
        for errand in errands {
            note(&self.events, format!("partner {}", errand.connection.0));
        }
    }

    fn committed(&mut self, through: Sequence) {
        note(&self.events, format!("committed {}", through.0));
    }

    fn gate_lost(&mut self) {
        note(&self.events, "gate lost");
        if let Some(work) = self.work.take() {
            let contents = contents(Side::Unregistered, 1000);
            let step = Work {
                sequence: Some(Sequence(self.next)),
                steps: 1,
                gate_replace: Some(GateReplacement { changes_before: 0, contents }),
                ..Work::default()
            };
            work.send(step).unwrap();
        }
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 10);

fn record() -> Record {
    Record::Time(Timestamp::from_seconds(1))
}

fn reply(number: u8, needs_gate: bool) -> Outbox {
    let mut outbox = Outbox::default();
    let envelope = Envelope {
        message_type: MessageType::Ack,
        socket: SocketIndex(0),
        source: Ipv4Addr::LOCALHOST,
        destination: Destination::Client(ADDRESS),
        lease_ends: None,
        needs_gate,
    };
    put(&mut outbox, envelope, number);
    outbox
}

fn put(outbox: &mut Outbox, envelope: Envelope, number: u8) {
    let put = outbox.put(envelope, |bytes| {
        bytes.push(number);
        Ok::<(), Reason>(())
    });
    assert_eq!(put, Ok(()));
}

fn gated(number: u8) -> Work {
    Work {
        sequence: Some(Sequence(number.into())),
        steps: 1,
        records: vec![record()],
        gate: vec![GateChange {
            address: ADDRESS,
            side: Some((Side::Unregistered, 1000)),
            forget_flows: true,
            holder: None,
        }],
        replies: reply(number, true),
        ..Work::default()
    }
}

fn open(number: u8) -> Work {
    Work { gate: Vec::new(), replies: reply(number, false), ..gated(number) }
}

/// Two steps of one turn.
fn together(mut first: Work, second: Work) -> Work {
    first.sequence = first.sequence.max(second.sequence);
    first.steps += second.steps;
    first.records.extend(second.records);
    first.gate.extend(second.gate);
    for (envelope, outgoing) in second.replies.iter() {
        put(&mut first.replies, envelope, outgoing.bytes[0]);
    }
    first
}

struct Case {
    applies_that_fail: usize,
    replaces_that_fail: usize,
    disk_fails: bool,
    core_answers: bool,
    gate_retry_interval: Duration,
}

const FINE: Case = Case {
    applies_that_fail: 0,
    replaces_that_fail: 0,
    disk_fails: false,
    core_answers: true,
    gate_retry_interval: GATE_RETRY_INTERVAL,
};

/// Runs the barrier over these steps, all there from the beginning. What happened, and how it ended.
fn run(case: &Case, steps: Vec<Work>) -> (Vec<String>, Result<(), CommitError>) {
    let events = Events::default();
    let (sender, receiver) = mpsc::channel();
    for step in steps {
        sender.send(step).unwrap();
    }
    let mut barrier = Barrier::new(
        Disk { events: events.clone(), fails: case.disk_fails },
        Some(Kernel {
            events: events.clone(),
            applies_that_fail: case.applies_that_fail,
            replaces_that_fail: case.replaces_that_fail,
        }),
        Out { events: events.clone(), work: case.core_answers.then_some(sender), next: 99 },
        Arc::new(Metrics::new()),
    );
    barrier.gate_retry_interval = case.gate_retry_interval;
    let end = barrier.run(&receiver);
    let events = events.lock().unwrap().clone();
    (events, end)
}

#[test]
fn a_group_goes_through_gate_and_one_sync_before_anything_leaves() {
    let case = Case { core_answers: false, ..FINE };
    let (events, end) = run(&case, vec![gated(1), open(2), gated(3)]);
    assert_eq!(
        events,
        ["apply 2 forget 2", "sync 3", "reply 1", "reply 2", "reply 3", "committed 3", "tell 3"]
    );
    assert_eq!(end, Ok(()));
}

/// An errand that is told apart by its connection's number.
fn errand(number: u64) -> ToPartner {
    ToPartner { connection: ConnectionNumber(number), errand: Errand::Close(CloseReason::Silent) }
}

#[test]
fn the_partner_hears_of_what_is_durable_after_the_clients_and_whatever_the_gate_does() {
    let told = |work: Work, numbers: &[u64]| Work {
        to_partner: numbers.iter().copied().map(errand).collect(),
        ..work
    };
    let case = Case { applies_that_fail: 1, core_answers: false, ..FINE };
    let steps = vec![told(gated(1), &[5, 6]), told(open(2), &[7]), told(Work::default(), &[8])];
    let (events, _) = run(&case, steps);
    let expected = [
        "apply fails",
        "gate lost",
        "sync 2",
        "reply 2",
        "partner 5",
        "partner 6",
        "partner 7",
        "partner 8",
        "committed 2",
        "tell 2",
    ];
    assert_eq!(events[..expected.len()], expected);
    assert!(!told(Work::default(), &[1]).is_empty());
    let case = Case { disk_fails: true, core_answers: false, ..FINE };
    let (events, _) = run(&case, vec![told(open(1), &[1])]);
    assert_eq!(events, ["sync 1"]);
}

#[test]
fn a_failed_sync_releases_nothing_and_ends_the_thread() {
    let case = Case { disk_fails: true, core_answers: false, ..FINE };
    let (events, end) = run(&case, vec![open(1), open(2)]);
    assert_eq!(events, ["sync 2"]);
    assert_eq!(end.unwrap_err().to_string(), "the disk is gone");
}

#[test]
fn replies_that_need_a_broken_gate_wait_for_it_and_the_others_do_not() {
    let case = Case { applies_that_fail: 1, ..FINE };
    let (events, _) = run(&case, vec![gated(1), open(2)]);
    assert_eq!(
        events,
        [
            "apply fails",
            "gate lost",
            "sync 2",
            "reply 2",
            "committed 2",
            "tell 2",
            // The core's answer: the whole of the sets, and the flows that are owed.
            "replace 1",
            "apply 1 forget 1",
            "reply 1",
            "committed 99",
        ]
    );
}

#[test]
fn of_one_turn_only_the_replies_that_need_a_broken_gate_wait_for_it() {
    let case = Case { applies_that_fail: 1, ..FINE };
    let turn = together(together(open(1), gated(2)), open(3));
    let (events, _) = run(&case, vec![turn]);
    assert_eq!(
        events,
        [
            "apply fails",
            "gate lost",
            "sync 3",
            "reply 1",
            "reply 3",
            "committed 3",
            "tell 3",
            "replace 1",
            "apply 1 forget 1",
            "reply 2",
            "committed 99",
        ]
    );
}

#[test]
fn changes_of_a_turn_behind_its_replacement_come_after_it() {
    let contents = contents(Side::Registered, 500);
    let mut turn = together(gated(1), gated(2));
    turn.gate_replace = Some(GateReplacement { changes_before: 1, contents });
    let case = Case { core_answers: false, ..FINE };
    let (events, _) = run(&case, vec![turn]);
    // Of the owed flow and the change behind.
    assert_eq!(
        events,
        ["replace 1", "apply 2 forget 2", "sync 2", "reply 1", "reply 2", "committed 2", "tell 2"]
    );
}

#[test]
fn what_is_done_comes_back_empty_to_be_filled_again() {
    let mut turn = together(gated(1), open(2));
    turn.clear();
    assert!(turn.is_empty() && turn.replies.is_empty() && turn.records.is_empty());
    assert!(turn.gate.is_empty() && turn.sequence.is_none());
    put(&mut turn.replies, reply(1, false).iter().next().unwrap().0, 7);
    let bytes: Vec<&[u8]> = turn.replies.iter().map(|(_, outgoing)| outgoing.bytes).collect();
    assert_eq!(bytes, [&[7][..]], "nothing of the turn before");
}

#[test]
fn an_answer_waits_for_a_broken_gate_too() {
    let (to, mut answer) = oneshot::channel();
    let mut step = gated(1);
    let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]);
    step.answers = vec![crate::commit::HeldAnswer { answer: Answer::NotRegistered(hardware), to }];
    let case = Case { applies_that_fail: 1, replaces_that_fail: 1, ..FINE };
    let (events, _) = run(&case, vec![step]);
    assert!(events.iter().any(|event| event == "replace fails"), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("reply")), "{events:?}");
    assert!(answer.try_recv().is_err(), "nothing was promised that is not in the kernel");
}

#[test]
fn a_replacement_takes_the_place_of_the_changes_before_it_but_forgets_their_flows() {
    let mut replacement = Work {
        sequence: Some(Sequence(2)),
        steps: 1,
        gate_replace: Some(GateReplacement {
            changes_before: 0,
            contents: contents(Side::Registered, 500),
        }),
        ..Work::default()
    };
    let (to, mut done) = oneshot::channel();
    replacement.barriers.push(to);
    let case = Case { core_answers: false, ..FINE };
    let (events, _) = run(&case, vec![gated(1), replacement]);
    assert_eq!(
        events,
        ["replace 1", "apply 1 forget 1", "sync 1", "reply 1", "committed 2", "tell 1"]
    );
    assert_eq!(done.try_recv(), Ok(()));
}

#[test]
fn a_broken_gate_is_tried_again_also_while_work_never_ceases() {
    let case = Case {
        applies_that_fail: 1,
        replaces_that_fail: 1,
        gate_retry_interval: Duration::ZERO,
        ..FINE
    };
    let steps = std::iter::once(gated(1)).chain((1..3 * GROUP_STEPS_MAX).map(|_| open(2)));
    let (events, _) = run(&case, steps.collect());
    let all = |wanted: &str| -> Vec<usize> {
        let places = events.iter().enumerate();
        places.filter(|(_, event)| event.starts_with(wanted)).map(|(place, _)| place).collect()
    };
    let (asked, synced) = (all("gate lost"), all("sync"));
    assert!(synced.len() >= 3, "there was always work: {}", synced.len());
    assert!(
        asked.get(1).is_some_and(|again| again < synced.last().unwrap()),
        "asked again only when the work had ceased: {asked:?}, {synced:?}"
    );
}

#[test]
fn an_answer_whose_caller_has_gone_is_not_kept_for_a_broken_gate() {
    let events = Events::default();
    let mut barrier = Barrier::new(
        Disk { events: events.clone(), fails: false },
        Some(Kernel { events: events.clone(), applies_that_fail: 1, replaces_that_fail: 0 }),
        Out { events, work: None, next: 99 },
        Arc::new(Metrics::new()),
    );
    let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]);
    let asked = |to| {
        let held = crate::commit::HeldAnswer { answer: Answer::NotRegistered(hardware), to };
        Work { replies: Outbox::default(), answers: vec![held], ..gated(1) }
    };
    let (gone, _) = oneshot::channel();
    let (patient, _patience) = oneshot::channel();
    barrier.commit(&mut vec![asked(gone), asked(patient)]).unwrap();
    assert_eq!(barrier.waiting_for_gate(), 1, "only the one that somebody waits for");
}

#[test]
fn an_ack_whose_lease_has_ended_meanwhile_never_leaves() {
    let ending = |number, lease_ends| {
        let mut replies = Outbox::default();
        for (envelope, outgoing) in reply(number, false).iter() {
            let envelope = Envelope { lease_ends: Some(lease_ends), ..envelope };
            put(&mut replies, envelope, outgoing.bytes[0]);
        }
        Work { replies, ..open(number) }
    };
    let late = ending(1, Instant::now());
    let timely = ending(2, Instant::now() + Duration::from_secs(3600));
    let case = Case { core_answers: false, ..FINE };
    let (events, _) = run(&case, vec![late, timely]);
    assert_eq!(events, ["sync 2", "reply 2", "committed 2", "tell 2"]);
}
