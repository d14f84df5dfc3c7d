//! Disks that fail under the real server: full, read-only, gone in the middle of a write. What it says,
//! how it ends, and that every lease that it acknowledged is there when the disk is well again (P2, P7).
//!
//! The disks are real ones: a tmpfs of a few megabytes, and an ext4 file system on a loop device whose
//! power is cut by the kernel (`FS_IOC_SHUTDOWN`): what had not been synced is gone. One that answers a single
//! operation with EIO stands between the server and its C library (`shims/failing_disk.c`).

#![allow(unsafe_code, reason = "the ioctl that shuts a file system down has no safe wrapper")]

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use vestibule_core::{BindingState, ClientIdentifier, HardwareAddress, Lease, Record, Timestamp};
use vestibule_dhcpd::store::index::guard;
use vestibule_dhcpd::store::{Store, StoreOptions};
use vestibule_tests::isolated::{attempt, both, command, until};
use vestibule_tests::lab::program;

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/state"
relay-listen = ["10.0.0.67"]

[leases]
lifetime = "2h"

[[network]]
name = "halls"
gated = false

[[network.subnet]]
prefix = "10.20.0.0/16"
pools = ["10.20.0.10-10.20.255.250"]

[gate]
mode = "off"

[api]
listen = "unix:/run/api"
token-file = "/run/token"
"#;

const STATE: &str = "/run/state";
const LEDGER: &str = "/run/ledger.jsonl";

/// A program of ours that runs, and what it says.
struct Running {
    child: Child,
    log: &'static str,
}

impl Running {
    fn start(name: &str, arguments: &str, log: &'static str) -> Self {
        Self::start_with(name, arguments, log, &[])
    }

    fn start_with(
        name: &str,
        arguments: &str,
        log: &'static str,
        environment: &[(&str, &str)],
    ) -> Self {
        let child = Command::new(program(name).unwrap())
            .args(arguments.split_whitespace())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log).unwrap()
    }

    fn wait_end(&mut self) -> ExitStatus {
        until("the program ends", || self.child.try_wait().unwrap())
    }

    fn stop(mut self) {
        command(&format!("kill -TERM {}", self.child.id()));
        assert!(self.wait_end().success(), "{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ours; the namespaces end right after.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn set_up() {
    command("ip address add 10.0.0.67/32 dev lo");
    command("ip address add 10.20.0.1/32 dev lo");
    fs::write("/run/vestibule.toml", CONFIG).unwrap();
    fs::write("/run/token", "a-token-of-some-length\n").unwrap();
    command("chmod 600 /run/token");
    fs::create_dir(STATE).unwrap();
}

fn start_server() -> Running {
    start_server_with(&[])
}

fn start_server_with(environment: &[(&str, &str)]) -> Running {
    let arguments = "--config /run/vestibule.toml";
    let mut server =
        Running::start_with("vestibule-dhcpd", arguments, "/run/server.log", environment);
    until("the server is ready", || {
        assert!(server.child.try_wait().unwrap().is_none(), "it ended: {}", server.log());
        server.log().contains("ready").then_some(())
    });
    server
}

fn start_server_anyway() -> Running {
    Running::start("vestibule-dhcpd", "--config /run/vestibule.toml", "/run/server.log")
}

fn start_load(first_client: u32) -> Running {
    let arguments = format!(
        "dora --server 10.0.0.67 --giaddr 10.20.0.1 --clients 20000 --first-client {first_client} --in-flight 32 \
         --ledger {LEDGER} --first-wait 200"
    );
    Running::start("vestibule-load", &arguments, "/run/load.log")
}

fn acknowledged() -> usize {
    fs::read_to_string(LEDGER).map_or(0, |text| text.lines().count())
}

/// Every lease that was ever acknowledged is still its client's.
fn check_ledger() {
    let line = format!(
        "{} check --server 10.0.0.67 --giaddr 10.20.0.1 --ledger {LEDGER} --first-wait 500 --seconds 60",
        program("vestibule-load").unwrap().display()
    );
    let said = command(&line);
    assert!(said.contains(" leases: 0 gone"), "{said}");
}

fn status() -> String {
    let vestibule = program("vestibule").unwrap();
    both(&attempt(&format!("{} status --config /run/vestibule.toml", vestibule.display())))
}

/// A store whose first segment is nearly full, as after weeks of work.
fn fill_the_first_segment(bytes_left: u64) {
    let (mut store, _) = Store::open(Path::new(STATE), StoreOptions::default()).unwrap();
    let hardware = HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]);
    let time = Timestamp::from_seconds(1_000_000);
    let record = Record::Lease(Lease {
        address: [192, 0, 2, 1].into(),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Released,
        started: time,
        changed: time,
        ends: time,
        relay: None,
        relay_agent: Some(vec![1; 255].into()),
        host_name: Some(vec![b'h'; 255].into()),
    });
    let mut left = store.health().segment_bytes_left;
    while left > bytes_left {
        let count = usize::try_from((left - bytes_left) / 600 + 1).unwrap().min(500);
        store.commit(&vec![record.clone(); count]).unwrap();
        left = store.health().segment_bytes_left;
    }
    assert_eq!(store.health().segments, 1);
}

fn fill_the_disk() {
    let mut file = fs::File::create(format!("{STATE}/full")).unwrap();
    for bytes in [1 << 20, 4096] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_told_ahead_and_ends_the_server_when_the_journal_needs_it() {
    vestibule_tests::isolated!(|| {
        set_up();
        command(&format!("mount -t tmpfs -o size=90m tmpfs {STATE}"));
        fill_the_first_segment(100_000);
        for entry in fs::read_dir(STATE).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("spare-") {
                fs::remove_file(path).unwrap();
            }
        }
        fill_the_disk();
        let mut server = start_server();
        until("the status tells", || {
            status().contains("no further journal segment can be prepared").then_some(())
        });
        let load = start_load(0);
        let ended = server.wait_end();
        assert_eq!(ended.code(), Some(74), "{}", server.log());
        let log = server.log();
        assert!(log.contains("stable storage failed"), "{log}");
        assert!(log.contains("no room for another journal segment in /run/state"), "{log}");
        assert!(log.contains("No space left on device") && log.contains("free space"), "{log}");
        drop(load);
        assert!(acknowledged() > 100, "{}", acknowledged());
        // As soon as there is room, it goes on.
        fs::remove_file(format!("{STATE}/full")).unwrap();
        let server = start_server();
        check_ledger();
        server.stop();
    });
}

#[test]
fn a_read_only_file_system_is_refused_with_its_remedy() {
    vestibule_tests::isolated!(|| {
        set_up();
        command(&format!("mount -t tmpfs -o size=200m tmpfs {STATE}"));
        start_server().stop();
        command(&format!("mount -o remount,ro {STATE}"));
        let mut server = start_server_anyway();
        assert_eq!(server.wait_end().code(), Some(1));
        let log = server.log();
        assert!(
            log.contains("Read-only file system") && log.contains("mount it writable"),
            "{log}"
        );
        command(&format!("mount -o remount,rw {STATE}"));
        start_server().stop();
    });
}

/// Cuts the power of the file system: nothing that was not synced gets to its disk any more, and every
/// operation on it fails with EIO.
fn cut_the_power() {
    // _IOR('X', 125, u32), and the way that does not even write the file system's own journal out.
    const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    let directory = fs::File::open(STATE).unwrap();
    let flags = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open, and the call reads four bytes that live longer than it.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A process that looks through the index for the server may outlive it by a moment.
fn unmount() {
    let line = format!("umount {STATE}");
    until("it is unmounted", || attempt(&line).status.success().then_some(()));
}

#[test]
fn a_disk_that_goes_away_under_load_ends_the_server_and_no_acknowledged_lease_is_lost() {
    vestibule_tests::isolated!(|| {
        set_up();
        command("truncate -s 300M /run/image");
        command("mkfs.ext4 -q -F /run/image");
        let rounds: u32 = vestibule_tests::rounds("VESTIBULE_POWER_CUT_ROUNDS", 3);
        for round in 0..rounds {
            command(&format!("mount -o loop /run/image {STATE}"));
            let mut server = start_server();
            if round > 0 {
                check_ledger();
            }
            let load = start_load(round * 20_000);
            let enough = acknowledged() + 100 + 37 * usize::try_from(round % 16).unwrap();
            until("the load runs", || (acknowledged() >= enough).then_some(()));
            cut_the_power();
            let ended = server.wait_end();
            let log = server.log();
            assert_eq!(ended.code(), Some(74), "{log}");
            assert!(log.contains("stable storage failed"), "{log}");
            assert!(log.contains("Input/output error") && log.contains("check the disk"), "{log}");
            drop(load);
            drop(server);
            unmount();
        }
        command(&format!("mount -o loop /run/image {STATE}"));
        let server = start_server();
        check_ledger();
        server.stop();
        unmount();
        println!("{rounds} cuts of a real ext4, {} ACKs, none lost", acknowledged());
    });
}

/// What the failing sync had to make durable is gone; so an ACK that left for it would show.
#[test]
fn an_input_output_error_on_a_sync_or_a_write_ends_the_server_and_nobody_was_answered_for_it() {
    const STRIKE: &str = "/run/strike";
    const STRUCK: &str = "/run/struck";
    vestibule_tests::isolated!(|| {
        set_up();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shims/failing_disk.c");
        command(&format!("cc -shared -fPIC -Wall -Werror -o /run/shim.so {source} -ldl"));
        for (round, (operation, said)) in (0..).zip([("sync", "sync"), ("write", "write to")]) {
            let mut server = start_server_with(&[
                ("LD_PRELOAD", "/run/shim.so"),
                ("FAILING_DISK_ON", operation),
                ("FAILING_DISK_STRIKE", STRIKE),
                ("FAILING_DISK_STRUCK", STRUCK),
            ]);
            let load = start_load(round * 20_000);
            let enough = acknowledged() + 500;
            until("the load runs", || (acknowledged() >= enough).then_some(()));
            fs::write(STRIKE, "").unwrap();
            let ended = server.wait_end();
            let log = server.log();
            assert_eq!(ended.code(), Some(74), "{log}");
            assert!(log.contains("stable storage failed"), "{log}");
            assert!(log.contains(&format!("cannot {said} /run/state/journal-")), "{log}");
            assert!(log.contains("Input/output error") && log.contains("check the disk"), "{log}");
            let struck = fs::read_to_string(STRUCK).unwrap();
            assert_eq!(struck.lines().count(), 1, "it was tried again: {log}");
            drop(load);
            fs::remove_file(STRIKE).unwrap();
            fs::remove_file(STRUCK).unwrap();
            let server = start_server();
            check_ledger();
            server.stop();
        }
        println!("a failed sync, a failed write, {} ACKs, none lost", acknowledged());
    });
}

#[test]
fn a_damaged_index_never_keeps_the_server_from_starting() {
    vestibule_tests::isolated!(|| {
        set_up();
        let server = start_server();
        until("there is an index", || Path::new("/run/state/index/db").exists().then_some(()));
        server.stop();
        for garbage in [&[0x5a; 100_000][..], b""] {
            fs::write("/run/state/index/db", garbage).unwrap();
            let server = start_server();
            until("the index is made anew", || {
                server.log().contains("the index has been made anew").then_some(())
            });
            assert!(!status().contains("there is no index"), "{}", status());
            server.stop();
        }
        // One whose library panics over and over is left out, and that is said.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let note = Path::new(STATE).join(guard::NOTE);
        fs::write(&note, format!("{now} panicked\n").repeat(guard::PANICS_PER_DAY_MAX)).unwrap();
        let server = start_server();
        assert!(status().contains("NOT WELL: there is no index"), "{}", status());
        assert!(server.log().contains("delete the note"), "{}", server.log());
        server.stop();
        fs::remove_file(note).unwrap();
        let server = start_server();
        assert!(!status().contains("there is no index"), "{}", status());
        server.stop();
    });
}
