//! `vestibule-soak`: clients through renew, rebind and expiry against the real server, for three minutes.
//!
//! Exit status: 0 if everything was as it must be, 1 if something was not, 2 if it could not be played.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use vestibule_load::report;
use vestibule_load::story::StoryKind;
use vestibule_tests::soak::{CLIENTS_MAX, LIFETIME_SECONDS_MIN, Soak};

/// Clients through renew, rebind and expiry against vestibule-dhcpd, in namespaces of their own: unicast
/// renewals get lost for a while, then everything, and then all is well.
#[derive(Debug, Parser)]
#[command(name = "vestibule-soak", version, max_term_width = 100)]
struct Arguments {
    /// How many clients.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CLIENTS_MAX)))]
    clients: u32,
    /// How long it lasts; leases last a third of that.
    #[arg(long, value_name = "SECONDS", default_value_t = 180,
          value_parser = clap::value_parser!(u32).range(i64::from(3 * LIFETIME_SECONDS_MIN)..=86_400))]
    seconds: u32,
    /// Where the server's files, the result and its page go, in a new folder: on the disk that is meant.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match soak(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vestibule-soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn soak(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(&arguments.folder)
        .map_err(|error| format!("--folder {}: {error}", arguments.folder.display()))?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&arguments.folder)?.keep();
    let soak = Soak { clients: arguments.clients, lifetime_seconds: arguments.seconds / 3 };
    let played = soak.play(&folder, &mut |line| eprintln!("{line}"));
    // The store has said what it had to; the result and its page stay.
    std::fs::remove_dir_all(folder.join("state"))?;
    let soaked = played?;
    print!("{}", report::text(&soaked.result));
    println!("\n{}", soaked.table());
    let stories = &soaked.result.stories.told;
    if let Some(story) = stories.iter().find(|story| story.kind == StoryKind::Expired) {
        println!("one of those whose lease ran out: {}", story.sentence);
        for step in &story.steps {
            println!("  {} {}", step.at, step.what);
        }
        println!();
    }
    let checks = soaked.checks();
    for check in &checks {
        println!("{check}");
    }
    println!("\nresult and page: {}", folder.display());
    Ok(checks.iter().all(|check| check.is_good))
}
