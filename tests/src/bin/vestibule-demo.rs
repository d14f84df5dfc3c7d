//! `vestibule-demo`: plays the demo; its subcommands are the servers that the demo needs on the campus.

use clap::{Parser, Subcommand};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use vestibule_tests::demo::http::{self, Answer};
use vestibule_tests::demo::portal::{self, Portal};
use vestibule_tests::demo::story;

/// Plays a gated campus, end to end, in network namespaces of its own.
///
/// Without a command it plays the demo. The commands are the servers that the demo has on its campus.
/// Exit status: 0 if every step was as expected, else 1.
#[derive(Debug, Parser)]
#[command(name = "vestibule-demo", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Server>,
}

#[derive(Debug, Subcommand)]
enum Server {
    /// The registration page.
    Portal {
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
        /// The API of vestibule-dhcpd.
        #[arg(long, value_name = "ADDRESS:PORT")]
        api: SocketAddr,
        /// The file that holds the API's token.
        #[arg(long, value_name = "FILE")]
        token_file: PathBuf,
        /// The page's own URL: http://NAME/
        #[arg(long)]
        url: String,
    },
    /// A web server outside, which says that it is reached.
    Outside {
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule-demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Server>) -> Result<(), Box<dyn Error>> {
    match command {
        None => story::play()?,
        Some(Server::Outside { listen }) => http::serve(listen, |request| {
            Answer::text(200, &format!("You reached {}, and it is really me.\n", request.host))
        })?,
        Some(Server::Portal { listen, api, token_file, url }) => {
            let token = std::fs::read_to_string(&token_file)
                .map_err(|error| format!("{}: {error}", token_file.display()))?;
            let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
            let host = host.ok_or("the URL must be http://NAME/")?.to_ascii_lowercase();
            portal::serve(listen, Portal { api, token: token.trim().to_owned(), url, host })?;
        }
    }
    Ok(())
}
