//! What the kernel says of the machine, of this thread's time and of a server's process: from /proc.
//!
//! It promises that what cannot be read is absent, or empty, and never a guess.

use crate::result::Machine;
use std::time::Duration;

/// Ticks of a second in `/proc/PID/stat`: the same on every Linux (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// This machine.
#[must_use]
pub fn machine() -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
    let kibibytes = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| number(&text));
    Machine {
        processor,
        processors: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        memory_bytes: kibibytes.unwrap_or(0) * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What a thread had of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// How long it ran.
    pub ran: Duration,
    /// How long it waited for a processor although it could have run.
    pub waited: Duration,
}

/// This thread's time until now; zero if the kernel does not count it.
#[must_use]
pub fn thread_time() -> ThreadTime {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut nanoseconds = text.split_whitespace().filter_map(|word| word.parse().ok());
    let mut next = || Duration::from_nanos(nanoseconds.next().unwrap_or(0));
    ThreadTime { ran: next(), waited: next() }
}

/// A process's time and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessCost {
    /// Processor time since it began, in microseconds, to the hundredth of a second.
    pub processor_microseconds: u64,
    /// Memory in use.
    pub memory_bytes: u64,
}

/// What a process has cost until now; `None` if there is none of that number.
#[must_use]
pub fn process_cost(process: u32) -> Option<ProcessCost> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may have spaces; what follows it is counted from field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.saturating_add(ticks()?);
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(ProcessCost {
        processor_microseconds: ticks.saturating_mul(1_000_000 / TICKS_PER_SECOND),
        memory_bytes: field(&status, "VmRSS").and_then(|text| number(&text))? * 1024,
    })
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_machine_are_there() {
        let cost = process_cost(std::process::id()).unwrap();
        assert!(cost.memory_bytes > 100_000, "{cost:?}");
        assert_eq!(process_cost(u32::MAX), None);
        let machine = machine();
        assert!(machine.processors > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
    }
}
