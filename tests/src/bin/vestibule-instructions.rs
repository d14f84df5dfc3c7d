//! `vestibule-instructions`: counts the instructions of the packet's way and compares them with the file
//! that is kept. `docs/benchmarks.md` says how to read it.
//!
//! Exit status: 0 if all are as they were, 1 if one is off, 2 if they could not be counted or compared.

use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vestibule_tests::instructions::counts::{self, Kept, TOLERANCE_PERCENT, Toolchain};
use vestibule_tests::instructions::work::{self, OPERATIONS};
use vestibule_tests::instructions::{InstructionsError, callgrind};

/// Counts the instructions of the packet's way, under valgrind.
#[derive(Debug, Parser)]
#[command(name = "vestibule-instructions")]
struct Arguments {
    /// Writes the counts into the file.
    #[arg(long)]
    update: bool,
    /// The kept counts.
    #[arg(long, default_value = "tests/instruction-counts.toml")]
    file: PathBuf,
    /// Does one operation and ends; it is this that runs under valgrind.
    #[arg(long, hide = true)]
    run: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vestibule-instructions: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, InstructionsError> {
    if let Some(wanted) = &arguments.run {
        let known = OPERATIONS.into_iter().find(|(name, _)| name == wanted);
        let (_, operation) = known.ok_or_else(|| InstructionsError::Program {
            name: wanted.clone(),
            said: "no operation has this name".to_owned(),
        })?;
        return work::run(operation).map(|()| true);
    }
    if cfg!(debug_assertions) {
        return Err(InstructionsError::NotOptimised);
    }
    let here = Toolchain::here()?;
    let kept = Kept::read(&arguments.file).and_then(|kept| kept.holds_for(&here).map(|()| kept));
    let kept = match kept {
        Ok(kept) => Some(kept),
        // What cannot be compared with can be replaced.
        Err(error) if arguments.update => {
            println!("nothing to compare with: {error}");
            None
        }
        Err(error) => return Err(error),
    };
    let counted = count_all()?;
    let rows = counts::compare(kept.as_ref(), &counted);
    print!("{}", counts::table(&rows));
    let off = rows.iter().filter(|row| row.is_off()).count();
    if arguments.update {
        fs::write(&arguments.file, counts::text(&here, &counted))
            .map_err(InstructionsError::file(&arguments.file))?;
        println!("{} has the new counts", arguments.file.display());
    } else if off > 0 {
        println!(
            "{off} of {} differ by more than {TOLERANCE_PERCENT} %. If that is meant, update {} and say why in the commit: \
             make bench-instructions INSTRUCTIONS=--update",
            rows.len(),
            arguments.file.display()
        );
    }
    Ok(off == 0 || arguments.update)
}

fn count_all() -> Result<Vec<(&'static str, u64)>, InstructionsError> {
    let program = std::env::current_exe()
        .map_err(InstructionsError::file(Path::new("vestibule-instructions")))?;
    OPERATIONS
        .into_iter()
        .map(|(name, operation)| {
            let instructions = callgrind::count(&program, &["--run", name])?;
            Ok((name, (instructions + operation.times() / 2) / operation.times()))
        })
        .collect()
}
