//! `vestibule-demo`: plays the demo; its subcommands are the servers that the demo needs on the campus.

use clap::{Parser, Subcommand};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use vestibule_config::Probes;
use vestibule_tests::demo::http::{self, Answer, Request};
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
    /// A web server outside, which says that it is reached, and answers the probes of devices truly.
    Outside {
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
        /// A certificate in PEM: it then speaks TLS.
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_certificate: Option<PathBuf>,
        /// The certificate's key in PEM.
        #[arg(long, value_name = "FILE")]
        tls_key: Option<PathBuf>,
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
        Some(Server::Outside { listen, tls_certificate, tls_key }) => {
            let probes = Probes::known();
            let answer = move |request: &Request| outside(&probes, request);
            match (tls_certificate, tls_key) {
                (Some(certificate), Some(key)) => {
                    http::serve_tls(listen, Arc::new(tls(&certificate, &key)?), answer)?;
                }
                _ => http::serve(listen, answer)?,
            }
        }
    }
    Ok(())
}

/// What the web outside says: to a probe the truth, to everything else that it is reached.
fn outside(probes: &Probes, request: &Request) -> Answer {
    let asked = |url: &str| {
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        rest.split_once('/').is_some_and(|(host, path)| {
            host == request.host && request.target.strip_prefix('/') == Some(path)
        })
    };
    match probes.pages.iter().find(|page| asked(&page.url)) {
        Some(page) => Answer::text(page.status, &page.body),
        None => Answer::text(200, &format!("You reached {}, and it is really me.\n", request.host)),
    }
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}
