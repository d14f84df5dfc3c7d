//! A campus made of network namespaces, for tests and the demo.
//!
//! A [`Lab`] is one process in process, mount, network and host name namespaces of its own (and in a
//! user namespace when the caller is not root); its [`Host`]s are further namespaces inside. It
//! promises that nothing leaks: the lab's files live on a file system that only the lab sees, and the
//! end of the process that owns the lab, even by SIGKILL, ends every process, namespace, link and
//! file in it. So any number of labs can run at once, and a leftover cannot exist.
//!
//! It never touches the machine's own network, `/etc`, `/run` or DHCP clients' folders, and it needs
//! no unsafe code: util-linux's `unshare` and `nsenter` do the entering.

mod campus;
mod client;
mod error;
mod host;
mod process;
mod wait;

pub use campus::{Answer, Campus, Gate, Site, SiteKind, TOKEN_FILE, VESTIBULE_TOML, peer, program};
pub use client::{Client, ClientProgram};
pub use error::LabError;
pub use host::{Host, Output};
pub use process::Process;
pub use wait::{DEADLINE, until, until_ok};

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Folders that a lab may hide with its own file system, in order of preference. One is enough; the
/// programs under test must not lie below it.
const FOLDERS_TO_HIDE: [&str; 4] = ["/mnt", "/srv", "/media", "/opt"];

/// Where system programs are; the PATH of an ordinary user lacks half of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of each log that a failing test prints at most.
const LOG_PRINTED_BYTES_MAX: usize = 16 * 1024;

/// A set of namespaces that ends with its owner. Cheap to clone; the last clone ends it.
#[derive(Clone, Debug)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The outermost process; its only child is the lab's first process.
    unshare: Mutex<Child>,
    /// Held open: its end is the lab's end.
    life: Mutex<Option<ChildStdin>>,
    /// The lab's first process, as seen from outside.
    process_id: u32,
    /// The lab's folder, as seen from inside.
    folder: PathBuf,
    /// Whether we are in a user namespace of our own.
    user_namespace: bool,
    /// Keepers of the hosts' namespaces.
    keepers: Mutex<Vec<Child>>,
    ports: AtomicUsize,
}

/// How to enter namespaces: those of the lab's first process, or of a host's keeper.
#[derive(Clone, Copy, Debug)]
struct Target {
    process_id: u32,
    user_namespace: bool,
}

impl Lab {
    /// A new, empty lab.
    ///
    /// # Errors
    /// [`LabError::Machine`] if this machine lets us make no namespaces.
    pub fn new() -> Result<Self, LabError> {
        let what = "making namespaces (unshare)";
        let machine = |said: String| LabError::Machine { what: what.to_owned(), said };
        let folder = folder_to_hide().map_err(machine)?;
        let user_namespace = !is_root();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child"]);
        if user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", include_str!("init.sh"), "init"]).arg(&folder);
        environment(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut unshare = command.spawn().map_err(|error| machine(error.to_string()))?;
        let life = unshare.stdin.take();
        let said = first_line(&mut unshare);
        let Ok(process_id) = said.trim().parse() else {
            drop(life);
            return Err(machine(said + &complaint(&mut unshare)));
        };
        let inner = Inner {
            unshare: Mutex::new(unshare),
            life: Mutex::new(life),
            process_id,
            folder,
            user_namespace,
            keepers: Mutex::new(Vec::new()),
            ports: AtomicUsize::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A new host: its own network, its own `/etc`, `/run` and DHCP clients' folders, no link yet but
    /// the loopback.
    ///
    /// # Errors
    /// [`LabError::Machine`] if it cannot be made.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        let machine =
            |said: String| LabError::Machine { what: format!("making the host {name}"), said };
        let mut command = self.target().command();
        command.args([
            "unshare",
            "--net",
            "--mount",
            "--uts",
            "sh",
            "-c",
            include_str!("host.sh"),
            "host",
        ]);
        command.arg(&self.inner.folder).arg(name);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| machine(error.to_string()))?;
        let said = first_line(&mut keeper);
        let ids: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[outside, inside] = ids.as_slice() else {
            return Err(machine(said + &complaint(&mut keeper)));
        };
        lock(&self.inner.keepers).push(keeper);
        let target = Target { process_id: outside, user_namespace: self.inner.user_namespace };
        Ok(Host::new(self.clone(), name, target, inside))
    }

    /// A cable between two hosts: each gets an interface with the name given, up.
    ///
    /// # Errors
    /// [`LabError::Command`] if an interface of that name exists.
    pub fn link(&self, one: (&Host, &str), other: (&Host, &str)) -> Result<(), LabError> {
        let batch = format!(
            "link add {} netns {} type veth peer name {} netns {}\n",
            one.1,
            one.0.process_id_inside(),
            other.1,
            other.0.process_id_inside()
        );
        self.ip_batch(&batch)?;
        one.0.ip(&format!("link set dev {} up", one.1))?;
        other.0.ip(&format!("link set dev {} up", other.1))
    }

    /// A switch, for [`Lab::plug`].
    ///
    /// # Errors
    /// [`LabError::Command`] if there is one of that name.
    pub fn switch(&self, name: &str) -> Result<(), LabError> {
        self.ip_batch(&format!(
            "link add {name} type bridge mcast_snooping 0\nlink set dev {name} up"
        ))
    }

    /// Plugs a host into a switch: it gets an interface with the name given, up.
    ///
    /// # Errors
    /// [`LabError::Command`] if there is no such switch, or the host has an interface of that name.
    pub fn plug(&self, switch: &str, host: &Host, interface: &str) -> Result<(), LabError> {
        let port = self.inner.ports.fetch_add(1, Ordering::Relaxed);
        self.ip_batch(&format!(
            "link add port{port} type veth peer name {interface} netns {}\nlink set dev port{port} master {switch} up",
            host.process_id_inside()
        ))?;
        host.ip(&format!("link set dev {interface} up"))
    }

    /// Prints the end of every log to standard error.
    pub fn print_logs(&self) {
        print_logs(&self.logs());
    }

    /// The folder of the logs, as this process can read it.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.outside().join("log")
    }

    /// The lab's folder, as processes in the lab see it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The lab's folder, as this process sees it.
    fn outside(&self) -> PathBuf {
        outside(self.inner.process_id, &self.inner.folder)
    }

    fn target(&self) -> Target {
        Target { process_id: self.inner.process_id, user_namespace: self.inner.user_namespace }
    }

    fn ip_batch(&self, batch: &str) -> Result<(), LabError> {
        host::ip_batch(self.target(), "lab", batch)
    }
}

impl Target {
    /// A command that starts in these namespaces; the program and its arguments are still to be added.
    fn command(self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process_id.to_string()]);
        if self.user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        // Root and working folder too, or a lab made in a chroot would find itself outside of it.
        command.args(["--mount", "--net", "--pid", "--uts", "--root", "--wd", "--"]);
        environment(&mut command);
        command
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_logs(&outside(self.process_id, &self.folder).join("log"));
        }
        // The end of this pipe is the end of the lab's first process, and so of everything in it.
        drop(lock(&self.life).take());
        // Waiting only collects what the kernel has killed; a failure leaves nothing behind.
        let _ = lock(&self.unshare).wait();
        for keeper in lock(&self.keepers).iter_mut() {
            let _ = keeper.wait();
        }
    }
}

/// The path by which a process outside sees a file of the mount namespace of `process_id`.
fn outside(process_id: u32, path: &Path) -> PathBuf {
    let mut outside = PathBuf::from(format!("/proc/{process_id}/root"));
    outside.extend(path.components().skip(1));
    outside
}

fn environment(command: &mut Command) {
    // Without our own programs' folder, those programs are not found, and that is said then.
    let ours =
        own_program().map(|here| programs_folder(&here).display().to_string()).unwrap_or_default();
    command
        .env_clear()
        .env("PATH", format!("{ours}:{PATH}"))
        .env("LC_ALL", "C")
        .env("HOME", "/")
        .env("TERM", "dumb");
    command.current_dir("/");
}

fn folder_to_hide() -> Result<PathBuf, String> {
    let here = own_program().map_err(|error| error.to_string())?;
    FOLDERS_TO_HIDE
        .into_iter()
        .map(PathBuf::from)
        .find(|folder| folder.is_dir() && !here.starts_with(folder))
        .ok_or_else(|| {
            format!("none of {FOLDERS_TO_HIDE:?} is a folder that the lab's files can hide")
        })
}

/// The program that runs now.
fn own_program() -> Result<PathBuf, LabError> {
    std::env::current_exe()
        .map_err(|error| LabError::File { path: "/proc/self/exe".to_owned(), error })
}

/// Where our programs lie: beside `here`, or one folder up if it is a test.
fn programs_folder(here: &Path) -> PathBuf {
    let folder = here.parent().unwrap_or(here);
    if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder).to_owned()
    } else {
        folder.to_owned()
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of our own entry in /proc is who we are.
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The first line of a child's standard output; empty if it ended without one.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // What cannot be read is no process id, which is what the caller looks for.
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    line
}

/// What a child that has failed wrote to standard error.
fn complaint(child: &mut Child) -> String {
    let mut complaint = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        // It is for a person; what cannot be read of it is left out.
        let _ = stderr.read_to_end(&mut complaint);
    }
    let _ = child.wait();
    String::from_utf8_lossy(&complaint).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn print_logs(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let skipped = bytes.len().saturating_sub(LOG_PRINTED_BYTES_MAX);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("---- {name} ({skipped} bytes left out)");
        eprintln!("{}", String::from_utf8_lossy(bytes.get(skipped..).unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hosts_on_a_lan_reach_each_other_and_nothing_of_the_machine() {
        let lab = Lab::new().unwrap();
        let (one, other) = (lab.host("one").unwrap(), lab.host("other").unwrap());
        lab.switch("lan").unwrap();
        lab.plug("lan", &one, "eth0").unwrap();
        lab.plug("lan", &other, "eth0").unwrap();
        one.ip("address add 192.0.2.1/24 dev eth0").unwrap();
        other.ip("address add 192.0.2.2/24 dev eth0").unwrap();
        one.ok("ping -c 1 -W 5 192.0.2.2").unwrap();
        assert_eq!(one.ok("hostname").unwrap().trim(), "one");
        assert_eq!(one.ok("cat /etc/hostname").unwrap().trim(), "one");
        assert_eq!(one.ok("ls /sys/class/net >/dev/null; ip -o link | wc -l").unwrap().trim(), "2");
    }

    #[test]
    fn what_a_host_writes_into_its_folders_stays_in_that_host() {
        let lab = Lab::new().unwrap();
        let (one, other) = (lab.host("one").unwrap(), lab.host("other").unwrap());
        one.ok("echo nameserver 192.0.2.53 >/etc/resolv.conf; touch /run/of-one").unwrap();
        assert_eq!(one.read("/etc/resolv.conf").unwrap(), "nameserver 192.0.2.53\n");
        assert_eq!(other.read("/etc/resolv.conf").unwrap(), "");
        assert!(!other.run("test -e /run/of-one").unwrap().success());
        assert!(!Path::new("/run/of-one").exists());
        one.write("/etc/of-one/file", "text").unwrap();
        assert_eq!(one.ok("cat /etc/of-one/file").unwrap(), "text");
        one.write("/usr/of-one", "text").unwrap_err();
    }

    #[test]
    fn the_end_of_a_lab_is_the_end_of_its_processes() {
        let lab = Lab::new().unwrap();
        let host = lab.host("host").unwrap();
        let process = host.start("sleeper", "sleep 1000").unwrap();
        let id = process.process_id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop((process, host, lab));
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_signal_reaches_the_process_itself() {
        let lab = Lab::new().unwrap();
        let host = lab.host("host").unwrap();
        let mut process = host
            .start("counter", r#"sh -c 'trap "echo got it; exit 3" USR1; echo waiting; while :; do sleep 0.01; done'"#)
            .unwrap();
        process.wait_line("waiting").unwrap();
        process.signal("USR1").unwrap();
        process.wait_line("got it").unwrap();
        assert_eq!(process.wait_end().unwrap().code(), Some(3));
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_output() {
        let lab = Lab::new().unwrap();
        let host = lab.host("host").unwrap();
        let error = host.ok("echo out; echo err >&2; exit 4").unwrap_err().to_string();
        assert!(error.contains("out\nerr\n") && error.contains("exit status: 4"), "{error}");
    }
}
