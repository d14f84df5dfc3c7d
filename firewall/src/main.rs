//! `vestibule-firewall`: the agent that enforces the gate on another host than the DHCP server's, and a look at
//! what it does.
//!
//! It promises exit status 0 if all is well, 1 if what was looked at is not, 2 if it could not be done; an agent
//! that ends by SIGTERM or SIGINT ends with 0. It never goes to the background, and shows no token.

use clap::{Parser, Subcommand};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use vestibule_core::Side;
use vestibule_firewall::{Ruleset, TABLE_DEFAULT, agent, contents_of};

/// Enforces Vestibule's gate on a host that is no DHCP server.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow the gate feeds of one or two servers, and enforce what they say, until SIGTERM or SIGINT
    ///
    /// It reads the section [agent] of the file and needs CAP_NET_ADMIN, no more. At its end the table stays,
    /// and permits end with their leases. RUST_LOG=debug has it say more.
    Agent {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/vestibule/vestibule.toml")]
        config: PathBuf,
    },
    /// Check the configuration of an agent, and ask each server what there would be to enforce
    ///
    /// It changes nothing. Exit status 1 if a server does not answer as it should.
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/vestibule/vestibule.toml")]
        config: PathBuf,
    },
    /// Ask the agent that runs on this host how it is
    ///
    /// It asks the agent's status-listen. Exit status 1 if not everything is well.
    Status {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/vestibule/vestibule.toml")]
        config: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the kernel sets of this host hold
    ///
    /// It changes nothing and needs CAP_NET_ADMIN. Exit status 1 if there is no gate on this host.
    Show,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Agent { config } => run_agent(&config),
        Command::Check { config } => check(&config),
        Command::Status { config, json } => status(&config, json),
        Command::Show => show(),
    }
}

/// As in `vestibule-dhcpd`: with times in a terminal and in files, without them under systemd, whose
/// journal has its own.
fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}

fn run_agent(config: &Path) -> ExitCode {
    log_to_standard_error();
    let outcome = vestibule_config::load_agent(config)
        .map_err(|mistakes| mistakes.to_string())
        .and_then(|(file, tokens)| agent::run(&file, tokens).map_err(|error| error.to_string()));
    match outcome {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Err(message) => {
            // One event for each line, so that each mistake of a file is a line of its own.
            for line in message.lines() {
                tracing::error!("{line}");
            }
            ExitCode::from(2)
        }
    }
}

fn check(config: &Path) -> ExitCode {
    let asked = vestibule_config::load_agent(config)
        .map_err(|mistakes| mistakes.to_string())
        .and_then(|(file, tokens)| {
            let asked = agent::ask(&file, tokens).map_err(|error| error.to_string())?;
            Ok((file.whole.as_deref().and_then(Ruleset::planned), asked))
        });
    let (own, asked) = match asked {
        Ok(asked) => asked,
        Err(message) => return could_not(&message),
    };
    let mut text = String::new();
    let mut all_answer = true;
    for agent::Asked { url, answer } in &asked {
        match answer {
            Ok(hello) => {
                let ruleset = &hello.ruleset;
                let gated: Vec<String> =
                    ruleset.gated_prefixes.iter().map(ToString::to_string).collect();
                text += &format!(
                    "{url}: {:?}, gate.mode {:?}, its clock says {:?}\n  gates {}\n  lying resolver {}, redirect {}, \
                     portal {}\n",
                    hello.server,
                    hello.gate_mode,
                    hello.time,
                    gated.join(", "),
                    ruleset.lying_resolver,
                    ruleset.redirect,
                    ruleset.portal,
                );
            }
            Err(error) => {
                all_answer = false;
                text += &format!("{url}: NOT FOLLOWED: {error}\n");
            }
        }
    }
    if own.is_none() {
        text += "this file says nothing of what is gated: a host that starts while no server answers gates nothing, \
                 unless its kernel still has the table\n";
    }
    let answered = asked.iter().filter_map(|asked| Some(&asked.answer.as_ref().ok()?.ruleset));
    let rulesets: Vec<&Ruleset> = answered.chain(&own).collect();
    for difference in agent::joined(&rulesets).map(|(_, all)| all).unwrap_or_default() {
        text += &format!(
            "warning: the servers, or this file, differ in {difference}; the first server is followed\n"
        );
    }
    print(&text);
    ExitCode::from(u8::from(!all_answer))
}

fn status(config: &Path, as_json: bool) -> ExitCode {
    let file = match vestibule_config::load_agent_file(config) {
        Ok(file) => file,
        Err(mistakes) => return could_not(&mistakes.to_string()),
    };
    let shown = match agent::shown::ask(file.agent.status_listen) {
        Ok(shown) => shown,
        Err(message) => return could_not(&message),
    };
    if as_json {
        print(&format!("{shown}\n"));
    } else {
        print(&agent::shown::in_words(&shown));
    }
    ExitCode::from(u8::from(shown["everything-well"] != true))
}

fn show() -> ExitCode {
    let contents = match contents_of(TABLE_DEFAULT) {
        Ok(Some(contents)) => contents,
        Ok(None) => {
            print("there is no gate on this host\n");
            return ExitCode::from(1);
        }
        Err(error) => return could_not(&error.to_string()),
    };
    let registered = contents.iter().filter(|one| one.1 == Side::Registered).count();
    let mut text = format!(
        "table inet {TABLE_DEFAULT}: {registered} registered, {} unregistered\n",
        contents.len() - registered
    );
    for (address, side, life) in &contents {
        let side = match side {
            Side::Registered => "registered",
            Side::Unregistered => "unregistered",
        };
        text += &format!("{:<15}  {side:<12}  {:>7} s left\n", address.to_string(), life / 1000);
    }
    print(&text);
    ExitCode::SUCCESS
}

fn print(text: &str) {
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn could_not(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}
