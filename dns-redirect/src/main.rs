//! The daemon `vestibule-dns`: reads the configuration, runs the service, ends on a signal.
//!
//! It promises exit status 0 only after an ordinary end by SIGTERM or SIGINT, that its start line
//! is printed when every listener is bound and not before, and that what kept it from starting is
//! the last thing it says. It never goes to the background.

use clap::Parser as _;
use sd_notify::NotifyState;
use std::io::IsTerminal;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vestibule_dns::{Arguments, Service};

/// Hickory logs two lines for each answer at level info, which costs as much as the answer.
const LOG_FILTER: &str = "info,hickory_server=warn,hickory_proto=warn,hickory_resolver=warn";

/// Worker threads at most: answers are made by one task for each socket, the rest is waiting.
const THREADS_MAX: usize = 4;

/// Turns of tasks between two looks at the network and the clock.
const EVENT_INTERVAL: u32 = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_standard_error();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // One event for each line, so that each mistake of a file is a line of its own.
            for line in message.lines() {
                tracing::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// As in `vestibule-dhcpd`: with times in a terminal and in files, without them under systemd, whose
/// journal has its own.
fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| LOG_FILTER.into());
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

/// sd_notify(3). Does nothing where no service manager listens.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told how the resolver is; see NOTIFY_SOCKET");
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let file = arguments.config.display();
    let configuration =
        vestibule_config::load(&arguments.config).map_err(|mistakes| mistakes.to_string())?;
    let Some(dns) = configuration.dns else {
        return Err(format!(
            "{file} has no [dns]: vestibule-dns needs dns.listen and dns.upstream"
        ));
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        // A turn of a task may be a whole batch of questions: what waits for the network looks often.
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    runtime.block_on(async {
        // Before the start line: whoever waits for it may send a signal at once.
        let no_signal = |error| format!("signals cannot be received: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
        let service = Service::bind(&dns, &configuration.gate, configuration.captive.as_ref())
            .map_err(|error| error.to_string())?;
        let addresses = service.addresses().map_err(|error| error.to_string())?;
        let counters = service.counters();
        tracing::info!("ready: {addresses}");
        tell_service_manager(NotifyState::Ready);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => tracing::debug!("SIGTERM"),
                _ = interrupt.recv() => tracing::debug!("SIGINT"),
            }
            tell_service_manager(NotifyState::Stopping);
        };
        let outcome = service.run(stop).await;
        tracing::info!("ended; since the start: {}", counters.counts());
        outcome.map_err(|stopped| stopped.to_string())
    })
}
