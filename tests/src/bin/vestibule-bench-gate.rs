//! `vestibule-bench-gate`: the gate's own numbers, in namespaces of their own.
//!
//! Exit status: 0 if everything was measured and nothing was wrong, 1 if an answer or a permit was, 2 if
//! it could not be measured. A figure below its goal is no failure: machines differ.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vestibule_core::HardwareAddress;
use vestibule_load::message::Hardware;
use vestibule_tests::bench::conditions::Conditions;
use vestibule_tests::bench::interrupt::Interrupt;
use vestibule_tests::gate_bench::calls::{self, Calls, Named};
use vestibule_tests::gate_bench::crowd::{CROWD_RELAYS, Crowd};
use vestibule_tests::gate_bench::deliveries::{self, Deliveries};
use vestibule_tests::gate_bench::phones::{self, Phones};
use vestibule_tests::gate_bench::play::{PROGRAM, Registrations};
use vestibule_tests::gate_bench::sets::{self, SetFigures};
use vestibule_tests::gate_bench::table::Figures;
use vestibule_tests::lab::Lab;
use vestibule_tests::servers::{Networks, RELAYS_MAX};

/// The gate's own numbers: changes of the kernel sets through the library, and registrations by the API
/// from the call to the permit in the kernel, and a crowd of unregistered phones at power-on.
///
/// Everything runs in network namespaces that end with the command. Leave the machine alone meanwhile:
/// about a minute; two more for the crowd.
#[derive(Debug, Parser)]
#[command(
    name = "vestibule-bench-gate",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(flatten)]
    bench: Bench,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Args)]
struct Bench {
    /// Only these measures, separated by commas.
    #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
    only: Vec<Measure>,
    /// Hosts that are in the kernel's sets all the while.
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    hosts: u32,
    /// Registrations in a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    per_second: u32,
    /// How long registrations go on, until every host has one.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=50))]
    seconds: u32,
    /// Connections from the portal to the API, each with one call at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Unregistered phones of the crowd; a tenth of them comes in a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    phones: u32,
    /// How long the crowd probes.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(10..=600))]
    crowd_seconds: u32,
    /// Events in a second that a webhook brings, for twenty seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events_per_second: u32,
    /// Where the server's store goes: a folder on the disk that is meant.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench-gate")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Changes of the kernel sets through the library.
    Sets,
    /// Registrations by the API.
    Registrations,
    /// A crowd of unregistered phones, and registered hosts beside it.
    Crowd,
    /// Events by a webhook.
    Webhook,
}

/// What this program runs of itself inside a namespace.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Change {
        #[arg(long)]
        elements: u32,
        #[arg(long)]
        batch: u32,
        #[arg(long)]
        forget_flows: bool,
        #[arg(long, default_value_t = 0)]
        tracked_flows: u32,
        #[arg(long)]
        milliseconds: u64,
    },
    #[command(hide = true)]
    Call {
        #[arg(long)]
        api: SocketAddr,
        #[arg(long)]
        token_file: PathBuf,
        #[arg(long)]
        calls: u32,
        #[arg(long)]
        per_second: u32,
        #[arg(long)]
        connections: u32,
        /// By hardware address, from the load client's number on.
        #[arg(long)]
        devices_from: Option<u32>,
    },
    #[command(hide = true)]
    Receive {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        events: u64,
    },
    #[command(hide = true)]
    Probe {
        #[arg(long)]
        phones: u32,
        #[arg(long)]
        per_second: u32,
        #[arg(long)]
        seconds: u64,
        #[arg(long)]
        again: u64,
        #[arg(long)]
        dns_server: SocketAddrV4,
        #[arg(long)]
        lie: Ipv4Addr,
    },
}

/// How long each size of batch is measured, in milliseconds.
const SET_MILLISECONDS: u64 = 2000;
/// How long after their leases phones begin to probe.
const HEAD_START: Duration = Duration::from_secs(3);
/// Flows of others that are tracked while those of former holders are deleted.
const FLOWS: [u32; 2] = [0, 10_000];
/// How long events come, in seconds.
const EVENT_SECONDS: u32 = 20;
/// How long the receiver waits for the next delivery before it gives the rest up.
const RECEIVER_PATIENCE: Duration = Duration::from_secs(10);
/// Batches that are measured, each with and without the forgetting of flows.
const BATCHES: [u32; 3] = [64, 512, 2048];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.part {
        Some(part) => part.run().map(|()| true),
        None => arguments.bench.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vestibule-bench-gate: {error}");
            ExitCode::from(2)
        }
    }
}

impl Bench {
    fn run(self) -> Result<bool, Box<dyn Error>> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| format!("--folder {}: {error}", self.folder.display()))?;
        let folder = self.folder.canonicalize()?;
        let conditions = Conditions::look(&folder, Vec::new(), &Interrupt::default())?;
        let mut figures = Figures::default();
        if self.measures(Measure::Sets) {
            figures.sets = self.sets()?;
        }
        if self.measures(Measure::Registrations) {
            let state = tempfile::Builder::new().prefix("state-").tempdir_in(&folder)?;
            let played = Registrations {
                leases: self.hosts,
                per_second: self.per_second,
                calls: self.per_second.saturating_mul(self.seconds).min(self.hosts),
                connections: self.connections,
            };
            figures.calls = Some(played.play(state.path(), &mut |line| eprintln!("{line}"))?);
        }
        if self.measures(Measure::Crowd) {
            let state = tempfile::Builder::new().prefix("state-").tempdir_in(&folder)?;
            let crowd = Crowd {
                phones: self.phones,
                phones_per_second: (self.phones / 10).max(1),
                seconds: self.crowd_seconds,
                residents: 2000,
                residents_per_second: 200,
            };
            figures.crowd = Some(crowd.play(state.path(), &mut |line| eprintln!("{line}"))?);
        }
        if self.measures(Measure::Webhook) {
            let state = tempfile::Builder::new().prefix("state-").tempdir_in(&folder)?;
            let played = Deliveries {
                events: self.events_per_second.saturating_mul(EVENT_SECONDS),
                per_second: self.events_per_second,
            };
            figures.deliveries = Some(played.play(state.path(), &mut |line| eprintln!("{line}"))?);
        }
        print!("{}", figures.text(&conditions));
        let json = serde_json::json!({
            "format": "vestibule-bench-gate-result", "version": 1,
            "conditions": conditions, "figures": figures,
        });
        std::fs::write(folder.join("bench-gate.json"), format!("{json:#}\n"))?;
        Ok(figures.wrong().is_empty())
    }

    fn measures(&self, measure: Measure) -> bool {
        // The crowd takes as long as all the rest: it is measured when it is asked for.
        let by_default = self.only.is_empty() && measure != Measure::Crowd;
        by_default || self.only.contains(&measure)
    }

    fn sets(&self) -> Result<Vec<SetFigures>, Box<dyn Error>> {
        vestibule_tests::lab::program(PROGRAM)?;
        let mut figures = Vec::new();
        let forgetting = FLOWS.map(|flows| format!("--forget-flows --tracked-flows {flows}"));
        let ways: Vec<String> = std::iter::once(String::new()).chain(forgetting).collect();
        for (batch, forget) in
            BATCHES.iter().flat_map(|batch| ways.iter().map(move |way| (batch, way)))
        {
            eprintln!("changes of the kernel sets in batches of {batch} {forget}");
            let host = Lab::new()?.host("gateway")?;
            let said = host.ok(&format!(
                "{PROGRAM} change --elements {} --batch {batch} --milliseconds {SET_MILLISECONDS} {forget}",
                self.hosts
            ))?;
            figures.push(serde_json::from_str(&said)?);
        }
        Ok(figures)
    }
}

impl Part {
    fn run(self) -> Result<(), Box<dyn Error>> {
        let json = match self {
            Self::Change { elements, batch, forget_flows, tracked_flows, milliseconds } => {
                let time = Duration::from_millis(milliseconds);
                let figures = sets::measure(elements, batch, forget_flows, tracked_flows, time)?;
                serde_json::to_string(&figures)?
            }
            Self::Call { api, token_file, calls, per_second, connections, devices_from } => {
                let token = std::fs::read_to_string(&token_file)?.trim().to_owned();
                let named = |number| match devices_from {
                    None => Named::Address(Networks::pooled(number, RELAYS_MAX)),
                    Some(first) => {
                        let Hardware(bytes) = Hardware::of_client(first + number);
                        Named::Hardware(HardwareAddress::ethernet(bytes))
                    }
                };
                let hosts = (0..calls).map(named).collect();
                let made = calls::make(Calls { api, token, hosts, per_second, connections })?;
                serde_json::to_string(&made)?
            }
            Self::Receive { listen, events } => {
                serde_json::to_string(&deliveries::receive(listen, events, RECEIVER_PATIENCE)?)?
            }
            Self::Probe { phones, per_second, seconds, again, dns_server, lie } => {
                // Their leases come in this order and at this rate; they begin a moment later.
                std::thread::sleep(HEAD_START);
                let probing = Phones {
                    addresses: (0..phones)
                        .map(|number| Networks::pooled(number, CROWD_RELAYS))
                        .collect(),
                    per_second,
                    time: Duration::from_secs(seconds).saturating_sub(HEAD_START),
                    again: Duration::from_secs(again),
                    dns_server,
                    lie,
                };
                serde_json::to_string(&phones::probe(probing)?)?
            }
        };
        println!("{json}");
        Ok(())
    }
}
