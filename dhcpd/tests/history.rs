//! The history behind a real store: who held an address at a time, through renewals, restarts, copies of
//! the disk at any moment, damage, and rules that change.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vestibule_config::HistoryField;
use vestibule_core::{
    BindingState, ClientIdentifier, HardwareAddress, Lease, Record, Registration, Timestamp,
};
use vestibule_dhcpd::clock::Clock;
use vestibule_dhcpd::history::{
    Book, By, Ended, History, Networks, Offline, Page, Policy, Question, RECENT_INTERVALS_MAX, Told,
};
use vestibule_dhcpd::store::{SEGMENT_BYTES_MIN, Store, StoreOptions};

const DAY: u64 = 24 * 60 * 60;

fn section(keep_days: u32) -> vestibule_config::History {
    vestibule_config::History {
        keep_days,
        owner_keep_days: keep_days,
        drop: Vec::new(),
        max_bytes: 1 << 40,
    }
}

fn hardware(number: u32) -> HardwareAddress {
    let [a, b, c, d] = number.to_be_bytes();
    HardwareAddress::ethernet([2, 0, a, b, c, d])
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a14_0000 + number)
}

/// Now, as every history here sees it, give or take the time that the test takes.
fn now() -> Timestamp {
    Clock::start(Timestamp::ZERO, None).0.now()
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp::from_milliseconds(now().milliseconds() - seconds * 1000)
}

/// Device `host` at `address` from `start` on, for so many seconds.
fn lease(address: Ipv4Addr, host: u32, start: Timestamp, seconds: u64) -> Lease {
    Lease {
        address,
        client: ClientIdentifier::Hardware(hardware(host)),
        hardware: hardware(host),
        state: BindingState::Active,
        started: start,
        changed: start,
        ends: start.plus_seconds(seconds),
        relay: Some(Ipv4Addr::new(10, 20, 0, 1)),
        relay_agent: Some(Box::from(*b"\x01\x05eth/7")),
        host_name: Some(format!("name-of-{host}").into_bytes().into()),
    }
}

fn renewed(lease: &Lease, at: Timestamp, seconds: u64) -> Lease {
    Lease { changed: at, ends: at.plus_seconds(seconds), ..lease.clone() }
}

/// A store with its history.
struct World {
    directory: TempDir,
    store: Option<Store>,
    history: Option<History>,
}

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: SEGMENT_BYTES_MIN, ..StoreOptions::default() }
}

/// A book that is asked for only where a test says so.
fn no_book() -> Book {
    Box::new(|| panic!("the journal reaches back far enough"))
}

fn open(state_dir: &Path, section: &vestibule_config::History, book: Book) -> (Store, History) {
    let (store, recovered) = Store::open(state_dir, options()).unwrap();
    let (clock, _) = Clock::start(recovered.newest_time, None);
    let networks = Networks::new(vec![(address(0), address(0xffff), "halls".into())]);
    let policy = Policy::new(section);
    let frame = store.frame_number();
    let history = History::start(state_dir, policy, networks, clock, frame, book).unwrap();
    (store, history)
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self { directory, store: None, history: None };
        world.start(&section(180));
        world
    }

    fn start(&mut self, section: &vestibule_config::History) {
        let (store, history) = open(self.directory.path(), section, no_book());
        (self.store, self.history) = (Some(store), Some(history));
    }

    /// Ends in order, when the rules have been looked at.
    fn stop(&mut self) {
        while self.history.as_ref().is_some_and(|history| !history.health().is_tidy) {
            std::thread::yield_now();
        }
        self.history = None;
        self.store = None;
    }

    fn restart(&mut self, section: &vestibule_config::History) {
        self.stop();
        self.start(section);
    }

    fn commit(&mut self, records: &[Record]) {
        let store = self.store.as_mut().unwrap();
        for group in records.chunks(512) {
            store.commit(group).unwrap();
        }
        self.history.as_ref().unwrap().tell(store.frame_number());
    }

    fn leases(&mut self, leases: impl IntoIterator<Item = Lease>) {
        let records: Vec<Record> = leases.into_iter().map(Record::Lease).collect();
        self.commit(&records);
    }

    fn ask(&self, by: By) -> Vec<Told> {
        self.ask_within(by, Timestamp::ZERO, Timestamp::FOREVER)
    }

    fn ask_at(&self, by: By, at: Timestamp) -> Vec<Told> {
        self.ask_within(by, at, Timestamp::from_milliseconds(at.milliseconds() + 1))
    }

    fn ask_within(&self, by: By, from: Timestamp, until: Timestamp) -> Vec<Told> {
        all(by, from, until, 1000, &|question| settled(self.history.as_ref().unwrap(), question))
    }

    fn file(&self, wanted: &str) -> PathBuf {
        let files = fs::read_dir(self.directory.path().join("history")).unwrap();
        let mut files = files.map(|file| file.unwrap().path()).filter(|path| {
            path.file_name().unwrap().to_str().unwrap().starts_with(wanted)
                && path.extension().is_none()
        });
        files.next().unwrap_or_else(|| panic!("there is no {wanted}"))
    }

    /// Whether these bytes stand in any file of the history.
    fn is_on_disk(&self, bytes: &[u8]) -> bool {
        fs::read_dir(self.directory.path().join("history")).unwrap().any(|file| {
            let contents = fs::read(file.unwrap().path()).unwrap();
            contents.windows(bytes.len()).any(|window| window == bytes)
        })
    }
}

/// Asks when everything that is durable is in.
fn settled(history: &History, question: &Question) -> Page {
    loop {
        let is_settled = history.health().frames_behind == 0;
        if let Ok(page) = history.ask(question)
            && is_settled
        {
            return page;
        }
        std::thread::yield_now();
    }
}

/// Page after page; each is held to its limit.
fn all(
    by: By,
    from: Timestamp,
    until: Timestamp,
    limit: usize,
    ask: &dyn Fn(&Question) -> Page,
) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut after = None;
    loop {
        let page = ask(&Question { by: by.clone(), from, until, after, limit });
        assert!(page.told.len() <= limit);
        told.extend(page.told);
        assert!(page.next.is_none() || page.next != after, "the pages do not come to an end");
        after = page.next;
        if after.is_none() {
            return told;
        }
    }
}

fn who(told: &[Told]) -> Vec<(HardwareAddress, Option<Ended>)> {
    told.iter().map(|told| (told.holding.hardware, told.holding.ended)).collect()
}

/// So many short leases of an hour ago, each at an address of its own: enough for archives.
fn crowd(count: usize) -> impl Iterator<Item = Lease> {
    let start = ago(7200);
    let count = u32::try_from(count).unwrap();
    (0..count).map(move |host| lease(address(0x1000 + host), 0x1000 + host, start, 60))
}

#[test]
fn each_holder_of_an_address_is_named_at_its_time_and_renewals_are_one_interval() {
    let mut world = World::new();
    let address = address(77);
    let first = lease(address, 1, ago(7200), 600);
    let renewal = renewed(&first, ago(6900), 600);
    let second = lease(address, 2, ago(3600), 600);
    let third = lease(address, 3, ago(300), 600);
    world.leases([first, renewal, second, third]);
    for _ in 0..2 {
        let told = world.ask(By::Address(address));
        let expected = [
            (hardware(1), Some(Ended::Expired)),
            (hardware(2), Some(Ended::Expired)),
            (hardware(3), None),
        ];
        assert_eq!(who(&told), expected);
        assert_eq!(told[0].holding.network.as_deref(), Some("halls"));
        let at = |seconds| who(&world.ask_at(By::Address(address), ago(seconds)));
        assert_eq!(at(7000), expected[..1]);
        // Only the renewal says that it was still the first one's.
        assert_eq!(at(6400), expected[..1]);
        assert_eq!(at(6200), []);
        assert_eq!(at(3500), expected[1..2]);
        assert_eq!(at(5), expected[2..]);
        assert_eq!(world.ask(By::Hardware(hardware(2))).len(), 1);
        assert_eq!(world.ask(By::Circuit(Box::from(*b"eth/7"))).len(), 3);
        assert_eq!(world.ask(By::Circuit(Box::from(*b"eth/8"))).len(), 0);
        world.restart(&section(180));
    }
}

/// A reload tells it of other networks.
#[test]
fn what_is_noted_has_the_name_that_its_network_had_then() {
    let text = r#"
        [server]
        name = "dhcp-a"
        relay-listen = ["10.0.0.67"]
        [[network]]
        name = "rooms"
        gated = false
        [[network.subnet]]
        prefix = "PREFIX"
        [gate]
        mode = "off"
        [api]
        listen = "unix:/run/api"
        token-file = "/run/token"
    "#;
    let mut world = World::new();
    world.leases([lease(address(1), 1, ago(600), 1200)]);
    assert_eq!(world.ask(By::Address(address(1))).len(), 1);
    let text = text.replace("PREFIX", &format!("{}/16", address(0)));
    let rooms = vestibule_config::parse(&text, "vestibule.toml").unwrap();
    world.history.as_ref().unwrap().name_networks(&rooms.core);
    world.leases([lease(address(2), 2, ago(300), 1200)]);
    for _ in 0..2 {
        for (number, name) in [(1, "halls"), (2, "rooms")] {
            let told = world.ask(By::Address(address(number)));
            assert_eq!(told[0].holding.network.as_deref(), Some(name));
        }
        world.restart(&section(180));
    }
}

#[test]
fn a_copy_of_the_disk_at_any_moment_has_the_whole_history_of_its_journal() {
    let mut world = World::new();
    let address = address(77);
    for round in 0..6 {
        let start = ago(7200 - u64::from(round) * 1000);
        world.leases([lease(address, round, start, 600)]);
        world.leases(crowd(3000).map(|lease| Lease {
            started: start,
            changed: start,
            ends: start.plus_seconds(60),
            ..lease
        }));
        // As after a power cut: the journal is there, of the history whatever was written.
        let copy = tempfile::tempdir().unwrap();
        for part in ["", "history"] {
            let Ok(files) = fs::read_dir(world.directory.path().join(part)) else { continue };
            fs::create_dir_all(copy.path().join(part)).unwrap();
            for file in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
                // What is renamed or removed meanwhile is not in the copy.
                let _ = fs::copy(&file, copy.path().join(part).join(file.file_name().unwrap()));
            }
        }
        let offline = {
            let offline =
                Offline::open(copy.path(), Policy::new(&section(180)), Networks::new(Vec::new()))
                    .unwrap();
            all(By::Address(address), Timestamp::ZERO, Timestamp::FOREVER, 10, &|question| {
                offline.ask(question, now())
            })
        };
        let (store, history) = open(copy.path(), &section(180), no_book());
        let told =
            all(By::Address(address), Timestamp::ZERO, Timestamp::FOREVER, 10, &|question| {
                settled(&history, question)
            });
        let holders: Vec<HardwareAddress> = told.iter().map(|told| told.holding.hardware).collect();
        assert_eq!(holders, (0..=round).map(hardware).collect::<Vec<_>>());
        assert_eq!(who(&offline), who(&told));
        drop((history, store));
    }
}

#[test]
fn archives_are_read_back_and_their_indexes_made_anew() {
    let mut world = World::new();
    world.leases(crowd(RECENT_INTERVALS_MAX * 2 + 100));
    let wanted = By::Hardware(hardware(0x1000 + 7));
    let circuit = By::Circuit(Box::from(*b"eth/7"));
    assert_eq!(world.ask(wanted.clone()).len(), 1);
    world.stop();
    let index = world.file("holdings-").with_extension("index");
    let before = fs::read(&index).unwrap();
    for damage in 0..3 {
        match damage {
            0 => fs::remove_file(&index).unwrap(),
            1 => fs::write(&index, &before[..before.len() / 2]).unwrap(),
            _ => {
                let mut bytes = before.clone();
                bytes[100] ^= 1;
                fs::write(&index, bytes).unwrap();
            }
        }
        world.start(&section(180));
        assert_eq!(world.ask(wanted.clone()).len(), 1);
        assert_eq!(world.ask(circuit.clone()).len(), RECENT_INTERVALS_MAX * 2 + 100);
        world.stop();
        assert!(fs::read(&index).unwrap() == before, "it is made as it was");
    }
}

#[test]
fn a_damaged_archive_costs_what_was_damaged_and_the_answer_says_so() {
    let mut world = World::new();
    world.leases(crowd(RECENT_INTERVALS_MAX + 100));
    let circuit = By::Circuit(Box::from(*b"eth/7"));
    assert_eq!(world.ask(circuit.clone()).len(), RECENT_INTERVALS_MAX + 100);
    world.stop();
    let archive = world.file("holdings-");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&archive, bytes).unwrap();
    world.start(&section(180));
    let found = world.ask(circuit.clone()).len();
    assert!(found < RECENT_INTERVALS_MAX + 100 && found > RECENT_INTERVALS_MAX - 200, "{found}");
    assert!(world.history.as_ref().unwrap().health().damaged > 0);
    world.stop();
    // The same when the index has to be made of what is left.
    fs::remove_file(archive.with_extension("index")).unwrap();
    world.start(&section(180));
    assert_eq!(world.ask(circuit).len(), found);
}

#[test]
fn what_is_too_old_is_gone_from_every_file() {
    let mut world = World::new();
    let old = lease(address(1), 1, ago(40 * DAY), 600);
    let newer = lease(address(2), 2, ago(5 * DAY), 600);
    let held = lease(address(3), 3, ago(40 * DAY), 60 * DAY);
    world.leases([old, newer, held]);
    world.leases(crowd(RECENT_INTERVALS_MAX));
    assert_eq!(world.ask(By::Address(address(1))).len(), 1);
    world.stop();
    assert!(world.is_on_disk(hardware(1).bytes()) && world.is_on_disk(hardware(2).bytes()));
    world.start(&section(30));
    assert_eq!(world.ask(By::Address(address(1))).len(), 0);
    assert_eq!(world.ask(By::Address(address(2))).len(), 1);
    assert_eq!(world.ask(By::Address(address(3))).len(), 1, "it goes on");
    world.restart(&section(3));
    assert_eq!(world.ask(By::Address(address(2))).len(), 0);
    assert_eq!(world.ask(By::Address(address(3))).len(), 1);
    world.stop();
    assert!(!world.is_on_disk(hardware(1).bytes()));
    assert!(!world.is_on_disk(hardware(2).bytes()));
    assert!(world.is_on_disk(hardware(3).bytes()));
}

#[test]
fn what_is_dropped_is_in_no_file_also_what_was_kept_before() {
    let mut world = World::new();
    let registration = Registration {
        owner: Some("ada-lovelace".into()),
        role: Some("student".into()),
        ..Registration::of(hardware(1), ago(3600))
    };
    world.commit(&[Record::Registration(registration)]);
    world.leases([lease(address(1), 1, ago(3600), 7200)]);
    world.leases(crowd(RECENT_INTERVALS_MAX + 10));
    let told = world.ask(By::Owner("ada-lovelace".into()));
    assert_eq!(told[0].ownerships[0].role.as_deref(), Some("student"));
    world.stop();
    assert!(
        world.is_on_disk(b"ada-lovelace")
            && world.is_on_disk(b"name-of-1")
            && world.is_on_disk(b"eth/7")
    );
    let mut strict = section(180);
    strict.drop = vec![HistoryField::HostName, HistoryField::Owner, HistoryField::Circuit];
    world.start(&strict);
    world.leases([lease(address(2), 2, ago(60), 7200)]);
    assert_eq!(world.ask(By::Owner("ada-lovelace".into())), []);
    let told = world.ask(By::Address(address(1)));
    assert_eq!(told[0].holding.host_name, None);
    assert_eq!(told[0].ownerships[0].role.as_deref(), Some("student"));
    world.stop();
    for secret in [b"ada-lovelace".as_slice(), b"name-of-", b"eth/7"] {
        assert!(!world.is_on_disk(secret), "{}", secret.escape_ascii());
    }
}

#[test]
fn owners_may_be_forgotten_earlier() {
    let mut world = World::new();
    let registered = |host: u32, days: u64| {
        let expires = Some(ago((days - 1) * DAY));
        let owner = Some("grace".into());
        Record::Registration(Registration {
            owner,
            expires,
            ..Registration::of(hardware(host), ago(days * DAY))
        })
    };
    world.commit(&[registered(1, 20), registered(2, 5)]);
    world.leases([lease(address(1), 1, ago(20 * DAY), 60), lease(address(2), 2, ago(5 * DAY), 60)]);
    assert_eq!(world.ask(By::Owner("grace".into())).len(), 2);
    let mut strict = section(180);
    strict.owner_keep_days = 10;
    world.restart(&strict);
    let told = world.ask(By::Owner("grace".into()));
    assert_eq!(who(&told), [(hardware(2), Some(Ended::Expired))]);
    let told = world.ask(By::Address(address(1)));
    assert_eq!((told.len(), told[0].ownerships.len()), (1, 0));
}

#[test]
fn an_owner_that_changes_while_an_address_is_held_shows_with_its_own_times() {
    let mut world = World::new();
    let registered = |owner: &str| {
        let owner = Some(owner.into());
        Record::Registration(Registration { owner, ..Registration::of(hardware(1), ago(3000)) })
    };
    world.leases([lease(address(1), 1, ago(3600), 7200)]);
    world.commit(&[registered("ada")]);
    assert_eq!(world.ask(By::Owner("ada".into())).len(), 1);
    world.commit(&[registered("grace")]);
    let told = world.ask(By::Address(address(1)));
    let owners: Vec<_> =
        told[0].ownerships.iter().map(|it| (it.owner.as_deref(), it.ended)).collect();
    assert_eq!(owners, [(Some("ada"), Some(Ended::Changed)), (Some("grace"), None)]);
    let [ada, grace] = told[0].ownerships.as_slice() else { panic!("two") };
    assert!(ada.until == grace.from && ada.until >= ago(60), "{ada:?}");
    world.commit(&[Record::RegistrationRemoved(hardware(1))]);
    let told = world.ask(By::Owner("grace".into()));
    assert_eq!(told[0].ownerships[1].ended, Some(Ended::Removed));
    assert_eq!(world.ask(By::Owner("ada".into())).len(), 1);
}

#[test]
fn without_a_journal_that_reaches_back_it_begins_with_the_leases_as_they_are() {
    let mut world = World::new();
    world.leases([lease(address(1), 1, ago(3600), 7200)]);
    world.ask(By::Address(address(1)));
    world.stop();
    fs::remove_dir_all(world.directory.path().join("history")).unwrap();
    // The first segment is gone, as after a few snapshots.
    {
        let (mut store, _) = Store::open(world.directory.path(), options()).unwrap();
        for _ in 0..3 {
            let mut snapshot = store.begin_snapshot().unwrap();
            snapshot.write(&[Record::Lease(lease(address(1), 1, ago(3600), 7200))]).unwrap();
            let finished = snapshot.finish().unwrap();
            store.snapshot_finished(finished).unwrap();
            store.commit(&[Record::Time(now())]).unwrap();
        }
    }
    let book: Book = Box::new(|| {
        let records = [Some(Record::Lease(lease(address(1), 1, ago(3600), 7200)))];
        Box::new(records.into_iter())
    });
    let (store, history) = open(world.directory.path(), &section(180), book);
    (world.store, world.history) = (Some(store), Some(history));
    assert_eq!(who(&world.ask(By::Address(address(1)))), [(hardware(1), None)]);
    let released = Lease {
        state: BindingState::Released,
        changed: now(),
        ends: now(),
        ..lease(address(1), 1, ago(3600), 7200)
    };
    world.leases([released]);
    assert_eq!(who(&world.ask(By::Address(address(1)))), [(hardware(1), Some(Ended::Released))]);
}

#[test]
fn pages_of_any_size_have_everything_once_and_in_order() {
    let mut world = World::new();
    let count = RECENT_INTERVALS_MAX + 500;
    let start = ago(9 * DAY);
    // One device that wanders, beside the crowd, and many that begin in the same second.
    let wanderer = (0..300).map(|hop: u32| {
        let start = start.plus_seconds(u64::from(hop) * 2000);
        lease(address(hop), 1, start, 1000)
    });
    world.leases(wanderer);
    world.leases(crowd(count));
    let circuit = By::Circuit(Box::from(*b"eth/7"));
    for (by, wanted) in [(By::Hardware(hardware(1)), 300), (circuit, count + 300)] {
        for limit in [1, 7, 299, 300, 301, 1000] {
            if wanted / limit > 500 {
                continue;
            }
            let told = all(by.clone(), Timestamp::ZERO, Timestamp::FOREVER, limit, &|question| {
                settled(world.history.as_ref().unwrap(), question)
            });
            assert_eq!(told.len(), wanted, "{by:?} {limit}");
            let order: Vec<_> =
                told.iter().map(|it| (it.holding.from, it.holding.address)).collect();
            assert!(order.is_sorted_by(|one, other| one < other), "{by:?} {limit}");
        }
    }
    let window = (start.plus_seconds(10_000), start.plus_seconds(20_000));
    let told = world.ask_within(By::Hardware(hardware(1)), window.0, window.1);
    assert_eq!(told.len(), 5);
}
