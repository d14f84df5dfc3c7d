//! `vestibule-scale`: measures what a million leases cost, and prints it.
//!
//! It asserts nothing. `docs/scale.md` says how to read it.

use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vestibule_tests::scale::costs::{self, Campus, KINDS};
use vestibule_tests::scale::daemon::{self, Daemon, DaemonError};
use vestibule_tests::scale::snapshot::{self, Groups};

/// Measures the server with few leases and with many.
#[derive(Debug, Parser)]
#[command(name = "vestibule-scale")]
struct Arguments {
    /// Many: at most 1,000,000.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    leases: u32,
    /// Few, to compare with.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    few: u32,
    /// Steps of each kind.
    #[arg(long, default_value_t = 20_000)]
    rounds: u32,
    /// The daemon to start; if not given, `vestibule-dhcpd` beside this program.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Only the core, without a daemon.
    #[arg(long)]
    core: bool,
    /// Where the daemon's store goes for as long as this runs.
    #[arg(long, default_value = "/tmp")]
    directory: PathBuf,
    /// Waits until the daemon's index has been made, too.
    #[arg(long)]
    index: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.core
        && let Err(error) = measure_daemon(&arguments)
    {
        eprintln!("vestibule-scale: {error}");
        return ExitCode::from(2);
    }
    if arguments.rounds > 0 {
        measure_core(&arguments);
    }
    ExitCode::SUCCESS
}

fn measure_daemon(arguments: &Arguments) -> Result<(), DaemonError> {
    let beside = || {
        let here = std::env::current_exe()?;
        Ok::<_, std::io::Error>(here.with_file_name("vestibule-dhcpd"))
    };
    let program = match &arguments.daemon {
        Some(program) => program.clone(),
        None => beside()?,
    };
    let directory = tempfile::Builder::new().prefix("scale").tempdir_in(&arguments.directory)?;
    println!("the daemon, {} leases in 500 subnets", arguments.leases);
    daemon::prepare(directory.path(), arguments.leases)?;
    one_start(&program, directory.path(), "first start, index made anew", arguments.index)?;
    one_start(&program, directory.path(), "second start", arguments.index)?;
    daemon::configure(directory.path(), true)?;
    one_start(&program, directory.path(), "gate on: all in a kernel set", false)?;
    println!();
    beside_a_snapshot(directory.path(), arguments.leases)
}

fn beside_a_snapshot(directory: &Path, leases: u32) -> Result<(), DaemonError> {
    let Groups { mut without, mut beside, begun, ended, writing } =
        snapshot::beside_a_snapshot(directory, leases)?;
    println!(
        "a group of {} renewals, committed every 2 ms, beside a snapshot of {leases} leases that takes {} ms",
        snapshot::GROUP,
        writing.as_millis()
    );
    for (name, samples) in [("without a snapshot", &mut without), ("beside it", &mut beside)] {
        let [median, p99, p999, worst] =
            [500, 990, 999, 1000].map(|thousandths| samples.quantile(thousandths) / 1000);
        println!(
            "  {name:<20} median {median:>6} us, p99 {p99:>6} us, p99.9 {p999:>6} us, worst {worst:>6} us"
        );
    }
    println!(
        "  the group that begins it {} us, the group that takes it into use {} us",
        begun.as_micros(),
        ended.as_micros()
    );
    println!();
    Ok(())
}

fn one_start(program: &Path, directory: &Path, name: &str, index: bool) -> Result<(), DaemonError> {
    let mut daemon = Daemon::start(program, directory)?;
    let memory = daemon.memory()?;
    println!(
        "  {name:<32} ready after {:>6} ms, resident {:>4} MiB, at most {:>4} MiB",
        daemon.start.as_millis(),
        memory.resident_kib / 1024,
        memory.peak_kib / 1024
    );
    for line in daemon.said().lines().filter(|line| line.contains("records")) {
        println!("    {line}");
    }
    if index {
        daemon.wait_for("index")?;
        let memory = daemon.memory()?;
        println!(
            "    with its index: resident {:>4} MiB, at most {:>4} MiB",
            memory.resident_kib / 1024,
            memory.peak_kib / 1024
        );
    }
    daemon.end()
}

fn measure_core(arguments: &Arguments) {
    let mut few = Campus::new(arguments.few);
    let before = resident_kib();
    let mut many = Campus::new(arguments.leases);
    let after = resident_kib();
    println!(
        "the core alone: {} bytes for each of {} leases",
        after.saturating_sub(before) * 1024 / u64::from(arguments.leases),
        arguments.leases
    );
    println!();
    let mut few_costs = costs::steps(&mut few, arguments.rounds);
    let mut many_costs = costs::steps(&mut many, arguments.rounds);
    println!(
        "{:<26}{:>34}{:>34}{:>9}",
        "one step, nanoseconds",
        format!("{} leases", arguments.few),
        format!("{} leases", arguments.leases),
        "ratio"
    );
    let columns = format!("{:>10}{:>12}{:>12}", "median", "p99", "p99.9");
    println!("{:<26}{columns}{columns}{:>9}", "", "median");
    for (index, kind) in KINDS.iter().enumerate() {
        let quantiles = |costs: &mut costs::Costs| {
            [500, 990, 999].map(|thousandths| costs.samples[index].quantile(thousandths))
        };
        let [few_median, few_99, few_999] = quantiles(&mut few_costs);
        let [many_median, many_99, many_999] = quantiles(&mut many_costs);
        let hundredths = many_median * 100 / few_median.max(1);
        println!(
            "{kind:<26}{few_median:>10}{few_99:>12}{few_999:>12}{many_median:>10}{many_99:>12}{many_999:>12}{:>6}.{:02}",
            hundredths / 100,
            hundredths % 100
        );
    }
    let mut pages = costs::snapshot_pages(&many, 512);
    println!();
    println!(
        "a page of 512 leases for a snapshot: median {} ns, worst {} ns",
        pages.quantile(500),
        pages.quantile(1000)
    );
    drop(many);
    let mut first = costs::first_allocations(arguments.leases);
    println!(
        "first allocation in a pool that is 99 % full, after a start: median {} ns, worst {} ns",
        first.quantile(500),
        first.quantile(1000)
    );
    let ending = arguments.leases / 10;
    let mut endings = costs::endings(arguments.leases, ending);
    println!(
        "{ending} leases end in one second: {} steps; a tick: median {} ns, worst {} ns; \
         a renewal between them: median {} ns, worst {} ns",
        endings.steps,
        endings.samples.quantile(500),
        endings.samples.quantile(1000),
        endings.renewals.quantile(500),
        endings.renewals.quantile(1000)
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
