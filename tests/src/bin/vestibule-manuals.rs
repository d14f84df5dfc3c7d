//! `vestibule-manuals`: the manual pages and the completion of shells, from the command lines themselves.
//!
//! For the packages. It promises a page for every program and every command that an operator may call,
//! and that what the help says is what the page says. It never writes outside the folder that it is given.

use clap::{Command, CommandFactory as _, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

/// Writes manual pages and completions for shells into a folder.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder; it is made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = "target/packaging")]
    out: PathBuf,
}

/// A manual's section: programs that anybody calls.
const USER: &str = "1";
/// A manual's section: daemons.
const ADMINISTRATION: &str = "8";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match write_all(&arguments.out) {
        Ok(files) => {
            println!("{files} files in {}", arguments.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("vestibule-manuals: {}: {error}", arguments.out.display());
            ExitCode::from(2)
        }
    }
}

fn write_all(out: &Path) -> io::Result<usize> {
    let programs = [
        (vestibule_dhcpd::cli::command_line(), USER),
        (vestibule_dhcpd::daemon::Arguments::command(), ADMINISTRATION),
        (vestibule_dns::Arguments::command(), ADMINISTRATION),
        (vestibule_load::command::CommandLine::command(), USER),
    ];
    let mut files = 0;
    for (program, section) in programs {
        // A folder for each program: packages take whole folders.
        files += write_pages(&out.join(program.get_name()), &program, section)?;
        files += write_completions(out, program)?;
    }
    Ok(files)
}

/// The page of a program, and one for each of its commands, as `git` has them.
fn write_pages(out: &Path, program: &Command, section: &str) -> io::Result<usize> {
    let mut program = program.clone().disable_help_subcommand(true);
    program.build();
    fs::create_dir_all(out)?;
    write_built_pages(out, &program, section)
}

fn write_built_pages(out: &Path, command: &Command, section: &str) -> io::Result<usize> {
    Man::new(command.clone()).section(section).manual("Vestibule").generate_to(out)?;
    let mut files = 1;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        files += write_built_pages(out, subcommand, section)?;
    }
    Ok(files)
}

fn write_completions(out: &Path, mut program: Command) -> io::Result<usize> {
    let name = program.get_name().to_owned();
    let shells = [
        (Shell::Bash, "bash", name.clone()),
        (Shell::Zsh, "zsh", format!("_{name}")),
        (Shell::Fish, "fish", format!("{name}.fish")),
    ];
    let files = shells.len();
    for (shell, folder, file) in shells {
        let folder = out.join("completion").join(folder);
        fs::create_dir_all(&folder)?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut program, &name, &mut text);
        fs::write(folder.join(file), text)?;
    }
    Ok(files)
}
