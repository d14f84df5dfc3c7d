//! `vestibule-history`: makes the history of a year of a campus that never was, and measures what
//! questions about it cost.
//!
//! It asserts nothing, and commits nothing: `docs/benchmarks.md` has what it printed. With `--sled` it puts
//! the same intervals into sled instead, by the rules that make that durable, to compare.

use clap::Parser;
use std::error::Error;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use vestibule_config::limits::HISTORY_BYTES_MAX;
use vestibule_core::{
    BindingState, ClientIdentifier, HardwareAddress, Lease, Record, Registration, Timestamp,
};
use vestibule_dhcpd::clock::Clock;
use vestibule_dhcpd::history::{By, History, Networks, Policy, Question, Recorder};
use vestibule_dhcpd::store::{Store, StoreOptions};

/// Measures the history.
#[derive(Debug, Parser)]
#[command(name = "vestibule-history")]
struct Arguments {
    /// Intervals of the year.
    #[arg(long, default_value_t = 1_000_000)]
    intervals: u64,
    /// Questions of each kind.
    #[arg(long, default_value_t = 200)]
    questions: u32,
    /// Where it goes for as long as this runs.
    #[arg(long, default_value = "/tmp")]
    directory: PathBuf,
    /// Put them into sled instead.
    #[arg(long)]
    sled: bool,
}

const YEAR_MILLISECONDS: u64 = 365 * 24 * 60 * 60 * 1000;

/// Four times 10.x/16.
const ADDRESSES: u32 = 4 << 16;
const DEVICES: u64 = 200_000;
const OWNERS: u64 = 50_000;
const CIRCUITS: u64 = 20_000;

/// A permutation of 64 bits (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def0);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn address(number: u64) -> Ipv4Addr {
    let number = u32::try_from(number % u64::from(ADDRESSES)).unwrap_or(0);
    Ipv4Addr::from(0x0a14_0000 + number)
}

fn device(number: u64) -> HardwareAddress {
    let [.., a, b, c, d] = (number % DEVICES).to_be_bytes();
    HardwareAddress::ethernet([2, 0, a, b, c, d])
}

fn owner(device: u64) -> String {
    format!("user{:05}", device % DEVICES % OWNERS)
}

fn circuit(number: u64) -> String {
    let number = number % CIRCUITS;
    format!("sw{}/eth{}", number / 48, number % 48)
}

/// Interval number `number`, of the year that ends at `end`. Each address has one after the other.
fn interval(number: u64, count: u64, end: u64) -> Lease {
    let began = end - YEAR_MILLISECONDS + number * (YEAR_MILLISECONDS / count.max(1));
    let draw = mixed(number);
    let hardware = device(draw);
    // An address comes round once in ADDRESSES intervals: the lease is over by then, mostly.
    let round = YEAR_MILLISECONDS / count.max(1) * u64::from(ADDRESSES);
    let length = (20 * 60_000 + draw % (8 * 3_600_000)).min(round * 9 / 10).max(60_000);
    let circuit = circuit(draw >> 20);
    let mut option = vec![1, u8::try_from(circuit.len()).unwrap_or(0)];
    option.extend_from_slice(circuit.as_bytes());
    option.extend_from_slice(b"\x02\x06\x02\x00\x00\x00\x00\x01");
    let started = Timestamp::from_milliseconds(began);
    Lease {
        address: address(number.wrapping_mul(7919)),
        client: ClientIdentifier::Hardware(hardware),
        hardware,
        state: BindingState::Active,
        started,
        changed: started,
        ends: Timestamp::from_milliseconds(began + length),
        relay: Some(Ipv4Addr::from(0x0a14_0001 + (u32::try_from(draw % 64).unwrap_or(0) << 12))),
        relay_agent: Some(option.into()),
        host_name: Some(format!("host-{:06}", draw % DEVICES).into_bytes().into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let directory = arguments.directory.join(format!("vestibule-history.{}", std::process::id()));
    let measured = fs::create_dir_all(&directory).map_err(Into::into).and_then(|()| {
        if arguments.sled {
            with_sled(&arguments, &directory)
        } else {
            measure(&arguments, &directory)
        }
    });
    let removed = fs::remove_dir_all(&directory);
    match measured {
        Ok(()) if removed.is_ok() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(2),
        Err(error) => {
            eprintln!("vestibule-history: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(arguments: &Arguments, directory: &Path) -> Result<(), Box<dyn Error>> {
    let (mut store, _) = Store::open(directory, StoreOptions::default())?;
    let end = Clock::start(Timestamp::ZERO, None).0.now();
    store.commit(&[Record::Time(end)])?;
    let policy = Policy::new(&vestibule_config::History {
        keep_days: 400,
        owner_keep_days: 400,
        drop: Vec::new(),
        max_bytes: HISTORY_BYTES_MAX,
    });
    let sites = (0..4_u32)
        .map(|site| {
            let first = 0x0a14_0000 + (site << 16);
            (Ipv4Addr::from(first), Ipv4Addr::from(first + 0xffff), format!("site-{site}").into())
        })
        .collect();
    let networks = Networks::new(sites);
    let begun = Instant::now();
    let mut recorder =
        Recorder::open(directory, policy.clone(), networks.clone(), store.frame_number())?;
    let first = Timestamp::from_milliseconds(end.milliseconds() - YEAR_MILLISECONDS);
    for number in 0..DEVICES {
        recorder.record(&Record::Registration(Registration {
            owner: Some(owner(number).into()),
            role: Some("student".into()),
            ..Registration::of(device(number), first)
        }))?;
    }
    let count = arguments.intervals;
    for number in 0..count {
        let lease = interval(number, count, end.milliseconds());
        let renewed = Lease {
            changed: lease.started.plus_seconds(60),
            ends: lease.ends.plus_seconds(1),
            ..lease.clone()
        };
        recorder.record(&Record::Lease(lease))?;
        recorder.record(&Record::Lease(renewed))?;
    }
    recorder.finish()?;
    let filled = begun.elapsed();
    let (archives, indexes, files) = sizes(&directory.join("history"))?;
    println!("| | |\n| --- | --- |");
    println!("| intervals | {count} |");
    println!(
        "| archives | {} MB in {files} files, {} bytes for each interval |",
        archives >> 20,
        archives / count.max(1)
    );
    println!("| indexes | {} MB |", indexes >> 20);
    println!(
        "| filling it | {:.0} s, {:.1} µs for each interval with a renewal |",
        filled.as_secs_f64(),
        filled.as_secs_f64() * 1e6 / count.max(1) as f64
    );
    let begun = Instant::now();
    let clock = Clock::start(end, None).0;
    let frame = store.frame_number();
    let book =
        Box::new(|| Box::new(std::iter::empty()) as Box<dyn Iterator<Item = Option<Record>>>);
    let history = History::start(directory, policy, networks, clock, frame, book)?;
    while history
        .ask(&Question {
            by: By::Address(address(0)),
            from: end,
            until: end,
            after: None,
            limit: 1,
        })
        .is_err()
    {
        std::thread::yield_now();
    }
    println!("| opening it | {} ms |", begun.elapsed().as_millis());
    println!("| memory after opening | {} MB |", resident_bytes() >> 20);
    println!(
        "\n| question | intervals | first, files not in memory: p50, p99, longest | again: p50, p99, longest |\n| --- | --- | --- | --- |"
    );
    let year = (Timestamp::ZERO, Timestamp::FOREVER);
    let moment = |draw: u64| {
        let at = end.milliseconds() - draw % YEAR_MILLISECONDS;
        (Timestamp::from_milliseconds(at), Timestamp::from_milliseconds(at + 1))
    };
    let day = |draw: u64| {
        let at = end.milliseconds() - 86_400_000 - draw % (YEAR_MILLISECONDS - 86_400_000);
        (Timestamp::from_milliseconds(at), Timestamp::from_milliseconds(at + 86_400_000))
    };
    type Draw<'a> = &'a dyn Fn(u64) -> (By, (Timestamp, Timestamp));
    let kinds: [(&str, Draw<'_>); 6] = [
        ("who held an address at a moment", &|draw| {
            (By::Address(address(draw)), moment(mixed(draw)))
        }),
        ("all holders of an address in the year", &|draw| (By::Address(address(draw)), year)),
        ("where a device was at a moment", &|draw| {
            (By::Hardware(device(draw)), moment(mixed(draw)))
        }),
        ("every address of a device in the year", &|draw| (By::Hardware(device(draw)), year)),
        ("every address of an owner on a day", &|draw| {
            (By::Owner(owner(draw).into()), day(mixed(draw)))
        }),
        ("a circuit on a day", &|draw| {
            (By::Circuit(circuit(draw).into_bytes().into()), day(mixed(draw)))
        }),
    ];
    for (name, draw) in kinds {
        let (mut cold, mut warm, mut told) = (Vec::new(), Vec::new(), 0);
        for number in 0..arguments.questions {
            let (by, (from, until)) = draw(mixed(u64::from(number) + 99));
            let question = Question { by, from, until, after: None, limit: 1000 };
            // Only so often: it takes the kernel longer than the question.
            if number % 10 == 0 {
                forget_files(&directory.join("history"))?;
                cold.push(ask(&history, &question)?.0);
            } else {
                ask(&history, &question)?;
            }
            let (time, count) = ask(&history, &question)?;
            warm.push(time);
            told += count;
        }
        println!(
            "| {name} | {:.1} | {} | {} |",
            f64::from(told) / f64::from(arguments.questions),
            quantiles(&mut cold),
            quantiles(&mut warm)
        );
    }
    drop(history);
    Ok(())
}

/// All pages of an answer: how long the longest of them took, and how many intervals there were.
fn ask(history: &History, question: &Question) -> Result<(Duration, u32), Box<dyn Error>> {
    let (mut longest, mut count) = (Duration::ZERO, 0);
    let mut question = question.clone();
    loop {
        let begun = Instant::now();
        let page = history.ask(&question)?;
        longest = longest.max(begun.elapsed());
        count += u32::try_from(page.told.len())?;
        question.after = page.next;
        if question.after.is_none() {
            return Ok((longest, count));
        }
    }
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| {
        let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!("{:.2}, {:.2}, {:.2} ms", at(50), at(99), at(100))
}

fn sizes(directory: &Path) -> Result<(u64, u64, u64), Box<dyn Error>> {
    let (mut archives, mut indexes, mut files) = (0, 0, 0);
    for file in fs::read_dir(directory)? {
        let file = file?;
        let bytes = file.metadata()?.len();
        if file.path().extension().is_some() {
            indexes += bytes;
        } else {
            archives += bytes;
            files += 1;
        }
    }
    Ok((archives, indexes, files))
}

/// Has the kernel forget what it holds of these files.
fn forget_files(directory: &Path) -> Result<(), Box<dyn Error>> {
    for file in fs::read_dir(directory)? {
        let input = format!("if={}", file?.path().display());
        let done = Command::new("dd")
            .args([&input, "iflag=nocache", "count=0", "status=none"])
            .status()?;
        if !done.success() {
            return Err("dd cannot have the kernel forget a file".into());
        }
    }
    Ok(())
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|text| text.parse().ok());
    kilobytes.unwrap_or(0_u64) << 10
}

/// The same intervals with their keys in sled: at most 512 a batch, each flushed and then synced.
fn with_sled(arguments: &Arguments, directory: &Path) -> Result<(), Box<dyn Error>> {
    let tree = sled::Config::new().path(directory).cache_capacity(256 << 20).open()?;
    let log = fs::File::open(directory.join("db"))?;
    let end = Clock::start(Timestamp::ZERO, None).0.now().milliseconds();
    println!(
        "| intervals in sled | bytes for each | µs for each, since the line before |\n| --- | --- | --- |"
    );
    let mut begun = Instant::now();
    for number in 0..arguments.intervals {
        let batch_size = 512 / 3;
        if number % batch_size == 0 {
            let mut batch = sled::Batch::default();
            for number in number..(number + batch_size).min(arguments.intervals) {
                let lease = interval(number, arguments.intervals, end);
                let mut value = Vec::new();
                vestibule_dhcpd::store::record::encode(&Record::Lease(lease.clone()), &mut value)
                    .map_err(|error| format!("{error:?}"))?;
                let from = lease.started.milliseconds().to_be_bytes();
                let key = |kind: u8, bytes: &[u8]| [&[kind], bytes, &from].concat();
                let place = key(b'a', &lease.address.octets());
                batch.insert(key(b'h', lease.hardware.bytes()), place.as_slice());
                batch.insert(
                    key(b'c', lease.relay_agent.as_deref().unwrap_or_default()),
                    place.as_slice(),
                );
                batch.insert(place, value);
            }
            tree.apply_batch(batch)?;
            tree.flush()?;
            log.sync_data()?;
        }
        let done = number + 1;
        let step = (arguments.intervals / 8).max(1);
        if done % step == 0 {
            println!(
                "| {done} | {} | {:.1} |",
                tree.size_on_disk()? / done,
                begun.elapsed().as_secs_f64() * 1e6 / step as f64
            );
            begun = Instant::now();
        }
    }
    Ok(())
}
