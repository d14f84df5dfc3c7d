//! `vestibule-bench`: DHCP servers side by side, in namespaces of their own.
//!
//! Exit status: 0 if every run is done and no ledger has a violation, 1 if one has, 2 if a run could not
//! be made, 3 if it was interrupted (what there is until then is printed). A figure below its goal
//! is no failure: machines differ.

use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use vestibule_load::report::compared_html;
use vestibule_load::result::RunResult;
use vestibule_tests::bench::BenchError;
use vestibule_tests::bench::conditions::Conditions;
use vestibule_tests::bench::figures::{Played, Row, rows};
use vestibule_tests::bench::goals::{Goal, goals};
use vestibule_tests::bench::interrupt::Interrupt;
use vestibule_tests::bench::plan::{Measure, turns};
use vestibule_tests::bench::play::{Stage, present};
use vestibule_tests::bench::table::{self, Extent};
use vestibule_tests::servers::{self, Server};

/// The format of the machine-readable result, and its version.
const FORMAT: &str = "vestibule-bench-result";
const VERSION: u32 = 1;

/// DHCP servers side by side under the same load: a null responder, Vestibule without and with its
/// gate, Kea, ISC dhcpd.
///
/// Everything runs in network namespaces that end with the command; Kea and ISC dhcpd are what
/// `make bench-peers` unpacked. Leave the machine alone meanwhile: about ten minutes.
#[derive(Debug, Parser)]
#[command(name = "vestibule-bench", version, max_term_width = 100)]
struct Arguments {
    /// Only these servers, separated by commas.
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    only: Vec<ServerName>,
    /// Only these measures, separated by commas.
    #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
    measure: Vec<MeasureName>,
    /// Runs of each server in each measure.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=12))]
    repeat: u32,
    /// How long each run lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Where stores and results go: a folder on the disk that is to be measured.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ServerName {
    /// The null responder.
    Null,
    /// Vestibule, gate off.
    Vestibule,
    /// Vestibule, gate on.
    VestibuleGated,
    /// Kea with its memfile.
    Kea,
    /// ISC dhcpd.
    Isc,
}

impl ServerName {
    const fn server(self) -> Server {
        match self {
            Self::Null => Server::Null,
            Self::Vestibule => Server::Vestibule,
            Self::VestibuleGated => Server::VestibuleGated,
            Self::Kea => Server::Kea,
            Self::Isc => Server::Isc,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MeasureName {
    /// 64 exchanges in flight.
    Peak,
    /// The same with 8 ms added to each sync.
    PeakSlowDisk,
    /// 2,000 exchanges in flight.
    Crowd,
    /// The same with 8 ms added to each sync.
    CrowdSlowDisk,
    /// Half of the rate of `peak`, which is measured too.
    Half,
    /// One exchange at a time.
    Alone,
    /// 2,000 exchanges in flight, for a server with half a processor.
    Share,
    /// Five times the rate of `share`, which is measured too.
    Overload,
}

impl MeasureName {
    const fn measure(self) -> Measure {
        match self {
            Self::Peak => Measure::Peak,
            Self::PeakSlowDisk => Measure::PeakSlowDisk,
            Self::Crowd => Measure::Crowd,
            Self::CrowdSlowDisk => Measure::CrowdSlowDisk,
            Self::Half => Measure::Half,
            Self::Alone => Measure::Alone,
            Self::Share => Measure::Share,
            Self::Overload => Measure::Overload,
        }
    }
}

/// What is written for programs to read.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct BenchResult<'a> {
    format: &'static str,
    version: u32,
    is_complete: bool,
    seconds: u32,
    repetitions: u32,
    conditions: &'a Conditions,
    rows: &'a [Row],
    goals: &'a [Goal],
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("vestibule-bench: {error}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    /// The servers that are here. One that was named must be.
    fn servers(&self) -> Result<Vec<Server>, BenchError> {
        let is_wanted = |server: &Server| {
            self.only.is_empty() || self.only.iter().any(|name| name.server() == *server)
        };
        let wanted: Vec<Server> = Server::ALL.into_iter().filter(is_wanted).collect();
        let (here, missing) = present(&wanted);
        for (server, error) in missing {
            let is_ours = !matches!(server, Server::Kea | Server::Isc);
            if is_ours || !self.only.is_empty() {
                return Err(BenchError::Missing(error));
            }
            eprintln!("WITHOUT {server}: {error}");
        }
        Ok(here)
    }

    fn measures(&self) -> Vec<Measure> {
        let named: Vec<Measure> = self.measure.iter().map(|name| name.measure()).collect();
        let is_wanted = |measure: &Measure| {
            // A part or a multiple of a rate needs the rate.
            let needed = named
                .iter()
                .filter_map(|named| named.follows())
                .any(|(followed, _)| followed == *measure);
            named.is_empty() || named.contains(measure) || needed
        };
        Measure::ALL.into_iter().filter(is_wanted).collect()
    }
}

fn bench(arguments: &Arguments) -> Result<ExitCode, BenchError> {
    let interrupt = Interrupt::catch().map_err(BenchError::Signals)?;
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(BenchError::file(folder))?;
    let folder = &folder.canonicalize().map_err(BenchError::file(folder))?;
    let servers = arguments.servers()?;
    let turns = turns(&arguments.measures(), &servers, arguments.repeat);
    let extent = Extent { seconds: arguments.seconds, repetitions: arguments.repeat };
    let conditions = Conditions::look(folder, versions(&servers), &interrupt)?;
    let mut stage = Stage::new(folder, extent, interrupt)?;
    if turns.iter().any(|turn| turn.measure.is_slow_disk()) {
        stage.make_slow_disk()?;
    }
    if cfg!(debug_assertions) {
        eprintln!(
            "This is no release build: the figures say nothing of the servers. Run 'make bench'."
        );
    }
    let mut played = Vec::new();
    let ended = stage.play(&turns, &mut played);
    drop(stage);
    let is_complete = match ended {
        Ok(()) => true,
        Err(BenchError::Interrupted) => false,
        Err(error) => return Err(error),
    };
    let rows = rows(&played);
    let goals = if arguments.only.is_empty() && arguments.measure.is_empty() && is_complete {
        goals(&rows, conditions.sync)
    } else {
        Vec::new()
    };
    println!("{}", table::text(&conditions, extent, &rows, &goals));
    let result = BenchResult {
        format: FORMAT,
        version: VERSION,
        is_complete,
        seconds: extent.seconds,
        repetitions: extent.repetitions,
        conditions: &conditions,
        rows: &rows,
        goals: &goals,
    };
    write(folder, &played, &result)?;
    let violations: u64 = played.iter().map(|played| played.result.ledger.violations).sum();
    Ok(match (violations, is_complete) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => {
            eprintln!("vestibule-bench: interrupted; this is what there was until then");
            ExitCode::from(3)
        }
        _ => ExitCode::from(1),
    })
}

/// Writes the machine-readable result and the page of the main table.
fn write(folder: &Path, played: &[Played], result: &BenchResult<'_>) -> Result<(), BenchError> {
    let json = folder.join("bench.json");
    let text = serde_json::to_string_pretty(result)
        .map_err(|error| BenchError::File(json.clone(), error.into()))?;
    std::fs::write(&json, text).map_err(BenchError::file(&json))?;
    println!("For programs: {}", json.display());
    // Ratios are to the first: to Kea, where it is.
    let mut peaks: Vec<&Played> =
        played.iter().filter(|played| played.turn.measure == Measure::Peak).collect();
    peaks.sort_by_key(|played| {
        let place = Server::ALL.iter().position(|server| *server == played.turn.server);
        (played.turn.server != Server::Kea, place, played.turn.repetition)
    });
    let runs: Vec<RunResult> = peaks.iter().map(|played| played.result.clone()).collect();
    if runs.len() > 1 {
        let page = folder.join("compared.html");
        std::fs::write(&page, compared_html(&runs)).map_err(BenchError::file(&page))?;
        println!("As a page: {}", page.display());
    }
    Ok(())
}

/// What Kea and ISC dhcpd say of their version.
fn versions(servers: &[Server]) -> Vec<(String, String)> {
    let ask = |server: Server| {
        let mut command = Command::new("sh");
        command.args(["-c", &servers::version_command(server)?]);
        let output = command.output().ok()?;
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).trim().to_owned();
        Some((server.name().to_owned(), text.lines().next().unwrap_or_default().to_owned()))
    };
    servers.iter().filter_map(|server| ask(*server)).collect()
}
