//! Runs a test function once more in a network, mount and process namespace of its own.
//!
//! A test of kernel tables cannot share the machine's: it would meet others' rules, and others its own.
//! So the test's body runs in a second process, the same test binary told to run just this test, under
//! util-linux's `unshare`:
//!
//! ```no_run
//! # // In a file of tests this stands below #[test].
//! fn a_table_can_be_made() {
//!     vestibule_tests::isolated!(|| {
//!         vestibule_tests::isolated::command("nft add table inet mine");
//!     });
//! }
//! ```
//!
//! It promises a clean network stack with nothing but the loopback interface (up), an empty `/run` (so
//! that `ip netns` names are private too), and that everything ends with the test: the namespaces go,
//! and the kernel kills every process that was started in them. So tests run in parallel. It works as
//! root, and as an ordinary user where the kernel allows user namespaces; where neither goes, the test
//! fails and says why. It never touches the network it was called in.
//!
//! Output of the body is shown only if it fails.

#![allow(unsafe_code, reason = "a thread can enter a network namespace only by setns")]

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Tells a process that it is the second one, and what for.
const MARK: &str = "VESTIBULE_ISOLATED";
/// The mark of a process that has namespaces of its own.
const MARK_ISOLATED: &str = "isolated";
/// How long [`until`] waits before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often [`until`] looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Runs a closure in namespaces of its own: see the [module](crate::isolated). Used once, as the whole
/// body of a `#[test]` function.
#[macro_export]
macro_rules! isolated {
    ($body:expr) => {{
        fn here() {}
        $crate::isolated::run($crate::isolated::test_name(std::any::type_name_of_val(&here)), $body)
    }};
}

/// The name of the test that `here`, a function inside it, belongs to; for [`isolated!`].
#[must_use]
pub fn test_name(here: &str) -> &str {
    let outer = here.rsplit_once("::").map_or(here, |(outer, _)| outer);
    outer.split_once("::").map_or(outer, |(_crate, name)| name)
}

/// Runs `body` in namespaces of its own; `test` is the test's name as the test binary lists it.
///
/// # Panics
/// If the body does, or if the namespaces cannot be made.
pub fn run(test: &str, body: impl FnOnce()) {
    if mark().is_some() {
        if mark().as_deref() == Some(MARK_ISOLATED) {
            command("mount -t tmpfs tmpfs /run");
            command("ip link set lo up");
        }
        body();
        return;
    }
    let mut unshare =
        vec!["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !is_root() {
        unshare.extend(["--user", "--map-root-user"]);
    }
    again(test, MARK_ISOLATED, &unshare);
}

/// What this process was started for: `None` if by the test runner, else the mark given to [`again`].
#[must_use]
pub fn mark() -> Option<String> {
    std::env::var(MARK).ok()
}

/// Runs the test once more in another process, started by the command `wrapper`, that finds `mark`.
///
/// # Panics
/// If it does not pass.
pub fn again(test: &str, mark: &str, wrapper: &[&str]) {
    let (program, arguments) = wrapper.split_first().expect("a wrapper is a command");
    let test_binary = std::env::current_exe().expect("a process knows its program");
    let output = Command::new(program)
        .args(arguments)
        .arg(test_binary)
        .args(["--exact", test, "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(MARK, mark)
        .env("RUST_BACKTRACE", "0")
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} could not be run: {error}"));
    let text = both(&output);
    // A name that matches no test would pass too.
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test} failed in its own namespaces ({}).\n\
         If nothing of the test is below, they could not be made: that needs root (CAP_SYS_ADMIN) or \
         a kernel that lets users make user namespaces.\n{text}",
        output.status,
    );
}

/// Runs a program, its words separated by spaces, and gives what it wrote.
///
/// # Panics
/// If it fails.
pub fn command(line: &str) -> String {
    let output = attempt(line);
    assert!(output.status.success(), "{line}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program, its words separated by spaces, whatever comes of it.
///
/// # Panics
/// If there is no such program.
pub fn attempt(line: &str) -> Output {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a name");
    Command::new(program)
        .args(words)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} could not be run: {error}"))
}

/// Both streams of a program's output.
#[must_use]
pub fn both(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{stdout}{stderr}")
}

/// Waits until `condition` gives something.
///
/// # Panics
/// If it gave nothing for 20 seconds.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "this did not come: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A further network namespace inside, by its name for `ip netns`.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: &'static str,
}

impl Namespace {
    /// Makes it, with its loopback interface up.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        command(&format!("ip netns add {name}"));
        let namespace = Self { name };
        namespace.command("ip link set lo up");
        namespace
    }

    /// Its name for `ip netns`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// As [`command`], in it.
    ///
    /// # Panics
    /// As [`command`].
    pub fn command(&self, line: &str) -> String {
        command(&format!("ip netns exec {} {line}", self.name))
    }

    /// Runs `body` in it, on a thread of its own. Sockets that it makes stay in the namespace, wherever
    /// they are used.
    ///
    /// # Panics
    /// If the body does.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let path = PathBuf::from("/run/netns").join(self.name);
        let file = std::fs::File::open(&path)
            .unwrap_or_else(|error| panic!("{} could not be opened: {error}", path.display()));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the descriptor is open; only this thread, which ends here, changes.
                let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
                body()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn is_root() -> bool {
    // SAFETY: it only reads.
    unsafe { libc::geteuid() == 0 }
}

/// Where network programs are; the PATH of an ordinary user lacks half of it.
fn path() -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    format!("{given}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}
