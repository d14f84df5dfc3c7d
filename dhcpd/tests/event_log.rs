//! The log of events on disk: restarts, crashes at every byte, damage, retention. Whatever happens, a
//! reader gets every event or is told of a gap, and no id stands for two events.

use serde_json::json;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use vestibule_core::event::PoolUsage;
use vestibule_core::{
    BindingState, ClientIdentifier, Event, EventKind, Happening, HardwareAddress, Lease, Timestamp,
};
use vestibule_dhcpd::events::{
    EventLog, Events, HANDOVERS_WAITING_MAX, IDS_RESERVED, Keeper, Packed, Retention, Stored,
    handover,
};
use vestibule_dhcpd::metrics::Metrics;

const LARGE: Retention = Retention { bytes: 1 << 30, events: 1 << 30 };

fn event(name: &str) -> Event {
    let usage = PoolUsage { network: name.into(), class: None, pool_size: 10, free: 1 };
    Event { time: Timestamp::from_seconds(1_795_179_600), what: Happening::PoolLow(usage) }
}

fn events(name: &str, count: usize) -> Packed {
    std::iter::repeat_with(|| event(name)).take(count).collect()
}

/// A new lease of a stranger, which is packed; its host name needs escapes.
fn seen(number: u8) -> Event {
    let time = Timestamp::from_seconds(1_795_179_600);
    let hardware = HardwareAddress::ethernet([2, 0, 10, 27, 10, number]);
    let lease = Lease {
        address: Ipv4Addr::new(10, 10, 27, number),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started: time,
        changed: time,
        ends: time.plus_seconds(120),
        relay: None,
        relay_agent: None,
        host_name: Some(b"new\nline \x1bn <b>".as_slice().into()),
    };
    Event { time, what: Happening::UnregisteredSeen { lease, network: "halls".into() } }
}

fn open(directory: &Path, retention: Retention, frame_number: u64) -> EventLog {
    EventLog::open(directory, retention, "a", frame_number, Arc::new(Metrics::new())).unwrap()
}

/// Everything after an id.
fn after(events: &Events, mut after: u64) -> Vec<Stored> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut all = Vec::new();
    loop {
        let found = runtime.block_on(events.read_after(after, 7)).unwrap();
        let Some(last) = found.last() else { return all };
        after = last.id;
        all.extend(found);
    }
}

fn shown(events: &[Stored]) -> Vec<(u64, EventKind)> {
    events.iter().map(|event| (event.id, event.kind)).collect()
}

fn cause(event: &Stored) -> String {
    let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
    json["cause"].as_str().unwrap().to_owned()
}

/// The only file of a log that was never rolled.
fn file(directory: &TempDir) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(directory.path()).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[test]
fn a_packed_event_reads_the_same_from_memory_and_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), LARGE, 0);
    log.append(1, 0, [seen(10), event("x"), seen(27)].into_iter().collect());
    let told = after(&log.events(), 0);
    log.close();
    assert_eq!(after(&open(directory.path(), LARGE, 1).events(), 0), told);
    let json: serde_json::Value = serde_json::from_str(&told[2].json()).unwrap();
    let kind = EventKind::UnregisteredSeen;
    assert_eq!((told[2].id, told[2].kind, &json["id"]), (3, kind, &json!(3)));
    for (field, value) in [
        ("type", json!("unregistered-seen")),
        ("time", json!("2026-11-20T13:00:00.000Z")),
        ("server", json!("a")),
        ("ip", json!("10.10.27.27")),
        ("mac", json!("02:00:0a:1b:0a:1b")),
        ("network", json!("halls")),
        ("state", json!("active")),
        ("ends", json!("2026-11-20T13:02:00.000Z")),
        ("host-name", json!("new\nline \u{1b}n <b>")),
        ("registered", json!(false)),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    assert!(!told[2].json().contains(['\n', '\u{1b}', '<']), "{}", told[2].json());
}

#[test]
fn an_orderly_restart_loses_nothing_and_goes_on_with_the_next_id() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), LARGE, 0);
    log.append(5, 0, events("x", 20));
    log.append(9, 0, Packed::default());
    log.close();
    let mut log = open(directory.path(), LARGE, 9);
    log.append(10, 0, events("y", 1));
    let all = after(&log.events(), 0);
    let wanted: Vec<_> = (1..=21).map(|id| (id, EventKind::PoolLow)).collect();
    assert_eq!(shown(&all), wanted);
    assert!(all[20].json().contains("\"network\":\"y\""));
}

#[test]
fn after_a_crash_a_gap_says_what_may_be_missing_and_ids_are_not_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), LARGE, 0);
    log.append(5, 0, events("x", 3));
    // No orderly end: everything that was handed over is written.
    drop(log);
    let log = open(directory.path(), LARGE, 5);
    assert_eq!(
        shown(&after(&log.events(), 0)).len(),
        3,
        "the journal is not ahead: nothing is missing"
    );
    drop(log);
    // The journal is ahead: something happened that was never handed over.
    let mut log = open(directory.path(), LARGE, 6);
    log.append(7, 0, events("x", 1));
    let all = after(&log.events(), 3);
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].kind, &*cause(&all[0])), (EventKind::Gap, "restart"));
    assert!(all[0].id > IDS_RESERVED, "ids that may have been told are passed over: {}", all[0].id);
    assert_eq!(all[1].id, all[0].id + 1);
}

/// A crash may leave any beginning of the file. What is left is told, an id never means another event,
/// and the gap is there.
#[test]
fn a_file_cut_at_any_byte_is_read_up_to_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), LARGE, 0);
    log.append(1, 0, [event("x"), seen(10), event("x")].into_iter().collect());
    log.append(2, 0, [event("y"), seen(27)].into_iter().collect());
    let told = after(&log.events(), 0);
    drop(log);
    let bytes = std::fs::read(file(&directory)).unwrap();
    let name = file(&directory).file_name().unwrap().to_owned();
    for length in 0..bytes.len() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(&name), &bytes[..length]).unwrap();
        let mut log = open(directory.path(), LARGE, 3);
        log.append(4, 0, events("z", 1));
        let all = after(&log.events(), 0);
        let (new, old) = all.split_last().unwrap();
        let (gap, old) = old.split_last().unwrap();
        assert_eq!(old, &told[..old.len()], "cut at {length}");
        assert_eq!((gap.kind, &*cause(gap)), (EventKind::Gap, "restart"), "cut at {length}");
        assert!(new.json().contains("\"network\":\"z\""));
        // A beginning without the line that sets ids aside was synced before any id was told.
        let was_reserved = bytes[..length].windows(3).any(|window| window == b" r ");
        if was_reserved && bytes[..length].contains(&b'\n') {
            assert!(told.iter().all(|old| old.id < gap.id), "cut at {length}: {}", gap.id);
        }
        drop(log);
        let log = open(directory.path(), LARGE, 4);
        assert_eq!(after(&log.events(), 0), all, "and stays so: cut at {length}");
    }
}

#[test]
fn a_damaged_line_is_a_gap_and_the_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), LARGE, 0);
    log.append(1, 0, events("x", 5));
    log.close();
    let path = file(&directory);
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(9).position(|window| window == b"e 3 pool-").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let log = open(directory.path(), LARGE, 1);
    let all = after(&log.events(), 0);
    let ids: Vec<u64> = all.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 4, 5, 6]);
    assert_eq!((all[4].kind, &*cause(&all[4])), (EventKind::Gap, "damage"));
}

#[test]
fn what_is_kept_is_bounded_and_what_is_not_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: 64 * 1024, events: 1_000_000 };
    let mut log = open(directory.path(), retention, 0);
    for frame in 1..200 {
        log.append(frame, 0, events("x", 10));
        let (_, bytes) = log.events().kept();
        assert!(bytes <= retention.bytes + 4096, "{bytes}");
    }
    let kept = log.events();
    let oldest = kept.oldest();
    assert!(oldest > 1000, "{oldest}");
    let all = after(&kept, oldest);
    let wanted: Vec<_> = (oldest + 1..=1990).map(|id| (id, EventKind::PoolLow)).collect();
    assert_eq!(shown(&all), wanted);
    let lost = kept.check(oldest - 1).unwrap_err();
    assert_eq!((lost.oldest, lost.newest), (oldest, 1990));
    assert!(kept.check(1991).is_err());
    log.close();
    let log = open(directory.path(), retention, 199);
    assert_eq!(log.events().oldest(), oldest, "and it is known after a restart");
    assert_eq!(after(&log.events(), oldest), all);
    let count = Retention { bytes: 1 << 30, events: 160 };
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), count, 0);
    for frame in 1..100 {
        log.append(frame, 0, events("x", 10));
    }
    assert!(log.events().kept().0 <= 170, "{:?}", log.events().kept());
}

/// The barrier never waits: what finds no room while the keeper stands still is counted, and told as a
/// gap when it goes on.
#[test]
fn what_could_not_be_handed_over_is_told_as_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), LARGE, 0);
    let kept = log.events();
    let (mut handover, from) = handover();
    for frame in 0..HANDOVERS_WAITING_MAX as u64 {
        handover.give(frame, 0, &mut events("x", 1));
    }
    handover.give(1000, 0, &mut events("y", 20_000));
    // From here on there is somebody who takes.
    let keeper = std::thread::spawn(move || Keeper { log, from }.run());
    while kept.newest() < HANDOVERS_WAITING_MAX as u64 {
        std::thread::yield_now();
    }
    handover.give(1001, 0, &mut events("z", 1));
    drop(handover);
    keeper.join().unwrap();
    let log = open(directory.path(), LARGE, 1001);
    let all = after(&log.events(), HANDOVERS_WAITING_MAX as u64);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0].kind, EventKind::Gap);
    assert!(all[0].json().contains(r#""cause":"overflow","missed":20000"#), "{}", all[0].json());
    assert!(all[1].json().contains("\"network\":\"z\""));
}

/// A directory in the place of the next file: as a full disk, it lets nothing be written.
#[test]
fn what_could_not_be_written_is_told_as_a_gap_when_it_works_again() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: 1 << 30, events: 160 };
    let mut log = open(directory.path(), retention, 0);
    log.append(1, 0, events("x", 10));
    let next = directory.path().join(format!("{:020}.events", 11));
    std::fs::create_dir(&next).unwrap();
    log.append(2, 0, events("y", 5));
    assert_eq!(log.events().newest(), 10, "nothing is told that is not kept");
    std::fs::remove_dir(&next).unwrap();
    log.append(3, 0, events("z", 1));
    let all = after(&log.events(), 10);
    assert_eq!(shown(&all), [(11, EventKind::Gap), (12, EventKind::PoolLow)]);
    assert!(all[0].json().contains(r#""cause":"storage","missed":5"#), "{}", all[0].json());
}
