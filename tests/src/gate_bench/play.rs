//! The real server with its leases, in namespaces of its own, and the callers beside it.

use super::calls::CallFigures;
use crate::lab::{LabError, Process, TOKEN_FILE, program};
use crate::servers::{Ground, Networks, RELAY_STEP, RELAYS_MAX, SERVER, Server};
use std::path::Path;
use vestibule_load::result::RunResult;

/// How long leases last: longer than any run.
const LIFETIME_SECONDS: u32 = 3600;
/// This program's name, by which it calls itself inside a namespace.
pub const PROGRAM: &str = "vestibule-bench-gate";
/// Where the server's API is, as its host sees it.
const API: &str = "127.0.0.1:8067";
const RESULT: &str = "/run/result.json";

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Registrations {
    /// Hosts with a lease, all of which are in the kernel's sets.
    pub leases: u32,
    /// Calls a second.
    pub per_second: u32,
    /// Calls in all, at most as many as there are leases.
    pub calls: u32,
    /// Connections that are kept.
    pub connections: u32,
}

impl Registrations {
    /// Plays it; `state` is an empty folder for the server's files, and `say` is told what goes on.
    ///
    /// # Errors
    /// [`LabError`] if it could not be played.
    pub fn play(self, state: &Path, say: &mut dyn FnMut(&str)) -> Result<CallFigures, LabError> {
        program(PROGRAM)?;
        let ground = Ground::new()?;
        // One more in each pool: who asked whether the server is there.
        let networks = Networks {
            relays: RELAYS_MAX,
            pool: self.leases.div_ceil(RELAYS_MAX) + 2,
            lifetime_seconds: LIFETIME_SECONDS,
        };
        let server = ground.start(Server::VestibuleGated, networks, state, "")?;
        say(&format!("{} hosts get their leases", self.leases));
        let leased = self.lease(&ground, &server)?;
        say(&format!("{} registrations, {} a second", self.calls.min(leased), self.per_second));
        let line = format!(
            "{PROGRAM} call --api {API} --token-file {TOKEN_FILE} --calls {} --per-second {} --connections {}",
            self.calls.min(leased),
            self.per_second,
            self.connections
        );
        let said = ground.server.ok(&line)?;
        serde_json::from_str(&said).map_err(|_| LabError::Deadline {
            what: "the callers say what came of it".to_owned(),
            seen: said,
        })
    }

    /// Has every host get its lease, and gives how many have one.
    fn lease(self, ground: &Ground, server: &Process) -> Result<u32, LabError> {
        let line = format!(
            "vestibule-load run ceiling --clients {} --server {SERVER} --giaddr {} --relays {RELAYS_MAX} \
             --relay-step {RELAY_STEP} --json {RESULT}",
            self.leases,
            Networks::relay(0)
        );
        ground.load.ok(&line)?;
        let text = ground.load.read(RESULT)?;
        let result: RunResult = serde_json::from_str(&text)
            .map_err(|_| LabError::Deadline { what: "a result".to_owned(), seen: server.log() })?;
        Ok(u32::try_from(result.totals.doras).unwrap_or(u32::MAX))
    }
}
