//! A part of a processor for a server, so that a load client on the same machine can offer it more than
//! it can serve: a control group of the kernel's with a quota of processor time.
//!
//! It promises that only the process that it was given, and what that starts, is held to the quota; that
//! the quota is given out in short pieces, so that the server stands still for milliseconds and not for
//! tenths of a second; and that the group is gone when it is dropped. It never changes a group that it
//! has not made: where the kernel has no such groups for us, there is an error that says so.

use super::BenchError;
use crate::lab::until;
use std::fs;
use std::path::{Path, PathBuf};

/// How often the quota is given out anew, in microseconds.
const PERIOD_MICROSECONDS: u32 = 5000;
/// Where control groups are, of version 2 and of version 1.
const GROUPS: &str = "/sys/fs/cgroup";
const GROUPS_VERSION_1: &str = "/sys/fs/cgroup/cpu";

/// See the module.
#[derive(Debug)]
pub struct Share {
    folder: PathBuf,
}

impl Share {
    /// A group whose processes have so many hundredths of one processor together.
    ///
    /// # Errors
    /// [`BenchError::NoShare`] if the kernel has no such groups, or none for us.
    pub fn new(percent: u32) -> Result<Self, BenchError> {
        let is_version_2 = Path::new(GROUPS).join("cgroup.controllers").exists();
        let parent = Path::new(if is_version_2 { GROUPS } else { GROUPS_VERSION_1 });
        let folder = parent.join(format!("vestibule-bench-{}", std::process::id()));
        fs::create_dir(&folder).map_err(no_share(&folder))?;
        // From here on it is removed also when something fails.
        let share = Self { folder };
        let quota = PERIOD_MICROSECONDS * percent / 100;
        if is_version_2 {
            share.write("cpu.max", &format!("{quota} {PERIOD_MICROSECONDS}"))?;
        } else {
            share.write("cpu.cfs_period_us", &PERIOD_MICROSECONDS.to_string())?;
            share.write("cpu.cfs_quota_us", &quota.to_string())?;
        }
        Ok(share)
    }

    /// Holds a process to the quota from now on, with all its threads.
    ///
    /// # Errors
    /// [`BenchError::NoShare`].
    pub fn hold(&self, process_id: u32) -> Result<(), BenchError> {
        self.write("cgroup.procs", &process_id.to_string())
    }

    fn write(&self, name: &str, value: &str) -> Result<(), BenchError> {
        let path = self.folder.join(name);
        // Not `fs::write`, which would make a file where the kernel has none.
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
            .map_err(no_share(&path))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // The kernel refuses while a process in it has not quite ended.
        let removed = until("the control group is empty", || fs::remove_dir(&self.folder).ok());
        if let Err(error) = removed {
            eprintln!("vestibule-bench: {} is left: {error}", self.folder.display());
        }
    }
}

fn no_share(path: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    let path = path.to_owned();
    |error| BenchError::NoShare(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_held_and_the_group_is_gone_with_it() {
        let share = Share::new(50).expect("control groups");
        let folder = share.folder.clone();
        let mut process =
            Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn().expect("coreutils");
        share.hold(process.id()).expect("a group");
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.id())).expect("proc");
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(groups.contains(name), "{groups}");
        assert!(matches!(share.write("no-such-limit", "1"), Err(BenchError::NoShare(..))));
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
        drop(share);
        assert!(!folder.exists());
    }
}
