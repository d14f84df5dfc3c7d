//! `vestibule.toml`: one file for every daemon, its grammar, its checks.
//!
//! [`load`] reads a file, [`parse`] a text, [`explain`] says in words what the server understood.
//!
//! It promises that a [`Vestibule`] value is consistent: pools lie inside their prefixes, nothing
//! overlaps, every key was known, every value had its type. Every mistake in a file is reported
//! with its line and what to do about it, all at once. It never touches the network, and reads no
//! file but the one it is given and the token files that it names.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod agent;
mod api;
mod captive;
mod checked;
mod classes;
mod client_classes;
mod difference;
mod events;
mod explain;
mod explain_networks;
mod explain_policy;
mod failover;
pub mod garden_link;
pub mod grammar;
mod history;
mod ipv6;
pub mod limits;
mod mistake;
mod networks;
mod option_compound;
mod option_definitions;
pub mod option_table;
mod option_value;
mod portal;
mod probes;
mod reader;
mod registration;
mod sections;
mod token;
mod value;
mod warnings;

pub use agent::{Agent, AgentPlace, AgentServer, WhenSilent};
pub use checked::{
    Api, ApiListen, ApiTls, ApiToken, BuiltinPortal, Captive, Dns, Events, Failover, GardenEntry,
    Gate, GateMode, GatedIpv6, History, HistoryField, Identify, Language, Portal, ProxyHeader,
    Scope, Server, Tls, Vestibule, Webhook,
};
pub use difference::{Difference, difference};
pub use explain::explain;
pub use mistake::{Mistake, Mistakes};
pub use option_definitions::OptionDefinition;
pub use probes::{NameProbe, PageProbe, Probes};
pub use token::{Credential, Token, TokenError};
pub use warnings::warnings;

use client_classes::Names;
use mistake::Complaint;
use reader::{Reader, Table};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use toml::de::DeTable;
use vestibule_core::Policy;

/// Seconds of a duration as the file writes it, as in `1h30m`, for what a command line says.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn parse_duration(text: &str) -> Result<u32, String> {
    value::duration(text).map_err(|Complaint { message, remedy }| {
        remedy.map_or_else(|| message.clone(), |remedy| format!("{message}: {remedy}"))
    })
}

/// Bytes as the file writes them: `hex:…` and the like, or else the text itself.
///
/// # Errors
/// What is wrong with them, and how they are written.
pub fn parse_bytes(text: &str) -> Result<Vec<u8>, String> {
    client_classes::bytes_or_text(text).map_err(|Complaint { message, remedy }| {
        remedy.map_or_else(|| message.clone(), |remedy| format!("{message}: {remedy}"))
    })
}

/// Name and contents of an option as they are written in the file.
#[must_use]
pub fn option_in_words(vestibule: &Vestibule, code: u8, contents: &[u8]) -> (String, String) {
    let names = &vestibule.option_definitions;
    (option_value::name_of(names, code), option_value::in_words(names, code, contents))
}

/// A duration as [`parse_duration`] reads it.
#[must_use]
pub fn duration_in_words(seconds: u32) -> String {
    value::duration_in_words(seconds)
}

/// Reads and checks a file.
///
/// # Errors
/// [`Mistakes`], all of them; a file that cannot be read is one.
pub fn load(path: &Path) -> Result<Vestibule, Mistakes> {
    let (text, name) = read(path)?;
    parse(&text, &name)
}

/// Reads and checks a file, and the token files that it names: what a daemon with an API needs.
///
/// # Errors
/// [`Mistakes`], all of them; a token file that cannot be used is one, at the line that names it.
pub fn load_with_tokens(path: &Path) -> Result<(Vestibule, Vec<Credential>), Mistakes> {
    let (text, name) = read(path)?;
    let vestibule = parse(&text, &name)?;
    match vestibule.api.read_tokens() {
        Ok(tokens) => Ok((vestibule, tokens)),
        Err((number, error)) => {
            let mut reader = Reader::new(&text, &name);
            let at = api::token_file_place(&text, number);
            let complaint = Complaint { message: error.message(), remedy: Some(error.remedy()) };
            let key = match number {
                None => "api.token-file".to_owned(),
                Some(number) => format!("api.token[{}].file", number + 1),
            };
            reader.complain(at, key, complaint);
            Err(reader.into_mistakes())
        }
    }
}

/// What an agent works by.
#[derive(Debug)]
pub struct AgentFile {
    /// `[agent]`
    pub agent: Agent,
    /// The whole of the file, if it has more than `[agent]`: it says what to enforce before any server has.
    pub whole: Option<Box<Vestibule>>,
}

/// Reads and checks the file of an agent, which need not have anything but `[agent]`.
///
/// # Errors
/// As [`load`].
pub fn load_agent_file(path: &Path) -> Result<AgentFile, Mistakes> {
    let (text, name) = read(path)?;
    parse_agent(&text, &name)
}

/// As [`load_agent_file`], with the tokens from the files that it names, in the order of the servers.
///
/// # Errors
/// [`Mistakes`], all of them; a token file that cannot be used is one, at the line that names it.
pub fn load_agent(path: &Path) -> Result<(AgentFile, Vec<Token>), Mistakes> {
    let (text, name) = read(path)?;
    let file = parse_agent(&text, &name)?;
    match file.agent.read_tokens() {
        Ok(tokens) => Ok((file, tokens)),
        Err((number, error)) => {
            let mut reader = Reader::new(&text, &name);
            let at = agent::token_file_place(&text, number);
            let complaint = Complaint { message: error.message(), remedy: Some(error.remedy()) };
            reader.complain(at, format!("agent.server[{}].token-file", number + 1), complaint);
            Err(reader.into_mistakes())
        }
    }
}

/// Checks the text of an agent's file, as [`parse`] does.
///
/// # Errors
/// As [`parse`].
pub fn parse_agent(text: &str, file_name: &str) -> Result<AgentFile, Mistakes> {
    checked(text, file_name, |reader, file| {
        if !file.has("agent") {
            let why = "[agent] says whose feeds vestibule-firewall follows";
            reader.missing(file, "agent", why);
        }
        if grammar::FILE.keys.iter().any(|key| *key != "agent" && file.has(key)) {
            let whole = assemble(reader, file)?;
            Some(AgentFile { agent: whole.agent.clone()?, whole: Some(Box::new(whole)) })
        } else {
            Some(AgentFile { agent: agent::agent(reader, file)?, whole: None })
        }
    })
}

/// Checks a text; `file_name` is what its mistakes are said to be in.
///
/// # Errors
/// [`Mistakes`], all of them; after a mistake of syntax no others are looked for, because what was
/// meant is not known then.
pub fn parse(text: &str, file_name: &str) -> Result<Vestibule, Mistakes> {
    checked(text, file_name, assemble)
}

/// What `assemble` makes of a text; it gives `None` only if it noted a mistake.
fn checked<T>(
    text: &str,
    file_name: &str,
    assemble: impl FnOnce(&mut Reader<'_>, &Table<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    if text.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(too_large(file_name));
    }
    let mut reader = Reader::new(text, file_name);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut line_last = 0;
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        // One slip of the pen can make several errors on its line; the first one says it best.
        let line = reader.line(at);
        if line != line_last {
            let message = format!("syntax error: {}", error.message());
            reader.complain(at, String::new(), Complaint::plain(message));
            line_last = line;
        }
    }
    if reader.found_any() {
        return Err(reader.into_mistakes());
    }
    let file = reader.entries(document.get_ref(), &grammar::FILE, String::new(), 0);
    match assemble(&mut reader, &file) {
        Some(assembled) if !reader.found_any() => Ok(assembled),
        _ => Err(reader.into_mistakes()),
    }
}

/// Reads every section. `None` only if a mistake was noted.
fn assemble(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Vestibule> {
    let server = sections::server(reader, file);
    let leases = sections::leases(reader, file);
    let option_definitions = option_definitions::definitions(reader, file);
    reader.define(&option_definitions);
    let options = option_value::options(reader, file);
    let profiles = client_classes::profiles(reader, file);
    let classes = client_classes::classes(reader, file);
    let names = Names {
        classes: classes.iter().map(|class| class.name.clone()).collect(),
        profiles: profiles.iter().map(|profile| profile.name.clone()).collect(),
    };
    let (mut networks, gated_ipv6) = networks::networks(reader, file, &names);
    let dns = sections::dns(reader, file);
    let gate = sections::gate(reader, file, dns.as_ref());
    let captive = captive::captive(reader, file);
    if let (Some(captive), Some(gate)) = (&captive, &gate) {
        captive::tell_gated_networks(captive, gate, &mut networks);
    }
    let registration = registration::registration(reader, file);
    let builtin_portal = portal::portal(reader, file, gate.as_ref(), &registration);
    let api = api::api(reader, file);
    let events = events::events(reader, file);
    let history = history::history(reader, file);
    let webhooks = events::webhooks(reader, file);
    let failover = failover::failover(reader, file, leases.rapid_commit);
    let agent = agent::agent(reader, file);
    let core = vestibule_core::Configuration {
        networks,
        lifetime_seconds: leases.lifetime_seconds,
        lifetime_unregistered_seconds: leases.lifetime_unregistered_seconds,
        decline_quarantine_seconds: leases.decline_quarantine_seconds,
        cache_threshold_percent: leases.cache_threshold_percent,
        rapid_commit: leases.rapid_commit,
        registration,
        policy: Policy {
            options,
            classes,
            profiles,
            lease_limits: leases.limits,
            pressure: leases.pressure,
        },
        failover: failover.as_ref().map(Failover::core),
    };
    Some(Vestibule {
        server: server?,
        core,
        option_definitions,
        gated_ipv6,
        gate: gate?,
        captive,
        builtin_portal,
        dns,
        api: api?,
        events,
        history,
        webhooks,
        failover,
        agent,
    })
}

/// The text of a file, and its name for messages.
fn read(path: &Path) -> Result<(String, String), Mistakes> {
    let name = path.display().to_string();
    let cannot = |error: std::io::Error| {
        let message = format!("cannot be read: {error}");
        let remedy = "give the file with --config FILE, and let this user read it".to_owned();
        Mistakes::of_file(&name, message, Some(remedy))
    };
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file at the limit from one beyond it.
    file.take(limits::FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(too_large(&name));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, name)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            // What precedes the first bad byte is the same in the lossy text.
            let complaint = Complaint::new("a byte here is not UTF-8", "save the file as UTF-8");
            let mut reader = Reader::new(&text, &name);
            reader.complain(good, String::new(), complaint);
            Err(reader.into_mistakes())
        }
    }
}

fn too_large(name: &str) -> Mistakes {
    let message = format!("is larger than {} bytes", limits::FILE_BYTES_MAX);
    Mistakes::of_file(name, message, None)
}
