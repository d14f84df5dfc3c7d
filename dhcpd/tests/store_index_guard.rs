//! A panic of the index's library does not end the server: the thread stops, the index is left alone,
//! and the next start is told.
//!
//! In a test binary of its own, because the guard is for a whole process.

mod store_support;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use store_support::lease;
use vestibule_core::Record;
use vestibule_dhcpd::store::index::{Index, IndexOptions, IndexState, SearchKey, guard};

/// Tells a process that it is the one with the guard.
const MARK: &str = "VESTIBULE_GUARDED";

/// The thread that is stopped stays in the panic hook for good, and the test runner wants to change the
/// hook at its end; so the guarded process ends by itself, and this one asks how.
#[test]
fn a_panic_of_the_index_stops_the_index_and_nothing_else() {
    if std::env::var_os(MARK).is_some() {
        let result = std::panic::catch_unwind(guarded);
        std::process::exit(i32::from(result.is_err()));
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_of_the_index_stops_the_index_and_nothing_else", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&said));
}

fn guarded() {
    let directory = tempfile::tempdir().unwrap();
    guard::install(directory.path());
    let options = IndexOptions {
        probe_program: "/bin/false".into(),
        probe_arguments: Vec::new(),
        probe_time_max: Duration::from_secs(60),
        rebuild_rest: Duration::ZERO,
    };
    let leases = (0..10).map(|number| Ok(lease(number, 1, false)));
    let index = Index::open(&directory.path().join("index"), options, 1, leases).unwrap();
    assert!(index.wait_until_fed(Duration::from_secs(60)));
    let key = SearchKey::Hardware(lease(3, 1, false).hardware);
    assert_eq!(index.search(&key, 10).unwrap().len(), 1);

    // Any other panic goes its way.
    let other = thread::Builder::new().name("commit".into()).spawn(|| panic!("a defect")).unwrap();
    assert!(other.join().is_err());
    assert_eq!((index.state(), guard::recent_panics(directory.path())), (IndexState::Ready, 0));

    // As sled's own threads do on damage. It never ends, and so never takes the process along.
    let stopped = thread::Builder::new()
        .name("sled-io-7".into())
        .spawn(|| panic!("cannot find pid"))
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while guard::recent_panics(directory.path()) == 0 {
        assert!(Instant::now() < deadline, "no note was written");
        thread::yield_now();
    }
    assert!(!stopped.is_finished());
    assert!(matches!(index.state(), IndexState::Failed(_)), "{}", index.state());
    assert!(index.search(&key, 10).is_err());
    assert!(
        !index.wait_until_fed(Duration::from_secs(60)),
        "it does not wait for what never comes"
    );
    assert_eq!(index.needs_rebuild(), None, "sled holds its files as long as this process lives");
    index.feed(2, &[Record::Lease(lease(11, 1, false))]);
    // Nor does the end of the server wait for a thread that has stopped.
    drop(index);
}
